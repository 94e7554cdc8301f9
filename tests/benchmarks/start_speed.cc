// How long a foreshadowd takes from its start to the first answers, with a history on disk, and the
// memory that it then holds:
//
//   start_speed --accounts 1000 --steps 2016     10 million samples: the default window of each
//   start_speed --accounts 10000 --steps 200     as many, of ten times the accounts
//
// A first server is filled by ingest_speed and stopped. The second one is measured, on the data
// clock, since with the wall clock only samples of the present are in the window; its first tick is
// the same.
#include <fmt/core.h>
#include <httplib.h>

#include <CLI/CLI.hpp>
#include <algorithm>
#include <chrono>
#include <sstream>

#include "tests/integration/running_server.h"
#include "tests/unit/service/temporary_folder.h"

namespace foreshadow::testing {
namespace {

constexpr int kAsked = 100;  // accounts whose forecasts are the first answer

struct Flags {
  int accounts = 1'000;
  int64_t steps = 2'016;
  int64_t step_ms = 60'000;
  int64_t window_steps = 2'016;
};

using SteadyClock = std::chrono::steady_clock;

double SecondsSince(SteadyClock::time_point begin) {
  return std::chrono::duration<double>(SteadyClock::now() - begin).count();
}

int64_t StartMs(const Flags& flags) { return kStartMs / flags.step_ms * flags.step_ms; }

std::string Config(const std::string& folder, const Flags& flags) {
  return fmt::format(
      "[server]\nlisten = \"127.0.0.1:0\"\nhttp_listen = \"127.0.0.1:0\"\n"
      "data_dir = \"{}/data\"\nlog_level = \"warning\"\n"
      "[tick]\nclock = \"data\"\nstep_ms = {}\nwindow_steps = {}\n[[cell]]\nid = \"a\"\n",
      folder, flags.step_ms, flags.window_steps);
}

double Mebibytes(RunningServer& server, const std::string& field) {
  std::istringstream status(ReadFile(fmt::format("/proc/{}/status", server.process().pid())));
  for (std::string line; std::getline(status, line);) {
    if (line.starts_with(field + ":")) return std::stod(line.substr(field.size() + 1)) / 1024;
  }
  return 0;
}

// Processor time so far; on a machine with other work the clock says less.
double CpuSeconds(RunningServer& server) {
  std::istringstream fields(ReadFile(fmt::format("/proc/{}/stat", server.process().pid())));
  constexpr int kUserTicks = 13;
  std::string skipped;
  for (int i = 0; i < kUserTicks; ++i) fields >> skipped;
  double user_ticks = 0;
  double system_ticks = 0;
  fields >> user_ticks >> system_ticks;
  return (user_ticks + system_ticks) / static_cast<double>(sysconf(_SC_CLK_TCK));
}

bool Fill(const std::string& folder, const Flags& flags) {
  RunningServer server(folder, Config(folder, flags));
  Process filling(
      {std::string(FORESHADOW_BIN_DIR) + "/ingest_speed", "--server", server.address(),
       "--accounts", std::to_string(flags.accounts), "--steps", std::to_string(flags.steps),
       "--step-ms", std::to_string(flags.step_ms), "--start-ms", std::to_string(StartMs(flags))},
      folder + "/ingest.log");
  const bool filled = filling.Wait() == 0;
  fmt::print("{}", filling.Output());
  return server.Stop() == 0 && filled;
}

bool Tick(RunningServer& server, const Flags& flags) {
  v1::IngestRequest request;
  request.set_watermark_ms(StartMs(flags) + flags.steps * flags.step_ms);
  Sender sender(server);
  v1::IngestResponse response;
  const bool answered = sender.Send(request, &response);
  const grpc::Status status = sender.Finish();
  if (!status.ok()) fmt::print(stderr, "the first tick: {}\n", status.error_message());
  return answered && status.ok() && response.last_tick_ms() > 0;
}

int64_t Forecasts(RunningServer& server, const Flags& flags) {
  v1::BatchForecastRequest request;
  for (int a = 0; a < std::min(kAsked, flags.accounts); ++a) {
    request.mutable_stored()->add_account_ids(fmt::format("account-{}", a));
  }
  grpc::ClientContext context;
  v1::BatchForecastResponse response;
  const grpc::Status status = server.forecasts->BatchForecast(&context, request, &response);
  if (!status.ok()) fmt::print(stderr, "BatchForecast: {}\n", status.error_message());
  return static_cast<int64_t>(response.ByteSizeLong());
}

void PrintStages(RunningServer& server) {
  httplib::Client client("127.0.0.1", server.http_port());
  const auto response = client.Get("/metrics");
  std::istringstream lines(response ? response->body : "");
  constexpr std::string_view kSum = "foreshadow_tick_stage_seconds_sum{stage=\"";
  for (std::string line; std::getline(lines, line);) {
    if (!line.starts_with(kSum)) continue;
    const size_t end = line.find('"', kSum.size());
    const double seconds = std::stod(line.substr(line.rfind(' ') + 1));
    if (seconds < 0.005) continue;
    fmt::print("    {:<28} {:8.2f} s\n", line.substr(kSum.size(), end - kSum.size()), seconds);
  }
}

int Run(const Flags& flags) {
  const TemporaryFolder folder;
  if (!Fill(folder.path(), flags)) return 1;
  const auto begin = SteadyClock::now();
  RunningServer server(folder.path(), Config(folder.path(), flags));
  fmt::print("listening                        {:8.2f} s\n", SecondsSince(begin));
  const double before_mib = Mebibytes(server, "VmRSS");
  if (!Tick(server, flags)) return 1;
  fmt::print("the first tick has ended         {:8.2f} s\n", SecondsSince(begin));
  PrintStages(server);
  const int64_t bytes = Forecasts(server, flags);
  fmt::print("the first forecasts are there    {:8.2f} s ({} bytes), {:.1f} s of processor time\n",
             SecondsSince(begin), bytes, CpuSeconds(server));
  fmt::print("memory: {:.0f} MiB before the tick, {:.0f} after it, {:.0f} at most\n", before_mib,
             Mebibytes(server, "VmRSS"), Mebibytes(server, "VmHWM"));
  return bytes > 0 && server.Stop() == 0 ? 0 : 1;
}

}  // namespace
}  // namespace foreshadow::testing

int main(int argc, char** argv) {
  foreshadow::testing::Flags flags;
  CLI::App app("From the start of a foreshadowd with a history to its first answers");
  app.add_option("--accounts", flags.accounts)->capture_default_str();
  app.add_option("--steps", flags.steps)->capture_default_str();
  app.add_option("--step-ms", flags.step_ms)->capture_default_str();
  app.add_option("--window-steps", flags.window_steps)->capture_default_str();
  CLI11_PARSE(app, argc, argv);
  return foreshadow::testing::Run(flags);
}
