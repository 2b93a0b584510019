#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# make install, and the Debian packages: built, judged by lintian, installed into an overlay over this
# machine's root, started, removed. The overlay, the mounts and the network are this script's own, and
# end with it.
if [ "$(id -u)" = 0 ] && [ -z "${IHO_OWN_MOUNTS-}" ]; then
	IHO_OWN_MOUNTS=1 exec unshare --mount --net --propagation private "$BASH" "$0"
fi
. "$(dirname "$0")/../tap.sh"
need_root
for c in dpkg-buildpackage dh lintian systemd-analyze systemd-sysusers setpriv; do
	command -v $c >/dev/null || skip_all "no $c"
done
ip link set lo up
PROGRAMS=$(find "$B" -maxdepth 1 -type f -name 'iho*' -perm -u+x -printf '%f\n' | sort)
tree() { git ls-files -co --exclude-standard | sort; }

# ---- make install, make uninstall ----
D=$TMP/dest
quiet_make() { make -s --no-print-directory "$@" >"$TMP/make.out" 2>&1 || diag "$(tail "$TMP/make.out")"; }
quiet_make install DESTDIR="$D" PREFIX=/opt/iho
is "$(find "$D/opt/iho/sbin" -type f -perm 755 -printf '%f\n' | sort)" "$PROGRAMS" "make install: every program"
is "$(find "$D/opt/iho/share/man/man8" -type f -printf '%f\n' | sort)" \
	"$(sed 's/$/.8/' <<<"$PROGRAMS")" "and its page"
dashboards() { find dashboards -type f ! -name '*.sh' ! -name '*.py' | sort; }
is "$(cd "$D/opt/iho/share/iho" && find . -type f -printf '%P\n' | sort)" "$(dashboards)" "and the dashboards with their rules"
for u in "$D"/opt/iho/lib/systemd/system/*.service; do
	[ -e "$u" ] || continue
	x=$(sed -n 's/^ExecStart=\([^ ]*\).*/\1/p' "$u")
	test -x "$D$x"
	ok $? "$(basename "$u") starts $x, which is installed" || diag "$(cat "$u")"
done
options=$(find "$D/etc" -type f 2>/dev/null | sort | head -n 1)
if [ -n "$options" ]; then
	echo "# changed" >>"$options"
	quiet_make install DESTDIR="$D" PREFIX=/opt/iho
	is "$(tail -n 1 "$options")" "# changed" "a second install leaves an options file that was changed"
fi
quiet_make uninstall DESTDIR="$D" PREFIX=/opt/iho
is "$(find "$D" -type f)" "$options" "make uninstall: nothing stays but a changed options file"

