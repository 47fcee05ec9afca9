"""The contenders: what they are, how an expert would configure them for this, and how they are started and ended."""

import os
import pathlib
import pwd
import re
import resource
import shutil
import signal
import socket
import subprocess
import time

import guard
from guard import ended, members

MODULES = "/usr/lib/nginx/modules/ngx_stream_module.so"
STOP_S = 10

SPLICING = "haproxy-splice"  # HAProxy, which passes every body through a pipe
PEERS = ("haproxy", SPLICING, "nginx")

# One process, one thread a CPU and pinned to it (as Weir's shards are; cpu-map without "auto" leaves single threads unpinned
# in HAProxy 2.6), no logging for anybody. For speed, upstream connections are reused without limit, pools hold as many as the
# largest scenario has, and buffers take a 16 KB body whole. `lean` is for measuring memory: default buffers and small pools,
# for Weir too.
HAPROXY_FAST = "tune.bufsize 32768\n  tune.pool-high-fd-ratio 90\n  tune.pool-low-fd-ratio 80"
HAPROXY_KEEP = "default-server pool-purge-delay 600s"  # otherwise half of what idles goes every 5 s
HAPROXY_LEAN = "tune.pool-high-fd-ratio 1\n  tune.pool-low-fd-ratio 1"
NGINX_FAST = "proxy_buffer_size 32k; proxy_buffers 8 32k; proxy_busy_buffers_size 64k; client_body_buffer_size 128k;"
HAPROXY = """
global
  nbthread {threads}
  cpu-map auto:1/1-{threads} {cpus}
  maxconn {connections}
  maxpipes 100
  {tune}
defaults
  timeout connect 3s
  timeout client 60s
  timeout server 60s
  timeout http-keep-alive 600s
  {splice}
{sections}
"""
HAPROXY_HTTP = """
frontend web
  mode http
  bind {listen} backlog 8192
  option forwardfor
  default_backend web_origins
backend web_origins
  mode http
  http-reuse always
  {keep}
{servers}
"""
HAPROXY_TCP = """
frontend raw
  mode tcp
  bind {listen} backlog 8192
  default_backend raw_origins
backend raw_origins
  mode tcp
{servers}
"""

NGINX = """
{modules}
{user} worker_processes {threads}; worker_cpu_affinity {masks}; daemon off; master_process {master}; pid {dir}/nginx.pid; error_log {dir}/nginx.log crit; worker_rlimit_nofile {files};
events {{ worker_connections {files}; multi_accept on; }}
http {{
  access_log off; keepalive_requests 1000000000; keepalive_timeout 600s; tcp_nodelay on;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u;
  scgi_temp_path {dir}/s; client_max_body_size 0;
  upstream origins {{ {servers} keepalive {pool}; keepalive_requests 1000000000; }}
  server {{
    listen {http} backlog=8192 reuseport;
    location / {{
      proxy_pass http://origins; proxy_http_version 1.1; proxy_set_header Connection ""; proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-For $remote_addr; proxy_max_temp_file_size 0; proxy_request_buffering off; {tune}
    }}
  }}
}}
{stream}
"""
NGINX_STREAM = """
stream {{
  upstream raw {{ {servers} }}
  server {{ listen {tcp} backlog=8192 reuseport; proxy_pass raw; proxy_buffer_size 32k; }}
}}
"""


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def nginx_user():
    """Started as root, nginx would serve as somebody who may not read our files."""
    return f"user {pwd.getpwuid(0).pw_name};" if os.geteuid() == 0 else ""


