// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kallsyms (Linux: scripts/kallsyms.c writes it, kernel/kallsyms.c reads it), in every layout of
 * 5.10 to 7.x. All tables are in .rodata, one behind the other:
 *
 *	to 6.1	offsets, relative_base, num_syms, names, markers, token_table, token_index
 *	6.2	offsets, relative_base, num_syms, names, markers, seqs_of_names, token_table,
 *token_index 6.4	num_syms, names, markers, token_table, token_index, offsets, relative_base,
 *seqs_of_names 7.0	as 6.4 without relative_base; aligned to 4 bytes instead of 8
 *
 * names: for each symbol a length (one byte; from 6.1 on two where bit 7 is set) and so many
 *tokens; each token stands for a text of token_table, which starts at token_index[token]. The first
 * character of the whole is the symbol's type. markers[i] is where symbol 256 * i starts in names:
 * that it agrees with what was counted is how the tables are told from noise, and one encoding of
 * lengths from the other.
 *
 * An address is one of:
 *	relative_base + offset			6.15 on, and without SMP before
 *	offset, if >= 0, else relative_base - 1 - offset	(x86-64 with SMP before: per-CPU
 *symbols are absolute) the address of the offset + offset	7.0 on
 *	the word itself				where CONFIG_KALLSYMS_BASE_RELATIVE was off
 *(to 6.10) None is believed by its place: that linux_banner's address holds a banner and _text is
 *the image's start decides.
 */
#include "internal.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define SYMBOLS_MIN  256
#define SYMBOLS_MAX  (1u << 20) /* a distribution's kernel has 200,000 */
#define NAME_MAX_LEN 512 /* KSYM_NAME_LEN, its type included */
#define TOKENS	     256
#define TOKENS_BYTES (64u << 10) /* token_index is of 16 bits */
#define TABLES_MAX   (24u << 20) /* from num_syms to token_table, or to its offsets */
#define WINDOW	     (256u << 10)
#define PROBES_MAX   (1u << 16)

struct vmi_symbols {
	struct vmi_symbol *symbols; /* by address */
	char *names;
	uint32_t n, *buckets, *next, mask; /* by name: i + 1 */
	uint64_t text, end;
	char layout[96];
};

struct token {
	unsigned char start[16]; /* its first bytes, to be copied at once */
	const char *text;
	uint32_t len;
};

/* What is being decoded. */
struct decoder {
	struct vmi_walk *w;
	uint64_t text, end; /* of the image */
	uint64_t token_table, token_index, num_syms, names; /* gvas */
	uint32_t n;
	bool big; /* lengths may have two bytes, and some have */
	uint64_t chars; /* of all names, with their NULs, without types */
	struct token tokens[TOKENS];
	char token_bytes[TOKENS_BYTES + NAME_MAX_LEN];
	/* A copy of [copy_gva, token_table): names and markers are in it. */
	unsigned char *copy;
	uint64_t copy_gva;
	size_t copied;
	struct vmi_symbols *s;
	char *why;
	size_t why_size;
};

static uint64_t align_up(uint64_t v, uint64_t to)
{
	return (v + to - 1) & ~(to - 1);
}

