// Runs ticks and stands between them and everybody else: telemetry and operators put into a bounded
// inbox, readers get the newest published report. All public methods may be called from any thread.
#pragma once

#include <atomic>
#include <condition_variable>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <string_view>
#include <thread>
#include <unordered_map>
#include <vector>

#include "absl/status/statusor.h"
#include "kernels/ops.h"
#include "service/config/config.h"
#include "service/history/store.h"
#include "service/ingest/rate_limit.h"
#include "service/ingest/validate.h"
#include "service/journal/recorder.h"
#include "service/router/traffic.h"
#include "service/tick/tick.h"
#include "service/world/real_world.h"

namespace foreshadow {

// Samples that wait in memory for the next tick: five signals of a million accounts, twice. When
// more come, they are left to the history, and the next tick reads its window from there.
inline constexpr size_t kInboxSamplesMax = 10'000'000;

// What a model carries is kept at the end of a run up to so many bytes, some 70,000 accounts;
// beyond it is made anew from the history.
inline constexpr size_t kCarriedBytesMax = 1 << 30;

// Whoever carries out actions in the cells.
class Hands {
 public:
  virtual ~Hands() = default;
  // Queues it; the outcome goes to Engine::Tell.
  virtual void Start(const Action& action) = 0;
  // Asks every cell what it has; the answers go to Engine::Tell.
  virtual void Poll() = 0;
  // Returns when nothing is queued or under way.
  virtual void WaitUntilIdle() = 0;
};

// Where trained models come from.
class ModelSource {
 public:
  struct Served {
    std::shared_ptr<const ModelList> models;              // never null
    std::shared_ptr<const models::Forecaster> candidate;  // null = none
  };
  virtual ~ModelSource() = default;
  // Between two ticks, on their thread: what to serve with from here on. What stands in the way of
  // another version goes to `alerts`.
  virtual Served Poll(std::vector<std::string>& alerts) = 0;
  // After a tick that evaluated the candidate.
  virtual void Evaluated(const Evaluation& evaluation) = 0;
};

struct IngestResult {
  std::string error;  // of the batch as a whole
  int64_t accepted_count = 0;
  int64_t duplicate_count = 0;
  std::vector<Rejection> rejections;
  int64_t last_tick_ms = 0;
};

class Engine {
 public:
  // Loads what an earlier run left. `store` outlives the engine.
  static absl::StatusOr<std::unique_ptr<Engine>> Create(Config config, ModelList models,
                                                        HistoryStore& store);
  ~Engine();

  // Begins to tick (wall clock). Both outlive the engine; without `hands` nothing is carried out,
  // without `source` the models stay what they are, without `traffic` nobody is told the splits.
  void Start(Hands* hands, ModelSource* source = nullptr, Traffic* traffic = nullptr);
  // Gives up the tick in progress while it analyses or forecasts, else finishes it; starts no
  // other. Idempotent.
  void Stop();

  // Validates, writes and remembers a batch; durable when it returns. With the data clock it then
  // runs the ticks that `watermark_ms` (0 = none) completes.
  absl::StatusOr<IngestResult> Ingest(std::span<const std::string* const> account_ids,
                                      const std::vector<RawColumn>& columns, int64_t watermark_ms);

  struct Put {
    int64_t added_count = 0;
    int64_t changed_count = 0;
  };
  enum class PutMode : uint8_t {
    kAddOrReplace,
    kOnlyNew,  // accounts that are there stay as they are
  };
  // RESOURCE_EXHAUSTED when there would be more than ingest.accounts_max: then none is put.
  absl::StatusOr<Put> PutAccounts(const std::vector<Account>& accounts,
                                  PutMode mode = PutMode::kAddOrReplace);
  bool HasAccount(const std::string& id) const;
  std::shared_ptr<const Fleet> fleet() const;  // accounts as registered, ticked or not
  std::optional<int32_t> FindAccount(const std::string& id) const;  // its index

