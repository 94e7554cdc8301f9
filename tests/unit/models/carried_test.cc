// The simple models carried from step to step: whatever came, did not come, came late or was
// skipped, they say what they say of the whole window, bit for bit.
#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <cmath>
#include <functional>
#include <limits>
#include <random>
#include <string>

#include "models/empirical.h"
#include "models/registry.h"
#include "models/sliding.h"
#include "tests/unit/kernels/backends.h"

namespace foreshadow::models {
namespace {

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();
constexpr float kInfinite = std::numeric_limits<float>::infinity();
constexpr int64_t kStepMs = 300'000;
constexpr int kSteps = 12;
constexpr int64_t kLength = 1'500;  // of the whole story
constexpr int64_t kDay = 288;

using Draw = std::mt19937_64;
using Story = std::function<float(int64_t t, Draw& random)>;

float Normal(Draw& random, float mean, float deviation) {
  return std::normal_distribution<float>(mean, deviation)(random);
}
bool Chance(Draw& random, double chance) { return std::bernoulli_distribution(chance)(random); }

// Series of all sorts.
std::vector<Story> Stories() {
  constexpr float kMost = std::numeric_limits<float>::max();
  return {
      [](int64_t, Draw& r) { return Normal(r, 100, 10); },
      [](int64_t t, Draw& r) { return 50 + 20 * std::sin(t / 45.8f) + Normal(r, 0, 3); },
      [](int64_t, Draw& r) { return std::floor(std::fabs(Normal(r, 0, 2))); },  // ties
      [](int64_t, Draw&) { return 42.0f; },
      [](int64_t, Draw&) { return kMissing; },
      [](int64_t, Draw& r) { return Chance(r, 0.1) ? kMissing : Normal(r, 5, 1); },
      [](int64_t, Draw& r) { return Chance(r, 0.9) ? kMissing : Normal(r, 5, 1); },
      [](int64_t t, Draw& r) { return t < 700 ? kMissing : Normal(r, 9, 1); },  // new
      [](int64_t t, Draw&) { return t % 2 == 0 ? kMost : 0.0f; },
      [](int64_t t, Draw&) { return t % 3 == 0 ? -kMost : kMost; },
      [](int64_t, Draw& r) { return Chance(r, 0.99) ? 0.0f : Normal(r, 100, 1); },
      // Silent for five minutes, an hour, seven hours, more than a day.
      [](int64_t t, Draw& r) { return t % 20 == 19 ? kMissing : Normal(r, 7, 1); },
      [](int64_t t, Draw& r) { return t % 100 < 13 ? kMissing : Normal(r, 7, 1); },
      [](int64_t t, Draw& r) { return t % 300 < 84 ? kMissing : Normal(r, 7, 1); },
      [](int64_t t, Draw& r) { return t > 500 && t < 1'000 ? kMissing : Normal(r, 7, 1); },
      [](int64_t t, Draw& r) { return t > 650 && t < 940 ? kMissing : Normal(r, 7, 1); },
      [](int64_t t, Draw& r) { return t > 800 ? kMissing : Normal(r, 7, 1); },
      [](int64_t t, Draw& r) { return t == 600 || t == 1'100 ? Normal(r, 7, 1) : kMissing; },
      [](int64_t, Draw& r) {
        return Chance(r, 0.05) ? std::numeric_limits<float>::infinity() : Normal(r, 7, 1);
      },
      // Missing at the same time on two days running, so that the third before is asked.
      [](int64_t t, Draw& r) {
        return t / kDay % 3 < 2 && t % kDay < 9 ? kMissing : Normal(r, 7, 1);
      },
      [](int64_t t, Draw& r) { return static_cast<float>(t) + Normal(r, 0, 1); },
  };
}

// All of the story; what is seen of it is a window that slides.
struct World {
  World() : signals(Stories().size(), SignalKind::kCpu), periods(Stories().size(), 0) {
    Draw random(7);
    const std::vector<Story> stories = Stories();
    values.resize(static_cast<size_t>(kLength) * stories.size());
    for (int64_t t = 0; t < kLength; ++t) {
      for (size_t s = 0; s < stories.size(); ++s) {
        values[t * stories.size() + s] = stories[s](t, random);
      }
    }
  }
  float& at(int64_t t, int64_t s) { return values[t * std::ssize(signals) + s]; }
  // Its `rows` steps before step `end`, of the first `series`.
  History Until(int64_t end, int64_t rows, int64_t series) const {
    const int64_t width = std::ssize(signals);
    rows = std::min(rows, end);
    return {(end - 1) * kStepMs,
            kStepMs,
            {values.data() + (end - rows) * width, rows, series, width},
            std::span(signals).first(series),
            std::span(periods).first(series)};
  }

  std::vector<float> values;
  std::vector<SignalKind> signals;
  std::vector<int32_t> periods;
};

void ExpectSame(const Forecaster& model, const History& history, const QuantileBlock& carried,
                int64_t t) {
  QuantileBlock anew;
  ASSERT_TRUE(model.Forecast(history, kSteps, anew).ok());
  ASSERT_EQ(carried.series, anew.series);
  for (int64_t s = 0; s < anew.series; ++s) {
    ASSERT_EQ(carried.status[s], anew.status[s]) << "series " << s << " at " << t;
    for (int step = 0; step < kSteps; ++step) {
      for (int q = 0; q < kQuantiles; ++q) {
        const float a = carried.at(s, step)[q];
        const float b = anew.at(s, step)[q];
        ASSERT_TRUE(a == b || (std::isnan(a) && std::isnan(b)))
            << a << " is not " << b << ": series " << s << " at " << t << ", step " << step << " q "
            << q;
      }
    }
  }
}

class Carried : public testing::TestWithParam<std::string> {
 protected:
  void SetUp() override {
    const auto made = MakeModel(GetParam(), "");
    ASSERT_TRUE(made.ok()) << made.status();
    model_ = *made;
    ASSERT_TRUE(model_->carries());
  }
  void Continue(const History& history) {
    const absl::Status status = model_->Continue(history, kSteps, carried_, out_);
    ASSERT_TRUE(status.ok()) << status;
  }

  World world_;
  std::shared_ptr<const Forecaster> model_;
  std::any carried_;
  QuantileBlock out_;
};
INSTANTIATE_TEST_SUITE_P(Models, Carried,
                         testing::Values("last-value", "last-hour-mean", "last-hour-median",
                                         "seasonal-naive"));

TEST_P(Carried, IsTheWholeWindow) {
  // From the first step on: the window grows to 900 steps and slides from there.
  for (int64_t t = 1; t <= kLength; ++t) {
    const History history = world_.Until(t, 900, std::ssize(world_.signals));
    ASSERT_NO_FATAL_FAILURE(Continue(history));
    if (t % 5 != 0 && t > 30) continue;
    ASSERT_NO_FATAL_FAILURE(ExpectSame(*model_, history, out_, t));
  }
}

TEST_P(Carried, TakesChangesOfAllSorts) {
  Draw random(3);
  int64_t series = 15;
  for (int64_t t = 500; t <= kLength;) {
    if (t > 900) series = std::ssize(world_.signals);  // new ones, with a past
    if (Chance(random, 0.05)) world_.periods[t % 7] = Chance(random, 0.3) ? 0 : 100 + t % 50;
    const History history = world_.Until(t, 900, series);
    ASSERT_NO_FATAL_FAILURE(Continue(history));
    ASSERT_NO_FATAL_FAILURE(ExpectSame(*model_, history, out_, t));
    // What came late, up to an hour.
    for (int64_t late = 1; late < 12; ++late) {
      const int64_t s = (t + late) % series;
      if (Chance(random, 0.01)) world_.at(t - late, s) = Normal(random, 7, 1);
    }
    t += Chance(random, 0.9) ? 1
                             : (Chance(random, 0.9) ? 1 + t % 11 : 40);  // some ticks were missed
  }
}

TEST_P(Carried, IsAValue) {
  const int64_t series = std::ssize(world_.signals);
  Continue(world_.Until(800, 600, series));
  const std::any copy = carried_;
  Continue(world_.Until(801, 600, series));
  Continue(world_.Until(802, 600, series));
  carried_ = copy;
  Continue(world_.Until(801, 600, series));
  ExpectSame(*model_, world_.Until(801, 600, series), out_, 801);
  // The clock went back, stood still, and what is carried is of something else.
  for (const int64_t end : {700, 700, 701}) {
    Continue(world_.Until(end, 600, series));
    ExpectSame(*model_, world_.Until(end, 600, series), out_, end);
  }
  carried_ = std::string("another model's");
  Continue(world_.Until(702, 600, series));
  ExpectSame(*model_, world_.Until(702, 600, series), out_, 702);
  // The window holds all that there is to know.
  EXPECT_EQ(model_->Save(carried_), "");
}

TEST_P(Carried, AnotherHorizonOrIntervalBeginsAnew) {
  const int64_t series = std::ssize(world_.signals);
  Continue(world_.Until(800, 600, series));
  QuantileBlock three;
  QuantileBlock anew;
  const History next = world_.Until(801, 600, series);
  ASSERT_TRUE(model_->Continue(next, 3, carried_, three).ok());
  ASSERT_TRUE(model_->Forecast(next, 3, anew).ok());
  EXPECT_EQ(std::bit_cast<uint32_t>(three.at(1, 2)[0]), std::bit_cast<uint32_t>(anew.at(1, 2)[0]));
  History minutes = world_.Until(802, 600, series);
  minutes.step_ms = 60'000;
  Continue(minutes);
  ExpectSame(*model_, minutes, out_, 802);
  minutes = world_.Until(803, 600, series);
  minutes.step_ms = 60'000;
  minutes.end_ms = world_.Until(802, 600, series).end_ms + 60'000;
  Continue(minutes);
  ExpectSame(*model_, minutes, out_, 803);
}

// The level models on one value, each called in most steps, in any order.
TEST(CarriedTogether, EachSaysWhatItSaysAlone) {
  World world;
  Draw random(11);
  std::vector<std::shared_ptr<const Forecaster>> models;
  for (const char* name : {"last-value", "last-hour-mean", "last-hour-median"}) {
    models.push_back(*MakeModel(name, ""));
    EXPECT_EQ(models.back()->carries_with(), models.front()->carries_with());
    EXPECT_NE(models.back()->carries_with(), "");
  }
  std::any carried;
  QuantileBlock out;
  int64_t series = 15;
  for (int64_t t = 500; t <= kLength;) {
    if (t > 900) series = std::ssize(world.signals);
    const History history = world.Until(t, 900, series);
    std::ranges::shuffle(models, random);
    for (const auto& model : models) {
      if (Chance(random, 0.1)) continue;  // it failed, or was not there
      ASSERT_TRUE(model->Continue(history, kSteps, carried, out).ok());
      ASSERT_NO_FATAL_FAILURE(ExpectSame(*model, history, out, t));
    }
    for (int64_t late = 1; late < 12; ++late) {
      const int64_t s = (t + late) % series;
      if (Chance(random, 0.01)) world.at(t - late, s) = Normal(random, 7, 1);
    }
    t += Chance(random, 0.9) ? 1 : (Chance(random, 0.9) ? 1 + t % 11 : 40);
  }
}

// Samples that came later than is looked for are in the history but not in what is carried. Whoever
// begins anew at another time than the others must not mix the two: counts of errors would not be
// those of the errors, which is checked.
TEST(CarriedTogether, SamplesThatCameTooLateUpsetNobody) {
  World world;
  Draw random(13);
  std::vector<std::shared_ptr<const Forecaster>> models;
  for (const char* name : {"last-value", "last-hour-mean", "last-hour-median"}) {
    models.push_back(*MakeModel(name, ""));
  }
  std::any carried;
  QuantileBlock out;
  const int64_t series = std::ssize(world.signals);
  for (int64_t t = 500; t <= kLength; ++t) {
    const History history = world.Until(t, 900, series);
    for (const auto& model : models) {
      if (Chance(random, 0.2)) continue;
      ASSERT_TRUE(model->Continue(history, kSteps, carried, out).ok());
    }
    for (int64_t late = 1; late < 300; ++late) {
      if (Chance(random, 0.02)) world.at(t - late, (t + late) % series) = Normal(random, 7, 1);
    }
  }
  const History history = world.Until(300, 300, series);  // begun anew
  for (const auto& model : models) {
    ASSERT_TRUE(model->Continue(history, kSteps, carried, out).ok());
    ASSERT_NO_FATAL_FAILURE(ExpectSame(*model, history, out, 300));
  }
}

class OrderStatistics : public ::testing::TestWithParam<kernels::testing::Backend> {
 protected:
  void SetUp() override { kernels::testing::UseInstructionSet(GetParam().target); }
  void TearDown() override { kernels::testing::UseAllInstructionSets(); }
};

INSTANTIATE_TEST_SUITE_P(InstructionSets, OrderStatistics,
                         ::testing::ValuesIn(kernels::testing::InstructionSetsHere()),
                         [](const auto& of) { return std::string(of.param.name); });

TEST_P(OrderStatistics, FollowWhatASortSays) {
  Draw random(5);
  for (const int most : {3, 9, 17, 300}) {
    std::vector<float> ring(304, kMissing);
    Ranks ranks;
    for (int64_t t = 0; t < 6'000; ++t) {
      const int kind = static_cast<int>(t / 500);
      const bool is_seldom_settled = t / 1'000 % 2 == 1;
      const float comes = Chance(random, 0.1) ? kMissing
                          : kind % 2 == 0     ? Normal(random, 0, 1)
                                              : std::floor(Normal(random, 0, 3));
      const float leaves = std::exchange(ring[t % most], comes);
      const bool settled = Slide(leaves, comes, ranks);
      if (is_seldom_settled && !Chance(random, 0.2)) continue;
      if (is_seldom_settled || !settled) Settle(ring, ranks);
      std::vector<float> sorted;
      std::ranges::copy_if(ring, std::back_inserter(sorted),
                           [](float e) { return !std::isnan(e); });
      std::ranges::sort(sorted);
      ASSERT_EQ(ranks.count, std::ssize(sorted));
      ASSERT_EQ(OffsetsOf(ranks, 2), OffsetsOf(sorted, 2)) << t;
      if (sorted.empty()) continue;
      for (int i = 0; i < kTails; ++i) {
        ASSERT_LE(ranks.first[i] + ranks.held[i], ranks.count);
        for (int j = 0; j < kRankRows; ++j) {
          const float row = ranks.value[j * kTails + i];
          ASSERT_EQ(row, j < ranks.held[i] ? sorted[ranks.first[i] + j] : kInfinite) << t;
        }
      }
    }
  }
}

TEST_P(OrderStatistics, AMedianIsFoundFromWhereverItIsSought) {
  Draw random(6);
  for (int round = 0; round < 5'000; ++round) {
    const bool has_ties = Chance(random, 0.5);
    const auto value = [&] {
      const float drawn = Normal(random, 0, 3);
      return has_ties ? std::floor(drawn) : drawn;
    };
    const int most = std::uniform_int_distribution(1, 60)(random);
    std::vector<float> values(64, kMissing);
    std::vector<float> sorted;
    for (int i = 0; i < most; ++i) {
      if (!sorted.empty() && Chance(random, 0.1)) continue;
      sorted.push_back(values[i] = value());
    }
    std::ranges::sort(sorted);
    const size_t middle = sorted.size() / 2;
    const float median =
        sorted.size() % 2 == 1 ? sorted[middle] : 0.5f * sorted[middle - 1] + 0.5f * sorted[middle];
    for (const float guess : {value(), median, sorted.front() - 1, sorted.back() + 1}) {
      ASSERT_EQ(MedianNear(guess, values, static_cast<int>(sorted.size())), median);
    }
  }
}

}  // namespace
}  // namespace foreshadow::models
