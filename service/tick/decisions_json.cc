#include "service/tick/decisions_json.h"

#include <fmt/core.h>

#include <algorithm>
#include <array>
#include <nlohmann/json.hpp>
#include <unordered_map>

namespace foreshadow {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Calibration::Bin, weight, said, came)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Calibration, weights, information, bins)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Migration, from, step_since_ms, drain_since_ms, measured,
                                   requests, failed, primary_requests, primary_failed,
                                   primary_p99_ms, aborted_ms, reason)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SettingChange, key, value, reason, changed_ms)

namespace {

using nlohmann::json;

// Thrown inside this file for an id that is not in the fleet; never leaves it.
struct UnknownId {
  std::string what;
};

struct Ids {
  explicit Ids(const Fleet& of) : fleet(of) {
    for (size_t i = 0; i < fleet.accounts.size(); ++i) {
      accounts[fleet.accounts[i].id] = static_cast<int32_t>(i);
    }
    for (size_t i = 0; i < fleet.cells.size(); ++i) {
      cells[fleet.cells[i].id] = static_cast<int32_t>(i);
    }
  }
  int32_t Account(const std::string& id) const { return At(accounts, "account", id); }
  int32_t Cell(const std::string& id) const { return At(cells, "cell", id); }

  static int32_t At(const std::unordered_map<std::string, int32_t>& map, const char* kind,
                    const std::string& id) {
    const auto it = map.find(id);
    if (it == map.end()) throw UnknownId{fmt::format("{} {}", kind, id)};
    return it->second;
  }

