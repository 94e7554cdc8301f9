// Stage 8: what came, against what was foreseen. Scores the forecasts of series and of cells,
// follows warnings until they come true or not, and counts overload with and without shadows.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <vector>

#include "service/forecast/forecast.h"
#include "service/history/window.h"
#include "service/monitor/drift.h"
#include "service/plan/demand.h"
#include "service/plan/risk.h"
#include "service/tick/types.h"

namespace foreshadow {

// Scores the forecasts whose time has come against the newest step of the window; returns what
// those of one step ahead lost, by signal.
std::array<TickLosses, kSignals> ScoreForecasts(const WindowView& window,
                                                std::span<const float> naive_scale,
                                                const ForecastMemory& memory, Scores& scores);
// Judges likewise the cells' forecasts, `forecasts` being the newest ones to remember.
void JudgeCells(HomeDemand& demand, std::shared_ptr<const Fleet> fleet,
                std::vector<CellForecast> forecasts, int64_t now_ms, int64_t step_ms,
                CellErrorMemory& memory);

// Counts overload minutes and follows each cell's warning. `risks_without` as if no traffic had
// been moved, `at_origins` what cells would be asked for had no account been promoted either.
void WatchCells(const Fleet& fleet, const std::vector<CellDemand>& demand,
                const std::vector<Resources>& at_origins,
                const std::vector<CellRisk>& risks_without, double risk_threshold, int64_t now_ms,
                int64_t step_ms, std::vector<CellWatch>& watches, Scores& scores);

}  // namespace foreshadow
