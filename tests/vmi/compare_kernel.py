#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares the tables about the kernel itself with what the guest says.

compare_kernel.py TABLE BEFORE AFTER QUERY...

BEFORE and AFTER are folders as guest/collect makes them, one from before the memory was looked at and
one from after; QUERY is a command that takes a statement and prints a JSON array. Rows must be the
same, and as many; of the log, the lines of BEFORE must be there, and none that AFTER does not have.
Prints each difference; exit status 1 if there is one, or if there was nothing to compare.
"""
import collections
import json
import re
import subprocess
import sys

from compare_processes import presentable, read

# Linux: arch/x86/kernel/idt.c; what no kernel since 5.8 calls otherwise
EXCEPTIONS = {0: 'divide_error', 1: 'debug', 2: 'nmi', 3: 'int3', 4: 'overflow', 5: 'bounds',
              6: 'invalid_op', 7: 'device_not_available', 8: 'double_fault',
              9: 'coproc_segment_overrun', 10: 'invalid_tss', 11: 'segment_not_present',
              12: 'stack_segment', 13: 'general_protection', 14: 'page_fault',
              15: 'spurious_interrupt_bug', 16: 'coprocessor_error', 17: 'alignment_check',
              18: 'machine_check', 19: 'simd_coprocessor_error'}
GATES = 256
# calls whose function has another name than the ABI's (Linux: arch/x86/entry/syscalls)
RENAMED = {'stat': 'newstat', 'fstat': 'newfstat', 'lstat': 'newlstat', 'uname': 'newuname',
           'sendfile': 'sendfile64', 'umount2': 'umount'}
NOT_64 = {'uselib', 'set_thread_area', 'get_thread_area'} # numbers whose functions are those of ia32 only
UNISTD = '/usr/include/x86_64-linux-gnu/asm/unistd_64.h'


class Comparison:
    def __init__(self, before, after, query):
        self.before, self.after, self.command = before, after, query
        self.compared = self.bad = 0

    def text(self, name):
        return presentable(read(f'{self.before}/{name}'))

    def lines(self, name):
        return self.text(name).splitlines()

    def json(self, name):
        return json.loads(self.text(f'{name}.json') or '[]')

    def query(self, statement):
        done = subprocess.run(self.command + [statement], capture_output=True, check=False)
        if done.returncode or done.stderr:
            sys.exit(f'compare_kernel.py: {statement}: {done.stderr.decode()}')
        rows = json.loads(done.stdout)
        if any(row.get('torn') for row in rows):
            self.differ('a torn row, of a guest that rests')
        return rows

    def differ(self, what):
        self.bad += 1
        if self.bad <= 20:
            print(what)

    def same(self, what, theirs, ours):
        theirs, ours = collections.Counter(theirs), collections.Counter(ours)
        self.compared += theirs.total()
        for row in (theirs - ours).elements():
            self.differ(f'{what}: the guest has {row}')
        for row in (ours - theirs).elements():
            self.differ(f'{what}: the table has {row}')

    def kernel_modules(self):
        """"ext4 1142784 1 - Live 0xffffffffc0370000 (OE)"."""
        theirs = []
        for line in self.lines('modules'):
            name, size, count, users, state, address, *taints = line.split()
            theirs.append((name, int(size), int(count), users.rstrip(','), state, address,
                           taints[0].strip('()') if taints else ''))
        rows = self.query('SELECT * FROM kernel_modules')
        ours = [(r['name'], r['size'], r['refcount'], r['used_by'], r['status'], r['address'],
                 r['taints']) for r in rows]
        self.same('modules', theirs, ours)
        if not self.bad and theirs != ours:
            self.differ('modules: another order')
        by_name = {r['name']: r for r in rows}
        for name, row in by_name.items():
            folder = f'{self.before}/sys-module/{name}'
            self.same(f'/sys/module/{name}',
                      [(int(read(f'{folder}/coresize')), int(read(f'{folder}/refcnt')),
                        read(f'{folder}/taint').decode().strip())],
                      [(row['size'], row['refcount'], row['taints'])])

    def kernel_log(self):
        """syslog(2) puts priority and time before each line of a record."""
        ours = []
        for row in self.query('SELECT * FROM kernel_log ORDER BY sequence'):
            ns = row['time_ns']
            head = f"<{row['facility'] << 3 | row['level']}>" \
                   f'[{ns // 10**9:5}.{ns % 10**9 // 1000:06}] '
            ours += [head + line for line in (row['text'] or '').split('\n')]
        before, after = ([presentable(line) for line in read(f'{folder}/dmesg').split(b'\n')[:-1]]
                         for folder in (self.before, self.after))
        self.same('log', before, ours[:len(before)])
        self.same('log, later', after[len(before):len(ours)], ours[len(before):])
        if not self.bad and ours != after[:len(ours)]:
            self.differ('log: another order')

    def kallsyms(self):
        for line in self.lines('kallsyms'):
            address, kind, name, *module = line.split()
            yield '0x' + address, kind, name, module[0].strip('[]') if module else None

    def kernel_symbols(self):
        rows = self.query('SELECT address, type, name, module FROM kernel_symbols')
        self.same('symbols', self.kallsyms(), [tuple(row.values()) for row in rows])

    def bpf_programs(self):
        links, boot = {}, int(re.search(r'^btime (\d+)', self.text('stat'), re.M)[1])
        for link in self.json('bpf-link'):
            links.setdefault(link['prog_id'], []).append(f"{link['id']} {link['type']}")
        rows = self.query('SELECT * FROM bpf_programs')
        self.same('programs', [
            (p['id'], p['type'], p.get('name', ''), p['tag'], int(p['gpl_compatible']), p['uid'],
             p['bytes_xlated'], int(p['jited']), p['bytes_jited'],
             ','.join(map(str, p.get('map_ids', []))), ','.join(links.get(p['id'], [])),
             p.get('btf_id')) for p in self.json('bpf-prog')
        ], [(r['id'], r['type'], r['name'], r['tag'], r['gpl_compatible'], r['uid'],
             r['bytes_xlated'], r['jited'], r['bytes_jited'], r['map_ids'], r['link_ids'],
             r['btf_id']) for r in rows])
        # bpftool adds the time since boot to its own idea of when that was; both are cut to seconds
        loaded = {p['id']: p['loaded_at'] for p in self.json('bpf-prog')}
        for row in rows:
            if abs(loaded.get(row['id'], 0) - boot - row['loaded_ns'] / 1e9) > 2:
                self.differ(f"program {row['id']}: loaded at {row['loaded_ns']}")

    def kprobes(self):
        """"ffffffff8aa0  k  vfs_write+0x0    [DISABLED][FTRACE]", the module before the flags."""
        theirs = []
        for line in self.lines('kprobes'):
            m = re.fullmatch(r'([0-9a-f]+)  (\w)  (\S+) +(\w+)? *((?:\[\w+\])*)', line)
            theirs.append(('0x' + m[1], m[2], m[3], m[4], ' '.join(re.findall(r'\w+', m[5]))))
        rows = self.query('SELECT address, type, symbol, module, flags FROM kprobes')
        self.same('probes', theirs, [tuple(row.values()) for row in rows])

    def ftrace_hooks(self):
        """"vfs_read (1) R I  ops: ...": who is hooked, how often, and whether with registers."""
        theirs = []
        for line in self.lines('tracing-enabled_functions'):
            m = re.match(r'(\S+)(?: \[(\w+)\])? \((\d+)\)(.*)', line)
            if m: # else a continued line
                flags = re.split(r'\t|tramp:', m[4])[0]
                theirs.append((m[1], m[2], int(m[3]), int('R' in flags), int('I' in flags)))
        rows = self.query("SELECT symbol, module, count, flags FROM ftrace_hooks "
                          "WHERE kind = 'function'")
        ours = [(r['symbol'], r['module'], r['count'], int('REGS' in r['flags'].split()),
                 int('IPMODIFY' in r['flags'].split())) for r in rows]
        self.same('functions', theirs, ours)
        # the tracer's own list
        rows = self.query("SELECT functions FROM ftrace_hooks WHERE kind = 'ops' "
                          "AND symbol = 'global_ops'")
        self.same('of the tracer', [name.split()[0] for name in self.lines('tracing-set_ftrace_filter')
                                    if not name.startswith('#')],
                  [name for row in rows for name in (row['functions'] or '').split(',')])

    def addresses(self):
        out = collections.defaultdict(set)
        for address, _, name, module in self.kallsyms():
            if not module:
                out[name].add(int(address, 16))
        return out

    def where(self, known, row, column):
        """The name that is told is, by the guest's own list, that address."""
        name, _, offset = (row['symbol'] or '').partition('+')
        at = int(row[column], 16) - int(offset or '0', 16)
        self.compared += 1
        if at not in known.get(name, ()):
            self.differ(f"{row}: {name} is at {[hex(a) for a in known.get(name, ())]}")

    def idt(self):
        known = self.addresses()
        rows = self.query('SELECT * FROM idt')
        self.same('gates', range(GATES), [row['vector'] for row in rows])
        for row in rows:
            if row['present']:
                self.where(known, row, 'offset')
            self.same(f"gate {row['vector']}", [(1, None)], [(row['expected'], row['module'])])
        self.same('exceptions', [(v, a) for v, n in EXCEPTIONS.items() for a in known[f'asm_exc_{n}']],
                  [(r['vector'], int(r['offset'], 16)) for r in rows if r['vector'] in EXCEPTIONS])

    def syscall_table(self):
        known = self.addresses()
        rows = self.query("SELECT * FROM syscall_table WHERE abi = 'x64'")
        calls = {int(nr): name for name, nr in
                 re.findall(rb'#define __NR_(\w+) (\d+)', read(UNISTD))}
        self.same('numbers', range(len(rows)), [row['nr'] for row in rows])
        for row in rows:
            self.where(known, row, 'address')
            if row['nr'] not in calls:
                continue
            name = calls[row['nr']].decode()
            function = name not in NOT_64 and known.get(f'__x64_sys_{RENAMED.get(name, name)}') or \
                known.get('sys_ni_syscall', set()) | known.get('__x64_sys_ni_syscall', set())
            self.same(f'{name}', [(name, True, 1)],
                      [(row['name'], int(row['address'], 16) in function, row['expected'])])
        for row in self.query("SELECT * FROM syscall_table WHERE abi != 'x64'"):
            self.where(known, row, 'address')
            self.same(f"{row['abi']} {row['nr']}", [0], [int(row['expected'] == 0)])

    def memory_map(self):
        """All RAM that the firmware told the guest of, and what else is RAM starts and ends where
        an area of the guest's map does (QEMU's ROM, what ACPI keeps)."""
        areas = [(int(m[1], 16), int(m[2], 16), m[3]) for m in
                 re.finditer(r'^([0-9a-f]+)-([0-9a-f]+) : (.*)$', self.text('iomem'), re.M)]
        rows = [(int(r['start'], 16), int(r['end'], 16), r['bytes'])
                for r in self.query('SELECT * FROM memory_map')]
        ram = [a for a in areas if a[2] == 'System RAM']
        self.same('RAM', ram, [a for a in ram if any(s <= a[0] and a[1] <= e for s, e, _ in rows)])
        for start, end, size in rows:
            self.same(f'{start:x}-{end:x}', [(True, True, end - start + 1)],
                      [(any(start == a[0] for a in areas), any(end == a[1] for a in areas), size)])

    def nothing(self, table):
        self.compared += 1
        for row in self.query(f'SELECT * FROM {table}'):
            self.differ(f'{table}: {row}')

    def hidden_processes(self):
        self.nothing('hidden_processes')

    def hidden_modules(self):
        self.nothing('hidden_modules')


TABLES = ('kernel_modules', 'kernel_log', 'kernel_symbols', 'bpf_programs', 'kprobes',
          'ftrace_hooks', 'idt', 'syscall_table', 'memory_map', 'hidden_processes',
          'hidden_modules')


def main(argv):
    if len(argv) < 5 or argv[1] not in TABLES:
        sys.exit(__doc__)
    c = Comparison(argv[2], argv[3], argv[4:])
    getattr(c, argv[1])()
    if not c.compared:
        c.differ('nothing was compared')
    print(f'{argv[1]}: {c.compared} compared, {c.bad} differ')
    return 1 if c.bad else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
