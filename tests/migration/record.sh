#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# record.sh MIB "FILL SET PAUSE" OPTION...: migrates such a tenant (see guest.S) from one libvirtd to
# another, with these options of virsh migrate, and prints the record of it. ABORT=SECONDS aborts it.
. "$(dirname "$0")/../tap.sh" >&2
LIMIT=60
make --no-print-directory -s build/migration/guest.elf build/migration/record >&2 || exit 1
. tests/migration/hosts.sh
trap 'hosts_kill; tap_cleanup' EXIT

host_start a 1 && host_start b 2 && tenant a tenant "$1" "$2" || exit 1
spawn build/migration/record "$TMP/a/libvirt-sock-ro" 120 >"$TMP/record"
record=$SPAWNED
sleep 2 # it looks for domains once in two seconds
migrate tenant a b "${@:3}"
if [ -n "${ABORT-}" ]; then
	sleep "$ABORT"
	on a domjobabort tenant
fi
wait_gone "$SPAWNED" 120 || on a domjobabort tenant
wait_gone "$record" 20
cat "$TMP/migrate.tenant" >&2
cat "$TMP/record"
