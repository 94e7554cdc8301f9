// The LSTM carried from step to step: against torch over the same window, against itself warmed
// anew, and what becomes of new series, new drivers, gaps, and states that are saved.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <random>

#include "models/lstm/lstm.h"
#include "models/lstm/stream.h"
#include "models/torch/lstm_network.h"
#include "tests/unit/models/lstm_world.h"

namespace foreshadow::models {
namespace {

using ::testing::HasSubstr;
using namespace testing;  // of this folder

class LstmStream : public ::testing::Test {
 protected:
  void Make(int window_steps) { MakeNetwork(Card(window_steps), network_, runner_); }
  QuantileBlock Window(const History& history) const {
    QuantileBlock out;
    FollowLstm(runner_, history, kSteps, 2, nullptr, out);
    return out;
  }
  QuantileBlock Follow(const History& history, LstmState& state) const {
    QuantileBlock out;
    FollowLstm(runner_, history, kSteps, 2, &state, out);
    return out;
  }

  std::unique_ptr<LstmNetwork> network_;
  LstmRunner runner_;
};

// By a step, with series that were missing and new ones; a state that is elsewhere is left alone,
// too.
TEST_F(LstmStream, ALookLeavesTheStateAsItWas) {
  Make(20);
  const World world(120, 300);
  LstmState state;
  Follow(world.Until(100, 290), state);
  const std::string before = SaveLstmState(state);
  for (const int64_t end : {101, 102, 100}) {
    for (const int64_t series : {290, 300}) {
      const History history = world.Until(end, series);
      QuantileBlock looked;
      LookLstm(runner_, history, kSteps, 2, state, looked);
      LstmState copy = state;
      const QuantileBlock followed = Follow(history, copy);
      EXPECT_EQ(looked.status, followed.status);
      EXPECT_EQ(Difference(looked, followed, 0, series), 0) << end << ' ' << series;
      EXPECT_EQ(SaveLstmState(state), before);
    }
  }
}

// Torch over the window's features, from a zero state, and our steps one by one.
TEST_F(LstmStream, ForecastsWhatTorchDoes) {
  Make(48);
  const World world(700, 10);
  const auto torch_of = [&](int64_t end) {
    const std::array start_ms = {kStartMs};
    FeatureState state = NewFeatureState(runner_.card.spec, world.series, start_ms);
    const int64_t width = state.width;
    const int horizon = runner_.card.spec.horizon_steps;
    std::vector<float> features(48 * kFeatures * width), candidates(horizon * kCandidates * width),
        spreads(kSpreads * width), levels(width), scales(width);
    for (int64_t t = 0; t < end; ++t) {
      Advance(state, std::span(world.values).subspan(t * world.series, world.series));
      if (t < end - 48) continue;
      Describe(state, world.drivers,
               {features.data() + (t - end + 48) * kFeatures * width, candidates.data(),
                spreads.data(), levels.data(), scales.data(), horizon});
    }
    std::vector<int64_t> signals, applications;
    for (int64_t s = 0; s < world.series; ++s) {
      signals.push_back(static_cast<int64_t>(world.signals[s]));
      const int32_t a = world.applications[s];  // batch, other, web: the model knows web and batch
      applications.push_back(a == 0 ? 2 : a == 2 ? 1 : 0);
    }
    std::vector<float> scaled(world.series * horizon * kQuantiles);
    const LstmBatch batch{48,       world.series, width,        1,          1,
                          features, signals,      applications, candidates, spreads};
    EXPECT_TRUE(network_->Forecast(batch, scaled).ok());
    QuantileBlock out;
    out.Resize(world.series, kSteps);
    for (int64_t s = 0; s < world.series; ++s) {
      for (int i = 0; i < kSteps * kQuantiles; ++i) {
        const float value = scaled[s * horizon * kQuantiles + i];
        out.at(s, 0)[i] = std::max(0.0f, levels[s] + scales[s] * value);
      }
    }
    return out;
  };
  EXPECT_LT(Difference(Window(world.Until(700, 10)), torch_of(700), 0, 10), 1e-5);
  // Steps one by one from a state of nothing: the window of as many steps.
  LstmState state;
  QuantileBlock out;
  for (int64_t end = 1; end <= 48; ++end) out = Follow(world.Until(end, 10), state);
  EXPECT_LT(Difference(out, torch_of(48), 0, 10), 1e-5);
}

// As long as the window holds all there was, a state that was followed is one that is warmed anew.
TEST_F(LstmStream, StepsAreTheWindow) {
  Make(2'000);
  const World world(340, 417);
  LstmState state;
  Follow(world.Until(300, 417), state);
  for (const int64_t end : {301, 302, 303, 310, 340}) {  // ticks may be missing
    const QuantileBlock out = Follow(world.Until(end, 417, end == 340 ? 100 : 0), state);
    EXPECT_EQ(Difference(out, Window(world.Until(end, 417)), 0, 417), 0) << end;
  }
}

TEST_F(LstmStream, NewSeriesComeAtTheEnd) {
  Make(2'000);
  World world(320, 395);
  for (int64_t s = 0; s < world.series; ++s) world.drivers[s] = {};
  for (int64_t t = 0; t < 310; ++t) {
    world.values[t * world.series + 393] = kMissing;  // begins later
    if (t < 305) world.values[t * world.series + 394] = kMissing;
  }
  LstmState state;
  for (const auto& [end, count] : {std::pair{300, 15},
                                   {301, 15},
                                   {302, 40},
                                   {303, 190},
                                   {304, 200},
                                   {305, 395},
                                   {306, 395},
                                   {311, 395},
                                   {320, 395}}) {
    const QuantileBlock out = Follow(world.Until(end, count), state);
    EXPECT_EQ(Difference(out, Window(world.Until(end, count)), 0, count), 0) << end;
  }
}

// The state of one signal was told nothing of a past that came later.
TEST_F(LstmStream, AnImportedPastIsSeen) {
  Make(2'000);
  World world(310, 10);
  LstmState state;
  const World whole = world;
  for (int64_t t = 0; t < 310; ++t) world.values[t * 10 + 6] = kMissing;
  Follow(world.Until(308, 10), state);
  Follow(world.Until(309, 10), state);
  EXPECT_EQ(Difference(Follow(whole.Until(310, 10), state), Window(whole.Until(310, 10)), 0, 10),
            0);
}

TEST_F(LstmStream, ADriverMayBeFoundLater) {
  Make(2'000);
  World world(310, 400);
  LstmState state;
  World before = world;
  std::ranges::fill(before.drivers, Driver{});
  Follow(before.Until(300, 400), state);
  Follow(before.Until(301, 400), state);
  world.drivers[0] = {399, 3, 0.4f};  // of another block
  for (const int64_t end : {302, 303}) {
    EXPECT_EQ(Difference(Follow(world.Until(end, 400), state), Window(world.Until(end, 400)), 0, 5),
              0);
  }
}

// A history that does not go on from the state, or a state of another model: all is warmed.
TEST_F(LstmStream, WhatDoesNotFollowIsWarmedAnew) {
  Make(20);
  const World world(700, 12);
  for (const int64_t end : {700, 650, 650}) {
    LstmState state;
    Follow(world.Until(650, 12), state);
    if (end == 700) state.end_ms -= 7;
    EXPECT_EQ(Difference(Follow(world.Until(end, 12, 40), state), Window(world.Until(end, 12, 40)),
                         0, 12),
              0);
  }
  LstmState state;
  Follow(world.Until(699, 12), state);
  ++state.fingerprint;
  EXPECT_EQ(Difference(Follow(world.Until(700, 12), state), Window(world.Until(700, 12)), 0, 12),
            0);
  EXPECT_EQ(state.fingerprint, runner_.fingerprint);
}

TEST_F(LstmStream, ACopyOrARestoredStateGoesOnAlike) {
  Make(48);
  const World world(330, 200);
  LstmState state;
  Follow(world.Until(300, 200), state);
  LstmState copy = state;
  LstmState restored;
  ASSERT_TRUE(RestoreLstmState(runner_, SaveLstmState(state), restored).ok());
  for (const int64_t end : {301, 302, 330}) {
    const QuantileBlock expected = Follow(world.Until(end, 200), state);
    EXPECT_EQ(Follow(world.Until(end, 200), copy).values, expected.values);
    EXPECT_EQ(Follow(world.Until(end, 200), restored).values, expected.values);
  }
  EXPECT_EQ(SaveLstmState(restored), SaveLstmState(state));
}

TEST_F(LstmStream, DamagedOrStrangeStatesAreRefused) {
  Make(10);
  const World world(30, 3);
  LstmState state;
  Follow(world.Until(30, 3), state);
  const std::string bytes = SaveLstmState(state);
  LstmState kept = state;
  const auto refuse = [&](const std::string& changed) {
    return RestoreLstmState(runner_, changed, kept);
  };
  for (size_t length = 0; length < bytes.size(); length += 4'999) {
    EXPECT_FALSE(refuse(bytes.substr(0, length)).ok());
  }
  EXPECT_FALSE(refuse(bytes + "x").ok());
  std::mt19937 random(1);
  for (int i = 0; i < 50; ++i) {
    std::string changed = bytes;
    changed[random() % changed.size()] ^= static_cast<char>(1 + random() % 255);
    EXPECT_FALSE(refuse(changed).ok());
  }
  // Whole, with a right checksum, and yet wrong.
  const auto sealed = [](std::string body) {
    const uint64_t hash = HashOf(body.data(), body.size());
    return body.append(reinterpret_cast<const char*>(&hash), sizeof(hash));
  };
  const std::string body = bytes.substr(0, bytes.size() - 8);
  ASSERT_EQ(sealed(body), bytes);
  for (int i = 0; i < 300; ++i) {
    std::string changed = body;
    changed[8 + random() % 1'000] = static_cast<char>(random());
    LstmState read;
    if (RestoreLstmState(runner_, sealed(changed), read).ok()) Follow(world.Until(30, 3), read);
  }
  std::string other = body;
  ++other[8];
  EXPECT_EQ(refuse(sealed(other)).code(), absl::StatusCode::kFailedPrecondition);
  EXPECT_THAT(std::string(refuse(sealed(other)).message()), HasSubstr("of the model"));
  other = bytes;
  other[7] = '2';
  EXPECT_THAT(std::string(refuse(other).message()), HasSubstr("another version"));
  EXPECT_EQ(SaveLstmState(kept), bytes);
}

// As the server uses it: behind the interface of all models.
TEST_F(LstmStream, IsCarriedBehindTheInterface) {
  Make(48);
  const auto model = MakeLstm(runner_.card, network_->Weights(), 1);
  ASSERT_TRUE(model.ok());
  EXPECT_TRUE((*model)->carries());
  const World world(310, 7);
  std::any carried;
  QuantileBlock out;
  ASSERT_TRUE((*model)->Continue(world.Until(300, 7), kSteps, carried, out).ok());
  std::any restored;
  ASSERT_TRUE((*model)->Restore((*model)->Save(carried), restored).ok());
  QuantileBlock again;
  ASSERT_TRUE((*model)->Continue(world.Until(301, 7), kSteps, carried, out).ok());
  ASSERT_TRUE((*model)->Continue(world.Until(301, 7), kSteps, restored, again).ok());
  EXPECT_EQ(out.values, again.values);
  EXPECT_FALSE((*model)->Continue(world.Until(302, 7), 49, carried, out).ok());
  EXPECT_EQ((*model)->Save(std::any()), "");
}

}  // namespace
}  // namespace foreshadow::models
