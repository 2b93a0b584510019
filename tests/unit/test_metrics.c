// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * From a hand-made report to the three formats. `test_metrics prometheus|openmetrics|json` prints
 * the rich report, for the tools that judge formats; `... big` prints one of 64 vCPUs.
 */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <jansson.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "../../userspace/lib/metrics.h"

#define VCPUS 3
#define ROWS  4

static struct iho_report report;
static struct iho_vm_report vms[8];
static struct iho_vcpu vcpus[8][VCPUS];
static struct iho_exit_row exit_rows[8][VCPUS + 1][ROWS];
static struct iho_user_row user_rows[8][VCPUS][ROWS];
static struct iho_interloper_row interlopers[VCPUS][ROWS];
static struct iho_accept_row accepts[ROWS];
static uint64_t hist[ROWS][IHO_HIST_BUCKETS];
static struct iho_metrics_exporter exporter;
static struct iho_metrics_text text;

/* ---- what is rendered ---- */

static struct iho_vm_report *add_vm(const char *name, pid_t pid, size_t n_vcpus)
{
	size_t i = report.n_vms++;
	struct iho_vm_report *vm = &vms[i];

	snprintf(vm->name, sizeof(vm->name), "%s", name);
	vm->pid = pid;
	vm->vmm = "qemu";
	vm->vcpus = vcpus[i];
	vm->n_vcpus = n_vcpus;
	vm->exit_rows.v = exit_rows[i][VCPUS];
	for (size_t k = 0; k < n_vcpus; k++) {
		vcpus[i][k].id = k;
		vcpus[i][k].exit_rows.v = exit_rows[i][k];
		vcpus[i][k].user_rows.v = user_rows[i][k];
	}
	return vm;
}

static struct iho_exit_row *add_exit(struct iho_vcpu *v, const char *reason, uint64_t total)
{
	struct iho_exit_row *row = &v->exit_rows.v[v->exit_rows.n++];

	snprintf(row->reason, sizeof(row->reason), "%s", reason);
	row->total = total;
	return row;
}

static void add_user_exit(struct iho_vcpu *v, const char *reason, uint64_t total)
{
	struct iho_user_row *row = &v->user_rows.v[v->user_rows.n++];

	snprintf(row->reason, sizeof(row->reason), "%s", reason);
	row->total = total;
}

static void add_vm_exit(struct iho_vm_report *vm, const char *reason, const uint64_t *h,
			uint64_t time_ns)
{
	struct iho_exit_row *row = &vm->exit_rows.v[vm->exit_rows.n++];

	snprintf(row->reason, sizeof(row->reason), "%s", reason);
	row->hist = h;
	row->time_ns = time_ns;
}

static int setup(void **state)
{
	memset(&report, 0, sizeof(report));
	memset(vms, 0, sizeof(vms));
	memset(vcpus, 0, sizeof(vcpus));
	memset(exit_rows, 0, sizeof(exit_rows));
	memset(user_rows, 0, sizeof(user_rows));
	memset(interlopers, 0, sizeof(interlopers));
	memset(accepts, 0, sizeof(accepts));
	memset(hist, 0, sizeof(hist));
	memset(&exporter, 0, sizeof(exporter));
	exporter.scrape_s = -1;
	report.source = "bpf";
	report.splits_guest = true;
	report.time_s = 1700000000.25;
	report.vms = vms;
	report.self.bpf_ns_per_event = -1;
	report.self.bpf_share = -1;
	return 0;
}

static int teardown(void **state)
{
	iho_metrics_text_free(&text);
	return 0;
}

/* Something of everything. */
static void rich(void)
{
	static const struct iho_metrics_requests requests[] = { { 200, 41 }, { 404, 2 } };
	struct iho_vm_report *vm = add_vm("web", 100, 3);
	struct iho_vcpu *v = vm->vcpus;

	report.self = (struct iho_self){
		.start_time_s = 1699999999.125,
		.cpu_ns = 1234567891,
		.rss_bytes = 12345678,
		.map_bytes = 1ULL << 40,
		.bpf_ns_per_event = 153.5,
		.bpf_share = 0.0625,
		.snapshot_us = 12.5,
		.events = UINT64_MAX,
		.lost_no_slot = 1,
		.lost_storage = 2,
		.lost_shared = 3,
		.lost_waiters = 4,
		.lost_nested = 5,
		.lost_read = 6,
		.drill_overflow = 7,
		.exit_overflow = 8,
		.irq_overflow = 9,
		.clock_back = 10,
		.unpaired = 11,
		.torn = 12,
		.missed_switches = 13,
		.interlopers_evicted = 14,
		.slots = 256,
		.slots_used = 3,
	};
	exporter = (struct iho_metrics_exporter){
		.cpu_ns = 500000000,
		.rss_bytes = 4096,
		.scrape_s = 0.001,
		.requests = requests,
		.n_requests = 2,
		.connections = 3,
		.connections_evicted = 1,
	};
	vm->apicv.state = IHO_APICV_INHIBITED;
	vm->apicv.changes = 2;
	snprintf(vm->apicv.reasons, sizeof(vm->apicv.reasons), "HYPERV, PIT_REINJ");
	hist[0][16] = 3; /* 512..639 ns */
	hist[0][15] = 2; /* 448..511 */
	hist[0][0] = 1;
	hist[0][IHO_HIST_BUCKETS - 1] = 4;
	add_vm_exit(vm, "HLT", hist[0], 60000000001);
	for (unsigned int i = 0; i < 2; i++) {
		v[i].bill.total[IHO_BILL_GUEST] = 5000000000 + i;
		v[i].bill.total[IHO_BILL_KVM] = 100;
		v[i].halts = 10 + i;
		v[i].halts_polled = 20 + i;
		v[i].preemptions = 30 + i;
		v[i].migrations = 40 + i;
		v[i].switches = 50 + i;
		v[i].cpu = 6 + i;
		v[i].events[IHO_EV_kvm_page_fault] = 70 + i;
		v[i].events[IHO_EV_kvm_dirty_ring_push] = 80;
		v[i].events[IHO_EV_kvm_inj_virq] = 90;
		v[i].events[IHO_EV_kvm_apic_ipi] = 1 + i;
		add_exit(&v[i], "HLT", 7 + i);
		add_exit(&v[i], "EPT_VIOLATION", 3);
		add_user_exit(&v[i], "KVM_EXIT_IO", 4 + i);
		snprintf(v[i].affinity, sizeof(v[i].affinity), i ? "1" : "0-7");
		v[i].pinned = i;
	}
	v[2].gone = true;
	v[0].interloper_rows.v = interlopers[0];
	v[0].interloper_rows.n = 3;
	interlopers[0][0] =
		(struct iho_interloper_row){ .kind = IHO_BY_TASK, .total_ns = 5, .total = 1 };
	interlopers[0][1] =
		(struct iho_interloper_row){ .kind = IHO_BY_IRQ, .total_ns = 6, .total = 2 };
	interlopers[0][2] =
		(struct iho_interloper_row){ .kind = IHO_BY_TASK, .total_ns = 7, .total = 3 };
	v[1].interlopers_evicted = 1;
	v[1].interlopers_evicted_ns = 1000;
	v[1].interlopers_evicted_times = 50;
	vm->accept_rows.v = accepts;
	vm->accept_rows.n = 3;
	accepts[0] = (struct iho_accept_row){ .kind = IHO_DRILL_MSI, .vector = 33, .total = 5 };
	accepts[1] = (struct iho_accept_row){ .kind = IHO_DRILL_MSI, .vector = 34, .total = 6 };
	accepts[2] = (struct iho_accept_row){ .kind = IHO_DRILL_APIC_ACCEPT, .total = 9 };
	add_vm("caf\xc3\xa9 \"a\\b\"\n\xff\x1b", 200, 1);
}

/* ---- what comes out ---- */

static void render_with(enum iho_metrics_format f, const struct iho_metrics_options *o)
{
	iho_metrics_text_free(&text);
	assert_int_equal(iho_metrics_render(&text, &report, &exporter, f, o), 0);
	assert_int_equal(text.len, strlen(text.data));
}

