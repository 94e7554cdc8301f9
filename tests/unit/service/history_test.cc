#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <unistd.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <random>
#include <thread>

#include "service/history/store.h"
#include "tests/unit/service/temporary_folder.h"

namespace foreshadow {
namespace {

using ::testing::HasSubstr;
using testing::TemporaryFolder;

using Place = std::tuple<int32_t, int, int64_t>;

Place PlaceOf(const Sample& s) { return {s.account, static_cast<int>(s.signal), s.time_ms}; }

std::unique_ptr<HistoryStore> Open(const std::string& folder) {
  auto store = HistoryStore::Open(folder);
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? *std::move(store) : nullptr;
}

std::vector<Sample> All(const HistoryStore& store, int64_t from_ms = 0) {
  std::vector<Sample> all;
  EXPECT_TRUE(store
                  .ReadSamples(from_ms,
                               [&](const std::vector<Sample>& piece) {
                                 all.insert(all.end(), piece.begin(), piece.end());
                               })
                  .ok());
  return all;
}

const std::vector<Cell> kCells = {{"a", "z", CellState::kUp, {}}, {"b", "z", CellState::kUp, {}}};

TEST(History, FirstValueWinsAndTheSameAgainIsADuplicate) {
  const TemporaryFolder folder;
  const auto store = Open(folder.path());
  const Sample first{3, SignalKind::kMemory, 60'000, 7};
  Sample other = first;
  other.value = 8;
  auto written = store->WriteSamples({first, first, other});
  ASSERT_TRUE(written.ok()) << written.status();
  EXPECT_EQ(written->added.size(), 1u);
  EXPECT_EQ(written->duplicate_count, 1);
  EXPECT_EQ(written->conflicts.size(), 1u);
  written = store->WriteSamples({other, first});
  ASSERT_TRUE(written.ok());
  EXPECT_TRUE(written->added.empty());
  EXPECT_EQ(written->duplicate_count, 1);
  ASSERT_EQ(written->conflicts.size(), 1u);
  EXPECT_EQ(written->conflicts[0].value, 8);
  const auto all = All(*store);
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].value, 7);
}

// Against a plain map: batches in any order, with repeats, over several openings.
TEST(History, KeepsWhatAMapWouldKeep) {
  const TemporaryFolder folder;
  std::mt19937_64 random(7);
  std::map<Place, float> expected;
  for (int opening = 0; opening < 4; ++opening) {
    const auto store = Open(folder.path());
    for (int batch = 0; batch < 6; ++batch) {
      std::vector<Sample> samples;
      int64_t added = 0;
      int64_t duplicates = 0;
      int64_t conflicts = 0;
      for (int i = 0; i < 500; ++i) {
        const Sample sample{
            static_cast<int32_t>(random() % 3'000), static_cast<SignalKind>(random() % kSignals),
            static_cast<int64_t>(random() % 6) * 60'000 + 1, static_cast<float>(random() % 3)};
        samples.push_back(sample);
        const auto [it, is_new] = expected.emplace(PlaceOf(sample), sample.value);
        added += is_new;
        duplicates += !is_new && it->second == sample.value;
        conflicts += !is_new && it->second != sample.value;
      }
      const auto written = store->WriteSamples(samples);
      ASSERT_TRUE(written.ok());
      EXPECT_EQ(std::ssize(written->added), added);
      EXPECT_EQ(written->duplicate_count, duplicates);
      EXPECT_EQ(std::ssize(written->conflicts), conflicts);
    }
  }
  const auto store = Open(folder.path());
  const auto all = All(*store);
  std::map<Place, float> held;
  for (const Sample& s : all) held[PlaceOf(s)] = s.value;
  EXPECT_EQ(all.size(), held.size()) << "each sample once";
  EXPECT_EQ(held, expected);
  EXPECT_TRUE(std::is_sorted(all.begin(), all.end(), [](const Sample& a, const Sample& b) {
    return a.time_ms < b.time_ms;
  }));
  EXPECT_EQ(store->NewestSampleMs(), 5 * 60'000 + 1);
}

TEST(History, WritersAtOnceKeepEachSampleOnce) {
  const TemporaryFolder folder;
  const auto store = Open(folder.path());
  constexpr int kWriters = 4;
  std::atomic<int64_t> added = 0;
  std::atomic<int64_t> duplicates = 0;
  std::vector<std::thread> writers;
  for (int w = 0; w < kWriters; ++w) {
    writers.emplace_back([&] {
      for (int64_t step = 0; step < 20; ++step) {
        std::vector<Sample> samples;
        for (int32_t a = 0; a < 50; ++a) {
          samples.push_back({a, SignalKind::kCpu, step * 1'000, static_cast<float>(a)});
        }
        const auto written = store->WriteSamples(samples);
        ASSERT_TRUE(written.ok());
        added += std::ssize(written->added);
        duplicates += written->duplicate_count;
      }
    });
  }
  for (std::thread& writer : writers) writer.join();
  EXPECT_EQ(added, 1'000);
  EXPECT_EQ(duplicates, 1'000 * (kWriters - 1));
  EXPECT_EQ(All(*store).size(), 1'000u);
}

TEST(History, ReadsFromATimeOnAndForgetsWhatIsOld) {
  const TemporaryFolder folder;
  const auto store = Open(folder.path());
  std::vector<Sample> samples;
  for (int64_t t = 0; t < 10; ++t) samples.push_back({0, SignalKind::kCpu, t * 1'000, 1});
  ASSERT_TRUE(store->WriteSamples(samples).ok());
  EXPECT_EQ(All(*store, 4'000).size(), 6u);
  EXPECT_EQ(All(*store, 4'001).size(), 5u);
  ASSERT_TRUE(store->ForgetSamplesBefore(7'000).ok());
  const auto left = All(*store);
  ASSERT_EQ(left.size(), 3u);
  EXPECT_EQ(left[0].time_ms, 7'000);
}

TEST(History, AccountsComeBackInOrderAndFollowTheirCells) {
  const TemporaryFolder folder;
  const Account x{"x", 1, "web", 3, true};
  const Account y{"y", 0, "", 0, false};
  {
    const auto store = Open(folder.path());
    ASSERT_TRUE(store->WriteAccounts({{0, x}, {1, y}}, kCells).ok());
    Account moved = x;
    moved.priority = 9;
    ASSERT_TRUE(store->WriteAccounts({{0, moved}}, kCells).ok());
  }
  const auto store = Open(folder.path());
  // A cell configured since then shifts the indices.
  std::vector<Cell> more = kCells;
  more.insert(more.begin(), {"0", "z", CellState::kUp, {}});
  const auto accounts = store->ReadAccounts(more);
  ASSERT_TRUE(accounts.ok()) << accounts.status();
  ASSERT_EQ(accounts->size(), 2u);
  EXPECT_EQ((*accounts)[0], (Account{"x", 2, "web", 9, true}));
  EXPECT_EQ((*accounts)[1], (Account{"y", 1, "", 0, false}));

  const auto without = store->ReadAccounts({kCells[0]});
  EXPECT_TRUE(absl::IsFailedPrecondition(without.status()));
  EXPECT_THAT(std::string(without.status().message()), HasSubstr("account x is in cell b"));
}

TEST(History, CommandsWaitUntilDecisionsTookThem) {
  const TemporaryFolder folder;
  const auto store = Open(folder.path());
  ASSERT_TRUE(store->WriteCommand(1, {Command::Kind::kPause, 0}).ok());
  ASSERT_TRUE(store->WriteCommand(2, {Command::Kind::kApprove, 77}).ok());
  ASSERT_TRUE(store->WriteCommand(3, {Command::Kind::kResume, 0}).ok());
  ASSERT_TRUE(store->WriteDecisions("none taken", {}, 0).ok());
  ASSERT_EQ(store->ReadCommands()->size(), 3u);
  ASSERT_TRUE(store->WriteDecisions("one taken", {}, 1).ok());
  const auto left = store->ReadCommands();
  ASSERT_TRUE(left.ok()) << left.status();
  ASSERT_EQ(left->size(), 2u);
  EXPECT_EQ((*left)[0].first, 2u);
  EXPECT_EQ((*left)[0].second.kind, Command::Kind::kApprove);
  EXPECT_EQ((*left)[0].second.action_id, 77u);
  EXPECT_EQ((*left)[1].second.kind, Command::Kind::kResume);
}

TEST(History, DecisionsAndAuditAreWrittenTogether) {
  const TemporaryFolder folder;
  {
    const auto store = Open(folder.path());
    EXPECT_TRUE(absl::IsNotFound(store->ReadDecisions().status()));
    ASSERT_TRUE(store->WriteDecisions("first", {{1, "why 1"}}, 0).ok());
    ASSERT_TRUE(store->WriteDecisions("second", {{1, "why 1, settled"}, {2, "why 2"}}, 0).ok());
  }
  const auto store = Open(folder.path());
  EXPECT_EQ(store->ReadDecisions().value(), "second");
  EXPECT_EQ(store->ReadAudit(1).value(), "why 1, settled");
  EXPECT_EQ(store->ReadAudit(2).value(), "why 2");
  EXPECT_TRUE(absl::IsNotFound(store->ReadAudit(3).status()));
}

TEST(History, WhatModelsCarryIsReplacedWhole) {
  const TemporaryFolder folder;
  std::string large((9 << 20) + 5, 'x');  // pieces of 4 MiB, the last one short
  for (size_t i = 0; i < large.size(); i += 1'001) large[i] = static_cast<char>(i);
  {
    const auto store = Open(folder.path());
    EXPECT_EQ(store->ReadCarried("lstm").status().code(), absl::StatusCode::kNotFound);
    ASSERT_TRUE(store->WriteCarried("lstm", large).ok());
    ASSERT_TRUE(store->WriteCarried("lstm2", "other").ok());
    ASSERT_TRUE(store->WriteDecisions("d", {}, 0).ok());
  }
  const auto store = Open(folder.path());
  EXPECT_EQ(*store->ReadCarried("lstm"), large);
  ASSERT_TRUE(store->WriteCarried("lstm", "small").ok());
  EXPECT_EQ(*store->ReadCarried("lstm"), "small");
  EXPECT_EQ(*store->ReadCarried("lstm2"), "other");
  EXPECT_EQ(*store->ReadDecisions(), "d");
}

TEST(History, NamesTheFolderThatCannotBeUsed) {
  const TemporaryFolder folder;
  const std::string file = folder.path() + "/file";
  std::ofstream(file) << "x";
  for (const std::string& path : {file, file + "/below"}) {
    const auto store = HistoryStore::Open(path);
    ASSERT_FALSE(store.ok());
    EXPECT_THAT(std::string(store.status().message()), HasSubstr(path));
  }
}

TEST(History, RefusesAFolderThatIsOpenAlready) {
  const TemporaryFolder folder;
  const auto store = Open(folder.path());
  const auto second = HistoryStore::Open(folder.path());
  EXPECT_TRUE(absl::IsUnavailable(second.status())) << second.status();
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(folder.path()));
}

TEST(History, RefusesADamagedFolder) {
  const TemporaryFolder folder;
  {
    const auto store = Open(folder.path());
    ASSERT_TRUE(store->WriteSamples({{0, SignalKind::kCpu, 1, 1}}).ok());
  }
  for (const auto& entry : std::filesystem::directory_iterator(folder.path())) {
    if (entry.path().filename().string().starts_with("MANIFEST")) {
      std::ofstream(entry.path(), std::ios::binary) << "this is not a manifest";
    }
  }
  const auto store = HistoryStore::Open(folder.path());
  EXPECT_TRUE(absl::IsDataLoss(store.status())) << store.status();
  EXPECT_THAT(std::string(store.status().message()), HasSubstr(folder.path()));
}

}  // namespace
}  // namespace foreshadow
