// Whether somebody listens at an address: one TCP connection, opened and closed.
#pragma once

#include <cstdint>

#include "service/router/routes.h"

namespace foreshadow::router {

enum class Probed : uint8_t { kAnswers, kRefused, kSilent };

// Blocks at most so long. An address that is none counts as refused.
Probed Probe(const Address& address, int timeout_ms);

}  // namespace foreshadow::router
