// The receiver over a real engine and real folders, its clock set by the test.
#include "service/receive/receiver.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <limits>
#include <map>

#include "absl/time/clock.h"
#include "models/registry.h"
#include "tests/unit/service/temporary_folder.h"

namespace foreshadow::receive {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kStepMs = 60'000;
constexpr int64_t kDueMs = kStepMs + 3'000;
constexpr int64_t kStartMs = 1'700'000'040'000;

Config MakeConfig(const std::string& folder) {
  Config config;
  config.clock = Clock::kData;
  config.data_dir = folder;
  config.settings.tick.window_steps = 30;
  config.cells = {{{"a", "z", CellState::kUp, {8}}, ""}, {{"b", "z", CellState::kUp, {8}}, ""}};
  ReceiveRule rule;
  rule.metric = "cpu_seconds_total";
  rule.account = "{account}";
  rule.cell = "{cell}";
  rule.application = "{app}";
  config.receive.rules.push_back(rule);
  rule.metric = "memory_kib";
  rule.signal = SignalKind::kMemory;
  rule.scale = 1024;
  config.receive.rules.push_back(rule);
  return config;
}

IncomingSeries Memory(const std::string& account, const std::string& pod,
                      const std::vector<Point>& points, const std::string& cell = "a") {
  return {{{"__name__", "memory_kib"}, {"account", account}, {"cell", cell}, {"pod", pod}},
          SentKind::kUnknown,
          points};
}

IncomingSeries Cpu(const std::string& account, const std::vector<Point>& points) {
  return {{{"__name__", "cpu_seconds_total"}, {"account", account}, {"cell", "b"}, {"app", "web"}},
          SentKind::kUnknown,
          points};
}

class ReceiverTest : public ::testing::Test {
 protected:
  void SetUp() override {
    config_ = MakeConfig(folder_.path());
    Open();
  }

  void Open() {
    receiver_.reset();
    engine_.reset();
    store_.reset();
    auto store = HistoryStore::Open(folder_.path());
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
    auto engine = Engine::Create(config_, models::LoadModels("").models, *store_);
    ASSERT_TRUE(engine.ok()) << engine.status();
    engine_ = *std::move(engine);
    auto receiver = Receiver::Create(*engine_);
    ASSERT_TRUE(receiver.ok()) << receiver.status();
    receiver_ = *std::move(receiver);
  }

  Received Send(std::vector<IncomingSeries> series, int64_t now_ms) {
    const auto received = receiver_->Receive(std::move(series), "test", now_ms);
    EXPECT_TRUE(received.ok()) << received.status();
    return received.ok() ? *received : Received{};
  }

  // What the history holds, as "signal account@steps after the start" -> value.
  std::map<std::string, float> Held() {
    std::map<std::string, float> held;
    const auto fleet = engine_->fleet();
    EXPECT_TRUE(store_
                    ->ReadSamples(
                        0,
                        [&](const std::vector<Sample>& piece) {
                          for (const Sample& s : piece) {
                            held[std::string(Name(s.signal)) + " " + fleet->accounts[s.account].id +
                                 "@" + std::to_string((s.time_ms - kStartMs) / kStepMs)] = s.value;
                          }
                        })
                    .ok());
    return held;
  }

