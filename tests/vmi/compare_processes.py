#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares the tables about processes with what the guest's own /proc says.

compare_processes.py TABLE BEFORE AFTER QUERY...

BEFORE and AFTER are folders as guest/collect makes them, one from before the memory was looked at and
one from after; QUERY is a command that takes a statement and prints a JSON array. What the guest says
the same way both times must be so in its memory too; a counter that moved must lie in between. Tasks
that ran meanwhile are told by their context switches: only of those, the state, the CPU and the like
are left out. Prints each difference; exit status 1 if there is one.
"""
import json
import os
import subprocess
import sys

PAGE = 4096
TICK_MS = 10
UNSET = '4294967295'
POLICIES = {0: 'normal', 1: 'fifo', 2: 'rr', 3: 'batch', 5: 'idle', 6: 'deadline', 7: 'ext'}
PF_KTHREAD = 0x00200000
DELETED = ' (deleted)'


def presentable(raw):
    """Texts as the tables have them: what is no character, and control characters, are '?'."""
    out = []
    at = 0
    while at < len(raw):
        for n in range(1, 5):
            try:
                c = raw[at:at + n].decode('utf-8')
                break
            except UnicodeDecodeError:
                c = None
        if c is None or len(c) != 1:
            out.append('?')
            at += 1
            continue
        control = ord(c) < 32 and c not in '\t\n' or 0x7f <= ord(c) < 0xa0
        out.append('?' * n if control else c)
        at += n
    return ''.join(out)


def read(path):
    try:
        with open(path, 'rb') as f:
            return f.read()
    except FileNotFoundError:
        return b''


def pairs(text, separator):
    """Lines of "key SEPARATOR value"."""
    lines = (line.split(separator, 1) for line in text.split(b'\n') if separator in line)
    return {key.decode(): value.strip(b' \t') for key, value in lines}


def octal(raw):
    """The kernel writes what would break a line of /proc/PID/maps as \\ooo."""
    return raw.replace(b'\\012', b'\n')


class Task:
    """A process or a thread, as a folder of /proc has it."""

    def __init__(self, folder):
        self.folder = folder
        self.status = pairs(read(f'{folder}/status'), b':')
        stat = read(f'{folder}/stat')
        # between the parentheses there may be anything
        self.stat = stat[stat.rindex(b')') + 2:].split()
        self.comm = presentable(read(f'{folder}/comm')[:-1])

    def field(self, n):
        """As numbered by proc_pid_stat(5)."""
        return int(self.stat[n - 3])

    def kb(self, key):
        return int(self.status[key].split()[0]) * 1024 if key in self.status else 0

    def ids(self, key):
        return [int(i) for i in self.status[key].split()]

    def switches(self):
        return (int(self.status['voluntary_ctxt_switches']),
                int(self.status['nonvoluntary_ctxt_switches']))

    def file(self, name):
        return read(f'{self.folder}/{name}')


class Process(Task):
    def __init__(self, folder):
        super().__init__(folder)
        self.links = pairs(self.file('links'), b' ')
        self.namespaces = pairs(self.file('ns'), b' ')

    def threads(self):
        if not os.path.isdir(f'{self.folder}/task'):
            return {int(os.path.basename(self.folder)): self}
        return {int(t): Task(f'{self.folder}/task/{t}') for t in os.listdir(f'{self.folder}/task')}


class Truth:
    def __init__(self, folder):
        self.folder = folder
        self.processes = {int(p): Process(f'{folder}/proc/{p}')
                          for p in os.listdir(f'{folder}/proc')}
        self.btime = int(pairs(self.file('stat'), b' ')['btime'])

    def file(self, name):
        return read(f'{self.folder}/{name}')


# Of each table: the key of a row, and what its columns are by the guest's own word. "steady" columns
# stay while the task does not run.

def columns_processes(truth, process):
    status, links = process.status, process.links
    exe = presentable(links.get('exe', b''))
    gone = exe.endswith(DELETED)
    uid, gid = process.ids('Uid'), process.ids('Gid')
    io = {k: int(v) for k, v in pairs(process.file('io'), b':').items()}
    start = process.field(22)
    steady = {
        'name': process.comm,
        'state': process.stat[0].decode(),
        'resident_size': process.kb('VmRSS'),
    }
    return steady, {
        'path': exe[:-len(DELETED)] if gone else exe,
        'on_disk': -1 if not exe else 0 if gone else 1,
        'cmdline': presentable(process.file('cmdline').replace(b'\0', b' ').strip()),
        'cwd': presentable(links.get('cwd', b'')),
        'root': presentable(links.get('root', b'')),
        'uid': uid[0], 'euid': uid[1], 'suid': uid[2],
        'gid': gid[0], 'egid': gid[1], 'sgid': gid[2],
        'wired_size': process.kb('VmLck'),
        'total_size': process.kb('VmSize'),
        'user_time': process.field(14), 'system_time': process.field(15),
        'disk_bytes_read': io['read_bytes'],
        'disk_bytes_written': io['write_bytes'] - io['cancelled_write_bytes'],
        'start_time': (truth.btime, start),
        'start_time_ns': start,
        'parent': process.field(4), 'pgroup': process.field(5), 'session': process.field(6),
        'threads': int(status['Threads']),
        'nice': process.field(19),
        'kernel': int(bool(process.field(9) & PF_KTHREAD)),
        'cgroup_path': presentable(pairs(process.file('cgroup'), b'::').get('0', b'')),
    }


def from_processes(row):
    row['user_time'] //= TICK_MS
    row['system_time'] //= TICK_MS
    row['start_time_ns'] //= TICK_MS * 10**6
    return row


def columns_threads(truth, task):
    steady = {
        'name': task.comm,
        'state': task.stat[0].decode(),
        'cpu': task.field(39),
        'on_cpu': 0,
        'flags': f'0x{task.field(9):08x}',
        'priority': task.field(18),
    }
    voluntary, forced = task.switches()
    return steady, {
        'policy': POLICIES[task.field(41)],
        'nice': task.field(19),
        'user_time': task.field(14), 'system_time': task.field(15),
        'voluntary_switches': voluntary, 'involuntary_switches': forced,
        'start_time': (truth.btime, task.field(22)),
        'start_time_ns': task.field(22),
        'kernel': int(bool(task.field(9) & PF_KTHREAD)),
    }


def columns_credentials(_, task):
    status = task.status
    names = {'inheritable': 'CapInh', 'permitted': 'CapPrm', 'effective': 'CapEff',
             'bounding': 'CapBnd', 'ambient': 'CapAmb'}
    out = {ours: status[theirs].decode() for ours, theirs in names.items()}
    for ids, prefix in ('Uid', ''), ('Gid', ''):
        kind = ids.lower()
        for name, value in zip((kind, 'e' + kind, 's' + kind, 'fs' + kind), task.ids(ids)):
            out[prefix + name] = value
    out['groups'] = ','.join(status['Groups'].decode().split())
    out['no_new_privs'] = int(status['NoNewPrivs'])
    out['seccomp'] = ('disabled', 'strict', 'filter')[int(status['Seccomp'])]
    if 'Seccomp_filters' in status:
        out['seccomp_filters'] = int(status['Seccomp_filters'])
    out['shared_with'] = None
    return {'name': task.comm}, out


def rows_maps(process):
    out = []
    for line in process.file('maps').split(b'\n')[:-1]:
        area, perms, offset, device, inode, *path = line.split(None, 5)
        start, end = area.split(b'-')
        path = presentable(octal(path[0])) if path else ''
        out.append(('0x' + start.decode(), '0x' + end.decode(), perms.decode(), int(offset, 16),
                    device.decode(), int(inode), path, int(inode == b'0' and path != '')))
    return out


def rows_envs(process):
    return [tuple(presentable(part) for part in variable.split(b'=', 1))
            for variable in process.file('environ').split(b'\0') if b'=' in variable]


class Comparison:
    def __init__(self, before, after, query):
        self.before, self.after, self.command = Truth(before), Truth(after), query
        self.compared = self.moved = self.bad = 0

    def query(self, statement):
        done = subprocess.run(self.command + [statement], stdout=subprocess.PIPE, check=False)
        if done.returncode:
            sys.exit(f'compare_processes.py: {statement}: exit status {done.returncode}')
        return json.loads(done.stdout)

    def differ(self, what):
        self.bad += 1
        if self.bad <= 20:
            print(what)

    def value(self, where, before, after, got):
        if before == after:
            self.compared += 1
            if got != before:
                self.differ(f'{where}: {got!r}, the guest says {before!r}')
        elif isinstance(before, int) and isinstance(after, int) and isinstance(got, int):
            self.compared += 1
            if not min(before, after) <= got <= max(before, after):
                self.differ(f'{where}: {got!r}, the guest says {before!r}, later {after!r}')
        else:
            self.moved += 1

    def pids(self, got):
        """All that were there both times, and none that was there neither time."""
        before, after = set(self.before.processes), set(self.after.processes)
        if len(got) != len(set(got)):
            self.differ(f'pids more than once: {sorted(p for p in got if got.count(p) > 1)}')
        for pid in before & after - set(got):
            self.differ(f'pid {pid} is missing')
        for pid in set(got) - before - after:
            self.differ(f'pid {pid} is not there')
        return sorted(before & after & set(got))

    def times(self, where, before, after, row):
        """The kernel knows how long a task ran, and shares it between user and system by where ticks
        hit it (cputime_adjust()): a later reading may have less of one than was due in between, but
        never less than an earlier reading told, and not more in all. All are cut to whole ticks."""
        keys = 'user_time', 'system_time'
        self.compared += 2
        least, most, got = ([of[k] for k in keys] for of in (before, after, row))
        if got[0] < least[0] or got[1] < least[1] or sum(got) > sum(most) + 1:
            self.differ(f'{where}: user and system time: {got}, the guest says {least}, later {most}')

    def columns(self, where, of, before, after, row):
        steady_before, always_before = of(self.before, before)
        steady_after, always_after = of(self.after, after)
        if 'user_time' in always_before:
            self.times(where, always_before, always_after, row)
        for column, value in always_before.items():
            later = always_after[column]
            if column in ('user_time', 'system_time'):
                continue
            if column == 'start_time':
                # in whole seconds, of two numbers that were cut
                self.compared += 1
                at = value[0] + value[1] // 100
                if value == later and row[column] != at:
                    self.differ(f'{where}: start_time: {row[column]}, the guest says {at}')
                continue
            self.value(f'{where}: {column}', value, later, row[column])
        if before.switches() != after.switches():
            self.moved += len(steady_before)
            return
        for column, value in steady_before.items():
            self.value(f'{where}: {column}', value, steady_after[column], row[column])

    def processes(self):
        rows = self.query('SELECT *, session, start_time_ns, kernel FROM processes')
        by_pid = {row['pid']: from_processes(row) for row in rows}
        for pid in self.pids([row['pid'] for row in rows]):
            self.columns(f'pid {pid}', columns_processes, self.before.processes[pid],
                         self.after.processes[pid], by_pid[pid])

    def by_thread(self, table, of, prepare, also=''):
        rows = self.query(f'SELECT *{also} FROM {table}')
        by_tid = {(row['pid'], row['tid']): prepare(row) for row in rows}
        if len(by_tid) != len(rows):
            self.differ('threads more than once')
        for pid in self.pids(list({row['pid'] for row in rows})):
            before = self.before.processes[pid].threads()
            after = self.after.processes[pid].threads()
            got = {tid for p, tid in by_tid if p == pid}
            if before.keys() == after.keys() and got != before.keys():
                self.differ(f'pid {pid}: threads {sorted(got)}, the guest says {sorted(before)}')
            for tid in sorted(before.keys() & after.keys() & got):
                self.columns(f'thread {tid}', of, before[tid], after[tid], by_tid[pid, tid])

    def threads(self):
        self.by_thread('threads', columns_threads, from_processes, ', start_time_ns')

    def credentials(self):
        self.by_thread('credentials', columns_credentials, lambda row: row)
        rows = self.query('SELECT pid, loginuid, sessionid FROM credentials WHERE pid = tid')
        for row in rows:
            if row['pid'] not in self.before.processes:
                continue
            process = self.before.processes[row['pid']]
            for name in 'loginuid', 'sessionid':
                text = process.file(name).decode()
                if text:
                    self.value(f"pid {row['pid']}: {name}", text, text,
                               UNSET if row[name] is None else str(row[name]))

    def lists(self, table, of, names):
        """Rows of which a process has several, in their order."""
        got = {}
        for row in self.query(f'SELECT * FROM {table}'):
            got.setdefault(row['pid'], []).append(tuple(row[n] for n in names))
        for pid in got.keys() - self.before.processes.keys() - self.after.processes.keys():
            self.differ(f'pid {pid} is not there')
        for pid in sorted(self.before.processes.keys() & self.after.processes.keys()):
            before, after = of(self.before.processes[pid]), of(self.after.processes[pid])
            ours = got.get(pid, [])
            if before != after:
                self.moved += 1
                continue
            self.compared += max(len(ours), len(before))
            for row in ours:
                if row not in before:
                    self.differ(f'pid {pid}: {row} is not there')
            for row in before:
                if row not in ours:
                    self.differ(f'pid {pid}: {row} is missing')
            if sorted(ours) == sorted(before) and ours != before:
                self.differ(f'pid {pid}: another order')

    def process_memory_map(self):
        self.lists('process_memory_map', rows_maps,
                   ('start', 'end', 'permissions', 'offset', 'device', 'inode', 'path', 'pseudo'))

    def process_envs(self):
        self.lists('process_envs', rows_envs, ('key', 'value'))

    def process_namespaces(self):
        kinds = ('cgroup', 'ipc', 'mnt', 'net', 'pid', 'user', 'uts', 'time', 'pid_for_children',
                 'time_for_children')
        rows = self.query('SELECT *, time_namespace, pid_for_children_namespace, '
                          'time_for_children_namespace FROM process_namespaces')
        by_pid = {row['pid']: row for row in rows}
        for pid in self.pids([row['pid'] for row in rows]):
            for kind in kinds:
                # "net:[4026531840]"
                before, after = (t.processes[pid].namespaces.get(kind, b'').decode()
                                 .partition('[')[2].rstrip(']') or None
                                 for t in (self.before, self.after))
                self.value(f'pid {pid}: {kind}', before, after, by_pid[pid][f'{kind}_namespace'])

    def one(self, table, want, also=''):
        rows = self.query(f'SELECT *{also} FROM {table}')
        if len(rows) != 1:
            self.differ(f'{len(rows)} rows')
            return
        for column, value in want.items():
            self.value(column, value, value, rows[0][column])

    def kernel_info(self):
        arguments = self.before.file('cmdline').decode().split()
        self.one('kernel_info', {
            'version': self.before.file('uname').split()[2].decode(),
            'arguments': ' '.join(a for a in arguments
                                  if not a.startswith(('BOOT_IMAGE=', 'root='))),
            'path': next((a[11:] for a in arguments if a.startswith('BOOT_IMAGE=')), None),
            'device': next((a[5:] for a in arguments if a.startswith('root=')), None),
            'banner': self.before.file('version').decode().rstrip('\n'),
        }, ', banner')

    def os_version(self):
        release = pairs(self.before.file('os-release'), b'=')
        want = {'name': 'NAME', 'version': 'VERSION', 'platform': 'ID', 'platform_like': 'ID_LIKE',
                'codename': 'VERSION_CODENAME', 'build': 'BUILD_ID'}
        want = {column: release[key].decode().strip('"') if key in release else None
                for column, key in want.items()}
        numbers = release['VERSION_ID'].decode().strip('"').split('.') + ['0', '0']
        want.update(zip(('major', 'minor', 'patch'), map(int, numbers)))
        want['arch'] = self.before.file('uname').split()[-2].decode()
        self.one('os_version', want)

    def uptime(self):
        rows = self.query('SELECT *, total_ns, boot_time FROM uptime')
        before, after = (float(t.file('uptime').split()[0]) for t in (self.before, self.after))
        row = rows[0]
        self.value('boot_time', self.before.btime, self.after.btime, row['boot_time'])
        self.value('total_ns', int(before * 1e9), int((after + 0.01) * 1e9), row['total_ns'])
        self.value('total_seconds', row['total_ns'] // 10**9, row['total_ns'] // 10**9,
                   row['total_seconds'])
        parts = ((row['days'] * 24 + row['hours']) * 60 + row['minutes']) * 60 + row['seconds']
        self.value('the parts', row['total_seconds'], row['total_seconds'], parts)

    def vcpus(self):
        """The VMM's registers against the guest's memory: they know nothing of one another."""
        cpus = self.before.file('cpuinfo').count(b'processor\t')
        rows = self.query('SELECT v.*, p.page_table FROM vcpus v LEFT JOIN processes p USING (pid)')
        self.value('vcpus', list(range(cpus)), list(range(cpus)), sorted(r['vcpu'] for r in rows))
        self.value('cpus', list(range(cpus)), list(range(cpus)), sorted(r['cpu'] for r in rows))
        running = [r['tid'] for r in self.query('SELECT tid FROM threads WHERE on_cpu')]
        self.value('tasks', sorted(running), sorted(running),
                   sorted(r['tid'] for r in rows if not r['idle']))
        for row in rows:
            if row['idle']:
                self.value('idle', f"swapper/{row['cpu']}", f"swapper/{row['cpu']}", row['name'])
            if row['page_table'] is None or row['mode'] != 'user':
                continue
            # SDM vol. 3, 4.5: bits 51:12; page table isolation uses the upper of a pair (bit 12)
            mask = 0x000fffffffffe000
            self.value('cr3', int(row['page_table'], 16) & mask,
                       int(row['page_table'], 16) & mask, int(row['cr3'], 16) & mask)


TABLES = ('processes', 'threads', 'credentials', 'process_memory_map', 'process_envs',
          'process_namespaces', 'kernel_info', 'os_version', 'uptime', 'vcpus')


def main(argv):
    if len(argv) < 5 or argv[1] not in TABLES:
        sys.exit(__doc__)
    c = Comparison(argv[2], argv[3], argv[4:])
    getattr(c, argv[1])()
    if not c.compared:
        c.differ('nothing was compared')
    print(f'{argv[1]}: {c.compared} values compared, {c.moved} moved meanwhile, {c.bad} differ')
    return 1 if c.bad else 0


if __name__ == '__main__':
    sys.exit(main(sys.argv))
