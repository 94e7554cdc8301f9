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
  std::vector<int64_t> applications;  // [the pupil's row of one] its own; 0 = it does not know it
};

// One of each folder. INVALID_ARGUMENT, naming folder and field, where one's step or horizon is not
// that of `pupil`; its widths, layers and applications may be others. Else the errors of
// LoadLstmCard and LoadLstmWeights.
absl::StatusOr<std::vector<Teacher>> LoadTeachers(const std::vector<std::string>& folders,
                                                  const models::LstmCard& pupil, int threads,
                                                  models::Device device);

// Gives the network of card `own` the weights of a trained model; their SHA-256. An application
// that the model did not know begins as what stands for all of those. INVALID_ARGUMENT, naming
// folder and field, where it is not of the same steps, widths and layers.
absl::StatusOr<std::string> BeginAs(const std::string& folder, const models::LstmCard& own,
                                    models::LstmNetwork& network);

}  // namespace foreshadow::training
