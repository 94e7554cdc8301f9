// The history in RocksDB.
#include <fmt/core.h>
#include <rocksdb/db.h>

#include <algorithm>
#include <mutex>
#include <nlohmann/json.hpp>

#include "service/history/backup.h"
#include "service/history/database.h"
#include "service/history/keys.h"
#include "service/history/sample_table.h"
#include "service/history/store.h"

namespace foreshadow {
namespace {

using history::Database;
using history::GetBigEndian;
using history::kAccounts;
using history::kAudit;
using history::kCommands;
using history::KeyOf;
using history::kState;
using history::SampleTable;
using history::ToStatus;
using nlohmann::json;

constexpr const char* kDecisionsKey = "decisions";
constexpr const char* kCommandNames[] = {"pause",     "resume", "approve", "failed-over",
                                         "recovered", "reject", "set"};  // by Command::Kind

json ToJson(const Account& a, const std::vector<Cell>& cells) {
  return {{"id", a.id},
          {"cell", cells[a.cell].id},
          {"application", a.application},
          {"priority", a.priority},
          {"pinned", a.pinned},
          {"stateful", a.stateful}};
}

class RocksStore : public HistoryStore {
 public:
  RocksStore(std::unique_ptr<Database> database, std::unique_ptr<SampleTable> samples)
      : database_(std::move(database)), samples_(std::move(samples)) {}

  absl::StatusOr<Written> WriteSamples(const std::vector<Sample>& samples) override {
    return samples_->WriteSamples(samples);
  }
  absl::Status ReadSamples(
      int64_t from_ms,
      const std::function<void(const std::vector<Sample>&)>& visit) const override {
    return samples_->ReadSamples(from_ms, visit);
  }
  absl::StatusOr<std::vector<Bin>> ReadSeries(int32_t account, SignalKind signal, int64_t from_ms,
                                              int64_t to_ms, Resolution resolution) const override {
    return samples_->ReadSeries(account, signal, from_ms, to_ms, resolution);
  }
  absl::Status Maintain(int64_t now_ms, const Retention& retention,
                        const std::atomic<bool>& stop) override {
    return samples_->Maintain(now_ms, retention, stop);
  }

  absl::StatusOr<BackupInfo> Backup(const std::string& folder, int kept) override {
    const std::lock_guard one_at_a_time(backup_mutex_);
    return history::MakeBackup(*database_, folder, kept);
  }

  absl::Status WriteAccounts(const std::vector<std::pair<int32_t, Account>>& accounts,
                             const std::vector<Cell>& cells) override;
  absl::StatusOr<std::vector<Account>> ReadAccounts(const std::vector<Cell>& cells) const override;
  absl::Status WriteDecisions(const std::string& decisions,
                              const std::vector<std::pair<uint64_t, std::string>>& audit,
                              uint64_t commands_taken) override;
  absl::StatusOr<std::string> ReadDecisions() const override;
  absl::StatusOr<std::string> ReadAudit(uint64_t action_id) const override;
  absl::Status WriteCarried(const std::string& model, const std::string& bytes) override;
  absl::StatusOr<std::string> ReadCarried(const std::string& model) const override;
  absl::Status WriteCommand(uint64_t number, const Command& command) override;
  absl::StatusOr<std::vector<std::pair<uint64_t, Command>>> ReadCommands() const override;

