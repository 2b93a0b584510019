/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * How the screens are made. Private to userspace/top.
 *
 * Every screen is a list: it fills `struct list` from the report, and table.c sorts, filters,
 * scrolls and draws it. The list is built anew for each redraw, so it holds nothing that outlives
 * a report; what must outlive one (the cursor, tags, the scope) is kept as a `struct ident`.
 */
#ifndef IHO_TOP_SCREEN_H
#define IHO_TOP_SCREEN_H

#include "draw.h"
#include "tenant.h"
#include "terminal.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

#define HISTORY	  60 /* samples of a sparkline */
#define GONE_TEXT " Gone. Left and Right go to another VM, a to all."
#define MIN_ROWS  12
#define MIN_COLS  60

/* Columns of this rank and above go before any other has to be narrower than it wants. */
#define RANK_EXTRA 6

enum screen_id {
	SCREEN_OVERVIEW,
	SCREEN_EXITS,
	SCREEN_VCPUS,
	SCREEN_INTERRUPTS,
	SCREEN_MIGRATION,
	SCREEN_TENANT,
	SCREEN_TABS, /* the ones above are on the title line */
	SCREEN_HELP = SCREEN_TABS,
	SCREEN_SETUP,
	SCREEN_DRILL, /* below Exits */
	SCREEN_INTERLOPERS, /* below vCPUs */
	SCREEN_MAX,
};

/* What a row is, from one report to the next. */
struct ident {
	pid_t pid;
	pid_t tid; /* 0: the VM itself */
	uint64_t vm_key;
	uint32_t type; /* enum row_type */
	uint32_t a;
	uint64_t b;
};

enum row_type {
	ROW_NONE,
	ROW_VM,
	ROW_VCPU,
	ROW_EXIT, /* a = isa, b = code */
	ROW_USER, /* b = code */
	ROW_DRILL, /* a = kind, b = value */
	ROW_ACCEPT, /* a = kind, b = apicid << 8 | vector */
	ROW_INTERLOPER, /* a = kind, b = id */
	ROW_APICV, /* a = line */
	ROW_DIRECT, /* a = line; of a VM or, with a tid, of a vCPU */
	ROW_BILL, /* a = enum iho_bill */
	ROW_UTILISATION, /* a = line */
	ROW_SETTING, /* a = which */
	ROW_TASK, /* b = tid */
	ROW_MIGRATION, /* b = when it began, in ms */
};

enum item_kind {
	ITEM_ROW, /* can be selected */
	ITEM_SECTION, /* a heading */
	ITEM_LINE, /* text */
};

struct item {
	enum item_kind kind;
	struct ident id;
	const struct iho_vm_report *vm;
	const struct iho_vcpu *vcpu;
	const void *row; /* by id.type: struct iho_exit_row, ... */
	double whole; /* what a share is a share of */
	char *text; /* instead of cells; owned */
	int style; /* of the text */
	bool tree_last; /* draws the tree's corner */
	bool tagged;
	double sort_key;
	size_t order;
};

struct list {
	struct item *v;
	size_t n, cap;
	bool short_of_memory; /* the list is not complete */
};

struct ui;

struct column {
	const char *key; /* in the settings */
	const char *title;
	const char *help;
	unsigned char min, want, max; /* columns of the terminal; want 0: no more than min */
	unsigned char rank; /* where there is no room, the highest rank goes first */
	bool left; /* text */
	char hotkey; /* 'P', 'M', 'T': sorts by it */
	int arg;
	/* NULL: drawn by draw(), not sortable */
	void (*get)(const struct ui *ui, const struct item *it, int arg, struct cell *c);
	void (*draw)(const struct ui *ui, const struct item *it, int y, int x, int w);
	bool (*hidden)(const struct ui *ui);
	bool up; /* small numbers first; texts always do */
};

struct screen {
	const char *title;
	int key;
	enum screen_id parent; /* where Esc goes */
	bool bill_legend;
	bool scoped; /* shows ui->scope; Left and Right change it */
	enum iho_sorted sorted;
	const char *default_sort;
	const char *fallback_sort; /* where this host lacks the chosen one; NULL = keep it */
	const struct column *columns;
	size_t n_columns;
	void (*build)(struct ui *ui, struct list *l);
	bool (*on_key)(struct ui *ui, int key); /* true: it knew the key */
};

/* One screen's place in its list and its filter. */
struct view {
	struct ident cursor;
	bool touched; /* until the user moves it, the cursor stays on the first row */
	size_t row, top;
	char filter[64];
};

enum mode { MODE_NORMAL, MODE_SEARCH, MODE_FILTER, MODE_SORT };

/* The part of the host that a screen shows. */
struct scope {
	struct ident id; /* ROW_NONE: all VMs; ROW_VM; ROW_VCPU */
	char name[64]; /* for when it is gone */
};

/* Where a click does something. */
enum hit_kind { HIT_TAB, HIT_COLUMN, HIT_KEY, HIT_ROW, HIT_MENU };

struct hit {
	enum hit_kind kind;
	int y, x, w;
	int arg;
};

struct history {
	struct ident id;
	bool fresh;
	int n;
	float v[HISTORY];
};

/* Rows of several VMs, summed up. */
struct scratch {
	char *v;
	size_t n;
	size_t cap; /* bytes */
	bool ready; /* holds this report's sums */
};

struct ui {
	struct terminal term;
	struct iho_collector *collector;
	const struct iho_report *r;
	struct iho_settings *set;
	bool ascii; /* asked for in this run */
	bool save; /* `set` belongs to the caller and to a file */
	bool dirty; /* `set` is not what the file says */
	const char *notice;
	char message[600];
	bool message_bad;
	double delay_s;
	int rows, cols;
	bool quit, paused, report_now;
	bool away; /* ihod did not answer the last time */

