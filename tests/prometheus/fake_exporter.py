#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
An exporter from paper: hosts that do not exist, in exactly the families of the metric catalogue.

	fake_exporter.py --port 0 [--vms N] [--vcpus N] [--reasons N]   serve until ended
	fake_exporter.py --families                                    name, type, labels: one line each
	fake_exporter.py --body [--kind KIND]                          one scrape on standard output

It serves four kinds of host, told apart by the path, so that one Prometheus sees a small fleet:

	/healthy/metrics	everything the catalogue has, within the limits that the alerts set
	/software/metrics	healthy, on a host that emits no kvm_entry/kvm_exit: no exit reasons
	/provoked/metrics	every condition that an alert is for, but for the next
	/silent/metrics		the exporter answers, its collector does not (iho_up 0)
	/sd			these hosts, for http_sd
	/freeze			all counters stand still from now on

A counter is a linear function of the time since the start, rounded down, so it moves and never
goes back; /freeze makes it a known number that can be compared with what Prometheus has stored.
"""
import argparse
import gzip
import http.server
import json
import signal
import sys
import threading
import time

REASONS = """EXTERNAL_INTERRUPT MSR_WRITE HLT EPT_VIOLATION EPT_MISCONFIG IO_INSTRUCTION CPUID MSR_READ
	PREEMPTION_TIMER PAUSE_INSTRUCTION INTERRUPT_WINDOW CR_ACCESS VMCALL APIC_WRITE EOI_INDUCED
	APIC_ACCESS EXCEPTION_NMI XSETBV WBINVD RDPMC DR_ACCESS NMI_WINDOW TPR_BELOW_THRESHOLD INVPCID
	PML_FULL""".split()
USER_REASONS = "KVM_EXIT_IO KVM_EXIT_MMIO KVM_EXIT_IRQ_WINDOW_OPEN KVM_EXIT_INTR".split()
STATES = "guest kvm guest_or_kvm qemu halt_poll halted blocked runnable preempted stopped unaccounted".split()
KINDS = "inj_virq inj_exception ipi eoi pv_eoi apic_accept apicv_accept msi pi_irte".split()
CAUSES = """no_slot storage shared waiters nested read drill_overflow exit_overflow irq_overflow
	clock_back""".split()
PHASES = "setup precopy postcopy switchover completed failed cancelled".split()
EVENTS = "kvm_pio kvm_mmio kvm_msr kvm_cpuid kvm_page_fault kvm_inj_virq kvm_apic_ipi kvm_eoi".split()
MODES = "host_user host_system guest_user guest_system".split()
BUCKETS_NS = [512 << i for i in range(12)] + [1 << i for i in (20, 22, 24, 26, 28, 30)]

# Name, type, labels. tests/host/prometheus.t holds it against the real exporter's own list.
FAMILIES = {
	f: (t, tuple(labels.split()))
	for f, t, labels in (
		("iho_build_info", "gauge", "version"),
		("iho_up", "gauge", ""),
		("iho_collector_info", "gauge", "source splits_guest"),
		("iho_collector_start_time_seconds", "gauge", ""),
		("iho_collector_events_total", "counter", ""),
		("iho_collector_bpf_event_seconds", "gauge", ""),
		("iho_collector_bpf_cpu_ratio", "gauge", ""),
		("iho_collector_cpu_seconds_total", "counter", ""),
		("iho_collector_resident_memory_bytes", "gauge", ""),
		("iho_collector_map_bytes", "gauge", ""),
		("iho_collector_snapshot_seconds", "gauge", ""),
		("iho_collector_lost_events_total", "counter", "cause"),
		("iho_collector_unpaired_events_total", "counter", ""),
		("iho_collector_torn_reads_total", "counter", ""),
		("iho_collector_missed_switches_total", "counter", ""),
		("iho_collector_interlopers_evicted_total", "counter", ""),
		("iho_collector_slots", "gauge", ""),
		("iho_collector_slots_used", "gauge", ""),
		("iho_exporter_cpu_seconds_total", "counter", ""),
		("iho_exporter_resident_memory_bytes", "gauge", ""),
		("iho_exporter_scrape_duration_seconds", "gauge", ""),
		("iho_exporter_series", "gauge", ""),
		("iho_exporter_series_dropped", "gauge", ""),
		("iho_exporter_requests_total", "counter", "code"),
		("iho_exporter_connections", "gauge", ""),
		("iho_exporter_connections_evicted_total", "counter", ""),
		("iho_vm_info", "gauge", "vm pid vmm"),
		("iho_vm_vcpus", "gauge", "vm"),
		("iho_vm_exit_duration_seconds", "histogram", "vm reason"),
		("iho_vm_apicv_state", "gauge", "vm state"),
		("iho_vm_apicv_inhibited", "gauge", "vm reason"),
		("iho_vm_apicv_changes_total", "counter", "vm"),
		("iho_vm_interrupts_total", "counter", "vm kind"),
		("iho_vm_interloper_seconds_total", "counter", "vm kind"),
		("iho_vm_interlopers_total", "counter", "vm kind"),
		("iho_vm_events_total", "counter", "vm event"),
		("iho_vm_page_faults_total", "counter", "vm"),
		("iho_vm_dirty_pages_total", "counter", "vm"),
		("iho_vcpu_exits_total", "counter", "vm vcpu reason"),
		("iho_vcpu_user_exits_total", "counter", "vm vcpu reason"),
		("iho_vcpu_state_seconds_total", "counter", "vm vcpu state"),
		("iho_vcpu_halts_total", "counter", "vm vcpu"),
		("iho_vcpu_halts_polled_total", "counter", "vm vcpu"),
		("iho_vcpu_preemptions_total", "counter", "vm vcpu"),
		("iho_vcpu_core_moves_total", "counter", "vm vcpu"),
		("iho_vcpu_switches_total", "counter", "vm vcpu"),
		("iho_vcpu_pinned", "gauge", "vm vcpu"),
		("iho_vcpu_core", "gauge", "vm vcpu"),
		("iho_vcpu_cpu_seconds_total", "counter", "vm vcpu mode"),
		("iho_vcpu_busy_ratio", "gauge", "vm vcpu signal"),
		("iho_vcpu_busy_disagreement", "gauge", "vm vcpu"),
		("iho_vcpu_direct", "gauge", "vm vcpu"),
		("iho_vcpu_direct_ipi", "gauge", "vm vcpu"),
		("iho_vcpu_direct_missing", "gauge", "vm vcpu reason"),
		("iho_vcpu_direct_interrupts_total", "counter", "vm vcpu delivery"),
		("iho_vcpu_direct_spurious_interrupts_total", "counter", "vm vcpu"),
		("iho_vcpu_direct_deadlines_total", "counter", "vm vcpu"),
		("iho_vcpu_direct_ipis_total", "counter", "vm vcpu path"),
		("iho_vcpu_direct_drains_total", "counter", "vm vcpu"),
		("iho_vcpu_direct_saved_exits_total", "counter", "vm vcpu"),
		("iho_vcpu_direct_refused_counters_total", "counter", "vm vcpu"),
		("iho_migration_active", "gauge", "vm role"),
		("iho_migration_phase", "gauge", "vm phase"),
		("iho_migration_bytes", "gauge", "vm kind"),
		("iho_migration_iterations", "gauge", "vm"),
		("iho_migration_dirty_bytes_per_second", "gauge", "vm"),
		("iho_migration_bandwidth_bytes_per_second", "gauge", "vm"),
		("iho_migration_downtime_seconds", "gauge", "vm kind"),
		("iho_migration_throttle_ratio", "gauge", "vm"),
		("iho_migration_elapsed_seconds", "gauge", "vm"),
		("iho_migration_forecast_seconds", "gauge", "vm bound"),
		("iho_migration_converges", "gauge", "vm"),
		("iho_migrations_total", "counter", "vm result"),
	)
}
KINDS_OF_HOST = ("healthy", "software", "provoked", "silent")

# Shares of a vCPU's wall time; healthy hosts have a little of everything.
SHARES = {
	"guest": 0.70, "kvm": 0.04, "qemu": 0.02, "halt_poll": 0.01, "halted": 0.20, "blocked": 0.005,
	"runnable": 0.01, "preempted": 0.01, "stopped": 0.0, "unaccounted": 0.005,
}
SHARES_PROVOKED = {
	"guest": 0.20, "kvm": 0.15, "qemu": 0.02, "halt_poll": 0.25, "halted": 0.03, "blocked": 0.005,
	"runnable": 0.105, "preempted": 0.20, "stopped": 0.0, "unaccounted": 0.04,
}


class Body:
	"""Collects samples; the same family may be added to from several places."""

	def __init__(self):
		self.rows = {}

	def add(self, family, value, *labels, suffix="", le=None):
		names = FAMILIES[family][1]
		assert len(labels) == len(names), family
		text = ",".join(f'{n}="{v}"' for n, v in zip(names, labels))
		if le is not None:
			text += f',le="{le}"'
		text = f"{{{text}}}" if text else ""
		self.rows.setdefault(family, []).append(f"{family}{suffix}{text} {value!r}")

	def series(self):
		return sum(len(r) for r in self.rows.values())

	def text(self):
		out = []
		for family, rows in self.rows.items():
			out.append(f"# HELP {family} From paper.\n# TYPE {family} {FAMILIES[family][0]}")
			out.extend(rows)
		return "\n".join(out) + "\n"


class Host:
	"""One host from paper. render(t) is a pure function of the seconds since its start."""

	def __init__(self, kind="healthy", vms=2, vcpus=2, reasons=len(REASONS), start=None):
		self.kind = kind
		self.vms = [f"vm{i + 1}" for i in range(vms)]
		self.vcpus = vcpus
		self.reasons = REASONS[:reasons]
		self.start = int(time.time()) if start is None else start
		self.bad = kind == "provoked"
		self.splits = kind != "software"

	def body(self, t):
		b = Body()
		b.add("iho_build_info", 1, "0.1.0")
		b.add("iho_up", 0 if self.kind == "silent" else 1)
		self.exporter(b, t)
		if self.kind != "silent":
			self.collector(b, t)
			for n, vm in enumerate(self.vms):
				self.vm(b, t, n, vm)
			self.migrations(b, t)
		# what is counted last counts itself, as in the real one
		b.add("iho_exporter_series", b.series() + 2)
		b.add("iho_exporter_series_dropped", 17 if self.bad else 0)
		return b

	def exporter(self, b, t):
		b.add("iho_exporter_cpu_seconds_total", 0.5 + t * 0.002)
		b.add("iho_exporter_resident_memory_bytes", 9 << 20)
		b.add("iho_exporter_scrape_duration_seconds", 0.0031)
		for code in (200, 404):
			b.add("iho_exporter_requests_total", int(1 + t), code)
		b.add("iho_exporter_connections", 2)
		b.add("iho_exporter_connections_evicted_total", int(t * 0.01))

	def collector(self, b, t):
		b.add("iho_collector_info", 1, "bpf", "true" if self.splits else "false")
		restarts = int(t / 2) if self.bad else 0
		b.add("iho_collector_start_time_seconds", self.start + restarts)
		b.add("iho_collector_events_total", int(5e6 + t * 40000))
		b.add("iho_collector_bpf_event_seconds", 6.1e-08)
		b.add("iho_collector_bpf_cpu_ratio", 0.0024)
		b.add("iho_collector_cpu_seconds_total", 12.0 + t * 0.004)
		b.add("iho_collector_resident_memory_bytes", 14 << 20)
		b.add("iho_collector_map_bytes", 37 << 20)
		b.add("iho_collector_snapshot_seconds", 0.00021)
		for cause in CAUSES:
			lost = int(t * 900) if self.bad and cause == "no_slot" else 0
			b.add("iho_collector_lost_events_total", lost, cause)
		b.add("iho_collector_unpaired_events_total", int(3 + t * 0.02))
		b.add("iho_collector_torn_reads_total", int(t * 0.01))
		b.add("iho_collector_missed_switches_total", 0)
		b.add("iho_collector_interlopers_evicted_total", int(t * 0.1))
		used = len(self.vms) * self.vcpus
		b.add("iho_collector_slots", used if self.bad else 16 * used)
		b.add("iho_collector_slots_used", used)

	def vm(self, b, t, n, vm):
		b.add("iho_vm_info", 1, vm, 1000 + n, "qemu")
		b.add("iho_vm_vcpus", self.vcpus, vm)
		inhibited = self.bad and n == 0
		for s in ("on", "off", "inhibited", "unknown"):
			b.add("iho_vm_apicv_state", int(s == ("inhibited" if inhibited else "on")), vm, s)
		if inhibited:
			b.add("iho_vm_apicv_inhibited", 1, vm, "PIT_REINJ")
		b.add("iho_vm_apicv_changes_total", int(t * 20) if self.bad else 2, vm)
		for k, kind in enumerate(KINDS):
			b.add("iho_vm_interrupts_total", int(100 + t * 37 * (k + 1)), vm, kind)
		for kind, share in (("task", 0.2 if self.bad else 0.002), ("irq", 0.001), ("softirq", 0.001)):
			b.add("iho_vm_interloper_seconds_total", round(t * share * self.vcpus, 9), vm, kind)
			b.add("iho_vm_interlopers_total", int(t * 40 * self.vcpus), vm, kind)
		for k, event in enumerate(EVENTS):
			b.add("iho_vm_events_total", int(1000 + t * 11 * (k + 1)), vm, event)
		b.add("iho_vm_page_faults_total", int(400 + t * 9), vm)
		b.add("iho_vm_dirty_pages_total", int(t * 4000), vm)
		for v in range(self.vcpus):
			self.vcpu(b, t, n, vm, v)
		if self.splits:
			for r, reason in enumerate(self.reasons):
				self.histogram(b, t, vm, r, reason)

	def exits_per_s(self, r):
		"""Of one vCPU, for the reason with this rank: a long tail, as on a real host."""
		return (90000 if self.bad else 4000) / (r + 1) ** 2 + 1

	def exits(self, t, v, r):
		return int((t + 100 + v) * self.exits_per_s(r))

	def vcpu(self, b, t, n, vm, v):
		if self.splits:
			for r, reason in enumerate(self.reasons):
				b.add("iho_vcpu_exits_total", self.exits(t, v, r), vm, v, reason)
		for r, reason in enumerate(USER_REASONS):
			rate = 60000 if self.bad and r == 0 else 50 / (r + 1)
			b.add("iho_vcpu_user_exits_total", int(10 + t * rate), vm, v, reason)
		shares = SHARES_PROVOKED if self.bad else SHARES
		if not self.splits:
			shares = dict(shares, guest_or_kvm=shares["guest"] + shares["kvm"])
		for state in STATES:
			if state in shares and (self.splits or state not in ("guest", "kvm")):
				b.add("iho_vcpu_state_seconds_total", round((t + 60) * shares[state], 9), vm, v, state)
		b.add("iho_vcpu_halts_total", int(t * 500), vm, v)
		b.add("iho_vcpu_halts_polled_total", int(t * (50 if self.bad else 400)), vm, v)
		b.add("iho_vcpu_preemptions_total", int(t * 3), vm, v)
		b.add("iho_vcpu_core_moves_total", int(t * 0.1), vm, v)
		b.add("iho_vcpu_switches_total", int(t * 600), vm, v)
		b.add("iho_vcpu_pinned", 1, vm, v)
		b.add("iho_vcpu_core", 1 + n * self.vcpus + v, vm, v)
		for m, mode in enumerate(MODES):
			b.add("iho_vcpu_cpu_seconds_total", round(t * (0.01, 0.04, 0.5, 0.2)[m], 9), vm, v, mode)
		for signal_name, ratio in (("bill", 0.74), ("mperf", 0.72), ("guest", 0.71)):
			b.add("iho_vcpu_busy_ratio", ratio, vm, v, signal_name)
		b.add("iho_vcpu_busy_disagreement", 0, vm, v)
		if self.bad:
			self.direct(b, t, vm, v)

	def direct(self, b, t, vm, v):
		"""The patched KVM, which few have; one vCPU is in direct mode, the others are not pinned."""
		b.add("iho_vcpu_direct", int(v == 0), vm, v)
		b.add("iho_vcpu_direct_ipi", int(v == 0), vm, v)
		if v:
			b.add("iho_vcpu_direct_missing", 1, vm, v, "pinned")
		for delivery, per_s in (("without_exit", 990), ("with_exit", 8), ("recovered", 2)):
			b.add("iho_vcpu_direct_interrupts_total", int(t * per_s), vm, v, delivery)
		b.add("iho_vcpu_direct_spurious_interrupts_total", int(t), vm, v)
		b.add("iho_vcpu_direct_deadlines_total", int(t * 1000), vm, v)
		for path, per_s in (("without_exit", 300), ("kicked", 0), ("asked", 1)):
			b.add("iho_vcpu_direct_ipis_total", int(t * per_s), vm, v, path)
		b.add("iho_vcpu_direct_drains_total", int(t / 60), vm, v)
		b.add("iho_vcpu_direct_saved_exits_total", int(t * 2290), vm, v)
		b.add("iho_vcpu_direct_refused_counters_total", int(t), vm, v)

	def histogram(self, b, t, vm, r, reason):
		"""All the exits of the VM's vCPUs for one reason: 2 µs half of the time, a tail to 100 µs."""
		count = sum(self.exits(t, v, r) for v in range(self.vcpus))
		for ns in BUCKETS_NS:
			part = 0.0 if ns < 1024 else 0.5 if ns < 4096 else 0.9 if ns < 16384 else 0.99 if ns < 131072 else 1
			b.add("iho_vm_exit_duration_seconds", int(count * part), vm, reason,
			      suffix="_bucket", le=repr(ns / 1e9))
		b.add("iho_vm_exit_duration_seconds", count, vm, reason, suffix="_bucket", le="+Inf")
		b.add("iho_vm_exit_duration_seconds", round(count * 4.2e-6, 9), vm, reason, suffix="_sum")
		b.add("iho_vm_exit_duration_seconds", count, vm, reason, suffix="_count")

	def migrations(self, b, t):
		for n, vm in enumerate(self.vms[:2]):
			failed = self.bad and n == 1
			b.add("iho_migration_active", int(not failed), vm, "source")
			for phase in PHASES:
				b.add("iho_migration_phase", int(phase == ("failed" if failed else "precopy")), vm, phase)
			for kind, value in (("total", 8 << 30), ("transferred", int(t * 1e8)),
					    ("remaining", max(0, (8 << 30) - int(t * 8e7)))):
				b.add("iho_migration_bytes", value, vm, kind)
			b.add("iho_migration_iterations", 1 + int(t / 10), vm)
			b.add("iho_migration_dirty_bytes_per_second", 2e8 if self.bad else 2e7, vm)
			b.add("iho_migration_bandwidth_bytes_per_second", 1e8, vm)
			for kind, value in (("expected", 0.21), ("actual", 0.18), ("limit", 0.3)):
				b.add("iho_migration_downtime_seconds", value, vm, kind)
			b.add("iho_migration_throttle_ratio", 0.2, vm)
			b.add("iho_migration_elapsed_seconds", round(t, 3), vm)
			if not self.bad:
				for bound, value in (("low", 40.0), ("expected", 60.0), ("high", 95.0)):
					b.add("iho_migration_forecast_seconds", value, vm, bound)
			b.add("iho_migration_converges", int(not self.bad), vm)
			for result in ("completed", "failed", "cancelled"):
				b.add("iho_migrations_total", int(failed and result == "failed"), vm, result)


