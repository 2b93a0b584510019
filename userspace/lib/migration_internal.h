/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Private to userspace/lib: what the watcher's threads share. The tracker makes migrations out of
 * what is seen; it asks nobody and no clock, so tests can tell it what they like.
 */
#ifndef IHO_MIGRATION_INTERNAL_H
#define IHO_MIGRATION_INTERNAL_H

#include <pthread.h>

#include "migration.h"

/* What one look at one VM gave. */
struct iho_migration_seen {
	char vm[64];
	pid_t pid;
	enum iho_migration_role role;
	enum iho_migration_via via;
	enum iho_migration_phase phase;
	double time_s; /* wall clock */
	struct iho_migration_numbers n;
	char error[160];
};

struct iho_tracker {
	struct iho_migration *rows[IHO_MIGRATION_ROWS]; /* in order of their beginning */
	size_t n_rows;
	struct iho_migration history[IHO_MIGRATION_HISTORY]; /* the newest last */
	size_t n_history;
	struct iho_migration_total totals[IHO_MIGRATION_TOTALS];
	size_t n_totals;
};

/* All numbers "not known". */
void iho_migration_seen_init(struct iho_migration_seen *s);

/* -ENOMEM, or -ENOSPC: as many migrations as can be shown go on already. */
int iho_tracker_see(struct iho_tracker *t, const struct iho_migration_seen *s);
/* Is one of this VM going on? */
bool iho_tracker_active(const struct iho_tracker *t, const struct iho_migration_seen *s);
void iho_tracker_forget_old(struct iho_tracker *t, double now_s);
int iho_tracker_view(const struct iho_tracker *t, struct iho_migration_view **out);
void iho_tracker_clear(struct iho_tracker *t);

struct iho_migrations {
	/* of tracker, libvirt, qmp, heard_ms, refs; held only while copying */
	pthread_mutex_t lock;
	struct iho_tracker tracker;
	struct iho_migration_source libvirt, qmp;
	int64_t heard_ms; /* monotonic: when libvirt answered last, or was not asked */
	unsigned int refs;
	int stop_fd; /* readable when it is time to end */
	/* constant from the start on */
	char *libvirt_socket, *proc, *libvirt_run;
	char **qmp_paths;
	size_t n_qmp;
	bool qmp_auto;
	pthread_t thread[2];
	bool running[2];
};

bool iho_migrations_stopping(const struct iho_migrations *m);
/* Waits, but not longer than until it is time to end; then it returns true. */
bool iho_migrations_wait(const struct iho_migrations *m, int ms);
void iho_migrations_see(struct iho_migrations *m, const struct iho_migration_seen *s);
bool iho_migrations_active(struct iho_migrations *m, const struct iho_migration_seen *s);
void iho_migrations_say(struct iho_migrations *m, struct iho_migration_source *s, bool ok,
			const char *fmt, ...) __attribute__((format(printf, 4, 5)));
void iho_migrations_heard(struct iho_migrations *m);
double iho_wall_clock_s(void);
int64_t iho_monotonic_ms(void);

/* The threads: migration_libvirt.c, migration_qmp.c. They return when it is time to end. */
void iho_libvirt_watch(struct iho_migrations *m);
void iho_qmp_watch(struct iho_migrations *m);

/* migration_qmp.c, for tests: one conversation on a connected socket, which stays the caller's. */
struct iho_qmp_answer {
	bool incoming; /* the VM waits for its memory */
	bool none; /* no migration was ever asked for */
	struct iho_migration_seen seen; /* phase, numbers, error */
};
/* -ETIMEDOUT, -EPROTO: it speaks no QMP, or not as it should; -EMSGSIZE; -EPIPE: it hung up. */
int iho_qmp_ask(int fd, int timeout_ms, struct iho_qmp_answer *a);

#endif /* IHO_MIGRATION_INTERNAL_H */