	enum screen_id screen, back; /* `back`: where Help and Setup return to */
	struct view views[SCREEN_MAX];
	struct list list;
	int page; /* rows of the list that the last draw had room for */

	enum mode mode;
	char search[64];
	int menu; /* the line of the sort menu */

	struct scope scope, outer_scope; /* `outer_scope`: before a vCPU was opened */
	const struct iho_vm_report *vm; /* the scope in this report; NULL = all, or gone */
	const struct iho_vcpu *vcpu;
	char reason[40]; /* whose drill-down is open */
	struct scratch exits, users, drills, accepts;

	struct tenant *tenant; /* only while its screen is open */
	struct tenant_view tenant_view;
	const char *tenant_vm; /* asked for; NULL = the scope says */
	char tenant_is[64]; /* whom `tenant` looks into */

	struct ident *tags;
	size_t n_tags;
	struct history *history;
	size_t n_history;

	struct hit hits[512];
	size_t n_hits;
};

extern const struct screen *const screens[SCREEN_MAX];

extern const struct screen screen_overview, screen_exits, screen_drill, screen_vcpus,
	screen_interlopers, screen_interrupts, screen_migration, screen_tenant, screen_help,
	screen_setup;

/* tui.c */
void ui_go(struct ui *ui, enum screen_id id);
void ui_say(struct ui *ui, bool bad, const char *fmt, ...) __attribute__((format(printf, 3, 4)));
void ui_hit(struct ui *ui, enum hit_kind kind, int y, int x, int w, int arg);
void ui_set_delay(struct ui *ui, double delay_s);
void ui_save(struct ui *ui);
bool ui_ascii(const struct ui *ui);
bool without_exits(const struct ui *ui); /* this host tells neither exits nor guest time */
/* A second's worth of `delta`, NaN as long as the interval is too short to tell. */
double ui_rate(const struct ui *ui, uint64_t delta);

/* ident.c: identities, tags, histories */
bool ident_same(const struct ident *a, const struct ident *b);
struct ident ident_vm(const struct iho_vm_report *vm);
struct ident ident_vcpu(const struct iho_vm_report *vm, const struct iho_vcpu *vcpu);
struct ident ident_row(const struct ui *ui, enum row_type type, uint32_t a, uint64_t b);
bool tag_has(const struct ui *ui, const struct ident *id);
void tag_toggle(struct ui *ui, const struct ident *id);
/* Takes the report's rates into the sparklines; drops those of VMs that are no more. */
void history_update(struct ui *ui);
const struct history *history_find(const struct ui *ui, const struct ident *id);

/* scope.c: what the scope covers, summed up where it is more than one VM */
void scope_resolve(struct ui *ui);
void scope_forget(struct ui *ui); /* the sums are of an older report */
void scope_set(struct ui *ui, const struct ident *id, const char *name);
void scope_step(struct ui *ui, int step); /* the next or the previous VM or vCPU */
void scope_text(const struct ui *ui, char *buf, size_t len);
bool scope_gone(const struct ui *ui);
bool scope_is_sum(const struct ui *ui); /* of several VMs: no percentiles */
double scope_wall_delta(const struct ui *ui);
const struct iho_exit_row *scope_exits(struct ui *ui, size_t *n);
const struct iho_user_row *scope_users(struct ui *ui, size_t *n);
const struct iho_drill_row *scope_drills(struct ui *ui, size_t *n);
const struct iho_accept_row *scope_accepts(struct ui *ui, size_t *n);
uint64_t scope_drill_overflow(const struct ui *ui, enum iho_drill_kind kind);

/* table.c */
bool column_hidden(const struct ui *ui, const struct column *c);
void list_reset(struct list *l);
struct item *list_add(struct list *l, enum item_kind kind);
void list_text(struct list *l, enum item_kind kind, int style, const char *fmt, ...)
	__attribute__((format(printf, 4, 5)));
/* Cuts the text into lines at spaces. */
void list_wrapped(const struct ui *ui, struct list *l, int style, const char *indent,
		  const char *text);
/* Drops the items from `from` on that the filter does not let pass. */
void list_filter(struct ui *ui, struct list *l, size_t from);
/* Sorts the items from `from` on by the screen's column. */
void list_sort(struct ui *ui, struct list *l, size_t from);
/* Both. */
void list_settle(struct ui *ui, struct list *l, size_t from);
void table_build(struct ui *ui);
void table_draw(struct ui *ui, int y, int h);
void table_move(struct ui *ui, long step);
void table_select(struct ui *ui, size_t index); /* by the user */
void table_search(struct ui *ui, bool next);
const struct item *table_selected(const struct ui *ui);
void table_sort_by(struct ui *ui, size_t column); /* again: inverts */
void table_sort_step(struct ui *ui, int step);
size_t table_sort_column(const struct ui *ui);

/* screen_exits.c: drill-down rows with their headings; shared with screen_interrupts.c */
void drill_section(struct ui *ui, struct list *l, enum iho_drill_kind kind);
#define DRILL_COLUMNS 4
extern const struct column drill_columns[DRILL_COLUMNS];

/* screen_overview.c, shared with screen_vcpus.c */
void draw_item_bill(const struct ui *ui, const struct item *it, int y, int x, int w);
void get_exits_rate(const struct ui *ui, const struct item *it, int arg, struct cell *c);
void get_user_rate(const struct ui *ui, const struct item *it, int arg, struct cell *c);

#endif /* IHO_TOP_SCREEN_H */
