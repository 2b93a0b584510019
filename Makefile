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
ALL_CFLAGS = -std=gnu11 $(CFLAGS) $(WARN) $(SANFLAGS) -D_GNU_SOURCE -DIHO_VERSION='"$(VERSION)"' \
	-Iuserspace/lib -I$(B) -MMD -MP -pthread
BPF_CFLAGS := -g -O2 -target bpf -mcpu=v3 -D__TARGET_ARCH_x86 -Wall -Wextra -Werror \
	-Wno-unused-parameter -I/usr/include/$(shell uname -m)-linux-gnu -MMD -MP

LIB_LIBS := -ltraceevent -lbpf -lelf -lz -ljansson -lm $(SANLIBS)
TOP_LIBS := $(LIB_LIBS) -lncursesw -ltinfo
IHOD_LIBS := $(LIB_LIBS) -levent_core -lsystemd -lcap-ng -lseccomp

LIB_SRC := $(wildcard userspace/lib/*.c)
TOP_SRC := $(wildcard userspace/top/*.c)
IHOD_SRC := $(wildcard userspace/daemon/*.c)
DEMO_SRC := $(wildcard userspace/demo/*.c)
DEMO_ASM := $(wildcard userspace/demo/*.S)
UNIT_SRC := $(wildcard tests/unit/test_*.c)

obj = $(patsubst %,$(B)/%.o,$(basename $(1)))
LIB_OBJ := $(call obj,$(LIB_SRC))
TOP_OBJ := $(call obj,$(TOP_SRC))
IHOD_OBJ := $(call obj,$(IHOD_SRC))
DEMO_OBJ := $(call obj,$(DEMO_SRC)) $(patsubst %,$(B)/%.o,$(DEMO_ASM))
UNIT_BIN := $(patsubst tests/unit/%.c,$(B)/tests/%,$(UNIT_SRC))
PROGRAMS := $(B)/iho-top $(B)/ihod $(B)/iho-demo

say = @printf '  %-7s %s\n' $(1) $@ >&2
MAKEFLAGS += --no-builtin-rules
.SUFFIXES:
.DELETE_ON_ERROR:

.PHONY: all run demo check check-unit check-host check-lab bench install uninstall clean help \
	deps-build deps-check deps-bench lab lab-shell lint programs units

all: programs

# Packages first, in a recursive make: what they bring (bpftool, headers) is needed by the rules.
programs: deps-build
	@$(MAKE) -s --no-print-directory -j$$(nproc) $(PROGRAMS) >&2

units: programs
	@$(MAKE) -s --no-print-directory -j$$(nproc) $(UNIT_BIN) >&2

deps-build deps-check deps-bench:
	@packaging/deps.sh $(@:deps-%=%) >&2

run: programs
	@$(B)/iho-top --demo=auto $(ARGS)

check: deps-check
	@tests/check.sh

check-unit: deps-check
	@tests/check.sh unit

check-host: deps-check
	@tests/check.sh host

lint: deps-check
	@tests/check.sh lint

# The emulated hypervisors: see tests/lab/README.md.
VENUE ?= amd

lab: deps-check
	@tests/lab/lab.sh build

check-lab: deps-check
	@tests/check.sh lab

lab-shell: deps-check programs
	@tests/lab/lab.sh shell $(VENUE)

demo: deps-check programs
	@tests/lab/lab.sh demo $(VENUE)

bench: deps-bench programs
	@tests/bench/bench.sh

install: programs
	install -d $(DESTDIR)$(PREFIX)/sbin $(DESTDIR)$(PREFIX)/share/man/man8
	install -m 0755 $(B)/iho-top $(B)/iho-demo $(DESTDIR)$(PREFIX)/sbin/
	install -m 0644 userspace/top/iho-top.8 $(DESTDIR)$(PREFIX)/share/man/man8/

uninstall:
	rm -f $(addprefix $(DESTDIR)$(PREFIX)/sbin/,iho-top iho-demo)
	rm -f $(DESTDIR)$(PREFIX)/share/man/man8/iho-top.8

clean:
	rm -rf build

help:
	@echo 'make run [ARGS=...]   build, and open iho-top on this host (with a demo tenant if no VM runs)'
	@echo 'make check            install what the tests need, build, run all tests'
	@echo 'make check-unit       only the unit tests;  make check-host  only the tests on this kernel'
	@echo 'make lint             cppcheck, man page, repository rules'
	@echo 'make lab              build the emulated hypervisors, AMD and Intel, into ~/.cache/iho'
	@echo 'make check-lab        the collector on real SVM and VMX in them (part of make check)'
	@echo 'make lab-shell [VENUE=amd|intel]   a shell in one'
	@echo 'make demo [VENUE=amd|intel]        iho-top in one, with a Linux tenant under load'
	@echo 'make bench            speed beside bpftrace, perf and bcc, as ratios; results in build/bench.json'
	@echo 'make install [DESTDIR= PREFIX=/usr/local]   make uninstall   make clean'
	@echo 'SAN=1 builds userspace with ASan and UBSan into build/san'

$(B)/bpf/%.bpf.o: bpf/%.bpf.c
	$(call say,BPF)
	@mkdir -p $(@D)
	@$(CLANG) $(BPF_CFLAGS) -c $< -o $@

# Skeleton of the programs: DWARF is dropped, BTF stays.
$(B)/%.skel.h: $(B)/bpf/%.bpf.o
	$(call say,SKEL)
	@llvm-strip -g $<
	@bpftool gen skeleton $< name $* > $@

$(B)/userspace/lib/source_bpf.o: $(B)/iho.skel.h

# Two programs may share mapped records only if they were built from the same description of them.
LAYOUT_SRC := bpf/iho.h bpf/events.h userspace/lib/source.h

$(B)/layout.h: $(LAYOUT_SRC)
	$(call say,LAYOUT)
	@printf '#define IHO_LAYOUT "%s"\n' "$$(cat $(LAYOUT_SRC) | sha256sum | cut -c1-16)" > $@

$(B)/userspace/lib/wire.o: $(B)/layout.h

$(B)/%.o: %.c
	$(call say,CC)
	@mkdir -p $(@D)
	@$(CC) $(ALL_CFLAGS) -c $< -o $@

$(B)/%.S.o: %.S
	$(call say,AS)
	@mkdir -p $(@D)
	@$(CC) $(ALL_CFLAGS) -c $< -o $@

$(B)/libiho.a: $(LIB_OBJ)
	$(call say,AR)
	@rm -f $@
	@ar rcs $@ $^

$(B)/userspace/top/batch.o: userspace/top/iho-top.schema.json

$(B)/iho-top: $(TOP_OBJ) $(B)/libiho.a
	$(call say,LD)
	@$(CC) $(ALL_CFLAGS) $(LDFLAGS) $(TOP_OBJ) $(B)/libiho.a $(TOP_LIBS) -o $@

$(B)/ihod: $(IHOD_OBJ) $(B)/libiho.a
	$(call say,LD)
	@$(CC) $(ALL_CFLAGS) $(LDFLAGS) $(IHOD_OBJ) $(B)/libiho.a $(IHOD_LIBS) -o $@

$(B)/iho-demo: $(DEMO_OBJ)
	$(call say,LD)
	@$(CC) $(ALL_CFLAGS) $(LDFLAGS) $^ -o $@

$(B)/tests/%: tests/unit/%.c $(B)/libiho.a
	$(call say,UNIT)
	@mkdir -p $(@D)
	@$(CC) $(ALL_CFLAGS) -Wno-missing-prototypes $< $(B)/libiho.a -lcmocka $(LIB_LIBS) -o $@

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

-include $(LIB_OBJ:.o=.d) $(TOP_OBJ:.o=.d) $(IHOD_OBJ:.o=.d) $(DEMO_OBJ:.o=.d) $(UNIT_BIN:=.d) $(B)/bpf/iho.bpf.d
