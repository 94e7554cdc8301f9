#include "training/client/load.h"

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <limits>
#include <mutex>
#include <thread>

namespace foreshadow::training {
namespace {

using Clock = std::chrono::steady_clock;

double Seconds(Clock::duration time) { return std::chrono::duration<double>(time).count(); }

// What the answers add up to.
struct Tally {
  std::mutex mutex;
  std::condition_variable changed;
  int64_t under_way = 0;
  int64_t bytes = 0;
  Clock::time_point last;
  LoadResult result;
};

}  // namespace

double LoadResult::Percentile(double percent) const {
  if (latencies_ms.empty()) return std::numeric_limits<double>::quiet_NaN();
  const double rank = std::ceil(percent / 100 * static_cast<double>(latencies_ms.size()));
  return latencies_ms[static_cast<size_t>(std::max(rank, 1.0)) - 1];
}

LoadResult RunOpenLoop(const LoadOptions& options,
                       const std::function<void(int64_t, AnswerTo)>& begin) {
  Tally tally;
  const auto warm = static_cast<int64_t>(options.per_s * options.warm_up_s);
  const double per_s_end = options.per_s_end > 0 ? options.per_s_end : options.per_s;
  const double per_s_mean = (options.per_s + per_s_end) / 2;
  const auto counted = std::max<int64_t>(1, static_cast<int64_t>(per_s_mean * options.seconds));
  const Clock::time_point start = Clock::now();
  const auto meant = [&](int64_t call) {
    const auto n = static_cast<double>(call - warm);
    // Of n = r t + s t^2 / 2, where the rate grows by s each second, the t.
    const double growth = (per_s_end - options.per_s) / options.seconds;
    const double at_s =
        n <= 0 || growth == 0
            ? n / options.per_s
            : 2 * n / (options.per_s + std::sqrt(options.per_s * options.per_s + 2 * growth * n));
    return start + std::chrono::duration_cast<Clock::duration>(
                       std::chrono::duration<double>(at_s + options.warm_up_s));
  };
  double late_s = 0;
  for (int64_t call = 0; call < warm + counted; ++call) {
    const Clock::time_point at = meant(call);
    std::this_thread::sleep_until(at);
    if (call >= warm) late_s = std::max(late_s, Seconds(Clock::now() - at));
    {
      const std::lock_guard lock(tally.mutex);
      ++tally.under_way;
    }
    begin(call, [&tally, at, counts = call >= warm](const Answered& answered) {
      const Clock::time_point now = Clock::now();
      const std::lock_guard lock(tally.mutex);
      if (counts) {
        if (answered.ok) {
          tally.result.latencies_ms.push_back(1e3 * Seconds(now - at));
          tally.bytes += answered.bytes;
          tally.last = now;
        } else if (tally.result.failed++ == 0) {
          tally.result.first_error = answered.error;
        }
      }
      if (--tally.under_way == 0) tally.changed.notify_all();
    });
  }
  std::unique_lock lock(tally.mutex);
  tally.changed.wait(lock, [&] { return tally.under_way == 0; });
  LoadResult result = std::move(tally.result);
  std::sort(result.latencies_ms.begin(), result.latencies_ms.end());
  result.calls = counted;
  result.offered_per_s = per_s_mean;
  result.late_ms = 1e3 * late_s;
  const auto answered = static_cast<double>(result.latencies_ms.size());
  // Of n calls, n - 1 intervals lie between the first's beginning and the last's: one more is fair.
  const double took_s =
      std::max(Seconds(tally.last - meant(warm)), static_cast<double>(counted) / per_s_mean);
  if (answered > 0) {
    result.achieved_per_s = answered / took_s;
    result.bytes_per_call = static_cast<double>(tally.bytes) / answered;
  }
  return result;
}

}  // namespace foreshadow::training
