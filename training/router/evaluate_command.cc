#include "training/router/evaluate_command.h"

#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <optional>

#include "service/learn/split_log.h"
#include "training/command.h"
#include "training/router/off_policy.h"
#include "training/router/study.h"
#include "training/router/trainer.h"
#include "training/train/progress_bar.h"

namespace foreshadow::training::router {
namespace {

using nlohmann::ordered_json;

struct Arguments {
  StudyOptions study;
  std::string policy;
  std::string log;
  bool no_oracle = false;
  bool json = false;
};

std::string Range(const Estimate& e, int digits) {
  return fmt::format("{:.{}f} ({:.{}f} to {:.{}f})", e.value, digits, e.low, digits, e.high,
                     digits);
}

void PrintTotals(const Study& study) {
  fmt::print(
      "{:<20} {:>8} {:>8} {:>8} {:>8} {:>9} {:>6} {:>7}  {:<22} {:<22} {:<22} {:<22} {:<22} {}\n",
      "policy", "p99 ms", "p99.9", "failed%", "slow%", "SLO min", "churn", "idle%", "cost",
      "regret", "regret in the rails", "cost more than q", "p99 / q's",
      "failed more than q, points");
  for (const StudyRow& row : study.rows) {
    const EpisodeResult& m = row.mean;
    fmt::print(
        "{:<20} {:>8.0f} {:>8.0f} {:>8.3f} {:>8.3f} {:>9.2f} {:>6.2f} {:>7.1f}  {:<22} {:<22} "
        "{:<22} {:<22} {:<22} {}\n",
        row.policy, m.p99_ms, m.p999_ms, 100 * m.failed_share, 100 * m.slow_share, m.slo_minutes,
        m.churn, 100 * m.idle_share, Range(row.cost, 2), Range(row.regret, 2),
        Range(row.regret_railed, 2), Range(row.cost_more, 2), Range(row.p99_ratio, 2),
        Range(row.failed_more, 3));
  }
}

// Cost and p99 of each family.
void PrintFamilies(const Study& study) {
  for (const bool cost : {true, false}) {
    fmt::print("\n{:<18}", cost ? "cost of an episode" : "p99, ms");
    for (const std::string& policy : study.policies) fmt::print(" {:>20}", policy);
    fmt::print("\n");
    for (size_t f = 0; f < study.families.size(); ++f) {
      const auto& held = HeldOutFamilies();
      const bool unseen = std::find(held.begin(), held.end(), study.families[f]) != held.end();
      fmt::print("{:<18}", study.families[f] + (unseen ? " *" : ""));
      for (size_t p = 0; p < study.policies.size(); ++p) {
        double sum = 0;
        for (int e = 0; e < study.episodes; ++e) {
          sum += cost ? study.at(p, f, e).cost : study.at(p, f, e).p99_ms;
        }
        fmt::print(" {:>20.{}f}", sum / study.episodes, cost ? 2 : 0);
      }
      fmt::print("\n");
    }
  }
  fmt::print("\n* a family that training did not see\n");
}

ordered_json ToJson(const Estimate& e) {
  return {{"value", e.value}, {"low", e.low}, {"high", e.high}};
}

ordered_json ToJson(const Study& study) {
  ordered_json rows = ordered_json::array();
  for (size_t p = 0; p < study.rows.size(); ++p) {
    const StudyRow& row = study.rows[p];
    const EpisodeResult& m = row.mean;
    ordered_json families = ordered_json::object();
    for (size_t f = 0; f < study.families.size(); ++f) {
      double cost = 0;
      double p99_ms = 0;
      for (int e = 0; e < study.episodes; ++e) {
        cost += study.at(p, f, e).cost / study.episodes;
        p99_ms += study.at(p, f, e).p99_ms / study.episodes;
      }
      families[study.families[f]] = {{"cost", cost}, {"p99_ms", p99_ms}};
    }
    rows.push_back({{"policy", row.policy},
                    {"p50_ms", m.p50_ms},
                    {"p99_ms", m.p99_ms},
                    {"p999_ms", m.p999_ms},
                    {"failed_share", m.failed_share},
                    {"slow_share", m.slow_share},
                    {"slo_minutes", m.slo_minutes},
                    {"churn", m.churn},
                    {"idle_share", m.idle_share},
                    {"cost", ToJson(row.cost)},
                    {"regret", ToJson(row.regret)},
                    {"regret_in_rails", ToJson(row.regret_railed)},
                    {"cost_more", ToJson(row.cost_more)},
                    {"p99_ratio", ToJson(row.p99_ratio)},
                    {"failed_more_points", ToJson(row.failed_more)},
                    {"families", families}});
  }
  return {{"families", study.families},
          {"held_out_families", HeldOutFamilies()},
          {"episodes", study.episodes},
          {"policies", rows}};
}

// A policy by what others decided, without playing it.
absl::Status JudgeByLog(const Arguments& a, const QPolicy& policy) {
  auto records = ReadSplitLog(a.log);
  if (!records.ok()) return records.status();
  const std::vector<LoggedEpisode> episodes = EpisodesOfLog(*std::move(records));
  const auto estimate = EvaluateOffPolicy(episodes, policy, {});
  if (!estimate.ok()) return estimate.status();
  const OffPolicyEstimate& e = *estimate;
  if (a.json) {
    const ordered_json json = {{"episodes", episodes.size()}, {"starts", e.starts},
                               {"policy", ToJson(e.policy)},  {"behaviour", ToJson(e.behaviour)},
                               {"gain", ToJson(e.gain)},      {"weighted_sampling", e.weighted},
                               {"followed", e.followed}};
    fmt::print("{}\n", json.dump(2));
    return absl::OkStatus();
  }
  fmt::print(
      "{} episodes, {} starts; the log follows the policy in {:.1f} % of its decisions\n"
      "earned           {}\n"
      "policy           {}   by weighted sampling alone {:.3f}\n"
      "gain             {}\n",
      episodes.size(), e.starts, 100 * e.followed, Range(e.behaviour, 3), Range(e.policy, 3),
      e.weighted, Range(e.gain, 3));
  return absl::OkStatus();
}

absl::Status Run(Arguments& a) {
  std::optional<QPolicy> policy;
  if (!a.policy.empty()) {
    auto loaded = LoadQPolicy(a.policy);
    if (!loaded.ok()) return loaded.status();
    policy = *std::move(loaded);
  }
  if (!a.log.empty()) {
    return policy ? JudgeByLog(a, *policy) : UsageError("--log needs --policy");
  }
  a.study.oracle = !a.no_oracle;
  ProgressBar bar("evaluate router");
  const auto study =
      RunStudy(a.study, policy ? &*policy : nullptr,
               [&bar](int64_t done, int64_t total) { bar.Show(done, total, "episodes"); });
  if (!study.ok()) return study.status();
  if (a.json) {
    fmt::print("{}\n", ToJson(*study).dump(2));
  } else {
    fmt::print("{} families, {} episodes of each\n\n", study->families.size(), study->episodes);
    PrintTotals(*study);
    PrintFamilies(*study);
  }
  return absl::OkStatus();
}

}  // namespace

void AddEvaluate(CLI::App& app) {
  CLI::App& evaluate = *app.add_subcommand("evaluate", "Hold a learned policy against rules");
  evaluate.require_subcommand(1);
  auto arguments = std::make_shared<Arguments>();
  StudyOptions& o = arguments->study;
  CLI::App& command = *evaluate.add_subcommand(
      "router",
      "Play held-out episodes of the split simulator under every rule, under a learned policy\n"
      "if one is given, and under the oracle of each episode. Intervals are at 95 %.");
  command.add_option("--policy", arguments->policy, "Folder of the policy, of `train router`");
  command.add_option("--log", arguments->log,
                     "Judge the policy by this log of a server's decisions (learn.log) instead");
  command.add_option("--family", o.families, "Only these families of scenarios");
  command.add_option("--rule", o.rules, "Only these rules");
  command.add_option("--episodes", o.episodes, "Episodes of each family")
      ->capture_default_str()
      ->check(CLI::Range(2, 10'000));
  command.add_option("--seed", o.seed, "Of the first episode")
      ->capture_default_str()
      ->check(CLI::Range(uint64_t{0}, kValidationSeed - 10'001));
  command.add_option("--interval", o.interval_s, "Seconds between decisions")
      ->capture_default_str()
      ->check(CLI::Range(1.0, 60.0));
  command
      .add_option("--shed-max", o.shed_max,
                  "Share of the requests that q and ready-guarded may refuse")
      ->capture_default_str()
      ->check(CLI::Range(0.0, 0.9));
  command.add_option("--threads", o.threads, "Episodes at a time")
      ->capture_default_str()
      ->check(CLI::Range(1, 256));
  command.add_flag("--no-oracle", arguments->no_oracle, "Without it: ten times as fast");
  command.add_flag("--json", arguments->json, "Print the result as JSON");
  SetRun(command, [arguments] { return Run(*arguments); });
}

}  // namespace foreshadow::training::router
