#include "training/simulate/ledger.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <utility>

#include "service/plan/demand.h"

namespace foreshadow::training {
namespace {

constexpr int kCpu = 0;
constexpr double kStable = 0.99;  // utilisation up to which the queue is taken as in balance

// Of sorted values.
double Percentile(std::vector<double>& values, double level) {
  if (values.empty()) return 0;
  std::sort(values.begin(), values.end());
  const auto at = static_cast<size_t>(std::ceil(level * static_cast<double>(values.size()))) - 1;
  return values[std::min(at, values.size() - 1)];
}

}  // namespace

double Slowdown(double demand, double capacity, double step_ms) {
  if (capacity <= 0) return demand > 0 ? step_ms / kServiceMs : 1;
  const double servers = std::max(1.0, std::round(capacity));
  const double u = std::min(demand / capacity, kStable);
  const double queued = std::pow(u, std::sqrt(2 * (servers + 1)) - 1) / (servers * (1 - u));
  const double backlog_ms = std::max(0.0, demand / capacity - 1) * step_ms / 2;
  return 1 + queued + backlog_ms / kServiceMs;
}

double Watts(double demand, double capacity) {
  if (capacity <= 0) return 0;
  const double at = std::clamp(demand / capacity, 0.0, 1.0) * (kServerWatts.size() - 1);
  const auto below = std::min(static_cast<size_t>(at), kServerWatts.size() - 2);
  const double part = at - static_cast<double>(below);
  return capacity / kServerCores *
         ((1 - part) * kServerWatts[below] + part * kServerWatts[below + 1]);
}

void Reliability::Add(double probability, bool happened) {
  const auto bin = static_cast<size_t>(std::clamp(probability * 10, 0.0, 9.0));
  squares += (probability - happened) * (probability - happened);
  said[bin] += probability;
  came[bin] += happened;
  ++count[bin];
}

void Reliability::Add(const Reliability& other) {
  squares += other.squares;
  for (size_t b = 0; b < count.size(); ++b) {
    said[b] += other.said[b];
    came[b] += other.came[b];
    count[b] += other.count[b];
  }
}

int64_t Reliability::total() const {
  return std::accumulate(count.begin(), count.end(), int64_t{0});
}
double Reliability::brier() const { return total() ? squares / static_cast<double>(total()) : 0; }
double Reliability::ece() const {
  double error = 0;
  for (size_t b = 0; b < count.size(); ++b) error += std::abs(said[b] - came[b]);
  return total() ? error / static_cast<double>(total()) : 0;
}
double Reliability::base_rate() const {
  const double all = std::accumulate(came.begin(), came.end(), 0.0);
  return total() ? all / static_cast<double>(total()) : 0;
}

double Metrics::cost(const Prices& prices) const {
  return prices.unserved_core_hour * unserved[kCpu] +
         prices.overloaded_core_hour * overloaded_core_hours +
         prices.shadow_core_hour * shadow_core_hours + prices.move * static_cast<double>(moves);
}

double Metrics::UnservedShare() const {
  double worst = 0;
  for (int r = 0; r < kResources; ++r) {
    if (demand[r] > 0) worst = std::max(worst, unserved[r] / demand[r]);
  }
  return worst;
}

Ledger::Ledger(const Demand& demand, const WorldOptions& options, int64_t first_step)
    : demand_(demand),
      options_(options),
      first_step_(first_step),
      cells_(options.cells.size()),
      step_hours_(static_cast<double>(demand.step_ms) / 3'600'000),
      lately_{std::vector<double>(static_cast<size_t>(demand.steps) * cells_),
              Panel(demand.steps, cells_)},
      ever_(lately_),
      overloaded_(lately_.load.size()),
      left_(static_cast<size_t>(demand.count())),
      account_demand_(static_cast<size_t>(demand.count())),
      account_unserved_(static_cast<size_t>(demand.count())),
      traffic_(static_cast<size_t>(demand.count())),
      run_steps_(cells_),
      ready_(cells_),
      ready_since_(cells_, -1) {}

bool Ledger::Over(const std::vector<double>& load, int64_t step, int32_t cell) const {
  const double capacity = options_.cells[cell].capacity[kCpu];
  return capacity > 0 && load[step * cells_ + cell] > capacity;
}

void Ledger::FollowTraffic(int64_t step, const std::vector<Shadow>& shadows,
                           const std::vector<int32_t>& homes) {
  std::vector<double> split(traffic_.size(), 0);
  for (const Shadow& shadow : shadows) split[shadow.account] = shadow.split;
  const int64_t soon = kPingPongMs / demand_.step_ms;
  for (size_t a = 0; a < traffic_.size(); ++a) {
    Traffic& t = traffic_[a];
    // It lives now where its traffic went.
    if (!homes_.empty() && homes[a] != homes_[a]) t.split = 0;
    const bool moved = t.split == 0 && split[a] > 0;
    const bool returned = t.split > 0 && split[a] == 0;
    if ((moved || returned) && t.moved_step >= 0 && step - t.moved_step < soon && !t.counted &&
        scored(t.moved_step)) {
      ++metrics_.ping_pong;
      t.counted = true;
    }
    if (moved) {
      if (scored(step)) ++metrics_.moves;
      t.moved_step = step;
      t.counted = false;
    }
    t.split = split[a];
  }
}

int32_t Ledger::LeftLately(int64_t step, int64_t account) const {
  const Left& left = left_[account];
  return step - left.step < kPreventedMs / demand_.step_ms ? left.cell : -1;
}

double Ledger::LoadOf(int64_t step, const std::vector<int64_t>& accounts) const {
  double load = 0;
  for (const int64_t a : accounts) load += demand_.at(step, a, kCpu);
  return load;
}

void Ledger::Follow(int64_t step, Undone& undone) {
  for (size_t c = 0; c < cells_; ++c) {
    undone.load[step * cells_ + c] = LoadOf(step, undone.residents[c]);
  }
  const int64_t hour = kHorizonMs / demand_.step_ms;
  const int64_t day = 24 * hour;
  if (hour < 1 || step < kPanelHours * hour - 1) return;
  for (size_t c = 0; c < cells_; ++c) {
    const auto cell = static_cast<int32_t>(c);
    const double capacity = options_.cells[c].capacity[kCpu];
    if (capacity <= 0 || Over(undone.load, step, cell)) continue;
    const auto loads = [&](int64_t from, int64_t to) {
      std::vector<double> all;
      for (int64_t t = from; t < to; ++t) all.push_back(LoadOf(t, undone.residents[c]));
      return all;
    };
    const int64_t next = step + 1;
    const auto past = loads(next - kPanelHours * hour, next);
    const auto coming = loads(next, std::min(demand_.steps, next + hour));
    const auto yesterday =
        next < hour + day ? std::vector<double>() : loads(next - hour - day, next + hour - day);
    undone.panel.Look(step, cell, {past, yesterday, hour, capacity},
                      std::ranges::any_of(coming, [&](double load) { return load > capacity; }));
  }
}

bool Ledger::Foreseeable(const Undone& undone, int64_t onset, int32_t cell) const {
  const int64_t first = std::max<int64_t>(0, onset - kHorizonMs / demand_.step_ms);
  const int64_t last = onset - std::max<int64_t>(1, kForeseenAheadMs / demand_.step_ms);
  for (int64_t t = first; t <= last; ++t) {
    if (undone.panel.Chance(t, cell) >= kForeseeableChance) return true;
  }
  return false;
}

void Ledger::Settle(int64_t step, const std::vector<Shadow>& shadows,
                    const std::vector<int32_t>& homes, const SimWorld& world) {
  FollowTraffic(step, shadows, homes);
  homes_ = homes;
  lately_.residents.assign(cells_, {});
  for (int64_t a = 0; a < demand_.count(); ++a) {
    lately_.residents[homes[a]].push_back(a);
    const int32_t before = LeftLately(step, a);
    if (before >= 0 && before != homes[a]) lately_.residents[before].push_back(a);
  }
  // Before the first tick nobody has left.
  if (ever_.residents.empty()) ever_.residents = lately_.residents;
  Follow(step, lately_);
  Follow(step, ever_);
  if (!scored(step)) return;
  std::vector<Resources> cell(cells_);
  std::vector<double> split(traffic_.size(), 0);
  std::vector<int32_t> target(traffic_.size(), -1);
  double lost = 0;  // core-hours that are sent where nothing runs
  for (const Shadow& shadow : shadows) {
    if (target[shadow.account] >= 0) ++metrics_.broken;  // two shadows of an account
    if (!(shadow.split >= 0 && shadow.split <= 1)) ++metrics_.broken;
    target[shadow.account] = shadow.target;
    if (shadow.split == 0) continue;
    const double traffic = shadow.split * demand_.at(step, shadow.account, kCpu) * step_hours_;
    const auto it = world.instances().find(shadow.instance_id);
    const bool is_there = it != world.instances().end();
    if (!is_there || !it->second.running) {
      ++metrics_.broken;
      lost += traffic;
    }
    split[shadow.account] = shadow.split;
    // Once it is the primary, what it serves is no shadow's, though the engine hears of it later.
    const bool is_primary = is_there && it->second.target == it->second.source;
    if (!is_primary) metrics_.shadow_core_hours += traffic;
  }
  for (int64_t a = 0; a < demand_.count(); ++a) {
    for (int r = 0; r < kResources; ++r) {
      const double demand = demand_.at(step, a, r);
      if (demand == 0) continue;
      metrics_.demand[r] += demand * step_hours_;
      const double moved = MovesWithTraffic(r) ? split[a] * demand : 0;
      cell[homes[a]][r] += demand - moved;
      if (moved > 0) cell[target[a]][r] += moved;
    }
  }
  const int64_t begin_ms = demand_.start_ms + step * demand_.step_ms;
  const int64_t end_ms = begin_ms + demand_.step_ms;
  for (const auto& [id, i] : world.instances()) {
    const double bytes = demand_.MemoryBytes(step, i.account);
    cell[i.target][static_cast<int>(SignalKind::kMemory)] +=
        demand_.at(step, i.account, static_cast<int>(SignalKind::kMemory));
    metrics_.shadow_core_hours += kCoresPerGib * bytes / kGib * step_hours_;
    const double copied_ms = static_cast<double>(std::max<int64_t>(
        0, std::min(end_ms, i.copy_end_ms) - std::max(begin_ms, i.copy_begin_ms)));
    const double extra = kCopyCpuShare * demand_.at(step, i.account, kCpu) * copied_ms /
                         static_cast<double>(demand_.step_ms);
    cell[i.source][kCpu] += extra;
    cell[i.target][kCpu] += extra;
    copied_core_hours_ += extra * step_hours_;
  }
  metrics_.unserved[kCpu] += lost;
  const double minutes = step_hours_ * 60;
  std::vector<double> served(cells_, 1);
  for (size_t c = 0; c < cells_; ++c) {
    const bool down = world.CellIsDown(static_cast<int32_t>(c), step);
    bool over = false;
    bool nearly = false;
    for (int r = 0; r < kResources; ++r) {
      double capacity = options_.cells[c].capacity[r];
      if (capacity <= 0 && !down) continue;
      if (down) capacity = 0;
      over = over || cell[c][r] > capacity;
      nearly = nearly || cell[c][r] > kNearlyFull * capacity;
      metrics_.unserved[r] += std::max(0.0, cell[c][r] - capacity) * step_hours_;
      if (r == kCpu && cell[c][r] > capacity) served[c] = capacity / cell[c][r];
    }
    const double capacity = options_.cells[c].capacity[kCpu];
    metrics_.cell_hours += step_hours_;
    overloaded_[step * cells_ + c] = over;
    metrics_.overload_minutes += over ? minutes : 0;
    metrics_.nearly_minutes += nearly ? minutes : 0;
    metrics_.overloaded_core_hours += over ? capacity * step_hours_ : 0;
    if (over) {
      ++run_steps_[c];
    } else if (run_steps_[c] > 0) {
      run_minutes_.push_back(static_cast<double>(run_steps_[c]) * minutes);
      run_steps_[c] = 0;
    }
    if (capacity > 0) {
      slowdowns_.push_back(
          {Slowdown(cell[c][kCpu], down ? 0 : capacity, static_cast<double>(demand_.step_ms)),
           cell[c][kCpu]});
    }
    if (!down) metrics_.energy_kwh += Watts(cell[c][kCpu], capacity) * step_hours_ / 1'000;
    active_steps_ += cell[c][kCpu] > 0;
    over_full_steps_ += cell[c][kCpu] > 0 && served[c] < 1;
  }
  metrics_.account_hours += static_cast<double>(demand_.count()) * step_hours_;
  for (int64_t a = 0; a < demand_.count(); ++a) {
    const double demand = demand_.at(step, a, kCpu);
    const double at_home = 1 - split[a];
    const int32_t home = homes[a];
    double unserved = at_home * (1 - served[home]);
    double on_overloaded = served[home] < 1 ? at_home : 0;
    if (split[a] > 0) {
      unserved += split[a] * (1 - served[target[a]]);
      on_overloaded += served[target[a]] < 1 ? split[a] : 0;
    }
    account_demand_[a] += demand * step_hours_;
    account_unserved_[a] += demand * unserved * step_hours_;
    metrics_.account_overload_minutes += on_overloaded * minutes;
  }
}

void Ledger::Note(int64_t step, const TickReport& report) {
  std::vector<bool> ready(cells_, false);
  std::unordered_map<std::string, Fork> forks;
  for (const Shadow& shadow : report.shadows) {
    if (Exists(shadow.state)) ready[shadow.source] = true;
    const auto known = forks_.find(shadow.instance_id);
    if (known != forks_.end()) {
      forks.insert(std::move(*known));
      forks_.erase(known);
      continue;
    }
    if (shadow.created_ms != report.tick_ms) continue;  // there from the start
    ++metrics_.created;
    Fork fork{shadow.source, step, demand_.steps, {}};
    std::vector<double> split(traffic_.size(), 0);
    for (const Shadow& other : report.shadows) {
      split[other.account] = other.split;
      if (other.target == shadow.source && other.split > 0) {
        fork.shares.emplace_back(other.account, other.split);
      }
    }
    for (int64_t a = 0; a < demand_.count(); ++a) {
      if (homes_[a] != shadow.source || split[a] >= 1) continue;
      fork.shares.emplace_back(static_cast<int32_t>(a), 1 - split[a]);
    }
    forks.emplace(shadow.instance_id, std::move(fork));
  }
  // What is left of the old ones has gone.
  const auto judge = [&](Fork& fork, int64_t gone_step) {
    if (!scored(fork.from_step)) return;
    fork.to_step = gone_step;
    ++metrics_.judged;
    metrics_.false_shadows += ForkOverloads(fork) ? 0 : 1;
  };
  for (auto& [id, fork] : forks_) judge(fork, step);
  forks_ = std::move(forks);
  if (step + 1 == demand_.steps) {
    for (auto& [id, fork] : forks_) judge(fork, step);
  }
  // One that has become the primary is readier than any shadow.
  for (size_t a = 0; a < left_.size(); ++a) {
    if (report.fleet->accounts[a].cell != homes_[a]) left_[a] = {homes_[a], step};
    const int32_t before = LeftLately(step, static_cast<int64_t>(a));
    if (before >= 0) ready[before] = true;
  }
  for (size_t c = 0; c < cells_; ++c) {
    if (ready[c] && ready_since_[c] < 0) ready_since_[c] = step;
    if (!ready[c] && ready_since_[c] >= 0) {
      ready_[c].emplace_back(ready_since_[c], step);
      ready_since_[c] = -1;
    }
  }
  if (scored(step)) HoldAgainstTheFuture(step, report);
}

// What was said of each cell against what the accounts that live there will ask for.
void Ledger::HoldAgainstTheFuture(int64_t step, const TickReport& report) {
  const int64_t quarter = std::max<int64_t>(1, 15 * 60'000 / demand_.step_ms);
  const int64_t hour = std::max<int64_t>(1, kHorizonMs / demand_.step_ms);
  std::vector<bool> came(cells_, false);
  for (int64_t ahead = 1; ahead <= hour && step + ahead < demand_.steps; ++ahead) {
    std::vector<double> load(cells_, 0);
    for (int64_t a = 0; a < demand_.count(); ++a) {
      load[report.fleet->accounts[a].cell] += demand_.at(step + ahead, a, kCpu);
    }
    for (size_t c = 0; c < cells_; ++c) {
      const double capacity = options_.cells[c].capacity[kCpu];
      came[c] = came[c] || (capacity > 0 && load[c] > capacity);
    }
    for (const CellRisk& risk : report.risks_without) {
      if (ahead == quarter) metrics_.within_15.Add(risk.within_15, came[risk.cell]);
      if (ahead == hour) metrics_.within_60.Add(risk.probability, came[risk.cell]);
    }
  }
}

bool Ledger::ForkOverloads(const Fork& fork) const {
  const double capacity = options_.cells[fork.source].capacity[kCpu];
  const int64_t end = std::min(demand_.steps, fork.to_step + kForkAfterMs / demand_.step_ms + 1);
  for (int64_t t = fork.from_step + 1; t < end; ++t) {
    double demand = 0;
    for (const auto& [account, share] : fork.shares) demand += share * demand_.at(t, account, kCpu);
    if (demand > capacity) return true;
  }
  return false;
}

std::vector<Episode> Ledger::EpisodesOf(const Undone& undone) const {
  std::vector<Episode> episodes;
  for (size_t c = 0; c < cells_; ++c) {
    const auto cell = static_cast<int32_t>(c);
    int64_t last = -1;
    bool counted = false;  // the episode that goes on
    for (int64_t t = 0; t < demand_.steps; ++t) {
      if (!Over(undone.load, t, cell)) continue;
      const bool goes_on = last >= 0 && t - last <= kEpisodeGapSteps;
      if (!goes_on) counted = scored(t);
      last = t;
      if (!counted) continue;
      if (!goes_on) {
        episodes.push_back({.cell = cell,
                            .onset_step = t,
                            .prevented = true,
                            .foreseeable = Foreseeable(undone, t, cell)});
        Episode& episode = episodes.back();
        for (const auto& [from, to] : ready_[c]) {
          if (from >= t || to <= t - 1) continue;
          episode.covered = true;
          episode.lead_min = static_cast<double>(t - from - 1) * step_hours_ * 60;
        }
      }
      episodes.back().end_step = t;
      episodes.back().prevented &= overloaded_[t * cells_ + c] == 0;
    }
  }
  return episodes;
}

Metrics Ledger::Finish() {
  for (size_t c = 0; c < cells_; ++c) {
    if (ready_since_[c] >= 0) ready_[c].emplace_back(ready_since_[c], demand_.steps);
  }
  metrics_.episodes = EpisodesOf(lately_);
  metrics_.episodes_of_none = EpisodesOf(ever_);
  for (size_t c = 0; c < cells_; ++c) {
    if (run_steps_[c] > 0) {
      run_minutes_.push_back(static_cast<double>(run_steps_[c]) * step_hours_ * 60);
    }
  }
  metrics_.episode_p99_min = Percentile(run_minutes_, 0.99);
  std::vector<double> shares;
  for (size_t a = 0; a < account_demand_.size(); ++a) {
    if (account_demand_[a] > 0) shares.push_back(account_unserved_[a] / account_demand_[a]);
  }
  std::sort(shares.rbegin(), shares.rend());
  const size_t worst = std::max<size_t>(1, shares.size() / 100);
  for (size_t i = 0; i < std::min(worst, shares.size()); ++i) {
    metrics_.tail_unserved_share += shares[i] / static_cast<double>(worst);
  }
  std::sort(slowdowns_.begin(), slowdowns_.end());
  double all = 0;
  for (const auto& [slowdown, demand] : slowdowns_) {
    all += demand;
    metrics_.slowdown_mean += slowdown * demand;
  }
  metrics_.slowdown_mean /= std::max(all, 1e-300);
  double below = 0;
  for (const auto& [slowdown, demand] : slowdowns_) {
    below += demand;
    metrics_.slowdown_p99 = slowdown;
    if (below >= 0.99 * all) break;
  }
  metrics_.time_over_full = static_cast<double>(over_full_steps_) /
                            static_cast<double>(std::max<int64_t>(1, active_steps_));
  metrics_.copy_degradation = copied_core_hours_ / std::max(metrics_.demand[kCpu], 1e-300);
  return metrics_;
}

}  // namespace foreshadow::training
