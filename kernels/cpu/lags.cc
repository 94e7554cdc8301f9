#include "kernels/algo/lags.h"

#include <algorithm>
#include <limits>

#include "kernels/check.h"
#include "kernels/cpu/patterns.h"
#include "kernels/cpu/wide.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/lags.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "kernels/cpu/columns-inl.h"
#include "kernels/cpu/shifted_sums-inl.h"

#ifndef FORESHADOW_KERNELS_CPU_LAGS_SCRATCH
#define FORESHADOW_KERNELS_CPU_LAGS_SCRATCH
namespace foreshadow::kernels::cpu {

enum LagSumKind { kPairs, kX, kY, kXX, kYY, kXY, kLagSumKinds };

struct LagScratch {
  float* packed_leader;    // [kPackSeries / lanes][steps][lanes]
  float* packed_follower;  // likewise
  // Of one vector of series:
  double* leader;           // [steps][lanes]
  double* follower;         // [steps][lanes]
  double* sums;             // [lags][kLagSumKinds][lanes]
  double* own;              // [kLagSumKinds][lanes] of one side with itself
  int32_t* leader_gaps;     // [steps]
  int32_t* follower_gaps;   // [steps]
  uint8_t* leader_there;    // [ThereBytes] a byte a step, a bit a lane
  uint8_t* follower_there;  // likewise
};

// Lags at which there are pairs.
inline int64_t LagCount(const LagArgs& args) {
  return std::min(int64_t{args.max_lag} + 1, args.leader.steps);
}

// Masks are loaded and stored as 8 bytes, of which the first counts.
inline size_t ThereBytes(const LagArgs& args) { return static_cast<size_t>(args.leader.steps) + 7; }

}  // namespace foreshadow::kernels::cpu
#endif

