#include "service/security/audit.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <unistd.h>

#include <cstring>
#include <nlohmann/json.hpp>

#include "absl/time/clock.h"
#include "absl/time/time.h"

namespace foreshadow::security {

absl::StatusOr<std::unique_ptr<Audit>> Audit::Open(const std::string& path) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0640);
  if (file < 0) {
    return absl::FailedPreconditionError(
        fmt::format("audit file {} cannot be opened: {}", path, std::strerror(errno)));
  }
  return std::unique_ptr<Audit>(new Audit(path, file));
}

Audit::~Audit() { close(file_); }

absl::Status Audit::Write(const Deed& deed) {
  nlohmann::ordered_json line = {
      {"time", absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::Now(), absl::UTCTimeZone())},
      {"identity", deed.identity},
      {"peer", deed.peer},
      {"method", deed.method},
      {"code", deed.code}};
  if (!deed.message.empty()) line["message"] = deed.message;
  if (!deed.request.empty()) {
    line["request"] = nlohmann::ordered_json::parse(deed.request, nullptr, false);
  }
  const std::string text =
      line.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace) + "\n";
  const std::lock_guard lock(mutex_);
  const ssize_t written = write(file_, text.data(), text.size());
  if (written == static_cast<ssize_t>(text.size()) && fdatasync(file_) == 0) {
    return absl::OkStatus();
  }
  return absl::DataLossError(
      fmt::format("audit file {} does not take a line: {}", path_, std::strerror(errno)));
}

}  // namespace foreshadow::security
