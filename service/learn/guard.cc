#include "service/learn/guard.h"

#include <algorithm>
#include <cmath>

namespace foreshadow {
namespace {

constexpr double kSplitLeast = 0.01;  // below it a split is nothing
constexpr double kRounding = 1e-9;
constexpr double kFallLeast = 0.1;   // or half, or as far as it must: what must fall does not creep
constexpr double kWorseCut = 0.7;    // of the rate at which the shadow was worse: proven no more
constexpr double kBelowWorse = 0.9;  // of the rate at which the shadow was worse: tried again
constexpr double kNearWorse = 0.8;   // of it: carried well, the next rates may be tried
constexpr double kWorseGrowth = 1.25;
constexpr double kSmoothSeconds = 30;  // half-life of latency and success
constexpr double kOverfullBy = 0.02;   // above what it carries: demand that wavers moves no traffic
constexpr double kCalmToForget = 4;    // times samples_min served well: the next cooling is short
constexpr double kFailsLeast = 0.003;  // of a primary's requests, surely: it fails some
constexpr double kFailsMore = 0.005;   // and so many more than twice the shadow's
constexpr double kNearlyAll = 0.98;    // leaves enough at the primary to see it recover
constexpr double kWayLeast = 0.05;     // between share and split, to see how fast traffic follows
constexpr double kFollowsLeast = 0.1;

double Rounded(double split) { return split < kSplitLeast ? 0 : std::min(split, 1.0); }

bool IsStale(const SplitObservation& o, const GuardSettings& settings) {
  return !o.measured || !Plausible(o) || o.age_s > std::max(settings.stale_s, 3 * o.interval_s);
}

// Share of the demand that the shadow may take by what it is said to carry. When both sides
// together cannot carry the demand, the harm is least when each has what its capacity is of it.
double ReadyLimit(const SplitObservation& o, const GuardSettings& settings) {
  const double demand_rps = ComingRps(o);
  if (demand_rps <= 0) return settings.split_max;
  const double source_rps = SourceRps(o);
  const double ready_rps = o.ready_rps;
  const double of_both = source_rps > 0 ? ready_rps / (ready_rps + source_rps) : 0;
  const bool too_much = demand_rps > settings.ready_share * (ready_rps + source_rps);
  const double alone = settings.ready_share * ready_rps / demand_rps;
  return std::min(settings.split_max, too_much ? std::max(alone, of_both) : alone);
}

// The largest split that an increase may lead to.
double Ceiling(const SplitObservation& o, const GuardSettings& settings, const GuardMemory& memory,
               double limit) {
  double shown = 0;
  if (memory.proven_rps > 0 && o.demand_rps > 0) {
    shown = settings.growth * memory.proven_rps / o.demand_rps;
  }
  // Traffic goes only so much of the way until the next decision.
  shown += std::max(0.0, shown - memory.share) * (1 / memory.follows - 1);
  if (memory.worse_rps > 0 && o.demand_rps > 0) {
    shown = std::min(shown, kBelowWorse * memory.worse_rps / o.demand_rps);
  }
  const double first = std::min(settings.first_split, settings.split_max);
  double ceiling = std::min({std::max(first, shown), limit, o.split + settings.step_max});
  if (o.split < kSplitLeast) ceiling = std::min(ceiling, first);
  return ceiling;
}

// What a source of this load has no room for, if it is to be loaded no more than `room`.
double Beyond(double load, double room) { return load > room ? 1 - room / load : 0; }

double LoadOf(const SplitObservation& o) { return std::max(o.source_load, o.source_load_next_p50); }

// The largest split of an increase that relieves a full source, where surely fewer requests come to
// harm at the shadow for it than do now at the source, those that fail counted twice; else 0.
double LesserEvil(const SplitObservation& o, const GuardSettings& settings,
                  const GuardMemory& memory) {
  const double relief = Beyond(LoadOf(o), settings.relief_load);
  if (o.source_load <= 1 || o.split >= relief) return 0;
  double at_shadow = 2 * memory.worse_share;  // as if all of these had failed
  if (o.shadow.requests >= settings.samples_min) {
    at_shadow = Harmed(o.shadow).high + Failed(o.shadow).high;
  }
  const double at_source = Harmed(o.primary).low + Failed(o.primary).low;
  const bool less = (relief - o.split) * at_shadow < (1 - o.split) * at_source;
  if (at_shadow == 0 || !less) return 0;
  const double next = o.split < kSplitLeast ? settings.first_split : o.split + settings.step_max;
  return std::min(relief, next);
}

// Weights by success and latency, the way of L3 (Middleware 2024).
double Balance(const GuardMemory& memory, double split) {
  std::array<double, 2> weight{};
  for (size_t i = 0; i < weight.size(); ++i) {
    if (memory.latency_ms[i] <= 0) return split;
    weight[i] = memory.success[i] * memory.success[i] / memory.latency_ms[i];
  }
  const double sum = weight[0] + weight[1];
  return sum > 0 ? weight[1] / sum : split;
}

void Smooth(const Measured& m, double interval_s, double& latency_ms, double& success) {
  if (m.requests <= 0) return;
  const double keep = std::exp2(-interval_s / kSmoothSeconds);
  const double p99_ms = std::max(m.p99_ms, 1.0);
  latency_ms = latency_ms > 0 ? keep * latency_ms + (1 - keep) * p99_ms : p99_ms;
  success = keep * success + (1 - keep) * (1 - m.failed / m.requests);
}

// How much of the way to a split traffic goes in an interval, at most: all, unless sessions stay
// where they are.
void Follow(const SplitObservation& o, GuardMemory& memory) {
  const double requests = o.primary.requests + o.shadow.requests;
  if (requests <= 0) return;
  const double way = o.split - memory.share;
  if (way > kWayLeast) {
    const double most = WilsonInterval(o.shadow.requests, requests).high;
    memory.follows = std::clamp((most - memory.share) / way, kFollowsLeast, 1.0);
  }
  memory.share = o.shadow.requests / requests;
}

bool PrimaryFailsMore(const SplitObservation& o, const GuardMemory& memory) {
  const double at_primary = 1 - memory.success[0];
  const double at_shadow = 1 - memory.success[1];
  return o.shadow.requests > 0 && Failed(o.primary).low > kFailsLeast &&
         at_primary > 2 * at_shadow + kFailsMore;
}

// By what the shadow is said to carry, or has shown to be too much for it, and no less than the
// source has no room for. Where both together are too small the source is kept whole: shares by
// capacity would harm all requests.
double ReadyShare(const SplitObservation& o, const GuardSettings& settings,
                  const GuardMemory& memory, double floor) {
  if (PrimaryFailsMore(o, memory)) return kNearlyAll;
  const double source_rps = SourceRps(o);
  const double ready_rps =
      memory.worse_rps > 0 ? std::min(o.ready_rps, kBelowWorse * memory.worse_rps) : o.ready_rps;
  const double both_rps = source_rps + ready_rps;
  if (both_rps <= 0) return o.split;
  if (LoadOf(o) * source_rps > both_rps) return Beyond(LoadOf(o), settings.relief_load);
  return std::max(ready_rps / both_rps, floor);
}

double Target(SplitAction action, double split, const GuardState& state) {
  switch (action) {
    case SplitAction::kZero:
      return 0;
    case SplitAction::kHalve:
      return Rounded(split / 2);
    case SplitAction::kLessTenth:
      return Rounded(split - 0.1);
    case SplitAction::kHold:
      return split;
    case SplitAction::kBalance:
      return Rounded(std::min(state.balance, std::max(split, state.ceiling)));
    case SplitAction::kReady:
      return Rounded(std::min(state.ready, std::max(split, state.ceiling)));
    case SplitAction::kMoreTenth:
      return split + 0.1;
    case SplitAction::kMoreFifth:
      return split + 0.2;
    case SplitAction::kToCeiling:
      return state.ceiling;
  }
  return split;
}

std::string_view ReasonOf(ShadowVerdict verdict) {
  switch (verdict) {
    case ShadowVerdict::kStale:
      return "measurements are missing, old or impossible: the split stays";
    case ShadowVerdict::kFailing:
      return "the shadow fails: no traffic";
    case ShadowVerdict::kWorse:
      return "the shadow serves worse than it may: less traffic";
    case ShadowVerdict::kInconclusive:
      return "too few requests at the shadow to judge it: no increase";
    case ShadowVerdict::kUnproven:
      return "the shadow does not clearly serve well: no increase";
    case ShadowVerdict::kGood:
      return "";
  }
  return "";
}

}  // namespace

const std::array<std::string_view, kSplitActions> kSplitActionNames = {
    "zero", "halve", "-0.1", "hold", "balance", "ready", "+0.1", "+0.2", "to-ceiling"};

const char* Name(ShadowVerdict verdict) {
  constexpr const char* kNames[] = {"stale",        "failing",  "worse",
                                    "inconclusive", "unproven", "good"};
  return kNames[static_cast<int>(verdict)];
}

ShareInterval WilsonInterval(double count, double of) {
  if (of <= 0) return {};
  constexpr double kZ = 1.96;
  const double share = count / of;
  const double z2 = kZ * kZ;
  const double middle = (share + z2 / (2 * of)) / (1 + z2 / of);
  const double half = kZ / (1 + z2 / of) * std::sqrt(share * (1 - share) / of + z2 / (4 * of * of));
  return {std::max(0.0, middle - half), std::min(1.0, middle + half)};
}

ShareInterval Harmed(const Measured& m) { return WilsonInterval(m.failed + m.slow, m.requests); }
ShareInterval Failed(const Measured& m) { return WilsonInterval(m.failed, m.requests); }

ShadowVerdict Remember(const SplitObservation& o, const GuardSettings& settings,
                       GuardMemory& memory) {
  const bool cooled = memory.cooling_s == 0;
  memory.cooling_s = std::max(0.0, memory.cooling_s - o.interval_s);
  memory.proven_age_s += o.interval_s;
  if (memory.proven_age_s > settings.proven_s) memory.proven_rps = 0;
  if (IsStale(o, settings)) return ShadowVerdict::kStale;
  memory.requests += o.shadow.requests;
  memory.failed += o.shadow.failed;
  memory.slow += o.shadow.slow;
  Follow(o, memory);
  Smooth(o.primary, o.interval_s, memory.latency_ms[0], memory.success[0]);
  Smooth(o.shadow, o.interval_s, memory.latency_ms[1], memory.success[1]);
  ShareInterval primary = {0, 0};
  ShareInterval primary_failed = {0, 0};
  if (o.primary.requests > 0) {
    primary = Harmed(o.primary);
    primary_failed = Failed(o.primary);
  }
  // What was worse then may be the lesser evil now.
  if (primary.low > settings.harm_ratio * memory.worse_share) memory.cooling_s = 0;
  if (memory.requests <= 0) return ShadowVerdict::kInconclusive;

  // A shadow that turns bad shows at once in the newest interval, not only in the sum.
  const ShareInterval newest = Harmed(o.shadow);
  const ShareInterval all = WilsonInterval(memory.failed + memory.slow, memory.requests);
  const double newest_failed = Failed(o.shadow).low;
  const bool failing =
      newest_failed > settings.failing_share && newest_failed > primary_failed.high;
  const double may = std::max(settings.harm_share, settings.harm_ratio * primary.high);
  const double rate_rps = MeasuredRps(o, o.shadow.requests);
  if (failing || newest.low > may || all.low > may) {
    memory.proven_rps = failing ? 0 : std::min(memory.proven_rps, kWorseCut * rate_rps);
    memory.worse_rps = memory.worse_rps > 0 ? std::min(memory.worse_rps, rate_rps) : rate_rps;
    memory.worse_share = std::max(HarmedShare(o.shadow), all.low);
    if (cooled) {
      const double cooling_s =
          memory.cooling_next_s > 0 ? memory.cooling_next_s : settings.cooling_s;
      memory.cooling_s = std::max(cooling_s, o.interval_s);
      memory.cooling_next_s = std::min(2 * cooling_s, settings.cooling_s_max);
    } else {  // not a new time: its traffic is still on the way down
      memory.cooling_s = std::max({memory.cooling_s, settings.cooling_s, o.interval_s});
    }
    memory.requests = memory.failed = memory.slow = 0;
    return failing ? ShadowVerdict::kFailing : ShadowVerdict::kWorse;
  }
  if (memory.requests < settings.samples_min) return ShadowVerdict::kInconclusive;
  const bool well = HarmedShare(o.shadow) <= settings.harm_share &&
                    memory.failed + memory.slow <= settings.harm_share * memory.requests;
  const bool better = settings.harm_ratio * std::max(newest.high, all.high) < primary.low;
  if (!well && !better) return ShadowVerdict::kUnproven;
  memory.proven_rps = std::max(memory.proven_rps, rate_rps);
  memory.proven_age_s = 0;
  if (rate_rps >= kNearWorse * memory.worse_rps) memory.worse_rps *= kWorseGrowth;
  if (memory.cooling_s == 0 && memory.requests > kCalmToForget * settings.samples_min) {
    memory.cooling_next_s = 0;
  }
  return ShadowVerdict::kGood;
}

GuardState Allow(const SplitObservation& o, const GuardSettings& settings,
                 const GuardMemory& memory, ShadowVerdict verdict) {
  GuardState state;
  state.verdict = verdict;
  state.reason = ReasonOf(verdict);
  state.ceiling = o.split;
  state.limit = settings.split_max;
  if (verdict == ShadowVerdict::kStale) {
    state.split.fill(o.split);
    state.allowed[static_cast<int>(SplitAction::kHold)] = true;
    return state;
  }
  state.limit = ReadyLimit(o, settings);
  state.floor = Beyond(LoadOf(o), settings.room_load);
  const bool overfull = o.split > state.limit + kOverfullBy;
  const bool ill = verdict == ShadowVerdict::kFailing || verdict == ShadowVerdict::kWorse;
  const bool must_fall = (ill || overfull) && o.split > state.floor;
  const bool to_zero = must_fall && state.floor == 0 && verdict == ShadowVerdict::kFailing;
  const bool first = o.split < kSplitLeast;
  const bool may_rise =
      !must_fall && memory.cooling_s == 0 &&
      (verdict == ShadowVerdict::kGood || (first && verdict == ShadowVerdict::kInconclusive));
  const double shown = may_rise ? Ceiling(o, settings, memory, state.limit) : 0;
  const double lesser_evil = must_fall ? 0 : LesserEvil(o, settings, memory);
  if (lesser_evil > std::max(o.split, shown)) {
    state.ceiling = lesser_evil;
    state.reason = "the source has no room and harms more than the shadow: to where it has room";
  } else if (may_rise) {
    state.ceiling = std::max(o.split, shown);
    state.reason = state.ceiling < settings.split_max ? "no more than the shadow has shown" : "";
  } else if (must_fall) {
    state.ceiling = std::min(ill ? state.floor : std::max(state.limit, state.floor), o.split);
    if (!ill) state.reason = "more than the shadow is said to carry: less traffic";
  } else if (ill) {
    state.reason = "the shadow serves worse than it may, but its source has no room: no increase";
  } else if (verdict == ShadowVerdict::kGood) {
    state.reason = "the shadow was worse not long ago: no increase";
  }
  state.balance = Balance(memory, o.split);
  state.ready = ReadyShare(o, settings, memory, state.floor);
  for (int a = 0; a < kSplitActions; ++a) {
    const auto action = static_cast<SplitAction>(a);
    double to = Target(action, o.split, state);
    if (to > state.ceiling && to <= state.ceiling + kRounding) to = state.ceiling;
    state.split[a] = to;
    bool allowed = to <= o.split || to <= state.ceiling;
    if (action != SplitAction::kHold && to == o.split) allowed = false;  // one way to hold
    if (must_fall) {
      const double least = std::max({state.ceiling, o.split / 2, o.split - kFallLeast});
      allowed = to_zero ? to == 0 : to < o.split && to <= least + kRounding;
    }
    state.allowed[a] = allowed;
  }
  return state;
}

SplitAction Nearest(const GuardState& state, double wanted) {
  int best = -1;
  for (int a = 0; a < kSplitActions; ++a) {
    if (!state.allowed[a]) continue;
    if (best < 0 || std::abs(state.split[a] - wanted) < std::abs(state.split[best] - wanted)) {
      best = a;
    }
  }
  return static_cast<SplitAction>(best);
}

void Moved(double from, double to, GuardMemory& memory) {
  if (to > from) memory.requests = memory.failed = memory.slow = 0;
}

}  // namespace foreshadow
