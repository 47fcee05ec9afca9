"""The command line: what is said, to whom, with which exit status, and that nothing happens before it is right."""

import ctypes
import errno
import os
import platform
import re
import resource
import shlex
import signal
import socket
import struct
import tempfile
import unittest

import weir_harness
from weir_harness import WeirTest, binary, free_port, run, wait_for

GOOD = ("--listen=http://127.0.0.1:{port}", "--backends=127.0.0.1:9")

SYSTEM_CALLS = {"x86_64": {"bind": 49, "io_uring_setup": 425}, "aarch64": {"bind": 200, "io_uring_setup": 425}}
ALLOW, KILL, ERRNO = 0x7FFF0000, 0x80000000, 0x00050000


def forbid(call, verdict):
    """For a child: one system call that a seccomp filter answers with `verdict`."""
    number = SYSTEM_CALLS.get(platform.machine(), {}).get(call)
    if number is None:
        raise unittest.SkipTest(f"the number of {call} is not known for {platform.machine()}")
    code = [  # load the number; equal: verdict, else allow
        struct.pack("HBBI", 0x20, 0, 0, 0),
        struct.pack("HBBI", 0x15, 0, 1, number),
        struct.pack("HBBI", 0x06, 0, 0, verdict),
        struct.pack("HBBI", 0x06, 0, 0, ALLOW),
    ]
    memory = ctypes.create_string_buffer(b"".join(code))
    libc = ctypes.CDLL(None, use_errno=True)

    def install():
        program = struct.pack("HxxxxxxP", len(code), ctypes.addressof(memory))
        no_new_privileges, set_seccomp, filter_mode = 38, 22, 2
        if libc.prctl(no_new_privileges, 1, 0, 0, 0) or libc.prctl(set_seccomp, filter_mode, program, 0, 0):
            os._exit(99)

    return install


def weir(*arguments, **options):
    return run([binary(), *arguments], **options)


class Words(unittest.TestCase):
    def test_help(self):
        for word in ("--help", "-help", "help", "-h"):
            got = weir(word)
            self.assertEqual((got.returncode, got.stderr), (0, ""), word)
            self.assertIn("--listen=", got.stdout)
        groups = re.findall(r"^(\S.*)\n  --", got.stdout, re.M)
        self.assertGreaterEqual(len(groups), 4)
        for flag in ("listen", "backends", "balance", "shards", "cpus", "admin", "access_log", "max_connections", "buffer_memory",
                     "drain_timeout", "lame_duck", "client_header_timeout", "client_body_timeout", "keep_alive_timeout",
                     "connect_timeout", "response_timeout", "request_timeout", "max_header_bytes", "max_header_fields",
                     "max_target_bytes"):  # fmt: skip
            self.assertRegex(got.stdout, rf"(?m)^  --{flag}=")
        # Nothing of Abseil's own.
        for foreign in ("undefok", "fromenv", "absl/", "helpfull"):
            self.assertNotIn(foreign, got.stdout)

    def test_help_wins_over_mistakes(self):
        got = weir("--nonsense", "--help")
        self.assertEqual((got.returncode, got.stderr), (0, ""))

    def test_version(self):
        for word in ("version", "--version"):
            got = weir(word)
            self.assertEqual((got.returncode, got.stderr), (0, ""))
            self.assertRegex(got.stdout, r"^weir \d+\.\d+\.\d+\n$")

    def test_check(self):
        got = weir("check", "--listen=http://127.0.0.1:8080,tcp://[::1]:5432", "--backends=localhost:9001,127.0.0.1:9002=3", "--drain_timeout=90s")
        self.assertEqual((got.returncode, got.stderr), (0, ""))
        for line in (
            "--listen=http://127.0.0.1:8080,tcp://[::1]:5432",
            "--drain_timeout=90s",
            "--balance=round_robin",
        ):
            self.assertIn(line + "\n", got.stdout)
        self.assertIn("127.0.0.1:9002=3", got.stdout)
        self.assertRegex(got.stdout, r"(?i)memory")
        self.assertRegex(got.stdout, r"(?i)open files")

    def test_what_check_prints_is_a_flag_file(self):
        first = weir("check", *(flag.format(port=8080) for flag in GOOD), "--shards=1", "--client_body_timeout=1500ms", "--buffer_memory=100MiB")
        with tempfile.NamedTemporaryFile("w", suffix=".flags") as file:
            file.write(first.stdout)
            file.flush()
            again = weir("check", f"--flagfile={file.name}")
        self.assertEqual((again.returncode, again.stderr), (0, ""))
        self.assertEqual(again.stdout, first.stdout)

    def test_check_binds_nothing_and_minds_no_port(self):
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            port = taken.getsockname()[1]
            got = weir("check", *(flag.format(port=port) for flag in GOOD), preexec_fn=forbid("bind", KILL))
        self.assertEqual(got.returncode, 0, got.stderr)


