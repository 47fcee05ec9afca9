"""Instructions per request: those in user mode by callgrind, all of them by perf where the CPU's counters can be had."""

import os
import pathlib
import re
import signal
import subprocess

import guard
import proxies

SHIM = pathlib.Path(__file__).with_name("uring_shim.c")
EVENT = "instructions:uk"
START_S = 60  # under valgrind
END_S = 30  # of perf


class Unavailable(Exception):
    """Says why."""


def _tool(*names):
    for name in names:
        if proxies.find(name) is not None:
            return proxies.find(name)
    raise Unavailable(f"{names[0]} is not installed (tools/setup --bench)")


class Callgrind:
    """Runs contenders, one thread each, under valgrind and counts what they do between two moments."""

    def __init__(self, directory):
        self.dir = pathlib.Path(directory, "callgrind")
        self.valgrind, self.vgdb, compiler = _tool("valgrind"), _tool("vgdb"), _tool("cc", "clang-19", "gcc")
        self.dir.mkdir()
        self.shim = self.dir / "uring_shim.so"
        self._call([compiler, "-O2", "-shared", "-fPIC", "-o", str(self.shim), str(SHIM)])

    @staticmethod
    def _call(command, timeout=120):
        try:
            done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False,
                                  timeout=timeout)
        except (OSError, subprocess.SubprocessError) as error:
            raise Unavailable(f"{os.path.basename(command[0])}: {error}") from error
        if done.returncode != 0:
            raise Unavailable(f"{os.path.basename(command[0])}: {done.stdout.strip()[-300:]}")

    def start(self, contender):
        """Before its own start: the contender runs under valgrind from then on."""
        if isinstance(contender, proxies.Custom):
            raise Unavailable("a custom command may be more than one process")
        environment = dict(os.environ)
        if isinstance(contender, proxies.Weir):
            stripped = self.dir / contender.name
            # valgrind 3.19 does not understand all that link-time optimisation writes for debuggers.
            self._call([_tool("strip", "llvm-strip-19"), "-o", str(stripped), contender.path])
            contender.path = str(stripped)
            environment["LD_PRELOAD"] = str(self.shim)
        self.out = self.dir / f"{contender.name}.out"
        self.prefix = f"--vgdb-prefix={self.dir}/vgdb"
        contender.single = True
        contender.before = [self.valgrind, "--tool=callgrind", f"--callgrind-out-file={self.out}", self.prefix]
        contender.environment = environment
        contender.start_s = START_S
        self.contender = contender
        contender.start()

    def _tell(self, word):
        self._call([self.vgdb, f"--pid={self.contender.process.pid}", self.prefix, word])

    def zero(self):
        self._tell("zero")

    def total(self):
        """Since `zero`."""
        self._tell("dump")
        dumps = list(self.dir.glob(f"{self.out.name}.*"))
        if len(dumps) != 1:
            raise Unavailable("callgrind wrote no counts")
        with open(dumps[0], encoding="utf-8", errors="replace") as file:
            count = user_instructions(file, self.shim.name)
        dumps[0].unlink()
        return count


def user_instructions(lines, but):
    """The sum of a callgrind file's own costs (not those of calls, which are counted where they arise), but for an object."""
    objects, at, total, after_calls = {}, None, 0, False
    for line in lines:
        match = re.match(r"c?ob=\((\d+)\)(?: (.*))?", line)
        if match:
            if match[2]:
                objects[match[1]] = match[2]
            if line.startswith("ob="):
                at = match[1]
        elif line.startswith("calls="):
            after_calls = True
        elif line[0] in "+-*0123456789":
            if not after_calls and not objects.get(at, "").endswith("/" + but):
                total += int(line.split()[1])
            after_calls = False
    return total


def have_counters(event=EVENT):
    perf = proxies.find("perf")
    if perf is None:
        return False
    done = subprocess.run([perf, "stat", "-x,", "-e", event, "true"], capture_output=True, text=True, check=False)
    return done.returncode == 0 and _count(done.stderr) is not None


def _count(text):
    """Of what `perf stat -x,` says; None: it could not count."""
    match = re.search(r"^(\d+(?:\.\d+)?),", text, re.M)
    return float(match[1]) if match else None


class Counters:
    """What running processes do until `end`, by perf."""

    def __init__(self, pids, event=EVENT):
        self.process = subprocess.Popen([proxies.find("perf"), "stat", "-x,", "-e", event, "-p", ",".join(map(str, pids))],
                                        stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True,
                                        env=guard.environment("perf"))

    def end(self):
        """None: it could not count."""
        self.process.send_signal(signal.SIGINT)
        try:
            _, said = self.process.communicate(timeout=END_S)
        finally:
            self.close()
        return _count(said)

    def close(self):
        """Whatever happened before."""
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        self.process.stderr.close()
