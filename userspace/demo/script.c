// SPDX-License-Identifier: GPL-2.0-or-later
#include "script.h"

#include <err.h>
#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>

#define MAX_FIELDS 2

enum field {
	FIELD_NONE,
	FIELD_PORT,
	FIELD_GPA,
	FIELD_MSR,
	FIELD_LEAF,
	FIELD_ICR,
	FIELD_MS,
	FIELD_US,
	FIELD_COUNT,
};

static const struct {
	const char *name;
	uint64_t min, max;
	const char *range; /* the same for messages */
} field_info[] = {
	[FIELD_PORT] = { "PORT", 0, 0xffff, "0 to 0xffff" },
	[FIELD_GPA] = { "GPA", GUEST_MMIO_START, GUEST_MMIO_END - 4, "0x40000000 to 0xfebffffc" },
	[FIELD_MSR] = { "MSR", 0, UINT32_MAX, "0 to 0xffffffff" },
	[FIELD_LEAF] = { "LEAF", 0, UINT32_MAX, "0 to 0xffffffff" },
	[FIELD_ICR] = { "VALUE", 0, UINT64_MAX, "0 to 2^64 - 1" },
	[FIELD_MS] = { "MS", 1, SCRIPT_MAX_MS, "1 to 1000000000" },
	[FIELD_US] = { "US", 1, SCRIPT_MAX_HLT_US, "1 to 1000000000" },
	[FIELD_COUNT] = { "COUNT", 1, INT64_MAX, "1 to 2^63 - 1" },
};

static const struct op_info {
	const char *name;
	enum field fields[MAX_FIELDS];
	unsigned int optional; /* how many of the last fields may be left out */
	const char *help;
} op_info[GUEST_NR_OPS] = {
	[OP_OUT] = { "out", { FIELD_PORT, FIELD_COUNT }, 0, "one-byte writes to an I/O port" },
	[OP_IN] = { "in", { FIELD_PORT, FIELD_COUNT }, 0, "one-byte reads of an I/O port" },
	[OP_MMIO_WRITE] = { "mmio-write", { FIELD_GPA, FIELD_COUNT }, 0,
			    "4-byte writes to a guest-physical address without memory" },
	[OP_MMIO_READ] = { "mmio-read", { FIELD_GPA, FIELD_COUNT }, 0, "4-byte reads of one" },
	[OP_WRMSR] = { "wrmsr", { FIELD_MSR, FIELD_COUNT }, 0,
		       "writes of 0 to an MSR; 0x8b is harmless and exits everywhere" },
	[OP_RDMSR] = { "rdmsr", { FIELD_MSR, FIELD_COUNT }, 0, "reads of an MSR" },
	[OP_CPUID] = { "cpuid", { FIELD_LEAF, FIELD_COUNT }, 0, "CPUIDs of a leaf, subleaf 0" },
	[OP_HLT] = { "hlt", { FIELD_COUNT, FIELD_US }, 1,
		     "HLTs, each woken after US microseconds (default: --hlt-us)" },
	[OP_TIMER] = { "timer", { FIELD_COUNT, FIELD_US }, 0,
		       "deadlines of the local APIC's timer, US microseconds, waited for in HLT" },
	[OP_DONATE] = { "donate", { FIELD_NONE }, 0,
			"give KVM a page for posted interrupts (direct mode of kvm-patches)" },
	[OP_WITHDRAW] = { "withdraw", { FIELD_NONE }, 0, "take it back" },
	[OP_ACCOUNT] = { "account", { FIELD_MS }, 0,
			 "say in that page that MS milliseconds of another second were idle" },
	[OP_FORGE] = { "forge", { FIELD_COUNT }, 0,
		       "random words all over that page, for tests of the host" },
	[OP_ICR] = { "icr", { FIELD_ICR, FIELD_COUNT }, 0,
		     "writes of a value to the x2APIC's ICR, likewise" },
	[OP_ICR_DIRECT] = { "icr-direct", { FIELD_ICR, FIELD_COUNT }, 0,
			    "the same with IPIs direct (raw): to the processor's own, likewise" },
	[OP_ICR_ASKED] = { "icr-asked", { FIELD_ICR, FIELD_COUNT }, 0,
			   "the same by hypercall, KVM writing it to the guest's own, likewise" },
	[OP_DISCARD] = { "discard", { FIELD_NONE }, 0,
			 "the VMM empties that page, as by a balloon (one vCPU only), likewise" },
	[OP_UNMAP] = { "unmap", { FIELD_NONE }, 0,
		       "it takes the page out of the guest's memory, likewise" },
	[OP_REMAP] = { "remap", { FIELD_NONE }, 0, "and puts it back" },
	[OP_BUSY] = { "busy", { FIELD_MS }, 0, "spin for MS milliseconds without an exit" },
	[OP_SLEEP] = { "sleep", { FIELD_MS }, 0, "exit once; the VMM sleeps MS milliseconds" },
	[OP_GATE] = { "gate", { FIELD_NONE }, 0,
		      "exit once; the VMM waits for SIGUSR1 (or a line, with --gate-stdin)" },
	[OP_MARK] = { "mark", { FIELD_NONE }, 0, "where the following loop:COUNT starts again" },
	[OP_LOOP] = { "loop", { FIELD_COUNT }, 1,
		      "do the ops since the last mark (or the start) COUNT times in all;\n"
		      "without COUNT: start over from the very beginning, endlessly (last op)" },
};

