// SPDX-License-Identifier: GPL-2.0-or-later
#include "holder.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include <cap-ng.h>
#include <seccomp.h>

#include "session.h"

#define CLIENT_MS 2000 /* for who connects and is silent */
#define ANSWER_MS 30000 /* for a holder: to switch waits for all vCPUs */

enum request_what { REQUEST_GET, REQUEST_SET, REQUEST_OFF };

struct request {
	uint32_t what, modes;
};

/* Sent as far as it is filled. */
struct reply {
	int32_t r;
	struct direct_error err;
	struct holder_state state;
};

struct holder {
	int session, pidfd, listener, signals;
	uint32_t modes;
	int64_t since_s;
	struct sockaddr_un address;
};

/* ---- the socket ---- */

static void address_of(pid_t vm, struct sockaddr_un *a)
{
	memset(a, 0, sizeof(*a));
	a->sun_family = AF_UNIX;
	snprintf(a->sun_path, sizeof(a->sun_path), HOLDER_DIR "/%d.sock", (int)vm);
}

static void limit_time(int fd, int ms)
{
	const struct timeval t = { .tv_sec = ms / 1000, .tv_usec = ms % 1000 * 1000 };

	setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &t, sizeof(t));
	setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &t, sizeof(t));
}

static int listen_at(const struct sockaddr_un *a, struct direct_error *err)
{
	int fd, r;

	r = direct_make_dir(HOLDER_DIR, err);
	if (r)
		return r;
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (fd < 0)
		return direct_fail(err, -errno, "no socket: %s", strerror(errno));
	/* Who was there before has no session any more, for we have it. */
	unlink(a->sun_path);
	if (bind(fd, (const struct sockaddr *)a, sizeof(*a)) || chmod(a->sun_path, 0600) ||
	    listen(fd, 16)) {
		r = -errno;
		close(fd);
		return direct_fail(err, r, "cannot listen at %s: %s", a->sun_path, strerror(-r));
	}
	return fd;
}

/* ---- the holder ---- */

