// What a journal holds: one Start, then the ticks of that run of the server.
// docs/formats/journal.md tells the bytes. Values and functions of values.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

#include "absl/status/statusor.h"
#include "service/tick/tick.h"
#include "service/tick/types.h"

namespace foreshadow::journal {

inline constexpr int kFormat = 1;

// Samples and accounts of one tick come in pieces of at most so many, ahead of it: a start reads a
// whole window of them.
inline constexpr size_t kSamplesAPiece = 1 << 20;
inline constexpr size_t kAccountsAPiece = 1 << 16;

// A model as it forecast: another one under the same name is told by the fingerprint.
struct ModelId {
  std::string label;
  uint64_t fingerprint = 0;

  bool operator==(const ModelId&) const = default;
};

struct Start {
  int format = kFormat;
  std::string program;  // version of the program that wrote it
  std::string machine;  // on which its numbers were computed: the kernels' instructions
  int64_t started_ms = 0;
  std::string config;     // TOML
  int64_t accounts = 0;   // known at the start: the first ones of the first inbox
  std::string decisions;  // JSON that an earlier run left; "" = none
  ModelId split_policy;   // that was loaded; fingerprint 0 = none
};

ModelId IdOf(const models::Forecaster& model);
ModelId IdOf(const QPolicy* policy);  // null: none
std::vector<ModelId> IdsOf(const ModelList& models);
std::string Words(const ModelId& model);

// Everything a tick decided, as text and numbers that are equal or not.
struct Decided {
  std::string failed;     // why nothing was written; "" = it was
  std::string risks;      // SHA-256 of what was foreseen of every cell
  std::string decisions;  // DecisionsToJson
  std::vector<std::pair<uint64_t, std::string>> explanations;  // by action, ExplanationToJson
  std::vector<uint64_t> started;                               // actions that cells were told

  bool operator==(const Decided&) const = default;
};

// SHA-256 of all of it and of all before it.
std::string DigestOf(const Decided& decided, std::string_view digest_before);
std::string Sha256(std::string_view bytes);  // in hexadecimal digits

struct TickRecord {
  int64_t tick_ms = 0;
  Inbox inbox;
  std::vector<ModelId> models;       // best first
  std::optional<ModelId> candidate;  // that was evaluated
  Decided decided;
  std::string digest;
};

// As they lie in the file. The pieces belong to the tick that follows.
struct SamplesPiece {
  std::vector<Sample> samples;
};
struct AccountsPiece {
  std::vector<Account> accounts;
};
struct TickEnd {
  TickRecord tick;      // without samples and accounts,
  int64_t samples = 0;  // of which so many came before
  int64_t accounts = 0;
};
using Record = std::variant<Start, SamplesPiece, AccountsPiece, TickEnd>;

std::string Encode(const Record& record);

// INVALID_ARGUMENT tells what is wrong. Any bytes may come: what is returned holds only what a tick
// may be given, but for indices of cells, which depend on the configuration.
absl::StatusOr<Record> Decode(std::string_view bytes);

}  // namespace foreshadow::journal
