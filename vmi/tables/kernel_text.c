/* SPDX-License-Identifier: GPL-2.0-or-later */
/* The text of the kernel and its modules: a hash of each, as text_image.h makes it the same on each
 * boot. */
#include <errno.h>
#include <string.h>

#include <nettle/sha2.h>

#include "text_image.h"

enum {
	COL_SECTION,
	COL_ADDRESS,
	COL_BYTES,
	COL_HASH,
	COL_BASIS,
	COL_PAGES,
	COL_CHANGED,
};

static const struct vmi_column columns[] = {
	[COL_SECTION] = { "section", VMI_TEXT, "kernel .text, kernel .rodata, module NAME" },
	[COL_ADDRESS] = { "address", VMI_TEXT, "where it begins" },
	[COL_BYTES] = { "bytes", VMI_INTEGER, "size" },
	[COL_HASH] = { "hash", VMI_TEXT,
		       "SHA-256 of what it is without what the kernel changes itself" },
	[COL_BASIS] = { "basis", VMI_TEXT,
			"what that was told by: reference (same on all boots), or running (same on "
			"boots on the same kind of CPU)" },
	[COL_PAGES] = { "pages", VMI_INTEGER, "how many pages it has" },
	[COL_CHANGED] = { "changed_pages", VMI_INTEGER,
			  "how many differ from the reference; NULL = there is none" },
};

enum {
	PAGE_SECTION,
	PAGE_ADDRESS,
	PAGE_BYTES,
	PAGE_SYMBOL,
	PAGE_HASH,
	PAGE_CHANGED,
	PAGE_CHANGE,
	PAGE_RUNNING,
	PAGE_REFERENCE,
};

static const struct vmi_column page_columns[] = {
	[PAGE_SECTION] = { "section", VMI_TEXT, "as in kernel_text" },
	[PAGE_ADDRESS] = { "address", VMI_TEXT, "where the page begins" },
	[PAGE_BYTES] = { "bytes", VMI_INTEGER, "4096, or less at the end" },
	[PAGE_SYMBOL] = { "symbol", VMI_TEXT, "function there" },
	[PAGE_HASH] = { "hash", VMI_TEXT, "SHA-256, as in kernel_text" },
	[PAGE_CHANGED] = { "changed", VMI_INTEGER,
			   "1: differs from the reference; NULL = there is none" },
	[PAGE_CHANGE] = { "change", VMI_TEXT, "function and offset of the first difference" },
	[PAGE_RUNNING] = { "running", VMI_TEXT, "16 bytes from there on, hex" },
	[PAGE_REFERENCE] = { "reference", VMI_TEXT, "what they are to be, hex" },
};

#define PAGE	 4096
#define SHOWN	 16
#define HEXTEXT	 (2 * SHOWN + 1)
#define HASHTEXT (2 * SHA256_DIGEST_SIZE + 1)

/* Makes the rows of one section; true: no more are wanted. */
typedef bool (*section_fn)(struct vmi_rows *r, struct vmi_code *c, const struct vmi_text_image *t);

static void hash(const uint8_t *p, size_t n, char text[HASHTEXT])
{
	uint8_t digest[SHA256_DIGEST_SIZE];
	struct sha256_ctx s;

	sha256_init(&s);
	sha256_update(&s, n, p);
	sha256_digest(&s, sizeof(digest), digest);
	for (size_t i = 0; i < sizeof(digest); i++)
		sprintf(text + 2 * i, "%02x", digest[i]);
}

static bool section_row(struct vmi_rows *r, struct vmi_code *c, const struct vmi_text_image *t)
{
	size_t pages = (t->n + PAGE - 1) / PAGE, changed = 0, first;
	char text[HASHTEXT];

	(void)c;
	for (size_t i = 0; i < pages; i++)
		changed += vmi_text_differs(
			t, i * PAGE, t->n - i * PAGE < PAGE ? t->n - i * PAGE : PAGE, &first);
	vmi_row(r);
	vmi_str(r, COL_SECTION, t->section);
	vmi_hex(r, COL_ADDRESS, t->start);
	vmi_int(r, COL_BYTES, (int64_t)t->n);
	if (vmi_wants(r, COL_HASH)) {
		hash(t->bytes, t->n, text);
		vmi_str(r, COL_HASH, text);
	}
	vmi_str(r, COL_BASIS, t->want ? "reference" : "running");
	vmi_int(r, COL_PAGES, (int64_t)pages);
	if (t->want)
		vmi_int(r, COL_CHANGED, (int64_t)changed);
	if (t->torn)
		vmi_row_torn(r);
	return vmi_row_end(r);
}

