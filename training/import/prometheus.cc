#include "training/import/prometheus.h"

#include <fmt/core.h>
#include <httplib.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <limits>
#include <map>
#include <nlohmann/json.hpp>
#include <set>
#include <thread>

#include "service/monitor/prometheus_api.h"

namespace foreshadow::training {
namespace {

using nlohmann::json;

constexpr int64_t kFirstSteps = 60;    // of the first request, which tells how many series come
constexpr int64_t kStepsMax = 10'000;  // Prometheus refuses more than 11,000
constexpr int64_t kAnswerValuesMax = 2'000'000;  // some 200 MB while it is parsed
constexpr int kAttempts = 5;
constexpr time_t kTimeoutSeconds = 120;  // a server gives up a query after that long by default

struct Series {
  TraceAccount account;
  std::array<std::vector<float>, kTraceSignals> values;  // [step]; empty = none of that signal
};

class Api {
 public:
  explicit Api(const PrometheusSource& source) : source_(source), server_(ServerOf(source.url)) {}

  absl::StatusOr<json> QueryRange(const std::string& promql, int64_t first_ms, int64_t last_ms) {
    httplib::Client client(server_.host);
    if (!client.is_valid()) {
      return absl::InvalidArgumentError(
          fmt::format("{}: must be http://HOST:PORT or https://HOST:PORT", source_.url));
    }
    client.set_connection_timeout(kTimeoutSeconds);
    client.set_read_timeout(kTimeoutSeconds);
    client.set_follow_location(true);
    if (!source_.token.empty()) client.set_bearer_token_auth(source_.token);
    const httplib::Params parameters = {{"query", promql},
                                        {"start", fmt::format("{:.3f}", first_ms / 1e3)},
                                        {"end", fmt::format("{:.3f}", last_ms / 1e3)},
                                        {"step", fmt::format("{:.3f}", source_.step_ms / 1e3)}};
    std::string failed;
    for (int attempt = 0; attempt < kAttempts; ++attempt) {
      if (attempt > 0) std::this_thread::sleep_for(std::chrono::milliseconds(100 << attempt));
      const httplib::Result result =
          client.Post(server_.prefix + "/api/v1/query_range", parameters);
      if (!result) {
        failed = httplib::to_string(result.error());
        continue;
      }
      if (result->status == 429 || result->status >= 500) {
        failed = fmt::format("HTTP {}: {}", result->status, result->body.substr(0, 500));
        continue;
      }
      return Check(*result, promql);
    }
    return absl::UnavailableError(fmt::format("{}: {}", source_.url, failed));
  }

 private:
  absl::StatusOr<json> Check(const httplib::Response& response, const std::string& promql) const {
    auto answer = AnswerOf(response);
    if (answer.ok()) return answer;
    return absl::InvalidArgumentError(fmt::format("{}: query \"{}\": {}", source_.url, promql,
                                                  std::string(answer.status().message())));
  }

