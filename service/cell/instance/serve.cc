#include "service/cell/instance/serve.h"

#include <fmt/core.h>
#include <grpcpp/grpcpp.h>
#include <grpcpp/health_check_service_interface.h>
#include <httplib.h>

#include <atomic>
#include <cstdlib>
#include <thread>

#include "foreshadow/v1/workload.grpc.pb.h"
#include "service/cell/instance/alarm_clock.h"

namespace foreshadow::cell {
namespace {

using std::chrono::steady_clock;

constexpr double kWorkMsMax = 10'000;
constexpr auto kStopGrace = std::chrono::seconds(2);
constexpr int kHttpThreads = 64;  // each waits with its request
constexpr const char* kEpochHeader = "x-foreshadow-epoch";

// Once a fence is up, writes by an older route, or by who knows which, are refused.
class Gate {
 public:
  bool Admits(bool write, uint64_t epoch) const { return !write || epoch >= epoch_.load(); }
  uint64_t Raise(uint64_t epoch) {
    uint64_t now = epoch_.load();
    while (epoch > now && !epoch_.compare_exchange_weak(now, epoch)) {
    }
    return epoch_.load();
  }
  uint64_t Lift(uint64_t epoch) {
    epoch_.compare_exchange_strong(epoch, 0);
    return epoch_.load();
  }
  uint64_t epoch() const { return epoch_.load(); }

 private:
  std::atomic<uint64_t> epoch_ = 0;
};

struct Common {
  const ServeOptions& options;
  Station& station;
  Gate gate;
};

void Fill(const Station::Totals& totals, v1::Load& load) {
  load.set_requests_count(totals.requests_count);
  load.set_errors_count(totals.errors_count);
  load.set_shed_count(totals.shed_count);
  load.set_in_flight_count(totals.in_flight_count);
  load.set_warmth(totals.warmth);
  const std::vector<uint64_t>& counts = totals.latency.counts();
  for (size_t b = 0; b < counts.size(); ++b) {
    if (counts[b] == 0) continue;
    load.add_latency_bucket(static_cast<uint32_t>(b));
    load.add_latency_count(counts[b]);
  }
}

class GrpcDoor : public v1::Workload::CallbackService {
 public:
  explicit GrpcDoor(Common& common) : common_(common) {}
  ~GrpcDoor() override {
    if (server_ != nullptr) server_->Shutdown(std::chrono::system_clock::now() + kStopGrace);
  }

  absl::Status Bind() {
    const std::string address =
        fmt::format("{}:{}", common_.options.host, common_.options.grpc_port);
    grpc::EnableDefaultHealthCheckService(true);
    grpc::ServerBuilder builder;
    int port = 0;
    builder.AddChannelArgument(GRPC_ARG_ALLOW_REUSEPORT, 0);
    builder.AddListeningPort(address, grpc::InsecureServerCredentials(), &port);
    builder.RegisterService(this);
    server_ = builder.BuildAndStart();
    return server_ != nullptr && port != 0
               ? absl::OkStatus()
               : absl::UnavailableError(fmt::format("{} cannot be bound", address));
  }

  grpc::ServerUnaryReactor* Call(grpc::CallbackServerContext* context,
                                 const v1::CallRequest* request,
                                 v1::CallResponse* response) override {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    if (!(request->work_ms() >= 0 && request->work_ms() <= kWorkMsMax)) {
      reactor->Finish(
          {grpc::StatusCode::INVALID_ARGUMENT,
           fmt::format("work_ms = {}: must be 0 .. {}", request->work_ms(), kWorkMsMax)});
      return reactor;
    }
    if (!common_.gate.Admits(request->write(), request->epoch())) {
      reactor->Finish(
          {grpc::StatusCode::FAILED_PRECONDITION,
           fmt::format("epoch = {}: must be {} at least", request->epoch(), common_.gate.epoch())});
      return reactor;
    }
    const SteadyTime now = steady_clock::now();
    const Station::Admission admission = common_.station.Admit(now, request->work_ms());
    if (!admission.ok) {
      reactor->Finish({grpc::StatusCode::UNAVAILABLE,
                       admission.shed ? "too many requests wait" : "failed on purpose"});
      return reactor;
    }
    clock_.Set(admission.done, [this, reactor, response, now] {
      const SteadyTime done = steady_clock::now();
      response->set_sequence(common_.station.Finish(now, done));
      response->set_instance_id(common_.options.id);
      response->set_cell(common_.options.cell);
      response->set_latency_ms(std::chrono::duration<double, std::milli>(done - now).count());
      reactor->Finish(grpc::Status::OK);
    });
    return reactor;
  }

  grpc::ServerUnaryReactor* GetLoad(grpc::CallbackServerContext* context, const v1::GetLoadRequest*,
                                    v1::Load* response) override {
    Fill(common_.station.totals(), *response);
    return Answer(context);
  }

