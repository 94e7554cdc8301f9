#include "training/train/teachers.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <utility>

#include "models/file/safetensors.h"
#include "models/lstm/lstm.h"

namespace foreshadow::training {
namespace {

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

// What is wrong with the first field that differs.
absl::StatusOr<Model> Load(const std::string& folder, const models::LstmCard& own) {
  auto card = models::LoadLstmCard(folder);
  if (!card.ok()) return card.status();
  absl::Status status = Expect(folder, "step_ms", card->spec.step_ms, own.spec.step_ms);
  if (status.ok()) {
    status = Expect(folder, "horizon_steps", card->spec.horizon_steps, own.spec.horizon_steps);
  }
  if (status.ok()) status = Expect(folder, "applications", card->applications, own.applications);
  if (!status.ok()) return status;
  auto weights = models::LoadLstmWeights(folder, *card);
  if (!weights.ok()) return weights.status();
  return Model{*std::move(card), *std::move(weights)};
}

absl::StatusOr<Teacher> LoadTeacher(const std::string& folder, const models::LstmCard& pupil,
                                    int threads, models::Device device) {
  const auto model = Load(folder, pupil);
  if (!model.ok()) return model.status();
  auto network = models::LstmNetwork::Create(model->card.shape(), /*seed=*/0, threads, device);
  if (!network.ok()) return network.status();
  const absl::Status status = (*network)->SetWeights(model->weights);
  if (!status.ok()) return status;
  return Teacher{model->card.weights_sha256, *std::move(network)};
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
  const auto model = Load(folder, own);
  if (!model.ok()) return model.status();
  absl::Status status = Expect(folder, "hidden", model->card.hidden, own.hidden);
  if (status.ok()) status = Expect(folder, "layers", model->card.layers, own.layers);
  if (status.ok()) status = network.SetWeights(model->weights);
  if (!status.ok()) return status;
  return model->card.weights_sha256;
}

}  // namespace foreshadow::training
