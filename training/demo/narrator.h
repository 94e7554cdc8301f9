// Tells people what happens in the demo, one plan after the other, and keeps the fingerprint of all
// that was decided.
#pragma once

#include <array>
#include <cstdint>
#include <deque>
#include <map>
#include <set>
#include <string>

#include "foreshadow/v1/plans.pb.h"

namespace foreshadow::training {

class Narrator {
 public:
  Narrator(double risk_threshold, int64_t step_ms)
      : risk_threshold_(risk_threshold), step_ms_(step_ms) {}

  // Prints what is new in the plan: warnings, shadows, splits, overloads, a line an hour.
  void Tell(const v1::Plan& plan);

  // SHA-256 of every action decided so far, as hexadecimal: equal runs have equal ones.
  std::string digest() const;

 private:
  void TellAlerts(const v1::Plan& plan);
  void TellWarnings(const v1::Plan& plan);
  void TellOverloads(const v1::Plan& plan);
  void TellActions(const v1::Plan& plan);
  void TellHour(const v1::Plan& plan);

  double risk_threshold_;
  int64_t step_ms_;
  std::set<std::string> warned_;      // cells
  std::set<std::string> overloaded_;  // cells, as served
  std::set<std::string> would_be_;    // cells, had nothing been moved
  std::set<uint64_t> settled_;        // actions
  std::map<std::string, int64_t> alerts_told_ms_;
  std::deque<v1::Plan> past_;  // newest first
  std::string decisions_;
};

}  // namespace foreshadow::training
