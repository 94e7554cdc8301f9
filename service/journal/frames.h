// A file of zstd frames, one after the other, each with its size and a checksum: only ever appended
// to, read by `zstd -dc` as well. One thread at a time.
#pragma once

#include <zstd.h>

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace foreshadow::journal {

// Of the content of one frame: what a reader is ready to hold in memory.
inline constexpr size_t kFrameBytesMax = 64 << 20;

class FrameWriter {
 public:
  // Makes the file; ALREADY_EXISTS when it is there.
  static absl::StatusOr<std::unique_ptr<FrameWriter>> Create(const std::string& path);
  // On the disk when it returns, as far as the operating system lets it.
  ~FrameWriter();
  FrameWriter(const FrameWriter&) = delete;
  FrameWriter& operator=(const FrameWriter&) = delete;

  // A killed process loses nothing of what was appended, a machine that loses its power the last
  // seconds. On an error the file is as it was. OUT_OF_RANGE when it is over kFrameBytesMax.
  absl::Status Append(std::string_view content);

  const std::string& path() const { return path_; }
  int64_t bytes() const { return bytes_; }  // of the file

 private:
  struct FreeContext {
    void operator()(ZSTD_CCtx* context) const { ZSTD_freeCCtx(context); }
  };

  FrameWriter(std::string path, int file);

  std::string path_;
  int file_;
  int64_t bytes_ = 0;
  std::unique_ptr<ZSTD_CCtx, FreeContext> context_;
  std::string compressed_;
};

class FrameReader {
 public:
  static absl::StatusOr<std::unique_ptr<FrameReader>> Open(const std::string& path);
  ~FrameReader();
  FrameReader(const FrameReader&) = delete;
  FrameReader& operator=(const FrameReader&) = delete;

  // The next frame's content; false at the end, and where the last frame was cut off (see cut()).
  // DATA_LOSS names the file and the offset of a frame that is damaged; nothing follows it.
  absl::StatusOr<bool> Next(std::string& content);

  // The file ends in the middle of a frame, as a killed writer leaves it.
  bool cut() const { return cut_; }
  const std::string& path() const { return path_; }
  int64_t offset() const { return offset_; }  // of the frame that Next gave last, or gives no more
  int64_t read_bytes() const { return frame_end_; }
  int64_t bytes() const { return bytes_; }  // of the file

 private:
  struct FreeContext {
    void operator()(ZSTD_DCtx* context) const { ZSTD_freeDCtx(context); }
  };

  FrameReader(std::string path, int file, int64_t bytes);
  absl::StatusOr<bool> Fill();
  absl::Status Damaged(const std::string& why) const;

  std::string path_;
  int file_;
  int64_t bytes_;
  int64_t offset_ = 0;
  int64_t frame_end_ = 0;
  bool cut_ = false;
  std::string buffer_;  // what was read of the file,
  size_t taken_ = 0;    // and how much of it has been used
  std::unique_ptr<ZSTD_DCtx, FreeContext> context_;
};

}  // namespace foreshadow::journal
