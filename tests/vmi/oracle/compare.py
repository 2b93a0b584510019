#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Compares tables of a dump with what drgn, crash or nm find in the same dump or its kernel.

compare.py TABLE DUMP VMLINUX QUERY... [--spoil]

QUERY is a command that takes a statement and prints a JSON array. Rows must be equal, as many times
as they occur. --spoil drops one row of the oracle's: there must then be a difference. Exit status 0:
equal, 1: not, or the oracle failed, 2: no rows to compare.
"""
import collections
import json
import re
import socket
import subprocess
import sys

import drgn
from drgn.helpers.linux import (SOCK_INODE, bpf_prog_for_each, d_path, for_each_file,
                                for_each_mount, for_each_task, get_printk_records,
                                list_for_each_entry, mount_dst, mount_fstype, mount_src,
                                task_state_to_char)

TEXT = 0xffffffff80000000  # __START_KERNEL_map (arch/x86/include/asm/page_64_types.h)
TEXT_BYTES = 1 << 30
PF_WQ_WORKER = 0x20
PF_KTHREAD = 0x00200000
# lib/maple_tree.c: a pointer to a node has its type in bits 3 to 6
MAPLE_LEAF_64, MAPLE_ARANGE_64 = 1, 3
MAPLE_NODE_MASK = 255
XA_ZERO = 0x406


def program(dump, vmlinux):
    """drgn 0.0.22 reads the kernel's top page table by its virtual address, which a dump without
    virtual addresses does not have: the kernel's image is where VMCOREINFO says."""
    with open(dump, 'rb') as f:
        note = re.search(rb'NUMBER\(phys_base\)=(-?\d+)', f.read(1 << 20))
    if not note:
        sys.exit('no VMCOREINFO in the dump')
    base = int(note[1])
    p = drgn.Program()
    p.set_core_dump(dump)
    p.add_memory_segment(TEXT, TEXT_BYTES,
                         lambda at, n, offset, physical: p.read(at - TEXT + base, n, True))
    p.load_debug_info([vmlinux])
    return p


def text(raw):
    return ''.join(c if c in '\t\n' or c.isprintable() else '?'
                   for c in raw.decode('utf-8', 'replace').replace('\ufffd', '?'))


def tasks(p):
    return [t for t in for_each_task(p) if t.pid.value_()]


def leaders(p):
    return [t for t in tasks(p) if t.pid.value_() == t.tgid.value_()]


def name(t):
    """As proc_task_name() has it: a worker's says what it works on (wq_worker_comm() of
    kernel/workqueue.c), a kernel thread's may be longer than comm (get_kthread_comm())."""
    comm, flags = t.comm.string_(), t.flags.value_()
    if not flags & PF_KTHREAD:
        return text(comm)
    kthread = drgn.cast('struct kthread *', t.worker_private)
    if flags & PF_WQ_WORKER:
        worker = drgn.cast('struct worker *', kthread.data)
        desc = worker.desc.string_()
        if worker.pool and desc:
            comm += (b'+' if worker.current_work else b'-') + desc
    elif kthread and kthread.full_name:
        comm = kthread.full_name.string_()
    return text(comm)


def processes(p):
    for t in leaders(p):
        cred = t.real_cred
        yield (t.pid.value_(), t.real_parent.tgid.value_(), name(t),
               task_state_to_char(t), cred.uid.val.value_(), cred.gid.val.value_(),
               cred.euid.val.value_(), f'0x{t.value_():016x}')


def threads(p):
    for t in tasks(p):
        yield (t.pid.value_(), t.tgid.value_(), name(t), task_state_to_char(t),
               f'0x{t.flags.value_():08x}', f'0x{t.value_():016x}')


def kernel_modules(p):
    for m in list_for_each_entry('struct module', p['modules'].address_of_(), 'list'):
        yield (m.name.string_().decode(), m.refcnt.counter.value_() - 1,
               f'0x{m.core_layout.base.value_():016x}', f'0x{m.value_():016x}')


