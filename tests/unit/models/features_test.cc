// What the LSTM sees, on every backend, against the definitions in double and plain loops over the
// whole past.
#include "models/lstm/features.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <map>
#include <numbers>
#include <random>
#include <string>

#include "tests/unit/kernels/backends.h"

namespace foreshadow::models {
namespace {

constexpr double kMissing = std::numeric_limits<double>::quiet_NaN();
constexpr int64_t kStepMs = 300'000;
constexpr int kDay = 288;
constexpr int64_t kStartMs = 1'700'000'100'000;  // of the step before the first

using Series = std::vector<double>;  // oldest first, NaN = missing
using Named = std::map<std::string, double>;

double Decayed(const Series& terms, double half_life) {  // weighted mean, the newest weighs most
  double sum = 0;
  double weight = 0;
  for (const double term : terms) {
    sum = sum * std::exp2(-1 / half_life) + term;
    weight = weight * std::exp2(-1 / half_life) + 1;
  }
  return weight > 0 ? sum / weight : 0;
}

Series Present(const Series& series) {
  Series present;
  std::ranges::copy_if(series, std::back_inserter(present),
                       [](double x) { return !std::isnan(x); });
  return present;
}

double Mean(const Series& present) {
  double sum = 0;
  for (const double x : present) sum += x;
  return present.empty() ? kMissing : sum / static_cast<double>(present.size());
}

// Everything that is described of a series at its newest step, by definition.
class Reference {
 public:
  explicit Reference(const Series& series) : series_(series), present_(Present(series)) {
    Series levels = {present_[0]};
    Series steps;
    // The first sample's prior: three samples a tenth of it off.
    Series off(3, 0.1 * std::fabs(present_[0]));
    double peak = 0;
    for (size_t i = 1; i < present_.size(); ++i) {
      const Series before(present_.begin(), present_.begin() + static_cast<int64_t>(i));
      const double rise = present_[i] - Decayed(before, 72);
      off.push_back(std::fabs(rise));
      steps.push_back(std::fabs(present_[i] - present_[i - 1]));
      peak = std::max(peak * std::exp2(-1.0 / kDay), rise);
    }
    level = Decayed(present_, 72);
    // The three come with full weight, as if at one time.
    double sum = 0, square = 0, weight = 0;
    for (size_t i = 0; i < off.size(); ++i) {
      const double decay = i < 3 ? 1 : std::exp2(-1.0 / kDay);
      sum = sum * decay + off[i];
      square = square * decay + off[i] * off[i];
      weight = weight * decay + 1;
    }
    scale = std::max({sum / weight, 1e-5 * std::fabs(level), 1e-6});
    named["peak"] = 0.5 * std::asinh(peak / scale);
    named["tail"] = std::log(std::sqrt(square / weight) / scale + 1);
    const double last = present_.back();
    Series rises;
    for (size_t i = 1; i < present_.size(); ++i) rises.push_back(present_[i] - present_[i - 1]);
    slope = Decayed(rises, 6);
    named["slope"] = std::asinh(slope / scale);
    Describe(last, Decayed(steps, 6), Decayed(steps, kDay));
    named["short_level"] = Scaled(Decayed(present_, 3));
    const double before_last = present_.size() > 1 ? present_[present_.size() - 2] : last;
    named["difference"] = std::asinh((last - before_last) / scale);
    named["level_share"] = 0.25 * std::log((std::fabs(level) + scale) / scale);
  }

  double Scaled(double value) const { return std::asinh((value - level) / scale); }

  double level = 0;
  double scale = 0;
  double slope = 0;
  Named named;
  std::vector<Series> candidates;  // [step][candidate]
  Series spreads;

 private:
  // Mean distance of late between the samples and `guess(step)` where there are both, as a share
  // of the scale in logarithms; 0 where there are never both.
  template <class Guess>
  double ErrorShare(Guess guess) const {
    Series errors;
    for (int64_t t = 0; t < std::ssize(series_); ++t) errors.push_back(std::fabs(At(t) - guess(t)));
    errors = Present(errors);
    return errors.empty() ? 0 : std::log(std::max(Decayed(errors, kDay) / scale, 1e-4));
  }

  double At(int64_t step) const {
    return step >= 0 && step < std::ssize(series_) ? series_[step] : kMissing;
  }

  double Trend(int64_t step) const {  // mean of the day that ends there
    Series day;
    for (int64_t t = step - kDay + 1; t <= step; ++t) day.push_back(At(t));
    return Mean(Present(day));
  }