static void render(enum iho_metrics_format f)
{
	render_with(f, NULL);
	assert_int_equal(text.dropped, 0);
}

/* The lines that begin with one of these, in their order: a family is its head and its samples. */
static char *lines_of(const char *family)
{
	static char out[8192];
	size_t len = strlen(family), used = 0;

	out[0] = '\0';
	for (const char *p = text.data; *p;) {
		size_t line = strcspn(p, "\n") + 1;
		const char *name = p;

		if (*p == '#' && strlen(p) > 7)
			name = p + 7;
		if (!strncmp(name, family, len) && strchr(" {\n", name[len])) {
			assert_true(used + line < sizeof(out));
			memcpy(out + used, p, line);
			used += line;
			out[used] = '\0';
		}
		p += line;
	}
	return out;
}

#define LINES(family, want) assert_string_equal(lines_of(family), want)

static bool has(const char *line)
{
	char want[512];

	snprintf(want, sizeof(want), "\n%s\n", line);
	return strstr(text.data, want);
}

#define HAS(line)                                                                                  \
	do {                                                                                       \
		if (!has(line))                                                                    \
			fail_msg("no line %s", line);                                              \
	} while (0)

/* No series twice, and as many of them as were counted. */
static void check_series(void)
{
	char *copy = strdup(text.data), *save, *line;
	const char **names = calloc(text.len, sizeof(*names));
	size_t n = 0;

	assert_non_null(copy);
	assert_non_null(names);
	for (line = strtok_r(copy, "\n", &save); line; line = strtok_r(NULL, "\n", &save)) {
		if (line[0] == '#')
			continue;
		*strrchr(line, ' ') = '\0';
		for (size_t i = 0; i < n; i++)
			if (!strcmp(names[i], line))
				fail_msg("twice: %s", line);
		names[n++] = line;
	}
	assert_int_equal(n, text.series);
	free(names);
	free(copy);
}

/* ---- tests ---- */

static void test_no_collector(void **state)
{
	static const char *const want[] = {
		"# HELP iho_build_info The version of IHO.\n"
		"# TYPE iho_build_info gauge\n"
		"iho_build_info{version=\"" IHO_VERSION "\"} 1\n"
		"# HELP iho_up Whether the collector answers (1) or not (0).\n"
		"# TYPE iho_up gauge\n"
		"iho_up 0\n"
		"# HELP iho_exporter_series Series in this scrape.\n"
		"# TYPE iho_exporter_series gauge\n"
		"iho_exporter_series 4\n"
		"# HELP iho_exporter_series_dropped Series that the limit kept out of this "
		"scrape.\n"
		"# TYPE iho_exporter_series_dropped gauge\n"
		"iho_exporter_series_dropped 0\n",

		"# TYPE iho_build info\n"
		"# HELP iho_build The version of IHO.\n"
		"iho_build_info{version=\"" IHO_VERSION "\"} 1\n"
		"# TYPE iho_up gauge\n"
		"# HELP iho_up Whether the collector answers (1) or not (0).\n"
		"iho_up 0\n"
		"# TYPE iho_exporter_series gauge\n"
		"# HELP iho_exporter_series Series in this scrape.\n"
		"iho_exporter_series 4\n"
		"# TYPE iho_exporter_series_dropped gauge\n"
		"# HELP iho_exporter_series_dropped Series that the limit kept out of this "
		"scrape.\n"
		"iho_exporter_series_dropped 0\n"
		"# EOF\n",

		"{\"schema\":\"iho-metrics/1\",\"time\":null,\"families\":[\n"
		"{\"name\":\"iho_build_info\",\"type\":\"info\",\"unit\":\"\","
		"\"help\":\"The version of IHO.\",\"samples\":[\n"
		"{\"labels\":{\"version\":\"" IHO_VERSION "\"},\"value\":1}]},\n"
		"{\"name\":\"iho_up\",\"type\":\"gauge\",\"unit\":\"\","
		"\"help\":\"Whether the collector answers (1) or not (0).\",\"samples\":[\n"
		"{\"labels\":{},\"value\":0}]},\n"
		"{\"name\":\"iho_exporter_series\",\"type\":\"gauge\",\"unit\":\"\","
		"\"help\":\"Series in this scrape.\",\"samples\":[\n"
		"{\"labels\":{},\"value\":4}]},\n"
		"{\"name\":\"iho_exporter_series_dropped\",\"type\":\"gauge\",\"unit\":\"\","
		"\"help\":\"Series that the limit kept out of this scrape.\",\"samples\":[\n"
		"{\"labels\":{},\"value\":0}]}]}\n",
	};

	for (int f = IHO_METRICS_PROMETHEUS; f <= IHO_METRICS_JSON; f++) {
		iho_metrics_text_free(&text);
		assert_int_equal(iho_metrics_render(&text, NULL, NULL, f, NULL), 0);
		assert_string_equal(text.data, want[f]);
		assert_int_equal(text.series, 4);
	}
	iho_metrics_text_free(&text);
	assert_int_equal(iho_metrics_render(&text, NULL, NULL, 3, NULL), -EINVAL);
	assert_null(text.data);
}

static void test_host(void **state)
{
	rich();
	render(IHO_METRICS_PROMETHEUS);
	HAS("iho_up 1");
	HAS("iho_collector_info{source=\"bpf\",splits_guest=\"true\"} 1");
	HAS("iho_collector_start_time_seconds 1699999999.125");
	HAS("iho_collector_events_total 18446744073709551615");
	HAS("iho_collector_bpf_event_seconds 1.535e-07");
	HAS("iho_collector_bpf_cpu_ratio 0.0625");
	HAS("iho_collector_cpu_seconds_total 1.234567891");
	HAS("iho_collector_resident_memory_bytes 12345678");
	HAS("iho_collector_map_bytes 1099511627776");
	HAS("iho_collector_snapshot_seconds 1.25e-05");
	HAS("iho_collector_unpaired_events_total 11");
	HAS("iho_collector_torn_reads_total 12");
	HAS("iho_collector_missed_switches_total 13");
	HAS("iho_collector_interlopers_evicted_total 14");
	HAS("iho_collector_slots 256");
	HAS("iho_collector_slots_used 3");
	LINES("iho_collector_lost_events_total",
	      "# HELP iho_collector_lost_events_total Events that were lost or could not be "
	      "attributed, by cause.\n"
	      "# TYPE iho_collector_lost_events_total counter\n"
	      "iho_collector_lost_events_total{cause=\"no_slot\"} 1\n"
	      "iho_collector_lost_events_total{cause=\"storage\"} 2\n"
	      "iho_collector_lost_events_total{cause=\"shared\"} 3\n"
	      "iho_collector_lost_events_total{cause=\"waiters\"} 4\n"
	      "iho_collector_lost_events_total{cause=\"nested\"} 5\n"
	      "iho_collector_lost_events_total{cause=\"read\"} 6\n"
	      "iho_collector_lost_events_total{cause=\"drill_overflow\"} 7\n"
	      "iho_collector_lost_events_total{cause=\"exit_overflow\"} 8\n"
	      "iho_collector_lost_events_total{cause=\"irq_overflow\"} 9\n"
	      "iho_collector_lost_events_total{cause=\"clock_back\"} 10\n");
	HAS("iho_exporter_cpu_seconds_total 0.5");
	HAS("iho_exporter_resident_memory_bytes 4096");
	HAS("iho_exporter_scrape_duration_seconds 0.001");
	HAS("iho_exporter_requests_total{code=\"200\"} 41");
	HAS("iho_exporter_requests_total{code=\"404\"} 2");
	HAS("iho_exporter_connections 3");
	HAS("iho_exporter_connections_evicted_total 1");
	check_series();

	/* what is not known is not there */
	report.self.bpf_ns_per_event = report.self.bpf_share = -1;
	report.self.start_time_s = 0;
	report.self.snapshot_us = NAN;
	exporter.scrape_s = -1;
	render(IHO_METRICS_PROMETHEUS);
	assert_null(strstr(text.data, "bpf_event_seconds"));
	assert_null(strstr(text.data, "bpf_cpu_ratio"));
	assert_null(strstr(text.data, "start_time"));
	assert_null(strstr(text.data, "snapshot_seconds"));
	assert_null(strstr(text.data, "scrape_duration"));
	check_series();
}