class Mistakes(unittest.TestCase):
    # (arguments beside good ones, what the message must name)
    FLAGS = [
        ("--balance=fastest", ["--balance", "fastest", "round_robin", "least_conn"]),
        ("--shards=many", ["--shards", "many", "number"]),
        ("--shards=-1", ["--shards", "-1"]),
        ("--shards=1000000", ["--shards", "1000000", "256"]),
        ("--shards=", ["--shards", "COUNT|number"]),
        ("--cpus=abc", ["--cpus", "abc", "0-3"]),
        ("--cpus=3-1", ["--cpus", "3-1"]),
        ("--cpus=99999", ["--cpus", "99999"]),
        ("--admin=9901", ["--admin", "9901", "ADDRESS:PORT|address"]),
        ("--admin=127.0.0.1:0x1", ["--admin", "127.0.0.1:0x1"]),
        ("--access_log=/nonexistent/dir/log", ["--access_log", "/nonexistent/dir/log", "No such file"]),
        ("--access_log=/", ["--access_log", "Is a directory|directory"]),
        ("--max_connections=-5", ["--max_connections", "-5", "number"]),
        ("--max_connections=99999999999", ["--max_connections", "99999999999"]),
        ("--max_connections=3000000", ["--max_connections", "3000000", "open files"]),
        ("--buffer_memory=lots", ["--buffer_memory", "lots", "64KiB"]),
        ("--buffer_memory=1", ["--buffer_memory", "1"]),
        ("--drain_timeout=30", ["--drain_timeout", "30", "30s"]),
        ("--drain_timeout=-1s", ["--drain_timeout", "-1s"]),
        ("--drain_timeout=1.5.5s", ["--drain_timeout", "1.5.5s"]),
        ("--client_header_timeout=0", ["--client_header_timeout", "0"]),
        ("--client_header_timeout=1000000h", ["--client_header_timeout", "1000000h"]),
        ("--connect_timeout=3 s", ["--connect_timeout", "3 s"]),
        ("--retries=100", ["--retries", "100", "7"]),
        ("--max_header_bytes=1", ["--max_header_bytes", "512"]),
        ("--max_header_bytes=1GiB", ["--max_header_bytes", "1GiB"]),
        ("--max_header_fields=0", ["--max_header_fields", "0"]),
        ("--max_target_bytes=20KiB", ["--max_target_bytes", "max_header_bytes"]),
        ("--listen=http://127.0.0.1:{port}", ["--listen", "twice"]),
        ("--listen=udp://127.0.0.1:1", ["--listen", "udp://127.0.0.1:1", "http://", "tcp://"]),
        ("--listen=127.0.0.1:80", ["--listen", "127.0.0.1:80", "http://"]),
        ("--listen=http://localhost:80", ["--listen", "http://localhost:80", "numeric"]),
        ("--listen=http://127.0.0.1", ["--listen", "http://127.0.0.1"]),
        ("--listen=http://127.0.0.1:70000", ["--listen", "70000"]),
        ("--listen=http://::1:80", ["--listen", "http://::1:80"]),
        ("--listen=http://127.0.0.1:80/path", ["--listen", "/path"]),
        ("--listen=http://192.0.2.1:8080", ["--listen", "192.0.2.1:8080", "address"]),
        ("--backends=127.0.0.1", ["--backends", "127.0.0.1", "PORT"]),
        ("--backends=127.0.0.1:80=0", ["--backends", "127.0.0.1:80=0", "1000"]),
        ("--backends=127.0.0.1:80=1001", ["--backends", "1001", "1000"]),
        ("--backends=127.0.0.1:80=x", ["--backends", "=x"]),
        ("--backends=127.0.0.1:0", ["--backends", "127.0.0.1:0"]),
        ("--backends=http://127.0.0.1:80", ["--backends", "http://127.0.0.1:80"]),
        ("--backends=,", ["--backends"]),
        ("--backends=no-such-name.invalid:80", ["--backends", "no-such-name.invalid", "resolved"]),
        ("--lisen=http://127.0.0.1:1", ["--lisen", "did you mean --listen"]),
        ("--draintimeout=1s", ["--draintimeout", "did you mean --drain_timeout"]),
        ("--drain-timeout=1s", ["--drain-timeout", "did you mean --drain_timeout"]),
        ("--qqqqq=1", ["--qqqqq", "unknown flag"]),
        ("--flagfile=/nonexistent", ["--flagfile", "/nonexistent", "No such file"]),
        ("--flagfile=/", ["--flagfile", "directory"]),
        ("--access_log", ["--access_log", "value"]),
        ("demonstration", ["demonstration", "demo"]),
    ]  # fmt: skip

    def test_each_is_explained(self):
        for argument, wanted in self.FLAGS:
            with self.subTest(argument):
                port = free_port()
                arguments = [flag.format(port=port) for flag in GOOD] + [argument.format(port=port)]
                # A bind would kill it: nothing is bound before all flags are right. (An address this machine does not
                # have shows only when it is bound, and a resolver's own sockets are bound too.)
                install = None if "192.0.2.1" in argument or "invalid" in argument else forbid("bind", KILL)
                got = weir(*arguments, preexec_fn=install)
                self.assertEqual(got.returncode, 1, got.stderr)
                self.assertEqual(got.stdout, "")
                for pattern in wanted:
                    pattern = pattern if "|" in pattern else re.escape(pattern)
                    self.assertRegex(got.stderr, pattern)
                # People read this: sentences of ours, and no more than the mistake and a hint.
                for line in got.stderr.splitlines():
                    self.assertTrue(line.startswith("weir: "), line)
                self.assertLessEqual(len(set(got.stderr.splitlines())), 2, got.stderr)

    def test_what_is_missing(self):
        got = weir()
        self.assertEqual(got.returncode, 1)
        self.assertIn("--listen", got.stderr)
        self.assertIn("--backends", got.stderr)

    def test_all_mistakes_at_once(self):
        got = weir("--listen=x", "--backends=y", "--shards=z", "--what=1")
        for name in ("--listen", "--backends", "--shards", "--what"):
            self.assertIn(name, got.stderr)


