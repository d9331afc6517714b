PYTHON ?= python3
BIN := .venv/bin
PINS := .venv/.pins-$(shell cat pyproject.toml constraints.txt | cksum | tr ' ' '-')

.PHONY: help install sweep test check docs bench faults

help:
	@echo "make sweep   install, then search the offline digits and print the best configuration"
	@echo "make test    install, then checks and tests"
	@echo "make check   ruff, mypy and the order of the folders"
	@echo "make docs    the handbook, in site/index.html"
	@echo "make bench   reproduce published rows and measure speed (slow)"
	@echo "make faults  kill, starve and cut off sweeps, and print what each fault cost (slow)"
	@echo "make install the environment in .venv"

install: $(PINS)

$(PINS): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; v = sys.version_info; sys.exit(v < (3, 11) and "Python 3.11 or newer is needed, this is %d.%d: make PYTHON=python3.11 ..." % v[:2])'
	@echo "Installing into .venv (some 6 GB with a GPU build of PyTorch; a few minutes) ..."
	@test -x $(BIN)/python || $(PYTHON) -m venv .venv
	@$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@rm -f .venv/.pins-* && touch $@

sweep: install
	@$(BIN)/vae-tuner sweep

check: install
	@$(BIN)/ruff format --check --quiet . || (echo "run .venv/bin/ruff format" && false)
	@$(BIN)/ruff check --quiet .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo --cache-dir .venv/imports >.venv/imports.log || (cat .venv/imports.log && false)

docs: install
	@NO_MKDOCS_2_WARNING=1 $(BIN)/mkdocs build --strict --quiet && echo "The handbook is in site/index.html."

test: check
	@$(BIN)/pytest -n 2 --dist loadfile --no-loadscope-reorder

bench: install
	@$(BIN)/pytest -m bench -s tests/benchmarks tests/integration/test_compare.py tests/trainables/test_ppca.py tests/trainables/test_members.py

faults: install
	@$(BIN)/pytest -m "faults or bench" -s tests/faults tests/integration/test_cluster.py tests/tuner/test_crashes.py tests/tuner/sweeps/test_fuzz_journals.py
