/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Text, numbers, bars and sparklines in character cells. Private to userspace/top.
 *
 * Numbers:
 *  - counts are plain integers as long as they fit their column (TOTAL: eleven digits and more), so
 *    that they can be compared with the JSON of the same run; else three digits and k, M, G, T
 *    (powers of 1000), rounded down
 *  - rates a second have one decimal below 100, else none, then k, M, G as above
 *  - times have three digits and a unit, rounded down: 812ns 1.23us 45.6ms 3.21s; hours from
 *    10000 s on
 *  - shares are percent with one decimal; the % is in the column's title
 *  - "-" where this host or this view does not have the number
 */
#ifndef IHO_TOP_DRAW_H
#define IHO_TOP_DRAW_H

#include "terminal.h"

/* What a table's cell holds. Numbers sort by their value, texts by their bytes. */
enum cell_kind { CELL_ABSENT, CELL_TEXT, CELL_COUNT, CELL_RATE, CELL_NS, CELL_PERCENT };

struct cell {
	enum cell_kind kind;
	uint64_t n; /* CELL_COUNT, CELL_NS */
	double d; /* CELL_RATE, CELL_PERCENT; NaN = absent */
	char text[128];
};

void cell_text(struct cell *c, const char *fmt, ...) __attribute__((format(printf, 2, 3)));
void cell_count(struct cell *c, uint64_t n);
void cell_ns(struct cell *c, uint64_t ns);
void cell_rate(struct cell *c, double per_s);
void cell_percent(struct cell *c, double part, double whole);

/* At most `width` columns of ASCII or, where the terminal can, "µ". */
void cell_format(const struct cell *c, int width, bool utf8, char *buf, size_t len);

void format_count(uint64_t n, int width, char *buf, size_t len);
void format_rate(double per_s, int width, char *buf, size_t len);
void format_ns(uint64_t ns, bool utf8, char *buf, size_t len);

/*
 * Draws `text` in `w` columns at (y, x), padded with spaces, shortened with "…" (".." in ASCII).
 * What does not print (control bytes, invalid UTF-8, characters without a width; all that is not
 * ASCII where nothing else is to be shown) becomes "?": names come from guests' owners. Returns
 * the columns that the text took.
 */
int draw_text(const struct terminal *t, int y, int x, int w, const char *text);
int draw_text_right(const struct terminal *t, int y, int x, int w, const char *text);

/* The columns that draw_text() would need to show all of it. */
int text_columns(const struct terminal *t, const char *text);

/* The bill of the last interval as a stacked bar, each state at least as exact as one cell. */
void draw_bill(const struct terminal *t, bool ascii, int y, int x, int w,
	       const struct iho_bill_ns *b);

/* The bar's sign for a state, with its style set; for legends. */
const char *bill_sign(const struct terminal *t, bool ascii, enum iho_bill b);

/* `n` samples, oldest first, the newest at the right edge, scaled to the largest that is shown. */
void draw_spark(const struct terminal *t, bool ascii, int y, int x, int w, const float *v, int n);

/* Pieces of text set one after the other, each kept whole, on up to `max_lines` lines. */
struct piece {
	int style;
	const char *sign; /* drawn before the text in `sign_style`; NULL = none */
	int sign_style;
	char text[96];
};

/* Returns the lines used; y < 0 only measures. */
int draw_flow(const struct terminal *t, int y, int w, int max_lines, const struct piece *v,
	      size_t n);

#endif /* IHO_TOP_DRAW_H */
