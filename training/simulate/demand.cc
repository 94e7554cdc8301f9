#include "training/simulate/demand.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <random>

#include "training/simulate/constants.h"

namespace foreshadow::training {
namespace {

constexpr float kNan = std::numeric_limits<float>::quiet_NaN();
constexpr int64_t kHourMs = 3'600'000;

size_t Index(const Demand& d, int64_t step, int64_t series) {
  return static_cast<size_t>(step * d.series() + series);
}

}  // namespace

float Demand::Seen(int64_t step, int64_t account, int signal) const {
  const int64_t newest = step - delay_steps;
  const int64_t oldest = std::max<int64_t>(0, newest - kHourMs / step_ms + 1);
  for (int64_t t = newest; t >= oldest; --t) {
    const float value = seen[Index(*this, t, account * kSignals + signal)];
    if (!std::isnan(value)) return value;
  }
  return 0;
}

double Demand::MemoryBytes(int64_t step, int64_t account) const {
  const double bytes = at(step, account, static_cast<int>(SignalKind::kMemory));
  return bytes > 0 ? bytes : kMemoryBytesUnknown;
}

double Demand::MeanCpu(int64_t first_step) const {
  double sum = 0;
  for (int64_t t = first_step; t < steps; ++t) {
    for (int64_t a = 0; a < count(); ++a) sum += at(t, a, 0);
  }
  return sum / static_cast<double>(std::max<int64_t>(1, steps - first_step));
}

Demand MakeDemand(const Trace& trace, const Telemetry& telemetry) {
  Demand demand;
  demand.start_ms = trace.start_ms;
  demand.step_ms = trace.step_ms;
  demand.steps = trace.steps;
  demand.delay_steps = telemetry.delay_steps;
  demand.accounts = trace.accounts;
  demand.truth = trace.values;
  demand.seen = trace.values;
  const int64_t gap_max = std::max<int64_t>(1, kHourMs / trace.step_ms);
  std::mt19937_64 random(telemetry.seed);
  std::normal_distribution<float> error(0, static_cast<float>(telemetry.noise));
  std::uniform_real_distribution<double> chance(0, 1);
  for (int64_t s = 0; s < demand.series(); ++s) {
    int64_t last = -1;
    for (int64_t t = 0; t < demand.steps; ++t) {
      float& value = demand.truth[Index(demand, t, s)];
      float& seen = demand.seen[Index(demand, t, s)];
      if (std::isnan(value)) {
        value = last >= 0 && t - last <= gap_max ? demand.truth[Index(demand, last, s)] : 0;
        continue;
      }
      last = t;
      if (telemetry.noise > 0) seen = std::max(0.0f, seen * (1 + error(random)));
      if (telemetry.missing > 0 && chance(random) < telemetry.missing) seen = kNan;
    }
  }
  return demand;
}

void ShuffleBlocks(Trace& trace, int64_t block_steps, uint64_t seed) {
  const int64_t blocks = trace.steps / block_steps;
  std::mt19937_64 random(seed);
  std::vector<float> old = trace.values;
  std::vector<int64_t> order(static_cast<size_t>(blocks));
  std::iota(order.begin(), order.end(), 0);
  const int64_t series = trace.series();
  for (size_t a = 0; a < trace.accounts.size(); ++a) {
    std::shuffle(order.begin(), order.end(), random);
    for (int64_t t = 0; t < blocks * block_steps; ++t) {
      const int64_t from = order[t / block_steps] * block_steps + t % block_steps;
      std::copy_n(&old[from * series + static_cast<int64_t>(a) * kSignals], kSignals,
                  &trace.values[t * series + static_cast<int64_t>(a) * kSignals]);
    }
  }
}

void ScrambleAfter(Trace& trace, int64_t step, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::uniform_real_distribution<float> factor(0, 3);
  for (size_t i = static_cast<size_t>((step + 1) * trace.series()); i < trace.values.size(); ++i) {
    trace.values[i] *= factor(random);
  }
}

Trace MakeRegime(Regime regime, int accounts, int64_t steps, uint64_t seed) {
  constexpr double kNoise = 0.1;
  constexpr int kGroup = 10;  // accounts that a crowd visits together
  constexpr int64_t kCrowdSteps = 6;
  Trace trace;
  trace.step_ms = 300'000;
  trace.steps = steps;
  for (int a = 0; a < accounts; ++a) {
    trace.accounts.push_back({fmt::format("synthetic-{}", a + 1), "synthetic-cell", ""});
  }
  trace.values.assign(static_cast<size_t>(steps * trace.series()), kNan);
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal;
  std::uniform_real_distribution<double> uniform(0, 1);
  std::vector<double> level(static_cast<size_t>(accounts));
  for (double& l : level) l = std::exp(0.7 * normal(random)) / 2;
  std::vector<int64_t> crowd_until(static_cast<size_t>(accounts / kGroup + 1), -1);
  for (int64_t t = 0; t < steps; ++t) {
    for (int a = 0; a < accounts; ++a) {
      if (regime == Regime::kSteps && uniform(random) < 0.005) {
        level[a] = std::exp(0.7 * normal(random)) / 2;
      }
      int64_t& until = crowd_until[a / kGroup];
      if (regime == Regime::kCrowds && a % kGroup == 0 && uniform(random) < 0.005) {
        until = t + kCrowdSteps;
      }
      const double crowd = t < until ? 3 : 1;
      trace.values[t * trace.series() + a * kSignals] =
          static_cast<float>(std::max(0.0, level[a] * crowd * (1 + kNoise * normal(random))));
    }
  }
  return trace;
}

}  // namespace foreshadow::training
