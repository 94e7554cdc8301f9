// What is done with series once they are read, whatever they came by.
#pragma once

#include <cmath>
#include <string>
#include <utility>
#include <vector>

#include "kernels/check.h"
#include "service/receive/pending.h"
#include "service/receive/receiver.h"

namespace foreshadow::fuzz {

inline receive::Labels SeedLabels(int i) {
  return {{"__name__", i == 0 ? "cpu_seconds_total" : "memory"},
          {"namespace", "shop"},
          {"cell", i == 2 ? "b" : "a"},
          {"pod", "web-" + std::to_string(i)}};
}

inline const receive::Rules& FuzzRules() {
  static const receive::Rules rules = [] {
    ReceiveRule cpu;
    cpu.metric = "cpu.*";
    cpu.match = {{"pod", "web.*"}};
    cpu.account = "{namespace}/{pod}";
    cpu.cell = "{cell}";
    ReceiveRule memory = cpu;
    memory.metric = ".*";
    memory.match = {};
    memory.signal = SignalKind::kMemory;
    auto made = receive::Rules::Create({cpu, memory});
    FORESHADOW_CHECK(made.ok());
    return *std::move(made);
  }();
  return rules;
}

// Matches, places and folds them, and holds a key to giving its labels back.
inline void UseSeries(std::vector<receive::IncomingSeries>& series) {
  constexpr int64_t kNowMs = 1'700'000'060'000;
  receive::Pending pending(60'000, 3'000, 300'000);
  for (receive::IncomingSeries& one : series) {
    if (!receive::TidyLabels(one.labels, {}).empty()) continue;
    if (one.kind == receive::SentKind::kUnreadable) continue;
    std::string key = receive::KeyOf(one.labels, one.kind);
    FORESHADOW_CHECK(receive::FromKey(key) == std::pair(one.labels, one.kind));
    const auto target = FuzzRules().Resolve(one.labels, one.kind);
    if (!target) continue;
    receive::Series& known = pending.Add(std::move(key), *target);
    for (const receive::Point& point : one.points) {
      // The receiver refuses all others before it places a point.
      if (!std::isfinite(point.value) || point.time_ms <= 0 || point.time_ms > kNowMs) continue;
      pending.Place(known, point, kNowMs);
    }
  }
  receive::FoldedStep step;
  while (pending.TakeDue(kNowMs + 600'000, step)) {
  }
  FORESHADOW_CHECK(pending.points_count() == 0);
}

}  // namespace foreshadow::fuzz
