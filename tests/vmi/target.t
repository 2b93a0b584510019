#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Where a VM's memory lies and what is in it: see target.py.
cd "$(dirname "$0")/../.." || exit 1
exec /usr/bin/python3 tests/vmi/target.py
