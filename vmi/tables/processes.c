/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The guest's processes, as osquery has them from /proc. */
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "cgroup.h"
#include "clock.h"
#include "path.h"
#include "task_info.h"

enum {
	COL_PID,
	COL_NAME,
	COL_PATH,
	COL_CMDLINE,
	COL_STATE,
	COL_CWD,
	COL_ROOT,
	COL_UID,
	COL_GID,
	COL_EUID,
	COL_EGID,
	COL_SUID,
	COL_SGID,
	COL_ON_DISK,
	COL_WIRED_SIZE,
	COL_RESIDENT_SIZE,
	COL_TOTAL_SIZE,
	COL_USER_TIME,
	COL_SYSTEM_TIME,
	COL_DISK_BYTES_READ,
	COL_DISK_BYTES_WRITTEN,
	COL_START_TIME,
	COL_PARENT,
	COL_PGROUP,
	COL_THREADS,
	COL_NICE,
	COL_CGROUP_PATH,
	COL_SESSION,
	COL_START_TIME_NS,
	COL_KERNEL,
	COL_TASK,
	COL_MM,
	COL_PAGE_TABLE,
};

static const struct vmi_column columns[] = {
	[COL_PID] = { "pid", VMI_INTEGER, "process id, in the guest's first pid namespace", true },
	[COL_NAME] = { "name", VMI_TEXT, "its name, as in /proc/PID/comm" },
	[COL_PATH] = { "path", VMI_TEXT, "path of the executed file" },
	[COL_CMDLINE] = { "cmdline", VMI_TEXT,
			  "complete argv, separated by spaces; cut where the guest's memory is not "
			  "there (swapped out)" },
	[COL_STATE] = { "state", VMI_TEXT, "R, S, D, T, t, X, Z, P or I" },
	[COL_CWD] = { "cwd", VMI_TEXT, "current working directory" },
	[COL_ROOT] = { "root", VMI_TEXT, "root directory" },
	[COL_UID] = { "uid", VMI_INTEGER, "user id" },
	[COL_GID] = { "gid", VMI_INTEGER, "group id" },
	[COL_EUID] = { "euid", VMI_INTEGER, "effective user id" },
	[COL_EGID] = { "egid", VMI_INTEGER, "effective group id" },
	[COL_SUID] = { "suid", VMI_INTEGER, "saved user id" },
	[COL_SGID] = { "sgid", VMI_INTEGER, "saved group id" },
	[COL_ON_DISK] = { "on_disk", VMI_INTEGER,
			  "whether the executed file still has its name: yes 1, no 0, unknown -1" },
	[COL_WIRED_SIZE] = { "wired_size", VMI_INTEGER, "locked memory in bytes" },
	[COL_RESIDENT_SIZE] = { "resident_size", VMI_INTEGER, "resident memory in bytes" },
	[COL_TOTAL_SIZE] = { "total_size", VMI_INTEGER, "virtual memory in bytes" },
	[COL_USER_TIME] = { "user_time", VMI_INTEGER, "CPU time in user mode, ms" },
	[COL_SYSTEM_TIME] = { "system_time", VMI_INTEGER, "CPU time in the kernel, ms" },
	[COL_DISK_BYTES_READ] = { "disk_bytes_read", VMI_INTEGER, "bytes read from storage" },
	[COL_DISK_BYTES_WRITTEN] = { "disk_bytes_written", VMI_INTEGER,
				     "bytes written to storage" },
	[COL_START_TIME] = { "start_time", VMI_INTEGER, "seconds since the epoch" },
	[COL_PARENT] = { "parent", VMI_INTEGER, "process id of the parent" },
	[COL_PGROUP] = { "pgroup", VMI_INTEGER, "process group" },
	[COL_THREADS] = { "threads", VMI_INTEGER, "number of threads" },
	[COL_NICE] = { "nice", VMI_INTEGER, "nice level, -20 to 19" },
	[COL_CGROUP_PATH] = { "cgroup_path", VMI_TEXT, "control group, in the default hierarchy" },
	[COL_SESSION] = { "session", VMI_INTEGER, "session id", .hidden = true },
	[COL_START_TIME_NS] = { "start_time_ns", VMI_INTEGER, "ns since boot", .hidden = true },
	[COL_KERNEL] = { "kernel", VMI_INTEGER, "1: a kernel thread", .hidden = true },
	[COL_TASK] = { "task", VMI_TEXT, "address of its task_struct", .hidden = true },
	[COL_MM] = { "mm", VMI_TEXT, "address of its mm_struct", .hidden = true },
	[COL_PAGE_TABLE] = { "page_table", VMI_TEXT, "guest physical address: its CR3",
			     .hidden = true },
};

