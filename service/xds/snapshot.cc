#include "service/xds/snapshot.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

namespace foreshadow::xds {

Snapshot::Snapshot(ResourceOptions options, std::string run)
    : options_(std::move(options)), run_(std::move(run)) {
  versions_.fill(fmt::format("{}.0", run_));
  Changed nobody_listens_yet;
  PutShared(nobody_listens_yet);
}

Changed Snapshot::Update(const router::RouteUpdate& update) {
  ++number_;
  complete_ |= update.complete;
  Changed changed;
  bool shared_changes = false;
  const auto replace = [&](const std::string& account, const router::Route* next) {
    std::vector<Resource> resources;
    if (next != nullptr) resources = ResourcesOf(*next, options_);
    if (const auto old = routes_.find(account); old != routes_.end()) {
      if (next != nullptr && old->second == *next) return;
      for (const Resource& gone : ResourcesOf(old->second, options_)) {
        const auto same = [&](const Resource& r) {
          return r.type == gone.type && r.name == gone.name;
        };
        if (std::ranges::none_of(resources, same)) Remove(gone.type, gone.name, changed);
      }
      routes_.erase(old);
    }
    for (Resource& resource : resources) Put(std::move(resource), changed);
    shared_changes |= stateful_.erase(account) > 0;
    if (next == nullptr) return;
    if (next->stateful) shared_changes |= stateful_.insert(account).second;
    routes_.emplace(account, *next);
  };
  for (const router::Route& route : update.changed) replace(route.account, &route);
  for (const std::string& account : update.removed) replace(account, nullptr);
  if (shared_changes) PutShared(changed);
  for (std::vector<std::string>& names : changed) std::ranges::sort(names);
  return changed;
}

const Held* Snapshot::Find(Type type, const std::string& name) const {
  const auto& of_type = all(type);
  const auto it = of_type.find(name);
  return it == of_type.end() ? nullptr : &it->second;
}

const router::Route* Snapshot::RouteOf(const std::string& account) const {
  const auto it = routes_.find(account);
  return it == routes_.end() ? nullptr : &it->second;
}

void Snapshot::Put(Resource resource, Changed& changed) {
  const int t = static_cast<int>(resource.type);
  Held& held = resources_[t][resource.name];
  if (held.bytes != nullptr && *held.bytes == resource.bytes) return;
  held.bytes = std::make_shared<const std::string>(std::move(resource.bytes));
  held.in_wildcard = resource.in_wildcard;
  held.version = versions_[t] = fmt::format("{}.{}", run_, number_);
  changed[t].push_back(std::move(resource.name));
}

void Snapshot::Remove(Type type, const std::string& name, Changed& changed) {
  const int t = static_cast<int>(type);
  if (resources_[t].erase(name) == 0) return;
  versions_[t] = fmt::format("{}.{}", run_, number_);
  changed[t].push_back(name);
}

void Snapshot::PutShared(Changed& changed) {
  std::vector<const router::Route*> stateful;
  for (const std::string& account : stateful_) stateful.push_back(&routes_.at(account));
  std::ranges::sort(stateful, {}, &router::Route::account);
  for (Resource& resource : SharedResources(stateful, options_)) Put(std::move(resource), changed);
}

}  // namespace foreshadow::xds
