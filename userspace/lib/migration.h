/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * Live migrations of this host's VMs, whoever drives them: seen through libvirt (read-only) and
 * through QEMU's own monitors (QMP), never influenced. Nothing here starts a dirty-rate
 * measurement, changes a parameter or stops a vCPU.
 *
 * Threads of the watcher's own do the asking, so that a libvirtd or a QEMU that hangs can delay
 * nothing but the news: iho_migrations_get() only copies what is known. They end in
 * iho_migrations_stop(); one that libvirt holds fast is left behind, with what it needs.
 *
 * Numbers that the other side did not tell are negative. Functions return 0 or a negative errno
 * value.
 */
#ifndef IHO_MIGRATION_H
#define IHO_MIGRATION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct iho_error;
struct iho_report;
struct json_t;

#define IHO_MIGRATION_SAMPLES 512 /* of one migration; then every second one is dropped */
#define IHO_MIGRATION_ROWS    64 /* migrations that are shown; the oldest ended one makes room */
#define IHO_MIGRATION_HISTORY 32
#define IHO_MIGRATION_TOTALS  256 /* VMs whose migrations are counted */
#define IHO_MIGRATION_KEEP_S  3600 /* an ended migration stays for an hour */

enum iho_migration_role { IHO_MIGRATION_SOURCE, IHO_MIGRATION_DESTINATION, IHO_MIGRATION_ROLES };

/* In the order in which they can follow each other; the last three are ends. */
enum iho_migration_phase {
	IHO_MIGRATION_SETUP,
	IHO_MIGRATION_PRECOPY,
	IHO_MIGRATION_POSTCOPY,
	IHO_MIGRATION_SWITCHOVER, /* the guest is paused, the last of it is on its way */
	IHO_MIGRATION_COMPLETED,
	IHO_MIGRATION_FAILED,
	IHO_MIGRATION_CANCELLED,
	IHO_MIGRATION_PHASES,
};

enum iho_migration_via { IHO_MIGRATION_LIBVIRT, IHO_MIGRATION_QMP, IHO_MIGRATION_VIAS };

enum iho_forecast_verdict {
	IHO_FORECAST_UNKNOWN, /* not enough seen, or it may go either way; `why` says which */
	IHO_FORECAST_CONVERGES,
	IHO_FORECAST_DIVERGES, /* it goes on for ever unless something changes */
	IHO_FORECAST_VERDICTS,
};

/* What is left, in seconds; negative: no such bound. low <= expected <= high where there are. */
struct iho_forecast {
	enum iho_forecast_verdict verdict;
	double low_s, expected_s, high_s;
	char why[120];
};

/* What is known at one moment. */
struct iho_migration_numbers {
	double elapsed_s;
	int64_t total_bytes, transferred_bytes, remaining_bytes; /* memory */
	int64_t normal_pages, zero_pages, page_bytes;
	int64_t iterations; /* passes over memory, the first is 1 */
	double dirty_bytes_per_s; /* as counted over the pass before this one */
	double bandwidth_bytes_per_s;
	double downtime_expected_s, downtime_limit_s, downtime_actual_s;
	double throttle_ratio; /* the share of time that the vCPUs are kept from running */
	int64_t postcopy_requests;
};

struct iho_migration_sample {
	float elapsed_s;
	float dirty_bytes_per_s, bandwidth_bytes_per_s;
	float throttle_ratio;
	int64_t transferred_bytes, remaining_bytes;
	int32_t iterations;
	float forecast_s; /* what was then expected to be left; < 0: it was not known */
};

/* The error of the forecasts made after a quarter, half and three quarters of the time. */
#define IHO_FORECAST_MARKS 3

