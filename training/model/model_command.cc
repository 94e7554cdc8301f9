#include "training/model/model_command.h"

#include <fmt/chrono.h>
#include <fmt/core.h>
#include <pwd.h>
#include <unistd.h>

#include <algorithm>
#include <charconv>
#include <chrono>
#include <filesystem>
#include <memory>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "models/file/safetensors.h"
#include "models/lstm/lstm.h"
#include "models/registry.h"
#include "service/evaluate/evaluate.h"
#include "training/command.h"

namespace foreshadow::training {
namespace {

using models::kNoVersion;
using nlohmann::ordered_json;

constexpr int64_t kReportBytesMax = 1 << 20;

struct Arguments {
  std::string registry;
  std::string version;
  std::string from;
  std::string why;
  bool force = false;
  bool json = false;
};

std::string Label(int version) {
  return version == kNoVersion ? "none" : models::Label("lstm", version);
}

std::string Minute(int64_t time_ms) {
  return fmt::format("{:%Y-%m-%d %H:%M:%S}", fmt::gmtime(time_ms / 1'000));
}

// The registry as it is now.
struct Registry {
  std::string folder;  // of the LSTM
  models::Versions versions;
};

absl::StatusOr<Registry> Open(const Arguments& a) {
  std::error_code error;
  if (!std::filesystem::is_directory(a.registry, error)) {
    return absl::NotFoundError(
        fmt::format("--registry {}: no such folder", a.registry.empty() ? "''" : a.registry));
  }
  Registry registry{models::TrainedFolder(a.registry), {}};
  auto versions = models::ReadVersions(registry.folder);
  if (!versions.ok()) return versions.status();
  registry.versions = *std::move(versions);
  return registry;
}

// A number, or what it stands for.
absl::StatusOr<int> VersionOf(const std::string& word, const models::Versions& v) {
  for (const auto& [name, version] :
       {std::pair{"serving", v.serving}, {"before", v.before}, {"candidate", v.candidate}}) {
    if (word != name) continue;
    if (version == kNoVersion) return absl::NotFoundError(fmt::format("version {}: none is", name));
    return version;
  }
  int version = 0;
  const char* end = word.data() + word.size();
  const auto read = std::from_chars(word.data(), end, version);
  if (read.ec != std::errc() || read.ptr != end || version < 0 || version > models::kVersionMax) {
    return UsageError(
        fmt::format("version '{}': allowed are serving, before, candidate, or a number 0 .. {}",
                    word, models::kVersionMax));
  }
  return version;
}

std::string Report(const Registry& registry, int version) {
  const auto text =
      models::ReadWholeFile(models::EvaluationFile(registry.folder, version), kReportBytesMax);
  return text.ok() ? *text : "";
}

std::string StateOf(const models::Versions& v, int version) {
  return version == v.serving     ? "serving"
         : version == v.candidate ? "candidate"
         : version == v.before    ? "before"
                                  : "";
}

ordered_json VersionJson(const Registry& registry, int version) {
  ordered_json json = {{"version", version},
                       {"label", Label(version)},
                       {"state", StateOf(registry.versions, version)},
                       {"folder", models::VersionFolder(registry.folder, version)}};
  const auto card = models::LoadLstmCard(models::VersionFolder(registry.folder, version));
  if (card.ok()) {
    json["card"] = ordered_json::parse(models::CardToJson(*card));
  } else {
    json["error"] = std::string(card.status().message());
  }
  const auto report = ordered_json::parse(Report(registry, version), nullptr, false);
  json["evaluation"] = report.is_object() ? report : ordered_json();
  return json;
}

ordered_json ChangeJson(const models::Change& c) {
  return {{"number", c.number},   {"action", c.action}, {"version", c.version},
          {"time_ms", c.time_ms}, {"who", c.who},       {"why", c.why}};
}

ordered_json NumberOrNull(int version) {
  return version == kNoVersion ? ordered_json() : ordered_json(version);
}

ordered_json StateJson(const models::Versions& v) {
  return {{"serving", NumberOrNull(v.serving)},
          {"before", NumberOrNull(v.before)},
          {"candidate", NumberOrNull(v.candidate)}};
}

// What a serving version is called in an evaluation against it.
absl::Status WouldPromote(const Registry& registry, int version) {
  if (registry.versions.serving == kNoVersion) return absl::OkStatus();  // nothing to be worse than
  return MayPromote(Report(registry, version), Label(version), Label(registry.versions.serving));
}

absl::Status List(const Arguments& a) {
  const auto registry = Open(a);
  if (!registry.ok()) return registry.status();
  const std::vector<int> numbers = models::ListVersions(registry->folder, registry->versions);
  if (a.json) {
    ordered_json all = StateJson(registry->versions);
    all["versions"] = ordered_json::array();
    for (const int v : numbers) all["versions"].push_back(VersionJson(*registry, v));
    fmt::print("{}\n", all.dump(2));
    return absl::OkStatus();
  }
  fmt::print("{:>7}  {:<9}  {:>7}  {:>7}  {:>7}  {:>8}  {:<14}  {:<9}  {}\n", "version", "state",
             "step s", "horizon", "width", "loss", "data", "evaluated", "trace");
  for (const int v : numbers) {
    const ordered_json json = VersionJson(*registry, v);
    const auto card = models::LoadLstmCard(models::VersionFolder(registry->folder, v));
    if (!card.ok()) {
      fmt::print("{:>7}  {:<9}  {}\n", v, StateOf(registry->versions, v),
                 std::string(card.status().message()));
      continue;
    }
    const ordered_json& evaluation = json["evaluation"];
    fmt::print("{:>7}  {:<9}  {:>7}  {:>7}  {:>7}  {:>8.4f}  {:<14}  {:<9}  {}\n", v,
               StateOf(registry->versions, v), card->spec.step_ms / 1'000, card->spec.horizon_steps,
               fmt::format("{}x{}", card->layers, card->hidden), card->training.validation_loss,
               card->training.fingerprint,
               evaluation.is_object() ? evaluation.value("verdict", "") : "-",
               card->training.trace);
  }
  return absl::OkStatus();
}

absl::Status Show(const Arguments& a) {
  const auto registry = Open(a);
  if (!registry.ok()) return registry.status();
  const auto version = VersionOf(a.version, registry->versions);
  if (!version.ok()) return version.status();
  const std::vector<int> numbers = models::ListVersions(registry->folder, registry->versions);
  if (std::ranges::find(numbers, *version) == numbers.end()) {
    return absl::NotFoundError(
        fmt::format("{}: no version {}: see `foreshadow model list`", registry->folder, *version));
  }
  const auto history = models::ReadHistory(registry->folder);
  if (!history.ok()) return history.status();
  ordered_json json = VersionJson(*registry, *version);
  json["history"] = ordered_json::array();
  for (const models::Change& c : *history) {
    if (c.version == *version) json["history"].push_back(ChangeJson(c));
  }
  fmt::print("{}\n", json.dump(2));  // a card is JSON for people, too
  return absl::OkStatus();
}

absl::Status Status(const Arguments& a) {
  const auto registry = Open(a);
  if (!registry.ok()) return registry.status();
  const models::Versions& v = registry->versions;
  const auto history = models::ReadHistory(registry->folder);
  if (!history.ok()) return history.status();
  const absl::Status may =
      v.candidate == kNoVersion ? absl::OkStatus() : WouldPromote(*registry, v.candidate);
  ordered_json report;
  if (v.candidate != kNoVersion) {
    report = ordered_json::parse(Report(*registry, v.candidate), nullptr, false);
    if (!report.is_object()) report = nullptr;
  }
  if (a.json) {
    ordered_json json = StateJson(v);
    json["evaluation"] = report;
    json["may_promote"] = v.candidate != kNoVersion && may.ok();
    json["why_not"] = std::string(may.message());
    json["history"] = ordered_json::array();
    for (const models::Change& c : *history) json["history"].push_back(ChangeJson(c));
    fmt::print("{}\n", json.dump(2));
    return absl::OkStatus();
  }
  fmt::print("serving    {}\nbefore     {}\ncandidate  {}\n", Label(v.serving), Label(v.before),
             Label(v.candidate));
  if (report.is_object()) fmt::print("evaluated  {}\n", report.value("words", ""));
  if (v.candidate != kNoVersion) {
    fmt::print("promote    {}\n", may.ok() ? "may go ahead" : "no: " + std::string(may.message()));
  }
  constexpr int64_t kShown = 10;
  for (int64_t i = std::max<int64_t>(0, std::ssize(*history) - kShown); i < std::ssize(*history);
       ++i) {
    const models::Change& c = (*history)[i];
    fmt::print("{:>9}  {} {:<8} {:<9} {}{}\n", c.number, Minute(c.time_ms), c.action,
               Label(c.version), c.who, c.why.empty() ? "" : ": " + c.why);
  }
  return absl::OkStatus();
}

// What a change left.
absl::Status Tell(const Arguments& a, const char* done, int version) {
  const auto registry = Open(a);
  if (!registry.ok()) return registry.status();
  if (a.json) {
    ordered_json json = StateJson(registry->versions);
    json["version"] = version;
    fmt::print("{}\n", json.dump());
    return absl::OkStatus();
  }
  fmt::print("{} {}; serving {}, before {}, candidate {}\n", done, Label(version),
             Label(registry->versions.serving), Label(registry->versions.before),
             Label(registry->versions.candidate));
  return absl::OkStatus();
}

absl::Status Add(const Arguments& a) {
  if (a.registry.empty()) return UsageError("--registry is needed: no installed models were found");
  const auto version = models::AddModel(a.registry, a.from, MakeNote(a.why));
  if (!version.ok()) return version.status();
  return Tell(a, "added", *version);
}

absl::Status Promote(const Arguments& a) {
  const auto registry = Open(a);
  if (!registry.ok()) return registry.status();
  const auto version = VersionOf(a.version.empty() ? "candidate" : a.version, registry->versions);
  if (!version.ok()) return version.status();
  // Nothing that does not load is ever made to serve, forced or not.
  const auto loaded = models::LoadVersion(a.registry, *version);
  if (!loaded.ok()) return loaded.status();
  if (const absl::Status may = WouldPromote(*registry, *version); !may.ok() && !a.force) {
    return absl::FailedPreconditionError(
        fmt::format("{} (--force promotes it all the same)", std::string(may.message())));
  }
  const absl::Status status = models::PromoteVersion(registry->folder, *version,
                                                     registry->versions.serving, MakeNote(a.why));
  return status.ok() ? Tell(a, "promoted", *version) : status;
}

absl::Status Rollback(const Arguments& a) {
  const auto registry = Open(a);
  if (!registry.ok()) return registry.status();
  const auto version = models::RollBack(registry->folder, MakeNote(a.why));
  return version.ok() ? Tell(a, "back to", *version) : version.status();
}

absl::Status Remove(const Arguments& a) {
  const auto registry = Open(a);
  if (!registry.ok()) return registry.status();
  const auto version = VersionOf(a.version, registry->versions);
  if (!version.ok()) return version.status();
  const absl::Status status = models::RemoveVersion(registry->folder, *version, MakeNote(a.why));
  return status.ok() ? Tell(a, "removed", *version) : status;
}

// A subcommand with what all have.
CLI::App& AddTo(CLI::App& model, const char* name, const char* about,
                const std::shared_ptr<Arguments>& a, absl::Status (*run)(const Arguments&)) {
  CLI::App& command = *model.add_subcommand(name, about);
  command.add_option("--registry", a->registry,
                     "Folder of the models; without it those installed beside the program");
  command.add_flag("--json", a->json, "Print JSON");
  SetRun(command, [a, run] {
    if (a->registry.empty()) a->registry = models::InstalledModels();
    return run(*a);
  });
  return command;
}

}  // namespace

models::Note MakeNote(const std::string& why) {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const passwd* user = getpwuid(geteuid());
  return {std::chrono::duration_cast<std::chrono::milliseconds>(now).count(),
          user != nullptr ? user->pw_name : fmt::format("uid {}", geteuid()), why};
}

void AddModelCommand(CLI::App& app) {
  CLI::App& model = *app.add_subcommand(
      "model", "Versions of the trained model: what serves, what is to, and what did before");
  model.require_subcommand(1);
  const auto a = std::make_shared<Arguments>();
  AddTo(model, "list", "Every version: its state, data and evaluation", a, List);
  CLI::App& show =
      AddTo(model, "show", "Card, evaluation and history of a version, as JSON", a, Show);
  AddTo(model, "status", "What serves, how the candidate does, what was changed of late", a,
        Status);
  CLI::App& add = AddTo(model, "add", "Take a model folder in, as the candidate", a, Add);
  CLI::App& promote = AddTo(model, "promote", "Make a version serve", a, Promote);
  CLI::App& rollback =
      AddTo(model, "rollback", "Bring back the version that served before", a, Rollback);
  CLI::App& remove = AddTo(model, "remove", "Delete a version that does not serve", a, Remove);

  add.add_option("folder", a->from, "Holds card.json and weights.safetensors")
      ->required()
      ->check(CLI::ExistingDirectory);
  constexpr const char* kVersionHelp = "Its number, or serving, before, candidate";
  show.add_option("version", a->version, kVersionHelp)->required();
  remove.add_option("version", a->version, kVersionHelp)->required();
  promote.add_option("version", a->version, "Its number; without it the candidate");
  promote.add_flag("--force", a->force, "Though it was not evaluated, or is worse");
  for (CLI::App* change : {&add, &promote, &rollback, &remove}) {
    change->add_option("--why", a->why, "The reason, for the history");
  }
}

}  // namespace foreshadow::training
