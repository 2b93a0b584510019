#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The screen, driven in tmux: its numbers are those of the JSON and of the tenant's script, its keys do
# what they should, and the terminal and the settings survive everything.
. "$(dirname "$0")/../tap.sh"
. tests/host/tui.sh
need_root
need_kvm
command -v tmux >/dev/null || skip_all "no tmux"

SIZES="200x60 120x40 80x24"

# ------------------------------------------------------------------------------- no VM at all

if vms_run; then
	skip "another VM runs on this host" "no VM: says so, and how to see one"
else
	start novm 80x24 "$TOP" -d 0.3
	look 'F1Help'
	if has 'No VM runs on this host' || ! vms_run; then
		see "no VM: says so, and how to see one" 'No VM runs on this host' 'iho-top --demo'
	else
		skip "another VM was started meanwhile" "no VM: says so, and how to see one"
	fi
	key 3
	# (a VM may have come meanwhile)
	see "no VM: the other screens stand it" 'nothing to show yet|all [1-9][0-9]* VM|VM .* \(pid'
	key q
	ended "no VM" 0
fi

# ------------------------------------------------------------ the numbers, at each of the sizes

# A tenant that does its work once, and then stays: the totals stand still
demo once --linger --script 'hlt:1,gate,out:0x3f8:1234,mmio-write:0xd0000000:77,cpuid:7:55,hlt:20:500' || exit 1
once=$DEMO_PID
gate_wait once
for size in $SIZES; do
	start "once-$size" "$size" "$TOP" -d 0.3 -p "$once"
done
top_start "$TMP/json" --vm "$once"
for size in $SIZES; do
	at "once-$size"
	see "$size: opens on the overview" '^ iho-top +1 Overview' '^VM ' '^once ' '^F1Help'
done
gate_open "$once"
demo_done once
ok $? "the tenant ran to its end"
knows_cpus() { tail -n 2 "$TMP/json" | head -n 1 | jq -se 'any(.[]; [.vms[0].vcpus[].affinity!=""]|all)' >/dev/null; }
poll "$LIMIT" knows_cpus # they are looked up once in a while
top_stop "$TMP/json"
j() { jq -r ".vms[0]|$1" "$TMP/json.last"; }

# The truth, as the script says it, for two vCPUs; the OUT at the script's end is one more
is "$(j '[.drill.pio[]|select(.port==1016).total]|add')" 2468 "JSON: port writes"
is "$(j '.userspace_exits[]|select(.reason=="KVM_EXIT_IO").total')" 2470 "JSON: KVM_EXIT_IO"
is "$(j '[.vcpus[].halts]|unique|tostring')" '[20]' "JSON: halts"
is "$(j '[.vcpus[].affinity]|unique[]')" "$(awk '/^Cpus_allowed_list/{print $2}' "/proc/$once/status")" "JSON: affinity"

# interrupts: as the JSON has them, "SECTION: WHAT TOTAL"
j '([.drill|to_entries[]|select(.key|IN("inj_virq","inj_exception","ipi","eoi","pv_eoi"))|.key as $k|.value[]
	|{k:$k,v:.vector,at:"",t:.total}]
   +[.interrupts|to_entries[]|.key as $k|.value[]|{k:$k,v:.vector,at:" at APIC ID \(.apicid)",t:.total}])[]
   |"\(.k): vector \(.v)\(.at) \(.t)"' | sort >"$TMP/interrupts.json"
