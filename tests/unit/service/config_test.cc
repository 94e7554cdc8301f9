#include "service/config/config.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <regex>
#include <set>
#include <sstream>

namespace foreshadow {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

constexpr const char* kLeast = R"(
[server]
data_dir = "/data"
[[cell]]
id = "a"
)";

std::string ErrorOf(const std::string& text) {
  const auto config = ParseConfig(text, "f.toml");
  return config.ok() ? "no error" : std::string(config.status().message());
}

std::string ReadSourceFile(const std::string& path) {
  std::ifstream file(std::string(FORESHADOW_SOURCE_DIR) + "/" + path);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

TEST(Config, RefusesWhatIsNotUtf8) {
  EXPECT_THAT(ErrorOf("x = '\xaf'\n"), AllOf(HasSubstr("f.toml: not TOML"), HasSubstr("UTF-8")));
}

TEST(Config, TakesDefaultsForAllThatIsNotSet) {
  const auto config = ParseConfig(kLeast, "f.toml");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->listen, "127.0.0.1:7420");
  EXPECT_EQ(config->clock, Clock::kWall);
  EXPECT_EQ(config->settings.tick.step_ms, TickSettings().step_ms);
  EXPECT_EQ(config->settings.shadow.mode, Mode::kRecommend);
  ASSERT_EQ(config->cells.size(), 1u);
  EXPECT_EQ(config->cells[0].agent, "");
}

TEST(Config, NothingIsRefusedWhereNoDataPlaneCan) {
  const auto none = ParseConfig(kLeast, "f.toml");
  ASSERT_TRUE(none.ok()) << none.status();
  EXPECT_FALSE(none->settings.learn.can_shed);
  const auto xds =
      ParseConfig(std::string(kLeast) + "[xds]\nlisten = \"127.0.0.1:18000\"\n", "f.toml");
  ASSERT_TRUE(xds.ok()) << xds.status();
  EXPECT_TRUE(xds->settings.learn.can_shed);
}

TEST(Config, ReadsEveryKindOfValue) {
  const auto config = ParseConfig(R"(
[server]
listen = "0.0.0.0:0"
data_dir = "/data"
[tick]
step_ms = 300000
clock = "data"
[plan]
risk_threshold = 1
risk_target = 0.125
[shadow]
mode = "act"
[xds]
retry_failed = false
[[cell]]
id = "b"
cpu_cores = 2.5
storage_bytes = 7
[[cell]]
id = "a"
zone = "z"
agent = "host:1"
)",
                                  "f.toml");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->listen, "0.0.0.0:0");
  EXPECT_EQ(config->clock, Clock::kData);
  EXPECT_EQ(config->settings.tick.step_ms, 300'000);
  EXPECT_EQ(config->settings.plan.risk_threshold, 1.0);
  EXPECT_EQ(config->settings.plan.risk_target, 0.125);
  EXPECT_EQ(config->settings.shadow.mode, Mode::kAct);
  EXPECT_FALSE(config->retry_failed);
  ASSERT_EQ(config->cells.size(), 2u);
  EXPECT_EQ(config->cells[0].cell.id, "a") << "cells are sorted by id";
  EXPECT_EQ(config->cells[0].agent, "host:1");
  EXPECT_EQ(config->cells[1].cell.capacity, (Resources{2.5, 0, 0, 7}));
}

TEST(Config, ChoosesWhereTheAnalysisRuns) {
  const std::string head = std::string(kLeast) + "[compute]\n";
  EXPECT_EQ(ParseConfig(kLeast, "f.toml")->compute_device, ComputeDevice::kAuto);
  EXPECT_EQ(ParseConfig(head + "device = \"cpu\"\n", "f.toml")->compute_device,
            ComputeDevice::kCpu);
  EXPECT_EQ(ParseConfig(head + "device = \"cuda\"\n", "f.toml")->compute_device,
            ComputeDevice::kCuda);
  EXPECT_THAT(
      ErrorOf(head + "device = \"gpu\"\n"),
      AllOf(HasSubstr("compute.device = \"gpu\""), HasSubstr("\"auto\", \"cpu\", \"cuda\"")));
  EXPECT_THAT(ErrorOf("[server]\ndata_dir = \"/d\"\njournal_dir = \"/j\"\n[[cell]]\nid = \"a\"\n"
                      "[compute]\ndevice = \"cuda\"\n"),
              AllOf(HasSubstr("compute.device"), HasSubstr("server.journal_dir")));
}

