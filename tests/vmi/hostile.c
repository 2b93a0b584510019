// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * A dump of a real guest whose memory lies: each table is read again and again through a reader
 *that changes some of what it hands out, differently each time, as a guest does that writes while
 *it is read. The seed makes a run repeatable.
 *
 *	hostile DUMP SEED ROUNDS [TABLE]
 *
 * In each round each table is run once; one of what is read in 2^4 to 2^15 is changed. Every 16th
 * round the guest is opened anew, through the same reader. One line for each table: how it ended
 *how often, and how much it took at most. Whatever crashes says where: "round 5 seed 77 table
 *processes".
 */
#include <errno.h>
#include <inttypes.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

#include "../../vmi/tables/rows.h"

#define TABLES_MAX 64
#define STOPS	   (VMI_STOP_ROWS + 1)
#define SECONDS	   60 /* of a table, ten times what its budget allows */
#define HISTORY	   256

static const struct vmi_budget budget = { .steps = 400000, .bytes = 64 << 20, .ns = 3000000000 };

struct liar {
	struct vmi_mem *mem;
	uint64_t random;
	unsigned int shift; /* one of 2^shift reads is changed; 0: none */
	uint64_t reads, lies;
	uint64_t seen[HISTORY]; /* words that were read: pointers, among others */
};

struct tally {
	uint64_t ends[STOPS], errors, rows, torn, steps, bytes, ns;
};

static char where[160]; /* for the signal handler */

static void crashed(int sig)
{
	char text[256];
	int n = snprintf(text, sizeof(text), "%s: %s\n",
			 sig == SIGALRM ? "took too long" : "crashed", where);

	if (write(STDERR_FILENO, text, (size_t)n) != n)
		_exit(3);
	signal(sig, SIG_DFL);
	raise(sig);
}

/* xorshift64*: Vigna, "An experimental exploration of Marsaglia's xorshift generators" */
static uint64_t next(struct liar *l)
{
	l->random ^= l->random >> 12;
	l->random ^= l->random << 25;
	l->random ^= l->random >> 27;
	return l->random * 0x2545f4914f6cdd1dull;
}

static uint64_t wrong(struct liar *l, uint64_t v)
{
	static const uint64_t values[] = { 0,
					   1,
					   0xff,
					   0xffff,
					   1u << 20,
					   INT32_MAX,
					   UINT32_MAX,
					   INT64_MAX,
					   UINT64_MAX,
					   0xdead000000000100,
					   0x0000800000000000,
					   0xffff888000000000,
					   0xffffffff81000000 };
	uint64_t r = next(l);

	switch (r >> 60 & 7) {
	case 0:
		return values[r % (sizeof(values) / sizeof(values[0]))];
	case 1:
	case 2: /* what was read elsewhere, or near it */
		return l->seen[r % HISTORY] + (r >> 32 & 3 ? 0 : 8 * (uint64_t)(int8_t)(r >> 40));
	case 3:
		return v + (uint64_t)(int8_t)r;
	case 4:
		return v ^ 1ull << (r & 63);
	case 5: /* the lower half of another */
		return (v & ~0xffffffffull) | (uint32_t)l->seen[r % HISTORY];
	case 6:
		return v << (r & 31);
	default:
		return r;
	}
}

static int read_lies(void *arg, uint64_t gpa, void *buf, size_t len)
{
	struct liar *l = arg;
	int err = vmi_mem_read(l->mem, gpa, buf, len);
	uint64_t v = 0, r;
	size_t at = 0;

	if (err || !l->shift || !len)
		return err;
	r = next(l);
	/* Of what is read at once, one word, wherever it is. */
	if (len > 8)
		at = (r >> 20) % (len / 8) * 8;
	memcpy(&v, (char *)buf + at, len - at < 8 ? len - at : 8);
	if (!(r >> 44 & ((1u << l->shift) - 1))) {
		v = wrong(l, v);
		memcpy((char *)buf + at, &v, len - at < 8 ? len - at : 8);
		l->lies++;
		/* Now and then there is nothing any more. */
		if (!(r >> 10 & 1023))
			return -EIO;
	}
	l->seen[l->reads++ % HISTORY] = v;
	return 0;
}

static uint64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (uint64_t)t.tv_sec * 1000000000u + (uint64_t)t.tv_nsec;
}

static void most(uint64_t *to, uint64_t v)
{
	if (v > *to)
		*to = v;
}

/* Not within its budget: says so, and ends the program. */
static void check(const struct vmi_rows *r, const struct vmi_table *t)
{
	const struct vmi_walk *w = vmi_rows_walked(r);

	if (w->steps > budget.steps || w->bytes > budget.bytes) {
		fprintf(stderr, "beyond its budget: %s\n", where);
		exit(1);
	}
	for (size_t i = 0; i < vmi_rows_count(r); i++) {
		for (unsigned int c = 0; c <= t->n_columns; c++) {
			struct vmi_value v;

			vmi_rows_value(r, i, c, &v);
			if (v.kind == VMI_V_TEXT && strlen(v.s) != v.n) {
				fprintf(stderr, "a text with NUL in it: %s\n", where);
				exit(1);
			}
		}
	}
}

