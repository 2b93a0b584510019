# SPDX-License-Identifier: GPL-2.0-or-later
"""A picture of the live page: page_shot.py FILE URL|DOCUMENTS [WIDTH HEIGHT [dark|light]]

URL: of a page that somebody serves, after a minute, or after what IHO_SHOT_S says. DOCUMENTS: a file with
what /metrics.json said at one time and the next, as tests/lab/scenario/page.sh records it.
"""
import json
import os
import struct
import sys
import time
import zlib

from browser import Browser, poll
from page_world import Server


def smaller(png):
    """The same picture in a third less: flat areas pack best as they are, without a PNG filter."""
    at, head, packed = 8, b"", b""
    while at < len(png):
        size, kind = struct.unpack(">I4s", png[at : at + 8])
        body = png[at + 8 : at + 8 + size]
        head = body if kind == b"IHDR" else head
        packed += body if kind == b"IDAT" else b""
        at += 12 + size
    width, height, depth, colour = struct.unpack(">IIBB", head[:10])
    if (depth, colour) != (8, 2):
        return png
    raw, row = zlib.decompress(packed), 1 + width * 3
    plain, above = [], bytearray(width * 3)
    for y in range(height):
        above = unfilter(raw[y * row], bytearray(raw[y * row + 1 : (y + 1) * row]), above)
        plain.append(b"\0" + bytes(above))

    def chunk(kind, body):
        return (
            struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
        )

    data = zlib.compress(b"".join(plain), 9)
    return png[:8] + chunk(b"IHDR", head) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def unfilter(kind, line, above):
    """One line of a PNG of 3 bytes a pixel, as section 9.2 of its specification says."""
    for x, byte in enumerate(line):
        a, c = (line[x - 3], above[x - 3]) if x >= 3 else (0, 0)
        b = above[x]
        if kind == 4:
            near = min((abs(b - c), 0, a), (abs(a - c), 1, b), (abs(a + b - 2 * c), 2, c))[2]
        else:
            near = (0, a, b, (a + b) // 2)[kind]
        line[x] = (byte + near) & 255
    return line


def watch(tab):
    """A page that is served by somebody else."""
    poll("numbers", lambda: tab.js("document.documentElement.dataset.polls >= 2"))
    time.sleep(float(os.environ.get("IHO_SHOT_S", "60")))


def split(text):
    """JSON documents that follow each other."""
    decoder, at = json.JSONDecoder(), 0
    while text[at:].strip():
        at += len(text[at:]) - len(text[at:].lstrip())
        document, at = decoder.raw_decode(text, at)
        yield document


def replay(browser, documents, *look):
    """The page over recorded documents, which it asks for one after the other."""
    build = os.environ.get("IHO_BUILD", "build")
    with open(f"{build}/page.html", "rb") as f, open(f"{build}/page.csp", encoding="ascii") as g:
        server = Server(f.read(), g.read())
    tab = None
    for document in documents:
        server.body = json.dumps(document).encode()
        if not tab:
            tab = browser.page(f"http://127.0.0.1:{server.port}/", *look)
        shown = (
            "document.dispatchEvent(new Event('visibilitychange')), "
            f"document.documentElement.dataset.time == {document['time']}"
        )
        poll("the next numbers", lambda shown=shown: tab.js(shown))
    tab.js(
        "{ const span = document.getElementById('pick-span'); span.value = '120'; "
        "span.dispatchEvent(new Event('change', { bubbles: true })); }"
    )
    time.sleep(1)
    return tab, server


def main():
    path, source, *rest = sys.argv[1:]
    look = (*map(int, rest[:2] or (1280, 800)), rest[2] if len(rest) > 2 else "dark")
    browser, server = Browser(), None
    try:
        if "://" in source:
            tab = browser.page(source, *look)
            watch(tab)
        else:
            with open(source, encoding="utf-8") as f:
                tab, server = replay(browser, split(f.read()), *look)
        with open(path, "wb") as f:
            f.write(smaller(tab.screenshot()))
        print(f"{path}: {os.path.getsize(path)} bytes; errors: {tab.errors}")
    finally:
        browser.end()
        if server:
            server.stop()


main()
