// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A dump of a real guest of which some words are other ones: structures as somebody would build
 *them who knows how they are walked. Each is one case: the table is read as it is and then as it
 *was made, and must end within bounds, with the reason that is expected.
 *
 *	crafted DUMP
 *
 * One line a case: its name, how the walk ended and where, rows and steps beside those of before.
 * "ok", "not ok", or "none" where this kernel has no such structure.
 *
 * Beside the guest's RAM there is a window, of which no guest knows: mapped by a page of 1 GiB in
 *the direct map, it is an endless list (a node every 256 bytes), and at its start free for
 *structures.
 */
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../vmi/tables/rows.h"

#define WORDS	64
#define WINDOW	(1ull << 37) /* gpa */
#define BYTES	(1ull << 28)
#define FREE	(1ull << 20) /* of it: zeroes */
#define STRIDE	256
#define LIST	(WINDOW + FREE + 16 * STRIDE)
#define GIB	(1ull << 30)
#define ADDRESS 0x000ffffffffff000ull
#define STEPS	400000

static const struct vmi_budget budget = { .steps = STEPS, .bytes = 64 << 20, .ns = 60000000000 };

static struct {
	struct vmi_mem *mem;
	struct {
		uint64_t gpa, value;
		unsigned int size;
	} word[WORDS];
	unsigned int n;
	uint64_t reads;
	struct vmi_guest *g;
	uint64_t window; /* its gva */
	struct vmi_walk walk; /* by which the cases find what they change */
	bool missing; /* this kernel has not what the case changes */
} c;

/* -------------------------------------------------------- memory */

/* Of the window. */
static uint64_t to_virt(uint64_t gpa)
{
	return c.window + (gpa - WINDOW);
}

/* The window's byte at `gpa`: of a list that has no end, or nothing. */
static uint8_t window(uint64_t gpa)
{
	uint64_t at = gpa % STRIDE, node = gpa - at;

	if (!c.g || gpa < WINDOW + FREE || at >= 16)
		return 0;
	node = to_virt(at < 8 ? node + STRIDE : node - STRIDE);
	return (uint8_t)(node >> 8 * (at % 8));
}

static int read_crafted(void *arg, uint64_t gpa, void *buf, size_t len)
{
	uint8_t *to = buf;
	int err = 0;

	c.reads++;
	if (gpa < WINDOW)
		err = vmi_mem_read(c.mem, gpa, buf, len);
	else
		for (size_t i = 0; i < len; i++)
			to[i] = window(gpa + i);
	for (unsigned int i = 0; i < c.n && !err; i++) {
		for (unsigned int b = 0; b < c.word[i].size; b++) {
			uint64_t at = c.word[i].gpa + b - gpa;

			if (at < len)
				to[at] = (uint8_t)(c.word[i].value >> 8 * b);
		}
	}
	return err;
}

static void poke_phys(uint64_t gpa, uint64_t value, unsigned int size)
{
	if (c.n == WORDS) {
		fprintf(stderr, "crafted: too many words\n");
		exit(1);
	}
	c.word[c.n].gpa = gpa;
	c.word[c.n].value = value;
	c.word[c.n++].size = size;
}

static void poke(uint64_t gva, uint64_t value, unsigned int size)
{
	uint64_t gpa, left;

	if (c.missing || vmi_translate(&c.walk, c.g->pgd, gva, &gpa, &left, NULL) || left < size)
		c.missing = true;
	else
		poke_phys(gpa, value, size);
}

static uint64_t ptr(uint64_t gva)
{
	uint64_t v = 0;

	if (c.missing || vmi_ptr(&c.walk, gva, &v) || !v)
		c.missing = true;
	return v;
}

static uint64_t sym(const char *name)
{
	uint64_t gva = vmi_sym(c.g, name);

	if (!gva)
		c.missing = true;
	return gva;
}

static bool has(const char *path)
{
	struct vmi_field f;

	return !vmi_field(c.g, path, &f);
}

static uint64_t off(const char *path)
{
	struct vmi_field f = { 0 };

	if (vmi_field(c.g, path, &f))
		c.missing = true;
	return f.offset;
}

