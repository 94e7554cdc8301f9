#include "service/rpc/infer_convert.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <array>

#include "service/rpc/forecast_answer.h"
#include "service/rpc/infer_tensors.h"

namespace foreshadow::rpc {
namespace {

constexpr std::array kInputs = {"HISTORY", "STEP_MS", "TIME_MS", "SIGNAL", "LEVELS"};
constexpr std::array kOutputs = {"QUANTILES", "LEVELS", "STATUS", "MODEL"};
constexpr std::array kParameters = {"horizon_steps", "priority", "timeout",
                                    "triton_enable_empty_final_response"};
constexpr int64_t kAny = -1;

absl::Status Invalid(const std::string& what) { return absl::InvalidArgumentError(what); }

const InputTensor* Find(const std::vector<InputTensor>& inputs, std::string_view name) {
  const auto at = std::find_if(inputs.begin(), inputs.end(),
                               [&](const InputTensor& i) { return i.name() == name; });
  return at == inputs.end() ? nullptr : &*at;
}

// One for all series, or one a series.
absl::Status CheckPerSeries(const InputTensor& input, int64_t series) {
  const auto shape = input.shape();
  const bool flat = shape.size() == 1 && (shape[0] == 1 || shape[0] == series);
  const bool column = shape.size() == 2 && (shape[0] == 1 || shape[0] == series) && shape[1] == 1;
  if (flat || column) return absl::OkStatus();
  return Invalid(fmt::format("input {}: shape {}: must be [1], [{}] or [{}, 1]", input.name(),
                             ShapeText(shape), series, series));
}

// A value that all series of a call share, though clients may send one a series.
absl::Status ReadShared(const InputTensor& input, int64_t series, int64_t& value) {
  if (absl::Status status = CheckPerSeries(input, series); !status.ok()) return status;
  const auto values = ReadInt64(input);
  if (!values.ok()) return values.status();
  for (const int64_t each : *values) {
    if (each == values->front()) continue;
    return Invalid(fmt::format("input {}: {} and {}: all series of a call have the same",
                               input.name(), values->front(), each));
  }
  if (!values->empty()) value = values->front();
  return absl::OkStatus();
}

absl::Status ReadSignals(const InputTensor& input, int64_t series, std::vector<SignalKind>& to) {
  if (absl::Status status = CheckPerSeries(input, series); !status.ok()) return status;
  const auto names = ReadBytes(input);
  if (!names.ok()) return names.status();
  for (int64_t s = 0; s < series; ++s) {
    const std::string& name = (*names)[names->size() == 1 ? 0 : static_cast<size_t>(s)];
    std::vector<const char*> known;
    known.reserve(kSignals);
    for (int kind = 0; kind < kSignals; ++kind) {
      known.push_back(Name(static_cast<SignalKind>(kind)));
    }
    const auto at = std::find(known.begin(), known.end(), name);
    if (at == known.end()) {
      return Invalid(fmt::format("input SIGNAL[{}] = \"{}\": must be one of {}", s, name,
                                 fmt::join(known, ", ")));
    }
    to.push_back(static_cast<SignalKind>(at - known.begin()));
  }
  return absl::OkStatus();
}

absl::StatusOr<int64_t> Whole(const std::string& name, const inference::InferParameter& value) {
  if (value.parameter_choice_case() == inference::InferParameter::kInt64Param &&
      value.int64_param() >= 0) {
    return value.int64_param();
  }
  if (value.parameter_choice_case() == inference::InferParameter::kUint64Param &&
      value.uint64_param() <= INT64_MAX) {
    return static_cast<int64_t>(value.uint64_param());
  }
  return Invalid(fmt::format("parameters[\"{}\"] must be an int64 of 0 or more", name));
}

absl::Status ReadParameter(const std::string& name, const inference::InferParameter& value,
                           InferAsk& asked) {
  if (std::find(kParameters.begin(), kParameters.end(), name) == kParameters.end()) {
    return Invalid(
        fmt::format("parameters[\"{}\"]: must be one of {}", name, fmt::join(kParameters, ", ")));
  }
  if (name == "triton_enable_empty_final_response") return absl::OkStatus();  // the stream's
  const auto number = Whole(name, value);
  if (!number.ok()) return number.status();
  if (name == "priority") {
    const auto priority = PriorityOf(static_cast<uint64_t>(*number));
    if (!priority.ok()) return priority.status();
    asked.ask.priority = *priority;
  } else if (name == "timeout") {
    constexpr int64_t kFarUs = int64_t{365} * 86'400 * 1'000'000;
    if (*number > 0 && *number < kFarUs) {
      asked.ask.deadline = std::chrono::steady_clock::now() + std::chrono::microseconds(*number);
    }
  } else {
    const int steps_max = HorizonSteps(asked.ask.step_ms);
    if (*number < 1 || *number > steps_max) {
      return Invalid(
          fmt::format("parameters[\"horizon_steps\"] = {}: must be 1 .. {} at a step of "
                      "{} ms",
                      *number, steps_max, asked.ask.step_ms));
    }
    asked.shape.steps = static_cast<int>(*number);
  }
  return absl::OkStatus();
}

absl::Status ReadOutputs(const inference::ModelInferRequest& request, InferAsk& asked) {
  for (int i = 0; i < request.outputs_size(); ++i) {
    const auto& output = request.outputs(i);
    if (std::find(kOutputs.begin(), kOutputs.end(), output.name()) == kOutputs.end()) {
      return Invalid(fmt::format("outputs[{}].name = \"{}\": must be one of {}", i, output.name(),
                                 fmt::join(kOutputs, ", ")));
    }
    if (!output.parameters().empty()) {
      return Invalid(
          fmt::format("outputs[{}].parameters[\"{}\"]: outputs take no parameters; "
                      "shared memory and classification are not served",
                      i, output.parameters().begin()->first));
    }
    asked.outputs.push_back(output.name());
  }
  if (asked.outputs.empty()) asked.outputs.assign(kOutputs.begin(), kOutputs.end());
  return absl::OkStatus();
}

absl::Status ReadHistory(const InputTensor* input, batch::Ask& ask, int64_t& series) {
  if (input == nullptr) return Invalid("input HISTORY is missing");
  const auto shape = input->shape();
  if (shape.size() != 2 || shape[0] < 1 || shape[0] > kSeriesMax) {
    return Invalid(fmt::format("input HISTORY: shape {}: must be [1 .. {}, steps]",
                               ShapeText(shape), kSeriesMax));
  }
  series = shape[0];
  ask.history_steps = shape[1];
  if (absl::Status s = CheckHistorySteps(ask.history_steps, "input HISTORY"); !s.ok()) return s;
  auto values = ReadFp32(*input);
  if (!values.ok()) return values.status();
  if (absl::Status s = CheckHistory(*values, "input HISTORY"); !s.ok()) return s;
  ask.values = *std::move(values);
  return absl::OkStatus();
}

absl::Status ReadLevels(const InputTensor* input, Shape& shape) {
  const auto& own = models::kQuantileLevels;
  if (input != nullptr) {
    if (input->shape().size() != 1) {
      return Invalid(
          fmt::format("input LEVELS: shape {}: must be [levels]", ShapeText(input->shape())));
    }
    auto levels = ReadFp32(*input);
    if (!levels.ok()) return levels.status();
    if (absl::Status s = CheckLevels(*levels, "input LEVELS"); !s.ok()) return s;
    shape.levels = *std::move(levels);
  }
  if (shape.levels.empty()) shape.levels.assign(own.begin(), own.end());
  shape.own_levels = std::ranges::equal(shape.levels, own);
  return absl::OkStatus();
}

absl::Status ReadInputs(const std::vector<InputTensor>& inputs, int64_t now_ms, InferAsk& asked) {
  batch::Ask& ask = asked.ask;
  int64_t series = 0;
  if (absl::Status s = ReadHistory(Find(inputs, "HISTORY"), ask, series); !s.ok()) return s;
  if (const InputTensor* step = Find(inputs, "STEP_MS")) {
    if (absl::Status s = ReadShared(*step, series, ask.step_ms); !s.ok()) return s;
  }
  if (absl::Status s = CheckStepMs(ask.step_ms, "input STEP_MS"); !s.ok()) return s;
  // Callers that leave the time out within one step share a batch.
  ask.end_ms = now_ms / ask.step_ms * ask.step_ms;
  if (const InputTensor* time = Find(inputs, "TIME_MS")) {
    if (absl::Status s = ReadShared(*time, series, ask.end_ms); !s.ok()) return s;
  }
  if (const InputTensor* signal = Find(inputs, "SIGNAL")) {
    if (absl::Status s = ReadSignals(*signal, series, ask.signals); !s.ok()) return s;
  } else {
    ask.signals.assign(static_cast<size_t>(series), SignalKind::kCpu);
  }
  return ReadLevels(Find(inputs, "LEVELS"), asked.shape);
}

void Describe(inference::ModelMetadataResponse::TensorMetadata& tensor, const char* name,
              const char* datatype, const std::vector<int64_t>& shape) {
  tensor.set_name(name);
  tensor.set_datatype(datatype);
  tensor.mutable_shape()->Assign(shape.begin(), shape.end());
}

}  // namespace

std::string LabelOf(const std::string& name, const std::string& version) {
  return version.empty() ? name : name + "@" + version;
}

absl::StatusOr<InferAsk> ReadInfer(const inference::ModelInferRequest& request,
                                   const batch::Batcher::Found& found, int64_t step_ms,
                                   int64_t now_ms) {
  InferAsk asked;
  asked.ask.models = found.models;
  asked.ask.first_model = found.first_model;
  asked.ask.step_ms = step_ms;
  asked.raw = request.raw_input_contents_size() > 0;
  const auto inputs = InputsOf(request, kInputs);
  if (!inputs.ok()) return inputs.status();
  if (absl::Status s = ReadInputs(*inputs, now_ms, asked); !s.ok()) return s;
  asked.shape.steps = HorizonSteps(asked.ask.step_ms);
  for (const auto& [name, value] : request.parameters()) {
    if (absl::Status s = ReadParameter(name, value, asked); !s.ok()) return s;
  }
  if (absl::Status s = ReadOutputs(request, asked); !s.ok()) return s;
  if (absl::Status s = CheckSize(std::ssize(asked.ask.signals), asked.shape); !s.ok()) return s;
  asked.ask.horizon_steps = asked.shape.steps;
  return asked;
}

void WriteInfer(const inference::ModelInferRequest& request, const InferAsk& asked,
                const batch::Answer& answer, inference::ModelInferResponse& response) {
  const ForecastTable& table = *answer.table;
  response.set_model_name(request.model_name());
  response.set_model_version(request.model_version());
  response.set_id(request.id());
  const int64_t series = answer.series_count;
  std::vector<int64_t> rows(static_cast<size_t>(series));
  for (int64_t s = 0; s < series; ++s) rows[s] = answer.first_series + s;
  OutputWriter writer(response, asked.raw);
  const auto levels = std::ssize(asked.shape.levels);
  for (const std::string& output : asked.outputs) {
    if (output == "QUANTILES") {
      writer.AddFp32Filled("QUANTILES", {series, asked.shape.steps, levels},
                           series * asked.shape.steps * levels,
                           [&](float* to) { CopyQuantiles(table, rows, asked.shape, to); });
    } else if (output == "LEVELS") {
      writer.AddFp32("LEVELS", {levels}, asked.shape.levels);
    } else if (output == "STATUS") {
      std::vector<int32_t> statuses;
      statuses.reserve(rows.size());
      for (const int64_t s : rows) statuses.push_back(StatusToProto(table.block.status[s]));
      writer.AddInt32("STATUS", {series}, statuses);
    } else {
      std::vector<std::string> names;
      names.reserve(rows.size());
      for (const int64_t s : rows) names.push_back(table.models[table.model_of[s]]);
      writer.AddBytes("MODEL", {series}, names);
    }
  }
}

void DescribeTensors(inference::ModelMetadataResponse& response) {
  Describe(*response.add_inputs(), "HISTORY", "FP32", {kAny, kAny});
  Describe(*response.add_inputs(), "STEP_MS", "INT64", {kAny});
  Describe(*response.add_inputs(), "TIME_MS", "INT64", {kAny});
  Describe(*response.add_inputs(), "SIGNAL", "BYTES", {kAny});
  Describe(*response.add_inputs(), "LEVELS", "FP32", {kAny});
  Describe(*response.add_outputs(), "QUANTILES", "FP32", {kAny, kAny, kAny});
  Describe(*response.add_outputs(), "LEVELS", "FP32", {kAny});
  Describe(*response.add_outputs(), "STATUS", "INT32", {kAny});
  Describe(*response.add_outputs(), "MODEL", "BYTES", {kAny});
}

void DescribeTensors(inference::ModelConfig& config) {
  inference::ModelMetadataResponse metadata;
  DescribeTensors(metadata);
  const auto type_of = [](const std::string& datatype) {
    if (datatype == "FP32") return inference::TYPE_FP32;
    if (datatype == "INT64") return inference::TYPE_INT64;
    return datatype == "INT32" ? inference::TYPE_INT32 : inference::TYPE_STRING;
  };
  for (const auto& tensor : metadata.inputs()) {
    inference::ModelInput& input = *config.add_input();
    input.set_name(tensor.name());
    input.set_data_type(type_of(tensor.datatype()));
    *input.mutable_dims() = tensor.shape();
    input.set_optional(tensor.name() != "HISTORY");
  }
  for (const auto& tensor : metadata.outputs()) {
    inference::ModelOutput& output = *config.add_output();
    output.set_name(tensor.name());
    output.set_data_type(type_of(tensor.datatype()));
    *output.mutable_dims() = tensor.shape();
  }
}

}  // namespace foreshadow::rpc
