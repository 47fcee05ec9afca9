"""Everything at once: random requests of every kind against random origins, each answer checked byte by byte.

The client says in the target what the origin is to do; the origin answers with the sum of what it received. So both ends
know what must arrive, whatever happens to connections in between. WEIR_SEED repeats a run's choices (not its timing).
"""

import collections
import contextlib
import hashlib
import os
import random
import threading
import time
import traceback
import unittest
from urllib.parse import parse_qsl, urlencode

from weir_harness import FULL, Ended, WeirTest, connect

BYTES = hashlib.shake_128(b"soak").digest(3 << 20)
VISITORS = 12
ROUNDS = 2500 if FULL else 250  # each visitor's batches of pipelined requests


def chunked(body, rng, sizes, extension=b""):
    coded = b""
    at = 0
    while at < len(body):
        piece = body[at : at + rng.choice(sizes)]
        at += len(piece)
        coded += b"%x%s\r\n%s\r\n" % (len(piece), extension, piece)
    trailer = b"X-Trailer: v\r\n" if rng.random() < 0.3 else b""
    return coded + b"0\r\n" + trailer + b"\r\n"


def read_body(connection, request, digest):
    if request.header("Transfer-Encoding"):
        connection.chunked(request)
        digest.update(request.body)
        return len(request.body)
    if request.header("Content-Length"):
        return connection.stream(request, digest.update)
    return 0


