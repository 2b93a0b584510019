# SPDX-License-Identifier: GPL-2.0-or-later
# shellcheck shell=bash
# iho-top on a screen that can be read: programs run in tmux, on a server of this test's own. Sourced
# by tui.t after tap.sh.
#
# A run has a name, under which tmux knows it, and a folder $TMP/run/NAME: `pid`, `err` (what it said
# on stderr), and, once it has ended, `status`; `before` and `after` are the terminal's modes. Its
# settings are its own, in `config`.

LIMIT=${IHO_TEST_LIMIT:-40} # seconds to wait for anything
unset TMUX
export TMUX_TMPDIR=$TMP
printf '%s\n' 'set -g status off' 'set -g default-terminal tmux-256color' \
	'set -g escape-time 0' >"$TMP/tmux.conf"
tm() { tmux -u -L "iho-test-$$" -f "$TMP/tmux.conf" "$@"; }
tui_cleanup() {
	tm kill-server 2>/dev/null
	# What ended long ago may have left its pid to another process by now
	mapfile -t TAP_PIDS < <(jobs -p)
	tap_cleanup
}
trap tui_cleanup EXIT

# What runs in the terminal: not bash, which would restore the terminal itself.
cat >"$TMP/run.sh" <<'SH'
#!/bin/sh
set -m
ulimit -c 0
dir=$1
shift
export XDG_CONFIG_HOME="$dir/config"
stty -a >"$dir/before"
echo "a line from before"
sh -c 'echo $$ >"$0/pid"; exec "$@"' "$dir" "$@" 2>"$dir/err"
status=$?
while [ $status = 148 ]; do # 128 + SIGTSTP
	stty -a >"$dir/stopped.tmp"
	mv "$dir/stopped.tmp" "$dir/stopped"
	until [ -e "$dir/go" ]; do sleep 0.05; done
	fg >/dev/null
	status=$?
done
stty -a >"$dir/after"
echo $status >"$dir/status.tmp"
mv "$dir/status.tmp" "$dir/status"
exec sleep 100000
SH
chmod +x "$TMP/run.sh"

# start NAME WxH COMMAND...: what follows is about this run
start() {
	T=$1
	D=$TMP/run/$1
	mkdir -p "$D"
	tm new-session -d -s "$1" -x "${2%x*}" -y "${2#*x}" -- "$TMP/run.sh" "$D" "${@:3}" || {
		echo "Bail out! tmux does not run"
		exit 1
	}
}

# at NAME: what follows is about the run NAME again
at() {
	T=$1
	D=$TMP/run/$1
}

pid_of() {
	poll 30 test -s "$TMP/run/$1/pid"
	cat "$TMP/run/$1/pid"
}

key() { tm send-keys -t "$T" "$@"; }
text() { tm send-keys -t "$T" -l -- "$1"; }
resize() { tm resize-window -t "$T" -x "${1%x*}" -y "${1#*x}"; }
flag() { tm display-message -p -t "$T" "#{$1}"; }

snap() { SCREEN=$(tm capture-pane -p -t "$T"); }
# has REGEX...: each of them is on the screen
has() {
	local re
	snap
	for re in "$@"; do
		grep -qE -- "$re" <<<"$SCREEN" || return 1
	done
}
has_not() {
	snap
	! grep -qE -- "$1" <<<"$SCREEN"
}

shown() {
	diag "on the screen ($T):"
	diag "$SCREEN"
}

# see NAME REGEX...: all of them are on the screen at the same time, by and by
see() {
	poll "$LIMIT" has "${@:2}"
	ok $? "$1" || {
		diag "want: ${*:2}"
		shown
	}
}

# unsee NAME REGEX: it is not on the screen any more
unsee() {
	poll "$LIMIT" has_not "$2"
	ok $? "$1" || {
		diag "do not want: $2"
		shown
	}
}

# look REGEX...: waits for them; not a test of its own
look() {
	poll "$LIMIT" has "$@" || {
		diag "waited for: $*"
		shown
		return 1
	}
}

# go_to TEXT: puts the cursor on the row with TEXT, with the program's own search
go_to() {
	key /
	look 'Search: _' || return 1
	text "$1"
	look "Search: $1_"
	key Enter
	look '^F1Help'
}

# drill_into REASON: opens it from the exits
drill_into() {
	look "^$1 " && go_to "$1"
	key Enter
}

# sync_keys: all keys sent before were taken
sync_keys() {
	key /
	look 'Search: _'
	key Enter
	look '^F1Help'
}

