// SPDX-License-Identifier: GPL-2.0-or-later
#include "names.h"

#include <asm/svm.h>
#include <asm/vmx.h>
#include <bpf/btf.h>
#include <bpf/libbpf.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/kvm.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <traceevent/event-parse.h>
#include <unistd.h>

#include "../../bpf/iho.h"

/* kvm_exit, the longest that we read, has 9 KiB. */
#define FORMAT_MAX (256 * 1024)
#define WALK_DEPTH 32
#define APICV_BITS 64
#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

struct symbol {
	uint32_t value;
	const char *name;
	size_t order; /* of two names for one value, the first is taken, as the kernel does */
};

struct symtab {
	struct symbol *v; /* by value */
	size_t n;
};

struct iho_names {
	char *tracefs; /* NULL: none */
	struct tep_handle *tep; /* owns the kernel's names in the tables */
	struct symtab vmx;
	struct symtab vmx_flags;
	struct symtab svm;
	struct symtab user;
	struct symtab softirq;
	char *apicv[APICV_BITS];
	bool from_kernel;
	json_t *wire; /* owns the names in the tables, where they came over ihod's socket */
};

/* ---- built-in tables ---- */

struct builtin {
	uint32_t value;
	const char *name;
};

/* SVM_EXIT_REASONS takes the exceptions' vectors from asm/kvm.h. */
static const struct builtin builtin_vmx[] = { VMX_EXIT_REASONS };
static const struct builtin builtin_vmx_flags[] = { VMX_EXIT_REASON_FLAGS };
static const struct builtin builtin_svm[] = { SVM_EXIT_REASONS };

/* The kernel's list, kvm_trace_exit_reason, is in no uapi header. Only what x86 can return. */
#define USER_EXIT(name) { KVM_EXIT_##name, "KVM_EXIT_" #name }
static const struct builtin builtin_user[] = {
	USER_EXIT(UNKNOWN),
	USER_EXIT(EXCEPTION),
	USER_EXIT(IO),
	USER_EXIT(HYPERCALL),
	USER_EXIT(DEBUG),
	USER_EXIT(HLT),
	USER_EXIT(MMIO),
	USER_EXIT(IRQ_WINDOW_OPEN),
	USER_EXIT(SHUTDOWN),
	USER_EXIT(FAIL_ENTRY),
	USER_EXIT(INTR),
	USER_EXIT(SET_TPR),
	USER_EXIT(TPR_ACCESS),
	USER_EXIT(NMI),
	USER_EXIT(INTERNAL_ERROR),
	USER_EXIT(SYSTEM_EVENT),
	USER_EXIT(IOAPIC_EOI),
	USER_EXIT(HYPERV),
	USER_EXIT(X86_RDMSR),
	USER_EXIT(X86_WRMSR),
	USER_EXIT(DIRTY_RING_FULL),
	USER_EXIT(AP_RESET_HOLD),
	USER_EXIT(X86_BUS_LOCK),
	USER_EXIT(XEN),
	USER_EXIT(NOTIFY),
#ifdef KVM_EXIT_MEMORY_FAULT
	USER_EXIT(MEMORY_FAULT),
#endif
#ifdef KVM_EXIT_TDX
	USER_EXIT(TDX),
#endif
};

/* ---- symbol tables ---- */

static int by_value(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;

	return (x->value > y->value) - (x->value < y->value);
}

static int by_value_and_order(const void *a, const void *b)
{
	const struct symbol *x = a, *y = b;
	int r = by_value(a, b);

	return r ? r : (x->order > y->order) - (x->order < y->order);
}

static const char *symtab_find(const struct symtab *t, uint32_t value)
{
	const struct symbol key = { .value = value }, *s;

	if (!t->n)
		return NULL;
	s = bsearch(&key, t->v, t->n, sizeof(*t->v), by_value);
	return s ? s->name : NULL;
}

