#include "training/cloudsim/round.h"

#include <algorithm>
#include <limits>
#include <optional>

namespace foreshadow::training::cloudsim {
namespace {

// Hosts as they would be after the moves so far.
struct Draft {
  const std::vector<Vm>& vms;
  Rule& rule;
  std::vector<Host> hosts;
  std::vector<std::vector<double>> history;  // [host] sum of its machines'

  void Count(int host, int vm, double sign) {
    std::vector<double>& sum = history[host];
    const std::vector<double>& mips = vms[vm].history;
    for (size_t i = 0; i < mips.size(); ++i) sum[i] += sign * mips[i];
  }

  void Put(int vm, int host) {
    hosts[host].vms.push_back(vm);
    Share(vms, hosts[host]);
    Count(host, vm, 1);
  }

  void Take(int vm, int host) {
    Remove(vm, hosts[host].vms);
    Share(vms, hosts[host]);
    Count(host, vm, -1);
  }

  bool Overloaded(int host) const {
    const double capacity = hosts[host].mips();
    Path path;
    rule.Predict({history[host], history[host], capacity}, static_cast<size_t>(host), 1, path);
    return path[0] > capacity;
  }

  bool OverloadedWith(int vm, int host) {
    Count(host, vm, 1);
    const bool overloaded = Overloaded(host);
    Count(host, vm, -1);
    return overloaded;
  }
};

bool Fits(const Vm& vm, const Host& host) {
  return vm.wanted_mips <= host.type->core_mips && vm.wanted_mips <= host.free_mips;
}

// Power with the machine less power at the last update.
double Dearer(const Vm& vm, const Host& host) {
  const double with = host.given_sum_mips + vm.wanted_mips;
  return Watts(host, Utilization(host, with)) - Watts(host, Utilization(host, host.used_mips));
}

std::optional<int> FindHost(Draft& draft, int vm, const std::vector<char>& closed) {
  std::optional<int> best;
  double least = std::numeric_limits<double>::max();
  for (size_t h = 0; h < draft.hosts.size(); ++h) {
    const Host& host = draft.hosts[h];
    if (closed[h] || !Fits(draft.vms[vm], host)) continue;
    const double dearer = Dearer(draft.vms[vm], host);
    if (dearer >= least) continue;
    if (host.given_sum_mips != 0 && draft.OverloadedWith(vm, static_cast<int>(h))) continue;
    least = dearer;
    best = static_cast<int>(h);
  }
  return best;
}

void SortByDemand(const std::vector<Vm>& vms, std::vector<int>& list) {
  std::ranges::stable_sort(list,
                           [&](int a, int b) { return vms[a].wanted_mips > vms[b].wanted_mips; });
}

// Takes machines off a host until it is not overloaded.
void Relieve(Draft& draft, int host, std::vector<int>& moved) {
  while (!draft.hosts[host].vms.empty()) {
    const int vm = *std::ranges::min_element(draft.hosts[host].vms, {},
                                             [&](int v) { return draft.vms[v].type.memory_mib; });
    draft.Take(vm, host);
    moved.push_back(vm);
    if (!draft.Overloaded(host)) return;
  }
}

std::optional<int> LeastUsed(const Draft& draft, const std::vector<char>& tried) {
  std::optional<int> least;
  double least_used = 1;
  for (size_t h = 0; h < draft.hosts.size(); ++h) {
    const Host& host = draft.hosts[h];
    if (tried[h] || host.vms.empty()) continue;
    const double used = Utilization(host, host.used_mips);
    if (used >= least_used) continue;
    least_used = used;
    least = static_cast<int>(h);
  }
  return least;
}

// All of a host's machines elsewhere, or none.
std::vector<Move> Empty(Draft& draft, int host, const std::vector<char>& closed) {
  std::vector<int> vms = draft.hosts[host].vms;
  SortByDemand(draft.vms, vms);
  std::vector<Move> moves;
  for (const int vm : vms) {
    const auto to = FindHost(draft, vm, closed);
    if (!to.has_value()) {
      for (const Move& move : moves) draft.Take(move.vm, move.to);
      return {};
    }
    draft.Put(vm, *to);
    moves.push_back({vm, *to});
  }
  return moves;
}

}  // namespace

bool PlaceFirst(Centre& centre) {
  for (size_t v = 0; v < centre.vms.size(); ++v) {
    Vm& vm = centre.vms[v];
    vm.wanted_mips = vm.type.mips;
    double least = std::numeric_limits<double>::max();
    for (size_t h = 0; h < centre.hosts.size(); ++h) {
      const Host& host = centre.hosts[h];
      int memory_mib = vm.type.memory_mib;
      for (const int other : host.vms) memory_mib += centre.vms[other].type.memory_mib;
      if (!Fits(vm, host) || memory_mib > kHostMemoryMib || host.vms.size() >= kHostVmsPlaced)
        continue;
      if (const double dearer = Dearer(vm, host); dearer < least) {
        least = dearer;
        vm.host = static_cast<int>(h);
      }
    }
    if (vm.host < 0) return false;
    centre.hosts[vm.host].vms.push_back(static_cast<int>(v));
    Share(centre.vms, centre.hosts[vm.host]);
  }
  return true;
}

std::vector<Move> PlanRound(const Centre& centre, Rule& rule) {
  Draft draft{centre.vms, rule, centre.hosts, {}};
  size_t samples = 0;
  for (const Vm& vm : centre.vms) samples = std::max(samples, vm.history.size());
  draft.history.assign(draft.hosts.size(), std::vector<double>(samples, 0));
  std::vector<char> tried(draft.hosts.size(), 0);
  std::vector<char> overloaded = tried;
  for (size_t h = 0; h < draft.hosts.size(); ++h) {
    for (const int vm : draft.hosts[h].vms) draft.Count(static_cast<int>(h), vm, 1);
    overloaded[h] = draft.Overloaded(static_cast<int>(h));
    tried[h] = overloaded[h] || draft.hosts[h].used_mips == 0;
  }

  std::vector<int> relieved;
  for (size_t h = 0; h < draft.hosts.size(); ++h) {
    if (overloaded[h]) Relieve(draft, static_cast<int>(h), relieved);
  }
  SortByDemand(draft.vms, relieved);
  std::vector<Move> moves;
  for (const int vm : relieved) {
    const auto to = FindHost(draft, vm, overloaded);
    if (!to.has_value()) continue;
    draft.Put(vm, *to);
    moves.push_back({vm, *to});
  }

  std::vector<char> closed = tried;
  while (const auto host = LeastUsed(draft, tried)) {
    tried[*host] = closed[*host] = 1;
    for (const Move& move : Empty(draft, *host, closed)) {
      tried[move.to] = 1;
      moves.push_back(move);
    }
  }
  return moves;
}

}  // namespace foreshadow::training::cloudsim