struct parser {
	struct script *script;
	size_t mark;  /* index of the op that loop:COUNT goes back to */
	bool endless; /* an endless loop was seen: nothing may follow */
};

const char *script_op_name(uint32_t kind)
{
	return kind < GUEST_NR_OPS ? op_info[kind].name : NULL;
}

void script_list_ops(FILE *out)
{
	for (size_t i = 0; i < GUEST_NR_OPS; i++) {
		const struct op_info *info = &op_info[i];
		const char *help = info->help, *newline;
		char form[64];
		int len;

		if (!info->name)
			continue;
		len = snprintf(form, sizeof(form), "%s", info->name);
		for (size_t f = 0; f < MAX_FIELDS && info->fields[f] != FIELD_NONE; f++) {
			bool last = f + 1 == MAX_FIELDS || info->fields[f + 1] == FIELD_NONE;

			len += snprintf(form + len, sizeof(form) - (size_t)len,
					last && info->optional ? "[:%s]" : ":%s",
					field_info[info->fields[f]].name);
		}
		fprintf(out, "  %-22s", form);
		while ((newline = strchr(help, '\n'))) {
			fprintf(out, "%.*s\n  %-22s", (int)(newline - help), help, "");
			help = newline + 1;
		}
		fprintf(out, "%s\n", help);
	}
}

int script_number(const char *text, const char *end, uint64_t min, uint64_t max, uint64_t *value)
{
	unsigned int base = 10;
	uint64_t number = 0;

	if (end - text > 2 && text[0] == '0' && (text[1] == 'x' || text[1] == 'X')) {
		base = 16;
		text += 2;
	}
	if (text == end)
		return -EINVAL;
	for (; text < end; text++) {
		unsigned int digit;

		if (*text >= '0' && *text <= '9')
			digit = (unsigned int)(*text - '0');
		else if (base == 16 && (*text | 0x20) >= 'a' && (*text | 0x20) <= 'f')
			digit = (unsigned int)((*text | 0x20) - 'a' + 10);
		else
			return -EINVAL;
		if (__builtin_mul_overflow(number, base, &number) ||
		    __builtin_add_overflow(number, digit, &number))
			return -EINVAL;
	}
	if (number < min || number > max)
		return -EINVAL;
	*value = number;
	return 0;
}

static int add_op(struct script *script, const struct guest_op *op)
{
	/* Grow at powers of two, so that the number of ops alone says how much is allocated. */
	if (!(script->nr_ops & (script->nr_ops - 1))) {
		size_t room = script->nr_ops ? 2 * script->nr_ops : 1;
		struct guest_op *ops = reallocarray(script->ops, room, sizeof(*ops));

		if (!ops) {
			warnx("out of memory");
			return -ENOMEM;
		}
		script->ops = ops;
	}
	script->ops[script->nr_ops++] = *op;
	return 0;
}

/* What the field's range alone does not say. */
static const char *check_value(enum field field, uint64_t value)
{
	if (field == FIELD_PORT && value >= GUEST_PORT_FIRST && value <= GUEST_PORT_LAST)
		return "ports 0xf0 to 0xf4 are the control ports";
	if (field == FIELD_GPA && value % 4)
		return "GPA must be a multiple of 4";
	return NULL;
}

/* Read the fields behind the op's name into @values; *@nr_values says how many there were. */
static int parse_fields(const struct op_info *info, const char *text, const char *end,
			const char *op_text, uint64_t *values, size_t *nr_values)
{
	size_t nr_fields = 0;

	while (nr_fields < MAX_FIELDS && info->fields[nr_fields] != FIELD_NONE)
		nr_fields++;

	*nr_values = 0;
	while (text < end) {
		const char *start = text + 1, *colon = memchr(start, ':', (size_t)(end - start));
		const char *complaint;
		enum field field;

		text = colon ? colon : end;
		if (*nr_values == nr_fields) {
			warnx("script: '%.*s': too many fields for '%s' (see --list-ops)",
			      (int)(end - op_text), op_text, info->name);
			return -EINVAL;
		}
		field = info->fields[*nr_values];
		if (script_number(start, text, field_info[field].min, field_info[field].max,
				  &values[*nr_values])) {
			warnx("script: '%.*s': %s must be a number from %s", (int)(end - op_text),
			      op_text, field_info[field].name, field_info[field].range);
			return -EINVAL;
		}
		complaint = check_value(field, values[*nr_values]);
		if (complaint) {
			warnx("script: '%.*s': %s", (int)(end - op_text), op_text, complaint);
			return -EINVAL;
		}
		(*nr_values)++;
	}
	if (*nr_values + info->optional < nr_fields) {
		warnx("script: '%.*s': '%s' needs %s (see --list-ops)", (int)(end - op_text),
		      op_text, info->name, field_info[info->fields[*nr_values]].name);
		return -EINVAL;
	}
	return 0;
}

