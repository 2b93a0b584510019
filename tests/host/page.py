# SPDX-License-Identifier: GPL-2.0-or-later
"""The live page in a real browser, as TAP: page.py BUILD [URL VM]

BUILD/page.html is served with scripted numbers (page_world.py), so what must stand on it is written
here. Then, at URL, a real exporter answers, and what stands on its page is computed once more from the
same documents that the page got.
"""
import json
import re
import sys
import time

from browser import Browser, Failed, poll
from page_world import HOSTILE, Server, Vcpu, Vm, World

with open("tests/host/page_probe.js", encoding="utf-8") as probe:
    PROBE = probe.read()
count = 0


def ok(condition, name, *why):
    global count
    count += 1
    print(f"{'ok' if condition else 'not ok'} {count} - {name}", flush=True)
    for w in () if condition else why:
        for out in (sys.stdout, sys.stderr):
            print(f"# {name}: {w}", file=out, flush=True)
    return condition


def same(got, want, name):
    return ok(got == want, name, f"got: {got!r}", f"want: {want!r}")


class Page:
    """The tab and the world behind it, one step of which is one new document."""

    def __init__(self, browser, server, world, **how):
        self.server, self.world = server, world
        server.say(world)
        self.tab = browser.page(f"http://127.0.0.1:{server.port}/", script=PROBE, **how)
        poll("the first document", lambda: self.data("time") == world.time)

    def data(self, name):
        return self.tab.js(f"Number(document.documentElement.dataset.{name} ?? -1)")

    def look(self):
        """Asks at once, as when a tab is seen again."""
        self.tab.js("document.dispatchEvent(new Event('visibilitychange'))")

    def fetched(self):
        poll(
            f"the document of {self.world.time}",
            lambda: (self.look(), self.data("time") == self.world.time)[1],
        )

    def step(self, n=1):
        for _ in range(n):
            self.world.step()
            self.server.say(self.world)
            self.fetched()

    def rows(self, table="vcpus"):
        return self.tab.js(f"probe.rows('{table}')")

    def row(self, vm, vcpu, table="vcpus"):
        return next((r for r in self.rows(table) if r["vm"] == vm and r.get("vcpu") == vcpu), None)

    def legend(self, chart):
        return self.tab.js(f"probe.legend('{chart}')")

    def pixels(self, chart):
        return self.tab.js(f"probe.canvas('{chart}')")

    def tile(self, name):
        return self.tab.text(f"#tile-{name}")

    def choose(self, picker, value):
        self.tab.choose(f"#{picker}", value)

    def status(self):
        return self.tab.text("#status-text")


def exact_world(splits=True):
    def bill(**states):
        told = (
            "guest kvm qemu halt_poll runnable preempted stopped blocked halted unaccounted".split()
        )
        if not splits:
            told[:2] = ["guest_or_kvm"]
        return {key: states.get(key, 0) for key in told}

    def latency(**by_bucket):
        return [by_bucket.get(f"b{i}", 0) for i in range(18)]

    if not splits:
        return World(
            {"soft": Vm({"0": Vcpu(bill(guest_or_kvm=1.5, halted=0.5), {}, {"KVM_EXIT_IO": 40})})},
            splits=False,
        )
    return World(
        {
            "beta": Vm(
                {
                    "0": Vcpu(
                        bill(guest=1.2, halted=0.8),
                        {f"R{i:02}": 20 * i for i in range(1, 13)},
                        {"KVM_EXIT_MMIO": 20},
                    )
                },
                apicv="inhibited",
                inhibited=("NESTED", "IRQWIN"),
            ),
            "alpha": Vm(
                {
                    "0": Vcpu(
                        bill(guest=1.5, kvm=0.25, qemu=0.05, halted=0.2),
                        {"HLT": 600, "MSR_WRITE": 2400},
                        {"KVM_EXIT_IO": 50},
                        core=5,
                        pinned=1,
                        busy={"mperf": 0.625, "bill": 0.5},
                    ),
                    "1": Vcpu(
                        bill(guest=0.5, kvm=0.5, runnable=0.25, preempted=0.24, halted=0.51),
                        {"HLT": 200},
                        {},
                        core=3,
                        pinned=0,
                    ),
                },
                {"HLT": latency(b3=500, b6=498, b12=2), "MSR_WRITE": latency(b0=2400)},
                interlopers={"task": 0.01, "irq": 0.0005, "softirq": 0.0},
            ),
            HOSTILE: Vm({"0": Vcpu(bill(halted=2), {}, {})}, apicv="unknown"),
        }
    )


