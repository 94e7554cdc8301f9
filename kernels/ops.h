// The public face of the kernels: argument structs and one table of operations per backend.
//
// Every operation works on a whole batch, allocates nothing, and takes its scratch memory from the
// caller: ask XxxWorkspaceBytes first. On the CPU a call returns when the work is done, and calls
// with disjoint outputs may run on different threads. Argument errors that are the caller's bug
// (negative counts, a workspace too small) are CHECKed; bad data is reported per series.
#pragma once

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "kernels/series.h"

namespace foreshadow::kernels {

// --- STL: Cleveland, Cleveland, McRae, Terpenning (1990), with R's parameters ------------------

inline constexpr int kPeriodic = 0;  // seasonal_window: R's s.window = "periodic"
inline constexpr int kDefault = -1;  // take R's default for this parameter

struct StlParams {
  int period = 0;                   // samples a season, >= 2
  int seasonal_window = kPeriodic;  // loess span in seasons: odd, >= 3, or kPeriodic
  int seasonal_degree = 0;          // 0 or 1
  int seasonal_jump = kDefault;     // default: a tenth of the window, rounded up
  int trend_window = kDefault;      // odd, >= 3; default: next odd of 1.5 period/(1 - 1.5/seasonal)
  int trend_degree = 1;
  int trend_jump = kDefault;
  int low_pass_window = kDefault;  // default: next odd of the period
  int low_pass_degree = kDefault;  // default: the trend's degree
  int low_pass_jump = kDefault;
  int inner = kDefault;  // default 2, robust 1
  int outer = kDefault;  // default 0, robust 15
  bool robust = false;
};

struct StlArgs {
  StlParams params;
  StepMajor<const float> observed;  // NaN = missing: weight zero
  StepMajor<float> seasonal;
  StepMajor<float> trend;
  StepMajor<float> remainder;      // NaN where observed is
  StepMajor<float> weights;        // robustness weights; data == nullptr if not wanted
  std::span<SeriesStatus> status;  // [series]
  std::span<std::byte> workspace;  // aligned to 64 bytes
};

// --- Periods: periodogram peaks confirmed by autocorrelation ------------------------------------

struct PeriodArgs {
  StepMajor<const float> observed;
  int min_period = 2;              // samples
  int max_period = 0;              // samples; 0 = half the length
  float significance = 0.01f;      // chance that noise alone yields a period
  int max_periods = 3;             // periods kept a series
  std::span<int32_t> periods;      // [series][max_periods], strongest first; 0 = no more
  std::span<float> strengths;      // likewise, autocorrelation at the period
  std::span<SeriesStatus> status;  // [series]
  std::span<std::byte> workspace;
};

// --- Spikes in a remainder -------------------------------------------------------------------

struct Spike {
  int32_t series;
  int32_t onset;     // step
  int32_t duration;  // steps
  float peak;        // signed height over the remainder's median
  float score;       // |peak| in robust standard deviations
};

struct SpikeArgs {
  StepMajor<const float> remainder;
  float false_alarms = 1e-4f;       // chance a step of noise is called a spike
  std::span<float> scale;           // [series] robust standard deviation (1.4826 MAD)
  std::span<float> threshold;       // [series] absolute height that counts as a spike
  std::span<Spike> spikes;          // room for the spikes found, ordered by series, then onset
  int64_t* spikes_count = nullptr;  // out: found; beyond the room they are counted, not kept
  std::span<SeriesStatus> status;   // [series]
  std::span<std::byte> workspace;
};

// --- Lagged correlation ------------------------------------------------------------------------

struct LagArgs {
  StepMajor<const float> leader;  // same shape as follower: column i against column i
  StepMajor<const float> follower;
  int max_lag = 12;                // steps; lags 0..max_lag, leader first
  std::span<int32_t> lag;          // [series] steps by which the leader is ahead
  std::span<float> correlation;    // [series] Pearson, at that lag
  std::span<float> p_value;        // [series] corrected for the search over lags
  std::span<SeriesStatus> status;  // [series]
  std::span<std::byte> workspace;
};

// --- The backends --------------------------------------------------------------------------------

struct Ops {
  std::string_view name;  // e.g. "cpu AVX3"

  // Empty = the parameters are valid for series of that length; else what is wrong, in words.
  std::string_view (*stl_check)(const StlParams& params, int64_t steps);
  size_t (*stl_workspace_bytes)(const StlParams& params, int64_t steps, int64_t series);
  void (*stl)(const StlArgs& args);

  size_t (*periods_workspace_bytes)(const PeriodArgs& args);
  void (*periods)(const PeriodArgs& args);

  size_t (*spikes_workspace_bytes)(const SpikeArgs& args);
  void (*spikes)(const SpikeArgs& args);

  size_t (*lags_workspace_bytes)(const LagArgs& args);
  void (*lags)(const LagArgs& args);
};

// The CPU backend, its instruction set chosen at first use. Never null.
const Ops& CpuOps();

}  // namespace foreshadow::kernels
