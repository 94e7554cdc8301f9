#include "service/rpc/remote_write.h"

#include <fmt/core.h>
#include <snappy.h>

#include "prometheus/remote_write.pb.h"
#include "service/metrics/metrics.h"

namespace foreshadow::rpc {
namespace {

namespace pb = foreshadow::remote_write::v1;

constexpr std::string_view kProtocol = "remote_write";
constexpr int64_t kMsPerSecond = 1'000;
constexpr int kRetryAfterSeconds = 5;

metrics::HttpAnswer Refused(int status, const char* reason, std::string why) {
  metrics::CountIngestRefused(kProtocol, reason, 1);
  return {status, std::move(why) + "\n", 0};
}

// "application/x-protobuf", with or without ";proto=prometheus.WriteRequest".
std::string WhyNotReadable(const metrics::HttpPost& post) {
  const std::string_view type =
      std::string_view(post.content_type).substr(0, post.content_type.find(';'));
  if (type != "application/x-protobuf") {
    return fmt::format("Content-Type \"{}\": must be application/x-protobuf", post.content_type);
  }
  if (post.content_type.find("io.prometheus.write.v2") != std::string::npos) {
    return "remote write 2.0 is not read here: send prometheus.WriteRequest (1.0)";
  }
  if (post.content_encoding != "snappy") {
    return fmt::format("Content-Encoding \"{}\": must be snappy", post.content_encoding);
  }
  return "";
}

}  // namespace

absl::StatusOr<std::vector<receive::IncomingSeries>> ReadRemoteWrite(std::string_view body) {
  size_t unpacked_bytes = 0;
  if (!snappy::GetUncompressedLength(body.data(), body.size(), &unpacked_bytes)) {
    return absl::InvalidArgumentError("the body is not in snappy's block format");
  }
  if (unpacked_bytes > kWriteBytesMax) {
    return absl::ResourceExhaustedError(fmt::format(
        "the body has {} bytes unpacked: at most {} are allowed", unpacked_bytes, kWriteBytesMax));
  }
  std::string unpacked;
  if (!snappy::Uncompress(body.data(), body.size(), &unpacked)) {
    return absl::InvalidArgumentError("the body is damaged: snappy cannot unpack it");
  }
  pb::WriteRequest request;
  if (!request.ParseFromString(unpacked)) {
    return absl::InvalidArgumentError("the body is not a prometheus.WriteRequest");
  }
  std::vector<receive::IncomingSeries> series;
  series.reserve(static_cast<size_t>(request.timeseries_size()));
  for (pb::TimeSeries& from : *request.mutable_timeseries()) {
    receive::IncomingSeries& to = series.emplace_back();
    for (pb::Label& label : *from.mutable_labels()) {
      to.labels.emplace_back(std::move(*label.mutable_name()), std::move(*label.mutable_value()));
    }
    for (const pb::Sample& sample : from.samples()) {
      to.points.push_back({sample.timestamp(), sample.value(), 0});
    }
  }
  return series;
}

metrics::HttpAnswer AnswerRemoteWrite(const metrics::HttpPost& post, Engine& engine,
                                      receive::Receiver& receiver, int64_t now_ms) {
  if (std::string why = WhyNotReadable(post); !why.empty()) {
    return Refused(415, "format", std::move(why));
  }
  auto series = ReadRemoteWrite(post.body);
  if (!series.ok()) {
    const bool large = absl::IsResourceExhausted(series.status());
    return Refused(large ? 413 : 400, large ? "too_large" : "malformed",
                   std::string(series.status().message()));
  }
  int64_t points_count = 0;
  for (const receive::IncomingSeries& one : *series) points_count += std::ssize(one.points);
  if (const SenderLimits::Wait wait = engine.sender_limits().Take(post.sender, points_count, now_ms);
      wait.ms > 0) {
    metrics::CountIngestRefused(kProtocol, "rate", points_count);
    return {429, wait.why + "\n", static_cast<int>((wait.ms + kMsPerSecond - 1) / kMsPerSecond)};
  }
  const auto received = receiver.Receive(*std::move(series), kProtocol, now_ms);
  if (!received.ok()) {
    metrics::CountIngestRefused(kProtocol, "unavailable", points_count);
    return {503, std::string(received.status().message()) + "\n", kRetryAfterSeconds};
  }
  if (received->refused_count == 0) return {204, "", 0};
  return {400,
          fmt::format("{} of {} points are refused, the others are kept; the first: {}\n",
                      received->refused_count, points_count, received->why_refused),
          0};
}

}  // namespace foreshadow::rpc
