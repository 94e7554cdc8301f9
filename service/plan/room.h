// What a plan under way has promised so far, and what it costs. Of service/plan alone.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "service/plan/cost.h"
#include "service/plan/plan.h"

namespace foreshadow {

// What is planned so far: every shadow at its largest split, so that two plans never promise the
// same room.
struct Room {
  std::vector<CellForecast> cells;
  std::vector<double> used;         // [cell] 95th percentile of its utilisation
  std::vector<bool> has_shadow;     // [account]
  std::vector<int32_t> shadows_of;  // [cell] of its accounts
  std::vector<int32_t> shadows_in;  // [cell]
  std::map<std::string, int32_t> shadows_in_zone;
  std::map<std::string, std::vector<int32_t>> accounts_in;  // [application][cell], shadows included
  int32_t shadows_count = 0;
  int32_t creations_count = 0;
};

struct Planner {
  const PlanInput& in;
  const AccountForecasts forecasts;
  const CostModel cost;
  const CostModel present;  // what is asked for now costs, if it lasts
  const bool of_present =
      false;                    // the forecasts are the present: what reacts, whatever is foreseen
  std::vector<Bar> jumps = {};  // [cell]
  AccountsOfCells accounts_of = {};
  std::vector<int32_t> surprises = {};  // [cell] accounts that stand above what was foreseen
  Room room = {};
  Plan plan = {};

  // In a cell of `cells`; without them, as it counts here.
  CellRisk RiskIn(int32_t cell, const CellForecast& forecast) const {
    return RiskIn(cost.cells, cell, forecast);
  }
  CellRisk RiskIn(const std::vector<Cell>& cells, int32_t cell,
                  const CellForecast& forecast) const {
    CellRisk risk = RiskOfCell(cells, cell, forecast, in.errors, in.settings.risk_threshold,
                               in.now_ms, in.step_ms);
    Correct(in.calibration, in.settings.risk_threshold, in.now_ms, in.step_ms, risk);
    return risk;
  }
  bool OverloadedNow(int32_t cell) const {
    return Exceeds(in.cell_demand[cell].with, in.fleet.cells[cell].capacity);
  }
  // From when on the account's shadow can be of use, if it is decided now.
  int FirstStep(int32_t account, const CreationLine& line) const {
    const double lead_ms = line.of(StateBytes(forecasts, account));
    return std::min(LeadSteps(lead_ms, in.step_ms), forecasts.steps - 1);
  }
  // From then on: to the end of the hour, or as long as the present is taken to last.
  double CostFrom(int first, int32_t cell, const CellForecast& forecast) const {
    return Cost(cost, cell, forecast, first,
                of_present ? first + in.resume_steps : forecasts.steps);
  }
};

// `cells`: what each will be asked for, had nothing been moved.
Room RoomNow(const PlanInput& in, const AccountForecasts& forecasts,
             const AccountsOfCells& accounts_of, std::vector<CellForecast> cells);

// The cell's forecast without the account's traffic, as much of it as may go.
CellForecast Without(const Planner& p, int32_t account, CellForecast cell);
// The cell's forecast with its shadow, which has taken all that it may.
CellForecast With(const Planner& p, int32_t account, CellForecast cell);

// What having a shadow costs, whether it is needed or not: making it, holding it, and moving
// traffic to it.
double PriceOf(const Planner& p, int32_t account, const CreationLine& line);

// Counts a shadow as promised, or with `count` -1 takes that back.
void Promise(Planner& p, int32_t account, int32_t source, int32_t target, int32_t count);

}  // namespace foreshadow
