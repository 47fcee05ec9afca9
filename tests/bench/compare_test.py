"""tools/compare, short: it measures all contenders, in every kind of scenario, and says what it found."""

import hashlib
import importlib.machinery
import importlib.util
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import unittest
from unittest import mock

import runfiles

COMPARE = runfiles.path("tools/compare")
sys.path.insert(0, os.path.dirname(runfiles.path("bench/compare/report.py")))

import instructions  # noqa: E402
import load  # noqa: E402
import machine  # noqa: E402
import proxies  # noqa: E402
import report  # noqa: E402
import scenarios  # noqa: E402
import verdicts  # noqa: E402

PEERS = ["haproxy", "nginx"]  # of made-up results


def compare_run(*flags):
    """The program's own Run, in this process."""
    spec = importlib.util.spec_from_loader("compare", importlib.machinery.SourceFileLoader("compare", COMPARE))
    compare = importlib.util.module_from_spec(spec)
    with mock.patch.object(sys, "dont_write_bytecode", True):
        spec.loader.exec_module(compare)
    with mock.patch.object(sys, "argv", [COMPARE, *flags]):
        return compare.Run(compare.parse())


def script(name, text):
    path = pathlib.Path(os.environ.get("TEST_TMPDIR", "/tmp"), name)
    path.write_text(text)
    path.chmod(0o755)
    return path


