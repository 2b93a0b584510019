#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# The exporter as its users see it: every address, format and option, TLS and passwords, and numbers
# that equal what a tenant is known to have done.
. "$(dirname "$0")/../tap.sh"
need_root
need_kvm

EXP=$B/iho-exporter
CURL=(curl -sS --max-time 60)
OPENMETRICS='application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,text/plain;version=0.0.4;q=0.5,*/*;q=0.1'

# exp_start NAME OPTION...: on a free port; $EXP_PID, $URL
exp_start() {
	local name=$1
	shift
	spawn "$EXP" --listen 127.0.0.1:0 "$@" 2>"$TMP/$name.log"
	EXP_PID=$SPAWNED
	poll 30 has_line "$TMP/$name.log" 'listening on' || {
		diag "the exporter did not start:" "$(cat "$TMP/$name.log")"
		return 1
	}
	URL=$(sed -n 's,.*listening on \(http.*\)/$,\1,p' "$TMP/$name.log" | head -n 1)
}
exp_stop() {
	kill "$EXP_PID"
	wait "$EXP_PID"
}
get() { "${CURL[@]}" "$@"; }
code() { get -o /dev/null -w '%{http_code}' "$@"; }
header() { tr -d '\r' <"$1" | sed -n "s/^$2: //ip"; }
ready() { [ "$(code "$URL/-/ready" 2>/dev/null)" = 200 ]; }
# The value of one series in a Prometheus text: series FILE 'name{labels}'
series() { awk -v s="$2" 'index($0, s " ") == 1 { print $NF }' "$1"; }

# ------------------------------------------------------------------- a tenant whose exits are known
N=1000
script="gate,out:0x3f8:$N,mmio-write:0xd0000000:$N,wrmsr:0x8b:$N,cpuid:7:$N"
demo known --linger --script "$script" || exit 1
KNOWN=$DEMO_PID
demo other --script loop --script "out:0x80:100,hlt:10,loop" --linger || exit 1
OTHER=$DEMO_PID
gate_wait known
exp_start main --min-interval 0 || exit 1
poll 60 ready
ok $? "/-/ready: the collector answers" || diag "$(get "$URL/-/ready")"
sees() { get "$URL/metrics" >"$TMP/seen" && has_line "$TMP/seen" "^iho_vm_vcpus\\{vm=\"$1\"\\} 2\$"; }
poll 30 sees known
ok $? "the tenant is seen"
cp "$TMP/seen" "$TMP/before"
gate_open "$KNOWN"
demo_done known
is $? 0 "the tenant ran to its end"

# What is asked for now was taken after the tenant's last exit: --min-interval 0
get -D "$TMP/h" "$URL/metrics" >"$TMP/prom"
is "$(header "$TMP/h" content-type)" "text/plain; version=0.0.4; charset=utf-8" "/metrics: the Prometheus text"
is "$(header "$TMP/h" cache-control)" no-store "/metrics: not to be stored"
is "$(header "$TMP/h" x-content-type-options)" nosniff "/metrics: not to be guessed at"
like "$(header "$TMP/h" content-security-policy)" "default-src 'none'" "/metrics: nothing in it may run"
is "$(series "$TMP/prom" iho_up)" 1 "iho_up"
for v in 0 1; do
	mmio="iho_vcpu_user_exits_total{vm=\"known\",vcpu=\"$v\",reason=\"KVM_EXIT_MMIO\"}"
	is "$(series "$TMP/prom" "$mmio")" $N "vCPU $v: $N MMIO exits to the VMM"
	# one more: the port that ends the script; the gate's is seen only by an ihod that was there before
	io=${mmio/MMIO/IO}
	was=$(series "$TMP/before" "$io")
	is "$(series "$TMP/prom" "$io")" $((${was:-0} + N + 1)) "vCPU $v: $N port writes, and that of the end"
done
for e in kvm_cpuid kvm_msr; do
	is "$(series "$TMP/prom" "iho_vm_events_total{vm=\"known\",event=\"$e\"}")" $((2 * N)) "$((2 * N)) events $e"
done
is "$(sed -n 's/^iho_collector_lost_events_total{cause="\(.*\)"} [^0].*/\1/p' "$TMP/prom")" "" "nothing lost"

