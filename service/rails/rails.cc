#include "service/rails/rails.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>

namespace foreshadow {
namespace {

constexpr double kMinuteMs = 60'000;
constexpr double kRounding = 1e-9;
constexpr double kDrainedCores = 1e-6;  // 0 would be unlimited

void Raise(Bar& bar, Urgency least, std::string why) { bar = Higher(bar, {least, std::move(why)}); }

const CellRule* RuleOf(const Rails& rails, int32_t cell) {
  const auto it = rails.settings.cells.find(rails.fleet.cells[cell].id);
  return it == rails.settings.cells.end() ? nullptr : &it->second;
}

const ApplicationRule* RuleOf(const Rails& rails, const std::string& application) {
  const auto it = rails.settings.applications.find(application);
  return it == rails.settings.applications.end() ? nullptr : &it->second;
}

// What `rate` a minute has left: filled as time goes by, at most what one step allows, at least
// one.
double Fill(double left, double rate, double minutes, double step_minutes) {
  return std::min(left + rate * minutes, std::max(1.0, rate * step_minutes));
}

void Settle(const RailsInput& in, RailsMemory& memory, Rails& rails,
            std::vector<std::string>& alerts) {
  const int64_t missed = in.last_tick_ms == 0 ? 0 : (in.now_ms - in.last_tick_ms) / in.step_ms - 1;
  const auto unsettle = [&](std::string why) {
    memory.unsettled_ms = in.now_ms;
    memory.unsettled_why = std::move(why);
  };
  if (in.started && in.last_tick_ms != 0) {
    unsettle("the server has started");
  } else if (missed > 1) {
    unsettle(fmt::format("{} ticks were missed", missed));
  }
  if (in.silent_share > in.settings.silent_share_max) {
    unsettle("telemetry was missing");
    Raise(
        rails.all, Urgency::kNever,
        fmt::format("telemetry is missing of more accounts than guard.silent_share_max = {:.0f} %",
                    100 * in.settings.silent_share_max));
    alerts.push_back(fmt::format("nothing new is begun: {}", rails.all.why));
  }
  if (memory.unsettled_ms == 0) return;
  if (in.now_ms - memory.unsettled_ms < in.settings.settle_ms) {
    Raise(rails.all, Urgency::kNow,
          fmt::format("{} less than guard.settle_ms = {} ago", memory.unsettled_why,
                      in.settings.settle_ms));
  } else {
    memory.unsettled_ms = 0;
    memory.unsettled_why.clear();
  }
}

void Freezes(const RailsInput& in, Rails& rails) {
  for (const auto& [name, freeze] : in.settings.freezes) {
    if (!Holds(freeze, in.now_ms)) continue;
    const std::string why = fmt::format("guard.freeze.{} holds until {}", name, freeze.until);
    if (freeze.cells.empty()) Raise(rails.all, freeze.urgency_min, why);
    for (size_t c = 0; c < in.fleet.cells.size(); ++c) {
      const bool listed =
          std::ranges::find(freeze.cells, in.fleet.cells[c].id) != freeze.cells.end();
      if (listed) Raise(rails.cells[c], freeze.urgency_min, why);
    }
  }
}

void FillBudgets(const RailsInput& in, RailsMemory& memory, Rails& rails) {
  const double step_minutes = static_cast<double>(in.step_ms) / kMinuteMs;
  const double passed = in.last_tick_ms == 0
                            ? step_minutes
                            : static_cast<double>(in.now_ms - in.last_tick_ms) / kMinuteMs;
  const double share = in.drifted ? in.settings.doubt_share : 1;
  const double rate = share * in.settings.creations_per_minute_max;
  memory.creations_left = rate == 0 ? 0 : Fill(memory.creations_left, rate, passed, step_minutes);
  memory.cores_left =
      std::min(memory.cores_left + in.settings.cores_shifted_per_minute_max * passed,
               in.settings.cores_shifted_per_minute_max * std::max(1.0, step_minutes));
  rails.creations_max = static_cast<int32_t>(memory.creations_left + kRounding);
}

// Where all cells together are asked for little, one that is nearly full stands out and others have
// room to spare. Where they are not, most are nearly full most of the time. What does not move with
// traffic no shadow relieves.
Resources NearlyFullAt(const RailsInput& in, const Rails& rails) {
  Resources demand{};
  Resources capacity{};
  for (size_t c = 0; c < in.fleet.cells.size(); ++c) {
    const Cell& cell = in.fleet.cells[c];
    if (cell.state != CellState::kUp || Drains(rails, static_cast<int32_t>(c))) continue;
    for (int r = 0; r < kResources; ++r) {
      if (cell.capacity[r] <= 0) continue;
      demand[r] += in.demand[c].with[r];
      capacity[r] += cell.capacity[r];
    }
  }
  Resources at{};
  for (int r = 0; r < kResources; ++r) {
    const bool spare = demand[r] <= in.settings.nearly_full_fleet_max * capacity[r];
    if (spare && MovesWithTraffic(r)) at[r] = in.settings.nearly_full_at;
  }
  return at;
}

// So long that it is to be relieved. One step below does not end it.
bool Stands(const RailsInput& in, bool over, Stretch& stretch) {
  if (over) {
    if (stretch.since_ms == 0) stretch.since_ms = in.now_ms;
    stretch.last_ms = in.now_ms;
    return in.now_ms - stretch.since_ms >= in.settings.nearly_full_after_ms;
  }
  if (in.now_ms - stretch.last_ms > in.step_ms) stretch = {};
  return false;
}

void FollowOverloads(const RailsInput& in, RailsMemory& memory, Rails& rails) {
  const size_t cells = in.fleet.cells.size();
  memory.overloaded_since_ms.resize(cells);
  memory.nearly_full.resize(cells);
  rails.overloaded_long.resize(cells);
  rails.nearly_full.resize(cells);
  rails.nearly_full_at = NearlyFullAt(in, rails);
  for (size_t c = 0; c < cells; ++c) {
    Resources full = in.fleet.cells[c].capacity;
    int64_t& since_ms = memory.overloaded_since_ms[c];
    if (!Exceeds(in.demand[c].with, full)) {
      since_ms = 0;
    } else {
      if (since_ms == 0) since_ms = in.now_ms;
      rails.overloaded_long[c] = in.now_ms - since_ms >= in.settings.react_after_ms;
    }
    for (int r = 0; r < kResources; ++r) full[r] *= rails.nearly_full_at[r];
    rails.nearly_full[c] = Stands(in, Exceeds(in.demand[c].with, full), memory.nearly_full[c]);
  }
}

}  // namespace

Bar Higher(const Bar& a, const Bar& b) { return b.least > a.least ? b : a; }

double SilentShare(const WindowView& window, int64_t accounts, int64_t gap_ms) {
  const int64_t hour = std::max<int64_t>(1, kHorizonMs / window.step_ms);
  // A step that is just being filled does not make anybody silent.
  const int64_t gap = std::max<int64_t>(2, gap_ms / window.step_ms);
  int64_t heard = 0;
  int64_t silent = 0;
  for (int64_t a = 0; a < accounts; ++a) {
    int64_t newest = hour;
    for (int r = 0; r < kResources; ++r) {
      const int64_t series = SeriesOf(a, static_cast<SignalKind>(r));
      int64_t back = 0;
      while (back < newest && std::isnan(window.at(back, series))) ++back;
      newest = back;
    }
    if (newest == hour) continue;
    ++heard;
    silent += newest >= gap;
  }
  return heard == 0 ? 0 : static_cast<double>(silent) / static_cast<double>(heard);
}

Rails SetRails(const RailsInput& in, RailsMemory& memory, std::vector<std::string>& alerts) {
  Rails rails{.fleet = in.fleet,
              .settings = in.settings,
              .mode = in.mode,
              .now_ms = in.now_ms,
              .drifted = in.drifted};
  rails.cells.resize(in.fleet.cells.size());
  Raise(rails.asked, in.settings.urgency_min,
        fmt::format("guard.urgency_min = \"{}\"", Name(in.settings.urgency_min)));
  Settle(in, memory, rails, alerts);
  if (in.drifted) Raise(rails.all, Urgency::kNow, "the forecasts have become worse than they were");
  Freezes(in, rails);
  FillBudgets(in, memory, rails);
  FollowOverloads(in, memory, rails);
  std::erase_if(memory.cool_downs, [&](const CoolDown& c) { return c.until_ms <= in.now_ms; });
  for (const CoolDown& c : memory.cool_downs) rails.cooling[c.account] = c;
  return rails;
}

std::vector<Bar> JumpBars(const Rails& rails, const std::vector<CellDemand>& demand,
                          const std::vector<CellForecast>& forecasts) {
  std::vector<Bar> bars(forecasts.size());
  for (size_t c = 0; c < forecasts.size(); ++c) {
    if (forecasts[c].steps == 0) continue;
    for (int r = 0; r < kResources; ++r) {
      const double capacity = rails.fleet.cells[c].capacity[r];
      const double next = forecasts[c].mean[r][0];
      const double now = demand[c].without[r];
      if (capacity <= 0 || std::abs(next - now) <= rails.settings.jump_max * capacity) continue;
      Raise(
          bars[c], Urgency::kOverloaded,
          fmt::format("the {} of cell {} is foreseen at {:.0f} % of capacity in the next step, "
                      "{:.0f} % now: further apart than guard.jump_max = {:.0f} %",
                      Name(static_cast<SignalKind>(r)), rails.fleet.cells[c].id,
                      100 * next / capacity, 100 * now / capacity, 100 * rails.settings.jump_max));
    }
  }
  return bars;
}

Mode ModeOf(const Rails& rails, int32_t account, int32_t target) {
  const Account& a = rails.fleet.accounts[account];
  ModeRule least = ModeRule::kUnset;
  const auto take = [&](const auto* rule) {
    if (rule == nullptr || rule->mode == ModeRule::kUnset) return;
    if (least == ModeRule::kUnset || rule->mode < least) least = rule->mode;
  };
  take(RuleOf(rails, a.application));
  take(RuleOf(rails, a.cell));
  if (target >= 0) take(RuleOf(rails, target));
  switch (least) {
    case ModeRule::kUnset:
      return rails.mode;
    case ModeRule::kObserve:
      return Mode::kObserve;
    case ModeRule::kRecommend:
      return Mode::kRecommend;
    case ModeRule::kAct:
      return Mode::kAct;
  }
  return rails.mode;
}

Bar BarOf(const Rails& rails, int32_t account, int32_t target) {
  Bar bar = Higher(rails.all, rails.cells[rails.fleet.accounts[account].cell]);
  if (target >= 0) bar = Higher(bar, rails.cells[target]);
  const auto it = rails.cooling.find(account);
  if (it != rails.cooling.end()) {
    const CoolDown& c = it->second;
    Raise(bar, c.moved ? Urgency::kOverloaded : Urgency::kNow,
          fmt::format("it {} of late: guard.cool_down_ms = {} is over in {} min",
                      c.moved ? "was moved" : "had a shadow", rails.settings.cool_down_ms,
                      (c.until_ms - rails.now_ms) / 60'000));
  }
  return bar;
}

std::optional<std::string> WhyNotThere(const Rails& rails, int32_t account, int32_t target) {
  const Account& a = rails.fleet.accounts[account];
  const Cell& to = rails.fleet.cells[target];
  const Cell& home = rails.fleet.cells[a.cell];
  if (const CellRule* rule = RuleOf(rails, target); rule != nullptr) {
    if (rule->drain) return fmt::format("guard.cell.{}.drain = true", to.id);
    if (!rule->takes_shadows) return fmt::format("guard.cell.{}.takes_shadows = false", to.id);
  }
  const ApplicationRule* rule = RuleOf(rails, a.application);
  if (rule == nullptr) return std::nullopt;
  if (!rule->cells.empty() && std::ranges::find(rule->cells, to.id) == rule->cells.end()) {
    return fmt::format("guard.application.{}.cells = [{}] does not name it", a.application,
                       fmt::join(rule->cells, ", "));
  }
  const bool same = to.zone == home.zone;
  if (rule->zone == ZoneRule::kSame && !same) {
    return fmt::format("guard.application.{}.zone = \"same\": it is in zone {}, the account in {}",
                       a.application, to.zone, home.zone);
  }
  if (rule->zone == ZoneRule::kOther && same) {
    return fmt::format("guard.application.{}.zone = \"other\": both are in zone {}", a.application,
                       to.zone);
  }
  return std::nullopt;
}

bool Drains(const Rails& rails, int32_t cell) {
  const CellRule* rule = RuleOf(rails, cell);
  return rule != nullptr && rule->drain;
}

std::vector<Cell> WithDrains(const Rails& rails) {
  std::vector<Cell> cells = rails.fleet.cells;
  for (size_t c = 0; c < cells.size(); ++c) {
    if (!Drains(rails, static_cast<int32_t>(c))) continue;
    cells[c].capacity[static_cast<int>(SignalKind::kCpu)] = kDrainedCores;
  }
  return cells;
}

std::vector<Cell> WithMargins(const Rails& rails, std::vector<Cell> cells) {
  for (size_t c = 0; c < cells.size(); ++c) {
    for (int r = 0; r < kResources && rails.nearly_full[c]; ++r) {
      if (rails.nearly_full_at[r] > 0) cells[c].capacity[r] *= rails.nearly_full_at[r];
    }
  }
  return cells;
}

void CoolDownGone(const std::vector<Shadow>& before, const std::vector<Shadow>& after,
                  int64_t until_ms, RailsMemory& memory) {
  for (const Shadow& shadow : before) {
    const auto same = [&](const Shadow& s) { return s.instance_id == shadow.instance_id; };
    if (std::ranges::any_of(after, same)) continue;
    const auto it =
        std::ranges::lower_bound(memory.cool_downs, shadow.account, {}, &CoolDown::account);
    const CoolDown cool_down{shadow.account, until_ms, shadow.state == ShadowState::kPromoted};
    if (it != memory.cool_downs.end() && it->account == shadow.account) {
      *it = cool_down;
    } else {
      memory.cool_downs.insert(it, cool_down);
    }
  }
}

}  // namespace foreshadow
