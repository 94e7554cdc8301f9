// Between the Open Inference Protocol and what the batcher takes and gives. docs/serving.md is the
// list of tensors and parameters for people.
#pragma once

#include <chrono>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "inference/inference.pb.h"
#include "service/batch/batcher.h"
#include "service/rpc/forecast_ask.h"

namespace foreshadow::rpc {

inline constexpr const char* kPlatform = "foreshadow";

struct InferAsk {
  batch::Ask ask;
  Shape shape;
  std::vector<std::string> outputs;  // those wanted, in order
  bool raw = false;
};

// As the batcher knows a model: "lstm@2", or "lstm" when any version will do.
std::string LabelOf(const std::string& name, const std::string& version);

// Of models found for it. `step_ms` where the request has none; `now_ms` likewise, as the time of
// the last step.
absl::StatusOr<InferAsk> ReadInfer(const inference::ModelInferRequest& request,
                                   const batch::Batcher::Found& found, int64_t step_ms,
                                   int64_t now_ms);

void WriteInfer(const inference::ModelInferRequest& request, const InferAsk& asked,
                const batch::Answer& answer, inference::ModelInferResponse& response);

void DescribeTensors(inference::ModelMetadataResponse& response);
// The same tensors.
void DescribeTensors(inference::ModelConfig& config);

}  // namespace foreshadow::rpc
