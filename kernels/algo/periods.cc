#include "kernels/algo/periods.h"

#include <algorithm>
#include <array>
#include <limits>
#include <numbers>

#include "kernels/check.h"

namespace foreshadow::kernels {
namespace {

constexpr std::array<float, kReds> kRedsTried = {0.0f,  0.1f,  0.2f,  0.3f,  0.4f,   0.5f,
                                                 0.6f,  0.7f,  0.8f,  0.85f, 0.9f,   0.93f,
                                                 0.95f, 0.97f, 0.98f, 0.99f, 0.995f, 0.999f};

constexpr std::array<float, kWhites> kWhitesTried = {0.0f, 0.02f, 0.05f, 0.1f, 0.2f, 0.4f};

// Lengths with no factor above five transform fast, and are no more than a few hundredths apart.
int64_t NextFastLength(int64_t least) {
  int64_t best = std::numeric_limits<int64_t>::max();
  for (int64_t fives = 1; fives < 5 * least; fives *= 5) {
    for (int64_t threes = fives; threes < 3 * least; threes *= 3) {
      int64_t length = threes;
      while (length < least) length *= 2;
      best = std::min(best, length);
    }
  }
  return best;
}

int FillBands(int64_t ordinates, int64_t narrowest, double widening, Band* bands, int room) {
  constexpr int64_t kFirst = 2;  // what is left of the trend lies below
  narrowest = std::min(narrowest, ordinates - kFirst);
  int count = 0;
  for (int64_t first = kFirst; first < ordinates && count < room;) {
    auto next =
        std::max(first + narrowest, static_cast<int64_t>(static_cast<double>(first) * widening));
    if (next + narrowest > ordinates) next = ordinates;
    bands[count++] = {static_cast<int32_t>(first), static_cast<int32_t>(next - first)};
    first = next;
  }
  return count;
}

}  // namespace

void CheckPeriodArgs(const PeriodArgs& args) {
  const auto series = static_cast<size_t>(args.observed.series);
  FORESHADOW_CHECK(args.min_period >= 2 && args.max_periods >= 1);
  FORESHADOW_CHECK(args.periods.size() == series * static_cast<size_t>(args.max_periods));
  FORESHADOW_CHECK(args.strengths.size() == args.periods.size());
  FORESHADOW_CHECK(args.status.size() == series);
  FORESHADOW_CHECK(args.observed.steps <= kPeriodSamplesMax);
}

PeriodShape ShapeOf(const PeriodArgs& args) {
  PeriodShape shape{};
  shape.steps = std::max<int64_t>(args.observed.steps, kPeriodSamplesMin);
  shape.padded = 2 * NextFastLength(shape.steps);
  shape.ordinates = shape.padded / 2 + 1;
  const int64_t half = shape.steps / 2;
  shape.min_period = 2;
  shape.max_period = half;
  shape.reported_min = args.min_period;
  shape.reported_max = args.max_period > 0 ? args.max_period : half;
  shape.reported = args.max_periods;
  // A period as long as the longest allowed may peak one ordinate below.
  const int64_t longest = (shape.padded + shape.max_period - 1) / shape.max_period;
  shape.first = std::max<int64_t>(2, longest - 1);
  shape.last = std::min(shape.ordinates - 2, shape.padded / shape.min_period);
  // Fisher's test for each ordinate, Sidak over all; the padding doubles them.
  const auto tests = static_cast<double>(shape.steps);
  shape.threshold =
      static_cast<float>(-std::log(-std::expm1(std::log1p(-double{args.significance}) / tests)));
  const double turn = 2 * std::numbers::pi / static_cast<double>(shape.padded / 2);
  const double angle = turn * static_cast<double>(shape.steps - 1) / 2;
  shape.taper_cosine = static_cast<float>(std::cos(angle));
  shape.taper_sine = static_cast<float>(std::sin(angle));
  shape.taper_end =
      static_cast<float>(0.5 + 0.5 * std::cos(turn * static_cast<double>(shape.steps) / 2));
  shape.bands_count = FillBands(shape.ordinates, 16, 1.3, shape.bands, kBandsMax);
  shape.octaves_count = FillBands(shape.ordinates, 32, 2, shape.octaves, kOctavesMax);
  std::copy(kRedsTried.begin(), kRedsTried.end(), shape.reds);
  std::copy(kWhitesTried.begin(), kWhitesTried.end(), shape.whites);
  return shape;
}

int64_t RowFloats(const PeriodShape& shape) {
  int64_t total = 0;
  CarveRow(shape, [&total](int64_t floats) {
    total += WholeLines(floats);
    return static_cast<float*>(nullptr);
  });
  return total;
}

int64_t TableFloats(const PeriodShape& shape) {
  return WholeLines(shape.ordinates + kRowSlack) + int64_t{kBandsMax} * kNoisesPadded;
}

}  // namespace foreshadow::kernels
