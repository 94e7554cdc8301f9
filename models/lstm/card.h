// The card of a trained LSTM: all that is needed to use its weights rightly, and where it came
// from. Kept as card.json beside weights.safetensors. Plain data and functions, any thread.
#pragma once

#include <cstdint>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/forecaster.h"
#include "models/lstm/features.h"
#include "models/torch/lstm_network.h"

namespace foreshadow::models {

// What the weights were learned from.
struct TrainingRecord {
  std::string trace;        // names of the files, without their folders
  std::string fingerprint;  // of the samples used, "crc32:" and eight hexadecimal digits
  int64_t series = 0;
  int64_t samples = 0;
  int64_t from_ms = 0;  // of the first trace
  int64_t to_ms = 0;    // validation included
  uint64_t seed = 0;
  int epochs = 0;              // trained
  int best_epoch = 0;          // whose weights these are, from 1
  double validation_loss = 0;  // mean pinball loss in deviations
  std::string command;         // that made it
};

struct LstmCard {
  FeatureSpec spec;
  int window_steps = 48;  // run through the network from a zero state
  int embedding = 4;
  int hidden = 64;
  int layers = 1;
  int dense = 64;
  std::vector<std::string> applications;  // that it has an embedding of, besides "unknown"
  int registry_version = 0;               // known to the folder that it lies in, not to the file
  std::string weights_sha256;             // of weights.safetensors; "" = not known: an older card
  TrainingRecord training;
  std::map<std::string, double> scores;  // on the validation part, metric.signal.steps

  LstmShape shape() const;
};

inline constexpr int kHiddenMax = 1'024;  // of every width: more is a mistake, not a model
inline constexpr int kWindowStepsMax = 2'016;
inline constexpr int kHorizonStepsMaxLstm = 287;
inline constexpr int kApplicationsMax = 10'000;

// Row of an application's embedding; 0 = unknown, or not one that training saw.
int64_t ApplicationRow(std::span<const std::string> known, const std::string& name);

std::string CardToJson(const LstmCard& card);

// DATA_LOSS when it is no JSON object; INVALID_ARGUMENT naming the field when one is missing, out
// of range, or another list of features, candidates, signals or levels than this program's.
absl::StatusOr<LstmCard> CardFromJson(const std::string& text);

}  // namespace foreshadow::models
