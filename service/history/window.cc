#include "service/history/window.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "kernels/algo/round_up.h"
#include "kernels/check.h"

namespace foreshadow {
namespace {

constexpr float kMissing = std::numeric_limits<float>::quiet_NaN();
constexpr int64_t kLaneFloats = 16;  // one cache line, one AVX-512 vector

int64_t FloorToStep(int64_t time_ms, int64_t step_ms) { return time_ms - time_ms % step_ms; }

}  // namespace

Window::Window(int64_t step_ms, int64_t steps_max)
    : step_ms_(step_ms),
      steps_max_(steps_max),
      rows_max_(steps_max + std::max<int64_t>(16, steps_max / 32)),
      changed_(static_cast<size_t>(rows_max_), 0) {
  FORESHADOW_CHECK(step_ms > 0 && steps_max > 0);
}

void Window::Grow(int64_t series_count) {
  if (series_count <= series_) return;
  if (series_count > stride_) {
    const int64_t wanted = std::max(series_count, stride_ + stride_ / 2);
    const int64_t stride = kernels::RoundUp(wanted, kLaneFloats);
    std::vector<float, models::LeftOpen<float>> rows(static_cast<size_t>(rows_max_ * stride));
    for (int64_t step = 0; step < steps_; ++step) {
      float* row = rows.data() + step * stride;
      std::copy_n(rows_.data() + (first_row_ + step) * stride_, series_, row);
      std::fill(row + series_, row + stride, kMissing);
    }
    std::copy_n(changed_.begin() + first_row_, steps_, changed_.begin());
    rows_ = std::move(rows);
    stride_ = stride;
    first_row_ = 0;
  }
  series_ = series_count;
}

void Window::AppendRow() {
  if (first_row_ + steps_ == rows_max_) {
    const int64_t kept = std::min(steps_, steps_max_ - 1);
    std::copy_n(rows_.data() + (first_row_ + steps_ - kept) * stride_, kept * stride_,
                rows_.data());
    std::copy_n(changed_.begin() + first_row_ + steps_ - kept, kept, changed_.begin());
    first_row_ = 0;
    steps_ = kept;
  }
  std::fill_n(rows_.data() + (first_row_ + steps_) * stride_, stride_, kMissing);
  changed_[first_row_ + steps_] = ++changes_;
  ++steps_;
  if (steps_ > steps_max_) {
    ++first_row_;
    --steps_;
  }
}

void Window::AdvanceTo(int64_t time_ms) {
  const int64_t newest_ms = FloorToStep(time_ms, step_ms_);
  if (steps_ != 0 && newest_ms <= end_ms_) return;
  int64_t rows = 1;
  if (steps_ != 0) {
    const int64_t skipped = (newest_ms - end_ms_) / step_ms_;
    if (skipped >= steps_max_) {
      steps_ = 0;
      first_row_ = 0;
    } else {
      rows = skipped;
    }
  }
  for (int64_t i = 0; i < rows; ++i) AppendRow();
  end_ms_ = newest_ms;
}

int64_t Window::Write(std::span<const Sample> samples) {
  // Samples of one step and series that came together are averaged; they are brought together by
  // sorting indices, unless they are together already: by step as they come in, by series as the
  // history reads them.
  int64_t outside = 0;
  ++changes_;
  order_.resize(samples.size());
  std::iota(order_.begin(), order_.end(), 0);
  const auto place = [&](const Sample& s) {
    return std::pair(FloorToStep(s.time_ms, step_ms_), SeriesOf(s.account, s.signal));
  };
  const auto before = [&](int32_t a, int32_t b) { return place(samples[a]) < place(samples[b]); };
  const auto by_series = [&](int32_t a, int32_t b) {
    const auto [row_a, series_a] = place(samples[a]);
    const auto [row_b, series_b] = place(samples[b]);
    return std::pair(series_a, row_a) < std::pair(series_b, row_b);
  };
  if (!std::is_sorted(order_.begin(), order_.end(), before) &&
      !std::is_sorted(order_.begin(), order_.end(), by_series)) {
    std::stable_sort(order_.begin(), order_.end(), before);
  }
  for (size_t i = 0; i < order_.size();) {
    const auto [row_ms, series] = place(samples[order_[i]]);
    double sum = 0;
    size_t end = i;
    while (end < order_.size() && place(samples[order_[end]]) == std::pair(row_ms, series)) {
      sum += samples[order_[end]].value;
      ++end;
    }
    const int64_t back = (end_ms_ - row_ms) / step_ms_;
    if (row_ms > end_ms_ || back >= steps_ || series >= series_) {
      outside += static_cast<int64_t>(end - i);
    } else {
      const int64_t row = first_row_ + steps_ - 1 - back;
      rows_[row * stride_ + series] = static_cast<float>(sum / static_cast<double>(end - i));
      changed_[row] = changes_;
    }
    i = end;
  }
  // A first tick brings a whole window: room for all of its samples is not kept.
  if (std::ssize(samples) > 4 * series_) std::vector<int32_t>().swap(order_);
  return outside;
}

WindowView Window::view() const {
  return {{rows_.data() + first_row_ * stride_, steps_, series_, stride_}, end_ms_, step_ms_};
}

float WindowView::at(int64_t steps_back, int64_t series) const {
  if (steps_back >= values.steps || series >= values.series) return kMissing;
  return values.at(values.steps - 1 - steps_back, series);
}

WindowView WindowView::Before(int64_t steps) const {
  WindowView before = *this;
  before.values.steps = std::max<int64_t>(0, values.steps - steps);
  before.end_ms -= steps * step_ms;
  return before;
}

}  // namespace foreshadow
