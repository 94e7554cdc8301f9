// The kernels' operations under Google Benchmark, on one core: the list of training/bench/cases.h,
// at the usual size.
//
//   build/release/bin/kernels_bench --benchmark_filter=stl --benchmark_repetitions=5
#include <benchmark/benchmark.h>

#include <string>

#include "training/bench/cases.h"

namespace foreshadow::training {
namespace {

constexpr uint64_t kSeed = 1;

void Run(benchmark::State& state, const Case& which) {
  const kernels::Ops& ops = kernels::CpuOps();
  const Shape shape;
  if (const auto why = which.check(ops, which, shape); !why.empty()) {
    state.SkipWithError(std::string(why).c_str());
    return;
  }
  Shape day = shape;
  day.period = DayOf(which, shape);
  Memory memory(ops);
  const Job job = which.prepare(ops, which, shape, CopyIn(MakeSeries(day, kSeed), memory));
  for (auto _ : state) job.run();
  const auto series = static_cast<double>(shape.series);
  using Counter = benchmark::Counter;
  state.counters["series/s"] = Counter(series, Counter::kIsIterationInvariantRate);
  // Seconds a sample, which Google Benchmark prints with an n for nano.
  state.counters["s/sample"] = Counter(series * static_cast<double>(shape.steps),
                                       Counter::kIsIterationInvariantRate | Counter::kInvert);
}

}  // namespace
}  // namespace foreshadow::training

int main(int argc, char** argv) {
  using namespace foreshadow::training;
  for (const Case& which : Cases()) {
    benchmark::RegisterBenchmark(std::string(which.name).c_str(), [&which](
                                                                      benchmark::State& state) {
      Run(state, which);
    })->Unit(benchmark::kMillisecond);
  }
  benchmark::Initialize(&argc, argv);
  if (benchmark::ReportUnrecognizedArguments(argc, argv)) return 1;
  benchmark::RunSpecifiedBenchmarks();
  benchmark::Shutdown();
}