struct iho_migration {
	char vm[64]; /* as iho_vm_identify() names it, or libvirt; printable */
	pid_t pid; /* of the VMM; 0: not known */
	enum iho_migration_role role;
	enum iho_migration_via via;
	enum iho_migration_phase phase;
	uint32_t phases_seen; /* 1 << phase */
	double start_time_s; /* wall clock; when we first saw it */
	double end_time_s; /* 0: it goes on */
	struct iho_migration_numbers n;
	struct iho_forecast forecast;
	/*
	 * (forecast total time - real total time) / real total time, of a migration that completed
	 * in pre-copy; NaN: there was no forecast at that time.
	 */
	double forecast_error[IHO_FORECAST_MARKS];
	char error[160]; /* what the other side said; "" = nothing */
	/* from KVM's tracepoints, by iho_migration_view_join(); negative where it tells nothing */
	double page_faults_per_s, dirty_pages_per_s, page_fault_mean_s;
	struct iho_migration_sample *samples; /* IHO_MIGRATION_SAMPLES at most */
	size_t n_samples;
};

struct iho_migration_total {
	char vm[64];
	uint64_t completed, failed, cancelled;
};

/* One way of looking: is it open, and if not, why. */
struct iho_migration_source {
	bool on; /* it is looked at */
	bool ok; /* it answers */
	char text[200]; /* one sentence for a person */
};

struct iho_migration_view {
	struct iho_migration *rows; /* those that go on, then those that ended; the newest first */
	size_t n_rows;
	struct iho_migration *history; /* the last that ended, the newest first; without samples */
	size_t n_history;
	struct iho_migration_total *totals; /* by name */
	size_t n_totals;
	struct iho_migration_source libvirt, qmp;
};

/* Strings belong to the caller, who keeps them until the watcher is stopped. */
struct iho_migration_options {
	const char *libvirt_socket; /* NULL: libvirt's usual one; "off": no libvirt */
	/*
	 * Monitors that may be asked, as paths. A QMP monitor serves one client at a time and
	 * belongs to who manages the VM, so none is touched that is not named here. "auto" stands
	 * for all that are found on the command lines of QEMUs that libvirt does not manage.
	 */
	const char *const *qmp;
	size_t n_qmp;
	const char *proc; /* NULL: "/proc" */
	const char *libvirt_run; /* NULL: "/run/libvirt/qemu" */
};

struct iho_migrations;

/* `opts` may be NULL. No libvirt, or a broken one, is no error: the view says so. */
int iho_migrations_start(struct iho_migrations **out, const struct iho_migration_options *opts,
			 struct iho_error *err);
void iho_migrations_stop(struct iho_migrations *m);

/* What is known now, as a copy that belongs to the caller; never waits for anybody. */
int iho_migrations_get(struct iho_migrations *m, struct iho_migration_view **out);
void iho_migration_view_free(struct iho_migration_view *v);

/* Adds what the report's VMs say about page faults and dirty pages to their migrations. */
void iho_migration_view_join(struct iho_migration_view *v, const struct iho_report *r);

/* Keeps only those of one VM: by pid, where it is not 0 and known, and by name, if not NULL. */
void iho_migration_view_only(struct iho_migration_view *v, pid_t pid, const char *vm);

/* "precopy"...; "source"...; "libvirt"...; "converges"...: for keys and labels. */
const char *iho_migration_phase_key(enum iho_migration_phase p);
const char *iho_migration_role_key(enum iho_migration_role r);
const char *iho_migration_via_key(enum iho_migration_via v);
const char *iho_forecast_verdict_key(enum iho_forecast_verdict v);

static inline bool iho_migration_ended(const struct iho_migration *m)
{
	return m->phase >= IHO_MIGRATION_COMPLETED;
}

/*
 * JSON: {"vm","pid","role","via","phase","phases_seen":[...],...}, absent what is not known. `most`
 * limits the samples, evenly over the time. From JSON: the text may come from anybody; what is not
 * as it should be gives -EINVAL. NULL, or -ENOMEM: no memory.
 */
struct json_t *iho_migration_to_json(const struct iho_migration *m, size_t most);
/* m->samples is the caller's to free() */
int iho_migration_from_json(const struct json_t *j, struct iho_migration *m);
struct json_t *iho_migration_view_to_json(const struct iho_migration_view *v, size_t most);
int iho_migration_view_from_json(const struct json_t *j, struct iho_migration_view **out);

#endif /* IHO_MIGRATION_H */
