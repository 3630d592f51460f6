# Daemun's one Makefile. `make help` lists what it does.
#
# VARIANT chooses a build tree: release (the default), asan (address and
# undefined behaviour sanitizers), tsan (thread sanitizer), fuzz (libFuzzer,
# address and undefined behaviour, by clang), or any other name for a plain
# tree of its own (`make lint` keeps two). All of them compile the
# same files. The release binary is build/daemun; the others have theirs in
# build/<variant>/.

VARIANT ?= release
DEFAULT_CC := $(if $(filter fuzz,$(VARIANT)),clang,gcc)
CC := $(if $(filter default,$(origin CC)),$(DEFAULT_CC),$(CC))
PREFIX ?= /usr/local
DESTDIR ?=
# The conf file is where people look for it: /etc/daemun, unless all of the
# installation has a folder of its own.
SYSCONFDIR ?= $(if $(filter /usr /usr/local,$(PREFIX)),,$(PREFIX))/etc
WERROR ?=
J ?= $(shell nproc 2>/dev/null || echo 2)

VDIR := build/$(VARIANT)
BINDIR := $(if $(filter release,$(VARIANT)),build,$(VDIR))
BIN := $(BINDIR)/daemun
DEMO := $(BINDIR)/demo-server
LIB := $(VDIR)/libdaemun.a
VENV := build/venv
PY := $(VENV)/bin/python3

# ---- flags -----------------------------------------------------------------

WARN := -Wall -Wextra -Wshadow -Wstrict-prototypes -Wmissing-prototypes \
        -Wpointer-arith -Wcast-qual -Wwrite-strings -Wformat=2 -Wvla -Wundef \
        -Wconversion -Wno-sign-conversion $(if $(filter 1,$(WERROR)),-Werror)

ifeq ($(VARIANT),asan)
  VFLAGS := -O1 -fsanitize=address,undefined -fno-sanitize-recover=all \
            -fno-omit-frame-pointer -DDAEMUN_CHECK_SLOW
  VLDFLAGS := -fsanitize=address,undefined
else ifeq ($(VARIANT),tsan)
  VFLAGS := -O1 -fsanitize=thread -fno-omit-frame-pointer -DDAEMUN_CHECK_SLOW
  VLDFLAGS := -fsanitize=thread
else ifeq ($(VARIANT),fuzz)
  VFLAGS := -O1 -fsanitize=fuzzer-no-link,address,undefined \
            -fno-sanitize-recover=all -fno-omit-frame-pointer \
            -DDAEMUN_CHECK_SLOW
  VLDFLAGS := -fsanitize=address,undefined
else
  VFLAGS := -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
  VLDFLAGS := -Wl,-z,relro,-z,now
endif

BASE_FLAGS := -std=gnu11 -g -fstack-protector-strong \
              -fvisibility=hidden -pthread $(VFLAGS) $(WARN)
ALL_CFLAGS := $(BASE_FLAGS) -fPIE -Isrc -Iinclude $(CFLAGS)
ALL_LDFLAGS := -pie -pthread $(VLDFLAGS) $(LDFLAGS)
LIBS := -levent_core -levent_pthreads -lssl -lcrypto -lnghttp2 -lxxhash \
        -lconfig -ldl -lpthread
DEMO_LIBS := -levent_core -lnghttp2 -ljansson -lprotobuf-c

# Only the functions that abi.sym lists can be reached by a module.
ABI_SYM := $(wildcard include/daemun/abi.sym)
BIN_LIB = $(LIB)
ifneq ($(ABI_SYM),)
  BIN_LDFLAGS := -Wl,--dynamic-list=$(ABI_SYM)
  # All of it: a module may call what the program itself does not.
  BIN_LIB = -Wl,--whole-archive $(LIB) -Wl,--no-whole-archive
endif

# ---- files -----------------------------------------------------------------

