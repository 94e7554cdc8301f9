// Configuration files.
#include "service/config/config.h"

#include <fstream>
#include <sstream>

#include "kernels/check.h"
#include "tests/fuzz/target.h"

namespace foreshadow::fuzz {

std::vector<std::string> Seeds() {
  std::ifstream file(FORESHADOW_SOURCE_DIR "/deploy/foreshadowd.toml");
  std::ostringstream text;
  text << file.rdbuf();
  return {text.str(), "[server]\ndata_dir = \"/d\"\n[[cell]]\nid = \"a\"\n",
          "[server]\ndata_dir = \"/d\"\n[[receive.rule]]\nmetric = \"a|b\"\nsignal = \"cpu\"\n"
          "account = \"{x}/{y}\"\nmatch = { z = \".+\" }\n[[cell]]\nid = \"a\"\n"};
}

}  // namespace foreshadow::fuzz

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const auto config =
      foreshadow::ParseConfig(std::string(reinterpret_cast<const char*>(data), size), "fuzz.toml");
  FORESHADOW_CHECK(config.ok() || absl::IsInvalidArgument(config.status()));
  return 0;
}