get -D "$TMP/h" -H "Accept: $OPENMETRICS" "$URL/metrics" >"$TMP/open"
is "$(header "$TMP/h" content-type)" "application/openmetrics-text; version=1.0.0; charset=utf-8" "OpenMetrics for who asks as Prometheus does"
is "$(tail -n 1 "$TMP/open")" "# EOF" "OpenMetrics: its end"
same_series() { grep -E '^iho_v(m|cpu)_(events|user_exits)_total\{vm="known"' "$1" | sort; }
is "$(same_series "$TMP/open")" "$(same_series "$TMP/prom")" "OpenMetrics: the same numbers"
for a in 'text/plain' '*/*' 'application/openmetrics-text;q=0.1,text/plain' 'application/openmetrics-text;version=9.9.9' \
	'application/openmetrics-text;q=0'; do
	get -D "$TMP/h" -o /dev/null -H "Accept: $a" "$URL/metrics"
	like "$(header "$TMP/h" content-type)" '^text/plain; version=0\.0\.4' "Accept: $a"
done
get -D "$TMP/h" "$URL/metrics.json" >"$TMP/json"
is "$(header "$TMP/h" content-type)" "application/json; charset=utf-8" "/metrics.json: its type"
is "$(jq '[.families[]|select(.name=="iho_vcpu_user_exits_total").samples[]|select(.labels.vm=="known" and .labels.reason=="KVM_EXIT_MMIO").value]|add' \
	"$TMP/json")" $((2 * N)) "/metrics.json: the same numbers"

# ---------------------------------------------------------------------------------- gzip, HEAD, errors
exp_stop
is $? 0 "SIGTERM: exit status 0"
# one body for 60 s, so that two requests get the same one, plain and compressed
exp_start still --min-interval 60 || exit 1
poll 60 ready
for p in /metrics /metrics.json; do
	get "$URL$p" >"$TMP/plain"
	get -D "$TMP/h" -H 'Accept-Encoding: gzip' "$URL$p" >"$TMP/gz"
	is "$(header "$TMP/h" content-encoding)" gzip "$p: gzip for who takes it"
	# what the exporter tells about itself goes on between two renderings
	own() { sed -E '/iho_(exporter|collector)_/d; s/\{"name":"iho_exporter[^}]*\}//g'; }
	if [ $p = /metrics ]; then
		is "$(gzip -dc <"$TMP/gz" | own | md5sum)" "$(own <"$TMP/plain" | md5sum)" "$p: gzip holds the same"
	else
		tenants() { jq -cS '[.families[]|select(.name|startswith("iho_v"))]'; }
		is "$(gzip -dc <"$TMP/gz" | tenants | md5sum)" "$(tenants <"$TMP/plain" | md5sum)" "$p: gzip holds the same"
	fi
	get "$URL$p" | cmp -s - "$TMP/plain"
	ok $? "$p: within --min-interval, the same body again"
	get -I "$URL$p" | tr -d '\r' >"$TMP/h"
	is "$(header "$TMP/h" content-length)" "$(wc -c <"$TMP/plain")" "$p: HEAD tells the length"
	get -D "$TMP/h" -o /dev/null -H 'Accept-Encoding: gzip;q=0' "$URL$p"
	is "$(header "$TMP/h" content-encoding)" "" "$p: no gzip for who does not take it"
done
get -D "$TMP/h" "$URL/" >"$TMP/page"
is "$(header "$TMP/h" content-type)" "text/html; charset=utf-8" "/: a page"
cmp -s "$TMP/page" "$B/page.html"
ok $? "/: the page that was built"
get --compressed "$URL/" | cmp -s - "$B/page.html"
ok $? "/: the same compressed"
# The policy allows the page's own style sheets and scripts, and says so by their hashes
python3 - "$TMP/page" >"$TMP/hashes" <<'EOF'
import base64, hashlib, re, sys
page = open(sys.argv[1], 'rb').read()
for text in re.findall(rb'<(?:style|script)[^>]*>(.*?)</(?:style|script)>', page, re.S):
    print("'sha256-" + base64.b64encode(hashlib.sha256(text).digest()).decode() + "'")
