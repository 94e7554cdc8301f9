#include "models/torch/process_group.h"

#include <torch/torch.h>

#include <chrono>
#include <csignal>
#include <cstdlib>
#include <string>
#include <torch/csrc/distributed/c10d/ProcessGroupGloo.hpp>
#include <torch/csrc/distributed/c10d/TCPStore.hpp>
#include <utility>

#include "absl/strings/str_cat.h"  // not fmt: torch brings another version of its headers

namespace foreshadow::models {
namespace {

constexpr std::chrono::minutes kTimeout{10};

// Where this rank listens for the others: the interface of Gloo's own environment variable, else
// the loopback when all ranks are here, else the address of this machine's name.
std::shared_ptr<gloo::transport::Device> DeviceFor(const std::string& host) {
  const char* interface = std::getenv("GLOO_SOCKET_IFNAME");
  if (interface != nullptr) return c10d::ProcessGroupGloo::createDeviceForInterface(interface);
  if (host == "localhost" || host == "127.0.0.1") {
    return c10d::ProcessGroupGloo::createDeviceForHostname("127.0.0.1");
  }
  return c10d::ProcessGroupGloo::createDefaultDevice();
}

// What went wrong without libtorch's C++ backtrace, which tells a user nothing.
std::string Reason(const std::exception& error) {
  const auto* of_torch = dynamic_cast<const c10::Error*>(&error);
  std::string reason = of_torch != nullptr ? of_torch->what_without_backtrace() : error.what();
  return reason.substr(0, reason.find("\nException raised from"));
}

}  // namespace

struct ProcessGroup::Impl {
  GroupAddress address;
  c10::intrusive_ptr<c10d::ProcessGroupGloo> gloo;
};

ProcessGroup::ProcessGroup(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
ProcessGroup::~ProcessGroup() = default;

int ProcessGroup::rank() const { return impl_->address.rank; }
int ProcessGroup::size() const { return impl_->address.size; }

absl::StatusOr<std::unique_ptr<ProcessGroup>> ProcessGroup::Join(const GroupAddress& address) {
  // c10d's store writes to sockets whose other end may be gone and counts on Python, which ignores
  // that signal; here it would end the process without a word.
  std::signal(SIGPIPE, SIG_IGN);
  try {
    c10d::TCPStoreOptions at;
    at.port = static_cast<uint16_t>(address.port);
    at.isServer = address.rank == 0;
    at.numWorkers = address.size;
    at.timeout = kTimeout;
    const auto store = c10::make_intrusive<c10d::TCPStore>(address.host, at);
    const auto options = c10d::ProcessGroupGloo::Options::create(kTimeout);
    options->devices.push_back(DeviceFor(address.host));
    auto impl = std::make_unique<Impl>();
    impl->address = address;
    impl->gloo =
        c10::make_intrusive<c10d::ProcessGroupGloo>(store, address.rank, address.size, options);
    return std::unique_ptr<ProcessGroup>(new ProcessGroup(std::move(impl)));
  } catch (const std::exception& error) {
    return absl::UnavailableError(absl::StrCat("rank ", address.rank, " of ", address.size, " at ",
                                               address.host, ":", address.port,
                                               " cannot join: ", Reason(error)));
  }
}

absl::Status ProcessGroup::Sum(std::span<float> values) {
  try {
    std::vector<at::Tensor> tensors = {
        torch::from_blob(values.data(), {static_cast<int64_t>(values.size())}, torch::kFloat32)};
    impl_->gloo->allreduce(tensors)->wait();
    return absl::OkStatus();
  } catch (const std::exception& error) {
    return absl::UnavailableError(
        absl::StrCat("rank ", rank(), " of ", size(), " lost the others: ", Reason(error)));
  }
}

}  // namespace foreshadow::models
