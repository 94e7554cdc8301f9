# Writes tests/golden/stl/*.csv: what R's stl() makes of two of R's own data sets and of one series of
# the shipped trace, for sets of parameters that touch every option. Run from the root of the
# repository: Rscript tests/golden/make_stl.R  (R 4.2.2 made the files that are kept.)
#
# Robust cases have an odd length: R 4.2.2 takes a wrong median of the residuals at some even ones.
write_case <- function(name, x, ...) {
  fit <- stl(x, ...)
  out <- data.frame(observed = as.numeric(x),
                    seasonal = as.numeric(fit$time.series[, "seasonal"]),
                    trend = as.numeric(fit$time.series[, "trend"]),
                    remainder = as.numeric(fit$time.series[, "remainder"]),
                    weight = fit$weights)
  write.csv(format(out, digits = 10, trim = TRUE), file.path("tests/golden/stl", paste0(name, ".csv")),
            row.names = FALSE, quote = FALSE)
}
odd <- function(x) window(x, end = time(x)[length(x) - (length(x) %% 2 == 0)])

trace <- read.csv("tests/golden/stl_trace_input.csv")$value
trace <- ts(trace, frequency = 288)

write_case("co2_periodic", co2, s.window = "periodic")
write_case("co2_s7", co2, s.window = 7)
write_case("co2_s21_t41_l13_deg", co2, s.window = 21, s.degree = 1, t.window = 41, t.degree = 0,
           l.window = 13, l.degree = 0)
write_case("co2_jumps1", co2, s.window = 35, s.jump = 1, t.jump = 1, l.jump = 1)
write_case("nottem_periodic", nottem, s.window = "periodic")
write_case("nottem_s13_inner5", nottem, s.window = 13, inner = 5)
write_case("nottem_jumps", nottem, s.window = 11, s.jump = 3, t.jump = 7, l.jump = 5)
write_case("nottem_odd_robust", odd(nottem), s.window = "periodic", robust = TRUE)
write_case("co2_odd_robust_s7", odd(co2), s.window = 7, robust = TRUE)
write_case("co2_odd_robust_outer2", odd(co2), s.window = 15, s.degree = 1, robust = TRUE, inner = 3,
           outer = 2)
write_case("trace_periodic", trace, s.window = "periodic")
write_case("trace_odd_robust_s7", odd(trace), s.window = 7, robust = TRUE)

# A phase that swings so far that all its weights are zero after the first pass.
lost <- odd(nottem)
may <- seq(5, length(lost), by = 12)
lost[may] <- lost[may] + 60 * (-1)^seq_along(may)
stopifnot(all(stl(lost, s.window = "periodic", robust = TRUE, outer = 1)$weights[may] == 0))
write_case("nottem_odd_robust_lost_phase", lost, s.window = "periodic", robust = TRUE)
# Windows wider than the series, fitted at every point.
write_case("nottem_wide", nottem, s.window = 51, s.degree = 1, t.window = 401, l.window = 301,
           s.jump = 1, t.jump = 1, l.jump = 1)
