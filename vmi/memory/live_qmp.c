// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What QEMU's monitor tells: where RAM lies, and of TCG guests the registers.
 *
 * Only questions that leave the vCPUs alone. "info mtree" and "gpa2hva" look at QEMU's own tables.
 * "info registers" makes QEMU fetch a KVM vCPU's state, which takes that vCPU out of its guest: it
 * is asked of TCG only. Nothing is ever stopped.
 */
#include <ctype.h>
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "live.h"
#include "qmp.h"

#define ASK_MS	  2000 /* a whole conversation */
#define TEXT_MAX  (8u << 20)
#define FLATS_MAX 256

/* QEMU notices some milliseconds later that a client is gone, and that may have been us. */
#define BUSY_TRIES 30
#define BUSY_NS	   10000000

static int human(struct iho_qmp *q, const char *command, json_t **out)
{
	int err = iho_qmp_execute(q, "human-monitor-command",
				  json_pack("{s:s}", "command-line", command), out);

	if (!err && !json_is_string(*out)) {
		json_decref(*out);
		return -EPROTO;
	}
	return err;
}

static int open_monitor(const struct vmi_live *l, struct iho_qmp **q, char how[160])
{
	int err = 0;

	*q = NULL;
	if (!l->qmp) {
		snprintf(how, 160, "%s",
			 !strcmp(l->vmm, "libvirt")
				 ? "QEMU's monitor is libvirt's"
				 : "QEMU has no monitor that can be asked (-qmp unix:...)");
		return -ENOTSUP;
	}
	for (int i = 0; i < BUSY_TRIES; i++) {
		err = iho_qmp_connect(q, "/proc", l->qmp_root, l->qmp, ASK_MS);
		if (err != -EBUSY && err != -EAGAIN)
			break;
		nanosleep(&(struct timespec){ .tv_nsec = BUSY_NS }, NULL);
	}
	if (!err && iho_qmp_peer(*q) != l->pid) {
		iho_qmp_close(*q);
		*q = NULL;
		err = -EPERM;
	}
	if (err == -EBUSY || err == -EAGAIN)
		snprintf(how, 160, "QEMU's monitor serves another client");
	else if (err == -EPERM)
		snprintf(how, 160, "the monitor is that of another process");
	else if (err)
		snprintf(how, 160, "QEMU's monitor does not answer: %s", strerror(-err));
	else
		iho_qmp_limit(*q, TEXT_MAX);
	return err;
}

/* ------------------------------------------------------------------------------------------ layout
 */

/*
 * A line of a flat view, "  0000000000000000-000000000009ffff (prio 0, ram): pc.ram @off KVM".
 * PCI devices map their own memory (VGA) with priority 1 (QEMU: hw/pci/pci.c); the machine has 0.
 */
static bool parse_flat(const char *line, size_t len, struct vmi_flat *out, bool *rom)
{
	char text[256], kind[16], *at;
	uint64_t first, last;
	int prio, name = 0;

	if (len >= sizeof(text))
		return false;
	memcpy(text, line, len);
	text[len] = '\0';
	if (sscanf(text, " %16" SCNx64 "-%16" SCNx64 " (prio %d, %15[^)]): %n", &first, &last,
		   &prio, kind, &name) != 4 ||
	    !name || prio || last < first || last - first >= 1ULL << 52)
		return false;
	*rom = !strcmp(kind, "rom");
	if (!*rom && strcmp(kind, "ram"))
		return false;
	*out = (struct vmi_flat){ .gpa = first, .bytes = last - first + 1 };
	at = strstr(text + name, " @");
	if (at) {
		if (sscanf(at + 2, "%16" SCNx64, &out->offset) != 1)
			return false;
		*at = '\0';
	}
	at = text + name + strlen(text + name);
	if (at - (text + name) > 4 && !strcmp(at - 4, " KVM"))
		at[-4] = '\0';
	snprintf(out->block, sizeof(out->block), "%.63s", text + name);
	return true;
}

/* Does the block hold RAM at the bottom, or anywhere? Then its read-only parts are shadowed RAM. */
static bool is_ram_block(const struct vmi_flat *v, const bool *rom, size_t n, const char *block)
{
	for (size_t i = 0; i < n; i++) {
		if (!rom[i] && !strcmp(v[i].block, block))
			return true;
	}
	return false;
}

