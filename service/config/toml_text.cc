#include "service/config/toml_text.h"

#include <nlohmann/json.hpp>
#include <sstream>
#include <stdexcept>

namespace foreshadow {

toml::value ParseToml(const std::string& text, const std::string& name) {
  try {
    nlohmann::json(text).dump();  // checks it as it quotes it
  } catch (const nlohmann::json::type_error& error) {
    throw std::runtime_error(std::string("the text is not UTF-8: ") + error.what());
  }
  std::istringstream stream(text);
  return toml::parse(stream, name);
}

}  // namespace foreshadow
