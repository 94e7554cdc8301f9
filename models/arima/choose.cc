#include "models/arima/choose.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace foreshadow::models {
namespace {

constexpr double kKpss5Percent = 0.463;  // table 1 of the paper
constexpr int kDifferencesMax = 2;
constexpr double kRootMin = 1.01;
constexpr int kModelsMax = 94;  // as auto.arima
constexpr double kWorthwhile = 1e-6;

void DropMissing(std::vector<double>& samples) {
  std::erase_if(samples, [](double x) { return std::isnan(x); });
}

void DifferenceOnce(std::vector<double>& samples, int lag) {
  for (int64_t t = std::ssize(samples) - 1; t >= lag; --t) samples[t] -= samples[t - lag];
  samples.erase(samples.begin(), samples.begin() + std::min<int64_t>(lag, std::ssize(samples)));
}

int DifferencesOf(std::vector<double>& x) {
  int d = 0;
  DropMissing(x);
  while (d < kDifferencesMax && KpssStatistic(x) > kKpss5Percent) {
    DifferenceOnce(x, 1);
    ++d;
  }
  return d;
}

// An autoregression near the unit circle should have been differenced. A moving average may come as
// close as the search goes: that is a level that hardly moves, and the likelihood is exact there
// (auto.arima keeps both away, whose estimates while it searches are not).
bool WellInside(const ArimaFit& fit) {
  const ArimaOrder& o = fit.order;
  const ArimaCoefficients& c = fit.coefficients;
  // A seasonal polynomial in B^period has the period-th roots of its own; hence the power.
  return RootsBeyond(std::span(c.ar).first(static_cast<size_t>(o.p)), kRootMin) &&
         RootsBeyond(std::span(c.seasonal_ar).first(static_cast<size_t>(o.seasonal_p)),
                     std::pow(kRootMin, o.period));
}

// The walk: keeps the best model and what was tried.
class Walk {
 public:
  Walk(const ArimaSamples& samples, ArimaFitter& fitter) : samples_(samples), fitter_(fitter) {}

  // True if the order is new, allowed and better than all before.
  bool Try(const ArimaOrder& order) {
    if (!Allowed(order) || std::ranges::find(tried_, order) != tried_.end()) return false;
    tried_.push_back(order);
    const ArimaFit fit = fitter_.Fit(order, samples_, found_ ? &best_ : nullptr, kChoiceTolerance);
    if (!std::isfinite(fit.aicc) || !WellInside(fit)) return false;
    if (found_ && fit.aicc >= best_.aicc - kWorthwhile) return false;
    best_ = fit;
    found_ = true;
    return true;
  }

  ArimaChoice Finish() {
    ArimaChoice choice;
    choice.found = found_;
    choice.models = static_cast<int>(tried_.size());
    if (!found_) return choice;
    choice.fit = fitter_.Fit(best_.order, samples_, &best_, kFitTolerance);
    return choice;
  }

  const ArimaOrder& best() const { return best_.order; }
  bool found() const { return found_; }
  bool Exhausted() const { return tried_.size() >= kModelsMax; }

 private:
  static bool Allowed(const ArimaOrder& o) {
    return o.p >= 0 && o.p <= kArmaMax && o.q >= 0 && o.q <= kArmaMax && o.seasonal_p >= 0 &&
           o.seasonal_p <= kSeasonalArmaMax && o.seasonal_q >= 0 &&
           o.seasonal_q <= kSeasonalArmaMax && o.Parameters() <= kArimaParametersMax &&
           (o.period > 0 || o.seasonal_p + o.seasonal_q == 0) &&
           (!o.constant || o.d + o.seasonal_d <= 1);
  }

  const ArimaSamples& samples_;
  ArimaFitter& fitter_;
  std::vector<ArimaOrder> tried_;
  ArimaFit best_;
  bool found_ = false;
};

// Steps in (p, q, P, Q), in the order in which auto.arima tries them.
constexpr int kSteps[][4] = {{0, 0, -1, 0},  {0, 0, 0, -1}, {0, 0, 1, 0},  {0, 0, 0, 1},
                             {0, 0, -1, -1}, {0, 0, -1, 1}, {0, 0, 1, -1}, {0, 0, 1, 1},
                             {-1, 0, 0, 0},  {0, -1, 0, 0}, {1, 0, 0, 0},  {0, 1, 0, 0},
                             {-1, -1, 0, 0}, {-1, 1, 0, 0}, {1, -1, 0, 0}, {1, 1, 0, 0}};

bool StepToNeighbour(Walk& walk) {
  const ArimaOrder from = walk.best();
  for (const auto& step : kSteps) {
    ArimaOrder order = from;
    order.p += step[0];
    order.q += step[1];
    order.seasonal_p += step[2];
    order.seasonal_q += step[3];
    if (walk.Try(order)) return true;
  }
  ArimaOrder order = from;
  order.constant = !order.constant;
  return walk.Try(order);
}

}  // namespace

double KpssStatistic(std::span<const double> samples) {
  const auto n = static_cast<int64_t>(samples.size());
  if (n < 3) return 0;
  double mean = 0;
  for (const double x : samples) mean += x / static_cast<double>(n);
  const auto lags = static_cast<int64_t>(3 * std::sqrt(static_cast<double>(n)) / 13);
  double partial = 0;
  double partials = 0;  // sum of squared partial sums
  std::vector<double> centred(samples.size());
  for (int64_t t = 0; t < n; ++t) {
    centred[t] = samples[t] - mean;
    partial += centred[t];
    partials += partial * partial;
  }
  double variance = 0;  // long-run, times n
  for (int64_t lag = 0; lag <= lags; ++lag) {
    double sum = 0;
    for (int64_t t = lag; t < n; ++t) sum += centred[t] * centred[t - lag];
    const double weight = 1 - static_cast<double>(lag) / static_cast<double>(lags + 1);
    variance += lag == 0 ? sum : 2 * weight * sum;
  }
  if (!(variance > 0)) return 0;
  return partials / (static_cast<double>(n) * variance);
}

int Differences(std::span<const double> samples) {
  std::vector<double> x(samples.begin(), samples.end());
  return DifferencesOf(x);
}

ArimaChoice ChooseArima(std::span<const double> samples, int period, int seasonal_d,
                        ArimaFitter& fitter, ArimaSamples& prepared) {
  std::vector<double> x(samples.begin(), samples.end());
  DropMissing(x);
  if (seasonal_d > 0) DifferenceOnce(x, period);
  const int d = DifferencesOf(x);
  if (!prepared.Prepare(samples, d, seasonal_d, period)) return {};
  Walk walk(prepared, fitter);
  ArimaOrder order;
  order.d = d;
  order.seasonal_d = seasonal_d;
  order.period = period;
  order.constant = d + seasonal_d <= 1;
  const int season = period > 0 ? 1 : 0;
  const int starts[][4] = {
      {2, 2, season, season}, {0, 0, 0, 0}, {1, 0, season, 0}, {0, 1, 0, season}};
  for (const auto& start : starts) {
    order.p = start[0];
    order.q = start[1];
    order.seasonal_p = start[2];
    order.seasonal_q = start[3];
    walk.Try(order);
  }
  ArimaOrder plain = order;
  plain.p = plain.q = plain.seasonal_p = plain.seasonal_q = 0;
  plain.constant = false;
  walk.Try(plain);
  while (walk.found() && !walk.Exhausted() && StepToNeighbour(walk)) {
  }
  return walk.Finish();
}

}  // namespace foreshadow::models
