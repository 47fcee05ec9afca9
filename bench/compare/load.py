"""Runs a load generator against one contender and takes what it cost."""

import contextlib
import dataclasses
import json
import os
import re
import signal
import socket
import subprocess
import tempfile
import threading
import time

import guard
import machine
import proxies

NGINX_ORIGIN = """
{user} worker_processes 1; daemon off; pid {dir}/origin.pid; error_log {dir}/origin.log crit; worker_rlimit_nofile {files};
events {{ worker_connections {files}; }}
http {{
  access_log off; sendfile on; tcp_nopush on; keepalive_requests 1000000000; keepalive_timeout 600s;
  client_body_temp_path {dir}/b; proxy_temp_path {dir}/p; fastcgi_temp_path {dir}/f; uwsgi_temp_path {dir}/u;
  scgi_temp_path {dir}/s;
  server {{ {listens} root {dir}/html; }}
}}
"""
WARM_S = 0.3
LEAST_US = 0.1  # of CPU for a request: no proxy comes near
HEAD_VARIES = 0.1  # from one answer to the next


class Failed(Exception):
    """A round gave no figure, and the next one may."""


@contextlib.contextmanager
def failing():
    """What goes wrong with processes and files in here is a round that failed."""
    try:
        yield
    except (OSError, subprocess.SubprocessError) as error:
        raise Failed(str(error)) from error