def mounts(p):
    init = next(t for t in tasks(p) if t.pid.value_() == 1)
    for m in for_each_mount(init.nsproxy.mnt_ns):
        yield (text(mount_fstype(m)), text(mount_src(m)), text(mount_dst(m)), m.mnt_id.value_(),
               f'0x{m.value_():016x}')


def process_open_files(p):
    for t in leaders(p):
        if not t.files:
            continue
        for fd, f in for_each_file(t):
            yield (t.pid.value_(), fd, f.f_pos.value_(), f.f_inode.i_ino.value_(),
                   f'0x{f.value_():016x}')


def paths(p):
    """Of files that have one: not pipes and sockets, nor what was removed, as /proc marks it."""
    for t in leaders(p):
        if not t.files:
            continue
        for fd, f in for_each_file(t):
            dentry = f.f_path.dentry
            if dentry.d_op and dentry.d_op.d_dname or not dentry.d_hash.pprev and \
                    dentry.d_parent != dentry:
                continue
            path = d_path(f.f_path)
            # longer than a page: /proc has none either; and a name that only looks removed
            if len(path) < 4096 and not path.endswith(b' (deleted)'):
                yield t.pid.value_(), fd, text(path)


def maple(p, entry, lowest, highest):
    """The entries of a tree of ranges, each with its first and last index."""
    node, kind = entry & ~MAPLE_NODE_MASK, entry >> 3 & 15
    leaf = kind == MAPLE_LEAF_64
    n = drgn.Object(p, 'struct maple_node', address=node)
    body = n.ma64 if kind == MAPLE_ARANGE_64 else n.mr64
    pivots = [v.value_() for v in body.pivot]
    first = lowest
    for i, slot in enumerate(body.slot):
        last = pivots[i] if i < len(pivots) else highest
        # behind the first, a pivot of 0 ends a node that is not full
        if i and not last:
            last = highest
        value = slot.value_()
        if value and leaf:
            yield first, last, value
        elif value:
            yield from maple(p, value, first, last)
        if last >= highest:
            return
        first = last + 1


def process_memory_map(p):
    for t in leaders(p):
        root = t.mm.mm_mt.ma_root.value_() if t.mm else 0
        if not root:
            continue
        for first, last, address in maple(p, root, 0, 2**64 - 1):
            if address == XA_ZERO:
                continue
            vma = drgn.Object(p, 'struct vm_area_struct', address=address)
            flags, device, inode, offset = vma.vm_flags.value_(), 0, 0, 0
            if vma.vm_file:
                inode = vma.vm_file.f_inode.i_ino.value_()
                device = vma.vm_file.f_inode.i_sb.s_dev.value_()
                offset = vma.vm_pgoff.value_() * 4096
            if (vma.vm_start.value_(), vma.vm_end.value_()) != (first, last + 1):
                sys.exit('the tree of areas is not understood here')
            yield (t.pid.value_(), f'0x{first:08x}', f'0x{last + 1:08x}',
                   ''.join(c if flags & bit else '-' for c, bit in (('r', 1), ('w', 2), ('x', 4))) +
                   ('s' if flags & 0x80 else 'p'), offset,
                   f'{device >> 20:02x}:{device & 0xfffff:02x}', inode)


def addresses(sk):
    """Of both ends, as text, and their ports."""
    common = sk.__sk_common
    family = common.skc_family.value_()
    if family == socket.AF_INET:
        ends = [common.skc_rcv_saddr, common.skc_daddr]
        raw = [e.value_().to_bytes(4, 'little') for e in ends]
    elif family == socket.AF_INET6:
        ends = [common.skc_v6_rcv_saddr, common.skc_v6_daddr]
        raw = [bytes(e.in6_u.u6_addr8.value_()) for e in ends]
    else:
        return '', 0, '', 0
    local, remote = (socket.inet_ntop(family, r) for r in raw)
    return local, common.skc_num.value_(), remote, socket.ntohs(common.skc_dport.value_())


def process_open_sockets(p):
    ops = p['socket_file_ops'].address_of_()
    for t in leaders(p):
        if not t.files:
            continue
        for fd, f in for_each_file(t):
            if f.f_op != ops:
                continue
            sock = drgn.cast('struct socket *', f.private_data)
            sk = sock.sk
            if sk:
                yield (t.pid.value_(), fd, SOCK_INODE(sock).i_ino.value_(),
                       sk.__sk_common.skc_family.value_(), sk.sk_protocol.value_(),
                       *addresses(sk), f'0x{sk.value_():016x}')


