#include "training/demo/narrator.h"

#include <fmt/core.h>
#include <openssl/evp.h>

#include <algorithm>
#include <vector>

#include "training/client/client.h"

namespace foreshadow::training {
namespace {

constexpr int64_t kHourMs = 3'600'000;
constexpr double kFirstSplit = 0.1;  // learn.first_split of the server's defaults
constexpr size_t kAhead = 3;         // steps between a forecast and the value it is shown against

std::string Time(int64_t time_ms) { return ClockTime(time_ms).substr(5); }

bool Over(const v1::Resources& demand, const v1::Resources& capacity) {
  const auto over = [](double d, double c) { return c > 0 && d > c; };
  return over(demand.cpu_cores(), capacity.cpu_cores()) ||
         over(demand.memory_bytes(), capacity.memory_bytes()) ||
         over(demand.network_bytes_per_second(), capacity.network_bytes_per_second()) ||
         over(demand.storage_bytes(), capacity.storage_bytes());
}

double CpuShare(const v1::Resources& demand, const v1::Resources& capacity) {
  return capacity.cpu_cores() > 0 ? 100 * demand.cpu_cores() / capacity.cpu_cores() : 0;
}

}  // namespace

void Narrator::Tell(const v1::Plan& plan) {
  TellWarnings(plan);
  TellActions(plan);
  TellOverloads(plan);
  if (plan.tick_ms() % kHourMs == 0) TellHour(plan);
  TellAlerts(plan);
  past_.push_front(plan);
  if (past_.size() > kAhead) past_.pop_back();
  std::fflush(stdout);
}

// An alert that goes on is told again after an hour; figures in it may change meanwhile.
void Narrator::TellAlerts(const v1::Plan& plan) {
  for (const std::string& alert : plan.alerts()) {
    std::string kind = alert.substr(0, alert.find(':'));
    std::erase_if(kind, [](char c) { return c >= '0' && c <= '9'; });
    int64_t& told_ms = alerts_told_ms_[kind + alert.substr(0, alert.find(' ', 5))];
    if (told_ms != 0 && plan.tick_ms() - told_ms < kHourMs) continue;
    told_ms = plan.tick_ms();
    fmt::print("{}  ! {}\n", Time(plan.tick_ms()), alert);
  }
}

void Narrator::TellWarnings(const v1::Plan& plan) {
  for (const v1::CellRisk& risk : plan.risks()) {
    const double chance = risk.overload_probability_without();
    if (chance < risk_threshold_) {
      // A little hysteresis, so that a risk around the threshold is told once.
      if (chance < risk_threshold_ / 2) warned_.erase(risk.cell());
      continue;
    }
    if (!warned_.insert(risk.cell()).second) continue;
    const int64_t minutes = (risk.overload_expected_without_ms() - plan.tick_ms()) / 60'000;
    fmt::print(
        "{}  {} FORESEEN to overload: {:.0f} % likely, {} in about {} min ({:.4g} to {:.4g} of "
        "{:.4g})\n",
        Time(plan.tick_ms()), risk.cell(), 100 * chance, Word(risk.worst_resource()), minutes,
        *std::max_element(risk.demand_p50().begin(), risk.demand_p50().end()),
        *std::max_element(risk.demand_p95().begin(), risk.demand_p95().end()), risk.capacity());
  }
}

void Narrator::TellOverloads(const v1::Plan& plan) {
  for (const v1::Cell& cell : plan.cells()) {
    const bool would_be = Over(cell.demand_without(), cell.capacity());
    const bool is = Over(cell.demand(), cell.capacity());
    if (would_be && would_be_.insert(cell.id()).second) {
      fmt::print("{}  {} {}: demand at {:.0f} % of its cores, served at {:.0f} %\n",
                 Time(plan.tick_ms()), cell.id(), is ? "OVERLOADED" : "overload AVOIDED",
                 CpuShare(cell.demand_without(), cell.capacity()),
                 CpuShare(cell.demand(), cell.capacity()));
    } else if (is && overloaded_.count(cell.id()) == 0) {
      fmt::print("{}  {} OVERLOADED: served at {:.0f} % of its cores\n", Time(plan.tick_ms()),
                 cell.id(), CpuShare(cell.demand(), cell.capacity()));
    }
    if (!would_be) would_be_.erase(cell.id());
    if (is)
      overloaded_.insert(cell.id());
    else
      overloaded_.erase(cell.id());
  }
}

void Narrator::TellActions(const v1::Plan& plan) {
  struct Sum {
    int resumed = 0;
    int paused = 0;
    std::vector<double> splits;
  };
  std::map<std::string, Sum> sums;  // by source cell
  for (const v1::Action& action : plan.actions()) {
    if (action.decided_ms() == plan.tick_ms()) {
      decisions_ +=
          fmt::format("{} {} {} {} {} {} {:.6f} {}\n", action.id(), static_cast<int>(action.kind()),
                      action.account_id(), action.source_cell(), action.target_cell(),
                      action.instance_id(), action.split(), action.decided_ms());
    }
    if (action.settled_ms() == 0 || !settled_.insert(action.id()).second) continue;
    if (action.state() == v1::ACTION_STATE_FAILED) {
      fmt::print("{}    {} of {} failed: {}\n", Time(plan.tick_ms()), Word(action.kind()),
                 action.instance_id(), action.message());
      continue;
    }
    switch (action.kind()) {
      case v1::ACTION_KIND_CREATE_SHADOW:
        fmt::print("{}    {} of account {} created in {} (action {})\n", Time(plan.tick_ms()),
                   action.instance_id(), action.account_id(), action.target_cell(), action.id());
        break;
      case v1::ACTION_KIND_RESUME_SHADOW:
        ++sums[action.source_cell()].resumed;
        break;
      case v1::ACTION_KIND_PAUSE_SHADOW:
        ++sums[action.source_cell()].paused;
        break;
      case v1::ACTION_KIND_DESTROY_SHADOW:
        fmt::print("{}    {} decommissioned: {}\n", Time(plan.tick_ms()), action.instance_id(),
                   action.reason());
        break;
      case v1::ACTION_KIND_PROMOTE_SHADOW:
        fmt::print("{}    {} is the primary of account {} now, in {}\n", Time(plan.tick_ms()),
                   action.instance_id(), action.account_id(), action.target_cell());
        break;
      case v1::ACTION_KIND_RETIRE_PRIMARY:
        fmt::print("{}    the old primary of account {} in {} is gone\n", Time(plan.tick_ms()),
                   action.account_id(), action.source_cell());
        break;
      case v1::ACTION_KIND_SET_SPLIT:
        sums[action.source_cell()].splits.push_back(action.split());
        break;
      default:
        break;
    }
  }
  for (const auto& [cell, sum] : sums) {
    std::string line;
    if (sum.resumed > 0) line += fmt::format(", {} resumed", sum.resumed);
    if (sum.paused > 0) line += fmt::format(", {} paused", sum.paused);
    // Every step of a ramp would be a line a tick: its ends tell enough.
    const auto [low, high] = std::minmax_element(sum.splits.begin(), sum.splits.end());
    if (!sum.splits.empty() && (*low <= kFirstSplit || *high >= 1)) {
      line += fmt::format(", split of {} now {:.0f}{} %", sum.splits.size(), 100 * *low,
                          *high > *low ? fmt::format(" to {:.0f}", 100 * *high) : "");
    }
    if (!line.empty()) {
      fmt::print("{}    shadows of {}: {}\n", Time(plan.tick_ms()), cell, line.substr(2));
    }
  }
}

// The hour's line: each cell's CPU against its capacity, and what was foreseen for now.
void Narrator::TellHour(const v1::Plan& plan) {
  std::string line;
  for (const v1::Cell& cell : plan.cells()) {
    line += fmt::format("  {} {:.0f} %", cell.id(), CpuShare(cell.demand(), cell.capacity()));
  }
  fmt::print("{} --{}  | {} shadows, MASE {:.2f}\n", Time(plan.tick_ms()), line,
             plan.shadows_size(), plan.scores().forecast_mase());
  if (past_.size() < kAhead) return;
  std::string foreseen;
  for (const v1::CellRisk& risk : past_.back().risks()) {
    if (risk.worst_resource() != v1::SIGNAL_CPU ||
        risk.demand_p50_size() < static_cast<int>(kAhead)) {
      continue;
    }
    const auto cell = std::find_if(plan.cells().begin(), plan.cells().end(),
                                   [&](const v1::Cell& c) { return c.id() == risk.cell(); });
    foreseen += fmt::format("  {} {:.1f} (p95 {:.1f}) came {:.1f}", risk.cell(),
                            risk.demand_p50(kAhead - 1), risk.demand_p95(kAhead - 1),
                            cell->demand().cpu_cores());
  }
  if (!foreseen.empty()) {
    fmt::print("             cores foreseen {} min ago:{}\n",
               static_cast<int64_t>(kAhead) * step_ms_ / 60'000, foreseen);
  }
}

std::string Narrator::digest() const {
  std::array<unsigned char, EVP_MAX_MD_SIZE> hash{};
  unsigned int size = 0;
  EVP_Digest(decisions_.data(), decisions_.size(), hash.data(), &size, EVP_sha256(), nullptr);
  std::string hex;
  for (unsigned int i = 0; i < size; ++i) hex += fmt::format("{:02x}", hash[i]);
  return hex;
}

}  // namespace foreshadow::training