/* The value of `{ value, "name" }`; not one that 32 bits, signed or unsigned, cannot hold. */
static bool symbol_value(const char *text, uint32_t *value)
{
	unsigned long long v;
	char *end;

	errno = 0;
	v = strtoull(text, &end, 0);
	if (errno || end == text || end[strspn(end, "uUlL")])
		return false;
	if (v > UINT32_MAX && v < (unsigned long long)INT32_MIN)
		return false;
	*value = v;
	return true;
}

/* The kernel's symbols win over the built-in ones, which add what the kernel leaves out. */
static int symtab_build(struct symtab *t, const struct tep_print_flag_sym *kernel,
			const struct builtin *builtin, size_t nr_builtin)
{
	const struct tep_print_flag_sym *k;
	size_t n = nr_builtin, unique = 0, i;
	struct symbol *v;

	for (k = kernel; k; k = k->next)
		n++;
	if (!n)
		return 0;
	v = calloc(n, sizeof(*v));
	if (!v)
		return -ENOMEM;

	n = 0;
	for (k = kernel; k; k = k->next) {
		/* An enumerator that the format does not resolve to a number is left out. */
		if (!k->value || !k->str || !symbol_value(k->value, &v[n].value))
			continue;
		v[n].name = k->str;
		v[n].order = n;
		n++;
	}
	for (i = 0; i < nr_builtin; i++, n++) {
		v[n].value = builtin[i].value;
		v[n].name = builtin[i].name;
		v[n].order = n;
	}

	qsort(v, n, sizeof(*v), by_value_and_order);
	for (i = 0; i < n; i++)
		if (!unique || v[unique - 1].value != v[i].value)
			v[unique++] = v[i];
	t->v = v;
	t->n = unique;
	return 0;
}

/* ---- the kernel's formats ---- */

/*
 * libtraceevent (1.7.1 tried) reads all formats that we need, with their nested conditions, sums as
 * values and split literals ("KVM_EXIT_" "IO"), so there is no reader of our own. A format that it
 * cannot read leaves us the built-in names.
 */

static int read_format(const char *tracefs, const char *system, const char *event, char **text,
		       size_t *size)
{
	size_t n = 0;
	char *path, *buf = NULL;
	ssize_t got;
	int fd, err;

	if (asprintf(&path, "%s/events/%s/%s/format", tracefs, system, event) < 0)
		return -ENOMEM;
	/* O_NONBLOCK: whatever lies there, opening it must not wait. */
	fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
	err = fd < 0 ? -errno : 0;
	free(path);
	if (err)
		return err;

	/* Files in tracefs have no size, so the limit is found by reading. */
	buf = malloc(FORMAT_MAX + 1);
	if (!buf) {
		err = -ENOMEM;
		goto cleanup;
	}
	do {
		got = read(fd, buf + n, FORMAT_MAX + 1 - n);
		if (got < 0) {
			if (errno == EINTR)
				continue;
			err = -errno;
			goto cleanup;
		}
		n += got;
	} while (got && n <= FORMAT_MAX);
	if (n > FORMAT_MAX)
		err = -EFBIG;
cleanup:
	close(fd);
	if (err) {
		free(buf);
		return err;
	}
	buf[n] = '\0';
	*text = buf;
	*size = n;
	return 0;
}

static bool has_field(const char *fields, const char *end, const char *name, size_t len)
{
	const char *p = fields;

	while ((p = memmem(p, end - p, name, len))) {
		if (p > fields && (p[-1] == ' ' || p[-1] == '*') &&
		    (p[len] == ';' || p[len] == '['))
			return true;
		p++;
	}
	return false;
}

/*
 * Whether the text form uses only fields that the record has. libtraceevent 1.7.1 follows a NULL
 * pointer at __print_symbolic(REC->x, ...) without a field x. No kernel writes that, but a format
 * may be cut off in the middle of a name, and that must not end the program.
 */
