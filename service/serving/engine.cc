#include "service/serving/engine.h"

#include <fmt/core.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <utility>

#include "service/forecast/carried.h"
#include "service/ingest/absorb.h"
#include "service/journal/witness.h"
#include "service/learn/split_log.h"
#include "service/metrics/metrics.h"
#include "service/serving/device.h"
#include "service/serving/recall.h"
#include "service/tick/decisions_json.h"
#include "service/tick/state.h"

namespace foreshadow {
namespace {

// After a longer silence of the telemetry the missed ticks are not made up for: the newest counts.
constexpr int64_t kCatchUpSteps = 288;
constexpr int64_t kHourMs = 3'600'000;

int64_t WallNowMs() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

bool Has(const TickReport* report, const std::string& alert) {
  return report != nullptr && std::ranges::find(report->alerts, alert) != report->alerts.end();
}

// An alert that stands is logged once, not at every tick, and once more when it is over.
void LogAlerts(const TickReport* before, const TickReport& report) {
  for (const std::string& alert : report.alerts) {
    if (!Has(before, alert)) spdlog::warn("{}", alert);
  }
  if (before == nullptr) return;
  for (const std::string& alert : before->alerts) {
    if (!Has(&report, alert)) spdlog::info("no longer: {}", alert);
  }
}

// How far the newest sample is behind the clock; < 0 = there is none.
int64_t LagOf(const std::vector<Sample>& samples, int64_t now_ms) {
  int64_t newest_ms = -1;
  for (const Sample& sample : samples) newest_ms = std::max(newest_ms, sample.time_ms);
  return newest_ms < 0 ? -1 : std::max<int64_t>(0, now_ms - newest_ms);
}

std::vector<Cell> CellsOf(const Config& config) {
  std::vector<Cell> cells;
  for (const CellConfig& cell : config.cells) cells.push_back(cell.cell);
  return cells;
}

}  // namespace

Engine::Engine(Config config, ModelList models, HistoryStore& store)
    : config_(std::move(config)),
      store_(store),
      sender_limits_(config_.ingest.samples_per_second, config_.ingest.burst_samples,
                     config_.ingest.samples_per_day),
      fleet_(std::make_shared<const Fleet>(Fleet{CellsOf(config_), {}})),
      models_(std::make_shared<const ModelList>(std::move(models))),
      world_(
          store, config_.settings.tick.seed, [this] { return fleet(); },
          [this](const std::vector<Account>& moved) {
            const std::lock_guard lock(mutex_);
            fleet_ = AbsorbAccounts(moved, fleet_, account_index_);
          },
          [this](const Action& action) {
            if (hands_ != nullptr) hands_->Start(action);
          },
          [this] { return stopping_.load(); }) {}

Engine::~Engine() { Stop(); }

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(Config config, ModelList models,
                                                       HistoryStore& store) {
  std::unique_ptr<Engine> engine(new Engine(std::move(config), std::move(models), store));
  if (absl::Status status = engine->Load(); !status.ok()) return status;
  engine->maintenance_ = std::thread([e = engine.get()] { e->RunMaintenance(); });
  return engine;
}

absl::Status Engine::Load() {
  auto device = DeviceOf(config_);
  if (!device.ok()) return device.status();
  device_ = *device;
  auto accounts = store_.ReadAccounts(fleet_->cells);
  if (!accounts.ok()) return accounts.status();
  fleet_ = AbsorbAccounts(*accounts, fleet_, account_index_);
  inbox_.accounts = *std::move(accounts);

  Decisions decisions;
  auto text = store_.ReadDecisions();
  if (text.ok()) {
    std::vector<std::string> dropped;
    auto read = DecisionsFromJson(*text, *fleet_, dropped);
    if (!read.ok()) return read.status();
    decisions = *std::move(read);
    for (const std::string& what : dropped) spdlog::warn("no longer known, dropped: {}", what);
    for (const std::string& what : DropImpossible(config_, decisions.changes)) {
      spdlog::warn("a setting changed while the server ran no longer can be, dropped: {}", what);
    }
    changes_ = decisions.changes;
  } else if (!absl::IsNotFound(text.status())) {
    return text.status();
  }
  last_tick_ms_ = saved_ms_ = decisions.last_tick_ms;
  state_ = NewState(fleet_->cells, std::move(decisions), config_.settings, device_);
  if (config_.journal_dir.empty()) {
    LoadCarried();
  } else {  // a replay has the samples, not what models carried from another run
    auto recorder = journal::Recorder::Open(config_, std::ssize(inbox_.accounts),
                                            text.ok() ? *text : "", WallNowMs());
    if (!recorder.ok()) return recorder.status();
    recorder_ = *std::move(recorder);
  }

  auto commands = store_.ReadCommands();
  if (!commands.ok()) return commands.status();
  auto settings = SettingsInForce(config_, changes_);
  if (!settings.ok()) return settings.status();
  settings_ = *std::move(settings);
  for (const auto& [number, command] : *commands) {
    commands_count_ = number;
    if (command.kind == Command::Kind::kSet) {
      std::vector<SettingChange> changes = changes_;
      Take({command.key, command.value, command.reason, 0}, changes);
      settings = SettingsInForce(config_, changes);
      if (!settings.ok()) {
        spdlog::warn("a setting told before the start no longer can be, dropped: {}",
                     std::string(settings.status().message()));
        continue;
      }
      changes_ = std::move(changes);
      settings_ = *std::move(settings);
    }
    inbox_.commands.push_back(command);
  }
  return absl::OkStatus();
}

void Engine::Start(Hands* hands, ModelSource* source, Traffic* traffic) {
  hands_ = hands;
  source_ = source;
  traffic_ = traffic;
  if (traffic_ != nullptr)
    traffic_->Decided(fleet(), state_->decisions.shadows, state_->decisions.epochs);
  if (config_.clock == Clock::kWall) thread_ = std::thread([this] { RunWallClock(); });
}

void Engine::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  maintenance_asked_.notify_all();
  if (thread_.joinable()) thread_.join();
  if (maintenance_.joinable()) maintenance_.join();
  const std::lock_guard tick(tick_mutex_);  // a data-clock tick in progress ends first
  SaveCarried();
}

