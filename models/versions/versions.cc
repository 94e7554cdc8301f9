#include "models/versions/versions.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/file.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <cerrno>
#include <charconv>
#include <cstring>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "models/file/safetensors.h"

namespace foreshadow::models {
namespace {

namespace fs = std::filesystem;
using nlohmann::ordered_json;

constexpr std::array kFiles = {"card.json", "weights.safetensors"};
constexpr int64_t kCurrentBytesMax = 64 << 10;
constexpr int64_t kHistoryBytesMax = 64 << 20;  // a hundred thousand changes
constexpr size_t kWordsBytesMax = 4 << 10;      // of who and of why

std::string HistoryFile(const std::string& folder) { return folder + "/history.jsonl"; }
std::string VersionsFolder(const std::string& folder) { return folder + "/versions"; }

absl::Status SystemError(const std::string& path, const char* what, int code) {
  return absl::UnavailableError(fmt::format("{}: cannot {}: {}", path, what, strerror(code)));
}

class File {
 public:
  File(const std::string& path, int flags) : fd_(::open(path.c_str(), flags | O_CLOEXEC, 0644)) {}
  ~File() {
    if (fd_ >= 0) ::close(fd_);  // which gives up a lock, too
  }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int fd() const { return fd_; }

 private:
  int fd_;
};

// A rename is durable once its folder is.
absl::Status Sync(const std::string& path) {
  const File file(path, O_RDONLY);
  if (file.fd() < 0 || ::fsync(file.fd()) != 0) return SystemError(path, "sync", errno);
  return absl::OkStatus();
}

absl::Status Lock(const File& file, const std::string& path) {
  if (file.fd() < 0) return SystemError(path, "create", errno);
  while (::flock(file.fd(), LOCK_EX) != 0) {
    if (errno != EINTR) return SystemError(path, "lock", errno);
  }
  return absl::OkStatus();
}

absl::Status MakeFolder(const std::string& path) {
  std::error_code error;
  fs::create_directories(path, error);
  return error ? SystemError(path, "make the folder", error.value()) : absl::OkStatus();
}

ordered_json NumberOrNull(int version) {
  return version == kNoVersion ? ordered_json() : ordered_json(version);
}

ordered_json ToJson(const Change& change) {
  return {{"number", change.number},   {"action", change.action}, {"version", change.version},
          {"time_ms", change.time_ms}, {"who", change.who},       {"why", change.why}};
}

// A line of JSON whatever bytes the words hold.
std::string Line(const ordered_json& json) {
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace) + "\n";
}

bool ReadNumber(const ordered_json& json, const char* field, int64_t least, int64_t most,
                int64_t& to) {
  if (!json.contains(field) || !json[field].is_number_integer()) return false;
  to = json[field].get<int64_t>();
  return to >= least && to <= most;
}

bool ReadVersion(const ordered_json& json, const char* field, int& to) {
  if (json.contains(field) && json[field].is_null()) return true;
  int64_t number = 0;
  if (!ReadNumber(json, field, 0, kVersionMax, number)) return false;
  to = static_cast<int>(number);
  return true;
}

bool ReadWords(const ordered_json& json, const char* field, std::string& to) {
  if (!json.contains(field) || !json[field].is_string()) return false;
  to = json[field].get<std::string>();
  return true;
}

// nullptr, or the field that is not as it should be.
const char* ReadChange(const ordered_json& json, Change& change) {
  if (!json.is_object()) return "change";
  if (!ReadNumber(json, "number", 0, INT64_MAX, change.number)) return "number";
  if (!ReadNumber(json, "time_ms", 0, INT64_MAX, change.time_ms)) return "time_ms";
  if (!ReadWords(json, "action", change.action)) return "action";
  if (!ReadWords(json, "who", change.who)) return "who";
  if (!ReadWords(json, "why", change.why)) return "why";
  return ReadVersion(json, "version", change.version) ? nullptr : "version";
}

const char* ReadCurrent(const ordered_json& json, Versions& versions) {
  int64_t newest = 0;
  if (!json.is_object()) return "the JSON object";
  if (!ReadVersion(json, "serving", versions.serving)) return "serving";
  if (!ReadVersion(json, "before", versions.before)) return "before";
  if (!ReadVersion(json, "candidate", versions.candidate)) return "candidate";
  if (!ReadNumber(json, "newest", 0, kVersionMax, newest)) return "newest";
  versions.newest = static_cast<int>(newest);
  return ReadChange(json.contains("change") ? json["change"] : ordered_json(), versions.last);
}

// Appends the line of a change in one write; after a crash that cut a line it begins a new one.
absl::Status AppendHistory(const std::string& folder, const Change& change) {
  const std::string path = HistoryFile(folder);
  const File file(path, O_RDWR | O_CREAT | O_APPEND);
  if (file.fd() < 0) return SystemError(path, "open", errno);
  char last = '\n';
  const off_t size = ::lseek(file.fd(), 0, SEEK_END);
  if (size > 0 && ::pread(file.fd(), &last, 1, size - 1) != 1) {
    return SystemError(path, "read", errno);
  }
  const std::string line = (last == '\n' ? "" : "\n") + Line(ToJson(change));
  errno = ENOSPC;  // what a short write means
  if (::write(file.fd(), line.data(), line.size()) != std::ssize(line) || ::fsync(file.fd()) != 0) {
    return SystemError(path, "append", errno);
  }
  return absl::OkStatus();
}

// A writer killed between `current` and its line in the history left the line to the next one.
absl::Status CompleteHistory(const std::string& folder, const Versions& versions) {
  if (versions.last.number == 0) return absl::OkStatus();
  const auto history = ReadHistory(folder);
  if (!history.ok()) return history.status();
  const bool there = !history->empty() && history->back().number >= versions.last.number;
  return there ? absl::OkStatus() : AppendHistory(folder, versions.last);
}

// The one way to change anything. `edit` is called under the lock, with all that it must not see
// half done completed, and says what to do; its error leaves everything as it was.
absl::Status Edit(const std::string& folder, const char* action, const Note& note,
                  const std::function<absl::StatusOr<int>(Versions&)>& edit) {
  if (note.who.size() > kWordsBytesMax || note.why.size() > kWordsBytesMax) {
    return absl::InvalidArgumentError(
        fmt::format("the reason has {} bytes: allowed are {}", note.why.size(), kWordsBytesMax));
  }
  const std::string lock_path = folder + "/lock";
  const File lock(lock_path, O_RDWR | O_CREAT);
  absl::Status status = Lock(lock, lock_path);
  if (!status.ok()) return status;
  auto versions = ReadVersions(folder);
  if (!versions.ok()) return versions.status();
  if (status = CompleteHistory(folder, *versions); !status.ok()) return status;
  const auto version = edit(*versions);
  if (!version.ok()) return version.status();
  versions->last = {versions->last.number + 1, action, *version, note.time_ms, note.who, note.why};
  const ordered_json json = {{"serving", NumberOrNull(versions->serving)},
                             {"before", NumberOrNull(versions->before)},
                             {"candidate", NumberOrNull(versions->candidate)},
                             {"newest", versions->newest},
                             {"change", ToJson(versions->last)}};
  if (status = ReplaceFile(CurrentFile(folder), Line(json)); !status.ok()) return status;
  if (status = Sync(folder); !status.ok()) return status;
  return AppendHistory(folder, versions->last);
}

bool IsThere(const std::string& folder, const Versions& versions, int version) {
  std::error_code error;
  return version >= 0 && version <= versions.newest &&
         fs::is_regular_file(VersionFolder(folder, version) + "/" + kFiles[0], error);
}

absl::Status CheckThere(const std::string& folder, const Versions& versions, int version) {
  if (IsThere(folder, versions, version)) return absl::OkStatus();
  std::string known;
  for (const int v : ListVersions(folder, versions)) {
    known += (known.empty() ? "" : ", ") + std::to_string(v);
  }
  return absl::NotFoundError(fmt::format("{}: no version {}: there {}", folder, version,
                                         known.empty() ? "is none" : "are " + known));
}

// Leaves the files of `from` in `to`, durable.
absl::Status CopyFiles(const std::string& from, const std::string& to) {
  for (const char* name : kFiles) {
    const auto bytes =
        ReadWholeFile(fmt::format("{}/{}", from, name), kWeightBytesMax + 2 * kHeaderBytesMax);
    if (!bytes.ok()) return bytes.status();
    const absl::Status status = ReplaceFile(fmt::format("{}/{}", to, name), *bytes);
    if (!status.ok()) return status;
  }
  return Sync(to);
}

}  // namespace

