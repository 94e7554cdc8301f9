#!/usr/bin/env python3
"""What shadows prevent and cost, beside what people run today, on days that no model learned from.

    figures.py DATA --foreshadow BIN [--work FOLDER] [--only NAME,...] [--update docs/benchmarks.md]

DATA is the folder that make_demand.py describes. Traces and the figures of each study are kept in
--work and made again only where data, program, models or the study changed; half an hour on two
cores in all. Prints tables in Markdown; --update puts them between the markers of a page. Python 3.9,
no packages."""

import argparse
import hashlib
import json
import pathlib
import subprocess
import sys

FOLDER = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(FOLDER.parent / "accuracy"))

from accuracy import fingerprint, make_once, say, update  # noqa: E402

PLANETLAB = "planetlab-20110325.csv.gz"
OTHER_DAYS = ("20110303", "20110306", "20110309")
BITBRAINS = ("--trace", "bitbrains-test.csv.gz", "--warm-hours", "168")
MAIN = "reactive,last-hour-mean,oracle,foreshadow"
FEW = "reactive,oracle,foreshadow"
# Every study by name: the arguments of `foreshadow simulate`.
STUDIES = {
    "planetlab": ("--trace", PLANETLAB, "--seeds", "30", "--policy", MAIN),
    "bitbrains": (*BITBRAINS, "--headroom", "1.4,1.6,2", "--seeds", "30", "--policy", MAIN),
    "planetlab-all": ("--trace", PLANETLAB, "--headroom", "1.4", "--seeds", "3", "--policy", "all"),
    "bitbrains-all": (*BITBRAINS, "--headroom", "1.6", "--seeds", "10", "--policy", "all"),
    "leads": ("--trace", PLANETLAB, "--headroom", "1.4", "--seeds", "3", "--policy", FEW,
              "--create-min", "1,5,15,30"),
    "budgets": ("--trace", PLANETLAB, "--headroom", "1.4", "--seeds", "3", "--policy", FEW,
                "--budget", "1,5,20,100"),
    "shuffled": ("--trace", PLANETLAB, "--headroom", "1.4,1.6", "--seeds", "3", "--policy", MAIN,
                 "--shuffle-min", "60"),
    "steps": ("--regime", "steps", "--headroom", "1.4,1.6", "--seeds", "20", "--policy", FEW),
    "crowds": ("--regime", "crowds", "--headroom", "1.4,1.6", "--seeds", "60", "--policy", FEW),
    **{f"planetlab-{day}": ("--trace", f"planetlab-{day}.csv.gz", "--headroom", "1.25,1.4,1.6",
                            "--seeds", "2", "--policy", FEW) for day in OTHER_DAYS},
}


def traces_of(data, work):
    out = work / "traces"
    script = FOLDER / "make_demand.py"
    key = fingerprint([script, *(path for name in ("planetlab", "bitbrains")
                                 for path in (data / name).rglob("*.csv.gz"))])
    make_once(out, key, lambda: subprocess.run([sys.executable, str(script), str(data), str(out)],
                                               stdout=subprocess.DEVNULL, check=True))
    return out


def run(options, name, traces):
    """The JSON of a study, made unless it is there."""
    words = [str(traces / word) if word.endswith(".csv.gz") else word for word in STUDIES[name]]
    inputs = [options.foreshadow, *(word for word in words if word.endswith(".csv.gz"))]
    if options.model_folder:
        words += ["--model-folder", options.model_folder]
        inputs += [p for p in pathlib.Path(options.model_folder).rglob("*") if p.is_file()]
    made_from = " ".join(STUDIES[name]) + fingerprint(map(pathlib.Path, inputs))
    key = hashlib.sha256(made_from.encode()).hexdigest()
    path = options.work / f"{name}-{key[:12]}.json"
    if not path.exists():
        command = [options.foreshadow, "simulate", *words]
        say(" ".join(command))
        made = path.with_suffix(".part")
        subprocess.run([*command, "--json", str(made)], stdout=subprocess.DEVNULL, check=True)
        made.rename(path)
    with open(path, encoding="utf-8") as file:
        return json.load(file)


# --- Tables ------------------------------------------------------------------------------------------


def find(study, policy, **of):
    """The one row of a policy whose fields have these values."""
    rows = [row for row in study["rows"]
            if row["policy"] == policy and all(row[field] == value for field, value in of.items())]
    if len(rows) != 1:
        raise ValueError(f"{len(rows)} rows of {policy} with {of}")
    return rows[0]


def values_of(study, field):
    return sorted({row[field] for row in study["rows"]})


def skill(row):
    s = row["skill"]
    return f"{s['median']:.2f} ({s['low']:.2f}, {s['high']:.2f})"


def in_time(coverage):
    return f"{coverage['percent']:.0f}, {coverage['of_foreseeable_percent']:.0f}"


def lines_of(head, rows):
    return "\n".join([f"| {' | '.join(head)} |", "|" + " --- |" * len(head)]
                     + [f"| {' | '.join(row)} |" for row in rows]) + "\n"


def places(studies):
    for name in ("PlanetLab", "Bitbrains"):
        study = studies[name.lower()]
        for headroom in values_of(study, "headroom"):
            yield f"{name} {headroom:g}", study, headroom


def skills(studies):
    rows = []
    for label, study, headroom in places(studies):
        of = {p: find(study, p, headroom=headroom) for p in MAIN.split(",")}
        costs = " / ".join(f"{of[p]['cost']:.0f}" for p in MAIN.split(","))
        rows.append([label, skill(of["foreshadow"]),
                     f"{of['last-hour-mean']['skill']['median']:.2f}", costs])
    return lines_of(["trace, headroom", "skill of foreshadow (95 %)", "of last-hour-mean",
                     "J " + " / ".join(MAIN.split(","))], rows)


