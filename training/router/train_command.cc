#include "training/router/train_command.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "service/learn/split_log.h"
#include "training/command.h"
#include "training/router/off_policy.h"
#include "training/router/trainer.h"
#include "training/train/progress_bar.h"

namespace foreshadow::training::router {
namespace {

struct Arguments {
  RouterTrainOptions train;
  std::vector<std::string> join;
  std::string log;
  std::string start;
  bool json = false;
};

std::string CommandLine(const RouterTrainOptions& o) {
  return fmt::format(
      "foreshadow train router --out {} --epochs {} --episodes {} --steps {} --hidden {} --batch "
      "{} --learning-rate {} --n-step {} --discount {} --reward-scale {} --try {} --explore {} "
      "--rules-until {} --average {} --validation {} --replay {} --interval {} --seed {}{}{}{}{}",
      o.out, o.epochs, o.episodes, o.steps, o.hidden, o.batch, o.learning_rate, o.replay.steps,
      o.replay.discount, o.replay.reward_scale, o.try_chance, o.explore_most, o.rules_until,
      o.average_episodes, o.validation_seeds, o.replay.capacity, fmt::join(o.intervals_s, " "),
      o.seed, o.replay.prioritized ? " --prioritized" : "", o.dueling ? "" : " --no-dueling",
      o.double_q ? "" : " --no-double", o.balance ? "" : " --no-balance");
}

absl::Status RunOnline(const Arguments& a) {
  if (a.log.empty() || a.start.empty()) {
    return UsageError("--log and --start belong together: what to learn from, and on top of what");
  }
  auto records = ReadSplitLog(a.log);
  if (!records.ok()) return records.status();
  const std::vector<LoggedEpisode> episodes = EpisodesOfLog(*std::move(records));
  OnlineOptions online;
  online.start = a.start;
  online.out = a.train.out;
  online.judge.seed = a.train.seed;
  online.command = fmt::format("foreshadow train router --log {} --start {} --seed {}",
                               std::filesystem::path(a.log).filename().string(),
                               std::filesystem::path(a.start).filename().string(), a.train.seed);
  const auto result = LearnFromLog(episodes, online);
  if (!result.ok()) return result.status();
  const OffPolicyEstimate& e = result->estimate;
  if (a.json) {
    const nlohmann::ordered_json json = {
        {"policy", a.train.out},       {"version", result->card.version},
        {"episodes", episodes.size()}, {"starts", e.starts},
        {"earns", e.policy.value},     {"earned", e.behaviour.value},
        {"gain", e.gain.value},        {"gain_low", e.gain.low},
        {"gain_high", e.gain.high},    {"weighted_sampling", e.weighted},
        {"followed", e.followed}};
    fmt::print("{}\n", json.dump(2));
    return absl::OkStatus();
  }
  fmt::print(
      "{}: policy {}; from {} starts of the episodes kept apart it earns {:.3f}, what decided then "
      "{:.3f}: {:.3f} ({:.3f} to {:.3f}) more\n",
      a.train.out, result->card.version, e.starts, e.policy.value, e.behaviour.value, e.gain.value,
      e.gain.low, e.gain.high);
  return absl::OkStatus();
}

absl::StatusOr<QCard> TrainOrJoin(Arguments& a) {
  if (!a.join.empty()) {
    a.train.command = fmt::format("foreshadow train router --out {} --join {}", a.train.out,
                                  fmt::join(a.join, " "));
    return JoinRouters(a.join, a.train);
  }
  a.train.command = CommandLine(a.train);
  ProgressBar bar("train router");
  return TrainRouter(a.train, [&bar](const RouterProgress& p) {
    bar.Show(p.epoch, p.epochs,
             fmt::format("{}loss {:.4f}  cost {:.2f}, validation {:.2f}, best {:.2f}",
                         p.resumed ? "resumed  " : "", p.loss, p.train_cost, p.validation_cost,
                         p.best_cost));
  });
}

absl::Status Run(Arguments& a) {
  if (!a.log.empty() || !a.start.empty()) return RunOnline(a);
  const auto card = TrainOrJoin(a);
  if (!card.ok()) return card.status();
  if (a.json) {
    const nlohmann::ordered_json json = {{"policy", a.train.out}, {"version", card->version},
                                         {"seed", card->seed},    {"episodes", card->episodes},
                                         {"steps", card->steps},  {"scores", card->scores}};
    fmt::print("{}\n", json.dump(2));
    return absl::OkStatus();
  }
  fmt::print(
      "{}: policy {} of {} episodes and {} steps; an episode of validation costs {:.2f}\n"
      "weights.safetensors and card.json{} are there.\n"
      "`foreshadow evaluate router --policy {}` holds it against the rules.\n",
      a.train.out, card->version, card->episodes, card->steps, card->scores.at("validation_cost"),
      a.join.empty() ? ", and training.csv with each epoch," : "", a.train.out);
  return absl::OkStatus();
}

}  // namespace

void AddTrainRouter(CLI::App& train) {
  auto arguments = std::make_shared<Arguments>();
  RouterTrainOptions& o = arguments->train;
  CLI::App& command = *train.add_subcommand(
      "router",
      "Train the policy of the split in the split simulator.\n"
      "Killed, it goes on from its last epoch when the same command is run again.");
  command.add_option("--out", o.out, "Folder for the policy, its log and its checkpoint")
      ->required();
  command.add_option("--epochs", o.epochs, "Epochs")->capture_default_str();
  command.add_option("--episodes", o.episodes, "Episodes an epoch")->capture_default_str();
  command.add_option("--steps", o.steps, "Steps of the network an epoch")->capture_default_str();
  command.add_option("--hidden", o.hidden, "Width of the network")->capture_default_str();
  command.add_option("--batch", o.batch, "Transitions a step")->capture_default_str();
  command.add_option("--learning-rate", o.learning_rate, "Its peak")->capture_default_str();
  command.add_option("--n-step", o.replay.steps, "Decisions that a transition spans")
      ->capture_default_str();
  command.add_option("--discount", o.replay.discount, "Of ten seconds")->capture_default_str();
  command.add_option("--reward-scale", o.replay.reward_scale, "What a reward of 1 counts for")
      ->capture_default_str();
  command
      .add_option("--try", o.try_chance,
                  "Share of the decisions at which every allowed action is tried; 0 = none")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  command.add_option("--explore", o.explore_most, "Chance of any allowed action, at first")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  command.add_option("--rules-until", o.rules_until, "Share of the epochs that the rules play")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 1.0));
  command.add_option("--average", o.average_episodes, "Episodes that weights are averaged over")
      ->capture_default_str();
  command.add_option("--validation", o.validation_seeds, "Episodes of validation of each family")
      ->capture_default_str();
  command.add_option("--replay", o.replay.capacity, "Transitions kept")->capture_default_str();
  command.add_flag("--prioritized", o.replay.prioritized, "Draw them by how far off they were");
  command.add_flag("!--no-dueling", o.dueling, "For an ablation: without a value apart");
  command.add_flag("!--no-double", o.double_q, "For an ablation: the target network chooses too");
  command.add_flag("!--no-balance", o.balance, "For an ablation: without the action \"balance\"");
  command
      .add_option("--interval", o.intervals_s, "Seconds between decisions; several = drawn anew")
      ->capture_default_str();
  command.add_option("--seed", o.seed, "The same seed gives the same policy")
      ->capture_default_str();
  command.add_flag("--fresh", o.fresh, "Start anew even where there is a checkpoint");
  command.add_option(
      "--join", arguments->join,
      "Make one policy of these, trained apart: it leaves the rule only where all of\n"
      "them see a gain");
  command.add_option("--log", arguments->log,
                     "Learn from this log of a server's decisions instead (learn.log); the result\n"
                     "is written only if the log shows that it earns more than what decided");
  command.add_option("--start", arguments->start, "With --log: the policy to go on from");
  command.add_flag("--json", arguments->json, "Print the result as JSON");
  SetRun(command, [arguments] { return Run(*arguments); });
}

}  // namespace foreshadow::training::router
