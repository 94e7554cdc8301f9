// Lagged correlation on the GPU, a thread a series: neighbouring threads read neighbouring columns.
// Two reads of the data for up to kLagTile lags of series without gaps; the leader's last samples
// wait in registers for the follower's.
#pragma once

#include "kernels/algo/lags.h"
#include "kernels/algo/samples.h"

namespace foreshadow::kernels::cuda {

inline constexpr int kLagTile = 16;
inline constexpr int kLagTileGaps = 4;  // six sums a lag

// One side of the pairs.
struct LagSide {
  SeriesStatus status = SeriesStatus::kOk;
  bool gaps = false;
  double mean = 0;
  double square = 0;  // sum of squares about the mean
  double memory = 0;  // lag-one correlation
};

FORESHADOW_PORTABLE inline LagSide ReadLagSide(StepMajor<const float> from, int64_t s) {
  // About the first sample: a level must not drown the variation.
  double origin = 0;
  double low = 0;
  double high = 0;
  double present = 0;
  double sum = 0;
  double square = 0;
  LagSums own;
  double before = std::numeric_limits<double>::quiet_NaN();
  for (int64_t i = 0; i < from.steps; ++i) {
    const double value = from.at(i, s);
    if (present == 0 && !std::isnan(value)) origin = low = high = value;
    const double off = value - origin;
    if (!std::isnan(value)) {
      low = value < low ? value : low;
      high = value > high ? value : high;
      present += 1;
      sum += off;
      square += off * off;
      if (!std::isnan(before)) {
        own.pairs += 1;
        own.x += before;
        own.y += off;
        own.xx += before * before;
        own.yy += off * off;
        own.xy += before * off;
      }
    }
    before = off;
  }
  LagSide side;
  side.status = SamplesStatus(present, low, high);
  if (side.status != SeriesStatus::kOk) return side;
  side.gaps = present < static_cast<double>(from.steps);
  side.mean = origin + sum / present;
  side.square = square - sum * sum / present;
  side.memory = CorrelationOf(own, side.square, side.square);
  return side;
}

// The sums of the lags first..first+kTile-1.
template <int kTile, bool kGaps>
FORESHADOW_PORTABLE void SumLags(const LagArgs& args, int64_t s, double leader_mean,
                                 double follower_mean, int64_t first, LagSums (&sums)[kTile]) {
  const int64_t steps = args.leader.steps;
  double window[kTile] = {};  // [k] the leader first + k steps ago
  uint32_t there = 0;         // bit k: it has a sample
  double pairs = 0, x = 0, y = 0, xx = 0, yy = 0;
  for (int64_t i = first; i < steps; ++i) {
    for (int k = kTile - 1; k > 0; --k) window[k] = window[k - 1];
    const double before = args.leader.at(i - first, s) - leader_mean;
    double later = args.follower.at(i, s) - follower_mean;
    if constexpr (kGaps) {
      there = there << 1 | static_cast<uint32_t>(!std::isnan(before));
      window[0] = std::isnan(before) ? 0 : before;
      const bool has = !std::isnan(later);
      later = has ? later : 0;
      for (int k = 0; k < kTile; ++k) {
        const bool partner = (there >> k & 1) != 0;
        sums[k].pairs += has && partner ? 1 : 0;
        sums[k].x += has ? window[k] : 0;
        sums[k].xx += has ? window[k] * window[k] : 0;
        sums[k].y += partner ? later : 0;
        sums[k].yy += partner ? later * later : 0;
        sums[k].xy += window[k] * later;
      }
    } else {
      window[0] = before;
      for (int k = 0; k < kTile; ++k) sums[k].xy = std::fma(window[k], later, sums[k].xy);
      pairs += 1;
      x += before;
      xx += before * before;
      y += later;
      yy += later * later;
    }
  }
  if constexpr (!kGaps) {
    // A lag more has a pair less: without the leader's last step and the follower's first.
    for (int k = 0; k < kTile && first + k < steps; ++k) {
      sums[k].pairs = pairs;
      sums[k].x = x;
      sums[k].xx = xx;
      sums[k].y = y;
      sums[k].yy = yy;
      const double last = args.leader.at(steps - 1 - first - k, s) - leader_mean;
      const double early = args.follower.at(first + k, s) - follower_mean;
      pairs -= 1;
      x -= last;
      xx -= last * last;
      y -= early;
      yy -= early * early;
    }
  }
}

template <int kTile, bool kGaps>
FORESHADOW_PORTABLE void OfferLags(const LagArgs& args, int64_t s, SeriesStatus status,
                                   const LagSide& leader, const LagSide& follower,
                                   LagChoice& choice) {
  const double share = EffectiveShare(leader.memory, follower.memory);
  for (int32_t first = 0; first <= args.max_lag; first += kTile) {
    LagSums sums[kTile];
    if (status == SeriesStatus::kOk) {
      SumLags<kTile, kGaps>(args, s, leader.mean, follower.mean, first, sums);
    }
    for (int k = 0; k < kTile && first + k <= args.max_lag; ++k) {
      OfferLag(args, s, first + k, status, sums[k], leader.square, follower.square, share, choice);
    }
  }
}

FORESHADOW_PORTABLE inline void LagsOf(const LagArgs& args, int64_t s) {
  const LagSide leader = ReadLagSide(args.leader, s);
  const LagSide follower = ReadLagSide(args.follower, s);
  const SeriesStatus status = leader.status != SeriesStatus::kOk ? leader.status : follower.status;
  LagChoice choice;
  if (leader.gaps || follower.gaps) {
    OfferLags<kLagTileGaps, true>(args, s, status, leader, follower, choice);
  } else {
    OfferLags<kLagTile, false>(args, s, status, leader, follower, choice);
  }
  ChooseLag(args, s, status, choice);
}

template <typename Device>
void Lags(const LagArgs& args) {
  CheckLags(args);
  Device::ForEach(args.leader.series, args.stream,
                  [args] FORESHADOW_PORTABLE(int64_t s) { LagsOf(args, s); });
}

}  // namespace foreshadow::kernels::cuda