// What cannot be had is made anew from the history at the first tick.
void Engine::LoadCarried() {
  const ModelList& models = *models_;
  for (size_t m = 0; m < models.size(); ++m) {
    if (!models[m]->carries()) continue;
    const std::string name(models[m]->name());
    const auto bytes = store_.ReadCarried(name);
    if (absl::IsNotFound(bytes.status())) continue;
    const absl::Status status =
        bytes.ok() ? UnpackCarried(*models[m], m, *bytes, state_->forecasts) : bytes.status();
    if (!status.ok()) {
      spdlog::warn("what {} carried is made anew: {}", name, std::string(status.message()));
    }
  }
}

void Engine::SaveCarried() {
  if (state_ == nullptr || last_tick_ms_ == saved_ms_) return;
  saved_ms_ = last_tick_ms_;
  const ModelList& models = *models_;
  // A list taken since the newest tick is another one: its models go by their fingerprints.
  for (size_t m = 0; m < models.size(); ++m) {
    const std::string bytes = PackCarried(*models[m], m, state_->forecasts, kCarriedBytesMax);
    if (bytes.empty()) continue;
    const absl::Status status = store_.WriteCarried(std::string(models[m]->name()), bytes);
    if (!status.ok()) {
      spdlog::error("what {} carries is not kept: {}", models[m]->name(),
                    std::string(status.message()));
    }
  }
}

// The first tick, for the newest step that has ended, comes at once: a server that was away for a
// moment has the step's samples, and need not be without an answer for another one. Where an
// earlier run has ticked for that step, what it said is made again.
void Engine::RunWallClock() {
  const int64_t step_ms = config_.settings.tick.step_ms;
  int64_t ended_ms = (WallNowMs() - config_.watermark_delay_ms) / step_ms * step_ms;
  if (last_tick_ms_ > 0 && ended_ms - step_ms <= last_tick_ms_) PublishLastTick();
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    lock.unlock();
    const absl::Status status = TickUntil(ended_ms - step_ms);
    if (!status.ok() && !stopping_) {
      metrics::CountFailedTick();
      spdlog::error("tick failed, the next one carries on: {}", status.ToString());
    }
    lock.lock();
    const int64_t now_ms = WallNowMs() - config_.watermark_delay_ms;
    ended_ms = (now_ms / step_ms + 1) * step_ms;
    changed_.wait_for(lock, std::chrono::milliseconds(ended_ms - now_ms),
                      [this] { return stopping_.load(); });
  }
}

