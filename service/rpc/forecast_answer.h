// Writes forecasts as the wire wants them. The values, nearly all of an answer's bytes, are written
// once, into the memory that gRPC sends.
#pragma once

#include <grpcpp/support/byte_buffer.h>

#include <vector>

#include "foreshadow/v1/forecasts.pb.h"
#include "service/rpc/forecast_ask.h"
#include "service/tick/types.h"

namespace foreshadow::rpc {

inline constexpr int64_t kNoSeries = -1;  // an account that the table does not have

v1::ForecastStatus StatusToProto(models::ForecastStatus status);

// Everything of the answer that does not depend on its series.
void FillFrame(const ForecastTable& table, const Shape& shape, v1::BatchForecastResponse& frame);

// Models and statuses of those series.
void FillSeries(const ForecastTable& table, std::span<const int64_t> series,
                v1::BatchForecastResponse& frame);

// The serialized BatchForecastResponse: `frame`, then the quantiles of the series, [series][step]
// [level].
grpc::ByteBuffer Serialize(const v1::BatchForecastResponse& frame, const ForecastTable& table,
                           std::span<const int64_t> series, const Shape& shape);

// [series][step][level] into `out`; NaN for kNoSeries. Levels between the model's are linear
// between their neighbours, those beyond its outer ones are these.
void CopyQuantiles(const ForecastTable& table, std::span<const int64_t> series, const Shape& shape,
                   float* out);

}  // namespace foreshadow::rpc
