#!/usr/bin/env python3
"""Forecasts of the programs that others would reach for, on the points of accuracy.py.

    peers.py POINTS CACHE

POINTS is points.py's JSON; the forecasts of each peer go to CACHE, a file a peer, in the format of
`foreshadow backtest --forecasts`. A file that is there already is not made again: its name tells test,
peer, and a key of the data, the points and the version of the peer.

All see the same samples as our models: at most the window before the origin, from the first sample
on. Their gaps are filled by a straight line, as they take none. Negative quantiles count as 0 for all,
as every signal here is at least 0. Needs statsforecast and prophet (requirements.txt)."""

import csv
import gzip
import hashlib
import importlib.metadata
import json
import logging
import math
import os
import pathlib
import sys
import time
import warnings

os.environ.setdefault("OMP_NUM_THREADS", "1")

import numpy as np
import pandas as pd
from scipy.stats import norm

import points as points_module

LEVELS = np.array([0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99])
Z = norm.ppf(LEVELS)
HOUR = 12  # steps
DAY = 288
ERRORS_MIN = 8
INTERVALS = [50, 80, 90, 95, 98]  # of statsforecast, which give all of LEVELS but the median


class NoAnswer(Exception):
    """The peer cannot do this series."""


def filled(values):
    """From the first sample on, gaps by a straight line; the last sample is carried on."""
    known = np.flatnonzero(~np.isnan(values))
    if len(known) == 0:
        raise NoAnswer("no sample")
    at = np.arange(known[0], len(values))
    return np.interp(at, known, values[known])


# --- The simple ones: a forecast, and what errors it made on the window ------------------------------


def last_value(y, steps):
    return np.full(steps, y[-1])


def last_hour_mean(y, steps):
    return np.full(steps, y[-HOUR:].mean())


def last_hour_median(y, steps):
    return np.full(steps, np.median(y[-HOUR:]))


def seasonal_naive(y, steps):
    if len(y) < DAY + steps:
        raise NoAnswer("less than a day")
    return y[len(y) - DAY:len(y) - DAY + steps].copy()


def past_errors(forecast, y, steps, days):
    """Errors of the forecasts that would have been made before, a list a distance, newest days."""
    errors = [[] for _ in range(steps)]
    for origin in range(max(HOUR, len(y) - days * DAY), len(y)):
        try:
            made = forecast(y[:origin], steps)
        except NoAnswer:
            continue
        for step in range(min(steps, len(y) - origin)):
            errors[step].append(y[origin + step] - made[step])
    return errors


def empirical(forecast, days):
    """Quantiles: the forecast plus those of its past errors at that distance; its median stays."""

    def quantiles(y, steps):
        centre = forecast(y, steps)
        errors = past_errors(forecast, y, steps, days)
        if min(map(len, errors)) < ERRORS_MIN:
            raise NoAnswer("too few errors")
        out = np.array([centre[step] + np.quantile(errors[step], LEVELS) for step in range(steps)])
        out[:, 3] = centre
        return np.sort(out, axis=1)

    return quantiles


def normal(forecast, days, growth):
    """Quantiles: normal, by the deviation of errors one step ahead, grown with the distance."""

    def quantiles(y, steps):
        centre = forecast(y, steps)
        errors = past_errors(forecast, y, 1, days)[0]
        if len(errors) < ERRORS_MIN:
            raise NoAnswer("too few errors")
        deviation = math.sqrt(np.mean(np.square(errors)))
        return centre[:, None] + deviation * growth(np.arange(1, steps + 1))[:, None] * Z

    return quantiles


def flat(distance):
    return np.ones(len(distance))


# --- statsforecast and Prophet -----------------------------------------------------------------------


def of_intervals(made):
    """statsforecast's bounds as quantiles."""
    columns = []
    for level in LEVELS:
        if level == 0.5:
            columns.append(made["mean"])
        elif level < 0.5:
            columns.append(made[f"lo-{round(100 * (1 - 2 * level))}"])
        else:
            columns.append(made[f"hi-{round(100 * (2 * level - 1))}"])
    return np.column_stack(columns)


class AutoArima:
    """The order is chosen at a series' first origin, which is slow; its coefficients are fitted anew at
    each. (statsforecast's forward, which carries a model on over new samples, runs away where the model
    has a drift.)"""

    def __init__(self):
        self.series, self.model = None, None

    def __call__(self, y, steps, series, _):
        from statsforecast.models import ARIMA, AutoARIMA

        if series != self.series:
            chosen = AutoARIMA(season_length=1).fit(y)
            p, q, _, _, _, d, _ = chosen.model_["arma"]
            self.series = series
            self.model = ARIMA(order=(p, d, q), include_mean="intercept" in chosen.model_["coef"],
                               include_drift="drift" in chosen.model_["coef"])
            return of_intervals(chosen.predict(h=steps, level=INTERVALS))
        return of_intervals(self.model.fit(y).predict(h=steps, level=INTERVALS))


