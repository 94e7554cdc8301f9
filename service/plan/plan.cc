#include "service/plan/plan.h"

#include <algorithm>
#include <utility>

#include "service/plan/relieve.h"
#include "service/plan/room.h"

namespace foreshadow {
namespace {

// Whether a cell is relieved by what is there, whatever is foreseen: while it is overloaded and its
// forecasts are in doubt, or when it has been too full for too long and they see nothing of it.
bool Reacts(const Planner& p, int32_t cell) {
  const bool doubted = p.in.rails.drifted || p.jumps[cell].least > Urgency::kRoutine;
  if (doubted && p.OverloadedNow(cell)) return true;
  const bool stands = p.in.rails.overloaded_long[cell] || p.in.rails.nearly_full[cell];
  return stands && p.plan.risks[cell].step_probability[0] < 0.5;
}

// Never less than one who only looks at the present would do: relieves such cells, with every
// shadow there is and is planned at its largest split, as if what is there now were to last.
Plan React(Planner p) {
  std::vector<int32_t> cells;
  for (int32_t c = 0; c < std::ssize(p.in.cell_demand); ++c) {
    if (Reacts(p, c)) cells.push_back(c);
  }
  if (cells.empty()) return std::move(p.plan);
  Planner now{p.in, Lasting(p.in.demand, p.forecasts.steps), p.present, p.present,
              /*of_present=*/true};
  now.accounts_of = std::move(p.accounts_of);
  now.jumps.resize(p.jumps.size());  // no forecast is asked
  now.room =
      RoomNow(p.in, now.forecasts, now.accounts_of, ForecastCells(p.in.fleet, now.forecasts));
  now.plan = std::move(p.plan);
  for (const Relief& relief : now.plan.reliefs) {
    Promise(now, relief.account, relief.source, relief.target, 1);
  }
  for (const int32_t cell : cells) Relieve(now, cell);
  return std::move(now.plan);
}

// In place of AdviseSplits, where a study takes that away.
std::vector<Advice> AdviseByDanger(const Planner& p) {
  const PlanSettings& s = p.in.settings;
  const double enough = s.gain_min + s.move_cost;
  std::vector<Advice> advice;
  for (const Shadow& shadow : p.in.shadows) {
    const int32_t home = p.in.fleet.accounts[shadow.account].cell;
    const bool in_danger =
        InPlace(shadow, p.in.fleet) && p.plan.risks_without[home].probability >= s.risk_threshold;
    advice.push_back(in_danger ? Advice{p.in.split_max, enough, p.in.split_max, enough, true}
                               : Advice{});
  }
  return advice;
}

void Advise(Planner& p) {
  if (p.in.shadows.empty()) return;
  static const std::vector<Resources> kUnknown;
  const std::vector<Resources>& present = p.in.parts.present ? p.in.demand : kUnknown;
  std::vector<Advice> advice =
      p.in.parts.advice ? AdviseSplits({p.in.fleet, p.cost, p.present, p.forecasts, p.accounts_of,
                                        p.in.shadows, present, p.in.split_max, p.in.resume_steps})
                        : AdviseByDanger(p);
  for (size_t i = 0; i < advice.size(); ++i) {
    const Shadow& shadow = p.in.shadows[i];
    const int32_t home = p.in.fleet.accounts[shadow.account].cell;
    if (InPlace(shadow, p.in.fleet) && Drains(p.in.rails, home) &&
        !Drains(p.in.rails, shadow.target)) {
      advice[i].split = advice[i].planned = p.in.split_max;
      advice[i].better_there = advice[i].evacuates = true;
    }
    p.plan.advice.emplace(shadow.instance_id, advice[i]);
  }
}

}  // namespace

Plan MakePlan(const PlanInput& in) {
  const auto accounts = static_cast<int64_t>(in.fleet.accounts.size());
  const double step_hours = static_cast<double>(in.step_ms) / 3'600'000;
  const std::vector<Cell> seen = WithDrains(in.rails);
  const std::vector<Cell> full = WithMargins(in.rails, seen);
  AccountForecasts forecasts = MomentsOf(in.table, accounts);
  std::vector<int32_t> surprises(in.fleet.cells.size());
  if (in.surprises != nullptr) {
    for (const int32_t account :
         AddSurprises(*in.surprises, in.demand, in.now_ms, in.step_ms, forecasts)) {
      ++surprises[in.fleet.accounts[account].cell];
    }
  }
  Planner p{in,
            std::move(forecasts),
            {seen, in.errors, in.settings, step_hours},
            {full, in.errors, in.settings, step_hours}};
  p.accounts_of = AccountsOf(in.fleet);
  p.surprises = std::move(surprises);

  const double threshold = in.settings.risk_threshold;
  p.plan.forecasts_without = ForecastCells(in.fleet, p.forecasts);
  p.plan.said_without = RiskOfCells(in.fleet.cells, p.plan.forecasts_without, in.errors, threshold,
                                    in.now_ms, in.step_ms);
  p.plan.risks_without = p.plan.said_without;
  const auto correct = [&](CellRisk& risk) {
    Correct(in.calibration, threshold, in.now_ms, in.step_ms, risk);
  };
  std::ranges::for_each(p.plan.risks_without, correct);
  p.plan.risks = p.plan.risks_without;
  std::vector<double> splits;
  for (const Shadow& shadow : in.shadows) splits.push_back(shadow.split);
  const std::vector<int32_t> touched = CellsOf(in.fleet, in.shadows);
  const std::vector<CellForecast> shared =
      ForecastSome(in.fleet, p.accounts_of, p.forecasts, in.shadows, splits, touched);
  for (size_t i = 0; i < touched.size(); ++i) {
    CellRisk& risk = p.plan.risks[touched[i]];
    risk = RiskOfCell(in.fleet.cells, touched[i], shared[i], in.errors, threshold, in.now_ms,
                      in.step_ms);
    correct(risk);
  }
  Advise(p);
  if (!in.may_create) return std::move(p.plan);

  p.room = RoomNow(in, p.forecasts, p.accounts_of, p.plan.forecasts_without);
  p.jumps.resize(in.fleet.cells.size());
  if (!in.cell_demand.empty()) {
    p.jumps = JumpBars(in.rails, in.cell_demand, p.plan.forecasts_without);
  }
  std::vector<int32_t> endangered;
  for (const CellRisk& risk : p.plan.risks) {
    if (risk.probability >= threshold || Drains(in.rails, risk.cell))
      endangered.push_back(risk.cell);
  }
  std::sort(endangered.begin(), endangered.end(), [&](int32_t x, int32_t y) {
    const CellRisk& rx = p.plan.risks[x];
    const CellRisk& ry = p.plan.risks[y];
    if (rx.expected_ms != ry.expected_ms) return rx.expected_ms < ry.expected_ms;
    if (rx.probability != ry.probability) return rx.probability > ry.probability;
    return x < y;
  });
  for (const int32_t cell : endangered) Relieve(p, cell);
  return in.parts.present ? React(std::move(p)) : std::move(p.plan);
}

Advice AdviceFor(const Plan& plan, const Shadow& shadow) {
  const auto it = plan.advice.find(shadow.instance_id);
  return it == plan.advice.end() ? Advice{} : it->second;
}

}  // namespace foreshadow
