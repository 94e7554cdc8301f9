#include "service/world/real_world.h"

#include "service/tick/decisions_json.h"

namespace foreshadow {

RealWorld::RealWorld(HistoryStore& store, uint64_t seed,
                     std::function<std::shared_ptr<const Fleet>()> fleet,
                     std::function<void(const Action&)> start)
    : store_(store), random_(seed), fleet_(std::move(fleet)), start_(std::move(start)) {}

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
  return store_.WriteDecisions(DecisionsToJson(*commit.decisions, *fleet), audit, commands_taken_);
}

}  // namespace foreshadow