static int give_up_privileges(struct direct_error *err)
{
	static const int allowed[] = {
		SCMP_SYS(poll),
		SCMP_SYS(ppoll),
		SCMP_SYS(accept4),
		SCMP_SYS(accept),
		SCMP_SYS(recvfrom),
		SCMP_SYS(sendto),
		SCMP_SYS(read),
		SCMP_SYS(write),
		SCMP_SYS(close),
		SCMP_SYS(setsockopt),
		SCMP_SYS(unlink),
		SCMP_SYS(clock_gettime),
		SCMP_SYS(getpid),
		SCMP_SYS(brk),
		SCMP_SYS(mmap),
		SCMP_SYS(munmap),
		SCMP_SYS(mprotect),
		SCMP_SYS(madvise),
		SCMP_SYS(futex),
		SCMP_SYS(rt_sigreturn),
		SCMP_SYS(rt_sigprocmask),
		SCMP_SYS(rt_sigaction),
		SCMP_SYS(sigaltstack),
		SCMP_SYS(exit_group),
		SCMP_SYS(restart_syscall),
		SCMP_SYS(fstat),
		SCMP_SYS(newfstatat),
		SCMP_SYS(ioctl),
	};
	scmp_filter_ctx f;
	int r = 0;

	capng_clear(CAPNG_SELECT_ALL);
	if (capng_apply(CAPNG_SELECT_ALL) || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
		return direct_fail(err, -EPERM, "cannot give up capabilities");
	f = seccomp_init(SCMP_ACT_KILL_PROCESS);
	for (size_t i = 0; f && !r && i < sizeof(allowed) / sizeof(allowed[0]); i++)
		r = seccomp_rule_add(f, SCMP_ACT_ALLOW, allowed[i], 0);
	if (f && !r)
		r = seccomp_load(f);
	seccomp_release(f);
	if (!f || r)
		return direct_fail(err, -EPERM, "cannot limit the system calls: %s", strerror(-r));
	return 0;
}

static int holder_set(struct holder *h, uint32_t modes, uint32_t *refused, struct direct_error *err)
{
	struct timespec now;
	int r = session_set(h->session, modes, refused, err);

	if (r)
		return r;
	clock_gettime(CLOCK_REALTIME, &now);
	h->modes = modes;
	h->since_s = now.tv_sec;
	return 0;
}

static int holder_begin(struct holder *h, const struct direct_vm *vm, uint32_t modes,
			uint32_t *refused, struct direct_error *err)
{
	sigset_t mask;
	int r;

	h->session = session_open(vm->pid, &h->pidfd, err);
	if (h->session < 0)
		return h->session;
	sigemptyset(&mask);
	sigaddset(&mask, SIGTERM);
	sigaddset(&mask, SIGINT);
	sigprocmask(SIG_BLOCK, &mask, NULL);
	h->signals = signalfd(-1, &mask, SFD_CLOEXEC);
	if (h->signals < 0)
		return direct_fail(err, -errno, "no signals: %s", strerror(errno));
	r = holder_set(h, modes, refused, err);
	if (r)
		return r;
	address_of(vm->pid, &h->address);
	h->listener = listen_at(&h->address, err);
	if (h->listener < 0)
		return h->listener;
	r = give_up_privileges(err);
	if (r)
		unlink(h->address.sun_path);
	return r;
}

static void fill(struct holder *h, struct holder_state *s)
{
	s->pid = getpid();
	s->modes = h->modes;
	s->since_s = h->since_s;
	for (uint32_t i = 0; i < HOLDER_MAX_VCPUS; i++) {
		struct iho_vcpu *v = &s->vcpus[s->nr_vcpus];

		v->index = i;
		if (ioctl(h->session, IHO_GET_VCPU, v))
			break;
		s->nr_vcpus++;
	}
}

/* One request; true: it was the last. */
static bool serve(struct holder *h)
{
	static struct reply reply;
	struct request q;
	bool off = false;
	int fd = accept4(h->listener, NULL, NULL, SOCK_CLOEXEC);
	size_t len;

	if (fd < 0)
		return false;
	limit_time(fd, CLIENT_MS);
	memset(&reply, 0, sizeof(reply));
	if (recv(fd, &q, sizeof(q), 0) == sizeof(q)) {
		off = q.what == REQUEST_OFF;
		if (q.what != REQUEST_GET)
			reply.r =
				holder_set(h, off ? 0 : q.modes, &reply.state.refused, &reply.err);
		fill(h, &reply.state);
		/* "off" is answered by the end of the connection, when all is undone. */
		len = offsetof(struct reply, state.vcpus[reply.state.nr_vcpus]);
		if (!off)
			send(fd, &reply, len, MSG_NOSIGNAL);
	}
	if (off) {
		unlink(h->address.sun_path);
		close(h->session);
	}
	close(fd);
	return off;
}

static void hold(struct holder *h)
{
	struct pollfd p[] = { { .fd = h->listener, .events = POLLIN },
			      { .fd = h->pidfd, .events = POLLIN },
			      { .fd = h->signals, .events = POLLIN } };

	for (;;) {
		if (poll(p, 3, -1) < 0 && errno != EINTR)
			break;
		/* The VM has ended, or we are to. */
		if (p[1].revents || p[2].revents)
			break;
		if (p[0].revents && serve(h))
			return;
	}
	unlink(h->address.sun_path);
}

int holder_run(const struct direct_vm *vm, uint32_t modes, uint32_t *refused,
	       struct direct_error *err)
{
	struct holder h = {};
	int r = holder_begin(&h, vm, modes, refused, err);

	if (!r)
		hold(&h);
	return r;
}

/* ---- who asks ---- */

/* The answer has at least its first part; 0: the end came instead. -ENOENT: there is no holder. */
static ssize_t ask(pid_t vm, const struct request *q, struct reply *reply, struct direct_error *err)
{
	struct sockaddr_un a;
	ssize_t n;
	int fd, r;

	address_of(vm, &a);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return direct_fail(err, -errno, "no socket: %s", strerror(errno));
	limit_time(fd, ANSWER_MS);
	if (connect(fd, (struct sockaddr *)&a, sizeof(a))) {
		r = errno == ECONNREFUSED ? -ENOENT : -errno;
		close(fd);
		if (r == -ENOENT)
			return direct_fail(err, r, "nobody holds process %d in direct mode",
					   (int)vm);
		return direct_fail(err, r, "cannot ask the holder of process %d: %s", (int)vm,
				   strerror(-r));
	}
	n = send(fd, q, sizeof(*q), MSG_NOSIGNAL);
	if (n >= 0)
		n = recv(fd, reply, sizeof(*reply), 0);
	r = -errno;
	close(fd);
	if (n < 0)
		return direct_fail(err, r, "the holder of process %d does not answer: %s", (int)vm,
				   strerror(-r));
	if (n && ((size_t)n < offsetof(struct reply, state.vcpus) ||
		  reply->state.nr_vcpus > HOLDER_MAX_VCPUS ||
		  (size_t)n < offsetof(struct reply, state.vcpus[reply->state.nr_vcpus])))
		return direct_fail(err, -EPROTO, "the holder of process %d answers in parts",
				   (int)vm);
	return n;
}

int holder_ask(pid_t vm, struct holder_state *state, struct direct_error *err)
{
	static struct reply reply;
	const struct request q = { .what = REQUEST_GET };
	ssize_t n = ask(vm, &q, &reply, err);

	if (n < 0)
		return (int)n;
	if (!n)
		return direct_fail(err, -ENOENT, "the holder of process %d has just ended",
				   (int)vm);
	*state = reply.state;
	return 0;
}

int holder_off(pid_t vm, struct direct_error *err)
{
	static struct reply reply;
	const struct request q = { .what = REQUEST_OFF };
	ssize_t n = ask(vm, &q, &reply, err);

	return n < 0 ? (int)n : 0;
}

/* What the new process has to say, before it holds. */
struct begun {
	int32_t r;
	uint32_t refused;
	struct direct_error err;
};

static void be_holder(const struct direct_vm *vm, uint32_t modes, int to)
{
	struct begun b = {};
	struct holder h = {};
	int null = open("/dev/null", O_RDWR | O_CLOEXEC);

	/* Nobody is to wait for our end at what was the terminal. */
	setsid();
	for (int fd = 0; null >= 0 && fd < 3; fd++)
		dup2(null, fd);
	b.r = holder_begin(&h, vm, modes, &b.refused, &b.err);
	if (write(to, &b, sizeof(b)) != sizeof(b) || b.r)
		_exit(1);
	close(to);
	hold(&h);
	_exit(0);
}

static int new_holder(const struct direct_vm *vm, uint32_t modes, uint32_t *refused,
		      struct direct_error *err)
{
	struct begun b;
	ssize_t n;
	int p[2];
	pid_t pid;

	if (pipe2(p, O_CLOEXEC))
		return direct_fail(err, -errno, "no pipe: %s", strerror(errno));
	fflush(NULL);
	pid = fork();
	if (pid < 0) {
		close(p[0]);
		close(p[1]);
		return direct_fail(err, -errno, "no process: %s", strerror(errno));
	}
	if (!pid) {
		close(p[0]);
		be_holder(vm, modes, p[1]);
	}
	close(p[1]);
	n = read(p[0], &b, sizeof(b));
	close(p[0]);
	if (n != sizeof(b))
		return direct_fail(err, -EIO, "the holder ended at once");
	*refused = b.refused;
	*err = b.err;
	return b.r;
}

/* By the holder that there is. */
static int change(pid_t vm, uint32_t modes, uint32_t *refused, struct direct_error *err)
{
	static struct reply reply;
	const struct request q = { .what = REQUEST_SET, .modes = modes };
	ssize_t n = ask(vm, &q, &reply, err);

	if (n <= 0)
		return n ? (int)n : direct_fail(err, -ENOENT, "the holder has just ended");
	*refused = reply.state.refused;
	*err = reply.err;
	return reply.r;
}

int holder_on(const struct direct_vm *vm, uint32_t modes, uint32_t *refused,
	      struct direct_error *err)
{
	static const struct timespec moment = { .tv_nsec = 50 * 1000 * 1000 };
	int r = 0;

	/* Of two that begin at the same time one has to wait for the other's socket. */
	for (int i = 0; i < 40; i++) {
		r = change(vm->pid, modes, refused, err);
		if (r != -ENOENT)
			return r;
		r = new_holder(vm, modes, refused, err);
		if (r != -EBUSY)
			return r;
		nanosleep(&moment, NULL);
	}
	return r;
}
