#include "service/journal/difference.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <map>
#include <nlohmann/json.hpp>
#include <optional>

namespace foreshadow::journal {
namespace {

using nlohmann::json;

constexpr int kDepthMax = 32;  // of decisions: they need 6
constexpr size_t kValueCharsMax = 80;

// None when it is not JSON: a journal may hold any text there.
std::optional<json> Parse(const std::string& text) {
  bool deep = false;
  const auto shallow = [&](int depth, json::parse_event_t, json&) {
    deep |= depth > kDepthMax;
    return !deep;
  };
  json parsed = json::parse(text, shallow, /*allow_exceptions=*/false);
  if (deep || parsed.is_discarded()) return std::nullopt;
  return parsed;
}

// What an element of a list is known by; "" = by its place.
std::string NameOf(const json& element) {
  if (!element.is_object()) return "";
  if (const auto id = element.find("instance_id"); id != element.end() && id->is_string()) {
    return *id;
  }
  if (const auto action = element.find("action"); action != element.end()) {
    if (action->is_object() && action->contains("id")) return "action " + action->at("id").dump();
  }
  if (const auto cell = element.find("cell"); cell != element.end() && cell->is_string()) {
    return *cell;
  }
  return "";
}

std::map<std::string, const json*> ByName(const json& list) {
  std::map<std::string, const json*> named;
  for (size_t i = 0; i < list.size(); ++i) {
    const std::string name = NameOf(list[i]);
    if (name.empty() || !named.emplace(name, &list[i]).second) {
      named[fmt::format("[{}]", i)] = &list[i];
    }
  }
  return named;
}

std::string Short(const json* value) {
  if (value == nullptr) return "nothing";
  std::string text = value->dump(-1, ' ', false, json::error_handler_t::replace);
  if (text.size() > kValueCharsMax) text = text.substr(0, kValueCharsMax) + "...";
  return text;
}

void Add(const std::string& where, const std::string& recorded, const std::string& replayed,
         std::vector<std::string>& lines) {
  lines.push_back(fmt::format("{}: recorded {}, replayed {}", where, recorded, replayed));
}

void Compare(const std::string& where, const json* recorded, const json* replayed,
             std::vector<std::string>& lines) {
  const auto both = [&](bool (json::*is)() const noexcept) {
    return recorded != nullptr && replayed != nullptr && (recorded->*is)() && (replayed->*is)();
  };
  std::map<std::string, const json*> left;
  std::map<std::string, const json*> right;
  if (both(&json::is_object)) {
    for (const auto& [key, value] : recorded->items()) left[key] = &value;
    for (const auto& [key, value] : replayed->items()) right[key] = &value;
  } else if (both(&json::is_array)) {
    left = ByName(*recorded);
    right = ByName(*replayed);
  } else {
    if (recorded != nullptr && replayed != nullptr && recorded->dump() == replayed->dump()) return;
    Add(where, Short(recorded), Short(replayed), lines);
    return;
  }
  std::map<std::string, std::pair<const json*, const json*>> all;
  for (const auto& [key, value] : left) all[key].first = value;
  for (const auto& [key, value] : right) all[key].second = value;
  for (const auto& [key, values] : all) {
    Compare(fmt::format("{} / {}", where, key), values.first, values.second, lines);
  }
}

void CompareTexts(const std::string& what, const std::string& recorded, const std::string& replayed,
                  std::vector<std::string>& lines) {
  if (recorded == replayed) return;
  const size_t before = lines.size();
  const auto left = Parse(recorded);
  const auto right = Parse(replayed);
  if (left && right) Compare(what, &*left, &*right, lines);
  if (lines.size() == before) {
    Add(what, fmt::format("{} bytes", recorded.size()), fmt::format("{} bytes", replayed.size()),
        lines);
  }
}

}  // namespace

std::vector<std::string> Differences(const Decided& recorded, const Decided& replayed) {
  std::vector<std::string> lines;
  if (recorded.failed != replayed.failed) {
    Add("whether it was written", fmt::format("\"{}\"", recorded.failed),
        fmt::format("\"{}\"", replayed.failed), lines);
  }
  std::map<uint64_t, std::pair<std::string, std::string>> explanations;
  for (const auto& [id, text] : recorded.explanations) explanations[id].first += text;
  for (const auto& [id, text] : replayed.explanations) explanations[id].second += text;
  for (const auto& [id, texts] : explanations) {
    const std::string what = fmt::format("explanation of action {}", id);
    if (texts.first.empty() || texts.second.empty()) {
      Add(what, texts.first.empty() ? "none" : "one", texts.second.empty() ? "none" : "one", lines);
    } else {
      CompareTexts(what, texts.first, texts.second, lines);
    }
  }
  CompareTexts("decisions", recorded.decisions, replayed.decisions, lines);
  if (recorded.started != replayed.started) {
    Add("actions started", fmt::format("{}", recorded.started), fmt::format("{}", replayed.started),
        lines);
  }
  if (recorded.risks != replayed.risks) {
    Add("what was foreseen of the cells", recorded.risks, replayed.risks, lines);
  }
  if (lines.empty()) lines.push_back("the order of the explanations");
  if (lines.size() > kDifferencesMax) {
    const size_t more = lines.size() - kDifferencesMax;
    lines.resize(kDifferencesMax);
    lines.push_back(fmt::format("and {} more", more));
  }
  return lines;
}

}  // namespace foreshadow::journal
