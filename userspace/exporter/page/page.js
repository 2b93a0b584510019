// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The page: asks for /metrics.json, keeps the history, and shows it.
 *
 * Text from outside reaches the page only as textContent, a title or a form's value.
 */
'use strict';

(() => {
	const PERIOD_S = 2;
	const SLOWEST_S = 30; /* between two tries when nobody answers */
	const TIMEOUT_S = 10;
	const MAX_ROWS = 256; /* of a table; the rest is said, not shown */
	const MAX_OPTIONS = 1024; /* of a picker */
	const WAITING = ['runnable', 'preempted'];

	const { element, setText, STATES } = charts;
	const $ = (id) => document.getElementById(id);
	const root = document.documentElement;

	const history = new model.History();
	const view = { vm: null, vcpu: null, span: 300, reason: '' };
	let host = null,
		interval = null; /* the last document, and what happened since the one before */
	let timer = 0,
		failures = 0,
		asking = null,
		polls = 0;
	let notice = { text: '', until: 0 };

	const bill = new charts.Bill($('bill'), $('bill-legend'));
	const exits = new charts.Lines($('exits'), $('exits-legend'));
	const user = new charts.Lines($('user'), $('user-legend'));
	const heat = new charts.Heat($('heat'), $('heat-read'), $('heat-scale'), $('heat-max'));

	/* ---- asking ---- */

	function status(state, mark, text) {
		$('status').dataset.state = state;
		setText($('status-mark'), mark);
		setText($('status-text'), text);
		root.classList.toggle('stale', state === 'down');
		$('retry').hidden = state !== 'down';
	}

	async function ask() {
		asking = new AbortController();
		const late = setTimeout(() => asking.abort(), TIMEOUT_S * 1000);
		try {
			const answer = await fetch('metrics.json', {
				cache: 'no-store',
				signal: asking.signal,
			});
			if (!answer.ok)
				throw new Error(`the exporter refuses: HTTP ${answer.status}`);
			return model.read(await answer.json());
		} catch (e) {
			if (e.name === 'AbortError')
				throw new Error(
					`the exporter did not answer within ${TIMEOUT_S} s`,
				);
			if (e instanceof SyntaxError)
				throw new Error('the exporter answers, but not in JSON');
			throw e instanceof TypeError
				? new Error('the exporter does not answer')
				: e;
		} finally {
			clearTimeout(late);
			asking = null;
		}
	}

	async function poll() {
		clearTimeout(timer);
		timer = 0;
		if (asking) return;
		try {
			const next = await ask();
			if (next.up) taken(next);
			else failed('the exporter answers, but ihod, which collects, does not');
		} catch (e) {
			failed(e.message);
		}
		/* An answer that was under way when the tab was hidden does not end the pause. */
		if (document.hidden) paused();
		else schedule();
	}

	const wait = () => Math.min(PERIOD_S * 2 ** Math.max(failures - 1, 0), SLOWEST_S);
	function schedule() {
		clearTimeout(timer);
		timer = setTimeout(poll, wait() * 1000);
	}

	function paused() {
		status(
			$('status').dataset.state === 'down' ? 'down' : 'paused',
			'‖',
			'Paused while this tab is hidden',
		);
	}

	function failed(why) {
		failures++;
		const since = host ? ` Numbers are of ${format.clock(host.time)}.` : '';
		status('down', '✕', `No numbers: ${why}. Next try in ${wait()} s.${since}`);
		root.dataset.failures = failures;
	}

	function taken(next) {
		const before = host;
		const step = before ? model.difference(before, next) : null;
		const back = failures > 0 && before;
		failures = 0;
		status('live', '●', `Live: ${format.clock(next.time)}`);
		if (before && !step && next.time === before.time) return;
		host = next;
		interval = step;
		if (step) remember(step, next);
		else if (before) say('The clock of the host was set back: rates begin again.');
		if (back && !step?.restarted)
			say(
				`Numbers are back; there were none for ${format.span(next.time - before.time)}.`,
			);
		show();
		polls++;
		Object.assign(root.dataset, { polls, time: next.time, failures });
	}

	/*
	 * A hole in the charts where we did not look: its mean would be drawn as if it were known.
	 */
	function remember(step, next) {
		if (step.dt > 3 * PERIOD_S) history.gap(next.time - step.dt / 2);
		history.push(next.time, step);
		if (step.restarted)
			say(
				`ihod was restarted: its counters began again. Rates are unknown until the next numbers.`,
			);
		else if (step.wentBack.length)
			say(
				`Counters went back, so their rates are unknown for this moment: ${step.wentBack.join(', ')}`,
			);
	}

	function say(text) {
		notice = { text, until: Date.now() + 60000 };
	}

	document.addEventListener('visibilitychange', () => {
		if (!document.hidden) {
			poll();
			return;
		}
		clearTimeout(timer);
		paused();
	});
	$('retry').addEventListener('click', poll);

	/* ---- the whole host ---- */

	const rateOf = (part, kind) => (part ? model.sum(part[kind]) : NaN);
	const scalar = (name) => host.scalars.get(name) ?? NaN;
	const perSecond = (v) => (format.known(v) ? `${format.count(v)} /s` : format.UNKNOWN);
	const noReasons = () => host.splits === false;

	function put(id, text, more) {
		setText($(`tile-${id}`), text);
		setText($(`tile-${id}-more`), more);
	}

	function showTiles() {
		const all = interval?.all.known ? interval.all : null;
		let live = 0;
		for (const vm of host.vms.values()) live += format.known(vm.live) ? vm.live : 0;
		const guest =
			all && all.wall > 0
				? (all.states.get('guest') ?? all.states.get('guest_or_kvm'))
				: NaN;
		const waiting = all
			? WAITING.reduce((s, key) => s + (all.states.get(key) ?? 0), 0)
			: NaN;
		put(
			'vms',
			format.whole(host.vms.size),
			interval ? `over ${format.span(interval.dt)}` : 'first numbers',
		);
		put(
			'vcpus',
			format.whole(live),
			format.known(guest)
				? `${format.count(guest)} in the guest, ${format.count(waiting)} wait`
				: '',
		);
		if (noReasons()) put('exits', 'not told', 'this KVM does not report them');
		else
			put(
				'exits',
				perSecond(rateOf(all, 'exits')),
				all && live
					? `${format.count(rateOf(all, 'exits') / live)} per vCPU`
					: '',
			);
		put(
			'user',
			perSecond(rateOf(all, 'user')),
			all && live ? `${format.count(rateOf(all, 'user') / live)} per vCPU` : '',
		);
		showLosses();
		showCost();
		setText($('version'), host.version ? `IHO ${host.version}.` : '');
		setText(
			$('memory'),
			history.refused
				? `This page keeps ${history.columns} series; ${history.refused} found no room.`
				: '',
		);
	}

	function showLosses() {
		const lost = host.lost.size ? model.sum(host.lost) : NaN;
		const dropped = scalar('iho_exporter_series_dropped');
		const causes = [...host.lost]
			.filter(([, n]) => n > 0)
			.sort((a, b) => b[1] - a[1])
			.map(([cause, n]) => `${format.whole(n)} ${cause}`);
		if (dropped > 0) causes.unshift(`${format.whole(dropped)} series not exported`);
		const bad = lost > 0 || dropped > 0;
		$('losses').classList.toggle('bad', bad);
		put(
			'lost',
			bad ? `⚠ ${format.whole(lost)}` : format.whole(lost),
			bad ? causes.join(', ') : 'nothing missed',
		);
		if (!format.known(lost)) setText($('tile-lost-more'), 'not reported');
		$('losses').title = causes.join(', ');
	}

	function showCost() {
		const bpf = scalar('iho_collector_bpf_cpu_ratio');
		const parts = [
			['BPF', bpf],
			['ihod', interval?.collectorCpu ?? NaN],
			['exporter', interval?.exporterCpu ?? NaN],
		];
		const known = parts.filter(([, v]) => format.known(v));
		const total = known.reduce((s, [, v]) => s + v, 0);
		put(
			'cost',
			known.length
				? `${known.length < parts.length ? '≥ ' : ''}${format.share(total, 2)}`
				: format.UNKNOWN,
			`${parts.map(([name, v]) => `${name} ${format.share(v, 2)}`).join(', ')}; ` +
				`${format.bytes(scalar('iho_collector_resident_memory_bytes'))}`,
		);
		$('tile-cost-more').title = $('tile-cost-more').textContent;
	}

	function showNotice() {
		if (notice.until < Date.now()) notice = { text: '', until: 0 };
		const moving = [...host.vms]
			.filter(([, vm]) => vm.migration?.active === 1)
			.map(
				([name, vm]) =>
					`${name} migrates (${vm.migration.phase || 'phase unknown'})`,
			);
		const lines = [notice.text, ...moving];
		if (host.vms.size === 0) lines.push('No VM runs on this host.');
		setText($('notice'), lines.filter((s) => s).join('  ·  '));
		$('notice').title = $('notice').textContent;
	}

	/* ---- pickers ---- */

	/*
	 * items: [value, text]; elements that stay the same stay, so that an open list stays open.
	 */
	function options(select, first, items, chosen) {
		const want = [['', first], ...items.slice(0, MAX_OPTIONS)];
		const same =
			want.length === select.options.length &&
			want.every(
				([v, t], i) =>
					select.options[i].value === v &&
					select.options[i].textContent === t,
			);
		if (!same) {
			select.replaceChildren(
				...want.map(([v, t]) => {
					const o = element('option', '', t);
					o.value = v;
					return o;
				}),
			);
		}
		select.value = chosen;
	}

	const byName = (a, b) => a[0].localeCompare(b[0], undefined, { numeric: true });

	/* A value of '' is everything, so a name is marked by a letter before it. */
	function showPickers() {
		const vms = [...host.vms.keys()]
			.map((name) => [`=${name}`, name || '(no name)'])
			.sort(byName);
		if (view.vm !== null && !host.vms.has(view.vm))
			vms.push([`=${view.vm}`, `${view.vm} (gone)`]);
		options($('pick-vm'), 'All VMs', vms, view.vm === null ? '' : `=${view.vm}`);
		const vcpus = [...(host.vms.get(view.vm)?.vcpus.keys() ?? [])]
			.map((id) => [`=${id}`, `vCPU ${id}`])
			.sort(byName);
		if (view.vcpu !== null && !vcpus.some(([v]) => v === `=${view.vcpu}`))
			vcpus.push([`=${view.vcpu}`, `vCPU ${view.vcpu} (gone)`]);
		options(
			$('pick-vcpu'),
			'All vCPUs',
			vcpus,
			view.vcpu === null ? '' : `=${view.vcpu}`,
		);
		$('pick-vcpu').disabled = view.vm === null;
	}

	function pick(vm, vcpu) {
		view.vm = vm;
		view.vcpu = vcpu;
		if (host) show();
	}
	const picked = (select) => (select.value === '' ? null : select.value.slice(1));
	$('pick-vm').addEventListener('change', (e) => pick(picked(e.target), null));
	$('pick-vcpu').addEventListener('change', (e) => pick(view.vm, picked(e.target)));
	$('pick-span').addEventListener('change', (e) => {
		view.span = Number(e.target.value);
		if (host) showCharts();
	});
	$('pick-reason').addEventListener('change', (e) => {
		view.reason = e.target.value;
		if (host) showCharts();
	});
	$('per-vcpu').addEventListener('change', () => host && showTables());
	document.querySelector('.pickers').addEventListener('submit', (e) => e.preventDefault());

	/* ---- charts ---- */

	/* The states that this host can tell: those that any vCPU reports. */
	function statesTold() {
		const told = new Set();
		for (const vm of host.vms.values())
			for (const vcpu of vm.vcpus.values())
				for (const key of vcpu.states.keys()) told.add(key);
		return told;
	}

	function showCharts() {
		const scope = model.scopeOf(view.vm, view.vcpu);
		const times = history.order().map((s) => history.times[s]);
		const known = history.known(scope);
		const soft = noReasons()
			? 'This KVM reports no exits (a software KVM without kvm_entry and kvm_exit), ' +
				'so their reasons and durations cannot be told. Exits to the VMM can.'
			: '';
		setText(
			$('bill-scope'),
			view.vm === null
				? 'all VMs, shares of wall time'
				: `${view.vm}${view.vcpu === null ? '' : `, vCPU ${view.vcpu}`}, shares of wall time`,
		);
		const waits = times.length ? '' : 'Two documents make a rate: in 2 s';
		bill.feed(times, view.span, history.series(scope, 'states'), statesTold());
		exits.feed(times, known, view.span, history.series(scope, 'exits'), soft || waits);
		user.feed(times, known, view.span, history.series(scope, 'user'), waits);
		showHeat(times, soft);
	}

	/* Histograms are kept for a VM, not for each of its vCPUs. */
	function showHeat(times, soft) {
		const scope = model.scopeOf(view.vm, null);
		const now =
			(view.vm === null ? interval?.all : interval?.vms.get(view.vm))
				?.durations ?? new Map();
		const reasons = history.reasons(scope).sort();
		if (view.reason !== '' && !reasons.includes(view.reason)) reasons.push(view.reason);
		options(
			$('pick-reason'),
			'All reasons',
			reasons.map((r) => [r, r]),
			view.reason,
		);
		const bounds = new Set();
		for (const vm of host.vms.values())
			for (const d of vm.durations.values())
				for (const le of d.buckets.keys()) bounds.add(le);
		const sorted = [...bounds].sort((a, b) => a - b);
		const rows = new Map(
			sorted.map((le) => [le, history.known(scope).map((k) => (k ? 0 : null))]),
		);
		const latest = new Map();
		for (const reason of view.reason === '' ? reasons : [view.reason]) {
			for (const [le, values] of history.series(scope, `le ${reason}`))
				rows.get(le)?.forEach((v, t, row) => {
					if (v !== null) row[t] = v + (values[t] ?? 0);
				});
			for (const [le, v] of now.get(reason) ?? []) model.add(latest, le, v);
		}
		const lengths = history.order().map((s) => history.lengths[s]);
		heat.feed(
			times,
			lengths,
			view.span,
			sorted,
			sorted.map((le) => rows.get(le)),
			soft,
		);
		const q = (share) => format.duration(model.quantile(latest, share));
		setText(
			$('heat-now'),
			soft
				? ''
				: latest.size === 0
					? 'No exit ended in the last interval'
					: `Last interval: half ≤ ${q(0.5)}, 99 % ≤ ${q(0.99)}${view.vcpu === null ? '' : ` (all vCPUs of ${view.vm})`}`,
		);
	}

	/* ---- tables ---- */

	/*
	 * columns: [{ key, title, cell(td, row), sort?(row) }]; rows: [{ key, ... }]. Rows are kept
	 * by key, so that what has the focus keeps it.
	 */
	class Table {
		constructor(id, columns) {
			this.columns = columns;
			this.head = $(`${id}-head`);
			this.body = $(`${id}-body`);
			this.rows = new Map();
			this.sort = { column: null, down: true };
			this.head.append(...columns.map((c) => this.header(c)));
		}

		header(c) {
			const th = element('th', c.left ? 'left' : '');
			th.scope = 'col';
			if (!c.sort) {
				th.textContent = c.title;
				return th;
			}
			const button = element('button', '', c.title);
			button.type = 'button';
			button.addEventListener('click', () => {
				const down = this.sort.column === c ? !this.sort.down : !c.left;
				this.sort = { column: c, down };
				for (const other of this.head.children)
					other.removeAttribute('aria-sort');
				th.setAttribute('aria-sort', down ? 'descending' : 'ascending');
				if (this.last) this.feed(this.last);
			});
			th.append(button);
			return th;
		}

		arrange(rows) {
			const { column, down } = this.sort;
			if (!column) return rows;
			const rank = (v) =>
				typeof v === 'number' && Number.isNaN(v) ? -Infinity : v;
			return rows.slice().sort((a, b) => {
				const x = rank(column.sort(a)),
					y = rank(column.sort(b));
				return (x < y ? -1 : x > y ? 1 : 0) * (down ? -1 : 1);
			});
		}

		/* Returns how many rows are not shown. */
		feed(rows) {
			this.last = rows;
			const shown = this.arrange(rows).slice(0, MAX_ROWS);
			const keys = new Set(shown.map((r) => r.key));
			for (const [key, tr] of this.rows) {
				if (keys.has(key)) continue;
				tr.remove();
				this.rows.delete(key);
			}
			shown.forEach((row, at) => {
				let tr = this.rows.get(row.key);
				if (!tr) {
					tr = element('tr');
					for (const c of this.columns) {
						const td = element('td', c.left ? 'left' : '');
						td.dataset.label = c.title;
						td.dataset.column = c.key;
						tr.append(td);
					}
					this.rows.set(row.key, tr);
				}
				if (this.body.children[at] !== tr)
					this.body.insertBefore(tr, this.body.children[at] ?? null);
				this.columns.forEach((c, i) => c.cell(tr.children[i], row));
			});
			return rows.length - shown.length;
		}
	}

	const write = (of) => (td, row) => setText(td, of(row));

	/* A name that is pressed to see it alone. */
	function nameCell(td, row, text, choose) {
		let button = td.firstElementChild;
		if (!button) {
			button = element('button', 'link');
			button.type = 'button';
			button.addEventListener('click', () => choose(button.row));
			td.append(button);
		}
		button.row = row;
		setText(button, text);
		button.title = `Show ${text} alone`;
	}

	function billCell(td, row) {
		let canvas = td.firstElementChild;
		if (!canvas) {
			canvas = element('canvas', 'bar');
			canvas.setAttribute('aria-hidden', 'true');
			td.append(canvas);
		}
		charts.drawBar(
			canvas,
			STATES.map((s) => row.share(s.key)),
		);
	}

	const SIGNALS = [
		'mperf',
		'ref_cycles',
		'bill',
		'guest',
	]; /* the first that is known is shown */
	function busyText(row) {
		const signal = SIGNALS.find((s) => format.known(row.busy.get(s)));
		if (!signal) return format.UNKNOWN;
		return `${format.share(row.busy.get(signal))} (${signal}${row.disagree === 1 ? ', signals disagree' : ''})`;
	}

	const vcpuColumns = [
		{
			key: 'vm',
			title: 'VM',
			left: true,
			sort: (r) => r.vm,
			cell: (td, r) =>
				nameCell(td, r, r.vm || '(no name)', (row) => pick(row.vm, null)),
		},
		{
			key: 'vcpu',
			title: 'vCPU',
			left: true,
			sort: (r) => (r.vcpu === null ? r.count : Number(r.vcpu)),
			cell: (td, r) =>
				r.vcpu === null
					? setText(td, `all ${r.count}`)
					: nameCell(td, r, r.vcpu, (row) => pick(row.vm, row.vcpu)),
		},
		{ key: 'bill', title: 'Bill', cell: billCell },
		...STATES.map((s) => ({
			key: s.key,
			title: s.label,
			sort: (r) => r.share(s.key),
			cell: write((r) => r.shareText(s.key)),
		})),
		{
			key: 'exits',
			title: 'Exits/s',
			sort: (r) => r.exits,
			cell: write((r) => format.count(r.exits)),
		},
		{
			key: 'user',
			title: 'VMM/s',
			sort: (r) => r.user,
			cell: write((r) => format.count(r.user)),
		},
		{
			key: 'core',
			title: 'Core',
			sort: (r) => r.core,
			cell: write((r) => (r.vcpu === null ? '' : format.whole(r.core))),
		},
		{
			key: 'pinned',
			title: 'Pinned',
			sort: (r) => r.pinned,
			cell: write((r) =>
				r.vcpu === null
					? r.pinnedText
					: ({ 0: 'no', 1: 'yes' }[r.pinned] ?? format.UNKNOWN),
			),
		},
		{
			key: 'busy',
			title: 'Busy',
			cell: write((r) => (r.vcpu === null ? '' : busyText(r))),
		},
	];
	const vcpuTable = new Table('vcpus', vcpuColumns);

	function rowOf(name, id, vcpu, part) {
		const share = (key) =>
			part?.wall > 0 ? (part.states.get(key) ?? 0) / part.wall : NaN;
		const told = (key) => (id === null ? true : vcpu.states.has(key));
		return {
			key: JSON.stringify([name, id]),
			vm: name,
			vcpu: id,
			core: vcpu?.core,
			pinned: vcpu?.pinned,
			busy: vcpu?.busy,
			disagree: vcpu?.disagree,
			share,
			shareText: (key) => (told(key) ? format.share(share(key)) : format.UNKNOWN),
			exits: noReasons() ? NaN : rateOf(part, 'exits'),
			user: rateOf(part, 'user'),
		};
	}

	function vcpuRows() {
		const rows = [];
		for (const [name, vm] of [...host.vms].sort(byName)) {
			if (view.vm !== null && name !== view.vm) continue;
			const part = interval?.vms.get(name);
			if (!$('per-vcpu').checked) {
				const pinned = [...vm.vcpus.values()].filter(
					(c) => c.pinned === 1,
				).length;
				rows.push({
					...rowOf(name, null, null, part?.known ? part : null),
					count: vm.vcpus.size,
					pinnedText: `${pinned} of ${vm.vcpus.size}`,
				});
				continue;
			}
			for (const [id, vcpu] of [...vm.vcpus].sort(byName))
				if (view.vcpu === null || id === view.vcpu)
					rows.push(rowOf(name, id, vcpu, part?.vcpus.get(id)));
		}
		return rows;
	}

	const APICV = { on: 'on', off: 'off', inhibited: 'inhibited' };
	function apicvText(vm) {
		const state = APICV[vm.apicv] ?? format.UNKNOWN;
		return vm.inhibited.length
			? `${state}: ${vm.inhibited.slice().sort().join(', ')}`
			: state;
	}

	/* Time that others had, of one second of wall time, and in total. */
	function interloperText(row, kind) {
		const total = row.of.interloperSeconds.get(kind);
		const now = row.part?.interlopers?.get(kind);
		if (!format.known(total)) return format.UNKNOWN;
		return `${format.known(now) ? `${format.duration(now)}/s` : format.UNKNOWN}; ${format.duration(total)}`;
	}

	const interloperColumn = (kind, title) => ({
		key: kind,
		title,
		sort: (r) => r.of.interloperSeconds.get(kind) ?? NaN,
		cell: write((r) => interloperText(r, kind)),
	});
	const vmTable = new Table('vms', [
		{
			key: 'vm',
			title: 'VM',
			left: true,
			sort: (r) => r.vm,
			cell: (td, r) =>
				nameCell(td, r, r.vm || '(no name)', (row) => pick(row.vm, null)),
		},
		{
			key: 'vmm',
			title: 'VMM',
			left: true,
			cell: write(
				(r) =>
					[r.of.vmm, r.of.pid].filter((s) => s).join(' ') ||
					format.UNKNOWN,
			),
		},
		{
			key: 'apicv',
			title: 'APICv',
			left: true,
			sort: (r) => apicvText(r.of),
			cell: write((r) => apicvText(r.of)),
		},
		{
			key: 'changes',
			title: 'Changes',
			sort: (r) => r.of.apicvChanges,
			cell: write((r) => format.whole(r.of.apicvChanges)),
		},
		interloperColumn('task', 'Tasks: now; total'),
		interloperColumn('irq', 'Interrupts: now; total'),
		interloperColumn('softirq', 'Softirqs: now; total'),
	]);

	function empty(id, text) {
		$(id).hidden = text === '';
		setText($(id), text);
	}

	function showTables() {
		const rows = vcpuRows();
		const told = statesTold();
		vcpuColumns.forEach((c, i) => {
			if (STATES.some((s) => s.key === c.key))
				vcpuTable.head.children[i].classList.toggle(
					'untold',
					!told.has(c.key),
				);
		});
		root.classList.toggle('no-reasons', noReasons());
		const more = vcpuTable.feed(rows);
		for (const tr of vcpuTable.body.children)
			for (const td of tr.children)
				if (STATES.some((s) => s.key === td.dataset.column))
					td.classList.toggle('untold', !told.has(td.dataset.column));
		setText($('vcpus-note'), more > 0 ? `${more} more: pick a VM` : '');
		empty('vcpus-empty', rows.length ? '' : 'No vCPU to show');
		const vms = [...host.vms]
			.sort(byName)
			.filter(([name]) => view.vm === null || view.vm === name)
			.map(([name, of]) => ({
				key: name,
				vm: name,
				of,
				part: interval?.vms.get(name),
			}));
		vmTable.feed(vms);
		empty('vms-empty', vms.length ? '' : 'No VM to show');
	}

	/* ---- migration ---- */

	function forecastText(m) {
		if (m.converges === 0) return 'will not converge as it goes';
		const at = (bound) => m.forecast.get(bound);
		if (!format.known(at('expected')))
			return m.converges === 1 ? 'converges; when is unknown' : format.UNKNOWN;
		const spread =
			format.known(at('low')) && format.known(at('high'))
				? ` (${format.span(at('low'))} to ${format.span(at('high'))})`
				: '';
		return `${format.span(at('expected'))}${spread}`;
	}

	function downtimeText(m) {
		return (
			['expected', 'actual', 'limit']
				.filter((kind) => format.known(m.downtime.get(kind)))
				.map((kind) => `${kind} ${format.duration(m.downtime.get(kind))}`)
				.join(', ') || format.UNKNOWN
		);
	}

	const migrationFacts = [
		[
			'Remaining',
			(m) =>
				`${format.bytes(m.bytes.get('remaining'))} of ${format.bytes(m.bytes.get('total'))}`,
		],
		['Transferred', (m) => format.bytes(m.bytes.get('transferred'))],
		['Ends in', (m) => (m.active === 1 ? forecastText(m) : 'ended')],
		[
			'Dirtied',
			(m) =>
				format.known(m.dirty)
					? `${format.bytes(m.dirty)}/s`
					: format.UNKNOWN,
		],
		[
			'Bandwidth',
			(m) =>
				format.known(m.bandwidth)
					? `${format.bytes(m.bandwidth)}/s`
					: format.UNKNOWN,
		],
		['Downtime', downtimeText],
		['Iterations', (m) => format.whole(m.iterations)],
		['Throttle', (m) => format.share(m.throttle, 0)],
		['Elapsed', (m) => format.span(m.elapsed)],
	];

	const cards = new Map();
	function migrationCard(name) {
		const card = element('article', 'migration');
		const title = element('h3'),
			bar = element('progress'),
			list = element('dl');
		bar.setAttribute('aria-label', `Migration of ${name}`);
		const facts = migrationFacts.map(([label, of]) => {
			const box = element('div'),
				dd = element('dd');
			dd.dataset.fact = label;
			box.append(element('dt', '', label), dd);
			list.append(box);
			return { dd, of };
		});
		card.append(title, bar, list);
		$('migrations').append(card);
		return { card, title, bar, facts };
	}

	/* What is done, of what there is to do; NaN where it is not known. */
	function doneShare(m) {
		if (m.phase === 'completed') return 1;
		const done = 1 - m.bytes.get('remaining') / m.bytes.get('total');
		return done >= 0 && done <= 1 ? done : NaN;
	}

	function showMigrations() {
		const moving = [...host.vms]
			.filter(
				([name, vm]) =>
					vm.migration && (view.vm === null || view.vm === name),
			)
			.sort(byName);
		const names = new Set(moving.map(([name]) => name));
		for (const [name, c] of cards) {
			if (names.has(name)) continue;
			c.card.remove();
			cards.delete(name);
		}
		for (const [name, { migration: m }] of moving) {
			let c = cards.get(name);
			if (!c) cards.set(name, (c = migrationCard(name)));
			const done = doneShare(m);
			setText(
				c.title,
				`${name}: ${m.role || 'role unknown'}, ${m.phase || 'phase unknown'}` +
					(format.known(done) ? `, ${format.share(done, 0)}` : ''),
			);
			if (format.known(done)) c.bar.value = done;
			else c.bar.removeAttribute('value');
			for (const { dd, of } of c.facts) setText(dd, of(m));
		}
		$('migration').hidden = moving.length === 0;
	}

	function show() {
		showTiles();
		showNotice();
		showPickers();
		showCharts();
		showTables();
		showMigrations();
	}

	/* ---- theme ---- */

	const dark = matchMedia('(prefers-color-scheme: dark)');
	function restyle() {
		const choice = $('theme').value;
		root.dataset.theme = choice === 'auto' ? (dark.matches ? 'dark' : 'light') : choice;
		charts.forget();
		for (const chart of [bill, exits, user, heat]) chart.restyle();
		if (host) showTables();
	}
	function stored(value) {
		try {
			/* a browser may forbid it */
			if (value !== undefined) localStorage.setItem('iho-theme', value);
			return localStorage.getItem('iho-theme');
		} catch {
			return null;
		}
	}
	$('theme').addEventListener('change', (e) => {
		stored(e.target.value);
		restyle();
	});
	dark.addEventListener('change', restyle);
	if (['dark', 'light'].includes(stored())) $('theme').value = stored();

	setText($('host'), location.host);
	document.title = `IHO ${location.host}`;
	bill.feed([], view.span, new Map(), new Set());
	exits.feed([], [], view.span, new Map(), '');
	user.feed([], [], view.span, new Map(), '');
	restyle();
	poll();
})();
