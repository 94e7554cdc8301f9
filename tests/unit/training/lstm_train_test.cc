// Training: the same seed gives the same weights, a kill in the middle changes nothing, and what
// cannot be trained on is named.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmath>
#include <filesystem>
#include <limits>
#include <numbers>
#include <random>

#include "models/lstm/lstm.h"
#include "tests/free_port.h"
#include "training/train/lstm_trainer.h"
#include "training/train/sequences.h"

namespace foreshadow::training {
namespace {

using testing::FreePort;
using ::testing::HasSubstr;

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();

// A daily wave of 5-min steps with noise, ten times as large from series to series.
SeriesSet Waves(int64_t steps, int64_t series) {
  SeriesSet set;
  set.start_ms = 1'700'006'400'000;
  set.step_ms = 300'000;
  set.steps = steps;
  std::mt19937_64 random(7);
  std::normal_distribution<double> normal(0, 0.3);
  for (int64_t s = 0; s < series; ++s) {
    set.signals.push_back(static_cast<models::SignalKind>(s % models::kSignalKinds));
  }
  for (int64_t t = 0; t < steps; ++t) {
    for (int64_t s = 0; s < series; ++s) {
      const double wave = std::sin(2 * std::numbers::pi * static_cast<double>(t) / 288);
      set.values.push_back(
          static_cast<float>(std::pow(10, s) * std::max(0.0, 3 + 2 * wave + normal(random))));
    }
  }
  return set;
}

class LstmTraining : public ::testing::Test {
 protected:
  void SetUp() override {
    folder_ = ::testing::TempDir() + "lstm_training_" +
              ::testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  LstmTrainOptions Options(const std::string& name) const {
    LstmTrainOptions options;
    options.out = folder_ + "/" + name;
    options.hidden = 6;
    options.window_steps = 12;
    options.scored_steps = 12;
    options.batch_sequences = 4;
    options.epoch_batches = 5;
    options.epochs_max = 4;
    options.patience_epochs = 4;
    options.threads = 1;
    return options;
  }

  static std::vector<models::Tensor> WeightsIn(const std::string& folder) {
    const auto file = models::ReadSafetensors(folder + "/weights.safetensors");
    EXPECT_TRUE(file.ok()) << file.status();
    return file.ok() ? file->tensors : std::vector<models::Tensor>();
  }

  static void ExpectSameWeights(const std::string& a, const std::string& b) {
    const auto one = WeightsIn(a);
    const auto other = WeightsIn(b);
    ASSERT_EQ(one.size(), other.size());
    ASSERT_FALSE(one.empty());
    for (size_t i = 0; i < one.size(); ++i) EXPECT_EQ(one[i].values, other[i].values);
  }

  std::string folder_;
  SeriesSet set_ = Waves(900, 4);
};

const std::function<void(const TrainProgress&)> kSilent = [](const TrainProgress&) {};

TEST_F(LstmTraining, LearnsAndIsTheSameForOneSeed) {
  LstmTrainOptions options = Options("a");
  options.epoch_batches = 20;
  double first_loss = 0;
  double last_loss = 0;
  const auto card = TrainLstm({&set_, 1}, options, [&](const TrainProgress& p) {
    if (p.epoch == 1 && p.batch == 1) first_loss = p.train_loss;
    last_loss = p.train_loss;
  });
  ASSERT_TRUE(card.ok()) << card.status();
  EXPECT_LT(last_loss, 0.8 * first_loss);
  EXPECT_LT(card->training.validation_loss, 0.8 * first_loss);
  options.out = folder_ + "/b";
  ASSERT_TRUE(TrainLstm({&set_, 1}, options, kSilent).ok());
  ExpectSameWeights(folder_ + "/a", folder_ + "/b");
  EXPECT_TRUE(models::LoadLstm(folder_ + "/a", 1).ok());
}

TEST_F(LstmTraining, KilledAndResumedEndsAtTheSameWeights) {
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    (void)TrainLstm({&set_, 1}, Options("killed"), [](const TrainProgress& p) {
      if (p.epoch == 3 && p.batch == 2) _exit(9);
    });
    _exit(0);
  }
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(WEXITSTATUS(status), 9);
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/killed/weights.safetensors"));

