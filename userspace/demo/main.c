// SPDX-License-Identifier: GPL-2.0-or-later
/* iho-demo: a tenant whose exits are known exactly. See README.md. */
#include <err.h>
#include <errno.h>
#include <getopt.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "report.h"
#include "script.h"
#include "vmm.h"

#ifndef IHO_VERSION
#define IHO_VERSION "unversioned"
#endif

#define EXIT_USAGE 2

#define MAX_VCPUS      65536 /* of the option; KVM's own limit is checked later */
#define MAX_CPU	       65535
#define MAX_NAME_CHARS 64
#define NEVER	       UINT64_MAX

/*
 * The demo: what a newcomer sees in iho-top. Each line is a phase of a few seconds; the two vCPUs
 * are in different ones. Every phase halts most of the time, so that it costs little.
 */
static const char *const demo_scripts[] = {
	/* even vCPUs */
	"mark,out:0x3f8:8,in:0x3fd:2,hlt:1:2000,loop:2000\n"
	"mark,mmio-write:0xd0000000:6,mmio-read:0xd0000004:2,hlt:1:2000,loop:2000\n"
	"mark,cpuid:0:4,cpuid:1:2,wrmsr:0x8b:3,rdmsr:0x8b:3,hlt:1:2000,loop:2000\n"
	"hlt:400:10000\n"
	"mark,busy:6,hlt:1:4000,loop:400\n"
	"mark,out:0x3f8:2,mmio-write:0xd0000000:2,cpuid:1:1,rdmsr:0x8b:1,busy:1,hlt:2:1000,sleep:1,"
	"loop:1200\n"
	"loop",
	/* odd vCPUs */
	"hlt:300:10000\n"
	"mark,cpuid:1:10,rdmsr:0x8b:2,hlt:1:3000,loop:1500\n"
	"mark,busy:10,hlt:1:10000,loop:200\n"
	"mark,out:0x3f8:3,in:0x60:1,wrmsr:0x8b:2,mmio-read:0xd0001000:2,hlt:2:1000,"
	"sleep:2,loop:1000\n"
	"mark,out:0x1f0:16,hlt:1:4000,loop:1200\n"
	"mark,mmio-write:0xd0001000:12,hlt:1:3000,loop:1200\n"
	"loop",
};

/* The script of one vCPU only, by --script-vcpu. */
struct override {
	unsigned int vcpu;
	struct script script;
};

struct options {
	unsigned int nr_vcpus;
	const char *name;
	struct script scripts[2]; /* of even and odd vCPUs; with --script only the first */
	unsigned int nr_scripts;
	struct override *overrides;
	unsigned int nr_overrides;
	unsigned int *pin;
	unsigned int nr_pin;
	uint64_t hlt_us;
	uint64_t run_ns;     /* NEVER: until the scripts end */
	uint64_t hotplug_ns; /* NEVER: no hotplug */
	bool no_irqchip;
	bool gate_stdin;
	bool linger;
	bool report;
	bool announce;
	bool die_with_parent;
};

/* What is going on while the vCPUs run. */
struct session {
	const struct options *options;
	struct vmm *vmm;
	int signal_fd;
	uint64_t start_ns;
	uint64_t hotplug_at_ns;
	uint64_t end_at_ns;
	bool stdin_open;
	unsigned int announced_gate;
	bool announced_done;
	const char *ended_by; /* NULL: still going on */
};

