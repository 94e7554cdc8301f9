// Tells listeners of each new report, all on one thread of its own, so that a watcher of plans
// costs no thread. Any thread may add and remove listeners.
#pragma once

#include <atomic>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <thread>

#include "service/serving/engine.h"

namespace foreshadow::rpc {

class ReportFeed {
 public:
  // Must not block, nor add or remove listeners. A null report: the engine stops, nothing follows.
  using Listener = std::function<void(const std::shared_ptr<const TickReport>&)>;

  explicit ReportFeed(Engine& engine);
  ~ReportFeed();

  // Called with the newest report there is at once, then with each that comes.
  int64_t Add(Listener listener);
  // No call is under way once it returns.
  void Remove(int64_t id);

 private:
  void Run();
  void Tell(const std::shared_ptr<const TickReport>& report);

  Engine& engine_;
  std::mutex mutex_;
  std::map<int64_t, Listener> listeners_;
  int64_t next_id_ = 1;
  std::shared_ptr<const TickReport> newest_;
  bool ended_ = false;  // null was told
  std::atomic<bool> stopping_ = false;
  std::thread thread_;
};

}  // namespace foreshadow::rpc
