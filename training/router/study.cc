#include "training/router/study.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <atomic>
#include <cmath>
#include <mutex>
#include <random>
#include <thread>

#include "training/router/learned.h"
#include "training/router/policy.h"
#include "training/router/scenario.h"

namespace foreshadow::training::router {
namespace {

constexpr const char* kOracle = "oracle";
constexpr const char* kOracleGuarded = "oracle-guarded";
constexpr int kResamples = 2'000;
constexpr double kFirstMs = 1;  // p99 of an episode without requests counts as one

// One number of an episode.
using Measure = std::function<double(size_t at)>;

double MeanOf(const Measure& measure, const std::vector<size_t>& at) {
  double sum = 0;
  for (const size_t i : at) sum += measure(i);
  return at.empty() ? 0 : sum / static_cast<double>(at.size());
}

// Episodes are drawn anew within each family: families are what there is, episodes are a sample.
Estimate Bootstrap(const Measure& measure, size_t families, int episodes, uint64_t seed) {
  std::vector<size_t> at(families * static_cast<size_t>(episodes));
  for (size_t i = 0; i < at.size(); ++i) at[i] = i;
  Estimate estimate;
  estimate.value = MeanOf(measure, at);
  std::mt19937_64 random(seed);
  std::vector<double> means;
  for (int r = 0; r < kResamples; ++r) {
    for (size_t i = 0; i < at.size(); ++i) {
      const size_t family = i / static_cast<size_t>(episodes);
      at[i] = family * static_cast<size_t>(episodes) + random() % static_cast<size_t>(episodes);
    }
    means.push_back(MeanOf(measure, at));
  }
  std::sort(means.begin(), means.end());
  estimate.low = means[static_cast<size_t>(0.025 * kResamples)];
  estimate.high = means[static_cast<size_t>(0.975 * kResamples)];
  return estimate;
}

EpisodeResult Mean(const std::vector<EpisodeResult>& results) {
  EpisodeResult mean;
  const auto n = static_cast<double>(results.size());
  for (const EpisodeResult& r : results) {
    mean.p50_ms += r.p50_ms / n;
    mean.p99_ms += r.p99_ms / n;
    mean.p999_ms += r.p999_ms / n;
    mean.requests += r.requests / n;
    mean.failed_share += r.failed_share / n;
    mean.slow_share += r.slow_share / n;
    mean.slo_minutes += r.slo_minutes / n;
    mean.churn += r.churn / n;
    mean.idle_share += r.idle_share / n;
    mean.cost += r.cost / n;
  }
  return mean;
}

absl::Status Expect(const char* what, const std::vector<std::string>& given,
                    const std::vector<std::string_view>& known) {
  for (const std::string& name : given) {
    if (std::find(known.begin(), known.end(), name) != known.end()) continue;
    return absl::InvalidArgumentError(
        fmt::format("{} is {}: allowed are {}", what, name, fmt::join(known, ", ")));
  }
  return absl::OkStatus();
}

EpisodeResult PlayOne(const std::string& name, const Scenario& scenario, const QPolicy* policy,
                      double shed_max) {
  if (name == kOracle || name == kOracleGuarded) return RunOracle(scenario, name == kOracleGuarded);
  if (name == "q") {
    Learned learned(policy, {.guard = {.shed_max = shed_max}}, scenario.seed);
    return RunEpisode(scenario, learned);
  }
  return RunEpisode(scenario, *MakeRule(name, shed_max));
}

void Summarize(Study& study) {
  const auto find = [&](const char* name) {
    return std::find(study.policies.begin(), study.policies.end(), name) - study.policies.begin();
  };
  const auto count = static_cast<std::ptrdiff_t>(study.policies.size());
  const std::ptrdiff_t learned = find("q");
  for (size_t p = 0; p < study.policies.size(); ++p) {
    const auto& mine = study.results[p];
    StudyRow row;
    row.policy = study.policies[p];
    row.mean = Mean(mine);
    const auto estimate = [&](const Measure& measure) {
      return Bootstrap(measure, study.families.size(), study.episodes, 1);
    };
    row.cost = estimate([&](size_t i) { return mine[i].cost; });
    const auto regret = [&](const char* oracle) {
      const std::ptrdiff_t at = find(oracle);
      if (at == count) return Estimate();
      const auto& best = study.results[static_cast<size_t>(at)];
      return estimate([&](size_t i) { return mine[i].cost - best[i].cost; });
    };
    row.regret = regret(kOracle);
    row.regret_railed = regret(kOracleGuarded);
    if (learned < count) {
      const auto& its = study.results[static_cast<size_t>(learned)];
      row.cost_more = estimate([&](size_t i) { return mine[i].cost - its[i].cost; });
      row.p99_ratio = estimate([&](size_t i) {
        return std::log(std::max(mine[i].p99_ms, kFirstMs) / std::max(its[i].p99_ms, kFirstMs));
      });
      for (double* v : {&row.p99_ratio.value, &row.p99_ratio.low, &row.p99_ratio.high}) {
        *v = std::exp(*v);
      }
      row.failed_more =
          estimate([&](size_t i) { return 100 * (mine[i].failed_share - its[i].failed_share); });
    }
    study.rows.push_back(row);
  }
}

}  // namespace

absl::StatusOr<Study> RunStudy(const StudyOptions& o, const QPolicy* policy,
                               const std::function<void(int64_t, int64_t)>& progress) {
  Study study;
  study.episodes = o.episodes;
  const auto& known = ScenarioFamilies();
  for (const absl::Status& status :
       {Expect("family", o.families, known), Expect("rule", o.rules, RuleNames())}) {
    if (!status.ok()) return status;
  }
  study.families = o.families;
  if (study.families.empty()) study.families.assign(known.begin(), known.end());
  study.policies = o.rules;
  if (study.policies.empty()) study.policies.assign(RuleNames().begin(), RuleNames().end());
  if (policy != nullptr) study.policies.emplace_back("q");
  if (o.oracle) study.policies.insert(study.policies.end(), {kOracleGuarded, kOracle});
  const size_t each = study.families.size() * static_cast<size_t>(o.episodes);
  study.results.assign(study.policies.size(), std::vector<EpisodeResult>(each));

  std::atomic<size_t> next{0};
  std::atomic<int64_t> done{0};
  std::mutex mutex;  // of progress
  const auto work = [&] {
    for (size_t i = next++; i < each; i = next++) {
      Scenario scenario = MakeScenario(study.families[i / static_cast<size_t>(o.episodes)],
                                       o.seed + i % static_cast<size_t>(o.episodes));
      scenario.interval_s = o.interval_s;
      for (size_t p = 0; p < study.policies.size(); ++p) {
        study.results[p][i] = PlayOne(study.policies[p], scenario, policy, o.shed_max);
      }
      const int64_t now = ++done;
      const std::lock_guard lock(mutex);
      progress(now, static_cast<int64_t>(each));
    }
  };
  std::vector<std::thread> threads;
  for (int t = 1; t < o.threads; ++t) threads.emplace_back(work);
  work();
  for (std::thread& thread : threads) thread.join();
  Summarize(study);
  return study;
}

}  // namespace foreshadow::training::router
