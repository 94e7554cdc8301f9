#include "service/journal/records.h"

#include <fmt/core.h>
#include <openssl/sha.h>

#include <array>
#include <bit>
#include <cstring>
#include <nlohmann/json.hpp>

#include "service/journal/depth.h"
#include "service/learn/q_policy.h"

namespace foreshadow {

// Every field of what an inbox holds, by name. A field that is not listed here would be missing at
// a replay, so that each list is held against the type itself.
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Account, id, cell, application, priority, pinned, stateful)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Outcome, action_id, done, final, message)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(CellReport, cell, reachable, instances)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Command, kind, action_id, account, reason, key, value)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(SideMeasure, instance_id, account, shadow, read_ms, age_ms,
                                   seconds, requests, failed, slow, p50_ms, p99_ms, warmth,
                                   in_flight, clients_behind)
// Samples and accounts go ahead in pieces; forecasts are the simulator's alone.
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Inbox, outcomes, reports, commands, alerts, measures)

[[maybe_unused]] static void EveryFieldIsListed(const Account& a, const Outcome& o,
                                                const CellReport& r, const Command& c,
                                                const SideMeasure& m, const Inbox& i) {
  [[maybe_unused]] const auto& [a1, a2, a3, a4, a5, a6] = a;
  [[maybe_unused]] const auto& [o1, o2, o3, o4] = o;
  [[maybe_unused]] const auto& [r1, r2, r3] = r;
  [[maybe_unused]] const auto& [c1, c2, c3, c4, c5, c6] = c;
  [[maybe_unused]] const auto& [m1, m2, m3, m4, m5, m6, m7, m8, m9, m10, m11, m12, m13, m14] = m;
  [[maybe_unused]] const auto& [accounts, samples, i1, i2, i3, i4, forecasts, i5] = i;
}

namespace journal {

NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(ModelId, label, fingerprint)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Start, format, program, machine, started_ms, config, accounts,
                                   decisions, split_policy)
NLOHMANN_DEFINE_TYPE_NON_INTRUSIVE(Decided, failed, risks, decisions, explanations, started)

