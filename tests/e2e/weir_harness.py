"""The real Weir and its neighbours as programs of their own: what every end-to-end test is made of.

Weir, Nginx    processes on free ports of the loopback; stopped, and looked at, when the test ends
RawOrigin      an origin that plays a script byte by byte and remembers every byte it was sent
Connection     one TCP connection, read with a parser that forgives nothing
WeirTest       the base class: whatever a test did, Weir must be alive afterwards, must hold nothing, and must end well

Nothing here measures time to pass: a deadline only ends what would hang.
"""

import contextlib
import errno
import json
import os
import random
import re
import resource
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import unittest

import runfiles

FULL = bool(os.environ.get("WEIR_FULL"))
DEADLINE = 60.0  # seconds until something that should have happened at once counts as never

# Debian's Python modules (websockets), should another Python be the first in PATH.
DEBIAN_MODULES = "/usr/lib/python3/dist-packages"
if DEBIAN_MODULES not in sys.path:
    sys.path.append(DEBIAN_MODULES)


def raise_file_limit():
    """The hard limit for open files, after the soft one was raised to it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard


def scratch(name):
    """A new directory that is gone after the test run."""
    base = os.environ.get("TEST_TMPDIR") or _own_scratch()
    return tempfile.mkdtemp(prefix=name + ".", dir=base)


def socket_folder(test):
    """The same for unix sockets, whose paths have 107 bytes at most."""
    folder = tempfile.mkdtemp(prefix="weir-unix.", dir="/tmp")
    test.addCleanup(shutil.rmtree, folder, ignore_errors=True)
    return folder


def _own_scratch():
    if not hasattr(_own_scratch, "path"):
        import atexit

        _own_scratch.path = tempfile.mkdtemp(prefix="weir-e2e.")
        atexit.register(shutil.rmtree, _own_scratch.path, ignore_errors=True)
    return _own_scratch.path


def wait_for(condition, what, seconds=DEADLINE, every=0.02):
    """The first true value that `condition` gives."""
    end = time.monotonic() + seconds
    while True:
        value = condition()
        if value:
            return value
        if time.monotonic() > end:
            raise AssertionError(f"waited {seconds:g} s in vain: {what}")
        time.sleep(every)


def free_port(host="127.0.0.1"):
    """A port nobody listens on, outside of the range that outgoing connections take theirs from."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        low, high = map(int, file.read().split())
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    for _ in range(1000):
        port = random.randrange(2000, 65000)
        if low <= port <= high:
            continue
        with socket.socket(family) as probe:
            try:
                probe.bind((host, port))
                return port
            except OSError:
                continue
    raise AssertionError("no free port")


def address_text(address):
    host, port = address[0], address[1]
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def reset(sock):
    """Closes with RST."""
    with contextlib.suppress(OSError):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    sock.close()


class Ended(Exception):
    """The peer said FIN in the middle of what was being read."""


class Response:
    """A final response; `interims` came before it."""

    def __init__(self, status, reason, minor, headers):
        self.status = status
        self.reason = reason
        self.minor = minor
        self.headers = headers
        self.body = b""
        self.trailers = []
        self.chunks = []
        self.framing = "none"
        self.interims = []

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name):
        values = self.all(name)
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else None

    def __repr__(self):
        return f"<{self.status} {self.framing} {len(self.body)} bytes>"


class Request:
    """What an origin was sent: the parsed form, and the very bytes of the head."""

    def __init__(self, raw):
        self.raw = raw
        lines = raw[:-4].split(b"\r\n")
        self.line = lines[0].decode("latin-1")
        self.method, self.target, self.version = self.line.split(" ")
        self.headers = [tuple(part.strip() for part in line.decode("latin-1").split(":", 1)) for line in lines[1:]]
        self.body = b""
        self.chunks = []
        self.trailers = []

    def all(self, name):
        return [value for key, value in self.headers if key.lower() == name.lower()]

    def header(self, name):
        values = self.all(name)
        assert len(values) <= 1, f"{name} came {len(values)} times"
        return values[0] if values else None


