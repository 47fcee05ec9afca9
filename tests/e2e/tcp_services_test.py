"""Protocols of others through a TCP listener, by their own servers and clients: redis and iperf3."""

import json
import os
import random
import subprocess
import threading
import unittest

import weir_harness
from weir_harness import FULL, Process, WeirTest, address_text, connect, need, run, scratch, wait_for


def listens(address):
    try:
        connect(address).close()
        return True
    except OSError:
        return False


class Redis(WeirTest):
    def start(self, *flags, unix=False):
        folder = weir_harness.socket_folder(self)
        path = os.path.join(folder, "redis.sock")
        self.direct = weir_harness.free_port()
        server = Process([need("redis-server"), "--port", str(self.direct), "--bind", "127.0.0.1", "--unixsocket", path, "--save", "",
                          "--appendonly", "no", "--dir", folder], "redis-server")
        self.addCleanup(server.kill)
        wait_for(lambda: listens(("127.0.0.1", self.direct)) and os.path.exists(path), "redis listens")
        self.front = self.weir([f"unix:{path}" if unix else f"127.0.0.1:{self.direct}"], *flags, listen=("tcp",))
        return self.front.address[1]

    def cli(self, port, *words, **options):
        return run([need("redis-cli"), "-p", str(port), *words], **options).stdout.strip()

    def test_its_own_benchmark(self):
        for unix in (False, True):
            with self.subTest(unix=unix):
                port = self.start(unix=unix)
                count = 200_000 if FULL else 4800  # whole pipelines
                for pipeline in (1, 16):
                    done = run([need("redis-benchmark"), "-p", str(port), "-n", str(count), "-c", "50", "-P", str(pipeline), "-t",
                                "ping,set,get,incr,lpush,lrange_100,mset", "--csv"])
                    names = [line.split(",")[0] for line in done.stdout.splitlines()[1:]]
                    self.assertGreaterEqual(len(names), 8, done.stdout + done.stderr)
                self.assertEqual(self.cli(port, "get", "counter:__rand_int__"), str(2 * count), "each is done once")
                self.assertEqual(self.cli(port, "llen", "mylist"), self.cli(self.direct, "llen", "mylist"))
                wait_for(lambda: self.front.metric(weir_harness.OPEN) == 0, "they have left")
                self.assertEqual(self.front.metric("weir_tcp_failures_total"), 0)

    def test_large_values_and_many_commands_at_once(self):
        port = self.start()
        value = random.Random(1).randbytes(20 << 20)
        folder = scratch("value")
        with open(os.path.join(folder, "value"), "wb") as file:
            file.write(value)
        with open(os.path.join(folder, "value"), "rb") as file:
            self.assertEqual(subprocess.run([need("redis-cli"), "-p", str(port), "-x", "set", "large"], stdin=file, capture_output=True,
                                            check=True).stdout, b"OK\n")
        for _ in range(3):
            got = subprocess.run([need("redis-cli"), "-p", str(port), "--raw", "get", "large"], capture_output=True, check=True).stdout
            self.assertEqual(got[:-1], value)
        self.assertGreater(self.front.metric("weir_spliced_bytes_total"), 3 * len(value))
        commands = "".join(f"SET key{i} {i}\r\n" for i in range(100_000))
        done = subprocess.run([need("redis-cli"), "-p", str(port), "--pipe"], input=commands, text=True, capture_output=True, check=True)
        self.assertIn("errors: 0, replies: 100000", done.stdout)
        self.assertEqual(self.cli(self.direct, "dbsize"), "100001")

    def test_who_waits_is_told(self):
        """A connection on which nothing happens, then something comes from the server's side."""
        port = self.start()
        listener = Process([need("redis-cli"), "-p", str(port), "subscribe", "news"], "redis-cli")
        self.addCleanup(listener.kill)
        wait_for(lambda: self.cli(self.direct, "pubsub", "numsub", "news").split()[-1] == "1", "it has subscribed")
        self.assertEqual(self.cli(port, "publish", "news", "something happened"), "1")
        wait_for(lambda: "something happened" in listener.out(), "it was told")


class Iperf3(WeirTest):
    def start(self, *flags):
        port = weir_harness.free_port()
        self.server = Process([need("iperf3"), "-s", "-p", str(port), "--forceflush"], "iperf3")
        self.addCleanup(self.server.kill)
        return self.weir([f"127.0.0.1:{port}"], *flags, listen=("tcp",))

    def test_all_directions(self):
        for flags in ((), ("--splice_from=0",)):
            weir = self.start(*flags)
            tests = 0
            for how in ((), ("-R",), ("-P4",), ("--bidir", "-P2"), ("-l", "1000"), ("-N", "-l", "7")):
                with self.subTest(flags=flags, how=how):
                    tests += 1  # it listens anew for each of them
                    wait_for(lambda number=f"(test #{tests})": number in self.server.out(), "iperf3 listens")
                    done = run([need("iperf3"), "-c", "127.0.0.1", "-p", str(weir.address[1]), "-J", "-t", "20" if FULL else "1", *how])
                    end = json.loads(done.stdout)
                    self.assertNotIn("error", end, end.get("error"))
                    self.assertGreater(end["end"]["sum_received"]["bytes"], 100_000)
            if not flags:
                self.assertGreater(weir.metric("weir_spliced_bytes_total"), 100 << 20)
            wait_for(lambda weir=weir: weir.metric(weir_harness.OPEN) == 0, "they have left")


if __name__ == "__main__":
    unittest.main()
