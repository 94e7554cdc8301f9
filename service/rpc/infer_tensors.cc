#include "service/rpc/infer_tensors.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <bit>
#include <cstring>

namespace foreshadow::rpc {
namespace {

// More elements than a message can hold.
constexpr int64_t kElementsMax = int64_t{1} << 28;

static_assert(std::endian::native == std::endian::little, "raw contents are little-endian");

absl::Status Invalid(const std::string& what) { return absl::InvalidArgumentError(what); }

absl::StatusOr<int64_t> ElementsOf(const InputTensor& input) {
  int64_t elements = 1;
  for (const int64_t size : input.shape()) {
    if (size < 0 || (size > 0 && elements > kElementsMax / size)) {
      return Invalid(
          fmt::format("input {}: shape {}: every size must be 0 or more, and at most {} "
                      "elements in all",
                      input.name(), ShapeText(input.shape()), kElementsMax));
    }
    elements *= size;
  }
  return elements;
}

absl::Status CheckType(const InputTensor& input, const char* datatype) {
  if (input.tensor->datatype() == datatype) return absl::OkStatus();
  return Invalid(fmt::format("input {}: datatype = \"{}\": must be {}", input.name(),
                             input.tensor->datatype(), datatype));
}

absl::Status WrongCount(const InputTensor& input, int64_t count, const char* what) {
  return Invalid(fmt::format("input {}: {} {} do not fit shape {}, which has {} elements",
                             input.name(), count, what, ShapeText(input.shape()), input.elements));
}

template <typename T, typename Field>
absl::StatusOr<std::vector<T>> Read(const InputTensor& input, const char* datatype,
                                    const Field& typed) {
  if (absl::Status status = CheckType(input, datatype); !status.ok()) return status;
  std::vector<T> values;
  if (input.raw != nullptr) {
    const auto bytes = static_cast<int64_t>(input.raw->size());
    if (bytes != input.elements * static_cast<int64_t>(sizeof(T))) {
      return WrongCount(input, bytes, "raw bytes");
    }
    values.resize(static_cast<size_t>(input.elements));
    if (bytes > 0) std::memcpy(values.data(), input.raw->data(), input.raw->size());
  } else {
    if (typed.size() != input.elements) return WrongCount(input, typed.size(), "values");
    values.assign(typed.begin(), typed.end());
  }
  return values;
}

}  // namespace

std::string ShapeText(std::span<const int64_t> shape) {
  return fmt::format("[{}]", fmt::join(shape, ", "));
}

absl::StatusOr<std::vector<InputTensor>> InputsOf(const inference::ModelInferRequest& request,
                                                  std::span<const char* const> allowed) {
  const int raw_count = request.raw_input_contents_size();
  if (raw_count != 0 && raw_count != request.inputs_size()) {
    return Invalid(fmt::format("raw_input_contents has {} entries: must be 0 or {}, one an input",
                               raw_count, request.inputs_size()));
  }
  std::vector<InputTensor> inputs;
  for (int i = 0; i < request.inputs_size(); ++i) {
    const auto& tensor = request.inputs(i);
    const auto named = [&](const char* name) { return tensor.name() == name; };
    if (std::none_of(allowed.begin(), allowed.end(), named)) {
      return Invalid(fmt::format("inputs[{}].name = \"{}\": must be one of {}", i, tensor.name(),
                                 fmt::join(allowed, ", ")));
    }
    if (std::any_of(inputs.begin(), inputs.end(),
                    [&](const InputTensor& before) { return before.name() == tensor.name(); })) {
      return Invalid(fmt::format("inputs[{}].name = \"{}\" is given twice", i, tensor.name()));
    }
    if (!tensor.parameters().empty()) {
      return Invalid(
          fmt::format("inputs[{}].parameters[\"{}\"]: inputs take no parameters; shared "
                      "memory is not served",
                      i, tensor.parameters().begin()->first));
    }
    if (raw_count != 0 && tensor.has_contents()) {
      return Invalid(
          fmt::format("inputs[{}].contents: must be empty when raw_input_contents is "
                      "given",
                      i));
    }
    InputTensor input{&tensor, raw_count == 0 ? nullptr : &request.raw_input_contents(i), 0};
    const auto elements = ElementsOf(input);
    if (!elements.ok()) return elements.status();
    input.elements = *elements;
    inputs.push_back(input);
  }
  return inputs;
}

absl::StatusOr<std::vector<float>> ReadFp32(const InputTensor& input) {
  return Read<float>(input, "FP32", input.tensor->contents().fp32_contents());
}

absl::StatusOr<std::vector<int64_t>> ReadInt64(const InputTensor& input) {
  return Read<int64_t>(input, "INT64", input.tensor->contents().int64_contents());
}

absl::StatusOr<std::vector<std::string>> ReadBytes(const InputTensor& input) {
  if (absl::Status status = CheckType(input, "BYTES"); !status.ok()) return status;
  std::vector<std::string> values;
  if (input.raw == nullptr) {
    const auto& typed = input.tensor->contents().bytes_contents();
    if (typed.size() != input.elements) return WrongCount(input, typed.size(), "values");
    values.assign(typed.begin(), typed.end());
    return values;
  }
  std::string_view left = *input.raw;
  while (!left.empty()) {
    uint32_t size = 0;
    if (left.size() >= sizeof(size)) std::memcpy(&size, left.data(), sizeof(size));
    if (left.size() < sizeof(size) || left.size() - sizeof(size) < size) {
      return Invalid(
          fmt::format("input {}: raw element {} is cut off", input.name(), values.size()));
    }
    values.emplace_back(left.substr(sizeof(size), size));
    left.remove_prefix(sizeof(size) + size);
    if (std::ssize(values) > input.elements) break;
  }
  if (std::ssize(values) != input.elements) return WrongCount(input, std::ssize(values), "values");
  return values;
}

inference::ModelInferResponse::InferOutputTensor& OutputWriter::Add(
    const char* name, const char* datatype, const std::vector<int64_t>& shape) {
  auto& output = *response_.add_outputs();
  output.set_name(name);
  output.set_datatype(datatype);
  output.mutable_shape()->Assign(shape.begin(), shape.end());
  return output;
}

void OutputWriter::AddFp32(const char* name, const std::vector<int64_t>& shape,
                           std::span<const float> values) {
  AddFp32Filled(name, shape, std::ssize(values),
                [&](float* to) { std::copy(values.begin(), values.end(), to); });
}

void OutputWriter::AddInt32(const char* name, const std::vector<int64_t>& shape,
                            const std::vector<int32_t>& values) {
  auto& output = Add(name, "INT32", shape);
  if (raw_) {
    response_.add_raw_output_contents(reinterpret_cast<const char*>(values.data()),
                                      values.size() * sizeof(int32_t));
  } else {
    output.mutable_contents()->mutable_int_contents()->Assign(values.begin(), values.end());
  }
}

void OutputWriter::AddBytes(const char* name, const std::vector<int64_t>& shape,
                            const std::vector<std::string>& values) {
  auto& output = Add(name, "BYTES", shape);
  if (!raw_) {
    for (const std::string& value : values) output.mutable_contents()->add_bytes_contents(value);
    return;
  }
  std::string& bytes = *response_.add_raw_output_contents();
  for (const std::string& value : values) {
    const auto size = static_cast<uint32_t>(value.size());
    bytes.append(reinterpret_cast<const char*>(&size), sizeof(size));
    bytes.append(value);
  }
}

}  // namespace foreshadow::rpc