  const Fleet& fleet;
  std::unordered_map<std::string, int32_t> accounts;
  std::unordered_map<std::string, int32_t> cells;
};

// Enums are written by name, so that the log is readable and the order of an enum may change.
template <typename Enum>
Enum EnumFrom(const json& j, int count) {
  const std::string name = j.get<std::string>();
  for (int i = 0; i < count; ++i) {
    if (name == Name(static_cast<Enum>(i))) return static_cast<Enum>(i);
  }
  throw UnknownId{"value " + name};
}

json ToJson(const Action& a) {
  return {{"id", a.id},
          {"kind", Name(a.kind)},
          {"state", Name(a.state)},
          {"instance_id", a.instance_id},
          {"account", a.account},
          {"source_cell", a.source_cell},
          {"target_cell", a.target_cell},
          {"split", a.split},
          {"shed", a.shed},
          {"reserved", a.reserved},
          {"run", a.run},
          {"epoch", a.epoch},
          {"decided_ms", a.decided_ms},
          {"settled_ms", a.settled_ms},
          {"retry_at_ms", a.retry_at_ms},
          {"attempts", a.attempts},
          {"reason", a.reason},
          {"message", a.message}};
}

Action ActionFrom(const json& j) {
  Action a;
  j.at("id").get_to(a.id);
  a.kind = EnumFrom<ActionKind>(j.at("kind"), kActionKinds);
  a.state = EnumFrom<ActionState>(j.at("state"), 4);
  j.at("instance_id").get_to(a.instance_id);
  j.at("account").get_to(a.account);
  j.at("source_cell").get_to(a.source_cell);
  j.at("target_cell").get_to(a.target_cell);
  j.at("split").get_to(a.split);
  a.shed = j.value("shed", 0.0);  // not in what older versions wrote
  j.at("reserved").get_to(a.reserved);
  a.run = j.value("run", false);
  a.epoch = j.value("epoch", uint64_t{0});
  j.at("decided_ms").get_to(a.decided_ms);
  j.at("settled_ms").get_to(a.settled_ms);
  j.at("retry_at_ms").get_to(a.retry_at_ms);
  j.at("attempts").get_to(a.attempts);
  j.at("reason").get_to(a.reason);
  j.at("message").get_to(a.message);
  return a;
}

json ToJson(const CellRisk& r, const Fleet& fleet) {
  const auto steps = [&](const auto& values) {
    return std::vector<double>(values.begin(), values.begin() + r.steps);
  };
  return {{"cell", fleet.cells[r.cell].id},
          {"probability", r.probability},
          {"expected_ms", r.expected_ms},
          {"resource", Name(static_cast<SignalKind>(r.resource))},
          {"capacity", r.capacity},
          {"p50", steps(r.p50)},
          {"p95", steps(r.p95)},
          {"step_probability", steps(r.step_probability)}};
}

CellRisk RiskFrom(const json& j, const Ids& ids) {
  CellRisk r;
  r.cell = ids.Cell(j.at("cell").get<std::string>());
  j.at("probability").get_to(r.probability);
  j.at("expected_ms").get_to(r.expected_ms);
  r.resource = static_cast<int32_t>(EnumFrom<SignalKind>(j.at("resource"), kResources));
  j.at("capacity").get_to(r.capacity);
  const auto steps = [&](const char* key, auto& values) {
    const auto read = j.at(key).get<std::vector<double>>();
    r.steps = static_cast<int32_t>(std::min<size_t>(read.size(), kHorizonStepsMax));
    std::copy_n(read.begin(), r.steps, values.begin());
  };
  steps("p50", r.p50);
  steps("p95", r.p95);
  steps("step_probability", r.step_probability);
  return r;
}

json ToJson(const Explanation& e, const Fleet& fleet) {
  json alternatives = json::array();
  for (const Alternative& a : e.alternatives) {
    alternatives.push_back({{"account", a.account},
                            {"target_cell", a.target_cell},
                            {"refused_because", a.refused_because}});
  }
  return {{"action", ToJson(e.action)},
          {"risk", ToJson(e.risk, fleet)},
          {"probability_after", e.probability_after},
          {"gain", e.gain},
          {"state_bytes", e.state_bytes},
          {"lead_ms", e.lead_ms},
          {"urgency", Name(e.urgency)},
          {"account_p50", e.account_p50},
          {"account_p95", e.account_p95},
          {"target_utilisation_before", e.target_utilisation_before},
          {"target_utilisation_after", e.target_utilisation_after},
          {"alternatives", alternatives},
          {"model", e.model},
          {"guard_rails", e.guard_rails}};
}

Explanation ExplanationFrom(const json& j, const Ids& ids) {
  Explanation e;
  e.action = ActionFrom(j.at("action"));
  e.risk = RiskFrom(j.at("risk"), ids);
  j.at("probability_after").get_to(e.probability_after);
  // Not in what older versions wrote.
  e.gain = j.value("gain", 0.0);
  e.state_bytes = j.value("state_bytes", 0.0);
  e.lead_ms = j.value("lead_ms", 0.0);
  if (j.contains("urgency")) e.urgency = EnumFrom<Urgency>(j.at("urgency"), kUrgencyNames.size());
  j.at("account_p50").get_to(e.account_p50);
  j.at("account_p95").get_to(e.account_p95);
  j.at("target_utilisation_before").get_to(e.target_utilisation_before);
  j.at("target_utilisation_after").get_to(e.target_utilisation_after);
  for (const json& a : j.at("alternatives")) {
    e.alternatives.push_back({a.at("account").get<std::string>(),
                              a.at("target_cell").get<std::string>(),
                              a.at("refused_because").get<std::string>()});
  }
  j.at("model").get_to(e.model);
  j.at("guard_rails").get_to(e.guard_rails);
  return e;
}

json ToJson(const SplitMemory& m) {
  const GuardMemory& g = m.guard;
  return {{"railed", m.railed},
          {"guard",
           {g.requests, g.failed, g.slow, g.proven_rps, g.proven_age_s, g.cooling_s, g.worse_share,
            g.cooling_next_s, g.worse_rps, g.latency_ms[0], g.latency_ms[1], g.success[0],
            g.success[1], g.share, g.follows, g.carries}},
          {"changed_ms", m.changed_ms},
          {"split_before", m.split_before},
          {"reason", m.reason},
          {"rail", m.rail}};
}

SplitMemory SplitMemoryFrom(const json& j) {
  SplitMemory m;
  j.at("railed").get_to(m.railed);
  json guard = j.at("guard");
  if (guard.size() == 13) guard.insert(guard.end(), {0.0, 1.0});  // older ones end with success
  if (guard.size() == 15) guard.push_back(1.0);                   // or with follows
  const auto g = guard.get<std::array<double, 16>>();
  m.guard = {g[0], g[1], g[2],          g[3],           g[4],  g[5],  g[6],
             g[7], g[8], {g[9], g[10]}, {g[11], g[12]}, g[13], g[14], g[15]};
  j.at("changed_ms").get_to(m.changed_ms);
  j.at("split_before").get_to(m.split_before);
  j.at("reason").get_to(m.reason);
  j.at("rail").get_to(m.rail);
  return m;
}

json ToJson(const Shadow& s, const Fleet& fleet) {
  return {{"instance_id", s.instance_id},
          {"account", fleet.accounts[s.account].id},
          {"source", fleet.cells[s.source].id},
          {"target", fleet.cells[s.target].id},
          {"state", Name(s.state)},
          {"split", s.split},
          {"wanted_split", s.wanted_split},
          {"shed", s.shed},
          {"wanted_shed", s.wanted_shed},
          {"failed_over", s.failed_over},
          {"created_ms", s.created_ms},
          {"since_ms", s.since_ms},
          {"idle_since_ms", s.idle_since_ms},
          {"moved_ms", s.moved_ms},
          {"reserved", s.reserved},
          {"learned", ToJson(s.learned)},
          {"migration", s.migration}};
}

Shadow ShadowFrom(const json& j, const Ids& ids) {
  Shadow s;
  j.at("instance_id").get_to(s.instance_id);
  s.account = ids.Account(j.at("account").get<std::string>());
  s.source = ids.Cell(j.at("source").get<std::string>());
  s.target = ids.Cell(j.at("target").get<std::string>());
  s.state = EnumFrom<ShadowState>(j.at("state"), kShadowStates);
  j.at("split").get_to(s.split);
  j.at("wanted_split").get_to(s.wanted_split);
  s.shed = j.value("shed", 0.0);
  s.wanted_shed = j.value("wanted_shed", 0.0);
  s.failed_over = j.value("failed_over", false);  // older decisions do not know it
  j.at("created_ms").get_to(s.created_ms);
  j.at("since_ms").get_to(s.since_ms);
  j.at("idle_since_ms").get_to(s.idle_since_ms);
  s.moved_ms = j.value("moved_ms", int64_t{0});  // not in what older versions wrote
  j.at("reserved").get_to(s.reserved);
  if (j.contains("learned")) s.learned = SplitMemoryFrom(j.at("learned"));  // not in older ones
  if (j.contains("migration")) j.at("migration").get_to(s.migration);
  return s;
}

json ToJson(const Scores& s) {
  return {{"ticks", s.ticks},
          {"overloads", s.overloads},
          {"overloads_foreseen", s.overloads_foreseen},
          {"alarms", s.alarms},
          {"alarms_false", s.alarms_false},
          {"lead_minutes", s.lead_minutes},
          {"overload_minutes_without", s.overload_minutes_without},
          {"overload_minutes_with", s.overload_minutes_with},
          {"shadows_created", s.shadows_created},
          {"shadow_hours", s.shadow_hours},
          {"scaled_error_sum", s.scaled_error_sum},
          {"scaled_pinball_sum", s.scaled_pinball_sum},
          {"scored_count", s.scored_count}};
}

Scores ScoresFrom(const json& j) {
  Scores s;
  j.at("ticks").get_to(s.ticks);
  j.at("overloads").get_to(s.overloads);
  j.at("overloads_foreseen").get_to(s.overloads_foreseen);
  j.at("alarms").get_to(s.alarms);
  j.at("alarms_false").get_to(s.alarms_false);
  j.at("lead_minutes").get_to(s.lead_minutes);
  j.at("overload_minutes_without").get_to(s.overload_minutes_without);
  j.at("overload_minutes_with").get_to(s.overload_minutes_with);
  j.at("shadows_created").get_to(s.shadows_created);
  j.at("shadow_hours").get_to(s.shadow_hours);
  j.at("scaled_error_sum").get_to(s.scaled_error_sum);
  j.at("scaled_pinball_sum").get_to(s.scaled_pinball_sum);
  j.at("scored_count").get_to(s.scored_count);
  return s;
}

json ToJson(const EvaluatedModel& m) {
  return {{"scaled_error_sum", m.scaled_error_sum},
          {"scaled_pinball_sum", m.scaled_pinball_sum},
          {"inside_80", m.inside_80},
          {"pinball_sum", m.pinball_sum}};
}

EvaluatedModel EvaluatedFrom(const json& j) {
  EvaluatedModel m;
  j.at("scaled_error_sum").get_to(m.scaled_error_sum);
  j.at("scaled_pinball_sum").get_to(m.scaled_pinball_sum);
  j.at("inside_80").get_to(m.inside_80);
  j.at("pinball_sum").get_to(m.pinball_sum);
  return m;
}

json ToJson(const Evaluation& e) {
  return {{"candidate", e.candidate},
          {"against", e.against},
          {"serving", e.serving},
          {"since_ms", e.since_ms},
          {"until_ms", e.until_ms},
          {"ticks", e.ticks},
          {"scored", e.scored},
          {"unanswered", e.unanswered},
          {"actual_sum", e.actual_sum},
          {"of_candidate", ToJson(e.of_candidate)},
          {"of_against", ToJson(e.of_against)},
          {"batch_count", e.difference.batch_count},
          {"means", e.difference.means},
          {"open_sum", e.difference.open_sum},
          {"open_count", e.difference.open_count}};
}

Evaluation EvaluationFrom(const json& j) {
  Evaluation e;
  j.at("candidate").get_to(e.candidate);
  j.at("against").get_to(e.against);
  j.at("serving").get_to(e.serving);
  j.at("since_ms").get_to(e.since_ms);
  j.at("until_ms").get_to(e.until_ms);
  j.at("ticks").get_to(e.ticks);
  j.at("scored").get_to(e.scored);
  j.at("unanswered").get_to(e.unanswered);
  j.at("actual_sum").get_to(e.actual_sum);
  e.of_candidate = EvaluatedFrom(j.at("of_candidate"));
  e.of_against = EvaluatedFrom(j.at("of_against"));
  j.at("batch_count").get_to(e.difference.batch_count);
  j.at("means").get_to(e.difference.means);
  j.at("open_sum").get_to(e.difference.open_sum);
  j.at("open_count").get_to(e.difference.open_count);
  return e;
}

json ToJson(const DriftTest& t) {
  return {{"sums", t.sums}, {"excess", t.excess}, {"since_ms", t.since_ms}};
}

DriftTest DriftTestFrom(const json& j) {
  DriftTest t;
  j.at("sums").get_to(t.sums);
  j.at("excess").get_to(t.excess);
  j.at("since_ms").get_to(t.since_ms);
  return t;
}

json ToJson(const DriftWatches& watches) {
  json all;
  for (int signal = 0; signal < kSignals; ++signal) {
    const DriftWatch& w = watches[signal];
    all[Name(static_cast<SignalKind>(signal))] = {{"usual_loss", w.usual_loss},
                                                  {"ticks", w.ticks},
                                                  {"coverage", ToJson(w.coverage)},
                                                  {"loss", ToJson(w.loss)}};
  }
  return all;
}

DriftWatches DriftFrom(const json& j) {
  DriftWatches watches;
  for (int signal = 0; signal < kSignals; ++signal) {
    const json& w = j.at(Name(static_cast<SignalKind>(signal)));
    w.at("usual_loss").get_to(watches[signal].usual_loss);
    w.at("ticks").get_to(watches[signal].ticks);
    watches[signal].coverage = DriftTestFrom(w.at("coverage"));
    watches[signal].loss = DriftTestFrom(w.at("loss"));
  }
  return watches;
}

json OriginsToJson(const std::vector<Origin>& origins, const Fleet& fleet) {
  json all = json::object();
  for (const Origin& o : origins) all[fleet.accounts[o.account].id] = fleet.cells[o.cell].id;
  return all;
}

// One whose account or cell is no longer known has nothing left to tell.
std::vector<Origin> OriginsFrom(const json& j, const Ids& ids) {
  std::vector<Origin> origins;
  for (const auto& [account, cell] : j.items()) {
    const auto a = ids.accounts.find(account);
    const auto c = ids.cells.find(cell.get<std::string>());
    if (a != ids.accounts.end() && c != ids.cells.end()) origins.push_back({a->second, c->second});
  }
  return origins;
}

json ToJson(const RailsMemory& rails, const Fleet& fleet) {
  json cool_downs = json::object();
  for (const CoolDown& c : rails.cool_downs) {
    cool_downs[fleet.accounts[c.account].id] = {{"until_ms", c.until_ms}, {"moved", c.moved}};
  }
  json overloaded = json::object();
  for (size_t c = 0; c < rails.overloaded_since_ms.size(); ++c) {
    const int64_t since_ms = rails.overloaded_since_ms[c];
    if (since_ms != 0) overloaded[fleet.cells[c].id] = since_ms;
  }
  json nearly_full = json::object();
  for (size_t c = 0; c < rails.nearly_full.size(); ++c) {
    const Stretch& s = rails.nearly_full[c];
    if (s == Stretch{}) continue;
    nearly_full[fleet.cells[c].id] = {{"since_ms", s.since_ms}, {"last_ms", s.last_ms}};
  }
  return {{"nearly_full", nearly_full},         {"overloaded_since_ms", overloaded},
          {"unsettled_ms", rails.unsettled_ms}, {"unsettled_why", rails.unsettled_why},
          {"cool_downs", cool_downs},           {"creations_left", rails.creations_left},
          {"cores_left", rails.cores_left}};
}

RailsMemory RailsFrom(const json& j, const Ids& ids) {
  RailsMemory rails;
  j.at("unsettled_ms").get_to(rails.unsettled_ms);
  j.at("unsettled_why").get_to(rails.unsettled_why);
  j.at("creations_left").get_to(rails.creations_left);
  j.at("cores_left").get_to(rails.cores_left);
  for (const auto& [account, cool_down] : j.at("cool_downs").items()) {
    const auto a = ids.accounts.find(account);
    if (a == ids.accounts.end()) continue;
    rails.cool_downs.push_back(
        {a->second, cool_down.at("until_ms").get<int64_t>(), cool_down.at("moved").get<bool>()});
  }
  rails.overloaded_since_ms.resize(ids.fleet.cells.size());
  for (const auto& [cell, since_ms] : j.at("overloaded_since_ms").items()) {
    const auto c = ids.cells.find(cell);
    if (c != ids.cells.end()) rails.overloaded_since_ms[c->second] = since_ms.get<int64_t>();
  }
  rails.nearly_full.resize(ids.fleet.cells.size());
  const json nearly_full = j.value("nearly_full", json::object());
  for (const auto& [cell, s] : nearly_full.items()) {
    const auto c = ids.cells.find(cell);
    if (c == ids.cells.end()) continue;
    rails.nearly_full[c->second] = {s.at("since_ms").get<int64_t>(),
                                    s.at("last_ms").get<int64_t>()};
  }
  std::ranges::sort(rails.cool_downs, {}, &CoolDown::account);
  return rails;
}

json CreationsToJson(const std::vector<CreationSums>& creations, const Fleet& fleet) {
  json all = json::object();
  for (size_t c = 0; c < creations.size(); ++c) {
    const CreationSums& s = creations[c];
    if (s.weight > 0) {
      all[fleet.cells[c].id] = {s.weight, s.bytes, s.ms, s.bytes_bytes, s.bytes_ms};
    }
  }
  return all;
}

std::vector<CreationSums> CreationsFrom(const json& j, const Ids& ids) {
  std::vector<CreationSums> creations;
  for (const auto& [cell, s] : j.items()) {
    const auto c = ids.cells.find(cell);
    if (c == ids.cells.end()) continue;
    creations.resize(ids.fleet.cells.size());
    creations[c->second] = {s.at(0), s.at(1), s.at(2), s.at(3), s.at(4)};
  }
  return creations;
}

json EpochsToJson(const std::vector<RouteEpoch>& epochs, const Fleet& fleet) {
  json all = json::object();
  for (const RouteEpoch& e : epochs) all[fleet.accounts[e.account].id] = e.epoch;
  return all;
}

std::vector<RouteEpoch> EpochsFrom(const json& j, const Ids& ids) {
  std::vector<RouteEpoch> epochs;
  for (const auto& [account, epoch] : j.items()) {
    const auto a = ids.accounts.find(account);
    if (a != ids.accounts.end()) epochs.push_back({a->second, epoch.get<uint64_t>()});
  }
  return epochs;
}

json WatchesToJson(const std::vector<CellWatch>& watches, const Fleet& fleet) {
  json all = json::array();
  for (size_t c = 0; c < watches.size(); ++c) {
    const CellWatch& w = watches[c];
    all.push_back({{"cell", fleet.cells[c].id},
                   {"overloaded", w.overloaded},
                   {"overloaded_last_ms", w.overloaded_last_ms},
                   {"warned_since_ms", w.warned_since_ms},
                   {"warned_last_ms", w.warned_last_ms},
                   {"warning_came_true", w.warning_came_true}});
  }
  return all;
}

std::vector<CellWatch> WatchesFrom(const json& j, const Ids& ids) {
  std::vector<CellWatch> watches(ids.fleet.cells.size());
  for (const json& w : j) {
    const auto cell = ids.cells.find(w.at("cell").get<std::string>());
    if (cell == ids.cells.end()) continue;
    CellWatch& watch = watches[cell->second];
    w.at("overloaded").get_to(watch.overloaded);
    w.at("overloaded_last_ms").get_to(watch.overloaded_last_ms);
    w.at("warned_since_ms").get_to(watch.warned_since_ms);
    w.at("warned_last_ms").get_to(watch.warned_last_ms);
    w.at("warning_came_true").get_to(watch.warning_came_true);
  }
  return watches;
}

Decisions DecisionsFrom(const json& j, const Fleet& fleet, std::vector<std::string>& dropped) {
  const Ids ids(fleet);
  Decisions d;
  for (const json& s : j.at("shadows")) {
    try {
      d.shadows.push_back(ShadowFrom(s, ids));
    } catch (const UnknownId& unknown) {
      dropped.push_back(
          fmt::format("shadow {}: {}", s.at("instance_id").get<std::string>(), unknown.what));
    }
  }
  for (const json& e : j.at("open")) {
    try {
      d.open.push_back(ExplanationFrom(e, ids));
    } catch (const UnknownId& unknown) {
      dropped.push_back(
          fmt::format("action {}: {}", e.at("action").at("id").get<uint64_t>(), unknown.what));
    }
  }
  d.watches = WatchesFrom(j.at("watches"), ids);
  d.scores = ScoresFrom(j.at("scores"));
  // Absent in what earlier versions of the program left.
  if (j.contains("evaluation")) d.evaluation = EvaluationFrom(j.at("evaluation"));
  if (j.contains("drift")) d.drift = DriftFrom(j.at("drift"));
  j.at("next_action_id").get_to(d.next_action_id);
  // Not in what older versions wrote.
  d.creations = CreationsFrom(j.value("creations", json::object()), ids);
  d.origins = OriginsFrom(j.value("origins", json::object()), ids);
  if (j.contains("rails")) d.rails = RailsFrom(j.at("rails"), ids);
  if (j.contains("chances_15")) j.at("chances_15").get_to(d.within_15);
  if (j.contains("chances_60")) j.at("chances_60").get_to(d.within_60);
  d.changes = j.value("changes", std::vector<SettingChange>());
  d.epochs = EpochsFrom(j.value("epochs", json::object()), ids);
  j.at("last_tick_ms").get_to(d.last_tick_ms);
  j.at("paused").get_to(d.paused);
  return d;
}

absl::Status Corrupt(const char* what, const std::string& why) {
  return absl::DataLossError(fmt::format("stored {} cannot be read: {}", what, why));
}

}  // namespace

