#include "service/history/chunk.h"

#include <zlib.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cmath>
#include <cstring>

#include "kernels/check.h"

namespace foreshadow {
namespace {

using Words = std::vector<uint32_t>;

constexpr uint32_t kPointsKind = 1;
constexpr uint32_t kBinsKind = 2;
constexpr size_t kChecksumBytes = 4;
constexpr int kDecimalsMax = 6;
constexpr int kSameCode = 14;   // values are those of the column before; nothing follows
constexpr int kBitsCode = 15;   // values are the numbers' bits, not decimals
constexpr int kDeltaFlag = 16;  // each is the difference to the one before
constexpr std::array<double, kDecimalsMax + 1> kPowers = {1, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6};

uint32_t ZigZag(uint32_t word) {
  return word << 1 ^ static_cast<uint32_t>(static_cast<int32_t>(word) >> 31);
}
uint32_t UnZigZag(uint32_t word) { return word >> 1 ^ (~(word & 1) + 1); }

void PutWord(uint32_t word, std::string& out) {
  for (int shift = 0; shift < 32; shift += 8) out.push_back(static_cast<char>(word >> shift));
}

// Of the bytes that a chunk is made of; an error sticks.
struct Reader {
  std::string_view left;
  bool ok = true;

  std::string_view Take(size_t bytes) {
    if (bytes > left.size()) ok = false;
    if (!ok) return {};
    const std::string_view taken = left.substr(0, bytes);
    left.remove_prefix(bytes);
    return taken;
  }
  uint8_t Byte() {
    const auto taken = Take(1);
    return taken.empty() ? 0 : static_cast<uint8_t>(taken[0]);
  }
  uint32_t Word() {
    const auto taken = Take(4);
    uint32_t word = 0;
    for (size_t i = 0; i < taken.size(); ++i) {
      word |= uint32_t{static_cast<uint8_t>(taken[i])} << 8 * i;
    }
    return word;
  }
};

// A mask of the byte columns that are not all zero, then these, lowest first.
void PutColumns(const Words& words, std::string& out) {
  uint32_t any = 0;
  for (const uint32_t word : words) any |= word;
  uint8_t mask = 0;
  for (int b = 0; b < 4; ++b) mask |= static_cast<uint8_t>(((any >> 8 * b & 0xff) != 0) << b);
  out.push_back(static_cast<char>(mask));
  for (int b = 0; b < 4; ++b) {
    if ((mask >> b & 1) == 0) continue;
    for (const uint32_t word : words) out.push_back(static_cast<char>(word >> 8 * b));
  }
}

Words GetColumns(size_t count, Reader& in) {
  const uint8_t mask = in.Byte();
  if (mask > 15) in.ok = false;
  Words words(count, 0);
  for (int b = 0; b < 4; ++b) {
    if ((mask >> b & 1) == 0) continue;
    const std::string_view column = in.Take(count);
    for (size_t i = 0; i < column.size(); ++i) {
      words[i] |= uint32_t{static_cast<uint8_t>(column[i])} << 8 * b;
    }
  }
  return words;
}

Words DeltasOf(const Words& words) {
  Words deltas(words.size());
  uint32_t before = 0;
  for (size_t i = 0; i < words.size(); ++i) {
    deltas[i] = ZigZag(words[i] - before);
    before = words[i];
  }
  return deltas;
}

// What an entropy coder would make of the byte columns, in bits: to choose between two layouts.
double CostBits(const Words& words) {
  double bits = 0;
  for (int b = 0; b < 4; ++b) {
    std::array<uint32_t, 256> counts{};
    for (const uint32_t word : words) ++counts[word >> 8 * b & 0xff];
    if (counts[0] == words.size()) continue;
    for (const uint32_t count : counts) {
      // A value that occurs costs some table beside its own bits.
      if (count > 0) bits += 4 + count * std::log2(static_cast<double>(words.size()) / count);
    }
  }
  return bits;
}

// Whether each value is a whole number of 10^-decimals, and which.
bool Decimals(std::span<const float> values, int decimals, Words& words) {
  const double scale = kPowers[static_cast<size_t>(decimals)];
  for (size_t i = 0; i < values.size(); ++i) {
    const double scaled = std::nearbyint(static_cast<double>(values[i]) * scale);
    if (!(std::abs(scaled) < 1 << 30)) return false;
    const auto whole = static_cast<int32_t>(scaled);
    const auto back = static_cast<float>(whole / scale);
    if (std::bit_cast<uint32_t>(back) != std::bit_cast<uint32_t>(values[i])) return false;
    words[i] = static_cast<uint32_t>(whole);
  }
  return true;
}

// `before` is the column before, empty when there is none.
void PutFloats(std::span<const float> values, std::span<const float> before, std::string& out) {
  if (std::ranges::equal(values, before, {}, std::bit_cast<uint32_t, float>,
                         std::bit_cast<uint32_t, float>)) {
    out.push_back(kSameCode);
    return;
  }
  Words words(values.size());
  int code = 0;
  while (code <= kDecimalsMax && !Decimals(values, code, words)) ++code;
  if (code > kDecimalsMax) {
    code = kBitsCode;
    for (size_t i = 0; i < values.size(); ++i) words[i] = std::bit_cast<uint32_t>(values[i]);
  }
  const Words deltas = DeltasOf(words);
  const bool by_delta = CostBits(deltas) < CostBits(words);
  out.push_back(static_cast<char>(code | (by_delta ? kDeltaFlag : 0)));
  PutColumns(by_delta ? deltas : words, out);
}

std::vector<float> GetFloats(size_t count, std::span<const float> before, Reader& in) {
  const uint8_t byte = in.Byte();
  if (byte == kSameCode && before.size() == count) return {before.begin(), before.end()};
  const int code = byte & 15;
  if (byte > 31 || (code > kDecimalsMax && code != kBitsCode)) in.ok = false;
  Words words = GetColumns(count, in);
  if (!in.ok) return {};
  if ((byte & kDeltaFlag) != 0) {
    uint32_t word = 0;
    for (uint32_t& delta : words) delta = word += UnZigZag(delta);
  }
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) {
    values[i] = code == kBitsCode ? std::bit_cast<float>(words[i])
                                  : static_cast<float>(static_cast<int32_t>(words[i]) /
                                                       kPowers[static_cast<size_t>(code)]);
  }
  return values;
}

// The first time and the first distance, then how each distance differs from the one before;
// nothing more when none does.
void PutTimes(const Words& offsets, std::string& out) {
  const uint32_t step = offsets.size() > 1 ? offsets[1] - offsets[0] : 0;
  PutWord(offsets[0], out);
  PutWord(step, out);
  Words changes;
  uint32_t distance = step;
  for (size_t i = 2; i < offsets.size(); ++i) {
    const uint32_t next = offsets[i] - offsets[i - 1];
    changes.push_back(ZigZag(next - distance));
    distance = next;
  }
  PutColumns(changes, out);
}

Words GetTimes(size_t count, Reader& in) {
  Words offsets(count);
  offsets[0] = in.Word();
  uint32_t distance = in.Word();
  const Words changes = GetColumns(count < 2 ? 0 : count - 2, in);
  for (size_t i = 1; in.ok && i < count; ++i) {
    if (i > 1) distance += UnZigZag(changes[i - 2]);
    offsets[i] = offsets[i - 1] + distance;
    if (offsets[i] <= offsets[i - 1]) in.ok = false;
  }
  if (offsets.back() >= kChunkSpanMsMax) in.ok = false;
  return offsets;
}

template <typename T, typename Time>
std::string Begin(uint32_t kind, int64_t base_ms, std::span<const T> items, Time time_ms) {
  FORESHADOW_CHECK(!items.empty() && items.size() < kChunkCountMax);
  std::string out;
  PutWord(kind << 28 | static_cast<uint32_t>(items.size()), out);
  Words offsets;
  for (const T& item : items) {
    const int64_t offset_ms = time_ms(item) - base_ms;
    FORESHADOW_CHECK(offset_ms >= 0 && offset_ms < kChunkSpanMsMax);
    FORESHADOW_CHECK(offsets.empty() || offset_ms > offsets.back());
    offsets.push_back(static_cast<uint32_t>(offset_ms));
  }
  PutTimes(offsets, out);
  return out;
}

template <typename T>
std::vector<float> ColumnOf(std::span<const T> items, float T::*member) {
  std::vector<float> values;
  values.reserve(items.size());
  for (const T& item : items) values.push_back(item.*member);
  return values;
}

std::string End(std::string bytes) {
  const auto* data = reinterpret_cast<const Bytef*>(bytes.data());
  PutWord(static_cast<uint32_t>(crc32_z(0, data, bytes.size())), bytes);
  return bytes;
}

// Checks checksum and kind; the count of items.
absl::StatusOr<size_t> Open(uint32_t kind, Reader& in) {
  if (in.left.size() <= kChecksumBytes) return absl::DataLossError("it is cut");
  Reader tail{in.left.substr(in.left.size() - kChecksumBytes)};
  in.left.remove_suffix(kChecksumBytes);
  const auto* data = reinterpret_cast<const Bytef*>(in.left.data());
  if (tail.Word() != static_cast<uint32_t>(crc32_z(0, data, in.left.size()))) {
    return absl::DataLossError("its checksum is wrong");
  }
  const uint32_t head = in.Word();
  const size_t count = head & ((1u << 28) - 1);
  if (head >> 28 != kind || count == 0 || count >= kChunkCountMax) {
    return absl::DataLossError("its head is wrong");
  }
  return count;
}

absl::Status Close(const Reader& in) {
  return in.ok && in.left.empty() ? absl::OkStatus() : absl::DataLossError("its columns are wrong");
}

}  // namespace

