// OpenTelemetry's own SDK and gRPC exporter, from PyPI, send to a running server.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <algorithm>
#include <filesystem>
#include <regex>

#include "opentelemetry/metrics_service.grpc.pb.h"
#include "tests/integration/held.h"
#include "tests/integration/running_server.h"
#include "tests/unit/service/temporary_folder.h"

namespace foreshadow {
namespace {

namespace otlp = opentelemetry::proto::collector::metrics::v1;
using ::testing::HasSubstr;
using testing::Held;
using testing::Process;
using testing::RunningServer;
using testing::TemporaryFolder;
using testing::Values;

std::string ServerText(const std::string& folder) {
  return fmt::format(R"([server]
listen = "127.0.0.1:0"
http_listen = "127.0.0.1:0"
data_dir = "{}/data"
[tick]
step_ms = 1000
window_steps = 60
[receive]
settle_ms = 2000
[[receive.rule]]
metric = "memory.bytes"
signal = "memory"
account = "{{k8s.namespace.name}}"
cell = "{{k8s.cluster.name}}"
[[receive.rule]]
metric = "requests"
match = {{ method = "PUT" }}
signal = "mutation_rate"
account = "{{k8s.namespace.name}}"
cell = "{{k8s.cluster.name}}"
[[receive.rule]]
metric = "latency"
signal = "cpu"
account = "{{k8s.namespace.name}}"
[[cell]]
id = "a"
)",
                     folder);
}

double Median(const Values& values) {
  std::vector<double> sorted;
  for (const auto& [time_ms, value] : values) sorted.push_back(value);
  std::sort(sorted.begin(), sorted.end());
  return sorted.empty() ? 0 : sorted[sorted.size() / 2];
}

TEST(Otlp, TakesWhatThePythonSdkSends) {
  const std::string python = FORESHADOW_CLIENTS "/bin/python";
  if (!std::filesystem::exists(python)) {
    GTEST_SKIP() << python << " is not there: script/setup installs OpenTelemetry's SDK from PyPI";
  }
  const TemporaryFolder folder;
  RunningServer server(folder.path(), ServerText(folder.path()));
  Process client(
      {python, FORESHADOW_SOURCE_DIR "/tests/integration/clients/otlp.py", server.address()},
      folder.path() + "/client.log");
  ASSERT_EQ(client.Wait(), 0) << client.Output() << server.process().Output();
  const std::string said = client.Output();
  EXPECT_THAT(said, HasSubstr("\nOK\n"));
  std::this_thread::sleep_for(std::chrono::milliseconds(4'000));  // until the last step is closed
  EXPECT_EQ(server.Stop(), 0);
  for (const std::string ns : {"cumulative", "delta"}) {
    const Values memory = Held(folder.path(), ns, SignalKind::kMemory);
    EXPECT_GE(memory.size(), 4u);
    for (const auto& [time_ms, value] : memory) EXPECT_EQ(value, 4096) << ns << " at " << time_ms;
    std::smatch rate;
    ASSERT_TRUE(std::regex_search(said, rate, std::regex("rate " + ns + " ([0-9.]+)"))) << said;
    const Values rates = Held(folder.path(), ns, SignalKind::kMutationRate);
    EXPECT_GE(rates.size(), 4u);
    EXPECT_NEAR(Median(rates), std::stod(rate[1]), 0.2 * std::stod(rate[1])) << ns;
  }
}

// --- What an exporter is told
// ----------------------------------------------------------------------

int64_t NowNs() {
  return std::chrono::duration_cast<std::chrono::nanoseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

void AddAttribute(google::protobuf::RepeatedPtrField<otlp::KeyValue>& to, const std::string& key,
                  const std::string& value) {
  otlp::KeyValue& attribute = *to.Add();
  attribute.set_key(key);
  attribute.mutable_value()->set_string_value(value);
}

TEST(Otlp, TellsWhatItRefusesOfARequest) {
  const TemporaryFolder folder;
  RunningServer server(folder.path(),
                       ServerText(folder.path()) +
                           "[ingest]\nlabels_max = 4\nsamples_per_second = 1\nburst_samples = 7\n");
  const auto stub = otlp::MetricsService::NewStub(server.channel());
  otlp::ExportMetricsServiceRequest request;
  otlp::ResourceMetrics& resource = *request.add_resource_metrics();
  AddAttribute(*resource.mutable_resource()->mutable_attributes(), "k8s.namespace.name", "x");
  AddAttribute(*resource.mutable_resource()->mutable_attributes(), "k8s.cluster.name", "a");
  otlp::ScopeMetrics& scope = *resource.add_scope_metrics();
  const auto add_gauge = [&](const std::string& name, int64_t time_ns, double value) {
    otlp::Metric& metric = *scope.add_metrics();
    metric.set_name(name);
    otlp::NumberDataPoint& point = *metric.mutable_gauge()->add_data_points();
    point.set_time_unix_nano(static_cast<uint64_t>(time_ns));
    point.set_as_double(value);
    return &point;
  };
  add_gauge("memory.bytes", NowNs(), 1);
  add_gauge("memory.bytes", NowNs() + 3'600'000'000'000, 1);        // the future
  add_gauge("memory.bytes", NowNs() + 1'000'000, std::nan(""));     // not finite
  add_gauge("memory.bytes", NowNs() + 2'000'000, 1)->set_flags(1);  // it has ended
  AddAttribute(*add_gauge("memory.bytes", NowNs(), 1)->mutable_attributes(), "one", "too");
  AddAttribute(
      *scope.mutable_metrics(4)->mutable_gauge()->mutable_data_points(0)->mutable_attributes(),
      "many", "labels");
  otlp::Metric& histogram = *scope.add_metrics();
  histogram.set_name("latency");
  histogram.mutable_histogram()->add_data_points();
  add_gauge("of.no.interest", NowNs(), 1);

  grpc::ClientContext context;
  otlp::ExportMetricsServiceResponse response;
  const grpc::Status status = stub->Export(&context, request, &response);
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.partial_success().rejected_data_points(), 4);
  EXPECT_FALSE(response.partial_success().error_message().empty());

  grpc::ClientContext second;
  const grpc::Status limited = stub->Export(&second, request, &response);
  EXPECT_EQ(limited.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(limited.error_details(), HasSubstr("google.rpc.RetryInfo"));
  EXPECT_EQ(second.GetServerTrailingMetadata().count("grpc-retry-pushback-ms"), 1u);
}

TEST(Otlp, IsNotServedWithoutRules) {
  const TemporaryFolder folder;
  RunningServer server(folder.path(), testing::ConfigText(folder.path(), "", ""));
  grpc::ClientContext context;
  otlp::ExportMetricsServiceResponse response;
  EXPECT_EQ(
      otlp::MetricsService::NewStub(server.channel())->Export(&context, {}, &response).error_code(),
      grpc::StatusCode::UNIMPLEMENTED);
}

}  // namespace
}  // namespace foreshadow
