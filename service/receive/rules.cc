#include "service/receive/rules.h"

#include <fmt/core.h>

#include <algorithm>

namespace foreshadow::receive {
namespace {

constexpr size_t kShownBytes = 64;  // of a hostile text in a message
constexpr int64_t kRegexBytes = 1 << 20;
constexpr char kSeparator = '\0';

re2::StringPiece Piece(std::string_view text) { return {text.data(), text.size()}; }

std::string Shown(const std::string& text) {
  return text.size() <= kShownBytes ? text : text.substr(0, kShownBytes) + "...";
}

absl::StatusOr<std::unique_ptr<RE2>> Compile(const std::string& text, const std::string& key) {
  RE2::Options options(RE2::Quiet);
  options.set_max_mem(kRegexBytes);
  auto regex = std::make_unique<RE2>(text, options);
  if (!regex->ok()) {
    return absl::InvalidArgumentError(
        fmt::format("{} = \"{}\": not a regular expression: {}", key, text, regex->error()));
  }
  return regex;
}

absl::StatusOr<Template> ParseTemplate(const std::string& text, const std::string& key) {
  auto parsed = Template::Parse(text);
  if (parsed.ok()) return parsed;
  return absl::InvalidArgumentError(
      fmt::format("{} = \"{}\": {}", key, text, std::string(parsed.status().message())));
}

Making MakingOf(SeriesKind rule, SentKind sent, std::string_view name) {
  if (sent == SentKind::kDelta && rule != SeriesKind::kGauge) return Making::kDelta;
  if (rule == SeriesKind::kGauge) return Making::kGauge;
  if (rule == SeriesKind::kCounter || sent == SentKind::kCumulative) return Making::kCumulative;
  const bool is_total = sent == SentKind::kUnknown && name.ends_with("_total");
  return is_total ? Making::kCumulative : Making::kGauge;
}

}  // namespace

std::string_view ValueOf(const Labels& labels, std::string_view name) {
  const auto it =
      std::lower_bound(labels.begin(), labels.end(), name,
                       [](const auto& label, std::string_view n) { return label.first < n; });
  return it != labels.end() && it->first == name ? std::string_view(it->second) : "";
}

std::string TidyLabels(Labels& labels, const IngestSettings& limits) {
  if (std::ssize(labels) > limits.labels_max) {
    return fmt::format("a series has {} labels: at most {} are allowed", labels.size(),
                       limits.labels_max);
  }
  const auto too_long = [&](const std::string& text) {
    return std::ssize(text) > limits.label_bytes_max;
  };
  for (const auto& [name, value] : labels) {
    if (name.empty()) return "a label has no name";
    if (too_long(name) || too_long(value)) {
      return fmt::format("label \"{}\" has {} bytes: at most {} are allowed", Shown(name),
                         std::max(name.size(), value.size()), limits.label_bytes_max);
    }
    if (name.find(kSeparator) != name.npos || value.find(kSeparator) != value.npos) {
      return fmt::format("label \"{}\" holds a NUL", Shown(name.substr(0, name.find(kSeparator))));
    }
  }
  // A label without a value is the same as none.
  std::erase_if(labels, [](const auto& label) { return label.second.empty(); });
  std::sort(labels.begin(), labels.end());
  for (size_t i = 1; i < labels.size(); ++i) {
    if (labels[i].first == labels[i - 1].first) {
      return fmt::format("label \"{}\" is given twice", Shown(labels[i].first));
    }
  }
  if (ValueOf(labels, kNameLabel).empty()) return "a series has no __name__";
  return "";
}

std::string KeyOf(const Labels& labels, SentKind kind) {
  std::string key(1, static_cast<char>('0' + static_cast<int>(kind)));
  for (const auto& [name, value] : labels) {
    key.append(name).push_back(kSeparator);
    key.append(value).push_back(kSeparator);
  }
  return key;
}

std::pair<Labels, SentKind> FromKey(std::string_view key) {
  std::pair<Labels, SentKind> result;
  if (key.empty()) return result;
  result.second = static_cast<SentKind>(key[0] - '0');
  key.remove_prefix(1);
  const auto next = [&] {
    const size_t end = std::min(key.find(kSeparator), key.size());
    std::string text(key.substr(0, end));
    key.remove_prefix(std::min(end + 1, key.size()));
    return text;
  };
  while (!key.empty()) {
    std::string name = next();
    result.first.emplace_back(std::move(name), next());
  }
  return result;
}

absl::StatusOr<Template> Template::Parse(const std::string& text) {
  Template result;
  for (size_t at = 0; at < text.size();) {
    if (text[at] != '{') {
      const size_t end = std::min(text.find('{', at), text.size());
      result.parts_.push_back({text.substr(at, end - at), false});
      at = end;
      continue;
    }
    const size_t end = text.find('}', at);
    if (end == text.npos) return absl::InvalidArgumentError("a { has no }");
    if (end == at + 1) return absl::InvalidArgumentError("{} names no label");
    result.parts_.push_back({text.substr(at + 1, end - at - 1), true});
    at = end + 1;
  }
  return result;
}

std::string Template::Fill(const Labels& labels) const {
  std::string filled;
  for (const Part& part : parts_) {
    if (!part.is_label) {
      filled += part.text;
      continue;
    }
    const std::string_view value = ValueOf(labels, part.text);
    if (value.empty()) return "";
    filled += value;
  }
  return filled;
}

absl::StatusOr<Rules> Rules::Create(const std::vector<ReceiveRule>& rules) {
  Rules result;
  for (size_t i = 0; i < rules.size(); ++i) {
    const std::string name = fmt::format("receive.rule[{}].", i);
    Rule rule;
    rule.settings = rules[i];
    auto metric = Compile(rules[i].metric, name + "metric");
    if (!metric.ok()) return metric.status();
    rule.metric = *std::move(metric);
    for (const auto& [label, text] : rules[i].match) {
      auto regex = Compile(text, fmt::format("{}match.{}", name, label));
      if (!regex.ok()) return regex.status();
      rule.match.emplace_back(label, *std::move(regex));
    }
    for (const auto& [key, text, to] :
         {std::tuple("account", &rules[i].account, &rule.account),
          std::tuple("cell", &rules[i].cell, &rule.cell),
          std::tuple("application", &rules[i].application, &rule.application)}) {
      auto parsed = ParseTemplate(*text, name + key);
      if (!parsed.ok()) return parsed.status();
      *to = *std::move(parsed);
    }
    result.rules_.push_back(std::move(rule));
  }
  return result;
}

bool Rules::Matches(const Rule& rule, const Labels& labels) {
  if (!RE2::FullMatch(Piece(ValueOf(labels, kNameLabel)), *rule.metric)) return false;
  for (const auto& [label, regex] : rule.match) {
    if (!RE2::FullMatch(Piece(ValueOf(labels, label)), *regex)) return false;
  }
  return true;
}

std::optional<Target> Rules::Resolve(const Labels& labels, SentKind kind) const {
  for (const Rule& rule : rules_) {
    if (!Matches(rule, labels)) continue;
    Target target;
    target.account = rule.account.Fill(labels);
    if (target.account.empty()) return std::nullopt;
    target.cell = rule.cell.Fill(labels);
    target.application = rule.application.Fill(labels);
    target.signal = rule.settings.signal;
    target.making = MakingOf(rule.settings.kind, kind, ValueOf(labels, kNameLabel));
    target.scale = rule.settings.scale;
    target.in_step = rule.settings.in_step;
    return target;
  }
  return std::nullopt;
}

bool Rules::Takes(std::string_view name) const {
  return std::any_of(rules_.begin(), rules_.end(),
                     [&](const Rule& rule) { return RE2::FullMatch(Piece(name), *rule.metric); });
}

}  // namespace foreshadow::receive