  // What the time of day of a step adds to the trend, from the samples up to `newest`.
  double Season(int64_t step, int64_t newest) const {
    double season = kMissing;
    for (int64_t t = (step % kDay + kDay) % kDay; t <= newest; t += kDay) {
      if (std::isnan(At(t))) continue;
      const double days =
          static_cast<double>(Present(Series(series_.begin(), series_.begin() + t)).size()) / kDay;
      if (days < 1) continue;
      const double rate = std::max(1 / days, 1.0 / 7);
      const double adds = At(t) - Trend(t);
      season = std::isnan(season) ? adds : season + rate * (adds - season);
    }
    return season;
  }

  void Describe(double last, double short_step, double long_step) {
    const int64_t now = std::ssize(series_) - 1;
    int64_t age = 0;
    while (std::isnan(At(now - age))) ++age;
    Series hour;
    Series hour_seasons;
    for (int64_t t = now - 11; t <= now; ++t) {
      if (std::isnan(At(t))) continue;
      hour.push_back(At(t));
      hour_seasons.push_back(Season(t, t));
    }
    std::ranges::sort(hour);
    const double mean = hour.empty() ? last : Mean(hour);
    const double median =
        hour.empty() ? last : (hour[(hour.size() - 1) / 2] + hour[hour.size() / 2]) / 2;
    double spread = 0;
    for (const double x : hour) spread += std::fabs(x - mean) / static_cast<double>(hour.size());
    const double trend = std::isnan(Trend(now)) ? level : Trend(now);
    const double hour_season = Mean(Present(hour_seasons));
    const auto yesterday = [&](int ahead) {
      const double sample = At(now + ahead - kDay);
      return std::isnan(sample) ? median : sample;
    };
    const auto or_zero = [](double x) { return std::isnan(x) ? 0 : x; };

    named["value"] = Scaled(last);
    named["age"] = std::min<double>(static_cast<double>(age), 12) / 12;
    named["hour_mean"] = Scaled(mean);
    named["hour_median"] = Scaled(median);
    named["hour_spread"] = std::asinh(spread / scale);
    named["hour_max"] = Scaled(hour.empty() ? last : hour.back());
    named["hour_min"] = Scaled(hour.empty() ? last : hour.front());
    for (const int h : {1, 3, 6, 12})
      named["yesterday_" + std::to_string(h)] = Scaled(yesterday(h));
    for (const int h : {1, 6, 12}) {
      named["season_" + std::to_string(h)] = Scaled(trend + or_zero(Season(now + h, now)));
    }
    named["trend"] = Scaled(trend);
    // As the season was known before this step.
    named["remainder"] = std::asinh((last - trend - or_zero(Season(now, now - 1))) / scale);
    named["has_yesterday"] = std::isnan(At(now + 1 - kDay)) ? 0 : 1;
    named["has_season"] = std::isnan(Season(now + 1, now)) ? 0 : 1;
    named["since_yesterday"] = std::asinh((last - yesterday(0)) / scale);
    const auto share = [&](double x) { return std::log(std::max(x / scale, 1e-4)); };
    named["short_step"] = 0.25 * share(short_step);
    named["long_step"] = 0.25 * share(long_step);
    const auto hour_ago = [&](int ahead) {
      int64_t step = now + ahead - 12;
      while (step > now) step -= 12;
      return std::isnan(At(step)) ? median : At(step);
    };
    for (const int h : {1, 3, 6}) named["hour_ago_" + std::to_string(h)] = Scaled(hour_ago(h));
    const double hour_ago_error = ErrorShare([&](int64_t t) { return At(t - 12); });
    const double yesterday_error = ErrorShare([&](int64_t t) { return At(t - kDay); });
    const double season_error = ErrorShare([&](int64_t t) { return Trend(t) + Season(t, t - 1); });
    named["hour_ago_error"] = 0.25 * hour_ago_error;
    named["yesterday_error"] = 0.25 * yesterday_error;
    named["season_error"] = 0.25 * season_error;
    spreads = {0,
               share(spread),
               share(short_step),
               share(long_step),
               hour_ago_error,
               yesterday_error,
               season_error};
    double damped_steps = 0;
    for (int h = 1; h <= 12; ++h) {
      damped_steps += std::pow(0.9, h);
      const double season = Season(now + h, now);
      const double from_last = last + season - or_zero(Season(now, now));
      const double decomposed = std::isnan(season) ? yesterday(h) : trend + season;
      const double moved = mean + season - hour_season;
      candidates.push_back({});
      for (const double x :
           {last, mean, median, level, yesterday(h), decomposed, std::isnan(moved) ? mean : moved,
            std::isnan(from_last) ? last : from_last, last + damped_steps * slope, hour_ago(h)}) {
        candidates.back().push_back((x - level) / scale);
      }
    }
  }

