// Writes a text file whole or not at all, gzipped if its name ends in .gz. A writer belongs to one
// thread.
#pragma once

#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace foreshadow::training {

class TextWriter {
 public:
  // Writes to `path`.part and gives it its name in Close. UNAVAILABLE, here and below, naming the
  // file when the system refuses.
  static absl::StatusOr<TextWriter> Create(const std::string& path);
  TextWriter(TextWriter&&) noexcept;
  TextWriter& operator=(TextWriter&&) noexcept;
  ~TextWriter();  // without Close: removes what was written

  absl::Status Write(std::string_view text);
  absl::Status Close();

 private:
  struct Impl;
  explicit TextWriter(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace foreshadow::training
