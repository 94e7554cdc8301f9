// Counts of latencies in buckets whose bounds grow by a constant factor: a quantile of any number
// of values, and of the sum of any number of sketches, is right to 1 % of itself. Masson, Rim, Lee:
// DDSketch, VLDB 2019 (the mapping, with buckets from 1 us to 100 s). Header only, no lock, no
// allocation after the first value.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <vector>

namespace foreshadow {

class LatencySketch {
 public:
  static constexpr double kError = 0.01;
  static constexpr double kGrowth = (1 + kError) / (1 - kError);
  static constexpr int kBuckets = 930;  // growth^929 us > 100 s

  static int BucketOf(double latency_us) {
    if (!(latency_us > 1)) return 0;
    return std::min(kBuckets - 1,
                    static_cast<int>(std::ceil(std::log(latency_us) / std::log(kGrowth))));
  }
  // Of all values of a bucket the one that is off by 1 % at most.
  static double ValueUs(int bucket) { return 2 * std::pow(kGrowth, bucket) / (kGrowth + 1); }

  void Add(double latency_us) { AddBucket(BucketOf(latency_us), 1); }
  void AddBucket(int bucket, uint64_t count) {
    if (count == 0) return;
    if (counts_.empty()) counts_.resize(kBuckets);
    counts_[bucket] += count;
    total_ += count;
  }
  void Add(const LatencySketch& other) {
    for (size_t b = 0; b < other.counts_.size(); ++b)
      AddBucket(static_cast<int>(b), other.counts_[b]);
  }
  // What came since `earlier`, an older state of the same sketch; all of it if that is none.
  LatencySketch Since(const LatencySketch& earlier) const {
    LatencySketch since;
    for (size_t b = 0; b < counts_.size(); ++b) {
      const uint64_t before = earlier.counts_.empty() ? 0 : earlier.counts_[b];
      if (counts_[b] < before) return *this;  // it began anew
      since.AddBucket(static_cast<int>(b), counts_[b] - before);
    }
    return since;
  }

  // 0 when it is empty.
  double QuantileUs(double level) const {
    if (total_ == 0) return 0;
    const double rank = level * static_cast<double>(total_ - 1);
    uint64_t below = 0;
    for (size_t b = 0; b < counts_.size(); ++b) {
      below += counts_[b];
      if (static_cast<double>(below) > rank) return ValueUs(static_cast<int>(b));
    }
    return ValueUs(kBuckets - 1);
  }
  // How many are above, to 1 % of the bound.
  uint64_t CountAbove(double latency_us) const {
    uint64_t above = 0;
    for (size_t b = static_cast<size_t>(BucketOf(latency_us)) + 1; b < counts_.size(); ++b) {
      above += counts_[b];
    }
    return above;
  }
  uint64_t count() const { return total_; }
  const std::vector<uint64_t>& counts() const { return counts_; }  // [bucket], or empty

 private:
  std::vector<uint64_t> counts_;
  uint64_t total_ = 0;
};

}  // namespace foreshadow
