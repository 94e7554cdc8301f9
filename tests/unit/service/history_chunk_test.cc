#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>
#include <random>

#include "service/history/chunk.h"

namespace foreshadow {
namespace {

constexpr int64_t kBaseMs = 1'700'000'000'000;

void ExpectComesBack(const std::vector<Point>& points) {
  const std::string bytes = EncodePoints(kBaseMs, points);
  const auto back = DecodePoints(kBaseMs, bytes);
  ASSERT_TRUE(back.ok()) << back.status();
  ASSERT_EQ(back->size(), points.size());
  for (size_t i = 0; i < points.size(); ++i) {
    EXPECT_EQ((*back)[i].time_ms, points[i].time_ms);
    EXPECT_EQ(std::bit_cast<uint32_t>((*back)[i].value), std::bit_cast<uint32_t>(points[i].value));
  }
}

TEST(HistoryChunk, GivesBackEveryBit) {
  std::mt19937_64 random(1);
  const std::vector<std::function<float()>> values = {
      [] { return 0.f; },
      [] { return 0.1f; },
      [&] { return static_cast<float>(random() % 101) / 100; },
      [&] { return static_cast<float>(random() % 100'001) / 1'000; },
      [&] { return -static_cast<float>(random() % 7); },
      [&] { return static_cast<float>(random()); },
      [&] { return std::bit_cast<float>(static_cast<uint32_t>(random())); },  // NaNs too
      [&] { return random() % 2 == 0 ? -0.f : 0.f; },
      [] { return std::numeric_limits<float>::max(); },
      [] { return std::numeric_limits<float>::denorm_min(); },
  };
  const std::vector<std::function<int64_t()>> steps = {
      [] { return 60'000; },
      [&] { return 59'990 + static_cast<int64_t>(random() % 21); },
      [&] { return 1 + static_cast<int64_t>(random() % 3'000'000); },
  };
  for (const auto& value : values) {
    for (const auto& step : steps) {
      for (const size_t count : {1u, 2u, 3u, 257u}) {
        std::vector<Point> points;
        int64_t time_ms = kBaseMs + static_cast<int64_t>(random() % 100);
        for (size_t i = 0; i < count; ++i, time_ms += step()) points.push_back({time_ms, value()});
        ExpectComesBack(points);
      }
    }
  }
}

TEST(HistoryChunk, GivesBackSummaries) {
  std::mt19937_64 random(2);
  std::vector<Bin> bins;
  for (int64_t i = 0; i < 144; ++i) {
    const auto value = static_cast<float>(random() % 1'000) / 7;
    bins.push_back(
        {kBaseMs + i * 300'000, value, value / 2, value * 2, static_cast<uint32_t>(random() % 6)});
  }
  const auto back = DecodeBins(kBaseMs, EncodeBins(kBaseMs, bins));
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, bins);
}

TEST(HistoryChunk, SummariesOfOneSampleEachCostLittleMoreThanTheSamples) {
  std::vector<Bin> bins;
  std::vector<Point> points;
  for (int64_t i = 0; i < 144; ++i) {
    const auto value = static_cast<float>(i * i % 97);
    bins.push_back({kBaseMs + i * 300'000, value, value, value, 1});
    points.push_back({kBaseMs + i * 300'000, value});
  }
  const std::string bytes = EncodeBins(kBaseMs, bins);
  const auto back = DecodeBins(kBaseMs, bytes);
  ASSERT_TRUE(back.ok()) << back.status();
  EXPECT_EQ(*back, bins);
  EXPECT_LE(bytes.size(), EncodePoints(kBaseMs, points).size() + 3 + points.size())
      << "two marks, and the counts";
}

TEST(HistoryChunk, EvenTimesAndWholePercentTakeOneByteASample) {
  std::vector<Point> points;
  for (int64_t i = 0; i < 720; ++i) {
    points.push_back({kBaseMs + i * 60'000, static_cast<float>(i * 37 % 101) / 100});
  }
  EXPECT_LT(EncodePoints(kBaseMs, points).size(), 750u);
}

TEST(HistoryChunk, NoticesEveryFlippedBitAndEveryCut) {
  std::vector<Point> points;
  for (int64_t i = 0; i < 50; ++i) {
    points.push_back({kBaseMs + i * i * 1'000, static_cast<float>(i) / 3});
  }
  const std::string good = EncodePoints(kBaseMs, points);
  for (size_t at = 0; at < good.size(); ++at) {
    EXPECT_TRUE(absl::IsDataLoss(DecodePoints(kBaseMs, good.substr(0, at)).status()));
    for (int bit = 0; bit < 8; ++bit) {
      std::string bad = good;
      bad[at] = static_cast<char>(bad[at] ^ 1 << bit);
      EXPECT_TRUE(absl::IsDataLoss(DecodePoints(kBaseMs, bad).status()));
    }
  }
  EXPECT_TRUE(absl::IsDataLoss(DecodeBins(kBaseMs, good).status())) << "another kind";
}

// Damage with a right checksum, as a bug could write it: an error or some points, never more memory
// than the bytes ask for.
TEST(HistoryChunk, ReadsAnyBytesWithoutHarm) {
  std::mt19937_64 random(4);
  std::vector<Point> points;
  for (int64_t i = 0; i < 60; ++i) {
    points.push_back({kBaseMs + i * 60'000 + i % 3, static_cast<float>(i * 37 % 101) / 100});
  }
  const std::vector<Bin> bins = Summarize(points, Resolution::kSamples);
  for (const std::string& good : {EncodePoints(kBaseMs, points), EncodeBins(kBaseMs, bins)}) {
    for (int round = 0; round < 20'000; ++round) {
      std::string bad = good.substr(0, good.size() - 4);
      for (uint64_t n = 1 + random() % 4; n > 0; --n) {
        const size_t at = random() % bad.size();
        switch (random() % 3) {
          case 0:
            bad[at] = static_cast<char>(random());
            break;
          case 1:
            bad.erase(at, 1 + random() % 8);
            break;
          default:
            bad.insert(at, 1, static_cast<char>(random()));
        }
        if (bad.empty()) bad = "x";
      }
      const auto crc =
          static_cast<uint32_t>(crc32_z(0, reinterpret_cast<const Bytef*>(bad.data()), bad.size()));
      for (int shift = 0; shift < 32; shift += 8) bad.push_back(static_cast<char>(crc >> shift));
      if (const auto read = DecodePoints(kBaseMs, bad); read.ok()) {
        EXPECT_TRUE(std::is_sorted(read->begin(), read->end(), [](const Point& a, const Point& b) {
          return a.time_ms <= b.time_ms;
        }));
      }
      (void)DecodeBins(kBaseMs, bad);
    }
  }
}

}  // namespace
}  // namespace foreshadow
