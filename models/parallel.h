// Shares the chunks of a batch among a few threads that live for one call.
#pragma once

#include <cstdint>
#include <functional>

namespace foreshadow::models {

// Whether the work is to be given up; asked from any thread. Once true it stays so.
using Stop = std::function<bool()>;

// `threads`, or as many as the machine has cores when it is 0 or less.
int ThreadCount(int threads);

// Calls work(first, last, worker) for ranges of at most `chunk` that cover [0, count); worker is
// below threads, and calls with the same worker follow each other. Returns when all are done. Work
// on disjoint outputs gives the same result with any number of threads. Called by work itself, it
// starts no thread: the outer call's keep all cores busy. When `stop` says so, chunks that are not
// begun are left out: what the work was to make is then not to be used.
void ForChunks(int64_t count, int64_t chunk, int threads,
               const std::function<void(int64_t first, int64_t last, int worker)>& work,
               const Stop& stop = nullptr);

}  // namespace foreshadow::models
