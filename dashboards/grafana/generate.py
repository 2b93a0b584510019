#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""
Writes the Grafana dashboards beside this file from the lists below.

	generate.py		write iho-*.json
	generate.py --check	write nothing; fail when one of them is not what would be written

The JSON is what Grafana 10 and 11 import; edit here and not there. Queries choose hosts and VMs by the
variables `host` and `vm`, rates by $__rate_interval, and the fleet dashboard reads recording rules.
"""
import json
import pathlib
import sys

HERE = pathlib.Path(__file__).parent
SOURCE = {"type": "prometheus", "uid": "${datasource}"}
HOST = 'job="iho",instance=~"$host"'
VM = HOST + ',vm=~"$vm"'
STARVED = VM + ',state=~"runnable|preempted"'
BY_APICV = VM + ',kind="apicv_accept"'
ACCEPTED = VM + ',kind=~"apic_accept|apicv_accept"'
UNACCOUNTED = HOST + ',state="unaccounted"'
# Said by each panel that a host without kvm_entry and kvm_exit leaves empty; a test holds it against such a host.
NO_EXITS = " Empty on a software KVM: it emits no kvm_exit, so there are no exit reasons and times."
NO_SPLIT = " A software KVM does not split guest from KVM time; it shows guest_or_kvm instead."
NO_DIRECT = " Empty where KVM is not the patched one, or no guest takes part."
COLOURS = {
	"guest": "green", "kvm": "orange", "guest_or_kvm": "dark-green", "qemu": "red", "halt_poll": "yellow",
	"halted": "#555555", "blocked": "#777777", "runnable": "purple", "preempted": "dark-purple",
	"stopped": "#999999", "unaccounted": "#cccccc",
}


def rate(metric, labels=VM):
	return f"rate({metric}{{{labels}}}[$__rate_interval])"


def t(expr, legend="", **more):
	return dict(expr=expr, legend=legend, **more)


def panel(kind, title, description, targets, unit="short", width=12, height=8, **options):
	if isinstance(targets, dict):
		targets = [targets]
	return dict(kind=kind, title=title, description=description, targets=targets, unit=unit,
		    width=width, height=height, options=options)


def lines(title, description, targets, unit="short", **more):
	return panel("timeseries", title, description, targets, unit, **more)


def stack(title, description, targets, unit="short", **more):
	return panel("timeseries", title, description, targets, unit, stack=True, **more)


def stat(title, description, targets, unit="short", width=4, **more):
	return panel("stat", title, description, targets, unit, width=width, height=4, **more)


def row(title):
	return dict(kind="row", title=title)


def colour_overrides():
	return [{"matcher": {"id": "byName", "options": state},
		 "properties": [{"id": "color", "value": {"mode": "fixed", "fixedColor": colour}}]}
		for state, colour in COLOURS.items()]


def thresholds(warn=None, bad=None):
	steps = [{"color": "green", "value": None}]
	if warn is not None:
		steps.append({"color": "yellow", "value": warn})
	if bad is not None:
		steps.append({"color": "red", "value": bad})
	return {"mode": "absolute", "steps": steps}


def options_of(kind, o):
	if kind == "timeseries":
		return {"legend": {"displayMode": "table", "placement": "bottom", "showLegend": True,
				   "calcs": ["mean", "max", "lastNotNull"]},
			"tooltip": {"mode": "multi", "sort": "desc"}}
	if kind == "stat":
		return {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
			"colorMode": o.get("color_mode", "value"), "graphMode": o.get("graph", "area"),
			"justifyMode": "auto", "orientation": "auto", "textMode": o.get("text", "auto")}
	if kind == "bargauge":
		return {"reduceOptions": {"calcs": ["lastNotNull"], "fields": "", "values": False},
			"displayMode": "gradient", "orientation": "horizontal", "showUnfilled": True}
	if kind == "state-timeline":
		return {"mergeValues": True, "showValue": "auto", "alignValue": "left", "rowHeight": 0.9,
			"legend": {"displayMode": "list", "placement": "bottom", "showLegend": True},
			"tooltip": {"mode": "single", "sort": "none"}}
	if kind == "heatmap":
		return {"calculate": False, "cellGap": 1, "filterValues": {"le": 1e-9},
			"color": {"mode": "scheme", "scheme": "Spectral", "steps": 64, "scale": "exponential",
				  "exponent": 0.5, "fill": "dark-orange", "reverse": True},
			"rowsFrame": {"layout": "auto"}, "exemplars": {"color": "rgba(255,0,255,0.7)"},
			"tooltip": {"mode": "single", "yHistogram": False, "showColorScale": True},
			"legend": {"show": True},
			"yAxis": {"axisPlacement": "left", "reverse": False, "unit": "s"}}
	return {"showHeader": True, "cellHeight": "sm", "footer": {"show": False}}


def field_config(kind, unit, o):
	defaults = {"unit": unit, "color": {"mode": "palette-classic"}, "mappings": o.get("mappings", []),
		    "thresholds": o.get("thresholds", thresholds())}
	overrides = list(o.get("overrides", []))
	for key in ("min", "max", "decimals", "links"):
		if key in o:
			defaults[key] = o[key]
	if kind == "timeseries":
		stacked = o.get("stack", False)
		defaults["custom"] = {
			"drawStyle": "line", "lineInterpolation": "linear", "lineWidth": 0 if stacked else 1,
			"fillOpacity": 70 if stacked else 10, "showPoints": "never", "spanNulls": False,
			"stacking": {"mode": "normal" if stacked else "none", "group": "A"},
			"axisSoftMin": 0}
	elif kind in ("stat", "bargauge"):
		defaults["color"] = {"mode": "thresholds"}
	elif kind == "state-timeline":
		defaults["color"] = {"mode": "thresholds" if "thresholds" in o else "palette-classic"}
		defaults["custom"] = {"fillOpacity": 70, "lineWidth": 0, "spanNulls": False}
	if o.get("states"):
		overrides += colour_overrides()
	return {"defaults": defaults, "overrides": overrides}


def render_target(kind, n, target):
	table = kind == "table"
	return {"refId": chr(ord("A") + n), "datasource": SOURCE, "editorMode": "code",
		"expr": target["expr"], "legendFormat": target["legend"] or "__auto",
		"format": "table" if table else "heatmap" if kind == "heatmap" else "time_series",
		"instant": table, "range": not table}


def render_panel(number, spec, x, y):
	if spec["kind"] == "row":
		return {"id": number, "type": "row", "title": spec["title"], "collapsed": False, "panels": [],
			"gridPos": {"x": 0, "y": y, "w": 24, "h": 1}}
	kind, o = spec["kind"], spec["options"]
	out = {"id": number, "type": kind, "title": spec["title"], "description": spec["description"],
	       "datasource": SOURCE, "gridPos": {"x": x, "y": y, "w": spec["width"], "h": spec["height"]},
	       "targets": [render_target(kind, n, target) for n, target in enumerate(spec["targets"])],
	       "options": options_of(kind, o), "fieldConfig": field_config(kind, spec["unit"], o)}
	if "transformations" in o:
		out["transformations"] = o["transformations"]
	return out


def layout(specs):
	"""From left to right, then down, as one reads; a row's heading ends the line."""
	panels, x, y, high = [], 0, 0, 0
	for number, spec in enumerate(specs, 1):
		width = 24 if spec["kind"] == "row" else spec["width"]
		if x + width > 24:
			x, y, high = 0, y + high, 0
		panels.append(render_panel(number, spec, x, y))
		if spec["kind"] == "row":
			y += 1
			continue
		x, high = x + width, max(high, spec["height"])
	return panels


