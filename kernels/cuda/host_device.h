// The GPU's kernels on the host: each thread block is one thread here. A test's twin of
// cuda_device.cuh: what a kernel computes is checked anywhere, only races need a GPU.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <vector>

#include "kernels/ops.h"

namespace foreshadow::kernels::cuda {

// The threads that work on one block of a launch. Kernels are written as loops over items (For)
// and reductions (Sum, Max), all threads in step after each, so that none can race past another.
struct HostTeam {
  std::byte* shared;  // [shared_bytes of the launch], aligned to 64 bytes

  // f(i) for i in 0..n-1, spread over the threads; all are done, and see each other's writes, when
  // it returns.
  template <typename F>
  void For(int64_t n, F f) const {
    for (int64_t i = 0; i < n; ++i) f(i);
  }
  // Sum over i of f(i), given to every thread.
  template <typename F>
  auto Sum(int64_t n, F f) const {
    decltype(f(int64_t{})) sum = 0;
    for (int64_t i = 0; i < n; ++i) sum += f(i);
    return sum;
  }
  // start after add(sum, i) for every i, spread over the threads, whose sums merge(sum, other) then
  // joins; given to every thread. T is plain data.
  template <typename T, typename Add, typename Merge>
  T Fold(int64_t n, T start, Add add, Merge) const {
    for (int64_t i = 0; i < n; ++i) add(start, i);
    return start;
  }
  // f(warp, i) for i in 0..n-1, a warp each: a team of its own, whose calls do not wait for the
  // other warps. All are done when it returns.
  template <typename F>
  void Warps(int64_t n, F f) const {
    for (int64_t i = 0; i < n; ++i) f(*this, i);
  }
  // Of a warp alone: write(i, at) for each i that keep(i) holds for, at = 0, 1, .. in their order.
  // Returns how many.
  template <typename Keep, typename Write>
  int64_t Compact(int64_t n, Keep keep, Write write) const {
    int64_t kept = 0;
    for (int64_t i = 0; i < n; ++i) {
      if (keep(i)) write(i, kept++);
    }
    return kept;
  }
  // Largest f(i), or `least`, given to every thread.
  template <typename T, typename F>
  T Max(int64_t n, T least, F f) const {
    for (int64_t i = 0; i < n; ++i) least = std::max(least, f(i));
    return least;
  }
};

struct HostDevice {
  // Shared memory that a block may ask for: an H200's, so that the same ways are taken.
  static size_t SharedBytesMax() { return 227 * 1024; }

  // body(team, block) for each block in 0..blocks-1; each has so many threads and bytes of shared
  // memory. What is in shared memory at the start is undefined. Body::kBlocksAtOnce (1 unless
  // there) blocks shall fit a multiprocessor: the fewer, the more registers each thread has.
  template <typename Body>
  static void Launch(int64_t blocks, int /*threads*/, size_t shared_bytes, Stream, Body body) {
    struct alignas(64) Line {
      std::byte bytes[64];
    };
    std::vector<Line> shared(shared_bytes / sizeof(Line) + 1);
    for (int64_t block = 0; block < blocks; ++block) {
      body(HostTeam{reinterpret_cast<std::byte*>(shared.data())}, block);
    }
  }
  // body(i) for each i in 0..n-1, a thread each.
  template <typename Body>
  static void ForEach(int64_t n, Stream, Body body) {
    for (int64_t i = 0; i < n; ++i) body(i);
  }
};

}  // namespace foreshadow::kernels::cuda
