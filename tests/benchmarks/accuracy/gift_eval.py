#!/usr/bin/env python3
"""GIFT-Eval's protocol for Bitbrains, 5 minutes, short term, on the end of the training part.

    gift_eval.py DATA --foreshadow BIN [--model-folder FOLDER] [--models lstm,auto,...] [--work FOLDER]
                 [--update docs/benchmarks.md]

48 steps ahead, 18 windows back to back over the last 864 steps of bitbrains/2013-07, every machine, two
variates: CPU in MHz and in percent. By the benchmark's definitions (Aksu et al. 2024, as gluonts
computes them):

  MASE  mean over all targets of |target - median| / seasonal error, which is the mean change from a
        day to the next over all of the series before the window; targets whose seasonal error is 0
        are left out
  CRPS  mean over the levels 0.1, 0.2, ... 0.9 of 2 * sum of pinball loss / sum of |target|, sums over
        all targets of both variates
  ratio to seasonal naive with normal intervals from the deviation of its errors, gaps in its history
        filled by the last value, as the benchmark's own baseline has it

Missing targets are left out. Levels that `foreshadow` does not give (0.2, 0.3, 0.4, 0.6, 0.7, 0.8) are read
off between the two beside them, along a straight line over the normal distribution's quantiles. Needs
numpy, scipy and pandas (script/bench-peers)."""

import argparse
import json
import pathlib
import subprocess
import sys

import numpy as np
import pandas as pd
from scipy.stats import norm

import accuracy
import make_traces

HORIZON_STEPS = 48
WINDOWS = 18
DAY = 288
LEVELS = np.arange(1, 10) / 10
WINDOW_STEPS = 2016  # of history for our models
WARM_UP_STEPS = 288  # more, from which `auto` learns
BASELINES = ("last value", "seasonal naive")


def capacities(path, vms, steps):
    """MHz of each machine at each step."""
    changes = pd.read_csv(path)
    mhz = np.zeros((len(vms), steps))
    for row, vm in enumerate(vms):
        for _, change in changes[changes.vm == int(vm)].sort_values("from_step").iterrows():
            mhz[row, int(change.from_step):] = change.cpu_capacity_mhz
    return mhz


def read_variates(data):
    """Names and values [series][step]: each machine in MHz, then each in percent."""
    folder = data / "bitbrains" / "2013-07"
    table = pd.read_csv(folder / "cpu_pct.csv.gz", index_col=0)
    percent = table.to_numpy(float)
    vms = [str(vm) for vm in table.index]
    mhz = percent * capacities(folder / "capacity.csv.gz", vms, percent.shape[1]) / 100
    names = [f"vm-{vm}-mhz" for vm in vms] + [f"vm-{vm}" for vm in vms]
    return names, np.concatenate([mhz, percent])


def first_steps(steps):
    return [steps - HORIZON_STEPS * (WINDOWS - w) for w in range(WINDOWS)]


# --- The benchmark's definitions ---------------------------------------------------------------------


def seasonal_error(history, lag):
    """[series], of a history [series][step]; nan where no pair is known."""
    change = np.abs(history[:, lag:] - history[:, :-lag])
    known = ~np.isnan(change)
    count = known.sum(axis=1)
    return np.where(count > 0, np.where(known, change, 0).sum(axis=1) / np.maximum(count, 1), np.nan)


def mase(targets, medians, errors):
    """targets and medians [...]; errors broadcast to them."""
    errors = np.broadcast_to(errors, targets.shape)
    counted = ~np.isnan(targets) & (errors > 0)
    return np.mean(np.abs(targets - medians)[counted] / errors[counted])


def crps(targets, quantiles, levels):
    """targets [...], quantiles [...][level]."""
    counted = ~np.isnan(targets)
    y, q = targets[counted], quantiles[counted]
    losses = [np.maximum(level * (y - q[:, i]), (level - 1) * (y - q[:, i])).sum()
              for i, level in enumerate(levels)]
    return 2 * np.mean(losses) / np.abs(y).sum()


def at_levels(quantiles, given, wanted):
    """Quantiles [...][given] at the levels wanted, by straight lines over normal quantiles."""
    given_z, wanted_z = norm.ppf(given), norm.ppf(wanted)
    upper = np.clip(np.searchsorted(given_z, wanted_z - 1e-9), 1, len(given) - 1)
    share = (wanted_z - given_z[upper - 1]) / (given_z[upper] - given_z[upper - 1])
    return quantiles[..., upper - 1] * (1 - share) + quantiles[..., upper] * share


# --- Forecasts ---------------------------------------------------------------------------------------


def carried_on(history):
    """Gaps filled by the last value; before the first, by that."""
    return pd.DataFrame(history.T).ffill().bfill().to_numpy().T


def baselines(values):
    """{name: [series][window][step][level]}: last value, and seasonal naive as the benchmark has it."""
    starts = first_steps(values.shape[1])
    z = norm.ppf(LEVELS)
    last, seasonal = [], []
    for start in starts:
        known = carried_on(values[:, :start])
        last.append(np.repeat(known[:, -1:], HORIZON_STEPS, axis=1)[..., None] + 0 * z)
        made = known[:, start - DAY:start - DAY + HORIZON_STEPS]
        change = np.nan_to_num(known[:, DAY:] - known[:, :-DAY])
        deviation = np.sqrt(np.mean(change ** 2, axis=1))
        seasonal.append(made[..., None] + deviation[:, None, None] * z)
    return {"last value": np.stack(last, axis=1), "seasonal naive": np.stack(seasonal, axis=1)}