def variable(name, label, query, **more):
	return {"name": name, "label": label, "type": "query", "datasource": SOURCE,
		"query": {"query": query, "refId": "iho-" + name, "qryType": 1}, "definition": query,
		"refresh": 2, "sort": 1, "multi": True, "includeAll": True, "allValue": ".*",
		"current": {"text": ["All"], "value": ["$__all"]}, "options": [], "hide": 0,
		"regex": "", "skipUrlSync": False, **more}


def variables(with_vm):
	out = [{"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus",
		"current": {}, "options": [], "hide": 0, "includeAll": False, "multi": False, "refresh": 1,
		"regex": "", "skipUrlSync": False},
	       variable("host", "Host", 'label_values(iho_up{job="iho"}, instance)')]
	if with_vm:
		out.append(variable("vm", "VM", f"label_values(iho_vm_info{{{HOST}}}, vm)"))
	return {"list": out}


def dashboard(name, title, description, specs, with_vm=True):
	return {
		"uid": "iho-" + name, "title": "IHO / " + title, "description": description,
		"tags": ["iho"], "schemaVersion": 39, "version": 1, "editable": True, "graphTooltip": 1,
		"timezone": "browser", "refresh": "30s", "time": {"from": "now-1h", "to": "now"},
		"timepicker": {}, "weekStart": "", "fiscalYearStartMonth": 0, "liveNow": False, "id": None,
		"annotations": {"list": [
			{"name": "Alerts", "datasource": SOURCE, "enable": True, "iconColor": "red",
			 "expr": 'ALERTS{alertname=~"Iho.+",alertstate="firing"}', "titleFormat": "{{alertname}}",
			 "textFormat": "{{instance}} {{vm}} {{vcpu}} {{reason}} {{cause}}"},
			{"name": "Collector restarts", "datasource": SOURCE, "enable": True, "iconColor": "blue",
			 "expr": f"changes(iho_collector_start_time_seconds{{{HOST}}}[$__rate_interval]) > 0",
			 "titleFormat": "collector restarted", "textFormat": "{{instance}}"}]},
		"links": [{"type": "dashboards", "title": "IHO", "tags": ["iho"], "asDropdown": True,
			   "includeVars": True, "keepTime": True, "targetBlank": False, "icon": "external link",
			   "tooltip": "The other dashboards, same host, VM and time", "url": ""}],
		"templating": variables(with_vm), "panels": layout(specs),
	}


def to_dashboard(title, name, *names):
	values = "&".join(f"var-{n}=${{__field.labels.{label}}}" for n, label in names)
	return {"title": title, "url": f"/d/iho-{name}?${{datasource:queryparam}}&{values}&${{__url_time_range}}"}


TO_VM = [to_dashboard("This VM", "tenant", ("host", "instance"), ("vm", "vm")),
	 to_dashboard("Its vCPU bill", "bill", ("host", "instance"), ("vm", "vm"))]
TO_HOST = [to_dashboard("This host's integrity", "integrity", ("host", "instance")),
	   to_dashboard("What the suite costs it", "cost", ("host", "instance"))]