def test_numbers(page):
    tab = page.tab
    same(page.row("alpha", "0")["exits"], "unknown", "one document alone makes no rate")
    page.step(3)
    same(
        [page.tile(t) for t in ("vms", "vcpus", "exits", "user", "lost", "cost")],
        ["3", "4", "2,380 /s", "35 /s", "0", "2.25 %"],
        "the tiles: VMs, vCPUs, exits, exits to the VMM, losses, cost",
    )
    same(tab.text("#host"), f"127.0.0.1:{page.server.port}", "the header names the exporter's host")
    same(
        page.row("alpha", "0"),
        {
            "vm": "alpha",
            "vcpu": "0",
            "bill": "",
            "guest": "75.0 %",
            "kvm": "12.5 %",
            "qemu": "2.5 %",
            "halt_poll": "0.0 %",
            "runnable": "0.0 %",
            "preempted": "0.0 %",
            "stopped": "0.0 %",
            "blocked": "0.0 %",
            "halted": "10.0 %",
            "unaccounted": "0.0 %",
            "exits": "1,500",
            "user": "25",
            "core": "5",
            "pinned": "yes",
            "busy": "62.5 % (mperf)",
        },
        "the row of a vCPU, every cell",
    )
    row = page.row("alpha", "1")
    same(
        [
            row[k]
            for k in (
                "guest",
                "kvm",
                "runnable",
                "preempted",
                "halted",
                "exits",
                "user",
                "core",
                "pinned",
                "busy",
            )
        ],
        ["25.0 %", "25.0 %", "12.5 %", "12.0 %", "25.5 %", "100", "0", "3", "no", "unknown"],
        "the row of another",
    )
    row = page.row("beta", "0")
    same(
        [row[k] for k in ("guest", "exits", "core", "pinned", "busy")],
        ["60.0 %", "780", "unknown", "unknown", "unknown"],
        "what is absent is unknown, not 0",
    )
    same(
        page.legend("bill"),
        {
            "guest": "40.0 %",
            "kvm": "9.4 %",
            "qemu": "0.6 %",
            "halt_poll": "0.0 %",
            "runnable": "3.1 %",
            "preempted": "3.0 %",
            "stopped": "0.0 %",
            "blocked": "0.0 %",
            "halted": "43.9 %",
            "unaccounted": "0.0 %",
        },
        "the bill of all VMs; no state that this host cannot tell",
    )
    same(
        page.legend("exits"),
        {
            "MSR_WRITE": "1,200",
            "HLT": "400",
            **{f"R{i:02}": str(10 * i) for i in range(7, 13)},
            "6 other": "210",
        },
        "exits: the eight most frequent reasons, and the sum of the others",
    )
    same(page.legend("user"), {"KVM_EXIT_IO": "25", "KVM_EXIT_MMIO": "10"}, "exits to the VMM")
    same(
        tab.text("#heat-now"),
        "Last interval: half ≤ 512 ns, 99 % ≤ 32.8 µs",
        "quantiles of all exits",
    )
    page.choose("pick-reason", "HLT")
    same(
        tab.text("#heat-now"),
        "Last interval: half ≤ 4.1 µs, 99 % ≤ 32.8 µs",
        "... and of one reason",
    )
    vm = next(r for r in page.rows("vms") if r["vm"] == "beta")
    same(vm["apicv"], "inhibited: IRQWIN, NESTED", "APICv, with why it is inhibited")
    vm = next(r for r in page.rows("vms") if r["vm"] == "alpha")
    same(
        [vm["apicv"], vm["task"], vm["irq"], vm["softirq"]],
        ["on", "5 ms/s; 30 ms", "250 µs/s; 1.5 ms", "0 s/s; 0 s"],
        "interlopers: now, and in total",
    )