  Series series_;
  Series present_;
};

Series MakeSeries(int64_t steps, uint64_t seed, double gaps) {
  std::mt19937_64 random(seed);
  std::normal_distribution<double> normal(0, 1);
  std::bernoulli_distribution gap(gaps);
  Series series;
  for (int64_t t = 0; t < steps; ++t) {
    const double wave = std::sin(2 * std::numbers::pi * static_cast<double>(t) / kDay);
    const double x = static_cast<float>(1000 * (3 + wave + 0.3 * normal(random)));
    series.push_back(gap(random) ? kMissing : x);
  }
  return series;
}

// All series after their last step, by a backend's operations.
struct Described {
  FeatureState state;
  std::vector<float> features, candidates, spreads, levels, scales;

  Described(const kernels::Ops& ops, const std::vector<Series>& all,
            std::span<const Driver> drivers, std::span<const int64_t> start_ms)
      : state(NewFeatureState({kStepMs, 12}, std::ssize(all), start_ms)) {
    using kernels::testing::Array;
    const int64_t width = state.width;
    const Array<int32_t> week(ops, state.week);
    const Array<float> rows(ops, state.rows), day(ops, state.day), season(ops, state.season);
    kernels::LstmPast past{width,
                           state.phase,
                           kDay,
                           12,
                           week.span().data(),
                           rows.span().data(),
                           day.span().data(),
                           season.span().data()};
    for (int64_t t = 0; t < std::ssize(all[0]); ++t) {
      std::vector<float> row(static_cast<size_t>(width), static_cast<float>(kMissing));
      for (size_t s = 0; s < all.size(); ++s) row[s] = static_cast<float>(all[s][t]);
      const Array<float> samples(ops, row);
      past.phase = (past.phase + 1) % kDay;
      ops.lstm_advance({past, samples.span().data()});
      EXPECT_EQ(ops.wait(nullptr), "");
    }
    std::vector<Driver> padded(drivers.begin(), drivers.end());
    padded.resize(static_cast<size_t>(width));
    const Array<Driver> drivers_there(ops, padded);
    const Array<float> clock(ops, state.clock);
    const auto room = [&](int64_t count) {
      return Array<float>(ops, static_cast<size_t>(count * width));
    };
    const Array<float> features_there = room(kFeatures), candidates_there = room(12 * kCandidates),
                       spreads_there = room(kSpreads), levels_there = room(1),
                       scales_there = room(1);
    // Tile after tile, as a device does with more series than it describes at once.
    for (int64_t first = 0; first < width; first += kernels::kLstmTile) {
      ops.lstm_describe({.past = past,
                         .first = first,
                         .count = kernels::kLstmTile,
                         .clock = clock.span().data(),
                         .drivers = drivers_there.span().data(),
                         .stride = width,
                         .features = features_there.span().data() + first,
                         .candidates = candidates_there.span().data() + first,
                         .spreads = spreads_there.span().data() + first,
                         .levels = levels_there.span().data() + first,
                         .scales = scales_there.span().data() + first,
                         .steps = 12});
    }
    features = features_there.Read();
    candidates = candidates_there.Read();
    spreads = spreads_there.Read();
    levels = levels_there.Read();
    scales = scales_there.Read();
    state.rows = rows.Read();
  }
  float feature(std::string_view name, int64_t s) const {
    const auto at = std::ranges::find(kFeatureNames, name) - kFeatureNames.begin();
    return features[at * state.width + s];
  }
};

class Features : public kernels::testing::OnBackend {};
FORESHADOW_ON_BACKENDS(Features);

TEST_P(Features, AreWhatTheirDefinitionsSay) {
  std::vector<Series> all;
  all.reserve(70);
  for (int s = 0; s < 70; ++s) all.push_back(MakeSeries(3 * kDay + 40, s, s % 3 * 0.2));
  for (int64_t t = 0; t < 2 * kDay; ++t) all[1][t] = kMissing;  // a young account
  std::fill(all[2].end() - 9, all[2].end(), kMissing);          // silent of late
  std::fill(all[3].begin(), all[3].end(), 7);                   // constant
  std::fill(all[4].end() - 20, all[4].end(), kMissing);         // for over an hour
  const std::vector<int64_t> start = {kStartMs};
  const Described described(ops(), all, {}, start);
  for (const int64_t s : {0, 1, 2, 3, 4, 63, 64, 69}) {
    const Reference reference(all[s]);
    EXPECT_NEAR(described.levels[s], reference.level, 1e-3 * reference.scale + 1e-5) << s;
    EXPECT_NEAR(described.scales[s], reference.scale, 1e-2 * reference.scale) << s;
    for (const auto& [name, value] : reference.named) {
      EXPECT_NEAR(described.feature(name, s), value, 3e-3) << name << " of " << s;
    }
    for (int h = 0; h < 12; ++h) {
      for (int k = 0; k < kCandidates; ++k) {
        EXPECT_NEAR(described.candidates[(h * kCandidates + k) * described.state.width + s],
                    reference.candidates[h][k], 5e-3)
            << kCandidateNames[k] << ' ' << h << " of " << s;
      }
    }
    for (int k = 0; k < kSpreads; ++k) {
      EXPECT_NEAR(described.spreads[k * described.state.width + s], reference.spreads[k], 2e-3);
    }
  }
}

TEST_P(Features, TellTheTimeOfEachSeries) {
  const std::vector<Series> all(3, MakeSeries(40, 1, 0));
  const std::vector<int64_t> start = {kStartMs, kStartMs + 5 * kStepMs, kStartMs - 86'400'000};
  const Described described(ops(), all, {}, start);
  for (int64_t s = 0; s < 3; ++s) {
    const int64_t into_day = (start[s] + 40 * kStepMs) % 86'400'000 / kStepMs;
    const double angle = 2 * std::numbers::pi * static_cast<double>(into_day) / kDay;
    EXPECT_NEAR(described.feature("day_sin", s), std::sin(angle), 1e-5);
    EXPECT_NEAR(described.feature("day_cos", s), std::cos(angle), 1e-5);
  }
  // They begin on Tuesday, 2023-11-14, and end after midnight.
  const double week = 2 * std::numbers::pi *
                      (2 + static_cast<double>((kStartMs + 40 * kStepMs) % 86'400'000) / 86.4e6) /
                      7;
  EXPECT_NEAR(described.feature("week_sin", 0), std::sin(week), 5e-3);
  EXPECT_NEAR(described.feature("week_cos", 0), std::cos(week), 5e-3);
}

TEST_P(Features, ShowWhatADriverDidALeadBefore) {
  std::vector<Series> all = {MakeSeries(400, 1, 0), MakeSeries(400, 2, 0)};
  const std::vector<Driver> drivers = {{1, 6, 0.8f}, {-1, 0, 0}};
  const std::vector<int64_t> start = {kStartMs};
  const Described described(ops(), all, drivers, start);
  const Reference driver(all[1]);
  EXPECT_NEAR(described.feature("driver_1", 0), driver.Scaled(all[1][399 - 5]), 2e-3);
  EXPECT_NEAR(described.feature("driver_3", 0), driver.Scaled(all[1][399 - 3]), 2e-3);
  EXPECT_NEAR(described.feature("driver_12", 0), driver.Scaled(all[1][399]), 2e-3);
  EXPECT_FLOAT_EQ(described.feature("driver_correlation", 0), 0.8f);
  for (const char* name : {"driver_1", "driver_3", "driver_12", "driver_correlation"}) {
    EXPECT_EQ(described.feature(name, 1), 0) << name;
  }
}

TEST_P(Features, StayFiniteForAnySamples) {
  constexpr double kLargest = std::numeric_limits<float>::max();
  std::vector<Series> all(5, Series(700, kMissing));
  for (size_t t = 0; t < 700; t += 2) all[0][t] = kLargest;
  for (size_t t = 0; t < 700; ++t) all[1][t] = t % 2 == 0 ? 0 : 9e14;
  for (size_t t = 0; t < 700; ++t) all[2][t] = t % 2 == 0 ? -1e-30 : 1e-38;
  all[3][699] = std::numeric_limits<double>::infinity();
  const std::vector<int64_t> start = {kStartMs};
  const Described described(ops(), all, {}, start);
  const auto finite = [](float x) { return std::isfinite(x); };
  EXPECT_TRUE(std::ranges::all_of(described.features, finite));
  EXPECT_TRUE(std::ranges::all_of(described.candidates, finite));
  EXPECT_TRUE(std::ranges::all_of(described.spreads, finite));
  EXPECT_EQ(Judge(described.state, 0), ForecastStatus::kNoHistory);  // beyond kSampleMax: missing
  EXPECT_EQ(Judge(described.state, 1), ForecastStatus::kOk);
  EXPECT_EQ(Judge(described.state, 3), ForecastStatus::kNoHistory);
  EXPECT_EQ(Judge(described.state, 4), ForecastStatus::kNoHistory);
}

TEST_P(Features, KnowWhoCannotBeForecast) {
  std::vector<Series> all(3, Series(100, kMissing));
  std::fill(all[0].end() - 5, all[0].end(), 1);
  std::fill(all[1].end() - 6, all[1].end(), 1);
  std::fill(all[2].begin(), all[2].end() - 13, 1);
  const std::vector<int64_t> start = {kStartMs};
  const Described described(ops(), all, {}, start);
  EXPECT_EQ(Judge(described.state, 0), ForecastStatus::kCannot);  // one sample short
  EXPECT_EQ(Judge(described.state, 1), ForecastStatus::kOk);
  EXPECT_EQ(Judge(described.state, 2), ForecastStatus::kCannot);  // silent for over an hour
}

}  // namespace
}  // namespace foreshadow::models