YES_NO = [{"type": "value", "options": {"0": {"text": "no", "color": "red"}, "1": {"text": "yes", "color": "green"}}}]
NO_YES = [{"type": "value", "options": {"0": {"text": "no", "color": "green"}, "1": {"text": "yes", "color": "orange"}}}]

FLEET = dashboard("fleet", "Fleet overview", "All hosts and tenants of one job, from recording rules.", [
	stat("Collectors up", "Hosts whose collector answers.", t(f"sum(iho_up{{{HOST}}})", "up")),
	stat("Hosts without data", "Hosts that Prometheus could not scrape, or whose collector does not answer.",
	     t(f"(count(up{{{HOST}}} == 0) or vector(0)) + (count(iho_up{{{HOST}}} == 0) or vector(0))", "without data"),
	     thresholds=thresholds(bad=1)),
	stat("VMs", "Tenants that run now.", t(f"sum(instance:iho_vm:count{{{HOST}}})", "VMs")),
	stat("vCPUs", "Live vCPUs.", t(f"sum(instance:iho_vm_vcpus:sum{{{HOST}}})", "vCPUs")),
	stat("Firing alerts", "Of this suite's rules.",
	     t('count(ALERTS{alertname=~"Iho.+",alertstate="firing",severity!="info"}) or vector(0)', "alerts"),
	     thresholds=thresholds(warn=1)),
	stat("Migrations under way", "Tenants that are being migrated, counted at either side.",
	     t(f"count(iho_migration_active{{{HOST}}} == 1) or vector(0)", "migrations")),
	stack("Where the fleet's vCPU time goes", "vCPUs in each state; the sum is the number of live vCPUs." + NO_SPLIT,
	      t(f"sum by (state) (instance_state:iho_vcpu_state_seconds:rate2m{{{HOST}}})", "{{state}}"),
	      width=24, states=True),
	stack("Exits by reason", "The ten commonest, per second." + NO_EXITS,
	      t(f"topk(10, sum by (reason) (instance_reason:iho_vcpu_exits:rate2m{{{HOST}}}))", "{{reason}}"), "ops"),
	stack("Exits to the VMM by reason", "Per second; each costs a trip to userspace.",
	      t(f"sum by (reason) (instance_reason:iho_vcpu_user_exits:rate2m{{{HOST}}})", "{{reason}}"), "ops"),
	lines("Exit duration", "Work in KVM and VMM for one exit, all reasons and hosts." + NO_EXITS,
	      [t(f"histogram_quantile({q}, sum by (le) (instance_le:iho_vm_exit_duration_seconds_bucket:rate2m{{{HOST}}}))", n)
	       for q, n in ((0.5, "median"), (0.99, "p99"))], "s"),
	stack("Host work on tenants' cores", "Cores spent on tasks, interrupts and softirqs of the host while a vCPU wanted to run.",
	      t(f"sum by (kind) (instance_kind:iho_vm_interloper_seconds:rate2m{{{HOST}}})", "{{kind}}")),
	panel("bargauge", "VMs with the most exits", "Per second, the ten highest." + NO_EXITS,
	      t(f"topk(10, instance_vm:iho_vcpu_exits:rate2m{{{HOST}}})", "{{instance}} {{vm}}"), "ops", width=8, links=TO_VM),
	panel("bargauge", "VMs with the most exits to the VMM", "Per second, the ten highest.",
	      t(f"topk(10, instance_vm:iho_vcpu_user_exits:rate2m{{{HOST}}})", "{{instance}} {{vm}}"), "ops", width=8, links=TO_VM),
	panel("bargauge", "Most starved VMs", "The share of time that the worst vCPU of a VM waited for a core; alert at 10 %.",
	      t(f"topk(10, instance_vm:iho_vcpu_starved:max_ratio_rate2m{{{HOST}}})", "{{instance}} {{vm}}"),
	      "percentunit", width=8, thresholds=thresholds(0.05, 0.1), links=TO_VM),
	panel("bargauge", "VMs with the most interlopers", "The share of a VM's vCPU time taken by host work; alert at 1 %.",
	      t(f"topk(10, instance_vm:iho_vm_interloper:ratio_rate2m{{{HOST}}})", "{{instance}} {{vm}}"),
	      "percentunit", width=8, thresholds=thresholds(0.005, 0.01), links=TO_VM),
	panel("bargauge", "VMs with the slowest exits", "99th percentile of an exit's duration, the ten highest." + NO_EXITS,
	      t(f"topk(10, instance_vm:iho_vm_exit_duration_seconds:p99_rate2m{{{HOST}}})", "{{instance}} {{vm}}"),
	      "s", width=8, links=TO_VM),
	panel("bargauge", "VMs by APICv/AVIC state", "How many VMs have their interrupts delivered by the CPU.",
	      t(f"sum by (state) (iho_vm_apicv_state{{{HOST}}})", "{{state}}"), width=8),
	panel("table", "Hosts", "One line for each host: tenants, exits, the worst wait for a core, the suite's own cost in cores, lost "
	      "events. Exits are empty on a software KVM, which emits no kvm_exit.",
	      [t(f"sum by (instance) (instance:iho_vm_vcpus:sum{{{HOST}}})", "vCPUs"),
	       t(f"sum by (instance) (instance:iho_vcpu_user_exits:rate2m{{{HOST}}})", "user exits/s"),
	       t(f"sum by (instance) (instance:iho_own_cpu_seconds:rate2m{{{HOST}}})", "own cost"),
	       t(f"sum by (instance) (instance_cause:iho_collector_lost_events:increase5m{{{HOST}}})", "lost in 5 min"),
	       t(f"sum by (instance) (instance:iho_vcpu_exits:rate2m{{{HOST}}})", "exits/s"),
	       t(f"max by (instance) (instance:iho_vcpu_starved:max_ratio_rate2m{{{HOST}}})", "worst wait")],
	      width=16, links=[{"title": "This host's integrity", "url":
	      "/d/iho-integrity?${datasource:queryparam}&var-host=${__data.fields.instance}&${__url_time_range}"}],
	      transformations=[{"id": "merge", "options": {}},
			       {"id": "organize", "options": {"excludeByName": {"Time": True}, "renameByName": {
				"Value #A": "vCPUs", "Value #B": "VMM exits/s", "Value #C": "own cost (cores)",
				"Value #D": "lost in 5 min", "Value #E": "exits/s",
				"Value #F": "worst wait (share)"}}}]),
	lines("Busy, by signal", "The share of vCPU time at work, mean of all VMs, by each signal. "
	      "Empty where hosts have none.",
	      t(f"avg by (signal) (instance_vm_signal:iho_vcpu_busy_ratio:avg{{{HOST}}})", "{{signal}}"), "percentunit",
	      width=24, height=6, max=1),
	panel("table", "Versions", "Which release runs on how many hosts.",
	      t(f"count by (version) (iho_build_info{{{HOST}}})", "version"), width=8,
	      transformations=[{"id": "organize", "options": {"excludeByName": {"Time": True},
							      "renameByName": {"Value": "hosts"}}}]),
], with_vm=False)