TEST(Config, NamesFileKeyAndTheNearestKnownOne) {
  EXPECT_THAT(
      ErrorOf(std::string(kLeast) + "[plan]\nrisk_treshold = 0.5\n"),
      AllOf(HasSubstr("f.toml"), HasSubstr("plan.risk_treshold"), HasSubstr("\"risk_threshold\"")));
  EXPECT_THAT(ErrorOf(std::string(kLeast) + "[shadows]\n"),
              AllOf(HasSubstr("shadows"), HasSubstr("\"shadow\"")));
  EXPECT_THAT(ErrorOf(std::string(kLeast) + "zzone = \"x\"\n"),
              AllOf(HasSubstr("cell[0].zzone"), HasSubstr("\"zone\"")));
}

TEST(Config, NamesTheValueAndWhatIsAllowed) {
  EXPECT_THAT(ErrorOf(std::string(kLeast) + "[tick]\nstep_ms = 5\n"),
              AllOf(HasSubstr("tick.step_ms = 5"), HasSubstr("1000 .. 3600000")));
  EXPECT_THAT(ErrorOf(std::string(kLeast) + "[tick]\nstep_ms = 60000.5\n"),
              AllOf(HasSubstr("tick.step_ms"), HasSubstr("whole number")));
  EXPECT_THAT(ErrorOf(std::string(kLeast) + "[tick]\nclock = 3\n"),
              AllOf(HasSubstr("tick.clock = 3"), HasSubstr("string")));
  EXPECT_THAT(ErrorOf(std::string(kLeast) + "[tick]\nclock = \"sun\"\n"),
              AllOf(HasSubstr("tick.clock = \"sun\""), HasSubstr("\"wall\", \"data\"")));
  EXPECT_THAT(ErrorOf(std::string(kLeast) + "[plan]\nrisk_target = nan\n"),
              HasSubstr("plan.risk_target"));
  EXPECT_THAT(ErrorOf(std::string(kLeast) + "cpu_cores = -1\n"),
              AllOf(HasSubstr("cell[0].cpu_cores"), HasSubstr("-1")));
}

TEST(Config, RefusesWhatDoesNotFitTogether) {
  EXPECT_THAT(ErrorOf("[[cell]]\nid = \"a\"\n"), HasSubstr("server.data_dir"));
  EXPECT_THAT(ErrorOf("[server]\nlisten = \"a:1\"\n[[cell]]\nid = \"a\"\n"),
              HasSubstr("server.data_dir"));
  EXPECT_THAT(ErrorOf("[server]\ndata_dir = \"/d\"\n"), HasSubstr("[[cell]]"));
  EXPECT_THAT(ErrorOf(std::string(kLeast) + "[[cell]]\nid = \"a\"\n"), HasSubstr("given twice"));
  EXPECT_THAT(ErrorOf(std::string(kLeast) + "[[cell]]\nzone = \"z\"\n"),
              HasSubstr("cell[1].id is missing"));
  EXPECT_THAT(ErrorOf(std::string(kLeast) + "[history]\nretention_hours = 2\n"),
              AllOf(HasSubstr("accept_past_hours"), HasSubstr("retention_hours = 2")));
  EXPECT_THAT(ErrorOf(std::string(kLeast) + "[plan]\nrisk_target = 0.5\n"),
              AllOf(HasSubstr("risk_target"), HasSubstr("risk_threshold")));
  const std::string security = std::string(kLeast) + "[security]\n";
  EXPECT_THAT(ErrorOf(security + "tls_cert = \"c.pem\"\n"), HasSubstr("security.tls_key"));
  EXPECT_THAT(ErrorOf(security + "tls_client_ca = \"ca.pem\"\n"), HasSubstr("security.tls_cert"));
  EXPECT_THAT(ErrorOf(security + "identities = \"who.toml\"\n"), HasSubstr("in clear"));
  EXPECT_THAT(ErrorOf(security + "agent_token_file = \"token\"\n"), HasSubstr("security.agent_ca"));
}

