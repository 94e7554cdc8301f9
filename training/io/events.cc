#include "training/io/events.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>
#include <string_view>
#include <unordered_map>

#include "training/io/csv.h"

namespace foreshadow::training {
namespace {

constexpr std::array<std::string_view, 3> kColumns = {"name", "start", "end"};

}  // namespace

absl::StatusOr<std::vector<models::ProphetEvent>> ReadEvents(const std::string& path) {
  auto csv = CsvReader::Open(path);
  if (!csv.ok()) return csv.status();
  const auto wrong = [&](const std::string& what) {
    return absl::InvalidArgumentError(fmt::format("{}:{}: {}", path, csv->line(), what));
  };
  auto more = csv->Next();
  if (!more.ok()) return more.status();
  if (!*more || !std::ranges::equal(csv->fields(), kColumns)) {
    return wrong(fmt::format("header is {}: it must be {}", fmt::join(csv->fields(), ","),
                             fmt::join(kColumns, ",")));
  }
  std::vector<models::ProphetEvent> events;
  std::unordered_map<std::string, size_t> index;  // by name
  for (more = csv->Next(); more.ok() && *more; more = csv->Next()) {
    const auto fields = csv->fields();
    if (fields.size() != kColumns.size()) {
      return wrong(fmt::format("{} fields: it must be {}", fields.size(), kColumns.size()));
    }
    if (fields[0].empty()) return wrong("name is empty: it must say which event this is");
    const auto start = ParseTime(fields[1], {path, csv->line(), kColumns[1]});
    if (!start.ok()) return start.status();
    const auto end = ParseTime(fields[2], {path, csv->line(), kColumns[2]});
    if (!end.ok()) return end.status();
    if (*end <= *start) {
      return wrong(fmt::format("end is {}: it must be after start, {}", fields[2], fields[1]));
    }
    const auto [at, is_new] = index.try_emplace(std::string(fields[0]), events.size());
    if (is_new) events.emplace_back();
    if (std::ssize(events) > models::kProphetEventsMax) {
      return wrong(fmt::format("{} names of events: allowed are {}", events.size(),
                               models::kProphetEventsMax));
    }
    events[at->second].windows.push_back({*start, *end});
  }
  if (!more.ok()) return more.status();
  if (events.empty()) return wrong("no event behind the header");
  return events;
}

}  // namespace foreshadow::training
