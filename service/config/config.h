// The server's configuration: one TOML file, each key checked. docs/configuration.md and
// deploy/foreshadowd.toml tell what every key means.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "service/batch/settings.h"
#include "service/logs/logs.h"
#include "service/monitor/prometheus.h"
#include "service/receive/settings.h"
#include "service/security/settings.h"
#include "service/tick/settings.h"
#include "service/tick/types.h"

namespace foreshadow {

enum class Clock : uint8_t {
  kWall,  // a tick each step_ms
  kData,  // a tick for each step that the telemetry's watermark completes
};

// Where the analysis runs.
enum class ComputeDevice : uint8_t {
  kAuto,  // on a GPU where there is one
  kCpu,
  kCuda,
};

struct CellConfig {
  Cell cell;
  std::string
      agent;  // host:port of its CellController; "" = no agent, nothing can be created there
};

struct Config {
  std::string listen = "127.0.0.1:7420";  // port 0: any free one
  std::string data_dir;
  std::string model_dir;           // registry of models; "" = the one installed beside the program
  int32_t auto_promote_hours = 0;  // a candidate that is better after that long serves; 0 = never
  std::string journal_dir;         // of the record of every tick (service/journal); "" = none
  int64_t journal_bytes_max = int64_t{10} << 30;
  std::string http_listen;     // of /metrics, /healthz and /readyz; "" = none
  std::string xds_listen;      // of the xDS control plane; "" = none
  std::string haproxy_socket;  // of an HAProxy's runtime API; "" = none
  std::string envoy_listen;    // IP:port that Envoys are told to listen on; "" = nothing for Envoy
  std::string sticky_header;
  int64_t health_interval_ms = 5'000;
  bool retry_failed = true;  // the data plane repeats stateless calls that failed on the way
  std::string log_level = "info";
  logs::Format log_format = logs::Format::kText;
  ComputeDevice compute_device = ComputeDevice::kAuto;
  Clock clock = Clock::kWall;
  int64_t watermark_delay_ms = 5'000;  // wall clock: how long a step waits for late samples
  int64_t retention_hours = 24 * 35;
  int64_t retention_5_minutes_hours = 24 * 183;   // of means, minima and maxima of 5 minutes
  int64_t retention_1_hour_hours = 24 * 3 * 366;  // and of hours
  std::string backup_dir;                         // "" = no backups
  int32_t backup_hours = 0;  // between two of the server's own; 0 = only when asked for
  int32_t backups_kept = 7;
  int64_t accept_past_hours = 24 * 35;  // older samples are refused
  PrometheusSettings prometheus;
  batch::Settings inference;
  IngestSettings ingest;
  ReceiveSettings receive;
  security::Settings security;
  Settings settings;
  std::vector<CellConfig> cells;  // by id
};

// NOT_FOUND when the file cannot be opened, INVALID_ARGUMENT for everything else; the message names
// file, key, value and what is allowed.
absl::StatusOr<Config> LoadConfig(const std::string& path);
// The same of a text; `name` stands for the file in messages.
absl::StatusOr<Config> ParseConfig(const std::string& text, const std::string& name);

// The text of a configuration, every key of it: ParseConfig gives back the same one.
std::string ConfigToToml(const Config& config);
// The settings with changes of keys of the sections analyze, plan, shadow, guard, learn and
// monitor, read one after the other and then held against each other. A value that is a word may
// come without its quotes. INVALID_ARGUMENT names the first key that cannot be.
absl::StatusOr<Settings> ChangeSettings(const std::vector<SettingChange>& changes,
                                        Settings settings);

// The configuration's settings with what operators changed since; the configuration's cells are
// known here.
absl::StatusOr<Settings> SettingsInForce(const Config& config,
                                         const std::vector<SettingChange>& changes);
// Takes out of `changes` what no longer can be, of those that do not fit together the newest, and
// says what.
std::vector<std::string> DropImpossible(const Config& config, std::vector<SettingChange>& changes);

// The keys that may be changed while the server runs, and their values as in the file.
std::vector<std::pair<std::string, std::string>> SettingTexts(const Settings& settings);

// Every key there is, as "section.key".
std::vector<std::string> ConfigKeys();

}  // namespace foreshadow
