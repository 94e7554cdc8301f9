// Decisions and explanations as JSON, as they lie in the state store and in the audit log.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "service/tick/types.h"

namespace foreshadow {

// Accounts and cells are written by id, so that a changed configuration does not misread them.
std::string DecisionsToJson(const Decisions& decisions, const Fleet& fleet);

// DATA_LOSS with the place in the text when it does not parse. Shadows and actions of accounts or
// cells that no longer exist are kept out and named in `dropped`.
absl::StatusOr<Decisions> DecisionsFromJson(const std::string& text, const Fleet& fleet,
                                            std::vector<std::string>& dropped);

std::string ExplanationToJson(const Explanation& explanation, const Fleet& fleet);
absl::StatusOr<Explanation> ExplanationFromJson(const std::string& text, const Fleet& fleet);

}  // namespace foreshadow
