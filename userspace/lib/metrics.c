// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * Rendering: which VMs, under which names, within which limit. What is written is in
 * metrics_families.c, how in metrics_text.c and metrics_json.c.
 */
#include <errno.h>
#include <fnmatch.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "metrics_emit.h"

#define NSEC	   1000000000ULL
#define FIRST_CAP  65536
#define LABEL_SIZE (4 * sizeof(((struct iho_vm_report *)0)->name) + 48)

/* ---- text ---- */

static char *reserve(struct iho_metrics_buf *b, size_t len)
{
	size_t cap = b->cap ? b->cap : FIRST_CAP;
	char *data;

	if (b->error)
		return NULL;
	/* always room for the final 0 */
	if (b->cap - b->len > len)
		return b->data + b->len;
	while (cap - b->len <= len)
		cap *= 2;
	data = realloc(b->data, cap);
	if (!data) {
		b->error = -ENOMEM;
		return NULL;
	}
	b->data = data;
	b->cap = cap;
	return b->data + b->len;
}

void iho_buf_add(struct iho_metrics_buf *b, const char *s, size_t len)
{
	char *p = reserve(b, len);

	if (!p)
		return;
	memcpy(p, s, len);
	b->len += len;
}

void iho_buf_str(struct iho_metrics_buf *b, const char *s)
{
	iho_buf_add(b, s, strlen(s));
}

void iho_buf_u64(struct iho_metrics_buf *b, uint64_t n)
{
	char digits[20];
	size_t at = sizeof(digits);

	do
		digits[--at] = '0' + n % 10;
	while (n /= 10);
	iho_buf_add(b, digits + at, sizeof(digits) - at);
}

void iho_buf_ns(struct iho_metrics_buf *b, uint64_t ns)
{
	uint64_t rest = ns % NSEC;
	char part[10];
	size_t len = 10;

	iho_buf_u64(b, ns / NSEC);
	if (!rest)
		return;
	part[0] = '.';
	for (int i = 9; i > 0; i--, rest /= 10)
		part[i] = '0' + rest % 10;
	while (part[len - 1] == '0')
		len--;
	iho_buf_add(b, part, len);
}

void iho_buf_real(struct iho_metrics_buf *b, double d)
{
	char text[40];

	/* 15 digits always read back the same from text, 17 always from a double */
	for (int digits = 15; digits <= 17; digits++) {
		snprintf(text, sizeof(text), "%.*g", digits, d);
		if (strtod(text, NULL) == d)
			break;
	}
	iho_buf_str(b, text);
}

void iho_buf_value(struct iho_metrics_buf *b, const struct iho_metric_value *v)
{
	if (v->type == IHO_VALUE_INT)
		iho_buf_u64(b, v->n);
	else if (v->type == IHO_VALUE_NS)
		iho_buf_ns(b, v->n);
	else
		iho_buf_real(b, v->d);
}

/* Length of the character at `s`, 0 if it is none (Unicode 15, table 3-7); stops at a final 0. */
static size_t utf8_len(const unsigned char *s)
{
	unsigned int low = 0x80, high = 0xbf;
	size_t len;

	if (s[0] < 0x80)
		return 1;
	if (s[0] < 0xc2 || s[0] > 0xf4)
		return 0;
	len = s[0] < 0xe0 ? 2 : s[0] < 0xf0 ? 3 : 4;
	if (s[0] == 0xe0)
		low = 0xa0; /* overlong */
	else if (s[0] == 0xed)
		high = 0x9f; /* surrogates */
	else if (s[0] == 0xf0)
		low = 0x90; /* overlong */
	else if (s[0] == 0xf4)
		high = 0x8f; /* beyond U+10FFFF */
	for (size_t i = 1; i < len; i++, low = 0x80, high = 0xbf)
		if (s[i] < low || s[i] > high)
			return 0;
	return len;
}

