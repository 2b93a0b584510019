// SPDX-License-Identifier: GPL-2.0-or-later
/* Help: keys, how to read the screens, and in full what the strip shortens. */
#include "screen.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

static const struct {
	const char *keys, *what; /* without keys: a heading */
} key_help[] = {
	{ NULL, "Screens" },
	{ "1-6, o e v i m g",
	  "Overview, Exits, vCPUs, Interrupts, Migration, Tenant (guest tasks)" },
	{ "Tab, Shift-Tab", "the next and the previous of them" },
	{ "F1 h ?", "this help" },
	{ "F2 S", "setup: theme, bars, delay, tree, sort columns; saved" },
	{ "Enter", "Overview: exits of the VM or vCPU; Exits: ports, pages, MSRs... of the" },
	{ "", "reason; vCPUs: who took the vCPU's core, and its whole bill" },
	{ "Esc, Backspace", "back" },
	{ "Left, Right", "the next VM or vCPU (where the second line names what is shown)" },
	{ "a", "all VMs" },
	{ NULL, "Rows" },
	{ "arrows, PgUp, PgDn", "move; Home and End too" },
	{ "F3 /", "search as you type; F3 again: next; Enter or Esc: done" },
	{ "F4 \\", "filter as you type, empty: none; Enter: keep, Esc: drop it" },
	{ "F5 t", "tree: each VM's vCPUs on the overview" },
	{ "Space, U", "tag a row: it stays on top and passes the filter; untag all" },
	{ "F6", "choose the column to sort by" },
	{ "< >", "sort by the column to the left, to the right" },
	{ "I", "invert the order" },
	{ "P", "sort by share: CPU% (guest and KVM), GUEST%, TIME%, SHARE%, MS/s" },
	{ "M", "sort by events a second: EXITS/s, RATE/s, TIMES/s" },
	{ "T", "sort by time since attach (vCPUs: by waiting for a core; vectors: by total)" },
	{ NULL, "Time" },
	{ "Z", "pause and go on: paused, the numbers stay as they are" },
	{ "r", "a new report now, and the whole screen drawn again" },
	{ "+ -", "longer and shorter delay" },
	{ "q F10 Ctrl-C", "quit; Ctrl-Z stops for a while" },
	{ NULL, "Mouse" },
	{ "click", "on a row, a column's title, a tab, a key of the bottom line; a wheel scrolls" },
};

static void add_keys(struct ui *ui, struct list *l)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(key_help); i++) {
		if (!key_help[i].keys) {
			list_text(l, ITEM_LINE, ST_SECTION, "%s", key_help[i].what);
		} else {
			char line[160];

			snprintf(line, sizeof(line), "  %-19s %s", key_help[i].keys,
				 key_help[i].what);
			list_text(l, ITEM_LINE, ST_TEXT, "%s", line);
		}
	}
	list_text(l, ITEM_LINE, ST_SECTION, "Numbers");
	list_wrapped(ui, l, ST_TEXT, "  ",
		     "A rate or a share is of the interval between two reports; TOTAL, TIME, MEAN, "
		     "P50, P99 and MAX are since attach. A number that does not fit is shortened "
		     "with k, M or G and rounded down. A dash: this host or this view does not "
		     "have the number.");
	list_wrapped(ui, l, ST_TEXT, "  ",
		     "TIME of an exit is the work for the guest, in KVM and in the VMM; halts and "
		     "waiting for a core are on the bill instead.");
}

static void add_bill_signs(struct ui *ui, struct list *l)
{
	int i;

	list_text(l, ITEM_LINE, ST_SECTION, "The bill's states, and their letters without colours");
	for (i = 0; i < IHO_BILL_MAX; i++)
		list_text(l, ITEM_LINE, ST_BILL + i, "  %s  %s", bill_sign(&ui->term, true, i),
			  iho_bill_label(i));
}

static void add_columns(struct list *l, const struct screen *s)
{
	size_t i;

	list_text(l, ITEM_LINE, ST_SECTION, "Columns: %s", s->title);
	for (i = 0; i < s->n_columns; i++) {
		const struct column *c = &s->columns[i];

		list_text(l, ITEM_LINE, ST_TEXT, "  %-21s%s%s%c", c->title, c->help,
			  c->hotkey ? "; key " : "", c->hotkey ? c->hotkey : ' ');
	}
}

static void add_loss(struct list *l, const char *what, uint64_t n)
{
	list_text(l, ITEM_LINE, n ? ST_BAD : ST_TEXT, "  %-48s %" PRIu64, what, n);
}

