// A few threads that work off one queue: for what may block (a disk, a cell) and so must not run on
// gRPC's own threads. Any thread may call; the callers bound what they put in.
#pragma once

#include <condition_variable>
#include <deque>
#include <functional>
#include <mutex>
#include <thread>
#include <vector>

namespace foreshadow::rpc {

class WorkQueue {
 public:
  explicit WorkQueue(int threads_count) {
    for (int i = 0; i < threads_count; ++i) threads_.emplace_back([this] { Work(); });
  }

  // Ends the jobs under way and drops those that wait.
  ~WorkQueue() {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    changed_.notify_all();
    for (std::thread& thread : threads_) thread.join();
  }

  void Run(std::function<void()> job) {
    {
      const std::lock_guard lock(mutex_);
      queue_.push_back(std::move(job));
    }
    changed_.notify_all();
  }

  // Returns when nothing waits or is under way.
  void WaitUntilIdle() {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return queue_.empty() && under_way_count_ == 0; });
  }

 private:
  void Work() {
    std::unique_lock lock(mutex_);
    while (true) {
      changed_.wait(lock, [this] { return stopping_ || !queue_.empty(); });
      if (stopping_) return;
      std::function<void()> job = std::move(queue_.front());
      queue_.pop_front();
      ++under_way_count_;
      lock.unlock();
      job();
      job = nullptr;
      lock.lock();
      --under_way_count_;
      changed_.notify_all();
    }
  }

  std::mutex mutex_;
  std::condition_variable changed_;
  std::deque<std::function<void()>> queue_;
  int under_way_count_ = 0;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace foreshadow::rpc
