#!/usr/bin/env python3
"""Turns the public traces into the long traces that `foreshadow` reads, split into what models may
learn from and what they are scored on.

    make_traces.py DATA OUT [--sets bitbrains,planetlab,...]

DATA has bitbrains/2013-07, planetlab and google2011, matrices (a row a machine, a column a step of
300 s), requests, counts a minute, and datacentre, bizitobs and nab, a row a time. Writes
OUT/train/*.csv.gz, OUT/test/*.csv.gz and OUT/split.json, which names each test's trace and how many of
its last steps are scored. This is the one place where the split is made:

  bitbrains  train: machines whose row in cpu_pct is not a multiple of 5, steps before the last 1,440
             (5 days, which hold the demo's replay). test bitbrains-unseen: the other machines,
             bitbrains-seen: the same machines, both on the last 1,152 steps.
  planetlab  train: all days but the last, a file each. test: the second half of the last day.
  google2011 train: rows that are not a multiple of 5. test: the others, second half of the day.
  requests   train: the first three quarters of each series. test: the last quarter. OUT/minutes
             has them by the minute.
  datacentre, bizitobs, nab  test only, the last 5 days: whole data centres (Azure, Google), the orders
             of a business, and what the Numenta Anomaly Benchmark has at 300 s.

Signals: cpu is percent as published; memory in bytes; network in bytes/s, received and sent; disk
writes in KB/s stand in for the mutation rate. Requests, bytes and messages a second are under
network, an account each, means over 300 s. A day that has no date in its source gets one. Python
3.9, no packages."""

import argparse
import csv
import datetime
import gzip
import io
import itertools
import json
import pathlib

STEP_MS = 300_000
FOREIGN_START_MS = 1_577_923_200_000  # 2020-01-02T00:00Z: their dates differ or are not told
DAY = 288  # steps
UNSEEN_EVERY = 5
BITBRAINS_START_MS = 1_372_629_600_000  # 2013-06-30T22:00Z: midnight in Amsterdam
BITBRAINS_TEST_STEPS = 4 * DAY
BITBRAINS_UNLEARNED_STEPS = 5 * DAY
FOREIGN_TEST_STEPS = 5 * DAY
GOOGLE_START_MS = 1_304_294_400_000  # 2011-05-02T00:00Z: its month; the day is not told
TWITTER_START_MS = 1_627_776_000_000  # 2021-08-01T00:00Z: likewise
HALF_DAY_STEPS = DAY // 2
REQUESTS_TEST_SHARE = 4  # one in so many steps, the last
MINUTES_MIN = 3  # of a step's five, to count as a sample

SIGNALS = ("cpu", "memory", "network", "storage", "mutation_rate")
SETS = ("bitbrains", "planetlab", "google2011", "requests", "datacentre", "bizitobs", "nab")


def unseen(row):
    """Whether the machine in this row of its matrix is kept from all training."""
    return row % UNSEEN_EVERY == 0


