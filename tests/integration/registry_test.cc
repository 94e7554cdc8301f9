// The life of a model version with the real server and the real command: added, evaluated on what
// the server sees, promoted and rolled back under it; one that is damaged changes nothing.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "models/versions/versions.h"
#include "tests/integration/running_server.h"
#include "tests/unit/models/tiny_lstm.h"
#include "tests/unit/service/temporary_folder.h"

namespace foreshadow {
namespace {

using ::testing::Contains;
using ::testing::HasSubstr;
using ::testing::Not;

constexpr int64_t kFiveMinutesMs = 300'000;
constexpr int64_t kFirstMs = 1'700'000'100'000;

class RegistryTest : public ::testing::Test {
 protected:
  void Start() {
    const std::string config = fmt::format(R"([server]
listen = "127.0.0.1:0"
data_dir = "{0}/data"
model_dir = "{1}"
[tick]
step_ms = {2}
window_steps = 120
clock = "data"
[shadow]
mode = "observe"
[[cell]]
id = "a"
cpu_cores = 10
)",
                                           temporary_.path(), registry_, kFiveMinutesMs);
    server_ = std::make_unique<testing::RunningServer>(temporary_.path(), config);
    ASSERT_TRUE(server_
                    ->Put({testing::MakeAccount("x", "a"), testing::MakeAccount("y", "a"),
                           testing::MakeAccount("z", "a")})
                    .ok());
  }

  void Play(int ticks) {
    testing::Sender sender(*server_);
    for (int i = 0; i < ticks; ++i, ++step_) {
      std::vector<float> values;
      for (int a = 0; a < 3; ++a) {
        values.push_back(
            static_cast<float>(2 + a + std::sin(0.3 * step_ + a) + 0.5 * std::sin(1.7 * step_)));
      }
      const int64_t time_ms = kFirstMs + step_ * kFiveMinutesMs;
      v1::IngestRequest request = testing::CpuBatch({"x", "y", "z"}, time_ms, values);
      request.set_watermark_ms(time_ms + kFiveMinutesMs);
      const v1::IngestResponse response = sender.Send(request);
      ASSERT_EQ(response.error(), "");
      ASSERT_EQ(response.last_tick_ms(), time_ms) << "no tick is dropped";
    }
  }

  // What a client reads of the model in the answer: the trained one that is in it.
  std::string Serves() {
    grpc::ClientContext context;
    v1::BatchForecastRequest request;
    request.mutable_stored();
    v1::BatchForecastResponse response;
    const grpc::Status status = server_->forecasts->BatchForecast(&context, request, &response);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return response.models_size() > 0 ? response.models(0) : "";
  }

  // Exit code of `foreshadow model ...`, its output in output_.
  int Model(std::vector<std::string> words) {
    std::vector<std::string> command = {std::string(FORESHADOW_BIN_DIR) + "/foreshadow", "model"};
    command.insert(command.end(), words.begin(), words.end());
    command.insert(command.end(), {"--registry", registry_});
    const std::string log = temporary_.path() + "/output";
    std::filesystem::remove(log);
    testing::Process process(command, log);
    const int code = process.Wait();
    output_ = process.Output();
    return code;
  }

