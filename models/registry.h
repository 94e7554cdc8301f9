// Which forecasters there are: made by name, or ranked as a server uses them. Any thread.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/forecaster.h"

namespace foreshadow::models {

struct RankedModels {
  std::vector<std::shared_ptr<const Forecaster>> models;  // best first, never empty
  std::vector<std::string> notes;  // what could not be loaded, and why: for the log
};

// All models for serving, best first. `folder` holds the trained ones, as docs/models.md describes;
// empty = none. A model that does not load is left out and named in the notes: the simple ones are
// always there.
RankedModels LoadModels(const std::string& folder);

// The folder of the models that come with the program: models/default beside or above it; "" =
// none.
std::string InstalledModels();

// One model by name; INVALID_ARGUMENT lists the names there are.
absl::StatusOr<std::shared_ptr<const Forecaster>> MakeModel(const std::string& name,
                                                            const std::string& folder);

}  // namespace foreshadow::models
