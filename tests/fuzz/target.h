// A fuzz target: one file with the two functions below. It links with driver.cc, which mutates the
// seeds by a fixed seed of its own, or, where FORESHADOW_LIBFUZZER is on, with clang's libFuzzer.
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <vector>

// Takes any bytes. A crash, a failed CHECK or a sanitizer's report is a finding. Returns 0.
extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size);

namespace foreshadow::fuzz {

// Good inputs to begin from, made by whoever writes them in earnest where there is somebody.
std::vector<std::string> Seeds();

}  // namespace foreshadow::fuzz
