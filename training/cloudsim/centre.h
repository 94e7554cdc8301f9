// The data centre of Beloglazov and Buyya, "Optimal online deterministic algorithms and adaptive
// heuristics ... of virtual machines in cloud data centers", CCPE 24(13), 2012, section 6.1, with
// the habits of CloudSim 3.0.3, whose figures are the ones that others can run again. Plain data
// and free functions; a centre belongs to one thread.
//
// Habits that the paper does not tell and that decide figures: memory and bandwidth limit only the
// first placement; a machine whose demand is exactly 0 is gone for good; while a machine moves, its
// source gives it 90 % of what it wants and its target 10 % more; a host that is short of MIPS
// gives whole MIPS only.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "training/simulate/constants.h"

namespace foreshadow::training::cloudsim {

struct HostType {
  double core_mips = 0;
  std::array<double, 11> watts{};  // at 0, 10 .. 100 % of its CPU (table 2)
};

struct VmType {
  double mips = 0;
  int memory_mib = 0;
};

inline constexpr double kIntervalSeconds = 300;
inline constexpr double kFirstRoundSeconds = 300.1;  // machines get their work at 0.1 s
inline constexpr double kDaySeconds = 86'400;
inline constexpr int kDaySamples = 288;
inline constexpr int kHosts = 800;
inline constexpr int kHostCores = 2;
inline constexpr int kHostMemoryMib = 4'096;
inline constexpr int kHostVmsPlaced = 10;      // 100 Mbit/s each, of 1 Gbit/s
inline constexpr double kMibPerSecond = 62.5;  // half of 1 Gbit/s; the other half serves
inline constexpr double kSourceShare = 0.9;    // of its demand that a moving machine gets ...
inline constexpr double kTargetShare = 0.1;    // ... and what it takes in its target meanwhile
inline constexpr size_t kHistory = 30;         // samples kept of a machine

// HP ProLiant ML110 G4 and G5, in turn.
inline constexpr std::array<HostType, 2> kHostTypes = {
    HostType{1'860, {86, 89.4, 92.6, 96, 99.5, 102, 106, 108, 112, 114, 117}},
    HostType{2'660, kServerWatts}};
// A quarter of the machines each, in the order of the data.
inline constexpr std::array<VmType, 4> kVmTypes = {VmType{2'500, 870}, VmType{2'000, 1'740},
                                                   VmType{1'000, 1'740}, VmType{500, 613}};

struct Vm {
  VmType type;
  std::vector<double> samples;  // [sample] of the day, every 300 s, share of its MIPS
  std::vector<double> history;  // MIPS at each round, oldest first, kHistory at most
  double wanted_mips = 0;
  int host = -1;
  bool moving = false;
};

struct Host {
  const HostType* type = nullptr;
  std::vector<int> vms;            // in the order they came
  std::vector<int> arriving;       // those of `vms` that still run elsewhere
  std::vector<double> given_mips;  // [place in vms]
  double given_sum_mips = 0;
  double free_mips = 0;
  double used_mips = 0;         // at the last update; what moves counted in full
  double used_before_mips = 0;  // at the update before

  double mips() const { return kHostCores * type->core_mips; }
};

struct Centre {
  std::vector<Host> hosts;
  std::vector<Vm> vms;
};

Centre NewCentre(int hosts, std::vector<std::vector<double>> samples);

// What a machine wants at a time: on the line between its samples; the last one holds.
double WantedMips(const Vm& vm, double seconds);

// Shares a host's MIPS out by what its machines want, `wanted_mips` of each.
void Share(const std::vector<Vm>& vms, Host& host);

bool IsArriving(const Host& host, int vm);
void Remove(int vm, std::vector<int>& list);

// Share of a host's MIPS in use, 1 at most, and what it draws at a share.
double Utilization(const Host& host, double mips);
double Watts(const Host& host, double utilization);

}  // namespace foreshadow::training::cloudsim