  const PrometheusSource& source_;
  const PrometheusServer server_;
};

// "NaN" and "+Inf" count as missing.
float ValueOf(const std::string& text) {
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  const bool good = error == std::errc() && end == text.data() + text.size() &&
                    std::isfinite(static_cast<float>(value)) && value >= 0;
  return good ? static_cast<float>(value) : std::numeric_limits<float>::quiet_NaN();
}

// Puts one answer's series where they belong.
absl::Status Take(const PrometheusSource& source, const PrometheusQuery& query, const json& answer,
                  int64_t steps, std::map<std::string, Series>& all) {
  std::set<std::string> seen;
  for (const json& result : answer.at("data").at("result")) {
    const json& labels = result.at("metric");
    const std::string id = labels.value(source.account_label, "");
    if (id.empty()) {
      return absl::InvalidArgumentError(
          fmt::format("query \"{}\": a series has no label \"{}\": {}", query.promql,
                      source.account_label, labels.dump()));
    }
    if (!seen.insert(id).second) {
      return absl::InvalidArgumentError(
          fmt::format("query \"{}\": two series with {}=\"{}\"; aggregate them, e.g. sum by ({})",
                      query.promql, source.account_label, id, source.account_label));
    }
    Series& series = all[id];
    series.account.id = id;
    if (series.account.cell.empty()) series.account.cell = labels.value(source.cell_label, "");
    if (series.account.application.empty()) {
      series.account.application = labels.value(source.application_label, "");
    }
    std::vector<float>& values = series.values[static_cast<size_t>(query.signal)];
    values.resize(static_cast<size_t>(steps), std::numeric_limits<float>::quiet_NaN());
    for (const json& point : result.at("values")) {
      const auto time_ms = static_cast<int64_t>(std::llround(point.at(0).get<double>() * 1e3));
      const int64_t step = (time_ms - source.start_ms) / source.step_ms;
      if (step < 0 || step >= steps) continue;
      values[static_cast<size_t>(step)] = ValueOf(point.at(1).get<std::string>());
    }
  }
  return absl::OkStatus();
}

absl::Status ReadQuery(const PrometheusSource& source, const PrometheusQuery& query, int64_t steps,
                       Api& api, std::map<std::string, Series>& all) {
  int64_t at_once = kFirstSteps;
  for (int64_t first = 0; first < steps;) {
    const int64_t end = std::min(first + at_once, steps);
    const auto answer = api.QueryRange(query.promql, source.start_ms + first * source.step_ms,
                                       source.start_ms + (end - 1) * source.step_ms);
    if (!answer.ok()) return answer.status();
    try {
      absl::Status status = Take(source, query, *answer, steps, all);
      if (!status.ok()) return status;
      const auto series = static_cast<int64_t>(answer->at("data").at("result").size());
      at_once = std::clamp<int64_t>(kAnswerValuesMax / std::max<int64_t>(1, series), 1, kStepsMax);
    } catch (const json::exception& error) {
      return absl::InvalidArgumentError(fmt::format("{}: query \"{}\": not a matrix of series: {}",
                                                    source.url, query.promql, error.what()));
    }
    first = end;
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<Trace> ReadPrometheus(const PrometheusSource& given) {
  PrometheusSource source = given;
  source.start_ms -= source.start_ms % source.step_ms;
  const int64_t steps = (source.end_ms - source.start_ms) / source.step_ms + 1;
  if (steps < 2) {
    return absl::InvalidArgumentError(
        fmt::format("--end must be at least a step of {} s after --start", source.step_ms / 1'000));
  }
  Api api(source);
  std::map<std::string, Series> all;
  for (const PrometheusQuery& query : source.queries) {
    if (absl::Status status = ReadQuery(source, query, steps, api, all); !status.ok()) {
      return status;
    }
  }
  if (all.empty()) {
    return absl::NotFoundError(fmt::format("{}: no series between --start and --end", source.url));
  }
  Trace trace;
  trace.start_ms = source.start_ms;
  trace.step_ms = source.step_ms;
  trace.steps = steps;
  for (auto& [id, series] : all) trace.accounts.push_back(series.account);
  if (steps > kTraceValuesMax / trace.series()) {
    return absl::InvalidArgumentError(
        fmt::format("{} steps of {} accounts: more than fit in memory; import in several ranges",
                    steps, trace.accounts.size()));
  }
  trace.values.assign(static_cast<size_t>(steps * trace.series()),
                      std::numeric_limits<float>::quiet_NaN());
  size_t at = 0;
  for (const auto& [id, series] : all) {
    for (const std::vector<float>& values : series.values) {
      for (size_t step = 0; step < values.size(); ++step) {
        trace.values[step * static_cast<size_t>(trace.series()) + at] = values[step];
      }
      ++at;
    }
  }
  return trace;
}

}  // namespace foreshadow::training
