#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
The work of fleet.sh: simulated hosts, the real Prometheus, and the questions to it.

The hosts are those of tests/prometheus/fake_exporter.py. All serve the same pre-rendered bodies, one for each
scrape, so that serving costs next to nothing beside Prometheus; the instance label tells them apart.
"""
import argparse
import asyncio
import contextlib
import gzip
import json
import multiprocessing
import os
import pathlib
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import time
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests/prometheus"))
import fake_exporter  # noqa: E402

VCPUS, REASONS, PAPER_HOSTS = 64, 25, 1000
INTERVAL = 10  # seconds between scrapes
FIRST = 50  # hosts, to learn what one costs
# What Prometheus may have: shares of this machine, and seconds for the longest group of rules, which is
# due each 30 s and takes longer when there are two whole minutes to look back on.
CPU_SHARE, MEMORY_SHARE, RULES_S = 0.4, 0.25, 6
QUESTIONS = (
	("the bill of the fleet", "sum by (state) (rate(iho_vcpu_state_seconds_total[2m]))",
	 "sum by (state) (instance_state:iho_vcpu_state_seconds:rate2m)"),
	("ten VMs with the most exits", "topk(10, sum by (instance, vm) (rate(iho_vcpu_exits_total[2m])))",
	 "topk(10, instance_vm:iho_vcpu_exits:rate2m)"),
	("p99 of an exit, all hosts",
	 "histogram_quantile(0.99, sum by (le) (rate(iho_vm_exit_duration_seconds_bucket[2m])))",
	 "histogram_quantile(0.99, sum by (le) (instance_le:iho_vm_exit_duration_seconds_bucket:rate2m))"),
	("ten most starved VMs", 'topk(10, max by (instance, vm) (sum by (instance, vm, vcpu) '
	 '(rate(iho_vcpu_state_seconds_total{state=~"runnable|preempted"}[2m]))))',
	 "topk(10, instance_vm:iho_vcpu_starved:max_ratio_rate2m)"),
)


def bodies(n):
	host = fake_exporter.Host("healthy", 1, VCPUS, REASONS)
	plain = [host.body(100.0 + i * INTERVAL).text().encode() for i in range(n)]
	return plain, [gzip.compress(b, 6) for b in plain]


def serve(sock, packed):
	"""One process for all hosts. Prometheus asks for gzip and keeps its connections."""
	t0 = time.monotonic()

	async def client(reader, writer):
		with contextlib.suppress(asyncio.IncompleteReadError, ConnectionError):
			while True:
				await reader.readuntil(b"\r\n\r\n")
				body = packed[min(int((time.monotonic() - t0) / INTERVAL), len(packed) - 1)]
				writer.write(b"HTTP/1.1 200 OK\r\nContent-Type: text/plain; version=0.0.4\r\n"
					     b"Content-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
				await writer.drain()
		writer.close()

	async def run():
		async with await asyncio.start_server(client, sock=sock) as s:
			await s.serve_forever()

	asyncio.run(run())


class Prometheus:
	def __init__(self, directory, target):
		self.dir, self.target = directory, target
		(directory / "targets").mkdir()
		for f in ("iho.rules.yml", "iho.alerts.yml"):
			shutil.copy(ROOT / "dashboards/prometheus" / f, directory)
		(directory / "prometheus.yml").write_text(
			f"global: {{scrape_interval: {INTERVAL}s, scrape_timeout: {INTERVAL}s, evaluation_interval: 30s}}\n"
			"rule_files: [iho.rules.yml, iho.alerts.yml]\n"
			"scrape_configs: [{job_name: iho, file_sd_configs: [{files: [targets/*.json], refresh_interval: 1s}]}]\n")
		self.hosts(0)
		with socket.socket() as s:
			s.bind(("127.0.0.1", 0))
			self.url = f"http://127.0.0.1:{s.getsockname()[1]}"
		self.process = subprocess.Popen(
			["prometheus", f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/db",
			 f"--web.listen-address={self.url.removeprefix('http://')}", "--log.level=error"])
		end = time.monotonic() + 60
		while not self.answers("/-/ready"):
			if self.process.poll() is not None or time.monotonic() > end:
				sys.exit("bench-fleet: prometheus does not start")
			time.sleep(0.1)

	def answers(self, path):
		try:
			with urllib.request.urlopen(self.url + path, timeout=5):
				return True
		except OSError:
			return False

	def hosts(self, n):
		text = json.dumps([{"targets": [self.target], "labels": {"instance": f"host{i:04}"}} for i in range(n)])
		(self.dir / "targets.new").write_text(text)
		(self.dir / "targets.new").rename(self.dir / "targets/fleet.json")

	def query(self, expr):
		"""Result, and how many samples it read"""
		url = f"{self.url}/api/v1/query?" + urllib.parse.urlencode({"query": expr, "stats": "all"})
		with urllib.request.urlopen(url, timeout=120) as r:
			data = json.load(r)["data"]
		return data["result"], data["stats"]["samples"]["totalQueryableSamples"]

	def number(self, expr):
		result = self.query(expr)[0]
		return float(result[0]["value"][1]) if result else 0.0

	def own(self, name):
		"""The values of one of Prometheus' own metrics"""
		with urllib.request.urlopen(self.url + "/metrics", timeout=30) as r:
			return [float(line.rsplit(" ", 1)[1]) for line in r.read().decode().splitlines()
				if line.startswith((name + " ", name + "{"))]

	def cpu_s(self):
		fields = pathlib.Path(f"/proc/{self.process.pid}/stat").read_text().rsplit(")", 1)[1].split()
		return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

	def memory(self):
		for line in pathlib.Path(f"/proc/{self.process.pid}/status").read_text().splitlines():
			if line.startswith("VmRSS:"):
				return int(line.split()[1]) * 1024
		return 0

	def end(self):
		self.process.send_signal(signal.SIGTERM)
		self.process.wait()


