// The log: one line an event on the standard error output, as text or as JSON. What belongs to the
// call or operator that a thread works for (its trace, its identity) is set once by a LogScope and
// is then on every line that the thread writes.
#pragma once

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace foreshadow::logs {

enum class Format : uint8_t { kText, kJson };

// For the whole process; before any other thread starts. `level` is debug, info, warning or error.
void SetUp(Format format, const std::string& level);

using Fields = std::vector<std::pair<std::string, std::string>>;

// Adds fields to every line of this thread as long as it lives. Scopes nest.
class LogScope {
 public:
  explicit LogScope(Fields fields);
  ~LogScope();
  LogScope(const LogScope&) = delete;
  LogScope& operator=(const LogScope&) = delete;

  const Fields& fields() const { return fields_; }
  const LogScope* outer() const { return outer_; }

 private:
  Fields fields_;
  const LogScope* outer_;
};

// The ids of a W3C `traceparent` header ("00-<trace id>-<parent id>-<flags>") as fields trace_id
// and parent_id; none when it is not one.
Fields TraceFields(std::string_view traceparent);

// One line without its end, as the set-up formats it: for tests of what is written.
std::string FormatLine(Format format, std::string_view level, std::string_view message);

}  // namespace foreshadow::logs
