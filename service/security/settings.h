// What the configuration's [security] says; docs/configuration.md explains each.
#pragma once

#include <cstdint>
#include <string>

namespace foreshadow::security {

struct Settings {
  std::string tls_cert;  // PEM; "" = plain text
  std::string tls_key;
  std::string tls_client_ca;                     // "" = certificates of clients are not looked at
  std::string client_certificates = "required";  // or "optional"
  std::string identities;                        // "" = everybody may do everything
  std::string agent_ca;                          // of the cells' agents; "" = plain text
  std::string agent_token_file;                  // sent to them; "" = none
  int32_t message_mib_max = 64;
};

}  // namespace foreshadow::security
