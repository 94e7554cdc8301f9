// What the additive model may be told beside the samples. Plain values.
#pragma once

#include <cstdint>
#include <vector>

namespace foreshadow::models {

inline constexpr double kProphetScale = 10;    // Prophet's prior deviation of an effect
inline constexpr int kProphetEventsMax = 100;  // a column each in every fit

// Calendar: one effect in all its windows [begin_ms, end_ms), Unix time.
struct ProphetEvent {
  struct Window {
    int64_t begin_ms = 0;
    int64_t end_ms = 0;
  };
  std::vector<Window> windows = {};
  double scale = kProphetScale;
};

struct ProphetExtras {
  std::vector<ProphetEvent> events = {};  // at most kProphetEventsMax
  // Whether a series' driver (History::drivers), as it was a lead before, is a regressor. Beyond
  // its lead nothing is known of it: its last sample is carried on.
  bool drivers = false;
};

}  // namespace foreshadow::models
