"""Who gets the next request: shares, slow endpoints, and endpoints that die and come back under load."""

import collections
import signal
import threading
import time
import unittest

import weir_harness
from weir_harness import FULL, WeirTest, Wrk, connect, ok, wait_for


def slow_by(seconds):
    def handle(connection, origin):
        while (request := connection.request()) is not None:
            with origin.lock:
                origin.requests.append(request)
            time.sleep(seconds)
            connection.send(ok(origin.name.encode()))

    return handle


class Load:
    """Clients with keep-alive connections that ask one thing after another until stopped; counts what they get."""

    def __init__(self, weir, clients, request=b"GET / HTTP/1.1\r\nHost: test\r\n\r\n", total=None):
        self.weir, self.total = weir, total
        self.request = request
        self.results = collections.Counter()
        self.stopped = threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self._run) for _ in range(clients)]
        for thread in self.threads:
            thread.start()

    def _run(self):
        connection = None
        while not self.stopped.is_set():
            with self.lock:
                if self.total is not None:
                    if self.total == 0:
                        break
                    self.total -= 1
            try:
                connection = connection or connect(self.weir.address)
                connection.send(self.request)
                response = connection.response()
                result = (response.status, response.body.strip() if response.status == 200 else b"")
                if response.header("Connection") == "close":
                    connection.close()
                    connection = None
            except (OSError, weir_harness.Ended) as error:
                result = (type(error).__name__, b"")
                if connection:
                    connection.close()
                connection = None
            with self.lock:
                self.results[result] += 1
        if connection:
            connection.close()

    def stop(self):
        self.stopped.set()
        return self.join()

    def join(self):
        for thread in self.threads:
            thread.join()
        return self.results


class Shares(WeirTest):
    def ask(self, weir, count):
        client = self.client(weir)
        shares = collections.Counter()
        order = []
        for _ in range(count):
            client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            body = client.response().body.decode().strip()
            shares[body] += 1
            order.append(body)
        return shares, order

    def test_weights(self):
        nginx = self.nginx("one", "two", "five")
        backends = ",".join(f"{weir_harness.address_text(at)}={weight}" for at, weight in zip(nginx.addresses, (1, 2, 5)))
        shares, order = self.ask(self.weir(backends, shards=1), 800)
        self.assertEqual(shares, {"one": 100, "two": 200, "five": 500})
        # Smooth: the heavy one does not get all of its share in a row.
        longest = max(len(run) for run in "".join("x" if name == "five" else " " for name in order).split())
        self.assertLessEqual(longest, 3)

    def test_weights_over_shards(self):
        nginx = self.nginx("one", "three")
        backends = ",".join(f"{weir_harness.address_text(at)}={weight}" for at, weight in zip(nginx.addresses, (1, 3)))
        weir = self.weir(backends, shards=2)
        results = Load(weir, 16, total=4000).join()
        self.assertEqual(sum(results.values()), 4000)
        self.assertEqual(set(status for status, _ in results), {200})
        self.assertAlmostEqual(results[200, b"three"] / 4000, 0.75, delta=0.02)

    def test_tcp_takes_turns_too(self):
        origins = [self.origin(lambda c, o: (c.send(o.name.encode()), c.rest()), name=name) for name in ("a", "b")]
        weir = self.weir(origins, listen=("tcp",), shards=1)
        names = collections.Counter()
        for _ in range(20):
            client = self.client(weir)
            names[client.exactly(1)] += 1
            client.close()
        self.assertEqual(names, {b"a": 10, b"b": 10})

    def test_least_conn_spares_the_slow(self):
        slow, quick = self.origin(slow_by(0.3), name="slow"), self.origin(name="quick")
        for balance in ("least_conn", "round_robin"):
            weir = self.weir([slow, quick], f"--balance={balance}", shards=1)
            load = Load(weir, 8)
            time.sleep(3)
            results = load.stop()
            self.assertEqual(set(status for status, _ in results), {200})
            if balance == "least_conn":
                # At most a client or two wait for the slow one at any time.
                self.assertGreater(results[200, b"quick"], 10 * results[200, b"slow"])
            else:
                self.assertAlmostEqual(results[200, b"quick"], results[200, b"slow"], delta=16)

    def test_least_conn_when_all_is_quiet(self):
        """Without anything in flight equals take turns, and a heavier one comes first."""
        nginx = self.nginx("one", "other", "third")
        shares, _ = self.ask(self.weir(nginx, "--balance=least_conn", shards=1), 300)
        self.assertEqual(shares, {"one": 100, "other": 100, "third": 100})

    def test_least_conn_with_weights(self):
        origins = [self.origin(slow_by(0.05), name=name) for name in ("one", "three")]
        backends = f"{origins[0]}=1,{origins[1]}=3"
        results = Load(self.weir(backends, "--balance=least_conn", shards=1), 8, total=400).join()
        self.assertAlmostEqual(results[200, b"three"] / 400, 0.75, delta=0.08)

    def test_one_endpoint_among_many(self):
        nginx = self.nginx("one")
        weir = self.weir(",".join([weir_harness.address_text(nginx.addresses[0])]), "--balance=least_conn")
        shares, _ = self.ask(weir, 100)
        self.assertEqual(shares, {"one": 100})


