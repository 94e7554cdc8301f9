"""Scores of quantile forecasts by their definitions, as `foreshadow backtest` has them. Python 3.9, no
packages."""

import csv
import gzip
from dataclasses import dataclass, field

ANSWERED_MIN_SHARE = 0.95  # of a test's points, for a model to be scored there


@dataclass
class Point:
    """A sample, and what each model said of it."""

    actual: float
    quantiles: dict = field(default_factory=dict)  # {model: [level]}


def read_forecasts(path, points, levels, rename=lambda name: name):
    """Adds a file of forecasts to points, {(account, signal, made_at_ms, step): Point}; samples that
    are missing are left out. `levels` takes the file's levels and must agree with those before."""
    with gzip.open(path, "rt", newline="") as file:
        rows = csv.reader(file)
        found = [float(name[1:]) for name in next(rows)[6:]]
        if levels and levels != found:
            raise ValueError(f"{path}: levels {found}, of the files before {levels}")
        levels[:] = found
        for account, signal, made_at, step, actual, model, *quantiles in rows:
            if actual == "":
                continue
            key = (account, signal, int(made_at), int(step))
            point = points.setdefault(key, Point(float(actual)))
            point.quantiles[rename(model)] = [float(q) for q in quantiles]


def pinball(level, actual, quantile):
    """Koenker and Bassett 1978."""
    off = actual - quantile
    return max(level * off, (level - 1) * off)


def smape(actual, forecast):
    size = abs(actual) + abs(forecast)
    return 2 * abs(actual - forecast) / size if size > 0 else 0.0


def taking_part(points):
    """Models that answered nearly all points."""
    answers = {}
    for point in points.values():
        for model in point.quantiles:
            answers[model] = answers.get(model, 0) + 1
    return [model for model, count in answers.items()
            if count >= ANSWERED_MIN_SHARE * len(points)]


def common(points, models):
    """The points that all of the models answered."""
    return {key: point for key, point in points.items()
            if all(model in point.quantiles for model in models)}


def score_signal(points, model, scales, levels):
    """Scores of one model on points of one signal; scales: {(account, signal): units of MASE}."""
    median, low, high = (levels.index(level) for level in (0.5, 0.1, 0.9))
    losses = actuals = smapes = inside = 0.0
    errors = {}
    for (account, signal, _, _), point in points.items():
        made, y = point.quantiles[model], point.actual
        losses += sum(pinball(level, y, q) for level, q in zip(levels, made)) / len(levels)
        actuals += abs(y)
        smapes += smape(y, made[median])
        inside += made[low] <= y <= made[high]
        total, count = errors.get((account, signal), (0.0, 0))
        errors[account, signal] = (total + abs(y - made[median]), count + 1)
    scaled = [total / count / scales[series] for series, (total, count) in errors.items()
              if scales[series] > 0]
    return {
        "series": len(errors),
        "points": len(points),
        "mases": scaled,  # a series each
        "mase": sum(scaled) / len(scaled) if scaled else 0.0,
        "crps": 2 * losses / actuals if actuals > 0 else 0.0,
        "smape": smapes / len(points),
        "coverage_80": inside / len(points),
    }


def score(points, models, scales, levels, first_step, last_step):
    """[{"model", "signal", ...}] over these distances; "all" takes series alike for MASE, signals alike
    for CRPS and points alike for the others."""
    scores = []
    for model in models:
        by_signal = {}
        for key, point in points.items():
            if first_step <= key[3] <= last_step:
                by_signal.setdefault(key[1], {})[key] = point
        signals = {name: score_signal(of_signal, model, scales, levels)
                   for name, of_signal in sorted(by_signal.items())}
        if not signals:
            continue
        values = list(signals.values())
        count = sum(s["points"] for s in values)
        mases = [mase for s in values for mase in s.pop("mases")]
        signals["all"] = {
            "series": sum(s["series"] for s in values),
            "points": count,
            "mase": sum(mases) / len(mases) if mases else 0.0,
            "crps": sum(s["crps"] for s in values) / len(values),
            "smape": sum(s["smape"] * s["points"] for s in values) / count,
            "coverage_80": sum(s["coverage_80"] * s["points"] for s in values) / count,
        }
        scores += [{"model": model, "signal": signal, "first_step": first_step,
                    "last_step": last_step, **figures} for signal, figures in signals.items()]
    return scores