enum {
	F_FS,
	F_ROOT,
	F_PWD,
	F_NR_THREADS,
	F_RSS_STAT,
	F_RSS_OLD,
	F_COUNT,
	F_COUNTERS,
	F_EXE,
	F_LOCKED, /* from here on: of mm_struct, near each other */
	F_TOTAL,
	F_ARG_START,
	F_ARG_END,
	F_ENV_START,
	F_ENV_END,
	FIELDS,
};

static const char *const paths[FIELDS] = {
	[F_FS] = "task_struct.fs",	     [F_ROOT] = "fs_struct.root",
	[F_PWD] = "fs_struct.pwd",	     [F_NR_THREADS] = "signal_struct.nr_threads",
	[F_RSS_STAT] = "mm_struct.rss_stat", [F_RSS_OLD] = "mm_rss_stat.count", /* until 6.1 */
	[F_COUNT] = "percpu_counter.count",  [F_COUNTERS] = "percpu_counter.counters",
	[F_EXE] = "mm_struct.exe_file",	     [F_LOCKED] = "mm_struct.locked_vm",
	[F_TOTAL] = "mm_struct.total_vm",    [F_ARG_START] = "mm_struct.arg_start",
	[F_ARG_END] = "mm_struct.arg_end",   [F_ENV_START] = "mm_struct.env_start",
	[F_ENV_END] = "mm_struct.env_end",
};

#define GUEST_PAGE  4096
#define CMDLINE_MAX (256u << 10)
#define DELETED	    " (deleted)"

/* enum of include/linux/mm_types_task.h */
#define MM_FILEPAGES  0
#define MM_ANONPAGES  1
#define MM_SHMEMPAGES 3
#define MM_COUNTERS   4

struct scan {
	struct vmi_rows *r;
	struct vmi_walk *w;
	struct vmi_tasks tasks;
	const struct vmi_field *f;
	bool has_clock;
	struct vmi_clock clock;
	uint64_t *percpu; /* offset of each CPU's variables */
	uint64_t css_set; /* whose path is in `cgroup` */
	int cgroup_len;
	struct vmi_copy mm; /* of the row's process: F_LOCKED to F_ENV_END */
	bool has_mm;
	char path[VMI_PATH_MAX], cgroup[VMI_PATH_MAX];
	char cmdline[CMDLINE_MAX];
};

static bool wants(const struct scan *s, unsigned int first, unsigned int last)
{
	for (unsigned int c = first; c <= last; c++)
		if (vmi_wants(s->r, c))
			return true;
	return false;
}

/* --------------------------------------------------------------------------------------- memory */

/*
 * percpu_counter_sum(): pages of each kind. The four counters of a process are allocated together
 * (percpu_counter_init_many()), so that one read gets a CPU's part of all.
 */
static int64_t percpu_pages(struct scan *s, uint64_t mm)
{
	static const unsigned int kinds[] = { MM_FILEPAGES, MM_ANONPAGES, MM_SHMEMPAGES };
	const struct vmi_field *f = s->f;
	struct vmi_field counters = f[F_COUNTERS];
	int64_t sum[MM_COUNTERS] = { 0 }, all = 0;
	struct vmi_copy c;
	uint64_t base;

	if (f[F_RSS_STAT].count < MM_COUNTERS || !counters.present ||
	    vmi_copy(s->w, mm, &f[F_RSS_STAT], 1, &c))
		return -1;
	counters.offset += f[F_RSS_STAT].offset;
	base = vmi_copied(s->w, &c, &counters);
	for (unsigned int k = 0; k < MM_COUNTERS; k++) {
		struct vmi_field count = f[F_COUNT];

		count.offset += f[F_RSS_STAT].offset + k * f[F_RSS_STAT].elem_size;
		sum[k] = (int64_t)vmi_copied(s->w, &c, &count);
	}
	for (unsigned int cpu = 0; base && cpu < s->w->guest->cpus; cpu++) {
		int32_t part[MM_COUNTERS];

		if (vmi_read(s->w, base + s->percpu[cpu], part, sizeof(part)))
			return -1;
		for (unsigned int k = 0; k < MM_COUNTERS; k++)
			sum[k] += part[k];
	}
	for (unsigned int k = 0; k < 3; k++)
		all += sum[kinds[k]] > 0 ? sum[kinds[k]] : 0;
	return all;
}

