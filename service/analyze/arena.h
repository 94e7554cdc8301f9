// Room in the memory of a backend, taken piece by piece and given back all at once, and what passes
// between it and the host. What is given back may be taken again at once: operations of a stream
// run in their order. One thread at a time.
#pragma once

#include <cstddef>
#include <span>
#include <vector>

#include "kernels/ops.h"

namespace foreshadow {

class Arena {
 public:
  explicit Arena(const kernels::Ops& ops) : ops_(&ops) {}
  ~Arena() { Drop(); }
  Arena(Arena&& other) noexcept;
  Arena(const Arena&) = delete;
  Arena& operator=(const Arena&) = delete;

  const kernels::Ops& ops() const { return *ops_; }

  // Undefined values, aligned as the operations want it. Throws std::bad_alloc, once all that was
  // queued is done.
  template <typename T>
  std::span<T> Take(size_t count) {
    return {static_cast<T*>(TakeBytes(count * sizeof(T))), count};
  }
  kernels::StepMajor<float> TakeBatch(int64_t steps, int64_t series) {
    return {Take<float>(static_cast<size_t>(steps * series)).data(), steps, series, series};
  }
  // Values of the host, there; they must stay until the next wait.
  template <typename T>
  std::span<const T> Bring(const std::vector<T>& values) {
    if (ops_->host_memory) return values;
    const std::span<T> there = Take<T>(values.size());
    ops_->copy_in(there.data(), values.data(), there.size_bytes(), nullptr);
    return there;
  }

  struct Mark {
    size_t chunk;
    size_t used;
    size_t held;
  };
  Mark mark() const { return {chunk_, used_, held_}; }
  // Gives back what was taken since.
  void Back(const Mark& mark);
  // Gives everything back; none of it is in use any more. What had to be taken in several chunks
  // finds room in one from here on.
  void Clear();
  // And leaves the memory to others.
  void Drop();

 private:
  struct Chunk {
    std::byte* begin;
    size_t bytes;
  };
  void* TakeBytes(size_t bytes);
  void Add(size_t bytes);
  [[noreturn]] void Fail() const;

  const kernels::Ops* ops_;
  std::vector<Chunk> chunks_;
  size_t chunk_ = 0;  // in which the next piece is looked for first
  size_t used_ = 0;   // bytes of it
  size_t held_ = 0;   // bytes taken in all
  size_t most_ = 0;   // that were, at any time
};

// A small result of an operation: in the backend's memory, and on the host.
template <typename T>
class Result {
 public:
  Result(Arena& arena, size_t count) : ops_(&arena.ops()), there_(arena.Take<T>(count)) {}

  std::span<T> there() const { return there_; }
  // Queues the copy of the first `count`; here() has it after the next wait.
  void Fetch(size_t count) {
    if (ops_->host_memory) return;
    fetched_.resize(count);
    ops_->copy_out(fetched_.data(), there_.data(), count * sizeof(T), nullptr);
  }
  void Fetch() { Fetch(there_.size()); }
  std::span<const T> here() const {
    return ops_->host_memory ? std::span<const T>(there_) : std::span<const T>(fetched_);
  }

 private:
  const kernels::Ops* ops_;
  std::span<T> there_;
  std::vector<T> fetched_;
};

}  // namespace foreshadow
