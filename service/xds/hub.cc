#include "service/xds/hub.h"

#include <fmt/core.h>
#include <sched.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <atomic>
#include <chrono>
#include <thread>
#include <utility>
#include <vector>

#include "service/router/check.h"

namespace foreshadow::xds {
namespace {

int64_t NowMs() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

std::string NameOf(const router::Client& client) {
  return fmt::format("{} at {}", client.node.empty() ? "a client" : client.node, client.peer);
}

// This thread goes before all of normal priority; those that it starts do not. Without the right to
// that (CAP_SYS_NICE, RLIMIT_RTPRIO) it goes on as it is.
void HurryThisThread() {
  sched_param first{};
  first.sched_priority = sched_get_priority_min(SCHED_FIFO);
  sched_setscheduler(0, SCHED_FIFO | SCHED_RESET_ON_FORK, &first);
}

}  // namespace

void Hub::Update(const router::RouteUpdate& update) {
  const std::lock_guard lock(mutex_);
  router::RouteUpdate good = {{}, update.removed, update.complete};
  for (const router::Route& route : update.changed) {
    if (const absl::Status status = router::CheckRoute(route); !status.ok()) {
      refused_routes_[route.account] = std::string(status.message());
      spdlog::error("{}: it stays as it was", std::string(status.message()));
      continue;
    }
    refused_routes_.erase(route.account);
    good.changed.push_back(route);
  }
  Tell(snapshot_.Update(good));
}

// A write is a system call, most of what it takes to tell a client: cores share them, and one that
// has other work too takes fewer. Where there are many, the last is told before the answers of the
// first are looked at. The lock is held for all tellers.
void Hub::Tell(const Changed& changed) {
  const int64_t now_ms = NowMs();
  std::atomic<size_t> next = 0;
  const auto tell = [&] {
    Encodings encodings;
    for (size_t i = next++; i < streams_.size(); i = next++) {
      streams_[i]->subscriber.Mark(changed, snapshot_);
      Pump(*streams_[i], now_ms, encodings);
    }
  };
  const size_t cores = std::max<size_t>(1, std::thread::hardware_concurrency());
  const size_t tellers = std::min({streams_.size() / kStreamsATeller, cores, kTellersMax});
  if (tellers <= 1) return tell();
  std::vector<std::jthread> threads;
  for (size_t t = 0; t < tellers; ++t) {
    threads.emplace_back([&] {
      HurryThisThread();
      tell();
    });
  }
}

void Hub::Add(Stream* stream, const std::string& peer) {
  const std::lock_guard lock(mutex_);
  stream->client.peer = peer;
  stream->client.since_ms = NowMs();
  streams_.push_back(stream);
}

void Hub::Remove(Stream* stream) {
  const std::lock_guard lock(mutex_);
  const int64_t now_ms = NowMs();
  router::Client client = View(*stream, now_ms);
  client.connected = false;
  client.since_ms = now_ms;
  std::erase(streams_, stream);
  if (!client.node.empty()) gone_.push_back(std::move(client));
  ForgetGone(now_ms);
}

void Hub::Take(Stream& stream, const Request& request, const std::string& node,
               const std::string& agent) {
  const std::lock_guard lock(mutex_);
  if (stream.client.node.empty() && !node.empty()) {
    stream.client.node = node;
    stream.client.agent = agent;
    std::erase_if(gone_, [&](const router::Client& gone) { return gone.node == node; });
  }
  if (!request.refused.empty()) {
    spdlog::warn("{} refused {}: {}", NameOf(stream.client), TypeUrl(request.type),
                 request.refused);
  }
  stream.subscriber.Take(request, snapshot_);
  Pump(stream, NowMs(), encodings_);
}

bool Hub::Written(Stream& stream, bool ok) {
  const std::lock_guard lock(mutex_);
  stream.writing = false;
  if (stream.ended) return true;
  stream.broken = !ok;
  Pump(stream, NowMs(), encodings_);
  return false;
}

bool Hub::End(Stream& stream) {
  const std::lock_guard lock(mutex_);
  stream.ended = true;
  return !stream.writing;
}

// One answer at a time: what changes while a slow client is being told is in the next one.
void Hub::Pump(Stream& stream, int64_t now_ms, Encodings& encodings) {
  if (stream.writing || stream.broken || stream.ended) return;
  auto response = stream.subscriber.Next(snapshot_, now_ms);
  if (!response.has_value()) return;
  Encoding& last = encodings[stream.subscriber.delta()];
  if (last.response != response) {
    last.bytes = stream.Encode(*response);
    last.response = std::move(response);
  }
  stream.bytes = last.bytes;
  stream.writing = true;
  stream.Write();
}

router::Client Hub::View(const Stream& stream, int64_t now_ms) const {
  router::Client client = stream.client;
  const int64_t since_ms = stream.subscriber.behind_since_ms();
  client.behind_ms = since_ms == 0 ? 0 : std::max<int64_t>(1, now_ms - since_ms);
  client.refused = stream.subscriber.refused();
  return client;
}

void Hub::ForgetGone(int64_t now_ms) {
  while (!gone_.empty() &&
         (gone_.size() > kGoneClientsMax || now_ms - gone_.front().since_ms > kGoneShownMs)) {
    gone_.pop_front();
  }
}

std::vector<router::Client> Hub::Clients() const {
  const std::lock_guard lock(mutex_);
  const int64_t now_ms = NowMs();
  std::vector<router::Client> clients;
  for (const Stream* stream : streams_) clients.push_back(View(*stream, now_ms));
  for (const router::Client& client : gone_) {
    if (now_ms - client.since_ms <= kGoneShownMs) clients.push_back(client);
  }
  return clients;
}

router::Reach Hub::ReachOf(const std::string& account) const {
  const std::lock_guard lock(mutex_);
  router::Reach reach;
  const router::Route* route = snapshot_.RouteOf(account);
  if (route == nullptr) return reach;
  for (const Stream* stream : streams_) {
    const auto follows = [&](Type type, const std::string& name) {
      return stream->subscriber.Follows(type, name, snapshot_);
    };
    if (!follows(Type::kListener, ListenerName(account)) && !follows(Type::kCluster, account) &&
        !follows(Type::kCluster, account + " " + route->primary.instance_id) &&
        !follows(Type::kCluster, account + " " + route->shadow.instance_id)) {
      continue;
    }
    ++reach.clients_count;
    if (stream->subscriber.behind()) ++reach.behind_count;
  }
  return reach;
}

std::vector<std::string> Hub::Alerts() const {
  std::vector<std::string> alerts;
  for (const router::Client& client : Clients()) {
    if (!client.refused.empty()) {
      alerts.push_back(fmt::format("{} refuses the newest routes and stays with the last good: {}",
                                   NameOf(client), client.refused));
    } else if (client.connected && client.behind_ms > kBehindMs) {
      alerts.push_back(fmt::format("{} has not taken the newest routes", NameOf(client)));
    }
  }
  const std::lock_guard lock(mutex_);
  for (const auto& [account, why] : refused_routes_) {
    alerts.push_back(fmt::format("{}: it stays as it was", why));
  }
  return alerts;
}

}  // namespace foreshadow::xds
