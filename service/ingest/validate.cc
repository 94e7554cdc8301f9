#include "service/ingest/validate.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <unordered_set>

namespace foreshadow {
namespace {

// What is wrong with the shape of a batch; empty = nothing.
std::string ShapeError(std::span<const std::string* const> ids,
                       const std::vector<RawColumn>& columns) {
  std::unordered_set<std::string> seen;
  for (size_t i = 0; i < ids.size(); ++i) {
    if (!seen.insert(*ids[i]).second) {
      return fmt::format("account_ids[{}] = \"{}\" is given twice", i, *ids[i]);
    }
  }
  int64_t total = 0;
  for (size_t c = 0; c < columns.size(); ++c) {
    const RawColumn& column = columns[c];
    const size_t rows = column.values.size();
    total += static_cast<int64_t>(rows);
    if (column.signal < 1 || column.signal > kSignals) {
      return fmt::format("columns[{}].signal = {}: must be 1 .. {}", c, column.signal, kSignals);
    }
    if (column.time_ms.size() != rows && column.time_ms.size() != 1) {
      return fmt::format("columns[{}].time_ms has {} entries: must be 1 or as many as values ({})",
                         c, column.time_ms.size(), rows);
    }
    if (column.account_index.empty() ? rows > ids.size() : column.account_index.size() != rows) {
      return fmt::format("columns[{}].account_index has {} entries for {} values and {} accounts",
                         c, column.account_index.size(), rows, ids.size());
    }
    for (size_t i = 0; i < column.account_index.size(); ++i) {
      if (column.account_index[i] >= ids.size()) {
        return fmt::format("columns[{}].account_index[{}] = {}: must be below {}", c, i,
                           column.account_index[i], ids.size());
      }
    }
  }
  if (total > kBatchSamplesMax) {
    return fmt::format("the batch has {} samples: at most {} are allowed", total, kBatchSamplesMax);
  }
  return "";
}

struct Limits {
  int64_t oldest_ms;
  int64_t newest_ms;
};

// Why a sample that is not good is refused.
void Explain(bool account_known, const Limits& limits, Rejection& r) {
  if (!account_known) {
    r.reason = RejectReason::kUnknownAccount;
    r.message =
        fmt::format("account \"{}\" is not registered: call Fleet.PutAccounts first", r.account);
  } else if (!std::isfinite(r.value)) {
    r.reason = RejectReason::kNotFinite;
    r.message = fmt::format("{} of account {} = {}: must be finite; leave a missing sample out",
                            Name(r.signal), r.account, r.value);
  } else if (r.value < 0) {
    r.reason = RejectReason::kNegative;
    r.message = fmt::format("{} of account {} = {}: must not be negative", Name(r.signal),
                            r.account, r.value);
  } else if (r.time_ms < limits.oldest_ms) {
    r.reason = RejectReason::kTooOld;
    r.message = fmt::format("time_ms = {} of account {}: samples before {} are not accepted",
                            r.time_ms, r.account, limits.oldest_ms);
  } else {
    r.reason = RejectReason::kInFuture;
    r.message = fmt::format("time_ms = {} of account {}: later than {} is in the future", r.time_ms,
                            r.account, limits.newest_ms);
  }
}

}  // namespace

bool IsAccountId(const std::string& id) {
  return !id.empty() && id.size() <= kAccountIdBytesMax &&
         std::all_of(id.begin(), id.end(), [](char c) { return c > ' ' && c < 127; });
}

Validated Validate(std::span<const std::string* const> account_ids,
                   const std::vector<RawColumn>& columns,
                   const std::unordered_map<std::string, int32_t>& known, int64_t oldest_ms,
                   int64_t newest_ms) {
  Validated result;
  result.error = ShapeError(account_ids, columns);
  if (!result.error.empty()) return result;
  std::vector<int32_t> index(account_ids.size(), -1);
  for (size_t i = 0; i < account_ids.size(); ++i) {
    const auto it = known.find(*account_ids[i]);
    if (it != known.end()) index[i] = it->second;
  }
  const Limits limits{oldest_ms, newest_ms};
  for (const RawColumn& column : columns) {
    for (size_t row = 0; row < column.values.size(); ++row) {
      const size_t id = column.account_index.empty() ? row : column.account_index[row];
      const Sample sample{index[id], static_cast<SignalKind>(column.signal - 1),
                          column.time_ms[column.time_ms.size() == 1 ? 0 : row], column.values[row]};
      const bool good = sample.account >= 0 && std::isfinite(sample.value) && sample.value >= 0 &&
                        sample.time_ms >= oldest_ms && sample.time_ms <= newest_ms;
      if (good) {
        result.samples.push_back(sample);
        continue;
      }
      Rejection rejection{{}, *account_ids[id], sample.signal, sample.time_ms, sample.value, {}};
      Explain(sample.account >= 0, limits, rejection);
      result.rejections.push_back(std::move(rejection));
    }
  }
  return result;
}

Rejection ConflictOf(const Sample& sample, const std::string& account) {
  return {RejectReason::kConflict,
          account,
          sample.signal,
          sample.time_ms,
          sample.value,
          fmt::format("{} of account {} at {}: another value than {} is held already",
                      Name(sample.signal), account, sample.time_ms, sample.value)};
}

}  // namespace foreshadow
