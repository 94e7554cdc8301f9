// What the LSTM sees of a series (models/lstm/features.h tells what it means): one tile of
// neighbouring series, in loops without branches that a compiler turns into vectors. A tile of one
// series is a GPU thread's share.
#pragma once

#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/algo/portable.h"
#include "kernels/check.h"
#include "kernels/ops.h"

// Inlined into callers that are compiled for one instruction set each; lanes do not overlap, which
// a compiler could not see.
#if defined(__CUDACC__)
#define FORESHADOW_TILE FORESHADOW_PORTABLE inline
#define FORESHADOW_LANES
#else
#define FORESHADOW_TILE [[gnu::always_inline]] inline
#define FORESHADOW_LANES _Pragma("GCC ivdep")
#endif

namespace foreshadow::kernels::lstm {

// Rows of LstmPast::rows, one for each thing that is carried from step to step.
enum PastRow : int {
  kLevelSum,
  kLevelWeight,
  kShortSum,
  kShortWeight,
  kDeviationSum,
  kSquareSum,
  kDeviationWeight,
  kShortStepSum,
  kShortStepWeight,
  kLongStepSum,
  kLongStepWeight,
  kSlopeSum,
  kPeak,
  kLast,
  kBeforeLast,
  kAge,
  kSamples,
  kDaySum,
  kDayCount,
  kTodaySum,
  kTodayCount,
  kHourAgoErrorSum,
  kHourAgoErrorWeight,
  kYesterdayErrorSum,
  kYesterdayErrorWeight,
  kSeasonErrorSum,
  kSeasonErrorWeight,
  kYesterdayNow,
  kSeasonNow,
  kPastRows
};

inline constexpr float kSampleMax = 1e15f;  // larger ones count as missing: squares must fit
inline constexpr int kHourStepsMax = 64;    // of shorter intervals the latest that many count

constexpr float kLevelDecay = 0.99042f;      // halves in 72 steps, 6 h of 5 min
constexpr float kShortDecay = 0.79370f;      // halves in 3 steps
constexpr float kScaleDecay = 0.99760f;      // halves in 288 steps, a day of 5 min
constexpr float kShortStepDecay = 0.89090f;  // halves in 6 steps
constexpr float kSpreadShareMin = 1e-4f;     // of the deviation: finer is rest
constexpr float kPriorShare = 0.1f;          // deviation of an unknown series, of its first value,
constexpr float kPriorWeight = 3;            // worth so many samples
constexpr float kScaleShareMin = 1e-5f;      // of the level: what float differences can hold
constexpr float kScaleMin = 1e-6f;           // for series at zero
constexpr float kAgeStepsMax = 12;
constexpr float kDamping = 0.9f;  // of a slope, from step to step
constexpr float kSeasonDays = 7;  // days that a season's mean is worth

FORESHADOW_TILE float MaxOf(float a, float b) { return a > b ? a : b; }
FORESHADOW_TILE float MinOf(float a, float b) { return a < b ? a : b; }
FORESHADOW_TILE bool Missing(float x) { return x != x; }
FORESHADOW_TILE float Otherwise(float x, float y) { return x != x ? y : x; }

// Natural logarithm of a positive normal float to 2e-7 of its value: exponent and mantissa in
// [sqrt(1/2), sqrt(2)), then the series of atanh.
FORESHADOW_TILE float LogOf(float x) {
  const auto bits = __builtin_bit_cast(int32_t, x);
  const int32_t exponent = (bits - 0x3f3504f3) >> 23;
  const auto m = __builtin_bit_cast(float, bits - exponent * (1 << 23));
  const float s = (m - 1) / (m + 1);
  const float z = s * s;
  const float tail = z * (0.66666667f + z * (0.40000001f + z * (0.28571430f + z * 0.22222222f)));
  return static_cast<float>(exponent) * 0.69314718f + (s * (2 + tail));
}

FORESHADOW_TILE float AsinhOf(float x) {
  const float a = MinOf(x < 0 ? -x : x, 1e18f);  // whose square is finite
  const float y = LogOf(a + sqrtf(a * a + 1));
  // Near 0 the logarithm of 1 + a loses digits: the series is exact to a^5 there.
  const float small = a - a * a * a * (1.0f / 6);
  const float result = a < 0.03f ? small : y;
  return x < 0 ? -result : result;
}

FORESHADOW_TILE float ScaleOf(float deviation_sum, float deviation_weight, float level) {
  const float deviation = deviation_weight > 0 ? deviation_sum / deviation_weight : 0.0f;
  const float size = level < 0 ? -level : level;
  return MaxOf(MaxOf(deviation, kScaleShareMin * size), kScaleMin);
}

// Row of the time `ahead` steps after the newest, at most a day; negative = before it.
FORESHADOW_TILE int64_t PhaseRow(const LstmPast& v, int ahead) {
  const int64_t row = (v.phase + ahead) % v.day_steps;
  return row < 0 ? row + v.day_steps : row;
}

// Row of the newest time that lies whole hours before the one `ahead` steps after the newest.
FORESHADOW_TILE int64_t HourAgoRow(const LstmPast& v, int ahead) {
  const int hour_steps = v.day_steps / 24;
  return PhaseRow(v, (ahead - 1) % hour_steps + 1 - hour_steps);
}

// Takes in the samples of one tile.
template <int kTile>
FORESHADOW_TILE void AdvanceTile(const LstmAdvanceArgs& args, int64_t first) {
  const LstmPast& v = args.past;
  const float* const samples = args.samples + first;
  float* const rows = v.rows + first;
  const auto row = [&](int field) { return rows + field * v.width; };
  float* const day = v.day + v.phase * v.width + first;
  float* const season = v.season + v.phase * v.width + first;
  const float* const hour_ago = v.day + HourAgoRow(v, 0) * v.width + first;
  float* const level_sum = row(kLevelSum);
  float* const level_weight = row(kLevelWeight);
  float* const day_sum = row(kDaySum);
  float* const day_count = row(kDayCount);
  float* const today_sum = row(kTodaySum);
  float* const today_count = row(kTodayCount);
  const bool new_day = v.phase == 0;
  int32_t* const week = v.week + first;
  const int32_t week_steps = 7 * v.day_steps;
  FORESHADOW_LANES
  for (int i = 0; i < kTile; ++i) week[i] = week[i] + 1 == week_steps ? 0 : week[i] + 1;
  FORESHADOW_LANES
  for (int i = 0; i < kTile; ++i) {
    const float x = samples[i];
    const float size = x < 0 ? -x : x;
    const bool there = size <= kSampleMax;  // false for NaN
    const float keep = there ? 1.0f : 0.0f;
    const float value = there ? x : 0.0f;

    // Level, spreads and the last samples.
    const float weight = level_weight[i];
    const bool known = weight > 0;
    const float level = known ? level_sum[i] / weight : value;
    const float off = value - level;
    const float far = off < 0 ? -off : off;
    const float last = known ? row(kLast)[i] : value;
    const float step = value - last < 0 ? last - value : value - last;
    const float prior = kPriorShare * size;
    const float decay = there ? kScaleDecay : 1.0f;
    const float step_keep = there && known ? 1.0f : 0.0f;
    const float step_decay = there && known ? kShortStepDecay : 1.0f;
    const float long_decay = there && known ? kScaleDecay : 1.0f;
    const bool begins = there && !known;
    row(kDeviationSum)[i] =
        begins ? kPriorWeight * prior : decay * row(kDeviationSum)[i] + far * step_keep;
    row(kSquareSum)[i] =
        begins ? kPriorWeight * prior * prior : decay * row(kSquareSum)[i] + off * off * step_keep;
    row(kDeviationWeight)[i] = begins ? kPriorWeight : decay * row(kDeviationWeight)[i] + step_keep;
    row(kPeak)[i] = there ? MaxOf(kScaleDecay * row(kPeak)[i], off) : row(kPeak)[i];
    row(kShortStepSum)[i] = step_decay * row(kShortStepSum)[i] + step * step_keep;
    row(kShortStepWeight)[i] = step_decay * row(kShortStepWeight)[i] + step_keep;
    row(kSlopeSum)[i] = step_decay * row(kSlopeSum)[i] + (value - last) * step_keep;
    row(kLongStepSum)[i] = long_decay * row(kLongStepSum)[i] + step * step_keep;
    row(kLongStepWeight)[i] = long_decay * row(kLongStepWeight)[i] + step_keep;
    const float level_decay = there ? kLevelDecay : 1.0f;
    const float short_decay = there ? kShortDecay : 1.0f;
    level_sum[i] = level_decay * level_sum[i] + value;
    level_weight[i] = level_decay * weight + keep;
    row(kShortSum)[i] = short_decay * row(kShortSum)[i] + value;
    row(kShortWeight)[i] = short_decay * row(kShortWeight)[i] + keep;
    row(kBeforeLast)[i] = there ? last : row(kBeforeLast)[i];
    row(kLast)[i] = there ? value : row(kLast)[i];
    row(kAge)[i] = there ? 0.0f : row(kAge)[i] + 1;

    // The mean over the last day. The sum since midnight becomes it each midnight, so that what
    // adding and taking away leaves behind does not pile up.
    const float yesterday = day[i];
    const float gone = Otherwise(yesterday, 0.0f);
    const float gone_count = Missing(yesterday) ? 0.0f : 1.0f;
    const float sum = new_day ? today_sum[i] : day_sum[i];
    const float count = new_day ? today_count[i] : day_count[i];
    day_sum[i] = sum + value - gone;
    day_count[i] = count + keep - gone_count;
    today_sum[i] = (new_day ? 0.0f : today_sum[i]) + value;
    today_count[i] = (new_day ? 0.0f : today_count[i]) + keep;

    // The season learns from the second day on: before, the trend is no day's mean.
    const float seen = row(kSamples)[i];
    row(kSamples)[i] = seen + keep;
    const float days = seen / static_cast<float>(v.day_steps);
    const float rate = MaxOf(1 / MaxOf(days, 1.0f), 1 / kSeasonDays);
    const float trend = day_sum[i] / MaxOf(day_count[i], 1.0f);
    const float adds = value - trend;
    const float before = season[i];
    const float learned = Missing(before) ? adds : before + rate * (adds - before);
    season[i] = there && days >= 1 ? learned : before;
    row(kSeasonNow)[i] = before;
    row(kYesterdayNow)[i] = yesterday;

    // How far off the plain guesses lie that look back an hour or days. A sum's weight is the row
    // behind it.
    const auto judge = [&](int sum_row, float error) {
      const bool judged = there && !Missing(error);
      const float kept = judged ? kScaleDecay : 1.0f;
      const float distance = error < 0 ? -error : error;
      row(sum_row)[i] = kept * row(sum_row)[i] + (judged ? distance : 0.0f);
      row(sum_row + 1)[i] = kept * row(sum_row + 1)[i] + (judged ? 1.0f : 0.0f);
    };
    judge(kHourAgoErrorSum, value - hour_ago[i]);
    judge(kYesterdayErrorSum, value - yesterday);
    judge(kSeasonErrorSum, adds - before);
    day[i] = there ? value : std::numeric_limits<float>::quiet_NaN();
  }
}

// The last hour of a tile: samples sorted upwards by an odd-even merge network (Batcher 1968), what
// is missing last.
template <int kTile>
struct Hour {
  float mean[kTile];
  float median[kTile];
  float spread[kTile];
  float max[kTile];
  float min[kTile];
  float season[kTile];  // mean of the season over the hour's samples, NaN = not known
};

template <int kTile>
FORESHADOW_TILE void SortRows(float (*rows)[kTile], int count) {
  for (int p = 1; p < count; p *= 2) {
    for (int k = p; k >= 1; k /= 2) {
      for (int j = k % p; j + k < count; j += 2 * k) {
        for (int i = 0; i < k && i + j + k < count; ++i) {
          if ((i + j) / (2 * p) != (i + j + k) / (2 * p)) continue;
          float* const a = rows[i + j];
          float* const b = rows[i + j + k];
          FORESHADOW_LANES
          for (int lane = 0; lane < kTile; ++lane) {
            const float low = MinOf(a[lane], b[lane]);
            const float high = MaxOf(a[lane], b[lane]);
            a[lane] = low;
            b[lane] = high;
          }
        }
      }
    }
  }
}

template <int kTile>
FORESHADOW_TILE void SummarizeHour(const LstmPast& v, int64_t first, Hour<kTile>& hour) {
  constexpr float kNone = std::numeric_limits<float>::max();
  alignas(64) float sorted[kHourStepsMax][kTile];
  alignas(64) float count[kTile];
  alignas(64) float season_count[kTile];
  FORESHADOW_LANES
  for (int i = 0; i < kTile; ++i) {
    hour.mean[i] = 0;
    hour.season[i] = 0;
    hour.spread[i] = 0;
    hour.max[i] = -kNone;
    count[i] = 0;
    season_count[i] = 0;
  }
  for (int back = 0; back < v.hour_steps; ++back) {
    const int64_t at = PhaseRow(v, -back) * v.width + first;
    const float* const day = v.day + at;
    const float* const season = v.season + at;
    FORESHADOW_LANES
    for (int i = 0; i < kTile; ++i) {
      const float x = day[i];
      const bool there = !Missing(x);
      const bool has_season = there && !Missing(season[i]);
      sorted[back][i] = there ? x : kNone;
      hour.mean[i] += there ? x : 0.0f;
      hour.max[i] = there ? MaxOf(hour.max[i], x) : hour.max[i];
      count[i] += there ? 1.0f : 0.0f;
      hour.season[i] += has_season ? season[i] : 0.0f;
      season_count[i] += has_season ? 1.0f : 0.0f;
    }
  }
  SortRows<kTile>(sorted, v.hour_steps);
  const float* const last = v.rows + kLast * v.width + first;
  FORESHADOW_LANES
  for (int i = 0; i < kTile; ++i) {
    const bool any = count[i] > 0;
    hour.mean[i] = any ? hour.mean[i] / count[i] : last[i];
    hour.max[i] = any ? hour.max[i] : last[i];
    hour.min[i] = any ? sorted[0][i] : last[i];
    hour.season[i] = season_count[i] > 0 ? hour.season[i] / season_count[i]
                                         : std::numeric_limits<float>::quiet_NaN();
    const int n = static_cast<int>(count[i]);
    const int low = n > 0 ? (n - 1) / 2 : 0;
    const int high = n / 2;
    hour.median[i] = any ? 0.5f * sorted[low][i] + 0.5f * sorted[high][i] : last[i];
  }
  for (int back = 0; back < v.hour_steps; ++back) {
    FORESHADOW_LANES
    for (int i = 0; i < kTile; ++i) {
      const float off = sorted[back][i] - hour.mean[i];
      hour.spread[i] += sorted[back][i] < kNone ? (off < 0 ? -off : off) : 0.0f;
    }
  }
  FORESHADOW_LANES
  for (int i = 0; i < kTile; ++i) hour.spread[i] /= MaxOf(count[i], 1.0f);
}

// What a series' driver shows of the time `ahead` steps on: its sample a lead before that, or its
// newest; in its own scale, 0 = no driver.
FORESHADOW_TILE float DriverAt(const LstmPast& v, const Driver& driver, int ahead) {
  if (driver.series < 0) return 0;
  const float* const rows = v.rows + driver.series;
  const float weight = rows[kLevelWeight * v.width];
  if (!(weight > 0)) return 0;
  const float level = rows[kLevelSum * v.width] / weight;
  const float scale =
      ScaleOf(rows[kDeviationSum * v.width], rows[kDeviationWeight * v.width], level);
  const int back = driver.lead_steps > ahead ? driver.lead_steps - ahead : 0;
  const float sample = v.day[PhaseRow(v, -back) * v.width + driver.series];
  return Missing(sample) ? 0.0f : AsinhOf((sample - level) / scale);
}

// A tile's series in a nutshell.
template <int kTile>
struct Summary {
  float level[kTile];
  float scale[kTile];
  float inverse[kTile];  // of the scale
  float trend[kTile];
  float slope[kTile];       // mean rise a step, of late
  float season_now[kTile];  // 0 = not known
};

template <int kTile>
FORESHADOW_TILE void Summarize(const LstmPast& v, int64_t first, Summary<kTile>& all) {
  const auto row = [&](int field) { return v.rows + field * v.width + first; };
  const float* const season = v.season + v.phase * v.width + first;
  FORESHADOW_LANES
  for (int i = 0; i < kTile; ++i) {
    const float weight = row(kLevelWeight)[i];
    const float level = weight > 0 ? row(kLevelSum)[i] / weight : 0.0f;
    const float count = row(kDayCount)[i];
    const float steps = row(kShortStepWeight)[i];
    all.level[i] = level;
    all.scale[i] = ScaleOf(row(kDeviationSum)[i], row(kDeviationWeight)[i], level);
    all.inverse[i] = 1 / all.scale[i];
    all.trend[i] = count > 0 ? row(kDaySum)[i] / count : level;
    all.slope[i] = steps > 0 ? row(kSlopeSum)[i] / steps : 0.0f;
    all.season_now[i] = Otherwise(season[i], 0.0f);
  }
}

// The candidates of one step ahead, in the series' scale, as rows of `stride`.
template <int kTile>
FORESHADOW_TILE void WriteCandidates(const LstmPast& v, const Summary<kTile>& all,
                                     const Hour<kTile>& hour, int ahead, float damped_steps,
                                     int64_t first, int64_t stride, float* out) {
  const int64_t at = PhaseRow(v, ahead) * v.width + first;
  const float* const day = v.day + at;
  const float* const season = v.season + at;
  const float* const hour_ago = v.day + HourAgoRow(v, ahead) * v.width + first;
  const float* const last = v.rows + kLast * v.width + first;
  FORESHADOW_LANES
  for (int i = 0; i < kTile; ++i) {
    const float yesterday = Otherwise(day[i], hour.median[i]);
    const float seasonal = Otherwise(all.trend[i] + season[i], yesterday);
    const float hour_moved = Otherwise(hour.mean[i] + season[i] - hour.season[i], hour.mean[i]);
    const float last_moved = Otherwise(last[i] + season[i] - all.season_now[i], last[i]);
    const float drift = last[i] + damped_steps * all.slope[i];
    const auto put = [&](int candidate, float value) {
      out[candidate * stride + i] = (value - all.level[i]) * all.inverse[i];
    };
    put(0, last[i]);
    put(1, hour.mean[i]);
    put(2, hour.median[i]);
    put(3, all.level[i]);
    put(4, yesterday);
    put(5, seasonal);
    put(6, hour_moved);
    put(7, last_moved);
    put(8, drift);
    put(9, Otherwise(hour_ago[i], hour.median[i]));
  }
}

template <int kTile>
FORESHADOW_TILE void DescribeTile(const LstmDescribeArgs& args, int64_t first) {
  const LstmPast& v = args.past;
  const int64_t stride = args.stride;
  const int64_t to = first - args.first;
  Summary<kTile> all;
  Hour<kTile> hour;
  const auto row = [&](int field) { return v.rows + field * v.width + first; };
  const float* const last = row(kLast);
  Summarize<kTile>(v, first, all);
  SummarizeHour<kTile>(v, first, hour);

  if (args.levels != nullptr) {
    FORESHADOW_LANES
    for (int i = 0; i < kTile; ++i) {
      args.levels[to + i] = all.level[i];
      args.scales[to + i] = all.scale[i];
    }
  }
  const auto log_share = [&](float sum, float weight, int i) {
    const float spread = weight > 0 ? sum / weight : 0.0f;
    return LogOf(MaxOf(spread * all.inverse[i], kSpreadShareMin));
  };
  const auto error_share = [&](int sum_row, int i) {
    const float weight = row(sum_row + 1)[i];
    return weight > 0 ? log_share(row(sum_row)[i], weight, i) : 0.0f;  // not known: the deviation
  };
  if (args.spreads != nullptr) {
    float* const spread = args.spreads + to;
    FORESHADOW_LANES
    for (int i = 0; i < kTile; ++i) {
      spread[0 * stride + i] = 0;  // the deviation itself
      spread[1 * stride + i] = log_share(hour.spread[i], 1, i);
      spread[2 * stride + i] = log_share(row(kShortStepSum)[i], row(kShortStepWeight)[i], i);
      spread[3 * stride + i] = log_share(row(kLongStepSum)[i], row(kLongStepWeight)[i], i);
      spread[4 * stride + i] = error_share(kHourAgoErrorSum, i);
      spread[5 * stride + i] = error_share(kYesterdayErrorSum, i);
      spread[6 * stride + i] = error_share(kSeasonErrorSum, i);
    }
  }
  if (args.candidates != nullptr) {
    float damped_steps = 0;  // sum of the damping's powers
    float power = 1;
    for (int ahead = 1; ahead <= args.steps; ++ahead) {
      power *= kDamping;
      damped_steps += power;
      WriteCandidates<kTile>(v, all, hour, ahead, damped_steps, first, stride,
                             args.candidates + (ahead - 1) * kLstmCandidates * stride + to);
    }
  }
  if (args.features == nullptr) return;

  float* const feature = args.features + to;
  const auto put = [&](int index, int i, float value) { feature[index * stride + i] = value; };
  const auto scaled = [&](float value, int i) {
    return AsinhOf((value - all.level[i]) * all.inverse[i]);
  };
  FORESHADOW_LANES
  for (int i = 0; i < kTile; ++i) {
    const float age = row(kAge)[i];
    put(0, i, scaled(last[i], i));
    put(1, i, MinOf(age, kAgeStepsMax) * (1 / kAgeStepsMax));
    put(2, i, AsinhOf((last[i] - row(kBeforeLast)[i]) * all.inverse[i]));
    put(3, i, scaled(hour.mean[i], i));
    put(4, i, scaled(hour.median[i], i));
    put(5, i, AsinhOf(hour.spread[i] * all.inverse[i]));
    put(6, i, scaled(hour.max[i], i));
    put(7, i, scaled(hour.min[i], i));
  }
  constexpr int kAhead[] = {1, 3, 6, 12};
  for (int k = 0; k < 4; ++k) {
    const float* const day = v.day + PhaseRow(v, kAhead[k]) * v.width + first;
    FORESHADOW_LANES
    for (int i = 0; i < kTile; ++i) put(8 + k, i, scaled(Otherwise(day[i], hour.median[i]), i));
  }
  constexpr int kSeasonAhead[] = {1, 6, 12};
  for (int k = 0; k < 3; ++k) {
    const int64_t at = PhaseRow(v, kSeasonAhead[k]) * v.width + first;
    const float* const season = v.season + at;
    FORESHADOW_LANES
    for (int i = 0; i < kTile; ++i) {
      put(12 + k, i, scaled(all.trend[i] + Otherwise(season[i], 0.0f), i));
    }
  }
  const int64_t next = PhaseRow(v, 1) * v.width + first;
  FORESHADOW_LANES
  for (int i = 0; i < kTile; ++i) {
    const float yesterday = Otherwise(row(kYesterdayNow)[i], hour.median[i]);
    const float season = Otherwise(row(kSeasonNow)[i], 0.0f);
    const float size = all.level[i] < 0 ? -all.level[i] : all.level[i];
    const float deviations = row(kDeviationWeight)[i];
    const float rms = deviations > 0 ? sqrtf(row(kSquareSum)[i] / deviations) : 0.0f;
    const float short_weight = row(kShortWeight)[i];
    const float short_level = short_weight > 0 ? row(kShortSum)[i] / short_weight : all.level[i];
    put(15, i, scaled(all.trend[i], i));
    put(16, i, AsinhOf((last[i] - all.trend[i] - season) * all.inverse[i]));
    put(17, i, Missing(v.day[next + i]) ? 0.0f : 1.0f);
    put(18, i, Missing(v.season[next + i]) ? 0.0f : 1.0f);
    put(19, i, AsinhOf((last[i] - yesterday) * all.inverse[i]));
    put(20, i, 0.25f * LogOf((size + all.scale[i]) * all.inverse[i]));
    put(21, i, LogOf(rms * all.inverse[i] + 1));
    put(22, i, 0.5f * AsinhOf(row(kPeak)[i] * all.inverse[i]));
    put(23, i, scaled(short_level, i));
    put(24, i, 0.25f * log_share(row(kShortStepSum)[i], row(kShortStepWeight)[i], i));
    put(25, i, 0.25f * log_share(row(kLongStepSum)[i], row(kLongStepWeight)[i], i));
  }
  FORESHADOW_LANES
  for (int i = 0; i < kTile; ++i) {
    const float* const time = args.clock + 4 * static_cast<int64_t>(v.week[first + i]);
    for (int k = 0; k < 4; ++k) put(26 + k, i, time[k]);
  }
  constexpr int kDriverAhead[] = {1, 3, 12};
  FORESHADOW_LANES
  for (int i = 0; i < kTile; ++i) {
    const Driver driver = args.drivers != nullptr ? args.drivers[first + i] : Driver{};
    for (int k = 0; k < 3; ++k) put(30 + k, i, DriverAt(v, driver, kDriverAhead[k]));
    put(33, i, driver.series < 0 ? 0.0f : driver.correlation);
    put(34, i, AsinhOf(all.slope[i] * all.inverse[i]));
    put(35, i, 0.25f * error_share(kHourAgoErrorSum, i));
    put(36, i, 0.25f * error_share(kYesterdayErrorSum, i));
    put(37, i, 0.25f * error_share(kSeasonErrorSum, i));
  }
  constexpr int kHourAgoAhead[] = {1, 3, 6};
  for (int k = 0; k < 3; ++k) {
    const float* const ago = v.day + HourAgoRow(v, kHourAgoAhead[k]) * v.width + first;
    FORESHADOW_LANES
    for (int i = 0; i < kTile; ++i) put(38 + k, i, scaled(Otherwise(ago[i], hour.median[i]), i));
  }
}

inline void CheckLstmPast(const LstmPast& past) {
  FORESHADOW_CHECK(past.width % kLstmTile == 0);
  FORESHADOW_CHECK(past.phase >= 0 && past.phase < past.day_steps);
  FORESHADOW_CHECK(past.hour_steps > 0 && past.hour_steps <= kHourStepsMax);
}

inline void CheckLstmDescribe(const LstmDescribeArgs& args) {
  CheckLstmPast(args.past);
  FORESHADOW_CHECK(args.first % kLstmTile == 0 && args.count % kLstmTile == 0);
  FORESHADOW_CHECK(args.first >= 0 && args.first + args.count <= args.past.width);
  FORESHADOW_CHECK(args.stride >= args.count);
  FORESHADOW_CHECK(args.steps >= 0 && args.steps < args.past.day_steps);
}

}  // namespace foreshadow::kernels::lstm