TENANT = dashboard("tenant", "Tenant", "One VM: what it does, and what keeps it from doing it.", [
	stat("vCPUs", "Live vCPUs of the chosen VMs.", t(f"sum(iho_vm_vcpus{{{VM}}})", "vCPUs")),
	stat("Busy", "The share of vCPU time at work, by each signal; see the panel below. Empty where the host has none.",
	     t(f"avg by (signal) (iho_vcpu_busy_ratio{{{VM}}})", "{{signal}}"), "percentunit", width=8),
	stat("Exits", "Per second, all vCPUs." + NO_EXITS, t(f"sum({rate('iho_vcpu_exits_total')})", "exits"), "ops"),
	stat("VMM exits", "Exits to the VMM per second, all vCPUs.", t(f"sum({rate('iho_vcpu_user_exits_total')})", "exits"), "ops"),
	stat("Worst wait for a core", "Of all vCPUs, runnable or preempted.",
	     t(f'max(sum by (instance, vm, vcpu) ({rate("iho_vcpu_state_seconds_total", STARVED)}))', "worst"),
	     "percentunit", thresholds=thresholds(0.05, 0.1)),
	panel("table", "VM", "Process and VMM of the chosen VMs.", t(f"iho_vm_info{{{VM}}}"), width=24, height=5,
	      transformations=[{"id": "organize", "options": {"excludeByName": {
		"Time": True, "Value": True, "__name__": True, "job": True}}}]),
	row("Where the time goes"),
	stack("The bill", "vCPUs in each state; the sum is the number of vCPUs." + NO_SPLIT,
	      t(f"sum by (state) ({rate('iho_vcpu_state_seconds_total')})", "{{state}}"), states=True),
	lines("Busy, by signal", "bill: our own states; mperf, ref_cycles: the CPU's counters; guest: the guest's own word. "
	      "A signal that the host lacks is absent; empty where it has none.",
	      t(f"avg by (signal) (iho_vcpu_busy_ratio{{{VM}}})", "{{signal}}"), "percentunit", max=1),
	stack("CPU time by mode", "Cores used by the vCPU threads, host's and guest's part; 'guest' where user and system "
	      "cannot be told apart.", t(f"sum by (mode) ({rate('iho_vcpu_cpu_seconds_total')})", "{{mode}}")),
	lines("vCPUs whose signals disagree", "Busy signals that contradict each other: do not trust the share of these.",
	      t(f"sum by (instance, vm) (iho_vcpu_busy_disagreement{{{VM}}})", "{{instance}} {{vm}}")),
	row("Leaving the guest"),
	stack("Exits by reason", "Per second, the ten commonest." + NO_EXITS,
	      t(f"topk(10, sum by (reason) ({rate('iho_vcpu_exits_total')}))", "{{reason}}"), "ops"),
	stack("Exits to the VMM by reason", "Per second.",
	      t(f"sum by (reason) ({rate('iho_vcpu_user_exits_total')})", "{{reason}}"), "ops"),
	stack("Cores spent on exits, by reason", "Work in KVM and VMM; no halt, no wait." + NO_EXITS,
	      t(f"topk(10, sum by (reason) ({rate('iho_vm_exit_duration_seconds_sum')}))", "{{reason}}")),
	lines("Exit duration, 99th percentile by reason", "The ten slowest; from buckets that are powers of two." + NO_EXITS,
	      t(f"topk(10, histogram_quantile(0.99, sum by (le, reason) ({rate('iho_vm_exit_duration_seconds_bucket')})))",
		"{{reason}}"), "s"),
	panel("heatmap", "Exit durations", "Exits per second by duration, all reasons." + NO_EXITS,
	      t(f"sum by (le) ({rate('iho_vm_exit_duration_seconds_bucket')})", "{{le}}"), "s", width=24),
	row("Direct mode (patched KVM)"),
	lines("vCPUs in direct mode", "Those that write the deadlines of their timer, or send their IPIs, without exits, and "
	      "what the others lack." + NO_DIRECT,
	      [t(f"sum(iho_vcpu_direct{{{VM}}})", "deadlines"),
	       t(f"sum(iho_vcpu_direct_ipi{{{VM}}})", "IPIs"),
	       t(f"sum by (reason) (iho_vcpu_direct_missing{{{VM}}})", "missing: {{reason}}")], "none"),
	lines("Interrupts of the timer", "Per second, and those of them that came early; in part as the guest says." + NO_DIRECT,
	      [t(f"sum by (delivery) ({rate('iho_vcpu_direct_interrupts_total')})", "{{delivery}}"),
	       t(f"sum({rate('iho_vcpu_direct_spurious_interrupts_total')})", "early")], "ops"),
	lines("IPIs of direct mode", "Per second: posted by the guest, without an exit or kicked, and asked of KVM; in part as "
	      "the guest says. Drained: vCPUs whose APIC the VMM read." + NO_DIRECT,
	      [t(f"sum by (path) ({rate('iho_vcpu_direct_ipis_total')})", "{{path}}"),
	       t(f"sum({rate('iho_vcpu_direct_drains_total')})", "drained")], "ops"),
	lines("Exits saved", "Per second, by what the guest says: each deadline is one, each interrupt or IPI without an exit another; "
	      "HLTs are not counted. Refused: counters that nobody believes." + NO_DIRECT,
	      [t(f"sum({rate('iho_vcpu_direct_saved_exits_total')})", "saved"),
	       t(f"sum({rate('iho_vcpu_direct_deadlines_total')})", "deadlines without an exit"),
	       t(f"sum({rate('iho_vcpu_direct_refused_counters_total')})", "refused")], "ops"),
	row("Memory, halts, cores"),
	lines("Page faults and dirty pages", "Guest page faults that KVM handled; pages pushed to the dirty rings.",
	      [t(f"sum by (instance, vm) ({rate('iho_vm_page_faults_total')})", "faults {{instance}} {{vm}}"),
	       t(f"sum by (instance, vm) ({rate('iho_vm_dirty_pages_total')})", "dirty pages {{instance}} {{vm}}")], "ops"),
	lines("Halts", "HLTs per second, and those that ended while KVM still polled.",
	      [t(f"sum by (instance, vm) ({rate('iho_vcpu_halts_total')})", "halts {{instance}} {{vm}}"),
	       t(f"sum by (instance, vm) ({rate('iho_vcpu_halts_polled_total')})", "polled {{instance}} {{vm}}")], "ops"),
	lines("Switches, preemptions, moves", "Of the vCPU threads, per second.",
	      [t(f"sum({rate('iho_vcpu_switches_total')})", "switches"),
	       t(f"sum({rate('iho_vcpu_preemptions_total')})", "preemptions"),
	       t(f"sum({rate('iho_vcpu_core_moves_total')})", "moves to another core")], "ops"),
	panel("state-timeline", "Core of each vCPU", "The core it ran on last; a pinned vCPU keeps one.",
	      t(f"iho_vcpu_core{{{VM}}}", "{{instance}} {{vm}} {{vcpu}}"), "none"),
	panel("table", "Pinning", "1: the vCPU may run on exactly one core.",
	      t(f"sum by (instance, vm, vcpu) (iho_vcpu_pinned{{{VM}}})"), width=12, mappings=YES_NO,
	      transformations=[{"id": "organize", "options": {"excludeByName": {"Time": True},
							      "renameByName": {"Value": "pinned"}}}]),
	lines("Events", "Tracepoints of this VM, per second, the fifteen commonest.",
	      t(f"topk(15, sum by (event) ({rate('iho_vm_events_total')}))", "{{event}}"), "ops"),
])

