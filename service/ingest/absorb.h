// Stage 1 as the tick sees it: the samples are valid and durable by now; accounts and what cells
// say of themselves enter the engine's memory.
#pragma once

#include <memory>
#include <string>
#include <unordered_map>
#include <vector>

#include "service/tick/types.h"

namespace foreshadow {

// Adds or replaces accounts by id. Returns a new fleet when anything changed, else the same one.
std::shared_ptr<const Fleet> AbsorbAccounts(const std::vector<Account>& accounts,
                                            std::shared_ptr<const Fleet> fleet,
                                            std::unordered_map<std::string, int32_t>& index);

void AbsorbReports(const std::vector<CellReport>& reports, std::vector<bool>& reachable);

}  // namespace foreshadow
