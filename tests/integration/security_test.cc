// TLS, identities and roles of a running server and a running agent, with certificates that openssl
// makes here.
#include <fmt/core.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <nlohmann/json.hpp>
#include <thread>

#include "foreshadow/v1/cell.grpc.pb.h"
#include "service/security/access.h"
#include "service/tls/credentials.h"
#include "tests/integration/running_server.h"
#include "tests/unit/service/temporary_folder.h"

namespace foreshadow {
namespace {

using ::testing::AllOf;
using ::testing::AnyOf;
using testing::ConfigText;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::Process;
using testing::ReadFile;
using testing::RunningServer;
using testing::TemporaryFolder;
using testing::WriteFile;

constexpr const char* kToken = "s3cret-token-of-the-robot";

// An authority and what it signs, in a folder.
class Certificates {
 public:
  explicit Certificates(std::string folder) : folder_(std::move(folder)) {
    MakeAuthority("ca");
    MakeAuthority("other-ca");
    Make("server", "ca", "127.0.0.1", 10);
    Make("reader", "ca", "reader.example", 10);
    Make("operator", "ca", "operator.example", 10);
    Make("stranger", "ca", "stranger.example", 10);
    Make("forged", "other-ca", "operator.example", 10);
    Make("expired", "ca", "operator.example", -1);
    WriteFile(path("token"), std::string(kToken) + "\n");
    WriteFile(path("wrong-token"), "not-the-token\n");
    WriteIdentities("[\"read\"]");
  }

  std::string path(const std::string& name) const { return folder_ + "/" + name; }
  tls::ClientFiles As(const std::string& name, const std::string& ca = "ca") const {
    tls::ClientFiles files;
    files.ca = path(ca + ".pem");
    if (name.ends_with("token")) {
      files.token = path(name);
    } else if (!name.empty()) {
      files.cert = path(name + ".pem");
      files.key = path(name + ".key");
    }
    return files;
  }

  void WriteIdentities(const std::string& roles_of_reader) {
    WriteFile(
        path("who.toml"),
        fmt::format("[[identity]]\nname = \"reader\"\nroles = {}\ncertificate = "
                    "\"reader.example\"\n[[identity]]\nname = \"operator\"\nroles = [\"read\", "
                    "\"operate\"]\ncertificate = \"operator.example\"\n[[identity]]\nname = "
                    "\"robot\"\nroles = [\"ingest\"]\ntoken_sha256 = \"{}\"\n",
                    roles_of_reader, security::Sha256Hex(kToken)));
  }

  // Signed for `days` from now; less than 0: it has ended.
  void Make(const std::string& name, const std::string& ca, const std::string& host, int days) {
    const std::string san = host[0] == '1' ? "IP:" + host : "DNS:" + host;
    WriteFile(path("ext"), "subjectAltName=" + san + "\n");
    Run({"req", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-keyout",
         path(name + ".key"), "-out", path("csr"), "-subj", "/CN=" + host});
    Run({"x509", "-req", "-in", path("csr"), "-CA", path(ca + ".pem"), "-CAkey", path(ca + ".key"),
         "-CAcreateserial", "-days", std::to_string(days), "-extfile", path("ext"), "-out",
         path(name + ".pem")});
  }

  void MakeAuthority(const std::string& name) {
    Run({"req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes",
         "-keyout", path(name + ".key"), "-out", path(name + ".pem"), "-days", "10", "-subj",
         "/CN=" + name});
  }

 private:
  void Run(std::vector<std::string> arguments) {
    arguments.insert(arguments.begin(), "/usr/bin/openssl");
    Process openssl(arguments, path("openssl.log"));
    ASSERT_EQ(openssl.Wait(), 0) << openssl.Output();
  }
  const std::string folder_;
};

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
