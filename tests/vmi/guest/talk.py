#!/usr/bin/python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Talks to a guest.

talk.py run AGENT SCRIPT          has the guest execute a script; its output and status are ours
talk.py put AGENT FILE PATH       a file of this machine into the guest
talk.py qmp QMP COMMAND [JSON]    a command to QEMU's monitor; prints what it returns

Exit status 124: no answer in GUEST_LIMIT seconds (300).
"""
import json
import os
import shlex
import socket
import sys
import time

LIMIT = float(os.environ.get('GUEST_LIMIT', '300'))


def connect(path):
    end = time.monotonic() + LIMIT
    while True:
        s = socket.socket(socket.AF_UNIX)
        s.settimeout(LIMIT)
        try:
            s.connect(path)
            return s.makefile('rwb')
        except OSError:
            if time.monotonic() > end:
                sys.exit(f'talk.py: nobody listens at {path}')
            time.sleep(0.05)


def run(path, script, data=b''):
    port = connect(path)
    name = os.getpid()
    port.write(f'{name} {len(script)} {len(data)}\n'.encode() + script + data)
    port.flush()
    head = port.readline().split()
    if len(head) != 3 or int(head[0]) != name:
        sys.exit(f'talk.py: no answer from the guest: {head}')
    return int(head[1]), port.read(int(head[2]))


def qmp(path, command, arguments):
    monitor = connect(path)

    def execute(name, arguments):
        question = {'execute': name, 'arguments': arguments}
        monitor.write(json.dumps(question).encode() + b'\n')
        monitor.flush()
        while True:
            line = monitor.readline()
            if not line:
                sys.exit(f'talk.py: QEMU went away over {name}')
            answer = json.loads(line)
            if 'error' in answer:
                sys.exit(f"talk.py: {name}: {answer['error']['desc']}")
            if 'return' in answer:
                return answer['return']

    monitor.readline()
    execute('qmp_capabilities', {})
    return execute(command, arguments)


def main(argv):
    what, path = argv[1], argv[2]
    if what == 'run':
        status, output = run(path, argv[3].encode())
        sys.stdout.buffer.write(output)
        return status
    if what == 'put':
        to = shlex.quote(argv[4])
        with open(argv[3], 'rb') as f:
            status, output = run(path, f'cat >{to} && chmod +x {to}'.encode(), f.read())
        sys.stdout.buffer.write(output)
        return status
    if what == 'qmp':
        arguments = json.loads(argv[4]) if len(argv) > 4 else {}
        print(json.dumps(qmp(path, argv[3], arguments)))
        return 0
    return __doc__


if __name__ == '__main__':
    if len(sys.argv) < 3:
        sys.exit(__doc__)
    try:
        sys.exit(main(sys.argv))
    except TimeoutError:
        print(f'talk.py: no answer in {LIMIT:.0f} s', file=sys.stderr)
        sys.exit(124)
