// What the configuration's [inference] says; docs/configuration.md explains each.
#pragma once

#include <cstdint>

namespace foreshadow::batch {

struct Settings {
  int32_t batch_series_max = 4'096;
  int64_t wait_ms = 2;
  int32_t queue_calls_max = 10'000;
  int32_t queue_mib_max = 512;
  int32_t threads = 2;
};

}  // namespace foreshadow::batch
