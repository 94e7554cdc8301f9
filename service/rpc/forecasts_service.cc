#include <fmt/core.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>
#include <unordered_set>

#include "foreshadow/v1/forecasts.grpc.pb.h"
#include "service/analyze/analyze.h"
#include "service/forecast/forecast.h"
#include "service/rpc/convert.h"
#include "service/rpc/services.h"

namespace foreshadow::rpc {
namespace {

constexpr int64_t kSeriesMax = 100'000;     // of one answer
constexpr size_t kAccountsPerPart = 1'000;  // of a streamed answer
constexpr int kLevelsMax = 99;              // every percent
constexpr int64_t kValuesMax = 60'000'000;  // of one answer: 240 MB, built in memory
constexpr int64_t kStepMsMin = 1'000;
constexpr int64_t kStepMsMax = 86'400'000;

absl::Status Invalid(std::string what) { return absl::InvalidArgumentError(what); }

// What both kinds of request ask for alike.
struct Ask {
  int steps = 0;
  std::vector<float> levels;
};

absl::StatusOr<Ask> Common(const v1::BatchForecastRequest& request, int64_t step_ms) {
  Ask ask;
  const int steps_max = HorizonSteps(step_ms);
  const int64_t horizon_ms = request.horizon_ms() == 0 ? steps_max * step_ms : request.horizon_ms();
  ask.steps = static_cast<int>(std::min<int64_t>(horizon_ms / step_ms, kHorizonStepsMax + 1));
  if (horizon_ms < 0 || ask.steps < 1 || ask.steps > steps_max) {
    return Invalid(fmt::format("horizon_ms = {}: must be {} .. {} at a step of {} ms",
                               request.horizon_ms(), step_ms, steps_max * step_ms, step_ms));
  }
  ask.levels.assign(request.quantile_levels().begin(), request.quantile_levels().end());
  if (ask.levels.empty()) {
    ask.levels.assign(models::kQuantileLevels.begin(), models::kQuantileLevels.end());
  }
  if (ask.levels.size() > kLevelsMax) {
    return Invalid(fmt::format("quantile_levels has {} entries: at most {} are allowed",
                               ask.levels.size(), kLevelsMax));
  }
  for (size_t i = 0; i < ask.levels.size(); ++i) {
    const bool ascending = i == 0 || ask.levels[i] > ask.levels[i - 1];
    if (!(ask.levels[i] > 0 && ask.levels[i] < 1) || !ascending) {
      return Invalid(fmt::format("quantile_levels[{}] = {}: must be within (0, 1) and ascending", i,
                                 ask.levels[i]));
    }
  }
  return ask;
}

absl::Status CheckSize(int64_t series, const Ask& ask) {
  if (series > kSeriesMax) {
    return Invalid(
        fmt::format("{} series in one answer, at most {} are allowed: ask for fewer or "
                    "use StreamForecast",
                    series, kSeriesMax));
  }
  const int64_t values = series * ask.steps * std::ssize(ask.levels);
  if (values > kValuesMax) {
    return Invalid(
        fmt::format("{} series of {} steps and {} levels are {} values in one answer, at "
                    "most {} are allowed: ask for fewer or use StreamForecast",
                    series, ask.steps, ask.levels.size(), values, kValuesMax));
  }
  return absl::OkStatus();
}

// The quantile at any level: linear between the model's, its outer ones beyond them.
float QuantileAt(std::span<const float> quantiles, float level) {
  const auto& levels = models::kQuantileLevels;
  const auto upper = std::lower_bound(levels.begin(), levels.end(), level);
  if (upper == levels.begin()) return quantiles.front();
  if (upper == levels.end()) return quantiles.back();
  const auto i = static_cast<size_t>(upper - levels.begin());
  const float share = (level - levels[i - 1]) / (levels[i] - levels[i - 1]);
  return quantiles[i - 1] + share * (quantiles[i] - quantiles[i - 1]);
}

v1::ForecastStatus StatusToProto(models::ForecastStatus status) {
  switch (status) {
    case models::ForecastStatus::kOk:
      return v1::FORECAST_STATUS_OK;
    case models::ForecastStatus::kFellBack:
      return v1::FORECAST_STATUS_FELL_BACK;
    case models::ForecastStatus::kNoHistory:
      return v1::FORECAST_STATUS_NO_HISTORY;
    case models::ForecastStatus::kCannot:
      return v1::FORECAST_STATUS_CANNOT;
  }
  return v1::FORECAST_STATUS_UNSPECIFIED;
}

void AddSeries(const ForecastTable& table, int64_t series, const Ask& ask,
               v1::BatchForecastResponse& response) {
  response.add_model_index(table.model_of[series]);
  response.add_statuses(StatusToProto(table.block.status[series]));
  for (int step = 0; step < ask.steps; ++step) {
    const auto quantiles = table.block.at(series, step);
    for (const float level : ask.levels) response.add_values(QuantileAt(quantiles, level));
  }
}

void AddUnknown(size_t signals, const Ask& ask, v1::BatchForecastResponse& response) {
  for (size_t i = 0; i < signals; ++i) {
    response.add_model_index(0);
    response.add_statuses(v1::FORECAST_STATUS_UNKNOWN_ACCOUNT);
    for (size_t v = 0; v < ask.steps * ask.levels.size(); ++v) {
      response.add_values(std::numeric_limits<float>::quiet_NaN());
    }
  }
}

v1::BatchForecastResponse Frame(const ForecastTable& table, const Ask& ask) {
  v1::BatchForecastResponse response;
  response.set_made_at_ms(table.made_at_ms);
  response.set_step_ms(table.step_ms);
  response.set_steps_count(static_cast<uint32_t>(ask.steps));
  response.mutable_quantile_levels()->Assign(ask.levels.begin(), ask.levels.end());
  for (const std::string& model : table.models) response.add_models(model);
  return response;
}

absl::StatusOr<std::vector<SignalKind>> SignalsOf(const v1::StoredAccounts& stored) {
  if (stored.signals_size() == 0) {
    return std::vector<SignalKind>{SignalKind::kCpu, SignalKind::kMemory, SignalKind::kNetwork,
                                   SignalKind::kStorage};
  }
  std::vector<SignalKind> signals;
  for (int i = 0; i < stored.signals_size(); ++i) {
    if (stored.signals(i) < 1 || stored.signals(i) > kSignals) {
      return Invalid(fmt::format("stored.signals[{}] = {}: must be 1 .. {}", i,
                                 static_cast<int>(stored.signals(i)), kSignals));
    }
    const auto signal = static_cast<SignalKind>(stored.signals(i) - 1);
    if (std::find(signals.begin(), signals.end(), signal) != signals.end()) {
      return Invalid(fmt::format("stored.signals[{}] = {} is given twice", i, Name(signal)));
    }
    signals.push_back(signal);
  }
  return signals;
}

// The series a caller brought along, turned to time-major.
struct Carried {
  std::vector<float> values;
  std::vector<SignalKind> signals;
  std::vector<int32_t> periods;
  models::History history;
};

absl::Status ReadHistories(const v1::Histories& in, double period_significance, Carried& out) {
  const int64_t series = in.series_ids_size();
  if (series == 0 || series > kSeriesMax) {
    return Invalid(
        fmt::format("histories.series_ids has {} entries: must be 1 .. {}", series, kSeriesMax));
  }
  std::unordered_set<std::string> seen;
  for (const std::string& id : in.series_ids()) {
    if (!seen.insert(id).second) {
      return Invalid(fmt::format("histories.series_ids: \"{}\" is given twice", id));
    }
  }
  if (in.signals_size() != 1 && in.signals_size() != series) {
    return Invalid(fmt::format("histories.signals has {} entries: must be 1 or {}",
                               in.signals_size(), series));
  }
  if (in.step_ms() < kStepMsMin || in.step_ms() > kStepMsMax) {
    return Invalid(fmt::format("histories.step_ms = {}: must be {} .. {}", in.step_ms(), kStepMsMin,
                               kStepMsMax));
  }
  if (in.values_size() % series != 0) {
    return Invalid(fmt::format("histories.values has {} entries: must be a multiple of {} series",
                               in.values_size(), series));
  }
  for (int i = 0; i < in.values_size(); ++i) {
    const float value = in.values(i);
    if (std::isinf(value) || value < 0) {
      return Invalid(
          fmt::format("histories.values[{}] = {}: must be finite and not negative, or "
                      "NaN when missing",
                      i, value));
    }
  }
  for (int64_t s = 0; s < series; ++s) {
    const int signal = in.signals(in.signals_size() == 1 ? 0 : static_cast<int>(s));
    if (signal < 1 || signal > kSignals) {
      return Invalid(
          fmt::format("histories.signals[{}] = {}: must be 1 .. {}", s, signal, kSignals));
    }
    out.signals.push_back(static_cast<SignalKind>(signal - 1));
  }
  const int64_t steps = in.values_size() / series;
  out.values.resize(static_cast<size_t>(steps * series));
  for (int64_t s = 0; s < series; ++s) {
    for (int64_t step = 0; step < steps; ++step) {
      out.values[step * series + s] = in.values(static_cast<int>(s * steps + step));
    }
  }
  const kernels::StepMajor<const float> values = {out.values.data(), steps, series, series};
  out.periods = StrongestPeriods(values, period_significance);
  out.history = {in.end_ms(), in.step_ms(), values, out.signals, out.periods};
  return absl::OkStatus();
}

class ForecastsService : public v1::Forecasts::Service {
 public:
  explicit ForecastsService(Engine& engine) : engine_(engine) {}

