// The stand-in's work: a queue with one waiting line and as many servers as the instance has cores,
// so that latency rises with load as real services' does, and ends when the line is full. Times are
// decided when a request arrives; whoever asked waits until then. Thread-safe.
#pragma once

#include <chrono>
#include <cstdint>
#include <mutex>
#include <optional>
#include <random>
#include <vector>

#include "service/monitor/latency_sketch.h"

namespace foreshadow::cell {

using SteadyTime = std::chrono::steady_clock::time_point;

struct StationOptions {
  double cores = 1;         // a part of a core is a server that is slower by as much
  double work_ms = 1;       // of a request that does not say, on one core, on average
  int waiting_max = 1'000;  // more than that are shed
  double cold_factor = 3;   // the first request takes so much longer, later ones less
  int warm_requests = 200;  // until it is warm
  uint64_t seed = 1;
};

// Set from outside while it runs, to see what others make of it.
struct Faults {
  double fail_share = 0;  // of the requests fail at once, 0..1
  double slow_factor = 1;
};

class Station {
 public:
  struct Totals {
    uint64_t requests_count = 0;
    uint64_t errors_count = 0;
    uint64_t shed_count = 0;
    uint32_t in_flight_count = 0;
    double warmth = 0;
    LatencySketch latency;
  };
  struct Admission {
    bool ok = false;  // false: shed, or failed on purpose
    bool shed = false;
    SteadyTime done{};  // when to answer
  };

  explicit Station(const StationOptions& options);

  // `work_ms` = 0: the default's.
  Admission Admit(SteadyTime now, double work_ms);
  // One admitted request has been answered; returns its number.
  uint64_t Finish(SteadyTime admitted, SteadyTime now);
  void Set(const Faults& faults);
  Totals totals() const;

 private:
  double WarmthLocked() const;

  const StationOptions options_;
  const double speed_;  // of one server, cores
  mutable std::mutex mutex_;
  std::mt19937_64 random_;
  std::vector<SteadyTime> free_at_;  // [server]
  std::vector<SteadyTime> starts_;   // heap, soonest first: of requests that wait
  Faults faults_;
  uint64_t served_count_ = 0;
  Totals totals_;
};

}  // namespace foreshadow::cell
