// What a running server tells Prometheus, probes, health checkers, channelz and its log.
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <map>
#include <nlohmann/json.hpp>
#include <optional>
#include <regex>
#include <set>
#include <sstream>

#include "tests/integration/running_server.h"
#include "tests/unit/service/temporary_folder.h"

namespace foreshadow {
namespace {

using ::testing::AllOf;
using testing::ConfigText;
using testing::CpuBatch;
using ::testing::HasSubstr;
using ::testing::IsSupersetOf;
using testing::kStartMs;
using testing::kStepMs;
using testing::MakeAccount;
using testing::RunningServer;
using testing::Sender;
using testing::TemporaryFolder;

std::string Get(const RunningServer& server, const std::string& path, int status = 200) {
  httplib::Client client("127.0.0.1", server.http_port());
  const auto response = client.Get(path.c_str());
  if (!response) return "no answer";
  EXPECT_EQ(response->status, status) << path << ": " << response->body;
  return response->body;
}

// The value of a sample, its labels as the text has them: `name{label="value"}`.
std::map<std::string, double> Samples(const std::string& text) {
  std::map<std::string, double> samples;
  std::istringstream lines(text);
  for (std::string line; std::getline(lines, line);) {
    if (line.empty() || line[0] == '#') continue;
    const size_t space = line.rfind(' ');
    samples[line.substr(0, space)] = std::stod(line.substr(space + 1));
  }
  return samples;
}

// One account with a few steps, each a tick.
void Feed(RunningServer& server, int steps) {
  ASSERT_TRUE(server.Put({MakeAccount("x", "a")}).ok());
  Sender sender(server);
  for (int n = 0; n < steps; ++n) {
    v1::IngestRequest request = CpuBatch({"x"}, kStartMs + n * kStepMs, {2});
    request.set_watermark_ms(kStartMs + (n + 1) * kStepMs);
    ASSERT_EQ(sender.Send(request).accepted_count(), 1u);
  }
  EXPECT_TRUE(sender.Finish().ok());
}

// A unary call of a service whose messages this test does not know; the answer's bytes, nothing
// for an error.
std::optional<std::string> Call(RunningServer& server, const std::string& method,
                                const std::string& bytes) {
  grpc::GenericStub stub(server.channel());
  grpc::CompletionQueue queue;
  grpc::ClientContext context;
  const grpc::Slice slice(bytes);
  const grpc::ByteBuffer request(&slice, 1);
  grpc::ByteBuffer response;
  grpc::Status status;
  const auto call = stub.PrepareUnaryCall(&context, method, request, &queue);
  call->StartCall();
  call->Finish(&response, &status, nullptr);
  void* tag;
  bool ok;
  queue.Next(&tag, &ok);
  grpc::Slice answer;
  if (!status.ok() || !response.DumpToSingleSlice(&answer).ok()) return std::nullopt;
  return std::string(answer.begin(), answer.end());
}

// The serving status by grpc.health.v1 (1 = SERVING, 2 = NOT_SERVING), or -1 for an error.
int Health(RunningServer& server, const std::string& service) {
  // HealthCheckRequest{service = 1}, HealthCheckResponse{status = 1}.
  std::string bytes;
  if (!service.empty()) {
    bytes = "\x0a" + std::string(1, static_cast<char>(service.size())) + service;
  }
  const auto answer = Call(server, "/grpc.health.v1.Health/Check", bytes);
  return answer && answer->size() == 2 ? (*answer)[1] : -1;
}

TEST(ServerMetrics, CountsTicksSamplesAndCalls) {
  const TemporaryFolder folder;
  RunningServer server(folder.path(), ConfigText(folder.path(), "", ""));
  Feed(server, 3);
  grpc::ClientContext context;
  v1::ExplainRequest request;
  request.set_action_id(77);
  v1::Explanation explanation;
  EXPECT_EQ(server.plans->Explain(&context, request, &explanation).error_code(),
            grpc::StatusCode::NOT_FOUND);

  const std::string text = Get(server, "/metrics");
  auto samples = Samples(text);
  EXPECT_EQ(samples["foreshadow_ticks_total"], 3);
  EXPECT_EQ(samples["foreshadow_tick_seconds_count"], 3);
  EXPECT_EQ(samples["foreshadow_tick_stage_seconds_count{stage=\"forecast\"}"], 3) << text;
  EXPECT_EQ(samples["foreshadow_ingest_samples_total{result=\"accepted\"}"], 3);
  EXPECT_EQ(samples["foreshadow_accounts"], 1);
  EXPECT_EQ(samples["foreshadow_series"], 5);
  EXPECT_EQ(samples["foreshadow_shadows{state=\"sharing\"}"], 0);
  EXPECT_EQ(samples["foreshadow_last_tick_timestamp_seconds"],
            static_cast<double>(kStartMs + 2 * kStepMs) / 1e3);
  EXPECT_EQ(samples["grpc_server_handled_total{grpc_code=\"NOT_FOUND\",grpc_method=\"Explain\","
                    "grpc_service=\"foreshadow.v1.Plans\",grpc_type=\"unary\"}"],
            1)
      << text;
  EXPECT_EQ(samples["grpc_server_handling_seconds_count{grpc_code=\"OK\",grpc_method=\"Ingest\","
                    "grpc_service=\"foreshadow.v1.Telemetry\",grpc_type=\"bidi_stream\"}"],
            1);
}

// promtool is Prometheus' own judge of names, help texts and types; it comes with script/setup.
TEST(ServerMetrics, FollowsPrometheusConventions) {
  const TemporaryFolder folder;
  RunningServer server(folder.path(),
                       ConfigText(folder.path(), "", "", "[xds]\nlisten = \"127.0.0.1:0\"\n"));
  Feed(server, 2);
  testing::WriteFile(folder.path() + "/metrics", Get(server, "/metrics"));
  testing::Process promtool(
      {"/bin/sh", "-c", "exec promtool check metrics < " + folder.path() + "/metrics"},
      folder.path() + "/promtool.log");
  EXPECT_EQ(promtool.Wait(), 0) << promtool.Output();
}

// The alerting rules that are shipped fire when they are to, and ask for what there is.
TEST(ServerMetrics, AlertsAskForWhatIsServed) {
  const TemporaryFolder folder;
  const std::string source = FORESHADOW_SOURCE_DIR;
  testing::Process promtool(
      {"/usr/bin/promtool", "test", "rules", source + "/deploy/alerts_test.yml"},
      folder.path() + "/promtool.log");
  EXPECT_EQ(promtool.Wait(), 0) << promtool.Output();

  const auto names_in = [](const std::string& text) {
    const std::regex name("foreshadow_[a-z_]+");
    return std::set<std::string>(std::sregex_token_iterator(text.begin(), text.end(), name), {});
  };
  const auto asked = names_in(testing::ReadFile(source + "/deploy/alerts.yml"));
  EXPECT_GE(asked.size(), 14u);
  EXPECT_THAT(names_in(testing::ReadFile(source + "/docs/metrics.md")), IsSupersetOf(asked));
}

TEST(ServerProbes, SayWhetherItLivesAndIsReady) {
  const TemporaryFolder folder;
  RunningServer server(folder.path(), ConfigText(folder.path(), "", ""));
  EXPECT_EQ(Get(server, "/healthz"), "ok\n");
  EXPECT_EQ(Get(server, "/readyz"), "ok\n") << "the data clock waits for telemetry";
  Get(server, "/nothing", 404);

  const TemporaryFolder other;
  std::string config = ConfigText(other.path(), "", "");
  config.replace(config.find("\"data\""), 6, "\"wall\"");
  config.replace(config.find("step_ms = 60000"), 15, "step_ms = 3600000");
  const auto ready = [](const RunningServer& asked) {
    httplib::Client client("127.0.0.1", asked.http_port());
    int status = 503;
    for (int i = 0; i < 6'000 && status == 503; ++i) {
      std::this_thread::sleep_for(std::chrono::milliseconds(10));
      if (const auto response = client.Get("/readyz")) status = response->status;
    }
    return status;
  };
  const auto now_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                          std::chrono::system_clock::now().time_since_epoch())
                          .count();
  {
    RunningServer wall(other.path(), config);
    EXPECT_EQ(Get(wall, "/healthz"), "ok\n");
    EXPECT_EQ(ready(wall), 200) << "its first tick does not wait for a step to end";
    ASSERT_TRUE(wall.Put({MakeAccount("x", "a")}).ok());
    Sender sender(wall);
    for (const int64_t ago : {2, 1}) {  // the step of the last tick, and the one after it
      const v1::IngestRequest request = CpuBatch({"x"}, now_ms - ago * 3'600'000, {2});
      EXPECT_EQ(sender.Send(request).accepted_count(), 1u);
    }
    EXPECT_EQ(wall.Stop(), 0);
  }
  // Nor is one that starts anew within the hour without an answer until it ends.
  RunningServer again(other.path(), config);
  EXPECT_EQ(ready(again), 200);
  v1::BatchForecastRequest request;
  request.mutable_stored()->add_account_ids("x");
  grpc::ClientContext context;
  v1::BatchForecastResponse response;
  const grpc::Status status = again.forecasts->BatchForecast(&context, request, &response);
  EXPECT_TRUE(status.ok()) << status.error_message();
  ASSERT_GT(response.values_size(), 0);
  EXPECT_FLOAT_EQ(response.values(3), 2) << "the median of what was there before";
}

TEST(ServerProbes, NameAnAddressThatCannotBeBound) {
  const TemporaryFolder folder;
  RunningServer server(folder.path(), ConfigText(folder.path(), "", ""));
  const TemporaryFolder other;
  for (const std::string& listen :
       {fmt::format("127.0.0.1:{}", server.http_port()), std::string("nonsense")}) {
    std::string config = ConfigText(other.path(), "", "");
    const std::string free = "http_listen = \"127.0.0.1:0\"";
    config.replace(config.find(free), free.size(), "http_listen = \"" + listen + "\"");
    testing::WriteFile(other.path() + "/c.toml", config);
    testing::Process process(testing::ServerCommand(other.path() + "/c.toml"),
                             other.path() + "/log");
    EXPECT_EQ(process.Wait(), 1);
    EXPECT_THAT(process.Output(), AllOf(HasSubstr("server.http_listen"), HasSubstr(listen)));
  }
}

TEST(ServerHealth, IsGivenPerService) {
  const TemporaryFolder folder;
  RunningServer server(folder.path(), ConfigText(folder.path(), "", ""));
  EXPECT_EQ(Health(server, ""), 1);
  EXPECT_EQ(Health(server, "foreshadow.v1.Telemetry"), 1);
  EXPECT_EQ(Health(server, "inference.GRPCInferenceService"), 1);
  EXPECT_EQ(Health(server, "foreshadow.v1.Forecasts"), 2) << "there is nothing to give yet";
  EXPECT_EQ(Health(server, "foreshadow.v1.Nothing"), -1);
  Feed(server, 1);
  while (Health(server, "foreshadow.v1.Forecasts") == 2) std::this_thread::yield();
  EXPECT_EQ(Health(server, "foreshadow.v1.Forecasts"), 1);
}

TEST(ServerChannelz, ListsTheServerAndItsSockets) {
  const TemporaryFolder folder;
  RunningServer server(folder.path(), ConfigText(folder.path(), "", ""));
  const auto servers = Call(server, "/grpc.channelz.v1.Channelz/GetServers", "");
  ASSERT_TRUE(servers.has_value());
  EXPECT_THAT(*servers, HasSubstr("listener ipv4:127.0.0.1"));
}

TEST(ServerLog, IsJsonWithTheCallersTrace) {
  const TemporaryFolder folder;
  std::string config = ConfigText(folder.path(), "", "");
  config.insert(config.find("[tick]"), "log_format = \"json\"\nlog_level = \"debug\"\n");
  RunningServer server(folder.path(), config);
  grpc::ClientContext context;
  const std::string trace = "4bf92f3577b34da6a3ce929d0e0e4736";
  context.AddMetadata("traceparent", "00-" + trace + "-00f067aa0ba902b7-01");
  v1::PauseRequest request;
  request.set_reason("two\nlines \"quoted\"");
  v1::PauseResponse response;
  ASSERT_TRUE(server.plans->Pause(&context, request, &response).ok());
  EXPECT_EQ(server.Stop(), 0);
  int lines_with_trace = 0;
  std::istringstream lines(server.process().Output());
  for (std::string line; std::getline(lines, line);) {
    const auto json = nlohmann::json::parse(line, nullptr, false);
    ASSERT_TRUE(json.is_object()) << line;
    EXPECT_TRUE(json.contains("time") && json.contains("level") && json.contains("message"));
    if (json.value("trace_id", "") == trace) ++lines_with_trace;
  }
  EXPECT_EQ(lines_with_trace, 2) << "the operator's action and the call\n"
                                 << server.process().Output();
}

}  // namespace
}  // namespace foreshadow