static int64_t resident_pages(struct scan *s, uint64_t mm)
{
	static const unsigned int kinds[] = { MM_FILEPAGES, MM_ANONPAGES, MM_SHMEMPAGES };
	const struct vmi_field *f = s->f;
	int64_t all = 0, count[MM_COUNTERS];

	if (!f[F_RSS_STAT].present)
		return -1;
	if (!f[F_RSS_OLD].present)
		return percpu_pages(s, mm);
	if (vmi_read(s->w, mm + f[F_RSS_STAT].offset + f[F_RSS_OLD].offset, count, sizeof(count)))
		return -1;
	for (unsigned int k = 0; k < 3; k++)
		all += count[kinds[k]] > 0 ? count[kinds[k]] : 0;
	return all;
}

static void sizes(struct scan *s, const struct vmi_task *t)
{
	const struct vmi_field *f = s->f;

	if (!t->mm) {
		/* as in /proc/PID/stat: a kernel thread, or one that ended, has none */
		for (unsigned int c = COL_WIRED_SIZE; c <= COL_TOTAL_SIZE; c++)
			vmi_int(s->r, c, 0);
		return;
	}
	if (s->has_mm && f[F_LOCKED].present)
		vmi_int(s->r, COL_WIRED_SIZE,
			(int64_t)(vmi_copied(s->w, &s->mm, &f[F_LOCKED]) * GUEST_PAGE));
	if (s->has_mm && f[F_TOTAL].present)
		vmi_int(s->r, COL_TOTAL_SIZE,
			(int64_t)(vmi_copied(s->w, &s->mm, &f[F_TOTAL]) * GUEST_PAGE));
	if (vmi_wants(s->r, COL_RESIDENT_SIZE)) {
		int64_t pages = resident_pages(s, t->mm);

		if (pages >= 0)
			vmi_int(s->r, COL_RESIDENT_SIZE, pages * GUEST_PAGE);
	}
}

/*
 * fs/proc/base.c: get_mm_cmdline(). A process that wrote over the last NUL has set its title, which
 * may go on where the environment was.
 */
static size_t read_cmdline(struct scan *s, const struct vmi_task *t)
{
	const struct vmi_field *f = s->f;
	uint64_t start = vmi_copied(s->w, &s->mm, &f[F_ARG_START]);
	uint64_t end = vmi_copied(s->w, &s->mm, &f[F_ARG_END]);
	uint64_t env_end = vmi_copied(s->w, &s->mm, &f[F_ENV_END]);
	size_t n;
	char last;

	if (!env_end || start >= end)
		return 0;
	if (!vmi_user_read(s->w, t->pgd, end - 1, &last, 1) || !last) {
		n = end - start > CMDLINE_MAX ? CMDLINE_MAX : (size_t)(end - start);
		return vmi_user_read(s->w, t->pgd, start, s->cmdline, n);
	}
	n = GUEST_PAGE;
	if (vmi_copied(s->w, &s->mm, &f[F_ENV_START]) != end || env_end < end)
		env_end = end;
	if (env_end - start < n)
		n = (size_t)(env_end - start);
	n = vmi_user_read(s->w, t->pgd, start, s->cmdline, n);
	return strnlen(s->cmdline, n);
}

static bool blank(char c)
{
	return c == ' ' || (c >= '\t' && c <= '\r');
}

/* As osquery: NULs become spaces, and those at the ends are cut off. */
static void cmdline(struct scan *s, const struct vmi_task *t)
{
	size_t from = 0, n;

	if (!t->mm) {
		vmi_str(s->r, COL_CMDLINE, "");
		return;
	}
	n = read_cmdline(s, t);
	if (!n && vmi_copied(s->w, &s->mm, &s->f[F_ARG_START]) <
			  vmi_copied(s->w, &s->mm, &s->f[F_ARG_END]))
		return; /* there is one, elsewhere than in memory */
	for (size_t i = 0; i < n; i++)
		if (!s->cmdline[i])
			s->cmdline[i] = ' ';
	while (n && blank(s->cmdline[n - 1]))
		n--;
	while (from < n && blank(s->cmdline[from]))
		from++;
	vmi_strn(s->r, COL_CMDLINE, s->cmdline + from, n - from);
}

/* ---------------------------------------------------------------------------------------- paths */

