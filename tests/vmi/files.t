#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Open files and mounts, beside the guest's own /proc and statfs(2), on each kernel.
. "$(dirname "$0")/../tap.sh"
. tests/vmi/guest/guest.sh
. tests/vmi/compare.sh

# shellcheck disable=SC2329 # called by compare_all
spoil() { sed -i '$d' "$1/proc/1/fd"; }

guest_build || { echo "Bail out! no kernels for the guests"; exit 1; }
compare_all "$TMP" process_open_files mounts
done_testing
