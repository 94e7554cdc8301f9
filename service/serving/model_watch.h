// Follows the registry of models (models/versions): a version that is promoted or rolled back is
// loaded beside the one that serves and takes its place between two ticks; one that does not load
// changes nothing and is named in an alert. Also keeps what was found of the candidate beside it.
// Loading happens on the tick's thread, so that a replay sees the same models at the same ticks: a
// model of a few MB delays one tick by some tens of milliseconds.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "models/versions/versions.h"
#include "service/serving/engine.h"

namespace foreshadow {

class ModelWatch : public ModelSource {
 public:
  // Loads what serves, or what can be had. `folder` may be empty: no trained model, nothing to
  // follow. `auto_promote_hours`: a candidate that is better after so long is promoted; 0 = never.
  ModelWatch(std::string folder, int64_t step_ms, int32_t auto_promote_hours);

  const ModelList& models() const { return *served_.models; }

  Served Poll(std::vector<std::string>& alerts) override;
  void Evaluated(const Evaluation& evaluation) override;

 private:
  // Tells one content of `current` from another: it is only ever replaced.
  struct Stamp {
    uint64_t inode = 0;
    int64_t changed_ns = 0;
    bool operator==(const Stamp&) const = default;
  };
  Stamp Look() const;
  void Follow();
  void LoadServing(int version);
  void LoadCandidate(int version);

  const std::string folder_;
  const int64_t step_ms_;
  const int32_t auto_promote_hours_;
  Served served_;
  int serving_ = models::kNoVersion;  // the version in served_
  Stamp stamp_;                       // of the `current` that was followed last
  std::vector<std::string> alerts_;   // until it changes again
};

}  // namespace foreshadow