def ours(options, names, values):
    """{model: [series][window][step][level]}, nan where a model had no answer."""
    options.work.mkdir(parents=True, exist_ok=True)
    first = first_steps(values.shape[1])[0] - WINDOW_STEPS - WARM_UP_STEPS
    trace, forecasts = options.work / "gift_eval.csv.gz", options.work / "gift_eval.forecasts.csv"
    accounts = {name: {"cpu": ["" if v != v else f"{v:.7g}" for v in row]}
                for name, row in zip(names, values.tolist())}
    make_traces.write_trace(trace, make_traces.BITBRAINS_START_MS, accounts,
                            range(first, values.shape[1]))
    command = [options.foreshadow, "backtest", str(trace), "--horizon", str(HORIZON_STEPS),
               "--test-steps", str(HORIZON_STEPS * WINDOWS), "--window", str(WINDOW_STEPS),
               "--stride", str(HORIZON_STEPS // options.origins), "--score-every",
               str(options.origins), "--models", options.models, "--forecasts", str(forecasts)]
    if options.model_folder:
        command += ["--model-folder", options.model_folder]
    print(" ".join(command), file=sys.stderr, flush=True)
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    row_of = {name: row for row, name in enumerate(names)}
    found = {}
    for table in pd.read_csv(forecasts, chunksize=1_000_000):
        levels = [float(c[1:]) for c in table.columns if c.startswith("q0")]
        quantiles = table[[c for c in table.columns if c.startswith("q0")]].to_numpy(np.float32)
        end_step = (table.made_at_ms.to_numpy() - make_traces.BITBRAINS_START_MS) // make_traces.STEP_MS
        window = (end_step + 1 - first_steps(values.shape[1])[0]) // HORIZON_STEPS
        rows = table.account.map(row_of).to_numpy()
        for model in table.model.unique():
            if model not in found:
                shape = (len(names), WINDOWS, HORIZON_STEPS, len(LEVELS))
                found[model] = np.full(shape, np.nan, np.float32)
            of = (table.model == model).to_numpy()
            found[model][rows[of], window[of], table.step.to_numpy()[of] - 1] = at_levels(
                quantiles[of], levels, LEVELS)
    return found


def score(values, forecasts):
    """{model: {"mase", "crps", "mae", "nd", "unanswered"}}. What a model did not answer is answered by
    seasonal naive."""
    starts = first_steps(values.shape[1])
    targets = np.stack([values[:, start:start + HORIZON_STEPS] for start in starts], axis=1)
    errors = np.stack([seasonal_error(values[:, :start], DAY) for start in starts], axis=1)[..., None]
    counted = ~np.isnan(targets)
    scores = {}
    for model, quantiles in forecasts.items():
        unanswered = np.isnan(quantiles[..., 4])
        quantiles = np.where(unanswered[..., None], forecasts["seasonal naive"], quantiles)
        off = np.abs(targets - quantiles[..., 4])[counted]
        scores[model] = {
            "mase": float(mase(targets, quantiles[..., 4], errors)),
            "crps": float(crps(targets, quantiles, LEVELS)),
            "mae": float(off.mean()),
            "nd": float(off.sum() / np.abs(targets[counted]).sum()),
            "unanswered": float(unanswered[counted].mean()),
        }
    base = scores["seasonal naive"]
    for of_model in scores.values():
        of_model["mase_ratio"] = of_model["mase"] / base["mase"]
        of_model["crps_ratio"] = of_model["crps"] / base["crps"]
    return scores


def render(scores):
    lines = ["| 48 steps | MASE | CRPS | MASE / seasonal naive | CRPS / seasonal naive | ND |",
             "| --- | --- | --- | --- | --- | --- |"]
    for model, s in sorted(scores.items(), key=lambda item: item[1]["crps"]):
        label = model if model in BASELINES else f"`{model}`"
        lines.append(f"| {label} | {s['mase']:.3f} | {s['crps']:.3f} | {s['mase_ratio']:.3f} | "
                     f"{s['crps_ratio']:.3f} | {s['nd']:.3f} |")
    return "\n".join(lines)


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--foreshadow", help="the program; without it, the baselines alone")
    parser.add_argument("--model-folder", help="of our trained models; default: the program's own")
    parser.add_argument("--models", default="auto", help="names, with commas between")
    parser.add_argument("--origins", type=int, default=16,
                        help="forecasts a window that `auto` learns from, a divisor of 48")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("build/accuracy"))
    parser.add_argument("--json", type=pathlib.Path, help="all figures, into this file")
    parser.add_argument("--update", type=pathlib.Path, help="the page that takes the table")
    options = parser.parse_args()
    names, values = read_variates(options.data)
    forecasts = baselines(values)
    if options.foreshadow:
        forecasts.update(ours(options, names, values))
    scores = score(values, forecasts)
    text = render(scores)
    print(text)
    if options.update:
        accuracy.update(options.update, "gift_eval.py", text + "\n")
    if options.json:
        options.json.write_text(json.dumps(scores, indent=1) + "\n", encoding="ascii")


if __name__ == "__main__":
    main()
