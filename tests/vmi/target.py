#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Where the memory of a running VM lies, and what is in it: found by QEMU's monitor, by KVM's memory
slots and by a guess, for each machine, kind of memory and size around the hole below 4 GiB.

The truth: QEMU is told to load marks at guest physical addresses before the guest begins, and these
guests never begin, so that nothing else writes; the registers are those after a reset (SDM volume 3,
"Processor State After Reset"); of tenants of KVM, what their VMM's mappings hold.
"""
import atexit
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

HERE = os.path.dirname(os.path.abspath(__file__))
os.chdir(os.path.join(HERE, '../..'))
B = os.environ.get('IHO_BUILD', 'build')
LOOK = f'{B}/vmi-tests/look'
TMP = tempfile.mkdtemp(prefix='iho-target.')
MIB, GIB = 1 << 20, 1 << 30
LIMIT = 60

children = []
count = 0


def cleanup():
    for p in children:
        if p.poll() is None:
            p.kill()
            p.wait()
    shutil.rmtree(TMP)


atexit.register(cleanup)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))


def ok(good, name, *why):
    global count
    count += 1
    print(f"{'ok' if good else 'not ok'} {count} - {name}", flush=True)
    if not good:
        for line in '\n'.join(map(str, why)).splitlines()[:30]:
            print(f'# {line[:300]}', flush=True)
        print(f'# failed: {name}', file=sys.stderr)
    return good


def same(got, want, name, *why):
    return ok(got == want, name, f'got: {got}', f'want: {want}', *why)


def like(got, regex, name):
    return ok(re.search(regex, got), name, f'got: {got}', f'want: {regex}')


def skip(why, name):
    global count
    count += 1
    print(f'ok {count} - {name} # SKIP {why}', flush=True)


def poll(condition, what):
    end = time.monotonic() + LIMIT
    while not condition():
        if time.monotonic() > end:
            sys.exit(f'target.py: waited too long for {what}')
        time.sleep(0.02)


class Monitor:
    """A client of QEMU's monitor; while it is there, nobody else is served."""

    def __init__(self, path):
        self.path = path
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.settimeout(LIMIT)
        poll(self.connected, path)
        self.file = self.socket.makefile('rwb')
        json.loads(self.file.readline())
        self.execute('qmp_capabilities')

    def connected(self):
        return self.socket.connect_ex(self.path) == 0

    def execute(self, command, **arguments):
        self.file.write(json.dumps({'execute': command, 'arguments': arguments}).encode() + b'\n')
        self.file.flush()
        while True:
            answer = json.loads(self.file.readline())
            if 'event' not in answer:
                return answer['return']

    def close(self):
        self.file.close()
        self.socket.close()


class VM:
    """A VM of TCG that never begins."""

    def __init__(self, name, *options, monitor=True, program='qemu-system-x86_64'):
        self.qmp = f'{TMP}/qmp-{len(children)}'
        # a monitor of the tests' own, of another kind, tells when QEMU has obeyed its options
        self.own = f'{TMP}/own-{len(children)}'
        args = [program, '-name', name, '-accel', 'tcg', '-S', '-nodefaults', '-no-user-config',
                '-display', 'none', *options]
        if monitor:
            args += ['-qmp', f'unix:{self.qmp},server=on,wait=off']
        args += ['-monitor', f'unix:{self.own},server=on,wait=off']
        self.process = subprocess.Popen(args, stdin=subprocess.DEVNULL)
        children.append(self.process)
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(LIMIT)
        poll(lambda: s.connect_ex(self.own) == 0, self.own)
        while b'(qemu)' not in s.recv(4096):
            pass
        s.close()
        self.pid = str(self.process.pid)

    def end(self):
        self.process.kill()
        self.process.wait()


