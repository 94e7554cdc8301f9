#include "service/evaluate/evaluate.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "models/chosen.h"
#include "models/empirical.h"
#include "models/mixture/mixture.h"
#include "service/forecast/forecast.h"

namespace foreshadow {
namespace {

using models::kQuantiles;
using nlohmann::ordered_json;

constexpr float kNone = std::numeric_limits<float>::quiet_NaN();

float Newest(const models::History& history, int64_t s) {
  return history.values.at(history.values.steps - 1, s);
}

// The resources of accounts spread evenly over those that have a sample of one in the newest step.
std::vector<int64_t> Choose(const models::History& history, std::span<const float> naive_scale) {
  const auto counts = [&](int64_t s) {
    return s % kSignals < kResources && naive_scale[s] > 0 && !std::isnan(Newest(history, s));
  };
  std::vector<int64_t> accounts;
  for (int64_t s = 0; s < history.values.series; ++s) {
    const int64_t account = s / kSignals;
    if (counts(s) && (accounts.empty() || accounts.back() != account)) accounts.push_back(account);
  }
  const int64_t found = std::ssize(accounts);
  const int64_t taken = std::min(found, kEvaluatedAccountsMax);
  std::vector<int64_t> series;
  for (int64_t i = 0; i < taken; ++i) {
    const int64_t account = accounts[i * found / taken];
    for (int64_t s = account * kSignals; s < account * kSignals + kResources; ++s) {
      if (counts(s)) series.push_back(s);
    }
  }
  return series;
}

// With the series that drive them, ascending.
std::vector<int64_t> WithDrivers(const models::History& history,
                                 const std::vector<int64_t>& series) {
  std::vector<int64_t> all = series;
  for (const int64_t s : series) {
    if (!history.drivers.empty() && history.drivers[s].series >= 0) {
      all.push_back(history.drivers[s].series);
    }
  }
  std::ranges::sort(all);
  const auto twice = std::ranges::unique(all);
  all.erase(twice.begin(), twice.end());
  return all;
}

void Score(double actual, double scale, int signal, std::span<const float> quantiles,
           EvaluatedModel& model) {
  const double pinball = models::MeanPinball(actual, quantiles);
  model.scaled_error_sum += std::abs(actual - quantiles[models::kMedian]) / scale;
  model.scaled_pinball_sum += pinball / scale;
  model.inside_80 += actual >= quantiles[models::kLow80] && actual <= quantiles[models::kHigh80];
  model.pinball_sum[signal] += pinball;
}

// Scores all forecasts of the newest step; a tick is one value of the difference.
void ScoreTick(const models::History& history, std::span<const float> naive_scale,
               const EvaluationMemory& memory, int steps, Evaluation& e) {
  const double before = e.of_candidate.scaled_pinball_sum - e.of_against.scaled_pinball_sum;
  const uint64_t scored_before = e.scored;
  const auto distances = models::JudgedSteps(steps);
  for (const EvaluationMemory::Made& made : memory.made) {
    const int64_t ahead = (history.end_ms - made.made_at_ms) / history.step_ms;
    const auto distance = std::ranges::find(distances, ahead);
    if (distance == distances.end()) continue;
    const float* row = made.rows.data() +
                       (distance - distances.begin()) * 2 * kQuantiles * std::ssize(made.series);
    for (const int64_t s : made.series) {
      const std::span candidate(row, size_t{kQuantiles});
      const std::span against(row + kQuantiles, size_t{kQuantiles});
      row += 2 * kQuantiles;
      const float actual = Newest(history, s);
      if (std::isnan(actual) || !(naive_scale[s] > 0) || std::isnan(against[0])) continue;
      if (std::isnan(candidate[0])) {
        ++e.unanswered;
        continue;
      }
      const auto signal = static_cast<int>(s % kSignals);
      Score(actual, naive_scale[s], signal, candidate, e.of_candidate);
      Score(actual, naive_scale[s], signal, against, e.of_against);
      e.actual_sum[signal] += actual;
      ++e.scored;
    }
  }
  if (e.scored == scored_before) return;
  const double now = e.of_candidate.scaled_pinball_sum - e.of_against.scaled_pinball_sum;
  Add((now - before) / static_cast<double>(e.scored - scored_before), e.difference);
  ++e.ticks;
  e.until_ms = history.end_ms;
  if (e.since_ms == 0) e.since_ms = history.end_ms;
}

absl::Status Forecast(const models::Forecaster& model, const models::History& history, int steps,
                      models::QuantileBlock& out) {
  const int steps_max = model.MaxSteps(history.step_ms);
  if (steps_max >= steps) return model.Forecast(history, steps, out);
  return absl::FailedPreconditionError(fmt::format(
      "it answers {} steps of {} ms, and {} are needed", steps_max, history.step_ms, steps));
}

// Both models' answers to what is chosen now.
absl::Status Make(const models::History& history, std::span<const float> naive_scale,
                  const models::Forecaster& against, const models::Forecaster& candidate, int steps,
                  EvaluationMemory::Made& made) {
  made.made_at_ms = history.end_ms;
  made.series = Choose(history, naive_scale);
  if (made.series.empty()) return absl::OkStatus();
  const std::vector<int64_t> asked = WithDrivers(history, made.series);
  models::ChosenSeries chosen;
  models::Gather(history, asked, chosen);
  std::array<models::QuantileBlock, 2> blocks;
  absl::Status status = Forecast(candidate, chosen.history, steps, blocks[0]);
  if (status.ok()) status = Forecast(against, chosen.history, steps, blocks[1]);
  if (!status.ok()) return status;
  for (const int distance : models::JudgedSteps(steps)) {
    for (int64_t i = 0; i < std::ssize(asked); ++i) {
      if (!std::ranges::binary_search(made.series, asked[i])) continue;
      for (const models::QuantileBlock& block : blocks) {
        const auto row = block.at(i, distance - 1);
        for (int q = 0; q < kQuantiles; ++q) {
          made.rows.push_back(models::Answered(block.status[i]) ? row[q] : kNone);
        }
      }
    }
  }
  return absl::OkStatus();
}

ordered_json ToJson(const EvaluationFigures& figures) {
  return {{"mase", figures.mase},
          {"pinball", figures.pinball},
          {"crps", figures.crps},
          {"coverage_80", figures.coverage_80}};
}

}  // namespace

void Evaluate(const models::History& history, std::span<const float> naive_scale,
              const ModelList& models, const models::Forecaster& candidate,
              EvaluationMemory& memory, Evaluation& evaluation, std::vector<std::string>& alerts) {
  const int steps = HorizonSteps(history.step_ms);
  const auto answers = [&](const auto& m) { return m->MaxSteps(history.step_ms) >= steps; };
  const auto against = std::ranges::find_if(models, answers);
  if (against == models.end()) return;
  const std::string label = models::Label(candidate);
  if (evaluation.candidate != label || evaluation.against != Label(**against) ||
      evaluation.serving != Label(*models.front())) {
    evaluation = {};
    evaluation.candidate = label;
    evaluation.against = Label(**against);
    evaluation.serving = Label(*models.front());
    evaluation.difference.batch_count = steps;
    memory = {};
  }
  ScoreTick(history, naive_scale, memory, steps, evaluation);
  EvaluationMemory::Made made;
  const absl::Status status = Make(history, naive_scale, **against, candidate, steps, made);
  if (!status.ok()) {
    alerts.push_back(
        fmt::format("candidate {} is not evaluated: {}", label, std::string(status.message())));
    return;
  }
  memory.made.push_front(std::move(made));
  while (std::ssize(memory.made) > steps) memory.made.pop_back();
}

const char* Name(Verdict verdict) {
  constexpr const char* kNames[] = {"too early", "better", "even", "worse"};
  return kNames[static_cast<int>(verdict)];
}

Verdict VerdictOf(const Evaluation& e) {
  if (e.difference.means.size() < kVerdictBatchesMin) {
    // Nothing at all in that time says as much as a comparison.
    const bool silent = e.scored == 0 && e.unanswered > 0;
    return silent ? Verdict::kWorse : Verdict::kTooEarly;
  }
  const double asked = static_cast<double>(e.scored + e.unanswered);
  if (static_cast<double>(e.unanswered) > kUnansweredShareMax * asked) return Verdict::kWorse;
  const Interval interval = MeanInterval(e.difference);
  return interval.high < 0 ? Verdict::kBetter : interval.low > 0 ? Verdict::kWorse : Verdict::kEven;
}

EvaluationFigures FiguresOf(const Evaluation& e, const EvaluatedModel& model) {
  EvaluationFigures figures;
  if (e.scored == 0) return figures;
  const auto count = static_cast<double>(e.scored);
  figures.mase = model.scaled_error_sum / count;
  figures.pinball = model.scaled_pinball_sum / count;
  figures.coverage_80 = static_cast<double>(model.inside_80) / count;
  int signals = 0;
  for (int signal = 0; signal < kSignals; ++signal) {
    if (e.actual_sum[signal] <= 0) continue;
    figures.crps += 2 * model.pinball_sum[signal] / e.actual_sum[signal];
    ++signals;
  }
  figures.crps /= std::max(1, signals);
  return figures;
}

std::string Words(const Evaluation& e) {
  const Verdict verdict = VerdictOf(e);
  const EvaluationFigures of_candidate = FiguresOf(e, e.of_candidate);
  const EvaluationFigures of_against = FiguresOf(e, e.of_against);
  std::string words = fmt::format("{} against {}: {} after {} ticks, {} forecasts", e.candidate,
                                  e.against, Name(verdict), e.ticks, e.scored);
  if (e.unanswered > 0) words += fmt::format(" and {} that it left unanswered", e.unanswered);
  if (e.scored > 0) {
    words += fmt::format(
        "; pinball loss {:.4f} against {:.4f}, MASE {:.3f} against {:.3f}, CRPS {:.3f} against "
        "{:.3f}, 80 % interval holds {:.1f} % against {:.1f} %",
        of_candidate.pinball, of_against.pinball, of_candidate.mase, of_against.mase,
        of_candidate.crps, of_against.crps, 100 * of_candidate.coverage_80,
        100 * of_against.coverage_80);
  }
  if (verdict == Verdict::kTooEarly) {
    return words + fmt::format("; a verdict takes {} batches of an hour, there are {}",
                               kVerdictBatchesMin, e.difference.means.size());
  }
  const Interval interval = MeanInterval(e.difference);
  return words + fmt::format("; loss differs by {:+.4f}, within {:+.4f} and {:+.4f} at 95 %",
                             interval.mean, interval.low, interval.high);
}

std::string EvaluationReport(const Evaluation& e) {
  const Interval interval = MeanInterval(e.difference);
  const ordered_json json = {{"candidate", e.candidate},
                             {"against", e.against},
                             {"serving", e.serving},
                             {"verdict", Name(VerdictOf(e))},
                             {"words", Words(e)},
                             {"since_ms", e.since_ms},
                             {"until_ms", e.until_ms},
                             {"ticks", e.ticks},
                             {"forecasts", e.scored},
                             {"unanswered", e.unanswered},
                             {"of_candidate", ToJson(FiguresOf(e, e.of_candidate))},
                             {"of_against", ToJson(FiguresOf(e, e.of_against))},
                             {"pinball_difference",
                              {{"mean", interval.mean},
                               {"low_95", interval.low},  // null while it is unbounded
                               {"high_95", interval.high},
                               {"batches", e.difference.means.size()},
                               {"batch_ticks", e.difference.batch_count}}}};
  return json.dump(2) + "\n";
}

absl::Status MayPromote(const std::string& report, const std::string& candidate,
                        const std::string& serving) {
  const auto json = ordered_json::parse(report, nullptr, /*allow_exceptions=*/false);
  const auto text = [&json](const char* field) -> std::string {
    return json.is_object() && json.contains(field) && json[field].is_string()
               ? json[field].get<std::string>()
               : "";
  };
  if (text("candidate") != candidate || text("verdict").empty()) {
    return absl::FailedPreconditionError(
        fmt::format("{} was not evaluated: let a server run with it as the candidate", candidate));
  }
  if (text("serving") != serving) {
    return absl::FailedPreconditionError(fmt::format("{} was evaluated while {} served, not {}",
                                                     candidate, text("serving"), serving));
  }
  if (text("verdict") == Name(Verdict::kBetter) || text("verdict") == Name(Verdict::kEven)) {
    return absl::OkStatus();
  }
  return absl::FailedPreconditionError(text("words"));
}

}  // namespace foreshadow
