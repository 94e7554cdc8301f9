#include "kernels/algo/lag_pool.h"

#include <algorithm>

#include "kernels/cpu/patterns.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "kernels/cpu/lag_pool.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

#include "hwy/contrib/math/math-inl.h"
#include "kernels/cpu/wide-inl.h"

HWY_BEFORE_NAMESPACE();
namespace foreshadow::kernels::cpu::HWY_NAMESPACE {
namespace {

// Lanes are members of a group.
LagPoolSums SumMembers(const float* correlations, const float* effective_pairs,
                       std::span<const int32_t> members) {
  const Doubles d;
  const Floats f;
  const hn::RebindToSigned<Floats> indices;
  const auto lanes = static_cast<size_t>(WideLanes());
  const Wide most = hn::Set(d, kPoolCorrelationMax);
  Wide count = hn::Zero(d), weight = hn::Zero(d), weighted = hn::Zero(d), square = hn::Zero(d);
  for (size_t i = 0; i < members.size(); i += lanes) {
    const size_t left = std::min(lanes, members.size() - i);
    HWY_ALIGN int32_t series[hn::MaxLanes(f)] = {};
    std::copy_n(members.begin() + static_cast<std::ptrdiff_t>(i), left, series);
    const auto at = hn::Load(indices, series);
    const Wide pairs = hn::PromoteTo(d, hn::GatherIndex(f, effective_pairs, at));
    const Wide r = hn::PromoteTo(d, hn::GatherIndex(f, correlations, at));
    const auto counts = hn::And(hn::Gt(pairs, hn::Set(d, kPoolPairsMin)), hn::FirstN(d, left));
    const Wide within = hn::IfThenElseZero(counts, hn::Max(hn::Neg(most), hn::Min(r, most)));
    const Wide z = hn::Atanh(d, within);
    const Wide w = hn::IfThenElseZero(counts, hn::Sub(pairs, hn::Set(d, 3.0)));
    count = hn::Add(count, hn::IfThenElseZero(counts, hn::Set(d, 1.0)));
    weight = hn::Add(weight, w);
    const Wide product = hn::Mul(w, z);
    weighted = hn::Add(weighted, product);
    square = hn::MulAdd(product, z, square);
  }
  const auto total = [&](Wide sums) HWY_ATTR { return hn::GetLane(hn::SumOfLanes(d, sums)); };
  return {total(count), total(weight), total(weighted), total(square)};
}

void LagPool(const LagPoolArgs& args) {
  int64_t begin = 0;
  for (size_t group = 0; group < args.group_ends.size(); ++group) {
    const int64_t end = args.group_ends[group];
    LagPoolChoice choice;
    for (int32_t lag = 0; lag < args.correlations.steps; ++lag) {
      const LagPoolSums sums = SumMembers(
          &args.correlations.at(lag, 0), &args.effective_pairs.at(lag, 0),
          args.members.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin)));
      OfferLagPool(lag, sums, choice);
    }
    ChooseLagPool(args, static_cast<int64_t>(group), choice);
    begin = end;
  }
}

}  // namespace
}  // namespace foreshadow::kernels::cpu::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace foreshadow::kernels::cpu {

HWY_EXPORT(LagPool);

void LagPool(const LagPoolArgs& args) {
  CheckLagPool(args);
  HWY_DYNAMIC_DISPATCH(LagPool)(args);
}

}  // namespace foreshadow::kernels::cpu
#endif
