// The public face of the kernels: argument structs and one table of operations per backend.
//
// Every operation works on a whole batch, allocates nothing, and takes its scratch memory from the
// caller: ask xxx_workspace_bytes first. Views, spans and workspaces lie in the memory of the
// backend (Ops::allocate); whatever sizes an operation - shapes, parameters, counts of levels or
// lags - is read on the host. On the CPU a call returns when the work is done, and calls with
// disjoint outputs may run on different threads; on a GPU it is queued on the stream of its
// arguments, never waits, and may be captured into a CUDA graph. Argument errors that are the
// caller's bug (negative counts, a workspace too small) are CHECKed; bad data is reported per
// series.
#pragma once

#include <array>
#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

#include "kernels/series.h"

namespace foreshadow::kernels {

using Stream = void*;  // a cudaStream_t; the CPU has none

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
  Stream stream = nullptr;
};

// --- MSTL: several seasons at once, Bandara, Hyndman and Bergmeir (2021) ------------------------

inline constexpr int kSeasonsMax = 4;

struct MstlArgs {
  // One a season, periods ascending. On the host. The trend is that of the last one.
  std::span<const StlParams> seasons;
  int iterations = 2;  // passes over the seasons; a single season needs one
  StepMajor<const float> observed;
  std::array<StepMajor<float>, kSeasonsMax> seasonal;  // as many as there are seasons
  StepMajor<float> trend;
  StepMajor<float> remainder;      // NaN where observed is
  StepMajor<float> weights;        // of the last STL; data == nullptr if not wanted
  std::span<SeriesStatus> status;  // [series]
  std::span<std::byte> workspace;
  Stream stream = nullptr;
};

// --- Periods: periodogram peaks confirmed by autocorrelation ------------------------------------

struct PeriodArgs {
  StepMajor<const float> observed;
  int min_period = 2;              // samples
  int max_period = 0;              // samples; 0 = half the length
  float significance = 0.01f;      // chance that noise alone yields a period
  int max_periods = 3;             // periods kept a series
  std::span<int32_t> periods;      // [series][max_periods], highest peaks first; 0 = no more
  std::span<float> strengths;      // likewise, autocorrelation at the period
  std::span<SeriesStatus> status;  // [series]
  std::span<std::byte> workspace;
  Stream stream = nullptr;
};

// --- Events: spikes in a remainder, shifts of its level ------------------------------------------

enum class EventKind : uint8_t {
  kSpike = 0,   // leaves its level and comes back
  kLevelShift,  // the level is another from here on, for more than 24 steps
};

// Of a spike, from its samples over the threshold; the first that holds, in this order. The peak's
// place is counted from the onset, the duration from the first to the last of the samples.
enum class EventShape : uint8_t {
  kPulse = 0,  // one step or two
  kPlateau,    // their mean height is at least 0.8 of the peak
  kDecay,      // the peak lies in the first third
  kRampUp,     // the peak lies in the last third
  kHump,       // it rises and falls
  kStep,       // a level shift, and no spike
};

struct Event {
  int32_t series;
  int32_t onset;     // step: the first over the threshold, or the first on the new level
  int32_t duration;  // steps; of a shift: until the next one, or the end
  float height;      // signed: of a spike its peak over the level, of a shift after less before
  float score;       // |height| in robust standard deviations: of the noise, or, for a shift, of
                     // how far levels of 49 steps part by chance
  float before;      // level; of a spike that of the remainder around it
  float after;       // likewise; of a spike the same
  EventKind kind;
  EventShape shape;
};

struct EventArgs {
  StepMajor<const float> remainder;  // spikes are sought here
  StepMajor<const float> level;      // shifts are sought here: the series less its season, for a
                                     // trend follows a shift; data == nullptr: in the remainder
  float false_alarms = 1e-4f;        // chance a step of noise is called a spike
  float shift_false_alarms = 0.01f;  // chance a series of noise shows a shift; 0 = seek none
  std::span<float> scale;            // [series] robust standard deviation (1.4826 MAD), shifts out
  std::span<float> threshold;        // [series] absolute height that counts as a spike
  std::span<Event> events;           // room for those found, ordered by series, then onset
  int64_t* events_count = nullptr;   // out: found; beyond the room they are counted, not kept
  // [series] kConstant: more than half of the samples are one value: no spikes, but maybe shifts.
  std::span<SeriesStatus> status;
  std::span<std::byte> workspace;
  Stream stream = nullptr;
};

