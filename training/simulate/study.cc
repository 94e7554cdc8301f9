#include "training/simulate/study.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <numeric>
#include <random>
#include <ranges>
#include <unordered_map>

#include "models/parallel.h"
#include "models/registry.h"
#include "service/tick/state.h"

namespace foreshadow::training {
namespace {

constexpr int kAccountsPerCell = 20;
constexpr int kCellsMin = 4;
constexpr int64_t kHourMs = 3'600'000;

void Mix(uint64_t value, uint64_t& digest) {
  digest = (digest ^ value) * 0x9e3779b97f4a7c15;
  digest ^= digest >> 29;
}

// Accounts in random order, dealt to the cells in turn.
std::vector<int32_t> Deal(int64_t accounts, int cells, uint64_t seed) {
  std::vector<int32_t> order(static_cast<size_t>(accounts));
  std::iota(order.begin(), order.end(), 0);
  std::mt19937_64 random(seed);
  std::shuffle(order.begin(), order.end(), random);
  std::vector<int32_t> cell_of(order.size());
  for (size_t i = 0; i < order.size(); ++i) {
    cell_of[order[i]] = static_cast<int32_t>(i % static_cast<size_t>(cells));
  }
  return cell_of;
}

absl::StatusOr<WorldOptions> MakeWorld(const Demand& demand, const StudyOptions& options,
                                       const Setting& setting) {
  WorldOptions world;
  world.create_ms = setting.create_ms;
  world.failure_chance = options.failure_chance;
  world.outages_per_cell_day = options.outages_per_cell_day;
  world.seed = setting.seed;
  if (!options.own_cells.empty()) {
    world.cells = options.own_cells;
    std::unordered_map<std::string, int32_t> index;
    for (size_t c = 0; c < world.cells.size(); ++c) {
      index[world.cells[c].id] = static_cast<int32_t>(c);
    }
    for (const TraceAccount& account : demand.accounts) {
      const auto it = index.find(account.cell);
      if (it == index.end()) {
        return absl::InvalidArgumentError(
            fmt::format("account {} is in cell {}, which is not among the cells given: {}",
                        account.id, account.cell, fmt::join(std::views::keys(index), ", ")));
      }
      world.cell_of.push_back(it->second);
    }
    return world;
  }
  const int cells = options.cells > 0
                        ? options.cells
                        : std::max(kCellsMin, static_cast<int>(demand.count() / kAccountsPerCell));
  // Equal cells; of the capacity the policies share the same knowledge of the future.
  const double capacity = setting.headroom * demand.MeanCpu(options.first_step) / cells;
  for (int c = 0; c < cells; ++c) {
    world.cells.push_back({fmt::format("cell-{}", c + 1),
                           fmt::format("zone-{}", c % 3 + 1),
                           CellState::kUp,
                           {capacity}});
  }
  world.cell_of = Deal(demand.count(), cells, setting.seed);
  return world;
}

// One policy in one world.
class Run {
 public:
  Run(const Demand& demand, const Policy& policy, const Setting& setting, WorldOptions options,
      const StudyOptions& study)
      : demand_(demand),
        policy_(policy),
        options_(std::move(options)),
        world_(options_, demand),
        ledger_(demand, options_, study.first_step),
        settings_(study.core),
        homes_(options_.cell_of) {
    result_.policy = policy.name;
    result_.setting = setting;
    result_.cells = std::ssize(options_.cells);
    settings_.tick.step_ms = demand.step_ms;
    if (!study.live) {
      settings_.tick.window_steps = static_cast<int32_t>(kHourMs / demand.step_ms) + 1;
    }
    settings_.shadow.mode = policy.source == Source::kNothing ? Mode::kObserve : Mode::kAct;
    settings_.guard.creations_per_minute_max =
        setting.creations_per_tick * 60'000.0 / static_cast<double>(demand.step_ms);
    if (policy.source != Source::kModels) {
      settings_.plan.target_headroom = 1;  // a point has its margin in itself
      // A rule has a threshold of its own, and who knows what comes needs none.
      settings_.guard.nearly_full_fleet_max = 0;
    }
    if (policy.change != nullptr) policy.change(settings_);
    if (policy.analyze != nullptr) policy.analyze(settings_.analyze);
    if (policy.source == Source::kRule) rule_ = MakeRule(policy.name);
    if (policy.source != Source::kModels) table_ = PointTable(demand, policy.name);
    loads_.home.resize(options_.cells.size());
    loads_.with.resize(options_.cells.size());
    state_ = NewState(options_.cells, Start(), settings_);
  }

