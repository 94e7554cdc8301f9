// A real server with cells is killed and started again under load; the command does both runs again
// from the journals that it left.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <nlohmann/json.hpp>

#include "tests/integration/fake_cell.h"
#include "tests/integration/running_server.h"
#include "tests/integration/story.h"
#include "tests/unit/models/tiny_lstm.h"
#include "tests/unit/service/temporary_folder.h"

namespace foreshadow {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using testing::Story;

class ReplayTest : public ::testing::Test {
 protected:
  void Serve(int first, int last, bool kill) {
    std::string config =
        testing::ConfigText(temporary_.path(), cell_a_.address(), cell_b_.address());
    config.replace(config.find("[tick]"), 0,
                   fmt::format("journal_dir = \"{}\"\nmodel_dir = \"{}\"\n", journals_, registry_));
    testing::RunningServer server(temporary_.path(), config);
    ASSERT_TRUE(server.Put(story_.Accounts()).ok());
    const auto plans = story_.Play(server, first, last);
    sharing_ |= std::any_of(plans.begin(), plans.end(), testing::IsSharing);
    if (kill) {
      server.KillAtOnce();
    } else {
      EXPECT_EQ(server.Stop(), 0);
    }
  }

  // Exit code of `foreshadow replay ...`, its output in output_.
  int Replay(std::vector<std::string> words) {
    std::vector<std::string> command = {std::string(FORESHADOW_BIN_DIR) + "/foreshadow", "replay"};
    command.insert(command.end(), words.begin(), words.end());
    const std::string log = temporary_.path() + "/output";
    std::filesystem::remove(log);
    testing::Process process(command, log);
    const int code = process.Wait();
    output_ = process.Output();
    return code;
  }

  testing::TemporaryFolder temporary_;
  std::string journals_ = temporary_.path() + "/journals";
  std::string registry_ = temporary_.path() + "/registry";
  testing::FakeCell cell_a_;
  testing::FakeCell cell_b_;
  Story story_;
  bool sharing_ = false;
  std::string output_;
};

TEST_F(ReplayTest, EveryDecisionOfAServerThatWasKilledIsTheSameAgain) {
  testing::SaveTinyLstm(registry_ + "/lstm", 1, 0, testing::kStepMs);
  Serve(0, Story::kFlatSteps + 60, /*kill=*/true);
  Serve(Story::kFlatSteps + 60, Story::kFlatSteps + 80, /*kill=*/false);
  EXPECT_TRUE(sharing_) << "the runs are ones in which something happens";

  ASSERT_EQ(Replay({journals_, "--json"}), 0) << output_;
  std::istringstream lines(output_);
  std::string line;
  std::vector<nlohmann::json> runs;
  while (std::getline(lines, line)) runs.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(runs.size(), 2u) << output_;
  EXPECT_EQ(runs[0]["ticks"], 60);
  EXPECT_EQ(runs[1]["ticks"], 20);
  EXPECT_EQ(runs[0]["identical"], true);
  EXPECT_EQ(runs[1]["identical"], true);
  EXPECT_GT(runs[0]["explanations"].get<int>(), 0);
  EXPECT_EQ(runs[0]["cut"], false);

  const std::string first = runs[0]["journal"];
  ASSERT_EQ(Replay({first}), 0) << output_;
  EXPECT_THAT(output_, AllOf(HasSubstr("identical: 60 ticks from "), HasSubstr("11 accounts"),
                             HasSubstr(runs[0]["digest"].get<std::string>())));
  ASSERT_EQ(Replay({first, "--until", "2023-11-15T00:20:00Z"}), 0) << output_;
  EXPECT_THAT(output_, HasSubstr("identical: 7 ticks"));

  // Other weights under the same name are not taken for what they are not.
  const std::string other = temporary_.path() + "/other";
  testing::SaveTinyLstm(other + "/lstm", 2, 0, testing::kStepMs);
  EXPECT_EQ(Replay({first, "--models", other}), 1);
  EXPECT_THAT(output_, AllOf(HasSubstr("lstm ("), HasSubstr("was recorded"), HasSubstr(other),
                             HasSubstr("not the same weights")));
  EXPECT_EQ(Replay({first, "--models", temporary_.path() + "/none"}), 1);
  EXPECT_THAT(output_, HasSubstr("does not load"));

  // A server that was killed in the midst of writing, a byte that was changed, no journal.
  std::filesystem::resize_file(first, std::filesystem::file_size(first) - 2);
  EXPECT_EQ(Replay({first}), 0) << output_;
  EXPECT_THAT(output_, AllOf(HasSubstr("59 ticks"), HasSubstr("in the midst of a tick")));
  std::fstream(first).seekp(2'000).put('!').put('!');
  EXPECT_EQ(Replay({first}), 1);
  EXPECT_THAT(output_, AllOf(HasSubstr(first), HasSubstr("at byte "), HasSubstr("damaged")));
  EXPECT_EQ(Replay({registry_}), 1);
  EXPECT_THAT(output_, HasSubstr("no journal is in it"));
  EXPECT_EQ(Replay({temporary_.path() + "/nowhere"}), 2);
  EXPECT_EQ(Replay({first, "--until", "tomorrow"}), 2);
}

}  // namespace
}  // namespace foreshadow
