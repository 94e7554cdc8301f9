#include "service/history/store.h"

#include <fmt/core.h>
#include <rocksdb/db.h>
#include <rocksdb/merge_operator.h>
#include <rocksdb/table.h>

#include <algorithm>
#include <cstring>
#include <filesystem>
#include <map>
#include <mutex>
#include <nlohmann/json.hpp>
#include <unordered_map>

#include "kernels/check.h"

namespace foreshadow {
namespace {

using nlohmann::json;

constexpr uint32_t kBlockAccounts = 1'024;  // accounts that share a key: one key a signal and time
constexpr size_t kEntryBytes = 6;           // offset in the block (2), value (4)
constexpr size_t kKeyBytes = 8 + 1 + 4;     // time, signal, block
constexpr const char* kDecisionsKey = "decisions";
constexpr const char* kFormatKey = "format";
constexpr const char* kFormat = "1";

enum Family : size_t { kDefault, kSamples, kAccounts, kState, kAudit, kCommands, kFamilies };
constexpr const char* kFamilyNames[kFamilies] = {"default", "samples", "accounts",
                                                 "state",   "audit",   "commands"};

constexpr const char* kCommandNames[] = {"pause", "resume", "approve"};  // by Command::Kind

// Values of the samples are lists of entries; new ones are appended without reading the old.
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

template <typename Int>
void PutBigEndian(Int value, std::string& out) {
  for (int shift = 8 * (sizeof(Int) - 1); shift >= 0; shift -= 8) {
    out.push_back(static_cast<char>((value >> shift) & 0xff));
  }
}

template <typename Int>
Int GetBigEndian(const char* from) {
  uint64_t value = 0;
  for (size_t i = 0; i < sizeof(Int); ++i) value = value << 8 | static_cast<uint8_t>(from[i]);
  return static_cast<Int>(value);
}

template <typename Int>
std::string KeyOf(Int value) {
  std::string key;
  PutBigEndian(value, key);
  return key;
}

std::string SampleKey(const Sample& s) {
  std::string key;
  PutBigEndian(static_cast<uint64_t>(s.time_ms), key);
  PutBigEndian(static_cast<uint8_t>(s.signal), key);
  PutBigEndian(static_cast<uint32_t>(s.account) / kBlockAccounts, key);
  return key;
}

void PutEntry(uint16_t offset, float value, std::string& out) {
  PutBigEndian(offset, out);
  uint32_t bits;
  std::memcpy(&bits, &value, sizeof(bits));
  PutBigEndian(bits, out);
}

float ValueAt(const char* entry) {
  const auto bits = GetBigEndian<uint32_t>(entry + 2);
  float value;
  std::memcpy(&value, &bits, sizeof(value));
  return value;
}

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

rocksdb::ColumnFamilyOptions FamilyOptions(size_t family) {
  rocksdb::ColumnFamilyOptions options;
  options.compression = rocksdb::kZSTD;
  if (family == kSamples) {
    options.merge_operator = std::make_shared<Append>();
    options.write_buffer_size = 64 << 20;
    options.compaction_style = rocksdb::kCompactionStyleLevel;
  }
  return options;
}

json ToJson(const Account& a, const std::vector<Cell>& cells) {
  return {{"id", a.id},
          {"cell", cells[a.cell].id},
          {"application", a.application},
          {"priority", a.priority},
          {"pinned", a.pinned}};
}

}  // namespace

struct HistoryStore::Impl {
  std::unique_ptr<rocksdb::DB> db;
  std::vector<rocksdb::ColumnFamilyHandle*> families;
  std::mutex samples_mutex;  // looking for duplicates and writing is one step

  ~Impl() {
    for (rocksdb::ColumnFamilyHandle* family : families) db->DestroyColumnFamilyHandle(family);
  }

