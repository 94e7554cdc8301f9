// Stage 3: what each series looks like - periods, season and trend, spikes, level shifts, and
// how far the mutation rate runs ahead of each resource. A rota analyses a part of the series at
// each tick, so that a tick's cost does not depend on how deep the analysis goes.
#pragma once

#include <cstdint>
#include <memory>
#include <vector>

#include "absl/status/status.h"
#include "models/parallel.h"
#include "service/analyze/arena.h"
#include "service/history/device_window.h"
#include "service/history/window.h"
#include "service/tick/settings.h"
#include "service/tick/types.h"

namespace foreshadow {

// Each account's mutation rate against each of its resources, at every lag.
struct LagTables {
  int64_t lags = 0;
  int64_t pairs = 0;                   // accounts * kResources
  std::vector<float> correlations;     // [lag][account * kResources + resource]; NaN = not judged
  std::vector<float> effective_pairs;  // likewise
};

struct PatternMemory {
  // [series]; shared with published reports, so it is copied before it changes while one is read.
  std::shared_ptr<std::vector<SeriesPattern>> series =
      std::make_shared<std::vector<SeriesPattern>>();
  std::vector<int32_t> period_steps;  // [series] the strongest period, 0 = none
  // [series] mean absolute change from one step to the next: the scale that makes errors of
  // different series comparable (MASE, Hyndman and Koehler 2006); 0 = constant, NaN = too short.
  std::vector<float> naive_scale;
  LagTables lags;
  // Of the last turn of the rota; shared with published reports.
  std::shared_ptr<const std::vector<PooledLead>> pooled_leads =
      std::make_shared<const std::vector<PooledLead>>();
  int64_t pooled_pairs = 0;       // of which they are
  int64_t analyzed_accounts = 0;  // accounts below this have been analysed at least once
};

// Analyses the accounts whose turn it is, and all that are new.
void Analyze(const WindowView& window, const AnalyzeSettings& settings, uint64_t tick_count,
             PatternMemory& memory, const models::Stop& stop = nullptr);

// A backend beside the CPU, a GPU say: its copy of the window, and room to work in.
struct AnalyzeDevice {
  explicit AnalyzeDevice(const kernels::Ops& ops) : window(ops), arena(ops) {}

  DeviceWindow window;
  Arena arena;
  // What is worked on at once takes about so much beside the window: thousands of accounts.
  int64_t work_bytes = int64_t{4} << 30;
};

// The same there. RESOURCE_EXHAUSTED: it has no room; INTERNAL: what it says. Then its memory is
// free, `memory` is partly of this tick, and Analyze is to do it all; the next tick may try again.
absl::Status AnalyzeOn(AnalyzeDevice& device, const Window& window, const AnalyzeSettings& settings,
                       uint64_t tick_count, PatternMemory& memory,
                       const models::Stop& stop = nullptr);

// Takes the leads of each application's accounts together, at the end of each turn of the rota and
// when there are new accounts.
// Accounts of unknown application are left out.
void PoolLeads(const Fleet& fleet, const AnalyzeSettings& settings, uint64_t tick_count,
               PatternMemory& memory);

// The strongest period of each series, in steps; 0 = none found.
std::vector<int32_t> StrongestPeriods(kernels::StepMajor<const float> observed,
                                      double significance);

}  // namespace foreshadow
