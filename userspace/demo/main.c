// SPDX-License-Identifier: GPL-2.0-or-later
/* iho-demo: a tenant whose exits are known exactly, or an ordinary Linux. See README.md. */
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <time.h>
#include <unistd.h>

#include "options.h"
#include "report.h"
#include "vmm.h"

#define EXIT_USAGE 2
#define NEVER	   OPTIONS_NEVER

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

static uint64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec;
}

static int create(struct session *session)
{
	const struct options *options = session->options;
	struct vmm_config config = {
		.max_vcpus = options->nr_vcpus + (options->hotplug_ns != NEVER),
		.irqchip = !options->no_irqchip,
		.idle_in_guest = options->idle_in_guest,
		.no_pv_unhalt = options->no_pv_unhalt,
		.hlt_us = options->hlt_us,
		.pin = options->pin,
		.nr_pin = options->nr_pin,
		.linger = options->linger,
		.boot = options->boot.kernel ? &options->boot : NULL,
	};
	int ret;

	for (unsigned int i = 0; !config.boot && i < config.max_vcpus; i++)
		if (options_script(options, i)->nr_ops > config.max_ops)
			config.max_ops = options_script(options, i)->nr_ops;

	ret = vmm_create(&session->vmm, &config);
	for (unsigned int i = 0; !ret && i < options->nr_vcpus; i++)
		ret = vmm_add_vcpu(session->vmm, options_script(options, i));
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
	int ret = vmm_add_vcpu(session->vmm, options_script(session->options, index));

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
	else if (state.ending != VMM_NOT_ENDED)
		session->ended_by = state.ending == VMM_RESET ? "reset" : "power-off";
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

/* A Linux tenant's own doing: the announcement is the word of the report. */
static bool ended_itself(const struct session *session)
{
	return !strcmp(session->ended_by, "power-off") || !strcmp(session->ended_by, "reset");
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
	if (vmm_stop(session->vmm))
		session->ended_by = "failure";
	if (options->announce && ended_itself(session))
		printf("%s\n", session->ended_by);
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
	struct options options;
	struct session session = { .options = &options, .signal_fd = -1 };
	int ret, status = EXIT_FAILURE;

	ret = options_parse(&options, argc, argv);
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
	options_free(&options);
	return status;
}