class Connection:
    """A TCP connection and what was received on it. Used on both ends: by clients and by origins."""

    def __init__(self, sock, timeout=DEADLINE):
        self.sock = sock
        self.sock.settimeout(timeout)
        with contextlib.suppress(OSError):
            self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.buffer = bytearray()
        self.received = bytearray()  # everything, if `record`
        self.record = False

    # Plain bytes.

    def send(self, data):
        self.sock.sendall(data)

    def finish_sending(self):
        self.sock.shutdown(socket.SHUT_WR)

    def close(self):
        self.sock.close()

    def reset(self):
        reset(self.sock)

    def more(self):
        data = self.sock.recv(1 << 16)
        if not data:
            raise Ended(f"FIN after {bytes(self.buffer[-200:])!r}")
        if self.record:
            self.received += data
        self.buffer += data

    def take(self, count):
        piece = bytes(self.buffer[:count])
        del self.buffer[:count]
        return piece

    def exactly(self, count):
        while len(self.buffer) < count:
            self.more()
        return self.take(count)

    def until(self, mark):
        start = 0
        while True:
            at = self.buffer.find(mark, start)
            if at >= 0:
                return self.take(at + len(mark))
            start = max(0, len(self.buffer) - len(mark) + 1)
            self.more()

    def rest(self):
        """Everything up to FIN. A reset raises ConnectionResetError."""
        with contextlib.suppress(Ended):
            while True:
                self.more()
        return self.take(len(self.buffer))

    def ending(self):
        """How the peer ended it: "fin" or "reset"; bytes before that are dropped."""
        try:
            self.rest()
            return "fin"
        except ConnectionResetError:
            return "reset"

    def silent(self, seconds=0.3):
        """True when nothing comes for a while. Only ever shows what must not come at all."""
        if self.buffer:
            return False
        old = self.sock.gettimeout()
        self.sock.settimeout(seconds)
        try:
            self.more()
            return False
        except (TimeoutError, socket.timeout):
            return True
        except (Ended, ConnectionResetError):
            return False
        finally:
            self.sock.settimeout(old)

    # HTTP.

    def _fields(self, lines):
        fields = []
        for line in lines:
            match = re.fullmatch(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+): ?([^\x00-\x08\x0a-\x1f\x7f]*)", line)
            assert match, f"not a field line: {line!r}"
            fields.append((match[1].decode(), match[2].decode("latin-1").strip(" \t")))
        return fields

    def _head(self):
        head = self.until(b"\r\n\r\n")[:-4]
        lines = head.split(b"\r\n")
        match = re.fullmatch(rb"HTTP/1\.([01]) ([1-5][0-9][0-9]) ([^\x00-\x1f\x7f]*)", lines[0])
        assert match, f"not a status line: {lines[0]!r}"
        return Response(int(match[2]), match[3].decode("latin-1"), int(match[1]), self._fields(lines[1:]))

    def chunked(self, message, keep=True):
        """Reads a chunked body. Weir writes neither extensions nor odd sizes: none is accepted."""
        while True:
            line = self.until(b"\r\n")[:-2]
            assert re.fullmatch(rb"[0-9a-f]+", line), f"not a chunk size: {line!r}"
            size = int(line, 16)
            if size == 0:
                break
            data = self.exactly(size)
            if keep:
                message.chunks.append(data)
            assert self.exactly(2) == b"\r\n"
        lines = []
        while True:
            line = self.until(b"\r\n")[:-2]
            if not line:
                break
            lines.append(line)
        message.trailers = self._fields(lines)
        message.body = b"".join(message.chunks)

    def head(self, method="GET"):
        """Interim responses and the head of the final one, with `framing` set; the body is left to the caller."""
        interims = []
        while True:
            response = self._head()
            if response.status >= 200 or response.status == 101:
                break
            assert response.header("Content-Length") is None and response.header("Transfer-Encoding") is None
            interims.append(response)
        response.interims = interims
        coding = response.header("Transfer-Encoding")
        length = response.header("Content-Length")
        assert coding is None or length is None, "both Transfer-Encoding and Content-Length"
        if method == "HEAD" or response.status in (101, 204, 304):
            assert coding is None or method == "HEAD"
            return response
        if coding is not None:
            assert coding == "chunked", coding
            response.framing = "chunked"
        elif length is not None:
            assert re.fullmatch("[0-9]+", length), length
            response.framing = "length"
        else:
            response.framing = "close"
        return response

    def response(self, method="GET"):
        """One whole final response; raises Ended or ConnectionResetError when it is not whole."""
        response = self.head(method)
        if response.framing == "chunked":
            self.chunked(response)
        elif response.framing == "length":
            response.body = self.exactly(int(response.header("Content-Length")))
        elif response.framing == "close":
            response.body = self.rest()
        return response

    def closing_response(self, method="GET"):
        """A response, and then FIN and not one byte more."""
        response = self.response(method)
        rest = self.rest()
        assert rest == b"", f"bytes behind the response: {rest!r}"
        return response

    def request_head(self):
        return Request(self.until(b"\r\n\r\n"))

    def request(self):
        """One whole request, as an origin reads it. None at the end of the connection."""
        if not self.buffer:
            try:
                self.more()
            except (Ended, ConnectionResetError):
                return None
        request = self.request_head()
        coding, length = request.header("Transfer-Encoding"), request.header("Content-Length")
        assert coding is None or length is None
        if coding is not None:
            assert coding == "chunked", coding
            self.chunked(request)
        elif length is not None:
            request.body = self.exactly(int(length))
        return request

    def stream(self, message, sink):
        """Hands the body behind a head to `sink` piece by piece; returns how many bytes."""
        total = 0
        if message.header("Transfer-Encoding") == "chunked":
            while True:
                size = int(self.until(b"\r\n")[:-2], 16)
                if size == 0:
                    assert self.until(b"\r\n") == b"\r\n"
                    return total
                left = size
                while left > 0:
                    if not self.buffer:
                        self.more()
                    piece = self.take(min(left, len(self.buffer)))
                    sink(piece)
                    left -= len(piece)
                total += size
                assert self.exactly(2) == b"\r\n"
        left = int(message.header("Content-Length"))
        total = left
        while left > 0:
            if not self.buffer:
                self.more()
            piece = self.take(min(left, len(self.buffer)))
            sink(piece)
            left -= len(piece)
        return total