EOF
[ -s "$TMP/hashes" ]
ok $? "/: has a style sheet or script"
csp=$(header "$TMP/h" content-security-policy)
is "$(while read -r h; do [[ $csp == *"$h"* ]] || echo "$h"; done <"$TMP/hashes")" "" "/: each of them is allowed by its hash"
like "$csp" "connect-src 'self'" "/: it may ask only the exporter"
is "$(grep -c 'unsafe-inline' <<<"$csp")" 0 "/: nothing else may run"
is "$(get "$URL/-/healthy")" "The exporter is alive." "/-/healthy"
is "$(code "$URL/nonsense")" 404 "404"
get -X PUT -D "$TMP/h" -o /dev/null "$URL/metrics"
is "$(head -n 1 "$TMP/h" | cut -d' ' -f2) $(header "$TMP/h" allow)" "405 GET, HEAD" "405 with Allow"
is "$(code -d x "$URL/metrics")" 413 "413: a body"
is "$(code -X GET -H 'Transfer-Encoding: chunked' -d x "$URL/metrics")" 413 "413: a chunked body"
long=$(head -c 8300 /dev/zero | tr '\0' a)
is "$(code "$URL/$long")" 414 "414: a request line over 8 KiB"
is "$(code -H "X: $long" "$URL/")" 431 "431: a header line over 8 KiB"
is "$(code -H "X: $long" -H "Y: $long" -H "Z: $long" "$URL/")" 431 "431: a header over 16 KiB"
is "$(code -H 'Host:' "$URL/")" 400 "400: no Host"
is "$(code -H 'Content-Length: x' "$URL/")" 400 "400: a length that is none"
is "$(get "$URL/metrics.json" -o /dev/null "$URL/-/healthy" -w '%{num_connects} ' -o /dev/null)" "1 0 " "a connection is used again"
exp_stop
is $? 0 "SIGTERM: exit status 0"

# ---------------------------------------------------------------------------------------- selections
exp_start pick --vm 'k*' --vm other --exclude 'oth?r' || exit 1
poll 60 ready
poll 30 sees known
is "$(get "$URL/metrics" | grep -oE 'vm="[a-z]*"' | sort -u)" 'vm="known"' "--vm and --exclude"
exp_stop
exp_start few --max-series 120 || exit 1
poll 60 ready
get "$URL/metrics" >"$TMP/few"
drops() { get "$URL/metrics" >"$TMP/few"; [ "$(series "$TMP/few" iho_exporter_series_dropped)" -gt 0 ]; }
poll 30 drops
ok $? "--max-series: says how many were left out ($(series "$TMP/few" iho_exporter_series_dropped))"
exp_stop
kill "$OTHER"
wait_gone "$OTHER" 20

# -------------------------------------------------------------------------------------- without server
"$EXP" --once >"$TMP/once" 2>"$TMP/err"
is "$? $(series "$TMP/once" iho_up) $(wc -c <"$TMP/err")" "0 1 0" "--once: one scrape"
is "$("$EXP" --once --format openmetrics | tail -n 1)" "# EOF" "--once --format openmetrics"
is "$("$EXP" --once --format json | jq -r .schema)" iho-metrics/1 "--once --format json"
"$EXP" --once >/dev/full 2>"$TMP/err"
is "$? $(wc -l <"$TMP/err")" "1 1" "--once on a full disk fails, with one sentence"
"$EXP" --list-metrics >"$TMP/list"
is "$("$EXP" --list-metrics --format json | jq -r '.families[].name')" "$(sed 's/[{ ].*//' "$TMP/list")" \
	"--list-metrics: text and JSON name the same"
is "$(grep '^# TYPE' "$TMP/prom" | cut -d' ' -f3 | while read -r m; do
	grep -qE "^$m[{ ]" "$TMP/list" || echo "$m"; done)" "" "--list-metrics: has all that a scrape has"
