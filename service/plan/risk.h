// The chance that a cell is asked for more than it has. Demand of a cell is the sum of its
// accounts; taken as normal (many accounts), its deviation that of independent accounts times a
// widening learned from how wrong the cell-wide forecasts were of late: accounts move together, and
// models are too sure of themselves.
#pragma once

#include <array>
#include <deque>
#include <memory>
#include <vector>

#include "service/plan/demand.h"
#include "service/tick/types.h"

namespace foreshadow {

// Errors of cell-wide forecasts: what they vary beyond independent accounts. In the resource's own
// unit, not as a multiple of the accounts' variance: that of a cell at rest is next to nothing, and
// one machine that woke in it would have it, times whoever moves in, feared for hours.
struct CellErrorMemory {
  using BySteps = std::array<double, kHorizonStepsMax>;
  // Exponentially weighted mean of error^2 - variance, from 0 on. [cell][resource][step]
  std::vector<std::array<BySteps, kResources>> excess;
  struct Made {
    int64_t made_at_ms = 0;
    std::shared_ptr<const Fleet> fleet;  // as it was
    std::vector<CellForecast> cells;     // as if nothing had been moved
  };
  std::deque<Made> made;  // not yet judged at every step; newest first
};

// Of a normal X above a capacity. A capacity of 0 is none: nothing exceeds it.
struct Tail {
  double chance = 0;  // P(X > capacity)
  double excess = 0;  // E[max(0, X - capacity)] = deviation * (phi(z) - z Q(z)),
                      // z = (capacity - mean) / deviation
};
Tail TailOf(double capacity, double mean, double deviation);

// Deviation of a cell's demand: that of independent accounts and what errors so far have shown
// beyond it; never below it.
double Deviation(const CellForecast& forecast, const CellErrorMemory& errors, int32_t cell,
                 int resource, int step);

// Risk of each cell; `threshold` says from what probability a step counts as likely.
std::vector<CellRisk> RiskOfCells(const std::vector<Cell>& cells,
                                  const std::vector<CellForecast>& forecasts,
                                  const CellErrorMemory& errors, double threshold, int64_t now_ms,
                                  int64_t step_ms);
CellRisk RiskOfCell(const std::vector<Cell>& cells, int32_t cell, const CellForecast& forecast,
                    const CellErrorMemory& errors, double threshold, int64_t now_ms,
                    int64_t step_ms);

// A cell's demand as a share of its capacity, worst resource and step; 0 when nothing is limited.
struct Utilisation {
  double expected = 0;
  double p95 = 0;
};
Utilisation UtilisationOf(const std::vector<Cell>& cells, int32_t cell,
                          const CellForecast& forecast, const CellErrorMemory& errors);

}  // namespace foreshadow
