#include "service/evaluate/batch_means.h"

#include <algorithm>
#include <cmath>
#include <limits>

namespace foreshadow {

void Add(double value, BatchMeans& batches) {
  batches.open_sum += value;
  if (++batches.open_count < batches.batch_count) return;
  batches.means.push_back(batches.open_sum / static_cast<double>(batches.open_count));
  batches.open_sum = 0;
  batches.open_count = 0;
  if (batches.means.size() < kBatchesMax) return;
  for (size_t i = 0; i < kBatchesMax / 2; ++i) {
    batches.means[i] = (batches.means[2 * i] + batches.means[2 * i + 1]) / 2;
  }
  batches.means.resize(kBatchesMax / 2);
  batches.batch_count *= 2;
}

double StudentQuantile(int64_t degrees) {
  // Abramowitz and Stegun 26.7.5, at the normal quantile z; its last term matters below ten
  // degrees.
  constexpr double z = 1.959963984540054;
  const double n = static_cast<double>(degrees);
  const double z2 = z * z;
  const double g1 = z * (z2 + 1) / 4;
  const double g2 = z * ((5 * z2 + 16) * z2 + 3) / 96;
  const double g3 = z * (((3 * z2 + 19) * z2 + 17) * z2 - 15) / 384;
  const double g4 = z * ((((79 * z2 + 776) * z2 + 1482) * z2 - 1920) * z2 - 945) / 92'160;
  return z + g1 / n + g2 / (n * n) + g3 / (n * n * n) + g4 / (n * n * n * n);
}

Interval MeanInterval(const BatchMeans& batches) {
  constexpr double kInfinite = std::numeric_limits<double>::infinity();
  const auto count = static_cast<int64_t>(batches.means.size());
  if (count == 0) return {0, -kInfinite, kInfinite};
  double sum = 0;
  for (const double mean : batches.means) sum += mean;
  const double mean = sum / static_cast<double>(count);
  if (count == 1) return {mean, -kInfinite, kInfinite};
  double square = 0;
  double neighbours = 0;
  for (size_t i = 0; i < batches.means.size(); ++i) {
    square += (batches.means[i] - mean) * (batches.means[i] - mean);
    if (i > 0) neighbours += (batches.means[i] - mean) * (batches.means[i - 1] - mean);
  }
  // What is left of the dependence after batching lies between neighbours, at the edge they share.
  square += 2 * std::max(0.0, neighbours);
  const double deviation = std::sqrt(square / static_cast<double>(count * (count - 1)));
  const double half = StudentQuantile(count - 1) * deviation;
  return {mean, mean - half, mean + half};
}

}  // namespace foreshadow
