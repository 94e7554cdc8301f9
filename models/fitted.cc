#include "models/fitted.h"

#include <algorithm>
#include <cmath>

namespace foreshadow::models {
namespace {

constexpr int kSamplesMin = 10;
constexpr int64_t kSilenceMs = 3'600'000;
constexpr int64_t kDayMs = 86'400'000;

}  // namespace

std::span<const float> UsablePast(std::span<const float> column, int64_t step_ms, int64_t series,
                                  QuantileBlock& out) {
  const auto there = [](float x) { return !std::isnan(x); };
  const auto count = std::ranges::count_if(column, there);
  if (count == 0) {
    WriteMissing(ForecastStatus::kNoHistory, series, out);
    return {};
  }
  int64_t silent = 0;
  while (!there(column[column.size() - 1 - static_cast<size_t>(silent)])) ++silent;
  if (count < kSamplesMin || silent * step_ms > kSilenceMs) {
    WriteMissing(ForecastStatus::kCannot, series, out);
    return {};
  }
  return column.subspan(static_cast<size_t>(std::ranges::find_if(column, there) - column.begin()));
}

int64_t SeasonOf(const History& history, int64_t series) {
  return history.periods[series] > 1 ? history.periods[series] : kDayMs / history.step_ms;
}

}  // namespace foreshadow::models
