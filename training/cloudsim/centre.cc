#include "training/cloudsim/centre.h"

#include <algorithm>
#include <cmath>

namespace foreshadow::training::cloudsim {

Centre NewCentre(int hosts, std::vector<std::vector<double>> samples) {
  Centre centre;
  centre.hosts.resize(static_cast<size_t>(hosts));
  for (size_t h = 0; h < centre.hosts.size(); ++h) {
    centre.hosts[h].type = &kHostTypes[h % kHostTypes.size()];
    Share(centre.vms, centre.hosts[h]);
  }
  const size_t quarter = (samples.size() + kVmTypes.size() - 1) / kVmTypes.size();
  for (std::vector<double>& day : samples) {
    const VmType& type = kVmTypes[centre.vms.size() / quarter];
    centre.vms.push_back({type, std::move(day), {}, type.mips});
  }
  return centre;
}

double WantedMips(const Vm& vm, double seconds) {
  const auto before = static_cast<size_t>(seconds / kIntervalSeconds);
  const size_t last = vm.samples.size() - 1;
  const double low = vm.samples[std::min(before, last)];
  const double slope = (vm.samples[std::min(before + 1, last)] - low) / kIntervalSeconds;
  const double past = seconds - static_cast<double>(before) * kIntervalSeconds;
  return (low + slope * past) * vm.type.mips;
}

bool IsArriving(const Host& host, int vm) {
  return std::ranges::find(host.arriving, vm) != host.arriving.end();
}

void Remove(int vm, std::vector<int>& list) {
  if (const auto at = std::ranges::find(list, vm); at != list.end()) list.erase(at);
}

void Share(const std::vector<Vm>& vms, Host& host) {
  double wanted = 0;
  for (const int v : host.vms) {
    const double share = IsArriving(host, v) ? kTargetShare : 1;
    wanted += share * std::min(vms[v].wanted_mips, host.type->core_mips);
  }
  const bool enough = wanted <= host.mips();
  host.free_mips = enough ? host.mips() - wanted : 0;
  host.given_sum_mips = 0;
  host.given_mips.clear();
  for (const int v : host.vms) {
    double given = std::min(vms[v].wanted_mips, host.type->core_mips);
    if (IsArriving(host, v)) {
      given *= kTargetShare;
    } else if (vms[v].moving) {
      given *= kSourceShare;
    }
    if (!enough) given = std::floor(given * host.mips() / wanted);
    host.given_mips.push_back(given);
    host.given_sum_mips += given;
  }
}

double Utilization(const Host& host, double mips) { return std::min(1.0, mips / host.mips()); }

double Watts(const Host& host, double utilization) {
  // Hosts of one type differ in the last bits alone where power is a straight line, and these then
  // decide where a machine goes: the terms are in the order of the reference.
  const auto below = static_cast<size_t>(utilization * 10);
  const size_t above = std::min(below + 1, host.type->watts.size() - 1);
  const double low = host.type->watts[below];
  return low + (host.type->watts[above] - low) / 10 *
                   (utilization - static_cast<double>(below) / 10) * 100;
}

}  // namespace foreshadow::training::cloudsim