static void print_help(void)
{
	printf("Usage: iho-demo [OPTION]...\n"
	       "Run a tiny KVM tenant that makes exactly the exits its script asks for; without\n"
	       "--script an endless, changing mix on two vCPUs.\n"
	       "\n"
	       "  --script S           run S on every vCPU: ops separated by commas or newlines;\n"
	       "                       @FILE reads them from a file, # starts a comment\n"
	       "  --script-vcpu I=S    run S on vCPU I instead; may be repeated\n"
	       "  --list-ops           describe the ops and exit\n"
	       "  --vcpus N            number of vCPUs (default 2)\n"
	       "  --hotplug-after MS   add one more vCPU after MS milliseconds\n"
	       "  --pin CPU[,CPU...]   run vCPU i on the i-th CPU of the list, round and round\n"
	       "  --hlt-us N           wake each HLT after N microseconds (default 1000)\n"
	       "  --no-irqchip         no LAPIC in the kernel: each HLT exits to userspace and is\n"
	       "                       re-entered at once\n"
	       "  --gate-stdin         a line on standard input opens the gate, as SIGUSR1 does\n"
	       "  --linger             keep the vCPU threads parked at the end, until SIGTERM\n"
	       "  --seconds T          stop after T seconds\n"
	       "  --name NAME          the tenant's name (default demo)\n"
	       "  --announce           print 'ready PID TID...' before the scripts start,\n"
	       "                       'gate N' when all vCPUs wait for the N-th opening,\n"
	       "                       'hotplug I TID', and 'done' when all scripts have ended\n"
	       "  --report             print what was executed and seen, as JSON, at the end\n"
	       "  --die-with-parent    end when the parent process does\n"
	       "  --help, --version\n"
	       "\n"
	       "SIGTERM and SIGINT end it at any time.\n"
	       "Exit status: 0, 1 on failure, 2 on wrong usage.\n");
}

/* Options */

static int usage_error(void)
{
	fprintf(stderr, "Try 'iho-demo --help'.\n");
	return -EINVAL;
}

static int parse_number(const char *option, const char *text, uint64_t min, uint64_t max,
			uint64_t *value)
{
	if (!script_number(text, text + strlen(text), min, max, value))
		return 0;
	warnx("--%s: '%s' is not a number from %" PRIu64 " to %" PRIu64, option, text, min, max);
	return usage_error();
}

static int parse_seconds(const char *text, uint64_t *ns)
{
	double seconds;
	char *end;

	errno = 0;
	seconds = strtod(text, &end);
	if (errno || end == text || *end || !(seconds > 0 && seconds <= 1e9)) {
		warnx("--seconds: '%s' is not a number of seconds above 0", text);
		return usage_error();
	}
	*ns = (uint64_t)(seconds * 1e9);
	return 0;
}

static int parse_pin(const char *text, struct options *options)
{
	free(options->pin);
	options->nr_pin = 0;
	options->pin = calloc(strlen(text) + 1, sizeof(*options->pin));
	if (!options->pin) {
		warnx("out of memory");
		return -ENOMEM;
	}
	for (;;) {
		const char *end = strchrnul(text, ',');
		uint64_t cpu;

		if (script_number(text, end, 0, MAX_CPU, &cpu)) {
			warnx("--pin: '%.*s' is not a CPU number", (int)(end - text), text);
			return usage_error();
		}
		options->pin[options->nr_pin++] = (unsigned int)cpu;
		if (!*end)
			return 0;
		text = end + 1;
	}
}

static int parse_name(const char *text, struct options *options)
{
	size_t len = strlen(text);

	for (const char *c = text; *c; c++)
		if (*c < 0x20 || *c > 0x7e)
			len = 0;
	if (!len || len > MAX_NAME_CHARS) {
		warnx("--name: 1 to %d printable ASCII characters, please", MAX_NAME_CHARS);
		return usage_error();
	}
	options->name = text;
	return 0;
}

static int parse_override(const char *text, struct options *options)
{
	const char *equals = strchr(text, '=');
	struct override *overrides;
	struct script script;
	uint64_t vcpu;
	int ret;

	if (!equals || script_number(text, equals, 0, MAX_VCPUS - 1, &vcpu)) {
		warnx("--script-vcpu: '%s' is not of the form VCPU=SCRIPT", text);
		return usage_error();
	}
	overrides = reallocarray(options->overrides, options->nr_overrides + 1, sizeof(*overrides));
	if (!overrides) {
		warnx("out of memory");
		return -ENOMEM;
	}
	options->overrides = overrides;
	ret = script_load(&script, equals + 1);
	if (ret)
		return ret;
	overrides[options->nr_overrides++] = (struct override){ (unsigned int)vcpu, script };
	return 0;
}

static int load_demo(struct options *options)
{
	while (options->nr_scripts < 2) {
		unsigned int i = options->nr_scripts;
		int ret = script_load(&options->scripts[i], demo_scripts[i]);

		if (ret)
			return ret;
		options->nr_scripts++;
	}
	return 0;
}

