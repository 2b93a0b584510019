// SPDX-License-Identifier: GPL-2.0-or-later
#include "status.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include <jansson.h>

#include "holder.h"
#include "modes.h"
#include "pin.h"
#include "session.h"
#include "undo.h"

static json_t *names(const struct bit_name *n, uint32_t bits)
{
	json_t *a = json_array();

	for (; n->bit; n++) {
		if (bits & n->bit)
			json_array_append_new(a, json_string(n->name));
	}
	return a;
}

static json_t *vcpu_json(const struct iho_vcpu *v)
{
	return json_pack("{s:I, s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, "
			 "s:{s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I}}",
			 "vcpu", (json_int_t)v->index, "modes", names(direct_modes, v->modes),
			 "missing", names(direct_missing, v->missing), "engaged",
			 (json_int_t)v->engaged, "given", (json_int_t)v->given, "taken",
			 (json_int_t)v->taken, "recovered", (json_int_t)v->recovered, "host_timer",
			 (json_int_t)v->host_timer, "ipi_engaged", (json_int_t)v->ipi_engaged,
			 "ipi_kicked", (json_int_t)v->ipi_kicked, "drained", (json_int_t)v->drained,
			 "guest", "deadlines", (json_int_t)v->deadlines, "fired",
			 (json_int_t)v->fired, "spurious", (json_int_t)v->spurious, "idle_ns",
			 (json_int_t)v->idle_ns, "irq_ns", (json_int_t)v->irq_ns, "softirq_ns",
			 (json_int_t)v->softirq_ns, "updated_ns", (json_int_t)v->updated_ns,
			 "ipis_posted", (json_int_t)v->ipis_posted, "ipis_notified",
			 (json_int_t)v->ipis_notified, "ipis_asked", (json_int_t)v->ipis_asked);
}

static json_t *vm_json(const struct direct_vm *vm, const struct holder_state *s)
{
	json_t *j = json_pack("{s:i, s:s, s:s, s:o}", "pid", (int)vm->pid, "name", vm->name, "vmm",
			      vm->vmm, "modes", names(direct_modes, s ? s->modes : 0));
	json_t *vcpus;

	if (!s)
		return j;
	json_object_set_new(j, "holder", json_integer(s->pid));
	json_object_set_new(j, "since", json_integer(s->since_s));
	vcpus = json_array();
	for (uint32_t i = 0; i < s->nr_vcpus; i++)
		json_array_append_new(vcpus, vcpu_json(&s->vcpus[i]));
	json_object_set_new(j, "vcpus", vcpus);
	return j;
}

static void vm_text(const struct direct_vm *vm, const struct holder_state *s)
{
	char modes[64], missing[256], since[32] = "";
	time_t t = s ? (time_t)s->since_s : 0;
	struct tm tm;

	bits_text(direct_modes, s ? s->modes : 0, ",", 0, modes, sizeof(modes));
	if (s && localtime_r(&t, &tm))
		strftime(since, sizeof(since), "%F %T", &tm);
	printf("%-8d %-24s %-17s", (int)vm->pid, vm->name, modes[0] ? modes : "-");
	if (s)
		printf(" by process %d since %s", (int)s->pid, since);
	putchar('\n');
	if (!s || !(s->modes & (IHO_MODE_TIMER | IHO_MODE_IPI_RAW)))
		return;
	for (uint32_t i = 0; i < s->nr_vcpus; i++) {
		const struct iho_vcpu *v = &s->vcpus[i];

		bits_text(direct_missing, v->missing, "; ", 1, missing, sizeof(missing));
		bits_text(direct_modes, v->modes, ",", 0, modes, sizeof(modes));
		printf("  vCPU %-3u %s%s: deadlines %" PRIu64 ", interrupts %" PRIu64
		       ", early %" PRIu64 "; recovered %" PRIu64 ", left to KVM %" PRIu64
		       ", exits for the host's timer %" PRIu64 "; IPIs posted %" PRIu64 "\n",
		       v->index, v->missing ? "without exits not: " : "",
		       v->missing ? missing : modes, (uint64_t)v->deadlines, (uint64_t)v->fired,
		       (uint64_t)v->spurious, (uint64_t)v->recovered, (uint64_t)v->given,
		       (uint64_t)v->host_timer, (uint64_t)v->ipis_posted);
	}
}

/* ---- what is pinned ---- */

/* NULL: by us it is not. */
static json_t *pinned_vm(const json_t *undo, pid_t pid)
{
	json_t *vm = undo ? undo_find_vm(undo, pid, 0) : NULL;

	return vm && undo_vm_lives(vm) ? vm : NULL;
}

