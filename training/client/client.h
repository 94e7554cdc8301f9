// A client of a running foreshadowd, for the commands that talk to one. One thread a client.
#pragma once

#include <grpcpp/grpcpp.h>

#include <CLI/CLI.hpp>
#include <memory>
#include <string>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "foreshadow/v1/fleet.grpc.pb.h"
#include "foreshadow/v1/plans.grpc.pb.h"
#include "foreshadow/v1/telemetry.grpc.pb.h"
#include "service/tls/credentials.h"

namespace foreshadow::training {

inline constexpr const char* kDefaultServer = "127.0.0.1:7420";

struct Client {
  std::string address;
  std::unique_ptr<v1::Plans::Stub> plans;
  std::unique_ptr<v1::Fleet::Stub> fleet;
  std::unique_ptr<v1::Telemetry::Stub> telemetry;

  // Without TLS. Never fails: an unreachable server shows with the first call.
  static Client To(const std::string& address);
  // With what the user gave; an error names the flag and file that is wrong.
  static absl::StatusOr<Client> To(const std::string& address, const tls::ClientFiles& files);

  // The same code and words as an absl::Status, the server named.
  absl::Status Check(const grpc::Status& status) const;

  // Calls a unary method, e.g. Call(*plans, &v1::Plans::Stub::GetPlan, request).
  template <typename Stub, typename Request, typename Response>
  absl::StatusOr<Response> Call(Stub& stub,
                                grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                             Response*),
                                const Request& request) const {
    grpc::ClientContext context;
    context.set_deadline(std::chrono::system_clock::now() + std::chrono::seconds(30));
    Response response;
    const grpc::Status status = (stub.*method)(&context, request, &response);
    if (!status.ok()) return Check(status);
    return response;
  }
};

// The flags --tls-ca, --tls-cert, --tls-key and --token-file.
void AddTlsOptions(CLI::App& command, tls::ClientFiles& files);

// The message as indented JSON, every field there.
std::string ToJson(const google::protobuf::Message& message);

// "2013-07-23 03:05" in UTC.
std::string ClockTime(int64_t time_ms);

// The wire's name without its prefix, in small letters: "cpu", "sharing", "create-shadow".
std::string Word(v1::Signal signal);
std::string Word(v1::ShadowState state);
std::string Word(v1::ActionKind kind);
std::string Word(v1::ActionState state);
std::string Word(v1::CellState state);

}  // namespace foreshadow::training
