#include "models/torch/lstm_peer.h"

#include <torch/torch.h>

#include <tuple>

namespace foreshadow::models {

struct TorchLstm::Impl {
  torch::nn::LSTM lstm{nullptr};
  torch::Tensor input;  // [1][series][inputs]
  std::tuple<torch::Tensor, torch::Tensor> state;
};

TorchLstm::TorchLstm(int64_t inputs, int64_t hidden, int64_t layers, int64_t series, bool bfloat16)
    : impl_(std::make_unique<Impl>()) {
  at::set_num_threads(1);
  const auto type = bfloat16 ? torch::kBFloat16 : torch::kFloat32;
  impl_->lstm = torch::nn::LSTM(torch::nn::LSTMOptions(inputs, hidden).num_layers(layers));
  impl_->lstm->to(type);
  impl_->lstm->eval();
  impl_->input = torch::randn({1, series, inputs}).to(type);
  const auto zeros = torch::zeros({layers, series, hidden}).to(type);
  impl_->state = {zeros, zeros};
}

TorchLstm::~TorchLstm() = default;

void TorchLstm::Step() {
  c10::InferenceMode inference;
  impl_->state = std::get<1>(impl_->lstm(impl_->input, impl_->state));
}

void TorchLstm::Window(int64_t steps) {
  c10::InferenceMode inference;
  impl_->lstm(
      impl_->input.expand({steps, impl_->input.size(1), impl_->input.size(2)}).contiguous());
}

}  // namespace foreshadow::models
