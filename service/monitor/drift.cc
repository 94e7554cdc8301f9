#include "service/monitor/drift.h"

#include <fmt/chrono.h>
#include <fmt/core.h>

#include <algorithm>
#include <cmath>

namespace foreshadow {
namespace {

constexpr int64_t kHourMs = 3'600'000;
constexpr int64_t kDayMs = 24 * kHourMs;
// Each of the tests gets the threshold of all: the mean of their evidence is an e-detector, too,
// and reaches A before one of them reaches kTests * A.
constexpr int kTests = 2 * models::kSignalKinds;

constexpr const char* kNames[] = {"cpu", "memory", "network", "storage", "mutation rate"};

// Weight of a new value in a fading mean of that half-life.
double Rate(int64_t half_life_ms, int64_t step_ms) {
  return 1 - std::exp2(-static_cast<double>(step_ms) / static_cast<double>(half_life_ms));
}

std::string Minute(int64_t time_ms) {
  return fmt::format("{:%Y-%m-%d %H:%M} UTC", fmt::gmtime(time_ms / 1'000));
}

}  // namespace

double DriftTest::evidence() const {
  double sum = 0;
  for (const double m : sums) sum += m;
  return sum / static_cast<double>(sums.size());
}

void Follow(double share, double bound, double threshold, int64_t now_ms, int64_t step_ms,
            DriftTest& test) {
  test.excess += Rate(2 * kHourMs, step_ms) * (share - bound - test.excess);
  if (test.since_ms != 0) {
    if (test.excess < 0) test = {{}, test.excess, 0};
    return;
  }
  for (size_t b = 0; b < kBets.size(); ++b) {
    test.sums[b] = (1 + test.sums[b]) * (1 + kBets[b] * (share - bound));
  }
  if (test.evidence() < threshold) return;
  test.since_ms = now_ms;
  test.excess = std::max(test.excess, share - bound);
}

void WatchDrift(const std::array<TickLosses, models::kSignalKinds>& losses, int64_t now_ms,
                int64_t step_ms, int32_t false_alarm_days, DriftWatches& watches,
                std::vector<std::string>& alerts) {
  const int64_t day_ticks = std::max<int64_t>(1, kDayMs / step_ms);
  const double threshold = static_cast<double>(kTests * false_alarm_days * day_ticks);
  for (int signal = 0; signal < models::kSignalKinds; ++signal) {
    const TickLosses& tick = losses[signal];
    DriftWatch& watch = watches[signal];
    if (tick.count > 0) {
      const auto count = static_cast<double>(tick.count);
      const double loss = tick.pinball_sum / count;
      Follow(static_cast<double>(tick.missed) / count, kMissedBound, threshold, now_ms, step_ms,
             watch.coverage);
      // The usual loss is known after a day; without any, any loss at all would be more.
      if (watch.ticks >= day_ticks && watch.usual_loss > 0) {
        Follow(loss / (loss + kLossFactor * watch.usual_loss), 0.5, threshold, now_ms, step_ms,
               watch.loss);
      }
      ++watch.ticks;
      const double rate = std::max(Rate(7 * kDayMs, step_ms), 1 / static_cast<double>(watch.ticks));
      watch.usual_loss += rate * (loss - watch.usual_loss);
    }
    if (watch.coverage.since_ms != 0) {
      alerts.push_back(fmt::format(
          "forecasts of {} have drifted since {}: their 80 % interval leaves out over {:.0f} %",
          kNames[signal], Minute(watch.coverage.since_ms), 100 * kMissedBound));
    }
    if (watch.loss.since_ms != 0) {
      alerts.push_back(fmt::format(
          "forecasts of {} have drifted since {}: their loss is over {} times the usual",
          kNames[signal], Minute(watch.loss.since_ms), kLossFactor));
    }
  }
}

bool Drifted(const DriftWatches& watches) {
  return std::any_of(watches.begin(), watches.end(), [](const DriftWatch& w) {
    return w.coverage.since_ms != 0 || w.loss.since_ms != 0;
  });
}

}  // namespace foreshadow
