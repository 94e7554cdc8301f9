#include "service/receive/pending.h"

#include <algorithm>

namespace foreshadow::receive {
namespace {

constexpr size_t kBeforesMax = 16;

bool IsBefore(const Point& a, const Point& b) { return a.time_ms < b.time_ms; }

}  // namespace

void FoldedRun::Add(int64_t step_at_ms, int64_t step_ms) {
  if (from_ms >= 0 && step_at_ms == until_ms + step_ms) {
    until_ms = step_at_ms;
  } else if (from_ms >= 0 && step_at_ms == from_ms - step_ms) {
    from_ms = step_at_ms;
  } else if (step_at_ms > until_ms) {
    from_ms = until_ms = step_at_ms;
  }
}

Series* Pending::Find(const std::string& key) {
  const auto it = series_.find(key);
  return it == series_.end() ? nullptr : it->second.get();
}

Series& Pending::Add(std::string key, Target target) {
  std::unique_ptr<Series>& series = series_[key];
  if (series != nullptr) return *series;
  series = std::make_unique<Series>();
  series->folded = &runs_[{target.signal, target.account}];
  series->key = std::move(key);
  series->target = std::move(target);
  return *series;
}

Pending::Placed Pending::Judge(const Series& series, const Point& point) const {
  const int64_t at_ms = StepOf(point.time_ms);
  if (series.folded->Has(at_ms)) {
    return point.time_ms <= series.folded_ms ? Placed::kDuplicate : Placed::kLate;
  }
  const auto step = steps_.find(at_ms);
  if (step == steps_.end()) return Placed::kNew;
  const auto points = step->second.points.find(const_cast<Series*>(&series));
  if (points == step->second.points.end()) return Placed::kNew;
  for (const Point& known : points->second) {
    if (known.time_ms != point.time_ms) continue;
    return known.value == point.value ? Placed::kDuplicate : Placed::kConflict;
  }
  return Placed::kNew;
}

Pending::Placed Pending::Place(Series& series, const Point& point, int64_t now_ms) {
  const Placed placed = Judge(series, point);
  if (placed != Placed::kNew) return placed;
  Step& step = steps_[StepOf(point.time_ms)];
  if (step.points.empty()) step.first_came_ms = now_ms;
  step.last_came_ms = std::max(step.last_came_ms, now_ms);
  std::vector<Point>& points = step.points[&series];
  const auto at = std::upper_bound(points.begin(), points.end(), point, IsBefore);
  points.insert(at, point);
  series.seen_ms = std::max(series.seen_ms, now_ms);
  ++series.pending_count;
  ++points_count_;
  return placed;
}

bool Pending::IsDue(int64_t at_ms, const Step& step, int64_t now_ms) const {
  const int64_t due_ms = at_ms + step_ms_ + settle_ms_;
  if (now_ms < due_ms) return false;
  return step.first_came_ms <= due_ms || now_ms - step.last_came_ms >= settle_ms_;
}

Before Pending::NewestBefore(const Series& series, int64_t time_ms) const {
  Before newest;
  for (const Point& point : series.befores) {
    if (point.time_ms < time_ms) newest = point;
  }
  for (auto step = std::make_reverse_iterator(steps_.lower_bound(StepOf(time_ms)));
       step != steps_.rend() && step->first + gap_ms_ + step_ms_ > time_ms; ++step) {
    const auto points = step->second.points.find(const_cast<Series*>(&series));
    if (points == step->second.points.end()) continue;
    return points->second.back().time_ms > newest.time_ms ? points->second.back() : newest;
  }
  return newest;
}

void Pending::FoldSeries(Series& series, const std::vector<Point>& points, FoldedStep& folded) {
  const Target& target = series.target;
  const bool cumulative = target.making == Making::kCumulative;
  const Before before = cumulative ? NewestBefore(series, points.front().time_ms) : Before{};
  const bool ended = series.stale_ms > 0 && series.stale_ms >= before.time_ms &&
                     series.stale_ms < points.front().time_ms;
  const auto amount = Amount(target, points, ended ? Before{} : before, gap_ms_, step_ms_);
  FoldedStep::Sum& sum = folded.sums[{target.signal, target.account}];
  if (amount) {
    sum.amount += *amount * target.scale;
    sum.any = true;
  }
  series.folded_ms = std::max(series.folded_ms, points.back().time_ms);
  series.pending_count -= std::ssize(points);
  points_count_ -= std::ssize(points);
  if (!cumulative) return;
  std::vector<Point>& befores = series.befores;
  befores.insert(std::upper_bound(befores.begin(), befores.end(), points.back(), IsBefore),
                 points.back());
  const size_t kept = series.pending_count == 0 ? 1 : kBeforesMax;
  if (befores.size() > kept) befores.erase(befores.begin(), befores.end() - kept);
  folded.newest.emplace_back(series.key, befores.back());
}

bool Pending::TakeDue(int64_t now_ms, FoldedStep& folded) {
  const auto due = std::find_if(steps_.begin(), steps_.end(), [&](const auto& step) {
    return IsDue(step.first, step.second, now_ms);
  });
  if (due == steps_.end()) return false;
  folded = {};
  folded.time_ms = due->first;
  // In the order of the keys, so that a sum that is made again is the same number.
  std::vector<Series*> order;
  for (auto& [series, points] : due->second.points) order.push_back(series);
  std::sort(order.begin(), order.end(),
            [](const Series* a, const Series* b) { return a->key < b->key; });
  for (Series* series : order) {
    const std::vector<Point>& points = due->second.points[series];
    FoldSeries(*series, points, folded);
  }
  for (const auto& [of, sum] : folded.sums) {
    if (sum.any) runs_[of].Add(due->first, step_ms_);
  }
  steps_.erase(due);
  return true;
}

std::vector<std::string> Pending::ForgetIdle(int64_t now_ms) {
  const int64_t useful_ms = std::max(gap_ms_, 2 * step_ms_) + settle_ms_;
  std::vector<std::string> ended;
  std::erase_if(series_, [&](const auto& entry) {
    const Series& series = *entry.second;
    const bool idle = series.pending_count == 0 && now_ms - series.seen_ms > useful_ms;
    if (idle && series.target.making == Making::kCumulative) ended.push_back(series.key);
    return idle;
  });
  return ended;
}

}  // namespace foreshadow::receive
