// OpenTelemetry's metrics as series.
#pragma once

#include <vector>

#include "opentelemetry/metrics_service.pb.h"
#include "service/receive/receiver.h"

namespace foreshadow::rpc {

// Labels are the attributes of the resource and of the point, whose own win; the name of the metric
// is the label __name__.
std::vector<receive::IncomingSeries> SeriesOf(
    const opentelemetry::proto::collector::metrics::v1::ExportMetricsServiceRequest& request);

}  // namespace foreshadow::rpc
