#include "service/serving/recall.h"

#include <utility>

#include "service/learn/split_log.h"
#include "service/world/world.h"

namespace foreshadow {
namespace {

// Nothing that is decided in it comes to anything.
class PastWorld : public World {
 public:
  PastWorld(int64_t now_ms, const models::Stop& stop) : now_ms_(now_ms), stop_(stop) {}
  int64_t NowMs() override { return now_ms_; }
  double ElapsedMs() override { return 0; }
  uint64_t Random() override { return 0; }
  absl::Status Write(const Commit& /*commit*/) override { return absl::OkStatus(); }
  void Start(const Action& /*action*/) override {}
  bool Stopping() const override { return stop_(); }

 private:
  int64_t now_ms_;
  const models::Stop& stop_;
};

}  // namespace

absl::StatusOr<std::shared_ptr<const TickReport>> Recall(
    const Decisions& decisions, const Fleet& fleet, std::vector<Sample> samples,
    const ModelList& models, const Settings& settings, const kernels::Ops* device,
    const models::Stop& stop) {
  Decisions before = decisions;
  before.paused = true;  // it is to plan nothing
  const StatePtr state = NewState(fleet.cells, std::move(before), settings, device);
  PastWorld world(decisions.last_tick_ms, stop);
  Inbox inbox{fleet.accounts, std::move(samples), {}, {}, {}, {}};
  auto made = Tick(*state, std::move(inbox), models, settings, world);
  if (!made.ok()) return made.status();
  auto report = std::make_shared<TickReport>(**made);
  report->shadows = decisions.shadows;
  report->split_records = std::make_shared<const std::vector<SplitRecord>>();
  report->actions.clear();
  for (const Explanation& open : decisions.open) report->actions.push_back(open.action);
  report->scores = decisions.scores;
  report->evaluation = decisions.evaluation;
  report->paused = decisions.paused;
  report->changes = decisions.changes;
  return report;
}

}  // namespace foreshadow
