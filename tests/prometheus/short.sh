#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# short.sh DIR: copies the rules to DIR for a Prometheus that scrapes and evaluates each second, so that a
# test need not wait for minutes. Ranges, intervals and `for:` become seconds; the thresholds stay.
# promtool tests the rules with their own times (iho.test.yml).
set -eu
cd "$(dirname "$0")/../../dashboards/prometheus"
for f in iho.rules.yml iho.alerts.yml; do
	sed -E -e 's/\[15m\]/[20s]/g; s/\[[0-9]+m\]/[6s]/g' -e 's/^( *interval:) .*/\1 1s/' -e 's/^( *for:) .*/\1 2s/' $f >"$1/$f"
done
