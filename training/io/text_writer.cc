#include "training/io/text_writer.h"

#include <fmt/core.h>
#include <zlib.h>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <utility>

namespace foreshadow::training {

struct TextWriter::Impl {
  std::string path;
  std::string part;
  gzFile file = nullptr;

  ~Impl() {
    if (file == nullptr) return;
    gzclose(file);
    std::remove(part.c_str());
  }

  absl::Status Error(std::string_view what) const {
    return absl::UnavailableError(fmt::format("{}: {}: {}", part, what, std::strerror(errno)));
  }
};

TextWriter::TextWriter(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
TextWriter::TextWriter(TextWriter&&) noexcept = default;
TextWriter& TextWriter::operator=(TextWriter&&) noexcept = default;
TextWriter::~TextWriter() = default;

absl::StatusOr<TextWriter> TextWriter::Create(const std::string& path) {
  auto impl = std::make_unique<Impl>();
  impl->path = path;
  impl->part = path + ".part";
  // "T": zlib passes the bytes on as they are.
  impl->file = gzopen(impl->part.c_str(), path.ends_with(".gz") ? "wb9" : "wbT");
  if (impl->file == nullptr) return impl->Error("cannot be created");
  return TextWriter(std::move(impl));
}

absl::Status TextWriter::Write(std::string_view text) {
  const auto size = static_cast<unsigned>(text.size());
  if (gzwrite(impl_->file, text.data(), size) != static_cast<int>(size)) {
    return impl_->Error("cannot be written");
  }
  return absl::OkStatus();
}

absl::Status TextWriter::Close() {
  Impl& out = *impl_;
  const int closed = gzclose(std::exchange(out.file, nullptr));
  if (closed == Z_OK && std::rename(out.part.c_str(), out.path.c_str()) == 0) {
    return absl::OkStatus();
  }
  const absl::Status status = out.Error("cannot be written");
  std::remove(out.part.c_str());
  return status;
}

}  // namespace foreshadow::training
