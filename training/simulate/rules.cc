#include "training/simulate/rules.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

namespace foreshadow::training {
namespace {

constexpr double kTarget = 0.8;
constexpr double kTolerance = 1.1;
constexpr double kSafetyLr = 1.2;
constexpr double kSafetyMad = 2.5;
constexpr double kSafetyIqr = 1.5;
constexpr double kThresholdLeast = 0.1;  // a wild history would ask for an empty cell
constexpr double kThresholdEarly = 0.7;  // until there is a history: CloudSim's fall-back
constexpr size_t kHistory = 30;
constexpr size_t kHistoryMin = 12;
constexpr size_t kRegressed = 10;
constexpr size_t kLine = 6;
constexpr size_t kHour = 12;
constexpr double kZ90 = 1.28;
constexpr double kJustBelow = 0.999;

std::span<const double> Last(std::span<const double> values, size_t count) {
  return values.last(std::min(count, values.size()));
}

// A threshold as demand to hold against the capacity: over it while triggered; else below it,
// whatever the demand.
void Level(const RuleView& view, double threshold, bool triggered, int steps, Path& path) {
  const double home = view.home.back();
  const double with = view.with.back();
  double demand = home / threshold;
  if (!triggered && with > 0) {
    demand = std::min(demand, kJustBelow * view.capacity * home / with);
  }
  std::fill_n(path.begin(), steps, demand);
}

void Hpa(const RuleView& view, int steps, Path& path) {
  Level(view, kTarget, view.with.back() > kTolerance * kTarget * view.capacity, steps, path);
}

class Threshold : public Rule {
 public:
  explicit Threshold(size_t of_steps) : of_steps_(of_steps) {}
  void Predict(const RuleView& view, size_t, int steps, Path& path) override {
    const auto recent = Last(view.with, of_steps_);
    const auto over = std::count_if(recent.begin(), recent.end(),
                                    [&](double d) { return d > kTarget * view.capacity; });
    Level(view, kTarget, over > static_cast<std::ptrdiff_t>(of_steps_ / 2), steps, path);
  }

 private:
  size_t of_steps_;
};

class HpaRule : public Rule {
 public:
  void Predict(const RuleView& view, size_t, int steps, Path& path) override {
    Hpa(view, steps, path);
  }
};

// Beloglazov's adaptive thresholds.
class Adaptive : public Rule {
 public:
  explicit Adaptive(bool mad) : mad_(mad) {}
  void Predict(const RuleView& view, size_t, int steps, Path& path) override {
    const auto recent = Last(view.home, kHistory);
    double threshold = kThresholdEarly;
    if (recent.size() >= kHistoryMin) {
      std::vector<double> used(recent.begin(), recent.end());
      for (double& u : used) u /= view.capacity;
      threshold = 1 - (mad_ ? kSafetyMad * Mad(used) : kSafetyIqr * Iqr(used));
    }
    threshold = std::max(threshold, kThresholdLeast);
    Level(view, threshold, view.with.back() > threshold * view.capacity, steps, path);
  }

 private:
  static double Mad(std::vector<double> values) {
    const double median = MedianOf(values);
    for (double& v : values) v = std::abs(v - median);
    return MedianOf(std::move(values));
  }
  // Between the order statistics that are nearest to the quartiles, as in CloudSim.
  static double Iqr(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    const double n = static_cast<double>(values.size() + 1);
    return values[std::lround(0.75 * n) - 1] - values[std::lround(0.25 * n) - 1];
  }
  bool mad_;
};

class Regression : public Rule {
 public:
  explicit Regression(bool weighted) : weighted_(weighted) {}
  void Predict(const RuleView& view, size_t, int steps, Path& path) override {
    const auto recent = Last(view.home, kRegressed);
    if (recent.size() < kRegressed) {
      Level(view, kThresholdEarly, view.with.back() > kThresholdEarly * view.capacity, steps, path);
      return;
    }
    const double next = weighted_ ? LocalRegression(recent, 1) : PlainRegression(recent, 1);
    std::fill_n(path.begin(), steps, kSafetyLr * std::max(0.0, next));
  }

 private:
  bool weighted_;
};

class Linear : public Rule {
 public:
  void Predict(const RuleView& view, size_t, int steps, Path& path) override {
    Hpa(view, steps, path);
    const auto y = Last(view.home, kLine);
    if (y.size() < kLine) return;
    const double mid = (static_cast<double>(kLine) - 1) / 2;
    const double mean = MeanOf(y);
    double xy = 0;
    double xx = 0;
    for (size_t i = 0; i < kLine; ++i) {
      const double x = static_cast<double>(i) - mid;
      xy += x * (y[i] - mean);
      xx += x * x;
    }
    for (int h = 0; h < steps; ++h) {
      const double at = mean + xy / xx * (mid + h + 1);
      // What it foresees to stay below its target it need not act on, as with the reactive part.
      if (at > kTolerance * kTarget * view.capacity) path[h] = std::max(path[h], at / kTarget);
    }
  }
};

// Additive Holt-Winters (Winters 1960) of each cell; parameters are those of the grid that erred
// least an hour ahead so far, all of which run side by side.
class HoltWinters : public Rule {
 public:
  void Predict(const RuleView& view, size_t cell, int steps, Path& path) override {
    Hpa(view, steps, path);
    if (cells_.size() <= cell) cells_.resize(cell + 1);
    std::vector<Smoother>& all = cells_[cell];
    if (all.empty()) {
      for (const double alpha : {0.1, 0.3, 0.6}) {
        for (const double beta : {0.0, 0.05}) {
          for (const double gamma : {0.1, 0.3}) all.push_back({alpha, beta, gamma});
        }
      }
    }
    for (Smoother& s : all) s.Take(view.home, view.day_steps, steps);
    const auto best = std::min_element(
        all.begin(), all.end(), [](const auto& a, const auto& b) { return a.error < b.error; });
    for (int h = 0; h < steps; ++h) {
      const double at = best->At(h + 1, view.day_steps);
      if (at > kTolerance * kTarget * view.capacity) path[h] = std::max(path[h], at / kTarget);
    }
  }

