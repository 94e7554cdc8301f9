#include "kernels/algo/rota.h"

#include <gtest/gtest.h>

#include <limits>
#include <random>
#include <vector>

namespace foreshadow::kernels {
namespace {

TEST(Rota, EachSeriesOnceARoundAndEvenly) {
  for (const int64_t series : {int64_t{1}, int64_t{7}, int64_t{288}, int64_t{1'000}}) {
    for (const int64_t ticks : {int64_t{1}, int64_t{7}, int64_t{12}, int64_t{288}}) {
      std::vector<int> turns(static_cast<size_t>(series));
      for (int64_t tick = 5; tick < 5 + ticks; ++tick) {
        const RotaSlice slice = RotaAt(series, ticks, tick);
        EXPECT_GE(slice.count, series / ticks);
        EXPECT_LE(slice.count, (series + ticks - 1) / ticks);
        for (int64_t i = 0; i < slice.count; ++i) ++turns[static_cast<size_t>(slice.first + i)];
      }
      EXPECT_EQ(turns, std::vector<int>(static_cast<size_t>(series), 1));
    }
  }
}

TEST(Rota, FarthestAstrayFirstWithinTheRoom) {
  constexpr float kInfinity = std::numeric_limits<float>::infinity();
  const std::vector<float> stray{1, 5, kInfinity, 2.5f, 0, 9, kInfinity};
  const std::vector<float> tolerance{2, 2, 2, 2, 0, 9, 2};
  std::vector<int32_t> series(5, -1);
  EXPECT_EQ(FarthestAstray(stray, tolerance, series), 4);
  EXPECT_EQ(series, (std::vector<int32_t>{2, 6, 1, 3, -1}));
  std::vector<int32_t> few(3, -1);
  EXPECT_EQ(FarthestAstray(stray, tolerance, few), 3);
  EXPECT_EQ(few, (std::vector<int32_t>{2, 6, 1}));
  EXPECT_EQ(FarthestAstray(stray, tolerance, std::span(few).first(0)), 0);
}

TEST(Rota, FarthestAstrayAgreesWithSortingAll) {
  std::mt19937 random(1);
  std::uniform_real_distribution<float> uniform(0, 2);
  std::vector<float> stray(500);
  for (float& value : stray) value = uniform(random);
  const std::vector<float> tolerance(500, 1);
  std::vector<int32_t> all;
  for (int32_t s = 0; s < 500; ++s) {
    if (stray[static_cast<size_t>(s)] > 1) all.push_back(s);
  }
  std::ranges::sort(all, [&](int32_t a, int32_t b) {
    return stray[static_cast<size_t>(a)] > stray[static_cast<size_t>(b)];
  });
  std::vector<int32_t> series(40);
  ASSERT_EQ(FarthestAstray(stray, tolerance, series), 40);
  EXPECT_TRUE(std::equal(series.begin(), series.end(), all.begin()));
}

}  // namespace
}  // namespace foreshadow::kernels
