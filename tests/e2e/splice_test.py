"""Bulk through pipes: real nginx, curl and raw sockets; what arrives is what was sent, in each direction, whatever breaks."""

import contextlib
import hashlib
import os
import signal
import socket
import subprocess
import threading
import time
import unittest

import weir_harness
from weir_harness import FULL, WeirTest, address_text, connect, need, run, wait_for

MIB = 1 << 20
BIG = (10_240 if FULL else 64) * MIB
BLOCK = bytes(range(256)) * 4096  # 1 MiB


def pour(sock, count, digest):
    """Sends so many bytes, all different from block to block."""
    for i in range(count // MIB):
        block = i.to_bytes(8, "big") + BLOCK[8:]
        digest.update(block)
        sock.sendall(block)


def drink(sock, digest, slowly=False):
    count = 0
    while block := sock.recv(MIB):
        digest.update(block)
        count += len(block)
        if slowly:
            time.sleep(0.01)
    return count


class Splice(WeirTest):
    def spliced(self, weir):
        return weir.metric("weir_spliced_bytes_total")

    def no_pipes(self, weir):
        wait_for(lambda: weir.metric("weir_pipes") == 0, "pipes are closed when nobody needs them")

    def echo(self):
        """Sends back what it gets, and finishes when the client does."""

        def serve(connection, _):
            while data := connection.sock.recv(MIB):
                connection.sock.sendall(data)
            connection.sock.shutdown(socket.SHUT_WR)

        return self.origin(serve, record=False)

    def test_downloads_and_uploads(self):
        origin = self.nginx("big")
        data = os.urandom(MIB) * 16
        origin.write("big", data)
        with open(os.path.join(origin.www, "sums"), "wb") as file:
            file.write(data)
        weir = self.weir([address_text(origin.addresses[0])])
        url = f"http://{address_text(weir.address)}"
        want = hashlib.sha256(data).hexdigest()
        got = subprocess.run(f"{need('curl')} -sf {url}/www/big {url}/www/big | sha256sum", shell=True, capture_output=True,
                             text=True, check=True).stdout.split()[0]
        self.assertEqual(got, hashlib.sha256(data + data).hexdigest())
        before = self.spliced(weir)
        self.assertGreater(before, 2 * len(data) * 0.9)
        run([need("curl"), "-sf", "-T", os.path.join(origin.www, "big"), f"{url}/put/copy"])
        with open(os.path.join(origin.put, "copy"), "rb") as file:
            self.assertEqual(hashlib.sha256(file.read()).hexdigest(), want)
        self.assertGreater(self.spliced(weir) - before, len(data) * 0.9)
        # Ranges, and small ones behind large ones on one connection.
        done = run([need("curl"), "-sf", "-r", "1000000-9999999", f"{url}/www/big", "-o", "/dev/null", f"{url}/", "-o", "/dev/null",
                    f"{url}/www/big", "-o", "/dev/null", "-w", "%{size_download} %{num_connects}\n"])
        self.assertEqual(done.stdout.split(), ["9000000", "1", "4", "0", "9000000", "0"])
        self.assertEqual(weir.metric("weir_upstream_resets_total"), 0)
        self.no_pipes(weir)

    def test_chunked_and_switched_off(self):
        origin = self.nginx("big")
        data = os.urandom(MIB) * 4
        origin.write("big", data)
        for flags, path in ((("--splice_from=0",), "/www/big"), ((), "/gzip/big")):
            with self.subTest(path):
                weir = self.weir([address_text(origin.addresses[0])], *flags)
                done = subprocess.run([need("curl"), "-sf", "--compressed", f"http://{address_text(weir.address)}{path}"],
                                      capture_output=True, check=True)
                self.assertEqual(hashlib.sha256(done.stdout).digest(), hashlib.sha256(data).digest())
                self.assertEqual(self.spliced(weir), 0)

    def test_both_ways_at_once_with_half_close(self):
        echo = self.echo()
        weir = self.weir([str(echo)], listen=("tcp",))
        sock = connect(weir.address).sock
        sock.settimeout(120)
        sent, got = hashlib.sha256(), hashlib.sha256()

        def write():
            pour(sock, BIG, sent)
            sock.shutdown(socket.SHUT_WR)

        writer = threading.Thread(target=write)
        writer.start()
        self.assertEqual(drink(sock, got), BIG)
        writer.join()
        sock.close()
        self.assertEqual(got.hexdigest(), sent.hexdigest())
        self.assertGreater(self.spliced(weir), BIG)
        self.no_pipes(weir)

    def test_slow_readers_and_more_of_them_than_pipes(self):
        origin = self.nginx("big")
        data = os.urandom(MIB) * 8
        origin.write("big", data)
        weir = self.weir([address_text(origin.addresses[0])], shards=1)
        want = hashlib.sha256(data).digest()
        socks = []
        for _ in range(30):
            sock = connect(weir.address, receive_buffer=16384).sock
            sock.settimeout(60)
            sock.sendall(b"GET /www/big HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            socks.append(sock)
        wait_for(lambda: weir.metric("weir_pipes") >= 10, "pipes are held by those who do not read")
        # Others are served meanwhile, also with bulk.
        done = subprocess.run([need("curl"), "-sf", f"http://{address_text(weir.address)}/www/big"], capture_output=True, check=True)
        self.assertEqual(hashlib.sha256(done.stdout).digest(), want)
        self.assertLessEqual(weir.metric("weir_pipes"), 16)
        answers = [None] * len(socks)

        def read(i):
            answers[i] = b"".join(iter(lambda: socks[i].recv(MIB), b""))

        readers = [threading.Thread(target=read, args=(i,)) for i in range(len(socks))]
        for reader in readers:
            reader.start()
        for reader in readers:
            reader.join()
        for answer in answers:
            head, _, body = answer.partition(b"\r\n\r\n")
            self.assertIn(b"200 OK", head)
            self.assertEqual(hashlib.sha256(body).digest(), want)
        for sock in socks:
            sock.close()
        self.no_pipes(weir)

    def test_what_ends_in_the_middle(self):
        """The origin dies, finishes too early, resets; the client leaves, resets."""
        promised = 50 * MIB

        def serve(connection, _):
            path = connection.request().target
            connection.send(f"HTTP/1.1 200 OK\r\nContent-Length: {promised}\r\n\r\n".encode())
            connection.sock.settimeout(30)
            try:
                for _ in range(10 if path != "/all" else 50):
                    connection.sock.sendall(BLOCK)
            except OSError:
                return
            if path == "/reset":
                weir_harness.reset(connection.sock)
            elif path == "/fin":
                connection.sock.close()

        origin = self.origin(serve, record=False)
        weir = self.weir([str(origin)], "--retries=0")
        url = f"http://{address_text(weir.address)}"
        for path, least in (("/fin", 10 * MIB), ("/reset", 1)):
            with self.subTest(path):
                done = subprocess.run([need("curl"), "-s", "-o", "/dev/null", "-w", "%{size_download}", url + path],
                                      capture_output=True, text=True, check=False)
                self.assertIn(done.returncode, (18, 56), "a part is not a whole")
                self.assertGreaterEqual(int(done.stdout), least)
                self.assertLessEqual(int(done.stdout), 10 * MIB)
        for how in ("close", "reset"):
            sock = connect(weir.address).sock
            sock.sendall(b"GET /all HTTP/1.1\r\nHost: x\r\n\r\n")
            sock.recv(100_000)
            if how == "reset":
                weir_harness.reset(sock)
            else:
                sock.close()
        wait_for(lambda: weir.metric("weir_client_aborts_total") >= 2, "both are noticed")
        self.no_pipes(weir)
        weir.check_clean()

    def test_a_killed_origin_of_tcp(self):
        script = "import socket,sys\ns=socket.create_server(('127.0.0.1',int(sys.argv[1])))\nc,_=s.accept()\nb=bytes(1<<20)\nwhile True: c.sendall(b)\n"
        port = weir_harness.free_port()
        process = weir_harness.Process(["python3", "-c", script, str(port)], "pourer")
        self.addCleanup(process.kill)
        weir = self.weir([f"127.0.0.1:{port}"], listen=("tcp",))

        def begun():
            try:
                self.sock = connect(weir.address).sock
                self.sock.settimeout(20)
                return len(self.sock.recv(1)) == 1
            except OSError:
                return False

        wait_for(begun, "it pours")
        got = 0
        while got < 8 * MIB:
            got += len(self.sock.recv(MIB))
        process.signal(signal.SIGKILL)
        try:
            while self.sock.recv(MIB):
                pass
        except ConnectionResetError:
            pass
        self.sock.close()
        self.no_pipes(weir)

    def test_an_upgrade_with_a_body(self):
        """Who switches protocols before the body's last bytes have left their pipe: they come first."""
        seen = {}

        def serve(connection, _):
            size = int(connection.request_head().header("Content-Length"))
            time.sleep(0.3)  # the body is on its way; nobody reads
            connection.sock.sendall(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: x\r\n\r\n")
            try:
                seen[size] = connection.rest()
                connection.sock.sendall(b"bye")
            except OSError:
                pass

        weir = self.weir([str(self.origin(serve, record=False))], shards=1)

        def switched(size):
            body = os.urandom(size)
            client = self.client(weir)
            client.send(b"POST / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: x\r\nContent-Length: %d\r\n\r\n" % size)
            with contextlib.suppress(OSError):
                client.send(body)
            status = client.head().status
            if status == 101:
                client.send(b"tunnel")
                client.finish_sending()
                self.assertEqual(client.rest(), b"bye")
                self.assertEqual(hashlib.sha256(seen[size]).digest(), hashlib.sha256(body + b"tunnel").digest())
            client.close()
            return status == 101

        # What fits into sockets and a pipe is on its way when the answer comes. The largest such one is looked for:
        # its end is in the pipe.
        few, many = MIB // 4, 16 * MIB
        self.assertTrue(switched(few))
        while many - few > 16 * 1024:
            middle = (few + many) // 2
            few, many = (middle, many) if switched(middle) else (few, middle)
        self.no_pipes(weir)

    def test_what_lies_behind_an_answer_is_nobodys(self):
        """Behind a body that went through a pipe as well: the connection is not used again."""
        evil = b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"

        def serve(connection, _):
            while (request := connection.request()) is not None:
                if request.target == "/big":
                    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n" % (4 * MIB) + 4 * BLOCK + evil)
                else:
                    connection.send(b"HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\ngood")

        weir = self.weir([str(self.origin(serve, record=False))], shards=1)
        for _ in range(10):
            client = self.client(weir)
            client.send(b"GET /big HTTP/1.1\r\nHost: x\r\n\r\nGET /small HTTP/1.1\r\nHost: x\r\n\r\n")
            self.assertEqual(len(client.response().body), 4 * MIB)
            self.assertEqual(client.response().body, b"good")
            client.close()
        self.assertGreater(self.spliced(weir), 30 * MIB)

    def test_without_descriptors(self):
        """Not one is left for a pipe: it is copied, and counted."""
        origin = self.nginx("big")
        data = os.urandom(MIB) * 4
        origin.write("big", data)
        weir = self.weir([address_text(origin.addresses[0])], shards=1)
        url = f"http://{address_text(weir.address)}/www/big"
        subprocess.run([need("curl"), "-sf", "-o", "/dev/null", f"http://{address_text(weir.address)}/"], check=True)
        self.no_pipes(weir)
        # As many as it has, and one for the client.
        subprocess.run(["prlimit", f"--pid={weir.popen.pid}", f"--nofile={weir.fds() + 2}:"], check=True)
        done = subprocess.run([need("curl"), "-sf", url], capture_output=True, check=True)
        subprocess.run(["prlimit", f"--pid={weir.popen.pid}", "--nofile=4096:"], check=True)
        self.assertEqual(hashlib.sha256(done.stdout).digest(), hashlib.sha256(data).digest())
        self.assertGreater(weir.metric("weir_pipes_refused_total"), 0)
        self.assertEqual(self.spliced(weir), 0)

    def test_drain_and_tunnels(self):
        """Flows that are open go on while Weir drains; an upgraded connection is a relay too."""

        def serve(connection, _):
            connection.request()
            connection.send(b"HTTP/1.1 101 Switching Protocols\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
            while data := connection.sock.recv(MIB):
                connection.sock.sendall(data)
            connection.sock.shutdown(socket.SHUT_WR)

        weir = self.weir([str(self.origin(serve, record=False))], "--drain_timeout=30s")
        client = connect(weir.address)
        client.send(b"GET / HTTP/1.1\r\nHost: x\r\nConnection: upgrade\r\nUpgrade: echo\r\n\r\n")
        self.assertEqual(client.head().status, 101)
        sock = client.sock
        sock.settimeout(60)
        sent, got = hashlib.sha256(), hashlib.sha256()
        half = 16 * MIB

        def write():
            pour(sock, half, sent)
            weir.signal(signal.SIGTERM)
            time.sleep(0.3)
            pour(sock, half, sent)
            sock.shutdown(socket.SHUT_WR)

        writer = threading.Thread(target=write)
        writer.start()
        self.assertEqual(drink(sock, got), 2 * half)
        writer.join()
        sock.close()
        self.assertEqual(got.hexdigest(), sent.hexdigest())
        weir.ended()


if __name__ == "__main__":
    unittest.main()
