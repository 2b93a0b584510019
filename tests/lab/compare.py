#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""compare.py FOLDER: judges what a scenario left, by its file `judge`; prints lines of TAP.

exact RUN        iho-top's last report equals the kernel's histograms and the tenant's scripts, to
                 the last event, per reason and per vCPU; nothing is lost; the bill is the wall time
bill RUN VCPU STATES RELATION MS PERCENT
                 the time in these states; userspace:REASON is the VMM's time for that reason
events RUN       as exact, where there is no script: a Linux tenant
scrape RUN       RUN.prom, a scrape, has the same numbers as the histograms; the latency histogram
                 has as many values as there were exits that an entry followed
halted RUN       the time of halts lies where kvm_vcpu_wakeup's own measure says
perf_kvm_stat RUN
                 perf.report has the same exits by reason, but for those that no entry followed
cost RUN         what our programs and the peer's (cost.ours, cost.peer: id, ns, runs) took for an
                 exit and an entry; a figure, no verdict but that both saw them all
attach RUN N     N reports of attaching to a running tenant: nothing unpaired, the bill is the wall
"""
import errno
import json
import os
import re
import sys

# Exits that nothing but the script's own instructions causes
EXITS_OF_SCRIPT = {'vmx': ('IO_INSTRUCTION', 'CPUID', 'HLT'), 'svm': ('io', 'cpuid', 'hlt')}
failed = 0


def ok(good, name, *why):
    global failed
    print(('ok - ' if good else 'not ok - ') + name)
    if not good:
        failed += 1
        for line in why:
            print('# ' + line)


def equal(got, want, name):
    ok(got == want, name, f'iho-top: {got}', f'truth:   {want}')


def reports(run):
    with open(run + '.json') as f:
        return [json.loads(line) for line in f if line.endswith('}\n')]


def hist(run, event, tid):
    """A histogram's rows of one thread: {(key, ...): hits}, keys in their order but for the pid"""
    rows = {}
    with open(f'{run}.{event}') as f:
        text = f.read()
    for keys, hits in re.findall(r'^\{(.*)\} hitcount: +(\d+)', text, re.M):
        values = [int(v) for v in re.findall(r'\w+: +(-?\d+)', keys)]
        if values[0] == tid:
            rows[tuple(values[1:])] = int(hits)
    drops = re.search(r'Dropped: (\d+)', text)
    if drops and int(drops[1]):
        ok(False, f'{run}: histogram of {event} is complete')
    return rows


def symbols(path, table):
    """Names of the kernel's own print format; kvm_exit has a table for VMX and one for SVM"""
    with open(path) as f:
        # adjacent strings are one, as in C
        part = f.read().split('__print_symbolic')[table].replace('" "', '')
    return {int(v, 0): n for v, n in re.findall(r'\{ *(0x[0-9a-fA-F]+|-?\d+), *"(\w+)" *\}', part)}


def isa():
    with open('isa') as f:
        return f.read().strip()


def reasons():
    """Names of exit reasons and of exits to userspace, by number"""
    return (symbols('exit.format', {'vmx': 1, 'svm': 2}[isa()]),
            symbols('userspace_exit.format', 1))


def merge(pairs):
    rows = {}
    for key, count in pairs:
        rows[key] = rows.get(key, 0) + count
    return rows


def script_truth(script):
    """What a vCPU does after its gate, from the text of its script"""
    pio, mmio, msr, cpuid, halts = {}, {}, {}, {}, 0
    for op in script.split('gate,')[1].split(','):
        name, *args = op.split(':')
        args = [int(a, 0) for a in args]
        if name in ('out', 'in'):
            pio[(args[0], int(name == 'out'))] = args[1]
        elif name.startswith('mmio'):
            mmio[(args[0] & ~0xfff, int(name == 'mmio-write'))] = args[1]
        elif name in ('wrmsr', 'rdmsr'):
            msr[(args[0], int(name == 'wrmsr'))] = args[1]
        elif name == 'cpuid':
            cpuid[args[0]] = args[1]
        elif name == 'hlt':
            halts += args[0]
        elif name == 'sleep':
            pio[(0xf1, 1)] = 1
    pio[(0xf4, 1)] = 1  # its end
    return pio, mmio, msr, cpuid, halts


def drill(vcpu, kind, key):
    return {(r[key], int(r['write'])) if 'write' in r else r[key]: r['total']
            for r in vcpu['drill'].get(kind, [])}


