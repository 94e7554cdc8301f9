// Who is told of a changed route, and by whom, without a socket.
#include "service/xds/hub.h"

#include <gtest/gtest.h>
#include <sched.h>

#include <atomic>
#include <memory>

#include "tests/unit/service/xds/routes.h"

namespace foreshadow::xds {
namespace {

class FakeStream : public Stream {
 public:
  explicit FakeStream(bool delta = false) : Stream(delta) {}
  grpc::ByteBuffer Encode(const Response& response) const override {
    ++encoded_count;
    const grpc::Slice slice((subscriber.delta() ? "delta " : "whole ") + response.nonce);
    return {&slice, 1};
  }
  void Write() override { ++writes; }
  std::string Told() const {
    grpc::Slice slice;
    EXPECT_TRUE(bytes.TrySingleSlice(&slice).ok());
    return {reinterpret_cast<const char*>(slice.begin()), slice.size()};
  }

  std::atomic<int> writes = 0;
  mutable std::atomic<int> encoded_count = 0;
};

class HubTest : public ::testing::Test {
 protected:
  HubTest() { hub_.Update(All({MakeRoute("hot", 0)})); }
  ~HubTest() override {
    for (const auto& stream : streams_) hub_.Remove(stream.get());
  }

  // Each follows the account's endpoints and has taken the first answer.
  void Connect(int count, bool delta = false) {
    for (int i = 0; i < count; ++i) {
      streams_.push_back(std::make_unique<FakeStream>(delta));
      FakeStream& stream = *streams_.back();
      hub_.Add(&stream, "peer");
      hub_.Take(stream, {Type::kEndpoints, "", "", {"grpc hot"}, {}, {}}, "node", "agent");
      hub_.Written(stream, true);
    }
  }

  Hub hub_{Snapshot({"127.0.0.1:10000", "", 0}, "run")};
  std::vector<std::unique_ptr<FakeStream>> streams_;
};

TEST_F(HubTest, TellsFewAndManyOnceEach) {
  const int policy = sched_getscheduler(0);
  for (const int count : {1, 63, 200, 2'000}) {
    SCOPED_TRACE(count);
    Connect(count - static_cast<int>(streams_.size()));
    for (const auto& stream : streams_) stream->writes = 0;
    hub_.Update(All({MakeRoute("hot", 1.0 / count)}));
    for (const auto& stream : streams_) {
      EXPECT_EQ(stream->writes, 1);
      EXPECT_EQ(stream->Told(), streams_[0]->Told());
      hub_.Written(*stream, true);
    }
    EXPECT_EQ(sched_getscheduler(0), policy) << "the caller goes on as it was";
  }
}

TEST_F(HubTest, AnAnswerIsEncodedOnceATellerAndKind) {
  Connect(500, /*delta=*/false);
  Connect(500, /*delta=*/true);
  for (const auto& stream : streams_) stream->encoded_count = 0;
  hub_.Update(All({MakeRoute("hot", 0.5)}));
  size_t encoded_count = 0;
  for (const auto& stream : streams_) {
    encoded_count += stream->encoded_count;
    EXPECT_EQ(stream->Told().substr(0, 6), stream->subscriber.delta() ? "delta " : "whole ");
  }
  EXPECT_GE(encoded_count, 2U);
  EXPECT_LE(encoded_count, 2 * kTellersMax);
}

TEST_F(HubTest, WhatChangesWhileOneIsToldIsInItsNextAnswer) {
  Connect(200);
  FakeStream& slow = *streams_[7];
  hub_.Update(All({MakeRoute("hot", 0.1)}));
  for (const auto& stream : streams_) {
    if (stream.get() != &slow) hub_.Written(*stream, true);
  }
  const std::string before = slow.Told();
  hub_.Update(All({MakeRoute("hot", 0.2)}));
  hub_.Update(All({MakeRoute("hot", 0.3)}));
  EXPECT_EQ(slow.Told(), before);
  hub_.Written(slow, true);
  EXPECT_EQ(slow.writes, 3) << "the first answer, 0.1, and then 0.3 alone";
  EXPECT_NE(slow.Told(), before);
}

TEST_F(HubTest, NothingIsWrittenToOneThatIsBrokenOrDone) {
  Connect(3);
  hub_.Update(All({MakeRoute("hot", 0.1)}));
  hub_.Written(*streams_[0], /*ok=*/false);
  EXPECT_FALSE(hub_.End(*streams_[1])) << "its write is under way";
  hub_.Written(*streams_[2], true);
  hub_.Update(All({MakeRoute("hot", 0.2)}));
  EXPECT_EQ(streams_[0]->writes, 2);
  EXPECT_EQ(streams_[1]->writes, 2);
  EXPECT_EQ(streams_[2]->writes, 3);
  EXPECT_TRUE(hub_.Written(*streams_[1], true)) << "the call may be finished";
}

}  // namespace
}  // namespace foreshadow::xds
