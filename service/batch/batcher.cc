#include "service/batch/batcher.h"

#include <fmt/core.h>
#include <spdlog/spdlog.h>

#include <algorithm>

#include "models/forecaster.h"
#include "service/analyze/analyze.h"
#include "service/forecast/forecast.h"
#include "service/metrics/metrics.h"

namespace foreshadow::batch {
namespace {

constexpr int64_t kBytesPerMib = 1 << 20;
constexpr int64_t kRetryMsMin = 20;
constexpr int64_t kRetryMsMax = 30'000;
constexpr double kRateKeep = 0.8;  // of the rate so far, at each batch

int64_t BytesOf(const Ask& ask) { return std::ssize(ask.values) * int64_t{sizeof(float)}; }

double Seconds(std::chrono::steady_clock::duration time) {
  return std::chrono::duration<double>(time).count();
}

}  // namespace

Batcher::Batcher(const Settings& settings, double period_significance, const ModelList& fitted)
    : settings_(settings), period_significance_(period_significance) {
  for (const auto& model : fitted) {
    fitted_.push_back(std::make_shared<const ModelList>(ModelList{model}));
  }
  for (int i = 0; i < settings_.threads; ++i) threads_.emplace_back([this] { Work(); });
}

absl::StatusOr<Batcher::Found> Batcher::Find(std::shared_ptr<const ModelList> served,
                                             const std::string& name) const {
  if (name.empty() || name == "auto") return Found{std::move(served), 0};
  std::string known = "auto";
  const auto is_named = [&](const models::Forecaster& model) {
    known += ", " + models::Label(model);
    return model.name() == name || models::Label(model) == name;
  };
  for (size_t m = 0; m < served->size(); ++m) {
    if (is_named(*(*served)[m])) return Found{std::move(served), m};
  }
  for (const auto& fitted : fitted_) {
    if (is_named(*fitted->front())) return Found{fitted, 0};
  }
  return absl::NotFoundError(fmt::format("model = \"{}\": must be one of {}", name, known));
}

Batcher::~Batcher() { Stop(); }

Ticket Batcher::NewTicket() {
  const std::lock_guard lock(mutex_);
  return next_ticket_++;
}

absl::Status Batcher::Submit(Ticket ticket, Ask ask, Done done) {
  const auto now = std::chrono::steady_clock::now();
  const Key key{ask.models.get(), ask.first_model,   ask.step_ms,
                ask.end_ms,       ask.history_steps, ask.horizon_steps};
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return absl::UnavailableError("the server is stopping");
    // A call that is larger than the whole queue is taken while nothing else waits.
    const bool full = calls_waiting_ >= settings_.queue_calls_max ||
                      (calls_waiting_ > 0 &&
                       bytes_waiting_ + BytesOf(ask) > settings_.queue_mib_max * kBytesPerMib);
    if (full) {
      metrics::CountTurnedAway("full");
      return absl::ResourceExhaustedError(
          fmt::format("{} calls with {} MiB of histories wait to be forecast, at most "
                      "{} calls and {} MiB may: come again later",
                      calls_waiting_, bytes_waiting_ / kBytesPerMib, settings_.queue_calls_max,
                      settings_.queue_mib_max));
    }
    Group& group = groups_[key];
    const auto at = std::upper_bound(
        group.calls.begin(), group.calls.end(), ask.priority,
        [](int priority, const Call& call) { return priority < call.ask.priority; });
    ++calls_waiting_;
    bytes_waiting_ += BytesOf(ask);
    series_waiting_ += std::ssize(ask.signals);
    group.series += std::ssize(ask.signals);
    group.calls.insert(at, Call{ticket, std::move(ask), std::move(done), now});
  }
  changed_.notify_one();
  return absl::OkStatus();
}

void Batcher::Forget(const Call& call) {
  --calls_waiting_;
  bytes_waiting_ -= BytesOf(call.ask);
  series_waiting_ -= std::ssize(call.ask.signals);
}

void Batcher::Cancel(Ticket ticket) {
  std::vector<Call> found;
  {
    const std::lock_guard lock(mutex_);
    for (auto it = groups_.begin(); it != groups_.end() && found.empty(); ++it) {
      Group& group = it->second;
      const auto call = std::find_if(group.calls.begin(), group.calls.end(),
                                     [&](const Call& c) { return c.ticket == ticket; });
      if (call == group.calls.end()) continue;
      Forget(*call);
      group.series -= std::ssize(call->ask.signals);
      found.push_back(std::move(*call));
      group.calls.erase(call);
      if (group.calls.empty()) {
        groups_.erase(it);
        break;
      }
    }
  }
  for (Call& call : found) {
    metrics::CountTurnedAway("cancelled");
    call.done(absl::CancelledError("the caller has cancelled"));
  }
}

int64_t Batcher::RetryAfterMs() const {
  const std::lock_guard lock(mutex_);
  if (series_per_s_ <= 0) return kRetryMsMin;
  const double seconds = static_cast<double>(series_waiting_) / (series_per_s_ * settings_.threads);
  return std::clamp(static_cast<int64_t>(seconds * 1e3), kRetryMsMin, kRetryMsMax);
}

void Batcher::Stop() {
  std::vector<Call> left;
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    for (auto& [key, group] : groups_) {
      for (Call& call : group.calls) {
        Forget(call);
        left.push_back(std::move(call));
      }
    }
    groups_.clear();
  }
  changed_.notify_all();
  for (Call& call : left) call.done(absl::UnavailableError("the server is stopping"));
  for (std::thread& thread : threads_) thread.join();
  threads_.clear();
}

