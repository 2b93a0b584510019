#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# dashboards/json_exporter.yml against a real /metrics.json: every path in it selects something.
. "$(dirname "$0")/../tap.sh"
need_root
need_kvm

demo tenant --script loop --script "out:0x80:100,hlt:10,loop" || exit 1
spawn "$B/iho-exporter" --listen 127.0.0.1:0 --min-interval 0 2>"$TMP/log"
poll 30 has_line "$TMP/log" 'listening on' || exit 1
URL=$(sed -n 's,.*listening on \(http.*\)/$,\1,p' "$TMP/log")
whole() {
	curl -sS --max-time 30 "$URL/metrics.json" >"$TMP/json"
	[ "$(jq '[.families[]|select(.name=="iho_vcpu_user_exits_total").samples[]|select(.labels.vm=="tenant")]|length' "$TMP/json")" -ge 2 ]
}
poll 60 whole
ok $? "the tenant is in /metrics.json"
"$B/iho-exporter" --list-metrics --format json >"$TMP/catalogue"
/usr/bin/python3 - dashboards/json_exporter.yml "$TMP/json" "$TMP/catalogue" >"$TMP/out" 2>&1 <<'EOF'
import json, re, sys
import yaml

config = yaml.safe_load(open(sys.argv[1], encoding='utf-8'))
scrape = json.load(open(sys.argv[2], encoding='utf-8'))
catalogue = {f['name']: f for f in json.load(open(sys.argv[3], encoding='utf-8'))['families']}

STEP = re.compile(r'\.([A-Za-z_]+)|\[(\d+)\]|(\[\*\])|\[\?\(@\.([A-Za-z_]+) == "([^"]*)"\)\]')


def select(template, root):
    """The part of JSONPath that the file uses: .key [N] [*] [?(@.key == "text")]"""
    path = re.fullmatch(r'\{ (.*) \}', template).group(1)
    nodes, at = [root], 0
    while at < len(path):
        step = STEP.match(path, at)
        if not step:
            raise ValueError(f'{path}: what is {path[at:]}?')
        key, number, every, name, text = step.groups()
        if key:
            nodes = [n[key] for n in nodes if isinstance(n, dict) and key in n]
        elif number:
            nodes = [n[int(number)] for n in nodes if isinstance(n, list) and len(n) > int(number)]
        elif every:
            nodes = [v for n in nodes if isinstance(n, list) for v in n]
        else:
            nodes = [v for n in nodes if isinstance(n, list) for v in n if isinstance(v, dict) and v.get(name) == text]
        at = step.end()
    return nodes


present = {f['name'] for f in scrape['families']}
for metric in config['modules']['iho']['metrics']:
    values = metric.get('values')
    name = metric['name'] + ('_' + next(iter(values)) if values else '')
    family = catalogue.get(name)
    problems = []
    if not family:
        problems.append('not in the catalogue')
    else:
        if sorted(metric.get('labels', {})) != sorted(family['labels']):
            problems.append('other labels')
        if (metric['valuetype'] == 'counter') != (family['type'] == 'counter'):
            problems.append('another type')
    nodes = select(metric['path'], scrape)
    if name not in present:
        print('absent' if not problems else 'bad', name, *problems)
        continue
    if not nodes:
        problems.append('its path selects nothing')
    for node in nodes:
        if values:
            wanted = list(values.values()) + list(metric['labels'].values())
            problems += [f'{w} selects {len(select(w, node))}' for w in wanted if len(select(w, node)) != 1]
            number = select(next(iter(values.values())), node)[0]
        else:
            number = node
        if not isinstance(number, (int, float)):
            problems.append(f'{number!r} is no number')
    print('bad' if problems else 'good', name, *problems)
EOF
ok $? "the file is understood" || diag "$(tail -5 "$TMP/out")"
while read -r verdict name problems; do
	case $verdict in
	absent) skip "this host has none" "$name" ;;
	*)
		[ "$verdict" = good ]
		ok $? "$name" || diag "$problems"
		;;
	esac
done <"$TMP/out"
[ "$(grep -c '^good' "$TMP/out")" -ge 12 ]
ok $? "most of it is on this host"
done_testing
