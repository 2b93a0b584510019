#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Builds the Debian packages in a copy of the tree, into a folder: deb.sh OUT [-A: only those for all architectures]
# The tree itself stays as it is. DEB_BUILD_OPTIONS is the caller's.
set -eu
[ $# = 1 ] || [ "$# ${2-}" = "2 -A" ] || {
	echo "usage: deb.sh OUT [-A]" >&2
	exit 2
}
cd "$(dirname "$0")/.."
mkdir -p "$1"
out=$(cd "$1" && pwd)
tmp=$(mktemp -d "${TMPDIR:-/tmp}/iho-deb.XXXXXX")
trap 'rm -rf "$tmp"' EXIT
trap 'exit 1' INT TERM

# What is tracked, or could be: in a tree without git, all but what make and dpkg left.
mkdir "$tmp/iho"
if git rev-parse --git-dir >/dev/null 2>&1; then
	git ls-files -co --exclude-standard | while read -r f; do
		[ ! -e "$f" ] || echo "$f"
	done >"$tmp/files"
	tar -c -T "$tmp/files" | tar -x -C "$tmp/iho"
else
	tar -c --exclude=./build . | tar -x -C "$tmp/iho"
fi

# The one thing that is not in Debian, uPlot, as npm brought it for the tree: a package is built without network.
make -s --no-print-directory build/npm/.done
mkdir -p "$tmp/iho/build"
cp -a build/npm "$tmp/iho/build/"

# Build-Depends says what is missing, if something is.
(cd "$tmp/iho" && dpkg-buildpackage -us -uc "${2:--b}") >"$out/build.log" 2>&1 || {
	tail -n 20 "$out/build.log" >&2
	echo "iho: dpkg-buildpackage failed; all it said is in $out/build.log" >&2
	exit 1
}
rm -f "$out"/*.deb "$out"/*.changes "$out"/*.buildinfo
mv "$tmp"/*.deb "$tmp"/*.changes "$tmp"/*.buildinfo "$out/"
for f in "$out"/*.deb; do
	echo "$f"
done