class Look:
    """look's answers; open until end()."""

    def __init__(self, *args):
        self.process = subprocess.Popen([LOOK, *args], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        stderr=subprocess.PIPE, text=True)
        children.append(self.process)
        self.regions, self.vcpus, self.facts = [], [], {}
        for line in self.process.stdout:
            key, _, value = line.rstrip('\n').partition(' ')
            if key == 'region':
                gpa, size, how = value.split()
                self.regions.append((int(gpa, 0), int(size, 0), how))
            elif key == 'vcpu':
                self.vcpus.append(dict(f.split('=') for f in value.split()[1:]))
            elif key == 'ready':
                break
            else:
                self.facts[key] = value
        else:
            self.process.wait()
            self.facts = {'error': self.process.stderr.read(), 'layout': '', 'ram': '', 'vcpus': ''}

    def ask(self, question):
        if 'error' in self.facts:
            return self.facts['error']
        self.process.stdin.write(question + '\n')
        self.process.stdin.flush()
        return self.process.stdout.readline().rstrip('\n')

    def read(self, gpa, size):
        return self.ask(f'read {gpa:#x} {size}')

    def end(self):
        self.process.stdin.close()
        return self.process.wait()


def low(machine, mib):
    """How much lies below 4 GiB: QEMU's hw/i386/pc_piix.c, pc_q35.c, microvm.c."""
    if machine == 'pc':
        return mib if mib < 3584 else 3072
    if machine == 'q35':
        return mib if mib < 2816 else 2048
    return mib if mib <= 3072 else 3072


class Marks:
    """Pages with known content at both ends of both parts of RAM."""

    def __init__(self, below, mib):
        rest = (mib - below) * MIB
        self.at = [16 * MIB + 4096, below * MIB - 4096]
        if rest:
            self.at += [4 * GIB, 4 * GIB + rest - 4096]
        self.options = []
        for gpa in self.at:
            path = f'{TMP}/mark-{gpa:x}'
            with open(path, 'wb') as f:
                f.write(self.content(gpa))
            self.options += ['-device', f'loader,file={path},addr={gpa},force-raw=on']

    def content(self, gpa):
        return b''.join(b'%016x' % (gpa + i) for i in range(0, 4096, 16))

    def missing(self, look):
        return [hex(gpa) for gpa in self.at if look.read(gpa, 4096) != self.content(gpa).hex()]


def parts(look):
    """RAM below and above 4 GiB in MiB: the tops; what the machine covers with devices lies within."""
    below = max((g + n for g, n, _ in look.regions if g < 4 * GIB and g + n < 0xf0000000), default=0)
    above = sum(n for g, n, _ in look.regions if g >= 4 * GIB)
    return below / MIB, above / MIB


def check(look, marks, machine, mib, how, name):
    below = low(machine, mib)
    same((marks.missing(look), *parts(look)), ([], below, mib - below),
         f'{name}: {below} + {mib - below} MiB, and {len(marks.at)} marks are in place', look.facts)
    same({how for _, _, how in look.regions}, {how}, f'{name}: by {how}')


def machines():
    for machine, mib in [('pc', 256), ('pc', 3583), ('pc', 3584), ('pc', 4096), ('q35', 256),
                         ('q35', 2815), ('q35', 2816), ('q35', 4096), ('microvm', 256),
                         ('microvm', 3072), ('microvm', 4096)]:
        marks = Marks(low(machine, mib), mib)
        vm = VM('iho-t', '-M', machine, '-m', str(mib), *marks.options)
        look = Look(vm.pid)
        check(look, marks, machine, mib, 'pread', f'{machine} with {mib} MiB, by its monitor')
        like(look.facts['layout'], '^QMP', f'{machine} with {mib} MiB: the monitor was asked')
        look.end()
        holder = Monitor(vm.qmp)
        look = Look(vm.pid)
        check(look, marks, machine, mib, 'pread', f'{machine} with {mib} MiB, by a guess')
        like(look.facts['layout'], '^guessed: .*another client',
             f'{machine} with {mib} MiB: it is a guess, because the monitor has a client')
        like(look.facts['vcpus'], '^none: .*another client', 'and no registers, for the same reason')
        same(holder.execute('query-status')['status'], 'prelaunch', 'that client is served as before')
        holder.close()
        look.end()
        vm.end()


