#include "models/file/safetensors.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <fmt/ranges.h>
#include <openssl/sha.h>
#include <unistd.h>

#include <array>
#include <bit>
#include <cerrno>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

namespace foreshadow::models {
namespace {

using nlohmann::ordered_json;

constexpr int64_t kLengthBytes = 8;
static_assert(std::endian::native == std::endian::little, "the format is little-endian");

absl::Status Damaged(const std::string& path, const std::string& what) {
  return absl::DataLossError(fmt::format("{}: {}", path, what));
}

// Checks one entry of the header and copies its data, which must begin at `offset`.
absl::StatusOr<Tensor> ReadTensor(const std::string& path, const std::string& name,
                                  const ordered_json& entry, std::string_view data,
                                  int64_t offset) {
  const auto damaged = [&](const std::string& what) {
    return Damaged(path, fmt::format("tensor '{}': {}", name, what));
  };
  if (!entry.is_object() || !entry.contains("dtype") || !entry.contains("shape") ||
      !entry.contains("data_offsets")) {
    return damaged("dtype, shape or data_offsets is missing");
  }
  if (entry["dtype"] != "F32") {
    return damaged(fmt::format("dtype is {}: allowed is \"F32\"", entry["dtype"].dump()));
  }
  Tensor tensor{name, {}, {}};
  if (!entry["shape"].is_array()) return damaged("shape is not a list");
  for (const auto& side : entry["shape"]) {
    if (!side.is_number_unsigned()) return damaged("shape holds what is not a whole number >= 0");
    tensor.shape.push_back(side.get<int64_t>());
  }
  const int64_t count = CountValues(tensor.shape);
  if (count < 0) return damaged("shape is too large");
  const auto& offsets = entry["data_offsets"];
  if (!offsets.is_array() || offsets.size() != 2 || !offsets[0].is_number_unsigned() ||
      !offsets[1].is_number_unsigned()) {
    return damaged("data_offsets is not a pair of whole numbers");
  }
  const auto begin = offsets[0].get<int64_t>();
  const auto end = offsets[1].get<int64_t>();
  const int64_t bytes = count * static_cast<int64_t>(sizeof(float));
  if (begin != offset || end != offset + bytes || end > std::ssize(data)) {
    return damaged(fmt::format("data_offsets [{}, {}] do not fit: expected [{}, {}] in {} bytes",
                               begin, end, offset, offset + bytes, data.size()));
  }
  tensor.values.resize(static_cast<size_t>(count));
  std::memcpy(tensor.values.data(), data.data() + begin, static_cast<size_t>(bytes));
  return tensor;
}

absl::StatusOr<TensorFile> ParseHeader(const std::string& path, const ordered_json& header,
                                       std::string_view data) {
  TensorFile file;
  int64_t offset = 0;
  for (const auto& [name, entry] : header.items()) {
    if (name == "__metadata__") {
      if (!entry.is_object()) return Damaged(path, "__metadata__ is not an object");
      for (const auto& [key, value] : entry.items()) {
        if (!value.is_string()) return Damaged(path, "__metadata__ holds what is not text");
        file.metadata[key] = value.get<std::string>();
      }
      continue;
    }
    absl::StatusOr<Tensor> tensor = ReadTensor(path, name, entry, data, offset);
    if (!tensor.ok()) return tensor.status();
    offset += std::ssize(tensor->values) * static_cast<int64_t>(sizeof(float));
    file.tensors.push_back(*std::move(tensor));
  }
  if (offset != std::ssize(data)) {
    return Damaged(
        path, fmt::format("{} bytes of data, of which the header names {}", data.size(), offset));
  }
  return file;
}

std::string Sha256Of(const std::string& bytes) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest.data());
  return fmt::format("{:02x}", fmt::join(digest, ""));
}

absl::Status SystemError(const std::string& path, const std::string& what) {
  return absl::UnavailableError(fmt::format("{}: cannot {}: {}", path, what, strerror(errno)));
}

}  // namespace

int64_t CountValues(const std::vector<int64_t>& shape) {
  constexpr int64_t kMax = kWeightBytesMax / static_cast<int64_t>(sizeof(float));
  int64_t count = 1;
  for (const int64_t side : shape) {
    if (side < 0 || side > kMax || (side > 0 && count > kMax / side)) return -1;
    count *= side;
  }
  return count;
}