  grpc::Status BatchForecast(grpc::ServerContext*, const v1::BatchForecastRequest* request,
                             v1::BatchForecastResponse* response) override {
    return ToGrpc(
        Answer(*request, std::numeric_limits<size_t>::max(), [&](v1::BatchForecastResponse part) {
          *response = std::move(part);
          return true;
        }));
  }

  grpc::Status StreamForecast(grpc::ServerContext*, const v1::BatchForecastRequest* request,
                              grpc::ServerWriter<v1::BatchForecastResponse>* writer) override {
    return ToGrpc(Answer(*request, kAccountsPerPart, [&](const v1::BatchForecastResponse& part) {
      return writer->Write(part);
    }));
  }

 private:
  template <typename Send>
  absl::Status Answer(const v1::BatchForecastRequest& request, size_t per_part, Send send) {
    switch (request.source_case()) {
      case v1::BatchForecastRequest::kStored:
        return AnswerStored(request, per_part, send);
      case v1::BatchForecastRequest::kHistories:
        return AnswerHistories(request, send);
      case v1::BatchForecastRequest::SOURCE_NOT_SET:
        return Invalid("source is missing: set stored or histories");
    }
    return Invalid("source is unknown");
  }

  template <typename Send>
  absl::Status AnswerStored(const v1::BatchForecastRequest& request, size_t per_part, Send send) {
    const auto report = engine_.report();
    if (report == nullptr) {
      return absl::UnavailableError("no tick has finished yet: there is no forecast to give");
    }
    if (!request.model().empty() && request.model() != "auto") {
      return Invalid(
          fmt::format("model = \"{}\": stored accounts are forecast by \"auto\"; other "
                      "models are for histories",
                      request.model()));
    }
    const ForecastTable& table = *report->forecasts;
    const auto ask = Common(request, table.step_ms);
    if (!ask.ok()) return ask.status();
    const auto signals = SignalsOf(request.stored());
    if (!signals.ok()) return signals.status();
    std::vector<std::string> ids(request.stored().account_ids().begin(),
                                 request.stored().account_ids().end());
    if (ids.empty()) {
      for (const Account& account : report->fleet->accounts) ids.push_back(account.id);
    }
    const size_t series = std::min(ids.size(), per_part) * signals->size();
    if (absl::Status status = CheckSize(static_cast<int64_t>(series), *ask); !status.ok()) {
      return status;
    }
    std::unordered_map<std::string, int64_t> index;
    for (size_t a = 0; a < report->fleet->accounts.size(); ++a) {
      index[report->fleet->accounts[a].id] = static_cast<int64_t>(a);
    }
    for (size_t first = 0; first < ids.size(); first += std::min(per_part, ids.size())) {
      v1::BatchForecastResponse part = Frame(table, *ask);
      for (const SignalKind signal : *signals) part.add_signals(ToProto(signal));
      for (size_t i = first; i < std::min(ids.size() - first, per_part) + first; ++i) {
        part.add_ids(ids[i]);
        const auto account = index.find(ids[i]);
        if (account == index.end()) {
          AddUnknown(signals->size(), *ask, part);
          continue;
        }
        for (const SignalKind signal : *signals) {
          AddSeries(table, SeriesOf(account->second, signal), *ask, part);
        }
      }
      if (!send(std::move(part))) break;
    }
    return absl::OkStatus();
  }

