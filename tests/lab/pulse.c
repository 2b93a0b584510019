// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * iho-pulse: which CPUs of a host still run. A thread on each CPU sleeps for 20 ms, by that CPU's
 * timer, and writes the CPU's digit to the second serial port: by itself, so that it shows whatever
 * has become of the other CPUs, and of the kernel's console. Takes lines at its standard input,
 *
 *	BEATS MARK	once the CPU that does best has written so many more: a line "=MARK" there,
 *			and "MARK" at the standard output
 */
#include <err.h>
#include <pthread.h>
#include <sched.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/io.h>
#include <sys/mman.h>
#include <unistd.h>

#define CPUS	     10
#define PORT	     0x2f8
#define LINE_CONTROL (PORT + 3)
#define LINE_8N1     0x3
#define LINE_STATUS  (PORT + 5)
#define LINE_EMPTY   0x20
#define PATIENCE     100000
#define PERIOD_US    20000

static atomic_ulong beats[CPUS];
static atomic_flag taken = ATOMIC_FLAG_INIT;

/* A CPU may have been stopped while the port was its own: nobody waits for ever. */
static void say(const char *s)
{
	int tries = PATIENCE;

	while (atomic_flag_test_and_set(&taken) && --tries)
		;
	for (; *s; s++) {
		for (tries = PATIENCE; !(inb(LINE_STATUS) & LINE_EMPTY) && --tries;)
			;
		outb((unsigned char)*s, PORT);
	}
	atomic_flag_clear(&taken);
}

static void *beat(void *arg)
{
	atomic_ulong *mine = arg;
	int cpu = (int)(mine - beats);
	char digit[2] = { (char)('0' + cpu), 0 };
	cpu_set_t set;

	CPU_ZERO(&set);
	CPU_SET(cpu, &set);
	if (sched_setaffinity(0, sizeof(set), &set))
		err(1, "CPU %d", cpu);
	for (;;) {
		usleep(PERIOD_US);
		say(digit);
		atomic_fetch_add(mine, 1);
	}
	return NULL;
}

/* How many the CPU has written that has written most since @since */
static unsigned long most(const unsigned long *since)
{
	unsigned long max = 0, now;

	for (int i = 0; i < CPUS; i++) {
		now = atomic_load(&beats[i]) - since[i];
		if (now > max)
			max = now;
	}
	return max;
}

int main(void)
{
	long cpus = sysconf(_SC_NPROCESSORS_ONLN);
	unsigned long since[CPUS], n;
	char line[64], mark[32], out[40];
	pthread_t thread;

	setvbuf(stdout, NULL, _IOLBF, 0);
	if (cpus > CPUS)
		errx(1, "too many CPUs: %ld", cpus);
	if (ioperm(PORT, 8, 1))
		err(1, "ioperm");
	outb(LINE_8N1, LINE_CONTROL);
	if (mlockall(MCL_CURRENT | MCL_FUTURE))
		err(1, "mlockall");
	for (long i = 0; i < cpus; i++)
		if (pthread_create(&thread, NULL, beat, &beats[i]))
			errx(1, "no thread");
	while (fgets(line, sizeof(line), stdin)) {
		if (sscanf(line, "%lu %31s", &n, mark) != 2)
			errx(1, "what is %s", line);
		for (int i = 0; i < CPUS; i++)
			since[i] = atomic_load(&beats[i]);
		while (most(since) < n)
			usleep(PERIOD_US);
		snprintf(out, sizeof(out), "\n=%s\n", mark);
		say(out);
		puts(mark);
	}
	return 0;
}
