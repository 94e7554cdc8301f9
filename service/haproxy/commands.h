// Routes as commands of HAProxy's runtime API, and its statistics as counts of calls: pure, any
// thread. An account is a backend of its name; its sides are the servers `primary` and `shadow`.
//
// Protocol: https://docs.haproxy.org/2.6/management.html#9.3
#pragma once

#include <cstdint>
#include <map>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"
#include "service/router/routes.h"

namespace foreshadow::haproxy {

inline constexpr int kWeightsSum = 256;  // the largest weight that a server may have

// In an order in which no moment has a backend without a server, nor, where HAProxy was started
// anew, one at the weight of its file: addresses first, then what takes more, then what takes less,
// each ready once its weight is told. INVALID_ARGUMENT: a route that cannot be, or an account whose
// id is no name of a backend.
absl::StatusOr<std::vector<std::string>> CommandsOf(const router::Route& route);

// What is wrong with an answer to one of them; OK when it was carried out.
absl::Status CheckAnswer(const std::string& command, const std::string& answer);

// Of one server since HAProxy began.
struct ServerCounts {
  uint64_t requests_count = 0;  // finished
  uint64_t errors_count = 0;    // of these: no connection, no answer, or a 5xx
};
using Counts = std::map<std::pair<std::string, std::string>, ServerCounts>;  // backend, server

// Out of `show stat json`. DATA_LOSS when it is not that.
absl::StatusOr<Counts> CountsFrom(const std::string& json);
// Out of `show info json`: the process; another one has forgotten every command.
absl::StatusOr<int64_t> PidFrom(const std::string& json);

}  // namespace foreshadow::haproxy
