#include "training/client/commands.h"

#include <fmt/core.h>

#include <algorithm>
#include <memory>
#include <nlohmann/json.hpp>

#include "absl/strings/ascii.h"
#include "absl/time/time.h"
#include "training/client/client.h"
#include "training/client/replay.h"
#include "training/command.h"
#include "training/io/trace.h"

namespace foreshadow::training {
namespace {

// What every client command asks for; shared by the parser and the run.
struct Common {
  std::string server = kDefaultServer;
  tls::ClientFiles tls;
  bool json = false;
};

std::shared_ptr<Common> AddCommon(CLI::App& command) {
  auto common = std::make_shared<Common>();
  command.add_option("--server", common->server, "Address of foreshadowd")->capture_default_str();
  AddTlsOptions(command, common->tls);
  command.add_flag("--json", common->json, "Print JSON");
  return common;
}

// Asks once and prints the answer as JSON or by `print`.
template <typename Stub, typename Request, typename Response, typename Print>
absl::Status AskAndPrint(const Client& client, Stub& stub,
                         grpc::Status (Stub::*method)(grpc::ClientContext*, const Request&,
                                                      Response*),
                         const Request& request, bool json, Print print) {
  const auto response = client.Call(stub, method, request);
  if (!response.ok()) return response.status();
  if (json) {
    fmt::print("{}", ToJson(*response));
  } else {
    print(*response);
  }
  return absl::OkStatus();
}

void PrintScores(const v1::Scores& s) {
  fmt::print("overloads       {} ({} foreseen, {:.0f} min ahead in the median)\n", s.overloads(),
             s.overloads_foreseen(), s.lead_minutes_median());
  fmt::print("warnings        {} ({} of them false)\n", s.alarms(), s.alarms_false());
  fmt::print("overload        {:.0f} cell-minutes, {:.0f} had nothing been moved\n",
             s.overload_minutes_with(), s.overload_minutes_without());
  fmt::print("shadows         {} created, {:.1f} hours\n", s.shadows_created(), s.shadow_hours());
  fmt::print("forecast        MASE {:.3f}, scaled pinball loss {:.3f}\n", s.forecast_mase(),
             s.forecast_pinball_loss());
}

// How many follow the routes, and each that does not have the newest.
void PrintClients(const v1::GetStatusResponse& s) {
  if (s.clients().empty()) return;
  int connected = 0;
  for (const v1::DataPlaneClient& client : s.clients()) connected += client.connected();
  fmt::print("data plane      {} clients connected\n", connected);
  for (const v1::DataPlaneClient& c : s.clients()) {
    if (c.connected() && c.behind_ms() == 0 && c.refused().empty()) continue;
    const std::string what = !c.refused().empty() ? "refused: " + c.refused()
                             : c.connected()      ? fmt::format("behind for {} ms", c.behind_ms())
                                                  : "cut off since " + ClockTime(c.since_ms());
    fmt::print("  {} ({}, {}) {}\n", c.node(), c.agent(), c.peer(), what);
  }
}

void PrintStatus(const v1::GetStatusResponse& s) {
  fmt::print("foreshadowd     {} on {}\n", s.version(), s.compute());
  fmt::print("mode            {}{}\n", s.mode(), s.paused() ? ", paused" : "");
  fmt::print("accounts        {} ({} series)\n", s.accounts_count(), s.series_count());
  std::string models;
  for (const std::string& model : s.models()) models += (models.empty() ? "" : ", ") + model;
  fmt::print("models          {}\n", models);
  if (s.has_evaluation()) fmt::print("candidate       {}\n", s.evaluation().words());
  PrintClients(s);
  if (s.last_tick_ms() == 0) {
    fmt::print("ticks           none yet\n");
    return;
  }
  fmt::print("ticks           {}, last {} in {:.0f} ms\n", s.scores().ticks(),
             ClockTime(s.last_tick_ms()), s.last_tick_duration_ms());
  for (const v1::StageTime& stage : s.stages()) {
    fmt::print("  {:<13} {:.1f} ms\n", stage.stage(), stage.duration_ms());
  }
  PrintScores(s.scores());
}

void PrintCells(const v1::ListCellsResponse& response) {
  fmt::print("{:<16} {:<10} {:<9} {:>9} {:>12} {:>12} {:>8} {:>7} {:>6}\n", "cell", "zone", "state",
             "accounts", "cpu cores", "of capacity", "shadows", "risk", "when");
  for (const v1::Cell& cell : response.cells()) {
    const double capacity = cell.capacity().cpu_cores();
    const double demand = cell.demand().cpu_cores();
    fmt::print(
        "{:<16} {:<10} {:<9} {:>9} {:>12.2f} {:>11.0f}% {:>8} {:>6.0f}% {:>6}\n", cell.id(),
        cell.zone(), Word(cell.state()), cell.accounts_count(), demand,
        capacity > 0 ? 100 * demand / capacity : 0, cell.shadows_count(),
        100 * cell.overload_probability(),
        cell.overload_expected_ms() ? ClockTime(cell.overload_expected_ms()).substr(11) : "-");
  }
}

void PrintShadows(const v1::Plan& plan) {
  fmt::print("{:<14} {:<24} {:<12} {:<12} {:<16} {:>6} {:>8}  {}\n", "instance", "account", "from",
             "in", "state", "split", "refused", "since");
  for (const v1::Shadow& shadow : plan.shadows()) {
    fmt::print("{:<14} {:<24} {:<12} {:<12} {:<16} {:>5.0f}% {:>7.0f}%  {}\n", shadow.instance_id(),
               shadow.account_id(), shadow.source_cell(), shadow.target_cell(),
               Word(shadow.state()), 100 * shadow.split(), 100 * shadow.shed(),
               ClockTime(shadow.since_ms()));
  }
}

void PrintPlan(const v1::Plan& plan) {
  fmt::print("tick {} at {}{}\n", plan.tick_count(), ClockTime(plan.tick_ms()),
             plan.paused() ? " (paused)" : "");
  for (const std::string& alert : plan.alerts()) fmt::print("! {}\n", alert);
  for (const v1::CellRisk& risk : plan.risks()) {
    fmt::print("risk    {:<14} {:>3.0f}% ({:.0f}% without shadows), {}{}\n", risk.cell(),
               100 * risk.overload_probability(), 100 * risk.overload_probability_without(),
               Word(risk.worst_resource()),
               risk.overload_expected_ms()
                   ? ", likely from " + ClockTime(risk.overload_expected_ms()).substr(11)
                   : "");
  }
  for (const v1::Action& action : plan.actions()) {
    fmt::print("action  {:>5} {:<16} {:<10} {} {} -> {}: {}{}\n", action.id(), Word(action.kind()),
               Word(action.state()), action.account_id(), action.source_cell(),
               action.target_cell(), action.reason(),
               action.message().empty() ? "" : " [" + action.message() + "]");
  }
  if (plan.shadows_size() > 0) PrintShadows(plan);
}

absl::Status WatchPlans(const Client& client, bool json) {
  grpc::ClientContext context;
  const auto stream = client.plans->WatchPlans(&context, {});
  v1::Plan plan;
  while (stream->Read(&plan)) {
    if (json) {
      fmt::print("{}", ToJson(plan));
    } else {
      PrintPlan(plan);
    }
    std::fflush(stdout);
  }
  const grpc::Status status = stream->Finish();
  return status.ok() ? absl::OkStatus() : client.Check(status);
}

void AddReads(CLI::App& app) {
  CLI::App* status = app.add_subcommand("status", "What the server does and how well");
  SetRun(*status, [c = AddCommon(*status)] {
    const auto client = Client::To(c->server, c->tls);
    if (!client.ok()) return client.status();
    return AskAndPrint(*client, *client->plans, &v1::Plans::Stub::GetStatus, v1::GetStatusRequest(),
                       c->json, PrintStatus);
  });

  CLI::App* cells = app.add_subcommand("cells", "Cells: demand, capacity, risk");
  SetRun(*cells, [c = AddCommon(*cells)] {
    const auto client = Client::To(c->server, c->tls);
    if (!client.ok()) return client.status();
    return AskAndPrint(*client, *client->fleet, &v1::Fleet::Stub::ListCells, v1::ListCellsRequest(),
                       c->json, PrintCells);
  });

  CLI::App* shadows = app.add_subcommand("shadows", "Shadows: where, state, split");
  SetRun(*shadows, [c = AddCommon(*shadows)] {
    const auto client = Client::To(c->server, c->tls);
    if (!client.ok()) return client.status();
    return AskAndPrint(*client, *client->plans, &v1::Plans::Stub::GetPlan, v1::GetPlanRequest(),
                       c->json, PrintShadows);
  });

  CLI::App* plan = app.add_subcommand("plan", "The newest plan: risks, actions, shadows");
  auto watch = std::make_shared<bool>(false);
  plan->add_flag("--watch", *watch, "Print each new plan until interrupted");
  SetRun(*plan, [c = AddCommon(*plan), watch] {
    const auto client = Client::To(c->server, c->tls);
    if (!client.ok()) return client.status();
    if (*watch) return WatchPlans(*client, c->json);
    return AskAndPrint(*client, *client->plans, &v1::Plans::Stub::GetPlan, v1::GetPlanRequest(),
                       c->json, PrintPlan);
  });

  CLI::App* explain = app.add_subcommand("explain", "Why an action was taken");
  auto id = std::make_shared<uint64_t>(0);
  explain->add_option("action", *id, "Id of the action, as `foreshadow plan` lists it")->required();
  SetRun(*explain, [c = AddCommon(*explain), id] {
    const auto client = Client::To(c->server, c->tls);
    if (!client.ok()) return client.status();
    v1::ExplainRequest request;
    request.set_action_id(*id);
    return AskAndPrint(*client, *client->plans, &v1::Plans::Stub::Explain, request, c->json,
                       [](const v1::Explanation& e) { fmt::print("{}\n", e.words()); });
  });
}

void AddOrders(CLI::App& app) {
  CLI::App* approve = app.add_subcommand("approve", "Let a waiting action go ahead");
  auto id = std::make_shared<uint64_t>(0);
  approve->add_option("action", *id, "Id of the action")->required();
  SetRun(*approve, [c = AddCommon(*approve), id] {
    const auto client = Client::To(c->server, c->tls);
    if (!client.ok()) return client.status();
    v1::ApproveRequest request;
    request.set_action_id(*id);
    return AskAndPrint(*client, *client->plans, &v1::Plans::Stub::Approve, request, c->json,
                       [&](const v1::ApproveResponse&) { fmt::print("approved {}\n", *id); });
  });

  CLI::App* reject = app.add_subcommand("reject", "Withdraw a waiting action");
  auto rejected = std::make_shared<v1::RejectRequest>();
  reject
      ->add_option_function<uint64_t>(
          "action", [rejected](uint64_t action) { rejected->set_action_id(action); },
          "Id of the action")
      ->required();
  reject->add_option_function<std::string>(
      "--reason", [rejected](const std::string& why) { rejected->set_reason(why); },
      "Why, for the audit log");
  SetRun(*reject, [c = AddCommon(*reject), rejected] {
    const auto client = Client::To(c->server, c->tls);
    if (!client.ok()) return client.status();
    return AskAndPrint(
        *client, *client->plans, &v1::Plans::Stub::Reject, *rejected, c->json,
        [&](const v1::RejectResponse&) { fmt::print("rejected {}\n", rejected->action_id()); });
  });

  CLI::App* pause = app.add_subcommand("pause", "Hold every new action");
  auto reason = std::make_shared<std::string>();
  pause->add_option("--reason", *reason, "Why, for the log");
  SetRun(*pause, [c = AddCommon(*pause), reason] {
    const auto client = Client::To(c->server, c->tls);
    if (!client.ok()) return client.status();
    v1::PauseRequest request;
    request.set_reason(*reason);
    return AskAndPrint(*client, *client->plans, &v1::Plans::Stub::Pause, request, c->json,
                       [](const v1::PauseResponse&) { fmt::print("paused\n"); });
  });

  CLI::App* resume = app.add_subcommand("resume", "Let actions go on");
  SetRun(*resume, [c = AddCommon(*resume)] {
    const auto client = Client::To(c->server, c->tls);
    if (!client.ok()) return client.status();
    return AskAndPrint(*client, *client->plans, &v1::Plans::Stub::Resume, v1::ResumeRequest(),
                       c->json, [](const v1::ResumeResponse&) { fmt::print("resumed\n"); });
  });
}

void PrintSettings(const v1::ListSettingsResponse& response) {
  for (const v1::Setting& setting : response.settings()) {
    fmt::print("{} = {}", setting.key(), setting.value());
    if (setting.changed()) {
      fmt::print("  # changed {}{}", absl::FormatTime(absl::FromUnixMillis(setting.changed_ms())),
                 setting.reason().empty() ? "" : ": " + setting.reason());
    }
    fmt::print("\n");
  }
}

void AddSettings(CLI::App& app) {
  CLI::App* settings = app.add_subcommand("settings", "The settings in force");
  SetRun(*settings, [c = AddCommon(*settings)] {
    const auto client = Client::To(c->server, c->tls);
    if (!client.ok()) return client.status();
    return AskAndPrint(*client, *client->plans, &v1::Plans::Stub::ListSettings,
                       v1::ListSettingsRequest(), c->json, PrintSettings);
  });

  CLI::App* set = app.add_subcommand("set", "Change a setting while the server runs");
  auto change = std::make_shared<std::string>();
  auto reason = std::make_shared<std::string>();
  set->add_option("change", *change,
                  "KEY=VALUE, as guard.shadows_max=10 or shadow.mode=act; KEY= takes a change back")
      ->required();
  set->add_option("--reason", *reason, "Why, kept beside it");
  SetRun(*set, [c = AddCommon(*set), change, reason]() -> absl::Status {
    const size_t equals = change->find('=');
    if (equals == std::string::npos || equals == 0) {
      return absl::InvalidArgumentError(
          fmt::format("change = {}: must be KEY=VALUE, as guard.shadows_max=10", *change));
    }
    const auto client = Client::To(c->server, c->tls);
    if (!client.ok()) return client.status();
    v1::ChangeSettingRequest request;
    request.set_key(std::string(absl::StripAsciiWhitespace(change->substr(0, equals))));
    request.set_value(std::string(absl::StripAsciiWhitespace(change->substr(equals + 1))));
    request.set_reason(*reason);
    return AskAndPrint(*client, *client->plans, &v1::Plans::Stub::ChangeSetting, request, c->json,
                       [&](const v1::ChangeSettingResponse& r) {
                         fmt::print("{} = {}\n", request.key(), r.value());
                       });
  });
}

void AddSend(CLI::App& app) {
  CLI::App* send =
      app.add_subcommand("send", "Send a trace to a server, as fast as it acknowledges");
  auto path = std::make_shared<std::string>();
  auto no_ticks = std::make_shared<bool>(false);
  send->add_option("trace", *path, "Trace CSV, may be gzipped")->required();
  send->add_flag("--no-ticks", *no_ticks,
                 "Only fill the history: send no watermarks, so that the data clock stands");
  SetRun(*send, [c = AddCommon(*send), path, no_ticks]() -> absl::Status {
    auto trace = ReadTrace(*path);
    if (!trace.ok()) return trace.status();
    const auto client = Client::To(c->server, c->tls);
    if (!client.ok()) return client.status();
    if (absl::Status status = RegisterAccounts(*client, *trace); !status.ok()) return status;
    Replay stream(*client, *trace);
    ReplayCounts total;
    const int64_t at_once = *no_ticks ? HistoryStepsAtOnce(*trace) : 1;
    for (int64_t step = 0; step < trace->steps; step += at_once) {
      const int64_t end = std::min(step + at_once, trace->steps);
      const auto counts = stream.Send(step, end, !*no_ticks);
      if (!counts.ok()) return counts.status();
      total += *counts;
      if (step % (100 * at_once) == 0) fmt::print(stderr, "\r{} of {} steps", end, trace->steps);
    }
    fmt::print(stderr, "\r{} of {} steps\n", trace->steps, trace->steps);
    if (c->json) {
      const nlohmann::ordered_json counts = {{"accepted", total.accepted},
                                             {"duplicates", total.duplicates},
                                             {"rejected", total.rejected},
                                             {"first_rejection", total.first_rejection}};
      fmt::print("{}\n", counts.dump(1));
    } else {
      fmt::print("{} samples accepted, {} duplicates, {} rejected\n", total.accepted,
                 total.duplicates, total.rejected);
      if (total.rejected > 0) fmt::print("first rejection: {}\n", total.first_rejection);
    }
    return stream.Finish();
  });
}

}  // namespace

void AddClientCommands(CLI::App& app) {
  AddReads(app);
  AddOrders(app);
  AddSettings(app);
  AddSend(app);
}

}  // namespace foreshadow::training
