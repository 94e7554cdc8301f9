// Records of a server's journal, as they lie in a frame: what is read can be written and read
// again, and is the same.
#include "kernels/check.h"
#include "service/journal/records.h"
#include "tests/fuzz/target.h"

namespace foreshadow::fuzz {

std::vector<std::string> Seeds() {
  journal::Start start;
  start.program = "1.0";
  start.machine = "cpu AVX2";
  start.config = "[server]\ndata_dir = \"d\"\n";
  start.decisions = "{}";
  journal::TickEnd end;
  end.samples = 2;
  end.tick.tick_ms = 1'700'000'000'000;
  end.tick.inbox.outcomes = {{7, true, false, "done"}};
  end.tick.inbox.reports = {{1, true, {"x-1"}}};
  end.tick.inbox.commands = {{Command::Kind::kApprove, 7}};
  end.tick.inbox.alerts = {"look"};
  end.tick.models = {{"lstm@2", 12345}, {"level", 0}};
  end.tick.candidate = journal::ModelId{"lstm@3", 6};
  end.tick.decided = {"", "ab12", "{}", {{7, "{}"}}, {7}};
  return {journal::Encode(start),
          journal::Encode(journal::AccountsPiece{{{"x", 0, "web", 1, false}}}),
          journal::Encode(journal::SamplesPiece{{{0, SignalKind::kCpu, 1'700'000'000'000, 1.5f},
                                                 {1, SignalKind::kMemory, 1'700'000'060'000, 2}}}),
          journal::Encode(end)};
}

}  // namespace foreshadow::fuzz

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace foreshadow;
  const auto record = journal::Decode({reinterpret_cast<const char*>(data), size});
  if (!record.ok()) return 0;
  const std::string written = journal::Encode(*record);
  const auto again = journal::Decode(written);
  FORESHADOW_CHECK(again.ok());
  FORESHADOW_CHECK(journal::Encode(*again) == written);
  return 0;
}