def clean(vcpu, name, allowed=(), percent=1):
    """No loss but of the allowed kinds, and a bill that is the wall time"""
    # tasks that ran in between and fell off a short list: of interest, but no event is lost
    lost = {k: v for k, v in vcpu['losses'].items()
            if v and not k.startswith('interlopers') and k not in allowed}
    bill, wall = vcpu['bill_ns'], vcpu['wall_ns']
    ok(not lost and sum(bill.values()) == wall and bill['unaccounted'] <= wall * percent // 100,
       f"{name}: nothing unpaired, torn or over; the bill is the wall time, {wall / 1e9:.3f} s,"
       f" {100 * bill['unaccounted'] / wall:.2f} % unaccounted",
       f'losses {lost}', f'bill {bill}', f'sum {sum(bill.values())}, wall {wall}')


def lossless(report, name):
    lost = {k: v for k, v in report['self'].items() if k.startswith('lost') and v}
    ok(not lost, f'{name}: nothing lost', str(lost))


def user_exit(error, reason, to_user):
    """Where KVM_RUN failed, the event's reason says nothing"""
    error = (error + 2**31) % 2**32 - 2**31
    if error == -errno.EINTR:
        return 'KVM_EXIT_INTR'
    return 'error ' + errno.errorcode[-error] if error < 0 else to_user[reason]


def by_reason(vcpu, run, reason, to_user):
    """A vCPU's exits, entries, exits to the VMM and halts; returns its exits by reason"""
    tid, name = vcpu['tid'], f"{run}, vCPU {vcpu['id']}"
    exits = {reason.get(k[0], hex(k[0])): n for k, n in hist(run, 'kvm_exit', tid).items()}
    seen = {e['reason']: e['total'] for e in vcpu['exits']}
    table = ', '.join(f'{r} {n}' for r, n in sorted(exits.items(), key=lambda x: -x[1]))
    equal(seen, exits, f'{name}: {sum(exits.values())} exits as the histogram has them ({table})')
    entries = sum(hist(run, 'kvm_entry', tid).values())
    equal(vcpu['events'].get('kvm_entry', 0), entries, f'{name}: {entries} entries')
    user = merge((user_exit(*k, to_user), n)
                 for k, n in hist(run, 'kvm_userspace_exit', tid).items())
    equal({u['reason']: u['total'] for u in vcpu['userspace_exits']}, user,
          f'{name}: {sum(user.values())} exits to the VMM, by reason')
    woken = hist(run, 'kvm_vcpu_wakeup', tid)
    equal([vcpu['halts'], vcpu['halts_polled']], [sum(woken.values()), woken.get((0,), 0)],
          f'{name}: {sum(woken.values())} halts, {woken.get((0,), 0)} ended by polling')
    return seen


