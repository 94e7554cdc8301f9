// Plans against the optimum that a solver of mixed-integer programs (COIN-OR's CBC) finds, where
// demand is certain, so that what a plan costs is a sum of linear terms.
#include <coin/Cbc_C_Interface.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <random>
#include <vector>

#include "tests/unit/service/fleets.h"

namespace foreshadow {
namespace {

constexpr double kStepHours = 300'000 / 3'600'000.0;
constexpr int kSteps = 12;
constexpr int kLeadSteps = 2;  // as Scene has them: 450 s
constexpr double kServedHours = (kSteps - kLeadSteps) * kStepHours;
// Of service/plan/room.cc: a shadow of unknown size is a GiB while it is created and for an hour,
// and serves for half of it.
constexpr double kHeldGibHours = 1 + 450.0 / 3'600;
constexpr double kServesHours = 0.5;

struct Instance {
  testing::Scene scene;
  std::vector<double> cores;     // [account]
  std::vector<double> demand;    // [cell] at the start
  std::vector<double> capacity;  // [cell]
};

Instance MakeInstance(uint64_t seed) {
  std::mt19937_64 random(seed);
  const auto uniform = [&](double low, double high) {
    return std::uniform_real_distribution<double>(low, high)(random);
  };
  Instance instance;
  testing::Scene& scene = instance.scene;
  const int cells = 2 + static_cast<int>(random() % 4);
  scene.fleet = testing::MakeFleet(cells, 0);
  instance.demand.resize(static_cast<size_t>(cells));
  for (int c = 0; c < cells; ++c) {
    const int accounts = 3 + static_cast<int>(random() % 8);
    for (int a = 0; a < accounts; ++a) {
      testing::AddAccount(scene.fleet, c);
      instance.cores.push_back(std::exp(uniform(-1, 2)));
      instance.demand[static_cast<size_t>(c)] += instance.cores.back();
    }
  }
  scene.table = testing::EmptyTable(scene.fleet, kSteps);
  for (size_t a = 0; a < instance.cores.size(); ++a) {
    // What the planner sees is a float.
    instance.cores[a] = static_cast<float>(instance.cores[a]);
    testing::SetForecast(scene.table, static_cast<int64_t>(a), SignalKind::kCpu, instance.cores[a],
                         0);
  }
  for (size_t c = 0; c < instance.demand.size(); ++c) {
    // The first cell is over, and some others may be.
    const double room = c == 0 ? uniform(0.6, 0.95) : uniform(0.9, 2);
    instance.capacity.push_back(room * instance.demand[c]);
    scene.fleet.cells[c].capacity[0] = instance.capacity.back();
  }
  scene.reachable.assign(static_cast<size_t>(cells), true);
  return instance;
}

double PriceOf(const Instance& in, size_t account) {
  const PlanSettings& s = in.scene.settings;
  return s.move_cost + s.gib_cost * kHeldGibHours +
         s.traffic_cost * in.cores[account] * kServesHours;
}

double CostOf(const Instance& in, const std::vector<std::pair<size_t, size_t>>& moves) {
  const PlanSettings& s = in.scene.settings;
  std::vector<double> demand = in.demand;
  double cost = 0;
  for (const auto& [account, target] : moves) {
    demand[static_cast<size_t>(in.scene.fleet.accounts[account].cell)] -= in.cores[account];
    demand[target] += in.cores[account];
    cost += PriceOf(in, account);
  }
  for (size_t c = 0; c < demand.size(); ++c) {
    if (demand[c] <= in.capacity[c] + 1e-9) continue;
    cost += kServedHours *
            (s.unserved_cost * (demand[c] - in.capacity[c]) + s.overloaded_cost * in.capacity[c]);
  }
  return cost;
}

// Moves of accounts to cells that are not in danger themselves, as the planner may make them.
double Optimum(const Instance& in) {
  const PlanSettings& s = in.scene.settings;
  const size_t cells = in.demand.size();
  Cbc_Model* model = Cbc_newModel();
  Cbc_setParameter(model, "logLevel", "0");
  std::vector<std::vector<int>> row_columns(cells);
  std::vector<std::vector<double>> row_values(cells);
  std::vector<std::vector<int>> one_each(in.cores.size());
  int columns = 0;
  const auto add = [&](double upper, double cost, bool integer) {
    Cbc_addCol(model, "x", 0, upper, cost, static_cast<char>(integer), 0, nullptr, nullptr);
    return columns++;
  };
  for (size_t a = 0; a < in.cores.size(); ++a) {
    const auto home = static_cast<size_t>(in.scene.fleet.accounts[a].cell);
    for (size_t t = 0; t < cells; ++t) {
      if (t == home || in.demand[t] > in.capacity[t]) continue;
      const int x = add(1, PriceOf(in, a), true);
      one_each[a].push_back(x);
      row_columns[home].push_back(x);
      row_values[home].push_back(-in.cores[a]);
      row_columns[t].push_back(x);
      row_values[t].push_back(in.cores[a]);
    }
  }
  double all = 0;
  for (const double cores : in.cores) all += cores;
  for (size_t c = 0; c < cells; ++c) {
    const int unserved = add(all, kServedHours * s.unserved_cost, false);
    const int over = add(1, kServedHours * s.overloaded_cost * in.capacity[c], true);
    // demand + moves - unserved <= capacity; unserved <= all * over
    row_columns[c].push_back(unserved);
    row_values[c].push_back(-1);
    Cbc_addRow(model, "c", static_cast<int>(row_columns[c].size()), row_columns[c].data(),
               row_values[c].data(), 'L', in.capacity[c] - in.demand[c]);
    const std::array<int, 2> pair = {unserved, over};
    const std::array<double, 2> factors = {1, -all};
    Cbc_addRow(model, "o", 2, pair.data(), factors.data(), 'L', 0);
  }
  for (const std::vector<int>& one : one_each) {
    const std::vector<double> ones(one.size(), 1.0);
    if (one.empty()) continue;
    Cbc_addRow(model, "a", static_cast<int>(one.size()), one.data(), ones.data(), 'L', 1);
  }
  Cbc_setObjSense(model, 1);
  Cbc_solve(model);
  EXPECT_TRUE(Cbc_isProvenOptimal(model));
  const double optimum = Cbc_getObjValue(model);
  Cbc_deleteModel(model);
  return optimum;
}

TEST(PlanOptimum, OfSmallInstancesIsNearlyReached) {
  double planned_sum = 0;
  double optimum_sum = 0;
  double nothing_sum = 0;
  int optimal = 0;
  constexpr int kInstances = 200;
  for (uint64_t seed = 0; seed < kInstances; ++seed) {
    SCOPED_TRACE(seed);
    const Instance instance = MakeInstance(seed);
    const Plan plan = instance.scene.Make();
    std::vector<std::pair<size_t, size_t>> moves;
    for (const Relief& relief : plan.reliefs) {
      moves.emplace_back(static_cast<size_t>(relief.account), static_cast<size_t>(relief.target));
    }
    const double planned = CostOf(instance, moves);
    const double optimum = Optimum(instance);
    ASSERT_GE(planned, optimum - 1e-6) << "the program is not the planner's";
    planned_sum += planned;
    optimum_sum += optimum;
    nothing_sum += CostOf(instance, {});
    optimal += planned <= optimum + 1e-6;
  }
  const double excess = planned_sum / optimum_sum - 1;
  std::printf("%d instances, %d planned best; %.2f %% above the optimum, which saves %.0f %%\n",
              kInstances, optimal, 100 * excess, 100 * (1 - optimum_sum / nothing_sum));
  EXPECT_LE(excess, 0.05);
}

}  // namespace
}  // namespace foreshadow
