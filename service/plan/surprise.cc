#include "service/plan/surprise.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_set>
#include <utility>

#include "models/parallel.h"

namespace foreshadow {
namespace {

constexpr double kHalfLifeMs = 86'400'000;
// As good as so many surprises that went on as was foreseen: a few teach next to nothing.
constexpr double kPriorCount = 10;
constexpr double kStands = 0.5;           // of its rise: with less of it left a surprise is over
constexpr double kLeastShare = 0.001;     // of a cell's capacity: a smaller rise is no matter
constexpr size_t kSurprisesMax = 50'000;  // open: 15 MB at steps of a minute

int64_t StepsAfter(const SurpriseMemory::Surprise& s, int64_t now_ms, int64_t step_ms) {
  return (now_ms - s.since_ms) / step_ms;
}

bool Stands(const SurpriseMemory::Surprise& s, const std::vector<Resources>& demand) {
  return demand[s.account][s.resource] - s.base > kStands * s.rise;
}

void Fade(int64_t step_ms, SurpriseMemory& memory) {
  const double kept = std::exp2(-static_cast<double>(step_ms) / kHalfLifeMs);
  for (auto& of_resource : memory.sums) {
    for (SurpriseMemory::Sums& sums : of_resource) {
      sums.left *= kept;
      sums.rise *= kept;
      sums.square *= kept;
    }
  }
}

void Learn(const std::vector<Resources>& demand, int64_t now_ms, int64_t step_ms,
           SurpriseMemory& memory) {
  for (const SurpriseMemory::Surprise& s : memory.open) {
    const int64_t after = StepsAfter(s, now_ms, step_ms);
    if (after < 1 || after > std::ssize(s.foreseen)) continue;
    const double left = demand[s.account][s.resource] - double{s.foreseen[after - 1]};
    SurpriseMemory::Sums& sums = memory.sums[s.resource][after - 1];
    // What else befell the account says nothing of its surprise.
    sums.left += std::clamp(left, -s.rise, s.rise);
    sums.rise += s.rise;
    sums.square += s.rise * s.rise;
  }
  std::erase_if(memory.open, [&](const SurpriseMemory::Surprise& s) {
    return StepsAfter(s, now_ms, step_ms) >= std::ssize(s.foreseen);
  });
}

std::span<const float> Quantiles(const ForecastTable& table, size_t i, int step) {
  const auto account = static_cast<int64_t>(i / kResources);
  return table.block.at(SeriesOf(account, static_cast<SignalKind>(i % kResources)), step);
}

void NoteSurprises(const Fleet& fleet, const std::vector<Resources>& demand,
                   const ForecastTable& table, int64_t now_ms, SurpriseMemory& memory) {
  std::unordered_set<size_t> standing;
  for (const SurpriseMemory::Surprise& s : memory.open) {
    if (!Stands(s, demand)) continue;
    standing.insert(static_cast<size_t>(s.account) * kResources + static_cast<size_t>(s.resource));
  }
  const size_t known = std::min(memory.highest.size(), demand.size() * kResources);
  for (size_t i = 0; i < known && memory.open.size() < kSurprisesMax; ++i) {
    const auto account = static_cast<int32_t>(i / kResources);
    const auto resource = static_cast<int32_t>(i % kResources);
    const double came = demand[account][resource];
    if (!(came > memory.highest[i])) continue;  // NaN: nobody said anything
    const double base = memory.median[i];
    const double capacity = fleet.cells[fleet.accounts[account].cell].capacity[resource];
    if (capacity <= 0 || came - base < kLeastShare * capacity || standing.contains(i)) continue;
    SurpriseMemory::Surprise surprise{account, resource, now_ms, base, came - base, {}};
    for (int step = 0; step < table.block.steps; ++step) {
      surprise.foreseen.push_back(static_cast<float>(MomentsOf(Quantiles(table, i, step)).mean));
    }
    memory.open.push_back(std::move(surprise));
  }
}

void KeepWhatIsSaid(const ForecastTable& table, size_t count, int64_t now_ms,
                    SurpriseMemory& memory) {
  memory.made_at_ms = now_ms;
  memory.median.resize(count);
  memory.highest.resize(count);
  constexpr int64_t kChunk = 4'096;
  models::ForChunks(
      static_cast<int64_t>(count), kChunk, models::ThreadCount(0),
      [&](int64_t first, int64_t last, int) {
        for (auto i = static_cast<size_t>(first); i < static_cast<size_t>(last); ++i) {
          const std::span<const float> next = Quantiles(table, i, 0);
          const bool is_point = next.front() == next.back();
          memory.median[i] = next[models::kMedian];
          memory.highest[i] = is_point ? std::numeric_limits<float>::quiet_NaN() : next.back();
        }
      });
}

}  // namespace

double ShareLeft(const SurpriseMemory& memory, int resource, int steps_after) {
  const SurpriseMemory::Sums& sums = memory.sums[resource][steps_after - 1];
  if (sums.rise <= 0) return 0;
  const double count = sums.rise * sums.rise / sums.square;
  return std::clamp(count / (count + kPriorCount) * sums.left / sums.rise, 0.0, 1.0);
}

void FollowSurprises(const Fleet& fleet, const std::vector<Resources>& demand,
                     const ForecastTable& table, int64_t now_ms, int64_t step_ms,
                     SurpriseMemory& memory) {
  Fade(step_ms, memory);
  Learn(demand, now_ms, step_ms, memory);
  if (memory.made_at_ms + step_ms == now_ms) NoteSurprises(fleet, demand, table, now_ms, memory);
  KeepWhatIsSaid(table, demand.size() * kResources, now_ms, memory);
}

std::vector<int32_t> AddSurprises(const SurpriseMemory& memory,
                                  const std::vector<Resources>& demand, int64_t now_ms,
                                  int64_t step_ms, AccountForecasts& forecasts) {
  std::vector<int32_t> raised;
  for (const SurpriseMemory::Surprise& s : memory.open) {
    if (!Stands(s, demand)) continue;
    const auto age = static_cast<int>(StepsAfter(s, now_ms, step_ms));
    const double most = s.base + s.rise;
    const int steps = std::min(forecasts.steps, static_cast<int>(std::ssize(s.foreseen)) - age);
    bool is_raised = false;
    for (int step = 0; step < steps; ++step) {
      double& mean = forecasts.at(s.account, s.resource, step).mean;
      const double more = ShareLeft(memory, s.resource, age + step + 1) * s.rise;
      if (more <= 0 || mean >= most) continue;
      mean = std::min(most, mean + more);
      is_raised = true;
    }
    if (is_raised) raised.push_back(s.account);
  }
  std::ranges::sort(raised);
  raised.erase(std::unique(raised.begin(), raised.end()), raised.end());
  return raised;
}

}  // namespace foreshadow
