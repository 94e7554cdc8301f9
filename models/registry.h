// Which forecasters there are: made by name, or ranked as a server uses them. Any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/forecaster.h"
#include "models/prophet/extras.h"
#include "models/versions/versions.h"

namespace foreshadow::models {

struct RankedModels {
  std::vector<std::shared_ptr<const Forecaster>> models;  // best first, never empty
  std::vector<std::string> notes;  // what could not be loaded, and why: for the log
};

// All models for serving, best first. `folder` is the registry of the trained ones, as
// docs/registry.md describes; empty = none. Where the version that serves does not load, the one
// before is taken; a model of which none loads is left out. Both are named in the notes: the simple
// models are always there.
RankedModels LoadModels(const std::string& folder);

// The same list around a trained model that is loaded already; nullptr = none.
std::vector<std::shared_ptr<const Forecaster>> RankModels(
    std::shared_ptr<const Forecaster> trained);

// Those that are fitted to each series when they are asked: too dear for every tick.
std::vector<std::shared_ptr<const Forecaster>> FittedModels(const ProphetExtras& extras = {});

// The only trained model so far is the LSTM; its folder in the registry.
std::string TrainedFolder(const std::string& folder);

// One version of it (models/versions).
absl::StatusOr<std::shared_ptr<const Forecaster>> LoadVersion(const std::string& folder,
                                                              int version);

// Takes the model folder `from` (card.json, weights.safetensors) into the registry as its
// candidate; returns the number it got. One that does not load is refused: the error names file and
// field.
absl::StatusOr<int> AddModel(const std::string& folder, const std::string& from, const Note& note);

// The folder of the models that come with the program: models/default beside or above it; "" =
// none.
std::string InstalledModels();

// One model by name; `extras` are for "prophet". INVALID_ARGUMENT lists the names there are.
absl::StatusOr<std::shared_ptr<const Forecaster>> MakeModel(const std::string& name,
                                                            const std::string& folder,
                                                            const ProphetExtras& extras = {});

}  // namespace foreshadow::models
