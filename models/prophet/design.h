// The columns of an additive model of a time series, and what is shared by all series on one time
// grid: trend with change points, Fourier seasons, events and regressors (Taylor and Letham 2018,
// "Forecasting at scale", sections 3.1 to 3.3). Plain values; any thread may read a finished one.
#pragma once

#include <Eigen/Core>
#include <cstdint>
#include <vector>

#include "absl/status/statusor.h"
#include "models/prophet/extras.h"

namespace foreshadow::models {

struct ProphetSeason {
  double period_ms = 0;
  int order = 0;  // harmonics, two columns each
  double scale = kProphetScale;
};

// A known influence at every row of the grid, the coming ones included. It is standardised over the
// past rows unless it only says yes or no (1, 0).
struct ProphetRegressor {
  std::vector<double> values = {};
  double scale = kProphetScale;
};

struct ProphetOptions {
  int changes = 25;            // possible changes of the trend's rate
  double change_range = 0.8;   // they lie in this first part of the past
  double change_scale = 0.05;  // of the Laplace prior: larger bends more easily
  int origins = 0;             // in the rest of the past, from which held-out forecasts are made
  std::vector<ProphetSeason> seasons = {};
  std::vector<ProphetEvent> events = {};
  std::vector<ProphetRegressor> regressors = {};
};

struct ProphetGrid {
  int64_t begin_ms = 0;  // Unix time of the first row
  int64_t step_ms = 0;
  int64_t past = 0;   // rows that samples exist for
  int64_t ahead = 0;  // rows to be forecast
};

// Trend times are in units of the past: 0 at its first row, 1 at its last. The columns are offset,
// rate, effects (seasons, events, regressors: normal priors, one each), then the rate changes.
struct ProphetDesign {
  ProphetGrid grid;
  double change_scale = 0;
  Eigen::MatrixXd rows;          // [past + ahead][column], a row's columns side by side
  Eigen::MatrixXd gram;          // [column][column] over the past, its lower half
  Eigen::VectorXd precision;     // [smooth]: 1 / prior variance
  Eigen::VectorXd change_times;  // [changes], ascending
  // The last part of the past, in stretches: what comes behind the first row of each is held out
  // from a fit in turn, and the stretch forecast by it.
  struct Stretch {
    int64_t first = 0;
    int64_t count = 0;
    Eigen::MatrixXd gram;  // of its rows, lower half
  };
  std::vector<Stretch> stretches;  // in the order of time

  int64_t columns() const { return rows.rows(); }
  int64_t smooth() const { return precision.size(); }
  int64_t changes() const { return change_times.size(); }
  // Row `row` of the design, a column vector.
  auto row(int64_t row) const { return rows.col(row); }
};

// INVALID_ARGUMENT names the field that is out of its range: the past has at least two rows.
absl::StatusOr<ProphetDesign> MakeProphetDesign(const ProphetGrid& grid,
                                                const ProphetOptions& options);

}  // namespace foreshadow::models
