#include "service/plan/chance.h"

#include <Eigen/Cholesky>
#include <Eigen/Core>
#include <algorithm>
#include <cmath>

namespace foreshadow {
namespace {

constexpr double kLeast = 1e-4;  // chances are never taken as surer than that
constexpr double kCurvatureMin = 1e-3;
constexpr double kSlopeMin = 0.05;
// Of each weight, as good as so many even chances; of each bin, as so many that came as said.
constexpr double kPrior = 20;
constexpr double kCurveHalfLifeMs = 7 * 86'400'000.0;
constexpr double kBinsHalfLifeMs = 86'400'000.0;
// Neighbouring ticks say nearly the same of nearly the same hour: together they weigh as one.
constexpr double kOverlap = 1.0 / 6;

using Terms = Eigen::Matrix<double, kChanceTerms, 1>;
using Matrix = Eigen::Matrix<double, kChanceTerms, kChanceTerms>;

double Logistic(double x) { return 1 / (1 + std::exp(-x)); }

Terms TermsOf(double said) {
  const double p = std::clamp(said, kLeast, 1 - kLeast);
  const double rise = std::log(p);
  const double fall = -std::log1p(-p);
  return {1, rise, fall, std::tanh(2 * (rise + fall))};
}

double FirstStage(const Calibration& calibration, double said) {
  return Logistic(Eigen::Map<const Terms>(calibration.weights.data()).dot(TermsOf(said)));
}

int BinOf(double chance) {
  return std::min(static_cast<int>(chance * kChanceBins), kChanceBins - 1);
}

// What came of the chances of some neighbouring bins, as means.
struct Block {
  double weight;
  double said;
  double came;
};

// Ascending in both; returns how many there are.
int BlocksOf(const Calibration& calibration, std::array<Block, kChanceBins>& blocks) {
  int count = 0;
  for (int i = 0; i < kChanceBins; ++i) {
    const Calibration::Bin& bin = calibration.bins[i];
    const double prior = kPrior * (i + 0.5) / kChanceBins;
    const double weight = bin.weight + kPrior;
    blocks[count++] = {weight, (bin.said + prior) / weight, (bin.came + prior) / weight};
    while (count > 1 && blocks[count - 2].came > blocks[count - 1].came) {
      const Block& right = blocks[--count];
      Block& left = blocks[count - 1];
      const double sum = left.weight + right.weight;
      left = {sum, (left.weight * left.said + right.weight * right.said) / sum,
              (left.weight * left.came + right.weight * right.came) / sum};
    }
  }
  return count;
}

}  // namespace

double Calibration::Of(double said) const {
  if (said <= 0) return 0;
  const double chance = FirstStage(*this, said);
  std::array<Block, kChanceBins> blocks;
  const int count = BlocksOf(*this, blocks);
  Block left{0, 0, 0};
  for (int i = 0; i <= count; ++i) {
    const Block right = i < count ? blocks[i] : Block{0, 1, 1};
    if (chance <= right.said && right.said > left.said) {
      const double share = (chance - left.said) / (right.said - left.said);
      return left.came + share * (right.came - left.came);
    }
    left = right;
  }
  return 1;
}

void Calibration::Learn(double said, bool came) {
  const double chance = FirstStage(*this, said);
  Bin& bin = bins[BinOf(chance)];
  bin.weight += kOverlap;
  bin.said += kOverlap * chance;
  bin.came += came ? kOverlap : 0;

  const Terms x = TermsOf(said);
  const double curvature = std::max(chance * (1 - chance), kCurvatureMin) * kOverlap;
  Matrix all = kPrior * Matrix::Identity();
  size_t at = 0;
  for (int i = 0; i < kChanceTerms; ++i) {
    for (int j = i; j < kChanceTerms; ++j, ++at) {
      information[at] += curvature * x[i] * x[j];
      all(i, j) += information[at];
      if (j > i) all(j, i) = all(i, j);
    }
  }
  Eigen::Map<Terms> w(weights.data());
  w += all.llt().solve(x) * (((came ? 1 : 0) - chance) * kOverlap);
  // More said is never less meant.
  w[1] = std::max(w[1], kSlopeMin);
  w[2] = std::max(w[2], kSlopeMin);
  w[3] = std::max(w[3], 0.0);
}

void Calibration::Forget(int64_t elapsed_ms) {
  const auto kept = [&](double half_life_ms) {
    return std::exp2(-static_cast<double>(elapsed_ms) / half_life_ms);
  };
  for (double& of_pair : information) of_pair *= kept(kCurveHalfLifeMs);
  const double by = kept(kBinsHalfLifeMs);
  for (Bin& bin : bins) bin = {by * bin.weight, by * bin.said, by * bin.came};
}

}  // namespace foreshadow
