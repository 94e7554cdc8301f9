// What all streams of the control plane share: the snapshot and who follows it. Thread-safe; one
// lock, held by an update until all who follow are told: what clients answer meanwhile waits for
// it, so that gRPC's threads do not contend with those that tell.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <array>
#include <cstdint>
#include <deque>
#include <mutex>
#include <optional>
#include <string>
#include <unordered_map>
#include <vector>

#include "service/router/traffic_router.h"
#include "service/xds/snapshot.h"
#include "service/xds/subscriber.h"

namespace foreshadow::xds {

// Of what is kept of clients that went away; older ones are forgotten first.
inline constexpr size_t kGoneClientsMax = 1'000;
// A client that was cut off reconnects within seconds; one that ended is shown for so long.
inline constexpr int64_t kGoneShownMs = 10 * 60'000;
// Longer than that without its word on the newest routes, and an alert names it.
inline constexpr int64_t kBehindMs = 5'000;

// Threads that tell of an update, and streams that are worth one: starting it costs as much as
// telling a few.
inline constexpr size_t kTellersMax = 8;
inline constexpr size_t kStreamsATeller = 64;

// One client's connection.
class Stream {
 public:
  explicit Stream(bool delta) : subscriber(delta) {}
  virtual ~Stream() = default;
  // The same for all streams of one kind, delta or state of the world.
  virtual grpc::ByteBuffer Encode(const Response& response) const = 0;
  // Begins to write `bytes`; does not wait for it, nor call the hub.
  virtual void Write() = 0;

  Subscriber subscriber;
  grpc::ByteBuffer bytes;  // of the newest answer
  router::Client client;
  bool writing = false;
  bool broken = false;  // a write has failed
  bool ended = false;   // the client is done
};

// An answer as its bytes, which all clients in a row that are told the same share.
struct Encoding {
  std::optional<Response> response;
  grpc::ByteBuffer bytes;
};
using Encodings = std::array<Encoding, 2>;  // the newest: state of the world, delta

class Hub {
 public:
  explicit Hub(Snapshot snapshot) : snapshot_(std::move(snapshot)) {}

  void Update(const router::RouteUpdate& update);
  std::vector<router::Client> Clients() const;
  router::Reach ReachOf(const std::string& account) const;
  std::vector<std::string> Alerts() const;

  // The stream stays valid until Remove returns.
  void Add(Stream* stream, const std::string& peer);
  void Remove(Stream* stream);
  // `node` and `agent` are in a stream's first request, "" in the later ones.
  void Take(Stream& stream, const Request& request, const std::string& node,
            const std::string& agent);
  // The stream's write has ended; after a failed one nothing is sent any more. True: the client is
  // done and was waited for, so the call may be finished.
  bool Written(Stream& stream, bool ok);
  // The client is done. False: a write is under way, and Written will tell when it has ended.
  bool End(Stream& stream);

 private:
  void Tell(const Changed& changed);
  void Pump(Stream& stream, int64_t now_ms, Encodings& encodings);
  router::Client View(const Stream& stream, int64_t now_ms) const;
  void ForgetGone(int64_t now_ms);

  mutable std::mutex mutex_;
  Snapshot snapshot_;
  Encodings encodings_;
  std::vector<Stream*> streams_;
  std::deque<router::Client> gone_;  // oldest first
  std::unordered_map<std::string, std::string>
      refused_routes_;  // by account: why it stays as it was
};

}  // namespace foreshadow::xds
