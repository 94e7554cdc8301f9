// How deep untrusted CBOR is nested: the parser calls itself for each level, and an unbounded depth
// would end the process. Any thread.
#pragma once

#include <string_view>

namespace foreshadow::journal {

inline constexpr int kDepthMax = 16;  // a record needs 5

// It is well-formed CBOR, nested no deeper than that. Text with 4,096 underscores in a row is
// refused as well: to the parser they could be as many levels.
bool IsShallow(std::string_view cbor);

}  // namespace foreshadow::journal
