#include "service/learn/split_log.h"

#include <fmt/core.h>

#include <cerrno>
#include <cmath>
#include <cstring>
#include <fstream>
#include <nlohmann/json.hpp>

namespace foreshadow {
namespace {

using nlohmann::ordered_json;

template <typename T>
bool Get(const ordered_json& json, const char* field, T& value) {
  const auto found = json.find(field);
  if (found == json.end()) return false;
  if constexpr (std::is_same_v<T, std::string>) {
    if (!found->is_string()) return false;
  } else {
    if (!found->is_number()) return false;
    if constexpr (std::is_integral_v<T>) {
      if (!found->is_number_integer()) return false;
    }
  }
  value = found->get<T>();
  return true;
}

template <typename T, size_t kSize>
bool GetList(const ordered_json& json, const char* field, std::array<T, kSize>& values) {
  const auto found = json.find(field);
  if (found == json.end() || !found->is_array() || found->size() != kSize) return false;
  for (size_t i = 0; i < kSize; ++i) {
    if (!(*found)[i].is_number()) return false;
    values[i] = (*found)[i].template get<T>();
  }
  return true;
}

absl::Status Bad(const char* field) {
  return absl::DataLossError(fmt::format("{} is missing or of another kind", field));
}

}  // namespace

SplitRecord RecordOf(const SplitDecision& decision) {
  SplitRecord record;
  record.features = decision.features;
  for (int a = 0; a < kSplitActions; ++a) record.allowed[a] = decision.guard.allowed[a] ? 1 : 0;
  record.action = static_cast<int32_t>(decision.action);
  record.rule = static_cast<int32_t>(decision.rule);
  record.propensity = decision.propensity;
  record.split = decision.split;
  record.shed = decision.shed;
  return record;
}

std::string SplitRecordToJson(const SplitRecord& r) {
  const ordered_json json = {{"time_ms", r.time_ms},
                             {"account", r.account},
                             {"instance", r.instance_id},
                             {"policy", r.policy},
                             {"interval_s", r.interval_s},
                             {"features", r.features},
                             {"allowed", r.allowed},
                             {"action", r.action},
                             {"rule", r.rule},
                             {"propensity", r.propensity},
                             {"split", r.split},
                             {"shed", r.shed},
                             {"cost", r.cost},
                             {"reason", r.reason}};
  return json.dump(-1, ' ', false, ordered_json::error_handler_t::replace);
}

absl::StatusOr<SplitRecord> SplitRecordFromJson(const std::string& line) {
  const auto json = ordered_json::parse(line, nullptr, /*allow_exceptions=*/false);
  if (!json.is_object()) return absl::DataLossError("not a JSON object");
  SplitRecord r;
  if (!Get(json, "time_ms", r.time_ms)) return Bad("time_ms");
  if (!Get(json, "account", r.account)) return Bad("account");
  if (!Get(json, "instance", r.instance_id)) return Bad("instance");
  if (!Get(json, "policy", r.policy)) return Bad("policy");
  if (!Get(json, "interval_s", r.interval_s) || !(r.interval_s > 0)) return Bad("interval_s");
  if (!GetList(json, "features", r.features)) return Bad("features");
  if (!GetList(json, "allowed", r.allowed)) return Bad("allowed");
  if (!Get(json, "action", r.action) || r.action < 0 || r.action >= kSplitActions ||
      r.allowed[static_cast<size_t>(r.action)] == 0) {
    return Bad("action");
  }
  if (!Get(json, "rule", r.rule) || r.rule < 0 || r.rule >= kSplitActions) return Bad("rule");
  if (!Get(json, "propensity", r.propensity) || !(r.propensity > 0 && r.propensity <= 1)) {
    return Bad("propensity");
  }
  if (!Get(json, "split", r.split)) return Bad("split");
  Get(json, "shed", r.shed);  // not in older logs
  if (!Get(json, "cost", r.cost)) return Bad("cost");
  Get(json, "reason", r.reason);
  return r;
}

absl::Status AppendSplitLog(const std::string& path, std::span<const SplitRecord> records) {
  if (records.empty()) return absl::OkStatus();
  std::string lines;
  for (const SplitRecord& record : records) lines += SplitRecordToJson(record) + "\n";
  std::ofstream file(path, std::ios::binary | std::ios::app);
  file.write(lines.data(), static_cast<std::streamsize>(lines.size()));
  file.flush();
  if (file) return absl::OkStatus();
  return absl::UnavailableError(fmt::format("{}: {}", path, std::strerror(errno)));
}

absl::StatusOr<std::vector<SplitRecord>> ReadSplitLog(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  if (!file) return absl::NotFoundError(fmt::format("{}: {}", path, std::strerror(errno)));
  std::vector<SplitRecord> records;
  std::string line;
  for (int64_t number = 1; std::getline(file, line); ++number) {
    const bool whole = !file.eof();
    auto record = SplitRecordFromJson(line);
    if (!record.ok() && !whole) break;
    if (!record.ok()) {
      return absl::DataLossError(
          fmt::format("{}:{}: {}", path, number, std::string(record.status().message())));
    }
    records.push_back(*std::move(record));
  }
  return records;
}

}  // namespace foreshadow
