// Real instances behind a control plane, and gRPC's own xDS client in front of them.
#pragma once

#include <fmt/core.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <atomic>
#include <chrono>
#include <cstdlib>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <thread>
#include <vector>

#include "foreshadow/v1/workload.grpc.pb.h"
#include "service/cell/ports.h"
#include "tests/integration/process.h"

namespace foreshadow::testing {

using SteadyTime = std::chrono::steady_clock::time_point;

inline void Sleep(int ms) { std::this_thread::sleep_for(std::chrono::milliseconds(ms)); }

// A foreshadow-instance that serves already.
class ServingInstance {
 public:
  ServingInstance(const std::string& folder, const std::string& id,
                  const std::vector<std::string>& flags = {"--warm-requests", "0", "--work-ms",
                                                           "0.1", "--cores", "8"})
      : grpc_(*cell::HeldPort::Hold("127.0.0.1", 0)), http_(*cell::HeldPort::Hold("127.0.0.1", 0)) {
    std::vector<std::string> command = {std::string(FORESHADOW_BIN_DIR) + "/foreshadow-instance",
                                        "--id",
                                        id,
                                        "--cell",
                                        id,
                                        "--grpc-port",
                                        std::to_string(grpc_port()),
                                        "--http-port",
                                        std::to_string(http_port())};
    command.insert(command.end(), flags.begin(), flags.end());
    process_ = std::make_unique<Process>(command, folder + "/" + id + ".log");
    grpc::ChannelArguments soon;
    soon.SetInt(GRPC_ARG_INITIAL_RECONNECT_BACKOFF_MS, 50);
    soon.SetInt(GRPC_ARG_MIN_RECONNECT_BACKOFF_MS, 50);
    soon.SetInt(GRPC_ARG_MAX_RECONNECT_BACKOFF_MS, 50);
    const auto channel = grpc::CreateCustomChannel(fmt::format("127.0.0.1:{}", grpc_port()),
                                                   grpc::InsecureChannelCredentials(), soon);
    const bool serves =
        channel->WaitForConnected(std::chrono::system_clock::now() + std::chrono::seconds(20));
    EXPECT_TRUE(serves) << process_->Output();
    stub = v1::Workload::NewStub(channel);
  }

  int grpc_port() const { return grpc_->port(); }
  int http_port() const { return http_->port(); }
  Process& process() { return *process_; }

  std::unique_ptr<v1::Workload::Stub> stub;

 private:
  const std::shared_ptr<const cell::HeldPort> grpc_, http_;
  std::unique_ptr<Process> process_;
};

// For the clients of this process; before the first of them.
inline void UseControlPlane(int port, const std::string& node) {
  const std::string bootstrap = fmt::format(
      R"({{"xds_servers":[{{"server_uri":"127.0.0.1:{}","channel_creds":[{{"type":"insecure"}}],)"
      R"("server_features":["xds_v3"]}}],"node":{{"id":"{}","cluster":"tests"}}}})",
      port, node);
  setenv("GRPC_XDS_BOOTSTRAP_CONFIG", bootstrap.c_str(), 1);
}

inline std::shared_ptr<grpc::Channel> XdsChannel(const std::string& account) {
  return grpc::CreateChannel("xds:///accounts/" + account, grpc::InsecureChannelCredentials());
}

// Callers in a closed loop, each with its own thread over one channel.
class Callers {
 public:
  struct Counts {
    std::map<std::string, int> by_instance;
    int failed = 0;
    std::string first_error;
    std::map<std::string, SteadyTime> last_start;  // by instance; "" = failed

    // When the newest call that an instance answered began; the clock's zero = it answered none.
    SteadyTime LastStartTo(const std::string& instance) const {
      const auto it = last_start.find(instance);
      return it == last_start.end() ? SteadyTime{} : it->second;
    }
  };

  Callers(std::shared_ptr<grpc::Channel> channel, int callers, bool write = false)
      : channel_(std::move(channel)) {
    request_.set_write(write);
    for (int i = 0; i < callers; ++i) threads_.emplace_back([this] { Call(); });
  }
  ~Callers() { Stop(); }

  int count() const { return count_; }
  void WaitForCount(int count) const {
    while (count_ < count) Sleep(1);
  }
  Counts counts() {
    const std::lock_guard lock(mutex_);
    return counts_;
  }
  // When both sides are connected: until then one takes all.
  void CountFrom(int count) {
    WaitForCount(count);
    const std::lock_guard lock(mutex_);
    counts_ = {};
  }
  Counts Stop() {
    stopping_ = true;
    for (std::thread& thread : threads_) thread.join();
    threads_.clear();
    return counts_;
  }

 private:
  void Call() {
    const auto stub = v1::Workload::NewStub(channel_);
    while (!stopping_) {
      grpc::ClientContext context;
      context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(20));
      v1::CallResponse response;
      const SteadyTime start = std::chrono::steady_clock::now();
      const grpc::Status status = stub->Call(&context, request_, &response);
      ++count_;
      const std::lock_guard lock(mutex_);
      SteadyTime& last = counts_.last_start[status.ok() ? response.instance_id() : ""];
      last = std::max(last, start);
      if (status.ok()) {
        ++counts_.by_instance[response.instance_id()];
      } else if (counts_.failed++ == 0) {
        counts_.first_error = status.error_message();
      }
    }
  }

  std::shared_ptr<grpc::Channel> channel_;
  v1::CallRequest request_;
  std::atomic<bool> stopping_ = false;
  std::atomic<int> count_ = 0;
  std::mutex mutex_;
  Counts counts_;
  std::vector<std::thread> threads_;
};

}  // namespace foreshadow::testing
