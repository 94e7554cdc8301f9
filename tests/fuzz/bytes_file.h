// Bytes under a path, for what reads files only: in memory, and gone with the process.
#pragma once

#include <sys/mman.h>
#include <unistd.h>

#include <cstdlib>
#include <string>

namespace foreshadow::fuzz {

class BytesFile {
 public:
  BytesFile() : file_(memfd_create("fuzz", 0)) {
    if (file_ < 0) std::abort();
    path_ = "/proc/self/fd/" + std::to_string(file_);
  }
  void Set(const uint8_t* data, size_t size) {
    if (ftruncate(file_, 0) != 0 || pwrite(file_, data, size, 0) != static_cast<ssize_t>(size)) {
      std::abort();
    }
  }
  const std::string& path() const { return path_; }

 private:
  int file_;
  std::string path_;
};

}  // namespace foreshadow::fuzz
