#!/usr/bin/env python3
"""Writes the robust cases of even length and the MSTL cases of tests/golden/stl/, by statsmodels.

R 4.2.2 takes a wrong median of the residuals at some even lengths; statsmodels does not, and equals R
to 5e-12 at odd ones. Inputs are the observed columns of files that make_stl.R wrote. Run from the
root of the repository with numpy and statsmodels (0.15.0 made the files that are kept):
    python tests/golden/make_stl.py
"""
import csv

import numpy as np
from statsmodels.tsa.seasonal import MSTL, STL

FOLDER = "tests/golden/stl/"


def observed(name):
    with open(f"{FOLDER}{name}.csv", newline="", encoding="utf-8") as file:
        return np.array([float(row["observed"]) for row in csv.DictReader(file)])


def default_jump(window):
    return (window + 9) // 10


def write(name, x, period, seasonal, trend, seasonal_deg, inner=1, outer=15):
    """`seasonal` None = periodic, as R does it: a window ten times the length, then phase means."""
    window = seasonal or 10 * len(x) + 1
    low_pass = period + (period % 2 == 0)
    fit = STL(x, period=period, seasonal=window, trend=trend, low_pass=low_pass,
              seasonal_deg=seasonal_deg, trend_deg=1, low_pass_deg=1, robust=True,
              seasonal_jump=default_jump(window), trend_jump=default_jump(trend),
              low_pass_jump=default_jump(low_pass)).fit(inner_iter=inner, outer_iter=outer)
    season = np.array(fit.seasonal)
    trend_line = np.array(fit.trend)
    if seasonal is None:
        for phase in range(period):
            season[phase::period] = season[phase::period].mean()
    rest = x - season - trend_line
    with open(f"{FOLDER}{name}.csv", "w", encoding="utf-8") as file:
        file.write("observed,seasonal,trend,remainder,weight\n")
        for row in zip(x, season, trend_line, rest, fit.weights):
            file.write(",".join(f"{value:.10g}" for value in row) + "\n")


write("nottem_even_robust", observed("nottem_periodic"), 12, None, 19, 0)
write("co2_even_robust_s7", observed("co2_s7"), 12, 7, 23, 0)
write("trace_even_robust_s7", observed("trace_periodic"), 288, 7, 551, 0)


def write_mstl(name, x, periods, windows, **options):
    fit = MSTL(x, periods=periods, windows=windows, stl_kwargs=options).fit()
    names = ["observed", *(f"seasonal_{period}" for period in periods), "trend", "remainder"]
    columns = [x, *np.array(fit.seasonal).reshape(len(x), -1).T, fit.trend, fit.resid]
    with open(f"{FOLDER}{name}.csv", "w", encoding="utf-8") as file:
        file.write(",".join(names) + "\n")
        for row in zip(*columns):
            file.write(",".join(f"{value:.10g}" for value in row) + "\n")


# Requests an hour at a NASA web server in July 1995 (Internet Traffic Archive, freely
# redistributable): days and weeks.
HOURLY = np.loadtxt("tests/golden/mstl_requests_input.csv", skiprows=1)
jumps = {"seasonal_jump": 1, "trend_jump": 1, "low_pass_jump": 1}
write_mstl("mstl_requests", HOURLY, [24, 168], [11, 15], inner_iter=2, outer_iter=0, **jumps)
write_mstl("mstl_requests_robust", HOURLY, [24, 168], [11, 15], robust=True, inner_iter=1,
           outer_iter=5, **jumps)
