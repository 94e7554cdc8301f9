// One client's side of the xDS protocol, without a socket: what it follows, what it was sent, what
// it said of that. Both variants: state of the world, and delta. Not thread-safe.
//
// Protocol: https://www.envoyproxy.io/docs/envoy/latest/api-docs/xds_protocol
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <optional>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "service/xds/snapshot.h"

namespace foreshadow::xds {

// A DiscoveryRequest or DeltaDiscoveryRequest, as far as it matters here.
struct Request {
  Type type = Type::kCluster;
  std::string nonce;                      // of the answer it is about; "" = of none
  std::string refused;                    // why the client does not take that answer; "" = it does
  std::vector<std::string> names;         // state of the world: all it wants; delta: more
  std::vector<std::string> unsubscribed;  // delta
  std::vector<std::pair<std::string, std::string>> has;  // delta, first: names and versions
};

struct Response {
  struct Item {
    std::string name;
    Held held;
    bool operator==(const Item&) const = default;
  };
  Type type = Type::kCluster;
  std::string version;
  std::string nonce;
  std::vector<Item> items;
  std::vector<std::string> removed;  // delta
  bool operator==(const Response&) const = default;
};

class Subscriber {
 public:
  explicit Subscriber(bool delta) : delta_(delta) {}
  bool delta() const { return delta_; }

  void Take(const Request& request, const Snapshot& snapshot);
  // That these changed; those it does not follow are passed over.
  void Mark(const Changed& changed, const Snapshot& snapshot);
  // What to send now; nothing when it has all there is. Call it until then.
  std::optional<Response> Next(const Snapshot& snapshot, int64_t now_ms);

  // True while it has not said that it took all that it should have.
  bool behind() const;
  int64_t behind_since_ms() const;  // 0 = it is not
  // What it said of the newest answer that it refused; "" = it took the newest ones.
  std::string refused() const;
  bool Follows(Type type, const std::string& name, const Snapshot& snapshot) const;

 private:
  struct OfType {
    bool asked = false;
    bool wildcard = false;
    bool owes_answer = false;  // to a first request, even if there is nothing to tell
    std::set<std::string> names;
    std::map<std::string, std::string> sent;  // name -> version
    std::set<std::string> dirty;              // followed, and perhaps not what it has
    uint64_t nonce = 0;                       // of the newest answer; 0 = none
    uint64_t taken_nonce = 0;                 // newest that it took
    int64_t sent_ms = 0;                      // of the newest answer
    std::string refused;
  };

  bool Wants(const OfType& of, Type type, const std::string& name, const Snapshot& snapshot) const;
  void Follow(OfType& of, const Request& request, const Snapshot& snapshot);
  void FollowOnly(OfType& of, const Request& request, const Snapshot& snapshot);
  void FollowAll(OfType& of, Type type, const Snapshot& snapshot);
  bool MustWait(Type type, const OfType& of, const Snapshot& snapshot) const;
  void SendAgain(Type type, const std::string& name);
  std::optional<Response> NextOf(Type type, OfType& of, const Snapshot& snapshot);

  bool delta_;
  std::array<OfType, kTypes> types_;
};

}  // namespace foreshadow::xds
