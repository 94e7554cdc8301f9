#include "models/prophet/fit.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>

namespace foreshadow::models {
namespace {

constexpr double kSigmaScale = 0.5;  // of the half-normal prior of the noise
// Noise below a hundred-thousandth of the largest sample is not told from rounding.
constexpr double kVarianceMin = 1e-10;
// Of the number of samples, added to what is factored: columns that few samples cannot tell apart.
constexpr double kRounding = 1e-12;
constexpr int kStepsMax = 100;
constexpr double kTolerance = 1e-10;  // relative, of the noise's variance

// The most probable variance for a sum of squared errors: the positive root of
// v^2 / kSigmaScale^2 + n v - squares = 0.
double VarianceFor(double squares, double samples) {
  constexpr double kPrecision = 1 / (kSigmaScale * kSigmaScale);
  const double root = std::sqrt(samples * samples + 4 * kPrecision * squares);
  return std::max(2 * squares / (samples + root), kVarianceMin);
}

// Its likelihood has no maximum (the noise would vanish): Prophet leaves such a series unfitted,
// too.
bool IsConstant(const Eigen::Ref<const Eigen::VectorXd>& samples) {
  double seen = std::nan("");
  for (const double sample : samples) {
    if (std::isnan(sample)) continue;
    if (sample != seen && !std::isnan(seen)) return false;
    seen = sample;
  }
  return true;
}

}  // namespace

void ProphetFitter::Fit(const ProphetDesign& design,
                        const Eigen::Ref<const Eigen::MatrixXd>& samples,
                        std::span<ProphetFit> fits) {
  const int64_t past = design.grid.past;
  scaled_.resize(past, samples.cols());
  for (int64_t s = 0; s < samples.cols(); ++s) {
    ProphetFit& fit = fits[static_cast<size_t>(s)];
    fit.samples = 0;
    double largest = 0;
    for (const double sample : samples.col(s)) {
      if (std::isnan(sample)) continue;
      largest = std::max(largest, std::fabs(sample));
      ++fit.samples;
    }
    fit.scale = largest > 0 ? largest : 1;
    scaled_.col(s) = samples.col(s).array().isNaN().select(0.0, samples.col(s).array() / fit.scale);
  }
  products_.noalias() = design.rows.leftCols(past) * scaled_;
  for (int64_t s = 0; s < samples.cols(); ++s) {
    ProphetFit& fit = fits[static_cast<size_t>(s)];
    if (fit.samples < 2) continue;
    if (IsConstant(samples.col(s))) {
      fit.weights.setZero(design.columns());
      fit.weights[0] = scaled_.col(s).sum() / static_cast<double>(fit.samples);
      fit.sigma = std::sqrt(kVarianceMin);
      fit.held_out.assign(design.stretches.empty() ? 0 : static_cast<size_t>(fit.samples), 0.0f);
      continue;
    }
    const Eigen::MatrixXd& gram =
        fit.samples == past ? design.gram : GramOf(design, samples.col(s));
    FitOne(design, gram, products_.col(s), scaled_.col(s).squaredNorm(), fit);
    HoldOut(design, gram, products_.col(s), samples.col(s), fit);
  }
}

// The shared Gram matrix less the missing rows, or the sum over the present ones if they are fewer.
const Eigen::MatrixXd& ProphetFitter::GramOf(const ProphetDesign& design,
                                             const Eigen::Ref<const Eigen::VectorXd>& samples) {
  const int64_t missing = samples.array().isNaN().count();
  const bool subtract = 2 * missing < samples.size();
  some_rows_.resize(design.columns(), subtract ? missing : samples.size() - missing);
  int64_t count = 0;
  for (int64_t row = 0; row < samples.size(); ++row) {
    if (std::isnan(samples[row]) == subtract) some_rows_.col(count++) = design.row(row);
  }
  if (subtract) {
    gram_ = design.gram;
  } else {
    gram_.setZero(design.columns(), design.columns());
  }
  gram_.selfadjointView<Eigen::Lower>().rankUpdate(some_rows_, subtract ? -1.0 : 1.0);
  return gram_;
}

// Given the noise the posterior is a lasso in the rate changes, ridge regression in all else; given
// those the noise has a closed form. In turns both only ever raise it.
void ProphetFitter::FitOne(const ProphetDesign& design, const Eigen::MatrixXd& gram,
                           const Eigen::Ref<const Eigen::VectorXd>& products, double squares,
                           ProphetFit& fit) {
  const auto samples = static_cast<double>(fit.samples);
  fit.weights.setZero(design.columns());
  double variance = VarianceFor(squares, samples);
  double error_squares = squares;
  for (int step = 0; step < kStepsMax; ++step) {
    error_squares = Step(design, gram, products, squares, variance, fit.weights);
    const double next = VarianceFor(error_squares, samples);
    const bool settled = std::fabs(next - variance) <= kTolerance * variance;
    variance = next;
    if (settled) break;
  }
  fit.sigma = std::sqrt(variance);
  const auto smooth = fit.weights.head(design.smooth());
  fit.objective = samples * std::log(fit.sigma) + error_squares / (2 * variance) +
                  variance / (2 * kSigmaScale * kSigmaScale) +
                  design.precision.dot(smooth.cwiseAbs2()) / 2 +
                  fit.weights.tail(design.changes()).lpNorm<1>() / design.change_scale;
}

// From the latest stretch to the earliest, each taken away from what is fitted before the next fit.
void ProphetFitter::HoldOut(const ProphetDesign& design, const Eigen::MatrixXd& gram,
                            const Eigen::Ref<const Eigen::VectorXd>& products,
                            const Eigen::Ref<const Eigen::VectorXd>& samples, ProphetFit& fit) {
  fit.held_out.clear();
  earlier_gram_ = gram;
  earlier_products_ = products;
  earlier_weights_ = fit.weights;
  for (auto stretch = design.stretches.rbegin(); stretch != design.stretches.rend(); ++stretch) {
    int64_t present = 0;
    some_rows_.resize(design.columns(), stretch->count);
    for (int64_t row = stretch->first; row < stretch->first + stretch->count; ++row) {
      if (std::isnan(samples[row])) continue;
      some_rows_.col(present++) = design.row(row);
      earlier_products_ -= samples[row] / fit.scale * design.row(row);
    }
    if (present == stretch->count) {
      earlier_gram_ -= stretch->gram;
    } else {
      earlier_gram_.selfadjointView<Eigen::Lower>().rankUpdate(some_rows_.leftCols(present), -1.0);
    }
    Step(design, earlier_gram_, earlier_products_, 0, fit.sigma * fit.sigma, earlier_weights_);
    for (int64_t row = stretch->first; row < stretch->first + stretch->count; ++row) {
      if (std::isnan(samples[row])) continue;
      const double error = samples[row] - fit.scale * design.row(row).dot(earlier_weights_);
      fit.held_out.push_back(static_cast<float>(std::clamp(error, -3e38, 3e38)));
    }
  }
}

// The best weights for a variance of the noise, from where they are; returns the sum of
// squared errors. The smooth columns are eliminated, so that the lasso sees the changes alone.
double ProphetFitter::Step(const ProphetDesign& design, const Eigen::MatrixXd& gram,
                           const Eigen::Ref<const Eigen::VectorXd>& products, double squares,
                           double variance, Eigen::VectorXd& weights) {
  const int64_t smooth = design.smooth();
  const int64_t changes = design.changes();
  factor_ = gram.topLeftCorner(smooth, smooth);
  factor_.diagonal() += variance * design.precision;
  factor_.diagonal().array() += kRounding * gram(0, 0);
  Eigen::Ref<Eigen::MatrixXd> in_place(factor_);
  const Eigen::LLT<Eigen::Ref<Eigen::MatrixXd>> cholesky(in_place);
  if (cholesky.info() != Eigen::Success) return squares;  // the weights stay what they were
  target_ = products.head(smooth);
  cholesky.matrixL().solveInPlace(target_);
  auto changed = weights.tail(changes);
  if (changes > 0) {
    border_ = gram.bottomLeftCorner(changes, smooth).transpose();
    cholesky.matrixL().solveInPlace(border_);
    reduced_ = gram.bottomRightCorner(changes, changes);
    reduced_.selfadjointView<Eigen::Lower>().rankUpdate(border_.transpose(), -1.0);
    reduced_target_ = products.tail(changes);
    reduced_target_.noalias() -= border_.transpose() * target_;
    lasso_.Minimise(reduced_, reduced_target_, variance / design.change_scale, changed);
    target_.noalias() -= border_ * changed;
  }
  cholesky.matrixU().solveInPlace(target_);
  weights.head(smooth) = target_;
  const double explained =
      2 * products.dot(weights) - weights.dot(gram.selfadjointView<Eigen::Lower>() * weights);
  return std::max(0.0, squares - explained);
}

double PredictProphet(const ProphetDesign& design, const ProphetFit& fit, int64_t row) {
  return fit.scale * design.row(row).dot(fit.weights);
}

ProphetSpread SpreadProphet(const ProphetDesign& design, const ProphetFit& fit, double ahead) {
  const auto changes = static_cast<double>(design.changes());
  const double size = changes > 0 ? fit.weights.tail(design.changes()).lpNorm<1>() / changes : 0.0;
  const double reach = std::max(0.0, ahead) / static_cast<double>(design.grid.past - 1);
  // A jump of Laplace scale b at distance v from the end moves it by a Laplace law of scale b v:
  // cumulants are `changes` times the integral of 2 (b v)^2 and of 24 (b v)^4 over the reach.
  const double moved = size * reach;
  const double variance = fit.sigma * fit.sigma + changes * 2 * moved * moved * reach / 3;
  const double fourth = changes * 24 * moved * moved * moved * moved * reach / 5;
  return {fit.scale * std::sqrt(variance), fourth / (variance * variance)};
}

double OffsetProphet(const ProphetSpread& spread, double z) {
  return spread.deviation * (z + spread.excess / 24 * z * (z * z - 3));
}

}  // namespace foreshadow::models
