#include <fmt/core.h>
#include <rocksdb/db.h>

#include <filesystem>
#include <nlohmann/json.hpp>
#include <set>

#include "service/history/chunk.h"
#include "service/history/cursor.h"
#include "service/history/keys.h"
#include "service/history/offline.h"
#include "service/history/rows.h"

namespace foreshadow::history {
namespace {

namespace fs = std::filesystem;

constexpr size_t kBatchBytes = 4 << 20;

bool IsGood(Family family, std::string_view key, std::string_view value) {
  if (family == kRecent) {
    return ForEachEntry(RowKey::From(key), value, [](const Sample&) {});
  }
  const int64_t base_ms = StartMs(ChunkKey::From(key).bucket);
  return family == kChunks ? DecodePoints(base_ms, value).ok() : DecodeBins(base_ms, value).ok();
}

// A row without the entries that a log replayed twice has doubled.
std::string Once(std::string_view key, std::string_view row) {
  std::string once;
  std::set<std::pair<int32_t, SignalKind>> seen;
  ForEachEntry(RowKey::From(key), row, [&](const Sample& s) {
    if (seen.insert({s.account, s.signal}).second) PutEntry(s, once);
  });
  return once;
}

// Writes into the new folder in batches.
class Copy {
 public:
  explicit Copy(Database& to) : to_(to) {}
  absl::Status Put(Family family, std::string_view key, std::string_view value) {
    const auto slice = [](std::string_view text) {
      return rocksdb::Slice(text.data(), text.size());
    };
    batch_.Put(to_.family(family), slice(key), slice(value));
    return batch_.GetDataSize() < kBatchBytes ? absl::OkStatus() : Flush();
  }
  absl::Status Flush() {
    absl::Status status = to_.Write(batch_, "writing what could be read");
    batch_.Clear();
    return status;
  }

