// The load reporting service: each gRPC client tells once a second how its calls to each side went.
#pragma once

#include <grpcpp/impl/codegen/service_type.h>

#include <functional>
#include <memory>

#include "service/xds/xds_router.h"

namespace foreshadow::xds {

// `load` may be null; it is called from gRPC's threads.
std::unique_ptr<grpc::Service> MakeLoadService(std::function<void(const Load&)> load);

}  // namespace foreshadow::xds
