#include "models/ets/smoothing.h"

#include <algorithm>
#include <cmath>

namespace foreshadow::models {
namespace {

constexpr double kStepFirst = 0.25;
constexpr double kStepLast = 1.0 / 64;
constexpr double kPhiMin = 0.8;  // as Hyndman: below, the trend is gone after a few steps
constexpr double kPhiMax = 0.98;

// One parameter of the search, and its bounds.
struct Free {
  double EtsParams::*parameter;
  double low;
  double high;
};

std::vector<Free> FreeParameters(EtsKind kind) {
  std::vector<Free> free = {{&EtsParams::alpha, 0.001, 1}};
  if (kind == EtsKind::kDampedTrend) {
    free.push_back({&EtsParams::beta, 0, 1});
    free.push_back({&EtsParams::phi, kPhiMin, kPhiMax});
  }
  if (kind == EtsKind::kSeasonal) free.push_back({&EtsParams::gamma, 0, 1});
  return free;
}

EtsParams StartOf(EtsKind kind) {
  EtsParams params;
  if (kind == EtsKind::kDampedTrend) {
    params.beta = 0.1;
    params.phi = 0.9;
  }
  if (kind == EtsKind::kSeasonal) params.gamma = 0.1;
  return params;
}

}  // namespace

double SmoothEts(const EtsParams& p, std::span<const double> samples, int64_t scored,
                 EtsState& state, std::span<double> errors) {
  const double beta = p.alpha * p.beta;
  const double gamma = p.gamma * (1 - p.alpha);
  const size_t period = state.season.size();
  double level = state.level;
  double trend = state.trend;
  double squares = 0;
  size_t phase = 0;
  for (size_t t = 0; t < samples.size(); ++t) {
    const double before = level + p.phi * trend;
    double season = 0;
    if (period > 0) season = state.season[phase];
    double error = samples[t] - before - season;
    if (!errors.empty()) errors[t] = error;
    if (std::isnan(error)) error = 0;
    level = before + p.alpha * error;
    trend = p.phi * trend + beta * error;
    if (period > 0) {
      state.season[phase] = season + gamma * error;
      phase = phase + 1 == period ? 0 : phase + 1;
    }
    if (static_cast<int64_t>(t) >= scored) squares += error * error;
  }
  state.level = level;
  state.trend = trend;
  std::rotate(state.season.begin(), state.season.begin() + static_cast<int64_t>(phase),
              state.season.end());
  return squares;
}

double ForecastEts(const EtsParams& p, const EtsState& state, int step) {
  double damped = 0;
  double factor = 1;
  for (int i = 0; i < step; ++i) {
    factor *= p.phi;
    damped += factor;
  }
  const size_t period = state.season.size();
  const double season = period > 0 ? state.season[static_cast<size_t>(step - 1) % period] : 0;
  return state.level + damped * state.trend + season;
}

void WeightsEts(const EtsParams& p, const EtsState& state, std::span<float> out) {
  const size_t period = state.season.size();
  double damped = 0;
  double factor = 1;
  for (size_t j = 0; j < out.size(); ++j) {
    double weight = 1;
    if (j > 0) {
      factor *= p.phi;
      damped += factor;
      weight = p.alpha + p.alpha * p.beta * damped;
      if (period > 0 && j % period == 0) weight += p.gamma * (1 - p.alpha);
    }
    out[j] = static_cast<float>(weight);
  }
}

int ParametersOf(EtsKind kind) {
  return kind == EtsKind::kSimple ? 1 : kind == EtsKind::kSeasonal ? 2 : 3;
}

double EtsFit::Aic() const {
  const auto seen = std::ranges::count_if(errors, [](double e) { return !std::isnan(e); });
  const auto n = static_cast<double>(std::max<int64_t>(seen, 1));
  return n * std::log(std::max(squared_error / n, 1e-300)) + 2 * ParametersOf(kind);
}

EtsFit FitEts(EtsKind kind, std::span<const double> samples, int64_t scored,
              const EtsState& start) {
  EtsFit fit;
  fit.kind = kind;
  fit.params = StartOf(kind);
  EtsState state;
  const auto squares = [&](const EtsParams& params) {
    state = start;
    return SmoothEts(params, samples, scored, state, {});
  };
  fit.squared_error = squares(fit.params);
  const std::vector<Free> free = FreeParameters(kind);
  for (double step = kStepFirst; step >= kStepLast;) {
    bool better = false;
    for (const Free& f : free) {
      for (const double sign : {1.0, -1.0}) {
        EtsParams tried = fit.params;
        tried.*f.parameter =
            std::clamp(tried.*f.parameter + sign * step * (f.high - f.low), f.low, f.high);
        if (tried.*f.parameter == fit.params.*f.parameter) continue;
        const double error = squares(tried);
        if (error >= fit.squared_error) continue;
        fit.squared_error = error;
        fit.params = tried;
        better = true;
        break;
      }
    }
    if (!better) step /= 2;
  }
  fit.state = start;
  fit.errors.resize(samples.size());
  SmoothEts(fit.params, samples, scored, fit.state, fit.errors);
  fit.errors.erase(fit.errors.begin(), fit.errors.begin() + scored);
  return fit;
}

}  // namespace foreshadow::models
