#include "training/bench/growth.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>
#include <iterator>

#include "training/io/gnuplot.h"

namespace foreshadow::training {
namespace {

constexpr std::array kSeriesTimes = {0.125, 0.25, 0.5, 1.0, 2.0, 4.0};
constexpr std::array kStepsTimes = {0.5, 1.0, 2.0, 4.0, 8.0};
constexpr std::array kPeriodTimes = {1.0 / 12, 1.0 / 6, 1.0 / 3, 2.0 / 3, 4.0 / 3, 8.0 / 3};
constexpr std::array kWindowTimes = {0.125, 0.25, 0.5, 1.0, 2.0, 4.0};  // of a period
constexpr size_t kPointsMin = 3;                                        // fewer show no law

constexpr std::array kDimensions = {"series", "length", "period", "window"};

int64_t Scaled(int64_t size, double times) {
  return std::max<int64_t>(1, std::llround(static_cast<double>(size) * times));
}

// The panel a growth is drawn in: every kind of window shares one.
std::string_view PanelOf(const Growth& growth) {
  const auto named = std::find(kDimensions.begin(), kDimensions.end(), growth.with);
  return named == kDimensions.end() ? "window" : *named;
}

void AddPanel(const std::vector<Growth>& all, std::string_view dimension, std::string& script) {
  auto out = std::back_inserter(script);
  std::string lines;
  for (const Growth& growth : all) {
    if (PanelOf(growth) != dimension) continue;
    const std::string block = fmt::format("$data{}", &growth - all.data());
    fmt::format_to(out, "{} << END\n", block);
    for (size_t i = 0; i < growth.sizes.size(); ++i) {
      fmt::format_to(out, "{:.9g} {:.9g}\n", growth.sizes[i], 1e3 * growth.seconds[i]);
    }
    fmt::format_to(out, "END\n");
    lines += fmt::format(
        "{}{} with linespoints pt 7 ps 0.4 title {} noenhanced", lines.empty() ? "" : ", ", block,
        GnuplotText(fmt::format("{} ^ {:.2f}", growth.operation, growth.fit.exponent)));
  }
  if (lines.empty()) return;
  fmt::format_to(out, "set xlabel {}\nplot {}\n", GnuplotText(std::string(dimension)), lines);
}

}  // namespace

std::vector<Sweep> Sweeps(const kernels::Ops& ops, const Case& which, const Shape& base) {
  std::vector<Sweep> sweeps;
  const auto sweep = [&](std::string_view with, const auto& factors, auto set) {
    Sweep made{std::string(with), {}, {}};
    for (const double times : factors) {
      Shape shape = base;
      const int64_t size = set(shape, times);
      if (shape.window >= shape.steps || !which.check(ops, which, shape).empty()) continue;
      if (!made.sizes.empty() && static_cast<double>(size) <= made.sizes.back()) continue;
      made.shapes.push_back(shape);
      made.sizes.push_back(static_cast<double>(size));
    }
    if (made.shapes.size() >= kPointsMin) sweeps.push_back(std::move(made));
  };
  sweep("series", kSeriesTimes,
        [](Shape& shape, double times) { return shape.series = Scaled(shape.series, times); });
  sweep("length", kStepsTimes,
        [](Shape& shape, double times) { return shape.steps = Scaled(shape.steps, times); });
  if (which.has_period) {
    sweep("period", kPeriodTimes, [](Shape& shape, double times) {
      return shape.period = static_cast<int>(Scaled(shape.period, times));
    });
  }
  if (!which.window.empty()) {
    sweep(which.window, kWindowTimes, [](Shape& shape, double times) {
      return shape.window = static_cast<int>(std::max<int64_t>(3, Scaled(shape.period, times) | 1));
    });
  }
  return sweeps;
}

std::vector<Growth> MeasureGrowth(const kernels::Ops& ops, const Case& which, const Shape& base,
                                  const MeasureOptions& options, uint64_t seed) {
  std::vector<Growth> all;
  for (const Sweep& sweep : Sweeps(ops, which, base)) {
    Growth growth{std::string(which.name), sweep.with, sweep.sizes, {}, {}};
    for (const Shape& shape : sweep.shapes) {
      Shape day = shape;
      day.period = DayOf(which, shape);
      Memory memory(ops);
      const Timing timing =
          Measure(ops, which, shape, CopyIn(MakeSeries(day, seed), memory), options);
      growth.seconds.push_back(ops.host_memory ? timing.cpu_s : timing.wall_s);
    }
    growth.fit = FitPowerLaw(growth.sizes, growth.seconds);
    all.push_back(std::move(growth));
  }
  return all;
}

absl::Status PlotGrowth(const std::vector<Growth>& growth, const std::string& path) {
  std::string script =
      "set multiplot layout 2,2\nset logscale xy\nset grid\nset ylabel 'ms a batch'\n"
      "set key outside right\n";
  for (const char* dimension : kDimensions) AddPanel(growth, dimension, script);
  script += "unset multiplot\n";
  return DrawPicture("--growth", path, 1400, 1000, script);
}

}  // namespace foreshadow::training
