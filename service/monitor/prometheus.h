// A Prometheus as a source of measures, of instances that do not tell of their requests themselves:
// totals of requests, of errors, and of latencies by bucket, each an instance's. Asked every few
// seconds from one thread; whatever a counter said last is as old as its last scrape, not as the
// question.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <unordered_map>

#include "absl/status/statusor.h"
#include "service/router/instance.h"

namespace foreshadow {

struct PrometheusSettings {
  std::string url;  // http://HOST:PORT[/PATH]; "" = none is asked
  // Selectors of counters: requests, those of them that failed, and the buckets of a histogram of
  // seconds, e.g. http_request_duration_seconds_bucket{job="shop"}.
  std::string requests;
  std::string errors;
  std::string latency;
  std::string label = "instance_id";  // that names the instance as its cell's agent does
  int32_t interval_ms = 5'000;        // between two questions
};

// By instance. Its `read_ms` is when Prometheus last read the counter of requests.
using ScrapedTotals = std::unordered_map<std::string, router::LoadTotals>;

// Asks once. An instance without latencies is left out: what it answers in no time could not be
// believed. A bucket's requests count as long as its upper bound. UNAVAILABLE when it does not
// answer, INVALID_ARGUMENT naming a query that it refuses or that gives no counters by instance.
absl::StatusOr<ScrapedTotals> AskPrometheus(const PrometheusSettings& settings);

// Asks until it is destroyed, and tells what came of it from its own thread.
class PrometheusWatch {
 public:
  virtual ~PrometheusWatch() = default;
  static std::unique_ptr<PrometheusWatch> Start(
      PrometheusSettings settings, std::function<void(absl::StatusOr<ScrapedTotals>)> tell);
};

}  // namespace foreshadow
