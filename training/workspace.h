// Memory for the kernels' workspaces, aligned as they ask; freed with the object.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

namespace foreshadow::training {

class Workspace {
 public:
  explicit Workspace(size_t bytes) : bytes_(bytes), lines_(bytes / sizeof(Line) + 1) {}
  std::span<std::byte> span() { return {reinterpret_cast<std::byte*>(lines_.data()), bytes_}; }

 private:
  struct alignas(64) Line {
    std::byte bytes[64];
  };
  size_t bytes_;
  std::vector<Line> lines_;
};

}  // namespace foreshadow::training
