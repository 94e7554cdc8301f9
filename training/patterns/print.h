// Patterns as text: CSV, JSON, or a picture drawn by gnuplot.
#pragma once

#include <span>
#include <string>

#include "absl/status/status.h"
#include "training/patterns/find.h"

namespace foreshadow::training {

// One row a finding: series,pattern,at,steps,size,score,p_value,shape,before,after,accounts,
// heterogeneity_p_value. `pattern` is period, spike, level-shift, lead or pooled-lead; `at` the
// time of an onset (the step where the table has no times); `steps` a period, a duration (of a
// shift: until the next one, or the end) or a lag; `size` the signed height of a spike or shift, or
// a correlation; `score` the strength of a period, or a height in deviations; `before` and `after`
// the levels around a shift. A pooled lead has its application and resource as `series`
// ("web.cpu"), Cochran's Q as `score`, and what only it has: `accounts` pooled and
// `heterogeneity_p_value`.
std::string PatternsCsv(const WideTable& table, std::span<const Patterns> found,
                        std::span<const PooledLead> pooled = {});

// An array: an object a series, then one a pooled lead.
std::string PatternsJson(const WideTable& table, std::span<const Patterns> found,
                         std::span<const PooledLead> pooled = {});

// A panel for each of the first series, events marked; the format follows the ending, .svg or .png.
// INVALID_ARGUMENT for another ending or when no series has a sample, FAILED_PRECONDITION when
// gnuplot does not run.
absl::Status PlotPatterns(const WideTable& table, std::span<const Patterns> found,
                          const std::string& path);

// What a status means, e.g. "no sample".
std::string_view Words(kernels::SeriesStatus status);

// The name of a shape, e.g. "ramp-up".
std::string_view Words(kernels::EventShape shape);

}  // namespace foreshadow::training
