#!/usr/bin/env python3
"""Scores detectors by the rule of the Numenta Anomaly Benchmark (Lavin and Ahmad 2015).

    nab.py DATA [--events BIN/nab_events] [--hold-off ROWS] [--published NAB_CHECKOUT]

DATA holds windows.csv (series,start,end) and SERIES.csv.gz (timestamp,value), one for each series
named there. Prints a table: detectors by rows, the three profiles by columns. With --published, the
result files of a checkout of the benchmark are scored on the same series, and on the benchmark's
whole corpus to hold this scorer to the scores its authors publish.

The rule. The first 15 % of the rows of a series (at most 750) are not scored. A window is worth the
best alarm inside it: 1 at its first row, falling to 0 along a sigmoid towards its last; without an
alarm it costs the weight of a miss. An alarm outside costs the weight of a false one, less just
behind a window, by the same sigmoid. Sums over all series are put on a scale where no alarms at all
give 0 and every window met at its first row 100. As the benchmark does, one threshold is chosen for
all series, for each detector and profile: the best one. Under "one alarm in ROWS rows" a detector
is silent for so long after an alarm, as a pager would be.
"""

import argparse
import csv
import functools
import gzip
import json
import math
import pathlib
import statistics
import subprocess
from collections import deque
from concurrent import futures
from dataclasses import dataclass

# Weight of a false alarm and of a missed window; a window met is worth 1.
PROFILES = {"standard": (0.11, 1.0), "low FP": (0.22, 1.0), "low FN": (0.11, 2.0)}
PROBATION_SHARE = 0.15
DEFAULT_SCORE = 4.0  # of nab_events, at the chance that `foreshadow patterns` takes by default
PROBATION_ROWS_OF = 5_000  # rows beyond these do not lengthen probation


@dataclass(eq=False)
class Series:
    name: str
    times: list[str]
    values: list[str]
    windows: list[tuple[int, int]]  # first and last row


def rows_of_windows(times, windows):
    """Row numbers of windows given by times."""
    rows = []
    for start, end in windows:
        inside = [i for i, time in enumerate(times) if start <= time <= end]
        rows.append((inside[0], inside[-1]))
    return sorted(rows)


