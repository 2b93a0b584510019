/* SPDX-License-Identifier: GPL-2.0-or-later */
/* Who the guest's threads are, and what they may do (include/linux/cred.h). */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "task_info.h"

enum {
	COL_PID,
	COL_TID,
	COL_NAME,
	COL_UID,
	COL_GID,
	COL_EUID,
	COL_EGID,
	COL_SUID,
	COL_SGID,
	COL_FSUID,
	COL_FSGID,
	COL_GROUPS,
	COL_LOGINUID,
	COL_SESSIONID,
	COL_INHERITABLE,
	COL_PERMITTED,
	COL_EFFECTIVE,
	COL_BOUNDING,
	COL_AMBIENT,
	COL_CAPABILITIES,
	COL_SECUREBITS,
	COL_NO_NEW_PRIVS,
	COL_SECCOMP,
	COL_SECCOMP_FILTERS,
	COL_USER_NS,
	COL_SHARED,
	COL_CRED,
};

static const struct vmi_column columns[] = {
	[COL_PID] = { "pid", VMI_INTEGER, "process id", true },
	[COL_TID] = { "tid", VMI_INTEGER, "thread id: threads may differ" },
	[COL_NAME] = { "name", VMI_TEXT, "the thread's name" },
	[COL_UID] = { "uid", VMI_INTEGER, "user id" },
	[COL_GID] = { "gid", VMI_INTEGER, "group id" },
	[COL_EUID] = { "euid", VMI_INTEGER, "effective user id" },
	[COL_EGID] = { "egid", VMI_INTEGER, "effective group id" },
	[COL_SUID] = { "suid", VMI_INTEGER, "saved user id" },
	[COL_SGID] = { "sgid", VMI_INTEGER, "saved group id" },
	[COL_FSUID] = { "fsuid", VMI_INTEGER, "user id for files" },
	[COL_FSGID] = { "fsgid", VMI_INTEGER, "group id for files" },
	[COL_GROUPS] = { "groups", VMI_TEXT, "supplementary groups, separated by commas" },
	[COL_LOGINUID] = { "loginuid", VMI_INTEGER, "who logged in; NULL: nobody" },
	[COL_SESSIONID] = { "sessionid", VMI_INTEGER, "the login's audit session; NULL: none" },
	[COL_INHERITABLE] = { "inheritable", VMI_TEXT, "capabilities as in /proc/PID/status" },
	[COL_PERMITTED] = { "permitted", VMI_TEXT, "capabilities as in /proc/PID/status" },
	[COL_EFFECTIVE] = { "effective", VMI_TEXT, "capabilities as in /proc/PID/status" },
	[COL_BOUNDING] = { "bounding", VMI_TEXT, "capabilities as in /proc/PID/status" },
	[COL_AMBIENT] = { "ambient", VMI_TEXT, "capabilities as in /proc/PID/status" },
	[COL_CAPABILITIES] = { "capabilities", VMI_TEXT,
			       "the effective ones by name, separated by commas; all" },
	[COL_SECUREBITS] = { "securebits", VMI_TEXT, "SECBIT_* of prctl(2), hexadecimal" },
	[COL_NO_NEW_PRIVS] = { "no_new_privs", VMI_INTEGER, "1: execve() gives none" },
	[COL_SECCOMP] = { "seccomp", VMI_TEXT, "disabled, strict, filter" },
	[COL_SECCOMP_FILTERS] = { "seccomp_filters", VMI_INTEGER, "how many filters" },
	[COL_USER_NS] = { "user_namespace", VMI_TEXT, "inode of its user namespace" },
	[COL_SHARED] = { "shared_with", VMI_TEXT,
			 "init_cred or pid 1: of a process, that is a sign that somebody gave it "
			 "root's credentials within the kernel" },
	[COL_CRED] = { "cred", VMI_TEXT, "address of its struct cred" },
};

enum {
	ATOMIC_FLAGS,
	SECCOMP_MODE,
	SECCOMP_COUNT,
	LOGINUID,
	SESSIONID,
	NGROUPS,
	GID,
	USER_INUM,
	FIELDS,
};

static const char *const paths[FIELDS] = {
	[ATOMIC_FLAGS] = "task_struct.atomic_flags",
	[SECCOMP_MODE] = "task_struct.seccomp.mode",
	[SECCOMP_COUNT] = "task_struct.seccomp.filter_count",
	[LOGINUID] = "task_struct.loginuid",
	[SESSIONID] = "task_struct.sessionid",
	[NGROUPS] = "group_info.ngroups",
	[GID] = "group_info.gid",
	[USER_INUM] = "user_namespace.ns.inum",
};