class Ports(WeirTest):
    def refused(self, *arguments):
        got = run([binary(), *arguments], seconds=30)
        self.assertEqual(got.returncode, 1, got.stderr)
        return got.stderr

    def test_taken_by_somebody_else(self):
        for reuse in (False, True):
            with socket.socket() as taken:
                if reuse:
                    taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
                taken.bind(("127.0.0.1", 0))
                taken.listen()
                port = taken.getsockname()[1]
                text = self.refused(f"--listen=http://127.0.0.1:{port}", "--backends=127.0.0.1:9")
                self.assertIn(f"127.0.0.1:{port}", text)
                self.assertRegex(text, "in use|taken")
                text = self.refused(f"--listen=http://0.0.0.0:{port}", "--backends=127.0.0.1:9")
                self.assertIn(f"0.0.0.0:{port}", text)
                text = self.refused(f"--listen=http://127.0.0.1:{free_port()}", "--backends=127.0.0.1:9", f"--admin=127.0.0.1:{port}")
                self.assertRegex(text, f"--admin.*{port}")

    def test_taken_by_another_weir(self):
        first = self.weir(self.origin())
        text = self.refused(f"--listen=http://127.0.0.1:{first.address[1]}", "--backends=127.0.0.1:9")
        self.assertIn(str(first.address[1]), text)
        # The first one still gets every connection.
        for _ in range(30):
            self.assertEqual(self.get(first).body, b"raw")

    def test_left_over_connections_are_no_obstacle(self):
        """TIME_WAIT of a process that has just ended does not keep the next one from starting."""
        first = self.weir(self.origin())
        client = self.client(first)
        client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
        client.response()
        first.stop(0)
        second = self.weir(self.origin(), ports=[first.address[1]])
        self.assertEqual(self.get(second).status, 200)