  grpc::ServerUnaryReactor* Fence(grpc::CallbackServerContext* context,
                                  const v1::FenceRequest* request,
                                  v1::FenceResponse* response) override {
    response->set_epoch(request->lift() ? common_.gate.Lift(request->epoch())
                                        : common_.gate.Raise(request->epoch()));
    return Answer(context);
  }

 private:
  static grpc::ServerUnaryReactor* Answer(grpc::CallbackServerContext* context) {
    grpc::ServerUnaryReactor* reactor = context->DefaultReactor();
    reactor->Finish(grpc::Status::OK);
    return reactor;
  }

  Common& common_;
  AlarmClock clock_;
  std::unique_ptr<grpc::Server> server_;
};

double NumberOf(const httplib::Request& request, const char* name, double otherwise) {
  if (!request.has_param(name)) return otherwise;
  return std::strtod(request.get_param_value(name).c_str(), nullptr);
}

class HttpDoor {
 public:
  explicit HttpDoor(Common& common) : common_(common) {
    server_.new_task_queue = [] { return new httplib::ThreadPool(kHttpThreads); };
    server_.set_tcp_nodelay(true);
    server_.Get("/healthz", [](const httplib::Request&, httplib::Response& response) {
      response.set_content("ok\n", "text/plain");
    });
    const auto call = [this](const httplib::Request& request, httplib::Response& response) {
      Call(request, response);
    };
    server_.set_socket_options([this](socket_t socket) {
      httplib::default_socket_options(socket);
      socket_ = socket;
    });
    server_.Get("/call", call);
    server_.Post("/call", call);
    server_.Post("/faults", [this](const httplib::Request& request, httplib::Response& response) {
      common_.station.Set(
          {NumberOf(request, "fail_share", 0), NumberOf(request, "slow_factor", 1)});
      response.set_content("set\n", "text/plain");
    });
  }
  ~HttpDoor() {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Bind() {
    if (!server_.bind_to_port(common_.options.host, common_.options.http_port)) {
      return absl::UnavailableError(
          fmt::format("{}:{} cannot be bound", common_.options.host, common_.options.http_port));
    }
    // The library lets five connections wait; when all traffic comes here at once, others would
    // wait a second to try again.
    ::listen(socket_, SOMAXCONN);
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    return absl::OkStatus();
  }

 private:
  void Call(const httplib::Request& request, httplib::Response& response) {
    const double work_ms = NumberOf(request, "work_ms", 0);
    if (!(work_ms >= 0 && work_ms <= kWorkMsMax)) {
      response.status = 400;
      response.set_content(fmt::format("work_ms must be 0 .. {}\n", kWorkMsMax), "text/plain");
      return;
    }
    const uint64_t epoch =
        std::strtoull(request.get_header_value(kEpochHeader).c_str(), nullptr, 10);
    if (!common_.gate.Admits(request.method == "POST", epoch)) {
      response.status = 409;
      response.set_content(fmt::format("epoch must be {} at least\n", common_.gate.epoch()),
                           "text/plain");
      return;
    }
    const SteadyTime now = steady_clock::now();
    const Station::Admission admission = common_.station.Admit(now, work_ms);
    if (!admission.ok) {
      response.status = 503;
      return;
    }
    std::this_thread::sleep_until(admission.done);
    const SteadyTime done = steady_clock::now();
    // No body: an answer that leaves in one write is there whole or, when the instance is killed,
    // not at all, and a proxy asks the other side.
    response.set_header("x-foreshadow-instance", common_.options.id);
    response.set_header("x-foreshadow-cell", common_.options.cell);
    response.set_header(
        "x-foreshadow-latency-ms",
        fmt::format("{:.3f}", std::chrono::duration<double, std::milli>(done - now).count()));
    response.set_header("x-foreshadow-sequence", std::to_string(common_.station.Finish(now, done)));
  }

  Common& common_;
  httplib::Server server_;
  socket_t socket_ = INVALID_SOCKET;
  std::thread thread_;
};

class BothDoors : public Doors {
 public:
  BothDoors(const ServeOptions& options, Station& station)
      : options_(options), common_{options_, station, {}}, grpc_(common_), http_(common_) {}

  absl::Status Bind() {
    if (options_.grpc_port != 0) {
      if (absl::Status status = grpc_.Bind(); !status.ok()) return status;
    }
    return options_.http_port != 0 ? http_.Bind() : absl::OkStatus();
  }

 private:
  const ServeOptions options_;
  Common common_;
  GrpcDoor grpc_;
  HttpDoor http_;
};

}  // namespace

absl::StatusOr<std::unique_ptr<Doors>> Doors::Open(const ServeOptions& options, Station& station) {
  auto doors = std::make_unique<BothDoors>(options, station);
  if (absl::Status status = doors->Bind(); !status.ok()) return status;
  return doors;
}

}  // namespace foreshadow::cell
