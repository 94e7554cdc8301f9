// What every caller of Prometheus' HTTP API needs.
#pragma once

#include <httplib.h>

#include <nlohmann/json.hpp>
#include <string>

#include "absl/status/statusor.h"

namespace foreshadow {

struct PrometheusServer {
  std::string host;    // http://HOST:PORT
  std::string prefix;  // that its paths begin with, without a slash at the end; mostly ""
};
PrometheusServer ServerOf(const std::string& url);

// A whole answer that says "success". INVALID_ARGUMENT says in words why it is none, and not what
// was asked.
absl::StatusOr<nlohmann::json> AnswerOf(const httplib::Response& response);

}  // namespace foreshadow
