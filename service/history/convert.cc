#include "service/history/convert.h"

#include <rocksdb/merge_operator.h>

#include <bit>
#include <map>

#include "service/history/rows.h"

namespace foreshadow::history {
namespace {

constexpr size_t kKeyBytes = 8 + 1 + 4;  // time, signal, block of accounts
constexpr uint32_t kOldBlockAccounts = 1'024;
constexpr size_t kOldEntryBytes = 6;  // account in the block (2), value (4), big-endian
constexpr size_t kBatchBytes = 4 << 20;

class OldAppend : public rocksdb::AssociativeMergeOperator {
 public:
  bool Merge(const rocksdb::Slice&, const rocksdb::Slice* existing, const rocksdb::Slice& value,
             std::string* merged, rocksdb::Logger*) const override {
    merged->clear();
    if (existing != nullptr) merged->assign(existing->data(), existing->size());
    merged->append(value.data(), value.size());
    return true;
  }
  const char* Name() const override { return "foreshadow.Append"; }
};

}  // namespace

rocksdb::ColumnFamilyOptions OldSamplesOptions() {
  rocksdb::ColumnFamilyOptions options;
  options.compression = rocksdb::kZSTD;
  options.merge_operator = std::make_shared<OldAppend>();
  return options;
}

absl::Status ConvertOldSamples(Database& database, rocksdb::ColumnFamilyHandle* old) {
  std::unique_ptr<rocksdb::Iterator> it(database.db().NewIterator({}, old));
  rocksdb::WriteBatch batch;
  const auto flush = [&] {
    absl::Status status = database.Write(batch, "converting samples");
    batch.Clear();
    return status;
  };
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    const rocksdb::Slice key = it->key();
    const rocksdb::Slice value = it->value();
    if (key.size() != kKeyBytes || value.size() % kOldEntryBytes != 0 ||
        static_cast<uint8_t>(key[8]) >= kSignals) {
      return absl::DataLossError("a block of samples of format 1 has the wrong size");
    }
    Sample sample;
    sample.time_ms = static_cast<int64_t>(GetBigEndian<uint64_t>(key.data()));
    sample.signal = static_cast<SignalKind>(key[8]);
    const uint32_t first = GetBigEndian<uint32_t>(key.data() + 9) * kOldBlockAccounts;
    std::map<std::string, std::string> rows;
    for (size_t at = 0; at < value.size(); at += kOldEntryBytes) {
      sample.account = static_cast<int32_t>(first + GetBigEndian<uint16_t>(value.data() + at));
      sample.value = std::bit_cast<float>(GetBigEndian<uint32_t>(value.data() + at + 2));
      PutEntry(sample, rows[RowKey::Of(sample).Text()]);
    }
    for (const auto& [row_key, row] : rows) {
      batch.Merge(database.family(kRecent), row_key, row);
    }
    batch.Delete(old, key);  // in the same step, so that none comes twice
    if (batch.GetDataSize() < kBatchBytes) continue;
    if (absl::Status status = flush(); !status.ok()) return status;
  }
  if (!it->status().ok()) return ToStatus(it->status(), "reading samples of format 1");
  return flush();
}

}  // namespace foreshadow::history
