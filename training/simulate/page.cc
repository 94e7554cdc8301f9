#include "absl/status/status.h"
#include "training/simulate/report.h"

namespace foreshadow::training {

absl::Status WritePage(const ReportContext&, const std::vector<WorldResult>&, const std::string&) {
  return absl::UnimplementedError("--out");
}

}  // namespace foreshadow::training
