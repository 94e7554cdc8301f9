#include "service/xds/subscriber.h"

#include <algorithm>
#include <utility>

namespace foreshadow::xds {
namespace {

constexpr const char* kAll = "*";
constexpr uint64_t kAnswersOfUpdate = 1'000'000;  // to one client, of one type, between two updates

// Of these a client may ask for all there is, and a state-of-the-world answer holds all it follows:
// what is missing there does not exist.
bool IsWhole(Type type) { return type == Type::kCluster || type == Type::kListener; }

}  // namespace

void Subscriber::Take(const Request& request, const Snapshot& snapshot) {
  OfType& of = types_[static_cast<int>(request.type)];
  if (!request.nonce.empty()) {
    const bool about_newest = of.nonce > 0 && request.nonce == std::to_string(of.nonce);
    // State of the world: another answer is on its way, and the client will speak of that one.
    if (!about_newest && !delta_) return;
    if (about_newest) {
      of.refused = request.refused;
      if (request.refused.empty()) of.taken_nonce = of.nonce;
    }
  }
  const bool first = !of.asked;
  of.asked = true;
  if (delta_) {
    if (first) {
      of.sent.insert(request.has.begin(), request.has.end());
      of.owes_answer = true;
    }
    Follow(of, request, snapshot);
    if (first && IsWhole(request.type) && request.names.empty())
      FollowAll(of, request.type, snapshot);
  } else {
    FollowOnly(of, request, snapshot);
    if (first) {
      of.owes_answer = true;
      if (IsWhole(request.type) && request.names.empty()) FollowAll(of, request.type, snapshot);
    }
  }
}

void Subscriber::Follow(OfType& of, const Request& request, const Snapshot& snapshot) {
  for (const std::string& name : request.unsubscribed) {
    if (name == kAll) of.wildcard = false;
    of.names.erase(name);
    of.sent.erase(name);
    of.dirty.erase(name);
  }
  for (const std::string& name : request.names) {
    if (name == kAll) {
      FollowAll(of, request.type, snapshot);
      continue;
    }
    of.names.insert(name);
    of.dirty.insert(name);
  }
}

// The request holds all that it follows: others are no longer asked for.
void Subscriber::FollowOnly(OfType& of, const Request& request, const Snapshot& snapshot) {
  std::set<std::string> names(request.names.begin(), request.names.end());
  const bool all = names.erase(kAll) > 0;
  if (all && !of.wildcard) FollowAll(of, request.type, snapshot);
  // Whoever named something no longer follows all there is.
  if (!all && !names.empty()) of.wildcard = false;
  for (const std::string& name : names) {
    if (!of.names.contains(name)) of.dirty.insert(name);
  }
  of.names = std::move(names);
  const auto left = [&](const std::string& name) {
    return !of.names.contains(name) && !Wants(of, request.type, name, snapshot);
  };
  std::erase_if(of.dirty, left);
  std::erase_if(of.sent, [&](const auto& entry) { return left(entry.first); });
}

void Subscriber::FollowAll(OfType& of, Type type, const Snapshot& snapshot) {
  of.wildcard = true;
  for (const auto& [name, held] : snapshot.all(type)) {
    if (held.in_wildcard) of.dirty.insert(name);
  }
  // What it had of an earlier stream and is no more.
  for (const auto& [name, version] : of.sent) {
    if (snapshot.Find(type, name) == nullptr) of.dirty.insert(name);
  }
}

bool Subscriber::Wants(const OfType& of, Type type, const std::string& name,
                       const Snapshot& snapshot) const {
  if (of.names.contains(name)) return true;
  if (!of.wildcard) return false;
  const Held* held = snapshot.Find(type, name);
  return held != nullptr ? held->in_wildcard : of.sent.contains(name);
}

void Subscriber::Mark(const Changed& changed, const Snapshot& snapshot) {
  for (int t = 0; t < kTypes; ++t) {
    if (changed[t].empty()) continue;
    OfType& of = types_[t];
    if (!of.asked) continue;
    // A gRPC client follows one name, and a failed cell changes thousands.
    if (!of.wildcard && of.names.size() < changed[t].size()) {
      for (const std::string& name : of.names) {
        if (std::ranges::binary_search(changed[t], name)) of.dirty.insert(name);
      }
      continue;
    }
    for (const std::string& name : changed[t]) {
      if (Wants(of, static_cast<Type>(t), name, snapshot)) of.dirty.insert(name);
    }
  }
}

std::optional<Response> Subscriber::Next(const Snapshot& snapshot, int64_t now_ms) {
  for (int t = 0; t < kTypes; ++t) {
    OfType& of = types_[t];
    if (!of.asked || (of.dirty.empty() && !of.owes_answer)) continue;
    auto response = NextOf(static_cast<Type>(t), of, snapshot);
    if (!response.has_value()) continue;
    of.sent_ms = now_ms;
    // Clients that follow the same are told the same, nonce included: it is encoded once.
    of.nonce = std::max(of.nonce + 1, kAnswersOfUpdate * snapshot.number());
    response->nonce = std::to_string(of.nonce);
    return response;
  }
  return std::nullopt;
}

// While the server does not know all yet, "there is no such thing" would be a guess, and clients
// would drop what they have.
bool Subscriber::MustWait(Type type, const OfType& of, const Snapshot& snapshot) const {
  if (!IsWhole(type) || snapshot.complete()) return false;
  return of.wildcard || std::ranges::any_of(of.dirty, [&](const std::string& name) {
           return snapshot.Find(type, name) == nullptr;
         });
}

std::optional<Response> Subscriber::NextOf(Type type, OfType& of, const Snapshot& snapshot) {
  if (MustWait(type, of, snapshot)) return std::nullopt;
  Response response;
  response.type = type;
  response.version = snapshot.version(type);
  bool lost = false;  // something it had, or asked for, is not there
  for (const std::string& name : std::exchange(of.dirty, {})) {
    const Held* held = snapshot.Find(type, name);
    const auto sent = of.sent.find(name);
    if (held == nullptr) {
      lost = true;
      if (sent != of.sent.end() || of.names.contains(name)) response.removed.push_back(name);
      if (sent != of.sent.end()) of.sent.erase(sent);
      continue;
    }
    if (sent != of.sent.end() && sent->second == held->version) continue;
    of.sent[name] = held->version;
    response.items.push_back({name, *held});
    SendAgain(type, name);
  }
  const bool first = std::exchange(of.owes_answer, false);
  if (delta_) {
    if (!first && response.items.empty() && response.removed.empty()) return std::nullopt;
    return response;
  }
  response.removed.clear();
  if (!IsWhole(type)) {
    // Of these an answer may hold a part, and nothing can be said of what is not there.
    return response.items.empty() ? std::nullopt : std::optional(std::move(response));
  }
  if (!first && response.items.empty() && !lost) return std::nullopt;
  response.items.clear();
  for (const auto& [name, version] : of.sent) {
    if (const Held* held = snapshot.Find(type, name)) response.items.push_back({name, *held});
  }
  return response;
}

// Envoy waits for the endpoints of a cluster that changed, and for the route of a listener, though
// these did not change. Both go by the same name here.
void Subscriber::SendAgain(Type type, const std::string& name) {
  if (!IsWhole(type)) return;
  const Type follower = type == Type::kCluster ? Type::kEndpoints : Type::kRoute;
  OfType& of = types_[static_cast<int>(follower)];
  if (of.sent.erase(name) > 0) of.dirty.insert(name);
}

bool Subscriber::behind() const {
  return std::ranges::any_of(
      types_, [](const OfType& of) { return of.nonce != of.taken_nonce || !of.dirty.empty(); });
}

int64_t Subscriber::behind_since_ms() const {
  int64_t since_ms = 0;
  for (const OfType& of : types_) {
    if (of.nonce == of.taken_nonce) continue;
    since_ms = since_ms == 0 ? of.sent_ms : std::min(since_ms, of.sent_ms);
  }
  return since_ms;
}

std::string Subscriber::refused() const {
  for (const OfType& of : types_) {
    if (!of.refused.empty()) return of.refused;
  }
  return "";
}

bool Subscriber::Follows(Type type, const std::string& name, const Snapshot& snapshot) const {
  const OfType& of = types_[static_cast<int>(type)];
  return of.asked && Wants(of, type, name, snapshot);
}

}  // namespace foreshadow::xds
