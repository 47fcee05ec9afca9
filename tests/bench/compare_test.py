"""tools/compare, short: it measures all contenders, in every kind of scenario, and says what it found."""

import json
import os
import pathlib
import shutil
import subprocess
import sys
import unittest

import runfiles

COMPARE = runfiles.path("tools/compare")
sys.path.insert(0, os.path.dirname(runfiles.path("bench/compare/report.py")))

import report  # noqa: E402
import scenarios  # noqa: E402


def row(us, failed=0):
    return {"us_per_request": us, "cpu_us_per_request": us, "user_us_per_request": 1.0, "requests_per_s": 1e6 / us,
            "proxy_cpu_busy": 1.0, "load_cpu_busy": 0.9, "steal": 0.0, "foreign": 0.0, "requests": 100, "failed": failed,
            "unanswered": 0, "reconnects": 0, "latency_us": {"p50": us, "p99": 2 * us}}


class Arithmetic(unittest.TestCase):
    def test_medians_and_best_peer(self):
        results = {"weir": report.summarise([row(10), row(30), row(11)]), "haproxy": report.summarise([row(20)] * 3),
                   "nginx": report.summarise([row(16), row(16), row(99)])}
        self.assertEqual(results["weir"]["us_per_request"], 11)
        self.assertEqual((results["weir"]["us_min"], results["weir"]["us_max"]), (10, 30))
        self.assertEqual(report.best_peer(results, "us_per_request", ["haproxy", "nginx"]), "nginx")
        text = report.table(scenarios.SCENARIOS["h1-small"], results, ["haproxy", "nginx"])
        self.assertIn("0.69", text)  # 11 / 16
        self.assertNotIn("FAILED", text)

    def test_what_went_wrong_is_said(self):
        result = report.summarise([row(10, failed=3)])
        self.assertIn("3 FAILED", report.warnings_of("weir", result))
        result = {**report.summarise([row(10)]), "load_cpu_busy": 0.99, "proxy_cpu_busy": 0.6, "steal": 0.1, "foreign": 0.2}
        self.assertEqual(report.warnings_of("weir", result), ["the generator is the bottleneck", "10% stolen", "20% other load"])

    def test_mixed_is_the_page_it_claims(self):
        sizes = [int(ask.split("+")[-1]) for ask in scenarios.MIXED.split(",")]
        self.assertEqual(len(sizes), 71)
        self.assertTrue(1_850_000 < sum(sizes) < 2_000_000, sum(sizes))  # what the kinds named add up to
        self.assertEqual(sum("+" in ask for ask in scenarios.MIXED.split(",")), 6)


