// A small fleet whose cell runs into its capacity, told step by step to a running server.
#pragma once

#include <algorithm>
#include <cmath>
#include <string>
#include <vector>

#include "tests/integration/running_server.h"

namespace foreshadow::testing {

// Ten accounts of cell a whose demand is flat for two hours and then climbs through the cell's ten
// cores; cell b is nearly idle.
class Story {
 public:
  Story() {
    for (int i = 0; i < 10; ++i) ids_.push_back("busy-" + std::to_string(i));
    ids_.push_back("calm-0");
  }

  std::vector<v1::Account> Accounts() const {
    std::vector<v1::Account> accounts;
    for (const std::string& id : ids_) {
      accounts.push_back(MakeAccount(id, id.starts_with("busy") ? "a" : "b"));
    }
    return accounts;
  }

  v1::IngestRequest Step(int step) const {
    const double climb = std::max(0, step - kFlatSteps) * 0.01;
    std::vector<float> values;
    for (size_t i = 0; i < ids_.size(); ++i) {
      const double wiggle = 0.02 * std::sin(0.7 * step + static_cast<double>(i));
      values.push_back(static_cast<float>(i < 10 ? 0.6 + climb + wiggle : 0.5 + wiggle));
    }
    v1::IngestRequest request = CpuBatch(ids_, kStartMs + step * kStepMs, values);
    request.set_watermark_ms(kStartMs + (step + 1) * kStepMs);
    return request;
  }

  // Flat history without ticks, then a tick a step; returns the plan after each.
  std::vector<v1::Plan> Play(RunningServer& server, int first, int last) const {
    Sender sender(server);
    std::vector<v1::Plan> plans;
    for (int step = first; step < last; ++step) {
      v1::IngestRequest request = Step(step);
      if (step < kFlatSteps) request.set_watermark_ms(0);
      const v1::IngestResponse response = sender.Send(request);
      EXPECT_EQ(response.error(), "");
      if (step < kFlatSteps) continue;
      EXPECT_EQ(response.last_tick_ms(), kStartMs + step * kStepMs);
      plans.push_back(server.GetPlan());
    }
    return plans;
  }

  static constexpr int kFlatSteps = 120;

 private:
  std::vector<std::string> ids_;
};

inline bool IsSharing(const v1::Plan& plan) {
  return std::any_of(plan.shadows().begin(), plan.shadows().end(),
                     [](const v1::Shadow& s) { return s.state() == v1::SHADOW_STATE_SHARING; });
}

}  // namespace foreshadow::testing
