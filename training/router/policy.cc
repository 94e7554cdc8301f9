#include "training/router/policy.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <queue>
#include <utility>

#include "service/learn/aimd.h"
#include "service/learn/guard.h"
#include "training/router/learned.h"

namespace foreshadow::training::router {
namespace {

constexpr double kRiskThreshold = 0.25;  // PlanSettings' default

// A rule of an hour's hold would never come home in an episode of a quarter of one.
LearnSettings AimdSettings() {
  LearnSettings settings;
  settings.hold_ms = 120'000;
  return settings;
}

class None : public SplitPolicy {
  double Decide(const SplitObservation&) override { return 0; }
};

class Ramp : public SplitPolicy {
 public:
  double Decide(const SplitObservation& o) override {
    constexpr double kCheckSeconds = 60;
    constexpr double kStep = 0.1;
    constexpr int kFailedChecksMax = 5;
    constexpr double kSuccessLeast = 0.99;
    since_check_s_ += o.interval_s;
    if (ended_) return 0;
    if (split_ > 0 && since_check_s_ < kCheckSeconds) return split_;
    since_check_s_ = 0;
    const bool failed =
        o.shadow.requests > 0 &&
        (o.shadow.failed > (1 - kSuccessLeast) * o.shadow.requests || o.shadow.p99_ms > o.slo_ms);
    if (failed && ++failed_checks_ >= kFailedChecksMax) {
      ended_ = true;
      return 0;
    }
    if (!failed) split_ = std::min(1.0, split_ + kStep);
    return split_;
  }

 private:
  double split_ = 0;
  double since_check_s_ = 0;
  int failed_checks_ = 0;
  bool ended_ = false;
};

class Aimd : public SplitPolicy {
 public:
  explicit Aimd(bool routed) : routed_(routed) {}
  double Decide(const SplitObservation& o) override { return AimdWish(o, settings_, routed_); }

 private:
  const bool routed_;
  const LearnSettings settings_ = AimdSettings();
};

// A rule's wish as far as the rails allow it.
class Guarded : public SplitPolicy {
 public:
  Guarded(std::unique_ptr<SplitPolicy> rule, bool by_action) : rule_(std::move(rule)) {
    rails_.by_action = by_action;
  }
  double Decide(const SplitObservation& o) override { return rails_.Decide(o, rule_->Decide(o)); }

 private:
  const std::unique_ptr<SplitPolicy> rule_;
  Rails rails_;
};

class Proportional : public SplitPolicy {
  double Decide(const SplitObservation& o) override {
    const double all_rps = SourceRps(o) + o.ready_rps;
    return all_rps > 0 ? o.ready_rps / all_rps : 0;
  }
};

class Ewma : public SplitPolicy {
 public:
  double Decide(const SplitObservation& o) override {
    constexpr double kHalfLifeSeconds = 30;
    constexpr double kLeast = 0.05;  // of each side, to go on measuring it
    const double keep = std::exp2(-o.interval_s / kHalfLifeSeconds);
    const Measured* sides[] = {&o.primary, &o.shadow};
    std::array<double, 2> weight{};
    for (int i = 0; i < 2; ++i) {
      if (sides[i]->requests > 0) {
        const double failed = sides[i]->failed / sides[i]->requests;
        const double p99_ms = std::max(sides[i]->p99_ms, 1.0);
        latency_ms_[i] = latency_ms_[i] > 0 ? keep * latency_ms_[i] + (1 - keep) * p99_ms : p99_ms;
        success_[i] = keep * success_[i] + (1 - keep) * (1 - failed);
      }
      weight[i] = latency_ms_[i] > 0 ? success_[i] * success_[i] / latency_ms_[i] : 0;
    }
    if (latency_ms_[1] <= 0) return 0.1;  // its first share
    const double sum = weight[0] + weight[1];
    return sum > 0 ? std::clamp(weight[1] / sum, kLeast, 1 - kLeast) : 0.5;
  }

 private:
  std::array<double, 2> latency_ms_{};
  std::array<double, 2> success_{1, 1};
};

class PeakEwma : public SplitPolicy, public RequestBalancer {
 public:
  double Decide(const SplitObservation&) override { return 0; }
  RequestBalancer* balancer() override { return this; }

  bool PickShadow(const RequestView& view, double random) override {
    while (!pending_.empty() && pending_.top().done_ms <= view.now_ms) {
      Take(pending_.top());
      pending_.pop();
    }
    const double primary = cost_[0].value_ms * (view.in_flight[0] + 1);
    const double shadow = cost_[1].value_ms * (view.in_flight[1] + 1);
    return shadow < primary || (shadow == primary && random < 0.5);
  }

  void Answered(bool shadow, double done_ms, double latency_ms, bool failed) override {
    constexpr double kPenaltyMs = 5'000;  // Linkerd's
    pending_.push(
        {done_ms, shadow ? 1 : 0, failed ? std::max(latency_ms, kPenaltyMs) : latency_ms});
  }

 private:
  struct Done {
    double done_ms = 0;
    int side = 0;
    double latency_ms = 0;
    bool operator>(const Done& other) const { return done_ms > other.done_ms; }
  };
  struct Cost {
    double value_ms = 30;  // until the first answer
    double at_ms = 0;
  };

