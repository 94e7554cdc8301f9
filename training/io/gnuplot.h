// Pictures, drawn by the gnuplot program.
#pragma once

#include <string>

#include "absl/status/status.h"

namespace foreshadow::training {

// Whether a picture can have that name: it ends in .svg or .png.
bool IsPictureName(const std::string& path);

// A text within gnuplot's single quotes.
std::string GnuplotText(const std::string& text);

// Draws into `path`, in the format of its ending; `script` need set neither terminal nor output.
// INVALID_ARGUMENT for another ending, FAILED_PRECONDITION when the file cannot be written or
// gnuplot does not run; `option` begins the message.
absl::Status DrawPicture(const std::string& option, const std::string& path, size_t width,
                         size_t height, const std::string& script);

}  // namespace foreshadow::training
