#include "service/forecast/carried.h"

#include <algorithm>
#include <bit>
#include <cstdint>
#include <cstring>

namespace foreshadow {

static_assert(std::endian::native == std::endian::little);

// Each part is its size in bytes, u64, and what the model has made of it.
std::string PackCarried(const models::Forecaster& model, size_t index, const ForecastMemory& memory,
                        size_t bytes_max) {
  std::string bytes;
  bool any = false;
  for (const std::vector<std::any>& carried : memory.carried) {
    const std::string part = index < carried.size() ? model.Save(carried[index]) : "";
    const uint64_t size = part.size();
    bytes.append(reinterpret_cast<const char*>(&size), sizeof(size));
    bytes += part;
    any = any || !part.empty();
    if (bytes.size() > bytes_max) return "";
  }
  return any ? bytes : "";
}

absl::Status UnpackCarried(const models::Forecaster& model, size_t index, const std::string& bytes,
                           ForecastMemory& memory) {
  absl::Status first_error;
  size_t at = 0;
  for (size_t part = 0; at < bytes.size(); ++part) {
    uint64_t size = 0;
    if (bytes.size() - at < sizeof(size)) return absl::DataLossError("the last part is cut off");
    std::memcpy(&size, bytes.data() + at, sizeof(size));
    at += sizeof(size);
    if (size > bytes.size() - at) return absl::DataLossError("a part is longer than what is left");
    if (memory.carried.size() <= part) memory.carried.resize(part + 1);
    std::vector<std::any>& carried = memory.carried[part];
    if (carried.size() <= index) carried.resize(index + 1);
    if (size > 0) first_error.Update(model.Restore(bytes.substr(at, size), carried[index]));
    at += size;
  }
  return first_error;
}

}  // namespace foreshadow
