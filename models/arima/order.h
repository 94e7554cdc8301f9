// The order of a seasonal ARIMA model, ARIMA(p,d,q)(P,D,Q)[period] (Box and Jenkins 1976), and the
// sizes that follow from it. A plain value.
#pragma once

#include <algorithm>
#include <cstdint>

namespace foreshadow::models {

inline constexpr int kArmaMax = 5;             // p and q, as forecast::auto.arima
inline constexpr int kSeasonalArmaMax = 2;     // P and Q
inline constexpr int kSeasonMax = 24;          // longer seasons are taken out before (arima.h)
inline constexpr int kArimaParametersMax = 7;  // one lane of the filter each, and one for the base
inline constexpr int kStatesMax = kArmaMax + kSeasonalArmaMax * kSeasonMax;

struct ArimaOrder {
  int p = 0;
  int d = 0;
  int q = 0;
  int seasonal_p = 0;
  int seasonal_d = 0;
  int seasonal_q = 0;
  int period = 0;         // steps; 0 = no season, and the three before are 0
  bool constant = false;  // a mean where nothing is differenced, a drift where one difference is

  bool operator==(const ArimaOrder&) const = default;

  int Parameters() const { return p + q + seasonal_p + seasonal_q + (constant ? 1 : 0); }
  int ArLength() const { return p + period * seasonal_p; }
  int MaLength() const { return q + period * seasonal_q; }
  int States() const { return std::max({1, ArLength(), MaLength()}); }
  int Levels() const { return d + period * seasonal_d; }  // samples that differencing takes
};

}  // namespace foreshadow::models