/* The character at `s` as it stands in a label: itself or \xNN. Returns how much of `s` it was. */
static size_t label_char(const unsigned char *s, char out[5])
{
	size_t len = utf8_len(s);

	if (!len || (s[0] < 0x20 && s[0] != '\n') || s[0] == 0x7f) {
		snprintf(out, 5, "\\x%02x", s[0]);
		return 1;
	}
	memcpy(out, s, len);
	out[len] = '\0';
	return len;
}

static void label_text(char *out, size_t size, const char *name)
{
	const unsigned char *s = (const unsigned char *)name;
	size_t used = 0;
	char c[5];

	while (*s) {
		s += label_char(s, c);
		if (used + strlen(c) >= size)
			break;
		memcpy(out + used, c, strlen(c));
		used += strlen(c);
	}
	out[used] = '\0';
}

void iho_buf_quoted(struct iho_metrics_buf *b, const char *str)
{
	const unsigned char *s = (const unsigned char *)str;
	char c[5];

	iho_buf_add(b, "\"", 1);
	while (*s) {
		size_t plain = 0;

		/* nearly always all of it */
		while (s[plain] >= 0x20 && s[plain] < 0x7f && s[plain] != '"' && s[plain] != '\\')
			plain++;
		iho_buf_add(b, (const char *)s, plain);
		s += plain;
		if (!*s)
			break;
		s += label_char(s, c);
		if (c[0] == '\\' || c[0] == '"')
			iho_buf_add(b, "\\", 1);
		iho_buf_str(b, c[0] == '\n' ? "\\n" : c);
	}
	iho_buf_add(b, "\"", 1);
}

/* ---- samples ---- */

uint64_t iho_metric_le_ns(unsigned int i)
{
	return 1ULL << (i <= 11 ? 9 + i : 20 + 2 * (i - 11));
}

void iho_metric_hist_add(struct iho_metric_hist *h, const uint64_t *hist, uint64_t time_ns)
{
	uint64_t n = 0;
	unsigned int b = 0;

	for (unsigned int i = 0; i < IHO_LE_BOUNDS; i++) {
		unsigned int log = __builtin_ctzll(iho_metric_le_ns(i));

		for (; b < (log - IHO_HIST_MIN_SHIFT) * IHO_HIST_SUB; b++)
			n += hist[b];
		h->below[i] += n;
	}
	for (; b < IHO_HIST_BUCKETS; b++)
		n += hist[b];
	h->count += n;
	h->sum_ns += time_ns;
}

static void begin_sample(struct iho_metrics_emit *e)
{
	if (!e->samples)
		e->sink->family(e);
}

static void emit_value(struct iho_metrics_emit *e, const char *const *labels,
		       const struct iho_metric_value *v)
{
	begin_sample(e);
	e->sink->sample(e, labels, v);
	e->samples++;
	e->series++;
}

void iho_emit_int(struct iho_metrics_emit *e, const char *const *labels, uint64_t n)
{
	emit_value(e, labels, &(struct iho_metric_value){ .type = IHO_VALUE_INT, .n = n });
}

void iho_emit_ns(struct iho_metrics_emit *e, const char *const *labels, uint64_t ns)
{
	emit_value(e, labels, &(struct iho_metric_value){ .type = IHO_VALUE_NS, .n = ns });
}

void iho_emit_real(struct iho_metrics_emit *e, const char *const *labels, double d)
{
	if (isfinite(d))
		emit_value(e, labels, &(struct iho_metric_value){ .type = IHO_VALUE_REAL, .d = d });
}

void iho_emit_hist(struct iho_metrics_emit *e, const char *const *labels,
		   const struct iho_metric_hist *h)
{
	begin_sample(e);
	e->sink->histogram(e, labels, h);
	e->samples++;
	e->series += IHO_LE_BOUNDS + 3; /* +Inf, sum, count */
}

struct iho_metrics_row *iho_emit_row(struct iho_metrics_emit *e, const char *reason)
{
	struct iho_metrics_row *row;

