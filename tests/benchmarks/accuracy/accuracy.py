#!/usr/bin/env python3
"""Our models beside others, on the same points of days and machines that training never saw.

    accuracy.py DATA --foreshadow BIN --python VENV/bin/python [--work FOLDER] [--json FILE]
                [--update docs/benchmarks.md]

DATA is the folder that make_traces.py describes, VENV what script/bench-peers makes. Traces, points and
the peers' forecasts are kept in --work and made again only where data, points or versions changed: the
first run takes an hour, another as long as our own models take. Prints tables in Markdown;
--update puts them between the markers of a page."""

import argparse
import hashlib
import json
import pathlib
import subprocess
import sys

import make_traces
import points as points_module
import scores as scores_module

FOLDER = pathlib.Path(__file__).resolve().parent
ORIGIN_STEPS = 3  # from one forecast to the next for `auto`, which learns from all of them
DISTANCES = {"5-15 min": (1, 3), "60 min": (12, 12)}
MIXED = "auto"
FITTED = ("arima", "ets", "prophet")  # ours that are no part of `auto`
# Ours that do what a peer here does, by its own code: in the JSON only.
SIMPLE = ("last-value", "last-hour-mean", "last-hour-median", "seasonal-naive")
TITLES = {
    "bitbrains-unseen": "Bitbrains, machines and days that training never saw",
    "bitbrains-seen": "Bitbrains, days that training never saw of machines it did",
    "planetlab": "PlanetLab, 25 March 2011",
    "google2011": "Google 2011, unseen machines",
    "worldcup98": "World Cup 1998: requests and bytes",
    "nasa_http": "NASA, July 1995: requests",
    "twitter_sample": "Twitter's sample stream, August 2021: messages",
    "datacentre": "Whole data centres, Azure and Google 2019: nothing like them was learned from",
    "orders": "An order process, bizitobs l2c: nothing like it was learned from",
    "services": "Machines, services and tweets of NAB: nothing like most of them was learned from",
}
DATA_SETS = {
    "Bitbrains": ("bitbrains-unseen", "bitbrains-seen"),
    "PlanetLab": ("planetlab",),
    "Google": ("google2011",),
    "requests": ("worldcup98", "nasa_http", "twitter_sample"),
    "unlike all learned from": ("datacentre", "orders", "services"),
}


def say(text):
    print(text, file=sys.stderr, flush=True)


def fingerprint(paths):
    digest = hashlib.sha256()
    for path in sorted(paths):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def make_once(out, key, make):
    """Makes a folder unless it was made from the same."""
    made_from = out / "made_from"
    if not made_from.exists() or made_from.read_text(encoding="ascii") != key:
        say(f"making {out}")
        make()
        made_from.write_text(key, encoding="ascii")


def traces_of(data, work):
    """{test: {"trace", "test_steps"}}; makes the traces unless these are there."""
    out = work / "traces"
    sets = [name for name in make_traces.SETS if (data / name).is_dir()]
    key = fingerprint([path for name in sets for path in (data / name).rglob("*.gz")]
                      + [FOLDER / "make_traces.py"])
    make_once(out, key, lambda: make_traces.make_traces(data, out, sets))
    with open(out / "split.json", encoding="ascii") as file:
        return {name: {**test, "trace": out / test["trace"]}
                for name, test in json.load(file).items()}


# --- Forecasts ---------------------------------------------------------------------------------------


