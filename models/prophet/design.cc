#include "models/prophet/design.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>

namespace foreshadow::models {
namespace {

constexpr double kTrendScale = 5;  // Prophet's prior deviation of offset and rate
constexpr int64_t kColumnsMax = 1'024;
constexpr int64_t kRowsMax = int64_t{1} << 22;  // 14 days of seconds is a quarter of it

absl::Status Check(const ProphetGrid& grid, const ProphetOptions& options) {
  const auto wrong = [](std::string_view field, auto value, std::string_view allowed) {
    return absl::InvalidArgumentError(
        fmt::format("{} is {}: allowed is {}", field, value, allowed));
  };
  if (grid.step_ms <= 0) return wrong("step_ms", grid.step_ms, "above 0");
  if (grid.past < 2 || grid.past > kRowsMax) return wrong("past", grid.past, "2 to 4194304");
  if (grid.ahead < 0 || grid.ahead > kRowsMax) return wrong("ahead", grid.ahead, "0 to 4194304");
  if (options.changes < 0) return wrong("changes", options.changes, "0 or more");
  if (!(options.change_range > 0 && options.change_range <= 1)) {
    return wrong("change_range", options.change_range, "above 0 and at most 1");
  }
  if (options.origins < 0) return wrong("origins", options.origins, "0 or more");
  if (!(options.change_scale > 0)) return wrong("change_scale", options.change_scale, "above 0");
  int64_t columns = 2 + std::ssize(options.events) + std::ssize(options.regressors);
  for (const ProphetSeason& season : options.seasons) {
    if (!(season.period_ms > 0)) return wrong("period_ms", season.period_ms, "above 0");
    if (season.order < 1) return wrong("order", season.order, "1 or more");
    if (!(season.scale > 0)) return wrong("season.scale", season.scale, "above 0");
    columns += 2 * int64_t{season.order};
  }
  for (const ProphetEvent& event : options.events) {
    if (!(event.scale > 0)) return wrong("event.scale", event.scale, "above 0");
  }
  for (const ProphetRegressor& regressor : options.regressors) {
    if (!(regressor.scale > 0)) return wrong("regressor.scale", regressor.scale, "above 0");
    if (std::ssize(regressor.values) != grid.past + grid.ahead) {
      return wrong("regressor.values", regressor.values.size(), "one value for each row");
    }
    if (!std::ranges::all_of(regressor.values, [](double x) { return std::isfinite(x); })) {
      return wrong("regressor.values", "not finite", "finite");
    }
  }
  columns += options.changes;
  if (columns > kColumnsMax) return wrong("number of columns", columns, "at most 1024");
  return absl::OkStatus();
}

// Rows that may hold a change.
int64_t Reach(int64_t past, const ProphetOptions& options) {
  return static_cast<int64_t>(static_cast<double>(past) * options.change_range);
}

Eigen::MatrixXd GramOf(const ProphetDesign& design, int64_t first, int64_t count) {
  Eigen::MatrixXd gram = Eigen::MatrixXd::Zero(design.columns(), design.columns());
  gram.selfadjointView<Eigen::Lower>().rankUpdate(design.rows.middleCols(first, count));
  return gram;
}

// Evenly over the rows of the first part of the past, the first row left out (as Prophet does).
Eigen::VectorXd ChangeTimes(int64_t past, const ProphetOptions& options) {
  const int64_t reach = Reach(past, options);
  const int64_t count = std::clamp<int64_t>(reach - 1, 0, options.changes);
  Eigen::VectorXd times(count);
  for (int64_t i = 0; i < count; ++i) {
    const double share = static_cast<double>(i + 1) / static_cast<double>(count);
    times[i] =
        std::nearbyint(share * static_cast<double>(reach - 1)) / static_cast<double>(past - 1);
  }
  return times;
}

struct Standard {
  double mean = 0;
  double deviation = 1;
};

Standard StandardOf(const ProphetRegressor& regressor, int64_t past) {
  const Eigen::Map<const Eigen::ArrayXd> values(regressor.values.data(), past);
  const bool yes_or_no = ((values == 0) || (values == 1)).all();
  if (yes_or_no || (values == values[0]).all()) return {};
  const double mean = values.mean();
  return {mean, std::sqrt((values - mean).square().sum() / static_cast<double>(past - 1))};
}

bool Inside(const ProphetEvent& event, int64_t at_ms) {
  return std::ranges::any_of(event.windows, [at_ms](const ProphetEvent::Window& window) {
    return window.begin_ms <= at_ms && at_ms < window.end_ms;
  });
}

}  // namespace

absl::StatusOr<ProphetDesign> MakeProphetDesign(const ProphetGrid& grid,
                                                const ProphetOptions& options) {
  if (absl::Status status = Check(grid, options); !status.ok()) return status;
  ProphetDesign design;
  design.grid = grid;
  design.change_scale = options.change_scale;
  design.change_times = ChangeTimes(grid.past, options);

  std::vector<double> scales = {kTrendScale, kTrendScale};
  for (const auto& season : options.seasons) {
    scales.insert(scales.end(), 2 * static_cast<size_t>(season.order), season.scale);
  }
  for (const auto& event : options.events) scales.push_back(event.scale);
  std::vector<Standard> standards;
  for (const auto& regressor : options.regressors) {
    scales.push_back(regressor.scale);
    standards.push_back(StandardOf(regressor, grid.past));
  }
  const auto smooth = std::ssize(scales);
  design.precision =
      Eigen::Map<const Eigen::ArrayXd>(scales.data(), smooth).square().inverse().matrix();

  design.rows.resize(smooth + design.changes(), grid.past + grid.ahead);
  for (int64_t row = 0; row < design.rows.cols(); ++row) {
    const int64_t at_ms = grid.begin_ms + row * grid.step_ms;
    const double t = static_cast<double>(row) / static_cast<double>(grid.past - 1);
    double* column = design.rows.col(row).data();
    *column++ = 1;
    *column++ = t;
    for (const ProphetSeason& season : options.seasons) {
      // The phase in turns keeps its precision where milliseconds since 1970 times 2 pi would not.
      const double turns = std::fmod(static_cast<double>(at_ms), season.period_ms) /
                           season.period_ms * 2 * std::numbers::pi;
      for (int harmonic = 1; harmonic <= season.order; ++harmonic) {
        *column++ = std::sin(harmonic * turns);
        *column++ = std::cos(harmonic * turns);
      }
    }
    for (const ProphetEvent& event : options.events) *column++ = Inside(event, at_ms) ? 1 : 0;
    for (size_t i = 0; i < standards.size(); ++i) {
      *column++ = (options.regressors[i].values[static_cast<size_t>(row)] - standards[i].mean) /
                  standards[i].deviation;
    }
    for (const double change : design.change_times) *column++ = std::max(0.0, t - change);
  }
  design.gram = GramOf(design, 0, grid.past);
  const int64_t held = grid.past - Reach(grid.past, options);
  const int64_t count = std::min<int64_t>(options.origins, held);
  for (int64_t i = 0; i < count; ++i) {
    const int64_t first = grid.past - held + held * i / count;
    const int64_t end = grid.past - held + held * (i + 1) / count;
    design.stretches.push_back({first, end - first, GramOf(design, first, end - first)});
  }
  return design;
}

}  // namespace foreshadow::models