def find(program):
    return shutil.which(program, path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin:/usr/local/sbin")


def raise_file_limit(wanted=65_536):
    """As far as we may; returns the limit."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    for soft_limit, hard_limit in ((wanted, max(wanted, hard)), (hard, hard)):
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft_limit, soft), hard_limit))
            break
        except (ValueError, OSError):
            continue
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def tasks(pid):
    """The process and all that it started."""
    found, queue = [], [pid]
    while queue:
        at = queue.pop()
        found.append(at)
        try:
            for task in pathlib.Path(f"/proc/{at}/task").iterdir():
                queue += [int(child) for child in (task / "children").read_text().split()]
        except OSError:
            continue
    return found


leaders = set()  # of the sessions of those that run


class Contender:
    """One proxy, running, with an HTTP and (if it can) a TCP listener in front of the same origins."""

    def __init__(self, name, directory, cpus, origins, connections):
        self.name, self.cpus, self.origins, self.connections = name, cpus, origins, connections
        self.dir = pathlib.Path(directory, f"{name}-{len(cpus)}-{free_port()}")
        self.dir.mkdir(parents=True)
        self.dir.chmod(0o755)
        self.ports = {"http": free_port(), "tcp": free_port()}
        self.process = None
        self.version = ""
        self.lean = False  # set before start: memory counts, not speed
        self.bulk_only = False  # it takes part where bulk is forwarded, and nowhere else
        self.balance = ""  # set before start: the policy, by Weir's name for it; a peer has only its own least_conn
        # Set before start to run it under valgrind.
        self.single = False  # one process and no other
        self.before, self.environment, self.start_s = [], None, 10
        self.settle_s = 0.0  # it listens; does it stay?
        self.may_stray = False  # into the background

    def modes(self):
        return ("http", "tcp")

    def fits(self, scenario):
        return scenario.mode in self.modes() and (scenario.bulk or not self.bulk_only)

    def listen(self, mode):
        return f"127.0.0.1:{self.ports[mode]}"

    def command(self):
        raise NotImplementedError

    def start(self):
        cpus = ",".join(str(cpu) for cpu in self.cpus)
        with open(self.dir / "output", "wb") as output:
            self.process = subprocess.Popen(["taskset", "-c", cpus, *self.before, *self.command()], stdin=subprocess.DEVNULL,
                                            stdout=output, stderr=output, start_new_session=True,
                                            env=guard.environment(self.dir.name, self.environment))
        leaders.add(self.process.pid)
        guard.tell("session", self.process.pid)
        # One listener tells of both. (A connection to a TCP listener goes on to an origin that may not be there yet.)
        self._wait_for(self.ports[self.modes()[0]])

    def _wait_for(self, port):
        end = time.monotonic() + self.start_s
        while time.monotonic() < end and self.alive():
            try:
                socket.create_connection(("127.0.0.1", port), 1).close()
            except OSError:
                time.sleep(0.05)
                continue
            time.sleep(self.settle_s)
            if self.alive():
                return
        said = (self.dir / "output").read_text(errors="replace").strip()[-800:] or "it says nothing"
        how = "" if self.alive() else f" (it {self.end()})"
        self.stop()
        raise RuntimeError(f"{self.name} does not listen on port {port}{how}: {said}")

    def pids(self):
        return tasks(self.process.pid)

    def alive(self):
        # Not by poll(): until `stop` has waited for it, nobody else gets its number, which is that of its session too.
        return self.process is not None and not ended(self.process.pid)

    def end(self):
        """How it ended, for people."""
        # WNOWAIT: it keeps its number.
        found = os.waitid(os.P_PID, self.process.pid, os.WEXITED | os.WNOWAIT)
        return (f"ended with status {found.si_status}" if found.si_code == os.CLD_EXITED
                else f"was ended by {signal.Signals(found.si_status).name}")

    def _left(self):
        """Process -> process group: its session, and daemons that went into one of their own and still carry its name."""
        left = members(self.process.pid)
        for pid in guard.marked(of=self.dir.name) | (guard.strays(leaders) if self.may_stray else set()):
            left.setdefault(pid, None)
        return left

    def stop(self):
        """Ends what it started, and nobody else. A shell may have ended before that, which keeps the port."""
        if self.process is None:
            return
        leader = self.process.pid
        for sign in (signal.SIGTERM, signal.SIGKILL):
            left = self._left()
            if leader in left.values():
                self._signal(os.killpg, leader, sign)
            for pid, group in left.items():
                if group != leader:
                    self._signal(os.kill, pid, sign)
            end = time.monotonic() + STOP_S
            while (left := self._left()) and time.monotonic() < end:
                time.sleep(0.02)
            if not left:
                break
        guard.tell("done", leader)
        leaders.discard(leader)
        self.process.poll()
        self.process = None

    @staticmethod
    def _signal(send, number, sign):
        try:
            send(number, sign)
        except ProcessLookupError:
            pass


class Weir(Contender):
    def __init__(self, name, path, *args):
        super().__init__(name, *args)
        self.path = path
        self.version = subprocess.run([path, "version"], capture_output=True, text=True, check=True).stdout.split("\n")[0]

    def command(self):
        return [self.path, f"--cpus={','.join(str(cpu) for cpu in self.cpus)}",
                f"--listen=http://{self.listen('http')},tcp://{self.listen('tcp')}", f"--backends={','.join(self.origins)}",
                f"--upstream_idle_connections={64 if self.lean else 8192}", "--keep_alive_timeout=10m", "--drain_timeout=1s",
                *([f"--balance={self.balance}"] if self.balance else [])]


class Haproxy(Contender):
    def __init__(self, name, path, *args):
        super().__init__(name, *args)
        self.path = path
        self.bulk_only = name == SPLICING  # as small messages would only suffer
        self.splice = "option splice-request\n  option splice-response" if self.bulk_only else "option splice-auto"
        out = subprocess.run([path, "-v"], capture_output=True, text=True, check=True).stdout
        self.version = re.search(r"version (\S+)", out)[1]

    def command(self):
        servers = "\n".join(["  balance leastconn"] * bool(self.balance)
                            + [f"  server s{i} {origin}" for i, origin in enumerate(self.origins)])
        sections = HAPROXY_HTTP.format(listen=self.listen("http"), keep="" if self.lean else HAPROXY_KEEP, servers=servers)
        sections += HAPROXY_TCP.format(listen=self.listen("tcp"), servers=servers)
        config = self.dir / "haproxy.cfg"
        config.write_text(HAPROXY.format(splice=self.splice, tune=HAPROXY_LEAN if self.lean else HAPROXY_FAST, threads=len(self.cpus),
                                         cpus=" ".join(map(str, self.cpus)), connections=self.connections, sections=sections))
        return [self.path, "-db", "-f", str(config)]


class Nginx(Contender):
    def __init__(self, name, path, *args):
        super().__init__(name, *args)
        self.path = path
        self.version = subprocess.run([path, "-v"], capture_output=True, text=True, check=True).stderr.strip().split("/")[-1]

    def modes(self):
        return ("http", "tcp") if os.path.exists(MODULES) else ("http",)

    def command(self):
        servers = " ".join(["least_conn;"] * bool(self.balance) + [f"server {origin};" for origin in self.origins])
        stream = "tcp" in self.modes()
        config = self.dir / "nginx.conf"
        config.write_text(NGINX.format(
            user=nginx_user(), tune="" if self.lean else NGINX_FAST, pool=64 if self.lean else 8192, dir=self.dir,
            threads=len(self.cpus), masks=" ".join("1" + "0" * cpu for cpu in self.cpus),
            master="off" if self.single else "on", files=2 * self.connections, http=self.listen("http"),
            servers=servers,
            modules=f"load_module {MODULES};" if stream else "",
            stream=NGINX_STREAM.format(servers=servers, tcp=self.listen("tcp")) if stream else ""))
        return [self.path, "-c", str(config)]


class Custom(Contender):
    """Another proxy by a command for sh: {listen} {origins} {mode} {cert} {key}; of one mode, HTTP or TCP."""

    def __init__(self, name, template, mode, *args):
        super().__init__(name, *args)
        self.template, self.mode = template, mode
        self.version = template
        self.settle_s, self.may_stray = 0.2, True

    def end(self):
        return f"{super().end()}; it must stay in the foreground"

    def modes(self):
        return (self.mode,)

    def command(self):
        words = {"listen": self.listen(self.mode), "origins": ",".join(self.origins), "mode": self.mode, "cert": "", "key": ""}
        return ["sh", "-c", self.template.format(**words)]
