// The LSTM's step on one core, against torch's own with a carried state and against a window of
// 288 steps, which is what serving costs without a state. Best of several rounds that take turns,
// so that a busy machine hurts all alike.
//
//   taskset -c 0 build/release/bin/lstm_step_bench
//
// Where there is a GPU, also a step of all series there (models/lstm/device.h), from samples on the
// host to quantiles on the host: then without taskset, since all cores write the quantiles down.
#include <cstdio>
#include <functional>
#include <memory>
#include <random>
#include <string>
#include <vector>

#include "kernels/algo/lstm.h"
#include "models/lstm/device.h"
#include "models/lstm/stream.h"
#include "models/torch/lstm_network.h"
#include "models/torch/lstm_peer.h"

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "tests/benchmarks/lstm_step_bench.cc"
#include <hwy/foreach_target.h>
// foreach_target.h comes first.
#include <hwy/highway.h>

HWY_BEFORE_NAMESPACE();
namespace foreshadow::HWY_NAMESPACE {
namespace {

namespace hn = hwy::HWY_NAMESPACE;

// Multiply-adds that nothing waits for: returns how many flops that were.
double FlopsInARow() {
  const hn::ScalableTag<float> d;
  constexpr int64_t kRounds = 200'000;
  // Each of its own value: like ones would be made once.
  auto a = hn::Set(d, 1), b = hn::Set(d, 2), c = hn::Set(d, 3), e = hn::Set(d, 4);
  auto f = hn::Set(d, 5), g = hn::Set(d, 6), h = hn::Set(d, 7), k = hn::Set(d, 8);
  auto l = hn::Set(d, 9), m = hn::Set(d, 10);
  volatile float half = 0.5f;  // read anew each round, so that none is left out
  for (int64_t i = 0; i < kRounds; ++i) {
    const auto by = hn::Set(d, half);
    a = hn::MulAdd(a, by, by), b = hn::MulAdd(b, by, by), c = hn::MulAdd(c, by, by);
    e = hn::MulAdd(e, by, by), f = hn::MulAdd(f, by, by), g = hn::MulAdd(g, by, by);
    h = hn::MulAdd(h, by, by), k = hn::MulAdd(k, by, by), l = hn::MulAdd(l, by, by);
    m = hn::MulAdd(m, by, by);
  }
  half = hn::GetLane(hn::SumOfLanes(d, a + b + c + e + f + g + h + k + l + m));
  return 2.0 * 10 * kRounds * static_cast<double>(hn::Lanes(d));
}

}  // namespace
}  // namespace foreshadow::HWY_NAMESPACE
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <chrono>

