# Every target does its own set-up in .venv; nothing but Python 3.10+ with venv is needed beforehand.
.DEFAULT_GOAL := help
SHELL := /bin/bash
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
ARGS ?=

.PHONY: help demo test check ui bench bench-peers fuzz crash leak install stop clean

help: ## Show this list
	@echo "make TARGET - targets, in the order in which a newcomer wants them:"
	@grep -hE '^[a-z-]+:.*## ' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12 | sed 's/^/  /'
	@echo "Set MONGODB_URI to use a MongoDB server of your own; pass options by ARGS, e.g. make test ARGS='-k splits'."

demo: $(STAMP) ## MongoDB -> Dagster -> shards -> trained networks, with a report (about two minutes)
	$(BIN)/python -m demo $(ARGS)

test: $(STAMP) ## Run the whole test suite
	$(BIN)/python -m pytest -n 2 --dist loadgroup $(ARGS)

check: $(STAMP) ## Lint, format, types, import boundaries, dataset definitions
	$(BIN)/ruff check .
	$(BIN)/ruff format --check .
	$(BIN)/mypy
	$(BIN)/python -m pytest -q tests/unit/platform/test_imports.py
	$(BIN)/dg check defs

ui: $(STAMP) ## MongoDB and the Dagster UI; prints the address to open
	$(BIN)/python -m demo.ui $(ARGS)

bench: $(STAMP) ## Run all benchmarks and refresh the table in the README (ARGS=--quick for a short run)
	$(BIN)/python -m benchmarks $(ARGS)

bench-peers: $(STAMP) ## Install the peers of the loader benchmark; MosaicML Streaming gets an environment of its own
	$(BIN)/python -m pip install --quiet --constraint constraints.txt --editable '.[bench]'
	$(BIN)/python -m pip uninstall --quiet --yes torchvision  # built for CUDA; nothing here needs it
	$(PYTHON) -m venv $(VENV)-bench
	$(VENV)-bench/bin/python -m pip install --quiet torch numpy mosaicml-streaming
	$(VENV)-bench/bin/python -m pip uninstall --quiet --yes torchvision

fuzz: $(STAMP) ## Run the fuzzers at full length
	$(BIN)/python -m fuzz $(ARGS)

crash: $(STAMP) ## Kill commits at every system call, let 16 processes contend, and verify what is left
	$(BIN)/python -m tests.crash $(ARGS)

leak: $(STAMP) ## Decode 100,000 broken pictures and watch the memory
	SHARDMILL_BAD_FILES=100000 $(BIN)/python -m pytest -q -s tests/hostile/vision/test_broken.py -k leak $(ARGS)

install: $(STAMP) ## Install into .venv (the other targets do this by themselves)

stop: ## Stop the embedded MongoDB
	@if [ -x $(BIN)/python ]; then $(BIN)/python -m demo.daemon stop; fi

clean: stop ## Remove data/, caches and .venv
	rm -rf data bench-data build dist .dagster_home $(VENV) $(VENV)-bench *.egg-info
	rm -rf .pytest_cache .mypy_cache .ruff_cache .hypothesis
	find . -name __pycache__ -type d -prune -exec rm -rf {} +

$(STAMP): pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit(sys.version_info < (3, 10))' \
		|| { echo "error: $(PYTHON) is older than 3.10; next: make PYTHON=python3.12 ..." >&2; exit 1; }
	$(PYTHON) -m venv $(VENV)
	$(BIN)/python -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --editable '.[dev]'
	@touch $@
