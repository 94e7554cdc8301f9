// One instance as its cell's agent tells of it.
#pragma once

#include <cstdint>
#include <string>

#include "service/monitor/latency_sketch.h"
#include "service/router/routes.h"

namespace foreshadow::router {

enum class InstanceState : uint8_t { kPaused, kRunning, kExited };

// Totals since it began, as it counts them itself.
struct LoadTotals {
  bool known = false;
  int64_t read_ms = 0;  // when the server was told, wall clock
  uint64_t requests_count = 0;
  uint64_t errors_count = 0;
  uint32_t in_flight_count = 0;  // now
  double warmth = 1;
  LatencySketch latency;
};

struct Instance {
  std::string id;
  std::string account;
  int32_t cell = 0;  // index into Fleet::cells
  bool shadow = false;
  InstanceState state = InstanceState::kExited;
  bool serving = false;
  Address address;
  LoadTotals load;
};

}  // namespace foreshadow::router
