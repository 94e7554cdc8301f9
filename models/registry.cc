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

RankedModels LoadModels(const std::string& folder) {
  RankedModels ranked;
  if (!folder.empty()) {
    auto lstm = LoadLstm(folder + "/lstm", /*threads=*/0);
    if (lstm.ok()) {
      ranked.models.push_back(*std::move(lstm));
    } else {
      ranked.notes.push_back(
          fmt::format("lstm is left out: {}", std::string(lstm.status().message())));
    }
  }
  ranked.models.push_back(MakeLevel(LevelKind::kLastHourMedian));
  ranked.models.push_back(MakeLevel(LevelKind::kLastHourMean));
  ranked.models.push_back(MakeSeasonalNaive());
  ranked.models.push_back(MakeLevel(LevelKind::kLastValue));
  return ranked;
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
                                                            const std::string& folder) {
  RankedModels ranked = LoadModels(folder);
  // Too dear for every tick, see docs/models.md.
  ranked.models.push_back(MakeEts(/*threads=*/0));
  ranked.models.push_back(MakeProphet(/*threads=*/0));
  ranked.models.push_back(MakeArima(/*threads=*/0));
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
