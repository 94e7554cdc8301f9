// What is known of one account's split at the moment of a decision, as plain numbers: the same
// struct is filled by the engine's tick and by the simulator that the policy is trained in. Pure,
// any thread.
#pragma once

#include <array>
#include <string_view>

namespace foreshadow {

// One instance's requests over the newest interval. Failed ones are not part of the quantiles: an
// instance that fails fast must not look fast, see HarmedShare and EffectiveP99.
struct Measured {
  double requests = 0;  // 0 = nothing measured
  double failed = 0;    // of them
  double slow = 0;      // answered, but not within the SLO
  double p50_ms = 0;
  double p99_ms = 0;
};

struct SplitObservation {
  double split = 0;
  double shed = 0;             // share of all requests that is refused
  bool failed_over = false;    // the primary is ill: all traffic is at the shadow
  double interval_s = 10;      // between two decisions
  double measured_s = 0;       // that the requests are of; 0 = interval_s
  double since_sharing_s = 0;  // how long the shadow has run: warmth
  double since_change_s = 0;   // of the split
  bool measured = false;       // a source of request measurements exists for this account
  double age_s = 0;            // of the newest measurements
  double demand_rps = 0;       // of the account, at both instances together, refused ones included
  // What the source would carry with nothing moved, as a share of its capacity: now, one interval
  // ahead, and the largest within the horizon; p50 and p95.
  double source_load = 0;
  double source_load_next_p50 = 0;
  double source_load_next_p95 = 0;
  double source_load_peak_p95 = 0;
  double overload_probability = 0;  // within the horizon, with nothing moved
  double overload_in_s = 0;         // until it is likely; the horizon when it is not
  double horizon_s = 900;
  double target_risk = 0;  // that the target is overloaded within the horizon, splits in force
  double ready_rps = 0;    // that the shadow is said to carry; what it has shown is the guard's
  Measured primary;
  Measured shadow;
  double slo_ms = 400;
  double timeout_ms = 2'000;
};

// Counts and times that can be true: finite, not negative, parts no more than the whole, and no
// answer in no time. Anything else is treated like a measurement that did not come.
bool Plausible(const Measured& measured);
bool Plausible(const SplitObservation& observation);

// What the source carries of this account's traffic when it is full; 0 = not known.
double SourceRps(const SplitObservation& observation);
// The demand until the next decision: what it is, or is foreseen to be where that is more.
double ComingRps(const SplitObservation& observation);
// The rate of so many of the measured requests.
double MeasuredRps(const SplitObservation& observation, double requests);

// Share of requests that failed or were slow; 0 when there are none.
double HarmedShare(const Measured& measured);

// The 99th percentile with failures counted as long as the timeout; 0 when there are none.
double EffectiveP99(const Measured& measured, double timeout_ms);

inline constexpr int kSplitFeatures = 38;
using SplitFeatures = std::array<float, kSplitFeatures>;
extern const std::array<std::string_view, kSplitFeatures> kSplitFeatureNames;

// What the guard rails know beside the observation.
struct RailFeatures {
  double ceiling = 0;       // largest split that is allowed now
  bool conclusive = false;  // there are samples enough to judge the shadow
  double proven_rps = 0;    // that the shadow has shown to carry
  double worse_rps = 0;     // at which it was worse; 0 = none
  double balance = 0;       // split at which both sides' success and latency weigh alike
  double floor = 0;         // share that the source has no room for
  double ready = 0;         // what the shadow carries of what both sides do
  double cooling_s = 0;     // left
  std::array<double, 2> success{1, 1};  // smoothed, of primary and shadow
  std::array<double, 2> latency_ms{};   // smoothed p99, of both; 0 = not seen
  double worse_share = 0;               // of the shadow's requests that it harmed when worse
  double requests = 0;                  // at the shadow since the split last rose
};

// All features lie within -1..2.
SplitFeatures FeaturesOf(const SplitObservation& observation, const RailFeatures& rails);

}  // namespace foreshadow
