// SPDX-License-Identifier: GPL-2.0-or-later
/* What the test of the live page reads out of it; browser.py puts this into every page. */
'use strict';

/* What the policy refuses, also where no message on the console says so; and what moves by itself */
window.refused = [];
window.shifts = [];
document.addEventListener('securitypolicyviolation', (e) =>
	window.refused.push(e.violatedDirective + ' ' + e.blockedURI),
);
new PerformanceObserver((l) =>
	l.getEntries().forEach((e) => e.hadRecentInput || window.shifts.push(e.value)),
).observe({ type: 'layout-shift', buffered: true });

window.probe = {
	/* The cells of a table that are shown, by column */
	rows: (id) =>
		[...document.querySelectorAll(`#${id}-body tr`)].map((tr) =>
			Object.fromEntries(
				[...tr.children]
					.filter((td) => !td.classList.contains('untold'))
					.map((td) => [td.dataset.column, td.textContent]),
			),
		),

	/* The keys of a legend that are in use, with their values */
	legend: (id) =>
		Object.fromEntries(
			[...document.querySelectorAll(`#${id}-legend .key:not(.unused)`)].map(
				(k) => [k.dataset.key, k.querySelector('.value').textContent],
			),
		),

	/* Pixels of a chart's canvas: how many colours, and how a column near its right edge divides */
	canvas: (id) => {
		const c = document.querySelector(`#${id} canvas`);
		const x = new OffscreenCanvas(c.width, c.height).getContext('2d', {
			willReadFrequently: true,
		});
		x.drawImage(c, 0, 0);
		const all = new Uint32Array(x.getImageData(0, 0, c.width, c.height).data.buffer);
		const d = x.getImageData(c.width - 10, 8, 1, c.height - 34).data,
			column = [];
		for (let i = 0; i < d.length; i += 4) column.push(d.slice(i, i + 4).join(','));
		return { colours: new Set(all).size, column };
	},

	/* The guest's colour, as pixels have it */
	guest: () => {
		const i = document.createElement('i');
		document.body.append(i);
		i.style.color = 'var(--state-guest)';
		const c = getComputedStyle(i).color;
		i.remove();
		return c.match(/\d+/g).join(',') + ',255';
	},

	/* The least contrast of any visible text with what is behind it, and of the pictures' colours */
	contrast: () => {
		const parse = (s) => {
			const n = s.match(/[\d.]+/g).map(Number);
			return [n[0], n[1], n[2], n[3] ?? 1];
		};
		const light = (c) => {
			const f = c
				.slice(0, 3)
				.map((v) =>
					(v /= 255) <= 0.04045
						? v / 12.92
						: ((v + 0.055) / 1.055) ** 2.4,
				);
			return 0.2126 * f[0] + 0.7152 * f[1] + 0.0722 * f[2];
		};
		const over = (a, b) =>
			[0, 1, 2].map((i) => a[i] * a[3] + b[i] * (1 - a[3])).concat(1);
		const ratio = (a, b) => {
			const [x, y] = [light(a), light(b)].sort((p, q) => q - p);
			return (x + 0.05) / (y + 0.05);
		};
		const behind = (e) => {
			const stack = [];
			for (; e; e = e.parentElement)
				stack.push(parse(getComputedStyle(e).backgroundColor));
			return stack
				.reverse()
				.reduce((below, c) => over(c, below), [255, 255, 255, 1]);
		};
		let worst = [99, ''],
			n = 0;
		for (const e of document.body.querySelectorAll('*')) {
			if (
				e.matches(
					'option, script, noscript, noscript *, :disabled, .skip',
				) ||
				!e.getClientRects().length
			)
				continue;
			if (
				![...e.childNodes].some(
					(c) => c.nodeType === 3 && c.textContent.trim(),
				) &&
				!e.matches('select')
			)
				continue;
			let faded = 1;
			for (let p = e; p; p = p.parentElement)
				faded *= Number(getComputedStyle(p).opacity);
			const bg = behind(e),
				fg = parse(getComputedStyle(e).color),
				r = ratio(over([...fg.slice(0, 3), fg[3] * faded], bg), bg);
			n++;
			if (r < worst[0])
				worst = [
					r,
					`${e.tagName} ${e.id || e.className}: ${e.textContent.slice(0, 30)}`,
				];
		}
		const style = getComputedStyle(document.documentElement),
			probe = document.createElement('i');
		document.body.append(probe);
		const named = (v) => {
			probe.style.color = style.getPropertyValue(v);
			return parse(getComputedStyle(probe).color);
		};
		let picture = [99, ''];
		const names = [
			...charts.STATES.map((s) => `--state-${s.key}`),
			...Array.from({ length: 9 }, (_, i) => `--line-${i}`),
		];
		for (const v of names) {
			const r = ratio(named(v), named('--panel'));
			if (r < picture[0]) picture = [r, v];
		}
		probe.remove();
		return {
			worst,
			n,
			picture,
			pictures: names.length,
			bg: style.getPropertyValue('--bg'),
			body: light(behind(document.body)),
		};
	},

	/* What is cut off at the right */
	wide: () =>
		[...document.querySelectorAll('body *')]
			.filter(
				(e) =>
					e.getClientRects().length &&
					!e.matches(
						'.skip, thead, thead *, .u-over *, .u-under, .u-cursor-x, .u-axis',
					) &&
					e.getBoundingClientRect().right > innerWidth + 0.5,
			)
			.map((e) => e.tagName + '#' + e.id + '.' + e.className),

	/* Far more than a history may hold */
	bounds: () => {
		const h = new model.History(50, 400);
		let most = 0,
			refused = 0;
		for (let t = 0; t < 1000; t++) {
			const part = () => ({
				wall: 1,
				states: new Map([['guest', 1]]),
				exits: new Map([[`reason ${t % 300}`, 1]]),
				user: new Map(),
				durations: new Map(),
				known: true,
			});
			const vms = new Map(
				Array.from({ length: 40 }, (_, i) => [
					`vm ${t < 500 ? i + t : i}`,
					{ ...part(), vcpus: new Map() },
				]),
			);
			h.push(t, { dt: 1, restarted: false, all: part(), vms });
			most = Math.max(most, h.columns);
			refused += h.refused;
		}
		let rings = 0,
			columns = 0;
		for (const kinds of h.scopes.values())
			for (const c of kinds.values())
				for (const { ring } of c.values()) {
					rings = Math.max(rings, ring.length);
					columns++;
				}
		return {
			most,
			refused: refused > 0,
			rings,
			agree: columns === h.columns,
			times: h.times.length,
			order: h.order().length,
		};
	},
};
