// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * From two /metrics.json documents to what happened between them, and a bounded memory of it.
 *
 * Flow: document -> read() -> host; two hosts -> difference() -> interval; interval -> History.
 * Knows nothing of the page. Names come from VMs and are anything: they are keys of Maps, never of
 * objects. What is not known is NaN (or absent), never 0.
 */
'use strict';

const model = (() => {
	const SCHEMA = /^iho-metrics\/1(\.|$)/;

	const number = (v) => (typeof v === 'number' && Number.isFinite(v) ? v : NaN);
	const list = (v) => (Array.isArray(v) ? v : []);
	const text = (v) => (typeof v === 'string' ? v : '');

	const obtain = (map, key, make) => {
		let v = map.get(key);
		if (v === undefined) map.set(key, (v = make()));
		return v;
	};
	const add = (map, key, v) => map.set(key, (map.get(key) || 0) + v);
	const sum = (map) => {
		let s = 0;
		for (const v of map.values()) s += v;
		return s;
	};

	const newVcpu = () => ({
		states: new Map(),
		exits: new Map(),
		user: new Map(),
		busy: new Map(),
		core: NaN,
		pinned: NaN,
		disagree: NaN,
	});
	const newVm = () => ({
		vmm: '',
		pid: '',
		live: NaN,
		vcpus: new Map(),
		durations: new Map(),
		apicv: '',
		inhibited: [],
		apicvChanges: NaN,
		interloperSeconds: new Map(),
		interloperTimes: new Map(),
		migration: null,
	});
	const newMigration = () => ({
		role: '',
		active: NaN,
		phase: '',
		bytes: new Map(),
		downtime: new Map(),
		forecast: new Map(),
		iterations: NaN,
		dirty: NaN,
		bandwidth: NaN,
		throttle: NaN,
		elapsed: NaN,
		converges: NaN,
	});

	/*
	 * Which family fills what. v: the VM, c: the vCPU, m: the migration, l: labels, n: the
	 * value.
	 */
	const vmFamilies = {
		iho_vm_info: (v, l) => {
			v.vmm = text(l.vmm);
			v.pid = text(l.pid);
		},
		iho_vm_vcpus: (v, l, n) => {
			v.live = n;
		},
		iho_vm_apicv_state: (v, l, n) => {
			if (n === 1) v.apicv = text(l.state);
		},
		iho_vm_apicv_inhibited: (v, l, n) => {
			if (n === 1) v.inhibited.push(text(l.reason));
		},
		iho_vm_apicv_changes_total: (v, l, n) => {
			v.apicvChanges = n;
		},
		iho_vm_interloper_seconds_total: (v, l, n) =>
			v.interloperSeconds.set(text(l.kind), n),
		iho_vm_interlopers_total: (v, l, n) => v.interloperTimes.set(text(l.kind), n),
	};
	const vcpuFamilies = {
		iho_vcpu_state_seconds_total: (c, l, n) => c.states.set(text(l.state), n),
		iho_vcpu_exits_total: (c, l, n) => c.exits.set(text(l.reason), n),
		iho_vcpu_user_exits_total: (c, l, n) => c.user.set(text(l.reason), n),
		iho_vcpu_busy_ratio: (c, l, n) => c.busy.set(text(l.signal), n),
		iho_vcpu_busy_disagreement: (c, l, n) => {
			c.disagree = n;
		},
		iho_vcpu_core: (c, l, n) => {
			c.core = n;
		},
		iho_vcpu_pinned: (c, l, n) => {
			c.pinned = n;
		},
	};
	const migrationFamilies = {
		iho_migration_active: (m, l, n) => {
			m.active = n;
			m.role = text(l.role);
		},
		iho_migration_phase: (m, l, n) => {
			if (n === 1) m.phase = text(l.phase);
		},
		iho_migration_bytes: (m, l, n) => m.bytes.set(text(l.kind), n),
		iho_migration_downtime_seconds: (m, l, n) => m.downtime.set(text(l.kind), n),
		iho_migration_forecast_seconds: (m, l, n) => m.forecast.set(text(l.bound), n),
		iho_migration_iterations: (m, l, n) => {
			m.iterations = n;
		},
		iho_migration_dirty_bytes_per_second: (m, l, n) => {
			m.dirty = n;
		},
		iho_migration_bandwidth_bytes_per_second: (m, l, n) => {
			m.bandwidth = n;
		},
		iho_migration_throttle_ratio: (m, l, n) => {
			m.throttle = n;
		},
		iho_migration_elapsed_seconds: (m, l, n) => {
			m.elapsed = n;
		},
		iho_migration_converges: (m, l, n) => {
			m.converges = n;
		},
	};
	const own = (o, k) => (Object.hasOwn(o, k) ? o[k] : null);

	/*
	 * Counts of a histogram by bucket, no longer cumulative; the key is the bound in seconds.
	 */
	function readDuration(sample) {
		const buckets = new Map();
		let below = 0;
		for (const b of list(sample.buckets)) {
			const le = b.le === '+Inf' ? Infinity : number(b.le);
			const count = number(b.count);
			if (Number.isNaN(le) || Number.isNaN(count)) continue;
			buckets.set(le, count - below);
			below = count;
		}
		return { count: number(sample.count), sum: number(sample.sum), buckets };
	}

	function readSample(host, name, sample) {
		const labels =
			sample.labels && typeof sample.labels === 'object' ? sample.labels : {};
		const value = number(sample.value);
		const vm = () => obtain(host.vms, text(labels.vm), newVm);
		const ofVm = own(vmFamilies, name);
		const ofVcpu = own(vcpuFamilies, name);
		const ofMigration = own(migrationFamilies, name);

		if (ofVm) ofVm(vm(), labels, value);
		else if (ofVcpu)
			ofVcpu(obtain(vm().vcpus, text(labels.vcpu), newVcpu), labels, value);
		else if (ofMigration)
			ofMigration((vm().migration ??= newMigration()), labels, value);
		else if (name === 'iho_vm_exit_duration_seconds')
			vm().durations.set(text(labels.reason), readDuration(sample));
		else if (name === 'iho_collector_lost_events_total')
			host.lost.set(text(labels.cause), value);
		else if (name === 'iho_collector_info')
			host.splits = labels.splits_guest === 'true';
		else if (name === 'iho_build_info') host.version = text(labels.version);
		else if (Object.keys(labels).length === 0) host.scalars.set(name, value);
	}

	/*
	 * The host as one document shows it. Throws where it is no such document.
	 * splits: does this host tell guest from KVM? null where it does not say.
	 */
	function read(doc) {
		if (!doc || typeof doc !== 'object' || !SCHEMA.test(text(doc.schema)))
			throw new Error('the answer is not an iho-metrics/1 document');
		const host = {
			time: number(doc.time),
			vms: new Map(),
			lost: new Map(),
			scalars: new Map(),
			splits: null,
			version: '',
		};
		for (const family of list(doc.families))
			for (const sample of list(family?.samples))
				if (sample && typeof sample === 'object')
					readSample(host, text(family.name), sample);
		host.up = host.scalars.get('iho_up') === 1;
		return host;
	}

	/*
	 * What was added to each counter, per second. One that was not there before began at 0: the
	 * caller makes sure that its vCPU was there. Null where one went back, or is not a number.
	 */
	function rates(before, now, dt) {
		const out = new Map();
		for (const [key, value] of now) {
			const d = value - (before?.get(key) ?? 0);
			if (!(d >= 0)) return null;
			out.set(key, d / dt);
		}
		return out;
	}

	function vcpuInterval(before, now, dt) {
		if (!before) return null;
		const states = rates(before.states, now.states, dt);
		const exits = rates(before.exits, now.exits, dt);
		const user = rates(before.user, now.user, dt);
		return states && exits && user ? { states, exits, user, wall: sum(states) } : null;
	}

	/* Exits by reason and bucket per second; only what is not 0 takes memory. */
	function durationInterval(before, now, dt) {
		const out = new Map();
		for (const [reason, d] of now) {
			const r = rates(before.get(reason)?.buckets, d.buckets, dt);
			if (!r) return null;
			for (const [le, v] of r)
				if (v > 0) obtain(out, reason, () => new Map()).set(le, v);
		}
		return out;
	}

	const newSum = () => ({
		states: new Map(),
		exits: new Map(),
		user: new Map(),
		durations: new Map(),
		wall: 0,
	});
	function accumulate(into, from) {
		for (const kind of ['states', 'exits', 'user'])
			for (const [key, v] of from[kind]) add(into[kind], key, v);
		into.wall += from.wall;
	}

	function vmInterval(before, now, dt) {
		const vm = { ...newSum(), vcpus: new Map(), known: false, wentBack: false };
		for (const [id, vcpu] of now.vcpus) {
			const was = before.vcpus.get(id);
			const v = vcpuInterval(was, vcpu, dt);
			vm.vcpus.set(id, v);
			if (v) {
				accumulate(vm, v);
				vm.known = true;
			} else if (was && id !== 'unknown') {
				/* "unknown" sums vCPUs that may get their number: it may shrink */
				vm.wentBack = true;
			}
		}
		vm.durations = durationInterval(before.durations, now.durations, dt) ?? new Map();
		vm.interlopers = rates(before.interloperSeconds, now.interloperSeconds, dt);
		return vm;
	}

	const grewBy = (before, now, name) => {
		const d = now.scalars.get(name) - before.scalars.get(name);
		return d >= 0 ? d : NaN;
	};

	function restarted(before, now) {
		for (const name of [
			'iho_collector_start_time_seconds',
			'iho_collector_events_total',
		]) {
			const a = before.scalars.get(name),
				b = now.scalars.get(name);
			if (name.endsWith('_start_time_seconds') ? b > a : b < a) return true;
		}
		return false;
	}

	/*
	 * What happened between two hosts. restarted: the collector's counters began again, so
	 * nothing is known of this interval. Null where no time passed: the same document twice, or
	 * a clock set back.
	 */
	function difference(before, now) {
		const dt = now.time - before.time;
		if (!(dt > 0)) return null;
		const interval = {
			dt,
			restarted: restarted(before, now),
			all: { ...newSum(), known: false },
			vms: new Map(),
			wentBack: [],
			collectorCpu: grewBy(before, now, 'iho_collector_cpu_seconds_total') / dt,
			exporterCpu: grewBy(before, now, 'iho_exporter_cpu_seconds_total') / dt,
		};
		if (interval.restarted) return interval;
		interval.all.known = now.vms.size === 0;
		for (const [name, vm] of now.vms) {
			if (!before.vms.has(name)) continue;
			const v = vmInterval(before.vms.get(name), vm, dt);
			interval.vms.set(name, v);
			if (v.wentBack) interval.wentBack.push(name);
			if (!v.known) continue;
			interval.all.known = true;
			accumulate(interval.all, v);
			for (const [reason, buckets] of v.durations)
				for (const [le, rate] of buckets)
					add(
						obtain(
							interval.all.durations,
							reason,
							() => new Map(),
						),
						le,
						rate,
					);
		}
		return interval;
	}

	/* A scope is what the charts show: everything, a VM, or one of its vCPUs. */
	const scopeOf = (vm, vcpu) =>
		JSON.stringify(vm === null ? [] : vcpu === null ? [vm] : [vm, vcpu]);

	/*
	 * The last POINTS intervals, in columns: one ring of numbers for each scope, kind and key.
	 * Bounded twice: by the length of the rings, and by their number; what finds no ring is
	 * counted.
	 */
	class History {
		constructor(points = 300, maxColumns = 12000) {
			this.points = points;
			this.maxColumns = maxColumns;
			this.times = new Float64Array(points).fill(NaN);
			this.lengths = new Float64Array(points).fill(NaN);
			this.scopes = new Map(); /* scope -> kind -> key -> { ring, last } */
			this.columns = 0;
			this.count = 0; /* intervals ever pushed; the next slot is count % points */
			this.refused = 0; /* columns that found no room, by the last interval */
		}

		begin(time, length) {
			this.slot = this.count++ % this.points;
			this.times[this.slot] = time;
			this.lengths[this.slot] = length;
			this.refused = 0;
			for (const [scope, kinds] of this.scopes) {
				for (const [kind, columns] of kinds) {
					for (const [key, c] of columns) {
						c.ring[this.slot] = NaN;
						if (this.count - c.last > this.points) {
							columns.delete(key);
							this.columns--;
						}
					}
					if (columns.size === 0) kinds.delete(kind);
				}
				if (kinds.size === 0) this.scopes.delete(scope);
			}
		}

		put(scope, kind, key, value) {
			const kinds = obtain(this.scopes, scope, () => new Map());
			const columns = obtain(kinds, kind, () => new Map());
			let c = columns.get(key);
			if (!c) {
				if (this.columns >= this.maxColumns) {
					this.refused++;
					return;
				}
				c = { ring: new Float32Array(this.points).fill(NaN), last: 0 };
				columns.set(key, c);
				this.columns++;
			}
			c.ring[this.slot] = value;
			c.last = this.count;
		}

		putScope(scope, part) {
			this.put(scope, 'wall', '', part.wall);
			for (const kind of ['states', 'exits', 'user'])
				for (const [key, v] of part[kind])
					if (v > 0) this.put(scope, kind, key, v);
			for (const [reason, buckets] of part.durations ?? [])
				for (const [le, v] of buckets)
					this.put(scope, `le ${reason}`, le, v);
		}

		/* A hole: nothing is known of the time up to then. */
		gap(time) {
			this.begin(time, 0);
		}

		push(time, interval) {
			this.begin(time, interval.dt);
			if (interval.restarted) return;
			if (interval.all.known) this.putScope(scopeOf(null), interval.all);
			for (const [name, vm] of interval.vms)
				if (vm.known) this.putScope(scopeOf(name, null), vm);
			for (const [name, vm] of interval.vms)
				for (const [id, vcpu] of vm.vcpus)
					if (vcpu) this.putScope(scopeOf(name, id), vcpu);
		}

		/* The slots in use, oldest first. */
		order() {
			const n = Math.min(this.count, this.points);
			return Array.from(
				{ length: n },
				(_, i) => (this.count - n + i) % this.points,
			);
		}

		/*
		 * The numbers of one kind, oldest first: key -> values; null where the scope was
		 * not known.
		 */
		series(scope, kind) {
			const kinds = this.scopes.get(scope);
			const wall = kinds?.get('wall')?.get('')?.ring;
			const order = this.order();
			const out = new Map();
			for (const [key, c] of kinds?.get(kind) ?? [])
				out.set(
					key,
					order.map((s) =>
						Number.isNaN(wall?.[s] ?? NaN)
							? null
							: c.ring[s] || 0,
					),
				);
			return out;
		}

		known(scope) {
			const wall = this.scopes.get(scope)?.get('wall')?.get('')?.ring;
			return this.order().map((s) => !Number.isNaN(wall?.[s] ?? NaN));
		}

		reasons(scope) {
			const out = [];
			for (const kind of this.scopes.get(scope)?.keys() ?? [])
				if (kind.startsWith('le ')) out.push(kind.slice(3));
			return out;
		}
	}

	/*
	 * The bound under which a share q of the exits of a histogram stays; NaN where there are
	 * none.
	 */
	function quantile(buckets, q) {
		const bounds = [...buckets.keys()].sort((a, b) => a - b);
		const total = sum(buckets);
		let below = 0;
		for (const le of bounds) {
			below += buckets.get(le);
			if (below >= q * total) return le;
		}
		return NaN;
	}

	return { read, difference, History, scopeOf, quantile, sum, add };
})();
