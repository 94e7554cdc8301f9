// States of the LSTM as bytes, little-endian as the machines are that this runs on:
//   8 bytes "FSLSTMS1", u64 fingerprint of the model, i64 end_ms, i64 series; per block
//   i64 columns, i64 phase, then arrays: i64[columns], i32[width] week, and floats rows, day,
//   season, hidden, cell; last u64 FNV-1a of all before it.
#include <fmt/core.h>

#include <bit>
#include <cstring>

#include "models/lstm/stream.h"

namespace foreshadow::models {
namespace {

static_assert(std::endian::native == std::endian::little);

constexpr std::string_view kMagic = "FSLSTMS1";

struct Header {
  char magic[8];
  uint64_t fingerprint;
  int64_t end_ms;
  int64_t series;
};

template <typename T>
void Put(const T* values, size_t count, std::string& bytes) {
  bytes.append(reinterpret_cast<const char*>(values), count * sizeof(T));
}

// Takes bytes off the front, as long as there are enough.
class Reader {
 public:
  explicit Reader(std::string_view bytes) : bytes_(bytes) {}

  template <typename T>
  bool Take(T* values, size_t count) {
    const size_t size = count * sizeof(T);
    if (size > bytes_.size()) return false;
    std::memcpy(values, bytes_.data(), size);
    bytes_.remove_prefix(size);
    return true;
  }
  template <typename T>
  bool Take(std::vector<T>& values) {
    return Take(values.data(), values.size());
  }
  bool empty() const { return bytes_.empty(); }

 private:
  std::string_view bytes_;
};

// The columns of block `index`, and nothing that is no series.
bool ColumnsFit(const LstmBlock& block, int64_t index, int64_t series) {
  const int64_t first = index * kLstmBlockSeries;
  const int64_t own = std::min(kLstmBlockSeries, series - first);
  for (int64_t i = 0; i < std::ssize(block.columns); ++i) {
    const int64_t column = block.columns[i];
    if (i < own ? column != first + i : column < 0 || column >= series) return false;
  }
  return std::ssize(block.columns) >= own;
}

bool TakeBlock(const LstmRunner& runner, int64_t index, const LstmState& state, Reader& reader,
               LstmBlock& block) {
  int64_t columns = 0;
  int64_t phase = 0;
  if (!reader.Take(&columns, 1) || !reader.Take(&phase, 1)) return false;
  if (columns < 1 || columns > 2 * kLstmBlockSeries) return false;
  const FeatureSpec& spec = runner.card.spec;
  if (phase < 0 || phase >= spec.day_steps()) return false;
  const std::array end_ms = {state.end_ms};
  block.columns.resize(static_cast<size_t>(columns));
  block.features = NewFeatureState(spec, columns, end_ms);
  block.features.phase = phase;
  const kernels::LstmModel& model = runner.plan.model;
  block.hidden.resize(
      static_cast<size_t>(int64_t{model.layers} * model.hidden * block.features.width));
  block.cell.resize(block.hidden.size());
  FeatureState& f = block.features;
  if (!reader.Take(block.columns) || !reader.Take(f.week) || !reader.Take(f.rows) ||
      !reader.Take(f.day) || !reader.Take(f.season) || !reader.Take(block.hidden) ||
      !reader.Take(block.cell)) {
    return false;
  }
  const auto off_week = [&](int32_t step) { return step < 0 || step >= 7 * spec.day_steps(); };
  return std::ranges::none_of(f.week, off_week) && ColumnsFit(block, index, state.series);
}

}  // namespace

std::string SaveLstmState(const LstmState& state) {
  std::string bytes;
  Header header{{}, state.fingerprint, state.end_ms, state.series};
  std::memcpy(header.magic, kMagic.data(), kMagic.size());
  Put(&header, 1, bytes);
  for (const LstmBlock& block : state.blocks) {
    const std::array<int64_t, 2> sizes = {std::ssize(block.columns), block.features.phase};
    Put(sizes.data(), sizes.size(), bytes);
    Put(block.columns.data(), block.columns.size(), bytes);
    Put(block.features.week.data(), block.features.week.size(), bytes);
    for (const auto* values : {&block.features.rows, &block.features.day, &block.features.season,
                               &block.hidden, &block.cell}) {
      Put(values->data(), values->size(), bytes);
    }
  }
  const uint64_t hash = HashOf(bytes.data(), bytes.size());
  Put(&hash, 1, bytes);
  return bytes;
}

absl::Status RestoreLstmState(const LstmRunner& runner, const std::string& bytes,
                              LstmState& state) {
  Header header;
  uint64_t hash = 0;
  if (bytes.size() < sizeof(header) + sizeof(hash)) {
    return absl::DataLossError(
        fmt::format("a state of the lstm has {} bytes: at least {} are "
                    "needed",
                    bytes.size(), sizeof(header) + sizeof(hash)));
  }
  const size_t body = bytes.size() - sizeof(hash);
  std::memcpy(&header, bytes.data(), sizeof(header));
  std::memcpy(&hash, bytes.data() + body, sizeof(hash));
  if (kMagic != std::string_view(header.magic, sizeof(header.magic))) {
    return absl::FailedPreconditionError(fmt::format(
        "the bytes do not begin with {}: no state of the lstm, or of another version", kMagic));
  }
  if (hash != HashOf(bytes.data(), body)) {
    return absl::DataLossError("the state of the lstm does not match its checksum");
  }
  if (header.fingerprint != runner.fingerprint) {
    return absl::FailedPreconditionError(
        fmt::format("the state is of the model {:016x}: this one is {:016x}", header.fingerprint,
                    runner.fingerprint));
  }
  LstmState restored{header.fingerprint, header.end_ms, header.series, {}};
  Reader reader(std::string_view(bytes).substr(sizeof(header), body - sizeof(header)));
  if (restored.series < 0 || restored.series > static_cast<int64_t>(bytes.size())) {
    return absl::DataLossError(fmt::format("the state has {} series", restored.series));
  }
  const int64_t blocks = (restored.series + kLstmBlockSeries - 1) / kLstmBlockSeries;
  for (int64_t i = 0; i < blocks; ++i) {
    restored.blocks.emplace_back();
    if (!TakeBlock(runner, i, restored, reader, restored.blocks.back())) {
      return absl::DataLossError(fmt::format("block {} of the state is not whole", i));
    }
  }
  if (!reader.empty()) return absl::DataLossError("the state has bytes after its last block");
  state = std::move(restored);
  return absl::OkStatus();
}

}  // namespace foreshadow::models
