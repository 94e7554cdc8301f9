// Protobuf logs each text that is no UTF-8; there are very many.
#pragma once

#include <google/protobuf/stubs/logging.h>

namespace foreshadow::fuzz {

inline const auto kNoLog = google::protobuf::SetLogHandler(nullptr);

}  // namespace foreshadow::fuzz