def test_drawing(page):
    for chart in ("bill", "exits", "user", "heat"):
        n = page.pixels(chart)["colours"]
        ok(n > 4, f"{chart}: the canvas is drawn on", f"{n} colours")
    guest = page.tab.js("probe.guest()")
    column = page.pixels("bill")["column"]
    share = column.count(guest) / len(column)
    ok(
        abs(share - 0.4) < 0.02 and column[-3] == guest,
        "the area of the guest is 40 % of the height, from the bottom",
        share,
    )
    cells = page.pixels("heat")["column"]
    filled = [
        i for i in range(18) if cells[int(len(cells) * (1 - (i + 0.5) / 18))].split(",")[3] != "0"
    ]
    same(filled, [3, 6, 12], "heat map: cells where exits ended, and only there")
    tab = page.tab
    tab.js("document.getElementById('heat').focus()")
    for _ in range(6):
        tab.press("ArrowDown")
    like = tab.text("#heat-read")
    ok(like.endswith("  2.05 µs to 4.1 µs: 250 /s"), "a cell is read with the arrow keys", like)
    page.choose("pick-reason", "")


def test_update(page):
    vcpu = page.world.vms["alpha"].vcpus["0"]
    vcpu.rate["exits"]["HLT"] = 1000
    vcpu.rate["states"].update(guest=1.1, halted=0.6)
    asked = page.server.paths.count("/metrics.json")
    page.world.step()
    page.server.say(page.world)
    poll("the page to ask by itself", lambda: page.data("time") == page.world.time, 60)
    ok(page.server.paths.count("/metrics.json") > asked, "asks again by itself")
    row = page.row("alpha", "0")
    same(
        [row["exits"], row["guest"], row["halted"], page.tile("exits")],
        ["1,700", "55.0 %", "30.0 %", "2,580 /s"],
        "the numbers follow",
    )
    tab = page.tab
    tab.js("document.getElementById('bill').focus()")
    tab.press("ArrowLeft")
    same(
        [page.legend("bill")["guest"], page.legend("exits")["HLT"]],
        ["40.0 %", "400"],
        "the moment before is read with the arrow keys, on all charts at once",
    )
    tab.js("document.activeElement.blur()")
    same(page.legend("bill")["guest"], "35.0 %", "... and the latest again")


def test_pickers(page):
    page.choose("pick-vm", "=alpha")
    same(
        [(r["vm"], r["vcpu"]) for r in page.rows()],
        [("alpha", "0"), ("alpha", "1")],
        "one VM: its vCPUs alone",
    )
    same([r["vm"] for r in page.rows("vms")], ["alpha"], "... itself alone")
    same(
        [page.legend("bill")["guest"], page.legend("exits"), page.legend("user")],
        ["40.0 %", {"MSR_WRITE": "1,200", "HLT": "600"}, {"KVM_EXIT_IO": "25"}],
        "... its charts, with their past",
    )
    page.choose("pick-vcpu", "=1")
    same(
        [
            [(r["vm"], r["vcpu"]) for r in page.rows()],
            page.legend("bill")["guest"],
            page.legend("exits"),
        ],
        [[("alpha", "1")], "25.0 %", {"HLT": "100"}],
        "one vCPU",
    )
    page.choose("pick-vm", "=beta")
    same(
        page.legend("exits"),
        {**{f"R{i:02}": str(10 * i) for i in range(5, 13)}, "4 other": "100"},
        "another VM",
    )
    page.choose("pick-vm", "")
    page.tab.js("document.getElementById('per-vcpu').click()")
    rows = {r["vm"]: (r["vcpu"], r["guest"], r["exits"], r["pinned"]) for r in page.rows()}
    same(
        rows,
        {
            "alpha": ("all 2", "40.0 %", "1,800", "1 of 2"),
            "beta": ("all 1", "60.0 %", "780", "0 of 1"),
            HOSTILE: ("all 1", "0.0 %", "0", "0 of 1"),
        },
        "the table by VM",
    )
    page.tab.js("document.getElementById('per-vcpu').click()")
    page.tab.js(
        "[...document.querySelectorAll('#vcpus-head button')].find((b) => b.textContent === 'Exits/s').click()"
    )
    same([r["exits"] for r in page.rows()], ["1,700", "780", "100", "0"], "sorted by a column")
    page.tab.js(
        "[...document.querySelectorAll('#vcpus-head button')].find((b) => b.textContent === 'VM').click()"
    )


