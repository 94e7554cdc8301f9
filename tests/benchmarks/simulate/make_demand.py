#!/usr/bin/env python3
"""Turns matrices of public traces into long traces in cores and bytes, for `foreshadow simulate`.

    make_demand.py DATA OUT

DATA has planetlab/ and bitbrains/2013-07/: matrices, a row a machine, a column a step of 300 s, in
percent of the machine. Writes to OUT:

  planetlab-DAY.csv.gz   every day. A machine is one of CloudSim's four types in turn, as CloudSim
                         deals them: 2500, 2000, 1000 or 500 MIPS; a core is 2500 of them.
  planetlab-10-days.csv.gz  for speed alone: 1,000 machines, the days joined by position, round after
                         round until there are ten; each round's machines are shifted
  bitbrains-tune.csv.gz  14 days of the machines whose row is not a multiple of 5
  bitbrains-test.csv.gz  the last 11 days (7 to warm up, 4 to score) of those whose row is: no model
                         has learned from these machines, nor from these 4 days

Cores of a Bitbrains machine are percent / 100 times what it had in that step. Of the 180 machines
whose memory and network were measured these are told as well, in bytes and bytes/s. Python 3.9, no
packages."""

import csv
import datetime
import gzip
import io
import pathlib
import sys

STEP_MS = 300_000
DAY = 288
BITBRAINS_START_MS = 1_372_629_600_000  # 2013-06-30T22:00Z
MIPS = (2500, 2000, 1000, 500)
UNSEEN_EVERY = 5
TUNE_STEPS = 14 * DAY
TEST_STEPS = 11 * DAY
JOINED = 1_000
JOINED_DAYS = 10
JOINED_SHIFT = 37
JOINED_START_MS = 1_299_110_400_000  # 2011-03-03
HEADER = "timestamp,cell,account,application,cpu,memory,network,storage,mutation_rate\n"


def read_matrix(path):
    with gzip.open(path, "rt", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        return {row[0]: row[1:] for row in rows}


def number(text, factor):
    return "" if text == "" else f"{float(text) * factor:.6g}"


def write(path, start_ms, first, last, accounts):
    """accounts: {name: (cpu, memory, network)}, lists of texts by step, or None."""
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 6, raw, mtime=0) as packed:
        with io.TextIOWrapper(packed, newline="") as out:
            out.write(HEADER)
            for step in range(first, last):
                for name, signals in accounts.items():
                    fields = [s[step] if s else "" for s in signals]
                    if step > first and not any(fields):
                        continue
                    out.write(f"{start_ms + step * STEP_MS},cell,{name},,{','.join(fields)},,\n")
    print(path)


def planetlab(data, out):
    for path in sorted((data / "planetlab").glob("*.csv.gz")):
        day = path.name.split(".")[0]
        start = datetime.datetime.strptime(day + "+0000", "%Y%m%d%z")
        accounts = {}
        for i, (name, percents) in enumerate(read_matrix(path).items()):
            cores = MIPS[i % len(MIPS)] / MIPS[0]
            accounts[f"vm-{i + 1}"] = ([number(p, cores / 100) for p in percents], None, None)
        write(out / f"planetlab-{day}.csv.gz", int(start.timestamp() * 1000), 0, DAY, accounts)


def planetlab_joined(data, out):
    days = [list(read_matrix(path).values())
            for path in sorted((data / "planetlab").glob("*.csv.gz"))]
    machines = {f"vm-{i + 1}": ([], None, None) for i in range(JOINED)}
    for day in range(JOINED_DAYS):
        rows = days[day % len(days)]
        for i, (cpu, _, _) in enumerate(machines.values()):
            cores = MIPS[i % len(MIPS)] / MIPS[0]
            row = rows[(i + day // len(days) * JOINED_SHIFT) % len(rows)]
            cpu += [number(p, cores / 100) for p in row]
    write(out / "planetlab-10-days.csv.gz", JOINED_START_MS, 0, JOINED_DAYS * DAY, machines)


def cores_by_step(path, steps):
    cores = {}
    with gzip.open(path, "rt", newline="") as file:
        for row in csv.DictReader(file):
            filled = cores.setdefault(row["vm"], [0.0] * steps)
            begin = int(row["from_step"])
            filled[begin:] = [float(row["cores"])] * (steps - begin)
    return cores


def bitbrains(data, out):
    folder = data / "bitbrains" / "2013-07"
    cpu = read_matrix(folder / "cpu_pct.csv.gz")
    memory = read_matrix(folder / "memory_kb.csv.gz")
    received = read_matrix(folder / "net_rx_kbps.csv.gz")
    sent = read_matrix(folder / "net_tx_kbps.csv.gz")
    steps = len(next(iter(cpu.values())))
    cores = cores_by_step(folder / "capacity.csv.gz", steps)
    seen, unseen = {}, {}
    for row, (name, percents) in enumerate(cpu.items()):
        if name not in cores:
            continue  # never switched on
        used = [number(p, c / 100) for p, c in zip(percents, cores[name])]
        bytes_held = rate = None
        if name in memory:
            bytes_held = [number(m, 1024) for m in memory[name]]
            rate = ["" if r == "" or s == "" else f"{1024 * (float(r) + float(s)):.6g}"
                    for r, s in zip(received[name], sent[name])]
        (unseen if row % UNSEEN_EVERY == 0 else seen)[f"vm-{name}"] = (used, bytes_held, rate)
    write(out / "bitbrains-tune.csv.gz", BITBRAINS_START_MS, 0, TUNE_STEPS, seen)
    write(out / "bitbrains-test.csv.gz", BITBRAINS_START_MS, steps - TEST_STEPS, steps, unseen)


def main():
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    data, out = map(pathlib.Path, sys.argv[1:])
    out.mkdir(parents=True, exist_ok=True)
    planetlab(data, out)
    planetlab_joined(data, out)
    bitbrains(data, out)


main()
