#include "service/history/device_window.h"

#include <fmt/core.h>

#include <algorithm>
#include <string>
#include <utility>

namespace foreshadow {

void DeviceWindow::Drop() {
  if (rows_ != nullptr) ops_.release(std::exchange(rows_, nullptr));
  stride_ = series_ = steps_ = 0;
}

bool DeviceWindow::Allocate(const Window& window) {
  Drop();
  rows_max_ = window.rows_max();
  stride_ = window.view().values.stride;
  const auto floats = static_cast<size_t>(rows_max_ * stride_);
  rows_ = static_cast<float*>(ops_.allocate(floats * sizeof(float)));
  return rows_ != nullptr;
}

// The newest rows; so many at a time as leave room between what is read and what is written.
void DeviceWindow::MoveToFront(int64_t kept) {
  const int64_t from = newest_ + 1 - kept;
  for (int64_t at = 0; at < kept; at += from) {
    const auto floats = static_cast<size_t>(std::min(from, kept - at) * stride_);
    ops_.copy(row(at), row(at + from), floats * sizeof(float), nullptr);
  }
  newest_ = kept - 1;
}

absl::Status DeviceWindow::Follow(const Window& window) {
  const WindowView host = window.view();
  const auto& from = host.values;
  if (from.steps == 0 || from.stride == 0) {
    Drop();
    return absl::OkStatus();
  }
  if (from.stride != stride_ && !Allocate(window)) {
    const int64_t bytes = window.rows_max() * from.stride * static_cast<int64_t>(sizeof(float));
    const std::string wrong(ops_.wait(nullptr));  // a device that has failed has no room either
    Drop();
    if (!wrong.empty()) return absl::InternalError(wrong);
    return absl::ResourceExhaustedError(fmt::format("no room for a window of {} MiB", bytes >> 20));
  }
  const int64_t elapsed = steps_ == 0 ? from.steps : (host.end_ms - end_ms_) / host.step_ms;
  const int64_t added = std::min(elapsed, from.steps);
  if (added == from.steps) {
    newest_ = added - 1;
  } else {
    if (newest_ + added >= rows_max_) MoveToFront(from.steps - added);
    newest_ += added;
  }
  const int64_t oldest = newest_ + 1 - from.steps;
  const auto is_new = [&](int64_t step) {
    return step >= from.steps - added || window.changed(step) > seen_;
  };
  for (int64_t step = 0; step < from.steps;) {
    int64_t end = step;
    while (end < from.steps && is_new(end)) ++end;
    const auto floats = static_cast<size_t>((end - step) * stride_);
    if (floats > 0)
      ops_.copy_in(row(oldest + step), &from.at(step, 0), floats * sizeof(float), nullptr);
    step = end + 1;
  }
  // The window may change as soon as this returns.
  if (const std::string wrong(ops_.wait(nullptr)); !wrong.empty()) {
    Drop();
    return absl::InternalError(wrong);
  }
  series_ = from.series;
  steps_ = from.steps;
  end_ms_ = host.end_ms;
  step_ms_ = host.step_ms;
  seen_ = window.changes();
  return absl::OkStatus();
}

WindowView DeviceWindow::view() const {
  if (steps_ == 0) return {};
  return {{row(newest_ + 1 - steps_), steps_, series_, stride_}, end_ms_, step_ms_};
}

}  // namespace foreshadow
