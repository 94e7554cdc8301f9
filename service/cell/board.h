// What the agent tells of its instances, kept up to date: ends of processes are seen by the
// kernel's word (pidfd), totals are read from the instances over gRPC. Watchers wait here for what
// changed. Thread-safe.
#pragma once

#include <atomic>
#include <condition_variable>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "foreshadow/v1/cell.pb.h"
#include "foreshadow/v1/workload.grpc.pb.h"
#include "service/cell/instances.h"

namespace foreshadow::cell {

v1::Instance ToProto(const InstanceView& view, const std::string& host);

class Board {
 public:
  // Outlived by `instances`.
  explicit Board(Instances& instances);
  ~Board();

  // Lets the watchers go. Idempotent.
  void Stop();
  // Looks at one instance again, now.
  void Update(const std::string& id);
  // As it is listed, totals included.
  std::vector<v1::Instance> List();

  // What changed after `seen` (0 = all there is), waiting at most so long; sets `seen`. False: the
  // agent stops.
  bool WaitForChange(uint64_t& seen, int64_t wait_ms, v1::WatchInstancesResponse& changes);

 private:
  struct Entry {
    v1::Instance instance;
    uint64_t changed = 0;  // number of the change
  };

  void Put(v1::Instance instance);
  void WatchProcesses();
  void ReadLoads();
  void ReadLoadsOnce(bool all);

  Instances& instances_;
  std::mutex mutex_;
  std::condition_variable changed_;
  std::map<std::string, Entry> entries_;
  std::map<std::string, uint64_t> gone_;  // id -> number of the change
  uint64_t change_ = 0;
  std::map<std::string, std::unique_ptr<v1::Workload::Stub>> stubs_;  // of the load thread
  bool stopping_ = false;
  const int wake_;  // eventfd: there is something new to watch
  std::thread processes_;
  std::thread loads_;
};

}  // namespace foreshadow::cell
