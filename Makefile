# SPDX-License-Identifier: GPL-2.0-or-later
# IHO: see README.md. `make help` lists the targets.

VERSION := 0.1.0
PREFIX ?= /usr/local
DESTDIR ?=
ARGS ?=

# SAN=1 builds everything of userspace with AddressSanitizer and UndefinedBehaviorSanitizer.
ifeq ($(SAN),1)
B := build/san
SANFLAGS := -fsanitize=address,undefined -fno-sanitize-recover=undefined -fno-omit-frame-pointer
# ASan looks for the functions that it wraps at the start, but libvirt.so brings XDR only later.
SANLIBS := -Wl,--push-state,--no-as-needed -l:libtirpc.so.3 -Wl,--pop-state
else
B := build
SANFLAGS :=
SANLIBS :=
endif

CC := gcc
CLANG ?= clang
WARN := -Wall -Wextra -Werror -Wshadow -Wstrict-prototypes -Wmissing-prototypes -Wno-unused-parameter
CFLAGS ?= -O2 -g
ALL_CFLAGS = -std=gnu11 $(CPPFLAGS) $(CFLAGS) $(WARN) $(SANFLAGS) -D_GNU_SOURCE \
	-DIHO_VERSION='"$(VERSION)"' -Iuserspace/lib -I$(B) -MMD -MP -pthread
BPF_CFLAGS := -g -O2 -target bpf -mcpu=v3 -D__TARGET_ARCH_x86 -Wall -Wextra -Werror \
	-Wno-unused-parameter -I/usr/include/$(shell uname -m)-linux-gnu -MMD -MP

LIB_LIBS := -ltraceevent -lbpf -lelf -lz -ljansson -lm $(SANLIBS)
TOP_LIBS := $(LIB_LIBS) -lncursesw -ltinfo
IHOD_LIBS := $(LIB_LIBS) -levent_core -lsystemd -lcap-ng -lseccomp
EXP_LIBS := $(LIB_LIBS) -lmicrohttpd -lgnutls -lyaml -lcrypt
QUERY_LIBS = $(VMI_LIBS) $(LIB_LIBS) -ledit -lseccomp -lcap-ng -llzma -lzstd
VMI_LIBS := -lsqlite3 -lpcre2-8 -lnettle -lkdumpfile -ljansson $(SANLIBS)
QUERY_LIBS := $(VMI_LIBS) $(LIB_LIBS) -ledit -lseccomp -lcap-ng -llzma -lzstd

