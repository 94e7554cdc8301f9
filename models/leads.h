// When a lead that kernels::Ops::lags finds is taken for a driver of a series
// (models/forecaster.h).
#pragma once

namespace foreshadow::models {

// Where chance alone would make its correlation so seldom.
inline constexpr float kDriverChance = 1e-3f;

inline bool IsLead(int lag_steps, float p_value) {
  return lag_steps > 0 && p_value < kDriverChance;
}

}  // namespace foreshadow::models