// --- Lagged correlation ------------------------------------------------------------------------

struct LagArgs {
  StepMajor<const float> leader;  // same shape as follower: column i against column i
  StepMajor<const float> follower;
  int max_lag = 12;                // steps; lags 0..max_lag, leader first
  std::span<int32_t> lag;          // [series] steps by which the leader is ahead
  std::span<float> correlation;    // [series] Pearson, at that lag
  std::span<float> p_value;        // [series] corrected for the search over lags; else 1
  std::span<SeriesStatus> status;  // [series]
  // Of every lag, if wanted (else data == nullptr): [max_lag + 1][series]. NaN = lag not judged.
  StepMajor<float> correlations;
  StepMajor<float> effective_pairs;  // what the pairs are worth; 0 where the lag is not judged
  std::span<std::byte> workspace;
  Stream stream = nullptr;
};

// Lagged correlations of groups of series, say of one application type: what is too weak to be seen
// in one series may be plain in all of them.
struct LagPoolArgs {
  StepMajor<const float> correlations;     // [lags][series], as LagArgs gives them
  StepMajor<const float> effective_pairs;  // likewise
  std::span<const int32_t> members;        // series, group after group
  std::span<const int32_t> group_ends;     // [groups] ascending: where its members end
  std::span<int32_t> lag;                  // [groups] steps by which the leaders are ahead
  std::span<float> correlation;            // [groups] pooled, at that lag
  std::span<float> p_value;  // [groups] of none in any member, corrected for the search; else 1
  std::span<float> heterogeneity;          // [groups] Cochran's Q
  std::span<float> heterogeneity_p_value;  // [groups] of members that share one correlation
  std::span<int32_t> members_pooled;       // [groups] those with enough pairs
  std::span<SeriesStatus> status;          // [groups] kNoData = no member could be judged
  Stream stream = nullptr;
};

// --- Scores: see kernels/algo/scores.h for the definitions --------------------------------------

struct PinballArgs {
  StepMajor<const float> actual;
  StepMajor<const float> forecast;
  float level = 0.5f;     // of the forecast quantile, 0..1
  std::span<float> loss;  // [series] mean over the steps; NaN = no step has both
  Stream stream = nullptr;
};

struct NaiveScaleArgs {
  StepMajor<const float> past;
  int season = 1;          // steps
  std::span<float> scale;  // [series]
  Stream stream = nullptr;
};

struct MaseArgs {
  StepMajor<const float> actual;
  StepMajor<const float> forecast;
  std::span<const float> scale;  // [series] of NaiveScaleArgs
  std::span<float> mase;         // [series]
  Stream stream = nullptr;
};

// --- Rolling quantiles -------------------------------------------------------------------------

inline constexpr int kQuantilesMax = 16;

struct RollingQuantileArgs {
  StepMajor<const float> values;
  int window = 0;                 // steps that end at the step in question, itself included
  int present_min = 1;            // samples the window must have; fewer give NaN
  std::span<const float> levels;  // 0..1, at most kQuantilesMax. On the host
  // [levels] of [steps][series]: linear between order statistics (type 7 of Hyndman and Fan 1996).
  std::array<StepMajor<float>, kQuantilesMax> quantiles;
  std::span<SeriesStatus> status;  // [series] kOk, kNoData or kNotFinite
  std::span<std::byte> workspace;
  Stream stream = nullptr;
};

// --- Least squares for autoregressive models ----------------------------------------------------

inline constexpr int kRegressorsMax = 32;