LIB_SRC := $(wildcard userspace/lib/*.c)
TOP_SRC := $(wildcard userspace/top/*.c)
IHOD_SRC := $(wildcard userspace/daemon/*.c)
EXP_SRC := $(wildcard userspace/exporter/*.c)
EXP_ASM := $(wildcard userspace/exporter/*.S)
DEMO_SRC := $(wildcard userspace/demo/*.c)
DEMO_ASM := $(wildcard userspace/demo/*.S)
DIRECT_SRC := $(wildcard userspace/direct/*.c)
QUERY_SRC := $(wildcard vmi/query/*.c)
VMI_SRC := $(wildcard $(addprefix vmi/,memory/*.c kernel/*.c tables/*.c sql/*.c))
FAKE_SRC := $(filter-out %/types.c,$(wildcard tests/vmi/fake/*.c))
FAKE_ASM := tests/vmi/fake/types_btf.S
UNIT_SRC := $(wildcard tests/unit/test_*.c)
FUZZ_SRC := $(wildcard tests/fuzz/fuzz_*.c)

# Numbers of a guest may be anything: sums of them wrap, as they do in Linux, which is built so too.
VMI_CFLAGS := -fwrapv

obj = $(patsubst %,$(B)/%.o,$(basename $(1)))
LIB_OBJ := $(call obj,$(LIB_SRC))
TOP_OBJ := $(call obj,$(TOP_SRC))
IHOD_OBJ := $(call obj,$(IHOD_SRC))
EXP_OBJ := $(call obj,$(EXP_SRC)) $(patsubst %,$(B)/%.o,$(EXP_ASM))
EXP_LIB_OBJ := $(filter-out %/main.o,$(EXP_OBJ))
DEMO_OBJ := $(call obj,$(DEMO_SRC)) $(patsubst %,$(B)/%.o,$(DEMO_ASM))
DIRECT_OBJ := $(call obj,$(DIRECT_SRC))
QUERY_OBJ := $(call obj,$(QUERY_SRC))
VMI_OBJ := $(call obj,$(VMI_SRC))
FAKE_OBJ := $(call obj,$(FAKE_SRC)) $(patsubst %,$(B)/%.o,$(FAKE_ASM))
UNIT_BIN := $(patsubst tests/unit/%.c,$(B)/tests/%,$(UNIT_SRC))
FUZZ_BIN := $(patsubst tests/fuzz/%.c,build/fuzz/%,$(FUZZ_SRC))
PROGRAMS := $(B)/iho-top $(B)/ihod $(B)/iho-demo $(B)/iho-exporter $(B)/iho-query $(B)/iho-direct

# The live page, in one file, and the policy that it is to be served under.
PAGE_DIR := userspace/exporter/page
PAGE_SRC := $(addprefix $(PAGE_DIR)/,index.html page.css format.js model.js charts.js page.js build.mjs)
PAGE_NPM := $(addprefix $(PAGE_DIR)/,package.json package-lock.json .npmrc)
PAGE := $(B)/page.html $(B)/page.csp

say = @printf '  %-7s %s\n' $(1) $@ >&2
MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:

.PHONY: all run demo check check-unit check-host check-lab check-vmi check-oracle check-attacks bench fuzz install uninstall clean help \
	deps-build deps-check deps-bench deps-kvm kvm-modules check-kvm check-guest lab lab-shell lint programs units fuzzers manual \
	bench-fleet bench-vmi dashboards-demo

all: programs

# Packages first, in a recursive make: what they bring (bpftool, headers) is needed by the rules.
# DEPS=no: they are somebody else's business, as when a Debian package is built.
ifneq ($(DEPS),no)
programs: deps-build
endif
programs:
	@$(MAKE) -s --no-print-directory -j$$(nproc) $(PROGRAMS) $(B)/libvmi.a $(PAGE) >&2

units: programs
	@$(MAKE) -s --no-print-directory -j$$(nproc) $(UNIT_BIN) >&2

deps-build deps-check deps-bench deps-kvm:
	@packaging/deps.sh $(@:deps-%=%) >&2

run: programs
	@$(B)/iho-top --demo=auto $(ARGS)

check: deps-check
	@tests/check.sh

check-unit: deps-check
	@tests/check.sh unit

check-host: deps-check
	@tests/check.sh host

# Introspection, of guests that QEMU's TCG runs: see tests/vmi/README.md.
check-vmi: deps-check
	@tests/check.sh vmi

# Tables beside drgn and crash, on one dump; a download of 860 MB: see tests/vmi/README.md.
check-oracle: deps-check programs
	@prove tests/vmi/oracle/check.t

lint: deps-check
	@tests/check.sh lint

# KVM's modules with our patches, for Debian's kernel: see kvm-patches/README.md.
kvm-modules: deps-kvm
	@kvm-patches/build.sh

check-kvm: deps-check
	@tests/check.sh kvm

# The guest's module: see guest-module/README.md.
check-guest: deps-check
	@tests/check.sh guest

# The emulated hypervisors: see tests/lab/README.md.
VENUE ?= amd

lab: deps-check
	@tests/lab/lab.sh build

check-lab: deps-check
	@tests/check.sh lab

# What a guest with raw IPIs does to its host: the table of kvm-patches/README.md, half an hour; not part of check.
check-attacks: deps-check deps-kvm programs
	@prove -v tests/lab/attacks.t

lab-shell: deps-check programs
	@tests/lab/lab.sh shell $(VENUE)

demo: deps-check programs
	@tests/lab/lab.sh demo $(VENUE)

bench: deps-bench programs
	@tests/bench/bench.sh

# What looking into a guest costs: see vmi/README.md.
bench-vmi: deps-check programs
	@KERNEL=$(KERNEL) TASKS=$(TASKS) tests/bench/vmi.sh

# What a fleet costs the Prometheus that watches it: see dashboards/README.md.
bench-fleet: deps-bench
	@HOSTS=$(HOSTS) tests/bench/fleet.sh

dashboards-demo: deps-check programs
	@PAPER=$(PAPER) dashboards/demo.sh

# Every tests/fuzz/fuzz_NAME.c is a target of libFuzzer, with its first inputs in tests/fuzz/NAME/.
FUZZ_SECONDS ?= 600

fuzzers: deps-check
	@$(MAKE) -s --no-print-directory -j$$(nproc) $(FUZZ_BIN) >&2

fuzz: fuzzers programs
	@$(MAKE) -s --no-print-directory programs SAN=1
	@tests/fuzz/fuzz.sh $(FUZZ_SECONDS)

# The metrics in the manual, after a change of the catalogue.
manual: programs
	@userspace/exporter/manual.py $(B)/iho-exporter userspace/exporter/iho-exporter.8

include packaging/install.mk

clean:
	rm -rf build

help:
	@echo 'make run [ARGS=...]   build, and open iho-top on this host (with a demo tenant if no VM runs)'
	@echo 'make check            install what the tests need, build, run all tests'
	@echo 'make check-unit       only the unit tests;  make check-host  only the tests on this kernel'
	@echo 'make lint             cppcheck, man page, repository rules'
	@echo 'make check-vmi        introspection against guests with kernels from 5.10 to the newest'
	@echo 'make kvm-modules      patched kvm, kvm-intel, kvm-amd for Debian 12, into build/kvm-modules'
	@echo 'make check-kvm        the patches apply, build, and fit the kernel (part of make check)'
	@echo 'make check-guest      the module of the guest builds, and runs with a host that a test plays (part of make check)'
	@echo 'make lab              build the emulated hypervisors, AMD and Intel, into ~/.cache/iho'
	@echo 'make check-lab        the collector on real SVM and VMX in them (part of make check)'
	@echo 'make check-attacks    what a guest with raw IPIs does to its host, in the Intel lab (not part of make check)'
	@echo 'make lab-shell [VENUE=amd|intel]   a shell in one'
	@echo 'make demo [VENUE=amd|intel]        iho-top in one, with a Linux tenant under load'
	@echo 'make bench            speed beside bpftrace, perf and bcc, as ratios; results in build/bench.json'
	@echo 'make fuzz [FUZZ_SECONDS=600]   the fuzz targets, that long in all'
	@echo 'make bench-fleet [HOSTS=N]         what a fleet costs its Prometheus, and what the recording rules cut'
	@echo 'make bench-vmi [KERNEL=6.12]       what looking into a guest costs'
	@echo 'make dashboards-demo [PAPER=1]     Prometheus (and Grafana) with all rules and dashboards, this host in it'
	@echo 'make install [DESTDIR= PREFIX=/usr/local]   make uninstall   make clean'
	@echo 'make deb              Debian packages, into build/deb'
	@echo 'SAN=1 builds userspace with ASan and UBSan into build/san'

$(B)/bpf/%.bpf.o: bpf/%.bpf.c
	$(call say,BPF)
	@mkdir -p $(@D)
	@$(CLANG) $(BPF_CFLAGS) -c $< -o $@

# Kept: make would delete them after a first build, and a second would make all that follows anew.
.SECONDARY: $(B)/bpf/iho.bpf.o $(B)/bpf/memslots.bpf.o

# Skeleton of the programs: DWARF is dropped, BTF stays.
$(B)/%.skel.h: $(B)/bpf/%.bpf.o
	$(call say,SKEL)
	@llvm-strip -g $<
	@bpftool gen skeleton $< name $* > $@

$(B)/userspace/lib/source_bpf.o: $(B)/iho.skel.h
$(B)/vmi/memory/live_kvm.o: $(B)/memslots.skel.h

# Two programs may share mapped records only if they were built from the same description of them.
LAYOUT_SRC := bpf/iho.h bpf/events.h userspace/lib/source.h

$(B)/layout.h: $(LAYOUT_SRC)
	$(call say,LAYOUT)
	@printf '#define IHO_LAYOUT "%s"\n' "$$(cat $(LAYOUT_SRC) | sha256sum | cut -c1-16)" > $@

$(B)/userspace/lib/wire.o: $(B)/layout.h

# The names of system calls by number, from the headers of this machine's libc.
$(B)/syscalls.h:
	$(call say,SYSCALLS)
	@mkdir -p $(@D)
	@for abi in 64 32; do \
		echo "#define SYSCALLS_$$abi \\"; \
		echo "#include <asm/unistd_$$abi.h>" | $(CC) -E -dM - | \
			sed -n 's/^#define __NR_\([a-z_0-9]*\) \([0-9]*\)$$/	[\2] = "\1", \\/p'; \
		echo; \
	done > $@

$(B)/vmi/tables/syscall_table.o: $(B)/syscalls.h

$(B)/%.o: %.c
	$(call say,CC)
	@mkdir -p $(@D)
	@$(CC) $(ALL_CFLAGS) -c $< -o $@

$(B)/%.S.o: %.S
	$(call say,AS)
	@mkdir -p $(@D)
	@$(CC) $(ALL_CFLAGS) -c $< -o $@

# npm runs when what it is to bring changed, never in the source folder; the lock holds the checksum.
build/npm/.done: $(PAGE_NPM)
	$(call say,NPM)
	@mkdir -p $(@D)
	@cp $(PAGE_NPM) $(@D)/
	@cd $(@D) && npm ci --loglevel=error
	@touch $@

$(PAGE) &: $(PAGE_SRC) build/npm/.done
	$(call say,PAGE)
	@mkdir -p $(@D)
	@node $(PAGE_DIR)/build.mjs build/npm $(PAGE)

$(B)/libiho.a: $(LIB_OBJ)
	$(call say,AR)
	@rm -f $@
	@ar rcs $@ $^

$(B)/userspace/top/batch.o: userspace/top/iho-top.schema.json

# Asking statements of a guest, for programs that are not iho-query.
$(B)/libquery.a: $(call obj,$(addprefix vmi/query/,session.c host.c channel.c stream.c through.c worker_json.c))
	$(call say,AR)
	@rm -f $@
	@ar rcs $@ $^

$(B)/iho-top: $(TOP_OBJ) $(B)/libquery.a $(B)/libvmi.a $(B)/libiho.a
	$(call say,LD)
	@$(CC) $(ALL_CFLAGS) $(LDFLAGS) -Wl,--as-needed $^ $(TOP_LIBS) $(VMI_LIBS) -o $@

$(B)/ihod: $(IHOD_OBJ) $(B)/libiho.a
	$(call say,LD)
	@$(CC) $(ALL_CFLAGS) $(LDFLAGS) $(IHOD_OBJ) $(B)/libiho.a $(IHOD_LIBS) -o $@

page = -DIHO_PAGE='"$(1)/page.html"' -DIHO_PAGE_POLICY='"$(1)/page.csp"'
$(B)/userspace/exporter/page_data.S.o: $(PAGE)
$(B)/userspace/exporter/page_data.S.o: ALL_CFLAGS += $(call page,$(B))

$(B)/libexporter.a: $(EXP_LIB_OBJ)
	$(call say,AR)
	@rm -f $@
	@ar rcs $@ $^

$(B)/iho-exporter: $(B)/userspace/exporter/main.o $(B)/libexporter.a $(B)/libiho.a
	$(call say,LD)
	@$(CC) $(ALL_CFLAGS) $(LDFLAGS) $^ $(EXP_LIBS) -o $@

$(B)/iho-demo: $(DEMO_OBJ)
	$(call say,LD)
	@$(CC) $(ALL_CFLAGS) $(LDFLAGS) $^ -o $@

$(DIRECT_OBJ): ALL_CFLAGS += -Ikvm-patches/uapi

$(B)/iho-direct: $(DIRECT_OBJ) $(B)/libiho.a
	$(call say,LD)
	@$(CC) $(ALL_CFLAGS) $(LDFLAGS) $^ $(LIB_LIBS) -lcap-ng -lseccomp -o $@

$(VMI_OBJ): ALL_CFLAGS += $(VMI_CFLAGS)

$(B)/iho-query: $(QUERY_OBJ) $(B)/libvmi.a $(B)/libiho.a
	$(call say,LD)
	@$(CC) $(ALL_CFLAGS) $(LDFLAGS) $^ $(QUERY_LIBS) -o $@

$(B)/libvmi.a: $(VMI_OBJ)
	$(call say,AR)
	@rm -f $@
	@ar rcs $@ $^

# A made-up guest for the tests of vmi/: its types are what clang writes of them into BTF.
build/fake.btf: tests/vmi/fake/types.c tests/vmi/fake/types.h
	$(call say,BTF)
	@mkdir -p $(@D)
	@$(CLANG) -g -O2 -target bpf -Wall -Wextra -Werror -c $< -o $@.o
	@llvm-objcopy --dump-section .BTF=$@ $@.o

$(B)/tests/vmi/fake/types_btf.S.o: build/fake.btf
$(B)/tests/vmi/fake/types_btf.S.o: ALL_CFLAGS += -DFAKE_BTF='"build/fake.btf"'

$(B)/libfake.a: $(FAKE_OBJ)
	$(call say,AR)
	@rm -f $@
	@ar rcs $@ $^

UNIT_LIBS := $(addprefix $(B)/,libexporter.a libfake.a libvmi.a libiho.a)

# Of what only the program has, the part that is tested.
$(B)/tests/test_sandbox: $(B)/vmi/query/sandbox.o
$(B)/tests/test_sandbox: UNIT_MORE = $(B)/vmi/query/sandbox.o -lseccomp -lcap-ng

$(B)/tests/%: tests/unit/%.c $(UNIT_LIBS)
	$(call say,UNIT)
	@mkdir -p $(@D)
	@$(CC) $(ALL_CFLAGS) -Wno-missing-prototypes $< $(UNIT_LIBS) -lcmocka $(EXP_LIBS) $(VMI_LIBS) \
		$(UNIT_MORE) -o $@

# The sources are compiled anew: libFuzzer needs clang's marks in all of them.
FUZZ_DEPS := $(filter-out userspace/exporter/main.c,$(EXP_SRC)) $(LIB_SRC)

build/fuzz/fuzz_socket: userspace/daemon/server.c userspace/daemon/server.h
build/fuzz/fuzz_socket: FUZZ_LIBS := -levent_core

build/fuzz/%: tests/fuzz/%.c $(FUZZ_DEPS) build/iho.skel.h build/layout.h build/page.html build/page.csp
	$(call say,FUZZ)
	@mkdir -p $(@D)
	@$(CLANG) $(filter-out -MMD -MP,$(ALL_CFLAGS)) -g -O1 -fsanitize=fuzzer,address,undefined \
		-fno-sanitize-recover=undefined -Wno-missing-prototypes $< $(FUZZ_DEPS) \
		$(call page,build) $(EXP_ASM) $(EXP_LIBS) $(FUZZ_LIBS) -o $@

# The targets of vmi/ share what is compiled for them.
build/fuzz/fuzz_vmi_symbols: FUZZ_LIBS := -lcmocka
VMI_FUZZ_BIN := $(filter build/fuzz/fuzz_vmi%,$(FUZZ_BIN))
VMI_FUZZ_SRC := $(VMI_SRC) $(FAKE_SRC) $(LIB_SRC) \
	$(addprefix vmi/query/,channel.c stream.c worker.c worker_json.c sandbox.c)
VMI_FUZZ_OBJ := $(patsubst %,build/fuzz/obj/%.o,$(basename $(VMI_FUZZ_SRC)) $(FAKE_ASM))
fuzz_cc = $(CLANG) $(filter-out -O2,$(ALL_CFLAGS)) $(VMI_CFLAGS) -O1 -fsanitize=$(1),address,undefined \
	-fno-sanitize-recover=undefined -Wno-missing-prototypes -Wno-missing-field-initializers

build/fuzz/obj/%.o: %.c
	$(call say,CC)
	@mkdir -p $(@D)
	@$(call fuzz_cc,fuzzer-no-link) -c $< -o $@

build/fuzz/obj/%.S.o: %.S
	$(call say,AS)
	@mkdir -p $(@D)
	@$(CLANG) $(ALL_CFLAGS) -c $< -o $@

$(VMI_FUZZ_OBJ): build/iho.skel.h build/memslots.skel.h build/layout.h
build/fuzz/obj/tests/vmi/fake/types_btf.S.o: build/fake.btf
build/fuzz/obj/tests/vmi/fake/types_btf.S.o: ALL_CFLAGS += -DFAKE_BTF='"build/fake.btf"'

build/fuzz/libvmi.a: $(VMI_FUZZ_OBJ)
	$(call say,AR)
	@rm -f $@
	@ar rcs $@ $^

$(VMI_FUZZ_BIN): build/fuzz/%: tests/fuzz/%.c build/fuzz/libvmi.a
	$(call say,FUZZ)
	@$(call fuzz_cc,fuzzer) $< build/fuzz/libvmi.a $(QUERY_LIBS) $(FUZZ_LIBS) -o $@

$(B)/bench/%: tests/bench/%.c $(B)/libiho.a
	$(call say,CC)
	@mkdir -p $(@D)
	@$(CC) $(ALL_CFLAGS) $< $(B)/libiho.a $(LIB_LIBS) -o $@

# What the tests of migration need: a tenant, and what records one.
$(B)/migration/guest.elf: tests/migration/guest.S
	$(call say,GUEST)
	@mkdir -p $(@D)
	@$(CC) -m32 -nostdlib -static -Wl,-Ttext=0x100000 -Wl,--build-id=none -Wl,-z,noexecstack \
		-Wl,-N,--no-warn-rwx-segments $< -o $@

$(B)/migration/%: tests/migration/%.c $(B)/libiho.a
	$(call say,CC)
	@mkdir -p $(@D)
	@$(CC) $(ALL_CFLAGS) $< $(B)/libiho.a $(LIB_LIBS) -o $@

# What the tests of looking into guests need.
$(B)/vmi-tests/%: tests/vmi/%.c $(B)/libvmi.a $(B)/libiho.a
	$(call say,CC)
	@mkdir -p $(@D)
	@$(CC) $(ALL_CFLAGS) $< $(B)/libvmi.a $(B)/libiho.a $(LIB_LIBS) $(VMI_LIBS) -o $@

# What scenarios of the lab need beside our programs.
$(B)/lab-tests/iho-hold: tests/lab/hold.c kvm-patches/uapi/linux/iho.h
	$(call say,CC)
	@mkdir -p $(@D)
	@$(CC) $(ALL_CFLAGS) -Ikvm-patches/uapi $< -o $@

$(B)/lab-tests/iho-pulse: tests/lab/pulse.c
	$(call say,CC)
	@mkdir -p $(@D)
	@$(CC) $(ALL_CFLAGS) $< -o $@

$(B)/lab-tests/load: tests/lab/load.c
	$(call say,CC)
	@mkdir -p $(@D)
	@$(CC) -std=c11 -D_GNU_SOURCE -O2 $(WARN) -static -pthread $< -o $@

# Modules for the Intel venue's kernel, which is its tenant's too
$(B)/lab-tests/iho_guest.ko: $(wildcard guest-module/*)
$(B)/lab-tests/reboot_ipi.ko: $(wildcard tests/lab/reboot_ipi/*)

$(B)/lab-tests/%.ko: tests/guest/build.sh
	$(call say,MODULE)
	@mkdir -p $(@D)
	@h=$$(tests/guest/headers.sh "$${IHO_LAB:-$${XDG_CACHE_HOME:-$$HOME/.cache}/iho}") && \
		tests/guest/build.sh "$$h/6.12-cloud" $(patsubst %/,%,$(dir $(firstword $(filter %.c,$^)))) \
			$(abspath $(@D))/$*.build >$(@D)/$*.log
	@strip -g -o $@ $(@D)/$*.build/$*.ko

-include $(LIB_OBJ:.o=.d) $(TOP_OBJ:.o=.d) $(IHOD_OBJ:.o=.d) $(EXP_OBJ:.o=.d) \
	$(DEMO_OBJ:.o=.d) $(DIRECT_OBJ:.o=.d) $(QUERY_OBJ:.o=.d) $(VMI_OBJ:.o=.d) $(FAKE_OBJ:.o=.d) $(UNIT_BIN:=.d) \
	$(VMI_FUZZ_OBJ:.o=.d) $(VMI_FUZZ_BIN:=.d) $(B)/bpf/iho.bpf.d $(B)/bpf/memslots.bpf.d
