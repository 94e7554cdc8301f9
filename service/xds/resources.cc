#include "service/xds/resources.h"

#include <fmt/core.h>

#include <cmath>

#include "envoy/config/cluster/v3/cluster.pb.h"
#include "envoy/config/endpoint/v3/endpoint.pb.h"
#include "envoy/config/listener/v3/listener.pb.h"
#include "envoy/config/route/v3/route.pb.h"
#include "envoy/extensions/filters/http/router/v3/router.pb.h"
#include "envoy/extensions/filters/network/http_connection_manager/v3/http_connection_manager.pb.h"

namespace foreshadow::xds {
namespace {

namespace core = envoy::config::core::v3;
namespace hcm = envoy::extensions::filters::network::http_connection_manager::v3;
using envoy::config::cluster::v3::Cluster;
using envoy::config::endpoint::v3::ClusterLoadAssignment;
using envoy::config::listener::v3::Listener;
using envoy::config::route::v3::RetryPolicy;
using envoy::config::route::v3::RouteAction;
using envoy::config::route::v3::RouteConfiguration;
using router::Route;
using router::Side;

constexpr const char* kEnvoyName = "http";
constexpr const char* kAccountHeader = "x-foreshadow-account";
constexpr const char* kEpochHeader = "x-foreshadow-epoch";
constexpr int64_t kConnectTimeoutMs = 1'000;
constexpr int64_t kCallTimeoutMs = 15'000;
constexpr int kRetriesMax = 4;  // gRPC makes no more
// Envoy draws again while it draws a host that has failed: one with a share of 5 % is missed so
// often once in 28,000 calls.
constexpr int kHostDrawsMax = 200;
constexpr int64_t kRetryBackOffMs = 10;
constexpr int64_t kRetryBackOffMaxMs = 250;
// Both data planes stop at a thousand by default, which is less than one dead side in a busy
// moment.
constexpr uint32_t kConcurrentMax = 100'000;
// gRPC's ring has at most 4,096 entries; with as many the share of a side is right to about 1/64.
constexpr uint64_t kRingSize = 4'096;
// Of a side that answers with errors only: out for seconds, and never both at once.
constexpr int64_t kOutlierIntervalMs = 1'000;
constexpr int64_t kEjectionMs = 5'000;
constexpr int kEjectionPercentMax = 50;
constexpr int kFailurePercent = 85;
constexpr int kFailureRequestsMin = 20;
constexpr int kGatewayFailures = 5;
constexpr double kMillion = 1e6;
constexpr int64_t kIdleHealthIntervalMs = 60'000;  // of a cluster without traffic

void Set(google::protobuf::Duration* duration, int64_t ms) {
  duration->set_seconds(ms / 1'000);
  duration->set_nanos(static_cast<int32_t>(ms % 1'000 * 1'000'000));
}

void UseAds(core::ConfigSource* source) {
  source->mutable_ads();
  source->set_resource_api_version(core::V3);
}

template <typename Message>
Resource Make(Type type, const std::string& name, const Message& message, bool in_wildcard) {
  return {type, name, message.SerializeAsString(), in_wildcard};
}

// For whom a resource is.
enum class Plane { kGrpc, kEnvoy };

// Of its cluster. Ids of accounts hold no spaces, so no two names of clusters are the same.
std::string ClusterOf(Plane plane, const std::string& account) {
  return plane == Plane::kGrpc ? "grpc " + account : account;
}

int32_t PortOf(Plane plane, const Side& side) {
  if (side.address.host.empty()) return 0;
  return plane == Plane::kGrpc ? side.address.grpc_port : side.address.http_port;
}

struct Weights {
  uint32_t primary = 0;
  uint32_t shadow = 0;
};

// A side that cannot be reached on that plane takes nothing.
Weights WeightsOf(Plane plane, const Route& route, uint32_t sum) {
  if (PortOf(plane, route.shadow) == 0) return {sum, 0};
  if (PortOf(plane, route.primary) == 0) return {0, sum};
  const auto shadow = static_cast<uint32_t>(std::lround(route.split * sum));
  return {sum - shadow, shadow};
}

void AddLocality(Plane plane, const Side& side, uint32_t weight, ClusterLoadAssignment& endpoints) {
  if (weight == 0 || PortOf(plane, side) == 0) return;  // neither data plane knows a weight of 0
  auto* locality = endpoints.add_endpoints();
  locality->mutable_locality()->set_region(side.zone);
  locality->mutable_locality()->set_zone(side.cell);
  locality->mutable_locality()->set_sub_zone(side.instance_id);  // load reports name it
  locality->mutable_load_balancing_weight()->set_value(weight);
  auto* endpoint = locality->add_lb_endpoints();
  endpoint->set_health_status(core::HEALTHY);
  auto* address = endpoint->mutable_endpoint()->mutable_address()->mutable_socket_address();
  address->set_address(side.address.host);
  address->set_port_value(static_cast<uint32_t>(PortOf(plane, side)));
}

// Neither data plane repeats a call that it dropped.
void Drop(double share, ClusterLoadAssignment& endpoints) {
  if (share <= 0) return;
  auto* drop = endpoints.mutable_policy()->add_drop_overloads();
  drop->set_category("foreshadow");
  drop->mutable_drop_percentage()->set_numerator(
      static_cast<uint32_t>(std::lround(share * kMillion)));
  drop->mutable_drop_percentage()->set_denominator(envoy::type::v3::FractionalPercent::MILLION);
}

void SetOutliers(Cluster& cluster) {
  auto* outliers = cluster.mutable_outlier_detection();
  Set(outliers->mutable_interval(), kOutlierIntervalMs);
  Set(outliers->mutable_base_ejection_time(), kEjectionMs);
  outliers->mutable_max_ejection_percent()->set_value(kEjectionPercentMax);
  outliers->mutable_enforcing_success_rate()->set_value(0);  // needs more hosts than there are
  outliers->mutable_failure_percentage_threshold()->set_value(kFailurePercent);
  outliers->mutable_enforcing_failure_percentage()->set_value(100);
  outliers->mutable_failure_percentage_minimum_hosts()->set_value(2);
  outliers->mutable_failure_percentage_request_volume()->set_value(kFailureRequestsMin);
  outliers->mutable_consecutive_gateway_failure()->set_value(kGatewayFailures);
  outliers->mutable_enforcing_consecutive_gateway_failure()->set_value(100);
  outliers->mutable_enforcing_consecutive_5xx()->set_value(0);
}

void SetHealthCheck(const ResourceOptions& options, Cluster& cluster) {
  if (options.health_interval_ms == 0) return;
  auto* check = cluster.add_health_checks();
  Set(check->mutable_timeout(), kConnectTimeoutMs);
  Set(check->mutable_interval(), options.health_interval_ms);
  Set(check->mutable_no_traffic_interval(),
      std::max(options.health_interval_ms, kIdleHealthIntervalMs));
  check->mutable_unhealthy_threshold()->set_value(2);
  check->mutable_healthy_threshold()->set_value(1);
  check->mutable_http_health_check()->set_path("/healthz");
}

Cluster MakeCluster(Plane plane, const std::string& name, bool both_sides,
                    const ResourceOptions& options) {
  Cluster cluster;
  cluster.set_name(name);
  cluster.set_type(Cluster::EDS);
  UseAds(cluster.mutable_eds_cluster_config()->mutable_eds_config());
  Set(cluster.mutable_connect_timeout(), kConnectTimeoutMs);
  auto* limits = cluster.mutable_circuit_breakers()->add_thresholds();
  limits->mutable_max_connections()->set_value(kConcurrentMax);
  limits->mutable_max_pending_requests()->set_value(kConcurrentMax);
  limits->mutable_max_requests()->set_value(kConcurrentMax);
  limits->mutable_max_retries()->set_value(kConcurrentMax);
  if (plane == Plane::kGrpc) cluster.mutable_lrs_server()->mutable_self();
  if (plane == Plane::kEnvoy) SetHealthCheck(options, cluster);
  if (!both_sides) return cluster;
  cluster.mutable_common_lb_config()->mutable_locality_weighted_lb_config();
  SetOutliers(cluster);
  if (!options.sticky_header.empty()) {
    cluster.set_lb_policy(Cluster::RING_HASH);
    auto* ring = cluster.mutable_ring_hash_lb_config();
    ring->mutable_minimum_ring_size()->set_value(kRingSize);
    ring->mutable_maximum_ring_size()->set_value(kRingSize);
  }
  return cluster;
}

// A stateless call may be repeated whenever it failed on the way, unless the operator says no; a
// stateful one only if it never reached the instance.
void SetRetries(bool stateful, const ResourceOptions& options, RetryPolicy& retries) {
  retries.set_retry_on(options.retry_failed && !stateful
                           ? "connect-failure,refused-stream,reset,unavailable"
                           : "connect-failure,refused-stream");
  retries.mutable_num_retries()->set_value(kRetriesMax);
  auto* back_off = retries.mutable_retry_back_off();
  Set(back_off->mutable_base_interval(), kRetryBackOffMs);
  Set(back_off->mutable_max_interval(), kRetryBackOffMaxMs);
  if (stateful) return;  // a cluster of one
  // Envoy: a repeated call goes to a host that has not had it yet.
  retries.set_host_selection_retry_max_attempts(kHostDrawsMax);
  auto* other_host = retries.add_retry_host_predicate();
  other_host->set_name("envoy.retry_host_predicates.previous_hosts");
  other_host->mutable_typed_config()->set_type_url(
      "type.googleapis.com/envoy.extensions.retry.host.previous_hosts.v3.PreviousHostsPredicate");
}

void SetAction(bool stateful, const ResourceOptions& options, RouteAction& action) {
  Set(action.mutable_timeout(), kCallTimeoutMs);
  SetRetries(stateful, options, *action.mutable_retry_policy());
  if (options.sticky_header.empty()) return;
  action.add_hash_policy()->mutable_header()->set_header_name(options.sticky_header);
}

// Of one side of a stateful account. By the instance, not by its role: one that becomes the primary
// keeps its cluster, and a client never draws one that is just being taken away.
std::string ClusterOf(Plane plane, const std::string& account, const Side& side) {
  return fmt::format("{} {}", ClusterOf(plane, account), side.instance_id);
}

// The clusters of a stateful account by the weights of the split.
void SetWeighted(Plane plane, const Route& route, RouteAction& action) {
  const Weights weights = WeightsOf(plane, route, kClusterWeightsSum);
  for (const auto& [side, weight] :
       {std::pair{&route.primary, weights.primary}, std::pair{&route.shadow, weights.shadow}}) {
    if (weight == 0) continue;
    auto* cluster = action.mutable_weighted_clusters()->add_clusters();
    cluster->set_name(ClusterOf(plane, route.account, *side));
    cluster->mutable_weight()->set_value(weight);
  }
}

hcm::HttpConnectionManager MakeManager(const std::string& route_name) {
  hcm::HttpConnectionManager manager;
  manager.set_stat_prefix("foreshadow");
  manager.mutable_rds()->set_route_config_name(route_name);
  UseAds(manager.mutable_rds()->mutable_config_source());
  auto* filter = manager.add_http_filters();
  filter->set_name("envoy.filters.http.router");
  filter->mutable_typed_config()->PackFrom(envoy::extensions::filters::http::router::v3::Router());
  return manager;
}

void AddClusters(Plane plane, const Route& route, const ResourceOptions& options,
                 std::vector<Resource>& resources) {
  const bool wildcard = plane == Plane::kEnvoy;
  const std::string name = ClusterOf(plane, route.account);
  const Weights weights = WeightsOf(plane, route, kLocalityWeightsSum);
  const auto add = [&](const std::string& cluster, bool both, uint32_t primary, uint32_t shadow) {
    resources.push_back(
        Make(Type::kCluster, cluster, MakeCluster(plane, cluster, both, options), wildcard));
    ClusterLoadAssignment endpoints;
    endpoints.set_cluster_name(cluster);
    Drop(route.shed, endpoints);
    AddLocality(plane, route.primary, primary, endpoints);
    AddLocality(plane, route.shadow, shadow, endpoints);
    resources.push_back(Make(Type::kEndpoints, cluster, endpoints, wildcard));
  };
  if (!route.stateful) {
    add(name, true, weights.primary, weights.shadow);
    return;
  }
  const auto add_side = [&](const Side& side, uint32_t primary, uint32_t shadow) {
    if (PortOf(plane, side) == 0) return;
    add(ClusterOf(plane, route.account, side), false, primary, shadow);
  };
  add_side(route.primary, 1, 0);
  add_side(route.shadow, 0, 1);
}

void AddGrpcListener(const Route& route, const ResourceOptions& options,
                     std::vector<Resource>& resources) {
  const std::string name = ListenerName(route.account);
  Listener listener;
  listener.set_name(name);
  listener.mutable_api_listener()->mutable_api_listener()->PackFrom(MakeManager(name));
  resources.push_back(Make(Type::kListener, name, listener, false));

  RouteConfiguration routes;
  routes.set_name(name);
  auto* host = routes.add_virtual_hosts();
  host->set_name(name);
  host->add_domains("*");
  auto* entry = host->add_routes();
  entry->mutable_match()->set_prefix("");
  RouteAction& action = *entry->mutable_route();
  SetAction(route.stateful, options, action);
  if (route.stateful) {
    SetWeighted(Plane::kGrpc, route, action);
  } else {
    action.set_cluster(ClusterOf(Plane::kGrpc, route.account));
  }
  resources.push_back(Make(Type::kRoute, name, routes, false));
}

bool Reaches(Plane plane, const Route& route) {
  return PortOf(plane, route.primary) != 0 || PortOf(plane, route.shadow) != 0;
}

}  // namespace

const char* TypeUrl(Type type) {
  constexpr const char* kUrls[kTypes] = {
      "type.googleapis.com/envoy.config.cluster.v3.Cluster",
      "type.googleapis.com/envoy.config.endpoint.v3.ClusterLoadAssignment",
      "type.googleapis.com/envoy.config.listener.v3.Listener",
      "type.googleapis.com/envoy.config.route.v3.RouteConfiguration"};
  return kUrls[static_cast<int>(type)];
}

std::string ListenerName(const std::string& account) { return "accounts/" + account; }

std::vector<Resource> ResourcesOf(const Route& route, const ResourceOptions& options) {
  std::vector<Resource> resources;
  if (Reaches(Plane::kGrpc, route)) {
    AddClusters(Plane::kGrpc, route, options, resources);
    AddGrpcListener(route, options, resources);
  }
  if (!options.envoy_listen.empty() && Reaches(Plane::kEnvoy, route)) {
    AddClusters(Plane::kEnvoy, route, options, resources);
  }
  return resources;
}

std::vector<Resource> SharedResources(std::span<const Route* const> stateful,
                                      const ResourceOptions& options) {
  if (options.envoy_listen.empty()) return {};
  Listener listener;
  listener.set_name(kEnvoyName);
  auto* address = listener.mutable_address()->mutable_socket_address();
  const size_t colon = options.envoy_listen.rfind(':');
  address->set_address(options.envoy_listen.substr(0, colon));
  address->set_port_value(
      static_cast<uint32_t>(std::stoul(options.envoy_listen.substr(colon + 1))));
  auto* filter = listener.add_filter_chains()->add_filters();
  filter->set_name("envoy.filters.network.http_connection_manager");
  filter->mutable_typed_config()->PackFrom(MakeManager(kEnvoyName));

  RouteConfiguration routes;
  routes.set_name(kEnvoyName);
  auto* host = routes.add_virtual_hosts();
  host->set_name(kEnvoyName);
  host->add_domains("*");
  for (const Route* route : stateful) {
    if (!Reaches(Plane::kEnvoy, *route)) continue;
    auto* entry = host->add_routes();
    entry->mutable_match()->set_prefix("/");
    auto* header = entry->mutable_match()->add_headers();
    header->set_name(kAccountHeader);
    header->mutable_string_match()->set_exact(route->account);
    SetAction(true, options, *entry->mutable_route());
    SetWeighted(Plane::kEnvoy, *route, *entry->mutable_route());
    // By which an instance tells the writes of an older route (docs/routing.md).
    auto* epoch = entry->add_request_headers_to_add();
    epoch->mutable_header()->set_key(kEpochHeader);
    epoch->mutable_header()->set_value(std::to_string(route->epoch));
    epoch->set_append_action(core::HeaderValueOption::OVERWRITE_IF_EXISTS_OR_ADD);
  }
  auto* entry = host->add_routes();
  entry->mutable_match()->set_prefix("/");
  SetAction(false, options, *entry->mutable_route());
  entry->mutable_route()->set_cluster_header(kAccountHeader);
  return {Make(Type::kListener, kEnvoyName, listener, true),
          Make(Type::kRoute, kEnvoyName, routes, true)};
}

}  // namespace foreshadow::xds
