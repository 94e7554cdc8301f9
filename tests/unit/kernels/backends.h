// One suite for every backend: the CPU at each instruction set, the GPU's kernels emulated by the
// host, and the GPU where there is one. A fixture derives from OnBackend and is instantiated with
// FORESHADOW_ON_BACKENDS; its tests run or say SKIPPED.
#pragma once

#include <gtest/gtest.h>
#include <hwy/highway.h>

#include <cstring>
#include <ostream>
#include <span>
#include <string>
#include <vector>

#include "kernels/ops.h"
#include "tests/unit/kernels/batch.h"

namespace foreshadow::kernels::testing {

struct Backend {
  const char* name;
  int64_t target;  // of Highway; 0 = not the CPU's twin

  friend std::ostream& operator<<(std::ostream& out, const Backend& backend) {
    return out << backend.name;
  }
};

inline std::vector<Backend> InstructionSetsHere() {
  std::vector<Backend> sets = {{"sse4", HWY_SSE4}, {"avx2", HWY_AVX2}, {"avx512", HWY_AVX3}};
  std::erase_if(sets, [](const Backend& b) { return (hwy::SupportedTargets() & b.target) == 0; });
  return sets;
}

// Those to test here: instruction sets that this CPU has, and the GPU whether there is one or not.
inline std::vector<Backend> BackendsHere() {
  std::vector<Backend> backends = InstructionSetsHere();
  backends.push_back({"cuda_emulated", 0});
  backends.push_back({"cuda", 0});
  return backends;
}

inline void UseInstructionSet(int64_t target) {
  hwy::SetSupportedTargetsForTest(target);
  hwy::GetChosenTarget().Update(target);
}

inline void UseAllInstructionSets() {
  hwy::SetSupportedTargetsForTest(0);
  hwy::GetChosenTarget().DeInit();
}

class OnBackend : public ::testing::TestWithParam<Backend> {
 protected:
  void SetUp() override {
    const Backend& backend = GetParam();
    if (backend.target != 0) {
      UseInstructionSet(backend.target);
      ops_ = &CpuOps();
    } else {
      ops_ = std::strcmp(backend.name, "cuda") == 0 ? GpuOps() : &EmulatedGpuOps();
      if (ops_ == nullptr) GTEST_SKIP() << "no GPU: " << GpuMissing();
    }
  }
  void TearDown() override { UseAllInstructionSets(); }
  const Ops& ops() const { return *ops_; }

 private:
  const Ops* ops_ = nullptr;
};

#define FORESHADOW_ON_BACKENDS(fixture)                                                       \
  INSTANTIATE_TEST_SUITE_P(Kernels, fixture,                                                  \
                           ::testing::ValuesIn(foreshadow::kernels::testing::BackendsHere()), \
                           [](const auto& of) { return std::string(of.param.name); })

// Values in the memory of a backend.
template <typename T>
class Array {
 public:
  Array(const Ops& ops, const std::vector<T>& values) : ops_(ops), size_(values.size()) {
    memory_ = static_cast<T*>(ops.allocate(size_ * sizeof(T)));
    ops.copy_in(memory_, values.data(), size_ * sizeof(T), nullptr);
  }
  Array(const Ops& ops, size_t size, T fill = {}) : Array(ops, std::vector<T>(size, fill)) {}
  ~Array() { ops_.release(memory_); }
  Array(const Array&) = delete;
  Array& operator=(const Array&) = delete;

  std::span<T> span() const { return {memory_, size_}; }
  // Waits for the backend; its errors fail the test.
  std::vector<T> Read() const {
    std::vector<T> values(size_);
    ops_.copy_out(values.data(), memory_, size_ * sizeof(T), nullptr);
    EXPECT_EQ(ops_.wait(nullptr), "");
    return values;
  }

 private:
  const Ops& ops_;
  size_t size_;
  T* memory_;
};

// A batch in the memory of a backend.
class BatchOn {
 public:
  BatchOn(const Ops& ops, const Batch& batch)
      : array_(ops, batch.values), steps_(batch.steps), series_(batch.series) {}
  BatchOn(const Ops& ops, int64_t steps, int64_t series) : BatchOn(ops, Batch(steps, series)) {}

  StepMajor<float> view() const { return {array_.span().data(), steps_, series_, series_}; }
  Batch Read() const {
    Batch batch(steps_, series_);
    batch.values = array_.Read();
    return batch;
  }

 private:
  Array<float> array_;
  int64_t steps_;
  int64_t series_;
};

}  // namespace foreshadow::kernels::testing
