#include "training/patterns/print.h"

#include <fmt/format.h>

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

Json Number(float value) { return std::isfinite(value) ? Json(value) : Json(); }

std::string Title(const Patterns& patterns) {
  std::string title = patterns.name + ": ";
  if (patterns.periods.empty()) title += "no period";
  for (const Period& period : patterns.periods) {
    title += fmt::format("{}{} steps ({:.2f})", &period == &patterns.periods.front() ? "" : ", ",
                         period.steps, period.strength);
  }
  return title + fmt::format("; {} spikes", patterns.spikes.size());
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
  for (const kernels::Spike& spike : patterns.spikes) {
    for (int64_t i = spike.onset; i < spike.onset + spike.duration; ++i) {
      if (!std::isnan(at(i))) fmt::format_to(out, "{} {:.9g}\n", i, at(i));
    }
  }
  fmt::format_to(
      out,
      "END\nset title {} noenhanced\n"
      "plot [0:{}] $line with lines lc rgb '#1f5fa8' notitle{}\n",
      GnuplotText(Title(patterns)), table.steps - 1,
      patterns.spikes.empty() ? "" : ", $spikes with points pt 7 ps 0.5 lc rgb '#d2322d' notitle");
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
  }
  return "";
}

std::string PatternsCsv(const WideTable& table, std::span<const Patterns> found) {
  std::string text = "series,pattern,at,steps,size,score,p_value\n";
  auto out = std::back_inserter(text);
  for (const Patterns& patterns : found) {
    const std::string name = CsvField(patterns.name);
    for (const Period& period : patterns.periods) {
      fmt::format_to(out, "{},period,,{},,{:.4g},\n", name, period.steps, period.strength);
    }
    for (const kernels::Spike& spike : patterns.spikes) {
      fmt::format_to(out, "{},spike,{},{},{:.6g},{:.4g},\n", name, When(table, spike.onset),
                     spike.duration, spike.peak, spike.score);
    }
    if (patterns.has_lead && patterns.lead.status == SeriesStatus::kOk) {
      fmt::format_to(out, "{},lead,,{},{:.4g},,{:.4g}\n", name, patterns.lead.lag,
                     patterns.lead.correlation, patterns.lead.p_value);
    }
  }
  return text;
}

std::string PatternsJson(const WideTable& table, std::span<const Patterns> found) {
  Json all = Json::array();
  for (const Patterns& patterns : found) {
    Json periods = Json::array();
    for (const Period& period : patterns.periods) {
      periods.push_back({{"steps", period.steps}, {"strength", Number(period.strength)}});
    }
    Json spikes = Json::array();
    for (const kernels::Spike& spike : patterns.spikes) {
      Json entry = {{"onset_step", spike.onset}};
      if (table.step_ms > 0) entry["onset"] = When(table, spike.onset);
      entry["steps"] = spike.duration;
      entry["peak"] = Number(spike.peak);
      entry["score"] = Number(spike.score);
      spikes.push_back(std::move(entry));
    }
    Json series = {
        {"series", patterns.name},         {"periods_status", Words(patterns.status)},
        {"periods", std::move(periods)},   {"spikes_status", Words(patterns.noise_status)},
        {"scale", Number(patterns.scale)}, {"spike_threshold", Number(patterns.threshold)},
        {"spikes", std::move(spikes)}};
    if (patterns.has_lead) {
      series["lead"] = {{"status", Words(patterns.lead.status)},
                        {"lag_steps", patterns.lead.lag},
                        {"correlation", Number(patterns.lead.correlation)},
                        {"p_value", Number(patterns.lead.p_value)}};
    }
    all.push_back(std::move(series));
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
