// The emulated GPU with memory that the host may not touch: between operations it is closed, so
// that a read or write which does not go through copy_in and copy_out ends the test; and what an
// operation is told to work on must lie in it.
#pragma once

#include <gtest/gtest.h>
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "kernels/algo/round_up.h"
#include "kernels/check.h"
#include "kernels/ops.h"

namespace foreshadow::kernels::testing {

// One stretch of addresses; what is released is used again once all is.
class GuardedMemory {
 public:
  static GuardedMemory& The() {
    static GuardedMemory memory;
    return memory;
  }

  void* Allocate(size_t bytes) {
    const size_t whole = RoundUp(bytes, 256);
    if (bytes > kBytes || used_ + whole > kBytes) return nullptr;
    void* at = begin_ + used_;
    used_ += whole;
    ++held_;
    return at;
  }
  void Release() {
    if (--held_ == 0) used_ = 0;
  }
  void SetOpen(bool open) const {
    if (used_ == 0) return;
    FORESHADOW_CHECK(mprotect(begin_, used_, open ? PROT_READ | PROT_WRITE : PROT_NONE) == 0);
  }
  bool Holds(const void* at) const {
    return at == nullptr || (at >= begin_ && at < begin_ + kBytes);
  }

  int64_t bytes_out = 0;  // that were copied out

 private:
  static constexpr size_t kBytes = size_t{512} << 20;

  GuardedMemory() {
    void* at = mmap(nullptr, kBytes, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
    FORESHADOW_CHECK(at != MAP_FAILED);
    begin_ = static_cast<std::byte*>(at);
  }

  std::byte* begin_;
  size_t used_ = 0;
  int64_t held_ = 0;
};

using Pointers = std::initializer_list<const void*>;

// Runs an operation whose arguments point there.
template <auto kOperation, typename Args>
void RunGuarded(const Args& args, Pointers pointers) {
  const GuardedMemory& memory = GuardedMemory::The();
  for (const void* at : pointers) FORESHADOW_CHECK(memory.Holds(at));
  memory.SetOpen(true);
  (EmulatedGpuOps().*kOperation)(args);
  memory.SetOpen(false);
}

// Copies the bytes with the memory open.
inline void CopyGuarded(void* to, const void* from, size_t bytes, Stream stream) {
  const GuardedMemory& memory = GuardedMemory::The();
  memory.SetOpen(true);
  EmulatedGpuOps().copy(to, from, bytes, stream);
  memory.SetOpen(false);
}

inline const Ops& GuardedOps() {
  static const Ops ops = [] {
    Ops filled = EmulatedGpuOps();  // an operation that is not named below does not run
    filled.name = "cuda emulated, guarded";
    filled.host_memory = false;
    filled.allocate = [](size_t bytes) { return GuardedMemory::The().Allocate(bytes); };
    filled.release = [](void*) { GuardedMemory::The().Release(); };
    filled.copy_in = [](void* to, const void* from, size_t bytes, Stream stream) {
      FORESHADOW_CHECK(GuardedMemory::The().Holds(to));
      CopyGuarded(to, from, bytes, stream);
    };
    filled.copy_out = [](void* to, const void* from, size_t bytes, Stream stream) {
      FORESHADOW_CHECK(GuardedMemory::The().Holds(from));
      GuardedMemory::The().bytes_out += static_cast<int64_t>(bytes);
      CopyGuarded(to, from, bytes, stream);
    };
    filled.copy = [](void* to, const void* from, size_t bytes, Stream stream) {
      const auto* begin = static_cast<std::byte*>(to);
      const auto* other = static_cast<const std::byte*>(from);
      FORESHADOW_CHECK(GuardedMemory::The().Holds(to) && GuardedMemory::The().Holds(from));
      FORESHADOW_CHECK(begin + bytes <= other || other + bytes <= begin);
      CopyGuarded(to, from, bytes, stream);
    };
    filled.naive_scale = [](const NaiveScaleArgs& a) {
      RunGuarded<&Ops::naive_scale>(a, {a.past.data, a.scale.data()});
    };
    filled.periods = [](const PeriodArgs& a) {
      RunGuarded<&Ops::periods>(a, {a.observed.data, a.periods.data(), a.strengths.data(),
                                    a.status.data(), a.workspace.data()});
    };
    filled.gather = [](const GatherArgs& a) {
      RunGuarded<&Ops::gather>(a, {a.from.data, a.columns.data(), a.to.data});
    };
    filled.stl = [](const StlArgs& a) {
      RunGuarded<&Ops::stl>(a, {a.observed.data, a.seasonal.data, a.trend.data, a.remainder.data,
                                a.weights.data, a.status.data(), a.workspace.data()});
    };
    filled.deseason = [](const DeseasonArgs& a) {
      RunGuarded<&Ops::deseason>(
          a, {a.seasonal.data, a.trend.data, a.remainder.data, a.decomposed.data(),
              a.columns.data(), a.residual.data, a.level.data, a.slope.data(), a.strength.data()});
    };
    filled.events = [](const EventArgs& a) {
      RunGuarded<&Ops::events>(
          a, {a.remainder.data, a.level.data, a.scale.data(), a.threshold.data(), a.events.data(),
              a.events_count, a.status.data(), a.workspace.data()});
    };
    filled.lstm_advance = [](const LstmAdvanceArgs& a) {
      const LstmPast& p = a.past;
      RunGuarded<&Ops::lstm_advance>(a, {p.week, p.rows, p.day, p.season, a.samples});
    };
    filled.lstm_describe = [](const LstmDescribeArgs& a) {
      const LstmPast& p = a.past;
      RunGuarded<&Ops::lstm_describe>(a, {p.week, p.rows, p.day, p.season, a.clock, a.drivers,
                                          a.features, a.candidates, a.spreads, a.levels, a.scales});
    };
    filled.lstm_step = [](const LstmStepArgs& a) {
      RunGuarded<&Ops::lstm_step>(
          a, {a.weights.data(), a.features.data, a.contexts.data(), a.hidden.data, a.cell.data,
              a.candidates.data, a.spreads.data, a.quantiles.data, a.workspace.data()});
    };
    filled.lags = [](const LagArgs& a) {
      RunGuarded<&Ops::lags>(
          a, {a.leader.data, a.follower.data, a.lag.data(), a.correlation.data(), a.p_value.data(),
              a.status.data(), a.correlations.data, a.effective_pairs.data, a.workspace.data()});
    };
    return filled;
  }();
  return ops;
}

// One suite for every device: the CPU, the guarded GPU, and the GPU where there is one. A fixture
// derives from it and is instantiated with FORESHADOW_ON_DEVICES; its tests run or say SKIPPED.
class OnDevice : public ::testing::TestWithParam<const char*> {
 protected:
  void SetUp() override {
    const std::string name = GetParam();
    device_ = name == "cpu" ? &CpuOps() : name == "emulated" ? &GuardedOps() : GpuOps();
    if (device_ == nullptr) GTEST_SKIP() << "no GPU: " << GpuMissing();
  }
  const Ops* device_ = nullptr;
};

#define FORESHADOW_ON_DEVICES(fixture)                                                     \
  INSTANTIATE_TEST_SUITE_P(Devices, fixture, ::testing::Values("cpu", "emulated", "cuda"), \
                           [](const auto& of) { return std::string(of.param); })

}  // namespace foreshadow::kernels::testing
