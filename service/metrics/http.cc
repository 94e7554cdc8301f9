#include "service/metrics/http.h"

#include <fmt/core.h>
#include <httplib.h>
#include <prometheus/text_serializer.h>

#include <chrono>
#include <thread>

#include "service/metrics/metrics.h"
#include "service/security/access.h"
#include "service/security/certificates.h"
#include "service/security/handshake.h"

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

using httplib::Request;
using httplib::Response;

// When the certificates that the configuration names expire, as they are on the disk now.
prometheus::MetricFamily ExpiryOfCertificates(const security::Settings& settings) {
  prometheus::MetricFamily family{"foreshadow_certificate_expiry_timestamp_seconds",
                                  "When the first certificate of a file expires",
                                  prometheus::MetricType::Gauge,
                                  {}};
  for (const auto& [setting, path] : {std::pair("security.tls_cert", settings.tls_cert),
                                      std::pair("security.tls_client_ca", settings.tls_client_ca),
                                      std::pair("security.agent_ca", settings.agent_ca)}) {
    const auto expiry_s =
        path.empty() ? absl::NotFoundError("") : security::ExpiryOf(setting, path);
    if (!expiry_s.ok()) continue;  // a file that is being replaced, or gone: there is no such time
    prometheus::ClientMetric& metric = family.metric.emplace_back();
    metric.label.push_back({"setting", setting});
    metric.gauge.value = static_cast<double>(*expiry_s);
  }
  return family;
}

prometheus::MetricFamily AnalysisInfo(std::string_view backend) {
  prometheus::ClientMetric metric;
  metric.label.push_back({"backend", std::string(backend)});
  metric.gauge.value = 1;
  return {"foreshadow_analysis_info",
          "Where the analysis runs.",
          prometheus::MetricType::Gauge,
          {std::move(metric)}};
}

class CppHttpServer : public HttpServer {
 public:
  explicit CppHttpServer(const security::Settings& settings) : settings_(settings) {}

  // Certificates and identities.
  absl::Status Secure() {
    if (!settings_.identities.empty()) {
      auto access = security::Access::Load(settings_.identities);
      if (!access.ok()) return access.status();
      access_ = *std::move(access);
    }
    if (settings_.tls_cert.empty()) {
      server_ = std::make_unique<httplib::Server>();
      return absl::OkStatus();
    }
    auto handshake = security::Handshake::Create(settings_);
    if (!handshake.ok()) return handshake.status();
    handshake_ = *std::move(handshake);
    server_ = std::make_unique<httplib::SSLServer>([this](SSL_CTX& context) {
      handshake_->SetUp(context);
      return true;
    });
    return absl::OkStatus();
  }

