// Gathering columns and taking seasons out, row by row, as both sides lie in memory.
#include "kernels/algo/columns.h"

#include <algorithm>

#include "kernels/cpu/numbers.h"

namespace foreshadow::kernels::cpu {
namespace {

// Series that one sweep over the rows takes: their sums fit the L1 cache.
constexpr int64_t kBlockSeries = 128;

// The sums of StrengthSums, of neighbouring series side by side, so that they vectorise.
struct BlockSums {
  double count[kBlockSeries] = {};
  double rest[kBlockSeries] = {};
  double rest_square[kBlockSeries] = {};
  double both[kBlockSeries] = {};
  double both_square[kBlockSeries] = {};

  void Add(const float* seasonal, const float* remainder, int64_t width) {
    for (int64_t i = 0; i < width; ++i) {
      const bool is_there = remainder[i] == remainder[i];
      const double r = is_there ? double{remainder[i]} : 0.0;
      const double b = is_there ? double{remainder[i]} + double{seasonal[i]} : 0.0;
      count[i] += is_there ? 1.0 : 0.0;
      rest[i] += r;
      rest_square[i] += r * r;
      both[i] += b;
      both_square[i] += b * b;
    }
  }
  StrengthSums at(int64_t i) const {
    return {count[i], rest[i], rest_square[i], both[i], both_square[i]};
  }
};

}  // namespace

void Gather(const GatherArgs& args) {
  CheckGather(args);
  for (int64_t step = 0; step < args.to.steps; ++step) {
    const float* from = args.from.data + step * args.from.stride;
    float* to = args.to.data + step * args.to.stride;
    if (args.columns.empty()) {
      std::copy_n(from, args.to.series, to);
    } else {
      for (size_t i = 0; i < args.columns.size(); ++i) to[i] = from[args.columns[i]];
    }
  }
}

void Deseason(const DeseasonArgs& args) {
  CheckDeseason(args);
  const int64_t series = args.remainder.series;
  for (int64_t first = 0; first < series; first += kBlockSeries) {
    const int64_t width = std::min(kBlockSeries, series - first);
    int64_t decomposed[kBlockSeries];
    int64_t count = 0;
    for (int64_t s = first; s < first + width; ++s) {
      if (args.decomposed[s] == SeriesStatus::kOk) decomposed[count++] = s;
    }
    BlockSums sums;
    for (int64_t step = 0; step < args.remainder.steps; ++step) {
      const float* seasonal = &args.seasonal.at(step, 0);
      const float* remainder = &args.remainder.at(step, 0);
      float* residual = &args.residual.at(step, 0);
      float* level = &args.level.at(step, 0);
      for (int64_t i = 0; i < count; ++i) {
        const int64_t s = decomposed[i];
        residual[args.columns[s]] = remainder[s];
        level[args.columns[s]] -= seasonal[s];
      }
      sums.Add(seasonal + first, remainder + first, width);
    }
    for (int64_t i = 0; i < width; ++i) DeseasonEnd(args, first + i, sums.at(i));
  }
}

}  // namespace foreshadow::kernels::cpu
