"""Golden values for the additive model, by Prophet itself (1.5.0) on real series.

    python -m venv venv && venv/bin/pip install prophet scikit-learn
    venv/bin/python tests/golden/make_prophet.py FOLDER_OF_PUBLIC_TRACES

The folder holds requests/nasa_http.csv.gz (requests a minute at a NASA web server, July 1995) and
bitbrains/2013-07/cpu_pct.csv.gz (CPU of virtual machines, 5 min). Prophet's optimiser halts where the
prior has its kinks, about one nat short, so a file holds two results: Prophet's own, and the forecast
of Prophet with its parameters taken on to the optimum of the same posterior.
"""

import json
import logging
import pathlib
import sys

import numpy as np
import pandas as pd
from prophet import Prophet
from sklearn import linear_model

OUT = pathlib.Path(__file__).parent / "prophet"
AHEAD = 48
PATHS = 20_000
logging.getLogger("cmdstanpy").setLevel(logging.WARNING)


def objective(model, params):
    """Negative log posterior without constants, as prophet.stan has it."""
    t, y, features, scales = data_of(model)
    k, m, sigma = (float(np.ravel(params[name])[0]) for name in ("k", "m", "sigma_obs"))
    delta, beta = np.ravel(params["delta"]), np.ravel(params["beta"])
    trend = model.piecewise_linear(t, delta, k, m, model.changepoints_t)
    error = y - trend - features @ beta
    return float(len(t) * np.log(sigma) + error @ error / (2 * sigma**2) + 2 * sigma**2
                 + (k * k + m * m) / 50 + np.abs(delta).sum() / model.changepoint_prior_scale
                 + (beta**2 / scales**2 / 2).sum())


def data_of(model):
    """Times, samples, features and prior scales, as Prophet hands them to Stan."""
    features, scales, _, _ = model.make_all_seasonality_features(model.history)
    return (model.history["t"].to_numpy(), model.history["y_scaled"].to_numpy(),
            features.to_numpy(float), np.array(scales))


def polished(model):
    """Prophet's parameters, taken on to the optimum of its posterior: given the noise the rate
    changes are a lasso, which scikit-learn's least-angle regression solves exactly once the columns
    with normal priors are eliminated; given those the noise has a closed form; and so on in turns."""
    t, y, features, scales = data_of(model)
    ramps = np.maximum(0, t[:, None] - model.changepoints_t)
    smooth = np.column_stack([t, np.ones_like(t), features])
    ridge = np.diag(np.concatenate([[1 / 25, 1 / 25], 1 / scales**2]))
    variance = float(np.ravel(model.params["sigma_obs"])[0]) ** 2
    for _ in range(200):
        inverse = np.linalg.inv(smooth.T @ smooth + variance * ridge)
        rest = lambda v: v - smooth @ (inverse @ (smooth.T @ v))
        _, _, path = linear_model.lars_path_gram(
            ramps.T @ rest(y), ramps.T @ rest(ramps), n_samples=1, method="lasso",
            alpha_min=variance / model.changepoint_prior_scale, max_iter=10_000)
        delta = path[:, -1]
        effects = inverse @ (smooth.T @ (y - ramps @ delta))
        error = y - smooth @ effects - ramps @ delta
        count, before = len(y), variance
        variance = (-count + np.sqrt(count**2 + 16 * error @ error)) / 8
        if abs(variance - before) < 1e-13 * variance:
            break
    return {"k": np.array([[effects[0]]]), "m": np.array([[effects[1]]]),
            "beta": effects[None, 2:], "delta": delta[None, :],
            "sigma_obs": np.array([[np.sqrt(variance)]])}