static uint64_t member(uint64_t base, const char *path)
{
	return ptr(base + off(path));
}

/* Takes an entry that is free in the table, of 1 GiB each, by which the direct map begins. */
static void map_window(void)
{
	uint64_t gva = c.g->page_offset & ~(512 * GIB - 1), table = c.g->pgd, entry = 0;
	unsigned int i = 512;

	for (unsigned int level = c.g->la57 ? 4 : 3; level >= 3; level--) {
		if (vmi_read_phys(&c.walk, table + (gva >> (12 + 9 * level) & 511) * 8, &entry, 8))
			c.missing = true;
		table = entry & ADDRESS;
	}
	do
		if (vmi_read_phys(&c.walk, table + 8 * --i, &entry, 8))
			c.missing = true;
	while (i && entry);
	c.window = gva + i * GIB;
	poke_phys(table + 8 * i, WINDOW | 0xe3, 8);
}

/* -------------------------------------------------------- cases */

static uint64_t first_task(void) /* behind the idle one: pid 1 */
{
	return ptr(sym("init_task") + off("task_struct.tasks")) - off("task_struct.tasks");
}

static void tasks_self(void)
{
	uint64_t node = ptr(sym("init_task") + off("task_struct.tasks"));

	poke(node, node, 8);
}

static void tasks_cycle(void)
{
	uint64_t head = sym("init_task") + off("task_struct.tasks");

	poke(ptr(head + 8), ptr(head), 8);
}

static void tasks_endless(void)
{
	poke(sym("init_task") + off("task_struct.tasks"), to_virt(LIST), 8);
}

static void threads_cycle(void)
{
	uint64_t node =
		member(member(first_task(), "task_struct.signal"), "signal_struct.thread_head");

	poke(node, node, 8);
}

static void modules_self(void)
{
	uint64_t node = ptr(sym("modules"));

	poke(node, node, 8);
}

static void modules_endless(void)
{
	poke(sym("modules"), to_virt(LIST), 8);
}

static void pids_cycle(void)
{
	uint64_t head = sym("init_pid_ns") + off("pid_namespace.idr") + off("idr.idr_rt") +
			off("xarray.xa_head");
	uint64_t entry = ptr(head);

	if ((entry & 3) != 2)
		c.missing = true;
	poke(entry - 2 + off("xa_node.slots"), entry, 8);
}

static void programs_cycle(void)
{
	uint64_t head = sym("prog_idr") + off("idr.idr_rt") + off("xarray.xa_head");
	uint64_t entry = ptr(head);

	if ((entry & 3) != 2)
		c.missing = true;
	poke(entry - 2 + off("xa_node.slots"), entry, 8);
}

/* mt_mk_node(), mte_mk_root(): a maple_arange_64 that is its own child */
static void areas_cycle(void)
{
	uint64_t root, node;

	if (!has("mm_struct.mm_mt")) {
		node = member(member(first_task(), "task_struct.mm"), "mm_struct.mmap");
		poke(node + off("vm_area_struct.vm_next"), node, 8);
		return;
	}
	root = member(first_task(), "task_struct.mm") + off("mm_struct.mm_mt") +
	       off("maple_tree.ma_root");
	node = ptr(root) & ~255ull;
	poke(root, node | 3 << 3 | 6, 8);
	for (unsigned int i = 0; i < 10; i++)
		poke(node + off("maple_arange_64.slot") + 8 * i, node | 3 << 3 | 4, 8);
}

static uint64_t mount_namespace(void)
{
	return member(member(first_task(), "task_struct.nsproxy"), "nsproxy.mnt_ns");
}

static void mounts_cycle(void)
{
	uint64_t node;

	if (has("mnt_namespace.mounts") && has("mount.mnt_node")) {
		node = member(mount_namespace(), "mnt_namespace.mounts");
		poke(node + 8, node, 8); /* rb_right */
		poke(node + 16, 0, 8);
	} else {
		node = member(mount_namespace(), "mnt_namespace.list");
		poke(node, node, 8);
	}
}