static uint32_t u32(const void *p)
{
	uint32_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static uint64_t u64(const void *p)
{
	uint64_t v;

	memcpy(&v, p, sizeof(v));
	return v;
}

static int give_up(struct decoder *d, const char *why)
{
	snprintf(d->why, d->why_size, "%s", why);
	return -ENOENT;
}

/* ---------------------------------------------------------------------------------- token table */

/*
 * Characters that names hold stand for themselves in the token table, and all digits do: ten texts
 * of a digit each, in a row. Their even or odd bytes are 3x hexadecimal, the others 0: seen in
 * any aligned word among them.
 */
static const char digits[] = "0\0001\0002\0003\0004\0005\0006\0007\0008\0009";

static bool digits_in(uint64_t word)
{
	word &= 0xf0f0f0f0f0f0f0f0ull;
	return word == 0x0030003000300030ull || word == 0x3000300030003000ull;
}

static const unsigned char *find_digits(const unsigned char *buf, size_t from, size_t len)
{
	for (size_t i = from; i + 8 <= len; i += 8) {
		/* What lies before `from` was seen: found again, it would be for ever. */
		size_t start = i > from + sizeof(digits) ? i - sizeof(digits) : from;
		const unsigned char *found;

		if (!digits_in(u64(buf + i)))
			continue;
		found = memmem(buf + start, len - start < 64 ? len - start : 64, digits,
			       sizeof(digits));
		if (found)
			return found;
	}
	return NULL;
}

/* Reads all 256 texts, whose starts must be where the index says. */
static bool read_tokens(struct decoder *d)
{
	uint16_t index[TOKENS];
	size_t len;

	if (vmi_read(d->w, d->token_index, index, sizeof(index)) || index[0])
		return false;
	/* The last text ends at the latest where the index starts, if that lies behind. */
	len = index[TOKENS - 1] + NAME_MAX_LEN;
	if (d->token_index > d->token_table && d->token_index - d->token_table < len)
		len = d->token_index - d->token_table;
	if (len <= index[TOKENS - 1] || vmi_read(d->w, d->token_table, d->token_bytes, len))
		return false;
	for (unsigned int i = 0; i < TOKENS; i++) {
		struct token *t = &d->tokens[i];
		size_t left = len - index[i];

		t->text = d->token_bytes + index[i];
		t->len = strnlen(t->text, left);
		if (t->len == left || t->len >= NAME_MAX_LEN ||
		    (i + 1 < TOKENS && index[i + 1] != index[i] + t->len + 1))
			return false;
		memcpy(t->start, t->text, t->len < 16 ? t->len : 16);
	}
	return true;
}

/* `digit` is the gva of the text of token '0': the index follows the last text. */
static bool tokens_at(struct decoder *d, uint64_t digit)
{
	char buf[4096];
	size_t at = 0;

	if (digit > d->end || vmi_read(d->w, digit, buf, sizeof(buf)))
		return false;
	for (unsigned int i = '0'; i < TOKENS; i++) {
		size_t len = strnlen(buf + at, sizeof(buf) - at);

		at += len + 1;
		if (at >= sizeof(buf))
			return false;
	}
	for (unsigned int align = 8; align >= 2; align /= 2) {
		uint64_t index = align_up(digit + at, align);
		uint16_t zero;

		if (vmi_read(d->w, index + 2 * '0', &zero, 2) || zero > digit)
			continue;
		d->token_index = index;
		d->token_table = digit - zero;
		if (read_tokens(d))
			return true;
	}
	return false;
}

/* Windows overlap, so that what lies across a border is seen. */
static int find_tokens_in(struct decoder *d, unsigned char *buf, uint64_t from, uint64_t to)
{
	for (uint64_t gva = from; gva < to; gva += WINDOW - 64) {
		size_t len = to - gva < WINDOW ? to - gva : WINDOW, at = 0;
		const unsigned char *found;
		int err = vmi_read(d->w, gva, buf, len);

		if (err == -ETIME)
			return err;
		if (err)
			continue;
		while ((found = find_digits(buf, at, len))) {
			if (tokens_at(d, gva + (uint64_t)(found - buf)))
				return 0;
			err = vmi_step(d->w);
			if (err)
				return err;
			at = align_up((uint64_t)(found - buf) + sizeof(digits), 8);
		}
	}
	return -ENOENT;
}

/* Neither writable nor executable? Or, if `all`, mapped? Sets how many bytes are of one kind. */
static bool is_rodata(struct decoder *d, uint64_t gva, bool all, uint64_t *left)
{
	uint64_t gpa, flags;

	if (vmi_translate(d->w, d->w->guest->pgd, gva, &gpa, left, &flags)) {
		*left = 4096 - gva % 4096;
		return false;
	}
	return all || (flags & (VMI_PAGE_NX | VMI_PAGE_WRITE)) == VMI_PAGE_NX;
}

static int find_tokens(struct decoder *d, bool all)
{
	unsigned char *buf = malloc(WINDOW);
	int err = buf ? -ENOENT : -ENOMEM;

	for (uint64_t gva = d->text, left; err == -ENOENT && gva < d->end; gva += left) {
		uint64_t from = gva;

		while (gva < d->end && is_rodata(d, gva, all, &left))
			gva += left;
		if (gva > d->end)
			gva = d->end;
		if (gva > from)
			err = find_tokens_in(d, buf, from, gva);
	}
	free(buf);
	return err;
}

static int locate_tokens(struct decoder *d, const struct vmi_kallsyms *at)
{
	int err;

	d->token_table = at->token_table;
	d->token_index = at->token_index;
	if (at->token_table >= d->text && at->token_table < d->end && read_tokens(d))
		return 0;
	err = find_tokens(d, false);
	/* Where page tables tell no rodata (rodata=off), it may be anywhere. */
	return err == -ENOENT ? find_tokens(d, true) : err;
}

/* ---------------------------------------------------------------------------------------- names */

/* Makes [from, token_table) available in d->copy. */
static int copy_tables(struct decoder *d, uint64_t from)
{
	free(d->copy);
	d->copied = 0;
	if (from >= d->token_table || d->token_table - from > TABLES_MAX)
		return -ENOENT;
	d->copy = malloc(d->token_table - from);
	if (!d->copy)
		return -ENOMEM;
	d->copy_gva = from;
	d->copied = d->token_table - from;
	return vmi_read(d->w, from, d->copy, d->copied);
}

/* The length of the name at `p` in tokens; moves `p` behind it. 0 = none. */
static uint32_t name_length(const unsigned char **p, const unsigned char *end, bool big)
{
	uint32_t len;

	if (*p == end)
		return 0;
	len = *(*p)++;
	if (big && len & 0x80) {
		if (*p == end)
			return 0;
		len = (len & 0x7f) | (uint32_t)(*(*p)++) << 7;
	}
	return len <= (size_t)(end - *p) ? len : 0;
}

static bool check_markers(const struct decoder *d, const uint32_t *markers, size_t names_end)
{
	size_t bytes = 4 * (((size_t)d->n + 255) / 256);

	for (unsigned int align = 4; align <= 8; align += 4) {
		size_t at = align_up(d->copy_gva + names_end, align) - d->copy_gva;

		if (at <= d->copied && bytes <= d->copied - at &&
		    !memcmp(d->copy + at, markers, bytes))
			return true;
	}
	return false;
}

/*
 * Counts the names at `gva`: are there n, of sane lengths, and do the markers behind them agree? A
 * step for each name: memory may be made so that they are counted anew from thousands of places.
 */
static bool names_at(struct decoder *d, uint64_t gva, uint32_t n, bool big)
{
	static const uint32_t max = SYMBOLS_MAX;
	const unsigned char *names, *p, *end = d->copy + d->copied;
	uint32_t *markers, i;
	uint64_t chars = 0;
	bool two = false, good;

	if (n < SYMBOLS_MIN || n > max || gva < d->copy_gva || gva - d->copy_gva >= d->copied)
		return false;
	markers = malloc(4 * (((size_t)n + 255) / 256));
	if (!markers)
		return false;
	p = names = d->copy + (gva - d->copy_gva);
	for (i = 0; i < n; i++) {
		uint32_t len, expanded = 0;

		if (i % 256 == 0)
			markers[i / 256] = (uint32_t)(p - names);
		two |= big && p < end && *p & 0x80;
		len = name_length(&p, end, big);
		if (!len || len > NAME_MAX_LEN || vmi_step(d->w))
			break;
		for (uint32_t k = 0; k < len; k++)
			expanded += d->tokens[p[k]].len;
		if (expanded < 2 || expanded > NAME_MAX_LEN)
			break;
		p += len;
		chars += expanded;
	}
	d->n = n;
	good = i == n && check_markers(d, markers, (size_t)(p - d->copy));
	free(markers);
	if (!good)
		return false;
	d->names = gva;
	d->big = two;
	d->chars = chars;
	return true;
}

static bool names_any(struct decoder *d, uint64_t gva, uint32_t n)
{
	return names_at(d, gva, n, true) || names_at(d, gva, n, false);
}

/* From where on, at most `bytes` before it, memory is mapped up to the token table. */
static uint64_t mapped_from(struct decoder *d, uint64_t bytes)
{
	uint64_t limit = d->token_table - d->text > bytes ? d->token_table - bytes : d->text;
	uint64_t at = d->token_table, gpa, left;

	while (at > limit && !vmi_translate(d->w, d->w->guest->pgd, at - 1, &gpa, &left, NULL))
		at = (at - 1) & ~4095ull;
	return align_up(at < limit ? limit : at, 8);
}

struct markers {
	uint64_t at; /* gva */
	uint32_t n, last;
};

/* Those that end where the token table begins; one word between them may be left empty. */
static int markers_before_tokens(struct decoder *d, struct markers *m)
{
	uint64_t from = mapped_from(d, 4 * (SYMBOLS_MAX / 256 + 2));
	uint32_t *words, n, first;
	int err;

	if (d->token_table % 4 || d->token_table < from + 12)
		return -ENOENT;
	n = (uint32_t)(d->token_table - from) / 4;
	words = malloc(4 * (size_t)n);
	if (!words)
		return -ENOMEM;
	err = vmi_read(d->w, from, words, 4 * (size_t)n);
	n -= words[n - 1] == 0;
	for (first = n - 1; first && words[first] && words[first - 1] < words[first];)
		first--;
	m->at = from + 4 * (uint64_t)first;
	m->n = n - first;
	m->last = words[n - 1];
	if (!err && (words[first] || m->n < 2 || m->last > TABLES_MAX))
		err = -ENOENT;
	free(words);
	return err;
}

/*
 * In all layouts but 6.2's, token_table follows the markers: these rise from 0, and the last one
 * tells, within 256 symbols, where names start. num_syms before it must fit their number.
 */
static int names_by_markers(struct decoder *d)
{
	struct markers m;
	int err = markers_before_tokens(d, &m);

	if (!err)
		err = copy_tables(d, mapped_from(d, d->token_table - m.at + m.last + 16 +
							    256 * (NAME_MAX_LEN + 2)));
	if (err)
		return err;
	/* Before the first name is num_syms, a word, aligned to 4 or 8. */
	for (uint64_t gva = d->copy_gva + 8; gva + m.last < m.at; gva += 4) {
		for (unsigned int back = 4; back <= 8; back += 4) {
			uint32_t n = u32(d->copy + (gva - d->copy_gva) - back);

			if (n > 256 * (m.n - 1) && n <= 256 * m.n && names_any(d, gva, n)) {
				d->num_syms = gva - back;
				return 0;
			}
		}
	}
	return -ENOENT;
}

/* In layouts up to 6.3, num_syms follows relative_base, which is the image's start. */
static int names_by_base(struct decoder *d)
{
	int err = copy_tables(d, mapped_from(d, TABLES_MAX));

	if (err)
		return err;
	for (size_t i = d->copied / 8; i-- > 2;) {
		const unsigned char *p = d->copy + 8 * (i - 2);

		if (u64(p) - d->text < 4096 && !u32(p + 12) &&
		    names_any(d, d->copy_gva + 8 * i, u32(p + 8))) {
			d->num_syms = d->names - 8;
			return 0;
		}
	}
	return -ENOENT;
}

static int locate_names(struct decoder *d, const struct vmi_kallsyms *at)
{
	uint32_t n;
	int err;

	if (at->names && at->num_syms && !vmi_read(d->w, at->num_syms, &n, 4)) {
		err = copy_tables(d, at->names);
		if (!err && names_any(d, at->names, n)) {
			d->num_syms = at->num_syms;
			return 0;
		}
		if (err == -ENOMEM || err == -ETIME)
			return err;
	}
	err = names_by_markers(d);
	return err == -ENOENT || err == -EFAULT ? names_by_base(d) : err;
}

/* The text of a name of `len` tokens, with its type; returns where it ends. */
static char *expand(const struct decoder *d, const unsigned char *p, uint32_t len, char *to)
{
	for (; len; len--, p++) {
		const struct token *t = &d->tokens[*p];

		memcpy(to, t->start, 16);
		if (t->len > 16)
			memcpy(to, t->text, t->len);
		to += t->len;
	}
	return to;
}

static uint64_t hash_of(const char *s, size_t len)
{
	uint64_t h = len, v;

	for (; len >= 8; s += 8, len -= 8)
		h = (h ^ u64(s)) * 0x9e3779b97f4a7c15ull, h ^= h >> 32;
	v = 0;
	memcpy(&v, s, len);
	h = (h ^ v) * 0x9e3779b97f4a7c15ull;
	return h ^ h >> 29;
}

/*
 * Each name follows its type in s->names. The last to the first are entered into their buckets, so
 * that a bucket hands out the first of a name.
 */
static int decode_names(struct decoder *d)
{
	struct vmi_symbols *s = d->s;
	const unsigned char *p = d->copy + (d->names - d->copy_gva), *end = d->copy + d->copied;
	uint32_t size = 1024;
	char *to;

	while (size < d->n)
		size *= 2;
	s->n = d->n;
	s->mask = size - 1;
	s->symbols = malloc(d->n * sizeof(*s->symbols));
	s->next = malloc(d->n * sizeof(*s->next));
	s->buckets = calloc(size, sizeof(*s->buckets));
	s->names = to = malloc(d->chars + d->n + 16); /* 16: expand() writes so far */
	if (!s->symbols || !s->next || !s->buckets || !s->names)
		return -ENOMEM;
	for (uint32_t i = 0; i < d->n; i++) {
		uint32_t len = name_length(&p, end, d->big);

		s->symbols[i].type = 0;
		s->symbols[i].name = to + 1;
		to = expand(d, p, len, to);
		s->symbols[i].type = s->symbols[i].name[-1];
		s->next[i] = hash_of(s->symbols[i].name, (size_t)(to - s->symbols[i].name)) &
			     s->mask;
		*to++ = 0;
		p += len;
	}
	for (uint32_t i = d->n; i--;) {
		uint32_t *bucket = &s->buckets[s->next[i]];

		s->next[i] = *bucket;
		*bucket = i + 1;
	}
	return 0;
}

static const struct vmi_symbol *by_name(const struct vmi_symbols *s, const char *name)
{
	uint32_t i = s->buckets[hash_of(name, strlen(name)) & s->mask];

	for (unsigned int probes = 0; i && probes < PROBES_MAX; probes++) {
		if (!strcmp(s->symbols[i - 1].name, name))
			return &s->symbols[i - 1];
		i = s->next[i - 1];
	}
	return NULL;
}

/* ------------------------------------------------------------------------------------ addresses */

enum encoding { RELATIVE, PERCPU_ABSOLUTE, PLACE_RELATIVE, ABSOLUTE };

static const char *const encodings[] = {
	[RELATIVE] = "offsets to a base",
	[PERCPU_ABSOLUTE] = "offsets to a base, per-CPU absolute",
	[PLACE_RELATIVE] = "place-relative offsets",
	[ABSOLUTE] = "addresses",
};

/* One way to read the addresses: what they are, and where. */
struct way {
	enum encoding encoding;
	uint64_t at, base;
	const char *place;
};

static uint64_t address(const struct way *way, const void *words, uint32_t i)
{
	int64_t offset =
		way->encoding == ABSOLUTE ? 0 : (int32_t)u32((const char *)words + 4 * (size_t)i);

	switch (way->encoding) {
	case RELATIVE:
		return way->base + (uint32_t)offset;
	case PERCPU_ABSOLUTE:
		return offset >= 0 ? (uint64_t)offset : way->base - 1 - (uint64_t)offset;
	case PLACE_RELATIVE:
		return way->at + 4 * (uint64_t)i + (uint64_t)offset;
	case ABSOLUTE:
		return u64((const char *)words + 8 * (size_t)i);
	}
	return 0;
}

static bool is_banner(struct decoder *d, uint64_t gva)
{
	static const char expect[] = "Linux version ";
	char text[sizeof(expect) - 1];

	return gva >= d->text && gva < d->end && !vmi_read(d->w, gva, text, sizeof(text)) &&
	       !memcmp(text, expect, sizeof(text));
}

/*
 * The two witnesses. A kernel without CONFIG_KALLSYMS_ALL names no data; there, that all but a few
 * symbols lie in the image stands for the banner.
 */
static bool agrees(struct decoder *d, const struct way *way, const void *words)
{
	const struct vmi_symbols *s = d->s;
	const struct vmi_symbol *start = by_name(s, "_text"), *banner = by_name(s, "linux_banner");
	uint64_t before = 0, gva;
	uint32_t inside = 0;

	if (!start)
		start = by_name(s, "_stext");
	if (!start)
		return false;
	gva = address(way, words, (uint32_t)(start - s->symbols));
	if (gva < d->text || gva - d->text >= 4096)
		return false;
	if (banner && !is_banner(d, address(way, words, (uint32_t)(banner - s->symbols))))
		return false;
	for (uint32_t i = 0; i < s->n; i++) {
		gva = address(way, words, i);
		if (gva < before)
			return false;
		before = gva;
		inside += gva >= d->text && gva <= d->end;
	}
	return banner || inside >= s->n / 100 * 99;
}

static bool try_way(struct decoder *d, const struct way *way)
{
	struct vmi_symbols *s = d->s;
	size_t bytes = (way->encoding == ABSOLUTE ? 8 : 4) * (size_t)s->n;
	void *words;
	bool good;

	if (way->at < d->text || way->at >= d->end || bytes > d->end - way->at)
		return false;
	words = malloc(bytes);
	if (!words)
		return false;
	good = !vmi_read(d->w, way->at, words, bytes) && agrees(d, way, words);
	for (uint32_t i = 0; good && i < s->n; i++)
		s->symbols[i].addr = address(way, words, i);
	free(words);
	if (good)
		snprintf(s->layout, sizeof(s->layout), "%s%s, %s", way->place,
			 d->big ? ", lengths to two bytes" : "", encodings[way->encoding]);
	return good;
}

static bool try_base(struct decoder *d, uint64_t at, uint64_t base_at, const char *place)
{
	struct way way = { .at = at, .place = place };

	if (vmi_read(d->w, base_at, &way.base, sizeof(way.base)))
		return false;
	way.encoding = PERCPU_ABSOLUTE;
	if (try_way(d, &way))
		return true;
	way.encoding = RELATIVE;
	return try_way(d, &way);
}

static bool try_named(struct decoder *d, const struct vmi_kallsyms *at)
{
	static const char place[] = "named by VMCOREINFO";
	struct way way = { .at = at->offsets, .place = place };

	if (!at->offsets)
		return false;
	if (at->relative_base && try_base(d, at->offsets, at->relative_base, place))
		return true;
	way.encoding = PLACE_RELATIVE;
	if (try_way(d, &way))
		return true;
	way.encoding = ABSOLUTE;
	return try_way(d, &way);
}

static bool try_behind(struct decoder *d)
{
	static const char place[] = "addresses behind the tokens";
	uint64_t end = d->token_index + 2 * TOKENS, words = 4 * (uint64_t)d->n;
	struct way way = { .encoding = PLACE_RELATIVE, .at = align_up(end, 4), .place = place };

	if (try_way(d, &way))
		return true;
	way.at = align_up(end, 8);
	if (try_base(d, way.at, align_up(way.at + words, 8), place))
		return true;
	way.encoding = ABSOLUTE;
	return try_way(d, &way);
}

static bool try_before(struct decoder *d)
{
	static const char place[] = "addresses before the names";
	struct way way = { .encoding = ABSOLUTE, .place = place };
	uint64_t base_at = d->num_syms - 8;

	if (try_base(d, base_at - align_up(4 * (uint64_t)d->n, 8), base_at, place))
		return true;
	way.at = d->num_syms - 8 * (uint64_t)d->n;
	return try_way(d, &way);
}

/* ------------------------------------------------------------------------------------- the door */

static int decode(struct decoder *d, const struct vmi_kallsyms *at)
{
	int err = locate_tokens(d, at);

	if (err)
		return err == -ENOENT ? give_up(d, "no kallsyms token table in the image") : err;
	err = locate_names(d, at);
	if (err)
		return err == -ENOENT || err == -EFAULT
			       ? give_up(d, "a kallsyms token table, but no names that its markers "
					    "agree with")
			       : err;
	err = decode_names(d);
	if (err)
		return err;
	if (!try_named(d, at) && !try_behind(d) && !try_before(d))
		return give_up(
			d, "kallsyms names, but no addresses that put _text at the image's start "
			   "and linux_banner on a banner");
	return 0;
}

int vmi_symbols_open(struct vmi_symbols **out, struct vmi_walk *w, const struct vmi_kallsyms *at,
		     uint64_t text, uint64_t end, char *why, size_t size)
{
	static const struct vmi_kallsyms nowhere;
	struct decoder *d = calloc(1, sizeof(*d));
	struct vmi_symbols *s = calloc(1, sizeof(*s));
	const struct vmi_symbol *last;
	int err = -ENOMEM;

	*out = NULL;
	if (size)
		why[0] = 0;
	if (d && s) {
		d->w = w;
		d->text = text;
		d->end = end;
		d->s = s;
		d->why = why;
		d->why_size = size;
		err = text < end ? decode(d, at ? at : &nowhere) : -ENOENT;
	}
	if (!err) {
		last = by_name(s, "_end");
		s->text = text;
		s->end = last && last->addr > text && last->addr <= end ? last->addr : end;
		*out = s;
	} else {
		vmi_symbols_close(s);
	}
	if (d)
		free(d->copy);
	free(d);
	return err;
}

void vmi_symbols_close(struct vmi_symbols *s)
{
	if (!s)
		return;
	free(s->symbols);
	free(s->names);
	free(s->buckets);
	free(s->next);
	free(s);
}

uint64_t vmi_symbol_addr(const struct vmi_symbols *s, const char *name)
{
	const struct vmi_symbol *found = by_name(s, name);

	return found ? found->addr : 0;
}

const struct vmi_symbol *vmi_symbol_at(const struct vmi_symbols *s, uint64_t addr)
{
	uint32_t low = 0, high = s->n;

	if (addr < s->text || addr >= s->end)
		return NULL;
	while (low < high) {
		uint32_t middle = low + (high - low) / 2;

		if (s->symbols[middle].addr <= addr)
			low = middle + 1;
		else
			high = middle;
	}
	/* Of several at an address the first, as the kernel prints it. */
	while (low > 1 && s->symbols[low - 2].addr == s->symbols[low - 1].addr)
		low--;
	return low && s->symbols[low - 1].addr >= s->text ? &s->symbols[low - 1] : NULL;
}

size_t vmi_symbols_count(const struct vmi_symbols *s)
{
	return s->n;
}

const struct vmi_symbol *vmi_symbol_nth(const struct vmi_symbols *s, size_t i)
{
	return i < s->n ? &s->symbols[i] : NULL;
}

const char *vmi_symbols_layout(const struct vmi_symbols *s)
{
	return s->layout;
}
