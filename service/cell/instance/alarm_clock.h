// One thread that calls functions at their times. Any thread may set an alarm; functions must be
// short. What is left at the end is called at once.
#pragma once

#include <condition_variable>
#include <functional>
#include <map>
#include <mutex>
#include <thread>
#include <utility>

#include "service/cell/instance/station.h"

namespace foreshadow::cell {

class AlarmClock {
 public:
  AlarmClock() : thread_([this] { Run(); }) {}
  ~AlarmClock() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    thread_.join();
  }

  void Set(SteadyTime at, std::function<void()> call) {
    const std::lock_guard lock(mutex_);
    const auto it = alarms_.emplace(at, std::move(call));
    if (it == alarms_.begin()) changed_.notify_all();
  }

 private:
  void Run() {
    std::unique_lock lock(mutex_);
    while (!stopping_ || !alarms_.empty()) {
      if (alarms_.empty()) {
        changed_.wait(lock);
        continue;
      }
      const auto first = alarms_.begin();
      if (!stopping_ && first->first > std::chrono::steady_clock::now()) {
        changed_.wait_until(lock, first->first);
        continue;
      }
      const std::function<void()> call = std::move(first->second);
      alarms_.erase(first);
      lock.unlock();
      call();
      lock.lock();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::multimap<SteadyTime, std::function<void()>> alarms_;
  bool stopping_ = false;
  std::thread thread_;
};

}  // namespace foreshadow::cell