TEST(Config, ReadsRulesAndNamesWhatIsWrongWithOne) {
  const std::string rule = std::string(kLeast) + R"(
[[receive.rule]]
metric = "m_.*"
match = { job = "a|b" }
signal = "network"
kind = "counter"
scale = 8
in_step = "max"
account = "{namespace}/{app}"
cell = "a"
)";
  const auto config = ParseConfig(rule, "f.toml");
  ASSERT_TRUE(config.ok()) << config.status();
  ASSERT_EQ(config->receive.rules.size(), 1u);
  const ReceiveRule& read = config->receive.rules[0];
  EXPECT_EQ(read.metric, "m_.*");
  EXPECT_EQ(read.match.at("job"), "a|b");
  EXPECT_EQ(read.signal, SignalKind::kNetwork);
  EXPECT_EQ(read.kind, SeriesKind::kCounter);
  EXPECT_EQ(read.scale, 8);
  EXPECT_EQ(read.in_step, InStep::kMax);
  EXPECT_EQ(read.account, "{namespace}/{app}");

  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = rule;
    changed.replace(changed.find(from), from.size(), to);
    return ErrorOf(changed);
  };
  EXPECT_THAT(with("m_.*", "m_("), AllOf(HasSubstr("receive.rule[0].metric"), HasSubstr("m_(")));
  EXPECT_THAT(with("a|b", "["), HasSubstr("receive.rule[0].match.job"));
  EXPECT_THAT(with("{app}", "{app"), HasSubstr("receive.rule[0].account"));
  EXPECT_THAT(with("\"network\"", "\"disk\""),
              AllOf(HasSubstr("receive.rule[0].signal"), HasSubstr("\"storage\"")));
  EXPECT_THAT(with("kind", "kinds"), AllOf(HasSubstr("kinds"), HasSubstr("\"kind\"")));
  EXPECT_THAT(ErrorOf(rule + "[receive]\nsettle_ms = 5000\n"), HasSubstr("f.toml"));
  EXPECT_THAT(with("[[receive.rule]]", "[receive]\nsettle_ms = 5000\n[[receive.rule]]"),
              AllOf(HasSubstr("receive.settle_ms = 5000"), HasSubstr("tick.watermark_delay_ms")));
}

constexpr const char* kGuard = R"(
[[cell]]
id = "b 2"
[guard]
urgency_min = "soon"
[guard.cell."b 2"]
drain = true
[guard.application.db]
mode = "observe"
cells = ["a", "b 2"]
zone = "other"
accounts_per_cell_max = 2
[guard.freeze.night]
days = ["fri"]
from = "22:00"
until = "04:00"
urgency_min = "overloaded"
)";

