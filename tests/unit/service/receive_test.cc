// Series of other systems: labels, rules, what a step's points amount to, and when a step is over.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <bit>
#include <limits>

#include "service/receive/pending.h"

namespace foreshadow::receive {
namespace {

using ::testing::HasSubstr;
using ::testing::Optional;

constexpr int64_t kStepMs = 60'000;
constexpr int64_t kSettleMs = 3'000;
constexpr int64_t kGapMs = 300'000;
constexpr int64_t kStartMs = 1'700'000'040'000;

Labels Tidy(Labels labels) {
  EXPECT_EQ(TidyLabels(labels, {}), "");
  return labels;
}

std::string Fault(Labels labels, const IngestSettings& limits = {}) {
  return TidyLabels(labels, limits);
}

TEST(Labels, AreSortedAndHostileOnesNamed) {
  const Labels labels = Tidy({{"b", "2"}, {"__name__", "m"}, {"a", ""}});
  EXPECT_EQ(labels, (Labels{{"__name__", "m"}, {"b", "2"}}));
  EXPECT_EQ(ValueOf(labels, "b"), "2");
  EXPECT_EQ(ValueOf(labels, "a"), "");

  IngestSettings limits;
  limits.labels_max = 3;
  limits.label_bytes_max = 16;
  EXPECT_THAT(Fault({{"a", "1"}}), HasSubstr("__name__"));
  EXPECT_THAT(Fault({{"__name__", "m"}, {"a", "1"}, {"a", "2"}}), HasSubstr("given twice"));
  EXPECT_THAT(Fault({{"__name__", "m"}, {"", "2"}}), HasSubstr("no name"));
  EXPECT_THAT(Fault({{"__name__", "m"}, {"a", std::string("x\0y", 3)}}), HasSubstr("NUL"));
  EXPECT_THAT(Fault({{"__name__", "m"}, {"a", std::string(17, 'x')}}, limits),
              HasSubstr("17 bytes"));
  EXPECT_THAT(Fault({{"__name__", "m"}, {std::string(1'000, 'x'), "1"}}, limits).size(),
              ::testing::Lt(200u));
  EXPECT_THAT(Fault({{"__name__", "m"}, {"a", "1"}, {"b", "1"}, {"c", "1"}}, limits),
              HasSubstr("4 labels"));
}

TEST(Labels, MakeOneKeyEach) {
  const Labels labels = Tidy({{"__name__", "m"}, {"a", "1"}, {"b", "2"}});
  const std::string key = KeyOf(labels, SentKind::kDelta);
  EXPECT_EQ(FromKey(key), std::pair(labels, SentKind::kDelta));
  EXPECT_NE(key, KeyOf(labels, SentKind::kGauge));
  EXPECT_NE(KeyOf({{"a", "bc"}}, {}), KeyOf({{"ab", "c"}}, {}));
  EXPECT_EQ(FromKey(""), std::pair(Labels{}, SentKind::kUnknown));
  EXPECT_EQ(FromKey("1half").first, (Labels{{"half", ""}}));
}

ReceiveRule MakeRule(const std::string& metric, SignalKind signal) {
  ReceiveRule rule;
  rule.metric = metric;
  rule.signal = signal;
  rule.account = "{namespace}/{app}";
  rule.cell = "cell-{zone}";
  return rule;
}

TEST(Rules, TakeTheFirstThatFitsAndFillItsTexts) {
  ReceiveRule first = MakeRule("cpu_.*", SignalKind::kCpu);
  first.match = {{"container", ".+"}, {"image", "pause|"}};
  const auto rules = Rules::Create({first, MakeRule("cpu_.*", SignalKind::kNetwork)});
  ASSERT_TRUE(rules.ok()) << rules.status();
  Labels labels = Tidy({{"__name__", "cpu_seconds_total"},
                        {"namespace", "n"},
                        {"app", "x"},
                        {"zone", "1"},
                        {"container", "c"}});
  const auto target = rules->Resolve(labels, SentKind::kUnknown);
  ASSERT_TRUE(target);
  EXPECT_EQ(target->signal, SignalKind::kCpu);
  EXPECT_EQ(target->account, "n/x");
  EXPECT_EQ(target->cell, "cell-1");
  EXPECT_EQ(target->application, "");
  EXPECT_EQ(target->making, Making::kCumulative);

  labels = Tidy({{"__name__", "cpu_seconds_total"}, {"namespace", "n"}, {"app", "x"}});
  ASSERT_TRUE(rules->Resolve(labels, SentKind::kGauge));
  EXPECT_EQ(rules->Resolve(labels, SentKind::kGauge)->signal, SignalKind::kNetwork);
  EXPECT_EQ(rules->Resolve(labels, SentKind::kGauge)->cell, "") << "its label is missing";
  EXPECT_EQ(rules->Resolve(labels, SentKind::kGauge)->making, Making::kGauge);
  EXPECT_EQ(rules->Resolve(labels, SentKind::kDelta)->making, Making::kDelta);
  EXPECT_FALSE(rules->Resolve(Tidy({{"__name__", "cpu_x"}, {"app", "x"}}), SentKind::kUnknown))
      << "without a label of the account";
  EXPECT_FALSE(rules->Takes("my_cpu_x")) << "the whole name must fit";
  EXPECT_TRUE(rules->Takes("cpu_x"));
}

std::vector<Point> Points(const std::vector<double>& values, int64_t every_ms = 15'000) {
  std::vector<Point> points;
  for (size_t i = 0; i < values.size(); ++i) {
    points.push_back({kStartMs + static_cast<int64_t>(i) * every_ms, values[i], 0});
  }
  return points;
}

std::optional<double> AmountOf(Making making, const std::vector<Point>& points,
                               const Before& before = {}, InStep in_step = InStep::kMean) {
  Target target;
  target.making = making;
  target.in_step = in_step;
  return Amount(target, points, before, kGapMs, kStepMs);
}

TEST(Amount, OfAGaugeIsItsMeanLastOrLargest) {
  const auto points = Points({4, 1, 3, 0});
  EXPECT_THAT(AmountOf(Making::kGauge, points), Optional(2.0));
  EXPECT_THAT(AmountOf(Making::kGauge, points, {}, InStep::kLast), Optional(0.0));
  EXPECT_THAT(AmountOf(Making::kGauge, points, {}, InStep::kMax), Optional(4.0));
}

TEST(Amount, OfACounterIsItsRateFromThePointBefore) {
  // 100 at 15 s before, then 130, 160, 190, 220: 120 in 60 s.
  const Before before{kStartMs - 15'000, 100, 0};
  EXPECT_THAT(AmountOf(Making::kCumulative, Points({130, 160, 190, 220}), before), Optional(2.0));
  EXPECT_THAT(AmountOf(Making::kCumulative, Points({130, 160, 190, 220})), Optional(2.0))
      << "from its first point when there is none before";
  EXPECT_EQ(AmountOf(Making::kCumulative, Points({130})), std::nullopt);
  EXPECT_THAT(AmountOf(Making::kCumulative, Points({130}), before), Optional(2.0));
  const Before long_ago{kStartMs - kGapMs - 1, 100, 0};
  EXPECT_EQ(AmountOf(Making::kCumulative, Points({130}), long_ago), std::nullopt) << "a gap";
}

TEST(Amount, OfACounterThatBeginsAnewCountsWhatItHasReachedSince) {
  const Before before{kStartMs - 15'000, 1'000, 0};
  // +20, then anew at 10, +20, +10: 60 in 60 s.
  EXPECT_THAT(AmountOf(Making::kCumulative, Points({1'020, 10, 30, 40}), before), Optional(1.0));
  // A later start says it even where the value did not fall: 5,000 since the start.
  const Before old{kStartMs - 10'000, 1'000, kStartMs - 90'000};
  const std::vector<Point> anew = {{kStartMs, 5'000, kStartMs - 5'000}};
  EXPECT_THAT(AmountOf(Making::kCumulative, anew, old), Optional(500.0));
}

TEST(Amount, OfDeltasIsTheirSumOverTheTimeTheyCover) {
  const std::vector<Point> said = {{kStartMs + 10'000, 20, kStartMs},
                                   {kStartMs + 20'000, 40, kStartMs + 10'000}};
  EXPECT_THAT(AmountOf(Making::kDelta, said), Optional(3.0));
  EXPECT_THAT(AmountOf(Making::kDelta, Points({60, 60})), Optional(2.0)) << "over the step";
}

TEST(StaleMarker, IsOneNanAndNoOther) {
  EXPECT_TRUE(IsStaleMarker(std::bit_cast<double>(uint64_t{0x7ff0000000000002})));
  EXPECT_FALSE(IsStaleMarker(std::numeric_limits<double>::quiet_NaN()));
  EXPECT_FALSE(IsStaleMarker(0));
}

// --- Pending -------------------------------------------------------------------------------------

class PendingTest : public ::testing::Test {
 protected:
  Series& Add(const std::string& key, const std::string& account, Making making = Making::kGauge) {
    Target target;
    target.account = account;
    target.making = making;
    return pending_.Add(key, target);
  }
  std::optional<double> SumOf(const std::string& account) const {
    const auto it = folded_.sums.find({SignalKind::kCpu, account});
    if (it == folded_.sums.end() || !it->second.any) return std::nullopt;
    return it->second.amount;
  }

  Pending pending_{kStepMs, kSettleMs, kGapMs};
  FoldedStep folded_;
  using Placed = Pending::Placed;
};

TEST_F(PendingTest, AddsUpTheSeriesOfAnAccountOnceTheStepIsOver) {
  Series& one = Add("1", "x");
  Series& two = Add("2", "x");
  Series& other = Add("3", "y");
  EXPECT_EQ(pending_.Place(one, {kStartMs + 1, 1, 0}, kStartMs + 2), Placed::kNew);
  EXPECT_EQ(pending_.Place(one, {kStartMs + 30'000, 3, 0}, kStartMs + 30'001), Placed::kNew);
  EXPECT_EQ(pending_.Place(two, {kStartMs + 20'000, 10, 0}, kStartMs + 20'001), Placed::kNew);
  EXPECT_EQ(pending_.Place(other, {kStartMs, 7, 0}, kStartMs), Placed::kNew);
  EXPECT_FALSE(pending_.TakeDue(kStartMs + kStepMs + kSettleMs - 1, folded_));
  ASSERT_TRUE(pending_.TakeDue(kStartMs + kStepMs + kSettleMs, folded_));
  EXPECT_EQ(folded_.time_ms, kStartMs);
  EXPECT_THAT(SumOf("x"), Optional(12.0));
  EXPECT_THAT(SumOf("y"), Optional(7.0));
  EXPECT_EQ(pending_.points_count(), 0);
  EXPECT_FALSE(pending_.TakeDue(kStartMs + 10 * kStepMs, folded_));
}

TEST_F(PendingTest, KnowsDuplicatesConflictsAndLatePoints) {
  Series& one = Add("1", "x");
  Series& two = Add("2", "x");
  const Point point{kStartMs + 10, 1, 0};
  pending_.Place(one, point, kStartMs + 20);
  EXPECT_EQ(pending_.Place(one, point, kStartMs + 21), Placed::kDuplicate);
  EXPECT_EQ(pending_.Place(one, {point.time_ms, 2, 0}, kStartMs + 22), Placed::kConflict);
  ASSERT_TRUE(pending_.TakeDue(kStartMs + 2 * kStepMs, folded_));
  EXPECT_EQ(pending_.Place(one, point, kStartMs + 2 * kStepMs), Placed::kDuplicate);
  EXPECT_EQ(pending_.Place(two, point, kStartMs + 2 * kStepMs), Placed::kLate);
  EXPECT_EQ(pending_.Place(two, {kStartMs + kStepMs, 1, 0}, kStartMs + 2 * kStepMs), Placed::kNew);
}

TEST_F(PendingTest, WaitsForAStepOfThePastUntilItIsQuiet) {
  Series& one = Add("1", "x");
  const int64_t now_ms = kStartMs + 100 * kStepMs;
  pending_.Place(one, {kStartMs, 1, 0}, now_ms);
  EXPECT_FALSE(pending_.TakeDue(now_ms, folded_));
  pending_.Place(one, {kStartMs + 1, 2, 0}, now_ms + kSettleMs - 1);
  EXPECT_FALSE(pending_.TakeDue(now_ms + kSettleMs, folded_));
  EXPECT_TRUE(pending_.TakeDue(now_ms + 2 * kSettleMs - 1, folded_));
}

TEST_F(PendingTest, CarriesCountersFromStepToStepButNotOverTheirEnd) {
  Series& one = Add("1", "x", Making::kCumulative);
  pending_.Place(one, {kStartMs, 0, 0}, kStartMs);
  pending_.Place(one, {kStartMs + kStepMs, 60, 0}, kStartMs + kStepMs);
  ASSERT_TRUE(pending_.TakeDue(kStartMs + kStepMs + kSettleMs, folded_));
  EXPECT_EQ(SumOf("x"), std::nullopt);
  ASSERT_EQ(folded_.newest.size(), 1u);
  ASSERT_TRUE(pending_.TakeDue(kStartMs + 2 * kStepMs + kSettleMs, folded_));
  EXPECT_THAT(SumOf("x"), Optional(1.0));

  one.stale_ms = kStartMs + kStepMs + 1;
  pending_.Place(one, {kStartMs + 2 * kStepMs, 120, 0}, kStartMs + 2 * kStepMs);
  ASSERT_TRUE(pending_.TakeDue(kStartMs + 3 * kStepMs + kSettleMs, folded_));
  EXPECT_EQ(SumOf("x"), std::nullopt) << "it had ended";
}

// After a crash or an outage, steps of the past wait until they are quiet and newer ones do not.
TEST_F(PendingTest, GivesCountersTheirRatesInAnyOrderOfTheSteps) {
  Series& one = Add("1", "x", Making::kCumulative);
  const int64_t late_ms = kStartMs + 2 * kStepMs + kSettleMs;  // step 0 is due, step 2 is not over
  for (int step = 0; step < 3; ++step) {
    const int64_t at_ms = kStartMs + step * kStepMs;
    pending_.Place(one, {at_ms, step * step * 60.0, 0}, late_ms);
  }
  std::map<int64_t, double> rates;
  int64_t newest_ms = 0;
  for (int64_t now_ms = late_ms; now_ms < late_ms + 2 * kStepMs; now_ms += 500) {
    // More of step 0 comes, so that it is taken last.
    if (now_ms < late_ms + kStepMs + 5'000) {
      EXPECT_EQ(pending_.Place(one, {kStartMs + (now_ms - late_ms) / 2 + 1, 0, 0}, now_ms),
                Placed::kNew);
    }
    while (pending_.TakeDue(now_ms, folded_)) {
      if (SumOf("x")) rates[(folded_.time_ms - kStartMs) / kStepMs] = *SumOf("x");
      newest_ms = folded_.newest.at(0).second.time_ms;
    }
  }
  EXPECT_EQ(newest_ms, kStartMs + 2 * kStepMs) << "what a restart goes on from is the newest";
  ASSERT_EQ(rates.size(), 3u);
  EXPECT_EQ(rates[0], 0);
  EXPECT_EQ(rates[2], 3.0) << "180 in the minute before it";
  EXPECT_EQ(pending_.Place(one, {kStartMs + 5, 1, 0}, late_ms + 3 * kStepMs), Placed::kDuplicate);
}

TEST_F(PendingTest, TakesABackfilledStepThatHasNoSampleYet) {
  Series& one = Add("1", "x");
  const int64_t now_ms = kStartMs + 100 * kStepMs;
  pending_.Place(one, {kStartMs + 10 * kStepMs, 1, 0}, now_ms);
  ASSERT_TRUE(pending_.TakeDue(now_ms + kSettleMs, folded_));
  Series& two = Add("2", "x");
  EXPECT_EQ(pending_.Place(two, {kStartMs + 9 * kStepMs, 1, 0}, now_ms), Placed::kNew);
  EXPECT_EQ(pending_.Place(two, {kStartMs + 10 * kStepMs, 1, 0}, now_ms), Placed::kLate);
}

TEST_F(PendingTest, ForgetsSeriesThatEnded) {
  Add("1", "x", Making::kCumulative).seen_ms = kStartMs;
  Add("2", "x").seen_ms = kStartMs;
  Add("3", "x").seen_ms = kStartMs + 10 * kGapMs;
  EXPECT_EQ(pending_.ForgetIdle(kStartMs + 10 * kGapMs), std::vector<std::string>{"1"});
  EXPECT_EQ(pending_.series_count(), 1);
}

}  // namespace
}  // namespace foreshadow::receive
