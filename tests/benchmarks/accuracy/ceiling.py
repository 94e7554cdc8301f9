#!/usr/bin/env python3
"""How much of a PlanetLab machine's next hour can be foreseen at all: boosted trees that may see far
more than any model of one series.

    ceiling.py DATA

DATA has planetlab/. Learns from 3, 6, 9 and 22 March 2011 and is scored on the 25th: MASE of the last
hour's median and of gradient boosting (scikit-learn) that predicts the median from 20 features of the
machine's own past; from these and its slice, the experiment that it belongs to; and from the present
and past load of slice and node as well. Prints a table in Markdown. Two minutes on one core."""

import pathlib
import sys

import numpy as np
from sklearn.ensemble import HistGradientBoostingRegressor

from make_traces import read_matrix

DAYS = ("20110303", "20110306", "20110309", "20110322")
TEST = "20110325"
HOUR = 12
SLICES = 60  # the largest; the others count as one
EVERY = 12  # steps from one origin to the next
OWN = 20  # features of the machine's own past


def read_day(data, day):
    """Names and [machine, step] percents of those that change."""
    matrix = read_matrix(data / "planetlab" / f"{day}.csv.gz")
    load = np.array([[float(v) for v in row] for row in matrix.values()])
    scale = np.abs(np.diff(load, axis=1)).mean(axis=1)
    names = np.array(list(matrix))
    return names[scale > 0], load[scale > 0], scale[scale > 0]


def slice_of(name):
    return "_".join(name.split("_")[-2:])


def groups(keys):
    """The group of each machine, and a matrix that sums their loads."""
    names, index = np.unique(keys, return_inverse=True)
    members = np.zeros((len(names), len(keys)))
    members[index, np.arange(len(keys))] = 1
    return index, members


def samples(day, slices, ahead):
    """Features, what came, the last hour's median, and the scale of each."""
    names, load, scale = day
    of_slice = np.array([slices.get(slice_of(name), SLICES) for name in names])
    slice_index, in_slice = groups(of_slice)
    node_index, on_node = groups([name[: -len(slice_of(name))] for name in names])
    slice_load = (in_slice @ load) / in_slice.sum(axis=1, keepdims=True)
    node_load = on_node @ load
    rows = []
    for t in range(3 * HOUR, load.shape[1] - ahead, EVERY):
        hour, hours = load[:, t - HOUR + 1:t + 1], load[:, t - 3 * HOUR + 1:t + 1]
        median = np.median(hour, axis=1)
        own = [*(load[:, t - k] for k in range(6)), hour.mean(axis=1), median, hour.min(axis=1),
               hour.max(axis=1), hour.std(axis=1), hours.mean(axis=1), hours.std(axis=1),
               np.median(hours, axis=1), *(load[:, t + ahead - k * HOUR] for k in (1, 2, 3)),
               load[:, :t + 1].mean(axis=1), np.full(len(names), t % HOUR), np.full(len(names), t)]
        assert len(own) == OWN
        others = [slice_load[slice_index, t], slice_load[slice_index, t - 1],
                  slice_load[slice_index, t - HOUR + 1:t + 1].mean(axis=1),
                  slice_load[slice_index, t + ahead - HOUR], node_load[node_index, t],
                  node_load[node_index, t - HOUR + 1:t + 1].mean(axis=1)]
        rows.append((np.stack([*own, of_slice, *others], axis=1), load[:, t + ahead], median, scale))
    return [np.concatenate(column) for column in zip(*rows)]


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    days = [read_day(pathlib.Path(sys.argv[1]), day) for day in (*DAYS, TEST)]
    names, counts = np.unique([slice_of(n) for day in days for n in day[0]], return_counts=True)
    slices = {name: i for i, name in enumerate(names[np.argsort(-counts)][:SLICES])}
    seen = {"own past": OWN, "and slice": OWN + 1, "and the loads of slice and node": None}
    print("| MASE | last-hour median | trees: " + " | ".join(seen) + " |")
    print("| --- |" + " --- |" * (1 + len(seen)))
    for ahead in (1, 3, 12):
        learned = [np.concatenate(column)
                   for column in zip(*(samples(day, slices, ahead) for day in days[:-1]))]
        features, came, median, scale = samples(days[-1], slices, ahead)
        cells = [f"{(np.abs(came - median) / scale).mean():.3f}"]
        for count in seen.values():
            trees = HistGradientBoostingRegressor(
                loss="absolute_error", max_iter=120, learning_rate=0.08, min_samples_leaf=200,
                categorical_features=[OWN] if count != OWN else None, random_state=0)
            trees.fit(learned[0][:, :count], learned[1], sample_weight=1 / learned[3])
            error = np.abs(came - trees.predict(features[:, :count])) / scale
            cells.append(f"{error.mean():.3f}")
        print(f"| {5 * ahead} min | " + " | ".join(cells) + " |", flush=True)


main()
