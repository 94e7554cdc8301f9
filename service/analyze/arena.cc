#include "service/analyze/arena.h"

#include <algorithm>
#include <new>
#include <utility>

namespace foreshadow {
namespace {

constexpr size_t kAlignment = 256;             // of an allocation, and so of every piece
constexpr size_t kChunkBytesMin = 1 << 20;     // small pieces share one
constexpr size_t kBytesMax = size_t{1} << 46;  // nobody has more; sums of sizes stay far from wrap

}  // namespace

Arena::Arena(Arena&& other) noexcept
    : ops_(other.ops_),
      chunks_(std::exchange(other.chunks_, {})),
      chunk_(other.chunk_),
      used_(other.used_),
      held_(other.held_),
      most_(other.most_) {}

void* Arena::TakeBytes(size_t bytes) {
  if (bytes > kBytesMax) Fail();
  const size_t whole = std::max<size_t>(1, (bytes + kAlignment - 1) / kAlignment) * kAlignment;
  while (chunk_ < chunks_.size() && chunks_[chunk_].bytes - used_ < whole) {
    ++chunk_;
    used_ = 0;
  }
  if (chunk_ == chunks_.size()) Add(std::max(whole, kChunkBytesMin));
  void* piece = chunks_[chunk_].begin + used_;
  used_ += whole;
  held_ += whole;
  most_ = std::max(most_, held_);
  return piece;
}

// What was queued may still read and write memory of the host, which goes as the error passes.
void Arena::Fail() const {
  ops_->wait(nullptr);
  throw std::bad_alloc();
}

void Arena::Add(size_t bytes) {
  void* memory = ops_->allocate(bytes);
  if (memory == nullptr) Fail();
  chunks_.push_back({static_cast<std::byte*>(memory), bytes});
}

void Arena::Back(const Mark& mark) {
  chunk_ = mark.chunk;
  used_ = mark.used;
  held_ = mark.held;
}

void Arena::Clear() {
  if (chunks_.size() > 1) {
    const size_t most = most_;
    Drop();
    Add(most);
  }
  Back({0, 0, 0});
}

void Arena::Drop() {
  for (const Chunk& chunk : chunks_) ops_->release(chunk.begin);
  chunks_.clear();
  Back({0, 0, 0});
  most_ = 0;
}

}  // namespace foreshadow
