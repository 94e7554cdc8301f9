#include "service/haproxy/commands.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <nlohmann/json.hpp>

#include "service/router/check.h"

namespace foreshadow::haproxy {
namespace {

using nlohmann::json;
using router::Route;
using router::Side;

bool Reached(const Side& side) { return !side.address.host.empty() && side.address.http_port != 0; }

bool IsName(const std::string& text) {
  return std::ranges::all_of(text, [](unsigned char c) {
    return std::isalnum(c) != 0 || c == '-' || c == '_' || c == '.' || c == ':';
  });
}

std::string NameOf(const json& field) { return field.at("field").at("name").get<std::string>(); }

// A list of fields that are named: one object of `show stat`, or all of `show info`.
std::map<std::string, json> ByName(const json& fields) {
  std::map<std::string, json> named;
  for (const json& field : fields) named[NameOf(field)] = field.at("value").at("value");
  return named;
}

uint64_t CountOf(const std::map<std::string, json>& fields, const char* name) {
  const auto it = fields.find(name);
  return it != fields.end() && it->second.is_number_unsigned() ? it->second.get<uint64_t>() : 0;
}

absl::Status Bad(const char* what, const std::exception& error) {
  return absl::DataLossError(fmt::format("{}: {}", what, error.what()));
}

}  // namespace

absl::StatusOr<std::vector<std::string>> CommandsOf(const Route& route) {
  if (absl::Status status = router::CheckRoute(route); !status.ok()) return status;
  if (!IsName(route.account)) {
    return absl::InvalidArgumentError(
        fmt::format("account {}: an HAProxy backend's name is made of letters, digits and - _ . :",
                    route.account));
  }
  const bool has_primary = Reached(route.primary);
  const bool has_shadow = Reached(route.shadow);
  if (!has_primary && !has_shadow) {
    return absl::InvalidArgumentError(
        fmt::format("account {}: neither side serves HTTP", route.account));
  }
  const double split = !has_shadow ? 0 : !has_primary ? 1 : route.split;
  const auto shadow_weight = static_cast<int>(std::lround(split * kWeightsSum));
  struct Server {
    const char* name;
    const router::Address* address;
    bool reached;
    int weight;
  };
  Server servers[] = {{"primary", &route.primary.address, has_primary, kWeightsSum - shadow_weight},
                      {"shadow", &route.shadow.address, has_shadow, shadow_weight}};
  std::vector<std::string> commands;
  const auto add = [&](const Server& server, const std::string& what) {
    commands.push_back(fmt::format("set server {}/{} {}", route.account, server.name, what));
  };
  for (const Server& server : servers) {
    if (!server.reached) continue;
    add(server, fmt::format("addr {} port {}", server.address->host, server.address->http_port));
  }
  if (servers[0].weight < servers[1].weight) std::swap(servers[0], servers[1]);
  for (const Server& server : servers) {
    add(server, fmt::format("weight {}", server.weight));
    if (server.reached) add(server, "state ready");
  }
  for (const Server& server : servers) {
    if (!server.reached) add(server, "state maint");
  }
  return commands;
}

absl::Status CheckAnswer(const std::string& command, const std::string& answer) {
  const bool silent = answer.find_first_not_of(" \n") == std::string::npos;
  // A change of address is told in words.
  const bool told = answer.find("by 'stats socket command'") != std::string::npos &&
                    answer.find("Invalid") == std::string::npos;
  if (silent || told) return absl::OkStatus();
  return absl::FailedPreconditionError(
      fmt::format("\"{}\": {}", command, answer.substr(0, answer.find('\n'))));
}

absl::StatusOr<Counts> CountsFrom(const std::string& text) {
  try {
    Counts counts;
    for (const json& object : json::parse(text)) {
      if (object.empty() || object.at(0).at("objType") != "Server") continue;
      const auto fields = ByName(object);
      ServerCounts server;
      const uint64_t failed = CountOf(fields, "econ") + CountOf(fields, "eresp");
      for (const char* name :
           {"hrsp_1xx", "hrsp_2xx", "hrsp_3xx", "hrsp_4xx", "hrsp_5xx", "hrsp_other"}) {
        server.requests_count += CountOf(fields, name);
      }
      server.requests_count += failed;
      server.errors_count = CountOf(fields, "hrsp_5xx") + failed;
      counts[{fields.at("pxname").get<std::string>(), fields.at("svname").get<std::string>()}] =
          server;
    }
    return counts;
  } catch (const json::exception& error) {
    return Bad("show stat json", error);
  } catch (const std::out_of_range& error) {
    return Bad("show stat json", error);
  }
}

absl::StatusOr<int64_t> PidFrom(const std::string& text) {
  try {
    return ByName(json::parse(text)).at("Pid").get<int64_t>();
  } catch (const json::exception& error) {
    return Bad("show info json", error);
  } catch (const std::out_of_range& error) {
    return Bad("show info json", error);
  }
}

}  // namespace foreshadow::haproxy
