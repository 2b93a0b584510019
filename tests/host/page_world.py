# SPDX-License-Identifier: GPL-2.0-or-later
"""A host as a script has it: every number that is put into /metrics.json is known beforehand.

World.step() adds one interval of INTERVAL seconds; World.document() is what an exporter would say.
"""
import contextlib
import http.server
import json
import threading
import time

INTERVAL = 2.0
BOUNDS_NS = [512 << i for i in range(12)] + [1 << i for i in (22, 24, 26, 28, 30)]
HOSTILE = """<img src=x onerror="document.title='owned'">"""
CAUSES = (
    "no_slot storage shared waiters nested read drill_overflow exit_overflow irq_overflow "
    "clock_back"
).split()


class Vcpu:
    """states: seconds; exits, user: counts, all in one interval."""

    def __init__(self, states, exits, user, core=None, pinned=None, busy=None):
        self.rate = {"states": states, "exits": exits, "user": user}
        self.total = {k: dict.fromkeys(v, 0) for k, v in self.rate.items()}
        self.core, self.pinned, self.busy = core, pinned, busy or {}

    def step(self, noise):
        for kind, rates in self.rate.items():
            f = noise() if kind != "states" else 1
            for key, by in rates.items():
                self.total[kind][key] = self.total[kind].get(key, 0) + (
                    by if kind == "states" else round(by * f)
                )


class Vm:
    def __init__(self, vcpus, durations=None, apicv="on", inhibited=(), interlopers=None):
        self.vcpus = vcpus
        self.rate = durations or {}  # reason -> counts by bucket, in one interval
        self.durations = {r: [0] * (len(BOUNDS_NS) + 1) for r in self.rate}
        self.apicv, self.inhibited = apicv, inhibited
        self.interlopers = interlopers or {"task": 0.0, "irq": 0.0, "softirq": 0.0}
        self.stolen = dict.fromkeys(self.interlopers, 0.0)
        self.migration = None

    def step(self, noise):
        for v in self.vcpus.values():
            v.step(noise)
        for reason, counts in self.rate.items():
            old = self.durations.setdefault(reason, [0] * len(counts))
            self.durations[reason] = [a + round(b * noise()) for a, b in zip(old, counts)]
        for kind, by in self.interlopers.items():
            self.stolen[kind] += by


