// How a shadow becomes its account's primary: the split is raised in steps, each judged by what
// both instances tell of their requests, until the shadow has all; then the old primary answers
// what it still has, and the shadow is handed the account. What fails goes back to the split
// before. An account of which nothing is measured goes by time alone. Pure.
#pragma once

#include <cstdint>
#include <string>

#include "service/monitor/measures.h"
#include "service/tick/settings.h"
#include "service/tick/types.h"

namespace foreshadow {

// What holds at this tick.
struct MigrationView {
  const MigrateSettings& settings;
  const AccountMeasures& measures;
  double slo_ms = 400;
  int64_t now_ms = 0;
  int64_t step_ms = 60'000;
  bool evacuates = false;  // its cell is drained: that nobody asks anything keeps it from nothing
};

enum class MigrationTurn : uint8_t { kGoOn, kHandOver, kCallOff };

struct MigrationDecision {
  MigrationTurn turn = MigrationTurn::kGoOn;
  std::string reason;    // of kCallOff
  bool harmful = false;  // the shadow serves worse than it may
};

// From the split in force to the first step above it.
void BeginMigration(const MigrateSettings& settings, int64_t now_ms, Shadow& shadow);
// Judges the step in force; sets what split is wanted next.
MigrationDecision Migrate(const MigrationView& view, Shadow& shadow);
// Back to the split before; the caller enters the state. `harm` is what the shadow did wrong: more
// than that split it does not get for a while; "" = nothing.
void CallOffMigration(std::string harm, int64_t now_ms, Shadow& shadow);

}  // namespace foreshadow