static const struct op_info *find_op(const char *name, size_t len)
{
	for (size_t i = 0; i < GUEST_NR_OPS; i++)
		if (op_info[i].name && strlen(op_info[i].name) == len &&
		    !memcmp(op_info[i].name, name, len))
			return &op_info[i];
	return NULL;
}

/* Parse the op at [@text, @end), which is not empty and has no white space around it. */
static int parse_op(struct parser *parser, const char *text, const char *end)
{
	const char *name_end = memchr(text, ':', (size_t)(end - text));
	struct script *script = parser->script;
	uint64_t values[MAX_FIELDS] = { 0 };
	const struct op_info *info;
	struct guest_op op = { 0 };
	size_t nr_values, target;
	int ret;

	if (!name_end)
		name_end = end;
	info = find_op(text, (size_t)(name_end - text));
	if (!info) {
		warnx("script: unknown op '%.*s' (see --list-ops)", (int)(name_end - text), text);
		return -EINVAL;
	}
	ret = parse_fields(info, name_end, end, text, values, &nr_values);
	if (ret)
		return ret;
	if (parser->endless) {
		warnx("script: '%.*s' follows an endless loop and would never run",
		      (int)(end - text), text);
		return -EINVAL;
	}
	if (script->nr_ops == SCRIPT_MAX_OPS - 1) {
		warnx("script: more than %d ops", SCRIPT_MAX_OPS - 1);
		return -E2BIG;
	}

	op.kind = (uint32_t)(info - op_info);
	op.arg = values[0];
	op.count = values[1];
	switch (op.kind) {
	case OP_HLT:
	case OP_TIMER:
	case OP_FORGE:
		op.count = values[0];
		op.arg = values[1];
		break;
	case OP_MARK:
		parser->mark = script->nr_ops;
		break;
	case OP_LOOP:
		parser->endless = !nr_values;
		op.count = values[0];
		target = nr_values ? parser->mark : 0;
		op.back = (uint32_t)((script->nr_ops - target) * sizeof(op));
		break;
	}
	return add_op(script, &op);
}

static int parse(struct script *script, const char *text)
{
	const struct guest_op done = { .kind = OP_DONE };
	struct parser parser = { .script = script };

	for (;;) {
		size_t len;
		int ret;

		text += strspn(text, ", \t\r\n");
		if (!*text)
			break;
		if (*text == '#') {
			text += strcspn(text, "\n");
			continue;
		}
		len = strcspn(text, ", \t\r\n#");
		ret = parse_op(&parser, text, text + len);
		if (ret)
			return ret;
		text += len;
	}
	if (!script->nr_ops) {
		warnx("script: no ops in it (see --list-ops)");
		return -EINVAL;
	}
	return add_op(script, &done);
}

/* The file's text, which the caller frees, or NULL after a message. */
static char *read_file(const char *path)
{
	FILE *file = fopen(path, "re");
	char *text;
	size_t len;

	if (!file) {
		warn("%s", path);
		return NULL;
	}
	text = malloc(SCRIPT_MAX_BYTES + 1);
	if (!text) {
		warnx("out of memory");
		goto failed;
	}
	len = fread(text, 1, SCRIPT_MAX_BYTES + 1, file);
	if (ferror(file)) {
		warn("%s", path);
		goto failed;
	}
	if (len > SCRIPT_MAX_BYTES) {
		warnx("%s: larger than %d bytes", path, SCRIPT_MAX_BYTES);
		goto failed;
	}
	if (memchr(text, '\0', len)) {
		warnx("%s: not a text file", path);
		goto failed;
	}
	text[len] = '\0';
	fclose(file);
	return text;
failed:
	free(text);
	fclose(file);
	return NULL;
}

int script_load(struct script *script, const char *text)
{
	char *from_file = NULL;
	int ret;

	*script = (struct script){ 0 };
	if (*text == '@') {
		from_file = read_file(text + 1);
		if (!from_file)
			return -EINVAL;
		text = from_file;
	}
	ret = parse(script, text);
	if (ret)
		script_free(script);
	free(from_file);
	return ret;
}

void script_free(struct script *script)
{
	free(script->ops);
	*script = (struct script){ 0 };
}
