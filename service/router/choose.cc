#include "service/router/choose.h"

#include <fmt/core.h>

namespace foreshadow::router {
namespace {

bool Runs(const Candidate& c) {
  return c.instance != nullptr && c.instance->state == InstanceState::kRunning && !c.ill;
}

Side SideOf(const Fleet& fleet, const Instance& instance) {
  const Cell& cell = fleet.cells[instance.cell];
  return {instance.id, cell.id, cell.zone, instance.address};
}

// In the account's own cell when several claim to be it; null and an alert when that is no help.
const Candidate* PrimaryOf(const Situation& in, std::string& alert) {
  const Candidate* own = nullptr;
  int own_count = 0;
  for (const Candidate& c : in.primaries) {
    if (c.instance->cell != in.account->cell) continue;
    own = &c;
    ++own_count;
  }
  if (own_count == 1) return own;
  if (own_count == 0 && in.primaries.size() == 1) return &in.primaries[0];
  if (in.primaries.empty()) return nullptr;
  alert =
      fmt::format("{} instances claim to be the primary of account {}: its route stays as it is",
                  in.primaries.size(), in.account->id);
  return nullptr;
}

const char* IllBecause(const Candidate& primary) {
  if (primary.ill) return "does not answer, or answers with errors";
  return primary.instance->state == InstanceState::kPaused ? "is paused" : "has ended";
}

}  // namespace

Choice Choose(const Situation& in) {
  Choice choice;
  const Candidate* primary = PrimaryOf(in, choice.alert);
  if (!choice.alert.empty()) return choice;
  // One that has just been made the primary, before the plan has heard of it.
  const bool is_primary = primary != nullptr && primary->instance == in.shadow.instance;
  const bool shadow_serves = !is_primary && Runs(in.shadow) && in.shadow.instance->serving;
  const bool primary_ill = primary != nullptr && !Runs(*primary);
  choice.primary_ill = primary_ill;
  Route route;
  route.account = in.account->id;
  route.stateful = in.account->stateful;
  route.epoch = in.epoch;
  if (primary != nullptr) route.primary = SideOf(*in.fleet, *primary->instance);
  if (shadow_serves) {
    route.shadow = SideOf(*in.fleet, *in.shadow.instance);
    route.split = in.split;
    route.shed = in.shed;
  }
  if (primary_ill || in.held) {
    if (!shadow_serves) {
      choice.wants_shadow = primary_ill && in.shadow.instance != nullptr && !in.shadow.ill &&
                            in.shadow.instance->state == InstanceState::kPaused;
      if (primary_ill) {
        choice.alert = fmt::format("account {}: its primary {} {}, and no shadow serves",
                                   in.account->id, primary->instance->id, IllBecause(*primary));
      }
    } else {
      route.split = 1;
      choice.failed_over = primary_ill;
      if (primary_ill) {
        choice.why = fmt::format("its primary {} {}", primary->instance->id, IllBecause(*primary));
      }
    }
  }
  // Nobody there: whoever is told nothing goes on trying where it tried.
  const bool nobody = !route.primary.address.known() && !route.shadow.address.known();
  const bool both_ill = primary_ill && !shadow_serves;
  if (!nobody && !both_ill) choice.route = std::move(route);
  return choice;
}

}  // namespace foreshadow::router
