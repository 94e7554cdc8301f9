// Calendar events for the additive model: CSV with the header name,start,end, a line an occasion.
#pragma once

#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "models/prophet/extras.h"

namespace foreshadow::training {

// Lines of one name are windows of one event; a window is [start, end), times as ParseTime takes
// them. Errors as CsvReader's and ParseTime's; INVALID_ARGUMENT with file and line for another
// header, an empty name, an end that is not after its start, or too many names; the file must have
// at least one line.
absl::StatusOr<std::vector<models::ProphetEvent>> ReadEvents(const std::string& path);

}  // namespace foreshadow::training
