#include "training/patterns/print.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <nlohmann/json.hpp>

#include "absl/time/time.h"
#include "training/io/gnuplot.h"

namespace foreshadow::training {
namespace {

using kernels::SeriesStatus;
using Json = nlohmann::ordered_json;

constexpr size_t kPanelsMax = 12;  // more would be too flat to read

std::string When(const WideTable& table, int32_t step) {
  if (table.step_ms == 0) return fmt::format("{}", step);
  return absl::FormatTime(absl::RFC3339_full,
                          absl::FromUnixMillis(table.start_ms + step * table.step_ms),
                          absl::UTCTimeZone());
}

bool IsShift(const kernels::Event& event) { return event.kind == kernels::EventKind::kLevelShift; }

Json Number(float value) { return std::isfinite(value) ? Json(value) : Json(); }

std::string Title(const Patterns& patterns) {
  std::string title = patterns.name + ": ";
  if (patterns.periods.empty()) title += "no period";
  for (const Period& period : patterns.periods) {
    title += fmt::format("{}{} steps ({:.2f})", &period == &patterns.periods.front() ? "" : ", ",
                         period.steps, period.strength);
  }
  const auto shifts = std::count_if(patterns.events.begin(), patterns.events.end(), IsShift);
  return title +
         fmt::format("; {} spikes, {} level shifts", std::ssize(patterns.events) - shifts, shifts);
}

void AddPanel(const WideTable& table, const Patterns& patterns, size_t series,
              std::string& script) {
  auto out = std::back_inserter(script);
  const auto at = [&](int64_t step) { return table.view().at(step, static_cast<int64_t>(series)); };
  fmt::format_to(out, "$line << END\n");
  for (int64_t i = 0; i < table.steps; ++i) {
    if (std::isnan(at(i))) {
      script += '\n';  // a gap in the line
    } else {
      fmt::format_to(out, "{} {:.9g}\n", i, at(i));
    }
  }
  fmt::format_to(out, "END\n$spikes << END\n");
  bool has_spikes = false;
  std::string arrows;
  for (const kernels::Event& event : patterns.events) {
    if (IsShift(event)) {
      arrows +=
          fmt::format("set arrow from {0}, graph 0 to {0}, graph 1 nohead dt 2 lc rgb '#2a7f3f'\n",
                      event.onset);
      continue;
    }
    has_spikes = true;
    for (int64_t i = event.onset; i < event.onset + event.duration; ++i) {
      if (!std::isnan(at(i))) fmt::format_to(out, "{} {:.9g}\n", i, at(i));
    }
  }
  fmt::format_to(out,
                 "END\nset title {} noenhanced\n{}"
                 "plot [0:{}] $line with lines lc rgb '#1f5fa8' notitle{}\nunset arrow\n",
                 GnuplotText(Title(patterns)), arrows, table.steps - 1,
                 has_spikes ? ", $spikes with points pt 7 ps 0.5 lc rgb '#d2322d' notitle" : "");
}

}  // namespace

std::string_view Words(SeriesStatus status) {
  switch (status) {
    case SeriesStatus::kOk:
      return "ok";
    case SeriesStatus::kTooShort:
      return "too short";
    case SeriesStatus::kNoData:
      return "no sample";
    case SeriesStatus::kConstant:
      return "constant";
    case SeriesStatus::kNotFinite:
      return "not finite";
    case SeriesStatus::kPrecision:
      return "so large against its variation that single precision cannot hold it";
    case SeriesStatus::kSingular:
      return "its lags explain each other";
  }
  return "";
}

std::string_view Words(kernels::EventShape shape) {
  switch (shape) {
    case kernels::EventShape::kPulse:
      return "pulse";
    case kernels::EventShape::kPlateau:
      return "plateau";
    case kernels::EventShape::kDecay:
      return "decay";
    case kernels::EventShape::kRampUp:
      return "ramp-up";
    case kernels::EventShape::kHump:
      return "hump";
    case kernels::EventShape::kStep:
      return "step";
  }
  return "";
}

std::string PatternsCsv(const WideTable& table, std::span<const Patterns> found,
                        std::span<const PooledLead> pooled) {
  std::string text =
      "series,pattern,at,steps,size,score,p_value,shape,before,after,accounts,"
      "heterogeneity_p_value\n";
  auto out = std::back_inserter(text);
  for (const Patterns& patterns : found) {
    const std::string name = CsvField(patterns.name);
    for (const Period& period : patterns.periods) {
      fmt::format_to(out, "{},period,,{},,{:.4g},,,,,,\n", name, period.steps, period.strength);
    }
    for (const kernels::Event& event : patterns.events) {
      fmt::format_to(out, "{},{},{},{},{:.6g},{:.4g},,{},", name,
                     IsShift(event) ? "level-shift" : "spike", When(table, event.onset),
                     event.duration, event.height, event.score, Words(event.shape));
      if (IsShift(event)) fmt::format_to(out, "{:.6g},{:.6g}", event.before, event.after);
      text += IsShift(event) ? ",,\n" : ",,,\n";
    }
    if (patterns.has_lead && patterns.lead.status == SeriesStatus::kOk) {
      fmt::format_to(out, "{},lead,,{},{:.4g},,{:.4g},,,,,\n", name, patterns.lead.lag,
                     patterns.lead.correlation, patterns.lead.p_value);
    }
  }
  for (const PooledLead& lead : pooled) {
    if (lead.status != SeriesStatus::kOk) continue;
    fmt::format_to(out, "{},pooled-lead,,{},{:.4g},{:.4g},{:.4g},,,,{},{:.4g}\n",
                   CsvField(fmt::format("{}.{}", lead.application, lead.resource)), lead.lag,
                   lead.correlation, lead.heterogeneity, lead.p_value, lead.accounts,
                   lead.heterogeneity_p_value);
  }
  return text;
}

std::string PatternsJson(const WideTable& table, std::span<const Patterns> found,
                         std::span<const PooledLead> pooled) {
  Json all = Json::array();
  for (const Patterns& patterns : found) {
    Json periods = Json::array();
    for (const Period& period : patterns.periods) {
      periods.push_back({{"steps", period.steps}, {"strength", Number(period.strength)}});
    }
    Json spikes = Json::array();
    Json shifts = Json::array();
    for (const kernels::Event& event : patterns.events) {
      Json entry = {{"onset_step", event.onset}};
      if (table.step_ms > 0) entry["onset"] = When(table, event.onset);
      entry["steps"] = event.duration;
      if (IsShift(event)) {
        entry["height"] = Number(event.height);
        entry["before"] = Number(event.before);
        entry["after"] = Number(event.after);
      } else {
        entry["peak"] = Number(event.height);
        entry["shape"] = Words(event.shape);
      }
      entry["score"] = Number(event.score);
      (IsShift(event) ? shifts : spikes).push_back(std::move(entry));
    }
    Json series = {
        {"series", patterns.name},         {"periods_status", Words(patterns.status)},
        {"periods", std::move(periods)},   {"spikes_status", Words(patterns.noise_status)},
        {"scale", Number(patterns.scale)}, {"spike_threshold", Number(patterns.threshold)},
        {"spikes", std::move(spikes)},     {"level_shifts", std::move(shifts)}};
    if (patterns.has_lead) {
      series["lead"] = {{"status", Words(patterns.lead.status)},
                        {"lag_steps", patterns.lead.lag},
                        {"correlation", Number(patterns.lead.correlation)},
                        {"p_value", Number(patterns.lead.p_value)}};
    }
    all.push_back(std::move(series));
  }
  for (const PooledLead& lead : pooled) {
    all.push_back({{"application", lead.application},
                   {"resource", lead.resource},
                   {"pooled_lead",
                    {{"status", Words(lead.status)},
                     {"accounts", lead.accounts},
                     {"lag_steps", lead.lag},
                     {"correlation", Number(lead.correlation)},
                     {"p_value", Number(lead.p_value)},
                     {"heterogeneity", Number(lead.heterogeneity)},
                     {"heterogeneity_p_value", Number(lead.heterogeneity_p_value)}}}});
  }
  // Names come from a file: a byte that is no UTF-8 is replaced, not thrown over.
  return all.dump(2, ' ', false, Json::error_handler_t::replace) + "\n";
}

absl::Status PlotPatterns(const WideTable& table, std::span<const Patterns> found,
                          const std::string& path) {
  std::vector<size_t> panels;
  for (size_t s = 0; s < found.size() && panels.size() < kPanelsMax; ++s) {
    if (found[s].status != SeriesStatus::kNoData) panels.push_back(s);
  }
  if (panels.empty()) {
    return absl::InvalidArgumentError(fmt::format("--plot {}: no series has a sample", path));
  }
  std::string script = fmt::format("set multiplot layout {},1\n", panels.size());
  for (const size_t s : panels) AddPanel(table, found[s], s, script);
  script += "unset multiplot\n";

  return DrawPicture("--plot", path, 1200, 220 * panels.size(), script);
}

}  // namespace foreshadow::training
