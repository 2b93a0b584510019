#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""http_hammer.py EXPORTER SECONDS [SEED]: sends mutated requests to a real exporter process.

After every batch the exporter must still answer a good request; at the end it must stop at SIGTERM
with status 0. Built with sanitizers, it would not. The seed is printed, and repeats the mutations.
"""
import os
import random
import re
import signal
import socket
import subprocess
import sys
import time

GOOD = [
    b"GET /metrics HTTP/1.1\r\nHost: a\r\nAccept: application/openmetrics-text;version=1.0.0,*/*;q=0.1\r\n"
    b"Accept-Encoding: gzip\r\n\r\n",
    b"GET /metrics.json HTTP/1.1\r\nHost: a\r\nAuthorization: Basic dXNlcjpwYXNz\r\n\r\n",
    b"HEAD / HTTP/1.0\r\n\r\n",
    b"GET /-/healthy HTTP/1.1\r\nHost: a\r\nConnection: keep-alive\r\n\r\n"
    b"GET /-/ready HTTP/1.1\r\nHost: a\r\n\r\n",
    b"POST /metrics HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc",
    b"GET /metrics HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n",
    b"GET /metrics?a=b&c=%20%00%ff HTTP/1.1\r\nHost: a\r\nCookie: x=y; z\r\nExpect: 100-continue\r\n\r\n",
    b"GET http://host/metrics HTTP/1.1\r\nHost: a\r\nX-Folded: a\r\n b\r\n\r\n",
]
TOKENS = [b"\r\n", b"\n", b"\r", b"\0", b": ", b" ", b"\t", b"%", b"%00", b"?", b"&", b"=", b";q=0.5", b"HTTP/1.1",
          b"HTTP/1.0", b"HTTP/9.9", b"Host: ", b"Content-Length: ", b"Content-Length: -1\r\n",
          b"Content-Length: 18446744073709551616\r\n", b"Transfer-Encoding: chunked\r\n", b"Connection: close\r\n",
          b"Expect: 100-continue\r\n", b"Upgrade: h2c\r\n", b"\xff" * 8, b"a" * 300, b"a" * 9000, b"//", b"*"]


def mutate(rng):
    data = bytearray(rng.choice(GOOD))
    for _ in range(rng.randrange(0, 8)):
        at = rng.randrange(0, len(data) + 1)
        how = rng.randrange(5)
        if how == 0 and at < len(data):
            data[at] ^= 1 << rng.randrange(8)
        elif how == 1:
            data[at:at] = rng.choice(TOKENS)
        elif how == 2:
            del data[at:at + rng.randrange(1, 20)]
        elif how == 3:
            data = data[:at]
        else:
            data += rng.choice(GOOD)
    return bytes(data)


def connect(port):
    s = socket.create_connection(("127.0.0.1", port), timeout=30)
    return s


def throw(port, rng):
    """One connection: some requests in pieces, then some way to end it."""
    try:
        s = connect(port)
        for _ in range(rng.randrange(1, 4)):
            data = mutate(rng)
            cut = rng.randrange(0, len(data) + 1)
            s.sendall(data[:cut])
            s.sendall(data[cut:])
        end = rng.randrange(3)
        if end == 0:
            s.shutdown(socket.SHUT_WR)
        elif end == 1:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
        s.settimeout(0.02)
        s.recv(65536)
        s.close()
    except OSError:
        pass  # it may hang up on us at any moment


def answers(port):
    s = connect(port)
    s.sendall(b"GET /-/healthy HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
    got = b""
    while True:
        piece = s.recv(4096)
        if not piece:
            break
        got += piece
    s.close()
    return got.startswith(b"HTTP/1.1 200 ") and got.endswith(b"The exporter is alive.\n")


def main():
    exporter, seconds = sys.argv[1], float(sys.argv[2])
    seed = int(sys.argv[3]) if len(sys.argv) > 3 else random.randrange(1 << 32)
    rng = random.Random(seed)
    process = subprocess.Popen([exporter, "--listen", "127.0.0.1:0", "--max-connections", "64"],
                               stderr=subprocess.PIPE, text=True, env=dict(os.environ, LC_ALL="C"))
    thrown, good = 0, False
    try:
        line = process.stderr.readline()
        port = int(re.search(r"127\.0\.0\.1:(\d+)/", line).group(1))
        end = time.monotonic() + seconds
        good = True
        while good and time.monotonic() < end:
            for _ in range(50):
                throw(port, rng)
            thrown += 50
            good = process.poll() is None and answers(port)
    except (OSError, AttributeError) as error:
        good = False
        print(f"http_hammer: {error}")
    if process.poll() is None:
        process.send_signal(signal.SIGTERM)
    try:
        rest = process.communicate(timeout=60)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        rest = process.communicate()[1] + "did not end at SIGTERM"
    if not good or process.returncode != 0 or thrown == 0:
        print(rest)
        print(f"http_hammer: FAILED after {thrown} connections, seed {seed}, status {process.returncode}")
        return 1
    print(f"http_hammer: {thrown} connections with broken requests, seed {seed}")
    return 0


sys.exit(main())
