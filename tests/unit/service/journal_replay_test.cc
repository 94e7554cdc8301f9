// A run of the engine with cells, orders, failures, restarts and changing models is recorded and
// done again; what was changed afterwards is found and named.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <functional>
#include <nlohmann/json.hpp>
#include <random>
#include <set>

#include "models/registry.h"
#include "service/journal/difference.h"
#include "service/journal/recorder.h"
#include "service/journal/replay.h"
#include "service/journal/witness.h"
#include "service/serving/engine.h"
#include "tests/unit/models/tiny_lstm.h"
#include "tests/unit/service/temporary_folder.h"

namespace foreshadow::journal {
namespace {

using ::testing::AllOf;
using ::testing::Contains;
using ::testing::Gt;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::SizeIs;
using ::testing::StartsWith;

constexpr int64_t kStepMs = 300'000;
constexpr int64_t kStartMs = 1'700'000'100'000;
constexpr int kAccounts = 12;

// Cells that do as they are told, now and then not, and say what they have.
class TestHands : public Hands {
 public:
  explicit TestHands(Engine& engine) : engine_(engine) {}

  void Start(const Action& action) override {
    ++started_;
    const bool fails = started_ % 5 == 0;
    if (!fails && action.kind == ActionKind::kCreate) there_.insert(action.instance_id);
    if (!fails && action.kind == ActionKind::kDestroy) there_.erase(action.instance_id);
    engine_.Tell(Outcome{action.id, !fails, false, fails ? "not now" : ""});
  }
  void Poll() override {
    engine_.Tell(CellReport{1, true, {there_.begin(), there_.end()}});
    engine_.Tell(CellReport{0, started_ % 7 != 6, {}});
  }
  void WaitUntilIdle() override {}

  int started() const { return started_; }

 private:
  Engine& engine_;
  int started_ = 0;
  std::set<std::string> there_;
};

// Another trained model serves from the 40th tick on, a candidate is evaluated from the 20th.
class ChangingModels : public ModelSource {
 public:
  ChangingModels(std::vector<std::shared_ptr<const models::Forecaster>> trained)
      : trained_(std::move(trained)) {}
  Served Poll(std::vector<std::string>& alerts) override {
    ++ticks_;
    if (ticks_ == 30) alerts.push_back("the registry blinked");
    auto serving = ticks_ < 40 ? trained_[0] : trained_[1];
    return {std::make_shared<const ModelList>(models::RankModels(serving)),
            ticks_ >= 20 && ticks_ < 40 ? trained_[1] : nullptr};
  }
  void Evaluated(const Evaluation&) override { ++evaluated; }

  int evaluated = 0;

 private:
  std::vector<std::shared_ptr<const models::Forecaster>> trained_;
  int ticks_ = 0;
};

class JournalReplayTest : public ::testing::Test {
 protected:
  JournalReplayTest() {
    config_.data_dir = temporary_.path() + "/data";
    config_.journal_dir = temporary_.path() + "/journals";
    config_.clock = Clock::kData;
    config_.settings.tick.step_ms = kStepMs;
    config_.settings.tick.window_steps = 100;
    config_.settings.shadow.mode = Mode::kAct;
    config_.settings.shadow.promote_after_ms = 0;  // shadows stay for the tests to look at
    config_.cells = {{{"a", "z", CellState::kUp, {14}}, ""},
                     {{"b", "z", CellState::kUp, {40}}, ""}};
    for (int version : {1, 2}) {
      const std::string folder = temporary_.path() + "/lstm" + std::to_string(version);
      testing::SaveTinyLstm(folder, static_cast<uint64_t>(version), 0);
      auto model = models::LoadLstm(folder, /*threads=*/0, version);
      EXPECT_TRUE(model.ok()) << model.status();
      trained_.push_back(*std::move(model));
    }
  }

