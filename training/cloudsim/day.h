// A day of PlanetLab's machines in the data centre of centre.h.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "training/cloudsim/tally.h"

namespace foreshadow::training::cloudsim {

// [machine][sample], shares of the machine's CPU. From a matrix (CSV, plain or gzipped: a header,
// then a row a machine, its name and 288 percents) or from a folder with a file of 288 percents a
// machine, taken by name. Errors name file, line and value.
absl::StatusOr<std::vector<std::vector<double>>> ReadDay(const std::string& path);

// INVALID_ARGUMENT for a rule that MakeRule does not know, RESOURCE_EXHAUSTED when the hosts cannot
// take all machines at first.
absl::StatusOr<Result> RunDay(std::vector<std::vector<double>> samples, int hosts,
                              const std::string& rule);

}  // namespace foreshadow::training::cloudsim