	for (size_t i = 0; i < e->n_rows; i++)
		if (!strcmp(e->rows[i].reason, reason))
			return &e->rows[i];
	if (e->n_rows == e->rows_cap) {
		size_t cap = e->rows_cap ? 2 * e->rows_cap : 64;

		row = realloc(e->rows, cap * sizeof(*row));
		if (!row) {
			e->out.error = -ENOMEM;
			return NULL;
		}
		e->rows = row;
		e->rows_cap = cap;
	}
	row = &e->rows[e->n_rows++];
	memset(row, 0, sizeof(*row));
	row->reason = reason;
	return row;
}

/* ---- VMs ---- */

struct iho_vm_label {
	char text[LABEL_SIZE];
	bool named, wanted;
};

static bool matches(const char *name, const char *const *globs, size_t n)
{
	for (size_t i = 0; i < n; i++)
		if (!fnmatch(globs[i], name, 0))
			return true;
	return false;
}

static bool wanted(const struct iho_metrics_options *o, const char *name)
{
	return (!o->n_vm || matches(name, o->vm, o->n_vm)) &&
	       !matches(name, o->exclude, o->n_exclude);
}

static bool taken(const struct iho_vm_label *l, size_t n, const char *text)
{
	for (size_t i = 0; i < n; i++)
		if (l[i].named && !strcmp(l[i].text, text))
			return true;
	return false;
}

static void name_living(struct iho_vm_label *l, const struct iho_report *r, size_t i)
{
	char name[LABEL_SIZE], text[LABEL_SIZE];

	label_text(name, sizeof(name) - 40, r->vms[i].name);
	snprintf(text, sizeof(text), "%s", name);
	for (unsigned int nth = 1; taken(l, r->n_vms, text); nth++) {
		if (nth == 1)
			snprintf(text, sizeof(text), "%.*s@%d", (int)sizeof(name) - 40, name,
				 r->vms[i].pid);
		else
			snprintf(text, sizeof(text), "%.*s@%d#%u", (int)sizeof(name) - 40, name,
				 r->vms[i].pid, nth);
	}
	memcpy(l[i].text, text, sizeof(text));
	l[i].named = true;
}

/* Of those that ended, the last one has the name, if no living one has. */
static void name_ended(struct iho_vm_label *l, const struct iho_report *r, size_t i)
{
	const struct iho_vm_report *vm = &r->vms[i];
	char text[LABEL_SIZE];

	label_text(text, sizeof(text), vm->name);
	if (taken(l, r->n_vms, text))
		return;
	for (size_t k = 0; k < r->n_vms; k++)
		if (r->vms[k].gone && r->vms[k].gone_s < vm->gone_s &&
		    !strcmp(r->vms[k].name, vm->name))
			return;
	memcpy(l[i].text, text, sizeof(text));
	l[i].named = true;
}

static struct iho_vm_label *label_vms(const struct iho_report *r,
				      const struct iho_metrics_options *o)
{
	struct iho_vm_label *l = calloc(r->n_vms ? r->n_vms : 1, sizeof(*l));

	if (!l)
		return NULL;
	for (size_t i = 0; i < r->n_vms; i++)
		if (!r->vms[i].gone)
			name_living(l, r, i);
	for (size_t i = 0; i < r->n_vms; i++)
		if (r->vms[i].gone)
			name_ended(l, r, i);
	for (size_t i = 0; i < r->n_vms; i++)
		l[i].wanted = l[i].named && wanted(o, r->vms[i].name);
	return l;
}

const char *iho_emit_label(const struct iho_metrics_emit *e, pid_t pid, const char *name)
{
	for (size_t i = 0; i < e->report->n_vms; i++)
		if (pid && e->report->vms[i].pid == pid && e->labels[i].named)
			return e->labels[i].wanted ? e->labels[i].text : NULL;
	return wanted(e->options, name) ? name : NULL;
}

/* ---- rendering ---- */

