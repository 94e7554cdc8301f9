// Whether policies of the split rank on real sockets as they do in the simulator: the same
// scenarios, seeds, observations and policies, but the requests are gRPC's, sent by its own xDS
// client to real instances by the routes of our own control plane. Every policy has an account, a
// primary and a shadow of its own, and all are played side by side, under the same arrivals.
//
//   split_sockets [--family NAME]... [--policy NAME]... [--episodes N] [--seed S] [--speed X]
//                 [--learned FOLDER] [--json]
//
// What differs from the simulator: the network and the machine; the instance (its waiting line is
// full where the simulator's requests give up; a call that was given up is served all the same; it
// warms along a line); the split comes about some milliseconds after the decision, and what is
// measured is what instances say. A primary dies by SIGKILL.
#include <fmt/core.h>
#include <sys/resource.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "service/xds/xds_router.h"
#include "tests/benchmarks/split_player.h"
#include "tests/integration/xds_clients.h"
#include "training/router/learned.h"
#include "training/train/progress_bar.h"

namespace foreshadow::testing {
namespace {

using std::chrono::steady_clock;

struct Flags {
  std::vector<std::string> families = {"surge",        "steep-surge",  "cold-shadow",
                                       "small-shadow", "failing-fast", "primary-dies"};
  std::vector<std::string> policies = {
      "ramp", "aimd", "aimd-guarded", "ewma-guarded", "proportional-guarded", "q"};
  std::string learned = "models/default/router";
  int episodes = 1;
  uint64_t seed = 12'000;
  double speed = 1;
  bool json = false;
};

// In the simulator each scenario is played with its own arrivals, and so often with others: by how
// much luck moves costs. The others' seeds begin there.
constexpr int kOthers = 20;
constexpr uint64_t kOthersSeed = 777'001;

std::unique_ptr<sim::SplitPolicy> MakePolicy(const std::string& name, const QPolicy& learned,
                                             uint64_t seed) {
  if (name == "q") {
    const AgentSettings settings{.guard = {.shed_max = LearnSettings().shed_max}};
    return std::make_unique<sim::Learned>(&learned, settings, seed);
  }
  return sim::MakeRule(name);
}

struct Episode {
  sim::Scenario scenario;
  std::vector<std::unique_ptr<Player>> players;  // [policy]

  // Poisson arrivals, the same for each; returns by how much the latest was late.
  double Offer(const Pace& pace) {
    std::mt19937_64 random(scenario.seed);
    double late_ms = 0;
    for (double s = 0;;) {
      s += std::exponential_distribution<double>(std::max(scenario.demand_rps.At(s), 1e-3))(random);
      if (s >= scenario.duration_s) return late_ms;
      std::this_thread::sleep_until(pace.At(s));
      late_ms = std::max(
          late_ms,
          std::chrono::duration<double, std::milli>(steady_clock::now() - pace.At(s)).count());
      for (auto& player : players) player->Send();
    }
  }
};

// All episodes at once; returns the latest arrival's delay.
double Play(std::vector<Episode>& episodes, Pace& pace) {
  const auto each = [&](const auto& act) {
    for (Episode& episode : episodes) {
      for (auto& player : episode.players) act(*player);
    }
  };
  const sim::Scenario& any = episodes.front().scenario;
  training::ProgressBar bar("split_sockets");
  each([](Player& player) { player.Stage(0); });
  std::vector<double> late_ms(episodes.size());
  std::vector<std::thread> threads;
  pace.start = steady_clock::now();
  for (size_t e = 0; e < episodes.size(); ++e) {
    threads.emplace_back([&, e] { late_ms[e] = episodes[e].Offer(pace); });
  }
  for (int interval = 0; interval < any.intervals(); ++interval) {
    const double from_s = interval * any.interval_s;
    std::this_thread::sleep_until(pace.At(from_s));
    each([&](Player& player) {
      if (interval > 0) player.Close();
      player.Decide();
    });
    for (int s = 1; s < any.interval_s; ++s) {
      std::this_thread::sleep_until(pace.At(from_s + s));
      each([&](Player& player) { player.Stage(from_s + s); });
    }
    bar.Show(interval + 1, any.intervals(), "intervals");
  }
  for (std::thread& thread : threads) thread.join();
  each([](Player& player) {
    player.WaitForAnswers();
    player.Close();
  });
  return *std::max_element(late_ms.begin(), late_ms.end());
}

// Kendall's rank correlation of two lists: 1 = the same order, -1 = the opposite one.
double Kendall(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  double pairs = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    for (size_t j = 0; j < i; ++j, ++pairs) {
      const double same = (a[i] - a[j]) * (b[i] - b[j]);
      sum += same > 0 ? 1 : same < 0 ? -1 : 0;
    }
  }
  return pairs > 0 ? sum / pairs : 0;
}

using Results = std::vector<std::vector<sim::EpisodeResult>>;  // [policy][family * episodes + one]

// Of each policy, over the episodes from..to.
std::vector<double> Means(const Results& results, double sim::EpisodeResult::*what, size_t from,
                          size_t to) {
  std::vector<double> means;
  for (const auto& mine : results) {
    double sum = 0;
    for (size_t e = from; e < to; ++e) sum += mine[e].*what;
    means.push_back(sum / static_cast<double>(to - from));
  }
  return means;
}

struct Played {
  Results sockets;
  std::vector<Results> simulated;  // with the scenarios' own arrivals, then kOthers times others
  double late_ms = 0;
  double cores = 0;
};

// Costs of each policy over the episodes from..to.
struct Costs {
  std::vector<double> sockets, simulated;
  std::vector<std::vector<double>> others;  // [play]
  std::vector<double> others_mean;

