#include "service/rpc/convert.h"

#include "service/evaluate/evaluate.h"

namespace foreshadow::rpc {

grpc::Status ToGrpc(const absl::Status& status) {
  // The codes are the same numbers by definition of both.
  return {static_cast<grpc::StatusCode>(status.code()), std::string(status.message())};
}

std::vector<RawColumn> ColumnsOf(const v1::SampleBatch& batch) {
  std::vector<RawColumn> columns;
  for (const v1::SampleColumn& column : batch.columns()) {
    columns.push_back(
        {column.signal(),
         {column.account_index().data(), static_cast<size_t>(column.account_index_size())},
         {column.time_ms().data(), static_cast<size_t>(column.time_ms_size())},
         {column.values().data(), static_cast<size_t>(column.values_size())}});
  }
  return columns;
}

v1::Signal ToProto(SignalKind signal) {
  return static_cast<v1::Signal>(static_cast<int>(signal) + 1);
}

v1::Resources ToProto(const Resources& r) {
  v1::Resources proto;
  proto.set_cpu_cores(r[0]);
  proto.set_memory_bytes(r[1]);
  proto.set_network_bytes_per_second(r[2]);
  proto.set_storage_bytes(r[3]);
  return proto;
}

v1::Account ToProto(const Account& account, const Fleet& fleet) {
  v1::Account proto;
  proto.set_id(account.id);
  proto.set_cell(fleet.cells[account.cell].id);
  proto.set_application(account.application);
  proto.set_priority(static_cast<uint32_t>(account.priority));
  proto.set_pinned(account.pinned);
  proto.set_stateful(account.stateful);
  return proto;
}

v1::Cell ToProto(const CellView& view, const CellRisk& risk) {
  v1::Cell proto;
  proto.set_id(view.cell.id);
  proto.set_zone(view.cell.zone);
  proto.set_state(static_cast<v1::CellState>(static_cast<int>(view.cell.state) + 1));
  *proto.mutable_capacity() = ToProto(view.cell.capacity);
  *proto.mutable_demand() = ToProto(view.demand);
  *proto.mutable_demand_without() = ToProto(view.demand_without);
  proto.set_accounts_count(view.accounts_count);
  proto.set_shadows_count(view.shadows_count);
  proto.set_overload_probability(risk.probability);
  proto.set_overload_expected_ms(risk.expected_ms);
  return proto;
}

v1::CellRisk ToProto(const CellRisk& risk, const Fleet& fleet) {
  v1::CellRisk proto;
  proto.set_cell(fleet.cells[risk.cell].id);
  proto.set_overload_probability(risk.probability);
  proto.set_overload_expected_ms(risk.expected_ms);
  proto.set_worst_resource(ToProto(static_cast<SignalKind>(risk.resource)));
  proto.set_capacity(risk.capacity);
  proto.mutable_demand_p50()->Assign(risk.p50.begin(), risk.p50.begin() + risk.steps);
  proto.mutable_demand_p95()->Assign(risk.p95.begin(), risk.p95.begin() + risk.steps);
  return proto;
}

v1::Shadow ToProto(const Shadow& shadow, const Fleet& fleet) {
  v1::Shadow proto;
  proto.set_instance_id(shadow.instance_id);
  proto.set_account_id(fleet.accounts[shadow.account].id);
  proto.set_source_cell(fleet.cells[shadow.source].id);
  proto.set_target_cell(fleet.cells[shadow.target].id);
  proto.set_state(static_cast<v1::ShadowState>(static_cast<int>(shadow.state) + 1));
  proto.set_split(shadow.split);
  proto.set_shed(shadow.shed);
  proto.set_created_ms(shadow.created_ms);
  proto.set_since_ms(shadow.since_ms);
  proto.set_idle_since_ms(shadow.idle_since_ms);
  return proto;
}

v1::Action ToProto(const Action& action) {
  v1::Action proto;
  proto.set_id(action.id);
  proto.set_kind(static_cast<v1::ActionKind>(static_cast<int>(action.kind) + 1));
  proto.set_state(static_cast<v1::ActionState>(static_cast<int>(action.state) + 1));
  proto.set_account_id(action.account);
  proto.set_source_cell(action.source_cell);
  proto.set_target_cell(action.target_cell);
  proto.set_instance_id(action.instance_id);
  proto.set_split(action.split);
  proto.set_shed(action.shed);
  proto.set_decided_ms(action.decided_ms);
  proto.set_settled_ms(action.settled_ms);
  proto.set_reason(action.reason);
  proto.set_message(action.message);
  proto.set_attempts(static_cast<uint32_t>(action.attempts));
  return proto;
}

v1::Scores ToProto(const Scores& scores) {
  v1::Scores proto;
  proto.set_ticks(scores.ticks);
  proto.set_overloads(scores.overloads);
  proto.set_overloads_foreseen(scores.overloads_foreseen);
  proto.set_lead_minutes_median(scores.lead_minutes_median());
  proto.set_overload_minutes_without(scores.overload_minutes_without);
  proto.set_overload_minutes_with(scores.overload_minutes_with);
  proto.set_shadows_created(scores.shadows_created);
  proto.set_shadow_hours(scores.shadow_hours);
  proto.set_forecast_mase(scores.mase());
  proto.set_forecast_pinball_loss(scores.pinball());
  proto.set_alarms(scores.alarms);
  proto.set_alarms_false(scores.alarms_false);
  return proto;
}

v1::ModelEvaluation ToProto(const Evaluation& e) {
  v1::ModelEvaluation proto;
  proto.set_candidate(e.candidate);
  proto.set_against(e.against);
  proto.set_verdict(Name(VerdictOf(e)));
  proto.set_words(Words(e));
  proto.set_since_ms(e.since_ms);
  proto.set_until_ms(e.until_ms);
  proto.set_ticks(static_cast<uint64_t>(e.ticks));
  proto.set_forecasts_count(e.scored);
  proto.set_unanswered_count(e.unanswered);
  const auto fill = [&](const EvaluatedModel& model, v1::ModelFigures* to) {
    const EvaluationFigures figures = FiguresOf(e, model);
    to->set_mase(figures.mase);
    to->set_pinball_loss(figures.pinball);
    to->set_crps(figures.crps);
    to->set_coverage_80(figures.coverage_80);
  };
  fill(e.of_candidate, proto.mutable_of_candidate());
  fill(e.of_against, proto.mutable_of_against());
  const Interval interval = MeanInterval(e.difference);
  proto.set_difference(interval.mean);
  proto.set_difference_low(interval.low);
  proto.set_difference_high(interval.high);
  return proto;
}

v1::Plan ToProto(const TickReport& report) {
  v1::Plan proto;
  const Fleet& fleet = *report.fleet;
  proto.set_tick_ms(report.tick_ms);
  proto.set_tick_count(report.scores.ticks);
  for (size_t c = 0; c < report.risks.size(); ++c) {
    v1::CellRisk* risk = proto.add_risks();
    *risk = ToProto(report.risks[c], fleet);
    risk->set_overload_probability_without(report.risks_without[c].probability);
    risk->set_overload_expected_without_ms(report.risks_without[c].expected_ms);
  }
  for (const Shadow& shadow : report.shadows) *proto.add_shadows() = ToProto(shadow, fleet);
  for (const Action& action : report.actions) *proto.add_actions() = ToProto(action);
  *proto.mutable_scores() = ToProto(report.scores);
  proto.set_paused(report.paused);
  for (size_t c = 0; c < report.cells.size(); ++c) {
    *proto.add_cells() = ToProto(report.cells[c], report.risks[c]);
  }
  for (const std::string& alert : report.alerts) proto.add_alerts(alert);
  return proto;
}

v1::Explanation ToProto(const Explanation& e, const Fleet& fleet) {
  v1::Explanation proto;
  *proto.mutable_action() = ToProto(e.action);
  proto.set_words(Words(e));
  *proto.mutable_risk() = ToProto(e.risk, fleet);
  proto.set_probability_after(e.probability_after);
  proto.set_account_demand_p50(e.account_p50);
  proto.set_account_demand_p95(e.account_p95);
  proto.set_target_utilisation_before(e.target_utilisation_before);
  proto.set_target_utilisation_after(e.target_utilisation_after);
  for (const Alternative& a : e.alternatives) {
    v1::Alternative* alternative = proto.add_alternatives();
    alternative->set_account_id(a.account);
    alternative->set_target_cell(a.target_cell);
    alternative->set_refused_because(a.refused_because);
  }
  proto.set_model(e.model);
  for (const std::string& rail : e.guard_rails) proto.add_guard_rails(rail);
  proto.set_urgency(Name(e.urgency));
  proto.set_gain(e.gain);
  proto.set_state_bytes(e.state_bytes);
  proto.set_lead_ms(e.lead_ms);
  return proto;
}

}  // namespace foreshadow::rpc
