// SPDX-License-Identifier: GPL-2.0-or-later
#include "doctor.h"

#include <ctype.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <jansson.h>

#include "threads.h"
#include "vmname.h"

#define MAX_IRQS 65536

/* As bad as they are. */
enum state { OK, UNKNOWN, ATTENTION, MISSING };

static const char *const state_names[] = { "ok", "unknown", "attention", "missing" };

struct doctor {
	const char *root;
	bool json;
	json_t *list;
	enum state worst;
};

/* ---- what there is to read ---- */

/* The file's start without its last newline; false: it cannot be read. */
static bool read_text(const struct doctor *d, const char *path, char *buf, size_t len)
{
	char full[512];
	ssize_t n = -1;
	int fd;

	snprintf(full, sizeof(full), "%s%s", d->root, path);
	fd = open(full, O_RDONLY | O_CLOEXEC);
	if (fd >= 0) {
		n = read(fd, buf, len - 1);
		close(fd);
	}
	buf[n > 0 ? n : 0] = 0;
	buf[strcspn(buf, "\n")] = 0;
	return n >= 0;
}

static bool exists(const struct doctor *d, const char *path)
{
	char full[512];

	snprintf(full, sizeof(full), "%s%s", d->root, path);
	return !access(full, F_OK);
}

/* Is `word`, or "word=...", among words? Its value goes to `value`. */
static bool has_word(const char *text, const char *word, char *value, size_t len)
{
	size_t n = strlen(word);

	value[0] = 0;
	while (*text) {
		size_t w = strcspn(text, " ");

		if (w >= n && !strncmp(text, word, n) && (w == n || text[n] == '=')) {
			if (w > n)
				snprintf(value, len, "%.*s", (int)(w - n - 1), text + n + 1);
			return true;
		}
		text += w;
		text += strspn(text, " ");
	}
	return false;
}

/* ---- what is told ---- */

static void tell(struct doctor *d, const char *check, const char *needs, enum state s,
		 const char *found, const char *todo)
{
	char clean[256];

	iho_clean_text(clean, sizeof(clean), found);
	if (s > d->worst)
		d->worst = s;
	if (d->json) {
		json_array_append_new(d->list,
				      json_pack("{s:s, s:s, s:s, s:s, s:s}", "check", check,
						"needed_by", needs, "state", state_names[s],
						"found", clean, "do", s == OK ? "" : todo));
		return;
	}
	printf("%-10s%-18s %s\n", state_names[s], check, clean);
	if (s != OK)
		printf("%-10s%-18s   %s: %s\n", "", "", needs, todo);
}

/* ---- the host ---- */

static void check_kvm(struct doctor *d)
{
	char v[16];
	bool intel;

	tell(d, "kvm", "all", exists(d, "/dev/iho") ? OK : MISSING,
	     exists(d, "/dev/iho") ? "the patched one" : "a KVM without /dev/iho",
	     "load the modules of kvm-patches in place of the distribution's");
	intel = read_text(d, "/sys/module/kvm_intel/parameters/enable_apicv", v, sizeof(v));
	tell(d, "apicv", "timer", intel && *v == 'Y' ? OK : MISSING,
	     intel ? v : "kvm_intel is not loaded",
	     intel ? "modprobe kvm_intel enable_apicv=1, where the processor has it"
		   : "only Intel's processors can");
	if (!intel)
		return;
	if (read_text(d, "/sys/module/kvm_intel/parameters/preemption_timer", v, sizeof(v)))
		tell(d, "preemption timer", "timer", *v == 'Y' ? OK : MISSING, v,
		     "modprobe kvm_intel preemption_timer=1: it keeps the host's own deadlines");
	if (read_text(d, "/sys/module/kvm_intel/parameters/enable_ipiv", v, sizeof(v)))
		tell(d, "ipi virtualization", "timer", *v == 'N' ? OK : MISSING, v,
		     "modprobe kvm_intel enable_ipiv=0: the processor would believe the guest's "
		     "page");
}

static void check_processor(struct doctor *d)
{
	static const struct {
		const char *flag, *check, *todo;
		enum state without;
	} wanted[] = {
		{ "tsc_deadline_timer", "tsc deadline",
		  "the host's timer has to be one; see tsc= and lapic=", MISSING },
		{ "constant_tsc", "constant tsc", "deadlines would be early or late", MISSING },
		{ "x2apic", "x2apic", "a swap of the timer writes memory then, and waits for it",
		  ATTENTION },
	};
	char path[512], line[8192], v[8];
	bool found = false;
	FILE *f;

	snprintf(path, sizeof(path), "%s/proc/cpuinfo", d->root);
	f = fopen(path, "re");
	while (f && !found && fgets(line, sizeof(line), f))
		found = !strncmp(line, "flags", 5);
	if (f)
		fclose(f);
	if (!found) {
		tell(d, "processor", "timer", UNKNOWN, "/proc/cpuinfo has no flags", "look at it");
		return;
	}
	line[strcspn(line, "\n")] = 0;
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		bool has = has_word(line, wanted[i].flag, v, sizeof(v));

		tell(d, wanted[i].check, "timer", has ? OK : wanted[i].without,
		     has ? "there" : "not there", wanted[i].todo);
	}
}

