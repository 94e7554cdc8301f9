// Decisions and explanations as they lie in the state store: what is read can be written and read
// again, and is the same.
#include "kernels/check.h"
#include "service/tick/decisions_json.h"
#include "tests/fuzz/target.h"

namespace foreshadow::fuzz {
namespace {

const Fleet& TheFleet() {
  static const Fleet fleet{{{"a", "z", CellState::kUp, {8}}, {"b", "z", CellState::kUp, {8}}},
                           {{"x", 0, "web", 1, false}, {"y", 1, "", 0, true}}};
  return fleet;
}

}  // namespace

std::vector<std::string> Seeds() {
  Decisions decisions;
  Shadow shadow;
  shadow.instance_id = "x-1";
  shadow.target = 1;
  shadow.split = 0.25;
  decisions.shadows = {shadow};
  Explanation open;
  open.action.id = 7;
  open.action.account = "x";
  open.action.instance_id = "x-1";
  open.action.source_cell = "a";
  open.action.target_cell = "b";
  open.action.reason = "cell a will be short of cpu";
  open.alternatives = {{"y", "b", "pinned"}};
  open.guard_rails = {"step limit"};
  decisions.open = {open};
  decisions.watches.resize(2);
  decisions.scores.lead_minutes = {10, 20};
  decisions.next_action_id = 8;
  decisions.last_tick_ms = 1'700'000'000'000;
  return {DecisionsToJson(decisions, TheFleet()), ExplanationToJson(open, TheFleet()), "{}"};
}

}  // namespace foreshadow::fuzz

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace foreshadow;
  const std::string text(reinterpret_cast<const char*>(data), size);
  const Fleet& fleet = fuzz::TheFleet();
  std::vector<std::string> dropped;
  if (const auto decisions = DecisionsFromJson(text, fleet, dropped); decisions.ok()) {
    const std::string written = DecisionsToJson(*decisions, fleet);
    const auto again = DecisionsFromJson(written, fleet, dropped);
    FORESHADOW_CHECK(again.ok());
    FORESHADOW_CHECK(DecisionsToJson(*again, fleet) == written);
  }
  if (const auto explanation = ExplanationFromJson(text, fleet); explanation.ok()) {
    const std::string written = ExplanationToJson(*explanation, fleet);
    FORESHADOW_CHECK(ExplanationFromJson(written, fleet).ok());
    FORESHADOW_CHECK(!Words(*explanation).empty());
  }
  return 0;
}