static int check_options(const struct options *options)
{
	unsigned int total = options->nr_vcpus + (options->hotplug_ns != NEVER);

	for (unsigned int i = 0; i < options->nr_overrides; i++) {
		if (options->overrides[i].vcpu < total)
			continue;
		warnx("--script-vcpu: there is no vCPU %u", options->overrides[i].vcpu);
		return usage_error();
	}
	return 0;
}

enum {
	OPT_SCRIPT = 256,
	OPT_SCRIPT_VCPU,
	OPT_LIST_OPS,
	OPT_VCPUS,
	OPT_HOTPLUG_AFTER,
	OPT_PIN,
	OPT_HLT_US,
	OPT_NO_IRQCHIP,
	OPT_GATE_STDIN,
	OPT_LINGER,
	OPT_SECONDS,
	OPT_NAME,
	OPT_ANNOUNCE,
	OPT_REPORT,
	OPT_DIE_WITH_PARENT,
	OPT_HELP,
	OPT_VERSION,
};

static const struct option long_options[] = {
	{ "script", required_argument, NULL, OPT_SCRIPT },
	{ "script-vcpu", required_argument, NULL, OPT_SCRIPT_VCPU },
	{ "list-ops", no_argument, NULL, OPT_LIST_OPS },
	{ "vcpus", required_argument, NULL, OPT_VCPUS },
	{ "hotplug-after", required_argument, NULL, OPT_HOTPLUG_AFTER },
	{ "pin", required_argument, NULL, OPT_PIN },
	{ "hlt-us", required_argument, NULL, OPT_HLT_US },
	{ "no-irqchip", no_argument, NULL, OPT_NO_IRQCHIP },
	{ "gate-stdin", no_argument, NULL, OPT_GATE_STDIN },
	{ "linger", no_argument, NULL, OPT_LINGER },
	{ "seconds", required_argument, NULL, OPT_SECONDS },
	{ "name", required_argument, NULL, OPT_NAME },
	{ "announce", no_argument, NULL, OPT_ANNOUNCE },
	{ "report", no_argument, NULL, OPT_REPORT },
	{ "die-with-parent", no_argument, NULL, OPT_DIE_WITH_PARENT },
	{ "help", no_argument, NULL, OPT_HELP },
	{ "version", no_argument, NULL, OPT_VERSION },
	{ NULL, 0, NULL, 0 },
};

static int load_script(struct options *options, const char *text)
{
	script_free(&options->scripts[0]);
	options->nr_scripts = 1;
	return script_load(&options->scripts[0], text);
}

static int parse_option(struct options *options, int option, const char *name)
{
	uint64_t value = 0;
	int ret = 0;

	switch (option) {
	case OPT_SCRIPT:
		return load_script(options, optarg);
	case OPT_SCRIPT_VCPU:
		return parse_override(optarg, options);
	case OPT_VCPUS:
		ret = parse_number(name, optarg, 1, MAX_VCPUS, &value);
		options->nr_vcpus = (unsigned int)value;
		return ret;
	case OPT_HOTPLUG_AFTER:
		ret = parse_number(name, optarg, 0, SCRIPT_MAX_MS, &value);
		options->hotplug_ns = value * 1000000;
		return ret;
	case OPT_PIN:
		return parse_pin(optarg, options);
	case OPT_HLT_US:
		return parse_number(name, optarg, 1, SCRIPT_MAX_HLT_US, &options->hlt_us);
	case OPT_NO_IRQCHIP:
		options->no_irqchip = true;
		return 0;
	case OPT_GATE_STDIN:
		options->gate_stdin = true;
		return 0;
	case OPT_LINGER:
		options->linger = true;
		return 0;
	case OPT_SECONDS:
		return parse_seconds(optarg, &options->run_ns);
	case OPT_NAME:
		return parse_name(optarg, options);
	case OPT_ANNOUNCE:
		options->announce = true;
		return 0;
	case OPT_REPORT:
		options->report = true;
		return 0;
	case OPT_DIE_WITH_PARENT:
		options->die_with_parent = true;
		return 0;
	}
	return usage_error();
}

