// The history through the server: killed at any moment, on a full disk, backed up, repaired.
#include <gmock/gmock.h>
#include <sys/mount.h>

#include <atomic>
#include <cmath>
#include <filesystem>
#include <future>
#include <map>
#include <nlohmann/json.hpp>
#include <random>

#include "foreshadow/v1/history.grpc.pb.h"
#include "tests/integration/running_server.h"
#include "tests/unit/service/temporary_folder.h"

namespace foreshadow::testing {
namespace {

using ::testing::HasSubstr;

constexpr int kAccounts = 10;

std::vector<std::string> Ids() {
  std::vector<std::string> ids;
  for (int a = 0; a < kAccounts; ++a) ids.push_back("account-" + std::to_string(a));
  return ids;
}

void PutAccounts(RunningServer& server) {
  std::vector<v1::Account> accounts;
  for (const std::string& id : Ids()) accounts.push_back(MakeAccount(id, "a"));
  ASSERT_TRUE(server.Put(accounts).ok());
}

// What any sample is: nothing else may be read back.
float ValueAt(int account, int64_t time_ms) {
  return static_cast<float>((time_ms / kStepMs * 31 + account * 7) % 10'007);
}

// CPU of all accounts at so many steps. The watermark completes them with one tick, since they are
// more than a server makes up for.
constexpr int64_t kStepsABatch = 300;
v1::IngestRequest Batch(int64_t number, int64_t steps = kStepsABatch, bool tick = true) {
  v1::IngestRequest request;
  request.set_sequence(static_cast<uint64_t>(number) + 1);
  for (const std::string& id : Ids()) request.mutable_samples()->add_account_ids(id);
  v1::SampleColumn& column = *request.mutable_samples()->add_columns();
  column.set_signal(v1::SIGNAL_CPU);
  for (int64_t step = number * steps; step < (number + 1) * steps; ++step) {
    for (int a = 0; a < kAccounts; ++a) {
      column.add_account_index(static_cast<uint32_t>(a));
      column.add_time_ms(kStartMs + step * kStepMs);
      column.add_values(ValueAt(a, kStartMs + step * kStepMs));
    }
  }
  if (tick) request.set_watermark_ms(kStartMs + (number + 1) * steps * kStepMs);
  return request;
}

// All samples of an account, which must be right and each there once.
std::vector<int64_t> TimesOf(RunningServer& server, int account) {
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  const auto history = v1::History::NewStub(
      grpc::CreateCustomChannel(server.address(), grpc::InsecureChannelCredentials(), arguments));
  v1::ReadSeriesRequest request;
  request.set_account_id(Ids()[static_cast<size_t>(account)]);
  request.set_signal(v1::SIGNAL_CPU);
  v1::ReadSeriesResponse series;
  grpc::ClientContext context;
  const grpc::Status status = history->ReadSeries(&context, request, &series);
  EXPECT_TRUE(status.ok()) << status.error_message();
  std::vector<int64_t> times(series.start_ms().begin(), series.start_ms().end());
  for (int i = 0; i < series.mean_size(); ++i) {
    EXPECT_EQ(series.mean(i), ValueAt(account, series.start_ms(i)));
    if (i > 0) {
      EXPECT_GT(series.start_ms(i), series.start_ms(i - 1)) << "once, by time";
    }
  }
  return times;
}

struct Ran {
  int code = -1;
  std::string output;
};

Ran Foreshadow(const TemporaryFolder& folder, std::vector<std::string> arguments) {
  arguments.insert(arguments.begin(), std::string(FORESHADOW_BIN_DIR) + "/foreshadow");
  const std::string log = folder.path() + "/command";
  std::filesystem::remove(log);
  Process process(arguments, log);
  const int code = process.Wait();
  return {code, process.Output()};
}

TEST(HistoryServer, KilledAHundredTimesItKeepsEachAcknowledgedSampleOnce) {
  constexpr int kKills = 100;
  const TemporaryFolder folder;
  // Samples are kept for good: they span years.
  const std::string config = ConfigText(folder.path(), "", "",
                                        "[history]\nretention_hours = 87840\n"
                                        "accept_past_hours = 87840\n");
  std::mt19937_64 random(11);
  int64_t acknowledged = 0;  // batches
  int64_t answered_twice = 0;
  for (int kill = 0; kill < kKills; ++kill) {
    RunningServer server(folder.path(), config);
    if (kill == 0) PutAccounts(server);
    const int64_t acknowledged_before = acknowledged;
    // However slow the machine is, most kills come while telemetry goes in, some before.
    std::promise<void> answered;
    std::thread killer([&, wait_ms = random() % 150, in_midst = kill % 4 > 0] {
      if (in_midst) answered.get_future().wait_for(std::chrono::seconds(10));
      std::this_thread::sleep_for(std::chrono::milliseconds(wait_ms));
      server.process().Signal(SIGKILL);
    });
    Sender sender(server);
    v1::IngestResponse response;
    // The last batch before a kill may be there already, whole or not at all; it is sent again.
    while (sender.Send(Batch(acknowledged), &response)) {
      ASSERT_EQ(response.error(), "");
      ASSERT_EQ(response.rejected_count(), 0u) << response.rejections(0).message();
      ASSERT_EQ(response.accepted_count() + response.duplicate_count(),
                static_cast<uint64_t>(kStepsABatch * kAccounts));
      answered_twice += response.duplicate_count() > 0;
      if (acknowledged++ == acknowledged_before) answered.set_value();
    }
    killer.join();
    server.process().Wait();
  }
  RunningServer server(folder.path(), config);
  for (int a = 0; a < kAccounts; ++a) {
    const std::vector<int64_t> times = TimesOf(server, a);
    ASSERT_GE(std::ssize(times), acknowledged * kStepsABatch);
    ASSERT_LE(std::ssize(times), (acknowledged + 1) * kStepsABatch) << "only what was sent";
    for (int64_t i = 0; i < std::ssize(times); ++i) {
      ASSERT_EQ(times[static_cast<size_t>(i)], kStartMs + i * kStepMs);
    }
  }
  EXPECT_GT(acknowledged, kKills / 4) << "the kills came while telemetry went in";
  EXPECT_EQ(server.Stop(), 0);
  const Ran stats = Foreshadow(folder, {"history", "stats", "--json", folder.path() + "/data"});
  ASSERT_EQ(stats.code, 0) << stats.output;
  const auto survey = nlohmann::json::parse(stats.output);
  EXPECT_GT(survey["packed_samples"], 0) << "and while samples were packed";
  RecordProperty("acknowledged_batches", std::to_string(acknowledged));
  RecordProperty("sent_again", std::to_string(answered_twice));
}

// A small file system in memory, for as long as the test.
class SmallDisk {
 public:
  explicit SmallDisk(const std::string& folder) : folder_(folder) {
    std::filesystem::create_directories(folder);
    is_mounted_ = mount("tmpfs", folder.c_str(), "tmpfs", 0, "size=160m") == 0;
  }
  ~SmallDisk() {
    if (is_mounted_) umount2(folder_.c_str(), MNT_DETACH);
  }
  bool is_mounted() const { return is_mounted_; }

 private:
  std::string folder_;
  bool is_mounted_ = false;
};

TEST(HistoryServer, AFullDiskIsToldOfAndCostsNothingThatWasAcknowledged) {
  const TemporaryFolder folder;
  const SmallDisk disk(folder.path() + "/data");
  if (!disk.is_mounted()) GTEST_SKIP() << "a file system cannot be mounted here";
  const std::string reserve = folder.path() + "/data/reserve";
  WriteFile(reserve, std::string(128 << 20, 'x'));
  const std::string config = ConfigText(folder.path(), "", "",
                                        "[history]\nretention_hours = 87840\n"
                                        "accept_past_hours = 87840\n");
  constexpr int64_t kSteps = 5'000;
  int64_t acknowledged = 0;
  {
    RunningServer server(folder.path(), config);
    PutAccounts(server);
    v1::IngestResponse response;
    {
      Sender sender(server);
      while (acknowledged < 500 && sender.Send(Batch(acknowledged, kSteps, false), &response)) {
        ++acknowledged;
      }
      const grpc::Status full = sender.Finish();
      ASSERT_EQ(full.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << full.error_message();
      EXPECT_THAT(full.error_message(), HasSubstr("the disk is full"));
    }
    EXPECT_GT(acknowledged, 0);
    // It stays up, and says the same again.
    EXPECT_EQ(server.GetStatus().accounts_count(), static_cast<uint64_t>(kAccounts));
    Sender again(server);
    EXPECT_FALSE(again.Send(Batch(acknowledged, kSteps, false), &response));
    EXPECT_EQ(again.Finish().error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    // With room again it goes on without a restart.
    std::filesystem::remove(reserve);
    bool goes_on = false;
    for (int attempt = 0; attempt < 200 && !goes_on; ++attempt) {
      Sender later(server);
      goes_on = later.Send(Batch(acknowledged, kSteps, false), &response);
      if (!goes_on) std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
    ASSERT_TRUE(goes_on);
    EXPECT_EQ(response.accepted_count() + response.duplicate_count(),
              static_cast<uint64_t>(kSteps * kAccounts));
    ++acknowledged;
    server.KillAtOnce();
  }
  RunningServer server(folder.path(), config);
  for (int a = 0; a < kAccounts; ++a) {
    const std::vector<int64_t> times = TimesOf(server, a);
    ASSERT_GE(std::ssize(times), acknowledged * kSteps);
    for (int64_t i = 0; i < acknowledged * kSteps; ++i) {
      ASSERT_EQ(times[static_cast<size_t>(i)], kStartMs + i * kStepMs);
    }
  }
}

TEST(HistoryServer, BacksUpWhileItRunsAndTheCopyServes) {
  const TemporaryFolder folder;
  const std::string backups = folder.path() + "/backups";
  const std::string restored = folder.path() + "/again/data";
  {
    RunningServer server(
        folder.path(),
        ConfigText(folder.path(), "", "", "[history]\nbackup_dir = \"" + backups + "\"\n"));
    PutAccounts(server);
    Sender sender(server);
    for (int64_t b = 0; b < 5; ++b) sender.Send(Batch(b));
    const Ran made = Foreshadow(folder, {"history", "backup", "--server", server.address()});
    EXPECT_EQ(made.code, 0) << made.output;
    EXPECT_THAT(made.output, HasSubstr("backup 1 in " + backups));
    sender.Send(Batch(5));
    const Ran stats =
        Foreshadow(folder, {"history", "stats", "--json", folder.path() + "/data"});  // beside it
    ASSERT_EQ(stats.code, 0) << stats.output;
    const auto survey = nlohmann::json::parse(stats.output);
    EXPECT_EQ(survey["packed_samples"].get<int64_t>() + survey["recent_samples"].get<int64_t>(),
              6 * kStepsABatch * kAccounts);
  }
  EXPECT_THAT(Foreshadow(folder, {"history", "backups", backups}).output, HasSubstr(" bytes"));
  std::filesystem::create_directories(folder.path() + "/again");
  const Ran back = Foreshadow(folder, {"history", "restore", backups, restored});
  ASSERT_EQ(back.code, 0) << back.output;
  const Ran verify = Foreshadow(folder, {"history", "verify", restored});
  EXPECT_EQ(verify.code, 0);
  EXPECT_THAT(verify.output, HasSubstr(": good, "));

  RunningServer server(folder.path() + "/again", ConfigText(folder.path() + "/again", "", ""));
  EXPECT_EQ(server.GetStatus().accounts_count(), static_cast<uint64_t>(kAccounts));
  EXPECT_EQ(std::ssize(TimesOf(server, 3)), 5 * kStepsABatch);
  const Ran none = Foreshadow(folder, {"history", "backup", "--server", server.address()});
  EXPECT_EQ(none.code, 1);
  EXPECT_THAT(none.output, HasSubstr("history.backup_dir is not set"));

  const Ran hours = Foreshadow(
      folder, {"history", "show", "--server", server.address(), "--resolution", "1h", "account-3"});
  ASSERT_EQ(hours.code, 0) << hours.output;
  std::istringstream lines(hours.output);
  std::string line;
  std::getline(lines, line);
  EXPECT_EQ(line, "timestamp,mean,min,max,count");
  int64_t count = 0;
  while (std::getline(lines, line)) count += std::stoll(line.substr(line.rfind(',') + 1));
  EXPECT_EQ(count, 5 * kStepsABatch);
  const Ran unknown =
      Foreshadow(folder, {"history", "show", "--server", server.address(), "nobody"});
  EXPECT_EQ(unknown.code, 1);
  EXPECT_THAT(unknown.output, HasSubstr("nobody"));
}

TEST(HistoryServer, ServesOnARepairedFolder) {
  const TemporaryFolder folder;
  const std::string data = folder.path() + "/data";
  const std::string config = ConfigText(folder.path(), "", "");
  {
    RunningServer server(folder.path(), config);
    PutAccounts(server);
    Sender sender(server);
    for (int64_t b = 0; b < 4; ++b) sender.Send(Batch(b));
    const Ran refused = Foreshadow(folder, {"history", "repair", data});
    EXPECT_EQ(refused.code, 1);
    EXPECT_THAT(refused.output, HasSubstr("another foreshadowd"));
    EXPECT_EQ(server.Stop(), 0);
  }
  for (const auto& entry : std::filesystem::directory_iterator(data)) {
    if (entry.path().filename().string().starts_with("MANIFEST")) WriteFile(entry.path(), "lost");
  }
  EXPECT_EQ(Foreshadow(folder, {"history", "verify", data}).code, 1);
  const Ran repaired = Foreshadow(folder, {"history", "repair", data});
  ASSERT_EQ(repaired.code, 0) << repaired.output;
  EXPECT_THAT(repaired.output, HasSubstr("the damaged one is " + data + ".damaged"));
  RunningServer server(folder.path(), config);
  EXPECT_EQ(std::ssize(TimesOf(server, 0)), 4 * kStepsABatch);
}

}  // namespace
}  // namespace foreshadow::testing