  // `given`: what the models say, null where the policy needs none or the tick asks them itself.
  absl::Status Step(int64_t step, std::shared_ptr<const ForecastTable> given,
                    const ModelList& models) {
    world_.SetStep(step);
    Inbox inbox = world_.TakeInbox();
    ledger_.Settle(step, shadows_, homes_, world_);
    if (policy_.source == Source::kTruth) {
      FillTruth(demand_, step, std::max<int64_t>(1, policy_.truth_ms / demand_.step_ms), *table_);
    } else if (policy_.source == Source::kRule) {
      FollowLoads(step);
      FillRule(demand_, step, options_, homes_, loads_, *rule_, *table_);
    }
    inbox.forecasts = table_ != nullptr ? table_ : std::move(given);
    if (policy_.take != nullptr) policy_.take(*state_);
    const auto begin = std::chrono::steady_clock::now();
    auto report = Tick(*state_, std::move(inbox), models, settings_, world_);
    result_.seconds +=
        std::chrono::duration<double>(std::chrono::steady_clock::now() - begin).count();
    if (!report.ok()) return report.status();
    ledger_.Note(step, **report);
    shadows_ = (*report)->shadows;
    FollowHomes(*(*report)->fleet);
    for (const Action& action : (*report)->actions) {
      Mix(action.id, digest_);
      Mix(std::hash<std::string>()(action.account + action.target_cell), digest_);
      Mix(static_cast<uint64_t>(action.kind) * 8 + static_cast<uint64_t>(action.state), digest_);
    }
    for (const Shadow& shadow : shadows_) Mix(std::hash<double>()(shadow.split), digest_);
    result_.digests.push_back(digest_);
    return absl::OkStatus();
  }

  WorldResult Finish() {
    result_.metrics = ledger_.Finish();
    return std::move(result_);
  }

  Source source() const { return policy_.source; }

 private:
  Decisions Start() {
    Decisions decisions;
    if (!policy_.everything) return decisions;
    settings_.shadow.idle_ms = std::numeric_limits<int64_t>::max() / 4;
    settings_.shadow.promote_after_ms = 0;
    settings_.guard.shadows_max = static_cast<int32_t>(demand_.count());
    const auto cells = static_cast<int32_t>(options_.cells.size());
    std::mt19937_64 random(options_.seed);
    for (int64_t a = 0; a < demand_.count() && cells > 1; ++a) {
      Shadow shadow;
      shadow.instance_id = fmt::format("shadow-{}", decisions.next_action_id++);
      shadow.account = static_cast<int32_t>(a);
      shadow.source = options_.cell_of[a];
      shadow.target = (shadow.source + 1 + static_cast<int32_t>(random() % (cells - 1))) % cells;
      shadow.state = ShadowState::kIdle;
      shadow.since_ms = shadow.idle_since_ms = demand_.start_ms;
      world_.Put(shadow.instance_id, {shadow.account, shadow.source, shadow.target, true});
      decisions.shadows.push_back(shadow);
    }
    return decisions;
  }

  // An account that has moved for good brings its past along: a rule sees the past of those who
  // live in a cell, not who lived there.
  void FollowHomes(const Fleet& fleet) {
    for (size_t a = 0; a < homes_.size(); ++a) {
      const int32_t now = fleet.accounts[a].cell;
      if (now == homes_[a]) continue;
      for (int64_t t = 0; t < std::ssize(loads_.home[now]); ++t) {
        const double demand = demand_.Seen(t, static_cast<int64_t>(a), 0);
        loads_.home[homes_[a]][t] -= demand;
        loads_.home[now][t] += demand;
      }
      homes_[a] = now;
    }
  }

  // What telemetry tells of the cells.
  void FollowLoads(int64_t step) {
    std::vector<double> home(options_.cells.size(), 0);
    std::vector<double> with(options_.cells.size(), 0);
    for (int64_t a = 0; a < demand_.count(); ++a) {
      const double demand = demand_.Seen(step, a, 0);
      home[homes_[a]] += demand;
      with[homes_[a]] += demand;
    }
    for (const Shadow& shadow : shadows_) {
      const double moved = shadow.split * demand_.Seen(step, shadow.account, 0);
      with[homes_[shadow.account]] -= moved;
      with[shadow.target] += moved;
    }
    for (size_t c = 0; c < home.size(); ++c) {
      loads_.home[c].push_back(home[c]);
      loads_.with[c].push_back(with[c]);
    }
  }

