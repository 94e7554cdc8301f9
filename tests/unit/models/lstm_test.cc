// The LSTM: its forward pass against one written out in plain loops, its files, and what it does
// with histories that are not fit.
#include "models/lstm/lstm.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <filesystem>
#include <fstream>
#include <limits>
#include <map>
#include <random>

#include "models/registry.h"

namespace foreshadow::models {
namespace {

using testing::HasSubstr;

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();

LstmCard SmallCard() {
  LstmCard card;
  card.hidden = 7;
  card.dense = 5;
  card.layers = 2;
  card.embedding = 3;
  card.window_steps = 10;
  card.spec.horizon_steps = 4;
  card.applications = {"web", "batch"};
  return card;
}

std::vector<float> Random(size_t count, uint64_t seed) {
  std::mt19937_64 random(seed);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> values(count);
  std::ranges::generate(values, [&] { return normal(random); });
  return values;
}

// The same network in double and plain loops, from its definition in the header and in Hochreiter's
// equations as torch orders them (gates i, f, g, o).
class Reference {
 public:
  Reference(const LstmShape& shape, const std::vector<Tensor>& weights) : shape_(shape) {
    for (const Tensor& tensor : weights) weights_[tensor.name] = tensor;
  }

  std::vector<double> Quantiles(const std::vector<std::vector<double>>& features, int64_t signal,
                                int64_t application, const float* candidates,
                                const float* spreads) const {
    std::vector<std::vector<double>> input = features;
    for (auto& row : input) {
      for (const auto& [table, index] :
           {std::pair{"embedding.weight", signal}, std::pair{"application.weight", application}}) {
        for (int e = 0; e < shape_.embedding; ++e) {
          row.push_back(weights_.at(table).values[index * shape_.embedding + e]);
        }
      }
    }
    std::vector<double> seen = input.back();
    std::vector<std::vector<double>> layer = input;
    for (int l = 0; l < shape_.layers; ++l) layer = Layer(l, layer);
    seen.insert(seen.begin(), layer.back().begin(), layer.back().end());
    std::vector<double> dense = Linear("dense", seen);
    for (double& x : dense) x = std::max(0.0, x);
    return Heads(Linear("head", dense), candidates, spreads);
  }

 private:
  std::vector<double> Product(const std::string& name, const std::vector<double>& x) const {
    const Tensor& w = weights_.at(name);
    std::vector<double> y(static_cast<size_t>(w.shape[0]));
    for (int64_t r = 0; r < w.shape[0]; ++r) {
      for (int64_t c = 0; c < w.shape[1]; ++c) y[r] += w.values[r * w.shape[1] + c] * x[c];
    }
    return y;
  }

  std::vector<double> Linear(const std::string& name, const std::vector<double>& x) const {
    std::vector<double> y = Product(name + ".weight", x);
    for (size_t i = 0; i < y.size(); ++i) y[i] += weights_.at(name + ".bias").values[i];
    return y;
  }

  std::vector<std::vector<double>> Layer(int l, const std::vector<std::vector<double>>& in) const {
    const auto sigmoid = [](double x) { return 1 / (1 + std::exp(-x)); };
    const std::string suffix = "_l" + std::to_string(l);
    const auto n = static_cast<size_t>(shape_.hidden);
    std::vector<double> h(n), c(n);
    std::vector<std::vector<double>> out;
    for (const auto& x : in) {
      const auto a = Product("lstm.weight_ih" + suffix, x);
      const auto b = Product("lstm.weight_hh" + suffix, h);
      const auto gate = [&](size_t i) {
        return a[i] + b[i] + weights_.at("lstm.bias_ih" + suffix).values[i] +
               weights_.at("lstm.bias_hh" + suffix).values[i];
      };
      for (size_t i = 0; i < n; ++i) {
        c[i] = sigmoid(gate(n + i)) * c[i] + sigmoid(gate(i)) * std::tanh(gate(2 * n + i));
        h[i] = sigmoid(gate(3 * n + i)) * std::tanh(c[i]);
      }
      out.push_back(h);
    }
    return out;
  }

