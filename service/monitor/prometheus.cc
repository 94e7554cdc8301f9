#include "service/monitor/prometheus.h"

#include <fmt/core.h>
#include <httplib.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <limits>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <optional>
#include <thread>
#include <utility>

#include "service/monitor/prometheus_api.h"

namespace foreshadow {
namespace {

using nlohmann::json;

constexpr time_t kTimeoutSeconds = 5;
constexpr double kMicroseconds = 1e6;      // of a second
constexpr double kLongestSeconds = 1'000;  // where the last bucket, which has no bound, ends

// "NaN" and what is no number at all: nothing. "+Inf" is a number here.
std::optional<double> NumberOf(const std::string& text) {
  if (text == "+Inf") return std::numeric_limits<double>::infinity();
  double value = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), value);
  if (error != std::errc() || end != text.data() + text.size() || std::isnan(value)) return {};
  return value;
}

class Api {
 public:
  explicit Api(const PrometheusSettings& settings)
      : settings_(settings), server_(ServerOf(settings.url)), client_(server_.host) {
    client_.set_connection_timeout(kTimeoutSeconds);
    client_.set_read_timeout(kTimeoutSeconds);
  }

  // Calls `take` with each series' labels and value, now.
  absl::Status Query(const std::string& promql,
                     const std::function<void(const json& labels, double value)>& take) {
    if (!client_.is_valid()) return Bad(promql, "the URL must be http://HOST:PORT");
    const httplib::Result result =
        client_.Post(server_.prefix + "/api/v1/query", httplib::Params{{"query", promql}});
    if (!result) {
      return absl::UnavailableError(fmt::format("prometheus.url = \"{}\": {}", settings_.url,
                                                httplib::to_string(result.error())));
    }
    const auto answer = AnswerOf(*result);
    if (!answer.ok()) return Bad(promql, std::string(answer.status().message()));
    try {
      for (const json& series : answer->at("data").at("result")) {
        const auto value = NumberOf(series.at("value").at(1).get<std::string>());
        if (value.has_value() && std::isfinite(*value) && *value >= 0)
          take(series.at("metric"), *value);
      }
    } catch (const json::exception& error) {
      return Bad(promql, fmt::format("not a vector of series: {}", error.what()));
    }
    return absl::OkStatus();
  }

 private:
  absl::Status Bad(const std::string& promql, const std::string& why) const {
    return absl::InvalidArgumentError(
        fmt::format("prometheus.url = \"{}\": query {}: {}", settings_.url, promql, why));
  }

  const PrometheusSettings& settings_;
  const PrometheusServer server_;
  httplib::Client client_;
};

// Counts up to each bound, as Prometheus keeps them.
using Buckets = std::map<double, double>;

LatencySketch SketchOf(const Buckets& buckets) {
  LatencySketch sketch;
  double below = 0;
  for (const auto& [bound_s, count] : buckets) {
    if (count > below) {
      sketch.AddBucket(LatencySketch::BucketOf(std::min(bound_s, kLongestSeconds) * kMicroseconds),
                       static_cast<uint64_t>(std::llround(count - below)));
      below = count;
    }
  }
  return sketch;
}

class Watch : public PrometheusWatch {
 public:
  Watch(PrometheusSettings settings, std::function<void(absl::StatusOr<ScrapedTotals>)> tell)
      : settings_(std::move(settings)), tell_(std::move(tell)), thread_([this] { Run(); }) {}
  ~Watch() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    stop_.notify_all();
    thread_.join();
  }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    while (!stopping_) {
      lock.unlock();
      tell_(AskPrometheus(settings_));
      lock.lock();
      stop_.wait_for(lock, std::chrono::milliseconds(settings_.interval_ms),
                     [this] { return stopping_; });
    }
  }

  const PrometheusSettings settings_;
  const std::function<void(absl::StatusOr<ScrapedTotals>)> tell_;
  std::mutex mutex_;
  std::condition_variable stop_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace

absl::StatusOr<ScrapedTotals> AskPrometheus(const PrometheusSettings& settings) {
  Api api(settings);
  ScrapedTotals totals;
  std::unordered_map<std::string, Buckets> buckets;
  // Of the instances that the first question named: none of the later ones adds any.
  const auto of = [&](const json& labels) -> router::LoadTotals* {
    const auto it = totals.find(labels.value(settings.label, ""));
    return it == totals.end() ? nullptr : &it->second;
  };
  const auto count = [](double value) { return static_cast<uint64_t>(std::llround(value)); };
  const std::string by = fmt::format("by ({})", settings.label);
  using Take = std::function<void(const json&, double)>;
  const std::pair<std::string, Take> questions[] = {
      {fmt::format("sum {} ({})", by, settings.requests),
       [&](const json& labels, double value) {
         const std::string id = labels.value(settings.label, "");
         if (!id.empty()) totals[id].requests_count = count(value);
       }},
      {fmt::format("min {} (timestamp({}))", by, settings.requests),
       [&](const json& labels, double value) {
         if (auto* t = of(labels)) t->read_ms = std::llround(1'000 * value);
       }},
      {fmt::format("sum {} ({})", by, settings.errors),
       [&](const json& labels, double value) {
         if (auto* t = of(labels)) t->errors_count = count(value);
       }},
      {fmt::format("sum by ({}, le) ({})", settings.label, settings.latency),
       [&](const json& labels, double value) {
         const auto bound_s = NumberOf(labels.value("le", ""));
         if (!bound_s.has_value() || of(labels) == nullptr) return;
         buckets[labels.value(settings.label, "")][*bound_s] = value;
       }}};
  for (const auto& [promql, take] : questions) {
    if (absl::Status status = api.Query(promql, take); !status.ok()) return status;
  }
  for (auto& [id, t] : totals) {
    t.latency = SketchOf(buckets[id]);
    t.known = t.read_ms > 0 && !buckets[id].empty();
  }
  std::erase_if(totals, [](const auto& entry) { return !entry.second.known; });
  return totals;
}

std::unique_ptr<PrometheusWatch> PrometheusWatch::Start(
    PrometheusSettings settings, std::function<void(absl::StatusOr<ScrapedTotals>)> tell) {
  return std::make_unique<Watch>(std::move(settings), std::move(tell));
}

}  // namespace foreshadow
