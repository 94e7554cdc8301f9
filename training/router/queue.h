// One instance as a queue with c servers, first come first served: M/M/c where arrivals are Poisson
// and nothing changes. Exact by the recursion of Kiefer and Wolfowitz (1955): a request begins when
// the server that is free first is free, so that only the times at which servers are free are kept.
// A request that would wait `timeout_ms` or longer is gone, and takes no server. Plain data, copied
// to look ahead; one thread.
#pragma once

#include <queue>
#include <vector>

namespace foreshadow::training::router {

class ServerQueue {
 public:
  ServerQueue(int servers, double timeout_ms) : free_ms_(servers, 0.0), timeout_ms_(timeout_ms) {}

  struct Answer {
    double latency_ms = 0;
    bool timed_out = false;
  };
  // Arrivals come in order of time.
  Answer Serve(double arrival_ms, double service_ms);

  // Requests that wait or are served at a time not before the last arrival's. Kept only when
  // FollowInFlight was called before the first of them, for it costs as much as serving.
  void FollowInFlight() { follows_ = true; }
  int InFlight(double now_ms);

 private:
  std::vector<double> free_ms_;  // [server]
  double timeout_ms_;
  bool follows_ = false;
  std::priority_queue<double, std::vector<double>, std::greater<>> departures_ms_;
};

}  // namespace foreshadow::training::router