  void Serve(const Engine& engine, const HttpPosts& posts) {
    httplib::Server& server = *server_;
    const int threads = kThreads + (posts.empty() ? 0 : kPostThreads);
    server.new_task_queue = [threads] { return new httplib::ThreadPool(threads); };
    // The library's own choice, SO_REUSEPORT, would let two servers share a port.
    server.set_socket_options([this](socket_t socket) {
      const int yes = 1;
      setsockopt(socket, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes));
      socket_ = socket;
    });
    server.set_read_timeout(kTimeoutSeconds);
    server.set_write_timeout(kTimeoutSeconds);
    server.set_payload_max_length(posts.empty() ? kRequestBytesMax : kPostBytesMax);
    if (access_ != nullptr) {
      // Before a body is read; AnswerPosts asks for itself, so that the sender of one is heard out.
      server.set_pre_routing_handler([this, posts](const Request& request, Response& response) {
        const bool is_post = request.method == "POST" && posts.contains(request.path);
        return is_post || MayGoOn(request, response) ? httplib::Server::HandlerResponse::Unhandled
                                                     : httplib::Server::HandlerResponse::Handled;
      });
    }
    server.Get("/metrics", [this, &engine](const Request&, Response& response) {
      std::vector<prometheus::MetricFamily> families = Registry().Collect();
      if (const auto report = engine.report()) {
        for (prometheus::MetricFamily& family : MetricsOf(*report)) {
          families.push_back(std::move(family));
        }
      }
      families.push_back(AnalysisInfo(engine.compute()));
      families.push_back(ExpiryOfCertificates(settings_));
      if (engine.traffic() != nullptr) {
        for (prometheus::MetricFamily& family : MetricsOf(*engine.traffic())) {
          families.push_back(std::move(family));
        }
      }
      response.set_content(prometheus::TextSerializer().Serialize(families),
                           "text/plain; version=0.0.4; charset=utf-8");
    });
    server.Get("/healthz", [](const Request&, Response& response) {
      response.set_content("ok\n", "text/plain");
    });
    server.Get("/readyz", [&engine](const Request&, Response& response) {
      const std::string why = WhyNotReady(engine, WallNowMs());
      response.status = why.empty() ? 200 : 503;
      response.set_content(why.empty() ? "ok\n" : why + "\n", "text/plain");
    });
    for (const auto& [path, answer] : posts) AnswerPosts(path, answer);
  }

  void AnswerPosts(const std::string& path,
                   const std::function<HttpAnswer(const HttpPost&)>& answer) {
    server_->Post(path, [this, answer](const Request& request, Response& response,
                                       const httplib::ContentReader& read) {
      const bool may = MayGoOn(request, response);
      std::string body;
      const bool is_whole = read([&](const char* bytes, size_t count) {
        if (may) body.append(bytes, count);
        return true;
      });
      if (!may || !is_whole) return;
      const HttpAnswer said =
          answer({SenderOf(request), request.get_header_value("Content-Type"),
                  request.get_header_value("Content-Encoding"), std::move(body)});
      response.status = said.status;
      if (said.retry_after_seconds > 0) {
        response.set_header("Retry-After", std::to_string(said.retry_after_seconds));
      }
      if (!said.text.empty()) response.set_content(said.text, "text/plain");
    });
  }

  ~CppHttpServer() override {
    if (server_ != nullptr) server_->stop();
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
    port_ = asked == 0                           ? server_->bind_to_any_port(host)
            : server_->bind_to_port(host, asked) ? asked
                                                 : -1;
    if (port_ <= 0) {
      return absl::UnavailableError(
          fmt::format("server.http_listen = \"{}\" cannot be bound: is the port in use or the "
                      "address not of this machine?",
                      listen));
    }
    // The library lets five connections wait; of a burst, others would wait a second to try again.
    ::listen(socket_, SOMAXCONN);
    thread_ = std::thread([this] { server_->listen_after_bind(); });
    return absl::OkStatus();
  }

  int port() const override { return port_; }

 private:
  static security::Caller CallerOf(const Request& request) {
    security::Caller caller;
    if (request.has_header("Authorization")) {
      caller.token = security::BearerToken(request.get_header_value("Authorization"));
    }
    if (request.ssl != nullptr) caller.certificates = security::CertificateNames(*request.ssl);
    return caller;
  }

  bool MayGoOn(const Request& request, Response& response) {
    if (access_ == nullptr) return true;
    const absl::Status status = access_->Check(CallerOf(request), request.path);
    if (status.ok()) return true;
    const bool denied = absl::IsPermissionDenied(status);
    CountRefused(denied ? "denied" : "unauthenticated");
    response.status = denied ? 403 : 401;
    if (!denied) response.set_header("WWW-Authenticate", "Bearer");
    response.set_content(std::string(status.message()) + "\n", "text/plain");
    return false;
  }

  std::string SenderOf(const Request& request) {
    if (access_ == nullptr) return request.remote_addr;
    const auto identity = access_->Identify(CallerOf(request));
    return identity.ok() ? identity->name : request.remote_addr;
  }

  const security::Settings settings_;
  std::unique_ptr<security::Access> access_;  // null = everybody may do everything
  std::unique_ptr<security::Handshake> handshake_;
  std::unique_ptr<httplib::Server> server_;
  socket_t socket_ = INVALID_SOCKET;
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
  auto server = std::make_unique<CppHttpServer>(engine.config().security);
  if (absl::Status status = server->Secure(); !status.ok()) return status;
  server->Serve(engine, posts);
  if (absl::Status status = server->Bind(listen); !status.ok()) return status;
  return server;
}

}  // namespace foreshadow::metrics