static void test_vm(void **state)
{
	rich();
	render(IHO_METRICS_PROMETHEUS);
	HAS("iho_vm_info{vm=\"web\",pid=\"100\",vmm=\"qemu\"} 1");
	HAS("iho_vm_vcpus{vm=\"web\"} 2");
	HAS("iho_vm_apicv_state{vm=\"web\",state=\"on\"} 0");
	HAS("iho_vm_apicv_state{vm=\"web\",state=\"off\"} 0");
	HAS("iho_vm_apicv_state{vm=\"web\",state=\"inhibited\"} 1");
	HAS("iho_vm_apicv_state{vm=\"web\",state=\"unknown\"} 0");
	HAS("iho_vm_apicv_changes_total{vm=\"web\"} 2");
	LINES("iho_vm_apicv_inhibited",
	      "# HELP iho_vm_apicv_inhibited 1 for each reason that inhibits APICv or AVIC.\n"
	      "# TYPE iho_vm_apicv_inhibited gauge\n"
	      "iho_vm_apicv_inhibited{vm=\"web\",reason=\"HYPERV\"} 1\n"
	      "iho_vm_apicv_inhibited{vm=\"web\",reason=\"PIT_REINJ\"} 1\n");
	HAS("iho_vm_interrupts_total{vm=\"web\",kind=\"inj_virq\"} 180");
	HAS("iho_vm_interrupts_total{vm=\"web\",kind=\"inj_exception\"} 0");
	HAS("iho_vm_interrupts_total{vm=\"web\",kind=\"ipi\"} 3");
	HAS("iho_vm_interrupts_total{vm=\"web\",kind=\"eoi\"} 0");
	HAS("iho_vm_interrupts_total{vm=\"web\",kind=\"pv_eoi\"} 0");
	HAS("iho_vm_interrupts_total{vm=\"web\",kind=\"apic_accept\"} 9");
	HAS("iho_vm_interrupts_total{vm=\"web\",kind=\"apicv_accept\"} 0");
	HAS("iho_vm_interrupts_total{vm=\"web\",kind=\"msi\"} 11");
	HAS("iho_vm_interrupts_total{vm=\"web\",kind=\"pi_irte\"} 0");
	HAS("iho_vm_interloper_seconds_total{vm=\"web\",kind=\"task\"} 0.000001012");
	HAS("iho_vm_interloper_seconds_total{vm=\"web\",kind=\"irq\"} 0.000000006");
	HAS("iho_vm_interloper_seconds_total{vm=\"web\",kind=\"softirq\"} 0");
	HAS("iho_vm_interlopers_total{vm=\"web\",kind=\"task\"} 54");
	HAS("iho_vm_interlopers_total{vm=\"web\",kind=\"irq\"} 2");
	HAS("iho_vm_interlopers_total{vm=\"web\",kind=\"softirq\"} 0");
	HAS("iho_vm_page_faults_total{vm=\"web\"} 141");
	HAS("iho_vm_dirty_pages_total{vm=\"web\"} 160");
	LINES("iho_vm_events_total",
	      "# HELP iho_vm_events_total Kernel events of the vCPUs, by tracepoint, those that "
	      "were seen.\n"
	      "# TYPE iho_vm_events_total counter\n"
	      "iho_vm_events_total{vm=\"web\",event=\"kvm_page_fault\"} 141\n"
	      "iho_vm_events_total{vm=\"web\",event=\"kvm_inj_virq\"} 180\n"
	      "iho_vm_events_total{vm=\"web\",event=\"kvm_apic_ipi\"} 3\n"
	      "iho_vm_events_total{vm=\"web\",event=\"kvm_dirty_ring_push\"} 160\n");
	check_series();
}

static void test_vcpu(void **state)
{
	rich();
	render(IHO_METRICS_PROMETHEUS);
	HAS("iho_vcpu_exits_total{vm=\"web\",vcpu=\"0\",reason=\"HLT\"} 7");
	HAS("iho_vcpu_exits_total{vm=\"web\",vcpu=\"0\",reason=\"EPT_VIOLATION\"} 3");
	HAS("iho_vcpu_exits_total{vm=\"web\",vcpu=\"1\",reason=\"HLT\"} 8");
	HAS("iho_vcpu_user_exits_total{vm=\"web\",vcpu=\"1\",reason=\"KVM_EXIT_IO\"} 5");
	HAS("iho_vcpu_state_seconds_total{vm=\"web\",vcpu=\"0\",state=\"guest\"} 5");
	HAS("iho_vcpu_state_seconds_total{vm=\"web\",vcpu=\"1\",state=\"guest\"} 5.000000001");
	HAS("iho_vcpu_state_seconds_total{vm=\"web\",vcpu=\"1\",state=\"kvm\"} 0.0000001");
	HAS("iho_vcpu_state_seconds_total{vm=\"web\",vcpu=\"1\",state=\"unaccounted\"} 0");
	assert_null(strstr(text.data, "guest_or_kvm"));
	HAS("iho_vcpu_halts_total{vm=\"web\",vcpu=\"1\"} 11");
	HAS("iho_vcpu_halts_polled_total{vm=\"web\",vcpu=\"1\"} 21");
	HAS("iho_vcpu_preemptions_total{vm=\"web\",vcpu=\"1\"} 31");
	HAS("iho_vcpu_core_moves_total{vm=\"web\",vcpu=\"1\"} 41");
	HAS("iho_vcpu_switches_total{vm=\"web\",vcpu=\"1\"} 51");
	HAS("iho_vcpu_pinned{vm=\"web\",vcpu=\"0\"} 0");
	HAS("iho_vcpu_pinned{vm=\"web\",vcpu=\"1\"} 1");
	HAS("iho_vcpu_core{vm=\"web\",vcpu=\"1\"} 7");
	/* a thread that ended counts, but is nowhere */
	HAS("iho_vcpu_halts_total{vm=\"web\",vcpu=\"2\"} 0");
	assert_null(strstr(text.data, "iho_vcpu_core{vm=\"web\",vcpu=\"2\"}"));
	assert_null(strstr(text.data, "iho_vcpu_pinned{vm=\"web\",vcpu=\"2\"}"));

	/* where guest and KVM time cannot be told apart, no row pretends they can */
	report.splits_guest = false;
	vms[0].vcpus[0].bill.total[IHO_BILL_GUEST] = 0;
	vms[0].vcpus[0].bill.total[IHO_BILL_KVM] = 0;
	vms[0].vcpus[0].bill.total[IHO_BILL_GUEST_OR_KVM] = 1500000000;
	render(IHO_METRICS_PROMETHEUS);
	HAS("iho_collector_info{source=\"bpf\",splits_guest=\"false\"} 1");
	HAS("iho_vcpu_state_seconds_total{vm=\"web\",vcpu=\"0\",state=\"guest_or_kvm\"} 1.5");
	assert_null(strstr(text.data, "{vm=\"web\",vcpu=\"0\",state=\"guest\"}"));
	assert_null(strstr(text.data, "{vm=\"web\",vcpu=\"0\",state=\"kvm\"}"));
}

