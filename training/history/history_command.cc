#include "training/history/history_command.h"

#include <absl/time/time.h>
#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "service/history/backup.h"
#include "service/history/offline.h"
#include "service/tick/types.h"
#include "training/client/client.h"
#include "training/client/history.h"
#include "training/command.h"
#include "training/io/csv.h"

namespace foreshadow::training {
namespace {

using nlohmann::ordered_json;

std::string Clock(int64_t time_ms) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::FromUnixMillis(time_ms), absl::UTCTimeZone());
}

struct Flags {
  std::string folder;  // of data, or of backups
  std::string into;
  std::string server = kDefaultServer;
  tls::ClientFiles tls;
  uint32_t id = 0;
  bool json = false;
  SeriesQuery query;
  std::string signal = "cpu";
  std::string from;
  std::string to;
  std::string resolution = "samples";
};

ordered_json ToJson(const history::Survey& survey) {
  ordered_json families;
  uint64_t bytes = 0;
  for (const history::FamilySurvey& family : survey.families) {
    families[family.name] = {{"entries", family.entries_count}, {"file_bytes", family.file_bytes}};
    bytes += family.file_bytes;
  }
  return {{"accounts", survey.accounts_count},
          {"recent_samples", survey.recent_samples_count},
          {"packed_samples", survey.packed_samples_count},
          {"five_minute_summaries", survey.five_minutes_count},
          {"hour_summaries", survey.hours_count},
          {"oldest_ms", survey.oldest_ms},
          {"newest_ms", survey.newest_ms},
          {"file_bytes", bytes},
          {"families", families},
          {"damage", std::string(survey.damage.message())}};
}

void Print(const history::Survey& survey) {
  fmt::print("accounts        {}\n", survey.accounts_count);
  fmt::print("samples         {} recent, {} packed\n", survey.recent_samples_count,
             survey.packed_samples_count);
  fmt::print("summaries       {} of 5 minutes, {} of hours\n", survey.five_minutes_count,
             survey.hours_count);
  if (survey.oldest_ms > 0) {
    fmt::print("times           {} .. {}\n", Clock(survey.oldest_ms), Clock(survey.newest_ms));
  }
  for (const history::FamilySurvey& family : survey.families) {
    fmt::print("  {:<13} {:>12} entries {:>14} bytes\n", family.name, family.entries_count,
               family.file_bytes);
    if (family.name == "chunks" && survey.packed_samples_count > 0) {
      fmt::print("  {:<13} {:.2f} bytes a packed sample\n", "",
                 static_cast<double>(family.file_bytes) /
                     static_cast<double>(survey.packed_samples_count));
    }
  }
}

absl::Status Stats(const Flags& flags) {
  const auto survey = history::SurveyFolder(flags.folder);
  if (!survey.ok()) return survey.status();
  if (flags.json) {
    fmt::print("{}\n", ToJson(*survey).dump(1));
  } else {
    Print(*survey);
  }
  return survey->damage;
}

absl::Status Verify(const Flags& flags) {
  const auto survey = history::SurveyFolder(flags.folder);
  if (!survey.ok()) return survey.status();
  if (!survey->damage.ok()) return survey->damage;
  fmt::print("{}: good, {} samples, {} summaries, {} accounts\n", flags.folder,
             survey->recent_samples_count + survey->packed_samples_count,
             survey->five_minutes_count + survey->hours_count, survey->accounts_count);
  return absl::OkStatus();
}

absl::Status Repair(const Flags& flags) {
  const auto repaired = history::RepairFolder(flags.folder);
  if (!repaired.ok()) return repaired.status();
  fmt::print("{}: made anew, the damaged one is {}\n", flags.folder, repaired->damaged_folder);
  fmt::print("left out: {}\n",
             repaired->damage.ok() ? "nothing" : std::string(repaired->damage.message()));
  if (repaired->lost_accounts_count > 0) {
    fmt::print("{} accounts could not be read and are called lost-INDEX\n",
               repaired->lost_accounts_count);
  }
  Print(repaired->survey);
  return repaired->survey.damage;
}

absl::Status Backups(const Flags& flags) {
  const auto backups = history::ListBackups(flags.folder);
  if (!backups.ok()) return backups.status();
  ordered_json list = ordered_json::array();
  for (const BackupInfo& backup : *backups) {
    if (flags.json) {
      list.push_back({{"id", backup.id},
                      {"made_ms", backup.made_ms},
                      {"bytes", backup.bytes},
                      {"files", backup.files_count}});
    } else {
      fmt::print("{:>6}  {}  {:>14} bytes  {:>5} files\n", backup.id, Clock(backup.made_ms),
                 backup.bytes, backup.files_count);
    }
  }
  if (flags.json) fmt::print("{}\n", list.dump(1));
  return absl::OkStatus();
}

