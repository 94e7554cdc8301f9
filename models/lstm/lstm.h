// The trained LSTM as a Forecaster, and its two files on disk.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/forecaster.h"
#include "models/lstm/card.h"

namespace foreshadow::models {

// A folder with card.json and weights.safetensors. NOT_FOUND when there is no card, else the error
// names the file and the field; DATA_LOSS where the weights are not those that the card is of.
// `threads` of the machine serve one Forecast, 0 = one per core.
//
// Answers at the sampling interval it was trained at, and at finer ones by OverMeans
// (models/means/means.h). A series without a sample gets
// kNoHistory; one with fewer than kSamplesMin, or silent for an hour, kCannot. `version` is the
// number it is to go by.
absl::StatusOr<std::shared_ptr<const Forecaster>> LoadLstm(const std::string& folder, int threads,
                                                           int version = 0);

// Makes a Forecaster of weights in hand; see MakeLstmRunner for what is wrong with them.
absl::StatusOr<std::shared_ptr<const Forecaster>> MakeLstm(const LstmCard& card,
                                                           const std::vector<Tensor>& weights,
                                                           int threads);

// Writes both files, the weights first, and makes the folder if need be. The card gets the sum of
// the weights.
absl::Status SaveLstm(const std::string& folder, LstmCard& card,
                      const std::vector<Tensor>& weights);

// The card alone, when only its record changes.
absl::Status SaveLstmCard(const std::string& folder, const LstmCard& card);

absl::StatusOr<LstmCard> LoadLstmCard(const std::string& folder);

// DATA_LOSS where they are not those that the card is of.
absl::StatusOr<std::vector<Tensor>> LoadLstmWeights(const std::string& folder,
                                                    const LstmCard& card);

}  // namespace foreshadow::models