static void test_utilisation(void **state)
{
	struct iho_cpu_times *t;

	rich();
	t = &vms[0].vcpus[0].cpu_times;
	t->known = 1u << IHO_CPU_HOST_USER | 1u << IHO_CPU_GUEST;
	t->ns[IHO_CPU_HOST_USER] = 1500000000;
	t->ns[IHO_CPU_HOST_SYSTEM] = 99; /* not known: not there */
	t->busy[IHO_BUSY_BILL] = (struct iho_busy){ true, 9, 10, 3, 4 };
	t->busy[IHO_BUSY_MPERF] = (struct iho_busy){ true, 9, 10, 0, 0 }; /* of no time */
	t->disagree = true;
	t = &vms[0].vcpus[2].cpu_times; /* this thread ended */
	t->known = 1u << IHO_CPU_GUEST;
	t->busy[IHO_BUSY_BILL] = (struct iho_busy){ true, 9, 10, 3, 4 };
	render(IHO_METRICS_PROMETHEUS);
	LINES("iho_vcpu_cpu_seconds_total",
	      "# HELP iho_vcpu_cpu_seconds_total Time on a CPU by whose code ran, as far as this "
	      "host can tell.\n"
	      "# TYPE iho_vcpu_cpu_seconds_total counter\n"
	      "iho_vcpu_cpu_seconds_total{vm=\"web\",vcpu=\"0\",mode=\"host_user\"} 1.5\n"
	      "iho_vcpu_cpu_seconds_total{vm=\"web\",vcpu=\"0\",mode=\"guest\"} 0\n");
	LINES("iho_vcpu_busy_ratio",
	      "# HELP iho_vcpu_busy_ratio Share of the wall time that was work, by each signal "
	      "that can tell.\n"
	      "# TYPE iho_vcpu_busy_ratio gauge\n"
	      "iho_vcpu_busy_ratio{vm=\"web\",vcpu=\"0\",signal=\"bill\"} 0.75\n");
	HAS("iho_vcpu_busy_disagreement{vm=\"web\",vcpu=\"0\"} 1");
	HAS("iho_vcpu_busy_disagreement{vm=\"web\",vcpu=\"1\"} 0");
	assert_null(strstr(text.data, "iho_vcpu_busy_disagreement{vm=\"web\",vcpu=\"2\"}"));
	check_series();
}

static void test_direct(void **state)
{
	struct iho_direct_report *d;

	rich();
	render(IHO_METRICS_PROMETHEUS);
	assert_null(strstr(text.data, "iho_vcpu_direct"));
	d = &vms[0].vcpus[0].direct;
	d->traced = true;
	d->known = d->on = d->ipi_on = 1;
	for (unsigned int i = 0; i < IHO_DIRECT_ALL; i++)
		d->total[i] = 100 + i;
	d->refused = 3;
	d = &vms[0].vcpus[1].direct;
	d->traced = true;
	d->known = 1;
	d->missing = IHO_DIRECT_MISSING_PAGE | IHO_DIRECT_MISSING_PINNED;
	d = &vms[0].vcpus[2].direct; /* this thread ended: it counts, and is in no state */
	d->traced = true;
	d->total[IHO_DIRECT_DEADLINES] = 7;
	render(IHO_METRICS_PROMETHEUS);
	HAS("iho_vcpu_direct{vm=\"web\",vcpu=\"0\"} 1");
	HAS("iho_vcpu_direct{vm=\"web\",vcpu=\"1\"} 0");
	HAS("iho_vcpu_direct_ipi{vm=\"web\",vcpu=\"0\"} 1");
	HAS("iho_vcpu_direct_ipi{vm=\"web\",vcpu=\"1\"} 0");
	assert_null(strstr(text.data, "iho_vcpu_direct{vm=\"web\",vcpu=\"2\"}"));
	HAS("iho_vcpu_direct_missing{vm=\"web\",vcpu=\"1\",reason=\"page\"} 1");
	HAS("iho_vcpu_direct_missing{vm=\"web\",vcpu=\"1\",reason=\"pinned\"} 1");
	assert_null(strstr(text.data, "iho_vcpu_direct_missing{vm=\"web\",vcpu=\"0\""));
	assert_null(strstr(text.data, "reason=\"nested\""));
#define DELIVERED "iho_vcpu_direct_interrupts_total{vm=\"web\",vcpu=\"0\",delivery="
	HAS(DELIVERED "\"without_exit\"} 116");
	HAS(DELIVERED "\"with_exit\"} 117");
	HAS(DELIVERED "\"recovered\"} 103");
#define SENT "iho_vcpu_direct_ipis_total{vm=\"web\",vcpu=\"0\",path="
	HAS(SENT "\"without_exit\"} 118");
	HAS(SENT "\"kicked\"} 105");
	HAS(SENT "\"asked\"} 112");
	HAS("iho_vcpu_direct_drains_total{vm=\"web\",vcpu=\"0\"} 106");
	HAS("iho_vcpu_direct_spurious_interrupts_total{vm=\"web\",vcpu=\"0\"} 109");
	HAS("iho_vcpu_direct_deadlines_total{vm=\"web\",vcpu=\"0\"} 107");
	HAS("iho_vcpu_direct_deadlines_total{vm=\"web\",vcpu=\"2\"} 7");
	HAS("iho_vcpu_direct_saved_exits_total{vm=\"web\",vcpu=\"0\"} 119");
	HAS("iho_vcpu_direct_refused_counters_total{vm=\"web\",vcpu=\"0\"} 3");
	check_series();
}

#define HISTOGRAM                                                                                  \
	"iho_vm_exit_duration_seconds_bucket{vm=\"web\",reason=\"HLT\",le=\"5.12e-07\"} 3\n"       \
	"iho_vm_exit_duration_seconds_bucket{vm=\"web\",reason=\"HLT\",le=\"1.024e-06\"} 6\n"      \
	"iho_vm_exit_duration_seconds_bucket{vm=\"web\",reason=\"HLT\",le=\"2.048e-06\"} 6\n"      \
	"iho_vm_exit_duration_seconds_bucket{vm=\"web\",reason=\"HLT\",le=\"4.096e-06\"} 6\n"      \
	"iho_vm_exit_duration_seconds_bucket{vm=\"web\",reason=\"HLT\",le=\"8.192e-06\"} 6\n"      \
	"iho_vm_exit_duration_seconds_bucket{vm=\"web\",reason=\"HLT\",le=\"1.6384e-05\"} 6\n"     \
	"iho_vm_exit_duration_seconds_bucket{vm=\"web\",reason=\"HLT\",le=\"3.2768e-05\"} 6\n"     \
	"iho_vm_exit_duration_seconds_bucket{vm=\"web\",reason=\"HLT\",le=\"6.5536e-05\"} 6\n"     \
	"iho_vm_exit_duration_seconds_bucket{vm=\"web\",reason=\"HLT\",le=\"0.000131072\"} 6\n"    \
	"iho_vm_exit_duration_seconds_bucket{vm=\"web\",reason=\"HLT\",le=\"0.000262144\"} 6\n"    \
	"iho_vm_exit_duration_seconds_bucket{vm=\"web\",reason=\"HLT\",le=\"0.000524288\"} 6\n"    \
	"iho_vm_exit_duration_seconds_bucket{vm=\"web\",reason=\"HLT\",le=\"0.001048576\"} 6\n"    \
	"iho_vm_exit_duration_seconds_bucket{vm=\"web\",reason=\"HLT\",le=\"0.004194304\"} 6\n"    \
	"iho_vm_exit_duration_seconds_bucket{vm=\"web\",reason=\"HLT\",le=\"0.016777216\"} 6\n"    \
	"iho_vm_exit_duration_seconds_bucket{vm=\"web\",reason=\"HLT\",le=\"0.067108864\"} 6\n"    \
	"iho_vm_exit_duration_seconds_bucket{vm=\"web\",reason=\"HLT\",le=\"0.268435456\"} 6\n"    \
	"iho_vm_exit_duration_seconds_bucket{vm=\"web\",reason=\"HLT\",le=\"1.073741824\"} 6\n"    \
	"iho_vm_exit_duration_seconds_bucket{vm=\"web\",reason=\"HLT\",le=\"+Inf\"} 10\n"          \
	"iho_vm_exit_duration_seconds_sum{vm=\"web\",reason=\"HLT\"} 60.000000001\n"               \
	"iho_vm_exit_duration_seconds_count{vm=\"web\",reason=\"HLT\"} 10\n"
#define HIST_HELP "Work of KVM and the VMM for one exit, without halts and waits.\n"

