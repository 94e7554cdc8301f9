# R's stl() as a peer of `foreshadow bench`; called as training/bench/peers.h says. peer=r times
# stl() as it is; peer=r-fortran only the Fortran within, without R's work around it.
arguments <- commandArgs(trailingOnly = TRUE)
pairs <- strsplit(arguments[-(1:2)], "=", fixed = TRUE)
given <- setNames(lapply(pairs, `[`, 2), vapply(pairs, `[`, "", 1))
number <- function(key) as.numeric(strsplit(given[[key]], ",", fixed = TRUE)[[1]])

if (length(number("period")) > 1) {
  cat("unfit stl() has one season\n")
  quit()
}
steps <- number("steps")
period <- number("period")
if (steps <= 2 * period) {
  cat("unfit stl() wants more than two periods\n")
  quit()
}
file <- file(arguments[1], "rb")
values <- readBin(file, "double", number("series") * steps, size = 4)
close(file)
series <- lapply(seq_len(number("series")), function(s) {
  ts(values[(s - 1) * steps + seq_len(steps)], frequency = period)
})
periodic <- number("periodic") == 1

by_stl <- function(x) {
  parts <- stl(x, s.window = if (periodic) "periodic" else number_of$seasonal_window,
               s.degree = number_of$seasonal_degree, t.window = number_of$trend_window,
               t.degree = number_of$trend_degree, l.window = number_of$low_pass_window,
               l.degree = number_of$low_pass_degree, s.jump = number_of$seasonal_jump,
               t.jump = number_of$trend_jump, l.jump = number_of$low_pass_jump,
               robust = number_of$outer > 0, inner = number_of$inner,
               outer = number_of$outer)$time.series
  cbind(parts[, "seasonal"], parts[, "trend"])
}
number_of <- lapply(given[grep("_|inner|outer", names(given))], as.numeric)
whole <- lapply(number_of, as.integer)
routine <- getFromNamespace("C_stl", "stats")
by_fortran <- function(x) {
  z <- .Fortran(routine, x, as.integer(steps), as.integer(period), whole$seasonal_window,
                whole$trend_window, whole$low_pass_window, whole$seasonal_degree,
                whole$trend_degree, whole$low_pass_degree, whole$seasonal_jump, whole$trend_jump,
                whole$low_pass_jump, whole$inner, whole$outer, weights = double(steps),
                seasonal = double(steps), trend = double(steps),
                double((steps + 2 * period) * 5))
  cbind(z$seasonal, z$trend)
}
decompose <- if (given$peer == "r") by_stl else by_fortran
over_cycle <- function(season) ave(season, (seq_len(steps) - 1) %% period)

cat("version ", R.version.string, "\n", sep = "")
used <- function() sum(proc.time()[c("user.self", "sys.self")])
for (pass in seq_len(number("passes"))) {
  parts <- list()
  start <- used()
  for (x in series) {
    parts[[length(parts) + 1]] <- decompose(x)
    if (used() - start >= number("seconds")) break
  }
  # proc.time() is no finer than this.
  cat("pass", length(parts), max(used() - start, 0.001), "\n")
  if (pass == 1) first <- parts
}
file <- file(arguments[2], "wb")
for (part in first) {
  if (periodic && given$peer == "r-fortran") part[, 1] <- over_cycle(part[, 1])
  writeBin(as.numeric(part), file, size = 4)
}
close(file)
