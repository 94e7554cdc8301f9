#!/usr/bin/env python3
"""That the scores are what their definitions say, worked out by hand, that the program has the same,
and that nothing of the test is in the traces for training. Argument: the program foreshadow."""

import argparse
import array
import gzip
import math
import pathlib
import random
import statistics
import sys
import tempfile
import unittest

import accuracy
import make_traces
import points as points_module
import scores as scores_module

try:
    import numpy as np
    import gift_eval
except ImportError:
    np = None

LEVELS = [0.1, 0.5, 0.9]
NAN = math.nan


def point(actual, **quantiles):
    return scores_module.Point(actual, quantiles)


class Scores(unittest.TestCase):
    POINTS = {
        ("a", "cpu", 0, 1): point(10.0, m=[8.0, 9.0, 12.0]),
        ("a", "cpu", 0, 2): point(10.0, m=[11.0, 12.0, 13.0]),
        ("b", "cpu", 0, 1): point(2.0, m=[2.0, 2.0, 2.0]),
        ("c", "memory", 0, 1): point(100.0, m=[90.0, 110.0, 120.0]),
    }
    SCALES = {("a", "cpu"): 2.0, ("b", "cpu"): 0.0, ("c", "memory"): 5.0}

    def score(self, first_step=1, last_step=2):
        made = scores_module.score(self.POINTS, ["m"], self.SCALES, LEVELS, first_step, last_step)
        return {s["signal"]: s for s in made}

    def test_pinball_is_the_tilted_absolute_error(self):
        self.assertAlmostEqual(scores_module.pinball(0.9, 10, 8), 1.8)
        self.assertAlmostEqual(scores_module.pinball(0.9, 10, 12), 0.2)
        self.assertAlmostEqual(scores_module.pinball(0.5, 3, 7), 2)

    def test_crps_is_the_weighted_quantile_loss(self):
        # 10 in 8, 9, 12: 0.2 + 0.5 + 0.2; 10 in 11, 12, 13: 0.9 + 1 + 0.3; 2 in itself: 0
        self.assertAlmostEqual(self.score()["cpu"]["crps"], 2 * (0.9 + 2.2) / 3 / 22)
        self.assertAlmostEqual(self.score()["memory"]["crps"], 2 * (1 + 5 + 2) / 3 / 100)

    def test_crps_of_a_normal_law_is_its_closed_form(self):
        # sigma (z (2 F(z) - 1) + 2 f(z) - 1 / sqrt(pi)) of Gneiting and Raftery 2007, equation 21.
        law = statistics.NormalDist()
        levels = [(k + 0.5) / 2000 for k in range(2000)]
        actual, mean, sigma = 7.0, 5.0, 3.0
        z = (actual - mean) / sigma
        closed = sigma * (z * (2 * law.cdf(z) - 1) + 2 * law.pdf(z) - 1 / math.sqrt(math.pi))
        loss = sum(scores_module.pinball(level, actual, mean + sigma * law.inv_cdf(level))
                   for level in levels) / len(levels)
        self.assertAlmostEqual(2 * loss, closed, places=3)

    def test_mase_weighs_series_alike_and_leaves_out_what_never_changed(self):
        self.assertAlmostEqual(self.score()["cpu"]["mase"], (1 + 2) / 2 / 2)
        self.assertAlmostEqual(self.score()["memory"]["mase"], 2)
        self.assertAlmostEqual(self.score()["all"]["mase"], (0.75 + 2) / 2)

    def test_smape_is_0_where_both_are_0_and_2_where_one_is(self):
        self.assertEqual(scores_module.smape(0, 0), 0)
        self.assertEqual(scores_module.smape(0, 3), 2)
        self.assertAlmostEqual(scores_module.smape(10, 9), 2 / 19)

    def test_coverage_counts_the_ends(self):
        self.assertAlmostEqual(self.score()["cpu"]["coverage_80"], 2 / 3)
        self.assertAlmostEqual(self.score()["all"]["coverage_80"], 3 / 4)

    def test_distances_are_taken_apart(self):
        self.assertEqual(self.score(2, 2)["all"]["points"], 1)
        self.assertAlmostEqual(self.score(2, 2)["all"]["mase"], 1)
        self.assertNotIn("memory", self.score(2, 2))

    def test_models_are_scored_on_the_same_points(self):
        points = {("a", "cpu", t, 1): point(1.0, full=[1], most=[1]) for t in range(100)}
        del points["a", "cpu", 7, 1].quantiles["most"]
        points["a", "cpu", 8, 1].quantiles["rare"] = [1]
        models = scores_module.taking_part(points)
        self.assertEqual(models, ["full", "most"])
        self.assertEqual(len(scores_module.common(points, models)), 99)