# fits WxH: the screen is drawn for this size
fits() {
	snap
	[ "$(wc -l <<<"$SCREEN")" = "${1#*x}" ] && [[ $SCREEN == *$'\n'F1Help* ]] &&
		grep -nE '^F1Help' <<<"$SCREEN" | grep -q "^${1#*x}:"
}

# column TITLE: sets HEAD_START and HEAD_END to where the table's column of this title is
column() {
	local line re="(^|[^[:alnum:]/%+])($1[▲▼^v]?)( |$)"
	while IFS= read -r line; do
		if [[ $line =~ $re ]]; then
			HEAD_START=${line%%"${BASH_REMATCH[2]}${BASH_REMATCH[3]}"*}
			HEAD_START=${#HEAD_START}
			HEAD_END=$((HEAD_START + ${#BASH_REMATCH[2]}))
			return 0
		fi
	done <<<"$SCREEN"
	return 1
}

# cell TITLE ROW: the number (or word) in the column of this title of the first row that matches; of
# text, which is set to the left, use word_cell
cell() {
	local line
	column "$1" || return 1
	line=$(grep -E -m 1 -- "$2" <<<"$SCREEN") || return 1
	line=${line:0:HEAD_END}
	echo "${line##* }"
}
word_cell() {
	local line
	column "$1" || return 1
	line=$(grep -E -m 1 -- "$2" <<<"$SCREEN") || return 1
	line=${line:HEAD_START}
	echo "${line%% *}"
}
word_is() { snap && [ "$(word_cell "$1" "$2")" = "$3" ]; }
cell_is() { snap && [ "$(cell "$1" "$2")" = "$3" ]; }

# total NAME ROW WANT: the row's TOTAL is WANT, by and by
total() {
	poll "$LIMIT" cell_is TOTAL "$2" "$3"
	ok $? "$1" || {
		diag "want: $3, got: $(cell TOTAL "$2")"
		shown
	}
}

# above A B: the first line with A is above the first line with B
above() {
	local a b
	snap
	a=$(grep -nE -m 1 -- "$1" <<<"$SCREEN") && b=$(grep -nE -m 1 -- "$2" <<<"$SCREEN") &&
		[ "${a%%:*}" -lt "${b%%:*}" ]
}

bytes() {
	local n
	for n; do printf '%b' "\\x$(printf %x "$n")"; done
}
# click X Y [BUTTON]: pressed and released, columns and rows from 1, in the way that the program asked
# the terminal for; buttons 64 and 65 are the wheel
click() {
	local b=${3:-0} esc=$'\e'
	if [ "$(flag mouse_sgr_flag)" = 1 ]; then
		text "${esc}[<$b;$1;${2}M"
		[ "$b" -gt 2 ] || text "${esc}[<$b;$1;${2}m"
	else
		text "${esc}[M$(bytes $((32 + b)) $((32 + $1)) $((32 + $2)))"
		[ "$b" -gt 2 ] || text "${esc}[M$(bytes 35 $((32 + $1)) $((32 + $2)))"
	fi
}

# click_on REGEX-OF-LINE TEXT: on the first character of TEXT in that line
click_on() {
	local line y
	snap
	line=$(grep -nE -m 1 -- "$1" <<<"$SCREEN") || return 1
	y=${line%%:*}
	line=${line#*:}
	line=${line%%"$2"*}
	click $((${#line} + 1)) "$y"
}

# ended NAME STATUS: the run ends, so, and leaves the terminal as it was (vt100 has but one screen)
ended() {
	poll "$LIMIT" test -s "$D/status"
	ok $? "$1: it ends" || {
		snap
		shown
	}
	is "$(cat "$D/status" 2>/dev/null)" "$2" "$1: exit status $2" || diag "$(cat "$D/err")"
	is "$(cat "$D/after" 2>/dev/null)" "$(cat "$D/before")" "$1: the terminal's modes are as before"
	is "$(flag alternate_on) $(flag cursor_flag) $(flag mouse_any_flag)$(flag keypad_flag)" "0 1 00" \
		"$1: main screen, cursor to be seen, no mouse, no keypad mode"
	[ "$T" = vt100 ] && return
	snap
	[[ $SCREEN == "a line from before"* && $SCREEN != *F1Help* ]]
	ok $? "$1: what was on the screen is there again" || shown
}
quiet() { is "$(cat "$D/err")" "" "$1: nothing on stderr"; }

# Does any VM run here?
vms_run() { find /proc/[0-9]*/fd -lname 'anon_inode:kvm-vm' 2>/dev/null | grep -q .; }
