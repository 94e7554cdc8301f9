// The real foreshadowd over real sockets: what it accepts, refuses, keeps and decides.
#include <gmock/gmock.h>
#include <grpcpp/generic/generic_stub.h>
#include <gtest/gtest.h>

#include <array>
#include <atomic>
#include <cmath>
#include <filesystem>
#include <limits>
#include <random>
#include <set>
#include <thread>
#include <tuple>

#include "tests/integration/fake_cell.h"
#include "tests/integration/running_server.h"
#include "tests/integration/story.h"
#include "tests/unit/service/temporary_folder.h"

namespace foreshadow {
namespace {

using testing::AddColumn;
using ::testing::AllOf;
using testing::ConfigText;
using ::testing::Contains;
using testing::CpuBatch;
using ::testing::ElementsAre;
using testing::FakeCell;
using ::testing::HasSubstr;
using testing::IsSharing;
using testing::kStartMs;
using testing::kStepMs;
using testing::MakeAccount;
using testing::Process;
using testing::RunningServer;
using testing::Sender;
using testing::ServerCommand;
using testing::Story;
using testing::TemporaryFolder;
using testing::WriteFile;

// --- Starting and stopping -----------------------------------------------------------------------

struct Ended {
  int status;
  std::string output;
};

Ended RunToEnd(const TemporaryFolder& folder, const std::vector<std::string>& command) {
  const std::string log = folder.path() + "/run.log";
  unlink(log.c_str());
  Process process(command, log);
  const int status = process.Wait();
  return {status, process.Output()};
}

Ended StartWith(const TemporaryFolder& folder, const std::string& config) {
  WriteFile(folder.path() + "/bad.toml", config);
  return RunToEnd(folder, ServerCommand(folder.path() + "/bad.toml"));
}

TEST(ServerStart, RefusesAWrongCommandLineOrConfiguration) {
  const TemporaryFolder folder;
  EXPECT_EQ(RunToEnd(folder, {ServerCommand("")[0]}).status, 2);
  EXPECT_EQ(RunToEnd(folder, {ServerCommand("")[0], "--confg", "x"}).status, 2);

  const Ended missing = RunToEnd(folder, ServerCommand("/nonexistent.toml"));
  EXPECT_EQ(missing.status, 1);
  EXPECT_THAT(missing.output, HasSubstr("/nonexistent.toml"));

  const Ended key =
      StartWith(folder, ConfigText(folder.path(), "", "", "[plan]\nrisk_treshold = 1"));
  EXPECT_EQ(key.status, 1);
  EXPECT_THAT(key.output, AllOf(HasSubstr("bad.toml"), HasSubstr("plan.risk_treshold"),
                                HasSubstr("risk_threshold")));
}

TEST(ServerStart, ChecksAConfigurationWithoutStarting) {
  const TemporaryFolder folder;
  WriteFile(folder.path() + "/good.toml", ConfigText(folder.path(), "", ""));
  std::vector<std::string> command = ServerCommand(folder.path() + "/good.toml");
  command.push_back("--check");
  EXPECT_EQ(RunToEnd(folder, command).status, 0);
  EXPECT_FALSE(std::filesystem::exists(folder.path() + "/data"));
}

TEST(ServerStart, NamesADataFolderThatCannotBeUsed) {
  const TemporaryFolder folder;
  WriteFile(folder.path() + "/data", "a file where the folder should be");
  const Ended file = StartWith(folder, ConfigText(folder.path(), "", ""));
  EXPECT_EQ(file.status, 1);
  EXPECT_THAT(file.output, AllOf(HasSubstr("server.data_dir"), HasSubstr(folder.path() + "/data")));
  // Nothing can be created there, not even by root.
  const Ended kernel = StartWith(folder, ConfigText("/proc", "", ""));
  EXPECT_EQ(kernel.status, 1);
  EXPECT_THAT(kernel.output, AllOf(HasSubstr("server.data_dir"), HasSubstr("/proc/data")));
}

TEST(ServerStart, RefusesAFolderOrAPortThatAnotherOneUses) {
  const TemporaryFolder folder;
  RunningServer server(folder.path(), ConfigText(folder.path(), "", ""));
  const Ended locked = StartWith(folder, ConfigText(folder.path(), "", ""));
  EXPECT_EQ(locked.status, 1);
  EXPECT_THAT(locked.output,
              AllOf(HasSubstr(folder.path() + "/data"), HasSubstr("another foreshadowd")));

  const TemporaryFolder other;
  std::string config = ConfigText(other.path(), "", "");
  config.replace(config.find("127.0.0.1:0"), 11, server.address());
  const Ended port = StartWith(other, config);
  EXPECT_EQ(port.status, 1);
  EXPECT_THAT(port.output, AllOf(HasSubstr("server.listen"), HasSubstr(server.address())));
  EXPECT_EQ(server.GetStatus().accounts_count(), 0u) << "the first one serves on";
}

TEST(ServerStart, StopsGracefullyWithAWatcherAndASenderOpen) {
  const TemporaryFolder folder;
  RunningServer server(folder.path(), ConfigText(folder.path(), "", ""));
  ASSERT_TRUE(server.Put({MakeAccount("x", "a")}).ok());
  Sender sender(server);
  sender.Send(CpuBatch({"x"}, kStartMs, {1}));
  grpc::ClientContext context;
  const auto watcher = server.plans->WatchPlans(&context, {});
  EXPECT_EQ(server.Stop(), 0) << server.process().Output();
}

// --- Accounts
// -------------------------------------------------------------------------------------

TEST(ServerAccounts, TakesAllOfACallOrNothing) {
  const TemporaryFolder folder;
  RunningServer server(folder.path(), ConfigText(folder.path(), "", ""));
  const grpc::Status cell = server.Put({MakeAccount("x", "a"), MakeAccount("y", "c")});
  EXPECT_EQ(cell.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(cell.error_message(),
              AllOf(HasSubstr("accounts[1].cell = \"c\""), HasSubstr("a, b")));
  for (const std::string& id : {std::string(), std::string("with space"), std::string(257, 'x')}) {
    EXPECT_EQ(server.Put({MakeAccount(id, "a")}).error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  }
  EXPECT_EQ(server.Put({MakeAccount("x", "a"), MakeAccount("x", "b")}).error_code(),
            grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_EQ(server.GetStatus().accounts_count(), 0u);

  v1::PutAccountsResponse response;
  ASSERT_TRUE(server.Put({MakeAccount("x", "a"), MakeAccount("y", "b")}, &response).ok());
  EXPECT_EQ(response.added_count(), 2u);
  ASSERT_TRUE(server.Put({MakeAccount("x", "b"), MakeAccount("y", "b")}, &response).ok());
  EXPECT_EQ(response.added_count(), 0u);
  EXPECT_EQ(response.changed_count(), 1u);
}

TEST(ServerAccounts, ListsThemInPages) {
  const TemporaryFolder folder;
  RunningServer server(folder.path(), ConfigText(folder.path(), "", ""));
  ASSERT_TRUE(server
                  .Put({MakeAccount("d", "a"), MakeAccount("b", "b"), MakeAccount("a", "a"),
                        MakeAccount("c", "a")})
                  .ok());
  std::vector<std::string> ids;
  v1::ListAccountsRequest request;
  request.set_cell("a");
  request.set_page_size(2);
  do {
    grpc::ClientContext context;
    v1::ListAccountsResponse page;
    ASSERT_TRUE(server.fleet->ListAccounts(&context, request, &page).ok());
    EXPECT_LE(page.accounts_size(), 2);
    for (const v1::Account& account : page.accounts()) ids.push_back(account.id());
    request.set_page_token(page.next_page_token());
  } while (!request.page_token().empty());
  EXPECT_THAT(ids, ElementsAre("a", "c", "d"));
}

// --- Telemetry
// ------------------------------------------------------------------------------------

TEST(ServerIngest, KeepsTheGoodSamplesAndNamesTheBad) {
  const TemporaryFolder folder;
  RunningServer server(folder.path(), ConfigText(folder.path(), "", ""));
  ASSERT_TRUE(server.Put({MakeAccount("x", "a")}).ok());
  Sender sender(server);
  v1::IngestRequest request;
  request.set_sequence(17);
  for (const char* id : {"x", "nobody"}) request.mutable_samples()->add_account_ids(id);
  v1::SampleColumn& column = *request.mutable_samples()->add_columns();
  column.set_signal(v1::SIGNAL_MEMORY);
  const int64_t future_ms = 9'000'000'000'000;
  const float nan = std::numeric_limits<float>::quiet_NaN();
  // Good, unknown account, not finite, negative, in the future, good again and out of order.
  const std::vector<std::tuple<uint32_t, int64_t, float>> rows = {
      {0, kStartMs + kStepMs, 5}, {1, kStartMs, 5},  {0, kStartMs + 1, nan},
      {0, kStartMs + 2, -1},      {0, future_ms, 5}, {0, kStartMs, 4}};
  for (const auto& [account, time_ms, value] : rows) {
    column.add_account_index(account);
    column.add_time_ms(time_ms);
    column.add_values(value);
  }
  v1::IngestResponse response = sender.Send(request);
  EXPECT_EQ(response.sequence(), 17u);
  EXPECT_EQ(response.error(), "");
  EXPECT_EQ(response.accepted_count(), 2u);
  EXPECT_EQ(response.rejected_count(), 4u);
  std::vector<v1::RejectReason> reasons;
  for (const v1::Rejection& r : response.rejections()) reasons.push_back(r.reason());
  EXPECT_THAT(reasons, ElementsAre(v1::REJECT_REASON_UNKNOWN_ACCOUNT, v1::REJECT_REASON_NOT_FINITE,
                                   v1::REJECT_REASON_NEGATIVE, v1::REJECT_REASON_IN_FUTURE));
  EXPECT_THAT(response.rejections(0).message(), HasSubstr("nobody"));

  // The same again is harmless, another value is not taken.
  response = sender.Send(request);
  EXPECT_EQ(response.accepted_count(), 0u);
  EXPECT_EQ(response.duplicate_count(), 2u);
  request.mutable_samples()->mutable_columns(0)->set_values(0, 6);
  response = sender.Send(request);
  EXPECT_EQ(response.duplicate_count(), 1u);
  EXPECT_EQ(response.rejections(4).reason(), v1::REJECT_REASON_CONFLICT);
  EXPECT_EQ(response.rejections(4).value(), 6);
  EXPECT_TRUE(sender.Finish().ok());
}

TEST(ServerIngest, RefusesAMalformedBatchAsAWholeAndGoesOn) {
  const TemporaryFolder folder;
  RunningServer server(folder.path(), ConfigText(folder.path(), "", ""));
  ASSERT_TRUE(server.Put({MakeAccount("x", "a")}).ok());
  Sender sender(server);
  v1::IngestRequest request = CpuBatch({"x"}, kStartMs, {1});
  testing::AddColumn(request, v1::SIGNAL_MEMORY, kStartMs, {1}).add_account_index(7);
  v1::IngestResponse response = sender.Send(request);
  EXPECT_THAT(response.error(), HasSubstr("columns[1].account_index[0] = 7"));
  EXPECT_EQ(response.accepted_count(), 0u);
  request = CpuBatch({"x"}, kStartMs, {1});
  request.set_watermark_ms(-5);
  EXPECT_THAT(sender.Send(request).error(), HasSubstr("watermark_ms = -5"));
  response = sender.Send(CpuBatch({"x"}, kStartMs, {1}));
  EXPECT_EQ(response.accepted_count(), 1u) << "nothing of the malformed batches was kept";
}

TEST(ServerIngest, RefusesAnOversizedMessage) {
  const TemporaryFolder folder;
  RunningServer server(folder.path(), ConfigText(folder.path(), "", ""));
  ASSERT_TRUE(server.Put({MakeAccount("x", "a")}).ok());
  Sender sender(server);
  EXPECT_EQ(sender.Send(CpuBatch({"x"}, kStartMs, {1})).accepted_count(), 1u);
  v1::IngestRequest request;
  request.mutable_samples()->add_account_ids(std::string(65 << 20, 'x'));
  v1::IngestResponse response;
  EXPECT_FALSE(sender.Send(request, &response));
  const grpc::Status status = sender.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED) << status.error_message();
  EXPECT_EQ(Sender(server).Send(CpuBatch({"x"}, kStartMs, {1})).duplicate_count(), 1u);
}

// Sends bytes as the only message of a call and returns how the call ended.
grpc::Status SendBytes(RunningServer& server, const std::string& method, const std::string& bytes) {
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
  return status;
}

TEST(ServerIngest, NamesATruncatedMessage) {
  const TemporaryFolder folder;
  RunningServer server(folder.path(), ConfigText(folder.path(), "", ""));
  ASSERT_TRUE(server.Put({MakeAccount("x", "a")}).ok());
  const std::string whole = CpuBatch({"x"}, kStartMs, {1}).SerializeAsString();
  const std::string cut = whole.substr(0, whole.size() - 1);
  const grpc::Status telemetry = SendBytes(server, "/foreshadow.v1.Telemetry/Ingest", cut);
  EXPECT_EQ(telemetry.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(telemetry.error_message(), AllOf(HasSubstr("message 1"), HasSubstr("truncated")));
  EXPECT_FALSE(SendBytes(server, "/foreshadow.v1.Fleet/PutAccounts", "\x0a\x7f").ok());
  EXPECT_EQ(Sender(server).Send(CpuBatch({"x"}, kStartMs, {1})).accepted_count(), 1u);
}

// Killed while two senders stream: each sample whose batch was acknowledged is there after the
// restart, once; a sample that was not acknowledged may be there or not.
TEST(ServerIngest, KeepsEveryAcknowledgedSampleThroughAKill) {
  const TemporaryFolder folder;
  const std::string config = ConfigText(folder.path(), "", "");
  std::vector<std::string> ids;
  std::vector<v1::Account> accounts;
  for (int i = 0; i < 50; ++i) {
    ids.push_back("account-" + std::to_string(i));
    accounts.push_back(MakeAccount(ids.back(), "a"));
  }
  const auto batch = [&](int sender, int64_t n) {
    std::vector<float> values;
    for (size_t i = 0; i < ids.size(); ++i) values.push_back(static_cast<float>(n) + 0.5f);
    return CpuBatch(ids, kStartMs + n * kStepMs + sender, values);
  };
  std::array<std::atomic<int64_t>, 2> acknowledged{};
  {
    RunningServer server(folder.path(), config);
    ASSERT_TRUE(server.Put(accounts).ok());
    std::vector<std::thread> threads;
    for (int s = 0; s < 2; ++s) {
      threads.emplace_back([&, s] {
        Sender sender(server);
        v1::IngestResponse response;
        while (sender.Send(batch(s, acknowledged[s]), &response)) {
          ASSERT_EQ(response.accepted_count(), ids.size());
          ++acknowledged[s];
        }
      });
    }
    while (acknowledged[0] < 40 || acknowledged[1] < 40) std::this_thread::yield();
    server.KillAtOnce();
    for (std::thread& thread : threads) thread.join();
  }
  RunningServer server(folder.path(), config);
  EXPECT_EQ(server.GetStatus().accounts_count(), ids.size());
  Sender sender(server);
  for (int s = 0; s < 2; ++s) {
    for (int64_t n = 0; n < acknowledged[s]; ++n) {
      const v1::IngestResponse response = sender.Send(batch(s, n));
      ASSERT_EQ(response.duplicate_count(), ids.size()) << "batch " << n << " of sender " << s;
      ASSERT_EQ(response.accepted_count(), 0u);
    }
  }
}

// --- The whole tick
// ----------------------------------------------------------------------------------

struct World {
  TemporaryFolder folder;
  FakeCell a;
  FakeCell b;
  std::string config = ConfigText(folder.path(), a.address(), b.address());
};

TEST(ServerTick, ForeseesAnOverloadAndShadowsItAndExplains) {
  World world;
  RunningServer server(world.folder.path(), world.config);
  const Story story;
  ASSERT_TRUE(server.Put(story.Accounts()).ok());
  const std::vector<v1::Plan> plans = story.Play(server, 0, 175);
  const v1::Plan& last = plans.back();
  ASSERT_TRUE(IsSharing(last)) << last.DebugString();
  EXPECT_GE(last.scores().shadows_created(), 1u);
  EXPECT_GT(last.scores().overload_minutes_without(), 0);
  EXPECT_LT(last.scores().overload_minutes_with(), last.scores().overload_minutes_without());
  const auto instances = world.b.instances();
  EXPECT_TRUE(world.a.instances().empty()) << "never in the primary's cell";
  for (const v1::Shadow& shadow : last.shadows()) {
    EXPECT_EQ(shadow.target_cell(), "b");
    if (shadow.state() != v1::SHADOW_STATE_SHARING) continue;
    ASSERT_TRUE(instances.contains(shadow.instance_id()));
    EXPECT_EQ(instances.at(shadow.instance_id()).state(), v1::INSTANCE_STATE_RUNNING);
    EXPECT_EQ(instances.at(shadow.instance_id()).account_id(), shadow.account_id());
  }

  v1::ExplainRequest request;
  request.set_action_id(1);
  v1::Explanation explanation;
  grpc::ClientContext context;
  ASSERT_TRUE(server.plans->Explain(&context, request, &explanation).ok());
  EXPECT_EQ(explanation.action().kind(), v1::ACTION_KIND_CREATE_SHADOW);
  EXPECT_EQ(explanation.risk().cell(), "a");
  EXPECT_THAT(explanation.words(), HasSubstr(explanation.action().account_id()));
  request.set_action_id(1'000'000);
  grpc::ClientContext other;
  EXPECT_EQ(server.plans->Explain(&other, request, &explanation).error_code(),
            grpc::StatusCode::NOT_FOUND);
}

TEST(ServerTick, ReplayedTwiceGivesTheSamePlans) {
  std::array<std::vector<std::string>, 2> runs;
  for (auto& run : runs) {
    World world;
    RunningServer server(world.folder.path(), world.config);
    const Story story;
    ASSERT_TRUE(server.Put(story.Accounts()).ok());
    for (const v1::Plan& plan : story.Play(server, 0, 170)) run.push_back(plan.DebugString());
  }
  EXPECT_THAT(runs[0].back(), HasSubstr("SHADOW_STATE_SHARING"));
  for (size_t i = 0; i < runs[0].size(); ++i) ASSERT_EQ(runs[0][i], runs[1][i]) << "tick " << i;
}

// A primary that is fenced for a promotion that does not come about takes no writes: the wish to
// lift its fence outlives the server.
TEST(ServerTick, LiftsAFenceThatStoodWhenItWasKilled) {
  World world;
  world.a.lifts_fences = world.b.promotes = false;
  Story story;
  std::vector<v1::Account> accounts = story.Accounts();
  for (v1::Account& account : accounts) account.set_stateful(true);
  const std::string never = "promote_after_ms = 0";
  std::string promotes = world.config;
  promotes.replace(promotes.find(never), never.size(),
                   "promote_after_ms = 60000\n[migrate]\nstep_hold_ms = 0\ndrain_ms = 0");
  int step = 172;
  {
    RunningServer server(world.folder.path(), promotes);
    ASSERT_TRUE(server.Put(accounts).ok());
    story.Play(server, 0, step);
    while (world.a.fences().empty() && step < 200) story.Play(server, step, step + 1), ++step;
    const v1::Plan plan = story.Play(server, step, step + 1).back();
    ++step;
    EXPECT_TRUE(std::ranges::any_of(plan.actions(), [](const v1::Action& action) {
      return action.kind() == v1::ACTION_KIND_LIFT_FENCE && action.settled_ms() == 0;
    })) << plan.DebugString();
    server.KillAtOnce();
  }
  ASSERT_FALSE(world.a.fences().empty());
  world.a.lifts_fences = true;
  RunningServer again(world.folder.path(), world.config);  // it promotes nothing
  for (int tick = 0; tick < 3 && !world.a.fences().empty(); ++tick) {
    story.Play(again, step, step + 1), ++step;
  }
  EXPECT_TRUE(world.a.fences().empty());
}

// Accounts, shadows and scores survive a stop and a kill; no instance is lost or made twice.
TEST(ServerTick, GoesOnWhereItWasAfterAStopAndAKill) {
  World world;
  const Story story;
  v1::Plan before;
  {
    RunningServer server(world.folder.path(), world.config);
    ASSERT_TRUE(server.Put(story.Accounts()).ok());
    before = story.Play(server, 0, 172).back();
    ASSERT_TRUE(IsSharing(before));
    EXPECT_EQ(server.Stop(), 0) << server.process().Output();
  }
  const auto ids = [](const v1::Plan& plan) {
    std::set<std::string> found;
    for (const v1::Shadow& shadow : plan.shadows()) found.insert(shadow.instance_id());
    return found;
  };
  const int creates_count = world.b.creates_count();
  RunningServer server(world.folder.path(), world.config);
  EXPECT_EQ(server.GetStatus().accounts_count(), story.Accounts().size());
  const v1::Plan after = story.Play(server, 172, 173).back();
  for (const std::string& id : ids(before)) EXPECT_TRUE(ids(after).contains(id)) << id;
  EXPECT_EQ(after.scores().ticks(), before.scores().ticks() + 1);
  EXPECT_EQ(after.tick_count(), before.tick_count() + 1);
  EXPECT_TRUE(IsSharing(after));

  server.KillAtOnce();
  RunningServer again(world.folder.path(), world.config);
  const v1::Plan last = story.Play(again, 173, 174).back();
  for (const std::string& id : ids(before)) EXPECT_TRUE(ids(last).contains(id)) << id;
  const size_t new_count = ids(last).size() - ids(before).size();
  EXPECT_LE(world.b.creates_count() - creates_count, static_cast<int>(new_count) + 1)
      << "what existed was not created again";
}

TEST(ServerTick, GoesOnWithoutACellThatDoesNotAnswer) {
  World world;
  RunningServer server(world.folder.path(), world.config);
  const Story story;
  ASSERT_TRUE(server.Put(story.Accounts()).ok());
  story.Play(server, 0, 122);
  world.b.Die();
  const std::vector<v1::Plan> plans = story.Play(server, 122, 125);
  ASSERT_EQ(plans.back().cells_size(), 2);
  EXPECT_EQ(plans.back().cells(0).state(), v1::CELL_STATE_UP);
  EXPECT_EQ(plans.back().cells(1).state(), v1::CELL_STATE_DOWN);
}

TEST(ServerTick, APauseOutlivesAKillBeforeTheNextTick) {
  World world;
  const Story story;
  {
    RunningServer server(world.folder.path(), world.config);
    ASSERT_TRUE(server.Put(story.Accounts()).ok());
    story.Play(server, 0, 122);
    v1::PauseRequest request;
    request.set_reason("maintenance\nwindow");
    v1::PauseResponse response;
    grpc::ClientContext context;
    ASSERT_TRUE(server.plans->Pause(&context, request, &response).ok());
    server.KillAtOnce();
  }
  RunningServer server(world.folder.path(), world.config);
  EXPECT_TRUE(story.Play(server, 122, 123).back().paused());
  const v1::Plan plan = story.Play(server, 123, 175).back();
  EXPECT_EQ(plan.scores().shadows_created(), 0u) << "paused: nothing new is begun";

  v1::ResumeResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(server.plans->Resume(&context, {}, &response).ok());
  EXPECT_FALSE(story.Play(server, 175, 176).back().paused());
}

TEST(ServerTick, WaitsForApprovalWhenItOnlyRecommends) {
  World world;
  std::string config = world.config;
  config.replace(config.find("\"act\""), 5, "\"recommend\"");
  RunningServer server(world.folder.path(), config);
  const Story story;
  ASSERT_TRUE(server.Put(story.Accounts()).ok());
  v1::Plan plan = story.Play(server, 0, 172).back();
  EXPECT_TRUE(world.b.instances().empty());
  const auto waiting =
      std::find_if(plan.actions().begin(), plan.actions().end(),
                   [](const v1::Action& a) { return a.state() == v1::ACTION_STATE_WAITING; });
  ASSERT_NE(waiting, plan.actions().end()) << plan.DebugString();
  v1::ApproveRequest request;
  request.set_action_id(waiting->id());
  v1::ApproveResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(server.plans->Approve(&context, request, &response).ok());
  story.Play(server, 172, 174);
  EXPECT_TRUE(world.b.instances().contains(waiting->instance_id()));
  grpc::ClientContext again;
  EXPECT_EQ(server.plans->Approve(&again, request, &response).error_code(),
            grpc::StatusCode::FAILED_PRECONDITION);
}

TEST(ServerTick, SettingsChangeWhileItRunsAndStayThroughAKill) {
  World world;
  const Story story;
  const auto change = [](RunningServer& server, const char* key, const char* value) {
    v1::ChangeSettingRequest request;
    request.set_key(key);
    request.set_value(value);
    request.set_reason("a test");
    v1::ChangeSettingResponse response;
    grpc::ClientContext context;
    return server.plans->ChangeSetting(&context, request, &response);
  };
  {
    RunningServer server(world.folder.path(), world.config);
    ASSERT_TRUE(server.Put(story.Accounts()).ok());
    story.Play(server, 0, 122);
    const grpc::Status wrong = change(server, "guard.shadows_max", "-1");
    EXPECT_EQ(wrong.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
    EXPECT_THAT(wrong.error_message(), HasSubstr("guard.shadows_max = -1"));
    ASSERT_TRUE(change(server, "guard.shadows_max", "0").ok());
    server.KillAtOnce();
  }
  RunningServer server(world.folder.path(), world.config);
  v1::ListSettingsResponse settings;
  grpc::ClientContext context;
  ASSERT_TRUE(server.plans->ListSettings(&context, {}, &settings).ok());
  const auto changed = std::ranges::find_if(settings.settings(), &v1::Setting::changed);
  ASSERT_NE(changed, settings.settings().end());
  EXPECT_EQ(changed->key(), "guard.shadows_max");
  EXPECT_EQ(changed->value(), "0");
  EXPECT_EQ(changed->reason(), "a test");
  const v1::Plan held = story.Play(server, 122, 175).back();
  EXPECT_EQ(held.scores().shadows_created(), 0u);
  EXPECT_THAT(held.alerts(), Contains(HasSubstr("guard.shadows_max = 0 is reached")));
  ASSERT_TRUE(change(server, "guard.shadows_max", "").ok());
  EXPECT_GT(story.Play(server, 175, 178).back().scores().shadows_created(), 0u);
}

TEST(ServerTick, WatchersGetTheNewestPlanAtOnceAndThenTheNext) {
  World world;
  RunningServer server(world.folder.path(), world.config);
  const Story story;
  ASSERT_TRUE(server.Put(story.Accounts()).ok());
  story.Play(server, 0, 122);
  grpc::ClientContext context;
  const auto watcher = server.plans->WatchPlans(&context, {});
  v1::Plan plan;
  ASSERT_TRUE(watcher->Read(&plan));
  EXPECT_EQ(plan.tick_ms(), kStartMs + 121 * kStepMs);
  story.Play(server, 122, 123);
  ASSERT_TRUE(watcher->Read(&plan));
  EXPECT_EQ(plan.tick_ms(), kStartMs + 122 * kStepMs);
  context.TryCancel();
  watcher->Finish();
}

// --- Forecasts and patterns
// ------------------------------------------------------------------------

TEST(ServerForecasts, AnswersForStoredAccounts) {
  World world;
  RunningServer server(world.folder.path(), world.config);
  v1::BatchForecastRequest request;
  request.mutable_stored()->add_account_ids("busy-3");
  request.mutable_stored()->add_account_ids("nobody");
  request.mutable_stored()->add_signals(v1::SIGNAL_CPU);
  request.mutable_stored()->add_signals(v1::SIGNAL_MEMORY);
  request.set_horizon_ms(3 * kStepMs);
  for (const float level : {0.1f, 0.5f, 0.6f, 0.9f}) request.add_quantile_levels(level);
  v1::BatchForecastResponse response;
  const auto ask = [&] {
    grpc::ClientContext context;
    return server.forecasts->BatchForecast(&context, request, &response);
  };
  EXPECT_EQ(ask().error_code(), grpc::StatusCode::UNAVAILABLE) << "no tick yet";
  const Story story;
  ASSERT_TRUE(server.Put(story.Accounts()).ok());
  story.Play(server, 0, 122);
  const grpc::Status status = ask();
  ASSERT_TRUE(status.ok()) << status.error_message();
  EXPECT_EQ(response.made_at_ms(), kStartMs + 121 * kStepMs);
  EXPECT_EQ(response.steps_count(), 3u);
  ASSERT_EQ(response.values_size(), 2 * 2 * 3 * 4);
  EXPECT_THAT(std::vector<int>(response.statuses().begin() + 1, response.statuses().end()),
              ElementsAre(v1::FORECAST_STATUS_NO_HISTORY, v1::FORECAST_STATUS_UNKNOWN_ACCOUNT,
                          v1::FORECAST_STATUS_UNKNOWN_ACCOUNT));
  for (int step = 0; step < 3; ++step) {
    for (int q = 0; q < 4; ++q) {
      const float value = response.values(step * 4 + q);
      EXPECT_NEAR(value, 0.6, 0.1);
      EXPECT_GE(value, response.values(step * 4 + std::max(0, q - 1)));
    }
  }
  for (int i = 12; i < 48; ++i) EXPECT_TRUE(std::isnan(response.values(i)));

  request.set_quantile_levels(0, 0.7f);
  EXPECT_EQ(ask().error_code(), grpc::StatusCode::INVALID_ARGUMENT) << "not ascending";
  request.clear_quantile_levels();
  request.set_horizon_ms(61 * kStepMs);
  EXPECT_EQ(ask().error_code(), grpc::StatusCode::INVALID_ARGUMENT) << "beyond an hour";
}

TEST(ServerForecasts, StreamsInParts) {
  const TemporaryFolder folder;
  RunningServer server(folder.path(), ConfigText(folder.path(), "", ""));
  std::vector<v1::Account> accounts;
  std::vector<std::string> ids;
  for (int i = 0; i < 2'500; ++i) {
    ids.push_back("account-" + std::to_string(i));
    accounts.push_back(MakeAccount(ids.back(), "a"));
  }
  ASSERT_TRUE(server.Put(accounts).ok());
  v1::IngestRequest batch = CpuBatch(ids, kStartMs, std::vector<float>(ids.size(), 1));
  batch.set_watermark_ms(kStartMs + kStepMs);
  Sender(server).Send(batch);
  v1::BatchForecastRequest request;
  request.mutable_stored();
  request.set_horizon_ms(kStepMs);
  request.add_quantile_levels(0.5);
  grpc::ClientContext context;
  const auto stream = server.forecasts->StreamForecast(&context, request);
  std::vector<int> parts;
  std::vector<std::string> answered;
  v1::BatchForecastResponse part;
  while (stream->Read(&part)) {
    parts.push_back(part.ids_size());
    EXPECT_EQ(part.values_size(), part.ids_size() * 4);
    answered.insert(answered.end(), part.ids().begin(), part.ids().end());
  }
  EXPECT_TRUE(stream->Finish().ok());
  EXPECT_THAT(parts, ElementsAre(1'000, 1'000, 500));
  EXPECT_EQ(answered, ids);
}

TEST(ServerForecasts, AnswersForHistoriesThatTheCallerBrings) {
  const TemporaryFolder folder;
  RunningServer server(folder.path(), ConfigText(folder.path(), "", ""));
  v1::BatchForecastRequest request;
  v1::Histories& histories = *request.mutable_histories();
  for (const char* id : {"seven", "nothing"}) histories.add_series_ids(id);
  histories.add_signals(v1::SIGNAL_CPU);
  histories.set_end_ms(kStartMs);
  histories.set_step_ms(kStepMs);
  for (int i = 0; i < 200; ++i) histories.add_values(7);
  for (int i = 0; i < 200; ++i) histories.add_values(std::numeric_limits<float>::quiet_NaN());
  request.set_model("last-value");
  request.add_quantile_levels(0.5);
  v1::BatchForecastResponse response;
  const auto ask = [&] {
    grpc::ClientContext context;
    return server.forecasts->BatchForecast(&context, request, &response);
  };
  const grpc::Status status = ask();
  ASSERT_TRUE(status.ok()) << status.error_message();
  ASSERT_EQ(response.values_size(), 2 * 60);
  EXPECT_EQ(response.models(static_cast<int>(response.model_index(0))), "last-value");
  EXPECT_THAT(std::vector<int>(response.statuses().begin(), response.statuses().end()),
              ElementsAre(v1::FORECAST_STATUS_OK, v1::FORECAST_STATUS_NO_HISTORY));
  for (int step = 0; step < 60; ++step) {
    EXPECT_FLOAT_EQ(response.values(step), 7);
    EXPECT_TRUE(std::isnan(response.values(60 + step)));
  }

  // A season of 24 steps is found and carried on.
  histories.clear_values();
  for (int series = 0; series < 2; ++series) {
    for (int i = 0; i < 240; ++i) {
      histories.add_values(5 + 3 * std::sin(static_cast<float>(2 * M_PI * i / 24)));
    }
  }
  request.set_model("seasonal-naive");
  const grpc::Status seasonal = ask();
  ASSERT_TRUE(seasonal.ok()) << seasonal.error_message();
  for (int step = 0; step < 60; ++step) {
    EXPECT_NEAR(response.values(step), 5 + 3 * std::sin(2 * M_PI * step / 24), 1e-3);
  }
  histories.mutable_values()->Truncate(400);

  request.set_model("oracle");
  const grpc::Status model = ask();
  EXPECT_EQ(model.error_code(), grpc::StatusCode::INVALID_ARGUMENT);
  EXPECT_THAT(model.error_message(), AllOf(HasSubstr("oracle"), HasSubstr("last-value")));
  request.clear_model();
  histories.set_values(3, -1);
  EXPECT_THAT(ask().error_message(), HasSubstr("histories.values[3] = -1"));
  histories.set_values(3, 7);
  histories.add_values(1);
  EXPECT_THAT(ask().error_message(), HasSubstr("401"));
  histories.clear_values();
  const grpc::Status none = ask();
  ASSERT_TRUE(none.ok()) << none.error_message();
  EXPECT_EQ(response.statuses(0), v1::FORECAST_STATUS_NO_HISTORY);
}

TEST(ServerPatterns, AnswersForTheSeriesAskedFor) {
  World world;
  RunningServer server(world.folder.path(), world.config);
  const Story story;
  ASSERT_TRUE(server.Put(story.Accounts()).ok());
  story.Play(server, 0, 122);
  v1::GetPatternsRequest request;
  request.add_account_ids("busy-1");
  request.add_signals(v1::SIGNAL_CPU);
  v1::GetPatternsResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(server.patterns->GetPatterns(&context, request, &response).ok());
  EXPECT_EQ(response.made_at_ms(), kStartMs + 121 * kStepMs);
  ASSERT_EQ(response.series_size(), 1);
  EXPECT_EQ(response.series(0).account_id(), "busy-1");
  request.add_signals(static_cast<v1::Signal>(9));
  grpc::ClientContext other;
  EXPECT_THAT(server.patterns->GetPatterns(&other, request, &response).error_message(),
              HasSubstr("signals[1] = 9"));
}

// Of eight accounts of one application, whose storage follows their mutation rates by two steps.
TEST(ServerPatterns, PoolsLeadsByApplication) {
  World world;
  RunningServer server(world.folder.path(), world.config);
  std::vector<std::string> ids;
  std::vector<v1::Account> accounts;
  for (int a = 0; a < 8; ++a) {
    ids.push_back("web-" + std::to_string(a));
    accounts.push_back(MakeAccount(ids.back(), "a"));
    accounts.back().set_application("web");
  }
  ASSERT_TRUE(server.Put(accounts).ok());
  constexpr int kLag = 2;
  constexpr int kSteps = 100;
  std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 1);
  std::vector<std::vector<float>> rates;
  Sender sender(server);
  for (int step = 0; step < kSteps; ++step) {
    rates.emplace_back();
    std::vector<float> storage;
    for (size_t a = 0; a < ids.size(); ++a) {
      rates.back().push_back(100 + 10 * normal(random));
      const float cause = step < kLag ? 100 : rates[static_cast<size_t>(step - kLag)][a];
      storage.push_back(1000 + cause + 10 * normal(random));
    }
    const int64_t time_ms = kStartMs + step * kStepMs;
    v1::IngestRequest request = CpuBatch(ids, time_ms, std::vector<float>(ids.size(), 0.5f));
    AddColumn(request, v1::SIGNAL_MUTATION_RATE, time_ms, rates.back());
    AddColumn(request, v1::SIGNAL_STORAGE, time_ms, storage);
    if (step == kSteps - 1) request.set_watermark_ms(time_ms + kStepMs);
    const v1::IngestResponse answer = sender.Send(request);
    EXPECT_EQ(answer.error(), "");
  }
  v1::GetPatternsRequest request;
  request.add_account_ids("web-3");
  request.add_signals(v1::SIGNAL_STORAGE);
  v1::GetPatternsResponse response;
  grpc::ClientContext context;
  ASSERT_TRUE(server.patterns->GetPatterns(&context, request, &response).ok());
  ASSERT_EQ(response.pooled_leads_size(), 1);
  const v1::PooledLead& lead = response.pooled_leads(0);
  EXPECT_EQ(lead.application(), "web");
  EXPECT_EQ(lead.resource(), v1::SIGNAL_STORAGE);
  EXPECT_EQ(lead.accounts(), 8);
  EXPECT_EQ(lead.lag_ms(), kLag * kStepMs);
  EXPECT_GT(lead.correlation(), 0.6);
  EXPECT_LT(lead.p_value(), 1e-6);
  EXPECT_GT(lead.heterogeneity_p_value(), 1e-4);
}

TEST(ServerHealth, AnswersHealthAndReflection) {
  const TemporaryFolder folder;
  RunningServer server(folder.path(), ConfigText(folder.path(), "", ""));
  EXPECT_TRUE(SendBytes(server, "/grpc.health.v1.Health/Check", "").ok());
  // list_services = "*"
  EXPECT_TRUE(SendBytes(server, "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
                        "\x3a\x01*")
                  .ok());
}

}  // namespace
}  // namespace foreshadow