BILL = dashboard("bill", "vCPU bill", "Where every moment of every vCPU goes. The states of a vCPU sum to wall time.", [
	stack("All chosen vCPUs", "vCPUs in each state." + NO_SPLIT,
	      t(f"sum by (state) ({rate('iho_vcpu_state_seconds_total')})", "{{state}}"), width=24, states=True),
] + [
	lines(title, description, t(rate("iho_vcpu_state_seconds_total", f'{VM},state=~"{states}"')
				    if "|" not in states else
				    "sum by (instance, vm, vcpu) (" + rate("iho_vcpu_state_seconds_total", f'{VM},state=~"{states}"') + ")",
				    "{{instance}} {{vm}} {{vcpu}}"), "percentunit", **more)
	for title, states, description, more in (
		("Guest, per vCPU", "guest|guest_or_kvm", "The share of time in the guest." + NO_SPLIT, {}),
		("KVM, per vCPU", "kvm", "Handling exits in the kernel. Empty on a software KVM, which does not split "
		 "guest from KVM time.", {}),
		("VMM, per vCPU", "qemu", "In the VMM's own code, whatever its name, on the CPU or asleep.", {}),
		("Starved, per vCPU", "runnable|preempted", "Wanted a core and had none; alert at 10 %.",
		 {"thresholds": thresholds(0.05, 0.1)}),
		("Halt polling, per vCPU", "halt_poll", "KVM spins after HLT, in the hope of a wake-up.", {}),
		("Halted, per vCPU", "halted", "Asleep after HLT: idle, as the guest wants it.", {}),
		("Blocked or stopped, per vCPU", "blocked|stopped", "Asleep in the kernel for another reason, or stopped by "
		 "a signal or the VMM.", {}),
		("Unaccounted, per vCPU", "unaccounted", "In no state: less than 1 % is promised.",
		 {"thresholds": thresholds(0.01, 0.02)}),
	)
] + [
	lines("Halts that polling served", "Of all halts; little here with much polling is waste (IhoHaltPollWaste).",
	      t(f"sum by (instance, vm) ({rate('iho_vcpu_halts_polled_total')}) / (sum by (instance, vm) "
		f"({rate('iho_vcpu_halts_total')}) > 0)", "{{instance}} {{vm}}"), "percentunit", max=1),
	lines("Preemptions, per vCPU", "Times per second that it lost its core while it wanted to run.",
	      t(rate("iho_vcpu_preemptions_total"), "{{instance}} {{vm}} {{vcpu}}"), "ops"),
	panel("table", "The bill now", "Seconds per second of each vCPU in each state, over the last minutes." + NO_SPLIT,
	      t(f"sum by (instance, vm, vcpu, state) ({rate('iho_vcpu_state_seconds_total')})"), "percentunit", width=24, height=12,
	      transformations=[{"id": "organize", "options": {"excludeByName": {"Time": True}}},
			       {"id": "groupingToMatrix", "options": {
				"rowField": "vcpu", "columnField": "state", "valueField": "Value"}}]),
])

