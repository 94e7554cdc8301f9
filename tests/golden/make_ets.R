# Golden values for exponential smoothing, by R's own HoltWinters (package stats). Run from the
# project's root: Rscript tests/golden/make_ets.R
out <- "tests/golden/ets"
dir.create(out, showWarnings = FALSE)
write <- function(name, x, fit, ahead) {
  value <- function(v) if (is.null(v)) NA else as.numeric(v)
  p <- predict(fit, ahead)
  lines <- c(
    paste("samples", paste(sprintf("%.10g", as.numeric(x)), collapse = ",")),
    paste("alpha", sprintf("%.12g", value(fit$alpha))),
    paste("beta", sprintf("%.12g", value(fit$beta))),
    paste("gamma", sprintf("%.12g", value(fit$gamma))),
    paste("squares", sprintf("%.12g", fit$SSE)),
    paste("forecast", paste(sprintf("%.12g", as.numeric(p)), collapse = ",")))
  writeLines(lines, file.path(out, paste0(name, ".txt")))
}
write("nile_simple", Nile, HoltWinters(Nile, beta = FALSE, gamma = FALSE), 5)
write("nile_simple_fixed", Nile, HoltWinters(Nile, alpha = 0.37, beta = FALSE, gamma = FALSE), 5)
write("uspop_trend_fixed", uspop, HoltWinters(uspop, alpha = 0.8, beta = 0.6, gamma = FALSE), 4)
# The season without a trend; the start is the first two years, as the product takes it.
two <- matrix(as.numeric(nottem)[1:24], nrow = 12)
level <- mean(two)
season <- rowMeans(two) - level
write("nottem_season", nottem,
      HoltWinters(nottem, beta = FALSE, l.start = level, s.start = season, start.periods = 2), 15)
write("nottem_season_fixed", nottem,
      HoltWinters(nottem, alpha = 0.2, beta = FALSE, gamma = 0.3, l.start = level,
                  s.start = season, start.periods = 2), 15)