// To forecast, add c0 and each coefficient times the sample so many steps before: nothing is
// centred or scaled. Fits value(t) = c0 + sum over k of c(k+1) value(t - lags[k]) to each series,
// over the steps at which all of them are there.
struct AutoregressionArgs {
  StepMajor<const float> values;
  std::span<const int32_t> lags;  // steps, >= 1, ascending, fewer than kRegressorsMax. On the host
  float ridge = 0;                // penalty on c1.. as a share of the mean diagonal of the Gram
                                  // matrix of centred regressors
  StepMajor<float> coefficients;  // [lags + 1][series]
  std::span<float> variance;      // [series] of the residuals, adjusted for the coefficients
  // [series] kTooShort with fewer rows than twice the coefficients, kSingular where lags explain
  // each other and there is no ridge to tell them apart.
  std::span<SeriesStatus> status;
  std::span<std::byte> workspace;
  Stream stream = nullptr;
};

// --- Columns of a batch -------------------------------------------------------------------------

// Columns side by side, in any order and any number of times.
struct GatherArgs {
  StepMajor<const float> from;
  std::span<const int32_t> columns;  // [series of `to`] of `from`; empty: 0, 1, 2, ...
  StepMajor<float> to;
  Stream stream = nullptr;
};

// Takes seasons out of the batch that series were gathered from to be decomposed, and says what the
// decomposition is worth.
struct DeseasonArgs {
  int32_t slope_steps = 1;  // before the last step, over which the trend's slope is taken
  StepMajor<const float> seasonal;
  StepMajor<const float> trend;
  StepMajor<const float> remainder;
  std::span<const SeriesStatus> decomposed;  // [series] others than kOk change nothing, and get 0
  std::span<const int32_t> columns;          // [series] of residual and level, each once
  StepMajor<float> residual;                 // becomes the remainder
  StepMajor<float> level;                    // the season is subtracted
  std::span<float> slope;                    // [series] of the trend, per step
  std::span<float> strength;                 // [series] of the season: kernels/algo/strength.h
  Stream stream = nullptr;
};

// --- Streaming seasonal-trend update: see docs/kernels-stream.md ---------------------------------

inline constexpr int kStreamModes = 8;   // low-order memory of the samples since the start
inline constexpr int kStreamKnots = 18;  // of the lines by which the window before them counts on

// What follows the last step of STL on the last `window` samples, O(1) a sample. Made once for a
// set of parameters by PlanStream (kernels/algo/stream_plan.h); plain data.
struct StreamModel {
  int32_t period = 0;   // steps
  int32_t window = 0;   // steps of the decomposition that is followed
  int32_t horizon = 0;  // steps since the start for which the stray is bounded
  int32_t knot_steps = 0;
  float pole = 0;  // of the Laguerre filter of the deviations
  float gain = 0;
  float trend_modes[kStreamModes] = {};
  float seasonal_modes[kStreamModes] = {};
  // Of a phase's own samples: the weight of the one that comes, what it adds to the phase's memory,
  // and how much of that memory stays.
  float comb_now = 0;
  float comb_next = 0;
  float comb_keep = 0;
  // Of the answer to samples that turn another period old, and its weight in trend and season.
  float edge_pole = 0;
  float edge_trend = 0;
  float edge_seasonal = 0;
};

// Rows of the state: [rows][series], floats, saved and restored by copying them.
constexpr int64_t StreamStateRows(const StreamModel& model) {
  return 7 + kStreamModes + 2 * kStreamKnots + 2 * int64_t{model.period};
}

// Fills the state from a finished decomposition of model.window steps, made without robustness.
// A series that was not decomposed gets a state of NaN.
struct StreamStartArgs {
  StreamModel model;
  std::span<const float> tables;  // StreamPlan::tables, in the backend's memory
  int64_t tick = 0;               // >= 0, of the window's last step
  StepMajor<const float> observed;
  StepMajor<const float> seasonal;
  StepMajor<const float> trend;
  std::span<const SeriesStatus> decomposed;  // [series] as STL gave it
  std::span<const int32_t> columns;          // [series] of the state; empty: 0, 1, 2, ...
  StepMajor<float> state;                    // [StreamStateRows][series of the stream]
  std::span<std::byte> workspace;
  Stream stream = nullptr;
};

