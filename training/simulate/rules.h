// What people run today: rules on a cell's own load, of now or soon. Each says what demand it holds
// against the cell's capacity at each coming step; its accounts are then taken in proportion. Pure.
#pragma once

#include <array>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "service/tick/types.h"

namespace foreshadow::training {

using Path = std::array<double, kHorizonStepsMax>;

// What a rule sees of a cell at a tick; demand in cores.
struct RuleView {
  std::span<const double> home;  // had nothing been moved, oldest first, up to now
  std::span<const double> with;  // as served, likewise
  double capacity = 0;
  int day_steps = 288;
};

enum class Base : uint8_t { kLast, kHourMean, kHourMedian };  // what stands for an account

class Rule {
 public:
  virtual ~Rule() = default;
  virtual Base base() const { return Base::kLast; }
  // Demand at each step, on the footing of `home`, that is too much when it exceeds the capacity.
  // Called once a tick and cell, in the order of time.
  virtual void Predict(const RuleView& view, size_t cell, int steps, Path& path) = 0;
};

// Below, T is a threshold on utilisation:
//   reactive      over T = 0.8 in 2 of the last 3 steps
//   hpa           over 1.1 times its target 0.8 (the tolerance of Kubernetes' HPA) in this step
//   thr           over 0.8 in this step
//   mad, iqr      over 1 - 2.5 MAD, 1 - 1.5 IQR of the last 30 steps (Beloglazov and Buyya 2012,
//                 sections 5.1, 5.2; 0.7 until there are 12)
//   lr            1.2 times the local regression of the last 10 steps (section 5.3) over 1;
//                 over 0.7 until there are 10
//   lr-plain      lr with equal weights, as the regression of CloudSim 3.0.3 in fact is
//   linear        hpa, or the line through the last 6 steps over 0.8
//   holt-winters  hpa, or an additive season of a day with trend over 0.8; no season in the first
//   two mean-sigma, median-sigma   the last hour's mean or median, plus 1.28 deviations
// nullptr: no such rule.
std::unique_ptr<Rule> MakeRule(std::string_view name);

double MeanOf(std::span<const double> values);
double DeviationOf(std::span<const double> values);  // of a sample; 0 of one value
double MedianOf(std::vector<double> values);
// Quantile by linear interpolation between order statistics (R's type 7).
double QuantileOf(std::vector<double> values, double level);
// Value of the tricube-weighted line through the values (oldest first), `ahead` steps past the
// last.
double LocalRegression(std::span<const double> values, double ahead);
double PlainRegression(std::span<const double> values, double ahead);  // with equal weights

}  // namespace foreshadow::training
