// Traces out of Parquet files, which Arrow's own writer makes here.
#include "training/io/parquet.h"

#include <arrow/api.h>
#include <arrow/io/file.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <parquet/arrow/writer.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <optional>

namespace foreshadow::training {
namespace {

using testing::HasSubstr;

template <typename Builder, typename Value>
std::shared_ptr<arrow::Array> Column(Builder& builder,
                                     const std::vector<std::optional<Value>>& values) {
  for (const auto& value : values) {
    const auto done = value ? builder.Append(*value) : builder.AppendNull();
    EXPECT_TRUE(done.ok());
  }
  return builder.Finish().ValueOrDie();
}

std::shared_ptr<arrow::Array> Strings(const std::vector<std::optional<std::string>>& values) {
  arrow::StringBuilder builder;
  return Column(builder, values);
}
std::shared_ptr<arrow::Array> Doubles(const std::vector<std::optional<double>>& values) {
  arrow::DoubleBuilder builder;
  return Column(builder, values);
}
std::shared_ptr<arrow::Array> Longs(const std::vector<std::optional<int64_t>>& values) {
  arrow::Int64Builder builder;
  return Column(builder, values);
}

using NamedColumns = std::vector<std::pair<std::string, std::shared_ptr<arrow::Array>>>;

class Parquet : public testing::Test {
 protected:
  void TearDown() override { std::filesystem::remove(path_); }

  void Write(const NamedColumns& columns, int64_t rows_a_group = 2) const {
    arrow::FieldVector fields;
    arrow::ArrayVector arrays;
    for (const auto& [name, array] : columns) {
      fields.push_back(arrow::field(name, array->type()));
      arrays.push_back(array);
    }
    const auto table = arrow::Table::Make(arrow::schema(fields), arrays);
    const auto file = arrow::io::FileOutputStream::Open(path_).ValueOrDie();
    ASSERT_TRUE(
        parquet::arrow::WriteTable(*table, arrow::default_memory_pool(), file, rows_a_group).ok());
    ASSERT_TRUE(file->Close().ok());
  }
  // Two accounts, two times.
  static NamedColumns Good() {
    return {{"cpu", Doubles({1, 2, std::nullopt, 4})},
            {"mutation_rate", Longs({10, 20, 30, 40})},
            {"account", Strings({"a", "b", "a", "b"})},
            {"cell", Strings({"one", "one", "one", "one"})},
            {"application", Strings({"web", std::nullopt, "web", std::nullopt})},
            {"timestamp", Longs({0, 0, 60'000, 60'000})}};
  }
  std::string Error() const { return std::string(ReadTrace(path_).status().message()); }

  std::string path_ = testing::TempDir() + "parquet_test_" +
                      testing::UnitTest::GetInstance()->current_test_info()->name() + ".parquet";
};

TEST_F(Parquet, IsReadAsATrace) {
  Write(Good());
  const auto trace = ReadTrace(path_);
  ASSERT_TRUE(trace.ok()) << trace.status();
  EXPECT_EQ(trace->steps, 2);
  EXPECT_EQ(trace->step_ms, 60'000);
  ASSERT_EQ(trace->accounts.size(), 2u);
  EXPECT_EQ(trace->accounts[0].application, "web");
  EXPECT_EQ(trace->accounts[1].application, "");
  const auto view = trace->view();
  EXPECT_EQ(view.at(0, 0), 1);
  EXPECT_TRUE(std::isnan(view.at(1, 0)));  // null
  EXPECT_TRUE(std::isnan(view.at(0, 1)));  // no such column
  EXPECT_EQ(view.at(1, kTraceSignals + 4), 40);
}

TEST_F(Parquet, TakesItsOwnTimestampsAndDictionaries) {
  NamedColumns columns = Good();
  arrow::TimestampBuilder times(arrow::timestamp(arrow::TimeUnit::MICRO),
                                arrow::default_memory_pool());
  columns[5].second =
      Column<arrow::TimestampBuilder, int64_t>(times, {0, 0, 60'000'000, 60'000'000});
  arrow::StringDictionary32Builder names;
  columns[2].second =
      Column<arrow::StringDictionary32Builder, std::string>(names, {"a", "b", "a", "b"});
  Write(columns);
  const auto trace = ReadTrace(path_);
  ASSERT_TRUE(trace.ok()) << trace.status();
  EXPECT_EQ(trace->step_ms, 60'000);
  EXPECT_EQ(trace->accounts[1].id, "b");
}

TEST_F(Parquet, NamesAColumnThatIsMissingOrOfAnotherType) {
  NamedColumns columns = Good();
  columns.erase(columns.begin() + 2);
  Write(columns);
  EXPECT_THAT(Error(), HasSubstr("no column \"account\""));
  columns = Good();
  columns[0].second = Strings({"1", "2", "x", "4"});
  Write(columns);
  EXPECT_THAT(Error(), testing::AllOf(HasSubstr("column \"cpu\" is string"), HasSubstr("'x'")));
}

TEST_F(Parquet, HoldsRowsToTheSameRulesAsCsv) {
  NamedColumns columns = Good();
  columns[5].second = Longs({0, 0, 60'000, 30'000});
  Write(columns);
  EXPECT_THAT(Error(), testing::AllOf(HasSubstr(":4:"), HasSubstr("30000 ms is older")));
  columns = Good();
  columns[2].second = Strings({"a", "b", "a", std::nullopt});
  Write(columns);
  EXPECT_THAT(Error(), testing::AllOf(HasSubstr(":4:"), HasSubstr("\"account\"")));
  columns = Good();
  columns[2].second = Strings({"a", "a", "a", "b"});
  columns[4].second = Strings({"web", "web", "web", "web"});
  Write(columns);
  EXPECT_THAT(Error(), HasSubstr("account \"a\" twice at 0 ms"));
  columns = Good();
  columns[5].second = Longs({0, 0, std::nullopt, 60'000});
  Write(columns);
  EXPECT_THAT(Error(), testing::AllOf(HasSubstr(":3:"), HasSubstr("\"timestamp\" is null")));
}

TEST_F(Parquet, ThatIsDamagedOrAbsentIsAnError) {
  EXPECT_EQ(ReadTrace(path_).status().code(), absl::StatusCode::kNotFound);
  Write(Good());
  std::string bytes;
  {
    std::ifstream file(path_, std::ios::binary);
    bytes.assign(std::istreambuf_iterator<char>(file), {});
  }
  for (size_t length = 0; length < bytes.size(); length += 37) {
    std::ofstream(path_, std::ios::binary | std::ios::trunc) << bytes.substr(0, length);
    EXPECT_EQ(ReadTrace(path_).status().code(), absl::StatusCode::kDataLoss) << length;
  }
}

}  // namespace
}  // namespace foreshadow::training
