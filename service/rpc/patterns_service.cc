#include <fmt/core.h>

#include <unordered_set>

#include "foreshadow/v1/patterns.grpc.pb.h"
#include "service/rpc/convert.h"
#include "service/rpc/services.h"

namespace foreshadow::rpc {
namespace {

constexpr int kAccountsMax = 10'000;  // of one answer
constexpr double kHourMs = 3'600'000;

v1::SpikeShape ShapeToProto(kernels::EventShape shape) {
  switch (shape) {
    case kernels::EventShape::kPulse:
      return v1::SPIKE_SHAPE_PULSE;
    case kernels::EventShape::kPlateau:
      return v1::SPIKE_SHAPE_PLATEAU;
    case kernels::EventShape::kDecay:
      return v1::SPIKE_SHAPE_DECAY;
    case kernels::EventShape::kRampUp:
      return v1::SPIKE_SHAPE_RAMP_UP;
    case kernels::EventShape::kHump:
      return v1::SPIKE_SHAPE_HUMP;
    case kernels::EventShape::kStep:  // no spike's
      break;
  }
  return v1::SPIKE_SHAPE_UNSPECIFIED;
}

void AddSeries(const TickReport& report, const Account& account, SignalKind signal,
               const SeriesPattern& pattern, v1::GetPatternsResponse& response) {
  const int64_t step_ms = report.forecasts->step_ms;
  v1::SeriesPatterns* series = response.add_series();
  series->set_account_id(account.id);
  series->set_signal(ToProto(signal));
  for (size_t k = 0; k < pattern.periods.size() && pattern.periods[k] > 0; ++k) {
    series->add_periods_ms(pattern.periods[k] * step_ms);
    series->add_period_strengths(pattern.strengths[k]);
  }
  series->set_trend_per_hour(
      static_cast<float>(pattern.trend_per_step * kHourMs / static_cast<double>(step_ms)));
  series->set_seasonal_strength(pattern.seasonal_strength);
  for (const SeriesPattern::Spike& spike : pattern.spikes) {
    series->add_spike_onsets_ms(spike.onset_ms);
    series->add_spike_durations_ms(spike.duration_steps * step_ms);
    series->add_spike_peaks(spike.peak);
    series->add_spike_shapes(ShapeToProto(spike.shape));
  }
  for (const SeriesPattern::LevelShift& from : pattern.level_shifts) {
    v1::LevelShift* shift = series->add_level_shifts();
    shift->set_onset_ms(from.onset_ms);
    shift->set_duration_ms(from.duration_steps * step_ms);
    shift->set_before(from.before);
    shift->set_after(from.after);
    shift->set_score(from.score);
  }
  if (static_cast<int>(signal) < kResources && pattern.lag_correlation != 0) {
    v1::LeadLag* lead = response.add_leads();
    lead->set_account_id(account.id);
    lead->set_resource(ToProto(signal));
    lead->set_lag_ms(pattern.lag_steps * step_ms);
    lead->set_correlation(pattern.lag_correlation);
    lead->set_p_value(pattern.lag_p_value);
  }
}

void AddPooledLead(const TickReport& report, const PooledLead& pooled,
                   v1::GetPatternsResponse& response) {
  v1::PooledLead* lead = response.add_pooled_leads();
  lead->set_application(pooled.application);
  lead->set_resource(ToProto(pooled.resource));
  lead->set_accounts(pooled.accounts);
  lead->set_lag_ms(pooled.lag_steps * report.forecasts->step_ms);
  lead->set_correlation(pooled.correlation);
  lead->set_p_value(pooled.p_value);
  lead->set_heterogeneity(pooled.heterogeneity);
  lead->set_heterogeneity_p_value(pooled.heterogeneity_p_value);
}

class PatternsService : public v1::Patterns::Service {
 public:
  explicit PatternsService(Engine& engine) : engine_(engine) {}

  grpc::Status GetPatterns(grpc::ServerContext*, const v1::GetPatternsRequest* request,
                           v1::GetPatternsResponse* response) override {
    const auto report = engine_.report();
    if (report == nullptr) {
      return {grpc::StatusCode::UNAVAILABLE, "no tick has finished yet: nothing is analysed"};
    }
    const std::unordered_set<std::string> wanted(request->account_ids().begin(),
                                                 request->account_ids().end());
    std::unordered_set<int> signals;
    for (int i = 0; i < request->signals_size(); ++i) {
      if (request->signals(i) < 1 || request->signals(i) > kSignals) {
        return {grpc::StatusCode::INVALID_ARGUMENT,
                fmt::format("signals[{}] = {}: must be 1 .. {}", i,
                            static_cast<int>(request->signals(i)), kSignals)};
      }
      signals.insert(request->signals(i) - 1);
    }
    response->set_made_at_ms(report->tick_ms);
    const auto& patterns = *report->patterns;
    std::unordered_set<std::string> applications;
    int accounts = 0;
    for (size_t a = 0; a < report->fleet->accounts.size(); ++a) {
      const Account& account = report->fleet->accounts[a];
      if (!wanted.empty() && !wanted.contains(account.id)) continue;
      if (++accounts > kAccountsMax) break;
      applications.insert(account.application);
      for (int signal = 0; signal < kSignals; ++signal) {
        if (!signals.empty() && !signals.contains(signal)) continue;
        const auto kind = static_cast<SignalKind>(signal);
        AddSeries(*report, account, kind, patterns[SeriesOf(static_cast<int64_t>(a), kind)],
                  *response);
      }
    }
    for (const PooledLead& lead : *report->pooled_leads) {
      if (!applications.contains(lead.application)) continue;
      if (!signals.empty() && !signals.contains(static_cast<int>(lead.resource))) continue;
      AddPooledLead(*report, lead, *response);
    }
    return grpc::Status::OK;
  }

 private:
  Engine& engine_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakePatternsService(Engine& engine) {
  return std::make_unique<PatternsService>(engine);
}

}  // namespace foreshadow::rpc
