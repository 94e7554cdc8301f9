#include "service/journal/replay.h"

#include <fmt/core.h>

#include <random>
#include <utility>

#include "service/config/config.h"
#include "service/ingest/absorb.h"
#include "service/journal/difference.h"
#include "service/journal/witness.h"
#include "service/tick/decisions_json.h"
#include "service/tick/state.h"

namespace foreshadow::journal {
namespace {

// The world as it was: its clock and its luck, and a disk that fails where it failed.
class RecordedWorld : public World {
 public:
  explicit RecordedWorld(uint64_t seed) : random_(seed) {}

  void SetTick(int64_t now_ms, std::string failed) {
    now_ms_ = now_ms;
    failed_ = std::move(failed);
  }

  int64_t NowMs() override { return now_ms_; }
  double ElapsedMs() override { return 0; }
  uint64_t Random() override { return random_(); }
  absl::Status Write(const Commit&) override {
    return failed_.empty() ? absl::OkStatus() : absl::UnavailableError(failed_);
  }
  void Start(const Action&) override {}

 private:
  std::mt19937_64 random_;  // as RealWorld's
  int64_t now_ms_ = 0;
  std::string failed_;
};

// The engine of the server, as far as decisions go.
class Rerun {
 public:
  static absl::StatusOr<Rerun> Begin(const Reader& reader, const ReplayOptions& options) {
    auto config = ParseConfig(reader.start().config, "the configuration in it");
    if (!config.ok()) {
      return absl::FailedPreconditionError(fmt::format("journal {}, written by version {}: {}",
                                                       reader.path(), reader.start().program,
                                                       std::string(config.status().message())));
    }
    if (const ModelId& policy = reader.start().split_policy; policy.fingerprint != 0) {
      auto found = options.split_policy(policy);
      if (!found.ok()) return found.status();
      config->settings.learn.learned = *std::move(found);
    }
    return Rerun(reader, *std::move(config));
  }

  // The first inbox begins with the accounts that the server knew at its start.
  absl::Status Load(const std::vector<Account>& accounts) {
    const auto known = static_cast<size_t>(start_.accounts);
    if (known > accounts.size()) {
      return Wrong(
          fmt::format("{} accounts at the start, {} at the first tick", known, accounts.size()));
    }
    fleet_ = AbsorbAccounts({accounts.begin(), accounts.begin() + start_.accounts}, fleet_, index_);
    Decisions decisions;
    if (!start_.decisions.empty()) {
      std::vector<std::string> dropped;
      auto read = DecisionsFromJson(start_.decisions, *fleet_, dropped);
      if (!read.ok()) return Wrong(std::string(read.status().message()));
      decisions = *std::move(read);
      DropImpossible(config_, decisions.changes);
      changes_ = decisions.changes;
    }
    state_ = NewState(fleet_->cells, std::move(decisions), config_.settings);
    return absl::OkStatus();
  }

  absl::StatusOr<Decided> Do(TickRecord& tick, const ReplayModels& models) {
    const auto cells = std::ssize(fleet_->cells);
    for (const Account& account : tick.inbox.accounts) {
      if (account.cell < 0 || account.cell >= cells) {
        return Wrong(
            fmt::format("account {} is in cell {} of {}", account.id, account.cell, cells));
      }
    }
    for (const CellReport& report : tick.inbox.reports) {
      if (report.cell < 0 || report.cell >= cells) {
        return Wrong(fmt::format("a report of cell {} of {}", report.cell, cells));
      }
    }
    if (state_ == nullptr) {
      if (absl::Status status = Load(tick.inbox.accounts); !status.ok()) return status;
    }
    fleet_ = AbsorbAccounts(tick.inbox.accounts, fleet_, index_);
    for (const Command& command : tick.inbox.commands) {
      if (command.kind != Command::Kind::kSet) continue;
      Take({command.key, command.value, command.reason, 0}, changes_);
    }
    const auto settings = SettingsInForce(config_, changes_);
    if (!settings.ok()) return Wrong(std::string(settings.status().message()));
    world_.SetTick(tick.tick_ms, tick.decided.failed);
    Witness witness(world_, fleet_);
    const auto report = Tick(*state_, std::move(tick.inbox), *models.models, *settings, witness,
                             models.candidate.get());
    return witness.Take(report);
  }

  int64_t accounts() const { return std::ssize(fleet_->accounts); }

 private:
  Rerun(const Reader& reader, Config config)
      : path_(reader.path()),
        start_(reader.start()),
        config_(std::move(config)),
        world_(config_.settings.tick.seed) {
    auto fleet = std::make_shared<Fleet>();
    for (const CellConfig& cell : config_.cells) fleet->cells.push_back(cell.cell);
    fleet_ = std::move(fleet);
  }

  absl::Status Wrong(const std::string& why) const {
    return absl::DataLossError(fmt::format("journal {}: {}", path_, why));
  }

  std::string path_;
  Start start_;
  Config config_;
  RecordedWorld world_;
  std::shared_ptr<const Fleet> fleet_;
  std::unordered_map<std::string, int32_t> index_;
  std::vector<SettingChange> changes_;  // of settings, as the engine knew them
  StatePtr state_;
};

}  // namespace

absl::StatusOr<ReplayResult> Replay(Reader& reader, const ReplayOptions& options) {
  auto rerun = Rerun::Begin(reader, options);
  if (!rerun.ok()) return rerun.status();
  ReplayResult result;
  ReplayModels serving;
  std::vector<ModelId> ids;
  std::optional<ModelId> candidate;
  for (;;) {
    auto tick = reader.Next();
    if (!tick.ok()) return tick.status();
    if (!*tick || (*tick)->tick_ms > options.until_ms) break;
    if (serving.models == nullptr || (*tick)->models != ids || (*tick)->candidate != candidate) {
      auto found = options.models((*tick)->models, (*tick)->candidate);
      if (!found.ok()) return found.status();
      serving = *std::move(found);
      ids = (*tick)->models;
      candidate = (*tick)->candidate;
    }
    const auto decided = rerun->Do(**tick, serving);
    if (!decided.ok()) return decided.status();
    result.accounts = rerun->accounts();
    const Decided& recorded = (*tick)->decided;
    if (*decided != recorded) {
      result.different_ms = (*tick)->tick_ms;
      result.different = Differences(recorded, *decided);
      return result;
    }
    if (result.ticks++ == 0) result.first_ms = (*tick)->tick_ms;
    result.last_ms = (*tick)->tick_ms;
    result.explanations += std::ssize(recorded.explanations);
    result.digest = (*tick)->digest;
    options.ticked(reader, result.last_ms);
  }
  result.cut = reader.cut();
  return result;
}

}  // namespace foreshadow::journal
