// Several processes that train one network: each takes a share of every batch, and their gradients
// are summed (torch's c10d over Gloo). No torch in this header.
#pragma once

#include <memory>
#include <span>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace foreshadow::models {

struct GroupAddress {
  int rank = 0;  // 0..size-1
  int size = 1;
  std::string host;  // where rank 0 listens
  int port = 0;
};

// One thread. Torch's errors, a rank that went away among them, come back as UNAVAILABLE.
class ProcessGroup {
 public:
  // Waits up to ten minutes for all ranks to join; the host and port are those of rank 0. From then
  // on this process ignores SIGPIPE.
  static absl::StatusOr<std::unique_ptr<ProcessGroup>> Join(const GroupAddress& address);
  ~ProcessGroup();

  int rank() const;
  int size() const;

  // Replaces the values by their sum over all ranks, the same bits on each. All ranks call it with
  // the same number of values, in the same order of calls.
  absl::Status Sum(std::span<float> values);

 private:
  struct Impl;
  explicit ProcessGroup(std::unique_ptr<Impl> impl);
  std::unique_ptr<Impl> impl_;
};

}  // namespace foreshadow::models