  int first_epoch = 0;
  const auto resumed = TrainLstm({&set_, 1}, Options("killed"), [&](const TrainProgress& p) {
    if (first_epoch == 0) first_epoch = p.epoch;
    EXPECT_TRUE(p.resumed);
  });
  ASSERT_TRUE(resumed.ok()) << resumed.status();
  EXPECT_EQ(first_epoch, 3);
  const auto whole = TrainLstm({&set_, 1}, Options("whole"), kSilent);
  ASSERT_TRUE(whole.ok());
  ExpectSameWeights(folder_ + "/killed", folder_ + "/whole");
  EXPECT_EQ(*models::ReadWholeFile(folder_ + "/killed/training.csv", 1 << 20),
            *models::ReadWholeFile(folder_ + "/whole/training.csv", 1 << 20));
}

TEST_F(LstmTraining, RanksThatTrainTogetherEndAtTheSameWeights) {
  const int port = FreePort();
  std::vector<pid_t> children;
  for (int rank = 0; rank < 2; ++rank) {
    children.push_back(fork());
    ASSERT_GE(children.back(), 0);
    if (children.back() != 0) continue;
    const auto group = models::ProcessGroup::Join({rank, 2, "127.0.0.1", port});
    if (!group.ok()) _exit(2);
    LstmTrainOptions options = Options("together");
    options.group = group->get();
    // Rank 1 keeps what it ends with, which nothing but its own training made.
    const auto card = TrainLstm({&set_, 1}, options, kSilent);
    if (!card.ok()) _exit(3);
    const double loss = card->training.validation_loss;
    const bool kept =
        models::ReplaceFile(folder_ + "/loss" + std::to_string(rank), std::to_string(loss)).ok();
    _exit(kept ? 0 : 4);
  }
  for (const pid_t child : children) {
    int status = 0;
    ASSERT_EQ(waitpid(child, &status, 0), child);
    ASSERT_EQ(WEXITSTATUS(status), 0);
  }
  EXPECT_EQ(*models::ReadWholeFile(folder_ + "/loss0", 100),
            *models::ReadWholeFile(folder_ + "/loss1", 100));

  EXPECT_TRUE(models::LoadLstm(folder_ + "/together", 1).ok());
}

// The mean of two equal gradients is the gradient: ranks that see one batch step as one alone does.
TEST_F(LstmTraining, RanksThatSeeOneBatchStepAsOneAlone) {
  const SequenceSource source({&set_, 1}, {}, {{}, 24, 6, 0.15});
  SequenceBatch batch;
  ASSERT_TRUE(source.Draw(Part::kTraining, 4, 5, batch));
  models::LstmCard card;
  card.hidden = 6;
  const auto step = [&](models::ProcessGroup* group) {
    auto network = models::LstmNetwork::Create(card.shape(), 3, 1);
    EXPECT_TRUE((*network)->TrainStep(batch.batch, batch.targets, 1e-2, group).ok());
    return (*network)->Weights();
  };
  const int port = FreePort();
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  const auto group = models::ProcessGroup::Join({child == 0 ? 1 : 0, 2, "127.0.0.1", port});
  if (child == 0) {
    if (group.ok()) step(group->get());
    _exit(group.ok() ? 0 : 2);
  }
  ASSERT_TRUE(group.ok()) << group.status();
  const auto shared = step(group->get());
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  ASSERT_EQ(WEXITSTATUS(status), 0);
  const auto alone = step(nullptr);
  for (size_t i = 0; i < alone.size(); ++i) EXPECT_EQ(shared[i].values, alone[i].values);
}

TEST_F(LstmTraining, ARankThatGoesAwayEndsTheOthersWithAnError) {
  const int port = FreePort();
  int joined[2];  // closed at both ends of this process once it has joined; the child waits for
                  // that
  ASSERT_EQ(pipe(joined), 0);
  const pid_t child = fork();
  ASSERT_GE(child, 0);
  if (child == 0) {
    close(joined[1]);
    const auto group = models::ProcessGroup::Join({1, 2, "127.0.0.1", port});
    char none = 0;
    const bool ended = read(joined[0], &none, 1) == 0;
    _exit(group.ok() && ended ? 9 : 2);
  }
  const auto group = models::ProcessGroup::Join({0, 2, "127.0.0.1", port});
  close(joined[0]);
  close(joined[1]);
  ASSERT_TRUE(group.ok()) << group.status();
  LstmTrainOptions options = Options("left");
  options.group = group->get();
  const auto card = TrainLstm({&set_, 1}, options, kSilent);
  EXPECT_EQ(card.status().code(), absl::StatusCode::kUnavailable);
  const std::string message(card.status().message());
  EXPECT_THAT(message, HasSubstr("rank 0 of 2 lost the others"));
  EXPECT_THAT(message, ::testing::Not(HasSubstr("frame #")));
  int status = 0;
  ASSERT_EQ(waitpid(child, &status, 0), child);
  EXPECT_EQ(WEXITSTATUS(status), 9);
}

TEST_F(LstmTraining, RefusesTheCheckpointOfAnotherRun) {
  ASSERT_TRUE(TrainLstm({&set_, 1}, Options("a"), kSilent).ok());
  LstmTrainOptions other = Options("a");
  other.seed = 2;
  const auto refused = TrainLstm({&set_, 1}, other, kSilent);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refused.status().message()),
              ::testing::AllOf(HasSubstr("checkpoint.safetensors"), HasSubstr("--fresh")));
  other.fresh = true;
  EXPECT_TRUE(TrainLstm({&set_, 1}, other, kSilent).ok());
}

