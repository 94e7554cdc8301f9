// Every constant of the simulated world and of its cost, in this file alone; reports print the hash
// of ConstantsText, so that two figures can be told to come from the same world.
#pragma once

#include <array>
#include <cstdint>
#include <string>

namespace foreshadow::training {

// What a core-hour of each kind costs, in core-hours of a shadow, and a move likewise.
struct Prices {
  double unserved_core_hour = 100;
  double overloaded_core_hour = 0.1;  // of the capacity of a cell while it is overloaded
  double shadow_core_hour = 1;
  double move = 0.5;
};
inline constexpr Prices kPrices;

inline constexpr int64_t kCreateMs =
    120'000;                                  // cold: place, fetch, start; then the state is copied
inline constexpr int64_t kResumeMs = 10'000;  // a paused shadow serves
inline constexpr double kCopyBytesPerSecond = 125e6;  // 1 Gbit/s
inline constexpr double kCopyCpuShare = 0.1;  // of the account's CPU, in both cells while it copies
// A paused shadow holds memory; what a GiB costs, in cores: the ratio of cloud list prices, where a
// core-hour is about 7.5 times a GiB-hour.
inline constexpr double kCoresPerGib = 1 / 7.5;
// State of an account whose memory is not measured: the mean of CloudSim's four types of machines.
inline constexpr double kMemoryBytesUnknown = 1'241 * 1'048'576.0;
inline constexpr double kServiceMs = 50;  // a request's, for the latency model
inline constexpr int64_t kPingPongMs = 60 * 60'000;
// A shadow's fork runs that much longer than the shadow.
inline constexpr int64_t kForkAfterMs = 60 * 60'000;
// An account that left for good counts so long as what keeps its old cell from an overload.
inline constexpr int64_t kPreventedMs = 60 * 60'000;
inline constexpr int kEpisodeGapSteps = 2;  // shorter calms do not end an episode
inline constexpr double kNearlyFull = 0.9;  // OM90
// An overload is foreseeable if someone gave it that chance so long before.
inline constexpr double kForeseeableChance = 0.5;
inline constexpr int64_t kForeseenAheadMs = 15 * 60'000;
inline constexpr int kPanelHours = 3;  // that the panel looks back

// What a server of two cores draws at 0, 10 .. 100 % of its CPU: HP ProLiant ML110 G5 by SPECpower,
// as Beloglazov and Buyya (2012), table 2, have it. A cell is as many of them as its cores need.
inline constexpr double kServerCores = 2;
inline constexpr std::array<double, 11> kServerWatts = {93.7, 97,  101, 105, 110, 116,
                                                        121,  125, 129, 133, 135};

std::string ConstantsText();
std::string ConstantsHash();  // first 12 hex digits of its SHA-256

}  // namespace foreshadow::training
