#include "training/simulate/panel.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <optional>

#include "training/simulate/rules.h"

namespace foreshadow::training {
namespace {

constexpr double kBinsPerDeviation = 4;
constexpr double kNearest = -2;     // deviations of the capacity above the level, the first bin
constexpr int64_t kLeastSaid = 20;  // fewer are no evidence

struct Outlook {
  double level;
  double deviation;
};

Outlook LastHour(const PanelView& view) {
  const auto hour = view.past.last(static_cast<size_t>(view.hour_steps));
  return {MeanOf(hour), DeviationOf(hour)};
}

// The most of the hour that comes, as it was; as far off as the hour before was.
std::optional<Outlook> DayBefore(const PanelView& view) {
  const auto hour = static_cast<size_t>(view.hour_steps);
  if (view.day_before.size() < 2 * hour) return std::nullopt;
  const auto now = view.past.last(hour);
  double squares = 0;
  for (size_t t = 0; t < hour; ++t) {
    squares += (now[t] - view.day_before[t]) * (now[t] - view.day_before[t]);
  }
  const auto coming = view.day_before.subspan(hour, hour);
  return Outlook{*std::ranges::max_element(coming), std::sqrt(squares / static_cast<double>(hour))};
}

// The weight of the newest by the least squares of one step's errors, as ETS(A,N,N).
Outlook Smoothing(const PanelView& view) {
  Outlook best{view.past.back(), std::numeric_limits<double>::infinity()};
  for (const double weight : {0.1, 0.3, 0.5, 0.7, 0.9}) {
    double level = view.past.front();
    double squares = 0;
    for (const double v : view.past.subspan(1)) {
      squares += (v - level) * (v - level);
      level += weight * (v - level);
    }
    const double deviation =
        std::sqrt(squares / std::max(1.0, static_cast<double>(view.past.size()) - 1));
    if (deviation < best.deviation) best = {level, deviation};
  }
  return best;
}

int BinOf(const Outlook& outlook, double capacity, int bins) {
  const double away = (capacity - outlook.level) / std::max(outlook.deviation, 1e-9 * capacity);
  return static_cast<int>(
      std::clamp((away - kNearest) * kBinsPerDeviation, 0.0, static_cast<double>(bins - 1)));
}

}  // namespace

void Panel::Look(int64_t step, int32_t cell, const PanelView& view, bool came) {
  const std::array<std::optional<Outlook>, kMembers> outlooks = {LastHour(view), DayBefore(view),
                                                                 Smoothing(view)};
  auto& said = said_[static_cast<size_t>(step) * cells_ + static_cast<size_t>(cell)];
  for (int m = 0; m < kMembers; ++m) {
    if (!outlooks[m]) continue;
    const int bin = BinOf(*outlooks[m], view.capacity, kBins);
    said[m] = static_cast<uint8_t>(bin + 1);
    ++records_[m][bin].said;
    records_[m][bin].came += came;
  }
}

double Panel::Chance(int64_t step, int32_t cell) const {
  const auto& said = said_[static_cast<size_t>(step) * cells_ + static_cast<size_t>(cell)];
  double most = 0;
  for (int m = 0; m < kMembers; ++m) {
    if (said[m] == 0) continue;
    const Record& record = records_[m][said[m] - 1];
    if (record.said < kLeastSaid) continue;
    most = std::max(most, static_cast<double>(record.came) / static_cast<double>(record.said));
  }
  return most;
}

}  // namespace foreshadow::training
