"""How many series a second statsforecast's ARIMA fits on one core, and how well, beside
arima_speed. Needs statsforecast. Arguments: the same CSV, and the step between the series that
AutoARIMA gets, which is slow."""
import csv
import sys
import time

import numpy as np
from statsforecast.models import ARIMA, AutoARIMA

STEPS = 2016
rows = []
with open(sys.argv[1]) as file:
    for line in list(csv.reader(file))[1:]:
        row = np.array([float(x or "nan") for x in line[1:]])[-STEPS:]
        if len(row) == STEPS and not np.isnan(row).any() and row[0] != row[-1]:
            rows.append(row)


def measure(name, make, data, what):
    make().fit(data[0][:200])  # what is compiled or loaded at first use
    start = time.process_time()
    scores = []
    for row in data:
        try:
            scores.append(make().fit(row).model_[what])
        except ValueError:
            scores.append(float("nan"))
    rate = len(data) / (time.process_time() - start)
    failed = sum(np.isnan(scores))
    print(f"{name}  {rate:8.2f} series/s  mean {what} {np.nanmean(scores):.3f}  "
          f"({len(data)} series, {failed} failed)", flush=True)


measure("ARIMA(1,1,1)", lambda: ARIMA(order=(1, 1, 1)), rows, "loglik")
measure("AutoARIMA", lambda: AutoARIMA(seasonal=False), rows[:: int(sys.argv[2])], "aicc")