TEST_F(LstmTraining, LearnsFromTeachersOfOtherWidths) {
  LstmTrainOptions wide = Options("wide");
  wide.hidden = 9;
  ASSERT_TRUE(TrainLstm({&set_, 1}, wide, kSilent).ok());
  ASSERT_TRUE(TrainLstm({&set_, 1}, Options("alone"), kSilent).ok());
  LstmTrainOptions taught = Options("taught");
  taught.teachers = {wide.out, folder_ + "/alone"};
  ASSERT_TRUE(TrainLstm({&set_, 1}, taught, kSilent).ok());
  EXPECT_NE(WeightsIn(taught.out).front().values, WeightsIn(folder_ + "/alone").front().values);
  taught.out = folder_ + "/again";
  ASSERT_TRUE(TrainLstm({&set_, 1}, taught, kSilent).ok());
  ExpectSameWeights(folder_ + "/taught", folder_ + "/again");
  taught.teachers.pop_back();  // what was learned of another teacher is another run
  EXPECT_EQ(TrainLstm({&set_, 1}, taught, kSilent).status().code(),
            absl::StatusCode::kFailedPrecondition);
}

TEST_F(LstmTraining, BeginsAsATrainedModel) {
  ASSERT_TRUE(TrainLstm({&set_, 1}, Options("old"), kSilent).ok());
  LstmTrainOptions on = Options("on");
  on.start = folder_ + "/old";
  on.learning_rate = 1e-12;
  ASSERT_TRUE(TrainLstm({&set_, 1}, on, kSilent).ok());
  const auto old = WeightsIn(folder_ + "/old");
  const auto moved = WeightsIn(folder_ + "/on");
  for (size_t i = 0; i < old.size(); ++i) {
    EXPECT_THAT(moved[i].values, ::testing::Pointwise(::testing::FloatNear(1e-6f), old[i].values));
  }
  on.start.clear();
  EXPECT_EQ(TrainLstm({&set_, 1}, on, kSilent).status().code(),
            absl::StatusCode::kFailedPrecondition);
  LstmTrainOptions wide = Options("wide");
  wide.start = folder_ + "/old";
  wide.hidden = 9;
  EXPECT_THAT(std::string(TrainLstm({&set_, 1}, wide, kSilent).status().message()),
              HasSubstr("hidden is 6: allowed is that of the model to be trained, 9"));
}

