// Series of other systems as labels, and the rules that make them ours. No protobuf, no I/O.
#pragma once

#include <re2/re2.h>

#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "service/receive/settings.h"
#include "service/tick/types.h"

namespace foreshadow::receive {

inline constexpr std::string_view kNameLabel = "__name__";

using Labels = std::vector<std::pair<std::string, std::string>>;

// What the sender says of a series.
enum class SentKind : uint8_t {
  kUnknown,
  kGauge,
  kCumulative,
  kDelta,
  kUnreadable,  // nothing that can be made an amount, as a histogram
};

// What a series is made into.
enum class Making : uint8_t { kGauge, kCumulative, kDelta };

struct Target {
  std::string account;
  std::string cell;  // "" = not said
  std::string application;
  SignalKind signal = SignalKind::kCpu;
  Making making = Making::kGauge;
  double scale = 1;
  InStep in_step = InStep::kMean;
};

// Sorts the labels; then says what is wrong with them, "" = nothing. Names are unique and not
// empty, the metric has a name, no text holds a NUL, and nothing is above the limits.
std::string TidyLabels(Labels& labels, const IngestSettings& limits);

// One text a series: of tidy labels, and no two series share one.
std::string KeyOf(const Labels& labels, SentKind kind);
// The labels and the kind of such a text.
std::pair<Labels, SentKind> FromKey(std::string_view key);

// A text with {label} in it.
class Template {
 public:
  // INVALID_ARGUMENT for an open brace or an empty name.
  static absl::StatusOr<Template> Parse(const std::string& text);
  // Empty when a label that it names is missing or empty.
  std::string Fill(const Labels& labels) const;
  bool empty() const { return parts_.empty(); }

 private:
  struct Part {
    std::string text;
    bool is_label = false;
  };
  std::vector<Part> parts_;
};

class Rules {
 public:
  // INVALID_ARGUMENT names the rule, the key and the value.
  static absl::StatusOr<Rules> Create(const std::vector<ReceiveRule>& rules);

  // By the first rule that takes the series; nothing when none does, or when a label that names the
  // account is missing. Labels are tidy.
  std::optional<Target> Resolve(const Labels& labels, SentKind kind) const;
  // Whether any rule takes series of that name: a cheap first look.
  bool Takes(std::string_view name) const;

 private:
  struct Rule {
    std::unique_ptr<RE2> metric;
    std::vector<std::pair<std::string, std::unique_ptr<RE2>>> match;
    ReceiveRule settings;
    Template account;
    Template cell;
    Template application;
  };
  static bool Matches(const Rule& rule, const Labels& labels);
  std::vector<Rule> rules_;
};

// The value of a label; "" = it has none.
std::string_view ValueOf(const Labels& labels, std::string_view name);

}  // namespace foreshadow::receive
