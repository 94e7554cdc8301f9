// Routes as HAProxy is told of them, and its statistics as they are read.
#include "service/haproxy/commands.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace foreshadow::haproxy {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

router::Route RouteAt(double split) {
  router::Route route;
  route.account = "acme";
  route.primary = {"p", "a", "one", {"10.0.0.1", 7, 81}};
  route.shadow = {"s", "b", "two", {"10.0.0.2", 7, 82}};
  route.split = split;
  return route;
}

TEST(HaproxyCommands, WhoTakesMoreIsToldFirst) {
  EXPECT_THAT(
      *CommandsOf(RouteAt(0.25)),
      ElementsAre("set server acme/primary addr 10.0.0.1 port 81",
                  "set server acme/shadow addr 10.0.0.2 port 82",
                  "set server acme/primary weight 192", "set server acme/primary state ready",
                  "set server acme/shadow weight 64", "set server acme/shadow state ready"));
  const auto commands = *CommandsOf(RouteAt(1));
  EXPECT_EQ(commands[2], "set server acme/shadow weight 256");
  EXPECT_EQ(commands[4], "set server acme/primary weight 0");
}

TEST(HaproxyCommands, ASideThatDoesNotServeHttpIsOutOfService) {
  router::Route route = RouteAt(0.5);
  route.shadow.address.http_port = 0;
  EXPECT_THAT(
      *CommandsOf(route),
      ElementsAre("set server acme/primary addr 10.0.0.1 port 81",
                  "set server acme/primary weight 256", "set server acme/primary state ready",
                  "set server acme/shadow weight 0", "set server acme/shadow state maint"));
  route.primary.address.http_port = 0;
  EXPECT_THAT(std::string(CommandsOf(route).status().message()), HasSubstr("serves HTTP"));
}

// What goes over the socket is commands: nothing of a route may become another one.
TEST(HaproxyCommands, NamesThatAreNoneAreRefused) {
  for (const char* account : {"a b", "a;shutdown", "a/b", "a\nshow"}) {
    router::Route route = RouteAt(0.5);
    route.account = account;
    EXPECT_THAT(std::string(CommandsOf(route).status().message()), HasSubstr("backend's name"));
  }
  router::Route route = RouteAt(0.5);
  route.primary.address.host = "host; shutdown";
  EXPECT_FALSE(CommandsOf(route).ok());
  EXPECT_FALSE(CommandsOf(RouteAt(1.5)).ok());
}

TEST(HaproxyCommands, AnswersTellWhatIsWrong) {
  EXPECT_TRUE(CheckAnswer("c", "\n").ok());
  EXPECT_TRUE(CheckAnswer("c",
                          "no need to change the addr, port changed from '1' to '81' by "
                          "'stats socket command'\n\n")
                  .ok());
  for (const char* answer :
       {"No such server.\n\n", "No such backend.\n\n",
        "Invalid addr 'abc' by 'stats socket command'\n\n", "Permission denied\n"}) {
    EXPECT_FALSE(CheckAnswer("c", answer).ok()) << answer;
  }
}

std::string Field(const char* name, const std::string& value) {
  return std::string(R"({"objType":"Server","field":{"pos":0,"name":")") + name +
         R"("},"value":{"type":"u64","value":)" + value + "}}";
}

TEST(HaproxyStatistics, AreCountsOfServers) {
  const std::string server = "[" + Field("pxname", "\"acme\"") + "," +
                             Field("svname", "\"shadow\"") + "," + Field("hrsp_2xx", "90") + "," +
                             Field("hrsp_5xx", "5") + "," + Field("econ", "3") + "," +
                             Field("eresp", "2") + "," + Field("hrsp_4xx", "null") + "]";
  const auto counts =
      CountsFrom(R"([[{"objType":"Frontend","field":{"name":"pxname"},"value":{"value":"f"}}],)" +
                 server + "]");
  ASSERT_TRUE(counts.ok()) << counts.status();
  ASSERT_EQ(counts->size(), 1u);
  const ServerCounts& shadow = counts->at({"acme", "shadow"});
  EXPECT_EQ(shadow.requests_count, 100u);
  EXPECT_EQ(shadow.errors_count, 10u);
  EXPECT_EQ(*PidFrom("[" + Field("Pid", "4711") + "]"), 4711);
  for (const char* text :
       {"", "{", "{}", "[1]", "[[1]]", "[[{}]]", "[[{\"objType\":\"Server\"}]]"}) {
    if (std::string(text) != "{}") {
      EXPECT_FALSE(CountsFrom(text).ok()) << text;
    }
    EXPECT_FALSE(PidFrom(text).ok()) << text;
  }
}

}  // namespace
}  // namespace foreshadow::haproxy
