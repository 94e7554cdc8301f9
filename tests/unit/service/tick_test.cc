// The whole tick in a world made of plain memory: cells that do as told, a disk that may fail.
#include "service/tick/tick.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <map>
#include <mutex>
#include <random>
#include <set>

#include "models/registry.h"
#include "service/learn/split_log.h"
#include "service/tick/decisions_json.h"
#include "service/tick/state.h"
#include "tests/unit/kernels/guarded_ops.h"
#include "tests/unit/service/fleets.h"

namespace foreshadow {
namespace {

using kernels::testing::GuardedOps;

constexpr int64_t kStep = 300'000;
constexpr int64_t kDay = 288;

class MemoryWorld : public World {
 public:
  explicit MemoryWorld(uint64_t seed) : random_(seed) {}

  int64_t NowMs() override { return now_ms; }
  double ElapsedMs() override { return 0; }
  uint64_t Random() override { return random_(); }

  absl::Status Write(const Commit& commit) override {
    if (disk_full) return absl::ResourceExhaustedError("no space");
    written = *commit.decisions;
    for (const Explanation& e : commit.explanations) audit[e.action.id] = e;
    for (const Account& account : commit.moved) moved[account.id] = account.cell;
    return absl::OkStatus();
  }

  void Start(const Action& action) override {
    EXPECT_TRUE(audit.contains(action.id)) << "carried out before it was durable";
    auto& cell = instances[action.target_cell];
    if (action.kind == ActionKind::kCreate) cell.insert(action.instance_id);
    if (action.kind == ActionKind::kDestroy) cell.erase(action.instance_id);
    outcomes.push_back({action.id, true, false, ""});
  }

  int64_t now_ms = 0;
  bool disk_full = false;
  Decisions written;
  std::map<uint64_t, Explanation> audit;
  std::map<std::string, int32_t> moved;
  std::map<std::string, std::set<std::string>> instances;
  std::vector<Outcome> outcomes;

 private:
  std::mt19937_64 random_;
};

// Three cells; the accounts of the first have a daily peak that takes it over its capacity.
class Replay {
 public:
  explicit Replay(uint64_t seed) : world(seed) {
    settings.tick.step_ms = kStep;
    settings.tick.window_steps = 5 * kDay;
    settings.shadow.mode = Mode::kAct;
    settings.shadow.promote_after_ms = 0;
    cells = testing::MakeFleet(3, 60).cells;
    state = NewState(cells, {}, settings);
  }

