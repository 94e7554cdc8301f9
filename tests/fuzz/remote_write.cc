// Bodies of Prometheus remote write. Every second input is packed first, or nearly none would get
// past snappy.
#include "service/rpc/remote_write.h"

#include <snappy.h>

#include "kernels/check.h"
#include "prometheus/remote_write.pb.h"
#include "tests/fuzz/quiet.h"
#include "tests/fuzz/series.h"
#include "tests/fuzz/target.h"

namespace foreshadow::fuzz {

std::vector<std::string> Seeds() {
  remote_write::v1::WriteRequest request;
  for (int i = 0; i < 3; ++i) {
    remote_write::v1::TimeSeries& series = *request.add_timeseries();
    for (const auto& [name, value] : SeedLabels(i)) {
      remote_write::v1::Label& label = *series.add_labels();
      label.set_name(name);
      label.set_value(value);
    }
    for (int p = 0; p < 4; ++p) {
      remote_write::v1::Sample& sample = *series.add_samples();
      sample.set_timestamp(1'700'000'000'000 + p * 15'000);
      sample.set_value(p * 1.5);
    }
  }
  const std::string bytes = request.SerializeAsString();
  std::string packed;
  snappy::Compress(bytes.data(), bytes.size(), &packed);
  return {"r" + packed, "q" + bytes, "r", "q"};
}

}  // namespace foreshadow::fuzz

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size == 0) return 0;
  std::string body(reinterpret_cast<const char*>(data) + 1, size - 1);
  if (data[0] & 1) {
    std::string packed;
    snappy::Compress(body.data(), body.size(), &packed);
    body = std::move(packed);
  }
  auto series = foreshadow::rpc::ReadRemoteWrite(body);
  if (series.ok()) foreshadow::fuzz::UseSeries(*series);
  return 0;
}
