#include "service/cell/instance/station.h"

#include <algorithm>
#include <cmath>
#include <functional>

namespace foreshadow::cell {
namespace {

SteadyTime::duration Milliseconds(double ms) {
  return std::chrono::duration_cast<SteadyTime::duration>(
      std::chrono::duration<double, std::milli>(ms));
}

}  // namespace

Station::Station(const StationOptions& options)
    : options_(options),
      speed_(options.cores / std::max(1.0, std::ceil(options.cores))),
      random_(options.seed),
      free_at_(static_cast<size_t>(std::max(1.0, std::ceil(options.cores)))) {}

double Station::WarmthLocked() const {
  if (options_.warm_requests <= 0) return 1;
  return std::min(1.0, static_cast<double>(served_count_) / options_.warm_requests);
}

Station::Admission Station::Admit(SteadyTime now, double work_ms) {
  const std::lock_guard lock(mutex_);
  Admission admission{false, false, now};
  if (std::uniform_real_distribution(0.0, 1.0)(random_) < faults_.fail_share) {
    ++totals_.requests_count;
    ++totals_.errors_count;
    return admission;
  }
  while (!starts_.empty() && starts_.front() <= now) {
    std::pop_heap(starts_.begin(), starts_.end(), std::greater<>());
    starts_.pop_back();
  }
  if (std::ssize(starts_) >= options_.waiting_max) {
    ++totals_.requests_count;
    ++totals_.errors_count;
    ++totals_.shed_count;
    admission.shed = true;
    return admission;
  }
  const double mean_ms = (work_ms > 0 ? work_ms : options_.work_ms) * faults_.slow_factor *
                         (1 + (options_.cold_factor - 1) * (1 - WarmthLocked())) / speed_;
  const double service_ms = std::exponential_distribution<double>(1 / mean_ms)(random_);
  const auto server = std::min_element(free_at_.begin(), free_at_.end());
  const SteadyTime start = std::max(now, *server);
  if (start > now) {
    starts_.push_back(start);
    std::push_heap(starts_.begin(), starts_.end(), std::greater<>());
  }
  *server = admission.done = start + Milliseconds(service_ms);
  admission.ok = true;
  ++totals_.in_flight_count;
  ++served_count_;
  return admission;
}

uint64_t Station::Finish(SteadyTime admitted, SteadyTime now) {
  const std::lock_guard lock(mutex_);
  --totals_.in_flight_count;
  totals_.latency.Add(std::chrono::duration<double, std::micro>(now - admitted).count());
  return ++totals_.requests_count;
}

void Station::Set(const Faults& faults) {
  const std::lock_guard lock(mutex_);
  faults_ = faults;
}

Station::Totals Station::totals() const {
  const std::lock_guard lock(mutex_);
  Totals totals = totals_;
  totals.warmth = WarmthLocked();
  return totals;
}

}  // namespace foreshadow::cell
