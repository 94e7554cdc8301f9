#include "training/train/lstm_trainer.h"

#include <fmt/core.h>
#include <zlib.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <numbers>

#include "models/file/safetensors.h"
#include "models/lstm/lstm.h"
#include "training/train/sequences.h"
#include "training/train/teachers.h"

namespace foreshadow::training {
namespace {

using models::LstmNetwork;
using models::Tensor;
using nlohmann::ordered_json;

constexpr double kNaN = std::numeric_limits<double>::quiet_NaN();
constexpr double kLearningRateEnd = 0.02;  // of the peak, at the last epoch
constexpr int kValidationBatches = 24;
constexpr uint64_t kValidationSeed = 0x76616c;  // apart from all seeds of training

// Where training stands between two epochs; what a checkpoint keeps beside the tensors.
struct Standing {
  int epoch = 0;  // done
  int best_epoch = 0;
  double best_loss = kNaN;
  double last_loss = kNaN;
  std::vector<Tensor> best_weights;
};

std::string CheckpointPath(const std::string& out) { return out + "/checkpoint.safetensors"; }
std::string LogPath(const std::string& out) { return out + "/training.csv"; }

absl::Status Check(std::span<const SeriesSet> sets, const LstmTrainOptions& o) {
  const auto wrong = [](const char* field, auto value, const char* allowed) {
    return absl::InvalidArgumentError(
        fmt::format("{} is {}: allowed is {}", field, value, allowed));
  };
  for (const SeriesSet& set : sets) {
    if (set.series() == 0) return wrong("number of series", 0, "1 or more");
  }
  if (sets.empty()) return wrong("number of traces", 0, "1 or more");
  models::FeatureSpec spec{sets.front().step_ms, o.horizon_steps};
  if (spec.step_ms < 1'000 || 3'600'000 % spec.step_ms != 0) {
    return wrong("step_ms of the traces", spec.step_ms, "1000 or more that divide an hour");
  }
  if (o.horizon_steps < 0 || o.horizon_steps >= spec.day_steps()) {
    return wrong("horizon_steps", o.horizon_steps, "0 to less than a day");
  }
  if (o.window_steps < 1 || o.window_steps > models::kWindowStepsMax) {
    return wrong("window_steps", o.window_steps, "1 to 2016");
  }
  if (o.hidden < 1 || o.hidden > models::kHiddenMax) {
    return wrong("hidden", o.hidden, "1 to 1024");
  }
  if (o.layers < 1 || o.layers > 8) return wrong("layers", o.layers, "1 to 8");
  if (o.batch_sequences < 1) return wrong("batch_sequences", o.batch_sequences, "1 or more");
  if (o.scored_steps < 1) return wrong("scored_steps", o.scored_steps, "1 or more");
  if (o.epoch_batches < 1) return wrong("epoch_batches", o.epoch_batches, "1 or more");
  if (o.epochs_max < 1) return wrong("epochs_max", o.epochs_max, "1 or more");
  if (o.patience_epochs < 1) return wrong("patience_epochs", o.patience_epochs, "1 or more");
  if (!(o.learning_rate > 0 && o.learning_rate < 1)) {
    return wrong("learning_rate", o.learning_rate, "above 0 and below 1");
  }
  if (!(o.validation_share > 0 && o.validation_share <= 0.5)) {
    return wrong("validation_share", o.validation_share, "above 0 and up to 0.5");
  }
  if (o.threads < 1) return wrong("threads", o.threads, "1 or more");
  return absl::OkStatus();
}

std::string Fingerprint(std::span<const SeriesSet> sets) {
  uLong crc = crc32_z(0, nullptr, 0);
  for (const SeriesSet& set : sets) {
    crc = crc32_z(crc, reinterpret_cast<const Bytef*>(set.values.data()),
                  set.values.size() * sizeof(float));
    crc = crc32_z(crc, reinterpret_cast<const Bytef*>(set.signals.data()), set.signals.size());
  }
  return fmt::format("crc32:{:08x}", crc);
}

models::LstmCard NewCard(std::span<const SeriesSet> sets, const LstmTrainOptions& o) {
  models::LstmCard card;
  card.spec.step_ms = sets.front().step_ms;
  card.spec.horizon_steps = o.horizon_steps > 0 ? o.horizon_steps : card.spec.hour_steps();
  card.window_steps = o.window_steps;
  card.hidden = o.hidden;
  card.dense = o.hidden;
  card.layers = o.layers;
  for (const SeriesSet& set : sets) {
    for (const std::string& name : set.application_names) {
      const bool known = std::ranges::find(card.applications, name) != card.applications.end();
      if (!known) card.applications.push_back(name);
    }
    card.training.series += set.series();
    card.training.samples += std::ranges::count_if(set.values, [](float x) { return x == x; });
  }
  card.training.trace = o.trace;
  card.training.fingerprint = Fingerprint(sets);
  card.training.from_ms = sets.front().start_ms;
  card.training.to_ms = sets.front().TimeMs(sets.front().steps - 1);
  card.training.seed = o.seed;
  card.training.command = o.command;
  return card;
}

// Rises over the first half epoch, then half a cosine down.
double LearningRate(const LstmTrainOptions& o, int64_t batch) {
  const double warm_up = std::max(1.0, 0.5 * o.epoch_batches);
  const double all = static_cast<double>(o.epoch_batches) * o.epochs_max;
  const double at = static_cast<double>(batch) + 1;
  if (at < warm_up) return o.learning_rate * at / warm_up;
  const double done = (at - warm_up) / std::max(1.0, all - warm_up);
  const double fall = 0.5 * (1 + std::cos(std::numbers::pi * std::min(1.0, done)));
  return o.learning_rate * (kLearningRateEnd + (1 - kLearningRateEnd) * fall);
}

// All options that shape the weights: a checkpoint of others is refused.
std::string RunKey(const LstmTrainOptions& o, const models::LstmCard& card) {
  return fmt::format(
      "{} step {} horizon {} window {} hidden {} layers {} batch {}x{} scored {} epoch {}x{} lr {} "
      "validation {} seed {}",
      card.training.fingerprint, card.spec.step_ms, card.spec.horizon_steps, o.window_steps,
      o.hidden, o.layers, o.batch_sequences, o.group != nullptr ? o.group->size() : 1,
      o.scored_steps, o.epochs_max, o.epoch_batches, o.learning_rate, o.validation_share, o.seed);
}

void Append(const std::string& prefix, std::vector<Tensor> from, std::vector<Tensor>& to) {
  for (Tensor& tensor : from) {
    tensor.name = prefix + tensor.name;
    to.push_back(std::move(tensor));
  }
}

std::vector<Tensor> Take(const std::string& prefix, const std::vector<Tensor>& from) {
  std::vector<Tensor> taken;
  for (const Tensor& tensor : from) {
    if (!tensor.name.starts_with(prefix)) continue;
    taken.push_back(tensor);
    taken.back().name.erase(0, prefix.size());
  }
  return taken;
}

absl::Status SaveCheckpoint(const LstmTrainOptions& o, const std::string& key,
                            const Standing& standing, const LstmNetwork& network) {
  const ordered_json state = {{"epoch", standing.epoch},
                              {"best_epoch", standing.best_epoch},
                              {"best_loss", standing.best_loss},
                              {"last_loss", standing.last_loss}};
  models::TensorFile file;
  file.metadata = {{"run", key}, {"state", state.dump()}};
  Append("weights/", network.Weights(), file.tensors);
  Append("optimizer/", network.OptimizerState(), file.tensors);
  Append("best/", standing.best_weights, file.tensors);
  return models::WriteSafetensors(CheckpointPath(o.out), file).status();
}

// Leaves `standing` at the start when there is no checkpoint.
absl::Status LoadCheckpoint(const LstmTrainOptions& o, const std::string& key, Standing& standing,
                            LstmNetwork& network) {
  const std::string path = CheckpointPath(o.out);
  if (o.fresh || !std::filesystem::exists(path)) return absl::OkStatus();
  const auto file = models::ReadSafetensors(path);
  if (!file.ok()) return file.status();
  const auto run = file->metadata.find("run");
  const auto text = file->metadata.find("state");
  if (run == file->metadata.end() || run->second != key) {
    return absl::FailedPreconditionError(fmt::format(
        "{} is of another run ({}), this one is ({}): start with --fresh, or name another folder",
        path, run == file->metadata.end() ? "unknown" : run->second, key));
  }
  const auto state = text == file->metadata.end()
                         ? ordered_json()
                         : ordered_json::parse(text->second, nullptr, false);
  for (const char* field : {"epoch", "best_epoch", "best_loss", "last_loss"}) {
    if (!state.is_object() || !state.contains(field) || !state[field].is_number()) {
      return absl::DataLossError(fmt::format("{}: {} is missing: start with --fresh", path, field));
    }
  }
  absl::Status status = network.SetWeights(Take("weights/", file->tensors));
  if (status.ok()) status = network.SetOptimizerState(Take("optimizer/", file->tensors));
  if (!status.ok()) {
    return absl::DataLossError(fmt::format("{}: {}", path, std::string(status.message())));
  }
  standing = {state["epoch"], state["best_epoch"], state["best_loss"], state["last_loss"],
              Take("best/", file->tensors)};
  return absl::OkStatus();
}

// Rewrites the log without lines past the epoch that training resumes from.
absl::Status OpenLog(const LstmTrainOptions& o, int epochs_done, std::ofstream& log) {
  constexpr const char* kHeader = "epoch,learning_rate,train_loss,validation_loss,best_loss";
  std::string kept = std::string(kHeader) + "\n";
  std::ifstream old(LogPath(o.out));
  std::string line;
  for (int i = 0; i <= epochs_done && std::getline(old, line); ++i) {
    if (i > 0) kept += line + "\n";
  }
  old.close();
  log.open(LogPath(o.out), std::ios::trunc);
  log << kept << std::flush;
  if (!log) return absl::UnavailableError(fmt::format("{}: cannot write", LogPath(o.out)));
  return absl::OkStatus();
}

class Run {
 public:
  Run(std::span<const SeriesSet> sets, const LstmTrainOptions& options, std::string key,
      models::LstmCard card, std::unique_ptr<LstmNetwork> network, std::vector<Teacher> teachers,
      const std::function<void(const TrainProgress&)>& progress)
      : options_(options),
        key_(std::move(key)),
        card_(std::move(card)),
        source_(sets, card_.applications,
                {card_.spec, options.window_steps, options.scored_steps, options.validation_share}),
        network_(std::move(network)),
        teachers_(std::move(teachers)),
        progress_(progress) {}

