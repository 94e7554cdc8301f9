#include "models/level/level.h"

#include <any>
#include <vector>

#include "models/empirical.h"
#include "models/level/carried.h"
#include "models/level/levels.h"
#include "models/parallel.h"

namespace foreshadow::models {
namespace {

constexpr int64_t kChunkSeries = 64;
constexpr int kStepsMax = 2'016;  // a week of 5 min: as far as the hot window looks back

class Level : public Forecaster {
 public:
  explicit Level(LevelKind kind) : kind_(kind) {}

  std::string_view name() const override {
    switch (kind_) {
      case LevelKind::kLastHourMean:
        return "last-hour-mean";
      case LevelKind::kLastHourMedian:
        return "last-hour-median";
      case LevelKind::kLastValue:
        break;
    }
    return "last-value";
  }

  int MaxSteps(int64_t step_ms) const override { return step_ms > 0 ? kStepsMax : 0; }

  absl::Status Forecast(const History& history, int steps, QuantileBlock& out) const override {
    if (absl::Status status = CheckHistory(history, steps, kStepsMax); !status.ok()) return status;
    const level::Call call = level::CallOf(kind_, history, steps);
    out.Resize(history.values.series, steps);
    ForEach(call, [&](int64_t s, level::Scratch& scratch) {
      level::ForecastAnew(call, s, scratch, out);
    });
    return absl::OkStatus();
  }

  bool carries() const override { return true; }
  std::string_view carries_with() const override { return "levels"; }

  absl::Status Continue(const History& history, int steps, std::any& carried,
                        QuantileBlock& out) const override {
    if (absl::Status status = CheckHistory(history, steps, kStepsMax); !status.ok()) return status;
    const level::Call call = level::CallOf(kind_, history, steps);
    out.Resize(history.values.series, steps);
    if (std::any_cast<level::LevelState>(&carried) == nullptr) carried = level::LevelState{};
    level::LevelState& state = *std::any_cast<level::LevelState>(&carried);
    const level::NewSteps new_steps = level::Prepare(call, state);
    ForEach(call, [&](int64_t s, level::Scratch& scratch) {
      level::GoOn(call, s, new_steps, state, scratch, out);
    });
    return absl::OkStatus();
  }

 private:
  template <typename Work>
  static void ForEach(const level::Call& call, const Work& work) {
    const int threads = ThreadCount(0);
    std::vector<level::Scratch> scratches(static_cast<size_t>(threads));
    ForChunks(call.newest.values.series, kChunkSeries, threads,
              [&](int64_t first, int64_t last, int worker) {
                for (int64_t s = first; s < last; ++s) work(s, scratches[worker]);
              });
  }

  LevelKind kind_;
};

}  // namespace

std::shared_ptr<const Forecaster> MakeLevel(LevelKind kind) {
  return std::make_shared<Level>(kind);
}

}  // namespace foreshadow::models
