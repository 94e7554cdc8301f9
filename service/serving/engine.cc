#include "service/serving/engine.h"

#include <fmt/core.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>

#include "service/ingest/absorb.h"
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

std::vector<Cell> CellsOf(const Config& config) {
  std::vector<Cell> cells;
  for (const CellConfig& cell : config.cells) cells.push_back(cell.cell);
  return cells;
}

}  // namespace

Engine::Engine(Config config, ModelList models, HistoryStore& store)
    : config_(std::move(config)),
      models_(std::move(models)),
      store_(store),
      fleet_(std::make_shared<const Fleet>(Fleet{CellsOf(config_), {}})),
      world_(
          store, config_.settings.tick.seed, [this] { return fleet(); },
          [this](const Action& action) {
            if (hands_ != nullptr) hands_->Start(action);
          }) {}

Engine::~Engine() { Stop(); }

absl::StatusOr<std::unique_ptr<Engine>> Engine::Create(Config config, ModelList models,
                                                       HistoryStore& store) {
  std::unique_ptr<Engine> engine(new Engine(std::move(config), std::move(models), store));
  if (absl::Status status = engine->Load(); !status.ok()) return status;
  return engine;
}

absl::Status Engine::Load() {
  auto accounts = store_.ReadAccounts(fleet_->cells);
  if (!accounts.ok()) return accounts.status();
  fleet_ = AbsorbAccounts(*accounts, fleet_, account_index_);
  inbox_.accounts = *std::move(accounts);

  Decisions decisions;
  if (auto text = store_.ReadDecisions(); text.ok()) {
    std::vector<std::string> dropped;
    auto read = DecisionsFromJson(*text, *fleet_, dropped);
    if (!read.ok()) return read.status();
    decisions = *std::move(read);
    for (const std::string& what : dropped) spdlog::warn("no longer known, dropped: {}", what);
  } else if (!absl::IsNotFound(text.status())) {
    return text.status();
  }
  last_tick_ms_ = decisions.last_tick_ms;
  state_ = NewState(fleet_->cells, std::move(decisions), config_.settings);

  const TickSettings& tick = config_.settings.tick;
  const int64_t from_ms = store_.NewestSampleMs() - tick.window_steps * tick.step_ms;
  const auto known = static_cast<int32_t>(fleet_->accounts.size());
  return store_.ReadSamples(from_ms, [&](const std::vector<Sample>& piece) {
    for (const Sample& sample : piece) {
      if (sample.account < known) inbox_.samples.push_back(sample);
    }
  });
}

void Engine::Start(Hands* hands) {
  hands_ = hands;
  if (config_.clock == Clock::kWall) thread_ = std::thread([this] { RunWallClock(); });
}

void Engine::Stop() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
  }
  changed_.notify_all();
  if (thread_.joinable()) thread_.join();
  const std::lock_guard tick(tick_mutex_);  // a data-clock tick in progress ends first
}

void Engine::RunWallClock() {
  const int64_t step_ms = config_.settings.tick.step_ms;
  std::unique_lock lock(mutex_);
  while (!stopping_) {
    const int64_t now_ms = WallNowMs() - config_.watermark_delay_ms;
    const int64_t next_ms = (now_ms / step_ms + 1) * step_ms;
    changed_.wait_for(lock, std::chrono::milliseconds(next_ms - now_ms),
                      [this] { return stopping_; });
    if (stopping_) return;
    lock.unlock();
    const absl::Status status = TickUntil(next_ms - step_ms);
    if (!status.ok()) spdlog::error("tick failed, the next one carries on: {}", status.ToString());
    lock.lock();
  }
}

absl::StatusOr<IngestResult> Engine::Ingest(std::span<const std::string* const> account_ids,
                                            const std::vector<RawColumn>& columns,
                                            int64_t watermark_ms) {
  IngestResult result;
  if (watermark_ms < 0) {
    result.error = fmt::format("watermark_ms = {}: must not be negative", watermark_ms);
    return result;
  }
  // With the data clock the telemetry itself is the clock: replayed history is neither too old nor
  // ahead of its time.
  const bool wall = config_.clock == Clock::kWall;
  const int64_t newest_ms = WallNowMs() + kFutureMs;
  const int64_t oldest_ms =
      wall ? std::max<int64_t>(0, WallNowMs() - config_.accept_past_hours * kHourMs) : 0;
  Validated validated;
  {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [this] { return stopping_ || inbox_.samples.size() < kInboxSamplesMax; });
    if (stopping_) return absl::UnavailableError("the server is stopping");
    validated = Validate(account_ids, columns, account_index_, oldest_ms, newest_ms);
  }
  result.error = std::move(validated.error);
  if (!result.error.empty()) return result;
  auto written = store_.WriteSamples(validated.samples);
  if (!written.ok()) return written.status();
  result.accepted_count = std::ssize(written->added);
  result.duplicate_count = written->duplicate_count;
  result.rejections = std::move(validated.rejections);
  {
    const std::lock_guard lock(mutex_);
    for (const Sample& sample : written->conflicts) {
      result.rejections.push_back(ConflictOf(sample, fleet_->accounts[sample.account].id));
    }
    inbox_.samples.insert(inbox_.samples.end(), written->added.begin(), written->added.end());
  }
  if (!wall && watermark_ms > 0) {
    const int64_t step_ms = config_.settings.tick.step_ms;
    const absl::Status status = TickUntil(watermark_ms / step_ms * step_ms - step_ms);
    if (!status.ok()) return status;
  }
  const auto newest = report();
  result.last_tick_ms = newest ? newest->tick_ms : 0;
  return result;
}