class Bench:
    """Where things run: CPUs, origins, the generator's path."""

    def __init__(self, light, load_cpus, origins, directory, generator, timeout_s=30.0):
        self.light, self.load_cpus, self.origins, self.dir = light, load_cpus, origins, directory
        self.generator = generator  # light: one on each of the CPUs; wrk: on the first
        self.timeout_s = timeout_s
        self.nginx = None

    def start_origin(self):
        """For wrk: a real nginx."""
        html = os.path.join(self.dir, "html", "b")
        os.makedirs(html, exist_ok=True)
        for size in (100, 10_240, 16_384, 1 << 20):
            with open(os.path.join(html, str(size)), "wb") as file:
                file.write(os.urandom(size))
        os.chmod(self.dir, 0o755)
        listens = " ".join(f"listen {origin} backlog=8192;" for origin in self.origins)
        config = os.path.join(self.dir, "origin.conf")
        with open(config, "w", encoding="ascii") as file:
            file.write(NGINX_ORIGIN.format(user=proxies.nginx_user(), dir=self.dir, files=20_000, listens=listens))
        self.nginx = subprocess.Popen([*self._pinned(), proxies.find("nginx"), "-c", config], start_new_session=True,
                                      env=guard.environment("origin"))
        guard.tell("session", self.nginx.pid)
        proxies.leaders.add(self.nginx.pid)
        time.sleep(0.5)

    def stop_origin(self):
        if self.nginx is not None:
            self.nginx.terminate()
            try:
                self.nginx.wait(10)
            except subprocess.TimeoutExpired:
                guard.send(guard.members(self.nginx.pid), signal.SIGKILL)
                self.nginx.wait()
            proxies.leaders.discard(self.nginx.pid)
            guard.tell("done", self.nginx.pid)
            self.nginx = None

    def _pinned(self, cpu=None):
        return ["taskset", "-c", str(self.load_cpus[0] if cpu is None else cpu)]

    def light_command(self, target, scenario, seconds, origins=(), rate=0.0, cpu=None, connections=None, hold="", serve_ms=()):
        command = [*self._pinned(cpu), self.light, f"--target={target}", f"--seconds={seconds}", "--sync",
                   f"--connections={connections or scenario.connections}", f"--rate={rate}", f"--timeout_ms={round(self.timeout_s * 1000)}"]
        if origins:
            command.append(f"--origins={','.join(origins)}")
        if hold:
            command.append(f"--hold={hold}")
        if serve_ms:
            command += [f"--serve_ms={','.join(map(str, serve_ms))}", f"--workers={scenario.workers}"]
        if scenario.warm_s:
            command.append(f"--warm_seconds={scenario.warm_s}")
        if len(self.load_cpus) > 1:
            command.append("--nofirst")  # another one's origins may not be there yet
        if scenario.kind == "connect":
            command.append("--connect_only")
        else:
            command.append(f"--ask={scenario.ask}")
        if scenario.close:
            command += ["--close"] + (["--noclose_field"] if scenario.mode == "tcp" else [])
        return command

    def beside_command(self, target, scenario, seconds):
        """Only with the CPU time that the generator who measures leaves: what that has to wait for is the proxy."""
        ask, connections = scenario.beside
        bulk = dataclasses.replace(scenario, ask=ask, connections=connections)
        return ["chrt", "-i", "0", *self.light_command(target, bulk, seconds, cpu=self.load_cpus[-1])]

    @failing()
    def run(self, contender, scenario, seconds, rate=0.0, counters=None):
        """One round: a dict of what happened; None as contender is the generator asking its own origin. Wrk: no counters."""
        if self.generator == "wrk":
            return self._run_wrk(contender, scenario, seconds)
        origins = self.origins if contender is None else contender.origins
        target = origins[0] if contender is None else contender.listen(scenario.mode)
        loads, count, counting, instructions = [], len(self.load_cpus), None, None
        with contextlib.ExitStack() as stack:
            for i, cpu in enumerate(self.load_cpus):
                load = Light(self.light_command(target, scenario, seconds, origins[i::count], rate / count, cpu,
                                                serve_ms=scenario.serve_ms[i::count]), self.timeout_s)
                stack.push(load.leave)
                loads.append(load)
            for load in loads:
                load.ready()
            beside = None
            if scenario.beside[1] > 0:
                beside = Light(self.beside_command(target, scenario, seconds), self.timeout_s)
                stack.push(beside.leave)
                beside.ready()
            pids = [] if contender is None else contender.pids()
            if counters is not None:
                counting = counters(pids)
                stack.callback(counting.close)
            time.sleep(WARM_S)  # nothing of the connecting is left then, and perf counts
            own = [load.process.pid for load in [*loads, *filter(None, [beside])]]
            load_before = machine.Sample(own)
            before = machine.Sample(pids)
            for load in [*loads, *filter(None, [beside])]:
                load.go()
            results = [load.result(seconds) for load in loads]
            after = machine.Sample(pids)
            load_s = machine.Sample(own).process_s - load_before.process_s
            if counting is not None:
                instructions = counting.end()
            bulk = None if beside is None else beside.result(seconds)

        def total(*keys):
            return sum(result[key] for result in results for key in keys)

        figures = self._figures(total("requests"), total("seconds") / count, total("failed", "failed_before"),
                                self._spent(before, after, contender, load_s), results[0])
        figures["first_wrong"] = next((result["first_wrong"] for result in results if result.get("first_wrong")), "")
        figures["unanswered"] = total("unanswered")
        # A proxy that ends connections between requests does other work than was asked for.
        figures["reconnects"] = 0 if scenario.close or scenario.kind == "connect" else total("connects")
        figures["rate"] = rate
        if bulk is not None:
            if bulk["failed"] or bulk["requests"] == 0:
                raise Failed(f"the bulk beside it: {bulk['requests']} loaded, {bulk['failed']} failed")
            figures["beside_mib_per_s"] = bulk["requests"] * int(scenario.beside[0]) / 2**20 / bulk["seconds"]
        if instructions is not None:
            figures["all_instructions"] = instructions / figures["requests"]
        return figures

    @failing()
    def user_instructions(self, callgrind, contender, scenario, seconds):
        """Of a contender that runs under callgrind, per request."""
        load = Light(self.light_command(contender.listen(scenario.mode), scenario, seconds, contender.origins), self.timeout_s)
        try:
            load.ready()
            time.sleep(WARM_S)
            callgrind.zero()
            load.go()
            result = load.result(seconds)
            total = callgrind.total()
        finally:
            load.end()
        if result["requests"] == 0 or result["failed"]:
            raise Failed(f"under callgrind: {result['requests']} requests answered, {result['failed']} failed")
        return total / result["requests"]

    def _spent(self, before, after, contender, load_s):
        if before.seen - after.seen:
            raise Failed("a process of it ended during the round, and what that had spent is not known")
        spent = machine.Spent(before, after, [] if contender is None else contender.cpus, self.load_cpus, load_s)
        spent.of_proxy = contender is not None
        return spent

    def _figures(self, requests, seconds, failed, spent, result):
        if requests == 0:
            raise Failed(f"no request was answered: {result.get('first_wrong') or result.get('errors', '')}")
        process_us = spent.process_s / requests * 1e6
        if spent.of_proxy and process_us < LEAST_US:
            raise Failed("its CPU time could not be seen: does it stay in the foreground?")
        return {
            "requests": requests,
            "requests_per_s": requests / seconds,
            "failed": failed,
            "unanswered": 0,
            "reconnects": 0,
            "rate": 0.0,
            "us_per_request": process_us,
            "cpu_us_per_request": spent.cpu_s / requests * 1e6,
            "user_us_per_request": process_us * spent.user_share,
            "latency_us": result.get("latency_us", {}),
            "proxy_cpu_busy": spent.proxy_busy,
            "load_cpu_busy": spent.load_busy,
            "steal": spent.steal,
            "foreign": spent.foreign,
            "load_foreign": spent.load_foreign,
        }

    def _run_wrk(self, contender, scenario, seconds):
        target = self.origins[0] if contender is None else contender.listen(scenario.mode)
        extra = ["-H", "Connection: close"] if scenario.close else []
        pids = [] if contender is None else contender.pids()
        origin = [] if self.nginx is None else proxies.tasks(self.nginx.pid)
        origin_before, wrk_before = machine.Sample(origin), os.times()
        before = machine.Sample(pids)
        command = [*self._pinned(), proxies.find("wrk"), "-t1", f"-c{scenario.connections}", f"-d{max(round(seconds), 1)}s",
                   "--latency", *extra, f"http://{target}/b/{scenario.ask}"]
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=seconds + 60,
                              env=guard.environment("generator"))
        after = machine.Sample(pids)
        wrk = os.times()  # it has ended: its time is our children's
        load_s = (machine.Sample(origin).process_s - origin_before.process_s + wrk.children_user - wrk_before.children_user
                  + wrk.children_system - wrk_before.children_system)
        out = done.stdout
        found = re.search(r"(\d+) requests in ([\d.]+)(ms|s|m), ([\d.]+)([KMGT]?)B read", out)
        if done.returncode != 0 or found is None:
            raise Failed(f"wrk ended with {done.returncode}: {(done.stderr + out).strip()[-300:] or 'it says nothing'}")
        requests, took, unit, read, read_unit = found.groups()
        took = float(took) * {"ms": 1e-3, "s": 1, "m": 60}[unit]
        failed = sum(int(n) for n in re.findall(r"(?:connect|read|write|timeout|responses:) (\d+)", out))
        if failed == 0:
            self._check_bytes(int(requests), float(read), 1024 ** " KMGT".index(read_unit or " "), target, scenario)
        latency = {}
        for percent, value, unit in re.findall(r"^\s+(\d+)% +([\d.]+)(us|ms|s)$", out, re.M):
            latency[f"p{percent}"] = float(value) * {"us": 1, "ms": 1e3, "s": 1e6}[unit]
        return self._figures(int(requests), took, failed, self._spent(before, after, contender, load_s), {"latency_us": latency})

    @staticmethod
    def _check_bytes(requests, read, unit, target, scenario):
        """wrk looks at no length. One answer is checked here, and all that it read must be as many of these."""
        head = answer_head(target, int(scenario.ask), scenario.close)
        body = int(scenario.ask)
        rounding = 0.005 * unit  # it says two digits behind the point
        least = requests * (body + (1 - HEAD_VARIES) * head) - rounding
        # Answers that were under way at the end.
        most = (requests + scenario.connections) * (body + (1 + HEAD_VARIES) * head) + rounding
        if not least <= read * unit <= most:
            raise Failed(f"answers were not of {body} bytes: wrk read {read * unit:.0f} bytes in {requests} answers, whose heads "
                         f"are of some {head}")

    @failing()
    def idle(self, contender, scenario, report):
        """Private memory of an idle connection: (that with many minus that with few) / their difference."""
        few = 1000
        target = contender.listen(scenario.mode)
        with contextlib.ExitStack() as stack:
            figures = []
            for connections, origins in ((few, contender.origins), (scenario.connections - few, ())):
                report(f"{contender.name}: {connections} more connections")
                # Nobody is answered before all have asked: all are active at once.
                hold = f"{few},{scenario.connections - few}" if origins else ""
                load = Light(self.light_command(target, scenario, 0, origins, connections=connections, hold=hold),
                             self.timeout_s)
                stack.push(load.leave)
                load.ready()
                figures.append(self._settled(contender))
            (user_few, kernel_few), (user_many, kernel_many) = figures
            more = scenario.connections - few
            return {"user_bytes": (user_many - user_few) / more, "kernel_bytes_both_ends": (kernel_many - kernel_few) / more,
                    "process_bytes": user_many}

    @staticmethod
    def _settled(contender):
        """The smallest it comes to in some seconds: what a burst needed may be given back in pieces."""
        least, still, end = None, 0, time.monotonic() + 30
        while still < 6 and time.monotonic() < end:
            time.sleep(0.5)
            now = machine.private_bytes(contender.pids())
            still = still + 1 if least is not None and now >= least else 0
            least = now if least is None else min(least, now)
        return least, machine.kernel_bytes()


