#include "service/serving/engine.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <limits>
#include <thread>

#include "models/registry.h"
#include "tests/unit/service/temporary_folder.h"

namespace foreshadow {
namespace {

using testing::TemporaryFolder;

constexpr int64_t kStepMs = 60'000;
constexpr int64_t kHourMs = 3'600'000;
constexpr int64_t kStartMs = 1'700'000'040'000;
const std::string kIds[] = {"x", "y"};

Config MakeConfig() {
  Config config;
  config.clock = Clock::kData;
  config.settings.tick.step_ms = kStepMs;
  config.settings.tick.window_steps = 30;
  config.cells = {{{"a", "z", CellState::kUp, {8}}, ""}, {{"b", "z", CellState::kUp, {8}}, ""}};
  return config;
}

// Knows how many ticks it has forecast, through restarts.
class Counting : public models::Forecaster {
 public:
  std::string_view name() const override { return "counting"; }
  int MaxSteps(int64_t) const override { return 60; }
  absl::Status Forecast(const models::History& history, int steps,
                        models::QuantileBlock& out) const override {
    out.Resize(history.values.series, steps);
    return absl::OkStatus();
  }
  bool carries() const override { return true; }
  absl::Status Continue(const models::History& history, int steps, std::any& carried,
                        models::QuantileBlock& out) const override {
    carried = carried.has_value() ? std::any_cast<int>(carried) + 1 : 1;
    calls = std::any_cast<int>(carried);
    return Forecast(history, steps, out);
  }
  std::string Save(const std::any& carried) const override {
    return carried.has_value() ? std::to_string(std::any_cast<int>(carried)) : "";
  }
  absl::Status Restore(const std::string& bytes, std::any& carried) const override {
    if (refuses) return absl::FailedPreconditionError("of another model");
    carried = std::stoi(bytes);
    return absl::OkStatus();
  }

  mutable int calls = 0;
  bool refuses = false;
};

// An engine over a folder, with two accounts in cell a.
class Engines {
 public:
  explicit Engines(const Config& config = MakeConfig(),
                   const ModelList& models = models::LoadModels("").models)
      : config_(config), models_(models) {
    Open();
  }

  void Open() {
    engine_.reset();
    store_.reset();
    auto store = HistoryStore::Open(folder_.path());
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    auto engine = Engine::Create(config_, models_, *store_);
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
    ASSERT_TRUE(engine_->PutAccounts({{"x", 0, "", 0, false}, {"y", 0, "", 0, false}}).ok());
  }

  // CPU of both accounts at one time.
  IngestResult Send(int64_t time_ms, float x, float y, int64_t watermark_ms) {
    const std::vector<const std::string*> ids = {&kIds[0], &kIds[1]};
    const std::vector<float> values = {x, y};
    const std::vector<int64_t> times = {time_ms};
    const auto result = engine_->Ingest(ids, {{1, {}, times, values}}, watermark_ms);
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *result : IngestResult{};
  }

  Engine& operator*() { return *engine_; }
  Engine* operator->() { return engine_.get(); }
  HistoryStore& store() { return *store_; }
  Config& config() { return config_; }  // of the next Open

