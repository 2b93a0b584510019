// SPDX-License-Identifier: GPL-2.0-or-later
/*
 * ordinary BTF-ID INTERFACE TRACEPOINT-ID: BPF programs as honest tools attach them, beside those
 * of the workload: to a kprobe, which is the tracepoint, to the beginning of a function of the
 * kernel's (fentry), to what comes in from an interface (XDP, and tcx where there is such a thing).
 * Prints what it did, and waits for its end.
 */
#include <errno.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#define TCX_INGRESS 46 /* BPF_TCX_INGRESS, of Linux 6.6 */

static long bpf(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static long must(long result, const char *what)
{
	if (result < 0) {
		perror(what);
		exit(1);
	}
	return result;
}

/* Returns 0, or what passes a packet */
static int load(int type, int attach_type, unsigned int btf_id, int value, const char *name)
{
	const struct bpf_insn code[] = {
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = value },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr = {
		.prog_type = type,
		.expected_attach_type = attach_type,
		.attach_btf_id = btf_id,
		.insns = (unsigned long)code,
		.insn_cnt = sizeof(code) / sizeof(code[0]),
		.license = (unsigned long)"GPL",
	};

	strncpy(attr.prog_name, name, sizeof(attr.prog_name) - 1);
	return must(bpf(BPF_PROG_LOAD, &attr), name);
}

static void kprobe(unsigned long id)
{
	struct perf_event_attr event = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(event),
		.config = id,
	};
	int fd = must(syscall(SYS_perf_event_open, &event, -1, 0, -1, 0), "perf_event_open");

	must(ioctl(fd, PERF_EVENT_IOC_SET_BPF, load(BPF_PROG_TYPE_KPROBE, 0, 0, 0, "ord_kprobe")),
	     "PERF_EVENT_IOC_SET_BPF");
	must(ioctl(fd, PERF_EVENT_IOC_ENABLE, 0), "PERF_EVENT_IOC_ENABLE");
}

static void fentry(unsigned int btf_id)
{
	union bpf_attr attr = {
		.raw_tracepoint.prog_fd =
			load(BPF_PROG_TYPE_TRACING, BPF_TRACE_FENTRY, btf_id, 0, "ord_fentry"),
	};

	must(bpf(BPF_RAW_TRACEPOINT_OPEN, &attr), "fentry");
}

static long interface(int prog, int index, int attach_type)
{
	union bpf_attr attr = {
		.link_create.prog_fd = prog,
		.link_create.target_ifindex = index,
		.link_create.attach_type = attach_type,
	};

	return bpf(BPF_LINK_CREATE, &attr);
}

int main(int argc, char **argv)
{
	int index;

	if (argc != 4)
		return 2;
	index = atoi(argv[2]);
	fentry(strtoul(argv[1], NULL, 10));
	kprobe(strtoul(argv[3], NULL, 10));
	must(interface(load(BPF_PROG_TYPE_XDP, 0, 0, XDP_PASS, "ord_xdp"), index, BPF_XDP), "XDP");
	printf("kprobe fentry xdp%s\n",
	       interface(load(BPF_PROG_TYPE_SCHED_CLS, 0, 0, -1, "ord_tc"), index, TCX_INGRESS) < 0
		       ? ""
		       : " tcx");
	fflush(stdout);
	pause();
}