  Costs(const Played& played, size_t from, size_t to) {
    const auto means = [&](const Results& results) {
      return Means(results, &sim::EpisodeResult::cost, from, to);
    };
    sockets = means(played.sockets);
    simulated = means(played.simulated.front());
    others_mean.resize(sockets.size());
    for (int r = 1; r <= kOthers; ++r) {
      others.push_back(means(played.simulated[r]));
      for (size_t p = 0; p < sockets.size(); ++p) others_mean[p] += others.back()[p] / kOthers;
    }
  }

  nlohmann::ordered_json Of(size_t policy) const {
    double least = others_mean[policy], most = least;
    for (const auto& play : others) {
      least = std::min(least, play[policy]);
      most = std::max(most, play[policy]);
    }
    return {{"sockets", sockets[policy]},
            {"simulated", simulated[policy]},
            {"others_mean", others_mean[policy]},
            {"others_least", least},
            {"others_most", most}};
  }
  // Of two plays of the simulator, on average.
  double OthersTau() const {
    double sum = 0;
    for (size_t a = 0; a < others.size(); ++a) {
      for (size_t b = 0; b < a; ++b) sum += Kendall(others[a], others[b]);
    }
    return 2 * sum / (kOthers * (kOthers - 1));
  }
};

nlohmann::ordered_json ToJson(const Flags& flags, const Played& played) {
  const size_t count = played.sockets.front().size();
  const auto episodes = static_cast<size_t>(flags.episodes);
  const Costs all(played, 0, count);
  nlohmann::ordered_json json = {{"seed", flags.seed},
                                 {"episodes", episodes},
                                 {"cores", played.cores},
                                 {"late_ms", played.late_ms},
                                 {"tau", Kendall(all.sockets, all.simulated)},
                                 {"tau_others_mean", Kendall(all.sockets, all.others_mean)},
                                 {"tau_between_others", all.OthersTau()}};
  for (size_t p = 0; p < flags.policies.size(); ++p) {
    nlohmann::ordered_json row = {{"policy", flags.policies[p]}, {"cost", all.Of(p)}};
    for (const auto& [name, results] :
         {std::pair{"sockets", &played.sockets}, {"simulated", &played.simulated.front()}}) {
      const auto mean = [&](double sim::EpisodeResult::*what) {
        return Means(*results, what, 0, count)[p];
      };
      row[name] = {{"p99_ms", mean(&sim::EpisodeResult::p99_ms)},
                   {"failed_share", mean(&sim::EpisodeResult::failed_share)},
                   {"slow_share", mean(&sim::EpisodeResult::slow_share)},
                   {"slo_minutes", mean(&sim::EpisodeResult::slo_minutes)},
                   {"churn", mean(&sim::EpisodeResult::churn)},
                   {"requests", mean(&sim::EpisodeResult::requests)}};
    }
    json["policies"].push_back(row);
  }
  for (size_t f = 0; f < flags.families.size(); ++f) {
    const Costs costs(played, f * episodes, (f + 1) * episodes);
    nlohmann::ordered_json row = {{"family", flags.families[f]},
                                  {"tau_others_mean", Kendall(costs.sockets, costs.others_mean)}};
    for (size_t p = 0; p < flags.policies.size(); ++p) {
      row["cost"][flags.policies[p]] = costs.Of(p);
    }
    json["families"].push_back(row);
  }
  return json;
}

void Print(const nlohmann::ordered_json& json) {
  const auto number = [](const nlohmann::ordered_json& at, const char* what) {
    return at[what].get<double>();
  };
  const auto cost = [&](const nlohmann::ordered_json& costs) {
    return fmt::format("{:.2f} / {:.2f} / {:.2f} ({:.1f} to {:.1f})", number(costs, "sockets"),
                       number(costs, "simulated"), number(costs, "others_mean"),
                       number(costs, "others_least"), number(costs, "others_most"));
  };
  fmt::print(
      "{} episodes of each family from seed {}; {:.2f} cores used, arrivals {:.0f} ms late at "
      "most\n"
      "cost: sockets / simulated / simulated with {} other arrivals (least to most)\n\n"
      "{:<22}{:>40}   sockets: {:>8}{:>9}{:>9}{:>9}{:>9}   simulated: {:>8}{:>9}{:>9}\n",
      json["episodes"].get<int>(), json["seed"].get<uint64_t>(), number(json, "cores"),
      number(json, "late_ms"), kOthers, "policy", "cost", "p99 ms", "failed%", "slow%", "SLO min",
      "churn", "p99 ms", "failed%", "slow%");
  for (const auto& row : json["policies"]) {
    const auto& real = row["sockets"];
    const auto& simulated = row["simulated"];
    fmt::print("{:<22}{:>40}{:>20.0f}{:>9.3f}{:>9.3f}{:>9.2f}{:>9.2f}{:>22.0f}{:>9.3f}{:>9.3f}\n",
               row["policy"].get<std::string>(), cost(row["cost"]), number(real, "p99_ms"),
               100 * number(real, "failed_share"), 100 * number(real, "slow_share"),
               number(real, "slo_minutes"), number(real, "churn"), number(simulated, "p99_ms"),
               100 * number(simulated, "failed_share"), 100 * number(simulated, "slow_share"));
  }
  for (const auto& row : json["families"]) {
    fmt::print("\n{}, tau {:.2f}\n", row["family"].get<std::string>(),
               number(row, "tau_others_mean"));
    for (const auto& [policy, costs] : row["cost"].items()) {
      fmt::print("{:<22}{:>40}\n", policy, cost(costs));
    }
  }
  fmt::print(
      "\nKendall's tau of the costs on sockets and simulated: {:.2f}, with the mean of other "
      "arrivals {:.2f}; of two plays of the simulator {:.2f}\n",
      number(json, "tau"), number(json, "tau_others_mean"), number(json, "tau_between_others"));
}

// Of this process and of its children that have ended.
double CpuSeconds() {
  double sum = 0;
  for (const int who : {RUSAGE_SELF, RUSAGE_CHILDREN}) {
    rusage used{};
    getrusage(who, &used);
    for (const timeval& time : {used.ru_utime, used.ru_stime}) {
      sum += static_cast<double>(time.tv_sec) + 1e-6 * static_cast<double>(time.tv_usec);
    }
  }
  return sum;
}

int Run(const Flags& flags) {
  const auto learned = LoadQPolicy(flags.learned);
  if (!learned.ok()) {
    fmt::print(stderr, "split_sockets: {}\n", std::string(learned.status().message()));
    return 1;
  }
  const std::string folder =
      std::filesystem::temp_directory_path() / fmt::format("split-sockets-{}", getpid());
  std::filesystem::create_directories(folder);
  auto server = xds::XdsRouter::Start({"127.0.0.1:0", {}}, {{}, {}, true});
  UseControlPlane((*server)->port(), "split-sockets");
  std::srand(1);  // gRPC draws weighted clusters by rand()
  Pace pace{{}, flags.speed};
  std::vector<Episode> episodes(flags.families.size() * static_cast<size_t>(flags.episodes));
  Played played{Results(flags.policies.size()),
                std::vector(1 + kOthers, Results(flags.policies.size()))};
  for (size_t e = 0; e < episodes.size(); ++e) {
    const auto each = static_cast<size_t>(flags.episodes);
    const sim::Scenario& scenario = episodes[e].scenario =
        sim::MakeScenario(flags.families[e / each], flags.seed + e % each);
    for (size_t p = 0; p < flags.policies.size(); ++p) {
      const std::string& name = flags.policies[p];
      sim::Scenario arrivals = scenario;
      for (int r = 0; r <= kOthers; ++r) {
        if (r > 0) arrivals.seed = kOthersSeed + r - 1;
        const auto policy = MakePolicy(name, *learned, scenario.seed);
        played.simulated[r][p].push_back(sim::RunEpisode(arrivals, *policy));
      }
      episodes[e].players.push_back(std::make_unique<Player>(
          scenario, MakePolicy(name, *learned, scenario.seed),
          fmt::format("{}-{}-{}", scenario.family, scenario.seed, name), folder, pace, **server));
    }
  }
  const double used_s = CpuSeconds();
  const SteadyTime start = steady_clock::now();
  played.late_ms = Play(episodes, pace);
  const double took_s = std::chrono::duration<double>(steady_clock::now() - start).count();
  for (Episode& episode : episodes) {
    for (size_t p = 0; p < episode.players.size(); ++p) {
      played.sockets[p].push_back(episode.players[p]->Finish());
    }
    episode.players.clear();
  }
  played.cores = (CpuSeconds() - used_s) / took_s;
  const auto json = ToJson(flags, played);
  std::filesystem::remove_all(folder);
  if (flags.json) {
    fmt::print("{}\n", json.dump(2));
  } else {
    Print(json);
  }
  return 0;
}

}  // namespace
}  // namespace foreshadow::testing

