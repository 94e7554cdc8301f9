// Points that were accepted and are not in the history yet, the newest point of every counter and
// the time at which its sender said that it ended, on disk. A point is written here before its
// sender is told that it is accepted, and goes when the step that it belongs to has been written to
// the history. Any thread may call.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "service/receive/fold.h"

namespace foreshadow::receive {

// A point of the series with that key (rules.h).
struct KeyedPoint {
  std::string_view series;
  Point point;
};

// The series with that key had ended at a time.
struct KeyedEnd {
  std::string_view series;
  int64_t time_ms = 0;
};

class Journal {
 public:
  // Opens or creates the folder. Errors as HistoryStore::Open's.
  static absl::StatusOr<std::unique_ptr<Journal>> Open(const std::string& folder);
  ~Journal();

  // Durable when OK. Calls at the same time share one write to the disk.
  absl::Status Append(const std::vector<KeyedPoint>& points, const std::vector<KeyedEnd>& ends);

  // Forgets the points of [from_ms, to_ms) and remembers the newest ones of counters; not durable
  // at once, since doing it again is harmless. `forgotten`: series of which nothing need be known.
  absl::Status Settle(int64_t from_ms, int64_t to_ms, const std::vector<KeyedPoint>& newest,
                      const std::vector<std::string>& forgotten);

  using Visit = std::function<void(const KeyedPoint&)>;
  // The points by time, and the newest ones of counters. DATA_LOSS for what cannot be read.
  absl::Status ReadPoints(const Visit& visit) const;
  absl::Status ReadNewest(const Visit& visit) const;
  // The newest end of each counter that had one.
  absl::Status ReadEnds(const std::function<void(const KeyedEnd&)>& visit) const;

 private:
  struct Impl;
  explicit Journal(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace foreshadow::receive
