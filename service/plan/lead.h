// How long it takes from deciding on a shadow until it can serve: a fixed part - deciding, placing,
// starting, warming up - and the copy of the account's state over the network. A line for each
// cell, by least squares over what its creations took.
#pragma once

#include <cstdint>
#include <vector>

#include "service/plan/demand.h"
#include "service/tick/types.h"

namespace foreshadow {

struct CreationLine {
  double fixed_ms = 0;
  double ms_per_byte = 0;

  double of(double bytes) const { return fixed_ms + ms_per_byte * bytes; }
};

struct Leads {
  CreationLine all;                 // of cells where nothing has been created yet
  std::vector<CreationLine> cells;  // [cell]; empty = as `all`

  const CreationLine& in(int32_t cell) const { return cells.empty() ? all : cells[cell]; }
};

// The slope of a cell is drawn towards that of all cells, and theirs towards the network's as it is
// configured: creations of much the same state tell a sum, and nothing of its parts.
Leads LeadsOf(const std::vector<CreationSums>& creations, double network_bytes_per_s);

// Takes in a creation that was seen to be done `seen_after_ms` after it was begun: at some time in
// the step before that. One that took far longer than expected counts as one that took a few times
// as long.
void LearnCreation(double bytes, double seen_after_ms, double expected_ms, int64_t step_ms,
                   CreationSums& sums);

// What is copied of an account: its memory.
double StateBytes(const AccountForecasts& forecasts, int32_t account);

// The first step that it can serve, counted from the present; at least 1.
int LeadSteps(double lead_ms, int64_t step_ms);

}  // namespace foreshadow
