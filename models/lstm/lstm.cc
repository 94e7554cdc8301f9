#include "models/lstm/lstm.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <filesystem>
#include <mutex>
#include <numeric>

#include "models/empirical.h"
#include "models/parallel.h"

namespace foreshadow::models {
namespace {

constexpr int kChunkSeries = 256;  // one task: small enough to share, large enough for the matrix
                                   // products
constexpr int64_t kCardBytesMax = 1 << 20;

std::string CardPath(const std::string& folder) { return folder + "/card.json"; }
std::string WeightsPath(const std::string& folder) { return folder + "/weights.safetensors"; }

absl::Status InFile(const std::string& path, const absl::Status& status) {
  return absl::Status(status.code(), fmt::format("{}: {}", path, std::string(status.message())));
}

// The arrays of one chunk, reused from chunk to chunk by one thread.
struct Chunk {
  std::vector<int64_t> columns;  // of the history: the chunk's, then drivers from outside it
  std::vector<Driver> drivers;   // [column]
  std::vector<int64_t> signals;  // [series of the chunk]
  std::vector<int64_t> applications;
  std::vector<float> samples;  // [column] of one step
  std::vector<float> features;
  std::vector<float> candidates;
  std::vector<float> spreads;
  std::vector<float> levels;
  std::vector<float> scales;
  std::vector<float> quantiles;
};

class Lstm : public Forecaster {
 public:
  Lstm(const LstmCard& card, std::shared_ptr<const LstmNetwork> network, int threads)
      : card_(card), network_(std::move(network)), threads_(threads) {}

  std::string_view name() const override { return "lstm"; }
  int version() const override { return card_.registry_version; }

  int MaxSteps(int64_t step_ms) const override {
    return step_ms == card_.spec.step_ms ? card_.spec.horizon_steps : 0;
  }

  absl::Status Forecast(const History& history, int steps, QuantileBlock& out) const override {
    if (MaxSteps(history.step_ms) == 0) {
      return absl::InvalidArgumentError(fmt::format("step_ms is {}: this model was trained at {}",
                                                    history.step_ms, card_.spec.step_ms));
    }
    absl::Status status = CheckHistory(history, steps, card_.spec.horizon_steps);
    if (!status.ok()) return status;
    out.Resize(history.values.series, steps);
    std::mutex mutex;
    std::vector<Chunk> chunks(static_cast<size_t>(threads_));
    const std::vector<int64_t> applications = Applications(history);
    ForChunks(out.series, kChunkSeries, threads_, [&](int64_t first, int64_t, int worker) {
      const absl::Status done = ForecastChunk(history, applications, first, chunks[worker], out);
      if (done.ok()) return;
      const std::lock_guard lock(mutex);
      status = done;
    });
    return status;
  }

 private:
  // [series] row of the application's embedding; 0 = unknown, or not one that training saw.
  std::vector<int64_t> Applications(const History& history) const {
    std::vector<int64_t> rows(static_cast<size_t>(history.values.series), 0);
    if (history.applications.empty()) return rows;
    std::vector<int64_t> row_of_name;
    for (const std::string& name : history.application_names) {
      const auto found = std::ranges::find(card_.applications, name);
      row_of_name.push_back(
          found == card_.applications.end() ? 0 : found - card_.applications.begin() + 1);
    }
    for (size_t s = 0; s < rows.size(); ++s) {
      if (history.applications[s] >= 0) rows[s] = row_of_name[history.applications[s]];
    }
    return rows;
  }

  absl::Status ForecastChunk(const History& history, std::span<const int64_t> applications,
                             int64_t first, Chunk& chunk, QuantileBlock& out) const {
    const int64_t sequences = std::min<int64_t>(kChunkSeries, out.series - first);
    PickColumns(history, first, sequences, chunk);
    chunk.signals.clear();
    for (int64_t i = 0; i < sequences; ++i) {
      chunk.signals.push_back(static_cast<int64_t>(history.signals[first + i]));
    }
    const FeatureState state = Describe(history, chunk);
    const int64_t steps = std::min<int64_t>(card_.window_steps, history.values.steps);
    const LstmBatch batch{steps,
                          sequences,
                          state.width,
                          /*scored=*/1,
                          /*stride=*/1,
                          chunk.features,
                          chunk.signals,
                          applications.subspan(static_cast<size_t>(first)),
                          chunk.candidates,
                          chunk.spreads};
    chunk.quantiles.resize(static_cast<size_t>(sequences * card_.spec.horizon_steps * kQuantiles));
    const absl::Status status = network_->Forecast(batch, chunk.quantiles);
    if (!status.ok()) return status;
    for (int64_t i = 0; i < sequences; ++i) {
      const ForecastStatus verdict = Judge(state, i);
      if (verdict == ForecastStatus::kOk) {
        Unscale(chunk, i, first + i, out);
      } else {
        WriteMissing(verdict, first + i, out);
      }
    }
    return absl::OkStatus();
  }

