// SPDX-License-Identifier: GPL-2.0-or-later
/* Migration: says honestly that there is nothing to see. */
#include "screen.h"

static void build(struct ui *ui, struct list *l)
{
	list_text(l, ITEM_LINE, ST_TEXT, "%s", "");
	list_text(l, ITEM_LINE, ST_TEXT, " Migration progress is not part of this version.");
}

const struct screen screen_migration = {
	.title = "Migration",
	.key = 'm',
	.parent = SCREEN_OVERVIEW,
	.build = build,
};
