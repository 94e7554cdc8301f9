#include "service/serving/device.h"

#include <fmt/core.h>

namespace foreshadow {

absl::StatusOr<const kernels::Ops*> DeviceOf(const Config& config) {
  if (config.compute_device == ComputeDevice::kCpu || !config.journal_dir.empty()) return nullptr;
  const kernels::Ops* gpu = kernels::GpuOps();
  if (gpu == nullptr && config.compute_device == ComputeDevice::kCuda) {
    return absl::FailedPreconditionError(fmt::format(
        "compute.device = \"cuda\": there is no GPU to use: {}", kernels::GpuMissing()));
  }
  return gpu;
}

}  // namespace foreshadow
