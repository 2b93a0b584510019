// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * kallsyms that lie, in every layout that Linux had from 5.10 on: a right table of the tests'
 * encoder, in which the input changes bytes. An input is a header of 2 bytes (the layout; bit 0:
 * the tables are named as by VMCOREINFO, bit 1: the names are wrong as well), then changes of 6
 * bytes: where (what is changed: names, markers, tokens, their index, addresses, the count; u24 how
 * far in), how, the value.
 */
#include "../unit/fake_kernel.h"

#define CHANGES_MAX 128

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
int LLVMFuzzerInitialize(int *argc, char ***argv);

static struct fake *fakes[FAKE_LAYOUTS];
static unsigned char *right[FAKE_LAYOUTS]; /* rodata as it was */

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
	for (int l = 0; l < FAKE_LAYOUTS; l++) {
		struct fake *f = fake_new(l % 2, 0x6600000, 0x800000);

		if (fake_percpu_absolute(l))
			fake_symbols_percpu(f);
		if (l != FAKE_5_10)
			fake_symbols_long(f);
		fake_kallsyms(f, l);
		right[l] = malloc(FAKE_PMD);
		memcpy(right[l], fake_at(f, f->text + FAKE_PMD), FAKE_PMD);
		fakes[l] = f;
	}
	return 0;
}

static void apply(struct fake *f, const uint8_t *c)
{
	const uint64_t from[] = { f->at.names,	     f->markers,    f->at.token_table,
				  f->at.token_index, f->at.offsets, f->at.num_syms };
	uint64_t at = from[c[0] % 6] + (c[1] | c[2] << 8 | (uint32_t)(c[3] & 15) << 16);
	uint64_t start = f->text + FAKE_PMD;

	if (at < start || at >= start + FAKE_PMD - 4)
		return;
	switch (c[4] % 4) {
	case 0:
		*(uint8_t *)fake_at(f, at) = c[5];
		break;
	case 1:
		*(uint8_t *)fake_at(f, at) ^= c[5];
		break;
	case 2:
		memset(fake_at(f, at), c[5], 4);
		break;
	default:
		*(uint8_t *)fake_at(f, at) += c[5];
	}
}

static void check(const struct vmi_symbols *s)
{
	uint64_t before = 0;

	assert_true(vmi_symbols_count(s) && vmi_symbols_layout(s)[0]);
	for (size_t i = 0; i < vmi_symbols_count(s); i++) {
		const struct vmi_symbol *v = vmi_symbol_nth(s, i);

		assert_true(v->addr >= before && strlen(v->name) < 512);
		before = v->addr;
		vmi_symbol_at(s, v->addr);
		if (i % 64 == 0)
			assert_true(vmi_symbol_addr(s, v->name) || !v->addr || !v->name[0]);
	}
}

static void decode(struct fake *f, const struct vmi_kallsyms *at)
{
	static const struct vmi_budget budget = { 1u << 20, 64u << 20, 5000000000 };
	struct vmi_guest g = { .mem = f->mem, .pgd = f->pgd, .la57 = f->la57 };
	static struct vmi_walk w;
	struct vmi_symbols *s;
	char why[160] = "";
	int err;

	vmi_walk_start(&w, &g, &budget);
	err = vmi_symbols_open(&s, &w, at, f->text, f->text + 3 * FAKE_PMD, why, sizeof(why));
	assert_true(!err == (s != NULL) && (err != -2 || why[0]));
	assert_true(w.steps <= budget.steps && w.bytes <= budget.bytes);
	if (s)
		check(s);
	vmi_symbols_close(s);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	unsigned int l = size < 2 ? 0 : data[0] % FAKE_LAYOUTS;
	struct fake *f = fakes[l];
	struct vmi_kallsyms at = f->at;

	for (size_t i = 2; i + 6 <= size && i < 2 + 6 * CHANGES_MAX; i += 6)
		apply(f, data + i);
	if (size >= 8 && data[1] & 2)
		((uint64_t *)&at)[data[3] % 6] += (uint64_t)(int8_t)data[4] * 8;
	decode(f, size >= 2 && data[1] & 1 ? &at : NULL);
	memcpy(fake_at(f, f->text + FAKE_PMD), right[l], FAKE_PMD);
	return 0;
}