static void add_strip(struct ui *ui, struct list *l)
{
	list_text(l, ITEM_LINE, ST_SECTION, "The lines above the keys");
	list_wrapped(ui, l, ST_TEXT, "  ",
		     "self: CPU share of iho-top and of ihod, if it reads from it, of one core. "
		     "BPF: what its programs cost an event, and of one core. events: all that were "
		     "counted. lost, unpaired, overflow, no slot and, where there are any, missed "
		     "switches: see below. source: where the numbers come from. missing: what this "
		     "host cannot show.");
}

/* Every counter of what was lost, also the zeros: nothing is dropped in silence. */
static void add_losses(struct list *l, const struct iho_self *s)
{
	list_text(l, ITEM_LINE, ST_SECTION, "Lost, since attach");
	add_loss(l, "lost in all, the sum of these:", s->lost);
	add_loss(l, "events of vCPUs without a slot", s->lost_no_slot);
	add_loss(l, "kernel refused task storage", s->lost_storage);
	add_loss(l, "no room in the interrupt tables", s->lost_shared);
	add_loss(l, "too many vCPUs waiting on one core", s->lost_waiters);
	add_loss(l, "a switch inside an event's program", s->lost_nested);
	add_loss(l, "kernel structure not readable", s->lost_read);
	add_loss(l, "ports, pages, registers... beyond the tables", s->drill_overflow);
	add_loss(l, "exits beyond the table of reasons", s->exit_overflow);
	add_loss(l, "IRQs beyond the table of interlopers", s->irq_overflow);
	add_loss(l, "events older than the one before", s->clock_back);
	list_text(l, ITEM_LINE, ST_SECTION, "Not lost, but known less well, since attach");
	add_loss(l, "entries or exits without their counterpart", s->unpaired);
	add_loss(l, "snapshots of a vCPU that could not be consistent", s->torn);
	add_loss(l, "threads found running without a reported switch", s->missed_switches);
	add_loss(l, "tasks that lost their place as interlopers", s->interlopers_evicted);
}

static void add_self(struct list *l, const struct iho_self *s)
{
	list_text(l, ITEM_LINE, ST_SECTION, "What all this costs");
	list_text(l, ITEM_LINE, ST_TEXT,
		  "  %s: %.2f %% of a core, %.1f MiB of memory, %.1f MiB of BPF maps",
		  s->reader_rss_bytes ? "ihod" : "iho-top", s->cpu_share * 100,
		  (double)s->rss_bytes / 1048576, (double)s->map_bytes / 1048576);
	if (s->reader_rss_bytes)
		list_text(l, ITEM_LINE, ST_TEXT, "  iho-top: %.2f %% of a core, %.1f MiB of memory",
			  s->reader_cpu_share * 100, (double)s->reader_rss_bytes / 1048576);
	if (s->bpf_ns_per_event < 0)
		list_text(l, ITEM_LINE, ST_TEXT, "  BPF programs: not measured yet");
	else
		list_text(l, ITEM_LINE, ST_TEXT,
			  "  BPF programs: %.0f ns an event, %.2f %% of a core in this interval",
			  s->bpf_ns_per_event, s->bpf_share * 100);
	list_text(l, ITEM_LINE, ST_TEXT, "  the last snapshot took %.0f us; %u of %u slots in use",
		  s->snapshot_us, s->slots_used, s->slots);
	list_text(l, ITEM_LINE, s->vcpus_without_id ? ST_WARN : ST_TEXT,
		  "  %u vCPUs whose number is not known (yet)", s->vcpus_without_id);
}

static void build(struct ui *ui, struct list *l)
{
	static const enum screen_id tables[] = {
		SCREEN_OVERVIEW, SCREEN_EXITS,	     SCREEN_DRILL,
		SCREEN_VCPUS,	 SCREEN_INTERLOPERS, SCREEN_TENANT
	};
	size_t i;

	add_keys(ui, l);
	add_strip(ui, l);
	list_text(l, ITEM_LINE, ST_SECTION, "What this host cannot show");
	list_wrapped(ui, l, ui->r->missing[0] ? ST_WARN : ST_TEXT, "  ",
		     ui->r->missing[0] ? ui->r->missing : "Nothing is missing.");
	add_losses(l, &ui->r->self);
	add_self(l, &ui->r->self);
	add_bill_signs(ui, l);
	for (i = 0; i < ARRAY_SIZE(tables); i++)
		add_columns(l, screens[tables[i]]);
}

const struct screen screen_help = {
	.title = "Help",
	.parent = SCREEN_OVERVIEW,
	.build = build,
};
