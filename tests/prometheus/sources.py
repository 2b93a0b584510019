# SPDX-License-Identifier: GPL-2.0-or-later
"""What the files below dashboards/ say: every expression, with the place where it stands."""
import json
import pathlib
import re

import yaml

ROOT = pathlib.Path(__file__).resolve().parents[2]
GRAFANA = ROOT / "dashboards/grafana"
RULES = ROOT / "dashboards/prometheus/iho.rules.yml"
ALERTS = ROOT / "dashboards/prometheus/iho.alerts.yml"
UNIT_TEST = ROOT / "tests/prometheus/iho.test.yml"
RUNBOOKS = ROOT / "dashboards/RUNBOOKS.md"


def dashboards():
	return {p.name: json.loads(p.read_text()) for p in sorted(GRAFANA.glob("*.json"))}


def panels(dashboard):
	for panel in dashboard["panels"]:
		yield panel
		yield from panel.get("panels", [])


def panel_expressions():
	"""(place, panel, expression as it is written)"""
	for name, d in dashboards().items():
		for panel in panels(d):
			for target in panel.get("targets", []):
				yield f"{name}: {panel['title']} {target['refId']}", panel, target["expr"]


def other_expressions():
	"""(place, expression) of annotations and variables; label_values(SERIES, LABEL) asks for SERIES."""
	for name, d in dashboards().items():
		for a in d["annotations"]["list"]:
			yield f"{name}: annotation {a['name']}", a["expr"]
		for v in d["templating"]["list"]:
			if v["type"] == "query":
				series, _ = re.fullmatch(r"label_values\((.*), (\w+)\)", v["definition"]).groups()
				yield f"{name}: variable {v['name']}", series


def rules(path):
	for group in yaml.safe_load(path.read_text())["groups"]:
		yield from group["rules"]


def without_comparison(expr):
	"""A comparison with a number then answers 0 or 1 and filters nothing."""
	return re.sub(r"(==|!=|>=|<=|>|<)\s+(?=[-+0-9.])", r"\1 bool ", expr)


def substitute(expr, host=".*", vm=".*", interval="5s"):
	for name, value in (("$__rate_interval", interval), ("$host", host), ("$vm", vm)):
		expr = expr.replace(name, value)
	return expr


def metrics(expr):
	"""Names of metrics of ours in an expression: raw families, and recorded ones with their colons."""
	return set(re.findall(r"\b(?:\w+:)?iho_\w+(?::\w+)?", re.sub(r'"[^"]*"', '""', expr)))
