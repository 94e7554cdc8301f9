// Requests of the Open Inference Protocol.
#include "models/registry.h"
#include "service/rpc/infer_convert.h"
#include "tests/fuzz/quiet.h"
#include "tests/fuzz/target.h"

namespace foreshadow::fuzz {

std::vector<std::string> Seeds() {
  inference::ModelInferRequest typed;
  typed.set_model_name("auto");
  const auto add = [&](const char* name, const char* datatype, std::vector<int64_t> shape) {
    auto& input = *typed.add_inputs();
    input.set_name(name);
    input.set_datatype(datatype);
    input.mutable_shape()->Assign(shape.begin(), shape.end());
    return input.mutable_contents();
  };
  auto* history = add("HISTORY", "FP32", {2, 3});
  for (int i = 0; i < 6; ++i) history->add_fp32_contents(static_cast<float>(i));
  add("STEP_MS", "INT64", {1})->add_int64_contents(60'000);
  add("TIME_MS", "INT64", {1})->add_int64_contents(1'700'000'040'000);
  add("SIGNAL", "BYTES", {1})->add_bytes_contents("memory");
  add("LEVELS", "FP32", {1})->add_fp32_contents(0.5);
  (*typed.mutable_parameters())["horizon_steps"].set_int64_param(5);
  (*typed.mutable_parameters())["priority"].set_uint64_param(1);
  typed.add_outputs()->set_name("QUANTILES");

  inference::ModelInferRequest raw = typed;
  for (auto& input : *raw.mutable_inputs()) input.clear_contents();
  raw.add_raw_input_contents(std::string(24, '\0'));
  raw.add_raw_input_contents(std::string("\x60\xea\0\0\0\0\0\0", 8));
  raw.add_raw_input_contents(std::string(8, '\0'));
  raw.add_raw_input_contents(std::string("\3\0\0\0cpu", 7));
  raw.add_raw_input_contents(std::string("\0\0\0\x3f", 4));
  return {typed.SerializeAsString(), raw.SerializeAsString(), ""};
}

}  // namespace foreshadow::fuzz

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace foreshadow;
  static const auto models = std::make_shared<const ModelList>(models::RankModels(nullptr));
  inference::ModelInferRequest request;
  if (!request.ParseFromArray(data, static_cast<int>(size))) return 0;
  const auto asked = rpc::ReadInfer(request, {models, 0}, 60'000, 1'700'000'040'000);
  if (!asked.ok()) {
    if (asked.status().message().empty()) __builtin_trap();
    return 0;
  }
  const batch::Ask& ask = asked->ask;
  const bool fits = !ask.signals.empty() &&
                    std::ssize(ask.values) == std::ssize(ask.signals) * ask.history_steps &&
                    ask.horizon_steps >= 1 && ask.horizon_steps <= kHorizonStepsMax &&
                    !asked->shape.levels.empty() && !asked->outputs.empty();
  if (!fits) __builtin_trap();
  return 0;
}
