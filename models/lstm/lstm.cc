#include "models/lstm/lstm.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <limits>
#include <mutex>

#include "models/empirical.h"
#include "models/parallel.h"

namespace foreshadow::models {
namespace {

constexpr int kChunkSeries = 256;  // one task: small enough to share, large enough for the matrix
                                   // products
constexpr int64_t kSilenceMs = 3'600'000;
constexpr int64_t kCardBytesMax = 1 << 20;

std::string CardPath(const std::string& folder) { return folder + "/card.json"; }
std::string WeightsPath(const std::string& folder) { return folder + "/weights.safetensors"; }

absl::Status InFile(const std::string& path, const absl::Status& status) {
  return absl::Status(status.code(), fmt::format("{}: {}", path, std::string(status.message())));
}

// Whether a series can be answered: its samples among the last `memory` steps, newest last.
ForecastStatus Judge(std::span<const float> samples, int64_t memory, int64_t step_ms) {
  int64_t last = -1;
  int64_t count = 0;
  bool any = false;
  for (int64_t t = 0; t < std::ssize(samples); ++t) {
    if (std::isnan(samples[t])) continue;
    any = true;
    last = t;
    count += t >= std::ssize(samples) - memory;
  }
  if (!any) return ForecastStatus::kNoHistory;
  const int64_t silent_ms = (std::ssize(samples) - 1 - last) * step_ms;
  return count < kSamplesMin || silent_ms > kSilenceMs ? ForecastStatus::kCannot
                                                       : ForecastStatus::kOk;
}

// The arrays of one chunk, reused from chunk to chunk by one thread.
struct Chunk {
  std::vector<float> columns;   // [series][steps] samples of the chunk
  std::vector<int64_t> series;  // of the history, those that can be answered
  std::vector<int64_t> signals;
  std::vector<float> features;
  std::vector<float> candidates;
  std::vector<float> spreads;
  std::vector<SequenceRows> rows;
  std::vector<float> quantiles;
};

class Lstm : public Forecaster {
 public:
  Lstm(const LstmCard& card, std::shared_ptr<const LstmNetwork> network, int threads)
      : card_(card), network_(std::move(network)), threads_(threads) {}

  std::string_view name() const override { return "lstm"; }

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
    ForChunks(out.series, kChunkSeries, threads_, [&](int64_t first, int64_t, int worker) {
      const absl::Status done = ForecastChunk(history, first, chunks[worker], out);
      if (done.ok()) return;
      const std::lock_guard lock(mutex);
      status = done;
    });
    return status;
  }

 private:
  absl::Status ForecastChunk(const History& history, int64_t first, Chunk& chunk,
                             QuantileBlock& out) const {
    Gather(history, first, chunk, out);
    const auto sequences = static_cast<int64_t>(chunk.series.size());
    if (sequences == 0) return absl::OkStatus();
    const int64_t steps = std::min<int64_t>(card_.window_steps, history.values.steps);
    Describe(history, first, steps, chunk);
    const LstmBatch batch{
        steps, sequences, 1, chunk.features, chunk.signals, chunk.candidates, chunk.spreads};
    chunk.quantiles.resize(static_cast<size_t>(sequences * card_.spec.horizon_steps * kQuantiles));
    const absl::Status status = network_->Forecast(batch, chunk.quantiles);
    if (status.ok()) Unscale(chunk, out);
    return status;
  }

  // Columns of the chunk, row by row so that each cache line is read once, and the verdict on each.
  void Gather(const History& history, int64_t first, Chunk& chunk, QuantileBlock& out) const {
    const int64_t length = history.values.steps;
    const int64_t width = std::min<int64_t>(kChunkSeries, out.series - first);
    chunk.columns.resize(static_cast<size_t>(width * length));
    for (int64_t t = 0; t < length; ++t) {
      for (int64_t i = 0; i < width; ++i) {
        const float value = history.values.at(t, first + i);
        chunk.columns[i * length + t] =
            std::isfinite(value) ? value : std::numeric_limits<float>::quiet_NaN();
      }
    }
    chunk.series.clear();
    chunk.signals.clear();
    for (int64_t i = 0; i < width; ++i) {
      const std::span samples(chunk.columns.data() + i * length, static_cast<size_t>(length));
      const ForecastStatus status = Judge(samples, kMemorySteps, history.step_ms);
      if (status != ForecastStatus::kOk) {
        WriteMissing(status, first + i, out);
        continue;
      }
      chunk.series.push_back(first + i);
      chunk.signals.push_back(static_cast<int64_t>(history.signals[first + i]));
    }
  }

  void Describe(const History& history, int64_t first, int64_t steps, Chunk& chunk) const {
    const auto sequences = std::ssize(chunk.series);
    const int64_t length = history.values.steps;
    const int64_t outputs = static_cast<int64_t>(card_.spec.horizon_steps) * kCandidates;
    chunk.features.resize(static_cast<size_t>(steps * sequences * kFeatures));
    chunk.candidates.resize(static_cast<size_t>(sequences * outputs));
    chunk.spreads.resize(static_cast<size_t>(sequences * kSpreads));
    chunk.rows.resize(static_cast<size_t>(sequences));
    for (int64_t i = 0; i < sequences; ++i) {
      SequenceRows& rows = chunk.rows[i];
      rows.features = chunk.features.data() + i * kFeatures;
      rows.features_stride = sequences * kFeatures;
      rows.candidates = chunk.candidates.data() + i * outputs;
      rows.candidates_stride = sequences * outputs;
      rows.spreads = chunk.spreads.data() + i * kSpreads;
      rows.spreads_stride = sequences * kSpreads;
      const std::span samples(chunk.columns.data() + (chunk.series[i] - first) * length,
                              static_cast<size_t>(length));
      BuildFeatures(card_.spec, samples, history.end_ms, length - steps, 1, rows);
    }
  }

  void Unscale(const Chunk& chunk, QuantileBlock& out) const {
    for (size_t i = 0; i < chunk.series.size(); ++i) {
      const float* scaled = chunk.quantiles.data() + i * card_.spec.horizon_steps * kQuantiles;
      for (int step = 0; step < out.steps; ++step, scaled += kQuantiles) {
        Offsets offsets;
        for (int q = 0; q < kQuantiles; ++q) offsets[q] = scaled[q] * chunk.rows[i].scales[0];
        WriteQuantiles(chunk.rows[i].levels[0], offsets, out.at(chunk.series[i], step));
      }
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

absl::StatusOr<std::shared_ptr<const Forecaster>> LoadLstm(const std::string& folder, int threads) {
  const auto card = LoadLstmCard(folder);
  if (!card.ok()) return card.status();
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
