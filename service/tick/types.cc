#include "service/tick/types.h"

#include <fmt/core.h>

#include <algorithm>

namespace foreshadow {

const char* Name(SignalKind signal) {
  constexpr const char* kNames[] = {"cpu", "memory", "network", "storage", "mutation_rate"};
  return kNames[static_cast<int>(signal)];
}

const char* Name(ShadowState state) {
  constexpr const char* kNames[] = {"planned",   "creating",        "warm", "sharing",
                                    "idle",      "decommissioning", "gone", "failed",
                                    "promoting", "promoted"};
  static_assert(std::size(kNames) == kShadowStates);
  return kNames[static_cast<int>(state)];
}

const char* Name(ActionKind kind) {
  constexpr const char* kNames[] = {"create",  "resume",  "pause",  "set-split",
                                    "destroy", "promote", "retire", "lift-fence"};
  static_assert(std::size(kNames) == kActionKinds);
  return kNames[static_cast<int>(kind)];
}

const char* Name(ActionState state) {
  constexpr const char* kNames[] = {"waiting", "intended", "done", "failed"};
  return kNames[static_cast<int>(state)];
}

double Scores::lead_minutes_median() const {
  if (lead_minutes.empty()) return 0;
  std::vector<double> sorted = lead_minutes;
  std::sort(sorted.begin(), sorted.end());
  const size_t middle = sorted.size() / 2;
  return sorted.size() % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

std::string Words(const Explanation& e) {
  const Action& a = e.action;
  std::string words =
      fmt::format("Action {} ({}{} for account {}, {} -> {}) is {}. Reason: {}.", a.id,
                  Name(a.kind), a.instance_id.empty() ? "" : " of " + a.instance_id, a.account,
                  a.source_cell, a.target_cell, Name(a.state), a.reason);
  if (e.risk.steps > 0) {
    const double minutes =
        e.risk.expected_ms ? double(e.risk.expected_ms - a.decided_ms) / 60'000 : 0;
    words += fmt::format(
        " When it was decided, cell {} had a {:.0f} % chance to run out of {} (capacity {:.4g})",
        a.source_cell, 100 * e.risk.probability, Name(static_cast<SignalKind>(e.risk.resource)),
        e.risk.capacity);
    words += e.risk.expected_ms ? fmt::format(", first likely {:.0f} min ahead.", minutes)
                                : std::string(" within the hour.");
  }
  if (a.kind == ActionKind::kCreate) {
    words += fmt::format(
        " The account was expected to use {:.4g} (median) to {:.4g} (95th percentile) of it; moving"
        " it lowers the chance to {:.0f} % and takes the target from {:.0f} % to {:.0f} % of its"
        " capacity.",
        e.account_p50, e.account_p95, 100 * e.probability_after, 100 * e.target_utilisation_before,
        100 * e.target_utilisation_after);
    words += fmt::format(
        " It was expected to be ready in {:.1f} min, {:.3g} GiB of state being copied, and to save"
        " {:.3g} core-hours; its urgency is {}.",
        e.lead_ms / 60'000, e.state_bytes / kGib, e.gain, Name(e.urgency));
  }
  if (!e.model.empty()) words += fmt::format(" Forecast by {}.", e.model);
  for (const Alternative& other : e.alternatives) {
    words +=
        fmt::format(" Not {} to {}: {}.", other.account, other.target_cell, other.refused_because);
  }
  for (const std::string& rail : e.guard_rails) words += fmt::format(" Guard rail: {}.", rail);
  if (!a.message.empty()) words += fmt::format(" Last error: {}.", a.message);
  return words;
}

void Take(const SettingChange& change, std::vector<SettingChange>& changes) {
  const auto at = std::ranges::lower_bound(changes, change.key, {}, &SettingChange::key);
  const bool there = at != changes.end() && at->key == change.key;
  if (change.value.empty()) {
    if (there) changes.erase(at);
  } else if (there) {
    *at = change;
  } else {
    changes.insert(at, change);
  }
}

}  // namespace foreshadow
