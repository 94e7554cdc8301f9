#include "service/monitor/prometheus_api.h"

#include <fmt/core.h>

#include <utility>

namespace foreshadow {

using nlohmann::json;

PrometheusServer ServerOf(const std::string& url) {
  const size_t host = url.find("://");
  const size_t path = host == std::string::npos ? host : url.find('/', host + 3);
  PrometheusServer server{url.substr(0, path), path == std::string::npos ? "" : url.substr(path)};
  while (server.prefix.ends_with('/')) server.prefix.pop_back();
  return server;
}

absl::StatusOr<json> AnswerOf(const httplib::Response& response) {
  json answer = json::parse(response.body, nullptr, /*allow_exceptions=*/false);
  if (answer.is_object() && answer.value("status", "") == "success") return answer;
  const std::string why = answer.is_object() ? answer.value("error", "") : "";
  return absl::InvalidArgumentError(
      why.empty() ? fmt::format("HTTP {}, not an answer of Prometheus' API: {}", response.status,
                                response.body.substr(0, 200))
                  : why);
}

}  // namespace foreshadow
