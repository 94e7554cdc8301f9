#include "service/serving/model_watch.h"

#include <fmt/core.h>
#include <spdlog/spdlog.h>
#include <sys/stat.h>

#include <algorithm>
#include <chrono>

#include "models/registry.h"
#include "service/evaluate/evaluate.h"

namespace foreshadow {
namespace {

constexpr int64_t kHourMs = 3'600'000;

int64_t WallNowMs() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

}  // namespace

ModelWatch::ModelWatch(std::string folder, int64_t step_ms, int32_t auto_promote_hours)
    : folder_(std::move(folder)), step_ms_(step_ms), auto_promote_hours_(auto_promote_hours) {
  models::RankedModels ranked = models::LoadModels(folder_);
  const auto& best = *ranked.models.front();
  spdlog::info("forecasts by {} and {} simpler models", models::Label(best),
               ranked.models.size() - 1);
  for (const std::string& note : ranked.notes) spdlog::warn("{}", note);
  if (best.name() == "lstm") serving_ = best.version();
  served_.models = std::make_shared<const ModelList>(std::move(ranked.models));
}

ModelWatch::Stamp ModelWatch::Look() const {
  struct stat file = {};
  const std::string path = models::CurrentFile(models::TrainedFolder(folder_));
  if (::stat(path.c_str(), &file) != 0) return {};
  return {file.st_ino, file.st_mtim.tv_sec * 1'000'000'000 + file.st_mtim.tv_nsec};
}

ModelSource::Served ModelWatch::Poll(std::vector<std::string>& alerts) {
  if (!folder_.empty()) {
    const Stamp stamp = Look();  // before it is read: a change in between is seen at the next tick
    if (stamp != stamp_) {
      stamp_ = stamp;
      Follow();
    }
  }
  alerts.insert(alerts.end(), alerts_.begin(), alerts_.end());
  return served_;
}

void ModelWatch::Follow() {
  alerts_.clear();
  const auto versions = models::ReadVersions(models::TrainedFolder(folder_));
  if (!versions.ok()) {
    alerts_.push_back(fmt::format("the model registry cannot be followed, {} serves on: {}",
                                  models::Label(*served_.models->front()),
                                  std::string(versions.status().message())));
    return;
  }
  if (versions->serving != models::kNoVersion && versions->serving != serving_) {
    LoadServing(versions->serving);
  }
  LoadCandidate(versions->candidate);
}

void ModelWatch::LoadServing(int version) {
  auto model = models::LoadVersion(folder_, version);
  const std::string before = models::Label(*served_.models->front());
  if (!model.ok()) {
    alerts_.push_back(fmt::format("{} does not load, {} serves on: {}",
                                  models::Label("lstm", version), before,
                                  std::string(model.status().message())));
    return;
  }
  serving_ = version;
  served_.models = std::make_shared<const ModelList>(models::RankModels(*std::move(model)));
  spdlog::info("{} serves from here on, {} did before", models::Label(*served_.models->front()),
               before);
}

void ModelWatch::LoadCandidate(int version) {
  if (version == models::kNoVersion) {
    served_.candidate = nullptr;
    return;
  }
  if (served_.candidate != nullptr && served_.candidate->version() == version) return;
  auto model = models::LoadVersion(folder_, version);
  if (!model.ok()) {
    served_.candidate = nullptr;
    alerts_.push_back(fmt::format("candidate {} does not load: {}", models::Label("lstm", version),
                                  std::string(model.status().message())));
    return;
  }
  served_.candidate = *std::move(model);
  spdlog::info("candidate {} forecasts beside {}, unpublished", models::Label(*served_.candidate),
               models::Label(*served_.models->front()));
}

void ModelWatch::Evaluated(const Evaluation& e) {
  // Once a batch; killed in between, the next one makes up for it.
  if (e.difference.open_count != 0 || e.difference.means.empty()) return;
  const std::string folder = models::TrainedFolder(folder_);
  const int version = served_.candidate->version();
  absl::Status status = models::WriteEvaluation(folder, version, EvaluationReport(e));
  if (!status.ok()) {
    spdlog::warn("what was found of {} is not beside it: {}", e.candidate,
                 std::string(status.message()));
  }
  if (auto_promote_hours_ == 0) return;
  // Decided once, at the first batch after that time: an interval of 95 % holds for one look.
  const int64_t decide_ms = std::max<int64_t>(auto_promote_hours_, kVerdictBatchesMin) * kHourMs;
  const int64_t scored_ms = e.ticks * step_ms_;
  if (scored_ms < decide_ms || scored_ms - e.difference.batch_count * step_ms_ >= decide_ms) return;
  if (VerdictOf(e) != Verdict::kBetter) {
    spdlog::info("not promoted by itself: {}", Words(e));
    return;
  }
  status =
      models::PromoteVersion(folder, version, serving_, {WallNowMs(), "foreshadowd", Words(e)});
  if (!status.ok()) spdlog::warn("not promoted by itself: {}", std::string(status.message()));
}

}  // namespace foreshadow