def read(path):
    try:
        return pathlib.Path(path).read_bytes()
    except OSError:
        return b""


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
        scenario = scenarios.SCENARIOS["h1-small"]
        verdict = verdicts.of_load(scenario, results, PEERS)
        text = report.table(scenario, results, PEERS, verdict)
        self.assertIn("0.69", text)  # 11 / 16
        self.assertNotIn("FAILED", text)
        self.assertIn("goal 0.68, reached 0.69 (0.10-1.88), beside nginx: missed", text)
        self.assertIn("p99 22 us, not above nginx's 32", text)

    def test_goals_and_tails(self):
        def of(name, **rounds):
            results = {who: report.summarise([row(us) for us in values]) for who, values in rounds.items()}
            return "\n".join(verdicts.lines(verdicts.of_load(scenarios.SCENARIOS[name], results, PEERS)))

        above = of("h1-small", weir=[10, 20, 21], nginx=[11, 12, 13])
        self.assertIn("p99 40 us, above nginx's 24, within the spread", above)
        self.assertTrue(of("h1-small", weir=[20, 21, 22], nginx=[11, 12, 13]).endswith("above nginx's 24"))
        one = of("h1-small", weir=[20], nginx=[10])
        self.assertIn("reached 2.00 (one round: no spread)", one)
        self.assertIn("above nginx's 20 (one round: no spread)", one)
        self.assertIn("beside haproxy", of("h1-1m", weir=[10], haproxy=[5], nginx=[20]))
        self.assertEqual(of("h1-small", weir=[10]), "goal 0.68: there was no peer to relate to")
        self.assertNotIn("goal", of("mixed", weir=[10], nginx=[10]))

    def test_the_best_policy_counts(self):
        results = {who: report.summarise([row(us) for us in values]) for who, values in
                   {"weir-ewma": [30, 31, 32], "weir-p2c": [10, 11, 12], "haproxy": [20, 22, 24], "nginx": [40]}.items()}
        text = "\n".join(verdicts.lines(verdicts.of_uneven(scenarios.SCENARIOS["uneven"], results, PEERS)))
        self.assertEqual(text, "goal 1.00, reached 0.50 (0.42-0.60) by weir-p2c's p99, beside haproxy: met")
        del results["haproxy"], results["nginx"]
        text = "\n".join(verdicts.lines(verdicts.of_uneven(scenarios.SCENARIOS["uneven"], results, PEERS)))
        self.assertEqual(text, "goal 1.00: there was no peer to relate to")

    def test_a_spread_is_that_of_both(self):
        mine, other = (report.summarise([row(us) for us in values]) for values in ((10, 12, 16), (18, 20, 32)))
        self.assertEqual(verdicts.ratio(mine, other), (12 / 20, 10 / 32, 16 / 18))
        verdict = verdicts.of_load(scenarios.SCENARIOS["h1-small"], {"weir": mine, "nginx": report.summarise([row(20)])}, PEERS)
        self.assertEqual(verdict["rounds"], 1)  # the peer's others were lost

    @unittest.skipUnless(report.can_plot(), "python3-matplotlib is not installed")
    def test_the_plot_has_that_spread_too(self):
        results = {"weir": report.summarise([row(10), row(12), row(16)]), "nginx": report.summarise([row(18), row(20), row(32)])}
        found = {"rounds": 3, "contenders": {"weir": "", "nginx": ""},
                 "scenarios": {"h1-small": {"kind": "load", "best_peer": "nginx", "results": results}}}
        figure = report.figures(found)["cpu"]
        (low, high), = figure.axes[0].collections[0].get_segments()
        self.assertAlmostEqual(low[1], 10 / 32)
        self.assertAlmostEqual(high[1], 16 / 18)

    def test_one_round_is_said(self):
        results = {"weir": report.summarise([row(10)])}
        self.assertIn("one round", report.table(scenarios.SCENARIOS["h1-small"], results, PEERS, {}))

    def test_steps(self):
        results = {step: {"weir": report.summarise([row(us), row(us + 1), row(us + 2)])} for step, us in (("64", 9), ("4000", 14))}
        ratios = report.step_ratios(results)
        self.assertEqual(ratios["weir"]["ratio"], 1.5)  # 15 / 10
        scenario = scenarios.SCENARIOS["growth"]
        text = report.step_table(scenario, results, verdicts.of_steps(scenario, ratios, results))
        self.assertIn("goal 1.70, reached 1.50 (1.27-1.78)", text)

    def test_own_instructions_are_counted_once(self):
        said = ["events: Ir\n", "ob=(1) /bin/proxy\n", "fn=(1) main\n", "12 100\n", "cob=(2) /tmp/x/shim.so\n", "cfn=(2)\n",
                "calls=3 0\n", "13 5000\n", "+1 20\n", "ob=(2)\n", "fn=(2)\n", "0 5000\n", "ob=(1)\n", "* 3\n", "totals: 5123\n"]
        self.assertEqual(instructions.user_instructions(said, "shim.so"), 123)

    @unittest.skipUnless(report.can_plot(), "python3-matplotlib is not installed")
    def test_plots_mark_what_was_disturbed(self):
        disturbed = {**report.summarise([row(10)]), "foreign": 0.3}
        fine = report.summarise([row(20)])
        found = {"rounds": 1, "contenders": {"weir": "", "nginx": ""}, "scenarios": {
            "h1-small": {"kind": "load", "best_peer": "nginx", "results": {"weir": disturbed, "nginx": fine}},
            "latency": {"kind": "latency", "rates": {"25": 1000}, "results": {"25": {"weir": disturbed, "nginx": fine}}},
            "growth": {"kind": "growth", "about": "long words " * 20, "results": {"64": {"weir": disturbed}, "256": {"weir": fine}}}}}
        for scenario in list(found["scenarios"]):
            for marked in (True, False):
                with self.subTest(scenario, marked=marked):
                    disturbed["foreign"] = 0.3 if marked else 0.0
                    figures = report.figures({**found, "scenarios": {scenario: found["scenarios"][scenario]}})
                    self.assertEqual(len(figures), 1)
                    for figure in figures.values():
                        figure.canvas.draw()
                        title = figure._suptitle
                        self.assertIn("one round", title.get_text().replace("\n", " "))
                        self.assertLessEqual(title.get_window_extent().width, figure.bbox.width)
                        legend = [text.get_text() for text in figure.axes[0].get_legend().get_texts()]
                        self.assertEqual(report.DISTURBED in legend, marked)

    def test_the_latency_axis_counts_nines(self):
        curve = report.latency_curve({"p99.9": 3, "p50": 1, "p99": 2, "mean": 7, "max": 9})
        self.assertEqual([us for _, us in curve], [1, 2, 3])
        self.assertAlmostEqual(curve[1][0], 2)
        self.assertAlmostEqual(curve[2][0], 3)

    def test_what_went_wrong_is_said(self):
        result = report.summarise([row(10, failed=3)])
        self.assertIn("3 FAILED", report.warnings_of("weir", result))
        result = {**report.summarise([row(10)]), "load_cpu_busy": 0.99, "proxy_cpu_busy": 0.6, "steal": 0.1, "foreign": 0.2}
        self.assertEqual(report.warnings_of("weir", result), ["the generator is the bottleneck", "10% stolen", "20% other load"])

    def test_other_load_is_not_a_slow_generator(self):
        busy = {**report.summarise([row(10)]), "load_cpu_busy": 0.99, "proxy_cpu_busy": 0.6, "load_foreign": 0.4}
        said = ["40% other load on the generator's CPU"]
        self.assertEqual([report.warnings_of(name, busy) for name in ("weir", "direct")], [said, said])

    def test_whose_work_it_was(self):
        """A second, of which proxy and generator had a half each, and others the rest of what was busy."""
        def sample(second, proxy, load):
            return mock.Mock(process_s=0.5 * second, user_ticks=0, system_ticks=0, busy_s={0: proxy * second, 1: load * second},
                             steal_s={0: 0, 1: 0}, total_s={0: second, 1: second})

        def spent(proxy_cpus, proxy, load):
            found = machine.Spent(sample(0, 0, 0), sample(1, proxy, load), proxy_cpus, [1], 0.5)
            return round(found.foreign, 3), round(found.load_foreign, 3)

        self.assertEqual(spent([0], 0.7, 0.9), (0.2, 0.4))
        self.assertEqual(spent([], 0, 0.9), (0, 0.4))
        self.assertEqual(spent([0, 1], 0.7, 0.9), (0.3, 0))

    def test_verdicts_say_what_they_rest_on(self):
        scenario = scenarios.SCENARIOS["h1-small"]
        results = {"weir": report.summarise([row(10)]), "nginx": report.summarise([row(20)])}
        text = "\n".join(verdicts.lines(verdicts.of_load(scenario, results, PEERS)))
        self.assertIn("beside nginx: met", text)
        self.assertNotIn("disturbed", text)
        results["nginx"]["foreign"] = 0.3
        goal, tails = verdicts.lines(verdicts.of_load(scenario, results, PEERS))
        self.assertTrue(goal.endswith("beside nginx: met (disturbed: nginx)"), goal)
        self.assertIn("not above nginx's 40 (disturbed: nginx)", tails)
        growth = scenarios.SCENARIOS["growth"]
        steps = {"64": {"weir": report.summarise([row(9)])}, "4000": {"weir": {**report.summarise([row(14)]), "steal": 0.2}}}
        line, = verdicts.lines(verdicts.of_steps(growth, report.step_ratios(steps), steps))
        self.assertTrue(line.endswith(": met (disturbed: weir at 4000)"), line)

    def test_comparisons_of_what_can_be_compared(self):
        def run(seconds=3, connections=64, generator="light", names=("h1-small",), foreign=0.0):
            results = {"weir": {**report.summarise([row(10)]), "foreign": foreign}}
            return {"date": "then", "machine": {"cpu": "a", "kernel": "b"}, "rounds": 3, "seconds": seconds,
                    "generator": "light generator and origin" if generator == "light" else "wrk and nginx",
                    "scenarios": {name: {"kind": "load", "about": "", "results": results, "connections": connections,
                                         "generator": generator} for name in names}}

        self.assertNotIn("disturbed", report.change(run(), run()))
        self.assertIn("disturbed then and now", report.change(run(foreign=0.3), run(foreign=0.3)))
        self.assertTrue(report.change(run(foreign=0.3), run()).endswith("disturbed then"))
        self.assertIn("not compared: generator wrk then, light now", report.change(run(generator="wrk"), run()))
        self.assertIn("not compared: connections 64 then, 16 now", report.change(run(), run(connections=16)))
        self.assertIn("rounds of 3 s then, 0.5 s now", report.change(run(), run(seconds=0.5)))
        text = report.change(run(names=("h1-small", "many")), run(names=("h1-small", "h1-small@2")))
        self.assertIn("only then: many", text)
        self.assertIn("only now: h1-small@2", text)

    def test_mixed_is_the_page_it_claims(self):
        sizes = [int(ask.split("+")[-1]) for ask in scenarios.MIXED.split(",")]
        self.assertEqual(len(sizes), 71)
        self.assertTrue(1_850_000 < sum(sizes) < 2_000_000, sum(sizes))  # what the kinds named add up to
        self.assertEqual(sum("+" in ask for ask in scenarios.MIXED.split(",")), 6)


