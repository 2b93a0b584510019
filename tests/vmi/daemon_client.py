#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients that ask ihod about guests: daemon_client.py SOCKET CASE [ARGUMENT...]

Nothing of the programs' code is used here. Cases of the last kind print "yes", or what is not as it should be.
"""
import json
import socket
import sys
import time

PATIENCE = 120  # s, for what comes soon
# ends by itself after its time only
ENDLESS = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"
LARGE = (
    "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n LIMIT 100000) "
    "SELECT x, 'a text of which there are many ' || x FROM n"
)


class Client:
    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(PATIENCE)
        self.s.connect(path)
        self.f = self.s.makefile("rb")

    def send(self, **request):
        self.s.sendall(json.dumps(request).encode() + b"\n")

    def answer(self):
        line = self.f.readline()
        return json.loads(line) if line else None

    def last(self, ident):
        """Lines of one statement until its result or error."""
        lines = []
        while True:
            a = self.answer()
            if a is None:
                return lines + [{"error": {"code": "end of connection"}}]
            if a["id"] != ident:
                continue
            lines.append(a)
            if "result" in a or "error" in a:
                return lines

    def query(self, ident, vm, sql, **more):
        self.send(id=ident, method="query", vm=vm, sql=sql, **more)
        return self.last(ident)


def code(lines):
    return lines[-1].get("error", {}).get("code", "ok")


def expect(what, got, want):
    if got != want:
        sys.exit("%s: %r, not %r" % (what, got, want))


def status(path):
    c = Client(path)
    c.send(id=1, method="status")
    a = c.answer()
    print(json.dumps(a))
    return a["result"]["introspection"]


def query(path, vm, sql):
    for a in Client(path).query(1, vm, sql):
        print(json.dumps(a))


def subscribe(path, vm, interval, sql):
    c = Client(path)
    c.s.settimeout(None)
    c.send(id=1, method="subscribe", vm=vm, sql=sql, interval=float(interval))
    for a in iter(c.answer, None):
        print(json.dumps(a), flush=True)


def limits(path, vm):
    c = Client(path)
    lines = c.query(1, vm, LARGE, limits={"rows": 10})
    expect("rows", sum(len(a["rows"]) for a in lines if "rows" in a), 10)
    expect("cut", lines[-1]["result"]["cut"], True)
    lines = c.query(2, vm, LARGE, limits={"bytes": 1000})
    expect("few", 10 < sum(len(a["rows"]) for a in lines if "rows" in a) < 40, True)
    expect("time", code(c.query(3, vm, ENDLESS, limits={"ms": 200})), "time")
    lines = c.query(4, vm, LARGE)
    expect("all", sum(len(a["rows"]) for a in lines if "rows" in a), 100000)
    expect("in pieces", len(lines) > 20, True)
    for i, wrong in enumerate(
        [
            {"sql": 1},
            {"sql": "SELECT 1", "vm": 1},
            {"sql": "SELECT 1", "vm": "x" * 300},
            {"sql": "SELECT 1", "vm": vm, "limits": {"rows": 0}},
            {"sql": "SELECT 1", "vm": vm, "limits": []},
        ]
    ):
        c.send(id=10 + i, method="query", **wrong)
        expect(str(wrong)[:60], code(c.last(10 + i)), "request")
    for i, interval in enumerate([None, 0, -1, 1e9, "1"]):
        c.send(id=20 + i, method="subscribe", vm=vm, sql="SELECT 1", interval=interval)
        expect("interval %s" % interval, code(c.last(20 + i)), "request")
    c.send(id=30, method="subscribe", vm=vm, sql=LARGE, interval=1)
    expect("too large to be watched", code(c.last(30)), "limit")
    wide = "replace(hex(zeroblob(125000)), '0', 'x')"
    c.send(id=31, method="subscribe", vm=vm, sql="SELECT " + ", ".join([wide] * 8), interval=1)
    expect("a row larger than a line", code(c.last(31)), "limit")
    expect("others of that guest", code(c.query(32, vm, "SELECT 1")), "ok")


def crowd(path, vm):
    c = Client(path)
    for i in range(5):
        c.send(id=i, method="query", vm=vm, sql=ENDLESS)
    expect("the fifth", code(c.last(4)), "limit")
    for i in range(4):
        c.send(id="c%d" % i, method="cancel", of=i)
    left = set(range(4))
    while left:
        a = c.answer()
        # the one that runs may have said its columns already
        if a["id"] in left and ("error" in a or "result" in a):
            expect("cancelled", code([a]), "cancelled")
            left.remove(a["id"])


def cancel(path, vm):
    c = Client(path)
    c.send(id=1, method="query", vm=vm, sql=ENDLESS)
    c.send(id=2, method="query", vm=vm, sql=ENDLESS)
    c.send(id="a", method="cancel", of=2)
    expect("waiting", code(c.last(2)), "cancelled")
    c.send(id="b", method="cancel", of=1)
    expect("running", code(c.last(1)), "cancelled")
    c.send(id="x", method="cancel", of=77)
    expect("no such", c.last("x")[-1]["result"]["found"], False)
    expect("another", code(c.query(3, vm, "SELECT 1")), "ok")


def ids(path, vm):
    c = Client(path)
    c.send(id=1, method="query", vm=vm, sql=ENDLESS)
    c.send(id=1, method="query", vm=vm, sql="SELECT 1")
    expect("twice", code(c.last(1)), "request")
    c.send(id=2, method="cancel", of=1)
    expect("the first", code(c.last(1)), "cancelled")
    c.send(method="query", vm=vm, sql="SELECT 1")
    expect("none", code(c.last(None)), "request")
    lines = c.query("\"\\\u00e4\n", vm, "SELECT 1 one")
    expect("text", lines[0]["columns"], ["one"])


def leave(path, vm):
    for sql in ENDLESS, LARGE:
        c = Client(path)
        c.send(id=1, method="query", vm=vm, sql=sql)
        time.sleep(0.3)
        c.f.close()
        c.s.close()
    idle = Client(path)
    idle.send(id=1, method="query", vm=vm, sql=LARGE.replace("100000", "900000"))
    expect("after them", code(Client(path).query(1, vm, "SELECT 1")), "ok")
    end = time.monotonic() + PATIENCE
    while status_quiet(path)["statements"] and time.monotonic() < end:
        time.sleep(0.05)
    expect("none is left", status_quiet(path)["statements"], 0)


def status_quiet(path):
    c = Client(path)
    c.send(id=1, method="status")
    return c.answer()["result"]["introspection"]


def results(path, vm):
    c = Client(path)
    c.send(id=1, method="subscribe", vm=vm, sql="SELECT 7 n", interval=0.1, results=True)
    seqs = []
    while len(seqs) < 3:
        a = c.answer()
        if "rows" in a:
            expect("rows", a["rows"], [[7]])
        elif "event" in a:
            seqs.append(a["seq"])
    expect("looks", seqs, [0, 1, 2])
    c.send(id=2, method="cancel", of=1)
    expect("cancelled", code(c.last(1)), "cancelled")


if __name__ == "__main__":
    case = globals()[sys.argv[2]]
    case(sys.argv[1], *sys.argv[3:])
    if sys.argv[2] not in ("status", "query", "subscribe"):
        print("yes")
