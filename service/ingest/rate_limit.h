// How many samples each sender may send: a bucket a sender that fills steadily up to a burst. Any
// thread may call.
#pragma once

#include <cstdint>
#include <mutex>
#include <string>
#include <unordered_map>

namespace foreshadow {

class RateLimit {
 public:
  // `per_second` 0 = not limited. A batch larger than the burst passes when the bucket is full and
  // is paid for afterwards.
  RateLimit(double per_second, int64_t burst);

  // 0 = go ahead; else nothing was taken, and trying again is of use after so many ms.
  int64_t Take(const std::string& sender, int64_t samples, int64_t now_ms);

 private:
  struct Bucket {
    double tokens = 0;
    int64_t at_ms = 0;
  };
  Bucket Filled(Bucket bucket, int64_t now_ms) const;

  const double per_ms_;
  const double burst_;
  std::mutex mutex_;
  std::unordered_map<std::string, Bucket> buckets_;
};

// What a sender may send: a rate, and a quota of a day. Any thread may call.
class SenderLimits {
 public:
  SenderLimits(int64_t samples_per_second, int64_t burst_samples, int64_t samples_per_day);

  struct Wait {
    int64_t ms = 0;  // 0 = go ahead
    std::string why;
  };
  Wait Take(const std::string& sender, int64_t samples, int64_t now_ms);

 private:
  const int64_t per_second_;
  const int64_t per_day_;
  RateLimit rate_;
  RateLimit day_;  // full again after a day
};

}  // namespace foreshadow
