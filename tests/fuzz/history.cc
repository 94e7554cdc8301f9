// Chunks and rows of the history. The first byte chooses; a chunk gets its right checksum here, or
// nothing would be found behind it.
#include <zlib.h>

#include "kernels/check.h"
#include "service/history/chunk.h"
#include "service/history/rows.h"
#include "tests/fuzz/target.h"

namespace foreshadow::fuzz {

std::vector<std::string> Seeds() {
  std::vector<Point> points;
  for (int64_t i = 0; i < 40; ++i) {
    points.push_back({i * 60'000 + i % 3, static_cast<float>(i * 37 % 101) / 100});
  }
  std::vector<Point> odd;
  for (int64_t i = 0; i < 20; ++i) odd.push_back({i * i * 999, static_cast<float>(i) / 3});
  const auto without_checksum = [](std::string bytes) {
    bytes.resize(bytes.size() - 4);
    return bytes;
  };
  std::string row;
  for (int32_t a = 0; a < 5; ++a) history::PutEntry({a, SignalKind::kNetwork, 1, 2.5f}, row);
  return {"p" + without_checksum(EncodePoints(0, points)),
          "p" + without_checksum(EncodePoints(0, odd)),
          "b" + without_checksum(EncodeBins(0, Summarize(points, Resolution::kFiveMinutes))),
          "b" + without_checksum(EncodeBins(0, Summarize(odd, Resolution::kSamples))), "r" + row};
}

}  // namespace foreshadow::fuzz

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace foreshadow;
  if (size == 0) return 0;
  std::string bytes(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] == 'r') {
    history::ForEachEntry({1, 2, 3}, bytes, [](const Sample& s) {
      FORESHADOW_CHECK(static_cast<int>(s.signal) < kSignals && s.account >= 0);
    });
    return 0;
  }
  const auto crc =
      static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(bytes.data()), bytes.size()));
  for (int shift = 0; shift < 32; shift += 8) bytes.push_back(static_cast<char>(crc >> shift));
  if (data[0] == 'b') {
    const auto bins = DecodeBins(0, bytes);
    if (bins.ok()) FORESHADOW_CHECK(DecodeBins(0, EncodeBins(0, *bins)).ok());
    return 0;
  }
  const auto points = DecodePoints(0, bytes);
  if (!points.ok()) return 0;
  const auto again = DecodePoints(0, EncodePoints(0, *points));
  FORESHADOW_CHECK(again.ok() && again->size() == points->size());
  return 0;
}
