// Trained models that another one begins as, or learns from beside what came (LstmTargets::taught).
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/lstm/card.h"

namespace foreshadow::training {

struct Teacher {
  std::string weights_sha256;
  std::unique_ptr<models::LstmNetwork> network;
};

// One of each folder. INVALID_ARGUMENT, naming folder and field, where one's step, horizon or
// applications are not those of `pupil`; its widths and layers may be others. Else the errors of
// LoadLstmCard and ReadSafetensors.
absl::StatusOr<std::vector<Teacher>> LoadTeachers(const std::vector<std::string>& folders,
                                                  const models::LstmCard& pupil, int threads,
                                                  models::Device device);

// Gives the network of card `own` the weights of a trained model; their SHA-256. INVALID_ARGUMENT,
// naming folder and field, where it is not of the same steps, applications, widths and layers.
absl::StatusOr<std::string> BeginAs(const std::string& folder, const models::LstmCard& own,
                                    models::LstmNetwork& network);

}  // namespace foreshadow::training