class FlagFiles(WeirTest):
    def test_lists_add_up_and_the_command_line_wins(self):
        ports = [free_port() for _ in range(3)]
        with tempfile.TemporaryDirectory(dir=weir_harness.scratch("flags")) as directory:
            inner = os.path.join(directory, "inner")
            outer = os.path.join(directory, "outer")
            with open(inner, "w", encoding="utf-8") as file:
                file.write(f"--listen=tcp://127.0.0.1:{ports[1]}\n\n# a comment\n--balance=least_conn\n--drain_timeout=7s\n")
            with open(outer, "w", encoding="utf-8") as file:
                file.write(f"--backends=127.0.0.1:1\n--flagfile={inner}\n--backends=127.0.0.1:2=5,127.0.0.1:3\n")
            got = run([binary(), "check", f"--listen=http://127.0.0.1:{ports[0]}", f"--flagfile={outer}",
                       f"--listen=http://[::1]:{ports[2]}", "--drain_timeout=9s"])  # fmt: skip
        self.assertEqual(got.returncode, 0, got.stderr)
        listen = re.search("--listen=(.*)\n", got.stdout)[1].split(",")
        self.assertEqual(set(listen), {f"http://127.0.0.1:{ports[0]}", f"tcp://127.0.0.1:{ports[1]}", f"http://[::1]:{ports[2]}"})
        self.assertIn("--backends=127.0.0.1:1,127.0.0.1:2=5,127.0.0.1:3\n", got.stdout)
        self.assertIn("--balance=least_conn\n", got.stdout)
        self.assertIn("--drain_timeout=9s\n", got.stdout)

    def test_a_file_that_names_itself(self):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(f"--flagfile={file.name}\n")
            file.flush()
            got = run([binary(), "check", f"--flagfile={file.name}"])
        self.assertEqual(got.returncode, 1)
        self.assertIn("--flagfile", got.stderr)

    def test_mistakes_say_where(self):
        with tempfile.NamedTemporaryFile("w") as file:
            file.write("# one\n--shards=x\n")
            file.flush()
            got = run([binary(), "check", f"--flagfile={file.name}"])
            self.assertEqual(got.returncode, 1)
            self.assertIn(f"{file.name}:2", got.stderr)

    def test_runs_with_one(self):
        origin = self.origin()
        port = free_port()
        with tempfile.NamedTemporaryFile("w") as file:
            file.write(f"--listen=http://127.0.0.1:{port}\n--backends={origin}\n")
            file.flush()
            process = weir_harness.Process([binary(), f"--flagfile={file.name}"], "weir")
            self.addCleanup(process.kill)
            wait_for(lambda: "listening on" in process.err(), "it is there")
        client = weir_harness.connect(("127.0.0.1", port))
        client.send(b"GET / HTTP/1.0\r\n\r\n")
        self.assertEqual(client.response().status, 200)
        client.close()
        process.signal(signal.SIGTERM)
        self.assertEqual(process.wait(), 0)


