#include "service/history/bins.h"

#include <algorithm>

namespace foreshadow {

std::vector<Bin> Summarize(std::span<const Point> points, Resolution resolution) {
  const int64_t width_ms = WidthMs(resolution);
  std::vector<Bin> bins;
  double sum = 0;
  for (const Point& point : points) {
    const int64_t start_ms = width_ms == 0 ? point.time_ms : point.time_ms / width_ms * width_ms;
    if (bins.empty() || bins.back().start_ms != start_ms) {
      bins.push_back({start_ms, point.value, point.value, point.value, 0});
      sum = 0;
    }
    Bin& bin = bins.back();
    sum += point.value;
    ++bin.count;
    bin.mean = static_cast<float>(sum / bin.count);
    bin.min = std::min(bin.min, point.value);
    bin.max = std::max(bin.max, point.value);
  }
  return bins;
}

}  // namespace foreshadow
