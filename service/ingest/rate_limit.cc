#include "service/ingest/rate_limit.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

namespace foreshadow {
namespace {

// When there are more, those whose bucket is full again are forgotten: they lose nothing by it.
constexpr size_t kSendersMax = 10'000;

constexpr double kDaySeconds = 86'400;

}  // namespace

RateLimit::RateLimit(double per_second, int64_t burst)
    : per_ms_(per_second / 1e3), burst_(static_cast<double>(burst)) {}

RateLimit::Bucket RateLimit::Filled(Bucket bucket, int64_t now_ms) const {
  const auto passed_ms = static_cast<double>(std::max<int64_t>(0, now_ms - bucket.at_ms));
  bucket.tokens = std::min(burst_, bucket.tokens + passed_ms * per_ms_);
  bucket.at_ms = std::max(bucket.at_ms, now_ms);
  return bucket;
}

int64_t RateLimit::Take(const std::string& sender, int64_t samples, int64_t now_ms) {
  if (per_ms_ <= 0 || samples <= 0) return 0;
  const std::lock_guard lock(mutex_);
  if (buckets_.size() >= kSendersMax && !buckets_.contains(sender)) {
    std::erase_if(buckets_,
                  [&](const auto& entry) { return Filled(entry.second, now_ms).tokens >= burst_; });
  }
  Bucket& bucket = buckets_.try_emplace(sender, Bucket{burst_, now_ms}).first->second;
  bucket = Filled(bucket, now_ms);
  const auto wanted = static_cast<double>(samples);
  const double needed = std::min(wanted, burst_);
  if (bucket.tokens >= needed) {
    bucket.tokens -= wanted;
    return 0;
  }
  return static_cast<int64_t>(std::ceil((needed - bucket.tokens) / per_ms_));
}

SenderLimits::SenderLimits(int64_t samples_per_second, int64_t burst_samples,
                           int64_t samples_per_day)
    : per_second_(samples_per_second),
      per_day_(samples_per_day),
      rate_(static_cast<double>(samples_per_second), burst_samples),
      day_(static_cast<double>(samples_per_day) / kDaySeconds, samples_per_day) {}

SenderLimits::Wait SenderLimits::Take(const std::string& sender, int64_t samples, int64_t now_ms) {
  // The rate first: what is taken of it for nothing is soon there again.
  if (const int64_t ms = rate_.Take(sender, samples, now_ms); ms > 0) {
    return {ms,
            fmt::format("{} sends more than ingest.samples_per_second = {}", sender, per_second_)};
  }
  if (const int64_t ms = day_.Take(sender, samples, now_ms); ms > 0) {
    return {ms, fmt::format("{} has sent ingest.samples_per_day = {}", sender, per_day_)};
  }
  return {};
}

}  // namespace foreshadow