std::string VersionFolder(const std::string& folder, int version) {
  return version == kPlainVersion ? folder
                                  : fmt::format("{}/{:04}", VersionsFolder(folder), version);
}

std::string CurrentFile(const std::string& folder) { return folder + "/current"; }

std::string EvaluationFile(const std::string& folder, int version) {
  return VersionFolder(folder, version) + "/evaluation.json";
}

absl::StatusOr<Versions> ReadVersions(const std::string& folder) {
  Versions versions;
  const std::string path = CurrentFile(folder);
  const auto text = ReadWholeFile(path, kCurrentBytesMax);
  if (absl::IsNotFound(text.status())) {
    if (IsThere(folder, versions, kPlainVersion)) versions.serving = kPlainVersion;
    return versions;
  }
  if (!text.ok()) return text.status();
  const auto json = ordered_json::parse(*text, nullptr, /*allow_exceptions=*/false);
  if (const char* field = ReadCurrent(json, versions); field != nullptr) {
    return absl::DataLossError(fmt::format("{}: {} is missing or not what it should be: {}", path,
                                           field, text->substr(0, 200)));
  }
  return versions;
}

std::vector<int> ListVersions(const std::string& folder, const Versions& versions) {
  std::vector<int> numbers;
  if (IsThere(folder, versions, kPlainVersion)) numbers.push_back(kPlainVersion);
  std::error_code error;
  for (fs::directory_iterator it(VersionsFolder(folder), error), end; !error && it != end;
       it.increment(error)) {
    const std::string name = it->path().filename().string();
    int number = 0;
    std::from_chars(name.data(), name.data() + name.size(), number);
    const bool named = number > 0 && it->path().string() == VersionFolder(folder, number);
    if (named && IsThere(folder, versions, number)) numbers.push_back(number);
  }
  std::ranges::sort(numbers);
  return numbers;
}