class Trouble(unittest.TestCase):
    """What goes wrong in one place does not take the rest with it."""

    def test_perf_that_cannot_count(self):
        bench, contender = mock.Mock(generator="light"), mock.Mock(cpus=[0])
        contender.name = "weir"
        contender.modes.return_value = ("http",)
        run = compare_run("--proxies=weir", "--shards=1,2")
        run.peers, run.counters, run.instructions = [], object(), {"h1-small": {"weir": 123}}
        scenario = scenarios.SCENARIOS["h1-small"]
        for shards in (1, 2):
            run.rounds = lambda *_, **__: {"weir": report.summarise([row(10)])}
            result = run.run_scenario(bench, scenario, [contender], shards)["results"]["weir"]
            self.assertNotIn("all_instructions", result)
            # Callgrind ran it with one shard.
            self.assertEqual(result.get("user_instructions"), 123 if shards == 1 else None)
        self.assertTrue(any("could not count" in note for note in run.notes))
        counted = {**row(10), "all_instructions": 7}
        self.assertEqual(report.summarise([row(10), counted])["all_instructions"], 7)

    def test_instructions_of_nothing(self):
        run = compare_run("--proxies=weir", "--scenario=latency", "--instructions")
        run.count_instructions(mock.Mock(dir="/nowhere"))
        self.assertEqual(run.instructions, {})
        self.assertTrue(any("plain load" in note for note in run.notes))

    def test_tools_that_hang_or_are_missing(self):
        for command in (["sleep", "60"], ["/no/such/tool"]):
            with self.assertRaises(instructions.Unavailable):
                instructions.Callgrind._call(command, timeout=0.1)

    def test_perf_that_does_not_end(self):
        perf = script("perf", "#!/bin/sh\ntrap '' INT\nexec sleep 60\n")
        with mock.patch.object(instructions.proxies, "find", lambda _: str(perf)), mock.patch.object(instructions, "END_S", 0.2):
            counters = instructions.Counters([os.getpid()])
            time.sleep(0.3)
            with self.assertRaises(subprocess.TimeoutExpired):
                counters.end()
        self.assertEqual(counters.process.returncode, -signal.SIGKILL)

    def test_a_round_that_fails_leaves_no_generator(self):
        class Counters:
            def __init__(self, _pids):
                pass

            def end(self):
                raise subprocess.TimeoutExpired("perf", 30)

            close = end

        started = []

        class Light(load.Light):
            def __init__(self, *args):
                super().__init__(*args)
                started.append(self.process)

        cpu = max(os.sched_getaffinity(0))
        origins = [f"127.0.0.1:{proxies.free_port()}" for _ in range(2)]
        bench = load.Bench(runfiles.path("bench/load/weir-load"), [cpu], origins, "/nowhere", "light")
        scenario = scenarios.SCENARIOS["h1-small"]
        with mock.patch.object(load, "Light", Light), self.assertRaisesRegex(load.Failed, "perf"):
            bench.run(None, scenario, 0.1, counters=Counters)
        self.assertEqual([process.returncode is None for process in started], [False])
        with mock.patch.object(load.machine, "Sample", side_effect=[
                mock.Mock(seen=seen, process_s=0) for seen in ({1}, {1, 2}, {1}, {1})]):
            with self.assertRaisesRegex(load.Failed, "ended during the round"):
                bench.run(None, scenario, 0.1)

    def test_a_wrk_that_fails(self):
        bench = load.Bench("", [max(os.sched_getaffinity(0))], ["127.0.0.1:1"], "/nowhere", "wrk")
        for text, expected in (("#!/bin/sh\necho no luck >&2; exit 1\n", "no luck"), ("#!/bin/sh\n", "it says nothing")):
            wrk = script("wrk", text)
            with mock.patch.object(proxies, "find", lambda _, wrk=wrk: str(wrk)), self.assertRaisesRegex(load.Failed, expected):
                bench.run(None, scenarios.SCENARIOS["h1-small"], 0.1)

    def test_wrk_reads_what_was_asked_for(self):
        """It looks at no length itself: the bytes that it read are those of as many answers."""
        answers = {"good": b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n" + b"x" * 100,
                   "short": b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n" + b"x" * 50}
        bench = load.Bench("", [max(os.sched_getaffinity(0))], [""], "/nowhere", "wrk")
        for answer, read, expected in (("good", "139.65KB", None), ("good", "89.65KB", "answers were not of 100 bytes"),
                                       ("good", "300.12KB", "answers were not of 100 bytes"), ("short", "89.65KB", "has 50 bytes")):
            with self.subTest(answer, read=read), socket.create_server(("127.0.0.1", 0)) as listener:
                def serve(listener=listener, answer=answer):
                    connection, _ = listener.accept()
                    with connection:
                        connection.recv(65536)
                        connection.sendall(answers[answer])

                server = threading.Thread(target=serve)
                server.start()
                bench.origins = [f"127.0.0.1:{listener.getsockname()[1]}"]
                wrk = script("wrk", f"#!/bin/sh\necho '  1000 requests in 1.00s, {read} read'\n")
                with mock.patch.object(proxies, "find", lambda _, wrk=wrk: str(wrk)):
                    if expected is None:
                        self.assertEqual(bench.run(None, scenarios.SCENARIOS["h1-small"], 0.1)["requests"], 1000)
                    else:
                        with self.assertRaisesRegex(load.Failed, expected):
                            bench.run(None, scenarios.SCENARIOS["h1-small"], 0.1)
                server.join()

    def test_time_that_is_not_seen(self):
        bench = load.Bench("", [1], [], "/nowhere", "light")
        spent = mock.Mock(process_s=0.0, cpu_s=1.0, user_share=0.5, of_proxy=True)
        with self.assertRaisesRegex(load.Failed, "stay in the foreground"):
            bench._figures(10_000, 1.0, 0, spent, {})
        spent.of_proxy = False  # nobody's, as it should be
        self.assertEqual(bench._figures(10_000, 1.0, 0, spent, {})["us_per_request"], 0)

    def test_a_plot_that_fails(self):
        good, bad = mock.Mock(), mock.Mock()
        bad.savefig.side_effect = RuntimeError("no ink")
        with mock.patch.object(report, "_pyplot", mock.Mock()), mock.patch.object(report, "figures", lambda _: {"a": bad, "b": good}):
            images, failed = report.plots({})
        self.assertEqual((list(images), list(failed)), (["b"], ["a"]))
        self.assertIn("no ink", failed["a"])

    def test_a_contender_that_gives_nothing_has_a_row(self):
        run = compare_run("--proxies=weir")
        contender = mock.Mock()
        contender.name = "weir"
        bench = mock.Mock()
        bench.run.side_effect = load.Failed("no luck")
        scenario = scenarios.SCENARIOS["h1-small"]
        self.assertEqual(run.rounds(bench, scenario, [contender], 2), {})
        result = run.with_failures(scenario, None)
        self.assertIn("weir       FAILED: no luck", result["table"])
        self.assertEqual(result["failed"], {"weir": "no luck"})
        whole = {"scenarios": {"h1-small": result}, "contenders": {"weir": ""}, "rounds": 1}
        self.assertEqual(report.plots(whole), ({}, {}))

    def test_a_process_that_has_ended(self):
        child = subprocess.Popen(["true"])
        child.wait()
        sample = machine.Sample([child.pid, os.getpid()])
        self.assertEqual(sample.seen, {os.getpid()})
        self.assertGreater(sample.process_s, 0)

    def test_a_leader_that_died_first(self):
        """Its children are found, also those in a group of their own, and killed if they do not end when asked to."""
        stubborn = script("stubborn.py", "import os, signal, socket, sys\n"
                          "signal.signal(signal.SIGTERM, signal.SIG_IGN)\n"
                          "if sys.argv[2] == 'own': os.setpgid(0, 0)\n"
                          "host, port = sys.argv[1].split(':')\n"
                          "listener = socket.create_server((host, int(port)))\n"
                          "while True: listener.accept()[0].close()\n")
        for group in ("own", "same"):
            with self.subTest(group), mock.patch.object(proxies, "STOP_S", 0.3):
                contender = proxies.Custom("slow", f"{sys.executable} {stubborn} {{listen}} {group} & wait", "http",
                                           os.environ.get("TEST_TMPDIR", "/tmp"), [0], [], 100)
                contender.start()
                leader = contender.process.pid
                self.assertEqual(len(proxies.members(leader)), 2)
                os.kill(leader, signal.SIGKILL)
                deadline = time.monotonic() + 10
                while contender.alive() and time.monotonic() < deadline:
                    time.sleep(0.01)
                self.assertEqual(len(proxies.members(leader)), 1)
                contender.stop()
                self.assertEqual(proxies.members(leader), {})
                socket.create_server(("127.0.0.1", contender.ports["http"])).close()
                contender.stop()  # nobody is left: nobody is signalled

    def test_threads_and_workers_are_pinned(self):
        cpus = sorted(os.sched_getaffinity(0))[:2]
        for kind in (proxies.Haproxy, proxies.Nginx):
            path = proxies.find(kind.__name__.lower())
            for count in range(1, len(cpus) + 1):
                with self.subTest(kind.__name__, count=count):
                    if path is None:
                        self.skipTest("not installed")
                    contender = kind(kind.__name__.lower(), path, os.environ.get("TEST_TMPDIR", "/tmp"), cpus[:count],
                                     ["127.0.0.1:1"], 100)
                    wanted, found = {(cpu,) for cpu in cpus[:count]}, None
                    try:
                        contender.start()
                        deadline = time.monotonic() + 5  # workers pin themselves when they begin
                        while found != wanted and time.monotonic() < deadline:
                            if kind is proxies.Nginx:
                                tasks = contender.pids()[1:]
                            else:
                                tasks = [int(task) for task in os.listdir(f"/proc/{contender.process.pid}/task")]
                            found = {tuple(os.sched_getaffinity(task)) for task in tasks}
                    finally:
                        contender.stop()
                    self.assertEqual(found, wanted)


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
        self.assertIn("one round", html)
        self.assertIn("goal 0.68, reached", found["scenarios"]["h1-small"]["table"])
        before = self.out.with_name("before.json")
        shutil.copy(self.out / "report.json", before)
        done, _ = self.compare("--scenario=h1-small", f"--compare-to={before}")
        self.assertIn("against the run of", done.stdout)

    def test_latency_and_two_shards(self):
        done, found = self.compare("--scenario=latency", "--proxies=weir,nginx")
        self.assertEqual(list(found["scenarios"]["latency"]["results"]), ["25", "50", "75"])
        self.assertIn("75 %: p99", done.stdout)
        self.assertEqual(set(found["scenarios"]["latency"]["verdict"]["tails"]["25"]), {"p99", "p99.9"})
        before = self.out.with_name("latency.json")
        shutil.copy(self.out / "report.json", before)
        done, _ = self.compare("--scenario=latency", "--proxies=weir,nginx", f"--compare-to={before}")
        self.assertRegex(done.stdout, r"latency 50% p99\.9 +weir ")
        _, found = self.compare("--scenario=h1-small", "--proxies=weir", "--shards=1,2")
        self.assertEqual(list(found["scenarios"]), ["h1-small@1", "h1-small@2"])
        self.assertTrue(any("shares a CPU" in note for note in found["notes"]))

    def test_bulk(self):
        """HAProxy with forced splicing is a peer where bulk is forwarded."""
        done, found = self.compare("--scenario=fairness,l4-1m,h1-small", "--seconds=0.5")
        for name, r in found["scenarios"]["fairness"]["results"][""].items():
            self.assertEqual(r["failed"], 0, name)
            self.assertGreater(r["beside_mib_per_s"], 1, name)
        self.assertRegex(done.stdout, r"goal 1\.00, reached [\d.]+ \(one round: no spread\) by weir's p99, beside ")
        if "haproxy-splice" in found["contenders"]:
            self.assertIn("haproxy-splice", found["scenarios"]["fairness"]["results"][""])
            self.assertIn("haproxy-splice", found["scenarios"]["l4-1m"]["results"])
        self.assertNotIn("haproxy-splice", found["scenarios"]["h1-small"]["results"])
        self.assertIn("fairness", (self.out / "report.html").read_text())

    def test_uneven(self):
        done, found = self.compare("--scenario=uneven", "--proxies=weir,nginx,haproxy")
        results = found["scenarios"]["uneven"]["results"][""]
        self.assertEqual(set(results) - {"nginx", "haproxy"}, {"weir-ewma", "weir-p2c", "weir-least_conn"})
        for name, r in results.items():
            self.assertEqual(r["failed"], 0, name)
            self.assertGreater(r["latency_us"]["p50"], 1_900, name)  # no origin is faster
        self.assertIn("'s p99, beside ", done.stdout)
        before = self.out.with_name("uneven.json")
        shutil.copy(self.out / "report.json", before)
        done, _ = self.compare("--scenario=uneven", "--proxies=weir", f"--compare-to={before}")
        self.assertRegex(done.stdout, r"uneven p99\.9 +weir-p2c ")

    def test_growth_endpoints_and_scaling(self):
        def check(name, steps, contenders):
            result = found["scenarios"][name]
            self.assertEqual(list(result["results"]), steps)
            for contender in contenders:
                self.assertGreater(result["ratios"][contender]["ratio"], 0.2)
                for step in steps:
                    r = result["results"][step][contender]
                    self.assertEqual((r["failed"], r["reconnects"]), (0, 0), (step, contender))
            self.assertIn("reached", result["verdict"])
            html = (self.out / "report.html").read_text()
            self.assertIn(f'alt="{name}"' if report.can_plot() else name, html)

        _, found = self.compare("--scenario=endpoints", "--proxies=weir,haproxy,nginx", "--seconds=0.2")
        check("endpoints", ["3", "100", "1000"], [name for name in ("weir", "haproxy", "nginx") if name in found["contenders"]])
        done, found = self.compare("--scenario=growth,scaling", "--proxies=weir", "--seconds=0.2")
        check("growth", ["64", "256", "1000", "4000"], ["weir"])
        check("scaling", ["1", "2"], ["weir"])
        rates = {r["rate"] for by_name in found["scenarios"]["scaling"]["results"].values() for r in by_name.values()}
        self.assertEqual(len(rates), 1)
        self.assertGreater(rates.pop(), 0)
        if len(os.sched_getaffinity(0)) < 4:
            self.assertIn("scaling efficiency needs at least 4 CPUs", done.stdout)
        else:
            self.assertIn("1", found["scenarios"]["scaling"]["efficiency"])

    def test_scaling_efficiency(self):
        """With several generators; on two CPUs they share these with the proxies."""
        run = compare_run("--proxies=weir", "--rounds=1", "--seconds=0.2")
        run.weir, run.peers = runfiles.path("lb/weir"), []
        self.out.mkdir(exist_ok=True)
        bench = load.Bench(runfiles.path("bench/load/weir-load"), [run.cpus[-1]], [], str(self.out), "light")
        found = run.efficiency(bench, scenarios.SCENARIOS["scaling"], run.cpus[:2] * 2)
        self.assertEqual(list(found), ["1", "2"])
        for by_name in found.values():
            self.assertGreater(by_name["weir"]["requests"], 100)
            self.assertEqual(by_name["weir"]["failed"], 0)
        self.assertIn("100%", report.efficiency_table(found))

    @unittest.skipIf(proxies.find("valgrind") is None, "valgrind is not installed")
    def test_instructions(self):
        counts = []
        for flags in (("--scenario=h1-small", "--proxies=weir,haproxy,nginx"), ("--scenario=h1-small,l4-small", "--proxies=weir")):
            done, found = self.compare("--instructions", *flags)
            self.assertNotIn("not available", done.stdout)
            counts.append({(name, who): r["user_instructions"] for name, s in found["scenarios"].items()
                           for who, r in s["results"].items()})
        for key, count in (*counts[0].items(), *counts[1].items()):
            self.assertTrue(500 < count < 1_000_000, (key, count))
        # On a machine that does other things, how much is done at once varies.
        self.assertAlmostEqual(counts[0]["h1-small", "weir"] / counts[1]["h1-small", "weir"], 1, delta=0.15)
        self.assertLess(counts[1]["l4-small", "weir"], counts[1]["h1-small", "weir"])
        self.assertIn("instr", done.stdout)

    @unittest.skipIf(proxies.find("perf") is None, "perf is not installed")
    def test_counting_by_perf(self):
        """The CPU's counters may be missing; what perf counts without them is read the same way."""
        if not instructions.have_counters("task-clock"):
            self.skipTest("perf may not count here")
        self.assertFalse(instructions.have_counters("no-such-event"))
        busy = subprocess.Popen([sys.executable, "-c", "while True: pass"])
        try:
            counters = instructions.Counters([busy.pid], "task-clock")
            subprocess.run(["sleep", "0.3"], check=True)
            self.assertGreater(counters.end(), 1)
        finally:
            busy.kill()
            busy.wait()

    def test_another_binary_and_a_custom_proxy(self):
        weir = runfiles.path("lb/weir")
        _, found = self.compare("--scenario=h1-small", "--proxies=weir", f"--binary=twin={weir}",
                                f"--custom=mine={weir} --shards=1 --listen={{mode}}://{{listen}} --backends={{origins}}")
        self.assertEqual(list(found["scenarios"]["h1-small"]["results"]), ["weir", "twin", "mine"])
        digest = hashlib.sha256(pathlib.Path(weir).read_bytes()).hexdigest()[:12]
        self.assertEqual((found["binaries"]["twin"]["path"], found["binaries"]["twin"]["sha256"]), (weir, digest))
        self.assertIn(digest, (self.out / "report.html").read_text())

    def test_wrk_as_a_cross_check(self):
        done, found = self.compare("--scenario=h1-small,l4-small,mixed,gzip", "--proxies=weir,direct", "--generator=wrk", "--seconds=1",
                                   "--instructions")
        self.assertIn("no instructions of the kernel", done.stdout)
        self.assertEqual(found["skipped"], {"mixed": "wrk cannot do it", "gzip": "not yet"})
        self.assertEqual(found["generator"], "wrk and nginx")
        self.assertGreater(found["scenarios"]["l4-small"]["results"]["weir"]["requests"], 100)

    def test_mistakes_are_named(self):
        for flag, expected in (("--scenario=h9", "h9"), ("--shards=0", "--shards=0"), ("--proxies=varnish", "varnish"),
                               ("--custom=x", "expected NAME="), ("--scenari=all", "--scenari"),
                               ("--binary=weir=/bin/true", "weir: a name"), ("--weir=/nowhere", "expected a program"),
                               ("--weir=/usr", "--weir=/usr"), ("--weir=/bin/true", "does not answer \"version\""),
                               ("--load=/bin/true", "does not answer \"--version\""), ("--binary=a=/usr", "--binary=a=/usr"),
                               ("--custom=a={oops}", "expected {listen}"), ("--custom=a=x {listen.zz}", "{listen.zz}"),
                               ("--custom=a={listen[a]}", "{listen[a]}"), ("--custom=a={listen!r}", "{listen}"),
                               ("--custom=a=awk {", "doubled"), ("--custom=a=}", "doubled"), ("--custom=a={}", "doubled"),
                               ("--out=/proc/x", "expected a directory"), ("--compare-to=/nowhere", "/nowhere"),
                               (f"--compare-to={script('half.json', '{}')}", "half.json"), ("--rounds=0", "--rounds"),
                               ("--seconds=nan", "--seconds"), ("--seconds=inf", "--seconds"), ("--seconds=-1", "--seconds"),
                               ("--load-timeout=0", "--load-timeout"), ("--rounds=1.5", "--rounds")):
            with self.subTest(flag):
                done = subprocess.run([COMPARE, flag], capture_output=True, text=True, timeout=60, check=False)
                self.assertEqual(done.returncode, 2)
                self.assertIn(expected, done.stderr)
                self.assertEqual(done.stderr.count("\n"), 1, done.stderr)

    def test_a_reader_that_goes(self):
        done = subprocess.run(["sh", "-c", f"{COMPARE} --list | head -1; {COMPARE} --weir={runfiles.path('lb/weir')} "
                               f"--load={runfiles.path('bench/load/weir-load')} --rounds=1 --seconds=0.2 --scenario=h1-small,h1-10k "
                               "--proxies=weir | head -1"], capture_output=True, text=True, timeout=100, check=False)
        self.assertEqual(done.stderr, "")
        self.assertEqual(done.stdout.count("\n"), 2)

    def test_what_an_interrupted_run_measured(self):
        process = subprocess.Popen(
            [COMPARE, f"--weir={runfiles.path('lb/weir')}", f"--load={runfiles.path('bench/load/weir-load')}", "--rounds=1",
             "--seconds=1", "--scenario=h1-small,h1-10k,h1-16k,many", "--proxies=weir", f"--out={self.out}"],
            stdout=subprocess.PIPE, text=True)
        for line in process.stdout:
            if line.startswith("h1-small: HTTP"):
                process.send_signal(signal.SIGINT)
                break
        process.stdout.read()
        process.stdout.close()
        self.assertEqual(process.wait(60), 128 + signal.SIGINT)
        found = json.loads((self.out / "report.json").read_text())
        self.assertTrue(found["partial"])
        self.assertIn("h1-small", found["scenarios"])
        self.assertTrue(any("stopped by SIGINT" in note for note in found["notes"]), found["notes"])

    def test_a_proxy_that_does_not_start(self):
        slow = f"sleep 100.{os.getpid()}"
        done, _ = self.compare("--scenario=h1-small", "--proxies=weir",
                               f"--custom=bad={slow} & echo no such thing {{listen}}; exit 3", code=1)
        self.assertIn("no such thing 127.0.0.1", done.stderr)
        # Nobody it started is left behind.
        left = subprocess.run(["pgrep", "-f", slow], capture_output=True, text=True, check=False)
        self.assertEqual(left.stdout, "")

    def test_a_proxy_that_goes_into_the_background(self):
        """Is told so, and found: by its name in its environment, or as our orphan."""
        weir = runfiles.path("lb/weir")
        for how in ("setsid", "env -i setsid"):
            with self.subTest(how):
                odd = f"{9000 + os.getpid() % 997}ms"
                done, _ = self.compare("--scenario=h1-small", "--proxies=weir", f"--custom=d={how} {weir} --shards=1 "
                                       f"--drain_timeout={odd} --listen=http://{{listen}} --backends={{origins}} & sleep 0.1; exit 3",
                                       code=1)
                self.assertIn("ended with status 3; it must stay in the foreground", done.stderr)
                left = subprocess.run(["pgrep", "-f", f"drain_timeout={odd}"], capture_output=True, text=True, check=False)
                self.assertEqual(left.stdout, "")

    def test_ends_of_all_kinds_leave_nothing(self):
        """An impatient user's, and those that nobody can prepare for."""
        for signals in ((signal.SIGINT,) * 3, (signal.SIGQUIT,), (signal.SIGTERM, signal.SIGHUP), (signal.SIGKILL,)):
            with self.subTest(signals), tempfile.TemporaryFile() as said:
                self.end_by(signals, said)

    def end_by(self, signals, said):
        scratch = pathlib.Path(tempfile.mkdtemp(dir=os.environ.get("TEST_TMPDIR")))
        process = subprocess.Popen(
            [COMPARE, f"--weir={runfiles.path('lb/weir')}", f"--load={runfiles.path('bench/load/weir-load')}", "--seconds=60",
             "--scenario=h1-small", "--proxies=weir,haproxy,nginx"], stdout=said, stderr=subprocess.STDOUT,
            env={**os.environ, "TMPDIR": str(scratch)}, start_new_session=True)

        def carrying():
            return [name for name in os.listdir("/proc") if name.isdigit()
                    and str(scratch).encode() in read(f"/proc/{name}/environ") + read(f"/proc/{name}/cmdline")]

        def measuring():
            return any(b"WEIR_COMPARE=" in read(f"/proc/{name}/environ") and b"--target=" in read(f"/proc/{name}/cmdline")
                       for name in carrying())

        def wait(condition):
            deadline = time.monotonic() + 200
            while not condition() and time.monotonic() < deadline and process.poll() is None:
                time.sleep(0.02)
            return condition()

        def why():
            said.seek(0)
            return f"{carrying()} {list(scratch.iterdir())} {process.poll()} {said.read().decode()}"

        self.assertTrue(wait(measuring), why())
        for number in signals:
            process.send_signal(number)
            time.sleep(0.05)
        code = process.wait(60)  # not that of the rounds: the generator is not waited for
        # (A late one may meet the interpreter when all is done.)
        self.assertIn(code, [-number for number in signals] + [128 + signals[0]])
        deadline = time.monotonic() + 60
        while (carrying() or list(scratch.iterdir())) and time.monotonic() < deadline:
            time.sleep(0.02)
        self.assertFalse(carrying() or list(scratch.iterdir()), why())

    def test_nothing_is_measured_for_a_reason(self):
        done, _ = self.compare("--scenario=gzip,h1-small", "--proxies=direct", code=1)
        self.assertIn("nothing was measured; gzip: not yet; h1-small: no contender that could do it (direct)", done.stdout)

    def test_half_a_run_is_reported(self):
        """The second start fails."""
        weir = runfiles.path("lb/weir")
        once = self.out.with_name(f"once{os.getpid()}")
        done, _ = self.compare("--scenario=h1-small", "--proxies=weir", "--shards=1,2",
                               f"--custom=once=mkdir {once} && exec {weir} --shards=1 --listen=http://{{listen}} "
                               "--backends={origins}", code=1)
        found = json.loads((self.out / "report.json").read_text())
        self.assertEqual(list(found["scenarios"]), ["h1-small@1"])
        self.assertTrue(any("not all that was asked for" in note for note in found["notes"]), found["notes"])
        self.assertIn("once does not listen", done.stderr)
        once.rmdir()

    def test_an_end_is_the_end_of_all_that_was_started(self):
        """A shell that ends before its slow child: the port is free only then."""
        slow = ("import signal, socket, sys, time\n"
                "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.5), sys.exit()))\n"
                "host, port = sys.argv[1].split(':')\n"
                "listener = socket.create_server((host, int(port)))\n"
                "while True: listener.accept()[0].close()\n")
        script = pathlib.Path(os.environ.get("TEST_TMPDIR", "/tmp"), "slow.py")
        script.write_text(slow)
        self.out.mkdir(exist_ok=True)
        contender = proxies.Custom("slow", f"{sys.executable} {script} {{listen}} & wait", "http", self.out, [0], [], 100)
        contender.start()
        self.assertEqual(len(contender.pids()), 2)
        contender.stop()
        socket.create_server(("127.0.0.1", contender.ports["http"])).close()

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
        self.assertRegex(done.stdout, r"bad +FAILED: .*within --load-timeout=2: .*the first: status 503")


if __name__ == "__main__":
    unittest.main()