// The shipped model knows no applications, and a history of one's own has some.
TEST_F(LstmTraining, BeginsAsAndLearnsFromAModelOfOtherApplications) {
  LstmTrainOptions old = Options("old");
  set_.applications = {0, 1, 0, -1};
  set_.application_names = {"db", "web"};
  ASSERT_TRUE(TrainLstm({&set_, 1}, old, kSilent).ok());
  LstmTrainOptions on = Options("on");
  on.start = old.out;
  on.teachers = {old.out};
  on.learning_rate = 1e-12;
  set_.application_names = {"web", "batch"};
  ASSERT_TRUE(TrainLstm({&set_, 1}, on, kSilent).ok());
  const auto rows = [&](const std::string& folder) {
    for (const models::Tensor& tensor : WeightsIn(folder)) {
      if (tensor.name == "application.weight") return tensor.values;
    }
    return std::vector<float>();
  };
  const auto before = rows(old.out);  // unknown, db, web
  ASSERT_EQ(before.size(), 12);
  const auto after = rows(on.out);  // unknown, web, batch
  ASSERT_EQ(after.size(), 12);
  for (int i = 0; i < 4; ++i) {
    EXPECT_NEAR(after[i], before[i], 1e-6);
    EXPECT_NEAR(after[4 + i], before[8 + i], 1e-6);
    EXPECT_NEAR(after[8 + i], before[i], 1e-6);
  }
}

TEST_F(LstmTraining, NamesATeacherOfOtherSteps) {
  LstmTrainOptions longer = Options("longer");
  longer.horizon_steps = 24;
  ASSERT_TRUE(TrainLstm({&set_, 1}, longer, kSilent).ok());
  LstmTrainOptions taught = Options("taught");
  taught.teachers = {longer.out};
  const auto refused = TrainLstm({&set_, 1}, taught, kSilent);
  EXPECT_EQ(refused.status().code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(refused.status().message()),
              ::testing::AllOf(HasSubstr("longer"), HasSubstr("horizon_steps is 24")));
  taught.teachers = {folder_ + "/none"};
  EXPECT_EQ(TrainLstm({&set_, 1}, taught, kSilent).status().code(), absl::StatusCode::kNotFound);
}

TEST_F(LstmTraining, NamesADamagedCheckpoint) {
  ASSERT_TRUE(TrainLstm({&set_, 1}, Options("a"), kSilent).ok());
  ASSERT_TRUE(models::ReplaceFile(folder_ + "/a/checkpoint.safetensors", "rubbish").ok());
  EXPECT_THAT(std::string(TrainLstm({&set_, 1}, Options("a"), kSilent).status().message()),
              HasSubstr("checkpoint.safetensors"));
}

TEST_F(LstmTraining, StopsEarlyWithoutGain) {
  LstmTrainOptions options = Options("a");
  options.patience_epochs = 1;
  options.epochs_max = 60;
  options.epoch_batches = 1;
  options.learning_rate = 0.2;  // leaps about
  const auto card = TrainLstm({&set_, 1}, options, kSilent);
  ASSERT_TRUE(card.ok());
  EXPECT_LT(card->training.epochs, 60);
  EXPECT_EQ(card->training.epochs, card->training.best_epoch + 1);
}

TEST_F(LstmTraining, NamesWhatCannotBeTrainedOn) {
  LstmTrainOptions options = Options("a");
  options.hidden = 0;
  EXPECT_THAT(std::string(TrainLstm({&set_, 1}, options, kSilent).status().message()),
              HasSubstr("hidden is 0"));
  options = Options("a");
  options.validation_share = 0.9;
  EXPECT_THAT(std::string(TrainLstm({&set_, 1}, options, kSilent).status().message()),
              HasSubstr("validation_share is 0.9"));
  options = Options("a");
  options.horizon_steps = 288;
  EXPECT_THAT(std::string(TrainLstm({&set_, 1}, options, kSilent).status().message()),
              HasSubstr("horizon_steps is 288"));
  SeriesSet odd = set_;
  odd.step_ms = 420'000;
  EXPECT_THAT(std::string(TrainLstm({&odd, 1}, Options("a"), kSilent).status().message()),
              HasSubstr("step_ms of the traces is 420000"));
  SeriesSet constant = set_;
  std::ranges::fill(constant.values, 4.0f);
  EXPECT_THAT(std::string(TrainLstm({&constant, 1}, Options("a"), kSilent).status().message()),
              HasSubstr("that varies"));
  std::ranges::fill(constant.values, kMissing);
  EXPECT_FALSE(TrainLstm({&constant, 1}, Options("a"), kSilent).ok());
  const SeriesSet none;
  EXPECT_THAT(std::string(TrainLstm({&none, 1}, Options("a"), kSilent).status().message()),
              HasSubstr("number of series is 0"));
}

