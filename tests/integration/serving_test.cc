// Callers of the inference server: Triton's own client, deadlines, cancelling, a full queue.
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <cstdlib>
#include <filesystem>
#include <future>
#include <nlohmann/json.hpp>
#include <thread>

#include "foreshadow/v1/retry.pb.h"
#include "inference/inference.grpc.pb.h"
#include "tests/integration/running_server.h"
#include "tests/unit/service/temporary_folder.h"

namespace foreshadow {
namespace {

using ::testing::AllOf;
using testing::ConfigText;
using testing::CpuBatch;
using ::testing::HasSubstr;
using testing::kStartMs;
using testing::kStepMs;
using testing::MakeAccount;
using testing::Process;
using testing::RunningServer;
using testing::Sender;
using testing::TemporaryFolder;

TEST(OpenInference, TritonsClientWorksUnchanged) {
  const std::string python = FORESHADOW_CLIENTS "/bin/python";
  if (!std::filesystem::exists(python)) {
    GTEST_SKIP() << python << " is not there: script/setup installs tritonclient from PyPI";
  }
  const TemporaryFolder folder;
  RunningServer server(folder.path(), ConfigText(folder.path(), "", ""));
  Process client(
      {python, FORESHADOW_SOURCE_DIR "/tests/integration/clients/triton.py", server.address()},
      folder.path() + "/client.log");
  EXPECT_EQ(client.Wait(), 0) << client.Output() << server.process().Output();
  EXPECT_THAT(client.Output(), HasSubstr("\nOK\n"));
}

inference::ModelInferRequest TypedRequest(int series, int steps, float value) {
  inference::ModelInferRequest request;
  request.set_model_name("last-value");
  auto& input = *request.add_inputs();
  input.set_name("HISTORY");
  input.set_datatype("FP32");
  input.add_shape(series);
  input.add_shape(steps);
  input.mutable_contents()->mutable_fp32_contents()->Resize(series * steps, value);
  return request;
}

TEST(OpenInference, TypedContentsAreAnsweredTyped) {
  const TemporaryFolder folder;
  RunningServer server(folder.path(), ConfigText(folder.path(), "", ""));
  const auto stub = inference::GRPCInferenceService::NewStub(server.channel());
  inference::ModelInferRequest request = TypedRequest(2, 30, 4);
  inference::ModelInferResponse response;
  const auto infer = [&] {
    grpc::ClientContext context;
    response.Clear();
    return stub->ModelInfer(&context, request, &response);
  };
  const grpc::Status status = infer();
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.raw_output_contents_size(), 0);
  ASSERT_EQ(response.outputs_size(), 4);
  EXPECT_EQ(response.outputs(0).name(), "QUANTILES");
  ASSERT_EQ(response.outputs(0).contents().fp32_contents_size(), 2 * 60 * 9);
  EXPECT_EQ(response.outputs(0).contents().fp32_contents(700), 4);
  EXPECT_EQ(response.outputs(2).contents().int_contents(1), v1::FORECAST_STATUS_OK);
  EXPECT_EQ(response.outputs(3).contents().bytes_contents(1), "last-value");