std::string EncodePoints(int64_t base_ms, std::span<const Point> points) {
  std::string out =
      Begin(kPointsKind, base_ms, points, [](const Point& point) { return point.time_ms; });
  PutFloats(ColumnOf(points, &Point::value), {}, out);
  return End(std::move(out));
}

std::string EncodeBins(int64_t base_ms, std::span<const Bin> bins) {
  std::string out = Begin(kBinsKind, base_ms, bins, [](const Bin& bin) { return bin.start_ms; });
  const std::vector<float> mean = ColumnOf(bins, &Bin::mean);
  const std::vector<float> min = ColumnOf(bins, &Bin::min);
  PutFloats(mean, {}, out);
  PutFloats(min, mean, out);
  PutFloats(ColumnOf(bins, &Bin::max), min, out);
  Words counts;
  for (const Bin& bin : bins) counts.push_back(bin.count);
  PutColumns(counts, out);
  return End(std::move(out));
}

absl::StatusOr<std::vector<Point>> DecodePoints(int64_t base_ms, std::string_view bytes) {
  Reader in{bytes};
  const auto count = Open(kPointsKind, in);
  if (!count.ok()) return count.status();
  const Words offsets = GetTimes(*count, in);
  const std::vector<float> values = GetFloats(*count, {}, in);
  if (absl::Status status = Close(in); !status.ok()) return status;
  std::vector<Point> points(*count);
  for (size_t i = 0; i < *count; ++i) points[i] = {base_ms + offsets[i], values[i]};
  return points;
}

absl::StatusOr<std::vector<Bin>> DecodeBins(int64_t base_ms, std::string_view bytes) {
  Reader in{bytes};
  const auto count = Open(kBinsKind, in);
  if (!count.ok()) return count.status();
  const Words offsets = GetTimes(*count, in);
  const std::vector<float> mean = GetFloats(*count, {}, in);
  const std::vector<float> min = GetFloats(*count, mean, in);
  const std::vector<float> max = GetFloats(*count, min, in);
  const Words counts = GetColumns(*count, in);
  if (absl::Status status = Close(in); !status.ok()) return status;
  std::vector<Bin> bins(*count);
  for (size_t i = 0; i < *count; ++i) {
    bins[i] = {base_ms + offsets[i], mean[i], min[i], max[i], counts[i]};
  }
  return bins;
}

}  // namespace foreshadow
