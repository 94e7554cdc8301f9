// Identities files, roles, the audit file.
#include "service/security/access.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <thread>

#include "foreshadow/v1/fleet.pb.h"
#include "foreshadow/v1/forecasts.pb.h"
#include "foreshadow/v1/patterns.pb.h"
#include "foreshadow/v1/plans.pb.h"
#include "foreshadow/v1/telemetry.pb.h"
#include "inference/inference.pb.h"
#include "service/security/audit.h"
#include "tests/unit/service/temporary_folder.h"

namespace foreshadow::security {
namespace {

using ::testing::AllOf;
using ::testing::HasSubstr;
using ::testing::Not;
using testing::TemporaryFolder;

// SHA-256 of "abc", from FIPS 180-2, appendix B.1.
constexpr const char* kHashOfAbc =
    "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

std::string ErrorOf(const std::string& text) {
  const auto parsed = ParseIdentities(text, "who.toml");
  return parsed.ok() ? "none" : std::string(parsed.status().message());
}

TEST(Identities, HashesAsEverybodyDoes) { EXPECT_EQ(Sha256Hex("abc"), kHashOfAbc); }

TEST(Identities, NamesWhatIsWrong) {
  const std::string start = "[[identity]]\nname = \"x\"\n";
  EXPECT_THAT(ErrorOf(start), AllOf(HasSubstr("identity[0] (x)"), HasSubstr("token_sha256")));
  EXPECT_THAT(ErrorOf("[[identity]]\ncertificate = \"x\"\n"), HasSubstr("identity[0].name"));
  EXPECT_THAT(
      ErrorOf(start + "certificate = \"x\"\nroles = [\"admin\"]\n"),
      AllOf(HasSubstr("identity[0].roles has \"admin\""), HasSubstr("ingest, read, operate")));
  EXPECT_THAT(ErrorOf(start + "certificate = \"x\"\nroles = \"read\"\n"), HasSubstr("array"));
  EXPECT_THAT(ErrorOf(start + "certificate = \"x\"\ncolour = 1\n"),
              HasSubstr("identity[0].colour"));
  EXPECT_THAT(ErrorOf(start + "certificate = \"x\"\n" + start + "certificate = \"x\"\n"),
              HasSubstr("another identity"));
  EXPECT_THAT(ErrorOf("colour = 1\n"), HasSubstr("colour"));
  // A token where its hash should be is not repeated, nor the line of a broken file.
  EXPECT_THAT(ErrorOf(start + "token_sha256 = \"hunter2\"\n"),
              AllOf(HasSubstr("64 hexadecimal digits"), Not(HasSubstr("hunter2"))));
  EXPECT_THAT(ErrorOf(start + "token_sha256 = hunter2\n"),
              AllOf(HasSubstr("not TOML"), Not(HasSubstr("hunter2"))));
  EXPECT_THAT(ErrorOf("[[identity]]\nname = '\xaf'\n"), HasSubstr("not TOML"));  // nor UTF-8
}

class AccessTest : public ::testing::Test {
 protected:
  void Write(const std::string& text) { std::ofstream(path_) << text; }
  std::unique_ptr<Access> Load() {
    auto access = Access::Load(path_);
    EXPECT_TRUE(access.ok()) << access.status();
    return *std::move(access);
  }

