// All that a tick may not do by itself: tell the time, draw a random number, write to disk, tell a
// cell. The server's world is real; the simulator's and the tests' are made of plain memory, and
// the very same tick runs in each. Called from the tick's thread only.
#pragma once

#include <cstdint>

#include "absl/status/status.h"
#include "service/tick/types.h"

namespace foreshadow {

class World {
 public:
  virtual ~World() = default;

  // Time of the tick, Unix ms: the start of the newest sampling step that is complete, by the wall
  // clock or, under `clock = "data"`, by the telemetry's watermark. Every time in a plan is a
  // tick's. A step `h` ahead starts at NowMs() + h * step_ms.
  virtual int64_t NowMs() = 0;
  // Elapsed time for the stage times in the report; decides nothing.
  virtual double ElapsedMs() = 0;
  // From the seed; the same sequence in every run.
  virtual uint64_t Random() = 0;

  // Durable when it returns OK. On an error nothing was written and the tick changes nothing.
  virtual absl::Status Write(const Commit& commit) = 0;

  // Begins to carry out a committed action (create, resume, pause, destroy) or repeats it; its
  // outcome comes with a later Inbox. Must not block on the network.
  virtual void Start(const Action& action) = 0;

  // Whether the tick is to be given up; it looks before each part of the long stages. Once true it
  // stays so. From any thread.
  virtual bool Stopping() const { return false; }
};

}  // namespace foreshadow