int vmi_mtree_parse(const char *text, struct vmi_flat *out, size_t max)
{
	bool rom[FLATS_MAX], in_memory = false;
	size_t n = 0, kept = 0;

	if (max > FLATS_MAX)
		max = FLATS_MAX;
	for (const char *line = text; *line;) {
		size_t len = strcspn(line, "\r\n");

		if (!strncmp(line, "FlatView #", 10)) {
			if (n)
				break;
			in_memory = false;
		} else if (!strncmp(line, " AS \"memory\",", 13)) {
			in_memory = true;
		} else if (in_memory) {
			if (n == max)
				return -E2BIG;
			n += parse_flat(line, len, &out[n], &rom[n]);
		}
		line += len;
		line += strspn(line, "\r\n");
	}
	for (size_t i = 0; i < n; i++) {
		if (rom[i] && !is_ram_block(out, rom, n, out[i].block))
			continue;
		rom[kept] = rom[i];
		out[kept++] = out[i];
	}
	return kept ? (int)kept : -EPROTO;
}

bool vmi_gpa2hva_parse(const char *text, uint64_t *hva)
{
	const char *at = strstr(text, ") is 0x");

	return !strncmp(text, "Host virtual address for 0x", 27) && at &&
	       sscanf(at + 7, "%16" SCNx64, hva) == 1;
}

static int ask_hva(struct iho_qmp *q, uint64_t gpa, uint64_t *hva)
{
	char command[64];
	json_t *answer;
	int err;

	snprintf(command, sizeof(command), "gpa2hva 0x%" PRIx64, gpa);
	err = human(q, command, &answer);
	if (err)
		return err;
	if (!vmi_gpa2hva_parse(json_string_value(answer), hva))
		err = -EPROTO;
	json_decref(answer);
	return err;
}

/* A block is one mapping, so one question for each is enough. */
static int ask_slots(struct iho_qmp *q, const struct vmi_flat *v, size_t n, struct vmi_slots *out)
{
	for (size_t i = 0; i < n; i++) {
		struct vmi_slot s = { .gpa = v[i].gpa, .bytes = v[i].bytes };
		size_t first = 0;
		int err = 0;

		while (strcmp(v[first].block, v[i].block))
			first++;
		if (first == i)
			err = ask_hva(q, v[i].gpa, &s.hva);
		else
			s.hva = out->v[first].hva - v[first].offset + v[i].offset;
		if (!err)
			err = vmi_slots_add(out, &s);
		if (err)
			return err;
	}
	return 0;
}

int vmi_qmp_slots(const struct vmi_live *l, struct vmi_slots *out, char how[160])
{
	struct vmi_flat *flat;
	struct iho_qmp *q;
	json_t *text;
	int n, err = open_monitor(l, &q, how);

	if (err)
		return err;
	flat = calloc(FLATS_MAX, sizeof(*flat));
	err = flat ? human(q, "info mtree -f", &text) : -ENOMEM;
	if (!err) {
		n = vmi_mtree_parse(json_string_value(text), flat, FLATS_MAX);
		err = n < 0 ? n : ask_slots(q, flat, (size_t)n, out);
		json_decref(text);
	}
	free(flat);
	iho_qmp_close(q);
	if (err)
		snprintf(how, 160, "QEMU's monitor does not tell: %s", strerror(-err));
	else
		snprintf(how, 160, "QMP (info mtree, gpa2hva)");
	return err;
}

/* --------------------------------------------------------------------------------------- registers
 */

/* The names in QEMU's x86_cpu_dump_state(), in the order of the encoding. */
static const char *const gprs[16] = { "AX", "CX", "DX",	 "BX",	"SP",  "BP",  "SI",  "DI",
				      "R8", "R9", "R10", "R11", "R12", "R13", "R14", "R15" };

/* "NAME=hex" or "NAME =hex" at the start of `s`. */
static bool named(const char *s, const char *name, const char **value)
{
	size_t len = strlen(name);

	if (strncmp(s, name, len))
		return false;
	s += len;
	while (*s == ' ')
		s++;
	if (*s != '=')
		return false;
	*value = s + 1;
	return true;
}

static bool take_gpr(struct vmi_vcpu *v, const char *s)
{
	const char *value;

	/* RAX in 64-bit code, EAX in other */
	if ((*s == 'R' || *s == 'E') && !isdigit((unsigned char)s[1])) {
		for (size_t i = 0; i < 8; i++) {
			if (named(s + 1, gprs[i], &value))
				return sscanf(value, "%16" SCNx64, &v->gpr[i]) == 1;
		}
		if (named(s + 1, "IP", &value))
			return sscanf(value, "%16" SCNx64, &v->rip) == 1;
		if (named(s + 1, "FL", &value))
			return sscanf(value, "%16" SCNx64, &v->rflags) == 1;
	}
	for (size_t i = 8; i < 16; i++) {
		if (named(s, gprs[i], &value))
			return sscanf(value, "%16" SCNx64, &v->gpr[i]) == 1;
	}
	return false;
}

