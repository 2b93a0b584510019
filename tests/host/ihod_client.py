#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Clients of ihod that ask for what iho-top never would: ihod_client.py SOCKET CASE [ARGUMENT...]

Each case prints "yes", or what is not as it should be. Nothing of ihod's code is used here.
"""
import array
import ctypes
import errno
import fcntl
import json
import mmap
import os
import socket
import sys
import time

PATIENCE = 60  # s, for what must come at once
N_FDS = 5
LEDGER = 4


class Client:
    def __init__(self, path):
        self.s = socket.socket(socket.AF_UNIX)
        self.s.settimeout(PATIENCE)
        self.s.connect(path)
        self.buf = b""
        self.fds = []

    def send(self, data):
        self.s.sendall(data)

    def ask(self, method, ident=1):
        try:
            self.send(json.dumps({"id": ident, "method": method}).encode() + b"\n")
        except BrokenPipeError:
            pass  # it is closed; why is there to be read
        return self.answer()

    def answer(self):
        """The next one; None at the end of the connection."""
        while b"\n" not in self.buf:
            try:
                data, anc, _, _ = self.s.recvmsg(65536, socket.CMSG_SPACE(16 * 4))
            except ConnectionResetError:
                return None
            for level, kind, value in anc:
                if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
                    a = array.array("i")
                    a.frombytes(value[: len(value) // 4 * 4])
                    self.fds += a
            if not data:
                return None
            self.buf += data
        line, self.buf = self.buf.split(b"\n", 1)
        return json.loads(line)

    def ended(self):
        return self.answer() is None


def code(answer):
    return answer and answer.get("error", {}).get("code")


def check(*pairs):
    """Each pair is what there is and what there should be."""
    for i, (got, want) in enumerate(pairs):
        if got != want:
            print(f"{i}: {str(got)[:500]} instead of {want}")
            sys.exit(0)
    print("yes")


def case_ask(path, method):
    print(json.dumps(Client(path).ask(method)))


def case_malformed(path):
    """None of these ends the connection, and each gets an answer of its own."""
    syntax = [
        b"", b" ", b"{", b"}", b"hello", b"null", b"1", b'"hello"', b"[]", b'["hello"]', b"{}",
        b'{"id":1}', b'{"id":1,"method":1}', b'{"id":1,"method":null}', b'{"id":1,"method":["hello"]}',
        b'{"id":1.5,"method":"hello"}', b'{"id":null,"method":"hello"}', b'{"id":true,"method":"hello"}',
        b'{"id":{},"method":"hello"}', b'{"id":[1],"method":"hello"}',
        b'{"id":123456789012345678901234567890,"method":"hello"}',
        b'{"id":1,"method":"hello"} x', b'{"id":1,"method":"hello"}{"id":2,"method":"hello"}',
        b'{"id":1,"id":2,"method":"hello"}', b'{"id":1,"method":"hello",}', b"{'id':1}",
        b'{"id":1,"method":"he\0llo"}', b'\0{"id":1,"method":"hello"}', b"\0", b"\0" * 1000,
        b'{"id":1,"method":"hel\\u0000lo"}', b'{"id":1,"method":"\xff\xfe"}', b"\xff\xfe", b"\xc3",
        b'{"id":1,"method":"\\ud800"}', b"[" * 4000, b'{"a":' * 800, b'{"id":' + b"[" * 3000 + b"]" * 1000,
        b'{"id":1,"method":"hello"\r}\r{', b"GET / HTTP/1.1",
    ]
    c = Client(path)
    pairs = []
    for line in syntax:
        c.send(line + b"\n")
        a = c.answer()
        pairs.append(((line[:60], code(a), bool(a["error"]["message"])), (line[:60], "syntax", True)))
    unknown = ["", "Hello", "hello ", "no such", "x" * 3000, "directory\n", "../maps", "%s%n"]
    for m in unknown:
        a = c.ask(m, 7)
        pairs.append(((m[:60], code(a), a["id"]), (m[:60], "unknown-method", 7)))
    for ident in (0, -5, 2**63 - 1, -(2**63), "", "abc", "\u00e4\u0000"[:1], "x" * 3000):
        pairs.append((c.ask("hello", ident)["id"], ident))
    c.send(b'{"method":"hello"}\n')
    a = c.answer()
    pairs.append(((a["id"], "result" in a), (None, True)))
    c.send(b' {"method": "hello", "id": 3, "more": {"a": [1]}} \r\n')
    pairs.append((c.answer()["id"], 3))
    check(*pairs)


def case_lengths(path):
    """4096 bytes with the end of the line; one more ends the connection, with or without an end."""
    line = b'{"id":1,"method":"hello"}'
    c = Client(path)
    c.send(line + b" " * (4095 - len(line)) + b"\n")
    pairs = [(c.answer()["id"], 1)]
    c.send(line + b" " * (4096 - len(line)) + b"\n")
    pairs += [(code(c.answer()), "too-long"), (c.ended(), True)]
    for data in (b" " * 4096, b"x" * 100000):
        c = Client(path)
        try:
            c.send(data)
        except OSError as e:
            pairs.append((e.errno in (errno.EPIPE, errno.ECONNRESET), True))
        pairs += [(code(c.answer()), "too-long"), (c.ended(), True)]
    check(*pairs)


def case_pieces(path):
    """Requests in one write, in single bytes, and with nothing to follow: as many answers, in order."""
    methods = "hello names directory features migrations status maps nothing hello".split()
    data = b"".join(json.dumps({"id": i, "method": m}).encode() + b"\n" for i, m in enumerate(methods))
    c = Client(path)
    c.send(data)
    pairs = [([c.answer()["id"] for _ in methods], list(range(len(methods)))), (len(c.fds), N_FDS)]
    c = Client(path)
    for i in range(len(data)):
        c.send(data[i : i + 1])
    pairs.append(([c.answer()["id"] for _ in methods], list(range(len(methods)))))
    c = Client(path)
    c.send(data)
    c.s.shutdown(socket.SHUT_WR)
    pairs += [([c.answer()["id"] for _ in methods], list(range(len(methods)))), (c.ended(), True)]
    check(*pairs)


def case_rate(path):
    """A thousand at once: the first hundred are answered, of the others most are not."""
    n = 1000
    c = Client(path)
    c.s.settimeout(0)
    data = b"".join(b'{"id":%d,"method":"hello"}\n' % i for i in range(n))
    answers, at, end = [], 0, time.time() + PATIENCE
    while len(answers) < n and time.time() < end:
        try:
            at += c.s.send(data[at:])
        except BlockingIOError:
            pass
        try:
            answers.append(c.answer())
        except BlockingIOError:
            pass
    c.s.settimeout(PATIENCE)
    good = [a for a in answers if "result" in a]
    check(
        (len(answers), n),
        (all("result" in a for a in answers[:100]), True),
        ({code(a) for a in answers} - {None}, {"rate"}),
        ([a["id"] for a in good] == sorted(a["id"] for a in good), True),
        (100 <= len(good) < n, True),
    )


def fill(path, most):
    """Connects until it is refused: the clients, and the refusal."""
    clients = []
    for _ in range(most):
        c = Client(path)
        a = c.ask("hello")
        if code(a):
            return clients, a, c.ended()
        clients.append(c)
    return clients, None, False


def case_clients(path):
    first = Client(path)
    others = first.ask("status")["result"]["clients"] - 1
    clients, refusal, ended = fill(path, 100)
    pairs = [(code(refusal), "clients"), (ended, True), (others + 1 + len(clients), 64)]
    pairs.append((first.ask("status")["result"]["clients"], 64))
    pairs.append((all("result" in c.ask("hello") for c in clients), True))
    for c in clients:
        c.s.close()
    end = time.time() + PATIENCE
    while first.ask("status")["result"]["clients"] > others + 1 and time.time() < end:
        time.sleep(0.1)
    pairs.append((first.ask("status")["result"]["clients"], others + 1))
    check(*pairs)


def case_user_clients(path, already):
    """Of one user; `already` are its own."""
    clients, refusal, ended = fill(path, 100)
    check((code(refusal), "clients"), ("one user" in refusal["error"]["message"], True), (ended, True),
          (len(clients) + int(already), 16))


def case_forbidden(path):
    c = Client(path)
    check((code(c.ask("maps")), "forbidden"), (c.ended(), True), (c.fds, []))


def case_half_line(path):
    """The rest of a line is due after a while, even where the bytes go on; others do not wait."""
    c, slow, other = Client(path), Client(path), Client(path)
    c.send(b'{"id":1,')
    slow.send(b'{"id":1,')
    begin = time.time()
    slow.s.setblocking(False)
    answered = alive = 0
    while time.time() < begin + PATIENCE:
        answered += "result" in other.ask("hello")
        try:
            slow.send(b" ")
            alive = time.time() - begin
        except OSError:
            break
        time.sleep(0.2)
    check((c.ended(), True), (answered > 5, True), (alive < PATIENCE - 5, True))


def case_never_reads(path):
    """Asks for much and reads nothing: it is let go after a while; others do not wait."""
    c, other = Client(path), Client(path)
    c.s.setblocking(False)
    request = b'{"id":1,"method":"names"}\n'
    begin, answered, ended = time.time(), 0, False
    while not ended and time.time() < begin + PATIENCE:
        for _ in range(100):
            try:
                c.s.send(request)
            except BlockingIOError:
                break
            except OSError:
                ended = True
                break
        answered += "result" in other.ask("directory")
        time.sleep(0.1)
    check((ended, True), (answered > 5, True))


def case_fd_hog(path):
    """Descriptors that nobody takes are counted against ihod: no client gets more than one set."""
    hogs = [Client(path) for _ in range(8)]
    for h in hogs:
        for i in range(60):
            h.send(b'{"id":%d,"method":"maps"}\n' % i)
    time.sleep(1)
    other = Client(path)
    pairs = [("result" in other.ask("maps"), True), (len(other.fds), N_FDS)]
    pairs.append(("result" in other.ask("maps"), True))
    for h in hogs:
        codes = [code(h.answer()) for i in range(60)]
        pairs += [(codes[0], None), ("busy" in codes, True), (set(codes) <= {None, "busy"}, True)]
        pairs.append(("result" in h.ask("maps"), True))
        pairs.append(("result" in h.ask("hello"), True))
    check(*pairs)


def attempt(f):
    try:
        f()
        return "done"
    except (OSError, ValueError) as e:
        return errno.errorcode.get(getattr(e, "errno", 0), str(e))


class MapElem(ctypes.Structure):
    _fields_ = [("fd", ctypes.c_uint32), ("key", ctypes.c_uint64), ("value", ctypes.c_uint64), ("flags", ctypes.c_uint64)]


libc = ctypes.CDLL(None, use_errno=True)


def bpf(cmd, attr):
    if libc.syscall(321, cmd, ctypes.byref(attr), ctypes.sizeof(attr)) < 0:
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))


def update(fd):
    key, value = ctypes.create_string_buffer(4), ctypes.create_string_buffer(1 << 20)
    bpf(2, MapElem(fd, ctypes.addressof(key), ctypes.addressof(value), 0))  # BPF_MAP_UPDATE_ELEM


def make_writable(fd):
    """What is mapped to be read does not become writable."""
    libc.mmap.restype = ctypes.c_void_p
    libc.mmap.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int, ctypes.c_int, ctypes.c_int, ctypes.c_long]
    libc.mprotect.argtypes = [ctypes.c_void_p, ctypes.c_size_t, ctypes.c_int]
    p = libc.mmap(None, 4096, mmap.PROT_READ, mmap.MAP_SHARED, fd, 0)
    if p == ctypes.c_void_p(-1).value:
        raise ValueError("cannot be read")
    if libc.mprotect(p, 4096, mmap.PROT_READ | mmap.PROT_WRITE):
        e = ctypes.get_errno()
        raise OSError(e, os.strerror(e))


def reopened(fd):
    again = os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
    try:
        os.pwrite(again, b"x", 0)
    finally:
        os.close(again)


def case_read_only(path):
    c = Client(path)
    pairs = [("result" in c.ask("maps"), True), (len(c.fds), N_FDS)]
    no = ("EPERM", "EACCES")
    for fd in c.fds:
        m = mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ)
        before = m[:256] if fd == c.fds[LEDGER] else None
        pairs.append((attempt(lambda: mmap.mmap(fd, 4096, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)) in no, True))
        pairs.append((attempt(lambda: make_writable(fd)) in no, True))
        if fd != c.fds[LEDGER]:
            pairs.append((attempt(lambda: update(fd)) in no, True))
            continue
        size = os.fstat(fd).st_size
        for f in (
            lambda: os.write(fd, b"x"),
            lambda: os.pwrite(fd, b"x", 0),
            lambda: os.ftruncate(fd, 0),
            lambda: os.ftruncate(fd, 2 * size),
            lambda: os.posix_fallocate(fd, size, 4096),
            lambda: reopened(fd),
            lambda: fcntl.fcntl(fd, 1033, 8),  # F_ADD_SEALS, F_SEAL_WRITE
        ):
            pairs.append((attempt(f) in no, True))
        pairs.append((libc.fallocate(fd, 3, ctypes.c_long(0), ctypes.c_long(4096)), -1))  # punch a hole
        pairs.append((m[:256] == before and os.fstat(fd).st_size == size, True))
    check(*pairs)


if __name__ == "__main__":
    globals()["case_" + sys.argv[2]](sys.argv[1], *sys.argv[3:])