 private:
  std::unique_ptr<Database> database_;
  std::unique_ptr<SampleTable> samples_;
  std::mutex backup_mutex_;
};

absl::Status RocksStore::WriteAccounts(const std::vector<std::pair<int32_t, Account>>& accounts,
                                       const std::vector<Cell>& cells) {
  rocksdb::WriteBatch batch;
  for (const auto& [index, account] : accounts) {
    batch.Put(database_->family(kAccounts), KeyOf(static_cast<uint32_t>(index)),
              ToJson(account, cells).dump());
  }
  return database_->Write(batch, "writing accounts");
}

absl::StatusOr<std::vector<Account>> RocksStore::ReadAccounts(
    const std::vector<Cell>& cells) const {
  std::vector<Account> accounts;
  std::unique_ptr<rocksdb::Iterator> it(
      database_->db().NewIterator({}, database_->family(kAccounts)));
  for (it->Seek(KeyOf(uint32_t{0})); it->Valid(); it->Next()) {
    if (it->key() != KeyOf(static_cast<uint32_t>(accounts.size()))) {
      return absl::DataLossError(fmt::format(
          "account number {} is missing: `foreshadow history repair` puts a stand-in in "
          "its place",
          accounts.size()));
    }
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
      account.stateful = j.value("stateful", false);  // older records do not know it
      accounts.push_back(std::move(account));
    } catch (const json::exception& error) {
      return absl::DataLossError(
          fmt::format("account number {} cannot be read: {}", accounts.size(), error.what()));
    }
  }
  if (absl::Status status = ToStatus(it->status(), "reading accounts"); !status.ok()) return status;
  return accounts;
}

absl::Status RocksStore::WriteDecisions(const std::string& decisions,
                                        const std::vector<std::pair<uint64_t, std::string>>& audit,
                                        uint64_t commands_taken) {
  rocksdb::WriteBatch batch;
  if (commands_taken > 0) {
    batch.DeleteRange(database_->family(kCommands), KeyOf(uint64_t{0}), KeyOf(commands_taken + 1));
  }
  batch.Put(database_->family(kState), kDecisionsKey, decisions);
  for (const auto& [id, record] : audit) batch.Put(database_->family(kAudit), KeyOf(id), record);
  return database_->Write(batch, "writing decisions");
}

absl::StatusOr<std::string> RocksStore::ReadDecisions() const {
  std::string value;
  const auto status = database_->db().Get({}, database_->family(kState), kDecisionsKey, &value);
  if (!status.ok()) return ToStatus(status, "reading decisions");
  return value;
}

// In pieces that the database can move about.
absl::Status RocksStore::WriteCarried(const std::string& model, const std::string& bytes) {
  constexpr size_t kPieceBytes = 4 << 20;
  const std::string prefix = "carried/" + model + "/";
  rocksdb::WriteBatch batch;
  batch.DeleteRange(database_->family(kState), prefix, prefix + std::string(4, '\xff'));
  for (size_t at = 0; at < bytes.size(); at += kPieceBytes) {
    batch.Put(database_->family(kState), prefix + KeyOf(static_cast<uint32_t>(at / kPieceBytes)),
              rocksdb::Slice(bytes.data() + at, std::min(kPieceBytes, bytes.size() - at)));
  }
  return database_->Write(batch, fmt::format("writing what {} carries", model));
}

absl::StatusOr<std::string> RocksStore::ReadCarried(const std::string& model) const {
  const std::string prefix = "carried/" + model + "/";
  std::unique_ptr<rocksdb::Iterator> it(database_->db().NewIterator({}, database_->family(kState)));
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

absl::StatusOr<std::string> RocksStore::ReadAudit(uint64_t action_id) const {
  std::string value;
  const auto status = database_->db().Get({}, database_->family(kAudit), KeyOf(action_id), &value);
  if (!status.ok()) return ToStatus(status, fmt::format("action {}", action_id));
  return value;
}

absl::Status RocksStore::WriteCommand(uint64_t number, const Command& command) {
  rocksdb::WriteBatch batch;
  const json record = {{"kind", kCommandNames[static_cast<size_t>(command.kind)]},
                       {"action_id", command.action_id},
                       {"account", command.account},
                       {"reason", command.reason},
                       {"key", command.key},
                       {"value", command.value}};
  batch.Put(database_->family(kCommands), KeyOf(number), record.dump());
  return database_->Write(batch, "writing a command");
}

absl::StatusOr<std::vector<std::pair<uint64_t, Command>>> RocksStore::ReadCommands() const {
  std::vector<std::pair<uint64_t, Command>> commands;
  std::unique_ptr<rocksdb::Iterator> it(
      database_->db().NewIterator({}, database_->family(kCommands)));
  for (it->Seek(KeyOf(uint64_t{0})); it->Valid(); it->Next()) {
    const json record =
        json::parse(it->value().ToStringView(), nullptr, /*allow_exceptions=*/false);
    const std::string kind = record.is_object() ? record.value("kind", "") : "";
    const auto name = std::find(std::begin(kCommandNames), std::end(kCommandNames), kind);
    if (it->key().size() != sizeof(uint64_t) || name == std::end(kCommandNames)) {
      return absl::DataLossError(
          fmt::format("a waiting command cannot be read: {}", it->value().ToString()));
    }
    commands.emplace_back(
        GetBigEndian<uint64_t>(it->key().data()),
        Command{static_cast<Command::Kind>(name - std::begin(kCommandNames)),
                record.value("action_id", uint64_t{0}), record.value("account", ""),
                record.value("reason", ""), record.value("key", ""), record.value("value", "")});
  }
  if (absl::Status status = ToStatus(it->status(), "reading commands"); !status.ok()) return status;
  return commands;
}

}  // namespace

absl::StatusOr<std::unique_ptr<HistoryStore>> HistoryStore::Open(const std::string& folder) {
  auto database = Database::Open(folder, Database::Access::kWrite);
  if (!database.ok()) return database.status();
  auto samples = SampleTable::Create(**database);
  if (!samples.ok()) return samples.status();
  return std::make_unique<RocksStore>(*std::move(database), *std::move(samples));
}

}  // namespace foreshadow