static bool fields_exist(const char *text)
{
	static const char ident[] = "abcdefghijklmnopqrstuvwxyz_0123456789"
				    "ABCDEFGHIJKLMNOPQRSTUVWXYZ";
	const char *end = strstr(text, "print fmt:"), *p;
	size_t len;

	for (p = end; p && (p = strstr(p, "REC->")); p += len) {
		p += strlen("REC->");
		len = strspn(p, ident);
		if (!len || !has_field(text, end, p, len))
			return false;
	}
	return end;
}

/* The event belongs to `tep`. */
static int parse_event(struct tep_handle *tep, const char *tracefs, const char *system,
		       const char *name, const struct tep_event **event)
{
	size_t size;
	char *text;
	int err;

	err = read_format(tracefs, system, name, &text, &size);
	if (err)
		return err;
	if (!fields_exist(text)) {
		free(text);
		return -EINVAL;
	}
	/*
	 * The result says too little to act on: it is 0 for a print format that could not be parsed
	 * (the event then has TEP_EVENT_FL_FAILED), which does no harm to the fields.
	 */
	tep_parse_event(tep, text, size, system);
	free(text);
	*event = tep_find_event_by_name(tep, system, name);
	return *event ? 0 : -EINVAL;
}

/* The first table of the wanted kind, TEP_PRINT_SYMBOL or TEP_PRINT_FLAGS, in an expression. */
static const struct tep_print_flag_sym *find_table(const struct tep_print_arg *arg,
						   enum tep_print_arg_type kind, int depth)
{
	const struct tep_print_flag_sym *found;

	if (!arg || depth > WALK_DEPTH)
		return NULL;
	if (arg->type == kind)
		return kind == TEP_PRINT_SYMBOL ? arg->symbol.symbols : arg->flags.flags;

	switch (arg->type) {
	case TEP_PRINT_OP:
		found = find_table(arg->op.left, kind, depth + 1);
		return found ? found : find_table(arg->op.right, kind, depth + 1);
	case TEP_PRINT_TYPE:
		return find_table(arg->typecast.item, kind, depth + 1);
	default:
		return NULL;
	}
}

/* The side of `(REC->isa == 1) ? x : y` that holds for `isa`; NULL if `arg` is something else. */
static const struct tep_print_arg *isa_branch(const struct tep_print_arg *arg, uint32_t isa)
{
	const struct tep_print_arg *cond, *sides;
	uint32_t value;

	if (arg->type != TEP_PRINT_OP || strcmp(arg->op.op, "?"))
		return NULL;
	cond = arg->op.left;
	sides = arg->op.right;
	if (!cond || cond->type != TEP_PRINT_OP || strcmp(cond->op.op, "=="))
		return NULL;
	if (!sides || sides->type != TEP_PRINT_OP || strcmp(sides->op.op, ":"))
		return NULL;
	if (!cond->op.left || cond->op.left->type != TEP_PRINT_FIELD ||
	    strcmp(cond->op.left->field.name, "isa"))
		return NULL;
	if (!cond->op.right || cond->op.right->type != TEP_PRINT_ATOM ||
	    !symbol_value(cond->op.right->atom.atom, &value))
		return NULL;
	return value == isa ? sides->op.left : sides->op.right;
}

/* `isa`: IHO_ISA_NONE looks at all arguments, else only at those that are chosen by the ISA. */
static const struct tep_print_flag_sym *event_table(const struct tep_event *event,
						    enum tep_print_arg_type kind, uint32_t isa)
{
	const struct tep_print_flag_sym *found = NULL;
	const struct tep_print_arg *arg;

	if (!event || event->flags & TEP_EVENT_FL_FAILED)
		return NULL;
	for (arg = event->print_fmt.args; arg && !found; arg = arg->next)
		found = find_table(isa == IHO_ISA_NONE ? arg : isa_branch(arg, isa), kind, 0);
	return found;
}

static const struct tep_event *try_event(const struct iho_names *n, const char *system,
					 const char *name)
{
	const struct tep_event *event = NULL;

	if (n->tracefs)
		parse_event(n->tep, n->tracefs, system, name, &event);
	return event;
}

