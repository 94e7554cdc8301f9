// The points that wait for their step to end, and what must be known of their series. Not
// thread-safe; Receiver guards it.
#pragma once

#include <cstdint>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "service/receive/fold.h"
#include "service/receive/journal.h"

namespace foreshadow::receive {

// The steps of a signal of an account that are in the history: an unbroken run.
struct FoldedRun {
  int64_t from_ms = -1;
  int64_t until_ms = -1;  // the newest step

  bool Has(int64_t step_at_ms) const {
    return from_ms >= 0 && step_at_ms >= from_ms && step_at_ms <= until_ms;
  }
  void Add(int64_t step_at_ms, int64_t step_ms);
};

struct Series {
  std::string key;
  Target target;
  FoldedRun* folded = nullptr;  // of its signal of its account
  // The last point of each folded step of a counter, by time: of the newest, and of those before
  // that may still be needed, since steps of the past are folded after newer ones.
  std::vector<Point> befores;
  int64_t folded_ms = 0;  // time of the newest point that was folded
  int64_t stale_ms = 0;   // time of the newest stale marker
  int64_t seen_ms = 0;    // when a point of it last came
  int64_t pending_count = 0;
};

// A step, made into samples.
struct FoldedStep {
  int64_t time_ms = 0;
  struct Sum {
    double amount = 0;
    bool any = false;
  };
  std::map<std::pair<SignalKind, std::string>, Sum> sums;  // by signal and account
  std::vector<std::pair<std::string, Point>> newest;       // of counters, by key
};

class Pending {
 public:
  Pending(int64_t step_ms, int64_t settle_ms, int64_t gap_ms)
      : step_ms_(step_ms), settle_ms_(settle_ms), gap_ms_(gap_ms) {}

  Series* Find(const std::string& key);
  Series& Add(std::string key, Target target);
  int64_t series_count() const { return static_cast<int64_t>(series_.size()); }
  int64_t points_count() const { return points_count_; }
  int64_t StepOf(int64_t time_ms) const { return time_ms - time_ms % step_ms_; }

  enum class Placed : uint8_t {
    kNew,
    kDuplicate,  // that time of that series is known
    kConflict,   // with another value
    kLate,       // its step is in the history without it
  };
  // What would become of a point.
  Placed Judge(const Series& series, const Point& point) const;
  // Places it, if it is new.
  Placed Place(Series& series, const Point& point, int64_t now_ms);

  // A step is due `settle_ms` after its end; one that began to come later than that, when nothing
  // of it has come for as long. Takes one out, the oldest; false = none is due.
  bool TakeDue(int64_t now_ms, FoldedStep& folded);

  // Forgets series of which nothing has come for so long that it has no use; their keys.
  std::vector<std::string> ForgetIdle(int64_t now_ms);

 private:
  struct Step {
    int64_t first_came_ms = 0;
    int64_t last_came_ms = 0;
    std::unordered_map<Series*, std::vector<Point>> points;  // by time
  };
  // The newest point of a series before that time, folded or waiting; time 0 = none.
  Before NewestBefore(const Series& series, int64_t time_ms) const;
  bool IsDue(int64_t at_ms, const Step& step, int64_t now_ms) const;
  void FoldSeries(Series& series, const std::vector<Point>& points, FoldedStep& folded);

  const int64_t step_ms_;
  const int64_t settle_ms_;
  const int64_t gap_ms_;
  int64_t points_count_ = 0;
  std::unordered_map<std::string, std::unique_ptr<Series>> series_;
  std::map<std::pair<SignalKind, std::string>, FoldedRun> runs_;
  std::map<int64_t, Step> steps_;
};

}  // namespace foreshadow::receive
