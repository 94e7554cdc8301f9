# Writes tests/golden/autoregression.txt: what R's lm() makes of lagged copies of R's own data sets,
# with and without gaps. Three lines a case: lags, the series, and c0 c1 .. and the residuals'
# variance. Run from the root of the repository: Rscript tests/golden/make_autoregression.R  (R 4.2.2
# made the file that is kept.)
out <- file("tests/golden/autoregression.txt", "w")
# As the kernels see it: to the nearest float, which matters where a level is large.
single <- function(x) {
  readBin(writeBin(as.numeric(x), raw(), size = 4), "numeric", size = 4, n = length(x))
}
fit_case <- function(x, lags) {
  x <- single(x)
  t <- (max(lags) + 1):length(x)
  columns <- sapply(lags, function(lag) x[t - lag])
  fit <- lm(x[t] ~ columns)  # rows with a gap are left out
  number <- function(v) paste(ifelse(is.na(v), "nan", sprintf("%.10g", v)), collapse = " ")
  writeLines(c(paste("lags", paste(lags, collapse = " ")), paste("series", number(x)),
               paste("fit", number(c(coef(fit), summary(fit)$sigma^2)))), out)
}
with_gaps <- function(x, share) {
  x[sample(length(x), round(share * length(x)))] <- NA
  x
}
set.seed(7)
fit_case(lynx, 1:2)
fit_case(with_gaps(lynx, 0.1), 1:2)
fit_case(LakeHuron, 1)
fit_case(nottem, c(1, 12, 13))
fit_case(with_gaps(nottem, 0.03), c(1, 12, 13))
fit_case(sunspot.year, 1:9)
fit_case(with_gaps(sunspot.month, 0.01), c(1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 24, 120, 132))
fit_case(1e4 + treering[1:3000], c(2, 3, 5, 8, 13))
close(out)
