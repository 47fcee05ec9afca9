"""Nothing that was started outlives the program, however that ends.

All children carry WEIR_COMPARE=<a number drawn for this run> in their environment, and each contender has a session of its
own. A second process, of this file, waits at a pipe until the program is gone, also by SIGKILL; then it ends what is left of
those sessions, whoever carries that number, and removes the run's directory. Nobody else is touched.
"""

import contextlib
import ctypes
import os
import pathlib
import secrets
import shutil
import signal
import subprocess
import sys
import time

MARK = "WEIR_COMPARE"
RUN = secrets.token_hex(16)
PATIENCE_S = 10
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
PR_SET_CHILD_SUBREAPER = 36

_watcher = None  # of this process, if there is one


def environment(of="", base=None):
    """For a child: whose it is."""
    return {**(os.environ if base is None else base), MARK: f"{RUN}/{of}"}


def stat(pid):
    """State, parent, group, session and so on; None: it is gone."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text(errors="replace").rsplit(")", 1)[1].split()
    except OSError:
        return None


def ended(pid):
    fields = stat(pid)
    return fields is None or fields[0] in "ZX"


def running():
    """(Process, its fields) of all that have not ended."""
    for name in os.listdir("/proc"):
        fields = stat(name) if name.isdigit() else None
        if fields is not None and fields[0] not in "ZX":
            yield int(name), fields


def members(session):
    """Process -> process group, of all in a session that have not ended, whoever their parents are by now."""
    return {pid: int(fields[2]) for pid, fields in running() if int(fields[3]) == session}


def marked(run=RUN, of=None):
    """Processes that carry the mark, of one contender or of the whole run."""
    wanted = f"{MARK}={run}/".encode() + (b"" if of is None else of.encode() + b"\0")
    found = set()
    for pid, _ in running():
        try:
            carried = pathlib.Path(f"/proc/{pid}/environ").read_bytes() + b"\0"
        except OSError:  # somebody else's, or gone
            continue
        if carried.startswith(wanted) or b"\0" + wanted in carried:
            found.add(pid)
    return found


def strays(known):
    """Daemons that our children left: we are their parent (see `adopt`), and their session is neither ours nor one we know.
    nginx, for one, writes over its environment."""
    if _watcher is None:
        return set()
    known = {os.getsid(0), _watcher.pid, *known}
    sessions = {int(fields[3]) for _, fields in running() if int(fields[1]) == os.getpid()} - known
    return {pid for pid, fields in running() if int(fields[3]) in sessions}


def adopt():
    """From now on a child's orphans become our children, so that they are known as ours."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def send(pids, number):
    for pid in pids:
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def tell(word, value):
    """The watcher, if there is one: "session" N began, is "done", or there is a "directory"."""
    if _watcher is not None:
        with contextlib.suppress(OSError):
            _watcher.stdin.write(f"{word} {value}\n".encode())
            _watcher.stdin.flush()


@contextlib.contextmanager
def watched():
    """What is started in here has ended afterwards. (Not around a build: Bazel's server is a daemon that should stay.)"""
    global _watcher
    adopt()
    _watcher = subprocess.Popen([sys.executable, "-I", "-S", os.path.abspath(__file__), RUN], stdin=subprocess.PIPE,
                                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True)
    try:
        yield
    finally:
        send(strays(()), signal.SIGKILL)
        _watcher.stdin.close()
        try:
            _watcher.wait(2 * PATIENCE_S)
        except subprocess.TimeoutExpired:
            _watcher.kill()
            _watcher.wait()
        _watcher = None


def watch(run):
    """The second process."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    sessions, directories = set(), []
    for line in sys.stdin:
        word, _, value = line.rstrip("\n").partition(" ")
        if word == "session":
            sessions.add(int(value))
        elif word == "done":
            sessions.discard(int(value))
        elif word == "directory":
            directories.append(value)
    end = time.monotonic() + PATIENCE_S
    while time.monotonic() < end:
        left = marked(run).union(*(members(session) for session in sessions))
        if not left:
            break
        send(left, signal.SIGKILL)
        time.sleep(0.02)
    for directory in directories:
        shutil.rmtree(directory, ignore_errors=True)


if __name__ == "__main__":
    watch(sys.argv[1])