  template <typename Send>
  absl::Status AnswerHistories(const v1::BatchForecastRequest& request, Send send) {
    Carried carried;
    const double significance = engine_.config().settings.analyze.period_significance;
    if (absl::Status status = ReadHistories(request.histories(), significance, carried);
        !status.ok()) {
      return status;
    }
    const auto ask = Common(request, carried.history.step_ms);
    if (!ask.ok()) return ask.status();
    if (absl::Status status = CheckSize(carried.history.values.series, *ask); !status.ok()) {
      return status;
    }
    ModelList models = *engine_.models();
    if (!request.model().empty() && request.model() != "auto") {
      const auto first = std::find_if(models.begin(), models.end(), [&](const auto& model) {
        return model->name() == request.model() || models::Label(*model) == request.model();
      });
      if (first == models.end()) {
        std::string known = "auto";
        for (const auto& model : models) known += ", " + models::Label(*model);
        return Invalid(fmt::format("model = \"{}\": must be one of {}", request.model(), known));
      }
      models.erase(models.begin(), first);
    }
    std::vector<std::string> alerts;
    const ForecastTable table = ForecastSeries(carried.history, ask->steps, models, alerts);
    v1::BatchForecastResponse response = Frame(table, *ask);
    response.add_signals(request.histories().signals(0));
    for (int64_t s = 0; s < carried.history.values.series; ++s) {
      response.add_ids(request.histories().series_ids(static_cast<int>(s)));
      AddSeries(table, s, *ask, response);
    }
    send(std::move(response));
    return absl::OkStatus();
  }

  Engine& engine_;
};

}  // namespace

std::unique_ptr<grpc::Service> MakeForecastsService(Engine& engine) {
  return std::make_unique<ForecastsService>(engine);
}

}  // namespace foreshadow::rpc
