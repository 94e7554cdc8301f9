# Golden values for ARIMA, by R's own arima (package stats) and, for the choice of the order, by
# auto.arima and ndiffs (package forecast). Run from the project's root:
# Rscript tests/golden/make_arima.R
suppressMessages(library(forecast))
out <- "tests/golden/arima"
dir.create(out, showWarnings = FALSE)
numbers <- function(x) paste(sprintf("%.12g", as.numeric(x)), collapse = ",")

# A model of given order: coefficients in R's order (ar, ma, sar, sma, mean or drift).
fixed <- function(name, x, order, seasonal = c(0, 0, 0), period = 0, constant = FALSE, ahead = 12) {
  spec <- if (period > 0) list(order = seasonal, period = period) else list(order = seasonal)
  drift <- constant && order[2] + seasonal[2] == 1
  n <- length(x)
  control <- list(reltol = 1e-12, maxit = 1000)
  if (drift) {
    fit <- arima(x, order, spec, xreg = 1:n, optim.control = control, method = "ML")
    p <- predict(fit, ahead, newxreg = n + 1:ahead)
  } else {
    fit <- arima(x, order, spec, include.mean = constant, optim.control = control, method = "ML")
    p <- predict(fit, ahead)
  }
  writeLines(c(
    paste("samples", numbers(x)),
    paste("order", numbers(c(order, seasonal, period, constant))),
    paste("coefficients", numbers(coef(fit))),
    paste("log_likelihood", numbers(fit$loglik)),
    paste("sigma2", numbers(fit$sigma2)),
    paste("mean", numbers(p$pred)),
    paste("deviation", numbers(p$se))), file.path(out, paste0(name, ".txt")))
}
fixed("nile_111", Nile, c(1, 1, 1))
fixed("nile_101", Nile, c(1, 0, 1), constant = TRUE)
fixed("lakehuron_200", LakeHuron, c(2, 0, 0), constant = TRUE)
fixed("lakehuron_011_drift", LakeHuron, c(0, 1, 1), constant = TRUE)
fixed("lh_300", lh, c(3, 0, 0), constant = TRUE)
fixed("lh_101_zero_mean", lh - mean(lh), c(1, 0, 1))
fixed("wwwusage_310", WWWusage, c(3, 1, 0))
fixed("wwwusage_111", WWWusage, c(1, 1, 1))
fixed("wwwusage_022", WWWusage, c(0, 2, 2))
fixed("co2_011_011", co2, c(0, 1, 1), c(0, 1, 1), 12, ahead = 24)
fixed("co2_111_112", co2, c(1, 1, 1), c(1, 1, 2), 12, ahead = 24)
fixed("nottem_100_210", nottem, c(1, 0, 0), c(2, 1, 0), 12, constant = TRUE, ahead = 24)
fixed("usaccdeaths_011_011", USAccDeaths, c(0, 1, 1), c(0, 1, 1), 12, ahead = 24)
# With gaps; presidents has six of its own.
fixed("presidents_300", presidents, c(3, 0, 0), constant = TRUE)
gaps <- c(4, 30, 31, 32, 77)
holes <- Nile; holes[gaps] <- NA
fixed("nile_011_gaps", holes, c(0, 1, 1))
fixed("nile_101_gaps", holes, c(1, 0, 1), constant = TRUE)
holes <- WWWusage; holes[gaps] <- NA
fixed("wwwusage_111_gaps", holes, c(1, 1, 1))
fixed("wwwusage_022_gaps", holes, c(0, 2, 2))
holes <- co2; holes[c(50, 100:104, 300)] <- NA
fixed("co2_011_011_gaps", holes, c(0, 1, 1), c(0, 1, 1), 12, ahead = 24)
# Memory of one machine of PlanetLab, 5 min (tests/golden/stl_trace_input.csv).
trace <- tail(read.csv("tests/golden/stl_trace_input.csv")$value, 600)
fixed("trace_111", trace, c(1, 1, 1))
fixed("trace_201", trace, c(2, 0, 1), constant = TRUE)

# The choice: R's criterion for its own best order, by the same walk and the exact likelihood.
chosen <- function(name, x, period = 0) {
  fit <- auto.arima(x, approximation = FALSE, seasonal = period > 0, allowdrift = TRUE,
                    nmodels = 94)
  arma <- fit$arma
  order <- c(arma[1], arma[6], arma[2], arma[3], arma[7], arma[4], period,
             any(names(coef(fit)) %in% c("intercept", "drift")))
  writeLines(c(
    paste("samples", numbers(x)),
    paste("order", numbers(order)),
    paste("aicc", numbers(fit$aicc))), file.path(out, paste0(name, ".txt")))
}
chosen("choice_nile", Nile)
chosen("choice_lakehuron", LakeHuron)
chosen("choice_lh", lh)
chosen("choice_wwwusage", WWWusage)
chosen("choice_nottem", nottem, 12)
chosen("choice_usaccdeaths", USAccDeaths, 12)
kpss <- function(x) urca::ur.kpss(x, type = "mu", use.lag = trunc(3 * sqrt(length(x)) / 13))@teststat
writeLines(c(paste("nile", numbers(kpss(Nile))), paste("lakehuron", numbers(kpss(LakeHuron))),
             paste("co2", numbers(kpss(co2)))), file.path(out, "kpss.txt"))
