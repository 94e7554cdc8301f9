// An operation of the GPU captured into a CUDA graph and launched again gives what a call gives.
#include <cuda_runtime_api.h>
#include <gtest/gtest.h>

#include <cmath>

#include "kernels/algo/lstm.h"
#include "tests/unit/kernels/backends.h"

namespace foreshadow::kernels {
namespace {

using testing::Array;
using testing::Batch;
using testing::BatchOn;

Batch Waves(float height) {
  Batch batch(288, 40);
  for (int64_t i = 0; i < 288; ++i) {
    for (int64_t s = 0; s < 40; ++s) {
      batch.at(i, s) = height * std::sin(0.26f * static_cast<float>(i + s)) +
                       static_cast<float>((i * 7 + s) % 5);
    }
  }
  return batch;
}

TEST(CudaGraph, StlCapturedOnceServesNewSamples) {
  if (GpuOps() == nullptr) GTEST_SKIP() << "no GPU: " << GpuMissing();
  const Ops& ops = *GpuOps();
  const StlParams params = {.period = 24, .robust = true};
  const Batch first = Waves(3);
  const Batch second = Waves(8);
  const BatchOn observed(ops, first);
  const BatchOn seasonal(ops, 288, 40);
  const BatchOn trend(ops, 288, 40);
  const BatchOn remainder(ops, 288, 40);
  const Array<SeriesStatus> status(ops, 40);
  const Array<std::byte> workspace(ops, ops.stl_workspace_bytes(params, 288, 40));
  StlArgs args{params, observed.view(), seasonal.view(), trend.view(), remainder.view(),
               {},     status.span(),   workspace.span()};

  cudaStream_t stream = nullptr;
  ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
  args.stream = stream;
  ops.stl(args);  // what is loaded at first use is loaded before the capture
  ASSERT_EQ(ops.wait(stream), "");
  cudaGraph_t graph = nullptr;
  cudaGraphExec_t ready = nullptr;
  ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
  ops.stl(args);
  ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
  ASSERT_EQ(cudaGraphInstantiate(&ready, graph, 0), cudaSuccess);

  ops.copy_in(observed.view().data, second.values.data(), second.values.size() * sizeof(float),
              stream);
  ASSERT_EQ(cudaGraphLaunch(ready, stream), cudaSuccess);
  ASSERT_EQ(ops.wait(stream), "");
  const Batch launched = trend.Read();
  ops.stl(args);
  ASSERT_EQ(ops.wait(stream), "");
  EXPECT_EQ(launched.values, trend.Read().values);
  cudaGraphExecDestroy(ready);
  cudaGraphDestroy(graph);
  cudaStreamDestroy(stream);
}

TEST(CudaGraph, LstmStepCapturedOnceGoesOnFromItsState) {
  if (GpuOps() == nullptr) GTEST_SKIP() << "no GPU: " << GpuMissing();
  const Ops& ops = *GpuOps();
  constexpr LstmModel kModel{.features = 34,
                             .contexts = 5,
                             .embedding = 8,
                             .hidden = 64,
                             .layers = 2,
                             .dense = 64,
                             .horizon_steps = 48,
                             .candidates = 7,
                             .spreads = 4,
                             .quantiles = 9,
                             .median = 3};
  constexpr int kSteps = 12;
  constexpr int64_t kSeries = 100;
  std::vector<float> weights(static_cast<size_t>(LstmWeightFloats(kModel)));
  for (size_t i = 0; i < weights.size(); ++i) {
    weights[i] = 0.1f * std::sin(0.7f * static_cast<float>(i));
  }
  const Array<float> weights_on(ops, weights);
  const Array<int32_t> contexts(ops, kSeries, 1);
  const BatchOn features(ops, Batch(kModel.features, kSeries, 0.5f));
  const BatchOn candidates(ops, Batch(kSteps * kModel.candidates, kSeries, 0.3f));
  const BatchOn spreads(ops, Batch(kModel.spreads, kSeries, -1));
  const Batch zeros(kModel.layers * kModel.hidden, kSeries, 0);
  // Three steps called one by one, and three launches of one captured step.
  std::vector<float> quantiles[2];
  for (const bool captured : {false, true}) {
    const BatchOn hidden(ops, zeros);
    const BatchOn cell(ops, zeros);
    const BatchOn out(ops, kSteps * kModel.quantiles, kSeries);
    LstmStepArgs args{kModel,
                      weights_on.span(),
                      features.view(),
                      contexts.span(),
                      hidden.view(),
                      cell.view(),
                      kSteps,
                      candidates.view(),
                      spreads.view(),
                      out.view(),
                      {}};
    cudaStream_t stream = nullptr;
    ASSERT_EQ(cudaStreamCreateWithFlags(&stream, cudaStreamNonBlocking), cudaSuccess);
    args.stream = stream;
    cudaGraph_t graph = nullptr;
    cudaGraphExec_t ready = nullptr;
    if (captured) {
      ASSERT_EQ(cudaStreamBeginCapture(stream, cudaStreamCaptureModeThreadLocal), cudaSuccess);
      ops.lstm_step(args);
      ASSERT_EQ(cudaStreamEndCapture(stream, &graph), cudaSuccess);
      ASSERT_EQ(cudaGraphInstantiate(&ready, graph, 0), cudaSuccess);
    }
    for (int step = 0; step < 3; ++step) {
      if (captured) {
        ASSERT_EQ(cudaGraphLaunch(ready, stream), cudaSuccess);
      } else {
        ops.lstm_step(args);
      }
    }
    ASSERT_EQ(ops.wait(stream), "");
    quantiles[captured ? 1 : 0] = out.Read().values;
    if (captured) {
      cudaGraphExecDestroy(ready);
      cudaGraphDestroy(graph);
    }
    cudaStreamDestroy(stream);
  }
  EXPECT_EQ(quantiles[0], quantiles[1]);
}

}  // namespace
}  // namespace foreshadow::kernels