class Deaths(WeirTest):
    def test_killed_and_restarted_under_load(self):
        """kill -9 of one of two origins, again and again: a GET that can be repeated is never lost."""
        first, second = self.nginx("first"), self.nginx("second")
        weir = self.weir([first, second], "--set_aside=200ms")
        url = f"http://{weir_harness.address_text(weir.address)}/"
        rounds = 10 if FULL else 3
        wrk = Wrk(url, connections=50, seconds=3 * rounds + 1)
        load = Load(weir, 4)
        for _ in range(rounds):
            time.sleep(1)
            first.kill()
            time.sleep(1)
            first.start()
            time.sleep(0.5)
        result = wrk.result()
        mine = load.stop()
        self.assertEqual((result.bad, result.connect, result.read, result.write, result.timeout), (0,) * 5, result.text)
        self.assertEqual(set(status for status, _ in mine), {200}, mine)
        self.assertGreater(result.requests, 1000)
        # It took part again.
        wait_for(lambda: self.get(weir).body == b"first\n", "the restarted one is used")

    def test_all_dead_and_back(self):
        nginx = self.nginx("one", "two")
        weir = self.weir(nginx, "--set_aside=100ms", shards=1)
        self.assertEqual(self.get(weir).status, 200)
        nginx.kill()
        seen = {self.get(weir).status for _ in range(10)}
        self.assertLessEqual(seen, {502, 503})
        self.assertIn(503, seen)
        nginx.start()
        wait_for(lambda: self.get(weir).status == 200, "used again")
        self.assertEqual({self.get(weir).status for _ in range(10)}, {200})

    def test_backups_take_over_and_give_back(self):
        """Both primaries are killed under load: the next priority takes over, then the backup, and no GET is lost."""
        primaries = [self.nginx("first"), self.nginx("second")]
        spare, backup = self.nginx("spare"), self.nginx("backup")
        address = [weir_harness.address_text(origin.addresses[0]) for origin in primaries + [spare, backup]]
        weir = self.weir(None, shards=2, config=f"""
listeners: [{{address: LISTEN0, upstream: web}}]
upstreams:
  web:
    endpoints:
      - {address[0]}
      - {{address: "{address[3]}", backup: true}}
      - {address[1]}
      - {{address: "{address[2]}", priority: 1}}
    retries: 3
    retry_budget: off  # all that is in flight fails at once
    set_aside: 200ms
""")
        url = f"http://{weir_harness.address_text(weir.address)}/"

        def answered():
            return {self.get(weir).body for _ in range(20)}

        self.assertEqual(answered(), {b"first\n", b"second\n"})
        wrk = Wrk(url, connections=30, seconds=8)
        for origin in primaries:
            time.sleep(0.5)
            origin.kill()
        wait_for(lambda: answered() == {b"spare\n"}, "the next priority has all")
        spare.kill()
        wait_for(lambda: answered() == {b"backup\n"}, "the backup has all")
        primaries[1].start()
        wait_for(lambda: answered() == {b"second\n"}, "given back to the first that is there again")
        spare.start()
        primaries[0].start()
        wait_for(lambda: answered() == {b"first\n", b"second\n"}, "given back")
        result = wrk.result()
        self.assertEqual((result.bad, result.connect, result.read, result.write, result.timeout), (0,) * 5, result.text)
        endpoints = weir.stats()["upstreams"][0]["endpoints"]
        self.assertEqual([e["priority"] for e in endpoints], [0, 10, 0, 1])
        self.assertEqual([e["backup"] for e in endpoints], [False, True, False, False])
        self.assertEqual({b"first\n", b"second\n"}, answered())

    def test_who_refuses_is_set_aside(self):
        dead = f"127.0.0.1:{weir_harness.free_port()}"
        nginx = self.nginx("one")
        weir = self.weir(f"{dead},{nginx}", "--set_aside=20s", shards=1)
        client = self.client(weir)
        for _ in range(200):
            client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            self.assertEqual(client.response().status, 200)
        metrics = weir.metrics()
        failures = weir_harness.pick(metrics, "weir_endpoint_failures_total", endpoint=dead)
        self.assertEqual(failures, 1)
        self.assertEqual(weir_harness.pick(metrics, "weir_endpoint_set_aside_shards", endpoint=dead), 1)
        self.assertEqual(weir_harness.pick(metrics, "weir_retries_total"), 1)

    def test_without_setting_aside(self):
        dead = f"127.0.0.1:{weir_harness.free_port()}"
        nginx = self.nginx("one")
        weir = self.weir(f"{dead},{nginx}", "--set_aside=0", shards=1)
        for _ in range(20):
            self.assertEqual(self.get(weir).status, 200)
        self.assertGreaterEqual(weir.metric("weir_endpoint_failures_total", endpoint=dead), 9)

    def test_retries_have_a_bound(self):
        dead = [f"127.0.0.1:{weir_harness.free_port()}" for _ in range(5)]
        for retries, connects in ((0, 1), (2, 3), (7, 5)):
            weir = self.weir(",".join(dead), f"--retries={retries}", "--set_aside=0", shards=1)
            self.assertEqual(self.get(weir).status, 502)
            self.assertEqual(weir.metric("weir_upstream_connects_total"), connects)

    def test_stale_pooled_connections_cost_no_request(self):
        """The origin restarts: every pooled connection is dead, and nobody is told so by an error."""
        nginx = self.nginx("one")
        weir = self.weir(nginx, "--set_aside=0", shards=1)
        for _ in range(3):
            clients = [self.client(weir) for _ in range(30)]
            for client in clients:
                client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            for client in clients:
                self.assertEqual(client.response().status, 200)
            nginx.kill()
            nginx.start()
            for client in clients:
                client.send(b"GET / HTTP/1.1\r\nHost: test\r\n\r\n")
            for client in clients:
                self.assertEqual(client.response().status, 200)
                client.close()


