#include <fmt/core.h>

#include <cmath>
#include <nlohmann/json.hpp>
#include <tuple>

#include "service/learn/q_policy.h"
#include "service/learn/reward.h"

namespace foreshadow {
namespace {

using nlohmann::ordered_json;

constexpr const char* kFormat = "foreshadow-router";
constexpr int kVersion = 1;
constexpr int kHiddenMax = 1'024;
constexpr int kNetworksMax = 16;
constexpr double kIntervalMax = 3'600;

template <typename List>
ordered_json Strings(const List& list) {
  ordered_json strings = ordered_json::array();
  for (const auto& item : list) strings.push_back(std::string(item));
  return strings;
}

absl::Status Expect(const ordered_json& json, const char* field, const ordered_json& allowed) {
  const ordered_json found = json.contains(field) ? json[field] : ordered_json();
  if (found == allowed) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{} is {}: allowed is {}", field, found.dump(), allowed.dump()));
}

absl::Status ReadNumber(const ordered_json& json, const char* field, double min, double max,
                        double& value) {
  const ordered_json found = json.contains(field) ? json[field] : ordered_json();
  if (!found.is_number() || !(found.get<double>() >= min && found.get<double>() <= max)) {
    return absl::InvalidArgumentError(
        fmt::format("{} is {}: allowed is {} to {}", field, found.dump(), min, max));
  }
  value = found.get<double>();
  return absl::OkStatus();
}

absl::Status ReadFeatures(const ordered_json& json, const char* field, SplitFeatures& values) {
  const ordered_json found = json.contains(field) ? json[field] : ordered_json();
  bool good = found.is_array() && found.size() == kSplitFeatures;
  for (size_t f = 0; good && f < kSplitFeatures; ++f) {
    good = found[f].is_number() && std::isfinite(found[f].get<float>());
    if (good) values[f] = found[f].get<float>();
  }
  if (good) return absl::OkStatus();
  return absl::InvalidArgumentError(fmt::format("{} is {}: allowed is a list of {} numbers", field,
                                                found.dump(), kSplitFeatures));
}

template <typename T>
void Note(const ordered_json& json, const char* field, T& value) {
  if (!json.contains(field)) return;
  if constexpr (std::is_same_v<T, std::string>) {
    if (json[field].is_string()) value = json[field].get<std::string>();
  } else {
    if (json[field].is_number_integer()) value = json[field].get<T>();
  }
}

ordered_json Costs() {
  return {{"harmed", kHarmCost}, {"failed", kFailedCost}, {"p99_in_slos", kTailCost},
          {"waste", kWasteCost}, {"churn", kChurnCost},   {"busy_load", kBusyLoad}};
}

}  // namespace

std::string QCardToJson(const QCard& card) {
  ordered_json json = {{"format", kFormat},
                       {"version", kVersion},
                       {"policy", card.version},
                       {"hidden", card.hidden},
                       {"interval_s_min", card.interval_s_min},
                       {"interval_s_max", card.interval_s_max},
                       {"actions", Strings(kSplitActionNames)},
                       {"features", Strings(kSplitFeatureNames)},
                       {"feature_min", card.feature_min},
                       {"feature_max", card.feature_max},
                       {"margin", card.margin},
                       {"costs", Costs()},
                       {"weights_sha256", card.weights_sha256},
                       {"seed", card.seed},
                       {"episodes", card.episodes},
                       {"steps", card.steps},
                       {"command", card.command},
                       {"scores", card.scores}};
  // One is not told: programs that know of one only read such cards.
  if (card.networks > 1) json["networks"] = card.networks;
  return json.dump(2) + "\n";
}

absl::StatusOr<QCard> QCardFromJson(const std::string& text) {
  const auto json = ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::DataLossError("not a JSON object");
  QCard card;
  double hidden = 0;
  double networks = 1;
  const bool margin = json.contains("margin");  // an older card has none
  const absl::Status checks[] = {
      Expect(json, "format", kFormat),
      Expect(json, "version", kVersion),
      Expect(json, "actions", Strings(kSplitActionNames)),
      Expect(json, "features", Strings(kSplitFeatureNames)),
      ReadNumber(json, "hidden", 1, kHiddenMax, hidden),
      json.contains("networks") ? ReadNumber(json, "networks", 1, kNetworksMax, networks)
                                : absl::OkStatus(),
      ReadNumber(json, "interval_s_min", 0.1, kIntervalMax, card.interval_s_min),
      ReadNumber(json, "interval_s_max", 0.1, kIntervalMax, card.interval_s_max),
      ReadFeatures(json, "feature_min", card.feature_min),
      ReadFeatures(json, "feature_max", card.feature_max),
      margin ? ReadNumber(json, "margin", 0, 1e6, card.margin) : absl::OkStatus(),
  };
  for (const absl::Status& check : checks) {
    if (!check.ok()) return check;
  }
  for (const auto& [name, number, whole] : {std::tuple("hidden", hidden, &card.hidden),
                                            std::tuple("networks", networks, &card.networks)}) {
    *whole = static_cast<int>(number);
    if (*whole != number) {
      return absl::InvalidArgumentError(
          fmt::format("{} is {}: allowed are whole numbers", name, number));
    }
  }
  if (json.contains("weights_sha256") && json["weights_sha256"] != "") {
    Note(json, "weights_sha256", card.weights_sha256);
    if (!models::IsSha256(card.weights_sha256)) {
      return absl::InvalidArgumentError(
          fmt::format("weights_sha256 is {}: allowed are 64 hexadecimal digits",
                      json["weights_sha256"].dump()));
    }
  }
  Note(json, "policy", card.version);
  Note(json, "seed", card.seed);
  Note(json, "episodes", card.episodes);
  Note(json, "steps", card.steps);
  Note(json, "command", card.command);
  if (json.contains("scores") && json["scores"].is_object()) {
    for (const auto& [name, score] : json["scores"].items()) {
      if (score.is_number()) card.scores[name] = score.get<double>();
    }
  }
  return card;
}

}  // namespace foreshadow