def connect(address, timeout=DEADLINE, source=None, receive_buffer=None):
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    sock = socket.socket(family)
    sock.settimeout(timeout)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    if source is not None:
        sock.bind((source, 0))
    try:
        sock.connect(address)
    except BaseException:
        sock.close()
        raise
    return Connection(sock, timeout)


class RawOrigin:
    """An origin of our own: `handler(connection, request_origin)` runs in a thread per connection.

    With `path` it listens on a unix socket there ("\\0name": an abstract one).
    Without a handler it answers every request with 200 and its name. `connections` remembers all, with all bytes.
    """

    def __init__(self, handler=None, host="127.0.0.1", name="raw", backlog=1024, record=True, port=None, path=None):
        self.handler = handler or RawOrigin.answer
        self.name = name
        self.record = record
        self.connections = []
        self.requests = []
        self.errors = []
        self.lock = threading.Lock()
        if path:
            self.listener = socket.socket(socket.AF_UNIX)
            self.listener.bind(path)
            self.listener.listen(backlog)
            self.address = path
        else:
            family = socket.AF_INET6 if ":" in host else socket.AF_INET
            self.listener = socket.socket(family)
            self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            self.listener.bind((host, port or free_port(host)))
            self.listener.listen(backlog)
            self.address = self.listener.getsockname()[:2]
        self.closed = False
        self.thread = threading.Thread(target=self._accept, daemon=True)
        self.thread.start()

    def __str__(self):
        return f"unix:{self.address}" if isinstance(self.address, str) else address_text(self.address)

    def _accept(self):
        while True:
            try:
                sock, _ = self.listener.accept()
            except OSError:
                return
            if self.closed:
                sock.close()
                return
            connection = Connection(sock)
            connection.record = self.record
            with self.lock:
                self.connections.append(connection)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection):
        try:
            self.handler(connection, self)
        except (Ended, ConnectionResetError, BrokenPipeError, TimeoutError):
            pass
        except Exception as error:  # noqa: BLE001 - shown by the test's end
            if not self.closed:
                self.errors.append(error)
        finally:
            connection.close()

    @staticmethod
    def answer(connection, origin):
        while (request := connection.request()) is not None:
            with origin.lock:
                origin.requests.append(request)
            connection.send(ok(origin.name.encode(), head=request.method == "HEAD"))

    def received(self):
        """All bytes of all connections so far."""
        with self.lock:
            return b"".join(bytes(connection.received) for connection in self.connections)

    def forget(self):
        with self.lock:
            self.connections = [c for c in self.connections if c.sock.fileno() >= 0]
            for connection in self.connections:
                connection.received.clear()
            self.requests.clear()

    def close(self):
        self.closed = True
        with contextlib.suppress(OSError):
            self.listener.shutdown(socket.SHUT_RDWR)
        self.listener.close()
        self.thread.join(DEADLINE)
        with self.lock:
            for connection in self.connections:
                with contextlib.suppress(OSError):
                    connection.sock.shutdown(socket.SHUT_RDWR)
        if self.errors:
            raise self.errors[0]


