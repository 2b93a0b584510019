#!/bin/bash
# SPDX-License-Identifier: GPL-2.0-or-later
# build.sh VMLINUX OUT: the test rootkit for that kernel, OUT/rootkit.ko, OUT/load, and OUT/ordinary.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
vmlinux=$1 out=$2
mkdir -p "$out"
export PATH=$PATH:/usr/sbin:/sbin
bpftool btf dump file "$vmlinux" format c >"$out/vmlinux.h"

# What kernels have or have not, asked of their types
flags=(-DBPF_NO_PRESERVE_ACCESS_INDEX)
grep -q '^struct module_memory {' "$out/vmlinux.h" && flags+=(-DHAS_MODULE_MEM)
grep -qE '^typedef void \(\*ftrace_func_t\)\(.*struct ftrace_regs \*\);' "$out/vmlinux.h" &&
	flags+=(-DHAS_FTRACE_REGS_ARG)

# As the kernel's own: no floating point, no red zone, all in the last 2 GiB
"${CC:-gcc}" -std=gnu11 -O2 -w -ffreestanding -fno-pic -mcmodel=kernel -mno-red-zone -mno-sse -mno-mmx \
	-mno-80387 -fno-stack-protector -fno-asynchronous-unwind-tables -fno-strict-aliasing \
	-fno-common -fcf-protection=branch -fms-extensions "${flags[@]}" -I"$out" \
	-c -o "$out/rootkit.ko" "$here/rootkit.c"
"${CC:-gcc}" -std=gnu11 -O2 -Wall -Wextra -Werror -static -o "$out/load" "$here/load.c"
"${CC:-gcc}" -std=gnu11 -O2 -Wall -Wextra -Werror -static -o "$out/ordinary" "$here/ordinary.c"
