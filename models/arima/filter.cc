#include "models/arima/filter.h"

#include <algorithm>
#include <cmath>
#include <limits>

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "models/arima/filter.cc"
#include <hwy/foreach_target.h>
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace foreshadow::models {
namespace HWY_NAMESPACE {

using Memory = ArimaFilter::Memory;
using Result = ArimaFilter::Result;

// The compiler's own vectors: eight doubles on any instruction set. Never passed by value, whose
// convention differs between instruction sets.
typedef double Lanes __attribute__((vector_size(64), may_alias));

Lanes* Of(std::vector<Octet>& octets) { return reinterpret_cast<Lanes*>(octets.data()); }

// A variance this close to that of the errors says that the past is known.
constexpr double kSettled = 1e-10;
// Steps between the logs of the running product of variances, each of them below 1e10.
constexpr int kProductSteps = 16;
constexpr int kBlock = 64;  // steps of errors kept for the products: 4 KB

// Adds up products of standardised errors, block by block.
struct Products {
  Lanes block[kBlock];
  Lanes sums[kLanes] = {};
  int filled = 0;

  HWY_INLINE void Add(const Lanes& errors) {
    const Lanes others = {0, 1, 1, 1, 1, 1, 1, 1};
    block[filled] = errors - others * errors[0];
    if (++filled == kBlock) Flush();
  }

  HWY_INLINE void Flush() {
    for (int t = 0; t < filled; ++t) {
      const Lanes row = block[t];
      for (int k = 0; k < kLanes; ++k) sums[k] += row[k] * row;
    }
    filled = 0;
  }

  void Store(Result& result) {
    Flush();
    for (int k = 0; k < kLanes; ++k) {
      for (int i = 0; i < kLanes; ++i) result.gram[k].lane[i] = sums[k][i];
    }
  }
};

// The log of a product of variances.
struct LogSum {
  Lanes product = {1, 1, 1, 1, 1, 1, 1, 1};
  Lanes sum = {};
  int multiplied = 0;

  HWY_INLINE void Multiply(const Lanes& variance) {
    product *= variance;
    if (++multiplied == kProductSteps) Flush();
  }

  void Flush() {
    for (int i = 0; i < kLanes; ++i) {
      sum[i] += std::log(product[i]);
      product[i] = 1;
    }
    multiplied = 0;
  }

  void Store(Result& result) {
    Flush();
    for (int i = 0; i < kLanes; ++i) result.log_determinant.lane[i] = sum[i];
  }
};

HWY_INLINE void SquareRoot(const Lanes& of, Lanes& out) {
  for (int i = 0; i < kLanes; ++i) out[i] = std::sqrt(of[i]);
}

HWY_INLINE bool AllBelow(const Lanes& values, double bound) {
  bool below = true;
  for (int i = 0; i < kLanes; ++i) below &= values[i] < bound;
  return below;
}

// kStates states, or memory.states if it is 0. The first part computes the exact gain: with F the
// variance, K the gain times F and the covariance's step -L M L', in the names of the literature.
template <int kStates>
void Differenced(Memory& m, std::span<const double> samples, double constant_factor,
                 Result& result) {
  constexpr int kRoom = kStates > 0 ? kStates : kStatesMax;
  const int states = kStates > 0 ? kStates : m.states;
  const int ar = kStates > 0 ? kStates : m.ar;
  Lanes phi[kRoom], psi[kRoom], s[kRoom], K[kRoom], L[kRoom];
  const Lanes* gamma = Of(m.gamma);
  for (int i = 0; i < states; ++i) {
    phi[i] = Of(m.phi)[i];
    psi[i] = Of(m.psi)[i + 1];
    s[i] = Lanes{};
    K[i] = gamma[i + 1];
    L[i] = K[i];
  }
  Lanes F = gamma[0];
  Lanes inverse = 1 / F;
  Lanes M = -inverse;
  const Lanes mean = *reinterpret_cast<const Lanes*>(&m.constant) * constant_factor;
  Products products;
  LogSum logs;
  const auto count = std::ssize(samples);
  int64_t t = 0;
  for (; t < count && !AllBelow(F - 1, kSettled); ++t) {
    Lanes root;
    SquareRoot(inverse, root);
    const Lanes error = samples[t] - mean - s[0];
    products.Add(error * root);
    logs.Multiply(F);
    const Lanes scaled = error * inverse;
    const Lanes z = L[0];
    const Lanes zF = z * inverse;
    const Lanes Mz = M * z;
    Lanes s_last = {};
    Lanes L_last = {};
    for (int j = 0; j < ar; ++j) {
      s_last += phi[j] * s[states - 1 - j];
      L_last += phi[j] * L[states - 1 - j];
    }
    for (int i = 0; i < states; ++i) {
      const Lanes moved = i + 1 < states ? L[i + 1] : L_last;  // T L
      s[i] = (i + 1 < states ? s[i + 1] : s_last) + K[i] * scaled;
      L[i] = moved - K[i] * zF;
      K[i] += moved * Mz;
    }
    const Lanes next = F + Mz * z;
    inverse = 1 / next;
    M *= F * inverse;
    F = next;
  }
  logs.Store(result);
  for (; t < count; ++t) {
    const Lanes error = samples[t] - mean - s[0];
    products.Add(error);
    Lanes last = {};
    for (int j = 0; j < ar; ++j) last += phi[j] * s[states - 1 - j];
    for (int i = 0; i + 1 < states; ++i) s[i] = s[i + 1] + psi[i] * error;
    s[states - 1] = last + psi[states - 1] * error;
  }
  products.Store(result);
  result.count = count;
}

void RunDifferenced(Memory& m, std::span<const double> samples, double constant_factor,
                    Result& result) {
  switch (m.states) {
    case 1:
      return Differenced<1>(m, samples, constant_factor, result);
    case 2:
      return Differenced<2>(m, samples, constant_factor, result);
    case 3:
      return Differenced<3>(m, samples, constant_factor, result);
    case 4:
      return Differenced<4>(m, samples, constant_factor, result);
    case 5:
      return Differenced<5>(m, samples, constant_factor, result);
    default:
      return Differenced<0>(m, samples, constant_factor, result);
  }
}

// out = T in, the transition of the state; `stride` apart in both.
HWY_INLINE void Move(const Memory& m, const Lanes* phi, const Lanes* in, int64_t stride,
                     Lanes* out) {
  const int r = m.states;
  Lanes last = {};
  for (int j = 0; j < m.ar; ++j) last += phi[j] * in[(r - 1 - j) * stride];
  Lanes seen = in[0];  // the sample that the state expects
  for (int i = 0; i < m.levels; ++i) seen += m.difference[i] * in[(r + i) * stride];
  for (int i = 0; i + 1 < r; ++i) out[i * stride] = in[(i + 1) * stride];
  out[(r - 1) * stride] = last;
  if (m.levels == 0) return;
  for (int i = m.levels - 1; i > 0; --i) out[(r + i) * stride] = in[(r + i - 1) * stride];
  out[r * stride] = seen;
}

// The stationary covariance of the ARMA states, and none of the levels.
void StartCovariance(Memory& m) {
  const int n = m.states + m.levels;
  Lanes* P = Of(m.covariance);
  const Lanes* psi = Of(m.psi);
  const Lanes* gamma = Of(m.gamma);
  std::fill(P, P + n * n, Lanes{});
  for (int lag = 0; lag < m.states; ++lag) {
    Lanes sum = gamma[lag];
    for (int i = 0; i + lag < m.states; ++i) {
      sum -= psi[i] * psi[i + lag];
      P[i * n + i + lag] = sum;
      P[(i + lag) * n + i] = sum;
    }
  }
}

bool Settled(const Memory& m, const Lanes* P) {
  const int n = m.states + m.levels;
  for (int i = 0; i < n; ++i) {
    if (!AllBelow(P[i * n + i], kSettled)) return false;
  }
  return true;
}

void RunLevels(Memory& m, std::span<const double> samples, std::span<double> predicted,
               std::span<double> variance, Result& result) {
  const int r = m.states;
  const int n = r + m.levels;
  const Lanes* phi = Of(m.phi);
  const Lanes* psi = Of(m.psi) + 1;
  Lanes* s = Of(m.state);
  Lanes* moved = Of(m.direction);
  Lanes* K = Of(m.gain);
  Lanes* R = Of(m.rows);
  Lanes* P = Of(m.covariance);
  const Lanes constant = *reinterpret_cast<const Lanes*>(&m.constant);
  const auto regressor = [&](int64_t t) {
    return m.trend_regressor ? static_cast<double>(t) : 1.0;
  };
  std::fill(s, s + n, Lanes{});
  for (int i = 0; i < m.levels; ++i) {
    const int64_t t = m.levels - 1 - i;
    s[r + i] = samples[t] - constant * regressor(t);
  }
  StartCovariance(m);
  Products products;
  LogSum logs;
  result.count = 0;
  bool settled = Settled(m, P);
  for (int64_t t = 0; t < std::ssize(samples); ++t) {
    if (t < m.levels) {
      if (!predicted.empty()) predicted[t] = variance[t] = std::numeric_limits<double>::quiet_NaN();
      continue;
    }
    const bool present = !std::isnan(samples[t]);
    Lanes expected = s[0] + constant * regressor(t);
    for (int i = 0; i < m.levels; ++i) expected += m.difference[i] * s[r + i];
    Lanes F = {1, 1, 1, 1, 1, 1, 1, 1};
    Move(m, phi, s, 1, moved);
    if (!(settled && present)) {
      // R = T P, then P = R T' + g g', where g is psi for the states and 1 for the newest level.
      for (int j = 0; j < n; ++j) Move(m, phi, P + j, n, R + j);
      // T P Z', with Z what is seen of the state.
      for (int i = 0; i < n; ++i) {
        K[i] = R[i * n];
        for (int j = 0; j < m.levels; ++j) K[i] += m.difference[j] * R[i * n + r + j];
      }
      Lanes seen = P[0];
      for (int j = 0; j < m.levels; ++j) seen += 2 * m.difference[j] * P[r + j];
      for (int i = 0; i < m.levels; ++i) {
        for (int j = 0; j < m.levels; ++j) {
          seen += m.difference[i] * m.difference[j] * P[(r + i) * n + r + j];
        }
      }
      F += seen;
      for (int i = 0; i < n; ++i) Move(m, phi, R + i * n, 1, P + i * n);
      for (int i = 0; i <= r && i < n; ++i) {
        const Lanes gi = i < r ? psi[i] : Lanes{1, 1, 1, 1, 1, 1, 1, 1};
        K[i] += gi;
        for (int j = 0; j <= r && j < n; ++j) P[i * n + j] += j < r ? gi * psi[j] : gi;
      }
    }
    if (!predicted.empty()) {
      predicted[t] = expected[0];
      variance[t] = F[0];
    }
    if (!present) {
      std::copy_n(moved, n, s);
      settled = false;
      continue;
    }
    const Lanes error = samples[t] - expected;
    if (settled) {
      products.Add(error);
      for (int i = 0; i < r; ++i) s[i] = moved[i] + psi[i] * error;
      for (int i = r; i < n; ++i) s[i] = moved[i];
      if (n > r) s[r] += error;
    } else {
      Lanes root;
      SquareRoot(F, root);
      products.Add(error / root);
      logs.Multiply(F);
      const Lanes inverse = 1 / F;
      for (int i = 0; i < n; ++i) {
        const Lanes gain = K[i] * inverse;
        s[i] = moved[i] + gain * error;
        for (int j = 0; j < n; ++j) P[i * n + j] -= gain * K[j];
      }
      settled = Settled(m, P);
      if (settled) std::fill(P, P + n * n, Lanes{});
    }
    ++result.count;
  }
  logs.Store(result);
  products.Store(result);
}

}  // namespace HWY_NAMESPACE
}  // namespace foreshadow::models
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace foreshadow::models {
namespace {

HWY_EXPORT(RunDifferenced);
HWY_EXPORT(RunLevels);

}  // namespace

double ArimaFilter::Result::Squares(int lane) const {
  if (lane == 0) return gram[0].lane[0];
  return gram[0].lane[0] + 2 * gram[0].lane[lane] + gram[lane].lane[lane];
}

void ArimaFilter::SetModel(const ArimaOrder& order,
                           std::span<const ArimaCoefficients, kLanes> coefficients) {
  Memory& m = memory_;
  m.states = order.States();
  m.ar = order.ArLength();
  m.levels = order.Levels();
  m.trend_regressor = m.levels > 0;
  const auto states = static_cast<size_t>(m.states);
  const size_t n = states + static_cast<size_t>(m.levels);
  m.phi.resize(states);
  m.psi.resize(states + 1);
  m.gamma.resize(states + 1);
  for (auto* vector : {&m.state, &m.gain, &m.direction}) vector->resize(n);
  for (auto* matrix : {&m.rows, &m.covariance}) matrix->resize(n * n);
  m.difference = DifferenceWeights(order);
  std::array<double, kStatesMax + 1> psi;
  std::array<double, kStatesMax + 1> gamma;
  for (int lane = 0; lane < kLanes; ++lane) {
    const ArmaPolynomials poly = Expand(order, coefficients[lane]);
    PsiWeights(poly, m.ar, order.MaLength(), std::span(psi).first(states + 1));
    Autocovariances(poly, m.ar, order.MaLength(), std::span(gamma).first(states + 1));
    for (size_t i = 0; i <= states; ++i) {
      if (i < states) m.phi[i].lane[lane] = poly.ar[i];
      m.psi[i].lane[lane] = psi[i];
      m.gamma[i].lane[lane] = gamma[i];
    }
    m.constant.lane[lane] = coefficients[lane].constant;
  }
}

void ArimaFilter::RunDifferenced(std::span<const double> samples, double constant_factor) {
  HWY_DYNAMIC_DISPATCH(RunDifferenced)(memory_, samples, constant_factor, result_);
}

void ArimaFilter::RunLevels(std::span<const double> samples, std::span<double> predicted,
                            std::span<double> variance) {
  HWY_DYNAMIC_DISPATCH(RunLevels)(memory_, samples, predicted, variance, result_);
}

}  // namespace foreshadow::models
#endif
