/* SPDX-License-Identifier: GPL-2.0-or-later */
/*
 * What the worker of iho-query can no longer do once it is in its sandbox. Each call is made by a
 * process of its own that has entered the same sandbox as the worker does, with nothing else
 * changed.
 */
#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <signal.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/ptrace.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cmocka.h>

#include "../../vmi/query/sandbox.h"

#ifdef __SANITIZE_ADDRESS__
#define SANITIZED 1
#else
#define SANITIZED 0
#endif

#define NO_SANDBOX 250
#define X32	   0x40000000 /* __X32_SYSCALL_BIT: the same calls by other numbers */

/* What a child has at hand: nothing here is opened after it is in. */
struct hands {
	int parent; /* the socket that the sandbox knows */
	int other; /* one that it does not know */
	int readable, writable; /* a pipe's ends, one byte in it */
	pid_t tester;
	void *page;
};

typedef long (*call_fn)(const struct hands *h);

/* Enters, calls, and says by its end what came of it: 0, an errno value, or a signal. */
static int child(call_fn call)
{
	struct hands h = { .tester = getppid() };
	struct vmi_error err;
	int parent[2], other[2], ends[2];
	long ret;

	if (socketpair(AF_UNIX, SOCK_SEQPACKET, 0, parent) ||
	    socketpair(AF_UNIX, SOCK_SEQPACKET, 0, other) || pipe(ends) ||
	    write(ends[1], "x", 1) != 1)
		return NO_SANDBOX;
	h.parent = parent[0];
	h.other = other[0];
	h.readable = ends[0];
	h.writable = ends[1];
	h.page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	if (h.page == MAP_FAILED || sandbox_enter(h.parent, &err))
		return NO_SANDBOX;
	ret = call(&h);
	return ret == -1 ? errno : 0;
}

static int status_of(call_fn call)
{
	pid_t pid = fork();
	int status;

	assert_true(pid >= 0);
	if (!pid)
		_exit(child(call));
	assert_int_equal(waitpid(pid, &status, 0), pid);
	if (WIFEXITED(status) && WEXITSTATUS(status) == NO_SANDBOX)
		fail_msg("a child could not enter the sandbox");
	return status;
}

#define CALL(name, ...)                                                                            \
	static long name(const struct hands *h)                                                    \
	{                                                                                          \
		return syscall(__VA_ARGS__);                                                       \
	}

static long send_by(int fd)
{
	struct iovec v = { .iov_base = (char[]){ "x" }, .iov_len = 1 };
	struct msghdr m = { .msg_iov = &v, .msg_iovlen = 1 };

	return sendmsg(fd, &m, 0);
}

/* -------------------------------------------------------- what it must do */

CALL(call_getpid, SYS_getpid)
CALL(call_read, SYS_read, h->readable, h->page, 1)
CALL(call_mprotect, SYS_mprotect, h->page, 4096, PROT_READ)
CALL(call_mmap, SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)

static long call_sendmsg(const struct hands *h)
{
	return send_by(h->parent);
}

static void test_allowed(void **state)
{
	const call_fn calls[] = { call_getpid, call_read, call_mprotect, call_mmap, call_sendmsg };

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++)
		assert_int_equal(status_of(calls[i]), 0);
}

/* -------------------------------------------------------- what it is told no to */

CALL(call_open, SYS_open, "/dev/null", O_RDONLY)
CALL(call_openat, SYS_openat, AT_FDCWD, "/etc/passwd", O_RDONLY)
CALL(call_create, SYS_openat, AT_FDCWD, "/tmp", O_TMPFILE | O_RDWR, 0600)
CALL(call_stat, SYS_newfstatat, AT_FDCWD, "/", h->page, 0)
CALL(call_readlink, SYS_readlink, "/proc/self/exe", h->page, 100)
CALL(call_ioctl, SYS_ioctl, h->readable, 0x541b /* FIONREAD */, h->page)
CALL(call_dup, SYS_fcntl, h->readable, F_DUPFD, 0)
CALL(call_dumpable, SYS_prctl, 4 /* PR_SET_DUMPABLE */, 1, 0, 0, 0)