namespace {

using nlohmann::json;

// Columns are copied as they lie in memory, and the file is little-endian.
static_assert(std::endian::native == std::endian::little);

constexpr int64_t kTimeMaxMs = 253'402'300'799'999;  // the end of the year 9999

struct Bad {
  std::string what;
};

template <typename T>
json Packed(const std::vector<T>& values) {
  std::vector<uint8_t> bytes(values.size() * sizeof(T));
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return json::binary(std::move(bytes));
}

template <typename T>
std::vector<T> Unpacked(const json& record, const char* column, size_t count) {
  const json& found = record.at(column);
  if (!found.is_binary() || found.get_binary().size() != count * sizeof(T)) {
    throw Bad{fmt::format("{} is not a column of {} values", column, count)};
  }
  std::vector<T> values(count);
  std::memcpy(values.data(), found.get_binary().data(), count * sizeof(T));
  return values;
}

// Neighbours are alike: their differences are small numbers, and unsigned ones wrap around.
template <typename T>
void ToDifferences(std::vector<T>& values) {
  for (size_t i = values.size(); i-- > 1;) values[i] -= values[i - 1];
}
template <typename T>
void FromDifferences(std::vector<T>& values) {
  for (size_t i = 1; i < values.size(); ++i) values[i] += values[i - 1];
}

json ToRecord(const Start& start) {
  json record = start;
  record["record"] = "start";
  return record;
}

json ToRecord(const AccountsPiece& piece) {
  return {{"record", "accounts"}, {"accounts", piece.accounts}};
}

json ToRecord(const SamplesPiece& piece) {
  const size_t count = piece.samples.size();
  std::vector<uint32_t> accounts(count);
  std::vector<uint8_t> signals(count);
  std::vector<uint64_t> times(count);
  std::vector<float> values(count);
  for (size_t i = 0; i < count; ++i) {
    const Sample& sample = piece.samples[i];
    accounts[i] = static_cast<uint32_t>(sample.account);
    signals[i] = static_cast<uint8_t>(sample.signal);
    times[i] = static_cast<uint64_t>(sample.time_ms);
    values[i] = sample.value;
  }
  ToDifferences(accounts);
  ToDifferences(times);
  return {{"record", "samples"},       {"count", count},           {"account", Packed(accounts)},
          {"signal", Packed(signals)}, {"time_ms", Packed(times)}, {"value", Packed(values)}};
}

json ToRecord(const TickEnd& end) {
  const TickRecord& tick = end.tick;
  return {{"record", "tick"},
          {"tick_ms", tick.tick_ms},
          {"samples", end.samples},
          {"accounts", end.accounts},
          {"inbox", tick.inbox},
          {"models", tick.models},
          {"candidate", tick.candidate ? json(*tick.candidate) : json()},
          {"decided", tick.decided},
          {"digest", tick.digest}};
}

int64_t TimeFrom(const json& record, const char* field) {
  const auto time_ms = record.at(field).get<int64_t>();
  if (time_ms < 0 || time_ms > kTimeMaxMs) throw Bad{fmt::format("{} = {}", field, time_ms)};
  return time_ms;
}

Start StartFrom(const json& record) {
  if (const int format = record.at("format").get<int>(); format != kFormat) {
    throw Bad{fmt::format("format = {}: this program reads {}", format, kFormat)};
  }
  return record.get<Start>();
}

AccountsPiece AccountsFrom(const json& record) {
  AccountsPiece piece;
  record.at("accounts").get_to(piece.accounts);
  return piece;
}

SamplesPiece SamplesFrom(const json& record) {
  const auto count = record.at("count").get<size_t>();
  if (count > kSamplesAPiece) throw Bad{fmt::format("count = {}", count)};
  auto accounts = Unpacked<uint32_t>(record, "account", count);
  const auto signals = Unpacked<uint8_t>(record, "signal", count);
  auto times = Unpacked<uint64_t>(record, "time_ms", count);
  const auto values = Unpacked<float>(record, "value", count);
  FromDifferences(accounts);
  FromDifferences(times);
  SamplesPiece piece;
  piece.samples.reserve(count);
  for (size_t i = 0; i < count; ++i) {
    const Sample sample{static_cast<int32_t>(accounts[i]), static_cast<SignalKind>(signals[i]),
                        static_cast<int64_t>(times[i]), values[i]};
    if (sample.account < 0 || signals[i] >= kSignals || sample.time_ms < 0 ||
        sample.time_ms > kTimeMaxMs) {
      throw Bad{fmt::format("sample {} is of account {}, signal {}, time {}", i, sample.account,
                            signals[i], sample.time_ms)};
    }
    piece.samples.push_back(sample);
  }
  return piece;
}

TickEnd TickFrom(const json& record) {
  TickEnd end;
  TickRecord& tick = end.tick;
  tick.tick_ms = TimeFrom(record, "tick_ms");
  record.at("samples").get_to(end.samples);
  record.at("accounts").get_to(end.accounts);
  record.at("inbox").get_to(tick.inbox);
  record.at("models").get_to(tick.models);
  if (!record.at("candidate").is_null()) tick.candidate = record.at("candidate").get<ModelId>();
  record.at("decided").get_to(tick.decided);
  record.at("digest").get_to(tick.digest);
  return end;
}

Record RecordFrom(const json& record) {
  const auto kind = record.at("record").get<std::string>();
  if (kind == "start") return StartFrom(record);
  if (kind == "accounts") return AccountsFrom(record);
  if (kind == "samples") return SamplesFrom(record);
  if (kind == "tick") return TickFrom(record);
  throw Bad{fmt::format("record = {}: unknown", kind)};
}

}  // namespace

ModelId IdOf(const models::Forecaster& model) {
  return {models::Label(model), model.fingerprint()};
}

ModelId IdOf(const QPolicy* policy) {
  if (policy == nullptr) return {};
  return {policy->card().version, policy->fingerprint()};
}

std::vector<ModelId> IdsOf(const ModelList& models) {
  std::vector<ModelId> ids;
  for (const auto& model : models) ids.push_back(IdOf(*model));
  return ids;
}

std::string Words(const ModelId& model) {
  return model.fingerprint == 0 ? model.label
                                : fmt::format("{} ({:016x})", model.label, model.fingerprint);
}

std::string Sha256(std::string_view bytes) {
  std::array<unsigned char, SHA256_DIGEST_LENGTH> digest;
  SHA256(reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size(), digest.data());
  std::string hex;
  for (const unsigned char byte : digest) hex += fmt::format("{:02x}", byte);
  return hex;
}

std::string DigestOf(const Decided& decided, std::string_view digest_before) {
  const std::vector<uint8_t> bytes = json::to_cbor(json(decided));
  std::string all(digest_before);
  all.append(reinterpret_cast<const char*>(bytes.data()), bytes.size());
  return Sha256(all);
}

std::string Encode(const Record& record) {
  std::string bytes;
  json::to_cbor(std::visit([](const auto& what) { return ToRecord(what); }, record), bytes);
  return bytes;
}

absl::StatusOr<Record> Decode(std::string_view bytes) {
  try {
    if (!IsShallow(bytes)) throw Bad{"it is not CBOR, or nested too deep"};
    return RecordFrom(json::from_cbor(bytes.begin(), bytes.end()));
  } catch (const Bad& bad) {
    return absl::InvalidArgumentError(bad.what);
  } catch (const json::exception& error) {
    return absl::InvalidArgumentError(error.what());
  }
}

}  // namespace journal
}  // namespace foreshadow