absl::StatusOr<Engine::Put> Engine::PutAccounts(const std::vector<Account>& accounts) {
  const std::lock_guard lock(mutex_);
  Put put;
  std::vector<std::pair<int32_t, Account>> changed;
  for (const Account& account : accounts) {
    const auto it = account_index_.find(account.id);
    if (it == account_index_.end()) {
      const auto index =
          static_cast<int32_t>(fleet_->accounts.size()) + static_cast<int32_t>(put.added_count++);
      changed.emplace_back(index, account);
    } else if (!(fleet_->accounts[it->second] == account)) {
      ++put.changed_count;
      changed.emplace_back(it->second, account);
    }
  }
  if (changed.empty()) return put;
  if (absl::Status status = store_.WriteAccounts(changed, fleet_->cells); !status.ok()) {
    return status;
  }
  std::vector<Account> told;
  for (auto& [index, account] : changed) told.push_back(std::move(account));
  fleet_ = AbsorbAccounts(told, fleet_, account_index_);
  inbox_.accounts.insert(inbox_.accounts.end(), told.begin(), told.end());
  return put;
}

std::shared_ptr<const Fleet> Engine::fleet() const {
  const std::lock_guard lock(mutex_);
  return fleet_;
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

void Engine::Tell(Command command) {
  const std::lock_guard lock(mutex_);
  inbox_.commands.push_back(command);
}

bool Engine::stopping() const {
  const std::lock_guard lock(mutex_);
  return stopping_;
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

Inbox Engine::TakeInbox(int64_t step_ms) {
  const std::lock_guard lock(mutex_);
  Inbox inbox = std::move(inbox_);
  inbox_ = {};
  // A batch may run ahead of the tick: what belongs to later steps stays.
  const int64_t end_ms = step_ms + config_.settings.tick.step_ms;
  const auto later = std::stable_partition(inbox.samples.begin(), inbox.samples.end(),
                                           [&](const Sample& s) { return s.time_ms < end_ms; });
  inbox_.samples.assign(later, inbox.samples.end());
  inbox.samples.erase(later, inbox.samples.end());
  // Outcomes come in whatever order the cells answered; the tick is to see one order.
  std::sort(inbox.outcomes.begin(), inbox.outcomes.end(),
            [](const Outcome& a, const Outcome& b) { return a.action_id < b.action_id; });
  std::sort(inbox.reports.begin(), inbox.reports.end(),
            [](const CellReport& a, const CellReport& b) { return a.cell < b.cell; });
  return inbox;
}

absl::Status Engine::TickOnce(int64_t step_ms) {
  world_.SetNowMs(step_ms);
  Inbox inbox = TakeInbox(step_ms);
  const Inbox told{{}, {}, inbox.outcomes, inbox.reports, inbox.commands};
  auto report = Tick(*state_, std::move(inbox), models_, config_.settings, world_);
  if (!report.ok()) {
    for (const Outcome& outcome : told.outcomes) Tell(outcome);
    for (const CellReport& cell : told.reports) Tell(cell);
    for (const Command& command : told.commands) Tell(command);
    changed_.notify_all();
    return report.status();
  }
  last_tick_ms_ = step_ms;
  for (const std::string& alert : (*report)->alerts) spdlog::warn("{}", alert);
  {
    const std::lock_guard lock(mutex_);
    report_ = *report;
  }
  changed_.notify_all();
  if (hands_ != nullptr) {
    hands_->Poll();
    // On the data clock the next tick may follow at once: what this one began is finished first, so
    // that a replay sees the same outcomes at the same ticks.
    if (config_.clock == Clock::kData) hands_->WaitUntilIdle();
  }
  return absl::OkStatus();
}

}  // namespace foreshadow
