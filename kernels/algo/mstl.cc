#include "kernels/algo/mstl.h"

#include "kernels/algo/round_up.h"
#include "kernels/algo/stl_plan.h"

namespace foreshadow::kernels {
namespace {

size_t Aligned(size_t bytes) { return RoundUp(bytes, 64); }

}  // namespace

std::string_view CheckMstl(std::span<const StlParams> seasons, int64_t steps) {
  if (seasons.empty()) return "at least one period is needed";
  if (std::ssize(seasons) > kSeasonsMax) return "at most 4 periods can be taken apart";
  for (size_t i = 0; i < seasons.size(); ++i) {
    if (const std::string_view wrong = CheckStl(seasons[i], steps); !wrong.empty()) return wrong;
    if (i > 0 && seasons[i].period <= seasons[i - 1].period) {
      return "periods must be given in ascending order";
    }
  }
  return "";
}

size_t MstlBytes(int64_t steps, int64_t series, size_t stl_bytes) {
  const auto n = static_cast<size_t>(series);
  return Aligned(static_cast<size_t>(steps) * n * sizeof(float)) + Aligned(n * sizeof(float)) +
         Aligned(n * sizeof(SeriesStatus)) + stl_bytes;
}

MstlMemory CarveMstl(const MstlArgs& args) {
  const int64_t series = args.observed.series;
  const auto n = static_cast<size_t>(series);
  std::byte* next = args.workspace.data();
  const auto take = [&](size_t bytes) {
    std::byte* taken = next;
    next += Aligned(bytes);
    return taken;
  };
  MstlMemory memory;
  const size_t cells = static_cast<size_t>(args.observed.steps) * n;
  memory.rest = {reinterpret_cast<float*>(take(cells * sizeof(float))), args.observed.steps, series,
                 series};
  memory.base = {reinterpret_cast<float*>(take(n * sizeof(float))), n};
  memory.status = {reinterpret_cast<SeriesStatus*>(take(n * sizeof(SeriesStatus))), n};
  memory.stl = args.workspace.subspan(static_cast<size_t>(next - args.workspace.data()));
  return memory;
}

}  // namespace foreshadow::kernels
