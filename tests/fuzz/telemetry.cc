// Batches of the Telemetry service.
#include <cmath>

#include "foreshadow/v1/telemetry.pb.h"
#include "kernels/check.h"
#include "service/rpc/convert.h"
#include "tests/fuzz/quiet.h"
#include "tests/fuzz/target.h"

namespace foreshadow::fuzz {

std::vector<std::string> Seeds() {
  v1::IngestRequest request;
  request.set_sequence(7);
  request.set_watermark_ms(1'700'000'060'000);
  request.mutable_samples()->add_account_ids("x");
  request.mutable_samples()->add_account_ids("y");
  for (const bool indexed : {false, true}) {
    v1::SampleColumn& column = *request.mutable_samples()->add_columns();
    column.set_signal(indexed ? v1::SIGNAL_MEMORY : v1::SIGNAL_CPU);
    for (int row = 0; row < 2; ++row) {
      if (indexed) column.add_account_index(static_cast<uint32_t>(1 - row));
      if (indexed || row == 0) column.add_time_ms(1'700'000'000'000 + row);
      column.add_values(static_cast<float>(row) + 0.5f);
    }
  }
  return {request.SerializeAsString(), ""};
}

}  // namespace foreshadow::fuzz

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace foreshadow;
  static const std::unordered_map<std::string, int32_t> known = {{"x", 0}, {"y", 1}};
  constexpr int64_t kOldestMs = 1'000;
  constexpr int64_t kNewestMs = 1'800'000'000'000;
  v1::IngestRequest request;
  if (!request.ParseFromArray(data, static_cast<int>(size))) return 0;
  const auto& ids = request.samples().account_ids();
  const std::vector<const std::string*> pointers(ids.pointer_begin(), ids.pointer_end());
  const Validated checked =
      Validate(pointers, rpc::ColumnsOf(request.samples()), known, kOldestMs, kNewestMs);
  FORESHADOW_CHECK(checked.error.empty() ||
                   (checked.samples.empty() && checked.rejections.empty()));
  for (const Sample& sample : checked.samples) {
    FORESHADOW_CHECK(sample.account >= 0 && sample.account < 2);
    FORESHADOW_CHECK(std::isfinite(sample.value) && sample.value >= 0);
    FORESHADOW_CHECK(sample.time_ms >= kOldestMs && sample.time_ms <= kNewestMs);
    FORESHADOW_CHECK(static_cast<int>(sample.signal) < kSignals);
  }
  return 0;
}