static void test_refused(void **state)
{
	const call_fn calls[] = { call_open,	 call_openat, call_create, call_stat,
				  call_readlink, call_ioctl,  call_dup,	   call_dumpable };

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		int status = status_of(calls[i]);

		assert_true(WIFEXITED(status));
		assert_int_equal(WEXITSTATUS(status), EACCES);
	}
}

/* -------------------------------------------------------- what is its end */

CALL(call_openat2, SYS_openat2, AT_FDCWD, "/dev/null", h->page, 24)
CALL(call_creat, SYS_creat, "/tmp/iho-sandbox", 0600)
CALL(call_unlink, SYS_unlink, "/nowhere")
CALL(call_mkdir, SYS_mkdir, "/nowhere/there", 0700)
CALL(call_rename, SYS_rename, "/nowhere", "/there")
CALL(call_chmod, SYS_fchmod, h->readable, 0777)
CALL(call_memfd, SYS_memfd_create, "x", 0)
CALL(call_dup2, SYS_dup2, h->parent, h->other)
CALL(call_socket, SYS_socket, AF_INET, SOCK_STREAM, 0)
CALL(call_socket_unix, SYS_socket, AF_UNIX, SOCK_STREAM, 0)
CALL(call_socket_netlink, SYS_socket, AF_NETLINK, SOCK_RAW, 0)
CALL(call_socketpair, SYS_socketpair, AF_UNIX, SOCK_STREAM, 0, h->page)
CALL(call_connect, SYS_connect, h->other, h->page, 16)
CALL(call_bind, SYS_bind, h->other, h->page, 16)
CALL(call_listen, SYS_listen, h->other, 1)
CALL(call_accept, SYS_accept4, h->other, NULL, NULL, 0)
CALL(call_sendto, SYS_sendto, h->parent, h->page, 1, 0, NULL, 0)
CALL(call_sendmmsg, SYS_sendmmsg, h->parent, h->page, 1, 0)
CALL(call_pwrite, SYS_pwrite64, h->writable, h->page, 1, 0)
CALL(call_writev, SYS_writev, h->writable, h->page, 0)
CALL(call_splice, SYS_splice, h->readable, NULL, h->writable, NULL, 1, 0)
CALL(call_execve, SYS_execve, "/bin/true", NULL, NULL)
CALL(call_execveat, SYS_execveat, h->readable, "", NULL, NULL, AT_EMPTY_PATH)
CALL(call_fork, SYS_fork)
CALL(call_clone, SYS_clone, SIGCHLD, NULL, NULL, NULL, 0)
CALL(call_clone3, SYS_clone3, h->page, 64)
CALL(call_traceme, SYS_ptrace, PTRACE_TRACEME, 0, NULL, NULL)
CALL(call_seize, SYS_ptrace, PTRACE_SEIZE, h->tester, NULL, NULL)
CALL(call_vm_readv, SYS_process_vm_readv, h->tester, h->page, 0, h->page, 0, 0)
CALL(call_vm_writev, SYS_process_vm_writev, h->tester, h->page, 0, h->page, 0, 0)
CALL(call_pidfd_open, SYS_pidfd_open, h->tester, 0)
CALL(call_pidfd_getfd, SYS_pidfd_getfd, h->readable, 0, 0)
CALL(call_kill, SYS_kill, h->tester, 0)
CALL(call_kill_self, SYS_kill, getpid(), 0)
CALL(call_tkill, SYS_tkill, h->tester, 0)
CALL(call_tgkill, SYS_tgkill, h->tester, h->tester, 0)
CALL(call_sigqueue, SYS_rt_sigqueueinfo, h->tester, 0, h->page)
CALL(call_setuid, SYS_setuid, 0)
CALL(call_capset, SYS_capset, h->page, h->page)
CALL(call_unshare, SYS_unshare, CLONE_NEWUSER)
CALL(call_setns, SYS_setns, h->readable, 0)
CALL(call_mount, SYS_mount, "none", "/", "tmpfs", 0, NULL)
CALL(call_chroot, SYS_chroot, "/")
CALL(call_bpf, SYS_bpf, 0, h->page, 64)
CALL(call_perf, SYS_perf_event_open, h->page, 0, -1, -1, 0)
CALL(call_uring, SYS_io_uring_setup, 1, h->page)
CALL(call_userfault, SYS_userfaultfd, 0)
CALL(call_keyctl, SYS_keyctl, 0, 0, 0, 0, 0)
CALL(call_seccomp, SYS_seccomp, 1, 0, NULL)
CALL(call_module, SYS_finit_module, h->readable, "", 0)
CALL(call_exec_map, SYS_mmap, NULL, 4096, PROT_READ | PROT_EXEC, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0)
CALL(call_shared_map, SYS_mmap, NULL, 4096, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1,
     0)
