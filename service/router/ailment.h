// When is an instance ill? Pure rules over several signals, each with its own bound on alarms for
// nothing. What is certain (its process ended, nobody listens there) counts at once; what could be
// the network's fault is asked twice; errors count when chance is no explanation.
#pragma once

#include <cstdint>
#include <string>

namespace foreshadow::router {

// Chance that errors of a healthy instance look like a burst, of one look: with 10,000 instances
// looked at once a second, one such alarm in three years.
inline constexpr double kErrorFalseAlarm = 1e-12;
// A burst is most of the requests, and not just a few.
inline constexpr double kErrorShare = 0.5;
inline constexpr uint64_t kErrorsMin = 10;
// Even an instance that never failed may.
inline constexpr double kErrorShareBase = 0.01;
// The base follows what is usual with this weight a look.
inline constexpr double kErrorMemory = 0.05;
// Probes in a row that must fail while its agent is silent.
inline constexpr int kFailedProbes = 2;

// Errors of one instance as one source counts them.
class ErrorWatch {
 public:
  // Of one look; true when it is a burst. What is a burst is not learned as usual.
  bool Look(uint64_t requests_count, uint64_t errors_count);
  double usual() const { return usual_; }

 private:
  double usual_ = 0;
};

// Upper bound of P(errors >= count) of so many requests that each fail with probability `share`
// (Chernoff, with the Kullback-Leibler distance); 1 when the count is not above what is expected.
double TailBound(uint64_t requests_count, uint64_t errors_count, double share);

}  // namespace foreshadow::router
