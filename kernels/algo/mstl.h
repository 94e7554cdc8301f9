// MSTL (Bandara, Hyndman and Bergmeir 2021): STL for each season in turn on what the other seasons
// leave, a few times over. Written over the two things it needs of a backend.
#pragma once

#include <limits>
#include <span>
#include <string_view>

#include "kernels/algo/portable.h"
#include "kernels/ops.h"

namespace foreshadow::kernels {

// Empty = valid; else what is wrong.
std::string_view CheckMstl(std::span<const StlParams> seasons, int64_t steps);

struct MstlMemory {
  StepMajor<float> rest;           // what the other seasons leave
  std::span<float> base;           // [series] taken off, so that floats keep their precision
  std::span<SeriesStatus> status;  // [series] of one STL
  std::span<std::byte> stl;        // its workspace
};

// Bytes of a workspace in which an STL of any of the seasons needs `stl_bytes`.
size_t MstlBytes(int64_t steps, int64_t series, size_t stl_bytes);
MstlMemory CarveMstl(const MstlArgs& args);

// Backend::Stl(StlArgs) decomposes; Backend::ForCells(args, steps, f) calls f(step, series) for
// each.
template <typename Backend>
void RunMstl(const MstlArgs& args) {
  const MstlMemory memory = CarveMstl(args);
  const int seasons = static_cast<int>(args.seasons.size());
  const int rounds = (seasons > 1 ? args.iterations : 1) * seasons;
  for (int round = 0; round < rounds; ++round) {
    const int season = round % seasons;
    const bool is_first = round == 0;
    Backend::ForCells(args, args.observed.steps, [=] FORESHADOW_PORTABLE(int64_t step, int64_t s) {
      float rest = args.observed.at(step, s);
      if (!is_first) rest -= memory.base[s];
      for (int other = 0; other < seasons; ++other) {
        if (other != season && other < round) rest -= args.seasonal[other].at(step, s);
      }
      memory.rest.at(step, s) = rest;
    });
    Backend::Stl(StlArgs{args.seasons[season], memory.rest, args.seasonal[season], args.trend,
                         args.remainder, args.weights, memory.status, memory.stl, args.stream});
    // The first thing that is wrong with a series is what is said of it: what comes after is NaN.
    Backend::ForCells(args, 1, [=] FORESHADOW_PORTABLE(int64_t, int64_t s) {
      if (is_first) args.status[s] = SeriesStatus::kOk;
      if (args.status[s] == SeriesStatus::kOk) args.status[s] = memory.status[s];
      if (is_first) memory.base[s] = args.trend.at(0, s);
    });
  }
  const bool based = rounds > 1;
  Backend::ForCells(args, args.observed.steps, [=] FORESHADOW_PORTABLE(int64_t step, int64_t s) {
    const bool ok = args.status[s] == SeriesStatus::kOk;
    const float spoil = ok ? 0 : std::numeric_limits<float>::quiet_NaN();
    for (int season = 0; season < seasons; ++season) args.seasonal[season].at(step, s) += spoil;
    args.trend.at(step, s) += (based ? memory.base[s] : 0) + spoil;
    args.remainder.at(step, s) += spoil;
    if (args.weights.data != nullptr) args.weights.at(step, s) += spoil;
  });
}

}  // namespace foreshadow::kernels