TEST(Config, ReadsGuardRailsAndNamesWhatIsWrongWithOne) {
  const std::string guard = std::string(kLeast) + kGuard;
  const auto config = ParseConfig(guard, "f.toml");
  ASSERT_TRUE(config.ok()) << config.status();
  const RailSettings& rails = config->settings.guard;
  EXPECT_EQ(rails.urgency_min, Urgency::kSoon);
  EXPECT_TRUE(rails.cells.at("b 2").drain);
  EXPECT_TRUE(rails.cells.at("b 2").takes_shadows);
  const ApplicationRule& rule = rails.applications.at("db");
  EXPECT_EQ(rule.mode, ModeRule::kObserve);
  EXPECT_EQ(rule.cells, (std::vector<std::string>{"a", "b 2"}));
  EXPECT_EQ(rule.zone, ZoneRule::kOther);
  EXPECT_EQ(rule.accounts_per_cell_max, 2);
  EXPECT_EQ(rails.freezes.at("night").urgency_min, Urgency::kOverloaded);
  // And back from its own text.
  const auto back = ParseConfig(ConfigToToml(*config), "text");
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(SettingTexts(back->settings), SettingTexts(config->settings));

  const auto with = [&](const std::string& from, const std::string& to) {
    std::string changed = guard;
    changed.replace(changed.find(from), from.size(), to);
    return ErrorOf(changed);
  };
  EXPECT_THAT(with("22:00", "25:00"), AllOf(HasSubstr("guard.freeze.night"), HasSubstr("25:00")));
  EXPECT_THAT(with("\"fri\"", "5"), AllOf(HasSubstr("guard.freeze.night.days"), HasSubstr("5")));
  EXPECT_THAT(with("[\"a\",", "[\"z\","),
              AllOf(HasSubstr("guard.application.db.cells"), HasSubstr("\"z\""), HasSubstr("a")));
  EXPECT_THAT(with("guard.cell.\"b 2\"", "guard.cell.c"), HasSubstr("\"c\""));
  EXPECT_THAT(with("zone", "zones"),
              AllOf(HasSubstr("guard.application.db.zones"), HasSubstr("\"zone\"")));
  EXPECT_THAT(with("\"soon\"", "\"later\""),
              AllOf(HasSubstr("guard.urgency_min"), HasSubstr("\"overloaded\"")));
}

TEST(Config, SettingsChangeWhileTheServerRuns) {
  auto config = ParseConfig(std::string(kLeast) + kGuard, "f.toml");
  ASSERT_TRUE(config.ok()) << config.status();
  const auto after = [&](const std::string& key, const std::string& value) {
    return SettingsInForce(*config, {{key, value, "", 0}});
  };
  const auto why = [&](const std::string& key, const std::string& value) {
    return std::string(after(key, value).status().message());
  };
  EXPECT_EQ(after("guard.shadows_max", "7")->guard.shadows_max, 7);
  EXPECT_EQ(after("shadow.mode", "act")->shadow.mode, Mode::kAct);  // a word without its quotes
  EXPECT_EQ(after("shadow.mode", "\"act\"")->shadow.mode, Mode::kAct);
  const auto rule = after("guard.application.db.mode", "act");
  EXPECT_EQ(rule->guard.applications.at("db").mode, ModeRule::kAct);
  EXPECT_EQ(rule->guard.applications.at("db").zone, ZoneRule::kOther);  // stays
  EXPECT_EQ(after("guard.freeze.night.until", "05:00")->guard.freezes.at("night").until, "05:00");
  EXPECT_TRUE(after("guard.freeze.new", "{ from = \"01:00\", until = \"02:00\" }").ok());
  EXPECT_EQ(after("guard.cell.\"b 2\".drain", "false")->guard.cells.at("b 2").drain, false);

  EXPECT_THAT(why("guard.shadows_max", "-1"), HasSubstr("guard.shadows_max = -1"));
  EXPECT_THAT(why("guard.shadow_max", "1"), HasSubstr("\"shadows_max\""));
  EXPECT_THAT(why("tick.step_ms", "1000"), HasSubstr("unknown key tick"));
  EXPECT_THAT(why("learn.log", "/tmp/x"), HasSubstr("learn.log cannot be changed"));
  EXPECT_THAT(why("guard.cell.z.drain", "true"), HasSubstr("\"z\""));
  EXPECT_THAT(why("guard.freeze.new.from", "01:00"), HasSubstr("guard.freeze.new"));
  EXPECT_THAT(why("plan.gain_min", "1\nplan.move_cost = 2"), HasSubstr("must be a key"));
  EXPECT_THAT(why("plan.gain_min = 1 #", "2"), HasSubstr("must be a key"));
  EXPECT_THAT(why("plan.risk_target", "0.9"), HasSubstr("plan.risk_threshold"));

  // After the configuration has changed, what no longer can be is dropped, and the rest stays.
  std::vector<SettingChange> changes = {{"plan.risk_target", "0.2", "", 0},
                                        {"plan.shadows", "1", "", 0},
                                        {"plan.move_cost", "1", "", 0}};
  EXPECT_THAT(DropImpossible(*config, changes), ElementsAre(HasSubstr("plan.shadows")));
  ASSERT_EQ(changes.size(), 2u);
  config->settings.plan.risk_threshold = 0.1;
  config->settings.plan.risk_target = 0.05;
  EXPECT_THAT(DropImpossible(*config, changes), ElementsAre(HasSubstr("plan.risk_target")));
  EXPECT_EQ(changes[0].key, "plan.move_cost");
}

