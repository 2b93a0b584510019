# SPDX-License-Identifier: GPL-2.0-or-later
# make install, make uninstall, make deb. Part of the top Makefile, whose PROGRAMS is the one list of
# what is installed: with a program come its page, its unit, its user, its directory and its options
# file, as far as it has them.

sbindir ?= $(PREFIX)/sbin
datadir ?= $(PREFIX)/share/iho
mandir ?= $(PREFIX)/share/man
docdir ?= $(PREFIX)/share/doc/iho
unitdir ?= $(PREFIX)/lib/systemd/system
sysusersdir ?= $(PREFIX)/lib/sysusers.d
tmpfilesdir ?= $(PREFIX)/lib/tmpfiles.d
# Not below PREFIX: the units look for options in /etc/default.
sysconfdir ?= /etc

# PARTS="iho-top ..." installs these only; iho-dashboards is a part beside the programs.
PARTS ?= %
NAMES := $(filter $(PARTS),$(notdir $(PROGRAMS)))
UNITS := $(wildcard $(NAMES:%=packaging/systemd/%.service))
# Examples for an operator, who copies them.
DROPINS := $(if $(filter ihod,$(NAMES)),packaging/systemd/introspection.conf)
DASHBOARDS := $(if $(filter $(PARTS),iho-dashboards),$(filter-out %.sh %.py,$(shell \
	find dashboards -type f)))

# source:directory:mode
INSTALLED = $(NAMES:%=$(B)/%:$(sbindir):755) \
	$(patsubst %,%:$(mandir)/man8:644,$(wildcard $(NAMES:%=userspace/*/%.8) \
		$(NAMES:%=vmi/*/%.8))) \
	$(patsubst packaging/systemd/%,$(B)/packaging/%:$(unitdir):644,$(UNITS)) \
	$(patsubst %,%:$(sysusersdir):644,$(wildcard $(NAMES:%=packaging/sysusers.d/%.conf))) \
	$(patsubst %,%:$(tmpfilesdir):644,$(wildcard $(NAMES:%=packaging/tmpfiles.d/%.conf))) \
	$(foreach f,$(DASHBOARDS),$f:$(datadir)/$(patsubst %/,%,$(dir $f)):644) \
	$(patsubst packaging/systemd/%,$(B)/packaging/%:$(docdir):644,$(DROPINS)) README.md:$(docdir):644
OPTION_FILES = $(patsubst %,%:$(sysconfdir)/default:644,$(wildcard $(NAMES:%=packaging/default/%)))

part = $(word $(2),$(subst :, ,$(1)))
target = $(DESTDIR)$(call part,$(1),2)/$(notdir $(call part,$(1),1))
put = install -D -m $(call part,$(1),3) $(call part,$(1),1) $(call target,$(1))
define newline


endef

.PHONY: deb units-for-prefix

install: $(if $(NAMES),programs) units-for-prefix
	$(foreach f,$(INSTALLED),$(call put,$f)$(newline)	)
	$(foreach f,$(OPTION_FILES),[ -e $(call target,$f) ] || $(call put,$f)$(newline)	)

# An options file goes only as it came.
uninstall:
	rm -f $(foreach f,$(INSTALLED),$(call target,$f))
	$(foreach f,$(OPTION_FILES),! cmp -s $(call part,$f,1) $(call target,$f) || \
		rm -f $(call target,$f)$(newline)	)
	for d in $(addprefix $(DESTDIR)$(datadir)/,$(sort $(dir $(DASHBOARDS)))) $(DESTDIR)$(docdir); do \
		[ ! -d $$d ] || rmdir -p --ignore-fail-on-non-empty $$d; done

# A unit names its program where it is installed, and that may differ from one run to the next.
units-for-prefix:
	@mkdir -p $(B)/packaging
	@for u in $(UNITS) $(DROPINS); do sed 's|@sbindir@|$(sbindir)|' $$u >$(B)/packaging/$${u##*/}; done

deb:
	@packaging/deb.sh build/deb
