#include "models/lstm/device.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <limits>
#include <string>
#include <utility>

#include "models/chosen.h"
#include "models/means/take.h"
#include "models/parallel.h"

namespace foreshadow::models {
namespace {

using kernels::StepMajor;

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();
constexpr int64_t kWriteChunk = 4096;
constexpr int64_t kMeanChunk = 65'536;

int64_t WholeTiles(int64_t series) {
  return (series + kernels::kLstmTile - 1) / kernels::kLstmTile * kernels::kLstmTile;
}

}  // namespace

// Rows are [width]; what a step is told by and answers with are of a chunk.
struct LstmDevice::Memory {
  explicit Memory(const kernels::Ops& from) : ops(from) {}
  ~Memory() {
    for (void* piece : pieces) ops.release(piece);
  }
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  template <typename T>
  T* Take(int64_t count) {
    void* piece = has_room ? ops.allocate(static_cast<size_t>(count) * sizeof(T)) : nullptr;
    if (piece != nullptr) pieces.push_back(piece);
    has_room = piece != nullptr;
    return static_cast<T*>(piece);
  }
  // Copies of what a step overwrites, and back by taking them for it.
  void Keep();
  void PutBack();
  bool Fits(const LstmSeen& wanted, int64_t fine_ms, int wanted_steps) const {
    return wanted.series <= past.width && fine_ms == step_ms && wanted_steps == steps;
  }
  template <typename T>
  void Bring(std::span<const T> values, T* to) const {
    ops.copy_in(to, values.data(), values.size_bytes(), nullptr);
  }

  const kernels::Ops& ops;
  std::vector<void*> pieces;
  bool has_room = true;