class Server:
	def __init__(self, options):
		self.t0 = time.monotonic()
		self.frozen = None
		self.lock = threading.Lock()
		self.hosts = {
			kind: Host(kind, options.vms, options.vcpus, options.reasons) for kind in KINDS_OF_HOST
		}

	def now(self):
		with self.lock:
			return time.monotonic() - self.t0 if self.frozen is None else self.frozen

	def freeze(self):
		now = self.now()
		with self.lock:
			self.frozen = now

	def answer(self, path, port):
		if path == "/sd":
			return "application/json", json.dumps([
				{"targets": [f"127.0.0.1:{port}"],
				 "labels": {"instance": kind, "__metrics_path__": f"/{kind}/metrics"}}
				for kind in KINDS_OF_HOST])
		if path == "/freeze":
			self.freeze()
			return "text/plain", "frozen\n"
		kind = path.removesuffix("/metrics").lstrip("/")
		if kind in self.hosts and path.endswith("/metrics"):
			return "text/plain; version=0.0.4", self.hosts[kind].body(self.now()).text()
		return None, ""


def handler(server):
	class Handler(http.server.BaseHTTPRequestHandler):
		protocol_version = "HTTP/1.1"

		def do_GET(self):
			mime, text = server.answer(self.path, self.server.server_address[1])
			data = text.encode()
			self.send_response(200 if mime else 404)
			if "gzip" in self.headers.get("Accept-Encoding", ""):
				data = gzip.compress(data, 1)
				self.send_header("Content-Encoding", "gzip")
			self.send_header("Content-Type", mime or "text/plain")
			self.send_header("Content-Length", str(len(data)))
			self.end_headers()
			self.wfile.write(data)

		def log_message(self, *args):
			pass

	return Handler


def main():
	p = argparse.ArgumentParser(description="hosts from paper, for tests")
	p.add_argument("--port", type=int, default=0, help="on 127.0.0.1; 0: any; it is printed")
	p.add_argument("--vms", type=int, default=2)
	p.add_argument("--vcpus", type=int, default=2, help="of each VM")
	p.add_argument("--reasons", type=int, default=len(REASONS))
	p.add_argument("--kind", choices=KINDS_OF_HOST, default="healthy")
	p.add_argument("--body", action="store_true", help="print one scrape and end")
	p.add_argument("--families", action="store_true", help="print name, type and labels and end")
	o = p.parse_args()
	if o.families:
		for name, (kind, labels) in FAMILIES.items():
			print(name, kind, ",".join(labels) or "-")
		return
	if o.body:
		sys.stdout.write(Host(o.kind, o.vms, o.vcpus, o.reasons).body(10.0).text())
		return
	signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
	with http.server.ThreadingHTTPServer(("127.0.0.1", o.port), handler(Server(o))) as s:
		s.daemon_threads = True
		print(s.server_address[1], flush=True)
		s.serve_forever()


if __name__ == "__main__":
	main()
