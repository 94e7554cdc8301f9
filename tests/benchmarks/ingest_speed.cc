// How many samples a second a running foreshadowd takes in, durably, from a client on this machine.
//
//   ingest_speed --server 127.0.0.1:7420 --cell a --accounts 10000 --steps 200 --streams 2
//
// Each stream sends its share of the accounts, all five signals, a batch a step, and waits for each
// acknowledgement before it sends the next one: what is counted is on the disk.
#include <fmt/core.h>
#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <mutex>
#include <thread>
#include <vector>

#include "foreshadow/v1/fleet.grpc.pb.h"
#include "foreshadow/v1/telemetry.grpc.pb.h"

namespace foreshadow {
namespace {

struct Flags {
  std::string server = "127.0.0.1:7420";
  std::string cell = "a";
  int accounts = 10'000;
  int64_t steps = 200;
  int64_t step_ms = 60'000;
  int64_t start_ms = 1'700'000'040'000;
  int streams = 2;
};

using Clock = std::chrono::steady_clock;

std::string IdOf(int account) { return fmt::format("account-{}", account); }

void PutAccounts(const Flags& flags, const std::shared_ptr<grpc::Channel>& channel) {
  const auto fleet = v1::Fleet::NewStub(channel);
  constexpr int kAtOnce = 50'000;
  for (int first = 0; first < flags.accounts; first += kAtOnce) {
    v1::PutAccountsRequest request;
    for (int a = first; a < std::min(first + kAtOnce, flags.accounts); ++a) {
      v1::Account& account = *request.add_accounts();
      account.set_id(IdOf(a));
      account.set_cell(flags.cell);
    }
    grpc::ClientContext context;
    v1::PutAccountsResponse response;
    const grpc::Status status = fleet->PutAccounts(&context, request, &response);
    if (!status.ok()) throw std::runtime_error(status.error_message());
  }
}

// One step of the accounts first .. end - 1; values of a demand that wanders.
void FillStep(const Flags& flags, int first, int end, int64_t step, v1::IngestRequest& request) {
  v1::SampleBatch& batch = *request.mutable_samples();
  batch.clear_columns();
  for (int signal = 1; signal <= 5; ++signal) {
    v1::SampleColumn& column = *batch.add_columns();
    column.set_signal(static_cast<v1::Signal>(signal));
    column.add_time_ms(flags.start_ms + step * flags.step_ms);
    auto& values = *column.mutable_values();
    values.Resize(end - first, 0);
    for (int a = first; a < end; ++a) {
      values[a - first] = static_cast<float>((a * 31 + step * 7 + signal) % 1'009) / 100;
    }
  }
}

struct Sum {
  std::mutex mutex;
  uint64_t accepted = 0;
  std::vector<double> waits_ms;  // of each batch
};

void Send(const Flags& flags, int first, int end, Sum& sum) {
  const auto channel = grpc::CreateChannel(flags.server, grpc::InsecureChannelCredentials());
  const auto stub = v1::Telemetry::NewStub(channel);
  grpc::ClientContext context;
  const auto stream = stub->Ingest(&context);
  v1::IngestRequest request;
  for (int a = first; a < end; ++a) request.mutable_samples()->add_account_ids(IdOf(a));
  uint64_t accepted = 0;
  std::vector<double> waits_ms;
  for (int64_t step = 0; step < flags.steps; ++step) {
    FillStep(flags, first, end, step, request);
    const auto begin = Clock::now();
    v1::IngestResponse response;
    if (!stream->Write(request) || !stream->Read(&response)) break;
    waits_ms.push_back(std::chrono::duration<double, std::milli>(Clock::now() - begin).count());
    accepted += response.accepted_count();
  }
  stream->WritesDone();
  const grpc::Status status = stream->Finish();
  if (!status.ok()) fmt::print(stderr, "a stream ended: {}\n", status.error_message());
  const std::lock_guard lock(sum.mutex);
  sum.accepted += accepted;
  sum.waits_ms.insert(sum.waits_ms.end(), waits_ms.begin(), waits_ms.end());
}

int Run(const Flags& flags) {
  PutAccounts(flags, grpc::CreateChannel(flags.server, grpc::InsecureChannelCredentials()));
  Sum sum;
  const auto begin = Clock::now();
  std::vector<std::thread> threads;
  for (int s = 0; s < flags.streams; ++s) {
    const int first = static_cast<int>(int64_t{flags.accounts} * s / flags.streams);
    const int end = static_cast<int>(int64_t{flags.accounts} * (s + 1) / flags.streams);
    threads.emplace_back([&, first, end] { Send(flags, first, end, sum); });
  }
  for (std::thread& thread : threads) thread.join();
  const double seconds = std::chrono::duration<double>(Clock::now() - begin).count();
  std::sort(sum.waits_ms.begin(), sum.waits_ms.end());
  const auto at = [&](double share) {
    return sum.waits_ms.empty()
               ? 0
               : sum.waits_ms[static_cast<size_t>(share * (std::ssize(sum.waits_ms) - 1))];
  };
  fmt::print(
      "{} samples accepted in {:.2f} s: {:.0f} a second; a batch {:.1f} ms (median), {:.1f} ms (99 "
      "%)\n",
      sum.accepted, seconds, static_cast<double>(sum.accepted) / seconds, at(0.5), at(0.99));
  return sum.accepted > 0 ? 0 : 1;
}

}  // namespace
}  // namespace foreshadow

int main(int argc, char** argv) {
  foreshadow::Flags flags;
  CLI::App app("Samples a second into a running foreshadowd, durable");
  app.add_option("--server", flags.server)->capture_default_str();
  app.add_option("--cell", flags.cell)->capture_default_str();
  app.add_option("--accounts", flags.accounts)->capture_default_str();
  app.add_option("--steps", flags.steps)->capture_default_str();
  app.add_option("--step-ms", flags.step_ms)->capture_default_str();
  app.add_option("--start-ms", flags.start_ms)->capture_default_str();
  app.add_option("--streams", flags.streams)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return foreshadow::Run(flags);
}