  std::vector<double> Heads(const std::vector<double>& raw, const float* candidates,
                            const float* spreads) const {
    std::vector<double> out;
    const int row = shape_.candidates + shape_.spreads + shape_.quantiles;
    for (int step = 0; step < shape_.horizon_steps; ++step) {
      const double* r = raw.data() + step * row;
      const double mixed = Mixture(r, candidates + step * shape_.candidates, shape_.candidates);
      r += shape_.candidates;
      const double unit = std::exp(Mixture(r, spreads, shape_.spreads));
      r += shape_.spreads;
      const double median = mixed + unit * r[0];
      const double* gaps = r + 1;
      std::vector<double> q(static_cast<size_t>(shape_.quantiles), median);
      double below = median;
      for (int i = 0; i < shape_.median; ++i) {
        below -= unit * std::log1p(std::exp(gaps[i]));
        q[shape_.median - 1 - i] = below;
      }
      double above = median;
      for (int i = shape_.median + 1; i < shape_.quantiles; ++i) {
        above += unit * std::log1p(std::exp(gaps[i - 1]));
        q[i] = above;
      }
      out.insert(out.end(), q.begin(), q.end());
    }
    return out;
  }

  static double Mixture(const double* logits, const float* values, int count) {
    double total = 0;
    double sum = 0;
    for (int k = 0; k < count; ++k) {
      total += std::exp(logits[k]);
      sum += std::exp(logits[k]) * values[k];
    }
    return sum / total;
  }

  LstmShape shape_;
  std::map<std::string, Tensor> weights_;
};

TEST(LstmNetwork, AgreesWithPlainLoops) {
  const LstmShape shape = SmallCard().shape();
  const auto network = LstmNetwork::Create(shape, 11, 1);
  ASSERT_TRUE(network.ok()) << network.status();
  constexpr int64_t kSteps = 6;
  constexpr int64_t kSequences = 3;
  constexpr int64_t kWidth = 5;  // two lanes of padding
  constexpr int64_t kScored = 2;
  constexpr int64_t kStride = 3;
  const auto features = Random(kSteps * kFeatures * kWidth, 1);
  const auto candidates = Random(kScored * shape.horizon_steps * kCandidates * kWidth, 2);
  const auto spreads = Random(kScored * kSpreads * kWidth, 3);
  const std::vector<int64_t> signals = {4, 0, 2};
  const std::vector<int64_t> applications = {0, 2, 1};
  std::vector<float> quantiles(kScored * kSequences * shape.horizon_steps * kQuantiles);
  const LstmBatch batch{kSteps,   kSequences, kWidth,       kScored,    kStride,
                        features, signals,    applications, candidates, spreads};
  ASSERT_TRUE((*network)->Forecast(batch, quantiles).ok());

  const Reference reference(shape, (*network)->Weights());
  const auto lane = [](const std::vector<float>& rows, int64_t first, int64_t count, int64_t i) {
    std::vector<float> values;
    for (int64_t r = first; r < first + count; ++r) values.push_back(rows[r * kWidth + i]);
    return values;
  };
  const int64_t outputs = static_cast<int64_t>(shape.horizon_steps) * kQuantiles;
  const int64_t rows = static_cast<int64_t>(shape.horizon_steps) * kCandidates;
  for (int64_t scored = 0; scored < kScored; ++scored) {
    for (int64_t i = 0; i < kSequences; ++i) {
      std::vector<std::vector<double>> seen;
      for (int64_t t = 0; t <= kSteps - 1 - (kScored - 1 - scored) * kStride; ++t) {
        const auto row = lane(features, t * kFeatures, kFeatures, i);
        seen.emplace_back(row.begin(), row.end());
      }
      const auto expected = reference.Quantiles(
          seen, signals[i], applications[i], lane(candidates, scored * rows, rows, i).data(),
          lane(spreads, scored * kSpreads, kSpreads, i).data());
      for (int64_t k = 0; k < outputs; ++k) {
        EXPECT_NEAR(quantiles[(scored * kSequences + i) * outputs + k], expected[k], 1e-5);
      }
    }
  }
}

// Four steps of some sequences, the last of which is scored, drawn from the seed.
struct Drawn {
  Drawn(int64_t count, uint64_t seed)
      : sequences(count),
        features(Random(4 * kFeatures * count, seed)),
        candidates(Random(4 * kCandidates * count, seed + 1)),
        came(Random(4 * count, seed + 2)),
        spreads(Random(kSpreads * count, seed + 3)) {
    for (int64_t i = 0; i < sequences; ++i) {
      signals.push_back(i % 2 == 0 ? 1 : 3);
      applications.push_back(i % 2);
    }
  }
  LstmBatch batch() const {
    return {4, sequences, sequences, 1, 1, features, signals, applications, candidates, spreads};
  }
  LstmTargets targets(std::span<const float> taught = {}) const {
    return {came, kQuantileLevels, weights, taught};
  }

