"""What Weir says about itself: metrics that parse and add up, statistics, health, and a line per request."""

import json
import os
import signal
import time
import unittest

import weir_harness
from weir_harness import WeirTest, Wrk, connect, ok, parse_metrics, pick, wait_for


def parse_line(line):
    """Strict JSON: no name twice, no NaN."""

    def pairs(items):
        assert len(items) == len(dict(items)), f"a name twice in {line!r}"
        return dict(items)

    def refuse(text):
        raise AssertionError(f"{text} is not JSON")

    return json.loads(line, object_pairs_hook=pairs, parse_constant=refuse)


class Metrics(WeirTest):
    def mixture(self, weir, nginx):
        """So many answers of each class: {class: count}."""
        nginx.write("file", b"x" * 1000)
        os.mkdir(os.path.join(nginx.www, "directory"))
        client = self.client(weir)
        for _ in range(20):
            client.send(b"GET /www/file HTTP/1.1\r\nHost: test\r\n\r\n")
            self.assertEqual(client.response().status, 200)
        for _ in range(5):
            client.send(b"GET /www/none HTTP/1.1\r\nHost: test\r\n\r\n")
            self.assertEqual(client.response().status, 404)
        for _ in range(3):
            client.send(b"GET /www/directory HTTP/1.1\r\nHost: test\r\n\r\n")
            self.assertEqual(client.response().status, 301)
        for _ in range(4):
            bad = self.client(weir)
            bad.send(b"BAD\r\n\r\n")
            self.assertEqual(bad.closing_response().status, 400)
            bad.close()
        client.close()
        weir.check_clean()
        return {"2xx": 20, "3xx": 3, "4xx": 9, "5xx": 0, "1xx": 0, "none": 0}

    def test_counters_add_up(self):
        nginx = self.nginx("one", "two")
        weir = self.weir(nginx)
        wanted = self.mixture(weir, nginx)
        metrics, types = parse_metrics(weir.page("/metrics")[1])
        for code, count in wanted.items():
            self.assertEqual(pick(metrics, "weir_requests_total", code=code), count, code)
        total = sum(wanted.values())
        self.assertEqual(pick(metrics, "weir_accepted_connections_total"), 5)
        self.assertEqual(pick(metrics, "weir_bad_requests_total"), 4)
        self.assertEqual(pick(metrics, "weir_local_responses_total"), 4)
        sent = pick(metrics, "weir_upstream_connects_total") + pick(metrics, "weir_upstream_reused_total")
        self.assertEqual(sent, 28)
        self.assertEqual(pick(metrics, "weir_endpoint_requests_total"), 28)
        self.assertEqual(pick(metrics, "weir_endpoint_active"), 0)
        self.assertGreater(pick(metrics, "weir_client_sent_bytes_total"), 20 * 1000)
        self.assertGreater(pick(metrics, "weir_upstream_received_bytes_total"), 20 * 1000)
        self.assertGreater(pick(metrics, "weir_upstream_sent_bytes_total"), 28 * 50)

        # The histogram.
        name = "weir_request_duration_seconds"
        self.assertEqual(types[name], "histogram")
        self.assertEqual(pick(metrics, name + "_count"), total)
        self.assertGreater(pick(metrics, name + "_sum"), 0)
        buckets = sorted((float(dict(labels)["le"].replace("+Inf", "inf")), value) for labels, value in metrics[name + "_bucket"].items())
        self.assertEqual(buckets[-1], (float("inf"), total))
        values = [value for _, value in buckets]
        self.assertEqual(values, sorted(values))
        self.assertLess(pick(metrics, name + "_sum"), weir_harness.DEADLINE)

        # Per shard, what the issue asks for.
        for metric in ("weir_accepted_connections_total", "weir_cq_overflows_total", "weir_buffer_low_water_total", "weir_buffer_resets_total"):
            shards = {dict(labels).get("shard") for labels in metrics[metric]}
            self.assertLessEqual({"0", "1"}, shards, metric)
        # Types and names agree.
        for name, kind in types.items():
            self.assertTrue(name.startswith("weir_"))
            self.assertEqual(name.endswith("_total"), kind == "counter", name)

    def test_bytes_are_counted_exactly(self):
        size = 3_000_000
        weir = self.weir(self.origin(lambda c, o: (c.request(), c.send(ok(b"y" * size)), c.rest()), record=False))
        client = self.client(weir)
        client.send(b"POST / HTTP/1.1\r\nHost: test\r\nContent-Length: %d\r\n\r\n" % size + b"x" * size)
        response = client.response()
        self.assertEqual(len(response.body), size)
        client.close()
        weir.check_clean()
        metrics = weir.metrics()
        # Heads are in some of them.
        for name in ("client_received", "client_sent", "upstream_received", "upstream_sent"):
            value = pick(metrics, f"weir_{name}_bytes_total")
            self.assertTrue(size <= value <= size + 1000, f"{name}: {value}")

    def test_tcp_is_counted(self):
        weir = self.weir(self.origin(lambda c, o: (c.exactly(1000), c.send(b"z" * 5000))), listen=("tcp",))
        for _ in range(7):
            client = self.client(weir)
            client.send(b"a" * 1000)
            client.finish_sending()
            self.assertEqual(len(client.rest()), 5000)
            client.close()
        weir.check_clean()
        metrics = weir.metrics()
        self.assertEqual(pick(metrics, "weir_tcp_connections_total"), 7)
        for name, value in (("client_received", 7000), ("upstream_sent", 7000), ("client_sent", 35000), ("upstream_received", 35000)):
            self.assertEqual(pick(metrics, f"weir_{name}_bytes_total"), value, name)

    def test_under_load(self):
        """Every scrape parses, no counter ever falls, and in the end wrk's number is ours."""
        nginx = self.nginx("one")
        weir = self.weir(nginx)
        wrk = Wrk(f"http://{weir_harness.address_text(weir.address)}/", connections=100, seconds=4)
        before, scrapes = {}, 0
        while wrk.process.alive():
            metrics, types = parse_metrics(weir.page("/metrics")[1])
            for name, series in metrics.items():
                if types.get(name) != "counter":
                    continue
                for labels, value in series.items():
                    self.assertGreaterEqual(value, before.get((name, labels), 0), name)
                    before[name, labels] = value
            # wrk's own, and the one by which it sees beforehand whether somebody is there.
            self.assertLessEqual(pick(metrics, weir_harness.OPEN), 101)
            scrapes += 1
            time.sleep(0.02)
        result = wrk.result()
        self.assertGreater(scrapes, 5)
        # An answer is counted when its send is done, of which the client may know first.
        wait_for(lambda: weir.metric(weir_harness.ACTIVE) == 0, "all are counted")
        served = weir.metric("weir_requests_total", code="2xx")
        # wrk stops counting a moment before it stops asking.
        self.assertTrue(result.requests <= served <= result.requests + 200, f"{result.requests} {served}")


