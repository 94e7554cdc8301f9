#include "service/world/real_world.h"

#include <algorithm>

#include "service/tick/decisions_json.h"

namespace foreshadow {

RealWorld::RealWorld(HistoryStore& store, uint64_t seed,
                     std::function<std::shared_ptr<const Fleet>()> fleet,
                     std::function<void(const std::vector<Account>&)> moved,
                     std::function<void(const Action&)> start, std::function<bool()> stopping)
    : store_(store),
      random_(seed),
      fleet_(std::move(fleet)),
      moved_(std::move(moved)),
      start_(std::move(start)),
      stopping_(std::move(stopping)) {}

double RealWorld::ElapsedMs() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration<double, std::milli>(now).count();
}

absl::Status RealWorld::Write(const Commit& commit) {
  const std::shared_ptr<const Fleet> fleet = fleet_();
  std::vector<std::pair<uint64_t, std::string>> audit;
  for (const Explanation& e : commit.explanations) {
    audit.emplace_back(e.action.id, ExplanationToJson(e, *fleet));
  }
  // Accounts first: decisions that say "promoted" with an account still at home would be wrong, an
  // account that has moved with a promotion still open is promoted once more, which changes
  // nothing.
  std::vector<std::pair<int32_t, Account>> moved;
  for (const Account& account : commit.moved) {
    const auto it = std::ranges::find(fleet->accounts, account.id, &Account::id);
    moved.emplace_back(static_cast<int32_t>(it - fleet->accounts.begin()), account);
  }
  if (!moved.empty()) {
    const absl::Status status = store_.WriteAccounts(moved, fleet->cells);
    if (!status.ok()) return status;
  }
  const absl::Status status =
      store_.WriteDecisions(DecisionsToJson(*commit.decisions, *fleet), audit, commands_taken_);
  if (status.ok() && !moved.empty()) moved_(commit.moved);
  return status;
}

}  // namespace foreshadow
