// How far the streaming update strays from the full decomposition on series as they are, beside two
// ways that need no model. Reads lines of `name,sample,sample,...`, an empty sample missing, as
// traces of clusters come:
//
//   zcat cpu_pct.csv.gz | build/release/bin/stream_stray --period 288 --window 2016
//
// Every `period` steps each series is decomposed anew and followed for two periods. Prints the
// bound (without series: that alone) and, by steps since the start, root mean square and 99th
// percentile of the stray over series and starts, in standard deviations of the window's remainder.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <iostream>
#include <limits>
#include <sstream>
#include <string>
#include <vector>

#include "kernels/algo/stl_plan.h"
#include "kernels/algo/stl_taps.h"
#include "kernels/algo/stream.h"
#include "kernels/algo/stream_plan.h"

namespace foreshadow::kernels {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();

struct Options {
  int period = 288;
  int window = 2'016;
  int seasonal = kPeriodic;
};

// The strays of one way of following, by steps since the start.
struct Tally {
  const char* name;
  std::vector<std::vector<float>> trend;
  std::vector<std::vector<float>> seasonal;
};

std::vector<float> ParseLine(const std::string& line) {
  std::vector<float> samples;
  std::istringstream fields(line);
  std::string field;
  std::getline(fields, field, ',');  // the name
  while (std::getline(fields, field, ',')) {
    samples.push_back(field.empty() ? kNan : std::strtof(field.c_str(), nullptr));
  }
  return samples;
}

double Last(const std::vector<double>& taps, const float* end) {
  double sum = 0;
  for (size_t lag = 0; lag < taps.size(); ++lag) sum += taps[lag] * double{end[-int64_t(lag)]};
  return sum;
}

// One-sided tricube means of the newest samples (a period and a half), and a season smoothed
// exponentially: the update of OnlineSTL (Mishra, Sriharsha and Zhong 2022), started from the
// decomposition.
struct OneSided {
  std::vector<float> season;
  std::vector<float> deseasoned;  // newest last

  std::pair<float, float> Take(float sample, int64_t phase) {
    constexpr float kGain = 0.3f;
    const auto trend_with = [&](float newest) {
      double sum = 0;
      double weights = 0;
      const auto width = static_cast<double>(deseasoned.size());
      for (size_t lag = 0; lag < deseasoned.size(); ++lag) {
        const double q = static_cast<double>(lag) / width;
        const double weight = std::pow(1 - q * q * q, 3);
        weights += weight;
        sum += weight * double{lag == 0 ? newest : deseasoned[deseasoned.size() - lag]};
      }
      return static_cast<float>(sum / weights);
    };
    float& of_phase = season[static_cast<size_t>(phase)];
    const float detrended = sample - trend_with(sample - of_phase);
    of_phase += kGain * (detrended - of_phase);
    const float trend = trend_with(sample - of_phase);
    deseasoned.erase(deseasoned.begin());
    deseasoned.push_back(sample - of_phase);
    return {trend, of_phase};
  }
};

class Measure {
 public:
  explicit Measure(const Options& options)
      : options_(options),
        params_{.period = options.period, .seasonal_window = options.seasonal},
        taps_(LastStepTaps(PlanStl(params_, options.window))),
        plan_(PlanStream(params_, options.window)),
        state_(static_cast<size_t>(StreamStateRows(plan_.model))) {
    for (Tally* tally : {&stream_, &held_, &one_sided_}) {
      tally->trend.resize(2 * static_cast<size_t>(options.period) + 1);
      tally->seasonal = tally->trend;
    }
  }

  // Series with gaps are left out: what is to be measured is the stray, not how gaps are filled.
  void Follow(const std::vector<float>& samples) {
    const int64_t ahead = 2 * options_.period;
    for (int64_t first = 0; first + options_.window + ahead <= std::ssize(samples);
         first += options_.period) {
      const auto begin = samples.begin() + first;
      if (std::any_of(begin, begin + options_.window + ahead,
                      [](float x) { return std::isnan(x); }))
        continue;
      FollowFrom(samples.data() + first);
    }
  }

