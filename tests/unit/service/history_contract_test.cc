// One suite over every implementation of HistoryStore.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>
#include <random>
#include <thread>

#include "service/history/store.h"
#include "tests/unit/service/memory_store.h"
#include "tests/unit/service/temporary_folder.h"

namespace foreshadow {
namespace {

using ::testing::HasSubstr;
using testing::MemoryStore;
using testing::TemporaryFolder;

constexpr int64_t kHourMs = 3'600'000;
constexpr int64_t kDayMs = 24 * kHourMs;
constexpr int64_t kStartMs = 20'000 * kDayMs;  // of a bucket
const Retention kForever{1'000 * kDayMs, 1'000 * kDayMs, 1'000 * kDayMs};

using Place = std::tuple<int32_t, int, int64_t>;

Place PlaceOf(const Sample& s) { return {s.account, static_cast<int>(s.signal), s.time_ms}; }

// A store under test, and how to come back to it as after a restart.
class Subject {
 public:
  virtual ~Subject() = default;
  virtual HistoryStore& store() = 0;
  virtual void Reopen() = 0;
};

class InMemory : public Subject {
 public:
  HistoryStore& store() override { return store_; }
  void Reopen() override {}

 private:
  MemoryStore store_;
};

class OnDisk : public Subject {
 public:
  OnDisk() { Reopen(); }
  HistoryStore& store() override { return *store_; }
  void Reopen() override {
    store_.reset();
    auto store = HistoryStore::Open(folder_.path());
    ASSERT_TRUE(store.ok()) << store.status();
    store_ = *std::move(store);
  }

 private:
  TemporaryFolder folder_;
  std::unique_ptr<HistoryStore> store_;
};

struct Kind {
  const char* name;
  std::unique_ptr<Subject> (*make)();
};

class History : public ::testing::TestWithParam<Kind> {
 protected:
  HistoryStore* operator->() { return &subject_->store(); }
  void Reopen() { subject_->Reopen(); }

  std::vector<Sample> All(int64_t from_ms = 0) {
    std::vector<Sample> all;
    EXPECT_TRUE(store()
                    .ReadSamples(from_ms,
                                 [&](const std::vector<Sample>& piece) {
                                   all.insert(all.end(), piece.begin(), piece.end());
                                 })
                    .ok());
    EXPECT_TRUE(std::is_sorted(all.begin(), all.end(), [](const Sample& a, const Sample& b) {
      return PlaceOf(a) < PlaceOf(b);
    })) << "by account, signal and time";
    return all;
  }
  std::map<Place, float> AsMap() {
    std::map<Place, float> held;
    const auto all = All();
    for (const Sample& s : all) held[PlaceOf(s)] = s.value;
    EXPECT_EQ(all.size(), held.size()) << "each sample once";
    return held;
  }
  void Maintain(int64_t now_ms, const Retention& retention = kForever) {
    const std::atomic<bool> stop = false;
    const absl::Status status = store().Maintain(now_ms, retention, stop);
    ASSERT_TRUE(status.ok()) << status;
  }
  HistoryStore& store() { return subject_->store(); }

 private:
  std::unique_ptr<Subject> subject_ = GetParam().make();
};

INSTANTIATE_TEST_SUITE_P(
    Stores, History,
    ::testing::Values(Kind{"Memory", [] { return std::unique_ptr<Subject>(new InMemory); }},
                      Kind{"RocksDb", [] { return std::unique_ptr<Subject>(new OnDisk); }}),
    [](const auto& kind) { return kind.param.name; });

const std::vector<Cell> kCells = {{"a", "z", CellState::kUp, {}}, {"b", "z", CellState::kUp, {}}};

TEST_P(History, FirstValueWinsAndTheSameAgainIsADuplicate) {
  const Sample first{3, SignalKind::kMemory, 60'000, 7};
  Sample other = first;
  other.value = 8;
  auto written = store().WriteSamples({first, first, other});
  ASSERT_TRUE(written.ok()) << written.status();
  EXPECT_EQ(written->added.size(), 1u);
  EXPECT_EQ(written->duplicate_count, 1);
  EXPECT_EQ(written->conflicts.size(), 1u);
  written = store().WriteSamples({other, first});
  ASSERT_TRUE(written.ok());
  EXPECT_TRUE(written->added.empty());
  EXPECT_EQ(written->duplicate_count, 1);
  ASSERT_EQ(written->conflicts.size(), 1u);
  EXPECT_EQ(written->conflicts[0].value, 8);
  const auto all = All();
  ASSERT_EQ(all.size(), 1u);
  EXPECT_EQ(all[0].value, 7);
}

// Against a plain map: batches in any order, with repeats, over restarts, while buckets end and are
// packed, and late samples come into packed ones.
TEST_P(History, KeepsWhatAMapWouldKeep) {
  std::mt19937_64 random(7);
  std::map<Place, float> expected;
  for (int opening = 0; opening < 5; ++opening) {
    for (int batch = 0; batch < 6; ++batch) {
      std::vector<Sample> samples;
      int64_t added = 0;
      int64_t duplicates = 0;
      int64_t conflicts = 0;
      for (int i = 0; i < 500; ++i) {
        const Sample sample{static_cast<int32_t>(random() % 700),
                            static_cast<SignalKind>(random() % kSignals),
                            kStartMs + static_cast<int64_t>(random() % 6) * 5 * kHourMs + 1,
                            static_cast<float>(random() % 3) / 3};
        samples.push_back(sample);
        const auto [it, is_new] = expected.emplace(PlaceOf(sample), sample.value);
        added += is_new;
        duplicates += !is_new && it->second == sample.value;
        conflicts += !is_new && it->second != sample.value;
      }
      const auto written = store().WriteSamples(samples);
      ASSERT_TRUE(written.ok()) << written.status();
      ASSERT_EQ(std::ssize(written->added), added);
      ASSERT_EQ(written->duplicate_count, duplicates);
      ASSERT_EQ(std::ssize(written->conflicts), conflicts);
      if (batch == 2) Maintain(kStartMs + opening * kBucketMs);
    }
    Reopen();
    ASSERT_EQ(AsMap(), expected);
  }
}

TEST_P(History, WritersAtOnceKeepEachSampleOnceWhileBucketsArePacked) {
  constexpr int kWriters = 4;
  constexpr int64_t kSteps = 60;
  std::atomic<int64_t> added = 0;
  std::atomic<int64_t> duplicates = 0;
  std::atomic<bool> done = false;
  std::vector<std::thread> writers;
  for (int w = 0; w < kWriters; ++w) {
    writers.emplace_back([&] {
      for (int64_t step = 0; step < kSteps; ++step) {
        std::vector<Sample> samples;
        for (int32_t a = 0; a < 50; ++a) {
          samples.push_back(
              {a, SignalKind::kCpu, kStartMs + step * kHourMs, static_cast<float>(a)});
        }
        const auto written = store().WriteSamples(samples);
        ASSERT_TRUE(written.ok()) << written.status();
        added += std::ssize(written->added);
        duplicates += written->duplicate_count;
      }
    });
  }
  std::thread packer([&] {
    while (!done) Maintain(kStartMs + kSteps * kHourMs);
  });
  for (std::thread& writer : writers) writer.join();
  done = true;
  packer.join();
  EXPECT_EQ(added, 50 * kSteps);
  EXPECT_EQ(duplicates, 50 * kSteps * (kWriters - 1));
  EXPECT_EQ(AsMap().size(), 50u * kSteps);
}

TEST_P(History, ReadsFromATimeOn) {
  std::vector<Sample> samples;
  for (int64_t t = 0; t < 10; ++t) samples.push_back({0, SignalKind::kCpu, t * 10'000'000, 1});
  ASSERT_TRUE(store().WriteSamples(samples).ok());
  for (const int64_t packed_ms : {int64_t{0}, kBucketMs, 10 * kBucketMs}) {
    Maintain(packed_ms);
    EXPECT_EQ(All(40'000'000).size(), 6u);
    EXPECT_EQ(All(40'000'001).size(), 5u);
    EXPECT_EQ(All(100'000'000).size(), 0u);
  }
}

// Samples at uneven times over three days; the summaries against sums over the samples themselves.
class Summaries : public History {
 protected:
  void Fill() {
    std::mt19937_64 random(3);
    std::vector<Sample> samples;
    for (int64_t t = kStartMs; t < kStartMs + 3 * kDayMs;
         t += 20'000 + static_cast<int64_t>(random() % 2'000'000)) {
      const Sample sample{300, SignalKind::kNetwork, t, static_cast<float>(random() % 1'000)};
      samples.push_back(sample);
      samples.push_back({301, SignalKind::kNetwork, t, 5'000});
      points_[t] = sample.value;
    }
    std::shuffle(samples.begin(), samples.end(), random);
    for (size_t i = 0; i < samples.size(); i += 100) {
      const auto end = samples.begin() + static_cast<int64_t>(std::min(i + 100, samples.size()));
      ASSERT_TRUE(store().WriteSamples({samples.begin() + static_cast<int64_t>(i), end}).ok());
    }
  }
  std::vector<Bin> Expected(int64_t from_ms, int64_t to_ms, int64_t width_ms) const {
    std::vector<Bin> bins;
    for (int64_t start = from_ms; start < to_ms; start += width_ms) {
      double sum = 0;
      Bin bin{start, 0, 1e9f, -1e9f, 0};
      for (auto it = points_.lower_bound(start);
           it != points_.end() && it->first < start + width_ms; ++it) {
        sum += it->second;
        bin.min = std::min(bin.min, it->second);
        bin.max = std::max(bin.max, it->second);
        ++bin.count;
      }
      bin.mean = static_cast<float>(sum / bin.count);
      if (bin.count > 0) bins.push_back(bin);
    }
    return bins;
  }
  void ExpectSeries(Resolution resolution, int64_t kept_from_ms) {
    const int64_t width_ms = resolution == Resolution::kSamples ? 1 : WidthMs(resolution);
    const auto read = store().ReadSeries(300, SignalKind::kNetwork, kStartMs + kDayMs / 4,
                                         kStartMs + 2 * kDayMs, resolution);
    ASSERT_TRUE(read.ok()) << read.status();
    const int64_t from_ms = std::max(kept_from_ms, kStartMs + kDayMs / 4);
    std::vector<Bin> expected;
    if (resolution == Resolution::kSamples) {
      for (auto it = points_.lower_bound(from_ms);
           it != points_.end() && it->first < kStartMs + 2 * kDayMs; ++it) {
        expected.push_back({it->first, it->second, it->second, it->second, 1});
      }
    } else {
      expected = Expected(from_ms, kStartMs + 2 * kDayMs, width_ms);
    }
    EXPECT_EQ(*read, expected);
  }

  std::map<int64_t, float> points_;
};

INSTANTIATE_TEST_SUITE_P(
    Stores, Summaries,
    ::testing::Values(Kind{"Memory", [] { return std::unique_ptr<Subject>(new InMemory); }},
                      Kind{"RocksDb", [] { return std::unique_ptr<Subject>(new OnDisk); }}),
    [](const auto& kind) { return kind.param.name; });

TEST_P(Summaries, AreThereBeforeAndAfterPackingAndTakeLateSamplesIn) {
  Fill();
  for (const int64_t packed_ms :
       {kStartMs, kStartMs + kDayMs, kStartMs + kDayMs, kStartMs + 4 * kDayMs}) {
    Maintain(packed_ms);
    ExpectSeries(Resolution::kSamples, 0);
    ExpectSeries(Resolution::kFiveMinutes, 0);
    ExpectSeries(Resolution::kHour, 0);
    const Sample late{300, SignalKind::kNetwork, kStartMs + kDayMs / 2 + 7 + packed_ms % 1'000'003,
                      77};
    if (points_.emplace(late.time_ms, late.value).second) {
      ASSERT_EQ(store().WriteSamples({late})->added.size(), 1u);
    }
    Reopen();
  }
}

TEST_P(Summaries, OutliveTheSamplesAsLongAsTheirOwnRetention) {
  Fill();
  const int64_t now_ms = kStartMs + 3 * kDayMs;
  Maintain(now_ms, {kDayMs, 2 * kDayMs, 30 * kDayMs});
  for (int opening = 0; opening < 2; ++opening) {
    ExpectSeries(Resolution::kSamples, now_ms - kDayMs);
    ExpectSeries(Resolution::kFiveMinutes, now_ms - 2 * kDayMs);
    ExpectSeries(Resolution::kHour, 0);
    const auto all = All();
    ASSERT_FALSE(all.empty());
    EXPECT_GE(all.front().time_ms, now_ms - kDayMs);
    Reopen();
  }
  // What is forgotten stays so, whatever a later call asks for.
  Maintain(now_ms, kForever);
  ExpectSeries(Resolution::kSamples, now_ms - kDayMs);
}

TEST_P(Summaries, OfANothingAreNothing) {
  Fill();
  EXPECT_TRUE(store().ReadSeries(5, SignalKind::kCpu, 0, kStartMs * 2, Resolution::kHour)->empty());
  EXPECT_TRUE(store()
                  .ReadSeries(300, SignalKind::kNetwork, kStartMs, kStartMs, Resolution::kSamples)
                  ->empty());
}

TEST_P(History, ForgetsWholeBuckets) {
  std::vector<Sample> samples;
  for (int64_t t = 0; t < 4; ++t) {
    samples.push_back({0, SignalKind::kCpu, kStartMs + t * kBucketMs + 5, 1});
  }
  ASSERT_TRUE(store().WriteSamples(samples).ok());
  Maintain(kStartMs + 3 * kBucketMs, {kBucketMs + 1, kBucketMs, kBucketMs});
  ASSERT_EQ(All().size(), 3u) << "the bucket of the oldest millisecond that counts stays";
  Maintain(kStartMs + 3 * kBucketMs, {kBucketMs, kBucketMs, kBucketMs});
  ASSERT_EQ(All().size(), 2u);
  Reopen();
  EXPECT_EQ(All().front().time_ms, kStartMs + 2 * kBucketMs + 5);
}

TEST_P(History, MaintenanceStopsWhenItIsTold) {
  ASSERT_TRUE(store().WriteSamples({{0, SignalKind::kCpu, 1, 1}}).ok());
  const std::atomic<bool> stop = true;
  EXPECT_TRUE(absl::IsCancelled(store().Maintain(kBucketMs, kForever, stop)));
  EXPECT_EQ(All().size(), 1u);
}

TEST_P(History, AccountsComeBackInOrderAndFollowTheirCells) {
  const Account x{"x", 1, "web", 3, true};
  const Account y{"y", 0, "", 0, false};
  ASSERT_TRUE(store().WriteAccounts({{0, x}, {1, y}}, kCells).ok());
  Account moved = x;
  moved.priority = 9;
  ASSERT_TRUE(store().WriteAccounts({{0, moved}}, kCells).ok());
  Reopen();
  // A cell configured since then shifts the indices.
  std::vector<Cell> more = kCells;
  more.insert(more.begin(), {"0", "z", CellState::kUp, {}});
  const auto accounts = store().ReadAccounts(more);
  ASSERT_TRUE(accounts.ok()) << accounts.status();
  ASSERT_EQ(accounts->size(), 2u);
  EXPECT_EQ((*accounts)[0], (Account{"x", 2, "web", 9, true}));
  EXPECT_EQ((*accounts)[1], (Account{"y", 1, "", 0, false}));

  const auto without = store().ReadAccounts({kCells[0]});
  EXPECT_TRUE(absl::IsFailedPrecondition(without.status()));
  EXPECT_THAT(std::string(without.status().message()), HasSubstr("account x is in cell b"));
}

TEST_P(History, CommandsWaitUntilDecisionsTookThem) {
  ASSERT_TRUE(store().WriteCommand(1, {Command::Kind::kPause, 0}).ok());
  ASSERT_TRUE(store().WriteCommand(2, {Command::Kind::kApprove, 77}).ok());
  ASSERT_TRUE(store().WriteCommand(3, {Command::Kind::kResume, 0}).ok());
  ASSERT_TRUE(store().WriteDecisions("none taken", {}, 0).ok());
  ASSERT_EQ(store().ReadCommands()->size(), 3u);
  ASSERT_TRUE(store().WriteDecisions("one taken", {}, 1).ok());
  const auto left = store().ReadCommands();
  ASSERT_TRUE(left.ok()) << left.status();
  ASSERT_EQ(left->size(), 2u);
  EXPECT_EQ((*left)[0].first, 2u);
  EXPECT_EQ((*left)[0].second.kind, Command::Kind::kApprove);
  EXPECT_EQ((*left)[0].second.action_id, 77u);
  EXPECT_EQ((*left)[1].second.kind, Command::Kind::kResume);
}

TEST_P(History, DecisionsAndAuditAreWrittenTogether) {
  EXPECT_TRUE(absl::IsNotFound(store().ReadDecisions().status()));
  ASSERT_TRUE(store().WriteDecisions("first", {{1, "why 1"}}, 0).ok());
  ASSERT_TRUE(store().WriteDecisions("second", {{1, "why 1, settled"}, {2, "why 2"}}, 0).ok());
  Reopen();
  EXPECT_EQ(store().ReadDecisions().value(), "second");
  EXPECT_EQ(store().ReadAudit(1).value(), "why 1, settled");
  EXPECT_EQ(store().ReadAudit(2).value(), "why 2");
  EXPECT_TRUE(absl::IsNotFound(store().ReadAudit(3).status()));
}

TEST_P(History, WhatModelsCarryIsReplacedWhole) {
  std::string large((9 << 20) + 5, 'x');  // pieces of 4 MiB, the last one short
  for (size_t i = 0; i < large.size(); i += 1'001) large[i] = static_cast<char>(i);
  EXPECT_TRUE(absl::IsNotFound(store().ReadCarried("lstm").status()));
  ASSERT_TRUE(store().WriteCarried("lstm", large).ok());
  ASSERT_TRUE(store().WriteCarried("lstm2", "other").ok());
  ASSERT_TRUE(store().WriteDecisions("d", {}, 0).ok());
  Reopen();
  EXPECT_EQ(*store().ReadCarried("lstm"), large);
  ASSERT_TRUE(store().WriteCarried("lstm", "small").ok());
  EXPECT_EQ(*store().ReadCarried("lstm"), "small");
  EXPECT_EQ(*store().ReadCarried("lstm2"), "other");
  EXPECT_EQ(*store().ReadDecisions(), "d");
}

}  // namespace
}  // namespace foreshadow
