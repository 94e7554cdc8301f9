#include "training/cloudsim/day.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>

#include "training/cloudsim/centre.h"
#include "training/cloudsim/round.h"
#include "training/import/formats.h"
#include "training/io/csv.h"

namespace foreshadow::training::cloudsim {
namespace {

class Day {
 public:
  Day(Centre centre, Rule& rule)
      : centre_(std::move(centre)), rule_(rule), tally_(centre_.hosts.size(), centre_.vms.size()) {}

  Result Run() {
    for (double now = kFirstRoundSeconds; now < kDaySeconds; now += kIntervalSeconds) {
      UpdateAll(now);
      Remember();
      const std::vector<Move> moves = PlanRound(centre_, rule_);
      for (const Move& move : moves) Begin(move, now);
      tally_.Migrations(moves.size());
      End(moves, now);
    }
    return tally_.Sum();
  }

 private:
  // Demand of now, shared out.
  void Update(int h, double now) {
    Host& host = centre_.hosts[h];
    for (const int v : host.vms) centre_.vms[v].wanted_mips = WantedMips(centre_.vms[v], now);
    Share(centre_.vms, host);
    host.used_before_mips = host.used_mips;
    host.used_mips = 0;
    double wanted = 0;
    for (size_t i = 0; i < host.vms.size(); ++i) {
      const Vm& vm = centre_.vms[host.vms[i]];
      double given = host.given_mips[i];
      if (!IsArriving(host, host.vms[i])) {
        tally_.Vm(host.vms[i], now, given, vm.wanted_mips, vm.moving);
        if (vm.moving) given /= kSourceShare;  // the host works as hard as before
      }
      host.used_mips += given;
      wanted += vm.wanted_mips;
    }
    tally_.Host(h, now, host.used_mips, wanted);
  }

  void UpdateAll(double now) {
    for (size_t h = 0; h < centre_.hosts.size(); ++h) Update(static_cast<int>(h), now);
    for (const Host& host : centre_.hosts) {
      if (host.used_before_mips <= 0) continue;  // it was off
      const double watts = (Watts(host, Utilization(host, host.used_before_mips)) +
                            Watts(host, Utilization(host, host.used_mips))) /
                           2;
      tally_.Energy(watts * (now - updated_));
    }
    updated_ = now;
    for (Host& host : centre_.hosts) {
      const size_t gone = std::erase_if(host.vms, [&](int v) {
        const Vm& vm = centre_.vms[v];
        return vm.wanted_mips == 0 && !vm.moving;
      });
      if (gone > 0) Share(centre_.vms, host);
    }
  }

  void Remember() {
    for (Vm& vm : centre_.vms) {
      if (vm.history.size() == kHistory) vm.history.erase(vm.history.begin());
      vm.history.push_back(vm.wanted_mips);
    }
  }

  void Begin(const Move& move, double now) {
    Vm& vm = centre_.vms[move.vm];
    Host& target = centre_.hosts[move.to];
    vm.moving = true;
    target.vms.push_back(move.vm);
    target.arriving.push_back(move.vm);
    Update(move.to, now);
    Update(vm.host, now);
  }

  // Machines of one size arrive at one time.
  void End(const std::vector<Move>& moves, double now) {
    std::vector<int> sizes;
    for (const Move& move : moves) sizes.push_back(centre_.vms[move.vm].type.memory_mib);
    std::ranges::sort(sizes);
    const auto repeated = std::ranges::unique(sizes);
    sizes.erase(repeated.begin(), repeated.end());
    for (const int memory_mib : sizes) {
      const double then = now + memory_mib / kMibPerSecond;
      UpdateAll(then);
      for (const Move& move : moves) {
        if (centre_.vms[move.vm].type.memory_mib == memory_mib) Arrive(move);
      }
      UpdateAll(then);
    }
  }

  void Arrive(const Move& move) {
    Vm& vm = centre_.vms[move.vm];
    Host& source = centre_.hosts[vm.host];
    Host& target = centre_.hosts[move.to];
    Remove(move.vm, source.vms);
    Remove(move.vm, target.vms);
    Remove(move.vm, target.arriving);
    target.vms.push_back(move.vm);
    vm.moving = false;
    vm.host = move.to;
  }

  Centre centre_;
  Rule& rule_;
  Tally tally_;
  double updated_ = 0;
};

absl::StatusOr<std::vector<double>> Shares(const CsvReader& row) {
  std::vector<double> shares;
  for (size_t i = 1; i < row.fields().size(); ++i) {
    const auto value = ParseValue(row.fields()[i], {row.path(), row.line(), "CPU %"}, false);
    if (!value.ok()) return value.status();
    shares.push_back(*value / 100.0);
  }
  return shares;
}

absl::StatusOr<std::vector<std::vector<double>>> ReadMatrix(const std::string& path) {
  auto rows = CsvReader::Open(path);
  if (!rows.ok()) return rows.status();
  std::vector<std::vector<double>> day;
  bool header = true;
  auto more = rows->Next();
  for (; more.ok() && *more; more = rows->Next()) {
    if (!header) {
      auto shares = Shares(*rows);
      if (!shares.ok()) return shares.status();
      day.push_back(*std::move(shares));
    }
    header = false;
  }
  if (!more.ok()) return more.status();
  return day;
}

absl::StatusOr<std::vector<std::vector<double>>> ReadFolder(const std::string& path) {
  std::vector<std::string> files;
  for (const auto& entry : std::filesystem::directory_iterator(path)) {
    if (entry.is_regular_file()) files.push_back(entry.path().string());
  }
  std::ranges::sort(files);
  // 100 "cores" a machine: percents.
  const auto trace = ReadPlanetLab(files, 0, 300'000, 100);
  if (!trace.ok()) return trace.status();
  std::vector<std::vector<double>> day(files.size());
  for (int64_t t = 0; t < trace->steps; ++t) {
    for (size_t m = 0; m < day.size(); ++m) {
      day[m].push_back(
          trace->values[t * trace->series() + static_cast<int64_t>(m) * kTraceSignals] / 100.0);
    }
  }
  return day;
}

}  // namespace

absl::StatusOr<std::vector<std::vector<double>>> ReadDay(const std::string& path) {
  auto day = std::filesystem::is_directory(path) ? ReadFolder(path) : ReadMatrix(path);
  if (!day.ok()) return day.status();
  if (day->empty()) return absl::InvalidArgumentError(fmt::format("{}: no machine", path));
  for (size_t m = 0; m < day->size(); ++m) {
    const std::vector<double>& samples = (*day)[m];
    const bool whole = std::ranges::all_of(samples, [](double s) { return s >= 0 && s <= 1; });
    if (samples.size() != kDaySamples || !whole) {
      return absl::InvalidArgumentError(
          fmt::format("{}: machine {} has {} samples; wanted are {} of 0 to 100 %, none missing",
                      path, m + 1, samples.size(), kDaySamples));
    }
  }
  return day;
}

absl::StatusOr<Result> RunDay(std::vector<std::vector<double>> samples, int hosts,
                              const std::string& rule) {
  const auto detector = MakeRule(rule);
  if (detector == nullptr) {
    return absl::InvalidArgumentError(fmt::format("policy \"{}\": there is no such rule", rule));
  }
  Centre centre = NewCentre(hosts, std::move(samples));
  if (!PlaceFirst(centre)) {
    return absl::ResourceExhaustedError(fmt::format(
        "{} hosts cannot take {} machines at their full size", hosts, centre.vms.size()));
  }
  return Day(std::move(centre), *detector).Run();
}

}  // namespace foreshadow::training::cloudsim
