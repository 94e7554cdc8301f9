#!/usr/bin/env python3
"""That the scorer follows the benchmark's rule, worked out by hand, and that nab_events does not look
ahead. Argument: the program nab_events."""

import math
import random
import sys
import unittest

import nab

ROWS = 100
WINDOW = (40, 59)  # 20 rows; rows before 15 are not scored


def series(rows=ROWS, windows=(WINDOW,)):
    return nab.Series("made up", [f"{row:04}" for row in range(rows)], ["0"] * rows, list(windows))


def score(alarms, profile="standard", windows=(WINDOW,)):
    scores = [1.0 if row in alarms else 0.0 for row in range(ROWS)]
    return nab.scores_at([series(windows=windows)], [scores], 1.0)[profile]


def by_hand(x):
    return 2 / (1 + math.exp(5 * x)) - 1


class Rule(unittest.TestCase):
    def test_the_ends_of_the_scale(self):
        for profile in nab.PROFILES:
            self.assertEqual(score([], profile), 0)
            self.assertAlmostEqual(score([40], profile), 100)

    def test_a_later_alarm_is_worth_less(self):
        # Row 50 lies at -(59 - 50 + 1) / 20 of the window; 0..1 is the upper half of the scale.
        worth = by_hand(-0.5) / by_hand(-1)
        self.assertAlmostEqual(score([50]), 100 * (1 + worth) / 2)
        self.assertAlmostEqual(score([50], "low FN"), 100 * (2 + worth) / 3)
        self.assertAlmostEqual(score([50, 55]), score([50]))

    def test_a_false_alarm_costs_its_weight(self):
        self.assertAlmostEqual(score([40, 20]), 100 - 100 * 0.11 / 2)
        self.assertAlmostEqual(score([40, 20, 21], "low FP"), 100 - 100 * 2 * 0.22 / 2)

    def test_just_behind_a_window_it_costs_less(self):
        self.assertAlmostEqual(score([40, 61]), 100 + 100 * 0.11 * by_hand(2 / 19) / 2)
        self.assertLess(score([40, 70]), score([40, 61]))

    def test_probation_is_not_scored(self):
        self.assertEqual(score([0, 14]), 0)
        self.assertLess(score([15]), 0)
        self.assertEqual(nab.probation(20_000), 750)

    def test_a_missed_window_costs_its_weight(self):
        two = ((40, 59), (80, 89))
        self.assertAlmostEqual(score([40], windows=two), 50)
        self.assertAlmostEqual(score([40], "low FN", windows=two), 50)

    def test_the_threshold_found_is_the_best(self):
        scores = [0.0] * ROWS
        scores[40], scores[20], scores[25] = 0.8, 0.9, 0.5
        best = nab.best_scores([series()], [scores])["standard"]
        self.assertEqual(best[1], 0.8)
        self.assertAlmostEqual(best[0], 100 - 100 * 0.11 / 2)

    def test_a_held_off_alarm_is_none(self):
        self.assertEqual(nab.held_off([1, 1, 0, 1, 1, 0], 1, 2), [1, 0, 0, 1, 0, 0])
        self.assertEqual(nab.held_off([1, 1, 0], 1, 0), [1, 1, 0])

    def test_windows_are_found_by_time(self):
        self.assertEqual(nab.rows_of_windows(["a", "b", "c", "d"], [("b", "c")]), [(1, 2)])


class Streaming(unittest.TestCase):
    def test_no_row_rests_on_later_ones(self):
        random.seed(1)
        made = series(1_100, ())
        made.values = [f"{10 * math.sin(row / 8) + random.gauss(0, 1):.4f}" for row in range(1_100)]
        for row in (700, 760, 761, 955):
            made.values[row] = "60"
        made.values[800] = ""
        whole = nab.events(PROGRAM, made)
        self.assertGreater(whole[700], 4)
        self.assertGreater(whole[955], 4)
        for rows in (960, 767, 701):
            made.values = made.values[:rows]
            self.assertEqual(nab.events(PROGRAM, made), whole[:rows])


if __name__ == "__main__":
    PROGRAM = sys.argv.pop()
    unittest.main()
