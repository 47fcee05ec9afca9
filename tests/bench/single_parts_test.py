"""The benchmarks of single parts run, and what belongs to the data path allocates nothing."""

import json
import os
import subprocess
import unittest

import runfiles

NAMES = ("access_line", "balance", "http", "mailbox", "memory", "ring_turn", "route", "splice", "stats", "timer_wheel")
# What happens when a configuration is built, not when a request is served; and what sets up flows of its own.
MAY_ALLOCATE = ("Build/", "Copy/", "Crossover")


class Benchmarks(unittest.TestCase):
    def test_each(self):
        for name in NAMES:
            with self.subTest(name):
                done = subprocess.run([runfiles.path(f"bench/{name}_bench"), "--benchmark_format=json", "--benchmark_min_time=0.001"],
                                      capture_output=True, text=True, timeout=250, check=False)
                self.assertEqual(done.returncode, 0, done.stderr)
                runs = json.loads(done.stdout)["benchmarks"]
                self.assertIn("Reference", [run["name"] for run in runs])
                self.assertGreater(len(runs), 1)
                for run in runs:
                    if run["name"] == "Reference":
                        continue
                    self.assertGreater(run["iterations"], 0, run["name"])
                    self.assertGreater(run["cpu_time"], 0, run["name"])  # else the compiler removed the work
                    if not run["name"].startswith(MAY_ALLOCATE):
                        # A few at first use (io_uring's memory is none of malloc's) are not one each.
                        self.assertLess(run["allocs"] * run["iterations"], 3, run["name"])

    def test_all_are_named_here(self):
        folder = os.path.dirname(runfiles.path("bench/http_bench"))
        built = {entry.removesuffix("_bench") for entry in os.listdir(folder) if entry.endswith("_bench")}
        self.assertEqual(built, set(NAMES))

    def test_mistakes_are_named(self):
        for flag in ("--repetitions=0", "--repetitions=-1", "--seconds=0", "--seconds=nan"):
            done = subprocess.run([runfiles.path("tools/bench"), flag], capture_output=True, text=True, timeout=60, check=False)
            self.assertEqual(done.returncode, 2, flag)
            self.assertIn("expected more than 0", done.stderr)


if __name__ == "__main__":
    unittest.main()
