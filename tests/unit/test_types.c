// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * The index of a guest's BTF, beside libbpf: over all structs of this host's kernel, over blobs
 * that libbpf writes with every kind, and over blobs that lie.
 */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include <bpf/btf.h>
#include <cmocka.h>

#include "../../vmi/kernel/types.h"

#define HOST_BTF "/sys/kernel/btf/vmlinux"

/* In a block of its own, so that the sanitizer sees a byte read too far. */
static int open_exactly(struct vmi_types **out, const void *blob, size_t n,
			const struct vmi_types *base)
{
	unsigned char *copy = malloc(n ? n : 1);
	int err;

	assert_non_null(copy);
	if (n)
		memcpy(copy, blob, n);
	err = vmi_types_open(out, copy, n, base);
	free(copy);
	return err;
}

static struct vmi_types *open_btf(const struct btf *btf, const struct vmi_types *base)
{
	struct vmi_types *t;
	const void *blob;
	__u32 n;

	blob = btf__raw_data(btf, &n);
	assert_non_null(blob);
	assert_int_equal(open_exactly(&t, blob, n, base), 0);
	return t;
}

/* ------------------------------------------------------------------------ this host, beside libbpf
 */

static __u32 strip(const struct btf *btf, __u32 id)
{
	const struct btf_type *t = btf__type_by_id(btf, id);

	while (btf_is_mod(t) || btf_is_typedef(t) || btf_is_type_tag(t)) {
		id = t->type;
		t = btf__type_by_id(btf, id);
	}
	return id;
}

static bool integer_signed(const struct btf_type *t)
{
	return btf_is_int(t) ? btf_int_encoding(t) & BTF_INT_SIGNED
			     : btf_is_any_enum(t) && btf_kflag(t);
}

static void compare_member(const struct btf *btf, const struct vmi_types *types, const char *path,
			   const struct btf_member *m, uint32_t bit_offset, uint32_t bits)
{
	__u32 id = strip(btf, m->type);
	const struct btf_type *t = btf__type_by_id(btf, id);
	struct vmi_field f;

	if (vmi_types_field(types, path, &f))
		fail_msg("%s is missing", path);
	if (f.type != id || f.is_pointer != btf_is_ptr(t) || f.is_array != btf_is_array(t))
		fail_msg("%s has another type", path);
	if (f.offset * 8 + f.bit != bit_offset || f.bits != bits)
		fail_msg("%s lies elsewhere", path);
	if (bits) {
		assert_true(f.bit + f.bits <= f.size * 8);
		return;
	}
	if (btf_is_array(t)) {
		assert_int_equal(f.count, btf_array(t)->nelems);
		assert_int_equal(f.size, f.count * f.elem_size);
		t = btf__type_by_id(btf, strip(btf, btf_array(t)->type));
	}
	assert_int_equal(f.is_signed, integer_signed(t));
	assert_int_equal(f.size, btf__resolve_size(btf, id) < 0 ? 0 : btf__resolve_size(btf, id));
}

/* All members of a struct, also those of the anonymous ones in it. */
static unsigned int compare_members(const struct btf *btf, const struct vmi_types *types,
				    const char *name, __u32 id)
{
	struct {
		__u32 id;
		uint32_t base;
	} todo[256];
	unsigned int n = 1, compared = 0;

	todo[0].id = id;
	todo[0].base = 0;
	while (n) {
		const struct btf_type *t = btf__type_by_id(btf, todo[--n].id);
		uint32_t base = todo[n].base;

		for (__u32 i = 0; i < btf_vlen(t); i++) {
			const struct btf_member *m = btf_members(t) + i;
			const char *member = btf__name_by_offset(btf, m->name_off);
			uint32_t at = base + btf_member_bit_offset(t, i);
			char path[512];

			if (member[0]) {
				snprintf(path, sizeof(path), "%s.%s", name, member);
				compare_member(btf, types, path, m, at,
					       btf_member_bitfield_size(t, i));
				compared++;
			} else if (btf_is_composite(btf__type_by_id(btf, strip(btf, m->type)))) {
				assert_true(n < 256);
				todo[n].id = strip(btf, m->type);
				todo[n++].base = at;
			}
		}
	}
	return compared;
}