def make(name, start, step, y, seasons, holidays=None, regressor=None, changepoints=None):
    """One file: what was fitted, and what Prophet made of it."""
    past = len(y)
    y = np.array([float(f"{v:.8g}") for v in y])
    samples = [None if np.isnan(v) else v for v in y]
    ds = pd.Timestamp(start) + pd.to_timedelta(np.arange(past + AHEAD) * step, unit="s")
    past_frame = pd.DataFrame({"ds": ds[:past], "y": y})
    ahead_frame = pd.DataFrame({"ds": ds})
    if regressor is not None:
        past_frame["x"], ahead_frame["x"] = regressor[:past], regressor

    np.random.seed(1)
    model = Prophet(daily_seasonality=False, weekly_seasonality=False, yearly_seasonality=False,
                    holidays=holidays, interval_width=0.8, uncertainty_samples=PATHS,
                    changepoints=changepoints)
    for period, order in seasons:
        model.add_seasonality(f"every_{period}", period, order)
    if regressor is not None:
        model.add_regressor("x")
    model.fit(past_frame)
    own_objective = objective(model, model.params)
    own = model.predict(ahead_frame)
    model.params = polished(model)
    said = model.predict(ahead_frame)
    num = lambda values: [None if np.isnan(v) else float(f"{v:.8g}") for v in values]
    golden = {
        "begin_s": int(pd.Timestamp(start).timestamp()), "step_s": step, "ahead": AHEAD,
        "seasons": [list(season) for season in seasons], "samples": samples, "scale": model.y_scale,
        "sigma": float(np.ravel(model.params["sigma_obs"])[0]),
        "objective": objective(model, model.params), "objective_prophet": own_objective,
        "trend": num(said["trend"]), "yhat": num(said["yhat"]),
        "yhat_prophet": num(own["yhat"][past:]),
        "lower": num(said["yhat_lower"][past:]), "upper": num(said["yhat_upper"][past:]),
    }
    if holidays is not None:
        golden["events_s"] = [int(day.timestamp()) for day in holidays["ds"]]
    if regressor is not None:
        golden["regressor"] = num(regressor)
    OUT.mkdir(exist_ok=True)
    (OUT / f"{name}.json").write_text(json.dumps(golden, separators=(",", ":")) + "\n")
    print(f"{name}: objective {golden['objective']:.6f}, Prophet's own "
          f"{own_objective:.6f}, sigma {golden['sigma']:.6f}")


def main(folder):
    traces = pathlib.Path(folder)
    nasa = pd.read_csv(traces / "requests/nasa_http.csv.gz")["requests"].to_numpy(float)
    by_5_min = nasa[: len(nasa) // 5 * 5].reshape(-1, 5).mean(axis=1)
    by_hour = nasa[: len(nasa) // 60 * 60].reshape(-1, 60).mean(axis=1)
    day, week = (1, 10), (7, 3)
    first = "1995-07-01 04:00:00"
    make("requests_5_min", first, 300, by_5_min[:2016], [day])
    make("requests_hour", first, 3600, by_hour[:600], [(1, 4), week])

    cpu = pd.read_csv(traces / "bitbrains/2013-07/cpu_pct.csv.gz", index_col=0)
    # The first machine with a daily shape and no gap over its first week.
    week_of = cpu.iloc[:, :2016].to_numpy(float)
    whole = [i for i in range(len(week_of)) if not np.isnan(week_of[i]).any()
             and week_of[i].mean() > 5]
    machine = week_of[whole[0]]
    trace_first = "2013-06-30 22:00:00"
    make("trace_cpu", trace_first, 300, machine, [day])

    # A tenth missing, single samples and a stretch; change points at the whole grid's places.
    gaps = np.random.default_rng(5)
    holed = machine.copy()
    holed[gaps.random(2016) < 0.05] = np.nan
    holed[700:800] = np.nan
    holed[[0, 2015]] = machine[[0, 2015]]
    grid = pd.Timestamp(trace_first) + pd.to_timedelta(np.arange(2016) * 300, unit="s")
    rows = np.linspace(0, 2016 * 8 // 10 - 1, 26).round().astype(int)[1:]
    make("trace_cpu_gaps", trace_first, 300, holed, [day], changepoints=list(grid[rows]))

    # Three days as one event, and as a regressor what came 24 hours before.
    holidays = pd.DataFrame({"holiday": "quiet",
                             "ds": pd.to_datetime(["1995-07-04", "1995-07-21", "1995-07-28"])})
    make("requests_events", first, 3600, by_hour[24:600], [(1, 4), week], holidays=holidays,
         regressor=by_hour[: 576 + AHEAD])


main(sys.argv[1])
