# SPDX-License-Identifier: GPL-2.0-or-later
"""The hostile clients of exporter-hostile.t: PORT and PID of an exporter with --max-connections 256.

Prints "check good|bad NAME" for each thing checked and "figure NAME: NUMBER" for what was measured.
"""
import re
import select
import socket
import sys
import time

PORT, PID = int(sys.argv[1]), int(sys.argv[2])
LIMIT = 256
GET = b"GET /metrics HTTP/1.1\r\nHost: a\r\nAccept-Encoding: gzip\r\n\r\n"
worst_rss = 0


def check(good, name):
    print("check", "good" if good else "bad", name, flush=True)


def figure(name, value):
    print(f"figure {name}: {value}", flush=True)


def connect(receive=None):
    s = socket.socket()
    if receive:
        s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive)
    s.settimeout(60)
    s.connect(("127.0.0.1", PORT))
    return s


def rss():
    """Resident, but for ihod's maps: the kernel has them once, whoever looks at them."""
    global worst_rss
    kib, is_map = 0, False
    with open(f"/proc/{PID}/smaps", encoding="ascii") as f:
        for line in f:
            if re.match("[0-9a-f]+-", line):
                is_map = "bpf-map" in line
            elif line.startswith("Rss:") and not is_map:
                kib += int(line.split()[1])
    worst_rss = max(worst_rss, kib)
    return kib


def read_all(s):
    got = b""
    try:
        while True:
            piece = s.recv(65536)
            if not piece:
                return got
            got += piece
    except OSError:
        return got


def read_head(s):
    """Up to the end of an answer's header; what came, if the other side hung up before."""
    got = b""
    try:
        while b"\r\n\r\n" not in got:
            piece = s.recv(65536)
            if not piece:
                break
            got += piece
    except OSError:
        pass
    return got


