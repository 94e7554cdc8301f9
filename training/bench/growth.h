// How the cost of an operation grows with the size of the batch, measured and fitted.
#pragma once

#include <string>
#include <vector>

#include "absl/status/status.h"
#include "training/bench/measure.h"

namespace foreshadow::training {

struct Growth {
  std::string operation;
  std::string with;             // series, length, period, or what the window is
  std::vector<double> sizes;    // ascending
  std::vector<double> seconds;  // of one run over the batch: CPU time, or wall time on a GPU
  PowerLaw fit;
};

// The sizes at which a case is measured: each dimension varied around `base`, the others held.
struct Sweep {
  std::string with;
  std::vector<Shape> shapes;
  std::vector<double> sizes;
};
std::vector<Sweep> Sweeps(const kernels::Ops& ops, const Case& which, const Shape& base);

// A case at every size, on one core.
std::vector<Growth> MeasureGrowth(const kernels::Ops& ops, const Case& which, const Shape& base,
                                  const MeasureOptions& options, uint64_t seed);

// A panel a dimension, both axes logarithmic. Errors as DrawPicture's.
absl::Status PlotGrowth(const std::vector<Growth>& growth, const std::string& path);

}  // namespace foreshadow::training