def test_hostile(page):
    shown = [r["vm"] for r in page.rows()] + [r["vm"] for r in page.rows("vms")]
    options = page.tab.js(
        "[...document.querySelectorAll('#pick-vm option')].map((o) => o.textContent)"
    )
    ok(
        shown.count(HOSTILE) == 2 and HOSTILE in options,
        "a hostile VM name is text",
        shown,
        options,
    )
    page.choose("pick-vm", f"={HOSTILE}")
    same(
        [[r["vm"] for r in page.rows()], HOSTILE in page.tab.text("#bill-scope")],
        [[HOSTILE], True],
        "... and can be picked",
    )
    page.choose("pick-vm", "")
    same(
        page.tab.js("[document.querySelectorAll('img').length, document.title]"),
        [0, f"IHO 127.0.0.1:{page.server.port}"],
        "... and made no element, and ran nothing",
    )


def test_contrast(page, scheme):
    page.tab.scheme(scheme)
    poll(
        f"the {scheme} theme",
        lambda: page.tab.js("document.documentElement.dataset.theme") == scheme,
    )
    c = page.tab.js("probe.contrast()")
    ok((c["body"] < 0.05) == (scheme == "dark"), f"{scheme}, as the system asks", c)
    ok(
        c["worst"][0] >= 4.5 and c["n"] > 60,
        f"{scheme}: text has a contrast of 4.5 and more"
        f" ({c['worst'][0]:.2f} at least, {c['n']} texts)",
        c["worst"],
    )
    ok(
        c["picture"][0] >= 3 and c["pictures"] == 20,
        f"{scheme}: areas and lines one of 3 and more" f" ({c['picture'][0]:.2f} at least)",
        c["picture"],
    )
    ok(page.pixels("bill")["colours"] > 4, f"{scheme}: the charts are drawn")


def test_theme_switch(page):
    page.choose("theme", "light")
    same(
        page.tab.js("document.documentElement.dataset.theme"),
        "light",
        "the switch overrules the system",
    )
    page.tab.js("window.before = 1")
    page.tab.loaded = False
    page.tab.call("Page.reload")
    poll("the page again", lambda: page.tab.loaded)
    same(
        page.tab.js(
            "[window.before ?? 0, document.documentElement.dataset.theme, document.getElementById('theme').value]"
        ),
        [0, "light", "light"],
        "... and is remembered",
    )
    page.choose("theme", "auto")
    poll("numbers", lambda: page.data("time") == page.world.time)
    page.step(4)


def test_phone(page):
    for width, height in ((360, 640), (768, 1024), (1241, 800), (1280, 800)):
        page.tab.size(width, height)
        poll(
            "the charts to fit",
            lambda w=width: (
                page.tab.js("document.querySelector('#bill canvas').getBoundingClientRect().width")
                <= w
                and not page.tab.js("probe.wide()")
            ),
        )
        got = page.tab.js("[document.documentElement.scrollWidth, document.body.scrollWidth]")
        ok(max(got) <= width, f"{width}x{height}: no horizontal scroll", got)
        same(page.tab.js("probe.wide()"), [], f"{width}x{height}: nothing is cut off at the right")
    page.tab.size(360, 640)
    same(page.row("alpha", "0")["exits"], "1,700", "360x640: the same numbers")
    page.tab.size(1280, 800)


def test_keyboard(page):
    page.tab.js("document.activeElement?.blur()")
    seen, hidden = [], []
    for _ in range(150):
        page.tab.press("Tab")
        what, ring = page.tab.js(
            """(() => { const e = document.activeElement, s = getComputedStyle(e);
            return [e === document.body ? '' : e.id || e.dataset.key || e.textContent.slice(0, 40),
                s.outlineStyle !== 'none' && parseFloat(s.outlineWidth) >= 2]; })()"""
        )
        if what == "" or (seen and what == seen[0]):
            break
        seen.append(what)
        if not ring:
            hidden.append(what)
    want = {
        "theme",
        "pick-vm",
        "pick-span",
        "per-vcpu",
        "bill",
        "guest",
        "exits",
        "MSR_WRITE",
        "pick-reason",
        "heat",
        "user",
        "KVM_EXIT_IO",
        "Exits/s",
        "alpha",
        HOSTILE[:40],
        "metrics.json",
    }
    ok(want <= set(seen), "everything is reached with the Tab key", want - set(seen), seen)
    same(hidden, [], "... and seen to have the focus")


