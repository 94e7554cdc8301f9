// Tensors of the Open Inference Protocol: read with every check that a malformed request needs,
// written raw or typed as the request was. Errors are INVALID_ARGUMENT and name the tensor.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "inference/inference.pb.h"

namespace foreshadow::rpc {

// One input of a request.
struct InputTensor {
  const inference::ModelInferRequest::InferInputTensor* tensor = nullptr;
  const std::string* raw = nullptr;  // null = typed contents
  int64_t elements = 0;              // by its shape

  const std::string& name() const { return tensor->name(); }
  std::span<const int64_t> shape() const {
    return {tensor->shape().data(), static_cast<size_t>(tensor->shape_size())};
  }
};

// "[2, 288]"
std::string ShapeText(std::span<const int64_t> shape);

// Names known, none twice, raw contents for all or none. `allowed` are the names of the model.
absl::StatusOr<std::vector<InputTensor>> InputsOf(const inference::ModelInferRequest& request,
                                                  std::span<const char* const> allowed);

// The elements, row-major. The datatype must be the one named.
absl::StatusOr<std::vector<float>> ReadFp32(const InputTensor& input);
absl::StatusOr<std::vector<int64_t>> ReadInt64(const InputTensor& input);
absl::StatusOr<std::vector<std::string>> ReadBytes(const InputTensor& input);

// Appends an output.
class OutputWriter {
 public:
  OutputWriter(inference::ModelInferResponse& response, bool raw)
      : response_(response), raw_(raw) {}
  void AddFp32(const char* name, const std::vector<int64_t>& shape, std::span<const float> values);
  // As AddFp32, but `fill` writes the elements in place.
  template <typename Fill>
  void AddFp32Filled(const char* name, const std::vector<int64_t>& shape, int64_t elements,
                     Fill fill) {
    auto& output = Add(name, "FP32", shape);
    if (raw_) {
      std::string& bytes = *response_.add_raw_output_contents();
      bytes.resize(static_cast<size_t>(elements) * sizeof(float));
      fill(reinterpret_cast<float*>(bytes.data()));
    } else {
      auto& values = *output.mutable_contents()->mutable_fp32_contents();
      values.Resize(static_cast<int>(elements), 0);
      fill(values.mutable_data());
    }
  }
  void AddInt32(const char* name, const std::vector<int64_t>& shape,
                const std::vector<int32_t>& values);
  void AddBytes(const char* name, const std::vector<int64_t>& shape,
                const std::vector<std::string>& values);

 private:
  inference::ModelInferResponse::InferOutputTensor& Add(const char* name, const char* datatype,
                                                        const std::vector<int64_t>& shape);
  inference::ModelInferResponse& response_;
  const bool raw_;
};

}  // namespace foreshadow::rpc
