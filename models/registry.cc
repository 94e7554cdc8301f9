#include "models/registry.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <filesystem>

#include "models/arima/arima.h"
#include "models/ets/ets.h"
#include "models/level/level.h"
#include "models/lstm/lstm.h"
#include "models/prophet/prophet.h"
#include "models/seasonal_naive/seasonal_naive.h"

namespace foreshadow::models {

namespace {

// What serves, or else what did before; nullptr when neither loads.
std::shared_ptr<const Forecaster> LoadServing(const std::string& folder,
                                              std::vector<std::string>& notes) {
  const auto versions = ReadVersions(TrainedFolder(folder));
  if (!versions.ok()) {
    notes.push_back(fmt::format("lstm is left out: {}", std::string(versions.status().message())));
    return nullptr;
  }
  // Where nothing is said to serve, trying the folder itself tells what is missing.
  auto serving = LoadVersion(folder, std::max(versions->serving, kPlainVersion));
  if (serving.ok()) return *serving;
  const std::string why(serving.status().message());
  auto before = versions->before == kNoVersion ? serving : LoadVersion(folder, versions->before);
  notes.push_back(before.ok() ? fmt::format("{} does not load and {} serves: {}",
                                            Label("lstm", versions->serving), Label(**before), why)
                              : fmt::format("lstm is left out: {}", why));
  return before.ok() ? *before : nullptr;
}

}  // namespace

std::string TrainedFolder(const std::string& folder) { return folder + "/lstm"; }

absl::StatusOr<std::shared_ptr<const Forecaster>> LoadVersion(const std::string& folder,
                                                              int version) {
  return LoadLstm(VersionFolder(TrainedFolder(folder), version), /*threads=*/0, version);
}

std::vector<std::shared_ptr<const Forecaster>> RankModels(
    std::shared_ptr<const Forecaster> trained) {
  std::vector<std::shared_ptr<const Forecaster>> models;
  if (trained != nullptr) models.push_back(std::move(trained));
  models.push_back(MakeLevel(LevelKind::kLastHourMedian));
  models.push_back(MakeLevel(LevelKind::kLastHourMean));
  models.push_back(MakeSeasonalNaive());
  models.push_back(MakeLevel(LevelKind::kLastValue));
  return models;
}

std::vector<std::shared_ptr<const Forecaster>> FittedModels(const ProphetExtras& extras) {
  return {MakeEts(/*threads=*/0), MakeProphet(/*threads=*/0, extras), MakeArima(/*threads=*/0)};
}

RankedModels LoadModels(const std::string& folder) {
  RankedModels ranked;
  std::shared_ptr<const Forecaster> trained;
  if (folder.empty()) {
    ranked.notes.emplace_back(
        "lstm is left out: no folder of trained models is given or installed");
  } else {
    trained = LoadServing(folder, ranked.notes);
  }
  ranked.models = RankModels(std::move(trained));
  return ranked;
}

absl::StatusOr<int> AddModel(const std::string& folder, const std::string& from, const Note& note) {
  const auto loads = [](const std::string& model) {
    return LoadLstm(model, /*threads=*/1).status();
  };
  if (absl::Status status = loads(from); !status.ok()) return status;
  // And so must the copy: `from` may be written to meanwhile.
  return AddVersion(TrainedFolder(folder), from, loads, note);
}

std::string InstalledModels() {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  for (auto folder = program.parent_path(); folder.has_relative_path();
       folder = folder.parent_path()) {
    const auto models = folder / "models" / "default";
    if (std::filesystem::is_directory(models, error)) return models.string();
  }
  return "";
}

absl::StatusOr<std::shared_ptr<const Forecaster>> MakeModel(const std::string& name,
                                                            const std::string& folder,
                                                            const ProphetExtras& extras) {
  RankedModels ranked = LoadModels(folder);
  for (auto& model : FittedModels(extras)) ranked.models.push_back(std::move(model));
  std::vector<std::string> names;
  for (const auto& model : ranked.models) {
    if (model->name() == name) return model;
    names.emplace_back(model->name());
  }
  std::string message = fmt::format("model is '{}': allowed are {}", name, fmt::join(names, ", "));
  for (const std::string& note : ranked.notes) message += fmt::format(" ({})", note);
  return absl::InvalidArgumentError(message);
}

}  // namespace foreshadow::models
