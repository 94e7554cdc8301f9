#include "training/simulate/world.h"

#include <algorithm>
#include <cmath>
#include <utility>

namespace foreshadow::training {
namespace {

constexpr int64_t kListEverySteps = 12;  // cells tell what they have once in so many steps

}  // namespace

SimWorld::SimWorld(const WorldOptions& options, const Demand& demand)
    : options_(options), demand_(demand), random_(options.seed) {
  for (int64_t a = 0; a < demand.count(); ++a) {
    account_index_[demand.accounts[a].id] = static_cast<int32_t>(a);
  }
  outages_.resize(options.cells.size());
  std::mt19937_64 random(options.seed ^ 0x0fa11ed);
  std::uniform_real_distribution<double> chance(0, 1);
  const double a_step =
      options.outages_per_cell_day * static_cast<double>(demand.step_ms) / 86'400'000;
  for (size_t c = 0; c < options.cells.size(); ++c) {
    cell_index_[options.cells[c].id] = static_cast<int32_t>(c);
    for (int64_t t = 0; a_step > 0 && t < demand.steps; ++t) {
      if (chance(random) < a_step) outages_[c].push_back(t);
    }
  }
}

void SimWorld::SetStep(int64_t step) {
  step_ = step;
  now_ms_ = demand_.start_ms + step * demand_.step_ms;
}

bool SimWorld::CellIsDown(int32_t cell, int64_t step) const {
  const int64_t steps = std::max<int64_t>(1, options_.outage_ms / demand_.step_ms);
  return std::any_of(outages_[cell].begin(), outages_[cell].end(),
                     [&](int64_t first) { return first <= step && step < first + steps; });
}

Inbox SimWorld::TakeInbox() {
  Inbox inbox;
  if (step_ == 0) {
    for (int64_t a = 0; a < demand_.count(); ++a) {
      inbox.accounts.push_back(
          {demand_.accounts[a].id, options_.cell_of[a], demand_.accounts[a].application});
    }
  }
  const int64_t seen = step_ - demand_.delay_steps;
  for (int64_t s = 0; seen >= 0 && s < demand_.series(); ++s) {
    const float value = demand_.seen[static_cast<size_t>(seen * demand_.series() + s)];
    if (std::isnan(value)) continue;
    inbox.samples.push_back({static_cast<int32_t>(s / kSignals),
                             static_cast<SignalKind>(s % kSignals),
                             demand_.start_ms + seen * demand_.step_ms, value});
  }
  // What has happened by now, in the order in which it did.
  std::stable_sort(due_.begin(), due_.end(),
                   [](const Due& a, const Due& b) { return a.at_ms < b.at_ms; });
  size_t taken = 0;
  for (; taken < due_.size() && due_[taken].at_ms <= real_ms(); ++taken) {
    Due& due = due_[taken];
    if (due.outcome.done) {
      SimInstance& instance = instances_[due.instance_id];
      if (due.kind == ActionKind::kCreate) {
        instance.exists = true;
        instance.running = due.run;
      }
      if (due.kind == ActionKind::kResume) instance.running = true;
      if (due.kind == ActionKind::kPause) instance.running = false;
      if (due.kind == ActionKind::kDestroy || due.kind == ActionKind::kRetire) {
        instances_.erase(due.instance_id);
      }
      // The memory is now held twice on the other side: by the primary that was.
      if (due.kind == ActionKind::kPromote) instance.target = instance.source;
    }
    inbox.outcomes.push_back(std::move(due.outcome));
  }
  due_.erase(due_.begin(), due_.begin() + static_cast<std::ptrdiff_t>(taken));

  for (size_t c = 0; c < options_.cells.size(); ++c) {
    const auto cell = static_cast<int32_t>(c);
    const bool down = CellIsDown(cell, step_);
    const bool was_down = step_ > 0 && CellIsDown(cell, step_ - 1);
    if (step_ % kListEverySteps != 0 && down == was_down) continue;
    CellReport report{cell, !down, {}};
    for (const auto& [id, instance] : instances_) {
      if (instance.target == cell && instance.exists) report.instances.push_back(id);
    }
    inbox.reports.push_back(std::move(report));
  }
  return inbox;
}

void SimWorld::Start(const Action& action) {
  // An action's luck is its own, whatever else goes on.
  std::mt19937_64 luck(options_.seed * 0x9e3779b97f4a7c15 + action.id * 31 +
                       static_cast<uint64_t>(action.attempts));
  const bool at_source = AtSource(action.kind);
  const int32_t target = cell_index_.at(at_source ? action.source_cell : action.target_cell);
  const bool may_fail = action.kind == ActionKind::kCreate || action.kind == ActionKind::kResume;
  const bool fails =
      (may_fail && std::uniform_real_distribution<double>(0, 1)(luck) < options_.failure_chance) ||
      CellIsDown(target, step_);
  Due due{real_ms(), action.kind, action.run, action.instance_id, {action.id, !fails, false, ""}};
  if (fails) due.outcome.message = "the cell could not";
  if (action.kind == ActionKind::kResume) due.at_ms += options_.resume_ms;
  if (action.kind == ActionKind::kCreate) {
    const int32_t account = account_index_.at(action.account);
    const double copy_ms = 1'000 * demand_.MemoryBytes(step_, account) / kCopyBytesPerSecond;
    SimInstance instance{account, cell_index_.at(action.source_cell), target};
    instance.copy_begin_ms = real_ms() + options_.create_ms;
    instance.copy_end_ms = instance.copy_begin_ms + static_cast<int64_t>(copy_ms);
    due.at_ms = instance.copy_end_ms + (action.run ? options_.resume_ms : 0);
    if (!fails) instances_[action.instance_id] = instance;
  }
  due_.push_back(std::move(due));
}

}  // namespace foreshadow::training