void Engine::PublishLastTick() {
  const std::lock_guard tick(tick_mutex_);
  const TickSettings& settings = config_.settings.tick;
  std::vector<Sample> samples;
  absl::Status read =
      store_.ReadSamples(last_tick_ms_ - (settings.window_steps - 1) * settings.step_ms,
                         [&](const std::vector<Sample>& piece) {
                           samples.insert(samples.end(), piece.begin(), piece.end());
                         });
  if (absl::IsDataLoss(read)) read = absl::OkStatus();  // the next tick says so
  std::erase_if(samples,
                [&](const Sample& s) { return s.time_ms >= last_tick_ms_ + settings.step_ms; });
  auto report = read.ok() ? Recall(state_->decisions, *fleet(), std::move(samples), *models(),
                                   this->settings(), device_, [this] { return stopping_.load(); })
                          : read;
  if (!report.ok()) {
    if (!stopping_)
      spdlog::warn("no forecasts until the next tick: {}", report.status().ToString());
    return;
  }
  {
    const std::lock_guard lock(mutex_);
    report_ = *std::move(report);
  }
  changed_.notify_all();
}

absl::StatusOr<IngestResult> Engine::Ingest(std::span<const std::string* const> account_ids,
                                            const std::vector<RawColumn>& columns,
                                            int64_t watermark_ms) {
  IngestResult result;
  if (watermark_ms < 0) {
    result.error = fmt::format("watermark_ms = {}: must not be negative", watermark_ms);
    return result;
  }
  // With the data clock the telemetry itself is the clock: the past may be of any age until ticks
  // have begun to forget it.
  const bool wall = config_.clock == Clock::kWall;
  const int64_t newest_ms = WallNowMs() + config_.ingest.future_ms;
  Validated validated;
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return absl::UnavailableError("the server is stopping");
    const int64_t oldest_ms = wall      ? WallNowMs() - config_.accept_past_hours * kHourMs
                              : report_ ? report_->tick_ms - config_.retention_hours * kHourMs
                                        : 0;
    validated =
        Validate(account_ids, columns, account_index_, std::max<int64_t>(0, oldest_ms), newest_ms);
  }
  result.error = std::move(validated.error);
  if (!result.error.empty()) return result;
  auto written = store_.WriteSamples(validated.samples);
  if (!written.ok()) {
    // Some may be kept all the same, and would count as duplicates when they are sent again.
    const std::lock_guard lock(mutex_);
    window_in_store_ = true;
    return written.status();
  }
  result.accepted_count = std::ssize(written->added);
  result.duplicate_count = written->duplicate_count;
  result.rejections = std::move(validated.rejections);
  {
    const std::lock_guard lock(mutex_);
    for (const Sample& sample : written->conflicts) {
      result.rejections.push_back(ConflictOf(sample, fleet_->accounts[sample.account].id));
    }
    if (inbox_.samples.size() + written->added.size() > kInboxSamplesMax) window_in_store_ = true;
    if (window_in_store_) {
      inbox_.samples = {};
    } else {
      inbox_.samples.insert(inbox_.samples.end(), written->added.begin(), written->added.end());
    }
  }
  if (!wall && watermark_ms > 0) {
    const int64_t step_ms = config_.settings.tick.step_ms;
    const absl::Status status = TickUntil(watermark_ms / step_ms * step_ms - step_ms);
    if (!status.ok()) return status;
  }
  metrics::CountIngest({result.accepted_count, result.duplicate_count,
                        std::ssize(result.rejections),
                        wall ? LagOf(validated.samples, WallNowMs()) : -1});
  const auto newest = report();
  result.last_tick_ms = newest ? newest->tick_ms : 0;
  return result;
}

absl::StatusOr<Engine::Put> Engine::PutAccounts(const std::vector<Account>& accounts,
                                                PutMode mode) {
  absl::StatusOr<Put> put;
  {
    const std::lock_guard lock(mutex_);
    put = PutAccountsLocked(accounts, mode);
  }
  if (put.ok() && traffic_ != nullptr) traffic_->Registered(fleet());
  return put;
}

