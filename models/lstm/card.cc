#include "models/lstm/card.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>

namespace foreshadow::models {
namespace {

using nlohmann::ordered_json;

constexpr const char* kFormat = "foreshadow-lstm";
constexpr int kVersion = 2;
constexpr const char* kScaling =
    "(value - level) / deviation; running mean of 72 steps' half-life and mean absolute deviation "
    "of 288";
constexpr std::array<const char*, kSignalKinds> kSignalNames = {"cpu", "memory", "network",
                                                                "storage", "mutation_rate"};

template <typename List>
ordered_json Strings(const List& list) {
  ordered_json strings = ordered_json::array();
  for (const auto& item : list) strings.push_back(std::string(item));
  return strings;
}

ordered_json Levels() {
  ordered_json levels = ordered_json::array();
  for (const float level : kQuantileLevels) levels.push_back(fmt::format("{}", level));
  return levels;
}

absl::Status Expect(const ordered_json& json, const char* field, const ordered_json& allowed) {
  const ordered_json found = json.contains(field) ? json[field] : ordered_json();
  if (found == allowed) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{} is {}: allowed is {}", field, found.dump(), allowed.dump()));
}

absl::Status ReadInt(const ordered_json& json, const char* field, int min, int max, int& value) {
  const ordered_json found = json.contains(field) ? json[field] : ordered_json();
  if (!found.is_number_integer() || found.get<int64_t>() < min || found.get<int64_t>() > max) {
    return absl::InvalidArgumentError(
        fmt::format("{} is {}: allowed is {} to {}", field, found.dump(), min, max));
  }
  value = found.get<int>();
  return absl::OkStatus();
}

absl::Status ReadNames(const ordered_json& json, const char* field,
                       std::vector<std::string>& names) {
  const ordered_json found = json.contains(field) ? json[field] : ordered_json();
  const bool strings = found.is_array() && found.size() <= kApplicationsMax &&
                       std::ranges::all_of(found, [](const auto& x) { return x.is_string(); });
  if (!strings) {
    return absl::InvalidArgumentError(fmt::format("{} is {}: allowed is a list of up to {} names",
                                                  field, found.dump(), kApplicationsMax));
  }
  for (const auto& name : found) names.push_back(name.get<std::string>());
  return absl::OkStatus();
}

// Absent from older cards.
absl::Status ReadSha256(const ordered_json& json, const char* field, std::string& sha256) {
  if (!json.contains(field) || json[field] == "") return absl::OkStatus();
  if (!json[field].is_string() || !IsSha256(json[field].get_ref<const std::string&>())) {
    return absl::InvalidArgumentError(
        fmt::format("{} is {}: allowed are 64 hexadecimal digits", field, json[field].dump()));
  }
  sha256 = json[field].get<std::string>();
  return absl::OkStatus();
}

ordered_json TrainingToJson(const TrainingRecord& training) {
  return {{"trace", training.trace},
          {"fingerprint", training.fingerprint},
          {"series", training.series},
          {"samples", training.samples},
          {"from_ms", training.from_ms},
          {"to_ms", training.to_ms},
          {"seed", training.seed},
          {"epochs", training.epochs},
          {"best_epoch", training.best_epoch},
          {"validation_loss", training.validation_loss},
          {"command", training.command}};
}

// For the record only: what is absent or of another type stays empty.
TrainingRecord TrainingFromJson(const ordered_json& json) {
  const auto text = [&json](const char* field) {
    return json.contains(field) && json[field].is_string() ? json[field].get<std::string>() : "";
  };
  const auto whole = [&json](const char* field) -> int64_t {
    return json.contains(field) && json[field].is_number_integer() ? json[field].get<int64_t>() : 0;
  };
  TrainingRecord training;
  training.trace = text("trace");
  training.fingerprint = text("fingerprint");
  training.series = whole("series");
  training.from_ms = whole("from_ms");
  training.to_ms = whole("to_ms");
  training.samples = whole("samples");
  training.seed = static_cast<uint64_t>(whole("seed"));
  training.epochs = static_cast<int>(whole("epochs"));
  training.best_epoch = static_cast<int>(whole("best_epoch"));
  if (json.contains("validation_loss") && json["validation_loss"].is_number()) {
    training.validation_loss = json["validation_loss"].get<double>();
  }
  training.command = text("command");
  return training;
}

}  // namespace

LstmShape LstmCard::shape() const {
  LstmShape shape;
  shape.features = kFeatures;
  shape.candidates = kCandidates;
  shape.spreads = kSpreads;
  shape.signal_kinds = kSignalKinds;
  shape.applications = static_cast<int>(applications.size());
  shape.embedding = embedding;
  shape.hidden = hidden;
  shape.layers = layers;
  shape.dense = dense;
  shape.horizon_steps = spec.horizon_steps;
  shape.quantiles = kQuantiles;
  shape.median = kMedian;
  return shape;
}

int64_t ApplicationRow(std::span<const std::string> known, const std::string& name) {
  const auto found = std::ranges::find(known, name);
  return found == known.end() ? 0 : found - known.begin() + 1;
}

std::string CardToJson(const LstmCard& card) {
  const ordered_json json = {{"format", kFormat},
                             {"version", kVersion},
                             {"step_ms", card.spec.step_ms},
                             {"horizon_steps", card.spec.horizon_steps},
                             {"window_steps", card.window_steps},
                             {"embedding", card.embedding},
                             {"hidden", card.hidden},
                             {"layers", card.layers},
                             {"dense", card.dense},
                             {"scaling", kScaling},
                             {"units", "those of the series: forecasts are in the samples' unit"},
                             {"features", Strings(kFeatureNames)},
                             {"candidates", Strings(kCandidateNames)},
                             {"spreads", Strings(kSpreadNames)},
                             {"signals", Strings(kSignalNames)},
                             {"applications", Strings(card.applications)},
                             {"quantile_levels", Levels()},
                             {"weights_sha256", card.weights_sha256},
                             {"training", TrainingToJson(card.training)},
                             {"scores", card.scores}};
  return json.dump(2) + "\n";
}

absl::StatusOr<LstmCard> CardFromJson(const std::string& text) {
  const auto json = ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::DataLossError("not a JSON object");
  LstmCard card;
  int step_ms = 0;
  const std::array checks = {
      Expect(json, "format", kFormat),
      Expect(json, "version", kVersion),
      Expect(json, "scaling", kScaling),
      Expect(json, "features", Strings(kFeatureNames)),
      Expect(json, "candidates", Strings(kCandidateNames)),
      Expect(json, "spreads", Strings(kSpreadNames)),
      Expect(json, "signals", Strings(kSignalNames)),
      Expect(json, "quantile_levels", Levels()),
      ReadInt(json, "step_ms", 1'000, 3'600'000, step_ms),
      ReadInt(json, "horizon_steps", 1, kHorizonStepsMaxLstm, card.spec.horizon_steps),
      ReadInt(json, "window_steps", 1, kWindowStepsMax, card.window_steps),
      ReadInt(json, "embedding", 1, kHiddenMax, card.embedding),
      ReadInt(json, "hidden", 1, kHiddenMax, card.hidden),
      ReadInt(json, "layers", 1, 8, card.layers),
      ReadInt(json, "dense", 1, kHiddenMax, card.dense),
      ReadNames(json, "applications", card.applications),
      ReadSha256(json, "weights_sha256", card.weights_sha256),
  };
  for (const absl::Status& check : checks) {
    if (!check.ok()) return check;
  }
  card.spec.step_ms = step_ms;
  if (3'600'000 % step_ms != 0 || card.spec.horizon_steps >= card.spec.day_steps()) {
    return absl::InvalidArgumentError(
        fmt::format("step_ms is {} and horizon_steps {}: allowed are steps that divide an hour and "
                    "horizons below a day",
                    step_ms, card.spec.horizon_steps));
  }
  if (json.contains("training") && json["training"].is_object()) {
    card.training = TrainingFromJson(json["training"]);
  }
  if (json.contains("scores") && json["scores"].is_object()) {
    for (const auto& [name, score] : json["scores"].items()) {
      if (score.is_number()) card.scores[name] = score.get<double>();
    }
  }
  return card;
}

}  // namespace foreshadow::models
