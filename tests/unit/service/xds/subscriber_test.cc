// The protocol, request by request: versions, nonces, acknowledgements and refusals, both variants.
#include "service/xds/subscriber.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/unit/service/xds/routes.h"

namespace foreshadow::xds {
namespace {

using ::testing::ElementsAre;
using ::testing::IsEmpty;
using ::testing::UnorderedElementsAre;

constexpr int64_t kNowMs = 1'000;

std::vector<std::string> Names(const Response& response) {
  std::vector<std::string> names;
  for (const Response::Item& item : response.items) names.push_back(item.name);
  return names;
}

class Protocol : public ::testing::Test {
 protected:
  explicit Protocol(bool delta = false) : client_(delta) {
    snapshot_.Update(All({MakeRoute("1", 0.1), MakeRoute("2", 0.2)}));
  }

  void Ask(Type type, std::vector<std::string> names) {
    Request request;
    request.type = type;
    request.nonce = nonce_[static_cast<int>(type)];
    request.names = std::move(names);
    client_.Take(request, snapshot_);
  }
  std::optional<Response> Next() {
    auto response = client_.Next(snapshot_, kNowMs);
    if (response.has_value()) nonce_[static_cast<int>(response->type)] = response->nonce;
    return response;
  }
  void Answer(Type type, const std::string& refused, std::vector<std::string> names) {
    Request request;
    request.type = type;
    request.nonce = nonce_[static_cast<int>(type)];
    request.refused = refused;
    if (!delta_) request.names = std::move(names);
    client_.Take(request, snapshot_);
  }
  void Change(const std::vector<router::Route>& routes,
              const std::vector<std::string>& removed = {}) {
    client_.Mark(snapshot_.Update({routes, removed, true}), snapshot_);
  }