absl::StatusOr<Engine::Put> Engine::PutAccountsLocked(const std::vector<Account>& accounts,
                                                      PutMode mode) {
  Put put;
  std::vector<std::pair<int32_t, Account>> changed;
  for (const Account& account : accounts) {
    const auto it = account_index_.find(account.id);
    if (it == account_index_.end()) {
      const auto index =
          static_cast<int32_t>(fleet_->accounts.size()) + static_cast<int32_t>(put.added_count++);
      changed.emplace_back(index, account);
    } else if (mode == PutMode::kAddOrReplace && !(fleet_->accounts[it->second] == account)) {
      ++put.changed_count;
      changed.emplace_back(it->second, account);
    }
  }
  if (changed.empty()) return put;
  if (const int64_t count = std::ssize(fleet_->accounts) + put.added_count;
      put.added_count > 0 && count > config_.ingest.accounts_max) {
    return absl::ResourceExhaustedError(
        fmt::format("there would be {} accounts: ingest.accounts_max = {}", count,
                    config_.ingest.accounts_max));
  }
  if (absl::Status status = store_.WriteAccounts(changed, fleet_->cells); !status.ok()) {
    return status;
  }
  std::vector<Account> told;
  told.reserve(changed.size());
  for (auto& [index, account] : changed) told.push_back(std::move(account));
  fleet_ = AbsorbAccounts(told, fleet_, account_index_);
  inbox_.accounts.insert(inbox_.accounts.end(), told.begin(), told.end());
  return put;
}

bool Engine::HasAccount(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  return account_index_.contains(id);
}

std::shared_ptr<const Fleet> Engine::fleet() const {
  const std::lock_guard lock(mutex_);
  return fleet_;
}

std::optional<int32_t> Engine::FindAccount(const std::string& id) const {
  const std::lock_guard lock(mutex_);
  const auto it = account_index_.find(id);
  return it == account_index_.end() ? std::nullopt : std::optional(it->second);
}

absl::StatusOr<BackupInfo> Engine::Backup() {
  if (config_.backup_dir.empty()) {
    return absl::FailedPreconditionError(
        "history.backup_dir is not set: the server has no folder for backups");
  }
  return store_.Backup(config_.backup_dir, config_.backups_kept);
}

void Engine::Tell(Outcome outcome) {
  const std::lock_guard lock(mutex_);
  inbox_.outcomes.push_back(std::move(outcome));
}

void Engine::Tell(CellReport report) {
  const std::lock_guard lock(mutex_);
  std::erase_if(inbox_.reports, [&](const CellReport& r) { return r.cell == report.cell; });
  inbox_.reports.push_back(std::move(report));
}

absl::Status Engine::Tell(const Command& command) {
  const std::lock_guard lock(mutex_);
  return TellLocked(command);
}

absl::Status Engine::Change(const std::string& key, const std::string& value,
                            const std::string& reason) {
  const std::lock_guard lock(mutex_);
  std::vector<SettingChange> changes = changes_;
  Take({key, value, reason, WallNowMs()}, changes);
  if (value.empty() && changes.size() == changes_.size()) {
    return absl::InvalidArgumentError(fmt::format("{} was not changed: nothing to take back", key));
  }
  auto settings = SettingsInForce(config_, changes);
  if (!settings.ok()) return settings.status();
  absl::Status status =
      TellLocked({.kind = Command::Kind::kSet, .reason = reason, .key = key, .value = value});
  if (!status.ok()) return status;
  changes_ = std::move(changes);
  settings_ = *std::move(settings);
  return status;
}

absl::Status Engine::TellLocked(const Command& command) {
  absl::Status status = store_.WriteCommand(commands_count_ + 1, command);
  if (!status.ok()) return status;
  ++commands_count_;
  inbox_.commands.push_back(command);
  return status;
}

Settings Engine::settings() const {
  const std::lock_guard lock(mutex_);
  return settings_;
}

std::vector<SettingChange> Engine::changes() const {
  const std::lock_guard lock(mutex_);
  return changes_;
}

bool Engine::stopping() const {
  const std::lock_guard lock(mutex_);
  return stopping_;
}

std::shared_ptr<const ModelList> Engine::models() const {
  const std::lock_guard lock(mutex_);
  return models_;
}

std::shared_ptr<const TickReport> Engine::report() const {
  const std::lock_guard lock(mutex_);
  return report_;
}

std::shared_ptr<const TickReport> Engine::WaitForReport(int64_t tick_ms, int64_t wait_ms) const {
  std::unique_lock lock(mutex_);
  const auto is_newer = [&] { return report_ != nullptr && report_->tick_ms > tick_ms; };
  changed_.wait_for(lock, std::chrono::milliseconds(wait_ms),
                    [&] { return stopping_ || is_newer(); });
  return is_newer() ? report_ : nullptr;
}

