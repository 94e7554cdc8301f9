#include "service/history/backup.h"

#include <fmt/core.h>
#include <rocksdb/utilities/backup_engine.h>

#include <algorithm>
#include <filesystem>
#include <memory>

#include "service/history/database.h"

namespace foreshadow::history {
namespace {

BackupInfo InfoOf(const rocksdb::BackupInfo& info) {
  return {info.backup_id, info.timestamp * 1'000, info.size, info.number_files};
}

absl::StatusOr<std::unique_ptr<rocksdb::BackupEngineReadOnly>> OpenBackups(
    const std::string& folder) {
  std::error_code error;
  if (!std::filesystem::is_directory(folder + "/meta", error)) {
    return absl::NotFoundError(fmt::format("{}: holds no backups", folder));
  }
  rocksdb::BackupEngineReadOnly* engine = nullptr;
  const rocksdb::Status status = rocksdb::BackupEngineReadOnly::Open(
      rocksdb::BackupEngineOptions(folder), rocksdb::Env::Default(), &engine);
  if (!status.ok()) return ToStatus(status, fmt::format("{}: backups cannot be read", folder));
  return std::unique_ptr<rocksdb::BackupEngineReadOnly>(engine);
}

std::vector<BackupInfo> InfosOf(const rocksdb::BackupEngineReadOnly& engine) {
  std::vector<rocksdb::BackupInfo> infos;
  engine.GetBackupInfo(&infos);
  std::vector<BackupInfo> list;
  list.reserve(infos.size());
  for (const rocksdb::BackupInfo& info : infos) list.push_back(InfoOf(info));
  return list;
}

}  // namespace

absl::StatusOr<BackupInfo> MakeBackup(Database& database, const std::string& folder, int kept) {
  std::error_code error;
  std::filesystem::create_directories(folder, error);
  if (error) {
    return absl::FailedPreconditionError(fmt::format(
        "history.backup_dir = \"{}\": the folder cannot be created: {}", folder, error.message()));
  }
  const std::string doing = fmt::format("backing up into {}", folder);
  rocksdb::BackupEngine* opened = nullptr;
  rocksdb::Status status = rocksdb::BackupEngine::Open(rocksdb::BackupEngineOptions(folder),
                                                       rocksdb::Env::Default(), &opened);
  if (!status.ok()) return ToStatus(status, doing);
  const std::unique_ptr<rocksdb::BackupEngine> engine(opened);
  rocksdb::BackupID id = 0;
  status = engine->CreateNewBackup({}, &database.db(), &id);
  if (status.ok()) status = engine->PurgeOldBackups(static_cast<uint32_t>(kept));
  if (!status.ok()) return ToStatus(status, doing);
  rocksdb::BackupInfo info;
  status = engine->GetBackupInfo(id, &info);
  if (!status.ok()) return ToStatus(status, doing);
  return InfoOf(info);
}

absl::StatusOr<std::vector<BackupInfo>> ListBackups(const std::string& folder) {
  const auto engine = OpenBackups(folder);
  if (!engine.ok()) return engine.status();
  return InfosOf(**engine);
}

absl::StatusOr<BackupInfo> RestoreBackup(const std::string& folder, uint32_t id,
                                         const std::string& to) {
  const auto engine = OpenBackups(folder);
  if (!engine.ok()) return engine.status();
  const std::vector<BackupInfo> infos = InfosOf(**engine);
  const auto info = id == 0 ? infos.end() - !infos.empty()
                            : std::find_if(infos.begin(), infos.end(),
                                           [&](const BackupInfo& b) { return b.id == id; });
  if (info == infos.end()) {
    return absl::NotFoundError(
        fmt::format("{}: there is no backup {}; `foreshadow history backups` lists them", folder,
                    id == 0 ? "" : std::to_string(id)));
  }
  std::error_code error;
  if (std::filesystem::exists(to, error) && !std::filesystem::is_empty(to, error)) {
    return absl::FailedPreconditionError(
        fmt::format("{}: is not empty; a backup is restored into a new folder", to));
  }
  const std::string doing = fmt::format("restoring backup {} of {}", info->id, folder);
  rocksdb::Status status = (*engine)->VerifyBackup(info->id, /*verify_with_checksum=*/true);
  if (status.ok()) status = (*engine)->RestoreDBFromBackup(info->id, to, to);
  if (!status.ok()) return ToStatus(status, doing);
  return *info;
}

}  // namespace foreshadow::history