def available():
	for line in pathlib.Path("/proc/meminfo").read_text().splitlines():
		if line.startswith("MemAvailable:"):
			return int(line.split()[1]) * 1024
	return 0


def settle(prometheus, hosts, limit=60):
	"""Until every host was scraped"""
	prometheus.hosts(hosts)
	end = time.monotonic() + limit
	while prometheus.number('count(up{job="iho"} == 1)') < hosts:
		if time.monotonic() > end:
			return False
		time.sleep(0.5)
	return True


def measure(prometheus, hosts, seconds):
	"""What the steady state costs: CPU over some intervals, with the rules' evaluations in it"""
	cpu, start = prometheus.cpu_s(), time.monotonic()
	time.sleep(seconds)
	cores = (prometheus.cpu_s() - cpu) / (time.monotonic() - start)
	span = int(seconds)
	return {
		"hosts": hosts, "series": sum(prometheus.own("prometheus_tsdb_head_series")),
		"cores": cores, "rss_bytes": prometheus.memory(),
		"up": prometheus.number('count(up{job="iho"} == 1)'),
		"failed_scrapes": prometheus.number(f'sum(count_over_time((up{{job="iho"}} == 0)[{span}s:1s]))'),
		"scrape_median_s": prometheus.number('quantile(0.5, scrape_duration_seconds{job="iho"})'),
		"scrape_p99_s": prometheus.number('quantile(0.99, scrape_duration_seconds{job="iho"})'),
		"rules_s": sum(prometheus.own("prometheus_rule_group_last_duration_seconds")),
		"rules_longest_s": max(prometheus.own("prometheus_rule_group_last_duration_seconds")),
		"rules_missed": sum(prometheus.own("prometheus_rule_group_iterations_missed_total")),
	}


def bearable(one):
	"""From a small number of hosts to as many as this machine bears"""
	per_cpu, per_memory = one["cores"] / one["hosts"], one["rss_bytes"] / one["hosts"]
	by_cpu = CPU_SHARE * os.cpu_count() / per_cpu
	by_memory = MEMORY_SHARE * available() / per_memory
	by_rules = RULES_S / (one["rules_longest_s"] / one["hosts"])
	return max(FIRST, min(PAPER_HOSTS, int(min(by_cpu, by_memory, by_rules))))


def ask(prometheus, expr, times=3):
	took = []
	for _ in range(times):
		start = time.monotonic()
		result, samples = prometheus.query(expr)
		took.append(time.monotonic() - start)
	if not result:
		sys.exit(f"bench-fleet: no answer to {expr}")
	return statistics.median(took), samples


def recorded(prometheus, hosts):
	"""Until the rules were evaluated over all of these hosts"""
	end = time.monotonic() + 120
	while prometheus.number("count(count by (instance) (instance:iho_vcpu_exits:rate2m))") < hosts:
		if time.monotonic() > end:
			sys.exit("bench-fleet: the recording rules have no values")
		time.sleep(1)


def questions(prometheus):
	out = []
	for name, raw, cheap in QUESTIONS:
		(raw_s, raw_n), (cheap_s, cheap_n) = ask(prometheus, raw), ask(prometheus, cheap)
		out.append({"name": name, "raw_s": raw_s, "recorded_s": cheap_s, "raw_samples": raw_n,
			    "recorded_samples": cheap_n})
	return out


