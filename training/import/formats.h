// Readers of foreign formats. Each takes the files of one data set, a file an account (wide CSV: a
// column an account), and gives a trace without cells or applications; the caller assigns these.
// Errors name file, line, column and value.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "training/io/trace.h"

namespace foreshadow::training {

// PlanetLab (CoMon, as in CloudSim): CPU of one virtual machine in whole %, a line a step, one file a
// machine and day; no header, no time. `cores` is what 100 % stands for.
absl::StatusOr<Trace> ReadPlanetLab(const std::vector<std::string>& files, int64_t start_ms,
                                    int64_t step_ms, double cores);

// Bitbrains (GWA-T-12, fastStorage and rnd): one file a virtual machine, eleven columns separated by
// semicolon and tab. Times are seconds, though the header says ms, and irregular: each step is the
// mean of the rows whose time falls into it. Disk writes (KB/s) stand in for the mutation rate, which
// the source does not have.
absl::StatusOr<Trace> ReadBitbrains(const std::vector<std::string>& files, int64_t step_ms);

// Wide CSV with a timestamp column: each column is one signal of an account.
absl::StatusOr<Trace> ReadWide(const std::vector<std::string>& files, models::SignalKind signal);

}  // namespace foreshadow::training