def test_switching_off(page):
    guest = page.tab.js("probe.guest()")
    press = "document.querySelector('#bill-legend [data-key=guest]').click()"
    counts = [page.pixels("bill")["column"].count(guest)]
    for _ in range(2):
        page.tab.js(press)
        counts.append(page.pixels("bill")["column"].count(guest))
    ok(
        counts[0] > 0 and counts[1] == 0 and counts[2] == counts[0],
        "a state can be taken out of the picture",
        counts,
    )


def test_losses(page):
    same(
        page.tab.js("document.getElementById('losses').className"), "tile", "no losses, no warning"
    )
    page.world.lost["no_slot"] = 1234
    page.world.lost["storage"] = 1
    page.step()
    same(
        [
            page.tile("lost"),
            page.tile("lost-more"),
            page.tab.js("document.getElementById('losses').className"),
        ],
        ["⚠ 1,235", "1,234 no_slot, 1 storage", "tile bad"],
        "losses: how many, why, and a warning",
    )
    for scheme in ("light", "dark"):
        page.tab.scheme(scheme)
        c = page.tab.js("probe.contrast()")
        ok(c["worst"][0] >= 4.5, f"{scheme}: the warning can be read", c["worst"])


def test_migration(page):
    same(page.tab.js("document.getElementById('migration').hidden"), True, "no migration, no panel")
    vm = page.world.vms["alpha"]
    vm.migration = [
        ("active", {"role": "source"}, 1),
        ("phase", {"phase": "precopy"}, 1),
        ("phase", {"phase": "setup"}, 0),
        ("bytes", {"kind": "total"}, 8 << 30),
        ("bytes", {"kind": "remaining"}, 2 << 30),
        ("bytes", {"kind": "transferred"}, 7 << 30),
        ("dirty_bytes_per_second", {}, 100 << 20),
        ("forecast_seconds", {"bound": "low"}, 20),
        ("forecast_seconds", {"bound": "expected"}, 42),
        ("forecast_seconds", {"bound": "high"}, 95),
        ("downtime_seconds", {"kind": "limit"}, 0.3),
        ("converges", {}, 1),
    ]
    page.step()
    facts = """Object.fromEntries([...document.querySelectorAll('#migrations [data-fact]')]
        .map((e) => [e.dataset.fact, e.textContent]))"""
    same(
        page.tab.js(
            "[document.querySelector('#migrations h3').textContent, document.querySelector('#migrations progress').value]"
        ),
        ["alpha: source, precopy, 75 %", 0.75],
        "a migration: who, where it stands, and a bar",
    )
    same(
        page.tab.js(facts),
        {
            "Remaining": "2 GiB of 8 GiB",
            "Transferred": "7 GiB",
            "Ends in": "42 s (20 s to 1 min 35 s)",
            "Dirtied": "100 MiB/s",
            "Bandwidth": "unknown",
            "Downtime": "limit 300 ms",
            "Iterations": "unknown",
            "Throttle": "unknown",
            "Elapsed": "unknown",
        },
        "... its numbers; what is absent is unknown",
    )
    ok("alpha migrates (precopy)" in page.tab.text("#notice"), "... and a notice at the top")
    vm.migration = [m for m in vm.migration if m[0] not in ("converges", "forecast_seconds")] + [
        ("converges", {}, 0)
    ]
    page.step()
    same(
        page.tab.js(facts)["Ends in"],
        "will not converge as it goes",
        "one that does not converge says so",
    )
    vm.migration = None
    page.step()
    same(
        page.tab.js("document.getElementById('migration').hidden"),
        True,
        "the panel goes when it is over",
    )