static void test_histogram(void **state)
{
	rich();
	render(IHO_METRICS_PROMETHEUS);
	assert_non_null(strstr(
		text.data, "# HELP iho_vm_exit_duration_seconds " HIST_HELP
			   "# TYPE iho_vm_exit_duration_seconds histogram\n" HISTOGRAM "# HELP "));
	render(IHO_METRICS_OPENMETRICS);
	assert_non_null(strstr(text.data, "# TYPE iho_vm_exit_duration_seconds histogram\n"
					  "# UNIT iho_vm_exit_duration_seconds seconds\n"
					  "# HELP iho_vm_exit_duration_seconds " HIST_HELP HISTOGRAM
					  "# TYPE "));
	/* two codes of one name are one series */
	add_vm_exit(&vms[0], "HLT", hist[0], 1000000000);
	/* no histogram is no sample */
	add_vm_exit(&vms[0], "NMI", NULL, 5);
	render(IHO_METRICS_PROMETHEUS);
	LINES("iho_vm_exit_duration_seconds_sum",
	      "iho_vm_exit_duration_seconds_sum{vm=\"web\",reason=\"HLT\"} 61.000000001\n");
	HAS("iho_vm_exit_duration_seconds_count{vm=\"web\",reason=\"HLT\"} 20");
	HAS("iho_vm_exit_duration_seconds_bucket{vm=\"web\",reason=\"HLT\",le=\"5.12e-07\"} 6");
	check_series();
}

/* Each bucket's values are on the right side of each bound. */
static void test_buckets(void **state)
{
	struct iho_vm_report *vm = add_vm("a", 1, 0);

	add_vm_exit(vm, "x", hist[0], 0);
	for (unsigned int b = 0; b < IHO_HIST_BUCKETS; b++) {
		/* the lowest value of bucket b, by the description in bpf/iho.h */
		double low = b ? (4 + b % 4) * ldexp(8, b / 4) / 1e9 : 0;
		double high = (4 + (b + 1) % 4) * ldexp(8, (b + 1) / 4) / 1e9;
		unsigned int bounds = 0;

		memset(hist[0], 0, sizeof(hist[0]));
		hist[0][b] = 1;
		render(IHO_METRICS_PROMETHEUS);
		for (const char *p = text.data; (p = strstr(p, "le=\"")); p++) {
			double le = strtod(p + 4, NULL);
			int n = atoi(strchr(p, ' '));

			bounds++;
			if (isinf(le))
				assert_int_equal(n, 1);
			else if (n)
				assert_true(b < IHO_HIST_BUCKETS - 1 && high <= le * (1 + 1e-12));
			else
				assert_true(low >= le * (1 - 1e-12));
		}
		assert_int_equal(bounds, 18);
	}
}

static void test_openmetrics(void **state)
{
	rich();
	render(IHO_METRICS_OPENMETRICS);
	assert_non_null(strstr(
		text.data, "# TYPE iho_collector_cpu_seconds counter\n"
			   "# UNIT iho_collector_cpu_seconds seconds\n"
			   "# HELP iho_collector_cpu_seconds CPU time of the collecting process.\n"
			   "iho_collector_cpu_seconds_total 1.234567891\n"));
	assert_non_null(strstr(text.data, "# TYPE iho_vcpu_halts counter\n"
					  "# HELP iho_vcpu_halts Times the vCPU halted.\n"
					  "iho_vcpu_halts_total{vm=\"web\",vcpu=\"0\"} 10\n"));
	assert_non_null(strstr(text.data,
			       "# TYPE iho_vm info\n# HELP iho_vm A virtual machine, its "
			       "process and its monitor.\niho_vm_info{vm=\"web\","
			       "pid=\"100\",vmm=\"qemu\"} 1\n"));
	assert_string_equal(text.data + text.len - 6, "# EOF\n");
	assert_int_equal(strstr(text.data, "# EOF") - text.data, text.len - 6);
}

static json_t *json_family(json_t *root, const char *name)
{
	json_t *f;
	size_t i;

	json_array_foreach(json_object_get(root, "families"), i,
			   f) if (!strcmp(json_string_value(json_object_get(f, "name")),
					  name)) return f;
	fail_msg("no family %s", name);
	return NULL;
}

static void test_json(void **state)
{
	json_error_t err;
	json_t *root, *f, *want;
	size_t i, series = 0;

	rich();
	report.self.events = INT64_MAX; /* the most that jansson reads */
	render(IHO_METRICS_JSON);
	root = json_loads(text.data, JSON_REJECT_DUPLICATES, &err);
	if (!root)
		fail_msg("line %d: %s", err.line, err.text);
	assert_string_equal(json_string_value(json_object_get(root, "schema")), "iho-metrics/1");
	assert_true(json_real_value(json_object_get(root, "time")) == 1700000000.25);
	f = json_family(root, "iho_collector_events_total");
	f = json_array_get(json_object_get(f, "samples"), 0);
	assert_int_equal(json_integer_value(json_object_get(f, "value")), INT64_MAX);
	want = json_loads(
		"{\"name\":\"iho_vm_exit_duration_seconds\",\"type\":\"histogram\","
		"\"unit\":\"seconds\",\"help\":"
		"\"Work of KVM and the VMM for one exit, without halts and waits.\",\"samples\":"
		"[{\"labels\":{\"vm\":\"web\",\"reason\":\"HLT\"},\"count\":10,"
		"\"sum\":60.000000001,\"buckets\":["
		"{\"le\":5.12e-07,\"count\":3},{\"le\":1.024e-06,\"count\":6},"
		"{\"le\":2.048e-06,\"count\":6},{\"le\":4.096e-06,\"count\":6},"
		"{\"le\":8.192e-06,\"count\":6},{\"le\":1.6384e-05,\"count\":6},"
		"{\"le\":3.2768e-05,\"count\":6},{\"le\":6.5536e-05,\"count\":6},"
		"{\"le\":0.000131072,\"count\":6},{\"le\":0.000262144,\"count\":6},"
		"{\"le\":0.000524288,\"count\":6},{\"le\":0.001048576,\"count\":6},"
		"{\"le\":0.004194304,\"count\":6},{\"le\":0.016777216,\"count\":6},"
		"{\"le\":0.067108864,\"count\":6},{\"le\":0.268435456,\"count\":6},"
		"{\"le\":1.073741824,\"count\":6},{\"le\":\"+Inf\",\"count\":10}]}]}",
		0, &err);
	assert_non_null(want);
	assert_true(json_equal(json_family(root, "iho_vm_exit_duration_seconds"), want));
	json_decref(want);
	/* the same catalogue: as many series as the text has */
	json_array_foreach(json_object_get(root, "families"), i, f)
	{
		json_t *s;
		size_t k;

		json_array_foreach(json_object_get(f, "samples"), k, s)
			series += json_object_get(s, "buckets") ? 20 : 1;
	}
	assert_int_equal(series, text.series);
	json_decref(root);
	series = text.series;
	render(IHO_METRICS_PROMETHEUS);
	assert_int_equal(series, text.series);
}

/* Every family has what the formats demand of it. */
static void test_catalogue(void **state)
{
	size_t n;
	const struct iho_metric *m = iho_metrics_catalogue(&n);

	assert_true(n > 40);
	for (size_t i = 0; i < n; i++) {
		char base[128];
		size_t len;

		snprintf(base, sizeof(base), "%s", m[i].name);
		len = strlen(base);
		assert_int_equal(strncmp(base, "iho_", 4), 0);
		assert_int_equal(strspn(base, "abcdefghijklmnopqrstuvwxyz_"), len);
		assert_int_equal(m[i].type == IHO_METRIC_COUNTER,
				 len > 6 && !strcmp(base + len - 6, "_total"));
		assert_int_equal(m[i].type == IHO_METRIC_INFO,
				 len > 5 && !strcmp(base + len - 5, "_info"));
		if (m[i].type == IHO_METRIC_COUNTER)
			base[len - 6] = '\0';
		if (m[i].unit[0]) {
			len = strlen(base) - strlen(m[i].unit);
			assert_string_equal(base + len, m[i].unit);
			assert_int_equal(base[len - 1], '_');
		}
		/* so that it needs no escaping */
		assert_null(strpbrk(m[i].help, "\\\"\n"));
		assert_true(strlen(m[i].help) > 10);
		assert_int_equal(m[i].scope == IHO_METRIC_VM || m[i].scope == IHO_METRIC_NAMED,
				 m[i].labels[0] && !strcmp(m[i].labels[0], "vm"));
		for (size_t k = 0; k < i; k++)
			assert_string_not_equal(m[i].name, m[k].name);
	}
}