namespace foreshadow {
namespace {

HWY_EXPORT(FlopsInARow);

constexpr int kHidden = 64;
constexpr int kForecastSteps = 12;
constexpr int64_t kWindowSteps = 288;
constexpr int kRounds = 12;

double Seconds(const std::function<void()>& run) {
  const auto start = std::chrono::steady_clock::now();
  run();
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

struct Line {
  std::string name;
  double series;
  double flops;  // a series
  std::function<void()> run;
  double best_s = 1e9;
};

std::vector<float> Random(int64_t count) {
  static std::mt19937 random(1);
  std::normal_distribution<float> normal(0, 1);
  std::vector<float> values(static_cast<size_t>(count));
  for (float& value : values) value = normal(random);
  return values;
}

// The kernel on random inputs.
struct KernelRun {
  const models::LstmRunner& runner;
  int64_t series;
  std::vector<float> features, hidden, cell, candidates, spreads, quantiles;
  std::vector<int32_t> contexts;
  std::vector<std::byte> workspace;

  KernelRun(const models::LstmRunner& of, int64_t count)
      : runner(of),
        series(count),
        features(Random(of.plan.model.features * count)),
        hidden(of.plan.model.layers * kHidden * count),
        cell(hidden.size()),
        candidates(Random(kForecastSteps * of.plan.model.candidates * count)),
        spreads(Random(of.plan.model.spreads * count)),
        quantiles(kForecastSteps * of.plan.model.quantiles * count),
        contexts(count),
        workspace(kernels::CpuOps().lstm_step_workspace_bytes(of.plan.model, kForecastSteps) + 64) {
  }
  void Step(int steps) {
    const kernels::LstmModel& m = runner.plan.model;
    const auto view = [this](std::vector<float>& values) {
      return kernels::StepMajor<float>{values.data(), std::ssize(values) / series, series, series};
    };
    kernels::LstmStepArgs args;
    args.model = m;
    args.weights = runner.plan.weights;
    args.features = view(features);
    args.contexts = contexts;
    args.hidden = view(hidden);
    args.cell = view(cell);
    args.steps = steps;
    args.candidates = view(candidates);
    args.spreads = view(spreads);
    args.quantiles = view(quantiles);
    const auto off = reinterpret_cast<uintptr_t>(workspace.data()) % 64;
    args.workspace = std::span(workspace).subspan(off == 0 ? 0 : 64 - off);
    kernels::CpuOps().lstm_step(args);
  }
};

// A whole step: features, network, quantiles in the samples' unit.
struct StreamRun {
  const models::LstmRunner& runner;
  int64_t series;
  int64_t steps;
  std::vector<float> values;
  std::vector<models::SignalKind> signals;
  std::vector<int32_t> periods;
  models::LstmState state;
  models::QuantileBlock out;
  int64_t end;

  StreamRun(const models::LstmRunner& of, int64_t count, int64_t steps_count)
      : runner(of),
        series(count),
        steps(steps_count),
        values(Random(count * steps_count)),
        signals(count, models::SignalKind::kCpu),
        periods(count, 288),
        end(steps_count - 1'500) {}
  void Step() {
    end = end == steps ? steps - 1'499 : end + 1;
    const models::History history{1'700'000'100'000 + end * 300'000,
                                  300'000,
                                  {values.data(), end, series, series},
                                  signals,
                                  periods};
    models::FollowLstm(runner, history, kForecastSteps, 1, &state, out);
  }
};

// Steps of all series on the GPU, after a short past; the best one in seconds.
absl::StatusOr<double> StepOnGpu(const kernels::Ops& gpu, const models::LstmRunner& runner,
                                 int64_t series, int64_t step_ms) {
  constexpr int64_t kPastSteps = 60;
  std::vector<float> values = Random(series * (kPastSteps + kRounds));
  const std::vector<models::SignalKind> signals(static_cast<size_t>(series));
  const std::vector<int32_t> periods(static_cast<size_t>(series), 288);
  models::LstmDevice device(gpu);
  double best_s = 1e9;
  for (int64_t end = kPastSteps; end <= kPastSteps + kRounds; ++end) {
    const models::History history{1'700'000'100'000 + end * step_ms,
                                  step_ms,
                                  {values.data(), end, series, series},
                                  signals,
                                  periods};
    absl::Status status;
    const double s = Seconds([&] { status = device.Follow(runner, history, kForecastSteps, 0); });
    if (!status.ok()) return status;
    if (end > kPastSteps) best_s = std::min(best_s, s);
  }
  return best_s;
}

void PrintGpu(const models::LstmRunner& runner) {
  const kernels::Ops* gpu = kernels::GpuOps();
  if (gpu == nullptr) {
    std::printf("no GPU: %s\n", std::string(kernels::GpuMissing()).c_str());
    return;
  }
  for (const int64_t step_ms : {300'000, 60'000}) {  // the model's own, and a fifth of it
    for (const int64_t series : {100'000, 1'000'000, 5'000'000}) {
      const auto best_s = StepOnGpu(*gpu, runner, series, step_ms);
      if (!best_s.ok()) {
        std::printf("%lld series: %s\n", static_cast<long long>(series),
                    best_s.status().ToString().c_str());
        return;
      }
      std::printf("%s, end to end, steps of %lld s, %lld series: %.0f series/s, %.1f ms a step\n",
                  std::string(gpu->name).c_str(), static_cast<long long>(step_ms / 1000),
                  static_cast<long long>(series), static_cast<double>(series) / *best_s,
                  1e3 * *best_s);
    }
  }
}

double CoreGflops() {
  double best = 0;
  for (int i = 0; i < 100; ++i) {
    double flops = 0;
    const double s = Seconds([&] { flops = HWY_DYNAMIC_DISPATCH(FlopsInARow)(); });
    best = std::max(best, flops / s / 1e9);
  }
  return best;
}

int Main() {
  const double peak = CoreGflops();
  std::printf("one core makes %.0f GFLOP/s of float32 multiply-adds (%s)\n", peak,
              std::string(kernels::CpuOps().name).c_str());
  for (const int layers : {1, 2}) {
    models::LstmCard card;
    card.hidden = kHidden;
    card.layers = layers;
    card.spec.horizon_steps = 48;
    card.window_steps = 48;
    auto network = models::LstmNetwork::Create(card.shape(), 1, 1);
    if (!network.ok()) return 1;
    const auto runner = models::MakeLstmRunner(card, (*network)->Weights());
    if (!runner.ok()) return 1;
    const kernels::LstmModel& m = runner->plan.model;
    const double inputs = m.features + m.embedding;
    const double lstm = 2.0 * 4 * kHidden * (inputs + kHidden + (layers - 1) * 2 * kHidden);
    const double head = 2.0 * (m.dense * (inputs + kHidden) +
                               kForecastSteps * (m.candidates + m.spreads + m.quantiles) * m.dense);
    std::printf("\n%d x %d, %.0f inputs\n", layers, kHidden, inputs);
    std::vector<Line> lines;
    for (const int64_t series : {1'000, 10'000}) {
      const auto ours = std::make_shared<KernelRun>(*runner, series);
      const auto name = [series](const char* what) {
        return std::string(what) + ", batch " + std::to_string(series);
      };
      const auto count = static_cast<double>(series);
      lines.push_back({name("our step"), count, lstm, [ours] { ours->Step(0); }});
      lines.push_back({name("our step with 12 forecast"), count, lstm + head,
                       [ours] { ours->Step(kForecastSteps); }});
      for (const bool bfloat16 : {false, true}) {
        const auto peer = std::make_shared<models::TorchLstm>(static_cast<int64_t>(inputs), kHidden,
                                                              layers, series, bfloat16);
        lines.push_back({name(bfloat16 ? "torch step, bfloat16" : "torch step, float32"), count,
                         lstm, [peer] { peer->Step(); }});
      }
    }
    const auto stream = std::make_shared<StreamRun>(*runner, 1'900, 1'600);
    stream->Step();
    lines.push_back(
        {"our stream, end to end, batch 1900", 1'900, lstm + head, [stream] { stream->Step(); }});
    const auto window = std::make_shared<models::TorchLstm>(static_cast<int64_t>(inputs), kHidden,
                                                            layers, 250, false);
    lines.push_back({"torch window of 288, batch 250", 250, lstm * kWindowSteps,
                     [window] { window->Window(kWindowSteps); }});
    for (int round = 0; round < kRounds; ++round) {
      for (Line& line : lines) line.best_s = std::min(line.best_s, Seconds(line.run));
    }
    for (const Line& line : lines) {
      std::printf("%-44s %10.0f series/s %6.1f GFLOP/s %4.0f %% of the core\n", line.name.c_str(),
                  line.series / line.best_s, line.flops * line.series / line.best_s / 1e9,
                  100 * line.flops * line.series / line.best_s / 1e9 / peak);
    }
    PrintGpu(*runner);
  }
  return 0;
}

}  // namespace
}  // namespace foreshadow

int main() { return foreshadow::Main(); }
#endif  // HWY_ONCE
