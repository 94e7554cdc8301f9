// The journal's file: what is written comes back, a cut end costs the last tick only, damage is
// named with its place, and no bytes whatever end the process.
#include "service/journal/journal.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>
#include <random>

#include "service/journal/depth.h"
#include "service/journal/recorder.h"
#include "tests/unit/service/temporary_folder.h"

namespace foreshadow::journal {
namespace {

using ::testing::AllOf;
using ::testing::ElementsAre;
using ::testing::HasSubstr;
using ::testing::SizeIs;

constexpr int64_t kStepMs = 60'000;
constexpr int64_t kStartMs = 1'700'000'040'000;

std::string BytesOf(const std::string& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

void Put(const std::string& path, const std::string& bytes) {
  std::ofstream(path, std::ios::binary | std::ios::trunc) << bytes;
}

Start MakeStart() {
  Start start;
  start.program = "1.2.3";
  start.machine = "cpu TEST";
  start.started_ms = kStartMs;
  start.config = "[server]\n";
  start.accounts = 1;
  start.decisions = "{}";
  return start;
}

// Something of everything, different at each tick.
Inbox MakeInbox(int tick) {
  Inbox inbox;
  if (tick == 0) inbox.accounts = {{"x", 1, "web", 7, true}, {"y \"\x7f\n", 0, "", 0, false}};
  for (int i = 0; i < 50; ++i) {
    inbox.samples.push_back({(i * 7) % 5, static_cast<SignalKind>(i % kSignals),
                             kStartMs + tick * kStepMs - (i % 3) * kStepMs,
                             0.1f * static_cast<float>(i)});
  }
  inbox.outcomes = {{static_cast<uint64_t>(tick), true, false, "done"},
                    {uint64_t{1} << 60, false, true, "no"}};
  inbox.reports = {{0, true, {"shadow-1", "shadow-2"}}, {1, false, {}}};
  inbox.commands = {{Command::Kind::kApprove, 42}, {Command::Kind::kPause, 0}};
  inbox.alerts = {"look out"};
  return inbox;
}

Decided MakeDecided(int tick) {
  Decided decided;
  decided.failed = tick == 1 ? "disk full" : "";
  decided.risks = "abc";
  decided.decisions = "{\"tick\":" + std::to_string(tick) + "}";
  decided.explanations = {{7, "{\"why\":1}"}, {8, "{}"}};
  decided.started = {7};
  return decided;
}

std::unique_ptr<Writer> WriteTicks(const std::string& path, int ticks) {
  auto writer = Writer::Create(path, MakeStart());
  EXPECT_TRUE(writer.ok()) << writer.status();
  for (int i = 0; i < ticks; ++i) {
    std::optional<ModelId> candidate;
    if (i == 2) candidate = ModelId{"lstm@3", 3};
    EXPECT_TRUE((*writer)
                    ->Begin(kStartMs + i * kStepMs, MakeInbox(i),
                            {{"lstm@2", 0xfedcba9876543210}, {"level", 0}}, candidate)
                    .ok());
    EXPECT_TRUE((*writer)->End(MakeDecided(i)).ok());
  }
  return *std::move(writer);
}

class JournalTest : public ::testing::Test {
 protected:
  // How many ticks can be read, and what ends them.
  struct Read {
    int ticks = 0;
    bool cut = false;
    std::string error;
  };
  Read ReadAll() const {
    Read read;
    auto reader = Reader::Open(path_);
    if (!reader.ok()) return {0, false, std::string(reader.status().message())};
    for (;;) {
      const auto tick = (*reader)->Next();
      if (!tick.ok()) {
        EXPECT_TRUE(absl::IsDataLoss(tick.status())) << tick.status();
        read.error = std::string(tick.status().message());
        return read;
      }
      if (!*tick) break;
      ++read.ticks;
    }
    read.cut = (*reader)->cut();
    return read;
  }

  testing::TemporaryFolder temporary_;
  std::string path_ = temporary_.path() + "/a.journal";
};

TEST_F(JournalTest, GivesBackWhatWasWritten) {
  WriteTicks(path_, 3);
  auto reader = Reader::Open(path_);
  ASSERT_TRUE(reader.ok()) << reader.status();
  const Start& start = (*reader)->start();
  EXPECT_EQ(start.program, "1.2.3");
  EXPECT_EQ(start.config, "[server]\n");
  EXPECT_EQ(start.accounts, 1);
  EXPECT_EQ(start.decisions, "{}");
  for (int i = 0; i < 3; ++i) {
    const auto next = (*reader)->Next();
    ASSERT_TRUE(next.ok()) << next.status();
    ASSERT_TRUE(next->has_value());
    const TickRecord& tick = **next;
    const Inbox inbox = MakeInbox(i);
    EXPECT_EQ(tick.tick_ms, kStartMs + i * kStepMs);
    EXPECT_EQ(tick.inbox.accounts, inbox.accounts);
    ASSERT_EQ(tick.inbox.samples.size(), inbox.samples.size());
    for (size_t s = 0; s < inbox.samples.size(); ++s) {
      EXPECT_EQ(tick.inbox.samples[s].account, inbox.samples[s].account);
      EXPECT_EQ(tick.inbox.samples[s].signal, inbox.samples[s].signal);
      EXPECT_EQ(tick.inbox.samples[s].time_ms, inbox.samples[s].time_ms);
      EXPECT_EQ(tick.inbox.samples[s].value, inbox.samples[s].value);
    }
    ASSERT_THAT(tick.inbox.outcomes, SizeIs(2));
    EXPECT_EQ(tick.inbox.outcomes[1].action_id, uint64_t{1} << 60);
    EXPECT_TRUE(tick.inbox.outcomes[1].final);
    ASSERT_THAT(tick.inbox.reports, SizeIs(2));
    EXPECT_THAT(tick.inbox.reports[0].instances, ElementsAre("shadow-1", "shadow-2"));
    EXPECT_FALSE(tick.inbox.reports[1].reachable);
    ASSERT_THAT(tick.inbox.commands, SizeIs(2));
    EXPECT_EQ(tick.inbox.commands[0].kind, Command::Kind::kApprove);
    EXPECT_EQ(tick.inbox.commands[0].action_id, 42u);
    EXPECT_THAT(tick.inbox.alerts, ElementsAre("look out"));
    EXPECT_EQ(tick.models[0], (ModelId{"lstm@2", 0xfedcba9876543210}));
    EXPECT_EQ(tick.candidate.has_value(), i == 2);
    EXPECT_EQ(tick.decided, MakeDecided(i));
  }
  const auto end = (*reader)->Next();
  ASSERT_TRUE(end.ok());
  EXPECT_FALSE(end->has_value());
  EXPECT_FALSE((*reader)->cut());
  EXPECT_EQ((*reader)->read_bytes(), (*reader)->bytes());
}

TEST_F(JournalTest, MoreThanOnePieceOfSamplesBelongsToOneTick) {
  Inbox inbox;
  for (size_t i = 0; i < kSamplesAPiece + 5; ++i) {
    inbox.samples.push_back({static_cast<int32_t>(i), SignalKind::kCpu, kStartMs, 1});
  }
  auto writer = Writer::Create(path_, MakeStart());
  ASSERT_TRUE(writer.ok());
  ASSERT_TRUE((*writer)->Begin(kStartMs, inbox, {}, std::nullopt).ok());
  ASSERT_TRUE((*writer)->End({}).ok());
  auto reader = Reader::Open(path_);
  ASSERT_TRUE(reader.ok());
  const auto tick = (*reader)->Next();
  ASSERT_TRUE(tick.ok() && tick->has_value()) << tick.status();
  ASSERT_EQ((*tick)->inbox.samples.size(), kSamplesAPiece + 5);
  EXPECT_EQ((*tick)->inbox.samples.back().account, static_cast<int32_t>(kSamplesAPiece + 4));
}

TEST_F(JournalTest, CutAnywhereItLosesTheLastTickOnly) {
  const auto bytes_after = [&](int ticks) {
    std::filesystem::remove(path_);
    return WriteTicks(path_, ticks)->bytes();
  };
  const int64_t two = bytes_after(2);
  const int64_t three = bytes_after(3);
  const std::string whole = BytesOf(path_);
  ASSERT_EQ(std::ssize(whole), three);
  for (int64_t size = two; size <= three; ++size) {
    Put(path_, whole.substr(0, static_cast<size_t>(size)));
    const Read read = ReadAll();
    EXPECT_EQ(read.error, "") << size;
    EXPECT_EQ(read.ticks, size == three ? 3 : 2) << size;
    EXPECT_EQ(read.cut, size != two && size != three) << size;
  }
  // Even of the start.
  Put(path_, whole.substr(0, 10));
  EXPECT_THAT(ReadAll().error, AllOf(HasSubstr(path_), HasSubstr("does not begin with the start")));
}

TEST_F(JournalTest, NamesTheFileAndThePlaceOfDamage) {
  const int64_t two = WriteTicks(path_, 2)->bytes();
  std::filesystem::remove(path_);
  WriteTicks(path_, 3);
  const std::string whole = BytesOf(path_);
  // One byte anywhere: the two ticks before it are there, and the place is that of a record. Very
  // few bits of a frame say nothing: then its checksum has shown that nothing is lost.
  size_t harmless = 0;
  for (size_t at = static_cast<size_t>(two); at < whole.size(); ++at) {
    std::string bytes = whole;
    bytes[at] = static_cast<char>(bytes[at] ^ 0x40);
    Put(path_, bytes);
    const Read read = ReadAll();
    if (read.ticks == 3 && read.error.empty()) {
      ++harmless;
      continue;
    }
    EXPECT_EQ(read.ticks, 2) << at;
    if (read.cut) continue;  // its length said more than there is
    EXPECT_THAT(read.error, AllOf(HasSubstr(path_), HasSubstr("the record at byte "),
                                  HasSubstr(" is damaged: ")))
        << at;
  }
  EXPECT_LE(harmless, whole.size() / 100);
  Put(path_, "no journal at all, but text");
  EXPECT_THAT(ReadAll().error, HasSubstr("the record at byte 0 is damaged"));
  Put(path_, whole + std::string(100, '\0'));
  EXPECT_EQ(ReadAll().ticks, 3);
  EXPECT_THAT(ReadAll().error, HasSubstr("at byte " + std::to_string(whole.size())));
  EXPECT_FALSE(Reader::Open(temporary_.path()).ok());
  EXPECT_FALSE(Reader::Open(temporary_.path() + "/none").ok());
  EXPECT_TRUE(absl::IsAlreadyExists(Writer::Create(path_, MakeStart()).status()));
}

// Rewrites the file record by record, with checksums that hold.
void Rewrite(const std::string& path, const std::function<void(Record&)>& change) {
  auto reader = FrameReader::Open(path);
  ASSERT_TRUE(reader.ok());
  std::filesystem::remove(path);
  auto writer = FrameWriter::Create(path);
  ASSERT_TRUE(writer.ok()) << writer.status();
  std::string content;
  while (*(*reader)->Next(content)) {
    auto record = Decode(content);
    ASSERT_TRUE(record.ok()) << record.status();
    change(*record);
    ASSERT_TRUE((*writer)->Append(Encode(*record)).ok());
  }
}

TEST_F(JournalTest, ADecisionThatWasChangedAfterwardsIsFound) {
  WriteTicks(path_, 3);
  Rewrite(path_, [](Record& record) {
    auto* end = std::get_if<TickEnd>(&record);
    if (end != nullptr && end->tick.tick_ms == kStartMs + kStepMs) {
      end->tick.decided.decisions = "{\"tick\":99}";
    }
  });
  const Read read = ReadAll();
  EXPECT_EQ(read.ticks, 1);
  EXPECT_THAT(read.error, HasSubstr("its digest is"));
}

TEST_F(JournalTest, ALostPieceIsFound) {
  WriteTicks(path_, 2);
  Rewrite(path_, [](Record& record) {
    if (auto* piece = std::get_if<SamplesPiece>(&record)) piece->samples.pop_back();
  });
  EXPECT_THAT(ReadAll().error, HasSubstr("49 samples and 2 accounts came before it, not 50 and 2"));
}

TEST(JournalRecords, RefuseWhatATickMustNotBeGiven) {
  const auto error = [](const Record& record) {
    return std::string(Decode(Encode(record)).status().message());
  };
  EXPECT_THAT(error(SamplesPiece{{{-1, SignalKind::kCpu, 0, 1}}}), HasSubstr("account -1"));
  EXPECT_THAT(error(SamplesPiece{{{0, static_cast<SignalKind>(5), 0, 1}}}), HasSubstr("signal 5"));
  EXPECT_THAT(error(SamplesPiece{{{0, SignalKind::kCpu, -1, 1}}}), HasSubstr("time -1"));
  EXPECT_THAT(error(SamplesPiece{{{0, SignalKind::kCpu, int64_t{1} << 60, 1}}}), HasSubstr("time"));
  Start later = MakeStart();
  later.format = 2;
  EXPECT_THAT(error(later), HasSubstr("format = 2: this program reads 1"));
}

TEST(JournalRecords, NeverFollowBytesTooDeep) {
  for (const char opening : {'\x81', '\x9f', '\xa1', '\xbf', '\x7f', '\x5f'}) {
    EXPECT_FALSE(IsShallow(std::string(10'000'000, opening)));
    EXPECT_FALSE(Decode(std::string(10'000'000, opening)).ok());
  }
}

TEST(JournalRecords, NoBytesEndTheProcess) {
  TickEnd end;
  end.tick.tick_ms = kStartMs;
  end.tick.inbox = MakeInbox(1);
  end.tick.models = {{"lstm", 5}};
  end.tick.candidate = ModelId{"lstm@2", 6};
  end.tick.decided = MakeDecided(1);
  const std::vector<std::string> seeds = {Encode(MakeStart()),
                                          Encode(AccountsPiece{MakeInbox(0).accounts}),
                                          Encode(SamplesPiece{MakeInbox(0).samples}), Encode(end)};
  std::mt19937_64 random(20261128);
  int refused = 0;
  for (int i = 0; i < 40'000; ++i) {
    std::string bytes = seeds[random() % seeds.size()];
    const int changes = 1 + static_cast<int>(random() % 4);
    for (int c = 0; c < changes && !bytes.empty(); ++c) {
      const size_t at = random() % bytes.size();
      switch (random() % 5) {
        case 0:
          bytes[at] = static_cast<char>(random());
          break;
        case 1:
          bytes.erase(at, 1 + random() % 8);
          break;
        case 2:
          bytes.insert(at, std::string(1 + random() % 8, static_cast<char>(random())));
          break;
        case 3:
          bytes.resize(at);
          break;
        default: {
          const std::string& other = seeds[random() % seeds.size()];
          bytes = bytes.substr(0, at) + other.substr(random() % other.size());
        }
      }
    }
    const auto record = Decode(bytes);
    refused += record.ok() ? 0 : 1;
    EXPECT_TRUE(!record.ok() || Decode(Encode(*record)).ok());
  }
  EXPECT_GT(refused, 10'000);
}

TEST_F(JournalTest, NoBytesOfAFileEndTheProcess) {
  WriteTicks(path_, 3);
  const std::string whole = BytesOf(path_);
  std::mt19937_64 random(7);
  for (int i = 0; i < 1'000; ++i) {
    std::string bytes = whole;
    for (int c = 0; c < 3; ++c) bytes[random() % bytes.size()] = static_cast<char>(random());
    if (i % 4 == 0) bytes.resize(random() % bytes.size());
    Put(path_, bytes);
    EXPECT_LE(ReadAll().ticks, 3);
  }
}

class RecorderTest : public ::testing::Test {
 protected:
  RecorderTest() { config_.journal_dir = temporary_.path() + "/new/journals"; }

  std::unique_ptr<Recorder> Open(int64_t now_ms) {
    auto recorder = Recorder::Open(config_, 0, "", now_ms);
    EXPECT_TRUE(recorder.ok()) << recorder.status();
    return recorder.ok() ? *std::move(recorder) : nullptr;
  }
  // A tick whose record does not get smaller by compression.
  static void Tick(Recorder& recorder, int64_t tick_ms, size_t bytes) {
    std::mt19937_64 random(static_cast<uint64_t>(tick_ms));
    Decided decided;
    while (decided.decisions.size() < bytes) decided.decisions += static_cast<char>(random());
    recorder.Begin(tick_ms, {}, {}, nullptr);
    recorder.End(std::move(decided));
  }
  std::vector<std::string> Files() const {
    std::vector<std::string> names;
    const auto paths = ListJournals(config_.journal_dir);
    for (const std::string& path : *paths) {
      names.push_back(std::filesystem::path(path).filename().string());
    }
    return names;
  }

  testing::TemporaryFolder temporary_;
  Config config_;
};

TEST_F(RecorderTest, ARunIsAFileAndTheOldestMakeRoom) {
  config_.journal_bytes_max = 1 << 20;
  Tick(*Open(kStartMs), kStartMs, 300'000);
  Tick(*Open(kStartMs + 1'000), kStartMs, 300'000);
  Tick(*Open(kStartMs + 1'000), kStartMs, 300'000);
  EXPECT_THAT(Files(),
              ElementsAre("2023-11-14T22-14-00.000Z.journal", "2023-11-14T22-14-01.000Z.journal",
                          "2023-11-14T22-14-01.001Z.journal"));
  const auto recorder = Open(kStartMs + 2'000);
  Tick(*recorder, kStartMs, 200'000);
  EXPECT_THAT(Files(),
              ElementsAre("2023-11-14T22-14-01.000Z.journal", "2023-11-14T22-14-01.001Z.journal",
                          "2023-11-14T22-14-02.000Z.journal"));
  Tick(*recorder, kStartMs + kStepMs, 700'000);
  EXPECT_THAT(Files(), ElementsAre("2023-11-14T22-14-02.000Z.journal"));
  EXPECT_EQ(recorder->alert(), "");
  Tick(*recorder, kStartMs + 2 * kStepMs, 400'000);
  EXPECT_THAT(recorder->alert(), AllOf(HasSubstr("no longer recorded until the server starts anew"),
                                       HasSubstr("server.journal_bytes_max = 1048576")));
  Tick(*recorder, kStartMs + 3 * kStepMs, 10);  // harmless
  auto reader = Reader::Open(config_.journal_dir + "/" + Files()[0]);
  ASSERT_TRUE(reader.ok());
  int ticks = 0;
  for (auto tick = (*reader)->Next(); tick.ok() && tick->has_value(); tick = (*reader)->Next()) {
    ++ticks;
  }
  EXPECT_EQ(ticks, 3) << "what is recorded stays";
}

TEST_F(RecorderTest, AFolderThatCannotBeIsNamed) {
  std::ofstream(temporary_.path() + "/file") << "x";
  config_.journal_dir = temporary_.path() + "/file/journals";
  const auto recorder = Recorder::Open(config_, 0, "", kStartMs);
  EXPECT_THAT(std::string(recorder.status().message()),
              AllOf(HasSubstr("server.journal_dir"), HasSubstr("/file/journals")));
}

}  // namespace
}  // namespace foreshadow::journal
