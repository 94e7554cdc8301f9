#include "service/monitor/latency_sketch.h"

#include <gtest/gtest.h>

#include <random>

namespace foreshadow {
namespace {

std::vector<double> Lognormal(int count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::lognormal_distribution<double> latency(8, 1.5);  // median 3 ms, tail to seconds
  std::vector<double> values(count);
  for (double& value : values) value = latency(random);
  return values;
}

// Against the sorted values themselves.
void ExpectQuantiles(const LatencySketch& sketch, std::vector<double> values) {
  std::sort(values.begin(), values.end());
  for (const double level : {0.0, 0.01, 0.5, 0.9, 0.99, 0.999, 1.0}) {
    const double exact =
        values[static_cast<size_t>(level * static_cast<double>(values.size() - 1))];
    EXPECT_NEAR(sketch.QuantileUs(level), exact, 0.0101 * exact) << level;
  }
}

TEST(LatencySketch, QuantilesAreRightToAPercentAndSoAreThoseOfASum) {
  const std::vector<double> first = Lognormal(20'000, 1), second = Lognormal(5'000, 2);
  LatencySketch a, b;
  for (const double value : first) a.Add(value);
  for (const double value : second) b.Add(value);
  ExpectQuantiles(a, first);
  LatencySketch both = a;
  both.Add(b);
  std::vector<double> all = first;
  all.insert(all.end(), second.begin(), second.end());
  ExpectQuantiles(both, all);
  ExpectQuantiles(both.Since(a), second);
}

TEST(LatencySketch, ZeroInfinityAndNothing) {
  LatencySketch sketch;
  EXPECT_EQ(sketch.QuantileUs(0.5), 0);
  sketch.Add(0);
  sketch.Add(-1);
  sketch.Add(std::nan(""));
  EXPECT_LE(sketch.QuantileUs(1), 1);
  sketch.Add(1e300);
  EXPECT_GT(sketch.QuantileUs(1), 1e8);
  EXPECT_EQ(sketch.count(), 4u);
  EXPECT_EQ(sketch.CountAbove(1'000), 1u);
}

TEST(LatencySketch, SinceAStateOfAnotherRunIsAllOfIt) {
  LatencySketch before, after;
  for (int i = 0; i < 10; ++i) before.Add(100);
  after.Add(100);
  EXPECT_EQ(after.Since(before).count(), 1u);
}

}  // namespace
}  // namespace foreshadow