def read_matrix(path):
    """{name: fields}, in the order of the file; "" = missing."""
    with gzip.open(path, "rt", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        return {row[0]: row[1:] for row in rows}


def read_rows(path):
    """{column: field} of each row."""
    with gzip.open(path, "rt", newline="") as file:
        return list(csv.DictReader(file))


def scaled(field, factor):
    return f"{float(field) * factor:.7g}" if field else ""


def number(value):
    return "" if value is None else f"{value:.7g}"


def write_trace(path, start_ms, accounts, steps, step_ms=STEP_MS):
    """accounts: {name: {signal: fields}}; writes the steps of this range, numbered from 0 at
    start_ms."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(path.name + ".part")
    # Without a time or a name in the header the same input gives the same bytes.
    with open(part, "wb") as raw, gzip.GzipFile("", "wb", 4, raw, mtime=0) as packed:
        file = io.TextIOWrapper(packed, "ascii", write_through=False)
        file.write("timestamp,cell,account,application," + ",".join(SIGNALS) + "\n")
        lines = []
        for name, signals in accounts.items():
            none = itertools.repeat("")
            lines.append((f",cell-1,{name},,",
                          [signals[signal][steps.start:steps.stop] if signal in signals else none
                           for signal in SIGNALS]))
        columns = [(middle, zip(*fields)) for middle, fields in lines]
        for step in steps:
            time = str(start_ms + step * step_ms)
            for middle, fields in columns:
                values = next(fields)
                # An account's first row makes it known; later ones without a sample say nothing.
                if step == steps.start or any(values):
                    file.write(time + middle + ",".join(values) + "\n")
        file.flush()
        file.detach()
    part.replace(path)


def bitbrains(data, out):
    folder = data / "bitbrains" / "2013-07"
    cpu = read_matrix(folder / "cpu_pct.csv.gz")
    memory = read_matrix(folder / "memory_kb.csv.gz")
    received = read_matrix(folder / "net_rx_kbps.csv.gz")
    sent = read_matrix(folder / "net_tx_kbps.csv.gz")
    writes = read_matrix(folder / "disk_write_kbps.csv.gz")
    groups = {True: {}, False: {}}
    for row, (vm, fields) in enumerate(cpu.items()):
        signals = {"cpu": fields}
        if vm in memory:
            signals["memory"] = [scaled(x, 1024) for x in memory[vm]]
            signals["network"] = [f"{(float(r) + float(s)) * 1024:.7g}" if r and s else ""
                                  for r, s in zip(received[vm], sent[vm])]
            signals["mutation_rate"] = writes[vm]
        groups[unseen(row)][f"vm-{vm}"] = signals
    steps = len(next(iter(cpu.values())))
    learned = range(steps - BITBRAINS_UNLEARNED_STEPS)
    write_trace(out / "train" / "bitbrains.csv.gz", BITBRAINS_START_MS, groups[False], learned)
    tests = {}
    for name, kept in (("bitbrains-unseen", True), ("bitbrains-seen", False)):
        write_trace(out / "test" / f"{name}.csv.gz", BITBRAINS_START_MS, groups[kept], range(steps))
        tests[name] = BITBRAINS_TEST_STEPS
    return tests


def planetlab(data, out):
    days = sorted((data / "planetlab").glob("2*.csv.gz"))
    for path in days:
        day = datetime.datetime.strptime(path.name[:8], "%Y%m%d")
        start_ms = int(day.replace(tzinfo=datetime.timezone.utc).timestamp()) * 1000
        # An account's name has no spaces.
        accounts = {name.replace(" ", ""): {"cpu": fields}
                    for name, fields in read_matrix(path).items()}
        name = ("test/planetlab.csv.gz" if path == days[-1]
                else f"train/planetlab-{path.name[:8]}.csv.gz")
        write_trace(out / name, start_ms, accounts, range(DAY))
    return {"planetlab": HALF_DAY_STEPS}


def google2011(data, out):
    cpu = read_matrix(data / "google2011" / "cpu_pct.csv.gz")
    memory = read_matrix(data / "google2011" / "memory_pct.csv.gz")
    groups = {True: {}, False: {}}
    for row, (name, fields) in enumerate(cpu.items()):
        groups[unseen(row)][name] = {"cpu": fields, "memory": memory[name]}
    for part, kept in (("train", False), ("test", True)):
        write_trace(out / part / "google2011.csv.gz", GOOGLE_START_MS, groups[kept], range(DAY))
    return {"google2011": HALF_DAY_STEPS}


def each_minute(samples, start_ms):
    """Means a second over minutes, of {ms: count a minute}, from start_ms on."""
    minutes = (max(samples) - start_ms) // 60_000 + 1
    counts = [samples.get(start_ms + minute * 60_000) for minute in range(minutes)]
    return [number(None if count is None else count / 60) for count in counts]


def five_minutes(samples, start_ms):
    """Means a second over steps of 300 s, of {ms: count a minute}, from start_ms on."""
    steps = (max(samples) - start_ms) // STEP_MS + 1
    sums, minutes = [0.0] * steps, [0] * steps
    for time_ms, value in samples.items():
        step = (time_ms - start_ms) // STEP_MS
        sums[step] += value
        minutes[step] += 1
    return [number(s / n / 60 if n >= MINUTES_MIN else None) for s, n in zip(sums, minutes)]


def requests(data, out):
    def rows(name):
        return read_rows(data / "requests" / f"{name}.csv.gz")

    def stamp_ms(text):
        time = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
        return int(time.timestamp()) * 1000

    sources = {
        "worldcup98": [(stamp_ms(r["timestamp"]), {"worldcup98": r["requests"],
                                                   "worldcup98-bytes": r["bytes"]})
                       for r in rows("worldcup98")],
        "nasa_http": [(stamp_ms(r["timestamp"]), {"nasa_http": r["requests"]})
                      for r in rows("nasa_http")],
        "twitter_sample": [(TWITTER_START_MS + (int(r["day"]) * 1440 + int(r["minute"])) * 60_000,
                            {"twitter_sample": r["messages"]}) for r in rows("twitter_sample")],
    }
    tests = {}
    for name, minutes in sources.items():
        start_ms = min(time for time, _ in minutes)
        accounts, by_minute = {}, {}
        for account in minutes[0][1]:
            samples = {time: float(fields[account]) for time, fields in minutes if fields[account]}
            accounts[account] = {"network": five_minutes(samples, start_ms)}
            by_minute[account] = {"network": each_minute(samples, start_ms)}
        steps = len(next(iter(accounts.values()))["network"])
        tests[name] = steps // REQUESTS_TEST_SHARE
        learned = range(steps - tests[name])
        write_trace(out / "train" / f"{name}.csv.gz", start_ms, accounts, learned)
        write_trace(out / "test" / f"{name}.csv.gz", start_ms, accounts, range(steps))
        count = max(len(signals["network"]) for signals in by_minute.values())
        write_trace(out / "minutes" / f"{name}.csv.gz", start_ms, by_minute, range(count), 60_000)
    return tests


# --- What nothing is learned from ---------------------------------------------------------------------

def foreign(out, name, series):
    """series: {(account, signal): (number of the first step, fields)}. All end with their last whole day
    and keep their times of day."""
    ends = {key: (first + len(fields)) // DAY * DAY for key, (first, fields) in series.items()}
    days = max(ends[key] // DAY - first // DAY for key, (first, _) in series.items())
    accounts = {}
    for (account, signal), (first, fields) in series.items():
        known = fields[:ends[account, signal] - first]
        accounts.setdefault(account, {})[signal] = [""] * (days * DAY - len(known)) + known
    write_trace(out / "test" / f"{name}.csv.gz", FOREIGN_START_MS, accounts, range(days * DAY))
    return {name: FOREIGN_TEST_STEPS}


def datacentre(data, out):
    azure = read_rows(data / "datacentre" / "azure2019_300s.csv.gz")
    google = read_rows(data / "datacentre" / "google2019_300s.csv.gz")
    return foreign(out, "datacentre", {
        ("azure2019", "cpu"): (0, [row["cpu_usage"] for row in azure]),
        ("azure2019", "memory"): (0, [row["assigned_mem"] for row in azure]),
        ("google2019", "cpu"): (0, [row["avg_cpu"] for row in google]),
        ("google2019", "memory"): (0, [row["avg_mem"] for row in google])})


def bizitobs(data, out):
    rows = read_rows(data / "bizitobs" / "l2c_300s.csv.gz")
    return foreign(out, "orders", {(column, "network"): (0, [row[column] for row in rows])
                                   for column in rows[0] if column not in ("timestamp", "step")})


def nab(data, out):
    series = {}
    for path in sorted((data / "nab").glob("*/*.csv.gz")):
        at = {}  # the sample of each step, the latest where there are two
        for row in read_rows(path):
            time = datetime.datetime.fromisoformat(row["timestamp"] + "+00:00")
            at[int(time.timestamp()) * 1000 // STEP_MS] = row["value"]
        first, last = min(at), max(at)
        if len(at) < (last - first) // 2:
            continue  # not at 300 s
        signal = "cpu" if "cpu" in path.name else "network"
        series[path.name.split(".")[0], signal] = (
            first, [at.get(t, "") for t in range(first, last + 1)])
    return foreign(out, "services", series)


def make_traces(data, out, sets=SETS):
    """Writes the traces; {test: {"trace", "test_steps"}}."""
    split = {}
    for name in sets:
        for test, steps in globals()[name](data, out).items():
            split[test] = {"trace": f"test/{test}.csv.gz", "test_steps": steps}
    with open(out / "split.json", "w", encoding="ascii") as file:
        json.dump(split, file, indent=2)
        file.write("\n")
    return split


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("out", type=pathlib.Path)
    parser.add_argument("--sets", type=lambda text: text.split(","), default=SETS)
    options = parser.parse_args()
    for test, of_test in make_traces(options.data, options.out, options.sets).items():
        print(f"{test}: {of_test['trace']}, the last {of_test['test_steps']} steps are scored")


if __name__ == "__main__":
    main()