/* Returns 0 to go on, 1 if all is done (--help and the like), or a negative errno. */
static int parse_options(struct options *options, int argc, char **argv)
{
	int option, index = 0;

	while ((option = getopt_long(argc, argv, "", long_options, &index)) != -1) {
		int ret;

		switch (option) {
		case OPT_HELP:
			print_help();
			return 1;
		case OPT_VERSION:
			printf("iho-demo %s\n", IHO_VERSION);
			return 1;
		case OPT_LIST_OPS:
			script_list_ops(stdout);
			return 1;
		}
		ret = parse_option(options, option, long_options[index].name);
		if (ret)
			return ret;
	}
	if (optind < argc) {
		warnx("what is '%s'?", argv[optind]);
		return usage_error();
	}
	if (!options->nr_scripts) {
		int ret = load_demo(options);

		if (ret)
			return ret;
	}
	return check_options(options);
}

static void free_options(struct options *options)
{
	script_free(&options->scripts[0]);
	script_free(&options->scripts[1]);
	for (unsigned int i = 0; i < options->nr_overrides; i++)
		script_free(&options->overrides[i].script);
	free(options->overrides);
	free(options->pin);
}

/* The session */

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static const struct script *script_of(const struct options *options, unsigned int vcpu)
{
	for (unsigned int i = options->nr_overrides; i > 0; i--)
		if (options->overrides[i - 1].vcpu == vcpu)
			return &options->overrides[i - 1].script;
	return &options->scripts[vcpu % options->nr_scripts];
}

static int create(struct session *session)
{
	const struct options *options = session->options;
	struct vmm_config config = {
		.max_vcpus = options->nr_vcpus + (options->hotplug_ns != NEVER),
		.irqchip = !options->no_irqchip,
		.hlt_us = options->hlt_us,
		.pin = options->pin,
		.nr_pin = options->nr_pin,
		.linger = options->linger,
	};
	int ret;

	for (unsigned int i = 0; i < config.max_vcpus; i++)
		if (script_of(options, i)->nr_ops > config.max_ops)
			config.max_ops = script_of(options, i)->nr_ops;

	ret = vmm_create(&session->vmm, &config);
	for (unsigned int i = 0; !ret && i < options->nr_vcpus; i++)
		ret = vmm_add_vcpu(session->vmm, script_of(options, i));
	return ret;
}

static void announce_ready(const struct session *session)
{
	printf("ready %d", getpid());
	for (unsigned int i = 0; i < vmm_nr_vcpus(session->vmm); i++)
		printf(" %d", vmm_vcpu(session->vmm, i)->tid);
	printf("\n");
	fflush(stdout);
}

static int hotplug(struct session *session)
{
	unsigned int index = vmm_nr_vcpus(session->vmm);
	int ret = vmm_add_vcpu(session->vmm, script_of(session->options, index));

	session->hotplug_at_ns = NEVER;
	if (ret)
		return ret;
	vmm_wait_ready(session->vmm);
	if (session->options->announce) {
		printf("hotplug %u %d\n", index, vmm_vcpu(session->vmm, index)->tid);
		fflush(stdout);
	}
	return 0;
}

static void look_at_vcpus(struct session *session)
{
	const struct options *options = session->options;
	struct vmm_state state;
	bool done;

	vmm_get_state(session->vmm, &state);
	done = state.nr_done == vmm_nr_vcpus(session->vmm) && session->hotplug_at_ns == NEVER;

	if (options->announce && state.gate > session->announced_gate) {
		session->announced_gate = state.gate;
		printf("gate %u\n", state.gate);
		fflush(stdout);
	}
	if (options->announce && done && !session->announced_done) {
		session->announced_done = true;
		printf("done\n");
		fflush(stdout);
	}
	if (state.failed)
		session->ended_by = "failure";
	else if (done && !options->linger)
		session->ended_by = "scripts";
}

static void take_signal(struct session *session)
{
	struct signalfd_siginfo info;

	if (read(session->signal_fd, &info, sizeof(info)) != sizeof(info))
		return;
	if (info.ssi_signo == SIGUSR1)
		vmm_open_gate(session->vmm);
	else
		session->ended_by = "signal";
}

static void take_stdin(struct session *session)
{
	char buf[256];
	ssize_t len = read(STDIN_FILENO, buf, sizeof(buf));

	if (len <= 0) {
		session->stdin_open = len < 0 && errno == EINTR;
		return;
	}
	for (ssize_t i = 0; i < len; i++)
		if (buf[i] == '\n')
			vmm_open_gate(session->vmm);
}

