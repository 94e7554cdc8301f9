#include "service/journal/journal.h"

#include <fmt/core.h>

#include <algorithm>
#include <utility>

namespace foreshadow::journal {
namespace {

// The digest of the first tick goes on from the start.
std::string DigestOfStart(const Start& start) { return Sha256(Encode(start)); }

}  // namespace

absl::StatusOr<std::unique_ptr<Writer>> Writer::Create(const std::string& path,
                                                       const Start& start) {
  auto frames = FrameWriter::Create(path);
  if (!frames.ok()) return frames.status();
  std::unique_ptr<Writer> writer(new Writer(*std::move(frames)));
  if (absl::Status status = writer->Append(start); !status.ok()) return status;
  writer->digest_ = DigestOfStart(start);
  return writer;
}

absl::Status Writer::Append(const Record& record) { return frames_->Append(Encode(record)); }

absl::Status Writer::Begin(int64_t tick_ms, const Inbox& inbox, std::vector<ModelId> models,
                           std::optional<ModelId> candidate) {
  open_ = {};
  open_.tick.tick_ms = tick_ms;
  open_.tick.models = std::move(models);
  open_.tick.candidate = std::move(candidate);
  open_.samples = std::ssize(inbox.samples);
  open_.accounts = std::ssize(inbox.accounts);
  Inbox& rest = open_.tick.inbox;
  rest = {{},           {},      inbox.outcomes, inbox.reports, inbox.commands,
          inbox.alerts, nullptr, inbox.measures};
  for (auto from = inbox.accounts.begin(); from != inbox.accounts.end();) {
    const auto end = from + std::min<std::ptrdiff_t>(kAccountsAPiece, inbox.accounts.end() - from);
    if (auto status = Append(AccountsPiece{{from, end}}); !status.ok()) return status;
    from = end;
  }
  for (auto from = inbox.samples.begin(); from != inbox.samples.end();) {
    const auto end = from + std::min<std::ptrdiff_t>(kSamplesAPiece, inbox.samples.end() - from);
    if (auto status = Append(SamplesPiece{{from, end}}); !status.ok()) return status;
    from = end;
  }
  return absl::OkStatus();
}

absl::Status Writer::End(Decided decided) {
  open_.tick.digest = digest_ = DigestOf(decided, digest_);
  open_.tick.decided = std::move(decided);
  return Append(std::exchange(open_, {}));
}

absl::StatusOr<std::unique_ptr<Reader>> Reader::Open(const std::string& path) {
  auto frames = FrameReader::Open(path);
  if (!frames.ok()) return frames.status();
  std::unique_ptr<Reader> reader(new Reader(*std::move(frames)));
  auto first = reader->NextRecord();
  if (!first.ok()) return first.status();
  auto* start = *first ? std::get_if<Start>(&**first) : nullptr;
  if (start == nullptr) {
    return absl::InvalidArgumentError(
        fmt::format("journal {}: it does not begin with the start of a server", path));
  }
  reader->start_ = std::move(*start);
  reader->digest_ = DigestOfStart(reader->start_);
  return reader;
}

absl::Status Reader::Damaged(const std::string& why) const {
  return absl::DataLossError(fmt::format("journal {}: the record at byte {} is damaged: {}",
                                         frames_->path(), frames_->offset(), why));
}

absl::StatusOr<std::optional<Record>> Reader::NextRecord() {
  std::string content;
  const auto there = frames_->Next(content);
  if (!there.ok()) return there.status();
  if (!*there) return std::nullopt;
  auto record = Decode(content);
  if (!record.ok()) return Damaged(std::string(record.status().message()));
  return *std::move(record);
}

absl::StatusOr<std::optional<TickRecord>> Reader::Next() {
  std::vector<Sample> samples;
  std::vector<Account> accounts;
  for (;;) {
    auto record = NextRecord();
    if (!record.ok()) return record.status();
    if (!*record) {
      cut_ = frames_->cut() || !samples.empty() || !accounts.empty();
      return std::nullopt;
    }
    if (const auto* piece = std::get_if<SamplesPiece>(&**record)) {
      samples.insert(samples.end(), piece->samples.begin(), piece->samples.end());
    } else if (auto* some = std::get_if<AccountsPiece>(&**record)) {
      std::ranges::move(some->accounts, std::back_inserter(accounts));
    } else if (auto* end = std::get_if<TickEnd>(&**record)) {
      if (end->samples != std::ssize(samples) || end->accounts != std::ssize(accounts)) {
        return Damaged(fmt::format("{} samples and {} accounts came before it, not {} and {}",
                                   samples.size(), accounts.size(), end->samples, end->accounts));
      }
      TickRecord tick = std::move(end->tick);
      if (tick.tick_ms < tick_ms_) {
        return Damaged(fmt::format("tick_ms = {} after {}", tick.tick_ms, tick_ms_));
      }
      tick_ms_ = tick.tick_ms;
      digest_ = DigestOf(tick.decided, digest_);
      if (tick.digest != digest_) {
        return Damaged(
            fmt::format("its digest is {}, that of its content {}", tick.digest, digest_));
      }
      tick.inbox.samples = std::move(samples);
      tick.inbox.accounts = std::move(accounts);
      return tick;
    } else {
      return Damaged("a second start");
    }
  }
}

}  // namespace foreshadow::journal
