#include "training/client/serve_load.h"

#include <fmt/core.h>
#include <grpcpp/generic/generic_stub.h>
#include <grpcpp/support/proto_buffer_writer.h>

#include <algorithm>
#include <deque>
#include <filesystem>
#include <fstream>
#include <memory>
#include <mutex>
#include <optional>
#include <thread>

#include "foreshadow/v1/forecasts.grpc.pb.h"
#include "training/client/client.h"
#include "training/demo/processes.h"

namespace foreshadow::training {
namespace {

namespace fs = std::filesystem;

constexpr int64_t kPastMs = 1'700'000'000'000;
constexpr int kHistorySteps = 24;
constexpr int kSignals = 5;
constexpr double kWarmUpS = 1;

struct Folder {
  std::string path;
  Folder() {
    std::string name = (fs::temp_directory_path() / "foreshadow-bench-XXXXXX").string();
    if (mkdtemp(name.data()) != nullptr) path = name;
  }
  ~Folder() {
    std::error_code ignored;
    if (!path.empty()) fs::remove_all(path, ignored);
  }
};

struct Target {
  Folder folder;
  std::optional<ChildProcess> process;
  std::string address;
  std::shared_ptr<grpc::Channel> channel;
  std::vector<std::string> accounts;
};

absl::Status Failure(const std::string& what, const grpc::Status& status) {
  return {static_cast<absl::StatusCode>(status.error_code()),
          fmt::format("{}: {}", what, status.error_message())};
}

absl::Status Connect(const ServeOptions& options, Target& target) {
  const auto credentials = tls::MakeChannelCredentials(options.tls, "--tls-");
  if (!credentials.ok()) return credentials.status();
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(-1);
  target.channel = grpc::CreateCustomChannel(target.address, *credentials, arguments);
  return absl::OkStatus();
}

absl::Status StartServer(const ServeOptions& options, Target& target) {
  const std::string& folder = target.folder.path;
  if (folder.empty()) return absl::UnavailableError("no temporary folder can be made");
  const std::string config = folder + "/foreshadowd.toml";
  std::ofstream(config) << fmt::format(
      "[server]\nlisten = \"127.0.0.1:0\"\ndata_dir = \"{}/data\"\nlog_level = \"warning\"\n"
      "[tick]\nclock = \"data\"\nstep_ms = {}\nwindow_steps = 288\n"
      "[[cell]]\nid = \"cell-1\"\n",
      folder, options.step_ms);
  const fs::path bin = fs::read_symlink("/proc/self/exe").parent_path();
  auto process = ChildProcess::Start(
      {(bin / "foreshadowd").string(), "--config", config, "--port-file", folder + "/port"},
      folder + "/log");
  if (!process.ok()) return process.status();
  target.process.emplace(*std::move(process));
  const auto port = target.process->WaitForPort(folder + "/port");
  if (!port.ok()) return port.status();
  target.address = fmt::format("127.0.0.1:{}", *port);
  return absl::OkStatus();
}

int64_t TimeOf(int64_t step, int64_t step_ms) { return (kPastMs / step_ms + step) * step_ms; }

// All accounts and signals of one step; a wave that differs from account to account.
v1::IngestRequest StepOf(const std::vector<std::string>& accounts, int64_t time_ms, int64_t step) {
  v1::IngestRequest request;
  v1::SampleBatch& batch = *request.mutable_samples();
  for (const std::string& account : accounts) batch.add_account_ids(account);
  for (int signal = 0; signal < kSignals; ++signal) {
    v1::SampleColumn& column = *batch.add_columns();
    column.set_signal(static_cast<v1::Signal>(signal + 1));
    column.add_time_ms(time_ms);
    column.mutable_values()->Reserve(static_cast<int>(accounts.size()));
    for (size_t a = 0; a < accounts.size(); ++a) {
      column.add_values(1 + 0.1f * static_cast<float>((a * 7 + step * 13) % 10));
    }
  }
  return request;
}

absl::Status Fill(const ServeOptions& options, Target& target) {
  const auto fleet = v1::Fleet::NewStub(target.channel);
  v1::PutAccountsRequest put;
  for (int a = 0; a < options.accounts; ++a) {
    target.accounts.push_back(fmt::format("account-{:05}", a));
    put.add_accounts()->set_id(target.accounts.back());
    put.mutable_accounts(a)->set_cell("cell-1");
  }
  grpc::ClientContext put_context;
  v1::PutAccountsResponse response;
  const grpc::Status registered = fleet->PutAccounts(&put_context, put, &response);
  if (!registered.ok()) return Failure("PutAccounts", registered);

  grpc::ClientContext context;
  const auto stream = v1::Telemetry::NewStub(target.channel)->Ingest(&context);
  for (int step = 0; step < kHistorySteps; ++step) {
    const int64_t time_ms = TimeOf(step, options.step_ms);
    v1::IngestRequest request = StepOf(target.accounts, time_ms, step);
    if (step == kHistorySteps - 1) request.set_watermark_ms(time_ms + options.step_ms);
    v1::IngestResponse answer;
    if (!stream->Write(request) || !stream->Read(&answer)) break;
  }
  stream->WritesDone();
  const grpc::Status filled = stream->Finish();
  return filled.ok() ? absl::OkStatus() : Failure("Ingest", filled);
}

absl::Status FindAccounts(const ServeOptions& options, Target& target) {
  grpc::ClientContext context;
  v1::ListAccountsRequest request;
  request.set_page_size(static_cast<uint32_t>(options.accounts));
  v1::ListAccountsResponse response;
  const grpc::Status status =
      v1::Fleet::NewStub(target.channel)->ListAccounts(&context, request, &response);
  if (!status.ok()) return Failure("ListAccounts", status);
  for (const v1::Account& account : response.accounts()) target.accounts.push_back(account.id());
  if (target.accounts.empty()) {
    return absl::FailedPreconditionError("the server has no accounts to ask for");
  }
  return absl::OkStatus();
}

// One BatchForecast under way, its answer kept as bytes: what a caller does with it is not timed.
struct Asked {
  grpc::ClientContext context;
  grpc::ByteBuffer request;
  grpc::ByteBuffer response;
};

grpc::ByteBuffer RequestFor(const std::vector<std::string>& accounts, size_t first, size_t count) {
  v1::BatchForecastRequest request;
  for (size_t i = 0; i < count; ++i) {
    request.mutable_stored()->add_account_ids(accounts[(first + i) % accounts.size()]);
  }
  grpc::ByteBuffer bytes;
  bool own = false;
  (void)grpc::SerializationTraits<v1::BatchForecastRequest>::Serialize(request, &bytes, &own);
  return bytes;
}

LoadResult AskForForecasts(Target& target, const LoadOptions& load, size_t count) {
  grpc::GenericStub stub(target.channel);
  return RunOpenLoop(load, [&](int64_t call, AnswerTo answer) {
    auto asked = std::make_shared<Asked>();
    asked->request = RequestFor(target.accounts, static_cast<size_t>(call) * count, count);
    stub.UnaryCall(&asked->context, "/foreshadow.v1.Forecasts/BatchForecast", grpc::StubOptions(),
                   &asked->request, &asked->response,
                   [asked, answer = std::move(answer)](const grpc::Status& status) mutable {
                     const Answered answered{status.ok(), status.error_message(),
                                             static_cast<int64_t>(asked->response.Length())};
                     // Its context holds the channel, which must not end on gRPC's own thread.
                     asked.reset();
                     answer(answered);
                   });
  });
}

// A stream that is written to by the load's thread and read by its own; answers come in order.
class IngestLoad {
 public:
  explicit IngestLoad(Target& target)
      : stub_(v1::Telemetry::NewStub(target.channel)), stream_(stub_->Ingest(&context_)) {
    reader_ = std::thread([this] { Read(); });
  }