def bpf_programs(p):
    for b in bpf_prog_for_each(p):
        yield (b.aux.id.value_(), text(b.aux.name.string_()), b.len.value_(),
               ''.join(f'{byte:02x}' for byte in b.tag.value_()), b.aux.load_time.value_(),
               b.jited_len.value_(), f'0x{b.bpf_func.value_():016x}')


def kernel_log(p):
    for r in get_printk_records(p):
        yield r.seq, r.timestamp, r.facility, r.level, text(r.text)


def idt(p):
    for vector, gate in enumerate(p['idt_table']):
        offset = (gate.offset_low.value_() | gate.offset_middle.value_() << 16 |
                  gate.offset_high.value_() << 32)
        yield (vector, f'0x{offset:016x}', gate.segment.value_(), gate.bits.ist.value_(),
               gate.bits.dpl.value_(), gate.bits.p.value_())


# What scripts/kallsyms.c leaves out (constants too), and scripts/mksysmap before it
NO_SYMBOL = re.compile(r'(__crc_|__kstrtab|\$|\.L|__efistub_|__kvm_nvhe_)|kallsyms_(offsets|names|markers|'
                       r'num_syms|relative_base|seqs_of_names|token_table|token_index)$')


def nm(dump, vmlinux):
    """The symbols of the image, moved as VMCOREINFO says. Those of per-CPU variables are offsets, which
    do not move and which kallsyms takes for constants."""
    with open(dump, 'rb') as f:
        offset = int(re.search(rb'KERNELOFFSET=([0-9a-f]+)', f.read(1 << 20))[1], 16)
    out = subprocess.run(['nm', vmlinux], text=True, capture_output=True, timeout=300, check=True)
    for line in out.stdout.splitlines():
        m = re.match(r'([0-9a-f]{16}) (\S) (\S+)$', line)
        if m and m[2] not in 'AaNUw' and not NO_SYMBOL.match(m[3]):
            at = int(m[1], 16)
            moves = at >= TEXT
            yield m[3], f'0x{at + offset if moves else at:016x}', m[2] if moves else 'A'


def crash(dump, vmlinux, command):
    out = subprocess.run(['crash', '-s', vmlinux, dump], input=f'{command}\nquit\n', text=True,
                         capture_output=True, timeout=300, check=False)
    if out.returncode:
        sys.exit(f'crash failed: {out.stderr or out.stdout}')
    return out.stdout.splitlines()


def crash_modules(dump, vmlinux):
    for line in crash(dump, vmlinux, 'mod'):
        m = re.match(r'([0-9a-f]{16}) +(\S+) +([0-9a-f]{16}) +(\d+) ', line)
        if m:
            yield m[2], int(m[4]), f'0x{m[3]}', f'0x{m[1]}'


REGISTERS = ('rax', 'rcx', 'rdx', 'rbx', 'rsp', 'rbp', 'rsi', 'rdi', *(f'r{n}' for n in range(8, 16)),
             'rip', 'rflags', 'cr0', 'cr2', 'cr3', 'cr4')
SEGMENTS = ('fs', 'gs', 'gdt', 'idt')


