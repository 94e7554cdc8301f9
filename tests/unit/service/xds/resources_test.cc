// What a route becomes, read back with the messages' own parser.
#include "service/xds/resources.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <map>

#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "envoy/config/route/v3/route.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"
#include "service/router/check.h"
#include "tests/unit/service/xds/routes.h"

namespace foreshadow::xds {
namespace {

using envoy::config::cluster::v3::Cluster;
using envoy::config::endpoint::v3::ClusterLoadAssignment;
using envoy::config::listener::v3::Listener;
using envoy::config::route::v3::RouteConfiguration;
using HttpManager =
    envoy::extensions::filters::network::http_connection_manager::v3::HttpConnectionManager;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::Pair;
using ::testing::UnorderedElementsAre;

template <typename Message>
Message Get(const std::vector<Resource>& resources, Type type, const std::string& name) {
  Message message;
  for (const Resource& r : resources) {
    if (r.type == type && r.name == name) {
      EXPECT_TRUE(message.ParseFromString(r.bytes));
      return message;
    }
  }
  ADD_FAILURE() << "no " << TypeUrl(type) << " " << name;
  return message;
}

std::vector<std::string> Names(const std::vector<Resource>& resources, Type type) {
  std::vector<std::string> names;
  for (const Resource& r : resources) {
    if (r.type == type) names.push_back(r.name);
  }
  return names;
}

// Port -> weight of its locality.
std::map<uint32_t, uint32_t> WeightsIn(const ClusterLoadAssignment& endpoints) {
  std::map<uint32_t, uint32_t> weights;
  for (const auto& locality : endpoints.endpoints()) {
    EXPECT_EQ(locality.lb_endpoints_size(), 1);
    const auto& socket = locality.lb_endpoints(0).endpoint().address().socket_address();
    weights[socket.port_value()] = locality.load_balancing_weight().value();
  }
  return weights;
}

constexpr const char* kIfItNeverLeft = "connect-failure,refused-stream";

TEST(Resources, SplitsByLocalityWeights) {
  const auto resources = ResourcesOf(MakeRoute("42", 0.1), {});
  const auto endpoints = Get<ClusterLoadAssignment>(resources, Type::kEndpoints, "grpc 42");
  EXPECT_THAT(WeightsIn(endpoints), UnorderedElementsAre(Pair(1001, 9'000), Pair(1002, 1'000)));
  EXPECT_EQ(endpoints.endpoints(0).locality().sub_zone(), "instance-1001");
  EXPECT_EQ(endpoints.endpoints(0).locality().zone(), "a");

  const auto cluster = Get<Cluster>(resources, Type::kCluster, "grpc 42");
  EXPECT_TRUE(cluster.common_lb_config().has_locality_weighted_lb_config());
  EXPECT_TRUE(cluster.has_outlier_detection());
  EXPECT_TRUE(cluster.has_lrs_server());

  const auto routes = Get<RouteConfiguration>(resources, Type::kRoute, "accounts/42");
  const auto& action = routes.virtual_hosts(0).routes(0).route();
  EXPECT_EQ(action.cluster(), "grpc 42");
  EXPECT_THAT(action.retry_policy().retry_on(), HasSubstr("unavailable"));
  EXPECT_GT(action.retry_policy().num_retries().value(), 0u);
}

TEST(Resources, RepeatsWhatFailedUnlessTheOperatorSaysNo) {
  ResourceOptions options;
  options.retry_failed = false;
  const auto resources = ResourcesOf(MakeRoute("42", 0.1), options);
  const auto routes = Get<RouteConfiguration>(resources, Type::kRoute, "accounts/42");
  const auto& retries = routes.virtual_hosts(0).routes(0).route().retry_policy();
  EXPECT_EQ(retries.retry_on(), kIfItNeverLeft);
  EXPECT_EQ(retries.retry_host_predicate_size(), 1) << "elsewhere all the same";
}

// gRPC asks for a listener by its target's path and wants the router filter last.
TEST(Resources, GrpcListenerLeadsToTheRoute) {
  const auto resources = ResourcesOf(MakeRoute("42", 0.1), {});
  const auto listener = Get<Listener>(resources, Type::kListener, "accounts/42");
  HttpManager manager;
  ASSERT_TRUE(listener.api_listener().api_listener().UnpackTo(&manager));
  EXPECT_EQ(manager.rds().route_config_name(), "accounts/42");
  EXPECT_EQ(manager.http_filters().rbegin()->name(), "envoy.filters.http.router");
}

TEST(Resources, NoSplitOrAllOfItNamesOneSideOnly) {
  const auto none = ResourcesOf(MakeRoute("42", 0), {});
  EXPECT_THAT(WeightsIn(Get<ClusterLoadAssignment>(none, Type::kEndpoints, "grpc 42")),
              ElementsAre(Pair(1001, kLocalityWeightsSum)));
  const auto all = ResourcesOf(MakeRoute("42", 1), {});
  EXPECT_THAT(WeightsIn(Get<ClusterLoadAssignment>(all, Type::kEndpoints, "grpc 42")),
              ElementsAre(Pair(1002, kLocalityWeightsSum)));
}

TEST(Resources, ARefusedShareIsDroppedBeforeASideIsPicked) {
  ResourceOptions options;
  options.envoy_listen = "127.0.0.1:80";
  for (const bool stateful : {false, true}) {
    router::Route route = MakeRoute("42", 0.1, stateful);
    const std::string side = stateful ? " instance-1002" : "";
    for (const std::string& name : {"grpc 42" + side, "42" + side}) {
      const auto all =
          Get<ClusterLoadAssignment>(ResourcesOf(route, options), Type::kEndpoints, name);
      EXPECT_EQ(all.policy().drop_overloads_size(), 0);
      route.shed = 0.125;
      const auto some =
          Get<ClusterLoadAssignment>(ResourcesOf(route, options), Type::kEndpoints, name);
      ASSERT_EQ(some.policy().drop_overloads_size(), 1);
      const auto& share = some.policy().drop_overloads(0).drop_percentage();
      EXPECT_EQ(share.numerator(), 125'000u);
      EXPECT_EQ(share.denominator(), envoy::type::v3::FractionalPercent::MILLION);
      route.shed = 0;
    }
  }
}

TEST(Resources, ASideWithoutAddressTakesNothing) {
  router::Route route = MakeRoute("42", 0.1);
  route.primary.address = {};
  EXPECT_THAT(
      WeightsIn(Get<ClusterLoadAssignment>(ResourcesOf(route, {}), Type::kEndpoints, "grpc 42")),
      ElementsAre(Pair(1002, kLocalityWeightsSum)));
}

TEST(Resources, StatefulAccountsSplitByClustersAndRepeatNothing) {
  const auto resources = ResourcesOf(MakeRoute("42", 0.25, true), {});
  const auto routes = Get<RouteConfiguration>(resources, Type::kRoute, "accounts/42");
  const auto& action = routes.virtual_hosts(0).routes(0).route();
  std::map<std::string, uint32_t> weights;
  for (const auto& cluster : action.weighted_clusters().clusters()) {
    weights[cluster.name()] = cluster.weight().value();
  }
  EXPECT_THAT(weights, UnorderedElementsAre(Pair("grpc 42 instance-1001", 75),
                                            Pair("grpc 42 instance-1002", 25)));
  EXPECT_EQ(action.retry_policy().retry_on(), kIfItNeverLeft);
  EXPECT_THAT(Names(resources, Type::kEndpoints),
              ElementsAre("grpc 42 instance-1001", "grpc 42 instance-1002"));
  const auto primary =
      Get<ClusterLoadAssignment>(resources, Type::kEndpoints, "grpc 42 instance-1001");
  EXPECT_EQ(WeightsIn(primary).count(1001), 1u);
}

// A hand-over takes nothing away that a client may still draw.
TEST(Resources, AnInstanceThatBecomesThePrimaryKeepsItsCluster) {
  const router::Route before = MakeRoute("42", 1, true);
  router::Route after = before;
  after.primary = before.shadow;
  after.shadow = {};
  after.split = 0;
  const auto drawn = [](const router::Route& route) {
    const auto routes =
        Get<RouteConfiguration>(ResourcesOf(route, {}), Type::kRoute, "accounts/42");
    return routes.virtual_hosts(0).routes(0).route().weighted_clusters().clusters(0).name();
  };
  EXPECT_EQ(drawn(before), "grpc 42 instance-1002");
  EXPECT_EQ(drawn(after), drawn(before));
}

TEST(Resources, EnvoyGetsClustersByAccountAndOneRouteForAll) {
  const ResourceOptions options{"127.0.0.1:10000", "", 5'000};
  router::Route stateful = MakeRoute("7", 0.5, true);
  stateful.epoch = 3;
  const auto resources = ResourcesOf(MakeRoute("42", 0.1), options);
  EXPECT_THAT(WeightsIn(Get<ClusterLoadAssignment>(resources, Type::kEndpoints, "42")),
              UnorderedElementsAre(Pair(2001, 9'000), Pair(2002, 1'000)));
  EXPECT_EQ(
      Get<Cluster>(resources, Type::kCluster, "42").health_checks(0).http_health_check().path(),
      "/healthz");

  const auto shared = SharedResources({{&stateful}}, options);
  const auto listener = Get<Listener>(shared, Type::kListener, "http");
  EXPECT_EQ(listener.address().socket_address().port_value(), 10000u);
  const auto routes = Get<RouteConfiguration>(shared, Type::kRoute, "http");
  ASSERT_EQ(routes.virtual_hosts(0).routes_size(), 2);
  EXPECT_EQ(routes.virtual_hosts(0).routes(0).match().headers(0).string_match().exact(), "7");
  EXPECT_EQ(routes.virtual_hosts(0).routes(0).route().weighted_clusters().clusters_size(), 2);
  EXPECT_EQ(routes.virtual_hosts(0).routes(1).route().cluster_header(), "x-foreshadow-account");
  const auto& header = routes.virtual_hosts(0).routes(0).request_headers_to_add(0).header();
  EXPECT_EQ(header.key(), "x-foreshadow-epoch");
  EXPECT_EQ(header.value(), "3");
}

TEST(Resources, NothingForEnvoyWhereItDoesNotListen) {
  EXPECT_TRUE(SharedResources({}, {}).empty());
  for (const Resource& r : ResourcesOf(MakeRoute("42", 0.1), {})) EXPECT_FALSE(r.in_wildcard);
}

TEST(Resources, StickyHeaderHashesToSides) {
  const auto resources = ResourcesOf(MakeRoute("42", 0.1), {"", "x-user", 0});
  EXPECT_EQ(Get<Cluster>(resources, Type::kCluster, "grpc 42").lb_policy(), Cluster::RING_HASH);
  const auto routes = Get<RouteConfiguration>(resources, Type::kRoute, "accounts/42");
  EXPECT_EQ(routes.virtual_hosts(0).routes(0).route().hash_policy(0).header().header_name(),
            "x-user");
}

// Ids may hold slashes: none may end up in another's place.
TEST(Resources, NamesOfAccountsNeverMeet) {
  const ResourceOptions options{"127.0.0.1:10000", "", 0};
  std::map<std::pair<Type, std::string>, std::string> owners;
  for (const std::string id : {"42", "accounts/42", "42/primary", "http", "grpc"}) {
    for (const bool stateful : {false, true}) {
      for (const Resource& r : ResourcesOf(MakeRoute(id, 0.5, stateful), options)) {
        const auto [it, added] = owners.emplace(std::pair(r.type, r.name), id);
        EXPECT_EQ(it->second, id) << r.name;
      }
    }
  }
}

TEST(CheckRoute, NamesWhatIsWrong) {
  const auto why = [](const router::Route& route) {
    return std::string(router::CheckRoute(route).message());
  };
  EXPECT_TRUE(router::CheckRoute(MakeRoute("42", 0.1)).ok());
  router::Route route = MakeRoute("42", 1.5);
  EXPECT_THAT(why(route), HasSubstr("split = 1.5: must be 0 .. 1"));
  route.split = std::nan("");
  EXPECT_THAT(why(route), HasSubstr("must be 0 .. 1"));
  route = MakeRoute("42", 0.5);
  route.shed = 1.5;
  EXPECT_THAT(why(route), HasSubstr("shed = 1.5: must be 0 .. 1"));
  route = MakeRoute("42", 0.5);
  route.shadow.address = {};
  EXPECT_THAT(why(route), HasSubstr("shadow has no address"));
  route = MakeRoute("42", 0.5);
  route.primary.address.host = "example.com";
  EXPECT_THAT(why(route), HasSubstr("\"example.com\": must be an IP address"));
  route = MakeRoute("42", 0.5);
  route.shadow.address = route.primary.address;
  EXPECT_THAT(why(route), HasSubstr("both sides"));
  route = MakeRoute("42", 0);
  route.primary.address = route.shadow.address = {};
  EXPECT_THAT(why(route), HasSubstr("neither side"));
  route = MakeRoute("42", 0);
  route.primary.address.grpc_port = 70'000;
  EXPECT_THAT(why(route), HasSubstr("port = 70000"));
}

}  // namespace
}  // namespace foreshadow::xds
