// Back-fills from a server that speaks Prometheus' HTTP API: Prometheus itself, VictoriaMetrics,
// Thanos, Mimir. Each signal is a PromQL query whose result has one series an account; it is asked
// for range by range (`query_range`).
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "training/io/trace.h"

namespace foreshadow::training {

struct PrometheusQuery {
  int signal = 0;  // by SignalKind
  std::string promql;
};

struct PrometheusSource {
  std::string url;    // "http://127.0.0.1:9090", a path before /api/v1 included
  std::string token;  // sent as a bearer token; "" = none
  std::vector<PrometheusQuery> queries;
  std::string account_label = "account";
  std::string cell_label = "cell";  // may be missing in the results
  std::string application_label = "application";
  int64_t start_ms = 0;
  int64_t end_ms = 0;  // itself included
  int64_t step_ms = 60'000;
};

// Times are whole steps. NaN, infinite and negative values count as missing. UNAVAILABLE when the
// server cannot be reached or keeps failing; INVALID_ARGUMENT with the server's words when it
// refuses a query, and when two series of a result have the same account.
absl::StatusOr<Trace> ReadPrometheus(const PrometheusSource& source);

}  // namespace foreshadow::training
