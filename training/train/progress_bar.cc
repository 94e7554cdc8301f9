#include "training/train/progress_bar.h"

#include <fmt/core.h>
#include <unistd.h>

#include <chrono>
#include <cstdio>

namespace foreshadow::training {
namespace {

constexpr int kWidth = 24;
constexpr int64_t kRedrawNs = 200'000'000;

int64_t NowNs() { return std::chrono::steady_clock::now().time_since_epoch().count(); }

std::string Duration(int64_t seconds) {
  return fmt::format("{}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60);
}

}  // namespace

ProgressBar::ProgressBar(const std::string& title)
    : title_(title), terminal_(isatty(STDERR_FILENO) == 1), start_ns_(NowNs()) {}

ProgressBar::~ProgressBar() {
  if (drawn_) fmt::print(stderr, "\n");
}

void ProgressBar::Show(int64_t done, int64_t total, const std::string& note) {
  const int64_t now_ns = NowNs();
  if (!terminal_ || total <= 0 || (done < total && now_ns - drawn_ns_ < kRedrawNs)) return;
  drawn_ns_ = now_ns;
  drawn_ = true;
  const double share = static_cast<double>(done) / static_cast<double>(total);
  const double elapsed_s = static_cast<double>(now_ns - start_ns_) / 1e9;
  const auto left_s = static_cast<int64_t>(share > 0 ? elapsed_s * (1 - share) / share : 0);
  const int filled = static_cast<int>(share * kWidth);
  fmt::print(stderr, "\r{} [{}{}] {:3.0f} %  {} left  {}\033[K", title_, std::string(filled, '#'),
             std::string(kWidth - filled, '.'), 100 * share, Duration(left_s), note);
  std::fflush(stderr);
}

}  // namespace foreshadow::training