  void Print() const {
    PrintBound();
    if (starts_ == 0) return;
    std::printf("\nstray over %zu starts, in deviations of the remainder\n", starts_);
    std::printf("%-10s %6s %12s %12s %12s %12s\n", "", "steps", "trend rms", "trend p99",
                "season rms", "season p99");
    for (const Tally* tally : {&stream_, &held_, &one_sided_}) {
      for (const int sixteenths : {1, 2, 4, 8, 16, 32}) {
        const auto k = static_cast<size_t>(options_.period * sixteenths / 16);
        if (k == 0) continue;
        std::printf("%-10s %6zu %12.5f %12.5f %12.5f %12.5f\n", tally->name, k,
                    Rms(tally->trend[k]), Quantile(tally->trend[k]), Rms(tally->seasonal[k]),
                    Quantile(tally->seasonal[k]));
      }
    }
    std::printf("share of the bound used, within a period: median %.3f, largest %.3f\n",
                Quantile(used_, 0.5), Quantile(used_, 1));
  }

 private:
  void PrintBound() const {
    const StreamModel& m = plan_.model;
    const float* stray = TablesOf(m, plan_.tables.data()).stray;
    const int64_t row = m.horizon + 1;
    std::printf("bound: c of the largest deviation since the start, and of that in the window\n");
    std::printf("%6s %12s %12s %12s %12s\n", "steps", "trend new", "trend old", "season new",
                "season old");
    for (const int sixteenths : {1, 2, 4, 8, 16}) {
      const int64_t k = int64_t{m.horizon} * sixteenths / 16;
      std::printf("%6d %12.4f %12.4f %12.4f %12.4f\n", static_cast<int>(k), stray[k],
                  stray[2 * row + k], stray[row + k], stray[3 * row + k]);
    }
  }
  static double Rms(const std::vector<float>& values) {
    double sum = 0;
    for (const float value : values) sum += double{value} * value;
    return std::sqrt(sum / static_cast<double>(values.size()));
  }
  static double Quantile(std::vector<float> values, double level = 0.99) {
    if (values.empty()) return kNan;
    for (float& value : values) value = std::abs(value);
    const auto at = static_cast<int64_t>(level * static_cast<double>(values.size() - 1));
    std::nth_element(values.begin(), values.begin() + at, values.end());
    return values[static_cast<size_t>(at)];
  }

