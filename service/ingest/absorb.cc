#include "service/ingest/absorb.h"

#include "kernels/check.h"

namespace foreshadow {

std::shared_ptr<const Fleet> AbsorbAccounts(const std::vector<Account>& accounts,
                                            std::shared_ptr<const Fleet> fleet,
                                            std::unordered_map<std::string, int32_t>& index) {
  if (accounts.empty()) return fleet;
  auto next = std::make_shared<Fleet>(*fleet);
  for (const Account& account : accounts) {
    FORESHADOW_CHECK(account.cell >= 0 && account.cell < std::ssize(next->cells));
    const auto [it, added] =
        index.try_emplace(account.id, static_cast<int32_t>(next->accounts.size()));
    if (added) {
      next->accounts.push_back(account);
    } else {
      next->accounts[it->second] = account;
    }
  }
  return next;
}

void AbsorbReports(const std::vector<CellReport>& reports, std::vector<bool>& reachable) {
  for (const CellReport& report : reports) reachable[report.cell] = report.reachable;
}

}  // namespace foreshadow