class Points(unittest.TestCase):
    def test_scale_is_the_mean_change_from_day_to_day(self):
        values = [1.0, 5.0, NAN, 2.0, 9.0, 100.0]
        self.assertAlmostEqual(points_module.scale(values, 5, 2), 3)
        # Without two whole days before: from step to step.
        self.assertAlmostEqual(points_module.scale(values, 5, 3), (4 + 7) / 2)
        self.assertEqual(points_module.scale([4.0] * 6, 5, 2), 0)

    def test_only_series_that_live_before_and_after_are_drawn(self):
        random.seed(1)
        alive = array.array("f", [random.random() for _ in range(100)])
        late = array.array("f", [NAN] * 80 + list(alive[80:]))
        ends = array.array("f", list(alive[:60]) + [NAN] * 40)
        still = array.array("f", [3.0] * 100)
        trace = points_module.Trace(0, 300_000, 100, {
            ("alive", "cpu"): alive, ("late", "cpu"): late, ("ends", "cpu"): ends,
            ("still", "cpu"): still, ("alive", "memory"): alive})
        series, origins = points_module.draw(trace, 30, 5, 8)
        self.assertEqual(series, [("alive", "cpu"), ("alive", "memory")])
        self.assertEqual(origins, [70, 78, 86])
        self.assertEqual(points_module.draw(trace, 30, 5, 8), (series, origins))