TEST(Config, ChangedSettingsAreHeldAgainstEachOtherOnce) {
  auto config = ParseConfig(kLeast, "f.toml");
  ASSERT_TRUE(config.ok()) << config.status();
  const double before = config->settings.plan.risk_threshold;
  // By their keys the target comes first; it fits the threshold that comes after it.
  std::vector<SettingChange> changes = {{"plan.risk_target", "0.8", "", 2},
                                        {"plan.risk_threshold", "0.9", "", 1}};
  const auto settings = SettingsInForce(*config, changes);
  ASSERT_TRUE(settings.ok()) << settings.status();
  EXPECT_EQ(settings->plan.risk_target, 0.8);
  EXPECT_TRUE(DropImpossible(*config, changes).empty());

  // Without it the two no longer fit, and the newest goes.
  changes = {{"plan.risk_target", "0.8", "", 2}, {"plan.risk_threshold", "0.7", "", 1}};
  EXPECT_FALSE(SettingsInForce(*config, changes).ok());
  EXPECT_THAT(DropImpossible(*config, changes), ElementsAre(HasSubstr("plan.risk_target = 0.8")));
  EXPECT_EQ(SettingsInForce(*config, changes)->plan.risk_threshold, 0.7);
  EXPECT_NE(before, 0.7);
}

TEST(Config, NamesThePlaceOfASyntaxError) {
  EXPECT_THAT(ErrorOf("[server]\ndata_dir = \n"), AllOf(HasSubstr("f.toml"), HasSubstr("2")));
  EXPECT_TRUE(absl::IsNotFound(LoadConfig("/nonexistent/f.toml").status()));
}

// Tables that have a name of their own, [guard.cell.NAME], go by their kind.
std::string SectionOf(const std::string& header) {
  return std::regex_replace(header, std::regex(R"(^(guard\.\w+)\..*)"), "$1");
}

// The keys of a text by section: "[s]" opens one, "name = " is a key of it.
std::set<std::string> KeysOf(const std::string& text) {
  std::set<std::string> keys;
  std::string section;
  std::istringstream lines(text);
  const std::regex header(R"(\[+([^\]]+)\]+.*)");
  const std::regex key(R"((\w+) = .*)");
  std::smatch match;
  for (std::string line; std::getline(lines, line);) {
    if (std::regex_match(line, match, header)) {
      section = SectionOf(match[1]);
    } else if (std::regex_match(line, match, key)) {
      keys.insert(section + "." + match[1].str());
    }
  }
  return keys;
}

// The keys of the tables of docs/configuration.md: "## [s]" opens one, "| `name` |" is a key.
std::set<std::string> KeysDocumented(const std::string& text) {
  std::set<std::string> keys;
  std::string section;
  std::istringstream lines(text);
  const std::regex header(R"(## `\[+([^\]]+)\]+`.*)");
  const std::regex key(R"(\| `(\w+)` \|.*)");
  std::smatch match;
  for (std::string line; std::getline(lines, line);) {
    if (std::regex_match(line, match, header)) {
      section = SectionOf(match[1]);
    } else if (std::regex_match(line, match, key)) {
      keys.insert(section + "." + match[1].str());
    }
  }
  return keys;
}

