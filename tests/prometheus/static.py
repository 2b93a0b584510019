#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
What can be said about dashboards and rules without running them. Prints what is wrong, one line each,
and ends with 1 if there was anything.
"""
import re
import sys

import fake_exporter
import sources
import yaml

UNITS = set("short none s ops reqps percentunit bytes Bps".split())
KINDS = set("timeseries stat table bargauge state-timeline heatmap row".split())
SUFFIX = {"_bucket", "_sum", "_count"}
problems = []


def want(condition, text):
	if not condition:
		problems.append(text)


def family(name):
	for s in SUFFIX:
		base = name.removesuffix(s)
		if base != name and fake_exporter.FAMILIES.get(base, ("",))[0] == "histogram":
			return base
	return name


def overlap(a, b):
	return (a["x"] < b["x"] + b["w"] and b["x"] < a["x"] + a["w"]
		and a["y"] < b["y"] + b["h"] and b["y"] < a["y"] + a["h"])


def check_layout(name, dashboard):
	ps = list(sources.panels(dashboard))
	want(len({p["id"] for p in ps}) == len(ps), f"{name}: two panels have one id")
	want(len({p["title"] for p in ps}) == len(ps), f"{name}: two panels have one title")
	for i, p in enumerate(ps):
		g = p["gridPos"]
		want(g["x"] + g["w"] <= 24, f"{name}: {p['title']} is wider than the screen")
		for q in ps[i + 1:]:
			want(not overlap(g, q["gridPos"]), f"{name}: {p['title']} lies over {q['title']}")


def check_panel(name, p):
	place = f"{name}: {p['title']}"
	want(p["type"] in KINDS, f"{place}: unknown kind {p['type']}")
	if p["type"] == "row":
		return
	want(len(p["description"]) > 10 and p["description"].endswith("."), f"{place}: no description")
	want(p["fieldConfig"]["defaults"]["unit"] in UNITS, f"{place}: unknown unit")
	want(p["targets"], f"{place}: no query")
	want(p["datasource"]["uid"] == "${datasource}", f"{place}: not the chosen data source")
	for t in p["targets"]:
		want(t["datasource"]["uid"] == "${datasource}", f"{place}: not the chosen data source")
		want(t["legendFormat"] != "__auto" or p["type"] == "table", f"{place}: no legend")
		want("$host" in t["expr"] or "ALERTS" in t["expr"], f"{place}: does not heed the chosen host")
		for span in re.findall(r"\[(.*?)\]", t["expr"]):
			want(span in ("$__rate_interval", "1h"), f"{place}: a fixed range [{span}]")


def check_dashboards():
	boards = sources.dashboards()
	uids = {d["uid"] for d in boards.values()}
	want(len(uids) == len(boards) >= 7, "dashboards: not seven uids")
	for name, d in boards.items():
		want(name == d["uid"] + ".json", f"{name}: uid {d['uid']}")
		want(d["schemaVersion"] >= 36, f"{name}: a schema before Grafana 9")
		names = [v["name"] for v in d["templating"]["list"]]
		want(names[:2] == ["datasource", "host"], f"{name}: variables are {names}")
		want(d["links"] and d["links"][0]["tags"] == ["iho"] and "iho" in d["tags"], f"{name}: no links")
		for uid in re.findall(r'"/d/([\w-]+)\?', str(d).replace("'", '"')):
			want(uid in uids, f"{name}: a link to {uid}, which is not there")
		check_layout(name, d)
		for p in sources.panels(d):
			check_panel(name, p)


def check_names():
	"""Only families of the catalogue, only rules that exist, and each of them used."""
	recorded = {r["record"] for r in sources.rules(sources.RULES)}
	used = set()
	everywhere = [(place, e) for place, _, e in sources.panel_expressions()]
	everywhere += list(sources.other_expressions())
	everywhere += [(r.get("record", r.get("alert")), r["expr"])
		       for path in (sources.RULES, sources.ALERTS) for r in sources.rules(path)]
	for place, expr in everywhere:
		for m in sources.metrics(expr):
			known = m in recorded if ":" in m else family(m) in fake_exporter.FAMILIES
			want(known, f"{place}: {m} is neither in the catalogue nor a recording rule")
			used.add(m if ":" in m else family(m))
		names = set(re.findall(r"(\w+)\s*(?:=~|!~|!=|=)\"", expr))
		labels = {n for _, ls in fake_exporter.FAMILIES.values() for n in ls}
		extra = names - labels - {"job", "instance", "alertname", "alertstate", "severity", "le"}
		want(not extra, f"{place}: no family has the label {extra}")
	for f in fake_exporter.FAMILIES:
		want(f in used, f"{f}: in no panel, rule or alert")
	# sums over the whole job are for those who federate, and need no panel of ours
	for r in recorded - used:
		want(re.match(r"job(_\w+)?:", r), f"{r}: recorded, and used by nobody")


def check_alerts():
	tested = yaml.safe_load(sources.UNIT_TEST.read_text())["tests"]
	book = sources.RUNBOOKS.read_text()
	alerts = [r for r in sources.rules(sources.ALERTS) if "alert" in r]
	for a in alerts:
		name = a["alert"]
		for key in ("summary", "description", "runbook", "runbook_url"):
			want(len(a["annotations"].get(key, "")) > 10, f"{name}: no {key}")
		want(a["labels"].get("severity") in ("page", "ticket", "info"), f"{name}: no severity")
		want("iho-top" in a["annotations"]["runbook"], f"{name}: the runbook does not name iho-top")
		want(a["annotations"]["runbook_url"] == f"RUNBOOKS.md#{name.lower()}", f"{name}: runbook_url")
		section = re.search(rf"^## {name}\n(.*?)(?=^## |\Z)", book, re.M | re.S)
		want(section, f"{name}: no section in RUNBOOKS.md")
		for word in ("**Means.**", "**Threshold.**", "**Look.**", "**Do.**"):
			want(section and word in section[1], f"{name}: its section in RUNBOOKS.md has no {word}")
		asked = [q for t in tested for q in t["promql_expr_test"] if f'"{name}"' in q["expr"]]
		want(any(q.get("exp_samples") for q in asked), f"{name}: no unit test where it fires")
		want(any(not q.get("exp_samples") for q in asked), f"{name}: no unit test where it is silent")
	for name in re.findall(r"^## (Iho\w+)", book, re.M):
		want(name in {a["alert"] for a in alerts}, f"RUNBOOKS.md: {name} is no alert")


check_dashboards()
check_names()
check_alerts()
for problem in problems:
	print(problem)
sys.exit(bool(problems))
