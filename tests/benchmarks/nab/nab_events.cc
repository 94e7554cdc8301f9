// The events kernel as a streaming detector, for nab.py: reads a value a line (an empty line is a
// missing one) and prints, for each, -log10 of the smallest chance of a false alarm at which it
// raises an alarm; 0 = none at any. What it says of a line rests on that line and those before:
//   nab_events [WINDOW_ROWS [REFIT_ROWS]] < values > scores
//
// Every REFIT_ROWS the strongest period of the past window is looked for and its season (STL,
// periodic) taken out of the window and of the rows until the next fit. Each row is then the last
// of a window of its own. It raises an alarm when a spike begins on it, or when a level shift is
// seen for the first time that no spike announced.
#include <algorithm>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <iostream>
#include <limits>
#include <string>
#include <vector>

#include "kernels/ops.h"

namespace {

using namespace foreshadow::kernels;

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr int64_t kPresentMin = 100;  // rows before the first fit

struct Workspace {
  explicit Workspace(size_t bytes) : size(bytes), memory(CpuOps().allocate(bytes + 1)) {}
  ~Workspace() { CpuOps().release(memory); }
  Workspace(const Workspace&) = delete;
  Workspace& operator=(const Workspace&) = delete;
  std::span<std::byte> span() const { return {static_cast<std::byte*>(memory), size}; }

  size_t size;
  void* memory;
};

int32_t StrongestPeriod(const std::vector<float>& window) {
  int32_t period = 0;
  float strength = 0;
  SeriesStatus status{};
  PeriodArgs args;
  args.observed = {window.data(), std::ssize(window), 1, 1};
  args.max_period = static_cast<int>(window.size() / 3);
  args.max_periods = 1;
  args.periods = {&period, 1};
  args.strengths = {&strength, 1};
  args.status = {&status, 1};
  const Workspace workspace(CpuOps().periods_workspace_bytes(args));
  args.workspace = workspace.span();
  CpuOps().periods(args);
  return status == SeriesStatus::kOk ? period : 0;
}

// The season of the window by phase, counted from its first row; empty = none.
std::vector<float> SeasonOf(const std::vector<float>& window) {
  const int32_t period = StrongestPeriod(window);
  StlParams params;
  params.period = period;
  params.robust = true;
  const auto steps = std::ssize(window);
  if (period == 0 || !CpuOps().stl_check(params, steps).empty()) return {};
  std::vector<float> parts(3 * window.size());
  const auto part = [&](int64_t k) {
    return StepMajor<float>{parts.data() + k * steps, steps, 1, 1};
  };
  SeriesStatus status{};
  const Workspace workspace(CpuOps().stl_workspace_bytes(params, steps, 1));
  CpuOps().stl({params,
                {window.data(), steps, 1, 1},
                part(0),
                part(1),
                part(2),
                {},
                {&status, 1},
                workspace.span()});
  if (status != SeriesStatus::kOk) return {};
  return {parts.begin(), parts.begin() + period};
}

struct Feed {
  std::vector<float> values;
  int64_t window;
  int64_t refit;

  float at(int64_t row) const { return row < 0 ? kNan : values[static_cast<size_t>(row)]; }
};

// Which of the rows first .. first + columns - 1 raise an alarm at this chance. `columns` holds the
// windows that end at them; `newest_shift` is the row of the newest shift that is known, and
// `newest_alarm` that of the newest alarm.
struct Detector {
  float false_alarms;
  int64_t newest_shift = -1;
  int64_t newest_alarm = -1;

  std::vector<int64_t> Alarms(StepMajor<const float> columns, int64_t first) {
    const auto n = static_cast<size_t>(columns.series);
    const int64_t window = columns.steps;
    std::vector<float> scale(n);
    std::vector<float> threshold(n);
    std::vector<SeriesStatus> status(n);
    std::vector<Event> events(n * static_cast<size_t>(window));
    int64_t count = 0;
    EventArgs args;
    args.remainder = columns;
    args.false_alarms = false_alarms;
    // The same chance a step for both kinds.
    args.shift_false_alarms = std::min(0.5f, false_alarms * static_cast<float>(window));
    args.scale = scale;
    args.threshold = threshold;
    args.status = status;
    args.events = events;
    args.events_count = &count;
    const Workspace workspace(CpuOps().events_workspace_bytes(args));
    args.workspace = workspace.span();
    CpuOps().events(args);
    events.resize(static_cast<size_t>(count));
    std::vector<int64_t> alarms;
    for (const Event& event : events) {
      const int64_t now = first + event.series;
      const int64_t onset = now - window + 1 + event.onset;
      bool alarm = false;
      if (event.kind == EventKind::kSpike) {
        alarm = onset == now;
      } else {
        constexpr int64_t kSlack = 49;  // the same shift, placed anew as the window moves on
        const bool is_new = onset > newest_shift + kSlack;
        alarm = is_new && newest_alarm < onset - kSlack / 2 && onset > now - 2 * kSlack;
        newest_shift = std::max(newest_shift, onset);
      }
      if (!alarm) continue;
      newest_alarm = now;
      alarms.push_back(now);
    }
    return alarms;
  }
};

void Run(const Feed& feed) {
  std::vector<Detector> detectors;
  for (float exponent = 2; exponent <= 12; exponent += 1) {
    detectors.push_back({std::pow(10.0f, -exponent)});
  }
  const auto rows = std::ssize(feed.values);
  std::vector<double> scores(feed.values.size(), 0);
  for (int64_t first = 0; first < rows; first += feed.refit) {
    const int64_t count = std::min(feed.refit, rows - first);
    std::vector<float> past;
    for (int64_t i = std::max<int64_t>(0, first - feed.window); i < first; ++i) {
      past.push_back(feed.at(i));
    }
    const int64_t past_start = first - std::ssize(past);
    const std::vector<float> season =
        std::ssize(past) >= kPresentMin ? SeasonOf(past) : std::vector<float>();
    const auto without_season = [&](int64_t row) {
      if (season.empty() || row < 0) return feed.at(row);
      const auto period = std::ssize(season);
      const int64_t phase = ((row - past_start) % period + period) % period;
      return feed.at(row) - season[static_cast<size_t>(phase)];
    };
    std::vector<float> columns(static_cast<size_t>(feed.window * count));
    for (int64_t i = 0; i < feed.window; ++i) {
      for (int64_t c = 0; c < count; ++c) {
        columns[static_cast<size_t>(i * count + c)] =
            without_season(first + c - feed.window + 1 + i);
      }
    }
    for (Detector& detector : detectors) {
      for (const int64_t row :
           detector.Alarms({columns.data(), feed.window, count, count}, first)) {
        scores[static_cast<size_t>(row)] = -std::log10(double{detector.false_alarms});
      }
    }
  }
  for (const double score : scores) std::printf("%.2f\n", score);
}

}  // namespace

int main(int argc, char** argv) {
  Feed feed;
  feed.window = argc > 1 ? std::atoll(argv[1]) : 8'064;
  feed.refit = argc > 2 ? std::atoll(argv[2]) : 48;
  if (feed.window < 8 || feed.refit < 1) {
    std::fputs("nab_events [WINDOW_ROWS >= 8 [REFIT_ROWS >= 1]]\n", stderr);
    return 2;
  }
  for (std::string line; std::getline(std::cin, line);) {
    feed.values.push_back(line.empty() ? kNan : std::strtof(line.c_str(), nullptr));
  }
  Run(feed);
}