class Hashing(WeirTest):
    """Who has the same key meets the same endpoint: on every shard, after a restart, in whatever order they stand."""

    def config(self, origins, balance="maglev", hash_on="header:X-User", more=""):
        lines = "".join(f"\n      - {{address: {each}}}" for each in origins)
        return (
            "listeners: [{address: LISTEN0, upstream: web}]\n"
            "limits: {set_aside: 300ms}\n"
            f"upstreams:\n  web:\n    balance: {balance}\n    hash_on: {hash_on}\n{more}    endpoints:{lines}\n"
        )

    def five(self, count=5):
        return [self.origin(name=f"o{i}") for i in range(count)]

    def where(self, weir, keys, times=1):
        """By key who answers; each time on connections of their own, which meet different shards."""
        met = {}
        for key in keys * times:
            response = self.get(weir, "/", f"X-User: {key}\r\n")
            self.assertEqual(response.status, 200)
            met.setdefault(key, set()).add(response.body.decode())
        return met

    KEYS = [f"user{i}" for i in range(60)]

    def test_the_same_for_ever(self):
        origins = self.five()
        for balance in ("maglev", "ring_hash"):
            weir = self.weir(None, config=self.config(origins, balance), shards=4)
            met = self.where(weir, self.KEYS, 4)
            self.assertEqual({len(each) for each in met.values()}, {1}, met)
            self.assertEqual(len(set().union(*met.values())), 5)
            again = self.weir(None, config=self.config(origins[::-1], balance), shards=2)
            self.assertEqual(self.where(again, self.KEYS), met)
            # One of five leaves, then it is back: its keys move, nobody else's (maglev: a few).
            text = self.config(origins[::-1], balance).replace("LISTEN0", weir_harness.address_text(again.address))
            self.reload(again, text.replace(f"\n      - {{address: {origins[2]}}}", ""))
            fewer = self.where(again, self.KEYS)
            self.assertNotIn("o2", set().union(*fewer.values()))
            moved = [key for key in self.KEYS if fewer[key] != met[key] and met[key] != {"o2"}]
            self.assertLessEqual(len(moved), 0 if balance == "ring_hash" else 6, moved)
            self.reload(again, text)
            self.assertEqual(self.where(again, self.KEYS), met)

    def reload(self, weir, text):
        before = weir.err().count(" is in force")
        with open(weir.config, "w", encoding="utf-8") as file:
            file.write(text)
        weir.signal(signal.SIGHUP)
        wait_for(lambda: weir.err().count(" is in force") > before, "the reload is in force")

    def test_who_is_dead_leaves_its_keys_to_others_until_it_is_back(self):
        origins = self.five()
        weir = self.weir(None, config=self.config(origins), shards=2)
        met = self.where(weir, self.KEYS)
        port = origins[1].address[1]
        origins[1].close()
        without = self.where(weir, self.KEYS, 3)
        for key in self.KEYS:
            self.assertEqual(len(without[key]), 1, (key, without[key]))
            if met[key] != {"o1"}:
                self.assertEqual(without[key], met[key])
        self.assertNotIn("o1", set().union(*without.values()))
        self.assertGreater(len(set().union(*(without[key] for key in self.KEYS if met[key] == {"o1"}))), 1)
        self.origin(name="o1", port=port)
        wait_for(lambda: self.where(weir, self.KEYS, 2) == met, "its keys are back")

    def test_bounded_load(self):
        """Everybody wants the same endpoint; it takes no more than its bound, and one for each other shard."""
        active, most, lock = {}, {}, threading.Lock()

        def busy(connection, origin):
            while connection.request() is not None:
                with lock:
                    active[origin.name] = active.get(origin.name, 0) + 1
                    most[origin.name] = max(most.get(origin.name, 0), active[origin.name])
                time.sleep(0.05)
                with lock:
                    active[origin.name] -= 1
                connection.send(ok(origin.name.encode()))

        origins = [self.origin(busy, name=f"o{i}") for i in range(4)]
        request = b"GET / HTTP/1.1\r\nHost: test\r\nX-User: everybody\r\n\r\n"
        for bound in (0, 125):
            most.clear()
            more = f"    hash_balance_factor: {bound}\n"
            weir = self.weir(None, config=self.config(origins, more=more), shards=2)
            results = Load(weir, 40, request, total=1200).join()
            self.assertEqual(sum(results.values()), 1200)
            self.assertEqual({status for status, _ in results}, {200})
            if bound == 0:
                self.assertEqual(len(results), 1)
            else:
                # ceil(1.25 * 40 / 4) and one; what is being answered counts until Weir has heard of it.
                self.assertLessEqual(max(most.values()), 13 + 2, most)
                self.assertEqual(len(results), 4)

    def test_a_cookie_holds(self):
        origins = self.five()
        weir = self.weir(
            None,
            config=self.config(origins, hash_on="cookie:held", more="    hash_cookie: {max_age: 1h}\n"),
            shards=2,
        )
        met = set()
        for _ in range(20):
            first = self.get(weir)
            line = first.header("Set-Cookie")
            self.assertRegex(line, r"^held=[0-9a-f]{16}; Path=/; Max-Age=3600; HttpOnly; SameSite=Lax$")
            met.add(first.body)
            for _ in range(4):
                later = self.get(weir, "/", f"Cookie: a=b; {line.split(';')[0]}\r\n")
                self.assertEqual(later.body, first.body)
                self.assertIsNone(later.header("Set-Cookie"))
        self.assertGreater(len(met), 1)
        for origin in origins:
            origin.close()
        refused = self.get(weir)
        self.assertIn(refused.status, (502, 503))
        self.assertIsNone(refused.header("Set-Cookie"))

    def test_explain_names_who_answers(self):
        origins = self.five()
        weir = self.weir(None, config=self.config(origins), shards=2)
        names = {str(origin): origin.name for origin in origins}
        for key in (f"{i * 7919 % 1000}" for i in range(50)):
            met = self.get(weir, "/", f"X-User: {key}\r\n").body.decode()
            for said in (self.explained(weir, key), weir.page(f"/explain?url=/&header=Host:+a&header=X-User:+{key}")[1]):
                found = [line.split()[1].rstrip(",") for line in said.splitlines() if "by the hash of" in line]
                self.assertEqual([names[each] for each in found], [met], said)
        # One that is set aside is passed by, as the shards do.
        dead = origins[3]
        dead.close()
        key = next(key for key in self.KEYS if f"endpoint   {dead}" in self.explained(weir, key))
        wait_for(
            lambda: self.get(weir, "/", f"X-User: {key}\r\n").body
            and weir.metric("weir_endpoint_set_aside_shards", endpoint=str(dead)) == 2,
            "both shards have it set aside",
        )
        met = self.get(weir, "/", f"X-User: {key}\r\n").body.decode()
        said = weir.page(f"/explain?url=/&header=Host:+a&header=X-User:+{key}")[1]
        if f"endpoint   {dead}" not in said:  # it may have been tried again just now
            self.assertIn(f"endpoint   {[at for at in names if names[at] == met][0]}, by the hash", said)

    def explained(self, weir, key):
        argv = [weir_harness.binary(), "explain", f"--config={weir.config}", "/", "-H", "Host: a", "-H", f"X-User: {key}"]
        return weir_harness.run(argv).stdout

    def test_mirrors_and_who_is_asked_have_their_own(self):
        """By key the same copy and the same judge; a cookie is set by the upstream's answers alone."""
        web = self.five(2)
        copies, judges = self.five(), self.five()

        def upstream(name, origins, hash_on):
            listed = ", ".join(str(each) for each in origins)
            return f"  {name}: {{balance: maglev, hash_on: {hash_on}, endpoints: [{listed}]}}\n"

        weir = self.weir(
            None,
            config="listeners: [{address: LISTEN0, routes: r}]\nupstreams:\n"
            + upstream("web", web, '"cookie:held"')
            + upstream("copies", copies, '"query:q"')
            + upstream("judges", judges, '["header:X-User", "cookie:judge"]')
            + "routes: {r: [{upstream: web, mirror: {upstream: copies},"
            + ' auth_request: {upstream: judges, path: "/ask${path}"}}]}\n',
            shards=2,
        )
        for i in range(60):
            response = self.get(weir, f"/p?q={i % 10}", f"X-User: u{i % 10}\r\n")
            self.assertEqual(response.status, 200)
            self.assertEqual([line.split("=")[0] for line in response.all("Set-Cookie")], ["held"])

        def met(origins, key):
            return [{key(request) for request in origin.requests} for origin in origins]

        wait_for(lambda: sum(len(origin.requests) for origin in copies) == 60, "all copies have arrived")
        for sets in (met(copies, lambda request: request.target), met(judges, lambda request: request.header("X-User"))):
            self.assertEqual(sum(len(each) for each in sets), 10, sets)
            self.assertGreater(sum(1 for each in sets if each), 1)
        self.assertEqual(sum(len(origin.requests) for origin in judges), 60)

    def test_a_refusal_sets_no_cookie(self):
        judge = self.origin(
            lambda c, o: [c.send(b"HTTP/1.1 403 No\r\nContent-Length: 0\r\n\r\n") for _ in iter(c.request, None)]
        )
        text = (
            "listeners: [{address: LISTEN0, routes: r}]\nupstreams:\n"
            f"  judge: {{endpoints: [{judge}]}}\n"
            f'  web: {{endpoints: [{self.origin()}], balance: maglev, hash_on: "cookie:held"}}\n'
            "routes: {r: [{upstream: web, auth_request: {upstream: judge, path: /}}]}\n"
        )
        response = self.get(self.weir(None, config=text, shards=1))
        self.assertEqual((response.status, response.header("Set-Cookie")), (403, None))

    def test_tcp_goes_by_the_address(self):
        origins = [self.origin(lambda c, o: (c.send(o.name.encode()), c.rest()), name=f"{i}") for i in range(5)]
        weir = self.weir(origins, "--balance=maglev", listen=("tcp",), shards=2)
        met = {}
        for i in range(40):
            source = f"127.0.0.{i % 10 + 1}"
            client = self.client(weir, source=source)
            met.setdefault(source, set()).add(client.exactly(1))
            client.close()
        self.assertEqual({len(each) for each in met.values()}, {1}, met)
        self.assertGreater(len(set().union(*met.values())), 1)


