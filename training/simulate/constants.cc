#include "training/simulate/constants.h"

#include <fmt/format.h>
#include <openssl/sha.h>

#include <array>

namespace foreshadow::training {

std::string ConstantsText() {
  return fmt::format(
      "unserved {} overloaded {} shadow {} move {} create_ms {} resume_ms {} copy_bytes_per_second "
      "{} "
      "copy_cpu {} cores_per_gib {} memory_unknown {} service_ms {} ping_pong_ms {} fork_ms {} "
      "prevented_ms {} episode_gap {} nearly_full {} foreseeable {} {} {} server_cores {} watts {}",
      kPrices.unserved_core_hour, kPrices.overloaded_core_hour, kPrices.shadow_core_hour,
      kPrices.move, kCreateMs, kResumeMs, kCopyBytesPerSecond, kCopyCpuShare, kCoresPerGib,
      kMemoryBytesUnknown, kServiceMs, kPingPongMs, kForkAfterMs, kPreventedMs, kEpisodeGapSteps,
      kNearlyFull, kForeseeableChance, kForeseenAheadMs, kPanelHours, kServerCores,
      fmt::join(kServerWatts, " "));
}

std::string ConstantsHash() {
  const std::string text = ConstantsText();
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  SHA256(reinterpret_cast<const unsigned char*>(text.data()), text.size(), digest.data());
  std::string hex;
  for (int i = 0; i < 6; ++i) hex += fmt::format("{:02x}", digest[i]);
  return hex;
}

}  // namespace foreshadow::training
