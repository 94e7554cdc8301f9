// Policies of the split side by side on the same held-out episodes, with the oracle of each, and
// how sure the differences are. Deterministic in its options, whatever the number of threads.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "service/learn/q_policy.h"
#include "service/tick/settings.h"
#include "training/router/episode.h"

namespace foreshadow::training::router {

struct StudyOptions {
  std::vector<std::string> families;  // empty = all
  std::vector<std::string> rules;     // of RuleNames(); empty = all
  int episodes = 10;                  // of each family
  uint64_t seed = 1;                  // of the first; below kValidationSeed
  double interval_s = 10;
  double shed_max = LearnSettings().shed_max;  // what "q" and "ready-guarded" may refuse
  bool oracle = true;
  int threads = 1;
};

struct Estimate {
  double value = 0;
  double low = 0;  // 95 %, bootstrap over episodes within families
  double high = 0;
};

struct StudyRow {
  std::string policy;
  EpisodeResult mean;      // over all episodes; each family weighs alike
  Estimate cost;           // of an episode
  Estimate regret;         // cost above the oracle's; 0 without one
  Estimate regret_railed;  // above that of the oracle within the rails
  Estimate cost_more;      // cost above the learned policy's in the same episodes
  Estimate p99_ratio;      // geometric mean of p99 / the learned policy's; above 1 = worse than it
  Estimate failed_more;    // failed share less the learned policy's, in points
};

struct Study {
  std::vector<std::string> families;
  std::vector<std::string> policies;  // the rules, "q" when there is one, the oracles
  int episodes = 0;
  std::vector<std::vector<EpisodeResult>> results;  // [policy][family * episodes + episode]
  std::vector<StudyRow> rows;                       // [policy]

  const EpisodeResult& at(size_t policy, size_t family, int episode) const {
    return results[policy][family * static_cast<size_t>(episodes) + static_cast<size_t>(episode)];
  }
};

// `policy` null: only the rules. INVALID_ARGUMENT names a family or a rule that there is not.
absl::StatusOr<Study> RunStudy(const StudyOptions& options, const QPolicy* policy,
                               const std::function<void(int64_t, int64_t)>& progress);

}  // namespace foreshadow::training::router
