// The scenarios of `foreshadow bench --suite serve`, against a server of their own or a given one.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "service/tls/credentials.h"
#include "training/client/load.h"

namespace foreshadow::training {

struct ServeOptions {
  std::string server;  // "" = one is started, filled, and stopped
  tls::ClientFiles tls;
  std::vector<std::string> scenarios;  // empty = all
  int accounts = 10'000;
  int64_t step_ms = 300'000;
  double seconds = 10;  // of each scenario
  double large_per_s = 4;
  double small_per_s = 2'000;
  int small_accounts = 10;
  double ingest_samples_per_s = 500'000;
};

struct ServeResults {
  int accounts = 0;
  int64_t step_ms = 0;
  std::string server;  // its version, or the address of a given one
  std::vector<LoadResult> scenarios;
};

inline constexpr const char* kScenarios[] = {"large", "small", "ingest"};

absl::StatusOr<ServeResults> RunServe(const ServeOptions& options);

}  // namespace foreshadow::training
