// FNV-1a of bytes, carried on from `hash`: tells one model's weights from another's, and is no
// protection against a forger. Header only.
#pragma once

#include <cstddef>
#include <cstdint>

namespace foreshadow::models {

inline uint64_t HashOf(const void* bytes, size_t count, uint64_t hash = 0xcbf29ce484222325) {
  const auto* at = static_cast<const unsigned char*>(bytes);
  for (size_t i = 0; i < count; ++i) hash = (hash ^ at[i]) * 0x100000001b3;
  return hash;
}

}  // namespace foreshadow::models
