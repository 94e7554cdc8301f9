#include "training/bench/measure.h"

#include <algorithm>
#include <barrier>
#include <chrono>
#include <cmath>
#include <ctime>
#include <limits>
#include <thread>

#include "kernels/check.h"

namespace foreshadow::training {
namespace {

using Clock = std::chrono::steady_clock;

struct Span {
  Clock::time_point begin;
  Clock::time_point end;
  double cpu_s = 0;
};

Span RunTimes(const kernels::Ops& ops, const Job& job, int64_t times) {
  Span span;
  const double before_s = ThreadCpuSeconds();
  span.begin = Clock::now();
  for (int64_t i = 0; i < times; ++i) job.run();
  FORESHADOW_CHECK(ops.wait(nullptr).empty());
  span.end = Clock::now();
  span.cpu_s = ThreadCpuSeconds() - before_s;
  return span;
}

// Every job `times` times, a thread each. Of one run: the time from the first start to the last
// end, and the CPU time of all.
Timing RunAll(const kernels::Ops& ops, std::span<const Job> jobs, int64_t times) {
  std::vector<Span> spans(jobs.size());
  if (jobs.size() == 1) {
    spans[0] = RunTimes(ops, jobs[0], times);
  } else {
    std::barrier start(static_cast<std::ptrdiff_t>(jobs.size()));
    std::vector<std::jthread> threads;
    for (size_t i = 0; i < jobs.size(); ++i) {
      threads.emplace_back([&, i] {
        start.arrive_and_wait();
        spans[i] = RunTimes(ops, jobs[i], times);
      });
    }
  }
  Timing timing;
  Span whole = spans[0];
  for (const Span& span : spans) {
    whole.begin = std::min(whole.begin, span.begin);
    whole.end = std::max(whole.end, span.end);
    timing.cpu_s += span.cpu_s;
  }
  const auto runs = static_cast<double>(times);
  timing.wall_s = std::chrono::duration<double>(whole.end - whole.begin).count() / runs;
  timing.cpu_s /= runs;
  return timing;
}

std::vector<Job> Split(const kernels::Ops& ops, const Case& which, const Shape& shape,
                       const Inputs& inputs, int cores) {
  const int64_t blocks = (shape.series + kColumnsAlign - 1) / kColumnsAlign;
  std::vector<Job> jobs;
  int64_t first = 0;
  for (int64_t core = 1; core <= cores; ++core) {
    const int64_t end = std::min(shape.series, blocks * core / cores * kColumnsAlign);
    if (end > first) {
      jobs.push_back(which.prepare(ops, which, shape, Columns(inputs, first, end - first)));
    }
    first = end;
  }
  return jobs;
}

int64_t Failed(const kernels::Ops& ops, std::span<const Job> jobs) {
  int64_t failed = 0;
  for (const Job& job : jobs) {
    std::vector<kernels::SeriesStatus> status(job.status.size());
    ops.copy_out(status.data(), job.status.data(), status.size(), nullptr);
    FORESHADOW_CHECK(ops.wait(nullptr).empty());
    failed += std::count_if(status.begin(), status.end(),
                            [](auto each) { return each != kernels::SeriesStatus::kOk; });
  }
  return failed;
}

}  // namespace

Timing Measure(const kernels::Ops& ops, const Case& which, const Shape& shape, const Inputs& inputs,
               const MeasureOptions& options) {
  const std::vector<Job> jobs = Split(ops, which, shape, inputs, options.cores);
  RunAll(ops, jobs, 1);  // the first run pays for fresh memory
  const double once_s = RunAll(ops, jobs, 1).wall_s;
  const auto times = std::max<int64_t>(1, std::llround(std::ceil(options.least_s / once_s)));
  std::vector<double> wall_s;
  std::vector<double> cpu_s;
  for (int i = 0; i < options.repetitions; ++i) {
    const Timing timing = RunAll(ops, jobs, times);
    wall_s.push_back(timing.wall_s);
    cpu_s.push_back(timing.cpu_s);
  }
  return {Median(wall_s), Median(cpu_s), Failed(ops, jobs)};
}

double Median(std::span<const double> values) {
  if (values.empty()) return std::numeric_limits<double>::quiet_NaN();
  std::vector<double> sorted(values.begin(), values.end());
  std::sort(sorted.begin(), sorted.end());
  const size_t middle = sorted.size() / 2;
  return sorted.size() % 2 == 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

PowerLaw FitPowerLaw(std::span<const double> x, std::span<const double> y) {
  FORESHADOW_CHECK(x.size() == y.size());
  const auto count = static_cast<double>(x.size());
  double mean_x = 0;
  double mean_y = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    mean_x += std::log(x[i]) / count;
    mean_y += std::log(y[i]) / count;
  }
  double xx = 0;
  double xy = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double off = std::log(x[i]) - mean_x;
    xx += off * off;
    xy += off * (std::log(y[i]) - mean_y);
  }
  if (!(xx > 0)) {
    const double nan = std::numeric_limits<double>::quiet_NaN();
    return {nan, nan};
  }
  const double exponent = xy / xx;
  return {exponent, std::exp(mean_y - exponent * mean_x)};
}

double ThreadCpuSeconds() {
  timespec now{};
  clock_gettime(CLOCK_THREAD_CPUTIME_ID, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

}  // namespace foreshadow::training
