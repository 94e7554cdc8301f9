// The bytes of one series' samples, or summaries, within one bucket of time. They are laid out so
// that a general compressor does well on them: times as changes of their distance, values as small
// whole numbers where they are that, each byte of a number in a column of its own. A checksum ends
// them. docs/formats/history.md tells the layout. Pure; any thread.
#pragma once

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "service/history/bins.h"

namespace foreshadow {

// Times ascend, none twice, within base_ms <= time < base_ms + kChunkSpanMsMax; there is at least
// one, and less than kChunkCountMax.
inline constexpr int64_t kChunkSpanMsMax = int64_t{1} << 30;
// A hundred samples a second for 12 hours; a damaged count costs no more memory than that.
inline constexpr size_t kChunkCountMax = 1 << 22;

std::string EncodePoints(int64_t base_ms, std::span<const Point> points);
std::string EncodeBins(int64_t base_ms, std::span<const Bin> bins);

// DATA_LOSS for bytes that the functions above did not make.
absl::StatusOr<std::vector<Point>> DecodePoints(int64_t base_ms, std::string_view bytes);
absl::StatusOr<std::vector<Bin>> DecodeBins(int64_t base_ms, std::string_view bytes);

}  // namespace foreshadow