"$EXP" --once --textfile "$TMP/one.prom"
is "$? $(stat -c %a "$TMP/one.prom") $(series "$TMP/one.prom" iho_up)" "0 644 1" "--once --textfile"
is "$(find "$TMP" -name 'one.prom?*')" "" "--textfile: leaves nothing beside it"
"$EXP" --once --textfile "$TMP/nowhere/x.prom" 2>"$TMP/err"
is "$? $(wc -l <"$TMP/err")" "1 1" "--textfile into a folder that is not there: one sentence"
spawn "$EXP" --textfile "$TMP/loop.prom" --interval 0.1
EXP_PID=$SPAWNED
poll 60 test -s "$TMP/loop.prom"
# Whoever reads sees whole files: from the first line to the last that each has
head -n 1 "$TMP/loop.prom" >"$TMP/first"
python3 - "$TMP/loop.prom" >"$TMP/read" <<'EOF'
import os, sys
seen, broken, inodes = 0, 0, set()
while len(inodes) < 15:
    with open(sys.argv[1]) as f:
        inodes.add(os.fstat(f.fileno()).st_ino * 1000003 + os.fstat(f.fileno()).st_mtime_ns)
        text = f.read()
    seen += 1
    if not text.startswith('# HELP iho_build_info') or not text.endswith('\n') or '\niho_vm_info{' not in text \
            or '\niho_exporter_series_dropped ' not in text:
        broken += 1
print(seen, broken)
EOF
read -r seen broken <"$TMP/read"
is "$broken" 0 "--textfile: $seen times read during 15 writings, never a part"
kill "$EXP_PID"
wait "$EXP_PID"
is $? 0 "--textfile: SIGTERM ends it with status 0"
is "$(find "$TMP" -name 'loop.prom?*')" "" "--textfile: leaves nothing beside it"

# ---------------------------------------------------------------------- rights, and no collector at all
if id nobody >/dev/null 2>&1; then
	chmod 755 "$TMP"
	cp "$EXP" "$TMP/exp"
	EXP=$TMP/exp exp_start weak --user nobody || exit 1
	is "$(awk '/^(Uid|NoNewPrivs)/{print $2}' "/proc/$EXP_PID/status" | xargs)" "$(id -u nobody) 1" "--user: it is nobody, and stays so"
	is "$(code "$URL/-/healthy") $(code "$URL/-/ready")" "200 503" "without a collector: alive, and not ready"
	like "$(get "$URL/-/ready")" '^[^ ]+ .+' "/-/ready: says why not"
	is "$(get "$URL/-/ready" | wc -l)" 1 "/-/ready: in one sentence"
	get "$URL/metrics" >"$TMP/down"
	is "$(series "$TMP/down" iho_up)" 0 "without a collector: iho_up 0"
	exp_stop
	setpriv --reuid nobody --regid nogroup --clear-groups "$TMP/exp" --once >"$TMP/out" 2>"$TMP/err"
	is "$? $(series "$TMP/out" iho_up) $(wc -l <"$TMP/err")" "1 0 1" "--once without a collector: iho_up 0, and one sentence"
else
	skip "no user nobody" "without a collector"
fi

# ---------------------------------------------------------------------------------- TLS and passwords
certificate() { # NAME SUBJECT OPTION...
	local n=$1 s=$2
	shift 2
	openssl req -x509 -newkey rsa:2048 -nodes -keyout "$TMP/$n.key" -out "$TMP/$n.crt" -days 2 -subj "/CN=$s" "$@" 2>/dev/null
}
certificate server first -addext 'subjectAltName=IP:127.0.0.1'
certificate client someone
certificate stranger stranger
hash=$(perl -e 'print crypt("correct horse", "\$2b\$05\$abcdefghijklmnopqrstuu")')
like "$hash" '^\$2b\$05\$.{53}$' "this system's crypt knows bcrypt"
config() { cat >"$TMP/web.yml"; }
config <<EOF
tls_server_config:
  cert_file: server.crt
  key_file: $TMP/server.key
  min_version: TLS13
http_server_config:
  headers:
    Strict-Transport-Security: max-age=60
basic_auth_users:
  alice: '$hash'
EOF
exp_start tls --web-config "$TMP/web.yml" || exit 1
like "$URL" '^https://' "TLS: says https"
CURL=(curl -sS --max-time 60 --cacert "$TMP/server.crt")
is "$(code "$URL/metrics")" 401 "no password: 401"
get -D "$TMP/h" -o /dev/null "$URL/metrics"
like "$(header "$TMP/h" www-authenticate)" '^Basic realm=' "401: says what it wants"
is "$(header "$TMP/h" strict-transport-security)" max-age=60 "a header of the configuration"
is "$(code -u 'alice:correct horse' "$URL/metrics")" 200 "the right password: 200"
is "$(code -u 'alice:correct horse' "$URL/metrics")" 200 "and once more"
for c in 'alice:wrong' 'bob:correct horse' 'alice:' ':' 'alice:correct horse2'; do
	is "$(code -u "$c" "$URL/metrics")" 401 "$c: 401"
