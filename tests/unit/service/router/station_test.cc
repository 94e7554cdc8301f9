// The stand-in's queue against the formula of the M/M/c queue.
#include "service/cell/instance/station.h"

#include <gtest/gtest.h>

#include <cmath>

namespace foreshadow::cell {
namespace {

// Erlang C: mean time in the system of an M/M/c queue.
double MeanMs(double per_ms, double work_ms, int servers) {
  const double offered = per_ms * work_ms;
  double term = 1, sum = 1;
  for (int k = 1; k < servers; ++k) sum += term *= offered / k;
  term *= offered / servers;
  const double rho = offered / servers;
  const double waits = term / (1 - rho) / (sum + term / (1 - rho));
  return work_ms + waits * work_ms / (servers * (1 - rho));
}

double Simulated(const StationOptions& options, double per_ms) {
  Station station(options);
  std::mt19937_64 random(3);
  std::exponential_distribution<double> gap(per_ms);
  SteadyTime now{};
  double sum_ms = 0;
  constexpr int kRequests = 400'000;
  for (int i = 0; i < kRequests; ++i) {
    now += std::chrono::nanoseconds(static_cast<int64_t>(1e6 * gap(random)));
    const Station::Admission admission = station.Admit(now, 0);
    EXPECT_TRUE(admission.ok);
    sum_ms += std::chrono::duration<double, std::milli>(admission.done - now).count();
  }
  return sum_ms / kRequests;
}

TEST(Station, LatencyRisesWithLoadAsTheFormulaSays) {
  StationOptions options;
  options.warm_requests = 0;
  options.waiting_max = 1'000'000;
  for (const double load : {0.3, 0.7, 0.9}) {
    options.cores = 4;
    EXPECT_NEAR(Simulated(options, 4 * load), MeanMs(4 * load, 1, 4),
                0.05 * MeanMs(4 * load, 1, 4));
    options.cores = 0.5;  // one server, half as fast
    EXPECT_NEAR(Simulated(options, 0.5 * load), MeanMs(0.5 * load, 2, 1),
                0.08 * MeanMs(0.5 * load, 2, 1));
  }
}

TEST(Station, ShedsWhatWouldWaitBehindAFullLine) {
  StationOptions options;
  options.waiting_max = 3;
  Station station(options);
  const SteadyTime now{};
  int admitted = 0;
  for (int i = 0; i < 10; ++i) admitted += station.Admit(now, 5).ok;
  EXPECT_EQ(admitted, 4) << "one is served, three wait";
  EXPECT_EQ(station.totals().shed_count, 6u);
  EXPECT_EQ(station.totals().errors_count, 6u);
}

TEST(Station, IsSlowerUntilWarm) {
  StationOptions options;
  options.cores = 1'000;
  options.cold_factor = 5;
  options.warm_requests = 2'000;
  Station station(options);
  const auto mean = [&] {
    double sum = 0;
    for (int i = 0; i < 500; ++i) {
      sum += std::chrono::duration<double, std::milli>(station.Admit({}, 0).done - SteadyTime{})
                 .count();
    }
    return sum / 500;
  };
  const double cold_ms = mean();
  EXPECT_GT(cold_ms, 3.5);
  for (int i = 0; i < 5; ++i) mean();
  EXPECT_EQ(station.totals().warmth, 1);
}

TEST(Station, FailsOnPurpose) {
  Station station({});
  station.Set({1, 1});
  EXPECT_FALSE(station.Admit({}, 0).ok);
  EXPECT_EQ(station.totals().errors_count, 1u);
}

}  // namespace
}  // namespace foreshadow::cell
