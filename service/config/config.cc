#include "service/config/config.h"

#include <arpa/inet.h>
#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <functional>
#include <limits>
#include <map>
#include <set>
#include <sstream>
#include <variant>

#include "service/config/toml_text.h"
#include "service/rails/rails.h"
#include "service/receive/rules.h"

namespace foreshadow {
namespace {

using Words = std::map<std::string, std::string>;  // a table of strings
using Names = std::vector<std::string>;

// One key of the file: where its value goes and what it may be.
struct Key {
  const char* name;
  std::variant<bool*, int32_t*, int64_t*, uint64_t*, double*, std::string*, Words*, Names*, Mode*,
               ModeRule*, ZoneRule*, Urgency*, LearnPolicy*, Clock*, ComputeDevice*, logs::Format*,
               SignalKind*, SeriesKind*, InStep*>
      to;
  double least = 0;
  double most = 0;
  std::vector<std::string> words = {};  // of an enumeration, in its order; or of a string
  bool required = false;
};

struct Section {
  const char* name;
  std::vector<Key> keys;
};

// What may be changed while the server runs.
constexpr std::string_view kSettingsSections[] = {"analyze", "plan",  "shadow", "guard",
                                                  "migrate", "learn", "monitor"};
constexpr std::string_view kNotWhileRunning[] = {"learn.log"};  // names a file
const std::vector<std::string> kModeRules = {"", "observe", "recommend", "act"};
const std::vector<std::string> kZoneRules = {"any", "same", "other"};
const std::vector<std::string> kUrgencies = {kUrgencyNames.begin(), kUrgencyNames.end()};

constexpr double kMax = std::numeric_limits<int32_t>::max();
constexpr double kHugeAmount = 1e18;  // of a capacity: an exabyte

std::vector<Section> Sections(Config& c) {
  TickSettings& tick = c.settings.tick;
  AnalyzeSettings& analyze = c.settings.analyze;
  PlanSettings& plan = c.settings.plan;
  ShadowSettings& shadow = c.settings.shadow;
  RailSettings& guard = c.settings.guard;
  MigrateSettings& migrate = c.settings.migrate;
  LearnSettings& learn = c.settings.learn;
  MonitorSettings& monitor = c.settings.monitor;
  return {
      {"server",
       {{"listen", &c.listen},
        {"data_dir", &c.data_dir, 0, 0, {}, true},
        {"model_dir", &c.model_dir},
        {"journal_dir", &c.journal_dir},
        {"journal_bytes_max", &c.journal_bytes_max, 1 << 20, kHugeAmount},
        {"http_listen", &c.http_listen},
        {"log_level", &c.log_level, 0, 0, {"debug", "info", "warning", "error"}},
        {"log_format", &c.log_format, 0, 0, {"text", "json"}}}},
      {"tick",
       {{"step_ms", &tick.step_ms, 1'000, 3'600'000},
        {"window_steps", &tick.window_steps, 2, 1'000'000},
        {"seed", &tick.seed, 0, kMax},
        {"clock", &c.clock, 0, 0, {"wall", "data"}},
        {"watermark_delay_ms", &c.watermark_delay_ms, 0, 600'000}}},
      {"history",
       {{"retention_hours", &c.retention_hours, 1, 24 * 3'660},
        {"retention_5_minutes_hours", &c.retention_5_minutes_hours, 0, 24 * 3'660},
        {"retention_1_hour_hours", &c.retention_1_hour_hours, 0, 24 * 3'660},
        {"accept_past_hours", &c.accept_past_hours, 1, 24 * 3'660},
        {"backup_dir", &c.backup_dir},
        {"backup_hours", &c.backup_hours, 0, 24 * 366},
        {"backups_kept", &c.backups_kept, 1, 1'000}}},
      {"ingest",
       {{"future_ms", &c.ingest.future_ms, 0, 86'400'000},
        {"accounts_max", &c.ingest.accounts_max, 1, 100'000'000},
        {"samples_per_second", &c.ingest.samples_per_second, 0, 1e9},
        {"burst_samples", &c.ingest.burst_samples, 1, 1e9},
        {"samples_per_day", &c.ingest.samples_per_day, 0, 1e15},
        {"streams_per_sender_max", &c.ingest.streams_per_sender_max, 1, 1'000},
        {"labels_max", &c.ingest.labels_max, 1, 1'000},
        {"label_bytes_max", &c.ingest.label_bytes_max, 16, 65'536},
        {"series_max", &c.ingest.series_max, 1, 100'000'000}}},
      {"receive",
       {{"settle_ms", &c.receive.settle_ms, 0, 600'000},
        {"gap_ms", &c.receive.gap_ms, 1'000, 86'400'000}}},
      {"compute", {{"device", &c.compute_device, 0, 0, {"auto", "cpu", "cuda"}}}},
      {"analyze",
       {{"rota_ticks", &analyze.rota_ticks, 1, 1'000},
        {"period_significance", &analyze.period_significance, 1e-9, 0.5},
        {"spike_false_alarms", &analyze.spike_false_alarms, 1e-9, 0.1},
        {"lag_steps_max", &analyze.lag_steps_max, 0, 1'000}}},
      {"plan",
       {{"risk_threshold", &plan.risk_threshold, 0.001, 1},
        {"risk_target", &plan.risk_target, 0, 1},
        {"target_risk_max", &plan.target_risk_max, 0.001, 1},
        {"target_headroom", &plan.target_headroom, 0.01, 10},
        {"unserved_cost", &plan.unserved_cost, 0, 1e6},
        {"overloaded_cost", &plan.overloaded_cost, 0, 1e6},
        {"traffic_cost", &plan.traffic_cost, 0, 1e6},
        {"gib_cost", &plan.gib_cost, 0, 1e6},
        {"move_cost", &plan.move_cost, 0, 1e6},
        {"gain_min", &plan.gain_min, 0, 1e6}}},
      {"shadow",
       {{"mode", &shadow.mode, 0, 0, {kModeNames.begin(), kModeNames.end()}},
        {"resume_lead_ms", &shadow.resume_lead_ms, 0, 86'400'000},
        {"idle_ms", &shadow.idle_ms, 0, 7 * 86'400'000.0},
        {"promote_after_ms", &shadow.promote_after_ms, 0, 7 * 86'400'000.0},
        {"network_bytes_per_s", &shadow.network_bytes_per_s, 1e3, 1e13},
        {"attempts_max", &shadow.attempts_max, 1, 100}}},
      {"guard",
       {{"shadows_max", &guard.shadows_max, 0, 1'000'000},
        {"shadows_per_source_max", &guard.shadows_per_source_max, 0, 1'000'000},
        {"shadows_per_target_max", &guard.shadows_per_target_max, 0, 1'000'000},
        {"shadows_per_zone_max", &guard.shadows_per_zone_max, 0, 1'000'000},
        {"creations_per_minute_max", &guard.creations_per_minute_max, 0, 100'000},
        {"cores_shifted_per_minute_max", &guard.cores_shifted_per_minute_max, 0, kHugeAmount},
        {"target_free_share_max", &guard.target_free_share_max, 0, 1},
        {"urgency_min", &guard.urgency_min, 0, 0, kUrgencies},
        {"settle_ms", &guard.settle_ms, 0, 86'400'000},
        {"gap_ms", &guard.gap_ms, 1'000, 3'600'000},
        {"silent_share_max", &guard.silent_share_max, 0, 1},
        {"cool_down_ms", &guard.cool_down_ms, 0, 7 * 86'400'000.0},
        {"react_after_ms", &guard.react_after_ms, 0, 7 * 86'400'000.0},
        {"nearly_full_at", &guard.nearly_full_at, 0.01, 1},
        {"nearly_full_after_ms", &guard.nearly_full_after_ms, 0, 7 * 86'400'000.0},
        {"nearly_full_fleet_max", &guard.nearly_full_fleet_max, 0, 1},
        {"jump_max", &guard.jump_max, 0, 1'000},
        {"doubt_share", &guard.doubt_share, 0, 1}}},
      {"migrate",
       {{"step", &migrate.step, 0.01, 1},
        {"step_hold_ms", &migrate.step_hold_ms, 0, 86'400'000},
        {"samples_min", &migrate.samples_min, 1, 1'000'000},
        {"few_hold_ms", &migrate.few_hold_ms, 0, 7 * 86'400'000.0},
        {"undecided_ms", &migrate.undecided_ms, 0, 7 * 86'400'000.0},
        {"error_share_max", &migrate.error_share_max, 0, 1},
        {"p99_ratio_max", &migrate.p99_ratio_max, 1, 1'000},
        {"drain_ms", &migrate.drain_ms, 0, 3'600'000}}},
      {"learn",
       {{"policy", &learn.policy, 0, 0, {"aimd", "q"}},
        {"first_split", &learn.first_split, 0.01, 0.1},
        {"split_step", &learn.split_step, 0.01, 1},
        {"split_max", &learn.split_max, 0.01, 1},
        {"decrease_factor", &learn.decrease_factor, 0, 0.99},
        {"hold_ms", &learn.hold_ms, 0, 7 * 86'400'000.0},
        {"shed_max", &learn.shed_max, 0, 0.9},
        {"explore", &learn.explore, 0, 0.2},
        {"log", &learn.log}}},
      {"inference",
       {{"batch_series_max", &c.inference.batch_series_max, 1, 100'000},
        {"wait_ms", &c.inference.wait_ms, 0, 1'000},
        {"queue_calls_max", &c.inference.queue_calls_max, 1, 1'000'000},
        {"queue_mib_max", &c.inference.queue_mib_max, 1, 65'536},
        {"threads", &c.inference.threads, 1, 64}}},
      {"security",
       {{"tls_cert", &c.security.tls_cert},
        {"tls_key", &c.security.tls_key},
        {"tls_client_ca", &c.security.tls_client_ca},
        {"client_certificates", &c.security.client_certificates, 0, 0, {"required", "optional"}},
        {"identities", &c.security.identities},
        {"agent_ca", &c.security.agent_ca},
        {"agent_token_file", &c.security.agent_token_file},
        {"message_mib_max", &c.security.message_mib_max, 1, 1'024}}},
      {"route",
       {{"failover", &c.settings.route.failover},
        {"failback_hold_ms", &c.settings.route.failback_hold_ms, 0, 86'400'000}}},
      {"xds",
       {{"listen", &c.xds_listen},
        {"envoy_listen", &c.envoy_listen},
        {"sticky_header", &c.sticky_header},
        {"health_interval_ms", &c.health_interval_ms, 0, 3'600'000},
        {"retry_failed", &c.retry_failed}}},
      {"haproxy", {{"socket", &c.haproxy_socket}}},
      {"monitor",
       {{"drift_false_alarm_days", &monitor.drift_false_alarm_days, 1, 3'650},
        {"slo_ms", &monitor.slo_ms, 0.001, 3'600'000}}},
      {"prometheus",
       {{"url", &c.prometheus.url},
        {"requests", &c.prometheus.requests},
        {"errors", &c.prometheus.errors},
        {"latency", &c.prometheus.latency},
        {"label", &c.prometheus.label},
        {"interval_ms", &c.prometheus.interval_ms, 100, 3'600'000}}},
      {"models", {{"auto_promote_hours", &c.auto_promote_hours, 0, 24 * 366}}},
  };
}

std::string Quoted(const std::string& text) {
  return toml::format(toml::value(text), /*width=*/std::numeric_limits<size_t>::max());
}

std::string ValueText(const Key& key) {
  return std::visit(
      [&](const auto* from) -> std::string {
        using T = std::remove_cvref_t<decltype(*from)>;
        if constexpr (std::is_same_v<T, Words>) {
          std::vector<std::string> words;
          for (const auto& [name, word] : *from)
            words.push_back(Quoted(name) + " = " + Quoted(word));
          return fmt::format("{{{}}}", fmt::join(words, ", "));
        } else if constexpr (std::is_same_v<T, Names>) {
          std::vector<std::string> words;
          for (const std::string& name : *from) words.push_back(Quoted(name));
          return fmt::format("[{}]", fmt::join(words, ", "));
        } else if constexpr (std::is_same_v<T, std::string>) {
          return Quoted(*from);
        } else if constexpr (std::is_enum_v<T>) {
          return fmt::format("\"{}\"", key.words[static_cast<size_t>(*from)]);
        } else {
          return fmt::format("{}", *from);  // of a double: the shortest text that gives it back
        }
      },
      key.to);
}

std::string SectionText(const std::string& header, const std::vector<Key>& keys) {
  std::string text = header + "\n";
  for (const Key& key : keys) text += fmt::format("{} = {}\n", key.name, ValueText(key));
  return text;
}

std::string Text(const toml::value& value) { return toml::format(value, /*width=*/80); }

// An error thrown inside this file only.
struct Bad {
  std::string what;
};

double Number(const toml::value& value, const std::string& key, const Key& spec) {
  const bool whole = !std::holds_alternative<double*>(spec.to);
  if (!value.is_integer() && (whole || !value.is_floating())) {
    throw Bad{
        fmt::format("{} = {}: must be a {}", key, Text(value), whole ? "whole number" : "number")};
  }
  const double number =
      value.is_integer() ? static_cast<double>(value.as_integer()) : value.as_floating();
  if (!(number >= spec.least && number <= spec.most)) {
    throw Bad{
        fmt::format("{} = {}: must be within {} .. {}", key, Text(value), spec.least, spec.most)};
  }
  return number;
}

std::string Word(const toml::value& value, const std::string& key, const Key& spec) {
  if (!value.is_string()) throw Bad{fmt::format("{} = {}: must be a string", key, Text(value))};
  std::string word = value.as_string();
  if (!spec.words.empty() &&
      std::find(spec.words.begin(), spec.words.end(), word) == spec.words.end()) {
    throw Bad{fmt::format("{} = \"{}\": must be one of \"{}\"", key, word,
                          fmt::join(spec.words, "\", \""))};
  }
  return word;
}

Words TableOfWords(const toml::value& value, const std::string& key) {
  if (!value.is_table()) {
    throw Bad{fmt::format("{} = {}: must be a table of strings", key, Text(value))};
  }
  Words words;
  for (const auto& [name, word] : value.as_table()) {
    words[name] = Word(word, fmt::format("{}.{}", key, name), Key{name.c_str(), &words[name]});
  }
  return words;
}

Names ListOfNames(const toml::value& value, const std::string& key) {
  if (!value.is_array()) {
    throw Bad{fmt::format("{} = {}: must be an array of strings", key, Text(value))};
  }
  Names names;
  for (const toml::value& each : value.as_array()) {
    std::string name;
    names.push_back(Word(each, key, Key{key.c_str(), &name}));
  }
  return names;
}

template <typename Enum>
Enum Choice(const toml::value& value, const std::string& key, const Key& spec) {
  const std::string word = Word(value, key, spec);
  return static_cast<Enum>(std::find(spec.words.begin(), spec.words.end(), word) -
                           spec.words.begin());
}

void Assign(const toml::value& value, const std::string& name, const Key& spec) {
  std::visit(
      [&](auto* to) {
        using T = std::remove_pointer_t<decltype(to)>;
        if constexpr (std::is_same_v<T, bool>) {
          if (!value.is_boolean()) {
            throw Bad{fmt::format("{} = {}: must be true or false", name, Text(value))};
          }
          *to = value.as_boolean();
        } else if constexpr (std::is_same_v<T, Words>) {
          *to = TableOfWords(value, name);
        } else if constexpr (std::is_same_v<T, Names>) {
          *to = ListOfNames(value, name);
        } else if constexpr (std::is_same_v<T, std::string>) {
          *to = Word(value, name, spec);
        } else if constexpr (std::is_enum_v<T>) {
          *to = Choice<T>(value, name, spec);
        } else {
          *to = static_cast<T>(Number(value, name, spec));
        }
      },
      spec.to);
}

size_t EditDistance(const std::string& a, const std::string& b) {
  std::vector<size_t> row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) row[j] = j;
  for (size_t i = 1; i <= a.size(); ++i) {
    size_t diagonal = row[0];
    row[0] = i;
    for (size_t j = 1; j <= b.size(); ++j) {
      const size_t change = diagonal + (a[i - 1] != b[j - 1]);
      diagonal = row[j];
      row[j] = std::min({row[j] + 1, row[j - 1] + 1, change});
    }
  }
  return row[b.size()];
}

template <typename Known>
[[noreturn]] void Unknown(const std::string& key, const std::string& name, const Known& known) {
  const auto nearest = std::min_element(
      known.begin(), known.end(),
      [&](const auto& a, const auto& b) { return EditDistance(name, a) < EditDistance(name, b); });
  throw Bad{fmt::format("unknown key {}; did you mean \"{}\"?", key, *nearest)};
}

void ReadSection(const toml::value& table, const std::string& section,
                 const std::vector<Key>& keys) {
  if (!table.is_table()) throw Bad{fmt::format("{} must be a table: [{}]", section, section)};
  for (const auto& [name, value] : table.as_table()) {
    const std::string full = fmt::format("{}.{}", section, name);
    const auto key =
        std::find_if(keys.begin(), keys.end(), [&, n = name](const Key& k) { return k.name == n; });
    if (key == keys.end()) {
      std::vector<std::string> known;
      known.reserve(keys.size());
      for (const Key& k : keys) known.emplace_back(k.name);
      Unknown(full, name, known);
    }
    Assign(value, full, *key);
  }
  for (const Key& key : keys) {
    if (key.required && !table.contains(key.name)) {
      throw Bad{fmt::format("{}.{} is missing", section, key.name)};
    }
  }
}

std::vector<Key> CellKeys(CellConfig& config) {
  Resources& capacity = config.cell.capacity;
  return {{"id", &config.cell.id, 0, 0, {}, true},
          {"zone", &config.cell.zone},
          {"agent", &config.agent},
          {"cpu_cores", &capacity[0], 0, kHugeAmount},
          {"memory_bytes", &capacity[1], 0, kHugeAmount},
          {"network_bytes_per_second", &capacity[2], 0, kHugeAmount},
          {"storage_bytes", &capacity[3], 0, kHugeAmount}};
}

CellConfig ReadCell(const toml::value& table, size_t index) {
  CellConfig config;
  ReadSection(table, fmt::format("cell[{}]", index), CellKeys(config));
  if (config.cell.id.empty()) throw Bad{fmt::format("cell[{}].id must not be empty", index)};
  return config;
}

std::vector<Key> RuleKeys(ReceiveRule& rule) {
  return {{"metric", &rule.metric, 0, 0, {}, true},
          {"match", &rule.match},
          {"signal",
           &rule.signal,
           0,
           0,
           {"cpu", "memory", "network", "storage", "mutation_rate"},
           true},
          {"kind", &rule.kind, 0, 0, {"auto", "gauge", "counter"}},
          {"scale", &rule.scale, 1e-18, 1e18},
          {"in_step", &rule.in_step, 0, 0, {"mean", "last", "max"}},
          {"account", &rule.account, 0, 0, {}, true},
          {"cell", &rule.cell},
          {"application", &rule.application}};
}

// The tables [[receive.rule]] go out of the section, which knows its plain keys only.
void ReadRules(toml::value& receive, std::vector<ReceiveRule>& rules) {
  if (!receive.is_table() || !receive.contains("rule")) return;
  const toml::value tables = receive.at("rule");
  receive.as_table().erase("rule");
  if (!tables.is_array()) throw Bad{"receive.rule must be an array of tables: [[receive.rule]]"};
  for (const toml::value& table : tables.as_array()) {
    ReceiveRule& rule = rules.emplace_back();
    const std::string name = fmt::format("receive.rule[{}]", rules.size() - 1);
    ReadSection(table, name, RuleKeys(rule));
    if (rule.account.empty()) throw Bad{fmt::format("{}.account must not be empty", name)};
  }
}

std::vector<Key> KeysOf(CellRule& rule) {
  return {{"mode", &rule.mode, 0, 0, kModeRules},
          {"takes_shadows", &rule.takes_shadows},
          {"drain", &rule.drain}};
}

std::vector<Key> KeysOf(ApplicationRule& rule) {
  return {{"mode", &rule.mode, 0, 0, kModeRules},
          {"cells", &rule.cells},
          {"zone", &rule.zone, 0, 0, kZoneRules},
          {"accounts_per_cell_max", &rule.accounts_per_cell_max, 0, 1'000'000}};
}

std::vector<Key> KeysOf(Freeze& freeze) {
  return {{"cells", &freeze.cells},
          {"days", &freeze.days},
          {"from", &freeze.from},
          {"until", &freeze.until},
          {"urgency_min", &freeze.urgency_min, 0, 0, kUrgencies}};
}

// The tables [guard.KIND.NAME] go out of the section, which knows its plain keys only. What a rule
// that is there already holds stays, but for what its table gives.
template <typename Rule>
void ReadNamed(toml::value& guard, const char* kind, std::map<std::string, Rule>& rules) {
  if (!guard.is_table() || !guard.contains(kind)) return;
  const toml::value tables = guard.at(kind);
  guard.as_table().erase(kind);
  const std::string section = fmt::format("guard.{}", kind);
  if (!tables.is_table()) throw Bad{fmt::format("{0} must hold tables: [{0}.NAME]", section)};
  for (const auto& [name, table] : tables.as_table()) {
    ReadSection(table, fmt::format("{}.{}", section, name), KeysOf(rules[name]));
  }
}

void ReadRules(toml::value& guard, RailSettings& settings) {
  ReadNamed(guard, "cell", settings.cells);
  ReadNamed(guard, "application", settings.applications);
  ReadNamed(guard, "freeze", settings.freezes);
  for (const auto& [name, freeze] : settings.freezes) {
    const absl::Status status = CheckFreeze("guard.freeze." + name, freeze);
    if (!status.ok()) throw Bad{std::string(status.message())};
  }
}

// Every cell that a guard rail names must be one.
void CheckCells(const RailSettings& guard, const std::vector<CellConfig>& cells) {
  const auto check = [&](const std::string& key, const std::string& id) {
    if (std::ranges::any_of(cells, [&](const CellConfig& c) { return c.cell.id == id; })) return;
    Names known;
    for (const CellConfig& c : cells) known.push_back(c.cell.id);
    throw Bad{
        fmt::format("{} names the cell \"{}\": must be of {}", key, id, fmt::join(known, ", "))};
  };
  for (const auto& [id, rule] : guard.cells) check("guard.cell", id);
  for (const auto& [name, rule] : guard.applications) {
    for (const std::string& id : rule.cells)
      check(fmt::format("guard.application.{}.cells", name), id);
  }
  for (const auto& [name, freeze] : guard.freezes) {
    for (const std::string& id : freeze.cells)
      check(fmt::format("guard.freeze.{}.cells", name), id);
  }
}

void CheckSecurity(const security::Settings& s) {
  if (s.tls_cert.empty() != s.tls_key.empty()) {
    throw Bad{"security.tls_cert and security.tls_key belong together: give both or none"};
  }
  if (s.tls_cert.empty() && !s.tls_client_ca.empty()) {
    throw Bad{"security.tls_client_ca needs security.tls_cert and security.tls_key"};
  }
  if (s.tls_cert.empty() && !s.identities.empty()) {
    throw Bad{
        "security.identities needs security.tls_cert and security.tls_key: tokens must not travel "
        "in clear"};
  }
  if (s.agent_ca.empty() && !s.agent_token_file.empty()) {
    throw Bad{
        "security.agent_token_file needs security.agent_ca: a token must not travel in clear"};
  }
}

void CheckPrometheus(const PrometheusSettings& p) {
  if (p.url.empty()) return;
  if (!p.url.starts_with("http://") && !p.url.starts_with("https://")) {
    throw Bad{fmt::format("prometheus.url = \"{}\": must be http:// or https://HOST:PORT", p.url)};
  }
  const std::pair<const char*, const std::string&> needed[] = {
      {"requests", p.requests}, {"errors", p.errors}, {"latency", p.latency}, {"label", p.label}};
  for (const auto& [name, text] : needed) {
    if (text.empty())
      throw Bad{fmt::format("prometheus.{} is missing: prometheus.url needs it", name)};
  }
}

void CheckTogether(const Settings& settings) {
  if (settings.plan.risk_target > settings.plan.risk_threshold) {
    throw Bad{fmt::format("plan.risk_target = {} must not be above plan.risk_threshold = {}",
                          settings.plan.risk_target, settings.plan.risk_threshold)};
  }
}

// An IP address, not a name, and a port.
bool IsIpAndPort(const std::string& text) {
  const size_t colon = text.rfind(':');
  const std::string host = text.substr(0, colon);
  in6_addr buffer;
  const bool is_ip = inet_pton(AF_INET, host.c_str(), &buffer) == 1 ||
                     inet_pton(AF_INET6, host.c_str(), &buffer) == 1;
  const std::string port = colon == std::string::npos ? "" : text.substr(colon + 1);
  const bool is_port = !port.empty() && port.size() <= 5 &&
                       port.find_first_not_of("0123456789") == std::string::npos &&
                       std::stoi(port) >= 1 && std::stoi(port) <= 65'535;
  return is_ip && is_port;
}

// Envoy is told an address to bind; HAProxy's socket is connected to again and again.
void CheckDataPlane(const Config& config) {
  const std::string& listen = config.envoy_listen;
  if (!listen.empty() && !IsIpAndPort(listen)) {
    throw Bad{
        fmt::format("xds.envoy_listen = \"{}\": must be IP:PORT, as in 0.0.0.0:10000", listen)};
  }
  const std::string& socket = config.haproxy_socket;
  if (!socket.empty() && !socket.starts_with('/') && !IsIpAndPort(socket)) {
    throw Bad{fmt::format(
        "haproxy.socket = \"{}\": must be the absolute path of a Unix socket, or IP:PORT", socket)};
  }
}

void CheckTogether(Config& config) {
  CheckSecurity(config.security);
  CheckPrometheus(config.prometheus);
  if (config.data_dir.empty()) throw Bad{"server.data_dir must not be empty"};
  CheckTogether(config.settings);
  CheckDataPlane(config);
  if (config.compute_device == ComputeDevice::kCuda && !config.journal_dir.empty()) {
    throw Bad{
        "compute.device = \"cuda\" does not go with server.journal_dir: what is journaled is "
        "replayed by the CPU, bit for bit, and must be analysed there"};
  }
  if (config.accept_past_hours > config.retention_hours) {
    throw Bad{
        fmt::format("history.accept_past_hours = {} must not be above history.retention_hours = {}",
                    config.accept_past_hours, config.retention_hours)};
  }
  if (auto rules = receive::Rules::Create(config.receive.rules); !rules.ok()) {
    throw Bad{std::string(rules.status().message())};
  }
  if (!config.receive.rules.empty() && config.clock == Clock::kWall &&
      config.receive.settle_ms >= config.watermark_delay_ms) {
    throw Bad{
        fmt::format("receive.settle_ms = {} must be below tick.watermark_delay_ms = {}, or a "
                    "step's points come "
                    "after its tick",
                    config.receive.settle_ms, config.watermark_delay_ms)};
  }
  if (config.cells.empty()) throw Bad{"no [[cell]] is configured; at least one is needed"};
  std::sort(config.cells.begin(), config.cells.end(),
            [](const CellConfig& a, const CellConfig& b) { return a.cell.id < b.cell.id; });
  for (size_t i = 1; i < config.cells.size(); ++i) {
    if (config.cells[i].cell.id == config.cells[i - 1].cell.id) {
      throw Bad{fmt::format("cell.id = \"{}\" is given twice", config.cells[i].cell.id)};
    }
  }
  CheckCells(config.settings.guard, config.cells);
}

const Section& Find(const std::vector<Section>& sections, const std::string& name,
                    std::vector<std::string> known) {
  const auto section = std::find_if(sections.begin(), sections.end(),
                                    [&](const Section& s) { return s.name == name; });
  if (section != sections.end()) return *section;
  for (const Section& s : sections) known.emplace_back(s.name);
  Unknown(name, name, known);
}

Config Read(const toml::value& file) {
  Config config;
  const std::vector<Section> sections = Sections(config);
  for (const auto& [name, value] : file.as_table()) {
    if (name == "cell") {
      if (!value.is_array()) throw Bad{"cell must be an array of tables: [[cell]]"};
      for (const toml::value& cell : value.as_array()) {
        config.cells.push_back(ReadCell(cell, config.cells.size()));
      }
      continue;
    }
    toml::value table = value;
    if (name == "receive") ReadRules(table, config.receive.rules);
    if (name == "guard") ReadRules(table, config.settings.guard);
    ReadSection(table, name, Find(sections, name, {"cell"}).keys);
  }
  CheckTogether(config);
  config.settings.learn.can_shed = !config.xds_listen.empty();
  return config;
}

}  // namespace

std::vector<std::string> ConfigKeys() {
  Config config;
  CellConfig cell;
  std::vector<Section> sections = Sections(config);
  sections.push_back({"cell", CellKeys(cell)});
  ReceiveRule rule;
  sections.push_back({"receive.rule", RuleKeys(rule)});
  CellRule cell_rule;
  sections.push_back({"guard.cell", KeysOf(cell_rule)});
  ApplicationRule application_rule;
  sections.push_back({"guard.application", KeysOf(application_rule)});
  Freeze freeze;
  sections.push_back({"guard.freeze", KeysOf(freeze)});
  std::vector<std::string> names;
  for (const Section& section : sections) {
    for (const Key& key : section.keys)
      names.push_back(fmt::format("{}.{}", section.name, key.name));
  }
  return names;
}

namespace {

std::string BareOrQuoted(const std::string& name) {
  const auto bare = [](unsigned char c) { return std::isalnum(c) != 0 || c == '-' || c == '_'; };
  return !name.empty() && std::ranges::all_of(name, bare) ? name : Quoted(name);
}

// Of each rule of the guard rails, "guard.cell.NAME" and its keys.
std::vector<std::pair<std::string, std::vector<Key>>> NamedRules(RailSettings& guard) {
  std::vector<std::pair<std::string, std::vector<Key>>> named;
  const auto add = [&](const char* kind, auto& rules) {
    for (auto& [name, rule] : rules) {
      named.emplace_back(fmt::format("guard.{}.{}", kind, BareOrQuoted(name)), KeysOf(rule));
    }
  };
  add("cell", guard.cells);
  add("application", guard.applications);
  add("freeze", guard.freezes);
  return named;
}

bool WhileRunning(const std::string& section) {
  return std::ranges::find(kSettingsSections, section) != std::end(kSettingsSections);
}

}  // namespace

std::string ConfigToToml(const Config& config) {
  Config copy = config;  // the keys' places are those of one that can be changed
  std::string text;
  for (const Section& section : Sections(copy)) {
    text += SectionText(fmt::format("[{}]", section.name), section.keys);
  }
  for (const auto& [name, keys] : NamedRules(copy.settings.guard)) {
    text += SectionText(fmt::format("[{}]", name), keys);
  }
  for (ReceiveRule& rule : copy.receive.rules) {
    text += SectionText("[[receive.rule]]", RuleKeys(rule));
  }
  for (CellConfig& cell : copy.cells) text += SectionText("[[cell]]", CellKeys(cell));
  return text;
}

namespace {

// Reads a TOML text with a function that may throw Bad.
template <typename Read>
auto Parse(const std::string& text, const std::string& name, const Read& read)
    -> absl::StatusOr<decltype(read(toml::value()))> {
  try {
    return read(ParseToml(text, name));
  } catch (const Bad& bad) {
    return absl::InvalidArgumentError(fmt::format("{}: {}", name, bad.what));
  } catch (const toml::exception& error) {
    return absl::InvalidArgumentError(fmt::format("{}: not TOML: {}", name, error.what()));
  } catch (const std::runtime_error& error) {
    return absl::InvalidArgumentError(fmt::format("{}: not TOML: {}", name, error.what()));
  }
}

}  // namespace

absl::StatusOr<Config> ParseConfig(const std::string& text, const std::string& name) {
  return Parse(text, name, [](const toml::value& file) { return Read(file); });
}

namespace {

Settings ReadSettings(const toml::value& file, const Settings& settings) {
  Config config;
  config.settings = settings;
  std::vector<Section> sections = Sections(config);
  std::erase_if(sections, [](const Section& s) { return !WhileRunning(s.name); });
  for (const auto& [section, value] : file.as_table()) {
    toml::value table = value;
    if (section == "guard") ReadRules(table, config.settings.guard);
    ReadSection(table, section, Find(sections, section, {}).keys);
  }
  return config.settings;
}

// Not held against other keys yet: a later change may make them fit together.
absl::StatusOr<Settings> Changed(const SettingChange& change, const Settings& settings) {
  const std::string text = change.key + " = ";
  // What came over the wire is one key and its value, not a file.
  const auto is_control = [](unsigned char c) { return std::iscntrl(c) != 0; };
  if (std::ranges::any_of(change.key + change.value, is_control) ||
      change.key.find('=') != std::string::npos) {
    return absl::InvalidArgumentError(fmt::format(
        "{}: must be a key such as guard.shadows_max, and a value", Quoted(change.key)));
  }
  if (std::ranges::find(kNotWhileRunning, change.key) != std::end(kNotWhileRunning)) {
    return absl::InvalidArgumentError(
        fmt::format("{} cannot be changed while the server runs", change.key));
  }
  const auto read = [&](const toml::value& file) { return ReadSettings(file, settings); };
  auto changed = Parse(text + change.value, "change", read);
  if (!changed.ok()) {
    auto word = Parse(text + Quoted(change.value), "change", read);
    if (word.ok()) changed = std::move(word);
  }
  return changed;
}

// The settings, or what a check that may throw Bad says of them.
absl::StatusOr<Settings> Checked(absl::StatusOr<Settings> settings,
                                 const std::function<void(const Settings&)>& check) {
  if (!settings.ok()) return settings;
  try {
    check(*settings);
  } catch (const Bad& bad) {
    return absl::InvalidArgumentError(bad.what);
  }
  return settings;
}

// That the rules of cells are of cells that are there.
absl::StatusOr<Settings> WithCells(const Config& config, absl::StatusOr<Settings> settings) {
  return Checked(std::move(settings),
                 [&](const Settings& s) { CheckCells(s.guard, config.cells); });
}

}  // namespace

absl::StatusOr<Settings> ChangeSettings(const std::vector<SettingChange>& changes,
                                        Settings settings) {
  for (const SettingChange& change : changes) {
    auto changed = Changed(change, settings);
    if (!changed.ok()) return changed;
    settings = *std::move(changed);
  }
  return Checked(std::move(settings), [](const Settings& s) { CheckTogether(s); });
}

absl::StatusOr<Settings> SettingsInForce(const Config& config,
                                         const std::vector<SettingChange>& changes) {
  return WithCells(config, ChangeSettings(changes, config.settings));
}

std::vector<std::string> DropImpossible(const Config& config, std::vector<SettingChange>& changes) {
  std::vector<std::string> dropped;
  Settings so_far = config.settings;
  std::erase_if(changes, [&](const SettingChange& change) {
    auto changed = WithCells(config, Changed(change, so_far));
    if (changed.ok()) {
      so_far = *std::move(changed);
      return false;
    }
    dropped.push_back(std::string(changed.status().message()));
    return true;
  });
  // What does not fit together goes, the newest first.
  while (!changes.empty()) {
    const auto settings = SettingsInForce(config, changes);
    if (settings.ok()) break;
    const auto newest = std::ranges::max_element(changes, {}, &SettingChange::changed_ms);
    dropped.push_back(fmt::format("{} = {}: {}", newest->key, newest->value,
                                  std::string(settings.status().message())));
    changes.erase(newest);
  }
  return dropped;
}

std::vector<std::pair<std::string, std::string>> SettingTexts(const Settings& settings) {
  Config config;
  config.settings = settings;
  std::vector<std::pair<std::string, std::string>> texts;
  const auto add = [&](const std::string& section, const std::vector<Key>& keys) {
    for (const Key& key : keys) texts.emplace_back(section + "." + key.name, ValueText(key));
  };
  for (const Section& section : Sections(config)) {
    if (WhileRunning(section.name)) add(section.name, section.keys);
  }
  for (const auto& [name, keys] : NamedRules(config.settings.guard)) add(name, keys);
  return texts;
}

absl::StatusOr<Config> LoadConfig(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (std::error_code error; !file || std::filesystem::is_directory(path, error)) {
    return absl::NotFoundError(fmt::format("configuration file {} cannot be opened", path));
  }
  std::ostringstream text;
  text << file.rdbuf();
  return ParseConfig(text.str(), path);
}

}  // namespace foreshadow
