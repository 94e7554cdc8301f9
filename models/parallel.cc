#include "models/parallel.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace foreshadow::models {

int ThreadCount(int threads) {
  return threads > 0 ? threads
                     : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

void ForChunks(int64_t count, int64_t chunk, int threads,
               const std::function<void(int64_t, int64_t, int)>& work) {
  std::atomic<int64_t> next = 0;
  const auto run = [&](int worker) {
    for (int64_t first = next.fetch_add(chunk); first < count; first = next.fetch_add(chunk)) {
      work(first, std::min(first + chunk, count), worker);
    }
  };
  std::vector<std::jthread> helpers;
  const int64_t chunks = (count + chunk - 1) / chunk;
  for (int i = 1; i < std::min<int64_t>(threads, chunks); ++i) helpers.emplace_back(run, i);
  run(0);
}

}  // namespace foreshadow::models
