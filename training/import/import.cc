#include "training/import/import.h"

#include <fmt/core.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <memory>
#include <system_error>

#include "training/client/replay.h"
#include "training/command.h"
#include "training/import/formats.h"
#include "training/import/prometheus.h"

namespace foreshadow::training {
namespace {

namespace fs = std::filesystem;

constexpr std::array<const char*, kTraceSignals> kSignalNames = {"cpu", "memory", "network",
                                                                 "storage", "mutation_rate"};

struct ImportOptions {
  std::string format;
  std::vector<std::string> inputs;
  std::string output;
  std::string server;
  tls::ClientFiles tls;
  int cells = 0;
  std::string application;
  std::string start;
  int64_t step_seconds = 300;
  double cores = 1;
  std::string signal = "cpu";
  std::vector<std::string> queries;
  std::string end;
  std::string account_label = "account";
  std::string cell_label = "cell";
  std::string application_label = "application";
  std::string token_file;
};

int SignalOf(const std::string& name) {
  return static_cast<int>(std::find(kSignalNames.begin(), kSignalNames.end(), name) -
                          kSignalNames.begin());
}

bool IsUrl(const std::string& text) {
  return text.starts_with("http://") || text.starts_with("https://");
}

// Folders stand for the files in them, in the order of their names (numbers by value).
absl::StatusOr<std::vector<std::string>> FilesOf(const std::vector<std::string>& inputs) {
  std::vector<std::string> files;
  for (const std::string& input : inputs) {
    std::error_code error;
    if (!fs::is_directory(input, error)) {
      files.push_back(input);
      continue;
    }
    std::vector<std::string> inside;
    for (const auto& entry : fs::directory_iterator(input, error)) {
      if (entry.is_regular_file()) inside.push_back(entry.path().string());
    }
    if (error) {
      return absl::NotFoundError(fmt::format("{}: cannot be listed: {}", input, error.message()));
    }
    std::sort(inside.begin(), inside.end(), [](const std::string& a, const std::string& b) {
      return std::pair(a.size(), a) < std::pair(b.size(), b);
    });
    files.insert(files.end(), inside.begin(), inside.end());
  }
  if (files.empty()) return absl::NotFoundError("no input file");
  return files;
}

// PlanetLab's files carry no time, but their folders are named after their day.
absl::StatusOr<int64_t> StartOf(const ImportOptions& options, const std::string& first_file) {
  if (!options.start.empty()) return ParseTime(options.start, {"option", 1, "--start"});
  const std::string day = fs::absolute(first_file).parent_path().filename().string();
  if (day.size() == 8 && std::all_of(day.begin(), day.end(), ::isdigit)) {
    return ParseTime(
        fmt::format("{}-{}-{}T00:00:00Z", day.substr(0, 4), day.substr(4, 2), day.substr(6, 2)),
        {first_file, 1, "folder name"});
  }
  return UsageError(fmt::format(
      "{}: its folder \"{}\" is not named YYYYMMDD; give the first step's time by --start",
      first_file, day));
}

// A long trace tells its cells itself; a wide table is one signal, a column an account.
absl::StatusOr<Trace> ReadCsv(const std::vector<std::string>& files, const ImportOptions& options) {
  auto reader = CsvReader::Open(files[0]);
  if (!reader.ok()) return reader.status();
  const auto header = reader->Next();
  if (!header.ok()) return header.status();
  const auto fields = reader->fields();
  if (*header && fields.size() > 2 && fields[1] == "cell" && fields[2] == "account") {
    if (files.size() != 1) {
      return UsageError(fmt::format("{} input files; a long trace is one", files.size()));
    }
    return ReadTrace(files[0]);
  }
  return ReadWide(files, static_cast<models::SignalKind>(SignalOf(options.signal)));
}

// "cpu=sum by (account) (rate(x[5m]))"; without a signal's name before the first "=", --signal's.
PrometheusQuery QueryOf(const std::string& text, const ImportOptions& options) {
  const size_t end = text.find('=');
  if (end != std::string::npos) {
    const int signal = SignalOf(text.substr(0, end));
    if (signal < kTraceSignals) return {signal, text.substr(end + 1)};
  }
  return {SignalOf(options.signal), text};
}

absl::StatusOr<Trace> ReadServer(const ImportOptions& options) {
  if (options.inputs.size() != 1 || !IsUrl(options.inputs[0])) {
    return UsageError("--format prometheus takes one URL, e.g. http://127.0.0.1:9090");
  }
  if (options.queries.empty()) return UsageError("--format prometheus needs a --query or more");
  if (options.start.empty() || options.end.empty()) {
    return UsageError("--format prometheus needs --start and --end");
  }
  PrometheusSource source;
  source.url = options.inputs[0];
  source.step_ms = options.step_seconds * 1'000;
  source.account_label = options.account_label;
  source.cell_label = options.cell_label;
  source.application_label = options.application_label;
  for (const std::string& query : options.queries) {
    source.queries.push_back(QueryOf(query, options));
  }
  for (const auto& [text, time_ms, name] : {std::tuple(&options.start, &source.start_ms, "--start"),
                                            std::tuple(&options.end, &source.end_ms, "--end")}) {
    const auto time = ParseTime(*text, {"option", 1, name});
    if (!time.ok()) return UsageError(std::string(time.status().message()));
    *time_ms = *time;
  }
  if (!options.token_file.empty()) {
    std::ifstream file(options.token_file);
    if (!(file >> source.token)) {
      return absl::NotFoundError(fmt::format("{}: holds no token", options.token_file));
    }
  }
  return ReadPrometheus(source);
}

absl::StatusOr<Trace> Read(const ImportOptions& options) {
  if (options.format == "prometheus") return ReadServer(options);
  auto files = FilesOf(options.inputs);
  if (!files.ok()) return files.status();
  const int64_t step_ms = options.step_seconds * 1000;
  if (options.format == "bitbrains") return ReadBitbrains(*files, step_ms);
  if (options.format == "csv") return ReadCsv(*files, options);
  auto start_ms = StartOf(options, files->front());
  if (!start_ms.ok()) return start_ms.status();
  return ReadPlanetLab(*files, *start_ms, step_ms, options.cores);
}

// Deals accounts without a cell, or all when the user says so, out to cells in turn.
void AssignCells(const ImportOptions& options, Trace& trace) {
  const auto cells = static_cast<size_t>(std::max(1, options.cells));
  for (size_t i = 0; i < trace.accounts.size(); ++i) {
    TraceAccount& account = trace.accounts[i];
    if (options.cells > 0 || account.cell.empty()) {
      account.cell = fmt::format("cell-{}", i % cells + 1);
    }
    if (!options.application.empty()) account.application = options.application;
  }
}

absl::Status Run(const ImportOptions& options) {
  if (options.output.empty() && options.server.empty()) {
    return UsageError("say where to: --output FILE, --server ADDRESS or both");
  }
  auto trace = Read(options);
  if (!trace.ok()) return trace.status();
  AssignCells(options, *trace);
  if (!options.output.empty()) {
    if (absl::Status status = WriteTrace(*trace, options.output); !status.ok()) return status;
    fmt::print("{}: {} accounts, {} steps of {} s\n", options.output, trace->accounts.size(),
               trace->steps, trace->step_ms / 1000);
  }
  if (options.server.empty()) return absl::OkStatus();
  const auto client = Client::To(options.server, options.tls);
  if (!client.ok()) return client.status();
  const auto counts = SendHistory(*client, *trace);
  if (!counts.ok()) return counts.status();
  fmt::print("server {}: {} samples accepted, {} duplicates, {} rejected\n", options.server,
             counts->accepted, counts->duplicates, counts->rejected);
  if (counts->rejected > 0) fmt::print("first rejection: {}\n", counts->first_rejection);
  return absl::OkStatus();
}

}  // namespace

void AddImport(CLI::App& app) {
  auto options = std::make_shared<ImportOptions>();
  CLI::App& command = *app.add_subcommand(
      "import",
      "Turn a public trace, as its authors publish it, or what a Prometheus-compatible server has, "
      "into the long trace CSV or into a server's history");
  command.add_option("--format", options->format, "Format of the inputs")
      ->required()
      ->check(CLI::IsMember({"planetlab", "bitbrains", "csv", "prometheus"}));
  command
      .add_option(
          "inputs", options->inputs,
          "Files, or folders of files, one a machine (csv: one long trace, or one wide file "
          "with a column an account); prometheus: the server's URL")
      ->required()
      ->check([](const std::string& input) {
        return IsUrl(input) ? std::string() : CLI::ExistingPath(input);
      });
  command.add_option("-o,--output", options->output, "Trace to write; gzipped if it ends in .gz");
  command.add_option("--server", options->server,
                     "Send it into the history of this foreshadowd; its cells must be configured");
  AddTlsOptions(command, options->tls);
  command
      .add_option("--cells", options->cells,
                  "Deal the accounts out to so many cells, in turn (default: the trace's own, "
                  "else one)")
      ->check(CLI::Range(1, 100'000));
  command.add_option("--application", options->application, "Application type of every account");
  command
      .add_option(
          "--step-seconds", options->step_seconds,
          "Sampling step (planetlab, bitbrains, whose rows of one step are averaged; prometheus)")
      ->check(CLI::Range(1, 86'400))
      ->capture_default_str();
  command.add_option(
      "--start", options->start,
      "Time of the first step (planetlab, default: the folder's name, YYYYMMDD; prometheus)");
  command.add_option("--end", options->end, "Time of the last step (prometheus)");
  command.add_option(
      "--query", options->queries,
      "SIGNAL=PROMQL, a result of one series an account; once a signal (prometheus)");
  command.add_option("--account-label", options->account_label, "Label that is the account's id")
      ->capture_default_str();
  command.add_option("--cell-label", options->cell_label, "Label that is its cell, if it is there")
      ->capture_default_str();
  command
      .add_option("--application-label", options->application_label,
                  "Label that is its application type, if it is there")
      ->capture_default_str();
  command
      .add_option("--source-token-file", options->token_file,
                  "File of the bearer token for the source (prometheus)")
      ->check(CLI::ExistingFile);
  command.add_option("--cores", options->cores, "Cores that 100 % stands for (planetlab)")
      ->check(CLI::Range(1e-3, 1e6))
      ->capture_default_str();
  command
      .add_option("--signal", options->signal,
                  "Signal that the columns hold (csv), or a query without one")
      ->check(CLI::IsMember(std::vector<std::string>(kSignalNames.begin(), kSignalNames.end())))
      ->capture_default_str();
  SetRun(command, [options] { return Run(*options); });
}

}  // namespace foreshadow::training
