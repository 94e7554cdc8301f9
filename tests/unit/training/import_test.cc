// The importers on files as their authors publish them; tests/data/README.md names the sources.
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <map>
#include <sstream>

#include "training/import/formats.h"

namespace foreshadow::training {
namespace {

const std::string kData = std::string(FORESHADOW_SOURCE_DIR) + "/tests/data";
constexpr int64_t kStepMs = 300'000;

std::vector<double> Lines(const std::string& path) {
  std::ifstream file(path);
  std::vector<double> values;
  for (double value; file >> value;) values.push_back(value);
  return values;
}

class Import : public ::testing::Test {
 protected:
  Import() {
    std::string name = "/tmp/foreshadow-import-test-XXXXXX";
    folder = mkdtemp(name.data());
  }
  ~Import() override { std::filesystem::remove_all(folder); }
  std::string Write(const std::string& text) {
    const std::string path = folder + "/file";
    std::ofstream(path) << text;
    return path;
  }
  std::string folder;
};

TEST_F(Import, PlanetLabIsPercentOfTheCores) {
  const std::string base = kData + "/planetlab/20110303/";
  const std::vector<std::string> files = {base + "146-179_surfsnel_dsl_internl_net_colostate_557",
                                          base + "onelab10_pl_sophia_inria_fr_irisaple_HEAP"};
  const auto trace = ReadPlanetLab(files, 1'299'110'400'000, kStepMs, 2);
  ASSERT_TRUE(trace.ok()) << trace.status();
  ASSERT_EQ(trace->accounts.size(), 2u);
  EXPECT_EQ(trace->accounts[0].id, "146-179_surfsnel_dsl_internl_net_colostate_557");
  EXPECT_EQ(trace->steps, 288);
  for (int64_t a = 0; a < 2; ++a) {
    const std::vector<double> percents = Lines(files[static_cast<size_t>(a)]);
    ASSERT_EQ(percents.size(), 288u);
    for (int64_t i = 0; i < 288; ++i) {
      EXPECT_FLOAT_EQ(trace->view().at(i, a * kTraceSignals),
                      static_cast<float>(percents[static_cast<size_t>(i)] * 2 / 100));
      EXPECT_TRUE(std::isnan(trace->view().at(i, a * kTraceSignals + 1)));
    }
  }
}

TEST_F(Import, PlanetLabNamesWhatIsWrong) {
  const auto bad = ReadPlanetLab({Write("12\n-3\n")}, 0, kStepMs, 1);
  EXPECT_EQ(bad.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(bad.status().message()).find("file:2"), std::string::npos) << bad.status();
  EXPECT_FALSE(ReadPlanetLab({Write("12\nabc\n")}, 0, kStepMs, 1).ok());
  EXPECT_FALSE(ReadPlanetLab({Write("")}, 0, kStepMs, 1).ok());
}

// Against sums made here from the raw text: rows of one step are averaged, times are seconds.
TEST_F(Import, BitbrainsAveragesTheRowsOfAStep) {
  const std::string path = kData + "/bitbrains/9.csv";
  const auto trace = ReadBitbrains({path, kData + "/bitbrains/96.csv"}, kStepMs);
  ASSERT_TRUE(trace.ok()) << trace.status();
  ASSERT_EQ(trace->accounts.size(), 2u);
  EXPECT_EQ(trace->accounts[0].id, "vm-9");
  std::ifstream file(path);
  std::string line;
  std::getline(file, line);
  std::map<int64_t, std::pair<std::vector<double>, int>> steps;
  while (std::getline(file, line)) {
    for (char& c : line) {
      if (c == ';') c = ' ';
    }
    std::istringstream row(line);
    std::vector<double> fields;
    for (double value; row >> value;) fields.push_back(value);
    ASSERT_EQ(fields.size(), 11u);
    auto& [sum, count] = steps[static_cast<int64_t>(fields[0]) * 1'000 / kStepMs];
    sum.resize(11);
    for (size_t i = 0; i < 11; ++i) sum[i] += fields[i];
    ++count;
  }
  ASSERT_GT(steps.size(), 50u);
  for (const auto& [step, sums] : steps) {
    const int64_t i = step - trace->start_ms / kStepMs;
    const auto mean = [&](size_t field) { return sums.first[field] / sums.second; };
    EXPECT_NEAR(trace->view().at(i, 1), 1024 * mean(6), 1e-6 * 1024 * mean(6));
    EXPECT_NEAR(trace->view().at(i, 2), 1024 * (mean(9) + mean(10)), 1);
    EXPECT_NEAR(trace->view().at(i, 4), mean(8), 1e-3);
  }
}

TEST_F(Import, BitbrainsNamesWhatIsWrong) {
  const auto bad = ReadBitbrains({Write("a;b\n1;2\n")}, kStepMs);
  EXPECT_EQ(bad.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(std::string(bad.status().message()).find("not a Bitbrains file"), std::string::npos);
}

TEST_F(Import, WhatIsWrittenIsReadBack) {
  const auto trace = ReadBitbrains({kData + "/bitbrains/9.csv"}, kStepMs);
  ASSERT_TRUE(trace.ok());
  Trace named = *trace;
  named.accounts[0].cell = "cell-1";
  const std::string path = folder + "/trace.csv.gz";
  ASSERT_TRUE(WriteTrace(named, path).ok());
  const auto read = ReadTrace(path);
  ASSERT_TRUE(read.ok()) << read.status();
  ASSERT_EQ(read->values.size(), named.values.size());
  for (size_t i = 0; i < named.values.size(); ++i) {
    if (std::isnan(named.values[i])) {
      EXPECT_TRUE(std::isnan(read->values[i]));
    } else {
      EXPECT_FLOAT_EQ(read->values[i], named.values[i]);
    }
  }
}

}  // namespace
}  // namespace foreshadow::training