/* include/uapi/linux/capability.h: their order is the kernel's interface. */
static const char *const capabilities[] = {
	"chown",
	"dac_override",
	"dac_read_search",
	"fowner",
	"fsetid",
	"kill",
	"setgid",
	"setuid",
	"setpcap",
	"linux_immutable",
	"net_bind_service",
	"net_broadcast",
	"net_admin",
	"net_raw",
	"ipc_lock",
	"ipc_owner",
	"sys_module",
	"sys_rawio",
	"sys_chroot",
	"sys_ptrace",
	"sys_pacct",
	"sys_admin",
	"sys_boot",
	"sys_nice",
	"sys_resource",
	"sys_time",
	"sys_tty_config",
	"mknod",
	"lease",
	"audit_write",
	"audit_control",
	"setfcap",
	"mac_override",
	"mac_admin",
	"syslog",
	"wake_alarm",
	"block_suspend",
	"audit_read",
	"perfmon",
	"bpf",
	"checkpoint_restore",
};

#define CAPABILITIES (sizeof(capabilities) / sizeof(capabilities[0]))

#define PFA_NO_NEW_PRIVS 1u /* bit 0 of task_struct.atomic_flags */
#define GROUPS_MAX	 65536u /* NGROUPS_MAX of include/uapi/linux/limits.h */
#define GROUPS_SHOWN	 1024u
#define UNSET		 UINT32_MAX

struct scan {
	struct vmi_rows *r;
	struct vmi_walk *w;
	const struct vmi_field *f;
	uint64_t all; /* every capability that this kernel knows */
	uint64_t init_cred, first; /* that of the kernel itself, that of pid 1 */
};

static void names(struct scan *s, uint64_t caps)
{
	char text[1024];
	size_t n = 0;

	if (s->all && (caps & s->all) == s->all) {
		vmi_str(s->r, COL_CAPABILITIES, "all");
		return;
	}
	text[0] = 0;
	for (unsigned int i = 0; i < 64; i++) {
		if (!(caps >> i & 1))
			continue;
		if (i < CAPABILITIES)
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%s", n ? "," : "",
					      capabilities[i]);
		else
			n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%u", n ? "," : "", i);
		if (n >= sizeof(text))
			n = sizeof(text) - 1;
	}
	vmi_strn(s->r, COL_CAPABILITIES, text, n);
}

static void groups(struct scan *s, uint64_t info)
{
	static const char more[] = ",...";
	uint32_t gid[GROUPS_SHOWN];
	char text[GROUPS_SHOWN * 11 + sizeof(more)];
	uint64_t count;
	size_t n = 0;
	uint32_t shown;

	if (!s->f[GID].present || vmi_get(s->w, info, &s->f[NGROUPS], &count) || count > GROUPS_MAX)
		return;
	shown = count > GROUPS_SHOWN ? GROUPS_SHOWN : (uint32_t)count;
	if (shown && vmi_read(s->w, info + s->f[GID].offset, gid, shown * sizeof(gid[0])))
		return;
	text[0] = 0;
	for (uint32_t i = 0; i < shown; i++)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s%u", i ? "," : "", gid[i]);
	if (count > shown)
		n += (size_t)snprintf(text + n, sizeof(text) - n, "%s", more);
	vmi_strn(s->r, COL_GROUPS, text, n);
}