static int load_tables(struct iho_names *n)
{
	const struct tep_event *kvm_exit = try_event(n, "kvm", "kvm_exit");
	const struct tep_event *user = try_event(n, "kvm", "kvm_userspace_exit");
	const struct tep_event *softirq = try_event(n, "irq", "softirq_entry");
	const struct tep_print_flag_sym *vmx, *svm;
	int err;

	vmx = event_table(kvm_exit, TEP_PRINT_SYMBOL, IHO_ISA_VMX);
	svm = event_table(kvm_exit, TEP_PRINT_SYMBOL, IHO_ISA_SVM);
	n->from_kernel = vmx && svm;

	err = symtab_build(&n->vmx, vmx, builtin_vmx, ARRAY_SIZE(builtin_vmx));
	if (!err)
		err = symtab_build(&n->vmx_flags,
				   event_table(kvm_exit, TEP_PRINT_FLAGS, IHO_ISA_VMX),
				   builtin_vmx_flags, ARRAY_SIZE(builtin_vmx_flags));
	if (!err)
		err = symtab_build(&n->svm, svm, builtin_svm, ARRAY_SIZE(builtin_svm));
	if (!err)
		err = symtab_build(&n->user, event_table(user, TEP_PRINT_SYMBOL, IHO_ISA_NONE),
				   builtin_user, ARRAY_SIZE(builtin_user));
	if (!err)
		err = symtab_build(&n->softirq,
				   event_table(softirq, TEP_PRINT_SYMBOL, IHO_ISA_NONE), NULL, 0);
	return err;
}

/* ---- BTF ---- */

/* 0, -ENOENT if this BTF has no such enum, or -ENOMEM. */
static int read_apicv_enum(struct iho_names *n, const struct btf *btf)
{
	static const char prefix[] = "APICV_INHIBIT_REASON_";
	const struct btf_type *t;
	const struct btf_enum *e;
	const char *name;
	int id, i;

	id = btf__find_by_name_kind(btf, "kvm_apicv_inhibit", BTF_KIND_ENUM);
	if (id < 0)
		return -ENOENT;
	t = btf__type_by_id(btf, id);
	e = btf_enum(t);
	for (i = 0; i < btf_vlen(t); i++, e++) {
		name = btf__name_by_offset(btf, e->name_off);
		/* The enum also holds the number of reasons, without the prefix. */
		if (!name || strncmp(name, prefix, sizeof(prefix) - 1))
			continue;
		if (e->val < 0 || e->val >= APICV_BITS || n->apicv[e->val])
			continue;
		n->apicv[e->val] = strdup(name + sizeof(prefix) - 1);
		if (!n->apicv[e->val])
			return -ENOMEM;
	}
	return 0;
}

/* The enum is in the BTF of vmlinux where kvm is built in, else in that of the kvm module. */
static int load_apicv(struct iho_names *n)
{
	libbpf_print_fn_t print = libbpf_set_print(NULL); /* a kernel without BTF is no news */
	struct btf *vmlinux = btf__load_vmlinux_btf(), *module = NULL;
	int err = -ENOENT;

	if (vmlinux)
		err = read_apicv_enum(n, vmlinux);
	if (vmlinux && err == -ENOENT) {
		module = btf__load_module_btf("kvm", vmlinux);
		if (module)
			err = read_apicv_enum(n, module);
	}
	btf__free(module);
	btf__free(vmlinux);
	libbpf_set_print(print);
	return err == -ENOENT ? 0 : err;
}

/* ---- the interface ---- */

int iho_names_open(struct iho_names **out, const char *tracefs)
{
	struct iho_names *n = calloc(1, sizeof(*n));
	int err = -ENOMEM;

	*out = NULL;
	if (!n)
		return err;
	if (tracefs) {
		n->tracefs = strdup(tracefs);
		if (!n->tracefs)
			goto cleanup;
	}
	n->tep = tep_alloc();
	if (!n->tep)
		goto cleanup;
	/* Its complaints about formats would go to stderr, in the middle of a full-screen view. */
	tep_set_loglevel(TEP_LOG_NONE);

	err = load_tables(n);
	if (!err)
		err = load_apicv(n);
cleanup:
	if (err)
		iho_names_close(n);
	else
		*out = n;
	return err;
}