class World:
    def __init__(self, vms, splits=True, noise=lambda: 1):
        self.vms, self.splits, self.noise = vms, splits, noise
        self.time = float(int(time.time())) - 700
        self.started = self.time
        self.events = 1000
        self.cpu = 0.0
        self.lost = dict.fromkeys(CAUSES, 0)
        self.up = 1
        self.without = set()  # families that this exporter does not have
        self.odd = {}  # (family, labels as JSON) -> a value that is put in its place

    def step(self):
        self.time += INTERVAL
        self.events += 5000
        self.cpu += 0.01
        for vm in self.vms.values():
            vm.step(self.noise)

    def restart(self):
        """ihod began again: every counter does."""
        self.started = self.time
        self.events = 0
        self.cpu = 0.0
        for vm in self.vms.values():
            vm.durations = {r: [0] * (len(BOUNDS_NS) + 1) for r in vm.rate}
            vm.stolen = dict.fromkeys(vm.interlopers, 0.0)
            for v in vm.vcpus.values():
                v.total = {k: dict.fromkeys(r, 0) for k, r in v.rate.items()}

    def document(self):
        families = {}

        def put(name, value, kind="gauge", /, **labels):
            value = self.odd.get((name, json.dumps(labels)), value)
            f = families.setdefault(
                name, {"name": name, "type": kind, "unit": "", "help": "", "samples": []}
            )
            f["samples"].append({"labels": labels, "value": value})

        put("iho_build_info", 1, "info", version="0.0.0-test")
        put("iho_up", self.up)
        put("iho_exporter_cpu_seconds_total", self.cpu, "counter")
        put("iho_exporter_series_dropped", 0)
        if self.up:
            self.collector(put)
            for name, vm in self.vms.items():
                self.vm(put, families, name, vm)
        return {
            "schema": "iho-metrics/1",
            "time": self.time,
            "families": [f for f in families.values() if f["name"] not in self.without],
        }

    def collector(self, put):
        put(
            "iho_collector_info",
            1,
            "info",
            source="bpf",
            splits_guest="true" if self.splits else "false",
        )
        put("iho_collector_start_time_seconds", self.started)
        put("iho_collector_events_total", self.events, "counter")
        put("iho_collector_cpu_seconds_total", self.cpu, "counter")
        put("iho_collector_bpf_cpu_ratio", 0.0125)
        put("iho_collector_resident_memory_bytes", 12 << 20)
        for cause, n in self.lost.items():
            put("iho_collector_lost_events_total", n, "counter", cause=cause)

    def vm(self, put, families, name, vm):
        put("iho_vm_info", 1, "info", vm=name, pid="4242", vmm="qemu")
        put("iho_vm_vcpus", len(vm.vcpus), vm=name)
        for state in ("on", "off", "inhibited", "unknown"):
            put("iho_vm_apicv_state", int(state == vm.apicv), vm=name, state=state)
        for reason in vm.inhibited:
            put("iho_vm_apicv_inhibited", 1, vm=name, reason=reason)
        put("iho_vm_apicv_changes_total", 3, "counter", vm=name)
        for kind, s in vm.stolen.items():
            put("iho_vm_interloper_seconds_total", s, "counter", vm=name, kind=kind)
        for vcpu, v in vm.vcpus.items():
            self.vcpu(put, name, vcpu, v)
        for reason, counts in vm.durations.items() if self.splits else ():
            f = families.setdefault(
                "iho_vm_exit_duration_seconds",
                {"name": "iho_vm_exit_duration_seconds", "type": "histogram", "samples": []},
            )
            sums = [sum(counts[: i + 1]) for i in range(len(counts))]
            les = [ns / 1e9 for ns in BOUNDS_NS] + ["+Inf"]
            f["samples"].append(
                {
                    "labels": {"vm": name, "reason": reason},
                    "count": sums[-1],
                    "sum": 1.0,
                    "buckets": [{"le": le, "count": n} for le, n in zip(les, sums)],
                }
            )
        for metric, labels, value in vm.migration or ():
            put(f"iho_migration_{metric}", value, vm=name, **labels)

    def vcpu(self, put, name, vcpu, v):
        for state, s in v.total["states"].items():
            put("iho_vcpu_state_seconds_total", s, "counter", vm=name, vcpu=vcpu, state=state)
        for reason, n in v.total["exits"].items() if self.splits else ():
            put("iho_vcpu_exits_total", n, "counter", vm=name, vcpu=vcpu, reason=reason)
        for reason, n in v.total["user"].items():
            put("iho_vcpu_user_exits_total", n, "counter", vm=name, vcpu=vcpu, reason=reason)
        if v.core is not None:
            put("iho_vcpu_core", v.core, vm=name, vcpu=vcpu)
        if v.pinned is not None:
            put("iho_vcpu_pinned", v.pinned, vm=name, vcpu=vcpu)
        for signal, share in v.busy.items():
            put("iho_vcpu_busy_ratio", share, vm=name, vcpu=vcpu, signal=signal)


class Server:
    """Serves the built page under its built policy, and a document; `mode` says how well."""

    def __init__(self, page, policy):
        self.page, self.policy = page, policy
        self.body, self.mode = b"{}", "good"
        self.paths = []
        self.httpd, self.port = None, 0
        self.start()

    def start(self):
        server = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self):
                server.paths.append(self.path)
                if self.path == "/":
                    self.answer(200, "text/html; charset=utf-8", server.page)
                elif self.path != "/metrics.json":
                    self.answer(404, "text/plain", b"")
                elif server.mode == "503":
                    self.answer(503, "text/plain", b"busy")
                else:
                    self.answer(
                        200, "application/json", b"<html>" if server.mode == "html" else server.body
                    )

            def answer(self, status, kind, body):
                self.send_response(status)
                self.send_header("Content-Type", kind)
                self.send_header("Content-Length", str(len(body)))
                self.send_header("Content-Security-Policy", server.policy)
                self.end_headers()
                with contextlib.suppress(ConnectionError):  # a page that is left takes no answer
                    self.wfile.write(body)

            def log_message(self, *args):
                pass

        class Httpd(http.server.ThreadingHTTPServer):
            daemon_threads = True
            allow_reuse_address = True

        self.httpd = Httpd(("127.0.0.1", self.port), Handler)
        self.port = self.httpd.server_address[1]
        threading.Thread(target=self.httpd.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self):
        self.httpd.shutdown()
        self.httpd.server_close()

    def say(self, world):
        self.body = json.dumps(world.document()).encode()
