// Backups, survey and repair of data folders.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <thread>

#include "service/history/backup.h"
#include "service/history/database.h"
#include "service/history/keys.h"
#include "service/history/offline.h"
#include "service/history/store.h"
#include "tests/unit/service/temporary_folder.h"

namespace foreshadow {
namespace {

using history::ChunkKey;
using history::Database;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::TemporaryFolder;

constexpr int64_t kStartMs = 40'000 * kBucketMs;
const std::vector<Cell> kCells = {{"a", "z", CellState::kUp, {}}};
using Place = std::tuple<int32_t, int, int64_t>;

std::unique_ptr<HistoryStore> Open(const std::string& folder) {
  auto store = HistoryStore::Open(folder);
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? *std::move(store) : nullptr;
}

std::map<Place, float> AsMap(const HistoryStore& store) {
  std::map<Place, float> held;
  size_t count = 0;
  const absl::Status read = store.ReadSamples(0, [&](const std::vector<Sample>& piece) {
    for (const Sample& s : piece)
      held[{s.account, static_cast<int>(s.signal), s.time_ms}] = s.value;
    count += piece.size();
  });
  EXPECT_TRUE(read.ok()) << read;
  EXPECT_EQ(count, held.size());
  return held;
}

// Two buckets of two signals of some accounts, the first of them packed.
void Fill(HistoryStore& store, int32_t accounts) {
  std::vector<std::pair<int32_t, Account>> list;
  for (int32_t a = 0; a < accounts; ++a) {
    list.push_back({a, {"account-" + std::to_string(a), 0, "", 0, false}});
  }
  ASSERT_TRUE(store.WriteAccounts(list, kCells).ok());
  std::vector<Sample> samples;
  for (int64_t t = kStartMs; t < kStartMs + 2 * kBucketMs; t += kBucketMs / 8) {
    for (int32_t a = 0; a < accounts; ++a) {
      for (const SignalKind signal : {SignalKind::kCpu, SignalKind::kNetwork}) {
        samples.push_back({a, signal, t, static_cast<float>(a + t % 17)});
      }
    }
  }
  ASSERT_TRUE(store.WriteSamples(samples).ok());
  const std::atomic<bool> stop = false;
  ASSERT_TRUE(store.Maintain(kStartMs + kBucketMs, {kStartMs, kStartMs, kStartMs}, stop).ok());
  ASSERT_TRUE(store.WriteDecisions("decided", {{7, "why"}}, 0).ok());
}

TEST(HistoryBackup, ComesBackAsItWasWhileWritersGoOn) {
  const TemporaryFolder folder;
  const std::string data = folder.path() + "/data";
  const std::string backups = folder.path() + "/backups";
  const auto store = Open(data);
  Fill(*store, 300);
  const auto before = AsMap(*store);
  std::atomic<bool> done = false;
  std::thread writer([&] {
    for (int64_t t = kStartMs + 3 * kBucketMs; !done; ++t) {
      ASSERT_TRUE(store->WriteSamples({{0, SignalKind::kCpu, t, 1}}).ok());
    }
  });
  for (uint32_t i = 1; i <= 4; ++i) {
    const auto made = store->Backup(backups, 2);
    ASSERT_TRUE(made.ok()) << made.status();
    EXPECT_EQ(made->id, i);
    EXPECT_GT(made->bytes, 1'000u);
  }
  done = true;
  writer.join();
  const auto list = history::ListBackups(backups);
  ASSERT_TRUE(list.ok()) << list.status();
  ASSERT_EQ(list->size(), 2u) << "the newest two are kept";
  EXPECT_EQ(list->front().id, 3u);

  const auto after = AsMap(*store);
  for (const uint32_t id : {3u, 0u}) {
    const std::string into = folder.path() + "/restored-" + std::to_string(id);
    const auto restored = history::RestoreBackup(backups, id, into);
    ASSERT_TRUE(restored.ok()) << restored.status();
    EXPECT_EQ(restored->id, id == 0 ? 4u : id);
    const auto copy = Open(into);
    const auto held = AsMap(*copy);
    EXPECT_GE(held.size(), before.size());
    EXPECT_TRUE(std::includes(held.begin(), held.end(), before.begin(), before.end()));
    EXPECT_TRUE(std::includes(after.begin(), after.end(), held.begin(), held.end()));
    EXPECT_EQ(copy->ReadAccounts(kCells)->size(), 300u);
    EXPECT_EQ(*copy->ReadAudit(7), "why");
    const auto again = history::RestoreBackup(backups, id, into);
    EXPECT_TRUE(absl::IsFailedPrecondition(again.status()));
    EXPECT_THAT(std::string(again.status().message()), HasSubstr("not empty"));
  }
  EXPECT_TRUE(absl::IsNotFound(history::RestoreBackup(backups, 9, folder.path() + "/x").status()));
  EXPECT_TRUE(absl::IsNotFound(history::ListBackups(data).status()));
}

TEST(HistoryBackup, ADamagedBackupIsNotRestored) {
  const TemporaryFolder folder;
  const std::string backups = folder.path() + "/backups";
  {
    const auto store = Open(folder.path() + "/data");
    Fill(*store, 300);
    ASSERT_TRUE(store->Backup(backups, 2).ok());
  }
  std::filesystem::path largest;
  for (const auto& entry : std::filesystem::recursive_directory_iterator(backups)) {
    if (!entry.is_regular_file()) continue;
    if (largest.empty() || entry.file_size() > file_size(largest)) largest = entry.path();
  }
  std::fstream(largest, std::ios::binary | std::ios::in | std::ios::out).seekp(100) << "damage";
  const std::string into = folder.path() + "/restored";
  const auto restored = history::RestoreBackup(backups, 0, into);
  EXPECT_TRUE(absl::IsDataLoss(restored.status())) << restored.status();
  EXPECT_FALSE(std::filesystem::exists(into + "/CURRENT"));
}

TEST(HistorySurvey, CountsWhatIsThereBesideAServer) {
  const TemporaryFolder folder;
  const auto store = Open(folder.path());
  Fill(*store, 300);
  const auto survey = history::SurveyFolder(folder.path());
  ASSERT_TRUE(survey.ok()) << survey.status();
  EXPECT_TRUE(survey->damage.ok()) << survey->damage;
  EXPECT_EQ(survey->accounts_count, 300);
  EXPECT_EQ(survey->packed_samples_count, 300 * 2 * 8);
  EXPECT_EQ(survey->recent_samples_count, 300 * 2 * 8);
  EXPECT_EQ(survey->five_minutes_count, 300 * 2 * 8);
  EXPECT_EQ(survey->hours_count, 300 * 2 * 8);
  EXPECT_EQ(survey->oldest_ms, kStartMs);
  EXPECT_EQ(survey->newest_ms, kStartMs + 2 * kBucketMs - kBucketMs / 8);
  EXPECT_TRUE(absl::IsUnavailable(history::RepairFolder(folder.path()).status()))
      << "a server runs on it";
}

// Changes the value under a key so that its bytes are wrong; an empty one removes it.
void Damage(const std::string& folder, history::Family family, const std::string& key,
            const std::string& value) {
  auto database = Database::Open(folder, Database::Access::kWrite);
  ASSERT_TRUE(database.ok()) << database.status();
  rocksdb::WriteBatch batch;
  if (value.empty()) {
    batch.Delete((*database)->family(family), key);
  } else {
    batch.Put((*database)->family(family), key, value);
  }
  ASSERT_TRUE((*database)->Write(batch, "damage").ok());
}

TEST(HistoryRepair, LeavesOutWhatIsDamagedAndKeepsTheRest) {
  const TemporaryFolder folder;
  const std::string data = folder.path() + "/data";
  std::map<Place, float> expected;
  {
    const auto store = Open(data);
    Fill(*store, 300);
    expected = AsMap(*store);
  }
  Damage(data, history::kChunks, ChunkKey{40'000, 260, 0}.Text(), "not a chunk");
  std::ofstream(data + "/audit.jsonl") << "of somebody else";
  Damage(data, history::kAccounts, history::KeyOf(uint32_t{5}), "not an account");
  std::erase_if(expected, [](const auto& entry) {
    const auto [account, signal, time_ms] = entry.first;
    return account == 260 && signal == 0 && time_ms < kStartMs + kBucketMs;
  });
  EXPECT_TRUE(absl::IsDataLoss(Open(data)->ReadAccounts(kCells).status()));
  EXPECT_TRUE(absl::IsDataLoss(history::SurveyFolder(data)->damage));

  const auto repaired = history::RepairFolder(data + "/");
  ASSERT_TRUE(repaired.ok()) << repaired.status();
  EXPECT_EQ(repaired->damaged_folder, data + ".damaged");
  EXPECT_EQ(repaired->lost_accounts_count, 1);
  EXPECT_THAT(std::string(repaired->damage.message()),
              AllOf(HasSubstr("2 places"), HasSubstr("account 260, cpu")));
  EXPECT_TRUE(repaired->survey.damage.ok()) << repaired->survey.damage;
  const auto store = Open(data);
  EXPECT_EQ(AsMap(*store), expected);
  const auto accounts = store->ReadAccounts(kCells);
  ASSERT_TRUE(accounts.ok()) << accounts.status();
  ASSERT_EQ(accounts->size(), 300u);
  EXPECT_EQ((*accounts)[4].id, "account-4");
  EXPECT_EQ((*accounts)[5].id, "lost-5");
  EXPECT_TRUE((*accounts)[5].pinned);
  EXPECT_EQ((*accounts)[6].id, "account-6");
  EXPECT_EQ(*store->ReadDecisions(), "decided");
  EXPECT_TRUE(std::filesystem::exists(data + ".damaged/CURRENT"));
  EXPECT_EQ(std::filesystem::file_size(data + "/audit.jsonl"), 16u);
}

// Also of a folder whose samples were in the log only when its catalogue was lost.
TEST(HistoryRepair, MakesALostCatalogueAnew) {
  const TemporaryFolder folder;
  const std::string data = folder.path() + "/data";
  std::map<Place, float> expected;
  {
    const auto store = Open(data);
    Fill(*store, 40);
    expected = AsMap(*store);
  }
  for (const auto& entry : std::filesystem::directory_iterator(data)) {
    if (entry.path().filename().string().starts_with("MANIFEST")) {
      std::ofstream(entry.path(), std::ios::binary) << "this is not a manifest";
    }
  }
  const auto refused = HistoryStore::Open(data);
  EXPECT_TRUE(absl::IsDataLoss(refused.status())) << refused.status();
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("foreshadow history repair"));
  const auto repaired = history::RepairFolder(data);
  ASSERT_TRUE(repaired.ok()) << repaired.status();
  const auto store = Open(data);
  EXPECT_EQ(AsMap(*store), expected);
  EXPECT_EQ(store->ReadAccounts(kCells)->size(), 40u);
  EXPECT_EQ(*store->ReadDecisions(), "decided");
}

TEST(HistoryRepair, RefusesWhatIsNoDataFolder) {
  const TemporaryFolder folder;
  EXPECT_TRUE(absl::IsNotFound(history::RepairFolder(folder.path()).status()));
  EXPECT_TRUE(std::filesystem::is_empty(folder.path()));
}

}  // namespace
}  // namespace foreshadow
