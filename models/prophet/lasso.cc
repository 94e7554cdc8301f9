#include "models/prophet/lasso.h"

#include <Eigen/Cholesky>
#include <algorithm>
#include <cmath>

namespace foreshadow::models {
namespace {

// Gradients are compared with the penalty to this relative precision; Q's own rounding is near it.
constexpr double kTolerance = 1e-9;
constexpr int kRoundsPerEntry = 20;  // far above what is ever needed: a bound, not a setting

}  // namespace

// The optimum for the active entries if their signs stay; false where Q cannot tell them apart.
bool Lasso::SolveActive(const Eigen::Ref<const Eigen::MatrixXd>& Q,
                        const Eigen::Ref<const Eigen::VectorXd>& q, double penalty) {
  const auto count = std::ssize(active_);
  auto factor = factor_.topLeftCorner(count, count);
  auto solution = solution_.head(count);
  for (int64_t j = 0; j < count; ++j) {
    for (int64_t i = j; i < count; ++i) {
      const auto [low, high] = std::minmax(active_[i], active_[j]);
      factor(i, j) = Q(high, low);
    }
    solution[j] = q[active_[j]] - penalty * signs_[j];
  }
  Eigen::Ref<Eigen::MatrixXd> in_place(factor);
  const Eigen::LLT<Eigen::Ref<Eigen::MatrixXd>> cholesky(in_place);
  if (cholesky.info() != Eigen::Success) return false;
  cholesky.solveInPlace(solution);
  return solution.allFinite();
}

// Moves the active entries to their optimum; those that reach zero on the way leave the set.
bool Lasso::Settle(const Eigen::Ref<const Eigen::MatrixXd>& Q,
                   const Eigen::Ref<const Eigen::VectorXd>& q, double penalty,
                   Eigen::Ref<Eigen::VectorXd> x) {
  while (!active_.empty()) {
    if (!SolveActive(Q, q, penalty)) return false;
    double share = 1;
    int64_t first = -1;
    for (int64_t i = 0; i < std::ssize(active_); ++i) {
      if (solution_[i] * signs_[i] > 0) continue;
      const double from = x[active_[i]];
      const double reached = from == solution_[i] ? 0 : from / (from - solution_[i]);
      if (first < 0 || reached < share) {
        share = reached;
        first = i;
      }
    }
    for (int64_t i = 0; i < std::ssize(active_); ++i) {
      x[active_[i]] += share * (solution_[i] - x[active_[i]]);
    }
    if (first < 0) return true;
    x[active_[first]] = 0;
    active_.erase(active_.begin() + first);
    signs_.erase(signs_.begin() + first);
  }
  return true;
}

void Lasso::Minimise(const Eigen::Ref<const Eigen::MatrixXd>& Q,
                     const Eigen::Ref<const Eigen::VectorXd>& q, double penalty,
                     Eigen::Ref<Eigen::VectorXd> x) {
  const int64_t size = q.size();
  factor_.resize(size, size);
  solution_.resize(size);
  active_.clear();
  signs_.clear();
  for (int64_t i = 0; i < size; ++i) {
    if (x[i] == 0) continue;
    active_.push_back(static_cast<int>(i));
    signs_.push_back(x[i] > 0 ? 1 : -1);
  }
  for (int64_t round = 0; round < kRoundsPerEntry * (size + 1); ++round) {
    if (!Settle(Q, q, penalty, x)) {  // the newest entry repeats others: the rest is the answer
      x[active_.back()] = 0;
      active_.pop_back();
      signs_.pop_back();
      Settle(Q, q, penalty, x);
      return;
    }
    gradient_.noalias() = q - Q.selfadjointView<Eigen::Lower>() * x;
    int64_t steepest = -1;
    double slope = penalty + kTolerance * (penalty + q.cwiseAbs().maxCoeff());
    for (int64_t i = 0; i < size; ++i) {
      if (x[i] == 0 && std::fabs(gradient_[i]) > slope) {
        slope = std::fabs(gradient_[i]);
        steepest = i;
      }
    }
    if (steepest < 0) return;
    active_.push_back(static_cast<int>(steepest));
    signs_.push_back(gradient_[steepest] > 0 ? 1 : -1);
  }
}

}  // namespace foreshadow::models
