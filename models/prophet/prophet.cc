#include "models/prophet/prophet.h"

#include <algorithm>
#include <cmath>
#include <span>
#include <utility>
#include <vector>

#include "kernels/check.h"
#include "models/empirical.h"
#include "models/parallel.h"
#include "models/prophet/design.h"
#include "models/prophet/fit.h"

namespace foreshadow::models {
namespace {

constexpr int kStepsMax = 2'016;
constexpr int64_t kPastMax = 1 << 18;  // three days of seconds; 100 MB of design a thread
constexpr int kSamplesMin = 10;
constexpr int64_t kDayMs = 86'400'000;
constexpr int64_t kWeekMs = 7 * kDayMs;
constexpr int64_t kSilenceMs = kDayMs;
constexpr int64_t kSeasonsMin = 2;  // of a season in the past, as in Prophet
constexpr int kDayOrder = 4;        // Prophet's, as is the week's: 10 did worse on real machines
constexpr int kWeekOrder = 3;
constexpr int kChanges = 25;
constexpr int kOrigins = 16;  // of held-out forecasts: each some 2 h long in a week of 5 min
constexpr int64_t kChunkSeries = 32;

// What makes series share a design: where they begin, and their seasons.
struct Kind {
  int64_t first = 0;      // row of the first sample
  int64_t period = 0;     // steps, 0 = none but day and week
  bool seasonal = false;  // samples enough for seasons
  int32_t driver = -1;    // series whose samples are a regressor, -1 = none
  int32_t lead = 0;       // steps by which it comes before

  auto operator<=>(const Kind&) const = default;
};

struct Candidate {
  Kind kind;
  int64_t series = 0;
};

void AddSeason(int64_t period_ms, int order, const ProphetGrid& grid, ProphetOptions& options) {
  const int64_t span_ms = (grid.past - 1) * grid.step_ms;
  if (span_ms < kSeasonsMin * period_ms) return;
  // Above half the sampling rate a harmonic is another one's mirror.
  const int64_t order_max = (period_ms / grid.step_ms - 1) / 2;
  if (order_max < 1) return;
  const auto apart = [&](const ProphetSeason& other) {  // by at least half a turn over the past
    return std::fabs(static_cast<double>(span_ms) / other.period_ms -
                     static_cast<double>(span_ms) / static_cast<double>(period_ms)) >= 0.5;
  };
  if (!std::ranges::all_of(options.seasons, apart)) return;
  options.seasons.push_back({.period_ms = static_cast<double>(period_ms),
                             .order = static_cast<int>(std::min<int64_t>(order, order_max))});
}

float MedianOf(std::vector<float>& errors) {
  if (errors.empty()) return 0;
  const auto middle = errors.begin() + std::ssize(errors) / 2;
  std::nth_element(errors.begin(), middle, errors.end());
  return *middle;
}

// The driver's samples a lead before each row; where there is none the one before it is carried on.
ProphetRegressor RegressorOf(const Kind& kind, const History& history, const ProphetGrid& grid) {
  std::vector<double> values(static_cast<size_t>(grid.past + grid.ahead), std::nan(""));
  double known = std::nan("");
  for (int64_t row = 0; row < std::ssize(values); ++row) {
    const int64_t source = kind.first + row - kind.lead;
    if (source >= 0 && source < history.values.steps) {
      const float sample = history.values.at(source, kind.driver);
      if (std::isfinite(sample)) known = sample;
    }
    values[row] = known;
  }
  const auto first = std::ranges::find_if(values, [](double x) { return !std::isnan(x); });
  std::fill(values.begin(), first, first == values.end() ? 0 : *first);
  return {.values = std::move(values)};
}

ProphetDesign DesignFor(const Kind& kind, const History& history, int steps,
                        const std::vector<ProphetEvent>& events) {
  const int64_t past = history.values.steps - kind.first;
  const ProphetGrid grid{history.end_ms - (past - 1) * history.step_ms, history.step_ms, past,
                         steps};
  ProphetOptions options;
  options.changes = kChanges;
  options.origins = kOrigins;
  if (kind.seasonal) {
    AddSeason(kDayMs, kDayOrder, grid, options);
    AddSeason(kWeekMs, kWeekOrder, grid, options);
    if (kind.period > 1) AddSeason(kind.period * grid.step_ms, kDayOrder, grid, options);
  }
  options.events = events;
  if (kind.driver >= 0) options.regressors.push_back(RegressorOf(kind, history, grid));
  return *MakeProphetDesign(grid, options);  // all is within its bounds
}

// One thread's work: the design of the kind it is at, and scratch.
class Worker {
 public:
  // Series of one kind.
  void Run(const History& history, const ProphetExtras& extras,
           std::span<const Candidate> candidates, QuantileBlock& out) {
    const Kind& kind = candidates.front().kind;
    if (!has_design_ || kind != kind_) {
      design_ = DesignFor(kind, history, out.steps, extras.events);
      kind_ = kind;
      has_design_ = true;
    }
    samples_.resize(design_.grid.past, std::ssize(candidates));
    for (int64_t row = 0; row < design_.grid.past; ++row) {
      for (int64_t i = 0; i < std::ssize(candidates); ++i) {
        const float value = history.values.at(kind.first + row, candidates[i].series);
        samples_(row, i) = std::isfinite(value) ? value : std::nan("");
      }
    }
    fits_.resize(candidates.size());
    fitter_.Fit(design_, samples_, fits_);
    for (int64_t i = 0; i < std::ssize(candidates); ++i) Write(i, candidates[i].series, out);
  }

