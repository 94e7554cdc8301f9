# Golden values for exponential smoothing, by R's own HoltWinters (package stats) and by ets of the
# package forecast (Debian: r-cran-forecast). Run from the project's root:
# Rscript tests/golden/make_ets.R
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

# Maximum likelihood, start included. Its smoothing parameters multiply the error itself; the last
# of its seasons is the one that comes first.
suppressMessages(library(forecast))
write_ets <- function(name, x, model, damped, ahead) {
  fit <- ets(x, model = model, damped = damped)
  f <- forecast(fit, h = ahead, level = 80)
  p <- as.list(fit$par)
  start <- fit$states[1, ]
  seasons <- grep("^s[0-9]+$", names(start))
  line <- function(key, v) paste(key, paste(sprintf("%.12g", v), collapse = ","))
  writeLines(c(
    line("samples", as.numeric(x)),
    line("alpha", p$alpha),
    line("beta", if (is.null(p$beta)) 0 else p$beta),
    line("phi", if (is.null(p$phi)) 1 else p$phi),
    line("gamma", if (is.null(p$gamma)) 0 else p$gamma),
    line("level", start["l"]),
    line("trend", if ("b" %in% names(start)) start["b"] else 0),
    if (length(seasons) > 0) line("season", rev(start[seasons])),
    line("squares", sum(residuals(fit)^2)),
    line("forecast", as.numeric(f$mean)),
    line("spread", (as.numeric(f$upper) - as.numeric(f$mean)) / qnorm(0.9) / sqrt(fit$sigma2))),
    file.path(out, paste0(name, ".txt")))
}
write_ets("ets_ann_nile", Nile, "ANN", FALSE, 10)
write_ets("ets_aadn_uspop", uspop, "AAN", TRUE, 10)
write_ets("ets_aadn_wwwusage", WWWusage, "AAN", TRUE, 10)
write_ets("ets_ana_nottem", nottem, "ANA", FALSE, 24)
write_ets("ets_ana_usaccdeaths", USAccDeaths, "ANA", FALSE, 24)
