// The xDS resources that carry a route: pure, no socket, no state. One route gives resources for
// gRPC's own client (which asks by name) and for Envoy (which asks for all there is).
//
//   gRPC:  listener accounts/ID -> route accounts/ID -> cluster and endpoints "grpc ID"
//   Envoy: listener http -> route http, by the header x-foreshadow-account -> cluster and endpoints
//   ID
//
// A stateless account has one cluster with two localities whose weights are the split, so that the
// data plane goes to the other side by itself when one dies, and repeats calls. A stateful account
// has a cluster a side ("NAME primary", "NAME shadow") and the split is the weight of the clusters:
// a call never reaches a side that was not drawn for it.
#pragma once

#include <array>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "service/router/routes.h"

namespace foreshadow::xds {

// In the order in which a data plane wants to be told: what is pointed at comes first.
enum class Type : uint8_t { kCluster, kEndpoints, kListener, kRoute };
inline constexpr int kTypes = 4;

const char* TypeUrl(Type type);

struct Resource {
  Type type = Type::kCluster;
  std::string name;
  std::string bytes;         // serialized message of that type
  bool in_wildcard = false;  // part of the answer to "all there is"
};

struct ResourceOptions {
  std::string envoy_listen;   // IP:port that Envoy listens on; "" = nothing for Envoy
  std::string sticky_header;  // requests with the same value of it go to the same side; "" = none
  int64_t health_interval_ms = 5'000;  // between two checks of an instance by Envoy; 0 = none
  bool retry_failed = true;  // stateless calls that failed on the way, or only what never left
};

// Weights of two localities sum to this, those of two clusters to the other: gRPC before 1.53 takes
// no other sum for them.
inline constexpr uint32_t kLocalityWeightsSum = 10'000;
inline constexpr uint32_t kClusterWeightsSum = 100;

// Of one account.
std::vector<Resource> ResourcesOf(const router::Route& route, const ResourceOptions& options);

// What Envoy needs besides: the listener, and the route of all accounts. `stateful` are routes that
// need an entry of their own there; the others take none, however many they are.
std::vector<Resource> SharedResources(std::span<const router::Route* const> stateful,
                                      const ResourceOptions& options);

// What a gRPC client of the account asks for: xds:///accounts/ID.
std::string ListenerName(const std::string& account);

}  // namespace foreshadow::xds