static void check_cmdline(struct doctor *d)
{
	static const struct {
		const char *word, *todo;
	} wanted[] = {
		{ "nohz_full", "nohz_full=1-N: no tick of the host's on the tenant's CPUs" },
		{ "isolcpus", "isolcpus=managed_irq,domain,1-N: no other task there" },
		{ "rcu_nocbs", "rcu_nocbs=1-N: RCU's callbacks run elsewhere" },
		{ "irqaffinity", "irqaffinity=0: interrupts start on CPU 0" },
	};
	char line[4096], value[128];

	if (!read_text(d, "/proc/cmdline", line, sizeof(line))) {
		tell(d, "command line", "all", UNKNOWN, "/proc/cmdline cannot be read",
		     "look at it");
		return;
	}
	for (size_t i = 0; i < sizeof(wanted) / sizeof(wanted[0]); i++) {
		bool has = has_word(line, wanted[i].word, value, sizeof(value));

		tell(d, wanted[i].word, "all", has ? OK : ATTENTION, has ? value : "not given",
		     wanted[i].todo);
	}
}

static void check_noise(struct doctor *d)
{
	char v[64];

	if (read_text(d, "/proc/sys/kernel/nmi_watchdog", v, sizeof(v)))
		tell(d, "nmi watchdog", "all", *v == '0' ? OK : ATTENTION, v,
		     "sysctl kernel.nmi_watchdog=0: its NMIs are exits");
	if (read_text(d, "/sys/devices/system/cpu/smt/active", v, sizeof(v)))
		tell(d, "smt", "all", *v == '0' ? OK : ATTENTION, *v == '0' ? "off" : "on",
		     "a core's threads share it: give the tenant both, or echo off "
		     ">.../smt/control");
	if (read_text(d, "/sys/devices/virtual/workqueue/cpumask", v, sizeof(v)))
		tell(d, "workqueues", "all", strtoul(v, NULL, 16) == 1 ? OK : ATTENTION, v,
		     "iho-direct pin, or echo 1 >/sys/devices/virtual/workqueue/cpumask: unbound "
		     "ones on CPU 0");
	if (read_text(d, "/sys/devices/system/cpu/cpuidle/current_driver", v, sizeof(v)))
		tell(d, "host idle driver", "hlt", OK, v, "");
}

/* CPU 0 alone is the host's. */
static void check_irqs(struct doctor *d)
{
	unsigned int all = 0, elsewhere = 0;
	char path[600], cpus[64];
	struct dirent *e;
	DIR *dir;

	snprintf(path, sizeof(path), "%s/proc/irq", d->root);
	dir = opendir(path);
	while (dir && all < MAX_IRQS && (e = readdir(dir))) {
		if (!isdigit((unsigned char)e->d_name[0]))
			continue;
		snprintf(path, sizeof(path), "/proc/irq/%.16s/effective_affinity_list", e->d_name);
		if (!read_text(d, path, cpus, sizeof(cpus)) || !cpus[0])
			continue;
		all++;
		elsewhere += strcmp(cpus, "0") != 0;
	}
	if (dir)
		closedir(dir);
	snprintf(path, sizeof(path), "%u of %u not on CPU 0", elsewhere, all);
	tell(d, "interrupts", "all",
	     !all	 ? UNKNOWN
	     : elsewhere ? ATTENTION
			 : OK,
	     path,
	     "iho-direct pin, or echo 0 >/proc/irq/N/smp_affinity_list for each that may move");
}

/* ---- the VM ---- */

static void check_vcpus(struct doctor *d, const struct direct_vm *vm)
{
	unsigned int vcpus = 0, loose = 0, on0 = 0;
	struct vcpu_thread *threads;
	struct direct_error err = {};
	char path[600], cpus[64];
	int n;

	n = vcpu_threads(vm->pid, &threads, &err);
	if (n < 0) {
		tell(d, "pinning", "timer", UNKNOWN, err.text, "look at it");
		return;
	}
	for (int i = 0; i < n; i++) {
		int r = iho_affinity("/proc", vm->pid, threads[i].tid, cpus, sizeof(cpus));

		if (r < 0)
			continue;
		vcpus++;
		loose += r != 1;
		on0 += cpus[0] == '0';
	}
	free(threads);
	snprintf(path, sizeof(path), "%u of %u vCPU threads are not pinned, %u may run on CPU 0",
		 loose, vcpus, on0);
	tell(d, "pinning", "timer",
	     !vcpus	    ? UNKNOWN
	     : loose || on0 ? MISSING
			    : OK,
	     path, "iho-direct pin: each to a CPU of its own but CPU 0; with libvirt <vcpupin>");
}

int doctor_print(const char *root, const struct direct_vm *vm, bool json)
{
	struct doctor d = { .root = root, .json = json, .list = json ? json_array() : NULL };
	json_t *j;

	check_kvm(&d);
	check_processor(&d);
	check_cmdline(&d);
	check_noise(&d);
	check_irqs(&d);
	if (vm)
		check_vcpus(&d, vm);
	if (json) {
		j = json_pack("{s:s, s:o}", "state", state_names[d.worst], "checks", d.list);
		json_dumpf(j, stdout, JSON_ENSURE_ASCII);
		putchar('\n');
		json_decref(j);
	}
	return d.worst == MISSING;
}
