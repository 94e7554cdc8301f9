#include "training/io/csv.h"

#include <gmock/gmock.h>

#include <cmath>

#include "tests/unit/training/io/scratch.h"

namespace foreshadow::training {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsNan;

class WideCsvTest : public ScratchTest {
 protected:
  std::string ErrorOf(const std::string& text, const WideCsvOptions& options = {}) {
    const auto table = ReadWideCsv(Put("in.csv", text), options);
    EXPECT_FALSE(table.ok()) << text;
    return std::string(table.status().message());
  }
};

TEST_F(WideCsvTest, ReadsColumnsTimeMajor) {
  const auto table = ReadWideCsv(Put("in.csv", "a,b\n1,2\n3,\n-5,6e-1\n"));
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_THAT(table->names, ElementsAre("a", "b"));
  EXPECT_EQ(table->steps, 3);
  EXPECT_EQ(table->step_ms, 0);
  EXPECT_THAT(table->values, ElementsAre(1, 2, 3, IsNan(), -5, 0.6f));
  EXPECT_EQ(table->view().at(2, 1), 0.6f);
}

TEST_F(WideCsvTest, ReadsGzipQuotesSpacesCarriageReturnsAndNoLastNewline) {
  const auto table = ReadWideCsv(PutGzip("in.csv.gz", "\"a,1\" ,b\r\n\r\n 1 ,\"2\"\r\n3,4"));
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_THAT(table->names, ElementsAre("a,1", "b"));
  EXPECT_THAT(table->values, ElementsAre(1, 2, 3, 4));
}

TEST_F(WideCsvTest, PutsRowsOnTheGridOfTheirTimes) {
  const auto table = ReadWideCsv(Put("in.csv",
                                     "timestamp,a\n2024-02-28T23:55:00Z,1\n2024-02-29 00:00:00,2\n"
                                     "2024-02-29T01:10:00+01:00,4\n"));
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_THAT(table->names, ElementsAre("a"));
  EXPECT_EQ(table->start_ms, 1709164500000);  // date -u -d '2024-02-28 23:55' +%s
  EXPECT_EQ(table->step_ms, 300'000);
  EXPECT_THAT(table->values, ElementsAre(1, 2, IsNan(), 4));
}

TEST_F(WideCsvTest, TakesAFirstColumnOfDatesForTimesWhateverItIsCalled) {
  const auto table = ReadWideCsv(Put("in.csv",
                                     "\xef\xbb\xbf"
                                     "ds,a\n2024-02-29 00:00:00,1\n2024-02-29 00:05:00,2\n"));
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_THAT(table->names, ElementsAre("a"));
  EXPECT_EQ(table->step_ms, 300'000);
  const auto numbers = ReadWideCsv(Put("in.csv", "ds,a\n1,1\n2,2\n"));
  ASSERT_TRUE(numbers.ok()) << numbers.status();
  EXPECT_THAT(numbers->names, ElementsAre("ds", "a"));
}

TEST_F(WideCsvTest, SkipsAMarkOfUtf8) {
  const auto table = ReadWideCsv(Put("in.csv", "\xef\xbb\xbftimestamp,a\n0,1\n60000,2\n"));
  ASSERT_TRUE(table.ok()) << table.status();
  EXPECT_THAT(table->names, ElementsAre("a"));
  EXPECT_EQ(table->step_ms, 60'000);
  EXPECT_THAT(ErrorOf("\xef\xbb\xbf"), HasSubstr("empty file"));
}

TEST_F(WideCsvTest, TellsWhatSpreadsheetsAndScriptsGetWrong) {
  EXPECT_THAT(ErrorOf("timestamp;a\n0;1\n"), AllOf(HasSubstr(":1"), HasSubstr("by commas")));
  EXPECT_THAT(ErrorOf("timestamp,a\n1793500000,1\n1793500300,2\n"),
              AllOf(HasSubstr("seconds"), HasSubstr("1793500000000")));
  EXPECT_TRUE(CheckTimeUnit("in.csv", 1'793'500'000'000, 300).ok());
  EXPECT_TRUE(CheckTimeUnit("in.csv", 0, 300).ok());
}

TEST_F(WideCsvTest, NamesFileLineColumnValueAndWhatIsAllowed) {
  for (const char* bad :
       {"nan", "inf", "-inf", "1e39", "0x10", "1,5x", "1 2", "+1", "--1", "one"}) {
    const std::string text = std::string("a,b\n1,2\n3,\"") + bad + "\"\n";
    EXPECT_THAT(ErrorOf(text), AllOf(HasSubstr("in.csv:3"), HasSubstr("column \"b\""),
                                     HasSubstr(bad), HasSubstr("a finite number")));
  }
  EXPECT_THAT(ErrorOf("a\n-0.5\n", {.allow_negative = false}),
              AllOf(HasSubstr("in.csv:2"), HasSubstr("\"-0.5\""), HasSubstr(">= 0")));
}

TEST_F(WideCsvTest, RefusesWhatIsNoTable) {
  EXPECT_THAT(ErrorOf(""), HasSubstr("empty file"));
  EXPECT_THAT(ErrorOf("a,b\n"), HasSubstr("no data row"));
  EXPECT_THAT(ErrorOf("a,b\n1,2\n3\n"),
              AllOf(HasSubstr(":3"), HasSubstr("1 fields"), HasSubstr("2")));
  EXPECT_THAT(ErrorOf("a,b\n1,2,3\n"), HasSubstr("3 fields"));
  EXPECT_THAT(ErrorOf("a,a\n1,2\n"), HasSubstr("used twice"));
  EXPECT_THAT(ErrorOf("a,\n1,2\n"), HasSubstr("is empty"));
  EXPECT_THAT(ErrorOf("timestamp\n5\n"), HasSubstr("names no series"));
  EXPECT_THAT(ErrorOf("a\n1\n\n3\n"), AllOf(HasSubstr(":3"), HasSubstr("blank line")));
  EXPECT_THAT(ErrorOf("a,b\n1,\"2\n3,4\n"), AllOf(HasSubstr("not CSV"), HasSubstr(":4")));
  EXPECT_THAT(ErrorOf("a,b\n1,2\"3\n"), AllOf(HasSubstr("not CSV"), HasSubstr(":2")));
}

TEST_F(WideCsvTest, RefusesTimesThatAreNoGrid) {
  EXPECT_THAT(ErrorOf("timestamp,a\nyesterday,1\n"),
              AllOf(HasSubstr("yesterday"), HasSubstr("ISO")));
  EXPECT_THAT(ErrorOf("timestamp,a\n-5,1\n"), HasSubstr("\"-5\""));
  EXPECT_THAT(ErrorOf("timestamp,a\n5,1\n5,1\n"), AllOf(HasSubstr(":3"), HasSubstr("ascend")));
  EXPECT_THAT(ErrorOf("timestamp,a\n0,1\n10,1\n25,1\n"),
              AllOf(HasSubstr(":4"), HasSubstr("25 ms")));
  EXPECT_THAT(ErrorOf("timestamp,a\n0,1\n1,1\n1700000000000,1\n"), HasSubstr("steps of 1 ms"));
}

TEST_F(WideCsvTest, TellsMissingAndDamagedFiles) {
  EXPECT_EQ(ReadWideCsv(PathOf("none.csv")).status().code(), absl::StatusCode::kNotFound);

  std::string text = "a\n";
  for (int i = 0; i < 5000; ++i) text += std::to_string(i * 7919 % 10007) + "\n";
  PutGzip("whole.csv.gz", text);
  const std::string whole = Get("whole.csv.gz");
  const auto cut = ReadWideCsv(Put("cut.csv.gz", whole.substr(0, whole.size() / 2)));
  EXPECT_EQ(cut.status().code(), absl::StatusCode::kDataLoss) << cut.status();
  EXPECT_THAT(std::string(cut.status().message()), HasSubstr("cut.csv.gz"));

  std::string damaged = whole;
  for (size_t i = 100; i < 140; ++i) damaged[i] = static_cast<char>(~damaged[i]);
  EXPECT_FALSE(ReadWideCsv(Put("damaged.csv.gz", damaged)).ok());
}

TEST_F(WideCsvTest, RefusesEndlessRows) {
  EXPECT_THAT(ErrorOf("a\n" + std::string(kCsvRowBytesMax + 1, '1')),
              HasSubstr("a row of more than"));
}

}  // namespace
}  // namespace foreshadow::training
