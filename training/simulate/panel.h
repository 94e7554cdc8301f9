// Who might have foreseen an overload. A fixed panel looks at the demand of those who live in a
// cell, whatever any policy does: the last hour, the same time a day before, exponential smoothing.
// A member tells a level and a deviation; the chance that it gives is how often overload came
// within the hour, in all of this world, where the capacity was so many of its deviations above its
// level. So whoever calls overloads that do not come gives none of them a high chance.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

namespace foreshadow::training {

// What is known of a cell at a step, of those who live there then, in cores.
struct PanelView {
  std::span<const double> past;  // oldest first, up to that step; at least an hour
  std::span<const double>
      day_before;  // a day before `past`'s last hour and the coming one; or none
  int64_t hour_steps = 12;
  double capacity = 0;
};

class Panel {
 public:
  static constexpr int kMembers = 3;
  Panel(int64_t steps, size_t cells) : cells_(cells), said_(static_cast<size_t>(steps) * cells) {}
  // At a step when the cell is not overloaded. came: it will be within the coming hour.
  void Look(int64_t step, int32_t cell, const PanelView& view, bool came);
  // The highest chance that any of them gave at that step, by all that was looked at; 0 = none
  // spoke.
  double Chance(int64_t step, int32_t cell) const;

 private:
  static constexpr int kBins = 32;  // of a quarter of a deviation each
  struct Record {
    int64_t said = 0;
    int64_t came = 0;
  };
  size_t cells_;
  // [step][cell] the bin of each member and 1; 0 = it said nothing
  std::vector<std::array<uint8_t, kMembers>> said_;
  std::array<std::array<Record, kBins>, kMembers> records_{};
};

}  // namespace foreshadow::training
