// What ModelStatistics tells of the requests since the server started. Any thread.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <mutex>
#include <string>

#include "absl/status/statusor.h"
#include "inference/inference.pb.h"
#include "service/batch/batcher.h"

namespace foreshadow::rpc {

class InferStatistics {
 public:
  // Of a model by its label; requests of no model that there is are not counted.
  void Add(const std::string& model, int64_t now_ms, const inference::InferStatistics& added,
           bool is_run);
  // Adds what is known to a model's name and version.
  void Fill(const std::string& model, inference::ModelStatistics& to) const;

 private:
  mutable std::mutex mutex_;
  std::map<std::string, inference::ModelStatistics> by_model_;
};

// One request, from its arrival to its answer.
class InferWatch {
 public:
  explicit InferWatch(InferStatistics& statistics)
      : statistics_(&statistics), came_(std::chrono::steady_clock::now()), read_(came_) {}

  // It is understood, and for a model that there is.
  void Read(std::string model);
  // Answered by the batcher at `answered`, and written since.
  void Ended(const absl::StatusOr<batch::Answer>& answer, batch::SteadyTime answered,
             int64_t now_ms) const;

 private:
  InferStatistics* statistics_;
  std::string model_;  // "" = none that there is
  batch::SteadyTime came_;
  batch::SteadyTime read_;
};

}  // namespace foreshadow::rpc