INTERRUPTS = dashboard("interrupts", "Interrupts", "How interrupts reach the tenant, and who else is interrupted for it.", [
	panel("state-timeline", "APICv/AVIC", "On, off, inhibited or unknown; 1 is the current state.",
	      t(f"iho_vm_apicv_state{{{VM}}} == 1", "{{instance}} {{vm}} {{state}}"), "none", width=12),
	panel("table", "What inhibits APICv/AVIC now", "By the kernel's names. No line: nothing does.",
	      t(f"sum by (instance, vm, reason) (iho_vm_apicv_inhibited{{{VM}}})"), "none", width=12,
	      transformations=[{"id": "organize", "options": {"excludeByName": {"Time": True, "Value": True}}}]),
	lines("Changes of APICv/AVIC", "Per second; each stops all vCPUs of the VM for a moment.",
	      t(rate("iho_vm_apicv_changes_total"), "{{instance}} {{vm}}"), "ops"),
	lines("Interrupts by kind", "Per second: injected by software, IPIs, EOIs, accepted by the APIC's emulation or by APICv, "
	      "MSIs, posted-interrupt set-ups.", t(f"sum by (kind) ({rate('iho_vm_interrupts_total')})", "{{kind}}"), "ops"),
	lines("Accepted in hardware", "The share of accepted interrupts that APICv or AVIC took, and not the APIC's emulation.",
	      t(f"sum by (instance, vm) ({rate('iho_vm_interrupts_total', BY_APICV)}) / "
		f"(sum by (instance, vm) ({rate('iho_vm_interrupts_total', ACCEPTED)}) > 0)",
		"{{instance}} {{vm}}"), "percentunit", max=1),
	lines("Exits that interrupts cause", "Per second: the host's interrupts, windows, EOIs, APIC and MSR accesses." + NO_EXITS,
	      t("sum by (reason) (" + rate("iho_vcpu_exits_total", VM + ',reason=~"(?i)EXTERNAL_INTERRUPT|INTERRUPT_WINDOW|EOI_INDUCED|'
		'APIC_.*|MSR_WRITE|PREEMPTION_TIMER|intr|vintr|msr|avic_.*"') + ")", "{{reason}}"), "ops"),
	row("Interlopers"),
	stack("Host work on this tenant's cores", "Cores spent, while a vCPU wanted to run.",
	      t(f"sum by (kind) ({rate('iho_vm_interloper_seconds_total')})", "{{kind}}")),
	lines("Times that host work took a core", "Per second, by kind.",
	      t(f"sum by (kind) ({rate('iho_vm_interlopers_total')})", "{{kind}}"), "ops"),
	lines("Mean length of an interloper", "How long a vCPU was kept off its core each time.",
	      t(f"sum by (kind) ({rate('iho_vm_interloper_seconds_total')}) / (sum by (kind) "
		f"({rate('iho_vm_interlopers_total')}) > 0)", "{{kind}}"), "s"),
	lines("Share of the VM's time", "What host work took of its vCPU time; alert at 1 %.",
	      t(f"sum by (instance, vm) ({rate('iho_vm_interloper_seconds_total')}) / (sum by (instance, vm) "
		f"(iho_vm_vcpus{{{VM}}}) > 0)", "{{instance}} {{vm}}"), "percentunit",
	      thresholds=thresholds(0.005, 0.01)),
])

