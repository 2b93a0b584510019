/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * System calls: number, name, and the function that the kernel calls for it. Names are those of the
 * uapi headers (syscalls.h is made from them); what a function is called is told by the kernel's
 * own symbols (Linux: arch/x86/entry/syscalls).
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "dispatch.h"
#include "syscall_table.h"
#include "syscalls.h"

enum {
	COL_ABI,
	COL_NR,
	COL_NAME,
	COL_ADDRESS,
	COL_SYMBOL,
	COL_MODULE,
	COL_EXPECTED,
	COL_TABLE_ADDRESS,
	COL_TABLE_SYMBOL,
};

static const struct vmi_column columns[] = {
	[COL_ABI] = { "abi", VMI_TEXT, "x64, ia32 or x32" },
	[COL_NR] = { "nr", VMI_INTEGER, "number" },
	[COL_NAME] = { "name", VMI_TEXT, "name in the ABI" },
	[COL_ADDRESS] = { "address", VMI_TEXT, "the function that is called for it" },
	[COL_SYMBOL] = { "symbol", VMI_TEXT, "that function's name; NULL = no known code" },
	[COL_MODULE] = { "module", VMI_TEXT, "the module that it is in; NULL = the kernel" },
	[COL_EXPECTED] = { "expected", VMI_INTEGER,
			   "1: such a function is to be there; 0: not; NULL: a newer number" },
	[COL_TABLE_ADDRESS] = { "table_address", VMI_TEXT,
				"what the table says, which kernels with a switch use for tracing "
				"only" },
	[COL_TABLE_SYMBOL] = { "table_symbol", VMI_TEXT, "that one's name" },
};

#define CALLS_MAX 1024

static const char *const x64_names[] = { SYSCALLS_64 };
static const char *const ia32_names[] = { SYSCALLS_32 };

struct abi {
	const char *abi, *table, *dispatch;
	const char *const *names;
	size_t n_names;
};

static const struct abi abis[] = {
	{ "x64", "sys_call_table", "x64_sys_call", x64_names,
	  sizeof(x64_names) / sizeof(x64_names[0]) },
	{ "ia32", "ia32_sys_call_table", "ia32_sys_call", ia32_names,
	  sizeof(ia32_names) / sizeof(ia32_names[0]) },
	/* Its numbers below 512 are those of x64. */
	{ "x32", "x32_sys_call_table", "x32_sys_call", x64_names,
	  sizeof(x64_names) / sizeof(x64_names[0]) },
};

/* The table ends where another symbol begins; behind its last entry may be padding. */
static uint32_t table_length(struct vmi_walk *w, uint64_t table)
{
	const struct vmi_symbols *all = w->guest->symbols;
	size_t lo = 0, hi = vmi_symbols_count(all);
	uint64_t entry, n;

	if (!table)
		return 0;
	while (lo < hi) {
		size_t mid = lo + (hi - lo) / 2;

		if (vmi_symbol_nth(all, mid)->addr > table)
			hi = mid;
		else
			lo = mid + 1;
	}
	n = lo < vmi_symbols_count(all) ? (vmi_symbol_nth(all, lo)->addr - table) / 8 : CALLS_MAX;
	if (n > CALLS_MAX)
		n = CALLS_MAX;
	while (n && !vmi_ptr(w, table + (n - 1) * 8, &entry) && !entry)
		n--;
	return (uint32_t)n;
}

static int each(struct vmi_walk *w, const struct abi *a, struct vmi_dispatch *d,
		bool (*fn)(void *arg, const struct vmi_syscall *s), void *arg)
{
	uint64_t table = vmi_sym(w->guest, a->table);
	bool has_dispatch = !vmi_dispatch_load(d, w, a->dispatch);
	uint32_t in_table = table_length(w, table), n = in_table;

	if (has_dispatch && d->max >= n)
		n = d->max < CALLS_MAX ? d->max + 1 : CALLS_MAX;
	for (uint32_t nr = 0; nr < n; nr++) {
		struct vmi_syscall s = { .abi = a->abi, .nr = nr };

		s.name = nr < a->n_names ? a->names[nr] : NULL;
		if (nr < in_table)
			vmi_ptr(w, table + nr * 8ull, &s.table);
		if (has_dispatch && vmi_dispatch_target(d, nr, &s.dispatch)) {
			s.odd = true;
			s.stopped = s.dispatch;
			s.dispatch = 0;
		}
		if (fn(arg, &s))
			return 1;
	}
	return 0;
}

int vmi_syscalls(struct vmi_walk *w, bool (*fn)(void *arg, const struct vmi_syscall *s), void *arg)
{
	struct vmi_dispatch *d = malloc(sizeof(*d));
	bool any = false;

	if (!d)
		return -ENOMEM;
	for (size_t i = 0; i < sizeof(abis) / sizeof(abis[0]); i++) {
		any |= vmi_sym(w->guest, abis[i].table) || vmi_sym(w->guest, abis[i].dispatch);
		if (each(w, &abis[i], d, fn, arg))
			break;
	}
	free(d);
	return any ? 0 : -ENOENT;
}

