// Stage 6: the life of a shadow. Decides which action each shadow needs next, takes in how earlier
// ones went, and keeps at most one action open per shadow. Pure: the caller writes the result down
// before anything is carried out.
//
//   planned --approved--> creating --done--> warm --needed--> sharing --split 0, not needed--> idle
//      |                     |                 |                                              |  |
//      +--not approved-------+--given up       +--idle too long--> decommissioning <----------+  |
//      v                     v                                        |                          |
//     gone                 failed                                     v          needed again:
//     sharing
//                                                                    gone
#pragma once

#include <string>
#include <vector>

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
  double risk_threshold = 0.25;
};

// What this stage and the next did: written to the audit log, then carried out.
struct Changes {
  std::vector<Explanation> explanations;  // decided or settled now
  std::vector<std::string> alerts;
};

// Takes in outcomes of earlier actions, what the cells list, and what operators said.
void TakeIn(const Moment& moment, const Inbox& inbox, Decisions& decisions, Changes& changes);

// Starts the shadows of the plan and moves the others on.
void Advance(const Outlook& outlook, Decisions& decisions, Changes& changes);

// True while the account's own cell is in danger so near that its shadow should take traffic: it is
// over its capacity, or likely to be within `lead_ms`, had nothing been moved.
bool Needed(const Outlook& outlook, const Shadow& shadow, int64_t lead_ms);

// True when the shadow's cell, as it serves now, is over its capacity or will be within a step.
bool EndangersTarget(const Outlook& outlook, const Shadow& shadow);

// Opens an action for a shadow and records why.
Explanation Open(const Fleet& fleet, const Shadow& shadow, ActionKind kind, std::string reason,
                 int64_t now_ms, Decisions& decisions);

}  // namespace foreshadow
