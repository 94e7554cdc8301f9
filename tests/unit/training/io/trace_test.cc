#include "training/io/trace.h"

#include <gmock/gmock.h>

#include <cmath>
#include <random>

#include "tests/unit/training/io/scratch.h"

namespace foreshadow::training {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsNan;

constexpr char kHeader[] =
    "timestamp,cell,account,application,cpu,memory,network,storage,mutation_rate\n";

class TraceTest : public ScratchTest {
 protected:
  std::string ErrorOf(const std::string& rows) {
    const auto trace = ReadTrace(Put("in.csv", kHeader + rows));
    EXPECT_FALSE(trace.ok()) << rows;
    return std::string(trace.status().message());
  }
};

TEST_F(TraceTest, LoadsRowsOntoTheGrid) {
  const auto trace =
      ReadTrace(Put("in.csv", std::string(kHeader) + "0,c1,a,web,1,2,3,4,5\n"
                                                     "1970-01-01T00:05:00Z,c1,a,web,6,,,,\n"
                                                     "300000,c2,b,,0.5,1,,,\n"
                                                     "900000,c1,a,web,,,,,9\n"));
  ASSERT_TRUE(trace.ok()) << trace.status();
  ASSERT_EQ(trace->accounts.size(), 2u);
  EXPECT_EQ(trace->accounts[1].id, "b");
  EXPECT_EQ(trace->accounts[1].cell, "c2");
  EXPECT_EQ(trace->accounts[0].application, "web");
  EXPECT_EQ(trace->step_ms, 300'000);
  EXPECT_EQ(trace->steps, 4);
  ASSERT_EQ(trace->values.size(), 40u);
  EXPECT_EQ(trace->view().at(0, 4), 5);
  EXPECT_THAT(trace->view().at(0, 5), IsNan());  // b is not there yet
  EXPECT_EQ(trace->view().at(1, 0), 6);
  EXPECT_THAT(trace->view().at(1, 1), IsNan());
  EXPECT_EQ(trace->view().at(1, 5), 0.5f);
  EXPECT_THAT(trace->view().at(2, 0), IsNan());  // no row
  EXPECT_EQ(trace->view().at(3, 4), 9);
}

TEST_F(TraceTest, NamesWhatIsWrong) {
  EXPECT_THAT(ErrorOf("0,c,a,,-1,,,,\n"),
              AllOf(HasSubstr("in.csv:2"), HasSubstr("\"cpu\""), HasSubstr("\"-1\"")));
  EXPECT_THAT(ErrorOf("0,c,a,,1,,nan,,\n"), AllOf(HasSubstr("\"network\""), HasSubstr("\"nan\"")));
  EXPECT_THAT(ErrorOf("0,,a,,1,,,,\n"), HasSubstr("column \"cell\""));
  EXPECT_THAT(ErrorOf("0,c,a b,,1,,,,\n"), HasSubstr("column \"account\""));
  EXPECT_THAT(ErrorOf("0,c," + std::string(257, 'a') + ",,1,,,,\n"), HasSubstr("256"));
  EXPECT_THAT(ErrorOf("0,c,a,,1,,,\n"), HasSubstr("8 fields"));
  EXPECT_THAT(ErrorOf("5,c,a,,1,,,,\n4,c,a,,1,,,,\n"), AllOf(HasSubstr(":3"), HasSubstr("older")));
  EXPECT_THAT(ErrorOf("5,c,a,,1,,,,\n5,c,a,,1,,,,\n"), HasSubstr("twice"));
  EXPECT_THAT(ErrorOf("5,c,a,,1,,,,\n6,d,a,,1,,,,\n"),
              AllOf(HasSubstr("\"d\""), HasSubstr("\"c\"")));
  EXPECT_THAT(ErrorOf("0,c,a,,1,,,,\n2,c,a,,1,,,,\n5,c,a,,1,,,,\n"), HasSubstr("grid"));
  EXPECT_THAT(ErrorOf("0,c,a,,1,,,,\n"), HasSubstr("at least two"));
  const auto no_trace = ReadTrace(Put("wide.csv", "timestamp,a\n1,2\n"));
  EXPECT_THAT(std::string(no_trace.status().message()), HasSubstr("timestamp,cell,account"));
}

TEST_F(TraceTest, ReadsBackWhatItWrote) {
  std::mt19937 random(7);
  std::uniform_real_distribution<float> exponent(-10, 14);
  for (const char* name : {"out.csv", "out.csv.gz"}) {
    auto writer = TraceWriter::Create(PathOf(name));
    ASSERT_TRUE(writer.ok()) << writer.status();
    std::vector<float> written;
    for (int64_t step = 0; step < 50; ++step) {
      for (const char* account : {"a", "comma,quote\"", "c"}) {
        TraceRow row{step * 60'000, "cell-1", account, "web", {}};
        for (float& value : row.values) {
          value = random() % 10 == 0 ? std::nanf("") : std::pow(10.0f, exponent(random));
          written.push_back(value);
        }
        ASSERT_TRUE(writer->Write(row).ok());
      }
    }
    EXPECT_FALSE(std::filesystem::exists(PathOf(name)));  // not before it is whole
    ASSERT_TRUE(writer->Close().ok());
    const auto trace = ReadTrace(PathOf(name));
    ASSERT_TRUE(trace.ok()) << trace.status();
    EXPECT_EQ(trace->accounts[1].id, "comma,quote\"");
    ASSERT_EQ(trace->values.size(), written.size());
    for (size_t i = 0; i < written.size(); ++i) {
      if (std::isnan(written[i])) {
        EXPECT_THAT(trace->values[i], IsNan());
      } else {
        EXPECT_EQ(trace->values[i], written[i]);
      }
    }
  }
  EXPECT_EQ(Get("out.csv.gz").substr(0, 2), "\x1f\x8b");
}

TEST_F(TraceTest, LeavesNothingBehindWithoutClose) {
  { ASSERT_TRUE(TraceWriter::Create(PathOf("out.csv")).ok()); }
  EXPECT_TRUE(std::filesystem::is_empty(folder_));
  EXPECT_EQ(TraceWriter::Create(PathOf("none/out.csv")).status().code(),
            absl::StatusCode::kUnavailable);
}

}  // namespace
}  // namespace foreshadow::training