static void cred_columns(struct scan *s, const struct vmi_task *t, const struct vmi_cred *c)
{
	struct vmi_rows *r = s->r;
	uint64_t inum;

	vmi_int(r, COL_UID, c->uid);
	vmi_int(r, COL_GID, c->gid);
	vmi_int(r, COL_EUID, c->euid);
	vmi_int(r, COL_EGID, c->egid);
	vmi_int(r, COL_SUID, c->suid);
	vmi_int(r, COL_SGID, c->sgid);
	vmi_int(r, COL_FSUID, c->fsuid);
	vmi_int(r, COL_FSGID, c->fsgid);
	vmi_strf(r, COL_INHERITABLE, "%016" PRIx64, c->inheritable);
	vmi_strf(r, COL_PERMITTED, "%016" PRIx64, c->permitted);
	vmi_strf(r, COL_EFFECTIVE, "%016" PRIx64, c->effective);
	vmi_strf(r, COL_BOUNDING, "%016" PRIx64, c->bounding);
	vmi_strf(r, COL_AMBIENT, "%016" PRIx64, c->ambient);
	vmi_strf(r, COL_SECUREBITS, "0x%x", c->securebits);
	vmi_hex(r, COL_CRED, c->gva);
	names(s, c->effective);
	if (vmi_wants(r, COL_GROUPS))
		groups(s, c->groups);
	if (c->user_ns && !vmi_get(s->w, c->user_ns, &s->f[USER_INUM], &inum))
		vmi_strf(r, COL_USER_NS, "%u", (unsigned int)inum);
	if (t->flags & VMI_PF_KTHREAD || t->tgid == 1)
		return;
	if (c->gva == s->init_cred)
		vmi_str(r, COL_SHARED, "init_cred");
	else if (c->gva == s->first)
		vmi_str(r, COL_SHARED, "pid 1");
}

static void task_columns(struct scan *s, const struct vmi_task *t)
{
	static const char *const modes[] = { "disabled", "strict", "filter" };
	uint64_t v;

	if (!vmi_get(s->w, t->gva, &s->f[LOGINUID], &v) && v != UNSET)
		vmi_int(s->r, COL_LOGINUID, (int64_t)v);
	if (!vmi_get(s->w, t->gva, &s->f[SESSIONID], &v) && v != UNSET)
		vmi_int(s->r, COL_SESSIONID, (int64_t)v);
	if (!vmi_get(s->w, t->gva, &s->f[ATOMIC_FLAGS], &v))
		vmi_int(s->r, COL_NO_NEW_PRIVS, v & PFA_NO_NEW_PRIVS);
	if (!vmi_get(s->w, t->gva, &s->f[SECCOMP_MODE], &v) && v < sizeof(modes) / sizeof(modes[0]))
		vmi_str(s->r, COL_SECCOMP, modes[v]);
	if (!vmi_get(s->w, t->gva, &s->f[SECCOMP_COUNT], &v))
		vmi_int(s->r, COL_SECCOMP_FILTERS, (int64_t)v);
}

static bool row(struct scan *s, const struct vmi_task *t)
{
	struct vmi_cred c;

	vmi_row(s->r);
	vmi_int(s->r, COL_PID, t->tgid);
	vmi_int(s->r, COL_TID, t->pid);
	if (vmi_wants(s->r, COL_NAME)) {
		char name[VMI_TASK_NAME];

		vmi_task_name(s->w, t, name);
		vmi_str(s->r, COL_NAME, name);
	}
	if (!vmi_task_cred(s->w, t, &c))
		cred_columns(s, t, &c);
	task_columns(s, t);
	return vmi_row_end(s->r);
}

/* The credentials of pid 1, of which no other process has the very same. */
static uint64_t first_cred(struct scan *s)
{
	struct vmi_tasks tasks;
	struct vmi_task t;
	struct vmi_cred c;

	if (vmi_tasks_start(&tasks, s->r, false, 1))
		return 0;
	while (vmi_tasks_next(&tasks, &t))
		if (t.pid == 1)
			return vmi_task_cred(s->w, &t, &c) ? 0 : c.gva;
	return 0;
}

static int rows(struct vmi_rows *r)
{
	struct scan s = { .r = r, .w = vmi_rows_walk(r) };
	uint64_t last = vmi_sym(s.w->guest, "cap_last_cap"), v;
	struct vmi_tasks tasks;
	struct vmi_task t;
	int err;

	s.f = vmi_layout(s.w->guest, paths, FIELDS);
	if (!s.f)
		return -ENOMEM;
	if (last && !vmi_uint(s.w, last, 4, &v) && v < 63)
		s.all = (1ull << (v + 1)) - 1;
	s.init_cred = vmi_sym(s.w->guest, "init_cred");
	s.first = first_cred(&s);
	vmi_witness_reset(s.w);
	err = vmi_tasks_start_wanted(&tasks, r, true, COL_PID);
	while (!err && vmi_tasks_next(&tasks, &t))
		if (row(&s, &t))
			break;
	return err;
}

const struct vmi_table vmi_table_credentials = {
	.name = "credentials",
	.doc = "Identities, capabilities and restrictions of all threads of the guest.",
	.origin = VMI_OURS,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};
