#include "service/history/bins.h"

#include <algorithm>

namespace foreshadow {

void SortOnce(std::vector<Point>& points) {
  const auto earlier = [](const Point& a, const Point& b) { return a.time_ms < b.time_ms; };
  const auto same = [](const Point& a, const Point& b) { return a.time_ms == b.time_ms; };
  if (!std::is_sorted(points.begin(), points.end(), earlier)) {
    std::stable_sort(points.begin(), points.end(), earlier);
  }
  points.erase(std::unique(points.begin(), points.end(), same), points.end());
}

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
