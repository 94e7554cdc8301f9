#include "service/receive/receiver.h"

#include <fmt/core.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <condition_variable>
#include <deque>
#include <mutex>
#include <thread>
#include <unordered_set>

#include "service/metrics/metrics.h"
#include "service/receive/pending.h"

namespace foreshadow::receive {
namespace {

constexpr int64_t kFoldEveryMs = 200;
constexpr int64_t kForgetEveryMs = 60'000;
constexpr int64_t kHourMs = 3'600'000;
constexpr int64_t kPendingPointsMax = 5'000'000;  // some 300 MB
constexpr size_t kForeignNamesMax = 100'000;      // remembered as of no interest

using Placed = Pending::Placed;

int64_t WallNowMs() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

// The points of one request that go on, and what became of the others.
struct Request {
  std::string_view protocol;
  int64_t now_ms = 0;
  Received result;
  std::vector<std::pair<Series*, Point>> points;
  std::vector<std::pair<Series*, int64_t>> ends;  // of counters

  void Refuse(const char* reason, int64_t count, const std::string& why) {
    metrics::CountIngestRefused(protocol, reason, count);
    result.refused_count += count;
    if (result.why_refused.empty()) result.why_refused = why;
  }
};

std::string Named(const Target& target) {
  return fmt::format("{} of account {}", Name(target.signal), target.account);
}

class TheReceiver : public Receiver {
 public:
  TheReceiver(Engine& engine, Rules rules, std::unique_ptr<Journal> journal)
      : engine_(engine),
        config_(engine.config()),
        rules_(std::move(rules)),
        journal_(std::move(journal)),
        pending_(config_.settings.tick.step_ms, config_.receive.settle_ms, config_.receive.gap_ms) {
  }