  const TemporaryFolder folder_;
  const std::string path_ = folder_.path() + "/who.toml";
};

TEST_F(AccessTest, RolesByTokenAndByCertificate) {
  Write(std::string("[[identity]]\nname = \"robot\"\nroles = [\"read\"]\ntoken_sha256 = \"") +
        kHashOfAbc +
        "\"\n[[identity]]\nname = \"admin\"\nroles = [\"read\", \"operate\"]\ncertificate = "
        "\"admin.example\"\n");
  const auto access = Load();
  const Caller robot{"abc", {}};
  const Caller admin{std::nullopt, {"other.example", "admin.example"}};
  EXPECT_TRUE(access->Check(robot, "/foreshadow.v1.Plans/GetPlan").ok());
  EXPECT_TRUE(access->Check(admin, "/foreshadow.v1.Plans/Pause").ok());
  const absl::Status denied = access->Check(robot, "/foreshadow.v1.Plans/Pause");
  EXPECT_TRUE(absl::IsPermissionDenied(denied));
  EXPECT_THAT(std::string(denied.message()),
              AllOf(HasSubstr("\"operate\""), HasSubstr("\"robot\" has read")));
  EXPECT_TRUE(absl::IsPermissionDenied(access->Check(admin, "/foreshadow.v1.Telemetry/Ingest")));
  const absl::Status unknown = access->Check({"abd", {}}, "/foreshadow.v1.Plans/GetPlan");
  EXPECT_TRUE(absl::IsUnauthenticated(unknown));
  EXPECT_THAT(std::string(unknown.message()), Not(HasSubstr("abd")));
  // A wrong token is not made good by a certificate.
  EXPECT_TRUE(absl::IsUnauthenticated(
      access->Check({"abd", {"admin.example"}}, "/foreshadow.v1.Plans/GetPlan")));
  EXPECT_TRUE(absl::IsUnauthenticated(access->Check({}, "/foreshadow.v1.Plans/GetPlan")));
  EXPECT_THAT(
      std::string(access->Check({std::nullopt, {"x"}}, "/foreshadow.v1.Plans/GetPlan").message()),
      HasSubstr("it names x"));
  EXPECT_TRUE(access->Check({}, "/grpc.health.v1.Health/Check").ok());
}

TEST_F(AccessTest, AChangedFileIsReadAgainAndABrokenOneIsNot) {
  Write("[[identity]]\nname = \"a\"\nroles = [\"read\"]\ncertificate = \"a\"\n");
  const auto access = Load();
  const Caller a{std::nullopt, {"a"}};
  EXPECT_FALSE(access->Check(a, "/foreshadow.v1.Plans/Pause").ok());
  Write("[[identity]]\nname = \"a\"\nroles = [\"operate\"]\ncertificate = \"a\"\n");
  std::filesystem::last_write_time(path_, std::filesystem::file_time_type::clock::now());
  const auto until = std::chrono::steady_clock::now() + std::chrono::seconds(10);
  while (!access->Check(a, "/foreshadow.v1.Plans/Pause").ok() &&
         std::chrono::steady_clock::now() < until) {
    std::this_thread::sleep_for(std::chrono::milliseconds(50));
  }
  EXPECT_TRUE(access->Check(a, "/foreshadow.v1.Plans/Pause").ok());
  Write("[[identity]\n");
  std::this_thread::sleep_for(std::chrono::milliseconds(1'100));
  EXPECT_TRUE(access->Check(a, "/foreshadow.v1.Plans/Pause").ok()) << "the last good one stays";
}

// A new RPC is for operators until somebody puts it into the table.
TEST(Roles, EveryPublicMethodIsInTheTable) {
  for (const google::protobuf::FileDescriptor* file :
       {v1::Account::descriptor()->file(), v1::BatchForecastRequest::descriptor()->file(),
        v1::GetPatternsRequest::descriptor()->file(), v1::Plan::descriptor()->file(),
        v1::IngestRequest::descriptor()->file(),
        inference::ModelInferRequest::descriptor()->file()}) {
    for (int s = 0; s < file->service_count(); ++s) {
      const google::protobuf::ServiceDescriptor& service = *file->service(s);
      for (int m = 0; m < service.method_count(); ++m) {
        const std::string method = "/" + service.full_name() + "/" + service.method(m)->name();
        EXPECT_TRUE(IsListed(method)) << method;
      }
    }
  }
  EXPECT_EQ(RoleFor("/foreshadow.v1.Plans/Approve"), Role::kOperate);
  EXPECT_EQ(RoleFor("/foreshadow.v1.Plans/WatchPlans"), Role::kRead);
  EXPECT_EQ(RoleFor("/foreshadow.v1.Fleet/PutAccounts"), Role::kOperate);
  EXPECT_EQ(RoleFor("/foreshadow.v1.History/ReadSeries"), Role::kRead);
  EXPECT_EQ(RoleFor("/foreshadow.v1.History/Backup"), Role::kOperate);
  EXPECT_EQ(RoleFor("/foreshadow.v1.Telemetry/Ingest"), Role::kIngest);
  EXPECT_EQ(RoleFor("/somebody.else/New"), Role::kOperate);
  EXPECT_EQ(RoleFor("/grpc.health.v1.Health/Watch"), std::nullopt);
}

TEST(Audit, LinesStayAcrossOpenings) {
  const TemporaryFolder folder;
  const std::string path = folder.path() + "/audit.jsonl";
  for (int run = 0; run < 2; ++run) {
    const auto audit = Audit::Open(path);
    ASSERT_TRUE(audit.ok()) << audit.status();
    ASSERT_TRUE(
        (*audit)
            ->Write({"admin", "ipv4:1.2.3.4:5", "x/Pause", "{\"reason\":\"\xff\"}", "OK", ""})
            .ok());
  }
  std::ifstream file(path);
  int lines = 0;
  for (std::string line; std::getline(file, line); ++lines) {
    EXPECT_THAT(line, AllOf(HasSubstr("\"identity\":\"admin\""), HasSubstr("\"code\":\"OK\"")));
  }
  EXPECT_EQ(lines, 2);
  EXPECT_FALSE(Audit::Open(folder.path() + "/no/such/folder").ok());
}

}  // namespace
}  // namespace foreshadow::security