  testing::TemporaryFolder folder_;
  Config config_;
  std::unique_ptr<HistoryStore> store_;
  std::unique_ptr<Engine> engine_;
  std::unique_ptr<Receiver> receiver_;
};

using Values = std::map<std::string, float>;

TEST_F(ReceiverTest, MakesSamplesOfSeriesAndRegistersTheirAccounts) {
  const Received received =
      Send({Memory("x", "1", {{kStartMs + 1, 1, 0}, {kStartMs + 2, 3, 0}}),
            Memory("x", "2", {{kStartMs + 1, 5, 0}}),
            Cpu("y", {{kStartMs, 10, 0}, {kStartMs + 30'000, 70, 0}}),
            {{{"__name__", "other"}}, SentKind::kUnknown, {{kStartMs, 1, 0}}}},
           kStartMs + 30'001);
  EXPECT_EQ(received.accepted_count, 5);
  EXPECT_EQ(received.unmatched_count, 1);
  EXPECT_EQ(received.refused_count, 0) << received.why_refused;
  EXPECT_EQ(Held(), Values{}) << "the step is not over";
  ASSERT_TRUE(receiver_->FoldDue(kStartMs + kDueMs).ok());
  EXPECT_EQ(Held(), (Values{{"memory x@0", 7 * 1024}, {"cpu y@0", 2}}));
  const auto fleet = engine_->fleet();
  ASSERT_EQ(fleet->accounts.size(), 2u);
  EXPECT_EQ(fleet->accounts[1].id, "y");
  EXPECT_EQ(fleet->accounts[1].application, "web");
  EXPECT_EQ(fleet->accounts[1].cell, 1);
}

TEST_F(ReceiverTest, LosesNothingThatWasAcceptedAndCountsItOnce) {
  Send({Cpu("x", {{kStartMs, 0, 0}, {kStartMs + 40'000, 40, 0}}),
        Memory("x", "1", {{kStartMs, 4, 0}})},
       kStartMs + 50'000);
  Open();  // as after a crash: the folders are all that is left
  ASSERT_TRUE(receiver_->FoldDue(kStartMs + 10 * kStepMs).ok()) << "not due: it came just now";
  const int64_t wall_ms = absl::ToUnixMillis(absl::Now());
  ASSERT_TRUE(receiver_->FoldDue(wall_ms + kDueMs).ok());
  const Values first = {{"cpu x@0", 1}, {"memory x@0", 4 * 1024}};
  EXPECT_EQ(Held(), first);
  Open();
  ASSERT_TRUE(receiver_->FoldDue(kStartMs + 4 * kStepMs).ok());
  EXPECT_EQ(Held(), first);
  // The counter goes on from what it was before the restart: 100 more in 100 s.
  EXPECT_EQ(Send({Cpu("x", {{kStartMs + 140'000, 140, 0}})}, kStartMs + 140'001).accepted_count, 1);
  ASSERT_TRUE(receiver_->FoldDue(kStartMs + 2 * kStepMs + kDueMs).ok());
  EXPECT_EQ(Held(), (Values{{"cpu x@0", 1}, {"cpu x@2", 1}, {"memory x@0", 4 * 1024}}));
}

// A pod that went away and came back is another one: no rate over the time between.
TEST_F(ReceiverTest, AnEndOutlivesARestart) {
  EXPECT_EQ(Send({Cpu("x", {{kStartMs, 0, 0}, {kStartMs + 30'000, 30, 0}})}, kStartMs + 30'001)
                .accepted_count,
            2);
  const Received ended =
      Send({Cpu("x", {{kStartMs + 40'000, StaleMarker(), 0}})}, kStartMs + 40'001);
  EXPECT_EQ(ended.stale_count, 1);
  Open();
  Send({Cpu("x",
            {{kStartMs + kStepMs + 10'000, 1'000, 0}, {kStartMs + kStepMs + 20'000, 1'020, 0}})},
       kStartMs + kStepMs + 20'001);
  ASSERT_TRUE(receiver_->FoldDue(absl::ToUnixMillis(absl::Now()) + kDueMs).ok());
  EXPECT_EQ(Held(), (Values{{"cpu x@0", 1}, {"cpu x@1", 2}}))
      << "20 in the 10 s since it came back, not 990 in 50 s";
}

TEST_F(ReceiverTest, AnEndOutlivesTheStepThatItCameIn) {
  EXPECT_EQ(Send({Cpu("x", {{kStartMs, 0, 0},
                            {kStartMs + 30'000, 30, 0},
                            {kStartMs + 40'000, StaleMarker(), 0},
                            {kStartMs + 35'000, StaleMarker(), 0}})},
                 kStartMs + 40'001)
                .stale_count,
            2);
  ASSERT_TRUE(receiver_->FoldDue(kStartMs + kDueMs).ok());
  EXPECT_EQ(Held(), (Values{{"cpu x@0", 1}}));
  Open();
  Send({Cpu("x",
            {{kStartMs + kStepMs + 10'000, 1'000, 0}, {kStartMs + kStepMs + 20'000, 1'020, 0}})},
       kStartMs + kStepMs + 20'001);
  ASSERT_TRUE(receiver_->FoldDue(kStartMs + kStepMs + kDueMs).ok());
  EXPECT_EQ(Held()["cpu x@1"], 2);
}

TEST_F(ReceiverTest, RefusesSinglePointsSaysWhyAndKeepsTheRest) {
  const double inf = std::numeric_limits<double>::infinity();
  const double nan = std::numeric_limits<double>::quiet_NaN();
  const double stale = std::bit_cast<double>(uint64_t{0x7ff0000000000002});
  Received received = Send({Memory("x", "1",
                                   {{kStartMs, nan, 0},
                                    {kStartMs + 1, inf, 0},
                                    {kStartMs + 2, -1, 0},
                                    {kStartMs + 3, stale, 0},
                                    {kStartMs + 4, 8, 0},
                                    {-5, 1, 0},
                                    {kStartMs + 600'010, 1, 0}})},
                           kStartMs + 5);
  EXPECT_EQ(received.accepted_count, 1);
  EXPECT_EQ(received.stale_count, 1);
  EXPECT_EQ(received.refused_count, 5);
  EXPECT_THAT(received.why_refused, HasSubstr("memory of account x"));

  received = Send({Memory("x", "2", {{kStartMs + 600'010, 1, 0}})}, kStartMs + 5);
  EXPECT_THAT(received.why_refused, HasSubstr("ingest.future_ms = 600000"));
  received = Send({Memory("z", "1", {{kStartMs, 1, 0}}, "c")}, kStartMs);
  EXPECT_THAT(received.why_refused, HasSubstr("cell \"c\""));
  received = Send({Memory("z z", "1", {{kStartMs, 1, 0}})}, kStartMs);
  EXPECT_THAT(received.why_refused, HasSubstr("without spaces"));
  received = Send({Memory("z", "1", {{kStartMs, 1, 0}}, "")}, kStartMs);
  EXPECT_THAT(received.why_refused, HasSubstr("not registered"));
  EXPECT_EQ(engine_->fleet()->accounts.size(), 1u);

  ASSERT_TRUE(receiver_->FoldDue(kStartMs + kDueMs).ok());
  EXPECT_EQ(Held(), (Values{{"memory x@0", 8 * 1024}}));
  received = Send({Memory("x", "3", {{kStartMs, 1, 0}})}, kStartMs + kDueMs);
  EXPECT_THAT(received.why_refused, HasSubstr("receive.settle_ms"));
  received = Send({Memory("x", "1", {{kStartMs + 4, 8, 0}})}, kStartMs + kDueMs);
  EXPECT_EQ(received.duplicate_count, 1) << "sent again is harmless";
}

TEST_F(ReceiverTest, BoundsAccountsAndSeries) {
  config_.ingest.accounts_max = 2;
  config_.ingest.series_max = 3;
  Open();
  const std::vector<Point> one = {{kStartMs, 1, 0}};
  EXPECT_EQ(Send({Memory("x", "1", one), Memory("y", "1", one)}, kStartMs).accepted_count, 2);
  Received received = Send({Memory("z", "1", one), Memory("x", "2", one)}, kStartMs);
  EXPECT_EQ(received.accepted_count, 1);
  EXPECT_THAT(received.why_refused, HasSubstr("ingest.accounts_max = 2"));
  received = Send({Memory("x", "3", one), Memory("x", "1", {{kStartMs + 1, 1, 0}})}, kStartMs);
  EXPECT_EQ(received.accepted_count, 1) << "series that are known go on";
  EXPECT_THAT(received.why_refused, HasSubstr("ingest.series_max = 3"));
}

TEST_F(ReceiverTest, LeavesAccountsThatAreThereAsTheyAre) {
  const Account account{"x", 1, "db", 90, true};
  ASSERT_TRUE(engine_->PutAccounts({account}).ok());
  EXPECT_EQ(Send({Memory("x", "1", {{kStartMs, 1, 0}}, "a")}, kStartMs).accepted_count, 1);
  EXPECT_EQ(engine_->fleet()->accounts[0], account);
}

}  // namespace
}  // namespace foreshadow::receive