static void executable(struct scan *s, const struct vmi_task *t)
{
	uint64_t file = vmi_val(s->w, t->mm, &s->f[F_EXE]);
	size_t cut = sizeof(DELETED) - 1;
	bool deleted;
	int n;

	if (!file) {
		vmi_str(s->r, COL_PATH, "");
		vmi_int(s->r, COL_ON_DISK, -1);
		return;
	}
	n = vmi_file_path(s->w, file, 0, s->path, sizeof(s->path));
	if (n < 0)
		return;
	deleted = vmi_file_deleted(s->w, file) && (size_t)n > cut &&
		  !strcmp(s->path + n - cut, DELETED);
	vmi_strn(s->r, COL_PATH, s->path, deleted ? (size_t)n - cut : (size_t)n);
	vmi_int(s->r, COL_ON_DISK, deleted ? 0 : 1);
}

static void folder(struct scan *s, unsigned int column, uint64_t fs, const struct vmi_field *f)
{
	int n;

	if (!vmi_wants(s->r, column))
		return;
	if (!fs) { /* it ended */
		vmi_str(s->r, column, "");
		return;
	}
	n = f->present ? vmi_path(s->w, fs + f->offset, 0, s->path, sizeof(s->path)) : -1;
	if (n >= 0)
		vmi_strn(s->r, column, s->path, (size_t)n);
}

static void control_group(struct scan *s, const struct vmi_task *t)
{
	uint64_t set = vmi_task_css_set(s->w, t);

	if (!set)
		return;
	if (set != s->css_set) {
		s->css_set = set;
		s->cgroup_len = vmi_css_set_path(s->w, set, s->cgroup, sizeof(s->cgroup));
	}
	if (s->cgroup_len > 0)
		vmi_strn(s->r, COL_CGROUP_PATH, s->cgroup, (size_t)s->cgroup_len);
}

/* ------------------------------------------------------------------------------------------ ids */

static void ids(struct scan *s, const struct vmi_task *t)
{
	struct vmi_cred c;

	if (vmi_task_cred(s->w, t, &c))
		return;
	vmi_int(s->r, COL_UID, c.uid);
	vmi_int(s->r, COL_GID, c.gid);
	vmi_int(s->r, COL_EUID, c.euid);
	vmi_int(s->r, COL_EGID, c.egid);
	vmi_int(s->r, COL_SUID, c.suid);
	vmi_int(s->r, COL_SGID, c.sgid);
}

static void kin(struct scan *s, const struct vmi_task *t)
{
	uint64_t n;

	if (vmi_wants(s->r, COL_PARENT))
		vmi_int(s->r, COL_PARENT, vmi_task_parent(s->w, t));
	if (vmi_wants(s->r, COL_PGROUP))
		vmi_int(s->r, COL_PGROUP, vmi_task_group(s->w, t));
	if (vmi_wants(s->r, COL_SESSION))
		vmi_int(s->r, COL_SESSION, vmi_task_session(s->w, t));
	if (vmi_wants(s->r, COL_THREADS) && !vmi_get(s->w, t->signal, &s->f[F_NR_THREADS], &n))
		vmi_int(s->r, COL_THREADS, (int32_t)n);
}

static void times(struct scan *s, const struct vmi_task *t)
{
	struct vmi_task_times times;
	struct vmi_task_io io;

	if (wants(s, COL_USER_TIME, COL_SYSTEM_TIME)) {
		vmi_process_times(&s->tasks, t, &times);
		vmi_int(s->r, COL_USER_TIME, (int64_t)(times.user_ns / 1000000));
		vmi_int(s->r, COL_SYSTEM_TIME, (int64_t)(times.system_ns / 1000000));
	}
	if (wants(s, COL_DISK_BYTES_READ, COL_DISK_BYTES_WRITTEN) &&
	    !vmi_process_io(&s->tasks, t, &io)) {
		vmi_int(s->r, COL_DISK_BYTES_READ, (int64_t)io.read_bytes);
		vmi_int(s->r, COL_DISK_BYTES_WRITTEN,
			(int64_t)(io.write_bytes - io.cancelled_write_bytes));
	}
}

static void schedule(struct scan *s, const struct vmi_task *t)
{
	struct vmi_task_sched sched;

	vmi_task_sched(s->w, t, &sched);
	vmi_int(s->r, COL_NICE, sched.nice);
	vmi_int(s->r, COL_START_TIME_NS, (int64_t)sched.start_ns);
	/* As who reads /proc makes it of btime, in whole seconds. */
	if (s->has_clock)
		vmi_int(s->r, COL_START_TIME,
			s->clock.boot_ns / 1000000000 + (int64_t)(sched.start_ns / 1000000000));
}

