#include "service/plan/splits.h"

#include <algorithm>
#include <cmath>
#include <unordered_map>
#include <utility>

namespace foreshadow {
namespace {

constexpr int kGrid = 20;   // splits are multiples of a twentieth of the largest
constexpr int kSweeps = 2;  // over all shadows: the second one mends what the first did not know
constexpr double kQuiet = 1e-9;  // core-hours: nothing to gain

// The cells that shadows change: of any other, nothing is asked.
struct Touched {
  std::vector<int32_t> cells;
  std::unordered_map<int32_t, size_t> at;  // a cell's place in `cells`

  explicit Touched(std::vector<int32_t> of) : cells(std::move(of)) {
    for (size_t i = 0; i < cells.size(); ++i) at[cells[i]] = i;
  }
};

// Those cells with every shadow's split as chosen so far.
struct Board {
  const SplitInput& in;
  const AccountForecasts& forecasts;
  const Touched& touched;
  std::vector<CellForecast> cells;  // of Touched
  const CostModel& model;
  int first = 0;
  int last = 0;

  // Both cells of a shadow, were its split so; `cells` holds it at `from`.
  double CostAt(const Shadow& shadow, double from, double to) const {
    const int32_t home = Home(shadow);
    CellForecast source = At(home);
    CellForecast target = At(shadow.target);
    Shift(shadow, from, to, source, target);
    double traffic = 0;
    for (int step = first; step < last; ++step) {
      traffic += to * forecasts.at(shadow.account, 0, step).mean;
    }
    return Cost(model, home, source, first, last) +
           Cost(model, shadow.target, target, first, last) +
           model.settings.traffic_cost * model.step_hours * traffic;
  }

  void Move(const Shadow& shadow, double from, double to) {
    Shift(shadow, from, to, At(Home(shadow)), At(shadow.target));
  }

  CellForecast& At(int32_t cell) { return cells[touched.at.at(cell)]; }
  const CellForecast& At(int32_t cell) const { return cells[touched.at.at(cell)]; }
  int32_t Home(const Shadow& shadow) const { return in.fleet.accounts[shadow.account].cell; }

  void Shift(const Shadow& shadow, double from, double to, CellForecast& source,
             CellForecast& target) const {
    for (int r = 0; r < kResources; ++r) {
      if (!MovesWithTraffic(r)) continue;
      for (int step = first; step < last; ++step) {
        const Moments& m = forecasts.at(shadow.account, r, step);
        source.mean[r][step] += (from - to) * m.mean;
        target.mean[r][step] += (to - from) * m.mean;
        source.variance[r][step] += ((1 - to) * (1 - to) - (1 - from) * (1 - from)) * m.variance;
        target.variance[r][step] += (to * to - from * from) * m.variance;
      }
    }
  }
};

struct Found {
  double split = 0;
  double gain = 0;  // against a split of 0, the others as they are
};

// Coordinate descent from nothing moved, so that as few shadows as possible take part, the oldest
// first. The cost is convex in each split: the first rise ends the search.
template <typename TakesPart>
std::vector<Found> Descend(Board& board, const TakesPart& takes_part) {
  const SplitInput& in = board.in;
  std::vector<Found> found(in.shadows.size());
  for (int sweep = 0; sweep < kSweeps; ++sweep) {
    for (size_t i = 0; i < in.shadows.size(); ++i) {
      const Shadow& shadow = in.shadows[i];
      if (!takes_part(shadow)) continue;
      const double before = found[i].split;
      const double none = board.CostAt(shadow, before, 0);
      found[i] = {0, 0};
      double best = none;
      for (int g = 1; g <= kGrid && none > kQuiet; ++g) {
        const double split = in.split_max * g / kGrid;
        const double cost = board.CostAt(shadow, before, split);
        if (cost >= best - kQuiet) break;
        best = cost;
        found[i] = {split, none - cost};
      }
      board.Move(shadow, before, found[i].split);
    }
  }
  return found;
}

// Every split 0, the memory of shadows held.
std::vector<CellForecast> NothingMoved(const SplitInput& in, const AccountForecasts& forecasts,
                                       const Touched& touched) {
  const std::vector<double> none(in.shadows.size(), 0);
  return ForecastSome(in.fleet, in.accounts_of, forecasts, in.shadows, none, touched.cells);
}

}  // namespace

std::vector<Advice> AdviseSplits(const SplitInput& in) {
  std::vector<Advice> advice(in.shadows.size());
  const auto in_place = [&](const Shadow& s) { return InPlace(s, in.fleet); };
  if (std::none_of(in.shadows.begin(), in.shadows.end(), in_place)) return advice;
  const auto runs = [&](const Shadow& s) { return Serves(s.state) && in_place(s); };

  const int horizon = in.forecasts.steps;
  const Touched touched(CellsOf(in.fleet, in.shadows));
  const std::vector<CellForecast> nothing_moved = NothingMoved(in, in.forecasts, touched);
  Board soon{
      in, in.forecasts, touched, nothing_moved, in.model, 0, std::min(in.resume_steps, horizon)};
  const std::vector<Found> planned = Descend(soon, in_place);
  Board next{in, in.forecasts, touched, nothing_moved, in.model, 0, std::min(1, horizon)};
  const std::vector<Found> coming = Descend(next, runs);
  std::vector<Found> present(in.shadows.size());
  if (!in.demand.empty()) {
    const AccountForecasts now = Lasting(in.demand, 1);
    Board board{in, now, touched, NothingMoved(in, now, touched), in.present, 0, 1};
    present = Descend(board, in_place);
  }
  Board hour{in, in.forecasts, touched, nothing_moved, in.model, 0, horizon};
  for (size_t i = 0; i < in.shadows.size(); ++i) {
    const Shadow& shadow = in.shadows[i];
    if (!in_place(shadow)) continue;
    const double gain_now = present[i].gain;
    advice[i].planned = std::max(planned[i].split, present[i].split);
    advice[i].gain = std::max(planned[i].gain, gain_now);
    if (!runs(shadow)) continue;
    advice[i].split = std::max(coming[i].split, present[i].split);
    advice[i].gain_next = std::max(coming[i].gain, gain_now);
    hour.Move(shadow, 0, planned[i].split);
  }
  for (size_t i = 0; i < in.shadows.size(); ++i) {
    const Shadow& shadow = in.shadows[i];
    if (!runs(shadow)) continue;
    const int32_t home = hour.Home(shadow);
    CellForecast source = hour.At(home);
    CellForecast target = hour.At(shadow.target);
    const auto cost = [&] {
      return Cost(in.model, home, source, 0, horizon) +
             Cost(in.model, shadow.target, target, 0, horizon);
    };
    hour.Shift(shadow, planned[i].split, 0, source, target);
    const double at_home = cost();
    const double used_home = UtilisationOf(in.model.cells, home, source, in.model.errors).p95;
    hour.Shift(shadow, 0, 1, source, target);
    const double there = cost();
    const double used_there =
        UtilisationOf(in.model.cells, shadow.target, target, in.model.errors).p95;
    const double least = in.model.settings.gain_min;
    advice[i].better_there =
        there + least <= at_home || (there <= at_home && used_there < used_home);
  }
  return advice;
}

}  // namespace foreshadow
