// Runs a fuzz target without a fuzzing compiler: mutates the target's seeds and the kept corpus,
// always in the same way, so that what fails here fails again. The input that a crash was in is
// written to crash-<target>.
//
//   fuzz_x [--runs N] [--seconds S] [CORPUS_FOLDER]   mutates, until N runs or S seconds are over
//   fuzz_x FILE...                                    runs just these
//   fuzz_x --write-seeds FOLDER                       the seeds as files, for libFuzzer
#include <fcntl.h>
#include <unistd.h>

#include <algorithm>
#include <chrono>
#include <csignal>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <random>
#include <sstream>

#include "tests/fuzz/target.h"

namespace {

namespace fs = std::filesystem;

constexpr uint64_t kSeed = 20'260'801;
constexpr size_t kInputBytesMax = 1 << 16;
constexpr int kMutationsMax = 8;  // of one input
constexpr size_t kPieceBytesMax = 64;
constexpr uint8_t kTelling[] = {0, 1, 0x7f, 0x80, 0xff, '"', '{', '}', '[', ',', '\n', '-', '9'};

std::string g_crash_name;
std::string g_input;  // that the target has in hand

void WriteCrash(int signal) {
  const int file = open(g_crash_name.c_str(), O_WRONLY | O_CREAT | O_TRUNC, 0644);
  if (file >= 0 && write(file, g_input.data(), g_input.size()) >= 0) {
    constexpr char kSaid[] = "fuzz: the input is kept in a file crash-<target>\n";
    if (write(STDERR_FILENO, kSaid, sizeof(kSaid) - 1) < 0) _exit(2);
  }
  std::signal(signal, SIG_DFL);
  raise(signal);
}

std::string ReadFile(const fs::path& path) {
  std::ifstream file(path, std::ios::binary);
  std::ostringstream text;
  text << file.rdbuf();
  return text.str();
}

class Mutator {
 public:
  explicit Mutator(std::vector<std::string> inputs) : inputs_(std::move(inputs)) {}

  std::string Next() {
    std::string input = inputs_[Below(inputs_.size())];
    const size_t count = 1 + Below(kMutationsMax);
    for (size_t i = 0; i < count; ++i) Mutate(input);
    if (input.size() > kInputBytesMax) input.resize(kInputBytesMax);
    return input;
  }

 private:
  size_t Below(size_t bound) { return bound == 0 ? 0 : random_() % bound; }

  void Mutate(std::string& input) {
    const size_t at = Below(input.size() + 1);
    const size_t left = input.size() - at;
    const size_t piece = std::min(left, 1 + Below(kPieceBytesMax));
    switch (Below(9)) {
      case 0:
        if (left > 0) input[at] = static_cast<char>(input[at] ^ (1 << Below(8)));
        break;
      case 1:
        if (left > 0) input[at] = static_cast<char>(kTelling[Below(std::size(kTelling))]);
        break;
      case 2:
        if (left > 0) input[at] = static_cast<char>(random_());
        break;
      case 3:
        input.insert(at, 1, static_cast<char>(kTelling[Below(std::size(kTelling))]));
        break;
      case 4:
        input.erase(at, piece);
        break;
      case 5:
        input.insert(Below(input.size() + 1), input.substr(at, piece));
        break;
      case 6:
        input.resize(at);
        break;
      case 7: {  // the rest of another
        const std::string& other = inputs_[Below(inputs_.size())];
        input.resize(at);
        input += other.substr(Below(other.size() + 1));
        break;
      }
      default: {  // a number made extreme
        const size_t digit = input.find_first_of("0123456789", at);
        if (digit == std::string::npos) break;
        static constexpr const char* kNumbers[] = {
            "-1", "0", "4294967296", "1e308", "1e-320", "2147483648", "9223372036854775808"};
        input.replace(digit, 1, kNumbers[Below(std::size(kNumbers))]);
      }
    }
  }

  std::vector<std::string> inputs_;
  std::mt19937_64 random_{kSeed};
};

void Run(std::string input) {
  g_input = std::move(input);
  LLVMFuzzerTestOneInput(reinterpret_cast<const uint8_t*>(g_input.data()), g_input.size());
}

int WriteSeeds(const fs::path& folder) {
  fs::create_directories(folder);
  int number = 0;
  for (const std::string& seed : foreshadow::fuzz::Seeds()) {
    std::ofstream(folder / ("seed-" + std::to_string(number++)), std::ios::binary) << seed;
  }
  return 0;
}

}  // namespace

int main(int argc, char** argv) {
  g_crash_name = "crash-" + fs::path(argv[0]).filename().string();
  for (const int fatal : {SIGSEGV, SIGABRT, SIGBUS, SIGFPE, SIGILL}) {
    std::signal(fatal, WriteCrash);
  }
  int64_t runs_max = 1'000'000'000;
  double seconds_max = 3;
  std::vector<std::string> inputs = foreshadow::fuzz::Seeds();
  bool just_files = false;
  for (int i = 1; i < argc; ++i) {
    const std::string word = argv[i];
    const char* value = i + 1 < argc ? argv[i + 1] : "";
    if (word == "--write-seeds") return WriteSeeds(value);
    if (word == "--runs" || word == "--seconds") {
      (word == "--runs" ? static_cast<void>(runs_max = std::atoll(value))
                        : static_cast<void>(seconds_max = std::atof(value)));
      ++i;
    } else if (fs::is_directory(word)) {
      std::vector<fs::path> paths;
      for (const auto& entry : fs::directory_iterator(word)) paths.push_back(entry.path());
      std::sort(paths.begin(), paths.end());
      for (const fs::path& path : paths) inputs.push_back(ReadFile(path));
    } else if (fs::exists(word)) {
      just_files = true;
      Run(ReadFile(word));
    } else if (word.find("corpus") == std::string::npos) {
      std::fprintf(stderr, "%s: no such file or folder\n", word.c_str());
      return 2;
    }
  }
  if (just_files) return 0;
  for (const std::string& input : inputs) Run(input);
  Mutator mutator(inputs);
  const auto end = std::chrono::steady_clock::now() + std::chrono::duration<double>(seconds_max);
  int64_t runs = 0;
  while (runs < runs_max && std::chrono::steady_clock::now() < end) {
    Run(mutator.Next());
    ++runs;
  }
  std::printf("%zu inputs, %lld mutations, no finding\n", inputs.size(),
              static_cast<long long>(runs));
  return 0;
}
