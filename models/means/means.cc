#include "models/means/means.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <span>
#include <string>
#include <utility>
#include <vector>

#include "kernels/check.h"
#include "models/empirical.h"
#include "models/file/hash.h"
#include "models/means/take.h"
#include "models/sliding.h"

namespace foreshadow::models {
namespace {

constexpr int64_t kHourMs = 3'600'000;
constexpr int64_t kFollowedMax = 12;  // intervals; after more the model sees the whole history

// Of the normal law at kQuantileLevels.
constexpr std::array<float, kQuantiles> kNormal = {
    -1.64485f, -1.28155f, -0.67449f, 0, 0.67449f, 1.28155f, 1.64485f, 1.95996f, 2.32635f};

// What is carried at a finer interval: the model's state at the newest end of an interval.
struct Kept {
  std::any state;
  int64_t end_ms = 0;
  uint64_t told = 0;  // of the series and drivers that the state was told of; 0 = not known
};

uint64_t ToldBy(const Forecaster& model, const History& history) {
  const std::array<uint64_t, 2> what = {model.fingerprint(),
                                        static_cast<uint64_t>(history.values.series)};
  const uint64_t hash = HashOf(what.data(), sizeof(what));
  return HashOf(history.drivers.data(), history.drivers.size_bytes(), hash) | 1;
}

// [series] deviation of the samples of the last hour from the means of `count` steps that they are
// in.
std::vector<float> DeviationsWithin(const History& fine, int64_t count) {
  const int64_t series = fine.values.series;
  const int64_t rows =
      std::min(fine.values.steps / count, std::max<int64_t>(1, kHourMs / (fine.step_ms * count)));
  std::vector<float> squares(static_cast<size_t>(series));
  std::vector<float> freedoms(static_cast<size_t>(series));
  Means means;
  TakeMeans(fine, count, rows, means);
  for (int64_t row = 0; row < rows; ++row) {
    const float* const mean = means.values.data() + row * series;
    const int64_t first = fine.values.steps - (rows - row) * count;
    for (int64_t s = 0; s < series; ++s) freedoms[s] -= mean[s] == mean[s] ? 1.0f : 0.0f;
    for (int64_t t = first; t < first + count; ++t) {
      for (int64_t s = 0; s < series; ++s) {
        const float off = fine.values.at(t, s) - mean[s];
        squares[s] += off == off ? off * off : 0.0f;
        freedoms[s] += off == off ? 1.0f : 0.0f;
      }
    }
  }
  for (int64_t s = 0; s < series; ++s) {
    squares[s] = freedoms[s] > 0 ? std::sqrt(squares[s] / freedoms[s]) : 0.0f;
  }
  return squares;
}

// What is said of intervals, of their steps: a mean and what a sample is off it are taken for
// independent.
void Spread(const QuantileBlock& of_means, const History& fine, int64_t count, int steps,
            QuantileBlock& out) {
  const std::vector<float> deviations = DeviationsWithin(fine, count);
  std::vector<float> points;
  out.Resize(fine.values.series, steps);
  for (int64_t s = 0; s < out.series; ++s) {
    if (!Answered(of_means.status[s])) {
      WriteMissing(of_means.status[s], s, out);
      continue;
    }
    out.status[s] = of_means.status[s];
    for (int step = 0; step < out.steps; step += static_cast<int>(count)) {
      const auto mean = of_means.at(s, static_cast<int>(step / count));
      PaddedOffsets offsets{};
      for (int q = 0; q < kQuantiles; ++q) {
        const float within = kNormal[q] * deviations[s];
        const float of_mean = mean[q] - mean[kMedian];
        const float off = std::sqrt(of_mean * of_mean + within * within);
        offsets[q] = q < kMedian ? -off : off;
      }
      points.assign(static_cast<size_t>(std::min<int64_t>(count, out.steps - step)), mean[kMedian]);
      WriteRows(points, offsets, out.at(s, step).data());
    }
  }
}

class AtFinerSteps : public Forecaster {
 public:
  AtFinerSteps(std::shared_ptr<const Forecaster> model, int64_t step_ms)
      : model_(std::move(model)), step_ms_(step_ms) {}

  std::string_view name() const override { return model_->name(); }
  int version() const override { return model_->version(); }
  uint64_t fingerprint() const override { return model_->fingerprint(); }
  bool carries() const override { return model_->carries(); }
  std::string_view carries_with() const override { return model_->carries_with(); }
  bool continues_on_device() const override { return model_->continues_on_device(); }

  int MaxSteps(int64_t step_ms) const override {
    const int64_t count = StepsOfMean(step_ms);
    return count == 0 ? 0 : static_cast<int>(count * model_->MaxSteps(step_ms_));
  }

  absl::Status Forecast(const History& history, int steps, QuantileBlock& out) const override {
    const int64_t count = StepsOfMean(history.step_ms);
    if (count <= 1) return model_->Forecast(history, steps, out);
    absl::Status status = Check(history, steps, count);
    if (!status.ok()) return status;
    Means means;
    TakeMeans(history, count, history.values.steps / count, means);
    QuantileBlock of_means;
    status = model_->Forecast(means.history, Intervals(steps, count), of_means);
    if (status.ok()) Spread(of_means, history, count, steps, out);
    return status;
  }

