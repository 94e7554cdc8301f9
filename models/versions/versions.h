// The folder of one model in a registry: its versions, which of them serves, and who changed what.
//
//   card.json, weights.safetensors   version 0: a plain model folder is a registry of one version
//   versions/0001/                   the same two files, as `add` took them in; never changed again
//   versions/0001/evaluation.json    what a server found while it was the candidate
//   current                          what serves, what did before, the candidate; a JSON line
//   history.jsonl                    every change there was, a JSON line each
//   lock                             held by whoever changes something
//
// `current` is replaced in one step and holds the change that made it, so that a writer killed at
// any moment leaves the state before or after it, and the next writer completes the history.
// Readers need no lock. Functions only, any thread, any process.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "absl/status/status.h"
#include "absl/status/statusor.h"

namespace foreshadow::models {

inline constexpr int kNoVersion = -1;
inline constexpr int kPlainVersion = 0;  // the files straight in the folder
inline constexpr int kVersionMax = 999'999;

struct Change {
  int64_t number = 0;  // from 1, without gap
  std::string action;  // "add", "promote", "rollback", "remove"
  int version = kNoVersion;
  int64_t time_ms = 0;
  std::string who;
  std::string why;
};

struct Versions {
  int serving = kNoVersion;
  int before = kNoVersion;  // what a rollback brings back
  int candidate = kNoVersion;
  int newest = 0;  // highest number ever given; none is given twice
  Change last;     // number 0 = nothing was ever changed
};

// Who asks for a change, and why: for the history.
struct Note {
  int64_t time_ms = 0;
  std::string who;
  std::string why;
};

// "0001" and so on below `folder`; the folder itself for version 0.
std::string VersionFolder(const std::string& folder, int version);
// The file that changes with every change.
std::string CurrentFile(const std::string& folder);
std::string EvaluationFile(const std::string& folder, int version);

// A folder without `current` serves version 0 if it has a card, else nothing. DATA_LOSS names the
// file and the field when it cannot be read.
absl::StatusOr<Versions> ReadVersions(const std::string& folder);

// The numbers there are, ascending.
std::vector<int> ListVersions(const std::string& folder, const Versions& versions);

// Oldest first. A line that a crash of the machine cut is left out.
absl::StatusOr<std::vector<Change>> ReadHistory(const std::string& folder);

// Copies card.json and weights.safetensors of `from` and makes them the candidate; returns its
// number. `check` is given the folder of the copy, and its error ends it: nothing is changed.
absl::StatusOr<int> AddVersion(const std::string& folder, const std::string& from,
                               const std::function<absl::Status(const std::string&)>& check,
                               const Note& note);

// Makes it what serves, whether it loads or not: the caller has tried. NOT_FOUND for a number that
// is not there, FAILED_PRECONDITION when it serves already, or when another version serves by now
// than `serving`, against which the caller judged it.
absl::Status PromoteVersion(const std::string& folder, int version, int serving, const Note& note);

// Brings back what served before; returns its number. FAILED_PRECONDITION when there is none.
absl::StatusOr<int> RollBack(const std::string& folder, const Note& note);

// Deletes a version that neither serves nor is version 0.
absl::Status RemoveVersion(const std::string& folder, int version, const Note& note);

// Keeps what a server found of a version beside it. NOT_FOUND when the version is gone.
absl::Status WriteEvaluation(const std::string& folder, int version, const std::string& json);

}  // namespace foreshadow::models
