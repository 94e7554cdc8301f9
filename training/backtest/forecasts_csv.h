// The forecasts of a backtest as CSV, for scorers of other people:
//   account,signal,made_at_ms,step,actual,model,q0.05,...,q0.99
// one row a series, origin, distance (from 1) and model that answered. made_at_ms is the time of
// the last sample the model saw; an actual left empty is a missing sample. One thread.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "absl/status/statusor.h"
#include "training/backtest/backtest.h"
#include "training/io/text_writer.h"

namespace foreshadow::training {

class ForecastsCsv {
 public:
  // Errors as TextWriter's. `set` must live as long as this.
  static absl::StatusOr<ForecastsCsv> Create(const std::string& path, const SeriesSet& set,
                                             const BacktestOptions& options,
                                             std::vector<std::string> models);
  absl::Status Write(const OriginForecasts& forecasts);
  absl::Status Close() { return file_.Close(); }

 private:
  ForecastsCsv(TextWriter file, const SeriesSet& set, std::vector<uint8_t> scored,
               std::vector<std::string> models)
      : file_(std::move(file)),
        set_(&set),
        scored_(std::move(scored)),
        models_(std::move(models)) {}
  TextWriter file_;
  const SeriesSet* set_;
  std::vector<uint8_t> scored_;
  std::vector<std::string> models_;
};

}  // namespace foreshadow::training
