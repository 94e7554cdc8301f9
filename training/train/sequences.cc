#include "training/train/sequences.h"

#include <algorithm>
#include <cmath>
#include <random>

namespace foreshadow::training {
namespace {

constexpr int kTriesPerSequence = 50;  // before a part of the data is taken as unusable

}  // namespace

SequenceSource::SequenceSource(const SeriesSet& set, const SequenceSettings& settings)
    : settings_(settings),
      start_ms_(set.start_ms),
      steps_(set.steps),
      signals_(set.signals),
      columns_(set.values.size()) {
  for (int64_t t = 0; t < steps_; ++t) {
    for (int64_t s = 0; s < set.series(); ++s) {
      columns_[s * steps_ + t] = set.values[t * set.series() + s];
    }
  }
}

// Enough samples in the window, and any movement up to the last target.
bool SequenceSource::Usable(const Place& place) const {
  const float* column = columns_.data() + place.series * steps_;
  const int64_t begin = place.end - settings_.scored_steps - settings_.window_steps;
  int seen = 0;
  float low = INFINITY;
  float high = -INFINITY;
  for (int64_t t = begin; t < place.end + settings_.spec.horizon_steps; ++t) {
    if (std::isnan(column[t])) continue;
    seen += t < begin + settings_.window_steps;
    low = std::min(low, column[t]);
    high = std::max(high, column[t]);
  }
  return seen >= models::kSamplesMin && low < high;
}

bool SequenceSource::Draw(int64_t begin, int64_t end, int64_t count, uint64_t seed,
                          SequenceBatch& out) const {
  const models::FeatureSpec& spec = settings_.spec;
  const int64_t length = settings_.window_steps + settings_.scored_steps;
  const int64_t end_min = std::max(length, begin + settings_.scored_steps);
  const int64_t end_max = end - spec.horizon_steps;
  if (end_min > end_max) return false;
  std::mt19937_64 random(seed);
  std::uniform_int_distribution<int64_t> any_series(0, std::ssize(signals_) - 1);
  std::uniform_int_distribution<int64_t> any_end(end_min, end_max);
  std::vector<Place> places;
  for (int64_t tries = 0; std::ssize(places) < count; ++tries) {
    if (tries == count * kTriesPerSequence) return false;
    const Place place{any_series(random), any_end(random)};
    if (Usable(place)) places.push_back(place);
  }

  const int64_t outputs = settings_.scored_steps * count * spec.horizon_steps;
  out.features.resize(static_cast<size_t>(length * count * models::kFeatures));
  out.candidates.resize(static_cast<size_t>(outputs * models::kCandidates));
  out.spreads.resize(static_cast<size_t>(settings_.scored_steps * count * models::kSpreads));
  out.values.resize(static_cast<size_t>(outputs));
  out.signals.resize(static_cast<size_t>(count));
  for (int64_t i = 0; i < count; ++i) Fill(places[i], i, count, out);
  out.batch = {length,         count,      settings_.scored_steps, out.features, out.signals,
               out.candidates, out.spreads};
  out.targets = {out.values, models::kQuantileLevels};
  return true;
}

void SequenceSource::Fill(const Place& place, int64_t sequence, int64_t count,
                          SequenceBatch& out) const {
  const int horizon = settings_.spec.horizon_steps;
  const int64_t scored = settings_.scored_steps;
  const float* column = columns_.data() + place.series * steps_;
  models::SequenceRows rows;
  rows.features = out.features.data() + sequence * models::kFeatures;
  rows.features_stride = count * models::kFeatures;
  rows.candidates = out.candidates.data() + sequence * horizon * models::kCandidates;
  rows.candidates_stride = count * horizon * models::kCandidates;
  rows.spreads = out.spreads.data() + sequence * models::kSpreads;
  rows.spreads_stride = count * models::kSpreads;
  const int64_t end_ms = start_ms_ + (place.end - 1) * settings_.spec.step_ms;
  models::BuildFeatures(settings_.spec, {column, static_cast<size_t>(place.end)}, end_ms,
                        place.end - scored - settings_.window_steps, scored, rows);
  out.signals[sequence] = static_cast<int64_t>(signals_[place.series]);
  for (int64_t i = 0; i < scored; ++i) {
    const int64_t step = place.end - scored + i;
    float* target = out.values.data() + (i * count + sequence) * horizon;
    for (int ahead = 1; ahead <= horizon; ++ahead) {
      target[ahead - 1] = (column[step + ahead] - rows.levels[i]) / rows.scales[i];
    }
  }
}

}  // namespace foreshadow::training