GONE = " Empty when no VM of this host is, or within the last hour was, migrated."
MIGRATION = dashboard("migration", "Migration", "Live migrations, whoever drives them, at the source and at the destination.", [
	panel("state-timeline", "Phase", "The current phase of each migration." + GONE,
	      t(f"iho_migration_phase{{{VM}}} == 1", "{{instance}} {{vm}} {{phase}}"), "none", width=16),
	stat("Under way", "Migrations that run now, by role." + GONE,
	     t(f"sum by (role) (iho_migration_active{{{VM}}})", "{{role}}")),
	stat("Converges", "Will it reach its downtime limit by itself? No value: not known yet." + GONE,
	     t(f"min by (instance, vm) (iho_migration_converges{{{VM}}})", "{{instance}} {{vm}}"), "none", mappings=YES_NO),
	lines("Bytes", "Total, transferred and remaining." + GONE,
	      t(f"sum by (instance, vm, kind) (iho_migration_bytes{{{VM}}})", "{{kind}} {{instance}} {{vm}}"), "bytes"),
	lines("Dirty rate against bandwidth", "It converges when the link is faster than the tenant writes." + GONE,
	      [t(f"iho_migration_dirty_bytes_per_second{{{VM}}}", "dirtied {{instance}} {{vm}}"),
	       t(f"iho_migration_bandwidth_bytes_per_second{{{VM}}}", "bandwidth {{instance}} {{vm}}")], "Bps"),
	lines("Time left", "The forecast, and its low and high bound; none where it will not converge." + GONE,
	      t(f"iho_migration_forecast_seconds{{{VM}}}", "{{bound}} {{instance}} {{vm}}"), "s"),
	lines("Downtime", "Expected, limit, and in the end the actual one." + GONE,
	      t(f"iho_migration_downtime_seconds{{{VM}}}", "{{kind}} {{instance}} {{vm}}"), "s"),
	lines("Throttle", "How much auto-converge slows the tenant's vCPUs." + GONE,
	      t(f"iho_migration_throttle_ratio{{{VM}}}", "{{instance}} {{vm}}"), "percentunit", max=1, width=8),
	lines("Iterations", "Rounds over the memory." + GONE,
	      t(f"iho_migration_iterations{{{VM}}}", "{{instance}} {{vm}}"), width=8),
	lines("Elapsed", "Since the migration began." + GONE,
	      t(f"iho_migration_elapsed_seconds{{{VM}}}", "{{instance}} {{vm}}"), "s", width=8),
	lines("What the tenant pays", "Guest page faults (write protection, post-copy) and dirty-ring pages per second.",
	      [t(f"sum by (instance, vm) ({rate('iho_vm_page_faults_total')})", "faults {{instance}} {{vm}}"),
	       t(f"sum by (instance, vm) ({rate('iho_vm_dirty_pages_total')})", "dirty pages {{instance}} {{vm}}")], "ops"),
	panel("table", "Migrations by result", "Since the collector started." + GONE,
	      t(f"sum by (instance, vm, result) (iho_migrations_total{{{VM}}})"), width=12,
	      transformations=[{"id": "organize", "options": {"excludeByName": {"Time": True}}}]),
])

INTEGRITY = dashboard("integrity", "Integrity", "Can these numbers be trusted: what was lost, who answers, who was restarted.", [
	panel("state-timeline", "Exporter scraped", "Prometheus reached it.", t(f"up{{{HOST}}}", "{{instance}}"), "none",
	      mappings=YES_NO, thresholds={"mode": "absolute", "steps": [{"color": "red", "value": None}, {"color": "green", "value": 1}]}),
	panel("state-timeline", "Collector answers", "The exporter reached ihod.", t(f"iho_up{{{HOST}}}", "{{instance}}"), "none",
	      mappings=YES_NO, thresholds={"mode": "absolute", "steps": [{"color": "red", "value": None}, {"color": "green", "value": 1}]}),
	lines("Lost events by cause", "Per second. Above zero, everything of this host is too low by that much.",
	      t(f"sum by (instance, cause) ({rate('iho_collector_lost_events_total', HOST)})", "{{instance}} {{cause}}"), "ops",
	      links=TO_HOST),
	lines("Clock went back", "Events whose time was before the previous one's, per second: they were dropped.",
	      t(rate("iho_collector_lost_events_total", HOST + ',cause="clock_back"'), "{{instance}}"), "ops"),
	lines("Oddities", "Entries without an exit, copies taken again, switches that the kernel did not report, interlopers that lost "
	      "their name. Per second; a few are normal at the start of a VM.",
	      [t(f"sum by (instance) ({rate(m, HOST)})", f"{n} {{{{instance}}}}") for m, n in (
		("iho_collector_unpaired_events_total", "unpaired"), ("iho_collector_torn_reads_total", "torn reads"),
		("iho_collector_missed_switches_total", "missed switches"),
		("iho_collector_interlopers_evicted_total", "evicted interlopers"))], "ops"),
	lines("Unaccounted time", "The share of each VM's vCPU time that is in no state; less than 1 % is promised.",
	      t(f'sum by (instance, vm) ({rate("iho_vcpu_state_seconds_total", UNACCOUNTED)}) / '
		f"(sum by (instance, vm) (iho_vm_vcpus{{{HOST}}}) > 0)", "{{instance}} {{vm}}"), "percentunit",
	      thresholds=thresholds(0.01, 0.02)),
	lines("Age of the collector", "Since its counters began; a fall is a restart.",
	      t(f"time() - iho_collector_start_time_seconds{{{HOST}}}", "{{instance}}"), "s"),
	lines("Restarts in an hour", "Of the collector.", t(f"changes(iho_collector_start_time_seconds{{{HOST}}}[1h])", "{{instance}}")),
	lines("Slots used", "Of the room for vCPUs; what has no slot is not seen.",
	      t(f"iho_collector_slots_used{{{HOST}}} / iho_collector_slots{{{HOST}}}", "{{instance}}"), "percentunit",
	      max=1, thresholds=thresholds(0.8, 0.9)),
	lines("Series dropped", "That did not fit into the exporter's limit, in each scrape.",
	      t(f"iho_exporter_series_dropped{{{HOST}}}", "{{instance}}"), thresholds=thresholds(bad=1)),
	panel("table", "Collectors", "Source of events; whether the host tells guest time from KVM time (splits_guest).",
	      t(f"sum by (instance, source, splits_guest) (iho_collector_info{{{HOST}}})"), width=12,
	      transformations=[{"id": "organize", "options": {"excludeByName": {"Time": True, "Value": True}}}]),
	panel("table", "Firing alerts", "Of this suite's rules, all hosts.",
	      t('sum by (alertname, severity, instance, vm) (ALERTS{alertname=~"Iho.+",alertstate="firing"})'), width=12,
	      transformations=[{"id": "organize", "options": {"excludeByName": {"Time": True, "Value": True}}}]),
], with_vm=False)