class Traces(unittest.TestCase):
    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.data = pathlib.Path(self.folder.name) / "data"
        self.out = pathlib.Path(self.folder.name) / "out"

    def tearDown(self):
        self.folder.cleanup()

    def table(self, name, header, rows):
        path = self.data / f"{name}.csv.gz"
        path.parent.mkdir(parents=True, exist_ok=True)
        with gzip.open(path, "wt") as file:
            file.write("\n".join([header] + rows) + "\n")

    def matrix(self, name, rows):
        self.table(name, "vm," + ",".join(f"t{t}" for t in range(len(rows[0][1]))),
                   [f"{vm}," + ",".join("" if v is None else str(v) for v in values)
                    for vm, values in rows])

    def test_bitbrains_keeps_machines_and_days_from_training(self):
        steps = make_traces.BITBRAINS_UNLEARNED_STEPS + 10
        machine = {vm: [1000 * vm + t for t in range(steps)] for vm in (3, 5, 6, 7, 9, 11)}
        machine[5][4] = None
        self.matrix("bitbrains/2013-07/cpu_pct", list(machine.items()))
        for name in ("memory_kb", "net_rx_kbps", "net_tx_kbps", "disk_write_kbps"):
            self.matrix(f"bitbrains/2013-07/{name}", [(5, machine[5]), (11, machine[11])])
        make_traces.make_traces(self.data, self.out, ["bitbrains"])
        train = points_module.read_trace(self.out / "train" / "bitbrains.csv.gz")
        unseen = points_module.read_trace(self.out / "test" / "bitbrains-unseen.csv.gz")
        seen = points_module.read_trace(self.out / "test" / "bitbrains-seen.csv.gz")
        accounts = lambda trace: {account for account, _ in trace.series}
        self.assertEqual(accounts(train), {"vm-5", "vm-6", "vm-7", "vm-9"})
        self.assertEqual(accounts(unseen), {"vm-3", "vm-11"})  # rows 0 and 5
        self.assertEqual(accounts(seen), accounts(train))
        self.assertEqual(train.steps, 10)
        self.assertEqual(seen.steps, steps)
        self.assertEqual(train.start_ms, 1_372_629_600_000)
        self.assertTrue(math.isnan(train.series["vm-5", "cpu"][4]))
        self.assertEqual(train.series["vm-5", "memory"][3], 5003 * 1024)
        self.assertAlmostEqual(train.series["vm-5", "network"][3], 2 * 5003 * 1024, delta=5)
        self.assertEqual(train.series["vm-5", "mutation_rate"][3], 5003)

    def test_the_last_quarter_of_requests_is_kept(self):
        minutes = [f"1998-05-01T00:{m:02}:00Z,{m},{60 * m}" for m in range(40) if m not in (5, 6, 7)]
        self.table("requests/worldcup98", "timestamp,requests,bytes", minutes)
        self.table("requests/nasa_http", "timestamp,requests",
                   [row.rsplit(",", 1)[0] for row in minutes])
        self.table("requests/twitter_sample", "day,minute,messages",
                   [f"0,{m},60" for m in range(40)])
        make_traces.make_traces(self.data, self.out, ["requests"])
        train = points_module.read_trace(self.out / "train" / "worldcup98.csv.gz")
        test = points_module.read_trace(self.out / "test" / "worldcup98.csv.gz")
        self.assertEqual((train.steps, test.steps), (6, 8))
        self.assertAlmostEqual(test.series["worldcup98", "network"][0], 2 / 60, 6)
        self.assertTrue(math.isnan(test.series["worldcup98", "network"][1]))  # two of five minutes
        self.assertAlmostEqual(test.series["worldcup98-bytes", "network"][2], 12, 5)

    def test_what_is_foreign_ends_with_a_whole_day_and_keeps_its_times_of_day(self):
        days = 2 * make_traces.DAY
        self.table("datacentre/azure2019_300s", "timestamp,cpu_usage,assigned_mem",
                   [f"{t},{t},{2 * t}" for t in range(days)])
        self.table("datacentre/google2019_300s", "avg_cpu,avg_mem", [f"{t},1" for t in range(days + 7)])
        self.table("bizitobs/l2c_300s", "timestamp,step,create_order",
                   [f"-,{t},{t}" for t in range(days)])
        # From 23:50 on a day, for ten minutes and two days and an hour.
        self.table("nab/realKnownCause/some_cpu", "timestamp,value",
                   [f"2014-02-{14 + (286 + t) // 288:02} {(286 + t) % 288 // 12:02}:"
                    f"{(286 + t) % 12 * 5:02}:00,{t}" for t in range(days + 14)])
        self.table("nab/realTweets/hourly", "timestamp,value",
                   [f"2014-02-{14 + t // 24:02} {t % 24:02}:00:00,{t}" for t in range(48)])
        tests = make_traces.make_traces(self.data, self.out, ["datacentre", "bizitobs", "nab"])
        self.assertEqual({test["test_steps"] for test in tests.values()}, {5 * make_traces.DAY})
        centre = points_module.read_trace(self.out / "test" / "datacentre.csv.gz")
        self.assertEqual(centre.steps, days)
        self.assertEqual(centre.series["google2019", "cpu"][-1], days - 1)
        self.assertEqual(centre.start_ms % points_module.DAY_MS, 0)
        services = points_module.read_trace(self.out / "test" / "services.csv.gz")
        self.assertEqual(list(services.series), [("some_cpu", "cpu")])  # the other is not at 300 s
        self.assertEqual(services.steps, 3 * make_traces.DAY)
        values = services.series["some_cpu", "cpu"]
        self.assertTrue(math.isnan(values[285]))
        self.assertEqual(values[286], 0)
        self.assertEqual(values[-1], days + 1)


class Program(unittest.TestCase):
    def test_the_program_scores_as_we_do(self):
        random.seed(2)
        with tempfile.TemporaryDirectory() as name:
            work = pathlib.Path(name)
            steps = 700
            accounts = {}
            for account in ("a", "b", "c"):
                load = [f"{20 + 10 * math.sin(t / 46) + random.gauss(0, 2):.6g}" for t in range(steps)]
                load[random.randrange(steps)] = ""
                accounts[account] = {"cpu": load, "memory": load[::-1]}
            trace = work / "made_up.csv.gz"
            make_traces.write_trace(trace, 1_600_000_200_000, accounts, range(steps))
            points_module.SAMPLES["made up"] = (2, 6)
            points = points_module.make_points("made up", trace, 90, work / "points" / "p.json")
            self.assertEqual(len(points["series"]), 4)
            scales = dict(zip(map(tuple, points["series"]), points["scales"]))
            options = argparse.Namespace(foreshadow=PROGRAM, model_folder=None)
            models = ["last-value", "last-hour-median", "auto"]
            path, told = accuracy.backtest(options, points, models, 3, work)
            self.assertEqual(len(told["scores"]), 3 * 3 * (12 + 2))
            accuracy.check_against(path, told, scales)
            told["scores"][-1]["crps"] *= 1.01
            with self.assertRaises(ValueError):
                accuracy.check_against(path, told, scales)


