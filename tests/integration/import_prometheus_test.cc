// Back-filling from real servers: Prometheus and VictoriaMetrics, each given the same past.
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <httplib.h>

#include <chrono>
#include <cmath>
#include <filesystem>
#include <map>
#include <sstream>
#include <thread>

#include "tests/free_port.h"
#include "tests/integration/process.h"
#include "tests/unit/service/temporary_folder.h"

namespace foreshadow::testing {
namespace {

using ::testing::HasSubstr;

constexpr int64_t kStepS = 60;
constexpr int64_t kSteps = 700;
constexpr int kAccounts = 3;

int64_t StartS() {
  const auto now = std::chrono::system_clock::now().time_since_epoch();
  const int64_t now_s = std::chrono::duration_cast<std::chrono::seconds>(now).count();
  return now_s / 3'600 * 3'600 - 24 * 3'600;  // a day ago: within every server's retention
}

double CpuAt(int account, int64_t step) { return (step * 7 + account * 3) % 101 / 8.0; }
double MemoryAt(int account, int64_t step) { return 1e6 * (1 + (step + account) % 50); }

// In OpenMetrics' text, with times in seconds; in Prometheus' own, in ms. Two machines an account
// share its CPU; memory has a gap.
std::string Past(int64_t start_s, bool in_ms) {
  std::ostringstream text;
  text.precision(17);
  const auto line = [&](const std::string& name, const std::string& labels, double value,
                        int64_t step) {
    text << name << "{" << labels << "} " << value << " " << start_s + step * kStepS
         << (in_ms ? "000" : "") << "\n";
  };
  text << "# TYPE app_cpu gauge\n";
  for (int a = 0; a < kAccounts; ++a) {
    for (const char* machine : {"1", "2"}) {
      const std::string labels = "tenant=\"t" + std::to_string(a) + "\",cell=\"cell-" +
                                 std::to_string(a % 2) + "\",machine=\"" + machine + "\"";
      for (int64_t s = 0; s < kSteps; ++s) line("app_cpu", labels, CpuAt(a, s) / 2, s);
    }
  }
  text << "# TYPE app_memory gauge\n";
  for (int a = 0; a < kAccounts; ++a) {
    for (int64_t s = 0; s < kSteps; ++s) {
      if (s >= 100 && s < 200) continue;
      line("app_memory", "tenant=\"t" + std::to_string(a) + "\"", MemoryAt(a, s), s);
    }
  }
  if (!in_ms) text << "# EOF\n";
  return text.str();
}

void WaitFor(int port, const std::string& path, Process& process) {
  httplib::Client client("127.0.0.1", port);
  for (int i = 0; i < 600 && !process.Ended(); ++i) {
    const auto answer = client.Get(path);
    if (answer && answer->status == 200) return;
    std::this_thread::sleep_for(std::chrono::milliseconds(100));
  }
  FAIL() << process.Output();
}

struct Ran {
  int code = -1;
  std::string output;
};

class ImportPrometheus : public ::testing::Test {
 protected:
  Ran Run(const std::vector<std::string>& command) {
    const std::string log = folder_.path() + "/command";
    std::filesystem::remove(log);
    Process process(command, log);
    const int code = process.Wait();
    return {code, process.Output()};
  }
  Ran Import(int port, const std::vector<std::string>& more) {
    std::vector<std::string> command = {std::string(FORESHADOW_BIN_DIR) + "/foreshadow",
                                        "import",
                                        "--format",
                                        "prometheus",
                                        "http://127.0.0.1:" + std::to_string(port) + "/",
                                        "--account-label",
                                        "tenant",
                                        "--step-seconds",
                                        std::to_string(kStepS),
                                        "--start",
                                        std::to_string(start_s_ * 1'000),
                                        "--end",
                                        std::to_string((start_s_ + (kSteps - 1) * kStepS) * 1'000),
                                        "-o",
                                        Trace()};
    command.insert(command.end(), more.begin(), more.end());
    return Run(command);
  }
  std::string Trace() const { return folder_.path() + "/trace.csv"; }

  // Every value of the trace against what the server was given.
  void CheckTrace() {
    std::ifstream file(Trace());
    std::string line;
    std::getline(file, line);
    EXPECT_EQ(line, "timestamp,cell,account,application,cpu,memory,network,storage,mutation_rate");
    int64_t rows = 0;
    int64_t memories = 0;
    while (std::getline(file, line)) {
      ++rows;
      std::vector<std::string> fields;
      std::istringstream stream(line);
      for (std::string field; std::getline(stream, field, ',');) fields.push_back(field);
      ASSERT_GE(fields.size(), 5u) << line;
      const int64_t step = (TimeOf(fields[0]) / 1'000 - start_s_) / kStepS;
      const int account = fields[2][1] - '0';
      EXPECT_EQ(fields[1], "cell-" + std::to_string(account % 2));
      ASSERT_FALSE(fields[4].empty()) << line;
      ASSERT_EQ(std::stof(fields[4]), static_cast<float>(CpuAt(account, step))) << line;
      // An instant query goes on with the newest value for up to 5 minutes.
      if (fields.size() < 6 || fields[5].empty()) continue;
      ++memories;
      if (step < 100 || step >= 200) {
        ASSERT_EQ(std::stof(fields[5]), static_cast<float>(MemoryAt(account, step))) << line;
      }
    }
    EXPECT_EQ(rows, kSteps * kAccounts);
    EXPECT_GE(memories, (kSteps - 100) * kAccounts);
    EXPECT_LE(memories, (kSteps - 100 + 5) * kAccounts) << "the gap stays one";
  }

  const std::vector<std::string> both_ = {"--query", "cpu=sum by (tenant, cell) (app_cpu)",
                                          "--query", "memory=app_memory"};
  const TemporaryFolder folder_;
  const int64_t start_s_ = StartS();

 private:
  static int64_t TimeOf(const std::string& text) {
    if (text.find('T') == std::string::npos) return std::stoll(text);
    std::tm time{};
    strptime(text.c_str(), "%Y-%m-%dT%H:%M:%S", &time);
    return int64_t{timegm(&time)} * 1'000;
  }
};

TEST_F(ImportPrometheus, FillsBackFromPrometheusItself) {
  if (!std::filesystem::exists("/usr/bin/prometheus")) GTEST_SKIP() << "no Prometheus here";
  std::ofstream(folder_.path() + "/past.txt") << Past(start_s_, false);
  const std::string data = folder_.path() + "/tsdb";
  const Ran blocks = Run({"/usr/bin/promtool", "tsdb", "create-blocks-from", "openmetrics",
                          folder_.path() + "/past.txt", data});
  ASSERT_EQ(blocks.code, 0) << blocks.output;
  std::ofstream(folder_.path() + "/prometheus.yml") << "global: {}\n";
  const int port = FreePort();
  Process server(
      {"/usr/bin/prometheus", "--config.file=" + folder_.path() + "/prometheus.yml",
       "--storage.tsdb.path=" + data, "--web.listen-address=127.0.0.1:" + std::to_string(port)},
      folder_.path() + "/log");
  WaitFor(port, "/-/ready", server);
  const Ran ran = Import(port, both_);
  ASSERT_EQ(ran.code, 0) << ran.output;
  CheckTrace();

  const Ran twice = Import(port, {"--query", "cpu=app_cpu"});
  EXPECT_EQ(twice.code, 1);
  EXPECT_THAT(twice.output, HasSubstr("two series with tenant=\"t0\""));
  const Ran wrong = Import(port, {"--query", "cpu=sum by ("});
  EXPECT_EQ(wrong.code, 1);
  EXPECT_THAT(wrong.output, HasSubstr("parse error"));
  const Ran nothing = Import(port, {"--query", "cpu=no_such_metric"});
  EXPECT_EQ(nothing.code, 1);
  EXPECT_THAT(nothing.output, HasSubstr("no series"));
  const Ran unlabelled = Import(port, {"--query", "cpu=sum(app_cpu)"});
  EXPECT_EQ(unlabelled.code, 1);
  EXPECT_THAT(unlabelled.output, HasSubstr("no label \"tenant\""));
}

TEST_F(ImportPrometheus, FillsBackFromVictoriaMetrics) {
  if (!std::filesystem::exists("/usr/bin/victoria-metrics")) {
    GTEST_SKIP() << "no VictoriaMetrics here";
  }
  const int port = FreePort();
  Process server({"/usr/bin/victoria-metrics", "-storageDataPath=" + folder_.path() + "/data",
                  "-httpListenAddr=127.0.0.1:" + std::to_string(port), "-search.latencyOffset=0s",
                  "-memory.allowedBytes=200000000"},
                 folder_.path() + "/log");
  WaitFor(port, "/health", server);
  httplib::Client client("127.0.0.1", port);
  const auto sent = client.Post("/api/v1/import/prometheus", Past(start_s_, true), "text/plain");
  ASSERT_TRUE(sent && sent->status == 204);
  client.Get("/internal/force_flush");
  const Ran ran = Import(port, both_);
  ASSERT_EQ(ran.code, 0) << ran.output;
  CheckTrace();
}

TEST_F(ImportPrometheus, TellsWhatIsWrong) {
  const Ran unreachable = Import(FreePort(), {"--query", "cpu=up"});
  EXPECT_EQ(unreachable.code, 1);
  EXPECT_THAT(unreachable.output, HasSubstr("http://127.0.0.1:"));
  const Ran none = Import(1, {});
  EXPECT_EQ(none.code, 2);
  EXPECT_THAT(none.output, HasSubstr("--query"));
  // A server that is none of Prometheus' kind, and one that fails for a while.
  httplib::Server other;
  int calls = 0;
  other.Post("/api/v1/query_range", [&](const httplib::Request&, httplib::Response& response) {
    if (++calls < 3) {
      response.status = 503;
    } else {
      response.set_content("<html>hello</html>", "text/html");
    }
  });
  const int port = other.bind_to_any_port("127.0.0.1");
  std::thread thread([&] { other.listen_after_bind(); });
  const Ran odd = Import(port, {"--query", "cpu=up"});
  other.stop();
  thread.join();
  EXPECT_EQ(odd.code, 1);
  EXPECT_THAT(odd.output, HasSubstr("not an answer of Prometheus' API: <html>"));
  EXPECT_EQ(calls, 3);
}

}  // namespace
}  // namespace foreshadow::testing