/* ----------------------------------------------------------------------------------------- rows */

static void copy_mm(struct scan *s, const struct vmi_task *t)
{
	bool used = vmi_wants(s->r, COL_CMDLINE) || vmi_wants(s->r, COL_WIRED_SIZE) ||
		    vmi_wants(s->r, COL_TOTAL_SIZE);

	s->has_mm = used && t->mm &&
		    !vmi_copy(s->w, t->mm, &s->f[F_LOCKED], F_ENV_END + 1 - F_LOCKED, &s->mm);
}

static bool row(struct scan *s, const struct vmi_task *t)
{
	char name[VMI_TASK_NAME], state[2] = { 0 };
	struct vmi_rows *r = s->r;

	vmi_row(r);
	copy_mm(s, t);
	vmi_int(r, COL_PID, t->pid);
	if (vmi_wants(r, COL_NAME)) {
		vmi_task_name(s->w, t, name);
		vmi_str(r, COL_NAME, name);
	}
	if (wants(s, COL_PATH, COL_PATH) || vmi_wants(r, COL_ON_DISK))
		executable(s, t);
	if (vmi_wants(r, COL_CMDLINE))
		cmdline(s, t);
	if (vmi_wants(r, COL_STATE)) {
		state[0] = vmi_task_state(s->w, t);
		vmi_str(r, COL_STATE, state[0] ? state : NULL);
	}
	if (wants(s, COL_CWD, COL_ROOT)) {
		uint64_t fs = vmi_val(s->w, t->gva, &s->f[F_FS]);

		folder(s, COL_CWD, fs, &s->f[F_PWD]);
		folder(s, COL_ROOT, fs, &s->f[F_ROOT]);
	}
	if (wants(s, COL_UID, COL_SGID))
		ids(s, t);
	if (wants(s, COL_WIRED_SIZE, COL_TOTAL_SIZE))
		sizes(s, t);
	times(s, t);
	if (vmi_wants(r, COL_NICE) || vmi_wants(r, COL_START_TIME) ||
	    vmi_wants(r, COL_START_TIME_NS))
		schedule(s, t);
	kin(s, t);
	if (vmi_wants(r, COL_CGROUP_PATH))
		control_group(s, t);
	vmi_int(r, COL_KERNEL, !!(t->flags & VMI_PF_KTHREAD));
	vmi_hex(r, COL_TASK, t->gva);
	if (t->mm)
		vmi_hex(r, COL_MM, t->mm);
	if (t->pgd)
		vmi_hex(r, COL_PAGE_TABLE, t->pgd);
	return vmi_row_end(r);
}

static int scan(struct scan *s)
{
	unsigned int cpus = s->w->guest->cpus;
	struct vmi_task t;
	int err = vmi_tasks_start_wanted(&s->tasks, s->r, false, COL_PID);

	if (err)
		return err;
	s->f = vmi_layout(s->w->guest, paths, FIELDS);
	s->percpu = calloc(cpus ? cpus : 1, sizeof(*s->percpu));
	if (!s->f || !s->percpu)
		return -ENOMEM;
	for (unsigned int cpu = 0; cpu < cpus; cpu++)
		s->percpu[cpu] = vmi_per_cpu(s->w, 1, cpu) - 1;
	if (vmi_wants(s->r, COL_START_TIME)) {
		s->has_clock = !vmi_clock(s->w, &s->clock);
		vmi_witness_reset(s->w);
	}
	while (vmi_tasks_next(&s->tasks, &t))
		if (row(s, &t))
			break;
	return 0;
}

static int rows(struct vmi_rows *r)
{
	struct scan *s = malloc(sizeof(*s));
	int err;

	if (!s)
		return -ENOMEM;
	/* not the buffers: they are large, and written before they are read */
	memset(s, 0, offsetof(struct scan, path));
	s->r = r;
	s->w = vmi_rows_walk(r);
	err = scan(s);
	free(s->percpu);
	free(s);
	return err;
}

const struct vmi_table vmi_table_processes = {
	.name = "processes",
	.doc = "The guest's processes, kernel threads among them, in the order of its list of "
	       "tasks.",
	.origin = VMI_OSQUERY,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
