// Times in which nothing is begun.
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <optional>

#include "absl/time/civil_time.h"
#include "absl/time/time.h"
#include "service/rails/rails.h"

namespace foreshadow {
namespace {

constexpr std::array<const char*, 7> kDays = {"mon", "tue", "wed", "thu", "fri", "sat", "sun"};
constexpr int64_t kMinuteMs = 60'000;
constexpr int64_t kDayMs = 24 * 60 * kMinuteMs;

std::optional<int64_t> TimeOf(const std::string& text) {
  absl::Time time;
  if (!absl::ParseTime(absl::RFC3339_full, text, &time, nullptr)) return std::nullopt;
  return absl::ToUnixMillis(time);
}

// Since midnight.
std::optional<int64_t> TimeOfDay(const std::string& text) {
  absl::Time time;
  if (!absl::ParseTime("%Y-%m-%d %H:%M", "1970-01-01 " + text, &time, nullptr)) return std::nullopt;
  return absl::ToUnixMillis(time);
}

bool BeginsOn(const Freeze& freeze, int64_t day) {
  if (freeze.days.empty()) return true;
  const absl::CivilDay civil = absl::CivilDay(1970, 1, 1) + day;
  const char* name = kDays[static_cast<size_t>(absl::GetWeekday(civil))];
  return std::ranges::find(freeze.days, name) != freeze.days.end();
}

}  // namespace

absl::Status CheckFreeze(const std::string& key, const Freeze& freeze) {
  for (const std::string& day : freeze.days) {
    if (std::ranges::find(kDays, day) == kDays.end()) {
      return absl::InvalidArgumentError(
          fmt::format("{}.days names \"{}\": must be of {}", key, day, fmt::join(kDays, ", ")));
    }
  }
  const auto from = TimeOf(freeze.from);
  const auto until = TimeOf(freeze.until);
  if (from && until) {
    if (!freeze.days.empty()) {
      return absl::InvalidArgumentError(
          fmt::format("{}.days goes with times of day, not with dates", key));
    }
    if (*until > *from) return absl::OkStatus();
    return absl::InvalidArgumentError(fmt::format(
        "{}.until = \"{}\" must be later than from = \"{}\"", key, freeze.until, freeze.from));
  }
  if (TimeOfDay(freeze.from) && TimeOfDay(freeze.until)) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format(
      "{}: from = \"{}\", until = \"{}\": must be two times of day, as \"22:00\", or two "
      "dates with time, as \"2026-12-24T00:00:00Z\"",
      key, freeze.from, freeze.until));
}

bool Holds(const Freeze& freeze, int64_t now_ms) {
  const auto from = TimeOf(freeze.from);
  const auto until = TimeOf(freeze.until);
  if (from && until) return now_ms >= *from && now_ms < *until;
  const auto begins = TimeOfDay(freeze.from);
  const auto ends = TimeOfDay(freeze.until);
  if (!begins || !ends) return false;
  const int64_t length_ms = *ends > *begins ? *ends - *begins : *ends + kDayMs - *begins;
  const int64_t today = now_ms / kDayMs;
  for (const int64_t day : {today, today - 1}) {
    const int64_t start_ms = day * kDayMs + *begins;
    if (now_ms >= start_ms && now_ms < start_ms + length_ms && BeginsOn(freeze, day)) return true;
  }
  return false;
}

}  // namespace foreshadow