# ... and as the screen has them, where it has room for all
interrupts() {
	local line section=
	snap
	column TOTAL || return 1
	while IFS= read -r line; do
		case $line in
		'Injected interrupts'*) section=inj_virq ;;
		'Injected exceptions'*) section=inj_exception ;;
		'IPIs sent'*) section=ipi ;;
		'EOIs'*) section=eoi ;;
		'Paravirtual EOIs'*) section=pv_eoi ;;
		'Accepted by the software APIC'*) section=apic_accept ;;
		'Accepted by APICv/AVIC'*) section=apicv_accept ;;
		'MSIs'*) section=msi ;;
		'Posted interrupts set up'*) section=pi_irte ;;
		vector*)
			line=${line:0:HEAD_END}
			[[ $line =~ ^vector\ ([0-9]+)\ \(0x([0-9a-f]+)\)(\ at\ APIC\ ID\ [0-9]+)? ]]
			[ $((16#${BASH_REMATCH[2]})) = "${BASH_REMATCH[1]}" ] || return 1
			echo "$section: vector ${BASH_REMATCH[1]}${BASH_REMATCH[3]} ${line##* }"
			;;
		esac
	done <<<"$SCREEN" | sort >"$TMP/interrupts.screen"
	cmp -s "$TMP/interrupts.screen" "$TMP/interrupts.json"
}

# The strip of honesty: cost, losses, source, and what the host lacks
missing=()
[ "$(jq -r '.vms[0].bill_ns.guest' "$TMP/json.last")" = 0 ] && ! emits_exits && missing=('^missing: .*no kvm_entry/kvm_exit')
strip() {
	see "$1: the strip is there" 'self [0-9]+\.[0-9]% CPU' \
		'BPF ([0-9]+ns/event [0-9.]+% core|not measured yet)' 'events [0-9]+' \
		'lost [0-9]+' 'unpaired [0-9]+' 'overflow [0-9]+' 'no slot [0-9]+' 'source bpf' "${missing[@]}" '^F1Help'
}

for size in $SIZES; do
	at "once-$size"
	snap
	is "$(wc -l <<<"$SCREEN")" "${size#*x}" "$size: as many lines as the screen has"
	is "$(cell vCPU '^once ')" 2 "$size: overview: two vCPUs"
	is "$(cell PID '^once ')" "$(column PID && j .pid)" "$size: overview: the pid, where there is room"
	strip "$size overview"

	key 2
	look 'VM once \(pid|all \(1 VM\)'
	total "$size: exits: KVM_EXIT_IO" '^KVM_EXIT_IO ' 2470
	total "$size: exits: KVM_EXIT_MMIO" '^KVM_EXIT_MMIO ' "$(j '.userspace_exits[]|select(.reason=="KVM_EXIT_MMIO").total')"
	strip "$size exits"
	drill_into KVM_EXIT_IO
	see "$size: Enter opens KVM_EXIT_IO" '^ KVM_EXIT_IO of ' '^I/O ports'
	total "$size: port 0x3f8 write" '^port 0x3f8 write ' 2468
	strip "$size drill-down"
	key Escape
	look '^Userspace exits'
	drill_into KVM_EXIT_MMIO
	look '^ KVM_EXIT_MMIO of '
	total "$size: page 0xd0000000 write" '^page 0xd0000000 write ' 154
	key Escape
	look '^Userspace exits'
	if emits_exits; then
		go_to CPUID
		total "$size: exits: CPUID" '^(CPUID|cpuid) ' "$(j '.exits[]|select(.reason|ascii_upcase=="CPUID").total')"
		key Enter
		look '^CPUID leaves'
	else
		go_to 'leaf 0x7'
	fi
	total "$size: leaf 0x7" '^leaf 0x7 ' 110

	key 3
	look '^ *vCPU .*CPU'
	for v in 0 1; do
		row="^ *(once +)?$v "
		snap
		for f in TID:.tid AFFINITY:.affinity HALTS:.halts; do
			column "${f%%:*}" || { [ "$size" = 80x24 ] && continue; }
			want=$(j ".vcpus[]|select(.id==$v)|${f#*:}")
			if [ "${f%%:*}" = AFFINITY ]; then
				[ "$(nproc --all)" != 1 ] || want=pinned
				poll "$LIMIT" word_is AFFINITY "$row" "$want"
				ok $? "$size: vCPU $v: affinity" || shown
			else
				is "$(cell "${f%%:*}" "$row")" "$want" "$size: vCPU $v: ${f%%:*}"
			fi
		done
		is "$(word_cell STATE "$row")" QEMU "$size: vCPU $v: its thread is parked in the VMM"
	done
	strip "$size vCPUs"
	key Home Enter
	see "$size: Enter opens vCPU 0" "vCPU 0 \(thread $(j '.vcpus[]|select(.id==0).tid')\)" '^KIND'
	strip "$size interlopers"

	key 4 a
	poll "$LIMIT" interrupts
	ok $? "$size: interrupts: vectors, EOIs and who accepted them" || {
		diag "$(diff "$TMP/interrupts.json" "$TMP/interrupts.screen")"
		shown
	}
	see "$size: APICv: what the JSON says" "once: $(j .apicv.text | cut -c1-60)"
	[ "$(j .apicv.state)" != off ] || has_not 'since before we looked'
	ok $? "$size: APICv: nothing about changes where there is none to have"
	strip "$size interrupts"
	key 5
	see "$size: migration: says what it looks at" '^Migrations' '^Looked at'
	strip "$size migration"
	key h
	see "$size: help" '^ Help' '1-[0-9]+ of [0-9]+'
	strip "$size help"
	key Escape S
	see "$size: setup" '^ Setup' 'Theme +default'
	strip "$size setup"
	key Escape q
	ended "$size" 0
	quiet "$size"
done

# -------------------------------------------------------------------------- the terminal after

# Each way to end, side by side
for how in q F10 C-c TERM INT HUP SEGV KILL; do
	start "end-$how" 120x40 "$TOP" -d 0.3 -p "$once"
done
start stop 120x40 "$TOP" -d 0.3 -p "$once"
start three 120x40 "$TOP" -d 0.3 -n 3 -p "$once"
start closed 120x40 "$TOP" -d 0.3 -p "$once"
for how in q F10 C-c; do
	at "end-$how"
	look '^F1Help'
	key "$how"
	ended "$how" 0
	quiet "$how"
done
at end-INT
look '^F1Help'
is "$(flag alternate_on) $(flag cursor_flag)" "1 0" "while it runs: alternate screen, no cursor"
kill -INT "$(pid_of end-INT)"
ended "SIGINT" 0
for how in TERM:143 HUP:129 SEGV:139; do
	at "end-${how%:*}"
	look '^F1Help'
	kill -"${how%:*}" "$(pid_of "$T")"
	ended "SIG${how%:*}" "${how#*:}"
done
at end-KILL
look '^F1Help'
kill -KILL "$(pid_of "$T")"
poll "$LIMIT" test -s "$D/status"
! cmp -s "$D/before" "$D/after" && [ "$(flag alternate_on)" = 1 ]
ok $? "after SIGKILL nothing is restored: the checks above can fail"
at closed
look '^F1Help'
tm kill-session -t closed
wait_gone "$(cat "$D/pid")" 20
ok $? "the terminal is closed: iho-top ends"

at three
ended "-n 3" 0
quiet "-n 3"

at stop
look '^F1Help'
key C-z
poll "$LIMIT" test -s "$D/stopped"
is "$(cat "$D/stopped") $(flag alternate_on)" "$(cat "$D/before") 0" "Ctrl-Z: the terminal is as it was meanwhile"
: >"$D/go"
see "... and the screen is there again" '^ iho-top +1 Overview' '^F1Help'
is "$(flag alternate_on)" 1 "... on the alternate screen"
key q
ended "Ctrl-Z and on" 0

# ------------------------------------------------------------------------------------ keys

endless=mark,out:0x3f8:20,out:0x80:10,mmio-write:0xd0000000:5,hlt:2:500,loop:1000000
demo live --vcpus 3 --script "$endless" || exit 1
live=$DEMO_PID
start keys 120x40 "$TOP" -d 0.3 -p "$live"
see "-d 0.3 is the delay" ' 0\.3s '
see "the tenant's work is on the overview" '^1 VM  3 vCPUs|^ 1 VM  3 vCPUs' '^live .*KVM_EXIT_(IO|MMIO)|^live .*(IO|EPT|npf|io|HLT|hlt)'

# the screens
for k in '2:^REASON' '3:^ *vCPU +TID' '4:^WHAT' '5:^Looked at' '1:^VM +' 'e:^REASON' 'o:^VM +' 'v:^ *vCPU +TID' \
	'F1:^ Help' 'Escape:^ *vCPU +TID' 'h:^ Help' 'Escape:^ *vCPU +TID' '?:^ Help' 'Escape:^ *vCPU +TID' 'F2:^ Setup' \
	'Escape:^ *vCPU +TID' 'Tab:^WHAT' 'Tab:^Looked at' 'Tab:^ +PID +TID +TASK' \
	'Tab:^VM +' 'Tab:^REASON' 'BTab:^VM +' 'BTab:^ +PID +TID +TASK'; do
	key "${k%%:*}"
	see "${k%%:*}: ${k#*:}" "${k#*:}" '^F1Help'
done

# Help scrolls to its end
key h
look '^ Help'
key NPage
see "PgDn scrolls" ' (2[0-9]|3[0-9])-[0-9]+ of '
key End
unsee "End is the end" ' 1-[0-9]+ of '
see "... with the columns explained" 'Columns: Interlopers'
key Home
see "Home is the beginning" ' 1-[0-9]+ of '
go_to 'lost in all'
see "search scrolls the text; every loss has its line" '^  lost in all, the sum of these: +[0-9]+$' \
	'^  threads found running without a reported switch +[0-9]+$' \
	'^  tasks that lost their place as interlopers +[0-9]+$'
key Escape 1
look '^live'

# The tree, and from a vCPU to its exits, to its ports, and back
key t
see "t: the VM's vCPUs" '^[├└]─ vCPU 0 ' '^[├└]─ vCPU 1 ' '^[├└]─ vCPU 2 ' '^└'
key t
unsee "t again: the VM only" 'vCPU 1 '
key Enter
see "Enter: the VM's exits" "VM live \(pid $live\), all 3 vCPUs" '^REASON'
key Right
see "Right: its first vCPU" 'vCPU 0 \(thread [0-9]+\)'
key Right
see "Right: the next one" 'vCPU 1 \(thread [0-9]+\)'
key Left Left
see "Left, Left: the VM" 'all 3 vCPUs'
key a
see "a: all VMs" 'all \(1 VM\)'
key Escape
look '^live'
key Enter
look 'all 3 vCPUs'
drill_into KVM_EXIT_IO
see "Enter: the reason's ports" 'KVM_EXIT_IO of VM live' '^port 0x3f8 write' '^port 0x80 write'

# sort
see "sorted by rate at first" 'RATE/s▼'
above '^port 0x3f8' '^port 0x80'
ok $? "the busier port is above"
key '>'
see ">: the column to the right" 'TOTAL▼'
key I
see "I: inverted" 'TOTAL▲'
poll "$LIMIT" above '^port 0x80' '^port 0x3f8'
ok $? "the busier port is below" || shown
key I
look 'TOTAL▼'
key '<'
see "<: back" 'RATE/s▼'
key T
see "T: by total" 'TOTAL▼'
key F6
see "F6: the menu of columns" 'Sort by +Enter chooses' 'SHARE%'
key Down Enter
see "... chooses one" 'SHARE%▼'
key F6
look 'Sort by +Enter chooses'
key Escape
unsee "... or not" 'Sort by +Enter'
key M
look 'RATE/s▼'

# tag: it comes first
above '^port 0x3f8' '^port 0x80' && go_to 0x80
key Space
poll "$LIMIT" above '^port 0x80' '^port 0x3f8'
ok $? "search and Space: the tagged row is on top" || shown
key U
poll "$LIMIT" above '^port 0x3f8' '^port 0x80'
ok $? "U: and no more" || shown

# filter
key '\'
look 'Filter: _'
text 0x80
see "filter: narrows while it is typed" 'Filter: 0x80_' 'filter: 0x80' '^port 0x80'
unsee "filter: the other row is gone" '^port 0x3f8'
key Enter
see "filter: Enter keeps it" '^F1Help' 'filter: 0x80'
key F4
look 'Filter: 0x80_'
key Escape
see "filter: Esc drops it" '^F1Help' '^port 0x3f8' '^port 0x80'
key '\'
look 'Filter: _'
text nothing-is-called-so
see "filter: nothing passes" '^F1Help|Filter: nothing'
unsee "filter: the rows are gone" '^port '
key Escape
look '^F1Help' '^port 0x3f8'
key Escape
see "Esc: back to the exits" '^Userspace exits'
key Escape
see "Esc: back to the overview" '^live'

# pause: the tenant goes on, the screen does not
key Z
see "Z: paused" 'PAUSED'
snap
paused=$SCREEN
"$TOP" --format json -n 3 -d 0.3 -p "$live" >"$TMP/meanwhile"
is "$(tail -n 1 "$TMP/meanwhile" | jq '.vms[0].userspace_exits_delta > 100')" true "pause: the tenant goes on"
snap
is "$SCREEN" "$paused" "pause: the screen stands still"
# unknown keys, too, change nothing
key x X y '%' '!' '~' F7 F9 IC C-a C-e
text 'é€'
sync_keys
snap
is "$SCREEN" "$paused" "unknown keys do nothing"
key Z
unsee "Z: goes on" PAUSED
moved() { snap && [ "$SCREEN" != "$paused" ]; }
poll "$LIMIT" moved
ok $? "... with new numbers"
key +
see "+: a longer delay" ' 0\.5s ' 'delay 0\.5 s'
key -
see "-: a shorter one" ' 0\.2s ' 'delay 0\.2 s'

# mouse; paused, so that no row moves away under it
key t Z
look '^[├└]─ vCPU 1' PAUSED
click_on '^[├└]─ vCPU 1' vCPU
key Enter
see "click on a row: selects it" 'vCPU 1 \(thread' '^REASON'
click_on '^ iho-top' '3 vCPUs'
see "click on a tab: goes there" '^ *vCPU +TID'
click_on '^ *vCPU +TID' TID
see "click on a column: sorts by it" ' TID▲'
click_on '^ *vCPU +TID' TID
see "... and again: the other way round" ' TID▼'
click_on '^F1Help' F1
see "click on a key of the bottom line" '^ Help'
key Home
look ' 1-[0-9]+ of '
click 10 10 65
unsee "the wheel scrolls" ' 1-[0-9]+ of '
click 10 10 64
see "... and back" ' 1-[0-9]+ of '
key Escape F2
look '^ Setup'
go_to Mouse
key Right
see "setup: no mouse" 'Mouse +no'
is "$(flag mouse_any_flag)" 0 "... and the terminal has its own again"
key q
ended "keys" 0
quiet "keys"

# ----------------------------------------------------------------------------------- resize

start resize 200x60 "$TOP" -d 0.3 -p "$live"
look '^live'
key t
look '─ vCPU 1'
key Z
look PAUSED
snap
at200=$SCREEN
for size in 120x40 80x24 60x12 50x10 20x5 59x30 100x11 80x24 200x60; do
	resize "$size"
	w=${size%x*} h=${size#*x}
	if [ "$w" -lt 60 ] || [ "$h" -lt 12 ]; then
		see "$size: too small" "Too small: $size"
		is "$(grep -c . <<<"$SCREEN")" 1 "$size: and nothing else on the screen"
		continue
	fi
	poll "$LIMIT" fits "$size"
	ok $? "$size: from the first line to the last" || shown
	see "$size: the whole screen" '1 ?Overview' '^live' "source bpf" '^F1Help'
	drawn=$SCREEN
	key r
	sync_keys
	is "$SCREEN" "$drawn" "$size: no rubbish was left"
done
is "$SCREEN" "$at200" "200x60 again: as it was"
key q
ended "resize" 0
quiet "resize"

start small 50x10 "$TOP" -d 0.3 -p "$live"
see "50x10: says that it is too small" 'Too small: 50x10, needs 60x12'
key q
ended "50x10" 0

# ------------------------------------------------------------------------------ other terminals

# through NAME: all screens, each captured with its attributes into $D/all
through() {
	local k
	: >"$D/all"
	for k in '1:^VM ' '2:^REASON' '3:^ *vCPU' '4:^WHAT' '5:^Looked at' 'h:^ Help' 'End:Columns: Tenant' 'S:^ Setup'; do
		[ "$T$k" != "vt100End:Columns: Tenant" ] || continue # it has no such key
		key "${k%%:*}"
		look "${k#*:}" || return 1
		tm capture-pane -p -e -t "$T" >>"$D/all"
	done
	key 3
	look '^ *vCPU'
	key Enter
	look '^KIND'
	tm capture-pane -p -e -t "$T" >>"$D/all"
	key 2
	look '^REASON'
	drill_into KVM_EXIT_IO
	look '^I/O ports'
	tm capture-pane -p -e -t "$T" >>"$D/all"
	key 1 t
	look 'vCPU 1 '
	tm capture-pane -p -e -t "$T" >>"$D/all"
}
plain() { sed 's/\x1b[^mB]*[mB]//g' "$D/all" | tr -d '\016\017'; } # without SGR and charset switches
not_ascii() { plain | LC_ALL=C grep -n '[^ -~]' | head -5; }
coloured() { grep -nE $'\e\\[([0-9]+;)*(3[0-8]|4[0-8]|9[0-7]|10[0-7])(;[0-9]+)*m' "$D/all" | head -3; }

start utf8 80x24 "$TOP" -d 0.3 -p "$live"
start ascii 80x24 "$TOP" -d 0.3 --ascii -p "$live"
start clocale 80x24 env LC_ALL=C "$TOP" -d 0.3 -p "$live"
start nocolor 80x24 env NO_COLOR=1 "$TOP" -d 0.3 -p "$live"
start vt100 80x24 env TERM=vt100 "$TOP" -d 0.3 -p "$live"
start xterm 80x24 env TERM=xterm-256color "$TOP" -d 0.3 -p "$live"
start dumb 80x24 env TERM=dumb "$TOP" -p "$live"
start noterm 80x24 env TERM=no-such-terminal "$TOP" -p "$live"
start nostdin 80x24 sh -c "exec $TOP -p $live </dev/null"

for t in utf8 ascii clocale nocolor vt100; do
	at $t
	through
	ok $? "$t: all screens"
done
at utf8
[ -n "$(not_ascii)" ] && [ -n "$(coloured)" ]
ok $? "UTF-8 and colours are seen where they are (the checks below can fail)"
for t in ascii clocale; do
	at $t
	is "$(not_ascii)" "" "$t: nothing but 0x20 to 0x7e on any screen"
done
for t in nocolor vt100; do
	at $t
	is "$(coloured)" "" "$t: no colour on any screen"
done
for t in utf8 ascii clocale nocolor vt100; do
	at $t
	key q
	ended "$t" 0
	quiet "$t"
done
at xterm # its mouse speaks another language
look '^live'
click_on '^ iho-top' '3 vCPUs'
see "xterm-256color: a click arrives" '^ *vCPU'
key q
ended xterm 0

# refuses NAME REGEX: the run NAME ended with one sentence and status 1
refuses() {
	at "$1"
	ended "$1" 1
	like "$(cat "$D/err")" "$2" "$1: says why"
	is "$(wc -l <"$D/err")" 1 "$1: in one line"
}
refuses dumb 'cannot move its cursor; -b works on it'
refuses noterm 'TERM names no terminal'
refuses nostdin 'the screen needs a terminal; -b works without one'
if id nobody >/dev/null 2>&1; then
	cp "$TOP" "$TMP/iho-top"
	chmod 755 "$TMP"
	start nobody 80x24 setpriv --reuid nobody --regid nogroup --clear-groups "$TMP/iho-top"
	refuses nobody 'run as root'
else
	skip "no user nobody" "no rights"
fi

# --------------------------------------------------------------------------------- settings

# with_config NAME: the runs that follow have these settings
with_config() {
	CONFIG=$TMP/config-$1
	FILE=$CONFIG/iho/iho-top.json
}
tui() { start "$1" 120x40 env XDG_CONFIG_HOME="$CONFIG" "$TOP" -p "$live"; }

with_config kept
mkdir -p "$CONFIG/iho"
echo '{"theme": "light", "of_a_later_version": [1, 2]}' >"$FILE"
tui set
look '^live'
key F2
see "setup: the theme of the file" 'Theme +light'
key Right
see "setup: Right: the next theme" 'Theme +mono'
poll 20 has_line "$FILE" '"theme": "mono"'
ok $? "... is saved at once"
key Down Down
sync_keys
key Right
see "setup: the delay" 'Delay +1\.1 s' ' 1\.1s '
key Down Right
see "setup: the tree" 'Tree .* yes'
key Escape
look 'vCPU 1 '
key P
look 'CPU%▼'
key q
ended "setup" 0
quiet "setup"
is "$(jq -c '[.theme,.delay,.tree,.sort.overview.column,.of_a_later_version]' "$FILE")" \
	'["mono",1.1,true,"cpu",[1,2]]' "all is in the file, and what was there stays"
tui again
see "started again: tree, delay, order" 'vCPU 1 ' ' 1\.1s ' 'CPU%▼'
key F2
see "started again: theme" 'Theme +mono'
key q
ended "started again" 0

with_config broken
mkdir -p "$CONFIG/iho"
echo '{"theme": ' >"$FILE"
cp "$FILE" "$TMP/broken"
tui broken
see "broken settings: said on the screen" 'settings: .*iho-top\.json: line [0-9]+' '^live'
key t
unsee "broken settings: until the next key" 'settings: '
look 'vCPU 1 '
key q
ended "broken settings" 0
like "$(cat "$D/err")" 'settings: .*not saved over a file that cannot be read' "broken settings: said that a change is not saved"
is "$(wc -l <"$D/err")" 1 "broken settings: in one line"
cmp -s "$FILE" "$TMP/broken"
ok $? "broken settings: the file is not touched"

with_config fileindir
mkdir -p "$CONFIG"
echo "no folder" >"$CONFIG/iho"
tui nodir
look '^live'
key F2
look 'Theme'
key Right
see "a file in the folder's place: said on the screen" 'settings: .*not saved: Not a directory' 'Theme +light'
key Escape q
ended "a file in the folder's place" 0
quiet "a file in the folder's place"

with_config readonly
mkdir -p "$CONFIG/iho"
start readonly 120x40 unshare -m --propagation private sh -c "mount --bind $CONFIG $CONFIG &&
	mount -o remount,bind,ro $CONFIG && XDG_CONFIG_HOME=$CONFIG exec $TOP -p $live"
look '^live'
key t
look 'vCPU 1 '
key q
ended "a read-only folder" 0
like "$(cat "$D/err")" '^iho-top: settings: .*not saved: Read-only file system$' "a read-only folder: said after the screen"
is "$(wc -l <"$D/err")" 1 "a read-only folder: in one line"

# ------------------------------------------------------------------ a VM that ends under our eyes

start gone 120x40 "$TOP" -d 0.3 -p "$live"
start gone3 120x40 "$TOP" -d 0.3 -p "$live"
look '^live'
key 3
look '^ *vCPU'
key Enter
look 'vCPU 0 \(thread' '^KIND'
at gone
look '^live'
key Enter
look 'all 3 vCPUs'
drill_into KVM_EXIT_IO
look 'KVM_EXIT_IO of VM live' '^port 0x3f8'
kill -9 "$live"
wait "$live" 2>/dev/null
see "killed while drilled into: said so" 'KVM_EXIT_IO of VM live .*, ended' '^port 0x3f8 write' '^F1Help'
key Escape
see "... and on the exits" 'all 3 vCPUs, ended' '^KVM_EXIT_IO'
key 1
see "... and on the overview" '^live \(ended\)' '^F1Help'
key 4
see "... and the interrupts stand it" '^APICv' ', ended'
at gone3
see "killed while a vCPU is open: said so" 'vCPU 0 \(thread [0-9]+\), ended' '^KIND' '^F1Help'
key Escape
see "... and in the list" '^ *(live +)?1 .* ended '
for t in gone gone3; do
	at $t
	key q
	ended "the VM has ended" 0
	quiet "the VM has ended"
done
kill "$once"
wait_gone "$once" 20

# -------------------------------------------------------------------------------- make run

san=
[ "$B" = build/san ] && san=SAN=1
if vms_run; then
	skip "another VM runs on this host" "make run"
elif ! make -q B="$B" $san "$TOP" "$DEMO" 2>/dev/null; then
	skip "the build is not up to date" "make run"
else
	was=$(stat -c '%Y %i' "$TOP" "$DEMO")
	start make 80x24 make run B="$B" $san
	see "make run: opens with the demo tenant, and says so" '^demo .* 2 ' '^F1Help' \
		'no VM runs here; started the demo tenant: pid [0-9]+, 2 vCPUs'
	pid=$(sed -n 's/.*demo tenant: pid \([0-9]*\).*/\1/p' <<<"$SCREEN")
	alive() { snap && [ "$(cell USER/s '^demo ')" != 0.0 ] && [ "$(cell USER/s '^demo ')" != - ]; }
	poll "$LIMIT" alive
	ok $? "make run: with live numbers"
	key q
	ended "make run" 0
	gone "$pid"
	ok $? "make run: the tenant ends with iho-top"
	is "$(stat -c '%Y %i' "$TOP" "$DEMO")" "$was" "make run: builds nothing anew"
	quiet "make run"
fi
done_testing
