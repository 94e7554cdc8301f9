// The file of callers and their roles.
#include "service/security/access.h"
#include "tests/fuzz/target.h"

namespace foreshadow::fuzz {

std::vector<std::string> Seeds() {
  return {
      "[[identity]]\nname = \"a\"\nroles = [\"read\", \"operate\"]\ncertificate = \"a.example\"\n"
      "[[identity]]\nname = \"b\"\nroles = [\"ingest\"]\ntoken_sha256 = \"" +
          security::Sha256Hex("b") + "\"\n",
      "[[identity]]\nname = '\xaf'\n", ""};
}

}  // namespace foreshadow::fuzz

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string text(reinterpret_cast<const char*>(data), size);
  const auto read = foreshadow::security::ParseIdentities(text, "file");
  if (read.ok()) return 0;
  if (!std::string(read.status().message()).starts_with("file: ")) __builtin_trap();
  return 0;
}
