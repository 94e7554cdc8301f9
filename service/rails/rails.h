// Guard rails: what may be begun, whatever it would save. A rail raises the bar: it says how urgent
// a move must be to be made now. Budgets bound how much is moved, whatever the urgency. Shadows
// that are there already share, fail over and go home under any bar: protection is never lowered.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "absl/status/status.h"
#include "service/history/window.h"
#include "service/plan/demand.h"
#include "service/tick/settings.h"
#include "service/tick/types.h"

namespace foreshadow {

// How urgent a move must be, and what asks for it.
struct Bar {
  Urgency least = Urgency::kRoutine;
  std::string why;
};
// The higher one; the first of equals.
Bar Higher(const Bar& a, const Bar& b);

// What holds in a tick.
struct Rails {
  const Fleet& fleet;
  const RailSettings& settings;
  Mode mode = Mode::kRecommend;
  int64_t now_ms = 0;
  Bar asked = {};                                      // of what is begun: guard.urgency_min
  Bar all = {};                                        // for now
  std::vector<Bar> cells = {};                         // [cell]
  std::unordered_map<int32_t, CoolDown> cooling = {};  // account
  int32_t creations_max = 0;                           // now
  bool drifted = false;                                // the forecasts of all cells are in doubt
  std::vector<bool> overloaded_long = {};              // [cell] for guard.react_after_ms
  // Share of a cell's capacity from which on it is nearly full; 0: only an overloaded one counts.
  Resources nearly_full_at = {};
  std::vector<bool> nearly_full = {};  // [cell] for guard.nearly_full_after_ms
};

struct RailsInput {
  const Fleet& fleet;
  const RailSettings& settings;
  Mode mode = Mode::kRecommend;
  int64_t now_ms = 0;
  int64_t step_ms = 0;
  int64_t last_tick_ms = 0;               // 0 = none
  bool started = false;                   // the first tick of this process
  const std::vector<CellDemand>& demand;  // [cell] now
  double silent_share = 0;                // of the accounts
  bool drifted = false;                   // a drift alarm stands
};

// Share of the accounts heard of in the last hour that have been silent for `gap_ms`.
double SilentShare(const WindowView& window, int64_t accounts, int64_t gap_ms);

// Sets the rails of a tick. Fills the budgets, ends cool-downs that are over, and names in `alerts`
// what holds everything up.
Rails SetRails(const RailsInput& input, RailsMemory& memory, std::vector<std::string>& alerts);

// Of each cell: raised where the next step is foreseen far from what it is asked for now.
std::vector<Bar> JumpBars(const Rails& rails, const std::vector<CellDemand>& demand,
                          const std::vector<CellForecast>& forecasts);

// The most cautious of the modes that are set for the account's application, its cell and the
// target; where none is, shadow.mode. `target` < 0: wherever it may be.
Mode ModeOf(const Rails& rails, int32_t account, int32_t target);

// The bar for moving an account as things are now, `target` < 0: wherever to.
Bar BarOf(const Rails& rails, int32_t account, int32_t target);

// Why an account's shadow may not be in a cell, by the rules of both; nothing if it may.
std::optional<std::string> WhyNotThere(const Rails& rails, int32_t account, int32_t target);

// A cell that is to be emptied.
bool Drains(const Rails& rails, int32_t cell);
// The cells as plans are to see them: one that is drained has next to no cores for anybody.
std::vector<Cell> WithDrains(const Rails& rails);
// As one sees them who only looks at the present: one that is nearly full for long is full.
std::vector<Cell> WithMargins(const Rails& rails, std::vector<Cell> cells);

// Accounts whose shadow is gone, or became the primary, get no other for a while.
void CoolDownGone(const std::vector<Shadow>& before, const std::vector<Shadow>& after,
                  int64_t until_ms, RailsMemory& memory);

// INVALID_ARGUMENT with the key, the value and what is allowed.
absl::Status CheckFreeze(const std::string& key, const Freeze& freeze);
// Whether it holds now; one that CheckFreeze refuses never does.
bool Holds(const Freeze& freeze, int64_t now_ms);

}  // namespace foreshadow
