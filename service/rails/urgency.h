// How soon a move is of use. Guard rails ask for more than routine at times.
#pragma once

#include <array>
#include <cstdint>

namespace foreshadow {

enum class Urgency : uint8_t {
  kRoutine,     // some time within the hour
  kSoon,        // within the time in which a shadow is resumed
  kNow,         // from the first step on that it could serve
  kOverloaded,  // its cell is overloaded already
  kNever,       // of a guard rail: nothing passes
};
inline constexpr std::array<const char*, 5> kUrgencyNames = {"routine", "soon", "now", "overloaded",
                                                             "never"};
constexpr const char* Name(Urgency urgency) { return kUrgencyNames[static_cast<int>(urgency)]; }

}  // namespace foreshadow
