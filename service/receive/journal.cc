#include "service/receive/journal.h"

#include <fmt/core.h>
#include <rocksdb/db.h>

#include <array>
#include <cstring>
#include <filesystem>

namespace foreshadow::receive {
namespace {

// Points: time (8 bytes, big endian, so that they are in order), series. Counters: series.
// Values: value, start, and for a counter its time, 8 bytes each. Ends: series; their time.
enum Family : size_t { kDefault, kPoints, kNewest, kEnds, kFamilies };
constexpr const char* kFamilyNames[kFamilies] = {"default", "points", "newest", "ends"};
constexpr size_t kTimeBytes = 8;
constexpr size_t kWriteBufferBytes = 16 << 20;  // what waits is a few steps

std::string TimeKey(int64_t time_ms, std::string_view series = "") {
  std::string key;
  for (int shift = 56; shift >= 0; shift -= 8) {
    key.push_back(static_cast<char>((static_cast<uint64_t>(time_ms) >> shift) & 0xff));
  }
  return key.append(series);
}

int64_t TimeOf(std::string_view key) {
  uint64_t time = 0;
  for (size_t i = 0; i < kTimeBytes; ++i) time = time << 8 | static_cast<uint8_t>(key[i]);
  return static_cast<int64_t>(time);
}

struct Stored {
  double value;
  int64_t start_ms;
  int64_t time_ms;
};

std::string Bytes(const Point& point) {
  const Stored stored{point.value, point.start_ms, point.time_ms};
  std::string bytes(sizeof(stored), '\0');
  std::memcpy(bytes.data(), &stored, sizeof(stored));
  return bytes;
}

rocksdb::Slice ToSlice(std::string_view text) { return {text.data(), text.size()}; }

absl::Status ToStatus(const rocksdb::Status& status, const char* doing) {
  if (status.ok()) return absl::OkStatus();
  const std::string what = fmt::format("{} received points: {}", doing, status.ToString());
  if (status.IsCorruption()) return absl::DataLossError(what);
  if (status.IsNoSpace()) return absl::UnavailableError(what + " (the disk is full)");
  return absl::UnavailableError(what);
}

}  // namespace

struct Journal::Impl {
  std::unique_ptr<rocksdb::DB> db;
  std::vector<rocksdb::ColumnFamilyHandle*> families;

  ~Impl() {
    for (rocksdb::ColumnFamilyHandle* family : families) db->DestroyColumnFamilyHandle(family);
  }

  absl::Status Read(Family family, const Visit& visit) const {
    std::unique_ptr<rocksdb::Iterator> it(db->NewIterator({}, families[family]));
    for (it->SeekToFirst(); it->Valid(); it->Next()) {
      std::string_view key = it->key().ToStringView();
      Stored stored;
      if (it->value().size() != sizeof(stored) || (family == kPoints && key.size() < kTimeBytes)) {
        return absl::DataLossError("a received point has the wrong size");
      }
      std::memcpy(&stored, it->value().data(), sizeof(stored));
      if (family == kPoints) {
        stored.time_ms = TimeOf(key);
        key.remove_prefix(kTimeBytes);
      }
      visit({key, {stored.time_ms, stored.value, stored.start_ms}});
    }
    return ToStatus(it->status(), "reading");
  }
};

Journal::Journal(std::unique_ptr<Impl> impl) : impl_(std::move(impl)) {}
Journal::~Journal() = default;

absl::StatusOr<std::unique_ptr<Journal>> Journal::Open(const std::string& folder) {
  rocksdb::DBOptions options;
  options.create_if_missing = true;
  options.create_missing_column_families = true;
  options.info_log_level = rocksdb::WARN_LEVEL;
  options.keep_log_file_num = 5;
  rocksdb::ColumnFamilyOptions family;
  family.write_buffer_size = kWriteBufferBytes;
  std::vector<rocksdb::ColumnFamilyDescriptor> descriptors;
  for (const char* name : kFamilyNames) descriptors.emplace_back(name, family);
  auto impl = std::make_unique<Impl>();
  rocksdb::DB* db = nullptr;
  std::error_code created;
  std::filesystem::create_directories(folder, created);
  const rocksdb::Status opened =
      rocksdb::DB::Open(options, folder, descriptors, &impl->families, &db);
  if (!opened.ok()) {
    return ToStatus(opened, fmt::format("{} cannot be opened for", folder).c_str());
  }
  impl->db.reset(db);
  return std::unique_ptr<Journal>(new Journal(std::move(impl)));
}

absl::Status Journal::Append(const std::vector<KeyedPoint>& points,
                             const std::vector<KeyedEnd>& ends) {
  if (points.empty() && ends.empty()) return absl::OkStatus();
  rocksdb::WriteBatch batch;
  for (const KeyedPoint& p : points) {
    batch.Put(impl_->families[kPoints], TimeKey(p.point.time_ms, p.series), Bytes(p.point));
  }
  for (const KeyedEnd& end : ends) {
    batch.Put(impl_->families[kEnds], ToSlice(end.series), TimeKey(end.time_ms));
  }
  rocksdb::WriteOptions durable;
  durable.sync = true;
  return ToStatus(impl_->db->Write(durable, &batch), "writing");
}

absl::Status Journal::Settle(int64_t from_ms, int64_t to_ms, const std::vector<KeyedPoint>& newest,
                             const std::vector<std::string>& forgotten) {
  rocksdb::WriteBatch batch;
  batch.DeleteRange(impl_->families[kPoints], TimeKey(from_ms), TimeKey(to_ms));
  for (const KeyedPoint& p : newest) {
    batch.Put(impl_->families[kNewest], ToSlice(p.series), Bytes(p.point));
  }
  for (const std::string& series : forgotten) {
    batch.Delete(impl_->families[kNewest], series);
    batch.Delete(impl_->families[kEnds], series);
  }
  return ToStatus(impl_->db->Write({}, &batch), "settling");
}

absl::Status Journal::ReadPoints(const Visit& visit) const { return impl_->Read(kPoints, visit); }
absl::Status Journal::ReadNewest(const Visit& visit) const { return impl_->Read(kNewest, visit); }

absl::Status Journal::ReadEnds(const std::function<void(const KeyedEnd&)>& visit) const {
  std::unique_ptr<rocksdb::Iterator> it(impl_->db->NewIterator({}, impl_->families[kEnds]));
  for (it->SeekToFirst(); it->Valid(); it->Next()) {
    if (it->value().size() != kTimeBytes) {
      return absl::DataLossError("the end of a received series has the wrong size");
    }
    visit({it->key().ToStringView(), TimeOf(it->value().ToStringView())});
  }
  return ToStatus(it->status(), "reading");
}

}  // namespace foreshadow::receive