static void pinned_text(const json_t *vm)
{
	json_t *vcpus = pin_vcpus_json(vm), *v;
	size_t i;

	if (vm)
		printf("  pinned:");
	json_array_foreach (vcpus, i, v)
		printf("%s vCPU %lld on CPU %lld", i ? "," : "",
		       (long long)json_integer_value(json_object_get(v, "vcpu")),
		       (long long)json_integer_value(json_object_get(v, "cpu")));
	if (vm)
		putchar('\n');
	json_decref(vcpus);
}

/* Of VMs that have ended: the host is as it was made for them until somebody unpins them. */
static json_t *left_json(const json_t *undo)
{
	json_t *a = json_array(), *vm;
	size_t i;

	json_array_foreach (json_object_get(undo, "vms"), i, vm) {
		if (!undo_vm_lives(vm))
			json_array_append_new(a, json_pack("{s:O, s:O}", "pid",
							   json_object_get(vm, "pid"), "name",
							   json_object_get(vm, "name")));
	}
	return a;
}

static void left_text(const json_t *undo)
{
	json_t *left = left_json(undo), *vm;
	size_t i;

	json_array_foreach (left, i, vm) {
		long long pid = json_integer_value(json_object_get(vm, "pid"));

		printf("%-8lld %-24s has ended, and was pinned: iho-direct unpin %lld\n", pid,
		       json_string_value(json_object_get(vm, "name")), pid);
	}
	json_decref(left);
}

/* NULL, and the reason unless there is none: nobody may look, or the file is not ours. */
static json_t *read_undo(struct direct_error *err)
{
	json_t *undo;
	int dir, r = undo_open(false, &dir, &undo, err);

	if (r) {
		if (r == -ENOENT)
			err->text[0] = 0;
		return NULL;
	}
	json_incref(undo);
	undo_close(dir, undo);
	return undo;
}

static void host_text(int supported, const struct iho_info *info, const struct direct_error *why)
{
	char modes[64];

	bits_text(direct_modes, info->modes, ", ", 0, modes, sizeof(modes));
	if (supported)
		printf("this KVM has direct mode, version %u: %s\n", info->version, modes);
	else
		printf("%s\n", why->text);
}

int status_print(const char *which, bool json)
{
	static struct holder_state state;
	struct direct_error why = {}, err = {}, pins = {};
	struct direct_vm *vms = NULL, one;
	json_t *j = NULL, *list = NULL, *undo;
	struct iho_info info = {};
	int supported, n, r;

	if (which) {
		n = direct_find_vm(which, &one, &err);
		n = n ? n : 1;
	} else {
		n = direct_list_vms(&vms, &err);
	}
	if (n < 0) {
		say_error(json, err.text);
		return 1;
	}
	supported = !session_info(&info, &why);
	undo = read_undo(&pins);
	if (pins.text[0] && !json)
		fprintf(stderr, "iho-direct: %s\n", pins.text);
	if (json) {
		list = json_array();
		j = json_pack("{s:b, s:i, s:o, s:o}", "supported", supported, "version",
			      (int)info.version, "offered", names(direct_modes, info.modes), "vms",
			      list);
		if (!supported)
			json_object_set_new(j, "reason", json_string(why.text));
		if (pins.text[0])
			json_object_set_new(j, "pins_unknown", json_string(pins.text));
		else
			json_object_set_new(j, "pins_left", left_json(undo));
	} else {
		host_text(supported, &info, &why);
		if (n)
			printf("%-8s %-24s %s\n", "PID", "VM", "MODES");
	}
	for (int i = 0; i < n; i++) {
		const struct direct_vm *vm = which ? &one : &vms[i];
		const struct holder_state *s;

		r = holder_ask(vm->pid, &state, &err);
		s = r ? NULL : &state;
		/* Who may not ask sees that nothing is known, not that nothing is on. */
		if (r && r != -ENOENT && !json)
			fprintf(stderr, "iho-direct: %s\n", err.text);
		if (!json) {
			vm_text(vm, s);
			pinned_text(pinned_vm(undo, vm->pid));
			continue;
		}
		json_array_append_new(list, vm_json(vm, s));
		if (!pins.text[0])
			json_object_set_new(json_array_get(list, (size_t)i), "pinned",
					    pin_vcpus_json(pinned_vm(undo, vm->pid)));
		if (r && r != -ENOENT)
			json_object_set_new(json_array_get(list, (size_t)i), "unknown",
					    json_string(err.text));
	}
	if (json) {
		json_dumpf(j, stdout, JSON_ENSURE_ASCII);
		putchar('\n');
		json_decref(j);
	} else if (!which) {
		left_text(undo);
	}
	json_decref(undo);
	free(vms);
	return 0;
}
