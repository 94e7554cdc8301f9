"""Traces, and the points that all models are scored on: a sample of series and origins, drawn from a
fixed seed. Python 3.9, no packages."""

import array
import csv
import gzip
import hashlib
import json
import math
import random
from dataclasses import dataclass, field

WINDOW_STEPS = 2016  # of history that every model sees
HORIZON_STEPS = 12
DAY_MS = 86_400_000
SEED = 5
# What a series must have to be drawn: samples in its window and in the test, and change before it.
SAMPLES_MIN_SHARE = 0.5

# How many series a signal (0 = all), and how many steps from one origin to the next, such that they
# meet many times of day. The peers take about fifty minutes of processor time for them.
SAMPLES = {
    "bitbrains-unseen": (36, 132),
    "bitbrains-seen": (24, 198),
    "planetlab": (60, 33),
    "google2011": (30, 33),
    "worldcup98": (0, 21),
    "nasa_http": (0, 15),
    "twitter_sample": (0, 15),
    "datacentre": (0, 93),
    "orders": (0, 93),
    "services": (0, 93),
}


@dataclass
class Trace:
    start_ms: int
    step_ms: int
    steps: int
    series: dict = field(default_factory=dict)  # {(account, signal): array of float, nan = missing}


def read_trace(path):
    """Reads a long trace; series without any sample are left out."""
    with gzip.open(path, "rt", newline="") as file:
        rows = csv.reader(file)
        signals = next(rows)[4:]
        series, times = {}, []
        for row in rows:
            time = int(row[0])
            if not times or times[-1] != time:
                times.append(time)
            step = len(times) - 1
            for signal, text in zip(signals, row[4:]):
                if text:
                    series.setdefault((row[2], signal), []).append((step, float(text)))
    step_ms = min(b - a for a, b in zip(times, times[1:]))
    steps = (times[-1] - times[0]) // step_ms + 1
    trace = Trace(times[0], step_ms, steps)
    for key, samples in series.items():
        values = array.array("f", [math.nan]) * steps
        for step, value in samples:
            values[(times[step] - times[0]) // step_ms] = value
        trace.series[key] = values
    return trace


def present(values):
    return [value for value in values if value == value]


def usable(values, first_step):
    before = values[max(0, first_step - WINDOW_STEPS):first_step]
    after = values[first_step:]
    known = present(before)
    return (len(known) >= SAMPLES_MIN_SHARE * len(before) and min(known) < max(known)
            and len(present(after)) >= SAMPLES_MIN_SHARE * len(after))


def draw(trace, test_steps, series_per_signal, stride):
    """Series, sorted, and origins (the first step forecast)."""
    first = trace.steps - test_steps
    by_signal = {}
    for (account, signal), values in sorted(trace.series.items()):
        if usable(values, first):
            by_signal.setdefault(signal, []).append((account, signal))
    chosen = []
    for signal, keys in sorted(by_signal.items()):
        count = min(len(keys), series_per_signal) if series_per_signal > 0 else len(keys)
        chosen += sorted(random.Random(f"{SEED} {signal}").sample(keys, count))
    return chosen, list(range(first, trace.steps - HORIZON_STEPS + 1, stride))


def scale(values, first_step, day):
    """Mean change from a day to the next before first_step, or from a step to the next where there are
    not two days: what MASE is measured in. 0 = nothing changed."""
    lag = day if first_step >= 2 * day else 1
    changes = present(abs(values[t] - values[t - lag]) for t in range(lag, first_step))
    return sum(changes) / len(changes) if changes else 0.0


def make_points(name, trace_path, test_steps, path):
    """Draws the points of a test and keeps them in `path` as JSON."""
    series_per_signal, stride = SAMPLES[name]
    points = {
        "test": name,
        "fingerprint": hashlib.sha256(trace_path.read_bytes()).hexdigest(),
        "series_per_signal": series_per_signal,
        "seed": SEED,
        "test_steps": test_steps,
        "stride": stride,
        "window_steps": WINDOW_STEPS,
        "horizon_steps": HORIZON_STEPS,
    }
    if path.exists():
        kept = json.loads(path.read_text(encoding="ascii"))
        if all(kept.get(key) == value for key, value in points.items()):
            return {**kept, "trace": str(trace_path)}
    trace = read_trace(trace_path)
    series, points["origins"] = draw(trace, test_steps, series_per_signal, stride)
    first, day = trace.steps - test_steps, DAY_MS // trace.step_ms
    points["series"] = [list(key) for key in series]
    points["scales"] = [scale(trace.series[key], first, day) for key in series]
    path.parent.mkdir(parents=True, exist_ok=True)
    points["trace"] = str(trace_path)
    path.write_text(json.dumps(points), encoding="ascii")
    return points
