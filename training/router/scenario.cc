#include "training/router/scenario.h"

#include <algorithm>
#include <functional>
#include <random>
#include <utility>

#include "kernels/check.h"

namespace foreshadow::training::router {
namespace {

using Random = std::mt19937_64;

double Draw(Random& random, double from, double to) {
  return std::uniform_real_distribution<double>(from, to)(random);
}

// Demand in shares of what the primary carries.
void SetDemand(Scenario& s, double load) {
  s.demand_rps = s.foreseen_rps = Profile(load * s.primary_rps());
}

void Both(Scenario& s, double from_s, double to_s, double load, double edge_s) {
  s.demand_rps.Set(from_s, to_s, load * s.primary_rps(), edge_s);
  s.foreseen_rps.Set(from_s, to_s, load * s.primary_rps(), edge_s);
}

// A foreseen surge above what the primary carries: what shadows are made for. The rest of the
// families are this and something that goes wrong.
void Surge(Scenario& s, Random& r) {
  SetDemand(s, Draw(r, 0.45, 0.75));
  const double from_s = Draw(r, 90, 300);
  Both(s, from_s, from_s + Draw(r, 240, 480), Draw(r, 1.05, 1.5), Draw(r, 20, 120));
}

void Spike(Scenario& s, Random& r) {
  SetDemand(s, Draw(r, 0.4, 0.7));
  const double from_s = Draw(r, 120, 500);
  s.demand_rps.Set(from_s, from_s + Draw(r, 30, 120), Draw(r, 1.1, 1.6) * s.primary_rps(), 5);
}

void Drift(Scenario& s, Random& r) {
  SetDemand(s, Draw(r, 0.4, 0.6));
  Both(s, s.duration_s - 60, 2 * s.duration_s, Draw(r, 1.05, 1.4), s.duration_s - 120);
}

void Waves(Scenario& s, Random& r) {
  SetDemand(s, Draw(r, 0.4, 0.6));
  const double high = Draw(r, 1.05, 1.35);
  const double period_s = Draw(r, 180, 300);
  for (double at_s = 60; at_s < s.duration_s; at_s += period_s) {
    Both(s, at_s, at_s + period_s / 2, high, 25);
  }
}

using Family = std::pair<std::string_view, std::function<void(Scenario&, Random&)>>;

const std::vector<Family>& Families() {
  static const auto* families = new std::vector<Family>{
      {"healthy", [](Scenario& s, Random& r) { SetDemand(s, Draw(r, 0.3, 0.65)); }},
      {"surge", Surge},
      {"steep-surge",
       [](Scenario& s, Random& r) {
         SetDemand(s, Draw(r, 0.5, 0.75));
         const double from_s = Draw(r, 60, 180);
         Both(s, from_s, from_s + Draw(r, 240, 480), Draw(r, 1.3, 1.7), 10);
       }},
      {"spike", Spike},
      {"drift", Drift},
      {"waves", Waves},
      {"cold-shadow",
       [](Scenario& s, Random& r) {
         Surge(s, r);
         s.cold_extra = Draw(r, 1.5, 4);
         s.cold_requests = Draw(r, 300, 3'000);
       }},
      {"slow-shadow",
       [](Scenario& s, Random& r) {
         Surge(s, r);
         s.shadow_speed = Profile(Draw(r, 0.35, 0.6));
       }},
      {"small-shadow",
       [](Scenario& s, Random& r) {
         Surge(s, r);
         s.shadow_servers = std::max(2, s.primary_servers / 3);
       }},
      {"failing-fast",
       [](Scenario& s, Random& r) {
         Surge(s, r);
         s.shadow_failed = Profile(Draw(r, 0.2, 1));
       }},
      {"fails-later",
       [](Scenario& s, Random& r) {
         Surge(s, r);
         const double from_s = Draw(r, 150, 500);
         s.shadow_failed.Set(from_s, from_s + Draw(r, 60, 200), Draw(r, 0.2, 1), 2);
       }},
      {"slows-later",
       [](Scenario& s, Random& r) {
         Surge(s, r);
         const double from_s = Draw(r, 150, 500);
         s.shadow_speed.Set(from_s, from_s + Draw(r, 60, 200), Draw(r, 0.15, 0.4), 10);
       }},
      {"stale-metrics",
       [](Scenario& s, Random& r) {
         Surge(s, r);
         s.stale_from_s = Draw(r, 60, 400);
         s.stale_to_s = s.stale_from_s + Draw(r, 60, 240);
       }},
      {"flapping-primary",
       [](Scenario& s, Random& r) {
         SetDemand(s, Draw(r, 0.55, 0.75));
         const double period_s = Draw(r, 60, 140);
         for (double at_s = 60; at_s < s.duration_s; at_s += period_s) {
           s.primary_speed.Set(at_s, at_s + period_s / 2, 0.5, 4);
         }
       }},
      {"source-recovers",
       [](Scenario& s, Random& r) {
         SetDemand(s, Draw(r, 0.5, 0.7));
         const double from_s = Draw(r, 60, 200);
         const double to_s = from_s + Draw(r, 60, 200);
         const double speed = Draw(r, 0.4, 0.7);
         s.primary_speed.Set(from_s, to_s, speed, 20);
         s.foreseen_speed.Set(from_s, to_s, speed, 20);
       }},
      {"noisy-neighbour",
       [](Scenario& s, Random& r) {
         SetDemand(s, Draw(r, 0.5, 0.75));
         const double from_s = Draw(r, 60, 400);
         s.primary_speed.Set(from_s, from_s + Draw(r, 120, 400), Draw(r, 0.4, 0.7), 10);
       }},
      {"primary-errors",
       [](Scenario& s, Random& r) {
         SetDemand(s, Draw(r, 0.4, 0.7));
         const double from_s = Draw(r, 60, 400);
         s.primary_failed.Set(from_s, from_s + Draw(r, 100, 400), Draw(r, 0.05, 0.4), 5);
       }},
      {"primary-dies",
       [](Scenario& s, Random& r) {
         Surge(s, r);
         s.primary_failed.Set(Draw(r, 100, 600), 2 * s.duration_s, 1, 1);
       }},
      {"low-traffic",
       [](Scenario& s, Random& r) {
         s.primary_servers = s.shadow_servers = 2;
         s.service_ms = Draw(r, 100, 160);
         Surge(s, r);
       }},
      {"sticky",
       [](Scenario& s, Random& r) {
         Surge(s, r);
         s.sticky_s = Draw(r, 30, 120);
       }},
      {"lying-agent",
       [](Scenario& s, Random& r) {
         Surge(s, r);
         s.shadow_servers = std::max(2, s.primary_servers / 2);
         s.told_ready = Draw(r, 2, 4);
       }},
      {"false-alarm",
       [](Scenario& s, Random& r) {
         SetDemand(s, Draw(r, 0.4, 0.7));
         const double from_s = Draw(r, 90, 300);
         s.foreseen_rps.Set(from_s, from_s + 300, Draw(r, 1.05, 1.4) * s.primary_rps(), 60);
       }},
      {"both-too-small",
       [](Scenario& s, Random& r) {
         Surge(s, r);
         s.shadow_servers = s.primary_servers / 2;
         const double from_s = Draw(r, 100, 300);
         Both(s, from_s, from_s + Draw(r, 100, 300), Draw(r, 1.5, 1.8), 30);
       }},
  };
  return *families;
}

}  // namespace

double Profile::At(double s) const {
  if (knots.empty()) return 0;
  if (s <= knots.front().at_s) return knots.front().value;
  for (size_t k = 1; k < knots.size(); ++k) {
    if (s > knots[k].at_s) continue;
    const Knot& a = knots[k - 1];
    const Knot& b = knots[k];
    const double span_s = b.at_s - a.at_s;
    return span_s > 0 ? a.value + (b.value - a.value) * (s - a.at_s) / span_s : b.value;
  }
  return knots.back().value;
}

void Profile::Set(double from_s, double to_s, double value, double edge_s) {
  const double before = At(from_s - edge_s);
  const double after = At(to_s + edge_s);
  std::erase_if(
      knots, [&](const Knot& k) { return k.at_s >= from_s - edge_s && k.at_s <= to_s + edge_s; });
  knots.insert(knots.end(),
               {{from_s - edge_s, before}, {from_s, value}, {to_s, value}, {to_s + edge_s, after}});
  std::stable_sort(knots.begin(), knots.end(),
                   [](const Knot& a, const Knot& b) { return a.at_s < b.at_s; });
}

const std::vector<std::string_view>& ScenarioFamilies() {
  static const auto* names = [] {
    auto* list = new std::vector<std::string_view>;
    for (const Family& family : Families()) list->push_back(family.first);
    return list;
  }();
  return *names;
}

Scenario MakeScenario(std::string_view family, uint64_t seed) {
  Scenario s;
  s.family = family;
  s.seed = seed;
  const auto& families = Families();
  const auto found = std::find_if(families.begin(), families.end(),
                                  [&](const Family& f) { return f.first == family; });
  FORESHADOW_CHECK(found != families.end());
  Random random(seed * 1'000 + static_cast<uint64_t>(found - families.begin()));
  s.primary_servers = static_cast<int>(Draw(random, 4, 9));
  s.shadow_servers = s.primary_servers + static_cast<int>(Draw(random, 0, 3));
  s.service_ms = Draw(random, 45, 60);
  s.forecast_sigma = Draw(random, 0.01, 0.05);
  found->second(s, random);
  return s;
}

}  // namespace foreshadow::training::router