absl::StatusOr<std::string> ReadWholeFile(const std::string& path, int64_t bytes_max) {
  std::error_code error;
  const auto size = std::filesystem::file_size(path, error);
  if (error) return absl::NotFoundError(fmt::format("{}: {}", path, error.message()));
  if (size > static_cast<uint64_t>(bytes_max)) {
    return Damaged(path, fmt::format("{} bytes: allowed are {}", size, bytes_max));
  }
  std::string bytes(size, '\0');
  std::ifstream in(path, std::ios::binary);
  if (!in.read(bytes.data(), static_cast<std::streamsize>(size))) {
    return Damaged(path, "cannot be read whole");
  }
  return bytes;
}

bool IsSha256(std::string_view text) {
  constexpr size_t kDigits = 2 * SHA256_DIGEST_LENGTH;
  return text.size() == kDigits && text.find_first_not_of("0123456789abcdef") == text.npos;
}

absl::StatusOr<TensorFile> ReadSafetensors(const std::string& path, std::string_view sha256) {
  const auto bytes = ReadWholeFile(path, kLengthBytes + kHeaderBytesMax + kWeightBytesMax);
  if (!bytes.ok()) return bytes.status();
  if (!sha256.empty()) {
    const std::string found = Sha256Of(*bytes);
    if (found != sha256) {
      return Damaged(path, fmt::format("its SHA-256 is {}, that of the card {}", found, sha256));
    }
  }
  if (std::ssize(*bytes) < kLengthBytes) return Damaged(path, "shorter than its length field");
  uint64_t length = 0;
  std::memcpy(&length, bytes->data(), kLengthBytes);
  const int64_t room = std::min(std::ssize(*bytes) - kLengthBytes, kHeaderBytesMax);
  if (length > static_cast<uint64_t>(room)) {
    return Damaged(path, fmt::format("header of {} bytes: there is room for {}", length, room));
  }
  const std::string_view rest = std::string_view(*bytes).substr(kLengthBytes);
  const std::string_view text = rest.substr(0, length);
  const ordered_json header = ordered_json::parse(text, nullptr, /*allow_exceptions=*/false);
  if (!header.is_object()) return Damaged(path, "the header is not a JSON object");
  return ParseHeader(path, header, rest.substr(length));
}

absl::Status ReplaceFile(const std::string& path, const std::string& bytes) {
  const std::string temporary = path + ".new";
  const int file = ::open(temporary.c_str(), O_CREAT | O_TRUNC | O_WRONLY | O_CLOEXEC, 0644);
  if (file < 0) return SystemError(temporary, "create");
  size_t written = 0;
  while (written < bytes.size()) {
    const ssize_t count = ::write(file, bytes.data() + written, bytes.size() - written);
    if (count < 0 && errno == EINTR) continue;
    if (count < 0) break;
    written += static_cast<size_t>(count);
  }
  const bool whole = written == bytes.size() && ::fsync(file) == 0;
  absl::Status status = whole ? absl::OkStatus() : SystemError(temporary, "write");
  ::close(file);
  if (status.ok() && ::rename(temporary.c_str(), path.c_str()) != 0) {
    status = SystemError(path, "replace");
  }
  if (!status.ok()) ::unlink(temporary.c_str());
  return status;
}

absl::StatusOr<std::string> WriteSafetensors(const std::string& path, const TensorFile& file) {
  ordered_json header = ordered_json::object();
  if (!file.metadata.empty()) header["__metadata__"] = file.metadata;
  int64_t offset = 0;
  for (const Tensor& tensor : file.tensors) {
    const int64_t count = std::ssize(tensor.values);
    if (CountValues(tensor.shape) != count || header.contains(tensor.name)) {
      return absl::InvalidArgumentError(fmt::format(
          "tensor '{}': named twice, or {} values do not fill its shape", tensor.name, count));
    }
    const int64_t end = offset + count * static_cast<int64_t>(sizeof(float));
    header[tensor.name] = {
        {"dtype", "F32"}, {"shape", tensor.shape}, {"data_offsets", {offset, end}}};
    offset = end;
  }
  std::string text = header.dump();
  text.append((kLengthBytes - text.size() % kLengthBytes) % kLengthBytes, ' ');
  const uint64_t length = text.size();
  std::string bytes(kLengthBytes, '\0');
  std::memcpy(bytes.data(), &length, kLengthBytes);
  bytes += text;
  for (const Tensor& tensor : file.tensors) {
    bytes.append(reinterpret_cast<const char*>(tensor.values.data()),
                 tensor.values.size() * sizeof(float));
  }
  if (absl::Status status = ReplaceFile(path, bytes); !status.ok()) return status;
  return Sha256Of(bytes);
}

absl::Status InFile(const std::string& path, const absl::Status& status) {
  return absl::Status(status.code(), fmt::format("{}: {}", path, std::string(status.message())));
}

}  // namespace foreshadow::models
