#include "service/monitor/monitor.h"

#include <algorithm>
#include <cmath>

#include "models/empirical.h"

namespace foreshadow {
namespace {

constexpr double kCellErrorRate = 0.02;  // about the last 50 ticks set the widening
constexpr int kCalmSteps = 2;  // an episode or a run of warnings ends after more than that

void FollowWarning(bool warned, int64_t now_ms, int64_t step_ms, CellWatch& watch, Scores& scores) {
  if (warned) {
    if (watch.warned_since_ms == 0) {
      watch.warned_since_ms = now_ms;
      watch.warning_came_true = watch.overloaded;
      ++scores.alarms;
    }
    watch.warned_last_ms = now_ms;
  } else if (watch.warned_since_ms != 0 && now_ms - watch.warned_last_ms > kCalmSteps * step_ms &&
             !watch.overloaded) {
    if (!watch.warning_came_true) ++scores.alarms_false;
    watch.warned_since_ms = 0;
  }
}

void FollowOverload(bool over, int64_t now_ms, int64_t step_ms, CellWatch& watch, Scores& scores) {
  if (over) {
    if (!watch.overloaded) {
      ++scores.overloads;
      watch.overloaded = true;
      if (watch.warned_since_ms != 0) {
        const int64_t lead_ms = std::min(now_ms - watch.warned_since_ms, kHorizonMs);
        if (lead_ms >= step_ms) {
          ++scores.overloads_foreseen;
          scores.lead_minutes.push_back(static_cast<double>(lead_ms) / 60'000);
        }
        watch.warning_came_true = true;
      }
    }
    watch.overloaded_last_ms = now_ms;
  } else if (watch.overloaded && now_ms - watch.overloaded_last_ms > kCalmSteps * step_ms) {
    watch.overloaded = false;
  }
}

}  // namespace

std::array<TickLosses, kSignals> ScoreForecasts(const WindowView& window,
                                                std::span<const float> naive_scale,
                                                const ForecastMemory& memory, Scores& scores) {
  std::array<TickLosses, kSignals> losses;
  for (const ForecastMemory::Made& made : memory.made) {
    const int64_t ahead = (window.end_ms - made.made_at_ms) / window.step_ms;
    if (ahead < 1 || ahead > made.first.steps) continue;
    for (int64_t s = 0; s < made.first.series; ++s) {
      const float value = window.at(0, s);
      const auto quantiles = made.first.at(s, static_cast<int>(ahead - 1));
      if (!(naive_scale[s] > 0) || std::isnan(value) || std::isnan(quantiles[0])) continue;
      const float loss = static_cast<float>(models::MeanPinball(value, quantiles)) / naive_scale[s];
      if (ahead == 1) {
        TickLosses& tick = losses[s % kSignals];
        ++tick.count;
        tick.missed += value < quantiles[models::kLow80] || value > quantiles[models::kHigh80];
        tick.pinball_sum += loss;
      }
      if (s % kSignals >= kResources) continue;
      scores.scaled_error_sum += std::abs(value - quantiles[models::kMedian]) / naive_scale[s];
      scores.scaled_pinball_sum += loss;
      ++scores.scored_count;
    }
  }
  return losses;
}

void JudgeCells(HomeDemand& demand, std::shared_ptr<const Fleet> fleet,
                std::vector<CellForecast> forecasts, int64_t now_ms, int64_t step_ms,
                CellErrorMemory& memory) {
  memory.excess.resize(fleet->cells.size());
  for (const CellErrorMemory::Made& made : memory.made) {
    const int64_t ahead = (now_ms - made.made_at_ms) / step_ms;
    const std::vector<Resources>& cells = demand.Of(*made.fleet);
    for (size_t c = 0; c < made.cells.size(); ++c) {
      const CellForecast& forecast = made.cells[c];
      if (ahead < 1 || ahead > forecast.steps) continue;
      for (int r = 0; r < kResources; ++r) {
        const double variance = forecast.variance[r][ahead - 1];
        if (variance <= 0) continue;
        const double error = cells[c][r] - forecast.mean[r][ahead - 1];
        double& excess = memory.excess[c][r][ahead - 1];
        excess += kCellErrorRate * (error * error - variance - excess);
      }
    }
  }
  const auto made_max = static_cast<size_t>(HorizonSteps(step_ms));
  memory.made.push_front({now_ms, std::move(fleet), std::move(forecasts)});
  if (memory.made.size() > made_max) memory.made.pop_back();
}

void WatchCells(const Fleet& fleet, const std::vector<CellDemand>& demand,
                const std::vector<Resources>& at_origins,
                const std::vector<CellRisk>& risks_without, double risk_threshold, int64_t now_ms,
                int64_t step_ms, std::vector<CellWatch>& watches, Scores& scores) {
  const double step_minutes = static_cast<double>(step_ms) / 60'000;
  watches.resize(fleet.cells.size());
  for (size_t c = 0; c < fleet.cells.size(); ++c) {
    const Resources& capacity = fleet.cells[c].capacity;
    const bool over_without = Exceeds(demand[c].without, capacity);
    if (Exceeds(at_origins[c], capacity)) scores.overload_minutes_without += step_minutes;
    if (Exceeds(demand[c].with, capacity)) scores.overload_minutes_with += step_minutes;
    // First what came, by the warnings of earlier ticks; then this tick's warning.
    FollowOverload(over_without, now_ms, step_ms, watches[c], scores);
    FollowWarning(risks_without[c].probability >= risk_threshold, now_ms, step_ms, watches[c],
                  scores);
  }
}

}  // namespace foreshadow
