// What only the history on disk has: its folder, its formats, damage, space.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rocksdb/db.h>
#include <rocksdb/merge_operator.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <random>

#include "service/history/chunk.h"
#include "service/history/database.h"
#include "service/history/keys.h"
#include "service/history/store.h"
#include "tests/unit/service/temporary_folder.h"

namespace foreshadow {
namespace {

using history::ChunkKey;
using history::Database;
using history::KeyOf;
using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::TemporaryFolder;

constexpr int64_t kMinuteMs = 60'000;
constexpr int64_t kHourMs = 60 * kMinuteMs;
constexpr int64_t kStartMs = 40'000 * kBucketMs;
const Retention kForever{10'000 * kBucketMs, 10'000 * kBucketMs, 10'000 * kBucketMs};

std::unique_ptr<HistoryStore> Open(const std::string& folder) {
  auto store = HistoryStore::Open(folder);
  EXPECT_TRUE(store.ok()) << store.status();
  return store.ok() ? *std::move(store) : nullptr;
}

std::unique_ptr<Database> OpenDatabase(const std::string& folder) {
  auto database = Database::Open(folder, Database::Access::kWrite);
  EXPECT_TRUE(database.ok()) << database.status();
  return database.ok() ? *std::move(database) : nullptr;
}

struct Read {
  std::vector<Sample> samples;
  absl::Status status;
};

Read All(const HistoryStore& store) {
  Read read;
  read.status = store.ReadSamples(0, [&](const std::vector<Sample>& piece) {
    read.samples.insert(read.samples.end(), piece.begin(), piece.end());
  });
  return read;
}

absl::Status Maintain(HistoryStore& store, int64_t now_ms, const Retention& retention = kForever) {
  const std::atomic<bool> stop = false;
  return store.Maintain(now_ms, retention, stop);
}

// A bucket of minutes of some accounts, packed.
void WritePacked(HistoryStore& store, int32_t accounts, int64_t start_ms = kStartMs) {
  std::vector<Sample> samples;
  for (int64_t t = start_ms; t < start_ms + kBucketMs; t += kMinuteMs) {
    for (int32_t a = 0; a < accounts; ++a) {
      samples.push_back({a, SignalKind::kCpu, t, static_cast<float>((a * 7 + t / kMinuteMs) % 13)});
    }
    if ((t + kMinuteMs) % kHourMs != 0) continue;
    ASSERT_TRUE(store.WriteSamples(samples).ok());
    samples.clear();
  }
  ASSERT_TRUE(Maintain(store, start_ms + kBucketMs).ok());
}

uint64_t BytesOf(const std::string& folder) {
  uint64_t bytes = 0;
  for (const auto& entry : std::filesystem::directory_iterator(folder)) {
    if (entry.path().extension() == ".sst") bytes += entry.file_size();
  }
  return bytes;
}

TEST(HistoryOnDisk, ADamagedChunkIsNamedAndTheRestIsRead) {
  const TemporaryFolder folder;
  WritePacked(*Open(folder.path()), 3);
  {
    const auto database = OpenDatabase(folder.path());
    const std::string key = ChunkKey{40'000, 1, 0}.Text();
    auto bytes = database->Get(history::kChunks, key, "");
    ASSERT_TRUE(bytes.ok());
    (*bytes)[bytes->size() / 2] ^= 4;
    rocksdb::WriteBatch batch;
    batch.Put(database->family(history::kChunks), key, *bytes);
    ASSERT_TRUE(database->Write(batch, "").ok());
  }
  const auto store = Open(folder.path());
  const Read read = All(*store);
  EXPECT_TRUE(absl::IsDataLoss(read.status));
  EXPECT_THAT(std::string(read.status.message()),
              AllOf(HasSubstr("chunks"), HasSubstr("account 1, cpu"), HasSubstr("checksum"),
                    HasSubstr("2024-10-04T00:00:00Z")));
  EXPECT_EQ(read.samples.size(), 2u * 720);
  EXPECT_TRUE(absl::IsDataLoss(
      store->ReadSeries(1, SignalKind::kCpu, kStartMs, kStartMs + kHourMs, Resolution::kSamples)
          .status()));
  EXPECT_EQ(
      store->ReadSeries(2, SignalKind::kCpu, kStartMs, kStartMs + kHourMs, Resolution::kSamples)
          ->size(),
      60u);
  // A late sample is kept beside it, and packing leaves both as they are.
  ASSERT_EQ(store->WriteSamples({{1, SignalKind::kCpu, kStartMs + 1, 5}})->added.size(), 1u);
  EXPECT_TRUE(absl::IsDataLoss(Maintain(*store, kStartMs + kBucketMs)));
  EXPECT_EQ(All(*store).samples.size(), 2u * 720 + 1);
}

TEST(HistoryOnDisk, ADamagedFileCostsOnlyThePartThatIsDamaged) {
  const TemporaryFolder folder;
  constexpr int32_t kAccounts = 1'500;
  {
    const auto store = Open(folder.path());
    std::mt19937_64 random(5);
    for (int64_t t = kStartMs; t < kStartMs + kBucketMs; t += kHourMs / 4) {
      std::vector<Sample> samples;
      for (int32_t a = 0; a < kAccounts; ++a) {
        samples.push_back(
            {a, SignalKind::kMemory, t, static_cast<float>(random() % 1'000'000'007)});
      }
      ASSERT_TRUE(store->WriteSamples(samples).ok());
    }
    ASSERT_TRUE(Maintain(*store, kStartMs + kBucketMs).ok());
  }
  std::string path;
  {
    const auto database = OpenDatabase(folder.path());
    ASSERT_TRUE(database->db().Flush({}, database->family(history::kChunks)).ok());
    rocksdb::ColumnFamilyMetaData chunks;
    database->db().GetColumnFamilyMetaData(database->family(history::kChunks), &chunks);
    for (const auto& level : chunks.levels) {
      for (const auto& file : level.files) {
        if (file.size > 100'000) path = file.db_path + file.name;
      }
    }
  }
  {
    std::fstream file(path, std::ios::binary | std::ios::in | std::ios::out);
    file.seekp(static_cast<int64_t>(std::filesystem::file_size(path) / 2));
    file << "damage";
  }
  const auto store = Open(folder.path());
  const Read read = All(*store);
  EXPECT_TRUE(absl::IsDataLoss(read.status)) << read.status;
  EXPECT_THAT(std::string(read.status.message()), HasSubstr("chunks"));
  EXPECT_LT(read.samples.size(), 48u * kAccounts);
  EXPECT_GT(read.samples.size(), 24u * kAccounts);
}

// Written here byte by byte, as docs/formats/history.md told format 1.
void WriteFormat1(const std::string& folder, const std::map<std::pair<int64_t, int>, float>& cpu,
                  const std::string& format = "1") {
  class Append : public rocksdb::AssociativeMergeOperator {
   public:
    bool Merge(const rocksdb::Slice&, const rocksdb::Slice* existing, const rocksdb::Slice& value,
               std::string* merged, rocksdb::Logger*) const override {
      *merged = (existing != nullptr ? existing->ToString() : "") + value.ToString();
      return true;
    }
    const char* Name() const override { return "foreshadow.Append"; }
  };
  rocksdb::Options options;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.merge_operator = std::make_shared<Append>();
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (const char* name : {"default", "samples", "accounts", "state", "audit", "commands"}) {
    descriptors.emplace_back(name, options);
  }
  std::vector<rocksdb::ColumnFamilyHandle*> families;
  rocksdb::DB* raw = nullptr;
  ASSERT_TRUE(rocksdb::DB::Open(options, folder, descriptors, &families, &raw).ok());
  const std::unique_ptr<rocksdb::DB> db(raw);
  for (const auto& [place, value] : cpu) {
    const auto [time_ms, account] = place;
    uint32_t bits;
    std::memcpy(&bits, &value, sizeof(bits));
    const auto index = static_cast<uint32_t>(account);
    ASSERT_TRUE(db->Merge({}, families[1],
                          KeyOf(static_cast<uint64_t>(time_ms), uint8_t{0}, index / 1'024),
                          KeyOf(static_cast<uint16_t>(index % 1'024), bits))
                    .ok());
  }
  ASSERT_TRUE(db->Put({}, families[3], "format", format).ok());
  ASSERT_TRUE(db->Put({}, families[3], "decisions", "kept").ok());
  for (rocksdb::ColumnFamilyHandle* family : families) db->DestroyColumnFamilyHandle(family);
}

TEST(HistoryOnDisk, ConvertsTheEarlierFormat) {
  const TemporaryFolder folder;
  std::map<std::pair<int64_t, int>, float> cpu;
  for (int i = 0; i < 3'000; ++i) cpu[{kStartMs + i / 100 * kHourMs, i * 7 % 2'500}] = 0.1f * i;
  WriteFormat1(folder.path(), cpu);
  for (int opening = 0; opening < 2; ++opening) {
    const auto store = Open(folder.path());
    const Read read = All(*store);
    ASSERT_TRUE(read.status.ok()) << read.status;
    std::map<std::pair<int64_t, int>, float> held;
    for (const Sample& s : read.samples) held[{s.time_ms, s.account}] = s.value;
    EXPECT_EQ(read.samples.size(), cpu.size());
    EXPECT_EQ(held, cpu);
    EXPECT_EQ(*store->ReadDecisions(), "kept");
  }
  EXPECT_EQ(*OpenDatabase(folder.path())->Get(history::kState, "format", ""), "2");
}

TEST(HistoryOnDisk, RefusesAFormatThatItDoesNotKnow) {
  const TemporaryFolder folder;
  WriteFormat1(folder.path(), {}, "17");
  const auto store = HistoryStore::Open(folder.path());
  EXPECT_TRUE(absl::IsFailedPrecondition(store.status())) << store.status();
  EXPECT_THAT(std::string(store.status().message()),
              AllOf(HasSubstr(folder.path()), HasSubstr("17"), HasSubstr("1 and 2")));
}

TEST(HistoryOnDisk, WhatIsPackedIsSmallAndWhatIsForgottenGivesItsSpaceBack) {
  const TemporaryFolder folder;
  const auto store = Open(folder.path());
  for (int64_t b = 0; b < 4; ++b) WritePacked(*store, 500, kStartMs + b * kBucketMs);
  EXPECT_EQ(All(*store).samples.size(), 4u * 720 * 500);
  ASSERT_TRUE(Maintain(*store, kStartMs + 4 * kBucketMs, {2 * kBucketMs, 0, 0}).ok());
  const uint64_t two = BytesOf(folder.path());
  EXPECT_EQ(All(*store).samples.size(), 2u * 720 * 500);
  ASSERT_TRUE(Maintain(*store, kStartMs + 5 * kBucketMs, {0, 0, 0}).ok());
  EXPECT_EQ(All(*store).samples.size(), 0u);
  const TemporaryFolder empty;
  Open(empty.path());
  EXPECT_GT(two, BytesOf(empty.path()) + 5'000);
  EXPECT_LT(BytesOf(folder.path()), BytesOf(empty.path()) + 3'000);
}

TEST(HistoryOnDisk, NamesTheFolderThatCannotBeUsed) {
  const TemporaryFolder folder;
  const std::string file = folder.path() + "/file";
  std::ofstream(file) << "x";
  for (const std::string& path : {file, file + "/below"}) {
    const auto store = HistoryStore::Open(path);
    ASSERT_FALSE(store.ok());
    EXPECT_THAT(std::string(store.status().message()), HasSubstr(path));
  }
}

TEST(HistoryOnDisk, RefusesAFolderThatIsOpenAlready) {
  const TemporaryFolder folder;
  const auto store = Open(folder.path());
  const auto second = HistoryStore::Open(folder.path());
  EXPECT_TRUE(absl::IsUnavailable(second.status())) << second.status();
  EXPECT_THAT(std::string(second.status().message()), HasSubstr(folder.path()));
}

TEST(HistoryOnDisk, RefusesADamagedFolder) {
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
