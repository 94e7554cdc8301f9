// One file a service; each is stateless and answers from the engine. The batcher runs the models
// for those that bring histories along; where there is a receiver, series of other systems are
// taken.
#pragma once

#include <grpcpp/impl/codegen/service_type.h>

#include <memory>
#include <vector>

#include "service/batch/batcher.h"
#include "service/receive/receiver.h"
#include "service/rpc/sender.h"
#include "service/serving/engine.h"

namespace foreshadow::rpc {

std::unique_ptr<grpc::Service> MakeTelemetryService(Engine& engine, SenderName sender_name);
std::unique_ptr<grpc::Service> MakeFleetService(Engine& engine);
std::unique_ptr<grpc::Service> MakeForecastsService(Engine& engine, batch::Batcher& batcher);
std::unique_ptr<grpc::Service> MakeInferenceService(Engine& engine, batch::Batcher& batcher);
std::unique_ptr<grpc::Service> MakeHistoryService(Engine& engine);
std::unique_ptr<grpc::Service> MakePatternsService(Engine& engine);
std::unique_ptr<grpc::Service> MakePlansService(Engine& engine);
std::unique_ptr<grpc::Service> MakeOtlpService(Engine& engine, receive::Receiver& receiver,
                                               SenderName sender_name);

inline std::vector<std::unique_ptr<grpc::Service>> MakeServices(Engine& engine,
                                                                batch::Batcher& batcher,
                                                                receive::Receiver* receiver,
                                                                const SenderName& sender_name) {
  std::vector<std::unique_ptr<grpc::Service>> services;
  services.push_back(MakeTelemetryService(engine, sender_name));
  services.push_back(MakeFleetService(engine));
  services.push_back(MakeForecastsService(engine, batcher));
  services.push_back(MakeInferenceService(engine, batcher));
  services.push_back(MakeHistoryService(engine));
  services.push_back(MakePatternsService(engine));
  services.push_back(MakePlansService(engine));
  if (receiver != nullptr) {
    services.push_back(MakeOtlpService(engine, *receiver, sender_name));
  }
  return services;
}

}  // namespace foreshadow::rpc
