#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""ps.py DUMP VMLINUX ROUNDS: drgn lists the processes of a dump so many times; prints the ms of each."""
import sys
import time

import compare


def main():
    p = compare.program(sys.argv[1], sys.argv[2])
    for _ in range(int(sys.argv[3])):
        begin = time.monotonic()
        if not [(t.pid.value_(), t.real_parent.tgid.value_(), t.real_cred.uid.val.value_(),
                 compare.task_state_to_char(t), t.comm.string_()) for t in compare.leaders(p)]:
            sys.exit('no processes')
        print(f'{(time.monotonic() - begin) * 1000:.3f}')


main()
