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

// What a step overwrites of a block.
struct Overwritten {
  int64_t phase = 0;
  std::vector<int32_t> week;
  std::vector<float> rows;
  std::vector<float> day;     // one row of it
  std::vector<float> season;  // likewise
  std::vector<float> hidden;
  std::vector<float> cell;
};

// What a thread needs beside the states, reused from block to block.
struct Scratch {
  std::vector<Driver> drivers;  // [column]
  std::vector<float> samples;   // [column] of one step
  std::vector<float> features;  // rows of the block's width
  std::vector<float> candidates;
  std::vector<float> spreads;
  std::vector<float> levels;
  std::vector<float> scales;
  std::vector<float> quantiles;
  std::unique_ptr<std::byte[], void (*)(void*)> workspace{nullptr, nullptr};
  size_t workspace_bytes = 0;
  Overwritten overwritten;
};

// What is the same for all blocks of a call.
struct Call {
  const LstmRunner& runner;
  const History& history;
  std::span<const int32_t> contexts;  // [series]
  int steps;
  int64_t new_steps;   // of the history, which the state has not seen
  bool looks = false;  // the state stays
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

// These series and the drivers they have outside them; `scratch.drivers` gets the drivers by
// column.
std::vector<int64_t> PickColumns(const History& history, std::span<const int64_t> series,
                                 Scratch& scratch) {
  std::vector<int64_t> columns(series.begin(), series.end());
  scratch.drivers.assign(columns.size(), Driver{});
  if (history.drivers.empty()) return columns;
  for (size_t i = 0; i < series.size(); ++i) {
    Driver driver = history.drivers[series[i]];
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
  const float* samples = &block.features.rows[kernels::lstm::kSamples * block.features.width];
  for (size_t i = 0; i < block.columns.size(); ++i) {
    if (samples[i] > 0 || std::isnan(values.at(values.steps - 1, block.columns[i]))) continue;
    if (HasPast(call.history, block.columns[i], call.new_steps)) return true;
  }
  return false;
}

// The network's step after the features'; its forecast with the last one.
void StepNetwork(const Call& call, std::span<const int32_t> contexts, bool last, LstmBlock& block,
                 Scratch& scratch) {
  const auto series = std::ssize(contexts);
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
  args.contexts = contexts;
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
void Run(const Call& call, std::span<const int32_t> contexts, int64_t from, int64_t network_steps,
         LstmBlock& block, Scratch& scratch) {
  const auto& values = call.history.values;
  scratch.samples.resize(block.columns.size());
  for (int64_t t = from; t < values.steps; ++t) {
    for (size_t i = 0; i < block.columns.size(); ++i) {
      scratch.samples[i] = values.at(t, block.columns[i]);
    }
    Advance(block.features, scratch.samples);
    if (t < values.steps - network_steps) continue;
    StepNetwork(call, contexts, t + 1 == values.steps && call.steps > 0, block, scratch);
  }
}

void WriteForecasts(const LstmBlock& block, int64_t first, int64_t series, const Scratch& scratch,
                    QuantileBlock& out) {
  for (int64_t i = 0; i < series; ++i) {
    WriteForecast(Judge(block.features, i), scratch.levels[i], scratch.scales[i],
                  scratch.quantiles.data() + i, block.features.width, first + i, out);
  }
}

void Keep(const LstmBlock& block, Overwritten& kept) {
  const FeatureState& features = block.features;
  const int64_t row = (features.phase + 1) % features.spec.day_steps() * features.width;
  const auto row_of = [&](const std::vector<float>& rows, std::vector<float>& to) {
    to.assign(rows.begin() + row, rows.begin() + row + features.width);
  };
  kept.phase = features.phase;
  kept.week = features.week;
  kept.rows = features.rows;
  row_of(features.day, kept.day);
  row_of(features.season, kept.season);
  kept.hidden = block.hidden;
  kept.cell = block.cell;
}

void PutBack(Overwritten& kept, LstmBlock& block) {
  FeatureState& features = block.features;
  const int64_t row = features.phase * features.width;
  std::ranges::copy(kept.day, features.day.begin() + row);
  std::ranges::copy(kept.season, features.season.begin() + row);
  features.phase = kept.phase;
  features.week.swap(kept.week);
  features.rows.swap(kept.rows);
  block.hidden.swap(kept.hidden);
  block.cell.swap(kept.cell);
}

// new_steps of the call are what the block has not seen, unless it has to be warmed.
void Follow(const Call& call, bool warm, int64_t first, LstmBlock& block, Scratch& scratch,
            QuantileBlock& out) {
  const History& history = call.history;
  const int64_t count = std::min(kLstmBlockSeries, history.values.series - first);
  const auto contexts =
      call.contexts.subspan(static_cast<size_t>(first), static_cast<size_t>(count));
  std::vector<int64_t> series(static_cast<size_t>(count));
  std::iota(series.begin(), series.end(), first);
  std::vector<int64_t> columns = PickColumns(history, series, scratch);
  const int64_t length = history.values.steps;
  if (warm || MissesPast(call, block) || !FindDrivers(block, columns, scratch.drivers)) {
    const int64_t window = std::min<int64_t>(call.runner.card.window_steps, length);
    LstmBlock anew = NewBlock(call, PickColumns(history, series, scratch));
    Run(call, contexts, 0, window, anew, scratch);
    WriteForecasts(anew, first, count, scratch, out);
    if (!call.looks) block = std::move(anew);
    return;
  }
  if (call.looks) Keep(block, scratch.overwritten);
  Run(call, contexts, length - call.new_steps, call.new_steps, block, scratch);
  WriteForecasts(block, first, count, scratch, out);
  if (call.looks) PutBack(scratch.overwritten, block);
}

void MakeWorkspace(const LstmRunner& runner, int steps, Scratch& scratch) {
  const kernels::Ops& ops = kernels::CpuOps();
  const size_t bytes = ops.lstm_step_workspace_bytes(runner.plan.model, steps);
  if (scratch.workspace_bytes >= bytes) return;
  scratch.workspace_bytes = bytes;
  scratch.workspace = {static_cast<std::byte*>(ops.allocate(scratch.workspace_bytes)), ops.release};
}

// All blocks; those before `known_blocks` are whole in the state, which may be null.
void FollowAll(const Call& call, int threads, int64_t known_blocks, LstmState* state,
               QuantileBlock& out) {
  out.Resize(call.history.values.series, call.steps);
  ForChunks(out.series, kLstmBlockSeries, threads, [&](int64_t first, int64_t, int) {
    // A tick calls for each few hundred series: one per call would be made as often.
    thread_local Scratch scratch;
    MakeWorkspace(call.runner, call.steps, scratch);
    const int64_t index = first / kLstmBlockSeries;
    LstmBlock passing;
    const bool is_there = state != nullptr && index < std::ssize(state->blocks);
    Follow(call, index >= known_blocks, first, is_there ? state->blocks[index] : passing, scratch,
           out);
  });
}

// Blocks of the state that hold the same series in a history of so many.
int64_t KnownBlocks(const LstmState& state, int64_t series) {
  return state.series == series ? std::ssize(state.blocks) : state.series / kLstmBlockSeries;
}

}  // namespace

int64_t NewSteps(const LstmRunner& runner, const LstmSeen& seen, const LstmSeen& wanted,
                 int64_t steps) {
  if (seen.fingerprint != wanted.fingerprint || seen.series > wanted.series) return 0;
  const int64_t step_ms = runner.card.spec.step_ms;
  const int64_t newer_ms = wanted.end_ms - seen.end_ms;
  if (newer_ms <= 0 || newer_ms % step_ms != 0) return 0;
  const int64_t new_steps = newer_ms / step_ms;
  // After more steps than a window has, warming costs less.
  return new_steps < steps && new_steps <= runner.card.window_steps ? new_steps : 0;
}

std::vector<int32_t> ContextsOf(const LstmRunner& runner, const History& history) {
  const std::vector<int64_t> applications = ApplicationRows(runner.card, history);
  std::vector<int32_t> contexts(applications.size());
  for (size_t s = 0; s < contexts.size(); ++s) {
    contexts[s] = runner.Context(static_cast<int64_t>(history.signals[s]), applications[s]);
  }
  return contexts;
}

bool HasPast(const History& history, int64_t series, int64_t steps) {
  for (int64_t t = 0; t < history.values.steps - steps; ++t) {
    if (!std::isnan(history.values.at(t, series))) return true;
  }
  return false;
}

LstmBlock WarmBlock(const LstmRunner& runner, const History& history,
                    std::span<const int64_t> series, int64_t network_steps) {
  const std::vector<int32_t> contexts = ContextsOf(runner, history);
  std::vector<int32_t> chosen;
  for (const int64_t s : series) chosen.push_back(contexts[s]);
  const Call call{runner, history, contexts, /*steps=*/0, /*new_steps=*/0};
  Scratch scratch;
  MakeWorkspace(runner, 0, scratch);
  LstmBlock block = NewBlock(call, PickColumns(history, series, scratch));
  Run(call, chosen, 0, network_steps, block, scratch);
  return block;
}

void WriteForecast(ForecastStatus verdict, float level, float scale, const float* scaled,
                   int64_t width, int64_t series, QuantileBlock& out) {
  if (verdict != ForecastStatus::kOk) return WriteMissing(verdict, series, out);
  for (int step = 0; step < out.steps; ++step) {
    Offsets offsets;
    for (int q = 0; q < kQuantiles; ++q, scaled += width) offsets[q] = *scaled * scale;
    WriteQuantiles(level, offsets, out.at(series, step));
  }
}

void FollowLstm(const LstmRunner& runner, const History& history, int steps, int threads,
                LstmState* state, QuantileBlock& out) {
  const std::vector<int32_t> contexts = ContextsOf(runner, history);
  Call call{runner, history, contexts, steps, /*new_steps=*/0};
  if (state == nullptr) return FollowAll(call, threads, 0, nullptr, out);
  const int64_t series = history.values.series;
  const LstmSeen wanted{runner.fingerprint, history.end_ms, series};
  call.new_steps = NewSteps(runner, *state, wanted, history.values.steps);
  const int64_t known_blocks = call.new_steps > 0 ? KnownBlocks(*state, series) : 0;
  state->blocks.resize(static_cast<size_t>((series + kLstmBlockSeries - 1) / kLstmBlockSeries));
  static_cast<LstmSeen&>(*state) = wanted;
  FollowAll(call, threads, known_blocks, state, out);
}

void LookLstm(const LstmRunner& runner, const History& history, int steps, int threads,
              LstmState& state, QuantileBlock& out) {
  const int64_t series = history.values.series;
  const LstmSeen wanted{runner.fingerprint, history.end_ms, series};
  const int64_t new_steps = NewSteps(runner, state, wanted, history.values.steps);
  if (new_steps != 1) {
    LstmState copy = state;
    return FollowLstm(runner, history, steps, threads, &copy, out);
  }
  const std::vector<int32_t> contexts = ContextsOf(runner, history);
  const Call call{runner, history, contexts, steps, new_steps, /*looks=*/true};
  FollowAll(call, threads, KnownBlocks(state, series), &state, out);
}

}  // namespace foreshadow::models
