#include "training/cloudsim/day.h"

#include <gtest/gtest.h>

#include <fstream>
#include <string>
#include <vector>

#include "training/cloudsim/centre.h"
#include "training/io/csv.h"

namespace foreshadow::training::cloudsim {
namespace {

const std::string kGolden = std::string(FORESHADOW_SOURCE_DIR) + "/tests/golden/cloudsim";
const std::string kFolder = std::string(FORESHADOW_SOURCE_DIR) + "/tests/data/planetlab/20110303";

// Every tenth machine of a day, in a centre with room and in a crowded one. CloudSim's "lr" is our
// lr-plain. Its figures have six digits after the point.
TEST(Day, ComesToWhatCloudSimMakesOfIt) {
  const auto day = ReadDay(kGolden + "/20110303-tenth.csv.gz");
  ASSERT_TRUE(day.ok()) << day.status();
  auto rows = CsvReader::Open(kGolden + "/reference.csv");
  ASSERT_TRUE(rows.ok()) << rows.status();
  int compared = 0;
  while (*rows->Next()) {
    const std::vector<std::string> row(rows->fields().begin(), rows->fields().end());
    if (row[0] != "20110303-tenth") continue;
    SCOPED_TRACE(row[3] + " on " + row[2] + " hosts");
    const auto ours = RunDay(*day, std::stoi(row[2]), row[3] == "lr" ? "lr-plain" : row[3]);
    ASSERT_TRUE(ours.ok()) << ours.status();
    constexpr double kBound = 1e-5;
    const auto near = [&](const char* what, double value, const std::string& wanted) {
      const double reference = std::stod(wanted);
      EXPECT_NEAR(value, reference, kBound * reference) << what;
    };
    near("energy_kwh", ours->energy_kwh, row[4]);
    near("migrations", static_cast<double>(ours->migrations), row[5]);
    near("otf", ours->otf, row[6]);
    near("pdm", ours->pdm, row[7]);
    near("unserved", ours->unserved, row[8]);
    near("shutdowns", static_cast<double>(ours->shutdowns), row[9]);
    ++compared;
  }
  EXPECT_EQ(compared, 8);
}

// A machine of the first type, 2,500 MIPS, half used, on a G5: 1,250 of 5,320 MIPS, power between
// its 20 % (101 W) and 30 % (105 W). It runs from the first round to the last, 286 intervals.
TEST(Day, OfOneMachineIsWorkedOutByHand) {
  const auto ours = RunDay({std::vector<double>(kDaySamples, 0.5)}, 2, "thr");
  ASSERT_TRUE(ours.ok()) << ours.status();
  const double watts = 101 + 4 * (1'250.0 / 532 - 2);
  EXPECT_NEAR(ours->energy_kwh, watts * 286 * 300 / 3.6e6, 1e-9);
  EXPECT_EQ(ours->migrations, 0);
  EXPECT_EQ(ours->unserved, 0);
  EXPECT_EQ(ours->shutdowns, 1);  // the other host, on at first
}

TEST(Day, IsReadFromItsFolderAsWell) {
  const auto day = ReadDay(kFolder);
  ASSERT_TRUE(day.ok()) << day.status();
  ASSERT_EQ(day->size(), 2);
  std::ifstream file(kFolder + "/onelab10_pl_sophia_inria_fr_irisaple_HEAP");
  for (const double share : (*day)[1]) {
    double percent = -1;
    file >> percent;
    EXPECT_NEAR(share, percent / 100, 1e-12);
  }
}

TEST(Day, RefusesWhatItCannotRun) {
  const std::vector<std::vector<double>> one = {std::vector<double>(kDaySamples, 0.5)};
  EXPECT_EQ(RunDay(one, 2, "guess").status().code(), absl::StatusCode::kInvalidArgument);
  // A machine of 2,500 MIPS needs the second kind of host.
  EXPECT_EQ(RunDay(one, 1, "thr").status().code(), absl::StatusCode::kResourceExhausted);
  EXPECT_EQ(ReadDay(kGolden + "/none.csv.gz").status().code(), absl::StatusCode::kNotFound);
  const std::string path = ::testing::TempDir() + "/short_day.csv";
  std::ofstream(path) << "vm,t0,t1\na,50,60\n";
  const auto refused = ReadDay(path).status();
  EXPECT_EQ(refused.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_NE(refused.message().find("machine 1 has 2 samples"), std::string::npos) << refused;
}

}  // namespace
}  // namespace foreshadow::training::cloudsim
