// One file a service; each is stateless and answers from the engine.
#pragma once

#include <grpcpp/impl/codegen/service_type.h>

#include <memory>
#include <vector>

#include "service/serving/engine.h"

namespace foreshadow::rpc {

std::unique_ptr<grpc::Service> MakeTelemetryService(Engine& engine);
std::unique_ptr<grpc::Service> MakeFleetService(Engine& engine);
std::unique_ptr<grpc::Service> MakeForecastsService(Engine& engine);
std::unique_ptr<grpc::Service> MakePatternsService(Engine& engine);
std::unique_ptr<grpc::Service> MakePlansService(Engine& engine);

inline std::vector<std::unique_ptr<grpc::Service>> MakeServices(Engine& engine) {
  std::vector<std::unique_ptr<grpc::Service>> services;
  services.push_back(MakeTelemetryService(engine));
  services.push_back(MakeFleetService(engine));
  services.push_back(MakeForecastsService(engine));
  services.push_back(MakePatternsService(engine));
  services.push_back(MakePlansService(engine));
  return services;
}

}  // namespace foreshadow::rpc