  absl::StatusOr<models::LstmCard> Go() {
    std::error_code error;
    std::filesystem::create_directories(options_.out, error);
    if (error) {
      return absl::UnavailableError(
          fmt::format("{}: cannot make it: {}", options_.out, error.message()));
    }
    absl::Status status = LoadCheckpoint(options_, key_, standing_, *network_);
    if (status.ok()) status = ExpectSameEpoch();
    if (status.ok()) status = DrawValidation();
    std::ofstream log;
    if (status.ok() && IsFirst()) status = OpenLog(options_, standing_.epoch, log);
    resumed_ = standing_.epoch > 0;
    while (status.ok() && standing_.epoch < options_.epochs_max &&
           standing_.epoch - standing_.best_epoch < options_.patience_epochs) {
      status = OneEpoch(log);
      if (status.ok() && IsFirst()) status = SaveCheckpoint(options_, key_, standing_, *network_);
    }
    if (!status.ok()) return status;
    card_.training.epochs = standing_.epoch;
    card_.training.best_epoch = standing_.best_epoch;
    card_.training.validation_loss = standing_.best_loss;
    if (IsFirst()) status = models::SaveLstm(options_.out, card_, standing_.best_weights);
    if (!status.ok()) return status;
    return card_;
  }

 private:
  int rank() const { return options_.group != nullptr ? options_.group->rank() : 0; }
  int ranks() const { return options_.group != nullptr ? options_.group->size() : 1; }
  bool IsFirst() const { return rank() == 0; }