  const Demand& demand_;
  const Policy& policy_;
  WorldOptions options_;
  SimWorld world_;
  Ledger ledger_;
  Settings settings_;
  StatePtr state_;
  std::shared_ptr<ForecastTable> table_;
  std::unique_ptr<Rule> rule_;
  CellLoads loads_;
  std::vector<Shadow> shadows_;  // with the splits in force
  std::vector<int32_t> homes_;   // [account] the cell it lives in
  uint64_t digest_ = 1;
  WorldResult result_;
};

ModelList ModelsOf(const Policy& policy, const ModelList& models) {
  if (policy.models.empty()) return models;
  ModelList chosen;
  for (const auto& model : models) {
    if (std::ranges::find(policy.models, model->name()) != policy.models.end()) {
      chosen.push_back(model);
    }
  }
  return chosen;
}

// All worlds of the policies that hear the same forecasts.
absl::Status RunTogether(const Demand& demand, const StudyOptions& options, const ModelList& models,
                         void (*analyze)(AnalyzeSettings&), std::vector<std::unique_ptr<Run>>& runs,
                         const std::function<void()>& stepped) {
  std::unique_ptr<ModelForecasts> forecasts;
  if (!models.empty() && !options.live) {
    Settings settings = options.core;
    if (analyze != nullptr) analyze(settings.analyze);
    forecasts = std::make_unique<ModelForecasts>(demand, models, settings);
  }
  std::vector<absl::Status> status(runs.size());
  for (int64_t step = 0; step < demand.steps; ++step) {
    std::shared_ptr<const ForecastTable> given;
    if (forecasts != nullptr) {
      auto next = forecasts->Next(step);
      if (!next.ok()) return next.status();
      given = *next;
    }
    models::ForChunks(std::ssize(runs), 1, /*threads=*/0, [&](int64_t first, int64_t last, int) {
      for (int64_t i = first; i < last; ++i) status[i] = runs[i]->Step(step, given, models);
    });
    for (const absl::Status& s : status) {
      if (!s.ok()) return s;
    }
    stepped();
  }
  return absl::OkStatus();
}

}  // namespace

absl::StatusOr<std::vector<WorldResult>> RunStudy(const Demand& demand, const StudyOptions& options,
                                                  const Progress& progress) {
  // Policies of the same models, told the same, share their forecasts.
  struct Group {
    ModelList models;
    std::vector<const Policy*> policies;
  };
  std::vector<Group> groups;
  for (const std::string& name : options.policies) {
    const Policy* policy = FindPolicy(name);
    if (policy == nullptr) {
      std::vector<std::string> names;
      for (const Policy& p : Policies()) names.push_back(p.name);
      return absl::InvalidArgumentError(
          fmt::format("policy {}: allowed are {}", name, fmt::join(names, ", ")));
    }
    const auto same = [&](const Group& g) {
      return (g.policies[0]->source == Source::kModels) == (policy->source == Source::kModels) &&
             g.policies[0]->models == policy->models && g.policies[0]->analyze == policy->analyze;
    };
    auto it = std::ranges::find_if(groups, same);
    if (it == groups.end()) {
      groups.push_back({});
      it = std::prev(groups.end());
      if (policy->source == Source::kModels) it->models = ModelsOf(*policy, options.models);
    }
    it->policies.push_back(policy);
  }
  std::vector<WorldResult> results;
  int64_t done = 0;
  const int64_t total = demand.steps * std::ssize(groups);
  for (Group& group : groups) {
    std::vector<std::unique_ptr<Run>> runs;
    for (const Policy* policy : group.policies) {
      for (const Setting& setting : options.settings) {
        auto world = MakeWorld(demand, options, setting);
        if (!world.ok()) return world.status();
        runs.push_back(std::make_unique<Run>(demand, *policy, setting, *std::move(world), options));
      }
    }
    std::string note = group.policies[0]->name;
    if (group.policies.size() > 1) note += fmt::format(" and {} more", group.policies.size() - 1);
    const absl::Status status =
        RunTogether(demand, options, group.models, group.policies[0]->analyze, runs,
                    [&] { progress(++done, total, note); });
    if (!status.ok()) return status;
    for (auto& run : runs) results.push_back(run->Finish());
  }
  // In the order in which they were asked for.
  std::ranges::stable_sort(results, {}, [&](const WorldResult& r) {
    return std::ranges::find(options.policies, r.policy) - options.policies.begin();
  });
  return results;
}

Interval Bootstrap(const std::vector<double>& values, uint64_t seed) {
  constexpr int kResamples = 2'000;
  Interval interval;
  interval.count = std::ssize(values);
  if (values.empty()) return interval;
  interval.median = MedianOf(values);
  std::mt19937_64 random(seed);
  std::vector<double> medians;
  for (int i = 0; i < kResamples; ++i) {
    std::vector<double> drawn;
    for (size_t k = 0; k < values.size(); ++k) drawn.push_back(values[random() % values.size()]);
    medians.push_back(MedianOf(std::move(drawn)));
  }
  interval.low = QuantileOf(medians, 0.025);
  interval.high = QuantileOf(std::move(medians), 0.975);
  return interval;
}

std::vector<double> Skills(const std::vector<WorldResult>& results, const std::string& policy,
                           const std::string& reactive, const std::string& oracle,
                           const std::function<bool(const Setting&)>& chosen,
                           const Prices& prices) {
  const auto of = [&](const std::string& name) {
    std::vector<double> costs;
    for (const WorldResult& r : results) {
      if (r.policy == name && chosen(r.setting)) costs.push_back(r.metrics.cost(prices));
    }
    return costs;
  };
  const std::vector<double> mine = of(policy);
  const std::vector<double> bad = of(reactive);
  const std::vector<double> best = of(oracle);
  std::vector<double> skills;
  for (size_t i = 0; i < std::min({mine.size(), bad.size(), best.size()}); ++i) {
    if (bad[i] - best[i] > 1e-9) skills.push_back((bad[i] - mine[i]) / (bad[i] - best[i]));
  }
  return skills;
}

}  // namespace foreshadow::training
