#!/usr/bin/env python3
"""Cuts the demo's trace out of the Bitbrains matrices and sizes its cells.

    script/make_demo_data.py SOURCE [OUT]      OUT defaults to data/bitbrains

SOURCE is a folder with cpu_pct.csv.gz, memory_kb.csv.gz, net_rx_kbps.csv.gz, net_tx_kbps.csv.gz,
disk_write_kbps.csv.gz (a row a VM, a column a step of 300 s from 2013-06-30T22:00Z) and
capacity.csv.gz (vm, from_step, cores, ...). Writes history.csv.gz, replay.csv.gz, cells.toml and
SHA256SUMS. Only the history decides over classes, cells and capacities. Python 3.9, no packages.
"""

import csv
import gzip
import hashlib
import math
import pathlib
import struct
import sys

STEP_MS = 300_000
START_MS = 1372629600000  # 2013-06-30T22:00Z: midnight of 1 July in Amsterdam
DAY = 288  # steps
HISTORY = (17 * DAY, 22 * DAY)  # 18 to 22 July, whole days in Amsterdam
REPLAY = (22 * DAY, 22 * DAY + 432)  # the 36 hours that follow
NAN = math.nan

RHYTHM_SHARE = 0.25  # of the variance that the mean day explains, to count as a daily rhythm
NIGHT_HOURS = 5  # a rhythm that peaks before 5 o'clock in the morning is a nightly one
CPU_QUANTILE = 0.97  # of a cell's history that its CPU capacity covers
OTHER_HEADROOM = 2.0  # of the other resources over the busiest step
ZONES = {"cell-1": "zone-a", "cell-2": "zone-b", "cell-3": "zone-a", "cell-4": "zone-b",
         "cell-5": "zone-c"}


def read_matrix(path):
    with gzip.open(path, "rt", newline="") as file:
        rows = csv.reader(file)
        next(rows)
        return {int(row[0]): [float(x) if x else NAN for x in row[1:]] for row in rows}


def read_cores(path, steps):
    """Cores of each VM at each step; 0 = switched off or unknown."""
    changes = {}
    with gzip.open(path, "rt", newline="") as file:
        for row in csv.DictReader(file):
            changes.setdefault(int(row["vm"]), []).append((int(row["from_step"]), float(row["cores"])))
    cores = {}
    for vm, rows in changes.items():
        line = [NAN] * steps
        rows.sort()
        for (first, value), (end, _) in zip(rows, rows[1:] + [(steps, 0)]):
            line[first:end] = [value] * (end - first)
        cores[vm] = line
    return cores


def signals(source):
    """The project's signals of each VM: cpu, memory, network, storage, mutation_rate by step."""
    cpu_pct = read_matrix(source / "cpu_pct.csv.gz")
    steps = len(next(iter(cpu_pct.values())))
    cores = read_cores(source / "capacity.csv.gz", steps)
    memory_kb = read_matrix(source / "memory_kb.csv.gz")
    rx, tx = read_matrix(source / "net_rx_kbps.csv.gz"), read_matrix(source / "net_tx_kbps.csv.gz")
    write_kbps = read_matrix(source / "disk_write_kbps.csv.gz")
    missing = [NAN] * steps
    result = {}
    for vm, pct in sorted(cpu_pct.items()):
        cpu = [p / 100 * c if c > 0 else NAN for p, c in zip(pct, cores.get(vm, missing))]
        memory = [1024 * x for x in memory_kb.get(vm, missing)]
        network = [1024 * (a + b) for a, b in zip(rx.get(vm, missing), tx.get(vm, missing))]
        result[vm] = (cpu, memory, network, missing, write_kbps.get(vm, missing))
    return result


def mean(values):
    values = [v for v in values if v == v]
    return sum(values) / len(values) if values else NAN


def variance(values):
    values = [v for v in values if v == v]
    center = mean(values)
    return sum((v - center) ** 2 for v in values) / len(values) if values else 0.0


def application(cpu):
    """The kind of work a VM does, from the shape of its CPU in the history."""
    history = cpu[slice(*HISTORY)]
    day = [mean(history[s::DAY]) for s in range(DAY)]
    total = variance(history)
    rest = variance([v - day[s % DAY] for s, v in enumerate(history)])
    if total > 1e-6 and 1 - rest / total > RHYTHM_SHARE:
        hours = [mean(day[h * 12:h * 12 + 12]) for h in range(24)]
        peak = max(range(24), key=lambda h: hours[h] if hours[h] == hours[h] else -1)
        return "nightly" if peak < NIGHT_HOURS else "daily"
    return "batch" if mean(history) > 0.2 and math.sqrt(total) > mean(history) else "steady"


