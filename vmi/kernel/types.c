// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * BTF (Documentation/bpf/btf.rst, include/uapi/linux/btf.h), as a kernel that may lie wrote it.
 *
 * When opened, the type section is passed over once: the start of each type is noted, and that its
 * whole record lies within the section. What a record refers to (a type id, an offset of a string)
 * is checked by the one function that follows such a reference: load(), string(). So no order or
 * depth of nonsense matters, and nothing is paid for the types that nobody asks for. All chains are
 * followed in loops with limits.
 */
#include "internal.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>

#define MAGIC	    0xeb9f
#define HEADER_SIZE 24 /* up to and with str_len: all kernels'; newer ones append to it */
#define CHAIN_MAX   64 /* typedefs and modifiers in a row; arrays of arrays */
#define NESTED_MAX  32 /* anonymous structs that wait to be searched */
#define MEMBERS_MAX (1u << 18) /* looked at for one path */
#define NAME_LEN    512 /* KSYM_NAME_LEN; a longer one cannot be looked up */
#define PROBES_MAX  4096 /* names in one bucket */
#define CACHE_SIZE  4096 /* paths; a power of two */

enum kind {
	K_INT = 1,
	K_PTR,
	K_ARRAY,
	K_STRUCT,
	K_UNION,
	K_ENUM,
	K_FWD,
	K_TYPEDEF,
	K_VOLATILE,
	K_CONST,
	K_RESTRICT,
	K_FUNC,
	K_FUNC_PROTO,
	K_VAR,
	K_DATASEC,
	K_FLOAT,
	K_DECL_TAG,
	K_TYPE_TAG,
	K_ENUM64,
	KINDS,
};

#define BIT(kind) (1u << (kind))

static const uint32_t composites = BIT(K_STRUCT) | BIT(K_UNION);
static const uint32_t enums = BIT(K_ENUM) | BIT(K_ENUM64);
static const uint32_t sized = BIT(K_INT) | BIT(K_STRUCT) | BIT(K_UNION) | BIT(K_ENUM) |
			      BIT(K_ENUM64) | BIT(K_FLOAT);
static const uint32_t modifiers = BIT(K_TYPEDEF) | BIT(K_VOLATILE) | BIT(K_CONST) |
				  BIT(K_RESTRICT) | BIT(K_TYPE_TAG);
static const uint32_t indexed = BIT(K_INT) | BIT(K_STRUCT) | BIT(K_UNION) | BIT(K_ENUM) |
				BIT(K_ENUM64) | BIT(K_TYPEDEF);

/* What follows the three words of a type: a fixed part, and one for each of vlen elements. */
static const struct layout {
	bool known;
	unsigned char fixed, each;
} layouts[KINDS] = {
	[K_INT] = { true, 4, 0 },	 [K_PTR] = { true, 0, 0 },
	[K_ARRAY] = { true, 12, 0 },	 [K_STRUCT] = { true, 0, 12 },
	[K_UNION] = { true, 0, 12 },	 [K_ENUM] = { true, 0, 8 },
	[K_FWD] = { true, 0, 0 },	 [K_TYPEDEF] = { true, 0, 0 },
	[K_VOLATILE] = { true, 0, 0 },	 [K_CONST] = { true, 0, 0 },
	[K_RESTRICT] = { true, 0, 0 },	 [K_FUNC] = { true, 0, 0 },
	[K_FUNC_PROTO] = { true, 0, 8 }, [K_VAR] = { true, 4, 0 },
	[K_DATASEC] = { true, 0, 12 },	 [K_FLOAT] = { true, 0, 0 },
	[K_DECL_TAG] = { true, 4, 0 },	 [K_TYPE_TAG] = { true, 0, 0 },
	[K_ENUM64] = { true, 0, 12 },
};

struct cached {
	char *path; /* NULL: empty */
	uint64_t hash;
	struct vmi_field field;
};

