#include "service/plan/lead.h"

#include <algorithm>
#include <cmath>

namespace foreshadow {
namespace {

constexpr double kStateUnknownBytes = kGib;  // of an account whose memory is not measured
constexpr double kRemembered = 0.9;          // about the last 10 creations tell
constexpr double kSurpriseMax = 4;           // times what was expected
constexpr double kSlopeRangeMax = 16;        // times the network as configured, and a part of it
constexpr double kPriorBytesBytes = kGib * kGib;  // as a creation that is a GiB off the mean
constexpr double kRounding = 1e-9;

// Ridge regression: argmin over fixed part and slope of
// sum of w (ms - fixed - slope bytes)^2 + kPriorBytesBytes (slope - prior)^2.
CreationLine LineOf(const CreationSums& s, double prior, double network) {
  if (s.weight <= 0) return {0, prior};
  const double mean_bytes = s.bytes / s.weight;
  const double mean_ms = s.ms / s.weight;
  const double bytes_bytes = std::max(0.0, s.bytes_bytes - s.bytes * mean_bytes);
  const double bytes_ms = s.bytes_ms - s.bytes * mean_ms;
  const double slope =
      std::clamp((bytes_ms + kPriorBytesBytes * prior) / (bytes_bytes + kPriorBytesBytes),
                 network / kSlopeRangeMax, network * kSlopeRangeMax);
  return {std::max(0.0, mean_ms - slope * mean_bytes), slope};
}

}  // namespace

Leads LeadsOf(const std::vector<CreationSums>& creations, double network_bytes_per_s) {
  const double network = 1'000 / network_bytes_per_s;
  CreationSums sum;
  for (const CreationSums& s : creations) {
    sum.weight += s.weight;
    sum.bytes += s.bytes;
    sum.ms += s.ms;
    sum.bytes_bytes += s.bytes_bytes;
    sum.bytes_ms += s.bytes_ms;
  }
  Leads leads{LineOf(sum, network, network), {}};
  for (const CreationSums& s : creations) {
    leads.cells.push_back(s.weight > 0 ? LineOf(s, leads.all.ms_per_byte, network) : leads.all);
  }
  return leads;
}

void LearnCreation(double bytes, double seen_after_ms, double expected_ms, int64_t step_ms,
                   CreationSums& sums) {
  const auto step = static_cast<double>(step_ms);
  const double took_ms =
      std::clamp(seen_after_ms - step / 2, 0.0, kSurpriseMax * std::max(expected_ms, step));
  sums.weight = kRemembered * sums.weight + 1;
  sums.bytes = kRemembered * sums.bytes + bytes;
  sums.ms = kRemembered * sums.ms + took_ms;
  sums.bytes_bytes = kRemembered * sums.bytes_bytes + bytes * bytes;
  sums.bytes_ms = kRemembered * sums.bytes_ms + bytes * took_ms;
}

double StateBytes(const AccountForecasts& forecasts, int32_t account) {
  const double bytes = forecasts.at(account, static_cast<int>(SignalKind::kMemory), 0).mean;
  return bytes > 0 ? bytes : kStateUnknownBytes;
}

int LeadSteps(double lead_ms, int64_t step_ms) {
  const double steps = std::ceil(lead_ms / static_cast<double>(step_ms) - kRounding);
  return static_cast<int>(std::clamp(steps, 1.0, static_cast<double>(kHorizonStepsMax)));
}

}  // namespace foreshadow
