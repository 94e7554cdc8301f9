// Stage 6: the life of a shadow. Decides which action each shadow needs next, takes in how earlier
// ones went, and keeps at most one action open per shadow. Pure: the caller writes the result down
// before anything is carried out.
//
// docs/architecture.md has the table of states; Follows() is the same table as code.
#pragma once

#include <span>
#include <string>
#include <unordered_map>
#include <vector>

#include "service/monitor/measures.h"
#include "service/plan/plan.h"
#include "service/tick/settings.h"
#include "service/tick/types.h"

namespace foreshadow {

// What holds at this tick.
struct Moment {
  const Fleet& fleet;
  const std::vector<bool>& reachable;  // [cell]
  const ShadowSettings& settings;
  int64_t now_ms = 0;
  int64_t step_ms = 0;
  int64_t retry_jitter_ms = 0;  // 0..step_ms, from the world's random numbers
};

// And what is foreseen.
struct Outlook : Moment {
  const Plan& plan;
  const std::vector<CellDemand>& demand;  // [cell]
  const PlanSettings& plan_settings;
  const Rails& rails;
  const std::vector<Resources>& account_demand;  // [account] now
  const MigrateSettings migrate = {};
  std::span<const AccountMeasures> measures = {};  // [account]; empty = nothing is measured
  double slo_ms = 400;
};

// What this stage and the next did: written to the audit log, then carried out.
struct Changes {
  std::vector<Explanation> explanations;  // decided or settled now
  std::vector<Account> moved;             // accounts that live in another cell from here on
  std::vector<std::string> alerts;
};

// Keeps the origins of promoted accounts: `moved` are promoted now, `registered` were registered
// anew by operators, which makes where they say the origin.
void FollowOrigins(const Fleet& before, const std::vector<Account>& registered,
                   const std::unordered_map<std::string, int32_t>& index,
                   const std::vector<Account>& moved, std::vector<Origin>& origins);

// Whether a shadow may go from one state straight to the other.
bool Follows(ShadowState from, ShadowState to);

// True while an action of the shadow is on its way.
bool HasOpenAction(const Decisions& decisions, const Shadow& shadow);

// Takes in outcomes of earlier actions, what the cells list, and what operators said.
void TakeIn(const Moment& moment, const Inbox& inbox, Decisions& decisions, Changes& changes);

// Starts the shadows of the plan and moves the others on.
void Advance(const Outlook& outlook, Decisions& decisions, Changes& changes);

// True when traffic at the shadow is expected to save what moving it costs, within the time in
// which a shadow is resumed, or its account is to leave its cell.
bool Needed(const Outlook& outlook, const Shadow& shadow);

// Opens an action for a shadow and records why.
Explanation Open(const Fleet& fleet, const Shadow& shadow, ActionKind kind, std::string reason,
                 int64_t now_ms, Decisions& decisions);

}  // namespace foreshadow