  request.mutable_inputs(0)->mutable_contents()->add_fp32_contents(1);
  EXPECT_THAT(infer().error_message(), AllOf(HasSubstr("61 values"), HasSubstr("[2, 30]")));
  request.mutable_inputs(0)->set_shape(0, INT64_MAX);
  EXPECT_EQ(infer().error_code(), grpc::StatusCode::INVALID_ARGUMENT) << "a shape that overflows";
  request.mutable_inputs(0)->set_shape(0, -1);
  EXPECT_THAT(infer().error_message(), HasSubstr("[-1, 30]"));
  request = TypedRequest(1, 30, 4);
  *request.add_inputs() = request.inputs(0);
  EXPECT_THAT(infer().error_message(), HasSubstr("given twice"));
  request = TypedRequest(1, 30, 4);
  request.add_raw_input_contents("");
  EXPECT_THAT(infer().error_message(), HasSubstr("must be empty"));
  request.add_raw_input_contents("");
  EXPECT_THAT(infer().error_message(), HasSubstr("must be 0 or 1"));
  (*request.mutable_inputs(0)->mutable_parameters())["shared_memory_region"].set_string_param("x");
  request.clear_raw_input_contents();
  EXPECT_THAT(infer().error_message(), HasSubstr("shared memory"));
}

// A request that keeps the models busy for long: every series is fitted.
v1::BatchForecastRequest Slow(int series, const std::string& model = "arima") {
  v1::BatchForecastRequest request;
  v1::Histories& histories = *request.mutable_histories();
  histories.add_signals(v1::SIGNAL_CPU);
  histories.set_end_ms(kStartMs);
  histories.set_step_ms(kStepMs);
  constexpr int kSteps = 2'016;
  for (int s = 0; s < series; ++s) {
    histories.add_series_ids("series-" + std::to_string(s));
    for (int step = 0; step < kSteps; ++step) {
      histories.add_values(5 +
                           static_cast<float>(std::sin(step * 0.7 + s) + std::sin(step * 0.03)));
    }
  }
  request.set_model(model);
  return request;
}

TEST(InferenceQueue, AFullOneRefusesWithAHint) {
  const TemporaryFolder folder;
  RunningServer server(
      folder.path(),
      ConfigText(folder.path(), "", "", "[inference]\nthreads = 1\nqueue_calls_max = 1\n"));
  const v1::BatchForecastRequest slow = Slow(200);
  const v1::BatchForecastRequest small = Slow(1);
  std::vector<std::future<grpc::Status>> calls;
  std::vector<std::unique_ptr<grpc::ClientContext>> contexts;
  bool refused = false;
  for (int i = 0; i < 50 && !refused; ++i) {
    contexts.push_back(std::make_unique<grpc::ClientContext>());
    calls.push_back(std::async(std::launch::async, [&, context = contexts.back().get()] {
      v1::BatchForecastResponse response;
      return server.forecasts->BatchForecast(context, slow, &response);
    }));
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
    grpc::ClientContext context;
    v1::BatchForecastResponse response;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(20));
    const grpc::Status status = server.forecasts->BatchForecast(&context, small, &response);
    if (status.error_code() != grpc::StatusCode::RESOURCE_EXHAUSTED) continue;
    refused = true;
    EXPECT_THAT(status.error_message(), HasSubstr("at most 1 calls"));
    v1::RichStatus rich;
    ASSERT_TRUE(rich.ParseFromString(status.error_details()));
    EXPECT_EQ(rich.code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    ASSERT_EQ(rich.details_size(), 1);
    EXPECT_EQ(rich.details(0).type_url(), "type.googleapis.com/google.rpc.RetryInfo");
    v1::RetryInfo retry;
    ASSERT_TRUE(retry.ParseFromString(rich.details(0).value()));
    EXPECT_GT(retry.retry_delay().seconds() + retry.retry_delay().nanos(), 0);
    const auto& trailers = context.GetServerTrailingMetadata();
    const auto pushback = trailers.find("grpc-retry-pushback-ms");
    ASSERT_NE(pushback, trailers.end());
    EXPECT_GT(std::stoll({pushback->second.data(), pushback->second.size()}), 0);
  }
  EXPECT_TRUE(refused);
  for (const auto& context : contexts) context->TryCancel();
  for (auto& call : calls) call.get();
}

TEST(InferenceQueue, DeadlinesAndCancelledCallsAreDropped) {
  const TemporaryFolder folder;
  RunningServer server(folder.path(),
                       ConfigText(folder.path(), "", "", "[inference]\nthreads = 1\n"));
  const v1::BatchForecastRequest slow = Slow(100);
  auto busy = std::async(std::launch::async, [&] {
    grpc::ClientContext context;
    v1::BatchForecastResponse response;
    return server.forecasts->BatchForecast(&context, slow, &response);
  });
  std::this_thread::sleep_for(std::chrono::milliseconds(100));
  const auto began = std::chrono::steady_clock::now();
  grpc::ClientContext context;
  v1::BatchForecastResponse response;
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::milliseconds(50));
  const v1::BatchForecastRequest small = Slow(1);
  const grpc::Status late = server.forecasts->BatchForecast(&context, small, &response);
  EXPECT_EQ(late.error_code(), grpc::StatusCode::DEADLINE_EXCEEDED);
  EXPECT_LT(std::chrono::steady_clock::now() - began, std::chrono::seconds(5));
  const grpc::Status status = busy.get();
  EXPECT_TRUE(status.ok()) << status.error_message();
}

TEST(InferenceQueue, CallersShareRuns) {
  const TemporaryFolder folder;
  RunningServer server(folder.path(),
                       ConfigText(folder.path(), "", "", "[inference]\nwait_ms = 200\n"));
  v1::BatchForecastRequest request = Slow(1, "last-value");
  std::vector<std::future<grpc::Status>> calls;
  for (int i = 0; i < 8; ++i) {
    calls.push_back(std::async(std::launch::async, [&] {
      grpc::ClientContext context;
      v1::BatchForecastResponse response;
      return server.forecasts->BatchForecast(&context, request, &response);
    }));
  }
  for (auto& call : calls) EXPECT_TRUE(call.get().ok());
  httplib::Client client("127.0.0.1", server.http_port());
  const auto metrics = client.Get("/metrics");
  ASSERT_TRUE(metrics);
  // 8 calls, in fewer runs than that.
  EXPECT_THAT(metrics->body, HasSubstr("foreshadow_inference_batch_calls_sum 8"));
  EXPECT_THAT(metrics->body, ::testing::Not(HasSubstr("foreshadow_inference_batch_calls_count 8")));
}

