// One run of the server as a file: its start, then every tick with all that it took in and decided.
// Written as the ticks come, read in the same order. One thread at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "service/journal/frames.h"
#include "service/journal/records.h"

namespace foreshadow::journal {

class Writer {
 public:
  // Makes the file and writes the start. ALREADY_EXISTS when it is there.
  static absl::StatusOr<std::unique_ptr<Writer>> Create(const std::string& path,
                                                        const Start& start);

  // Before the tick: everything that it is about to take in.
  absl::Status Begin(int64_t tick_ms, const Inbox& inbox, std::vector<ModelId> models,
                     std::optional<ModelId> candidate);
  // After it.
  absl::Status End(Decided decided);

  const std::string& path() const { return frames_->path(); }
  int64_t bytes() const { return frames_->bytes(); }

 private:
  explicit Writer(std::unique_ptr<FrameWriter> frames) : frames_(std::move(frames)) {}
  absl::Status Append(const Record& record);

  std::unique_ptr<FrameWriter> frames_;
  TickEnd open_;
  std::string digest_;
};

class Reader {
 public:
  // Reads the start. INVALID_ARGUMENT when it is no journal, DATA_LOSS when it is damaged.
  static absl::StatusOr<std::unique_ptr<Reader>> Open(const std::string& path);

  const Start& start() const { return start_; }
  const std::string& path() const { return frames_->path(); }

  // The next tick; none at the end. DATA_LOSS names the file and the offset of a damaged record.
  absl::StatusOr<std::optional<TickRecord>> Next();
  // After the last one: the writer was killed in the midst of a tick, which is not there.
  bool cut() const { return cut_; }

  int64_t read_bytes() const { return frames_->read_bytes(); }
  int64_t bytes() const { return frames_->bytes(); }

 private:
  explicit Reader(std::unique_ptr<FrameReader> frames) : frames_(std::move(frames)) {}
  absl::StatusOr<std::optional<Record>> NextRecord();
  absl::Status Damaged(const std::string& why) const;

  std::unique_ptr<FrameReader> frames_;
  Start start_;
  int64_t tick_ms_ = 0;
  std::string digest_;
  bool cut_ = false;
};

}  // namespace foreshadow::journal