void iho_names_close(struct iho_names *n)
{
	size_t i;

	if (!n)
		return;
	for (i = 0; i < APICV_BITS; i++)
		free(n->apicv[i]);
	free(n->vmx.v);
	free(n->vmx_flags.v);
	free(n->svm.v);
	free(n->user.v);
	free(n->softirq.v);
	tep_free(n->tep);
	json_decref(n->wire);
	free(n->tracefs);
	free(n);
}

/* ---- over the socket ---- */

#define WIRE_MAX 4096 /* entries of a table */

static json_t *symtab_wire(const struct symtab *t)
{
	json_t *a = json_array();

	for (size_t i = 0; i < t->n; i++)
		json_array_append_new(a, json_pack("[I, s]", (json_int_t)t->v[i].value,
						   t->v[i].name));
	return a;
}

static json_t *apicv_wire(const struct iho_names *n)
{
	json_t *a = json_array();

	for (int i = 0; i < APICV_BITS; i++)
		if (n->apicv[i])
			json_array_append_new(a, json_pack("[i, s]", i, n->apicv[i]));
	return a;
}

json_t *iho_names_wire(const struct iho_names *n)
{
	return json_pack("{s:b, s:o, s:o, s:o, s:o, s:o, s:o}", "from_kernel", n->from_kernel,
			 "vmx", symtab_wire(&n->vmx), "vmx_flags", symtab_wire(&n->vmx_flags),
			 "svm", symtab_wire(&n->svm), "user", symtab_wire(&n->user), "softirq",
			 symtab_wire(&n->softirq), "apicv", apicv_wire(n));
}

/* One [code, name]; NULL if it is something else. */
static const char *wire_entry(const json_t *j, json_int_t *code)
{
	const json_t *value = json_array_get(j, 0);

	*code = json_integer_value(value);
	return json_is_integer(value) ? json_string_value(json_array_get(j, 1)) : NULL;
}

static int symtab_read(struct symtab *t, const json_t *a)
{
	json_int_t code;

	if (!json_is_array(a) || json_array_size(a) > WIRE_MAX)
		return -EPROTO;
	t->v = calloc(json_array_size(a) + 1, sizeof(*t->v));
	if (!t->v)
		return -ENOMEM;
	for (; t->n < json_array_size(a); t->n++) {
		struct symbol *s = &t->v[t->n];

		s->name = wire_entry(json_array_get(a, t->n), &code);
		if (!s->name || code < 0 || code > UINT32_MAX)
			return -EPROTO;
		s->value = code;
		s->order = t->n;
	}
	qsort(t->v, t->n, sizeof(*t->v), by_value_and_order);
	return 0;
}

static int apicv_read(struct iho_names *n, const json_t *a)
{
	json_int_t bit;

	if (!json_is_array(a))
		return -EPROTO;
	for (size_t i = 0; i < json_array_size(a); i++) {
		const char *name = wire_entry(json_array_get(a, i), &bit);

		if (!name || bit < 0 || bit >= APICV_BITS)
			return -EPROTO;
		if (n->apicv[bit])
			continue;
		n->apicv[bit] = strdup(name);
		if (!n->apicv[bit])
			return -ENOMEM;
	}
	return 0;
}

int iho_names_read(struct iho_names **out, json_t *j)
{
	struct iho_names *n = calloc(1, sizeof(*n));
	int r;

	*out = NULL;
	if (!n)
		return -ENOMEM;
	n->wire = json_incref(j);
	n->from_kernel = json_is_true(json_object_get(j, "from_kernel"));
	r = symtab_read(&n->vmx, json_object_get(j, "vmx"));
	if (!r)
		r = symtab_read(&n->vmx_flags, json_object_get(j, "vmx_flags"));
	if (!r)
		r = symtab_read(&n->svm, json_object_get(j, "svm"));
	if (!r)
		r = symtab_read(&n->user, json_object_get(j, "user"));
	if (!r)
		r = symtab_read(&n->softirq, json_object_get(j, "softirq"));
	if (!r)
		r = apicv_read(n, json_object_get(j, "apicv"));
	if (r)
		iho_names_close(n);
	else
		*out = n;
	return r;
}

