// Real Prometheus scrapes a running server and itself, and writes what it scraped back to the
// server by remote write. What Prometheus itself holds is the reference.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <cmath>
#include <map>
#include <nlohmann/json.hpp>

#include "tests/free_port.h"
#include "tests/integration/certificates.h"
#include "tests/integration/held.h"
#include "tests/integration/running_server.h"
#include "tests/unit/service/temporary_folder.h"

namespace foreshadow {
namespace {

using testing::Certificates;
using testing::FreePort;
using ::testing::HasSubstr;
using testing::Held;
using ::testing::Not;
using testing::Process;
using testing::RunningServer;
using testing::TemporaryFolder;
using testing::Values;

constexpr int64_t kShortStepMs = 1'000;
constexpr const char* kPrometheus = "/usr/bin/prometheus";

std::string ServerText(const std::string& folder, int http_port) {
  return fmt::format(R"([server]
listen = "127.0.0.1:0"
http_listen = "127.0.0.1:{}"
data_dir = "{}/data"
[tick]
step_ms = {}
window_steps = 60
watermark_delay_ms = 8000
[receive]
settle_ms = 6000
gap_ms = 5000
[[receive.rule]]
metric = "foreshadow_ticks_total"
signal = "mutation_rate"
account = "{{job}}"
cell = "a"
[[receive.rule]]
metric = "foreshadow_tick_age_seconds"
signal = "memory"
account = "{{job}}"
cell = "a"
[[receive.rule]]
metric = "prometheus_tsdb_head_samples_appended_total"
match = {{ type = "float" }}
signal = "network"
account = "{{job}}"
cell = "a"
[[cell]]
id = "a"
)",
                     http_port, folder, kShortStepMs);
}

std::string PrometheusText(int http_port, int own_port) {
  return fmt::format(R"(global:
  scrape_interval: 200ms
  scrape_timeout: 200ms
scrape_configs:
  - job_name: foreshadowd
    static_configs: [{{targets: ["127.0.0.1:{0}"]}}]
  - job_name: prometheus
    static_configs: [{{targets: ["127.0.0.1:{1}"]}}]
remote_write:
  - url: http://127.0.0.1:{0}/api/v1/write
    queue_config: {{batch_send_deadline: 200ms, min_backoff: 50ms, max_backoff: 500ms, min_shards: 2}}
)",
                     http_port, own_port);
}

// What Prometheus holds of a series: every point as it was scraped.
Values Raw(int port, const std::string& query) {
  httplib::Client client("127.0.0.1", port);
  const auto answer = client.Get("/api/v1/query", {{"query", query + "[5m]"}}, httplib::Headers{});
  Values values;
  if (!answer || answer->status != 200) return values;
  const auto json = nlohmann::json::parse(answer->body);
  for (const auto& series : json["data"]["result"]) {
    for (const auto& value : series["values"]) {
      values[std::llround(value[0].get<double>() * 1e3)] = std::stod(value[1].get<std::string>());
    }
  }
  return values;
}

Values MeansByStep(const Values& raw) {
  std::map<int64_t, std::pair<double, int>> sums;
  for (const auto& [time_ms, value] : raw) {
    auto& [sum, count] = sums[time_ms - time_ms % kShortStepMs];
    sum += value;
    ++count;
  }
  Values means;
  for (const auto& [step_ms, sum] : sums) means[step_ms] = sum.first / sum.second;
  return means;
}

// Of a counter that only grows, from the last point before a step to its last point.
Values RatesByStep(const Values& raw) {
  std::map<int64_t, std::pair<int64_t, double>> last;
  for (const auto& [time_ms, value] : raw)
    last[time_ms - time_ms % kShortStepMs] = {time_ms, value};
  Values rates;
  const std::pair<int64_t, double>* before = nullptr;
  for (const auto& [step_ms, point] : last) {
    if (before != nullptr) {
      rates[step_ms] =
          (point.second - before->second) * 1e3 / static_cast<double>(point.first - before->first);
    }
    before = &point;
  }
  return rates;
}