class Whole(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        if len(os.sched_getaffinity(0)) < 2:
            raise unittest.SkipTest("two CPUs are needed")

    def setUp(self):
        self.out = pathlib.Path(os.environ.get("TEST_TMPDIR", "/tmp"), self.id().split(".")[-1])

    def compare(self, *flags, code=0):
        done = subprocess.run(
            [COMPARE, f"--weir={runfiles.path('lb/weir')}", f"--load={runfiles.path('bench/load/weir-load')}", "--rounds=1",
             "--seconds=0.3", f"--out={self.out}", *flags],
            capture_output=True, text=True, timeout=250, check=False)
        self.assertEqual(done.returncode, code, done.stdout + done.stderr)
        return done, (json.loads((self.out / "report.json").read_text()) if code == 0 else None)

    def test_all_contenders(self):
        names = ["h1-small", "h1-close", "h1-post", "mixed", "conn-rate", "l4-small", "l4-close"]
        done, found = self.compare(f"--scenario={','.join(names)},gzip")
        self.assertIn("gzip: not yet", done.stdout)
        self.assertEqual(list(found["scenarios"]), names)
        peers = [peer for peer in ("haproxy", "nginx") if peer in found["contenders"]]
        self.assertTrue(peers)
        for name in names:
            results = found["scenarios"][name]["results"]
            self.assertIn("weir", results)
            for contender, r in results.items():
                self.assertGreater(r["requests"], 10, (name, contender))
                self.assertEqual(r["failed"], 0, (name, contender))
                if contender != "direct":
                    self.assertGreater(r["us_per_request"], 0.5, (name, contender))
        self.assertIn(found["scenarios"]["h1-small"]["best_peer"], peers)
        html = (self.out / "report.html").read_text()
        self.assertIn("h1-close", html)
        before = self.out.with_name("before.json")
        shutil.copy(self.out / "report.json", before)
        done, _ = self.compare("--scenario=h1-small", f"--compare-to={before}")
        self.assertIn("against the run of", done.stdout)

    def test_latency_and_two_shards(self):
        _, found = self.compare("--scenario=latency", "--proxies=weir,nginx")
        self.assertEqual(list(found["scenarios"]["latency"]["results"]), ["25", "50", "75"])
        _, found = self.compare("--scenario=h1-small", "--proxies=weir", "--shards=1,2")
        self.assertEqual(list(found["scenarios"]), ["h1-small@1", "h1-small@2"])
        self.assertTrue(any("shares a CPU" in note for note in found["notes"]))

    def test_another_binary_and_a_custom_proxy(self):
        weir = runfiles.path("lb/weir")
        _, found = self.compare("--scenario=h1-small", "--proxies=weir", f"--binary=twin={weir}",
                                f"--custom=mine={weir} --shards=1 --listen={{mode}}://{{listen}} --backends={{origins}}")
        self.assertEqual(list(found["scenarios"]["h1-small"]["results"]), ["weir", "twin", "mine"])

    def test_wrk_as_a_cross_check(self):
        _, found = self.compare("--scenario=h1-small,l4-small", "--proxies=weir,direct", "--generator=wrk", "--seconds=1")
        self.assertEqual(found["generator"], "wrk and nginx")
        self.assertGreater(found["scenarios"]["l4-small"]["results"]["weir"]["requests"], 100)

    def test_mistakes_are_named(self):
        for flag, expected in (("--scenario=h9", "h9"), ("--shards=0", "--shards=0"), ("--proxies=varnish", "varnish"),
                               ("--custom=x", "expected NAME="), ("--scenari=all", "--scenari"),
                               ("--binary=weir=/bin/true", "weir: a name"), ("--weir=/nowhere", "expected a program"),
                               ("--custom=a={oops}", "expected {listen}"), ("--out=/proc/x", "expected a directory"), ("--compare-to=/nowhere", "/nowhere"), ("--rounds=0", "--rounds")):
            with self.subTest(flag):
                done = subprocess.run([COMPARE, flag], capture_output=True, text=True, timeout=60, check=False)
                self.assertNotEqual(done.returncode, 0)
                self.assertIn(expected, done.stderr)

    def test_a_proxy_that_does_not_start(self):
        token = f"token{os.getpid()}"
        done, _ = self.compare("--scenario=h1-small", "--proxies=weir",
                               f"--custom=bad=sleep 100 & echo no such thing {token} {{listen}}; exit 3", code=1)
        self.assertIn(f"no such thing {token}", done.stderr)
        # Nobody it started is left behind.
        left = subprocess.run(["pgrep", "-f", "compare.*" + self.id().split(".")[-1]], capture_output=True, text=True, check=False)
        self.assertEqual(left.stdout, "")

    def test_what_fails_is_said(self):
        """A proxy that answers nothing of use, and one that ends each connection."""
        script = pathlib.Path(os.environ.get("TEST_TMPDIR", "/tmp"), "proxy.py")
        script.write_text(
            "import socket, sys, threading\n"
            "host, port = sys.argv[1].split(':')\n"
            "answer = b'HTTP/1.1 200 OK\\r\\nContent-Length: 100\\r\\n\\r\\n' + b'x' * 100\n"
            "if sys.argv[2] == 'bad': answer = b'HTTP/1.1 503 No\\r\\nContent-Length: 0\\r\\n\\r\\n'\n"
            "def serve(c):\n"
            "    with c:\n"
            "        for _ in range(5):\n"
            "            if not c.recv(65536): return\n"
            "            c.sendall(answer)\n"
            "l = socket.create_server((host, int(port)), backlog=1000)\n"
            "while True: threading.Thread(target=serve, args=(l.accept()[0],), daemon=True).start()\n")
        done, _ = self.compare("--scenario=h1-small", "--proxies=weir", f"--custom=closes={sys.executable} {script} {{listen}} closes",
                               code=1)
        self.assertIn("RECONNECTS", done.stdout)
        done = subprocess.run(
            [COMPARE, f"--weir={runfiles.path('lb/weir')}", f"--load={runfiles.path('bench/load/weir-load')}", "--rounds=1",
             "--seconds=0.2", "--scenario=h1-small", "--proxies=weir", "--load-timeout=2",
             f"--custom=bad={sys.executable} {script} {{listen}} bad"],
            capture_output=True, text=True, timeout=250, check=False)
        self.assertEqual(done.returncode, 1, done.stdout)
        self.assertIn("answers were not 200", done.stdout)


if __name__ == "__main__":
    unittest.main()