int main(int argc, char** argv) {
  namespace sim = foreshadow::training::router;
  foreshadow::testing::Flags flags;
  // Sessions that stay and requests that are placed one by one are the simulator's only.
  std::vector<std::string> families;
  for (const std::string_view name : sim::ScenarioFamilies()) {
    if (name != "sticky") families.emplace_back(name);
  }
  std::vector<std::string> policies = {"q"};
  for (const std::string_view name : sim::RuleNames()) {
    if (name != "p2c") policies.emplace_back(name);
  }
  CLI::App app("Plays scenarios of the split simulator on real sockets.");
  app.add_option("--family", flags.families, "Of scenarios")->check(CLI::IsMember(families));
  app.add_option("--policy", flags.policies, "\"q\" is the learned one")
      ->check(CLI::IsMember(policies));
  app.add_option("--learned", flags.learned, "Folder of the learned policy")->capture_default_str();
  app.add_option("--episodes", flags.episodes, "Of each family; all at the same time")
      ->check(CLI::Range(1, 100))
      ->capture_default_str();
  app.add_option("--seed", flags.seed, "Of the first episode")->capture_default_str();
  app.add_option("--speed", flags.speed,
                 "Seconds of a scenario, of 900, a second: its rates grow by that, its latencies "
                 "shrink")
      ->check(CLI::Range(0.1, 20.0))
      ->capture_default_str();
  app.add_flag("--json", flags.json, "Print a JSON object");
  CLI11_PARSE(app, argc, argv);
  return foreshadow::testing::Run(flags);
}
