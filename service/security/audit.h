// What operators did, one JSON object a line in a file that only grows; a line is on disk when
// Write returns. Any thread.
#pragma once

#include <memory>
#include <mutex>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace foreshadow::security {

struct Deed {
  std::string identity;  // "" = nobody known: the server has no identities
  std::string peer;      // address
  std::string method;    // "foreshadow.v1.Plans/Pause"
  std::string request;   // as JSON; "" = not known
  std::string code;      // "OK", "PERMISSION_DENIED", ...
  std::string message;   // of an error
};

class Audit {
 public:
  // FAILED_PRECONDITION when the file cannot be opened for appending.
  static absl::StatusOr<std::unique_ptr<Audit>> Open(const std::string& path);
  ~Audit();

  // DATA_LOSS when the disk does not take it.
  absl::Status Write(const Deed& deed);

 private:
  Audit(std::string path, int file) : path_(std::move(path)), file_(file) {}
  const std::string path_;
  const int file_;
  std::mutex mutex_;
};

}  // namespace foreshadow::security
