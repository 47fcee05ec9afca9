"""weir-load against servers whose faults are known: what it counts is what happened."""

import json
import socket
import subprocess
import threading
import unittest

import runfiles

LOAD = runfiles.path("bench/load/weir-load")


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def load(*flags, seconds=0.3):
    done = subprocess.run([LOAD, f"--seconds={seconds}", *flags], capture_output=True, text=True, timeout=120, check=False,
                          stdin=subprocess.DEVNULL)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def itself(*flags, seconds=0.3):
    at = f"127.0.0.1:{free_port()}"
    return load(f"--origins={at}", f"--target={at}", *flags, seconds=seconds)


class Server:
    """Answers each request head with what `handle` says: bytes, and whether to go on."""

    def __init__(self, test, handle):
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.handle = handle
        self.requests = 0
        self.lock = threading.Lock()
        threading.Thread(target=self.accept, daemon=True).start()
        test.addCleanup(self.listener.close)

    def target(self):
        return f"--target=127.0.0.1:{self.listener.getsockname()[1]}"

    def accept(self):
        while True:
            try:
                connection, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection):
        with connection:
            buffer = b""
            try:
                while True:
                    while b"\r\n\r\n" not in buffer:
                        data = connection.recv(65536)
                        if not data:
                            return
                        buffer += data
                    head, buffer = buffer.split(b"\r\n\r\n", 1)
                    with self.lock:
                        self.requests += 1
                    answer, go_on = self.handle(head)
                    connection.sendall(answer)
                    if not go_on:
                        return
            except OSError:
                return