def ok(body=b"", extra=b"", head=False):
    """A plain answer with Content-Length."""
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n%s\r\n%s" % (len(body), extra, b"" if head else body)


class Process:
    """A program we started: ended by its own id, its output in files."""

    def __init__(self, argv, name, preexec=None, stdout=None):
        self.name = name
        self.directory = scratch(name)
        self.out_path = os.path.join(self.directory, "out")
        self.err_path = os.path.join(self.directory, "err")
        with open(self.out_path, "wb") as out, open(self.err_path, "wb") as err:
            self.popen = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=out if stdout is None else stdout, stderr=err, preexec_fn=preexec
            )
        self.pid = self.popen.pid

    def out(self):
        with open(self.out_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def err(self):
        with open(self.err_path, encoding="utf-8", errors="replace") as file:
            return file.read()

    def alive(self):
        return self.popen.poll() is None

    def signal(self, number):
        if self.alive():
            self.popen.send_signal(number)

    def wait(self, seconds=DEADLINE):
        try:
            return self.popen.wait(seconds)
        except subprocess.TimeoutExpired:
            raise AssertionError(f"{self.name} did not end within {seconds:g} s\n{self.err()[-3000:]}") from None

    def kill(self):
        if self.alive():
            self.popen.kill()
        self.popen.wait()


class Nginx:
    """Debian's nginx with a configuration of ours: several origins in one process (so that one kill ends them all).

    /            "NAME\\n", NAME being the origin's
    /www/FILE    from the directory `www`
    /put/FILE    PUT (and GET) in the directory `put`
    /slow/FILE   as /www, `slow_rate` bytes a second
    /gzip/FILE   as /www, compressed while it is sent, so chunked
    /close       an answer that ends with the connection's keep-alive
    """

    def __init__(self, names=("nginx",), ports=None, slow_rate="64k", extra="", keepalive=75):
        self.names = list(names)
        self.ports = ports or [free_port() for _ in self.names]
        self.addresses = [("127.0.0.1", port) for port in self.ports]
        self.directory = scratch("nginx")
        self.www = os.path.join(self.directory, "www")
        self.put = os.path.join(self.directory, "put")
        os.mkdir(self.www)
        os.mkdir(self.put)
        servers = ""
        for name, port in zip(self.names, self.ports):
            servers += f"""
  server {{
    listen 127.0.0.1:{port} backlog=4096;
    keepalive_timeout {keepalive}s;
    location = / {{ default_type text/plain; return 200 "{name}\\n"; }}
    location /www/ {{ alias {self.www}/; }}
    location /slow/ {{ alias {self.www}/; limit_rate {slow_rate}; }}
    location /gzip/ {{ alias {self.www}/; gzip on; gzip_types *; gzip_min_length 1; gzip_http_version 1.0;
                       gzip_proxied any; }}
    location /put/ {{ alias {self.put}/; dav_methods PUT DELETE; create_full_put_path on; client_max_body_size 0; }}
    location = /close {{ keepalive_timeout 0; default_type text/plain; return 200 "{name}\\n"; }}
    {extra}
  }}"""
        temp = "\n".join(
            f"  {kind}_temp_path {self.directory}/{kind};"
            for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        self.config = os.path.join(self.directory, "nginx.conf")
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(f"""
daemon off;
master_process off;
pid {self.directory}/pid;
error_log {self.directory}/error.log warn;
worker_rlimit_nofile 18000;
events {{ worker_connections 16000; }}
http {{
  access_log off;
  keepalive_requests 1000000000;
  sendfile on;
  server_tokens off;
{temp}{servers}
}}
""")
        self.process = None
        self.start()

    def start(self):
        program = shutil.which("nginx", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
        if program is None:
            raise unittest.SkipTest("nginx is not installed (tools/setup installs it)")
        self.process = Process(
            [program, "-c", self.config, "-p", self.directory, "-e", os.path.join(self.directory, "error.log")],
            "nginx",
        )
        for address in self.addresses:
            wait_for(lambda at=address: self._answers(at), f"nginx on {address}\n{self.process.err()}")

    def _answers(self, address):
        if not self.process.alive():
            with open(os.path.join(self.directory, "error.log"), encoding="utf-8") as log:
                raise AssertionError(f"nginx ended: {self.process.err()}{log.read()}")
        try:
            connect(address).close()
            return True
        except OSError:
            return False

    def write(self, name, data):
        with open(os.path.join(self.www, name), "wb") as file:
            file.write(data)

    def kill(self):
        """As a crash does it."""
        self.process.kill()

    def close(self):
        self.process.signal(signal.SIGTERM)
        with contextlib.suppress(AssertionError):
            self.process.wait(10)
        self.process.kill()

    def __str__(self):
        return ",".join(address_text(address) for address in self.addresses)


SAMPLE = re.compile(
    r"(?P<name>[a-zA-Z_:][a-zA-Z0-9_:]*)"
    r"(?:\{(?P<labels>(?:[a-zA-Z_][a-zA-Z0-9_]*=\"(?:[^\"\\\n]|\\[\\n\"])*\",?)*)\})?"
    r" (?P<value>[+-]?(?:[0-9.]+(?:e[+-]?[0-9]+)?|Inf)|NaN)"
)


def parse_metrics(text):
    """The Prometheus text format 0.0.4, strictly: {name: {((label, value), ...): number}} and {family: type}."""
    samples, types, helps, finished = {}, {}, set(), set()
    current = None
    assert text.endswith("\n"), "the page does not end with a line feed"
    for line in text[:-1].split("\n"):
        if line.startswith("# "):
            kind, name, rest = (line[2:].split(" ", 2) + [""])[:3]
            assert kind in ("HELP", "TYPE"), line
            if name != current:
                assert name not in finished, f"{name} comes in two places"
                finished.add(name)
                current = name
            if kind == "TYPE":
                assert name not in types and rest in ("counter", "gauge", "histogram"), line
                types[name] = rest
            else:
                assert name not in helps, line
                helps.add(name)
            continue
        match = SAMPLE.fullmatch(line)
        assert match, f"not a sample: {line!r}"
        name = match["name"]
        family = name
        if types.get(current) == "histogram":
            family = re.sub("_(bucket|sum|count)$", "", name)
        assert family == current and family in types, f"{name} stands outside of its family ({current})"
        labels = tuple(re.findall(r'([a-zA-Z_][a-zA-Z0-9_]*)="((?:[^"\\]|\\.)*)"', match["labels"] or ""))
        series = samples.setdefault(name, {})
        assert labels not in series, f"twice: {line}"
        series[labels] = float(match["value"].replace("Inf", "inf"))
    return samples, types


class Weir(Process):
    """The binary under test. `listen`: schemes; their ports are in `addresses`. `config`: the text of a configuration
    file instead, in which LISTEN0, LISTEN1 ... stand for these addresses."""

    def __init__(
        self,
        backends,
        *flags,
        listen=("http",),
        hosts=None,
        shards=2,
        admin=True,
        wrapper=(),
        preexec=None,
        ports=None,
        stdout=None,
        config=None,
    ):
        hosts = hosts or ["127.0.0.1"] * len(listen)
        ports = ports or [free_port(host) for host in hosts]
        self.addresses = list(zip(hosts, ports))
        self.admin = ("127.0.0.1", free_port()) if admin else None
        argv = [*wrapper, binary()]
        if config is not None:
            for i, at in enumerate(self.addresses):
                config = config.replace(f"LISTEN{i}", f'"{address_text(at)}"')
            self.config = os.path.join(scratch("config"), "weir.yaml")
            with open(self.config, "w", encoding="utf-8") as file:
                file.write(config)
            argv.append(f"--config={self.config}")
        else:
            argv.append(
                "--listen="
                + ",".join(f"{scheme}://{address_text(at)}" for scheme, at in zip(listen, self.addresses))
            )
            if isinstance(backends, (list, tuple)):
                backends = ",".join(str(backend) for backend in backends)
            argv.append(f"--backends={backends}")
        if self.admin:
            argv.append(f"--admin={address_text(self.admin)}")
        argv.append(f"--shards={shards}")
        if not any("--via_name" in flag for flag in flags):
            argv.append("--via_name=weir")
        argv += flags
        self.argv = argv
        self.stopped = False
        super().__init__(argv, "weir", preexec, stdout)
        self.wait_until_ready()
        self.fds_before = self.fds()

    @property
    def address(self):
        return self.addresses[0]

    def wait_until_ready(self):
        def ready():
            if not self.alive():
                raise AssertionError(f"weir ended with {self.popen.returncode}:\n{self.err()}")
            if self.err().count("listening on") < len(self.addresses):
                return False
            return self.admin is None or self.page("/healthz", check=False)[0] == 200

        wait_for(ready, "weir is ready")

    # What it says about itself.

    def page(self, path, check=True):
        try:
            connection = connect(self.admin)
        except ConnectionRefusedError:
            if check:
                raise
            return 0, ""
        try:
            connection.send(f"GET {path} HTTP/1.1\r\nHost: admin\r\nConnection: close\r\n\r\n".encode())
            response = connection.closing_response()
        finally:
            connection.close()
        if check:
            assert response.status == 200, f"{path}: {response.status}"
        return response.status, response.body.decode()

    def metrics(self):
        return parse_metrics(self.page("/metrics")[1])[0]

    def metric(self, name, **labels):
        """The sum of all series of a metric that have these labels."""
        return pick(self.metrics(), name, **labels)

    def stats(self):
        return json.loads(self.page("/stats")[1])

    def fds(self):
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def memory(self, *kinds):
        """Bytes of the named kinds of /proc/PID/smaps_rollup."""
        total = 0
        with open(f"/proc/{self.pid}/smaps_rollup", encoding="ascii") as file:
            for line in file:
                name, _, rest = line.partition(":")
                if name in kinds:
                    total += int(rest.split()[0]) * 1024
        return total

    def private_memory(self):
        return self.memory("Private_Clean", "Private_Dirty")

    def cpu_seconds(self):
        with open(f"/proc/{self.pid}/stat", encoding="ascii") as file:
            fields = file.read().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    # What it must be after every test.

    def check_clean(self, seconds=DEADLINE):
        """Alive, no connection open, no upstream in use, no descriptor lost."""
        self.check_log()
        assert self.alive(), f"weir ended with {self.popen.returncode}:\n{self.err()[-3000:]}"
        if not self.admin:
            return
        state = {}

        def clean():
            now = self.metrics()
            state["open"] = pick(now, OPEN)
            state["active"] = pick(now, ACTIVE)
            idle = pick(now, UPSTREAM_IDLE)
            checks = pick(now, "weir_check_connections")
            state["upstream in use"] = pick(now, UPSTREAM_OPEN) - idle
            reloaded = pick(now, "weir_reloads_total") + pick(now, "weir_reload_failures_total") > 0
            # The scrape's own connection may still be closing, and the first reload takes one for good.
            state["descriptors lost"] = max(0, self.fds() - self.fds_before - idle - checks - 1 - reloaded)
            return not any(state.values())

        try:
            wait_for(clean, "nothing is left behind", seconds)
        except AssertionError:
            raise AssertionError(f"left behind: {state}") from None

    def check_log(self):
        text = self.err()
        assert "internal error" not in text and "Sanitizer" not in text, text[-3000:]

    def stop(self, code=0, number=signal.SIGTERM, seconds=DEADLINE):
        self.signal(number)
        self.ended(code, seconds)

    def ended(self, code=0, seconds=DEADLINE):
        """Waits for the end that somebody asked for already."""
        self.stopped = True
        got = self.wait(seconds)
        self.check_log()
        assert got == code, f"weir's exit status is {got}, not {code}:\n{self.err()[-3000:]}"

    def finish(self):
        """The end of every test."""
        try:
            if not self.stopped:
                self.check_clean()
                self.stop()
        finally:
            self.kill()


# Names of metrics that more than one test looks at.
OPEN = "weir_open_connections"
ACTIVE = "weir_requests_active"
UPSTREAM_OPEN = "weir_upstream_open_connections"
UPSTREAM_IDLE = "weir_upstream_idle_connections"


def pick(samples, name, **labels):
    wanted = set(labels.items())
    assert name in samples, f"no metric {name}; there are {', '.join(sorted(samples))}"
    return sum(value for series, value in samples[name].items() if wanted <= set(series))


def binary():
    """WEIR names another binary, when a test is run by hand."""
    return os.environ.get("WEIR") or runfiles.path("lb/weir")


class WeirTest(unittest.TestCase):
    maxDiff = 4000

    @classmethod
    def setUpClass(cls):
        raise_file_limit()

    def weir(self, backends, *flags, **options):
        """A running Weir, which this test's end examines and stops."""
        weir = Weir(backends, *flags, **options)
        self.addCleanup(weir.finish)
        return weir

    def origin(self, handler=None, **options):
        origin = RawOrigin(handler, **options)
        self.addCleanup(origin.close)
        return origin

    def nginx(self, *names, **options):
        nginx = Nginx(names or ("nginx",), **options)
        self.addCleanup(nginx.close)
        return nginx

    def client(self, weir, listener=0, **options):
        connection = connect(weir.addresses[listener], **options)
        self.addCleanup(connection.close)
        return connection

    def get(self, weir, path="/", extra="", listener=0):
        """One GET on a connection of its own."""
        connection = connect(weir.addresses[listener])
        try:
            connection.send(f"GET {path} HTTP/1.1\r\nHost: test\r\nConnection: close\r\n{extra}\r\n".encode())
            return connection.closing_response()
        finally:
            connection.close()


class ScriptedTest(WeirTest):
    """One Weir and one origin for a whole test: `through` sets the origin's answer and sends one request."""

    flags = ()

    def setUp(self):
        self.reply = ok(b"x")
        self.reply_closes = False
        self.raw = self.origin(self._play)
        self.front = self.weir(self.raw, *self.flags)

    def _play(self, connection, origin):
        while (request := connection.request()) is not None:
            with origin.lock:
                origin.requests.append(request)
            connection.send(self.reply(request) if callable(self.reply) else self.reply)
            if self.reply_closes:
                return

    def through(self, reply, request=b"GET / HTTP/1.1\r\nHost: test\r\n\r\n", method="GET", close=False):
        """(client connection, response); what the origin saw is in self.raw, without what it saw before."""
        self.reply, self.reply_closes = reply, close
        self.raw.forget()
        client = self.client(self.front)
        client.send(request)
        return client, client.response(method)


def run(argv, seconds=DEADLINE * 5, **options):
    """A program to its end: CompletedProcess with text in stdout and stderr."""
    return subprocess.run(
        argv, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=seconds, check=False, **options
    )


def need(program):
    path = shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    if path is None:
        raise unittest.SkipTest(f"{program} is not installed (tools/setup installs it)")
    return path


class Wrk:
    """What wrk reported."""

    def __init__(self, url, connections, seconds, headers=(), threads=1, script=None):
        argv = [need("wrk"), f"-t{threads}", f"-c{connections}", f"-d{seconds}s", "--timeout", "30s"]
        for header in headers:
            argv += ["-H", header]
        if script:
            argv += ["-s", script]
        self.process = Process([*argv, url], "wrk")
        self.seconds = seconds

    def result(self):
        code = self.process.wait(self.seconds + DEADLINE)
        text = self.process.out()
        assert code == 0, text + self.process.err()
        self.text = text
        self.requests = int(re.search(r"(\d+) requests in", text)[1])
        errors = re.search(r"Socket errors: connect (\d+), read (\d+), write (\d+), timeout (\d+)", text)
        self.connect, self.read, self.write, self.timeout = map(int, errors.groups()) if errors else (0, 0, 0, 0)
        bad = re.search(r"Non-2xx or 3xx responses: (\d+)", text)
        self.bad = int(bad[1]) if bad else 0
        return self