/* What lookups add, behind a pointer: the index itself is const to them. */
struct memory {
	struct cached fields[CACHE_SIZE];
	unsigned int n;
	/* Enumerators by name, made when the first is asked for without its enum. */
	struct enumerator {
		uint32_t id, nth, next;
	} * enumerators;
	uint32_t *buckets, mask;
};

struct vmi_types {
	const struct vmi_types *base;
	unsigned char *blob; /* owned */
	const unsigned char *types;
	const char *strings;
	uint32_t types_len, strings_len;
	uint32_t string_start; /* of a split BTF: behind the base's strings */
	uint32_t first, end; /* type ids of this blob */
	uint32_t *at; /* where type `first + i` starts in `types` */
	uint32_t *buckets, *next, mask; /* by name: i + 1 of the first type, of the next one */
	uint32_t n_enumerators;
	bool enums_have_sign; /* kind_flag tells it; before pahole 1.24 it did not */
	struct memory *memory;
};

struct type {
	uint32_t id, name, kind, vlen, size; /* size: or the type that is referred to */
	bool flag;
	const unsigned char *rest; /* what follows, whole */
};

static uint32_t u32(const unsigned char *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint64_t hash_of(const char *s, size_t len)
{
	uint64_t h = len, v;

	for (; len >= 8; s += 8, len -= 8) {
		memcpy(&v, s, 8);
		h = (h ^ v) * 0x9e3779b97f4a7c15ull;
		h ^= h >> 32;
	}
	v = 0;
	for (size_t i = 0; i < len; i++)
		v = v << 8 | (unsigned char)s[i];
	h = (h ^ v) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 29;
}

/* ---------------------------------------------------------------------- references, all checked */

static const char *string(const struct vmi_types *t, uint32_t offset)
{
	while (t->base && offset < t->string_start)
		t = t->base;
	offset -= t->string_start;
	return offset < t->strings_len ? t->strings + offset : "";
}

static bool named(const struct vmi_types *t, uint32_t offset, const char *name, size_t len)
{
	const char *s = string(t, offset);

	return !strncmp(s, name, len) && !s[len];
}

/* bits 0-23 of `info` are vlen and 24-30 the kind; before Linux 7 the upper bits of both were 0. */
static void parse(const unsigned char *p, struct type *out)
{
	uint32_t info = u32(p + 4);

	out->name = u32(p);
	out->vlen = info & 0xffffff;
	out->kind = info >> 24 & 0x7f;
	out->flag = info >> 31;
	out->size = u32(p + 8);
	out->rest = p + 12;
}

static bool load(const struct vmi_types *t, uint32_t id, struct type *out)
{
	while (t->base && id < t->first)
		t = t->base;
	if (id < t->first || id >= t->end)
		return false;
	parse(t->types + t->at[id - t->first], out);
	out->id = id;
	return true;
}

static bool is(const struct type *type, uint32_t kinds)
{
	return type->kind < KINDS && BIT(type->kind) & kinds;
}

/* The type behind typedefs and modifiers. */
static bool strip(const struct vmi_types *t, uint32_t id, struct type *out)
{
	for (unsigned int i = 0; i < CHAIN_MAX; i++) {
		if (!load(t, id, out))
			return false;
		if (!is(out, modifiers))
			return true;
		id = out->size;
	}
	return false;
}

static uint32_t size_of(const struct vmi_types *t, uint32_t id)
{
	uint64_t n = 1;

	for (unsigned int i = 0; i < CHAIN_MAX; i++) {
		struct type type;

		if (!strip(t, id, &type))
			return 0;
		if (type.kind != K_ARRAY) {
			n *= is(&type, sized) ? type.size : type.kind == K_PTR ? 8 : 0;
			return n <= UINT32_MAX ? n : 0;
		}
		n *= u32(type.rest + 8);
		if (n > UINT32_MAX)
			return 0;
		id = u32(type.rest);
	}
	return 0;
}

/* -------------------------------------------------------------------------------------- opening */

/*
 * From Linux 7 on, the header may be followed by what `layouts` says, so that kinds unknown here
 * can be passed over.
 */
struct sections {
	const unsigned char *layout;
	uint32_t layouts;
};

static bool section(uint64_t start, uint32_t offset, uint32_t len, size_t bytes)
{
	return start + offset + len <= bytes;
}

static int open_sections(struct vmi_types *t, size_t bytes, struct sections *s)
{
	const unsigned char *p = t->blob;
	uint32_t header, types, strings;

	if (bytes < HEADER_SIZE || (p[0] | p[1] << 8) != MAGIC || p[2] != 1)
		return -EINVAL;
	header = u32(p + 4);
	types = u32(p + 8);
	t->types_len = u32(p + 12);
	strings = u32(p + 16);
	t->strings_len = u32(p + 20);
	if (header < HEADER_SIZE || header > bytes || !t->strings_len)
		return -EINVAL;
	if (!section(header, types, t->types_len, bytes) ||
	    !section(header, strings, t->strings_len, bytes))
		return -EINVAL;
	t->types = p + header + types;
	t->strings = (const char *)p + header + strings;
	if (t->strings[t->strings_len - 1])
		return -EINVAL;
	if (header >= HEADER_SIZE + 8 && section(header, u32(p + 24), u32(p + 28), bytes)) {
		s->layout = p + header + u32(p + 24);
		s->layouts = u32(p + 28) / 4;
	}
	return 0;
}

/* Bytes of the record at `p`, of which `left` are there; 0 = it is not whole, or not known. */
static uint64_t record(const struct sections *s, const struct type *type, uint32_t left)
{
	uint64_t bytes = 12;

	if (type->kind < KINDS && layouts[type->kind].known)
		bytes +=
			layouts[type->kind].fixed + (uint64_t)type->vlen * layouts[type->kind].each;
	else if (type->kind && type->kind < s->layouts)
		bytes += s->layout[4 * type->kind] +
			 (uint64_t)type->vlen * s->layout[4 * type->kind + 1];
	else
		return 0;
	return bytes <= left ? bytes : 0;
}

static int note_starts(struct vmi_types *t, const struct sections *s)
{
	uint32_t n = 0, at = 0, max = t->types_len / 12;

	/* BTF_MAX_TYPE and some: no kernel has a million types. */
	if (max > 4u << 20)
		max = 4u << 20;
	t->at = malloc((max + 1) * sizeof(*t->at));
	if (!t->at)
		return -ENOMEM;
	while (at < t->types_len) {
		struct type type;
		uint64_t bytes;

		if (t->types_len - at < 12 || n >= max)
			return -EINVAL;
		parse(t->types + at, &type);
		bytes = record(s, &type, t->types_len - at);
		if (!bytes)
			return -EINVAL;
		if (is(&type, enums))
			t->n_enumerators += type.vlen;
		if (type.kind == K_ENUM && type.flag)
			t->enums_have_sign = true;
		t->at[n++] = at;
		at += bytes;
	}
	t->end = t->first + n;
	return 0;
}

static uint32_t buckets_for(uint32_t n)
{
	uint32_t size = 64;

	while (size < n)
		size *= 2;
	return size;
}

/* By name. From the last to the first, so that a bucket hands out the first one first. */
static int index_names(struct vmi_types *t)
{
	uint32_t n = t->end - t->first, size = buckets_for(n / 2);

	t->mask = size - 1;
	t->buckets = calloc(size, sizeof(*t->buckets));
	t->next = malloc((n + 1) * sizeof(*t->next));
	if (!t->buckets || !t->next)
		return -ENOMEM;
	for (uint32_t i = n; i--;) {
		struct type type;
		const char *name;
		uint32_t *bucket;
		size_t len;

		parse(t->types + t->at[i], &type);
		if (!is(&type, indexed) || !type.name)
			continue;
		/* Millions of types may share a name of millions of bytes: it is not measured. */
		name = string(t, type.name);
		len = strnlen(name, NAME_LEN);
		if (len == NAME_LEN)
			continue;
		bucket = &t->buckets[hash_of(name, len) & t->mask];
		t->next[i] = *bucket;
		*bucket = i + 1;
	}
	return 0;
}

int vmi_types_adopt(struct vmi_types **out, void *blob, size_t bytes, const struct vmi_types *base)
{
	struct vmi_types *t = calloc(1, sizeof(*t));
	struct sections s = { 0 };
	int err;

	*out = NULL;
	if (!t) {
		free(blob);
		return -ENOMEM;
	}
	t->blob = blob;
	t->base = base;
	t->first = base ? base->end : 1;
	t->string_start = base ? base->string_start + base->strings_len : 0;
	err = bytes > VMI_BTF_MAX ? -E2BIG : open_sections(t, bytes, &s);
	if (!err)
		err = note_starts(t, &s);
	if (!err)
		err = index_names(t);
	if (!err) {
		t->memory = calloc(1, sizeof(*t->memory));
		err = t->memory ? 0 : -ENOMEM;
	}
	if (err) {
		vmi_types_close(t);
		return err;
	}
	*out = t;
	return 0;
}

int vmi_types_open(struct vmi_types **out, const void *blob, size_t bytes,
		   const struct vmi_types *base)
{
	void *copy;

	*out = NULL;
	if (bytes > VMI_BTF_MAX)
		return -E2BIG;
	copy = malloc(bytes ? bytes : 1);
	if (!copy)
		return -ENOMEM;
	if (bytes)
		memcpy(copy, blob, bytes);
	return vmi_types_adopt(out, copy, bytes, base);
}

void vmi_types_close(struct vmi_types *t)
{
	if (!t)
		return;
	if (t->memory) {
		for (unsigned int i = 0; i < CACHE_SIZE; i++)
			free(t->memory->fields[i].path);
		free(t->memory->enumerators);
		free(t->memory->buckets);
		free(t->memory);
	}
	free(t->next);
	free(t->buckets);
	free(t->at);
	free(t->blob);
	free(t);
}

/* -------------------------------------------------------------------------------------- by name */

/* All types of a name, of this blob first, then of its base. */
struct search {
	const struct vmi_types *t;
	const char *name;
	size_t len;
	uint64_t hash;
	uint32_t kinds, at;
	unsigned int probes;
};

static void search_start(struct search *s, const struct vmi_types *t, const char *name, size_t len,
			 uint32_t kinds)
{
	*s = (struct search){ .t = t, .name = name, .len = len, .kinds = kinds };
	s->hash = hash_of(name, len);
	s->at = t ? t->buckets[s->hash & t->mask] : 0;
}

static bool search_next(struct search *s, struct type *out)
{
	while (s->t) {
		while (s->at && s->probes++ < PROBES_MAX) {
			uint32_t i = s->at - 1;

			s->at = s->t->next[i];
			if (load(s->t, s->t->first + i, out) && is(out, s->kinds) &&
			    named(s->t, out->name, s->name, s->len))
				return true;
		}
		s->t = s->t->base;
		s->at = s->t ? s->t->buckets[s->hash & s->t->mask] : 0;
	}
	return false;
}

static bool first_of(const struct vmi_types *t, const char *name, uint32_t kinds, struct type *out)
{
	struct search s;

	search_start(&s, t, name, strlen(name), kinds);
	return search_next(&s, out);
}

static const uint32_t by_precedence[] = {
	BIT(K_STRUCT) | BIT(K_UNION),
	BIT(K_TYPEDEF),
	BIT(K_ENUM) | BIT(K_ENUM64) | BIT(K_INT),
};

uint32_t vmi_types_id(const struct vmi_types *t, const char *name)
{
	struct type type;

	for (size_t i = 0; i < sizeof(by_precedence) / sizeof(*by_precedence); i++)
		if (first_of(t, name, by_precedence[i], &type))
			return type.id;
	return 0;
}

uint32_t vmi_types_size(const struct vmi_types *t, const char *name)
{
	uint32_t id = vmi_types_id(t, name);

	return id ? size_of(t, id) : 0;
}

const char *vmi_types_name(const struct vmi_types *t, uint32_t id)
{
	struct type type;

	return t && load(t, id, &type) ? string(t, type.name) : "";
}

uint32_t vmi_types_count(const struct vmi_types *t)
{
	return t ? t->end - 1 : 0;
}

/* -------------------------------------------------------------------------------------- members */

struct member {
	uint32_t type;
	uint64_t base; /* bits from the outermost struct to the innermost one that has it */
	uint32_t offset; /* bits from there */
	uint32_t bits; /* of a bit field, by its member */
};

/*
 * Looks for a member in a struct and in its anonymous members. These wait on a stack: in which
 * order they are searched does not matter, C allows a name once.
 */
static bool find_member(const struct vmi_types *t, const struct type *in, const char *name,
			size_t len, struct member *out, uint32_t *left)
{
	struct {
		struct type type;
		uint64_t base;
	} stack[NESTED_MAX];
	unsigned int depth = 1;

	stack[0].type = *in;
	stack[0].base = out->base;
	while (depth) {
		struct type type = stack[--depth].type;
		uint64_t base = stack[depth].base;

		for (uint32_t i = 0; i < type.vlen; i++) {
			const unsigned char *m = type.rest + 12 * i;
			uint32_t offset = u32(m + 8), bits = type.flag ? offset >> 24 : 0;

			if (!*left)
				return false;
			--*left;
			if (type.flag)
				offset &= 0xffffff;
			if (u32(m) && named(t, u32(m), name, len)) {
				*out = (struct member){ u32(m + 4), base, offset, bits };
				return true;
			}
			if (u32(m) || depth == NESTED_MAX ||
			    !strip(t, u32(m + 4), &stack[depth].type) ||
			    !is(&stack[depth].type, composites))
				continue;
			stack[depth++].base = base + offset;
		}
	}
	return false;
}

/* The storage unit of a bit field: that of its type, unless the field crosses it (packed). */
static bool place_bits(struct vmi_field *f, const struct member *m, uint32_t unit)
{
	uint64_t end = (uint64_t)m->offset + m->bits, start;

	if (unit != 1 && unit != 2 && unit != 4 && unit != 8)
		return false;
	start = m->offset / (unit * 8) * (uint64_t)(unit * 8);
	if (end > start + unit * 8) {
		start = m->offset / 8 * 8;
		for (unit = 1; unit < 8 && end > start + unit * 8;)
			unit *= 2;
		if (end > start + unit * 8)
			return false;
	}
	if ((m->base + start) / 8 > UINT32_MAX)
		return false;
	f->offset = (m->base + start) / 8;
	f->size = unit;
	f->bit = m->offset - start;
	f->bits = m->bits;
	return true;
}

static bool is_signed(const struct vmi_types *t, const struct type *type)
{
	if (type->kind == K_INT)
		return u32(type->rest) >> 24 & 1;
	return is(type, enums) && type->flag;
}

static bool place(const struct vmi_types *t, struct member *m, struct vmi_field *f)
{
	struct type type, elem;

	if (!strip(t, m->type, &type))
		return false;
	f->type = type.id;
	f->is_pointer = type.kind == K_PTR;
	f->is_signed = is_signed(t, &type);
	/* Before kind_flag, a bit field was an int of so many bits. */
	if (!m->bits && type.kind == K_INT) {
		uint32_t encoding = u32(type.rest), bits = encoding & 0xff;

		if (bits && bits < 64 && (bits != type.size * 8 || m->offset % 8)) {
			m->bits = bits;
			m->offset += encoding >> 16 & 0xff;
		}
	}
	if (m->bits)
		return place_bits(f, m, size_of(t, type.id));
	if ((m->base + m->offset) % 8 || (m->base + m->offset) / 8 > UINT32_MAX)
		return false;
	f->offset = (m->base + m->offset) / 8;
	f->size = size_of(t, type.id);
	if (type.kind == K_ARRAY) {
		f->is_array = true;
		f->count = u32(type.rest + 8);
		f->elem_size = size_of(t, u32(type.rest));
		if (strip(t, u32(type.rest), &elem))
			f->is_signed = is_signed(t, &elem);
	}
	return true;
}

/* The struct that a member is or, as an array, consists of. */
static bool enter(const struct vmi_types *t, uint32_t id, struct type *out)
{
	for (unsigned int i = 0; i < CHAIN_MAX; i++) {
		if (!strip(t, id, out))
			return false;
		if (out->kind != K_ARRAY)
			return is(out, composites);
		id = u32(out->rest);
	}
	return false;
}

/* Follows "member.inner", which ends at `end`, from a struct on. */
static bool follow(const struct vmi_types *t, const struct type *root, const char *path,
		   const char *end, struct vmi_field *f, uint32_t *left)
{
	struct type type = *root;
	struct member m = { 0 };

	for (unsigned int i = 0; i < CHAIN_MAX; i++) {
		const char *dot = memchr(path, '.', (size_t)(end - path));
		size_t len = (size_t)((dot ? dot : end) - path);

		if (!len || !find_member(t, &type, path, len, &m, left))
			return false;
		if (!dot)
			return place(t, &m, f);
		if (m.bits || !enter(t, m.type, &type))
			return false;
		m.base += m.offset;
		path = dot + 1;
	}
	return false;
}

/* One alternative of a path. There may be several structs of a name: any that has the member. */
static bool resolve(const struct vmi_types *t, const char *path, const char *end,
		    struct vmi_field *f, uint32_t *left)
{
	const char *dot = memchr(path, '.', (size_t)(end - path));

	if (!dot)
		return false;
	for (unsigned int i = 0; i < 2; i++) {
		struct type found, type;
		struct search s;

		search_start(&s, t, path, (size_t)(dot - path), by_precedence[i]);
		while (search_next(&s, &found)) {
			memset(f, 0, sizeof(*f));
			if (strip(t, found.id, &type) && is(&type, composites) &&
			    follow(t, &type, dot + 1, end, f, left)) {
				f->present = true;
				return true;
			}
		}
	}
	memset(f, 0, sizeof(*f));
	return false;
}

static void resolve_any(const struct vmi_types *t, const char *path, struct vmi_field *f)
{
	uint32_t left = MEMBERS_MAX;

	memset(f, 0, sizeof(*f));
	for (;;) {
		const char *end = strchrnul(path, '|');

		if (resolve(t, path, end, f, &left) || !*end)
			return;
		path = end + 1;
	}
}

/* The path's place in the cache, or where it can be put; NULL = full. */
static struct cached *cached(struct memory *m, const char *path, uint64_t hash)
{
	for (unsigned int i = 0; i < CACHE_SIZE; i++) {
		struct cached *c = &m->fields[(hash + i) & (CACHE_SIZE - 1)];

		if (!c->path)
			return m->n < CACHE_SIZE * 3 / 4 ? c : NULL;
		if (c->hash == hash && !strcmp(c->path, path))
			return c;
	}
	return NULL;
}

int vmi_types_field(const struct vmi_types *t, const char *path, struct vmi_field *out)
{
	uint64_t hash = hash_of(path, strlen(path));
	struct cached *c = t ? cached(t->memory, path, hash) : NULL;

	memset(out, 0, sizeof(*out));
	if (!t)
		return -ENOENT;
	if (c && c->path) {
		*out = c->field;
		return out->present ? 0 : -ENOENT;
	}
	resolve_any(t, path, out);
	if (c) {
		c->path = strdup(path);
		c->hash = hash;
		c->field = *out;
		t->memory->n += c->path != NULL;
	}
	return out->present ? 0 : -ENOENT;
}

int vmi_types_fields(const struct vmi_types *t, const char *const *paths, struct vmi_field *out,
		     size_t n)
{
	int missing = 0;

	for (size_t i = 0; i < n; i++)
		if (paths[i] && vmi_types_field(t, paths[i], &out[i]))
			missing++;
	return missing;
}

/* ---------------------------------------------------------------------------------------- enums */

static uint32_t enumerator_name(const struct type *type, uint32_t nth)
{
	return u32(type->rest + (type->kind == K_ENUM64 ? 12 : 8) * nth);
}

static int64_t enumerator_value(const struct vmi_types *t, const struct type *type, uint32_t nth)
{
	const unsigned char *p;

	if (type->kind == K_ENUM64) {
		p = type->rest + 12 * nth;
		return (int64_t)((uint64_t)u32(p + 8) << 32 | u32(p + 4));
	}
	p = type->rest + 8 * nth;
	return type->flag || !t->enums_have_sign ? (int32_t)u32(p + 4) : (int64_t)u32(p + 4);
}

static bool enum_of(const struct vmi_types *t, const char *name, struct type *out)
{
	struct type found;

	if (first_of(t, name, enums, out))
		return true;
	return first_of(t, name, BIT(K_TYPEDEF), &found) && strip(t, found.id, out) &&
	       is(out, enums);
}

static int index_enumerators(const struct vmi_types *t)
{
	struct memory *m = t->memory;
	uint32_t n = 0, size = buckets_for(t->n_enumerators);

	m->enumerators = malloc((t->n_enumerators + 1) * sizeof(*m->enumerators));
	m->buckets = calloc(size, sizeof(*m->buckets));
	if (!m->enumerators || !m->buckets) {
		free(m->enumerators);
		free(m->buckets);
		m->enumerators = NULL;
		m->buckets = NULL;
		return -ENOMEM;
	}
	m->mask = size - 1;
	for (uint32_t id = t->end; id-- > t->first;) {
		struct type type;

		if (!load(t, id, &type) || !is(&type, enums))
			continue;
		for (uint32_t nth = type.vlen; nth-- && n < t->n_enumerators;) {
			const char *name = string(t, enumerator_name(&type, nth));
			size_t len = strnlen(name, NAME_LEN);
			uint32_t *bucket = &m->buckets[hash_of(name, len) & m->mask];

			if (len == NAME_LEN)
				continue;
			m->enumerators[n] = (struct enumerator){ id, nth, *bucket };
			*bucket = ++n;
		}
	}
	return 0;
}

static int any_enum(const struct vmi_types *t, const char *name, int64_t *value)
{
	size_t len = strlen(name);
	uint64_t hash = hash_of(name, len);

	for (; t; t = t->base) {
		struct memory *m = t->memory;
		unsigned int probes = 0;

		if (!m->buckets && index_enumerators(t))
			return -ENOENT;
		for (uint32_t i = m->buckets[hash & m->mask]; i && probes++ < PROBES_MAX;) {
			const struct enumerator *e = &m->enumerators[i - 1];
			struct type type;

			if (load(t, e->id, &type) &&
			    named(t, enumerator_name(&type, e->nth), name, len)) {
				*value = enumerator_value(t, &type, e->nth);
				return 0;
			}
			i = e->next;
		}
	}
	return -ENOENT;
}

int vmi_types_enum(const struct vmi_types *t, const char *in, const char *enumerator,
		   int64_t *value)
{
	size_t len = strlen(enumerator);
	struct type type;

	if (!in)
		return any_enum(t, enumerator, value);
	if (!enum_of(t, in, &type))
		return -ENOENT;
	for (uint32_t i = 0; i < type.vlen && i < MEMBERS_MAX; i++) {
		if (!named(t, enumerator_name(&type, i), enumerator, len))
			continue;
		*value = enumerator_value(t, &type, i);
		return 0;
	}
	return -ENOENT;
}

const char *vmi_types_enum_name(const struct vmi_types *t, const char *in, int64_t value)
{
	struct type type;

	if (!enum_of(t, in, &type))
		return NULL;
	for (uint32_t i = 0; i < type.vlen && i < MEMBERS_MAX; i++)
		if (enumerator_value(t, &type, i) == value)
			return string(t, enumerator_name(&type, i));
	return NULL;
}
