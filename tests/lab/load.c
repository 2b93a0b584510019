// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * What a tenant does, on two CPUs, each said in a line. Static: it runs in the lab's Linux tenant,
 * which has busybox and nothing else.
 *
 *	load sleep N	sleepers of many periods at once, the longest N times: how many came early,
 *			and the longest that one was late
 *	load ping N	two threads, each on a CPU of its own, wake each other in turns (futex)
 *	load shoot N	a page is made read-only and writable while the other CPU reads it
 *			(TLB shoot-downs)
 *	load call N	membarrier(): a function is called on the other CPU
 *	load spin MS	one CPU is busy
 *
 * And how many IPIs there were meanwhile: sent, as guest-module/ counts them where they are posted,
 * and received, as the kernel does.
 */
#include <errno.h>
#include <limits.h>
#include <linux/futex.h>
#include <linux/membarrier.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

static const int64_t periods_us[] = { 1000, 1700, 4000, 10000, 25000 };
#define SLEEPERS (sizeof(periods_us) / sizeof(periods_us[0]))

struct sleeper {
	pthread_t thread;
	int64_t ns, late;
	int count, early;
};

static atomic_int turn, over;
static int rounds;
static char *page;

static int64_t now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void stay_on(int cpu)
{
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set)) {
		perror("sched_setaffinity");
		exit(1);
	}
}

static void *sleeps(void *arg)
{
	struct sleeper *s = arg;
	const struct timespec t = { .tv_nsec = s->ns };

	for (int i = 0; i < s->count; i++) {
		int64_t began = now_ns(), over_ns;

		nanosleep(&t, NULL);
		over_ns = now_ns() - began - s->ns;
		s->early += over_ns < 0;
		if (over_ns > s->late)
			s->late = over_ns;
	}
	return NULL;
}

static void sleep_all(int n)
{
	struct sleeper s[SLEEPERS] = { 0 };
	int count = 0, early = 0;
	int64_t late = 0;

	for (size_t i = 0; i < SLEEPERS; i++) {
		s[i].ns = periods_us[i] * 1000;
		s[i].count = (int)(n * periods_us[SLEEPERS - 1] / periods_us[i]);
		pthread_create(&s[i].thread, NULL, sleeps, &s[i]);
	}
	for (size_t i = 0; i < SLEEPERS; i++) {
		pthread_join(s[i].thread, NULL);
		count += s[i].count;
		early += s[i].early;
		if (s[i].late > late)
			late = s[i].late;
	}
	printf("%d slept, %d early, late by at most %lld us\n", count, early,
	       (long long)late / 1000);
}

static void futex(int op, int value)
{
	syscall(SYS_futex, &turn, op, value, NULL, NULL, 0);
}

static void *pings(void *arg)
{
	int me = (int)(intptr_t)arg, t;

	stay_on(me);
	for (int i = 0; i < rounds; i++) {
		while ((t = atomic_load(&turn)) % 2 != me)
			futex(FUTEX_WAIT_PRIVATE, t);
		atomic_fetch_add(&turn, 1);
		futex(FUTEX_WAKE_PRIVATE, INT_MAX);
	}
	return NULL;
}

static void *reads(void *arg)
{
	stay_on(1);
	atomic_store(&turn, 1);
	while (!atomic_load(&over))
		*(volatile char *)page;
	return NULL;
}

static void ping(int n)
{
	pthread_t other;

	rounds = n;
	pthread_create(&other, NULL, pings, (void *)1);
	pings(NULL);
	pthread_join(other, NULL);
	printf("%d pings\n", atomic_load(&turn));
}

/* `what` is done n times while the other CPU runs a thread of ours */
static void beside(int n, int (*what)(void), const char *name)
{
	pthread_t other;
	int failed = 0;

	page = mmap(NULL, 4096, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
	*page = 1;
	stay_on(0);
	pthread_create(&other, NULL, reads, NULL);
	while (!atomic_load(&turn))
		;
	for (int i = 0; i < n; i++)
		failed += what();
	atomic_store(&over, 1);
	pthread_join(other, NULL);
	printf("%d %s, %d failed\n", n, name, failed);
}

static int shoot(void)
{
	int r = mprotect(page, 4096, PROT_READ) || mprotect(page, 4096, PROT_READ | PROT_WRITE);

	*page = 2;
	return r;
}

static int call(void)
{
	return syscall(SYS_membarrier, MEMBARRIER_CMD_PRIVATE_EXPEDITED, 0, 0) != 0;
}

/* The sum of the numbers behind `name`, of the line of a file that begins with it */
static long long sum_of_line(const char *path, const char *name)
{
	FILE *f = fopen(path, "re");
	char line[512], *at, *end;
	long long n = 0;

	while (f && fgets(line, sizeof(line), f)) {
		at = line + strspn(line, " ");
		if (strncmp(at, name, strlen(name)) != 0)
			continue;
		at += strlen(name);
		for (long long v = strtoll(at, &end, 10); end != at; v = strtoll(at, &end, 10)) {
			n += v;
			at = end;
		}
	}
	if (f)
		fclose(f);
	return n;
}

static void count(long long *sent, long long *received)
{
	static const char *const files[] = {
		"/sys/kernel/iho_guest/cpu0/ipis_posted", "/sys/kernel/iho_guest/cpu1/ipis_posted",
		"/sys/kernel/iho_guest/cpu0/ipis_asked", "/sys/kernel/iho_guest/cpu1/ipis_asked",
	};
	/* TLB: has some of CAL: once more */
	static const char *const kinds[] = { "RES:", "CAL:" };

	*sent = *received = 0;
	for (size_t i = 0; i < sizeof(files) / sizeof(files[0]); i++)
		*sent += sum_of_line(files[i], "");
	for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
		*received += sum_of_line("/proc/interrupts", kinds[i]);
}

static void spin(int ms)
{
	int64_t end = now_ns() + ms * INT64_C(1000000);
	unsigned long n = 0;

	while (now_ns() < end)
		n++;
	printf("span\n");
}

int main(int argc, char **argv)
{
	int n = argc == 3 ? atoi(argv[2]) : 0;
	long long sent, received, sent_before, received_before;

	if (n <= 0)
		return 2;
	count(&sent_before, &received_before);
	if (!strcmp(argv[1], "sleep")) {
		sleep_all(n);
	} else if (!strcmp(argv[1], "ping")) {
		ping(n);
	} else if (!strcmp(argv[1], "shoot")) {
		beside(n, shoot, "shoot-downs");
	} else if (!strcmp(argv[1], "call")) {
		syscall(SYS_membarrier, MEMBARRIER_CMD_REGISTER_PRIVATE_EXPEDITED, 0, 0);
		beside(n, call, "calls");
	} else if (!strcmp(argv[1], "spin")) {
		spin(n);
	} else {
		return 2;
	}
	count(&sent, &received);
	printf("IPIs: %lld sent, %lld received\n", sent - sent_before,
	       received - received_before);
	return 0;
}