static void test_escaping(void **state)
{
	static const struct {
		const char *name, *label;
	} names[] = {
		{ "plain", "plain" },
		{ "a\"b\\c\nd", "a\\\"b\\\\c\\nd" },
		{ "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80",
		  "caf\xc3\xa9 \xe2\x82\xac \xf0\x9f\x98\x80" },
		{ "\xff\xfe", "\\\\xff\\\\xfe" },
		{ "\xc0\xaf", "\\\\xc0\\\\xaf" }, /* overlong */
		{ "\xed\xa0\x80", "\\\\xed\\\\xa0\\\\x80" }, /* a surrogate */
		{ "cut\xe2\x82", "cut\\\\xe2\\\\x82" },
		{ "\x1b[3m\t\x7f", "\\\\x1b[3m\\\\x09\\\\x7f" },
	};
	char want[128];

	for (size_t i = 0; i < 8; i++)
		add_vm(names[i].name, 10 + i, 0);
	for (int f = IHO_METRICS_PROMETHEUS; f <= IHO_METRICS_OPENMETRICS; f++) {
		render(f);
		for (size_t i = 0; i < 8; i++) {
			snprintf(want, sizeof(want), "iho_vm_vcpus{vm=\"%s\"} 0", names[i].label);
			HAS(want);
		}
	}
	render(IHO_METRICS_JSON);
	for (size_t i = 0; i < 8; i++) {
		snprintf(want, sizeof(want), "{\"labels\":{\"vm\":\"%s\"},\"value\":0}",
			 names[i].label);
		assert_non_null(strstr(text.data, want));
	}
	/* also a reason can hold anything */
	add_exit(&(struct iho_vcpu){ .exit_rows.v = exit_rows[0][0] }, "x\"\xff", 1);
	vms[0].n_vcpus = 1;
	vcpus[0][0].exit_rows.v = exit_rows[0][0];
	vcpus[0][0].exit_rows.n = 1;
	render(IHO_METRICS_PROMETHEUS);
	HAS("iho_vcpu_exits_total{vm=\"plain\",vcpu=\"0\",reason=\"x\\\"\\\\xff\"} 1");
}

/* Which VM a label stands for is told by its process. */
static void check_names(const char *want)
{
	char got[1024];
	size_t used = 0;

	render(IHO_METRICS_PROMETHEUS);
	got[0] = '\0';
	for (const char *p = text.data; (p = strstr(p, "\niho_vm_info{vm=\"")); p++) {
		char name[300], pid[16];

		assert_int_equal(
			sscanf(p, "\niho_vm_info{vm=\"%299[^\"]\",pid=\"%15[0-9]", name, pid), 2);
		used += snprintf(got + used, sizeof(got) - used, "%s=%s ", name, pid);
	}
	assert_string_equal(got, want);
	check_series();
}

static void test_names_are_unique(void **state)
{
	add_vm("a", 10, 2);
	add_vm("a", 11, 2);
	add_vm("a", 11, 1);
	add_vm("a", 11, 1);
	add_vm("a@11", 12, 1);
	add_vm("b\xff", 13, 1);
	add_vm("b\\xff", 14, 1);
	check_names("a=10 a@11=11 a@11#2=11 a@11#3=11 a@11@12=12 b\\\\xff=13 b\\\\xff@14=14 ");
}

static void test_gone(void **state)
{
	struct iho_vm_report *old = add_vm("a", 10, 1), *older = add_vm("a", 9, 1), *b;

	old->gone = older->gone = true;
	old->gone_s = 20;
	older->gone_s = 30;
	b = add_vm("b", 20, 1);
	/* the last one that had the name, for the minute that it is shown */
	check_names("a=10 b=20 ");
	old->gone_s = 40;
	check_names("a=9 b=20 ");
	old->gone_s = 30;
	check_names("a=10 b=20 ");
	/* but not beside a living one, wherever it is listed */
	add_vm("a", 30, 1);
	check_names("b=20 a=30 ");
	b->gone = true;
	check_names("b=20 a=30 ");
}

static void test_recycled_vcpu(void **state)
{
	struct iho_vm_report *vm = add_vm("a", 1, 1);
	struct iho_vcpu *v = vm->vcpus;

	v[0].halts = 100;
	v[0].bill.total[IHO_BILL_GUEST] = 3000000000;
	v[0].cpu = 4;
	add_exit(&v[0], "HLT", 10);
	add_exit(&v[0], "IO", 1);
	add_user_exit(&v[0], "KVM_EXIT_IO", 5);
	render(IHO_METRICS_PROMETHEUS);
	HAS("iho_vcpu_exits_total{vm=\"a\",vcpu=\"0\",reason=\"HLT\"} 10");
	/* its thread ends, another one is vCPU 0 now */
	v[0].gone = true;
	vm->n_vcpus = 2;
	v[1] = (struct iho_vcpu){ .id = 0, .halts = 1, .cpu = 5 };
	v[1].exit_rows.v = exit_rows[0][1];
	v[1].user_rows.v = user_rows[0][1];
	v[1].bill.total[IHO_BILL_GUEST] = 1;
	add_exit(&v[1], "NMI", 3);
	add_exit(&v[1], "HLT", 2);
	add_user_exit(&v[1], "KVM_EXIT_IO", 1);
	render(IHO_METRICS_PROMETHEUS);
	HAS("iho_vcpu_exits_total{vm=\"a\",vcpu=\"0\",reason=\"HLT\"} 12");
	HAS("iho_vcpu_exits_total{vm=\"a\",vcpu=\"0\",reason=\"IO\"} 1");
	HAS("iho_vcpu_exits_total{vm=\"a\",vcpu=\"0\",reason=\"NMI\"} 3");
	HAS("iho_vcpu_user_exits_total{vm=\"a\",vcpu=\"0\",reason=\"KVM_EXIT_IO\"} 6");
	HAS("iho_vcpu_halts_total{vm=\"a\",vcpu=\"0\"} 101");
	HAS("iho_vcpu_state_seconds_total{vm=\"a\",vcpu=\"0\",state=\"guest\"} 3.000000001");
	HAS("iho_vcpu_core{vm=\"a\",vcpu=\"0\"} 5");
	HAS("iho_vm_vcpus{vm=\"a\"} 1");
	check_series();
	/* two whose number is not known: one series, and no core */
	v[0].id = v[1].id = -1;
	v[0].gone = false;
	render(IHO_METRICS_PROMETHEUS);
	HAS("iho_vcpu_halts_total{vm=\"a\",vcpu=\"unknown\"} 101");
	assert_null(strstr(text.data, "\niho_vcpu_core{"));
	check_series();
}

static void test_filters(void **state)
{
	static const char *const web[] = { "web-*", "d?" }, *const no[] = { "*-2" };
	struct iho_metrics_options o = { .vm = web, .n_vm = 2 };

	add_vm("db", 1, 1);
	add_vm("mail", 2, 1);
	add_vm("web-1", 3, 1);
	add_vm("web-2", 4, 1);
	render_with(IHO_METRICS_PROMETHEUS, &o);
	HAS("iho_vm_vcpus{vm=\"db\"} 1");
	HAS("iho_vm_vcpus{vm=\"web-1\"} 1");
	HAS("iho_vm_vcpus{vm=\"web-2\"} 1");
	assert_null(strstr(text.data, "mail"));
	assert_int_equal(text.dropped, 0); /* not wanted is not dropped */
	o.exclude = no;
	o.n_exclude = 1;
	render_with(IHO_METRICS_PROMETHEUS, &o);
	HAS("iho_vm_vcpus{vm=\"web-1\"} 1");
	assert_null(strstr(text.data, "web-2"));
	o.n_vm = 0;
	render_with(IHO_METRICS_PROMETHEUS, &o);
	HAS("iho_vm_vcpus{vm=\"mail\"} 1");
	HAS("iho_vm_vcpus{vm=\"db\"} 1");
	assert_null(strstr(text.data, "web-2"));
	check_series();
}

