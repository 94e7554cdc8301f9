// CSV that is imported, gzipped or not: a trace when the first byte is t, else a wide table.
#include "training/io/csv.h"

#include <cmath>

#include "kernels/check.h"
#include "tests/fuzz/bytes_file.h"
#include "tests/fuzz/target.h"
#include "training/io/trace.h"

namespace foreshadow::fuzz {

std::vector<std::string> Seeds() {
  const std::string trace =
      "timestamp,cell,account,application,cpu,memory,network,storage,mutation_rate\n"
      "1700000000000,a,x,web,1.5,1e9,,0,3\n"
      "2023-11-14T22:13:20Z,a,\"y\",,,1,2,3,4\n";
  const std::string wide = "timestamp,one,\"two, quoted\"\n1700000000000,1,2\n1700000060000,,-4\n";
  return {"t" + trace, "w" + wide, "w" + wide.substr(10)};
}

}  // namespace foreshadow::fuzz

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace foreshadow;
  if (size == 0) return 0;
  static fuzz::BytesFile file;
  file.Set(data + 1, size - 1);
  const auto use = [](const training::TraceRow& row) {
    FORESHADOW_CHECK(!row.cell.empty() && !row.account.empty() && row.time_ms >= 0);
    for (const float value : row.values) FORESHADOW_CHECK(std::isnan(value) || value >= 0);
  };
  switch (data[0]) {
    case 't': {
      auto reader = training::TraceReader::Open(file.path());
      if (!reader.ok()) return 0;
      while (true) {
        const auto more = reader->Next();
        if (!more.ok() || !*more) break;
        use(reader->row());
      }
      break;
    }
    default: {
      const auto table = training::ReadWideCsv(file.path());
      if (!table.ok()) return 0;
      FORESHADOW_CHECK(std::ssize(table->values) == table->steps * table->series());
      break;
    }
  }
  return 0;
}
