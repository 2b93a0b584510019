// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The three kinds of picture: Bill (stacked shares), Lines (rates by reason), Heat (latency).
 *
 * Each is made once, in a box of fixed height, and then only fed. Colours come from the style
 * sheet's variables; nothing is told by colour alone: areas carry a pattern, lines a dash, and the
 * legend shows both beside the name and the number.
 */
'use strict';

const charts = (() => {
	const GUTTER = 58; /* of the vertical axes, so that the time axes stand above one another */
	const css = (name) =>
		getComputedStyle(document.documentElement).getPropertyValue(name).trim();
	const ratio = () => window.devicePixelRatio || 1;

	function element(tag, className, text) {
		const e = document.createElement(tag);
		if (className) e.className = className;
		if (text !== undefined) e.textContent = text;
		return e;
	}
	function setText(e, text) {
		if (e.textContent !== text) e.textContent = text;
	}

	/*
	 * Key and label as the collector's catalogue has them, from the bottom of the stack
	 * upwards.
	 */
	const STATES = [
		['guest', 'Guest', 'solid'],
		['guest_or_kvm', 'Guest or KVM', 'solid'],
		['kvm', 'KVM', 'rising'],
		['qemu', 'QEMU', 'falling'],
		['halt_poll', 'Poll', 'dots'],
		['runnable', 'Runnable', 'bars'],
		['preempted', 'Preempted', 'cross'],
		['stopped', 'Stopped', 'lines'],
		['blocked', 'Blocked', 'wide'],
		['halted', 'Halted', 'solid'],
		['unaccounted', 'Unaccounted', 'dots'],
	].map(([key, label, pattern]) => ({ key, label, pattern }));

	const DASHES = [
		[],
		[9, 4],
		[2, 3],
		[9, 3, 2, 3],
		[16, 5],
		[5, 5],
		[9, 3, 2, 3, 2, 3],
		[1, 5],
		[3, 3],
	];
	const TOP = 8; /* lines with a name; the last dash is the others' */

	/* One tile of a pattern, in device pixels, so that it stays sharp. */
	function tile(pattern, fill, ink) {
		const n = Math.round(8 * ratio());
		const c = element('canvas');
		c.width = c.height = n;
		const x = c.getContext('2d');
		const line = (...points) => {
			x.beginPath();
			for (let i = 0; i < points.length; i += 4) {
				x.moveTo(points[i] * n, points[i + 1] * n);
				x.lineTo(points[i + 2] * n, points[i + 3] * n);
			}
			x.stroke();
		};
		x.fillStyle = fill;
		x.fillRect(0, 0, n, n);
		x.strokeStyle = x.fillStyle = ink;
		x.lineWidth = n / 7;
		const rising = [
			-0.25, 0.25, 0.25, -0.25, -0.25, 1.25, 1.25, -0.25, 0.75, 1.25, 1.25, 0.75,
		];
		const falling = [
			-0.25, 0.75, 0.25, 1.25, -0.25, -0.25, 1.25, 1.25, 0.75, -0.25, 1.25, 0.25,
		];
		switch (pattern) {
			case 'rising':
				line(...rising);
				break;
			case 'falling':
				line(...falling);
				break;
			case 'cross':
				line(...rising, ...falling);
				break;
			case 'bars':
				line(0.5, 0, 0.5, 1);
				break;
			case 'lines':
				line(0, 0.5, 1, 0.5);
				break;
			case 'wide':
				x.lineWidth = n / 14;
				line(0, 0.5, 1, 0.5);
				break;
			case 'dots':
				for (const [cx, cy] of [
					[0.25, 0.25],
					[0.75, 0.75],
				]) {
					x.beginPath();
					x.arc(cx * n, cy * n, n / 9, 0, 7);
					x.fill();
				}
				break;
		}
		return c;
	}

	/* The fill of a state, for its area, its swatch and the bars of the table. */
	const fills = new Map();
	function stateFill(state) {
		return (
			fills.get(state.key) ??
			fills
				.set(
					state.key,
					element('canvas')
						.getContext('2d')
						.createPattern(
							tile(
								state.pattern,
								css(`--state-${state.key}`),
								css('--pattern-ink'),
							),
							'repeat',
						),
				)
				.get(state.key)
		);
	}

	/* Sizes a canvas to its box, cleared; the context draws in device pixels. */
	function prepare(canvas, width, height) {
		const r = ratio();
		const w = Math.round(width * r),
			h = Math.round(height * r);
		if (canvas.width !== w || canvas.height !== h) {
			canvas.width = w;
			canvas.height = h;
		}
		const x = canvas.getContext('2d');
		x.clearRect(0, 0, w, h);
		return x;
	}

	/* shares: one number for each state, their sum at most 1. */
	function drawBar(canvas, shares) {
		const x = prepare(canvas, 96, 14);
		let at = 0;
		STATES.forEach((state, i) => {
			const w = shares[i] * canvas.width;
			if (!(w > 0)) return;
			x.fillStyle = stateFill(state);
			x.fillRect(at, 0, w, canvas.height);
			at += w;
		});
	}

	/*
	 * A row of the legend: a button that hides and shows what it stands for.
	 * set(label, value, faded) changes it; draw(context, width, height) paints its swatch.
	 */
	class Legend {
		constructor(root, n, toggle) {
			this.rows = Array.from({ length: n }, (_, i) => {
				const row = element('button', 'key');
				row.type = 'button';
				row.setAttribute('aria-pressed', 'true');
				row.addEventListener('click', () => {
					const on = row.getAttribute('aria-pressed') !== 'true';
					row.setAttribute('aria-pressed', String(on));
					toggle(i, on);
				});
				const swatch = element('canvas', 'swatch');
				swatch.setAttribute('aria-hidden', 'true');
				const name = element('span', 'name'),
					value = element('span', 'value');
				row.append(swatch, name, value);
				root.append(row);
				return { row, swatch, name, value };
			});
		}
		paint(i, draw) {
			const { swatch } = this.rows[i];
			draw(prepare(swatch, 22, 12), swatch.width, swatch.height);
		}
		set(i, name, value, key = name) {
			const r = this.rows[i];
			setText(r.name, name);
			setText(r.value, value);
			r.row.title = name;
			r.row.dataset.key = key;
		}
		hide(i, hidden) {
			this.rows[i].row.classList.toggle('unused', hidden);
			this.rows[i].row.disabled = hidden;
		}
		/*
		 * Only the order on the screen changes: moving elements would take the focus away.
		 */
		place(i, at) {
			const order = String(at);
			if (this.rows[i].row.style.order !== order)
				this.rows[i].row.style.order = order;
		}
	}

	/* What Bill and Lines share: a uPlot in a box, its axes, its cursor by mouse and by key. */
	class Chart {
		constructor(root) {
			this.root = root;
			this.data = [[]];
			this.span = 300;
			this.plot = null;
			new ResizeObserver(() => this.fit()).observe(root);
			root.addEventListener('keydown', (e) => this.key(e));
			root.addEventListener('blur', () =>
				this.plot?.setCursor({ left: -10, top: -10 }, true, true),
			);
		}

		size() {
			return {
				width: Math.max(this.root.clientWidth, 80),
				height: this.root.clientHeight,
			};
		}
		fit() {
			const size = this.size();
			if (
				this.plot &&
				(size.width !== this.plot.width || size.height !== this.plot.height)
			)
				this.plot.setSize(size);
		}

		/* Again from the beginning: the theme changed. */
		restyle() {
			this.plot?.destroy();
			this.plot = null;
			this.draw();
		}

		axis(more) {
			return {
				stroke: css('--muted'),
				font: '12px system-ui, sans-serif',
				grid: { stroke: css('--grid'), width: 1 },
				ticks: { show: false },
				...more,
			};
		}

		options(series, yRange, yValues) {
			return {
				...this.size(),
				series: [{}, ...series],
				legend: { show: false },
				padding: [8, 8, 0, 0],
				scales: {
					x: { time: true, range: () => this.window() },
					y: { range: yRange },
				},
				axes: [
					this.axis({
						space: 56,
						size: 26,
						values: (u, at) => this.clocks(u, at),
					}),
					this.axis({
						size: GUTTER,
						space: 34,
						values: (u, at) => at.map(yValues),
					}),
				],
				cursor: {
					drag: { x: false, y: false },
					y: false,
					sync: { key: 'iho', scales: ['x', null] },
				},
				hooks: { setCursor: [(u) => this.showValues(u.cursor.idx)] },
			};
		}

		/* What would be cut off at the right edge is left out. */
		clocks(u, at) {
			const room = u.over.clientWidth - 20;
			return format
				.clocks(at)
				.map((text, i) => (u.valToPos(at[i], 'x') > room ? '' : text));
		}

		window() {
			const end = this.data[0].at(-1) ?? Date.now() / 1000;
			return [end - this.span, end];
		}

		draw() {
			if (!this.plot) this.plot = new uPlot(this.build(), this.data, this.root);
			else this.plot.setData(this.data);
			this.showValues(this.plot.cursor.idx);
		}

		key(e) {
			const step = { ArrowLeft: -1, ArrowRight: 1 }[e.key];
			const n = this.data[0].length;
			if (!step || !this.plot || n === 0) return;
			e.preventDefault();
			const first = this.data[0].findIndex((t) => t >= this.window()[0]);
			const at = Math.min(
				Math.max((this.plot.cursor.idx ?? n - 1) + step, first),
				n - 1,
			);
			this.plot.setCursor(
				{ left: this.plot.valToPos(this.data[0][at], 'x'), top: 0 },
				true,
				true,
			);
		}
	}

	class Bill extends Chart {
		constructor(root, legend) {
			super(root);
			this.shown = STATES.map(() => true);
			this.shares = STATES.map(() => []);
			this.legend = new Legend(legend, STATES.length, (i, on) => {
				this.shown[i] = on;
				this.stack();
				this.draw();
			});
			STATES.forEach((s, i) => this.legend.set(i, s.label, '–', s.key));
		}

		/* Series are drawn one over the other: the highest sum first. */
		build() {
			STATES.forEach((s, i) =>
				this.legend.paint(i, (x, w, h) => {
					x.fillStyle = stateFill(s);
					x.fillRect(0, 0, w, h);
				}),
			);
			const series = STATES.map((s) => ({
				stroke: css('--panel'),
				width: 1,
				fill: () => stateFill(s),
				points: { show: false },
			}));
			return this.options(
				series.reverse(),
				() => [0, 1],
				(v) => `${Math.round(v * 100)} %`,
			);
		}

		/*
		 * series: state -> vCPU-seconds per second, or null. used: the states that this
		 * host can tell.
		 */
		feed(times, span, series, used) {
			const wall = times.map((_, t) => {
				let w = 0;
				for (const values of series.values()) w += values[t] ?? NaN;
				return w;
			});
			this.times = times;
			this.span = span;
			this.shares = STATES.map((s) =>
				times.map((_, t) => {
					const share = (series.get(s.key)?.[t] ?? 0) / wall[t];
					return Number.isFinite(share) ? share : null;
				}),
			);
			STATES.forEach((s, i) => this.legend.hide(i, !used.has(s.key)));
			this.stack();
			this.draw();
		}

		stack() {
			const base = this.times.map(() => 0);
			const sums = this.shares.map((values, i) =>
				values.map((v, t) => {
					if (v === null) return null;
					base[t] += this.shown[i] ? v : 0;
					return Math.min(base[t], 1);
				}),
			);
			this.data = [this.times, ...sums.reverse()];
		}

		showValues(at) {
			STATES.forEach((s, i) => {
				const v = this.shares[i].at(at ?? -1);
				this.legend.set(
					i,
					s.label,
					typeof v === 'number' ? format.share(v) : '–',
					s.key,
				);
			});
		}
	}

	class Lines extends Chart {
		constructor(root, legend) {
			super(root);
			this.slots =
				Array(TOP).fill(
					null,
				); /* a reason keeps its line as long as it is of the top */
			this.shown = Array(TOP + 1).fill(true);
			this.legend = new Legend(legend, TOP + 1, (i, on) => {
				this.shown[i] = on;
				this.plot?.setSeries(i + 1, { show: on });
			});
			this.note = element('p', 'over');
			this.note.hidden = true;
			root.append(this.note);
			for (let i = 0; i <= TOP; i++) this.legend.hide(i, true);
		}

		build() {
			const series = this.shown.map((show, i) => {
				this.legend.paint(i, (x, w, h) => {
					x.strokeStyle = css(`--line-${i}`);
					x.lineWidth = 2.5 * ratio();
					x.setLineDash(DASHES[i].map((d) => d * ratio()));
					x.beginPath();
					x.moveTo(0, h / 2);
					x.lineTo(w, h / 2);
					x.stroke();
				});
				return {
					show,
					stroke: css(`--line-${i}`),
					width: 2,
					dash: DASHES[i].length ? DASHES[i] : undefined,
					points: { show: false },
				};
			});
			return this.options(
				series,
				(u, lo, hi) => [0, hi > 0 ? hi * 1.1 : 1],
				format.brief,
			);
		}

		/*
		 * The reasons with the most exits in what is seen keep, or get, a line; the others
		 * are summed.
		 */
		assign(series, from) {
			const weight = [...series]
				.map(([key, values]) => [
					key,
					values.slice(from).reduce((s, v) => s + (v ?? 0), 0),
				])
				.filter(([, w]) => w > 0);
			weight.sort((a, b) => b[1] - a[1] || (a[0] < b[0] ? -1 : 1));
			const top = new Set(weight.slice(0, TOP).map(([key]) => key));
			this.slots = this.slots.map((key) => (top.has(key) ? key : null));
			for (const key of top)
				if (!this.slots.includes(key))
					this.slots[this.slots.indexOf(null)] = key;
			return weight.slice(TOP).map(([key]) => key);
		}

		/* series: reason -> rates; note: why there is nothing, or ''. */
		feed(times, known, span, series, note) {
			const from = Math.max(
				times.findIndex((t) => t >= times.at(-1) - span),
				0,
			);
			const others = this.assign(series, from);
			const zeros = known.map((k) => (k ? 0 : null));
			const rest = zeros.map((z, t) =>
				z === null
					? null
					: others.reduce(
							(s, key) => s + (series.get(key)[t] ?? 0),
							0,
						),
			);
			this.span = span;
			this.others = others.length;
			this.data = [
				times,
				...this.slots.map(
					(key) => series.get(key) ?? times.map(() => null),
				),
				others.length ? rest : times.map(() => null),
			];
			this.note.hidden = note === '';
			setText(this.note, note);
			this.draw();
			this.order();
		}

		order() {
			const now = [...this.slots.keys()].sort(
				(a, b) =>
					(this.data[b + 1].at(-1) ?? -1) -
					(this.data[a + 1].at(-1) ?? -1),
			);
			now.forEach((i, at) => this.legend.place(i, at));
			this.legend.place(TOP, TOP);
		}

		showValues(at) {
			for (let i = 0; i <= TOP; i++) {
				const name =
					i < TOP
						? this.slots[i]
						: this.others
							? `${this.others} other`
							: null;
				const v = this.data[i + 1]?.at(at ?? -1);
				this.legend.hide(i, name === null);
				this.legend.set(
					i,
					name ?? '',
					typeof v === 'number' ? format.count(v) : '–',
				);
			}
		}
	}

	/* Between colours given as #rrggbb. */
	function mix(stops, at) {
		const pos = Math.min(Math.max(at, 0), 1) * (stops.length - 1);
		const i = Math.min(Math.floor(pos), stops.length - 2);
		const part = (hex, k) => parseInt(hex.slice(1 + 2 * k, 3 + 2 * k), 16);
		const rgb = [0, 1, 2].map((k) =>
			Math.round(
				part(stops[i], k) +
					(part(stops[i + 1], k) - part(stops[i], k)) * (pos - i),
			),
		);
		return `rgb(${rgb.join(',')})`;
	}

	/* Time across, duration up, the rate as colour on a logarithmic scale from 0. */
	class Heat {
		constructor(root, read, scale, max) {
			Object.assign(this, {
				root,
				read,
				scale,
				max,
				times: [],
				lengths: [],
				bounds: [],
				rows: [],
				cell: null,
			});
			this.canvas = element('canvas', 'fill');
			this.note = element('p', 'over');
			this.note.hidden = true;
			root.append(this.canvas, this.note);
			new ResizeObserver(() => this.draw()).observe(root);
			this.canvas.addEventListener('pointermove', (e) => this.point(e));
			this.canvas.addEventListener('pointerleave', () => this.select(null));
			root.addEventListener('keydown', (e) => this.key(e));
			root.addEventListener('blur', () => this.select(null));
		}

		/*
		 * rows: for each bound, ascending, a rate for each time; null where it is not
		 * known.
		 */
		feed(times, lengths, span, bounds, rows, note) {
			Object.assign(this, { times, lengths, span, bounds, rows });
			this.top = rows.reduce(
				(m, r) => r.reduce((a, v) => Math.max(a, v ?? 0), m),
				0,
			);
			this.note.hidden = note === '';
			setText(this.note, note);
			setText(this.max, this.top > 0 ? `${format.count(this.top)} /s` : '–');
			this.draw();
		}

		restyle() {
			this.draw();
		}

		layout() {
			const width = Math.max(this.root.clientWidth, 80),
				height = this.root.clientHeight;
			const plot = {
				left: GUTTER,
				top: 8,
				width: width - GUTTER - 8,
				height: height - 8 - 26,
			};
			const end = this.times.at(-1) ?? Date.now() / 1000;
			return {
				...plot,
				box: { width, height },
				start: end - this.span,
				end,
				x: (t) =>
					plot.left +
					(plot.width * (t - end + this.span)) / this.span,
				y: (row) => plot.top + plot.height * (1 - row / this.bounds.length),
			};
		}

		draw() {
			const l = this.layout();
			const x = prepare(this.canvas, l.box.width, l.box.height);
			const stops = css('--heat').split(/[\s,]+/);
			x.scale(ratio(), ratio());
			this.drawCells(x, l, stops);
			this.drawAxes(x, l);
			x.setTransform(1, 0, 0, 1, 0, 0);
			this.drawScale(stops);
			this.say();
		}

		drawCells(x, l, stops) {
			const strength = Math.log1p(this.top);
			const whole = (v) =>
				Math.round(v * ratio()) /
				ratio(); /* cells leave no seam between them */
			this.times.forEach((t, i) => {
				const from = whole(Math.max(l.x(t - this.lengths[i]), l.left));
				const width = whole(l.x(t)) - from;
				if (!(width > 0)) return;
				this.rows.forEach((values, row) => {
					if (!(values[i] > 0)) return;
					const y = whole(l.y(row + 1));
					x.fillStyle = mix(
						stops,
						0.12 + (0.88 * Math.log1p(values[i])) / strength,
					);
					x.fillRect(from, y, width, whole(l.y(row)) - y);
				});
			});
			if (this.cell && this.rows[this.cell.row]) {
				const { at, row } = this.cell;
				const from = l.x(this.times[at] - this.lengths[at]);
				x.strokeStyle = css('--text');
				x.lineWidth = 1.5;
				x.strokeRect(
					from,
					l.y(row + 1),
					Math.max(l.x(this.times[at]) - from, 2),
					l.y(row) - l.y(row + 1),
				);
			}
		}

		drawAxes(x, l) {
			x.font = '12px system-ui, sans-serif';
			x.fillStyle = css('--muted');
			x.strokeStyle = css('--grid');
			x.lineWidth = 1;
			x.textBaseline = 'middle';
			x.textAlign = 'right';
			const every = Math.max(Math.ceil((this.bounds.length * 20) / l.height), 1);
			for (let row = 0; row < this.bounds.length; row += every)
				if (this.bounds[row] !== Infinity)
					x.fillText(
						format.duration(this.bounds[row]),
						l.left - 6,
						l.y(row + 1),
					);
			x.strokeRect(l.left, l.top, l.width, l.height);
			x.textAlign = 'center';
			const step =
				[30, 60, 120, 300].find((s) => (s * l.width) / this.span >= 56) ??
				600;
			const at = [];
			for (let t = Math.ceil(l.start / step) * step; t <= l.end; t += step)
				if (l.x(t) > l.left + 20 && l.x(t) < l.left + l.width - 20)
					at.push(t);
			format.clocks(at).forEach((text, i) =>
				x.fillText(text, l.x(at[i]), l.box.height - 12),
			);
		}

		drawScale(stops) {
			const x = prepare(this.scale, 120, 10);
			for (let i = 0; i < this.scale.width; i++) {
				x.fillStyle = mix(stops, 0.12 + (0.88 * i) / this.scale.width);
				x.fillRect(i, 0, 1, this.scale.height);
			}
		}

		point(e) {
			const box = this.canvas.getBoundingClientRect();
			const l = this.layout();
			const t = l.start + ((e.clientX - box.left - l.left) / l.width) * this.span;
			const row = Math.floor(
				(1 - (e.clientY - box.top - l.top) / l.height) * this.bounds.length,
			);
			const at = this.times.findIndex(
				(end, i) => t <= end && t > end - this.lengths[i],
			);
			this.select(at >= 0 && this.rows[row] ? { at, row } : null);
		}

		key(e) {
			const step = {
				ArrowLeft: [-1, 0],
				ArrowRight: [1, 0],
				ArrowUp: [0, 1],
				ArrowDown: [0, -1],
			}[e.key];
			if (!step || this.rows.length === 0 || this.times.length === 0) return;
			e.preventDefault();
			const at = this.cell ?? {
				at: this.times.length - 1,
				row: Math.floor(this.rows.length / 2),
			};
			this.select({
				at: Math.min(Math.max(at.at + step[0], 0), this.times.length - 1),
				row: Math.min(Math.max(at.row + step[1], 0), this.rows.length - 1),
			});
		}

		select(cell) {
			this.cell = cell;
			this.draw();
		}

		say() {
			const { at, row } = this.cell ?? {};
			if (at === undefined || !this.rows[row] || at >= this.times.length) {
				setText(
					this.read,
					this.rows.length
						? 'Point, or use the arrow keys, to read a cell'
						: '',
				);
				return;
			}
			const from = row > 0 ? format.duration(this.bounds[row - 1]) : '0';
			const v = this.rows[row][at];
			setText(
				this.read,
				`${format.clock(this.times[at])}  ${from} to ${format.duration(this.bounds[row])}: ` +
					(v === null ? format.UNKNOWN : `${format.count(v)} /s`),
			);
		}
	}

	return {
		STATES,
		Bill,
		Lines,
		Heat,
		drawBar,
		element,
		setText,
		forget: () => fills.clear(),
	};
})();
