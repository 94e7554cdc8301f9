// What happens in one episode of the split simulator: who serves how fast, what is asked for, what
// goes wrong, and what the policies are told of it. Plain data; drawn from a family and a seed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace foreshadow::training::router {

// A value over time: straight lines between knots, constant before the first and after the last.
struct Profile {
  struct Knot {
    double at_s = 0;
    double value = 0;
  };
  std::vector<Knot> knots;

  Profile() = default;
  explicit Profile(double value) : knots{{0, value}} {}
  double At(double s) const;
  // `value` between from and to, with edges so long; the last value before and after.
  void Set(double from_s, double to_s, double value, double edge_s);
};

struct Scenario {
  std::string family;
  uint64_t seed = 0;
  double duration_s = 900;
  double interval_s = 10;
  int primary_servers = 8;
  int shadow_servers = 8;
  double service_ms = 50;  // mean at speed 1
  double slo_ms = 400;
  double timeout_ms = 2'000;  // a request that has waited that long is gone

  Profile demand_rps;
  Profile foreseen_rps;  // what forecasts know of it
  Profile primary_speed{1};
  Profile foreseen_speed{1};  // of the primary: a neighbour's surge slows it
  Profile shadow_speed{1};
  Profile primary_failed{0};  // share of requests that fail
  Profile shadow_failed{0};
  bool fails_fast = true;  // at once, or after as long as an answer takes
  // A cold shadow takes 1 + cold_extra times as long; what it has served warms it.
  double cold_extra = 0;
  double cold_requests = 1;  // until a share 1/e of the extra is left
  double stale_from_s = 0;   // no new measurements in between
  double stale_to_s = 0;
  double sticky_s = 0;           // mean length of a session that stays where it began
  double told_ready = 1;         // what the shadow says it carries, in truths
  double forecast_sigma = 0.03;  // of a logarithm, a minute ahead; grows with the root of time
  double foreseen_s = 900;       // horizon

  double primary_rps() const { return 1'000 * primary_servers / service_ms; }
  double shadow_rps() const { return 1'000 * shadow_servers / service_ms; }
  int intervals() const { return static_cast<int>(duration_s / interval_s); }
};

// Names of all families, the order of the tables.
const std::vector<std::string_view>& ScenarioFamilies();

// Sizes, times and heights are drawn; the same family and seed give the same episode. An unknown
// family is a bug of the caller.
Scenario MakeScenario(std::string_view family, uint64_t seed);

}  // namespace foreshadow::training::router
