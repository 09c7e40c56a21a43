# The developers' front. CI calls the same targets (.ci/run).
#
#   make demo [DATA=folder]   the whole path on the example corpus, or on your own files
#   make test                 the tests that CI runs; test-unit, test-ray and test-gpu are its parts
#   make test-slow            those that kill, retrain and compare for minutes each
#   make check                format, lint and types

.DEFAULT_GOAL := help
SHELL := bash
VENV := .venv
BIN := $(VENV)/bin
STAMP := $(VENV)/.installed
BENCH_VENV := .venv-bench
BENCH_STAMP := $(BENCH_VENV)/.installed
DATA ?=
NAME ?=
# Two processes, each with a Ray of its own; the tests of a file stay together.
PARALLEL ?= -n 2 --dist loadfile

# No hub and no telemetry: the models of the default are in the packages.
export HF_HUB_OFFLINE ?= 1
export TRANSFORMERS_OFFLINE ?= 1
export RAY_USAGE_STATS_ENABLED ?= 0

.PHONY: help install demo test test-slow test-unit test-ray test-gpu check format bench clean

help:
	@sed -n 's/^# \{0,1\}//p' Makefile | sed -n '1,6p'

install: $(STAMP)

# torch goes first and alone: with it in place, no other package's range pulls a CUDA build.
$(STAMP): EXTRA := dev
$(BENCH_STAMP): EXTRA := bench
%/.installed: pyproject.toml
	@python=$$(command -v python3.11 || command -v python3) || { echo "error: no python3 found" >&2; exit 1; }; \
	$$python -c 'import sys; sys.exit(sys.version_info < (3, 11))' \
		|| { echo "error: $$python is older than Python 3.11" >&2; exit 1; }; \
	echo "Creating $* with $$($$python --version)"; \
	$$python -m venv $*
	@echo "Installing torch (1/2)"
	@$*/bin/python -m pip install --quiet --disable-pip-version-check torch==2.13.0
	@echo "Installing rayraft and what it needs (2/2); a few minutes the first time"
	@$*/bin/python -m pip install --quiet --disable-pip-version-check --editable ".[$(EXTRA)]"
	@touch $@

demo: $(STAMP)
	@$(BIN)/rayraft demo $(DATA)

test: $(STAMP)
	@$(BIN)/python -m pytest $(PARALLEL) -m "not slow"

test-slow: $(STAMP)
	@$(BIN)/python -m pytest $(PARALLEL) -m slow

test-unit: $(STAMP)
	@$(BIN)/python -m pytest tests/unit

test-ray: $(STAMP)
	@$(BIN)/python -m pytest $(PARALLEL) -m "not slow" tests/ray

test-gpu: $(STAMP)
	@$(BIN)/python -m pytest tests/gpu

check: $(STAMP)
	$(BIN)/ruff format --check .
	$(BIN)/ruff check .
	$(BIN)/mypy

format: $(STAMP)
	$(BIN)/ruff format .
	$(BIN)/ruff check --fix .

# Peers live in an environment of their own.
bench: $(BENCH_STAMP)
	@test -f "bench/$(NAME).py" || { echo "error: NAME=$(NAME): no bench/$(NAME).py" >&2; exit 1; }
	@$(BENCH_VENV)/bin/python -m bench.$(NAME)

clean:
	rm -rf $(VENV) $(BENCH_VENV) build *.egg-info .pytest_cache .mypy_cache .ruff_cache
