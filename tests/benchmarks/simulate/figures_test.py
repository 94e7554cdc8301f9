#!/usr/bin/env python3
"""That the tables hold what the studies say, and that a study is run once. Argument: the program."""

import argparse
import pathlib
import sys
import tempfile
import unittest

import figures


def row(policy, cost, **fields):
    return {"policy": policy, "cost": cost, **fields}


class Tables(unittest.TestCase):
    STUDY = {"rows": [row("reactive", 40, headroom=1.4), row("foreshadow", 10, headroom=1.4),
                      row("reactive", 20, headroom=2), row("foreshadow", 30, headroom=2)]}

    def test_a_ratio_is_of_the_same_world(self):
        self.assertEqual(figures.ratio(self.STUDY, headroom=1.4), "0.25")
        self.assertEqual(figures.ratio(self.STUDY, headroom=2), "1.50")

    def test_a_row_is_the_only_one(self):
        with self.assertRaisesRegex(ValueError, "2 rows of reactive"):
            figures.find(self.STUDY, "reactive")
        with self.assertRaisesRegex(ValueError, "0 rows of oracle"):
            figures.find(self.STUDY, "oracle", headroom=2)

    def test_a_table_has_a_line_a_row(self):
        self.assertEqual(figures.lines_of(["a", "b"], [["1", "2"]]),
                         "| a | b |\n| --- | --- |\n| 1 | 2 |\n")


class Studies(unittest.TestCase):
    """The program's own JSON, from a demand that is made up."""

    SMALL = ("--regime", "crowds", "--seeds", "1", "--headroom", "1.4", "--policy", figures.MAIN)

    def setUp(self):
        self.folder = tempfile.TemporaryDirectory()
        self.work = pathlib.Path(self.folder.name)
        self.options = argparse.Namespace(foreshadow=PROGRAM, model_folder=None, work=self.work)
        figures.STUDIES["small"] = self.SMALL

    def tearDown(self):
        del figures.STUDIES["small"]
        self.folder.cleanup()

    def run_small(self):
        return figures.run(self.options, "small", self.work)

    def test_is_run_once_and_again_if_it_changes(self):
        first = self.run_small()
        (made,) = self.work.glob("*.json")
        written = made.stat().st_mtime_ns
        self.assertEqual(self.run_small(), first)
        self.assertEqual(made.stat().st_mtime_ns, written)
        figures.STUDIES["small"] = ("--regime", "steps", *self.SMALL[2:])
        self.assertNotEqual(self.run_small()["traces"], first["traces"])

    def test_the_tables_take_what_the_program_tells(self):
        small = self.run_small()
        text = figures.render(dict.fromkeys(figures.STUDIES, small))
        cost = figures.find(small, "foreshadow")["cost"]
        self.assertIn(f" / {cost:.0f} |", text)
        self.assertIn("| PlanetLab 1.4 |", text)
        self.assertIn("| `--create-min 2` |", text)
        self.assertIn(small["constants_hash"], text)


if __name__ == "__main__":
    PROGRAM = sys.argv.pop()
    unittest.main()
