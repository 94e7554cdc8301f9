#include "service/logs/logs.h"

#include <spdlog/pattern_formatter.h>
#include <spdlog/sinks/stdout_color_sinks.h>
#include <spdlog/spdlog.h>

#include <algorithm>
#include <nlohmann/json.hpp>

#include "absl/time/time.h"

namespace foreshadow::logs {
namespace {

thread_local const LogScope* innermost = nullptr;

Fields FieldsOfThread() {
  std::vector<const LogScope*> scopes;
  for (const LogScope* s = innermost; s != nullptr; s = s->outer()) scopes.push_back(s);
  Fields fields;
  for (auto s = scopes.rbegin(); s != scopes.rend(); ++s) {
    fields.insert(fields.end(), (*s)->fields().begin(), (*s)->fields().end());
  }
  return fields;
}

// Whatever the bytes are, a line stays one line.
std::string Quoted(std::string_view text) {
  return nlohmann::json(text).dump(-1, ' ', false, nlohmann::json::error_handler_t::replace);
}

std::string View(spdlog::string_view_t text) { return std::string(text.data(), text.size()); }

class LineFormatter : public spdlog::formatter {
 public:
  explicit LineFormatter(Format format) : format_(format) {}

  void format(const spdlog::details::log_msg& line, spdlog::memory_buf_t& out) override {
    const std::string text = format_ == Format::kJson ? Json(line) : Text(line);
    out.append(text.data(), text.data() + text.size());
    out.push_back('\n');
  }

  std::unique_ptr<spdlog::formatter> clone() const override {
    return std::make_unique<LineFormatter>(format_);
  }

 private:
  static std::string Text(const spdlog::details::log_msg& line) {
    std::string text = absl::FormatTime("[%Y-%m-%d %H:%M:%E3S] [", absl::FromChrono(line.time),
                                        absl::LocalTimeZone()) +
                       View(spdlog::level::to_string_view(line.level)) + "] " + View(line.payload);
    for (const auto& [name, value] : FieldsOfThread()) text += " " + name + "=" + Quoted(value);
    return text;
  }

  static std::string Json(const spdlog::details::log_msg& line) {
    nlohmann::ordered_json json = {
        {"time", absl::FormatTime("%Y-%m-%dT%H:%M:%E3SZ", absl::FromChrono(line.time),
                                  absl::UTCTimeZone())},
        {"level", View(spdlog::level::to_string_view(line.level))},
        {"message", View(line.payload)}};
    for (const auto& [name, value] : FieldsOfThread()) json[name] = value;
    return json.dump(-1, ' ', false, nlohmann::ordered_json::error_handler_t::replace);
  }

  const Format format_;
};

bool IsHex(std::string_view text) {
  return std::all_of(text.begin(), text.end(),
                     [](char c) { return (c >= '0' && c <= '9') || (c >= 'a' && c <= 'f'); });
}

bool IsZero(std::string_view text) { return text.find_first_not_of('0') == std::string_view::npos; }

}  // namespace

void SetUp(Format format, const std::string& level) {
  auto logger = spdlog::stderr_color_mt("foreshadowd");
  logger->set_formatter(std::make_unique<LineFormatter>(format));
  spdlog::set_default_logger(logger);
  spdlog::set_level(spdlog::level::from_str(level));
}

LogScope::LogScope(Fields fields) : fields_(std::move(fields)), outer_(innermost) {
  innermost = this;
}

LogScope::~LogScope() { innermost = outer_; }

// https://www.w3.org/TR/trace-context/#traceparent-header; a later version may carry more behind.
Fields TraceFields(std::string_view traceparent) {
  constexpr size_t kLength = 55;
  if (traceparent.size() < kLength || traceparent[2] != '-' || traceparent[35] != '-' ||
      traceparent[52] != '-') {
    return {};
  }
  const std::string_view version = traceparent.substr(0, 2);
  const std::string_view trace = traceparent.substr(3, 32);
  const std::string_view parent = traceparent.substr(36, 16);
  const bool whole = version == "00" ? traceparent.size() == kLength
                                     : traceparent.size() == kLength || traceparent[kLength] == '-';
  if (!whole || version == "ff" || !IsHex(version) || !IsHex(trace) || !IsHex(parent) ||
      IsZero(trace) || IsZero(parent)) {
    return {};
  }
  return {{"trace_id", std::string(trace)}, {"parent_id", std::string(parent)}};
}

std::string FormatLine(Format format, std::string_view level, std::string_view message) {
  const spdlog::details::log_msg line("", spdlog::level::from_str(std::string(level)),
                                      spdlog::string_view_t(message.data(), message.size()));
  spdlog::memory_buf_t out;
  LineFormatter(format).format(line, out);
  return std::string(out.data(), out.size() - 1);
}

}  // namespace foreshadow::logs
