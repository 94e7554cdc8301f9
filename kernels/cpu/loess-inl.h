// Loess over lanes: the fits of a filter, and the lines between them.
// Compiled once per instruction set, in the manner of Highway.
#if defined(FORESHADOW_KERNELS_CPU_LOESS_INL_H_) == defined(HWY_TARGET_TOGGLE)
#ifdef FORESHADOW_KERNELS_CPU_LOESS_INL_H_
#undef FORESHADOW_KERNELS_CPU_LOESS_INL_H_
#else
#define FORESHADOW_KERNELS_CPU_LOESS_INL_H_
#endif

#include "kernels/algo/loess.h"
#include "kernels/cpu/lanes-inl.h"
#include "kernels/cpu/stl_memory.h"

HWY_BEFORE_NAMESPACE();
namespace foreshadow::kernels::cpu {
namespace HWY_NAMESPACE {

// Sum of row[j] y[j] over the width.
HWY_INLINE V Apply(const float* row, int64_t width, const float* y) {
  V sum[4] = {Const(0), Const(0), Const(0), Const(0)};
  int64_t j = 0;
  for (; j + 4 <= width; j += 4) {
    sum[0] = hn::MulAdd(Const(row[j]), At(y, j), sum[0]);
    sum[1] = hn::MulAdd(Const(row[j + 1]), At(y, j + 1), sum[1]);
    sum[2] = hn::MulAdd(Const(row[j + 2]), At(y, j + 2), sum[2]);
    sum[3] = hn::MulAdd(Const(row[j + 3]), At(y, j + 3), sum[3]);
  }
  for (; j < width; ++j) sum[0] = hn::MulAdd(Const(row[j]), At(y, j), sum[0]);
  return hn::Add(hn::Add(sum[0], sum[1]), hn::Add(sum[2], sum[3]));
}

// The same for eight neighbouring points with one row: each sample loaded serves several of them.
HWY_INLINE void ApplyToEight(const float* row, int64_t width, const float* y, float* out) {
  V sum0 = Const(0), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  V sum4 = sum0, sum5 = sum0, sum6 = sum0, sum7 = sum0;
  int64_t j = 0;
  for (; j + 4 <= width; j += 4) {
    const V w0 = Const(row[j]), w1 = Const(row[j + 1]);
    const V w2 = Const(row[j + 2]), w3 = Const(row[j + 3]);
    V y0 = At(y, j), y1 = At(y, j + 1), y2 = At(y, j + 2), y3 = At(y, j + 3);
    const auto slide = [&](V& sum, V& oldest, V second, V third, V fourth, int64_t next) HWY_ATTR {
      sum = hn::MulAdd(w0, oldest, sum);
      sum = hn::MulAdd(w1, second, sum);
      sum = hn::MulAdd(w2, third, sum);
      sum = hn::MulAdd(w3, fourth, sum);
      oldest = At(y, j + next);
    };
    slide(sum0, y0, y1, y2, y3, 4);
    slide(sum1, y1, y2, y3, y0, 5);
    slide(sum2, y2, y3, y0, y1, 6);
    slide(sum3, y3, y0, y1, y2, 7);
    slide(sum4, y0, y1, y2, y3, 8);
    slide(sum5, y1, y2, y3, y0, 9);
    slide(sum6, y2, y3, y0, y1, 10);
    sum7 = hn::MulAdd(w0, y3, sum7);
    sum7 = hn::MulAdd(w1, y0, sum7);
    sum7 = hn::MulAdd(w2, y1, sum7);
    sum7 = hn::MulAdd(w3, y2, sum7);
  }
  for (; j < width; ++j) {
    const V w = Const(row[j]);
    sum0 = hn::MulAdd(w, At(y, j), sum0);
    sum1 = hn::MulAdd(w, At(y, j + 1), sum1);
    sum2 = hn::MulAdd(w, At(y, j + 2), sum2);
    sum3 = hn::MulAdd(w, At(y, j + 3), sum3);
    sum4 = hn::MulAdd(w, At(y, j + 4), sum4);
    sum5 = hn::MulAdd(w, At(y, j + 5), sum5);
    sum6 = hn::MulAdd(w, At(y, j + 6), sum6);
    sum7 = hn::MulAdd(w, At(y, j + 7), sum7);
  }
  Put(sum0, out, 0);
  Put(sum1, out, 1);
  Put(sum2, out, 2);
  Put(sum3, out, 3);
  Put(sum4, out, 4);
  Put(sum5, out, 5);
  Put(sum6, out, 6);
  Put(sum7, out, 7);
}

// Four points with rows of their own that rest on the same samples, as those near an end do.
HWY_INLINE void ApplyFourRows(const float* row, int64_t width, const float* y, float* out) {
  V sum0 = Const(0), sum1 = sum0, sum2 = sum0, sum3 = sum0;
  for (int64_t j = 0; j < width; ++j) {
    const V sample = At(y, j);
    sum0 = hn::MulAdd(Const(row[j]), sample, sum0);
    sum1 = hn::MulAdd(Const(row[j + width]), sample, sum1);
    sum2 = hn::MulAdd(Const(row[j + 2 * width]), sample, sum2);
    sum3 = hn::MulAdd(Const(row[j + 3 * width]), sample, sum3);
  }
  Put(sum0, out, 0);
  Put(sum1, out, 1);
  Put(sum2, out, 2);
  Put(sum3, out, 3);
}

// A fit with weights of each lane's own, by moments around its point. A lane whose weights are all
// zero keeps `otherwise`.
HWY_INLINE V ApplyWeighted(const LoessShape& shape, const LoessFit& fit, const MomentRow& row,
                           const float* weights, const float* weighted, V otherwise) {
  V s0 = Const(0), s1 = s0, s2 = s0, t0 = s0, t1 = s0;
  const int64_t width = RowWidth(shape);
  for (int64_t j = 0; j < width; ++j) {
    const V w = At(weights, fit.left - 1 + j);
    const V wy = At(weighted, fit.left - 1 + j);
    const V zeroth = Const(row.zeroth[j]);
    s0 = hn::MulAdd(zeroth, w, s0);
    t0 = hn::MulAdd(zeroth, wy, t0);
    if (shape.degree > 0) {
      const V first = Const(row.first[j]);
      s1 = hn::MulAdd(first, w, s1);
      t1 = hn::MulAdd(first, wy, t1);
      s2 = hn::MulAdd(Const(row.second[j]), w, s2);
    }
  }
  const M any = hn::Gt(s0, Const(0));
  const V share = hn::Div(Const(1), hn::IfThenElse(any, s0, Const(1)));
  const V mean = hn::Mul(t0, share);
  V fitted = mean;
  if (shape.degree > 0) {
    const double h = Bandwidth(shape, fit);
    const V center = hn::Mul(s1, share);
    const V spread = hn::NegMulAdd(center, center, hn::Mul(s2, share));
    const M line = hn::Gt(spread, Const(SpreadMin(shape) / (h * h)));
    const V product = hn::NegMulAdd(center, mean, hn::Mul(t1, share));
    const V slope = hn::Div(product, hn::IfThenElse(line, spread, Const(1)));
    fitted = hn::IfThenElse(line, hn::NegMulAdd(center, slope, mean), mean);
  }
  return hn::IfThenElse(any, fitted, otherwise);
}

// What a filter smooths: the samples, or their robustness weights and the samples times these.
struct Input {
  const float* samples;
  const float* weights;  // nullptr: all ones
  const float* weighted;
};

// The values of all fits.
HWY_INLINE void Fit(const Rows& rows, const Input& in, float* knots) {
  const LoessShape& shape = rows.shape;
  const int64_t fits = FitCount(shape);
  const int64_t width = RowWidth(shape);
  const bool neighbours = JumpOf(shape) == 1;
  const bool all_kept = PlainKept(shape) == rows.map.rows;
  for (int64_t fit = 0; fit < fits; ++fit) {
    const LoessFit at = FitAt(shape, fit);
    if (in.weights != nullptr) {
      Put(ApplyWeighted(shape, at, MomentsFor(rows, fit), in.weights, in.weighted,
                        At(in.samples, at.x - 1)),
          knots, fit);
      continue;
    }
    const float* row = PlainFor(rows, fit);
    const float* from = in.samples + (at.left - 1) * N();
    const bool has_own = fit < rows.map.before || fit >= rows.map.first_after;
    if (neighbours && !has_own && fit + 8 <= rows.map.first_after) {
      ApplyToEight(row, width, from, knots + fit * N());
      fit += 7;
    } else if (all_kept && has_own && fit + 4 <= (fit < rows.map.before ? rows.map.before : fits) &&
               FitAt(shape, fit + 3).left == at.left) {
      ApplyFourRows(row, width, from, knots + fit * N());
      fit += 3;
    } else {
      Put(Apply(row, width, from), knots, fit);
    }
  }
}

// Calls use(i, value) for every point, lines drawn between the fits.
template <typename Use>
HWY_INLINE void Draw(const LoessShape& shape, const float* knots, Use use) {
  const int64_t fits = FitCount(shape);
  V from = At(knots, 0);
  int64_t x = 1;
  for (int64_t fit = 1; fit < fits; ++fit) {
    const V to = At(knots, fit);
    const int64_t next = FitAt(shape, fit).x;
    const V delta = hn::Mul(hn::Sub(to, from), Const(1.0 / static_cast<double>(next - x)));
    for (int64_t j = x; j < next; ++j) {
      use(j - 1, hn::MulAdd(Const(static_cast<double>(j - x)), delta, from));
    }
    from = to;
    x = next;
  }
  use(x - 1, from);
}

}  // namespace HWY_NAMESPACE
}  // namespace foreshadow::kernels::cpu
HWY_AFTER_NAMESPACE();

#endif  // FORESHADOW_KERNELS_CPU_LOESS_INL_H_
