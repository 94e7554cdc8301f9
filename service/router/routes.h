// Where the traffic of each account goes, as plain data: what the control plane hands to whatever
// moves the traffic.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace foreshadow::router {

// Of a side's address; "" = it does not speak that.
struct Address {
  std::string host;       // an IP address
  int32_t grpc_port = 0;  // 0 = none
  int32_t http_port = 0;  // 0 = none

  bool known() const { return !host.empty() && (grpc_port > 0 || http_port > 0); }
  bool operator==(const Address&) const = default;
};

// One instance that serves an account.
struct Side {
  std::string instance_id;
  std::string cell;
  std::string zone;
  Address address;

  bool operator==(const Side&) const = default;
};

// The primary takes 1 - split, the shadow the split. A side without an address takes nothing; at
// least one has one.
struct Route {
  std::string account;
  Side primary;
  Side shadow;
  double split = 0;  // 0..1
  // Of all requests, to be refused at once and not repeated, 0..1. A router that cannot leaves it.
  double shed = 0;
  // The data plane must not send to the other side by itself, nor repeat a call that may have been
  // carried out.
  bool stateful = false;
  // Raised at each hand-over: an instance refuses the writes of an older one.
  uint64_t epoch = 1;

  bool operator==(const Route&) const = default;
};

// What changed; routes that are not named stay.
struct RouteUpdate {
  std::vector<Route> changed;
  std::vector<std::string> removed;  // accounts
  // From now on an account without a route has none; until the first such update it may be that
  // its instances have not been heard of since the start.
  bool complete = false;
};

// Of one program that follows the routes.
struct Client {
  std::string node;   // as it names itself
  std::string agent;  // what it is, "gRPC C-core 1.51.1"
  std::string peer;   // address
  bool connected = true;
  int64_t since_ms = 0;   // connected, or cut off, since
  int64_t behind_ms = 0;  // how long the newest routes have waited for its word; 0 = it has them
  std::string refused;    // what it said of the newest routes it refused; "" = nothing
};

// How far a change of one account's route has come.
struct Reach {
  int32_t clients_count = 0;  // that follow this account
  int32_t behind_count = 0;   // of these, not yet in possession of the newest
};

}  // namespace foreshadow::router