COST = dashboard("cost", "The suite's own cost", "What watching costs the watched host.", [
	stat("Cores", "Collector, exporter and BPF programs together, all chosen hosts.",
	     t(f"sum(instance:iho_own_cpu_seconds:rate2m{{{HOST}}})", "cores"), width=6, decimals=3),
	stat("Memory", "Collector and exporter resident, and the BPF maps, all chosen hosts.",
	     t(f"sum(iho_collector_resident_memory_bytes{{{HOST}}} + iho_exporter_resident_memory_bytes{{{HOST}}} + "
	       f"iho_collector_map_bytes{{{HOST}}})", "bytes"), "bytes", width=6),
	stat("Events", "Counted per second.", t(f"sum({rate('iho_collector_events_total', HOST)})", "events"), "ops", width=6),
	stat("Series", "In one scrape of all chosen hosts.", t(f"sum(iho_exporter_series{{{HOST}}})", "series"), width=6),
	lines("CPU", "Cores. bpf: mean cost of an event, sampled, times the events; absent until it was measured.",
	      [t(rate("iho_collector_cpu_seconds_total", HOST), "collector {{instance}}"),
	       t(rate("iho_exporter_cpu_seconds_total", HOST), "exporter {{instance}}"),
	       t(f"iho_collector_bpf_cpu_ratio{{{HOST}}}", "bpf {{instance}}")], "percentunit"),
	lines("Cost of one event", "Of our BPF programs, sampled; absent until it was measured.",
	      t(f"iho_collector_bpf_event_seconds{{{HOST}}}", "{{instance}}"), "s"),
	lines("Events per second", "That the BPF programs handled.",
	      t(rate("iho_collector_events_total", HOST), "{{instance}}"), "ops"),
	lines("Memory by part", "Resident, and kernel memory of the maps.",
	      [t(f"iho_collector_resident_memory_bytes{{{HOST}}}", "collector {{instance}}"),
	       t(f"iho_exporter_resident_memory_bytes{{{HOST}}}", "exporter {{instance}}"),
	       t(f"iho_collector_map_bytes{{{HOST}}}", "maps {{instance}}")], "bytes"),
	lines("Snapshot", "Copying all slots once; no system call.",
	      t(f"iho_collector_snapshot_seconds{{{HOST}}}", "{{instance}}"), "s"),
	lines("Scrape", "rendered: in the exporter; whole: as Prometheus measured it, with network and parsing.",
	      [t(f"iho_exporter_scrape_duration_seconds{{{HOST}}}", "rendered {{instance}}"),
	       t(f"scrape_duration_seconds{{{HOST}}}", "whole {{instance}}")], "s"),
	lines("Series per scrape", "As the exporter wrote them, and as Prometheus took them.",
	      [t(f"iho_exporter_series{{{HOST}}}", "written {{instance}}"),
	       t(f"scrape_samples_scraped{{{HOST}}}", "scraped {{instance}}")]),
	lines("Requests by code", "Per second; another code than 200 is a client that asks for the wrong thing.",
	      t(f"sum by (instance, code) ({rate('iho_exporter_requests_total', HOST)})", "{{code}} {{instance}}"), "reqps"),
	lines("Connections", "Open now, and evicted per second because there were too many.",
	      [t(f"iho_exporter_connections{{{HOST}}}", "open {{instance}}"),
	       t(rate("iho_exporter_connections_evicted_total", HOST), "evicted/s {{instance}}")]),
], with_vm=False)


def main():
	stale = []
	for d in (FLEET, TENANT, BILL, INTERRUPTS, MIGRATION, INTEGRITY, COST):
		path = HERE / (d["uid"] + ".json")
		text = json.dumps(d, indent=2, ensure_ascii=False) + "\n"
		if "--check" not in sys.argv[1:]:
			path.write_text(text)
		elif not path.exists() or path.read_text() != text:
			stale.append(path.name)
	if stale:
		sys.exit("not what generate.py writes: " + ", ".join(stale))


if __name__ == "__main__":
	main()
