// The mean of a series of dependent values and how sure of it one may be, in constant memory: means
// of batches that double in length when there are too many of them (Law and Carson 1979, "A
// sequential procedure for determining the length of a steady-state simulation"; Yeh and Schmeiser
// 2000). Batches much longer than the dependence are nearly independent, and so their mean has
// Student's distribution, once the covariance of neighbours is added to their variance. Plain data
// and functions.
#pragma once

#include <cstddef>
#include <cstdint>
#include <vector>

namespace foreshadow {

inline constexpr size_t kBatchesMax = 64;  // then pairs become one: 32 to 63 from there on

struct BatchMeans {
  int64_t batch_count = 1;    // values in a batch
  std::vector<double> means;  // of whole batches, oldest first; at most kBatchesMax - 1
  double open_sum = 0;        // of the batch under way
  int64_t open_count = 0;
};

void Add(double value, BatchMeans& batches);

// Of the mean over the whole batches, at 95 %; unbounded below two batches.
struct Interval {
  double mean = 0;
  double low = 0;
  double high = 0;
};
Interval MeanInterval(const BatchMeans& batches);

// The 97.5 % quantile of Student's distribution, within 0.1 % from three degrees of freedom on.
double StudentQuantile(int64_t degrees);

}  // namespace foreshadow
