# Rolling quantiles by R's quantile(type = 7) over gaps: Rscript make_quantiles.R > quantiles.csv
# Columns: the series, then each window and level as w<window>_<level>.
set.seed(42)
n <- 60
x <- round(cumsum(rnorm(n)) * 4) / 4  # with ties
x[sample(n, 9)] <- NA
present_min <- 3
columns <- list(value = x)
for (window in c(1, 7, 24, 80)) {
  for (level in c(0, 0.1, 0.5, 0.95, 1)) {
    columns[[sprintf("w%d_%g", window, level)]] <- sapply(seq_len(n), function(i) {
      seen <- na.omit(x[max(1, i - window + 1):i])
      if (length(seen) < min(present_min, window)) NA
      else unname(quantile(seen, level, type = 7))
    })
  }
}
write.csv(format(as.data.frame(columns), digits = 15, trim = TRUE), stdout(), quote = FALSE,
          row.names = FALSE)