  // Ranks that began at different epochs would train different networks.
  absl::Status ExpectSameEpoch() const {
    if (options_.group == nullptr) return absl::OkStatus();
    std::vector<float> epochs(static_cast<size_t>(ranks()));
    epochs[rank()] = static_cast<float>(standing_.epoch);
    if (absl::Status status = options_.group->Sum(epochs); !status.ok()) return status;
    for (int other = 0; other < ranks(); ++other) {
      if (epochs[other] == epochs[0]) continue;
      return absl::FailedPreconditionError(
          fmt::format("{}: rank 0 finds epoch {} there and rank {} finds {}: all ranks must see "
                      "one folder",
                      options_.out, epochs[0], other, epochs[other]));
    }
    return absl::OkStatus();
  }

  absl::Status DrawValidation() {
    validation_.resize(kValidationBatches);
    for (int i = 0; i < kValidationBatches; ++i) {
      if (!source_.Draw(Part::kValidation, options_.batch_sequences, kValidationSeed + i,
                        validation_[i])) {
        return absl::InvalidArgumentError(fmt::format(
            "the latest {} of the traces, kept for validation, holds too little that varies: give "
            "longer traces or a larger validation_share",
            options_.validation_share));
      }
    }
    return absl::OkStatus();
  }

  absl::StatusOr<double> ValidationLoss() const {
    double sum = 0;
    for (const SequenceBatch& batch : validation_) {
      const auto loss = network_->Loss(batch.batch, batch.targets);
      if (!loss.ok()) return loss.status();
      sum += *loss;
    }
    if (options_.group == nullptr) return sum / kValidationBatches;
    // The ranks' own figures may differ in the last digit; when to stop, they must agree on.
    std::array mean = {static_cast<float>(sum / kValidationBatches / ranks())};
    if (absl::Status status = options_.group->Sum(mean); !status.ok()) return status;
    return mean[0];
  }

