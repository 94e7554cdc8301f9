#include "service/monitor/measures.h"

#include <algorithm>

#include "service/plan/demand.h"

namespace foreshadow {
namespace {

struct Sides {
  const SideMeasure* primary = nullptr;
  int primaries_count = 0;
  const SideMeasure* shadow = nullptr;
  bool failed_over = false;
};

Measured RequestsOf(const SideMeasure& side) {
  return {side.requests, side.failed, side.slow, side.p50_ms, side.p99_ms};
}

AccountMeasures Together(const SideMeasure& primary, const SideMeasure& shadow) {
  AccountMeasures m;
  // Totals that were read for the first time are of nobody knows how long.
  m.known = primary.seconds > 0 && shadow.seconds > 0;
  m.age_s = std::max(primary.age_ms, shadow.age_ms) / 1'000;
  m.seconds = primary.seconds;
  m.warmth = shadow.warmth;
  m.primary = RequestsOf(primary);
  m.shadow = RequestsOf(shadow);
  m.primary_in_flight = primary.in_flight;
  m.clients_behind = std::max(primary.clients_behind, shadow.clients_behind);
  return m;
}

// Of an account whose primary is ill: all its requests are at the shadow.
AccountMeasures Alone(const SideMeasure& shadow) {
  SideMeasure nobody;
  nobody.seconds = shadow.seconds;
  return Together(nobody, shadow);
}

}  // namespace

std::vector<AccountMeasures> MeasuresOf(
    const Fleet& fleet, const std::unordered_map<std::string, int32_t>& account_index,
    const std::vector<Shadow>& shadows, std::span<const SideMeasure> sides) {
  std::vector<AccountMeasures> measures;
  if (sides.empty()) return measures;
  std::unordered_map<int32_t, Sides> by_account;
  std::unordered_map<std::string, const SideMeasure*> by_instance;
  for (const SideMeasure& side : sides) {
    by_instance[side.instance_id] = &side;
    const auto account = account_index.find(side.account);
    if (side.shadow || account == account_index.end()) continue;
    Sides& of = by_account[account->second];
    of.primary = &side;
    ++of.primaries_count;
  }
  for (const Shadow& shadow : shadows) {
    const auto told = by_instance.find(shadow.instance_id);
    if (!Serves(shadow.state) || told == by_instance.end() || !told->second->shadow) continue;
    Sides& of = by_account[shadow.account];
    of.shadow = told->second;
    of.failed_over = shadow.failed_over;
  }
  measures.resize(fleet.accounts.size());
  for (const auto& [account, of] : by_account) {
    if (of.shadow == nullptr || of.shadow->account != fleet.accounts[account].id) continue;
    if (of.failed_over) {
      measures[account] = Alone(*of.shadow);
    } else if (of.primaries_count == 1) {
      measures[account] = Together(*of.primary, *of.shadow);
    }
  }
  return measures;
}

}  // namespace foreshadow