def read_series(folder):
    windows = {}
    with open(folder / "windows.csv", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            windows.setdefault(row["series"], []).append((row["start"], row["end"]))
    all_series = []
    for name, of_series in windows.items():
        with gzip.open(folder / f"{name}.csv.gz", "rt", encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        times = [row["timestamp"] for row in rows]
        values = [row["value"] for row in rows]
        all_series.append(Series(name, times, values, rows_of_windows(times, of_series)))
    return all_series


# --- The rule -------------------------------------------------------------------------------------


def sigmoid(position):
    """1 far ahead of the end of a window (position -1 is its start), 0 at its end, -1 beyond."""
    return 2 / (1 + math.exp(5 * min(position, 3.0))) - 1 if position <= 3 else -1.0


def probation(rows):
    return math.floor(PROBATION_SHARE * min(rows, PROBATION_ROWS_OF))


@functools.cache
def worth_of_rows(series):
    """For each row the window it lies in (None = outside) and what an alarm there is worth, a false
    one at weight 1."""
    worth = []
    windows = list(series.windows)
    behind = None
    for row in range(len(series.times)):
        if behind is None or row > behind[1]:
            while windows and windows[0][1] < row:
                behind = windows.pop(0)
        if windows and windows[0][0] <= row:
            first, last = windows[0]
            best = sigmoid(-1.0)
            worth.append((windows[0], sigmoid(-(last - row + 1) / (last - first + 1)) / best))
        elif behind is None:
            worth.append((None, -1.0))
        else:
            worth.append((None, sigmoid((row - behind[1]) / (behind[1] - behind[0]))))
    return worth


def scores_by_threshold(all_series, scores, profile):
    """(threshold, normalised score), thresholds falling; the first is above every score. A score of
    0 is no alarm at any."""
    false_weight, miss_weight = PROFILES[profile]
    points = []
    met = {}
    for number, (series, of_series) in enumerate(zip(all_series, scores)):
        start = probation(len(series.times))
        for row, (window, worth) in enumerate(worth_of_rows(series)):
            if row < start:
                continue
            if window is not None:
                met[number, window] = -miss_weight
            if of_series[row] > 0:
                points.append((of_series[row], (number, window) if window else None, worth))
    points.sort(key=lambda point: -point[0])
    windows = sum(len(series.windows) for series in all_series)
    null = -miss_weight * len(met)
    raw = null
    found = []
    threshold = math.inf
    for score, window, worth in points:
        if score != threshold:
            found.append((threshold, 100 * (raw - null) / (windows - null)))
            threshold = score
        if window is None:
            raw += false_weight * worth
        elif worth > met[window]:
            raw += worth - met[window]
            met[window] = worth
    found.append((threshold, 100 * (raw - null) / (windows - null)))
    return found


def best_scores(all_series, scores):
    """Of each profile the best score and its threshold."""
    best = {}
    for profile in PROFILES:
        threshold, score = max(scores_by_threshold(all_series, scores, profile), key=lambda x: x[1])
        best[profile] = (score, threshold)
    return best


def held_off(scores, threshold, rows):
    """1 at each alarm, unless another came before it within so many rows; else 0."""
    kept = []
    last = -math.inf
    for row, score in enumerate(scores):
        alarm = score >= threshold and row - last > rows
        last = row if alarm else last
        kept.append(1.0 if alarm else 0.0)
    return kept


def scores_at(all_series, scores, threshold, hold_off=0):
    """Of each profile the score at one threshold."""
    fixed = [held_off(of_series, threshold, hold_off) for of_series in scores]
    at = {}
    for profile in PROFILES:
        at[profile] = dict(scores_by_threshold(all_series, fixed, profile)).get(1.0, 0.0)
    return at


def best_scores_held_off(all_series, scores, thresholds, hold_off):
    """As best_scores, of the thresholds given."""
    best = {profile: (0.0, math.inf) for profile in PROFILES}
    for threshold in thresholds:
        for profile, score in scores_at(all_series, scores, threshold, hold_off).items():
            best[profile] = max(best[profile], (score, threshold))
    return best


def counts_at(all_series, scores, threshold, hold_off=0):
    """Windows met, windows, and alarms outside of windows."""
    met = set()
    false = 0
    for number, (series, of_series) in enumerate(zip(all_series, scores)):
        rows = worth_of_rows(series)
        alarms = held_off(of_series, threshold, hold_off)
        for row in range(probation(len(series.times)), len(rows)):
            if alarms[row] == 0:
                continue
            window = rows[row][0]
            if window is None:
                false += 1
            else:
                met.add((number, window))
    return len(met), sum(len(series.windows) for series in all_series), false


# --- Detectors: a score a row, from that row and those before it ----------------------------------


def rolling_z(series, rows=288):
    """Deviations from the mean of the rows before."""
    past = deque(maxlen=rows)
    scores = []
    for value in map(float, series.values):
        scores.append(0.0)
        if len(past) == rows:
            spread = statistics.pstdev(past)
            off = abs(value - statistics.fmean(past))
            scores[-1] = off / spread if spread > 0 else (1e9 if off > 0 else 0.0)
        past.append(value)
    return scores


def events(binary, series):
    text = "\n".join(series.values) + "\n"
    done = subprocess.run([binary], input=text, capture_output=True, text=True, check=True)
    scores = [float(line) for line in done.stdout.split()]
    if len(scores) != len(series.values):
        raise ValueError(f"{series.name}: {len(scores)} scores of {len(series.values)} rows")
    return scores


# --- The benchmark's own results ------------------------------------------------------------------


def read_published(checkout, detector, names):
    """Scores of a published detector on the series named."""
    all_scores = []
    for name in names:
        folder, file_name = name.split("/")
        path = checkout / "results" / detector / folder / f"{detector}_{file_name}.csv"
        with open(path, encoding="utf-8") as file:
            all_scores.append([float(row["anomaly_score"]) for row in csv.DictReader(file)])
    return all_scores


def read_corpus(checkout):
    with open(checkout / "labels" / "combined_windows.json", encoding="utf-8") as file:
        windows = json.load(file)
    corpus = []
    for path, of_series in windows.items():
        with open(checkout / "data" / path, encoding="utf-8") as file:
            rows = list(csv.DictReader(file))
        times = [row["timestamp"] for row in rows]
        given = [(start[:19], end[:19]) for start, end in of_series]
        corpus.append(
            Series(path[:-4], times, [row["value"] for row in rows], rows_of_windows(times, given))
        )
    return corpus


def row_of(name, scores):
    return f"| {name} | " + " | ".join(f"{scores[profile]:.1f}" for profile in PROFILES) + " |"


def best_only(best):
    return {profile: score for profile, (score, _) in best.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--events", help="the program nab_events")
    parser.add_argument("--hold-off", type=int, default=144, help="rows without a second alarm")
    parser.add_argument("--published", type=pathlib.Path, help="a checkout of the benchmark")
    options = parser.parse_args()

    all_series = read_series(options.data)
    windows = sum(len(series.windows) for series in all_series)
    rows = sum(len(series.times) for series in all_series)
    hold = options.hold_off
    once = f"one alarm in {hold} rows"
    print(f"{len(all_series)} series, {rows} rows, {windows} windows\n")
    print("| detector | " + " | ".join(PROFILES) + " |")
    print("| --- |" + " --- |" * len(PROFILES))
    if options.events:
        with futures.ThreadPoolExecutor() as threads:
            scores = list(threads.map(lambda series: events(options.events, series), all_series))
        found = sorted({score for of_series in scores for score in of_series if score > 0})
        print(row_of("events", best_only(best_scores(all_series, scores))))
        best = best_scores_held_off(all_series, scores, found, hold)
        print(row_of(f"events, {once}", best_only(best)))
        default = scores_at(all_series, scores, DEFAULT_SCORE, hold)
        print(row_of(f"events, {once}, false alarms 1e-4", default))
    z = [rolling_z(series) for series in all_series]
    print(row_of("rolling z", best_only(best_scores(all_series, z))))
    held = best_scores_held_off(all_series, z, [k / 2 for k in range(4, 41)], hold)
    print(row_of(f"rolling z, {once}", best_only(held)))
    null = [[0.0] * len(series.times) for series in all_series]
    print(row_of("null", scores_at(all_series, null, 1.0)))
    if options.events:
        for profile, (score, threshold) in best.items():
            met, of, false = counts_at(all_series, scores, threshold, hold)
            print(
                f"\nevents, {once}, {profile}: {score:.1f} at false alarms 1e-{threshold:g}: "
                f"{met} of {of} windows met, {false} alarms outside"
            )
    if options.published:
        corpus = read_corpus(options.published)
        names = [series.name for series in all_series]
        whole = [series.name for series in corpus]
        print("\n| published | " + " | ".join(PROFILES), end="")
        print(" | whole corpus: standard | low FP | low FN |")
        print("| --- |" + " --- |" * 6)
        for folder in sorted((options.published / "results").iterdir()):
            if not folder.is_dir():
                continue
            here = best_scores(all_series, read_published(options.published, folder.name, names))
            there = best_scores(corpus, read_published(options.published, folder.name, whole))
            tail = " | ".join(f"{there[profile][0]:.1f}" for profile in PROFILES)
            print(row_of(folder.name, best_only(here)) + f" {tail} |")


if __name__ == "__main__":
    main()
