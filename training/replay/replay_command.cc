#include "training/replay/replay_command.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <charconv>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/time/time.h"
#include "kernels/ops.h"
#include "models/registry.h"
#include "service/config/config.h"
#include "service/journal/recorder.h"
#include "service/journal/replay.h"
#include "service/learn/q_policy.h"
#include "training/command.h"
#include "training/train/progress_bar.h"

namespace foreshadow::training {
namespace {

using journal::ModelId;

struct Options {
  std::string journal;
  std::string models;
  std::string until;
  bool json = false;
};

// Unix milliseconds or ISO 8601.
absl::StatusOr<int64_t> TimeFrom(const std::string& text) {
  int64_t ms = 0;
  const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), ms);
  if (error == std::errc() && end == text.data() + text.size()) return ms;
  absl::Time time;
  std::string why;
  for (const char* format : {absl::RFC3339_full, "%Y-%m-%d%ET%H:%M:%E*S", "%Y-%m-%d"}) {
    if (absl::ParseTime(format, text, &time, &why)) return absl::ToUnixMillis(time);
  }
  return UsageError(fmt::format(
      "--until {}: must be Unix milliseconds or a time like 2026-01-31T06:30:00Z", text));
}

std::string TimeText(int64_t ms) {
  return absl::FormatTime("%Y-%m-%dT%H:%M:%SZ", absl::FromUnixMillis(ms), absl::UTCTimeZone());
}

std::string Names(const std::vector<ModelId>& models) {
  std::vector<std::string> names;
  for (const ModelId& model : models) names.push_back(journal::Words(model));
  return fmt::format("{}", fmt::join(names, ", "));
}

// The version in a label such as "lstm@2".
int VersionOf(const std::string& label) {
  int version = models::kPlainVersion;
  const size_t at = label.find('@');
  if (at != std::string::npos) {
    std::from_chars(label.data() + at + 1, label.data() + label.size(), version);
  }
  return version;
}

absl::StatusOr<std::shared_ptr<const models::Forecaster>> Trained(const std::string& folder,
                                                                  const ModelId& recorded) {
  const std::string what =
      fmt::format("{} was recorded, {}", journal::Words(recorded),
                  folder.empty() ? "and no models are installed" : "of --models " + folder);
  if (folder.empty()) return absl::FailedPreconditionError(what);
  auto model = models::LoadVersion(folder, VersionOf(recorded.label));
  if (!model.ok()) {
    return absl::Status(model.status().code(), fmt::format("{} it does not load: {}", what,
                                                           std::string(model.status().message())));
  }
  if (const ModelId found = journal::IdOf(**model); found != recorded) {
    return absl::FailedPreconditionError(
        fmt::format("{} {} was loaded: not the same weights", what, journal::Words(found)));
  }
  return model;
}

// The list that served: the trained model, if there was one, among the simple ones.
absl::StatusOr<journal::ReplayModels> FindModels(const std::string& folder,
                                                 const std::vector<ModelId>& recorded,
                                                 const std::optional<ModelId>& candidate) {
  std::shared_ptr<const models::Forecaster> trained;
  for (const ModelId& id : recorded) {
    if (id.fingerprint == 0) continue;
    auto model = Trained(folder, id);
    if (!model.ok()) return model.status();
    trained = *std::move(model);
  }
  journal::ReplayModels found;
  found.models = std::make_shared<const ModelList>(models::RankModels(trained));
  if (const std::vector<ModelId> ids = journal::IdsOf(*found.models); ids != recorded) {
    return absl::FailedPreconditionError(
        fmt::format("the models {} were recorded; here are {}", Names(recorded), Names(ids)));
  }
  if (candidate) {
    auto model = Trained(folder, *candidate);
    if (!model.ok()) return model.status();
    found.candidate = *std::move(model);
  }
  return found;
}

absl::StatusOr<std::shared_ptr<const QPolicy>> FindSplitPolicy(const std::string& folder,
                                                               const ModelId& recorded) {
  const std::string what =
      fmt::format("split policy {} was recorded, of {}/router", journal::Words(recorded), folder);
  auto policy = LoadQPolicy(folder + "/router");
  if (!policy.ok()) {
    return absl::Status(
        policy.status().code(),
        fmt::format("{} it does not load: {}", what, std::string(policy.status().message())));
  }
  if (const ModelId found = journal::IdOf(&*policy); found != recorded) {
    return absl::FailedPreconditionError(
        fmt::format("{} {} was loaded: not the same policy", what, journal::Words(found)));
  }
  return std::make_shared<const QPolicy>(*std::move(policy));
}