TEST(ServeBench, RunsItsScenariosAgainstAServerOfItsOwn) {
  const TemporaryFolder folder;
  Process bench({std::string(FORESHADOW_BIN_DIR) + "/foreshadow", "bench", "--suite", "serve",
                 "--accounts", "50", "--seconds", "0.5", "--large-per-s", "10", "--small-per-s",
                 "40", "--ingest-per-s", "2500", "--json"},
                folder.path() + "/out");
  const int code = bench.Wait();
  ASSERT_EQ(code, 0) << bench.Output();
  const auto json = nlohmann::json::parse(bench.Output(), nullptr, false);
  ASSERT_TRUE(json.is_object()) << bench.Output();
  EXPECT_EQ(json["accounts"], 50);
  ASSERT_EQ(json["scenarios"].size(), 3u);
  for (const auto& [index, calls] : {std::pair{0, 5}, {1, 20}, {2, 5}}) {
    const auto& scenario = json["scenarios"][index];
    EXPECT_EQ(scenario["calls"], calls) << scenario;
    EXPECT_EQ(scenario["failed"], 0) << scenario;
    EXPECT_GT(scenario["latency_ms"]["p50"], 0.0);
    EXPECT_GE(scenario["latency_ms"]["max"], scenario["latency_ms"]["p50"]);
  }
  // 50 accounts, 4 resources, 12 steps, 9 levels of 4 bytes, and little else.
  EXPECT_GT(json["scenarios"][0]["bytes_per_call"], 50 * 4 * 12 * 9 * 4);
  EXPECT_LT(json["scenarios"][0]["bytes_per_call"], 50 * 4 * 12 * 9 * 4 * 1.05);
}

// A damaged request is refused, whatever it is; the server goes on.
TEST(StoredForecasts, ADamagedRequestIsRefused) {
  const TemporaryFolder folder;
  RunningServer server(folder.path(), ConfigText(folder.path(), "", ""));
  grpc::GenericStub stub(server.channel());
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  const grpc::Slice slice("\x0a\xff\xff\xff\x0f damaged");
  const grpc::ByteBuffer request(&slice, 1);
  grpc::ByteBuffer response;
  grpc::Status status;
  const auto call =
      stub.PrepareUnaryCall(&context, "/foreshadow.v1.Forecasts/BatchForecast", request, &queue);
  call->StartCall();
  call->Finish(&response, &status, nullptr);
  void* tag;
  bool ok;
  queue.Next(&tag, &ok);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(status.error_message(), HasSubstr("not a BatchForecastRequest"));
  EXPECT_EQ(server.GetStatus().accounts_count(), 0u);
}

// Large answers, whole and in parts: each account's values are its own.
TEST(StoredForecasts, LargeAnswersHoldEachAccountsValues) {
  const TemporaryFolder folder;
  RunningServer server(folder.path(), ConfigText(folder.path(), "", ""));
  constexpr int kAccounts = 3'000;
  std::vector<v1::Account> accounts;
  std::vector<std::string> ids;
  std::vector<float> values;
  for (int i = 0; i < kAccounts; ++i) {
    ids.push_back("account-" + std::to_string(i));
    accounts.push_back(MakeAccount(ids.back(), "a"));
    values.push_back(static_cast<float>(i));
  }
  ASSERT_TRUE(server.Put(accounts).ok());
  Sender sender(server);
  for (int n = 0; n < 3; ++n) {
    v1::IngestRequest batch = CpuBatch(ids, kStartMs + n * kStepMs, values);
    batch.set_watermark_ms(kStartMs + (n + 1) * kStepMs);
    ASSERT_EQ(sender.Send(batch).accepted_count(), static_cast<uint64_t>(kAccounts));
  }
  v1::BatchForecastRequest request;
  request.mutable_stored()->add_signals(v1::SIGNAL_CPU);
  v1::BatchForecastResponse whole;
  grpc::ClientContext context;
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  const auto stub = v1::Forecasts::NewStub(
      grpc::CreateCustomChannel(server.address(), grpc::InsecureChannelCredentials(), arguments));
  const grpc::Status status = stub->BatchForecast(&context, request, &whole);
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(whole.values_size(), kAccounts * 60 * 9);
  for (const int i : {0, 1, 999, 1'000, 2'999}) {
    EXPECT_EQ(whole.ids(i), ids[i]);
    EXPECT_NEAR(whole.values(i * 60 * 9 + 3), i, 0.05 * i + 0.5) << "the median of the first step";
  }
  grpc::ClientContext stream_context;
  const auto stream = stub->StreamForecast(&stream_context, request);
  v1::BatchForecastResponse part;
  std::vector<float> streamed;
  while (stream->Read(&part)) {
    streamed.insert(streamed.end(), part.values().begin(), part.values().end());
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_TRUE(
      std::equal(streamed.begin(), streamed.end(), whole.values().begin(), whole.values().end()));
}

}  // namespace
}  // namespace foreshadow