def answer_head(target, body, close):
    """Asks once, as wrk does, and checks the answer: bytes of its head."""
    host, port = target.rsplit(":", 1)
    field = "Connection: close\r\n" if close else ""
    answer = b""
    with socket.create_connection((host, int(port)), 5) as connection:
        connection.settimeout(5)
        connection.sendall(f"GET /b/{body} HTTP/1.1\r\nHost: {target}\r\n{field}\r\n".encode())
        with contextlib.suppress(TimeoutError):
            while b"\r\n\r\n" not in answer or len(answer) < answer.index(b"\r\n\r\n") + 4 + body:
                more = connection.recv(1 << 20)
                if not more:
                    break
                answer += more
    head, end, rest = answer.partition(b"\r\n\r\n")
    length = re.search(rb"^content-length: *(\d+)", head, re.I | re.M)
    if not end or not re.match(rb"HTTP/1\.[01] 200\b", head):
        raise Failed(f"an answer to /b/{body} begins with {head[:60]!r}")
    if length is None or int(length[1]) != body or len(rest) != body:
        raise Failed(f"an answer has {len(rest)} bytes and says {length[1].decode() if length else 'not how many'}: {body} were "
                     "asked for")
    return len(head) + len(end)


class Light:
    """The light generator, in step with us: connected, loaded, ended."""

    def __init__(self, command, timeout_s=30.0):
        self.timeout_s = timeout_s
        self.errors = tempfile.TemporaryFile()
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=self.errors, text=True,
                                        env=guard.environment("generator"))

    def _line(self, wait_s):
        timer = threading.Timer(wait_s, self.process.kill)
        timer.start()
        try:
            line = self.process.stdout.readline()
        finally:
            timer.cancel()
        if not line:
            self.process.wait(10)
            self.errors.seek(0)
            said = self.errors.read().decode(errors="replace").strip() or "it took too long"
            # Its flag is ours by another name.
            raise Failed(f"the generator ended: {said.replace('--timeout_ms', f'--load-timeout={self.timeout_s:g}')}")
        return line

    def ready(self):
        if self._line(self.timeout_s + 30).strip() != "ready":
            raise Failed("the generator does not say \"ready\"")

    def go(self):
        self.process.stdin.write("go\n")
        self.process.stdin.flush()

    def result(self, seconds):
        line = self._line(seconds + 60)
        try:
            return json.loads(line)
        except ValueError as error:
            raise Failed(f"the generator says {line[:100]!r}") from error

    def leave(self, failed, *_):
        """For an ExitStack. Nobody waits for the end of a load that nobody wants any more."""
        if failed is not None:
            self.process.kill()
        self.end()

    def end(self):
        try:
            self.process.stdin.close()
        except OSError:
            pass
        try:
            self.process.wait(20)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        self.process.stdout.close()
        self.errors.close()