void Wait(int64_t ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

// Every step that is held is as Prometheus' own points make it; at least so many are compared.
void ExpectAgree(const Values& held, const Values& expected, size_t least) {
  size_t compared = 0;
  for (const auto& [step_ms, value] : held) {
    const auto it = expected.find(step_ms);
    if (it == expected.end()) continue;
    EXPECT_NEAR(value, it->second, 1e-5 * (1 + std::abs(it->second))) << "at " << step_ms;
    ++compared;
  }
  EXPECT_GE(compared, least);
}

TEST(Prometheus, WritesWhatItScrapedThroughACrashOfTheServer) {
  if (access(kPrometheus, X_OK) != 0) {
    GTEST_SKIP() << kPrometheus << " is not installed: script/setup brings it";
  }
  const TemporaryFolder folder;
  const int http_port = FreePort();
  const int own_port = FreePort();
  auto server =
      std::make_unique<RunningServer>(folder.path(), ServerText(folder.path(), http_port));
  testing::WriteFile(folder.path() + "/prometheus.yml", PrometheusText(http_port, own_port));
  Process prometheus({kPrometheus, "--config.file=" + folder.path() + "/prometheus.yml",
                      "--storage.tsdb.path=" + folder.path() + "/tsdb",
                      fmt::format("--web.listen-address=127.0.0.1:{}", own_port)},
                     folder.path() + "/prometheus.log");
  Wait(10'000);
  const Values ages = Raw(own_port, "foreshadow_tick_age_seconds");
  const Values ticks = Raw(own_port, "foreshadow_ticks_total");
  ASSERT_GT(ages.size(), 10u) << prometheus.Output();
  server->KillAtOnce();
  Wait(3'000);  // Prometheus scrapes itself on and keeps what it cannot send
  server = std::make_unique<RunningServer>(folder.path(), ServerText(folder.path(), http_port));
  Wait(14'000);
  httplib::Client client("127.0.0.1", http_port);
  const auto metrics = client.Get("/metrics");
  ASSERT_TRUE(metrics);
  EXPECT_THAT(metrics->body, HasSubstr("foreshadow_receive_points_total{protocol=\"remote_write\","
                                       "result=\"accepted\"}"));
  EXPECT_THAT(metrics->body, HasSubstr("result=\"unmatched\""));
  EXPECT_THAT(metrics->body, Not(HasSubstr("reason=\"late\""))) << "the machine was too busy";
  const Values appended =
      Raw(own_port, "prometheus_tsdb_head_samples_appended_total{type=\"float\"}");
  EXPECT_EQ(server->Stop(), 0) << server->process().Output();

  ExpectAgree(Held(folder.path(), "foreshadowd", SignalKind::kMemory), MeansByStep(ages), 4);
  ExpectAgree(Held(folder.path(), "foreshadowd", SignalKind::kMutationRate), RatesByStep(ticks), 3);
  const Values own = Held(folder.path(), "prometheus", SignalKind::kNetwork);
  ExpectAgree(own, RatesByStep(appended), 10);
  // No step is missing between the first and the last, the crash between them included.
  ASSERT_FALSE(own.empty());
  EXPECT_EQ((own.rbegin()->first - own.begin()->first) / kShortStepMs + 1, std::ssize(own));
}

// Prometheus by TLS and with a token: what it may not do is refused, what it may do arrives.
TEST(Prometheus, WritesOverTlsAsAnIdentity) {
  if (access(kPrometheus, X_OK) != 0) {
    GTEST_SKIP() << kPrometheus << " is not installed: script/setup brings it";
  }
  const TemporaryFolder folder;
  const TemporaryFolder secrets;
  const Certificates certificates(secrets.path());
  const int http_port = FreePort();
  RunningServer server(
      folder.path(),
      ServerText(folder.path(), http_port) +
          fmt::format("[security]\ntls_cert = \"{0}/server.pem\"\ntls_key = \"{0}/server.key\"\n"
                      "tls_client_ca = \"{0}/ca.pem\"\nclient_certificates = \"optional\"\n"
                      "identities = \"{0}/who.toml\"\n",
                      secrets.path()));
  // Two of them: one writes with the robot's token, one with the certificate of a reader.
  const auto start = [&](const std::string& name, int own_port, const std::string& who) {
    const std::string home = folder.path() + "/" + name;
    testing::WriteFile(
        home + ".yml",
        fmt::format("global: {{scrape_interval: 200ms, scrape_timeout: 200ms}}\n"
                    "scrape_configs:\n"
                    "  - job_name: foreshadowd\n"
                    "    scheme: https\n"
                    "    static_configs: [{{targets: [\"127.0.0.1:{0}\"]}}]\n"
                    "    tls_config: {{ca_file: {1}/ca.pem, cert_file: {1}/reader.pem, key_file: "
                    "{1}/reader.key}}\n"
                    "  - job_name: prometheus\n"
                    "    static_configs: [{{targets: [\"127.0.0.1:{2}\"]}}]\n"
                    "remote_write:\n"
                    "  - url: https://127.0.0.1:{0}/api/v1/write\n"
                    "    queue_config: {{batch_send_deadline: 200ms}}\n{3}",
                    http_port, secrets.path(), own_port, who));
    return std::make_unique<Process>(
        std::vector<std::string>{kPrometheus, "--config.file=" + home + ".yml",
                                 "--storage.tsdb.path=" + home,
                                 fmt::format("--web.listen-address=127.0.0.1:{}", own_port)},
        home + ".log");
  };
  const int reader_port = FreePort();
  const auto reader = start(
      "reader", reader_port,
      fmt::format("    tls_config: {{ca_file: {0}/ca.pem, cert_file: {0}/reader.pem, key_file: "
                  "{0}/reader.key}}\n",
                  secrets.path()));
  const auto failed = [&](int port) {
    const Values values = Raw(port, "prometheus_remote_storage_samples_failed_total");
    return values.empty() ? 0 : values.rbegin()->second;
  };
  for (int i = 0; i < 300 && failed(reader_port) == 0; ++i) Wait(100);
  EXPECT_GT(failed(reader_port), 0) << reader->Output();
  EXPECT_THAT(reader->Output(), HasSubstr("HTTP status 403"));
  EXPECT_GT(Raw(reader_port, "foreshadow_ticks_total").size(), 0u) << "it may scrape";

  const int robot_port = FreePort();
  const auto robot = start("robot", robot_port,
                           fmt::format("    tls_config: {{ca_file: {0}/ca.pem}}\n"
                                       "    authorization: {{credentials_file: {0}/token}}\n",
                                       secrets.path()));
  const auto sent = [&] {
    const Values values = Raw(robot_port, "prometheus_remote_storage_samples_total");
    return values.empty() ? 0 : values.rbegin()->second;
  };
  for (int i = 0; i < 300 && sent() == 0; ++i) Wait(100);
  EXPECT_GT(sent(), 0) << robot->Output();
  EXPECT_EQ(failed(robot_port), 0) << robot->Output();
  httplib::SSLClient client("127.0.0.1", http_port, secrets.path() + "/reader.pem",
                            secrets.path() + "/reader.key");
  client.enable_server_certificate_verification(false);
  const auto metrics = client.Get("/metrics");
  ASSERT_TRUE(metrics);
  EXPECT_THAT(metrics->body, HasSubstr("foreshadow_receive_points_total{protocol=\"remote_write\","
                                       "result=\"accepted\"}"));
}

// --- What a sender is told
// -------------------------------------------------------------------------

class Posting : public ::testing::Test {
 protected:
  int Post(const std::string& body, const std::string& type = "application/x-protobuf",
           const std::string& encoding = "snappy") {
    httplib::Client client("127.0.0.1", server_.http_port());
    const auto answer = client.Post(
        "/api/v1/write",
        {{"Content-Encoding", encoding}, {"X-Prometheus-Remote-Write-Version", "0.1.0"}}, body,
        type.c_str());
    if (!answer) return -1;
    text_ = answer->body;
    retry_after_ = answer->get_header_value("Retry-After");
    return answer->status;
  }

  std::string Config() {
    std::string text = ServerText(folder_.path(), 0);
    return text + "[ingest]\nsamples_per_second = 1\nburst_samples = 2\n";
  }

  const TemporaryFolder folder_;
  RunningServer server_{folder_.path(), Config()};
  std::string text_;
  std::string retry_after_;
};

// A literal of snappy's block format: the length as a varint, a tag with length - 1, the bytes.
std::string Literal(const std::string& bytes) {
  std::string packed;
  packed.push_back(static_cast<char>(bytes.size()));  // < 128
  packed.push_back(static_cast<char>(60 << 2));
  packed.push_back(static_cast<char>(bytes.size() - 1));
  return packed + bytes;
}

// Field `number` with a text.
std::string Text(int number, const std::string& text) {
  std::string bytes;
  bytes.push_back(static_cast<char>(number << 3 | 2));
  bytes.push_back(static_cast<char>(text.size()));
  return bytes + text;
}

std::string Label(const std::string& name, const std::string& value) {
  return Text(1, Text(1, name) + Text(2, value));
}

// A request of one series with one point, its bytes as the specification has them.
std::string Request(const std::string& metric, const std::string& job, int64_t time_ms,
                    double value) {
  std::string sample(1, '\x09');
  sample.append(reinterpret_cast<const char*>(&value), sizeof(value));
  sample.push_back('\x10');
  for (auto rest = static_cast<uint64_t>(time_ms); rest != 0; rest >>= 7) {
    sample.push_back(static_cast<char>((rest & 127) | (rest > 127 ? 128 : 0)));
  }
  return Literal(Text(1, Label("__name__", metric) + Label("job", job) + Text(2, sample)));
}

int64_t NowMs() {
  return std::chrono::duration_cast<std::chrono::milliseconds>(
             std::chrono::system_clock::now().time_since_epoch())
      .count();
}

TEST_F(Posting, IsAnsweredSoThatSendersRetryWhatMayHelp) {
  const std::string good = Request("foreshadow_tick_age_seconds", "j", NowMs(), 1);
  EXPECT_EQ(Post(good, "text/plain"), 415);
  EXPECT_EQ(Post(good, "application/x-protobuf;proto=io.prometheus.write.v2.Request"), 415);
  EXPECT_THAT(text_, HasSubstr("1.0"));
  EXPECT_EQ(Post(good, "application/x-protobuf", "identity"), 415);
  EXPECT_EQ(Post("nonsense"), 400);
  EXPECT_THAT(text_, HasSubstr("snappy"));
  EXPECT_EQ(Post(Literal("nonsense")), 400);
  EXPECT_THAT(text_, HasSubstr("WriteRequest"));
  EXPECT_EQ(Post(std::string("\xff\xff\xff\xff\x0f", 5)), 413) << "4 GB unpacked, it says";
  EXPECT_EQ(Post(good), 204) << text_;
  EXPECT_EQ(Post(Request("foreshadow_tick_age_seconds", "j", NowMs() + 900'000, 1)), 400);
  EXPECT_THAT(text_, HasSubstr("in the future"));
  EXPECT_EQ(Post(good), 429) << "the third sample of a burst of two";
  EXPECT_EQ(retry_after_, "1");
  httplib::Client client("127.0.0.1", server_.http_port());
  const auto metrics = client.Get("/metrics");
  ASSERT_TRUE(metrics);
  for (const char* reason : {"format", "malformed", "too_large", "in_future", "rate"}) {
    EXPECT_THAT(metrics->body,
                HasSubstr(fmt::format("foreshadow_ingest_refused_total{{protocol=\"remote_write\","
                                      "reason=\"{}\"}}",
                                      reason)));
  }
}

// Two senders behind one address have a quota each; one sender has the same on either port.
TEST(RemoteWrite, IsLimitedByIdentity) {
  const TemporaryFolder folder;
  const TemporaryFolder secrets;
  const Certificates certificates(secrets.path());
  std::string identities;
  for (const char* name : {"one", "two"}) {
    testing::WriteFile(certificates.path(name), fmt::format("token-{}\n", name));
    identities += fmt::format(
        "[[identity]]\nname = \"robot-{0}\"\nroles = [\"ingest\"]\ntoken_sha256 = \"{1}\"\n", name,
        security::Sha256Hex(fmt::format("token-{}", name)));
  }
  testing::WriteFile(certificates.path("robots.toml"), identities);
  RunningServer server(
      folder.path(),
      ServerText(folder.path(), 0) +
          fmt::format("[ingest]\nsamples_per_day = 2\n[security]\ntls_cert = \"{0}/server.pem\"\n"
                      "tls_key = \"{0}/server.key\"\nidentities = \"{0}/robots.toml\"\n",
                      secrets.path()));
  const auto post = [&](const std::string& name, int64_t time_ms) {
    httplib::SSLClient client("127.0.0.1", server.http_port());
    client.set_ca_cert_path(certificates.path("ca.pem").c_str());
    client.set_bearer_token_auth("token-" + name);
    return client.Post("/api/v1/write", {{"Content-Encoding", "snappy"}},
                       Request("foreshadow_tick_age_seconds", "j", time_ms, 1),
                       "application/x-protobuf");
  };
  const int64_t now_ms = NowMs();
  for (int i = 0; i < 2; ++i) {
    const auto taken = post("one", now_ms + i);
    ASSERT_TRUE(taken);
    EXPECT_EQ(taken->status, 204) << taken->body;
  }
  const auto refused = post("one", now_ms + 2);
  ASSERT_TRUE(refused);
  EXPECT_EQ(refused->status, 429);
  EXPECT_THAT(refused->body, HasSubstr("robot-one"));
  const auto other = post("two", now_ms + 3);
  ASSERT_TRUE(other);
  EXPECT_EQ(other->status, 204) << other->body;

  const auto credentials = tls::MakeChannelCredentials(
      {certificates.path("ca.pem"), "", "", certificates.path("one")}, "--tls-");
  ASSERT_TRUE(credentials.ok()) << credentials.status();
  grpc::ClientContext context;
  const auto stream =
      v1::Telemetry::NewStub(grpc::CreateChannel(server.address(), *credentials))->Ingest(&context);
  v1::IngestResponse response;
  EXPECT_FALSE(stream->Write(testing::CpuBatch({"j"}, now_ms, {1})) && stream->Read(&response));
  const grpc::Status status = stream->Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(), HasSubstr("robot-one"));
}

TEST(RemoteWrite, IsNotServedWithoutRules) {
  const TemporaryFolder folder;
  RunningServer server(folder.path(), testing::ConfigText(folder.path(), "", ""));
  httplib::Client client("127.0.0.1", server.http_port());
  const auto answer = client.Post("/api/v1/write", "", "application/x-protobuf");
  ASSERT_TRUE(answer);
  EXPECT_EQ(answer->status, 404);
}

}  // namespace
}  // namespace foreshadow
