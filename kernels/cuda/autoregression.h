// Least squares for autoregressive models on the GPU, a thread a series: neighbouring threads read
// neighbouring columns, and the series's last samples wait in registers for those to come.
#pragma once

#include "kernels/algo/autoregression.h"
#include "kernels/algo/samples.h"

namespace foreshadow::kernels::cuda {

#include "kernels/algo/gram.inc"

inline constexpr int kDistanceTile = 16;  // distances summed in one read of the series
inline constexpr int kColumnTile = 4;     // columns against columns, of series with gaps

// Where the workspace has what.
struct ArMemory {
  double* gram = nullptr;     // [GramSize][series]
  uint64_t* whole = nullptr;  // [steps / 64 + 1][series] bit i: step i has a whole row
};

struct FitSeries {
  AutoregressionArgs args;
  ArPlan plan;
  double ridge;
  ArMemory memory;

  FORESHADOW_PORTABLE double& Gram(int i, int64_t s) const {
    return memory.gram[i * args.values.series + s];
  }

  // Products and sums of a series that has every sample.
  FORESHADOW_PORTABLE void GramOfWhole(int64_t s, double mean) const {
    const int64_t steps = args.values.steps;
    const auto value = [&](int64_t i) { return args.values.at(i, s) - mean; };
    for (int pair = 0; pair < plan.pairs;) {
      const int64_t first = plan.Distance(pair);
      double window[kDistanceTile] = {};  // [k] the sample first + k steps ago
      double sums[kDistanceTile] = {};
      for (int64_t i = first; i < steps; ++i) {
        for (int k = kDistanceTile - 1; k > 0; --k) window[k] = window[k - 1];
        window[0] = value(i - first);
        const double later = value(i);
        for (int k = 0; k < kDistanceTile; ++k) sums[k] = std::fma(window[k], later, sums[k]);
      }
      for (int k = 0; k < kDistanceTile && pair < plan.pairs; ++k) {
        const int64_t distance = first + k;
        if (plan.Distance(pair) != distance) continue;
        pair = SpreadProducts<double>(
            plan, steps, pair, sums[k],
            [&](int64_t begin, int64_t end) {
              double sum = 0;
              for (int64_t i = begin; i < end; ++i) sum += value(i) * value(i + distance);
              return sum;
            },
            [&](int i, double x) { Gram(i, s) = x; });
      }
    }
    double sum = 0;  // of the rows' last column, then of each before
    for (int64_t i = 0; i < steps - plan.span; ++i) sum += value(i);
    for (int c = plan.columns - 1; c >= 0; --c) {
      Gram(GramSumIndex(plan, c), s) = sum;
      const int64_t next = c > 0 ? plan.shifts[c - 1] : plan.shifts[c];
      for (int64_t i = plan.shifts[c]; i > next; --i) {
        sum += value(steps - i) - value(plan.span - i);
      }
    }
  }

  // The same over the rows of which every sample is there; their count.
  FORESHADOW_PORTABLE double GramOfRows(int64_t s, double mean) const {
    const int64_t series = args.values.series;
    const int64_t steps = args.values.steps;
    double rows = 0;
    for (int64_t word = 0; word * 64 < steps; ++word) {
      uint64_t bits = 0;
      for (int64_t i = word * 64; i < steps && i < word * 64 + 64; ++i) {
        bool has = i >= plan.span;
        for (int c = 0; c < plan.columns && has; ++c) {
          has = !std::isnan(args.values.at(i - plan.shifts[c], s));
        }
        bits |= static_cast<uint64_t>(has) << (i & 63);
        rows += has ? 1 : 0;
      }
      memory.whole[word * series + s] = bits;
    }
    for (int b = 0; b < plan.columns; b += kColumnTile) {
      for (int a = 0; a <= b; a += kColumnTile) AddTile(s, mean, a, b);
    }
    return rows;
  }

