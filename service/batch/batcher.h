// Dynamic batching: the histories of several callers that can be forecast in one run of the models
// are. What may share a run: the same models, sampling interval, end, number of steps and horizon,
// so that an answer does not depend on who else asked. All public methods may be called from any
// thread.
//
// A batch runs when it is full or its oldest call has waited `wait_ms`; among those that may run,
// the one with the most urgent call, then the oldest. What has expired or was cancelled is dropped
// before it costs anything; one whose run has begun is finished.
#pragma once

#include <chrono>
#include <condition_variable>
#include <cstdint>
#include <functional>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <tuple>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "service/batch/settings.h"
#include "service/tick/tick.h"
#include "service/tick/types.h"

namespace foreshadow::batch {

using SteadyTime = std::chrono::steady_clock::time_point;

inline constexpr int kPriorityFirst = 1;
inline constexpr int kPriorityNormal = 2;
inline constexpr int kPriorityLast = 3;

struct Ask {
  std::shared_ptr<const ModelList> models;
  size_t first_model = 0;  // the one asked for; those behind it answer where it cannot
  int64_t end_ms = 0;
  int64_t step_ms = 0;
  int horizon_steps = 0;
  int64_t history_steps = 0;
  std::vector<SignalKind> signals;  // [series]
  std::vector<float> values;        // [series][step], oldest first; NaN = missing
  int priority = kPriorityNormal;
  SteadyTime deadline = SteadyTime::max();
};

// A part of a table that several callers share.
struct Answer {
  std::shared_ptr<const ForecastTable> table;
  int64_t first_series = 0;
  int64_t series_count = 0;
  std::chrono::nanoseconds queued{};  // until its run began
  std::chrono::nanoseconds ran{};
  bool is_first = false;  // of those that share the run
};

// Called once, on a thread of the batcher's, or on that of Cancel or Stop.
using Done = std::function<void(absl::StatusOr<Answer>)>;
using Ticket = uint64_t;

class Batcher {
 public:
  // `period_significance` as analysis has it: the season of a history is looked for likewise.
  // `fitted` can be asked for beside the models that the tick is served by.
  Batcher(const Settings& settings, double period_significance, const ModelList& fitted = {});
  ~Batcher();  // Stop

  // The models to ask, by name or label ("lstm", "lstm@2"): of those served, the one named and
  // those behind it, which answer where it cannot; a fitted one alone. "" and "auto" are all that
  // are served. NOT_FOUND lists what there is.
  struct Found {
    std::shared_ptr<const ModelList> models;
    size_t first_model = 0;
  };
  absl::StatusOr<Found> Find(std::shared_ptr<const ModelList> served,
                             const std::string& name) const;
  // Each a list of its own.
  const std::vector<std::shared_ptr<const ModelList>>& fitted() const { return fitted_; }

  // A name for a call that can be cancelled while Submit is still under way.
  Ticket NewTicket();

  // RESOURCE_EXHAUSTED when the queue is full, UNAVAILABLE once stopped: `done` is then not called.
  absl::Status Submit(Ticket ticket, Ask ask, Done done);

  // Its `done` gets CANCELLED if it still waits.
  void Cancel(Ticket ticket);

  // When a caller that was refused may come again: about when the queue will have drained.
  int64_t RetryAfterMs() const;

  // Everything that waits gets UNAVAILABLE; returns when nothing runs. Idempotent.
  void Stop();

 private:
  struct Call {
    Ticket ticket = 0;
    Ask ask;
    Done done;
    SteadyTime came;
  };
  // What may share a run: models, the first of them, step, end, history, horizon.
  using Key = std::tuple<const ModelList*, size_t, int64_t, int64_t, int64_t, int>;
  struct Group {
    std::vector<Call> calls;  // by priority, then as they came
    int64_t series = 0;
  };

  void Work();
  std::vector<Call> DropExpired(SteadyTime now);
  std::vector<Call> TakeReady(SteadyTime now, SteadyTime& next);
  void Run(std::vector<Call> calls);
  void Forget(const Call& call);

  const Settings settings_;
  const double period_significance_;
  std::vector<std::shared_ptr<const ModelList>> fitted_;
  mutable std::mutex mutex_;
  std::condition_variable changed_;
  std::map<Key, Group> groups_;
  int64_t calls_waiting_ = 0;
  int64_t bytes_waiting_ = 0;
  int64_t series_waiting_ = 0;
  double series_per_s_ = 0;  // of late, one thread; 0 = nothing has run
  Ticket next_ticket_ = 1;
  bool stopping_ = false;
  std::vector<std::thread> threads_;
};

}  // namespace foreshadow::batch
