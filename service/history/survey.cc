#include <algorithm>

#include "service/history/chunk.h"
#include "service/history/cursor.h"
#include "service/history/keys.h"
#include "service/history/offline.h"
#include "service/history/rows.h"

namespace foreshadow::history {
namespace {

void Count(Family family, std::string_view key, std::string_view value, Survey& survey,
           Damage& damage) {
  const auto see = [&](int64_t time_ms) {
    survey.oldest_ms = survey.oldest_ms == 0 ? time_ms : std::min(survey.oldest_ms, time_ms);
    survey.newest_ms = std::max(survey.newest_ms, time_ms);
  };
  if (family == kRecent) {
    const bool good = ForEachEntry(RowKey::From(key), value, [&](const Sample& s) {
      ++survey.recent_samples_count;
      see(s.time_ms);
    });
    if (!good) damage.Add(family, key, "it is no row of samples");
    return;
  }
  const int64_t base_ms = StartMs(ChunkKey::From(key).bucket);
  if (family == kChunks) {
    const auto points = DecodePoints(base_ms, value);
    if (!points.ok()) return damage.Add(family, key, std::string(points.status().message()));
    survey.packed_samples_count += std::ssize(*points);
    see(points->front().time_ms);
    see(points->back().time_ms);
    return;
  }
  const auto bins = DecodeBins(base_ms, value);
  if (!bins.ok()) return damage.Add(family, key, std::string(bins.status().message()));
  (family == kHours ? survey.hours_count : survey.five_minutes_count) += std::ssize(*bins);
}

}  // namespace

absl::StatusOr<Survey> SurveyFolder(const std::string& folder) {
  const auto database = Database::Open(folder, Database::Access::kRead);
  if (!database.ok()) return database.status();
  Survey survey;
  Damage damage;
  const Snapshot snapshot((*database)->db());
  for (size_t f = kRecent; f < kFamilies; ++f) {
    const auto family = static_cast<Family>(f);
    FamilySurvey part{Name(family), 0, 0};
    (*database)->db().GetIntProperty((*database)->family(family),
                                     rocksdb::DB::Properties::kTotalSstFilesSize, &part.file_bytes);
    if (IsOfBuckets(family)) {
      for (const uint32_t bucket : BucketsOf(**database, family, snapshot, 0, damage)) {
        if (family != kRecent && bucket < (*database)->kept_from()[ResolutionOf(family)]) continue;
        for (Cursor cursor(**database, family, snapshot, bucket, KeyBytes(family), damage);
             cursor.valid(); cursor.Next(), ++part.entries_count) {
          Count(family, cursor.key(), cursor.value(), survey, damage);
        }
      }
    } else {
      ForEach(**database, family, snapshot, damage,
              [&](std::string_view, std::string_view) { ++part.entries_count; });
      if (family == kAccounts) survey.accounts_count = part.entries_count;
    }
    survey.families.push_back(std::move(part));
  }
  survey.damage = damage.status();
  return survey;
}

}  // namespace foreshadow::history