  // Runs a server over some steps, with one restart before `restart` (0 = none).
  void Serve(int steps, int restart = 0) {
    int step = 0;
    for (const int end : restart > 0 ? std::vector<int>{restart, steps} : std::vector<int>{steps}) {
      auto store = HistoryStore::Open(config_.data_dir);
      ASSERT_TRUE(store.ok()) << store.status();
      auto engine = Engine::Create(config_, models::RankModels(trained_[0]), **store);
      ASSERT_TRUE(engine.ok()) << engine.status();
      TestHands hands(**engine);
      ChangingModels source(trained_);
      (*engine)->Start(&hands, &source);
      for (; step < end; ++step) Send(**engine, step);
      (*engine)->Stop();
      evaluated_ += source.evaluated;
      started_ += hands.started();
    }
  }

  void Send(Engine& engine, int step) {
    if (step == 0 || step == 25) {  // accounts come later, and change
      std::vector<Account> accounts;
      for (int a = 0; a < (step == 0 ? kAccounts / 2 : kAccounts); ++a) {
        accounts.push_back({"vm-" + std::to_string(a), a % 4 == 3 ? 1 : 0, a % 2 ? "web" : "",
                            a % 3, step == 25 && a == 2});
      }
      ASSERT_TRUE(engine.PutAccounts(accounts).ok());
    }
    if (step == 50 || step == 55) {
      const auto kind = step == 50 ? Command::Kind::kPause : Command::Kind::kResume;
      ASSERT_TRUE(engine.Tell(Command{kind, 0}).ok());
    }
    if (step == 30 || step == 70) {
      const char* value = step == 30 ? "0.06" : "";
      ASSERT_TRUE(engine.Change("plan.risk_threshold", value, "a test").ok());
    }
    std::vector<std::string> names;
    std::vector<const std::string*> ids;
    std::vector<float> cpu;
    std::vector<float> rate;
    const int accounts = step < 25 ? kAccounts / 2 : kAccounts;
    for (int a = 0; a < accounts; ++a) {
      names.push_back("vm-" + std::to_string(a));
      const double wave =
          1 + std::sin(0.26 * step + 0.1 * a) + 0.2 * std::sin(1.7 * step * (a + 1));
      cpu.push_back(static_cast<float>(std::max(0.0, 0.9 * wave)));
      rate.push_back(static_cast<float>(10 + 5 * std::sin(0.26 * (step + 2))));
    }
    for (const std::string& name : names) ids.push_back(&name);
    const std::vector<int64_t> times = {kStartMs + step * kStepMs};
    const auto result =
        engine.Ingest(ids, {{1, {}, times, cpu}, {5, {}, times, rate}}, times[0] + kStepMs);
    ASSERT_TRUE(result.ok()) << result.status();
    ASSERT_EQ(result->last_tick_ms, times[0]) << result->error;
  }

  std::vector<std::string> Files() const { return *ListJournals(config_.journal_dir); }

  ReplayOptions Options() const {
    ReplayOptions options;
    options.models = [this](
                         const std::vector<ModelId>& ids,
                         const std::optional<ModelId>& candidate) -> absl::StatusOr<ReplayModels> {
      ReplayModels found;
      for (const auto& model : trained_) {
        if (IdOf(*model) == ids[0]) {
          found.models = std::make_shared<const ModelList>(models::RankModels(model));
        }
        if (candidate && IdOf(*model) == *candidate) found.candidate = model;
      }
      EXPECT_NE(found.models, nullptr);
      EXPECT_EQ(IdsOf(*found.models), ids);
      return found;
    };
    return options;
  }

  ReplayResult ReplayOf(const std::string& path) const {
    auto reader = Reader::Open(path);
    EXPECT_TRUE(reader.ok()) << reader.status();
    const auto result = Replay(**reader, Options());
    EXPECT_TRUE(result.ok()) << result.status();
    return result.ok() ? *result : ReplayResult{};
  }