def exact(run):
    last = reports(run)[-1]
    vm = [v for v in last['vms'] if v['name'] == run][0]
    reason, to_user = reasons()
    with open(run + '.scripts') as f:
        scripts = f.read().splitlines()
    equal(len(vm['vcpus']), len(scripts), f'{run}: {len(scripts)} vCPUs')
    equal({e['isa'] for v in vm['vcpus'] for e in v['exits']}, {isa()}, f'{run}: exits of {isa()}')
    for vcpu, script in zip(vm['vcpus'], scripts):
        tid, name = vcpu['tid'], f"{run}, vCPU {vcpu['id']}"
        pio, mmio, msr, cpuid, halts = script_truth(script)

        seen = by_reason(vcpu, run, reason, to_user)
        equal([seen.get(r, 0) for r in EXITS_OF_SCRIPT[isa()]],
              [sum(pio.values()), sum(cpuid.values()), halts],
              f'{name}: as many for I/O, CPUID and HLT as its script says')
        equal([drill(vcpu, 'pio', 'port'), hist(run, 'kvm_pio', tid)], [pio, pio],
              f'{name}: {sum(pio.values())} port accesses: script, histogram and iho-top agree')
        # type 0 is a read not yet satisfied
        pages = merge(((gpa & ~0xfff, t - 1), n)
                      for (t, gpa), n in hist(run, 'kvm_mmio', tid).items() if t)
        equal([drill(vcpu, 'mmio', 'page'), pages], [mmio, mmio],
              f'{name}: {sum(mmio.values())} MMIO accesses likewise')
        leaves = {k[0]: n for k, n in hist(run, 'kvm_cpuid', tid).items()}
        equal([drill(vcpu, 'cpuid', 'leaf'), leaves], [cpuid, cpuid],
              f'{name}: {sum(cpuid.values())} CPUIDs likewise')
        truth = hist(run, 'kvm_msr', tid)
        # beside the script's, the guest's own to the APIC
        equal([drill(vcpu, 'msr', 'msr'), {k: n for k, n in truth.items() if k[0] == 0x8b}],
              [truth, msr], f'{name}: {sum(truth.values())} MSR accesses likewise')
        clean(vcpu, name)
        kvm, parts = vcpu['bill_ns']['kvm'], sum(e['kvm_ns'] for e in vcpu['exits'])
        # what is no exit's: the way from the gate to the first entry, in which the emulator, one
        # thread for all CPUs, may stand still for slices (up to 22 ms were seen); the long runs,
        # with their seconds in KVM, are the ones that tell
        ok(0 <= kvm - parts <= max(kvm // 50, 100000000),
           f'{name}: time in KVM {kvm / 1e6:.1f} ms, by reason {parts / 1e6:.1f} ms')
    lossless(last, run)


def events(run):
    # a VM that ended is shown for a minute: the last that was said of it is all
    vm = [v for report in reports(run) for v in report['vms'] if v['name'] == run][-1]
    reason, to_user = reasons()
    equal(len(vm['vcpus']), 2, f'{run}: 2 vCPUs')
    for vcpu in vm['vcpus']:
        by_reason(vcpu, run, reason, to_user)
        # a booting Linux touches more ports and MSRs than there are rows
        clean(vcpu, f"{run}, vCPU {vcpu['id']}", ('drill_overflow',))


def samples(run):
    """A scrape: {(family, (label, value), ...): value}, its labels in their order"""
    found = {}
    with open(run + '.prom') as f:
        for line in f:
            if line.startswith('#'):
                continue
            name, labels, value = re.fullmatch(r'(\w+)(?:\{(.*)\})? (\S+)\n', line).groups()
            pairs = re.findall(r'(\w+)="((?:[^"\\]|\\.)*)"', labels or '')
            found[(name, *pairs)] = float(value)
    return found


def scrape(run):
    got = samples(run)
    reason, to_user = reasons()
    vcpus = [v for v in reports(run)[-1]['vms'] if v['name'] == run][0]['vcpus']
    by_name = {}
    for vcpu in vcpus:
        tid, index, name = vcpu['tid'], str(vcpu['id']), f"{run}, scrape, vCPU {vcpu['id']}"
        exits = {reason.get(k[0], hex(k[0])): n for k, n in hist(run, 'kvm_exit', tid).items()}
        user = merge((user_exit(*k, to_user), n)
                     for k, n in hist(run, 'kvm_userspace_exit', tid).items())
        for family, truth in ('iho_vcpu_exits_total', exits), ('iho_vcpu_user_exits_total', user):
            seen = {k[3][1]: v for k, v in got.items()
                    if k[:3] == (family, ('vm', run), ('vcpu', index))}
            equal(seen, truth, f'{name}: {family} {sum(truth.values())}, by reason')
        for r, n in exits.items():
            by_name.setdefault(r, []).append(n)
        states = sum(v for k, v in got.items()
                     if k[:3] == ('iho_vcpu_state_seconds_total', ('vm', run), ('vcpu', index)))
        ok(states > 0, f'{name}: its states sum to {states:.3f} s')
    for r, counts in by_name.items():
        # each vCPU's last exit may not be over
        count = got.get(('iho_vm_exit_duration_seconds_count', ('vm', run), ('reason', r)), 0)
        inf = got.get(('iho_vm_exit_duration_seconds_bucket', ('vm', run), ('reason', r),
                       ('le', '+Inf')), 0)
        ok(sum(counts) - len(counts) <= count <= sum(counts) and inf == count,
           f'{run}, scrape: {r}: {count:.0f} durations of {sum(counts)} exits', f'+Inf {inf}')
    events = sum(sum(hist(run, 'kvm_exit', v['tid']).values()) for v in vcpus)
    equal(got.get(('iho_vm_events_total', ('vm', run), ('event', 'kvm_exit'))), events,
          f'{run}, scrape: {events} kvm_exit')
    lost = {k: v for k, v in got.items() if k[0] == 'iho_collector_lost_events_total' and v}
    ok(got.get(('iho_up',)) == 1 and not lost, f'{run}, scrape: up, nothing lost', str(lost))


def halted(run):
    for vcpu in [v for v in reports(run)[-1]['vms'] if v['name'] == run][0]['vcpus']:
        truth = 0
        with open(run + '.kvm_vcpu_wakeup') as f:
            for tid, ns in re.findall(r'common_pid: +(\d+),.* ns: +(\d+)', f.read()):
                truth += int(ns) * (int(tid) == vcpu['tid'])
        bill = vcpu['bill_ns']
        got = bill['halted'] + bill['halt_poll'] + bill['runnable']
        # KVM's measure includes its own work around the wait, which is billed to it
        ok(got * 99 // 100 <= truth <= got + bill['kvm'] + bill['preempted'],
           f"{run}, vCPU {vcpu['id']}: halted {got / 1e6:.1f} ms with polling and run queue,"
           f" by KVM's own measure {truth / 1e6:.1f} ms")


def bill(run, index, states, relation, ms, percent):
    last = reports(run)[-1]
    vcpu = [v for v in last['vms'] if v['name'] == run][0]['vcpus'][int(index)]
    if states.startswith('userspace:'):
        got = sum(u['time_ns'] for u in vcpu['userspace_exits'] if u['reason'] == states[10:])
    else:
        got = sum(vcpu['bill_ns'][s] for s in states.split('+'))
    got, ms, percent = got / 1e6, int(ms), int(percent)
    good = {'=': abs(got - ms) <= ms * percent / 100, '<': got < ms, '>': got > ms}[relation]
    ok(good, f'{run}, vCPU {index}: {states} {got:.1f} ms, expected {relation} {ms}'
       + (f' within {percent} %' if percent else ''))


def perf_kvm_stat(run):
    vcpus = [v for v in reports(run)[-1]['vms'] if v['name'] == run][0]['vcpus']
    ours = merge((e['reason'].upper(), e['total']) for v in vcpus for e in v['exits'])
    with open('perf.report') as f:
        perf = {r.upper(): int(n) for r, n in re.findall(r'^ +(\S+) +(\d+) +[\d.]+%', f.read(), re.M)}
    # perf counts an exit when the entry after it comes; each vCPU's first and last have none
    far = {r for r in ours.keys() | perf.keys()
           if abs(ours.get(r, 0) - perf.get(r, 0)) > len(vcpus)}
    ok(perf and not far, f'{run}: perf kvm stat has the same exits, {sum(perf.values())} in pairs,'
       f' we {sum(ours.values())}', f'iho-top: {ours}', f'perf:    {perf}')


def cost(run):
    pairs = sum(e['total'] for v in reports(run)[-1]['vms'][0]['vcpus'] for e in v['exits'])
    took, runs = {}, {}
    for who in 'ours', 'peer':
        with open('cost.' + who) as f:
            rows = [[int(x) for x in line.split()] for line in f]
        took[who] = sum(r[1] for r in rows) / pairs
        # its programs of kvm_exit and kvm_entry are those that ran as often as there were exits
        runs[who] = sum(r[2] for r in rows if r[2] >= pairs * 9 // 10)
    ok(all(n >= 2 * pairs * 9 // 10 for n in runs.values()),
       f"{run}: {pairs} exits and entries; BPF time for one of each, with what else was listened to:"
       f" ours / bpftrace's histogram = {took['ours'] / took['peer']:.2f}", f'{took} {runs}')


def attach(run, count):
    all_reports = reports(run)
    equal(len(all_reports), int(count), f'{run}: attached {count} times')
    for i, report in enumerate(all_reports, 1):
        equal(len(report['vms'][0]['vcpus']), 2, f'{run} {i}: both vCPUs are found')
        for vcpu in report['vms'][0]['vcpus']:
            name = f"{run} {i}, vCPU {vcpu['id']}"
            # what it does is not known before its first event, and it may halt for 20 ms of these 0.6 s
            clean(vcpu, f"{name}, {vcpu['exits_total']} exits", percent=5)
        lossless(report, f'{run} {i}')


JUDGES = {f.__name__: f for f in (exact, events, scrape, halted, bill, perf_kvm_stat, cost, attach)}


def main():
    os.chdir(sys.argv[1])
    if not os.path.exists('judge'):
        return 0
    with open('judge') as f:
        for line in f:
            what, *args = line.split()
            try:
                JUDGES[what](*args)
            except Exception as e:  # a verdict that cannot be had is a failed one
                ok(False, line.strip(), f'cannot be judged: {type(e).__name__}: {e}')
    return failed != 0


sys.exit(main())
