// A history in memory: plain maps, one lock. It keeps the contract of service/history/store.h, so
// that tests of others need no disk.
#pragma once

#include <algorithm>
#include <map>
#include <mutex>
#include <string>
#include <tuple>

#include "service/history/store.h"

namespace foreshadow::testing {

class MemoryStore : public HistoryStore {
 public:
  absl::StatusOr<Written> WriteSamples(const std::vector<Sample>& samples) override {
    const std::lock_guard lock(mutex_);
    Written written;
    for (const Sample& s : samples) {
      const auto [it, is_new] = series_[SeriesOf(s.account, s.signal)].emplace(s.time_ms, s.value);
      if (is_new) {
        written.added.push_back(s);
      } else if (it->second == s.value) {
        ++written.duplicate_count;
      } else {
        written.conflicts.push_back(s);
      }
    }
    return written;
  }

  absl::Status ReadSamples(
      int64_t from_ms,
      const std::function<void(const std::vector<Sample>&)>& visit) const override {
    const std::lock_guard lock(mutex_);
    for (auto it = series_.begin(); it != series_.end();) {
      const int64_t account = it->first / kSignals;
      std::vector<Sample> piece;
      for (; it != series_.end() && it->first / kSignals == account; ++it) {
        const auto signal = static_cast<SignalKind>(it->first % kSignals);
        for (auto at = it->second.lower_bound(std::max(from_ms, KeptFrom(Resolution::kSamples)));
             at != it->second.end(); ++at) {
          piece.push_back({static_cast<int32_t>(account), signal, at->first, at->second});
        }
      }
      if (!piece.empty()) visit(piece);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<Bin>> ReadSeries(int32_t account, SignalKind signal, int64_t from_ms,
                                              int64_t to_ms, Resolution resolution) const override {
    const std::lock_guard lock(mutex_);
    const auto it = series_.find(SeriesOf(account, signal));
    std::vector<Point> points;
    if (it != series_.end()) {
      for (const auto& [time_ms, value] : it->second) {
        if (time_ms >= KeptFrom(resolution)) points.push_back({time_ms, value});
      }
    }
    std::vector<Bin> bins = Summarize(points, resolution);
    std::erase_if(bins, [&](const Bin& b) { return b.start_ms < from_ms || b.start_ms >= to_ms; });
    return bins;
  }

  absl::Status Maintain(int64_t now_ms, const Retention& retention,
                        const std::atomic<bool>& stop) override {
    if (stop) return absl::CancelledError("stopped");
    const std::lock_guard lock(mutex_);
    const int64_t kept_ms[] = {retention.samples_ms, retention.five_minutes_ms, retention.hours_ms};
    for (size_t r = 0; r < std::size(kept_ms); ++r) {
      const int64_t from_ms = std::max<int64_t>(0, now_ms - kept_ms[r]) / kBucketMs * kBucketMs;
      kept_from_ms_[r] = std::max(kept_from_ms_[r], from_ms);
    }
    return absl::OkStatus();
  }

  absl::StatusOr<BackupInfo> Backup(const std::string&, int) override {
    return absl::UnimplementedError("what is in memory has no backup");
  }

  absl::Status WriteAccounts(const std::vector<std::pair<int32_t, Account>>& accounts,
                             const std::vector<Cell>& cells) override {
    const std::lock_guard lock(mutex_);
    for (const auto& [index, account] : accounts) {
      accounts_[index] = {account, cells[static_cast<size_t>(account.cell)].id};
    }
    return absl::OkStatus();
  }

  absl::StatusOr<std::vector<Account>> ReadAccounts(const std::vector<Cell>& cells) const override {
    const std::lock_guard lock(mutex_);
    std::vector<Account> accounts;
    for (const auto& [index, held] : accounts_) {
      const auto cell = std::find_if(cells.begin(), cells.end(),
                                     [&, id = held.second](const Cell& c) { return c.id == id; });
      if (cell == cells.end()) {
        return absl::FailedPreconditionError("account " + held.first.id + " is in cell " +
                                             held.second + ", which is not configured any more");
      }
      accounts.push_back(held.first);
      accounts.back().cell = static_cast<int32_t>(cell - cells.begin());
    }
    return accounts;
  }

  absl::Status WriteDecisions(const std::string& decisions,
                              const std::vector<std::pair<uint64_t, std::string>>& audit,
                              uint64_t commands_taken) override {
    const std::lock_guard lock(mutex_);
    decisions_ = {{"", decisions}};
    for (const auto& [id, record] : audit) audit_[id] = record;
    commands_.erase(commands_.begin(), commands_.upper_bound(commands_taken));
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> ReadDecisions() const override {
    return Find(decisions_, std::string());
  }
  absl::StatusOr<std::string> ReadAudit(uint64_t id) const override { return Find(audit_, id); }

  absl::Status WriteCarried(const std::string& model, const std::string& bytes) override {
    const std::lock_guard lock(mutex_);
    carried_[model] = bytes;
    return absl::OkStatus();
  }
  absl::StatusOr<std::string> ReadCarried(const std::string& model) const override {
    return Find(carried_, model);
  }

  absl::Status WriteCommand(uint64_t number, const Command& command) override {
    const std::lock_guard lock(mutex_);
    commands_[number] = command;
    return absl::OkStatus();
  }
  absl::StatusOr<std::vector<std::pair<uint64_t, Command>>> ReadCommands() const override {
    const std::lock_guard lock(mutex_);
    return std::vector<std::pair<uint64_t, Command>>(commands_.begin(), commands_.end());
  }

 private:
  int64_t KeptFrom(Resolution resolution) const {
    return kept_from_ms_[static_cast<size_t>(resolution)];
  }
  template <typename Key>
  absl::StatusOr<std::string> Find(const std::map<Key, std::string>& map, const Key& key) const {
    const std::lock_guard lock(mutex_);
    const auto it = map.find(key);
    if (it == map.end()) return absl::NotFoundError("not there");
    return it->second;
  }

  mutable std::mutex mutex_;
  std::map<int64_t, std::map<int64_t, float>> series_;  // what is forgotten is only not shown
  int64_t kept_from_ms_[3] = {};
  std::map<int32_t, std::pair<Account, std::string>> accounts_;
  std::map<std::string, std::string> decisions_;  // one, or none yet
  std::map<std::string, std::string> carried_;
  std::map<uint64_t, std::string> audit_;
  std::map<uint64_t, Command> commands_;
};

}  // namespace foreshadow::testing