  float Cpu(int account, int64_t step) const {
    std::mt19937_64 random(static_cast<uint64_t>(account * 100'003 + step));
    const double noise = std::normal_distribution<double>(0, 0.02)(random);
    const double day = std::sin(2 * M_PI * double(step % kDay) / kDay);
    const double level = account % 3 == 0 ? 4.5 + 2 * day : 2.5;
    return static_cast<float>(std::max(0.0, level * (1 + noise)));
  }

  // The inbox of the tick at `step`; the first one carries the history.
  Inbox At(int64_t step, int64_t from) {
    Inbox inbox;
    if (from < step) {
      for (int a = 0; a < 30; ++a)
        inbox.accounts.push_back({"a" + std::to_string(a), a % 3, "app"});
    }
    for (int64_t i = from; i <= step; ++i) {
      for (int a = 0; a < 30; ++a)
        inbox.samples.push_back({a, SignalKind::kCpu, i * kStep, Cpu(a, i)});
    }
    inbox.outcomes = std::move(world.outcomes);
    world.outcomes.clear();
    inbox.measures = measures;
    return inbox;
  }

  std::shared_ptr<const TickReport> Step(int64_t step, int64_t from) {
    world.now_ms = step * kStep;
    const auto report =
        Tick(*state, At(step, from), models::LoadModels("").models, settings, world);
    EXPECT_TRUE(report.ok()) << report.status();
    return report.ok() ? *report : nullptr;
  }

  // History up to the fourth day, then so many ticks.
  std::vector<std::shared_ptr<const TickReport>> Run(int ticks) {
    std::vector<std::shared_ptr<const TickReport>> reports;
    const int64_t first = 4 * kDay;
    for (int64_t step = first; step < first + ticks; ++step) {
      reports.push_back(Step(step, step == first ? 0 : step));
    }
    return reports;
  }

  Settings settings;
  std::vector<Cell> cells;
  MemoryWorld world;
  StatePtr state;
  std::vector<SideMeasure> measures;
};

std::string Digest(const std::vector<std::shared_ptr<const TickReport>>& reports) {
  std::string digest;
  for (const auto& report : reports) {
    for (const Action& action : report->actions) {
      digest += action.instance_id + Name(action.kind) + Name(action.state) + action.account +
                action.target_cell + std::to_string(action.split) + ";";
    }
    for (const CellRisk& risk : report->risks) digest += std::to_string(risk.probability) + ",";
  }
  return digest;
}

TEST(Tick, ForeseesTheDailyOverloadAndAvoidsIt) {
  Replay replay(1);
  const auto reports = replay.Run(kDay);
  const Scores& scores = reports.back()->scores;
  EXPECT_EQ(scores.ticks, static_cast<uint64_t>(kDay));
  EXPECT_GE(scores.overloads, 1u);
  EXPECT_GE(scores.overloads_foreseen, 1u);
  EXPECT_GE(scores.lead_minutes_median(), 5);
  EXPECT_GT(scores.overload_minutes_without, 60);
  EXPECT_LT(scores.overload_minutes_with, 0.1 * scores.overload_minutes_without);
  EXPECT_GE(scores.shadows_created, 1u);
  EXPECT_LT(scores.mase(), 1.2);
  // The night after: nothing is left of it.
  EXPECT_TRUE(reports.back()->shadows.empty());
  for (const auto& [cell, instances] : replay.world.instances) EXPECT_TRUE(instances.empty());
  EXPECT_EQ(reports.back()->patterns->at(0).periods[0], kDay);
}

// With promotion accounts leave for good: what would have been without them is still told.
TEST(Tick, PromotesWhatIsBetterOffElsewhere) {
  Replay replay(1);
  replay.settings.shadow.promote_after_ms = 15 * 60'000;
  const auto reports = replay.Run(kDay);
  const TickReport& last = *reports.back();
  EXPECT_GT(last.scores.overload_minutes_without, 60);
  EXPECT_LT(last.scores.overload_minutes_with, 0.1 * last.scores.overload_minutes_without);
  const Decisions& decisions = replay.state->decisions;
  ASSERT_FALSE(decisions.origins.empty());
  for (const Origin& origin : decisions.origins) {
    EXPECT_EQ(origin.cell, origin.account % 3);
    EXPECT_NE(last.fleet->accounts[origin.account].cell, origin.cell);
  }
  EXPECT_EQ(replay.world.moved.size(), decisions.origins.size());
}

TEST(Tick, IsDeterministic) {
  Replay one(1);
  Replay two(1);
  EXPECT_EQ(Digest(one.Run(100)), Digest(two.Run(100)));
}

// In every tick: one shadow an account, never at home, and the split within bounds.
TEST(Tick, KeepsTheInvariants) {
  Replay replay(2);
  for (const auto& report : replay.Run(kDay)) {
    std::set<int32_t> accounts;
    for (const Shadow& shadow : report->shadows) {
      EXPECT_TRUE(accounts.insert(shadow.account).second);
      EXPECT_NE(shadow.target, report->fleet->accounts[shadow.account].cell);
      EXPECT_GE(shadow.split, 0);
      EXPECT_LE(shadow.split, 1);
      EXPECT_TRUE(shadow.split == 0 || shadow.state == ShadowState::kSharing);
    }
  }
}

TEST(Tick, WithoutAPolicyTheRuleDecidesWithinTheRailsAndAnAlertSaysSo) {
  Replay replay(1);
  const auto told = [](const TickReport& report) {
    return std::ranges::count_if(report.alerts, [](const std::string& alert) {
      return alert.find("no split policy could be read") != std::string::npos;
    });
  };
  int64_t step = 4 * kDay;
  auto report = replay.Step(step, 0);
  const Shadow* shadow = nullptr;
  while (shadow == nullptr && ++step < 5 * kDay) {
    report = replay.Step(step, step);
    EXPECT_EQ(told(*report), 0) << "nothing is measured";
    const auto it = std::ranges::find(report->shadows, ShadowState::kSharing, &Shadow::state);
    if (it != report->shadows.end()) shadow = &*it;
  }
  ASSERT_NE(shadow, nullptr);
  const std::string account = report->fleet->accounts[shadow->account].id;
  const SideMeasure side{.instance_id = "primary", .account = account, .seconds = 300};
  replay.measures = {side, side};
  replay.measures[1].instance_id = shadow->instance_id;
  replay.measures[1].shadow = true;
  report = replay.Step(step + 1, step + 1);
  EXPECT_EQ(told(*report), 1);
  EXPECT_EQ(report->split_records->size(), 1u);
  replay.settings.learn.policy = LearnPolicy::kAimd;
  report = replay.Step(step + 2, step + 2);
  EXPECT_EQ(told(*report), 0);
  EXPECT_TRUE(report->split_records->empty());
}

// What an interval brought decides the next one, not the one after: of the split, and of what is
// refused once both sides are full.
TEST(Tick, WhatWasMeasuredIsActedUponAtOnce) {
  Replay replay(1);
  replay.settings.learn.can_shed = true;
  int64_t step = 4 * kDay;
  auto report = replay.Step(step, 0);
  const auto sharing = [&] {
    return std::ranges::find(report->shadows, ShadowState::kSharing, &Shadow::state);
  };
  while (sharing() == report->shadows.end() && ++step < 5 * kDay) {
    report = replay.Step(step, step);
  }
  ASSERT_NE(sharing(), report->shadows.end());
  const std::string instance = sharing()->instance_id;
  const auto shadow = [&] {
    return *std::ranges::find(report->shadows, instance, &Shadow::instance_id);
  };
  const double first = shadow().split;
  SideMeasure side{.instance_id = "primary",
                   .account = report->fleet->accounts[shadow().account].id,
                   .seconds = 300,
                   .requests = 9'000,
                   .p50_ms = 40,
                   .p99_ms = 200};
  replay.measures = {side, side};
  replay.measures[1].instance_id = instance;
  replay.measures[1].shadow = true;
  report = replay.Step(step + 1, step + 1);
  EXPECT_GT(shadow().split, first);
  EXPECT_EQ(shadow().shed, 0);
  for (SideMeasure& full : replay.measures) {
    full.failed = 5'000;
    full.slow = 4'000;
    full.p50_ms = 1'900;
    full.p99_ms = 2'000;
  }
  report = replay.Step(step + 2, step + 2);
  EXPECT_GT(shadow().shed, 0.3);
  EXPECT_EQ(std::ranges::count_if(report->alerts,
                                  [](const std::string& alert) {
                                    return alert.find("are refused") != std::string::npos;
                                  }),
            1);
}

TEST(Tick, AFullDiskDecidesNothing) {
  Replay replay(3);
  replay.Run(20);
  const Decisions before = replay.state->decisions;
  replay.world.disk_full = true;
  replay.world.now_ms += kStep;
  const int64_t step = replay.world.now_ms / kStep;
  const auto report = Tick(*replay.state, replay.At(step, step), models::LoadModels("").models,
                           replay.settings, replay.world);
  EXPECT_EQ(report.status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(DecisionsToJson(replay.state->decisions, *replay.state->fleet),
            DecisionsToJson(before, *replay.state->fleet));
}

// Whether an account of an endangered cell, the only one that may move, gets another shadow in the
// tick that hears that the old primary, whose place its shadow has taken, is gone.
bool GetsAnother(int64_t cool_down_ms) {
  Replay replay(4);
  replay.settings.guard.cool_down_ms = cool_down_ms;
  std::shared_ptr<const TickReport> last = replay.Run(60).back();
  int64_t step = 4 * kDay + 60;
  for (; last->shadows.empty() && step < 5 * kDay; ++step) last = replay.Step(step, step);
  if (last->shadows.empty()) return ADD_FAILURE() << "no shadow", false;

  Decisions& decisions = replay.state->decisions;
  decisions.shadows.resize(1);
  Shadow& shadow = decisions.shadows[0];
  shadow.state = ShadowState::kPromoted;
  Explanation retire;
  retire.action.id = decisions.next_action_id++;
  retire.action.kind = ActionKind::kRetire;
  retire.action.state = ActionState::kIntended;
  retire.action.instance_id = shadow.instance_id;
  decisions.open = {retire};
  const int32_t account = shadow.account;

  Inbox inbox = replay.At(step, step);
  inbox.outcomes = {{retire.action.id, true, false, ""}};
  inbox.accounts = last->fleet->accounts;
  for (Account& a : inbox.accounts) a.pinned = a.id != last->fleet->accounts[account].id;
  replay.world.now_ms = step * kStep;
  const auto report = Tick(*replay.state, std::move(inbox), models::LoadModels("").models,
                           replay.settings, replay.world);
  if (!report.ok()) return ADD_FAILURE() << report.status(), false;
  return !(*report)->shadows.empty();
}

// Not even in the very tick that hears that its shadow is gone.
TEST(Tick, AnAccountWhoseShadowIsGoneCoolsDown) {
  EXPECT_TRUE(GetsAnother(0));
  EXPECT_FALSE(GetsAnother(3'600'000));
}

// Accounts that are quiet, and such as nobody has ever measured, leave as well.
TEST(Tick, ADrainedCellIsEmptied) {
  Replay replay(6);
  replay.settings.shadow.promote_after_ms = 15 * 60'000;
  replay.settings.guard.cells["cell-0"].drain = true;
  replay.state = NewState(replay.cells, {}, replay.settings);
  const int64_t first = 4 * kDay;
  std::shared_ptr<const TickReport> report;
  for (int64_t step = first; step < first + 16; ++step) {
    Inbox inbox = replay.At(step, step == first ? first - 24 : step);
    if (step == first) {
      inbox.accounts.push_back({"unmeasured", 0, "app"});
      inbox.accounts.push_back({"quiet", 0, "app"});
    }
    inbox.samples.push_back({31, SignalKind::kCpu, step * kStep, 0});
    replay.world.now_ms = step * kStep;
    const auto done = Tick(*replay.state, std::move(inbox), models::LoadModels("").models,
                           replay.settings, replay.world);
    ASSERT_TRUE(done.ok()) << done.status();
    report = *done;
  }
  for (const Account& account : report->fleet->accounts) EXPECT_NE(account.cell, 0) << account.id;
  EXPECT_TRUE(report->shadows.empty());
}

// A restart with what was written begins every open action again and ends in the same place.
TEST(Tick, ARestartCarriesOn) {
  Replay replay(4);
  const auto reports = replay.Run(60);
  std::shared_ptr<const TickReport> last = reports.back();
  int64_t step = 4 * kDay + 60;
  for (; last->shadows.empty() && step < 5 * kDay; ++step) last = replay.Step(step, step);
  ASSERT_FALSE(last->shadows.empty());
  replay.world.outcomes.clear();  // lost with the process
  replay.state = NewState(replay.cells, replay.world.written, replay.settings);
  last = replay.Step(step, 0);
  EXPECT_EQ(last->scores.ticks, static_cast<uint64_t>(step - 4 * kDay + 1));
  for (int i = 0; i < 3; ++i) last = replay.Step(step + 1 + i, step + 1 + i);
  for (const Shadow& shadow : last->shadows) {
    EXPECT_TRUE(replay.world.instances["cell-" + std::to_string(shadow.target)].contains(
        shadow.instance_id));
  }
}

// The analysis of each tick runs there, and what is decided is the same.
TEST(Tick, AnalysesOnADevice) {
  Replay on_cpu(8);
  Replay on_device(8);
  for (Replay* replay : {&on_cpu, &on_device}) replay->settings.analyze.rota_ticks = 1;
  on_device.state = NewState(on_device.cells, {}, on_device.settings, &GuardedOps());
  const auto expected = on_cpu.Run(4);
  const auto reports = on_device.Run(4);
  EXPECT_EQ(Digest(reports), Digest(expected));
  EXPECT_EQ(on_device.state->patterns.period_steps, on_cpu.state->patterns.period_steps);
  for (const auto& report : reports) EXPECT_TRUE(report->alerts.empty());
  EXPECT_EQ(on_device.state->device->window.view().end_ms, on_device.world.now_ms);
}

// A device without room is told of, the CPU decides what it would have, and the device is asked
// again at the next tick.
TEST(Tick, AFullDeviceLeavesTheAnalysisToTheCpu) {
  static bool is_full = true;
  kernels::Ops device = GuardedOps();
  device.name = "small";
  device.allocate = [](size_t bytes) { return is_full ? nullptr : GuardedOps().allocate(bytes); };
  Replay on_cpu(8);
  Replay on_device(8);
  on_device.state = NewState(on_device.cells, {}, on_device.settings, &device);
  const auto expected = on_cpu.Run(2);
  const auto reports = on_device.Run(2);
  EXPECT_EQ(Digest(reports), Digest(expected));
  for (const auto& report : reports) {
    ASSERT_EQ(report->alerts.size(), 1u);
    EXPECT_THAT(report->alerts[0],
                ::testing::HasSubstr("runs on the CPU, not on small: no room for a window of"));
  }
  is_full = false;
  const auto after = on_device.Step(4 * kDay + 2, 4 * kDay + 2);
  EXPECT_TRUE(after->alerts.empty());
}

TEST(Tick, SurvivesMissingSeriesAndNoModels) {
  Replay replay(5);
  replay.world.now_ms = 100 * kStep;
  Inbox inbox;
  for (int a = 0; a < 3; ++a) inbox.accounts.push_back({"a" + std::to_string(a), a, "app"});
  const auto report = Tick(*replay.state, std::move(inbox), {}, replay.settings, replay.world);
  ASSERT_TRUE(report.ok());
  EXPECT_EQ((*report)->risks[0].probability, 0);
}

// Answers nothing, and counts the origins that it is asked for, part by part of the fleet.
class CountingModel : public models::Forecaster {
 public:
  std::string_view name() const override { return "counting"; }
  int MaxSteps(int64_t) const override { return kHorizonStepsMax; }
  absl::Status Forecast(const models::History& history, int,
                        models::QuantileBlock&) const override {
    const std::lock_guard lock(mutex_);
    origins_ms_.insert(history.end_ms);
    return absl::UnavailableError("only counts");
  }
  int64_t origins_count() const { return std::ssize(origins_ms_); }

 private:
  mutable std::mutex mutex_;
  mutable std::set<int64_t> origins_ms_;
};

// What a first tick asks of the models, of so many accounts with samples of CPU.
std::shared_ptr<CountingModel> AskedOfTheModels(int accounts, int64_t steps) {
  Replay replay(6);
  replay.settings.tick.window_steps = steps;
  replay.state = NewState(replay.cells, {}, replay.settings);
  replay.world.now_ms = steps * kStep;
  Inbox inbox;
  for (int a = 0; a < accounts; ++a) {
    inbox.accounts.push_back({"a" + std::to_string(a), a % 3, "app"});
    inbox.samples.push_back({a, SignalKind::kCpu, kStep, 1});
    inbox.samples.push_back({a, SignalKind::kCpu, steps * kStep, 1});
  }
  const auto counting = std::make_shared<CountingModel>();
  EXPECT_TRUE(
      Tick(*replay.state, std::move(inbox), {counting}, replay.settings, replay.world).ok());
  return counting;
}

// The first tick of 100,000 series asked for 2.4 million forecasts of single ones: on a machine
// that had other work to do too, nothing was answered for ten minutes after a start.
TEST(Tick, AStartOfALargeFleetIsWarmedByFewerOrigins) {
  EXPECT_EQ(AskedOfTheModels(30, 40)->origins_count(), 1 + 24);
  EXPECT_EQ(AskedOfTheModels(30, 4)->origins_count(), 1 + 3) << "as many as there are";
  const auto large = AskedOfTheModels(20'000, 40);
  EXPECT_GT(large->origins_count(), 1) << "it is warmed all the same";
  EXPECT_LE(large->origins_count() * 20'000 * kSignals, 500'000);
}

}  // namespace
}  // namespace foreshadow
