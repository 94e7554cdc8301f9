#include "training/backtest/forecasts_csv.h"

#include <fmt/format.h>

#include <cmath>
#include <iterator>

#include "training/io/csv.h"

namespace foreshadow::training {

absl::StatusOr<ForecastsCsv> ForecastsCsv::Create(const std::string& path, const SeriesSet& set,
                                                  const BacktestOptions& options,
                                                  std::vector<std::string> models) {
  auto file = TextWriter::Create(path);
  if (!file.ok()) return file.status();
  std::string header = "account,signal,made_at_ms,step,actual,model";
  for (const float level : models::kQuantileLevels) header += fmt::format(",q{}", level);
  if (absl::Status status = file->Write(header + "\n"); !status.ok()) return status;
  return ForecastsCsv(*std::move(file), set, options.scored, std::move(models));
}

absl::Status ForecastsCsv::Write(const OriginForecasts& forecasts) {
  fmt::memory_buffer rows;
  const auto out = std::back_inserter(rows);
  for (int64_t s = 0; s < set_->series(); ++s) {
    if (!scored_.empty() && scored_[s] == 0) continue;
    const std::string series =
        fmt::format("{},{},{}", CsvField(set_->accounts[s]), SignalName(set_->signals[s]),
                    set_->TimeMs(forecasts.first_step - 1));
    for (size_t m = 0; m < forecasts.blocks.size(); ++m) {
      const models::QuantileBlock& block = forecasts.blocks[m];
      if (!models::Answered(block.status[s])) continue;
      for (int step = 0; step < block.steps; ++step) {
        const float actual = set_->values[(forecasts.first_step + step) * set_->series() + s];
        fmt::format_to(out, "{},{},", series, step + 1);
        if (!std::isnan(actual)) fmt::format_to(out, "{}", actual);
        fmt::format_to(out, ",{}", models_[m]);
        for (const float quantile : block.at(s, step)) fmt::format_to(out, ",{}", quantile);
        rows.push_back('\n');
      }
    }
  }
  return file_.Write({rows.data(), rows.size()});
}

}  // namespace foreshadow::training
