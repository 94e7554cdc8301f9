#include "service/rpc/infer_statistics.h"

#include <utility>

namespace foreshadow::rpc {
namespace {

void Add(std::chrono::nanoseconds took, inference::StatisticDuration& to) {
  to.set_count(to.count() + 1);
  to.set_ns(to.ns() + static_cast<uint64_t>(std::max<int64_t>(0, took.count())));
}

void Add(const inference::StatisticDuration& added, inference::StatisticDuration& to) {
  to.set_count(to.count() + added.count());
  to.set_ns(to.ns() + added.ns());
}

}  // namespace

void InferStatistics::Add(const std::string& model, int64_t now_ms,
                          const inference::InferStatistics& added, bool is_run) {
  const std::lock_guard lock(mutex_);
  inference::ModelStatistics& known = by_model_[model];
  known.set_last_inference(static_cast<uint64_t>(now_ms));
  known.set_inference_count(known.inference_count() + added.success().count());
  known.set_execution_count(known.execution_count() + (is_run ? 1 : 0));
  inference::InferStatistics& all = *known.mutable_inference_stats();
  rpc::Add(added.success(), *all.mutable_success());
  rpc::Add(added.fail(), *all.mutable_fail());
  rpc::Add(added.queue(), *all.mutable_queue());
  rpc::Add(added.compute_input(), *all.mutable_compute_input());
  rpc::Add(added.compute_infer(), *all.mutable_compute_infer());
  rpc::Add(added.compute_output(), *all.mutable_compute_output());
}

void InferStatistics::Fill(const std::string& model, inference::ModelStatistics& to) const {
  const std::lock_guard lock(mutex_);
  to.mutable_inference_stats();  // there, if only with zeros
  const auto known = by_model_.find(model);
  if (known != by_model_.end()) to.MergeFrom(known->second);
}

void InferWatch::Read(std::string model) {
  model_ = std::move(model);
  read_ = std::chrono::steady_clock::now();
}

void InferWatch::Ended(const absl::StatusOr<batch::Answer>& answer, batch::SteadyTime answered,
                       int64_t now_ms) const {
  if (model_.empty()) return;
  const auto now = std::chrono::steady_clock::now();
  inference::InferStatistics added;
  if (answer.ok()) {
    Add(now - came_, *added.mutable_success());
    Add(answer->queued, *added.mutable_queue());
    Add(read_ - came_, *added.mutable_compute_input());
    Add(answer->ran, *added.mutable_compute_infer());
    Add(now - answered, *added.mutable_compute_output());
  } else {
    Add(now - came_, *added.mutable_fail());
  }
  statistics_->Add(model_, now_ms, added, answer.ok() && answer->is_first);
}

}  // namespace foreshadow::rpc
