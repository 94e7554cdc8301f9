// Draws training sequences out of a set of series and turns them into the network's arrays.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "models/lstm/features.h"
#include "models/torch/lstm_network.h"
#include "training/train/series_set.h"

namespace foreshadow::training {

struct SequenceSettings {
  models::FeatureSpec spec;
  int window_steps = 0;
  int scored_steps = 0;
  double validation_share = 0.15;
};

// One batch's arrays; the spans of `batch` and `targets` point into it.
struct SequenceBatch {
  std::vector<float> features;
  std::vector<float> candidates;
  std::vector<float> spreads;
  std::vector<float> values;
  std::vector<float> weights;
  std::vector<int64_t> signals;
  std::vector<int64_t> applications;
  models::LstmBatch batch;
  models::LstmTargets targets;
};

enum class Part : uint8_t { kTraining, kValidation };

// Owns a copy of the values, one series after the other. Any thread.
//
// Kept for validation is the latest share of each set's time; of a set too short for that, a share
// of its series. Sets are drawn from by a root of their samples, so that a large one does not drown
// the others.
class SequenceSource {
 public:
  // `application_names` are those of the model's card.
  SequenceSource(std::span<const SeriesSet> sets, std::span<const std::string> application_names,
                 const SequenceSettings& settings);

  // Draws `count` sequences whose targets all lie in the part, by the seed alone. Constant
  // stretches and ones without samples are passed over; false when nothing else was found.
  bool Draw(Part part, int64_t count, uint64_t seed, SequenceBatch& out) const;

 private:
  struct Set {
    int64_t start_ms = 0;
    int64_t steps = 0;
    int64_t validation_from = 0;  // step; `steps` = validation is by series
    std::vector<models::SignalKind> signals;
    std::vector<int64_t> applications;                 // rows of the embedding
    std::vector<float> columns;                        // [series][steps]
    std::vector<std::vector<models::Driver>> drivers;  // [day][series], found on the days before

    std::span<const float> column(int64_t series) const {
      return {columns.data() + series * steps, static_cast<size_t>(steps)};
    }
  };
  struct Place {
    const Set* set;
    int64_t series;
    int64_t end;    // step after the last one seen
    int64_t begin;  // the first one seen: an account's history may be short
  };
  bool Usable(const Place& place) const;
  void Fill(std::span<const Place> places, SequenceBatch& out) const;

  const SequenceSettings settings_;
  std::vector<Set> sets_;
  std::vector<double> weights_;  // [set]
};

}  // namespace foreshadow::training
