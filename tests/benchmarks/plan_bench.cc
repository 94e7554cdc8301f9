// How long a plan takes, and how that grows: cells of fifty accounts, one in five in danger of
// running out of cores, relieved as far as the budget of creations goes.
#include <benchmark/benchmark.h>

#include <cmath>
#include <random>

#include "service/plan/plan.h"
#include "tests/unit/service/fleets.h"

namespace foreshadow {
namespace {

testing::Scene MakeFleetInDanger(int accounts, int cells, int creations) {
  testing::Scene scene;
  std::mt19937_64 random(1);
  std::lognormal_distribution<double> cores(0, 1);
  scene.fleet = testing::MakeFleet(cells, 0);
  for (int a = 0; a < accounts; ++a) testing::AddAccount(scene.fleet, a % cells);
  scene.reachable.assign(static_cast<size_t>(cells), true);
  scene.guard.creations_per_minute_max = creations;
  scene.table = testing::EmptyTable(scene.fleet, 12);
  for (int a = 0; a < accounts; ++a) {
    const double mean = cores(random);
    scene.fleet.cells[static_cast<size_t>(a % cells)].capacity[0] += mean;
    for (const SignalKind signal : {SignalKind::kCpu, SignalKind::kMemory}) {
      testing::SetForecast(scene.table, a, signal, mean, 0.3 * mean);
    }
    scene.demand.push_back({mean, mean, 0, 0});
  }
  for (int c = 0; c < cells; ++c) scene.fleet.cells[c].capacity[0] *= c % 5 == 0 ? 1.02 : 1.8;
  return scene;
}

void BM_Plan(benchmark::State& state) {
  const auto accounts = static_cast<int>(state.range(0));
  const testing::Scene scene = MakeFleetInDanger(accounts, static_cast<int>(state.range(1)),
                                                 static_cast<int>(state.range(2)));
  size_t reliefs = 0;
  for (auto _ : state) {
    const Plan plan = scene.Make();
    reliefs = plan.reliefs.size();
  }
  state.counters["shadows"] = static_cast<double>(reliefs);
}
BENCHMARK(BM_Plan)
    ->ArgNames({"accounts", "cells", "creations_max"})
    ->Args({1'000, 20, 20})
    ->Args({10'000, 200, 20})
    ->Args({10'000, 200, 1'000})
    ->Args({100'000, 2'000, 20})
    ->Args({1'000'000, 5'000, 20})
    ->Unit(benchmark::kMillisecond);

}  // namespace
}  // namespace foreshadow

BENCHMARK_MAIN();
