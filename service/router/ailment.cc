#include "service/router/ailment.h"

#include <algorithm>
#include <cmath>

namespace foreshadow::router {

double TailBound(uint64_t requests_count, uint64_t errors_count, double share) {
  if (requests_count == 0) return 1;
  const auto n = static_cast<double>(requests_count);
  const double seen = static_cast<double>(errors_count) / n;
  if (seen <= share || share <= 0) return share <= 0 && errors_count > 0 ? 0 : 1;
  if (share >= 1) return 1;
  double distance = seen * std::log(seen / share);
  if (seen < 1) distance += (1 - seen) * std::log((1 - seen) / (1 - share));
  return std::exp(-n * distance);
}

bool ErrorWatch::Look(uint64_t requests_count, uint64_t errors_count) {
  if (requests_count == 0) return false;
  const double seen = static_cast<double>(std::min(errors_count, requests_count)) /
                      static_cast<double>(requests_count);
  const bool burst =
      errors_count >= kErrorsMin && seen >= kErrorShare &&
      TailBound(requests_count, errors_count, std::max(kErrorShareBase, usual_)) < kErrorFalseAlarm;
  if (!burst) usual_ += kErrorMemory * (seen - usual_);
  return burst;
}

}  // namespace foreshadow::router
