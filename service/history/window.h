// The hot window: the newest steps of every series in memory, time-major and contiguous, oldest
// first, so that kernels and models read it without a copy. Owned and used by the tick's thread.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

#include "kernels/series.h"
#include "models/forecaster.h"
#include "service/tick/types.h"

namespace foreshadow {

// The window, or the part of it that ends some steps ago: what one would have seen then.
struct WindowView {
  kernels::StepMajor<const float> values;  // [steps][series], oldest first
  int64_t end_ms = 0;                      // start of the newest step
  int64_t step_ms = 0;

  // Value at a step counted back from the newest (0 = newest); NaN = missing or before the start.
  float at(int64_t steps_back, int64_t series) const;
  // As it was `steps` steps ago.
  WindowView Before(int64_t steps) const;
};

class Window {
 public:
  Window(int64_t step_ms, int64_t steps_max);

  // Room for so many series; new ones are missing in every step. Never shrinks.
  void Grow(int64_t series_count);

  // Makes `time_ms`'s step the newest one, with missing samples in each step that was skipped. An
  // earlier time changes nothing. A jump longer than the window empties it.
  void AdvanceTo(int64_t time_ms);

  // Writes samples into their steps; several of one call in the same step and series are averaged.
  // Returns how many fell outside the window (too old, or after its newest step).
  int64_t Write(std::span<const Sample> samples);

  // Valid until the next call that changes the window.
  WindowView view() const;

  // What follows the window elsewhere copies what has changed since it last looked: changes()
  // counts on with every change of a row, changed(step) is the newest that touched that step of the
  // view.
  uint64_t changes() const { return changes_; }
  uint64_t changed(int64_t step) const { return changed_[first_row_ + step]; }

  int64_t end_ms() const { return end_ms_; }  // start of the newest step
  int64_t steps() const { return steps_; }
  int64_t series() const { return series_; }
  int64_t rows_max() const { return rows_max_; }

 private:
  void AppendRow();

  int64_t step_ms_;
  int64_t steps_max_;
  int64_t rows_max_;  // steps and slack: the rows move to the front only once in a while
  int64_t first_row_ = 0;
  int64_t steps_ = 0;
  int64_t series_ = 0;
  int64_t stride_ = 0;  // series padded to whole cache lines, with room to grow
  int64_t end_ms_ = 0;
  std::vector<float, models::LeftOpen<float>>
      rows_;                       // written, and in memory, as far as they are used
  std::vector<uint64_t> changed_;  // [rows_max_]
  uint64_t changes_ = 0;
  std::vector<int32_t> order_;  // scratch of Write
};

}  // namespace foreshadow