  ~TheReceiver() override {
    {
      const std::lock_guard lock(mutex_);
      stopping_ = true;
    }
    stop_.notify_all();
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Load(int64_t now_ms);
  void Start() override {
    thread_ = std::thread([this] { Run(); });
  }
  absl::StatusOr<Received> Receive(std::vector<IncomingSeries> series, std::string_view protocol,
                                   int64_t now_ms) override;
  absl::Status FoldDue(int64_t now_ms) override;

 private:
  struct Matched {
    std::string key;
    std::optional<Target> target;  // of a series that is not known yet
  };
  bool IsForeign(std::string_view name);
  absl::Status Match(std::vector<IncomingSeries>& series, std::vector<Matched>& matched,
                     Request& request);
  absl::Status Register(std::vector<IncomingSeries>& series, std::vector<Matched>& matched,
                        Request& request);
  void Admit(const IncomingSeries& series, Matched& matched, Request& request);
  void JudgePoint(Series& series, const Point& point, Request& request);
  absl::Status Write(const FoldedStep& step);
  void Run();

  Engine& engine_;
  const Config& config_;
  const Rules rules_;
  const std::unique_ptr<Journal> journal_;

  std::mutex mutex_;
  Pending pending_;
  std::unordered_set<std::string> foreign_names_;
  bool stopping_ = false;

  std::mutex fold_mutex_;  // taken before mutex_
  std::deque<FoldedStep> unwritten_;
  int64_t forgot_ms_ = 0;

  std::condition_variable stop_;
  std::thread thread_;
};

absl::Status TheReceiver::Load(int64_t now_ms) {
  const auto series_of = [&](std::string_view key) -> Series* {
    std::string text(key);
    if (Series* known = pending_.Find(text)) return known;
    const auto [labels, kind] = FromKey(key);
    auto target = rules_.Resolve(labels, kind);  // the rules may be others by now
    return target ? &pending_.Add(std::move(text), *std::move(target)) : nullptr;
  };
  absl::Status status = journal_->ReadNewest([&](const KeyedPoint& p) {
    if (Series* series = series_of(p.series)) {
      series->befores = {p.point};
      series->folded->Add(pending_.StepOf(p.point.time_ms), config_.settings.tick.step_ms);
      series->folded_ms = series->seen_ms = p.point.time_ms;
    }
  });
  if (!status.ok()) return status;
  status = journal_->ReadPoints([&](const KeyedPoint& p) {
    if (Series* series = series_of(p.series)) pending_.Place(*series, p.point, now_ms);
  });
  if (!status.ok()) return status;
  return journal_->ReadEnds([&](const KeyedEnd& end) {
    if (Series* series = series_of(end.series)) {
      series->stale_ms = end.time_ms;
      series->seen_ms = std::max(series->seen_ms, end.time_ms);
    }
  });
}

bool TheReceiver::IsForeign(std::string_view name) {
  const std::string text(name);
  if (foreign_names_.contains(text)) return true;
  if (rules_.Takes(name)) return false;
  if (foreign_names_.size() < kForeignNamesMax) foreign_names_.insert(text);
  return true;
}

// Which series a rule takes; those that are not known yet get a target. Points of others are taken
// out.
absl::Status TheReceiver::Match(std::vector<IncomingSeries>& series, std::vector<Matched>& matched,
                                Request& request) {
  matched.resize(series.size());
  for (size_t i = 0; i < series.size(); ++i) {
    const int64_t count = std::ssize(series[i].points);
    const auto drop = [&] { series[i].points.clear(); };
    if (const std::string why = TidyLabels(series[i].labels, config_.ingest); !why.empty()) {
      request.Refuse("labels", count, why);
      drop();
      continue;
    }
    if (IsForeign(ValueOf(series[i].labels, kNameLabel))) {
      request.result.unmatched_count += count;
      drop();
      continue;
    }
    if (series[i].kind == SentKind::kUnreadable) {
      request.Refuse("kind", count,
                     fmt::format("{}: histograms, summaries and changes of what is not a counter "
                                 "are not taken",
                                 ValueOf(series[i].labels, kNameLabel)));
      drop();
      continue;
    }
    matched[i].key = KeyOf(series[i].labels, series[i].kind);
    if (pending_.Find(matched[i].key) != nullptr) continue;
    matched[i].target = rules_.Resolve(series[i].labels, series[i].kind);
    if (!matched[i].target) {
      request.result.unmatched_count += count;
      drop();
    } else if (!IsAccountId(matched[i].target->account)) {
      request.Refuse("account_id", count,
                     fmt::format("account \"{}\": must be 1 .. {} printable ASCII characters "
                                 "without spaces",
                                 matched[i].target->account, kAccountIdBytesMax));
      drop();
    }
  }
  return Register(series, matched, request);
}

// Accounts that are not known yet, all at once.
absl::Status TheReceiver::Register(std::vector<IncomingSeries>& series,
                                   std::vector<Matched>& matched, Request& request) {
  std::map<std::string, Account> added;
  const auto fleet = engine_.fleet();
  const auto cell_of = [&](const std::string& id) {
    const auto it = std::find_if(fleet->cells.begin(), fleet->cells.end(),
                                 [&](const Cell& cell) { return cell.id == id; });
    return it == fleet->cells.end() ? -1 : static_cast<int32_t>(it - fleet->cells.begin());
  };
  std::vector<size_t> waiting;
  for (size_t i = 0; i < series.size(); ++i) {
    if (series[i].points.empty() || !matched[i].target) continue;
    const Target& target = *matched[i].target;
    if (engine_.HasAccount(target.account)) continue;
    const int32_t cell = cell_of(target.cell);
    if (cell >= 0) {
      added.try_emplace(target.account,
                        Account{target.account, cell, target.application, 0, false});
      waiting.push_back(i);
      continue;
    }
    request.Refuse(
        target.cell.empty() ? "unknown_account" : "unknown_cell", std::ssize(series[i].points),
        target.cell.empty()
            ? fmt::format("account \"{}\" is not registered and its series names no cell",
                          target.account)
            : fmt::format("account \"{}\" is in cell \"{}\", which is not configured",
                          target.account, target.cell));
    series[i].points.clear();
  }
  if (added.empty()) return absl::OkStatus();
  std::vector<Account> accounts;
  accounts.reserve(added.size());
  for (auto& [id, account] : added) accounts.push_back(std::move(account));
  const auto put = engine_.PutAccounts(accounts, Engine::PutMode::kOnlyNew);
  if (put.ok()) return absl::OkStatus();
  if (!absl::IsResourceExhausted(put.status())) return put.status();
  for (const size_t i : waiting) {
    request.Refuse("accounts_max", std::ssize(series[i].points),
                   std::string(put.status().message()));
    series[i].points.clear();
  }
  return absl::OkStatus();
}

void TheReceiver::Admit(const IncomingSeries& series, Matched& matched, Request& request) {
  if (series.points.empty()) return;
  Series* known = pending_.Find(matched.key);
  if (known == nullptr) {
    if (pending_.series_count() >= config_.ingest.series_max) {
      request.Refuse("series_max", std::ssize(series.points),
                     fmt::format("{} series are received already: ingest.series_max = {}",
                                 pending_.series_count(), config_.ingest.series_max));
      return;
    }
    known = &pending_.Add(std::move(matched.key), *std::move(matched.target));
    known->seen_ms = request.now_ms;
  }
  for (const Point& point : series.points) JudgePoint(*known, point, request);
}

void TheReceiver::JudgePoint(Series& series, const Point& point, Request& request) {
  if (IsStaleMarker(point.value)) {
    ++request.result.stale_count;
    if (series.target.making == Making::kCumulative && point.time_ms > series.stale_ms) {
      request.ends.emplace_back(&series, point.time_ms);
    }
    return;
  }
  const auto refuse = [&](const char* reason, const std::string& what) {
    request.Refuse(reason, 1,
                   fmt::format("{} at {}: {}", Named(series.target), point.time_ms, what));
  };
  if (!std::isfinite(point.value)) return refuse("not_finite", "must be finite");
  if (point.value * series.target.scale < 0) return refuse("negative", "must not be negative");
  if (point.time_ms > request.now_ms + config_.ingest.future_ms) {
    return refuse("in_future",
                  fmt::format("later than {} is in the future: ingest.future_ms = {}",
                              request.now_ms + config_.ingest.future_ms, config_.ingest.future_ms));
  }
  const bool wall = config_.clock == Clock::kWall;
  const int64_t oldest_ms = wall ? request.now_ms - config_.accept_past_hours * kHourMs : 1;
  if (point.time_ms < oldest_ms) {
    return refuse("too_old",
                  fmt::format("before {} is not accepted: history.accept_past_hours = {}",
                              oldest_ms, config_.accept_past_hours));
  }
  switch (pending_.Judge(series, point)) {
    case Placed::kNew:
      request.points.emplace_back(&series, point);
      break;
    case Placed::kDuplicate:
      ++request.result.duplicate_count;
      break;
    case Placed::kConflict:
      refuse("conflict", "another value came for that time");
      break;
    case Placed::kLate:
      refuse("late", fmt::format("its step was closed {} ms after its end: receive.settle_ms",
                                 config_.receive.settle_ms));
      break;
  }
}

absl::StatusOr<Received> TheReceiver::Receive(std::vector<IncomingSeries> series,
                                              std::string_view protocol, int64_t now_ms) {
  Request request{protocol, now_ms, {}, {}, {}};
  std::vector<KeyedPoint> keyed;
  std::vector<KeyedEnd> ends;
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return absl::UnavailableError("the server is stopping");
    if (pending_.points_count() >= kPendingPointsMax) {
      return absl::UnavailableError(fmt::format(
          "{} points wait for their step to end, more are not taken now", pending_.points_count()));
    }
    std::vector<Matched> matched;
    if (absl::Status status = Match(series, matched, request); !status.ok()) return status;
    for (size_t i = 0; i < series.size(); ++i) Admit(series[i], matched[i], request);
    // Until they are placed, their series are not forgotten.
    for (const auto& [of, point] : request.points) {
      of->seen_ms = std::max(of->seen_ms, now_ms);
      keyed.push_back({of->key, point});
    }
    // In the order of their times: of several of one series the newest stays.
    std::ranges::stable_sort(request.ends, {}, [](const auto& end) { return end.second; });
    for (const auto& [of, end_ms] : request.ends) {
      of->seen_ms = std::max(of->seen_ms, now_ms);
      ends.push_back({of->key, end_ms});
    }
  }
  if (absl::Status status = journal_->Append(keyed, ends); !status.ok()) return status;
  {
    const std::lock_guard lock(mutex_);
    for (const auto& [of, end_ms] : request.ends) of->stale_ms = std::max(of->stale_ms, end_ms);
    for (const auto& [of, point] : request.points) {
      switch (pending_.Place(*of, point, now_ms)) {
        case Placed::kNew:
          ++request.result.accepted_count;
          break;
        case Placed::kDuplicate:
        case Placed::kConflict:
          ++request.result.duplicate_count;
          break;
        case Placed::kLate:
          request.Refuse("late", 1,
                         fmt::format("{} at {}: its step was closed meanwhile", Named(of->target),
                                     point.time_ms));
          break;
      }
    }
  }
  metrics::CountPoints(protocol, "accepted", request.result.accepted_count);
  metrics::CountPoints(protocol, "duplicate", request.result.duplicate_count);
  metrics::CountPoints(protocol, "unmatched", request.result.unmatched_count);
  metrics::CountPoints(protocol, "stale", request.result.stale_count);
  metrics::CountPoints(protocol, "refused", request.result.refused_count);
  return request.result;
}

absl::Status TheReceiver::Write(const FoldedStep& step) {
  std::vector<const std::string*> ids;
  std::unordered_map<std::string, uint32_t> index_of;
  struct Column {
    std::vector<uint32_t> index;
    std::vector<float> values;
  };
  std::array<Column, kSignals> columns;
  for (const auto& [of, sum] : step.sums) {
    if (!sum.any) continue;
    const auto [it, added] = index_of.try_emplace(of.second, static_cast<uint32_t>(ids.size()));
    if (added) ids.push_back(&of.second);
    Column& column = columns[static_cast<size_t>(of.first)];
    column.index.push_back(it->second);
    column.values.push_back(static_cast<float>(sum.amount));
  }
  std::vector<RawColumn> raw;
  for (int s = 0; s < kSignals; ++s) {
    if (columns[s].values.empty()) continue;
    raw.push_back({s + 1, columns[s].index, {&step.time_ms, 1}, columns[s].values});
  }
  if (!raw.empty()) {
    const auto result = engine_.Ingest(ids, raw, 0);
    if (!result.ok()) return result.status();
    if (!result->error.empty()) spdlog::error("received samples are refused: {}", result->error);
  }
  std::vector<KeyedPoint> newest;
  for (const auto& [key, point] : step.newest) newest.push_back({key, point});
  return journal_->Settle(step.time_ms, step.time_ms + config_.settings.tick.step_ms, newest, {});
}

absl::Status TheReceiver::FoldDue(int64_t now_ms) {
  const std::lock_guard fold(fold_mutex_);
  std::vector<std::string> ended;
  {
    const std::lock_guard lock(mutex_);
    FoldedStep step;
    while (pending_.TakeDue(now_ms, step)) unwritten_.push_back(std::move(step));
    if (now_ms - forgot_ms_ >= kForgetEveryMs) {
      forgot_ms_ = now_ms;
      ended = pending_.ForgetIdle(now_ms);
    }
  }
  while (!unwritten_.empty()) {
    if (absl::Status status = Write(unwritten_.front()); !status.ok()) return status;
    unwritten_.pop_front();
  }
  return ended.empty() ? absl::OkStatus() : journal_->Settle(0, 0, {}, ended);
}

void TheReceiver::Run() {
  std::string said;  // an error that stands is logged once
  std::unique_lock lock(mutex_);
  while (!stop_.wait_for(lock, std::chrono::milliseconds(kFoldEveryMs),
                         [this] { return stopping_; })) {
    lock.unlock();
    const absl::Status status = FoldDue(WallNowMs());
    const std::string error = status.ok() ? "" : status.ToString();
    if (!error.empty() && error != said) {
      spdlog::error("received points wait, they are not in the history yet: {}", error);
    }
    said = error;
    lock.lock();
  }
}

}  // namespace

absl::StatusOr<std::unique_ptr<Receiver>> Receiver::Create(Engine& engine) {
  auto rules = Rules::Create(engine.config().receive.rules);
  if (!rules.ok()) return rules.status();
  auto journal = Journal::Open(engine.config().data_dir + "/receive");
  if (!journal.ok()) return journal.status();
  auto receiver = std::make_unique<TheReceiver>(engine, *std::move(rules), *std::move(journal));
  if (absl::Status status = receiver->Load(WallNowMs()); !status.ok()) return status;
  return receiver;
}

}  // namespace foreshadow::receive
