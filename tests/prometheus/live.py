#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Asks a running Prometheus. Each verb prints what is wrong, one line each, and ends with 1 if there was
anything; those whose answer takes a while to come right repeat until --limit seconds have passed.

	live.py URL evaluate		every expression of every panel, variable, rule and alert has an answer
	live.py URL degrade HOST	a panel that is empty for HOST says so in its description
	live.py URL stored INSTANCE METRICS-URL N	what stands there, N samples or more, is what is stored
	live.py URL firing INSTANCE [NAME...]	exactly these alerts fire for INSTANCE
	live.py URL fired SELECTOR NAME...	these have fired since Prometheus runs, for instance="...",vm="..."
	live.py URL silent SELECTOR	none has, but info
	live.py URL texts		the texts of all alerts that fire are filled in
	live.py URL rules		every rule was evaluated, and without an error
	live.py URL catalogue FILE	the families from paper are those of iho-exporter --list-metrics, in FILE
	live.py URL targets [INSTANCE...]	the targets have exactly these instances
	live.py URL value EXPR		prints the values
"""
import argparse
import json
import re
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

import fake_exporter
import sources


class Prometheus:
	def __init__(self, url):
		self.url = url.rstrip("/")

	def get(self, path, **query):
		url = f"{self.url}/api/v1/{path}?{urllib.parse.urlencode(query)}"
		try:
			with urllib.request.urlopen(url, timeout=30) as r:
				return json.load(r)["data"]
		except urllib.error.HTTPError as e:
			raise ValueError(json.load(e).get("error", str(e))) from None

	def query(self, expr):
		return self.get("query", query=expr)["result"]


def answer(prometheus, expr):
	"""None, or what is wrong with it"""
	try:
		return None if prometheus.query(expr) else "empty"
	except ValueError as e:
		return str(e)


def all_expressions():
	for place, _, expr in sources.panel_expressions():
		yield place, sources.substitute(expr)
	for place, expr in sources.other_expressions():
		yield place, sources.without_comparison(sources.substitute(expr))
	for r in sources.rules(sources.RULES):
		yield r["record"], r["expr"]
		yield r["record"] + ", recorded", r["record"]
	for r in sources.rules(sources.ALERTS):
		yield r["alert"], sources.without_comparison(r["expr"])


def evaluate(prometheus, args):
	n = 0
	for place, expr in all_expressions():
		n += 1
		wrong = answer(prometheus, expr)
		if wrong:
			yield f"{place}: {wrong}: {expr}"
	if n < 100:
		yield f"only {n} expressions were found"


def degrade(prometheus, args):
	for place, panel, expr in sources.panel_expressions():
		if "$host" not in expr:
			continue
		wrong = answer(prometheus, sources.substitute(expr, host=args[0]))
		if wrong and not re.search(r"[Ee]mpty|[Nn]o line", panel["description"]):
			yield f"{place}: {wrong} for {args[0]}, and the description does not say so"


def parse_text(text):
	for line in text.splitlines():
		if line and not line.startswith("#"):
			name, labels, value = re.fullmatch(r"(\w+)(?:\{(.*)\})? (\S+)", line).groups()
			yield (name, frozenset(re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or ""))), float(value)


def stored(prometheus, args):
	instance, url, least = args
	with urllib.request.urlopen(url, timeout=30) as r:
		served = dict(parse_text(r.read().decode()))
	have = {}
	for s in prometheus.query(f'{{instance="{instance}",__name__=~"iho_.+"}}'):
		labels = {k: v for k, v in s["metric"].items() if k not in ("__name__", "job", "instance")}
		have[s["metric"]["__name__"], frozenset(labels.items())] = float(s["value"][1])
	for key, value in served.items():
		if have.get(key) != value:
			yield f"{key[0]} {sorted(key[1])}: served {value}, stored {have.get(key)}"
	for key in have.keys() - served.keys():
		yield f"{key[0]} {sorted(key[1])}: stored, but not served"
	if len(served) < int(least):
		yield f"only {len(served)} samples are served"


def fires(prometheus, instance):
	expr = f'ALERTS{{alertname=~"Iho.+",alertstate="firing",instance="{instance}"}}'
	return {s["metric"]["alertname"] for s in prometheus.query(expr)}


def firing(prometheus, args):
	now, want = fires(prometheus, args[0]), set(args[1:])
	yield from (f"{a} does not fire for {args[0]}" for a in sorted(want - now))
	yield from (f"{a} fires for {args[0]}" for a in sorted(now - want))


def have_fired(prometheus, selector):
	expr = f'count_over_time(ALERTS{{alertname=~"Iho.+",alertstate="firing",{selector}}}[1h])'
	return [s["metric"] for s in prometheus.query(expr)]


def fired(prometheus, args):
	have = {m["alertname"] for m in have_fired(prometheus, args[0])}
	yield from (f"{a} has not fired for {args[0]}" for a in sorted(set(args[1:]) - have))


def silent(prometheus, args):
	for m in have_fired(prometheus, args[0] + ',severity!="info"'):
		yield f"{m['alertname']} has fired: {m}"


def texts(prometheus, args):
	alerts = prometheus.get("alerts")["alerts"]
	if not alerts:
		yield "no alert fires"
	for a in alerts:
		for key, text in a["annotations"].items():
			if re.search(r"<error|<no value>|\{\{|  |\bof  on\b", text) or not text:
				yield f"{a['labels']['alertname']} {key}: {text}"


def rules(prometheus, args):
	found = [r for g in prometheus.get("rules")["groups"] for r in g["rules"]]
	if len(found) < 30:
		yield f"only {len(found)} rules are loaded"
	for r in found:
		if r["health"] != "ok":
			yield f"{r['name']}: {r['health']} {r.get('lastError', '')}"


def catalogue(prometheus, args):
	"""The families of the host from paper, as the real exporter's --list-metrics has them"""
	kinds = {"info": "gauge"}
	real = {}
	with open(args[0]) as f:
		for line in f:
			name, labels, kind = re.match(r"(\w+)(?:\{(.*?)\})?\s+(\w+)", line).groups()
			real[name] = kinds.get(kind, kind), tuple(labels.split(",")) if labels else ()
	for name, family in fake_exporter.FAMILIES.items():
		if real.get(name) != family:
			yield f"{name}: on paper {family}, real {real.get(name)}"
	for name in real.keys() - fake_exporter.FAMILIES.keys():
		yield f"{name}: real, and not on paper"