def test_counters(page):
    world = page.world
    world.vms["beta"].vcpus["0"].total["exits"]["R05"] = 0
    page.step()
    ok(
        "Counters went back" in page.tab.text("#notice") and "beta" in page.tab.text("#notice"),
        "a counter that went back is said",
        page.tab.text("#notice"),
    )
    same(
        [page.row("beta", "0")["exits"], page.row("alpha", "0")["exits"]],
        ["unknown", "1,700"],
        "... unknown for that vCPU and that moment, known for the others",
    )
    page.step()
    same(page.row("beta", "0")["exits"], "780", "... and known again")
    world.restart()
    page.step()
    ok(
        "ihod was restarted" in page.tab.text("#notice"),
        "a restart of ihod is said",
        page.tab.text("#notice"),
    )
    same(
        [page.row("alpha", "0")["exits"], page.tile("exits")],
        ["unknown", "unknown"],
        "... no rate is made up",
    )
    page.step()
    same(
        [page.row("alpha", "0")["exits"], page.tile("exits")],
        ["1,700", "2,580 /s"],
        "... and they go on",
    )
    world.odd[
        ("iho_vcpu_exits_total", json.dumps({"vm": "alpha", "vcpu": "0", "reason": "HLT"}))
    ] = None
    world.odd[("iho_collector_bpf_cpu_ratio", "{}")] = None
    page.step()
    same(
        [page.row("alpha", "0")["exits"], page.row("alpha", "1")["exits"], page.tile("cost")],
        ["unknown", "100", "≥ 1.00 %"],
        "a value that is no number is unknown",
    )
    world.odd.clear()
    everything = {f["name"] for f in world.document()["families"]}
    world.without = everything - {"iho_up", "iho_vm_info", "iho_vcpu_state_seconds_total"}
    page.step()
    same(
        [
            page.row("alpha", "0")["guest"],
            page.row("alpha", "0")["exits"],
            page.tile("lost"),
            page.tile("cost"),
        ],
        ["55.0 %", "0", "unknown", "unknown"],
        "families that are missing leave the rest alone",
    )
    world.without = set()
    page.step(2)
    vcpu = world.vms["beta"].vcpus.pop("0")
    world.vms["gamma"] = Vm({"0": vcpu})
    del world.vms["beta"]
    page.step()
    same(
        [page.row("beta", "0"), page.row("gamma", "0")["exits"]],
        [None, "unknown"],
        "a VM that is gone, and one that is new",
    )
    page.step()
    same(page.row("gamma", "0")["exits"], "780", "... has rates with its second document")


def test_outages(page):
    server = page.server
    server.stop()
    page.look()
    poll(
        "the message",
        lambda: page.status().startswith("No numbers: the exporter does not answer. Next try in "),
    )
    ok(
        "Numbers are of " in page.status(),
        "exporter down: said, and of when the numbers are",
        page.status(),
    )
    c = page.tab.js("probe.contrast()")
    ok(c["worst"][0] >= 4.5, "... and both can be read", c["worst"])
    before = page.data("failures")
    poll("a second try", lambda: page.data("failures") > before)
    waits = []
    for _ in range(6):
        failures = page.data("failures")
        page.tab.js("document.getElementById('retry').click()")
        poll("a try", lambda f=failures: page.data("failures") > f)
        waits += [int(re.search(r"Next try in (\d+) s", page.status())[1])]
    ok(
        waits == sorted(waits) and waits[-1] == 30 and waits[0] <= 8,
        "tries less and less often, twice a minute at the least",
        waits,
    )
    server.start()
    page.world.step()
    server.say(page.world)
    page.tab.js("document.getElementById('retry').click()")
    poll("recovery", lambda: page.data("time") == page.world.time)
    ok(page.status().startswith("Live"), "exporter back: live again, by a button")
    page.step()
    same(page.row("alpha", "0")["exits"], "1,700", "... with the right numbers")
    for mode, why in (
        ("503", "the exporter refuses: HTTP 503"),
        ("html", "the exporter answers, but not in JSON"),
    ):
        server.mode = mode
        page.look()
        poll(why, lambda w=why: w in page.status())
        ok(True, f"said: {why}")
    server.mode = "good"
    page.step()
    page.world.up = 0
    server.say(page.world)
    page.look()
    poll("the message", lambda: "ihod, which collects, does not" in page.status())
    same(page.row("alpha", "0")["exits"], "1,700", "ihod down: said; the last numbers stay")
    page.world.up = 1
    page.step()
    ok(page.status().startswith("Live"), "... and live again")


