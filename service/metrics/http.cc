#include "service/metrics/http.h"

#include <fmt/core.h>
#include <httplib.h>
#include <prometheus/text_serializer.h>

#include <chrono>
#include <thread>

#include "service/metrics/metrics.h"

namespace foreshadow::metrics {
namespace {

constexpr int kThreads = 2;       // Prometheus and a prober; more wait
constexpr int kPostThreads = 32;  // a connection holds one while it is open
constexpr int kStepsLateMax = 3;  // a tick may be slow, not lost
constexpr time_t kTimeoutSeconds = 5;
constexpr size_t kRequestBytesMax = 64 << 10;
constexpr size_t kPostBytesMax = 32 << 20;

int64_t WallNowMs() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

class CppHttpServer : public HttpServer {
 public:
  CppHttpServer(const Engine& engine, const HttpPosts& posts) {
    const int threads = kThreads + (posts.empty() ? 0 : kPostThreads);
    server_.new_task_queue = [threads] { return new httplib::ThreadPool(threads); };
    // The library's own choice, SO_REUSEPORT, would let two servers share a port.
    server_.set_socket_options([](socket_t socket) {
      const int yes = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
    });
    server_.set_read_timeout(kTimeoutSeconds);
    server_.set_write_timeout(kTimeoutSeconds);
    server_.set_payload_max_length(posts.empty() ? kRequestBytesMax : kPostBytesMax);
    server_.Get("/metrics", [&engine](const httplib::Request&, httplib::Response& response) {
      std::vector<prometheus::MetricFamily> families = Registry().Collect();
      if (const auto report = engine.report()) {
        for (prometheus::MetricFamily& family : MetricsOf(*report)) {
          families.push_back(std::move(family));
        }
      }
      response.set_content(prometheus::TextSerializer().Serialize(families),
                           "text/plain; version=0.0.4; charset=utf-8");
    });
    server_.Get("/healthz", [](const httplib::Request&, httplib::Response& response) {
      response.set_content("ok\n", "text/plain");
    });
    server_.Get("/readyz", [&engine](const httplib::Request&, httplib::Response& response) {
      const std::string why = WhyNotReady(engine, WallNowMs());
      response.status = why.empty() ? 200 : 503;
      response.set_content(why.empty() ? "ok\n" : why + "\n", "text/plain");
    });
    for (const auto& [path, answer] : posts) AnswerPosts(path, answer);
  }

  void AnswerPosts(const std::string& path,
                   const std::function<HttpAnswer(const HttpPost&)>& answer) {
    server_.Post(path, [answer](const httplib::Request& request, httplib::Response& response) {
      const HttpAnswer said = answer({request.remote_addr, request.get_header_value("Content-Type"),
                                      request.get_header_value("Content-Encoding"), request.body});
      response.status = said.status;
      if (said.retry_after_seconds > 0) {
        response.set_header("Retry-After", std::to_string(said.retry_after_seconds));
      }
      if (!said.text.empty()) response.set_content(said.text, "text/plain");
    });
  }

  ~CppHttpServer() override {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }

  absl::Status Bind(const std::string& listen) {
    const size_t colon = listen.rfind(':');
    const std::string host = listen.substr(0, colon);
    const std::string text = colon == std::string::npos ? "" : listen.substr(colon + 1);
    int asked = -1;
    if (!text.empty() && text.size() <= 5 &&
        text.find_first_not_of("0123456789") == std::string::npos) {
      asked = std::stoi(text);
    }
    if (host.empty() || asked < 0 || asked > 65'535) {
      return absl::InvalidArgumentError(
          fmt::format("server.http_listen = \"{}\": must be host:port", listen));
    }
    port_ = asked == 0                                  ? server_.bind_to_any_port(host.c_str())
            : server_.bind_to_port(host.c_str(), asked) ? asked
                                                        : -1;
    if (port_ <= 0) {
      return absl::UnavailableError(
          fmt::format("server.http_listen = \"{}\" cannot be bound: is the port in use or the "
                      "address not of this machine?",
                      listen));
    }
    thread_ = std::thread([this] { server_.listen_after_bind(); });
    return absl::OkStatus();
  }

  int port() const override { return port_; }

 private:
  httplib::Server server_;
  std::thread thread_;
  int port_ = 0;
};

}  // namespace

std::string WhyNotReady(const Engine& engine, int64_t now_ms) {
  if (engine.stopping()) return "the server is stopping";
  const Config& config = engine.config();
  if (config.clock == Clock::kData) return "";  // the telemetry decides when there is a tick
  const auto report = engine.report();
  if (report == nullptr) return "no tick has finished yet";
  const int64_t late_ms = now_ms - config.watermark_delay_ms - report->tick_ms;
  if (late_ms > (kStepsLateMax + 1) * config.settings.tick.step_ms) {
    return fmt::format("the newest tick is {} s behind the clock", late_ms / 1'000);
  }
  return "";
}

absl::StatusOr<std::unique_ptr<HttpServer>> HttpServer::Start(const std::string& listen,
                                                              const Engine& engine,
                                                              const HttpPosts& posts) {
  auto server = std::make_unique<CppHttpServer>(engine, posts);
  if (absl::Status status = server->Bind(listen); !status.ok()) return status;
  return server;
}

}  // namespace foreshadow::metrics
