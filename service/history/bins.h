// Summaries of a series over spans of time. Pure values.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace foreshadow {

struct Point {
  int64_t time_ms = 0;
  float value = 0;

  bool operator==(const Point&) const = default;
};

// By time; of several at one time the first. A sample lies in one place only, but a repaired
// database may have replayed a part of its log twice.
void SortOnce(std::vector<Point>& points);

enum class Resolution : uint8_t { kSamples, kFiveMinutes, kHour };

constexpr int64_t WidthMs(Resolution resolution) {
  return resolution == Resolution::kHour          ? 3'600'000
         : resolution == Resolution::kFiveMinutes ? 300'000
                                                  : 0;
}

// The samples of start_ms <= time < start_ms + width.
struct Bin {
  int64_t start_ms = 0;  // a multiple of the width; of a sample its time
  float mean = 0;
  float min = 0;
  float max = 0;
  uint32_t count = 0;

  bool operator==(const Bin&) const = default;
};

// Points ascend in time; spans without a point have no bin.
std::vector<Bin> Summarize(std::span<const Point> points, Resolution resolution);

}  // namespace foreshadow
