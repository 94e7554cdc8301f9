// CHECK for our own bugs: on in every build, since a wrong forecast served is worse than a crash
// that is restarted. Errors of operation are returned, never checked.
#pragma once

namespace foreshadow {

// Writes the failed condition with its place to stderr and aborts.
[[noreturn]] void CheckFailed(const char* condition, const char* file, int line);

}  // namespace foreshadow

#define FORESHADOW_CHECK(condition) \
  ((condition) ? void(0) : ::foreshadow::CheckFailed(#condition, __FILE__, __LINE__))
