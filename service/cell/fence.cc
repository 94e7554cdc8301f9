#include "service/cell/fence.h"

#include <fmt/core.h>
#include <grpcpp/grpcpp.h>

#include <chrono>

#include "foreshadow/v1/workload.grpc.pb.h"

namespace foreshadow::cell {
namespace {

constexpr auto kDeadline = std::chrono::seconds(2);

grpc::Status Fence(const std::string& address, uint64_t epoch, bool lift) {
  const auto stub =
      v1::Workload::NewStub(grpc::CreateChannel(address, grpc::InsecureChannelCredentials()));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kDeadline);
  v1::FenceRequest request;
  request.set_epoch(epoch);
  request.set_lift(lift);
  v1::FenceResponse response;
  return stub->Fence(&context, request, &response);
}

}  // namespace

absl::StatusOr<std::vector<std::string>> FencePrimaries(Instances& instances,
                                                        const std::string& account, uint64_t epoch,
                                                        bool lift) {
  std::vector<std::string> ids;
  for (const InstanceView& view : instances.List()) {
    const bool ours = view.spec.account == account && view.spec.role == kPrimary;
    if (!ours || view.state != InstanceState::kRunning || view.ports.grpc == 0) continue;
    const std::string address = fmt::format("{}:{}", instances.options().host, view.ports.grpc);
    const grpc::Status status = Fence(address, epoch, lift);
    if (status.error_code() == grpc::StatusCode::UNIMPLEMENTED) continue;
    if (!status.ok()) {
      return absl::UnavailableError(
          fmt::format("{} cannot be fenced: {}", view.spec.id, status.error_message()));
    }
    ids.push_back(view.spec.id);
  }
  return ids;
}

}  // namespace foreshadow::cell