  int64_t chunk = 0;    // series that are described at once
  int64_t step_ms = 0;  // of the histories
  int steps = 0;        // that can be forecast
  kernels::LstmPast past;
  float* hidden = nullptr;  // [layers * hidden][width]
  float* cell = nullptr;
  int64_t state_rows = 0;  // of either
  struct {                 // as above; of a day and a season one row
    kernels::LstmPast past;
    float* hidden = nullptr;
    float* cell = nullptr;
  } kept;
  float* weights = nullptr;
  int64_t weights_count = 0;
  float* clock = nullptr;
  float* samples = nullptr;     // [width] of one step
  Driver* drivers = nullptr;    // [width]
  int32_t* contexts = nullptr;  // [width]
  float* features = nullptr;    // [kFeatures][chunk], and so on
  float* candidates = nullptr;
  float* spreads = nullptr;
  float* levels = nullptr;
  float* scales = nullptr;
  float* quantiles = nullptr;
  std::span<std::byte> workspace;
};

void LstmDevice::Memory::Keep() {
  const auto width = static_cast<size_t>(past.width);
  const auto row = static_cast<int64_t>((past.phase + 1) % past.day_steps * past.width);
  kept.past.phase = past.phase;
  ops.copy(kept.past.week, past.week, width * sizeof(int32_t), nullptr);
  const auto copy = [&](float* to, const float* from, int64_t rows) {
    ops.copy(to, from, static_cast<size_t>(rows) * width * sizeof(float), nullptr);
  };
  copy(kept.past.rows, past.rows, kernels::lstm::kPastRows);
  copy(kept.past.day, past.day + row, 1);
  copy(kept.past.season, past.season + row, 1);
  copy(kept.hidden, hidden, state_rows);
  copy(kept.cell, cell, state_rows);
}

void LstmDevice::Memory::PutBack() {
  const size_t row_bytes = static_cast<size_t>(past.width) * sizeof(float);
  ops.copy(past.day + past.phase * past.width, kept.past.day, row_bytes, nullptr);
  ops.copy(past.season + past.phase * past.width, kept.past.season, row_bytes, nullptr);
  past.phase = kept.past.phase;
  std::swap(past.week, kept.past.week);
  std::swap(past.rows, kept.past.rows);
  std::swap(hidden, kept.hidden);
  std::swap(cell, kept.cell);
}

LstmDevice::LstmDevice(const kernels::Ops& ops, int64_t chunk_series)
    : ops_(ops), chunk_series_(chunk_series) {}
LstmDevice::~LstmDevice() = default;

// A state that has seen nothing, with room for some more series than there are.
absl::Status LstmDevice::Begin(const LstmRunner& runner, const History& history, int steps) {
  seen_ = {};
  memory_.reset();  // before its like is taken
  auto memory = std::make_unique<Memory>(ops_);
  Memory& m = *memory;
  const kernels::LstmModel& model = runner.plan.model;
  const int64_t series = history.values.series;
  const int64_t width = WholeTiles(series + series / 8);
  const int64_t own_ms = runner.card.spec.step_ms;
  const int64_t of_mean = own_ms / history.step_ms;
  const std::array start_ms = {history.end_ms - history.values.steps / of_mean * own_ms};
  const FeatureState like = NewFeatureState(runner.card.spec, 1, start_ms);
  m.step_ms = history.step_ms;
  m.steps = steps;
  m.past = {.width = width,
            .phase = like.phase,
            .day_steps = like.spec.day_steps(),
            .hour_steps = std::min(like.spec.hour_steps(), kernels::lstm::kHourStepsMax)};
  m.past.week = m.Take<int32_t>(width);
  m.past.rows = m.Take<float>(kernels::lstm::kPastRows * width);
  m.past.day = m.Take<float>(m.past.day_steps * width);
  m.past.season = m.Take<float>(m.past.day_steps * width);
  m.state_rows = int64_t{model.layers} * model.hidden;
  m.hidden = m.Take<float>(m.state_rows * width);
  m.cell = m.Take<float>(m.state_rows * width);
  m.weights_count = std::ssize(runner.plan.weights);
  m.weights = m.Take<float>(m.weights_count);
  if (of_mean > 1) {
    m.kept.past.week = m.Take<int32_t>(width);
    m.kept.past.rows = m.Take<float>(kernels::lstm::kPastRows * width);
    m.kept.past.day = m.Take<float>(width);
    m.kept.past.season = m.Take<float>(width);
    m.kept.hidden = m.Take<float>(m.state_rows * width);
    m.kept.cell = m.Take<float>(m.state_rows * width);
  }
  m.clock = m.Take<float>(std::ssize(like.clock));
  m.samples = m.Take<float>(width);
  m.drivers = m.Take<Driver>(width);
  m.contexts = m.Take<int32_t>(width);
  const int64_t chunk = m.chunk = std::min(chunk_series_, width);
  m.features = m.Take<float>(kFeatures * chunk);
  m.candidates = m.Take<float>(int64_t{steps} * kCandidates * chunk);
  m.spreads = m.Take<float>(kSpreads * chunk);
  m.levels = m.Take<float>(chunk);
  m.scales = m.Take<float>(chunk);
  m.quantiles = m.Take<float>(int64_t{steps} * kQuantiles * chunk);
  const auto workspace_bytes = static_cast<int64_t>(ops_.lstm_step_workspace_bytes(model, steps));
  if (workspace_bytes > 0) {
    m.workspace = {m.Take<std::byte>(workspace_bytes), static_cast<size_t>(workspace_bytes)};
  }
  if (!m.has_room) {
    return absl::ResourceExhaustedError(
        fmt::format("{} has no room for the states of {} series", std::string(ops_.name), series));
  }
  m.Bring(std::span<const float>(runner.plan.weights), m.weights);
  m.Bring(std::span<const float>(like.clock), m.clock);
  const std::vector<int32_t> week(static_cast<size_t>(width), like.week[0]);
  m.Bring(std::span<const int32_t>(week), m.past.week);
  const std::vector<float> nothing(static_cast<size_t>(width), 0.0f);
  const std::vector<float> missing(static_cast<size_t>(width), kMissing);
  const auto fill = [&](float* rows, int64_t count, const std::vector<float>& row) {
    for (int64_t r = 0; r < count; ++r) m.Bring(std::span<const float>(row), rows + r * width);
  };
  using kernels::lstm::kYesterdayNow;
  fill(m.past.rows, kernels::lstm::kPastRows, nothing);
  fill(m.past.rows + kYesterdayNow * width, 2, missing);
  fill(m.past.day, m.past.day_steps, missing);
  fill(m.past.season, m.past.day_steps, missing);
  fill(m.hidden, m.state_rows, nothing);
  fill(m.cell, m.state_rows, nothing);
  fill(m.samples, 1, missing);
  sampled_.assign(static_cast<size_t>(width), 0);
  const std::string_view error = ops_.wait(nullptr);  // the rows above go
  if (!error.empty()) return absl::InternalError(std::string(error));
  memory_ = std::move(memory);
  return absl::OkStatus();
}

// Takes a step's samples in.
void LstmDevice::Advance(std::span<const float> samples) {
  Memory& m = *memory_;
  m.Bring(samples, m.samples);
  m.past.phase = (m.past.phase + 1) % m.past.day_steps;
  ops_.lstm_advance({m.past, m.samples});
}

// The network's step of `count` series from `first` on; their forecast of `steps` steps with it.
void LstmDevice::StepNetwork(const LstmRunner& runner, int64_t first, int64_t count, int steps) {
  const Memory& m = *memory_;
  const int64_t chunk = m.chunk;
  const auto of_chunk = [&](float* rows, int64_t rows_count) {
    return StepMajor<float>{rows, rows_count, count, chunk};
  };
  const auto of_state = [&](float* rows) {
    return StepMajor<float>{rows + first, m.state_rows, count, m.past.width};
  };
  kernels::LstmDescribeArgs seen{.past = m.past,
                                 .first = first,
                                 .count = WholeTiles(count),
                                 .clock = m.clock,
                                 .drivers = m.drivers,
                                 .stride = chunk,
                                 .features = m.features};
  kernels::LstmStepArgs args;
  args.model = runner.plan.model;
  args.weights = {m.weights, static_cast<size_t>(m.weights_count)};
  args.features = of_chunk(m.features, kFeatures);
  args.contexts = {m.contexts + first, static_cast<size_t>(count)};
  args.hidden = of_state(m.hidden);
  args.cell = of_state(m.cell);
  args.steps = steps;
  if (steps > 0) {
    seen.candidates = m.candidates;
    seen.spreads = m.spreads;
    seen.levels = m.levels;
    seen.scales = m.scales;
    seen.steps = steps;
    args.candidates = of_chunk(m.candidates, int64_t{steps} * kCandidates);
    args.spreads = of_chunk(m.spreads, kSpreads);
    args.quantiles = of_chunk(m.quantiles, int64_t{steps} * kQuantiles);
  }
  args.workspace = m.workspace;
  ops_.lstm_describe(seen);
  ops_.lstm_step(args);
}

// Series that the state is to be told the past of, up to the end of `before`: new ones, and those
// of which it has seen no sample until now though there are some before its `new_steps`.
std::vector<int64_t> LstmDevice::WithPasts(const History& ended, const History& before,
                                           int64_t new_steps, std::span<const float> newest) const {
  std::vector<int64_t> found;
  for (int64_t s = 0; s < ended.values.series; ++s) {
    if (sampled_[s] != 0) continue;
    const bool is_known = s < seen_.series;
    if (is_known && std::isnan(newest[s])) continue;
    if (is_known ? HasPast(ended, s, new_steps) : HasPast(before, s, 0)) found.push_back(s);
  }
  return found;
}

// The host warms these series up to the end of `before`.
void LstmDevice::TakeInPasts(const LstmRunner& runner, const History& before, int64_t network_steps,
                             std::span<const int64_t> late) {
  const Memory& m = *memory_;
  const int64_t count = runner.card.spec.step_ms / before.step_ms;
  for (size_t first = 0; first < late.size(); first += kLstmBlockSeries) {
    const auto some = late.subspan(first, std::min<size_t>(kLstmBlockSeries, late.size() - first));
    std::vector<int64_t> chosen(some.begin(), some.end());
    for (const int64_t s : some) {
      const int64_t driver = before.drivers.empty() ? -1 : before.drivers[s].series;
      if (driver >= 0) chosen.push_back(driver);
    }
    std::ranges::sort(chosen);
    chosen.erase(std::unique(chosen.begin(), chosen.end()), chosen.end());
    ChosenSeries dense;
    Gather(before, chosen, dense);
    Means means;
    TakeMeans(dense.history, count, dense.history.values.steps / count, means);
    std::vector<int64_t> places;  // among the chosen
    for (const int64_t s : some) {
      places.push_back(std::ranges::lower_bound(chosen, s) - chosen.begin());
      sampled_[s] = 1;
    }
    const LstmBlock block = WarmBlock(runner, means.history, places, network_steps);
    const int64_t width = block.features.width;
    for (size_t from = 0; from < some.size();) {
      size_t end = from + 1;  // of neighbours
      while (end < some.size() && some[end] == some[end - 1] + 1) ++end;
      const auto put = [&](const std::vector<float>& rows, float* to) {
        for (int64_t r = 0; r < std::ssize(rows) / width; ++r) {
          m.Bring(std::span(rows).subspan(r * width + from, end - from),
                  to + r * m.past.width + some[from]);
        }
      };
      put(block.features.rows, m.past.rows);
      put(block.features.day, m.past.day);
      put(block.features.season, m.past.season);
      put(block.hidden, m.hidden);
      put(block.cell, m.cell);
      from = end;
    }
    ops_.wait(nullptr);  // the block goes
  }
}

// The newest step's forecasts, a chunk at a time.
absl::Status LstmDevice::Forecast(const LstmRunner& runner, int threads) {
  const Memory& m = *memory_;
  QuantileBlock& out = answers_;
  const int64_t chunk = m.chunk;
  std::vector<float> quantiles(static_cast<size_t>(int64_t{out.steps} * kQuantiles * chunk));
  std::vector<float> levels(static_cast<size_t>(chunk));
  std::vector<float> scales(static_cast<size_t>(chunk));
  std::vector<float> samples(static_cast<size_t>(chunk));
  std::vector<float> ages(static_cast<size_t>(chunk));
  for (int64_t first = 0; first < out.series; first += chunk) {
    const int64_t count = std::min(chunk, out.series - first);
    StepNetwork(runner, first, count, out.steps);
    const auto fetch = [&](std::vector<float>& to, const float* from) {
      ops_.copy_out(to.data(), from, static_cast<size_t>(count) * sizeof(float), nullptr);
    };
    const float* rows = m.past.rows + first;
    fetch(levels, m.levels);
    fetch(scales, m.scales);
    fetch(samples, rows + kernels::lstm::kSamples * m.past.width);
    fetch(ages, rows + kernels::lstm::kAge * m.past.width);
    ops_.copy_out(quantiles.data(), m.quantiles, quantiles.size() * sizeof(float), nullptr);
    const std::string_view error = ops_.wait(nullptr);
    if (!error.empty()) return absl::InternalError(std::string(error));
    ForChunks(count, kWriteChunk, ThreadCount(threads), [&](int64_t from, int64_t end, int) {
      for (int64_t i = from; i < end; ++i) {
        WriteForecast(Judge(samples[i], ages[i], runner.card.spec.step_ms), levels[i], scales[i],
                      quantiles.data() + i, chunk, first + i, out);
      }
    });
  }
  return absl::OkStatus();
}

// What would be said of the newest step if it were `newest`; the state stays.
absl::Status LstmDevice::Look(const LstmRunner& runner, std::span<const float> newest,
                              int threads) {
  memory_->Keep();
  Advance(newest);
  absl::Status status = Forecast(runner, threads);
  memory_->PutBack();
  return status;
}

absl::Status LstmDevice::Follow(const LstmRunner& runner, const History& history, int steps,
                                int threads) {
  const int64_t own_ms = runner.card.spec.step_ms;
  const int64_t count = own_ms / history.step_ms;  // steps of a mean
  const int64_t series = history.values.series;
  const int64_t past = StepsPastEnd(history, own_ms);
  const bool looks = past > 0;
  const History ended = Without(history, past);  // which the state follows
  const int64_t length = ended.values.steps / count;
  const LstmSeen wanted{runner.fingerprint, ended.end_ms, series};
  int64_t new_means = NewSteps(runner, seen_, wanted, length);
  const bool is_there = looks && seen_.fingerprint == wanted.fingerprint &&
                        seen_.end_ms == wanted.end_ms && seen_.series <= series;
  const bool goes_on = (new_means > 0 || is_there) && memory_->Fits(wanted, history.step_ms, steps);
  int64_t network_means = new_means;
  if (!goes_on) {
    if (absl::Status status = Begin(runner, ended, steps); !status.ok()) return status;
    new_means = length;
    network_means = std::min<int64_t>(runner.card.window_steps, length);
  }
  const Memory& m = *memory_;
  const std::vector<int32_t> contexts = ContextsOf(runner, history);
  m.Bring(std::span<const int32_t>(contexts), m.contexts);
  std::vector<Driver> drivers;
  for (const Driver& driver : history.drivers) drivers.push_back(InMeans(driver, count));
  drivers.resize(static_cast<size_t>(m.past.width));
  m.Bring(std::span<const Driver>(drivers), m.drivers);

  const auto mean_before = [&](const History& fine, std::vector<float>& mean) {
    const auto& values = fine.values;
    if (count == 1) return std::span(&values.at(values.steps - 1, 0), static_cast<size_t>(series));
    mean.resize(static_cast<size_t>(series));
    ForChunks(series, kMeanChunk, ThreadCount(threads), [&](int64_t first, int64_t end, int) {
      const StepMajor<const float> some{values.data + first, values.steps, end - first,
                                        values.stride};
      TakeMean(some, count, values.steps, std::span(mean).subspan(first, end - first));
    });
    return std::span<const float>(mean);
  };
  const auto take_in = [&](std::span<const float> samples) {
    for (size_t s = 0; s < samples.size(); ++s) sampled_[s] |= std::isnan(samples[s]) ? 0 : 1;
    Advance(samples);
  };
  std::vector<float> newest_room;
  const std::span<const float> newest = mean_before(history, newest_room);
  const History before = looks ? ended : Without(ended, count);
  std::vector<int64_t> late;
  if (goes_on) late = WithPasts(ended, before, new_means * count, newest);
  std::vector<float> room;
  for (int64_t left = new_means - 1; left >= (looks ? 0 : 1); --left) {
    take_in(mean_before(Without(ended, left * count), room));
    for (int64_t first = 0; left < network_means && first < series; first += m.chunk) {
      StepNetwork(runner, first, std::min(m.chunk, series - first), 0);
    }
    ops_.wait(nullptr);  // the room is used again
  }
  const int64_t window_means = std::min<int64_t>(runner.card.window_steps, length);
  TakeInPasts(runner, before, looks ? window_means : window_means - 1, late);
  answers_.Resize(series, steps);
  absl::Status status;
  if (looks) {
    status = Look(runner, newest, threads);
  } else {
    take_in(newest);
    status = Forecast(runner, threads);
  }
  seen_ = status.ok() ? wanted : LstmSeen{};
  if (!status.ok()) memory_.reset();
  return status;
}

}  // namespace foreshadow::models