  void Take(const Done& done) {
    constexpr double kTauMs = 10'000;
    Cost& cost = cost_[done.side];
    const double keep = std::exp(-(done.done_ms - cost.at_ms) / kTauMs);
    cost.value_ms = done.latency_ms > cost.value_ms
                        ? done.latency_ms
                        : keep * cost.value_ms + (1 - keep) * done.latency_ms;
    cost.at_ms = done.done_ms;
  }

  std::array<Cost, 2> cost_;
  std::priority_queue<Done, std::vector<Done>, std::greater<>> pending_;
};

class Bandit : public SplitPolicy {
 public:
  double Decide(const SplitObservation& o) override {
    constexpr double kBudgetShare = 0.01;  // of the requests seen may be harmed by the release
    constexpr double kZ95 = 1.645;
    constexpr double kPriorHarm = 0.05;
    constexpr double kPriorRequests = 20;
    constexpr double kFirst = 0.05;
    requests_ += o.primary.requests + o.shadow.requests;
    shadow_requests_ += o.shadow.requests;
    shadow_harmed_ += o.shadow.failed + o.shadow.slow;
    const double next = o.demand_rps * o.interval_s;
    const double budget = kBudgetShare * (requests_ + next * kStages) - shadow_harmed_;
    if (budget <= 0 || next <= 0) return 0;
    const double seen = shadow_requests_ + kPriorRequests;
    const double harm = (shadow_harmed_ + kPriorHarm * kPriorRequests) / seen;
    const double spread = std::sqrt(harm * (1 - harm));
    // Largest m with m harm + z sqrt(m^2 spread^2 / seen + m spread^2) within the stage's budget.
    const double stage = budget / kStages * kFront;
    double low = 0;
    double high = next;
    for (int i = 0; i < 40; ++i) {
      const double m = (low + high) / 2;
      const double worst = m * harm + kZ95 * spread * std::sqrt(m * m / seen + m);
      (worst <= stage ? low : high) = m;
    }
    return std::max(shadow_requests_ > 0 ? 0.0 : kFirst, low / next);
  }

 private:
  static constexpr double kStages = 10;
  static constexpr double kFront = 4;  // early stages learn most
  double requests_ = 0;
  double shadow_requests_ = 0;
  double shadow_harmed_ = 0;
};

}  // namespace

const std::vector<std::string_view>& RuleNames() {
  static const auto* names = new std::vector<std::string_view>{
      "none",         "ramp",          "aimd", "aimd-routed",
      "aimd-guarded", "proportional",  "ewma", "proportional-guarded",
      "ewma-guarded", "ready-guarded", "p2c",  "bandit"};
  return *names;
}

std::unique_ptr<SplitPolicy> MakeRule(std::string_view name, double shed_max) {
  if (name == "none") return std::make_unique<None>();
  if (name == "ramp") return std::make_unique<Ramp>();
  if (name == "aimd") return std::make_unique<Aimd>(false);
  if (name == "aimd-routed") return std::make_unique<Aimd>(true);
  if (name == "aimd-guarded") return std::make_unique<Guarded>(MakeRule("aimd-routed"), true);
  if (name == "proportional") return std::make_unique<Proportional>();
  if (name == "ewma") return std::make_unique<Ewma>();
  if (name == "proportional-guarded") {
    return std::make_unique<Guarded>(MakeRule("proportional"), false);
  }
  if (name == "ewma-guarded") return std::make_unique<Guarded>(MakeRule("ewma"), false);
  if (name == "ready-guarded") {
    return std::make_unique<Learned>(nullptr, AgentSettings{.guard = {.shed_max = shed_max}}, 1);
  }
  if (name == "p2c") return std::make_unique<PeakEwma>();
  if (name == "bandit") return std::make_unique<Bandit>();
  return nullptr;
}

double WithinRails(const GuardState& state, double split, double wanted) {
  if (state.verdict == ShadowVerdict::kStale) return split;
  double most = 0;  // that it may be where it must fall
  for (int a = 0; a < kSplitActions; ++a) {
    if (state.allowed[a]) most = std::max(most, state.split[a]);
  }
  const bool may_stay = state.allowed[static_cast<int>(SplitAction::kHold)];
  return std::clamp(wanted, 0.0, may_stay ? state.ceiling : most);
}

double Rails::Decide(const SplitObservation& o, double wish) {
  const ShadowVerdict verdict = Remember(o, settings, memory);
  const GuardState state = Allow(o, settings, memory, verdict);
  const double split = by_action ? state.split[static_cast<int>(Nearest(state, wish))]
                                 : WithinRails(state, o.split, wish);
  Moved(o.split, split, memory);
  return split;
}

double AimdWish(const SplitObservation& o, const LearnSettings& settings, bool routed) {
  const bool urgent = o.source_load >= 1 || o.source_load_next_p50 >= 1;
  if (routed && o.target_risk >= 1) return urgent ? o.split : 0;
  if (routed && urgent) return settings.split_max;
  if (o.split == 0) {
    return o.overload_probability >= kRiskThreshold ? settings.first_split : 0;
  }
  const double rest = 1 - o.split;
  const AimdView view = {
      .split = o.split,
      .source_risk_without = o.overload_probability,
      .source_risk = rest * o.source_load_peak_p95 < 1 ? 0.0 : o.overload_probability,
      .target_risk = o.target_risk,
      .held = 1'000 * o.since_sharing_s < static_cast<double>(settings.hold_ms),
  };
  return AimdSplit(view, kRiskThreshold, settings);
}

}  // namespace foreshadow::training::router
