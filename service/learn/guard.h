// The guard rails of the split, outside every policy: which changes are allowed now, and why the
// others are not. A policy picks among what is left; whatever it is, traffic goes only where it has
// been shown to be served, or harmed less. Pure, any thread; the caller keeps one GuardMemory per
// shadow.
//
//   stale       measurements missing, older than stale_s, or impossible: the split stays
//   failing     the shadow surely fails a lot: the split goes to 0, or where the source has no room
//               for all that comes back, it falls
//   worse       the shadow surely harms more requests than it may and than the primary: it falls
//   overfull    the split is above what the shadow is said to carry: it falls. None of these three
//               binds what the source has no room for
//   cooling     the shadow was worse not long ago: no increase, unless the primary is worse by now
//   first       from nothing, first_split at most
//   few         fewer than samples_min requests at the shadow since the split rose: no increase
//   unproven    as many, but neither well nor surely better than the primary: no increase
//   ceiling     an increase stays within growth times the rate that the shadow has carried well,
//               below the rate at which it was worse, until it has carried nearly that well,
//               within the share of it that ready_rps allows, and within step_max. Where sessions
//               stay, so that traffic was seen to follow slowly, growth is that of the traffic
//               until the next decision, not of the split
//   lesser evil where the source is full and surely harms more requests than the shadow would on
//               the way to where the source has room, those that fail counted twice, an increase to
//               there needs no other proof; first_split and step_max hold
//
// "Surely" is at 97.5 % by the score interval of a share (Wilson 1927).
#pragma once

#include <array>
#include <cstdint>
#include <string_view>

#include "service/learn/observation.h"

namespace foreshadow {

enum class SplitAction : uint8_t {
  kZero,
  kHalve,
  kLessTenth,  // -0.1
  kHold,
  kBalance,    // where both sides' success and smoothed latency weigh alike, at most ceiling
  kReady,      // what the shadow carries of what both sides do, by what is said and was shown; what
               // the source has no room for where both are too small; nearly all where the primary
               // surely fails more requests than the shadow. At most ceiling
  kMoreTenth,  // +0.1
  kMoreFifth,  // +0.2
  kToCeiling,
};
inline constexpr int kSplitActions = 9;
extern const std::array<std::string_view, kSplitActions> kSplitActionNames;

struct GuardSettings {
  double first_split = 0.1;
  double split_max = 1;
  double step_max = 0.4;
  double stale_s = 30;       // at least three intervals count as fresh, however long they are
  double room_load = 0.95;   // of a source that could take everything back
  double relief_load = 0.9;  // to which the lesser evil brings a full source
  double samples_min = 30;   // a failure share of 10 % then shows itself 95 times in 100
  double harm_share = 0.05;  // of a shadow's requests that may fail or be slow
  double harm_ratio = 1.5;   // worse than the primary: so many times its share
  double failing_share = 0.1;
  double growth = 2;         // of the proven rate in one step
  double ready_share = 0.9;  // of the rate that the shadow is said to carry
  double proven_s = 600;     // so long a proof counts
  double cooling_s = 30;     // after the shadow was worse; doubles each time
  double cooling_s_max = 480;
  double shed_max = 0;  // of all requests that may be refused (shed.h); 0 = none
};

enum class ShadowVerdict : uint8_t { kStale, kFailing, kWorse, kInconclusive, kUnproven, kGood };
const char* Name(ShadowVerdict verdict);

struct GuardMemory {
  double requests = 0;  // at the shadow since the split last rose, and how they went
  double failed = 0;
  double slow = 0;
  double proven_rps = 0;                // that the shadow carried well
  double proven_age_s = 0;              // since it last did
  double cooling_s = 0;                 // left
  double worse_share = 0;               // that it harmed when it was worse
  double cooling_next_s = 0;            // of the next time; 0 = settings.cooling_s
  double worse_rps = 0;                 // at which it was worse; 0 = at none
  std::array<double, 2> latency_ms{};   // of primary and shadow: smoothed p99; 0 = not seen
  std::array<double, 2> success{1, 1};  // smoothed share that did not fail
  double share = 0;                     // of the newest requests that the shadow had
  double follows = 1;                   // of the way to a split that traffic goes in an interval
  double carries = 1;                   // of what both sides are said to carry; see shed.h
  bool operator==(const GuardMemory&) const = default;
};

struct GuardState {
  ShadowVerdict verdict = ShadowVerdict::kStale;
  double ceiling = 0;  // the largest split of an increase; the split in force when there is none
  double limit = 1;    // above it the split must fall
  double floor = 0;    // what the source has no room for
  double balance = 0;  // where both sides' success and latency weigh alike; the split if not known
  double ready = 0;    // where kReady would go without the rails; the split if not known
  std::array<double, kSplitActions> split{};  // where each action leads
  std::array<bool, kSplitActions> allowed{};  // never all false
  std::string_view reason;                    // of the tightest rail that holds; "" = none
};

// Takes in what was measured with the split in force.
ShadowVerdict Remember(const SplitObservation& observation, const GuardSettings& settings,
                       GuardMemory& memory);

// What may be done now. `verdict` is of the Remember just before.
GuardState Allow(const SplitObservation& observation, const GuardSettings& settings,
                 const GuardMemory& memory, ShadowVerdict verdict);

// The allowed action that leads nearest to a split: what is left of a rule's wish.
SplitAction Nearest(const GuardState& state, double wanted);

// Tells the memory what the split becomes.
void Moved(double from, double to, GuardMemory& memory);

// Lower and upper end of the score interval of a share, z = 1.96; 0 and 1 when nothing was counted.
struct ShareInterval {
  double low = 0;
  double high = 1;
};
ShareInterval WilsonInterval(double count, double of);
// Of an instance's requests: the share that failed or was slow, and the share that failed.
ShareInterval Harmed(const Measured& measured);
ShareInterval Failed(const Measured& measured);

}  // namespace foreshadow
