/* SPDX-License-Identifier: GPL-2.0-or-later */
/* integrity: who hides, and who has rights that were not given. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "hidden_modules.h"
#include "hidden_processes.h"
#include "integrity.h"

static bool module(void *arg, const struct vmi_hidden *h)
{
	struct vmi_integrity *v = arg;
	char missing[64], views[64], subject[64], name[256];

	if (h->module) {
		vmi_module_views(h->missing, missing, sizeof(missing));
		vmi_module_views(h->views, views, sizeof(views));
		return vmi_bad(v, h->mod.name, "is loaded at 0x%016llx: seen in %s, not in %s",
			       (unsigned long long)h->mod.text, views, missing);
	}
	snprintf(subject, sizeof(subject), "0x%016llx", (unsigned long long)h->mod.text);
	return vmi_bad(v, subject, "%llu bytes of code belong to nothing known%s%s",
		       (unsigned long long)h->mod.size, h->caller ? "; mapped by " : "",
		       h->caller ? vmi_integrity_name(v, h->caller, name, sizeof(name)) : "");
}

int vmi_check_modules(struct vmi_integrity *v)
{
	unsigned int views = 0;
	char text[64];
	size_t n;
	int err = vmi_hidden_modules(v->w, v->c, &views, module, v);

	if (err == -ENOENT) {
		vmi_fine(v, "", "this kernel has no modules");
		return 0;
	}
	vmi_code_modules(v->c, &n);
	vmi_module_views(views, text, sizeof(text));
	if (!err && !v->bad && !v->w->stop)
		vmi_fine(v, "", "%zu modules are in each of %s, and no code is without an owner", n,
			 text);
	return err;
}

static bool task(void *arg, const struct vmi_hidden_task *h)
{
	struct vmi_integrity *v = arg;
	char missing[64], views[64], subject[64];

	vmi_task_views(h->missing, missing, sizeof(missing));
	vmi_task_views(h->views, views, sizeof(views));
	snprintf(subject, sizeof(subject), "pid %d %s", h->task.pid, h->task.comm);
	return vmi_bad(v, subject, "seen in %s, not in %s", views, missing);
}

int vmi_check_tasks(struct vmi_integrity *v)
{
	unsigned int views = 0;
	char text[64];
	int err = vmi_hidden_tasks(v->r, &views, task, v);

	vmi_task_views(views, text, sizeof(text));
	if (!err && !v->bad && !v->w->stop)
		vmi_fine(v, "", "tasks are the same in each of %s", text);
	return err;
}

/*
 * Each process has credentials of its own: fork makes a copy, only threads share (copy_creds() in
 * kernel/cred.c). Two processes with the same ones, or a process of user space with those of the
 * first kernel thread, had them set by somebody who writes to task_struct.
 */
struct holder {
	uint64_t cred;
	int32_t pid, tgid;
	bool user;
	char comm[17];
};

static int by_cred(const void *a, const void *b)
{
	const struct holder *x = a, *y = b;

	if (x->cred != y->cred)
		return x->cred < y->cred ? -1 : 1;
	return x->pid - y->pid;
}

static int load_holders(struct vmi_integrity *v, struct holder **out, size_t *n)
{
	struct vmi_field cred;
	struct vmi_tasks tasks;
	struct vmi_task t;
	size_t room = 0;
	int err;

	*out = NULL;
	*n = 0;
	if (vmi_field(v->g, "task_struct.real_cred", &cred))
		return -ENOENT;
	err = vmi_tasks_start(&tasks, v->r, true, -1);
	while (!err && vmi_tasks_next(&tasks, &t)) {
		if (*n == room) {
			size_t more = room ? room * 2 : 1024;
			struct holder *h = reallocarray(*out, more, sizeof(*h));

			if (!h)
				return -ENOMEM;
			*out = h;
			room = more;
		}
		(*out)[*n] = (struct holder){ .cred = vmi_val(v->w, t.gva, &cred),
					      .pid = t.pid,
					      .tgid = t.tgid,
					      .user = t.mm != 0 };
		memcpy((*out)[*n].comm, t.comm, sizeof(t.comm));
		if ((*out)[*n].cred)
			(*n)++;
		vmi_witness_reset(v->w);
	}
	return err;
}

int vmi_check_credentials(struct vmi_integrity *v)
{
	uint64_t init = vmi_sym(v->g, "init_cred");
	struct holder *h;
	char subject[64];
	size_t n;
	int err = load_holders(v, &h, &n);

	if (err == -ENOENT) {
		vmi_unknown(v, "", "this kernel's task_struct is not understood");
		return 0;
	}
	if (!err && n)
		qsort(h, n, sizeof(*h), by_cred);
	for (size_t i = 0; i < n && !err; i++) {
		snprintf(subject, sizeof(subject), "pid %d %s", h[i].pid, h[i].comm);
		if (h[i].user && h[i].cred == init) {
			if (vmi_bad(v, subject,
				    "a process of user space has the credentials of the "
				    "kernel's first thread"))
				break;
		} else if (i && h[i].user && h[i - 1].user && h[i - 1].cred == h[i].cred &&
			   h[i - 1].tgid != h[i].tgid) {
			if (vmi_bad(v, subject,
				    "has the credentials of pid %d %s, which are not its own",
				    h[i - 1].pid, h[i - 1].comm))
				break;
		}
	}
	if (!err && !v->bad)
		vmi_fine(v, "", "%zu tasks have credentials of their own", n);
	free(h);
	return err;
}
