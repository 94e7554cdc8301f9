// TOML, for every file of ours that is written in it.
#pragma once

#include <string>
#include <toml.hpp>

namespace foreshadow {

// `name` is the file's, for messages. Throws what the parser throws, and std::runtime_error where
// the text is not UTF-8: that must not get to toml11 3.7, which reads past its end then.
toml::value ParseToml(const std::string& text, const std::string& name);

}  // namespace foreshadow