  // Rewrites a journal as if the changed records had been written: digests hold.
  static void Rewrite(const std::string& path, const std::function<void(Start&)>& change_start,
                      const std::function<void(TickRecord&)>& change) {
    auto reader = Reader::Open(path);
    ASSERT_TRUE(reader.ok());
    std::filesystem::remove(path);
    Start start = (*reader)->start();
    change_start(start);
    auto writer = Writer::Create(path, start);
    ASSERT_TRUE(writer.ok()) << writer.status();
    for (;;) {
      auto tick = (*reader)->Next();
      ASSERT_TRUE(tick.ok()) << tick.status();
      if (!*tick) return;
      TickRecord& t = **tick;
      change(t);
      ASSERT_TRUE((*writer)->Begin(t.tick_ms, t.inbox, t.models, t.candidate).ok());
      ASSERT_TRUE((*writer)->End(t.decided).ok());
    }
  }
  static void Rewrite(const std::string& path, const std::function<void(TickRecord&)>& change) {
    Rewrite(
        path, [](Start&) {}, change);
  }

  testing::TemporaryFolder temporary_;
  Config config_;
  std::vector<std::shared_ptr<const models::Forecaster>> trained_;
  int evaluated_ = 0;
  int started_ = 0;
};

TEST_F(JournalReplayTest, EveryDecisionOfARunIsTheSameAgain) {
  Serve(90);
  EXPECT_GT(evaluated_, 0);
  EXPECT_GT(started_, 10) << "the run is one in which something happens";
  ASSERT_THAT(Files(), SizeIs(1));
  const ReplayResult result = ReplayOf(Files()[0]);
  EXPECT_THAT(result.different, IsEmpty());
  EXPECT_EQ(result.ticks, 90);
  EXPECT_EQ(result.first_ms, kStartMs);
  EXPECT_EQ(result.last_ms, kStartMs + 89 * kStepMs);
  EXPECT_EQ(result.accounts, kAccounts);
  EXPECT_GT(result.explanations, 10);
  EXPECT_FALSE(result.cut);
  EXPECT_EQ(ReplayOf(Files()[0]).digest, result.digest);
  EXPECT_THAT(result.digest, SizeIs(64));
}

TEST_F(JournalReplayTest, SoIsEveryRunAfterARestart) {
  Serve(80, /*restart=*/45);
  ASSERT_THAT(Files(), SizeIs(2));
  const ReplayResult before = ReplayOf(Files()[0]);
  EXPECT_THAT(before.different, IsEmpty());
  EXPECT_EQ(before.ticks, 45);
  const ReplayResult after = ReplayOf(Files()[1]);
  EXPECT_THAT(after.different, IsEmpty());
  EXPECT_EQ(after.ticks, 35);
  auto reader = Reader::Open(Files()[1]);
  EXPECT_THAT((*reader)->start().decisions, HasSubstr("\"shadows\":[{"))
      << "it goes on from shadows that were there";
}

TEST_F(JournalReplayTest, ASampleThatWasChangedIsFound) {
  Serve(70);
  Rewrite(Files()[0], [](TickRecord& tick) {
    if (tick.tick_ms == kStartMs + 60 * kStepMs) tick.inbox.samples[0].value += 0.01f;
  });
  const ReplayResult result = ReplayOf(Files()[0]);
  EXPECT_EQ(result.different_ms, kStartMs + 60 * kStepMs);
  EXPECT_EQ(result.ticks, 60);
  EXPECT_THAT(result.different, SizeIs(Gt(0u)));
}

TEST_F(JournalReplayTest, ADecisionThatWasChangedIsNamedByWhatItIsAbout) {
  Serve(70);
  std::string instance;
  Rewrite(Files()[0], [&](TickRecord& tick) {
    if (tick.tick_ms != kStartMs + 65 * kStepMs) return;
    auto decisions = nlohmann::json::parse(tick.decided.decisions);
    ASSERT_THAT(decisions["shadows"], SizeIs(Gt(0u)));
    instance = decisions["shadows"].back()["instance_id"];
    decisions["shadows"].back()["wanted_split"] = 0.375;
    tick.decided.decisions = decisions.dump();
  });
  const ReplayResult result = ReplayOf(Files()[0]);
  EXPECT_EQ(result.different_ms, kStartMs + 65 * kStepMs);
  EXPECT_THAT(result.different, SizeIs(1));
  EXPECT_THAT(result.different, Contains(StartsWith("decisions / shadows / " + instance +
                                                    " / wanted_split: recorded 0.375, replayed ")));
}

TEST_F(JournalReplayTest, AnotherConfigurationOrOtherWeightsAreFound) {
  Serve(60);
  const std::string copy = temporary_.path() + "/copy.journal";
  std::filesystem::copy_file(Files()[0], copy);
  Rewrite(
      copy,
      [](Start& start) {
        auto config = ParseConfig(start.config, "it");
        ASSERT_TRUE(config.ok()) << config.status();
        config->settings.plan.risk_threshold = 0.9;
        start.config = ConfigToToml(*config);
      },
      [](TickRecord&) {});
  EXPECT_THAT(ReplayOf(copy).different, SizeIs(Gt(0u)));

  auto reader = Reader::Open(Files()[0]);
  ReplayOptions options = Options();
  options.models = [this](const auto&, const auto&) -> absl::StatusOr<ReplayModels> {
    return ReplayModels{std::make_shared<const ModelList>(models::RankModels(trained_[1])),
                        nullptr};
  };
  const auto result = Replay(**reader, options);
  ASSERT_TRUE(result.ok());
  EXPECT_THAT(result->different, SizeIs(Gt(0u)));
}

TEST_F(JournalReplayTest, EndsWhereItIsToldAndAtACutRecord) {
  Serve(20);
  auto reader = Reader::Open(Files()[0]);
  ReplayOptions options = Options();
  options.until_ms = kStartMs + 9 * kStepMs;
  int64_t told_ms = 0;
  options.ticked = [&](const Reader& at, int64_t tick_ms) {
    told_ms = tick_ms;
    EXPECT_LE(at.read_bytes(), at.bytes());
  };
  const auto part = Replay(**reader, options);
  ASSERT_TRUE(part.ok()) << part.status();
  EXPECT_EQ(part->ticks, 10);
  EXPECT_EQ(told_ms, options.until_ms);
  std::filesystem::resize_file(Files()[0], std::filesystem::file_size(Files()[0]) - 3);
  const ReplayResult cut = ReplayOf(Files()[0]);
  EXPECT_TRUE(cut.cut);
  EXPECT_EQ(cut.ticks, 19);
  EXPECT_THAT(cut.different, IsEmpty());
}

TEST_F(JournalReplayTest, WhatCannotHaveBeenIsAnErrorNotACrash) {
  Serve(3);
  const auto error = [&](const std::function<void(Start&)>& start,
                         const std::function<void(TickRecord&)>& tick) {
    const std::string copy = temporary_.path() + "/copy.journal";
    std::filesystem::remove(copy);
    std::filesystem::copy_file(Files()[0], copy);
    Rewrite(copy, start, tick);
    auto reader = Reader::Open(copy);
    EXPECT_TRUE(reader.ok());
    return std::string(Replay(**reader, Options()).status().message());
  };
  const auto nothing = [](TickRecord&) {};
  EXPECT_THAT(error([](Start&) {},
                    [](TickRecord& t) {
                      t.inbox.reports = {{9, true, {}}};
                    }),
              HasSubstr("a report of cell 9 of 2"));
  EXPECT_THAT(error([](Start&) {},
                    [](TickRecord& t) {
                      t.inbox.accounts.push_back({"z", -1, "", 0, false});
                    }),
              HasSubstr("account z is in cell -1 of 2"));
  EXPECT_THAT(error([](Start& s) { s.accounts = 1'000; }, nothing), HasSubstr("1000 accounts"));
  EXPECT_THAT(error([](Start& s) { s.accounts = -1; }, nothing), HasSubstr("accounts"));
  EXPECT_THAT(error([](Start& s) { s.decisions = "[1, 2]"; }, nothing),
              HasSubstr("stored decisions cannot be read"));
  EXPECT_THAT(error([](Start& s) { s.config = "[server]\nnew_key = 1\n"; }, nothing),
              AllOf(HasSubstr("written by version"), HasSubstr("server.new_key")));
}

// A world whose disk fails at the second of three ticks.
class FailingWorld : public World {
 public:
  int64_t NowMs() override { return kStartMs + ticks * kStepMs; }
  double ElapsedMs() override { return 0; }
  uint64_t Random() override { return random_(); }
  absl::Status Write(const Commit&) override {
    return ticks == 1 ? absl::UnavailableError("the disk is full") : absl::OkStatus();
  }
  void Start(const Action&) override {}

  int ticks = 0;

 private:
  std::mt19937_64 random_{1};
};

TEST_F(JournalReplayTest, ATickThatCouldNotBeWrittenFailsAgain) {
  Start start;
  start.config = ConfigToToml(config_);
  const std::string path = temporary_.path() + "/failing.journal";
  auto writer = Writer::Create(path, start);
  ASSERT_TRUE(writer.ok());
  const ModelList models = models::RankModels(trained_[0]);
  auto fleet = std::make_shared<Fleet>(
      Fleet{{config_.cells[0].cell, config_.cells[1].cell}, {{"x", 0, "", 0, false}}});
  const StatePtr state = NewState(fleet->cells, {}, config_.settings);
  FailingWorld world;
  for (; world.ticks < 4; ++world.ticks) {
    Inbox inbox;
    if (world.ticks == 0) inbox.accounts = fleet->accounts;
    inbox.samples = {{0, SignalKind::kCpu, world.NowMs(), 1.0f + world.ticks}};
    ASSERT_TRUE((*writer)->Begin(world.NowMs(), inbox, IdsOf(models), std::nullopt).ok());
    Witness witness(world, fleet);
    const auto report = Tick(*state, std::move(inbox), models, config_.settings, witness);
    EXPECT_EQ(report.ok(), world.ticks != 1);
    ASSERT_TRUE((*writer)->End(witness.Take(report)).ok());
  }
  const ReplayResult result = ReplayOf(path);
  EXPECT_THAT(result.different, IsEmpty());
  EXPECT_EQ(result.ticks, 4);
}

TEST(JournalDifferences, AreNamedAndBounded) {
  Decided a;
  a.decisions = R"({"x":[1,2],"shadows":[{"instance_id":"s1","split":0.1}]})";
  a.explanations = {{7, R"({"risk":{"p":0.25}})"}};
  Decided b = a;
  b.decisions = R"({"x":[1,3],"shadows":[{"instance_id":"s2","split":0.1}]})";
  b.explanations = {{7, R"({"risk":{"p":0.5}})"}, {8, "{}"}};
  b.started = {8};
  EXPECT_THAT(
      Differences(a, b),
      ::testing::ElementsAre("explanation of action 7 / risk / p: recorded 0.25, replayed 0.5",
                             "explanation of action 8: recorded none, replayed one",
                             HasSubstr("decisions / shadows / s1: recorded {"),
                             HasSubstr("decisions / shadows / s2: recorded nothing, replayed {"),
                             "decisions / x / [1]: recorded 2, replayed 3",
                             "actions started: recorded [], replayed [8]"));
  Decided many;
  std::string text = "{";
  for (int i = 0; i < 50; ++i) text += fmt::format("{}\"k{}\":{}", i == 0 ? "" : ",", i, i);
  many.decisions = text + "}";
  Decided none;
  none.decisions = "{}";
  EXPECT_THAT(Differences(many, none), SizeIs(kDifferencesMax + 1));
  EXPECT_EQ(Differences(many, none).back(), "and 30 more");
  Decided text_only;
  text_only.decisions = "not JSON " + std::string(100'000, '[');
  EXPECT_THAT(Differences(text_only, none), SizeIs(1));
}

}  // namespace
}  // namespace foreshadow::journal
