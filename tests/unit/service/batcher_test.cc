// Which calls share a run of the models, in which order, and what becomes of those that cannot.
#include "service/batch/batcher.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <condition_variable>
#include <future>
#include <mutex>
#include <optional>

#include "models/registry.h"
#include "service/forecast/forecast.h"

namespace foreshadow::batch {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;
using namespace std::chrono_literals;

// Answers each series with its last value, and can be held up.
class Watched : public models::Forecaster {
 public:
  std::string_view name() const override { return "watched"; }
  int MaxSteps(int64_t) const override { return 60; }
  absl::Status Forecast(const models::History& history, int steps,
                        models::QuantileBlock& out) const override {
    std::unique_lock lock(mutex_);
    runs_.push_back(history.values.series);
    firsts_.push_back(history.values.at(history.values.steps - 1, 0));
    changed_.notify_all();
    changed_.wait(lock, [&] { return !held_; });
    out.Resize(history.values.series, steps);
    for (int64_t s = 0; s < out.series; ++s) {
      for (int step = 0; step < steps; ++step) {
        std::ranges::fill(out.at(s, step), history.values.at(history.values.steps - 1, s));
      }
    }
    return absl::OkStatus();
  }

  void Hold(bool held) {
    const std::lock_guard lock(mutex_);
    held_ = held;
    changed_.notify_all();
  }
  void WaitForRuns(size_t count) const {
    std::unique_lock lock(mutex_);
    changed_.wait(lock, [&] { return runs_.size() >= count; });
  }
  std::vector<int64_t> runs() const {
    const std::lock_guard lock(mutex_);
    return runs_;
  }
  std::vector<float> firsts() const {
    const std::lock_guard lock(mutex_);
    return firsts_;
  }

 private:
  mutable std::mutex mutex_;
  mutable std::condition_variable changed_;
  mutable std::vector<int64_t> runs_;  // series of each run
  mutable std::vector<float> firsts_;  // last value of the first series of each run
  bool held_ = false;
};

class BatcherTest : public ::testing::Test {
 protected:
  BatcherTest() { settings_.threads = 1; }

  Batcher& batcher() {
    if (!batcher_) batcher_.emplace(settings_, 0.01);
    return *batcher_;
  }

  Ask MakeAsk(int64_t series, float value, int64_t steps = 8) const {
    Ask ask;
    ask.models = models_;
    ask.step_ms = 60'000;
    ask.horizon_steps = 5;
    ask.history_steps = steps;
    ask.signals.assign(static_cast<size_t>(series), SignalKind::kCpu);
    ask.values.assign(static_cast<size_t>(series * steps), value);
    return ask;
  }

  // Gets the outcome when it comes; INTERNAL for a call that was not even taken.
  std::future<absl::StatusOr<Answer>> Submit(Ask ask, Ticket* ticket = nullptr) {
    auto promise = std::make_shared<std::promise<absl::StatusOr<Answer>>>();
    const Ticket made = batcher().NewTicket();
    if (ticket != nullptr) *ticket = made;
    const absl::Status status = batcher().Submit(
        made, std::move(ask),
        [promise](absl::StatusOr<Answer> answer) { promise->set_value(std::move(answer)); });
    if (!status.ok()) promise->set_value(status);
    return promise->get_future();
  }

  // Occupies the only thread until the model is let go.
  std::future<absl::StatusOr<Answer>> Occupy() {
    watched_->Hold(true);
    auto first = Submit(MakeAsk(1, 1));
    watched_->WaitForRuns(1);
    return first;
  }

