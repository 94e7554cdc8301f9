// Exponential smoothing with additive errors: simple, with a damped trend, or with an additive
// season (Hyndman, Koehler, Ord and Snyder 2008, "Forecasting with exponential smoothing", chapters
// 2 and 6; Winters' form of the parameters, as in R's HoltWinters). One series at a time, double
// precision, no allocation but for the season. Pure functions, any thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace foreshadow::models {

struct EtsParams {
  double alpha = 0.3;  // level, 0..1
  double beta = 0;     // trend, 0..1; 0 with trend 0 = none
  double phi = 1;      // damping of the trend
  double gamma = 0;    // season, 0..1
};

struct EtsState {
  double level = 0;
  double trend = 0;
  std::vector<double> season;  // empty = none; [0] belongs to the next step
};

// Runs over the samples (NaN = missing: the state moves on without an error) and leaves `state`
// behind the last. Errors of one step, NaN where a sample is missing, go to `errors` if it is not
// empty. Returns the sum of squares of the errors from `scored` on.
double SmoothEts(const EtsParams& params, std::span<const double> samples, int64_t scored,
                 EtsState& state, std::span<double> errors);

double ForecastEts(const EtsParams& params, const EtsState& state, int step);  // 1 = next

// How much an error of one step moves the forecasts behind it: out[j] of the sample j steps on,
// out[0] = 1. The error at a distance is the sum of weights and errors between.
void WeightsEts(const EtsParams& params, const EtsState& state, std::span<float> out);

enum class EtsKind : uint8_t { kSimple, kDampedTrend, kSeasonal };

int ParametersOf(EtsKind kind);  // that a fit chooses

struct EtsFit {
  EtsKind kind = EtsKind::kSimple;
  EtsParams params;
  EtsState state;              // behind the last sample
  double squared_error = 0;    // sum from `scored` on
  std::vector<double> errors;  // of one step, from `scored` on; NaN where a sample is missing

  // Akaike's criterion on the scored errors, up to what all kinds share.
  double Aic() const;
};

// The parameters with the least sum of squares from `scored` on, by a search on a grid that halves
// until 1/64 of their range, from `start`. Parameters that the kind does not have stay at their
// defaults.
EtsFit FitEts(EtsKind kind, std::span<const double> samples, int64_t scored, const EtsState& start);

}  // namespace foreshadow::models
