#include "service/journal/depth.h"

#include <nlohmann/json.hpp>
#include <string>

namespace foreshadow::journal {
namespace {

// Beginnings of text or bytes of unknown length within one another, which the parser follows
// without asking: no record has them, so that a long run of their byte is text, or an attack.
constexpr size_t kRunMax = 4'096;

// Keeps nothing but the depth.
class Depth : public nlohmann::json_sax<nlohmann::json> {
 public:
  bool null() override { return true; }
  bool boolean(bool) override { return true; }
  bool number_integer(number_integer_t) override { return true; }
  bool number_unsigned(number_unsigned_t) override { return true; }
  bool number_float(number_float_t, const string_t&) override { return true; }
  bool string(string_t&) override { return true; }
  bool binary(binary_t&) override { return true; }
  bool key(string_t&) override { return true; }
  bool start_object(std::size_t) override { return ++depth_ <= kDepthMax; }
  bool start_array(std::size_t) override { return ++depth_ <= kDepthMax; }
  bool end_object() override { return --depth_ >= 0; }
  bool end_array() override { return --depth_ >= 0; }
  bool parse_error(std::size_t, const std::string&, const nlohmann::json::exception&) override {
    return false;
  }

 private:
  int depth_ = 0;
};

}  // namespace

bool IsShallow(std::string_view cbor) {
  for (const char opening : {'\x5f', '\x7f'}) {
    if (cbor.find(std::string(kRunMax, opening)) != std::string_view::npos) return false;
  }
  Depth depth;
  return nlohmann::json::sax_parse(cbor.begin(), cbor.end(), &depth,
                                   nlohmann::json::input_format_t::cbor);
}

}  // namespace foreshadow::journal