TEST(Config, SampleHasEveryKeyAtItsDefaultAndTheDocumentNamesThem) {
  const std::vector<std::string> known = ConfigKeys();
  const std::string sample = ReadSourceFile("deploy/foreshadowd.toml");
  EXPECT_EQ(KeysOf(sample), std::set<std::string>(known.begin(), known.end()));
  EXPECT_EQ(KeysDocumented(ReadSourceFile("docs/configuration.md")), KeysOf(sample));

  const auto config = ParseConfig(sample, "sample");
  ASSERT_TRUE(config.ok()) << config.status();
  const Config defaults;
  EXPECT_EQ(config->listen, defaults.listen);
  EXPECT_EQ(config->model_dir, defaults.model_dir);
  EXPECT_EQ(config->journal_dir, defaults.journal_dir);
  EXPECT_EQ(config->journal_bytes_max, defaults.journal_bytes_max);
  EXPECT_EQ(config->http_listen, defaults.http_listen);
  EXPECT_EQ(config->log_level, defaults.log_level);
  EXPECT_EQ(config->log_format, defaults.log_format);
  EXPECT_EQ(config->clock, defaults.clock);
  EXPECT_EQ(config->watermark_delay_ms, defaults.watermark_delay_ms);
  EXPECT_EQ(config->retention_hours, defaults.retention_hours);
  EXPECT_EQ(config->accept_past_hours, defaults.accept_past_hours);
  EXPECT_EQ(config->inference.batch_series_max, defaults.inference.batch_series_max);
  EXPECT_EQ(config->inference.wait_ms, defaults.inference.wait_ms);
  EXPECT_EQ(config->inference.queue_calls_max, defaults.inference.queue_calls_max);
  EXPECT_EQ(config->inference.queue_mib_max, defaults.inference.queue_mib_max);
  EXPECT_EQ(config->inference.threads, defaults.inference.threads);
  EXPECT_EQ(config->ingest.future_ms, defaults.ingest.future_ms);
  EXPECT_EQ(config->ingest.accounts_max, defaults.ingest.accounts_max);
  EXPECT_EQ(config->ingest.samples_per_second, defaults.ingest.samples_per_second);
  EXPECT_EQ(config->ingest.burst_samples, defaults.ingest.burst_samples);
  EXPECT_EQ(config->ingest.samples_per_day, defaults.ingest.samples_per_day);
  EXPECT_EQ(config->ingest.streams_per_sender_max, defaults.ingest.streams_per_sender_max);
  EXPECT_EQ(config->ingest.labels_max, defaults.ingest.labels_max);
  EXPECT_EQ(config->ingest.label_bytes_max, defaults.ingest.label_bytes_max);
  EXPECT_EQ(config->ingest.series_max, defaults.ingest.series_max);
  EXPECT_EQ(config->receive.settle_ms, defaults.receive.settle_ms);
  EXPECT_EQ(config->receive.gap_ms, defaults.receive.gap_ms);
  ASSERT_EQ(config->receive.rules.size(), 1u);
  const ReceiveRule rule;
  EXPECT_EQ(config->receive.rules[0].kind, rule.kind);
  EXPECT_EQ(config->receive.rules[0].scale, rule.scale);
  EXPECT_EQ(config->receive.rules[0].in_step, rule.in_step);
  EXPECT_EQ(config->security.tls_cert, defaults.security.tls_cert);
  EXPECT_EQ(config->security.tls_key, defaults.security.tls_key);
  EXPECT_EQ(config->security.tls_client_ca, defaults.security.tls_client_ca);
  EXPECT_EQ(config->security.client_certificates, defaults.security.client_certificates);
  EXPECT_EQ(config->security.identities, defaults.security.identities);
  EXPECT_EQ(config->security.agent_ca, defaults.security.agent_ca);
  EXPECT_EQ(config->security.agent_token_file, defaults.security.agent_token_file);
  EXPECT_EQ(config->security.message_mib_max, defaults.security.message_mib_max);
  const Settings& s = config->settings;
  const Settings& d = defaults.settings;
  EXPECT_EQ(s.tick.step_ms, d.tick.step_ms);
  EXPECT_EQ(s.tick.window_steps, d.tick.window_steps);
  EXPECT_EQ(s.tick.seed, d.tick.seed);
  EXPECT_EQ(s.analyze.rota_ticks, d.analyze.rota_ticks);
  EXPECT_EQ(s.analyze.period_significance, d.analyze.period_significance);
  EXPECT_EQ(s.analyze.spike_false_alarms, d.analyze.spike_false_alarms);
  EXPECT_EQ(s.analyze.lag_steps_max, d.analyze.lag_steps_max);
  EXPECT_EQ(s.plan.risk_threshold, d.plan.risk_threshold);
  EXPECT_EQ(s.plan.risk_target, d.plan.risk_target);
  EXPECT_EQ(s.plan.target_headroom, d.plan.target_headroom);
  EXPECT_EQ(s.plan.target_risk_max, d.plan.target_risk_max);
  EXPECT_EQ(s.plan.unserved_cost, d.plan.unserved_cost);
  EXPECT_EQ(s.plan.overloaded_cost, d.plan.overloaded_cost);
  EXPECT_EQ(s.plan.traffic_cost, d.plan.traffic_cost);
  EXPECT_NEAR(s.plan.gib_cost, d.plan.gib_cost, 1e-12);
  EXPECT_EQ(s.plan.move_cost, d.plan.move_cost);
  EXPECT_EQ(s.plan.gain_min, d.plan.gain_min);
  EXPECT_EQ(s.shadow.promote_after_ms, d.shadow.promote_after_ms);
  Settings without_examples = s;
  without_examples.guard.cells.clear();
  without_examples.guard.applications.clear();
  without_examples.guard.freezes.clear();
  EXPECT_EQ(SettingTexts(without_examples), SettingTexts(d));
  EXPECT_EQ(s.shadow.mode, d.shadow.mode);
  EXPECT_EQ(s.shadow.resume_lead_ms, d.shadow.resume_lead_ms);
  EXPECT_EQ(s.shadow.idle_ms, d.shadow.idle_ms);
  EXPECT_EQ(s.shadow.attempts_max, d.shadow.attempts_max);
  EXPECT_EQ(s.migrate.step, d.migrate.step);
  EXPECT_EQ(s.migrate.step_hold_ms, d.migrate.step_hold_ms);
  EXPECT_EQ(s.migrate.samples_min, d.migrate.samples_min);
  EXPECT_EQ(s.migrate.few_hold_ms, d.migrate.few_hold_ms);
  EXPECT_EQ(s.migrate.undecided_ms, d.migrate.undecided_ms);
  EXPECT_EQ(s.migrate.error_share_max, d.migrate.error_share_max);
  EXPECT_EQ(s.migrate.p99_ratio_max, d.migrate.p99_ratio_max);
  EXPECT_EQ(s.migrate.drain_ms, d.migrate.drain_ms);
  EXPECT_EQ(s.learn.first_split, d.learn.first_split);
  EXPECT_EQ(s.learn.split_step, d.learn.split_step);
  EXPECT_EQ(s.learn.split_max, d.learn.split_max);
  EXPECT_EQ(s.learn.decrease_factor, d.learn.decrease_factor);
  EXPECT_EQ(s.learn.shed_max, d.learn.shed_max);
  EXPECT_EQ(s.learn.hold_ms, d.learn.hold_ms);
}

