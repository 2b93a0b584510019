#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""manual.py PROGRAM PAGE: writes the METRICS section of the manual page anew, from --list-metrics."""
import json
import subprocess
import sys

BEGIN = '.\\" between these two lines: one item for each line of iho-exporter --list-metrics\n.Bl -tag -width Ds\n'
END = '.El\n.\\" end of the metrics\n'


def item(family):
    labels = '{' + ','.join(family['labels']) + '}' if family['labels'] else ''
    text = family['help'].replace('\\', '\\e').replace('. ', '.\n')
    lines = ['\\&' + line if line[0] in ".'" else line for line in text.split('\n')]
    return '\n'.join(['.It ' + family['name'] + labels, family['type'] + '.'] + lines) + '\n'


def main():
    program, page = sys.argv[1:]
    families = json.loads(subprocess.check_output([program, '--list-metrics', '--format', 'json']))['families']
    with open(page, encoding='utf-8') as f:
        text = f.read()
    begin = text.index(BEGIN) + len(BEGIN)
    end = text.index(END, begin)
    with open(page, 'w', encoding='utf-8') as f:
        f.write(text[:begin] + ''.join(map(item, families)) + text[end:])


main()
