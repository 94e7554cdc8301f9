#include "service/plan/risk.h"

#include <algorithm>
#include <cmath>

namespace foreshadow {
namespace {

constexpr double kZ95 = 1.6448536269514722;  // standard normal quantile of 0.95

constexpr double kZNone = 6;  // so many deviations below it nothing is exceeded
constexpr double kSqrt2 = 1.4142135623730951;
constexpr double kInverseSqrt2Pi = 0.3989422804014327;

}  // namespace

Tail TailOf(double capacity, double mean, double deviation) {
  if (capacity <= 0) return {};
  if (deviation <= 0) return {mean > capacity ? 1.0 : 0.0, std::max(0.0, mean - capacity)};
  const double z = (capacity - mean) / deviation;
  if (z > kZNone) return {};
  const double chance = 0.5 * std::erfc(z / kSqrt2);
  const double density = kInverseSqrt2Pi * std::exp(-0.5 * z * z);
  return {chance, std::max(0.0, deviation * (density - z * chance))};
}

double Deviation(const CellForecast& forecast, const CellErrorMemory& errors, int32_t cell,
                 int resource, int step) {
  const double independent = std::max(0.0, forecast.variance[resource][step]);
  if (independent == 0 || errors.excess.empty()) return std::sqrt(independent);
  return std::sqrt(independent + std::max(0.0, errors.excess[cell][resource][step]));
}

CellRisk RiskOfCell(const std::vector<Cell>& cells, int32_t cell, const CellForecast& forecast,
                    const CellErrorMemory& errors, double threshold, int64_t now_ms,
                    int64_t step_ms) {
  const Resources& capacity = cells[cell].capacity;
  CellRisk risk;
  risk.cell = cell;
  risk.steps = forecast.steps;
  int first_likely = forecast.steps;
  for (int r = 0; r < kResources; ++r) {
    for (int step = 0; step < forecast.steps; ++step) {
      const double chance =
          TailOf(capacity[r], forecast.mean[r][step], Deviation(forecast, errors, cell, r, step))
              .chance;
      if (chance >= threshold) first_likely = std::min(first_likely, step);
      if (chance > risk.probability) {
        risk.probability = chance;
        risk.resource = r;
      }
    }
  }
  if (first_likely < forecast.steps) risk.expected_ms = now_ms + (first_likely + 1) * step_ms;
  risk.capacity = capacity[risk.resource];
  const int64_t quarter_steps = std::max<int64_t>(1, 15 * 60'000 / step_ms);
  for (int step = 0; step < forecast.steps; ++step) {
    const double mean = forecast.mean[risk.resource][step];
    const double deviation = Deviation(forecast, errors, cell, risk.resource, step);
    risk.p50[step] = mean;
    risk.p95[step] = mean + kZ95 * deviation;
    risk.step_probability[step] = TailOf(risk.capacity, mean, deviation).chance;
    if (step < quarter_steps) {
      risk.within_15 = std::max(risk.within_15, risk.step_probability[step]);
    }
  }
  return risk;
}

std::vector<CellRisk> RiskOfCells(const std::vector<Cell>& cells,
                                  const std::vector<CellForecast>& forecasts,
                                  const CellErrorMemory& errors, double threshold, int64_t now_ms,
                                  int64_t step_ms) {
  std::vector<CellRisk> risks;
  risks.reserve(forecasts.size());
  for (size_t c = 0; c < forecasts.size(); ++c) {
    risks.push_back(RiskOfCell(cells, static_cast<int32_t>(c), forecasts[c], errors, threshold,
                               now_ms, step_ms));
  }
  return risks;
}

Utilisation UtilisationOf(const std::vector<Cell>& cells, int32_t cell,
                          const CellForecast& forecast, const CellErrorMemory& errors) {
  const Resources& capacity = cells[cell].capacity;
  Utilisation worst;
  for (int r = 0; r < kResources; ++r) {
    if (capacity[r] <= 0) continue;
    for (int step = 0; step < forecast.steps; ++step) {
      const double mean = forecast.mean[r][step];
      const double p95 = mean + kZ95 * Deviation(forecast, errors, cell, r, step);
      worst.expected = std::max(worst.expected, mean / capacity[r]);
      worst.p95 = std::max(worst.p95, p95 / capacity[r]);
    }
  }
  return worst;
}

}  // namespace foreshadow
