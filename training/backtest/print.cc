#include "training/backtest/print.h"

#include <fmt/core.h>

#include <algorithm>
#include <nlohmann/json.hpp>
#include <utility>
#include <vector>

#include "training/io/gnuplot.h"

namespace foreshadow::training {
namespace {

constexpr int kShortSteps = 3;  // what a tick acts on

using Distances = std::vector<std::pair<int, int>>;  // first and last step

Distances TableDistances(int horizon_steps) {
  Distances distances;
  for (int step = 1; step <= std::min(kShortSteps, horizon_steps); ++step) {
    distances.emplace_back(step, step);
  }
  if (horizon_steps > kShortSteps) distances.emplace_back(horizon_steps, horizon_steps);
  distances.emplace_back(1, horizon_steps);
  return distances;
}

Distances AllDistances(int horizon_steps) {
  Distances distances;
  for (int step = 1; step <= horizon_steps; ++step) distances.emplace_back(step, step);
  if (horizon_steps > kShortSteps) distances.emplace_back(1, kShortSteps);
  if (horizon_steps > 1) distances.emplace_back(1, horizon_steps);
  return distances;
}

nlohmann::ordered_json ToJson(const Score& s) {
  return {{"model", s.model},
          {"signal", s.signal},
          {"first_step", s.first_step},
          {"last_step", s.last_step},
          {"series", s.series},
          {"points", s.points},
          {"mase", s.mase},
          {"scaled_pinball", s.scaled_pinball},
          {"smape", s.smape},
          {"crps", s.crps},
          {"coverage_80", s.coverage_80}};
}

// One curve a model: the scores of all signals at each distance.
std::string Curves(const SeriesSet& set, const BacktestResult& result,
                   const std::function<double(const Score&)>& value) {
  std::string data;
  std::string plot;
  for (size_t m = 0; m < result.models.size(); ++m) {
    data += fmt::format("$model{} << EOD\n", m);
    for (int step = 1; step <= result.horizon_steps; ++step) {
      for (const Score& s : Summarize(result, step, step)) {
        if (s.model != result.models[m] || s.signal != "all" || s.points == 0) continue;
        data +=
            fmt::format("{} {:.9g}\n", static_cast<double>(step * set.step_ms) / 60'000, value(s));
      }
    }
    data += "EOD\n";
    plot += fmt::format("{} $model{} with linespoints pointsize 0.5 title {} noenhanced",
                        m == 0 ? "plot" : ",", m, GnuplotText(result.models[m]));
  }
  return data + plot + "\n";
}

}  // namespace

void PrintScoreTable(const SeriesSet& set, const BacktestResult& result) {
  fmt::print("{:<17} {:<14} {:>9} {:>8} {:>8} {:>8} {:>8} {:>6} {:>10}\n", "model", "signal",
             "minutes", "MASE", "pinball", "CRPS", "sMAPE", "80 %", "points");
  for (const auto& [first, last] : TableDistances(result.horizon_steps)) {
    const int64_t from = first * set.step_ms / 60'000;
    const int64_t to = last * set.step_ms / 60'000;
    const std::string minutes =
        first == last ? fmt::format("{}", to) : fmt::format("{}-{}", from, to);
    for (const Score& s : Summarize(result, first, last)) {
      fmt::print("{:<17} {:<14} {:>9} {:>8.4f} {:>8.4f} {:>8.4f} {:>8.4f} {:>6.1f} {:>10}\n",
                 s.model, s.signal, minutes, s.mase, s.scaled_pinball, s.crps, s.smape,
                 100 * s.coverage_80, s.points);
    }
  }
  for (size_t m = 0; m < result.models.size(); ++m) {
    if (result.unanswered[m] == 0) continue;
    fmt::print("{} had no answer for {} of {} forecasts; none of the models is scored on those\n",
               result.models[m], result.unanswered[m], result.origins * result.scored_series);
  }
}

void PrintScoreJson(const SeriesSet& set, const BacktestOptions& options,
                    const BacktestResult& result) {
  nlohmann::ordered_json scores = nlohmann::ordered_json::array();
  for (const auto& [first, last] : AllDistances(result.horizon_steps)) {
    for (const Score& score : Summarize(result, first, last)) scores.push_back(ToJson(score));
  }
  nlohmann::ordered_json unanswered;
  for (size_t m = 0; m < result.models.size(); ++m) {
    unanswered[result.models[m]] = result.unanswered[m];
  }
  const nlohmann::ordered_json json = {{"step_ms", set.step_ms},
                                       {"series", result.scored_series},
                                       {"test_from_ms", set.TimeMs(options.first_step)},
                                       {"origins", result.origins},
                                       {"stride_steps", options.stride_steps * options.score_every},
                                       {"unanswered", unanswered},
                                       {"scores", scores}};
  fmt::print("{}\n", json.dump(2));
}

absl::Status PlotScores(const SeriesSet& set, const BacktestResult& result,
                        const std::string& path) {
  const std::string script =
      "set multiplot layout 3,1\nset lmargin 10\nset rmargin 24\nset key outside right top\n"
      "set grid\nset yrange [0:*]\nset ylabel 'MASE'\n" +
      Curves(set, result, [](const Score& s) { return s.mase; }) + "set ylabel 'CRPS'\n" +
      Curves(set, result, [](const Score& s) { return s.crps; }) +
      "set ylabel '% within the 80 % interval'\nset xlabel 'minutes ahead'\nset yrange [*:*]\n" +
      Curves(set, result, [](const Score& s) { return 100 * s.coverage_80; }) + "unset multiplot\n";
  return DrawPicture("--plot", path, 900, 900, script);
}

}  // namespace foreshadow::training
