// Finds the GPU backend at run time.
#include <dlfcn.h>

#include <filesystem>
#include <string>
#include <system_error>

#include "kernels/ops.h"

namespace foreshadow::kernels {
namespace {

constexpr const char* kLibrary = "libforeshadow_cuda.so";

struct Gpu {
  const Ops* ops = nullptr;
  std::string missing;
};

Gpu Load() {
  std::error_code error;
  const auto program = std::filesystem::read_symlink("/proc/self/exe", error);
  const std::string path = (program.parent_path() / kLibrary).string();
  // Without a driver the library would load and find nothing: spare the start the time.
  if (dlopen("libcuda.so.1", RTLD_NOW) == nullptr) return {nullptr, "no NVIDIA driver"};
  void* library = dlopen(path.c_str(), RTLD_NOW);
  if (library == nullptr) return {nullptr, dlerror()};
  using Entry = const Ops* (*)(const char**);
  const auto entry = reinterpret_cast<Entry>(dlsym(library, "ForeshadowCudaOps"));
  if (entry == nullptr) return {nullptr, dlerror()};
  const char* missing = nullptr;
  const Ops* ops = entry(&missing);
  return {ops, missing != nullptr ? missing : ""};
}

const Gpu& Loaded() {
  static const Gpu gpu = Load();
  return gpu;
}

}  // namespace

const Ops* GpuOps() { return Loaded().ops; }
std::string_view GpuMissing() { return Loaded().missing; }

}  // namespace foreshadow::kernels