// Takes the sample of one tick in, for every series; each tick in turn.
struct StreamUpdateArgs {
  StreamModel model;
  int64_t tick = 0;                 // one more than that of the start or of the update before
  std::span<const float> observed;  // [series] NaN = missing: the trend is held, the season goes on
  StepMajor<float> state;
  std::span<float> seasonal;       // [series] now
  std::span<float> trend;          // [series] now
  std::span<float> remainder;      // [series] now; NaN where observed is
  StepMajor<float> expected;       // [steps ahead][series], trend held; steps == 0: not wanted
  std::span<SeriesStatus> status;  // [series] of the sample: kNoData = no state; kNotFinite and
                                   // kPrecision (too large) = taken as missing
  Stream stream = nullptr;
};

// How far the stream may have strayed from the full decomposition of the last `window` samples, at
// most. Infinite beyond the horizon.
struct StreamStrayArgs {
  StreamModel model;
  std::span<const float> tables;
  StepMajor<const float> state;
  std::span<float> trend;     // [series]
  std::span<float> seasonal;  // [series]
  Stream stream = nullptr;
};

// --- One step of the LSTM network: see docs/kernels-lstm.md
// ---------------------------------------

// Sizes of a network of models/torch/lstm_network.h.
struct LstmModel {
  int32_t features = 0;
  int32_t contexts = 0;   // kinds of series, each with its embedding
  int32_t embedding = 0;  // inputs that say the context
  int32_t hidden = 0;     // width of a layer
  int32_t layers = 0;
  int32_t dense = 0;
  int32_t horizon_steps = 0;
  int32_t candidates = 0;
  int32_t spreads = 0;
  int32_t quantiles = 0;
  int32_t median = 0;  // which quantile it is
};

// Takes one step of every series in; a new series has a state of zeros. Inputs are finite: what is
// not spoils the series it belongs to, and no other.
struct LstmStepArgs {
  LstmModel model;
  std::span<const float> weights;     // LstmPlan::weights (kernels/algo/lstm_plan.h)
  StepMajor<const float> features;    // [features][series]
  std::span<const int32_t> contexts;  // [series] 0..contexts-1
  StepMajor<float> hidden;            // [layers * hidden][series], in and out
  StepMajor<float> cell;              // likewise
  // The forecast from here, of the first `steps` of the horizon; it costs what is asked for.
  int32_t steps = 0;                  // 0 = none is wanted: the rest is not looked at
  StepMajor<const float> candidates;  // [steps * candidates][series], scaled
  StepMajor<const float> spreads;     // [spreads][series], logarithms
  StepMajor<float> quantiles;         // [steps * quantiles][series], scaled, ascending
  std::span<std::byte> workspace;
  Stream stream = nullptr;
};

// --- What the LSTM sees of a series: see models/lstm/features.h
// -----------------------------------

inline constexpr int64_t kLstmTile = 64;  // series are described in whole tiles
inline constexpr int kLstmFeatures = 41;
inline constexpr int kLstmCandidates = 10;
inline constexpr int kLstmSpreads = 7;

// What is kept of the past of series that take their steps together. Columns behind the last
// series, up to a whole tile, never get a sample.
struct LstmPast {
  int64_t width = 0;  // columns of each row, whole tiles
  int64_t phase = 0;  // row of the newest samples in `day`: their time, modulo a day
  int32_t day_steps = 0;
  int32_t hour_steps = 0;   // of an hour those that count, at most kHourStepsMax
  int32_t* week = nullptr;  // [width] the newest samples' time, in steps since Monday 00:00 UTC
  float* rows = nullptr;    // [kLstmPastRows][width], see kernels/algo/lstm_features.h
  float* day = nullptr;     // [day_steps][width] newest sample of each time of day, NaN = missing
  float* season = nullptr;  // [day_steps][width] what it adds to the trend, NaN = not yet known
};

// Takes in one step.
struct LstmAdvanceArgs {
  LstmPast past;                   // `phase` is that of the new step already
  const float* samples = nullptr;  // [width] NaN = missing
  Stream stream = nullptr;
};

