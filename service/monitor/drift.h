// Tells when the published forecasts of a signal have become worse than they used to be, with a
// bound on false alarms that needs no independence between accounts or ticks. Plain data and
// functions; called by the tick's thread.
//
// Each test watches a share x in [0, 1] whose mean, given all that came before, is at most `bound`
// as long as nothing has drifted. Then 1 + bet (x - bound) is an e-value (Waudby-Smith and Ramdas
// 2024, "Estimating means of bounded random variables by betting", section 3), and the
// Shiryaev-Roberts sums of their products, M = (1 + M) e, are an e-detector (Shin, Ramdas and
// Rinaldo 2024, "E-detectors: a nonparametric framework for sequential change detection", section
// 2): the mean time until M reaches A, under no drift, is at least A ticks.
//   coverage: x = the share of samples outside the 80 % interval, bound 0.3
//   loss: x = L / (L + 1.5 R), bound 0.5, L the tick's mean scaled pinball loss and R its usual
//     value. If L's mean is at most 1.5 R, the mean of x is at most 0.5 by Jensen's inequality.
#pragma once

#include <array>
#include <cstdint>
#include <string>
#include <vector>

#include "models/forecaster.h"

namespace foreshadow {

inline constexpr double kMissedBound = 0.3;  // of the 20 % that the interval leaves out
inline constexpr double kLossFactor = 1.5;
inline constexpr std::array<double, 3> kBets = {0.5, 1, 1.5};  // below 1 / bound of each test

struct DriftTest {
  std::array<double, kBets.size()> sums{};  // M of each bet
  double excess = 0;                        // fading mean of x - bound, over about two hours
  int64_t since_ms = 0;                     // of the alarm that stands; 0 = none

  double evidence() const;  // against no drift: the mean of the sums
};

// Of one signal.
struct DriftWatch {
  double usual_loss = 0;  // R: fading mean, half-life of a week
  int64_t ticks = 0;      // that it rests on
  DriftTest coverage;
  DriftTest loss;
};
using DriftWatches = std::array<DriftWatch, models::kSignalKinds>;

// Forecasts one step ahead, against their samples, of one signal and tick.
struct TickLosses {
  int64_t count = 0;
  int64_t missed = 0;      // outside the 80 % interval
  double pinball_sum = 0;  // scaled
};

// One tick of one test: raises the alarm when the evidence reaches `threshold`, and ends it, the
// evidence with it, once the excess is gone.
void Follow(double share, double bound, double threshold, int64_t now_ms, int64_t step_ms,
            DriftTest& test);

// All tests of a tick; alarms that stand are named in `alerts`, in words that do not change while
// they stand. On average at most one false alarm in `false_alarm_days`, over all tests together.
void WatchDrift(const std::array<TickLosses, models::kSignalKinds>& losses, int64_t now_ms,
                int64_t step_ms, int32_t false_alarm_days, DriftWatches& watches,
                std::vector<std::string>& alerts);

// An alarm of a resource stands.
bool Drifted(const DriftWatches& watches);

}  // namespace foreshadow