done
is "$(code -H 'Authorization: Basic !!!' "$URL/metrics")" 401 "no base64: 401"
is "$(code -H 'Authorization: Bearer x' "$URL/metrics")" 401 "another scheme: 401"
# A flood of wrong ones: no more than so many are looked at, and who is known comes in meanwhile
flood() { for _ in $(seq 12); do code -u "alice:$1$RANDOM" "$URL/" && echo; done; }
floods=()
for i in 1 2 3 4; do
	flood "$i" >"$TMP/flood$i" &
	floods+=($!)
done
known=$(for _ in $(seq 5); do code -u 'alice:correct horse' "$URL/metrics" && echo; done | sort -u)
wait "${floods[@]}"
is "$known" 200 "a flood of wrong passwords: the known one comes in"
is "$(cat "$TMP"/flood? | sort -u | xargs)" "401 429" "a flood of wrong passwords: 401, then 429"
curl -sS --max-time 10 --cacert "$TMP/server.crt" --tls-max 1.2 "$URL/" >/dev/null 2>&1
[ $? = 35 ]
ok $? "min_version: TLS13: no TLS 1.2"
curl -sS --max-time 10 "$URL/" >/dev/null 2>&1
is $? 60 "a client that does not know the certificate refuses it"

# SIGHUP: a new certificate and a new password; then a wrong file, which changes nothing
certificate server second -addext 'subjectAltName=IP:127.0.0.1'
hash=$(perl -e 'print crypt("battery staple", "\$2b\$05\$abcdefghijklmnopqrstuu")')
config <<EOF
tls_server_config: { cert_file: server.crt, key_file: server.key }
basic_auth_users: { alice: '$hash' }
EOF
kill -HUP "$EXP_PID"
poll 30 has_line "$TMP/tls.log" 'read .*web.yml again'
ok $? "SIGHUP: says that it read it"
# while the flood's budget is not there again, it is not looked at
looked_at() { [ "$(code -u "$1" "$URL/metrics" | tee "$TMP/code")" != 429 ]; }
poll 60 looked_at 'alice:battery staple'
is "$(cat "$TMP/code")" 200 "SIGHUP: the new certificate and password"
poll 60 looked_at 'alice:correct horse'
is "$(cat "$TMP/code")" 401 "SIGHUP: the old password is forgotten"
echo 'tls_server_config: { cert_file: nowhere.crt, key_file: server.key }' | config
kill -HUP "$EXP_PID"
poll 30 has_line "$TMP/tls.log" 'cannot read .*nowhere.crt.*stays as it was'
ok $? "SIGHUP with a wrong file: says so"
is "$(code -u 'alice:battery staple' "$URL/metrics")" 200 "SIGHUP with a wrong file: goes on as before"
exp_stop
is $? 0 "TLS: SIGTERM: exit status 0"

# Client certificates
mutual() { # TYPE CODE-WITHOUT CODE-STRANGER CODE-CLIENT; 000: no connection
	config <<EOF
tls_server_config: { cert_file: server.crt, key_file: server.key, client_auth_type: $1$2 }
EOF
	exp_start "mutual$1" --web-config "$TMP/web.yml" || return
	is "$(code "$URL/-/healthy" 2>/dev/null)" "$3" "$1: no certificate: $3"
	is "$(code --cert "$TMP/stranger.crt" --key "$TMP/stranger.key" "$URL/-/healthy" 2>/dev/null)" "$4" "$1: a stranger's: $4"
	is "$(code --cert "$TMP/client.crt" --key "$TMP/client.key" "$URL/-/healthy" 2>/dev/null)" 200 \
		"$1: the right one: 200"
	exp_stop
}
ca=', client_ca_file: client.crt'
mutual NoClientCert '' 200 200
mutual RequestClientCert '' 200 200
mutual RequireAnyClientCert '' 000 200
mutual VerifyClientCertIfGiven "$ca" 200 000
mutual RequireAndVerifyClientCert "$ca" 000 000
CURL=(curl -sS --max-time 60)

