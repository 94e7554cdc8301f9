// OpenTelemetry's export requests.
#include "service/rpc/otlp_convert.h"
#include "tests/fuzz/quiet.h"
#include "tests/fuzz/series.h"
#include "tests/fuzz/target.h"

namespace otlp = opentelemetry::proto::collector::metrics::v1;

namespace foreshadow::fuzz {

std::vector<std::string> Seeds() {
  otlp::ExportMetricsServiceRequest request;
  otlp::ResourceMetrics& resource = *request.add_resource_metrics();
  for (const auto& [name, value] : SeedLabels(1)) {
    otlp::KeyValue& attribute = *resource.mutable_resource()->add_attributes();
    attribute.set_key(name);
    attribute.mutable_value()->set_string_value(value);
  }
  otlp::ScopeMetrics& scope = *resource.add_scope_metrics();
  const auto fill = [](otlp::NumberDataPoint& point, double value) {
    point.set_start_time_unix_nano(1'699'999'990'000'000'000);
    point.set_time_unix_nano(1'700'000'000'000'000'000);
    point.set_as_double(value);
    point.add_attributes()->set_key("method");
    point.mutable_attributes(0)->mutable_value()->set_int_value(3);
  };
  otlp::Metric& gauge = *scope.add_metrics();
  gauge.set_name("memory");
  fill(*gauge.mutable_gauge()->add_data_points(), 1);
  for (const auto temporality :
       {otlp::AGGREGATION_TEMPORALITY_DELTA, otlp::AGGREGATION_TEMPORALITY_CUMULATIVE}) {
    otlp::Metric& sum = *scope.add_metrics();
    sum.set_name("cpu.time");
    sum.mutable_sum()->set_is_monotonic(true);
    sum.mutable_sum()->set_aggregation_temporality(temporality);
    fill(*sum.mutable_sum()->add_data_points(), 5);
    fill(*sum.mutable_sum()->add_data_points(), 7);
    sum.mutable_sum()->mutable_data_points(1)->set_time_unix_nano(1'700'000'030'000'000'000);
  }
  otlp::Metric& histogram = *scope.add_metrics();
  histogram.set_name("latency");
  histogram.mutable_histogram()->add_data_points();
  return {request.SerializeAsString(), ""};
}

}  // namespace foreshadow::fuzz

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  otlp::ExportMetricsServiceRequest request;
  if (!request.ParseFromArray(data, static_cast<int>(size))) return 0;
  auto series = foreshadow::rpc::SeriesOf(request);
  foreshadow::fuzz::UseSeries(series);
  return 0;
}