class Machine(WeirTest):
    """What the machine does not give is said in one sentence that tells what to change."""

    def start(self, preexec, *flags):
        got = run([binary(), *(flag.format(port=free_port()) for flag in GOOD), *flags], seconds=60, preexec_fn=preexec)
        self.assertEqual(got.returncode, 1, got.stderr)
        self.assertNotIn("internal error", got.stderr)
        return got.stderr

    def test_no_io_uring(self):
        text = self.start(forbid("io_uring_setup", ERRNO | errno.ENOSYS))
        self.assertRegex(text, r"^weir: .*io_uring.*(kernel|seccomp).*\n$")
        self.assertIn("io_uring_setup", text)

    def test_io_uring_forbidden(self):
        text = self.start(forbid("io_uring_setup", ERRNO | errno.EPERM))
        self.assertRegex(text, r"^weir: .*io_uring.*seccomp.*\n$")

    def test_too_few_descriptors(self):
        text = self.start(lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (60, 60)))
        self.assertRegex(text, r"weir: .*open files is 60.*(ulimit|LimitNOFILE)")

    def test_the_soft_limit_is_raised(self):
        hard = weir_harness.raise_file_limit()
        weir = self.weir(self.origin(), preexec=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (64, hard)))
        with open(f"/proc/{weir.pid}/limits", encoding="ascii") as file:
            soft = int(re.search(r"Max open files\s+(\d+)", file.read())[1])
        self.assertEqual(soft, hard)

    def test_too_little_address_space_or_memory(self):
        """Whatever limit is hit: a sentence and 1, or it serves."""
        for limit in (1 << 26, 1 << 28, 1 << 30):
            process = weir_harness.Process(
                [binary(), *(flag.format(port=free_port()) for flag in GOOD)],
                "weir",
                preexec=lambda at=limit: resource.setrlimit(resource.RLIMIT_AS, (at, at)),
            )
            self.addCleanup(process.kill)
            wait_for(lambda p=process: not p.alive() or "listening on" in p.err(), "it ends or serves")
            if process.alive():
                process.signal(signal.SIGTERM)
                self.assertEqual(process.wait(), 0)
            else:
                self.assertIn(process.popen.returncode, (1,), process.err())
                self.assertNotIn("internal error", process.err())

    def test_shards_are_pinned(self):
        allowed = sorted(os.sched_getaffinity(0))
        cpu = allowed[-1]
        weir = self.weir(self.origin(), f"--cpus={cpu}", shards=1)
        masks = []
        for thread in os.listdir(f"/proc/{weir.pid}/task"):
            masks.append(os.sched_getaffinity(int(thread)))
        self.assertIn({cpu}, masks)
        self.assertEqual(self.get(weir).status, 200)

    def test_many_shards_on_few_cpus(self):
        weir = self.weir(self.origin(), shards=8)
        for _ in range(50):
            self.assertEqual(self.get(weir).status, 200)

    def test_closed_standard_streams(self):
        """Started by something that gives no standard streams: sockets must not be taken for them."""
        port = free_port()
        origin = self.origin()
        line = f"exec {shlex.quote(binary())} --listen=http://127.0.0.1:{port} --backends={origin} <&- >&- 2>&-"
        process = weir_harness.Process(["/bin/sh", "-c", line], "weir")
        self.addCleanup(process.kill)

        def served():
            try:
                client = weir_harness.connect(("127.0.0.1", port))
            except ConnectionRefusedError:
                self.assertTrue(process.alive())
                return False
            client.send(b"GET / HTTP/1.0\r\n\r\n")
            response = client.response()
            client.close()
            return response.status == 200

        wait_for(served, "it serves")
        for _ in range(20):
            self.assertTrue(served())
        process.signal(signal.SIGTERM)
        self.assertEqual(process.wait(), 0)


if __name__ == "__main__":
    unittest.main()
