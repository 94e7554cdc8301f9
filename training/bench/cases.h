// What is measured: each operation of the kernels, with parameters that real use would give it.
// `foreshadow bench` and tests/benchmarks run the same list.
#pragma once

#include <functional>
#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "kernels/ops.h"
#include "training/bench/series.h"

namespace foreshadow::training {

// Memory of a backend, freed with the object.
class Memory {
 public:
  explicit Memory(const kernels::Ops& ops) : ops_(ops) {}
  ~Memory();
  Memory(const Memory&) = delete;
  Memory& operator=(const Memory&) = delete;

  template <typename T>
  std::span<T> Make(size_t count) {
    return {static_cast<T*>(Allocate(count * sizeof(T))), count};
  }
  kernels::StepMajor<float> MakeBatch(int64_t steps, int64_t series);
  kernels::StepMajor<const float> Copy(const SeriesSet& set, const std::vector<float>& values);

 private:
  void* Allocate(size_t bytes);

  const kernels::Ops& ops_;
  std::vector<void*> held_;
};

// A SeriesSet in the memory of a backend, or some neighbouring columns of it.
struct Inputs {
  kernels::StepMajor<const float> observed;
  kernels::StepMajor<const float> leader;
  kernels::StepMajor<const float> remainder;
};

Inputs CopyIn(const SeriesSet& set, Memory& memory);
Inputs Columns(const Inputs& inputs, int64_t first, int64_t count);

// An operation ready to run over its columns, with outputs and workspace of its own.
struct Job {
  std::function<void()> run;
  std::span<const kernels::SeriesStatus> status;       // [series]; empty = the operation gives none
  std::vector<kernels::StepMajor<const float>> parts;  // a decomposition's seasons, then its trend
  std::shared_ptr<Memory> memory;
};

struct Case {
  std::string_view name;
  std::string_view what;
  std::string_view window;  // what Shape::window is here; empty = it has none
  bool has_period;          // whether Shape::period is a parameter
  // The seasons of a decomposition, every default filled in; empty for other operations. Peers get
  // the same numbers.
  std::vector<kernels::StlParams> (*seasons)(const Shape& shape);
  Job (*prepare)(const kernels::Ops& ops, const Case& self, const Shape& shape,
                 const Inputs& inputs);
  // Empty = it can be run by that backend at that shape; else what is wrong, in words.
  std::string_view (*check)(const kernels::Ops& ops, const Case& self, const Shape& shape);
};

std::span<const Case> Cases();
const Case* FindCase(std::string_view name);  // nullptr = there is none

// Steps of a day in the series that a case decomposes: its shortest season.
int DayOf(const Case& which, const Shape& shape);

}  // namespace foreshadow::training
