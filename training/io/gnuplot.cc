#include "training/io/gnuplot.h"

#include <fmt/format.h>

#include <csignal>
#include <cstdio>
#include <fstream>

#include "absl/strings/match.h"
#include "absl/strings/str_replace.h"

namespace foreshadow::training {
namespace {

// Gives the script to gnuplot; false when that does not run to its end.
bool RunGnuplot(const std::string& script) {
  const auto before = std::signal(SIGPIPE, SIG_IGN);  // gnuplot may be missing or stop early
  FILE* gnuplot = popen("gnuplot", "w");
  bool done = gnuplot != nullptr;
  if (done) {
    const bool written = std::fwrite(script.data(), 1, script.size(), gnuplot) == script.size();
    done = pclose(gnuplot) == 0 && written;
  }
  std::signal(SIGPIPE, before);
  return done;
}

}  // namespace

bool IsPictureName(const std::string& path) {
  return absl::EndsWith(path, ".svg") || absl::EndsWith(path, ".png");
}

// In gnuplot's single quotes only the quote itself is special.
std::string GnuplotText(const std::string& text) {
  return fmt::format("'{}'", absl::StrReplaceAll(text, {{"'", "''"}}));
}

absl::Status DrawPicture(const std::string& option, const std::string& path, size_t width,
                         size_t height, const std::string& script) {
  if (!IsPictureName(path)) {
    return absl::InvalidArgumentError(
        fmt::format("{} {}: the file name must end in .svg or .png", option, path));
  }
  // gnuplot would draw on stdout what it cannot write.
  if (!std::ofstream(path)) {
    return absl::FailedPreconditionError(
        fmt::format("{} {}: cannot write this file", option, path));
  }
  const std::string terminal =
      absl::EndsWith(path, ".svg")
          ? fmt::format("set terminal svg size {},{} background rgb 'white'\n", width, height)
          : fmt::format("set terminal pngcairo size {},{}\n", width, height);
  if (!RunGnuplot(fmt::format("{}set output {}\n{}", terminal, GnuplotText(path), script))) {
    return absl::FailedPreconditionError(fmt::format(
        "{} {}: gnuplot failed; it must be installed, and its message stands above", option, path));
  }
  return absl::OkStatus();
}

}  // namespace foreshadow::training
