// TLS, identities and roles of a running server and a running agent, with certificates that openssl
// makes here.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <cmath>
#include <csignal>
#include <nlohmann/json.hpp>
#include <thread>

#include "absl/strings/ascii.h"
#include "absl/time/time.h"
#include "envoy/service/discovery/v3/ads.grpc.pb.h"
#include "foreshadow/v1/cell.grpc.pb.h"
#include "service/security/access.h"
#include "service/tls/credentials.h"
#include "tests/integration/certificates.h"
#include "tests/integration/running_server.h"
#include "tests/unit/service/temporary_folder.h"

namespace foreshadow {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using testing::Certificates;
using testing::ConfigText;
using ::testing::HasSubstr;
using testing::kToken;
using ::testing::Not;
using testing::Process;
using testing::ReadFile;
using testing::RunningServer;
using testing::TemporaryFolder;
using testing::WriteFile;

// Plans of a server or an agent behind an address, as somebody.
std::shared_ptr<grpc::Channel> ChannelTo(const std::string& address,
                                         const tls::ClientFiles& files) {
  const auto credentials = tls::MakeChannelCredentials(files, "--tls-");
  EXPECT_TRUE(credentials.ok()) << credentials.status();
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);  // no connection of another test's
  return grpc::CreateCustomChannel(address, *credentials, arguments);
}

void SetDeadline(grpc::ClientContext& context) {
  context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
}

grpc::Status AskStatus(const std::string& address, const tls::ClientFiles& files) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::GetStatusResponse response;
  return v1::Plans::NewStub(ChannelTo(address, files))->GetStatus(&context, {}, &response);
}

grpc::Status Pause(const std::string& address, const tls::ClientFiles& files) {
  grpc::ClientContext context;
  SetDeadline(context);
  v1::PauseRequest request;
  request.set_reason("a \"test\"");
  v1::PauseResponse response;
  return v1::Plans::NewStub(ChannelTo(address, files))->Pause(&context, request, &response);
}

class SecurityTest : public ::testing::Test {
 protected:
  // OpenSSL's writes to a connection that the server has closed would end this program.
  SecurityTest() { std::signal(SIGPIPE, SIG_IGN); }

  std::string Config(const std::string& more = "") const {
    return ConfigText(
        folder_.path(), "", "",
        fmt::format("[security]\ntls_cert = \"{}\"\ntls_key = \"{}\"\n{}",
                    certificates_.path("server.pem"), certificates_.path("server.key"), more));
  }
  std::string Mutual(const char* certificates) const {
    return Config(
        fmt::format("tls_client_ca = \"{}\"\nclient_certificates = \"{}\"\nidentities = \"{}\"\n",
                    certificates_.path("ca.pem"), certificates, certificates_.path("who.toml")));
  }
  // What a server that must not start says.
  std::string Refusal(const std::string& config) const {
    WriteFile(folder_.path() + "/refused.toml", config);
    Process server(testing::ServerCommand(folder_.path() + "/refused.toml"),
                   folder_.path() + "/refused.log");
    EXPECT_EQ(server.Wait(), 1);
    return server.Output();
  }

  const TemporaryFolder folder_;
  const TemporaryFolder secrets_;
  Certificates certificates_{secrets_.path()};
};

