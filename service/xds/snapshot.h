// All resources in force, each with the version it got when it last changed. Not thread-safe.
#pragma once

#include <array>
#include <memory>
#include <string>
#include <unordered_map>
#include <unordered_set>
#include <vector>

#include "service/router/routes.h"
#include "service/xds/resources.h"

namespace foreshadow::xds {

struct Held {
  std::string version;
  std::shared_ptr<const std::string> bytes;
  bool in_wildcard = false;
  bool operator==(const Held&) const = default;  // of the same bytes, not of equal ones
};

// Names of what an update changed, removed resources included; sorted.
using Changed = std::array<std::vector<std::string>, kTypes>;

class Snapshot {
 public:
  // Versions begin with `run`, so that none of an earlier run of the server is taken for one of
  // now.
  Snapshot(ResourceOptions options, std::string run);

  // Routes must have passed router::CheckRoute.
  Changed Update(const router::RouteUpdate& update);

  // Null: there is none of that name.
  const Held* Find(Type type, const std::string& name) const;
  const std::unordered_map<std::string, Held>& all(Type type) const {
    return resources_[static_cast<int>(type)];
  }
  // Of the newest change of any resource of the type.
  const std::string& version(Type type) const { return versions_[static_cast<int>(type)]; }
  // Grows with every update: all answers about the newest one may bear the same nonce.
  uint64_t number() const { return number_; }
  // False until an update said so: until then what is not here may still come.
  bool complete() const { return complete_; }
  const router::Route* RouteOf(const std::string& account) const;

 private:
  void Put(Resource resource, Changed& changed);
  void Remove(Type type, const std::string& name, Changed& changed);
  void PutShared(Changed& changed);

  ResourceOptions options_;
  std::string run_;
  uint64_t number_ = 0;  // of the update
  bool complete_ = false;
  std::array<std::unordered_map<std::string, Held>, kTypes> resources_;
  std::array<std::string, kTypes> versions_;
  std::unordered_map<std::string, router::Route> routes_;
  std::unordered_set<std::string> stateful_;  // accounts
};

}  // namespace foreshadow::xds