 private:
  // Prophet's own point is a mean. The median is what is written, so the held-out errors' median
  // moves it; their other quantiles are the interval, wider the more the trend may bend till then.
  void Write(int64_t i, int64_t series, QuantileBlock& out) {
    ProphetFit& fit = fits_[i];
    const int64_t past = design_.grid.past;
    int64_t last = past - 1;
    while (std::isnan(samples_(last, i))) --last;
    constexpr float kMost = 3e38f;  // of samples so large that an error is infinite
    for (float& error : fit.held_out) error = std::clamp(error, -kMost, kMost);
    const float middle = MedianOf(fit.held_out);
    for (float& error : fit.held_out) error -= middle;
    const Offsets offsets =
        ErrorOffsets(fit.held_out, static_cast<float>(PredictProphet(design_, fit, last)));
    const double now = SpreadProphet(design_, fit, 0).deviation;
    for (int step = 0; step < out.steps; ++step) {
      const int64_t row = past + step;
      const double spread = SpreadProphet(design_, fit, static_cast<double>(row - last)).deviation;
      Offsets wider = offsets;
      for (float& offset : wider) offset *= static_cast<float>(spread / now);
      const double point = std::clamp(PredictProphet(design_, fit, row) + middle, -3e38, 3e38);
      WriteQuantiles(static_cast<float>(point), wider, out.at(series, step));
    }
  }

  bool has_design_ = false;
  Kind kind_;
  ProphetDesign design_;
  ProphetFitter fitter_;
  Eigen::MatrixXd samples_;
  std::vector<ProphetFit> fits_;
};

class ProphetModel : public Forecaster {
 public:
  ProphetModel(int threads, ProphetExtras extras)
      : threads_(ThreadCount(threads)), extras_(std::move(extras)) {
    FORESHADOW_CHECK(std::ssize(extras_.events) <= kProphetEventsMax);
  }

  std::string_view name() const override { return "prophet"; }
  int MaxSteps(int64_t step_ms) const override { return step_ms > 0 ? kStepsMax : 0; }

  absl::Status Forecast(const History& history, int steps, QuantileBlock& out) const override {
    if (absl::Status status = CheckHistory(history, steps, kStepsMax); !status.ok()) return status;
    out.Resize(history.values.series, steps);
    const std::vector<Candidate> candidates = Candidates(history, out);
    std::vector<Worker> workers(static_cast<size_t>(threads_));
    ForChunks(std::ssize(candidates), kChunkSeries, threads_,
              [&](int64_t first, int64_t last, int worker) {
                while (first < last) {
                  int64_t end = first + 1;
                  while (end < last && candidates[end].kind == candidates[first].kind) ++end;
                  workers[worker].Run(history, extras_,
                                      std::span(candidates).subspan(first, end - first), out);
                  first = end;
                }
              });
    return absl::OkStatus();
  }

 private:
  // The series that can be fitted, those of one kind side by side; the others get their status.
  std::vector<Candidate> Candidates(const History& history, QuantileBlock& out) const {
    const int64_t rows = history.values.steps;
    std::vector<Candidate> candidates;
    for (int64_t s = 0; s < out.series; ++s) {
      int64_t first = rows;
      int64_t last = -1;
      int64_t count = 0;
      for (int64_t row = std::max<int64_t>(0, rows - kPastMax); row < rows; ++row) {
        if (!std::isfinite(history.values.at(row, s))) continue;
        first = std::min(first, row);
        last = row;
        ++count;
      }
      if (count == 0) {
        WriteMissing(ForecastStatus::kNoHistory, s, out);
      } else if (count < kSamplesMin || (rows - 1 - last) * history.step_ms > kSilenceMs) {
        WriteMissing(ForecastStatus::kCannot, s, out);
      } else {
        // Twice as many samples as a design may have columns, lest it fits what it cannot see.
        constexpr int64_t kColumns = 2 + 2 * (2 * kDayOrder + kWeekOrder) + kChanges;
        const int64_t columns = kColumns + std::ssize(extras_.events) + (extras_.drivers ? 1 : 0);
        Kind kind{first, history.periods[s], count >= 2 * columns};
        if (extras_.drivers && !history.drivers.empty() && history.drivers[s].series >= 0) {
          kind.driver = history.drivers[s].series;
          kind.lead = history.drivers[s].lead_steps;
        }
        candidates.push_back({kind, s});
      }
    }
    std::ranges::stable_sort(candidates, {}, &Candidate::kind);
    return candidates;
  }

  int threads_;
  ProphetExtras extras_;
};

}  // namespace

std::shared_ptr<const Forecaster> MakeProphet(int threads, ProphetExtras extras) {
  return std::make_shared<ProphetModel>(threads, std::move(extras));
}

}  // namespace foreshadow::models