absl::Status Engine::TickUntil(int64_t newest_step_ms) {
  const std::lock_guard tick(tick_mutex_);
  const int64_t step_ms = config_.settings.tick.step_ms;
  int64_t next_ms = last_tick_ms_ + step_ms;
  if (last_tick_ms_ == 0 || newest_step_ms - next_ms > kCatchUpSteps * step_ms ||
      config_.clock == Clock::kWall) {
    next_ms = newest_step_ms;
  }
  if (newest_step_ms <= last_tick_ms_) return absl::OkStatus();
  for (; next_ms <= newest_step_ms; next_ms += step_ms) {
    {
      const std::lock_guard lock(mutex_);
      if (stopping_) return absl::UnavailableError("the server is stopping");
    }
    if (absl::Status status = TickOnce(next_ms); !status.ok()) return status;
  }
  return absl::OkStatus();
}

absl::StatusOr<Inbox> Engine::TakeInbox(int64_t step_ms, Settings& settings) {
  const TickSettings& tick = config_.settings.tick;
  Inbox inbox;
  bool from_store = false;
  {
    const std::lock_guard lock(mutex_);
    inbox = std::move(inbox_);
    inbox_ = {};
    from_store = std::exchange(window_in_store_, false);
    commands_taken_ = commands_count_;
    settings = settings_;
  }
  if (from_store) {
    // A sample that is written just now may come with the next inbox once more: the same value into
    // the same place.
    inbox.samples.clear();
    const absl::Status read = store_.ReadSamples(
        step_ms - (tick.window_steps - 1) * tick.step_ms, [&](const std::vector<Sample>& piece) {
          inbox.samples.insert(inbox.samples.end(), piece.begin(), piece.end());
        });
    if (absl::IsDataLoss(read)) {
      // The rest is there, and a window with gaps is better than none.
      inbox.alerts.push_back(std::string(read.message()));
    } else if (!read.ok()) {
      PutBack(std::move(inbox));
      const std::lock_guard lock(mutex_);
      window_in_store_ = true;
      return read;
    }
  }
  // A batch may run ahead of the tick: what belongs to later steps stays.
  const int64_t end_ms = step_ms + tick.step_ms;
  const auto later = std::stable_partition(inbox.samples.begin(), inbox.samples.end(),
                                           [&](const Sample& s) { return s.time_ms < end_ms; });
  {
    const std::lock_guard lock(mutex_);
    inbox_.samples.insert(inbox_.samples.end(), later, inbox.samples.end());
  }
  inbox.samples.erase(later, inbox.samples.end());
  // Outcomes come in whatever order the cells answered; the tick is to see one order.
  std::sort(inbox.outcomes.begin(), inbox.outcomes.end(),
            [](const Outcome& a, const Outcome& b) { return a.action_id < b.action_id; });
  std::sort(inbox.reports.begin(), inbox.reports.end(),
            [](const CellReport& a, const CellReport& b) { return a.cell < b.cell; });
  return inbox;
}

// What a tick that failed did not take; accounts and samples are in its memory all the same.
void Engine::PutBack(Inbox told) {
  const std::lock_guard lock(mutex_);
  inbox_.accounts.insert(inbox_.accounts.begin(), told.accounts.begin(), told.accounts.end());
  inbox_.outcomes.insert(inbox_.outcomes.begin(), told.outcomes.begin(), told.outcomes.end());
  inbox_.commands.insert(inbox_.commands.begin(), told.commands.begin(), told.commands.end());
  for (CellReport& report : told.reports) {
    const auto newer = [&](const CellReport& r) { return r.cell == report.cell; };
    if (std::none_of(inbox_.reports.begin(), inbox_.reports.end(), newer)) {
      inbox_.reports.push_back(std::move(report));
    }
  }
}

// Once an hour of ticks.
void Engine::AskForMaintenance(int64_t now_ms) {
  if (now_ms - maintained_ms_ < kHourMs) return;
  maintained_ms_ = now_ms;
  {
    const std::lock_guard lock(mutex_);
    maintain_ms_ = now_ms;
  }
  maintenance_asked_.notify_all();
}