  absl::Status Write(rocksdb::WriteBatch& batch, const std::string& doing) {
    rocksdb::WriteOptions durable;
    durable.sync = true;
    return ToStatus(db->Write(durable, &batch), doing);
  }
};

HistoryStore::HistoryStore(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
HistoryStore::~HistoryStore() = default;

absl::StatusOr<std::unique_ptr<HistoryStore>> HistoryStore::Open(const std::string& folder) {
  if (absl::Status status = CheckFolder(folder); !status.ok()) return status;
  rocksdb::DBOptions options;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.info_log_level = rocksdb::WARN_LEVEL;
  options.keep_log_file_num = 5;
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (size_t f = 0; f < kFamilies; ++f)
    descriptors.emplace_back(kFamilyNames[f], FamilyOptions(f));
  auto impl = std::make_unique<Impl>();
  rocksdb::DB* db = nullptr;
  const rocksdb::Status opened =
      rocksdb::DB::Open(options, folder, descriptors, &impl->families, &db);
  if (!opened.ok()) {
    return ToStatus(opened, fmt::format("server.data_dir = \"{}\" cannot be opened", folder));
  }
  impl->db.reset(db);
  std::string format;
  const auto read = db->Get({}, impl->families[kState], kFormatKey, &format);
  if (read.ok() && format != kFormat) {
    return absl::FailedPreconditionError(
        fmt::format("server.data_dir = \"{}\" has format {}, this version reads format {}", folder,
                    format, kFormat));
  }
  rocksdb::WriteBatch batch;
  batch.Put(impl->families[kState], kFormatKey, kFormat);
  if (absl::Status status = impl->Write(batch, "writing the format"); !status.ok()) return status;
  return std::unique_ptr<HistoryStore>(new HistoryStore(std::move(impl)));
}

absl::StatusOr<Written> HistoryStore::WriteSamples(const std::vector<Sample>& samples) {
  Written written;
  if (samples.empty()) return written;
  const std::lock_guard lock(impl_->samples_mutex);

  // What is held already under the keys of this batch.
  std::map<std::string, std::unordered_map<uint16_t, float>> held;
  for (const Sample& sample : samples) held.try_emplace(SampleKey(sample));
  std::vector<rocksdb::Slice> keys;
  for (const auto& [key, entries] : held) keys.emplace_back(key);
  std::vector<std::string> values;
  const std::vector<rocksdb::ColumnFamilyHandle*> families(keys.size(), impl_->families[kSamples]);
  const auto statuses = impl_->db->MultiGet({}, families, keys, &values);
  size_t i = 0;
  for (auto& [key, entries] : held) {
    if (!statuses[i].ok() && !statuses[i].IsNotFound()) {
      return ToStatus(statuses[i], "reading samples");
    }
    for (size_t at = 0; statuses[i].ok() && at + kEntryBytes <= values[i].size();
         at += kEntryBytes) {
      entries.emplace(GetBigEndian<uint16_t>(values[i].data() + at),
                      ValueAt(values[i].data() + at));
    }
    ++i;
  }

  std::map<std::string, std::string> appended;
  for (const Sample& sample : samples) {
    const std::string key = SampleKey(sample);
    const auto offset =
        static_cast<uint16_t>(static_cast<uint32_t>(sample.account) % kBlockAccounts);
    const auto [entry, is_new] = held[key].emplace(offset, sample.value);
    if (is_new) {
      PutEntry(offset, sample.value, appended[key]);
      written.added.push_back(sample);
    } else if (entry->second == sample.value) {
      ++written.duplicate_count;
    } else {
      written.conflicts.push_back(sample);
    }
  }
  if (appended.empty()) return written;
  rocksdb::WriteBatch batch;
  for (const auto& [key, entries] : appended) {
    batch.Merge(impl_->families[kSamples], key, entries);
  }
  if (absl::Status status = impl_->Write(batch, "writing samples"); !status.ok()) return status;
  return written;
}

absl::Status HistoryStore::ReadSamples(
    int64_t from_ms, const std::function<void(const std::vector<Sample>&)>& visit) const {
  std::unique_ptr<rocksdb::Iterator> it(impl_->db->NewIterator({}, impl_->families[kSamples]));
  std::vector<Sample> piece;
  constexpr size_t kPieceSamples = 1 << 16;
  for (it->Seek(KeyOf(static_cast<uint64_t>(std::max<int64_t>(0, from_ms)))); it->Valid();
       it->Next()) {
    const rocksdb::Slice key = it->key();
    const rocksdb::Slice value = it->value();
    if (key.size() != kKeyBytes || value.size() % kEntryBytes != 0) {
      return absl::DataLossError("a block of samples has the wrong size");
    }
    Sample sample;
    sample.time_ms = static_cast<int64_t>(GetBigEndian<uint64_t>(key.data()));
    sample.signal = static_cast<SignalKind>(key[8]);
    const uint32_t first = GetBigEndian<uint32_t>(key.data() + 9) * kBlockAccounts;
    for (size_t at = 0; at < value.size(); at += kEntryBytes) {
      sample.account = static_cast<int32_t>(first + GetBigEndian<uint16_t>(value.data() + at));
      sample.value = ValueAt(value.data() + at);
      piece.push_back(sample);
    }
    if (piece.size() >= kPieceSamples) {
      visit(piece);
      piece.clear();
    }
  }
  if (!piece.empty()) visit(piece);
  return ToStatus(it->status(), "reading samples");
}

int64_t HistoryStore::NewestSampleMs() const {
  std::unique_ptr<rocksdb::Iterator> it(impl_->db->NewIterator({}, impl_->families[kSamples]));
  it->SeekToLast();
  return it->Valid() && it->key().size() == kKeyBytes
             ? static_cast<int64_t>(GetBigEndian<uint64_t>(it->key().data()))
             : 0;
}

absl::Status HistoryStore::ForgetSamplesBefore(int64_t time_ms) {
  if (time_ms <= 0) return absl::OkStatus();
  rocksdb::WriteBatch batch;
  batch.DeleteRange(impl_->families[kSamples], KeyOf(uint64_t{0}),
                    KeyOf(static_cast<uint64_t>(time_ms)));
  return impl_->Write(batch, "forgetting old samples");
}

absl::Status HistoryStore::WriteAccounts(const std::vector<std::pair<int32_t, Account>>& accounts,
                                         const std::vector<Cell>& cells) {
  rocksdb::WriteBatch batch;
  for (const auto& [index, account] : accounts) {
    batch.Put(impl_->families[kAccounts], KeyOf(static_cast<uint32_t>(index)),
              ToJson(account, cells).dump());
  }
  return impl_->Write(batch, "writing accounts");
}

absl::StatusOr<std::vector<Account>> HistoryStore::ReadAccounts(
    const std::vector<Cell>& cells) const {
  std::vector<Account> accounts;
  std::unique_ptr<rocksdb::Iterator> it(impl_->db->NewIterator({}, impl_->families[kAccounts]));
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    try {
      const json j = json::parse(it->value().ToStringView());
      Account account;
      j.at("id").get_to(account.id);
      const auto cell = j.at("cell").get<std::string>();
      const auto found =
          std::find_if(cells.begin(), cells.end(), [&](const Cell& c) { return c.id == cell; });
      if (found == cells.end()) {
        return absl::FailedPreconditionError(
            fmt::format("account {} is in cell {}, which is not configured any more: configure "
                        "the cell, or move the account while it is",
                        account.id, cell));
      }
      account.cell = static_cast<int32_t>(found - cells.begin());
      j.at("application").get_to(account.application);
      j.at("priority").get_to(account.priority);
      j.at("pinned").get_to(account.pinned);
      accounts.push_back(std::move(account));
    } catch (const json::exception& error) {
      return absl::DataLossError(
          fmt::format("account number {} cannot be read: {}", accounts.size(), error.what()));
    }
  }
  if (absl::Status status = ToStatus(it->status(), "reading accounts"); !status.ok()) return status;
  return accounts;
}

absl::Status HistoryStore::WriteDecisions(
    const std::string& decisions, const std::vector<std::pair<uint64_t, std::string>>& audit,
    uint64_t commands_taken) {
  rocksdb::WriteBatch batch;
  if (commands_taken > 0) {
    batch.DeleteRange(impl_->families[kCommands], KeyOf(uint64_t{0}), KeyOf(commands_taken + 1));
  }
  batch.Put(impl_->families[kState], kDecisionsKey, decisions);
  for (const auto& [id, record] : audit) batch.Put(impl_->families[kAudit], KeyOf(id), record);
  return impl_->Write(batch, "writing decisions");
}

absl::StatusOr<std::string> HistoryStore::ReadDecisions() const {
  std::string value;
  const auto status = impl_->db->Get({}, impl_->families[kState], kDecisionsKey, &value);
  if (!status.ok()) return ToStatus(status, "reading decisions");
  return value;
}

// In pieces that the database can move about.
absl::Status HistoryStore::WriteCarried(const std::string& model, const std::string& bytes) {
  constexpr size_t kPieceBytes = 4 << 20;
  const std::string prefix = "carried/" + model + "/";
  rocksdb::WriteBatch batch;
  batch.DeleteRange(impl_->families[kState], prefix, prefix + std::string(4, '\xff'));
  for (size_t at = 0; at < bytes.size(); at += kPieceBytes) {
    batch.Put(impl_->families[kState], prefix + KeyOf(static_cast<uint32_t>(at / kPieceBytes)),
              rocksdb::Slice(bytes.data() + at, std::min(kPieceBytes, bytes.size() - at)));
  }
  return impl_->Write(batch, fmt::format("writing what {} carries", model));
}

absl::StatusOr<std::string> HistoryStore::ReadCarried(const std::string& model) const {
  const std::string prefix = "carried/" + model + "/";
  std::unique_ptr<rocksdb::Iterator> it(impl_->db->NewIterator({}, impl_->families[kState]));
  std::string bytes;
  for (it->Seek(prefix); it->Valid() && it->key().starts_with(prefix); it->Next()) {
    bytes.append(it->value().data(), it->value().size());
  }
  if (const auto status = it->status(); !status.ok()) {
    return ToStatus(status, fmt::format("reading what {} carries", model));
  }
  if (bytes.empty()) return absl::NotFoundError(fmt::format("{} carries nothing yet", model));
  return bytes;
}

absl::StatusOr<std::string> HistoryStore::ReadAudit(uint64_t action_id) const {
  std::string value;
  const auto status = impl_->db->Get({}, impl_->families[kAudit], KeyOf(action_id), &value);
  if (!status.ok()) return ToStatus(status, fmt::format("action {}", action_id));
  return value;
}

absl::Status HistoryStore::WriteCommand(uint64_t number, const Command& command) {
  rocksdb::WriteBatch batch;
  const json record = {{"kind", kCommandNames[static_cast<size_t>(command.kind)]},
                       {"action_id", command.action_id}};
  batch.Put(impl_->families[kCommands], KeyOf(number), record.dump());
  return impl_->Write(batch, "writing a command");
}

absl::StatusOr<std::vector<std::pair<uint64_t, Command>>> HistoryStore::ReadCommands() const {
  std::vector<std::pair<uint64_t, Command>> commands;
  std::unique_ptr<rocksdb::Iterator> it(impl_->db->NewIterator({}, impl_->families[kCommands]));
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    const json record =
        json::parse(it->value().ToStringView(), nullptr, /*allow_exceptions=*/false);
    const std::string kind = record.is_object() ? record.value("kind", "") : "";
    const auto name = std::find(std::begin(kCommandNames), std::end(kCommandNames), kind);
    if (it->key().size() != sizeof(uint64_t) || name == std::end(kCommandNames)) {
      return absl::DataLossError(
          fmt::format("a waiting command cannot be read: {}", it->value().ToString()));
    }
    commands.emplace_back(GetBigEndian<uint64_t>(it->key().data()),
                          Command{static_cast<Command::Kind>(name - std::begin(kCommandNames)),
                                  record.value("action_id", uint64_t{0})});
  }
  if (absl::Status status = ToStatus(it->status(), "reading commands"); !status.ok()) return status;
  return commands;
}

}  // namespace foreshadow