class Page(unittest.TestCase):
    def test_only_what_is_between_the_markers_changes(self):
        with tempfile.TemporaryDirectory() as name:
            page = pathlib.Path(name) / "page.md"
            begin, end = accuracy.markers("accuracy.py")
            page.write_text("above\n" + begin + "old\n" + end + "below\n")
            accuracy.update(page, "accuracy.py", "new\n")
            accuracy.update(page, "accuracy.py", "newer\n")
            self.assertEqual(page.read_text(), "above\n" + begin + "\nnewer\n\n" + end + "below\n")
            with self.assertRaises(ValueError):
                accuracy.update(page, "gift_eval.py", "none\n")


@unittest.skipUnless(np, "needs numpy, scipy and pandas")
class GiftEval(unittest.TestCase):
    def test_crps_and_mase_by_hand(self):
        targets = np.array([[10.0, NAN], [4.0, 2.0]])
        quantiles = np.array([[[8.0, 9.0, 12.0], [0, 0, 0]], [[4, 4, 4], [2, 3, 4]]], float)
        losses = [[0.2, 0.5, 0.2], [0, 0, 0], [0, 0.5, 0.2]]
        self.assertAlmostEqual(gift_eval.crps(targets, quantiles, LEVELS),
                               2 * np.sum(losses) / 3 / 16)
        errors = np.array([[2.0], [0.0]])
        self.assertAlmostEqual(gift_eval.mase(targets, quantiles[..., 1], errors), 0.5)

    def test_seasonal_error_takes_known_pairs(self):
        history = np.array([[1.0, 2.0, 4.0, NAN, 5.0], [NAN] * 5])
        found = gift_eval.seasonal_error(history, 2)
        self.assertAlmostEqual(found[0], (3 + 1) / 2)
        self.assertTrue(np.isnan(found[1]))

    def test_levels_between_are_exact_for_a_normal_law(self):
        given = [0.05, 0.1, 0.25, 0.5, 0.75, 0.9, 0.95, 0.975, 0.99]
        law = gift_eval.norm(3, 2)
        made = gift_eval.at_levels(law.ppf(given)[None], given, gift_eval.LEVELS)
        np.testing.assert_allclose(made[0], law.ppf(gift_eval.LEVELS), rtol=1e-9)


class DataSets(unittest.TestCase):
    """Two tests of one data set; a peer that is best in one of them alone is not the best."""

    def test_the_best_peer_is_best_as_a_whole(self):
        def result(test, **near_and_far):
            return {"test": test, "ours": ["auto"], "peers": ["naive", "other"], "scores": [
                {"model": model, "signal": "all", "first_step": first, "last_step": last, "mase": value,
                 "crps": value / 10}
                for model, values in near_and_far.items()
                for (first, last), value in zip(accuracy.DISTANCES.values(), values)]}

        results = [result("bitbrains-unseen", auto=(1, 1), naive=(1, 5), other=(4, 8)),
                   result("bitbrains-seen", auto=(1, 1), naive=(2, 6), other=(1, 1)),
                   result("worldcup98", auto=(1, 1), naive=(1, 1), other=(1, 1))]
        self.assertAlmostEqual(accuracy.mean_of(results[:1], "naive", "mase"), (3 * 1 + 5) / 4)
        # naive (2 + 3) / 2, other (5 + 1) / 2; the request logs are not all there.
        self.assertEqual(accuracy.by_data_set(results).splitlines()[2:],
                         ["| Bitbrains | 1.000, -60.0 % (naive 2.500) | 0.100, -60.0 % (naive 0.250) |"])


if __name__ == "__main__":
    PROGRAM = sys.argv.pop()
    unittest.main()