static void hex(const uint8_t *p, size_t n, char text[HEXTEXT])
{
	*text = 0;
	for (size_t i = 0; i < n && i < SHOWN; i++)
		sprintf(text + 2 * i, "%02x", p[i]);
}

static bool page_rows(struct vmi_rows *r, struct vmi_code *c, const struct vmi_text_image *t)
{
	char text[256];

	for (size_t at = 0; at < t->n; at += PAGE) {
		size_t n = t->n - at < PAGE ? t->n - at : PAGE, first;

		vmi_row(r);
		vmi_str(r, PAGE_SECTION, t->section);
		vmi_hex(r, PAGE_ADDRESS, t->start + at);
		vmi_int(r, PAGE_BYTES, (int64_t)n);
		vmi_code_name(c, t->start + at, true, text, sizeof(text));
		vmi_str(r, PAGE_SYMBOL, *text ? text : NULL);
		if (vmi_wants(r, PAGE_HASH)) {
			hash(t->bytes + at, n, text);
			vmi_str(r, PAGE_HASH, text);
		}
		if (t->want)
			vmi_int(r, PAGE_CHANGED, 0);
		if (vmi_text_differs(t, at, n, &first)) {
			vmi_int(r, PAGE_CHANGED, 1);
			vmi_code_name(c, t->start + first, true, text, sizeof(text));
			vmi_str(r, PAGE_CHANGE, text);
			hex(t->bytes + first, t->n - first, text);
			vmi_str(r, PAGE_RUNNING, text);
			hex(t->want + first, t->n - first, text);
			vmi_str(r, PAGE_REFERENCE, text);
		}
		if (t->torn)
			vmi_row_torn(r);
		if (vmi_row_end(r))
			return true;
	}
	return false;
}

static int each_section(struct vmi_rows *r, struct vmi_code *c, const struct vmi_sites *s,
			section_fn fn)
{
	struct vmi_walk *w = vmi_rows_walk(r);
	struct vmi_text_image t;
	const struct vmi_module *m;
	bool enough = false;
	size_t n;
	int err = vmi_text_kernel(&t, w, c, s);

	if (!err)
		enough = fn(r, c, &t);
	vmi_text_free(&t);
	if (!err && !enough && w->guest->reference) {
		if (!vmi_text_constants(&t, w))
			enough = fn(r, c, &t);
		vmi_text_free(&t);
	}
	m = vmi_code_modules(c, &n);
	for (size_t i = 0; i < n && !err && !enough && !w->stop; i++) {
		if (!vmi_text_module(&t, w, c, s, &m[i]))
			enough = fn(r, c, &t);
		vmi_text_free(&t);
	}
	return err;
}

static int all(struct vmi_rows *r, section_fn fn)
{
	struct vmi_walk *w = vmi_rows_walk(r);
	struct vmi_sites sites = { 0 };
	struct vmi_code *c;
	int err = vmi_code_open(&c, w);

	if (!err)
		err = vmi_sites_load(&sites, w, c);
	if (!err)
		err = each_section(r, c, &sites, fn);
	vmi_sites_free(&sites);
	vmi_code_close(c);
	if (err == -ENOENT)
		return vmi_rows_error(
			r, w->guest->reference
				   ? "the reference has no text where this kernel has it"
				   : "_stext and _etext are not among the kernel's symbols");
	return err ? vmi_rows_error(r, "%s", strerror(-err)) : 0;
}

static int rows(struct vmi_rows *r)
{
	return all(r, section_row);
}

static int rows_of_pages(struct vmi_rows *r)
{
	return all(r, page_rows);
}

const struct vmi_table vmi_table_kernel_text = {
	.name = "kernel_text",
	.doc = "The text of the kernel and its modules: a hash that is the same on each boot.",
	.origin = VMI_OURS,
	.needs = VMI_LEVEL_TYPES,
	.columns = columns,
	.n_columns = sizeof(columns) / sizeof(columns[0]),
	.rows = rows,
};

const struct vmi_table vmi_table_kernel_text_pages = {
	.name = "kernel_text_pages",
	.doc = "The same, page by page, with what differs from the reference.",
	.origin = VMI_OURS,
	.needs = VMI_LEVEL_TYPES,
	.columns = page_columns,
	.n_columns = sizeof(page_columns) / sizeof(page_columns[0]),
	.rows = rows_of_pages,
};
