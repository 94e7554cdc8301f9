#include "service/history/database.h"

#include <fmt/core.h>
#include <rocksdb/compaction_filter.h>
#include <rocksdb/filter_policy.h>
#include <rocksdb/merge_operator.h>
#include <rocksdb/table.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cstdarg>
#include <cstdio>
#include <filesystem>
#include <thread>

#include "service/history/convert.h"
#include "service/history/keys.h"

namespace foreshadow::history {
namespace {

constexpr uint64_t kLogBytesMax = 256 << 20;  // what a start has to replay at most
constexpr size_t kBlockBytes = 64 << 10;      // chunks that are compressed together
constexpr int kReadAttempts = 5;
constexpr double kFilterBits = 10;  // a key: 1 % of the lookups in vain read a block

constexpr const char* kFamilyNames[kFamilies] = {"default",      "recent", "chunks",
                                                 "five_minutes", "hours",  "accounts",
                                                 "state",        "audit",  "commands"};

// Rows of recent samples are lists of entries; new ones are appended without reading the old.
class Append : public rocksdb::AssociativeMergeOperator {
 public:
  bool Merge(const rocksdb::Slice&, const rocksdb::Slice* existing, const rocksdb::Slice& value,
             std::string* merged, rocksdb::Logger*) const override {
    merged->clear();
    if (existing != nullptr) merged->assign(existing->data(), existing->size());
    merged->append(value.data(), value.size());
    return true;
  }
  const char* Name() const override { return "foreshadow.Append"; }
};

// Drops what is forgotten.
class Expiry : public rocksdb::CompactionFilter {
 public:
  explicit Expiry(uint32_t from) : from_(from) {}
  bool Filter(int, const rocksdb::Slice& key, const rocksdb::Slice&, std::string*,
              bool*) const override {
    return key.size() == ChunkKey::kBytes && ChunkKey::From(key.ToStringView()).bucket < from_;
  }
  const char* Name() const override { return "foreshadow.Expiry"; }

 private:
  const uint32_t from_;
};

class ExpiryFactory : public rocksdb::CompactionFilterFactory {
 public:
  ExpiryFactory(std::shared_ptr<KeptFrom> kept_from, Resolution resolution)
      : kept_from_(std::move(kept_from)), resolution_(resolution) {}
  std::unique_ptr<rocksdb::CompactionFilter> CreateCompactionFilter(
      const rocksdb::CompactionFilter::Context&) override {
    return std::make_unique<Expiry>((*kept_from_)[resolution_]);
  }
  const char* Name() const override { return "foreshadow.ExpiryFactory"; }

 private:
  std::shared_ptr<KeptFrom> kept_from_;
  const Resolution resolution_;
};

// Warnings and errors go to the server's log. The database's own log file would end the process on
// a full disk: in Debian's build its writer asserts that no write before has failed.
class ServerLog : public rocksdb::Logger {
 public:
  ServerLog() : rocksdb::Logger(rocksdb::InfoLogLevel::WARN_LEVEL) {}
  using rocksdb::Logger::Logv;
  void Logv(const char* format, va_list arguments) override {
    char text[1'024];
    std::vsnprintf(text, sizeof(text), format, arguments);
    std::string_view words = text;
    while (words.ends_with('\n')) words.remove_suffix(1);
    spdlog::warn("database: {}", words);
  }
};

rocksdb::ColumnFamilyOptions FamilyOptions(Family family,
                                           const std::shared_ptr<KeptFrom>& kept_from) {
  rocksdb::ColumnFamilyOptions options;
  options.compression = rocksdb::kZSTD;
  rocksdb::BlockBasedTableOptions table;
  table.filter_policy.reset(rocksdb::NewBloomFilterPolicy(kFilterBits));
  if (family == kRecent) options.merge_operator = std::make_shared<Append>();
  for (const Resolution r : {Resolution::kSamples, Resolution::kFiveMinutes, Resolution::kHour}) {
    if (family != PackedFamily(r)) continue;
    table.block_size = kBlockBytes;
    options.compaction_filter_factory = std::make_shared<ExpiryFactory>(kept_from, r);
  }
  options.table_factory.reset(rocksdb::NewBlockBasedTableFactory(table));
  return options;
}

absl::Status CheckFolder(const std::string& folder) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    return absl::PermissionDeniedError(fmt::format(
        "server.data_dir = \"{}\": the folder cannot be created: {}", folder, error.message()));
  }
  if (!std::filesystem::is_directory(folder, error)) {
    return absl::FailedPreconditionError(
        fmt::format("server.data_dir = \"{}\" is not a folder", folder));
  }
  return absl::OkStatus();
}

}  // namespace

