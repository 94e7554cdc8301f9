// Draws training sequences out of a set of series and turns them into the network's arrays.
#pragma once

#include <cstdint>
#include <vector>

#include "models/lstm/features.h"
#include "models/torch/lstm_network.h"
#include "training/train/series_set.h"

namespace foreshadow::training {

struct SequenceSettings {
  models::FeatureSpec spec;
  int window_steps = 0;
  int scored_steps = 0;
};

// One batch's arrays; the spans of `batch` and `targets` point into it.
struct SequenceBatch {
  std::vector<float> features;
  std::vector<float> candidates;
  std::vector<float> spreads;
  std::vector<float> values;
  std::vector<int64_t> signals;
  models::LstmBatch batch;
  models::LstmTargets targets;
};

// Owns a copy of the values, one series after the other. Any thread.
class SequenceSource {
 public:
  SequenceSource(const SeriesSet& set, const SequenceSettings& settings);

  // Draws `count` sequences whose targets all lie in the steps [begin, end), by the seed alone.
  // Constant stretches and ones without samples are passed over; false when nothing else was found.
  bool Draw(int64_t begin, int64_t end, int64_t count, uint64_t seed, SequenceBatch& out) const;

 private:
  struct Place {
    int64_t series;
    int64_t end;  // step after the last one seen
  };
  bool Usable(const Place& place) const;
  void Fill(const Place& place, int64_t sequence, int64_t count, SequenceBatch& out) const;

  const SequenceSettings settings_;
  int64_t start_ms_;
  int64_t steps_;
  std::vector<models::SignalKind> signals_;
  std::vector<float> columns_;  // [series][steps]
};

}  // namespace foreshadow::training