absl::StatusOr<std::vector<Change>> ReadHistory(const std::string& folder) {
  std::vector<Change> changes;
  const auto text = ReadWholeFile(HistoryFile(folder), kHistoryBytesMax);
  if (absl::IsNotFound(text.status())) return changes;
  if (!text.ok()) return text.status();
  for (size_t begin = 0; begin < text->size();) {
    const size_t end = std::min(text->find('\n', begin), text->size());
    const auto json = ordered_json::parse(text->substr(begin, end - begin), nullptr, false);
    Change change;
    if (ReadChange(json, change) == nullptr) changes.push_back(std::move(change));
    begin = end + 1;
  }
  return changes;
}

absl::StatusOr<int> AddVersion(const std::string& folder, const std::string& from,
                               const std::function<absl::Status(const std::string&)>& check,
                               const Note& note) {
  const std::string versions_folder = VersionsFolder(folder);
  if (absl::Status made = MakeFolder(versions_folder); !made.ok()) return made;
  int added = kNoVersion;
  const absl::Status status = Edit(folder, "add", note, [&](Versions& v) -> absl::StatusOr<int> {
    const int number = v.newest + 1;
    if (number > kVersionMax) {
      return absl::OutOfRangeError(fmt::format("{}: no number is left", folder));
    }
    // What an add that was killed left: an unfinished copy, or a finished one that `current` never
    // knew.
    const std::string unfinished = versions_folder + "/new";
    const std::string finished = VersionFolder(folder, number);
    std::error_code error;
    fs::remove_all(unfinished, error);
    fs::remove_all(finished, error);
    if (absl::Status made = MakeFolder(unfinished); !made.ok()) return made;
    absl::Status copied = CopyFiles(from, unfinished);
    if (copied.ok()) copied = check(unfinished);
    if (!copied.ok()) {
      fs::remove_all(unfinished, error);
      return copied;
    }
    fs::rename(unfinished, finished, error);
    if (error) return SystemError(finished, "make", error.value());
    if (absl::Status synced = Sync(versions_folder); !synced.ok()) return synced;
    v.newest = v.candidate = added = number;
    return number;
  });
  if (!status.ok()) return status;
  return added;
}