# ---- the packages ----
before=$(tree)
DEB_BUILD_OPTIONS="nocheck noautodbgsym" packaging/deb.sh "$TMP/deb" >"$TMP/deb.out" 2>&1
ok $? "dpkg-buildpackage" || diag "$(cat "$TMP/deb.out")"
is "$(tree)" "$before" "and the tree is as it was"
lintian --allow-root --fail-on error "$TMP"/deb/*.changes >"$TMP/lintian" 2>&1
ok $? "lintian finds no error" || diag "$(cat "$TMP/lintian")"
[ ! -s "$TMP/lintian" ] || diag "$(cat "$TMP/lintian")"
for d in "$TMP"/deb/*.deb; do
	dpkg-deb -c "$d" | sed -n 's|^-.* \./usr/sbin/||p'
done | sort >"$TMP/packaged"
is "$(cat "$TMP/packaged")" "$PROGRAMS" "every program is in one package"
is "$(dpkg-deb -c "$TMP"/deb/iho-dashboards_*.deb | sed -n 's|^-.* \./usr/share/iho/||p' | sort)" "$(dashboards)" \
	"iho-dashboards: all of them"

# ---- into an overlay over this root ----
# Not below $TMP: what removes that must not walk into mounts. These end with the namespace.
W=/mnt
mount -t tmpfs tmpfs $W && mkdir $W/{up,work,root,up2,work2,root2,cgroup} &&
	mount -t overlay overlay -o lowerdir=/,upperdir=$W/up,workdir=$W/work $W/root || {
	skip "no overlay over / here" "installed, started, removed"
	done_testing
	exit 0
}
R=$W/root
in_root() { chroot "$R" env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin DEBIAN_FRONTEND=noninteractive LC_ALL=C "$@"; }
mount --bind /proc "$R/proc"
mount --rbind /sys "$R/sys"
mount --rbind /dev "$R/dev"
mount -t tmpfs tmpfs "$R/run"
mount -t tmpfs tmpfs "$R/tmp"
mkdir "$R/tmp/deb"
# those for DKMS have a test of their own, kvm/dkms.t
rm "$TMP"/deb/*-dkms_*.deb
cp "$TMP"/deb/*.deb "$R/tmp/deb/"
PACKAGES=$(for d in "$TMP"/deb/*.deb; do dpkg-deb -f "$d" Package; done)
in_root sh -c 'dpkg -i /tmp/deb/*.deb' >"$TMP/dpkg" 2>&1
ok $? "dpkg -i" || diag "$(tail -n 20 "$TMP/dpkg")"
# shellcheck disable=SC2086
is "$(in_root dpkg --verify $PACKAGES)" "" "dpkg --verify: as packed"
is "$(in_root dpkg --audit)" "$(dpkg --audit)" "dpkg --audit: nothing half-installed"
for p in $PROGRAMS; do
	is "$(in_root "$p" --version)" "$("$B/$p" --version)" "$p runs"
	in_root sh -c "zcat /usr/share/man/man8/$p.8.gz" | cmp -s - */*/"$p.8"
	ok $? "$p.8"
done

# ---- the services ----
UNITS=$(cd "$R/lib/systemd/system" && ls -- iho*.service 2>/dev/null)
has_unit() { grep -qx "$1.service" <<<"$UNITS"; }
setting() { sed -n "s/^$2=//p" "$R/lib/systemd/system/$1.service" | tr '\n' ' ' | sed 's/ $//'; }
for u in $UNITS; do
	in_root systemd-analyze verify --man=yes "/lib/systemd/system/$u" >"$TMP/verify" 2>&1
	ok $? "systemd-analyze verify $u" || diag "$(cat "$TMP/verify")"
	is "$(grep -F "$u" "$TMP/verify")" "" "and it has nothing to say about it"
	in_root systemd-analyze security --offline=yes --threshold=20 "$u" >"$TMP/security" 2>&1
	ok $? "$u: exposure at most 2.0: $(tail -n 1 "$TMP/security")" || diag "$(cat "$TMP/security")"
	test -L "$R/etc/systemd/system/multi-user.target.wants/$u"
	ok $? "$u is enabled"
done

# by_hand UNIT: its command, with the user, groups and capabilities of the unit
by_hand() {
	local more caps groups=(--clear-groups) command
	more=$(setting "$1" SupplementaryGroups)
	[ -z "$more" ] || groups=(--groups "$more")
	caps=$(setting "$1" CapabilityBoundingSet | tr 'A-Z ' 'a-z\n' | sed -n 's/^cap_/+/p' | paste -sd,)
	command=$(setting "$1" ExecStart | sed 's/ .*//')
	exec chroot "$R" env -i PATH=/usr/sbin:/usr/bin NOTIFY_SOCKET=/run/notify \
		setpriv --reuid "$(setting "$1" User)" --regid "$(setting "$1" Group)" "${groups[@]}" \
		--bounding-set "-all${caps:+,$caps}" --inh-caps=-all --no-new-privs "$command"
}

# What a service tells its manager goes into a file, a message a line.
listen() {
	exec python3 - "$1" <<-'END'
		import socket, sys
		s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
		s.bind(sys.argv[1])
		while True:
		    print(s.recv(4096).decode(), flush=True)
	END
}