// On a thread of its own: packing a day of a large fleet takes longer than a tick may.
void Engine::RunMaintenance() {
  const TickSettings& tick = config_.settings.tick;
  // Never forgets what the window needs.
  const Retention retention{
      std::max(config_.retention_hours * kHourMs, tick.window_steps * tick.step_ms),
      config_.retention_5_minutes_hours * kHourMs, config_.retention_1_hour_hours * kHourMs};
  std::unique_lock lock(mutex_);
  for (;;) {
    maintenance_asked_.wait(lock, [this] { return stopping_ || maintain_ms_ != 0; });
    if (stopping_) return;
    const int64_t now_ms = std::exchange(maintain_ms_, 0);
    lock.unlock();
    const absl::Status status = store_.Maintain(now_ms, retention, stopping_);
    if (!status.ok() && !absl::IsCancelled(status)) {
      spdlog::error("samples are not packed or forgotten as they should be: {}",
                    std::string(status.message()));
    }
    BackUpWhenDue(now_ms);
    lock.lock();
  }
}

void Engine::BackUpWhenDue(int64_t now_ms) {
  if (config_.backup_hours == 0 || config_.backup_dir.empty() || stopping_) return;
  if (now_ms - backed_up_ms_ < config_.backup_hours * kHourMs) return;
  const auto made = Backup();
  if (!made.ok()) {
    spdlog::error("no backup was made: {}", std::string(made.status().message()));
    return;
  }
  backed_up_ms_ = now_ms;
  spdlog::info("backup {} of {} bytes in {}", made->id, made->bytes, config_.backup_dir);
}

absl::Status Engine::TickOnce(int64_t step_ms) {
  Settings settings;
  auto inbox = TakeInbox(step_ms, settings);
  if (!inbox.ok()) return inbox.status();
  world_.SetTick(step_ms, commands_taken_);
  if (traffic_ != nullptr) {
    inbox->measures = traffic_->TakeMeasures();
    for (std::string& alert : traffic_->Alerts()) inbox->alerts.push_back(std::move(alert));
  }
  Inbox told{{}, {}, inbox->outcomes, inbox->reports, inbox->commands, {}};
  ModelSource::Served served{models(), nullptr};
  if (source_ != nullptr) {
    served = source_->Poll(inbox->alerts);
    const std::lock_guard lock(mutex_);
    models_ = served.models;
  }
  journal::Witness witness(world_, fleet());
  if (recorder_ != nullptr) {
    if (!recorder_->alert().empty()) inbox->alerts.push_back(recorder_->alert());
    recorder_->Begin(step_ms, *inbox, *served.models, served.candidate.get());
  }
  World& world = recorder_ != nullptr ? static_cast<World&>(witness) : world_;
  auto report =
      Tick(*state_, *std::move(inbox), *served.models, settings, world, served.candidate.get());
  if (absl::IsCancelled(report.status())) {
    // As if it had been killed: its samples and commands are durable, and the journal's last tick
    // has no end.
    return absl::UnavailableError(std::string(report.status().message()));
  }
  if (recorder_ != nullptr) recorder_->End(witness.Take(report));
  if (!report.ok()) {
    PutBack(std::move(told));
    return report.status();
  }
  last_tick_ms_ = step_ms;
  std::shared_ptr<const TickReport> before = *report;
  {
    const std::lock_guard lock(mutex_);
    before.swap(report_);
  }
  if (traffic_ != nullptr) {
    traffic_->Decided((*report)->fleet, (*report)->shadows, state_->decisions.epochs);
  }
  const std::string& split_log = settings.learn.log;
  if (!split_log.empty()) {
    // To learn from, not to act by: what cannot be written is lost, and said.
    const absl::Status logged = AppendSplitLog(split_log, *(*report)->split_records);
    if (!logged.ok()) spdlog::warn("learn.log: {}", logged.ToString());
  }
  metrics::CountTick(**report);
  LogAlerts(before.get(), **report);
  changed_.notify_all();
  if (served.candidate != nullptr) source_->Evaluated((*report)->evaluation);
  AskForMaintenance(step_ms);
  if (hands_ != nullptr) {
    hands_->Poll();
    // On the data clock the next tick may follow at once: what this one began is finished first, so
    // that a replay sees the same outcomes at the same ticks.
    if (config_.clock == Clock::kData) hands_->WaitUntilIdle();
  }
  return absl::OkStatus();
}

}  // namespace foreshadow
