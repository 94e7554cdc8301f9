// The emulated GPU with memory that the host may not touch: between operations it is closed, so
// that a read or write which does not go through copy_in and copy_out ends the test; and what an
// operation is told to work on must lie in it.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <vector>

#include "kernels/check.h"
#include "kernels/ops.h"

namespace foreshadow::kernels::testing {

// One stretch of addresses; what is released is used again once all is.
class GuardedMemory {
 public:
  static GuardedMemory& The() {
    static GuardedMemory memory;
    return memory;
  }

  void* Allocate(size_t bytes) {
    const size_t whole = (bytes + 255) / 256 * 256;
    if (bytes > kBytes || used_ + whole > limit_) return nullptr;
    void* at = begin_ + used_;
    used_ += whole;
    ++held_;
    return at;
  }
  void Release() {
    if (--held_ == 0) used_ = 0;
  }
  void SetOpen(bool open) const {
    FORESHADOW_CHECK(mprotect(begin_, kBytes, open ? PROT_READ | PROT_WRITE : PROT_NONE) == 0);
  }
  bool Holds(const void* at) const {
    return at == nullptr || (at >= begin_ && at < begin_ + kBytes);
  }
  void Limit(size_t bytes) { limit_ = bytes; }
  void NoLimit() { limit_ = kBytes; }

  int64_t bytes_in = 0;  // that were copied in
  int64_t bytes_out = 0;

 private:
  static constexpr size_t kBytes = size_t{512} << 20;

  GuardedMemory() {
    void* at = mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    FORESHADOW_CHECK(at != MAP_FAILED);
    begin_ = static_cast<std::byte*>(at);
  }

  std::byte* begin_;
  size_t used_ = 0;
  size_t limit_ = kBytes;
  int64_t held_ = 0;
};

using Pointers = std::initializer_list<const void*>;

template <auto kOperation, typename Args>
void RunGuarded(const Args& args, Pointers pointers) {
  const GuardedMemory& memory = GuardedMemory::The();
  for (const void* at : pointers) FORESHADOW_CHECK(memory.Holds(at));
  memory.SetOpen(true);
  (EmulatedGpuOps().*kOperation)(args);
  memory.SetOpen(false);
}

// Copies the bytes with the memory open.
inline void CopyGuarded(void* to, const void* from, size_t bytes, Stream stream) {
  const GuardedMemory& memory = GuardedMemory::The();
  memory.SetOpen(true);
  EmulatedGpuOps().copy(to, from, bytes, stream);
  memory.SetOpen(false);
}

inline const Ops& GuardedOps() {
  static const Ops ops = [] {
    Ops filled{};
    filled.name = "cuda emulated, guarded";
    filled.host_memory = false;
    filled.allocate = [](size_t bytes) { return GuardedMemory::The().Allocate(bytes); };
    filled.release = [](void*) { GuardedMemory::The().Release(); };
    filled.copy_in = [](void* to, const void* from, size_t bytes, Stream stream) {
      FORESHADOW_CHECK(GuardedMemory::The().Holds(to));
      GuardedMemory::The().bytes_in += static_cast<int64_t>(bytes);
      CopyGuarded(to, from, bytes, stream);
    };
    filled.copy_out = [](void* to, const void* from, size_t bytes, Stream stream) {
      FORESHADOW_CHECK(GuardedMemory::The().Holds(from));
      GuardedMemory::The().bytes_out += static_cast<int64_t>(bytes);
      CopyGuarded(to, from, bytes, stream);
    };
    filled.copy = [](void* to, const void* from, size_t bytes, Stream stream) {
      const auto* begin = static_cast<std::byte*>(to);
      const auto* other = static_cast<const std::byte*>(from);
      FORESHADOW_CHECK(GuardedMemory::The().Holds(to) && GuardedMemory::The().Holds(from));
      FORESHADOW_CHECK(begin + bytes <= other || other + bytes <= begin);
      CopyGuarded(to, from, bytes, stream);
    };
    filled.wait = [](Stream) { return std::string_view(); };
    return filled;
  }();
  return ops;
}

}  // namespace foreshadow::kernels::testing