  absl::Status AskTeacher(int64_t number, SequenceBatch& batch) {
    if (teachers_.empty()) return absl::OkStatus();
    const Teacher& teacher = teachers_[number % std::ssize(teachers_)];
    std::vector<int64_t> applications;
    for (const int64_t row : batch.applications) applications.push_back(teacher.applications[row]);
    models::LstmBatch asked = batch.batch;
    asked.applications = applications;
    taught_.resize(static_cast<size_t>(batch.batch.scored * batch.batch.sequences *
                                       card_.spec.horizon_steps * models::kQuantiles));
    batch.targets.taught = taught_;
    return teacher.network->Forecast(asked, taught_);
  }

  absl::Status OneEpoch(std::ofstream& log) {
    const int64_t first = static_cast<int64_t>(standing_.epoch) * options_.epoch_batches;
    double sum = 0;
    SequenceBatch batch;
    network_->BeginEpoch();
    for (int i = 0; i < options_.epoch_batches; ++i) {
      const uint64_t seed =
          options_.seed * 1'000'003 + static_cast<uint64_t>((first + i) * ranks() + rank());
      if (!source_.Draw(Part::kTraining, options_.batch_sequences, seed, batch)) {
        return absl::InvalidArgumentError("the traces hold too little that varies");
      }
      if (absl::Status status = AskTeacher(first + i, batch); !status.ok()) return status;
      const auto loss = network_->TrainStep(batch.batch, batch.targets,
                                            LearningRate(options_, first + i), options_.group);
      if (!loss.ok()) return loss.status();
      if (!std::isfinite(*loss)) {
        return absl::InternalError(
            fmt::format("the loss became {} in epoch {}: lower "
                        "learning_rate from {}",
                        *loss, standing_.epoch + 1, options_.learning_rate));
      }
      sum += *loss;
      progress_({standing_.epoch + 1, options_.epochs_max, i + 1, options_.epoch_batches,
                 sum / (i + 1), standing_.last_loss, standing_.best_loss, resumed_});
    }
    const auto loss = ValidationLoss();
    if (!loss.ok()) return loss.status();
    ++standing_.epoch;
    standing_.last_loss = *loss;
    if (!(standing_.best_loss <= *loss)) {
      standing_.best_loss = *loss;
      standing_.best_epoch = standing_.epoch;
      standing_.best_weights = network_->Weights();
    }
    if (!IsFirst()) return absl::OkStatus();
    log << fmt::format("{},{:.6g},{:.6f},{:.6f},{:.6f}\n", standing_.epoch,
                       LearningRate(options_, first + options_.epoch_batches - 1),
                       sum / options_.epoch_batches, *loss, standing_.best_loss)
        << std::flush;
    return log ? absl::OkStatus()
               : absl::UnavailableError(fmt::format("{}: cannot write", LogPath(options_.out)));
  }

  const LstmTrainOptions& options_;
  const std::string key_;  // of its checkpoints
  models::LstmCard card_;
  SequenceSource source_;
  std::unique_ptr<LstmNetwork> network_;
  std::vector<Teacher> teachers_;
  std::vector<float> taught_;  // what one of them says of the batch at hand
  const std::function<void(const TrainProgress&)>& progress_;
  std::vector<SequenceBatch> validation_;
  Standing standing_;
  bool resumed_ = false;
};

}  // namespace

absl::StatusOr<models::LstmCard> TrainLstm(
    std::span<const SeriesSet> sets, const LstmTrainOptions& options,
    const std::function<void(const TrainProgress&)>& progress) {
  if (absl::Status status = Check(sets, options); !status.ok()) return status;
  const models::LstmCard card = NewCard(sets, options);
  auto network = LstmNetwork::Create(card.shape(), options.seed, options.threads, options.device);
  if (!network.ok()) return network.status();
  std::string key = RunKey(options, card);
  if (!options.start.empty()) {
    const auto start = BeginAs(options.start, card, **network);
    if (!start.ok()) return start.status();
    key += " start " + *start;
  }
  auto teachers = LoadTeachers(options.teachers, card, options.threads, options.device);
  if (!teachers.ok()) return teachers.status();
  for (const Teacher& teacher : *teachers) key += " teacher " + teacher.weights_sha256;
  return Run(sets, options, key, card, *std::move(network), *std::move(teachers), progress).Go();
}

}  // namespace foreshadow::training