  Settings settings_;
  std::shared_ptr<Watched> watched_ = std::make_shared<Watched>();
  std::shared_ptr<const ModelList> models_ = std::make_shared<const ModelList>(ModelList{watched_});
  std::optional<Batcher> batcher_;
};

TEST_F(BatcherTest, CallersOfOneShapeShareARunAndEachGetsItsOwn) {
  settings_.wait_ms = 500;
  settings_.batch_series_max = 6;  // full with all three, so nobody waits half a second
  auto a = Submit(MakeAsk(1, 10));
  auto b = Submit(MakeAsk(2, 20));
  auto c = Submit(MakeAsk(3, 30));
  const auto answer_a = a.get();
  const auto answer_b = b.get();
  const auto answer_c = c.get();
  ASSERT_TRUE(answer_a.ok() && answer_b.ok() && answer_c.ok());
  EXPECT_THAT(watched_->runs(), ElementsAre(6));
  EXPECT_EQ(answer_a->table, answer_c->table);
  EXPECT_EQ(answer_b->series_count, 2);
  for (const auto& [answer, value] :
       {std::pair{*answer_a, 10.f}, {*answer_b, 20.f}, {*answer_c, 30.f}}) {
    for (int64_t s = 0; s < answer.series_count; ++s) {
      EXPECT_EQ(answer.table->block.at(answer.first_series + s, 4)[models::kMedian], value);
    }
  }
}

TEST_F(BatcherTest, WhatDiffersInShapeDoesNotShare) {
  auto first = Occupy();
  auto a = Submit(MakeAsk(2, 10, 8));
  auto b = Submit(MakeAsk(2, 10, 9));
  Ask later = MakeAsk(2, 10, 8);
  later.end_ms = 60'000;
  auto c = Submit(std::move(later));
  watched_->Hold(false);
  ASSERT_TRUE(first.get().ok() && a.get().ok() && b.get().ok() && c.get().ok());
  EXPECT_THAT(watched_->runs(), ElementsAre(1, 2, 2, 2));
}

TEST_F(BatcherTest, ABatchIsNoLargerThanAllowedUnlessOneCallIs) {
  settings_.batch_series_max = 4;
  auto first = Occupy();
  auto a = Submit(MakeAsk(3, 10));
  auto b = Submit(MakeAsk(3, 20));
  auto c = Submit(MakeAsk(9, 30));
  watched_->Hold(false);
  ASSERT_TRUE(first.get().ok() && a.get().ok() && b.get().ok() && c.get().ok());
  EXPECT_THAT(watched_->runs(), ElementsAre(1, 3, 3, 9));
}

TEST_F(BatcherTest, ThoseThatAreUrgentGoFirst) {
  settings_.batch_series_max = 1;
  auto first = Occupy();
  std::vector<std::future<absl::StatusOr<Answer>>> answers;
  for (const auto& [priority, value] : {std::pair{3, 30.f}, {2, 20.f}, {1, 10.f}, {2, 21.f}}) {
    Ask ask = MakeAsk(1, value, 9);
    ask.priority = priority;
    answers.push_back(Submit(std::move(ask)));
  }
  watched_->Hold(false);
  for (auto& answer : answers) EXPECT_TRUE(answer.get().ok());
  EXPECT_THAT(watched_->firsts(), ElementsAre(1, 10, 20, 21, 30));
}

TEST_F(BatcherTest, WhatHasExpiredIsNotRun) {
  auto first = Occupy();
  Ask late = MakeAsk(5, 10);
  late.deadline = std::chrono::steady_clock::now() + 1ms;
  auto expired = Submit(std::move(late));
  Ask patient = MakeAsk(2, 10);
  patient.deadline = std::chrono::steady_clock::now() + 1h;
  auto served = Submit(std::move(patient));
  std::this_thread::sleep_for(5ms);
  watched_->Hold(false);
  EXPECT_TRUE(served.get().ok());
  EXPECT_TRUE(absl::IsDeadlineExceeded(expired.get().status()));
  EXPECT_THAT(watched_->runs(), ElementsAre(1, 2));
}

TEST_F(BatcherTest, WhatIsCancelledIsNotRun) {
  auto first = Occupy();
  Ticket ticket = 0;
  auto cancelled = Submit(MakeAsk(5, 10), &ticket);
  batcher().Cancel(ticket);
  EXPECT_TRUE(absl::IsCancelled(cancelled.get().status()));
  batcher().Cancel(ticket);       // again: nothing
  batcher().Cancel(ticket + 99);  // never submitted
  watched_->Hold(false);
  EXPECT_TRUE(first.get().ok());
  EXPECT_THAT(watched_->runs(), ElementsAre(1));
}

TEST_F(BatcherTest, AFullQueueRefusesAndSaysWhenToComeAgain) {
  settings_.queue_calls_max = 2;
  auto first = Occupy();
  auto a = Submit(MakeAsk(1, 10));
  auto b = Submit(MakeAsk(1, 10));
  const auto refused = Submit(MakeAsk(1, 10)).get();
  EXPECT_TRUE(absl::IsResourceExhausted(refused.status())) << refused.status();
  EXPECT_THAT(std::string(refused.status().message()), HasSubstr("at most 2 calls"));
  EXPECT_GT(batcher().RetryAfterMs(), 0);
  watched_->Hold(false);
  EXPECT_TRUE(a.get().ok() && b.get().ok());
  EXPECT_TRUE(Submit(MakeAsk(1, 10)).get().ok()) << "there is room again";
}

TEST_F(BatcherTest, AQueueFullOfBytesTakesOneThatIsLargerOnlyWhenEmpty) {
  settings_.queue_mib_max = 1;
  auto first = Occupy();
  auto large = Submit(MakeAsk(100, 10, 4'000));  // 1.6 MB
  const auto refused = Submit(MakeAsk(1, 10)).get();
  EXPECT_TRUE(absl::IsResourceExhausted(refused.status())) << refused.status();
  watched_->Hold(false);
  EXPECT_TRUE(large.get().ok());
}

TEST_F(BatcherTest, StoppingTellsThoseThatWait) {
  auto first = Occupy();
  auto waiting = Submit(MakeAsk(1, 10));
  std::thread stopper([&] { batcher().Stop(); });
  EXPECT_TRUE(absl::IsUnavailable(waiting.get().status()));
  watched_->Hold(false);
  stopper.join();
  EXPECT_TRUE(first.get().ok()) << "its run had begun";
  EXPECT_TRUE(absl::IsUnavailable(Submit(MakeAsk(1, 10)).get().status()));
}

TEST_F(BatcherTest, FindsModelsByNameOrLabel) {
  Batcher batcher(settings_, 0.01, models::FittedModels());
  EXPECT_EQ(batcher.Find(models_, "auto")->models, models_);
  EXPECT_EQ(batcher.Find(models_, "watched")->models, models_);
  const auto fitted = batcher.Find(models_, "arima");
  ASSERT_TRUE(fitted.ok());
  ASSERT_EQ(fitted->models->size(), 1u);
  EXPECT_EQ(fitted->models->front()->name(), "arima");
  EXPECT_THAT(std::string(batcher.Find(models_, "oracle").status().message()),
              HasSubstr("auto, watched, ets, prophet, arima"));
}

// The promise that an answer does not depend on who else asked, held by every model there is.
TEST(Batching, AnswersAreThoseOfACallAlone) {
  const auto models = models::RankModels(nullptr);
  constexpr int64_t kSteps = 288;
  constexpr int64_t kSeries = 5;
  std::vector<float> values(kSeries * kSteps);
  for (int64_t s = 0; s < kSeries; ++s) {
    for (int64_t step = 0; step < kSteps; ++step) {
      const auto at = static_cast<float>(step);
      values[s * kSteps + step] = 5 + static_cast<float>(s) +
                                  2 * std::sin(at / (4.f + static_cast<float>(s))) +
                                  0.3f * std::sin(at * 1.7f);
    }
  }
  Settings settings;
  settings.wait_ms = 200;
  settings.batch_series_max = kSeries;
  const auto list = std::make_shared<const ModelList>(models);
  for (size_t m = 0; m < models.size(); ++m) {
    const auto ask_of = [&](int64_t first, int64_t count) {
      Ask ask;
      ask.models = list;
      ask.first_model = m;
      ask.end_ms = 1'700'000'040'000;
      ask.step_ms = 300'000;
      ask.horizon_steps = 12;
      ask.history_steps = kSteps;
      ask.signals.assign(static_cast<size_t>(count), SignalKind::kCpu);
      ask.values.assign(values.begin() + first * kSteps, values.begin() + (first + count) * kSteps);
      return ask;
    };
    const auto run = [&](const std::vector<std::pair<int64_t, int64_t>>& parts) {
      Batcher batcher(settings, 0.01);
      std::vector<std::promise<absl::StatusOr<Answer>>> promises(parts.size());
      for (size_t i = 0; i < parts.size(); ++i) {
        EXPECT_TRUE(batcher
                        .Submit(batcher.NewTicket(), ask_of(parts[i].first, parts[i].second),
                                [&promises, i](absl::StatusOr<Answer> answer) {
                                  promises[i].set_value(std::move(answer));
                                })
                        .ok());
      }
      std::vector<std::vector<float>> rows;
      for (auto& promise : promises) {
        const auto answer = promise.get_future().get();
        EXPECT_TRUE(answer.ok());
        for (int64_t s = 0; s < answer->series_count; ++s) {
          const float* from = answer->table->block.at(answer->first_series + s, 0).data();
          rows.emplace_back(from, from + 12 * models::kQuantiles);
        }
      }
      return rows;
    };
    const auto together = run({{0, 2}, {2, 3}});
    const auto alone = run({{0, 2}});
    EXPECT_EQ(together[0], alone[0]) << models[m]->name();
    EXPECT_EQ(together[1], alone[1]) << models[m]->name();
  }
}

}  // namespace
}  // namespace foreshadow::batch