def prevented(studies):
    columns = {"U %": ("unserved_percent", 3), "OM": ("overload_minutes_per_1000_cell_hours", 0),
               "AOM": ("account_overload_minutes_per_1000_account_hours", 0),
               "TAIL %": ("worst_accounts_unserved_percent", 1),
               "moves": ("moves_per_100_account_days", 1), "SH %": ("shadow_percent_of_demand", 2),
               "PP %": ("ping_pong_percent", 1)}
    rows = []
    for label, study, headroom in places(studies):
        of = [find(study, policy, headroom=headroom) for policy in ("foreshadow", "reactive")]
        rows.append([label, *(", ".join(f"{row[field]:.{digits}f}" for row in of)
                              for field, digits in columns.values())])
    return lines_of(["foreshadow, reactive", *columns], rows)


def believed(studies):
    rows = []
    for label, study, headroom in places(studies):
        f, o = (find(study, p, headroom=headroom) for p in ("foreshadow", "oracle"))
        near, far = f["overload_within_15_minutes"], f["overload_within_60_minutes"]
        rows.append([
            label,
            f"{f['false_shadows_percent']:.0f}",
            in_time(f["recall"]), in_time(o["recall"]), in_time(f["relief"]), in_time(o["relief"]),
            f"{f['recall']['foreseeable_percent']:.0f}, {f['relief']['foreseeable_percent']:.0f}",
            f"{f['lead_p10_minutes']:.0f} / {f['lead_p50_minutes']:.0f}",
            f"{near['brier']:.3f} / {far['brier']:.3f}",
            f"{near['ece']:.3f} / {far['ece']:.3f}",
        ])
    return lines_of(["foreshadow", "FP %", "REC, of foreseeable %", "the oracle's",
                     "REL, of foreseeable %", "the oracle's", "foreseeable of REC's, REL's %",
                     "lead p10 / p50 min", "Brier 15 / 60 min", "ECE 15 / 60 min"], rows)


def policies(study):
    rows = [[f"`{row['policy']}`", f"{row['cost']:.0f}", skill(row),
             f"{row['unserved_percent']:.2f}", f"{row['shadow_percent_of_demand']:.2f}",
             f"{row['moves_per_100_account_days']:.1f}", f"{row['ping_pong_percent']:.1f}",
             f"{row['false_shadows_percent']:.0f}",
             in_time(row["recall"]), in_time(row["relief"]),
             f"{row['overload_within_15_minutes']['ece']:.3f}"]
            for row in study["rows"]]
    return lines_of(["", "J", "skill (95 %)", "U %", "SH %", "moves", "PP %", "FP %",
                     "REC, of foreseeable %", "REL, of foreseeable %", "ECE 15 min"], rows)


def ratio(study, **of):
    return f"{find(study, 'foreshadow', **of)['cost'] / find(study, 'reactive', **of)['cost']:.2f}"


def other_worlds(studies):
    named = {"leads": ("create_s", lambda seconds: f"`--create-min {seconds / 60:g}`"),
             "budgets": ("creations_per_tick", lambda count: f"`--budget {count:g}`"),
             "shuffled": ("headroom", lambda room: f"`--shuffle-min 60`, at {room:g}"),
             "steps": ("headroom", lambda room: f"`--regime steps`, at {room:g}: HARM"),
             "crowds": ("headroom", lambda room: f"`--regime crowds`, at {room:g}: HARM")}
    for day in OTHER_DAYS:
        named[f"planetlab-{day}"] = ("headroom", lambda room, day=day: f"{day}, at {room:g}")
    rows = []
    for name, (field, label) in named.items():
        for value in values_of(studies[name], field):
            of = {field: value}
            simple = [row for row in studies[name]["rows"]
                      if row["policy"] == "last-hour-mean" and row[field] == value]
            rows.append([label(value), ratio(studies[name], **of),
                         skill(find(studies[name], "foreshadow", **of)),
                         f"{simple[0]['skill']['median']:.2f}" if simple else ""])
    return lines_of(["PlanetLab 25 March at 1.4, or as told", "J, of reactive's", "skill (95 %)",
                     "of last-hour-mean"], rows)


def render(studies):
    first = studies["planetlab"]
    notes = [f"{name}: {note}." for name in ("planetlab", "bitbrains")
             for note in studies[name]["notes"] if "prices" in note]
    return "\n".join([
        skills(studies), prevented(studies), believed(studies),
        "\n".join(notes) + "\n",
        "Every policy and every ablation, PlanetLab at 1.4, three placements:\n",
        policies(studies["planetlab-all"]),
        "Bitbrains at 1.6, ten placements:\n", policies(studies["bitbrains-all"]),
        "Other lead times, budgets, demands and days:\n", other_worlds(studies),
        f"Seeds 1 to n of n placements; constants {first['constants_hash']}.",
    ])


def main():
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--foreshadow", required=True, help="the program")
    parser.add_argument("--model-folder", help="of the trained models; default: the program's own")
    parser.add_argument("--work", type=pathlib.Path, default=pathlib.Path("build/simulate"))
    parser.add_argument("--only", type=lambda text: text.split(","), help="studies; no tables then")
    parser.add_argument("--update", type=pathlib.Path, help="the page that takes the tables")
    options = parser.parse_args()
    traces = traces_of(options.data, options.work)
    studies = {name: run(options, name, traces) for name in options.only or STUDIES}
    if options.only:
        return
    text = render(studies)
    print(text)
    if options.update:
        update(options.update, "figures.py", text)


if __name__ == "__main__":
    main()