std::string FolderOf(const Options& options, const journal::Start& start) {
  if (!options.models.empty()) return options.models;
  const auto config = ParseConfig(start.config, "journal");
  const bool named = config.ok() && !config->model_dir.empty();
  return named ? config->model_dir : models::InstalledModels();
}

nlohmann::ordered_json ToJson(const journal::Reader& reader, const journal::ReplayResult& result) {
  nlohmann::ordered_json json = {{"journal", reader.path()},
                                 {"identical", result.different.empty()},
                                 {"ticks", result.ticks},
                                 {"first_ms", result.first_ms},
                                 {"last_ms", result.last_ms},
                                 {"accounts", result.accounts},
                                 {"explanations", result.explanations},
                                 {"digest", result.digest},
                                 {"cut", result.cut}};
  if (!result.different.empty()) {
    json["different_ms"] = result.different_ms;
    json["differences"] = result.different;
  }
  return json;
}

void Print(const journal::Reader& reader, const journal::ReplayResult& result) {
  fmt::print("{}\n", reader.path());
  if (result.ticks > 0) {
    fmt::print("  identical: {} ticks from {} to {}, {} accounts, {} explanations\n", result.ticks,
               TimeText(result.first_ms), TimeText(result.last_ms), result.accounts,
               result.explanations);
    fmt::print("  digest of all decisions: {}\n", result.digest);
  } else {
    fmt::print("  no tick is identical\n");
  }
  if (result.cut) fmt::print("  the server was ended in the midst of a tick, which is left out\n");
  if (result.different.empty()) return;
  fmt::print("  DIFFERENT at the tick {}\n", TimeText(result.different_ms));
  for (const std::string& line : result.different) fmt::print("    {}\n", line);
  const journal::Start& start = reader.start();
  if (start.program != FORESHADOW_VERSION || start.machine != kernels::CpuOps().name) {
    fmt::print("  recorded by version {} on {}, replayed by {} on {}\n", start.program,
               start.machine, FORESHADOW_VERSION, kernels::CpuOps().name);
  }
}

absl::Status Run(const Options& options) {
  journal::ReplayOptions replay;
  if (!options.until.empty()) {
    const auto until_ms = TimeFrom(options.until);
    if (!until_ms.ok()) return until_ms.status();
    replay.until_ms = *until_ms;
  }
  std::vector<std::string> files = {options.journal};
  if (std::filesystem::is_directory(options.journal)) {
    auto found = journal::ListJournals(options.journal);
    if (!found.ok()) return found.status();
    if (found->empty()) {
      return absl::NotFoundError(fmt::format("folder {}: no journal is in it", options.journal));
    }
    files = *std::move(found);
  }
  int different = 0;
  for (const std::string& file : files) {
    auto reader = journal::Reader::Open(file);
    if (!reader.ok()) return reader.status();
    const std::string folder = FolderOf(options, (*reader)->start());
    replay.models = [&](const auto& recorded, const auto& candidate) {
      return FindModels(folder, recorded, candidate);
    };
    replay.split_policy = [&](const ModelId& recorded) {
      return FindSplitPolicy(folder, recorded);
    };
    ProgressBar bar("replay");
    replay.ticked = [&](const journal::Reader& at, int64_t tick_ms) {
      bar.Show(at.read_bytes(), at.bytes(), TimeText(tick_ms));
    };
    const auto result = journal::Replay(**reader, replay);
    if (!result.ok()) return result.status();
    different += result->different.empty() ? 0 : 1;
    if (options.json) {
      fmt::print("{}\n", ToJson(**reader, *result).dump());
    } else {
      Print(**reader, *result);
    }
  }
  if (different == 0) return absl::OkStatus();
  return absl::AbortedError(
      fmt::format("{} of {} journals decide otherwise when done again", different, files.size()));
}

}  // namespace

void AddReplayCommand(CLI::App& app) {
  auto options = std::make_shared<Options>();
  CLI::App* command = app.add_subcommand(
      "replay", "Do the ticks of a server's journal again and compare every decision");
  command->add_option("journal", options->journal, "A journal, or the folder of several")
      ->required()
      ->check(CLI::ExistingPath);
  command->add_option("--models", options->models,
                      "Registry of the trained models; otherwise that of the recorded "
                      "configuration, or the installed one");
  command->add_option("--until", options->until,
                      "The last tick: Unix milliseconds or a time like 2026-01-31T06:30:00Z");
  command->add_flag("--json", options->json, "Print a JSON object a journal, a line each");
  SetRun(*command, [options] { return Run(*options); });
}

}  // namespace foreshadow::training