/*
 * Entries of one call differ between ABIs and in the width of their types: newstat, stat64,
 * chown16, futex_time32, old_select, ia32_pread64. What is left without that is to be equal.
 */
static size_t core(const char **name)
{
	static const char *const before[] = { "ia32_", "x32_", "_", "old_", "old", "new" };
	static const char *const behind[] = { "_time32", "_time64", "16", "32", "64" };
	bool again = true;
	size_t len = strlen(*name);

	while (again) {
		again = false;
		for (size_t i = 0; i < sizeof(before) / sizeof(before[0]); i++) {
			size_t n = strlen(before[i]);

			if (len > n + 2 && !strncmp(*name, before[i], n)) {
				*name += n;
				len -= n;
				again = true;
			}
		}
		for (size_t i = 0; i < sizeof(behind) / sizeof(behind[0]); i++) {
			size_t n = strlen(behind[i]);

			if (len > n + 2 && !strncmp(*name + len - n, behind[i], n)) {
				len -= n;
				again = true;
			}
		}
	}
	return len;
}

static bool same_core(const char *a, const char *b)
{
	size_t n = core(&a), m = core(&b);

	return n == m && !strncmp(a, b, n);
}

int vmi_syscall_expected(const struct vmi_syscall *s, const char *symbol)
{
	/* Names that the ABI kept while the function's changed. */
	static const char *const others[][2] = {
		{ "umount2", "umount" },
		{ "mmap2", "mmap_pgoff" },
		{ "ugetrlimit", "getrlimit" },
	};
	const char *entry = strstr(symbol, "sys_");
	/* Prefixes of entries: __x64_sys_, __ia32_compat_sys_, __x32_compat_sys_, sys_, stub_. */
	bool prefixed = entry &&
			(!strncmp(symbol, "__x64_", 6) || !strncmp(symbol, "__ia32_", 7) ||
			 !strncmp(symbol, "__x32_", 6) || !strncmp(symbol, "__do_sys_", 9) ||
			 !strncmp(symbol, "__do_compat_sys_", 16) || entry == symbol ||
			 !strncmp(symbol, "compat_sys_", 11));

	if (!prefixed)
		return 0;
	entry += 4;
	if (!strcmp(entry, "ni_syscall"))
		return 1;
	if (!s->name)
		return -1;
	for (size_t i = 0; i < sizeof(others) / sizeof(others[0]); i++) {
		if (!strcmp(s->name, others[i][0]) && same_core(entry, others[i][1]))
			return 1;
	}
	return same_core(entry, s->name);
}

struct scan {
	struct vmi_rows *r;
	struct vmi_code *c;
};

/* A newer call than our headers: its function is named after it. */
static void name_of(struct vmi_rows *r, const char *symbol)
{
	const char *entry = strstr(symbol, "sys_");

	if (entry && strcmp(entry, "sys_ni_syscall"))
		vmi_str(r, COL_NAME, entry + 4);
}

static bool row(void *arg, const struct vmi_syscall *s)
{
	struct scan *scan = arg;
	struct vmi_rows *r = scan->r;
	uint64_t addr = vmi_syscall_addr(s), offset;
	const char *symbol, *module;
	char text[256];
	int expected;

	vmi_row(r);
	vmi_str(r, COL_ABI, s->abi);
	vmi_int(r, COL_NR, s->nr);
	vmi_str(r, COL_NAME, s->name);
	vmi_hex(r, COL_ADDRESS, addr ? addr : s->stopped);
	if (!vmi_code_symbol(scan->c, addr, &symbol, &offset, &module)) {
		vmi_code_name(scan->c, addr, true, text, sizeof(text));
		vmi_str(r, COL_SYMBOL, text);
		if (*module)
			vmi_str(r, COL_MODULE, module);
		expected = offset || *module ? 0 : vmi_syscall_expected(s, symbol);
		if (expected >= 0)
			vmi_int(r, COL_EXPECTED, expected);
		if (!s->name && expected)
			name_of(r, symbol);
	} else {
		vmi_int(r, COL_EXPECTED, 0);
	}
	if (s->table) {
		vmi_hex(r, COL_TABLE_ADDRESS, s->table);
		vmi_code_name(scan->c, s->table, true, text, sizeof(text));
		vmi_str(r, COL_TABLE_SYMBOL, *text ? text : NULL);
	}
	return vmi_row_end(r);
}

static int rows(struct vmi_rows *r)
{
	struct scan scan = { .r = r };
	int err = vmi_code_open(&scan.c, vmi_rows_walk(r));

	if (!err)
		err = vmi_syscalls(vmi_rows_walk(r), row, &scan);
	vmi_code_close(scan.c);
	if (err == -ENOENT)
		return vmi_rows_error(r,
				      "neither a table of system calls nor a switch over them is "
				      "among the kernel's symbols (CONFIG_KALLSYMS_ALL)");
	return err ? vmi_rows_error(r, "%s", strerror(-err)) : 0;
}

const struct vmi_table vmi_table_syscall_table = {
	.name = "syscall_table",
	.doc = "System calls, and the function that the kernel calls for each.",
	.origin = VMI_OURS,
	.needs = VMI_LEVEL_SYMBOLS,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