  void Tell(Outcome outcome);
  void Tell(CellReport report);
  // Durable when OK; the next tick takes it, after a restart too.
  absl::Status Tell(const Command& command);
  // Likewise. INVALID_ARGUMENT with key, value and what is allowed; an empty value takes an earlier
  // change back.
  absl::Status Change(const std::string& key, const std::string& value, const std::string& reason);

  // Adds to the backups in history.backup_dir. FAILED_PRECONDITION when that is not set.
  absl::StatusOr<BackupInfo> Backup();

  // The newest report; null before the first tick.
  std::shared_ptr<const TickReport> report() const;
  // The first report newer than `tick_ms`, waiting at most so long; null if none came or it stops.
  std::shared_ptr<const TickReport> WaitForReport(int64_t tick_ms, int64_t wait_ms) const;

  // Null: none follows the splits.
  const Traffic* traffic() const { return traffic_; }
  bool stopping() const;
  // Where the analysis runs, e.g. "cpu AVX3" or "cuda NVIDIA H200".
  std::string_view compute() const {
    return device_ != nullptr ? device_->name : kernels::CpuOps().name;
  }
  const Config& config() const { return config_; }
  Settings settings() const;                   // the configuration's, with what was changed since
  std::vector<SettingChange> changes() const;  // those that were, by key
  std::shared_ptr<const ModelList> models() const;  // of the newest tick
  HistoryStore& store() const { return store_; }
  SenderLimits& sender_limits() { return sender_limits_; }  // of all ways in

 private:
  Engine(Config config, ModelList models, HistoryStore& store);
  absl::Status Load();
  absl::Status TellLocked(const Command& command);
  absl::StatusOr<Put> PutAccountsLocked(const std::vector<Account>& accounts, PutMode mode);
  void LoadCarried();
  void SaveCarried();
  void RunWallClock();
  void PublishLastTick();
  absl::Status TickUntil(int64_t newest_step_ms);
  absl::Status TickOnce(int64_t step_ms);
  // And the settings that go with it.
  absl::StatusOr<Inbox> TakeInbox(int64_t step_ms, Settings& settings);
  void PutBack(Inbox told);
  void AskForMaintenance(int64_t now_ms);
  void RunMaintenance();
  void BackUpWhenDue(int64_t now_ms);

  const Config config_;
  HistoryStore& store_;
  SenderLimits sender_limits_;
  Hands* hands_ = nullptr;
  const kernels::Ops* device_ = nullptr;  // as NewState takes it
  ModelSource* source_ = nullptr;
  Traffic* traffic_ = nullptr;

  mutable std::mutex mutex_;  // the inbox, the fleet, the models, the report
  mutable std::condition_variable changed_;
  Inbox inbox_;
  std::vector<SettingChange> changes_;  // of the decisions, and those that wait for the next tick
  Settings settings_;                   // with these
  bool window_in_store_ = true;         // the next tick reads the window's samples from the history
  uint64_t commands_count_ = 0;         // number of the newest command ever
  uint64_t commands_taken_ = 0;         // number of the newest that a tick has in hand
  std::shared_ptr<const Fleet> fleet_;
  std::unordered_map<std::string, int32_t> account_index_;
  std::shared_ptr<const ModelList> models_;
  std::shared_ptr<const TickReport> report_;
  std::atomic<bool> stopping_ = false;  // set under mutex_; those at work read it without

  std::mutex tick_mutex_;  // one tick at a time; taken before mutex_
  StatePtr state_;
  RealWorld world_;
  std::unique_ptr<journal::Recorder> recorder_;  // null = no journal is kept
  int64_t last_tick_ms_ = 0;
  int64_t saved_ms_ = 0;  // tick at which what the models carry was last kept
  std::thread thread_;

  int64_t maintained_ms_ = 0;  // tick at which the history's maintenance was last asked for
  int64_t maintain_ms_ = 0;    // tick to do it for, 0 = none; guarded by mutex_
  std::condition_variable maintenance_asked_;
  int64_t backed_up_ms_ = 0;  // tick at which this run last did by itself
  std::thread maintenance_;
};

}  // namespace foreshadow
