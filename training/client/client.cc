#include "training/client/client.h"

#include <fmt/core.h>
#include <google/protobuf/util/json_util.h>

#include <algorithm>

#include "absl/time/time.h"

namespace foreshadow::training {
namespace {

std::string WithoutPrefix(const std::string& name, const std::string& prefix) {
  std::string word = name.substr(std::min(prefix.size(), name.size()));
  std::transform(word.begin(), word.end(), word.begin(),
                 [](char c) { return c == '_' ? '-' : static_cast<char>(std::tolower(c)); });
  return word;
}

}  // namespace

Client Client::To(const std::string& address) { return *To(address, tls::ClientFiles{}); }

absl::StatusOr<Client> Client::To(const std::string& address, const tls::ClientFiles& files) {
  const auto credentials = tls::MakeChannelCredentials(files, "--tls-");
  if (!credentials.ok()) return credentials.status();
  const auto channel = grpc::CreateChannel(address, *credentials);
  return Client{address, v1::Plans::NewStub(channel), v1::Fleet::NewStub(channel),
                v1::Telemetry::NewStub(channel)};
}

absl::Status Client::Check(const grpc::Status& status) const {
  return {static_cast<absl::StatusCode>(status.error_code()),
          fmt::format("server {}: {}", address, status.error_message())};
}

void AddTlsOptions(CLI::App& command, tls::ClientFiles& files) {
  command.add_option("--tls-ca", files.ca,
                     "PEM authorities of the server's certificate; none: plain text");
  command.add_option("--tls-cert", files.cert, "PEM certificate to show to the server");
  command.add_option("--tls-key", files.key, "Its private key");
  command.add_option("--token-file", files.token, "File whose line is the bearer token to send");
}

std::string ToJson(const google::protobuf::Message& message) {
  google::protobuf::util::JsonPrintOptions options;
  options.add_whitespace = true;
  options.always_print_primitive_fields = true;
  options.preserve_proto_field_names = true;
  std::string json;
  (void)google::protobuf::util::MessageToJsonString(message, &json, options);
  return json;
}

std::string ClockTime(int64_t time_ms) {
  return absl::FormatTime("%Y-%m-%d %H:%M", absl::FromUnixMillis(time_ms), absl::UTCTimeZone());
}

std::string Word(v1::Signal signal) { return WithoutPrefix(v1::Signal_Name(signal), "SIGNAL_"); }
std::string Word(v1::ShadowState state) {
  return WithoutPrefix(v1::ShadowState_Name(state), "SHADOW_STATE_");
}
std::string Word(v1::ActionKind kind) {
  return WithoutPrefix(v1::ActionKind_Name(kind), "ACTION_KIND_");
}
std::string Word(v1::ActionState state) {
  return WithoutPrefix(v1::ActionState_Name(state), "ACTION_STATE_");
}
std::string Word(v1::CellState state) {
  return WithoutPrefix(v1::CellState_Name(state), "CELL_STATE_");
}

}  // namespace foreshadow::training