class Pages(WeirTest):
    def test_stats(self):
        nginx = self.nginx("one", "two")
        weir = self.weir(nginx, "--max_connections=77", "--balance=least_conn")
        for _ in range(6):
            self.assertEqual(self.get(weir).status, 200)
        stats = parse_line(weir.page("/stats")[1])
        self.assertEqual(stats["max_connections"], 77)
        self.assertEqual(stats["upstreams"][0]["balance"], "least_conn")
        self.assertEqual(stats["draining"], False)
        self.assertEqual(stats["requests"]["2xx"], 6)
        self.assertEqual(stats["latency_us"]["count"], 6)
        self.assertEqual([endpoint["address"] for endpoint in stats["upstreams"][0]["endpoints"]], [weir_harness.address_text(at) for at in nginx.addresses])
        self.assertEqual(sum(endpoint["requests"] for endpoint in stats["upstreams"][0]["endpoints"]), 6)
        self.assertEqual(len([shard for shard in stats["shards"] if shard["shard"] != "control"]), 2)

    def raw(self, weir, request):
        client = connect(weir.admin)
        self.addCleanup(client.close)
        client.send(request)
        return client

    def test_the_protocol(self):
        weir = self.weir(self.origin())
        for path, kind in (("/metrics", "text/plain; version=0.0.4"), ("/stats", "application/json"), ("/healthz", "text/plain"), ("/", "text/html")):
            client = self.raw(weir, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\nHEAD {path}?query HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            response = client.response()
            self.assertEqual(response.status, 200)
            self.assertTrue(response.header("Content-Type").startswith(kind), path)
            head = client.response("HEAD")  # kept alive, pipelined
            self.assertEqual((head.status, head.body), (200, b""))
        self.assertEqual(self.raw(weir, b"GET /nothing HTTP/1.1\r\nHost: x\r\n\r\n").response().status, 404)
        refused = self.raw(weir, b"POST /stats HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\nabc").response()
        self.assertEqual((refused.status, refused.header("Allow")), (405, "GET, HEAD"))
        self.assertEqual(self.raw(weir, b"nonsense\r\n\r\n").closing_response().status, 400)
        self.assertEqual(self.raw(weir, b"GET /stats HTTP/1.0\r\n\r\n").closing_response().status, 200)

    def test_slow_and_hostile_visitors(self):
        """What anybody does on the admin address harms neither the others there nor the proxying."""
        weir = self.weir(self.origin())
        for _ in range(30):
            self.raw(weir, b"GET /metrics HTTP/1.1\r\nHo")  # never finished
        for _ in range(20):
            self.raw(weir, b"GET /metrics HTTP/1.1\r\nHost: x\r\n\r\n" * 50)  # never read
        self.raw(weir, b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100000000\r\n\r\n" + b"x" * 100_000)
        self.assertEqual(weir.page("/healthz")[0], 200)
        self.assertEqual(self.get(weir).status, 200)

    def test_more_visitors_than_places(self):
        """Connections that hang about on the admin address do not keep a health check out."""
        weir = self.weir(self.origin())
        for _ in range(150):
            self.raw(weir, b"")
        time.sleep(0.2)
        self.assertEqual(weir.page("/healthz")[0], 200)

    def test_off_by_default(self):
        weir = self.weir(self.origin(), admin=False)
        self.assertNotIn("admin", weir.err())
        self.assertEqual(self.get(weir).status, 200)


class AccessLog(WeirTest):
    def logged(self, count, path):
        def lines():
            with open(path, encoding="utf-8") as file:
                found = file.read().split("\n")
            return found[:-1] if len(found) > count else None

        return [parse_line(line) for line in wait_for(lines, f"{count} lines are written")]

    def with_log(self, backends, **options):
        path = os.path.join(weir_harness.scratch("log"), "access.log")
        return self.weir(backends, f"--access_log={path}", **options), path

    def test_http(self):
        origin = self.origin(lambda c, o: [c.send(ok(b"hello")) for _ in iter(c.request, None)])
        weir, path = self.with_log(origin)
        client = self.client(weir)
        before = time.time()
        client.send(b"POST /path?a=b%20\"c HTTP/1.1\r\nHost: some.host:81\r\nX-Request-ID: id-1\r\nContent-Length: 3\r\n\r\nabc")
        if client.response().status == 400:  # a quote in the query is not everybody's taste
            client = self.client(weir)
            client.send(b"POST /path?a=b%20c HTTP/1.1\r\nHost: some.host:81\r\nX-Request-ID: id-1\r\nContent-Length: 3\r\n\r\nabc")
            client.response()
        line = self.logged(1, path)[-1]
        self.assertEqual(line["protocol"], "http")
        self.assertEqual(line["client"], weir_harness.address_text(client.sock.getsockname()))
        self.assertEqual(line["method"], "POST")
        self.assertIn(line["path"], ('/path?a=b%20"c', "/path?a=b%20c"))
        self.assertEqual(line["host"], "some.host:81")
        self.assertEqual((line["status"], line["request_id"], line["end"]), (200, "id-1", "ok"))
        self.assertEqual(line["endpoint"], str(origin))
        self.assertEqual((line["bytes_received"], line["retries"]), (3, 0))
        self.assertGreater(line["bytes_sent"], 5)
        self.assertTrue(0 <= line["connect_us"] <= line["response_us"] <= line["duration_us"])
        self.assertLess(line["duration_us"], (time.time() - before + 1) * 1e6)
        self.assertRegex(line["time"], r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z$")

    def test_odd_bytes(self):
        weir, path = self.with_log(self.origin())
        cases = [
            b"GET /%22%5C%00%0a HTTP/1.1\r\nHost: test\r\n\r\n",
            b"GET /|{}^` HTTP/1.1\r\nHost: test\r\n\r\n",
            b"GET /%s HTTP/1.1\r\nHost: test\r\n\r\n" % (b"long" * 1500),
            b"M-SEARCH /x HTTP/1.1\r\nHost: [::1]:80\r\n\r\n",
        ]
        for request in cases:
            client = self.client(weir)
            client.send(request)
            self.assertEqual(client.response().status, 200, request)
        lines = self.logged(len(cases), path)
        self.assertEqual({line["status"] for line in lines}, {200})
        self.assertIn("M-SEARCH", [line["method"] for line in lines])

    def test_refused_requests(self):
        weir, path = self.with_log(self.origin())
        for request in (b"GET / HTTP/1.1\r\n\r\n", b"\x00\xff\"\\\r\n\r\n", b"GET /%s HTTP/1.1\r\n" % (b"x" * 9000)):
            client = self.client(weir)
            client.send(request)
            self.assertIn(client.closing_response().status, (400, 414))
        lines = self.logged(3, path)
        self.assertEqual(sorted(line["status"] for line in lines), [400, 400, 414])
        for line in lines:
            self.assertNotEqual(line["end"], "ok")

    def test_failures(self):
        weir, path = self.with_log(f"127.0.0.1:{weir_harness.free_port()}", shards=1)
        self.assertEqual(self.get(weir, "/refused").status, 502)
        self.assertEqual(self.get(weir, "/aside").status, 503)
        first, second = self.logged(2, path)
        self.assertEqual((first["status"], first["path"]), (502, "/refused"))
        self.assertEqual((second["status"], second["path"]), (503, "/aside"))
        self.assertNotEqual(first["end"], "ok")

    def test_tcp(self):
        origin = self.origin(lambda c, o: (c.exactly(100), c.send(b"z" * 500)))
        weir, path = self.with_log(origin, listen=("tcp",))
        client = self.client(weir)
        client.send(b"a" * 100)
        self.assertEqual(len(client.rest()), 500)
        client.close()
        line = self.logged(1, path)[0]
        self.assertEqual((line["protocol"], line["bytes_received"], line["bytes_sent"], line["end"]),
                         ("tcp", 100, 500, "server_closed"))
        self.assertEqual(line["endpoint"], str(origin))
        self.assertNotIn("status", line)

    def test_a_line_for_each_of_very_many(self):
        """Also those that are in flight when the signal comes: the log is whole when Weir is gone."""
        nginx = self.nginx("one")
        weir, path = self.with_log(nginx)
        wrk = Wrk(f"http://{weir_harness.address_text(weir.address)}/", connections=50, seconds=3)
        result = wrk.result()
        weir.check_clean()
        metrics = weir.metrics()
        requests = sum(metrics["weir_requests_total"].values())
        dropped = pick(metrics, "weir_access_log_lines_dropped_total")
        weir.stop(0)
        with open(path, encoding="utf-8") as file:
            lines = file.read().splitlines()
        self.assertEqual(len(lines) + dropped, requests)
        self.assertGreaterEqual(requests, result.requests)
        for line in lines[:: max(1, len(lines) // 2000)]:
            parse_line(line)

    def test_standard_output(self):
        weir = self.weir(self.origin(), "--access_log=-")
        for _ in range(3):
            self.get(weir)
        weir.check_clean()
        weir.stop(0)
        lines = [parse_line(line) for line in weir.out().splitlines()]
        self.assertEqual([line["status"] for line in lines], [200] * 3)

    def test_a_pipe_that_nobody_reads(self):
        """Requests are served as ever, lines are dropped and counted, and stopping takes no longer."""
        nginx = self.nginx("one")
        read_end, write_end = os.pipe()
        try:
            weir = self.weir(nginx, "--access_log=-", "--drain_timeout=3s", stdout=write_end)
            os.close(write_end)
            write_end = -1
            wrk = Wrk(f"http://{weir_harness.address_text(weir.address)}/", connections=50, seconds=3)
            result = wrk.result()
            self.assertEqual((result.bad, result.connect, result.read, result.write, result.timeout), (0,) * 5)
            weir.check_clean()
            self.assertGreater(weir.metric("weir_access_log_lines_dropped_total"), 0)
            weir.signal(15)
            self.assertIn(weir.wait(40), (0, 2))
            weir.stopped = True
            weir.check_log()
        finally:
            os.close(read_end)
            if write_end >= 0:
                os.close(write_end)

    def test_a_pipe_whose_reader_left(self):
        read_end, write_end = os.pipe()
        weir = self.weir(self.origin(), "--access_log=-", stdout=write_end)
        os.close(write_end)
        os.close(read_end)
        for _ in range(50):
            self.assertEqual(self.get(weir).status, 200)
        wait_for(lambda: weir.metric("weir_access_log_lines_dropped_total") == 50, "all are counted as dropped")

    def test_a_full_disk(self):
        """/dev/full: every write fails."""
        if not os.path.exists("/dev/full"):
            self.skipTest("no /dev/full")
        weir = self.weir(self.origin(), "--access_log=/dev/full")
        for _ in range(50):
            self.assertEqual(self.get(weir).status, 200)
        wait_for(lambda: weir.metric("weir_access_log_lines_dropped_total") == 50, "all are counted as dropped")
        self.assertEqual(weir.err().count("the access log cannot be written"), 1, "said once")

    def test_appends(self):
        path = os.path.join(weir_harness.scratch("log"), "access.log")
        with open(path, "w", encoding="ascii") as file:
            file.write('{"before":1}\n')
        for _ in range(2):
            weir = self.weir(self.origin(), f"--access_log={path}")
            self.get(weir)
            weir.check_clean()
            weir.stop(0)
        self.assertEqual(len(self.logged(3, path)), 3)

    def test_rotation(self):
        """What logrotate does, while requests come: every line is in one of the files, whole."""
        folder = weir_harness.scratch("log")
        path = os.path.join(folder, "access.log")
        weir = self.weir(self.nginx("one"), f"--access_log={path}")
        wrk = Wrk(f"http://{weir_harness.address_text(weir.address)}/", connections=20, seconds=3)
        for number in range(1, 6):
            wait_for(lambda: os.path.exists(path) and os.path.getsize(path) > 0, "lines are written")
            os.rename(path, f"{path}.{number}")
            weir.signal(signal.SIGUSR1)
        result = wrk.result()
        self.assertEqual((result.bad, result.connect, result.read, result.write, result.timeout), (0,) * 5)
        weir.check_clean()
        metrics = weir.metrics()
        requests = sum(metrics["weir_requests_total"].values())
        dropped = pick(metrics, "weir_access_log_lines_dropped_total")
        descriptors = [os.readlink(f"/proc/{weir.popen.pid}/fd/{fd}") for fd in os.listdir(f"/proc/{weir.popen.pid}/fd")]
        self.assertEqual([name for name in descriptors if name.startswith(folder)], [path], "the old ones are closed")
        weir.stop(0)
        lines = []
        for name in os.listdir(folder):
            with open(os.path.join(folder, name), encoding="utf-8") as file:
                lines += file.read().splitlines()
        self.assertEqual(len(lines) + dropped, requests)
        for line in lines[:: max(1, len(lines) // 2000)]:
            parse_line(line)

    def test_a_file_that_cannot_be_opened_again(self):
        path = os.path.join(weir_harness.scratch("log"), "access.log")
        weir = self.weir(self.origin(), f"--access_log={path}")
        os.rename(path, path + ".1")
        os.mkdir(path)
        weir.signal(signal.SIGUSR1)
        wait_for(lambda: f"goes on in the file that is open: {path}: cannot be written to: Is a directory" in weir.err(), "it is said")
        self.get(weir)
        self.assertEqual(self.logged(1, path + ".1")[0]["status"], 200)

    def test_the_signal_without_a_file(self):
        for flags in ((), ("--access_log=-",)):
            weir = self.weir(self.origin(), *flags)
            weir.signal(signal.SIGUSR1)
            self.assertEqual(self.get(weir).status, 200)
            weir.check_clean()
            weir.stop(0)


if __name__ == "__main__":
    unittest.main()