# What is not supported is refused by name
refused() { # TEXT REGEX
	printf '%b' "$1" | config
	timeout 60 "$EXP" --listen 127.0.0.1:0 --web-config "$TMP/web.yml" 2>"$TMP/err" >"$TMP/out"
	is "$? $(wc -l <"$TMP/err")" "1 1" "web configuration \"$1\": refused in one line"
	like "$(cat "$TMP/err")" "$2" "... which says why"
}
refused 'http_server_config:\n  http2: true\n' 'line 2: http2 cannot be true'
refused 'tls_server_config: { cert_file: a, key_file: b, client_allowed_sans: [x] }' 'client_allowed_sans is not supported'
refused 'rate_limit: { burst: 1 }' 'rate_limit is not supported'
refused 'tls_server_config: { cert_file: a, key_file: b, min_version: TLS10 }' 'min_version is TLS12 or TLS13'
refused 'tls_server_config: { cert_file: server.crt, key_file: client.key }' 'no certificate with its key'
refused 'tls_server_config: { cert_file: a, key_file: b, cipher_suites: [TLS_RSA_WITH_RC4_128_SHA] }' 'cipher_suites'
refused 'basic_auth_users: { alice: password }' 'alice wants a bcrypt hash'
refused 'a: b\n  c: d' 'no YAML'
rm "$TMP/web.yml"
timeout 60 "$EXP" --listen 127.0.0.1:0 --web-config "$TMP/web.yml" 2>"$TMP/err"
is "$? $(grep -c 'cannot read .*web.yml' "$TMP/err")" "1 1" "a web configuration that is not there"

# ------------------------------------------------------------------------------------------ wrong usage
usage() { # REGEX OPTION...
	local re=$1
	shift
	timeout 60 "$EXP" "$@" >"$TMP/out" 2>"$TMP/err" </dev/null
	is "$? $(wc -l <"$TMP/err") $(wc -c <"$TMP/out")" "2 1 0" "$*: exit status 2, one line"
	like "$(cat "$TMP/err")" "$re" "$*: says why"
}
usage 'unknown option' --nonsense
usage 'unexpected argument' web
usage 'wants a value' --listen
for a in '' localhost:1 127.0.0.1 127.0.0.1:x 127.0.0.1:65536 '[::1]' '::1:80' '1.2.3.4.5:1'; do
	usage 'no address to listen on' --listen "$a"
done
usage 'not a number of seconds' --min-interval x
usage 'not a number from' --max-connections 7
usage 'not a number from' --max-series -1
usage 'unknown format' --once --format xml
usage '\.prom' --textfile /tmp/x.txt
usage 'for the server' --once --listen 127.0.0.1:1
usage 'is for --textfile' --interval 3
usage 'exclude each other' --help --version
like "$("$EXP" --version)" '^iho-exporter [0-9]+\.[0-9]+\.[0-9]+$' "--version"
"$EXP" --help | grep -q '^Usage: iho-exporter'
ok $? "--help"
timeout 60 "$EXP" --listen 127.0.0.1:0 --user no-such-user 2>"$TMP/err"
is "$? $(grep -c 'no user "no-such-user"' "$TMP/err")" "1 1" "--user: a user that is not there"

# ------------------------------------------------------------------------------------ addresses, restart
exp_start both --listen '[::1]:0' || exit 1
six=$(sed -n 's,.*listening on \(http://\[.*\)/$,\1,p' "$TMP/both.log")
is "$(code "$URL/-/healthy") $(code -g "$six/-/healthy")" "200 200" "--listen twice: IPv4 and IPv6"
port=${URL##*:}
timeout 60 "$EXP" --listen "127.0.0.1:$port" 2>"$TMP/err"
is "$? $(grep -c "cannot listen on 127.0.0.1:$port" "$TMP/err")" "1 1" "a port that is taken: status 1, one sentence"
exp_stop
spawn "$EXP" --listen "127.0.0.1:$port" 2>"$TMP/again.log"
EXP_PID=$SPAWNED
poll 30 has_line "$TMP/again.log" 'listening on'
is "$(code "$URL/-/healthy")" 200 "after a restart the port is there at once"
poll 60 ready
ok $? "after a restart the collector answers"
exp_stop
kill "$KNOWN"
wait_gone "$KNOWN" 20
done_testing
