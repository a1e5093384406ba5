# The commands for readers and contributors of imkit. A bare clone, Python 3.11 or newer and make are enough; everything is installed into .venv.
#
#   make lab         the tutorials in JupyterLab
#   make check       lint, types and the quick tests, in about a minute: after each change
#   make test        everything: also notebooks, real JupyterLab in Chromium, and the official SDKs
#   make coverage    the tests without browsers, notebooks and the official SDK, and how much of the code they run
#   make matrix      the quick tests on every Python 3.11, 3.12 and 3.13 of this machine
#   make kernels     the forms in JupyterLab on the ipykernels before the installed one: 6.31 and 7.1
#   make acceptance  scenarios for the official SDKs that others wrote: ACCEPTANCE=FOLDER, ROUNDS times over
#   make tutorials   the tutorials, run, as HTML to share: build/tutorials/index.html
#   make pictures    take the README's pictures of the tutorials in a real JupyterLab
#   make bench       the figures of benchmarks/, the official SDK beside them: a quarter of an hour
#   make soak        new schedules of chaos for MINUTES: two clients and a server that are cut, stopped, killed, lied to
#   make rounds      the slow tests, SOAK times over, each time with 100 other random schedules
#   make fuzz        every decoder of bytes from strangers, fuzzed with atheris, each for FUZZ_SECONDS
#   make format      write code as the rules want it
#   make pins        renew constraints.txt from what pip resolves today
#   make clean       remove what make made

VENV ?= .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip -qq --disable-pip-version-check
SOAK ?= 10
MINUTES ?= 30
# What fits into a minute: most of the client; not the server's own tests, faults, browsers and the official SDK.
QUICK := -m "not (browser or notebook or peer or slow)" --ignore=tests/sandbox --ignore=tests/faults \
	--ignore=tests/history/test_time_shards.py --ignore=tests/history/test_fetch.py --ignore=tests/widgets --ignore=tests/test_cli.py

.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
.PHONY: help lab check lint test unit coverage matrix kernels acceptance tutorials pictures bench soak rounds fuzz format pins clean

help:
	@sed -n 's/^#   //p' Makefile

# ---- the environment -------------------------------------------------------------------------------------------------

# The newest Python that can make an environment. It is run, not only looked for: a version
# manager may have python3.12 on the PATH although that version is not installed.
FIND_PYTHON = for python in "$$PYTHON" python3.13 python3.12 python3.11 python3; do \
	if [ -n "$$python" ] && "$$python" -c 'import sys, venv, ensurepip; sys.exit(not (3, 11) <= sys.version_info)' \
		>/dev/null 2>&1; then command -v "$$python"; exit 0; fi; \
	done; \
	echo "imkit needs Python 3.11 or newer, with venv and pip." >&2; \
	echo "On Debian and Ubuntu: apt install python3-venv. Or name a Python: PYTHON=/path/to/python3 make …" >&2; exit 1

$(BIN)/python:
	@python=$$($(FIND_PYTHON)) && echo "making $(VENV) with $$python" && "$$python" -m venv $(VENV)

# What builds imkit comes first and from the pins, so that building fetches nothing that is not pinned.
BUILD := hatchling hatch-fancy-pypi-readme
INSTALL = $(PIP) install -c constraints.txt $(BUILD) && $(PIP) install -c constraints.txt --no-build-isolation -e

$(VENV)/.installed-for-lab: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing imkit and JupyterLab"
	@$(INSTALL) '.'
	@touch $@

$(VENV)/.installed-for-tests: pyproject.toml constraints.txt | $(BIN)/python
	@echo "installing imkit and what its tests need"
	@$(INSTALL) '.[dev]'
	@touch $@ $(VENV)/.installed-for-lab

# ---- for readers -----------------------------------------------------------------------------------------------------

# On copies, which are the reader's: a notebook that was run is saved with its outputs, and none of ours may have any.
LAB ?= imkit-tutorials
lab: $(VENV)/.installed-for-lab
	$(BIN)/imkit lab $(LAB)

# ---- for contributors ------------------------------------------------------------------------------------------------

lint: $(VENV)/.installed-for-tests
	@mkdir -p build
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/lint-imports > build/imports.txt || { cat build/imports.txt; exit 1; }

check: lint
	$(BIN)/python -m pytest $(QUICK)

# Two at a time: one drives the browser, which waits much, the other does the rest.
test: lint tests-are-equipped
	$(BIN)/python -m pytest -n 2 --no-loadscope-reorder

# What only the slower tests need: Chromium with fonts for 中文 and emoji, Node, the official SDK.
.PHONY: tests-are-equipped
tests-are-equipped: $(VENV)/.installed-for-tests
	@$(BIN)/python tests/browser/chromium.py
	@$(BIN)/python tests/peer/node.py --have-node || \
		{ echo "no Node 20 or newer here: installing one from a wheel" && $(INSTALL) '.[node]'; }
	@$(BIN)/python tests/peer/node.py