  // Products of two tiles of columns, and the sums of the later tile where both are the same.
  FORESHADOW_PORTABLE void AddTile(int64_t s, double mean, int a, int b) const {
    double products[kColumnTile][kColumnTile] = {};
    double sums[kColumnTile] = {};
    int64_t shifts_a[kColumnTile];
    int64_t shifts_b[kColumnTile];
    for (int k = 0; k < kColumnTile; ++k) {  // columns beyond the last repeat it
      shifts_a[k] = plan.shifts[a + k < plan.columns ? a + k : plan.columns - 1];
      shifts_b[k] = plan.shifts[b + k < plan.columns ? b + k : plan.columns - 1];
    }
    for (int64_t i = plan.span; i < args.values.steps; ++i) {
      if ((memory.whole[i / 64 * args.values.series + s] >> (i & 63) & 1) == 0) continue;
      double x[kColumnTile];
      for (int k = 0; k < kColumnTile; ++k) x[k] = args.values.at(i - shifts_a[k], s) - mean;
      for (int m = 0; m < kColumnTile; ++m) {
        const double y = args.values.at(i - shifts_b[m], s) - mean;
        sums[m] += y;
        for (int k = 0; k < kColumnTile; ++k) products[m][k] = std::fma(x[k], y, products[m][k]);
      }
    }
    for (int m = 0; m < kColumnTile && b + m < plan.columns; ++m) {
      if (a == b) Gram(GramSumIndex(plan, b + m), s) = sums[m];
      for (int k = 0; k < kColumnTile && a + k <= b + m; ++k) {
        Gram(GramIndex(a + k, b + m), s) = products[m][k];
      }
    }
  }

  FORESHADOW_PORTABLE void operator()(int64_t s) const {
    const int64_t steps = args.values.steps;
    double present = 0;
    double low = 0;
    double high = 0;
    double sum = 0;  // over the first sample
    double origin = 0;
    for (int64_t i = 0; i < steps; ++i) {
      const double value = args.values.at(i, s);
      if (std::isnan(value)) continue;
      if (present == 0) origin = low = high = value;
      low = value < low ? value : low;
      high = value > high ? value : high;
      sum += value - origin;
      present += 1;
    }
    const SeriesStatus status = SamplesStatus(present, low, high);
    if (status != SeriesStatus::kOk) {
      VoidAutoregression(args, s, status);
      return;
    }
    const double mean = origin + sum / present;
    auto rows = static_cast<double>(steps - plan.span);
    if (present < static_cast<double>(steps)) {
      rows = GramOfRows(s, mean);
    } else {
      GramOfWhole(s, mean);
    }
    const auto solution = SolveGram<double>(
        plan, ridge, rows, mean, [&](int i) { return Gram(i, s); },
        [&](int i, double x) { Gram(i, s) = x; },
        [&](int k, double x) { args.coefficients.at(k, s) = static_cast<float>(x); });
    args.variance[s] = static_cast<float>(solution.variance);
    args.status[s] = ArStatus(status, plan, rows, solution.worst);
    if (args.status[s] != SeriesStatus::kOk) VoidAutoregression(args, s, args.status[s]);
  }
};

// Without memory to divide: its size.
inline size_t DivideArMemory(const AutoregressionArgs& args, const ArPlan& plan, std::byte* memory,
                             ArMemory& parts) {
  const auto series = static_cast<size_t>(args.values.series);
  const size_t gram = static_cast<size_t>(GramSize(plan)) * series * sizeof(double);
  const size_t whole = static_cast<size_t>(args.values.steps / 64 + 1) * series * sizeof(uint64_t);
  if (memory != nullptr) {
    parts.gram = reinterpret_cast<double*>(memory);
    parts.whole = reinterpret_cast<uint64_t*>(memory + gram);
  }
  return gram + whole;
}

template <typename Device>
size_t AutoregressionWorkspaceBytes(const AutoregressionArgs& args) {
  ArMemory parts;
  return DivideArMemory(args, PlanAutoregression(args), nullptr, parts);
}

template <typename Device>
void Autoregression(const AutoregressionArgs& args) {
  CheckAutoregression(args);
  FORESHADOW_CHECK(args.workspace.size() >= AutoregressionWorkspaceBytes<Device>(args));
  const ArPlan plan = PlanAutoregression(args);
  if (!HasRows(args, plan)) {
    Device::ForEach(args.values.series, args.stream, [args] FORESHADOW_PORTABLE(int64_t s) {
      VoidAutoregression(args, s, SeriesStatus::kTooShort);
    });
    return;
  }
  ArMemory memory;
  DivideArMemory(args, plan, args.workspace.data(), memory);
  Device::ForEach(args.values.series, args.stream, FitSeries{args, plan, args.ridge, memory});
}

}  // namespace foreshadow::kernels::cuda
