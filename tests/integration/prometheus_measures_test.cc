// Measures of instances out of a real Prometheus that scrapes them.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <chrono>
#include <filesystem>
#include <mutex>
#include <thread>

#include "service/monitor/prometheus.h"
#include "tests/free_port.h"
#include "tests/integration/process.h"
#include "tests/unit/service/temporary_folder.h"

namespace foreshadow::testing {
namespace {

using ::testing::HasSubstr;

int64_t NowMs() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::milliseconds>(now).count();
}

// What an application of somebody else serves: two series of an instance, which belong together.
class Target {
 public:
  Target() {
    server_.Get("/metrics", [this](const httplib::Request&, httplib::Response& response) {
      const std::lock_guard lock(mutex_);
      response.set_content(text_, "text/plain");
    });
    port_ = server_.bind_to_any_port("127.0.0.1");
    thread_ = std::thread([this] { server_.listen_after_bind(); });
  }
  ~Target() { Stop(); }
  void Stop() {
    server_.stop();
    if (thread_.joinable()) thread_.join();
  }
  void Say(int reads, int writes, int failed, int fast, int slow) {
    std::string text;
    const auto line = [&](const std::string& series, int value) {
      text += series + " " + std::to_string(value) + "\n";
    };
    line("requests_total{kind=\"read\"}", reads);
    line("requests_total{kind=\"write\"}", writes);
    line("requests_total{kind=\"write\",of=\"another application\"}", 1'000'000);
    line("errors_total", failed);
    line("seconds_bucket{le=\"0.05\"}", fast);
    line("seconds_bucket{le=\"0.4\"}", fast);
    line("seconds_bucket{le=\"2.5\"}", fast + slow);
    line("seconds_bucket{le=\"+Inf\"}", fast + slow + 1);
    const std::lock_guard lock(mutex_);
    text_ = text;
  }
  int port() const { return port_; }

 private:
  httplib::Server server_;
  std::mutex mutex_;
  std::string text_;
  int port_ = 0;
  std::thread thread_;
};

class PrometheusMeasures : public ::testing::Test {
 protected:
  void SetUp() override {
    if (!std::filesystem::exists("/usr/bin/prometheus")) GTEST_SKIP() << "no Prometheus here";
    target_.Say(60, 40, 5, 90, 9);
    std::ofstream(folder_.path() + "/prometheus.yml")
        << "scrape_configs:\n- job_name: shop\n  scrape_interval: 200ms\n  scrape_timeout: 200ms\n"
        << "  static_configs:\n  - targets: [\"127.0.0.1:" << target_.port() << "\"]\n"
        << "    labels: {instance_id: p-1}\n";
    const int port = FreePort();
    server_ = std::make_unique<Process>(
        std::vector<std::string>{"/usr/bin/prometheus",
                                 "--config.file=" + folder_.path() + "/prometheus.yml",
                                 "--storage.tsdb.path=" + folder_.path() + "/tsdb",
                                 "--web.listen-address=127.0.0.1:" + std::to_string(port)},
        folder_.path() + "/log");
    settings_.url = "http://127.0.0.1:" + std::to_string(port) + "/";
    settings_.requests = "requests_total{of=\"\"}";
    settings_.errors = "errors_total";
    settings_.latency = "seconds_bucket";
  }

  // Asks until it says so many requests of p-1, or none at all.
  router::LoadTotals Until(uint64_t requests_count) {
    absl::StatusOr<ScrapedTotals> totals;
    for (int i = 0; i < 1'000 && !server_->Ended(); ++i) {
      totals = AskPrometheus(settings_);
      if (totals.ok()) {
        const auto it = totals->find("p-1");
        const router::LoadTotals found = it == totals->end() ? router::LoadTotals() : it->second;
        if (found.requests_count == requests_count) return found;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
    }
    ADD_FAILURE() << totals.status() << server_->Output();
    return {};
  }

  const TemporaryFolder folder_;
  Target target_;
  std::unique_ptr<Process> server_;
  PrometheusSettings settings_;
};

TEST_F(PrometheusMeasures, AreThoseOfTheScrapeAndAsOld) {
  const int64_t begun_ms = NowMs();
  const router::LoadTotals first = Until(100);
  EXPECT_TRUE(first.known);
  EXPECT_GE(first.read_ms, begun_ms);
  EXPECT_LE(first.read_ms, NowMs());
  EXPECT_EQ(first.errors_count, 5u);
  EXPECT_EQ(first.latency.count(), 100u);
  EXPECT_EQ(first.latency.CountAbove(400'000), 10u);
  EXPECT_NEAR(first.latency.QuantileUs(0.5), 50'000, 1'000) << "as long as its bucket's end";
  EXPECT_NEAR(first.latency.QuantileUs(0.95), 2'500'000, 50'000);

  target_.Say(70, 50, 6, 109, 10);
  const router::LoadTotals next = Until(120);
  EXPECT_GT(next.read_ms, first.read_ms);
  const LatencySketch since = next.latency.Since(first.latency);
  EXPECT_EQ(since.count(), 20u);
  EXPECT_EQ(since.CountAbove(400'000), 1u);

  // A target that cannot be scraped any more is not told of with its last word.
  target_.Stop();
  EXPECT_FALSE(Until(0).known);
}

TEST_F(PrometheusMeasures, SaysWhichQueryIsWrong) {
  Until(100);
  PrometheusSettings wrong = settings_;
  wrong.errors = "errors_total{";
  const absl::Status status = AskPrometheus(wrong).status();
  EXPECT_EQ(status.code(), absl::StatusCode::kInvalidArgument);
  EXPECT_THAT(std::string(status.message()), HasSubstr("(errors_total{): "));
  wrong = settings_;
  wrong.label = "no_such_label";
  EXPECT_EQ(AskPrometheus(wrong)->size(), 0u);
  wrong = settings_;
  wrong.url = "http://127.0.0.1:" + std::to_string(FreePort());
  EXPECT_EQ(AskPrometheus(wrong).status().code(), absl::StatusCode::kUnavailable);
  wrong.url = "http://127.0.0.1:" + std::to_string(target_.port());
  EXPECT_THAT(std::string(AskPrometheus(wrong).status().message()), HasSubstr("HTTP 404"));
}

TEST_F(PrometheusMeasures, AWatchTellsAgainAndAgain) {
  std::mutex mutex;
  uint64_t newest = 0;
  settings_.interval_ms = 100;
  const auto watch =
      PrometheusWatch::Start(settings_, [&](const absl::StatusOr<ScrapedTotals>& totals) {
        const std::lock_guard lock(mutex);
        if (totals.ok() && totals->contains("p-1")) newest = totals->at("p-1").requests_count;
      });
  const auto wait = [&](uint64_t requests_count) {
    for (int i = 0; i < 1'000; ++i) {
      {
        const std::lock_guard lock(mutex);
        if (newest == requests_count) return;
      }
      std::this_thread::sleep_for(std::chrono::milliseconds(30));
    }
    ADD_FAILURE() << server_->Output();
  };
  wait(100);
  target_.Say(70, 50, 6, 109, 10);
  wait(120);
}

}  // namespace
}  // namespace foreshadow::testing