class Loads(WeirTest):
    def test_the_slow_get_less(self):
        """p2c and least_conn see what waits, ewma how long it takes; also of the other shard's requests."""
        slow, quick = self.origin(slow_by(0.2), name="slow"), [self.origin(name=f"q{i}") for i in range(2)]
        for balance in ("p2c", "ewma", "least_conn", "random"):
            weir = self.weir([slow, *quick], f"--balance={balance}", shards=2)
            total = 600 if balance == "random" else 2000
            results = Load(weir, 12, total=total).join()
            self.assertEqual({status for status, _ in results}, {200})
            share = results[200, b"slow"] / total
            if balance == "random":
                self.assertAlmostEqual(share, 1 / 3, delta=0.06)
            else:
                self.assertLess(share, 0.1, balance)

    def test_first_fills_one_after_another(self):
        origins = [self.origin(slow_by(0.05), name=name) for name in ("one", "two", "three")]
        lines = ", ".join(str(each) for each in origins)
        text = "listeners: [{{address: LISTEN0, upstream: web}}]\nupstreams: {{web: {{endpoints: [{}], balance: first, {}}}}}\n"
        weir = self.weir(None, config=text.format(lines, "retries: 1"), shards=2)
        self.assertEqual(set(Load(weir, 8, total=80).join()), {(200, b"one")})
        weir = self.weir(None, config=text.format(lines, "max_in_flight: 4"), shards=1)
        results = Load(weir, 8, total=200).join()
        self.assertGreater(results[200, b"one"], 60)
        self.assertGreater(results[200, b"two"], 20)
        self.assertEqual(results[200, b"three"], 0)


if __name__ == "__main__":
    unittest.main()
