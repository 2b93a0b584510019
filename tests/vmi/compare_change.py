#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Judges tables of a guest that changed while it was looked at: see churn.c.

compare_change.py ask FOLDER NUMBER COMMAND...
compare_change.py judge FOLDER

The first has COMMAND, which takes a statement and prints a JSON array, answer each statement once: results NUMBER.
The second wants to know what was true, in FOLDER: pids (what churn.c writes), steady (pid and name of
the processes that stayed), kernel (pids of its threads), modules. A row must be true or say that it is
torn; what stayed must be in each result that does not say that it is partial.
"""
import collections
import glob
import json
import re
import struct
import subprocess
import sys

STATEMENTS = {
    'processes': 'SELECT pid, name, parent, kernel, torn FROM processes',
    'threads': 'SELECT pid, tid, name, torn FROM threads',
    'process_open_files': 'SELECT pid, fd, path, torn FROM process_open_files',
    'process_memory_map': "SELECT pid, start, path, torn FROM process_memory_map",
    'sockets': 'SELECT family, socket, path, torn FROM sockets',
    'process_open_sockets': 'SELECT pid, fd, path, torn FROM process_open_sockets',
    'kernel_modules': 'SELECT name, status, torn FROM kernel_modules',
}
STAYING = 10
PARTIAL = ' is not whole: '
TORN = re.compile(r' rows changed while they were read')


def ask(folder, number, command):
    for table, statement in STATEMENTS.items():
        done = subprocess.run(command + [statement], capture_output=True, check=False, timeout=120)
        said = [line for line in done.stderr.decode('utf-8', 'replace').splitlines() if line]
        with open(f'{folder}/{table}.{number}', 'w', encoding='utf-8') as f:
            json.dump({'status': done.returncode, 'said': said,
                       'rows': json.loads(done.stdout or b'null')}, f)


class Judge:
    def __init__(self, folder):
        with open(f'{folder}/pids', 'rb') as f:
            raw = f.read()
        self.pids = [p for p, in struct.iter_unpack('<I', raw)]
        self.all_pids = set(self.pids)
        with open(f'{folder}/steady', encoding='utf-8') as f:
            self.steady = {int(pid): name for pid, name in
                           (line.rstrip('\n').split(' ', 1) for line in f)}
        with open(f'{folder}/modules', encoding='utf-8') as f:
            self.modules = set(f.read().split())
        with open(f'{folder}/kernel', encoding='utf-8') as f:
            self.kernel = set(map(int, f.read().split()))
        self.churn = min(p for p, name in self.steady.items() if name == 'churn')
        self.stays = {name: pid for pid, name in self.steady.items() if name.startswith('stay-')}
        self.folder, self.bad, self.counts = folder, 0, collections.Counter()

    def differ(self, what):
        self.bad += 1
        if self.bad <= 20:
            print(what)

    def serial(self, text, pid=None):
        """Whether that serial number was there, and was that pid's."""
        n = int(text)
        self.counts['short-lived'] += 1
        return n < len(self.pids) and self.pids[n] and pid in (None, self.pids[n])

    def task(self, pid, name):
        """Who such a task is: '' = nobody."""
        if pid in self.steady:
            return 'steady' if self.steady[pid] == name or pid == self.churn else ''
        if re.fullmatch(r'c\d{7}', name):
            return 'churn' if self.serial(name[1:], pid) else ''
        # forked, and not yet who it is going to be
        return 'churn' if name == 'churn' and pid in self.all_pids else ''

    def processes(self, row):
        if row['kernel'] == 1:
            return row['parent'] in (0, 2) # workers come and go
        who = self.task(row['pid'], row['name'])
        return who == 'steady' or (who == 'churn' and row['parent'] == self.churn)

    def threads(self, row):
        if row['pid'] == self.churn:
            return row['name'] == 'churn'
        if row['pid'] in self.kernel or row['name'].startswith('kworker'):
            return True
        if re.fullmatch(r't\d{7}', row['name']):
            return row['tid'] != row['pid'] and self.serial(row['name'][1:], row['pid'])
        return bool(self.task(row['pid'], row['name']))

    def path(self, row, pid=None):
        text = row['path'] or ''
        m = re.fullmatch(r'@?/run/(?:churn-(\d{7})|(stay-\d))(?: \(deleted\))?', text)
        if not m:
            return not re.search(r'churn-|stay-', text) or text in ('/run/churn.pids', '/guest/churn')
        if m[2]:
            return pid in (None, self.stays[m[2]])
        return self.serial(m[1], pid)

    def process_open_files(self, row):
        return self.path(row, row['pid']) and self.process(row)

    process_memory_map = process_open_files

    def process_open_sockets(self, row):
        return self.path(row, None if row['pid'] == -1 else row['pid']) and \
            (row['pid'] == -1 or self.process(row))

    def process(self, row):
        return row['pid'] in self.steady or row['pid'] in self.all_pids

    def sockets(self, row):
        return self.path(row)

    def kernel_modules(self, row):
        return row['name'] in self.modules

    def missing(self, table, rows):
        """What stayed all the time, of a result that claims to be whole."""
        if table in ('processes', 'threads'):
            return set(self.steady) - {row['pid'] for row in rows}
        if table == 'kernel_modules':
            return self.modules - {'raw_diag'} - {row['name'] for row in rows}
        paths = collections.Counter((row['path'] or '').lstrip('@') for row in rows)
        return {name for name in self.stays if paths[f'/run/{name}'] != 1}

    def result(self, table, file):
        with open(file, encoding='utf-8') as f:
            answer = json.load(f)
        said = [line for line in answer['said'] if PARTIAL in line]
        for line in answer['said']:
            if line not in said and not TORN.search(line):
                self.differ(f'{table}: {line}')
        if answer['status'] or not isinstance(answer['rows'], list):
            self.differ(f"{table}: exit status {answer['status']}: {answer['said']}")
            return
        rows = answer['rows']
        self.counts['rows'] += len(rows)
        self.counts['torn'] += sum(row['torn'] for row in rows)
        self.counts['partial'] += bool(said)
        if said:
            print(f'{table}: {said}')
        for row in rows:
            if not row['torn'] and not getattr(self, table)(row):
                self.differ(f'{table}: neither true nor torn: {row}')
        if not said and (gone := self.missing(table, rows)):
            self.differ(f'{table}: not partial, but without {sorted(gone)[:10]}')

    def judge(self):
        results = 0
        for table in STATEMENTS:
            for file in sorted(glob.glob(f'{self.folder}/{table}.*')):
                results += 1
                self.result(table, file)
        if len(self.stays) != STAYING or not results or not self.counts['short-lived']:
            self.differ(f'nothing was judged: {self.stays}, {results}, {self.counts}')
        print(f'{results} results, ' + ', '.join(f'{n} {k}' for k, n in self.counts.items()) +
              f', {self.bad} wrong')
        return 1 if self.bad else 0


def main(argv):
    if len(argv) > 4 and argv[1] == 'ask':
        ask(argv[2], argv[3], argv[4:])
        return 0
    if len(argv) == 3 and argv[1] == 'judge':
        return Judge(argv[2]).judge()
    sys.exit(__doc__)


if __name__ == '__main__':
    sys.exit(main(sys.argv))