def test_hidden(page):
    page.tab.js(
        """Object.defineProperty(document, 'hidden', { configurable: true, value: true });
        document.dispatchEvent(new Event('visibilitychange'))"""
    )
    poll("the pause", lambda: page.status() == "Paused while this tab is hidden")
    time.sleep(0.5)  # one that was under way may still arrive
    asked = len(page.server.paths)
    time.sleep(5)
    same(len(page.server.paths), asked, "a hidden tab asks nothing in more than two periods")
    page.tab.js("delete document.hidden; document.dispatchEvent(new Event('visibilitychange'))")
    poll("a request", lambda: len(page.server.paths) > asked and page.status().startswith("Live"))
    ok(True, "... and at once when it is seen again")


def test_bounds(page):
    got = page.tab.js("probe.bounds()")
    same(
        got,
        {"most": 400, "refused": True, "rings": 50, "agree": True, "times": 50, "order": 50},
        "the history is bounded in length and number, and says what found no room",
    )


def scripted(browser, build):
    with open(f"{build}/page.html", "rb") as f, open(f"{build}/page.csp", encoding="ascii") as g:
        html, policy = f.read(), g.read()
    ok(
        "default-src 'none'" in policy
        and "unsafe" not in policy
        and "\n" not in policy
        and "*" not in policy,
        "the policy is strict, and one line",
        policy,
    )
    server = Server(html, policy)
    page = Page(browser, server, exact_world())
    test_numbers(page)
    test_drawing(page)
    test_update(page)
    test_pickers(page)
    test_hostile(page)
    for scheme in ("light", "dark"):
        test_contrast(page, scheme)
    shifts = page.tab.js("window.shifts.reduce((a, b) => a + b, 0)")
    ok(
        shifts < 0.02,
        f"nothing moves about (layout shift {shifts:.4f})",
        page.tab.js("window.shifts"),
    )
    test_theme_switch(page)
    test_phone(page)
    test_keyboard(page)
    test_switching_off(page)
    test_losses(page)
    test_migration(page)
    test_counters(page)
    test_bounds(page)
    same(page.tab.errors, [], "no error and no warning on the console")
    test_outages(page)
    test_hidden(page)
    left = [
        e
        for e in page.tab.errors
        if not (e.startswith("network: Failed to load resource") and "/metrics.json" in e)
    ]
    same(left, [], "none when the exporter fails, but for the browser's own word on the request")
    same(page.tab.js("window.refused"), [], "nothing that the policy refuses")

    soft = Page(browser, server, exact_world(splits=False))
    soft.step(2)
    words = soft.tab.js(
        "[...document.querySelectorAll('.over:not([hidden])')].map((e) => e.textContent)"
    )
    ok(
        len(words) == 2 and all("reports no exits" in w for w in words),
        "a KVM without exits: said in words",
        words,
    )
    same(
        [
            soft.tile("exits"),
            soft.row("soft", "0")["exits"],
            soft.row("soft", "0")["guest_or_kvm"],
            "kvm" in soft.row("soft", "0"),
            soft.legend("bill")["guest_or_kvm"],
            soft.legend("user"),
        ],
        ["not told", "unknown", "75.0 %", False, "75.0 %", {"KVM_EXIT_IO": "20"}],
        "... what it can tell is shown",
    )
    same(soft.tab.errors, [], "... without an error")

    origin = f"http://127.0.0.1:{server.port}/"
    asked = [
        u
        for t in (page.tab, soft.tab)
        for u in t.requests
        if not u.startswith("data:image/svg+xml,")
    ]
    same(
        sorted(set(asked)),
        [origin, origin + "metrics.json"],
        "every request of the page went to the exporter",
    )
    same(sorted(set(server.paths)), ["/", "/metrics.json"], "... which saw no other")

    # That the eyes of this test are open
    soft.tab.js(
        """{ const s = document.createElement('script'); s.textContent = 'document.title = "owned"'; document.body.append(s);
        document.body.insertAdjacentHTML('beforeend', '<img src="http://127.0.0.1:9/x.png">') }"""
    )
    poll("two refusals", lambda: soft.tab.js("window.refused.length") >= 2)
    same(
        [soft.tab.js("document.title"), bool(soft.tab.errors)],
        [f"IHO 127.0.0.1:{server.port}", True],
        "a script and a picture from elsewhere would be refused, and seen here",
    )
    server.stop()


