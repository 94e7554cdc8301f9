"""The series that fitted.py and fitted_speed are run on, as CSV: of CPU, received network, memory and disk
writes of Bitbrains 2013-07 every machine whose last 2,016 samples have no gap and at least 20
distinct values. Argument: the folder of the traces."""
import csv
import gzip
import pathlib
import sys

STEPS = 2016
rows = csv.writer(sys.stdout)
rows.writerow(["series"] + [f"t{t}" for t in range(STEPS)])
for signal in ("cpu_pct", "net_rx_kbps", "memory_kb", "disk_write_kbps"):
    with gzip.open(pathlib.Path(sys.argv[1]) / f"{signal}.csv.gz", "rt") as file:
        machines = csv.reader(file)
        next(machines)
        for machine in machines:
            samples = machine[-STEPS:]
            if "" not in samples and len(set(samples)) >= 20 and samples[0] != samples[-1]:
                rows.writerow([f"{machine[0]}-{signal}"] + samples)