TEST(Config, ComesBackFromItsOwnText) {
  Config config;
  config.data_dir =
      "/data \"quoted\" \\ \n\t\x7f and longer than eighty characters, which a writer may "
      "break into lines: \xc3\xa9";
  config.clock = Clock::kData;
  config.log_format = logs::Format::kJson;
  config.journal_bytes_max = (int64_t{1} << 53) + 2;
  config.settings.tick.seed = 123'456'789;
  config.settings.shadow.mode = Mode::kObserve;
  config.settings.shadow.idle_ms = 7 * int64_t{86'400'000};
  config.settings.plan.risk_target = 1.0 / 3;
  config.settings.plan.risk_threshold = 1;
  config.settings.analyze.spike_false_alarms = 1.2345678901234567e-9;
  config.settings.analyze.period_significance = 0.1 + 0.2;
  config.cells = {{{"a", "", CellState::kUp, {1e18, 1e15 / 7, 0, 3}}, "host:1"},
                  {{"b", "zone", CellState::kUp, {}}, ""}};
  ReceiveRule rule;
  rule.metric = "node_.*\\d+";
  rule.match = {{"mode", "idle|user"}, {"a \"b\"", ""}};
  rule.signal = SignalKind::kNetwork;
  rule.kind = SeriesKind::kCounter;
  rule.scale = 1.0 / 3;
  rule.account = "{instance}";
  config.receive.rules = {rule, rule};
  config.receive.rules[1].match = {};
  config.settings.guard.cells["b"].mode = ModeRule::kAct;
  config.settings.guard.applications["a \"b\""].cells = {"a", "b"};
  config.settings.guard.freezes["f"] = {{}, {"mon"}, "01:00", "02:00", Urgency::kNow};
  const std::string text = ConfigToToml(config);
  const auto back = ParseConfig(text, "text");
  ASSERT_TRUE(back.ok()) << back.status() << text;
  EXPECT_EQ(back->data_dir, config.data_dir);
  EXPECT_EQ(back->clock, config.clock);
  EXPECT_EQ(back->log_format, config.log_format);
  EXPECT_EQ(back->journal_bytes_max, config.journal_bytes_max);
  EXPECT_EQ(back->settings.tick.seed, config.settings.tick.seed);
  EXPECT_EQ(back->settings.shadow.mode, config.settings.shadow.mode);
  EXPECT_EQ(back->settings.shadow.idle_ms, config.settings.shadow.idle_ms);
  EXPECT_EQ(back->settings.plan.risk_target, config.settings.plan.risk_target);
  EXPECT_EQ(back->settings.plan.risk_threshold, config.settings.plan.risk_threshold);
  EXPECT_EQ(back->settings.analyze.spike_false_alarms, config.settings.analyze.spike_false_alarms);
  EXPECT_EQ(back->settings.analyze.period_significance,
            config.settings.analyze.period_significance);
  ASSERT_EQ(back->receive.rules.size(), 2u);
  EXPECT_EQ(back->receive.rules[0].metric, rule.metric);
  EXPECT_EQ(back->receive.rules[0].match, rule.match);
  EXPECT_EQ(back->receive.rules[0].signal, rule.signal);
  EXPECT_EQ(back->receive.rules[0].kind, rule.kind);
  EXPECT_EQ(back->receive.rules[0].scale, rule.scale);
  EXPECT_EQ(back->receive.rules[0].account, rule.account);
  EXPECT_TRUE(back->receive.rules[1].match.empty());
  ASSERT_EQ(back->cells.size(), 2u);
  EXPECT_EQ(back->cells[0].cell.capacity, config.cells[0].cell.capacity);
  EXPECT_EQ(back->cells[0].agent, "host:1");
  EXPECT_EQ(back->cells[1].cell.zone, "zone");
  // Every key is in it, so that two texts that are equal mean two configurations that are.
  const std::vector<std::string> known = ConfigKeys();
  EXPECT_EQ(KeysOf(text), std::set<std::string>(known.begin(), known.end()));
  EXPECT_EQ(ConfigToToml(*back), text);
}

TEST(Config, APrometheusIsAskedWithAllItsQueries) {
  const std::string url = std::string(kLeast) + "[prometheus]\nurl = \"http://here:9090\"\n";
  const std::string requests = "requests = \"requests_total\"\nerrors = \"errors_total\"\n";
  EXPECT_THAT(ErrorOf(url), HasSubstr("prometheus.requests is missing"));
  EXPECT_THAT(ErrorOf(url + requests), HasSubstr("prometheus.latency is missing"));
  EXPECT_THAT(ErrorOf(std::string(kLeast) + "[prometheus]\nurl = \"here:9090\"\n"),
              AllOf(HasSubstr("prometheus.url = \"here:9090\""), HasSubstr("http://")));
  const auto config = ParseConfig(url + requests + "latency = \"seconds_bucket\"\n", "f.toml");
  ASSERT_TRUE(config.ok()) << config.status();
  EXPECT_EQ(config->prometheus.latency, "seconds_bucket");
  EXPECT_EQ(config->prometheus.label, "instance_id");
}

}  // namespace
}  // namespace foreshadow