def ask(path=b"/metrics"):
    """A request as Prometheus makes it: the whole answer and the seconds that it took."""
    begin = time.monotonic()
    s = connect()
    s.sendall(b"GET " + path + b" HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    got = read_all(s)
    s.close()
    return got, time.monotonic() - begin


def is_scrape(got):
    head, _, body = got.partition(b"\r\n\r\n")
    length = re.search(rb"Content-Length: (\d+)", head)
    return head.startswith(b"HTTP/1.1 200 ") and length and int(length.group(1)) == len(body) and b"\niho_up 1\n" in body


def still_answers(when):
    slowest = 0
    good = True
    for _ in range(5):
        got, took = ask()
        good = good and bool(is_scrape(got))
        slowest = max(slowest, took)
        rss()
    check(good, f"{when}: a scrape is answered")
    figure(f"{when}: slowest of 5 scrapes, ms", round(slowest * 1000, 1))


def value(name):
    got, _ = ask()
    found = re.search(rb"^" + name + rb" (\S+)$", got, re.M)
    return float(found.group(1)) if found else None


def closed(s):
    """Has the other side hung up? What it still had to say is read away."""
    s.setblocking(False)
    try:
        while True:
            if not s.recv(65536):
                return True
    except BlockingIOError:
        return False
    except OSError:
        return True


def wait_closed(sockets, limit):
    end = time.monotonic() + limit
    left = list(sockets)
    while left and time.monotonic() < end:
        select.select(left, [], [], 0.1)
        left = [s for s in left if not closed(s)]
    return not left


def close_all(sockets):
    for s in sockets:
        s.close()


figure("own resident KiB at the start", rss())
still_answers("nobody else")

# 200 that ask, and do not read: with small buffers the answer stays in the exporter
slow = [connect(2048) for _ in range(200)]
for i, s in enumerate(slow):
    s.sendall(GET if i % 2 else GET.replace(b"Accept-Encoding: gzip\r\n", b""))
    if i % 20 == 0:
        time.sleep(0.05)
still_answers("200 slow readers")

# 200 that send a byte now and then: a header ends within 10 s or the connection does
close_all(slow)
slow = [connect() for _ in range(200)]
end = time.monotonic() + 60
first = time.monotonic()
while time.monotonic() < end and not closed(slow[0]):
    for s in slow:
        try:
            s.setblocking(True)
            s.sendall(b"G" if s is slow[0] else b"X")
        except OSError:
            pass
    time.sleep(0.5)
    rss()
figure("a header that comes byte by byte: cut after s", round(time.monotonic() - first, 1))
check(wait_closed(slow, 30), "200 slow writers: each is cut, though it goes on sending")
still_answers("200 slow writers")
close_all(slow)

# Broken requests: an answer of 4xx or 5xx, or none, but not a second of trouble
broken = [b"\r\n" * 1000, b"\0" * 4000 + b"\r\n\r\n", b"GET\r\n\r\n", b"GET / HTTP/1.1\r\n\r\n", b"\xff\xfe" * 500 + b"\r\n\r\n",
          b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: -5\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nX\r\n\r\n",
          b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 99999999999999999999\r\n\r\n",
          b"GET / HTTP/9.9\r\nHost: a\r\n\r\n", b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 200,
          b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"]
fine = True
for data in broken:
    s = connect()
    s.sendall(data)
    s.shutdown(socket.SHUT_WR)
    got = read_head(s)
    s.close()
    if got and not re.match(rb"HTTP/1\.[01] [45]\d\d ", got):
        print(f"{data[:40]!r} was answered {got[:40]!r}")
        fine = False
check(fine, "broken requests: refused or cut")
still_answers("broken requests")

# Lines without an end: 414, 431, or the end
long = [b"GET /" + b"a" * 9000 + b" HTTP/1.1\r\nHost: a\r\n\r\n", b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 9000 + b"\r\n\r\n",
        b"GET /" + b"a" * 100000, b"GET / HTTP/1.1\r\nHost: a\r\nX: " + b"a" * 100000,
        b"GET / HTTP/1.1\r\nHost: a\r\n" + b"X: y\r\n" * 20000]
for data, want in zip(long, [b"414", b"431", b"414", b"431", b"431"]):
    s = connect()
    try:
        s.sendall(data)
    except OSError:
        pass
    got = read_head(s)
    s.close()
    check(not got or got[9:12] == want, f"{len(data)} bytes that begin {data[:10]!r}: {want.decode()}, or cut")

# More connections than there may be: the oldest go, and are counted
before = value(b"iho_exporter_connections_evicted_total")
flood = [connect() for _ in range(3 * LIMIT)]
still_answers("a flood of connections")
check(closed(flood[0]), "a flood of connections: the oldest was cut")
check(not closed(flood[-1]), "a flood of connections: the newest was not")
end = time.monotonic() + 30
while value(b"iho_exporter_connections_evicted_total") - before < 2 * LIMIT and time.monotonic() < end:
    time.sleep(0.1)  # until a scrape is younger than the flood: --min-interval
check(time.monotonic() < end, "a flood of connections: those that were cut are counted")
check(value(b"iho_exporter_connections") <= LIMIT, "a flood of connections: no more than may be are open")
close_all(flood)

# Half-open: they ask, and are gone or silent
half = []
for i in range(150):
    s = connect()
    s.sendall(GET if i % 3 else GET[:20])
    if i % 2:
        s.shutdown(socket.SHUT_WR)
    half.append(s)
still_answers("half-open connections")
for s in half:
    s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
close_all(half)
still_answers("after 150 resets")

# Requests as fast as can be, in one connection each: one rendering for all of a moment
requests = 0
begin = time.monotonic()
many = [connect() for _ in range(50)]
for _ in range(20):
    for s in many:
        s.sendall(b"GET /metrics HTTP/1.1\r\nHost: a\r\n\r\n")
    for s in many:
        s.setblocking(True)
        s.settimeout(60)
        got = b""
        while b"\r\n\r\n" not in got:
            got += s.recv(65536)
        head, _, body = got.partition(b"\r\n\r\n")
        need = int(re.search(rb"Content-Length: (\d+)", head).group(1))
        while len(body) < need:
            body += s.recv(65536)
        requests += 1
figure("1000 scrapes over 50 connections, s", round(time.monotonic() - begin, 2))
check(requests == 1000, "a flood of requests: all are answered")
close_all(many)
rss()
figure("own resident KiB at the most", worst_rss)
figure("own resident KiB at the end", rss())