const char* Name(Family family) { return kFamilyNames[family]; }

absl::Status ToStatus(const rocksdb::Status& status, const std::string& doing) {
  if (status.ok()) return absl::OkStatus();
  const std::string what = fmt::format("{}: {}", doing, status.ToString());
  if (status.IsCorruption()) return absl::DataLossError(what);
  if (status.IsNotFound()) return absl::NotFoundError(what);
  if (status.IsNoSpace()) return absl::ResourceExhaustedError(what + " (the disk is full)");
  if (status.ToString().find("lock") != std::string::npos) {
    return absl::UnavailableError(what + " (is another foreshadowd running on this folder?)");
  }
  return absl::FailedPreconditionError(what);
}

rocksdb::DBOptions DatabaseOptions() {
  rocksdb::DBOptions options;
  options.info_log_level = rocksdb::WARN_LEVEL;
  options.info_log = std::make_shared<ServerLog>();
  options.max_total_wal_size = kLogBytesMax;
  return options;
}

std::vector<rocksdb::ColumnFamilyDescriptor> FamilyDescriptors(
    const std::shared_ptr<KeptFrom>& kept_from) {
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (size_t f = 0; f < kFamilies; ++f) {
    descriptors.emplace_back(kFamilyNames[f], FamilyOptions(static_cast<Family>(f), kept_from));
  }
  return descriptors;
}

absl::StatusOr<std::unique_ptr<Database>> Database::Open(const std::string& folder, Access access) {
  if (access == Access::kWrite) {
    if (absl::Status status = CheckFolder(folder); !status.ok()) return status;
  }
  std::unique_ptr<Database> self(new Database);
  rocksdb::DBOptions options = DatabaseOptions();
  options.create_if_missing = access == Access::kWrite;
  options.create_missing_column_families = access == Access::kWrite;
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors = FamilyDescriptors(self->kept_from_);
  std::vector<std::string> there;
  // A new folder has none; what else is wrong shows below.
  (void)rocksdb::DB::ListColumnFamilies(options, folder, &there);
  const bool has_old = std::find(there.begin(), there.end(), kOldSamples) != there.end();
  if (has_old) descriptors.emplace_back(kOldSamples, OldSamplesOptions());
  rocksdb::DB* db = nullptr;
  const auto open = [&] {
    return access == Access::kWrite
               ? rocksdb::DB::Open(options, folder, descriptors, &self->families_, &db)
               : rocksdb::DB::OpenForReadOnly(options, folder, descriptors, &self->families_, &db);
  };
  rocksdb::Status opened = open();
  // A server beside a reader may just have put a file in place of others.
  for (int attempt = 1; !opened.ok() && access == Access::kRead && attempt < kReadAttempts;
       ++attempt) {
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
    opened = open();
  }
  if (!opened.ok()) {
    absl::Status status =
        ToStatus(opened, fmt::format("server.data_dir = \"{}\" cannot be opened", folder));
    if (!absl::IsDataLoss(status)) return status;
    return absl::DataLossError(fmt::format("{}; `foreshadow history repair {}` saves what it can",
                                           std::string(status.message()), folder));
  }
  self->db_.reset(db);
  if (absl::Status status = self->CheckFormat(folder, access); !status.ok()) return status;
  if (absl::Status status = self->ReadKeptFrom(); !status.ok()) return status;
  return self;
}

Database::~Database() {
  for (rocksdb::ColumnFamilyHandle* family : families_) db_->DestroyColumnFamilyHandle(family);
}