# Each version has an environment of its own, .venv-3.12 and so on; pyenv's versions count although none may be active.
matrix:
	@tried=0; broken=; for version in 3.11 3.12 3.13; do \
		python=; \
		for candidate in "python$$version" "$$HOME"/.pyenv/versions/$$version*/bin/python; do \
			if "$$candidate" -c "import sys, venv, ensurepip; sys.exit('%d.%d' % sys.version_info[:2] != '$$version')" \
				>/dev/null 2>&1; then python=$$candidate; break; fi; \
		done; \
		if [ -z "$$python" ]; then echo "== Python $$version: not on this machine"; continue; fi; \
		echo "== Python $$version"; tried=$$((tried + 1)); \
		PYTHON="$$python" $(MAKE) --no-print-directory VENV=".venv-$$version" unit || broken="$$broken $$version"; \
	done; if [ -n "$$broken" ]; then echo "== failed on$$broken"; exit 1; fi; [ $$tried -gt 0 ]

unit: $(VENV)/.installed-for-tests
	$(BIN)/python -m pytest $(QUICK)

# Branches count. Everything but browsers, notebooks and the official SDK: their share would differ from run to run.
# 97 % when the floor was chosen. Seven to eight minutes.
COVERAGE_FLOOR ?= 95
coverage: $(VENV)/.installed-for-tests
	@rm -f .coverage .coverage.*
	$(BIN)/python -m coverage run -m pytest -n 2 --no-loadscope-reorder \
		-m "not (browser or notebook or peer)"
	@$(BIN)/python -m coverage combine -q
	$(BIN)/python -m coverage report --fail-under=$(COVERAGE_FLOOR)

# Each has an environment of its own, .venv-ipykernel-7.1.0 and so on. The installed one is the business of `make test`.
KERNELS ?= 6.31.0 7.1.0
kernels: tests-are-equipped
	@broken=; for version in $(KERNELS); do \
		echo "== ipykernel $$version"; venv=".venv-ipykernel-$$version"; \
		{ $(MAKE) --no-print-directory VENV="$$venv" "$$venv/.installed-for-tests" && \
		"$$venv/bin/python" -m pip -qq --disable-pip-version-check install "ipykernel==$$version" && \
		"$$venv/bin/python" -m pytest tests/browser/test_kernels.py tests/browser/test_forms.py tests/browser/test_pages.py; } \
		|| broken="$$broken $$version"; \
	done; if [ -n "$$broken" ]; then echo "== failed on$$broken"; exit 1; fi

# CONTRIBUTING.md says what the folder holds.
ACCEPTANCE ?=
ROUNDS ?= 1
acceptance: tests-are-equipped
	@[ -n "$(ACCEPTANCE)" ] || { echo "name the folder of the scenario: make acceptance ACCEPTANCE=FOLDER" >&2; exit 2; }
	$(BIN)/python -m tests.peer.acceptance $(ACCEPTANCE) $(ROUNDS)

tutorials: tests-are-equipped
	$(BIN)/python -m tests.browser.tutorials build/tutorials

pictures: tests-are-equipped
	$(BIN)/python -m tests.browser.pictures

BENCHMARKS ?= startup live receive fetch decode memory archive
bench: tests-are-equipped
	@for benchmark in $(BENCHMARKS); do echo "== $$benchmark"; \
		$(BIN)/python "benchmarks/$$benchmark.py" || exit 1; done
	$(BIN)/python benchmarks/report.py

# The seed of a schedule that broke a promise is printed with the command that repeats it.
soak: $(VENV)/.installed-for-tests
	$(BIN)/python -m tests.faults.chaos --minutes $(MINUTES)

rounds: tests-are-equipped
	@for round in $$(seq $(SOAK)); do echo "== round $$round of $(SOAK)"; \
		IMKIT_SCHEDULES=100 IMKIT_SEED=$$((round * 100 - 99)) \
		$(BIN)/python -m pytest -m "peer or slow" -x -q || exit 1; done

FUZZ_SECONDS ?= 60
FUZZ_JOBS ?= 2
fuzz: $(VENV)/.installed-for-tests
	@$(INSTALL) '.[fuzz]'
	FUZZ_SECONDS=$(FUZZ_SECONDS) FUZZ_JOBS=$(FUZZ_JOBS) $(BIN)/python -m tests.fuzz.run

format: $(VENV)/.installed-for-tests
	$(BIN)/ruff check --fix .
	$(BIN)/ruff format .

# Resolved in an environment of its own, on the oldest Python: what it needs besides does no harm on newer ones. Debian
# 12 has 3.11.2, and there are packages that want a later 3.11: PYTHON says which one resolves.
pins:
	rm -rf .venv-pins
	$${PYTHON:-python3.11} -m venv .venv-pins
	.venv-pins/bin/python -m pip --quiet install $(BUILD)
	.venv-pins/bin/python -m pip --quiet install --no-build-isolation -e '.[dev,node,fuzz]'
	{ sed -n '/^#/p' constraints.txt; .venv-pins/bin/python -m pip freeze --exclude-editable | sort -f; } > constraints.new
	mv constraints.new constraints.txt
	rm -rf .venv-pins

clean:
	rm -rf .venv .venv-* build dist .mypy_cache .pytest_cache .ruff_cache .hypothesis
	rm -rf tests/peer/node_modules tests/browser/screenshots
	find imkit tests benchmarks notebooks -name __pycache__ -prune -exec rm -rf {} +
