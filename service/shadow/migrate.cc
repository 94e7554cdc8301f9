#include "service/shadow/migrate.h"

#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <utility>

#include "service/learn/guard.h"

namespace foreshadow {
namespace {

constexpr double kRounding = 1e-9;
constexpr double kTailShare = 0.01;  // that a 99th percentile leaves out
// Measurements that are older than that, or than three intervals, are none.
constexpr double kStaleSeconds = 30;

enum class StepVerdict : uint8_t { kGood, kUndecided, kFailing };

double Raised(double split, double step, int64_t steps) {
  const double before = std::floor(split / step + kRounding);
  return std::min(1.0, (before + static_cast<double>(steps)) * step);
}

void BeginStep(double split, int64_t now_ms, Shadow& shadow) {
  shadow.wanted_split = split;
  Migration& m = shadow.migration;
  m.step_since_ms = now_ms;
  m.requests = m.failed = m.primary_requests = m.primary_failed = 0;
}

bool Fresh(const MigrationView& in) {
  const AccountMeasures& m = in.measures;
  const double age_max_s = std::max(kStaleSeconds, 3 * static_cast<double>(in.step_ms) / 1'000);
  return m.known && m.age_s <= age_max_s && Plausible(m.primary) && Plausible(m.shadow);
}

// Whether the shadow surely answers more than it may later than it may, and later than the primary.
bool SurelySlow(const MigrationView& in, const Migration& m) {
  const Measured& shadow = in.measures.shadow;
  const double late = WilsonInterval(shadow.slow, shadow.requests - shadow.failed).low;
  return late > kTailShare && shadow.p99_ms > in.settings.p99_ratio_max * m.primary_p99_ms;
}

double ErrorShareMax(const MigrationView& in, const Migration& m) {
  const double primary =
      m.primary_requests > 0 ? WilsonInterval(m.primary_failed, m.primary_requests).high : 0;
  return std::max(in.settings.error_share_max, primary);
}

StepVerdict Judge(const MigrationView& in, Migration& m, std::string& why) {
  if (!Fresh(in)) return m.measured ? StepVerdict::kUndecided : StepVerdict::kGood;
  const Measured& shadow = in.measures.shadow;
  const Measured& primary = in.measures.primary;
  m.measured = true;
  m.requests += shadow.requests;
  m.failed += shadow.failed;
  m.primary_requests += primary.requests;
  m.primary_failed += primary.failed;
  if (primary.requests - primary.failed >= in.settings.samples_min) {
    m.primary_p99_ms = primary.p99_ms;
  }
  const double may_fail = ErrorShareMax(in, m);
  // One that turns bad shows in the newest interval first.
  const double surely_failed = std::max(WilsonInterval(m.failed, m.requests).low,
                                        WilsonInterval(shadow.failed, shadow.requests).low);
  if (surely_failed > may_fail) {
    why = fmt::format(
        "{:.0f} of {:.0f} requests to the shadow failed, {:.0f} of {:.0f} to the "
        "primary",
        m.failed, m.requests, m.primary_failed, m.primary_requests);
    return StepVerdict::kFailing;
  }
  if (SurelySlow(in, m)) {
    why = fmt::format("the shadow's p99 is {:.3g} ms, the primary's was {:.3g} ms", shadow.p99_ms,
                      m.primary_p99_ms);
    return StepVerdict::kFailing;
  }
  const bool nobody_asks = in.evacuates && m.requests == 0 && m.primary_requests == 0;
  const bool clean = (m.requests > 0 || nobody_asks) && m.failed == 0;
  const bool enough = m.requests >= in.settings.samples_min ||
                      (clean && in.now_ms - m.step_since_ms >= in.settings.few_hold_ms);
  const bool well = m.failed <= may_fail * m.requests;
  return enough && well ? StepVerdict::kGood : StepVerdict::kUndecided;
}

// The old primary is asked nothing any more and has answered what it was asked.
bool Drained(const MigrationView& in, const Migration& m) {
  if (in.now_ms - m.drain_since_ms >= in.settings.drain_ms) return true;
  return Fresh(in) && in.measures.clients_behind == 0 && in.measures.primary_in_flight == 0;
}

}  // namespace

void BeginMigration(const MigrateSettings& settings, int64_t now_ms, Shadow& shadow) {
  const int64_t aborted_ms = shadow.migration.aborted_ms;
  shadow.migration = {};
  shadow.migration.from = shadow.split;
  shadow.migration.aborted_ms = aborted_ms;
  BeginStep(Raised(shadow.split, settings.step, 1), now_ms, shadow);
}

MigrationDecision Migrate(const MigrationView& in, Shadow& shadow) {
  // There is nothing to compare with, and nobody to wait for.
  if (shadow.failed_over) return {MigrationTurn::kHandOver, ""};
  Migration& m = shadow.migration;
  std::string why;
  const StepVerdict verdict = Judge(in, m, why);
  const int64_t held_ms = in.now_ms - m.step_since_ms;
  switch (verdict) {
    case StepVerdict::kFailing:
      return {MigrationTurn::kCallOff, std::move(why), /*harmful=*/true};
    case StepVerdict::kUndecided:
      if (held_ms < in.settings.undecided_ms) return {};
      return {MigrationTurn::kCallOff,
              fmt::format("{:.0f} requests to the shadow in {} s could not judge it", m.requests,
                          held_ms / 1'000)};
    case StepVerdict::kGood:
      break;
  }
  if (held_ms < in.settings.step_hold_ms || held_ms == 0) return {};
  if (shadow.split < 1) {
    // Where nothing is measured time alone counts: a long tick is worth several steps.
    const int64_t hold_ms = in.settings.step_hold_ms;
    const int64_t steps = m.measured || hold_ms == 0 ? 1 : held_ms / hold_ms;
    BeginStep(Raised(shadow.split, in.settings.step, steps), in.now_ms, shadow);
    return {};
  }
  // The split in force was set by the tick before at the latest: nobody asks the primary since.
  if (m.drain_since_ms == 0) m.drain_since_ms = in.now_ms - in.step_ms;
  return {Drained(in, m) ? MigrationTurn::kHandOver : MigrationTurn::kGoOn, ""};
}

void CallOffMigration(std::string harm, int64_t now_ms, Shadow& shadow) {
  Migration& m = shadow.migration;
  m.aborted_ms = now_ms;
  m.step_since_ms = m.drain_since_ms = 0;
  m.reason = std::move(harm);
  shadow.wanted_split = m.from;
}

}  // namespace foreshadow
