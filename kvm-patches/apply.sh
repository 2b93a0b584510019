#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# apply.sh TREE [COUNT]: applies the series, or its first COUNT patches, to a tree of Linux 6.12.
# Offsets are fine, fuzz is not: who knows what the lines around became.
set -eu
tree=$1
patches=$(cd "$(dirname "$0")/6.12" && pwd)
grep -v '^#' "$patches/series" | head -n "${2:-999}" | while read -r p; do
	patch -s -d "$tree" -p1 --fuzz=0 --no-backup-if-mismatch -i "$patches/$p" || {
		echo "iho: kvm-patches: $p does not apply to $tree" >&2
		exit 1
	}
done