def kinds():
    """What the memory is backed by."""
    mib = 256
    file = f'{TMP}/ram'
    size = f'size={mib}M'
    cases = [
        ('memfd', f'memory-backend-memfd,id=r,{size},share=on', 'map', '^memfd of the VMM, mapped$'),
        ('a private memfd', f'memory-backend-memfd,id=r,{size},share=off', 'pread', '/proc/PID/mem'),
        ('a shared file', f'memory-backend-file,id=r,{size},share=on,mem-path={file}', 'map',
         '^file of the VMM'),
        ('a private file', f'memory-backend-file,id=r,{size},share=off,mem-path={file}', 'pread',
         '/proc/PID/mem'),
        ('huge pages', f'memory-backend-memfd,id=r,{size},share=on,hugetlb=on,hugetlbsize=2M', 'map',
         '^huge pages of the VMM, mapped$'),
    ]
    for name, backend, how, text in cases:
        if name == 'huge pages' and not huge_pages(mib // 2):
            skip('no huge pages of 2 MiB to be had here', name)
            continue
        marks = Marks(mib, mib)
        vm = VM('iho-t', '-M', 'q35,memory-backend=r', '-m', str(mib), '-object', backend, *marks.options)
        for drop in [], ['--drop']:
            look = Look(*drop, vm.pid)
            who = 'nobody' if drop else 'root'
            check(look, marks, 'q35', mib, how, f'{name}, read by {who}')
            like(look.facts['ram'], text, f'{name}: it says so')
            same(look.ask('alive'), 'alive', f'{name}: the VM is there')
            if not drop:
                look.end()
        # the VMM ends under the reader: no signal, what is private is an error
        vm.end()
        same(look.ask('alive'), 'the VM "iho-t" has ended', f'{name}: the end of the VM is seen')
        if how == 'pread':
            same(look.read(marks.at[0], 16), 'EIO', f'{name}: its memory cannot be read any more')
        same(look.end(), 0, f'{name}: the reader lives')
        if os.path.exists(file):
            os.unlink(file)


HUGE = '/proc/sys/vm/nr_hugepages'


def huge_pages(n):
    """Tries to have that many free; what there were before is put back at the end."""
    with open(HUGE) as f:
        before = int(f.read())
    atexit.register(lambda: open(HUGE, 'w').write(str(before)))
    with open(HUGE, 'w') as f:
        f.write(str(before + n))
    with open('/sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages') as f:
        return int(f.read()) >= n


def shrinking():
    """The file behind a mapped guest becomes shorter."""
    file = f'{TMP}/ram'
    marks = Marks(256, 256)
    vm = VM('iho-t', '-M', 'q35,memory-backend=r', '-m', '256', '-object',
            f'memory-backend-file,id=r,size=256M,share=on,mem-path={file}', *marks.options)
    look = Look(vm.pid)
    same(marks.missing(look), [], 'a file: marks are in place')
    os.truncate(file, 17 * MIB)
    same(look.read(marks.at[1], 16), 'EIO', 'a file that became shorter: what is gone is an error')
    same(look.read(marks.at[0], 4096), marks.content(marks.at[0]).hex(), 'and the rest is there')
    same(look.end(), 0, 'the reader lives')
    vm.end()


def registers():
    vm = VM('iho-t', '-M', 'q35', '-smp', '3', '-m', '64')
    look = Look(vm.pid)
    want = {'rip': '0xfff0', 'cr0': '0x60000010', 'cr3': '0', 'cr4': '0', 'efer': '0', 'cs': '0xf000',
            'idt': '0/0xffff', 'gdt': '0/0xffff', 'rsp': '0'}
    same([{k: v.get(k) for k in want} for v in look.vcpus], [want] * 3,
         'registers of three vCPUs after a reset')
    like(look.ask('refresh'), r'vcpu 0 known=0x1f rip=0xfff0', 'and again')
    like(look.facts['vcpus'], '^QMP', 'the monitor was asked')
    monitor = Monitor(vm.qmp)
    same(monitor.execute('query-status')['status'], 'prelaunch', 'the VM was neither stopped nor begun')
    like(look.ask('refresh'), 'another client', 'not while the monitor has another client')
    monitor.close()
    like(look.ask('refresh'), 'rip=0xfff0', 'but when that is gone')
    vm.end()
    like(look.ask('refresh'), 'has ended', 'and after the end it is over')
    look.end()


def names():
    a = VM('iho twin', '-M', 'pc', '-m', '64')
    b = VM('guest=iho twin,process=x', '-M', 'pc', '-m', '64')
    look = Look('iho twin')
    like(look.facts.get('error', ''), f'name of 2 VMs; use a pid: ({a.pid}, {b.pid}|{b.pid}, {a.pid})',
         'a name that two VMs have')
    same(Look(b.pid).facts.get('name'), 'iho twin', 'a pid')
    a.end()
    same(Look('iho twin').facts.get('pid'), b.pid, 'a name that is unique now')
    b.end()
    like(Look('iho twin').facts.get('error', ''), 'no VM "iho twin" runs here', 'a VM that has ended')
    like(Look(b.pid).facts.get('error', ''), f'no VM "{b.pid}" runs here', 'a pid that has ended')
    like(Look('1').facts.get('error', ''), 'process 1 runs no VM', 'a process that runs none')


def monitors():
    """A monitor that is named, and one that is another VM's."""
    marks = Marks(256, 256)
    vm = VM('iho-t', '-M', 'pc', '-m', '256', *marks.options, monitor=False)
    other = VM('iho-other', '-M', 'pc', '-m', '256')
    look = Look(vm.pid)
    check(look, marks, 'pc', 256, 'pread', 'without a monitor')
    like(look.facts['layout'], '^guessed: .*no monitor', 'without a monitor: it is a guess, and why')
    look.end()
    look = Look('--qmp', other.qmp, vm.pid)
    like(look.facts['layout'], '^guessed: .*another process', "another VM's monitor is not believed")
    look.end()
    vm.end()
    look = Look('--qmp', other.qmp, other.pid)
    like(look.facts['layout'], '^QMP', 'a monitor that is named')
    look.end()
    other.end()
    # two NUMA nodes: the guess declines, the monitor knows
    nodes = []
    for i in '01':
        nodes += ['-object', f'memory-backend-memfd,id=m{i},size=128M,share=on', '-numa', f'node,memdev=m{i}']
    vm = VM('iho-t', '-M', 'q35', '-m', '256', *nodes, *marks.options)
    look = Look(vm.pid)
    check(look, marks, 'q35', 256, 'map', 'two NUMA nodes, two memfds')
    look.end()
    holder = Monitor(vm.qmp)
    like(Look(vm.pid).facts.get('error', ''), 'is not known: .*another client; several -numa',
         'two NUMA nodes and no monitor: it does not guess')
    holder.close()
    vm.end()


def kvm():
    """Tenants of KVM: their slots and registers come from the kernel, by BPF."""
    name = 'a tenant of KVM'
    if not os.access('/dev/kvm', os.W_OK):
        skip('no /dev/kvm here', name)
        return
    demo = subprocess.Popen([f'{B}/iho-demo', '--name', 'iho-slots', '--announce', '--linger', '--script',
                             'cpuid:0:10'], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True)
    children.append(demo)
    for line in demo.stdout:
        if line.startswith('done'):
            break
    look = Look('iho-slots')
    same(look.facts.get('layout'), "KVM's memory slots", f'{name}: its slots')
    like(look.facts['vcpus'], '^KVM', f'{name}: its registers')
    same(look.regions[0][0] if look.regions else None, 0, f'{name}: memory from 0 on')
    # its page tables are where CR3 says: present entries, the first maps the first pages
    v = look.vcpus[0] if look.vcpus else {'cr3': '0', 'rip': '0'}
    entry = int.from_bytes(bytes.fromhex(look.read(int(v['cr3'], 0) & ~0xfff, 8)), 'little')
    same(entry & 1, 1, f'{name}: CR3 leads to its page table', v)
    # the same bytes as in the VMM, where the slot is mapped
    gpa, size, _ = look.regions[0]
    text = bytes.fromhex(look.read(int(v['rip'], 0), 64))
    with open(f'/proc/{demo.pid}/maps') as f:
        spans = [[int(x, 16) for x in line.split()[0].split('-')] for line in f if ' rw-' in line]
    found = False
    with open(f'/proc/{demo.pid}/mem', 'rb', 0) as mem:
        for start, end in spans:
            if end - start >= size:
                mem.seek(start)
                found |= mem.read(end - start).find(text) >= 0
    ok(found and any(text), f'{name}: the code at RIP is what its VMM holds')
    demo.kill()
    demo.wait()
    like(look.ask('alive'), 'has ended', f'{name}: its end is seen')
    same(look.read(gpa, 8), 'EIO', f'{name}: then nothing is read')
    look.end()


if os.geteuid():
    print('1..0 # SKIP not root')
    sys.exit(0)
subprocess.run(['make', '--no-print-directory', '-s', LOOK], stdout=sys.stderr, check=True)
for part in machines, kinds, shrinking, registers, names, monitors, kvm:
    part()
print(f'1..{count}')
