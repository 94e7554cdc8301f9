#include "service/logs/logs.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>

namespace foreshadow::logs {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;
using ::testing::Not;
using ::testing::Pair;

constexpr const char* kTrace = "4bf92f3577b34da6a3ce929d0e0e4736";
constexpr const char* kParent = "00f067aa0ba902b7";

std::string Header(const std::string& version, const std::string& trace, const std::string& parent,
                   const std::string& rest = "") {
  return version + "-" + trace + "-" + parent + "-01" + rest;
}

TEST(TraceFields, AreTheIdsOfTheHeader) {
  EXPECT_THAT(TraceFields(Header("00", kTrace, kParent)),
              ElementsAre(Pair("trace_id", kTrace), Pair("parent_id", kParent)));
  EXPECT_THAT(TraceFields(Header("01", kTrace, kParent, "-more")), Not(IsEmpty()))
      << "a later version may add to it";
}

TEST(TraceFields, AreNoneOfAnythingElse) {
  const std::string zeros(32, '0');
  std::string upper = kTrace;
  upper[0] = 'A';
  for (const std::string& bad :
       {std::string(), std::string("00-"), Header("00", kTrace, kParent, "-more"),
        Header("ff", kTrace, kParent), Header("00", zeros, kParent),
        Header("00", kTrace, zeros.substr(0, 16)), Header("00", upper, kParent),
        Header("01", kTrace, kParent, "more"), std::string(1'000, '-')}) {
    EXPECT_THAT(TraceFields(bad), IsEmpty()) << bad;
  }
}

TEST(Lines, CarryTheFieldsOfAllScopesOfTheThread) {
  const LogScope outer(Fields{{"identity", "ops"}});
  {
    const LogScope inner(Fields{{"trace_id", "abc"}});
    const auto json = nlohmann::json::parse(FormatLine(Format::kJson, "warning", "hello"));
    EXPECT_EQ(json["message"], "hello");
    EXPECT_EQ(json["level"], "warning");
    EXPECT_EQ(json["identity"], "ops");
    EXPECT_EQ(json["trace_id"], "abc");
    EXPECT_THAT(FormatLine(Format::kText, "info", "hello"),
                HasSubstr("[info] hello identity=\"ops\" trace_id=\"abc\""));
  }
  EXPECT_THAT(FormatLine(Format::kText, "info", "hello"), Not(HasSubstr("trace_id")));
}

TEST(Lines, StayOneLineWhateverAFieldHolds) {
  const LogScope scope(Fields{{"identity", "a\nb \xff"}});
  EXPECT_THAT(FormatLine(Format::kText, "info", "x"), Not(HasSubstr("\n")));
  const auto json = nlohmann::json::parse(FormatLine(Format::kJson, "info", "two\nlines \xff"));
  EXPECT_THAT(json["message"], HasSubstr("two\nlines"));
}

}  // namespace
}  // namespace foreshadow::logs
