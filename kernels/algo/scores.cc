#include "kernels/algo/scores.h"

#include <cmath>
#include <limits>

#include "kernels/check.h"

namespace foreshadow::kernels {
namespace {

// Mean of term(step, series) over the steps where it is not NaN.
template <typename Term>
void MeanOf(int64_t steps, int64_t series, std::span<float> mean, Term term) {
  FORESHADOW_CHECK(std::ssize(mean) == series);
  for (int64_t s = 0; s < series; ++s) {
    double sum = 0;
    int64_t count = 0;
    for (int64_t step = 0; step < steps; ++step) {
      const double value = term(step, s);
      if (std::isnan(value)) continue;
      sum += value;
      ++count;
    }
    mean[s] = count > 0 ? static_cast<float>(sum / static_cast<double>(count))
                        : std::numeric_limits<float>::quiet_NaN();
  }
}

void CheckSameShape(StepMajor<const float> one, StepMajor<const float> other) {
  FORESHADOW_CHECK(one.steps == other.steps && one.series == other.series);
}

}  // namespace

void PinballLoss(StepMajor<const float> actual, StepMajor<const float> forecast, double level,
                 std::span<float> loss) {
  CheckSameShape(actual, forecast);
  FORESHADOW_CHECK(level >= 0 && level <= 1);
  MeanOf(actual.steps, actual.series, loss, [&](int64_t step, int64_t s) {
    return Pinball(actual.at(step, s), forecast.at(step, s), level);
  });
}

void NaiveScale(StepMajor<const float> past, int season, std::span<float> scale) {
  FORESHADOW_CHECK(season >= 1);
  MeanOf(past.steps - season, past.series, scale, [&](int64_t step, int64_t s) {
    return std::abs(double{past.at(step + season, s)} - double{past.at(step, s)});
  });
}

void Mase(StepMajor<const float> actual, StepMajor<const float> forecast,
          std::span<const float> scale, std::span<float> mase) {
  CheckSameShape(actual, forecast);
  FORESHADOW_CHECK(std::ssize(scale) == actual.series);
  MeanOf(actual.steps, actual.series, mase, [&](int64_t step, int64_t s) {
    return std::abs(double{actual.at(step, s)} - double{forecast.at(step, s)});
  });
  for (size_t s = 0; s < mase.size(); ++s) {
    mase[s] = scale[s] > 0 ? mase[s] / scale[s] : std::numeric_limits<float>::quiet_NaN();
  }
}

}  // namespace foreshadow::kernels
