// One line on stderr that shows how far long work is; silent where stderr is no terminal, so that
// logs stay readable. One thread.
#pragma once

#include <cstdint>
#include <string>

namespace foreshadow::training {

class ProgressBar {
 public:
  explicit ProgressBar(const std::string& title);
  ~ProgressBar();  // leaves the line

  // At most a few redraws a second; the last call of all, done == total, is always drawn.
  void Show(int64_t done, int64_t total, const std::string& note);

 private:
  std::string title_;
  bool terminal_;
  bool drawn_ = false;
  int64_t start_ns_;
  int64_t drawn_ns_ = 0;
};

}  // namespace foreshadow::training
