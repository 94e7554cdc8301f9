#include "training/train/sequences.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "models/lstm/card.h"
#include "training/train/drivers.h"

namespace foreshadow::training {
namespace {

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();
constexpr double kSetPower = 0.4;      // a set's share of the sequences goes by its samples to this
constexpr int kTriesPerSequence = 50;  // before a part of the data is taken as unusable
constexpr int kScoredStride = 3;  // neighbours tell much the same, and each costs a whole horizon
constexpr int kMemoryDays = 8;    // run through before the window: seasons are settled then
constexpr double kColdShare = 0.25;  // of sequences that begin with an account's first samples
constexpr double kUnknownShare =
    0.25;                             // whose application is hidden, so that others are served too
constexpr int kValidationSeries = 7;  // every seventh, where validation is by series

int64_t ApplicationOf(const SeriesSet& set, int64_t series, std::span<const std::string> known) {
  if (set.applications.empty() || set.applications[series] < 0) return 0;
  return models::ApplicationRow(known, set.application_names[set.applications[series]]);
}

}  // namespace

SequenceSource::SequenceSource(std::span<const SeriesSet> sets,
                               std::span<const std::string> application_names,
                               const SequenceSettings& settings)
    : settings_(settings) {
  for (const SeriesSet& from : sets) {
    Set set;
    set.start_ms = from.start_ms;
    set.steps = from.steps;
    set.signals = from.signals;
    const auto kept =
        static_cast<int64_t>(static_cast<double>(from.steps) * settings.validation_share);
    const bool by_time = kept >= settings.scored_steps + settings.spec.horizon_steps;
    set.validation_from = by_time ? from.steps - kept : from.steps;
    set.columns.resize(from.values.size());
    double samples = 0;
    for (int64_t s = 0; s < from.series(); ++s) {
      set.applications.push_back(ApplicationOf(from, s, application_names));
      for (int64_t t = 0; t < from.steps; ++t) {
        const float value = from.values[t * from.series() + s];
        set.columns[s * from.steps + t] = value;
        samples += std::isnan(value) ? 0 : 1;
      }
    }
    for (int64_t day = 0; day * settings.spec.day_steps() < from.steps; ++day) {
      set.drivers.push_back(FindDrivers(from, day * settings.spec.day_steps()));
    }
    weights_.push_back(std::pow(samples, kSetPower));
    sets_.push_back(std::move(set));
  }
}

// Enough samples before the last scored step, and any movement up to the last target.
bool SequenceSource::Usable(const Place& place) const {
  const auto column = place.set->column(place.series);
  const int64_t begin =
      std::max(place.begin, place.end - settings_.scored_steps - settings_.window_steps);
  int seen = 0;
  float low = INFINITY;
  float high = -INFINITY;
  for (int64_t t = begin; t < place.end + settings_.spec.horizon_steps; ++t) {
    if (std::isnan(column[t])) continue;
    seen += t < place.end ? 1 : 0;
    low = std::min(low, column[t]);
    high = std::max(high, column[t]);
  }
  return seen >= models::kSamplesMin && low < high;
}

bool SequenceSource::Draw(Part part, int64_t count, uint64_t seed, SequenceBatch& out) const {
  std::mt19937_64 random(seed);
  std::discrete_distribution<size_t> any_set(weights_.begin(), weights_.end());
  std::bernoulli_distribution cold(kColdShare);
  std::bernoulli_distribution unknown(kUnknownShare);
  std::vector<Place> places;
  std::vector<int64_t> applications;
  for (int64_t tries = 0; std::ssize(places) < count; ++tries) {
    if (tries == count * kTriesPerSequence) return false;
    const Set& set = sets_[any_set(random)];
    const bool by_series = set.validation_from == set.steps;
    const int64_t first = by_series || part == Part::kTraining ? 0 : set.validation_from;
    const int64_t last = by_series || part == Part::kValidation ? set.steps : set.validation_from;
    const int64_t end_min = first + settings_.scored_steps;
    const int64_t end_max = last - settings_.spec.horizon_steps;
    std::uniform_int_distribution<int64_t> any_series(0, std::ssize(set.signals) - 1);
    const int64_t series = any_series(random);
    if (end_min > end_max) continue;
    if (by_series && (series % kValidationSeries == 0) != (part == Part::kValidation)) continue;
    Place place{&set, series, std::uniform_int_distribution(end_min, end_max)(random), 0};
    if (cold(random)) {
      const int64_t known = settings_.scored_steps + settings_.window_steps;
      place.begin =
          std::max<int64_t>(0, place.end - std::uniform_int_distribution<int64_t>(
                                               settings_.scored_steps / 2, 3 * known)(random));
    }
    if (!Usable(place)) continue;
    places.push_back(place);
    applications.push_back(unknown(random) ? 0 : set.applications[series]);
  }
  out.applications = std::move(applications);
  Fill(places, out);
  return true;
}

void SequenceSource::Fill(std::span<const Place> places, SequenceBatch& out) const {
  const models::FeatureSpec& spec = settings_.spec;
  const auto count = static_cast<int64_t>(places.size());
  // Drivers ride along as lanes behind the sequences.
  std::vector<Place> lanes(places.begin(), places.end());
  std::vector<models::Driver> drivers(places.size());
  for (int64_t i = 0; i < count; ++i) {
    const Place& place = places[i];
    models::Driver driver =
        place.set->drivers[(place.end - 1) / settings_.spec.day_steps()][place.series];
    if (driver.series < 0) continue;
    lanes.push_back(place);
    lanes.back().series = driver.series;
    driver.series = static_cast<int32_t>(lanes.size() - 1);
    drivers[i] = driver;
  }
  drivers.resize(lanes.size());
  const int64_t length = settings_.window_steps + settings_.scored_steps;
  const int64_t scored = (settings_.scored_steps + kScoredStride - 1) / kScoredStride;
  const int64_t memory = static_cast<int64_t>(kMemoryDays) * spec.day_steps();
  std::vector<int64_t> start_ms;
  out.signals.clear();
  for (const Place& lane : lanes) {
    start_ms.push_back(lane.set->start_ms + (lane.end - 1 - length - memory) * spec.step_ms);
  }
  for (const Place& place : places) {
    out.signals.push_back(static_cast<int64_t>(place.set->signals[place.series]));
  }
  models::FeatureState state = models::NewFeatureState(spec, std::ssize(lanes), start_ms);
  const int64_t width = state.width;
  const int64_t horizon = spec.horizon_steps;
  out.features.resize(static_cast<size_t>(length * models::kFeatures * width));
  out.candidates.resize(static_cast<size_t>(scored * horizon * models::kCandidates * width));
  out.spreads.resize(static_cast<size_t>(scored * models::kSpreads * width));
  out.values.assign(static_cast<size_t>(scored * horizon * width), kMissing);
  std::vector<float> samples(lanes.size());
  std::vector<float> levels(static_cast<size_t>(width));
  std::vector<float> scales(static_cast<size_t>(width));
  for (int64_t t = -memory; t < length; ++t) {
    for (size_t i = 0; i < lanes.size(); ++i) {
      const int64_t at = lanes[i].end - length + t;
      samples[i] = at < lanes[i].begin ? kMissing : lanes[i].set->column(lanes[i].series)[at];
    }
    models::Advance(state, samples);
    if (t < 0) continue;
    models::FeatureOutput output;
    output.features = out.features.data() + t * models::kFeatures * width;
    const int64_t row = scored - 1 - (length - 1 - t) / kScoredStride;
    const bool is_scored = row >= 0 && (length - 1 - t) % kScoredStride == 0;
    if (is_scored) {
      output.candidates = out.candidates.data() + row * horizon * models::kCandidates * width;
      output.spreads = out.spreads.data() + row * models::kSpreads * width;
      output.levels = levels.data();
      output.scales = scales.data();
      output.steps = spec.horizon_steps;
    }
    models::Describe(state, drivers, output);
    if (!is_scored) continue;
    for (int64_t i = 0; i < count; ++i) {
      if (models::Judge(state, i) != models::ForecastStatus::kOk) continue;
      const float* ahead =
          places[i].set->column(places[i].series).data() + places[i].end - length + t + 1;
      for (int64_t h = 0; h < horizon; ++h) {
        out.values[(row * horizon + h) * width + i] = (ahead[h] - levels[i]) / scales[i];
      }
    }
  }
  // What is beyond an hour weighs as much as the hour.
  const auto hour = std::min<int64_t>(horizon, spec.hour_steps());
  out.weights.assign(static_cast<size_t>(horizon), 1.0f);
  std::fill(out.weights.begin() + hour, out.weights.end(),
            static_cast<float>(hour) / static_cast<float>(std::max<int64_t>(1, horizon - hour)));
  out.batch = {length,         count,        width,       scored,
               kScoredStride,  out.features, out.signals, out.applications,
               out.candidates, out.spreads};
  out.targets = {out.values, models::kQuantileLevels, out.weights};
}

}  // namespace foreshadow::training
