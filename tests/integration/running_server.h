// A real foreshadowd on a free port over a folder of its own, and clients of its services.
#pragma once

#include <fmt/core.h>
#include <grpcpp/grpcpp.h>
#include <gtest/gtest.h>

#include <chrono>
#include <fstream>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include "foreshadow/v1/fleet.grpc.pb.h"
#include "foreshadow/v1/forecasts.grpc.pb.h"
#include "foreshadow/v1/patterns.grpc.pb.h"
#include "foreshadow/v1/plans.grpc.pb.h"
#include "foreshadow/v1/telemetry.grpc.pb.h"
#include "tests/integration/process.h"

namespace foreshadow::testing {

inline constexpr int64_t kStepMs = 60'000;
inline constexpr int64_t kStartMs = 1'700'000'040'000;  // any whole step of the past

inline std::vector<std::string> ServerCommand(const std::string& config) {
  return {std::string(FORESHADOW_BIN_DIR) + "/foreshadowd", "--config", config};
}

inline void WriteFile(const std::string& path, const std::string& text) {
  std::ofstream(path) << text;
}

// Two cells; cell a has 10 cores, cell b 40. An empty agent: none.
inline std::string ConfigText(const std::string& folder, const std::string& agent_a,
                              const std::string& agent_b, const std::string& more = "") {
  return fmt::format(R"([server]
listen = "127.0.0.1:0"
http_listen = "127.0.0.1:0"
data_dir = "{}/data"
[tick]
step_ms = {}
window_steps = 240
clock = "data"
[shadow]
mode = "act"
promote_after_ms = 0
{}
[[cell]]
id = "a"
zone = "one"
agent = "{}"
cpu_cores = 10
[[cell]]
id = "b"
zone = "two"
agent = "{}"
cpu_cores = 40
)",
                     folder, kStepMs, more, agent_a, agent_b);
}

class RunningServer {
 public:
  RunningServer(const std::string& folder, const std::string& config,
                const std::vector<std::string>& flags = {}) {
    const std::string file = folder + "/config.toml";
    const std::string port_file = folder + "/port";
    WriteFile(file, config);
    std::vector<std::string> command = ServerCommand(file);
    command.insert(command.end(), {"--port-file", port_file});
    command.insert(command.end(), flags.begin(), flags.end());
    const std::string http_port_file = folder + "/http_port";
    command.insert(command.end(), {"--http-port-file", http_port_file});
    unlink(port_file.c_str());
    process_ = std::make_unique<Process>(command, folder + "/log");
    while (ReadFile(port_file).empty() && !process_->Ended()) {
      std::this_thread::sleep_for(std::chrono::milliseconds(5));
    }
    port_ = process_->Ended() ? 0 : std::stoi(ReadFile(port_file));
    EXPECT_NE(port_, 0) << process_->Output();
    const std::string http_port = ReadFile(http_port_file);  // there before the other, or never
    http_port_ = http_port.empty() ? 0 : std::stoi(http_port);
    channel_ = grpc::CreateChannel(address(), grpc::InsecureChannelCredentials());
    telemetry = v1::Telemetry::NewStub(channel_);
    fleet = v1::Fleet::NewStub(channel_);
    forecasts = v1::Forecasts::NewStub(channel_);
    patterns = v1::Patterns::NewStub(channel_);
    plans = v1::Plans::NewStub(channel_);
  }

  std::string address() const { return "127.0.0.1:" + std::to_string(port_); }
  int http_port() const { return http_port_; }  // 0: it has none
  const std::shared_ptr<grpc::Channel>& channel() const { return channel_; }
  Process& process() { return *process_; }

  int Stop() {
    process_->Signal(SIGTERM);
    return process_->Wait();
  }
  void KillAtOnce() {
    process_->Signal(SIGKILL);
    process_->Wait();
  }

  grpc::Status Put(const std::vector<v1::Account>& accounts,
                   v1::PutAccountsResponse* response = nullptr) {
    v1::PutAccountsRequest request;
    for (const v1::Account& account : accounts) *request.add_accounts() = account;
    grpc::ClientContext context;
    v1::PutAccountsResponse ignored;
    return fleet->PutAccounts(&context, request, response != nullptr ? response : &ignored);
  }

  v1::Plan GetPlan() {
    grpc::ClientContext context;
    v1::Plan plan;
    const grpc::Status status = plans->GetPlan(&context, {}, &plan);
    EXPECT_TRUE(status.ok()) << status.error_message();
    return plan;
  }

  v1::GetStatusResponse GetStatus() {
    grpc::ClientContext context;
    v1::GetStatusResponse response;
    EXPECT_TRUE(plans->GetStatus(&context, {}, &response).ok());
    return response;
  }

  std::unique_ptr<v1::Telemetry::Stub> telemetry;
  std::unique_ptr<v1::Fleet::Stub> fleet;
  std::unique_ptr<v1::Forecasts::Stub> forecasts;
  std::unique_ptr<v1::Patterns::Stub> patterns;
  std::unique_ptr<v1::Plans::Stub> plans;

 private:
  std::unique_ptr<Process> process_;
  int port_ = 0;
  int http_port_ = 0;
  std::shared_ptr<grpc::Channel> channel_;
};

inline v1::Account MakeAccount(const std::string& id, const std::string& cell) {
  v1::Account account;
  account.set_id(id);
  account.set_cell(cell);
  return account;
}

// A telemetry stream that sends one batch and waits for its answer.
class Sender {
 public:
  explicit Sender(RunningServer& server) : stream_(server.telemetry->Ingest(&context_)) {}

  // False when the stream has ended; Finish then tells why.
  bool Send(const v1::IngestRequest& request, v1::IngestResponse* response) {
    return stream_->Write(request) && stream_->Read(response);
  }
  v1::IngestResponse Send(const v1::IngestRequest& request) {
    v1::IngestResponse response;
    EXPECT_TRUE(Send(request, &response)) << "the stream has ended";
    return response;
  }
  grpc::Status Finish() {
    stream_->WritesDone();
    return stream_->Finish();
  }

 private:
  grpc::ClientContext context_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::IngestRequest, v1::IngestResponse>> stream_;
};

inline v1::SampleColumn& AddColumn(v1::IngestRequest& request, v1::Signal signal, int64_t time_ms,
                                   const std::vector<float>& values) {
  v1::SampleColumn& column = *request.mutable_samples()->add_columns();
  column.set_signal(signal);
  column.add_time_ms(time_ms);
  column.mutable_values()->Assign(values.begin(), values.end());
  return column;
}

inline v1::IngestRequest CpuBatch(const std::vector<std::string>& ids, int64_t time_ms,
                                  const std::vector<float>& values) {
  v1::IngestRequest request;
  for (const std::string& id : ids) request.mutable_samples()->add_account_ids(id);
  AddColumn(request, v1::SIGNAL_CPU, time_ms, values);
  return request;
}

}  // namespace foreshadow::testing
