#include "training/simulate/report.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <nlohmann/json.hpp>

#include "training/simulate/summary.h"

namespace foreshadow::training {
namespace {

using nlohmann::ordered_json;

ordered_json ToJson(const Reliability& r) {
  ordered_json bins = ordered_json::array();
  for (size_t b = 0; b < r.count.size(); ++b) {
    if (r.count[b] == 0) continue;
    const auto n = static_cast<double>(r.count[b]);
    bins.push_back({{"said", r.said[b] / n}, {"came", r.came[b] / n}, {"count", r.count[b]}});
  }
  return {{"brier", r.brier()}, {"ece", r.ece()}, {"base_rate", r.base_rate()}, {"bins", bins}};
}

ordered_json ToJson(const Coverage& c) {
  return {{"episodes", c.episodes},
          {"percent", c.percent()},
          {"foreseeable_percent", c.foreseeable_percent()},
          {"of_foreseeable_percent", c.of_foreseeable_percent()}};
}

ordered_json ToJson(const Row& row) {
  return {{"policy", row.policy},
          {"headroom", row.setting.headroom},
          {"create_s", row.setting.create_ms / 1'000},
          {"creations_per_tick", row.setting.creations_per_tick},
          {"worlds", row.worlds},
          {"cost", row.cost},
          {"skill",
           {{"median", row.skill.median},
            {"low", row.skill.low},
            {"high", row.skill.high},
            {"pairs", row.skill.count}}},
          {"unserved_percent", row.unserved_percent},
          {"overload_minutes_per_1000_cell_hours", row.overload_min},
          {"over_90_percent_minutes_per_1000_cell_hours", row.nearly_min},
          {"account_overload_minutes_per_1000_account_hours", row.account_overload_min},
          {"worst_accounts_unserved_percent", row.tail_percent},
          {"episode_p99_minutes", row.episode_p99_min},
          {"shadow_percent_of_demand", row.shadow_percent},
          {"moves_per_100_account_days", row.moves},
          {"ping_pong_percent", row.ping_pong_percent},
          {"shadows_created", row.created},
          {"false_shadows_percent", row.false_percent},
          {"recall", ToJson(row.recall)},
          {"relief", ToJson(row.relief)},
          {"lead_p10_minutes", row.lead_p10_min},
          {"lead_p50_minutes", row.lead_p50_min},
          {"overload_within_15_minutes", ToJson(row.within_15)},
          {"overload_within_60_minutes", ToJson(row.within_60)},
          {"slowdown_mean", row.slowdown_mean},
          {"slowdown_p99", row.slowdown_p99},
          {"slatah_percent", row.time_over_full_percent},
          {"pdm_percent", row.copy_degradation_percent},
          {"slav_percent2", row.time_over_full_percent * row.copy_degradation_percent},
          {"energy_kwh", row.energy_kwh},
          {"esv_kwh", row.esv},
          {"broken_invariants", row.broken},
          {"tick_seconds", row.seconds}};
}

}  // namespace

void PrintTable(const ReportContext& context, const std::vector<WorldResult>& results) {
  fmt::print("{}: {} accounts, {} cells, {} steps of {} s, scored from step {} on; constants {}\n",
             fmt::join(context.traces, ", "), context.accounts, context.cells, context.steps,
             context.step_ms / 1'000, context.first_step, ConstantsHash());
  fmt::print(
      "{:<16} {:>5} {:>9} {:>20} {:>7} {:>7} {:>7} {:>6} {:>6} {:>5} {:>5} {:>5} {:>5} {:>6} "
      "{:>5} {:>5} {:>6} {:>6}\n",
      "policy", "room", "cost J", "skill (95 %)", "U %", "OM", "AOM", "SH %", "moves", "PP %",
      "FP %", "REC %", "foR %", "REL %", "foL %", "lead10", "ECE15", "ECE60");
  for (const Row& r : Summarize(results)) {
    fmt::print(
        "{:<16} {:>5.2f} {:>9.1f} {:>6.2f} ({:>5.2f},{:>5.2f}) {:>7.3f} {:>7.1f} {:>7.1f} {:>6.2f} "
        "{:>6.1f} {:>5.1f} {:>5.0f} {:>5.0f} {:>5.0f} {:>5.0f} {:>5.0f} {:>6.0f} {:>6.3f} "
        "{:>6.3f}\n",
        r.policy, r.setting.headroom, r.cost, r.skill.median, r.skill.low, r.skill.high,
        r.unserved_percent, r.overload_min, r.account_overload_min, r.shadow_percent, r.moves,
        r.ping_pong_percent, r.false_percent, r.recall.percent(), r.recall.of_foreseeable_percent(),
        r.relief.percent(), r.relief.of_foreseeable_percent(), r.lead_p10_min, r.within_15.ece(),
        r.within_60.ece());
    if (r.broken > 0) fmt::print("  {} invariants broken\n", r.broken);
  }
  for (const std::string& note : context.notes) fmt::print("{}\n", note);
}

std::string ReportJson(const ReportContext& context, const std::vector<WorldResult>& results) {
  ordered_json rows = ordered_json::array();
  for (const Row& row : Summarize(results)) rows.push_back(ToJson(row));
  std::vector<uint64_t> seeds;
  seeds.reserve(results.size());
  for (const WorldResult& r : results) seeds.push_back(r.setting.seed);
  std::ranges::sort(seeds);
  seeds.erase(std::unique(seeds.begin(), seeds.end()), seeds.end());
  return ordered_json{{"traces", context.traces},
                      {"accounts", context.accounts},
                      {"cells", context.cells},
                      {"steps", context.steps},
                      {"step_ms", context.step_ms},
                      {"first_scored_step", context.first_step},
                      {"seeds", seeds},
                      {"constants", ConstantsText()},
                      {"constants_hash", ConstantsHash()},
                      {"notes", context.notes},
                      {"rows", rows}}
             .dump(1) +
         "\n";
}

}  // namespace foreshadow::training
