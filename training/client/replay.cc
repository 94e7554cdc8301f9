#include "training/client/replay.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>

namespace foreshadow::training {
namespace {

constexpr size_t kAccountsAtOnce = 50'000;
constexpr int64_t kSamplesAtOnce = 500'000;

void FillColumn(const Trace& trace, int signal, int64_t first, int64_t end,
                v1::SampleColumn& column) {
  column.set_signal(static_cast<v1::Signal>(signal + 1));
  for (int64_t step = first; step < end; ++step) {
    for (int64_t a = 0; a < std::ssize(trace.accounts); ++a) {
      const float value = trace.view().at(step, a * kTraceSignals + signal);
      if (std::isnan(value)) continue;
      column.add_account_index(static_cast<uint32_t>(a));
      column.add_time_ms(trace.start_ms + step * trace.step_ms);
      column.add_values(value);
    }
  }
}

}  // namespace

int64_t HistoryStepsAtOnce(const Trace& trace) {
  return std::clamp<int64_t>(kSamplesAtOnce / std::max<int64_t>(1, trace.series()), 1, 48);
}

absl::Status RegisterAccounts(const Client& client, const Trace& trace) {
  for (size_t first = 0; first < trace.accounts.size(); first += kAccountsAtOnce) {
    v1::PutAccountsRequest request;
    for (size_t i = first; i < std::min(first + kAccountsAtOnce, trace.accounts.size()); ++i) {
      v1::Account& account = *request.add_accounts();
      account.set_id(trace.accounts[i].id);
      account.set_cell(trace.accounts[i].cell);
      account.set_application(trace.accounts[i].application);
    }
    const auto response = client.Call(*client.fleet, &v1::Fleet::Stub::PutAccounts, request);
    if (!response.ok()) return response.status();
  }
  return absl::OkStatus();
}

ReplayCounts& ReplayCounts::operator+=(const ReplayCounts& other) {
  accepted += other.accepted;
  duplicates += other.duplicates;
  rejected += other.rejected;
  if (first_rejection.empty()) first_rejection = other.first_rejection;
  return *this;
}

Replay::Replay(const Client& client, const Trace& trace)
    : client_(client), trace_(trace), stream_(client.telemetry->Ingest(&context_)) {}

absl::StatusOr<ReplayCounts> Replay::Send(int64_t first, int64_t end, bool tick) {
  v1::IngestRequest request;
  request.set_sequence(++sequence_);
  for (const TraceAccount& account : trace_.accounts) {
    request.mutable_samples()->add_account_ids(account.id);
  }
  for (int signal = 0; signal < kTraceSignals; ++signal) {
    FillColumn(trace_, signal, first, end, *request.mutable_samples()->add_columns());
    const int last = request.samples().columns_size() - 1;
    if (request.samples().columns(last).values_size() == 0) {
      request.mutable_samples()->mutable_columns()->RemoveLast();
    }
  }
  if (tick) request.set_watermark_ms(trace_.start_ms + end * trace_.step_ms);
  v1::IngestResponse response;
  if (!stream_->Write(request) || !stream_->Read(&response)) {
    const absl::Status status = Finish();
    if (!status.ok()) return status;
    return absl::UnavailableError(
        fmt::format("server {}: ended the stream without an answer", client_.address));
  }
  if (!response.error().empty()) {
    return absl::InvalidArgumentError(fmt::format("server {} refused the steps {} .. {}: {}",
                                                  client_.address, first, end - 1,
                                                  response.error()));
  }
  return ReplayCounts{
      response.accepted_count(), response.duplicate_count(), response.rejected_count(),
      response.rejections_size() > 0 ? response.rejections(0).message() : std::string()};
}

absl::StatusOr<ReplayCounts> SendHistory(const Client& client, const Trace& trace,
                                         const std::function<bool()>& stop) {
  if (absl::Status status = RegisterAccounts(client, trace); !status.ok()) return status;
  Replay stream(client, trace);
  ReplayCounts total;
  const int64_t at_once = HistoryStepsAtOnce(trace);
  for (int64_t step = 0; step < trace.steps; step += at_once) {
    if (stop()) return absl::CancelledError("interrupted");
    const auto counts = stream.Send(step, std::min(step + at_once, trace.steps), false);
    if (!counts.ok()) return counts.status();
    total += *counts;
  }
  if (absl::Status status = stream.Finish(); !status.ok()) return status;
  return total;
}

absl::Status Replay::Finish() {
  stream_->WritesDone();
  const grpc::Status status = stream_->Finish();
  return status.ok() ? absl::OkStatus() : client_.Check(status);
}

}  // namespace foreshadow::training