absl::Status Restore(const Flags& flags) {
  const auto restored = history::RestoreBackup(flags.folder, flags.id, flags.into);
  if (!restored.ok()) return restored.status();
  fmt::print("{}: backup {} of {}, {} bytes\n", flags.into, restored->id, Clock(restored->made_ms),
             restored->bytes);
  return absl::OkStatus();
}

absl::Status Backup(const Flags& flags) {
  const auto made = AskForBackup(flags.server, flags.tls);
  if (!made.ok()) return made.status();
  if (flags.json) {
    const ordered_json json = {{"id", made->id}, {"folder", made->folder}, {"bytes", made->bytes}};
    fmt::print("{}\n", json.dump(1));
  } else {
    fmt::print("backup {} in {}, {} bytes\n", made->id, made->folder, made->bytes);
  }
  return absl::OkStatus();
}

absl::Status Show(const Flags& flags) {
  SeriesQuery query = flags.query;
  for (const auto& [text, time_ms, option] : {std::tuple(&flags.from, &query.from_ms, "--from"),
                                              std::tuple(&flags.to, &query.to_ms, "--to")}) {
    if (text->empty()) continue;
    const auto time = ParseTime(*text, {"option", 1, option});
    if (!time.ok()) return UsageError(std::string(time.status().message()));
    *time_ms = *time;
  }
  while (Name(static_cast<SignalKind>(query.signal)) != flags.signal) ++query.signal;
  query.resolution = flags.resolution == "1h" ? 2 : flags.resolution == "5m" ? 1 : 0;
  const auto csv = ReadSeriesCsv(flags.server, flags.tls, query);
  if (!csv.ok()) return csv.status();
  fmt::print("{}", *csv);
  return absl::OkStatus();
}

struct Verb {
  const char* name;
  const char* help;
  absl::Status (*run)(const Flags&);
};

}  // namespace

void AddHistory(CLI::App& app) {
  CLI::App& history = *app.add_subcommand(
      "history", "What a server keeps of the past: look at it, back it up, repair it");
  history.require_subcommand(1);
  const auto add = [&](const Verb& verb) {
    CLI::App* command = history.add_subcommand(verb.name, verb.help);
    auto flags = std::make_shared<Flags>();
    SetRun(*command, [flags, verb] { return verb.run(*flags); });
    return std::pair(command, flags.get());
  };
  const auto add_json = [](CLI::App& command, Flags& flags) {
    command.add_flag("--json", flags.json, "Print JSON");
  };
  const auto add_server = [](CLI::App& command, Flags& flags) {
    command.add_option("--server", flags.server, "Address of foreshadowd")->capture_default_str();
    AddTlsOptions(command, flags.tls);
  };
  for (const Verb& verb :
       {Verb{"stats", "What a data folder holds and what it takes; beside a server too", Stats},
        Verb{"verify", "Read a data folder whole and check every checksum", Verify},
        Verb{"repair", "Write what can be read of a damaged data folder anew in its place", Repair},
        Verb{"backups", "List the backups in a folder", Backups}}) {
    const auto [command, flags] = add(verb);
    command->add_option("folder", flags->folder, "The folder")
        ->required()
        ->check(CLI::ExistingDirectory);
    if (verb.run == Stats || verb.run == Backups) add_json(*command, *flags);
  }
  const auto [backup, backup_flags] =
      add({"backup", "Let a server add to the backups in its history.backup_dir", Backup});
  add_server(*backup, *backup_flags);
  add_json(*backup, *backup_flags);

  const auto [restore, restore_flags] =
      add({"restore", "Make a data folder of a backup, for a server that does not run", Restore});
  restore->add_option("backups", restore_flags->folder, "Folder of the backups")
      ->required()
      ->check(CLI::ExistingDirectory);
  restore->add_option("folder", restore_flags->into, "New data folder, empty or not there")
      ->required();
  restore->add_option("--id", restore_flags->id, "Which backup (default: the newest)");

  const auto [show, show_flags] = add({"show", "One series of a server as CSV", Show});
  add_server(*show, *show_flags);
  show->add_option("account", show_flags->query.account, "The account's id")->required();
  std::vector<std::string> signals;
  for (int s = 0; s < kSignals; ++s) signals.emplace_back(Name(static_cast<SignalKind>(s)));
  show->add_option("--signal", show_flags->signal, "Which signal")
      ->check(CLI::IsMember(signals))
      ->capture_default_str();
  show->add_option("--from", show_flags->from, "First time (default: all there is)");
  show->add_option("--to", show_flags->to, "End of the times, itself not shown");
  show->add_option("--resolution", show_flags->resolution,
                   "Samples, or mean, min, max and count of 5 minutes or 1 hour")
      ->check(CLI::IsMember({"samples", "5m", "1h"}))
      ->capture_default_str();
}

}  // namespace foreshadow::training
