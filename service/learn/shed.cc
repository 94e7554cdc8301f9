#include "service/learn/shed.h"

#include <algorithm>
#include <cmath>

namespace foreshadow {
namespace {

constexpr double kCarriesMore = 1.03;  // a decision, while what is not refused is served well
constexpr double kCarriesLess = 0.95;  // while it is not
constexpr double kCarriesLeast = 0.3;  // of what is said
constexpr double kChangeLeast = 0.01;  // smaller ones are not worth telling anybody

Measured Together(const SplitObservation& o) {
  Measured both;
  both.requests = o.primary.requests + o.shadow.requests;
  both.failed = o.primary.failed + o.shadow.failed;
  both.slow = o.primary.slow + o.shadow.slow;
  return both;
}

// It serves what it can: surely requests fail there, and half of those that do not wait too long,
// which they do not where something else fails them.
bool Full(const Measured& m, const SplitObservation& o, const GuardSettings& settings) {
  return m.requests >= settings.samples_min && m.p50_ms > o.slo_ms &&
         Failed(m).low > settings.harm_share;
}

// What both sides carry, of what is said, when the first request is about to be refused: as much as
// they serve where all that are asked are full.
double CarriesAtFirst(const SplitObservation& o, const Measured& both, double said_rps,
                      const GuardSettings& settings) {
  const bool full =
      Full(o.shadow, o, settings) && (o.primary.requests == 0 || Full(o.primary, o, settings));
  if (!full || said_rps <= 0) return 1;
  const double served_rps = MeasuredRps(o, both.requests - both.failed);
  return std::clamp(served_rps / said_rps, kCarriesLeast, 1.0);
}

bool LesserHarm(const Measured& both, double shed, const GuardSettings& settings) {
  const double failed = Failed(both).low;
  return failed > settings.harm_share && failed + Harmed(both).low > 2 * shed;
}

}  // namespace

double ShedShare(const SplitObservation& o, const GuardSettings& settings, ShadowVerdict verdict,
                 GuardMemory& memory) {
  if (settings.shed_max <= 0) return 0;
  if (verdict == ShadowVerdict::kStale) return std::min(o.shed, settings.shed_max);
  const Measured both = Together(o);
  const double said_rps = (o.failed_over ? 0 : SourceRps(o)) + o.ready_rps;
  if (o.shed <= 0) {
    memory.carries = CarriesAtFirst(o, both, said_rps, settings);
  } else if (both.requests >= settings.samples_min) {
    memory.carries = HarmedShare(both) <= settings.harm_share
                         ? kCarriesMore * memory.carries
                         : std::max(kCarriesLeast, kCarriesLess * memory.carries);
  }
  const double carried_rps = memory.carries * said_rps;
  const double asked_rps = ComingRps(o);
  if (asked_rps <= carried_rps) return 0;
  const double shed =
      std::min(settings.shed_max, 1 - settings.ready_share * carried_rps / asked_rps);
  if (o.shed <= 0) return LesserHarm(both, shed, settings) ? shed : 0;
  return std::abs(shed - o.shed) < kChangeLeast ? o.shed : shed;
}

SplitObservation Admitted(const SplitObservation& o, double shed) {
  SplitObservation admitted = o;
  for (double* asked : {&admitted.demand_rps, &admitted.source_load, &admitted.source_load_next_p50,
                        &admitted.source_load_next_p95, &admitted.source_load_peak_p95}) {
    *asked *= 1 - shed;
  }
  return admitted;
}

}  // namespace foreshadow