// The port of the control plane asks for the same certificates and roles as the other one.
TEST_F(SecurityTest, TheControlPlaneIsServedAsEverythingElse) {
  const std::string port_file = folder_.path() + "/xds_port";
  RunningServer server(folder_.path(), Mutual("required") + "[xds]\nlisten = \"127.0.0.1:0\"\n",
                       {"--xds-port-file", port_file});
  const std::string to = "127.0.0.1:" + std::to_string(std::stoi(ReadFile(port_file)));
  const auto ask = [&](const tls::ClientFiles& files) {
    const auto stub =
        envoy::service::discovery::v3::AggregatedDiscoveryService::NewStub(ChannelTo(to, files));
    grpc::ClientContext context;
    SetDeadline(context);
    const auto stream = stub->StreamAggregatedResources(&context);
    envoy::service::discovery::v3::DiscoveryRequest request;
    request.mutable_node()->set_id("asker");
    request.set_type_url("type.googleapis.com/envoy.config.cluster.v3.Cluster");
    stream->Write(request);
    stream->WritesDone();
    envoy::service::discovery::v3::DiscoveryResponse response;
    while (stream->Read(&response)) continue;
    return stream->Finish().error_code();
  };
  EXPECT_EQ(ask(certificates_.As("reader")), grpc::StatusCode::OK);
  EXPECT_EQ(ask(certificates_.As("stranger")), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(ask(certificates_.As("forged")), grpc::StatusCode::UNAVAILABLE);
  EXPECT_EQ(ask({}), grpc::StatusCode::UNAVAILABLE) << "plain text";
  certificates_.WriteIdentities("[\"ingest\"]");
  grpc::StatusCode code = grpc::StatusCode::OK;
  for (int i = 0; i < 100 && code == grpc::StatusCode::OK; ++i) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
    code = ask(certificates_.As("reader"));
  }
  EXPECT_EQ(code, grpc::StatusCode::PERMISSION_DENIED) << "to follow routes is to read";
}

