"""Series a second of one core, `foreshadow forecast --model prophet` beside Prophet itself.

    python -m venv venv && venv/bin/pip install prophet
    taskset -c 0 venv/bin/python tests/benchmarks/peers/prophet_speed.py build/release/bin/foreshadow \
        TRACES/bitbrains/2013-07/cpu_pct.csv.gz

The trace has a header, then one row a machine: its name and a sample every 5 min. Both fit the first
2,016 samples of those that have them all, and forecast an hour. What is counted
is processor time, so that other work on the machine counts little: for Prophet that of fit and predict
without its imports; for foreshadow what the model takes more than last-value, which leaves reading and
writing out. Each series is there 16 times for foreshadow, to have enough to measure.
"""

import logging
import resource
import subprocess
import sys
import tempfile

import pandas as pd

SAMPLES, AHEAD, PEERS, COPIES = 2016, 12, 24, 16
logging.getLogger("cmdstanpy").setLevel(logging.ERROR)


def spent(whose):
    usage = resource.getrusage(whose)
    return usage.ru_utime + usage.ru_stime


def series_of(trace):
    wide = pd.read_csv(trace, index_col=0).iloc[:, :SAMPLES].T
    wide.index = pd.date_range("2013-06-30 22:00", periods=SAMPLES, freq="5min")
    return wide.loc[:, wide.notna().all() & (wide.std() > 0)]


def by_foreshadow(program, wide):
    copies = pd.concat([wide.add_suffix(f"-{copy}") for copy in range(COPIES)], axis=1)
    with tempfile.NamedTemporaryFile("w", suffix=".csv") as file:
        copies.to_csv(file.name, index=False)
        seconds = {}
        for model in ("last-value", "prophet"):
            runs = []
            for _ in range(3):
                before = spent(resource.RUSAGE_CHILDREN)
                subprocess.run([program, "forecast", file.name, "--model", model,
                                "--step-seconds", "300"], check=True, stdout=subprocess.DEVNULL)
                runs.append(spent(resource.RUSAGE_CHILDREN) - before)
            seconds[model] = min(runs)
    return copies.shape[1] / (seconds["prophet"] - seconds["last-value"])


def by_prophet(wide):
    from prophet import Prophet

    times = wide.index
    ahead = pd.DataFrame({"ds": times[-1] + pd.to_timedelta(range(5, 5 + 5 * AHEAD, 5), "min")})
    columns = list(wide)[: PEERS + 1]
    total = 0
    for column in columns:
        before = spent(resource.RUSAGE_SELF) + spent(resource.RUSAGE_CHILDREN)
        model = Prophet()
        model.fit(pd.DataFrame({"ds": times, "y": wide[column].to_numpy()})).predict(ahead)
        if column != columns[0]:  # the first one loads what all use
            total += spent(resource.RUSAGE_SELF) + spent(resource.RUSAGE_CHILDREN) - before
    return (len(columns) - 1) / total


def main(program, trace):
    wide = series_of(trace)
    ours, peer = by_foreshadow(program, wide), by_prophet(wide)
    print(f"{wide.shape[1]} series of {len(wide)} samples, series/s a core: foreshadow "
          f"{ours:.0f}, Prophet {peer:.2f}, ratio {ours / peer:.0f}")


main(sys.argv[1], sys.argv[2])
