#include "service/journal/frames.h"

#include <fcntl.h>
#include <fmt/core.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cerrno>
#include <cstring>
#include <utility>

#include "kernels/check.h"

namespace foreshadow::journal {
namespace {

constexpr int kLevel = 3;  // zstd's default: fast enough to be in the tick's way
constexpr size_t kChunkBytes = 1 << 18;
constexpr size_t kHeaderBytesMax = 18;  // of a zstd frame (RFC 8878, 3.1.1)

absl::Status FileError(const std::string& path, const char* what) {
  const int error = errno;
  return absl::ErrnoToStatus(error, fmt::format("journal {}: {}", path, what));
}

}  // namespace

absl::StatusOr<std::unique_ptr<FrameWriter>> FrameWriter::Create(const std::string& path) {
  const int file = open(path.c_str(), O_WRONLY | O_CREAT | O_EXCL | O_APPEND | O_CLOEXEC, 0640);
  if (file < 0) return FileError(path, "cannot be made");
  return std::unique_ptr<FrameWriter>(new FrameWriter(path, file));
}

FrameWriter::FrameWriter(std::string path, int file)
    : path_(std::move(path)), file_(file), context_(ZSTD_createCCtx()) {
  FORESHADOW_CHECK(context_ != nullptr);
  ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_compressionLevel, kLevel);
  ZSTD_CCtx_setParameter(context_.get(), ZSTD_c_checksumFlag, 1);
}

FrameWriter::~FrameWriter() {
  fsync(file_);
  close(file_);
}

absl::Status FrameWriter::Append(std::string_view content) {
  if (content.size() > kFrameBytesMax) {
    return absl::OutOfRangeError(fmt::format("journal {}: a record of {} bytes, at most {} may be",
                                             path_, content.size(), kFrameBytesMax));
  }
  compressed_.resize(ZSTD_compressBound(content.size()));
  const size_t size = ZSTD_compress2(context_.get(), compressed_.data(), compressed_.size(),
                                     content.data(), content.size());
  FORESHADOW_CHECK(!ZSTD_isError(size));  // only a buffer too small could be the cause
  for (size_t done = 0; done < size;) {
    const ssize_t wrote = write(file_, compressed_.data() + done, size - done);
    if (wrote < 0 && errno == EINTR) continue;
    if (wrote < 0) {
      absl::Status status = FileError(path_, "cannot be written");
      if (ftruncate(file_, bytes_) != 0) return FileError(path_, "is left with a cut record");
      return status;
    }
    done += static_cast<size_t>(wrote);
  }
  bytes_ += static_cast<int64_t>(size);
  return absl::OkStatus();
}

absl::StatusOr<std::unique_ptr<FrameReader>> FrameReader::Open(const std::string& path) {
  const int file = open(path.c_str(), O_RDONLY | O_CLOEXEC);
  if (file < 0) return FileError(path, "cannot be opened");
  struct stat what = {};
  if (fstat(file, &what) != 0 || !S_ISREG(what.st_mode)) {
    close(file);
    return absl::InvalidArgumentError(fmt::format("journal {}: is not a file", path));
  }
  return std::unique_ptr<FrameReader>(new FrameReader(path, file, what.st_size));
}

FrameReader::FrameReader(std::string path, int file, int64_t bytes)
    : path_(std::move(path)), file_(file), bytes_(bytes), context_(ZSTD_createDCtx()) {
  FORESHADOW_CHECK(context_ != nullptr);
}

FrameReader::~FrameReader() { close(file_); }

absl::Status FrameReader::Damaged(const std::string& why) const {
  return absl::DataLossError(
      fmt::format("journal {}: the record at byte {} is damaged: {}", path_, offset_, why));
}

// Reads on; false at the end of the file.
absl::StatusOr<bool> FrameReader::Fill() {
  buffer_.erase(0, taken_);
  taken_ = 0;
  const size_t before = buffer_.size();
  buffer_.resize(before + kChunkBytes);
  ssize_t count = 0;
  do {
    count = read(file_, buffer_.data() + before, kChunkBytes);
  } while (count < 0 && errno == EINTR);
  const absl::Status status = count < 0 ? FileError(path_, "cannot be read") : absl::OkStatus();
  buffer_.resize(before + static_cast<size_t>(count < 0 ? 0 : count));
  if (!status.ok()) return status;
  return count > 0;
}

absl::StatusOr<bool> FrameReader::Next(std::string& content) {
  if (cut_) return false;
  offset_ = frame_end_;
  while (buffer_.size() - taken_ < kHeaderBytesMax) {
    const auto more = Fill();
    if (!more.ok()) return more.status();
    if (!*more) break;
  }
  const std::string_view rest = std::string_view(buffer_).substr(taken_);
  if (rest.empty()) return false;
  const uint32_t magic = ZSTD_MAGICNUMBER;
  if (std::memcmp(rest.data(), &magic, std::min(rest.size(), sizeof(magic))) != 0) {
    return Damaged("it does not begin as one");
  }
  const unsigned long long size = ZSTD_getFrameContentSize(rest.data(), rest.size());
  if (size == ZSTD_CONTENTSIZE_ERROR && rest.size() < kHeaderBytesMax) {
    cut_ = true;
    return false;
  }
  if (size == ZSTD_CONTENTSIZE_ERROR || size == ZSTD_CONTENTSIZE_UNKNOWN || size > kFrameBytesMax) {
    return Damaged("its size is not a size");
  }
  content.resize(size);
  ZSTD_DCtx_reset(context_.get(), ZSTD_reset_session_only);
  ZSTD_outBuffer out{content.data(), content.size(), 0};
  for (;;) {
    ZSTD_inBuffer in{buffer_.data() + taken_, buffer_.size() - taken_, 0};
    const size_t left = ZSTD_decompressStream(context_.get(), &out, &in);
    taken_ += in.pos;
    frame_end_ += static_cast<int64_t>(in.pos);
    if (ZSTD_isError(left)) return Damaged(ZSTD_getErrorName(left));
    if (left == 0) break;
    if (taken_ < buffer_.size()) {
      if (in.pos == 0) return Damaged("it holds more than it says");
      continue;
    }
    const auto more = Fill();
    if (!more.ok()) return more.status();
    if (!*more) {
      cut_ = true;
      return false;
    }
  }
  if (out.pos != content.size()) return Damaged("it holds less than it says");
  return true;
}

}  // namespace foreshadow::journal
