// What a backtest found, for people and programs.
#pragma once

#include <string>

#include "absl/status/status.h"
#include "training/backtest/backtest.h"

namespace foreshadow::training {

// The short distances, the last and all of them together.
void PrintScoreTable(const SeriesSet& set, const BacktestResult& result);

// Every distance, the first three together and all together.
void PrintScoreJson(const SeriesSet& set, const BacktestOptions& options,
                    const BacktestResult& result);

// Draws error and coverage by distance, a line a model; errors as DrawPicture's.
absl::Status PlotScores(const SeriesSet& set, const BacktestResult& result,
                        const std::string& path);

}  // namespace foreshadow::training
