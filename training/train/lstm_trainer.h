// Trains the LSTM: draws sequences, steps the network, keeps the best weights, can be killed and
// resumed at any epoch with the same result. Deterministic in (sets, options) on one machine.
#pragma once

#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/lstm/card.h"
#include "training/train/series_set.h"

namespace foreshadow::training {

struct LstmTrainOptions {
  std::string out;        // folder of the model; checkpoint and log go there too
  int horizon_steps = 0;  // 0 = an hour
  int window_steps = 48;  // of the model served, and the first of each training sequence
  int hidden = 64;        // width of the LSTM and of the dense layer
  int layers = 1;
  int64_t batch_sequences = 64;
  int scored_steps = 72;  // of each sequence, after the window
  int epoch_batches = 200;
  int epochs_max = 20;
  int patience_epochs = 5;         // without a better validation loss: stop
  double learning_rate = 3e-3;     // peak; rises over the first half epoch, then falls as a cosine
  double validation_share = 0.15;  // see SequenceSource
  uint64_t seed = 1;
  std::string start;  // folder of a trained model to begin as; "" = weights drawn from the seed
  // Folders of trained models that it learns from as well, batch by batch in turn.
  std::vector<std::string> teachers;
  int threads = 1;     // of torch; more pay off for wide networks only
  bool fresh = false;  // ignore a checkpoint instead of resuming it
  models::Device device = models::Device::kCpu;
  // Trains together with other processes, each with batches of its own; all see one `out`, which
  // rank 0 writes. Null = alone.
  models::ProcessGroup* group = nullptr;
  std::string trace;    // for the card: where the series came from,
  std::string command;  // and how the model was made
};

struct TrainProgress {
  int epoch = 0;  // from 1
  int epochs_max = 0;
  int batch = 0;  // done in this epoch
  int epoch_batches = 0;
  double train_loss = 0;       // mean of this epoch so far
  double validation_loss = 0;  // of the epoch before; NaN = none yet
  double best_loss = 0;        // NaN = none yet
  bool resumed = false;
};

// INVALID_ARGUMENT naming the field for options, series or teachers that cannot be trained on;
// FAILED_PRECONDITION when the checkpoint is of another run. The model is in options.out when it
// returns; the card is returned.
absl::StatusOr<models::LstmCard> TrainLstm(
    std::span<const SeriesSet> sets, const LstmTrainOptions& options,
    const std::function<void(const TrainProgress&)>& progress);

}  // namespace foreshadow::training