static void take_word(struct vmi_vcpu *v, const char *s)
{
	static const struct {
		const char *name;
		size_t offset;
		uint32_t known;
	} crs[] = {
		{ "CR0", offsetof(struct vmi_vcpu, cr0), VMI_REG_CR },
		{ "CR2", offsetof(struct vmi_vcpu, cr2), 0 },
		{ "CR3", offsetof(struct vmi_vcpu, cr3), 0 },
		{ "CR4", offsetof(struct vmi_vcpu, cr4), 0 },
		{ "EFER", offsetof(struct vmi_vcpu, efer), VMI_REG_EFER },
	};
	const char *value;

	if (take_gpr(v, s)) {
		v->known |= VMI_REG_GPR;
		return;
	}
	for (size_t i = 0; i < sizeof(crs) / sizeof(crs[0]); i++) {
		if (named(s, crs[i].name, &value) &&
		    sscanf(value, "%16" SCNx64, (uint64_t *)((char *)v + crs[i].offset)) == 1)
			v->known |= crs[i].known;
	}
}

/* "CS =0010 0000000000000000 ffffffff 00af9b00 ...", "IDT=     fffffe0000000000 00000fff" */
static bool take_table(struct vmi_vcpu *v, const char *line)
{
	unsigned int selector, limit;
	const char *value;
	uint64_t base;

	if (named(line, "IDT", &value) && sscanf(value, "%" SCNx64 " %x", &base, &limit) == 2) {
		v->idt_base = base;
		v->idt_limit = limit;
		v->known |= VMI_REG_DTR;
	} else if (named(line, "GDT", &value) &&
		   sscanf(value, "%" SCNx64 " %x", &base, &limit) == 2) {
		v->gdt_base = base;
		v->gdt_limit = limit;
	} else if (named(line, "CS", &value) && sscanf(value, "%x", &selector) == 1) {
		v->cs = selector;
	} else if (named(line, "FS", &value) &&
		   sscanf(value, "%x %" SCNx64, &selector, &base) == 2) {
		v->fs_base = base;
	} else if (named(line, "GS", &value) &&
		   sscanf(value, "%x %" SCNx64, &selector, &base) == 2) {
		v->gs_base = base;
		v->known |= VMI_REG_SEG;
	} else {
		return false;
	}
	return true;
}

int vmi_registers_parse(const char *text, struct vmi_target *t)
{
	struct vmi_vcpu *v = NULL;
	char line[256];

	t->n_vcpus = 0;
	for (const char *s = text; *s;) {
		size_t len = strcspn(s, "\r\n");
		unsigned int id;

		snprintf(line, sizeof(line), "%.*s", (int)(len < 255 ? len : 255), s);
		s += len + strspn(s + len, "\r\n");
		if (sscanf(line, "CPU#%u", &id) == 1) {
			v = vmi_target_add_vcpu(t);
			if (!v)
				return -E2BIG;
			v->id = id <= INT32_MAX ? (int)id : 0;
			continue;
		}
		if (!v || take_table(v, line))
			continue;
		for (char *save, *w = strtok_r(line, "\t ", &save); w;
		     w = strtok_r(NULL, "\t ", &save)) {
			/* "R8 =0": the name and its value are two words */
			char word[64];

			if (*save == '=') {
				snprintf(word, sizeof(word), "%.15s%.40s", w, save);
				take_word(v, word);
			} else {
				take_word(v, w);
			}
		}
	}
	return t->n_vcpus ? 0 : -EPROTO;
}

int vmi_qmp_vcpus(const struct vmi_live *l, struct vmi_target *t, char how[160])
{
	char why[160];
	struct iho_qmp *q;
	json_t *text;
	int err;

	if (l->kvm) {
		snprintf(how, 160,
			 "none: QEMU would have to take the vCPUs out of the guest to tell");
		return -ENOTSUP;
	}
	err = open_monitor(l, &q, why);
	if (err) {
		snprintf(how, 160, "none: %.150s", why);
		return err;
	}
	err = human(q, "info registers -a", &text);
	if (!err) {
		err = vmi_registers_parse(json_string_value(text), t);
		json_decref(text);
	}
	iho_qmp_close(q);
	if (err)
		snprintf(how, 160, "none: QEMU's monitor does not tell: %s", strerror(-err));
	else
		snprintf(how, 160, "QMP (info registers)");
	return err;
}
