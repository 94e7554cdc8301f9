#include "service/journal/witness.h"

#include <span>
#include <utility>

#include "service/tick/decisions_json.h"

namespace foreshadow::journal {
namespace {

void Add(std::span<const double> values, std::string& bytes) {
  bytes.append(reinterpret_cast<const char*>(values.data()), values.size_bytes());
}

// Nearly every forecast of an account is in the demand that its cell is to expect, to the last bit.
std::string DigestOf(const std::vector<CellRisk>& risks) {
  std::string bytes;
  for (const CellRisk& risk : risks) {
    const auto steps = static_cast<size_t>(risk.steps);
    Add(std::array{risk.probability, risk.within_15, risk.capacity}, bytes);
    Add(std::span(risk.p50).first(steps), bytes);
    Add(std::span(risk.p95).first(steps), bytes);
    Add(std::span(risk.step_probability).first(steps), bytes);
  }
  return Sha256(bytes);
}

}  // namespace

absl::Status Witness::Write(const Commit& commit) {
  decided_.decisions = DecisionsToJson(*commit.decisions, *fleet_);
  for (const Explanation& e : commit.explanations) {
    decided_.explanations.emplace_back(e.action.id, ExplanationToJson(e, *fleet_));
  }
  return world_.Write(commit);
}

void Witness::Start(const Action& action) {
  decided_.started.push_back(action.id);
  world_.Start(action);
}

Decided Witness::Take(const absl::StatusOr<std::shared_ptr<const TickReport>>& report) {
  if (report.ok()) {
    decided_.risks = DigestOf((*report)->risks);
  } else {
    decided_.failed = std::string(report.status().message());
  }
  return std::move(decided_);
}

}  // namespace foreshadow::journal