static int by_text(const void *a, const void *b)
{
	return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Those that only one struct or union has: of several, any may be meant. */
static const char **unique_names(const struct btf *btf, size_t *n)
{
	__u32 end = btf__type_cnt(btf);
	const char **all = calloc(end, sizeof(*all));
	size_t got = 0, kept = 0;

	assert_non_null(all);
	for (__u32 id = 1; id < end; id++) {
		const struct btf_type *t = btf__type_by_id(btf, id);

		if (btf_is_composite(t) && t->name_off)
			all[got++] = btf__name_by_offset(btf, t->name_off);
	}
	qsort(all, got, sizeof(*all), by_text);
	for (size_t i = 0; i < got; i++)
		if ((!i || strcmp(all[i - 1], all[i])) &&
		    (i + 1 == got || strcmp(all[i], all[i + 1])))
			all[kept++] = all[i];
	*n = kept;
	return all;
}

static void whole_kernel_as_libbpf_sees_it(void **state)
{
	struct btf *btf = btf__parse(HOST_BTF, NULL);
	const char **names;
	struct vmi_types *t;
	unsigned int members = 0;
	size_t n;

	if (!btf) {
		print_message("skipped: no " HOST_BTF " on this host\n");
		skip();
	}
	t = open_btf(btf, NULL);
	assert_int_equal(vmi_types_count(t), btf__type_cnt(btf) - 1);
	names = unique_names(btf, &n);
	assert_true(n > 1000);
	for (size_t i = 0; i < n; i++) {
		int id = btf__find_by_name_kind(btf, names[i], BTF_KIND_STRUCT);

		if (id < 0)
			id = btf__find_by_name_kind(btf, names[i], BTF_KIND_UNION);
		assert_true(id > 0);
		assert_int_equal(vmi_types_id(t, names[i]), id);
		assert_string_equal(vmi_types_name(t, (uint32_t)id), names[i]);
		assert_int_equal(vmi_types_size(t, names[i]), btf__resolve_size(btf, (__u32)id));
		members += compare_members(btf, t, names[i], (__u32)id);
	}
	assert_true(members > 10000);
	print_message("%zu structs, %u members\n", n, members);
	free(names);
	vmi_types_close(t);
	btf__free(btf);
}

/* All enumerators, by their enum, and by themselves where the name is unique enough to be the same.
 */
static void enums_as_libbpf_sees_them(void **state)
{
	struct btf *btf = btf__parse(HOST_BTF, NULL);
	struct vmi_types *t;
	int64_t v;

	if (!btf) {
		print_message("skipped: no " HOST_BTF " on this host\n");
		skip();
	}
	t = open_btf(btf, NULL);
	for (__u32 id = 1; id < btf__type_cnt(btf); id++) {
		const struct btf_type *e = btf__type_by_id(btf, id);
		const char *in = btf__name_by_offset(btf, e->name_off);

		if (!btf_is_enum(e))
			continue;
		for (__u32 i = 0; i < btf_vlen(e); i++) {
			const char *name = btf__name_by_offset(btf, btf_enum(e)[i].name_off);
			int64_t value = btf_kflag(e) ? btf_enum(e)[i].val
						     : (int64_t)(uint32_t)btf_enum(e)[i].val;

			assert_int_equal(vmi_types_enum(t, NULL, name, &v), 0);
			if (!in[0] || btf__find_by_name_kind(btf, in, BTF_KIND_ENUM) != (int)id)
				continue;
			assert_int_equal(vmi_types_enum(t, in, name, &v), 0);
			assert_int_equal(v, value);
			assert_non_null(vmi_types_enum_name(t, in, v));
		}
	}
	vmi_types_close(t);
	btf__free(btf);
}

/* ------------------------------------------------------------------------ blobs that libbpf writes
 */

/* Has every kind that libbpf knows; what is asked for stands behind them all. */
static struct btf *make_kinds(void)
{
	struct btf *b = btf__new_empty();
	int i32, u64, chr, arr, inner, tag, proto, var, deep, outer;

	assert_non_null(b);
	i32 = btf__add_int(b, "int", 4, BTF_INT_SIGNED);
	u64 = btf__add_int(b, "unsigned long", 8, 0);
	chr = btf__add_int(b, "char", 1, BTF_INT_SIGNED | BTF_INT_CHAR);
	arr = btf__add_array(b, u64, chr, 16);
	btf__add_float(b, "double", 8);
	btf__add_fwd(b, "only_declared", BTF_FWD_STRUCT);
	proto = btf__add_func_proto(b, i32);
	btf__add_func_param(b, "a", u64);
	btf__add_func(b, "func", BTF_FUNC_GLOBAL, proto);
	var = btf__add_var(b, "variable", BTF_VAR_STATIC, i32);
	btf__add_datasec(b, ".data", 4);
	btf__add_datasec_var_info(b, var, 0, 4);
	btf__add_enum(b, "colour", 4);
	btf__add_enum_value(b, "RED", 1);
	btf__add_enum_value(b, "BLACK", -1);
	btf__add_enum64(b, "wide", 8, false);
	btf__add_enum64_value(b, "HUGE", 0x123456789abcdef0ull);
	tag = btf__add_type_tag(b, "rcu", i32);
	inner = btf__add_struct(b, NULL, 16);
	btf__add_field(b, "x", u64, 0, 0);
	btf__add_field(b, "low", i32, 64, 3);
	btf__add_field(b, "high", i32, 67, 29);
	deep = btf__add_union(b, NULL, 16);
	btf__add_field(b, NULL, inner, 0, 0);
	btf__add_field(b, "whole", arr, 0, 0);
	outer = btf__add_struct(b, "outer", 64);
	btf__add_field(b, "first", btf__add_const(b, btf__add_volatile(b, tag)), 0, 0);
	assert_true(outer > 0);
	/* Fields go to the last type: the modifiers came behind the struct. */
	outer = btf__add_struct(b, "outer_t_struct", 64);
	btf__add_field(b, "first", btf__find_by_name_kind(b, "int", BTF_KIND_INT), 0, 0);
	btf__add_field(b, NULL, deep, 64, 0);
	btf__add_field(b, "name", arr, 192, 0);
	btf__add_decl_tag(b, "tag", outer, -1);
	btf__add_typedef(b, "outer_t", outer);
	return b;
}

static void assert_field(const struct vmi_types *t, const char *path, uint32_t offset,
			 uint32_t size)
{
	struct vmi_field f;

	assert_int_equal(vmi_types_field(t, path, &f), 0);
	assert_true(f.present);
	assert_int_equal(f.offset, offset);
	assert_int_equal(f.size, size);
}

static void assert_no_field(const struct vmi_types *t, const char *path)
{
	struct vmi_field f;

	memset(&f, 0xff, sizeof(f));
	assert_int_equal(vmi_types_field(t, path, &f), -ENOENT);
	assert_false(f.present);
	/* From the cache too. */
	assert_int_equal(vmi_types_field(t, path, &f), -ENOENT);
	assert_false(f.present);
}

static void every_kind_and_alternatives(void **state)
{
	struct btf *b = make_kinds();
	struct vmi_types *t = open_btf(b, NULL);
	struct vmi_field f;
	int64_t v;

	for (unsigned int again = 0; again < 2; again++) {
		assert_field(t, "outer_t_struct.x", 8, 8);
		assert_field(t, "outer_t.x", 8, 8);
		assert_field(t, "outer_t.whole", 8, 16);
		assert_field(t, "nothing.x|outer_t.nothing|outer_t.name|outer_t.x", 24, 16);
	}
	assert_int_equal(vmi_types_field(t, "outer_t.high", &f), 0);
	assert_int_equal(f.offset * 8 + f.bit, 64 + 64 + 3);
	assert_int_equal(f.bits, 29);
	assert_true(f.is_signed);
	assert_no_field(t, "outer_t");
	assert_no_field(t, "outer_t.");
	assert_no_field(t, ".x");
	assert_no_field(t, "");
	assert_no_field(t, "|||");
	assert_no_field(t, "outer_t.x.y");
	assert_no_field(t, "outer_t.high.y");
	assert_no_field(t, "only_declared.x");
	assert_int_equal(vmi_types_size(t, "outer_t"), 64);
	assert_int_equal(vmi_types_size(t, "only_declared"), 0);
	assert_int_equal(vmi_types_size(t, "func"), 0);
	assert_int_equal(vmi_types_enum(t, "colour", "BLACK", &v), 0);
	assert_int_equal(v, -1);
	assert_int_equal(vmi_types_enum(t, NULL, "HUGE", &v), 0);
	assert_int_equal(v, 0x123456789abcdef0ll);
	assert_int_equal(vmi_types_enum(t, "wide", "RED", &v), -ENOENT);
	assert_int_equal(vmi_types_enum(t, "no_such", "RED", &v), -ENOENT);
	assert_string_equal(vmi_types_enum_name(t, "colour", 1), "RED");
	assert_null(vmi_types_enum_name(t, "colour", 2));
	vmi_types_close(t);
	btf__free(b);
}

static void split_btf_has_ids_and_strings_behind_its_base(void **state)
{
	struct btf *base = make_kinds(), *split = btf__new_empty_split(base);
	struct vmi_types *t, *m;
	int own;
	int64_t v;

	assert_non_null(split);
	own = btf__add_struct(split, "of_module", 72);
	btf__add_field(split, "mine", btf__find_by_name(split, "int"), 0, 0);
	btf__add_field(split, "theirs", btf__find_by_name(split, "outer_t"), 64, 0);
	btf__add_enum(split, "of_module_enum", 4);
	btf__add_enum_value(split, "MINE", 7);
	t = open_btf(base, NULL);
	m = open_btf(split, t);
	assert_int_equal(vmi_types_id(m, "of_module"), own);
	assert_int_equal(own, btf__type_cnt(base));
	assert_int_equal(vmi_types_count(m), btf__type_cnt(split) - 1);
	assert_string_equal(vmi_types_name(m, (uint32_t)own), "of_module");
	assert_field(m, "of_module.mine", 0, 4);
	assert_field(m, "of_module.theirs.x", 16, 8);
	assert_field(m, "outer_t.name", 24, 16);
	assert_int_equal(vmi_types_enum(m, NULL, "RED", &v), 0);
	assert_int_equal(v, 1);
	assert_int_equal(vmi_types_enum(m, NULL, "MINE", &v), 0);
	assert_int_equal(v, 7);
	assert_int_equal(vmi_types_id(t, "of_module"), 0);
	vmi_types_close(m);
	vmi_types_close(t);
	btf__free(split);
	btf__free(base);
}

/* ------------------------------------------------------------------------ blobs written by hand */

struct blob {
	unsigned char *bytes;
	size_t n, size;
	char strings[256];
	uint32_t n_strings;
};

static void put(struct blob *b, uint32_t v)
{
	if (b->n + 4 > b->size) {
		b->size = b->size ? 2 * b->size : 4096;
		b->bytes = realloc(b->bytes, b->size);
		assert_non_null(b->bytes);
	}
	memcpy(b->bytes + b->n, &v, 4);
	b->n += 4;
}

static void put_type(struct blob *b, uint32_t name, unsigned int kind, bool flag, uint32_t vlen,
		     uint32_t size)
{
	put(b, name);
	put(b, (uint32_t)flag << 31 | kind << 24 | vlen);
	put(b, size);
}

static void put_member(struct blob *b, uint32_t name, uint32_t type, uint32_t offset)
{
	put(b, name);
	put(b, type);
	put(b, offset);
}

static uint32_t name_of(struct blob *b, const char *s)
{
	uint32_t at = b->n_strings ? b->n_strings : 1;

	assert_true(at + strlen(s) < sizeof(b->strings));
	strcpy(b->strings + at, s);
	b->n_strings = at + (uint32_t)strlen(s) + 1;
	return at;
}

/* Header and strings around the types, and behind them what Linux 7 may have: layouts of kinds. */
static int open_blob(struct blob *b, struct vmi_types **out, const unsigned char *layout,
		     uint32_t n)
{
	uint32_t header = layout ? 32 : 24, strings = b->n_strings ? b->n_strings : 1;
	size_t size = header + b->n + strings + n;
	unsigned char *p = calloc(1, size);
	uint32_t words[8] = {
		0xeb9f | 1 << 16,	  header, 0, (uint32_t)b->n, (uint32_t)b->n, strings,
		(uint32_t)b->n + strings, n
	};
	int err;

	assert_non_null(p);
	memcpy(p, words, header);
	memcpy(p + header, b->bytes, b->n);
	memcpy(p + header + b->n, b->strings, strings);
	if (layout)
		memcpy(p + header + b->n + strings, layout, n);
	err = open_exactly(out, p, size, NULL);
	free(p);
	free(b->bytes);
	memset(b, 0, sizeof(*b));
	return err;
}

enum { INT = 1, PTR, ARRAY, STRUCT, UNION, ENUM, FWD, TYPEDEF, CONST = 10, UNKNOWN = 99 };

static void put_int(struct blob *b)
{
	put_type(b, name_of(b, "int"), INT, false, 0, 4);
	put(b, 32 | 1 << 24);
}

/* Before kind_flag (pahole < 1.13) a bit field was an int of so many bits, at its bit. */
static void bit_fields_without_kind_flag(void **state)
{
	struct blob b = { 0 };
	struct vmi_types *t;
	struct vmi_field f;

	put_int(&b);
	put_type(&b, 0, INT, false, 0, 4);
	put(&b, 5);
	put_type(&b, name_of(&b, "s"), STRUCT, false, 2, 8);
	put_member(&b, name_of(&b, "five"), 2, 35);
	put_member(&b, name_of(&b, "plain"), 1, 0);
	assert_int_equal(open_blob(&b, &t, NULL, 0), 0);
	assert_int_equal(vmi_types_field(t, "s.five", &f), 0);
	assert_int_equal(f.offset, 4);
	assert_int_equal(f.size, 4);
	assert_int_equal(f.bit, 3);
	assert_int_equal(f.bits, 5);
	assert_field(t, "s.plain", 0, 4);
	vmi_types_close(t);
}

/* A packed bit field may lie across its type's unit. */
static void bit_fields_across_their_unit(void **state)
{
	struct blob b = { 0 };
	struct vmi_types *t;
	struct vmi_field f;

	put_int(&b);
	put_type(&b, name_of(&b, "s"), STRUCT, true, 2, 8);
	put_member(&b, name_of(&b, "across"), 1, 30 | 20u << 24);
	put_member(&b, name_of(&b, "absurd"), 1, 7 | 255u << 24);
	assert_int_equal(open_blob(&b, &t, NULL, 0), 0);
	assert_int_equal(vmi_types_field(t, "s.across", &f), 0);
	assert_int_equal(f.offset, 3);
	assert_int_equal(f.size, 4);
	assert_int_equal(f.bit, 6);
	assert_int_equal(f.bits, 20);
	assert_no_field(t, "s.absurd");
	vmi_types_close(t);
}

/* Enums of old encoders, which never set kind_flag, have negative values all the same. */
static void enums_of_old_encoders(void **state)
{
	struct blob b = { 0 };
	struct vmi_types *t;
	int64_t v;

	put_type(&b, name_of(&b, "e"), ENUM, false, 1, 4);
	put(&b, name_of(&b, "MINUS"));
	put(&b, (uint32_t)-3);
	assert_int_equal(open_blob(&b, &t, NULL, 0), 0);
	assert_int_equal(vmi_types_enum(t, "e", "MINUS", &v), 0);
	assert_int_equal(v, -3);
	vmi_types_close(t);
}

static void unknown_kinds_are_passed_over_where_told_how(void **state)
{
	unsigned char layout[4 * (UNKNOWN + 1)] = { 0 };

	layout[4 * UNKNOWN] = 4; /* fixed */
	layout[4 * UNKNOWN + 1] = 8; /* each */
	for (unsigned int told = 0; told < 2; told++) {
		struct blob b = { 0 };
		struct vmi_types *t;

		put_int(&b);
		put_type(&b, 0, UNKNOWN, true, 2, 0);
		for (unsigned int i = 0; i < 5; i++)
			put(&b, 0xffffffff);
		put_type(&b, name_of(&b, "s"), STRUCT, false, 1, 4);
		put_member(&b, name_of(&b, "m"), 1, 0);
		if (!told) {
			assert_int_equal(open_blob(&b, &t, NULL, 0), -EINVAL);
			continue;
		}
		assert_int_equal(open_blob(&b, &t, layout, sizeof(layout)), 0);
		assert_field(t, "s.m", 0, 4);
		vmi_types_close(t);
	}
}

/* vlen has 24 bits since Linux 7. */
static void more_members_than_16_bits_count(void **state)
{
	struct blob b = { 0 };
	struct vmi_types *t;
	int64_t v;

	put_int(&b);
	put_type(&b, name_of(&b, "e"), ENUM, true, 65600, 4);
	for (uint32_t i = 0, name = name_of(&b, "OTHER"), last = name_of(&b, "LAST"); i < 65600;
	     i++) {
		put(&b, i == 65599 ? last : name);
		put(&b, i);
	}
	assert_int_equal(open_blob(&b, &t, NULL, 0), 0);
	assert_int_equal(vmi_types_count(t), 2);
	assert_int_equal(vmi_types_enum(t, NULL, "LAST", &v), 0);
	assert_int_equal(v, 65599);
	vmi_types_close(t);
}

/* ----------------------------------------------------------------------------------------- lies */

static void chains_without_end(void **state)
{
	struct blob b = { 0 };
	struct vmi_types *t;
	uint32_t m = 0;

	put_int(&b); /* 1 */
	put_type(&b, name_of(&b, "loop"), TYPEDEF, false, 0, 3); /* 2 */
	put_type(&b, 0, CONST, false, 0, 2); /* 3 */
	put_type(&b, 0, ARRAY, false, 0, 0); /* 4: of itself */
	put(&b, 4);
	put(&b, 1);
	put(&b, 2);
	m = name_of(&b, "m");
	put_type(&b, name_of(&b, "self"), STRUCT, false, 4,
		 8); /* 5: contains itself, thrice unnamed */
	put_member(&b, 0, 5, 0);
	put_member(&b, 0, 5, 64);
	put_member(&b, 0, 5, 0xffffffff);
	put_member(&b, m, 5, 0x80000000);
	put_type(&b, name_of(&b, "odd"), STRUCT, false, 4, 8); /* 6 */
	put_member(&b, name_of(&b, "loop"), 2, 0);
	put_member(&b, name_of(&b, "array"), 4, 0);
	put_member(&b, name_of(&b, "nowhere"), 4000000000u, 0);
	put_member(&b, 4000000000u, 1, 0);
	assert_int_equal(open_blob(&b, &t, NULL, 0), 0);
	assert_no_field(t, "self.none");
	assert_no_field(t, "self.m.m.m.none");
	assert_no_field(t, "loop.x");
	assert_no_field(t, "odd.loop");
	assert_no_field(t, "odd.nowhere");
	assert_no_field(t, "odd.array.x");
	assert_no_field(t, "odd.none");
	assert_int_equal(vmi_types_size(t, "loop"), 0);
	assert_string_equal(vmi_types_name(t, 0), "");
	assert_string_equal(vmi_types_name(t, 7), "");
	assert_string_equal(vmi_types_name(t, UINT32_MAX), "");
	vmi_types_close(t);
}

/* Deeper than 4 GiB, in sizes and in offsets. */
static void numbers_that_overflow(void **state)
{
	struct blob b = { 0 };
	struct vmi_types *t;
	struct vmi_field f;
	uint32_t m;

	put_int(&b); /* 1 */
	for (uint32_t i = 2; i < 10; i++) { /* arrays of arrays, of 65536 each */
		put_type(&b, 0, ARRAY, false, 0, 0);
		put(&b, i - 1);
		put(&b, 1);
		put(&b, 65536);
	}
	put_type(&b, name_of(&b, "s"), STRUCT, false, 1, 4); /* 10 */
	m = name_of(&b, "m");
	put_member(&b, m, 9, 0);
	for (uint32_t i = 11; i < 40; i++) { /* each within the other, at 512 MiB */
		put_type(&b, i == 39 ? name_of(&b, "deep") : 0, STRUCT, false, 1, 4);
		put_member(&b, i == 11 ? name_of(&b, "bottom") : 0, i == 11 ? 1 : i - 1,
			   0xfffffff8);
	}
	assert_int_equal(open_blob(&b, &t, NULL, 0), 0);
	assert_int_equal(vmi_types_field(t, "s.m", &f), 0);
	assert_int_equal(f.size, 0);
	assert_int_equal(f.elem_size, 0);
	assert_no_field(t, "deep.bottom");
	vmi_types_close(t);
}

static void lengths_that_do_not_fit(void **state)
{
	static const unsigned int kinds[] = { STRUCT, UNION, ENUM, 13, 15, 19 };

	for (size_t i = 0; i < sizeof(kinds) / sizeof(*kinds); i++) {
		struct blob b = { 0 };
		struct vmi_types *t = NULL;

		put_int(&b);
		put_type(&b, 0, kinds[i], false, 0xffffff, 4);
		put(&b, 0);
		assert_int_equal(open_blob(&b, &t, NULL, 0), -EINVAL);
		assert_null(t);
	}
}

/* 200,000 structs of one name: looking for a member that none has ends. */
static void a_name_that_everything_has(void **state)
{
	struct blob b = { 0 };
	struct vmi_types *t;
	uint32_t s = name_of(&b, "s"), m = name_of(&b, "m");

	put_int(&b);
	for (unsigned int i = 0; i < 200000; i++) {
		put_type(&b, s, STRUCT, false, 1, 4);
		put_member(&b, m, 1, 0);
	}
	assert_int_equal(open_blob(&b, &t, NULL, 0), 0);
	assert_int_equal(vmi_types_id(t, "s"), 2);
	assert_field(t, "s.m", 0, 4);
	assert_no_field(t, "s.none");
	vmi_types_close(t);
}

static void ask_everything(const struct vmi_types *t)
{
	static const char *const paths[] = {
		"outer_t.x",   "outer_t.high", "outer_t.name",
		"outer.first", "wide.x",       "outer_t.whole.x",
	};
	struct vmi_field f[6];
	size_t seen = 0;
	int64_t v;

	vmi_types_fields(t, paths, f, 6);
	vmi_types_enum(t, NULL, "HUGE", &v);
	vmi_types_enum(t, "colour", "BLACK", &v);
	for (uint32_t id = 0; id <= vmi_types_count(t) + 1; id++)
		seen += strlen(vmi_types_name(t, id));
	vmi_types_size(t, "outer_t");
	vmi_types_enum_name(t, "colour", 5);
	assert_true(seen < 1 << 20);
}

static void cut_at_every_byte(void **state)
{
	struct btf *b = make_kinds();
	__u32 n;
	const unsigned char *blob = btf__raw_data(b, &n);

	for (__u32 len = 0; len < n; len++) {
		struct vmi_types *t = NULL;

		assert_int_equal(open_exactly(&t, blob, len, NULL), -EINVAL);
		assert_null(t);
	}
	btf__free(b);
}

/* The header tells a shorter type or string section: an early end is noticed, or is a smaller
 * whole. */
static void sections_cut_at_every_byte(void **state)
{
	struct btf *b = make_kinds();
	__u32 n;
	const unsigned char *blob = btf__raw_data(b, &n);
	unsigned char *copy = malloc(n);
	unsigned int opened = 0;

	assert_non_null(copy);
	for (unsigned int word = 3; word <= 5; word += 2) {
		uint32_t len;

		memcpy(&len, blob + 4 * word, 4);
		for (uint32_t cut = 0; cut < len; cut++) {
			struct vmi_types *t;

			memcpy(copy, blob, n);
			memcpy(copy + 4 * word, &cut, 4);
			if (open_exactly(&t, copy, n, NULL))
				continue;
			ask_everything(t);
			vmi_types_close(t);
			opened++;
		}
	}
	assert_true(opened > 0);
	free(copy);
	btf__free(b);
}

static void every_byte_changed(void **state)
{
	static const unsigned char changes[] = { 0x01, 0x80, 0xff, 0x10 };
	struct btf *b = make_kinds();
	__u32 n;
	const unsigned char *blob = btf__raw_data(b, &n);
	unsigned char *copy = malloc(n);
	unsigned int opened = 0;

	assert_non_null(copy);
	for (__u32 i = 0; i < n; i++) {
		for (size_t c = 0; c < sizeof(changes); c++) {
			struct vmi_types *t;

			memcpy(copy, blob, n);
			copy[i] ^= changes[c];
			if (open_exactly(&t, copy, n, NULL))
				continue;
			ask_everything(t);
			vmi_types_close(t);
			opened++;
		}
	}
	assert_true(opened > n);
	free(copy);
	btf__free(b);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(whole_kernel_as_libbpf_sees_it),
		cmocka_unit_test(enums_as_libbpf_sees_them),
		cmocka_unit_test(every_kind_and_alternatives),
		cmocka_unit_test(split_btf_has_ids_and_strings_behind_its_base),
		cmocka_unit_test(bit_fields_without_kind_flag),
		cmocka_unit_test(bit_fields_across_their_unit),
		cmocka_unit_test(enums_of_old_encoders),
		cmocka_unit_test(unknown_kinds_are_passed_over_where_told_how),
		cmocka_unit_test(more_members_than_16_bits_count),
		cmocka_unit_test(chains_without_end),
		cmocka_unit_test(numbers_that_overflow),
		cmocka_unit_test(lengths_that_do_not_fit),
		cmocka_unit_test(a_name_that_everything_has),
		cmocka_unit_test(cut_at_every_byte),
		cmocka_unit_test(sections_cut_at_every_byte),
		cmocka_unit_test(every_byte_changed),
	};

	return cmocka_run_group_tests_name("types", tests, NULL, NULL);
}
