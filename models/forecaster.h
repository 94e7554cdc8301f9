// A forecaster turns a batch of histories into quantiles of every coming step. One interface for
// all models; each is immutable once made, and may be called from several threads at a time.
#pragma once

#include <any>
#include <array>
#include <cstdint>
#include <memory>
#include <new>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "absl/status/status.h"
#include "kernels/series.h"

namespace foreshadow::kernels {
struct Ops;
}

namespace foreshadow::models {

// Kind of a series; the order is that of the wire's Signal, less one.
enum class SignalKind : uint8_t { kCpu, kMemory, kNetwork, kStorage, kMutationRate };
inline constexpr int kSignalKinds = 5;

inline constexpr std::array<float, 9> kQuantileLevels = {0.05f, 0.1f,  0.25f,  0.5f, 0.75f,
                                                         0.9f,  0.95f, 0.975f, 0.99f};
inline constexpr int kQuantiles = static_cast<int>(kQuantileLevels.size());
inline constexpr int kMedian = 3;  // index of the level 0.5
inline constexpr int kLow80 = 1;   // of 0.1 and 0.9, between which 80 % are to be
inline constexpr int kHigh80 = 5;

using kernels::Driver;

// Histories on the host, time-major.
struct History {
  int64_t end_ms = 0;                      // Unix time of the last step
  int64_t step_ms = 0;                     // sampling interval
  kernels::StepMajor<const float> values;  // NaN = missing
  std::span<const SignalKind> signals;     // [series]
  std::span<const int32_t> periods;        // [series] season in steps, 0 = none known
  // What is known about the accounts; each may be left empty.
  std::span<const int32_t> applications = {};           // [series] in the names, -1 = unknown
  std::span<const std::string> application_names = {};  // "web", "batch", ...
  std::span<const Driver> drivers = {};                 // [series]
};

enum class ForecastStatus : uint8_t {
  kOk = 0,
  kFellBack,   // by a simpler model than the one asked for
  kNoHistory,  // no sample: every quantile is NaN
  kCannot,     // this model has no answer for this series (too short, ...): quantiles are NaN
};

// Whether the quantiles count.
inline bool Answered(ForecastStatus status) {
  return status == ForecastStatus::kOk || status == ForecastStatus::kFellBack;
}

// Leaves new elements as the memory is, where std::vector would set them to zero: what is written
// as a whole by several threads is first touched by them.
template <typename T>
struct LeftOpen : std::allocator<T> {
  template <typename U>
  struct rebind {
    using other = LeftOpen<U>;
  };
  template <typename U>
  void construct(U* at) {
    ::new (static_cast<void*>(at)) U;
  }
  template <typename U, typename... Args>
  void construct(U* at, Args&&... args) {
    ::new (static_cast<void*>(at)) U(std::forward<Args>(args)...);
  }
};

// Quantiles per series and step, ascending along the quantiles, never negative.
struct QuantileBlock {
  int64_t series = 0;
  int steps = 0;
  std::vector<float, LeftOpen<float>> values;  // [series][step][kQuantiles]
  std::vector<ForecastStatus> status;          // [series]

  // What the values are is left open: a block that is used again costs nothing.
  void Resize(int64_t series_count, int steps_count) {
    series = series_count;
    steps = steps_count;
    values.resize(static_cast<size_t>(series) * steps * kQuantiles);
    status.assign(static_cast<size_t>(series), ForecastStatus::kOk);
  }
  std::span<float> at(int64_t s, int step) {
    return {values.data() + (s * steps + step) * kQuantiles, size_t{kQuantiles}};
  }
  std::span<const float> at(int64_t s, int step) const {
    return {values.data() + (s * steps + step) * kQuantiles, size_t{kQuantiles}};
  }
};

class Forecaster {
 public:
  virtual ~Forecaster() = default;
  virtual std::string_view name() const = 0;
  // Its number in the registry that it was loaded from (models/versions); 0 = it has none.
  virtual int version() const { return 0; }
  // Tells its weights from all others; 0 = it was not trained, the program alone is what it is.
  virtual uint64_t fingerprint() const { return 0; }
  // Longest horizon it can forecast at this sampling interval, in steps; 0 = not that interval.
  virtual int MaxSteps(int64_t step_ms) const = 0;
  // Fills `out` (resized here) for `steps` steps. Series it has no answer for get kCannot or
  // kNoHistory; an error means that the whole call failed and `out` is not to be used.
  virtual absl::Status Forecast(const History& history, int steps, QuantileBlock& out) const = 0;

  // For callers that come back at every step. A model that carries what it knows of the series from
  // call to call keeps it in `carried`, a value of its own that is empty at first: then only the
  // steps since the last call cost anything. Series keep their place, new ones come at the end;
  // what the last call did not see of older steps is not looked for.
  virtual bool carries() const { return false; }
  virtual absl::Status Continue(const History& history, int steps, std::any& /*carried*/,
                                QuantileBlock& out) const {
    return Forecast(history, steps, out);
  }
  // What Continue would say of this history, and `carried` is left as it was.
  virtual absl::Status Look(const History& history, int steps, std::any& carried,
                            QuantileBlock& out) const {
    std::any copy = carried;
    return Continue(history, steps, copy, out);
  }
  // Continue for all series at once in the memory of a kernels' backend, say a GPU, where `carried`
  // stays: for callers that have one, of models that say so. An error leaves `carried` as new.
  virtual bool continues_on_device() const { return false; }
  virtual absl::Status ContinueOn(const kernels::Ops& /*device*/, const History& /*history*/,
                                  int /*steps*/, std::any& /*carried*/) const {
    return absl::UnimplementedError("this model runs on the CPU only");
  }
  // What it then says of the series of `part`, the neighbours from `first` on of all that it saw.
  virtual void TakeAnswers(const std::any& /*carried*/, int64_t /*first*/, const History& /*part*/,
                           int /*steps*/, QuantileBlock& /*out*/) const {}
  // Models of which this says the same may share one `carried`, if they are asked for the same
  // histories and horizons, in any order; "" = it shares with none.
  virtual std::string_view carries_with() const { return ""; }
  // What is carried as bytes, "" = nothing. Restore refuses what is damaged (DATA_LOSS) or of
  // another model (FAILED_PRECONDITION), and `carried` is then as it was.
  virtual std::string Save(const std::any& /*carried*/) const { return ""; }
  virtual absl::Status Restore(const std::string& /*bytes*/, std::any& /*carried*/) const {
    return absl::FailedPreconditionError("this model carries nothing from call to call");
  }
};

// The model and its version, as answers and records name it: "lstm@2", or "lstm" without one.
inline std::string Label(std::string_view name, int version) {
  return std::string(name) + (version == 0 ? "" : "@" + std::to_string(version));
}
inline std::string Label(const Forecaster& model) { return Label(model.name(), model.version()); }

}  // namespace foreshadow::models