static void wait_for_event(struct session *session)
{
	struct pollfd fds[] = {
		{ .fd = session->signal_fd, .events = POLLIN },
		{ .fd = vmm_event_fd(session->vmm), .events = POLLIN },
		{ .fd = session->stdin_open ? STDIN_FILENO : -1, .events = POLLIN },
	};
	uint64_t now = now_ns(), until = session->end_at_ns;
	struct timespec timeout = { 0 };
	eventfd_t events;

	if (session->hotplug_at_ns < until)
		until = session->hotplug_at_ns;
	if (until > now) {
		timeout.tv_sec = (time_t)((until - now) / 1000000000);
		timeout.tv_nsec = (long)((until - now) % 1000000000);
	}
	if (ppoll(fds, sizeof(fds) / sizeof(fds[0]), until == NEVER ? NULL : &timeout, NULL) < 0)
		return;
	if (fds[1].revents)
		eventfd_read(fds[1].fd, &events);
	if (fds[0].revents)
		take_signal(session);
	if (fds[2].revents)
		take_stdin(session);
}

static int run(struct session *session)
{
	const struct options *options = session->options;
	int ret = create(session);

	if (ret)
		return ret;
	vmm_wait_ready(session->vmm);
	if (options->announce)
		announce_ready(session);

	session->start_ns = now_ns();
	session->end_at_ns = options->run_ns == NEVER ? NEVER : session->start_ns + options->run_ns;
	session->hotplug_at_ns =
		options->hotplug_ns == NEVER ? NEVER : session->start_ns + options->hotplug_ns;
	ret = vmm_start(session->vmm);
	if (ret)
		return ret;

	while (!session->ended_by) {
		wait_for_event(session);
		if (now_ns() >= session->end_at_ns)
			session->ended_by = "seconds";
		if (now_ns() >= session->hotplug_at_ns && hotplug(session))
			session->ended_by = "failure";
		if (!session->ended_by)
			look_at_vcpus(session);
	}
	vmm_stop(session->vmm);
	return strcmp(session->ended_by, "failure") ? 0 : -EIO;
}

static int block_signals(struct session *session)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGINT);
	sigaddset(&set, SIGTERM);
	sigaddset(&set, SIGUSR1);
	/* Before any thread exists, so that all inherit it. */
	sigprocmask(SIG_BLOCK, &set, NULL);
	session->signal_fd = signalfd(-1, &set, SFD_CLOEXEC | SFD_NONBLOCK);
	if (session->signal_fd < 0) {
		warn("signalfd");
		return -1;
	}
	return 0;
}

static int follow_parent(void)
{
	pid_t parent = getppid();

	if (prctl(PR_SET_PDEATHSIG, SIGTERM)) {
		warn("PR_SET_PDEATHSIG");
		return -1;
	}
	/* It may have died before the request: then no signal will come. */
	if (getppid() != parent) {
		warnx("the parent has ended already");
		return -1;
	}
	return 0;
}

int main(int argc, char **argv)
{
	struct options options = {
		.nr_vcpus = 2,
		.name = "demo",
		.hlt_us = 1000,
		.run_ns = NEVER,
		.hotplug_ns = NEVER,
	};
	struct session session = { .options = &options, .signal_fd = -1 };
	int ret, status = EXIT_FAILURE;

	ret = parse_options(&options, argc, argv);
	if (ret) {
		status = ret > 0 ? EXIT_SUCCESS : EXIT_USAGE;
		goto cleanup;
	}
	session.stdin_open = options.gate_stdin;
	if (options.die_with_parent && follow_parent())
		goto cleanup;
	if (block_signals(&session))
		goto cleanup;

	if (!run(&session))
		status = EXIT_SUCCESS;
	if (options.report && session.ended_by) {
		const struct report_info info = {
			.name = options.name,
			.ended_by = session.ended_by,
			.elapsed_seconds = (double)(now_ns() - session.start_ns) / 1e9,
		};

		report_print(stdout, session.vmm, &info);
	}
cleanup:
	if (fflush(stdout) || ferror(stdout)) {
		warn("standard output");
		status = EXIT_FAILURE;
	}
	vmm_destroy(session.vmm);
	if (session.signal_fd >= 0)
		close(session.signal_fd);
	free_options(&options);
	return status;
}
