// Between the core's plain data and the wire.
#pragma once

#include <grpcpp/grpcpp.h>

#include "absl/status/status.h"
#include "foreshadow/v1/plans.pb.h"
#include "foreshadow/v1/telemetry.pb.h"
#include "service/ingest/validate.h"
#include "service/tick/types.h"

namespace foreshadow::rpc {

grpc::Status ToGrpc(const absl::Status& status);

// Views of the batch, which outlives them.
std::vector<RawColumn> ColumnsOf(const v1::SampleBatch& batch);

v1::Signal ToProto(SignalKind signal);
v1::Resources ToProto(const Resources& resources);
v1::Account ToProto(const Account& account, const Fleet& fleet);
v1::Cell ToProto(const CellView& view, const CellRisk& risk);
v1::CellRisk ToProto(const CellRisk& risk, const Fleet& fleet);
v1::Shadow ToProto(const Shadow& shadow, const Fleet& fleet);
v1::Action ToProto(const Action& action);
v1::Scores ToProto(const Scores& scores);
v1::ModelEvaluation ToProto(const Evaluation& evaluation);
v1::Plan ToProto(const TickReport& report);
v1::Explanation ToProto(const Explanation& explanation, const Fleet& fleet);

}  // namespace foreshadow::rpc
