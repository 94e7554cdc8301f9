#include "service/rpc/cell_watch.h"

#include <grpcpp/grpcpp.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <chrono>

#include "foreshadow/v1/cell.grpc.pb.h"

namespace foreshadow::rpc {
namespace {

// The agent says something twice a second; four times that is silence.
constexpr int64_t kSilenceMs = 2'000;
constexpr auto kRetry = std::chrono::milliseconds(200);
constexpr int kReconnectMs = 200;

int64_t SteadyMs() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

int64_t NowMs() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

router::Instance FromProto(const v1::Instance& proto, int32_t cell) {
  router::Instance instance;
  instance.id = proto.id();
  instance.account = proto.account_id();
  instance.cell = cell;
  instance.shadow = proto.role() == v1::INSTANCE_ROLE_SHADOW;
  instance.state = proto.state() == v1::INSTANCE_STATE_RUNNING  ? router::InstanceState::kRunning
                   : proto.state() == v1::INSTANCE_STATE_PAUSED ? router::InstanceState::kPaused
                                                                : router::InstanceState::kExited;
  instance.serving = proto.serving();
  instance.address = {proto.host(), static_cast<int32_t>(proto.grpc_port()),
                      static_cast<int32_t>(proto.http_port())};
  if (proto.has_load()) instance.load = TotalsOf(proto.load());
  return instance;
}

}  // namespace

router::LoadTotals TotalsOf(const v1::Load& load) {
  router::LoadTotals totals;
  totals.known = load.latency_bucket_size() == load.latency_count_size() &&
                 load.errors_count() <= load.requests_count();
  if (!totals.known) return totals;
  totals.read_ms = NowMs();
  totals.requests_count = load.requests_count();
  totals.errors_count = load.errors_count();
  totals.in_flight_count = load.in_flight_count();
  totals.warmth = std::clamp(load.warmth(), 0.0, 1.0);
  for (int b = 0; b < load.latency_bucket_size(); ++b) {
    const auto bucket = std::min<uint32_t>(load.latency_bucket(b), LatencySketch::kBuckets - 1);
    totals.latency.AddBucket(static_cast<int>(bucket), load.latency_count(b));
  }
  return totals;
}

CellWatch::CellWatch(int32_t cell, std::string agent,
                     std::shared_ptr<grpc::ChannelCredentials> credentials,
                     router::Steering& steering)
    : cell_(cell),
      agent_(std::move(agent)),
      credentials_(std::move(credentials)),
      steering_(steering) {
  thread_ = std::thread([this] { Run(); });
  guard_ = std::thread([this] { Guard(); });
}

CellWatch::~CellWatch() {
  {
    const std::lock_guard lock(mutex_);
    stopping_ = true;
    if (context_ != nullptr) context_->TryCancel();
  }
  changed_.notify_all();
  thread_.join();
  guard_.join();
}

void CellWatch::Run() {
  while (true) {
    if (!Follow()) {
      spdlog::warn("the agent at {} tells nothing between ticks", agent_);
      return;
    }
    steering_.AgentLost(cell_);
    std::unique_lock lock(mutex_);
    if (changed_.wait_for(lock, kRetry, [&] { return stopping_; })) return;
  }
}

bool CellWatch::Follow() {
  grpc::ChannelArguments arguments;
  arguments.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, kReconnectMs);
  arguments.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, kReconnectMs);
  arguments.SetInt(GRPC_ARG_USE_LOCAL_SUBCHANNEL_POOL, 1);
  const auto stub =
      v1::CellController::NewStub(grpc::CreateCustomChannel(agent_, credentials_, arguments));
  grpc::ClientContext context;
  {
    const std::lock_guard lock(mutex_);
    if (stopping_) return true;
    context_ = &context;
    heard_ms_ = SteadyMs();
  }
  const auto reader = stub->WatchInstances(&context, v1::WatchInstancesRequest());
  v1::WatchInstancesResponse said;
  while (reader->Read(&said)) {
    {
      const std::lock_guard lock(mutex_);
      heard_ms_ = SteadyMs();
    }
    std::vector<router::Instance> instances;
    for (const v1::Instance& i : said.instances()) instances.push_back(FromProto(i, cell_));
    steering_.AgentSays(cell_, said.whole(), instances, {said.gone().begin(), said.gone().end()});
  }
  const grpc::Status status = reader->Finish();
  const std::lock_guard lock(mutex_);
  context_ = nullptr;
  return status.error_code() != grpc::StatusCode::UNIMPLEMENTED;
}

// A machine that vanished closes no connection.
void CellWatch::Guard() {
  std::unique_lock lock(mutex_);
  while (!changed_.wait_for(lock, std::chrono::milliseconds(kSilenceMs / 4),
                            [&] { return stopping_; })) {
    if (context_ != nullptr && SteadyMs() - heard_ms_ > kSilenceMs) context_->TryCancel();
  }
}

}  // namespace foreshadow::rpc