  bool delta_ = false;
  Snapshot snapshot_{{"127.0.0.1:10000", "", 0}, "run"};
  Subscriber client_;
  std::array<std::string, kTypes> nonce_;
};

TEST_F(Protocol, AnswersWhatIsAskedForAndNothingElse) {
  Ask(Type::kListener, {"accounts/1"});
  const auto response = Next();
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->type, Type::kListener);
  EXPECT_THAT(Names(*response), ElementsAre("accounts/1"));
  EXPECT_NE(response->nonce, "");
  EXPECT_FALSE(Next().has_value());
}

TEST_F(Protocol, BehindUntilAcknowledged) {
  Ask(Type::kEndpoints, {"grpc 1"});
  ASSERT_TRUE(Next().has_value());
  EXPECT_TRUE(client_.behind());
  EXPECT_EQ(client_.behind_since_ms(), kNowMs);
  Answer(Type::kEndpoints, "", {"grpc 1"});
  EXPECT_FALSE(client_.behind());
  EXPECT_EQ(client_.behind_since_ms(), 0);
  EXPECT_FALSE(Next().has_value()) << "an acknowledgement is not answered";
}

TEST_F(Protocol, AChangeOfTheSplitSendsEndpointsOfThatAccountOnly) {
  Ask(Type::kEndpoints, {"grpc 1"});
  Next();
  Answer(Type::kEndpoints, "", {"grpc 1"});
  Change({MakeRoute("2", 0.9)});
  EXPECT_FALSE(Next().has_value());
  Change({MakeRoute("1", 0.9)});
  const auto response = Next();
  ASSERT_TRUE(response.has_value());
  EXPECT_EQ(response->type, Type::kEndpoints);
  EXPECT_THAT(Names(*response), ElementsAre("grpc 1"));
  Change({MakeRoute("1", 0.9)});
  EXPECT_FALSE(Next().has_value()) << "the same route again is no change";
}

// It keeps what it took; what it refused is not pushed on it again, the next change is.
TEST_F(Protocol, RefusalIsKeptUntilTheNextIsTaken) {
  Ask(Type::kEndpoints, {"grpc 1"});
  Next();
  Answer(Type::kEndpoints, "weights sum to nothing", {"grpc 1"});
  EXPECT_EQ(client_.refused(), "weights sum to nothing");
  EXPECT_TRUE(client_.behind());
  EXPECT_FALSE(Next().has_value());
  Change({MakeRoute("1", 0.9)});
  ASSERT_TRUE(Next().has_value());
  Answer(Type::kEndpoints, "", {"grpc 1"});
  EXPECT_EQ(client_.refused(), "");
  EXPECT_FALSE(client_.behind());
}

TEST_F(Protocol, AWordOnAnOlderAnswerIsPassedOver) {
  Ask(Type::kEndpoints, {"grpc 1"});
  Next();
  const std::string older = nonce_[static_cast<int>(Type::kEndpoints)];
  Change({MakeRoute("1", 0.9)});
  Next();
  nonce_[static_cast<int>(Type::kEndpoints)] = older;
  Answer(Type::kEndpoints, "no", {"grpc 1", "grpc 2"});
  EXPECT_EQ(client_.refused(), "");
  EXPECT_TRUE(client_.behind());
  EXPECT_FALSE(Next().has_value());
}

TEST_F(Protocol, ANameAddedIsAnsweredAndOneDroppedIsForgotten) {
  Ask(Type::kEndpoints, {"grpc 1"});
  Next();
  Ask(Type::kEndpoints, {"grpc 1", "grpc 2"});
  EXPECT_THAT(Names(*Next()), ElementsAre("grpc 2"));
  Ask(Type::kEndpoints, {"grpc 2"});
  Change({MakeRoute("1", 0.9)});
  EXPECT_FALSE(Next().has_value());
  Ask(Type::kEndpoints, {"grpc 1", "grpc 2"});
  EXPECT_THAT(Names(*Next()), ElementsAre("grpc 1")) << "asked for again, so told again";
}

TEST_F(Protocol, EveryFirstRequestOfAStreamIsAnsweredThoughTheVersionIsKnown) {
  Ask(Type::kListener, {"accounts/1"});
  EXPECT_TRUE(Next().has_value());
  client_ = Subscriber(false);
  nonce_ = {};
  Ask(Type::kListener, {"accounts/1"});
  EXPECT_TRUE(Next().has_value());
}

// Envoy: all clusters there are for it, none of gRPC's, and each answer is whole.
TEST_F(Protocol, WildcardHoldsAllForEnvoyInEachAnswer) {
  Ask(Type::kCluster, {});
  EXPECT_THAT(Names(*Next()), UnorderedElementsAre("1", "2"));
  Change({MakeRoute("3", 0.3)});
  EXPECT_THAT(Names(*Next()), UnorderedElementsAre("1", "2", "3"));
  Change({}, {"2"});
  EXPECT_THAT(Names(*Next()), UnorderedElementsAre("1", "3"));
  Ask(Type::kListener, {});
  EXPECT_THAT(Names(*Next()), ElementsAre("http"));
}

TEST_F(Protocol, AListenerThatIsNotThereIsLeftOutOfAWholeAnswer) {
  Ask(Type::kListener, {"accounts/nobody"});
  const auto response = Next();
  ASSERT_TRUE(response.has_value());
  EXPECT_THAT(Names(*response), IsEmpty());
}

// A client whose account the server has not yet heard of since its own start keeps what it has.
TEST_F(Protocol, NothingIsSaidToBeAbsentBeforeTheServerKnowsAll) {
  snapshot_ = Snapshot({"127.0.0.1:10000", "", 0}, "run");
  snapshot_.Update({{MakeRoute("1", 0.1)}, {}, false});
  Ask(Type::kListener, {"accounts/2"});
  Ask(Type::kCluster, {});
  EXPECT_FALSE(Next().has_value());
  Change({MakeRoute("2", 0.2)});
  std::vector<std::string> told;
  while (const auto response = Next()) {
    for (const std::string& name : Names(*response)) told.push_back(name);
  }
  EXPECT_THAT(told, UnorderedElementsAre("1", "2", "accounts/2"));
}

// Envoy waits for the endpoints of a cluster that changed though they are the same.
TEST_F(Protocol, EndpointsFollowAChangedCluster) {
  Ask(Type::kCluster, {"grpc 1"});
  Ask(Type::kEndpoints, {"grpc 1"});
  while (Next().has_value()) {
  }
  Change({}, {"1"});
  while (Next().has_value()) {
  }
  Change({MakeRoute("1", 0.1)});
  EXPECT_EQ(Next()->type, Type::kCluster);
  EXPECT_EQ(Next()->type, Type::kEndpoints);
}

class Delta : public Protocol {
 protected:
  Delta() : Protocol(true) { delta_ = true; }
};

TEST_F(Delta, TellsOnlyWhatChangedAndWhatIsGone) {
  Ask(Type::kCluster, {});
  EXPECT_THAT(Names(*Next()), UnorderedElementsAre("1", "2"));
  Answer(Type::kCluster, "", {});
  EXPECT_FALSE(client_.behind());
  Change({MakeRoute("3", 0.3)});
  EXPECT_THAT(Names(*Next()), ElementsAre("3"));
  Change({}, {"2"});
  const auto response = Next();
  ASSERT_TRUE(response.has_value());
  EXPECT_THAT(Names(*response), IsEmpty());
  EXPECT_THAT(response->removed, ElementsAre("2"));
}

TEST_F(Delta, AReconnectedClientIsToldWhatItLacks) {
  Request request;
  request.type = Type::kCluster;
  request.has = {{"1", snapshot_.Find(Type::kCluster, "1")->version},
                 {"2", "of another run"},
                 {"gone", "of another run"}};
  client_.Take(request, snapshot_);
  const auto response = Next();
  ASSERT_TRUE(response.has_value());
  EXPECT_THAT(Names(*response), ElementsAre("2"));
  EXPECT_THAT(response->removed, ElementsAre("gone"));
}

TEST_F(Delta, SubscribesAndUnsubscribesByName) {
  Ask(Type::kEndpoints, {"grpc 1"});
  EXPECT_THAT(Names(*Next()), ElementsAre("grpc 1"));
  Request request;
  request.type = Type::kEndpoints;
  request.names = {"grpc 2", "nobody"};
  request.unsubscribed = {"grpc 1"};
  client_.Take(request, snapshot_);
  const auto response = Next();
  EXPECT_THAT(Names(*response), ElementsAre("grpc 2"));
  EXPECT_THAT(response->removed, ElementsAre("nobody"));
  Change({MakeRoute("1", 0.7)});
  EXPECT_FALSE(Next().has_value());
}

}  // namespace
}  // namespace foreshadow::xds
