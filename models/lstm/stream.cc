#include "models/lstm/stream.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <memory>
#include <numeric>

#include "models/empirical.h"
#include "models/parallel.h"

namespace foreshadow::models {
namespace {

using kernels::StepMajor;

// What a thread needs beside the states, reused from block to block.
struct Scratch {
  std::vector<Driver> drivers;    // [column]
  std::vector<int32_t> contexts;  // [series of the block]
  std::vector<float> samples;     // [column] of one step
  std::vector<float> features;    // rows of the block's width
  std::vector<float> candidates;
  std::vector<float> spreads;
  std::vector<float> levels;
  std::vector<float> scales;
  std::vector<float> quantiles;
  std::unique_ptr<std::byte[], void (*)(void*)> workspace{nullptr, nullptr};
  size_t workspace_bytes = 0;
};

// What is the same for all blocks of a call.
struct Call {
  const LstmRunner& runner;
  const History& history;
  std::span<const int64_t> application_rows;  // [series]
  int steps;
  int64_t new_steps;  // of the history, which the state has not seen
};

// [series] row of the application's embedding; 0 = unknown, or not one that training saw.
std::vector<int64_t> ApplicationRows(const LstmCard& card, const History& history) {
  std::vector<int64_t> rows(static_cast<size_t>(history.values.series), 0);
  if (history.applications.empty()) return rows;
  // Of those names only that these series have, which may be a small part of the fleet.
  constexpr int64_t kNotSought = -1;
  std::vector<int64_t> row_of_name(history.application_names.size(), kNotSought);
  for (size_t s = 0; s < rows.size(); ++s) {
    if (history.applications[s] < 0) continue;
    int64_t& row = row_of_name[history.applications[s]];
    if (row == kNotSought) {
      row = ApplicationRow(card.applications, history.application_names[history.applications[s]]);
    }
    rows[s] = row;
  }
  return rows;
}

// The block's series from `first` on and the drivers they have outside it; `scratch.drivers` gets
// the drivers by column.
std::vector<int64_t> PickColumns(const History& history, int64_t first, int64_t series,
                                 Scratch& scratch) {
  std::vector<int64_t> columns(static_cast<size_t>(series));
  std::iota(columns.begin(), columns.end(), first);
  scratch.drivers.assign(columns.size(), Driver{});
  if (history.drivers.empty()) return columns;
  for (int64_t i = 0; i < series; ++i) {
    Driver driver = history.drivers[first + i];
    if (driver.series < 0) continue;
    const int64_t column = driver.series;
    auto at = std::find(columns.begin(), columns.end(), column);
    if (at == columns.end()) at = columns.insert(at, column);
    driver.series = static_cast<int32_t>(at - columns.begin());
    scratch.drivers[i] = driver;
  }
  scratch.drivers.resize(columns.size());
  return columns;
}

// Drivers as columns of a block that may hold more of them, in another order; false = one is not
// there.
bool FindDrivers(const LstmBlock& block, const std::vector<int64_t>& wanted,
                 std::vector<Driver>& drivers) {
  for (Driver& driver : drivers) {
    if (driver.series < 0) continue;
    const auto at = std::ranges::find(block.columns, wanted[driver.series]);
    if (at == block.columns.end()) return false;
    driver.series = static_cast<int32_t>(at - block.columns.begin());
  }
  drivers.resize(block.columns.size());
  return true;
}

// Whether a series without a sample in the state has one now, and others before it.
bool MissesPast(const Call& call, const LstmBlock& block) {
  const auto& values = call.history.values;
  const int64_t known = values.steps - call.new_steps;
  const float* samples = &block.features.rows[kSamples * block.features.width];
  for (size_t i = 0; i < block.columns.size(); ++i) {
    if (samples[i] > 0 || std::isnan(values.at(values.steps - 1, block.columns[i]))) continue;
    for (int64_t t = 0; t < known; ++t) {
      if (!std::isnan(values.at(t, block.columns[i]))) return true;
    }
  }
  return false;
}

// The network's step after the features'; its forecast with the last one.
void StepNetwork(const Call& call, int64_t series, bool last, LstmBlock& block, Scratch& scratch) {
  const kernels::LstmModel& model = call.runner.plan.model;
  const int64_t width = block.features.width;
  const auto rows = [&](std::vector<float>& values, int64_t count) {
    if (std::ssize(values) < count * width) values.resize(static_cast<size_t>(count * width));
    return StepMajor<float>{values.data(), count, series, width};
  };
  const int steps = last ? call.steps : 0;
  FeatureOutput output;
  kernels::LstmStepArgs args;
  args.model = model;
  args.weights = call.runner.plan.weights;
  args.features = rows(scratch.features, kFeatures);
  output.features = scratch.features.data();
  args.contexts = scratch.contexts;
  args.hidden = rows(block.hidden, int64_t{model.layers} * model.hidden);
  args.cell = rows(block.cell, int64_t{model.layers} * model.hidden);
  args.steps = steps;
  if (last) {
    args.candidates = rows(scratch.candidates, int64_t{steps} * kCandidates);
    args.spreads = rows(scratch.spreads, kSpreads);
    args.quantiles = rows(scratch.quantiles, int64_t{steps} * kQuantiles);
    rows(scratch.levels, 1);
    rows(scratch.scales, 1);
    output.candidates = scratch.candidates.data();
    output.spreads = scratch.spreads.data();
    output.levels = scratch.levels.data();
    output.scales = scratch.scales.data();
    output.steps = steps;
  }
  Describe(block.features, scratch.drivers, output);
  args.workspace = {scratch.workspace.get(), scratch.workspace_bytes};
  kernels::CpuOps().lstm_step(args);
}

LstmBlock NewBlock(const Call& call, std::vector<int64_t> columns) {
  const History& history = call.history;
  const kernels::LstmModel& model = call.runner.plan.model;
  const std::array start_ms = {history.end_ms - history.values.steps * history.step_ms};
  LstmBlock block;
  block.features = NewFeatureState(call.runner.card.spec, std::ssize(columns), start_ms);
  block.columns = std::move(columns);
  const auto state =
      static_cast<size_t>(int64_t{model.layers} * model.hidden * block.features.width);
  block.hidden.assign(state, 0.0f);
  block.cell.assign(state, 0.0f);
  return block;
}

// Takes in the history's steps from `from` on; the network those of the last `network_steps`.
void Run(const Call& call, int64_t series, int64_t from, int64_t network_steps, LstmBlock& block,
         Scratch& scratch) {
  const auto& values = call.history.values;
  scratch.samples.resize(block.columns.size());
  for (int64_t t = from; t < values.steps; ++t) {
    for (size_t i = 0; i < block.columns.size(); ++i) {
      scratch.samples[i] = values.at(t, block.columns[i]);
    }
    Advance(block.features, scratch.samples);
    if (t < values.steps - network_steps) continue;
    StepNetwork(call, series, t + 1 == values.steps, block, scratch);
  }
}

void WriteForecasts(const LstmBlock& block, int64_t first, int64_t series, const Scratch& scratch,
                    QuantileBlock& out) {
  const int64_t width = block.features.width;
  for (int64_t i = 0; i < series; ++i) {
    const ForecastStatus verdict = Judge(block.features, i);
    if (verdict != ForecastStatus::kOk) {
      WriteMissing(verdict, first + i, out);
      continue;
    }
    const float* scaled = scratch.quantiles.data() + i;
    for (int step = 0; step < out.steps; ++step) {
      Offsets offsets;
      for (int q = 0; q < kQuantiles; ++q, scaled += width) {
        offsets[q] = *scaled * scratch.scales[i];
      }
      WriteQuantiles(scratch.levels[i], offsets, out.at(first + i, step));
    }
  }
}

// new_steps of the call are what the block has not seen, unless it has to be warmed.
void Follow(const Call& call, bool warm, int64_t first, LstmBlock& block, Scratch& scratch,
            QuantileBlock& out) {
  const History& history = call.history;
  const int64_t series = std::min(kLstmBlockSeries, history.values.series - first);
  std::vector<int64_t> columns = PickColumns(history, first, series, scratch);
  scratch.contexts.clear();
  for (int64_t i = 0; i < series; ++i) {
    scratch.contexts.push_back(call.runner.Context(static_cast<int64_t>(history.signals[first + i]),
                                                   call.application_rows[first + i]));
  }
  const int64_t length = history.values.steps;
  if (warm || MissesPast(call, block) || !FindDrivers(block, columns, scratch.drivers)) {
    const int64_t window = std::min<int64_t>(call.runner.card.window_steps, length);
    columns = PickColumns(history, first, series, scratch);
    block = NewBlock(call, std::move(columns));
    Run(call, series, 0, window, block, scratch);
  } else {
    Run(call, series, length - call.new_steps, call.new_steps, block, scratch);
  }
  WriteForecasts(block, first, series, scratch, out);
}

// Steps of the history that follow the state; 0 = it is to be warmed.
int64_t NewSteps(const LstmRunner& runner, const History& history, const LstmState& state) {
  if (state.fingerprint != runner.fingerprint || state.series > history.values.series) return 0;
  const int64_t newer_ms = history.end_ms - state.end_ms;
  if (newer_ms <= 0 || newer_ms % history.step_ms != 0) return 0;
  const int64_t steps = newer_ms / history.step_ms;
  // After more steps than a window has, warming costs less.
  return steps < history.values.steps && steps <= runner.card.window_steps ? steps : 0;
}

}  // namespace

void FollowLstm(const LstmRunner& runner, const History& history, int steps, int threads,
                LstmState* state, QuantileBlock& out) {
  const int64_t series = history.values.series;
  const std::vector<int64_t> application_rows = ApplicationRows(runner.card, history);
  out.Resize(series, steps);
  const int64_t new_steps = state == nullptr ? 0 : NewSteps(runner, history, *state);
  const Call call{runner, history, application_rows, steps, new_steps};
  // Blocks before this one are whole in the state.
  int64_t known_blocks = 0;
  if (state != nullptr) {
    const int64_t known = new_steps > 0 ? state->series : 0;
    known_blocks = known == series ? std::ssize(state->blocks) : known / kLstmBlockSeries;
    state->blocks.resize(static_cast<size_t>((series + kLstmBlockSeries - 1) / kLstmBlockSeries));
    state->fingerprint = runner.fingerprint;
    state->end_ms = history.end_ms;
    state->series = series;
  }
  std::vector<Scratch> scratches(static_cast<size_t>(threads));
  ForChunks(series, kLstmBlockSeries, threads, [&](int64_t first, int64_t, int worker) {
    Scratch& scratch = scratches[worker];
    if (scratch.workspace == nullptr) {
      const kernels::Ops& ops = kernels::CpuOps();
      scratch.workspace_bytes = ops.lstm_step_workspace_bytes(runner.plan.model, steps);
      scratch.workspace = {static_cast<std::byte*>(ops.allocate(scratch.workspace_bytes)),
                           ops.release};
    }
    const int64_t index = first / kLstmBlockSeries;
    LstmBlock passing;
    LstmBlock& block = state == nullptr ? passing : state->blocks[index];
    Follow(call, index >= known_blocks, first, block, scratch, out);
  });
}

}  // namespace foreshadow::models