HWY_BEFORE_NAMESPACE();
namespace foreshadow::kernels::cpu::HWY_NAMESPACE {
namespace {

constexpr int kGapTile = 4;  // lags whose sums stay in registers

// What partners of missing samples add up to.
struct GapSums {
  Wide pairs;
  Wide sum;
  Wide square;
};

// Partners lie lag steps later (kWay 1) or before (-1). Counted only later: once is enough.
template <int kWay>
void SumGaps(const WideColumns& missing, const WideColumns& partner, int64_t steps,
             int64_t first_lag, GapSums (&to)[kGapTile]) {
  const Doubles d;
  const int64_t lanes = WideLanes();
  const Wide one = hn::Set(d, 1.0);
  GapSums sums[kGapTile];
  for (GapSums& s : sums) s = {hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  for (int64_t g = 0; g < missing.gaps_count; ++g) {
    const int64_t at = missing.gaps[g];
    const auto gap = hn::Not(There(missing, at));
    for (int k = 0; k < kGapTile; ++k) {
      const int64_t i = at + kWay * (first_lag + k);
      if (i < 0 || i >= steps) break;
      const Wide value = hn::IfThenElseZero(gap, hn::Load(d, partner.values + i * lanes));
      sums[k].sum = hn::Add(sums[k].sum, value);
      sums[k].square = hn::MulAdd(value, value, sums[k].square);
      if constexpr (kWay > 0) {
        sums[k].pairs =
            hn::Add(sums[k].pairs, hn::IfThenElseZero(hn::And(gap, There(partner, i)), one));
      }
    }
  }
  for (int k = 0; k < kGapTile; ++k) to[k] = sums[k];
}

HWY_INLINE double* LagSumAt(double* sums, int64_t lag_index, LagSumKind kind) {
  return sums + (lag_index * kLagSumKinds + kind) * WideLanes();
}

// The sums of lags first..first+count-1 but for kXY, as [lag][kLagSumKinds][lanes].
void SumSides(const WideColumns& leader, const WideColumns& follower, int64_t steps, int64_t first,
              int64_t count, double* sums) {
  const Doubles d;
  const int64_t lanes = WideLanes();
  const auto at = [=](int64_t k, LagSumKind kind) { return LagSumAt(sums, k, kind); };
  // Those of the whole series, less the ends that have no partner at that lag...
  Wide pairs = follower.present;
  Wide x = leader.sum, xx = leader.square;
  Wide y = follower.sum, yy = follower.square;
  for (int64_t lag = 0; lag < first + count; ++lag) {
    if (lag >= first) {
      hn::Store(pairs, d, at(lag - first, kPairs));
      hn::Store(x, d, at(lag - first, kX));
      hn::Store(y, d, at(lag - first, kY));
      hn::Store(xx, d, at(lag - first, kXX));
      hn::Store(yy, d, at(lag - first, kYY));
    }
    const Wide last = hn::Load(d, leader.values + (steps - 1 - lag) * lanes);
    x = hn::Sub(x, last);
    xx = hn::NegMulAdd(last, last, xx);
    const Wide early = hn::Load(d, follower.values + lag * lanes);
    y = hn::Sub(y, early);
    yy = hn::NegMulAdd(early, early, yy);
    pairs = hn::Sub(pairs, hn::IfThenElseZero(There(follower, lag), hn::Set(d, 1.0)));
  }

  // ... and less the samples whose partner is missing.
  const auto take = [&](int64_t k, LagSumKind kind, Wide value) HWY_ATTR {
    hn::Store(hn::Sub(hn::Load(d, at(k, kind)), value), d, at(k, kind));
  };
  for (int64_t k = 0; k < count; k += kGapTile) {
    GapSums gaps[kGapTile];
    const int tile = static_cast<int>(std::min<int64_t>(kGapTile, count - k));
    SumGaps<1>(leader, follower, steps, first + k, gaps);
    for (int t = 0; t < tile; ++t) {
      take(k + t, kPairs, gaps[t].pairs);
      take(k + t, kY, gaps[t].sum);
      take(k + t, kYY, gaps[t].square);
    }
    SumGaps<-1>(follower, leader, steps, first + k, gaps);
    for (int t = 0; t < tile; ++t) {
      take(k + t, kX, gaps[t].sum);
      take(k + t, kXX, gaps[t].square);
    }
  }
}

LagSums LaneOf(const double* sums, int64_t lane) {
  const int64_t lanes = WideLanes();
  return {sums[kPairs * lanes + lane], sums[kX * lanes + lane],  sums[kY * lanes + lane],
          sums[kXX * lanes + lane],    sums[kYY * lanes + lane], sums[kXY * lanes + lane]};
}

// Lag-one correlation of each lane with itself.
void Memory(const WideColumns& side, int64_t steps, double* own, double (&memory)[kWideLanesMax]) {
  HWY_ALIGN double square[kWideLanesMax];
  hn::Store(side.square, Doubles(), square);
  std::fill_n(memory, kWideLanesMax, 0.0);
  if (steps < 2) return;
  SumSides(side, side, steps, 1, 1, own);
  hn::Store(side.own, Doubles(), LagSumAt(own, 0, kXY));
  for (int64_t lane = 0; lane < WideLanes(); ++lane) {
    memory[lane] = CorrelationOf(LaneOf(own, lane), square[lane], square[lane]);
  }
}

// Of a vector of series, packed.
void LagsOfLanes(const LagArgs& args, int64_t first, int64_t count, const float* packed_leader,
                 const float* packed_follower, const LagScratch& scratch) {
  const Doubles d;
  const int64_t steps = args.leader.steps;
  SeriesStatus status[kWideLanesMax] = {};
  const WideColumns leader = ReadColumns(packed_leader, steps, scratch.leader, scratch.leader_there,
                                         scratch.leader_gaps, status);
  const WideColumns follower = ReadColumns(packed_follower, steps, scratch.follower,
                                           scratch.follower_there, scratch.follower_gaps, status);

  // Most fleets have signals that nobody measures: there is nothing to sum then.
  const bool any = std::find(status, status + count, SeriesStatus::kOk) != status + count;
  const int64_t lags = any ? LagCount(args) : 0;
  double leader_memory[kWideLanesMax] = {}, follower_memory[kWideLanesMax] = {};
  if (any) {
    Memory(leader, steps, scratch.own, leader_memory);
    Memory(follower, steps, scratch.own, follower_memory);
    SumSides(leader, follower, steps, 0, lags, scratch.sums);
    SumShifted(
        leader.values, follower.values, steps, lags, [](int64_t lag) { return lag; },
        [&](int64_t lag) { return LagSumAt(scratch.sums, lag, kXY); });
  }

  HWY_ALIGN double leader_square[kWideLanesMax], follower_square[kWideLanesMax];
  hn::Store(leader.square, d, leader_square);
  hn::Store(follower.square, d, follower_square);
  for (int64_t lane = 0; lane < count; ++lane) {
    const double share = EffectiveShare(leader_memory[lane], follower_memory[lane]);
    LagChoice choice;
    for (int32_t lag = 0; lag <= args.max_lag; ++lag) {
      const LagSums sums =
          lag < lags ? LaneOf(scratch.sums + lag * kLagSumKinds * WideLanes(), lane) : LagSums{};
      OfferLag(args, first + lane, lag, status[lane], sums, leader_square[lane],
               follower_square[lane], share, choice);
    }
    ChooseLag(args, first + lane, status[lane], choice);
  }
}

void Lags(const LagArgs& args, const LagScratch& scratch) {
  const int64_t steps = args.leader.steps;
  const int64_t lanes = WideLanes();
  for (int64_t first = 0; first < args.leader.series; first += kPackSeries) {
    const int64_t count = std::min(kPackSeries, args.leader.series - first);
    PackColumns(args.leader, first, count, scratch.packed_leader);
    PackColumns(args.follower, first, count, scratch.packed_follower);
    for (int64_t i = 0; i < count; i += lanes) {
      LagsOfLanes(args, first + i, std::min(lanes, count - i), scratch.packed_leader + i * steps,
                  scratch.packed_follower + i * steps, scratch);
    }
  }
}

}  // namespace
}  // namespace foreshadow::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace foreshadow::kernels::cpu {

HWY_EXPORT(Lags);

size_t LagsWorkspaceBytes(const LagArgs& args) {
  const auto steps = static_cast<size_t>(args.leader.steps);
  const auto sums = static_cast<size_t>((LagCount(args) + 1) * kLagSumKinds);
  return (2 * steps + sums) * kWideLanesMax * sizeof(double) +
         2 * steps * (kPackSeries * sizeof(float) + sizeof(int32_t)) + 2 * ThereBytes(args);
}

void Lags(const LagArgs& args) {
  CheckLags(args);
  FORESHADOW_CHECK(args.workspace.size() >= LagsWorkspaceBytes(args));
  const int64_t side = args.leader.steps * kWideLanesMax;
  LagScratch scratch;
  scratch.leader = reinterpret_cast<double*>(args.workspace.data());
  scratch.follower = scratch.leader + side;
  scratch.sums = scratch.follower + side;
  scratch.own = scratch.sums + LagCount(args) * kLagSumKinds * kWideLanesMax;
  scratch.packed_leader = reinterpret_cast<float*>(scratch.own + kLagSumKinds * kWideLanesMax);
  scratch.packed_follower = scratch.packed_leader + args.leader.steps * kPackSeries;
  scratch.leader_gaps =
      reinterpret_cast<int32_t*>(scratch.packed_follower + args.leader.steps * kPackSeries);
  scratch.follower_gaps = scratch.leader_gaps + args.leader.steps;
  scratch.leader_there = reinterpret_cast<uint8_t*>(scratch.follower_gaps + args.leader.steps);
  scratch.follower_there = scratch.leader_there + ThereBytes(args);
  HWY_DYNAMIC_DISPATCH(Lags)(args, scratch);
}

}  // namespace foreshadow::kernels::cpu
#endif