 private:
  TemporaryFolder folder_;
  Config config_;
  ModelList models_;
  std::unique_ptr<HistoryStore> store_;
  std::unique_ptr<Engine> engine_;
};

double DemandOfA(Engines& engine) { return engine->report()->cells[0].demand[0]; }

// A GPU that is asked for and not there stops the start with the reason; else the CPU does it.
TEST(Engine, AnalysesWhereTheConfigurationSays) {
  Config config = MakeConfig();
  config.compute_device = ComputeDevice::kCpu;
  EXPECT_EQ(Engines(config)->compute(), kernels::CpuOps().name);
  config.compute_device = ComputeDevice::kAuto;
  const kernels::Ops& best = kernels::GpuOps() != nullptr ? *kernels::GpuOps() : kernels::CpuOps();
  EXPECT_EQ(Engines(config)->compute(), best.name);
  config.compute_device = ComputeDevice::kCuda;
  if (kernels::GpuOps() != nullptr) {
    EXPECT_EQ(Engines(config)->compute(), best.name);
    config.compute_device = ComputeDevice::kAuto;
    TemporaryFolder journal;
    config.journal_dir = journal.path();
    EXPECT_EQ(Engines(config)->compute(), kernels::CpuOps().name);
    return;
  }
  TemporaryFolder folder;
  auto store = HistoryStore::Open(folder.path());
  ASSERT_TRUE(store.ok()) << store.status();
  const auto engine = Engine::Create(config, models::LoadModels("").models, **store);
  EXPECT_EQ(engine.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(engine.status().message()),
              ::testing::AllOf(::testing::HasSubstr("compute.device = \"cuda\""),
                               ::testing::HasSubstr(std::string(kernels::GpuMissing()))));
}

TEST(Engine, TicksForEachStepThatTheWatermarkCompletes) {
  Engines engine;
  EXPECT_EQ(engine.Send(kStartMs, 1, 2, 0).last_tick_ms, 0);
  EXPECT_EQ(engine->report(), nullptr);
  EXPECT_EQ(engine.Send(kStartMs, 1, 2, kStartMs + kStepMs - 1).last_tick_ms, kStartMs - kStepMs)
      << "the step of the watermark itself is not complete";
  EXPECT_EQ(engine.Send(kStartMs + 1, 1, 2, kStartMs + kStepMs).last_tick_ms, kStartMs);
  EXPECT_EQ(DemandOfA(engine), 3);
  const uint64_t ticks = engine->report()->scores.ticks;
  EXPECT_EQ(engine.Send(kStartMs + 2, 1, 2, kStartMs + 11 * kStepMs).last_tick_ms,
            kStartMs + 10 * kStepMs);
  EXPECT_EQ(engine->report()->scores.ticks, ticks + 10);
  // Going back is harmless; a silence of more than a day's steps is skipped.
  engine.Send(kStartMs + 3, 1, 2, kStartMs);
  EXPECT_EQ(engine->report()->scores.ticks, ticks + 10);
  engine.Send(kStartMs + 4, 1, 2, kStartMs + 1'000 * kStepMs);
  EXPECT_EQ(engine->report()->tick_ms, kStartMs + 999 * kStepMs);
  EXPECT_EQ(engine->report()->scores.ticks, ticks + 11);
}

TEST(Engine, LeavesSamplesOfLaterStepsForTheirTick) {
  Engines engine;
  engine.Send(kStartMs + kStepMs, 5, 5, 0);
  engine.Send(kStartMs, 1, 1, kStartMs + kStepMs);
  EXPECT_EQ(DemandOfA(engine), 2);
  engine.Send(kStartMs + 2 * kStepMs, 4, 4, kStartMs + 2 * kStepMs);
  EXPECT_EQ(DemandOfA(engine), 10);
  engine.Send(kStartMs + 2 * kStepMs, 4, 4, kStartMs + 3 * kStepMs);
  EXPECT_EQ(DemandOfA(engine), 8);
}

TEST(Engine, FillsTheWindowFromHistoryAtTheFirstTickAndAfterARestart) {
  Engines engine;
  for (int step = 0; step < 20; ++step) engine.Send(kStartMs + step * kStepMs, 1, 2, 0);
  engine.Send(kStartMs + 20 * kStepMs, 1, 2, kStartMs + 21 * kStepMs);
  const auto median = [&](int64_t account) {
    const ForecastTable& table = *engine->report()->forecasts;
    return table.block.at(SeriesOf(account, SignalKind::kCpu), 0)[models::kMedian];
  };
  EXPECT_FLOAT_EQ(median(0), 1);
  EXPECT_FLOAT_EQ(median(1), 2);
  // The newest step has no sample: what is known comes from the history alone.
  engine.Open();
  engine.Send(kStartMs, 1, 2, kStartMs + 22 * kStepMs);
  EXPECT_EQ(engine->report()->tick_ms, kStartMs + 21 * kStepMs);
  EXPECT_EQ(engine->report()->scores.ticks, 2u);
  EXPECT_FLOAT_EQ(median(0), 1);
  EXPECT_FLOAT_EQ(median(1), 2);
}

TEST(Engine, ModelsGoOnAfterARestartFromWhatTheyCarried) {
  const auto model = std::make_shared<Counting>();
  Engines engine(MakeConfig(), {model});
  for (int step = 0; step < 5; ++step) engine.Send(kStartMs + step * kStepMs, 1, 2, 0);
  engine.Send(kStartMs + 5 * kStepMs, 1, 2, kStartMs + 6 * kStepMs);
  const int first = model->calls;  // the origins of the past, and the tick
  engine.Open();
  engine.Send(kStartMs + 6 * kStepMs, 1, 2, kStartMs + 7 * kStepMs);
  EXPECT_EQ(model->calls, first + 1) << "the past that is forecast again leaves it alone";
  model->refuses = true;
  engine.Open();
  engine.Send(kStartMs + 7 * kStepMs, 1, 2, kStartMs + 8 * kStepMs);
  EXPECT_EQ(model->calls, first + 2) << "begun anew, with two more origins than the first time";
}

// Its first call does not return before the server is told to stop.
class Endless : public models::Forecaster {
 public:
  std::string_view name() const override { return "endless"; }
  int MaxSteps(int64_t) const override { return 60; }
  absl::Status Forecast(const models::History& history, int steps,
                        models::QuantileBlock& out) const override {
    ++calls;
    const Engine* const watched = engine;
    while (watched != nullptr && !watched->stopping()) std::this_thread::yield();
    out.Resize(history.values.series, steps);
    std::ranges::fill(out.values, 1.0f);
    return absl::OkStatus();
  }

  mutable std::atomic<int> calls = 0;
  std::atomic<const Engine*> engine = nullptr;
};

TEST(Engine, StoppingGivesUpTheTickInProgressAndLosesNothing) {
  const auto model = std::make_shared<Endless>();
  Engines engine(MakeConfig(), {model});
  for (int step = 0; step < 20; ++step) engine.Send(kStartMs + step * kStepMs, 1, 2, 0);
  ASSERT_TRUE(engine->Tell(Command{Command::Kind::kPause, 0, "", "for a test", "", ""}).ok());
  model->engine = &*engine;
  absl::Status status;
  std::thread tick([&] {  // the first one: it forecasts 19 origins of the past before its own
    const std::vector<const std::string*> ids = {&kIds[0]};
    const std::vector<float> values = {3};
    const std::vector<int64_t> times = {kStartMs + 20 * kStepMs};
    status = engine->Ingest(ids, {{1, {}, times, values}}, kStartMs + 21 * kStepMs).status();
  });
  while (model->calls == 0) std::this_thread::yield();
  engine->Stop();
  tick.join();
  EXPECT_EQ(status.code(), absl::StatusCode::kUnavailable) << status;
  EXPECT_EQ(model->calls, 1) << "the rest of the origins, and the tick's own, were left out";
  EXPECT_EQ(engine->report(), nullptr);
  model->engine = nullptr;
  engine.Open();
  const IngestResult result = engine.Send(kStartMs + 20 * kStepMs, 3, 4, kStartMs + 21 * kStepMs);
  EXPECT_EQ(result.duplicate_count, 1) << "that of the tick which was given up is there";
  EXPECT_EQ(result.last_tick_ms, kStartMs + 20 * kStepMs);
  EXPECT_EQ(DemandOfA(engine), 7);
  EXPECT_EQ(engine->report()->scores.ticks, 1u);
  EXPECT_TRUE(engine->report()->paused) << "the command waited";
}

TEST(Engine, ForgetsWhatTheRetentionAndTheWindowDoNotNeed) {
  Config config = MakeConfig();
  config.retention_hours = config.accept_past_hours = 1;
  Engines engine(config);
  const auto send = [&](int64_t time_ms) { engine.Send(time_ms, 1, 2, time_ms + kStepMs); };
  const int64_t start_ms = kStartMs / kBucketMs * kBucketMs;
  for (int step = 0; step < 200; ++step) send(start_ms + step * kStepMs);
  const auto oldest_ms = [&] {
    int64_t oldest = std::numeric_limits<int64_t>::max();
    const absl::Status read = engine.store().ReadSamples(0, [&](const std::vector<Sample>& piece) {
      for (const Sample& s : piece) oldest = std::min(oldest, s.time_ms);
    });
    EXPECT_TRUE(read.ok()) << read;
    return oldest;
  };
  EXPECT_EQ(oldest_ms(), start_ms);
  // Buckets later, and maintained beside the ticks.
  const int64_t newest_ms = start_ms + 3 * kBucketMs;
  send(newest_ms);
  for (int i = 0; i < 1'000 && oldest_ms() == start_ms; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(10));
  }
  EXPECT_EQ(oldest_ms(), newest_ms);
  const IngestResult late = engine.Send(newest_ms - kHourMs - 1, 1, 2, 0);
  ASSERT_EQ(late.rejections.size(), 2u);
  EXPECT_EQ(late.rejections[0].reason, RejectReason::kTooOld);
}

TEST(Engine, CommandsWaitForTheNextTickEvenThroughARestart) {
  Engines engine;
  engine.Send(kStartMs, 1, 2, kStartMs + kStepMs);
  ASSERT_TRUE(engine->Tell(Command{Command::Kind::kPause, 0}).ok());
  EXPECT_FALSE(engine->report()->paused);
  engine.Open();
  engine.Send(kStartMs + kStepMs, 1, 2, kStartMs + 2 * kStepMs);
  EXPECT_TRUE(engine->report()->paused);
  EXPECT_TRUE(engine.store().ReadCommands()->empty()) << "taken once";
}

TEST(Engine, SettingsChangeAtTheNextTickAndStayThroughARestart) {
  Engines engine;
  engine.Send(kStartMs, 1, 2, kStartMs + kStepMs);
  EXPECT_TRUE(absl::IsInvalidArgument(engine->Change("guard.shadows_max", "many", "")));
  EXPECT_TRUE(absl::IsInvalidArgument(engine->Change("guard.shadows_max", "", "")));
  ASSERT_TRUE(engine->Change("guard.shadows_max", "3", "a test").ok());
  EXPECT_EQ(engine->settings().guard.shadows_max, 3);
  EXPECT_TRUE(engine->report()->changes.empty());  // not yet
  engine.Open();                                   // before the next tick
  EXPECT_EQ(engine->settings().guard.shadows_max, 3);
  engine.Send(kStartMs + kStepMs, 1, 2, kStartMs + 2 * kStepMs);
  ASSERT_EQ(engine->report()->changes.size(), 1u);
  EXPECT_EQ(engine->report()->changes[0].reason, "a test");
  engine.Open();  // after it
  EXPECT_EQ(engine->settings().guard.shadows_max, 3);
  ASSERT_TRUE(engine->Change("guard.shadows_max", "", "").ok());
  EXPECT_EQ(engine->settings().guard.shadows_max, RailSettings().shadows_max);
}

TEST(Engine, StartsWithoutASettingThatANewConfigurationForbids) {
  Engines engine;
  engine.Send(kStartMs, 1, 2, kStartMs + kStepMs);
  ASSERT_TRUE(engine->Change("plan.risk_target", "0.3", "").ok());
  ASSERT_TRUE(engine->Change("guard.shadows_max", "3", "").ok());
  engine.config().settings.plan.risk_threshold = 0.2;  // both still wait for a tick
  engine.Open();
  EXPECT_EQ(engine->settings().plan.risk_target, PlanSettings().risk_target);
  EXPECT_EQ(engine->settings().guard.shadows_max, 3);
  engine.Send(kStartMs + kStepMs, 1, 2, kStartMs + 2 * kStepMs);
  ASSERT_EQ(engine->report()->changes.size(), 1u);
  EXPECT_EQ(engine->report()->changes[0].key, "guard.shadows_max");
}

// Hands that only note what the engine asks of them.
class CountingHands : public Hands {
 public:
  void Start(const Action&) override {}
  void Poll() override {
    ++polls_count;
    idle = false;
  }
  void WaitUntilIdle() override { idle = true; }

  int polls_count = 0;
  bool idle = true;
};

TEST(Engine, AnswersAWatermarkAfterTheCellsHaveAnswered) {
  Engines engine;
  CountingHands hands;
  engine->Start(&hands);
  engine.Send(kStartMs, 1, 2, kStartMs + kStepMs);
  EXPECT_EQ(hands.polls_count, 1);
  EXPECT_TRUE(hands.idle);
  engine.Send(kStartMs, 1, 2, kStartMs + 4 * kStepMs);
  EXPECT_EQ(hands.polls_count, 4);
  EXPECT_TRUE(hands.idle);
  engine->Stop();
}

// For a whole step nobody would be answered after a start.
TEST(Engine, TheFirstTickByTheWallClockComesAtOnce) {
  Config config = MakeConfig();
  config.clock = Clock::kWall;
  config.settings.tick.step_ms = 24 * 3'600'000;
  config.watermark_delay_ms = 0;
  Engines engine(config);
  engine->Start(nullptr);
  const auto first = engine->WaitForReport(0, 60'000);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(first->tick_ms % config.settings.tick.step_ms, 0);
  engine->Stop();
}

TEST(Engine, TicksByTheWallClockUntilItIsStopped) {
  Config config = MakeConfig();
  config.clock = Clock::kWall;
  config.settings.tick.step_ms = 1'000;
  config.watermark_delay_ms = 0;
  Engines engine(config);
  engine->Start(nullptr);
  const auto first = engine->WaitForReport(0, 30'000);
  ASSERT_NE(first, nullptr);
  EXPECT_EQ(first->tick_ms % 1'000, 0);
  const auto second = engine->WaitForReport(first->tick_ms, 30'000);
  ASSERT_NE(second, nullptr);
  EXPECT_GT(second->tick_ms, first->tick_ms);
  engine->Stop();
  EXPECT_EQ(engine->WaitForReport(engine->report()->tick_ms, 30'000), nullptr)
      << "a stop ends the wait";
}

}  // namespace
}  // namespace foreshadow
