// One account of a split scenario on real sockets, under one policy: a primary and a shadow, each a
// foreshadow-instance of its own, and gRPC's xDS client before them, whose control plane takes the
// split.
#pragma once

#include <atomic>
#include <chrono>
#include <memory>
#include <mutex>
#include <random>
#include <string>
#include <vector>

#include "foreshadow/v1/workload.grpc.pb.h"
#include "service/xds/xds_router.h"
#include "training/router/episode.h"

namespace foreshadow::testing {

namespace sim = training::router;

// Times of the scenario on the clock.
struct Pace {
  using Clock = std::chrono::steady_clock;
  Clock::time_point start;
  double speed = 1;

  Clock::duration Long(double s) const {
    return std::chrono::duration_cast<Clock::duration>(std::chrono::duration<double>(s / speed));
  }
  Clock::time_point At(double s) const { return start + Long(s); }
  double ScenarioMs(Clock::duration time) const {
    return speed * std::chrono::duration<double, std::milli>(time).count();
  }
};

class Player {
 public:
  // Its instances serve and its client is connected. Scenario, pace and router outlive it.
  Player(const sim::Scenario& scenario, std::unique_ptr<sim::SplitPolicy> policy,
         const std::string& account, const std::string& folder, const Pace& pace,
         xds::XdsRouter& router);
  ~Player();

  // One request; any thread.
  void Send();
  // What goes wrong at that time. A primary that dies gives all to the shadow.
  void Stage(double s);
  // What is split, and refused, in the interval that begins.
  void Decide();
  // The interval is over.
  void Close();
  void WaitForAnswers() const;
  sim::EpisodeResult Finish() { return tally_.Finish(latencies_ms_); }

 private:
  class Side;
  void Steer(double split, double shed);

  const sim::Scenario& scenario_;
  const Pace& pace_;
  const std::unique_ptr<sim::SplitPolicy> policy_;
  xds::XdsRouter& router_;
  const std::unique_ptr<Side> primary_;
  const std::unique_ptr<Side> shadow_;
  router::Route route_;
  std::unique_ptr<v1::Workload::Stub> stub_;
  std::mt19937_64 random_;
  sim::Told told_;
  double moved_ = 0;
  sim::Tally tally_;
  std::vector<float> latencies_ms_;
  std::mutex mutex_;
  sim::Requests requests_;  // of the interval that runs
  std::atomic<int> in_flight_ = 0;
};

}  // namespace foreshadow::testing
