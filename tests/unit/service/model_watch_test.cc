// What the server serves as the registry changes under it, and what it leaves there.
#include "service/serving/model_watch.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>

#include "models/file/safetensors.h"
#include "models/registry.h"
#include "service/evaluate/evaluate.h"
#include "tests/unit/models/tiny_lstm.h"
#include "tests/unit/service/temporary_folder.h"

namespace foreshadow {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::IsEmpty;

constexpr int64_t kStepMs = 300'000;

class ModelWatchTest : public ::testing::Test {
 protected:
  ModelWatchTest() { testing::SaveTinyLstm(from_, 1, 0); }

  void Add() {
    const auto version = models::AddModel(folder_, from_, {});
    ASSERT_TRUE(version.ok()) << version.status();
  }
  void Promote(int version) {
    const auto now = models::ReadVersions(lstm_);
    ASSERT_TRUE(models::PromoteVersion(lstm_, version, now->serving, {}).ok());
  }
  void Cut(int version) {
    const std::string path = models::VersionFolder(lstm_, version) + "/weights.safetensors";
    std::filesystem::resize_file(path, 100);
  }
  // Serving and candidate after a look.
  std::string Look(ModelWatch& watch) {
    alerts_.clear();
    const auto served = watch.Poll(alerts_);
    return models::Label(*served.models->front()) + " " +
           (served.candidate ? models::Label(*served.candidate) : "-");
  }

  testing::TemporaryFolder temporary_;
  std::string folder_ = temporary_.path() + "/registry";
  std::string lstm_ = folder_ + "/lstm";
  std::string from_ = temporary_.path() + "/from";
  std::vector<std::string> alerts_;
};

TEST_F(ModelWatchTest, FollowsPromotionsAndRollbacks) {
  ModelWatch watch(folder_, kStepMs, 0);
  EXPECT_EQ(Look(watch), "last-hour-median -");
  Add();
  EXPECT_EQ(Look(watch), "last-hour-median lstm@1");
  Promote(1);
  EXPECT_EQ(Look(watch), "lstm@1 -");
  Add();
  EXPECT_EQ(Look(watch), "lstm@1 lstm@2");
  Promote(2);
  EXPECT_EQ(Look(watch), "lstm@2 -");
  ASSERT_TRUE(models::RollBack(lstm_, {}).ok());
  EXPECT_EQ(Look(watch), "lstm@1 -");
  EXPECT_THAT(alerts_, IsEmpty());
}

TEST_F(ModelWatchTest, APlainFolderServesUntilAVersionIsPromoted) {
  testing::SaveTinyLstm(lstm_, 3, 0);
  ModelWatch watch(folder_, kStepMs, 0);
  EXPECT_EQ(Look(watch), "lstm -");
  Add();
  EXPECT_EQ(Look(watch), "lstm lstm@1");
  Promote(1);
  EXPECT_EQ(Look(watch), "lstm@1 -");
  ASSERT_TRUE(models::RollBack(lstm_, {}).ok());
  EXPECT_EQ(Look(watch), "lstm -");
}

TEST_F(ModelWatchTest, WhatDoesNotLoadLeavesTheOldOneServingAndAnAlert) {
  Add();
  Promote(1);
  ModelWatch watch(folder_, kStepMs, 0);
  Add();
  Cut(2);
  EXPECT_EQ(Look(watch), "lstm@1 -");
  EXPECT_THAT(alerts_, ElementsAre(HasSubstr("candidate lstm@2 does not load")));
  Promote(2);
  EXPECT_EQ(Look(watch), "lstm@1 -");
  EXPECT_THAT(alerts_, ElementsAre(HasSubstr("lstm@2 does not load, lstm@1 serves on: ")));
  const auto told = alerts_;
  EXPECT_EQ(Look(watch), "lstm@1 -");
  EXPECT_EQ(alerts_, told) << "it stands, in the same words";
  // Started anew, the version before is the best there is.
  ModelWatch again(folder_, kStepMs, 0);
  EXPECT_EQ(Look(again), "lstm@1 -");
  EXPECT_EQ(alerts_, told);
  ASSERT_TRUE(models::RollBack(lstm_, {}).ok());
  EXPECT_EQ(Look(watch), "lstm@1 -");
  EXPECT_THAT(alerts_, IsEmpty());
  ASSERT_TRUE(models::ReplaceFile(models::CurrentFile(lstm_), "{\"serving\":").ok());
  EXPECT_EQ(Look(watch), "lstm@1 -");
  EXPECT_THAT(alerts_, ElementsAre(HasSubstr("the model registry cannot be followed")));
}

TEST_F(ModelWatchTest, AModelOfOtherFeaturesIsNotTakenIn) {
  const std::string card = from_ + "/card.json";
  std::string text = *models::ReadWholeFile(card, 1 << 20);
  const size_t place = text.find("\"horizon_steps\": 12");
  ASSERT_TRUE(models::ReplaceFile(card, text.replace(place, 19, "\"horizon_steps\": -1")).ok());
  const auto refused = models::AddModel(folder_, from_, {});
  EXPECT_THAT(std::string(refused.status().message()),
              ::testing::AllOf(HasSubstr(card), HasSubstr("horizon_steps is -1")));
  EXPECT_FALSE(std::filesystem::exists(lstm_));
}

// An evaluation after so many ticks, each of the last batches as good as the first.
Evaluation After(int64_t ticks, double difference) {
  Evaluation e;
  e.candidate = "lstm@2";
  e.against = e.serving = "lstm@1";
  e.difference.batch_count = 12;
  for (int64_t t = 0; t < ticks; ++t) {
    ++e.ticks;
    ++e.scored;
    Add(difference + 1e-3 * static_cast<double>(t % 7), e.difference);
  }
  return e;
}

TEST_F(ModelWatchTest, PromotesByItselfOnlyIfAskedTo) {
  for (const int32_t hours : {0, 30}) {
    for (const double difference : {-0.1, 0.1}) {
      std::filesystem::remove_all(folder_);
      Add();
      Promote(1);
      Add();
      ModelWatch watch(folder_, kStepMs, hours);
      ASSERT_EQ(Look(watch), "lstm@1 lstm@2");
      for (int64_t ticks = 1; ticks < 30 * 12; ++ticks) watch.Evaluated(After(ticks, difference));
      EXPECT_EQ(Look(watch), "lstm@1 lstm@2");
      const auto report = models::ReadWholeFile(models::EvaluationFile(lstm_, 2), 1 << 20);
      ASSERT_TRUE(report.ok());
      EXPECT_THAT(*report, HasSubstr(difference < 0 ? "\"better\"" : "\"worse\""));
      watch.Evaluated(After(30 * 12, difference));
      const bool promoted = hours > 0 && difference < 0;
      EXPECT_EQ(Look(watch), promoted ? "lstm@2 -" : "lstm@1 lstm@2");
      if (promoted) {
        const models::Change last = models::ReadHistory(lstm_)->back();
        EXPECT_EQ(last.who, "foreshadowd");
        EXPECT_THAT(last.why, HasSubstr("better"));
        continue;
      }
      for (int64_t ticks = 361; ticks < 900; ++ticks) watch.Evaluated(After(ticks, -0.1));
      EXPECT_EQ(Look(watch), "lstm@1 lstm@2") << "it is decided once";
    }
  }
}

}  // namespace
}  // namespace foreshadow