def backtest(options, points, models, stride, work):
    """Runs `foreshadow backtest`; its CSV and its own scores."""
    only = work / "only.csv"
    only.write_text("".join(f"{account},{signal}\n" for account, signal in points["series"]),
                    encoding="ascii")
    path = work / f"{points['test']}.{models[0]}.csv.gz"
    command = [options.foreshadow, "backtest", points["trace"],
               "--test-steps", str(points["test_steps"]), "--horizon", str(points["horizon_steps"]),
               "--window", str(points["window_steps"]), "--stride", str(stride),
               "--score-every", str(points["stride"] // stride), "--only", str(only),
               "--models", ",".join(models), "--forecasts", str(path), "--json"]
    if options.model_folder:
        command += ["--model-folder", options.model_folder]
    say(" ".join(command))
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return path, json.loads(done.stdout)


def check_against(path, told, scales):
    """That the program's own scores of its forecasts are ours."""
    points, levels = {}, []
    scores_module.read_forecasts(path, points, levels)
    models = list(told["unanswered"])
    points = scores_module.common(points, models)
    of_range = {}
    for theirs in told["scores"]:
        steps = (theirs["first_step"], theirs["last_step"])
        if steps not in of_range:
            of_range[steps] = {(s["model"], s["signal"]): s for s in scores_module.score(
                points, models, scales, levels, *steps)}
        ours = of_range[steps].get((theirs["model"], theirs["signal"]))
        if ours is None:
            if theirs["points"] > 0:
                raise ValueError(f"{path}: no forecasts for {theirs}")
            continue
        for figure in ("points", "mase", "crps", "smape", "coverage_80"):
            if abs(ours[figure] - theirs[figure]) > 1e-4 * max(1.0, abs(theirs[figure])):
                raise ValueError(f"{path}: {figure} is {ours[figure]} here, {theirs}")


def peers(options, path, work):
    """Files of the peers' forecasts."""
    command = [options.python, str(FOLDER / "peers.py"), str(path), str(work / "peers")]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    files = [line[len("file "):] for line in done.stdout.splitlines() if line.startswith("file ")]
    for line in done.stdout.splitlines():
        if not line.startswith("file "):
            say(line)
    return files


def run_test(options, name, test, work):
    """Scores of all models on one test."""
    points_path = work / "points" / f"{name}.json"
    points = points_module.make_points(name, test["trace"], test["test_steps"], points_path)
    scales = {tuple(series): scale for series, scale in zip(points["series"], points["scales"])}
    found, levels = {}, []
    for path in peers(options, points_path, work):
        scores_module.read_forecasts(path, found, levels)
    others = sorted({model for point in found.values() for model in point.quantiles})
    for models, stride in (([MIXED], ORIGIN_STEPS), (list(FITTED), points["stride"])):
        path, told = backtest(options, points, models, stride, work)
        check_against(path, told, scales)
        scores_module.read_forecasts(path, found, levels)
    models = scores_module.taking_part(found)
    scored = scores_module.common(found, models)
    scores = []
    for first, last in [*DISTANCES.values(), (1, points["horizon_steps"])]:
        scores += scores_module.score(scored, models, scales, levels, first, last)
    return {
        "test": name,
        "origins": len(points["origins"]),
        "stride_steps": points["stride"],
        "series": len(points["series"]),
        "points": len(scored),
        "peers": [model for model in models if model in others],
        "ours": [model for model in models if model not in others],
        "left_out": sorted({m for p in found.values() for m in p.quantiles} - set(models)),
        "scores": scores,
    }


# --- Tables ------------------------------------------------------------------------------------------


def figures_of(result, signal="all"):
    """{(model, distance): scores}"""
    names = {steps: name for name, steps in DISTANCES.items()}
    return {(s["model"], names[s["first_step"], s["last_step"]]): s for s in result["scores"]
            if s["signal"] == signal and (s["first_step"], s["last_step"]) in names}


def best_peer(result, figures, distance, figure):
    return min(result["peers"], key=lambda model: figures[model, distance][figure])


def number(value):
    """AutoETS's variances can overflow where its errors multiply."""
    return f"{value:.3f}" if value < 100 else "> 99"


def table(result):
    figures = figures_of(result)
    lines = ["| " + result["test"] + " | " + " | ".join(
        f"{figure} {distance}" for figure in ("MASE", "CRPS", "sMAPE", "80 %")
        for distance in DISTANCES) + " |",
        "| --- |" + " --- |" * (4 * len(DISTANCES))]
    shown = [model for model in result["ours"] if model not in SIMPLE]
    for model in sorted(shown, key=lambda m: (m != MIXED, m in FITTED)) + result["peers"]:
        cells = [number(figures[model, distance][figure]) for figure in ("mase", "crps", "smape")
                 for distance in DISTANCES]
        cells += [f"{100 * figures[model, distance]['coverage_80']:.1f}" for distance in DISTANCES]
        label = f"`{model}`" if model in result["ours"] else model
        lines.append(f"| {label} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def signals_of(result):
    """Every signal, and "all" where there are several."""
    names = sorted({s["signal"] for s in result["scores"]} - {"all"})
    return names + ["all"] if len(names) > 1 else names


def against_best(results):
    """How `auto` stands against whichever peer is best on that signal, distance and figure."""
    lines = ["| test, signal | " + " | ".join(
        f"{figure} {distance}" for figure in ("MASE", "CRPS") for distance in DISTANCES)
        + " | 80 % 5-60 min |", "| --- |" + " --- |" * (2 * len(DISTANCES) + 1)]
    for result in results:
        for signal in signals_of(result):
            figures = figures_of(result, signal)
            cells = []
            for figure in ("mase", "crps"):
                for distance in DISTANCES:
                    peer = best_peer(result, figures, distance, figure)
                    ratio = figures[MIXED, distance][figure] / figures[peer, distance][figure]
                    cells.append(f"{100 * (ratio - 1):+.1f} % ({peer})")
            whole = [s for s in result["scores"] if s["model"] == MIXED and s["signal"] == signal
                     and (s["first_step"], s["last_step"]) == (1, points_module.HORIZON_STEPS)]
            cells.append(f"{100 * whole[0]['coverage_80']:.1f}")
            lines.append(f"| {result['test']}, {signal} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def mean_of(results, model, figure):
    """Over 5, 10, 15 and 60 minutes and all signals of each test, and over the tests."""
    total = 0.0
    for result in results:
        figures = figures_of(result)
        for distance, (first, last) in DISTANCES.items():
            total += (last - first + 1) * figures[model, distance][figure]
    steps = sum(last - first + 1 for first, last in DISTANCES.values())
    return total / steps / len(results)


def by_data_set(results):
    """How `auto` stands against the one peer that is best on the data set as a whole."""
    lines = ["| data set | MASE | CRPS |", "| --- | --- | --- |"]
    for name, tests in DATA_SETS.items():
        of = [result for result in results if result["test"] in tests]
        if len(of) < len(tests):
            continue
        peers_in_all = set.intersection(*(set(result["peers"]) for result in of))
        cells = []
        for figure in ("mase", "crps"):
            least, peer = min((mean_of(of, model, figure), model) for model in peers_in_all)
            ours = mean_of(of, MIXED, figure)
            cells.append(f"{ours:.3f}, {100 * (ours / least - 1):+.1f} % ({peer} {least:.3f})")
        lines.append(f"| {name} | " + " | ".join(cells) + " |")
    return "\n".join(lines)


def render(results):
    parts = ["`auto` against the one peer that is best on a data set as a whole: means over its tests "
             "and over 5, 10,\n15 and 60 minutes (minus is better):\n", by_data_set(results) + "\n",
             "`auto` against the best of the peers in each cell (which one is in brackets; minus is "
             "better), and the\nshare of samples within its 80 % interval:\n", against_best(results)]
    for result in results:
        head = (f"\n**{TITLES[result['test']]}.** {result['series']} series, {result['origins']} "
                f"origins {5 * result['stride_steps']} minutes apart, {result['points']} points "
                f"that all models answered.")
        if result["left_out"]:
            head += " No answer, and so no line: " + ", ".join(result["left_out"]) + "."
        parts += [head + "\n", table(result)]
    return "\n".join(parts) + "\n"


def markers(script):
    """The lines of a page between which a script puts its tables."""
    return f"<!-- made by {script} --update -->\n", f"<!-- end of {script} -->\n"


def update(page, script, text):
    begin, end = markers(script)
    parts = page.read_text(encoding="utf-8").split(begin)
    if len(parts) != 2 or parts[1].count(end) != 1:
        raise ValueError(f"{page}: not one {begin.strip()} with one {end.strip()} behind it")
    after = parts[1].split(end)[1]
    page.write_text(parts[0] + begin + "\n" + text + "\n" + end + after, encoding="utf-8")


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--foreshadow", required=True, help="the program")
    parser.add_argument("--model-folder", help="of our trained models; default: the program's own")
    parser.add_argument("--python", default=sys.executable, help="with the peers' packages")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("build/accuracy"))
    parser.add_argument("--tests", type=lambda text: text.split(","), help="names, with commas between")
    parser.add_argument("--json", type=pathlib.Path, help="all figures, into this file")
    parser.add_argument("--update", type=pathlib.Path, help="the page that takes the tables")
    options = parser.parse_args()
    tests = traces_of(options.data, options.work)
    chosen = options.tests or [name for name in points_module.SAMPLES if name in tests]
    results = [run_test(options, name, tests[name], options.work) for name in chosen]
    if options.json:
        options.json.write_text(json.dumps(results, indent=1) + "\n", encoding="ascii")
    text = render(results)
    print(text)
    if options.update:
        update(options.update, "accuracy.py", text)


if __name__ == "__main__":
    main()