def crash_vcpus(dump, vmlinux):
    """`bt -a` has the task that runs on each CPU and the instruction that it is at, `help -r` the
    registers, of QEMU's note of each vCPU."""
    tasks = {}
    for line in crash(dump, vmlinux, 'bt -a'):
        if m := re.match(r'PID: (\d+) +TASK: ([0-9a-f]{16}) +CPU: (\d+) +COMMAND: "(.*)"$', line):
            cpu = int(m[3])
            tasks[cpu] = [int(m[1]), m[4], f'0x{m[2]}']
        elif m := re.match(r' +\[exception RIP: (\S+)\+(\d+)\]$', line):
            tasks[cpu].append(f'{m[1]}+0x{int(m[2]):x}')
    said = '\n'.join(crash(dump, vmlinux, 'help -r'))
    for part in re.split(r'^(?=CPU \d+:$)', said, flags=re.M)[1:]:
        cpu = int(re.match(r'CPU (\d+):', part)[1])
        values = {m[1].lower(): int(m[2], 16) for m in
                  re.finditer(r'\b([A-Z][A-Z0-9]+): *([0-9a-f]{8,16})\b', part)}
        segments = {m[1].lower(): [int(v, 16) for v in m.groups()[1:]] for m in
                    re.finditer(r'\b([A-Z]+): selector: ([0-9a-f]+) +limit: ([0-9a-f]+) .*\n'
                                r'.* base: ([0-9a-f]+)', part)}
        yield (cpu, cpu, *tasks[cpu], *(f'0x{values[r]:016x}' for r in REGISTERS),
               f"0x{segments['cs'][0]:x}", segments['gdt'][1], segments['idt'][1],
               *(f'0x{segments[r][2]:016x}' for r in SEGMENTS))


TABLES = {
    'processes': (processes, 'SELECT pid, parent, name, state, uid, gid, euid, task FROM processes'),
    'threads': (threads, 'SELECT tid, pid, name, state, flags, task FROM threads'),
    'kernel_modules': (kernel_modules,
                       'SELECT name, refcount, address, struct_address FROM kernel_modules'),
    'mounts': (mounts, 'SELECT type, device, path, mount_id, mount FROM mounts'),
    'process_open_files': (process_open_files,
                           'SELECT pid, fd, offset, inode, file FROM process_open_files'),
    'paths': (paths, 'SELECT pid, fd, path FROM process_open_files'
              ' WHERE path GLOB \'/*\' AND path NOT GLOB \'* (deleted)\''),
    'process_memory_map': (process_memory_map,
                           'SELECT pid, start, end, permissions, offset, device, inode'
                           ' FROM process_memory_map WHERE path IS NOT \'[vsyscall]\''),
    'process_open_sockets': (process_open_sockets,
                             'SELECT pid, fd, socket, family, protocol, local_address, local_port,'
                             ' remote_address, remote_port, sock FROM process_open_sockets'
                             ' WHERE pid > 0'),
    'nm:kernel_symbols': (nm, 'SELECT name, address, type FROM kernel_symbols WHERE module IS NULL'),
    'bpf_programs': (bpf_programs,
                     'SELECT id, name, insns, tag, loaded_ns, bytes_jited, address'
                     ' FROM bpf_programs'),
    'kernel_log': (kernel_log, 'SELECT sequence, time_ns, facility, level, text FROM kernel_log'),
    'idt': (idt, 'SELECT vector, offset, selector, ist, dpl, present FROM idt'),
    'crash:kernel_modules': (crash_modules,
                             'SELECT name, size, address, struct_address FROM kernel_modules'),
    'crash:vcpus': (crash_vcpus,
                    f"SELECT vcpu, cpu, pid, name, task, symbol, {', '.join(REGISTERS)}, cs, gdt_limit,"
                    f" idt_limit, {', '.join(f'{r}_base' for r in SEGMENTS)} FROM vcpus"),
}


def main():
    args = [a for a in sys.argv[1:] if a != '--spoil']
    table, dump, vmlinux, query = args[0], args[1], args[2], args[3:]
    rows, sql = TABLES[table]
    made = rows(dump, vmlinux) if ':' in table else rows(program(dump, vmlinux))
    theirs = list(made)
    if '--spoil' in sys.argv and theirs:
        theirs.pop()
    out = subprocess.run(query + [sql], capture_output=True, text=True, check=False)
    if out.returncode or not theirs:
        print(out.stderr or 'the oracle has no rows')
        return 2
    ours = [tuple(r.values()) for r in json.loads(out.stdout)]
    a, b = collections.Counter(ours), collections.Counter(theirs)
    for row in (a - b).elements():
        print(f'only ours: {row}')
    for row in (b - a).elements():
        print(f'only the oracle\'s: {row}')
    print(f'{table}: {len(ours)} rows, {len(theirs)} of the oracle\'s')
    return 0 if a == b else 1


if __name__ == '__main__':
    sys.exit(main())
