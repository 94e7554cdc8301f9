// The instances of a cell: real processes, and a folder that remembers them. A restart of the agent
// finds every one again; none is lost and none is made twice. Thread-safe; calls of one instance
// are taken one after the other.
#pragma once

#include <array>
#include <cstdint>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "absl/status/statusor.h"
#include "service/cell/ports.h"
#include "service/cell/process.h"

namespace foreshadow::cell {

// Cores, bytes, bytes/s, bytes.
using Amounts = std::array<double, 4>;

// Far above any cell; keeps sums exact enough and finite.
inline constexpr double kAmountMax = 1e18;
// Whoever waits longer for an instance to end holds a thread of the server that long.
inline constexpr int64_t kGraceMsMax = 600'000;

inline constexpr int kPrimary = 1;  // as on the wire

struct Spec {
  std::string id;  // [A-Za-z0-9._-]{1,128}
  std::string account;
  int role = 0;  // as on the wire
  Amounts reserved{};

  bool operator==(const Spec&) const = default;
};

enum class InstanceState : uint8_t { kPaused = 1, kRunning, kExited };

// Where an instance serves; ports 0 = it does not.
struct Ports {
  int grpc = 0;
  int http = 0;

  bool operator==(const Ports&) const = default;
};

struct InstanceView {
  Spec spec;
  Ports ports;
  InstanceState state = InstanceState::kExited;
  int64_t created_ms = 0;
  pid_t pid = 0;
  double cpu_seconds = 0;
  uint64_t memory_bytes = 0;
  int exit_code = 0;
};

struct Options {
  std::string cell;
  std::string state_dir;
  std::vector<std::string> command;  // {id}, {account}, {cell}, {cpu_cores}, {memory_bytes},
                                     // {host}, {grpc_port}, {http_port} replaced
  std::string host = "127.0.0.1";    // IP address that instances serve on
  Amounts capacity{};                // 0 = not limited
  int64_t grace_ms = 5'000;          // between SIGTERM and SIGKILL
};

class Instances {
 public:
  // Reads the folder and finds what runs. FAILED_PRECONDITION when it cannot be used, or another
  // agent uses it; DATA_LOSS when a record cannot be read.
  static absl::StatusOr<std::unique_ptr<Instances>> Open(Options options);
  ~Instances();

  // Where the command names a port, a free one is given to it for as long as the instance lives.
  absl::StatusOr<InstanceView> Create(const Spec& spec, bool paused);
  absl::StatusOr<InstanceView> Resume(const std::string& id);
  absl::StatusOr<InstanceView> Pause(const std::string& id);
  // It is its account's primary from here on; NOT_FOUND.
  absl::StatusOr<InstanceView> Promote(const std::string& id);
  // Destroys the primaries of an account; returns their ids. None there succeeds.
  absl::StatusOr<std::vector<std::string>> RetirePrimaries(const std::string& account,
                                                           int64_t grace_ms);
  // Unknown ids succeed.
  absl::Status Destroy(const std::string& id, int64_t grace_ms);
  absl::StatusOr<InstanceView> Get(const std::string& id);  // NOT_FOUND
  std::vector<InstanceView> List();                         // by id
  Amounts reserved();
  const Options& options() const { return options_; }

 private:
  struct Record {
    Spec spec;
    Ports ports;
    std::shared_ptr<const HeldPort> held[2];  // kept from others while the instance is not there
    int64_t created_ms = 0;
    ProcessId process;
    bool paused = true;  // as last asked for; a restart brings the process there
    bool exited = false;
    int exit_code = -1;
    bool destroying = false;
  };

  explicit Instances(Options options) : options_(std::move(options)) {}
  absl::Status Load();
  absl::Status Save(const Record& record) const;
  absl::Status Forget(const std::string& id) const;
  absl::Status Adopt(Record& record);
  absl::Status CheckRoom(const Spec& spec) const;
  absl::Status HoldPorts(Record& record) const;
  absl::StatusOr<InstanceView> Switch(const std::string& id, bool run);
  std::string PathOf(const std::string& id) const;
  std::string MarkOf(const std::string& id) const;
  ProcessView Refresh(Record& record) const;
  InstanceView View(Record& record) const;

  const Options options_;
  const std::string boot_ = BootId();
  int lock_file_ = -1;
  std::mutex mutex_;
  std::map<std::string, Record> records_;
};

}  // namespace foreshadow::cell