/* What a family has for a VM, in series. */
static size_t share(const char *family, const char *vm)
{
	char want[128];
	size_t n = 0;

	snprintf(want, sizeof(want), "\n%s{vm=\"%s\"", family, vm);
	for (const char *p = text.data; (p = strstr(p, want)); p++)
		n++;
	return n;
}

static void test_limit(void **state)
{
	size_t all, own, n;
	const struct iho_metric *m = iho_metrics_catalogue(&n);

	rich();
	report.self.events = INT64_MAX;
	snprintf(vms[1].name, sizeof(vms[1].name), "other");
	add_exit(vms[1].vcpus, "HLT", 1);
	render(IHO_METRICS_PROMETHEUS);
	all = text.series;
	report.n_vms = 0;
	render(IHO_METRICS_PROMETHEUS);
	own = text.series;
	report.n_vms = 2;
	assert_in_range(own, 30, 50);
	assert_in_range(all, own + 80, own + 200);
	for (size_t most = 1; most <= all + 5; most++) {
		struct iho_metrics_options o = { .max_series = most };
		char want[64];
		json_t *root;

		render_with(IHO_METRICS_PROMETHEUS, &o);
		check_series();
		assert_int_equal(text.series + text.dropped, all);
		assert_true(text.series <= (most > own ? most : own));
		snprintf(want, sizeof(want), "iho_exporter_series %zu", text.series);
		HAS(want);
		snprintf(want, sizeof(want), "iho_exporter_series_dropped %zu", text.dropped);
		HAS(want);
		/* the own cost is always there, and a VM has a family whole or not at all */
		HAS("iho_collector_cpu_seconds_total 1.234567891");
		HAS("iho_exporter_resident_memory_bytes 4096");
		n = share("iho_vcpu_exits_total", "web");
		assert_true(n == 0 || n == 4);
		n = share("iho_vm_exit_duration_seconds_bucket", "web");
		assert_true(n == 0 || n == 18);
		n = share("iho_vcpu_state_seconds_total", "web");
		assert_true(n == 0 || n == 30);
		/* no head without a sample, no dangling comma */
		for (const char *p = text.data; (p = strstr(p, "\n# TYPE ")); p++)
			assert_true(strchr(p + 1, '\n')[1] != '#' && strchr(p + 1, '\n')[1]);
		render_with(IHO_METRICS_JSON, &o);
		root = json_loads(text.data, 0, NULL);
		if (!root)
			fail_msg("not JSON with %zu series", most);
		json_decref(root);
	}
	/* what stands first in the catalogue goes last */
	assert_string_equal(m[0].name, "iho_build_info");
	render_with(IHO_METRICS_PROMETHEUS, &(struct iho_metrics_options){ .max_series = own + 4 });
	assert_int_equal(share("iho_vm_info", "web"), 1);
	assert_int_equal(share("iho_vm_info", "other"), 1);
	assert_int_equal(share("iho_vm_vcpus", "web"), 1);
	assert_int_equal(share("iho_vcpu_exits_total", "web"), 0);
}

/* ---- a large one ---- */

#define BIG_VCPUS   64
#define BIG_REASONS 25

static void big(void)
{
	static struct iho_vcpu v[BIG_VCPUS];
	static struct iho_exit_row rows[BIG_VCPUS + 1][BIG_REASONS];
	struct iho_vm_report *vm = add_vm("a tenant with a name of some length", 4242, 0);

	memset(v, 0, sizeof(v));
	memset(rows, 0, sizeof(rows));
	vm->vcpus = v;
	vm->n_vcpus = BIG_VCPUS;
	vm->exit_rows.v = rows[BIG_VCPUS];
	vm->exit_rows.n = BIG_REASONS;
	for (size_t i = 0; i <= BIG_VCPUS; i++) {
		for (size_t k = 0; k < BIG_REASONS; k++) {
			struct iho_exit_row *row = &rows[i][k];

			snprintf(row->reason, sizeof(row->reason), "EXIT_REASON_OF_LENGTH_%zu", k);
			row->total = 123456789012 + i;
			row->time_ns = 1234567890123456789;
			row->hist = i == BIG_VCPUS ? hist[0] : NULL;
		}
		if (i == BIG_VCPUS)
			continue;
		v[i].id = i;
		v[i].exit_rows.v = rows[i];
		v[i].exit_rows.n = BIG_REASONS;
		v[i].cpu = i;
		for (size_t k = 0; k < IHO_BILL_MAX; k++)
			v[i].bill.total[k] = 1234567890123456 + k;
	}
	for (size_t i = 0; i < IHO_HIST_BUCKETS; i++)
		hist[0][i] = 1234567890 + i;
}

static void test_big(void **state)
{
	big();
	for (int f = IHO_METRICS_PROMETHEUS; f <= IHO_METRICS_JSON; f++) {
		render(f);
		assert_true(text.len < 1 << 20);
		assert_true(text.series > BIG_VCPUS * (BIG_REASONS + 11) + 20 * BIG_REASONS);
	}
	render(IHO_METRICS_PROMETHEUS);
	check_series();
	HAS("iho_vcpu_exits_total{vm=\"a tenant with a name of some length\",vcpu=\"63\","
	    "reason=\"EXIT_REASON_OF_LENGTH_24\"} 123456789075");
}

/* ---- migrations ---- */

#define UNTOLD { -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1, -1 }

/* "web" moves, and is in the report under another name; "db" went and came back; "mail" is gone */
static void migrations(void)
{
	static struct iho_migration rows[5];
	static struct iho_migration_total totals[] = { { "db", 2, 0, 0 }, { "mail", 0, 1, 3 } };
	static struct iho_migration_view v = {
		.rows = rows, .n_rows = 5, .totals = totals, .n_totals = 2
	};
	static const struct iho_migration_numbers untold = UNTOLD;

	for (int i = 0; i < 5; i++)
		rows[i] = (struct iho_migration){ .n = untold, .forecast = { .low_s = -1,
									     .expected_s = -1,
									     .high_s = -1 } };
	snprintf(rows[0].vm, sizeof(rows[0].vm), "instance-7");
	rows[0].pid = 100;
	rows[0].phase = IHO_MIGRATION_PRECOPY;
	rows[0].n.total_bytes = 1LL << 42;
	rows[0].n.transferred_bytes = 12345;
	rows[0].n.remaining_bytes = 0;
	rows[0].n.iterations = 3;
	rows[0].n.dirty_bytes_per_s = 4096.5;
	rows[0].n.bandwidth_bytes_per_s = 1e9;
	rows[0].n.downtime_expected_s = 0.25;
	rows[0].n.downtime_limit_s = 0.3;
	rows[0].n.throttle_ratio = 0.2;
	rows[0].n.elapsed_s = 12.5;
	rows[0].forecast = (struct iho_forecast){ IHO_FORECAST_CONVERGES, 1.5, 2, 30, "" };
	snprintf(rows[1].vm, sizeof(rows[1].vm), "db");
	rows[1].role = IHO_MIGRATION_DESTINATION;
	rows[1].phase = IHO_MIGRATION_COMPLETED;
	rows[1].n.elapsed_s = 7;
	rows[1].n.downtime_actual_s = 0.125;
	snprintf(rows[2].vm, sizeof(rows[2].vm), "db"); /* the way there: its numbers are old */
	rows[2].phase = IHO_MIGRATION_COMPLETED;
	rows[2].n = rows[0].n;
	snprintf(rows[3].vm, sizeof(rows[3].vm), "mail");
	rows[3].phase = IHO_MIGRATION_FAILED;
	rows[3].forecast.verdict = IHO_FORECAST_DIVERGES;
	rows[3].forecast.low_s = 5; /* what will not end has no time left */
	snprintf(rows[4].vm, sizeof(rows[4].vm), "mail"); /* an older one */
	rows[4].phase = IHO_MIGRATION_CANCELLED;
	report.migration = &v;
}

