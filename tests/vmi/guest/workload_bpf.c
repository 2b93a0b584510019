// SPDX-License-Identifier: GPL-2.0-or-later
/* BPF programs and maps, through bpf(2): attached and not, pinned and held by a descriptor */
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <linux/perf_event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "workload.h"

#define TRACEPOINT "/sys/kernel/tracing/events/sched/sched_process_hang/id"

static long bpf(int command, union bpf_attr *attr)
{
	return syscall(SYS_bpf, command, attr, sizeof(*attr));
}

static int create_map(int type, const char *name, int key_size, int value_size, int entries)
{
	union bpf_attr attr = {
		.map_type = type,
		.key_size = key_size,
		.value_size = value_size,
		.max_entries = entries,
	};

	strncpy(attr.map_name, name, sizeof(attr.map_name) - 1);
	return must_(bpf(BPF_MAP_CREATE, &attr), name);
}

/* Looks key 0 up in MAP, and returns VALUE whatever it finds */
static int load(int type, int attach_type, const char *name, int map, int value)
{
	const struct bpf_insn code[] = {
		{ .code = BPF_ST | BPF_MEM | BPF_W, .dst_reg = BPF_REG_10, .off = -4, .imm = 0 },
		{ .code = BPF_LD | BPF_DW | BPF_IMM,
		  .dst_reg = BPF_REG_1,
		  .src_reg = BPF_PSEUDO_MAP_FD,
		  .imm = map },
		{ 0 },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_X,
		  .dst_reg = BPF_REG_2,
		  .src_reg = BPF_REG_10 },
		{ .code = BPF_ALU64 | BPF_ADD | BPF_K, .dst_reg = BPF_REG_2, .imm = -4 },
		{ .code = BPF_JMP | BPF_CALL, .imm = BPF_FUNC_map_lookup_elem },
		{ .code = BPF_ALU64 | BPF_MOV | BPF_K, .dst_reg = BPF_REG_0, .imm = value },
		{ .code = BPF_JMP | BPF_EXIT },
	};
	union bpf_attr attr = {
		.prog_type = type,
		.expected_attach_type = attach_type,
		.insns = (unsigned long)code,
		.insn_cnt = sizeof(code) / sizeof(code[0]),
		.license = (unsigned long)"GPL",
	};

	strncpy(attr.prog_name, name, sizeof(attr.prog_name) - 1);
	return must_(bpf(BPF_PROG_LOAD, &attr), name);
}

static void pin(int fd, const char *path)
{
	union bpf_attr attr = { .bpf_fd = fd, .pathname = (unsigned long)path };

	must_(bpf(BPF_OBJ_PIN, &attr), path);
}

static void attach_tracepoint(int prog)
{
	struct perf_event_attr event = {
		.type = PERF_TYPE_TRACEPOINT,
		.size = sizeof(event),
	};
	char id[16] = "";
	int fd = must(open(TRACEPOINT, O_RDONLY));

	must(read(fd, id, sizeof(id) - 1));
	close(fd);
	event.config = strtoul(id, NULL, 10);
	fd = must(syscall(SYS_perf_event_open, &event, -1, 0, -1, PERF_FLAG_FD_CLOEXEC));
	must(ioctl(fd, PERF_EVENT_IOC_SET_BPF, prog));
	must(ioctl(fd, PERF_EVENT_IOC_ENABLE, 0));
}

static void attach_raw_tracepoint(int prog)
{
	union bpf_attr attr = {
		.raw_tracepoint.name = (unsigned long)"sched_process_hang",
		.raw_tracepoint.prog_fd = prog,
	};

	must(bpf(BPF_RAW_TRACEPOINT_OPEN, &attr));
}

static void attach_cgroup(int prog)
{
	union bpf_attr attr = {
		.target_fd = must(open(CGROUP, O_RDONLY | O_DIRECTORY | O_CLOEXEC)),
		.attach_bpf_fd = prog,
		.attach_type = BPF_CGROUP_INET_EGRESS,
	};

	must(bpf(BPF_PROG_ATTACH, &attr));
	close(attr.target_fd);
}

void play_bpf(int argc, char **argv)
{
	int s = must(socket(AF_INET, SOCK_DGRAM, 0)), array, hash, prog;

	(void)argc;
	(void)argv;
	array = create_map(BPF_MAP_TYPE_ARRAY, "iho_array", 4, 8, 16);
	hash = create_map(BPF_MAP_TYPE_HASH, "iho_hash", 4, 24, 100);
	pin(hash, "/sys/fs/bpf/iho_hash");

	prog = load(BPF_PROG_TYPE_SOCKET_FILTER, 0, "iho_filter", array, 0);
	must(setsockopt(s, SOL_SOCKET, SO_ATTACH_BPF, &prog, sizeof(prog)));
	attach_cgroup(
		load(BPF_PROG_TYPE_CGROUP_SKB, BPF_CGROUP_INET_EGRESS, "iho_egress", hash, 1));
	attach_tracepoint(load(BPF_PROG_TYPE_TRACEPOINT, 0, "iho_tracepoint", array, 0));
	attach_raw_tracepoint(load(BPF_PROG_TYPE_RAW_TRACEPOINT, 0, "iho_raw", hash, 0));
	/* not attached; then only its name in the file system holds it */
	load(BPF_PROG_TYPE_XDP, 0, "iho_loaded", hash, XDP_PASS);
	prog = load(BPF_PROG_TYPE_SCHED_CLS, 0, "iho_pinned", array, 0);
	pin(prog, "/sys/fs/bpf/iho_pinned");
	close(prog);
	ready();
}