class Sequences : public ::testing::Test {
 protected:
  // Targets of a scored step in the samples' unit: those of the step three later, moved by three.
  static void ExpectTargetsFollow(const SequenceBatch& b) {
    const auto target = [&](int64_t row, int64_t ahead, int64_t i) {
      return b.values[(row * 12 + ahead) * b.batch.width + i];
    };
    const auto last = [&](int64_t row, int64_t i) {
      return b.candidates[row * 12 * models::kCandidates * b.batch.width + i];
    };
    for (int64_t i = 0; i < b.batch.sequences; ++i) {
      for (int64_t row = 1; row < b.batch.scored; ++row) {
        // The first candidate is the last value: three steps later, the target three steps ahead
        // has become it. Scales differ little from row to row.
        const float rise = target(row - 1, 5, i) - target(row - 1, 2, i);
        const float rise_next = target(row, 2, i) - last(row, i);
        if (std::isnan(rise)) continue;  // an account too young to be scored
        EXPECT_NEAR(rise, rise_next, 0.1 * std::fabs(rise) + 1e-3);
      }
    }
  }
};

TEST_F(Sequences, TargetsAreTheScaledFuture) {
  const SeriesSet set = Waves(900, 2);
  const SequenceSource source({&set, 1}, {}, {{}, 24, 6, 0.15});
  SequenceBatch batch;
  ASSERT_TRUE(source.Draw(Part::kTraining, 8, 5, batch));
  EXPECT_EQ(batch.batch.scored, 2);
  ExpectTargetsFollow(batch);
  ASSERT_TRUE(source.Draw(Part::kValidation, 8, 5, batch));
  ExpectTargetsFollow(batch);
}

TEST_F(Sequences, AreThoseOfTheSeed) {
  const SeriesSet set = Waves(900, 3);
  const SequenceSource source({&set, 1}, {}, {{}, 24, 6, 0.15});
  SequenceBatch a, b, c;
  ASSERT_TRUE(source.Draw(Part::kTraining, 8, 5, a));
  ASSERT_TRUE(source.Draw(Part::kTraining, 8, 5, b));
  ASSERT_TRUE(source.Draw(Part::kTraining, 8, 6, c));
  EXPECT_EQ(a.features, b.features);
  EXPECT_NE(a.features, c.features);
}

// Each part of the data has a value of its own, by which to tell where targets came from.
TEST_F(Sequences, OfTrainingNeverTouchValidation) {
  std::vector<SeriesSet> sets = {Waves(900, 2), Waves(100, 14)};  // by time, and by series
  for (int64_t t = 765; t < 900; ++t) {
    for (int64_t s = 0; s < 2; ++s) sets[0].values[t * 2 + s] = 1e12f * (1 + t % 2);
  }
  for (int64_t t = 0; t < 100; ++t) {
    for (const int64_t s : {0, 7}) sets[1].values[t * 14 + s] = 1e12f * (1 + t % 2);
  }
  for (float& x : sets[0].values) x = std::min(x, 2e12f);
  const SequenceSource source(sets, {}, {{}, 24, 6, 0.15});
  SequenceBatch batch;
  for (int seed = 0; seed < 20; ++seed) {
    ASSERT_TRUE(source.Draw(Part::kTraining, 8, seed, batch));
    // Beside waves of at most 1e5, a target of 1e12 would be a million deviations off.
    for (const float value : batch.values) EXPECT_FALSE(std::fabs(value) > 1e4f);
  }
  ASSERT_TRUE(source.Draw(Part::kValidation, 64, 1, batch));
}

TEST_F(Sequences, CarryTheirApplicationOrHideIt) {
  SeriesSet set = Waves(900, 2);
  set.applications = {1, -1};
  set.application_names = {"batch", "web"};
  const std::vector<std::string> names = {"db", "web"};
  const SequenceSource source({&set, 1}, names, {{}, 24, 6, 0.15});
  SequenceBatch batch;
  ASSERT_TRUE(source.Draw(Part::kTraining, 200, 1, batch));
  EXPECT_TRUE(std::ranges::all_of(batch.applications, [](int64_t a) { return a == 0 || a == 2; }));
  const auto known = std::ranges::count(batch.applications, 2);
  EXPECT_GT(known, 50);  // half of the series have one, three in four are told
  EXPECT_LT(known, 100);
}

}  // namespace
}  // namespace foreshadow::training
