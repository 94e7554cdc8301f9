// Follows what one cell's agent says of its instances, over a stream that is opened again whenever
// it breaks. An agent that is silent for longer than its heartbeat allows counts as lost.
#pragma once

#include <condition_variable>
#include <memory>
#include <mutex>
#include <string>
#include <thread>

#include "service/router/steering.h"

namespace grpc {
class ChannelCredentials;
class ClientContext;
}  // namespace grpc

namespace foreshadow::v1 {
class Load;
}

namespace foreshadow::rpc {

// What an instance says of its load. It may say what it likes: what cannot be is not taken in.
router::LoadTotals TotalsOf(const v1::Load& load);

class CellWatch {
 public:
  // `steering` outlives it.
  CellWatch(int32_t cell, std::string agent, std::shared_ptr<grpc::ChannelCredentials> credentials,
            router::Steering& steering);
  ~CellWatch();

 private:
  void Run();
  bool Follow();  // false: the agent does not have such a stream
  void Guard();

  const int32_t cell_;
  const std::string agent_;
  const std::shared_ptr<grpc::ChannelCredentials> credentials_;
  router::Steering& steering_;
  std::mutex mutex_;
  std::condition_variable changed_;
  grpc::ClientContext* context_ = nullptr;  // of the stream that is open
  int64_t heard_ms_ = 0;                    // last word of the agent on it
  bool stopping_ = false;
  std::thread thread_;
  std::thread guard_;
};

}  // namespace foreshadow::rpc
