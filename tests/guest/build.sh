#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# build.sh HEADERS FOLDER OUT: the module of FOLDER, a Kbuild, against a kernel's headers, as headers.sh
# has them, in OUT; what the compiler says goes to stdout. Warnings are errors.
set -eu
headers=$1 out=$3
rm -rf "$out"
cp -r "$2" "$out"
# on its own: the make around us may have turned off rules
env -u MAKEFLAGS -u MAKELEVEL -u MFLAGS make -C "$headers/build" M="$out" W=1 CONFIG_WERROR=y \
	KCFLAGS="-Werror ${KCFLAGS-}" modules 2>&1
