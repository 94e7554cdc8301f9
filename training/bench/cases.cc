#include "training/bench/cases.h"

#include <algorithm>
#include <array>
#include <numeric>

#include "kernels/algo/round_up.h"
#include "kernels/algo/stream_plan.h"
#include "kernels/check.h"

namespace foreshadow::training {
namespace {

using kernels::Ops;
using kernels::SeriesStatus;
using kernels::StepMajor;
using kernels::StlParams;

constexpr std::string_view kNotOffered = "this backend does not have it";

// --- Decompositions ------------------------------------------------------------------------------

struct StlVariant {
  int seasonal_window = kernels::kPeriodic;
  bool robust = false;
  bool exact = false;  // every jump 1
};

template <StlVariant kVariant>
std::vector<StlParams> StlSeason(const Shape& shape) {
  StlParams params;
  params.period = shape.period;
  params.seasonal_window = kVariant.seasonal_window;
  params.robust = kVariant.robust;
  if (shape.window > 0) params.trend_window = shape.window | 1;
  if (kVariant.exact) params.seasonal_jump = params.trend_jump = params.low_pass_jump = 1;
  return {params};
}

// A day and a week, windows as R's forecast::mstl() has them. Exact: as statsforecast has it, with
// no jumps and its five inner loops.
template <bool kExact>
std::vector<StlParams> DayAndWeek(const Shape& shape) {
  const int day = std::max(2, shape.period / 6);
  std::vector<StlParams> seasons(2);
  for (size_t i = 0; i < seasons.size(); ++i) {
    seasons[i].period = i == 0 ? day : 7 * day;
    seasons[i].seasonal_window = i == 0 ? 11 : 15;
    if (shape.window > 0) seasons[i].trend_window = shape.window | 1;
    if (!kExact) continue;
    seasons[i].seasonal_jump = seasons[i].trend_jump = seasons[i].low_pass_jump = 1;
    seasons[i].inner = 5;
  }
  return seasons;
}

std::vector<StlParams> NoSeasons(const Shape&) { return {}; }

std::string_view CheckStlCase(const Ops& ops, const Case& self, const Shape& shape) {
  if (ops.stl == nullptr) return kNotOffered;
  return ops.stl_check(self.seasons(shape)[0], shape.steps);
}

Job PrepareStl(const Ops& ops, const Case& self, const Shape& shape, const Inputs& inputs) {
  auto memory = std::make_shared<Memory>(ops);
  const int64_t series = inputs.observed.series;
  kernels::StlArgs args;
  args.params = self.seasons(shape)[0];
  args.observed = inputs.observed;
  args.seasonal = memory->MakeBatch(shape.steps, series);
  args.trend = memory->MakeBatch(shape.steps, series);
  args.remainder = memory->MakeBatch(shape.steps, series);
  args.status = memory->Make<SeriesStatus>(static_cast<size_t>(series));
  args.workspace =
      memory->Make<std::byte>(ops.stl_workspace_bytes(args.params, shape.steps, series));
  return {[&ops, args] { ops.stl(args); }, args.status, {args.seasonal, args.trend}, memory};
}

std::string_view CheckMstl(const Ops& ops, const Case& self, const Shape& shape) {
  if (ops.mstl == nullptr) return kNotOffered;
  return ops.mstl_check(self.seasons(shape), shape.steps);
}

Job PrepareMstl(const Ops& ops, const Case& self, const Shape& shape, const Inputs& inputs) {
  auto memory = std::make_shared<Memory>(ops);
  const auto seasons = std::make_shared<std::vector<StlParams>>(self.seasons(shape));
  const int64_t series = inputs.observed.series;
  kernels::MstlArgs args;
  args.seasons = *seasons;
  args.observed = inputs.observed;
  std::vector<StepMajor<const float>> parts;
  for (size_t i = 0; i < seasons->size(); ++i) {
    args.seasonal[i] = memory->MakeBatch(shape.steps, series);
    parts.push_back(args.seasonal[i]);
  }
  args.trend = memory->MakeBatch(shape.steps, series);
  parts.push_back(args.trend);
  args.remainder = memory->MakeBatch(shape.steps, series);
  args.status = memory->Make<SeriesStatus>(static_cast<size_t>(series));
  args.workspace = memory->Make<std::byte>(ops.mstl_workspace_bytes(args));
  return {[&ops, args, seasons] { ops.mstl(args); }, args.status, parts, memory};
}

// --- The stream that follows a decomposition -----------------------------------------------------

std::string_view CheckStreamCase(const Ops& ops, const Case&, const Shape& shape) {
  if (ops.stream_update == nullptr || ops.stl == nullptr) return kNotOffered;
  return kernels::CheckStream({.period = shape.period}, shape.steps);
}

// A start from a decomposition of the whole length.
kernels::StreamStartArgs MakeStart(const Ops& ops, const Shape& shape, const Inputs& inputs,
                                   Memory& memory) {
  const StlParams params{.period = shape.period};
  const int64_t series = inputs.observed.series;
  kernels::StlArgs stl;
  stl.params = params;
  stl.observed = inputs.observed;
  stl.seasonal = memory.MakeBatch(shape.steps, series);
  stl.trend = memory.MakeBatch(shape.steps, series);
  stl.remainder = memory.MakeBatch(shape.steps, series);
  stl.status = memory.Make<SeriesStatus>(static_cast<size_t>(series));
  stl.workspace = memory.Make<std::byte>(ops.stl_workspace_bytes(params, shape.steps, series));
  ops.stl(stl);
  const kernels::StreamPlan plan = kernels::PlanStream(params, shape.steps);
  const std::span<float> tables = memory.Make<float>(plan.tables.size());
  ops.copy_in(tables.data(), plan.tables.data(), tables.size_bytes(), nullptr);
  ops.wait(nullptr);  // the plan goes
  kernels::StreamStartArgs args;
  args.model = plan.model;
  args.tables = tables;
  args.tick = shape.steps - 1;
  args.observed = inputs.observed;
  args.seasonal = stl.seasonal;
  args.trend = stl.trend;
  args.decomposed = stl.status;
  args.state = memory.MakeBatch(kernels::StreamStateRows(plan.model), series);
  args.workspace = memory.Make<std::byte>(ops.stream_start_workspace_bytes(args));
  return args;
}

Job PrepareStreamStart(const Ops& ops, const Case&, const Shape& shape, const Inputs& inputs) {
  auto memory = std::make_shared<Memory>(ops);
  const kernels::StreamStartArgs args = MakeStart(ops, shape, inputs, *memory);
  return {[&ops, args] { ops.stream_start(args); }, args.decomposed, {}, memory};
}

Job PrepareStreamUpdate(const Ops& ops, const Case&, const Shape& shape, const Inputs& inputs) {
  auto memory = std::make_shared<Memory>(ops);
  const kernels::StreamStartArgs start = MakeStart(ops, shape, inputs, *memory);
  ops.stream_start(start);
  const auto series = static_cast<size_t>(inputs.observed.series);
  kernels::StreamUpdateArgs args;
  args.model = start.model;
  args.tick = start.tick;
  args.state = start.state;
  args.seasonal = memory->Make<float>(series);
  args.trend = memory->Make<float>(series);
  args.remainder = memory->Make<float>(series);
  args.status = memory->Make<SeriesStatus>(series);
  const StepMajor<const float> observed = inputs.observed;
  return {[&ops, args, observed]() mutable {
            for (int64_t step = 0; step < observed.steps; ++step) {
              ++args.tick;
              args.observed = {&observed.at(step, 0), static_cast<size_t>(observed.series)};
              ops.stream_update(args);
            }
          },
          args.status,
          {},
          memory};
}

// --- The rest ------------------------------------------------------------------------------------

template <auto kOperation>
std::string_view CheckOffered(const Ops& ops, const Case&, const Shape&) {
  return ops.*kOperation == nullptr ? kNotOffered : "";
}

Job PreparePeriods(const Ops& ops, const Case&, const Shape&, const Inputs& inputs) {
  auto memory = std::make_shared<Memory>(ops);
  const auto series = static_cast<size_t>(inputs.observed.series);
  kernels::PeriodArgs args;
  args.observed = inputs.observed;
  args.periods = memory->Make<int32_t>(series * static_cast<size_t>(args.max_periods));
  args.strengths = memory->Make<float>(args.periods.size());
  args.status = memory->Make<SeriesStatus>(series);
  args.workspace = memory->Make<std::byte>(ops.periods_workspace_bytes(args));
  return {[&ops, args] { ops.periods(args); }, args.status, {}, memory};
}

Job PrepareEvents(const Ops& ops, const Case&, const Shape&, const Inputs& inputs) {
  auto memory = std::make_shared<Memory>(ops);
  const auto series = static_cast<size_t>(inputs.remainder.series);
  kernels::EventArgs args;
  args.remainder = inputs.remainder;
  args.scale = memory->Make<float>(series);
  args.threshold = memory->Make<float>(series);
  args.events = memory->Make<kernels::Event>(64 * series);
  args.events_count = memory->Make<int64_t>(1).data();
  args.status = memory->Make<SeriesStatus>(series);
  args.workspace = memory->Make<std::byte>(ops.events_workspace_bytes(args));
  return {[&ops, args] { ops.events(args); }, args.status, {}, memory};
}

Job PrepareLags(const Ops& ops, const Case&, const Shape& shape, const Inputs& inputs) {
  auto memory = std::make_shared<Memory>(ops);
  const auto series = static_cast<size_t>(inputs.leader.series);
  kernels::LagArgs args;
  args.leader = inputs.leader;
  args.follower = inputs.remainder;
  if (shape.window > 0) args.max_lag = shape.window;
  args.lag = memory->Make<int32_t>(series);
  args.correlation = memory->Make<float>(series);
  args.p_value = memory->Make<float>(series);
  args.status = memory->Make<SeriesStatus>(series);
  args.workspace = memory->Make<std::byte>(ops.lags_workspace_bytes(args));
  return {[&ops, args] { ops.lags(args); }, args.status, {}, memory};
}

Job PreparePinball(const Ops& ops, const Case&, const Shape&, const Inputs& inputs) {
  auto memory = std::make_shared<Memory>(ops);
  kernels::PinballArgs args;
  args.actual = inputs.remainder;
  args.forecast = inputs.leader;
  args.level = 0.9f;
  args.loss = memory->Make<float>(static_cast<size_t>(inputs.remainder.series));
  return {[&ops, args] { ops.pinball(args); }, {}, {}, memory};
}

Job PrepareNaiveScale(const Ops& ops, const Case&, const Shape& shape, const Inputs& inputs) {
  auto memory = std::make_shared<Memory>(ops);
  kernels::NaiveScaleArgs args;
  args.past = inputs.observed;
  args.season = shape.period;
  args.scale = memory->Make<float>(static_cast<size_t>(inputs.observed.series));
  return {[&ops, args] { ops.naive_scale(args); }, {}, {}, memory};
}

Job PrepareMase(const Ops& ops, const Case&, const Shape& shape, const Inputs& inputs) {
  auto memory = std::make_shared<Memory>(ops);
  const auto series = static_cast<size_t>(inputs.observed.series);
  kernels::NaiveScaleArgs scale;
  scale.past = inputs.observed;
  scale.season = shape.period;
  scale.scale = memory->Make<float>(series);
  ops.naive_scale(scale);
  kernels::MaseArgs args;
  args.actual = inputs.remainder;
  args.forecast = inputs.leader;
  args.scale = scale.scale;
  args.mase = memory->Make<float>(series);
  return {[&ops, args] { ops.mase(args); }, {}, {}, memory};
}

Job PrepareRollingQuantiles(const Ops& ops, const Case&, const Shape& shape, const Inputs& inputs) {
  static constexpr std::array<float, 3> kLevels = {0.1f, 0.5f, 0.9f};
  auto memory = std::make_shared<Memory>(ops);
  kernels::RollingQuantileArgs args;
  args.values = inputs.observed;
  args.window = shape.window > 0 ? shape.window : shape.period;
  args.levels = kLevels;
  for (size_t i = 0; i < kLevels.size(); ++i) {
    args.quantiles[i] = memory->MakeBatch(shape.steps, inputs.observed.series);
  }
  args.status = memory->Make<SeriesStatus>(static_cast<size_t>(inputs.observed.series));
  args.workspace = memory->Make<std::byte>(ops.rolling_quantiles_workspace_bytes(args));
  return {[&ops, args] { ops.rolling_quantiles(args); }, args.status, {}, memory};
}

Job PrepareAutoregression(const Ops& ops, const Case&, const Shape& shape, const Inputs& inputs) {
  auto memory = std::make_shared<Memory>(ops);
  const auto series = static_cast<size_t>(inputs.observed.series);
  // An hour of five minutes, and the same time yesterday.
  auto lags = std::make_shared<std::vector<int32_t>>();
  for (int32_t lag = 1; lag <= 12 && lag < shape.period; ++lag) lags->push_back(lag);
  lags->push_back(shape.period);
  kernels::AutoregressionArgs args;
  args.values = inputs.observed;
  args.lags = *lags;
  args.ridge = 1e-3f;
  args.coefficients =
      memory->MakeBatch(static_cast<int64_t>(lags->size()) + 1, inputs.observed.series);
  args.variance = memory->Make<float>(series);
  args.status = memory->Make<SeriesStatus>(series);
  args.workspace = memory->Make<std::byte>(ops.autoregression_workspace_bytes(args));
  return {[&ops, args, lags] { ops.autoregression(args); }, args.status, {}, memory};
}

// Every column, the last one first.
Job PrepareGather(const Ops& ops, const Case&, const Shape& shape, const Inputs& inputs) {
  auto memory = std::make_shared<Memory>(ops);
  std::vector<int32_t> columns;
  for (int64_t s = inputs.observed.series; s > 0; --s) {
    columns.push_back(static_cast<int32_t>(s - 1));
  }
  const std::span<int32_t> there = memory->Make<int32_t>(columns.size());
  ops.copy_in(there.data(), columns.data(), there.size_bytes(), nullptr);
  ops.wait(nullptr);
  kernels::GatherArgs args;
  args.from = inputs.observed;
  args.columns = there;
  args.to = memory->MakeBatch(shape.steps, inputs.observed.series);
  return {[&ops, args] { ops.gather(args); }, {}, {}, memory};
}

Job PrepareDeseason(const Ops& ops, const Case&, const Shape& shape, const Inputs& inputs) {
  auto memory = std::make_shared<Memory>(ops);
  const auto series = static_cast<size_t>(inputs.observed.series);
  std::vector<int32_t> columns(series);
  std::iota(columns.begin(), columns.end(), 0);
  const std::vector<SeriesStatus> status(series, SeriesStatus::kOk);
  const std::span<int32_t> columns_there = memory->Make<int32_t>(series);
  const std::span<SeriesStatus> status_there = memory->Make<SeriesStatus>(series);
  ops.copy_in(columns_there.data(), columns.data(), columns_there.size_bytes(), nullptr);
  ops.copy_in(status_there.data(), status.data(), status_there.size_bytes(), nullptr);
  kernels::DeseasonArgs args;
  args.slope_steps = shape.period;
  args.seasonal = inputs.leader;
  args.trend = inputs.observed;
  args.remainder = inputs.remainder;
  args.decomposed = status_there;
  args.columns = columns_there;
  args.residual = memory->MakeBatch(shape.steps, inputs.observed.series);
  args.level = memory->MakeBatch(shape.steps, inputs.observed.series);
  ops.gather({inputs.observed, {}, args.level});
  args.slope = memory->Make<float>(series);
  args.strength = memory->Make<float>(series);
  ops.wait(nullptr);
  return {[&ops, args] { ops.deseason(args); }, {}, {}, memory};
}

constexpr std::string_view kTrendWindow = "trend window";

constexpr Case kCases[] = {
    {"stl", "periodic season, R's defaults", kTrendWindow, true, StlSeason<StlVariant{}>,
     PrepareStl, CheckStlCase},
    {"stl-robust", "as stl, robust", kTrendWindow, true, StlSeason<StlVariant{.robust = true}>,
     PrepareStl, CheckStlCase},
    {"stl-exact", "as stl, every jump 1", kTrendWindow, true, StlSeason<StlVariant{.exact = true}>,
     PrepareStl, CheckStlCase},
    {"stl-7", "seasonal window 7, R's defaults", kTrendWindow, true,
     StlSeason<StlVariant{.seasonal_window = 7}>, PrepareStl, CheckStlCase},
    {"stl-7-robust", "as stl-7, robust", kTrendWindow, true,
     StlSeason<StlVariant{.seasonal_window = 7, .robust = true}>, PrepareStl, CheckStlCase},
    {"stl-7-exact", "as stl-7, every jump 1", kTrendWindow, true,
     StlSeason<StlVariant{.seasonal_window = 7, .exact = true}>, PrepareStl, CheckStlCase},
    {"mstl", "day (a sixth of the period) and week, windows 11 and 15", kTrendWindow, true,
     DayAndWeek<false>, PrepareMstl, CheckMstl},
    {"mstl-exact", "as mstl, every jump 1, 5 inner loops", kTrendWindow, true, DayAndWeek<true>,
     PrepareMstl, CheckMstl},
    {"stream-start", "a state from a finished stl", "", true, NoSeasons, PrepareStreamStart,
     CheckStreamCase},
    {"stream-update", "every step in turn, taken in by that state", "", true, NoSeasons,
     PrepareStreamUpdate, CheckStreamCase},
    {"periods", "three periods of up to half the length", "", false, NoSeasons, PreparePeriods,
     CheckOffered<&Ops::periods>},
    {"events", "scale, threshold, spikes and level shifts of a remainder", "", false, NoSeasons,
     PrepareEvents, CheckOffered<&Ops::events>},
    {"lags", "correlation at lags 0 to 12", "largest lag", false, NoSeasons, PrepareLags,
     CheckOffered<&Ops::lags>},
    {"pinball", "loss of one quantile", "", false, NoSeasons, PreparePinball,
     CheckOffered<&Ops::pinball>},
    {"naive-scale", "mean seasonal difference", "", false, NoSeasons, PrepareNaiveScale,
     CheckOffered<&Ops::naive_scale>},
    {"mase", "mean absolute scaled error", "", false, NoSeasons, PrepareMase,
     CheckOffered<&Ops::mase>},
    {"rolling-quantiles", "three quantiles over a window of a period", "window", false, NoSeasons,
     PrepareRollingQuantiles, CheckOffered<&Ops::rolling_quantiles>},
    {"autoregression", "13 lags, ridge", "", false, NoSeasons, PrepareAutoregression,
     CheckOffered<&Ops::autoregression>},
    {"gather", "every column, in reverse", "", false, NoSeasons, PrepareGather,
     CheckOffered<&Ops::gather>},
    {"deseason", "a season out of a batch, slope and strength", "", false, NoSeasons,
     PrepareDeseason, CheckOffered<&Ops::deseason>},
};

}  // namespace

Memory::~Memory() {
  for (void* memory : held_) ops_.release(memory);
}

void* Memory::Allocate(size_t bytes) {
  void* memory = ops_.allocate(std::max<size_t>(bytes, 1));
  FORESHADOW_CHECK(memory != nullptr);
  held_.push_back(memory);
  return memory;
}

StepMajor<float> Memory::MakeBatch(int64_t steps, int64_t series) {
  const int64_t stride = kernels::RoundUp(series, kColumnsAlign);
  return {Make<float>(static_cast<size_t>(steps * stride)).data(), steps, series, stride};
}

StepMajor<const float> Memory::Copy(const SeriesSet& set, const std::vector<float>& values) {
  const std::span<float> copy = Make<float>(values.size());
  ops_.copy_in(copy.data(), values.data(), values.size() * sizeof(float), nullptr);
  return {copy.data(), set.steps, set.series, set.stride};
}

Inputs CopyIn(const SeriesSet& set, Memory& memory) {
  return {memory.Copy(set, set.observed), memory.Copy(set, set.leader),
          memory.Copy(set, set.remainder)};
}

Inputs Columns(const Inputs& inputs, int64_t first, int64_t count) {
  const auto columns = [&](StepMajor<const float> batch) {
    batch.data += first;
    batch.series = count;
    return batch;
  };
  return {columns(inputs.observed), columns(inputs.leader), columns(inputs.remainder)};
}

std::span<const Case> Cases() { return kCases; }

const Case* FindCase(std::string_view name) {
  const auto found = std::find_if(std::begin(kCases), std::end(kCases),
                                  [&](const Case& each) { return each.name == name; });
  return found == std::end(kCases) ? nullptr : found;
}

int DayOf(const Case& which, const Shape& shape) {
  const std::vector<StlParams> seasons = which.seasons(shape);
  return seasons.empty() ? shape.period : seasons.front().period;
}

}  // namespace foreshadow::training
