// The backtest against scores worked out by hand, and the proof that it does not leak.
#include "training/backtest/backtest.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <any>
#include <cmath>
#include <cstring>
#include <fstream>
#include <limits>
#include <map>
#include <random>

#include "absl/strings/str_cat.h"
#include "models/level/level.h"
#include "models/registry.h"
#include "training/backtest/forecasts_csv.h"
#include "training/io/csv.h"

namespace foreshadow::training {
namespace {

using models::QuantileBlock;
using testing::HasSubstr;

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();
const std::function<void(int64_t, int64_t)> kSilent = [](int64_t, int64_t) {};

SeriesSet Columns(const std::vector<std::vector<float>>& columns) {
  SeriesSet set;
  set.start_ms = 1'700'000'000'000;
  set.step_ms = 300'000;
  set.steps = std::ssize(columns[0]);
  set.signals.assign(columns.size(), models::SignalKind::kCpu);
  for (int64_t t = 0; t < set.steps; ++t) {
    for (const auto& column : columns) set.values.push_back(column[t]);
  }
  return set;
}

// Says 10 at every level, keeps the histories it was shown, and has no answer for series 1.
class Ten : public models::Forecaster {
 public:
  std::string_view name() const override { return "ten"; }
  int MaxSteps(int64_t) const override { return 3; }
  absl::Status Forecast(const models::History& history, int steps,
                        QuantileBlock& out) const override {
    out.Resize(history.values.series, steps);
    std::ranges::fill(out.values, 10.0f);
    if (history.values.series > 1) out.status[1] = models::ForecastStatus::kCannot;
    shown.emplace_back(history.values.data,
                       history.values.data + history.values.steps * history.values.series);
    ends_ms.push_back(history.end_ms);
    return absl::OkStatus();
  }
  mutable std::vector<std::vector<float>> shown;
  mutable std::vector<int64_t> ends_ms;
};

TEST(Backtest, ScoresAsWorkedOutByHand) {
  // The error of one step before the test is 2 on average: 4, 8, 6, 8 have differences 4, 2, 2.
  const SeriesSet set = Columns({{4, 8, 6, 8, 13, 6, kMissing}, {1, 2, 3, 4, 5, 6, 7}});
  BacktestOptions options;
  options.first_step = 4;
  options.horizon_steps = 3;
  const auto result = Backtest(set, {std::make_shared<Ten>()}, options, kSilent);
  ASSERT_TRUE(result.ok()) << result.status();
  EXPECT_EQ(result->origins, 1);
  EXPECT_EQ(result->unanswered[0], 1);
  EXPECT_DOUBLE_EQ(result->scales[0], 8.0 / 3);
  const auto scores = Summarize(*result, 1, 3);
  ASSERT_EQ(scores.size(), 2);
  const Score& all = scores[1];
  EXPECT_EQ(all.points, 2);  // errors 3 and -4; the third is missing
  EXPECT_NEAR(all.mase, 3.5 / (8.0 / 3), 1e-12);
  EXPECT_NEAR(all.smape, (2 * 3 / 23.0 + 2 * 4 / 16.0) / 2, 1e-12);
  double level = 0;
  for (const float q : models::kQuantileLevels) level += q / models::kQuantiles;
  EXPECT_NEAR(all.crps, 2 * (3 * level + 4 * (1 - level)) / 19, 1e-6);
  EXPECT_DOUBLE_EQ(all.coverage_80, 0);
  EXPECT_NEAR(Summarize(*result, 2, 2)[1].mase, 4 / (8.0 / 3), 1e-12);
}

TEST(Backtest, ShowsEachOriginItsPastOnly) {
  std::vector<float> column(40);
  for (size_t t = 0; t < column.size(); ++t) column[t] = static_cast<float>(t);
  const SeriesSet set = Columns({column});
  const auto ten = std::make_shared<Ten>();
  BacktestOptions options;
  options.first_step = 20;
  options.horizon_steps = 2;
  options.stride_steps = 7;
  options.window_steps = 5;
  ASSERT_TRUE(Backtest(set, {ten}, options, kSilent).ok());
  ASSERT_EQ(ten->shown.size(), 3);
  EXPECT_THAT(ten->shown[1], testing::ElementsAre(22, 23, 24, 25, 26));
  EXPECT_EQ(ten->ends_ms[1], set.TimeMs(26));
}

// What every model says at every origin scored: [origin][model].
std::vector<std::vector<QuantileBlock>> SaidAt(const SeriesSet& set, const ForecasterList& models,
                                               const BacktestOptions& options) {
  std::vector<std::vector<QuantileBlock>> said;
  const auto result = Backtest(set, models, options, kSilent, [&said](const OriginForecasts& o) {
    said.emplace_back(o.blocks.begin(), o.blocks.end());
    return absl::OkStatus();
  });
  EXPECT_TRUE(result.ok()) << result.status();
  return said;
}

TEST(Backtest, ForecastsDoNotChangeWhenTheFutureDoes) {
  std::mt19937_64 random(2);
  std::normal_distribution<float> normal(50, 9);
  std::vector<std::vector<float>> columns(3, std::vector<float>(900));
  for (auto& column : columns) std::ranges::generate(column, [&] { return normal(random); });
  auto changed = columns;
  for (auto& column : changed) {
    for (size_t t = 700; t < column.size(); ++t) column[t] = 1e6f * normal(random);
  }
  BacktestOptions options;
  options.first_step = 640;
  options.stride_steps = 20;
  options.mix = true;
  const std::string folder = FORESHADOW_SOURCE_DIR "/models/default";
  ForecasterList models = models::LoadModels(folder).models;
  for (const char* name : {"ets", "arima", "prophet"}) {
    models.push_back(*models::MakeModel(name, folder));
  }
  const std::vector<std::string> names = ModelNames(models, options);
  EXPECT_EQ(names.back(), "auto");
  const auto one = SaidAt(Columns(columns), models, options);
  const auto other = SaidAt(Columns(changed), models, options);
  for (size_t m = 0; m < names.size(); ++m) {
    for (int origin = 0; origin <= 3; ++origin) {  // 640, 660, 680, 700
      const auto& a = one[origin][m].values;
      const auto& b = other[origin][m].values;
      EXPECT_EQ(0, std::memcmp(a.data(), b.data(), a.size() * sizeof(float)))
          << names[m] << " at origin " << origin;
    }
    EXPECT_NE(one[4][m].values, other[4][m].values) << names[m];
  }
}

// Noise around a level of its own a series, with gaps.
SeriesSet Noise(int series, int steps) {
  std::mt19937_64 random(7);
  std::normal_distribution<float> normal(0, 4);
  std::vector<std::vector<float>> columns(series, std::vector<float>(steps));
  for (int s = 0; s < series; ++s) {
    for (float& value : columns[s]) {
      value = std::max(0.0f, static_cast<float>(20 * (s + 1)) + normal(random));
      if (random() % 20 == 0) value = kMissing;
    }
  }
  SeriesSet set = Columns(columns);
  for (int s = 0; s < series; ++s) {
    set.accounts.push_back(absl::StrCat("vm, ", s));
    set.signals[s] = s % 2 == 0 ? models::SignalKind::kCpu : models::SignalKind::kMemory;
  }
  return set;
}

TEST(Backtest, ScoresTheSeriesAndOriginsAskedFor) {
  const SeriesSet set = Noise(4, 120);
  const ForecasterList models = {models::MakeLevel(models::LevelKind::kLastValue)};
  BacktestOptions options;
  options.first_step = 60;
  options.stride_steps = 4;
  options.horizon_steps = 5;
  options.mix = true;
  const auto all = SaidAt(set, models, options);
  options.score_every = 3;
  options.scored = {0, 1, 1, 0};
  const auto some = SaidAt(set, models, options);
  ASSERT_EQ(all.size(), 14);
  ASSERT_EQ(some.size(), 5);
  for (size_t o = 0; o < some.size(); ++o) {
    for (size_t m = 0; m < 2; ++m) EXPECT_EQ(some[o][m].values, all[3 * o][m].values);
  }
  const auto result = Backtest(set, models, options, kSilent);
  ASSERT_TRUE(result.ok());
  EXPECT_EQ(result->origins, 5);
  EXPECT_EQ(result->scored_series, 2);
  EXPECT_EQ(result->at(0, 0, 0).points, 0);
  EXPECT_GT(result->at(0, 1, 0).points, 0);
  options.scored = {1};
  EXPECT_THAT(std::string(Backtest(set, models, options, kSilent).status().message()),
              HasSubstr("scored is 1: allowed is 0 or a flag for each of the 4 series"));
}

// Says how many calls its state has seen; 0 without one.
class Counts : public Ten {
 public:
  absl::Status Continue(const models::History& history, int steps, std::any& carried,
                        QuantileBlock& out) const override {
    if (!carried.has_value()) carried = 0;
    const int calls = ++std::any_cast<int&>(carried);
    absl::Status status = Forecast(history, steps, out);
    std::ranges::fill(out.values, static_cast<float>(calls));
    return status;
  }
};

TEST(Backtest, CarriesEachModelsStateFromOriginToOrigin) {
  const SeriesSet set = Columns({{4, 8, 6, 8, 13, 6, 5, 9}});
  BacktestOptions options;
  options.first_step = 4;
  options.horizon_steps = 1;
  options.stride_steps = 1;
  for (const bool carried : {false, true}) {
    options.carried = carried;
    std::vector<float> said;
    const auto result = Backtest(set, {std::make_shared<Counts>(), std::make_shared<Counts>()},
                                 options, kSilent, [&said](const OriginForecasts& made) {
                                   for (const auto& block : made.blocks) {
                                     said.push_back(block.at(0, 0)[0]);
                                   }
                                   return absl::OkStatus();
                                 });
    ASSERT_TRUE(result.ok()) << result.status();
    EXPECT_EQ(said, carried ? (std::vector<float>{1, 1, 2, 2, 3, 3, 4, 4})
                            : std::vector<float>(8, 10.0f));
  }
}

TEST(Backtest, EndsWithTheErrorOfTheSink) {
  BacktestOptions options;
  options.first_step = 60;
  const auto result =
      Backtest(Noise(1, 90), {models::MakeLevel(models::LevelKind::kLastValue)}, options, kSilent,
               [](const OriginForecasts&) { return absl::UnavailableError("disk is full"); });
  EXPECT_EQ(result.status().message(), "disk is full");
}

TEST(Backtest, TellsModelsTheApplications) {
  SeriesSet set = Noise(2, 90);
  set.applications = {-1, 0};
  set.application_names = {"web"};
  class Asks : public Ten {
   public:
    absl::Status Forecast(const models::History& history, int steps,
                          QuantileBlock& out) const override {
      EXPECT_THAT(history.applications, testing::ElementsAre(-1, 0));
      EXPECT_THAT(history.application_names, testing::ElementsAre("web"));
      return Ten::Forecast(history, steps, out);
    }
  };
  BacktestOptions options;
  options.first_step = 60;
  options.horizon_steps = 3;
  EXPECT_TRUE(Backtest(set, {std::make_shared<Asks>()}, options, kSilent).ok());
}

// The table's figures again, from the CSV alone and by their definitions.
TEST(Backtest, ScoresAreThoseOfItsCsv) {
  const SeriesSet set = Noise(4, 700);
  const ForecasterList models = {models::MakeLevel(models::LevelKind::kLastValue),
                                 models::MakeLevel(models::LevelKind::kLastHourMean)};
  BacktestOptions options;
  options.first_step = 600;
  options.stride_steps = 7;
  options.horizon_steps = 4;
  options.mix = true;
  options.scored = {1, 1, 0, 1};
  const std::string path = testing::TempDir() + "forecasts.csv.gz";
  auto csv = ForecastsCsv::Create(path, set, options, ModelNames(models, options));
  ASSERT_TRUE(csv.ok()) << csv.status();
  const auto result = Backtest(set, models, options, kSilent,
                               [&csv](const OriginForecasts& o) { return csv->Write(o); });
  ASSERT_TRUE(result.ok()) << result.status();
  ASSERT_TRUE(csv->Close().ok());

  struct Sums {
    double pinball = 0, actual = 0, smape = 0, inside = 0, points = 0;
    std::map<std::string, std::pair<double, double>> errors;  // of an account: sum and count
  };
  std::map<std::pair<std::string, std::string>, Sums> by_model_and_signal;
  auto reader = CsvReader::Open(path);
  ASSERT_TRUE(reader.ok());
  ASSERT_TRUE(*reader->Next());
  EXPECT_EQ(reader->fields()[6], "q0.05");
  while (*reader->Next()) {
    const auto f = reader->fields();
    ASSERT_EQ(f.size(), 6 + models::kQuantiles);
    EXPECT_NE(f[0], "vm, 2");
    EXPECT_EQ((std::stoll(std::string(f[2])) - set.TimeMs(599)) % (7 * set.step_ms), 0);
    const int step = std::stoi(std::string(f[3]));
    if (step < 2 || step > 3 || f[4].empty()) continue;
    const double y = std::stod(std::string(f[4]));
    std::vector<double> q;
    for (const auto& field : f.subspan(6)) q.push_back(std::stod(std::string(field)));
    Sums& sums = by_model_and_signal[{std::string(f[5]), std::string(f[1])}];
    for (int k = 0; k < models::kQuantiles; ++k) {
      const double level = models::kQuantileLevels[k];
      sums.pinball += (y < q[k] ? 1 - level : level) * std::fabs(y - q[k]) / models::kQuantiles;
    }
    sums.actual += std::fabs(y);
    sums.smape += y == q[3] ? 0 : 2 * std::fabs(y - q[3]) / (std::fabs(y) + std::fabs(q[3]));
    sums.inside += q[1] <= y && y <= q[5] ? 1 : 0;
    sums.points += 1;
    sums.errors[std::string(f[0])].first += std::fabs(y - q[3]);
    sums.errors[std::string(f[0])].second += 1;
  }
  ASSERT_EQ(by_model_and_signal.size(), 6);
  for (const Score& score : Summarize(*result, 2, 3)) {
    if (score.signal == "all") continue;
    const Sums& sums = by_model_and_signal[{score.model, score.signal}];
    EXPECT_EQ(score.points, sums.points);
    EXPECT_NEAR(score.crps, 2 * sums.pinball / sums.actual, 1e-6);
    EXPECT_NEAR(score.smape, sums.smape / sums.points, 1e-6);
    EXPECT_NEAR(score.coverage_80, sums.inside / sums.points, 1e-9);
    double mase = 0;
    for (const auto& [account, error] : sums.errors) {
      const int64_t s = std::ranges::find(set.accounts, account) - set.accounts.begin();
      double change = 0;
      int count = 0;
      for (int64_t t = 288; t < 600; ++t) {  // the first step of the test
        const double d = set.values[t * 4 + s] - set.values[(t - 288) * 4 + s];
        if (std::isnan(d)) continue;
        change += std::fabs(d);
        ++count;
      }
      mase += error.first / error.second / (change / count);
    }
    EXPECT_NEAR(score.mase, mase / static_cast<double>(sums.errors.size()), 1e-6);
  }
}

TEST(SeriesSet, ReadsTheApplications) {
  const std::string path = testing::TempDir() + "applications.csv";
  std::ofstream(path) << "timestamp,cell,account,application,cpu,memory,network,storage,"
                         "mutation_rate\n0,c,a,web,1,2,,,\n0,c,b,,1,,,,\n300000,c,a,web,1,2,,,\n";
  const auto set = ReadSeries(std::vector{path});
  ASSERT_TRUE(set.ok()) << set.status();
  EXPECT_THAT(set->accounts, testing::ElementsAre("a", "a", "b"));
  EXPECT_THAT(set->applications, testing::ElementsAre(0, 0, -1));
  EXPECT_THAT(set->application_names, testing::ElementsAre("web"));
}

TEST(Backtest, NamesOptionsThatDoNotFit) {
  const SeriesSet set = Columns({std::vector<float>(50, 1)});
  BacktestOptions options;
  options.first_step = 45;
  EXPECT_THAT(std::string(Backtest(set, {}, options, kSilent).status().message()),
              HasSubstr("first_step is 45: allowed is 2 to 38"));
  options.first_step = 20;
  EXPECT_THAT(
      std::string(Backtest(set, {std::make_shared<Ten>()}, options, kSilent).status().message()),
      HasSubstr("model ten forecasts 3 steps"));
}

}  // namespace
}  // namespace foreshadow::training
