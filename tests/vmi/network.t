#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# Sockets, interfaces, neighbours and routes, beside the guest's own /proc/net and ip(8), on each
# kernel, in each network namespace.
. "$(dirname "$0")/../tap.sh"
. tests/vmi/guest/guest.sh
. tests/vmi/compare.sh

# shellcheck disable=SC2329 # called by compare_all
spoil() { sed -i '$d' "$1/net/tcp"; }

guest_build || { echo "Bail out! no kernels for the guests"; exit 1; }
compare_all "$TMP" sockets process_open_sockets listening_ports interface_details \
	interface_addresses arp_cache routes
done_testing