def play(connection, origin):
    """The origin: does what the target says."""
    rng = random.Random()
    while True:
        if not connection.buffer:
            connection.more()
        request = connection.request_head()
        wish = dict(parse_qsl(request.target.partition("?")[2]))
        digest = hashlib.md5()
        early = "early" in wish
        received = 0 if early else read_body(connection, request, digest)
        body = BYTES[int(wish["at"]) :][: int(wish["size"])]
        closes = "closes" in wish or wish["framing"] == "close"
        answer = b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n" * int(wish["hints"])
        answer += b"HTTP/1.1 200 OK\r\nX-Id: %s\r\nX-Received: %d\r\nX-Sum: %s\r\n" % (
            wish["id"].encode(),
            received,
            digest.hexdigest().encode(),
        )
        answer += b"Connection: close\r\n" if closes else b""
        head = request.method == "HEAD"
        if wish["framing"] == "length":
            answer += b"Content-Length: %d\r\n\r\n" % len(body) + (b"" if head else body)
        elif wish["framing"] == "chunked":
            answer += b"Transfer-Encoding: chunked\r\n\r\n"
            answer += b"" if head else chunked(body, rng, (1 + len(body) // 200, 100, 4096, 33_000, 70_000))
        else:
            answer += b"\r\n" + (b"" if head else body)
        if "cut" in wish:
            answer = answer[: rng.randrange(len(answer))]
        at = 0
        while at < len(answer):
            size = rng.choice((len(answer), len(answer), 100_000, 5_000, 300))
            connection.send(answer[at : at + size])
            at += size
            if rng.random() < 0.1:
                time.sleep(rng.random() * 0.003)
        if "cut" in wish:
            # FIN would be the regular end of a close-delimited body.
            if wish["framing"] == "close" or rng.random() < 0.5:
                connection.reset()
            return
        if early:
            read_body(connection, request, digest)
        if closes:
            return


class Visitor:
    """One client: a batch of requests, their answers, the next batch; on kept connections where it can."""

    def __init__(self, weir, seed):
        self.weir = weir
        self.rng = random.Random(seed)
        self.counts = collections.Counter()
        self.problem = None
        self.connection = None
        self.thread = threading.Thread(target=self.run)
        self.thread.start()

    def run(self):
        try:
            for _ in range(ROUNDS):
                self.batch()
        except Exception:  # noqa: BLE001 - shown by the test
            self.problem = traceback.format_exc()
        if self.connection:
            self.connection.close()

    def one(self, alone):
        """(method, wish, body, bytes)"""
        rng = self.rng
        size = rng.choice((0, 1, 10, 500, 3_000, 32_768, 36_000, 100_000, 1_000_000))
        wish = {
            "id": f"{rng.getrandbits(60):x}",
            "size": size,
            "at": rng.randrange(1 << 20),
            "framing": rng.choice(("length", "length", "chunked", "chunked", "close")),
            "hints": rng.randrange(1, 5) if rng.random() < 0.1 else 0,
        }
        if rng.random() < 0.05:
            wish["closes"] = 1
        if rng.random() < 0.03:
            wish["cut"] = 1
        method = rng.choice(("GET", "GET", "HEAD", "POST", "POST", "PUT"))
        fields, body, coded = b"", b"", b""
        if method in ("POST", "PUT"):
            body = BYTES[wish["at"] :][: rng.choice((0, 1, 100, 2_500, 40_000, 300_000))]
            if rng.random() < 0.5:
                fields, coded = b"Content-Length: %d\r\n" % len(body), body
            else:
                fields = b"Transfer-Encoding: chunked\r\n"
                coded = chunked(body, rng, (1 + len(body) // 200, 50, 3_000, 33_000, 66_000), rng.choice((b"", b";x=y")))
            if alone and rng.random() < 0.1:
                wish["early"] = 1
        if rng.random() < 0.3:
            fields += b"TE: trailers\r\nConnection: TE\r\n"
        head = f"{method} /?{urlencode(wish)} HTTP/1.1\r\nHost: soak\r\n".encode()
        return method, wish, body, head + fields + b"\r\n" + coded

    def batch(self):
        rng = self.rng
        depth = rng.choice((1, 1, 1, 2, 5))
        requests = [self.one(depth == 1) for _ in range(depth)]
        data = b"".join(request[3] for request in requests)
        if self.connection is None:
            self.connection = connect(self.weir.address, receive_buffer=rng.choice((None, None, 4096, 65536)))
        connection = self.connection
        size = rng.choice((len(data), len(data), 20_000, 1_000))

        def send():
            with contextlib.suppress(OSError):
                for at in range(0, len(data), max(size, len(data) // 100)):
                    connection.send(data[at : at + max(size, len(data) // 100)])

        sender = threading.Thread(target=send)
        sender.start()
        if rng.random() < 0.03:
            time.sleep(rng.random() * 0.01)
            with contextlib.suppress(OSError):
                (connection.reset if rng.random() < 0.5 else connection.close)()
            self.connection = None
            self.counts["left"] += 1
            sender.join()
            return
        try:
            for method, wish, body, _ in requests:
                if not self.answered(connection, method, wish, body):
                    break
        except (Ended, ConnectionResetError):
            # Only an origin that was told to break off may be the reason.
            assert any("cut" in wish for _, wish, _, _ in requests), [request[:2] for request in requests]
            self.counts["broken off"] += 1
            self.connection = None
        if self.connection is None:
            connection.close()
        sender.join()

    def answered(self, connection, method, wish, body):
        """Reads and checks one answer. False when it was the connection's last."""
        response = connection.response(method)
        if response.status != 200:
            assert response.status == 502 and "cut" in wish, (response, response.body, method, wish)
            self.counts["502"] += 1
        else:
            assert response.header("X-Id") == wish["id"], (response, method, wish)
            expected = b"" if method == "HEAD" else BYTES[wish["at"] :][: wish["size"]]
            assert response.body == expected, (response, len(expected), method, wish)
            assert len(response.interims) == wish["hints"], (response, method, wish)
            if "early" not in wish:
                seen = response.header("X-Received"), response.header("X-Sum")
                assert seen == (str(len(body)), hashlib.md5(body).hexdigest()), (seen, len(body), method, wish)
            self.counts["200"] += 1
        if response.header("Connection") == "close":
            self.connection = None
            return False
        return True


class Soak(WeirTest):
    def soak(self, *flags):
        seed = int(os.environ.get("WEIR_SEED") or random.randrange(1 << 30))
        origins = [self.origin(play, record=False) for _ in range(3)]
        weir = self.weir(origins, *flags)
        visitors = [Visitor(weir, seed * 1000 + i) for i in range(VISITORS)]
        for visitor in visitors:
            visitor.thread.join()
        counts = sum((visitor.counts for visitor in visitors), collections.Counter())
        print(f"seed {seed}: {dict(counts)}")
        problems = [visitor.problem for visitor in visitors if visitor.problem]
        self.assertFalse(problems, f"WEIR_SEED={seed}\n" + "\n".join(problems[:2]))
        self.assertGreater(counts["200"], VISITORS * ROUNDS / 2)

    def test_as_usual(self):
        self.soak()

    def test_with_little_of_everything(self):
        self.soak("--buffer_memory=20MiB", "--upstream_idle_connections=1", "--balance=least_conn", "--access_log=/dev/null")


if __name__ == "__main__":
    unittest.main()
