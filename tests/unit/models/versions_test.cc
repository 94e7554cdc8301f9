// The registry's folder: what each change does, what a kill at any moment leaves, two writers.
#include "models/versions/versions.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <signal.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <fstream>
#include <random>
#include <set>
#include <thread>

#include "models/file/safetensors.h"
#include "tests/unit/service/temporary_folder.h"

namespace foreshadow::models {
namespace {

using foreshadow::testing::TemporaryFolder;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

absl::Status Fine(const std::string&) { return absl::OkStatus(); }

// Two files that name each other's content, so that a mixed or cut pair shows.
absl::Status Whole(const std::string& folder) {
  const auto card = ReadWholeFile(folder + "/card.json", 1 << 20);
  const auto weights = ReadWholeFile(folder + "/weights.safetensors", 1 << 20);
  if (!card.ok() || !weights.ok() || *card + std::string(10'000, 'w') != *weights) {
    return absl::DataLossError(folder + " is not whole");
  }
  return absl::OkStatus();
}

void WriteModel(const std::string& folder, const std::string& text) {
  std::filesystem::create_directories(folder);
  std::ofstream(folder + "/card.json") << text;
  std::ofstream(folder + "/weights.safetensors") << text << std::string(10'000, 'w');
}

class VersionsTest : public ::testing::Test {
 protected:
  VersionsTest() { WriteModel(from_, "one"); }

  int Add() {
    const auto version = AddVersion(folder_, from_, Whole, {++time_ms_, "me", "because"});
    EXPECT_TRUE(version.ok()) << version.status();
    return version.value_or(kNoVersion);
  }
  absl::Status Promote(int version) {
    return PromoteVersion(folder_, version, Now().serving, {++time_ms_, "me", ""});
  }
  Versions Now() {
    const auto versions = ReadVersions(folder_);
    EXPECT_TRUE(versions.ok()) << versions.status();
    return versions.value_or(Versions{});
  }
  std::vector<std::string> Actions() {
    std::vector<std::string> actions;
    const auto history = ReadHistory(folder_);
    EXPECT_TRUE(history.ok()) << history.status();
    for (const Change& c : *history) {
      EXPECT_EQ(c.number, std::ssize(actions) + 1);
      actions.push_back(c.action + " " + std::to_string(c.version));
    }
    return actions;
  }

  TemporaryFolder temporary_;
  std::string folder_ = temporary_.path() + "/registry/lstm";
  std::string from_ = temporary_.path() + "/from";
  int64_t time_ms_ = 1'000;
};

TEST_F(VersionsTest, APlainFolderIsARegistryOfOneVersion) {
  EXPECT_EQ(Now().serving, kNoVersion);
  WriteModel(folder_, "plain");
  EXPECT_EQ(Now().serving, kPlainVersion);
  EXPECT_THAT(ListVersions(folder_, Now()), ElementsAre(0));
  EXPECT_EQ(VersionFolder(folder_, 0), folder_);
  // It keeps serving when versions come, and can be come back to.
  EXPECT_EQ(Add(), 1);
  EXPECT_EQ(Now().serving, 0);
  ASSERT_TRUE(Promote(1).ok());
  EXPECT_EQ(*RollBack(folder_, {}), 0);
  EXPECT_THAT(std::string(RemoveVersion(folder_, 0, {}).message()), HasSubstr("version 0 serves"));
  ASSERT_TRUE(Promote(1).ok());
  EXPECT_THAT(std::string(RemoveVersion(folder_, 0, {}).message()), HasSubstr("came with"));
}

TEST_F(VersionsTest, ChangesAndTheirHistory) {
  EXPECT_EQ(Add(), 1);
  EXPECT_EQ(Now().candidate, 1);
  ASSERT_TRUE(Promote(1).ok());
  EXPECT_EQ(Now().candidate, kNoVersion);
  EXPECT_EQ(Add(), 2);
  EXPECT_EQ(Add(), 3);
  EXPECT_EQ(Now().candidate, 3);
  ASSERT_TRUE(Promote(2).ok());
  EXPECT_EQ(Now().serving, 2);
  EXPECT_EQ(Now().before, 1);
  EXPECT_EQ(Now().candidate, 3);
  EXPECT_EQ(*RollBack(folder_, {5, "you", "it \"was\"\nworse"}), 1);
  EXPECT_EQ(Now().before, 2);
  ASSERT_TRUE(RemoveVersion(folder_, 2, {}).ok());
  EXPECT_EQ(Now().before, kNoVersion);
  EXPECT_THAT(ListVersions(folder_, Now()), ElementsAre(1, 3));
  ASSERT_TRUE(RemoveVersion(folder_, 3, {}).ok());
  EXPECT_EQ(Now().candidate, kNoVersion);
  EXPECT_EQ(Add(), 4) << "a number is never given twice";
  EXPECT_THAT(Actions(), ElementsAre("add 1", "promote 1", "add 2", "add 3", "promote 2",
                                     "rollback 1", "remove 2", "remove 3", "add 4"));
  const Change back = (*ReadHistory(folder_))[5];
  EXPECT_EQ(back.who, "you");
  EXPECT_EQ(back.why, "it \"was\"\nworse");
  EXPECT_EQ(back.time_ms, 5);
}

TEST_F(VersionsTest, RefusalsChangeNothing) {
  Add();
  ASSERT_TRUE(Promote(1).ok());
  const std::string before = *ReadWholeFile(CurrentFile(folder_), 1 << 20);
  EXPECT_THAT(std::string(Promote(7).message()), HasSubstr("no version 7: there are 1"));
  EXPECT_THAT(std::string(Promote(1).message()), HasSubstr("serves already"));
  EXPECT_THAT(std::string(RollBack(folder_, {}).status().message()), HasSubstr("go back to"));
  EXPECT_THAT(std::string(RemoveVersion(folder_, 1, {}).message()), HasSubstr("serves"));
  EXPECT_THAT(std::string(PromoteVersion(folder_, 1, 9, {}).message()), HasSubstr("already"));
  std::filesystem::remove(from_ + "/weights.safetensors");
  EXPECT_EQ(AddVersion(folder_, from_, Fine, {}).status().code(), absl::StatusCode::kNotFound);
  WriteModel(from_, "two");
  const auto refused = AddVersion(
      folder_, from_, [](const std::string&) { return absl::DataLossError("bad field"); }, {});
  EXPECT_EQ(refused.status().message(), "bad field");
  EXPECT_EQ(*ReadWholeFile(CurrentFile(folder_), 1 << 20), before);
  EXPECT_THAT(ListVersions(folder_, Now()), ElementsAre(1));
  EXPECT_THAT(Actions(), ElementsAre("add 1", "promote 1"));
}

TEST_F(VersionsTest, APromotionJudgedAgainstAnotherVersionIsRefused) {
  for (int i = 0; i < 3; ++i) Add();
  ASSERT_TRUE(Promote(1).ok());
  ASSERT_TRUE(Promote(2).ok());
  EXPECT_THAT(std::string(PromoteVersion(folder_, 3, /*serving=*/1, {}).message()),
              HasSubstr("version 2 serves by now"));
}

TEST_F(VersionsTest, AFileThatIsNotWholeIsNamedWithItsField) {
  Add();
  const std::string path = CurrentFile(folder_);
  const std::string whole = *ReadWholeFile(path, 1 << 20);
  for (size_t length = 0; length + 2 < whole.size(); ++length) {
    ASSERT_TRUE(ReplaceFile(path, whole.substr(0, length)).ok());
    const auto versions = ReadVersions(folder_);
    ASSERT_EQ(versions.status().code(), absl::StatusCode::kDataLoss) << length;
    EXPECT_THAT(std::string(versions.status().message()), HasSubstr(path));
  }
  std::string odd = whole;
  odd.replace(odd.find("\"newest\":1"), 10, "\"newest\":-1");
  ASSERT_TRUE(ReplaceFile(path, odd).ok());
  EXPECT_THAT(std::string(ReadVersions(folder_).status().message()), HasSubstr("newest"));
  EXPECT_EQ(AddVersion(folder_, from_, Fine, {}).status().code(), absl::StatusCode::kDataLoss)
      << "nothing is built on what cannot be read";
}

TEST_F(VersionsTest, TheHistoryIsCompletedAfterACrashThatCutIt) {
  Add();
  ASSERT_TRUE(Promote(1).ok());
  const std::string path = folder_ + "/history.jsonl";
  const std::string whole = *ReadWholeFile(path, 1 << 20);
  // Killed before the line of the promotion.
  ASSERT_TRUE(ReplaceFile(path, whole.substr(0, whole.find('\n') + 1)).ok());
  EXPECT_THAT(Actions(), ElementsAre("add 1"));
  Add();
  EXPECT_THAT(Actions(), ElementsAre("add 1", "promote 1", "add 2"));
  // Cut within the last line: the line is skipped, written again, and the next one is whole.
  const std::string three = *ReadWholeFile(path, 1 << 20);
  ASSERT_TRUE(ReplaceFile(path, three.substr(0, three.size() - 9)).ok());
  Add();
  EXPECT_THAT(Actions(), ElementsAre("add 1", "promote 1", "add 2", "add 3"));
}

// A writer that changes something all the time, killed at random moments: whatever it was at, every
// version that is listed is whole, and so are the state and the history once somebody goes on.
TEST_F(VersionsTest, SurvivesAKillAtAnyMoment) {
  std::mt19937_64 random(1);
  for (int round = 0; round < 60; ++round) {
    const pid_t writer = fork();
    if (writer == 0) {
      for (int i = 0;; ++i) {
        (void)AddVersion(folder_, from_, Whole, {i, "writer", "round"});
        const auto now = ReadVersions(folder_);
        if (!now.ok()) _exit(1);
        (void)PromoteVersion(folder_, now->candidate, now->serving, {i, "writer", ""});
        if (i % 3 == 1) (void)RollBack(folder_, {i, "writer", ""});
        if (now->before > 0) (void)RemoveVersion(folder_, now->before, {i, "writer", ""});
      }
    }
    usleep(static_cast<useconds_t>(random() % 100'000));
    kill(writer, SIGKILL);
    int status = 0;
    waitpid(writer, &status, 0);
    ASSERT_TRUE(WIFSIGNALED(status)) << "it could not read what it wrote";
    const auto now = ReadVersions(folder_);
    ASSERT_TRUE(now.ok()) << now.status();
    if (now->serving != kNoVersion) {
      ASSERT_TRUE(Whole(VersionFolder(folder_, now->serving)).ok());
    }
    if (now->candidate != kNoVersion) {
      ASSERT_TRUE(Whole(VersionFolder(folder_, now->candidate)).ok());
    }
  }
  Add();
  EXPECT_EQ(std::ssize(Actions()), Now().last.number);  // which checks that no number is missing
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/versions/new"));
}

TEST_F(VersionsTest, TwoWritersTakeTurns) {
  constexpr int kWriters = 4, kAdds = 10;
  std::vector<pid_t> writers;
  for (int w = 0; w < kWriters; ++w) {
    writers.push_back(fork());
    if (writers.back() == 0) {
      bool ok = true;
      for (int i = 0; i < kAdds; ++i) ok &= AddVersion(folder_, from_, Whole, {i, "w", ""}).ok();
      _exit(ok ? 0 : 1);
    }
  }
  for (const pid_t writer : writers) {
    int status = 0;
    waitpid(writer, &status, 0);
    EXPECT_EQ(status, 0);
  }
  std::set<std::string> different;
  for (const std::string& action : Actions()) different.insert(action);
  EXPECT_EQ(different.size(), size_t{kWriters * kAdds});
  EXPECT_EQ(std::ssize(ListVersions(folder_, Now())), kWriters * kAdds);
}

TEST_F(VersionsTest, KeepsAnEvaluationBesideItsVersion) {
  Add();
  ASSERT_TRUE(WriteEvaluation(folder_, 1, "{}\n").ok());
  EXPECT_EQ(*ReadWholeFile(EvaluationFile(folder_, 1), 100), "{}\n");
  EXPECT_EQ(WriteEvaluation(folder_, 2, "{}\n").code(), absl::StatusCode::kNotFound);
}

}  // namespace
}  // namespace foreshadow::models
