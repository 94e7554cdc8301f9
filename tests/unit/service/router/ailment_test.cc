#include "service/router/ailment.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace foreshadow::router {
namespace {

// The exact tail, by summing the binomial's terms.
double Tail(uint64_t n, uint64_t k, double p) {
  double sum = 0;
  for (uint64_t i = k; i <= n; ++i) {
    const auto x = static_cast<double>(i), m = static_cast<double>(n);
    sum += std::exp(std::lgamma(m + 1) - std::lgamma(x + 1) - std::lgamma(m - x + 1) +
                    x * std::log(p) + (m - x) * std::log1p(-p));
  }
  return sum;
}

TEST(TailBound, IsNeverBelowTheExactTail) {
  for (const uint64_t n : {10, 50, 300}) {
    for (const double p : {0.01, 0.1, 0.4}) {
      for (uint64_t k = 1; k <= n; k += 3) {
        EXPECT_GE(TailBound(n, k, p) * (1 + 1e-9), Tail(n, k, p)) << n << " " << k << " " << p;
      }
    }
  }
}

TEST(ErrorWatch, SeesABurstAtItsFirstLook) {
  ErrorWatch watch;
  for (int i = 0; i < 20; ++i) EXPECT_FALSE(watch.Look(1'000, 2));
  EXPECT_TRUE(watch.Look(100, 90));
}

TEST(ErrorWatch, FewErrorsAreNoBurst) {
  ErrorWatch watch;
  EXPECT_FALSE(watch.Look(9, 9));
  EXPECT_FALSE(watch.Look(1'000, 300));
  EXPECT_FALSE(watch.Look(0, 0));
}

// What always failed as often is not an illness that came now.
TEST(ErrorWatch, WhatIsUsualIsNoBurst) {
  ErrorWatch watch;
  for (int i = 0; i < 200; ++i) watch.Look(20, 9);
  EXPECT_FALSE(watch.Look(20, 12));
}

// A million looks at an instance that fails one call in ten, by chance.
TEST(ErrorWatch, ChanceRaisesNoAlarmInAMillionLooks) {
  std::mt19937_64 random(7);
  std::binomial_distribution<uint64_t> errors(40, 0.1);
  ErrorWatch watch;
  for (int i = 0; i < 1'000'000; ++i) ASSERT_FALSE(watch.Look(40, errors(random)));
}

}  // namespace
}  // namespace foreshadow::router
