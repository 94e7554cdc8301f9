#include "training/simulate/summary.h"

#include <algorithm>

namespace foreshadow::training {
namespace {

bool Alike(const Setting& a, const Setting& b) {
  return a.headroom == b.headroom && a.create_ms == b.create_ms &&
         a.creations_per_tick == b.creations_per_tick;
}

double Share(double part, double whole) { return whole > 0 ? 100 * part / whole : 0; }

Row SummarizeOne(const std::vector<const WorldResult*>& worlds) {
  Row row;
  row.policy = worlds[0]->policy;
  row.setting = worlds[0]->setting;
  row.worlds = std::ssize(worlds);
  Metrics sum;
  double account_days = 0;
  double tail = 0;
  double episode_p99 = 0;
  double unserved = 0;
  std::vector<double> leads;
  const auto n = static_cast<double>(worlds.size());
  for (const WorldResult* world : worlds) {
    const Metrics& m = world->metrics;
    row.cost += m.cost() / n;
    unserved += m.UnservedShare() / n;
    tail += m.tail_unserved_share / n;
    episode_p99 += m.episode_p99_min / n;
    row.slowdown_mean += m.slowdown_mean / n;
    row.slowdown_p99 += m.slowdown_p99 / n;
    row.time_over_full_percent += 100 * m.time_over_full / n;
    row.copy_degradation_percent += 100 * m.copy_degradation / n;
    row.energy_kwh += m.energy_kwh / n;
    row.esv += m.energy_kwh * m.time_over_full * m.copy_degradation / n;
    row.seconds += world->seconds;
    sum.demand[0] += m.demand[0];
    sum.shadow_core_hours += m.shadow_core_hours;
    sum.cell_hours += m.cell_hours;
    sum.overload_minutes += m.overload_minutes;
    sum.nearly_minutes += m.nearly_minutes;
    sum.account_hours += m.account_hours;
    sum.account_overload_minutes += m.account_overload_minutes;
    sum.moves += m.moves;
    sum.ping_pong += m.ping_pong;
    sum.judged += m.judged;
    sum.false_shadows += m.false_shadows;
    row.created += m.created;
    row.broken += m.broken;
    row.within_15.Add(m.within_15);
    row.within_60.Add(m.within_60);
    account_days += m.account_hours / 24;
    for (const Episode& e : m.episodes) {
      row.recall.Add(e, e.covered);
      if (e.covered) leads.push_back(e.lead_min);
    }
    for (const Episode& e : m.episodes_of_none) row.relief.Add(e, e.covered || e.prevented);
  }
  row.unserved_percent = 100 * unserved;
  row.tail_percent = 100 * tail;
  row.episode_p99_min = episode_p99;
  row.overload_min = 10 * Share(sum.overload_minutes, sum.cell_hours);
  row.nearly_min = 10 * Share(sum.nearly_minutes, sum.cell_hours);
  row.account_overload_min = 10 * Share(sum.account_overload_minutes, sum.account_hours);
  row.shadow_percent = Share(sum.shadow_core_hours, sum.demand[0]);
  row.moves = Share(static_cast<double>(sum.moves), account_days);
  row.ping_pong_percent = Share(static_cast<double>(sum.ping_pong), static_cast<double>(sum.moves));
  row.false_percent =
      Share(static_cast<double>(sum.false_shadows), static_cast<double>(sum.judged));
  if (!leads.empty()) {
    row.lead_p10_min = QuantileOf(leads, 0.1);
    row.lead_p50_min = QuantileOf(leads, 0.5);
  }
  return row;
}

}  // namespace

void Coverage::Add(const Episode& episode, bool was_in_time) {
  ++episodes;
  in_time += was_in_time;
  foreseeable += episode.foreseeable;
  foreseeable_in_time += episode.foreseeable && was_in_time;
}

double Coverage::percent() const { return Share(in_time, episodes); }
double Coverage::foreseeable_percent() const { return Share(foreseeable, episodes); }
double Coverage::of_foreseeable_percent() const { return Share(foreseeable_in_time, foreseeable); }

std::vector<Row> Summarize(const std::vector<WorldResult>& results) {
  std::vector<Row> rows;
  std::vector<bool> taken(results.size(), false);
  for (size_t i = 0; i < results.size(); ++i) {
    if (taken[i]) continue;
    std::vector<const WorldResult*> worlds;
    for (size_t k = i; k < results.size(); ++k) {
      if (results[k].policy != results[i].policy ||
          !Alike(results[k].setting, results[i].setting)) {
        continue;
      }
      taken[k] = true;
      worlds.push_back(&results[k]);
    }
    Row row = SummarizeOne(worlds);
    row.skill = Bootstrap(Skills(results, row.policy, "reactive", "oracle",
                                 [&](const Setting& s) { return Alike(s, row.setting); }),
                          /*seed=*/1);
    rows.push_back(std::move(row));
  }
  return rows;
}

PriceCheck CheckPrices(const std::vector<WorldResult>& results, const std::string& better,
                       const std::string& worse) {
  const auto cost = [&](const std::string& policy, const Prices& prices) {
    double sum = 0;
    for (const WorldResult& r : results) {
      if (r.policy == policy) sum += r.metrics.cost(prices);
    }
    return sum;
  };
  PriceCheck check;
  for (double Prices::*price : {&Prices::unserved_core_hour, &Prices::overloaded_core_hour,
                                &Prices::shadow_core_hour, &Prices::move}) {
    for (const double factor : {0.25, 4.0}) {
      Prices changed = kPrices;
      changed.*price *= factor;
      ++check.of;
      check.held += cost(better, changed) < cost(worse, changed);
    }
  }
  return check;
}

}  // namespace foreshadow::training