__attribute__((format(printf, 3, 4)))
static void append(char *buf, size_t len, const char *fmt, ...)
{
	size_t at = strnlen(buf, len);
	va_list ap;

	va_start(ap, fmt);
	vsnprintf(buf + at, len - at, fmt, ap);
	va_end(ap);
}

void iho_exit_name(const struct iho_names *n, uint32_t isa, uint32_t code, char *buf, size_t len)
{
	uint32_t basic = code, flags = 0;
	const char *name = NULL;
	size_t i;

	if (!len)
		return;
	buf[0] = '\0';
	if (code == IHO_CODE_OVERFLOW) {
		append(buf, len, "(other reasons)");
		return;
	}

	if (isa == IHO_ISA_VMX) {
		basic = code & 0xffff;
		flags = code & ~0xffffu;
		name = symtab_find(&n->vmx, basic);
	} else if (isa == IHO_ISA_SVM) {
		name = symtab_find(&n->svm, code);
	}
	if (name)
		append(buf, len, "%s", name);
	else
		append(buf, len, "0x%x", basic);

	for (i = 0; i < n->vmx_flags.n; i++) {
		uint32_t bits = n->vmx_flags.v[i].value;

		if (!bits || (flags & bits) != bits)
			continue;
		append(buf, len, "|%s", n->vmx_flags.v[i].name);
		flags &= ~bits;
	}
	if (flags)
		append(buf, len, "|0x%x", flags);
}

void iho_user_exit_name(const struct iho_names *n, uint32_t code, char *buf, size_t len)
{
	const char *name;

	if (code == IHO_CODE_OVERFLOW) {
		snprintf(buf, len, "(other reasons)");
		return;
	}
	if (code >= IHO_USER_ERROR) {
		uint32_t error = code - IHO_USER_ERROR;

		name = strerrorname_np(error);
		if (name)
			snprintf(buf, len, "error %s", name);
		else
			snprintf(buf, len, "error %u", error);
		return;
	}
	name = symtab_find(&n->user, code);
	if (name)
		snprintf(buf, len, "%s", name);
	else
		snprintf(buf, len, "KVM_EXIT_%u", code);
}

void iho_softirq_name(const struct iho_names *n, uint32_t nr, char *buf, size_t len)
{
	const char *name = symtab_find(&n->softirq, nr);

	if (name)
		snprintf(buf, len, "%s", name);
	else
		snprintf(buf, len, "%u", nr);
}

void iho_apicv_reason_name(const struct iho_names *n, unsigned int bit, char *buf, size_t len)
{
	if (bit < APICV_BITS && n->apicv[bit])
		snprintf(buf, len, "%s", n->apicv[bit]);
	else
		snprintf(buf, len, "bit %u", bit);
}

int iho_names_field_offset(const struct iho_names *n, const char *system, const char *event,
			   const char *field)
{
	const struct tep_format_field *f;
	const struct tep_event *e;
	struct tep_handle *tep;
	int ret;

	if (!n->tracefs)
		return -ENOENT;
	/* A handle of its own: `n` stays as it is, and a module loaded meanwhile is seen. */
	tep = tep_alloc();
	if (!tep)
		return -ENOMEM;
	ret = parse_event(tep, n->tracefs, system, event, &e);
	if (!ret) {
		/* The library only looks, but its prototype has no const. */
		f = tep_find_any_field((struct tep_event *)e, field);
		ret = f ? f->offset : -ENOENT;
	}
	tep_free(tep);
	return ret;
}

const char *iho_names_source(const struct iho_names *n)
{
	return n->from_kernel ? "kernel" : "built-in";
}