  int64_t sequences;
  std::vector<float> features;
  std::vector<float> candidates;
  std::vector<float> came;  // [step ahead][sequence]
  std::vector<float> spreads;
  std::vector<int64_t> signals;
  std::vector<int64_t> applications;
  std::vector<float> weights = {1, 1, 0.5f, 0.25f};
};

std::vector<float> Forecast(const LstmNetwork& network, const LstmBatch& batch) {
  std::vector<float> quantiles(batch.sequences * network.shape().horizon_steps * kQuantiles);
  EXPECT_TRUE(network.Forecast(batch, quantiles).ok());
  return quantiles;
}

TEST(LstmNetwork, LossIsThePinballLossOfWhatIsThere) {
  auto network = LstmNetwork::Create(SmallCard().shape(), 5, 1);
  ASSERT_TRUE(network.ok());
  Drawn drawn(2, 1);
  drawn.candidates[(3 * kCandidates + 2) * 2] = -10;  // of the first, 4 steps ahead: weighs 0.4
  drawn.came[3] = kMissing;
  const auto& actual = drawn.came;
  const auto& weights = drawn.weights;
  const LstmBatch batch = drawn.batch();
  const auto q = Forecast(**network, batch);
  double sum = 0;
  double weight = 0;
  for (int step = 0; step < 4; ++step) {
    for (int i = 0; i < 2; ++i) {
      if (std::isnan(actual[step * 2 + i])) continue;
      weight += weights[step];
      for (int k = 0; k < kQuantiles; ++k) {
        const double off = actual[step * 2 + i] - q[(i * 4 + step) * kQuantiles + k];
        const double loss = off > 0 ? kQuantileLevels[k] * off : (kQuantileLevels[k] - 1) * off;
        sum += weights[step] * (step == 3 && i == 0 ? 0.4 * loss : loss);
      }
    }
  }
  const LstmTargets targets = drawn.targets();
  EXPECT_NEAR(*(*network)->Loss(batch, targets), sum / (weight * kQuantiles), 1e-5);
  const float before = *(*network)->TrainStep(batch, targets, 1e-2);
  EXPECT_NEAR(before, sum / (weight * kQuantiles), 1e-5);
  EXPECT_LT(*(*network)->Loss(batch, targets), before);
}

// With a teacher, nine tenths of the loss are its mean over values drawn from what the teacher
// says.
TEST(LstmNetwork, LossWithATeacherIsThatOfWhatItSaysAndOfWhatCame) {
  auto network = LstmNetwork::Create(SmallCard().shape(), 5, 1);
  const auto teacher = LstmNetwork::Create(SmallCard().shape(), 6, 1);
  ASSERT_TRUE(network.ok() && teacher.ok());
  const Drawn drawn(2, 1);
  const LstmBatch batch = drawn.batch();
  const auto taught = Forecast(**teacher, batch);
  // The teacher's law, by values in the middle of 2,000 equal shares of it.
  double expected = 0;
  Drawn law = drawn;
  constexpr int kShares = 2'000;
  for (int share = 0; share < kShares; ++share) {
    const double p = (share + 0.5) / kShares;
    int k = 0;
    while (k < kQuantiles - 2 && p > kQuantileLevels[k + 1]) ++k;
    const double from = kQuantileLevels[k];
    const double to = kQuantileLevels[k + 1];
    for (int i = 0; i < 8; ++i) {
      const float* q = taught.data() + ((i % 2) * 4 + i / 2) * kQuantiles;
      law.came[i] = static_cast<float>(q[k] + (p - from) / (to - from) * (q[k + 1] - q[k]));
    }
    expected += *(*network)->Loss(batch, law.targets()) / kShares;
  }
  expected = 0.1 * *(*network)->Loss(batch, drawn.targets()) + 0.9 * expected;
  EXPECT_NEAR(*(*network)->Loss(batch, drawn.targets(taught)), expected, 1e-5);
  EXPECT_NEAR(*(*network)->TrainStep(batch, drawn.targets(taught), 1e-2), expected, 1e-5);
}

// What comes is noise, and the pupil comes to say what the teacher does.
TEST(LstmNetwork, LearnsWhatATeacherSays) {
  auto network = LstmNetwork::Create(SmallCard().shape(), 5, 1);
  const auto teacher = LstmNetwork::Create(SmallCard().shape(), 6, 1);
  ASSERT_TRUE(network.ok() && teacher.ok());
  double before = 0;
  double after = 0;
  constexpr int kBatches = 400;
  for (int i = 0; i < kBatches; ++i) {
    const Drawn drawn(16, 4 * i);
    const auto taught = Forecast(**teacher, drawn.batch());
    const auto said = Forecast(**network, drawn.batch());
    after = 0;
    for (size_t k = 0; k < said.size(); ++k) after += std::fabs(said[k] - taught[k]);
    if (i == 0) before = after;
    const double rate = i < kBatches / 2 ? 1e-2 : 2e-3;
    ASSERT_TRUE((*network)->TrainStep(drawn.batch(), drawn.targets(taught), rate).ok());
  }
  EXPECT_LT(after, 0.7 * before);  // what came alone takes it to twice as far
}

// A folder of its own for each test, removed after it.
class LstmFiles : public testing::Test {
 protected:
  void SetUp() override {
    folder_ = testing::TempDir() + "lstm_files_" +
              testing::UnitTest::GetInstance()->current_test_info()->name();
    std::filesystem::remove_all(folder_);
    const auto network = LstmNetwork::Create(card_.shape(), 3, 1);
    ASSERT_TRUE(network.ok());
    weights_ = (*network)->Weights();
    card_.training.trace = "history.csv.gz";
    card_.training.seed = 3;
    card_.scores["mase.cpu.1"] = 0.5;
    ASSERT_TRUE(SaveLstm(folder_, card_, weights_).ok());
  }
  void TearDown() override { std::filesystem::remove_all(folder_); }

