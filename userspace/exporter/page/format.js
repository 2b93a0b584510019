// SPDX-License-Identifier: GPL-2.0-or-later
/* Numbers as they are written on the page. What is not known says so. */
'use strict';

const format = (() => {
	const UNKNOWN = 'unknown';
	const known = (v) => typeof v === 'number' && !Number.isNaN(v);
	const grouped = (v, digits) =>
		v.toLocaleString('en-US', {
			minimumFractionDigits: digits,
			maximumFractionDigits: digits,
		});

	/* A rate or a count: three figures below 100, all of them above. */
	function count(v) {
		if (!known(v)) return UNKNOWN;
		if (v !== 0 && Math.abs(v) < 0.1) return grouped(v, 3);
		return grouped(v, Number.isInteger(v) || Math.abs(v) >= 99.95 ? 0 : 1);
	}

	const whole = (v) => (known(v) ? grouped(v, 0) : UNKNOWN);
	const share = (v, digits = 1) => (known(v) ? `${grouped(v * 100, digits)} %` : UNKNOWN);

	/* Room on an axis is short: 1500 is 1.5k. */
	function brief(v) {
		for (const [unit, by] of [
			['G', 1e9],
			['M', 1e6],
			['k', 1e3],
		])
			if (Math.abs(v) >= by) return `${+(v / by).toPrecision(3)}${unit}`;
		return `${+v.toPrecision(3)}`;
	}

	function duration(s) {
		if (!known(s)) return UNKNOWN;
		if (s === Infinity) return '∞';
		if (s === 0) return '0 s';
		for (const [unit, by] of [
			['s', 1],
			['ms', 1e-3],
			['µs', 1e-6],
		])
			if (s >= by * 0.9995) return `${+(s / by).toPrecision(3)} ${unit}`;
		return `${+(s / 1e-9).toPrecision(3)} ns`;
	}

	/* A span that a person waits: 95 is 1 min 35 s. */
	function span(s) {
		if (!known(s)) return UNKNOWN;
		if (s < 60) return `${grouped(s, s < 10 && !Number.isInteger(s) ? 1 : 0)} s`;
		const whole = Math.round(s);
		if (whole < 3600) return `${Math.floor(whole / 60)} min ${whole % 60} s`;
		return `${Math.floor(whole / 3600)} h ${Math.floor((whole % 3600) / 60)} min`;
	}

	function bytes(v) {
		if (!known(v)) return UNKNOWN;
		for (const [unit, by] of [
			['TiB', 2 ** 40],
			['GiB', 2 ** 30],
			['MiB', 2 ** 20],
			['KiB', 2 ** 10],
		])
			if (v >= by) return `${+(v / by).toPrecision(3)} ${unit}`;
		return `${v} B`;
	}

	const two = (v) => String(v).padStart(2, '0');
	function clock(unix) {
		const d = new Date(unix * 1000);
		return `${two(d.getHours())}:${two(d.getMinutes())}:${two(d.getSeconds())}`;
	}

	/* Along an axis: no seconds where all of them are 0. */
	function clocks(times) {
		const n = times.every((t) => t % 60 === 0) ? 5 : 8;
		return times.map((t) => clock(t).slice(0, n));
	}

	return { UNKNOWN, known, count, whole, share, brief, duration, span, bytes, clock, clocks };
})();
