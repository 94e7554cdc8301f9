#include "models/lstm/lstm.h"

#include <fmt/core.h>

#include <algorithm>
#include <any>
#include <filesystem>
#include <utility>

#include "models/empirical.h"
#include "models/lstm/device.h"
#include "models/lstm/stream.h"
#include "models/means/means.h"
#include "models/parallel.h"

namespace foreshadow::models {
namespace {

constexpr int64_t kCardBytesMax = 1 << 20;

std::string CardPath(const std::string& folder) { return folder + "/card.json"; }
std::string WeightsPath(const std::string& folder) { return folder + "/weights.safetensors"; }

class Lstm : public Forecaster {
 public:
  Lstm(LstmRunner runner, int threads) : runner_(std::move(runner)), threads_(threads) {}

  std::string_view name() const override { return "lstm"; }
  int version() const override { return runner_.card.registry_version; }
  uint64_t fingerprint() const override { return runner_.fingerprint; }

  int MaxSteps(int64_t step_ms) const override {
    return step_ms == runner_.card.spec.step_ms ? runner_.card.spec.horizon_steps : 0;
  }

  absl::Status Forecast(const History& history, int steps, QuantileBlock& out) const override {
    absl::Status status = Check(history, steps);
    if (status.ok()) FollowLstm(runner_, history, steps, threads_, nullptr, out);
    return status;
  }

  bool carries() const override { return true; }

  absl::Status Continue(const History& history, int steps, std::any& carried,
                        QuantileBlock& out) const override {
    absl::Status status = Check(history, steps);
    if (!status.ok()) return status;
    if (std::any_cast<LstmState>(&carried) == nullptr) carried = LstmState{};
    FollowLstm(runner_, history, steps, threads_, std::any_cast<LstmState>(&carried), out);
    return status;
  }

  absl::Status Look(const History& history, int steps, std::any& carried,
                    QuantileBlock& out) const override {
    absl::Status status = Check(history, steps);
    if (!status.ok()) return status;
    auto* state = std::any_cast<LstmState>(&carried);
    if (state == nullptr) return Forecast(history, steps, out);
    LookLstm(runner_, history, steps, threads_, *state, out);
    return status;
  }

  bool continues_on_device() const override { return true; }

  // Intervals that divide the model's own, too, and horizons in steps of its own.
  absl::Status ContinueOn(const kernels::Ops& device, const History& history, int steps,
                          std::any& carried) const override {
    absl::Status status = CheckHistory(history, steps, runner_.card.spec.horizon_steps);
    if (!status.ok()) return status;
    if (std::any_cast<OnDevice>(&carried) == nullptr) {
      carried = std::make_shared<LstmDevice>(device);
    }
    return std::any_cast<OnDevice>(carried)->Follow(runner_, history, steps, /*threads=*/0);
  }

  void TakeAnswers(const std::any& carried, int64_t first, const History& part, int steps,
                   QuantileBlock& out) const override {
    const QuantileBlock& all = std::any_cast<const OnDevice&>(carried)->answers();
    out.Resize(part.values.series, steps);
    std::copy_n(all.at(first, 0).data(), out.values.size(), out.values.data());
    std::copy_n(all.status.begin() + first, out.series, out.status.begin());
  }

  std::string Save(const std::any& carried) const override {
    const auto* state = std::any_cast<LstmState>(&carried);
    return state == nullptr ? "" : SaveLstmState(*state);
  }

  absl::Status Restore(const std::string& bytes, std::any& carried) const override {
    LstmState state;
    absl::Status status = RestoreLstmState(runner_, bytes, state);
    if (status.ok()) carried = std::move(state);
    return status;
  }

 private:
  using OnDevice = std::shared_ptr<LstmDevice>;

  absl::Status Check(const History& history, int steps) const {
    if (MaxSteps(history.step_ms) == 0) {
      return absl::InvalidArgumentError(fmt::format("step_ms is {}: this model was trained at {}",
                                                    history.step_ms, runner_.card.spec.step_ms));
    }
    return CheckHistory(history, steps, runner_.card.spec.horizon_steps);
  }

  LstmRunner runner_;
  int threads_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const Forecaster>> MakeLstm(const LstmCard& card,
                                                           const std::vector<Tensor>& weights,
                                                           int threads) {
  auto runner = MakeLstmRunner(card, weights);
  if (!runner.ok()) return runner.status();
  return std::make_shared<const Lstm>(*std::move(runner), ThreadCount(threads));
}

absl::StatusOr<LstmCard> LoadLstmCard(const std::string& folder) {
  const auto text = ReadWholeFile(CardPath(folder), kCardBytesMax);
  if (!text.ok()) return text.status();
  auto card = CardFromJson(*text);
  if (!card.ok()) return InFile(CardPath(folder), card.status());
  return card;
}

absl::StatusOr<std::vector<Tensor>> LoadLstmWeights(const std::string& folder,
                                                    const LstmCard& card) {
  auto file = ReadSafetensors(WeightsPath(folder), card.weights_sha256);
  if (!file.ok()) return file.status();
  return std::move(file->tensors);
}

absl::StatusOr<std::shared_ptr<const Forecaster>> LoadLstm(const std::string& folder, int threads,
                                                           int version) {
  auto card = LoadLstmCard(folder);
  if (!card.ok()) return card.status();
  card->registry_version = version;
  const auto weights = LoadLstmWeights(folder, *card);
  if (!weights.ok()) return weights.status();
  auto lstm = MakeLstm(*card, *weights, threads);
  if (!lstm.ok()) return InFile(WeightsPath(folder), lstm.status());
  return OverMeans(*std::move(lstm), card->spec.step_ms);
}

absl::Status SaveLstm(const std::string& folder, LstmCard& card,
                      const std::vector<Tensor>& weights) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    return absl::UnavailableError(fmt::format("{}: cannot make it: {}", folder, error.message()));
  }
  const TensorFile file{weights, {{"format", "pt"}}};
  auto sha256 = WriteSafetensors(WeightsPath(folder), file);
  if (!sha256.ok()) return sha256.status();
  card.weights_sha256 = *std::move(sha256);
  return SaveLstmCard(folder, card);
}

absl::Status SaveLstmCard(const std::string& folder, const LstmCard& card) {
  return ReplaceFile(CardPath(folder), CardToJson(card));
}

}  // namespace foreshadow::models
