#include "models/parallel.h"

#include <algorithm>
#include <atomic>
#include <thread>
#include <vector>

namespace foreshadow::models {
namespace {

thread_local bool in_chunk = false;  // this thread works on a chunk

}  // namespace

int ThreadCount(int threads) {
  return threads > 0 ? threads
                     : static_cast<int>(std::max(1u, std::thread::hardware_concurrency()));
}

void ForChunks(int64_t count, int64_t chunk, int threads,
               const std::function<void(int64_t, int64_t, int)>& work, const Stop& stop) {
  const auto goes_on = [&] { return stop == nullptr || !stop(); };
  if (in_chunk) {
    for (int64_t first = 0; first < count && goes_on(); first += chunk) {
      work(first, std::min(first + chunk, count), 0);
    }
    return;
  }
  std::atomic<int64_t> next = 0;
  const auto run = [&](int worker) {
    in_chunk = true;
    for (int64_t first = next.fetch_add(chunk); first < count && goes_on();
         first = next.fetch_add(chunk)) {
      work(first, std::min(first + chunk, count), worker);
    }
    in_chunk = false;
  };
  std::vector<std::jthread> helpers;
  const int64_t chunks = (count + chunk - 1) / chunk;
  for (int i = 1; i < std::min<int64_t>(threads, chunks); ++i) helpers.emplace_back(run, i);
  run(0);
}

}  // namespace foreshadow::models