class Wrong(unittest.TestCase):
    def test_the_first_wrong_answer_is_told(self):
        for answer, expected in ((b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", "status 503"),
                                 (b"HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\n", "Content-Length 99 instead of 100"),
                                 (b"HTTP/1.1 200 OK\r\n\r\n", "no Content-Length"), (b"", "ended before its head was there")):
            with self.subTest(expected):
                server = Server(self, lambda _, answer=answer: (answer, False))
                done = subprocess.run([LOAD, server.target(), "--connections=1", "--timeout_ms=200"], capture_output=True, text=True,
                                      timeout=60, check=False, stdin=subprocess.DEVNULL)
                self.assertEqual(done.returncode, 1)
                self.assertIn(f"the first: {expected}", done.stderr)


class Counts(unittest.TestCase):
    def whole(self, result):
        self.assertGreater(result["requests"], 50)
        self.assertEqual((result["failed"], result["unanswered"], result["closed_idle"]), (0, 0, 0), result)
        self.assertTrue(0 < result["latency_us"]["p50"] <= result["latency_us"]["p99"] <= result["latency_us"]["max"])

    def test_closed_loop(self):
        for flags in ((), ("--close",), ("--ask=1000,70000+5,0,200000",), ("--close", "--ask=100000+100"), ("--connect_only",),
                      ("--connections=1000",), ("--nofirst",), ("--warm_seconds=0.1",), ("--warm_seconds=0.1", "--close")):
            with self.subTest(flags):
                self.whole(itself(*flags))

    def test_open_loop(self):
        for flags in ((), ("--close",), ("--warm_seconds=0.2",)):
            with self.subTest(flags):
                result = itself("--rate=1000", *flags, seconds=1)
                self.assertEqual(result["failed"], 0)
                self.assertAlmostEqual(result["requests"] + result["unanswered"], 1000, delta=1)

    def test_an_origin_at_work(self):
        """By Little's law: so many at work, so long each."""
        one = itself("--serve_ms=20", "--connections=4", seconds=1)
        self.whole(one | {"requests": 51})
        self.assertLessEqual(one["requests"], 1000 / 20 + 4)  # one at a time
        self.assertGreater(one["latency_us"]["p50"], 3 * 20_000)  # three are before it
        many = itself("--serve_ms=20", "--workers=4", "--connections=4", seconds=1)
        self.assertGreater(many["requests"], 2 * one["requests"])
        self.assertGreater(many["latency_us"]["p50"], 19_000)

    def test_each_origin_has_its_own_time(self):
        slow, fast = (f"127.0.0.1:{free_port()}" for _ in range(2))
        for target, slowly in ((slow, True), (fast, False)):
            result = load(f"--origins={slow},{fast}", "--serve_ms=100", f"--target={target}", "--connections=1")
            self.assertEqual(result["latency_us"]["p50"] > 90_000, slowly, result)

    def test_every_request_reaches_the_server_once(self):
        server = Server(self, lambda head: (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", True))
        result = load(server.target(), "--ask=3", "--connections=8")
        self.assertEqual(result["failed"], 0)
        self.assertEqual(server.requests, result["requests"] + 8)  # each connection asks once before

    def test_what_came_before_does_not_count(self):
        server = Server(self, lambda head: (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", True))
        result = load(server.target(), "--ask=3", "--connections=8", "--warm_seconds=0.3")
        self.assertGreater(server.requests, result["requests"] + 100)
        # Failures do.
        fails = Server(self, lambda head: (b"HTTP/1.1 503 No\r\nContent-Length: 0\r\n\r\n", True))
        result = load(fails.target(), "--ask=0", "--nofirst", "--connections=2", "--warm_seconds=0.1")
        self.assertGreater(result["failed_before"], 0)

    def test_a_stall_is_seen_by_all_it_delayed(self):
        """Open loop: one stop of 300 ms on the only connection makes all that fell due in it late."""
        begun = []

        def handle(_head):
            begun.append(1)
            if len(begun) == 100:
                threading.Event().wait(0.3)
            return b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", True

        result = load(Server(self, handle).target(), "--ask=0", "--connections=1", "--rate=500", seconds=1)
        self.assertGreater(result["latency_us"]["max"], 290_000)
        self.assertGreater(result["latency_us"]["p90"], 100_000)

    def test_faults_are_counted(self):
        ok = b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
        for kind, answer, go_on in (
            ("status", b"HTTP/1.1 503 No\r\nContent-Length: 5\r\n\r\nhello", True),
            ("broken", ok[:-1], False),
            ("broken", ok + b"!", True),
            ("broken", ok.replace(b"5", b"4"), True),
            ("broken", b"", False),
        ):
            with self.subTest(answer):
                server = Server(self, lambda head, a=answer, g=go_on: (a, g) if b"/b/5 " in head else (ok, True))
                result = load(server.target(), "--ask=5", "--nofirst", "--connections=4")
                self.assertEqual(result["requests"], 0)
                self.assertGreater(result["errors"][kind], 3)
                self.assertEqual(result["failed"], result["errors"][kind])

    def test_a_close_between_requests_is_none(self):
        server = Server(self, lambda head: (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 5\r\n\r\nhello", False))
        result = load(server.target(), "--ask=5", "--connections=4")
        self.assertGreater(result["requests"], 20)
        self.assertEqual(result["failed"], 0)

    def test_nobody_and_silence(self):
        result = load(f"--target=127.0.0.1:{free_port()}", "--close", "--connections=2")
        self.assertEqual((result["requests"], result["failed"]), (0, result["errors"]["connect"]))
        self.assertGreater(result["failed"], 0)
        server = Server(self, lambda head: (b"", True))
        result = load(server.target(), "--nofirst", "--connections=2", "--timeout_ms=500", seconds=3)
        self.assertGreater(result["errors"]["timeout"], 1)

    def test_bad_flags(self):
        for flags in (("--target=nowhere",), ("--target=127.0.0.1:1", "--ask=x"), (), ("--target=127.0.0.1:1", "--ask="),
                      ("--target=127.0.0.1:1", "word")):
            with self.subTest(flags):
                done = subprocess.run([LOAD, *flags], capture_output=True, text=True, timeout=60, check=False)
                self.assertEqual(done.returncode, 1)
                self.assertIn("weir-load: ", done.stderr)


if __name__ == "__main__":
    unittest.main()