def auto_ets(y, steps):
    from statsforecast.models import AutoETS

    return of_intervals(AutoETS(season_length=1).fit(y).predict(h=steps, level=INTERVALS))


def mstl_ets(y, steps):
    from statsforecast.models import MSTL, AutoETS

    if len(y) < 2 * DAY:
        raise NoAnswer("less than two seasons")
    model = MSTL(season_length=DAY, trend_forecaster=AutoETS(model="ZZN"))
    return of_intervals(model.fit(y).predict(h=steps, level=INTERVALS))


def prophet(y, steps, _, end_ms):
    from prophet import Prophet

    step = pd.Timedelta(milliseconds=300_000)
    end = pd.Timestamp(end_ms, unit="ms")
    times = pd.date_range(end=end, periods=len(y), freq=step)
    model = Prophet()
    np.random.seed(1)
    model.fit(pd.DataFrame({"ds": times, "y": y}), seed=1)
    future = pd.DataFrame({"ds": pd.date_range(end + step, periods=steps, freq=step)})
    return np.quantile(model.predictive_samples(future)["yhat"], LEVELS, axis=1).T


def timeless(quantiles):
    return lambda y, steps, *_: quantiles(y, steps)


def peers():
    """{name: (package or None, revision of our use of it, function)}."""
    return {
        "last value": (None, 1, timeless(empirical(last_value, 1))),
        "last value, normal": (None, 1, timeless(normal(last_value, 7, np.sqrt))),
        "last-hour mean": (None, 1, timeless(empirical(last_hour_mean, 1))),
        "last-hour mean, normal": (None, 1, timeless(normal(last_hour_mean, 7, flat))),
        "last-hour median": (None, 1, timeless(empirical(last_hour_median, 1))),
        "last-hour median, normal": (None, 1, timeless(normal(last_hour_median, 7, flat))),
        "seasonal naive": (None, 1, timeless(empirical(seasonal_naive, 2))),
        "seasonal naive, normal": (None, 1, timeless(normal(seasonal_naive, 7, flat))),
        "AutoETS": ("statsforecast", 1, timeless(auto_ets)),
        "MSTL+AutoETS": ("statsforecast", 1, timeless(mstl_ets)),
        "Prophet": ("prophet", 1, prophet),
        "AutoARIMA": ("statsforecast", 2, AutoArima()),
    }


# --- The run -----------------------------------------------------------------------------------------


def key_of(points, name, package, revision):
    version = importlib.metadata.version(package) if package else importlib.metadata.version("numpy")
    text = json.dumps([points["fingerprint"], points["test_steps"], points["window_steps"],
                       points["horizon_steps"], points["origins"], points["series"], name, version,
                       revision])
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def forecast_all(points, trace, name, peer, path):
    start, failed = time.process_time(), {}
    part = path.with_name(path.name + ".part")
    with gzip.open(part, "wt", newline="", encoding="ascii") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["account", "signal", "made_at_ms", "step", "actual", "model"]
                     + [f"q{level:g}" for level in LEVELS])
        for account, signal in points["series"]:
            values = np.array(trace.series[account, signal], dtype=float)
            for origin in points["origins"]:
                end_ms = trace.start_ms + (origin - 1) * trace.step_ms
                window = values[max(0, origin - points["window_steps"]):origin]
                try:
                    made = peer(filled(window), points["horizon_steps"], (account, signal),
                                end_ms)
                except Exception as error:  # of any kind: the packages raise many
                    failed[type(error).__name__ + ": " + str(error)[:60]] = (account, signal, origin)
                    continue
                if not np.isfinite(made).all():
                    failed["not finite"] = (account, signal, origin)
                    continue
                for step, row in enumerate(np.maximum(np.sort(made, axis=1), 0)):
                    actual = values[origin + step]
                    out.writerow([account, signal, end_ms, step + 1,
                                  "" if math.isnan(actual) else f"{actual:.9g}", name]
                                 + [f"{q:.9g}" for q in row])
    part.replace(path)
    print(f"{points['test']}: {name}: {time.process_time() - start:.1f} s of processor time"
          + "".join(f"; {error} (last at {where})" for error, where in failed.items()), flush=True)


def main():
    warnings.filterwarnings("ignore")
    logging.disable(logging.ERROR)  # Prophet misses plotly, which nothing here draws with
    with open(sys.argv[1], encoding="ascii") as file:
        points = json.load(file)
    cache = pathlib.Path(sys.argv[2])
    cache.mkdir(parents=True, exist_ok=True)
    trace = None
    for name, (package, revision, peer) in peers().items():
        file_name = name.lower().replace(", ", "-").replace(" ", "-").replace("+", "-")
        key = key_of(points, name, package, revision)
        path = cache / f"{points['test']}.{file_name}.{key}.csv.gz"
        if not path.exists():
            trace = trace or points_module.read_trace(points["trace"])
            forecast_all(points, trace, name, peer, path)
        print(f"file {path}", flush=True)


if __name__ == "__main__":
    main()