std::vector<Batcher::Call> Batcher::DropExpired(SteadyTime now) {
  std::vector<Call> expired;
  for (auto it = groups_.begin(); it != groups_.end();) {
    Group& group = it->second;
    const auto first = std::stable_partition(group.calls.begin(), group.calls.end(),
                                             [&](const Call& c) { return c.ask.deadline > now; });
    for (auto call = first; call != group.calls.end(); ++call) {
      Forget(*call);
      group.series -= std::ssize(call->ask.signals);
      expired.push_back(std::move(*call));
    }
    group.calls.erase(first, group.calls.end());
    it = group.calls.empty() ? groups_.erase(it) : std::next(it);
  }
  return expired;
}

// The calls of the batch to run now; empty = none may yet, and `next` is when one may.
std::vector<Batcher::Call> Batcher::TakeReady(SteadyTime now, SteadyTime& next) {
  const auto wait = std::chrono::milliseconds(settings_.wait_ms);
  auto best = groups_.end();
  std::pair<int, SteadyTime> best_rank;
  for (auto it = groups_.begin(); it != groups_.end(); ++it) {
    const Group& group = it->second;
    const SteadyTime oldest =
        std::min_element(group.calls.begin(), group.calls.end(), [](const Call& a, const Call& b) {
          return a.came < b.came;
        })->came;
    if (group.series < settings_.batch_series_max && oldest + wait > now) {
      next = std::min(next, oldest + wait);
      continue;
    }
    const std::pair rank{group.calls.front().ask.priority, oldest};
    if (best == groups_.end() || rank < best_rank) {
      best = it;
      best_rank = rank;
    }
  }
  std::vector<Call> taken;
  if (best == groups_.end()) return taken;
  Group& group = best->second;
  int64_t series = 0;
  auto end = group.calls.begin();
  for (; end != group.calls.end(); ++end) {
    series += std::ssize(end->ask.signals);
    if (series > settings_.batch_series_max && end != group.calls.begin()) break;
    Forget(*end);
    group.series -= std::ssize(end->ask.signals);
  }
  taken.assign(std::make_move_iterator(group.calls.begin()), std::make_move_iterator(end));
  group.calls.erase(group.calls.begin(), end);
  if (group.calls.empty()) groups_.erase(best);
  return taken;
}

void Batcher::Work() {
  std::unique_lock lock(mutex_);
  while (true) {
    if (stopping_) return;
    const auto now = std::chrono::steady_clock::now();
    SteadyTime next = now + std::chrono::hours(1);
    std::vector<Call> expired = DropExpired(now);
    std::vector<Call> batch;
    if (expired.empty()) batch = TakeReady(now, next);
    if (expired.empty() && batch.empty()) {
      changed_.wait_until(lock, next);
      continue;
    }
    lock.unlock();
    for (Call& call : expired) {
      metrics::CountTurnedAway("deadline");
      call.done(absl::DeadlineExceededError("the deadline passed while the call waited"));
    }
    expired.clear();
    if (!batch.empty()) Run(std::move(batch));
    lock.lock();
  }
}

void Batcher::Run(std::vector<Call> calls) {
  const auto began = std::chrono::steady_clock::now();
  int64_t series = 0;
  for (const Call& call : calls) {
    series += std::ssize(call.ask.signals);
    metrics::CountQueued(Seconds(began - call.came));
  }
  const Ask& first = calls.front().ask;
  const int64_t steps = first.history_steps;
  std::vector<float> values(static_cast<size_t>(steps * series));
  std::vector<SignalKind> signals;
  int64_t column = 0;
  for (const Call& call : calls) {
    for (size_t s = 0; s < call.ask.signals.size(); ++s, ++column) {
      const float* from = call.ask.values.data() + static_cast<int64_t>(s) * steps;
      for (int64_t step = 0; step < steps; ++step) values[step * series + column] = from[step];
    }
    signals.insert(signals.end(), call.ask.signals.begin(), call.ask.signals.end());
  }
  const kernels::StepMajor<const float> observed = {values.data(), steps, series, series};
  const std::vector<int32_t> periods = StrongestPeriods(observed, period_significance_);
  const models::History history{first.end_ms, first.step_ms, observed, signals, periods};
  const ModelList models(first.models->begin() + static_cast<int64_t>(first.first_model),
                         first.models->end());
  std::vector<std::string> alerts;
  const auto table = std::make_shared<const ForecastTable>(
      ForecastSeries(history, first.horizon_steps, models, alerts));
  for (const std::string& alert : alerts) spdlog::warn("inference: {}", alert);
  const auto ran = std::chrono::steady_clock::now() - began;
  const double took_s = Seconds(ran);
  metrics::CountBatch(std::ssize(calls), series, took_s);
  {
    const std::lock_guard lock(mutex_);
    const double rate = static_cast<double>(series) / std::max(took_s, 1e-9);
    series_per_s_ = series_per_s_ == 0 ? rate : kRateKeep * series_per_s_ + (1 - kRateKeep) * rate;
  }
  int64_t at = 0;
  for (Call& call : calls) {
    const int64_t count = std::ssize(call.ask.signals);
    call.done(Answer{table, at, count, began - call.came, ran, at == 0});
    at += count;
  }
}

}  // namespace foreshadow::batch