 private:
  Database& to_;
  rocksdb::WriteBatch batch_;
};

absl::Status CopyBuckets(const Database& from, Family family, const Snapshot& snapshot,
                         Damage& damage, Copy& copy) {
  for (const uint32_t bucket : BucketsOf(from, family, snapshot, 0, damage)) {
    for (Cursor cursor(from, family, snapshot, bucket, KeyBytes(family), damage); cursor.valid();
         cursor.Next()) {
      if (!IsGood(family, cursor.key(), cursor.value())) {
        damage.Add(family, cursor.key(), "its bytes are wrong");
        continue;
      }
      absl::Status status = family == kRecent
                                ? copy.Put(family, cursor.key(), Once(cursor.key(), cursor.value()))
                                : copy.Put(family, cursor.key(), cursor.value());
      if (!status.ok()) return status;
    }
  }
  return absl::OkStatus();
}

// The index of an account is its place: one that is lost leaves a stand-in.
absl::StatusOr<int64_t> CopyAccounts(const Database& from, const Snapshot& snapshot, Damage& damage,
                                     Copy& copy) {
  using nlohmann::json;
  uint32_t next = 0;
  int64_t lost_count = 0;
  absl::Status status;
  ForEach(from, kAccounts, snapshot, damage, [&](std::string_view key, std::string_view value) {
    const json account = json::parse(value, nullptr, /*allow_exceptions=*/false);
    if (key.size() != sizeof(next) || !account.is_object() || !account.contains("cell")) {
      damage.Add(kAccounts, key, "it is no account");
      return;
    }
    for (const auto index = GetBigEndian<uint32_t>(key.data()); status.ok() && next < index;
         ++next) {
      ++lost_count;
      const json lost = {{"id", fmt::format("lost-{}", next)},
                         {"cell", account["cell"]},
                         {"application", ""},
                         {"priority", 0},
                         {"pinned", true}};
      status = copy.Put(kAccounts, KeyOf(next), lost.dump());
    }
    if (status.ok()) status = copy.Put(kAccounts, key, value);
    ++next;
  });
  if (!status.ok()) return status;
  return lost_count;
}

absl::StatusOr<int64_t> CopyAll(const Database& from, Database& to, Damage& damage) {
  const Snapshot snapshot(from.db());
  Copy copy(to);
  int64_t lost_accounts_count = 0;
  for (size_t f = kRecent; f < kFamilies; ++f) {
    const auto family = static_cast<Family>(f);
    absl::Status status;
    if (IsOfBuckets(family)) {
      status = CopyBuckets(from, family, snapshot, damage, copy);
    } else if (family == kAccounts) {
      const auto lost = CopyAccounts(from, snapshot, damage, copy);
      status = lost.status();
      if (lost.ok()) lost_accounts_count = *lost;
    } else {
      ForEach(from, family, snapshot, damage, [&](std::string_view key, std::string_view value) {
        if (status.ok()) status = copy.Put(family, key, value);
      });
    }
    if (!status.ok()) return status;
  }
  if (absl::Status status = copy.Flush(); !status.ok()) return status;
  return lost_accounts_count;
}

// Opens the folder; when its catalogue is damaged, makes a new one from the files that are there.
absl::StatusOr<std::unique_ptr<Database>> OpenDamaged(const std::string& folder, Damage& damage) {
  auto database = Database::Open(folder, Database::Access::kWrite);
  if (database.ok() || !absl::IsDataLoss(database.status())) return database;
  damage.Add(kDefault, "", std::string(database.status().message()));
  const rocksdb::Status repaired =
      rocksdb::RepairDB(folder, DatabaseOptions(), FamilyDescriptors(std::make_shared<KeptFrom>()));
  if (!repaired.ok()) return ToStatus(repaired, fmt::format("repairing {}", folder));
  return Database::Open(folder, Database::Access::kWrite);
}

absl::StatusOr<std::string> FreeName(const std::string& folder, const std::string& suffix) {
  for (int i = 1; i < 1'000; ++i) {
    const std::string name =
        fmt::format("{}.{}{}", folder, suffix, i == 1 ? "" : std::to_string(i));
    std::error_code error;
    if (!fs::exists(name, error)) return name;
  }
  return absl::FailedPreconditionError(
      fmt::format("{}.{}...: a thousand of them are there already", folder, suffix));
}

// What others keep in the data folder.
absl::Status CopyOthers(const std::string& from, const std::string& to) {
  for (const auto& entry : fs::directory_iterator(from)) {
    const std::string name = entry.path().filename().string();
    const bool is_ours =
        name == "CURRENT" || name == "IDENTITY" || name == "LOCK" || name == "lost" ||
        name.starts_with("LOG") || name.starts_with("MANIFEST-") || name.starts_with("OPTIONS-") ||
        name.ends_with(".sst") || name.ends_with(".log") || name.ends_with(".dbtmp");
    if (is_ours) continue;
    std::error_code error;
    fs::copy(entry.path(), fs::path(to) / name, fs::copy_options::recursive, error);
    if (error) {
      return absl::FailedPreconditionError(
          fmt::format("{} cannot be copied: {}", entry.path().string(), error.message()));
    }
  }
  return absl::OkStatus();
}

absl::Status Rename(const std::string& from, const std::string& to) {
  std::error_code error;
  fs::rename(from, to, error);
  if (!error) return absl::OkStatus();
  return absl::FailedPreconditionError(
      fmt::format("{} cannot be renamed to {}: {}", from, to, error.message()));
}

}  // namespace

absl::StatusOr<Repaired> RepairFolder(const std::string& given) {
  std::string folder = given;
  while (folder.size() > 1 && folder.back() == '/') folder.pop_back();
  std::error_code error;
  if (!fs::exists(folder + "/CURRENT", error) && !fs::exists(folder + "/LOCK", error)) {
    return absl::NotFoundError(fmt::format("{}: is no data folder", folder));
  }
  const auto fresh_folder = FreeName(folder, "repaired");
  if (!fresh_folder.ok()) return fresh_folder.status();
  const auto damaged_folder = FreeName(folder, "damaged");
  if (!damaged_folder.ok()) return damaged_folder.status();
  Damage damage;
  Repaired repaired{*damaged_folder, 0, {}, absl::OkStatus()};
  {
    const auto from = OpenDamaged(folder, damage);
    if (!from.ok()) return from.status();
    const auto to = Database::Open(*fresh_folder, Database::Access::kWrite);
    if (!to.ok()) return to.status();
    const auto lost = CopyAll(**from, **to, damage);
    if (!lost.ok()) return lost.status();
    repaired.lost_accounts_count = *lost;
  }
  if (absl::Status status = CopyOthers(folder, *fresh_folder); !status.ok()) return status;
  if (absl::Status status = Rename(folder, *damaged_folder); !status.ok()) return status;
  if (absl::Status status = Rename(*fresh_folder, folder); !status.ok()) return status;
  auto survey = SurveyFolder(folder);
  if (!survey.ok()) return survey.status();
  repaired.survey = *std::move(survey);
  repaired.damage = damage.status();
  return repaired;
}

}  // namespace foreshadow::history