#define HEAD(name, type, help) "# HELP " name " " help "\n# TYPE " name " " type "\n"
#define PHASES(vm, a, b, c, d, e, f, g) \
	"iho_migration_phase{vm=\"" vm "\",phase=\"setup\"} " a "\n" \
	"iho_migration_phase{vm=\"" vm "\",phase=\"precopy\"} " b "\n" \
	"iho_migration_phase{vm=\"" vm "\",phase=\"postcopy\"} " c "\n" \
	"iho_migration_phase{vm=\"" vm "\",phase=\"switchover\"} " d "\n" \
	"iho_migration_phase{vm=\"" vm "\",phase=\"completed\"} " e "\n" \
	"iho_migration_phase{vm=\"" vm "\",phase=\"failed\"} " f "\n" \
	"iho_migration_phase{vm=\"" vm "\",phase=\"cancelled\"} " g "\n"

static void check_migrations(void)
{
	LINES("iho_migration_active",
	      HEAD("iho_migration_active", "gauge",
		   "Whether a migration goes on (1) or ended within the hour (0).")
	      "iho_migration_active{vm=\"web\",role=\"source\"} 1\n"
	      "iho_migration_active{vm=\"db\",role=\"destination\"} 0\n"
	      "iho_migration_active{vm=\"db\",role=\"source\"} 0\n"
	      "iho_migration_active{vm=\"mail\",role=\"source\"} 0\n");
	LINES("iho_migration_phase",
	      HEAD("iho_migration_phase", "gauge",
		   "Whether the migration is in the phase (1) or not (0).")
	      PHASES("web", "0", "1", "0", "0", "0", "0", "0")
	      PHASES("db", "0", "0", "0", "0", "1", "0", "0")
	      PHASES("mail", "0", "0", "0", "0", "0", "1", "0"));
	LINES("iho_migration_bytes",
	      HEAD("iho_migration_bytes", "gauge",
		   "Memory to be migrated: all, sent so far, and what is left.")
	      "iho_migration_bytes{vm=\"web\",kind=\"total\"} 4398046511104\n"
	      "iho_migration_bytes{vm=\"web\",kind=\"transferred\"} 12345\n"
	      "iho_migration_bytes{vm=\"web\",kind=\"remaining\"} 0\n");
	LINES("iho_migration_iterations",
	      HEAD("iho_migration_iterations", "gauge", "Passes over the memory; the first is 1.")
	      "iho_migration_iterations{vm=\"web\"} 3\n");
	LINES("iho_migration_dirty_bytes_per_second",
	      HEAD("iho_migration_dirty_bytes_per_second", "gauge",
		   "How fast the guest writes to its memory, counted at the end of a pass.")
	      "iho_migration_dirty_bytes_per_second{vm=\"web\"} 4096.5\n");
	LINES("iho_migration_bandwidth_bytes_per_second",
	      HEAD("iho_migration_bandwidth_bytes_per_second", "gauge", "How fast memory is sent.")
	      "iho_migration_bandwidth_bytes_per_second{vm=\"web\"} 1000000000\n");
	LINES("iho_migration_downtime_seconds",
	      HEAD("iho_migration_downtime_seconds", "gauge",
		   "How long the guest stands still: expected, allowed, and in the end.")
	      "iho_migration_downtime_seconds{vm=\"web\",kind=\"expected\"} 0.25\n"
	      "iho_migration_downtime_seconds{vm=\"web\",kind=\"limit\"} 0.3\n"
	      "iho_migration_downtime_seconds{vm=\"db\",kind=\"actual\"} 0.125\n");
	LINES("iho_migration_throttle_ratio",
	      HEAD("iho_migration_throttle_ratio", "gauge",
		   "Share of time that auto-converge keeps the vCPUs from running.")
	      "iho_migration_throttle_ratio{vm=\"web\"} 0.2\n");
	LINES("iho_migration_elapsed_seconds",
	      HEAD("iho_migration_elapsed_seconds", "gauge",
		   "Since the migration began, or how long it took.")
	      "iho_migration_elapsed_seconds{vm=\"web\"} 12.5\n"
	      "iho_migration_elapsed_seconds{vm=\"db\"} 7\n");
	LINES("iho_migration_forecast_seconds",
	      HEAD("iho_migration_forecast_seconds", "gauge",
		   "What is left of the migration, as forecast; none if it will not converge.")
	      "iho_migration_forecast_seconds{vm=\"web\",bound=\"low\"} 1.5\n"
	      "iho_migration_forecast_seconds{vm=\"web\",bound=\"expected\"} 2\n"
	      "iho_migration_forecast_seconds{vm=\"web\",bound=\"high\"} 30\n");
	LINES("iho_migration_converges",
	      HEAD("iho_migration_converges", "gauge",
		   "Whether it will end without help (1) or not (0); none while that is not known.")
	      "iho_migration_converges{vm=\"web\"} 1\n"
	      "iho_migration_converges{vm=\"mail\"} 0\n");
	LINES("iho_migrations_total",
	      HEAD("iho_migrations_total", "counter",
		   "Migrations from or to this host that ended, by result.")
	      "iho_migrations_total{vm=\"db\",result=\"completed\"} 2\n"
	      "iho_migrations_total{vm=\"db\",result=\"failed\"} 0\n"
	      "iho_migrations_total{vm=\"db\",result=\"cancelled\"} 0\n"
	      "iho_migrations_total{vm=\"mail\",result=\"completed\"} 0\n"
	      "iho_migrations_total{vm=\"mail\",result=\"failed\"} 1\n"
	      "iho_migrations_total{vm=\"mail\",result=\"cancelled\"} 3\n");
}

static void test_migrations(void **state)
{
	static const char *const no[] = { "mail", "web" };
	struct iho_metrics_options o = { .exclude = no, .n_exclude = 2 };

	add_vm("web", 100, 1);
	migrations();
	render(IHO_METRICS_PROMETHEUS);
	check_migrations();
	check_series();
	/* what is not wanted is not told, by the name that it is told with */
	render_with(IHO_METRICS_PROMETHEUS, &o);
	LINES("iho_migration_active",
	      HEAD("iho_migration_active", "gauge",
		   "Whether a migration goes on (1) or ended within the hour (0).")
	      "iho_migration_active{vm=\"db\",role=\"destination\"} 0\n"
	      "iho_migration_active{vm=\"db\",role=\"source\"} 0\n");
	assert_null(strstr(text.data, "mail"));
	assert_null(strstr(text.data, "instance-7"));
	check_series();
	/* nobody watches */
	report.migration = NULL;
	render(IHO_METRICS_PROMETHEUS);
	assert_null(strstr(text.data, "iho_migration"));
}

static int dump(const char *what)
{
	static const char *const formats[] = { "prometheus", "openmetrics", "json" };
	enum iho_metrics_format f = IHO_METRICS_PROMETHEUS;

	setup(NULL);
	if (!strcmp(what, "big"))
		big();
	else
		rich();
	if (strcmp(what, "big"))
		migrations();
	for (int i = 0; i < 3; i++)
		if (!strcmp(what, formats[i]))
			f = i;
	if (iho_metrics_render(&text, &report, &exporter, f, NULL))
		return 1;
	fwrite(text.data, 1, text.len, stdout);
	iho_metrics_text_free(&text);
	return 0;
}

int main(int argc, char **argv)
{
#define TEST(f) cmocka_unit_test_setup_teardown(f, setup, teardown)
	const struct CMUnitTest tests[] = {
		TEST(test_no_collector),
		TEST(test_host),
		TEST(test_vm),
		TEST(test_vcpu),
		TEST(test_utilisation),
		TEST(test_direct),
		TEST(test_histogram),
		TEST(test_buckets),
		TEST(test_openmetrics),
		TEST(test_json),
		TEST(test_catalogue),
		TEST(test_escaping),
		TEST(test_names_are_unique),
		TEST(test_gone),
		TEST(test_recycled_vcpu),
		TEST(test_filters),
		TEST(test_limit),
		TEST(test_big),
		TEST(test_migrations),
	};

	if (argc > 1)
		return dump(argv[1]);
	return cmocka_run_group_tests(tests, NULL, NULL);
}
