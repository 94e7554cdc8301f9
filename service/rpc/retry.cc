#include "service/rpc/retry.h"

#include <string>

#include "foreshadow/v1/retry.pb.h"

namespace foreshadow::rpc {

grpc::Status WithRetry(const absl::Status& status, int64_t retry_after_ms,
                       grpc::ServerContextBase& context) {
  constexpr int64_t kMsPerSecond = 1'000;
  constexpr int64_t kNsPerMs = 1'000'000;
  v1::RetryInfo retry;
  retry.mutable_retry_delay()->set_seconds(retry_after_ms / kMsPerSecond);
  retry.mutable_retry_delay()->set_nanos(
      static_cast<int32_t>(retry_after_ms % kMsPerSecond * kNsPerMs));
  v1::RichStatus rich;
  rich.set_code(static_cast<int>(status.code()));
  rich.set_message(std::string(status.message()));
  google::protobuf::Any& detail = *rich.add_details();
  detail.set_type_url("type.googleapis.com/google.rpc.RetryInfo");
  detail.set_value(retry.SerializeAsString());
  context.AddTrailingMetadata("grpc-retry-pushback-ms", std::to_string(retry_after_ms));
  return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message()),
          rich.SerializeAsString()};
}

}  // namespace foreshadow::rpc