def targets(prometheus, args):
	have = {t["labels"]["instance"] for t in prometheus.get("targets")["activeTargets"]}
	yield from (f"{i} is no target" for i in sorted(set(args) - have))
	yield from (f"{i} is a target" for i in sorted(have - set(args)))


VERBS = {"evaluate": evaluate, "degrade": degrade, "stored": stored, "firing": firing, "fired": fired,
	 "silent": silent, "texts": texts, "rules": rules, "catalogue": catalogue, "targets": targets}


def main():
	p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
	p.add_argument("--limit", type=float, default=0, help="seconds to repeat until nothing is wrong")
	p.add_argument("url")
	p.add_argument("verb", choices=[*VERBS, "value"])
	p.add_argument("args", nargs="*")
	o = p.parse_args()
	prometheus = Prometheus(o.url)
	if o.verb == "value":
		for s in prometheus.query(o.args[0]):
			print(s["value"][1])
		return
	end = time.monotonic() + o.limit
	while True:
		try:
			wrong = list(VERBS[o.verb](prometheus, o.args))
		except OSError as e:
			wrong = [f"{o.url}: {e}"]
		if not wrong or time.monotonic() >= end:
			break
		time.sleep(0.3)
	for line in wrong[:40]:
		print(line)
	sys.exit(bool(wrong))


if __name__ == "__main__":
	main()
