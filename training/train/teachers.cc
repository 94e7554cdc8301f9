#include "training/train/teachers.h"

#include <fmt/core.h>
#include <fmt/ranges.h>

#include <utility>

#include "models/file/safetensors.h"
#include "models/lstm/lstm.h"

namespace foreshadow::training {
namespace {

absl::Status CheckTeacher(const std::string& folder, const models::LstmCard& teacher,
                          const models::LstmCard& pupil) {
  const auto wrong = [&](const char* field, const auto& value, const auto& allowed) {
    return absl::InvalidArgumentError(
        fmt::format("teacher {}: {} is {}: allowed is that of the model to be trained, {}", folder,
                    field, value, allowed));
  };
  const auto& spec = teacher.spec;
  if (spec.step_ms != pupil.spec.step_ms) return wrong("step_ms", spec.step_ms, pupil.spec.step_ms);
  if (spec.horizon_steps != pupil.spec.horizon_steps) {
    return wrong("horizon_steps", spec.horizon_steps, pupil.spec.horizon_steps);
  }
  if (teacher.applications != pupil.applications) {
    return wrong("applications", fmt::format("[{}]", fmt::join(teacher.applications, ", ")),
                 fmt::format("[{}]", fmt::join(pupil.applications, ", ")));
  }
  return absl::OkStatus();
}

absl::StatusOr<Teacher> LoadTeacher(const std::string& folder, const models::LstmCard& pupil,
                                    int threads, models::Device device) {
  const auto card = models::LoadLstmCard(folder);
  if (!card.ok()) return card.status();
  absl::Status status = CheckTeacher(folder, *card, pupil);
  if (!status.ok()) return status;
  const auto weights = models::LoadLstmWeights(folder, *card);
  if (!weights.ok()) return weights.status();
  auto network = models::LstmNetwork::Create(card->shape(), /*seed=*/0, threads, device);
  if (!network.ok()) return network.status();
  status = (*network)->SetWeights(*weights);
  if (!status.ok()) return status;
  return Teacher{card->weights_sha256, *std::move(network)};
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

}  // namespace foreshadow::training