static void mounts_left(void)
{
	uint64_t node;

	if (!has("mnt_namespace.mounts") || !has("mount.mnt_node")) {
		c.missing = true;
		return;
	}
	node = member(mount_namespace(), "mnt_namespace.mounts");
	poke(node + 16, node, 8);
}

static uint64_t fdtable(void)
{
	return member(member(first_task(), "task_struct.files"), "files_struct.fdt");
}

static void fds_many(void)
{
	poke(fdtable() + off("fdtable.max_fds"), 1u << 31, 4);
}

static void fds_most(void)
{
	poke(fdtable() + off("fdtable.max_fds"), UINT32_MAX, 4);
	poke(fdtable() + off("fdtable.open_fds"), to_virt(LIST), 8);
	poke(fdtable() + off("fdtable.fd"), to_virt(LIST), 8);
}

static uint64_t file_path(void) /* of the descriptor 0 */
{
	uint64_t file = ptr(member(fdtable(), "fdtable.fd"));

	return file + off("file.f_path|file.__f_path");
}

static uint64_t make_dentry(uint64_t at, uint64_t parent)
{
	poke(at + off("dentry.d_parent"), parent, 8);
	poke(at + off("dentry.d_name.name"), sym("linux_banner"), 8);
	poke(at + off("dentry.d_name.len"), 5, 4);
	poke(at + off("dentry.d_hash.pprev"), at, 8);
	return at;
}

static void dentries_cycle(void)
{
	uint64_t one = to_virt(WINDOW + 4096), two = to_virt(WINDOW + 8192);

	poke(file_path() + off("path.dentry"), make_dentry(one, make_dentry(two, one)), 8);
}

static void make_mount(uint64_t at, uint64_t parent, uint64_t root)
{
	poke(at + off("mount.mnt_parent"), parent, 8);
	poke(at + off("mount.mnt_mountpoint"), root, 8);
	poke(at + off("mount.mnt.mnt_root"), root, 8);
}

static void parents_cycle(void)
{
	uint64_t one = to_virt(WINDOW + 4096), two = to_virt(WINDOW + 8192);
	uint64_t root = make_dentry(to_virt(WINDOW + 12288), to_virt(WINDOW + 12288));

	make_mount(one, two, root);
	make_mount(two, one, root);
	poke(file_path() + off("path.mnt"), one + off("mount.mnt"), 8);
	poke(file_path() + off("path.dentry"), root, 8);
}

static void socks_cycle(void)
{
	uint64_t buckets = has("net.unx.table.buckets")
				   ? member(sym("init_net"), "net.unx.table.buckets")
				   : sym("unix_socket_table");
	uint64_t node = to_virt(WINDOW + 65536);

	poke(buckets, node, 8);
	poke(node, node, 8);
}

static void socks_endless(void)
{
	uint64_t buckets = has("net.unx.table.buckets")
				   ? member(sym("init_net"), "net.unx.table.buckets")
				   : sym("unix_socket_table");

	poke(buckets, to_virt(LIST), 8);
}

static void devices_cycle(void)
{
	uint64_t node = member(sym("init_net"), "net.dev_base_head");

	poke(node, node, 8);
}

static void nets_endless(void)
{
	poke(sym("net_namespace_list"), to_virt(LIST), 8);
}

static void log_ids(void)
{
	uint64_t head = ptr(sym("prb")) + off("printk_ringbuffer.desc_ring.head_id.counter");

	poke(head, ptr(head) + (1ull << 40), 8);
}

/* The process's own tables: each entry of the top one leads to it again. */
static void pages_self(void)
{
	uint64_t pgd = member(member(first_task(), "task_struct.mm"), "mm_struct.pgd"), gpa, left;
	uint64_t at = 0;
	struct vmi_field f;

	if (vmi_translate(&c.walk, c.g->pgd, pgd, &gpa, &left, NULL) ||
	    vmi_field(c.g, "mm_struct.arg_start", &f))
		c.missing = true;
	else
		at = member(member(first_task(), "task_struct.mm"), "mm_struct.arg_start");
	for (unsigned int level = 0; level < 5 && !c.missing; level++)
		poke_phys(gpa + (at >> (12 + 9 * level) & 511) * 8, gpa | 7, 8);
}

