// Trains the policy of the split in the simulator: plays episodes, steps the network, keeps the
// weights that are best on episodes kept apart, can be killed and resumed at any epoch with the
// same result. Deterministic in its options on one machine. One thread.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "service/learn/q_policy.h"
#include "training/router/replay.h"
#include "training/router/scenario.h"

namespace foreshadow::training::router {

struct RouterTrainOptions {
  std::string out;  // folder of the policy, its log training.csv and its checkpoint
  int epochs = 80;
  int episodes = 60;  // of an epoch
  int steps = 1'500;  // of the network, an epoch
  int hidden = 64;
  int64_t batch = 128;
  double learning_rate = 1e-3;  // falls to a tenth
  double follow = 0.01;         // of the target network a step
  // Episodes of training are played, and the policy is kept, with weights averaged over about so
  // many (Polyak and Juditsky 1992): those of one step waver.
  double average_episodes = 30;
  bool dueling = true;  // these three off: for ablations
  bool double_q = true;
  bool balance = true;  // the action
  // Chance of any allowed action, falling from one to the other by half-time.
  double explore_most = 0.5;
  double explore_least = 0.05;
  // At so many decisions of those, every allowed action is tried in a copy of the world; 0 = the
  // network learns from what was done alone.
  double try_chance = 0.25;
  double rules_until = 0.2;  // of the epochs: the rules among the actions decide till then
  ReplayOptions replay;
  std::vector<double> intervals_s = {10};  // between decisions, drawn for each episode
  int validation_seeds = 6;                // episodes of each family and interval
  double validation_from = 0.7;            // of the epochs: before, no weights are kept
  uint64_t seed = 1;
  bool fresh = false;  // ignore a checkpoint instead of resuming it
  std::string command;
};

struct RouterProgress {
  int epoch = 0;  // from 1
  int epochs = 0;
  double explore = 0;
  double loss = 0;             // mean of the epoch
  double train_cost = 0;       // of an episode, exploring
  double validation_cost = 0;  // of an episode, not exploring; 0 = not validated yet
  double best_cost = 0;
  bool resumed = false;
};

// Families that training does not see at all: evaluation tells them apart.
const std::vector<std::string_view>& HeldOutFamilies();

// Seeds of scenarios: training, validation and evaluation share none.
inline constexpr uint64_t kValidationSeed = 500'000;
inline constexpr uint64_t kTrainingSeed = 1'000'000;

// INVALID_ARGUMENT naming the option; FAILED_PRECONDITION when the checkpoint is of another run.
absl::StatusOr<QCard> TrainRouter(const RouterTrainOptions& options,
                                  const std::function<void(const RouterProgress&)>& progress);

// Makes one policy, in options.out, of several that were trained apart, networks of one width: it
// leaves the rule where the one that says least still sees a gain, and the margin is chosen anew on
// the episodes of validation, at options.intervals_s. INVALID_ARGUMENT names the folder that does
// not fit, or an interval that not all have learned at.
absl::StatusOr<QCard> JoinRouters(const std::vector<std::string>& folders,
                                  const RouterTrainOptions& options);

}  // namespace foreshadow::training::router
