// Other programs that decompose, run beside ours on the same series with the same parameters, and
// held against our results. Each is driven by a script in tests/benchmarks/peers/.
//
// A script is called as
//   SCRIPT INPUT OUTPUT KEY=VALUE...
// INPUT holds float32 values, series after series. The keys are series, steps, passes, seconds
// (what a pass may take), seasons, iterations, and for each season: period, seasonal_window,
// trend_window, low_pass_window, their _degree and _jump, inner, outer, robust, periodic, each a
// list with commas. It writes to OUTPUT, for each series of the first pass, float32 values: the
// seasons, then the trend; a periodic season is averaged over its cycle as R does, outside the
// timed part. It prints
//   version TEXT          once
//   pass SERIES SECONDS   a pass: how many series it decomposed in how much CPU time
//   missing WHY           instead, where the peer is not installed
//   unfit WHY             instead, where the peer cannot be given these parameters
#pragma once

#include <span>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "training/bench/cases.h"

namespace foreshadow::training {

struct PeerOptions {
  std::string scripts;  // the folder with the scripts
  std::string python = "python3";
  std::string stl_cpp;  // a checkout of stl-cpp; empty = not given
  int passes = 3;       // the median counts
  double seconds = 2;   // a pass ends with the series at which this is over
};

struct PeerReport {
  enum class State { kRan, kMissing, kUnfit, kFailed };
  State state = State::kRan;
  std::string why;      // if it did not run
  std::string version;  // as it says itself
  double series_per_s = 0;
  int64_t series = 0;  // of the first pass
  // Between its results and ours, the largest of any series and part, over the range of the series.
  double difference = 0;
};

std::vector<std::string> PeerNames();

// Of what a script printed. INTERNAL when it is none of the above.
absl::StatusOr<PeerReport> ParsePeerOutput(const std::string& text);

// The keys and values that tell a script the parameters.
std::string PeerParameters(const Case& which, const Shape& shape);

// The largest |ours - theirs| over the range of the series; infinite where one is not a number.
// `theirs` is what a script wrote: series after series, part after part. INTERNAL when that is not
// `series` series.
absl::StatusOr<double> Difference(std::span<const kernels::StepMajor<const float>> ours,
                                  kernels::StepMajor<const float> observed,
                                  const std::vector<float>& theirs, int64_t series);

// Runs peers, with a folder of its own for what is passed to them.
class Peers {
 public:
  explicit Peers(const PeerOptions& options);
  ~Peers();
  Peers(const Peers&) = delete;
  Peers& operator=(const Peers&) = delete;

  // A decomposition by one of PeerNames(), held against that of `ops`. INTERNAL when the peer fails
  // for any reason but those that a report tells.
  absl::StatusOr<PeerReport> Run(const std::string& name, const kernels::Ops& ops,
                                 const Case& which, const Shape& shape, const SeriesSet& set);

 private:
  absl::StatusOr<std::string> BuildStlCpp();

  PeerOptions options_;
  std::string folder_;
  std::string stl_cpp_;  // the program, once it is built
};

}  // namespace foreshadow::training