static void run(struct vmi_guest *g, const struct vmi_table *t, struct tally *y)
{
	const struct vmi_run how = { .budget = &budget, .columns = ~0ull };
	uint64_t start = now_ns();
	struct vmi_error err;
	struct vmi_rows *r;

	if (vmi_rows_open(&r, g, t)) {
		fprintf(stderr, "no memory: %s\n", where);
		exit(1);
	}
	alarm(SECONDS);
	if (vmi_rows_run(r, &how, &err))
		y->errors++;
	alarm(0);
	check(r, t);
	y->ends[vmi_rows_walked(r)->stop]++;
	y->rows += vmi_rows_count(r);
	y->torn += vmi_rows_torn(r);
	most(&y->steps, vmi_rows_walked(r)->steps);
	most(&y->bytes, vmi_rows_walked(r)->bytes);
	most(&y->ns, now_ns() - start);
	vmi_rows_close(r);
}

static void print(const struct vmi_table *t, const struct tally *y)
{
	printf("%s: rows %" PRIu64 " torn %" PRIu64 " errors %" PRIu64 " most steps %" PRIu64
	       " bytes %" PRIu64 " ms %" PRIu64,
	       t->name, y->rows, y->torn, y->errors, y->steps, y->bytes, y->ns / 1000000);
	for (unsigned int i = 0; i < STOPS; i++)
		if (y->ends[i])
			printf(" %s %" PRIu64, vmi_stop_key(i), y->ends[i]);
	printf("\n");
}

/*
 * Opens the guest as the liar shows it. What was opened before stays where nothing is understood.
 */
static void open_guest(struct vmi_guest **g, struct vmi_target *t, struct vmi_mem *m)
{
	struct vmi_guest *opened;
	struct vmi_error err;
	int ret;

	alarm(SECONDS);
	ret = vmi_guest_open(&opened, t, m, &err);
	alarm(0);
	if (ret)
		return;
	if (*g && opened->level < VMI_LEVEL_SYMBOLS) {
		vmi_guest_close(opened);
		return;
	}
	vmi_guest_close(*g);
	*g = opened;
}

static struct vmi_mem *open_liar(struct liar *l)
{
	size_t n;
	const struct vmi_region *v = vmi_mem_regions(l->mem, &n);
	struct vmi_region *copy = calloc(n, sizeof(*copy));
	struct vmi_mem *m;

	for (size_t i = 0; copy && i < n; i++)
		copy[i] = (struct vmi_region){
			.gpa = v[i].gpa, .bytes = v[i].bytes, .backing = VMI_BACKING_CALL, .fd = -1
		};
	if (!copy || vmi_mem_open(&m, copy, n, read_lies, l)) {
		fprintf(stderr, "hostile: no memory\n");
		exit(1);
	}
	free(copy);
	return m;
}

int main(int argc, char **argv)
{
	static struct tally tallies[TABLES_MAX];
	static struct liar liar;
	struct vmi_find_options o = { .dump = argc > 1 ? argv[1] : NULL };
	uint64_t seed = argc > 2 ? strtoull(argv[2], NULL, 10) : 0;
	unsigned long rounds = argc > 3 ? strtoul(argv[3], NULL, 10) : 0;
	struct vmi_guest *g = NULL, *right = NULL;
	struct vmi_target *t;
	struct vmi_error err;
	struct vmi_mem *m;
	struct rusage use;

	if (argc < 4) {
		fprintf(stderr, "usage: hostile DUMP SEED ROUNDS [TABLE]\n");
		return 2;
	}
	if (vmi_target_find(&t, &o, &err) || vmi_target_open(t, &liar.mem, &err)) {
		fprintf(stderr, "hostile: %s\n", err.text);
		return 1;
	}
	signal(SIGSEGV, crashed);
	signal(SIGBUS, crashed);
	signal(SIGFPE, crashed);
	signal(SIGABRT, crashed);
	signal(SIGALRM, crashed);
	m = open_liar(&liar);
	open_guest(&right, t, m);
	if (!right || right->level != VMI_LEVEL_TYPES) {
		fprintf(stderr, "hostile: %s\n", right ? right->missing : "no memory");
		return 1;
	}
	for (unsigned long round = 0; round < rounds; round++) {
		liar.random = (seed + round) * 0x9e3779b97f4a7c15ull | 1;
		liar.shift = 4 + (unsigned int)(next(&liar) >> 33) % 12;
		if (round % 16 == 15) {
			snprintf(where, sizeof(where), "round %lu seed %" PRIu64 " opening", round,
				 seed);
			liar.shift += 4;
			open_guest(&g, t, m);
			liar.shift -= 4;
		}
		for (size_t i = 0; vmi_tables[i] && i < TABLES_MAX; i++) {
			if (argc > 4 && strcmp(argv[4], vmi_tables[i]->name))
				continue;
			snprintf(where, sizeof(where), "round %lu seed %" PRIu64 " table %s", round,
				 seed, vmi_tables[i]->name);
			run(round % 16 == 15 && g ? g : right, vmi_tables[i], &tallies[i]);
		}
	}
	for (size_t i = 0; vmi_tables[i] && i < TABLES_MAX; i++)
		print(vmi_tables[i], &tallies[i]);
	getrusage(RUSAGE_SELF, &use);
	printf("lies %" PRIu64 " reads %" PRIu64 " rss %ld KiB\n", liar.lies, liar.reads,
	       use.ru_maxrss);
	vmi_guest_close(g);
	vmi_guest_close(right);
	vmi_mem_close(m);
	vmi_mem_close(liar.mem);
	vmi_target_free(t);
	return 0;
}