  // The state follows the ends of the model's intervals, by the clock. Between them the model takes
  // a look at one more, whose mean begins before the newest of these ends.
  absl::Status Continue(const History& history, int steps, std::any& carried,
                        QuantileBlock& out) const override {
    const int64_t count = StepsOfMean(history.step_ms);
    if (count <= 1) return model_->Continue(history, steps, carried, out);
    absl::Status status = Check(history, steps, count);
    if (!status.ok()) return status;
    Kept& kept = KeptIn(carried);
    const int64_t past = StepsPastEnd(history, step_ms_);
    const History until_end = Without(history, past);
    QuantileBlock of_means;
    if (until_end.values.steps < count) {  // no whole interval yet
      return Forecast(history, steps, out);
    }
    const int intervals = Intervals(steps, count);
    const uint64_t told = ToldBy(*model_, history);
    const bool is_there = kept.end_ms == until_end.end_ms && kept.told == told;
    if (!is_there || past == 0) {
      status = Follow(until_end, count, intervals, told, kept, of_means);
    }
    if (status.ok() && past > 0) {
      Means means;
      TakeMeans(history, count, std::min<int64_t>(2, history.values.steps / count), means);
      means.history.end_ms = kept.end_ms + step_ms_;
      status = model_->Look(means.history, intervals, kept.state, of_means);
    }
    if (!status.ok()) {
      kept = {};
      return status;
    }
    Spread(of_means, history, count, steps, out);
    return status;
  }

  // The model takes the means itself there, as it has to for all series at a time.
  absl::Status ContinueOn(const kernels::Ops& device, const History& history, int steps,
                          std::any& carried) const override {
    const int64_t count = StepsOfMean(history.step_ms);
    absl::Status status = Check(history, steps, count);
    if (!status.ok()) return status;
    return model_->ContinueOn(device, history, Intervals(steps, count), carried);
  }

  void TakeAnswers(const std::any& carried, int64_t first, const History& part, int steps,
                   QuantileBlock& out) const override {
    const int64_t count = StepsOfMean(part.step_ms);
    FORESHADOW_CHECK(count > 0);  // it was asked there by ContinueOn
    if (count == 1) return model_->TakeAnswers(carried, first, part, steps, out);
    QuantileBlock of_means;
    model_->TakeAnswers(carried, first, part, Intervals(steps, count), of_means);
    Spread(of_means, part, count, steps, out);
  }

  std::string Save(const std::any& carried) const override {
    const auto* kept = std::any_cast<Kept>(&carried);
    return model_->Save(kept == nullptr ? carried : kept->state);
  }

  absl::Status Restore(const std::string& bytes, std::any& carried) const override {
    return model_->Restore(bytes, carried);
  }

 private:
  // Of one of the model's own intervals; 0 = it does not answer there.
  int64_t StepsOfMean(int64_t step_ms) const {
    if (step_ms <= 0 || step_ms_ % step_ms != 0) return 0;
    const int64_t count = step_ms_ / step_ms;
    return count <= kStepsOfMeanMax ? count : 0;
  }

  static int Intervals(int steps, int64_t count) {
    return static_cast<int>((steps + count - 1) / count);
  }

  absl::Status Check(const History& history, int steps, int64_t count) const {
    absl::Status status = CheckHistory(history, steps, MaxSteps(history.step_ms));
    if (!status.ok() || history.values.steps >= count) return status;
    return absl::InvalidArgumentError(
        fmt::format("values have {} steps: this model sees means of {}, and has none",
                    history.values.steps, count));
  }

  // What was restored is a state of the model itself.
  static Kept& KeptIn(std::any& carried) {
    if (std::any_cast<Kept>(&carried) == nullptr) carried = Kept{.state = std::move(carried)};
    return *std::any_cast<Kept>(&carried);
  }

  // Takes the state to the end of the history: by its new means where it knows all before them,
  // else by all of them.
  absl::Status Follow(const History& until_end, int64_t count, int intervals, uint64_t told,
                      Kept& kept, QuantileBlock& of_means) const {
    const int64_t new_means = (until_end.end_ms - kept.end_ms) / step_ms_;
    const int64_t all = until_end.values.steps / count;
    const bool knows = kept.told == told && new_means >= 1 && new_means <= kFollowedMax;
    Means means;
    TakeMeans(until_end, count, knows ? std::min(all, new_means + 1) : all, means);
    absl::Status status = model_->Continue(means.history, intervals, kept.state, of_means);
    kept.end_ms = until_end.end_ms;
    kept.told = told;
    return status;
  }

  std::shared_ptr<const Forecaster> model_;
  int64_t step_ms_;
};

}  // namespace

std::shared_ptr<const Forecaster> OverMeans(std::shared_ptr<const Forecaster> model,
                                            int64_t step_ms) {
  return std::make_shared<const AtFinerSteps>(std::move(model), step_ms);
}

}  // namespace foreshadow::models
