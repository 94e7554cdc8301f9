"""How many series a second statsforecast's ARIMA and ETS fit on one core, and how well, beside
fitted_speed. Needs statsforecast. Arguments: the same CSV, the step between the series that the
slow ones get (AutoARIMA, AutoETS, MSTL), and optionally the names of those to run."""
import csv
import sys
import time

import numpy as np
from statsforecast.models import ARIMA, MSTL, AutoARIMA, AutoETS

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


def forecast(name, make, data):
    make().forecast(data[0][:600], 12)
    start = time.process_time()
    for row in data:
        make().forecast(row, 12)
    print(f"{name}  {len(data) / (time.process_time() - start):8.2f} series/s  "
          f"12 steps ahead  ({len(data)} series)", flush=True)


few = rows[:: int(sys.argv[2])]
chosen = sys.argv[3:] or ["arima", "autoarima", "autoets", "mstl"]
if "arima" in chosen:
    measure("ARIMA(1,1,1)", lambda: ARIMA(order=(1, 1, 1)), rows, "loglik")
if "autoarima" in chosen:
    measure("AutoARIMA", lambda: AutoARIMA(seasonal=False), few, "aicc")
if "mstl" in chosen:
    forecast("MSTL + AutoETS", lambda: MSTL(288, AutoETS(model="ZZN")), few)
if "autoets" in chosen:  # without a season: it takes none beyond 24 steps
    forecast("AutoETS", lambda: AutoETS(model="ZZN"), few)