 private:
  struct Smoother {
    double alpha = 0;
    double beta = 0;
    double gamma = 0;
    double level = 0;
    double trend = 0;
    std::vector<double> season = {};  // [step of the day]; empty in the first two days
    std::vector<double> ahead = {};   // what was said of each coming step, an hour before
    double error = 0;
    size_t taken = 0;

    double At(int h, int day) const {
      const double seasonal = season.empty() ? 0 : season[(taken - 1 + h) % day];
      return std::max(0.0, level + h * trend + seasonal);
    }

    void Take(std::span<const double> home, int day, int steps) {
      const double y = home.back();
      if (taken == 0) level = y;
      if (season.empty() && home.size() == 2 * static_cast<size_t>(day)) {
        season.assign(static_cast<size_t>(day), 0);
        const double mean = MeanOf(home);
        for (int i = 0; i < day; ++i) season[i] = (home[i] + home[i + day]) / 2 - mean;
        level = mean;
        trend = 0;
      }
      double* s = season.empty() ? nullptr : &season[taken % day];
      const double seasonal = s == nullptr ? 0 : *s;
      const double before = level;
      level = alpha * (y - seasonal) + (1 - alpha) * (level + trend);
      trend = beta * (level - before) + (1 - beta) * trend;
      if (s != nullptr) *s = gamma * (y - level) + (1 - gamma) * seasonal;
      ahead.resize(static_cast<size_t>(steps));
      if (taken >= static_cast<size_t>(steps)) error += std::abs(ahead[taken % steps] - y);
      ++taken;
      ahead[(taken - 1) % steps] = At(steps, day);
    }
  };
  std::vector<std::vector<Smoother>> cells_;
};

class Sigma : public Rule {
 public:
  explicit Sigma(Base base) : base_(base) {}
  Base base() const override { return base_; }
  void Predict(const RuleView& view, size_t, int steps, Path& path) override {
    const auto hour = Last(view.home, kHour);
    const double level =
        base_ == Base::kHourMean ? MeanOf(hour) : MedianOf({hour.begin(), hour.end()});
    std::fill_n(path.begin(), steps, level + kZ90 * DeviationOf(hour));
  }

 private:
  Base base_;
};

// The line through the values, each weighted by its place (0 is the newest), `ahead` past the
// newest.
double Regressed(std::span<const double> values, double ahead, auto weight_at) {
  const auto n = static_cast<double>(values.size());
  double w = 0;
  double wx = 0;
  double wy = 0;
  double wxx = 0;
  double wxy = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    const double x = static_cast<double>(i) - (n - 1);
    const double weight = weight_at(x);
    w += weight;
    wx += weight * x;
    wy += weight * values[i];
    wxx += weight * x * x;
    wxy += weight * x * values[i];
  }
  const double determinant = w * wxx - wx * wx;
  if (determinant <= 0) return wy / w;
  const double slope = (w * wxy - wx * wy) / determinant;
  return (wy - slope * wx) / w + slope * ahead;
}

}  // namespace

double MeanOf(std::span<const double> values) {
  return std::accumulate(values.begin(), values.end(), 0.0) / static_cast<double>(values.size());
}

double DeviationOf(std::span<const double> values) {
  if (values.size() < 2) return 0;
  const double mean = MeanOf(values);
  double sum = 0;
  for (const double v : values) sum += (v - mean) * (v - mean);
  return std::sqrt(sum / static_cast<double>(values.size() - 1));
}

double MedianOf(std::vector<double> values) { return QuantileOf(std::move(values), 0.5); }

double QuantileOf(std::vector<double> values, double level) {
  std::sort(values.begin(), values.end());
  const double at = level * static_cast<double>(values.size() - 1);
  const auto low = static_cast<size_t>(at);
  const size_t high = std::min(low + 1, values.size() - 1);
  return values[low] + (at - static_cast<double>(low)) * (values[high] - values[low]);
}

double LocalRegression(std::span<const double> values, double ahead) {
  // Tricube weights that fall from the newest value to the oldest (Cleveland 1979).
  const auto n = static_cast<double>(values.size());
  return Regressed(values, ahead, [n](double x) { return std::pow(1 - std::pow(-x / n, 3), 3); });
}

double PlainRegression(std::span<const double> values, double ahead) {
  return Regressed(values, ahead, [](double) { return 1.0; });
}

std::unique_ptr<Rule> MakeRule(std::string_view name) {
  if (name == "reactive") return std::make_unique<Threshold>(3);
  if (name == "thr") return std::make_unique<Threshold>(1);
  if (name == "hpa") return std::make_unique<HpaRule>();
  if (name == "mad") return std::make_unique<Adaptive>(true);
  if (name == "iqr") return std::make_unique<Adaptive>(false);
  if (name == "lr") return std::make_unique<Regression>(true);
  if (name == "lr-plain") return std::make_unique<Regression>(false);
  if (name == "linear") return std::make_unique<Linear>();
  if (name == "holt-winters") return std::make_unique<HoltWinters>();
  if (name == "mean-sigma") return std::make_unique<Sigma>(Base::kHourMean);
  if (name == "median-sigma") return std::make_unique<Sigma>(Base::kHourMedian);
  return nullptr;
}

}  // namespace foreshadow::training