  testing::TemporaryFolder temporary_;
  std::string registry_ = temporary_.path() + "/registry";
  std::unique_ptr<testing::RunningServer> server_;
  std::string output_;
  int64_t step_ = 0;
};

TEST_F(RegistryTest, AVersionIsEvaluatedPromotedAndRolledBackUnderARunningServer) {
  const std::string bad = temporary_.path() + "/bad", good = temporary_.path() + "/good";
  testing::SaveTinyLstm(bad, 1, 3);
  testing::SaveTinyLstm(good, 2, 0);
  ASSERT_EQ(Model({"add", bad, "--why", "the first"}), 0) << output_;
  ASSERT_EQ(Model({"promote"}), 0) << "nothing serves, so nothing is to be compared: " << output_;
  Start();
  Play(30);
  EXPECT_EQ(Serves(), "lstm@1");
  EXPECT_FALSE(server_->GetStatus().has_evaluation());

  ASSERT_EQ(Model({"add", good, "--why", "trained on more"}), 0) << output_;
  ASSERT_EQ(Model({"promote"}), 1);
  EXPECT_THAT(output_, HasSubstr("lstm@2 was not evaluated"));
  Play(100);
  EXPECT_EQ(Serves(), "lstm@1") << "a candidate is not published";
  EXPECT_EQ(server_->GetStatus().evaluation().verdict(), "too early");
  const uint64_t ticks = server_->GetStatus().evaluation().ticks();
  EXPECT_EQ(ticks, 99u);
  ASSERT_EQ(Model({"promote"}), 1);
  EXPECT_THAT(output_, HasSubstr("too early"));

  server_->KillAtOnce();
  Start();
  Play(1);
  // A tick takes up what the last one had; its forecasts are made anew.
  EXPECT_EQ(server_->GetStatus().evaluation().ticks(), ticks);
  Play(200);
  const v1::ModelEvaluation evaluation = server_->GetStatus().evaluation();
  EXPECT_EQ(evaluation.candidate(), "lstm@2");
  EXPECT_EQ(evaluation.against(), "lstm@1");
  EXPECT_EQ(evaluation.verdict(), "better") << evaluation.words();
  EXPECT_LT(evaluation.difference_high(), 0);
  EXPECT_LT(evaluation.of_candidate().crps(), evaluation.of_against().crps());
  ASSERT_EQ(Model({"status"}), 0);
  EXPECT_THAT(output_, HasSubstr("promote    may go ahead")) << output_;

  ASSERT_EQ(Model({"promote", "--why", "a day of evidence"}), 0) << output_;
  EXPECT_EQ(Serves(), "lstm@1") << "until the next tick";
  Play(1);
  EXPECT_EQ(Serves(), "lstm@2");
  EXPECT_EQ(server_->GetStatus().models(0), "lstm@2");
  ASSERT_EQ(Model({"rollback", "--why", "to see"}), 0) << output_;
  Play(1);
  EXPECT_EQ(Serves(), "lstm@1");
  EXPECT_FALSE(server_->process().Ended());

  // A version that is damaged on disk: the command refuses it, forced or not; and if it is named
  // all the same, the server says so and goes on as before.
  ASSERT_EQ(Model({"add", good}), 0) << output_;
  const std::string lstm = registry_ + "/lstm";
  std::filesystem::resize_file(models::VersionFolder(lstm, 3) + "/weights.safetensors", 99);
  ASSERT_EQ(Model({"promote", "3", "--force"}), 1);
  EXPECT_THAT(output_, HasSubstr("0003/weights.safetensors"));
  ASSERT_TRUE(models::PromoteVersion(lstm, 3, 1, {}).ok());
  Play(2);
  EXPECT_EQ(Serves(), "lstm@1");
  EXPECT_THAT(server_->GetPlan().alerts(),
              Contains(HasSubstr("lstm@3 does not load, lstm@1 serves on")));
  ASSERT_EQ(Model({"rollback"}), 0) << output_;
  Play(1);
  EXPECT_THAT(server_->GetPlan().alerts(), Not(Contains(HasSubstr("lstm"))));

  ASSERT_EQ(Model({"show", "2", "--json"}), 0) << output_;
  const auto shown = nlohmann::json::parse(output_);
  EXPECT_EQ(shown["evaluation"]["verdict"], "better");
  EXPECT_EQ(shown["card"]["format"], "foreshadow-lstm");
  EXPECT_EQ(shown["history"][1]["why"], "a day of evidence");
  EXPECT_EQ(server_->Stop(), 0);
}

TEST_F(RegistryTest, TheCommandSaysWhatIsWrong) {
  EXPECT_EQ(Model({"list"}), 1);
  EXPECT_THAT(output_, HasSubstr("no such folder"));
  const std::string model = temporary_.path() + "/model";
  testing::SaveTinyLstm(model, 1, 0);
  ASSERT_EQ(Model({"add", model}), 0) << output_;
  EXPECT_EQ(Model({"show", "newest"}), 2);
  EXPECT_THAT(output_, HasSubstr("allowed are serving, before, candidate, or a number"));
  EXPECT_EQ(Model({"show", "7"}), 1);
  EXPECT_THAT(output_, HasSubstr("no version 7"));
  EXPECT_EQ(Model({"show", "serving"}), 1);
  EXPECT_EQ(Model({"rollback"}), 1);
  EXPECT_THAT(output_, HasSubstr("nothing to go back to"));
  EXPECT_EQ(Model({"add", temporary_.path() + "/nowhere"}), 2);
  EXPECT_EQ(Model({"promote", "--json"}), 0) << output_;
  EXPECT_EQ(nlohmann::json::parse(output_)["serving"], 1);
  EXPECT_EQ(Model({"remove", "1"}), 1);
  EXPECT_THAT(output_, HasSubstr("version 1 serves"));
  EXPECT_EQ(Model({"list", "--json"}), 0);
  EXPECT_EQ(nlohmann::json::parse(output_)["versions"][0]["state"], "serving");
  // A model of another program's features.
  std::string card = testing::ReadFile(model + "/card.json");
  card.replace(card.find("\"quantile_levels\""), 17, "\"quantiles\"");
  testing::WriteFile(model + "/card.json", card);
  EXPECT_EQ(Model({"add", model}), 1);
  EXPECT_THAT(output_, HasSubstr("quantile_levels is null: allowed is"));
}

}  // namespace
}  // namespace foreshadow
