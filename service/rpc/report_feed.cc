#include "service/rpc/report_feed.h"

namespace foreshadow::rpc {
namespace {

constexpr int64_t kWaitMs = 500;  // until it looks whether it is to end

}  // namespace

ReportFeed::ReportFeed(Engine& engine) : engine_(engine), thread_([this] { Run(); }) {}

ReportFeed::~ReportFeed() {
  stopping_ = true;
  thread_.join();
}

int64_t ReportFeed::Add(Listener listener) {
  const std::lock_guard lock(mutex_);
  if (newest_ != nullptr) listener(newest_);
  if (ended_) listener(nullptr);
  listeners_.emplace(next_id_, std::move(listener));
  return next_id_++;
}

void ReportFeed::Remove(int64_t id) {
  const std::lock_guard lock(mutex_);
  listeners_.erase(id);
}

void ReportFeed::Run() {
  int64_t seen_ms = 0;
  while (!stopping_) {
    const auto report = engine_.WaitForReport(seen_ms, kWaitMs);
    if (report != nullptr) {
      seen_ms = report->tick_ms;
      Tell(report);
    } else if (engine_.stopping()) {
      Tell(nullptr);
      return;
    }
  }
}

void ReportFeed::Tell(const std::shared_ptr<const TickReport>& report) {
  const std::lock_guard lock(mutex_);
  if (report == nullptr) {
    ended_ = true;
  } else {
    newest_ = report;
  }
  for (const auto& [id, listener] : listeners_) listener(report);
}

}  // namespace foreshadow::rpc