def paper(plain, packed):
	n = sum(1 for line in plain[0].splitlines() if not line.startswith(b"#"))
	return {"vcpus": VCPUS, "reasons": REASONS, "series": n,
		"bytes": round(statistics.mean(map(len, plain))), "gzip_bytes": round(statistics.mean(map(len, packed)))}


def show(r):
	host, run = r["host"], r["run"]
	print(f"one host: {VCPUS} vCPUs, {REASONS} exit reasons")
	print(f"  series                                   {host['series']}")
	print(f"  bytes per scrape, plain / gzip           {host['bytes']} / {host['gzip_bytes']}")
	print(f"{PAPER_HOSTS} hosts, on paper")
	print(f"  series                                   {host['series'] * PAPER_HOSTS}")
	print(f"  samples/s, MB/s gzip, at 15 s            {host['series'] * PAPER_HOSTS / 15:.0f}, "
	      f"{host['gzip_bytes'] * PAPER_HOSTS / 15e6:.2f}")
	print(f"  series that rules add, of them federated {r['recorded_per_host'] * PAPER_HOSTS:.0f}, "
	      f"{r['federated_per_host'] * PAPER_HOSTS:.0f}")
	print(f"{run['hosts']} simulated hosts against the real Prometheus, a scrape each {INTERVAL} s")
	print(f"  hosts up, failed scrapes                 {run['up']:.0f}, {run['failed_scrapes']:.0f}")
	print(f"  scrape seconds, median / p99             {run['scrape_median_s']:.4f} / {run['scrape_p99_s']:.4f}")
	print(f"  Prometheus: series in memory             {run['series']:.0f}")
	print(f"  Prometheus: memory, MiB                  {run['rss_bytes'] / 2**20:.0f} "
	      f"({run['rss_bytes'] / run['series'] * 1000 / 1024:.0f} KiB per 1000 series)")
	print(f"  Prometheus: cores                        {run['cores']:.2f} "
	      f"({run['cores'] / run['series'] * 1e6:.2f} millicores per 1000 series)")
	print(f"  one evaluation of all rules, s           {run['rules_s']:.2f}, the longest group {run['rules_longest_s']:.2f} "
	      f"(missed: {run['rules_missed']:.0f})")
	print(f"{'a fleet question, median of 3':42} raw ms  recorded ms   ratio  samples read")
	for q in r["questions"]:
		print(f"  {q['name']:38} {q['raw_s'] * 1e3:8.1f} {q['recorded_s'] * 1e3:12.1f} "
		      f"{q['raw_s'] / q['recorded_s']:7.0f}  {q['raw_samples']} -> {q['recorded_samples']}")


FEDERATED = ('{__name__=~"(job|job_[a-z]+|instance|instance_[a-z]+):iho_.+",__name__!~".*_bucket:.*",'
	     'instance="host0000"}')


def main():
	p = argparse.ArgumentParser()
	p.add_argument("--dir", type=pathlib.Path, required=True)
	p.add_argument("--json", type=pathlib.Path, required=True)
	p.add_argument("--hosts", type=int, help="not as many as the machine bears, but so many")
	o = p.parse_args()
	signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
	plain, packed = bodies(40)
	sock = socket.create_server(("127.0.0.1", 0), backlog=4096)
	server = multiprocessing.Process(target=serve, args=(sock, packed), daemon=True)
	server.start()
	prometheus = Prometheus(o.dir, f"127.0.0.1:{sock.getsockname()[1]}")
	try:
		hosts = o.hosts
		if not hosts:
			settle(prometheus, FIRST)
			recorded(prometheus, FIRST)
			hosts = bearable(measure(prometheus, FIRST, 2 * INTERVAL))
		if not settle(prometheus, hosts):
			print(f"bench-fleet: not all of {hosts} hosts were scraped within a minute", file=sys.stderr)
		recorded(prometheus, hosts)
		run = measure(prometheus, hosts, 3 * INTERVAL)
		result = {"host": paper(plain, packed), "interval_s": INTERVAL, "run": run,
			  "questions": questions(prometheus)}
		result["recorded_per_host"] = prometheus.number(
			'count({__name__=~"instance.*:iho_.+",instance="host0000"})')
		result["federated_per_host"] = prometheus.number(f"count({FEDERATED})")
	finally:
		prometheus.end()
		server.terminate()
	o.json.write_text(json.dumps(result, indent=2) + "\n")
	show(result)


if __name__ == "__main__":
	main()