CALL(call_exec_page, SYS_mprotect, h->page, 4096, PROT_READ | PROT_EXEC)
CALL(call_pkey, SYS_pkey_mprotect, h->page, 4096, PROT_READ | PROT_EXEC, -1)
CALL(call_x32_getpid, X32 + SYS_getpid)
CALL(call_x32_open, X32 + SYS_open, "/dev/null", O_RDONLY)
CALL(call_none, 4000)

static long call_send_other(const struct hands *h)
{
	return send_by(h->other);
}

#define ENDS(name)                                                                                 \
	{                                                                                          \
#name, name                                                                        \
	}

static void test_killed(void **state)
{
	static const struct {
		const char *name;
		call_fn call;
	} calls[] = {
		ENDS(call_openat2),	ENDS(call_creat),	   ENDS(call_unlink),
		ENDS(call_mkdir),	ENDS(call_rename),	   ENDS(call_chmod),
		ENDS(call_memfd),	ENDS(call_dup2),	   ENDS(call_socket),
		ENDS(call_socket_unix), ENDS(call_socket_netlink), ENDS(call_socketpair),
		ENDS(call_connect),	ENDS(call_bind),	   ENDS(call_listen),
		ENDS(call_accept),	ENDS(call_sendto),	   ENDS(call_sendmmsg),
		ENDS(call_send_other),	ENDS(call_pwrite),	   ENDS(call_writev),
		ENDS(call_splice),	ENDS(call_execve),	   ENDS(call_execveat),
		ENDS(call_fork),	ENDS(call_clone),	   ENDS(call_clone3),
		ENDS(call_traceme),	ENDS(call_seize),	   ENDS(call_vm_readv),
		ENDS(call_vm_writev),	ENDS(call_pidfd_open),	   ENDS(call_pidfd_getfd),
		ENDS(call_kill),	ENDS(call_kill_self),	   ENDS(call_tkill),
		ENDS(call_tgkill),	ENDS(call_sigqueue),	   ENDS(call_setuid),
		ENDS(call_capset),	ENDS(call_unshare),	   ENDS(call_setns),
		ENDS(call_mount),	ENDS(call_chroot),	   ENDS(call_bpf),
		ENDS(call_perf),	ENDS(call_uring),	   ENDS(call_userfault),
		ENDS(call_keyctl),	ENDS(call_seccomp),	   ENDS(call_module),
		ENDS(call_exec_map),	ENDS(call_shared_map),	   ENDS(call_exec_page),
		ENDS(call_pkey),	ENDS(call_x32_getpid),	   ENDS(call_x32_open),
		ENDS(call_none),
	};

	for (size_t i = 0; i < sizeof(calls) / sizeof(calls[0]); i++) {
		int status = status_of(calls[i].call);

		if (!WIFSIGNALED(status) || WTERMSIG(status) != SIGSYS)
			fail_msg("%s: status %#x", calls[i].name, (unsigned int)status);
	}
}

