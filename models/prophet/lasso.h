// Least squares with an absolute-value penalty, to the optimum and not merely near it.
#pragma once

#include <Eigen/Core>
#include <vector>

namespace foreshadow::models {

// Minimises x'Qx/2 - q'x + penalty * sum |x_i| by an active set (the feature-sign search of Lee,
// Battle, Raina and Ng 2007, "Efficient sparse coding algorithms", algorithm 1), from where `x` is.
// Neighbouring ramps are so alike that coordinate descent would need thousands of sweeps; this
// needs about as many small solves as there are entries. Holds scratch: one thread at a time.
class Lasso {
 public:
  // Q is [n][n], symmetric and positive semidefinite (the lower half is read), q and x are [n].
  void Minimise(const Eigen::Ref<const Eigen::MatrixXd>& Q,
                const Eigen::Ref<const Eigen::VectorXd>& q, double penalty,
                Eigen::Ref<Eigen::VectorXd> x);

 private:
  bool SolveActive(const Eigen::Ref<const Eigen::MatrixXd>& Q,
                   const Eigen::Ref<const Eigen::VectorXd>& q, double penalty);
  bool Settle(const Eigen::Ref<const Eigen::MatrixXd>& Q,
              const Eigen::Ref<const Eigen::VectorXd>& q, double penalty,
              Eigen::Ref<Eigen::VectorXd> x);

  std::vector<int> active_;    // entries that may differ from zero
  std::vector<double> signs_;  // of those
  Eigen::MatrixXd factor_;
  Eigen::VectorXd solution_;
  Eigen::VectorXd gradient_;
};

}  // namespace foreshadow::models
