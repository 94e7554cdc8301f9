#include "training/router/queue.h"

#include <algorithm>

namespace foreshadow::training::router {

ServerQueue::Answer ServerQueue::Serve(double arrival_ms, double service_ms) {
  const auto first = std::min_element(free_ms_.begin(), free_ms_.end());
  const double begin_ms = std::max(arrival_ms, *first);
  if (begin_ms - arrival_ms >= timeout_ms_) {
    if (follows_) departures_ms_.push(arrival_ms + timeout_ms_);
    return {timeout_ms_, true};
  }
  *first = begin_ms + service_ms;
  if (follows_) departures_ms_.push(*first);
  return {*first - arrival_ms, false};
}

int ServerQueue::InFlight(double now_ms) {
  while (!departures_ms_.empty() && departures_ms_.top() <= now_ms) departures_ms_.pop();
  return static_cast<int>(departures_ms_.size());
}

}  // namespace foreshadow::training::router
