// Weights and cards of models. The first byte chooses between the two.
#include <filesystem>

#include "kernels/check.h"
#include "models/file/safetensors.h"
#include "models/lstm/card.h"
#include "models/lstm/runner.h"
#include "tests/fuzz/bytes_file.h"
#include "tests/fuzz/target.h"

namespace foreshadow::fuzz {
namespace {

constexpr int64_t kSeedBytesMax = 1 << 20;

std::string Written(const models::TensorFile& file) {
  const std::string path =
      std::filesystem::temp_directory_path() / ("fuzz-seed-" + std::to_string(getpid()));
  FORESHADOW_CHECK(models::WriteSafetensors(path, file).ok());
  auto bytes = models::ReadWholeFile(path, kSeedBytesMax);
  unlink(path.c_str());
  FORESHADOW_CHECK(bytes.ok());
  return *bytes;
}

}  // namespace

std::vector<std::string> Seeds() {
  models::TensorFile file;
  file.tensors = {{"weight", {2, 3}, {1, 2, 3, 4, 5, 6}}, {"bias", {2}, {0, 1}}};
  file.metadata = {{"format", "pt"}};
  std::vector<std::string> seeds = {"w" + Written(file), "c{}"};
  auto card =
      models::ReadWholeFile(FORESHADOW_SOURCE_DIR "/models/default/lstm/card.json", kSeedBytesMax);
  if (card.ok()) seeds.push_back("c" + *card);
  seeds.push_back("c" + models::CardToJson({}));
  return seeds;
}

}  // namespace foreshadow::fuzz

int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  using namespace foreshadow;
  if (size == 0) return 0;
  if (data[0] == 'c') {
    const auto card =
        models::CardFromJson(std::string(reinterpret_cast<const char*>(data) + 1, size - 1));
    if (!card.ok()) return 0;
    FORESHADOW_CHECK(models::CardFromJson(models::CardToJson(*card)).ok());
    FORESHADOW_CHECK(!models::MakeLstmRunner(*card, {}).ok());  // without weights
    return 0;
  }
  static fuzz::BytesFile file;
  file.Set(data + 1, size - 1);
  const auto read = models::ReadSafetensors(file.path());
  if (!read.ok()) return 0;
  for (const models::Tensor& tensor : read->tensors) {
    FORESHADOW_CHECK(models::CountValues(tensor.shape) == std::ssize(tensor.values));
  }
  return 0;
}
