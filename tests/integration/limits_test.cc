// What telemetry streams are told when a sender goes beyond what the configuration allows, and what
// /metrics says of it.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include "foreshadow/v1/retry.pb.h"
#include "tests/integration/running_server.h"
#include "tests/unit/service/temporary_folder.h"

namespace foreshadow {
namespace {

using ::testing::AllOf;
using testing::CpuBatch;
using ::testing::HasSubstr;
using testing::kStartMs;
using testing::MakeAccount;
using testing::RunningServer;
using testing::Sender;
using testing::TemporaryFolder;

std::string Metrics(const RunningServer& server) {
  httplib::Client client("127.0.0.1", server.http_port());
  const auto response = client.Get("/metrics");
  return response ? response->body : "no answer";
}

std::string Refused(const std::string& reason, int count) {
  return fmt::format("foreshadow_ingest_refused_total{{protocol=\"telemetry\",reason=\"{}\"}} {}\n",
                     reason, count);
}

// The delay that a status asks for, in ms; -1 = none.
int64_t RetryAfterMs(const grpc::Status& status) {
  v1::RichStatus rich;
  v1::RetryInfo retry;
  if (!rich.ParseFromString(status.error_details()) || rich.details_size() != 1) return -1;
  if (!retry.ParseFromString(rich.details(0).value())) return -1;
  return retry.retry_delay().seconds() * 1'000 + retry.retry_delay().nanos() / 1'000'000;
}

TEST(Limits, EndAStreamAboveItsRateAndSayWhenToComeAgain) {
  const TemporaryFolder folder;
  RunningServer server(folder.path(),
                       testing::ConfigText(folder.path(), "", "",
                                           "[ingest]\nsamples_per_second = 2\nburst_samples = 4"));
  ASSERT_TRUE(server.Put({MakeAccount("x", "a"), MakeAccount("y", "a")}).ok());
  Sender sender(server);
  EXPECT_EQ(sender.Send(CpuBatch({"x", "y"}, kStartMs, {1, 2})).accepted_count(), 2u);
  EXPECT_EQ(sender.Send(CpuBatch({"x", "y"}, kStartMs + 1, {1, 2})).accepted_count(), 2u);
  v1::IngestRequest third = CpuBatch({"x", "y"}, kStartMs + 2, {1, 2});
  third.set_sequence(77);
  v1::IngestResponse response;
  EXPECT_FALSE(sender.Send(third, &response));
  const grpc::Status status = sender.Finish();
  EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(status.error_message(),
              AllOf(HasSubstr("127.0.0.1"), HasSubstr("ingest.samples_per_second = 2"),
                    HasSubstr("batch 77")));
  const int64_t wait_ms = RetryAfterMs(status);
  EXPECT_GT(wait_ms, 0);
  EXPECT_LE(wait_ms, 1'000);
  EXPECT_THAT(Metrics(server), HasSubstr(Refused("rate", 2)));

  std::this_thread::sleep_for(std::chrono::milliseconds(wait_ms));
  Sender again(server);
  EXPECT_EQ(again.Send(third).accepted_count(), 2u) << "it may come again by then";
}

TEST(Limits, BoundTheStreamsOfASender) {
  const TemporaryFolder folder;
  RunningServer server(folder.path(), testing::ConfigText(folder.path(), "", "",
                                                          "[ingest]\nstreams_per_sender_max = 1"));
  ASSERT_TRUE(server.Put({MakeAccount("x", "a")}).ok());
  {
    Sender first(server);
    EXPECT_EQ(first.Send(CpuBatch({"x"}, kStartMs, {1})).accepted_count(), 1u);
    Sender second(server);
    v1::IngestResponse response;
    EXPECT_FALSE(second.Send(CpuBatch({"x"}, kStartMs + 1, {1}), &response));
    const grpc::Status status = second.Finish();
    EXPECT_EQ(status.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
    EXPECT_THAT(status.error_message(), HasSubstr("ingest.streams_per_sender_max = 1"));
    EXPECT_EQ(RetryAfterMs(status), 1'000);
    EXPECT_TRUE(first.Finish().ok());
  }
  // A stream that has ended leaves its place.
  for (int tries = 0; tries < 100; ++tries) {
    Sender third(server);
    v1::IngestResponse response;
    if (third.Send(CpuBatch({"x"}, kStartMs + 1, {1}), &response)) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(20));
  }
  FAIL() << "the place of the first stream is still taken";
}

TEST(Limits, CountEachRefusalByItsReason) {
  const TemporaryFolder folder;
  RunningServer server(
      folder.path(),
      testing::ConfigText(folder.path(), "", "", "[ingest]\naccounts_max = 1\nfuture_ms = 1000"));
  ASSERT_TRUE(server.Put({MakeAccount("x", "a")}).ok());
  const grpc::Status full = server.Put({MakeAccount("y", "a")});
  EXPECT_EQ(full.error_code(), grpc::StatusCode::RESOURCE_EXHAUSTED);
  EXPECT_THAT(full.error_message(), HasSubstr("ingest.accounts_max = 1"));
  EXPECT_TRUE(server.Put({MakeAccount("x", "b")}).ok()) << "accounts that are there may change";

  Sender sender(server);
  const int64_t now_ms = std::chrono::duration_cast<std::chrono::milliseconds>(
                             std::chrono::system_clock::now().time_since_epoch())
                             .count();
  EXPECT_EQ(sender.Send(CpuBatch({"x"}, kStartMs, {1})).accepted_count(), 1u);
  EXPECT_EQ(sender.Send(CpuBatch({"x"}, kStartMs, {2})).rejected_count(), 1u);
  EXPECT_EQ(sender.Send(CpuBatch({"x"}, kStartMs, {1})).duplicate_count(), 1u);
  EXPECT_EQ(sender.Send(CpuBatch({"x"}, kStartMs + 1, {-1})).rejected_count(), 1u);
  EXPECT_EQ(sender.Send(CpuBatch({"x"}, kStartMs + 1, {std::nanf("")})).rejected_count(), 1u);
  EXPECT_EQ(sender.Send(CpuBatch({"y"}, kStartMs, {1})).rejected_count(), 1u);
  const v1::IngestResponse ahead = sender.Send(CpuBatch({"x"}, now_ms + 60'000, {1}));
  ASSERT_EQ(ahead.rejections_size(), 1);
  EXPECT_EQ(ahead.rejections(0).reason(), v1::REJECT_REASON_IN_FUTURE);
  EXPECT_EQ(sender.Send(CpuBatch({"x", "x"}, kStartMs, {1, 1})).accepted_count(), 0u);
  const std::string text = Metrics(server);
  for (const char* reason :
       {"conflict", "negative", "not_finite", "unknown_account", "in_future", "malformed"}) {
    EXPECT_THAT(text, HasSubstr(Refused(reason, 1)));
  }
}

}  // namespace
}  // namespace foreshadow