  static void PickColumns(const History& history, int64_t first, int64_t sequences, Chunk& chunk) {
    chunk.columns.resize(static_cast<size_t>(sequences));
    std::iota(chunk.columns.begin(), chunk.columns.end(), first);
    chunk.drivers.assign(chunk.columns.size(), Driver{});
    if (history.drivers.empty()) return;
    for (int64_t i = 0; i < sequences; ++i) {
      Driver driver = history.drivers[first + i];
      if (driver.series < 0) continue;
      const int64_t column = driver.series;
      const bool inside = column >= first && column < first + sequences;
      driver.series = static_cast<int32_t>(inside ? column - first : std::ssize(chunk.columns));
      if (!inside) chunk.columns.push_back(column);
      chunk.drivers[i] = driver;
    }
    chunk.drivers.resize(chunk.columns.size());
  }

  // Runs through the whole history; what the network sees of the window is left in the chunk.
  FeatureState Describe(const History& history, Chunk& chunk) const {
    const int64_t length = history.values.steps;
    const std::array start_ms = {history.end_ms - length * history.step_ms};
    FeatureState state = NewFeatureState(card_.spec, std::ssize(chunk.columns), start_ms);
    const int64_t steps = std::min<int64_t>(card_.window_steps, length);
    chunk.samples.resize(chunk.columns.size());
    chunk.features.resize(static_cast<size_t>(steps * kFeatures * state.width));
    chunk.candidates.resize(
        static_cast<size_t>(card_.spec.horizon_steps * kCandidates * state.width));
    chunk.spreads.resize(static_cast<size_t>(kSpreads * state.width));
    chunk.levels.resize(static_cast<size_t>(state.width));
    chunk.scales.resize(static_cast<size_t>(state.width));
    for (int64_t t = 0; t < length; ++t) {
      for (size_t i = 0; i < chunk.columns.size(); ++i) {
        chunk.samples[i] = history.values.at(t, chunk.columns[i]);
      }
      Advance(state, chunk.samples);
      const int64_t seen = t - (length - steps);
      if (seen < 0) continue;
      FeatureOutput output;
      output.features = chunk.features.data() + seen * kFeatures * state.width;
      if (t == length - 1) {
        output.candidates = chunk.candidates.data();
        output.spreads = chunk.spreads.data();
        output.levels = chunk.levels.data();
        output.scales = chunk.scales.data();
        output.steps = card_.spec.horizon_steps;
      }
      models::Describe(state, chunk.drivers, output);
    }
    return state;
  }

  void Unscale(const Chunk& chunk, int64_t sequence, int64_t series, QuantileBlock& out) const {
    const float* scaled = chunk.quantiles.data() + sequence * card_.spec.horizon_steps * kQuantiles;
    for (int step = 0; step < out.steps; ++step, scaled += kQuantiles) {
      Offsets offsets;
      for (int q = 0; q < kQuantiles; ++q) offsets[q] = scaled[q] * chunk.scales[sequence];
      WriteQuantiles(chunk.levels[sequence], offsets, out.at(series, step));
    }
  }

  LstmCard card_;
  std::shared_ptr<const LstmNetwork> network_;
  int threads_;
};

}  // namespace

std::shared_ptr<const Forecaster> MakeLstm(const LstmCard& card,
                                           std::shared_ptr<const LstmNetwork> network,
                                           int threads) {
  return std::make_shared<Lstm>(card, std::move(network), ThreadCount(threads));
}

absl::StatusOr<LstmCard> LoadLstmCard(const std::string& folder) {
  const auto text = ReadWholeFile(CardPath(folder), kCardBytesMax);
  if (!text.ok()) return text.status();
  auto card = CardFromJson(*text);
  if (!card.ok()) return InFile(CardPath(folder), card.status());
  return card;
}

absl::StatusOr<std::shared_ptr<const Forecaster>> LoadLstm(const std::string& folder, int threads,
                                                           int version) {
  auto card = LoadLstmCard(folder);
  if (!card.ok()) return card.status();
  card->registry_version = version;
  const auto file = ReadSafetensors(WeightsPath(folder));
  if (!file.ok()) return file.status();
  // Torch gets one thread: the chunks are shared out among ours.
  auto network = LstmNetwork::Create(card->shape(), card->training.seed, /*threads=*/1);
  if (!network.ok()) return network.status();
  const absl::Status status = (*network)->SetWeights(file->tensors);
  if (!status.ok()) return InFile(WeightsPath(folder), status);
  return MakeLstm(*card, *std::move(network), threads);
}

absl::Status SaveLstm(const std::string& folder, const LstmCard& card,
                      const std::vector<Tensor>& weights) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    return absl::UnavailableError(fmt::format("{}: cannot make it: {}", folder, error.message()));
  }
  const TensorFile file{weights, {{"format", "pt"}}};
  const absl::Status status = WriteSafetensors(WeightsPath(folder), file);
  if (!status.ok()) return status;
  return SaveLstmCard(folder, card);
}

absl::Status SaveLstmCard(const std::string& folder, const LstmCard& card) {
  return ReplaceFile(CardPath(folder), CardToJson(card));
}

}  // namespace foreshadow::models
