// The hot window in the memory of a kernels' backend, say a GPU, so that what runs there finds it:
// a tick brings its new rows and those that late samples touched, and no more. Filled at the start,
// and when the window was made anew, in one go. Owned and used by the tick's thread.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "kernels/ops.h"
#include "service/history/window.h"

namespace foreshadow {

class DeviceWindow {
 public:
  explicit DeviceWindow(const kernels::Ops& ops) : ops_(ops) {}
  ~DeviceWindow() { Drop(); }
  DeviceWindow(const DeviceWindow&) = delete;
  DeviceWindow& operator=(const DeviceWindow&) = delete;

  // Makes it equal to `window`, always the same one. RESOURCE_EXHAUSTED: the device has no room for
  // it; INTERNAL: what the device says. Then it is as dropped.
  absl::Status Follow(const Window& window);

  // Gives the memory back; what comes next fills it anew.
  void Drop();

  // In the backend's memory: not for WindowView::at. Valid until the next Follow or Drop.
  WindowView view() const;

 private:
  float* row(int64_t slot) const { return rows_ + slot * stride_; }
  bool Allocate(const Window& window);
  void MoveToFront(int64_t kept);

  const kernels::Ops& ops_;
  float* rows_ = nullptr;  // [rows_max][stride], in the window's order
  int64_t rows_max_ = 0;
  int64_t stride_ = 0;
  int64_t series_ = 0;
  int64_t steps_ = 0;
  int64_t newest_ = -1;  // where the newest row lies
  int64_t end_ms_ = 0;
  int64_t step_ms_ = 0;
  uint64_t seen_ = 0;  // of the window's changes
};

}  // namespace foreshadow
