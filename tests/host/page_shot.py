# SPDX-License-Identifier: GPL-2.0-or-later
"""A picture of the live page: page_shot.py [--url URL] FILE [WIDTH HEIGHT [dark|light]]

The numbers are scripted; with --url, those of a page that somebody serves, after a minute, or after what
IHO_SHOT_S says.
"""
import math
import os
import random
import struct
import sys
import time
import zlib

from browser import Browser, poll
from page_world import BOUNDS_NS, INTERVAL, Server, Vcpu, Vm, World


def spread(total, centre, width):
    """Counts by bucket of TOTAL exits that take about 2**CENTRE ns."""
    weight = [math.exp(-(((math.log2(ns) - centre) / width) ** 2)) for ns in BOUNDS_NS + [2**31]]
    return [total * w / sum(weight) for w in weight]


def scripted(random_numbers):
    def vcpu(guest, kvm, core, busy):
        rest = INTERVAL * (1 - guest - kvm)
        return Vcpu(
            {
                "guest": INTERVAL * guest,
                "kvm": INTERVAL * kvm,
                "qemu": 0.04 * rest,
                "halt_poll": 0.08 * rest,
                "halted": 0.8 * rest,
                "runnable": 0.03 * rest,
                "preempted": 0.05 * rest,
                "blocked": 0,
                "stopped": 0,
                "unaccounted": 0,
            },
            {
                "HLT": 900 * (1 - guest),
                "EPT_VIOLATION": 420 * guest,
                "MSR_WRITE": 5200 * guest,
                "EXTERNAL_INTERRUPT": 2100 * guest,
                "EPT_MISCONFIG": 700 * guest,
                "CPUID": 40,
                "IO_INSTRUCTION": 120,
                "PREEMPTION_TIMER": 1300 * guest,
                "PAUSE_INSTRUCTION": 150,
                "MSR_READ": 18,
            },
            {"KVM_EXIT_IO": 120, "KVM_EXIT_MMIO": 310 * guest},
            core,
            1,
            {"mperf": busy},
        )

    def durations(f):
        return {
            "HLT": spread(900 * f, 13, 1.2),
            "MSR_WRITE": spread(9000 * f, 10.6, 0.7),
            "EXTERNAL_INTERRUPT": spread(4000 * f, 11.6, 0.9),
            "EPT_VIOLATION": spread(800 * f, 13.5, 1.3),
            "EPT_MISCONFIG": spread(1400 * f, 15.6, 0.8),
            "IO_INSTRUCTION": spread(240 * f, 17, 1.1),
        }

    busy = {
        "db-primary": (0.82, 0.06),
        "web-01": (0.46, 0.05),
        "web-02": (0.38, 0.04),
        "batch": (0.93, 0.02),
    }
    vms = {}
    for n, (name, (guest, kvm)) in enumerate(busy.items()):
        vms[name] = Vm(
            {str(i): vcpu(guest * (1 - 0.07 * i), kvm, 4 * n + i, guest * 0.9) for i in range(4)},
            durations(guest * 4),
            interlopers={"task": 0.002 * n, "irq": 0.0008, "softirq": 0.0004},
        )
    vms["web-02"].apicv, vms["web-02"].inhibited = "inhibited", ("IRQWIN",)
    return World(vms, noise=lambda: 0.75 + random_numbers.random() / 2)


def vary(world, base, step, random_numbers):
    """What a real host's load does: waves and a burst."""
    for n, (name, vm) in enumerate(world.vms.items()):
        wave = 1 + 0.2 * math.sin(step / (17 + 5 * n)) + 0.06 * (random_numbers.random() - 0.5)
        wave *= 0.45 if name == "batch" and 60 < step % 110 < 85 else 1
        for key, v in vm.vcpus.items():
            states, was = v.rate["states"], base[name, key]
            states["guest"] = min(was["guest"] * wave, INTERVAL * 0.93)
            states["kvm"] = was["kvm"] * wave
            states["halted"] = 0
            states["halted"] = max(INTERVAL - sum(states.values()), 0)


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


def main():
    args = sys.argv[1:]
    url = args.pop(args.index("--url") + 1) if "--url" in args else None
    if url:
        args.remove("--url")
    path, width, height = args[0], *map(int, args[1:3] or (1280, 800))
    scheme = args[3] if len(args) > 3 else "dark"
    build = os.environ.get("IHO_BUILD", "build")
    browser, server = Browser(), None
    try:
        if url:
            tab = browser.page(url, width, height, scheme)
            poll("numbers", lambda: tab.js("document.documentElement.dataset.polls >= 2"))
            time.sleep(float(os.environ.get("IHO_SHOT_S", "60")))
        else:
            with open(f"{build}/page.html", "rb") as f, open(
                f"{build}/page.csp", encoding="ascii"
            ) as g:
                server = Server(f.read(), g.read())
            random_numbers = random.Random(4)
            world = scripted(random_numbers)
            base = {
                (n, k): dict(v.rate["states"])
                for n, vm in world.vms.items()
                for k, v in vm.vcpus.items()
            }
            server.say(world)
            tab = browser.page(f"http://127.0.0.1:{server.port}/", width, height, scheme)
            for step in range(180):
                vary(world, base, step, random_numbers)
                world.step()
                server.say(world)
                poll(
                    "the next numbers",
                    lambda: tab.js(
                        "document.dispatchEvent(new Event('visibilitychange')), "
                        f"document.documentElement.dataset.time == {world.time}"
                    ),
                )
        with open(path, "wb") as f:
            f.write(smaller(tab.screenshot()))
        print(f"{path}: {os.path.getsize(path)} bytes; errors: {tab.errors}")
    finally:
        browser.end()
        if server:
            server.stop()


main()