std::string DecisionsToJson(const Decisions& decisions, const Fleet& fleet) {
  json shadows = json::array();
  for (const Shadow& s : decisions.shadows) shadows.push_back(ToJson(s, fleet));
  json open = json::array();
  for (const Explanation& e : decisions.open) open.push_back(ToJson(e, fleet));
  return json{{"shadows", shadows},
              {"open", open},
              {"watches", WatchesToJson(decisions.watches, fleet)},
              {"scores", ToJson(decisions.scores)},
              {"evaluation", ToJson(decisions.evaluation)},
              {"drift", ToJson(decisions.drift)},
              {"next_action_id", decisions.next_action_id},
              {"creations", CreationsToJson(decisions.creations, fleet)},
              {"origins", OriginsToJson(decisions.origins, fleet)},
              {"rails", ToJson(decisions.rails, fleet)},
              {"changes", decisions.changes},
              {"chances_15", decisions.within_15},
              {"chances_60", decisions.within_60},
              {"epochs", EpochsToJson(decisions.epochs, fleet)},
              {"last_tick_ms", decisions.last_tick_ms},
              {"paused", decisions.paused}}
      .dump();
}

absl::StatusOr<Decisions> DecisionsFromJson(const std::string& text, const Fleet& fleet,
                                            std::vector<std::string>& dropped) {
  try {
    return DecisionsFrom(json::parse(text), fleet, dropped);
  } catch (const json::exception& error) {
    return Corrupt("decisions", error.what());
  }
}

std::string ExplanationToJson(const Explanation& explanation, const Fleet& fleet) {
  return ToJson(explanation, fleet).dump();
}

absl::StatusOr<Explanation> ExplanationFromJson(const std::string& text, const Fleet& fleet) {
  try {
    return ExplanationFrom(json::parse(text), Ids(fleet));
  } catch (const json::exception& error) {
    return Corrupt("explanation", error.what());
  } catch (const UnknownId& unknown) {
    return Corrupt("explanation", "it names an unknown " + unknown.what);
  }
}

}  // namespace foreshadow