static const struct {
	const char *name, *table;
	void (*craft)(void);
	bool first; /* of pid 1 only */
	enum vmi_stop stop;
	const char *where;
} cases[] = {
	{ "tasks_self", "processes", tasks_self, 0, VMI_STOP_CYCLE, "task_struct.tasks" },
	{ "tasks_cycle", "processes", tasks_cycle, 0, VMI_STOP_CYCLE, "task_struct.tasks" },
	{ "tasks_cycle_names", "process_namespaces", tasks_cycle, 0, VMI_STOP_CYCLE,
	  "task_struct.tasks" },
	{ "tasks_endless", "processes", tasks_endless, 0, VMI_STOP_STEPS, NULL },
	{ "threads_cycle", "threads", threads_cycle, 0, VMI_STOP_CYCLE,
	  "signal_struct.thread_head" },
	{ "modules_self", "kernel_modules", modules_self, 0, VMI_STOP_CYCLE, "modules" },
	{ "modules_endless", "kernel_modules", modules_endless, 0, VMI_STOP_FAULT,
	  "module.source_list" },
	{ "pids_cycle", "hidden_processes", pids_cycle, 0, VMI_STOP_CYCLE, "pid_namespace.idr" },
	{ "programs_cycle", "bpf_programs", programs_cycle, 0, VMI_STOP_CYCLE, "prog_idr" },
	{ "areas_cycle", "process_memory_map", areas_cycle, 1, VMI_STOP_CYCLE, NULL },
	{ "mounts_cycle", "mounts", mounts_cycle, 0, VMI_STOP_CYCLE, NULL },
	{ "mounts_left", "mounts", mounts_left, 0, VMI_STOP_CYCLE, "mnt_namespace.mounts" },
	{ "fds_many", "process_open_files", fds_many, 1, VMI_STOP_LENGTH, "fdtable.max_fds" },
	{ "fds_most", "process_open_files", fds_most, 1, VMI_STOP_LENGTH, "fdtable.max_fds" },
	{ "dentries_cycle", "process_open_files", dentries_cycle, 1, VMI_STOP_CYCLE,
	  "dentry.d_parent" },
	{ "parents_cycle", "process_open_files", parents_cycle, 1, VMI_STOP_CYCLE,
	  "mount.mnt_parent" },
	{ "socks_cycle", "sockets", socks_cycle, 0, VMI_STOP_CYCLE, "unix" },
	{ "socks_endless", "sockets", socks_endless, 0, VMI_STOP_STEPS, NULL },
	{ "devices_cycle", "interface_details", devices_cycle, 0, VMI_STOP_CYCLE,
	  "net_device.dev_list" },
	{ "nets_endless", "sockets", nets_endless, 0, VMI_STOP_LENGTH, "net.list" },
	{ "log_ids", "kernel_log", log_ids, 0, VMI_STOP_LENGTH, "printk_ringbuffer.head_id" },
	/* It is memory like any other: nothing tells. */
	{ "pages_self", "processes", pages_self, 1, VMI_STOP_NONE, "" },
};

/* -------------------------------------------------------- runs */

struct result {
	size_t rows;
	uint64_t steps, reads;
	enum vmi_stop stop;
	char where[64];
};

static const struct vmi_table *find(const char *name)
{
	size_t i = 0;

	while (vmi_tables[i] && strcmp(vmi_tables[i]->name, name))
		i++;
	if (!vmi_tables[i]) {
		fprintf(stderr, "crafted: no table %s\n", name);
		exit(1);
	}
	return vmi_tables[i];
}

