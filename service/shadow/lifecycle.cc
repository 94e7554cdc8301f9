#include "service/shadow/lifecycle.h"

#include <fmt/core.h>

#include <algorithm>
#include <string_view>

#include "kernels/check.h"
#include "service/shadow/migrate.h"

namespace foreshadow {
namespace {

constexpr std::string_view kInstancePrefix = "shadow-";
constexpr int kBackoffDoublingsMax = 5;  // 32 steps at most between two attempts

Shadow* Find(Decisions& decisions, const std::string& instance_id) {
  for (Shadow& shadow : decisions.shadows) {
    if (shadow.instance_id == instance_id) return &shadow;
  }
  return nullptr;
}

void Enter(Shadow& shadow, ShadowState state, int64_t now_ms) {
  FORESHADOW_CHECK(Follows(shadow.state, state));
  shadow.state = state;
  shadow.since_ms = now_ms;
  const bool serves = Serves(shadow.state);
  if (!serves) {
    shadow.split = shadow.wanted_split = 0;
    shadow.shed = shadow.wanted_shed = 0;
    shadow.failed_over = false;
  }
  if (state == ShadowState::kWarm || state == ShadowState::kIdle) shadow.idle_since_ms = now_ms;
  if (serves) shadow.idle_since_ms = 0;
}

void ForgetGone(Decisions& decisions) {
  std::erase_if(decisions.shadows, [](const Shadow& s) { return s.state == ShadowState::kGone; });
}

// The state that a finished action leads to.
ShadowState After(const Action& action, ShadowState now) {
  switch (action.kind) {
    case ActionKind::kCreate:
      return action.run ? ShadowState::kSharing : ShadowState::kWarm;
    case ActionKind::kResume:
      return ShadowState::kSharing;
    case ActionKind::kPause:
      return ShadowState::kIdle;
    case ActionKind::kDestroy:
      return ShadowState::kGone;
    case ActionKind::kPromote:
      return ShadowState::kPromoted;
    case ActionKind::kRetire:
      return ShadowState::kGone;
    case ActionKind::kSetSplit:
    case ActionKind::kLiftFence:
      return now;
  }
  return now;
}

// Giving up a create or a resume leaves a failed shadow, a promotion one that serves on; giving up
// a pause, a destroy or a retirement would leave an instance running that nobody asks for, giving
// up to lift a fence a primary that takes no writes, so these are repeated for ever.
bool MayGiveUp(ActionKind kind) {
  return kind == ActionKind::kCreate || kind == ActionKind::kResume || kind == ActionKind::kPromote;
}

uint64_t EpochOf(int32_t account, const Decisions& decisions) {
  const auto it = std::ranges::find(decisions.epochs, account, &RouteEpoch::account);
  return it == decisions.epochs.end() ? 1 : it->epoch;
}

void SetEpoch(int32_t account, uint64_t epoch, Decisions& decisions) {
  const auto it = std::ranges::find(decisions.epochs, account, &RouteEpoch::account);
  if (it == decisions.epochs.end()) {
    decisions.epochs.push_back({account, epoch});
  } else {
    it->epoch = epoch;
  }
}

void Settle(const Moment& in, Explanation& e, const Outcome& outcome, Decisions& decisions,
            Changes& changes) {
  Action& action = e.action;
  Shadow* shadow = Find(decisions, action.instance_id);
  if (outcome.done) {
    action.state = ActionState::kDone;
    action.settled_ms = in.now_ms;
    action.message.clear();
    if (shadow == nullptr) return;
    if (action.kind == ActionKind::kCreate) {
      ++decisions.scores.shadows_created;
      if (shadow->state == ShadowState::kCreating && e.state_bytes > 0) {
        decisions.creations.resize(in.fleet.cells.size());
        LearnCreation(e.state_bytes, static_cast<double>(in.now_ms - shadow->since_ms), e.lead_ms,
                      in.step_ms, decisions.creations[shadow->target]);
      }
    }
    if (action.kind == ActionKind::kPromote) {
      Account account = in.fleet.accounts[shadow->account];
      account.cell = shadow->target;
      changes.moved.push_back(std::move(account));
      if (action.epoch != 0) SetEpoch(shadow->account, action.epoch, decisions);
    }
    // One that vanished meanwhile stays failed.
    const ShadowState next = After(action, shadow->state);
    if (Follows(shadow->state, next)) Enter(*shadow, next, in.now_ms);
    return;
  }
  ++action.attempts;
  action.message = outcome.message;
  const bool give_up =
      MayGiveUp(action.kind) && (outcome.final || action.attempts >= in.settings.attempts_max);
  if (give_up) {
    action.state = ActionState::kFailed;
    action.settled_ms = in.now_ms;
    if (shadow != nullptr) {
      // One that cannot be promoted goes on as a shadow.
      const bool serves = action.kind == ActionKind::kPromote;
      if (serves) CallOffMigration("", in.now_ms, *shadow);
      Enter(*shadow, serves ? ShadowState::kSharing : ShadowState::kFailed, in.now_ms);
    }
    changes.alerts.push_back(
        fmt::format("gave up to {} {} of account {} in cell {} after {} "
                    "attempts: {}",
                    Name(action.kind), action.instance_id, action.account, action.target_cell,
                    action.attempts, outcome.message));
    return;
  }
  // The primary refuses writes until its fence is lifted: no longer than it must.
  const bool patient = action.kind != ActionKind::kLiftFence;
  const int doublings = patient ? std::min(action.attempts - 1, kBackoffDoublingsMax) : 0;
  action.retry_at_ms = in.now_ms + (int64_t{1} << doublings) * in.step_ms + in.retry_jitter_ms;
}

// Of a promotion that was given up: whether its fence stands, who knows. Where none does, lifting
// it does no harm.
Explanation LiftFence(const Moment& in, const Action& promotion, Decisions& decisions) {
  Explanation e;
  e.action.id = decisions.next_action_id++;
  e.action.kind = ActionKind::kLiftFence;
  e.action.state = ActionState::kIntended;
  e.action.account = promotion.account;
  e.action.source_cell = promotion.source_cell;
  e.action.target_cell = promotion.target_cell;
  e.action.epoch = promotion.epoch;
  e.action.decided_ms = in.now_ms;
  e.action.reason = "its promotion did not come about";
  return e;
}

bool LiftsFenceOf(const std::string& account, const Decisions& decisions) {
  return std::ranges::any_of(decisions.open, [&](const Explanation& e) {
    return e.action.kind == ActionKind::kLiftFence && e.action.account == account;
  });
}

void TakeOutcomes(const Moment& in, const Inbox& inbox, Decisions& decisions, Changes& changes) {
  std::vector<Explanation> lifts;
  for (const Outcome& outcome : inbox.outcomes) {
    for (Explanation& e : decisions.open) {
      if (e.action.id != outcome.action_id || e.action.state != ActionState::kIntended) continue;
      Settle(in, e, outcome, decisions, changes);
      changes.explanations.push_back(e);
      if (e.action.state == ActionState::kFailed && e.action.epoch != 0) {
        lifts.push_back(LiftFence(in, e.action, decisions));
      }
    }
  }
  std::erase_if(decisions.open, [](const Explanation& e) { return e.action.settled_ms != 0; });
  for (Explanation& lift : lifts) {
    changes.explanations.push_back(lift);
    decisions.open.push_back(std::move(lift));
  }
}

// A planned shadow that nobody approved while it mattered, or that somebody refused.
void Withdraw(int64_t now_ms, const std::string& why, Shadow& shadow, Decisions& decisions,
              Changes& changes) {
  for (Explanation& e : decisions.open) {
    if (e.action.instance_id != shadow.instance_id) continue;
    e.action.state = ActionState::kFailed;
    e.action.settled_ms = now_ms;
    e.action.message = why;
    changes.explanations.push_back(e);
  }
  std::erase_if(decisions.open, [](const Explanation& e) { return e.action.settled_ms != 0; });
  Enter(shadow, ShadowState::kGone, now_ms);
}

// What the cells list against what should be there: a shadow that vanished has failed, an instance
// of ours that nobody knows is an orphan.
void Reconcile(const Moment& in, const Inbox& inbox, Decisions& decisions, Changes& changes) {
  for (const CellReport& report : inbox.reports) {
    if (!report.reachable) continue;
    const auto listed = [&](const std::string& id) {
      return std::find(report.instances.begin(), report.instances.end(), id) !=
             report.instances.end();
    };
    for (Shadow& shadow : decisions.shadows) {
      // While it is promoted it is no longer listed as a shadow.
      const bool promoted_now =
          shadow.state == ShadowState::kPromoting && HasOpenAction(decisions, shadow);
      const bool created = Exists(shadow.state) && !promoted_now;
      // A report may be older than the newest change: only what stood for a step can be missed.
      const bool settled = in.now_ms - shadow.since_ms > in.step_ms;
      if (shadow.target != report.cell || !created || !settled || listed(shadow.instance_id)) {
        continue;
      }
      changes.alerts.push_back(fmt::format("cell {} no longer has {} of account {}",
                                           in.fleet.cells[report.cell].id, shadow.instance_id,
                                           in.fleet.accounts[shadow.account].id));
      Enter(shadow, ShadowState::kFailed, in.now_ms);
    }
    for (const std::string& id : report.instances) {
      if (!id.starts_with(kInstancePrefix) || Find(decisions, id) != nullptr) continue;
      changes.alerts.push_back(fmt::format(
          "cell {} has an orphan {}: no plan knows it; destroy it by hand when you have "
          "made sure",
          in.fleet.cells[report.cell].id, id));
    }
  }
}

// The data plane has moved the traffic already; this is its record, and from here on its plan.
void FailOver(const Moment& in, const Command& command, Decisions& decisions, Changes& changes) {
  for (Shadow& shadow : decisions.shadows) {
    if (in.fleet.accounts[shadow.account].id != command.account) continue;
    if (!Exists(shadow.state)) continue;
    if (!Serves(shadow.state)) Enter(shadow, ShadowState::kSharing, in.now_ms);
    shadow.failed_over = true;
    shadow.split = shadow.wanted_split = 1;
    Explanation e =
        Open(in.fleet, shadow, ActionKind::kSetSplit, command.reason, in.now_ms, decisions);
    e.action.state = ActionState::kDone;
    e.action.settled_ms = in.now_ms;
    e.action.split = 1;
    e.action.shed = shadow.shed;
    changes.explanations.push_back(std::move(e));
  }
}

// The action, if it waits for approval.
Explanation* Waiting(Decisions& decisions, uint64_t action_id) {
  for (Explanation& e : decisions.open) {
    if (e.action.id == action_id && e.action.state == ActionState::kWaiting) return &e;
  }
  return nullptr;
}

void TakeCommands(const Moment& in, const Inbox& inbox, Decisions& decisions, Changes& changes) {
  for (const Command& command : inbox.commands) {
    switch (command.kind) {
      case Command::Kind::kPause:
        decisions.paused = true;
        break;
      case Command::Kind::kResume:
        decisions.paused = false;
        break;
      case Command::Kind::kFailedOver:
        FailOver(in, command, decisions, changes);
        break;
      case Command::Kind::kRecovered:
        for (Shadow& shadow : decisions.shadows) {
          if (in.fleet.accounts[shadow.account].id == command.account) shadow.failed_over = false;
        }
        break;
      case Command::Kind::kSet:
        Take({command.key, command.value, command.reason, in.now_ms}, decisions.changes);
        break;
      case Command::Kind::kReject:
        if (Explanation* e = Waiting(decisions, command.action_id); e != nullptr) {
          Shadow* shadow = Find(decisions, e->action.instance_id);
          if (shadow == nullptr) break;
          const std::string why = command.reason.empty() ? "" : ": " + command.reason;
          Withdraw(in.now_ms, "rejected" + why, *shadow, decisions, changes);
        }
        break;
      case Command::Kind::kApprove:
        if (Explanation* e = Waiting(decisions, command.action_id); e != nullptr) {
          Shadow* shadow = Find(decisions, e->action.instance_id);
          e->action.state = ActionState::kIntended;
          if (shadow != nullptr) Enter(*shadow, ShadowState::kCreating, in.now_ms);
          changes.explanations.push_back(*e);
        }
        break;
    }
  }
}

void OpenAndRecord(const Outlook& in, Shadow& shadow, ActionKind kind, std::string reason,
                   Decisions& decisions, Changes& changes) {
  Explanation e = Open(in.fleet, shadow, kind, std::move(reason), in.now_ms, decisions);
  const int32_t source = in.fleet.accounts[shadow.account].cell;
  e.risk = in.plan.risks_without[source];
  decisions.open.push_back(e);
  changes.explanations.push_back(std::move(e));
}

void Create(const Outlook& in, const Relief& relief, Decisions& decisions, Changes& changes) {
  Shadow shadow;
  shadow.instance_id = fmt::format("{}{}", kInstancePrefix, decisions.next_action_id);
  shadow.account = relief.account;
  shadow.source = relief.source;
  shadow.target = relief.target;
  shadow.reserved = relief.reserved;
  shadow.created_ms = in.now_ms;
  const bool waits = ModeOf(in.rails, shadow.account, shadow.target) == Mode::kRecommend;
  shadow.state = waits ? ShadowState::kPlanned : ShadowState::kCreating;
  shadow.since_ms = in.now_ms;

  Explanation e = relief.evidence;
  e.action =
      Open(in.fleet, shadow, ActionKind::kCreate, relief.reason, in.now_ms, decisions).action;
  // Of use as soon as it can serve: not left paused.
  e.action.run = e.urgency >= Urgency::kNow && !waits;
  if (waits) {
    e.action.state = ActionState::kWaiting;
    e.guard_rails.emplace_back("in mode recommend: waits for approval");
  }
  decisions.shadows.push_back(std::move(shadow));
  decisions.open.push_back(e);
  changes.explanations.push_back(std::move(e));
}

bool IdleTooLong(const Outlook& in, const Shadow& shadow) {
  return shadow.idle_since_ms != 0 && in.now_ms - shadow.idle_since_ms >= in.settings.idle_ms;
}

// No rail holds back what is not urgent for now. guard.urgency_min, which is always there, is about
// shadows: it must not keep those that it let pass from becoming primaries for ever.
bool MayBegin(const Outlook& in, const Shadow& shadow) {
  return ModeOf(in.rails, shadow.account, shadow.target) == Mode::kAct &&
         in.rails.asked.least != Urgency::kNever &&
         BarOf(in.rails, shadow.account, shadow.target).least == Urgency::kRoutine;
}

// Traffic has been there for a while, and the account is better off there.
bool MayPromote(const Outlook& in, const Shadow& shadow) {
  return in.settings.promote_after_ms > 0 && shadow.split > 0 && shadow.moved_ms > 0 &&
         in.now_ms - std::max(shadow.moved_ms, shadow.migration.aborted_ms) >=
             in.settings.promote_after_ms &&
         MayBegin(in, shadow) && in.reachable[shadow.target] &&
         AdviceFor(in.plan, shadow).better_there;
}

void CallOff(const Outlook& in, const MigrationDecision& why, Shadow& shadow, Changes& changes) {
  changes.alerts.push_back(fmt::format("account {} stays in cell {}: {}",
                                       in.fleet.accounts[shadow.account].id,
                                       in.fleet.cells[shadow.source].id, why.reason));
  CallOffMigration(why.harmful ? why.reason : "", in.now_ms, shadow);
  Enter(shadow, ShadowState::kSharing, in.now_ms);
}

void MoveToPrimary(const Outlook& in, Shadow& shadow, Decisions& decisions, Changes& changes) {
  const Account& account = in.fleet.accounts[shadow.account];
  const std::string& target = in.fleet.cells[shadow.target].id;
  const Advice advice = AdviceFor(in.plan, shadow);
  const bool better = shadow.failed_over || advice.better_there;
  if (!in.reachable[shadow.target] || !better) {
    // The shadow has done nothing wrong: it goes on with what it has.
    shadow.migration.from = shadow.split;
    CallOffMigration("", in.now_ms, shadow);
    Enter(shadow, ShadowState::kSharing, in.now_ms);
    return;
  }
  static const AccountMeasures kNone;
  const AccountMeasures& measures =
      in.measures.empty() ? kNone : in.measures[static_cast<size_t>(shadow.account)];
  Shadow moved = shadow;
  const MigrationDecision next =
      Migrate({in.migrate, measures, in.slo_ms, in.now_ms, in.step_ms, advice.evacuates}, moved);
  // A rail that has come up meanwhile holds the step, but no retreat.
  if (next.turn != MigrationTurn::kCallOff && !shadow.failed_over && !MayBegin(in, shadow)) return;
  shadow = std::move(moved);
  if (next.turn == MigrationTurn::kCallOff) {
    CallOff(in, next, shadow, changes);
  } else if (next.turn == MigrationTurn::kHandOver) {
    const bool fenced = account.stateful && !shadow.failed_over;
    // A fence that comes down late would open the old primary beside the new one.
    if (fenced && LiftsFenceOf(account.id, decisions)) return;
    OpenAndRecord(in, shadow, ActionKind::kPromote,
                  fmt::format("account {} is better off in cell {}", account.id, target), decisions,
                  changes);
    if (fenced) {
      const uint64_t epoch = EpochOf(shadow.account, decisions) + 1;
      decisions.open.back().action.epoch = changes.explanations.back().action.epoch = epoch;
    }
  }
}

void MoveOn(const Outlook& in, Shadow& shadow, Decisions& decisions, Changes& changes) {
  const bool moved_home = in.fleet.accounts[shadow.account].cell != shadow.source;
  const bool needed = !moved_home && Needed(in, shadow);
  switch (shadow.state) {
    case ShadowState::kPlanned:
      if (in.now_ms - shadow.created_ms >= in.settings.idle_ms) {
        Withdraw(in.now_ms, "not approved in time", shadow, decisions, changes);
      }
      return;
    case ShadowState::kWarm:
    case ShadowState::kIdle:
      if (needed && in.reachable[shadow.target]) {
        OpenAndRecord(in, shadow, ActionKind::kResume,
                      fmt::format("cell {} needs relief soon", in.fleet.cells[shadow.source].id),
                      decisions, changes);
      } else if (moved_home || IdleTooLong(in, shadow)) {
        const std::string why =
            moved_home
                ? std::string("its account has moved to another cell")
                : fmt::format("idle for {} min", (in.now_ms - shadow.idle_since_ms) / 60'000);
        OpenAndRecord(in, shadow, ActionKind::kDestroy, why, decisions, changes);
        Enter(shadow, ShadowState::kDecommissioning, in.now_ms);
      }
      return;
    case ShadowState::kSharing:
      if (moved_home) {
        OpenAndRecord(in, shadow, ActionKind::kDestroy, "its account has moved to another cell",
                      decisions, changes);
        Enter(shadow, ShadowState::kDecommissioning, in.now_ms);
      } else if (MayPromote(in, shadow)) {
        Enter(shadow, ShadowState::kPromoting, in.now_ms);
        BeginMigration(in.migrate, in.now_ms, shadow);
      } else if (!needed && shadow.split == 0 && in.now_ms > shadow.since_ms) {
        OpenAndRecord(in, shadow, ActionKind::kPause,
                      fmt::format("cell {} is out of danger", in.fleet.cells[shadow.source].id),
                      decisions, changes);
      }
      return;
    case ShadowState::kFailed:
      // Whatever is left of it must go; destroying an unknown instance succeeds.
      OpenAndRecord(in, shadow, ActionKind::kDestroy, "it failed", decisions, changes);
      Enter(shadow, ShadowState::kDecommissioning, in.now_ms);
      return;
    case ShadowState::kPromoting:
      MoveToPrimary(in, shadow, decisions, changes);
      return;
    case ShadowState::kPromoted:
      OpenAndRecord(in, shadow, ActionKind::kRetire, "its shadow has taken its place", decisions,
                    changes);
      return;
    case ShadowState::kCreating:
    case ShadowState::kDecommissioning:
    case ShadowState::kGone:
      return;
  }
}

}  // namespace

bool Follows(ShadowState from, ShadowState to) {
  using enum ShadowState;
  if (from == to) return true;
  switch (from) {
    case kPlanned:
      return to == kCreating || to == kGone;
    case kCreating:
      return to == kWarm || to == kSharing || to == kFailed;
    case kWarm:
    case kIdle:
      return to == kSharing || to == kDecommissioning || to == kFailed;
    case kSharing:
      return to == kIdle || to == kPromoting || to == kDecommissioning || to == kFailed;
    case kPromoting:
      return to == kSharing || to == kPromoted || to == kFailed;
    case kPromoted:
    case kDecommissioning:
      return to == kGone;
    case kFailed:
      return to == kDecommissioning;
    case kGone:
      return false;
  }
  return false;
}

void FollowOrigins(const Fleet& before, const std::vector<Account>& registered,
                   const std::unordered_map<std::string, int32_t>& index,
                   const std::vector<Account>& moved, std::vector<Origin>& origins) {
  const auto forget = [&](int32_t account) {
    std::erase_if(origins, [&](const Origin& o) { return o.account == account; });
  };
  for (const Account& account : registered) {
    const int32_t i = index.at(account.id);
    const bool known = i < std::ssize(before.accounts);
    if (known && before.accounts[i].cell != account.cell) forget(i);
  }
  for (const Account& account : moved) {
    const int32_t i = index.at(account.id);
    const auto it = std::ranges::find(origins, i, &Origin::account);
    if (it == origins.end()) {
      origins.push_back({i, before.accounts[i].cell});
    } else if (it->cell == account.cell) {
      forget(i);
    }
  }
}

bool HasOpenAction(const Decisions& decisions, const Shadow& shadow) {
  return std::any_of(decisions.open.begin(), decisions.open.end(), [&](const Explanation& e) {
    return e.action.instance_id == shadow.instance_id;
  });
}

bool Needed(const Outlook& in, const Shadow& shadow) {
  const PlanSettings& s = in.plan_settings;
  const Advice advice = AdviceFor(in.plan, shadow);
  const bool has_traffic = shadow.split > 0;  // moving it is paid
  return advice.evacuates || advice.gain >= s.gain_min + (has_traffic ? 0 : s.move_cost);
}

Explanation Open(const Fleet& fleet, const Shadow& shadow, ActionKind kind, std::string reason,
                 int64_t now_ms, Decisions& decisions) {
  Explanation e;
  e.action.id = decisions.next_action_id++;
  e.action.kind = kind;
  e.action.state = ActionState::kIntended;
  e.action.instance_id = shadow.instance_id;
  e.action.account = fleet.accounts[shadow.account].id;
  e.action.source_cell = fleet.cells[shadow.source].id;
  e.action.target_cell = fleet.cells[shadow.target].id;
  e.action.reserved = shadow.reserved;
  e.action.decided_ms = now_ms;
  e.action.reason = std::move(reason);
  return e;
}

void TakeIn(const Moment& in, const Inbox& inbox, Decisions& decisions, Changes& changes) {
  // The cells were asked while the last actions were under way, so their lists are held against
  // what was known then.
  Reconcile(in, inbox, decisions, changes);
  TakeOutcomes(in, inbox, decisions, changes);
  ForgetGone(decisions);
  TakeCommands(in, inbox, decisions, changes);
}

void Advance(const Outlook& in, Decisions& decisions, Changes& changes) {
  if (decisions.paused) return;
  for (Shadow& shadow : decisions.shadows) {
    if (!HasOpenAction(decisions, shadow) || shadow.state == ShadowState::kPlanned) {
      MoveOn(in, shadow, decisions, changes);
    }
  }
  for (const Relief& relief : in.plan.reliefs) {
    if (ModeOf(in.rails, relief.account, relief.target) == Mode::kObserve) continue;
    Create(in, relief, decisions, changes);
  }
  ForgetGone(decisions);
}

}  // namespace foreshadow
