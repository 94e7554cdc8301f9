#include "service/forecast/forecast.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace foreshadow {
namespace {

bool Answered(models::ForecastStatus status) {
  return status == models::ForecastStatus::kOk || status == models::ForecastStatus::kFellBack;
}

// The first steps only: all that is judged later.
models::QuantileBlock FirstSteps(const models::QuantileBlock& block) {
  models::QuantileBlock first;
  first.Resize(block.series, std::min(block.steps, kScoredSteps));
  for (int64_t s = 0; s < block.series; ++s) {
    const auto from = block.at(s, 0);
    std::copy_n(from.data(), first.steps * models::kQuantiles, first.at(s, 0).data());
  }
  first.status = block.status;
  return first;
}

// The model with the least recent loss among those that answered; unjudged ones in list order.
uint8_t ChooseModel(const std::vector<models::QuantileBlock>& blocks,
                    const std::vector<std::vector<float>>& losses, int64_t series) {
  int chosen = -1;
  float least = std::numeric_limits<float>::infinity();
  for (size_t m = 0; m < blocks.size(); ++m) {
    if (blocks[m].series == 0 || !Answered(blocks[m].status[series])) continue;
    const float loss = losses.empty() ? std::numeric_limits<float>::quiet_NaN() : losses[m][series];
    if (chosen < 0 || loss < least) {
      chosen = static_cast<int>(m);
      least = std::isnan(loss) ? std::numeric_limits<float>::infinity() : loss;
    }
  }
  return static_cast<uint8_t>(chosen < 0 ? 0 : chosen);
}

// Every model on every series; a block stays empty where a model does not do this interval or
// failed.
std::vector<models::QuantileBlock> RunModels(const models::History& history, int steps,
                                             const ModelList& models,
                                             std::vector<std::string>& alerts) {
  std::vector<models::QuantileBlock> blocks(models.size());
  for (size_t m = 0; m < models.size(); ++m) {
    if (models[m]->MaxSteps(history.step_ms) < steps) continue;
    const absl::Status status = models[m]->Forecast(history, steps, blocks[m]);
    if (status.ok()) continue;
    blocks[m] = {};
    alerts.push_back(fmt::format("model {} failed and was passed over: {}", models[m]->name(),
                                 std::string(status.message())));
  }
  return blocks;
}

ForecastTable Choose(const models::History& history, int steps, const ModelList& models,
                     const std::vector<models::QuantileBlock>& blocks,
                     const std::vector<std::vector<float>>& losses) {
  const int64_t series = history.values.series;
  ForecastTable table;
  table.made_at_ms = history.end_ms;
  table.step_ms = history.step_ms;
  for (const auto& model : models) table.models.emplace_back(model->name());
  table.block.Resize(series, steps);
  table.model_of.resize(static_cast<size_t>(series));
  const size_t row = static_cast<size_t>(steps) * models::kQuantiles;
  for (int64_t s = 0; s < series; ++s) {
    const uint8_t m = ChooseModel(blocks, losses, s);
    table.model_of[s] = m;
    if (m < blocks.size() && blocks[m].series > 0 && Answered(blocks[m].status[s])) {
      std::copy_n(blocks[m].at(s, 0).data(), row, table.block.at(s, 0).data());
      table.block.status[s] =
          m == 0 ? models::ForecastStatus::kOk : models::ForecastStatus::kFellBack;
    } else {
      std::fill_n(table.block.at(s, 0).data(), row, std::numeric_limits<float>::quiet_NaN());
      table.block.status[s] = models::ForecastStatus::kNoHistory;
    }
  }
  return table;
}

}  // namespace

ForecastTable ForecastSeries(const models::History& history, int steps, const ModelList& models,
                             std::vector<std::string>& alerts) {
  return Choose(history, steps, models, RunModels(history, steps, models, alerts), {});
}

ForecastTable Forecast(const WindowView& window, const std::vector<int32_t>& period_steps,
                       const ModelList& models, LossMemory& memory,
                       std::vector<std::string>& alerts) {
  const int64_t series = window.values.series;
  const int steps = HorizonSteps(window.step_ms);
  std::vector<SignalKind> signals(static_cast<size_t>(series));
  for (int64_t s = 0; s < series; ++s) signals[s] = static_cast<SignalKind>(s % kSignals);
  const models::History history{window.end_ms, window.step_ms, window.values, signals,
                                period_steps};

  memory.loss.resize(models.size());
  for (auto& losses : memory.loss) {
    losses.resize(static_cast<size_t>(series), std::numeric_limits<float>::quiet_NaN());
  }
  const std::vector<models::QuantileBlock> blocks = RunModels(history, steps, models, alerts);
  ForecastTable table = Choose(history, steps, models, blocks, memory.loss);

  LossMemory::Made made{window.end_ms, {}, table.model_of};
  for (const models::QuantileBlock& block : blocks) made.blocks.push_back(FirstSteps(block));
  memory.made.push_front(std::move(made));
  if (memory.made.size() > kScoredSteps + 1) memory.made.pop_back();
  return table;
}

Moments MomentsOf(std::span<const float> quantiles) {
  // E[X] and E[X^2] by integrating the quantile function over (0, 1): a line between two levels
  // contributes dp (a + b) / 2 and dp (a^2 + ab + b^2) / 3.
  double mean = 0;
  double square = 0;
  double level_before = 0;
  double value_before = quantiles[0];
  for (int q = 0; q <= models::kQuantiles; ++q) {
    const double level = q < models::kQuantiles ? models::kQuantileLevels[q] : 1.0;
    const double value = quantiles[std::min(q, models::kQuantiles - 1)];
    const double dp = level - level_before;
    mean += dp * (value_before + value) / 2;
    square += dp * (value_before * value_before + value_before * value + value * value) / 3;
    level_before = level;
    value_before = value;
  }
  return {mean, std::max(0.0, square - mean * mean)};
}

}  // namespace foreshadow
