#include "training/train/train_command.h"

#include <fmt/core.h>

#include <algorithm>
#include <charconv>
#include <cmath>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/level/level.h"
#include "models/lstm/lstm.h"
#include "models/registry.h"
#include "training/backtest/backtest.h"
#include "training/command.h"
#include "training/model/model_command.h"
#include "training/router/train_command.h"
#include "training/train/lstm_trainer.h"
#include "training/train/progress_bar.h"
#include "training/train/series_set.h"

namespace foreshadow::training {
namespace {

struct LstmArguments {
  std::vector<std::string> traces;
  std::string device = "auto";
  LstmTrainOptions train;
  std::string registry;
  bool json = false;
};

std::string NameOf(const std::string& path) {
  return std::filesystem::path(path).filename().string();
}

// The command that makes the same model again, for its card; where the files were is nobody's
// business.
std::string CommandLine(const LstmArguments& a) {
  std::string line = "foreshadow train lstm";
  for (const std::string& trace : a.traces) line += " " + NameOf(trace);
  const LstmTrainOptions& o = a.train;
  if (!o.start.empty()) line += " --start " + o.start;
  for (const std::string& teacher : o.teachers) line += " --teacher " + teacher;
  return line +
         fmt::format(
             " --out {} --horizon {} --hidden {} --layers {} --window {} --scored {} --batch {} "
             "--epoch-batches {} --epochs {} --patience {} --learning-rate {} --validation "
             "{} --seed {} --threads {}",
             o.out, o.horizon_steps, o.hidden, o.layers, o.window_steps, o.scored_steps,
             o.batch_sequences, o.epoch_batches, o.epochs_max, o.patience_epochs, o.learning_rate,
             o.validation_share, o.seed, o.threads);
}

double ShortScore(const models::LstmCard& card, const std::string& model) {
  return card.scores.at(
      fmt::format("mase.{}.all.1-{}", model, std::min(3, card.spec.horizon_steps)));
}

void PrintResult(const LstmArguments& a, const models::LstmCard& card) {
  const models::TrainingRecord& t = card.training;
  if (a.json) {
    const nlohmann::ordered_json json = {{"model", a.train.out},
                                         {"series", t.series},
                                         {"step_ms", card.spec.step_ms},
                                         {"horizon_steps", card.spec.horizon_steps},
                                         {"epochs", t.epochs},
                                         {"best_epoch", t.best_epoch},
                                         {"validation_loss", t.validation_loss},
                                         {"fingerprint", t.fingerprint},
                                         {"seed", t.seed},
                                         {"scores", card.scores}};
    fmt::print("{}\n", json.dump(2));
    return;
  }
  fmt::print(
      "{}: learned from {} series, {} epochs; the best, {}, has a validation loss of {:.4f}\n"
      "On the part kept for validation, 1 to 3 steps ahead: MASE {:.3f}, last value's {:.3f}\n"
      "weights.safetensors, card.json, and training.csv with each epoch's losses, are there.\n",
      a.train.out, t.series, t.epochs, t.best_epoch, t.validation_loss, ShortScore(card, "lstm"),
      ShortScore(card, "last-value"));
}

// Scores the new model beside last value on the latest part of the first set, which chose its best
// epoch, into its card.
absl::Status AddScores(const SeriesSet& set, const LstmArguments& a, models::LstmCard& card) {
  auto lstm = models::LoadLstm(a.train.out, a.train.threads);
  if (!lstm.ok()) return lstm.status();
  BacktestOptions options;
  options.first_step =
      set.steps - static_cast<int64_t>(static_cast<double>(set.steps) * a.train.validation_share);
  options.horizon_steps = std::min(card.spec.horizon_steps, card.spec.hour_steps());
  options.stride_steps = options.horizon_steps;
  ProgressBar bar("scores");
  const auto result =
      Backtest(set, {*lstm, models::MakeLevel(models::LevelKind::kLastValue)}, options,
               [&bar](int64_t done, int64_t total) { bar.Show(done, total, "validation part"); });
  if (!result.ok()) return result.status();
  for (const auto& [first, last] : {std::pair{1, std::min(3, options.horizon_steps)},
                                    std::pair{options.horizon_steps, options.horizon_steps}}) {
    for (const Score& s : Summarize(*result, first, last)) {
      const std::string place = fmt::format("{}.{}.{}-{}", s.model, s.signal, first, last);
      card.scores["mase." + place] = s.mase;
      card.scores["crps." + place] = s.crps;
      card.scores["coverage_80." + place] = s.coverage_80;
    }
  }
  return models::SaveLstmCard(a.train.out, card);
}

// A whole number out of the environment; `otherwise` where the variable is not set.
absl::StatusOr<int> FromEnvironment(const char* name, int min, int max, int otherwise) {
  const char* text = std::getenv(name);
  if (text == nullptr) return otherwise;
  int value = 0;
  const char* end = text + std::strlen(text);
  const auto [rest, error] = std::from_chars(text, end, value);
  if (error != std::errc() || rest != end || value < min || value > max) {
    return absl::InvalidArgumentError(
        fmt::format("{} is '{}': allowed is {} to {}", name, text, min, max));
  }
  return value;
}

// The group that torchrun's environment variables tell of; null = this process is alone.
absl::StatusOr<std::unique_ptr<models::ProcessGroup>> JoinGroup() {
  constexpr int kRanksMax = 4'096;
  const auto size = FromEnvironment("WORLD_SIZE", 1, kRanksMax, 1);
  if (!size.ok()) return size.status();
  if (*size == 1) return nullptr;
  const auto rank = FromEnvironment("RANK", 0, *size - 1, -1);
  if (!rank.ok()) return rank.status();
  const auto port = FromEnvironment("MASTER_PORT", 1, 65'535, -1);
  if (!port.ok()) return port.status();
  const char* host = std::getenv("MASTER_ADDR");
  if (host == nullptr || *rank < 0 || *port < 0) {
    return absl::InvalidArgumentError(
        "WORLD_SIZE is above 1: RANK, MASTER_ADDR and MASTER_PORT are needed as well");
  }
  return models::ProcessGroup::Join({*rank, *size, host, *port});
}

absl::StatusOr<models::Device> ChooseDevice(const std::string& name) {
  const bool has_gpu = models::LstmNetwork::HasGpu();
  if (name == "gpu" && !has_gpu) {
    return absl::FailedPreconditionError("device is gpu: torch finds none here");
  }
  return name == "cpu" || !has_gpu ? models::Device::kCpu : models::Device::kGpu;
}

// What is not said otherwise is as in the model that it begins as.
absl::Status TakeShape(const CLI::App& command, LstmTrainOptions& o) {
  const auto card = models::LoadLstmCard(o.start);
  if (!card.ok()) return card.status();
  const auto take = [&](const char* option, int& value, int of_card) {
    if (command.count(option) == 0) value = of_card;
  };
  take("--horizon", o.horizon_steps, card->spec.horizon_steps);
  take("--window", o.window_steps, card->window_steps);
  take("--hidden", o.hidden, card->hidden);
  take("--layers", o.layers, card->layers);
  return absl::OkStatus();
}

absl::Status RunLstm(const CLI::App& command, LstmArguments& a) {
  if (!a.train.start.empty()) {
    if (absl::Status status = TakeShape(command, a.train); !status.ok()) return status;
  }
  const auto device = ChooseDevice(a.device);
  if (!device.ok()) return device.status();
  a.train.device = *device;
  const auto group = JoinGroup();
  if (!group.ok()) return group.status();
  a.train.group = group->get();
  const auto sets = ReadSeriesSets(a.traces);
  if (!sets.ok()) return sets.status();
  for (const std::string& trace : a.traces) {
    a.train.trace +=
        (a.train.trace.empty() ? "" : ", ") + std::filesystem::path(trace).filename().string();
  }
  a.train.command = CommandLine(a);
  ProgressBar bar("train lstm");
  auto card = TrainLstm(*sets, a.train, [&bar](const TrainProgress& p) {
    std::string note = fmt::format("epoch {}/{}  loss {:.4f}", p.epoch, p.epochs_max, p.train_loss);
    if (!std::isnan(p.validation_loss)) {
      note += fmt::format("  validation {:.4f}, best {:.4f}", p.validation_loss, p.best_loss);
    }
    const int64_t epochs_done = p.epoch - 1;
    bar.Show(epochs_done * p.epoch_batches + p.batch,
             static_cast<int64_t>(p.epochs_max) * p.epoch_batches, note);
  });
  if (!card.ok()) return card.status();
  if (*group != nullptr && (*group)->rank() > 0) return absl::OkStatus();
  absl::Status status = AddScores(sets->front(), a, *card);
  if (!status.ok()) return status;
  PrintResult(a, *card);
  if (a.registry.empty()) return absl::OkStatus();
  return models::AddModel(a.registry, a.train.out, MakeNote("train lstm")).status();
}

void AddLstm(CLI::App& train) {
  auto arguments = std::make_shared<LstmArguments>();
  LstmTrainOptions& o = arguments->train;
  CLI::App& command = *train.add_subcommand(
      "lstm",
      "Train the LSTM on traces. One that goes on where the one before it ended, with the same\n"
      "accounts, continues it; any other is learned from beside it.\n"
      "Started several times with RANK, WORLD_SIZE, MASTER_ADDR and MASTER_PORT set, as torchrun\n"
      "does, the processes train one model together.\n"
      "Killed, it goes on from its last epoch when the same command is run again.");
  command.add_option("trace", arguments->traces, "Trace CSV, may be gzipped")
      ->required()
      ->check(CLI::ExistingFile);
  command.add_option("--out", o.out, "Folder for the model, its log and its checkpoint")
      ->required();
  command.add_option(
      "--registry", arguments->registry,
      "Model registry that gets the result as its candidate, see `foreshadow model`");
  command.add_option("--horizon", o.horizon_steps, "Steps to forecast; 0 = an hour")
      ->capture_default_str()
      ->check(CLI::Range(0, models::kHorizonStepsMaxLstm));
  command.add_option("--hidden", o.hidden, "Width of the network")->capture_default_str();
  command.add_option("--layers", o.layers, "Layers of the LSTM")->capture_default_str();
  command.add_option("--window", o.window_steps, "Steps of history it sees")->capture_default_str();
  command.add_option("--scored", o.scored_steps, "Steps of a sequence that are learned from")
      ->capture_default_str();
  command.add_option("--batch", o.batch_sequences, "Sequences a batch")->capture_default_str();
  command.add_option("--epoch-batches", o.epoch_batches, "Batches an epoch")->capture_default_str();
  command.add_option("--epochs", o.epochs_max, "Epochs at most")->capture_default_str();
  command.add_option("--patience", o.patience_epochs, "Stop after so many epochs without gain")
      ->capture_default_str();
  command.add_option("--learning-rate", o.learning_rate, "Its peak")->capture_default_str();
  command
      .add_option("--validation", o.validation_share,
                  "Share of the time, the latest, that is "
                  "kept to choose the best epoch")
      ->capture_default_str();
  command.add_option("--seed", o.seed, "The same seed and data give the same model")
      ->capture_default_str();
  command
      .add_option(
          "--start", o.start,
          "Folder of a trained model to begin as, such as the one that comes with the program;\n"
          "horizon and widths are its own. It learns on, with a lower --learning-rate")
      ->check(CLI::ExistingDirectory);
  command
      .add_option(
          "--teacher", o.teachers,
          "Folder of a trained model to learn from as well, of the same steps; of several,\n"
          "such as of other seeds or wider ones, each teaches a batch in turn")
      ->check(CLI::ExistingDirectory)
      ->allow_extra_args(false);
  command
      .add_option("--threads", o.threads,
                  "For matrix products; more than 1 pay off for wide networks only")
      ->capture_default_str();
  command.add_option("--device", arguments->device, "auto takes the GPU where there is one")
      ->capture_default_str()
      ->check(CLI::IsMember({"auto", "cpu", "gpu"}));
  command.add_flag("--fresh", o.fresh, "Start anew even where there is a checkpoint");
  command.add_flag("--json", arguments->json, "Print the result as JSON");
  SetRun(command, [&command, arguments] { return RunLstm(command, *arguments); });
}

}  // namespace

void AddTrain(CLI::App& app) {
  CLI::App& train =
      *app.add_subcommand("train", "Make models from traces, and the policy of the split");
  train.require_subcommand(1);
  AddLstm(train);
  router::AddTrainRouter(train);
}

}  // namespace foreshadow::training