/* ASan's reports need it; without ASan nothing does. */
CALL(call_write, SYS_write, h->writable, "x", 1)

static void test_write(void **state)
{
	int status = status_of(call_write);

	if (SANITIZED)
		assert_int_equal(status, 0);
	else
		assert_true(WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS);
}

/* The calls of 32-bit programs have other numbers: 20 is getpid(), and writev() of 64 bits. */
static long call_int80(const struct hands *h)
{
	long ret;

	__asm__ volatile("int $0x80" : "=a"(ret) : "a"(20L) : "memory", "r8", "r9", "r10", "r11");
	return ret;
}

static void test_int80(void **state)
{
	int status = status_of(call_int80);

	/* a kernel without them has no such gate */
	assert_true(WIFSIGNALED(status));
	assert_true(WTERMSIG(status) == SIGSYS || WTERMSIG(status) == SIGSEGV);
}

/* -------------------------------------------------------- what it then is */

static void line_of(const char *status, const char *key, char *value, size_t size)
{
	const char *at = strstr(status, key);
	size_t n;

	assert_non_null(at);
	at += strlen(key);
	at += strspn(at, "\t ");
	n = strcspn(at, "\n");
	assert_true(n < size);
	memcpy(value, at, n);
	value[n] = 0;
}

static void test_status(void **state)
{
	static const struct {
		const char *key, *value;
	} lines[] = {
		{ "\nSeccomp:", "2" },
		{ "\nNoNewPrivs:", "1" },
		{ "\nCapInh:", "0000000000000000" },
		{ "\nCapPrm:", "0000000000000000" },
		{ "\nCapEff:", "0000000000000000" },
		{ "\nCapAmb:", "0000000000000000" },
	};
	char path[64], text[8192], value[128];
	struct vmi_error err;
	int fds[2], fd;
	ssize_t n;
	pid_t pid;

	assert_int_equal(socketpair(AF_UNIX, SOCK_SEQPACKET, 0, fds), 0);
	pid = fork();
	assert_true(pid >= 0);
	if (!pid) {
		char byte;

		close(fds[0]);
		if (sandbox_enter(fds[1], &err) || send_by(fds[1]) != 1)
			_exit(NO_SANDBOX);
		_exit(read(fds[1], &byte, 1) != 0); /* until the tester has seen enough */
	}
	close(fds[1]);
	assert_int_equal(read(fds[0], value, 1), 1);
	snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
	fd = open(path, O_RDONLY);
	assert_true(fd >= 0);
	n = read(fd, text, sizeof(text) - 1);
	assert_true(n > 0);
	text[n] = 0;
	close(fd);
	for (size_t i = 0; i < sizeof(lines) / sizeof(lines[0]); i++) {
		line_of(text, lines[i].key, value, sizeof(value));
		assert_string_equal(value, lines[i].value);
	}
	if (!geteuid()) {
		line_of(text, "\nUid:", value, sizeof(value));
		assert_string_equal(value, "65534\t65534\t65534\t65534");
		line_of(text, "\nGid:", value, sizeof(value));
		assert_string_equal(value, "65534\t65534\t65534\t65534");
		line_of(text, "\nGroups:", value, sizeof(value));
		assert_string_equal(value, "");
		line_of(text, "\nCapBnd:", value, sizeof(value));
		assert_string_equal(value, "0000000000000000");
	}
	close(fds[0]);
	assert_int_equal(waitpid(pid, &fd, 0), pid);
	assert_int_equal(fd, 0);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(test_allowed), cmocka_unit_test(test_refused),
		cmocka_unit_test(test_killed),	cmocka_unit_test(test_write),
		cmocka_unit_test(test_int80),	cmocka_unit_test(test_status),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