absl::Status PromoteVersion(const std::string& folder, int version, int serving, const Note& note) {
  return Edit(folder, "promote", note, [&](Versions& v) -> absl::StatusOr<int> {
    if (absl::Status there = CheckThere(folder, v, version); !there.ok()) return there;
    if (v.serving == version) {
      return absl::FailedPreconditionError(fmt::format("version {} serves already", version));
    }
    if (v.serving != serving) {
      return absl::FailedPreconditionError(fmt::format(
          "version {} serves by now: look again before you promote {}", v.serving, version));
    }
    v.before = std::exchange(v.serving, version);
    if (v.candidate == version) v.candidate = kNoVersion;
    return version;
  });
}

absl::StatusOr<int> RollBack(const std::string& folder, const Note& note) {
  int back = kNoVersion;
  const absl::Status status =
      Edit(folder, "rollback", note, [&](Versions& v) -> absl::StatusOr<int> {
        if (v.before == kNoVersion) {
          return absl::FailedPreconditionError(
              fmt::format("{}: no version served before: there is nothing to go back to", folder));
        }
        if (absl::Status there = CheckThere(folder, v, v.before); !there.ok()) return there;
        std::swap(v.serving, v.before);
        if (v.candidate == v.serving) v.candidate = kNoVersion;
        return back = v.serving;
      });
  if (!status.ok()) return status;
  return back;
}

absl::Status RemoveVersion(const std::string& folder, int version, const Note& note) {
  const absl::Status status = Edit(folder, "remove", note, [&](Versions& v) -> absl::StatusOr<int> {
    if (absl::Status there = CheckThere(folder, v, version); !there.ok()) return there;
    if (version == v.serving || version == kPlainVersion) {
      return absl::FailedPreconditionError(
          fmt::format("version {} {}: it is not removed", version,
                      version == v.serving ? "serves" : "is the model that the folder came with"));
    }
    if (v.before == version) v.before = kNoVersion;
    if (v.candidate == version) v.candidate = kNoVersion;
    return version;
  });
  if (!status.ok()) return status;
  // Nothing names it any more. The card goes last: killed in here, it can be removed once more.
  std::error_code error;
  fs::remove(VersionFolder(folder, version) + "/" + kFiles[1], error);
  fs::remove_all(VersionFolder(folder, version), error);
  return error ? SystemError(VersionFolder(folder, version), "remove", error.value())
               : absl::OkStatus();
}

absl::Status WriteEvaluation(const std::string& folder, int version, const std::string& json) {
  const std::string lock_path = folder + "/lock";
  const File lock(lock_path, O_RDWR | O_CREAT);
  if (absl::Status status = Lock(lock, lock_path); !status.ok()) return status;
  const auto versions = ReadVersions(folder);
  if (!versions.ok()) return versions.status();
  if (absl::Status there = CheckThere(folder, *versions, version); !there.ok()) return there;
  return ReplaceFile(EvaluationFile(folder, version), json);
}

}  // namespace foreshadow::models