// Of the folder. An earlier format is converted; a new folder gets this one.
absl::Status Database::CheckFormat(const std::string& folder, Access access) {
  const auto format = Get(kState, kFormatKey, "reading the format");
  if (!format.ok() && !absl::IsNotFound(format.status())) return format.status();
  if (format.ok() && *format == kFormat) return absl::OkStatus();
  if (access == Access::kRead) {
    return absl::FailedPreconditionError(
        fmt::format("server.data_dir = \"{}\" has format {}, this version reads format {}: start "
                    "foreshadowd on it once, it converts format {}",
                    folder, format.ok() ? *format : "none", kFormat, kOldFormat));
  }
  if (format.ok() && *format != kOldFormat) {
    return absl::FailedPreconditionError(
        fmt::format("server.data_dir = \"{}\" has format {}, this version reads formats {} and {}",
                    folder, *format, kOldFormat, kFormat));
  }
  if (families_.size() > kFamilies) {
    if (absl::Status status = ConvertOldSamples(*this, families_[kFamilies]); !status.ok()) {
      return status;
    }
    db_->DropColumnFamily(families_[kFamilies]);
    db_->DestroyColumnFamilyHandle(families_[kFamilies]);
    families_.pop_back();
  }
  // A mark in a file of each family: a repair that has lost the catalogue knows the families by
  // their files, and reads of the log only what belongs to these.
  rocksdb::WriteBatch batch;
  for (rocksdb::ColumnFamilyHandle* family : families_) batch.Put(family, "", "");
  batch.Put(families_[kState], kFormatKey, kFormat);
  if (absl::Status status = Write(batch, "writing the format"); !status.ok()) return status;
  return ToStatus(db_->Flush({}, families_), "writing the format");
}

absl::Status Database::ReadKeptFrom() {
  const auto text = Get(kState, kKeptFromKey, "reading what is kept");
  if (absl::IsNotFound(text.status())) return absl::OkStatus();
  if (!text.ok()) return text.status();
  if (text->size() != KeptFrom::kResolutions * sizeof(uint32_t)) {
    return absl::DataLossError(fmt::format("\"{}\" has {} bytes", kKeptFromKey, text->size()));
  }
  for (size_t r = 0; r < KeptFrom::kResolutions; ++r) {
    kept_from_->Set(static_cast<Resolution>(r),
                    GetBigEndian<uint32_t>(text->data() + r * sizeof(uint32_t)));
  }
  return absl::OkStatus();
}

// After a failed write the database refuses all others until it is told to go on. After a full disk
// it goes on by itself once there is room for what it holds in memory; until then it is busy with
// that, and a write says why it failed.
absl::Status Database::LeaveFailure() {
  if (!failed_) return absl::OkStatus();
  const rocksdb::Status resumed = db_->Resume();
  if (resumed.IsBusy()) return absl::OkStatus();
  if (!resumed.ok()) return ToStatus(resumed, "writing is not possible");
  failed_ = false;
  return absl::OkStatus();
}

absl::Status Database::Write(rocksdb::WriteBatch& batch, const std::string& doing) {
  if (absl::Status status = LeaveFailure(); !status.ok()) return status;
  rocksdb::WriteOptions durable;
  durable.sync = true;
  const rocksdb::Status written = db_->Write(durable, &batch);
  if (!written.ok()) failed_ = true;
  return ToStatus(written, doing);
}

absl::StatusOr<uint64_t> Database::Append(rocksdb::WriteBatch& batch, const std::string& doing) {
  if (absl::Status status = LeaveFailure(); !status.ok()) return status;
  const rocksdb::Status written = db_->Write({}, &batch);
  if (!written.ok()) {
    failed_ = true;
    return ToStatus(written, doing);
  }
  return ++appended_;
}

absl::Status Database::WaitDurable(uint64_t number) {
  const std::lock_guard lock(sync_mutex_);
  if (durable_ >= number) return absl::OkStatus();
  const uint64_t all = appended_;
  const rocksdb::Status synced = db_->SyncWAL();
  if (!synced.ok()) {
    failed_ = true;
    return ToStatus(synced, "waiting for the disk");
  }
  durable_ = all;
  return absl::OkStatus();
}

absl::StatusOr<std::string> Database::Get(Family family, const std::string& key,
                                          const std::string& doing) const {
  std::string value;
  const rocksdb::Status status = db_->Get({}, families_[family], key, &value);
  if (!status.ok()) return ToStatus(status, doing);
  return value;
}

}  // namespace foreshadow::history