static void run(const struct vmi_table *t, bool first, struct result *out)
{
	struct vmi_want want = { .value = { .kind = VMI_V_INT, .i = 1 } };
	struct vmi_run how = { .budget = &budget, .columns = ~0ull };
	struct vmi_error err;
	struct vmi_rows *r;

	if (first) {
		while (strcmp(t->columns[want.column].name, "pid"))
			want.column++;
		how.wants = &want;
		how.n_wants = 1;
	}
	if (vmi_rows_open(&r, c.g, t)) {
		fprintf(stderr, "crafted: no memory\n");
		exit(1);
	}
	c.reads = 0;
	if (vmi_rows_run(r, &how, &err))
		printf("# %s: %s\n", t->name, err.text);
	out->rows = vmi_rows_count(r);
	out->steps = vmi_rows_walked(r)->steps;
	out->reads = c.reads;
	out->stop = vmi_rows_walked(r)->stop;
	strcpy(out->where, vmi_rows_walked(r)->where);
	vmi_rows_close(r);
}

/* A cycle is gone round a few times until it is noticed, never more. */
static bool bounded(const struct result *is, const struct result *was)
{
	if (is->stop != VMI_STOP_CYCLE)
		return is->steps <= STEPS && is->reads <= 8ull * STEPS;
	return is->rows <= 4 * was->rows + 64 && is->steps <= 4 * was->steps + 40000 &&
	       is->reads <= 8 * is->steps;
}

static bool run_case(size_t i)
{
	const struct vmi_table *t = find(cases[i].table);
	struct result was, is;
	bool good;

	vmi_walk_start(&c.walk, c.g, NULL);
	c.n = 0;
	c.missing = false;
	map_window();
	run(t, cases[i].first, &was);
	cases[i].craft();
	if (c.missing) {
		printf("%s: none\n", cases[i].name);
		return true;
	}
	run(t, cases[i].first, &is);
	good = is.stop == cases[i].stop && bounded(&is, &was) && was.stop == VMI_STOP_NONE &&
	       (!cases[i].where || !strcmp(is.where, cases[i].where));
	printf("%s: %s, \"%s\" at \"%s\", rows %zu (%zu) steps %" PRIu64 " (%" PRIu64
	       ") reads %" PRIu64 " (%" PRIu64 ")\n",
	       cases[i].name, good ? "ok" : "not ok", vmi_stop_key(is.stop), is.where, is.rows,
	       was.rows, is.steps, was.steps, is.reads, was.reads);
	return good;
}

static struct vmi_mem *open_memory(void)
{
	size_t n;
	const struct vmi_region *v = vmi_mem_regions(c.mem, &n);
	struct vmi_region *copy = calloc(n + 1, sizeof(*copy));
	struct vmi_mem *m;

	for (size_t i = 0; copy && i <= n; i++)
		copy[i] = (struct vmi_region){ .gpa = i < n ? v[i].gpa : WINDOW,
					       .bytes = i < n ? v[i].bytes : BYTES,
					       .backing = VMI_BACKING_CALL,
					       .fd = -1 };
	if (!copy || vmi_mem_open(&m, copy, n + 1, read_crafted, NULL)) {
		fprintf(stderr, "crafted: no memory\n");
		exit(1);
	}
	free(copy);
	return m;
}

int main(int argc, char **argv)
{
	struct vmi_find_options o = { .dump = argc > 1 ? argv[1] : NULL };
	struct vmi_guest *g;
	struct vmi_target *t;
	struct vmi_error err;
	struct vmi_mem *m;
	bool good = true;

	if (argc != 2) {
		fprintf(stderr, "usage: crafted DUMP\n");
		return 2;
	}
	if (vmi_target_find(&t, &o, &err) || vmi_target_open(t, &c.mem, &err)) {
		fprintf(stderr, "crafted: %s\n", err.text);
		return 1;
	}
	m = open_memory();
	if (vmi_guest_open(&g, t, m, &err) || g->level != VMI_LEVEL_TYPES) {
		fprintf(stderr, "crafted: the guest is not understood\n");
		return 1;
	}
	c.g = g;
	for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++)
		good &= run_case(i);
	vmi_guest_close(g);
	vmi_mem_close(m);
	vmi_mem_close(c.mem);
	vmi_target_free(t);
	return good ? 0 : 1;
}
