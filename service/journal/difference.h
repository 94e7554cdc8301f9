// Where two ticks that should be one decided differently. Any thread.
#pragma once

#include <string>
#include <vector>

#include "service/journal/records.h"

namespace foreshadow::journal {

inline constexpr size_t kDifferencesMax = 20;  // that are told; the first ones are the cause

// A line each: what, which field of it, both values. Shadows go by instance, actions by number,
// cells by id. Never empty for two that are not equal.
std::vector<std::string> Differences(const Decided& recorded, const Decided& replayed);

}  // namespace foreshadow::journal