// Describes the newest step of `count` columns from `first` on, whole tiles. Outputs are rows of
// `stride` floats that begin with the first of these columns; null = not wanted.
struct LstmDescribeArgs {
  LstmPast past;
  int64_t first = 0;
  int64_t count = 0;
  const float* clock = nullptr;     // [week's steps][4] sine and cosine, of the day and of the week
  const Driver* drivers = nullptr;  // [width], by columns; null = there are none
  int64_t stride = 0;
  float* features = nullptr;    // [kLstmFeatures][stride]
  float* candidates = nullptr;  // [steps][kLstmCandidates][stride]
  float* spreads = nullptr;     // [kLstmSpreads][stride]
  float* levels = nullptr;      // [stride] what scaled values are measured from
  float* scales = nullptr;      // [stride] above 0
  int32_t steps = 0;            // of the candidates, less than a day
  Stream stream = nullptr;
};

// --- The backends --------------------------------------------------------------------------------

struct Ops {
  std::string_view name;  // e.g. "cpu AVX3", "cuda NVIDIA H200"

  // The memory the operations work on. Allocations are aligned to 256 bytes; nullptr = none left.
  bool host_memory;  // what allocate gives may be read and written by the host
  void* (*allocate)(size_t bytes);
  void (*release)(void* memory);
  void (*copy_in)(void* to, const void* from_host, size_t bytes, Stream stream);
  void (*copy_out)(void* to_host, const void* from, size_t bytes, Stream stream);
  void (*copy)(void* to, const void* from, size_t bytes, Stream stream);  // they do not overlap
  // Until all that was queued is done. Empty = well; else what went wrong since the last wait.
  std::string_view (*wait)(Stream stream);

  // Empty = the parameters are valid for series of that length; else what is wrong, in words.
  std::string_view (*stl_check)(const StlParams& params, int64_t steps);
  size_t (*stl_workspace_bytes)(const StlParams& params, int64_t steps, int64_t series);
  void (*stl)(const StlArgs& args);

  std::string_view (*mstl_check)(std::span<const StlParams> seasons, int64_t steps);
  size_t (*mstl_workspace_bytes)(const MstlArgs& args);
  void (*mstl)(const MstlArgs& args);

  size_t (*periods_workspace_bytes)(const PeriodArgs& args);
  void (*periods)(const PeriodArgs& args);

  size_t (*events_workspace_bytes)(const EventArgs& args);
  void (*events)(const EventArgs& args);

  size_t (*lags_workspace_bytes)(const LagArgs& args);
  void (*lags)(const LagArgs& args);
  void (*lag_pool)(const LagPoolArgs& args);

  void (*pinball)(const PinballArgs& args);
  void (*naive_scale)(const NaiveScaleArgs& args);
  void (*mase)(const MaseArgs& args);

  size_t (*rolling_quantiles_workspace_bytes)(const RollingQuantileArgs& args);
  void (*rolling_quantiles)(const RollingQuantileArgs& args);

  size_t (*autoregression_workspace_bytes)(const AutoregressionArgs& args);
  void (*autoregression)(const AutoregressionArgs& args);

  void (*gather)(const GatherArgs& args);
  void (*deseason)(const DeseasonArgs& args);

  size_t (*stream_start_workspace_bytes)(const StreamStartArgs& args);
  void (*stream_start)(const StreamStartArgs& args);
  void (*stream_update)(const StreamUpdateArgs& args);
  void (*stream_stray)(const StreamStrayArgs& args);

  void (*lstm_advance)(const LstmAdvanceArgs& args);
  void (*lstm_describe)(const LstmDescribeArgs& args);
  size_t (*lstm_step_workspace_bytes)(const LstmModel& model, int steps);
  void (*lstm_step)(const LstmStepArgs& args);
};

// The CPU backend, its instruction set chosen at first use. Never null.
const Ops& CpuOps();

// The GPU backend; nullptr where there is no GPU or the build has none, and GpuMissing() says why.
// Loaded at first use from libforeshadow_cuda.so beside the program, so that one program serves
// nodes with and without.
const Ops* GpuOps();
std::string_view GpuMissing();

// The GPU's kernels run by the host, a thread block after the other: slow, and the same text. For
// tests of their logic where there is no GPU.
const Ops& EmulatedGpuOps();

}  // namespace foreshadow::kernels