/* Before the VMs' share of the series is known to fit. */
struct mark {
	size_t len, series, samples;
};

static struct mark mark(const struct iho_metrics_emit *e)
{
	return (struct mark){ e->out.len, e->series, e->samples };
}

static void roll_back(struct iho_metrics_emit *e, const struct mark *m)
{
	e->dropped += e->series - m->series;
	e->out.len = m->len;
	e->series = m->series;
	e->samples = m->samples;
}

/* Everything that `emit` gives, or nothing. */
static void emit_within(struct iho_metrics_emit *e, size_t most)
{
	struct mark m = mark(e);

	e->metric->emit(e);
	if (e->series > most)
		roll_back(e, &m);
}

static void render_vms(struct iho_metrics_emit *e, size_t most)
{
	for (size_t i = 0; i < e->report->n_vms; i++) {
		if (!e->labels[i].wanted)
			continue;
		e->vm = &e->report->vms[i];
		e->vm_label = e->labels[i].text;
		emit_within(e, most);
	}
	e->vm = NULL;
}

static void render_family(struct iho_metrics_emit *e, size_t most)
{
	e->samples = 0;
	switch (e->metric->scope) {
	case IHO_METRIC_ALWAYS:
		e->metric->emit(e);
		break;
	case IHO_METRIC_HOST:
		if (e->report)
			e->metric->emit(e);
		break;
	case IHO_METRIC_EXPORTER:
		if (e->self)
			e->metric->emit(e);
		break;
	case IHO_METRIC_VM:
		if (e->report)
			render_vms(e, most);
		break;
	case IHO_METRIC_NAMED:
		if (e->report)
			emit_within(e, most);
		break;
	}
	if (e->samples) {
		e->sink->family_end(e);
		e->families++;
	}
}

static const struct iho_metrics_sink *sink_of(enum iho_metrics_format f)
{
	switch (f) {
	case IHO_METRICS_PROMETHEUS:
		return &iho_metrics_prometheus;
	case IHO_METRICS_OPENMETRICS:
		return &iho_metrics_openmetrics;
	case IHO_METRICS_JSON:
		return &iho_metrics_json;
	}
	return NULL;
}

int iho_metrics_render(struct iho_metrics_text *out, const struct iho_report *r,
		       const struct iho_metrics_exporter *self, enum iho_metrics_format f,
		       const struct iho_metrics_options *o)
{
	static const struct iho_metrics_options all = {};
	struct iho_metrics_emit e = { .report = r, .self = self, .sink = sink_of(f) };
	struct iho_vm_label *l = NULL;
	const struct iho_metric *m;
	size_t n, most;

	memset(out, 0, sizeof(*out));
	if (!e.sink)
		return -EINVAL;
	o = o ? o : &all;
	/* The two families that tell about the limit come after all others. */
	most = !o->max_series ? SIZE_MAX : o->max_series > 2 ? o->max_series - 2 : 0;
	if (r) {
		l = label_vms(r, o);
		if (!l)
			return -ENOMEM;
	}
	e.options = o;
	e.labels = l;
	for (unsigned int i = 0; i < IHO_LE_BOUNDS; i++)
		snprintf(e.le[i], sizeof(e.le[i]), "%.10g", iho_metric_le_ns(i) / 1e9);
	m = iho_metrics_catalogue(&n);
	e.sink->begin(&e);
	for (size_t i = 0; i < n; i++) {
		e.metric = &m[i];
		render_family(&e, most);
	}
	e.sink->end(&e);
	free(l);
	free(e.rows);
	if (e.out.error) {
		free(e.out.data);
		return e.out.error;
	}
	e.out.data[e.out.len] = '\0';
	out->data = e.out.data;
	out->len = e.out.len;
	out->series = e.series;
	out->dropped = e.dropped;
	return 0;
}

void iho_metrics_text_free(struct iho_metrics_text *t)
{
	free(t->data);
	memset(t, 0, sizeof(*t));
}
