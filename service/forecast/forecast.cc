#include "service/forecast/forecast.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <span>
#include <string_view>
#include <unordered_map>
#include <utility>

#include "kernels/ops.h"
#include "models/chosen.h"
#include "models/leads.h"
#include "models/parallel.h"

namespace foreshadow {
namespace {

// The first steps only: all that is scored later. In the room of a block that nobody needs.
models::QuantileBlock FirstSteps(const models::QuantileBlock& block, models::QuantileBlock first) {
  first.Resize(block.series, std::min(block.steps, kScoredSteps));
  for (int64_t s = 0; s < block.series; ++s) {
    const auto from = block.at(s, 0);
    std::copy_n(from.data(), first.steps * models::kQuantiles, first.at(s, 0).data());
  }
  first.status = block.status;
  return first;
}

// One model; the block stays empty where it does not do this interval or failed.
template <typename Run>
void RunModel(const models::Forecaster& model, int64_t step_ms, int steps, Run run,
              models::QuantileBlock& block, std::vector<std::string>& alerts) {
  if (model.MaxSteps(step_ms) < steps) return;
  const absl::Status status = run(block);
  if (status.ok()) return;
  block = {};
  alerts.push_back(fmt::format("model {} failed and was passed over: {}", models::Label(model),
                               std::string(status.message())));
}

// Every model that is wanted on every series.
void RunModels(const models::History& history, int steps, const ModelList& models,
               const std::vector<bool>& wanted, std::vector<models::QuantileBlock>& blocks,
               std::vector<std::string>& alerts) {
  for (size_t m = 0; m < models.size(); ++m) {
    if (!wanted[m]) continue;
    const auto run = [&](models::QuantileBlock& block) {
      return models[m]->Forecast(history, steps, block);
    };
    RunModel(*models[m], history.step_ms, steps, run, blocks[m], alerts);
  }
}

std::vector<int64_t> WithSamples(kernels::StepMajor<const float> values) {
  // Bytes without a branch: the whole window is read, so this loop has to vectorise.
  std::vector<uint8_t> seen(static_cast<size_t>(values.series));
  for (int64_t step = 0; step < values.steps; ++step) {
    const float* row = &values.at(step, 0);
    for (int64_t s = 0; s < values.series; ++s) seen[s] |= row[s] == row[s] ? 1 : 0;
  }
  std::vector<int64_t> found;
  for (int64_t s = 0; s < values.series; ++s) {
    if (seen[s] != 0) found.push_back(s);
  }
  return found;
}

// RunModels on those series only: many accounts send but one or two of the signals.
void RunModelsOn(const std::vector<int64_t>& chosen, const models::History& history, int steps,
                 const ModelList& models, const std::vector<bool>& wanted,
                 std::vector<models::QuantileBlock>& blocks, std::vector<std::string>& alerts) {
  const auto count = std::ssize(chosen);
  if (count == history.values.series) {
    return RunModels(history, steps, models, wanted, blocks, alerts);
  }
  models::ChosenSeries dense;
  models::Gather(history, chosen, dense);
  RunModels(dense.history, steps, models, wanted, blocks, alerts);
  for (size_t m = 0; m < models.size(); ++m) {
    models::QuantileBlock& block = blocks[m];
    if (!wanted[m] || block.series == 0) continue;
    const models::QuantileBlock narrow = std::exchange(block, {});
    block.Resize(history.values.series, steps);
    std::ranges::fill(block.values, std::numeric_limits<float>::quiet_NaN());
    std::ranges::fill(block.status, models::ForecastStatus::kNoHistory);
    for (int64_t i = 0; i < count; ++i) {
      std::copy_n(narrow.at(i, 0).data(), steps * models::kQuantiles,
                  block.at(chosen[i], 0).data());
      block.status[chosen[i]] = narrow.status[i];
    }
  }
}

// Some of the series as a history of their own. Of one thread, used again for the next part.
struct Part {
  std::vector<models::Driver> drivers;
  models::History history;  // points into these and into all series'
};

// A driver that is not in the part is left out; an account is in one part with all its signals.
void Take(const models::History& all, int64_t first, Part& part) {
  static_assert(kPartSeries % kSignals == 0);
  const int64_t count = std::min(kPartSeries, all.values.series - first);
  const auto of_part = [&](auto of_all) {
    return of_all.empty() ? of_all
                          : of_all.subspan(static_cast<size_t>(first), static_cast<size_t>(count));
  };
  part.drivers.clear();
  for (models::Driver driver : of_part(all.drivers)) {
    driver.series -= static_cast<int32_t>(first);
    const bool is_here = driver.series >= 0 && driver.series < count;
    part.drivers.push_back(is_here ? driver : models::Driver{});
  }
  part.history = all;
  part.history.values.data += first;
  part.history.values.series = count;
  part.history.signals = of_part(all.signals);
  part.history.periods = of_part(all.periods);
  part.history.applications = of_part(all.applications);
  part.history.drivers = part.drivers;
}

// Models that can, on the device. What fails there is done by the CPU, and the next tick tries
// again.
void RunOnDevice(const models::History& history, int steps, const ModelList& models,
                 ForecastMemory& memory, std::vector<std::string>& alerts) {
  if (memory.device == nullptr) return;
  memory.on_device.resize(models.size());
  for (size_t m = 0; m < models.size(); ++m) {
    ForecastMemory::OnDevice& there = memory.on_device[m];
    there.answers = false;
    if (!models[m]->continues_on_device() || models[m]->MaxSteps(history.step_ms) < steps) continue;
    const absl::Status status =
        models[m]->ContinueOn(*memory.device, history, steps, there.carried);
    there.answers = status.ok();
    if (there.answers) continue;
    alerts.push_back(fmt::format("model {} runs on the CPU, not on {}: {}",
                                 models::Label(*models[m]), memory.device->name,
                                 std::string(status.message())));
  }
}

// The model whose `carried` each one uses: its own, or that of the first with which it shares.
std::vector<size_t> CarriedBy(const ModelList& models) {
  std::vector<size_t> by(models.size());
  for (size_t m = 0; m < models.size(); ++m) {
    const std::string_view with = models[m]->carries_with();
    by[m] = m;
    for (size_t other = 0; other < m && !with.empty(); ++other) {
      if (models[other]->carries_with() == with) by[m] = std::min(by[m], other);
    }
  }
  return by;
}

// All models. Those that carry something see all series of the part, which begins with `first`, and
// whose places must not change from call to call; the others those with samples. carried: [model].
void RunAll(int steps, const ModelList& models, std::span<const ForecastMemory::OnDevice> on_device,
            const std::vector<size_t>& carried_by, int64_t first, const models::History& history,
            std::vector<std::any>& carried, std::vector<models::QuantileBlock>& blocks,
            std::vector<std::string>& alerts) {
  blocks.resize(models.size());
  for (models::QuantileBlock& block : blocks) block.series = 0;
  std::vector<bool> anew(models.size(), true);
  carried.resize(models.size());
  for (size_t m = 0; m < models.size(); ++m) {
    if (!models[m]->carries()) continue;
    anew[m] = false;
    if (!on_device.empty() && on_device[m].answers) {
      models[m]->TakeAnswers(on_device[m].carried, first, history, steps, blocks[m]);
      carried[m].reset();
      continue;
    }
    const auto run = [&](models::QuantileBlock& block) {
      return models[m]->Continue(history, steps, carried[carried_by[m]], block);
    };
    RunModel(*models[m], history.step_ms, steps, run, blocks[m], alerts);
  }
  if (std::ranges::none_of(anew, [](bool is) { return is; })) return;
  const std::vector<int64_t> chosen = WithSamples(history.values);
  if (!chosen.empty()) RunModelsOn(chosen, history, steps, models, anew, blocks, alerts);
}

void NameModels(const models::History& history, const ModelList& models, ForecastTable& table) {
  table.made_at_ms = history.end_ms;
  table.step_ms = history.step_ms;
  for (const auto& model : models) table.models.push_back(models::Label(*model));
}

void WriteNothing(int64_t series, int steps, ForecastTable& table) {
  table.block.Resize(series, steps);
  std::ranges::fill(table.block.values, std::numeric_limits<float>::quiet_NaN());
  std::ranges::fill(table.block.status, models::ForecastStatus::kNoHistory);
  table.model_of.assign(static_cast<size_t>(series), 0);
}

// What is published of the models' answers, a part at a time.
void MixParts(const models::History& history, int steps, const ModelList& models,
              ForecastMemory& memory, ForecastTable& table, std::vector<std::string>& alerts,
              const models::Stop& stop) {
  const int64_t series = history.values.series;
  const int64_t parts = (series + kPartSeries - 1) / kPartSeries;
  const models::Mixing mixing =
      models::Begin(memory.mixture, history, static_cast<int>(models.size()), steps, table.block);
  const std::vector<size_t> carried_by = CarriedBy(models);
  memory.carried.resize(static_cast<size_t>(parts));
  RunOnDevice(history, steps, models, memory, alerts);
  std::vector<std::vector<std::string>> failures(static_cast<size_t>(parts));
  const int threads = models::ThreadCount(0);
  std::vector<Part> scratches(static_cast<size_t>(threads));
  memory.part_room.resize(static_cast<size_t>(threads));
  const auto work = [&](int64_t index, int64_t, int worker) {
    const int64_t first = index * kPartSeries;
    Part& part = scratches[worker];
    std::vector<models::QuantileBlock>& blocks = memory.part_room[worker];
    Take(history, first, part);
    RunAll(steps, models, memory.on_device, carried_by, first, part.history, memory.carried[index],
           blocks, failures[index]);
    models::MixPart(mixing, first, part.history.values.series, blocks);
  };
  models::ForChunks(parts, 1, threads, work, stop);
  table.model_of = memory.mixture.leaders;
  for (std::vector<std::string>& of_part : failures) {
    for (std::string& failure : of_part) {
      if (std::ranges::find(alerts, failure) == alerts.end()) alerts.push_back(std::move(failure));
    }
  }
}

// Shows the mixture each step that it has not seen and still waits for.
void ObserveNew(const WindowView& window, ForecastMemory& memory) {
  const int64_t waits_ms = memory.mixture.steps * window.step_ms;
  const int64_t first_ms = std::max(memory.observed_ms, window.end_ms - waits_ms) + window.step_ms;
  for (int64_t time_ms = first_ms; time_ms <= window.end_ms; time_ms += window.step_ms) {
    const int64_t row = window.values.steps - 1 - (window.end_ms - time_ms) / window.step_ms;
    if (row < 0) continue;
    models::Observe(memory.mixture, time_ms,
                    {&window.values.at(row, 0), static_cast<size_t>(window.values.series)});
  }
  memory.observed_ms = window.end_ms;
}

// Each series' application by its index among the names, which grow by those not yet among them.
std::vector<int32_t> ApplicationsOf(const Fleet& fleet, int64_t series,
                                    std::vector<std::string>& names) {
  std::unordered_map<std::string_view, int32_t> index;
  for (size_t i = 0; i < names.size(); ++i) index[names[i]] = static_cast<int32_t>(i);
  std::vector<int32_t> applications(static_cast<size_t>(series), -1);
  std::vector<std::string> added;
  for (size_t a = 0; a < fleet.accounts.size(); ++a) {
    const std::string& name = fleet.accounts[a].application;
    if (name.empty()) continue;
    const auto next = static_cast<int32_t>(names.size() + added.size());
    const auto [at, is_new] = index.try_emplace(name, next);
    if (is_new) added.push_back(name);
    const int64_t first = static_cast<int64_t>(a) * kSignals;
    const int64_t end = std::min(series, first + kSignals);
    for (int64_t s = first; s < end; ++s) applications[s] = at->second;
  }
  names.insert(names.end(), added.begin(), added.end());
  return applications;
}

// The mutation rate of the same account, where analysis has found that it leads a resource.
std::vector<models::Driver> DriversOf(const PatternMemory& patterns, int64_t series) {
  std::vector<models::Driver> drivers(static_cast<size_t>(series));
  const int64_t known = std::min<int64_t>(series, std::ssize(*patterns.series));
  for (int64_t s = 0; s < known; ++s) {
    const SeriesPattern& pattern = (*patterns.series)[s];
    if (!models::IsLead(pattern.lag_steps, pattern.lag_p_value)) continue;
    const int64_t leader = SeriesOf(s / kSignals, SignalKind::kMutationRate);
    if (leader == s) continue;
    drivers[s] = {static_cast<int32_t>(leader), pattern.lag_steps, pattern.lag_correlation};
  }
  return drivers;
}

}  // namespace

ForecastInput InputOf(const WindowView& window, const Fleet& fleet, const PatternMemory& patterns,
                      std::vector<std::string>& application_names) {
  const int64_t series = window.values.series;
  ForecastInput input;
  input.signals.resize(static_cast<size_t>(series));
  for (int64_t s = 0; s < series; ++s) input.signals[s] = static_cast<SignalKind>(s % kSignals);
  input.applications = ApplicationsOf(fleet, series, application_names);
  input.drivers = DriversOf(patterns, series);
  input.history = {window.end_ms,         window.step_ms,     window.values,     input.signals,
                   patterns.period_steps, input.applications, application_names, input.drivers};
  return input;
}

ForecastTable ForecastSeries(const models::History& history, int steps, const ModelList& models,
                             std::vector<std::string>& alerts) {
  // A mixture that has judged nothing takes the first model that answers, so each of the others is
  // asked only for the series that are left.
  models::Mixture nothing_known;
  std::vector<models::QuantileBlock> blocks(models.size());
  std::vector<int64_t> left = WithSamples(history.values);
  for (size_t m = 0; m < models.size() && !left.empty(); ++m) {
    std::vector<bool> wanted(models.size(), false);
    wanted[m] = true;
    RunModelsOn(left, history, steps, models, wanted, blocks, alerts);
    if (blocks[m].series == 0) continue;
    std::erase_if(left, [&](int64_t s) { return models::Answered(blocks[m].status[s]); });
  }
  ForecastTable table;
  NameModels(history, models, table);
  const auto answered = [](const models::QuantileBlock& block) { return block.series > 0; };
  if (std::any_of(blocks.begin(), blocks.end(), answered)) {
    models::Mix(nothing_known, history, blocks, table.block);
    table.model_of = nothing_known.leaders;
  } else {
    WriteNothing(history.values.series, steps, table);
  }
  return table;
}

ForecastTable Forecast(const WindowView& window, const Fleet& fleet, const PatternMemory& patterns,
                       const ModelList& models, ForecastMemory& memory,
                       std::vector<std::string>& alerts, const models::Stop& stop) {
  const ForecastInput input = InputOf(window, fleet, patterns, memory.application_names);
  ObserveNew(window, memory);
  const int steps = HorizonSteps(window.step_ms);
  ForecastTable table;
  NameModels(input.history, models, table);
  table.block.values = std::exchange(memory.room, {});
  const auto can = [&](const auto& model) { return model->MaxSteps(window.step_ms) >= steps; };
  if (std::ranges::any_of(models, can)) {
    MixParts(input.history, steps, models, memory, table, alerts, stop);
  } else {
    WriteNothing(window.values.series, steps, table);
  }
  models::QuantileBlock room;
  if (memory.made.size() > kScoredSteps) {
    room = std::move(memory.made.back().first);
    memory.made.pop_back();
  }
  memory.made.push_front({window.end_ms, FirstSteps(table.block, std::move(room))});
  return table;
}

Moments MomentsOf(std::span<const float> quantiles) {
  // A point has no variance, not what rounding leaves of one.
  if (quantiles.front() == quantiles.back()) return {quantiles.front(), 0};
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
