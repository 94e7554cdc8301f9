// Prometheus remote write, as an HTTP request's body.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "absl/status/statusor.h"
#include "service/metrics/http.h"
#include "service/receive/receiver.h"

namespace foreshadow::rpc {

// A body unpacked is at most that large; Prometheus sends some 100 KB.
inline constexpr size_t kWriteBytesMax = 64 << 20;

// Unpacks and reads a body. INVALID_ARGUMENT for one that is damaged, RESOURCE_EXHAUSTED for one
// that is too large.
absl::StatusOr<std::vector<receive::IncomingSeries>> ReadRemoteWrite(std::string_view body);

// Answers POST /api/v1/write so that Prometheus does what is right: 204 kept; 400 something was
// refused and what was not is kept, sending it again is of no use; 415 another format; 413 too
// large; 429 the sender's rate is used up; 503 nothing was kept, send it again.
metrics::HttpAnswer AnswerRemoteWrite(const metrics::HttpPost& post, Engine& engine,
                                      receive::Receiver& receiver, int64_t now_ms);

}  // namespace foreshadow::rpc
