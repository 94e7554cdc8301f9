// The commands of `foreshadow` that need no server, as a shell sees them: output, exit code, words.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <nlohmann/json.hpp>
#include <random>
#include <sstream>
#include <utility>

#include "absl/strings/str_split.h"
#include "tests/integration/process.h"

namespace foreshadow::testing {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::StartsWith;

struct Outcome {
  int code = -1;
  std::string output;  // both streams
};

class Commands : public ::testing::Test {
 protected:
  Commands() {
    std::string name = (std::filesystem::temp_directory_path() / "foreshadow-test-XXXXXX").string();
    folder_ = mkdtemp(name.data());
  }
  ~Commands() override { std::filesystem::remove_all(folder_); }

  std::string PathOf(const std::string& name) const { return folder_ + "/" + name; }

  std::string Put(const std::string& name, const std::string& text) const {
    std::ofstream(PathOf(name)) << text;
    return PathOf(name);
  }

  Outcome Run(std::vector<std::string> arguments) const {
    arguments.insert(arguments.begin(), std::string(FORESHADOW_BIN_DIR) + "/foreshadow");
    std::filesystem::remove(PathOf("log"));
    Process process(arguments, PathOf("log"));
    const int code = process.Wait();
    return {code, process.Output()};
  }

  std::string folder_;
};

// Twelve days of hours: a season of 24 on a rising line.
std::string Hourly() {
  std::string text = "timestamp,\"a,b\",flat\n";
  for (int i = 0; i < 288; ++i) {
    text += std::to_string(int64_t{1'700'000'000'000} + i * int64_t{3'600'000}) + "," +
            std::to_string(10 + 0.01 * i + (i % 24 < 12 ? 1 : -1)) + ",5\n";
  }
  return text;
}

TEST_F(Commands, TellUsageFromFailure) {
  EXPECT_EQ(Run({"--version"}).code, 0);
  EXPECT_EQ(Run({"decompose", "--help"}).code, 0);
  EXPECT_EQ(Run({}).code, 2);
  EXPECT_EQ(Run({"no-such-command"}).code, 2);
  EXPECT_EQ(Run({"decompose", "--no-such-option"}).code, 2);
  const Outcome missing = Run({"decompose", "--period", "24", PathOf("none.csv")});
  EXPECT_EQ(missing.code, 1);
  EXPECT_THAT(missing.output, AllOf(StartsWith("foreshadow decompose: "), HasSubstr("none.csv")));
}

TEST_F(Commands, DecomposeAddsUpAndQuotesNames) {
  const std::string input = Put("in.csv", Hourly());
  const Outcome csv = Run({"decompose", "--period", "24", input});
  ASSERT_EQ(csv.code, 0) << csv.output;
  EXPECT_THAT(csv.output, HasSubstr("\n\"a,b\",0,"));

  const Outcome json = Run({"decompose", "--period", "24", "--json", input});
  ASSERT_EQ(json.code, 0) << json.output;
  const auto series = nlohmann::json::parse(json.output.substr(0, json.output.find('\n')))[0];
  EXPECT_EQ(series["series"], "a,b");
  ASSERT_EQ(series["observed"].size(), 288u);
  for (size_t i = 0; i < 288; ++i) {
    const double sum = series["seasonal"][i].get<double>() + series["trend"][i].get<double>() +
                       series["remainder"][i].get<double>();
    EXPECT_NEAR(sum, series["observed"][i].get<double>(), 1e-4);
    EXPECT_NEAR(series["seasonal"][i].get<double>(), i % 24 < 12 ? 1 : -1, 0.1);
  }
}

struct DecomposeCase {
  const char*
      golden;  // of tests/golden/stl, made by R or, where robust and of even length, statsmodels
  std::vector<std::string> flags;
};

// The flags of every case against what R's stl() made of the same series with the same parameters.
TEST_F(Commands, DecomposeEqualsR) {
  const std::vector<DecomposeCase> cases = {
      {"co2_periodic", {"--period", "12"}},
      {"co2_s7", {"--period", "12", "--seasonal", "7"}},
      {"co2_s21_t41_l13_deg",
       {"--period", "12", "--seasonal", "21", "--seasonal-degree", "1", "--trend", "41",
        "--trend-degree", "0", "--low-pass", "13", "--low-pass-degree", "0"}},
      {"co2_jumps1",
       {"--period", "12", "--seasonal", "35", "--seasonal-jump", "1", "--trend-jump", "1",
        "--low-pass-jump", "1"}},
      {"nottem_periodic", {"--period", "12", "--seasonal", "periodic"}},
      {"nottem_s13_inner5", {"--period", "12", "--seasonal", "13", "--inner", "5"}},
      {"nottem_jumps",
       {"--period", "12", "--seasonal", "11", "--seasonal-jump", "3", "--trend-jump", "7",
        "--low-pass-jump", "5"}},
      {"nottem_wide",
       {"--period", "12", "--seasonal", "51", "--seasonal-degree", "1", "--trend", "401",
        "--low-pass", "301", "--seasonal-jump", "1", "--trend-jump", "1", "--low-pass-jump", "1"}},
      {"nottem_odd_robust", {"--period", "12", "--robust"}},
      {"co2_odd_robust_s7", {"--period", "12", "--seasonal", "7", "--robust"}},
      {"co2_odd_robust_outer2",
       {"--period", "12", "--seasonal", "15", "--seasonal-degree", "1", "--robust", "--inner", "3",
        "--outer", "2"}},
      {"nottem_even_robust", {"--period", "12", "--robust"}},
      {"trace_periodic", {"--period", "288"}},
      {"trace_odd_robust_s7", {"--period", "288", "--seasonal", "7", "--robust"}},
      {"trace_even_robust_s7", {"--period", "288", "--seasonal", "7", "--robust"}},
  };
  for (const auto& [golden, flags] : cases) {
    SCOPED_TRACE(golden);
    std::vector<std::vector<double>> rows;
    std::string input = "value\n";
    double low = std::numeric_limits<double>::infinity();
    double high = -low;
    std::istringstream file(
        ReadFile(std::string(FORESHADOW_SOURCE_DIR) + "/tests/golden/stl/" + golden + ".csv"));
    std::string line;
    std::getline(file, line);
    while (std::getline(file, line)) {
      std::vector<double> row;
      for (const auto field : absl::StrSplit(line, ','))
        row.push_back(std::stod(std::string(field)));
      input += line.substr(0, line.find(',')) + "\n";
      low = std::min(low, row[0]);
      high = std::max(high, row[0]);
      rows.push_back(row);
    }
    std::vector<std::string> command = {"decompose"};
    command.insert(command.end(), flags.begin(), flags.end());
    command.push_back(Put("in.csv", input));
    const Outcome run = Run(command);
    ASSERT_EQ(run.code, 0) << run.output;
    std::istringstream output(run.output);
    std::getline(output, line);
    ASSERT_EQ(line, "series,index,observed,seasonal,trend,remainder,weight");
    for (const auto& row : rows) {
      std::getline(output, line);
      const std::vector<std::string> fields = absl::StrSplit(line, ',');
      for (size_t part = 0; part < 4; ++part) {
        ASSERT_NEAR(std::stod(fields[part + 2]), row[part], 1e-4 * (high - low)) << line;
      }
    }
  }
}

TEST_F(Commands, DecomposeTakesSeveralPeriods) {
  std::string input = "value\n";
  for (int i = 0; i < 24 * 7 * 4; ++i) {
    input += std::to_string(10 + (i % 24 < 12) + 3 * (i % 168 < 48)) + "\n";
  }
  const std::string picture = PathOf("parts.svg");
  const Outcome run =
      Run({"decompose", "--period", "24,168", "--json", "--plot", picture, Put("week.csv", input)});
  ASSERT_EQ(run.code, 0) << run.output;
  const auto series = nlohmann::json::parse(run.output.substr(0, run.output.find('\n')))[0];
  for (size_t i = 0; i < 24 * 7 * 4; ++i) {
    EXPECT_NEAR(series["seasonal_24"][i].get<double>() + series["seasonal_168"][i].get<double>() +
                    series["trend"][i].get<double>() + series["remainder"][i].get<double>(),
                series["observed"][i].get<double>(), 1e-4);
    EXPECT_NEAR(series["remainder"][i].get<double>(), 0, 0.1);
  }
  EXPECT_THAT(ReadFile(picture), HasSubstr("</svg>"));
  const Outcome uneven = Run({"decompose", "--period", "24,168", "--seasonal", "7", picture});
  EXPECT_EQ(uneven.code, 2);
  EXPECT_THAT(uneven.output, HasSubstr("--seasonal"));
}

TEST_F(Commands, DecomposeNamesWhatIsWrong) {
  const std::string input = Put("in.csv", Hourly());
  const Outcome period = Run({"decompose", "--period", "1", input});
  EXPECT_EQ(period.code, 2);
  EXPECT_THAT(period.output, HasSubstr("period"));
  const Outcome seasonal = Run({"decompose", "--period", "24", "--seasonal", "8", input});
  EXPECT_EQ(seasonal.code, 2);
  EXPECT_THAT(seasonal.output, HasSubstr("--seasonal 8"));
  const Outcome bad = Run({"decompose", "--period", "24", Put("bad.csv", "a\n1\ninf\n")});
  EXPECT_EQ(bad.code, 1);
  EXPECT_THAT(bad.output, AllOf(HasSubstr("bad.csv:3"), HasSubstr("\"inf\"")));
}

TEST_F(Commands, ForecastGivesAscendingQuantilesOfEachStep) {
  const std::string input = Put("in.csv", Hourly());
  const Outcome run = Run({"forecast", "--model", "seasonal-naive", "--json", input});
  ASSERT_EQ(run.code, 0) << run.output;
  const auto all = nlohmann::json::parse(run.output.substr(run.output.find('{')));
  ASSERT_EQ(all["series"].size(), 2u);
  EXPECT_EQ(all["series"][0]["series"], "a,b");
  ASSERT_EQ(all["series"][0]["steps"].size(), 1u);
  const auto& step = all["series"][0]["steps"][0];
  EXPECT_EQ(step["timestamp_ms"], int64_t{1'700'000'000'000} + 288 * int64_t{3'600'000});
  double before = 0;
  for (const auto& value : step["quantiles"]) {
    EXPECT_GE(value.get<double>(), before);
    before = value.get<double>();
  }
}

// 40 more in an hour of each of two days, and in the hour that comes.
TEST_F(Commands, ForecastOfProphetTakesEvents) {
  std::string series = "timestamp,a\n";
  for (int h = 0; h < 96; ++h) {
    const double value = 100 + h % 3 * 0.01 + (h == 30 || h == 70 ? 40 : 0);
    series += fmt::format("{},{}\n", h * 3'600'000LL, value);
  }
  const std::string input = Put("in.csv", series);
  const auto at = [](int h) { return h * 3'600'000LL; };
  const std::string events =
      Put("events.csv", fmt::format("name,start,end\nsale,{},{}\nsale,{},{}\nsale,{},{}\n", at(30),
                                    at(31), at(70), at(71), at(96), at(97)));
  const auto median = [](const Outcome& run) {
    const auto all = nlohmann::json::parse(run.output.substr(run.output.find('{')));
    return all["series"][0]["steps"][0]["quantiles"][3].get<double>();
  };
  const Outcome with = Run({"forecast", "--model", "prophet", "--json", "--events", events, input});
  ASSERT_EQ(with.code, 0) << with.output;
  EXPECT_NEAR(median(with), 140, 3);
  const Outcome without = Run({"forecast", "--model", "prophet", "--json", input});
  EXPECT_LT(median(without), 115);

  const Outcome other = Run({"forecast", "--events", events, input});
  EXPECT_EQ(other.code, 2);
  EXPECT_THAT(other.output, HasSubstr("only --model prophet takes it"));
  for (const auto& [text, what] :
       {std::pair("name,begin,end\n", "header is name,begin,end"),
        {"name,start,end\nsale,5,5\n", "end is 5: it must be after start"},
        {"name,start,end\n,5,6\n", "name is empty"},
        {"name,start,end\n", "no event"}}) {
    const std::string bad = Put("bad.csv", text);
    const Outcome run = Run({"forecast", "--model", "prophet", "--events", bad, input});
    EXPECT_EQ(run.code, 1) << run.output;
    EXPECT_THAT(run.output, AllOf(HasSubstr("bad.csv"), HasSubstr(what)));
  }
}

// 40 more in an hour of each of four days, the last of them in the test: who knows of it foresees
// it.
TEST_F(Commands, BacktestOfProphetTakesEvents) {
  std::string trace =
      "timestamp,cell,account,application,cpu,memory,network,storage,mutation_rate\n";
  std::string events = "name,start,end\n";
  const std::array<int, 4> sales = {30, 70, 100, 140};
  for (int h = 0; h < 160; ++h) {
    const bool sale = std::ranges::find(sales, h) != sales.end();
    trace += fmt::format("{},c,a,,{},,,,\n", h * 3'600'000LL, 100 + h % 3 * 0.01 + (sale ? 40 : 0));
    if (sale) events += fmt::format("sale,{},{}\n", h * 3'600'000LL, (h + 1) * 3'600'000LL);
  }
  const std::string input = Put("trace.csv", trace);
  const auto error = [&](const std::vector<std::string>& more) {
    std::vector<std::string> command = {"backtest",     "--json", "--models", "prophet",
                                        "--test-steps", "40",     "--stride", "1",
                                        "--horizon",    "1",      input};
    command.insert(command.end(), more.begin(), more.end());
    const Outcome run = Run(command);
    EXPECT_EQ(run.code, 0) << run.output;
    const auto all = nlohmann::json::parse(run.output.substr(run.output.find('{')));
    return all["scores"][0]["mase"].get<double>();
  };
  EXPECT_LT(error({"--events", Put("events.csv", events)}), 0.5 * error({}));

  const Outcome other = Run({"backtest", "--models", "last-value", "--events", input, input});
  EXPECT_EQ(other.code, 2);
  EXPECT_THAT(other.output, HasSubstr("only the model prophet takes it"));
}

// y(t) = 50 + 3 (m(t - 2) - 20) at 5 min: the first step ahead is known.
TEST_F(Commands, ForecastOfProphetTakesMutationRates) {
  std::string series = "timestamp,a,b\n", rates = "timestamp,a\n";
  std::mt19937_64 random(3);
  std::normal_distribution<double> noise(20, 3);
  double before = 20, now = 20, rate = 20;
  for (int t = 0; t < 600; ++t) {
    rate = noise(random);
    series += fmt::format("{},{:.4f},5\n", t * 300'000LL, 50 + 3 * (before - 20));
    rates += fmt::format("{},{:.4f}\n", t * 300'000LL, rate);
    before = std::exchange(now, rate);
  }
  const std::string input = Put("in.csv", series);
  const Outcome run = Run({"forecast", "--model", "prophet", "--json", "--mutation-rate",
                           Put("rates.csv", rates), input});
  ASSERT_EQ(run.code, 0) << run.output;
  const auto all = nlohmann::json::parse(run.output.substr(run.output.find('{')));
  ASSERT_EQ(all["series"].size(), 2u) << "the rates themselves are not told";
  EXPECT_NEAR(all["series"][0]["steps"][0]["quantiles"][3].get<double>(), 50 + 3 * (before - 20),
              1.5);
  const Outcome wrong = Run({"forecast", "--model", "prophet", "--mutation-rate",
                             Put("other.csv", "timestamp,z\n0,1\n300000,2\n"), input});
  EXPECT_EQ(wrong.code, 1);
  EXPECT_THAT(wrong.output, AllOf(HasSubstr("other.csv"), HasSubstr("column 'z'")));
}

TEST_F(Commands, ForecastNamesWhatIsWrong) {
  const std::string input = Put("in.csv", Hourly());
  for (const auto& [option, value] : {std::pair("--model", "oracle"), {"--signal", "colour"}}) {
    const Outcome run = Run({"forecast", option, value, input});
    EXPECT_EQ(run.code, 2) << run.output;
    EXPECT_THAT(run.output, AllOf(HasSubstr(option), HasSubstr(value)));
  }
  EXPECT_EQ(Run({"forecast", "--horizon", "600", input}).code, 2);
  EXPECT_EQ(Run({"forecast", Put("untimed.csv", "a\n1\n2\n")}).code, 2);
  const Outcome negative = Run({"forecast", Put("bad.csv", "timestamp,a\n0,1\n60000,-1\n")});
  EXPECT_EQ(negative.code, 1);
  EXPECT_THAT(negative.output, AllOf(HasSubstr("bad.csv:3"), HasSubstr("\"-1\"")));
}

TEST_F(Commands, SynthIsTheSameForTheSameSeedAndSaysWhatItIs) {
  const auto synth = [&](const std::string& name, const std::string& seed) {
    const Outcome run = Run({"synth", "--accounts", "6", "--cells", "2", "--days", "1", "--seed",
                             seed, "--truth", PathOf(name + ".json"), "--cells-file",
                             PathOf(name + ".toml"), "-o", PathOf(name + ".csv.gz")});
    EXPECT_EQ(run.code, 0) << run.output;
    return ReadFile(PathOf(name + ".csv.gz"));
  };
  const std::string one = synth("one", "7");
  EXPECT_EQ(one, synth("two", "7"));
  EXPECT_NE(one, synth("three", "8"));
  EXPECT_EQ(nlohmann::json::parse(ReadFile(PathOf("one.json")))["synthetic"], true);
  EXPECT_THAT(ReadFile(PathOf("one.toml")), HasSubstr("id = \"synthetic-cell-1\""));

  const Outcome lead = Run({"synth", "--lead", "7", "-o", PathOf("four.csv")});
  EXPECT_EQ(lead.code, 2);
  EXPECT_THAT(lead.output, HasSubstr("--lead 7"));
  EXPECT_EQ(Run({"synth", "-o", PathOf("none/four.csv")}).code, 1);
}

TEST_F(Commands, TrainGoesOnAsTheModelItBeginsAs) {
  ASSERT_EQ(
      Run({"synth", "--accounts", "6", "--cells", "2", "--days", "3", "-o", PathOf("trace.csv")})
          .code,
      0);
  const auto train = [&](const std::string& out, std::vector<std::string> more) {
    std::vector<std::string> arguments = {
        "train",           "lstm", PathOf("trace.csv"), "--out", PathOf(out), "--epochs", "1",
        "--epoch-batches", "2",    "--batch",           "4"};
    arguments.insert(arguments.end(), more.begin(), more.end());
    return Run(arguments);
  };
  Outcome run = train("old", {"--horizon", "6", "--hidden", "5", "--layers", "2"});
  ASSERT_EQ(run.code, 0) << run.output;
  run = train("new", {"--start", PathOf("old"), "--teacher", PathOf("old")});
  ASSERT_EQ(run.code, 0) << run.output;
  const auto card = nlohmann::json::parse(ReadFile(PathOf("new/card.json")));
  EXPECT_EQ(card["horizon_steps"], 6);
  EXPECT_EQ(card["hidden"], 5);
  EXPECT_EQ(card["layers"], 2);
  EXPECT_THAT(std::string(card["training"]["command"]), HasSubstr("--start " + PathOf("old")));
  run = train("wider", {"--start", PathOf("old"), "--hidden", "6"});
  EXPECT_EQ(run.code, 1);
  EXPECT_THAT(run.output, HasSubstr("hidden is 5: allowed is that of the model to be trained, 6"));
  EXPECT_EQ(train("none", {"--start", PathOf("nothing")}).code, 2);
}

TEST_F(Commands, ImportTakesTheFolderOfADay) {
  const std::string day = std::string(FORESHADOW_SOURCE_DIR) + "/tests/data/planetlab/20110303";
  const std::string output = PathOf("trace.csv");
  const Outcome run = Run({"import", "--format", "planetlab", "--cells", "2", "-o", output, day});
  ASSERT_EQ(run.code, 0) << run.output;
  EXPECT_THAT(ReadFile(output), HasSubstr("\n1299110400000,cell-1,"));  // 2011-03-03T00:00:00Z

  const Outcome undated =
      Run({"import", "--format", "planetlab", "-o", output, Put("machine", "1\n2\n")});
  EXPECT_EQ(undated.code, 2);
  EXPECT_THAT(undated.output, HasSubstr("--start"));
  const Outcome name = Run({"import", "--format", "csv", "-o", output,
                            Put("in.csv", "timestamp,two words\n0,1\n60000,2\n")});
  EXPECT_EQ(name.code, 1);
  EXPECT_THAT(name.output, HasSubstr("two words"));
  EXPECT_EQ(Run({"import", "--format", "csv", "-o", output, PathOf("none.csv")}).code, 2);
}

TEST_F(Commands, BenchMeasuresTheKernels) {
  const std::string growth = PathOf("growth.svg");
  const Outcome run =
      Run({"bench",   "--suite",  "kernels", "--series",      "40", "--steps",    "288", "--period",
           "24",      "--cores",  "2",       "--repetitions", "1",  "--least-ms", "0",   "--peers",
           "stl-cpp", "--growth", growth,    "--json"});
  ASSERT_EQ(run.code, 0) << run.output;
  const auto json = nlohmann::json::parse(run.output);
  EXPECT_EQ(json["operations"][0]["operation"], "stl");
  EXPECT_GT(json["operations"][0]["series_per_s"], 0);
  EXPECT_EQ(json["operations"][0]["series_refused"], 0);
  EXPECT_EQ(json["operations"][0]["peers"][0]["state"], "missing");
  EXPECT_FALSE(json["growth"].empty());
  EXPECT_THAT(ReadFile(growth), HasSubstr("<svg"));

  EXPECT_EQ(Run({"bench"}).code, 2);
  for (const auto& [option, value] : {std::pair("--suite", "cooking"),
                                      {"--cases", "stl,waltz"},
                                      {"--peers", "abacus"},
                                      {"--cores", "0"},
                                      {"--period", "1"},
                                      {"--growth", "growth.gif"}}) {
    const Outcome bad = Run({"bench", "--suite", "kernels", option, value});
    EXPECT_EQ(bad.code, 2) << bad.output;
    EXPECT_THAT(bad.output, HasSubstr(option));
  }
}

TEST_F(Commands, ClientsNameTheServerThatDoesNotAnswer) {
  for (const char* command : {"status", "cells", "shadows", "plan", "resume"}) {
    const Outcome run = Run({command, "--server", "127.0.0.1:1"});
    EXPECT_EQ(run.code, 1) << command;
    EXPECT_THAT(run.output, HasSubstr("127.0.0.1:1")) << command;
  }
}

}  // namespace
}  // namespace foreshadow::testing