def added(before, now, family, **labels):
    """By how much the samples of a family with these labels grew, and by which label values."""

    def samples(doc):
        found = next((f["samples"] for f in doc["families"] if f["name"] == family), [])
        return {
            json.dumps(s["labels"], sort_keys=True): s["value"]
            for s in found
            if all(s["labels"].get(k) == v for k, v in labels.items())
        }

    old = samples(before)
    return {k: v - old.get(k, 0) for k, v in samples(now).items()}


def one_decimal(v):
    """What a cell shows of a rate, by the rule of format.js."""
    if v != 0 and v < 0.1:
        return f"{v:.3f}"
    return f"{v:,.0f}" if v == int(v) or v >= 99.95 else f"{v:,.1f}"


def live(browser, url, vm):
    """A real exporter: what stands on the page, computed again from the documents that it was made of."""
    tab = browser.page(url, script=PROBE)
    data = "Number(document.documentElement.dataset.{} ?? -1)"
    poll("five documents", lambda: tab.js(data.format("polls")) >= 5)
    poll("the tenant", lambda: any(r["vm"] == vm for r in tab.js("probe.rows('vcpus')")))
    polls = tab.js(data.format("polls"))
    poll("two more", lambda: tab.js(data.format("polls")) >= polls + 2)
    tab.js(
        """Object.defineProperty(document, 'hidden', { configurable: true, value: true });
        document.dispatchEvent(new Event('visibilitychange'))"""
    )
    shown, last = {}, None
    while shown != last:  # an answer that was under way has arrived
        last = shown
        time.sleep(1)
        shown = tab.js(
            f"({{ time: {data.format('time')}, rows: probe.rows('vcpus'), exits: document.getElementById('tile-exits')"
            ".textContent, user: document.getElementById('tile-user').textContent, legend: "
            f"probe.legend('user') }})"
        )
    documents = []
    while not tab.replies.empty():
        request, at = tab.replies.get()
        if at.endswith("/metrics.json"):
            documents.append(
                json.loads(tab.call("Network.getResponseBody", requestId=request)["body"])
            )
    times = [d["time"] for d in documents]
    ok(
        shown["time"] in times and len(set(times)) >= 5,
        "live: the page shows one of the documents that it asked for",
        times,
    )
    at = times.index(shown["time"])
    now = documents[at]
    before = next(d for d in reversed(documents[:at]) if d["time"] != now["time"])
    dt = now["time"] - before["time"]
    rows = [r for r in shown["rows"] if r["vm"] == vm]
    ok(rows, "live: the tenant has its rows", shown["rows"])
    for row in rows:
        labels = {"vm": vm, "vcpu": row["vcpu"]}
        states = {
            json.loads(k)["state"]: v
            for k, v in added(before, now, "iho_vcpu_state_seconds_total", **labels).items()
        }
        wall = sum(states.values())
        same(
            {k: row[k] for k in states},
            {k: f"{v / wall * 100:.1f} %" for k, v in states.items()},
            f"live: the bill of vCPU {row['vcpu']}, every state",
        )
        user = sum(added(before, now, "iho_vcpu_user_exits_total", **labels).values())
        same(row["user"], one_decimal(user / dt), f"live: exits to the VMM of vCPU {row['vcpu']}")
        ok(user > 0, "live: ... of which there are some", user)
    user = sum(added(before, now, "iho_vcpu_user_exits_total").values())
    same(shown["user"], one_decimal(user / dt) + " /s", "live: exits to the VMM of the host")
    same(tab.errors, [], "live: no error on the console")
    same(tab.js("window.refused"), [], "live: nothing refused by the exporter's policy")
    got = sorted({u for u in tab.requests if not u.startswith("data:image/svg+xml,")})
    same(got, [url, url + "metrics.json"], "live: no request to elsewhere")


def main():
    browser = Browser()
    try:
        scripted(browser, sys.argv[1])
        if len(sys.argv) > 2:
            live(browser, *sys.argv[2:])
    except Failed as e:
        ok(False, "went through", e)
    finally:
        browser.end()
    print(f"1..{count}")


main()