  void FollowFrom(const float* samples) {
    const Ops& ops = CpuOps();
    const int64_t n = options_.window;
    const auto column = [&](std::vector<float>& values) {
      values.resize(static_cast<size_t>(n));
      return StepMajor<float>{values.data(), n, 1, 1};
    };
    std::vector<float> seasonal;
    std::vector<float> trend;
    std::vector<float> remainder;
    std::vector<SeriesStatus> status(1);
    StlArgs stl;
    stl.params = params_;
    stl.observed = {samples, n, 1, 1};
    stl.seasonal = column(seasonal);
    stl.trend = column(trend);
    stl.remainder = column(remainder);
    stl.status = status;
    workspace_.resize(ops.stl_workspace_bytes(params_, n, 1) + 64);
    stl.workspace = Aligned();
    ops.stl(stl);
    const double spread = Rms(remainder);
    // A series that its decomposition leaves nothing of has no noise to measure by.
    if (status[0] != SeriesStatus::kOk || spread < 1e-3 * std::abs(double{samples[n - 1]}) ||
        spread <= 0) {
      return;
    }
    ++starts_;

    const StepMajor<float> state{state_.data(), std::ssize(state_), 1, 1};
    StreamStartArgs start;
    start.model = plan_.model;
    start.tables = plan_.tables;
    start.tick = n - 1;
    start.observed = stl.observed;
    start.seasonal = stl.seasonal;
    start.trend = stl.trend;
    start.decomposed = status;
    start.state = state;
    workspace_.resize(std::max(workspace_.size(), ops.stream_start_workspace_bytes(start) + 64));
    start.workspace = Aligned();
    ops.stream_start(start);
    OneSided one_sided;
    for (int64_t i = 0; i < options_.period; ++i) {
      one_sided.season.push_back(seasonal[static_cast<size_t>(n - options_.period + i)]);
    }
    for (int64_t i = n - options_.period * 3 / 2; i < n; ++i) {
      one_sided.deseasoned.push_back(samples[i] - seasonal[static_cast<size_t>(i)]);
    }
    const std::vector<float> last_season = one_sided.season;

    for (int64_t k = 1; k <= 2 * options_.period; ++k) {
      const float* now = samples + n - 1 + k;
      std::vector<float> trend_now(1);
      std::vector<float> seasonal_now(1);
      std::vector<float> rest(1);
      ops.stream_update(
          {plan_.model, n - 1 + k, {now, 1}, state, seasonal_now, trend_now, rest, {}, status});
      const double trend_full = Last(taps_.trend, now);
      const double seasonal_full = Last(taps_.seasonal, now);
      const auto note = [&](Tally& tally, float of_trend, float of_season) {
        const auto i = static_cast<size_t>(k);
        tally.trend[i].push_back(static_cast<float>((of_trend - trend_full) / spread));
        tally.seasonal[i].push_back(static_cast<float>((of_season - seasonal_full) / spread));
      };
      const int64_t phase = (k - 1) % options_.period;
      note(stream_, trend_now[0], seasonal_now[0]);
      note(held_, trend.back(), last_season[static_cast<size_t>(phase)]);
      const auto [trend_one, season_one] = one_sided.Take(*now, phase);
      note(one_sided_, trend_one, season_one);
      if (k > options_.period) continue;
      std::vector<float> trend_bound(1);
      std::vector<float> seasonal_bound(1);
      ops.stream_stray({plan_.model, plan_.tables, state, trend_bound, seasonal_bound});
      used_.push_back(static_cast<float>(std::abs(trend_now[0] - trend_full) / trend_bound[0]));
      used_.push_back(
          static_cast<float>(std::abs(seasonal_now[0] - seasonal_full) / seasonal_bound[0]));
    }
  }
  std::span<std::byte> Aligned() {
    const auto address = reinterpret_cast<std::uintptr_t>(workspace_.data());
    return std::span(workspace_).subspan((64 - address % 64) % 64);
  }

  Options options_;
  StlParams params_;
  StlTaps taps_;
  StreamPlan plan_;
  std::vector<float> state_;
  std::vector<std::byte> workspace_;
  size_t starts_ = 0;
  std::vector<float> used_;
  Tally stream_{"stream", {}, {}};
  Tally held_{"held", {}, {}};
  Tally one_sided_{"one-sided", {}, {}};
};

int Main(int argc, char** argv) {
  Options options;
  for (int i = 1; i + 1 < argc; i += 2) {
    const int value = std::atoi(argv[i + 1]);
    if (std::strcmp(argv[i], "--period") == 0) options.period = value;
    if (std::strcmp(argv[i], "--window") == 0) options.window = value;
    if (std::strcmp(argv[i], "--seasonal") == 0) options.seasonal = value;
  }
  const StlParams params{.period = options.period, .seasonal_window = options.seasonal};
  if (const auto wrong = CheckStream(params, options.window); !wrong.empty()) {
    std::fprintf(stderr, "%s\n", std::string(wrong).c_str());
    return 2;
  }
  Measure measure(options);
  for (std::string line; std::getline(std::cin, line);) measure.Follow(ParseLine(line));
  measure.Print();
  return 0;
}

}  // namespace
}  // namespace foreshadow::kernels

int main(int argc, char** argv) { return foreshadow::kernels::Main(argc, argv); }
