// Weights on disk in the safetensors format (8 bytes little-endian header length, a JSON header,
// raw data), restricted to what this project writes: F32 tensors without overlap or gap. A file is
// not trusted: every number in it is checked before it is used. Functions only, any thread.
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace foreshadow::models {

struct Tensor {
  std::string name;
  std::vector<int64_t> shape;  // row-major
  std::vector<float> values;   // as many as the shape says
};

struct TensorFile {
  std::vector<Tensor> tensors;                  // in the order of their data
  std::map<std::string, std::string> metadata;  // the header's __metadata__
};

inline constexpr int64_t kHeaderBytesMax = 1 << 20;    // a header of ours has a few KB
inline constexpr int64_t kWeightBytesMax = 1LL << 30;  // a model of ours has a few MB

// Number of values of a shape, or -1 if it has a negative side or overflows kWeightBytesMax.
int64_t CountValues(const std::vector<int64_t>& shape);

// NOT_FOUND if there is no such file, DATA_LOSS with the place if it is not a whole, valid file, or
// with both sums if `sha256` is given and is not that of its bytes.
absl::StatusOr<TensorFile> ReadSafetensors(const std::string& path, std::string_view sha256 = "");

// Replaces the file in one step: a reader sees the old or the new one, and a crash leaves one of
// them. Returns the SHA-256 of its bytes. UNAVAILABLE with the system's reason if it cannot be
// written.
absl::StatusOr<std::string> WriteSafetensors(const std::string& path, const TensorFile& file);

// Whether a text can be a sum as these two take and give it: 64 hexadecimal digits, small ones.
bool IsSha256(std::string_view text);

// The same replacement for any text.
absl::Status ReplaceFile(const std::string& path, const std::string& bytes);

// NOT_FOUND, or the whole file; DATA_LOSS if it is longer than bytes_max.
absl::StatusOr<std::string> ReadWholeFile(const std::string& path, int64_t bytes_max);

// The same error, which names the file or folder now.
absl::Status InFile(const std::string& path, const absl::Status& status);

}  // namespace foreshadow::models
