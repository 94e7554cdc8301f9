#include "service/rpc/forecast_answer.h"

#include <google/protobuf/io/coded_stream.h>
#include <google/protobuf/wire_format_lite.h>
#include <grpc/slice.h>
#include <grpcpp/support/slice.h>

#include <algorithm>
#include <array>
#include <bit>
#include <cstring>
#include <limits>

namespace foreshadow::rpc {
namespace {

using google::protobuf::internal::WireFormatLite;
using google::protobuf::io::CodedOutputStream;

static_assert(std::endian::native == std::endian::little, "floats go to the wire as they are");

// Where a level lies among the model's.
struct Between {
  size_t low = 0;
  size_t high = 0;
  float share = 0;  // of `high`
};

std::vector<Between> PlacesOf(const std::vector<float>& levels) {
  const auto& own = models::kQuantileLevels;
  std::vector<Between> places;
  for (const float level : levels) {
    const auto upper = std::lower_bound(own.begin(), own.end(), level);
    if (upper == own.begin()) {
      places.push_back({0, 0, 0});
    } else if (upper == own.end()) {
      places.push_back({own.size() - 1, own.size() - 1, 0});
    } else {
      const auto i = static_cast<size_t>(upper - own.begin());
      places.push_back({i - 1, i, (level - own[i - 1]) / (own[i] - own[i - 1])});
    }
  }
  return places;
}

}  // namespace

v1::ForecastStatus StatusToProto(models::ForecastStatus status) {
  switch (status) {
    case models::ForecastStatus::kOk:
      return v1::FORECAST_STATUS_OK;
    case models::ForecastStatus::kFellBack:
      return v1::FORECAST_STATUS_FELL_BACK;
    case models::ForecastStatus::kNoHistory:
      return v1::FORECAST_STATUS_NO_HISTORY;
    case models::ForecastStatus::kCannot:
      return v1::FORECAST_STATUS_CANNOT;
  }
  return v1::FORECAST_STATUS_UNSPECIFIED;
}

void FillFrame(const ForecastTable& table, const Shape& shape, v1::BatchForecastResponse& frame) {
  frame.set_made_at_ms(table.made_at_ms);
  frame.set_step_ms(table.step_ms);
  frame.set_steps_count(static_cast<uint32_t>(shape.steps));
  frame.mutable_quantile_levels()->Assign(shape.levels.begin(), shape.levels.end());
  for (const std::string& model : table.models) frame.add_models(model);
}

void FillSeries(const ForecastTable& table, std::span<const int64_t> series,
                v1::BatchForecastResponse& frame) {
  frame.mutable_model_index()->Reserve(static_cast<int>(series.size()));
  frame.mutable_statuses()->Reserve(static_cast<int>(series.size()));
  for (const int64_t s : series) {
    const bool known = s != kNoSeries;
    frame.add_model_index(known ? table.model_of[s] : 0);
    frame.add_statuses(known ? StatusToProto(table.block.status[s])
                             : v1::FORECAST_STATUS_UNKNOWN_ACCOUNT);
  }
}

void CopyQuantiles(const ForecastTable& table, std::span<const int64_t> series, const Shape& shape,
                   float* out) {
  const std::vector<Between> places = PlacesOf(shape.levels);
  const auto per_series = shape.steps * std::ssize(shape.levels);
  for (const int64_t s : series) {
    if (s == kNoSeries) {
      std::fill_n(out, per_series, std::numeric_limits<float>::quiet_NaN());
    } else if (shape.own_levels) {
      std::memcpy(out, table.block.at(s, 0).data(),
                  static_cast<size_t>(per_series) * sizeof(float));
    } else {
      float* to = out;
      for (int step = 0; step < shape.steps; ++step) {
        const float* own = table.block.at(s, step).data();
        for (const Between& at : places) {
          *to++ = own[at.low] + at.share * (own[at.high] - own[at.low]);
        }
      }
    }
    out += per_series;
  }
}

grpc::ByteBuffer Serialize(const v1::BatchForecastResponse& frame, const ForecastTable& table,
                           std::span<const int64_t> series, const Shape& shape) {
  // Messages one after the other are one message with the fields of all.
  const size_t values_bytes =
      series.size() * static_cast<size_t>(shape.steps) * shape.levels.size() * sizeof(float);
  const size_t frame_bytes = frame.ByteSizeLong();
  constexpr size_t kHeadBytesMax = 20;  // of the values' tag and length
  grpc_slice head = grpc_slice_malloc_large(frame_bytes + kHeadBytesMax);
  uint8_t* const begin = GRPC_SLICE_START_PTR(head);
  uint8_t* end = frame.SerializeWithCachedSizesToArray(begin);
  if (values_bytes > 0) {
    end = WireFormatLite::WriteTagToArray(v1::BatchForecastResponse::kValuesFieldNumber,
                                          WireFormatLite::WIRETYPE_LENGTH_DELIMITED, end);
    end = CodedOutputStream::WriteVarint64ToArray(values_bytes, end);
  }
  GRPC_SLICE_SET_LENGTH(head, static_cast<size_t>(end - begin));
  grpc_slice values = grpc_slice_malloc_large(values_bytes);
  CopyQuantiles(table, series, shape, reinterpret_cast<float*>(GRPC_SLICE_START_PTR(values)));
  const std::array<grpc::Slice, 2> slices = {grpc::Slice(head, grpc::Slice::STEAL_REF),
                                             grpc::Slice(values, grpc::Slice::STEAL_REF)};
  return {slices.data(), slices.size()};
}

}  // namespace foreshadow::rpc
