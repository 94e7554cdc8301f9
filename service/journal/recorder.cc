#include "service/journal/recorder.h"

#include <fmt/core.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <filesystem>
#include <utility>

#include "absl/time/time.h"
#include "kernels/ops.h"

namespace foreshadow::journal {
namespace {

namespace fs = std::filesystem;

// Names sort as the runs follow each other.
std::string NameOf(int64_t started_ms) {
  return absl::FormatTime("%Y-%m-%dT%H-%M-%E3SZ", absl::FromUnixMillis(started_ms),
                          absl::UTCTimeZone()) +
         kSuffix;
}

int64_t BytesOf(const std::string& path) {
  std::error_code gone;
  const auto bytes = fs::file_size(path, gone);
  return gone ? 0 : static_cast<int64_t>(bytes);
}

}  // namespace

absl::StatusOr<std::vector<std::string>> ListJournals(const std::string& folder) {
  std::error_code error;
  std::vector<std::string> found;
  for (const auto& entry : fs::directory_iterator(folder, error)) {
    if (entry.path().extension() == kSuffix) found.push_back(entry.path().string());
  }
  if (error) {
    return absl::NotFoundError(fmt::format("folder {}: {}", folder, error.message()));
  }
  std::ranges::sort(found);
  return found;
}

Recorder::Recorder(std::unique_ptr<Writer> writer, std::string folder, int64_t bytes_max,
                   int64_t others)
    : writer_(std::move(writer)),
      folder_(std::move(folder)),
      bytes_max_(bytes_max),
      other_bytes_(others) {}

absl::StatusOr<std::unique_ptr<Recorder>> Recorder::Open(const Config& config, int64_t accounts,
                                                         std::string decisions, int64_t now_ms) {
  const auto cannot = [&](const std::string& why) {
    return absl::FailedPreconditionError(
        fmt::format("server.journal_dir = \"{}\": {}", config.journal_dir, why));
  };
  std::error_code error;
  fs::create_directories(config.journal_dir, error);
  if (error) return cannot(error.message());
  const auto before = ListJournals(config.journal_dir);
  if (!before.ok()) return cannot(std::string(before.status().message()));
  int64_t others = 0;
  for (const std::string& path : *before) others += BytesOf(path);

  Start start;
  start.program = FORESHADOW_VERSION;
  start.machine = kernels::CpuOps().name;
  start.started_ms = now_ms;
  start.config = ConfigToToml(config);
  start.accounts = accounts;
  start.decisions = std::move(decisions);
  start.split_policy = IdOf(config.settings.learn.learned.get());
  for (;; ++now_ms) {  // of two runs in one millisecond the second has the next one's name
    auto writer = Writer::Create(config.journal_dir + "/" + NameOf(now_ms), start);
    if (absl::IsAlreadyExists(writer.status())) continue;
    if (!writer.ok()) return cannot(std::string(writer.status().message()));
    std::unique_ptr<Recorder> recorder(
        new Recorder(*std::move(writer), config.journal_dir, config.journal_bytes_max, others));
    recorder->MakeRoom();
    return recorder;
  }
}

void Recorder::Begin(int64_t tick_ms, const Inbox& inbox, const ModelList& models,
                     const models::Forecaster* candidate) {
  if (writer_ == nullptr) return;
  std::optional<ModelId> beside;
  if (candidate != nullptr) beside = IdOf(*candidate);
  Check(writer_->Begin(tick_ms, inbox, IdsOf(models), std::move(beside)));
}

void Recorder::End(Decided decided) {
  if (writer_ == nullptr) return;
  Check(writer_->End(std::move(decided)));
  if (writer_ != nullptr) MakeRoom();
}

void Recorder::Check(const absl::Status& status) {
  if (status.ok()) return;
  alert_ = fmt::format("ticks are no longer recorded until the server starts anew: {}",
                       std::string(status.message()));
  writer_ = nullptr;
}

// Removes runs of earlier starts; this one cannot be replayed without its beginning.
void Recorder::MakeRoom() {
  if (writer_->bytes() + other_bytes_ <= bytes_max_) return;
  const auto journals = ListJournals(folder_);
  for (size_t i = 0; journals.ok() && i < journals->size(); ++i) {
    const std::string& oldest = (*journals)[i];
    if (writer_->bytes() + other_bytes_ <= bytes_max_) return;
    if (fs::path(oldest).filename() == fs::path(writer_->path()).filename()) continue;
    const int64_t bytes = BytesOf(oldest);
    std::error_code error;
    if (!fs::remove(oldest, error)) {
      Check(absl::UnavailableError(fmt::format("{}: {}", oldest, error.message())));
      return;
    }
    other_bytes_ -= bytes;
    spdlog::info("journal {} was the oldest and made room", oldest);
  }
  if (writer_->bytes() > bytes_max_) {
    Check(absl::ResourceExhaustedError(
        fmt::format("journal {} holds {} bytes, server.journal_bytes_max = {}", writer_->path(),
                    writer_->bytes(), bytes_max_)));
  }
}

}  // namespace foreshadow::journal