status_of() { sed -n "s/^$2:[[:space:]]*//p" "/proc/$1/status"; }
# top GROUPS...: one report, as a user who is nobody else
top() {
	chroot "$R" setpriv --reuid nobody --regid nogroup "$@" \
		/usr/sbin/iho-top -b -n 1 -d 0.2 --format json >"$TMP/top" 2>&1
}
sees_tenant() { top --groups iho && jq -se 'any(.[].vms[]; .name == "packaged")' "$TMP/top" >/dev/null; }
scraped() { curl -sf --max-time 10 http://127.0.0.1:9978/metrics >"$TMP/scrape" && grep -qE "$1" "$TMP/scrape"; }

if has_unit ihod; then
	is "$(in_root stat -c '%a %U:%G' /run/iho 2>&1)" "750 root:iho" "/run/iho is 0750 root:iho"
	spawn listen "$R/run/notify" >"$TMP/notified" 2>"$TMP/listen.err"
	poll 20 test -S "$R/run/notify"
	spawn by_hand ihod >"$TMP/ihod.out" 2>&1
	IHOD=$SPAWNED
	poll 60 has_line "$TMP/notified" '^READY=1'
	ok $? "ihod, with its unit's capabilities, says that it is ready" || diag "$(cat "$TMP/ihod.out")"
	poll 30 has_line "$TMP/notified" '^WATCHDOG=1'
	ok $? "and that it is alive"
	is "$(in_root stat -c '%a %U:%G' /run/iho/ihod.sock 2>&1)" "660 root:iho" "its socket is 0660 root:iho"
	# CAP_SYS_PTRACE 19, CAP_PERFMON 38, CAP_BPF 39
	is "$(status_of "$IHOD" CapEff)" 000000c000080000 "it keeps BPF, PERFMON and SYS_PTRACE"
	is "$(status_of "$IHOD" Cpus_allowed_list)" 0 "it stays on the hypervisor core"
	top --clear-groups
	is "$?" 1 "iho-top as nobody is refused"
	top --groups iho
	ok $? "iho-top as nobody in group iho is served" || diag "$(head -c 500 "$TMP/top")"
	if [ -w /dev/kvm ]; then
		demo packaged --script gate
		poll 30 sees_tenant
		ok $? "and sees a tenant" || diag "$(head -c 500 "$TMP/top")"
	else
		skip "no /dev/kvm" "and sees a tenant"
	fi
fi
if has_unit iho-exporter; then
	spawn by_hand iho-exporter >"$TMP/exporter.out" 2>&1
	EXPORTER=$SPAWNED
	poll 60 scraped '^iho_up 1$'
	ok $? "iho-exporter, as its own user, hears ihod" || diag "$(cat "$TMP/exporter.out" "$TMP/scrape")"
	is "$(status_of "$EXPORTER" CapPrm)" 0000000000000000 "it has no capability"
	is "$(stat -c %u "/proc/$EXPORTER")" "$(in_root id -u iho-exporter)" "and runs as iho-exporter"
	if [ -w /dev/kvm ]; then
		poll 30 scraped '^iho_vm_info\{[^}]*vm="packaged"'
		ok $? "it knows the tenant" || diag "$(head -40 "$TMP/scrape")"
	else
		skip "no /dev/kvm" "it knows the tenant"
	fi
	kill "$EXPORTER"
	wait_gone "$EXPORTER" 20
	ok $? "it ends when told to"
fi
if has_unit ihod; then
	kill "$IHOD"
	wait_gone "$IHOD" 20
	ok $? "ihod ends when told to"
	test ! -e "$R/run/iho/ihod.sock"
	ok $? "and takes its socket along"
	is "$(cat "$TMP/ihod.out")" "" "it had nothing to complain about"
fi

# ---- under systemd, in an overlay of its own over the first ----
CGROUP=$W/cgroup/iho-package-$$
cgroup_gone() { find "$CGROUP" -depth -type d -exec rmdir {} + 2>/dev/null; [ ! -d "$CGROUP" ]; }
trap 'tap_cleanup; poll 10 cgroup_gone' EXIT
manager() { MANAGER=$(pgrep -P "$BOOT") && [ "$(cat "/proc/$MANAGER/comm")" = systemd ]; }
inside() { nsenter -t "$MANAGER" -a env -i PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C "$@"; }
settled() { inside systemctl is-system-running >"$TMP/state" 2>&1; grep -qE 'running|degraded' "$TMP/state"; }
boot() {
	mount -t cgroup2 cgroup2 $W/cgroup && mkdir "$CGROUP" &&
		mount -t overlay overlay -o lowerdir=$W/up:/,upperdir=$W/up2,workdir=$W/work2 $W/root2 ||
		return 1
	# shellcheck disable=SC2016
	spawn bash -c 'echo $$ >"$1/cgroup.procs" && exec unshare -m -p -u -i -C --fork --kill-child \
		--propagation private tests/host/package_boot.sh "$2" "$1"' - "$CGROUP" $W/root2 \
		>"$TMP/boot.out" 2>&1
	BOOT=$SPAWNED
	poll 30 manager && poll 30 settled
}
started() { [ "$(inside systemctl is-active "$@" | sort -u)" = active ]; }
# shellcheck disable=SC2086
under_systemd() {
	inside systemctl start $UNITS >"$TMP/start" 2>&1 && started $UNITS
	ok $? "systemd starts ${UNITS//$'\n'/ }" ||
		diag "$(cat "$TMP/start"; inside journalctl -b --no-pager | tail -n 30)"
	if has_unit ihod; then
		is "$(inside stat -c '%a %U:%G' /run/iho /run/iho/ihod.sock | paste -sd' ')" \
			"750 root:iho 660 root:iho" "the socket and its folder"
	fi
	if has_unit iho-exporter; then
		poll 60 scraped '^iho_up 1$'
		ok $? "and a scrape through both, in their sandboxes" || diag "$(head -40 "$TMP/scrape")"
	fi
	is "$(inside systemctl show -P NRestarts $UNITS | grep -v '^$' | sort -u)" 0 "none had to be restarted"
	inside dpkg --purge $PACKAGES >"$TMP/purge" 2>&1
	ok $? "dpkg --purge with the services running" || diag "$(tail "$TMP/purge")"
	is "$(inside systemctl is-active $UNITS | sort -u)" inactive "stops them"
	is "$(inside sh -c 'pgrep -l "^iho"; ls -d /run/iho' 2>/dev/null)" "" "and leaves neither process nor socket"
}
if [ -z "$UNITS" ]; then
	diag "no program of today has a unit"
elif boot; then
	under_systemd
else
	diag "no systemd of our own:" "$(cat "$TMP/state" "$TMP/boot.out" 2>/dev/null | tail -n 5)"
	skip "systemd does not run in namespaces here" "started and removed under systemd"
fi
[ -z "${BOOT-}" ] || { kill -9 "$BOOT"; wait "$BOOT"; } 2>/dev/null

# ---- removed, without systemd ----
# What the upper layer has and this root has not. Users stay, as Debian wants; dpkg, the man pages' index
# and logs have their own books.
leftovers() {
	(cd $W/up && find . ! -type d ! -type c) | while read -r f; do
		[ -e "/$f" ] || echo "$f"
	done | grep -vE '^\./(var/(lib/(dpkg|systemd/deb-systemd-helper-enabled)|cache|log)/|etc/(passwd|group|shadow|gshadow|subuid|subgid)-?$|etc/\.pwd\.lock$)'
}
leftovers >"$TMP/new"
grep -qx ./usr/sbin/iho-top "$TMP/new"
ok $? "what was installed is seen in the upper layer"
# shellcheck disable=SC2086
in_root dpkg --remove $PACKAGES >"$TMP/remove" 2>&1
ok $? "dpkg --remove" || diag "$(tail "$TMP/remove")"
is "$(leftovers)" "$(grep '^\./etc/' "$TMP/new")" \
	"what stays until it is purged is the configuration"
# shellcheck disable=SC2086
in_root dpkg --purge $PACKAGES >"$TMP/purge" 2>&1
ok $? "dpkg --purge" || diag "$(tail "$TMP/purge")"
is "$(leftovers)" "" "nothing stays"
is "$(in_root sh -c 'ls -d /run/iho' 2>/dev/null)" "" "nor in /run"
done_testing