  void Send(v1::IngestRequest request, AnswerTo answer) {
    {
      const std::lock_guard lock(mutex_);
      waiting_.push_back(std::move(answer));
    }
    stream_->Write(request);  // when it fails, the reader tells
  }

  int64_t Finish() {
    stream_->WritesDone();
    reader_.join();
    return accepted_;
  }

 private:
  void Read() {
    v1::IngestResponse response;
    while (stream_->Read(&response)) {
      accepted_ += static_cast<int64_t>(response.accepted_count());
      Answer({response.error().empty() && response.rejected_count() == 0, response.error(), 0});
    }
    const grpc::Status status = stream_->Finish();
    while (Answer({false, status.error_message(), 0})) {
    }
  }

  bool Answer(const Answered& answered) {
    AnswerTo answer;
    {
      const std::lock_guard lock(mutex_);
      if (waiting_.empty()) return false;
      answer = std::move(waiting_.front());
      waiting_.pop_front();
    }
    answer(answered);
    return true;
  }

  grpc::ClientContext context_;
  std::unique_ptr<v1::Telemetry::Stub> stub_;
  std::unique_ptr<grpc::ClientReaderWriter<v1::IngestRequest, v1::IngestResponse>> stream_;
  std::mutex mutex_;
  std::deque<AnswerTo> waiting_;
  int64_t accepted_ = 0;
  std::thread reader_;
};

LoadResult SendTelemetry(Target& target, const ServeOptions& options, LoadOptions load) {
  const auto per_batch = static_cast<double>(target.accounts.size()) * kSignals;
  load.per_s = options.ingest_samples_per_s / per_batch;
  IngestLoad ingest(target);
  const auto began = std::chrono::steady_clock::now();
  LoadResult result = RunOpenLoop(load, [&](int64_t call, AnswerTo answer) {
    const int64_t step = kHistorySteps + call;
    ingest.Send(StepOf(target.accounts, TimeOf(step, options.step_ms), step), std::move(answer));
  });
  const std::chrono::duration<double> took = std::chrono::steady_clock::now() - began;
  result.samples_per_s = static_cast<double>(ingest.Finish()) / took.count();
  return result;
}

}  // namespace

absl::StatusOr<ServeResults> RunServe(const ServeOptions& options) {
  Target target;
  target.address = options.server;
  const bool own = options.server.empty();
  if (own) {
    if (absl::Status status = StartServer(options, target); !status.ok()) return status;
  }
  if (absl::Status status = Connect(options, target); !status.ok()) return status;
  const absl::Status ready = own ? Fill(options, target) : FindAccounts(options, target);
  if (!ready.ok()) return ready;

  ServeResults results;
  results.accounts = static_cast<int>(target.accounts.size());
  results.step_ms = options.step_ms;
  results.server = own ? FORESHADOW_VERSION : options.server;
  const auto wanted = [&](const char* name) {
    return options.scenarios.empty() ||
           std::find(options.scenarios.begin(), options.scenarios.end(), name) !=
               options.scenarios.end();
  };
  LoadOptions load;
  load.seconds = options.seconds;
  load.warm_up_s = kWarmUpS;
  const auto add = [&](const char* name, std::string what, LoadResult result) {
    result.name = name;
    result.what = std::move(what);
    results.scenarios.push_back(std::move(result));
  };
  if (wanted("large")) {
    load.per_s = options.large_per_s;
    add("large", fmt::format("BatchForecast of {} accounts", target.accounts.size()),
        AskForForecasts(target, load, target.accounts.size()));
  }
  if (wanted("small")) {
    load.per_s = options.small_per_s;
    add("small", fmt::format("BatchForecast of {} accounts", options.small_accounts),
        AskForForecasts(target, load, static_cast<size_t>(options.small_accounts)));
  }
  if (wanted("ingest")) {
    if (!own)
      return absl::InvalidArgumentError(
          "--server: the scenario ingest fills a server of "
          "its own only; leave it out with --scenarios");
    add("ingest",
        fmt::format("Telemetry.Ingest, batches of {} samples", target.accounts.size() * kSignals),
        SendTelemetry(target, options, load));
  }
  return results;
}

}  // namespace foreshadow::training