def place(applications):
    """Nightly work in cell-1, daily work in cell-2, all other in turn in cell-3, 4 and 5."""
    cells, others = {}, 0
    for vm, kind in applications.items():
        if kind in ("nightly", "daily"):
            cells[vm] = "cell-1" if kind == "nightly" else "cell-2"
        else:
            cells[vm] = f"cell-{3 + others % 3}"
            others += 1
    return cells


def demand(trace, cells, cell, signal, span):
    rows = [trace[vm][signal] for vm in trace if cells[vm] == cell]
    return [sum(row[s] for row in rows if row[s] == row[s]) for s in range(*span)]


def number(value):
    """The shortest text that reads back as the same 32-bit float."""
    if value != value:
        return ""
    single = struct.unpack("f", struct.pack("f", value))[0]
    for digits in range(1, 10):
        text = f"{single:.{digits}g}"
        if struct.unpack("f", struct.pack("f", float(text)))[0] == single:
            break
    return f"{int(float(text))}" if float(text).is_integer() else text


def write_trace(path, trace, applications, cells, span):
    with open(path, "wb") as raw, gzip.GzipFile("", "wb", 9, raw, mtime=0) as file:
        file.write(b"timestamp,cell,account,application,cpu,memory,network,storage,mutation_rate\n")
        for step in range(*span):
            for vm, values in trace.items():
                sample = [number(signal[step]) for signal in values]
                # A VM that reports nothing has no row, but for the first: it makes it known.
                if any(sample) or step == span[0]:
                    row = [str(START_MS + step * STEP_MS), cells[vm], f"vm-{vm}", applications[vm]]
                    file.write((",".join(row + sample) + "\n").encode())


def write_cells(path, trace, cells):
    with open(path, "w") as file:
        file.write("# Cells of the demo, sized by script/make_demo_data.py from the history alone.\n")
        for cell, zone in ZONES.items():
            cpu = sorted(demand(trace, cells, cell, 0, HISTORY))
            memory = OTHER_HEADROOM * max(demand(trace, cells, cell, 1, HISTORY))
            network = OTHER_HEADROOM * max(demand(trace, cells, cell, 2, HISTORY))
            cores = math.ceil(cpu[int(CPU_QUANTILE * len(cpu))])
            file.write(f'\n[[cell]]\nid = "{cell}"\nzone = "{zone}"\ncpu_cores = {cores}.0\n'
                       f"memory_bytes = {math.ceil(memory / 2**30) * 2**30}.0\n"
                       f"network_bytes_per_second = {math.ceil(network / 2**20) * 2**20}.0\n")
            replay = demand(trace, cells, cell, 0, REPLAY)
            over = sum(v > cores for v in replay)
            print(f"| {cell} | {zone} | {sum(c == cell for c in cells.values())} | {cores} "
                  f"| {mean(cpu):.1f} | {cpu[-1]:.1f} "
                  f"| {100 * sum(v > cores for v in cpu) / len(cpu):.1f} % "
                  f"| {mean(replay):.1f} | {max(replay):.1f} | {100 * over / len(replay):.1f} % |")


def main():
    source = pathlib.Path(sys.argv[1])
    out = pathlib.Path(sys.argv[2] if len(sys.argv) > 2 else "data/bitbrains")
    out.mkdir(parents=True, exist_ok=True)
    trace = signals(source)
    applications = {vm: application(values[0]) for vm, values in trace.items()}
    cells = place(applications)
    write_cells(out / "cells.toml", trace, cells)
    write_trace(out / "history.csv.gz", trace, applications, cells, HISTORY)
    write_trace(out / "replay.csv.gz", trace, applications, cells, REPLAY)
    with open(out / "SHA256SUMS", "w") as sums:
        for name in ("cells.toml", "history.csv.gz", "replay.csv.gz"):
            sums.write(f"{hashlib.sha256((out / name).read_bytes()).hexdigest()}  {name}\n")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        sys.exit(__doc__)
    main()
