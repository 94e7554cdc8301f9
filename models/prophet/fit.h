// The most probable parameters (MAP) of an additive model, for many series that share a time grid.
// The prior and the posterior are Prophet's (Taylor and Letham 2018; its published Stan model).
#pragma once

#include <Eigen/Core>
#include <span>
#include <vector>

#include "models/prophet/design.h"
#include "models/prophet/lasso.h"

namespace foreshadow::models {

struct ProphetFit {
  double scale = 1;         // largest absolute sample; everything below is in its units
  Eigen::VectorXd weights;  // [column of the design]
  double sigma = 0;         // deviation of the noise
  double objective = 0;     // negative log posterior, less its constants; 0 where all are equal
  int64_t samples = 0;      // fewer than two: nothing was fitted
  // Errors (sample less forecast, in the samples' unit) in the design's stretches, each by a fit to
  // what came before it, with the same change points and noise.
  std::vector<float> held_out;
};

// Fits batches; reused from one to the next. Holds scratch: one thread at a time.
class ProphetFitter {
 public:
  // `samples` is [past][series], NaN = missing, finite otherwise; fits is [series].
  void Fit(const ProphetDesign& design, const Eigen::Ref<const Eigen::MatrixXd>& samples,
           std::span<ProphetFit> fits);

 private:
  const Eigen::MatrixXd& GramOf(const ProphetDesign& design,
                                const Eigen::Ref<const Eigen::VectorXd>& samples);
  void FitOne(const ProphetDesign& design, const Eigen::MatrixXd& gram,
              const Eigen::Ref<const Eigen::VectorXd>& products, double squares, ProphetFit& fit);
  void HoldOut(const ProphetDesign& design, const Eigen::MatrixXd& gram,
               const Eigen::Ref<const Eigen::VectorXd>& products,
               const Eigen::Ref<const Eigen::VectorXd>& samples, ProphetFit& fit);
  double Step(const ProphetDesign& design, const Eigen::MatrixXd& gram,
              const Eigen::Ref<const Eigen::VectorXd>& products, double squares, double variance,
              Eigen::VectorXd& weights);

  Lasso lasso_;
  Eigen::MatrixXd scaled_;    // [past][series], missing = 0
  Eigen::MatrixXd products_;  // [column][series]
  Eigen::MatrixXd gram_;      // of a series with gaps
  Eigen::MatrixXd some_rows_;
  Eigen::MatrixXd earlier_gram_;  // of what came before a stretch
  Eigen::VectorXd earlier_products_;
  Eigen::VectorXd earlier_weights_;
  Eigen::MatrixXd factor_;   // Cholesky factor of the smooth columns
  Eigen::MatrixXd border_;   // [smooth][changes]
  Eigen::MatrixXd reduced_;  // [changes][changes]
  Eigen::VectorXd target_;   // [smooth]
  Eigen::VectorXd reduced_target_;
};

// Value at a row of the design (past or ahead), in the samples' own unit.
double PredictProphet(const ProphetDesign& design, const ProphetFit& fit, int64_t row);

// Law of what comes `ahead` rows behind the last sample, about the prediction, in the samples' own
// unit: noise, and rate changes as frequent and as large as in the past (section 3.1.4). They are a
// Poisson stream of Laplace jumps, whose cumulants have a closed form.
struct ProphetSpread {
  double deviation = 0;
  double excess = 0;  // kurtosis above that of a normal law
};
ProphetSpread SpreadProphet(const ProphetDesign& design, const ProphetFit& fit, double ahead);

// Distance from the prediction to the quantile whose normal deviate is z (Cornish-Fisher).
double OffsetProphet(const ProphetSpread& spread, double z);

}  // namespace foreshadow::models