TEST_F(SecurityTest, CertificatesNameCallersAndRolesBindThem) {
  RunningServer server(folder_.path(), Mutual("required"));
  const std::string to = server.address();
  const grpc::Status read = AskStatus(to, certificates_.As("reader"));
  EXPECT_TRUE(read.ok()) << read.error_message();
  const grpc::Status denied = Pause(to, certificates_.As("reader"));
  EXPECT_EQ(denied.error_code(), grpc::StatusCode::PERMISSION_DENIED);
  EXPECT_THAT(denied.error_message(), AllOf(HasSubstr("\"operate\""), HasSubstr("reader")));
  const grpc::Status done = Pause(to, certificates_.As("operator"));
  EXPECT_TRUE(done.ok()) << done.error_message();
  const grpc::Status stranger = AskStatus(to, certificates_.As("stranger"));
  EXPECT_EQ(stranger.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_THAT(stranger.error_message(), HasSubstr("stranger.example"));

  // These do not even get through the handshake.
  for (const char* name : {"", "forged"}) {
    EXPECT_EQ(AskStatus(to, certificates_.As(name)).error_code(), grpc::StatusCode::UNAVAILABLE)
        << name;
  }
  EXPECT_EQ(AskStatus(to, certificates_.As("reader", "other-ca")).error_code(),
            grpc::StatusCode::UNAVAILABLE)
      << "a server that the caller's authority does not vouch for";
  EXPECT_EQ(AskStatus(to, {}).error_code(), grpc::StatusCode::UNAVAILABLE) << "plain text";

  // Both deeds are on record, with who did them.
  std::vector<nlohmann::json> deeds;
  std::istringstream lines(ReadFile(folder_.path() + "/data/audit.jsonl"));
  for (std::string line; std::getline(lines, line);) deeds.push_back(nlohmann::json::parse(line));
  ASSERT_EQ(deeds.size(), 2u);
  EXPECT_EQ(deeds[0]["identity"], "reader");
  EXPECT_EQ(deeds[0]["code"], "PERMISSION_DENIED");
  EXPECT_EQ(deeds[1]["identity"], "operator");
  EXPECT_EQ(deeds[1]["method"], "/foreshadow.v1.Plans/Pause");
  EXPECT_EQ(deeds[1]["code"], "OK");
  EXPECT_EQ(deeds[1]["request"]["reason"], "a \"test\"");
  EXPECT_THAT(std::string(deeds[1]["peer"]), HasSubstr("127.0.0.1"));
}

TEST_F(SecurityTest, ExpiredCertificatesAreNamedOrTurnedAway) {
  EXPECT_THAT(Refusal(ConfigText(folder_.path(), "", "",
                                 fmt::format("[security]\ntls_cert = \"{}\"\ntls_key = \"{}\"\n",
                                             certificates_.path("expired.pem"),
                                             certificates_.path("expired.key")))),
              AllOf(HasSubstr("security.tls_cert"), HasSubstr("expired on")));
  EXPECT_THAT(Refusal(ConfigText(
                  folder_.path(), "", "",
                  fmt::format("[security]\ntls_cert = \"{}\"\ntls_key = \"{}\"\n",
                              certificates_.path("server.pem"), certificates_.path("reader.key")))),
              AllOf(HasSubstr("security.tls_key"), HasSubstr("is not the key of")));
  EXPECT_THAT(Refusal(Config("tls_client_ca = \"/nowhere.pem\"\n")),
              AllOf(HasSubstr("security.tls_client_ca"), HasSubstr("/nowhere.pem")));
  const auto own = tls::MakeChannelCredentials(certificates_.As("expired"), "--tls-");
  EXPECT_THAT(std::string(own.status().message()),
              AllOf(HasSubstr("--tls-cert"), HasSubstr("expired on")));

  // A caller who does not look at its own certificate learns it from the server.
  RunningServer server(folder_.path(), Mutual("required"));
  grpc::SslCredentialsOptions options{ReadFile(certificates_.path("ca.pem")),
                                      ReadFile(certificates_.path("expired.key")),
                                      ReadFile(certificates_.path("expired.pem"))};
  grpc::ClientContext context;
  SetDeadline(context);
  v1::GetStatusResponse response;
  const grpc::Status status =
      v1::Plans::NewStub(grpc::CreateChannel(server.address(), grpc::SslCredentials(options)))
          ->GetStatus(&context, {}, &response);
  EXPECT_EQ(status.error_code(), grpc::StatusCode::UNAVAILABLE);
  EXPECT_TRUE(AskStatus(server.address(), certificates_.As("reader")).ok()) << "it goes on";
}

TEST_F(SecurityTest, TokensNameCallersAndAreNeverShown) {
  RunningServer server(folder_.path(), Mutual("optional") + "");
  const std::string to = server.address();
  // The robot may ingest and nothing else.
  const auto channel = ChannelTo(to, certificates_.As("token"));
  {
    grpc::ClientContext context;
    SetDeadline(context);
    const auto stream = v1::Telemetry::NewStub(channel)->Ingest(&context);
    v1::IngestRequest request;
    v1::IngestResponse response;
    EXPECT_TRUE(stream->Write(request) && stream->Read(&response));
    stream->WritesDone();
    EXPECT_TRUE(stream->Finish().ok());
  }
  EXPECT_EQ(AskStatus(to, certificates_.As("token")).error_code(),
            grpc::StatusCode::PERMISSION_DENIED);
  const grpc::Status wrong = AskStatus(to, certificates_.As("wrong-token"));
  EXPECT_EQ(wrong.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  const grpc::Status nobody = AskStatus(to, certificates_.As(""));
  EXPECT_EQ(nobody.error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_THAT(nobody.error_message(), HasSubstr("authorization"));
  EXPECT_TRUE(AskStatus(to, certificates_.As("reader")).ok());
  server.Stop();
  for (const std::string& text :
       {ReadFile(folder_.path() + "/data/audit.jsonl"), server.process().Output()}) {
    EXPECT_THAT(text, AllOf(Not(HasSubstr(kToken)), Not(HasSubstr("not-the-token"))));
  }
  EXPECT_THAT(
      std::string(tls::MakeChannelCredentials({"", "", "", certificates_.path("token")}, "--tls-")
                      .status()
                      .message()),
      HasSubstr("--tls-ca is missing"));
}

TEST_F(SecurityTest, NewCertificatesAndRolesCountWithoutARestart) {
  RunningServer server(folder_.path(), Mutual("required"));
  const std::string to = server.address();
  EXPECT_TRUE(AskStatus(to, certificates_.As("reader")).ok());
  EXPECT_FALSE(Pause(to, certificates_.As("reader")).ok());
  certificates_.WriteIdentities("[\"read\", \"operate\"]");
  const auto within = [](const auto& true_now) {
    for (int i = 0; i < 100; ++i) {
      if (true_now()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return false;
  };
  EXPECT_TRUE(within([&] { return Pause(to, certificates_.As("reader")).ok(); }));

  // The server's new certificate comes from another authority.
  certificates_.Make("server", "other-ca", "127.0.0.1", 10);
  tls::ClientFiles files = certificates_.As("reader");
  files.ca = certificates_.path("other-ca.pem");
  EXPECT_TRUE(within([&] { return AskStatus(to, files).ok(); }));
}

// A client of the HTTP port that trusts `ca`.
std::unique_ptr<httplib::SSLClient> HttpsTo(const RunningServer& server,
                                            const tls::ClientFiles& as) {
  auto client =
      as.cert.empty()
          ? std::make_unique<httplib::SSLClient>("127.0.0.1", server.http_port())
          : std::make_unique<httplib::SSLClient>("127.0.0.1", server.http_port(), as.cert, as.key);
  client->set_ca_cert_path(as.ca.c_str());
  client->enable_server_certificate_verification(true);
  client->set_keep_alive(true);
  if (!as.token.empty()) client->set_bearer_token_auth(*tls::ReadToken(as.token));
  return client;
}

// The status of an answer; 0: there was none.
int StatusOf(const httplib::Result& answer) { return answer ? answer->status : 0; }

int Get(const RunningServer& server, const std::string& path, const tls::ClientFiles& as) {
  return StatusOf(HttpsTo(server, as)->Get(path));
}

int Write(const RunningServer& server, const tls::ClientFiles& as) {
  // Larger than what a socket holds by itself.
  const std::string nonsense(1 << 20, 'x');
  return StatusOf(HttpsTo(server, as)->Post("/api/v1/write", nonsense, "application/x-protobuf"));
}

std::string Rule() {
  return "[[receive.rule]]\nmetric = \"x\"\nsignal = \"cpu\"\naccount = \"{job}\"\n";
}

TEST_F(SecurityTest, TheHttpPortHasTheSameCallersAndRoles) {
  RunningServer server(folder_.path(), Mutual("optional") + Rule());
  const auto as = [&](const std::string& name) { return certificates_.As(name); };
  for (const char* path : {"/healthz", "/readyz"}) {
    EXPECT_EQ(Get(server, path, as("")), 200) << path << " is for everybody";
  }
  EXPECT_EQ(Get(server, "/metrics", as("reader")), 200);
  EXPECT_EQ(Get(server, "/metrics", as("token")), 403) << "may only ingest";
  EXPECT_EQ(Get(server, "/metrics", as("stranger")), 401);
  EXPECT_EQ(Get(server, "/metrics", as("wrong-token")), 401);
  EXPECT_EQ(Get(server, "/metrics", as("")), 401);
  EXPECT_EQ(Get(server, "/nothing", as("")), 401);

  EXPECT_EQ(Write(server, as("")), 401);
  EXPECT_EQ(Write(server, as("wrong-token")), 401);
  EXPECT_EQ(Write(server, as("reader")), 403) << "may only read";
  EXPECT_EQ(Write(server, as("token")), 415) << "it is read, and is nonsense";
  const auto answer = HttpsTo(server, as("reader"))->Post("/api/v1/write", "x", "text/plain");
  ASSERT_TRUE(answer);
  EXPECT_THAT(answer->body, AllOf(HasSubstr("\"ingest\""), HasSubstr("reader")));

  // No handshake: in plain text, by an authority that is not the server's, with a certificate that
  // is expired or of another authority.
  EXPECT_NE(StatusOf(httplib::Client("127.0.0.1", server.http_port()).Get("/healthz")), 200);
  EXPECT_EQ(Get(server, "/healthz", certificates_.As("reader", "other-ca")), 0);
  EXPECT_EQ(Get(server, "/healthz", as("forged")), 0);
  EXPECT_EQ(Get(server, "/healthz", as("expired")), 0);
  const auto metrics = HttpsTo(server, as("reader"))->Get("/metrics");
  ASSERT_TRUE(metrics);
  EXPECT_THAT(metrics->body,
              AllOf(HasSubstr("foreshadow_security_refused_total{reason=\"denied\"} 3"),
                    HasSubstr("foreshadow_security_refused_total{reason=\"unauthenticated\"} 6")));
}

TEST_F(SecurityTest, TheHttpPortWantsACertificateWhereItIsRequired) {
  RunningServer server(folder_.path(), Mutual("required"));
  EXPECT_EQ(Get(server, "/healthz", certificates_.As("")), 0);
  EXPECT_EQ(Get(server, "/healthz", certificates_.As("token")), 0);
  EXPECT_EQ(Get(server, "/healthz", certificates_.As("stranger")), 200) << "its name is not asked";
  EXPECT_EQ(Get(server, "/metrics", certificates_.As("reader")), 200);
}

TEST_F(SecurityTest, TheHttpPortTakesNewCertificates) {
  RunningServer server(folder_.path(), Config());
  const auto within = [](const auto& true_now) {
    for (int i = 0; i < 200; ++i) {
      if (true_now()) return true;
      std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    return false;
  };
  EXPECT_EQ(Get(server, "/metrics", certificates_.As("")), 200) << "without identities all may";
  WriteFile(certificates_.path("server.key"), "half of a pair");
  std::this_thread::sleep_for(std::chrono::milliseconds(1'200));
  EXPECT_EQ(Get(server, "/metrics", certificates_.As("")), 200) << "the last good pair serves";
  certificates_.Make("server", "other-ca", "127.0.0.1", 10);
  EXPECT_TRUE(
      within([&] { return Get(server, "/metrics", certificates_.As("", "other-ca")) == 200; }));
  EXPECT_EQ(Get(server, "/metrics", certificates_.As("")), 0);
}

// What openssl says of a certificate's end, in s since 1970.
int64_t EndOf(const std::string& certificate, const std::string& log) {
  Process openssl({"/usr/bin/openssl", "x509", "-in", certificate, "-noout", "-enddate", "-dateopt",
                   "iso_8601"},
                  log);
  EXPECT_EQ(openssl.Wait(), 0);
  absl::Time time;
  std::string error;
  const std::string said = openssl.Output();
  EXPECT_TRUE(absl::ParseTime("notAfter=%Y-%m-%d %H:%M:%E*SZ", absl::StripAsciiWhitespace(said),
                              &time, &error))
      << said << error;
  return absl::ToUnixSeconds(time);
}

TEST_F(SecurityTest, MetricsTellWhenCertificatesExpire) {
  certificates_.Make("server", "ca", "127.0.0.1", 3);
  // An authority's file of two: the first to expire counts.
  certificates_.Make("short", "ca", "short.example", 2);
  WriteFile(certificates_.path("both.pem"),
            ReadFile(certificates_.path("ca.pem")) + ReadFile(certificates_.path("short.pem")));
  RunningServer server(folder_.path(), Config(fmt::format("tls_client_ca = \"{}\"\n"
                                                          "client_certificates = \"optional\"\n",
                                                          certificates_.path("both.pem"))));
  const auto expiry = [&](const std::string& setting) {
    const auto answer = HttpsTo(server, certificates_.As(""))->Get("/metrics");
    const std::string name =
        "foreshadow_certificate_expiry_timestamp_seconds{setting=\"security." + setting + "\"} ";
    const size_t at = answer ? answer->body.find(name) : std::string::npos;
    return at == std::string::npos ? -1
                                   : std::llround(std::stod(answer->body.substr(at + name.size())));
  };
  const auto end_of = [&](const std::string& name) {
    return EndOf(certificates_.path(name), certificates_.path(name + ".end"));
  };
  EXPECT_EQ(expiry("tls_cert"), end_of("server.pem"));
  EXPECT_EQ(expiry("tls_client_ca"), end_of("short.pem"));
  EXPECT_EQ(expiry("agent_ca"), -1) << "there is none";
  certificates_.Make("server", "ca", "127.0.0.1", 9);
  EXPECT_EQ(expiry("tls_cert"),
            EndOf(certificates_.path("server.pem"), certificates_.path("again")))
      << "as it is on the disk now";
}

TEST_F(SecurityTest, TheCommandHasFlagsForIt) {
  RunningServer server(folder_.path(), Mutual("required"));
  const auto run = [&](const std::string& name, const std::string& command) {
    const std::string log = folder_.path() + "/" + name + command + ".log";
    Process process(
        {std::string(FORESHADOW_BIN_DIR) + "/foreshadow", command, "--server", server.address(),
         "--tls-ca", certificates_.path("ca.pem"), "--tls-cert", certificates_.path(name + ".pem"),
         "--tls-key", certificates_.path(name + ".key")},
        log);
    const int code = process.Wait();
    return std::to_string(code) + " " + process.Output();
  };
  EXPECT_THAT(run("reader", "status"), AllOf(HasSubstr("0 "), HasSubstr("foreshadowd")));
  EXPECT_THAT(run("reader", "pause"), AllOf(HasSubstr("1 "), HasSubstr("needs the role")));
  EXPECT_THAT(run("operator", "pause"), HasSubstr("paused"));
  EXPECT_THAT(run("expired", "status"), AllOf(HasSubstr("1 "), HasSubstr("expired on")));
}

// Server and agent know each other by certificates and a token.
TEST_F(SecurityTest, AgentsAreCalledWithCertificateAndToken) {
  const std::string port_file = folder_.path() + "/agent-port";
  Process agent({std::string(FORESHADOW_BIN_DIR) + "/foreshadow-cell",
                 "--cell",
                 "a",
                 "--state-dir",
                 folder_.path() + "/agent",
                 "--listen",
                 "127.0.0.1:0",
                 "--port-file",
                 port_file,
                 "--tls-cert",
                 certificates_.path("server.pem"),
                 "--tls-key",
                 certificates_.path("server.key"),
                 "--tls-ca",
                 certificates_.path("ca.pem"),
                 "--token-file",
                 certificates_.path("token"),
                 "--",
                 "/bin/sleep",
                 "1000"},
                folder_.path() + "/agent.log");
  while (ReadFile(port_file).empty() && !agent.Ended()) {
    std::this_thread::sleep_for(std::chrono::milliseconds(5));
  }
  ASSERT_FALSE(agent.Ended()) << agent.Output();
  const std::string address = "127.0.0.1:" + std::to_string(std::stoi(ReadFile(port_file)));
  const auto describe = [&](const tls::ClientFiles& files) {
    grpc::ClientContext context;
    SetDeadline(context);
    v1::DescribeCellResponse response;
    return v1::CellController::NewStub(ChannelTo(address, files))
        ->DescribeCell(&context, {}, &response);
  };
  tls::ClientFiles both = certificates_.As("reader");
  both.token = certificates_.path("token");
  EXPECT_TRUE(describe(both).ok()) << describe(both).error_message();
  EXPECT_EQ(describe(certificates_.As("reader")).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  both.token = certificates_.path("wrong-token");
  EXPECT_EQ(describe(both).error_code(), grpc::StatusCode::UNAUTHENTICATED);
  EXPECT_EQ(describe(certificates_.As("token")).error_code(), grpc::StatusCode::UNAVAILABLE)
      << "no certificate";

  // A cell whose agent cannot be asked is down, one that can is up.
  const auto state_with = [&](const std::string& name, const std::string& token) {
    const TemporaryFolder folder;
    RunningServer server(
        folder.path(),
        ConfigText(
            folder.path(), address, "",
            fmt::format("[security]\ntls_cert = \"{}\"\ntls_key = \"{}\"\nagent_ca = \"{}\"\n"
                        "agent_token_file = \"{}\"\n",
                        certificates_.path(name + ".pem"), certificates_.path(name + ".key"),
                        certificates_.path("ca.pem"), certificates_.path(token))));
    const auto channel = ChannelTo(server.address(), certificates_.As(""));
    const auto telemetry = v1::Telemetry::NewStub(channel);
    grpc::ClientContext stream_context;
    SetDeadline(stream_context);
    const auto stream = telemetry->Ingest(&stream_context);
    for (int step = 1; step < 4; ++step) {
      v1::IngestRequest request;
      request.set_watermark_ms(testing::kStartMs + step * testing::kStepMs);
      v1::IngestResponse response;
      EXPECT_TRUE(stream->Write(request) && stream->Read(&response));
    }
    stream->WritesDone();
    EXPECT_TRUE(stream->Finish().ok());
    grpc::ClientContext context;
    SetDeadline(context);
    v1::ListCellsResponse cells;
    EXPECT_TRUE(v1::Fleet::NewStub(channel)->ListCells(&context, {}, &cells).ok());
    return cells.cells(0).state();
  };
  EXPECT_EQ(state_with("server", "token"), v1::CELL_STATE_UP);
  EXPECT_EQ(state_with("server", "wrong-token"), v1::CELL_STATE_DOWN);
}

}  // namespace
}  // namespace foreshadow
