#include "training/client/history.h"

#include <fmt/core.h>

#include "foreshadow/v1/history.grpc.pb.h"
#include "training/client/client.h"

namespace foreshadow::training {
namespace {

// A backup of much data takes long.
constexpr auto kWait = std::chrono::hours(6);

template <typename Request, typename Response>
absl::Status Call(const std::string& server, const tls::ClientFiles& files,
                  grpc::Status (v1::History::Stub::*method)(grpc::ClientContext*, const Request&,
                                                            Response*),
                  const Request& request, Response& response) {
  const auto credentials = tls::MakeChannelCredentials(files, "--tls-");
  if (!credentials.ok()) return credentials.status();
  grpc::ChannelArguments arguments;
  arguments.SetMaxReceiveMessageSize(64 << 20);
  const auto stub =
      v1::History::NewStub(grpc::CreateCustomChannel(server, *credentials, arguments));
  grpc::ClientContext context;
  context.set_deadline(std::chrono::system_clock::now() + kWait);
  const grpc::Status status = ((*stub).*method)(&context, request, &response);
  if (status.ok()) return absl::OkStatus();
  return {static_cast<absl::StatusCode>(status.error_code()),
          fmt::format("server {}: {}", server, status.error_message())};
}

}  // namespace

absl::StatusOr<BackupMade> AskForBackup(const std::string& server, const tls::ClientFiles& files) {
  v1::BackupResponse response;
  const absl::Status status =
      Call(server, files, &v1::History::Stub::Backup, v1::BackupRequest(), response);
  if (!status.ok()) return status;
  return BackupMade{response.id(), response.folder(), response.bytes()};
}

absl::StatusOr<std::string> ReadSeriesCsv(const std::string& server, const tls::ClientFiles& files,
                                          const SeriesQuery& query) {
  v1::ReadSeriesRequest request;
  request.set_account_id(query.account);
  request.set_signal(static_cast<v1::Signal>(query.signal + 1));
  request.set_from_ms(query.from_ms);
  request.set_to_ms(query.to_ms);
  request.set_resolution(static_cast<v1::Resolution>(query.resolution + 1));
  v1::ReadSeriesResponse series;
  const absl::Status status = Call(server, files, &v1::History::Stub::ReadSeries, request, series);
  if (!status.ok()) return status;
  const bool is_samples = query.resolution == 0;
  std::string csv = is_samples ? "timestamp,value\n" : "timestamp,mean,min,max,count\n";
  for (int i = 0; i < series.start_ms_size(); ++i) {
    csv += fmt::format("{},{}", series.start_ms(i), series.mean(i));
    if (!is_samples) {
      csv += fmt::format(",{},{},{}", series.min(i), series.max(i), series.count(i));
    }
    csv += '\n';
  }
  return csv;
}

}  // namespace foreshadow::training
