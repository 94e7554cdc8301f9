#include "service/rpc/otlp_convert.h"

#include <fmt/core.h>

#include <limits>
#include <map>

namespace foreshadow::rpc {
namespace {

namespace otlp = opentelemetry::proto::collector::metrics::v1;
using receive::IncomingSeries;
using receive::Labels;
using receive::SentKind;
using Attributes = google::protobuf::RepeatedPtrField<otlp::KeyValue>;

constexpr uint64_t kNsPerMs = 1'000'000;
constexpr uint32_t kNoValueFlag = 1;

std::string TextOf(const otlp::AnyValue& value) {
  switch (value.value_case()) {
    case otlp::AnyValue::kStringValue:
      return value.string_value();
    case otlp::AnyValue::kBoolValue:
      return value.bool_value() ? "true" : "false";
    case otlp::AnyValue::kIntValue:
      return fmt::format("{}", value.int_value());
    case otlp::AnyValue::kDoubleValue:
      return fmt::format("{}", value.double_value());
    case otlp::AnyValue::VALUE_NOT_SET:
      break;
  }
  return "";
}

void Put(const Attributes& attributes, std::map<std::string, std::string>& labels) {
  for (const otlp::KeyValue& attribute : attributes) {
    if (attribute.key() != receive::kNameLabel) labels[attribute.key()] = TextOf(attribute.value());
  }
}

SentKind KindOf(const otlp::Sum& sum) {
  switch (sum.aggregation_temporality()) {
    case otlp::AGGREGATION_TEMPORALITY_CUMULATIVE:
      return sum.is_monotonic() ? SentKind::kCumulative : SentKind::kGauge;
    case otlp::AGGREGATION_TEMPORALITY_DELTA:
      // Changes of something that goes up and down do not tell where it stands.
      return sum.is_monotonic() ? SentKind::kDelta : SentKind::kUnreadable;
    default:
      return SentKind::kUnreadable;
  }
}

receive::Point PointOf(const otlp::NumberDataPoint& from) {
  receive::Point point;
  point.time_ms = static_cast<int64_t>(from.time_unix_nano() / kNsPerMs);
  point.start_ms = static_cast<int64_t>(from.start_time_unix_nano() / kNsPerMs);
  if (from.flags() & kNoValueFlag) {
    point.value = receive::StaleMarker();
  } else if (from.value_case() == otlp::NumberDataPoint::kAsDouble) {
    point.value = from.as_double();
  } else if (from.value_case() == otlp::NumberDataPoint::kAsInt) {
    point.value = static_cast<double>(from.as_int());
  } else {
    point.value = std::numeric_limits<double>::quiet_NaN();
  }
  return point;
}

class Reader {
 public:
  explicit Reader(const Attributes& resource) { Put(resource, resource_); }

  void Read(const otlp::Metric& metric) {
    switch (metric.data_case()) {
      case otlp::Metric::kGauge:
        return Read(metric.name(), SentKind::kGauge, metric.gauge().data_points());
      case otlp::Metric::kSum:
        return Read(metric.name(), KindOf(metric.sum()), metric.sum().data_points());
      case otlp::Metric::kHistogram:
        return Skip(metric.name(), metric.histogram());
      case otlp::Metric::kExponentialHistogram:
        return Skip(metric.name(), metric.exponential_histogram());
      case otlp::Metric::kSummary:
        return Skip(metric.name(), metric.summary());
      case otlp::Metric::DATA_NOT_SET:
        return;
    }
  }

  std::vector<IncomingSeries> series;

 private:
  void Read(const std::string& name, SentKind kind,
            const google::protobuf::RepeatedPtrField<otlp::NumberDataPoint>& points) {
    for (const otlp::NumberDataPoint& point : points) {
      std::map<std::string, std::string> labels = resource_;
      Put(point.attributes(), labels);
      labels[std::string(receive::kNameLabel)] = name;
      series.push_back({Labels(labels.begin(), labels.end()), kind, {PointOf(point)}});
    }
  }

  void Skip(const std::string& name, const otlp::Uncounted& metric) {
    series.push_back({{{std::string(receive::kNameLabel), name}},
                      SentKind::kUnreadable,
                      std::vector<receive::Point>(static_cast<size_t>(metric.data_points_size()))});
  }

  std::map<std::string, std::string> resource_;
};

}  // namespace

std::vector<IncomingSeries> SeriesOf(const otlp::ExportMetricsServiceRequest& request) {
  std::vector<IncomingSeries> series;
  for (const otlp::ResourceMetrics& resource : request.resource_metrics()) {
    Reader reader(resource.resource().attributes());
    for (const otlp::ScopeMetrics& scope : resource.scope_metrics()) {
      for (const otlp::Metric& metric : scope.metrics()) reader.Read(metric);
    }
    std::move(reader.series.begin(), reader.series.end(), std::back_inserter(series));
  }
  return series;
}

}  // namespace foreshadow::rpc
