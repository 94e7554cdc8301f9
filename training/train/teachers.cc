#include "training/train/teachers.h"

#include <fmt/core.h>

#include <span>
#include <string_view>
#include <utility>

#include "models/file/safetensors.h"
#include "models/lstm/lstm.h"

namespace foreshadow::training {
namespace {

constexpr std::string_view kApplications = "application.weight";  // [row][embedding]

struct Model {
  models::LstmCard card;
  std::vector<models::Tensor> weights;
};

template <typename Value>
absl::Status Expect(const std::string& folder, const char* field, const Value& value,
                    const Value& allowed) {
  if (value == allowed) return absl::OkStatus();
  return absl::InvalidArgumentError(
      fmt::format("{}: {} is {}: allowed is that of the model to be trained, {}", folder, field,
                  value, allowed));
}

// One of the same steps as `own`.
absl::StatusOr<Model> Load(const std::string& folder, const models::LstmCard& own) {
  auto card = models::LoadLstmCard(folder);
  if (!card.ok()) return card.status();
  absl::Status status = Expect(folder, "step_ms", card->spec.step_ms, own.spec.step_ms);
  if (status.ok()) {
    status = Expect(folder, "horizon_steps", card->spec.horizon_steps, own.spec.horizon_steps);
  }
  if (!status.ok()) return status;
  auto weights = models::LoadLstmWeights(folder, *card);
  if (!weights.ok()) return weights.status();
  return Model{*std::move(card), *std::move(weights)};
}

// [row of an application in `own`] its row in the model.
std::vector<int64_t> RowsIn(const models::LstmCard& model, const models::LstmCard& own) {
  std::vector<int64_t> rows = {0};
  for (const std::string& name : own.applications) {
    rows.push_back(models::ApplicationRow(model.applications, name));
  }
  return rows;
}

void Reorder(std::span<const int64_t> rows, int64_t width, models::Tensor& tensor) {
  std::vector<float> values;
  for (const int64_t row : rows) {
    const auto from = tensor.values.begin() + row * width;
    values.insert(values.end(), from, from + width);
  }
  tensor.values = std::move(values);
  tensor.shape = {std::ssize(rows), width};
}

absl::StatusOr<Teacher> LoadTeacher(const std::string& folder, const models::LstmCard& pupil,
                                    int threads, models::Device device) {
  const auto model = Load(folder, pupil);
  if (!model.ok()) return model.status();
  auto network = models::LstmNetwork::Create(model->card.shape(), /*seed=*/0, threads, device);
  if (!network.ok()) return network.status();
  const absl::Status status = (*network)->SetWeights(model->weights);
  if (!status.ok()) return models::InFile(folder, status);
  return Teacher{model->card.weights_sha256, *std::move(network), RowsIn(model->card, pupil)};
}

}  // namespace

absl::StatusOr<std::vector<Teacher>> LoadTeachers(const std::vector<std::string>& folders,
                                                  const models::LstmCard& pupil, int threads,
                                                  models::Device device) {
  std::vector<Teacher> teachers;
  for (const std::string& folder : folders) {
    auto teacher = LoadTeacher(folder, pupil, threads, device);
    if (!teacher.ok()) return teacher.status();
    teachers.push_back(*std::move(teacher));
  }
  return teachers;
}

absl::StatusOr<std::string> BeginAs(const std::string& folder, const models::LstmCard& own,
                                    models::LstmNetwork& network) {
  auto model = Load(folder, own);
  if (!model.ok()) return model.status();
  absl::Status status = Expect(folder, "hidden", model->card.hidden, own.hidden);
  if (status.ok()) status = Expect(folder, "layers", model->card.layers, own.layers);
  if (!status.ok()) return status;
  const std::vector<int64_t> shape = {std::ssize(model->card.applications) + 1, own.embedding};
  for (models::Tensor& tensor : model->weights) {  // one of another shape is for SetWeights to name
    if (tensor.name != kApplications || tensor.shape != shape) continue;
    Reorder(RowsIn(model->card, own), own.embedding, tensor);
  }
  status = network.SetWeights(model->weights);
  if (!status.ok()) return models::InFile(folder, status);
  return model->card.weights_sha256;
}

}  // namespace foreshadow::training
