// What the server tells Prometheus. Events (a tick, a batch, a call) are counted where they happen,
// by the functions below, into one registry of the process; what the newest report says is read out
// of it when Prometheus asks. docs/metrics.md lists every name. All functions may be called from
// any thread.
#pragma once

#include <prometheus/collectable.h>
#include <prometheus/metric_family.h>
#include <prometheus/registry.h>

#include <string>
#include <string_view>
#include <vector>

#include "service/router/traffic.h"
#include "service/tick/types.h"

namespace foreshadow::metrics {

// Buckets of times, in seconds: 100 us to 30 s, about three a decade.
const std::vector<double>& TimeBuckets();
// Buckets of counts: 1 to 100,000, three a decade.
const std::vector<double>& CountBuckets();

// Of the process, so that whoever counts something registers it where it is counted.
prometheus::Registry& Registry();

void CountTick(const TickReport& report);
void CountFailedTick();

struct IngestCounts {
  int64_t accepted = 0;
  int64_t duplicates = 0;
  int64_t rejected = 0;
  int64_t lag_ms = -1;  // of the newest sample behind the clock; < 0 = not known
};
void CountIngest(const IngestCounts& counts);

// Points of series that came by a protocol ("remote_write", "otlp"), by what became of them.
void CountPoints(std::string_view protocol, std::string_view result, int64_t count);
// Samples or points that were refused, by why.
void CountIngestRefused(std::string_view protocol, std::string_view reason, int64_t count);

// One call of a public method, "foreshadow.v1.Plans/GetPlan", when it ends.
void CountCall(std::string_view service, std::string_view method, std::string_view type,
               std::string_view code, double seconds);

// One batch that the inference server ran: how many callers and series it had, how long it took.
void CountBatch(int64_t calls, int64_t series, double seconds);
// How long one caller's series waited for their batch.
void CountQueued(double seconds);
// A call that the inference server did not run: "full", "deadline" or "cancelled".
void CountTurnedAway(std::string_view reason);

// A call that security refused: "unauthenticated" or "denied".
void CountRefused(std::string_view reason);

// What is known of the traffic between ticks, as metric families.
std::vector<prometheus::MetricFamily> MetricsOf(const Traffic& traffic);

// What a report says, as metric families.
std::vector<prometheus::MetricFamily> MetricsOf(const TickReport& report);

}  // namespace foreshadow::metrics
