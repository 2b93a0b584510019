// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * record SOCKET SECONDS: watches through the libvirt at this read-only socket, and prints the first
 * migration that ends there as JSON, with all its samples: what tests/data/migrations is made of.
 */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include <jansson.h>

#include "collector.h"

int main(int argc, char **argv)
{
	struct iho_migration_options o = { .libvirt_socket = argc == 3 ? argv[1] : NULL };
	struct timespec pause = { .tv_nsec = 100000000 };
	struct iho_migration_view *v;
	struct iho_migrations *m;
	struct iho_error err;
	bool found = false;

	if (argc != 3) {
		fprintf(stderr, "usage: record SOCKET SECONDS\n");
		return 2;
	}
	if (iho_migrations_start(&m, &o, &err)) {
		fprintf(stderr, "record: %s\n", err.text);
		return 1;
	}
	for (int left = 10 * atoi(argv[2]); left > 0 && !found; left--) {
		nanosleep(&pause, NULL);
		if (iho_migrations_get(m, &v))
			break;
		for (size_t i = 0; i < v->n_rows && !found; i++) {
			json_t *j;

			if (!iho_migration_ended(&v->rows[i]))
				continue;
			found = true;
			j = iho_migration_to_json(&v->rows[i], IHO_MIGRATION_SAMPLES);
			json_dumpf(j, stdout, JSON_COMPACT | JSON_REAL_PRECISION(9));
			putchar('\n');
			json_decref(j);
		}
		iho_migration_view_free(v);
	}
	iho_migrations_stop(m);
	return found ? 0 : 1;
}