SRC := $(filter-out src/main.c,$(sort $(wildcard src/*.c src/*/*.c src/*/*/*.c)))
OBJ := $(SRC:src/%.c=$(VDIR)/obj/%.o)
MAIN_OBJ := $(VDIR)/obj/main.o
UNIT_SRC := $(sort $(wildcard tests/unit/test_*.c))
UNIT_BIN := $(UNIT_SRC:tests/unit/%.c=$(VDIR)/test/%)
FUZZ_SRC := $(sort $(wildcard tests/fuzz/fuzz_*.c))
FUZZ_TARGETS := $(FUZZ_SRC:tests/fuzz/fuzz_%.c=%)
FUZZ_BIN := $(FUZZ_TARGETS:%=$(VDIR)/fuzz/%)
LAW_SRC := $(sort $(wildcard tests/law/test_law_*.c))
LAW_BIN := $(LAW_SRC:tests/law/%.c=$(VDIR)/test/%)
MICRO_SRC := $(sort $(wildcard bench/micro/bench_*.c))
MICRO_BIN := $(MICRO_SRC:bench/micro/%.c=$(VDIR)/bench/%)
MODULES := $(patsubst modules/%/,%,$(sort $(dir $(wildcard modules/*/*.c))))
MODULE_SO := $(MODULES:%=$(VDIR)/modules/%.so)
TEST_MODULE_SO := $(patsubst tests/module/%.c,$(VDIR)/test/module/%.so,\
                    $(sort $(wildcard tests/module/*.c)))
DEMO_SRC := $(sort $(wildcard demo/*.c))
DEMO_PROTO := $(sort $(wildcard demo/*.proto))
DEMO_GEN := $(DEMO_PROTO:demo/%.proto=$(VDIR)/demo/gen/%.pb-c.c)
DEMO_OBJ := $(DEMO_SRC:demo/%.c=$(VDIR)/demo/%.o) \
            $(DEMO_GEN:%.c=%.o)

.DEFAULT_GOAL := all
.DELETE_ON_ERROR:
.SECONDARY:

# V=1 shows whole commands; else one short line for each.
Q := $(if $(filter 1,$(V)),,@)
say = $(if $(filter 1,$(V)),,@printf '  %-5s %s\n' $(1) '$(2)')

# ---- build -----------------------------------------------------------------

.PHONY: all
all: $(BIN) $(DEMO) $(MODULE_SO) ## build the gateway, the demo server and the modules (VARIANT=release|asan|tsan)

# The compiler and its flags are part of what an object depends on: the stamp
# changes when they do, so switching CC or WERROR rebuilds.
FLAGS_STAMP := $(VDIR)/flags
FLAGS_NOW := $(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(BIN_LDFLAGS)
ifneq ($(file <$(FLAGS_STAMP)),$(FLAGS_NOW))
$(FLAGS_STAMP): FORCE
endif
$(FLAGS_STAMP):
	@mkdir -p $(@D)
	@printf '%s\n' '$(FLAGS_NOW)' >$@

.PHONY: FORCE
FORCE:

$(VDIR)/obj/%.o: src/%.c $(FLAGS_STAMP)
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -MMD -MP -c -o $@ $<

# Built anew each time, so that an object whose source is gone is gone too.
$(LIB): $(OBJ)
	@rm -f $@
	$(call say,AR,$@)
	$(Q)ar rcs $@ $(OBJ)

$(BIN): $(MAIN_OBJ) $(LIB) $(ABI_SYM)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) $(BIN_LDFLAGS) -o $@ $(MAIN_OBJ) \
	  $(BIN_LIB) $(LIBS)

# A module sees include/ and nothing else: this line is the proof that the API
# suffices.
.SECONDEXPANSION:
$(VDIR)/modules/%.so: $$(wildcard modules/%/*.c) $$(wildcard include/daemun/*.h) $(FLAGS_STAMP)
	@mkdir -p $(@D)
	$(call say,MOD,$@)
	$(Q)$(CC) $(BASE_FLAGS) -fPIC -shared -Iinclude $(CFLAGS) $(VLDFLAGS) \
	  $(LDFLAGS) -o $@ $(filter %.c,$^)

# Modules of the tests: sound ones and bad ones, beside the test programs.
$(VDIR)/test/module/%.so: tests/module/%.c $$(wildcard include/daemun/*.h) $(FLAGS_STAMP)
	@mkdir -p $(@D)
	$(call say,MOD,$@)
	$(Q)$(CC) $(BASE_FLAGS) -fPIC -shared -Iinclude $(CFLAGS) $(VLDFLAGS) \
	  $(LDFLAGS) -o $@ $<

$(DEMO): $(DEMO_OBJ)
	@mkdir -p $(@D)
	$(call say,LINK,$@)
	$(Q)$(CC) $(ALL_CFLAGS) $(ALL_LDFLAGS) -o $@ $(DEMO_OBJ) $(DEMO_LIBS)

$(VDIR)/demo/gen/%.pb-c.c: demo/%.proto
	@mkdir -p $(@D)
	$(call say,PROTO,$<)
	$(Q)protoc-c --proto_path=demo --c_out=$(@D) $<

# Generated code is not held to our warnings.
$(VDIR)/demo/gen/%.o: $(VDIR)/demo/gen/%.c $(FLAGS_STAMP)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -w -I$(VDIR)/demo/gen -c -o $@ $<

# The generated initialisers cast constants away, in macros of their own.
$(VDIR)/demo/grpc.o: EXTRA_CFLAGS := -Wno-cast-qual

$(VDIR)/demo/%.o: demo/%.c $(FLAGS_STAMP) | $(DEMO_GEN)
	@mkdir -p $(@D)
	$(call say,CC,$<)
	$(Q)$(CC) $(ALL_CFLAGS) -Idemo -isystem $(VDIR)/demo/gen $(EXTRA_CFLAGS) -MMD -MP -c -o $@ $<

# ---- run -------------------------------------------------------------------

.PHONY: run
run: ## install what is missing, build, start the demo servers and the gateway
	@tests/packages.sh build run
	@$(MAKE) --no-print-directory -j$(J) all
	@demo/run.sh $(BINDIR)

# ---- tests -----------------------------------------------------------------

# A test includes the .c that it tests, so the archive's object of that file
# is not pulled in; a test is never held back by an unused static function.
TEST_CFLAGS := $(ALL_CFLAGS) -Imodules -Idemo -Wno-unused-function

$(VDIR)/test/%: tests/unit/%.c $(LIB) $(FLAGS_STAMP)
	@mkdir -p $(@D)
	$(call say,TEST,$<)
	$(Q)$(CC) $(TEST_CFLAGS) $(ALL_LDFLAGS) -MMD -MP -MF $@.d -o $@ $< $(LIB) \
	  -lcmocka $(LIBS)

$(VDIR)/test/test_module: | $(TEST_MODULE_SO)

# Laws are simulated on what the archive has, optimised as in the gateway.
$(VDIR)/test/%: tests/law/%.c $(LIB) $(FLAGS_STAMP)
	@mkdir -p $(@D)
	$(call say,LAW,$<)
	$(Q)$(CC) $(TEST_CFLAGS) $(ALL_LDFLAGS) -MMD -MP -MF $@.d -o $@ $< $(LIB) \
	  -lcmocka $(LIBS) -lm

$(VDIR)/bench/%: bench/micro/%.c $(LIB) $(FLAGS_STAMP)
	@mkdir -p $(@D)
	$(call say,BENCH,$<)
	$(Q)$(CC) $(TEST_CFLAGS) $(ALL_LDFLAGS) -MMD -MP -MF $@.d -o $@ $< $(LIB) \
	  $(LIBS)

# The short name for one test of the chosen variant.
build/test/%: $(VDIR)/test/%
	@mkdir -p $(@D)
	@ln -sf ../../$< $@

.PHONY: test
test: ## install what tests need, run the unit tests, the laws, the fuzz corpora, the wire tests and the rule tables
	@tests/packages.sh build run test
	@$(MAKE) --no-print-directory -j$(J) all unit-build fuzz-build
	@$(MAKE) --no-print-directory -k unit law fuzz-replay wire rules

.PHONY: unit-build
unit-build: $(UNIT_BIN) $(LAW_BIN)

.PHONY: unit
unit: $(UNIT_BIN) ## build and run the unit tests
	@tests/run_unit.sh unit $(VDIR)/test $(notdir $(UNIT_BIN))

.PHONY: law
law: $(LAW_BIN) ## prove the laws of balancing by simulation, and print their figures
	@tests/run_unit.sh law $(VDIR)/test $(notdir $(LAW_BIN))

PYTEST = DAEMUN_BIN=$(abspath $(BIN)) DEMO_BIN=$(abspath $(DEMO)) \
  DAEMUN_MODULES=$(abspath $(VDIR)/modules) \
  DAEMUN_TEST_MODULES=$(abspath $(VDIR)/test/module) \
  DAEMUN_CC='$(CC)' DAEMUN_VARIANT=$(VARIANT) \
  $(PY) -m pytest -c tests/pytest.ini --rootdir=tests $(WIRE_ARGS)

.PHONY: wire
wire: all $(TEST_MODULE_SO) $(VENV)/stamp ## run the wire tests (WIRE_ARGS='-m reload' chooses some)
	@$(PYTEST) tests/wire

.PHONY: rules
rules: all $(VENV)/stamp ## run the tables of what HTTP is accepted (WIRE_ARGS='-k hst-' chooses some)
	@$(PYTEST) tests/rules

$(VENV)/stamp: tests/requirements.txt
	@test -x $(PY) && $(PY) -m pip --version >/dev/null 2>&1 || \
	  python3 -m venv --clear $(VENV)
	@echo "installing tests/requirements.txt into $(VENV)"
	@$(PY) -m pip install --quiet --disable-pip-version-check -r $<
	@touch $@

.PHONY: venv
venv: $(VENV)/stamp ## make the Python environment of the wire tests

# ---- fuzzing (tests/fuzz/README.md) ------------------------------------------

SECONDS ?= 60
TARGET ?= $(FUZZ_TARGETS)

# Everywhere but in the fuzz tree, the program around a target is replay.c.
ifeq ($(VARIANT),fuzz)
  FUZZ_MAIN := -fsanitize=fuzzer
else
  FUZZ_MAIN := tests/fuzz/replay.c
endif
FUZZ_SHARED := tests/fuzz/file.c
$(VDIR)/fuzz/h1 $(VDIR)/fuzz/h2: FUZZ_LIBS := -lcmocka

$(VDIR)/fuzz/%: tests/fuzz/fuzz_%.c $(FUZZ_SHARED) $(filter %.c,$(FUZZ_MAIN)) $(LIB) $(FLAGS_STAMP)
	@mkdir -p $(@D)
	$(call say,FUZZ,$<)
	$(Q)$(CC) $(TEST_CFLAGS) -Itests/unit $(ALL_LDFLAGS) -MMD -MP -MF $@.d \
	  -o $@ $< $(FUZZ_SHARED) $(FUZZ_MAIN) $(LIB) $(FUZZ_LIBS) $(LIBS)

.PHONY: fuzz-build
fuzz-build: $(FUZZ_BIN)

.PHONY: fuzz-replay
fuzz-replay: $(FUZZ_BIN) ## run the fuzz targets over their corpora and old findings
	@tests/fuzz/replay.sh $(VDIR)/fuzz $(FUZZ_TARGETS)

.PHONY: fuzz
fuzz: ## fuzz each target for SECONDS=60 (TARGET='uri proxy' chooses some)
	@tests/packages.sh build fuzz
	@$(MAKE) --no-print-directory -j$(J) VARIANT=fuzz fuzz-build
	@J=$(J) tests/fuzz/run.sh build/fuzz/fuzz $(SECONDS) $(TARGET)

.PHONY: fuzz-merge
fuzz-merge: ## put what new inputs reach into tests/fuzz/corpus, minimised
	@tests/packages.sh build fuzz
	@$(MAKE) --no-print-directory -j$(J) VARIANT=fuzz fuzz-build
	@tests/fuzz/merge.sh build/fuzz/fuzz $(TARGET)

.PHONY: asan
asan: ## build with ASan and UBSan, run the unit, fuzz and wire tests and the rule tables with it
	@tests/packages.sh build run test
	@$(MAKE) --no-print-directory -j$(J) VARIANT=asan all unit-build fuzz-build
	@$(MAKE) --no-print-directory VARIANT=asan -k unit law fuzz-replay wire rules

.PHONY: tsan
tsan: ## build with TSan, run the unit tests and the wire tests marked reload or balance
	@tests/packages.sh build run test
	@$(MAKE) --no-print-directory -j$(J) VARIANT=tsan all unit-build
	@$(MAKE) --no-print-directory VARIANT=tsan \
	  WIRE_ARGS='-m "reload or balance"' -k unit law wire

# ---- benchmarks ------------------------------------------------------------

.PHONY: bench-micro
bench-micro: $(MICRO_BIN) ## measure single functions: ns per pick, time to build a table
	@for program in $(MICRO_BIN); do $$program || exit 1; done

# ---- the state of the code -------------------------------------------------

.PHONY: lint
lint: ## check layers, sizes, tables, format, warnings of two compilers, clang-tidy
	@tests/packages.sh build lint
	@tests/lint/run.sh

# What lint compiles: every object that carries our warnings.
.PHONY: objects
objects: $(MICRO_BIN) $(OBJ) $(wildcard $(MAIN_OBJ)) $(if $(wildcard src/main.c),$(MAIN_OBJ)) $(DEMO_OBJ) $(MODULE_SO) $(TEST_MODULE_SO) unit-build fuzz-build

.PHONY: conform
conform: all ## run the conformance suites that others wrote through the gateway
	@tests/packages.sh test
	@DAEMUN_BIN=$(abspath $(BIN)) DEMO_BIN=$(abspath $(DEMO)) tests/conform/run.sh

.PHONY: fmt
fmt: ## format the C files that differ from the last commit
	@tests/packages.sh lint
	@files=$$( { git diff --name-only --diff-filter=d HEAD 2>/dev/null; \
	  git ls-files --others --exclude-standard; } | grep -E '\.[ch]$$' | sort -u); \
	if [ -n "$$files" ]; then clang-format -i $$files; fi

.PHONY: docs
docs: $(BIN) ## write docs/settings.md, docs/metrics.md and docs/faults.md from the tables
	@mkdir -p docs
	$(BIN) --print-settings >$(VDIR)/settings.md && mv $(VDIR)/settings.md docs/settings.md
	$(BIN) --print-metrics >$(VDIR)/metrics.md && mv $(VDIR)/metrics.md docs/metrics.md
	$(BIN) --print-faults >$(VDIR)/faults.md && mv $(VDIR)/faults.md docs/faults.md

# ---- install ---------------------------------------------------------------

# Conf files and units, with the paths of this installation: what is relative
# to the source tree, or to the folder of an example, would lead nowhere.
INSTALL_SED := sed -e 's|@PREFIX@|$(PREFIX)|g' \
  -e 's|@SYSCONFDIR@|$(SYSCONFDIR)|g' \
  -e 's|"\(\.\./\)*build/release/modules/|"$(PREFIX)/lib/daemun/modules/|' \
  -e 's|"\(\(\.\./\)*build/\)\{0,1\}certs/|"$(SYSCONFDIR)/daemun/certs/|g'

# What an administrator edits is written once and then left alone.
install_text = $(INSTALL_SED) $1 >$2 && chmod 0644 $2
install_once = if [ -e $2 ]; then echo 'kept: $(strip $2)'; \
  else $(call install_text,$1,$2); fi

.PHONY: install
install: all ## install under DESTDIR and PREFIX (default /usr/local; SYSCONFDIR: /etc)
	install -d $(addprefix $(DESTDIR)$(PREFIX)/,bin include/daemun \
	  lib/daemun/modules lib/systemd/system lib/sysusers.d \
	  share/daemun/examples share/doc/daemun) \
	  $(addprefix $(DESTDIR)$(SYSCONFDIR)/,daemun logrotate.d)
	[ -d $(DESTDIR)$(SYSCONFDIR)/daemun/certs ] || \
	  install -d -m 0700 $(DESTDIR)$(SYSCONFDIR)/daemun/certs
	install -m 0755 $(BIN) $(DESTDIR)$(PREFIX)/bin/daemun
	install -m 0644 include/daemun/*.h $(DESTDIR)$(PREFIX)/include/daemun/
	install -m 0755 $(MODULE_SO) $(DESTDIR)$(PREFIX)/lib/daemun/modules/
	install -m 0644 $(addprefix docs/,faults.md metrics.md modules.md \
	  settings.md) $(DESTDIR)$(PREFIX)/share/doc/daemun/
	@set -e; for f in conf/*.conf conf/examples/*.conf; do \
	  $(call install_text,$$f,\
	    $(DESTDIR)$(PREFIX)/share/daemun/examples/$${f##*/}); done
	@for f in daemun.service daemun.socket; do \
	  $(call install_text,conf/$$f,\
	    $(DESTDIR)$(PREFIX)/lib/systemd/system/$$f) || exit 1; done
	install -m 0644 conf/daemun.sysusers \
	  $(DESTDIR)$(PREFIX)/lib/sysusers.d/daemun.conf
	@$(call install_once,conf/daemun.logrotate,\
	  $(DESTDIR)$(SYSCONFDIR)/logrotate.d/daemun)
	@$(call install_once,conf/start.conf,\
	  $(DESTDIR)$(SYSCONFDIR)/daemun/daemun.conf)

.PHONY: clean
clean: ## remove build/ (the certificate and the Python environment too)
	rm -rf build

.PHONY: help
help: ## list these targets
	@awk -F ':.*## ' '/^[a-z-]+:.*## / { printf "  %-11s %s\n", $$1, $$2 }' \
	  $(MAKEFILE_LIST)

-include $(OBJ:.o=.d) $(MAIN_OBJ:.o=.d) $(DEMO_OBJ:.o=.d) $(UNIT_BIN:%=%.d) \
  $(LAW_BIN:%=%.d) $(MICRO_BIN:%=%.d) $(FUZZ_BIN:%=%.d)