  std::string Error() const { return std::string(LoadLstm(folder_, 1).status().message()); }
  void EditCard(const std::string& from, const std::string& to) const {
    std::string text = *ReadWholeFile(folder_ + "/card.json", 1 << 20);
    const size_t at = text.find(from);
    ASSERT_NE(at, std::string::npos);
    ASSERT_TRUE(ReplaceFile(folder_ + "/card.json", text.replace(at, from.size(), to)).ok());
  }

  LstmCard card_ = SmallCard();
  std::vector<Tensor> weights_;
  std::string folder_;
};

// Histories of 5 min that move, with what is unfit among them.
struct Batch {
  explicit Batch(const std::vector<std::vector<float>>& columns)
      : steps(std::ssize(columns[0])),
        signals(columns.size(), SignalKind::kNetwork),
        periods(columns.size(), 288) {
    for (int64_t t = 0; t < steps; ++t) {
      for (const auto& column : columns) values.push_back(column[t]);
    }
  }
  History history() const {
    const auto series = std::ssize(signals);
    return {1'700'000'100'000, 300'000, {values.data(), steps, series, series}, signals, periods};
  }
  int64_t steps;
  std::vector<float> values;
  std::vector<SignalKind> signals;
  std::vector<int32_t> periods;
};

std::vector<float> Moving(int steps, uint64_t seed) {
  auto column = Random(static_cast<size_t>(steps), seed);
  for (float& x : column) x = 50 + 10 * x;
  return column;
}

// Without the sync to disk that makes ReplaceFile safe and slow.
void Overwrite(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

TEST_F(LstmFiles, ComeBackAsTheyWere) {
  const auto card = LoadLstmCard(folder_);
  ASSERT_TRUE(card.ok()) << card.status();
  EXPECT_EQ(CardToJson(*card), CardToJson(card_));
  const auto loaded = LoadLstm(folder_, 1);
  ASSERT_TRUE(loaded.ok()) << loaded.status();
  const auto made = MakeLstm(card_, weights_, 1);
  ASSERT_TRUE(made.ok()) << made.status();
  const Batch batch({Moving(600, 1), Moving(600, 2)});
  QuantileBlock a, b;
  ASSERT_TRUE((*loaded)->Forecast(batch.history(), 4, a).ok());
  ASSERT_TRUE((*made)->Forecast(batch.history(), 4, b).ok());
  EXPECT_EQ(a.values, b.values);
}

TEST_F(LstmFiles, AnswerTheIntervalTheyLearnedAndThoseThatDivideIt) {
  const auto model = LoadLstm(folder_, 1);
  ASSERT_TRUE(model.ok());
  EXPECT_EQ((*model)->MaxSteps(300'000), 4);
  EXPECT_EQ((*model)->MaxSteps(60'000), 20);
  EXPECT_EQ((*model)->MaxSteps(90'000), 0);
  const Batch batch({Moving(600, 1)});
  History history = batch.history();
  history.step_ms = 90'000;
  QuantileBlock block;
  EXPECT_THAT(std::string((*model)->Forecast(history, 4, block).message()), HasSubstr("90000"));
}

TEST_F(LstmFiles, KeepQuantilesInOrderAndBadSeriesApart) {
  const auto model = LoadLstm(folder_, 2);
  ASSERT_TRUE(model.ok());
  constexpr float kLargest = std::numeric_limits<float>::max();
  std::vector<float> one(700, kMissing), extreme(700, 0), late(700, kMissing), silent(700, 5);
  one.back() = 3;
  for (size_t t = 0; t < extreme.size(); t += 2) extreme[t] = kLargest;
  std::fill(late.end() - 20, late.end(), 2.0f);
  std::fill(silent.end() - 13, silent.end(), kMissing);
  const Batch batch({Moving(700, 3), std::vector<float>(700, kMissing), one,
                     std::vector<float>(700, 42), extreme, late, silent,
                     std::vector<float>(700, 0)});
  QuantileBlock block;
  ASSERT_TRUE((*model)->Forecast(batch.history(), 4, block).ok());
  EXPECT_THAT(block.status, testing::ElementsAre(ForecastStatus::kOk, ForecastStatus::kNoHistory,
                                                 ForecastStatus::kCannot, ForecastStatus::kOk,
                                                 ForecastStatus::kOk, ForecastStatus::kOk,
                                                 ForecastStatus::kCannot, ForecastStatus::kOk));
  for (int64_t s = 0; s < block.series; ++s) {
    for (int step = 0; step < 4; ++step) {
      if (block.status[s] != ForecastStatus::kOk) {
        EXPECT_TRUE(std::isnan(block.at(s, step)[0]));
        continue;
      }
      EXPECT_TRUE(std::ranges::is_sorted(block.at(s, step))) << s;
      EXPECT_THAT(block.at(s, step),
                  testing::Each(testing::AllOf(testing::Ge(0.0f), testing::Le(kLargest))));
    }
  }
  QuantileBlock alone;
  ASSERT_TRUE((*model)->Forecast(Batch({Moving(700, 3)}).history(), 4, alone).ok());
  for (int q = 0; q < kQuantiles; ++q) {
    EXPECT_NEAR(block.at(0, 3)[q], alone.at(0, 3)[q], 1e-3);
  }
}

TEST_F(LstmFiles, ForecastScalesWithTheSeries) {
  const auto model = LoadLstm(folder_, 1);
  ASSERT_TRUE(model.ok());
  auto large = Moving(700, 4);
  const auto small = large;
  for (float& x : large) x *= 1'048'576;  // a power of two: the same digits
  QuantileBlock block;
  ASSERT_TRUE((*model)->Forecast(Batch({small, large}).history(), 4, block).ok());
  for (int q = 0; q < kQuantiles; ++q) {
    EXPECT_NEAR(block.at(1, 2)[q] / 1'048'576, block.at(0, 2)[q], 1e-3);
  }
}

TEST_F(LstmFiles, RefuseAnotherListOfFeatures) {
  EditCard("hour_median", "hour_mode");
  EXPECT_THAT(Error(), testing::AllOf(HasSubstr("card.json"), HasSubstr("features")));
}

TEST_F(LstmFiles, RefuseAWidthThatIsNone) {
  EditCard("\"hidden\": 7", "\"hidden\": -7");
  EXPECT_THAT(Error(), HasSubstr("hidden is -7: allowed is 1 to 1024"));
}

TEST_F(LstmFiles, RefuseAnIntervalThatDividesNoHour) {
  EditCard("\"step_ms\": 300000", "\"step_ms\": 420000");
  EXPECT_THAT(Error(), HasSubstr("step_ms is 420000"));
}

TEST_F(LstmFiles, RefuseWeightsOfAnotherShape) {
  EditCard("\"hidden\": 7", "\"hidden\": 8");
  EXPECT_THAT(Error(), testing::AllOf(HasSubstr("weights.safetensors"), HasSubstr("tensor '")));
}

TEST_F(LstmFiles, RefuseWeightsThatAreNoNumbers) {
  weights_[0].values[0] = kMissing;
  ASSERT_TRUE(SaveLstm(folder_, card_, weights_).ok());
  EXPECT_THAT(Error(), HasSubstr("holds nan"));
}

TEST_F(LstmFiles, CutAnywhereAreRefused) {
  const std::string path = folder_ + "/weights.safetensors";
  const std::string whole = *ReadWholeFile(path, 1 << 24);
  for (size_t length = 0; length < whole.size(); length += 97) {
    Overwrite(path, whole.substr(0, length));
    EXPECT_THAT(Error(), HasSubstr("weights.safetensors")) << length;
  }
  ASSERT_TRUE(ReplaceFile(path, whole + "x").ok());
  EXPECT_THAT(Error(), HasSubstr("weights.safetensors"));
}

TEST_F(LstmFiles, WithOneByteChangedAreRefusedByTheirSum) {
  const std::string path = folder_ + "/weights.safetensors";
  const std::string whole = *ReadWholeFile(path, 1 << 24);
  const auto card = LoadLstmCard(folder_);
  ASSERT_TRUE(card.ok());
  ASSERT_TRUE(IsSha256(card->weights_sha256));
  std::string changed = whole;
  char& byte = changed[whole.size() - 3];  // of a weight: still a whole, valid file
  byte = static_cast<char>(byte ^ 1);
  Overwrite(path, changed);
  const absl::Status status = LoadLstm(folder_, 1).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(status.message()),
              testing::AllOf(HasSubstr(path), HasSubstr("that of the card " + card->weights_sha256),
                             testing::ContainsRegex("SHA-256 is [0-9a-f]{64},")));
  // A card from before there were sums takes any.
  EditCard(card->weights_sha256, "");
  EXPECT_TRUE(LoadLstm(folder_, 1).ok());
  EditCard("\"weights_sha256\": \"\"", "\"weights_sha256\": \"abc\"");
  EXPECT_THAT(Error(),
              testing::AllOf(HasSubstr("card.json"), HasSubstr("weights_sha256 is \"abc\"")));
}

TEST_F(LstmFiles, WithChangedHeaderBytesNeverCrash) {
  const std::string path = folder_ + "/weights.safetensors";
  const std::string whole = *ReadWholeFile(path, 1 << 24);
  std::mt19937_64 random(1);
  for (int i = 0; i < 2'000; ++i) {
    std::string changed = whole;
    for (int k = 0; k < 3; ++k) changed[random() % 1'200] = static_cast<char>(random());
    Overwrite(path, changed);
    const auto file = ReadSafetensors(path);  // either an error, or tensors that fill their shapes
    if (!file.ok()) continue;
    for (const Tensor& tensor : file->tensors) {
      EXPECT_EQ(CountValues(tensor.shape), std::ssize(tensor.values));
    }
  }
}

TEST_F(LstmFiles, MissingOnesLeaveTheSimpleModels) {
  const std::string folder = folder_ + "/none";
  const RankedModels ranked = LoadModels(folder);
  EXPECT_FALSE(ranked.models.empty());
  EXPECT_THAT(ranked.notes, testing::ElementsAre(HasSubstr("lstm is left out")));
  EXPECT_THAT(LoadModels("").notes, testing::ElementsAre(HasSubstr("no folder of trained models")));
}

TEST(Card, WithAnOddRecordIsStillUsed) {
  std::string text = CardToJson(SmallCard());
  const std::string field = "\"seed\": 0";
  text.replace(text.find(field), field.size(), "\"seed\": -1e300");
  const auto card = CardFromJson(text);
  ASSERT_TRUE(card.ok()) << card.status();
  EXPECT_EQ(card->training.seed, 0u);
}

TEST(Card, ThatIsNoJsonIsRefused) {
  EXPECT_EQ(CardFromJson("{\"format\": ").status().code(), absl::StatusCode::kDataLoss);
  EXPECT_THAT(std::string(CardFromJson("{}").status().message()), HasSubstr("format is null"));
}

}  // namespace
}  // namespace foreshadow::models
